/* engine_priv.h - The process's side of the engine, as engine.c and the
 * workers' side in port.c share it. */
#ifndef TG_ENGINE_ENGINE_PRIV_H
#define TG_ENGINE_ENGINE_PRIV_H

#include "base/key_file.h"
#include "base/thr.h"
#include "conf/conf.h"
#include "engine/engine.h"
#include "engine/engine_model.h"
#include "engine/scope.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

struct prep_pool;

/* When tokens of a model were counted, for its rate. */
struct engine_rate {
    uint64_t at_us, tokens;      /* the newest sample */
    uint64_t was_us, was_tokens; /* the one before */
};

/* The engine. */
struct engine {
    struct conf *conf;            /* counted: the one of the start */
    struct engine_model **models; /* owned: (n_models) */
    unsigned n_models;
    struct prep_pool *preps; /* owned */
    struct thr loader;
    _Atomic bool closing;
    _Atomic uint64_t next_id;       /* of requests and jobs */
    uint8_t secret[KEY_FILE_BYTES]; /* of scopes */
    pthread_mutex_t lock;           /* guards what follows */
    struct engine_rate *rates;      /* owned: (n_models) */
    LIST_HEAD(, engine_port) gone;  /* ports given up: messages may come */
};

/* The model called <name>, or NULL. */
struct engine_model *engine_model_of(struct engine *e, struct str name);

/* Salt of who shares prefixes with the caller: by key, by team, or all. */
void engine_scope(const struct engine *e, struct str key_id, struct str team,
                  uint8_t out[SCOPE_BYTES]);

/* Open the prefix store of <m>, which is loaded and has a digest, unless it is
 * to have none. On the loader's thread. */
void engine_store_open(struct engine *e, struct engine_model *m);

/* Drain and free a port that was given up; nobody sends to it any more. */
void engine_port_bury(struct engine_port *p);

#endif
