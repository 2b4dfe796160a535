/* avx2_round.h - Rounding a block of x to integers, for the files that pack x
 * in the forms of their instruction sets. */
#ifndef TG_KERNELS_CPU_AVX2_ROUND_H
#define TG_KERNELS_CPU_AVX2_ROUND_H

#include <stdint.h>
#include <string.h>

#include "kernels/cpu/avx2.h"

/* A block of 32, rounded: four vectors of int32, and the scale. */
struct rounded {
    __m256i q[4];
    float scale;
};

/* ref_xblock_round() in vectors. */
INLINE void block_round(const float *x, struct rounded *out)
{
    const __m256i mag = _mm256_set1_epi32(0x7fffffff);
    __m256i most = _mm256_setzero_si256();
    __m256 v[4];
    __m128i m;
    uint32_t bits;
    float amax;
    float inverse;

    UNROLL for (unsigned i = 0; i < 4; i++)
    {
        v[i] = _mm256_loadu_ps(x + 8 * i);
        most = _mm256_max_epu32(
            most, _mm256_and_si256(_mm256_castps_si256(v[i]), mag));
    }
    m = _mm_max_epu32(_mm256_castsi256_si128(most),
                      _mm256_extracti128_si256(most, 1));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epu32(m, _mm_shuffle_epi32(m, 0xb1));
    bits = (uint32_t)_mm_cvtsi128_si32(m);
    amax = _mm_cvtss_f32(_mm_castsi128_ps(m));
    out->scale = amax / 127.0F;
    if (bits >= 0x7f800000U || amax < 0x1p-100F) {
        UNROLL for (unsigned i = 0; i < 4; i++) out->q[i] =
            _mm256_setzero_si256();
        return;
    }
    inverse = 127.0F / amax;
    UNROLL for (unsigned i = 0; i < 4; i++) out->q[i] =
        _mm256_cvtps_epi32(_mm256_mul_ps(v[i], _mm256_set1_ps(inverse)));
}

/* The bits of a float as a packed word. */
INLINE uint32_t float_word(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof(u));
    return u;
}

/* The 32 integers as words of four bytes, and the sums of the first and the
 * last 16. */
INLINE void rounded_bytes(const struct rounded *b, uint32_t *word, int *first,
                          int *last)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i v = _mm256_packs_epi16(_mm256_packs_epi32(b->q[0], b->q[1]),
                                   _mm256_packs_epi32(b->q[2], b->q[3]));
    __m256i fours;
    __m128i s;

    v = _mm256_permutevar8x32_epi32(v, order);
    _mm256_storeu_si256((__m256i *)word, v);
    fours = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), v),
                              _mm256_set1_epi16(1));
    s = _mm_hadd_epi32(_mm256_castsi256_si128(fours),
                       _mm256_extracti128_si256(fours, 1));
    s = _mm_hadd_epi32(s, s);
    *first = _mm_cvtsi128_si32(s);
    *last = _mm_extract_epi32(s, 1);
}

#endif
