/* reqkey.h - What makes two requests the same: a digest of who may share the
 * reply, where the request would go, and everything in it that has a meaning
 * for the answer. */
#ifndef TG_RECALL_REQKEY_H
#define TG_RECALL_REQKEY_H

#include "base/digest.h"
#include "base/err.h"
#include "conf/conf.h"
#include "wire/canon.h"

#include <stdbool.h>
#include <stddef.h>

struct exchange;

/* Most bytes of a body that has a key. */
enum { REQKEY_BODY_MAX = 8 << 20 };

/* What clients say of a tool to have its input streamed as it comes. */
#define REQKEY_TOOL_STREAMS "eager_input_streaming"

/* What keys are made with; all of it is borrowed. */
struct reqkey_conf {
    struct str secret;             /* random: nobody can guess a key without */
    enum conf_scope scope;         /* who shares */
    const struct canon_skip *skip; /* from reqkey_skip_new() */
    const struct digest *weights;  /* of the engine's models; or NULL */
};

/* What is left out of bodies: the <n> paths at <paths> (see wire/canon.h),
 * whose bytes are borrowed, and how a stream is sent. ERR_SYNTAX: one is no
 * path; ERR_RANGE: too many; ERR_NOMEM. */
enum err reqkey_skip_new(const struct str *paths, size_t n,
                         struct canon_skip **out) MUST_CHECK;

/* Free <skip>; NULL is fine. */
void reqkey_skip_free(struct canon_skip *skip);

/* The keys of a request. */
struct reqkey {
    struct digest same;  /* of all but how the reply is sent */
    struct digest exact; /* with `stream` and `stream_options`, too */
    bool streams;        /* the reply is to be a stream */
    bool deterministic;  /* reqkey_is_deterministic() */
};

/* Whether <x> asks for one and the same answer: an embedding, temperature 0, or
 * a seed. Cheap. */
bool reqkey_is_deterministic(const struct exchange *x);

/* The keys of <x>, whose body is whole. ERR_NOT_FOUND: its reply can never be
 * kept or shared (no operation that answers for its body alone, not JSON, runs
 * in the background or within a conversation, asks for a range, has a name
 * twice, is too large); ERR_NOMEM. */
enum err reqkey_make(const struct exchange *x, const struct reqkey_conf *rc,
                     struct reqkey *out) MUST_CHECK;

#endif
