/* prep.h - What happens to a request before the scheduler sees it: parsing,
 * judging, rendering, tokenising, compiling grammars; on threads of its own,
 * since none of it may hold an event loop up. A `struct prep` goes from a
 * worker to a prep thread and always comes back to the worker's mailbox. */
#ifndef TG_ENGINE_PREP_H
#define TG_ENGINE_PREP_H

#include "base/buf.h"
#include "base/err.h"
#include "base/mbox.h"
#include "engine/answer.h"
#include "engine/gen.h"
#include "engine/params.h"
#include "wire/endpoint.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct engine_model;
struct prep_pool;

/* Tokens of one prompt that are counted at most; more are too many anyhow. */
#define PREP_IDS_MAX (1u << 22)

/* Most prompts or inputs of one request. */
#define PREP_PROMPTS_MAX 2048

/* A request on its way. */
struct prep {
    struct mbox_msg link;
    struct mbox *answer;    /* where it comes back; outlives it */
    struct mbox *events;    /* where its jobs send their events */
    uint64_t id;            /* of whom it is for */
    struct engine_model *m; /* borrowed; ready */
    enum endpoint kind;
    struct buf body;        /* owned: the JSON */
    uint8_t scope[32];      /* salt of who may share prefixes */
    char key[40];           /* id of the key */
    bool stream;            /* as the front read it */
    bool include_usage;     /* likewise */
    _Atomic bool cancelled; /* nobody waits any more */

    enum err err;            /* out: ERR_OK, or why it is refused */
    struct params_fault why; /* out: for the client */
    struct arena *mem;       /* out: owned; what <plan> points to */
    struct plan plan;        /* out */
    struct gen_job **jobs;   /* out: owned, one a prompt; ids are not set */
    size_t n_jobs;           /* out: 0 = <reply> is the whole answer */
    struct buf reply;        /* out: a body without work for the engine */
};

/* A request; NULL without memory. */
struct prep *prep_new(void);

/* Free <p> and the jobs that are still in it; NULL is fine. */
void prep_free(struct prep *p);

/* Do the work: fills all that is marked "out". */
void prep_run(struct prep *p);

/* <n> threads for it; NULL without memory or threads. */
struct prep_pool *prep_pool_new(unsigned n);

/* Hand <p> over. Any thread. */
void prep_pool_push(struct prep_pool *pool, struct prep *p);

/* Send back what waits, refused with ERR_DRAINING, stop and free. NULL is
 * fine. */
void prep_pool_free(struct prep_pool *pool);

/* --- parts of prep_run(), each in a file of its own --------------------- */

/* A prompt of the request: <ids> is malloc'ed, freed by the caller. */
struct prep_ids {
    int32_t *ids;
    size_t n;
    struct str text; /* arena or body: what it says, when known */
};

/* prep_chat.c: the ids of the messages of <body>. Errors: ERR_BAD_PARAM with
 * p->why, ERR_NOMEM. */
enum err prep_chat(struct prep *p, const json_t *body,
                   const struct params *params,
                   struct prep_ids *out) MUST_CHECK;

/* prep_messages.c: the messages of <body> as templates want them, a new
 * reference: roles and types judged, contents as one text, arguments of calls
 * as objects unless <raw_calls>. <mem> lends room. ERR_BAD_PARAM with <why>,
 * ERR_NOMEM. */
enum err prep_messages(const json_t *body, bool raw_calls, struct arena *mem,
                       struct params_fault *why, json_t **out) MUST_CHECK;

/* prep_text.c: the prompts of the member <name> of <body>: a string, strings,
 * ids or lists of ids. An array of <*n_out> in p->mem. */
enum err prep_texts(struct prep *p, const json_t *body, const char *name,
                    struct prep_ids **out, size_t *n_out) MUST_CHECK;

/* Tokens of <text>, with what the vocabulary puts around a prompt if <special>;
 * names of control tokens are such only if <trusted>. ERR_CONTEXT_LENGTH past
 * PREP_IDS_MAX tokens; ERR_NOMEM. */
enum err prep_encode(const struct engine_model *m, struct str text,
                     bool special, bool trusted,
                     struct prep_ids *out) MUST_CHECK;

/* prep_token.c: /tokenize and /detokenize, into p->reply. */
enum err prep_tokenize(struct prep *p, const json_t *body) MUST_CHECK;
enum err prep_detokenize(struct prep *p, const json_t *body) MUST_CHECK;

#endif
