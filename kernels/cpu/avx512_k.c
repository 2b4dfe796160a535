/* avx512_k.c - Tiles of the K types. A sub-block's dot and its scale are both
 * integers and their product stays below 2^24, so that it may as well be formed
 * from floats. Sums that outlive a sub-block (see ref_linear.c): a in
 * registers, where they suffice; b and y in memory. */
#include "kernels/cpu/avx512.h"

enum {
    SUBS = 8, /* of 32 elements in a block */
    HALVES_BYTES = 2 * CPU_LANES,
    SCALES_BYTES = 12 * CPU_LANES,
    NIBBLES_BYTES = 128 * CPU_LANES,
    Q4_K_BYTES = 144 * CPU_LANES,
    Q5_K_BYTES = 176 * CPU_LANES,
    Q6_K_BYTES = 210 * CPU_LANES,
    SUMS = AVX512_ROWS * CPU_LANES
};

/* Six-bit scales and minima as bytes: a lane of 32 bits has those of four
 * sub-blocks. By half of the sub-blocks. */
struct six {
    __m512i scale[2];
    __m512i min[2];
};

INLINE void six_read(const uint8_t *p, struct six *out)
{
    const __m512i all6 = _mm512_set1_epi8(63);
    const __m512i low4 = _mm512_set1_epi8(15);
    const __m512i high2 = _mm512_set1_epi8(0x30);
    __m512i s = wide_ints(p);
    __m512i m = wide_ints(p + 64);
    __m512i low = wide_ints(p + 128);

    out->scale[0] = _mm512_and_si512(s, all6);
    out->min[0] = _mm512_and_si512(m, all6);
    out->scale[1] =
        _mm512_or_si512(_mm512_and_si512(low, low4),
                        _mm512_and_si512(_mm512_srli_epi16(s, 2), high2));
    out->min[1] =
        _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(low, 4), low4),
                        _mm512_and_si512(_mm512_srli_epi16(m, 2), high2));
}

/* Byte <j> % 4 of each lane as a float. */
INLINE __m512 byte_floats(__m512i v, unsigned j)
{
    v = _mm512_srl_epi32(v, _mm_cvtsi32_si128((int)(j % 4 * 8)));
    return _mm512_cvtepi32_ps(_mm512_and_si512(v, _mm512_set1_epi32(255)));
}

/* The same of a signed byte. */
INLINE __m512 signed_floats(const uint8_t *p, unsigned j)
{
    __m128i left = _mm_cvtsi32_si128((int)(24 - j % 4 * 8));

    return _mm512_cvtepi32_ps(
        _mm512_srai_epi32(_mm512_sll_epi32(wide_ints(p), left), 24));
}

/* b of a block of Q4_K or Q5_K: minima times scaled sums of x. */
INLINE void mins_run(const unsigned mr, const struct six *s, const uint32_t *x,
                     float *mins)
{
    __m512 b[AVX512_ROWS];

    UNROLL for (unsigned m = 0; m < mr; m++) b[m] = _mm512_setzero_ps();
    for (unsigned j = 0; j < SUBS; j++) {
        const uint32_t *scaled = x + (j * CPU_XO_COUNT + CPU_XO_SCALED) * mr;
        __m512 v = byte_floats(s->min[j / 4], j);

        UNROLL for (unsigned m = 0; m < mr; m++) b[m] =
            _mm512_fmadd_ps(v, wide_float(scaled + m), b[m]);
    }
    mins = hidden(mins);
    UNROLL for (unsigned m = 0; m < mr; m++)
        _mm512_store_ps(mins + m * CPU_LANES, b[m]);
}

/* y of a block: fma(d, a, y), then fma(-d_min, b, y). */
INLINE void block_add(const unsigned mr, const uint8_t *w, const __m512 *part,
                      const float *mins, float *sum)
{
    __m512 d = wide_halves(w);
    __m512 d_min = mins ? wide_halves(w + HALVES_BYTES) : d;

    sum = hidden(sum);
    UNROLL for (unsigned m = 0; m < mr; m++)
    {
        __m512 y = _mm512_load_ps(sum + m * CPU_LANES);

        y = _mm512_fmadd_ps(d, part[m], y);
        if (mins)
            y = _mm512_fnmadd_ps(d_min, _mm512_load_ps(mins + m * CPU_LANES),
                                 y);
        _mm512_store_ps(sum + m * CPU_LANES, y);
    }
}

