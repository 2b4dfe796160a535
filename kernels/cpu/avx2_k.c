/* avx2_k.c - Tiles of the K types. Their scales are folded in where pairs of
 * int16 are added to int32, which costs nothing: a sub-block's dot comes out
 * of the integers as scale * dot. Sums that outlive a sub-block stay in memory:
 *
 *      part  a of ref_linear.c, over the sub-blocks of a block
 *      mins  b, over the same
 *      sum   y */
#include "kernels/cpu/avx2.h"

enum {
    SUBS = 8, /* of 32 elements in a block */
    HALVES_BYTES = 2 * CPU_LANES,
    SCALES_BYTES = 12 * CPU_LANES,
    NIBBLES_BYTES = 128 * CPU_LANES,
    Q4_K_BYTES = 144 * CPU_LANES,
    Q5_K_BYTES = 176 * CPU_LANES,
    Q6_K_BYTES = 210 * CPU_LANES,
    SUMS = AVX2_ROWS * CPU_LANES
};

/* Six-bit scales and minima of 16 rows as bytes: a lane of 32 bits has those
 * of four sub-blocks. By half of the panel, then by half of the sub-blocks. */
struct six {
    __m256i scale[2][2];
    __m256i min[2][2];
};

INLINE void six_read(const uint8_t *p, struct six *out)
{
    const __m256i all6 = _mm256_set1_epi8(63);
    const __m256i low4 = _mm256_set1_epi8(15);
    const __m256i high2 = _mm256_set1_epi8(0x30);

    UNROLL for (unsigned v = 0; v < 2; v++)
    {
        __m256i s = load_ints(p + v * 32);
        __m256i m = load_ints(p + v * 32 + 64);
        __m256i low = load_ints(p + v * 32 + 128);

        out->scale[v][0] = _mm256_and_si256(s, all6);
        out->min[v][0] = _mm256_and_si256(m, all6);
        out->scale[v][1] =
            _mm256_or_si256(_mm256_and_si256(low, low4),
                            _mm256_and_si256(_mm256_srli_epi16(s, 2), high2));
        out->min[v][1] =
            _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(low, 4), low4),
                            _mm256_and_si256(_mm256_srli_epi16(m, 2), high2));
    }
}

/* Byte <j> % 4 of each lane as both of its int16. */
INLINE __m256i byte_pairs(__m256i v, unsigned j)
{
    const __m256i at =
        _mm256_setr_epi8(0, -128, 0, -128, 4, -128, 4, -128, 8, -128, 8, -128,
                         12, -128, 12, -128, 0, -128, 0, -128, 4, -128, 4, -128,
                         8, -128, 8, -128, 12, -128, 12, -128);

    return _mm256_shuffle_epi8(
        v, _mm256_add_epi16(at, _mm256_set1_epi16((short)(j % 4))));
}

/* Byte <j> % 4 of each lane as a float. */
INLINE __m256 byte_floats(__m256i v, unsigned j)
{
    v = _mm256_srl_epi32(v, _mm_cvtsi32_si128((int)(j % 4 * 8)));
    return _mm256_cvtepi32_ps(_mm256_and_si256(v, _mm256_set1_epi32(255)));
}

/* b of a block of Q4_K or Q5_K: minima times scaled sums of x. */
INLINE void mins_run(unsigned mr, const struct six *s, const uint32_t *x,
                     float *mins)
{
    __m256 b[2 * AVX2_ROWS];

    UNROLL for (unsigned i = 0; i < mr * 2; i++) b[i] = _mm256_setzero_ps();
    for (unsigned j = 0; j < SUBS; j++) {
        const uint32_t *scaled = x + (j * CPU_XW_COUNT + CPU_XW_SCALED) * mr;
        __m256 m0 = byte_floats(s->min[0][j / 4], j);
        __m256 m1 = byte_floats(s->min[1][j / 4], j);

        UNROLL for (unsigned m = 0; m < mr; m++)
        {
            __m256 v = all_float(scaled + m);

            b[2 * m] = _mm256_fmadd_ps(m0, v, b[2 * m]);
            b[2 * m + 1] = _mm256_fmadd_ps(m1, v, b[2 * m + 1]);
        }
    }
    mins = hidden(mins);
    UNROLL for (unsigned i = 0; i < mr * 2; i++)
        _mm256_store_ps(mins + 8 * i, b[i]);
}

