/* avx2_q.c - Tiles of Q8_0 and Q4_0: exact dots of a block in integers, then
 * one fused multiply and add into the sums, which stay in memory. */
#include "kernels/cpu/avx2.h"

enum {
    Q8_0_BYTES = 34 * CPU_LANES,
    Q4_0_BYTES = 18 * CPU_LANES,
    SCALES = 2 * CPU_LANES, /* bytes of a panel's halves */
};

/* sum = fma((float)dot * d, dx, sum) */
INLINE void scale_add(unsigned mr, const __m256i *dot, const uint8_t *halves,
                      const uint32_t *dx, float *sum)
{
    __m256 d0 = load_halves(halves);
    __m256 d1 = load_halves(halves + 16);

    sum = hidden(sum);
    UNROLL for (unsigned m = 0; m < mr; m++)
    {
        __m256 x = all_float(dx + m);
        float *s = sum + m * CPU_LANES;
        __m256 f0 = _mm256_mul_ps(_mm256_cvtepi32_ps(dot[2 * m]), d0);
        __m256 f1 = _mm256_mul_ps(_mm256_cvtepi32_ps(dot[2 * m + 1]), d1);

        _mm256_store_ps(s, _mm256_fmadd_ps(f0, x, _mm256_load_ps(s)));
        _mm256_store_ps(s + 8, _mm256_fmadd_ps(f1, x, _mm256_load_ps(s + 8)));
    }
}

/* Pairs of int16, so that nothing saturates. */
INLINE void q8_0_tile(const struct cpu_tile *t, unsigned mr)
{
    _Alignas(32) float sum[AVX2_ROWS * CPU_LANES];
    const uint32_t *x = t->x;
    const uint8_t *w = t->w;

    sums_load(t, mr, sum);
    for (size_t b = 0; b < t->n / 32; b++, x += CPU_XP_COUNT * mr) {
        const uint8_t *q = w + SCALES;
        const uint32_t *xq = x;
        __m256i dot[2 * AVX2_ROWS];

        UNROLL for (unsigned i = 0; i < mr * 2; i++) dot[i] =
            _mm256_setzero_si256();
        for (unsigned p = 0; p < 16; p++, q += 32, xq += mr) {
            __m256i w0 =
                _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)q));
            __m256i w1 = _mm256_cvtepi8_epi16(
                _mm_loadu_si128((const __m128i *)(q + 16)));

            if (p % 2 == 0)
                prefetch(q);
            UNROLL for (unsigned m = 0; m < mr; m++)
            {
                __m256i v = all_of(xq + m);

                dot[2 * m] =
                    _mm256_add_epi32(dot[2 * m], _mm256_madd_epi16(w0, v));
                dot[2 * m + 1] =
                    _mm256_add_epi32(dot[2 * m + 1], _mm256_madd_epi16(w1, v));
                SETTLE(dot[2 * m], dot[2 * m + 1]);
            }
        }
        scale_add(mr, dot, w, x + CPU_XP_SCALE * mr, sum);
        w += Q8_0_BYTES;
    }
    sums_store(t, mr, sum);
}

/* Unsigned nibbles by signed bytes into int16: 8 steps of at most 2 * 15 * 127
 * are 30480. What the offset of 8 has added is taken off at the end. */
INLINE void q4_0_tile(const struct cpu_tile *t, unsigned mr)
{
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i low = _mm256_set1_epi8(15);
    _Alignas(32) float sum[AVX2_ROWS * CPU_LANES];
    const uint32_t *x = t->x;
    const uint8_t *w = t->w;

    sums_load(t, mr, sum);
    for (size_t b = 0; b < t->n / 32; b++, x += CPU_XW_COUNT * mr) {
        __m256i dot[2 * AVX2_ROWS];

        for (unsigned i = 0; i < Q4_0_BYTES; i += 64)
            prefetch(w + i);
        UNROLL for (unsigned i = 0; i < mr * 2; i++) dot[i] =
            _mm256_setzero_si256();
        UNROLL for (unsigned g = 0; g < 8; g++)
        {
            const uint8_t *q = w + SCALES + g % 4 * 64;
            __m256i w0 = load_ints(q);
            __m256i w1 = load_ints(q + 32);

            w0 = _mm256_and_si256(g < 4 ? w0 : _mm256_srli_epi16(w0, 4), low);
            w1 = _mm256_and_si256(g < 4 ? w1 : _mm256_srli_epi16(w1, 4), low);
            UNROLL for (unsigned m = 0; m < mr; m++)
            {
                __m256i v = all_of(x + g * mr + m);

                dot[2 * m] =
                    _mm256_add_epi16(dot[2 * m], _mm256_maddubs_epi16(w0, v));
                dot[2 * m + 1] = _mm256_add_epi16(dot[2 * m + 1],
                                                  _mm256_maddubs_epi16(w1, v));
                SETTLE(dot[2 * m], dot[2 * m + 1]);
            }
        }
        UNROLL for (unsigned i = 0; i < mr * 2; i++)
        {
            __m256i s = all_of(x + CPU_XW_SUM * mr + i / 2);

            dot[i] = _mm256_sub_epi32(_mm256_madd_epi16(dot[i], ones),
                                      _mm256_slli_epi32(s, 3));
        }
        scale_add(mr, dot, w, x + CPU_XW_SCALE * mr, sum);
        w += Q4_0_BYTES;
    }
    sums_store(t, mr, sum);
}

TILES_TO_6(q8_0_tile)
TILES_TO_6(q4_0_tile)
