/* avx512_float.c - Tiles of the float types in 16 lanes: one chain of fused
 * multiply and add for each output and cut. Eight chains or more keep both
 * units busy, so that few rows take several panels at once. */
#include "kernels/cpu/avx512.h"

INLINE __m512 weights_load(enum krn_dtype t, const uint8_t *w)
{
    if (t == KRN_F32)
        return _mm512_loadu_ps(w);
    if (t == KRN_F16)
        return wide_halves(w);
    return _mm512_castsi512_ps(_mm512_slli_epi32(
        _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)w)), 16));
}

INLINE void cut_add(float *y, __m512 a, bool first)
{
    _mm512_storeu_ps(y, first ? a : _mm512_add_ps(_mm512_loadu_ps(y), a));
}

/* One element: rows times panels of weights. */
INLINE void element_add(const struct cpu_tile *t, enum krn_dtype type,
                        const unsigned mr, const unsigned np, const uint8_t *w,
                        const float *x, __m512 *a)
{
    __m512 v[CPU_WIDE_MAX];

    UNROLL for (unsigned i = 0; i < np; i++) v[i] =
        weights_load(type, w + i * t->panel_bytes);
    UNROLL for (unsigned m = 0; m < mr; m++)
    {
        __m512 b = _mm512_set1_ps(x[m]);

        UNROLL for (unsigned i = 0; i < np; i++) a[m * np + i] =
            _mm512_fmadd_ps(b, v[i], a[m * np + i]);
    }
}

INLINE void float_tile(const struct cpu_tile *t, enum krn_dtype type,
                       const unsigned mr, const unsigned np)
{
    const size_t step = CPU_LANES * (type == KRN_F32 ? 4 : 2);
    const float *x = t->x;
    const uint8_t *w = t->w;

    for (size_t k0 = 0; k0 < t->n; k0 += CPU_CUT) {
        size_t kc = t->n - k0 < CPU_CUT ? t->n - k0 : CPU_CUT;
        bool first = t->first && k0 == 0;
        __m512 a[2 * AVX512_ROWS];

        UNROLL for (unsigned i = 0; i < mr * np; i++) a[i] =
            _mm512_setzero_ps();
        for (size_t k = 0; k < kc; k++, w += step, x += mr) {
            UNROLL for (unsigned i = 0; i < np; i++)
                prefetch(w + i * t->panel_bytes);
            element_add(t, type, mr, np, w, x, a);
        }
        UNROLL for (unsigned i = 0; i < mr * np; i++)
            cut_add(t->y + i / np * t->ldy + i % np * CPU_LANES, a[i], first);
    }
}

/* A cut of F32 weights, in eight chains one after the other: the lanes of a
 * vector are rows of weights here, too. */
INLINE void woven_tile(const struct cpu_tile *t, const unsigned mr,
                       const unsigned np)
{
    const size_t step = CPU_LANES * 4;

    for (size_t k0 = 0; k0 < t->n; k0 += CPU_CUT) {
        size_t kc = t->n - k0 < CPU_CUT ? t->n - k0 : CPU_CUT;
        __m512 s[CPU_CHAINS][2 * AVX512_ROWS];

        for (unsigned j = 0; j < CPU_CHAINS; j++) {
            __m512 a[2 * AVX512_ROWS];

            UNROLL for (unsigned i = 0; i < mr * np; i++) a[i] =
                _mm512_setzero_ps();
            for (size_t k = k0 + j; k < k0 + kc; k += CPU_CHAINS)
                element_add(t, KRN_F32, mr, np, t->w + k * step,
                            (const float *)t->x + k * mr, a);
            UNROLL for (unsigned i = 0; i < mr * np; i++) s[j][i] = a[i];
        }
        for (unsigned h = CPU_CHAINS / 2; h > 0; h /= 2)
            for (unsigned j = 0; j < h; j++)
                for (unsigned i = 0; i < mr * np; i++)
                    s[j][i] = _mm512_add_ps(s[j][i], s[j + h][i]);
        for (unsigned i = 0; i < mr * np; i++)
            cut_add(t->y + i / np * t->ldy + i % np * CPU_LANES, s[0][i],
                    t->first && k0 == 0);
    }
}

INLINE void f32_tile(const struct cpu_tile *t, unsigned mr)
{
    woven_tile(t, mr, 1);
}

INLINE void f16_tile(const struct cpu_tile *t, unsigned mr)
{
    float_tile(t, KRN_F16, mr, 1);
}

INLINE void bf16_tile(const struct cpu_tile *t, unsigned mr)
{
    float_tile(t, KRN_BF16, mr, 1);
}

/* Panels of the wide tiles, by rows. */
const uint8_t avx512_float_panels[AVX512_ROWS + 1] = {0, 4, 4, 4, 4, 2, 2,
                                                      2, 2, 2, 2, 2, 2};

INLINE void f32_wide(const struct cpu_tile *t, unsigned mr)
{
    woven_tile(t, mr, mr <= 4 ? 4 : 2);
}

INLINE void f16_wide(const struct cpu_tile *t, unsigned mr)
{
    float_tile(t, KRN_F16, mr, mr <= 4 ? 4 : 2);
}

INLINE void bf16_wide(const struct cpu_tile *t, unsigned mr)
{
    float_tile(t, KRN_BF16, mr, mr <= 4 ? 4 : 2);
}

TILES_TO_12(f32_tile)
TILES_TO_12(f16_tile)
TILES_TO_12(bf16_tile)
TILES_TO_12(f32_wide)
TILES_TO_12(f16_wide)
TILES_TO_12(bf16_wide)
