/* a_rows.h - What the kernels of k_rows.cu and k_heads.cu are told: one struct
 * each, shared by the host and the device. Pointers are device addresses. Work
 * is cut in units of eight elements of a row; <vec> says that rows begin at
 * multiples of 16 bytes and are whole units, so that units are read and written
 * as vectors. */
#ifndef TG_KERNELS_CUDA_A_ROWS_H
#define TG_KERNELS_CUDA_A_ROWS_H

#include <stdint.h>

/* Threads of a block, and of a norm at most. */
#define ROWS_THREADS      128
#define ROWS_NORM_THREADS 512

/* tg_embed_*: one block a row and <blocks> * ROWS_THREADS units of it. */
struct a_embed {
    float *x;           /* (m, n_in) */
    const void *w;      /* (n_out, n_in), or tiles */
    const int32_t *ids; /* (m) */
    int32_t n_in;
    int32_t n_k;    /* tiles of 256 k a row */
    int32_t blocks; /* a row */
    int32_t vec;
};

/* tg_turns: a thread a pair. */
struct a_turns {
    float *cs; /* (m, n_half, 2) */
    const double *freq;
    const int32_t *pos;
    double size;
    int32_t m;
    int32_t n_half;
};

/* tg_norm_*: a block a row; threads from n alone. */
struct a_norm {
    void *y; /* (m, n) */
    const float *x;
    const float *gain;
    int64_t ldy, ldx;
    int32_t n;
    float eps;
    int32_t vec;
};

/* tg_take: blocks as tg_embed_*. */
struct a_take {
    float *y; /* (n_wanted, n) */
    const float *x;
    const uint32_t *wanted;
    int32_t n;
    int32_t blocks;
    int32_t vec;
};

/* The pool's types. */
#define ROWS_KV_F16  0
#define ROWS_KV_BF16 1
#define ROWS_KV_FP8  2

/* tg_heads_*: <lanes> (a power of two, >= d_head / 8) threads a head; heads of
 * a row are those of q, then of k, then of v. */
struct a_heads {
    void *q, *k, *v;
    int64_t ldq, ldk, ldv;
    const float *q_norm, *k_norm; /* (d_head) or NULL */
    const float *cs;              /* (m, n_rot / 2, 2) */
    const int32_t *seq, *pos;     /* (m) */
    const int32_t *table;         /* (n_seq, max_pages) */
    uint8_t *pages;      /* of this layer: (n_pages, K|V, n_kv) halves of a
                          * head, see a_attend.h */
    int64_t page_stride; /* bytes from page to page */
    int32_t half_bytes;  /* of a head's keys, or values, in a page */
    int32_t max_pages, n_pages;
    int32_t m;
    int32_t n_head, n_kv; /* 0 where there are none */
    int32_t d_head, n_rot;
    int32_t lanes;
    int32_t halves;
    int32_t kv; /* ROWS_KV_*: the pool's type */
    int32_t vec;
    float eps;
};

/* tg_silu_*: y[j] = silu(y[j]) * y[n + j]; blocks as tg_embed_*. */
struct a_silu {
    void *y; /* (m, 2 n) */
    int64_t ldy;
    int32_t n;
    int32_t blocks;
    int32_t vec;
};

/* tg_bias_*: y += bias; blocks as tg_embed_*. */
struct a_bias {
    void *y; /* (m, n) */
    const float *bias;
    int64_t ldy;
    int32_t n;
    int32_t blocks;
    int32_t vec;
};

#endif
