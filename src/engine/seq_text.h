/* seq_text.h - The text side of one choice: which token comes next, what text
 * it shows, what of that may be sent, and when the choice is over. Knows
 * nothing of pages or of other choices. */
#ifndef TG_ENGINE_SEQ_TEXT_H
#define TG_ENGINE_SEQ_TEXT_H

#include "base/buf.h"
#include "base/err.h"
#include "engine/gen.h"
#include "token/vocab.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct grammar_state;
struct krn_draw;
struct krn_drawn;
struct sampler;
struct stop_set;

/* A log probability that waits until its token's text is sent. */
struct seq_held {
    struct gen_logprob lp;
    uint64_t start; /* bytes of text made before the token */
    uint64_t end;   /* bytes that must be sent for the token to be shown */
};

/* What all choices of a job share; borrowed. */
struct seq_rules {
    const struct gen_job *job;
    const struct vocab *vocab;
    const struct stop_set *stops; /* NULL = none */
    size_t most_tokens;           /* of the choice, >= 1 */
    unsigned n_vocab;             /* logits of a row */
};

/* The state of one text. Zeroed but for seq_text_init(). */
struct seq_text {
    struct sampler *sampler;       /* owned */
    struct grammar_state *grammar; /* owned; NULL = free text */
    struct detok detok;
    struct buf held;      /* text made and not sent */
    uint32_t *stop_at;    /* (stops) owned */
    struct seq_held *lps; /* (n_lps) owned; oldest first */
    size_t n_lps, cap_lps;
    uint64_t made; /* bytes of text so far */
    uint64_t sent;
    size_t n_tokens; /* generated */
    bool over;
    /* How it ended, when over. */
    enum gen_finish finish;
    int stop_index, stop_id;
};

/* Memory of one thread for picking a token. */
struct seq_scratch {
    float *logits;  /* (n_vocab) */
    uint64_t *mask; /* (n_vocab / 64, rounded up) */
};

/* Begin the text of choice <choice> behind the job's prompt. ERR_NOMEM; <t> is
 * then fit for seq_text_fini() alone. */
enum err seq_text_init(struct seq_text *t, const struct seq_rules *r,
                       unsigned choice) MUST_CHECK;

/* Free what <t> owns. */
void seq_text_fini(struct seq_text *t);

/* Choose the next token from <logits> (n_vocab, left alone), take it in, and
 * set t->over when it was the last. ERR_NOMEM; ERR_INTERNAL when the grammar
 * and the sampler do not agree. */
enum err seq_text_next(struct seq_text *t, const struct seq_rules *r,
                       const struct seq_scratch *room, const float *logits,
                       int32_t *id_out) MUST_CHECK;

/* The same in two steps, where a device draws: what to draw goes to *out (but
 * for its row), borrowing <mask>, room for a bit a token, and what <t> holds.
 * ERR_NOMEM. */
enum err seq_text_ask(struct seq_text *t, const struct seq_rules *r,
                      uint64_t *mask, struct krn_draw *out) MUST_CHECK;
/* Then take in what was drawn, <got>, as seq_text_next() does with what it
 * chose. ERR_NOMEM; ERR_INTERNAL when the grammar and the device do not
 * agree. */
enum err seq_text_take(struct seq_text *t, const struct seq_rules *r,
                       const struct krn_drawn *got, int32_t *id_out) MUST_CHECK;

/* End the text, which is not over, for want of tokens that it may have: as if
 * its last one had been the last that was asked for. ERR_NOMEM. */
enum err seq_text_cut(struct seq_text *t, const struct seq_rules *r) MUST_CHECK;

/* The event with what may be sent now, which is then no longer held; *out is
 * NULL when there is nothing. ERR_NOMEM. */
enum err seq_text_flush(struct seq_text *t, const struct seq_rules *r,
                        struct gen_event **out) MUST_CHECK;

#endif
