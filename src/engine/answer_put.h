/* answer_put.h - What the files of the answer share: a writer that remembers
 * its first failure, one choice in the making, and the parts of a reply that
 * all endpoints have. */
#ifndef TG_ENGINE_ANSWER_PUT_H
#define TG_ENGINE_ANSWER_PUT_H

#include "engine/answer.h"

/* A writer: after a failure it writes nothing more. */
struct put {
    struct buf *b;
    enum err err;
};

/* A call of a tool, collected. */
struct answer_call {
    char id[40];
    struct buf name, args; /* owned */
};

/* Most calls that one choice may make; more are text thrown away. */
#define ANSWER_CALLS_MAX 128

/* One choice. */
struct answer_choice {
    unsigned index;      /* as shown */
    struct buf text;     /* owned: collected, when it is no stream */
    struct buf logprobs; /* owned: chat: elements, with commas between */
    struct buf tokens, token_logprobs, tops, offsets; /* owned: completions */
    size_t offset; /* code points of the text that has logprobs */
    bool unspaced; /* the first token's space is not in the echoed text */
    struct toolcall_reader *reader; /* owned; NULL: no tools */
    struct answer_call *calls;      /* owned, ANSWER_CALLS_MAX of them */
    unsigned n_calls;
    bool begun; /* stream: its first chunk is out */
    bool finished;
    enum gen_finish finish;
    double sum_logprob; /* of its tokens, for best_of */
    unsigned n_tokens;  /* that had a log probability */
};

/* The answer. */
struct answer {
    const struct plan *p;
    struct answer_who who;
    struct buf head;               /* owned: the members before choices */
    struct answer_choice *choices; /* owned: (n_prompts, best_of) */
    struct gen_counts *counts;     /* owned: (n_prompts) */
    struct buf *vectors;           /* owned: (n_prompts), embeddings */
    unsigned n_choices;
    unsigned n_written; /* prompts whose part of the body is written */
    bool finished;      /* nothing more is to be written */
};

/* Append bytes, a literal, a JSON string, a number. */
void put_bytes(struct put *w, struct str s);
void put_json(struct put *w, struct str s);
void put_int(struct put *w, int64_t v);
void put_float(struct put *w, float v);
#define PUT(w, lit) put_bytes((w), STR(lit))

/* Begin and end one event of a stream: `data: {head "choices":[` and the
 * rest. */
void put_chunk_begin(struct put *w, const struct answer *a);
void put_chunk_end(struct put *w, const struct answer *a);

/* The finish_reason of <c>, quoted. */
void put_finish(struct put *w, const struct answer_choice *c);

/* --- answer_logprobs.c -------------------------------------------------- */

/* Take the log probabilities of <ev> into <c>: in chat's shape. */
void logprobs_chat(struct put *w, const struct answer *a,
                   struct answer_choice *c, const struct gen_event *ev);

/* In the shape of completions; <first>: the token before them that has none
 * (the first of an echoed prompt), or -1. */
void logprobs_text(struct put *w, const struct answer *a,
                   struct answer_choice *c, const struct gen_event *ev,
                   int32_t first);

/* What <c> has collected, as the value of `logprobs` in chat, or null; it is
 * empty afterwards. */
void logprobs_put_chat(struct put *w, const struct answer *a,
                       struct answer_choice *c);

/* The same for completions. */
void logprobs_put_text(struct put *w, const struct answer *a,
                       struct answer_choice *c);

/* --- answer_chat.c ------------------------------------------------------ */

/* Stream: the first chunk of <c>, which says the role; once. */
void chat_begin(struct put *w, const struct answer *a, struct answer_choice *c);

/* Text of <ev>: chunks of a stream, else collected in <c>. */
void chat_text(struct put *w, const struct answer *a, struct answer_choice *c,
               const struct gen_event *ev);

/* The end of <c>: what a reader of calls held back, and the last chunk, which
 * one that was cut has not. */
void chat_finish(struct put *w, const struct answer *a,
                 struct answer_choice *c);

/* <c>, collected, as an element of `choices`. */
void chat_choice(struct put *w, const struct answer *a,
                 struct answer_choice *c);

#endif
