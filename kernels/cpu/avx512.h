/* avx512.h - What the AVX-512 files share. A vector has a panel's 16 lanes. */
#ifndef TG_KERNELS_CPU_AVX512_H
#define TG_KERNELS_CPU_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#include "kernels/cpu/avx2.h"
#include "kernels/cpu/cpu.h"

enum { AVX512_ROWS = 12 };

/* Tiles of 1 to 12 rows from an inline function of (tile, rows). */
#define TILES_TO_12(name)                                                      \
    TILE_OF(name, 1)                                                           \
    TILE_OF(name, 2)                                                           \
    TILE_OF(name, 3)                                                           \
    TILE_OF(name, 4)                                                           \
    TILE_OF(name, 5)                                                           \
    TILE_OF(name, 6)                                                           \
    TILE_OF(name, 7)                                                           \
    TILE_OF(name, 8)                                                           \
    TILE_OF(name, 9)                                                           \
    TILE_OF(name, 10)                                                          \
    TILE_OF(name, 11)                                                          \
    TILE_OF(name, 12)                                                          \
    cpu_tile_fn *const avx512_##name[AVX512_ROWS + 1] = {NULL,      name##_1,  \
                                                         name##_2,  name##_3,  \
                                                         name##_4,  name##_5,  \
                                                         name##_6,  name##_7,  \
                                                         name##_8,  name##_9,  \
                                                         name##_10, name##_11, \
                                                         name##_12};

/* Tiles by type; the wide ones take more than one panel. */
extern cpu_tile_fn *const avx512_f32_tile[AVX512_ROWS + 1];
extern cpu_tile_fn *const avx512_f16_tile[AVX512_ROWS + 1];
extern cpu_tile_fn *const avx512_bf16_tile[AVX512_ROWS + 1];
extern cpu_tile_fn *const avx512_f32_wide[AVX512_ROWS + 1];
extern cpu_tile_fn *const avx512_f16_wide[AVX512_ROWS + 1];
extern cpu_tile_fn *const avx512_bf16_wide[AVX512_ROWS + 1];
extern const uint8_t avx512_float_panels[AVX512_ROWS + 1];
extern cpu_tile_fn *const avx512_q8_0_tile[AVX512_ROWS + 1];
extern cpu_tile_fn *const avx512_q4_0_tile[AVX512_ROWS + 1];
extern cpu_tile_fn *const avx512_q4_k_tile[AVX512_ROWS + 1];
extern cpu_tile_fn *const avx512_q5_k_tile[AVX512_ROWS + 1];
extern cpu_tile_fn *const avx512_q6_k_tile[AVX512_ROWS + 1];

/* Packing of x in the form CPU_X_OFFSETS. */
void avx512_xpack_offsets(const float *x, size_t ldx, unsigned mr, size_t n,
                          void *out);

/* Sixteen halves as floats. */
INLINE __m512 wide_halves(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

INLINE __m512i wide_ints(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}

/* A packed word in all lanes. */
INLINE __m512i wide_all(const uint32_t *p)
{
    return _mm512_set1_epi32((int)*p);
}

INLINE __m512 wide_float(const uint32_t *p)
{
    return _mm512_castsi512_ps(_mm512_set1_epi32((int)*p));
}

/* Have it in a register here, before anything that comes later. */
#define SETTLE_WIDE(a) __asm__ volatile("" : "+v"(a))

/* Sums of a tile from y or from zero, and back. */
INLINE void wide_load(const struct cpu_tile *t, const unsigned mr, __m512 *sum)
{
    UNROLL for (unsigned m = 0; m < mr; m++) sum[m] =
        t->first ? _mm512_setzero_ps() : _mm512_loadu_ps(t->y + m * t->ldy);
}

INLINE void wide_store(const struct cpu_tile *t, const unsigned mr,
                       const __m512 *sum)
{
    UNROLL for (unsigned m = 0; m < mr; m++)
        _mm512_storeu_ps(t->y + m * t->ldy, sum[m]);
}

#endif
