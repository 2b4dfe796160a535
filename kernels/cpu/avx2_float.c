/* avx2_float.c - Tiles of the float types: one chain of fused multiply and add
 * for each output and cut. Two cycles of an addition's four can be filled only
 * with eight chains or more, so that few rows take several panels at once. */
#include "kernels/cpu/avx2.h"

INLINE __m256 weights_load(enum krn_dtype t, const uint8_t *w)
{
    if (t == KRN_F32)
        return _mm256_loadu_ps((const float *)w);
    if (t == KRN_F16)
        return load_halves(w);
    return _mm256_castsi256_ps(_mm256_slli_epi32(
        _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)w)), 16));
}

INLINE void cut_add(float *y, __m256 a, bool first)
{
    _mm256_storeu_ps(y, first ? a : _mm256_add_ps(_mm256_loadu_ps(y), a));
}

/* One element: rows times vectors of weights. What there is less of is loaded
 * before the loop, or the registers do not suffice. */
INLINE void element_add(const struct cpu_tile *t, enum krn_dtype type,
                        const unsigned mr, const unsigned nv, const uint8_t *w,
                        const float *x, __m256 *a)
{
    const size_t bytes = type == KRN_F32 ? 32 : 16;
    __m256 few[AVX2_ROWS];

    if (mr < nv) {
        UNROLL for (unsigned m = 0; m < mr; m++) few[m] =
            _mm256_broadcast_ss(x + m);
        UNROLL for (unsigned i = 0; i < nv; i++)
        {
            const uint8_t *p = w + i / 2 * t->panel_bytes;
            __m256 v = weights_load(type, p + i % 2 * bytes);

            UNROLL for (unsigned m = 0; m < mr; m++) a[m * nv + i] =
                _mm256_fmadd_ps(few[m], v, a[m * nv + i]);
        }
        return;
    }
    UNROLL for (unsigned i = 0; i < nv; i++) few[i] =
        weights_load(type, w + i / 2 * t->panel_bytes + i % 2 * bytes);
    UNROLL for (unsigned m = 0; m < mr; m++)
    {
        __m256 v = _mm256_broadcast_ss(x + m);

        UNROLL for (unsigned i = 0; i < nv; i++) a[m * nv + i] =
            _mm256_fmadd_ps(v, few[i], a[m * nv + i]);
    }
}

/* <nv> vectors of eight lanes: two a panel. */
INLINE void float_tile(const struct cpu_tile *t, enum krn_dtype type,
                       const unsigned mr, const unsigned nv)
{
    const size_t step = CPU_LANES * (type == KRN_F32 ? 4 : 2);
    const float *x = t->x;
    const uint8_t *w = t->w;

    for (size_t k0 = 0; k0 < t->n; k0 += CPU_CUT) {
        size_t kc = t->n - k0 < CPU_CUT ? t->n - k0 : CPU_CUT;
        bool first = t->first && k0 == 0;
        __m256 a[2 * AVX2_ROWS];

        UNROLL for (unsigned i = 0; i < mr * nv; i++) a[i] =
            _mm256_setzero_ps();
        for (size_t k = 0; k < kc; k++, w += step, x += mr) {
            UNROLL for (unsigned i = 0; i < nv; i += 2)
                prefetch(w + i / 2 * t->panel_bytes);
            element_add(t, type, mr, nv, w, x, a);
        }
        UNROLL for (unsigned i = 0; i < mr * nv; i++)
            cut_add(t->y + i / nv * t->ldy + i % nv * 8, a[i], first);
    }
}

/* A cut of F32 weights, in eight chains one after the other: the lanes of a
 * vector are rows of weights here, too. */
INLINE void woven_tile(const struct cpu_tile *t, const unsigned mr,
                       const unsigned nv)
{
    const size_t step = CPU_LANES * 4;

    for (size_t k0 = 0; k0 < t->n; k0 += CPU_CUT) {
        size_t kc = t->n - k0 < CPU_CUT ? t->n - k0 : CPU_CUT;
        const float *x = (const float *)t->x + k0 * mr;
        const uint8_t *w = t->w + k0 * step;
        __m256 s[CPU_CHAINS][2 * AVX2_ROWS];

        for (unsigned j = 0; j < CPU_CHAINS; j++) {
            __m256 a[2 * AVX2_ROWS];

            UNROLL for (unsigned i = 0; i < mr * nv; i++) a[i] =
                _mm256_setzero_ps();
            for (size_t k = j; k < kc; k += CPU_CHAINS)
                element_add(t, KRN_F32, mr, nv, w + k * step, x + k * mr, a);
            UNROLL for (unsigned i = 0; i < mr * nv; i++) s[j][i] = a[i];
        }
        for (unsigned h = CPU_CHAINS / 2; h > 0; h /= 2)
            for (unsigned j = 0; j < h; j++)
                for (unsigned i = 0; i < mr * nv; i++)
                    s[j][i] = _mm256_add_ps(s[j][i], s[j + h][i]);
        for (unsigned i = 0; i < mr * nv; i++)
            cut_add(t->y + i / nv * t->ldy + i % nv * 8, s[0][i],
                    t->first && k0 == 0);
    }
}

INLINE void widened_tile(const struct cpu_tile *t, unsigned mr)
{
    float_tile(t, KRN_F32, mr, 2);
}

INLINE void f32_tile(const struct cpu_tile *t, unsigned mr)
{
    woven_tile(t, mr, 2);
}

INLINE void f16_tile(const struct cpu_tile *t, unsigned mr)
{
    float_tile(t, KRN_F16, mr, 2);
}

INLINE void bf16_tile(const struct cpu_tile *t, unsigned mr)
{
    float_tile(t, KRN_BF16, mr, 2);
}

TILES_TO_6(widened_tile)
TILES_TO_6(f32_tile)
TILES_TO_6(f16_tile)
TILES_TO_6(bf16_tile)

/* Panels of the wide tiles, by rows. */
const uint8_t avx2_float_panels[AVX2_ROWS + 1] = {0, 4, 2, 2, 0, 0, 0};

INLINE void f32_wide(const struct cpu_tile *t, unsigned mr)
{
    woven_tile(t, mr, mr == 1 ? 8 : 4);
}

INLINE void f16_wide(const struct cpu_tile *t, unsigned mr)
{
    float_tile(t, KRN_F16, mr, mr == 1 ? 8 : 4);
}

INLINE void bf16_wide(const struct cpu_tile *t, unsigned mr)
{
    float_tile(t, KRN_BF16, mr, mr == 1 ? 8 : 4);
}

#define WIDE_TO_3(name)                                                        \
    TILE_OF(name, 1)                                                           \
    TILE_OF(name, 2)                                                           \
    TILE_OF(name, 3)                                                           \
    cpu_tile_fn *const avx2_##name[AVX2_ROWS + 1] = {NULL, name##_1, name##_2, \
                                                     name##_3};

WIDE_TO_3(f32_wide)
WIDE_TO_3(f16_wide)
WIDE_TO_3(bf16_wide)

void avx2_f16_widen(const uint8_t *w, size_t n, float *out)
{
    for (size_t i = 0; i < n * CPU_LANES; i += 8)
        _mm256_store_ps(out + i, weights_load(KRN_F16, w + 2 * i));
}

void avx2_bf16_widen(const uint8_t *w, size_t n, float *out)
{
    for (size_t i = 0; i < n * CPU_LANES; i += 8)
        _mm256_store_ps(out + i, weights_load(KRN_BF16, w + 2 * i));
}
