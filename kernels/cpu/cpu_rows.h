/* cpu_rows.h - The inner loops of the row-wise operations and of attention: one
 * table for each instruction set, all made from the same templates. They work
 * on one row or one small tile; who does which row on which thread is decided
 * by cpu_rows.c and cpu_attend.c. */
#ifndef TG_KERNELS_CPU_ROWS_H
#define TG_KERNELS_CPU_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/krn.h"
#include "kernels/krn_priv.h"

/* How a chain leaves what it has summed up. */
enum cpu_chain_end {
    CPU_CHAIN_SET = 0, /* c = sum */
    CPU_CHAIN_ADD,     /* c = c + sum */
    CPU_CHAIN_SCALE,   /* c = sum * scale */
};

/* c (rows, 16) = chains over steps k of a (rows, steps) * b (steps, 16). The
 * steps of b lie in pieces, each a run of <piece> steps. */
struct cpu_chain {
    const float *a;
    size_t lda;           /* floats from row to row */
    const void *const *b; /* pieces */
    size_t b_skip_bytes;  /* into each piece */
    size_t b_step_bytes;  /* from step to step */
    unsigned piece;
    unsigned ahead;       /* b has as many pieces more, to be fetched early */
    enum krn_dtype dtype; /* of b: F32, F16, BF16 */
    unsigned rows;        /* 1 .. most_rows of the table */
    const unsigned *n;    /* (rows) steps of each row, ascending, from 1 */
    float *c;
    size_t ldc;
    enum cpu_chain_end end;
    float scale;
};

/* Heads to turn. */
struct cpu_turn {
    float *v;        /* (n_head, d_head) */
    const float *cs; /* (n_rot / 2, 2) */
    unsigned n_head, d_head, n_rot;
    bool halves;
};

/* The table of one instruction set. */
struct cpu_row_fns {
    unsigned most_rows; /* of one chain */
    void (*norm)(float *y, const float *x, const float *gain, size_t n,
                 float eps);
    void (*add)(float *y, const float *x, size_t n);
    void (*silu_mul)(float *y, const float *gate, const float *up, size_t n);
    void (*turn)(const struct cpu_turn *t);
    /* Round n floats into every <stride>th element of <y>. */
    void (*narrow)(void *y, size_t stride, enum krn_dtype t, const float *x,
                   size_t n);
    /* y (n) = x (n), zeros up to the next multiple of 16. */
    void (*widen)(float *y, const void *x, enum krn_dtype t, size_t n);
    void (*chain)(const struct cpu_chain *x);
    /* The greatest of n >= 1 scores. */
    float (*greatest)(const float *s, size_t n);
    /* s (n) = exp(s - max), n of one cut; the sum of them. */
    float (*exp_cut)(float *s, size_t n, float max);
    /* x (n) = x (n) * by, rounded to halves if <halves>. */
    void (*weigh)(float *x, size_t n, float by, bool halves);
};

/* The tables. */
extern const struct cpu_row_fns cpu_row_fns_avx2;
extern const struct cpu_row_fns cpu_row_fns_avx512;

/* The table for <isa>; NULL for scalar code. */
const struct cpu_row_fns *cpu_row_fns_of(enum krn_isa isa);

/* Attention; arguments have been checked. */
enum krn_status cpu_attend(struct krn_ctx *c, const struct krn_kv *kv,
                           unsigned layer, const struct krn_rows *rows,
                           const float *q, size_t ldq, unsigned n_head,
                           float scale, float *out, size_t ldo) KRN_MUST_CHECK;

/* All operations by the tables above. */
extern const struct krn_row_ops cpu_row_ops;

#endif
