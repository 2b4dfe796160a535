/* avx2.h - What the AVX2 files share. A tile's number of rows is a constant
 * wherever it is inlined, so that its accumulators are registers; each size is
 * a function of its own, since a compiler that gets two in one function spills
 * in one of them. */
#ifndef TG_KERNELS_CPU_AVX2_H
#define TG_KERNELS_CPU_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#include "kernels/cpu/cpu.h"

/* Functions that must be inlined, and loops that must become straight code, so
 * that arrays become registers. Where a sanitizer checks each access, that
 * would be megabytes, and minutes of the compiler's time. */
#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||     \
    __has_feature(undefined_behavior_sanitizer)
#define CPU_SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CPU_SANITIZED
#endif
#if defined(CPU_SANITIZED)
#define INLINE static inline __attribute__((noinline, unused))
#define UNROLL
#elif defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")
#endif

/* Tiles of 1 to 6 rows from an inline function of (tile, rows). */
#define TILE_OF(name, rows)                                                    \
    static                                                                     \
        __attribute__((noinline)) void name##_##rows(const struct cpu_tile *t) \
    {                                                                          \
        name(t, rows);                                                         \
    }
#define TILES_TO_6(name)                                                       \
    TILE_OF(name, 1)                                                           \
    TILE_OF(name, 2)                                                           \
    TILE_OF(name, 3)                                                           \
    TILE_OF(name, 4)                                                           \
    TILE_OF(name, 5)                                                           \
    TILE_OF(name, 6)                                                           \
    cpu_tile_fn *const avx2_##name[7] = {                                      \
        NULL, name##_1, name##_2, name##_3, name##_4, name##_5, name##_6};

enum { AVX2_ROWS = 6 };

/* Tiles by type; the wide ones take more than one panel. */
extern cpu_tile_fn *const avx2_widened_tile[AVX2_ROWS + 1];
extern cpu_tile_fn *const avx2_f32_tile[AVX2_ROWS + 1];
extern cpu_tile_fn *const avx2_f16_tile[AVX2_ROWS + 1];
extern cpu_tile_fn *const avx2_bf16_tile[AVX2_ROWS + 1];
extern cpu_tile_fn *const avx2_f32_wide[AVX2_ROWS + 1];
extern cpu_tile_fn *const avx2_f16_wide[AVX2_ROWS + 1];
extern cpu_tile_fn *const avx2_bf16_wide[AVX2_ROWS + 1];
extern const uint8_t avx2_float_panels[AVX2_ROWS + 1];
extern cpu_tile_fn *const avx2_q8_0_tile[AVX2_ROWS + 1];
extern cpu_tile_fn *const avx2_q4_0_tile[AVX2_ROWS + 1];
extern cpu_tile_fn *const avx2_q4_k_tile[AVX2_ROWS + 1];
extern cpu_tile_fn *const avx2_q5_k_tile[AVX2_ROWS + 1];
extern cpu_tile_fn *const avx2_q6_k_tile[AVX2_ROWS + 1];

/* Widening of a cut. */
void avx2_f16_widen(const uint8_t *w, size_t n, float *out);
void avx2_bf16_widen(const uint8_t *w, size_t n, float *out);

/* Packing of x in its forms. */
void avx2_xpack_float(const float *x, size_t ldx, unsigned mr, size_t n,
                      void *out);
void avx2_xpack_bytes(const float *x, size_t ldx, unsigned mr, size_t n,
                      void *out);
void avx2_xpack_pairs(const float *x, size_t ldx, unsigned mr, size_t n,
                      void *out);

/* Ask for the line that comes some later. */
INLINE void prefetch(const uint8_t *p)
{
    _mm_prefetch((const char *)p + CPU_PREFETCH, _MM_HINT_T0);
}

/* Eight halves as floats. */
INLINE __m256 load_halves(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

INLINE __m256i load_ints(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* A packed word in all lanes. */
INLINE __m256i all_of(const uint32_t *p)
{
    return _mm256_set1_epi32((int)*p);
}

INLINE __m256 all_float(const uint32_t *p)
{
    return _mm256_castsi256_ps(_mm256_set1_epi32((int)*p));
}

/* Hide where <p> points: an array that the compiler sees through, it would
 * keep in registers at the cost of those in the inner loop. */
INLINE float *hidden(float *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

/* Have both in registers here, before anything that comes later: left to
 * itself, gcc begins all rows at once and runs out of registers. */
#define SETTLE(a, b) __asm__ volatile("" : "+x"(a), "+x"(b))

/* Sums of a tile, (rows, 16), from y or from zero, and back. */
INLINE void sums_load(const struct cpu_tile *t, unsigned mr, float *sum)
{
    for (unsigned m = 0; m < mr; m++) {
        const float *y = t->y + m * t->ldy;

        for (unsigned v = 0; v < CPU_LANES; v += 8)
            _mm256_store_ps(sum + m * CPU_LANES + v,
                            t->first ? _mm256_setzero_ps()
                                     : _mm256_loadu_ps(y + v));
    }
}

INLINE void sums_store(const struct cpu_tile *t, unsigned mr, const float *sum)
{
    for (unsigned m = 0; m < mr; m++) {
        float *y = t->y + m * t->ldy;

        for (unsigned v = 0; v < CPU_LANES; v += 8)
            _mm256_storeu_ps(y + v, _mm256_load_ps(sum + m * CPU_LANES + v));
    }
}

#endif
