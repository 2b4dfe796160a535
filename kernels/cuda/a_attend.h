/* a_attend.h - What host and kernels agree on about attention: the plan of a
 * set of rows, and the kernels' arguments. Plain C, for both worlds. */
#ifndef TG_KERNELS_CUDA_A_ATTEND_H
#define TG_KERNELS_CUDA_A_ATTEND_H

#include <stdint.h>

/* Tokens of a page. */
#define ATT_PAGE 64

/* Most tokens of an item of the prefill kernel. */
#define ATT_TILE 128

/* Most heads that share a kv head. */
#define ATT_GROUP 16

/* Pages that a block of the decode kernel has in shared memory; for heads of
 * more than 128. */
#define ATT_STAGES     3
#define ATT_STAGES_256 2

/* Types of activations, as enum krn_dtype. */
#define ATT_F32  0
#define ATT_F16  1
#define ATT_BF16 2

/* Pages of a cut where results may not depend on what else is in a step. */
#define ATT_CUT 8

/* A part of the work: <n> consecutive tokens of one sequence against the keys
 * of some of its pages. Those that share rows lie in parts <part>, <part> + n,
 * and so on of the partial results, and split numbers them. */
struct att_item {
    int32_t row;      /* of the first token, in the set */
    int32_t n;        /* tokens */
    int32_t seq;      /* row of the table of pages */
    int32_t pos;      /* position of the first token */
    int32_t page0;    /* first page of the keys */
    int32_t page1;    /* one past the last */
    uint32_t part;    /* of the first of the items that share rows */
    uint16_t split;   /* which of them this is */
    uint16_t n_split; /* how many they are; 1 writes its result out */
};

/* The plan of a set of rows: this, then n_decode items of the decode kernel,
 * then n_tile ones of the prefill kernel, each longest first. */
struct att_plan {
    uint32_t bytes; /* used of the plan */
    uint32_t n_decode, n_tile;
    uint32_t unused;
    float *out;      /* (parts, n_kv_head, group, d_head) partial results */
    float *lse;      /* (parts, n_kv_head, ATT_GROUP) log2 of their weights */
    uint32_t *count; /* (parts, n_kv_head) items that are done; 0 between */
    uint64_t unused2[3];
};

/* Arguments of tg_decode_* and tg_prefill_*. Strides are in elements. Keys, or
 * values, of a kv head in a page are (ATT_PAGE, d_head) of the pool's type; of
 * FP8, an element is a byte of e4m3, and behind them are (ATT_PAGE) scales of 4
 * bytes: what the token's numbers are multiples of, a power of two, twice as
 * F16. */
struct att_args {
    const struct att_plan *plan;
    const int32_t *table; /* (n_seq, max_pages) */
    const void *q;        /* (rows, n_kv_head, group, d_head) of type act */
    void *out;            /* likewise */
    const void *k;        /* page 0, the layer's keys of kv head 0 */
    int64_t page_stride;  /* from page to page */
    int64_t head_stride;  /* from kv head to kv head in a page */
    int64_t v_off;        /* from keys to values */
    int64_t ldq, ldo;
    int32_t max_pages;
    int32_t n_kv_head;
    int32_t group;
    int32_t magic;  /* row / group == row * magic >> 16 for rows < 4096 */
    int32_t d_head; /* a multiple of 8 */
    int32_t act;    /* ATT_F32, ATT_F16, ATT_BF16 */
    int32_t cut;    /* pages whose sums are formed together */
    float scale;    /* of scores, times log2(e) */
};

#endif