/* y of a block: fma(d, a, y), then fma(-d_min, b, y). */
INLINE void block_add(unsigned mr, const uint8_t *w, const float *part,
                      const float *mins, float *sum)
{
    UNROLL for (unsigned i = 0; i < mr * 2; i++)
    {
        const uint8_t *h = w + i % 2 * 16;
        __m256 y = _mm256_load_ps(sum + 8 * i);

        y = _mm256_fmadd_ps(load_halves(h), _mm256_load_ps(part + 8 * i), y);
        if (mins)
            y = _mm256_fnmadd_ps(load_halves(h + HALVES_BYTES),
                                 _mm256_load_ps(mins + 8 * i), y);
        _mm256_store_ps(sum + 8 * i, y);
    }
}

/* a = fma((float)dot, dx, a) of a sub-block; dot has its scale. */
INLINE void part_add(unsigned mr, const __m256i *dot, const uint32_t *dx,
                     float *part)
{
    part = hidden(part);
    UNROLL for (unsigned m = 0; m < mr; m++)
    {
        __m256 x = all_float(dx + m);
        float *p = part + m * CPU_LANES;

        _mm256_store_ps(p, _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[2 * m]), x,
                                           _mm256_load_ps(p)));
        _mm256_store_ps(p + 8,
                        _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[2 * m + 1]), x,
                                        _mm256_load_ps(p + 8)));
    }
}

INLINE void part_zero(unsigned mr, float *part)
{
    for (unsigned i = 0; i < mr * 2; i++)
        _mm256_store_ps(part + 8 * i, _mm256_setzero_ps());
}

/* Add 4 bytes of weights by 4 of x, of all rows, to int16 sums. */
INLINE void bytes_add(unsigned mr, __m256i w0, __m256i w1, const uint32_t *x,
                      __m256i *dot)
{
    UNROLL for (unsigned m = 0; m < mr; m++)
    {
        __m256i v = all_of(x + m);

        dot[2 * m] = _mm256_add_epi16(dot[2 * m], _mm256_maddubs_epi16(w0, v));
        dot[2 * m + 1] =
            _mm256_add_epi16(dot[2 * m + 1], _mm256_maddubs_epi16(w1, v));
        SETTLE(dot[2 * m], dot[2 * m + 1]);
    }
}

INLINE void dots_zero(unsigned mr, __m256i *dot)
{
    UNROLL for (unsigned i = 0; i < mr * 2; i++) dot[i] =
        _mm256_setzero_si256();
}

INLINE __m256i nibbles(const uint8_t *q, unsigned high)
{
    __m256i v = load_ints(q);

    if (high)
        v = _mm256_srli_epi16(v, 4);
    return _mm256_and_si256(v, _mm256_set1_epi8(15));
}

/* A sub-block of Q4_K: 8 steps of at most 2 * 15 * 127 fit an int16. */
INLINE void q4_k_sub(unsigned mr, const uint8_t *q, unsigned high,
                     const __m256i *scale, const uint32_t *x, float *part)
{
    __m256i dot[2 * AVX2_ROWS];

    dots_zero(mr, dot);
    UNROLL for (unsigned g = 0; g < 8; g++)
        bytes_add(mr, nibbles(q + g * 64, high), nibbles(q + g * 64 + 32, high),
                  x + g * mr, dot);
    UNROLL for (unsigned i = 0; i < mr * 2; i++) dot[i] =
        _mm256_madd_epi16(dot[i], scale[i % 2]);
    part_add(mr, dot, x + CPU_XW_SCALE * mr, part);
}

INLINE void q4_k_tile(const struct cpu_tile *t, unsigned mr)
{
    _Alignas(32) float sum[SUMS];
    _Alignas(32) float part[SUMS];
    _Alignas(32) float mins[SUMS];
    const uint32_t *x = t->x;
    const uint8_t *w = t->w;
    struct six s;

    sums_load(t, mr, sum);
    for (size_t b = 0; b < t->n / 256; b++, w += Q4_K_BYTES) {
        const uint8_t *q = w + 2 * HALVES_BYTES + SCALES_BYTES;

        six_read(w + 2 * HALVES_BYTES, &s);
        mins_run(mr, &s, x, mins);
        part_zero(mr, part);
        for (unsigned j = 0; j < SUBS; j += 2, q += 512) {
            __m256i scale[2] = {byte_pairs(s.scale[0][j / 4], j),
                                byte_pairs(s.scale[1][j / 4], j)};
            __m256i next[2] = {byte_pairs(s.scale[0][j / 4], j + 1),
                               byte_pairs(s.scale[1][j / 4], j + 1)};

            for (unsigned i = 0; i < 512; i += 64)
                prefetch(q + i);
            q4_k_sub(mr, q, 0, scale, x, part);
            x += CPU_XW_COUNT * mr;
            q4_k_sub(mr, q, 1, next, x, part);
            x += CPU_XW_COUNT * mr;
        }
        block_add(mr, w, part, mins, sum);
    }
    sums_store(t, mr, sum);
}