INLINE void sums_begin(const struct cpu_tile *t, const unsigned mr, float *sum)
{
    for (unsigned m = 0; m < mr; m++)
        _mm512_store_ps(sum + m * CPU_LANES,
                        t->first ? _mm512_setzero_ps()
                                 : _mm512_loadu_ps(t->y + m * t->ldy));
}

INLINE void sums_end(const struct cpu_tile *t, const unsigned mr,
                     const float *sum)
{
    for (unsigned m = 0; m < mr; m++)
        _mm512_storeu_ps(t->y + m * t->ldy,
                         _mm512_load_ps(sum + m * CPU_LANES));
}

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

/* a = fma((float)(scale * dot), dx, a) */
INLINE void part_add(const unsigned mr, const __m512i *dot, __m512 scale,
                     const uint32_t *dx, __m512 *part)
{
    UNROLL for (unsigned m = 0; m < mr; m++)
    {
        __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(dot[m]), scale);

        part[m] = _mm512_fmadd_ps(v, wide_float(dx + m), part[m]);
        SETTLE_WIDE(part[m]);
    }
}

INLINE __m512i nibbles(const uint8_t *q, unsigned high)
{
    __m512i v = wide_ints(q);

    if (high)
        v = _mm512_srli_epi16(v, 4);
    return _mm512_and_si512(v, _mm512_set1_epi8(15));
}

/* The fifth bit of sub-block <j> at its place; see avx2_k.c. */
INLINE __m512i fifth_bits(const uint8_t *h, unsigned j)
{
    __m128i left = _mm_cvtsi32_si128(j < 4 ? 4 - (int)j : 0);
    __m128i right = _mm_cvtsi32_si128(j > 4 ? (int)j - 4 : 0);
    __m512i v = _mm512_sll_epi16(wide_ints(h), left);

    return _mm512_and_si512(_mm512_srl_epi16(v, right), _mm512_set1_epi8(16));
}

/* A sub-block of Q4_K, or of Q5_K when there are high bits <h>. */
INLINE void min_sub(const unsigned mr, const uint8_t *q, const uint8_t *h,
                    unsigned j, __m512 scale, const uint32_t *x, __m512 *part)
{
    __m512i dot[AVX512_ROWS];

    UNROLL for (unsigned m = 0; m < mr; m++) dot[m] = _mm512_setzero_si512();
    UNROLL for (unsigned g = 0; g < 8; g++)
    {
        __m512i v = nibbles(q + g * 64, j % 2);

        if (h)
            v = _mm512_or_si512(v, fifth_bits(h + g * 64, j));
        bytes_add(mr, v, x + g * mr, dot);
    }
    part_add(mr, dot, scale, x + CPU_XO_SCALE * mr, part);
}

/* Q4_K and Q5_K: <bytes> of a block, <high> whether there are high bits. */
INLINE void min_tile(const struct cpu_tile *t, const unsigned mr,
                     const size_t bytes, const bool high)
{
    _Alignas(64) float sum[SUMS];
    _Alignas(64) float mins[SUMS];
    const uint32_t *x = t->x;
    const uint8_t *w = t->w;
    __m512 part[AVX512_ROWS];
    struct six s;

    sums_begin(t, mr, sum);
    for (size_t b = 0; b < t->n / 256; b++, w += bytes) {
        const uint8_t *q = w + 2 * HALVES_BYTES + SCALES_BYTES;
        const uint8_t *h = high ? q + NIBBLES_BYTES : NULL;

        six_read(w + 2 * HALVES_BYTES, &s);
        mins_run(mr, &s, x, mins);
        UNROLL for (unsigned m = 0; m < mr; m++) part[m] = _mm512_setzero_ps();
        for (unsigned j = 0; j < SUBS; j += 2, q += 512) {
            for (unsigned i = 0; i < bytes / 4; i += 64)
                prefetch(w + j / 2 * bytes / 4 + i);
            min_sub(mr, q, h, j, byte_floats(s.scale[j / 4], j), x, part);
            x += CPU_XO_COUNT * mr;
            min_sub(mr, q, h, j | 1, byte_floats(s.scale[j / 4], j + 1), x,
                    part);
            x += CPU_XO_COUNT * mr;
        }
        block_add(mr, w, part, mins, sum);
    }
    sums_end(t, mr, sum);
}

INLINE void q4_k_tile(const struct cpu_tile *t, const unsigned mr)
{
    min_tile(t, mr, Q4_K_BYTES, false);
}

