/* avx2_x.c - Packs rows of x for tiles: floats interleaved, or rounded to
 * integers by blocks of 32 (ref_xblock_round() in vectors). */
#include "kernels/cpu/avx2.h"
#include "kernels/cpu/avx2_round.h"

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

/* Eight columns of up to eight rows; what is past the rows is anything. */
INLINE void columns_get(const float *x, size_t ldx, unsigned rows, __m256 *c)
{
    __m256 r[8];

    for (unsigned i = 0; i < 8; i++)
        r[i] = _mm256_loadu_ps(x + (i < rows ? i : 0) * ldx);
    turn8(r, c);
}

/* Eight columns of a tile. Each is written eight or sixteen wide: what is too
 * much, the next one overwrites. */
static void columns_put(const float *x, size_t ldx, unsigned mr, float *to)
{
    __m256 low[8];
    __m256 high[8];

    columns_get(x, ldx, mr, low);
    if (mr > 8)
        columns_get(x + 8 * ldx, ldx, mr - 8, high);
    for (unsigned i = 0; i < 8; i++, to += mr) {
        _mm256_storeu_ps(to, low[i]);
        if (mr > 8)
            _mm256_storeu_ps(to + 8, high[i]);
    }
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
    for (; mr > 1 && k + 16 <= n; k += 8)
        columns_put(x + k, ldx, mr, to + k * mr);
    for (; k < n; k++) {
        for (unsigned r = 0; r < mr; r++)
            to[k * mr + r] = x[r * ldx + k];
    }
}

/* One row's block in the form CPU_X_BYTES, words <mr> apart. */
static void bytes_put(const struct rounded *b, unsigned mr, uint32_t *to)
{
    uint32_t word[8];
    int first;
    int last;

    rounded_bytes(b, word, &first, &last);
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
