/* gpu_ops.h - What the parts of b_gpu_ops share: a context, a step's rows, a
 * pool, and how an operation is measured. */
#ifndef TG_BENCH_GPU_OPS_H
#define TG_BENCH_GPU_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gpu_row.h"
#include "kernels/krn.h"

#define OPS_ROOM  8192u          /* most rows of a step */
#define OPS_TABLE (256u * 1024u) /* most pages of all sequences */
#define OPS_PAGES 520u           /* what rows without a context need */
#define OPS_TYPES 8
#define OPS_ROWS  16

/* Sizes of a model. */
struct ops_size {
    unsigned d_model, n_head, n_kv_head, d_head, d_ff, n_vocab;
};

/* All there is. */
struct ops {
    const char *device;
    bool is_toy, named;
    struct ops_size size;
    enum krn_dtype types[OPS_TYPES];
    unsigned n_types;
    unsigned m[OPS_ROWS]; /* rows of products */
    unsigned n_m;
    unsigned samples;
    double end_s;    /* nothing begins later */
    double sample_s; /* a sample takes about that long */

    struct krn_ctx *krn;
    struct krn_kv kv; /* pages owned */
    struct krn_step step;
    unsigned room; /* rows of what follows */
    int32_t *ids, *seq, *pos;
    unsigned *wanted;
    int32_t *table;
    unsigned kind;
};

/* Queue the <i>th operation of a step of <m> queued rows. */
typedef enum krn_status ops_fn(struct ops *o, unsigned i, unsigned m,
                               void *arg);

/* End the program with a sentence; ops_must() for anything but KRN_OK. */
void ops_die(const char *what, const char *why) __attribute__((noreturn));
void ops_must(enum krn_status st, const char *what);

/* Device memory; ends the program when there is none. */
void *ops_take(struct ops *o, size_t bytes);

/* Bytes of an activation. */
size_t ops_act_bytes(const struct ops *o);

/* Fill device memory with numbers around 1. */
void ops_fill(struct ops *o, void *to, size_t bytes, bool f32);

/* Make a pool of <n_pages> with numbers in them. */
void ops_pool(struct ops *o, unsigned n_layer, unsigned n_pages);

/* Let steps have <rows> rows: a token each of as many sequences that have
 * <before> ones, or a piece of one sequence. */
void ops_rows(struct ops *o, unsigned rows, unsigned before, bool decode);

/* How many operations a sample should have. */
unsigned ops_count(const struct ops *o, double bytes, double flops);

/* Measure steps of <n> operations and write the row of one. */
void ops_measure(struct ops *o, const struct gpu_case *c, unsigned n,
                 ops_fn *fn, void *arg);

/* The parts. */
void ops_copy(struct ops *o);
void ops_row_wise(struct ops *o);
void ops_attend(struct ops *o);
void ops_linear(struct ops *o, enum krn_dtype t);

#endif
