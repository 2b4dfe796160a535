/* avx2_x.c - Packs rows of x for tiles: floats interleaved, or rounded to
 * integers by blocks of 32 (ref_xblock_round() in vectors). */
#include "kernels/cpu/avx2.h"

#include <float.h>

/* Eight rows by eight columns into eight columns by eight rows. */
INLINE void turn8(const __m256 *r, __m256 *c)
{
    __m256 t[8];
    __m256 u[8];

    UNROLL for (unsigned i = 0; i < 8; i += 2)
    {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    UNROLL for (unsigned i = 0; i < 8; i += 4)
    {
        u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    UNROLL for (unsigned i = 0; i < 4; i++)
    {
        c[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        c[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}

/* Columns k .. k+7 of up to eight rows from <row> on. Each column is written
 * eight wide: what is too much, the next column overwrites. */
static void columns_put(const float *x, size_t ldx, unsigned rows, float *to,
                        unsigned mr)
{
    __m256 r[8];
    __m256 c[8];

    for (unsigned i = 0; i < 8; i++)
        r[i] = _mm256_loadu_ps(x + (i < rows ? i : 0) * ldx);
    turn8(r, c);
    for (unsigned i = 0; i < 8; i++)
        _mm256_storeu_ps(to + (size_t)i * mr, c[i]);
}

void avx2_xpack_float(const float *x, size_t ldx, unsigned mr, size_t n,
                      void *out)
{
    float *to = out;
    size_t k = 0;

    if (mr == 1) {
        for (; k + 8 <= n; k += 8)
            _mm256_storeu_ps(to + k, _mm256_loadu_ps(x + k));
    }
    /* The last columns are written exactly: behind them is another's tile. */
    for (; mr > 1 && k + 16 <= n; k += 8) {
        for (unsigned r = 0; r < mr; r += 8)
            columns_put(x + r * ldx + k, ldx, mr - r, to + k * mr + r, mr);
    }
    for (; k < n; k++) {
        for (unsigned r = 0; r < mr; r++)
            to[k * mr + r] = x[r * ldx + k];
    }
}

/* A block of 32, rounded: four vectors of int32, and the scale. */
struct rounded {
    __m256i q[4];
    float scale;
};

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

static uint32_t float_word(float f)
{
    uint32_t u;

    __builtin_memcpy(&u, &f, sizeof(u));
    return u;
}

/* One row's block in the form CPU_X_BYTES, words <mr> apart. */
static void bytes_put(const struct rounded *b, unsigned mr, uint32_t *to)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i v = _mm256_packs_epi16(_mm256_packs_epi32(b->q[0], b->q[1]),
                                   _mm256_packs_epi32(b->q[2], b->q[3]));
    __m256i fours;
    __m128i s;
    uint32_t word[8];
    int first;
    int last;

    v = _mm256_permutevar8x32_epi32(v, order);
    _mm256_storeu_si256((__m256i *)word, v);
    fours = _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), v),
                              _mm256_set1_epi16(1));
    s = _mm_hadd_epi32(_mm256_castsi256_si128(fours),
                       _mm256_extracti128_si256(fours, 1));
    s = _mm_hadd_epi32(s, s);
    first = _mm_cvtsi128_si32(s);
    last = _mm_extract_epi32(s, 1);
    for (unsigned i = 0; i < 8; i++)
        to[i * mr] = word[i];
    to[CPU_XW_SCALE * mr] = float_word(b->scale);
    to[CPU_XW_SUM * mr] = (uint32_t)(first + last);
    to[CPU_XW_SCALED * mr] = float_word((float)(first + last) * b->scale);
    to[CPU_XW_HALVES * mr] = (uint32_t)(first & 0xffff) | (uint32_t)last << 16;
}

void avx2_xpack_bytes(const float *x, size_t ldx, unsigned mr, size_t n,
                      void *out)
{
    struct rounded b;

    for (unsigned m = 0; m < mr; m++) {
        uint32_t *to = (uint32_t *)out + m;

        for (size_t k = 0; k < n; k += 32, to += CPU_XW_COUNT * mr) {
            block_round(x + m * ldx + k, &b);
            bytes_put(&b, mr, to);
        }
    }
}

void avx2_xpack_pairs(const float *x, size_t ldx, unsigned mr, size_t n,
                      void *out)
{
    struct rounded b;
    uint32_t word[16];

    for (unsigned m = 0; m < mr; m++) {
        uint32_t *to = (uint32_t *)out + m;

        for (size_t k = 0; k < n; k += 32, to += CPU_XP_COUNT * mr) {
            block_round(x + m * ldx + k, &b);
            UNROLL for (unsigned i = 0; i < 2; i++)
            {
                __m256i v = _mm256_packs_epi32(b.q[2 * i], b.q[2 * i + 1]);

                _mm256_storeu_si256((__m256i *)(word + 8 * i),
                                    _mm256_permute4x64_epi64(v, 0xd8));
            }
            for (unsigned i = 0; i < 16; i++)
                to[i * mr] = word[i];
            to[CPU_XP_SCALE * mr] = float_word(b.scale);
        }
    }
}
