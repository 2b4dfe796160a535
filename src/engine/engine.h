/* engine.h - The built-in backend as serve/ and daemon/ see it: models that are
 * loaded once for the process, and one producer an exchange. */
#ifndef TG_ENGINE_ENGINE_H
#define TG_ENGINE_ENGINE_H

#include "base/err.h"
#include "base/str.h"
#include "engine/sched.h"

#include <stdbool.h>
#include <stdint.h>

struct conf;
struct engine;
struct engine_port;
struct exchange;
struct producer;
struct sink;
struct worker;

/* --- the process -------------------------------------------------------- */

/* What is known of one loaded model, for tables and metrics. */
struct engine_view {
    struct str name;   /* config name; lives as long as the process */
    struct str device; /* "cpu avx2 2 threads" */
    uint64_t context;  /* tokens */
    uint64_t slots;    /* sequences at once */
    uint64_t weight_bytes, kv_bytes;
    const char *fingerprint; /* "fp_" and 12 hex digits: weights, numerics */
    int64_t created_s;       /* Unix time of the weights file */
    bool ready;              /* loaded; else still loading */
    struct sched_stats stats;
};

/* Load every model of <c>, one after the other, with a line of progress for
 * large ones. Mistakes are logged; ERR_SYNTAX when one of them cannot be
 * served at all. */
enum err engine_open(const struct conf *c, struct engine **out) MUST_CHECK;

/* Stop all and free; no exchange may be alive. NULL is fine. */
void engine_close(struct engine *e);

/* Copy what is known of the <i>th model; false past the last. Any thread. */
bool engine_view(struct engine *e, unsigned i, struct engine_view *out);

/* Whether a model called <name> is loaded. Any thread. */
bool engine_has(struct engine *e, struct str name);

/* --- one worker --------------------------------------------------------- */

/* The worker's side: a mailbox on its loop. NULL without memory. */
struct engine_port *engine_port_new(struct worker *w, struct engine *e);

/* Free; on the worker's thread or after it ended. NULL is fine. */
void engine_port_free(struct engine_port *p);

/* Requests under way. */
unsigned engine_port_open(const struct engine_port *p);

/* --- one attempt -------------------------------------------------------- */

/* Answer <x> (its body is collected) with model <name>; the reply goes to <s>,
 * by calls from later turns of the loop, never from inside. Parsing,
 * rendering and tokenising happen on another thread. A bad request comes as
 * s->end() with its error after exchange_fail_param(). NULL only without
 * memory. */
struct producer *engine_start(struct engine_port *p, struct exchange *x,
                              struct str name, struct sink *s);

#endif
