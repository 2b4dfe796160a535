/* v16_avx2.h - Sixteen floats at a time with AVX2, FMA and F16C. The templates
 * rows_tmpl.h and attend_tmpl.h are written in these words; v16_avx512.h has
 * the same ones. Every function rounds as its scalar counterpart does. */
#ifndef TG_KERNELS_CPU_V16_AVX2_H
#define TG_KERNELS_CPU_V16_AVX2_H

#include <immintrin.h>
#include <stdint.h>

/* Rows that one call of the chain template keeps in registers. */
#define V16_ROWS 6

/* Elements 0..7 and 8..15. */
struct v16 {
    __m256 lo, hi;
};

static inline struct v16 v16_set1(float x)
{
    return (struct v16){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}

static inline struct v16 v16_load(const float *p)
{
    return (struct v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

static inline void v16_store(float *p, struct v16 x)
{
    _mm256_storeu_ps(p, x.lo);
    _mm256_storeu_ps(p + 8, x.hi);
}

/* All bits set in the elements below <n>, of 0..7 and of 8..15. */
static inline __m256i v16_mask_lo(unsigned n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline __m256i v16_mask_hi(unsigned n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n),
                              _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15));
}

/* The first <n> elements, zeros after; what lies past them is not read. */
static inline struct v16 v16_load_n(const float *p, unsigned n)
{
    struct v16 x = {_mm256_maskload_ps(p, v16_mask_lo(n)), _mm256_setzero_ps()};

    if (n > 8)
        x.hi = _mm256_maskload_ps(p + 8, v16_mask_hi(n));
    return x;
}

/* Write the first <n> elements only. */
static inline void v16_store_n(float *p, struct v16 x, unsigned n)
{
    _mm256_maskstore_ps(p, v16_mask_lo(n), x.lo);
    if (n > 8)
        _mm256_maskstore_ps(p + 8, v16_mask_hi(n), x.hi);
}

/* <x>, zeros from element <n> on. */
static inline struct v16 v16_first(struct v16 x, unsigned n)
{
    return (struct v16){
        _mm256_and_ps(x.lo, _mm256_castsi256_ps(v16_mask_lo(n))),
        _mm256_and_ps(x.hi, _mm256_castsi256_ps(v16_mask_hi(n)))};
}

/* <x>, <y> from element <n> on. */
static inline struct v16 v16_blend(struct v16 x, struct v16 y, unsigned n)
{
    return (struct v16){
        _mm256_blendv_ps(y.lo, x.lo, _mm256_castsi256_ps(v16_mask_lo(n))),
        _mm256_blendv_ps(y.hi, x.hi, _mm256_castsi256_ps(v16_mask_hi(n)))};
}

static inline struct v16 v16_add(struct v16 a, struct v16 b)
{
    return (struct v16){_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}

static inline struct v16 v16_mul(struct v16 a, struct v16 b)
{
    return (struct v16){_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}

static inline struct v16 v16_div(struct v16 a, struct v16 b)
{
    return (struct v16){_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}

/* a * b + c, rounded once. */
static inline struct v16 v16_fma(struct v16 a, struct v16 b, struct v16 c)
{
    return (struct v16){_mm256_fmadd_ps(a.lo, b.lo, c.lo),
                        _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}

/* a * b - c, rounded once. */
static inline struct v16 v16_fms(struct v16 a, struct v16 b, struct v16 c)
{
    return (struct v16){_mm256_fmsub_ps(a.lo, b.lo, c.lo),
                        _mm256_fmsub_ps(a.hi, b.hi, c.hi)};
}

/* a * b - c in even elements, a * b + c in odd ones, rounded once. */
static inline struct v16 v16_fmaddsub(struct v16 a, struct v16 b, struct v16 c)
{
    return (struct v16){_mm256_fmaddsub_ps(a.lo, b.lo, c.lo),
                        _mm256_fmaddsub_ps(a.hi, b.hi, c.hi)};
}

/* The greater one; <b> where one is NaN. */
static inline struct v16 v16_max(struct v16 a, struct v16 b)
{
    return (struct v16){_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}

static inline struct v16 v16_neg(struct v16 a)
{
    __m256 sign = _mm256_set1_ps(-0.0F);

    return (struct v16){_mm256_xor_ps(a.lo, sign), _mm256_xor_ps(a.hi, sign)};
}

/* Of pairs (p0, q0), (p1, q1), ...: the p twice each, the q twice each, and
 * the pairs turned round. */
static inline struct v16 v16_dup_even(struct v16 a)
{
    return (struct v16){_mm256_moveldup_ps(a.lo), _mm256_moveldup_ps(a.hi)};
}

static inline struct v16 v16_dup_odd(struct v16 a)
{
    return (struct v16){_mm256_movehdup_ps(a.lo), _mm256_movehdup_ps(a.hi)};
}

static inline struct v16 v16_swap_pairs(struct v16 a)
{
    return (struct v16){_mm256_permute_ps(a.lo, 0xb1),
                        _mm256_permute_ps(a.hi, 0xb1)};
}

/* x[j] += x[j + h] for h = 8, 4, 2, 1; x[0] of it. */
static inline float v16_sum(struct v16 x)
{
    __m256 y = _mm256_add_ps(x.lo, x.hi);
    __m128 z =
        _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));

    z = _mm_add_ps(z, _mm_movehl_ps(z, z));
    z = _mm_add_ss(z, _mm_movehdup_ps(z));
    return _mm_cvtss_f32(z);
}

/* The greatest element. */
static inline float v16_greatest(struct v16 x)
{
    __m256 y = _mm256_max_ps(x.lo, x.hi);
    __m128 z =
        _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));

    z = _mm_max_ps(z, _mm_movehl_ps(z, z));
    z = _mm_max_ss(z, _mm_movehdup_ps(z));
    return _mm_cvtss_f32(z);
}

/* Sixteen halves or bfloat16 widened. */
static inline struct v16 v16_load_f16(const void *p)
{
    const __m128i *h = p;

    return (struct v16){_mm256_cvtph_ps(_mm_loadu_si128(h)),
                        _mm256_cvtph_ps(_mm_loadu_si128(h + 1))};
}

static inline struct v16 v16_load_bf16(const void *p)
{
    const __m128i *h = p;
    __m256i lo = _mm256_cvtepu16_epi32(_mm_loadu_si128(h));
    __m256i hi = _mm256_cvtepu16_epi32(_mm_loadu_si128(h + 1));

    return (struct v16){_mm256_castsi256_ps(_mm256_slli_epi32(lo, 16)),
                        _mm256_castsi256_ps(_mm256_slli_epi32(hi, 16))};
}

/* Sixteen floats rounded to halves. */
static inline void v16_store_f16(void *p, struct v16 x)
{
    __m128i *h = p;

    _mm_storeu_si128(h, _mm256_cvtps_ph(x.lo, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(h + 1, _mm256_cvtps_ph(x.hi, _MM_FROUND_TO_NEAREST_INT));
}

/* Each element rounded to a half. */
static inline struct v16 v16_to_halves(struct v16 x)
{
    return (struct v16){
        _mm256_cvtph_ps(_mm256_cvtps_ph(x.lo, _MM_FROUND_TO_NEAREST_INT)),
        _mm256_cvtph_ps(_mm256_cvtps_ph(x.hi, _MM_FROUND_TO_NEAREST_INT))};
}

/* Eight floats rounded to bfloat16, in the upper halves of what comes out. */
static inline __m256i v16_bf16_half(__m256 x)
{
    __m256i u = _mm256_castps_si256(x);
    __m256i odd =
        _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i near =
        _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    __m256i quiet = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
    __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);

    return _mm256_blendv_epi8(near, quiet, _mm256_castps_si256(nan));
}

/* Sixteen floats rounded to bfloat16. */
static inline void v16_store_bf16(void *p, struct v16 x)
{
    __m256i lo = _mm256_srli_epi32(v16_bf16_half(x.lo), 16);
    __m256i hi = _mm256_srli_epi32(v16_bf16_half(x.hi), 16);

    _mm256_storeu_si256(
        p, _mm256_permute4x64_epi64(_mm256_packus_epi32(lo, hi), 0xd8));
}

static inline __m256 v16_exp_half(__m256 x)
{
    __m256 low = _mm256_cmp_ps(x, _mm256_set1_ps(-87.0F), _CMP_LT_OQ);
    __m256 n, p, r;
    __m256i whole;

    x = _mm256_min_ps(_mm256_set1_ps(89.0F), x);
    n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(0x1.715476p+0F)),
                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-0x1.62e4p-1F), x);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-0x1.7f7d1cp-20F), r);
    p = _mm256_set1_ps(0x1.6d4316p-10F);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.123d82p-7F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.5554eap-5F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0x1.55547cp-3F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.5F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F));
    whole = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    p = _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(whole, 23)));
    return _mm256_andnot_ps(low, p);
}

/* ref_exp() of each element. */
static inline struct v16 v16_exp(struct v16 x)
{
    return (struct v16){v16_exp_half(x.lo), v16_exp_half(x.hi)};
}

#endif