/* Fold int16 sums with their scales into int32 ones, which stay in memory. */
INLINE void dots_fold(unsigned mr, const __m256i *dot, const __m256i *scale,
                      int32_t *whole)
{
    UNROLL for (unsigned i = 0; i < mr * 2; i++)
    {
        __m256i *p = (__m256i *)(whole + 8 * i);

        _mm256_store_si256(
            p, _mm256_add_epi32(_mm256_load_si256(p),
                                _mm256_madd_epi16(dot[i], scale[i % 2])));
    }
}

INLINE int32_t *hidden_ints(int32_t *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

/* a = fma((float)whole, dx, a) */
INLINE void whole_add(unsigned mr, int32_t *whole, const uint32_t *dx,
                      float *part)
{
    whole = hidden_ints(whole);
    UNROLL for (unsigned i = 0; i < mr * 2; i++)
    {
        __m256i v = _mm256_load_si256((const __m256i *)(whole + 8 * i));
        __m256 p = _mm256_load_ps(part + 8 * i);

        _mm256_store_ps(
            part + 8 * i,
            _mm256_fmadd_ps(_mm256_cvtepi32_ps(v), all_float(dx + i / 2), p));
    }
}

/* The fifth bit of sub-block <j> at its place. Of each byte one bit is kept:
 * what shifts bring in from its neighbour is not. */
INLINE __m256i fifth_bits(const uint8_t *h, unsigned j)
{
    __m128i left = _mm_cvtsi32_si128(j < 4 ? 4 - (int)j : 0);
    __m128i right = _mm_cvtsi32_si128(j > 4 ? (int)j - 4 : 0);
    __m256i v = _mm256_sll_epi16(load_ints(h), left);

    return _mm256_and_si256(_mm256_srl_epi16(v, right), _mm256_set1_epi8(16));
}

/* A sub-block of Q5_K: 4 steps of at most 2 * 31 * 127 fit an int16. */
INLINE void q5_k_sub(unsigned mr, const uint8_t *q, const uint8_t *h,
                     unsigned j, const __m256i *scale, const uint32_t *x,
                     int32_t *whole)
{
    for (unsigned i = 0; i < mr * 2; i++)
        _mm256_store_si256((__m256i *)(whole + 8 * i), _mm256_setzero_si256());
    UNROLL for (unsigned half = 0; half < 2; half++)
    {
        __m256i dot[2 * AVX2_ROWS];

        dots_zero(mr, dot);
        UNROLL for (unsigned g = half * 4; g < half * 4 + 4; g++)
        {
            __m256i w0 = nibbles(q + g * 64, j % 2);
            __m256i w1 = nibbles(q + g * 64 + 32, j % 2);

            w0 = _mm256_or_si256(w0, fifth_bits(h + g * 64, j));
            w1 = _mm256_or_si256(w1, fifth_bits(h + g * 64 + 32, j));
            bytes_add(mr, w0, w1, x + g * mr, dot);
        }
        whole = hidden_ints(whole);
        dots_fold(mr, dot, scale, whole);
    }
}

INLINE void q5_k_tile(const struct cpu_tile *t, unsigned mr)
{
    _Alignas(32) float sum[SUMS];
    _Alignas(32) float part[SUMS];
    _Alignas(32) float mins[SUMS];
    _Alignas(32) int32_t whole[SUMS];
    const uint32_t *x = t->x;
    const uint8_t *w = t->w;
    struct six s;

    sums_load(t, mr, sum);
    for (size_t b = 0; b < t->n / 256; b++, w += Q5_K_BYTES) {
        const uint8_t *q = w + 2 * HALVES_BYTES + SCALES_BYTES;
        const uint8_t *h = q + NIBBLES_BYTES;

        six_read(w + 2 * HALVES_BYTES, &s);
        mins_run(mr, &s, x, mins);
        part_zero(mr, part);
        for (unsigned j = 0; j < SUBS; j++, x += CPU_XW_COUNT * mr) {
            __m256i scale[2] = {byte_pairs(s.scale[0][j / 4], j),
                                byte_pairs(s.scale[1][j / 4], j)};

            for (unsigned i = 0; i < 352; i += 64)
                prefetch(w + j * 352 + i);
            if (j % 2 == 0)
                q5_k_sub(mr, q + j / 2 * 512, h, j, scale, x, whole);
            else
                q5_k_sub(mr, q + j / 2 * 512, h, j | 1, scale, x, whole);
            whole_add(mr, whole, x + CPU_XW_SCALE * mr, part);
        }
        block_add(mr, w, part, mins, sum);
    }
    sums_store(t, mr, sum);
}

/* Scales of sub-block <j> of Q6_K, a byte of each lane, as both int16. */
INLINE __m256i signed_pairs(const uint8_t *scales, unsigned j)
{
    __m256i v = load_ints(scales);

    v = _mm256_sll_epi32(v, _mm_cvtsi32_si128((int)(24 - j % 4 * 8)));
    v = _mm256_srai_epi32(v, 24);
    return _mm256_or_si256(_mm256_and_si256(v, _mm256_set1_epi32(0xffff)),
                           _mm256_slli_epi32(v, 16));
}

/* What the offset of 32 has added, taken off beforehand: the scales of both
 * halves, times the sums of x over them, times -32. */
INLINE void offsets_take(unsigned mr, const __m256i (*scale)[2],
                         const uint32_t *halves, int32_t *whole)
{
    const __m256i low = _mm256_set1_epi32(0xffff);

    UNROLL for (unsigned i = 0; i < mr * 2; i++)
    {
        __m256i both =
            _mm256_or_si256(_mm256_and_si256(scale[0][i % 2], low),
                            _mm256_andnot_si256(low, scale[1][i % 2]));
        __m256i v = _mm256_madd_epi16(both, all_of(halves + i / 2));

        _mm256_store_si256(
            (__m256i *)(whole + 8 * i),
            _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32(v, 5)));
    }
}