INLINE void q5_k_tile(const struct cpu_tile *t, const unsigned mr)
{
    min_tile(t, mr, Q5_K_BYTES, true);
}

/* Six bits of 16 lanes: a nibble, and two bits of the high bytes. */
INLINE __m512i six_bits(const uint8_t *q, const uint8_t *h, unsigned quarter)
{
    __m128i right = _mm_cvtsi32_si128((int)(quarter * 2));
    __m512i v = _mm512_srl_epi16(wide_ints(h), right);

    v = _mm512_slli_epi16(_mm512_and_si512(v, _mm512_set1_epi8(3)), 4);
    return _mm512_or_si512(v, nibbles(q, quarter / 2));
}

/* The dots of half of 32 elements of Q6_K, less their offset. */
INLINE void q6_k_half(const unsigned mr, const uint8_t *q, const uint8_t *h,
                      unsigned quarter, const uint32_t *x, const uint32_t *less,
                      __m512i *dot)
{
    UNROLL for (unsigned m = 0; m < mr; m++) dot[m] = wide_all(less + m);
    UNROLL for (unsigned g = 0; g < 4; g++) bytes_add(
        mr, six_bits(q + g * 64, h + g * 64, quarter), x + g * mr, dot);
}

/* 32 elements of Q6_K: the halves' products with their scales are integers,
 * and so is their sum, which is below 2^24. The first half's wait in <one>. */
INLINE void q6_k_sub(const unsigned mr, const uint8_t *q, const uint8_t *h,
                     unsigned quarter, const __m512 *scale, const uint32_t *x,
                     float *part)
{
    _Alignas(64) float one[SUMS];
    const uint32_t *less = x + CPU_XO_LESS32 * mr;
    const uint32_t *dx = x + CPU_XO_SCALE * mr;
    float *first = hidden(one);
    __m512i dot[AVX512_ROWS];

    q6_k_half(mr, q, h, quarter, x, less, dot);
    UNROLL for (unsigned m = 0; m < mr; m++)
        _mm512_store_ps(first + m * CPU_LANES,
                        _mm512_mul_ps(_mm512_cvtepi32_ps(dot[m]), scale[0]));
    first = hidden(first);
    q6_k_half(mr, q + 256, h + 256, quarter, x + 4 * mr, less + mr, dot);
    part = hidden(part);
    UNROLL for (unsigned m = 0; m < mr; m++)
    {
        float *p = part + m * CPU_LANES;
        __m512 v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[m]), scale[1],
                                   _mm512_load_ps(first + m * CPU_LANES));

        _mm512_store_ps(
            p, _mm512_fmadd_ps(v, wide_float(dx + m), _mm512_load_ps(p)));
    }
}

INLINE void q6_k_tile(const struct cpu_tile *t, const unsigned mr)
{
    _Alignas(64) float sum[SUMS];
    _Alignas(64) float part[SUMS];
    const uint32_t *x = t->x;
    const uint8_t *w = t->w;
    __m512 total[AVX512_ROWS];

    sums_begin(t, mr, sum);
    for (size_t b = 0; b < t->n / 256; b++, w += Q6_K_BYTES) {
        const uint8_t *q = w + HALVES_BYTES + 16 * CPU_LANES;

        for (unsigned m = 0; m < mr; m++)
            _mm512_store_ps(part + m * CPU_LANES, _mm512_setzero_ps());
        for (unsigned j = 0; j < SUBS; j++, x += CPU_XO_COUNT * mr) {
            const uint8_t *sc = w + HALVES_BYTES + j / 2 * 64;
            const __m512 scale[2] = {signed_floats(sc, 2 * j),
                                     signed_floats(sc, 2 * j + 1)};
            const uint8_t *h = q + NIBBLES_BYTES + j / 4 * 512;
            const uint8_t *low = q + j / 4 * 1024 + j % 2 * 512;

            for (unsigned i = 0; i < 448; i += 64)
                prefetch(w + j * 420 + i);
            if (j % 4 < 2)
                q6_k_sub(mr, low, h, j % 2, scale, x, part);
            else
                q6_k_sub(mr, low, h, 2 + j % 2, scale, x, part);
        }
        UNROLL for (unsigned m = 0; m < mr; m++) total[m] =
            _mm512_load_ps(part + m * CPU_LANES);
        block_add(mr, w, total, NULL, sum);
    }
    sums_end(t, mr, sum);
}

TILES_TO_12(q4_k_tile)
TILES_TO_12(q5_k_tile)
TILES_TO_12(q6_k_tile)
