/* answer.h - From events of the engine to what a client reads: the bodies and
 * the chunks of the OpenAI API. Pure: events in, bytes out. */
#ifndef TG_ENGINE_ANSWER_H
#define TG_ENGINE_ANSWER_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "engine/gen.h"
#include "token/toolcall.h"
#include "wire/endpoint.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct answer;
struct vocab;

/* One prompt of a request, kept for `echo`. */
struct plan_prompt {
    struct str text;    /* echo: what it says */
    const int32_t *ids; /* echo with logprobs: its tokens */
    size_t n_ids;       /* tokens of the prompt */
};

/* How a request wants its answer; made by prep.c with everything it points
 * to, immutable. */
struct plan {
    enum endpoint kind;
    bool stream;
    bool include_usage; /* stream_options.include_usage */
    unsigned n;         /* choices shown of each prompt */
    unsigned best_of;   /* choices made of each */
    bool logprobs;
    unsigned top_logprobs;
    bool echo;
    bool tools;                /* text is read for calls */
    bool must_call;            /* and holds nothing but calls */
    enum toolcall_style style; /* of them */
    bool base64;               /* embeddings */
    unsigned n_prompts;
    const struct plan_prompt *prompts; /* (n_prompts) */
};

/* Who answers; strings are borrowed for the answer's life. */
struct answer_who {
    const struct vocab *vocab;
    struct str model;        /* as the client called it */
    const char *fingerprint; /* "" = unknown */
    int64_t created_s;       /* Unix time of the request */
};

/* An answer in the making; <p> is borrowed. NULL without memory. */
struct answer *answer_new(const struct plan *p, const struct answer_who *who);

/* Free; NULL is fine. */
void answer_free(struct answer *a);

/* Take <ev> of prompt <prompt>; a START with many log probabilities may be
 * given in parts, one START each. A stream's chunks are appended to <out>,
 * which stays as it is otherwise. ERR_NOMEM. */
enum err answer_event(struct answer *a, unsigned prompt,
                      const struct gen_event *ev, struct buf *out) MUST_CHECK;

/* All prompts are done: append the end of the stream, or the whole body; of a
 * long one about a MiB, to be called again until answer_is_finished().
 * ERR_NOMEM. */
enum err answer_finish(struct answer *a, struct buf *out) MUST_CHECK;

/* The stream breaks off: append what it cost, if that was asked for. ERR_NOMEM.
 */
enum err answer_break(struct answer *a, struct buf *out) MUST_CHECK;

/* Whether answer_finish() has appended all. */
bool answer_is_finished(const struct answer *a);

/* Sums over all prompts so far; times are those of the slowest. */
struct gen_counts answer_counts(const struct answer *a);

#endif
