/* avx512_q.c - Tiles of Q8_0 and Q4_0 by products of unsigned and signed bytes
 * that are added to int32 at once and cannot saturate. Weights are made
 * unsigned by an offset; what that adds, the dot begins with, negated. */
#include "kernels/cpu/avx512.h"

enum {
    Q8_0_BYTES = 34 * CPU_LANES,
    Q4_0_BYTES = 18 * CPU_LANES,
    SCALES = 2 * CPU_LANES, /* bytes of a panel's halves */
};

/* Four bytes of weights by four of x, of all rows. */
INLINE void bytes_add(const unsigned mr, __m512i w, const uint32_t *x,
                      __m512i *dot)
{
    UNROLL for (unsigned m = 0; m < mr; m++)
    {
        dot[m] = _mm512_dpbusd_epi32(dot[m], w, wide_all(x + m));
        SETTLE_WIDE(dot[m]);
    }
}

INLINE void dots_begin(const unsigned mr, const uint32_t *less, __m512i *dot)
{
    UNROLL for (unsigned m = 0; m < mr; m++) dot[m] = wide_all(less + m);
}

/* sum = fma((float)dot * d, dx, sum) */
INLINE void scale_add(const unsigned mr, const __m512i *dot,
                      const uint8_t *halves, const uint32_t *dx, __m512 *sum)
{
    __m512 d = wide_halves(halves);

    UNROLL for (unsigned m = 0; m < mr; m++) sum[m] =
        _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(dot[m]), d),
                        wide_float(dx + m), sum[m]);
}

INLINE void q8_0_tile(const struct cpu_tile *t, const unsigned mr)
{
    const __m512i flip = _mm512_set1_epi8(-128);
    const uint32_t *x = t->x;
    const uint8_t *w = t->w;
    __m512 sum[AVX512_ROWS];

    wide_load(t, mr, sum);
    for (size_t b = 0; b < t->n / 32; b++, x += CPU_XO_COUNT * mr) {
        __m512i dot[AVX512_ROWS];

        for (unsigned i = 0; i < Q8_0_BYTES; i += 64)
            prefetch(w + i);
        dots_begin(mr, x + CPU_XO_LESS128 * mr, dot);
        UNROLL for (unsigned g = 0; g < 8; g++) bytes_add(
            mr, _mm512_xor_si512(wide_ints(w + SCALES + g * 64), flip),
            x + g * mr, dot);
        scale_add(mr, dot, w, x + CPU_XO_SCALE * mr, sum);
        w += Q8_0_BYTES;
    }
    wide_store(t, mr, sum);
}

INLINE void q4_0_tile(const struct cpu_tile *t, const unsigned mr)
{
    const __m512i low = _mm512_set1_epi8(15);
    const uint32_t *x = t->x;
    const uint8_t *w = t->w;
    __m512 sum[AVX512_ROWS];

    wide_load(t, mr, sum);
    for (size_t b = 0; b < t->n / 32; b++, x += CPU_XO_COUNT * mr) {
        __m512i dot[AVX512_ROWS];

        for (unsigned i = 0; i < Q4_0_BYTES; i += 64)
            prefetch(w + i);
        dots_begin(mr, x + CPU_XO_LESS8 * mr, dot);
        UNROLL for (unsigned g = 0; g < 4; g++)
        {
            __m512i v = wide_ints(w + SCALES + g * 64);

            bytes_add(mr, _mm512_and_si512(v, low), x + g * mr, dot);
            v = _mm512_and_si512(_mm512_srli_epi16(v, 4), low);
            bytes_add(mr, v, x + (g + 4) * mr, dot);
        }
        scale_add(mr, dot, w, x + CPU_XO_SCALE * mr, sum);
        w += Q4_0_BYTES;
    }
    wide_store(t, mr, sum);
}

TILES_TO_12(q8_0_tile)
TILES_TO_12(q4_0_tile)