/* Six bits of 8 lanes: a nibble, and two bits at <shift> of the high bytes. */
INLINE __m256i six_bits(const uint8_t *q, const uint8_t *h, unsigned quarter)
{
    __m128i right = _mm_cvtsi32_si128((int)(quarter * 2));
    __m256i v = _mm256_srl_epi16(load_ints(h), right);

    v = _mm256_slli_epi16(_mm256_and_si256(v, _mm256_set1_epi8(3)), 4);
    return _mm256_or_si256(v, nibbles(q, quarter / 2));
}

/* 32 elements of Q6_K, a quarter of half a block: 2 steps of at most
 * 2 * 63 * 127 fit an int16. */
INLINE void q6_k_sub(unsigned mr, const uint8_t *q, const uint8_t *h,
                     unsigned quarter, const __m256i (*scale)[2],
                     const uint32_t *x, int32_t *whole)
{
    offsets_take(mr, scale, x + CPU_XW_HALVES * mr, whole);
    UNROLL for (unsigned g = 0; g < 8; g += 2)
    {
        __m256i dot[2 * AVX2_ROWS];

        dots_zero(mr, dot);
        UNROLL for (unsigned i = g; i < g + 2; i++)
        {
            __m256i w0 = six_bits(q + i * 64, h + i * 64, quarter);
            __m256i w1 = six_bits(q + i * 64 + 32, h + i * 64 + 32, quarter);

            bytes_add(mr, w0, w1, x + i * mr, dot);
        }
        whole = hidden_ints(whole);
        dots_fold(mr, dot, scale[g / 4], whole);
    }
}

INLINE void q6_k_tile(const struct cpu_tile *t, unsigned mr)
{
    _Alignas(32) float sum[SUMS];
    _Alignas(32) float part[SUMS];
    _Alignas(32) int32_t whole[SUMS];
    const uint32_t *x = t->x;
    const uint8_t *w = t->w;

    sums_load(t, mr, sum);
    for (size_t b = 0; b < t->n / 256; b++, w += Q6_K_BYTES) {
        const uint8_t *q = w + HALVES_BYTES + 16 * CPU_LANES;

        part_zero(mr, part);
        for (unsigned j = 0; j < SUBS; j++, x += CPU_XW_COUNT * mr) {
            const uint8_t *sc = w + HALVES_BYTES + j / 2 * 64;
            const __m256i scale[2][2] = {
                {signed_pairs(sc, 2 * j), signed_pairs(sc + 32, 2 * j)},
                {signed_pairs(sc, 2 * j + 1), signed_pairs(sc + 32, 2 * j + 1)},
            };
            const uint8_t *h = q + NIBBLES_BYTES + j / 4 * 512;
            const uint8_t *low = q + j / 4 * 1024 + j % 2 * 512;

            for (unsigned i = 0; i < 448; i += 64)
                prefetch(w + j * 420 + i);
            if (j % 4 < 2)
                q6_k_sub(mr, low, h, j % 2, scale, x, whole);
            else
                q6_k_sub(mr, low, h, 2 + j % 2, scale, x, whole);
            whole_add(mr, whole, x + CPU_XW_SCALE * mr, part);
        }
        block_add(mr, w, part, NULL, sum);
    }
    sums_store(t, mr, sum);
}

TILES_TO_6(q4_k_tile)
TILES_TO_6(q5_k_tile)
TILES_TO_6(q6_k_tile)
