/* emu_kernels.h - The arguments of the kernels that try the emulator out. */
#ifndef TG_TESTS_KERNELS_EMU_KERNELS_H
#define TG_TESTS_KERNELS_EMU_KERNELS_H

#include <stdint.h>

/* emu_gemv: y (8, 16) F32 = x (8, k) w (16, k)^T, one warp; halves. */
struct emu_gemv_args {
    const uint16_t *w, *x;
    float *y;
    int k;    /* a multiple of 32 */
    int bf16; /* or F16 */
};

/* What emu_tile leaves out. */
enum emu_tile_bug { TILE_RIGHT, TILE_NO_WAIT, TILE_NO_BARRIER, TILE_LATE };

/* emu_tile: o (32, 128) F32 = (q (32, 128) k (64, 128)^T) v (64, 128), all F16,
 * the product in between rounded to F16, too; two warps, EMU_TILE_SMEM bytes.
 * From key <keys> on all are taken for zeros. */
struct emu_tile_args {
    const uint16_t *q, *k, *v;
    float *o;
    int keys;
    int bug;
};
#define EMU_TILE_SMEM ((32 + 64 + 64) * 256)

/* What emu_bits computes of a and b. */
enum emu_bits_op {
    BITS_PRMT, /* c: the selector */
    BITS_AND_OR,
    BITS_ADD_F16,
    BITS_ADD_BF16,
    BITS_PACK_F16, /* a, b: floats */
    BITS_PACK_BF16,
    BITS_OF_F16,
    BITS_OF_BF16,
    BITS_E4M3,
    BITS_E4M3_BITS, /* without the instruction */
    BITS_EX2,
};

/* emu_bits: out[i] = op(a[i], b[i], c[i]). */
struct emu_bits_args {
    const uint32_t *a, *b, *c;
    uint32_t *out;
    unsigned n;
    int op;
};

/* emu_lanes: one warp; out (8, 32) of each collective. */
struct emu_lanes_args {
    uint32_t *out;
    unsigned live; /* lanes from this on return at once */
};

/* emu_count: each thread adds one to its own place of <seen>. */
struct emu_count_args {
    unsigned *seen;
    unsigned *blocks; /* counts the blocks */
};

/* What emu_sum does wrong. */
enum emu_sum_bug {
    SUM_RIGHT,
    SUM_NO_BARRIER,
    SUM_NO_WARP_BARRIER,
    SUM_ONE_LEAVES,     /* at a barrier: allowed */
    SUM_ONE_STAYS,      /* at a barrier that the others do not reach */
    SUM_LANE_ELSEWHERE, /* one lane votes, the others shuffle */
    SUM_BEHIND_SHARED,
    SUM_FAR_BEHIND_SHARED,
    SUM_BEHIND_GLOBAL,
    SUM_BEFORE_GLOBAL,
    SUM_READ_NOWHERE,
    SUM_MISALIGNED,
    SUM_FOREIGN_MASK,
    SUM_DEEP, /* more stack than there is */
};

/* emu_sum: *y = sum of x (n), one block of 256 threads, 1024 bytes. */
struct emu_sum_args {
    const float *x;
    float *y;
    int n;
    int bug;
};

/* What emu_add does wrong. */
enum emu_add_bug { ADD_RIGHT, ADD_READS_EARLY, ADD_WRITES_EARLY, ADD_NO_WAIT };

/* emu_add: y[i] = x[i] + by, n elements. */
struct emu_add_args {
    const int32_t *x;
    int32_t *y;
    int32_t by;
    uint32_t n;
    int32_t bug;
};

#endif
