/* a_linear.h - What the kernels of products take: plain C, the same on the host
 * and on the device. Sizes are in elements where nothing else is said. */
#ifndef TG_KERNELS_CUDA_A_LINEAR_H
#define TG_KERNELS_CUDA_A_LINEAR_H

#include <stdint.h>

/* Matrices of one launch. */
#define TG_MATS 3

/* How a result is written: as enum krn_as. */
#define TG_AS_ACT   0
#define TG_AS_F32   1
#define TG_AS_ADDED 2

/* How weights lie: rows of numbers, or tiles of tile.cuh. The numbers are those
 * of enum krn_dtype. */
#define TG_W_F32  0
#define TG_W_F16  1
#define TG_W_BF16 2
#define TG_W_Q8_0 3
#define TG_W_Q4_0 4
#define TG_W_Q4_K 5
#define TG_W_Q5_K 6
#define TG_W_Q6_K 7
#define TG_W_FP8  9

/* One matrix (n_out, k) and what becomes of x times it. */
struct tg_mat {
    const void *w;
    const void *up; /* of a gated unit: w is the gate, y = silu(x w) * (x up) */
    const float *bias; /* (n_out) or NULL; not of a gated unit */
    void *y;           /* (m, n_out), rows ldy apart */
    uint32_t ldy;
    uint32_t n_out;
    uint32_t tile0; /* first of its tiles among those of the launch */
    uint32_t as;    /* TG_AS_* */
};

/* Up to 8 tokens a block: the grid is (blocks that share the tiles, slices of
 * k, groups of 8 tokens). A tile is 16 rows, or 8 of gate and the 8 of up. */
struct tg_gemv {
    struct tg_mat mat[TG_MATS];
    const void *x;   /* (m, k) activations, rows ldx apart, aligned to 16 */
    float *part;     /* (groups, tiles, slices, 8, 16) where there are slices */
    uint32_t *count; /* (groups, tiles) zeros, zeros again afterwards */
    uint32_t n_mat;
    uint32_t n_tile;
    uint32_t ldx;
    uint32_t m;
    uint32_t k;     /* a multiple of 8 */
    uint32_t slice; /* units of k a slice: see gemv.cuh */
    uint32_t glu;   /* all matrices are gated units */
};

/* 9 to 64 tokens with quantised weights: the grid is (groups of 4 tiles, slices
 * of k). Sums lie as (groups, slices, tokens of the kernel, 64). */
struct tg_gemm_quant {
    struct tg_mat mat[TG_MATS];
    const void *x; /* as above */
    float *part;
    uint32_t *count; /* (groups of 4 tiles) */
    uint32_t n_mat;
    uint32_t n_tile;
    uint32_t ldx;
    uint32_t m;
    uint32_t k;
    uint32_t slice; /* tiles of 256 k a slice */
    uint32_t glu;
};

/* Any number of tokens, one matrix of numbers: the grid is (tiles of 64 rows,
 * tiles of 64 tokens). */
struct tg_gemm {
    struct tg_mat mat; /* no gated unit */
    const void *x;
    uint32_t ldx;
    uint32_t m;
    uint32_t k;
};

/* Anything: the grid is (groups of 8 rows, groups of 8 tokens). */
struct tg_any {
    struct tg_mat mat;
    const void *x;
    uint32_t ldx;
    uint32_t m;
    uint32_t k;
    uint32_t w_type; /* TG_W_* */
    uint32_t x_type; /* TG_W_F32, TG_W_F16 or TG_W_BF16: of x, and of y where
                      * it is activations */
};

/* A matrix of tiles written as rows of numbers: the grid is (groups of 8 rows,
 * tiles of k). */
struct tg_widen {
    const void *w;
    void *y; /* (n_out, k) rows ldy apart, of TG_W_F16 or TG_W_BF16 */
    uint32_t n_out;
    uint32_t k;
    uint32_t ldy;
    uint32_t w_type;
    uint32_t y_type;
};

/* Random weights. Rows of numbers: the grid covers (n_out, k) in chunks of 256
 * elements of a row. Tiles: the grid is (row blocks, tiles of k). */
struct tg_random {
    void *w;
    uint64_t seed;
    uint32_t n_out;
    uint32_t k;
    uint32_t w_type;
    float scale; /* the deviation of a weight, about */
};

#endif
