/* specials.h - Finding special tokens in text: hundreds of them in one walk
 * (Aho and Corasick's automaton). Where they overlap, longer ones win over
 * shorter ones wherever they stand, then the one of smaller id, then the one
 * further left. */
#ifndef TG_TOKEN_SPECIALS_H
#define TG_TOKEN_SPECIALS_H

#include "base/err.h"
#include "token/vocab.h"

struct specials;

/* A special token to find; <text> must outlive the automaton and not be
 * empty. */
struct special {
    struct str text;
    int32_t id;
    bool guarded; /* only where every byte is trusted */
    bool lstrip;  /* takes white space before it along */
    bool rstrip;  /* and after it */
};

/* An automaton for <n> tokens, copied; texts differ. ERR_NOMEM. */
enum err specials_new(const struct special *all, size_t n,
                      struct specials **out) MUST_CHECK;

/* Free; NULL is fine. */
void specials_free(struct specials *s);

/* A place where a token was found. What it stripped is in from .. to. */
struct special_hit {
    uint32_t from, to; /* bytes of the text */
    int32_t id;
};

/* The places in <text> (less than 2^31 bytes), in order, malloc'd, <n_out> of
 * them; NULL when there are none. ERR_NOMEM. */
enum err specials_find(const struct specials *s, struct str text,
                       const struct vocab_span *spans, size_t n_spans,
                       struct special_hit **hits_out, size_t *n_out) MUST_CHECK;

#endif
