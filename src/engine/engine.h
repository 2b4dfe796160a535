/* engine.h - The built-in backend as serve/ and daemon/ see it: models that are
 * loaded once for the process, and one producer an exchange. */
#ifndef TG_ENGINE_ENGINE_H
#define TG_ENGINE_ENGINE_H

#include "base/err.h"
#include "base/str.h"
#include "engine/kvswap.h"
#include "engine/sched.h"

#include <stdbool.h>
#include <stdint.h>

struct conf;
struct conf_engine_model;
struct engine;
struct engine_port;
struct exchange;
struct producer;
struct sink;
struct worker;

/* --- the process -------------------------------------------------------- */

/* Bytes of the reason why a model is refused. */
#define ENGINE_WHY_BYTES 512

/* What is known of one model, for tables and metrics. */
struct engine_view {
    struct str name;  /* config name; lives as long as the engine */
    char device[96];  /* "cpu avx2 2 threads"; "" while it is loading */
    uint64_t context; /* tokens of a sequence */
    uint64_t trained; /* tokens that the model was made for */
    uint64_t slots;   /* sequences at once; 0 while it is loading */
    uint64_t n_vocab; /* tokens of the vocabulary */
    uint64_t d_model; /* numbers of an embedding */
    uint64_t weight_bytes, kv_bytes;
    char fingerprint[16]; /* "fp_" and 12 hex digits of weights and numerics;
                           * "" while it is not known */
    int64_t created_s;    /* Unix time of the weights file */
    bool ready;           /* loaded */
    bool failed;          /* it cannot be served */
    unsigned percent;     /* of it is loaded */
    char why[ENGINE_WHY_BYTES];        /* it failed, else "" */
    double tokens_per_s;               /* generated lately */
    struct sched_stats stats;          /* zeros until it is ready */
    bool prefix_on;                    /* its prefixes are kept on disk */
    char prefix_why[ENGINE_WHY_BYTES]; /* they are not, else "" */
    char prefix_ns[17];         /* directory in engine_prefix_root(), or "" */
    struct kvswap_stats prefix; /* zeros while they are not */
};

/* Models that were judged and wait to be loaded. */
struct engine_judged;

/* An empty set; NULL without memory. */
struct engine_judged *engine_judged_new(void);

/* Free the set and what nobody has taken of it; NULL is fine. */
void engine_judged_free(struct engine_judged *j);

/* Whether the model of <m> could be served, as far as its file and its settings
 * tell; else a sentence in <why>: "what is wrong; what to write". Loads no
 * weights. <judged>, a struct engine_judged or NULL, keeps the model for
 * engine_open(). */
bool engine_judge_model(void *judged, const struct conf_engine_model *m,
                        char why[ENGINE_WHY_BYTES]);

/* Load the models of <c> (which is kept) one after the other on a thread; what
 * happens is logged. Those that <judged> (may be NULL) has of <c> are taken
 * from it, others are judged before. Without models there is nothing to do.
 * ERR_SYNTAX: one of them can never be served; ERR_IO: the state directory or
 * a thread; ERR_NOMEM. */
enum err engine_open(struct conf *c, struct engine_judged *judged,
                     struct engine **out) MUST_CHECK;

/* Stop all and free, ports that were given up as well; no exchange may be
 * alive. Waits for a model that is loading. NULL is fine. */
void engine_close(struct engine *e);

/* Copy what is known of the <i>th model; false past the last. Any thread. */
bool engine_view(struct engine *e, unsigned i, struct engine_view *out);

/* The same by name; false when there is none, also when <e> is NULL. */
bool engine_find(struct engine *e, struct str name, struct engine_view *out);

/* Bytes of a path, with its NUL. */
#define ENGINE_PATH_BYTES 4200 /* as conf_prefix_root() */

/* The directory of all stored prefixes, also when nothing is stored. Any
 * thread. */
void engine_prefix_root(const struct engine *e, char out[ENGINE_PATH_BYTES]);

/* Forget the prefixes of model <name> (empty: of all), soon: those on disk and
 * those in memory that no sequence uses. False when there is no such model. One
 * that is not ready has nothing to forget. Any thread. */
bool engine_purge(struct engine *e, struct str name);

/* How far loading has come. */
enum engine_stage {
    ENGINE_STAGE_READY = 0, /* all models are loaded, or there is none */
    ENGINE_STAGE_LOADING,
    ENGINE_STAGE_FAILED, /* one cannot be served; the log says why */
};

/* How far all models have come. Any thread. */
enum engine_stage engine_stage(struct engine *e);

/* How far the model <name> has come, and how many percent of it are loaded;
 * ENGINE_STAGE_FAILED when there is none, also when <e> is NULL. Any thread. */
enum engine_stage engine_stage_of(struct engine *e, struct str name,
                                  unsigned *percent_out);

/* --- one worker --------------------------------------------------------- */

/* The worker's side: mailboxes on its loop. On the worker's thread. NULL
 * without memory. */
struct engine_port *engine_port_new(struct worker *w, struct engine *e);

/* Drop what is under way without a word to its sinks. On the worker's thread,
 * or after it ended. NULL is fine. */
void engine_port_free(struct engine_port *p);

/* --- one attempt -------------------------------------------------------- */

/* Answer <x> (its body is collected, and taken) with model <name>, which is at
 * ENGINE_STAGE_READY; the reply
 * goes to <s>, by calls from later turns of the loop, never from inside.
 * Parsing, rendering and tokenising happen on another thread. A request that
 * is refused comes as s->end() with its error after exchange_fail_param(). The
 * head of a stream comes with its first event, or when keepalive is due. What
 * it cost stands in x->made. NULL only without memory. */
struct producer *engine_start(struct engine_port *p, struct exchange *x,
                              struct str name, struct sink *s);

#endif
