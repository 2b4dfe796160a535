/* random.h - Random weights that a bench fills a device with: every number is
 * decided by seed, row and column alone, the same on the host and on the
 * device. Eight columns share one hash; a weight is a byte of it, as far as the
 * type has room. Deviations: 73.9 of a byte, 4.61 of a nibble, 9.23 of five
 * bits, 18.5 of six. */
#ifndef TG_KERNELS_CUDA_RANDOM_H
#define TG_KERNELS_CUDA_RANDOM_H

#include <stdint.h>

/* How its functions begin. */
#ifdef __cplusplus
#include "kernels/cuda/dev.cuh"
#define RANDOM_FN DEV
#else
#define RANDOM_FN static inline
#endif

/* Bytes for the columns 8 chunk .. 8 chunk + 7 of <row>, lowest first. */
RANDOM_FN uint64_t random_eight(uint64_t seed, uint64_t row, uint64_t chunk)
{
    uint64_t v = seed + row * 0x9e3779b97f4a7c15U + chunk * 0xd1b54a32d192ed03U;

    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9U;
    v = (v ^ v >> 27) * 0x94d049bb133111ebU;
    return v ^ v >> 31;
}

/* What a byte is worth in floats of deviation 1. */
RANDOM_FN float random_float(uint32_t byte)
{
    return ((float)byte - 127.5F) * (1.F / 73.9F);
}

/* The scale of quants of deviation 1, and what it is multiplied with in the K
 * types: 6-bit scales and minima, d_min as a multiple of d. A quant less its
 * mean has mean 0. */
#define RANDOM_Q8_0       (1.F / 73.9F)
#define RANDOM_Q4_0       (1.F / 4.61F)
#define RANDOM_Q4_K       (1.F / 4.61F / 32)
#define RANDOM_Q5_K       (1.F / 9.23F / 32)
#define RANDOM_Q6_K       (1.F / 18.5F / 64)
#define RANDOM_FP8        (127.5F / 73.9F / 448)
#define RANDOM_K_SCALE    32 /* times d */
#define RANDOM_Q4_K_MIN   60 /* 60 * 4 d = 7.5 * 32 d */
#define RANDOM_Q4_K_D     4
#define RANDOM_Q5_K_MIN   62 /* 62 * 8 d = 15.5 * 32 d */
#define RANDOM_Q5_K_D     8
#define RANDOM_Q6_K_SCALE 64

#endif
