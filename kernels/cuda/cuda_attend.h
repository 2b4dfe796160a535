/* cuda_attend.h - What attention keeps on the host, shared by its planning
 * (cuda_plan.c) and its launching (cuda_attend.c). */
#ifndef TG_KERNELS_CUDA_CUDA_ATTEND_H
#define TG_KERNELS_CUDA_CUDA_ATTEND_H

#include "kernels/cuda/a_attend.h"
#include "kernels/cuda/cuda.h"

/* Most rows of a set. */
#define ATT_ROWS_MAX 32768

/* Fewest pages of a split of what is decoded. */
#define ATT_SPLIT 2

/* Times that the buffer of partial results may grow. */
#define ATT_GROWTHS 16

/* Types of a pool that there are kernels for. */
enum att_pool { ATT_POOL_F16 = 0, ATT_POOL_BF16, ATT_POOL_FP8, ATT_POOL_COUNT };

/* What was planned for a set, for launches that are not recorded. */
struct cuda_planned {
    unsigned n_decode;  /* items of the decode kernel */
    unsigned n_tile;    /* items of the prefill kernel */
    unsigned tile_most; /* most tokens of one of those */
    unsigned tile_rows; /* tokens of all of those together */
};

/* Attention of a context. */
struct cuda_attend {
    struct cuda_planned planned[2]; /* by enum krn_set */
    CUdeviceptr
        parts[ATT_GROWTHS]; /* owned; the last is used, those before it
                             * may be held by recorded steps or in use */
    unsigned n_parts;
    size_t parts_bytes; /* of the last */
    /* Kernels by type and width (32, 64, 128, 256), NULL until first used;
     * those of prefill also by warps (4, 8). */
    CUfunction decode[ATT_POOL_COUNT][4];
    CUfunction prefill[ATT_POOL_COUNT][4][2];
};

/* Most items of the decode kernel for <m> queued rows: blocks of a recorded
 * launch are this many times n_kv_head. */
unsigned cuda_plan_decode_most(const struct cuda *d, unsigned n_kv_head,
                               unsigned m);

#endif
