/* engine_part.h - A model on one of its devices: its weights and pages there,
 * and a scheduler with a thread of its own. */
#ifndef TG_ENGINE_ENGINE_PART_H
#define TG_ENGINE_ENGINE_PART_H

#include "base/err.h"
#include "kernels/krn.h"

#include <stdint.h>

struct conf_engine_model;
struct engine_fault;
struct engine_load;
struct engine_model;
struct graph;
struct sched;

/* One device's part. Zeroed but for <m> and <context> before
 * engine_part_load(). */
struct engine_part {
    struct engine_model *m; /* borrowed: whose it is */
    unsigned context;    /* tokens of a sequence; less where memory is short */
    struct krn_ctx *krn; /* owned */
    struct graph *graph; /* owned */
    struct sched *sched; /* owned */
    unsigned slots;
    uint64_t kv_bytes;
    uint64_t revived_us; /* when the device was last begun anew; 0 = never */
};

/* Load the weights of p->m onto GPU <gpu>, or the CPU for ENGINE_NO_GPU, and
 * start the scheduler; <p> may not move from then on. Errors as
 * engine_model_load(); <p> is then fit for engine_part_free() alone. */
enum err engine_part_load(struct engine_part *p, const struct engine_load *load,
                          int gpu, struct engine_fault *why) MUST_CHECK;

/* Stop the scheduler. */
void engine_part_stop(struct engine_part *p);

/* Free everything. */
void engine_part_free(struct engine_part *p);

/* The type of the elements of keys and values. */
enum krn_dtype engine_part_kv_dtype(const struct conf_engine_model *conf);

#endif
