/* v16_avx512.h - Sixteen floats at a time with AVX-512 F, BW, DQ and VL: the
 * words of v16_avx2.h. */
#ifndef TG_KERNELS_CPU_V16_AVX512_H
#define TG_KERNELS_CPU_V16_AVX512_H

#include <immintrin.h>
#include <stdint.h>

/* Rows that one call of the chain template keeps in registers. */
#define V16_ROWS 12

struct v16 {
    __m512 v;
};

static inline struct v16 v16_set1(float x)
{
    return (struct v16){_mm512_set1_ps(x)};
}

static inline struct v16 v16_load(const float *p)
{
    return (struct v16){_mm512_loadu_ps(p)};
}

static inline void v16_store(float *p, struct v16 x)
{
    _mm512_storeu_ps(p, x.v);
}

/* A bit for each of the first <n> elements. */
static inline __mmask16 v16_mask(unsigned n)
{
    return (__mmask16)(n < 16 ? (1U << n) - 1 : 0xffffU);
}

/* The first <n> elements, zeros after; what lies past them is not read. */
static inline struct v16 v16_load_n(const float *p, unsigned n)
{
    return (struct v16){_mm512_maskz_loadu_ps(v16_mask(n), p)};
}

/* Write the first <n> elements only. */
static inline void v16_store_n(float *p, struct v16 x, unsigned n)
{
    _mm512_mask_storeu_ps(p, v16_mask(n), x.v);
}

/* <x>, zeros from element <n> on. */
static inline struct v16 v16_first(struct v16 x, unsigned n)
{
    return (struct v16){_mm512_maskz_mov_ps(v16_mask(n), x.v)};
}

/* <x>, <y> from element <n> on. */
static inline struct v16 v16_blend(struct v16 x, struct v16 y, unsigned n)
{
    return (struct v16){_mm512_mask_mov_ps(y.v, v16_mask(n), x.v)};
}

static inline struct v16 v16_add(struct v16 a, struct v16 b)
{
    return (struct v16){_mm512_add_ps(a.v, b.v)};
}

static inline struct v16 v16_mul(struct v16 a, struct v16 b)
{
    return (struct v16){_mm512_mul_ps(a.v, b.v)};
}

static inline struct v16 v16_div(struct v16 a, struct v16 b)
{
    return (struct v16){_mm512_div_ps(a.v, b.v)};
}

/* a * b + c, rounded once. */
static inline struct v16 v16_fma(struct v16 a, struct v16 b, struct v16 c)
{
    return (struct v16){_mm512_fmadd_ps(a.v, b.v, c.v)};
}

/* a * b - c, rounded once. */
static inline struct v16 v16_fms(struct v16 a, struct v16 b, struct v16 c)
{
    return (struct v16){_mm512_fmsub_ps(a.v, b.v, c.v)};
}

/* a * b - c in even elements, a * b + c in odd ones, rounded once. */
static inline struct v16 v16_fmaddsub(struct v16 a, struct v16 b, struct v16 c)
{
    return (struct v16){_mm512_fmaddsub_ps(a.v, b.v, c.v)};
}

/* The greater one; <b> where one is NaN. */
static inline struct v16 v16_max(struct v16 a, struct v16 b)
{
    return (struct v16){_mm512_max_ps(a.v, b.v)};
}

static inline struct v16 v16_neg(struct v16 a)
{
    return (struct v16){_mm512_xor_ps(a.v, _mm512_set1_ps(-0.0F))};
}

/* Of pairs (p0, q0), (p1, q1), ...: the p twice each, the q twice each, and
 * the pairs turned round. */
static inline struct v16 v16_dup_even(struct v16 a)
{
    return (struct v16){_mm512_moveldup_ps(a.v)};
}

static inline struct v16 v16_dup_odd(struct v16 a)
{
    return (struct v16){_mm512_movehdup_ps(a.v)};
}

static inline struct v16 v16_swap_pairs(struct v16 a)
{
    return (struct v16){_mm512_permute_ps(a.v, 0xb1)};
}

/* x[j] += x[j + h] for h = 8, 4, 2, 1; x[0] of it. */
static inline float v16_sum(struct v16 x)
{
    __m256 y = _mm256_add_ps(_mm512_castps512_ps256(x.v),
                             _mm512_extractf32x8_ps(x.v, 1));
    __m128 z =
        _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));

    z = _mm_add_ps(z, _mm_movehl_ps(z, z));
    z = _mm_add_ss(z, _mm_movehdup_ps(z));
    return _mm_cvtss_f32(z);
}

/* The greatest element. */
static inline float v16_greatest(struct v16 x)
{
    __m256 y = _mm256_max_ps(_mm512_castps512_ps256(x.v),
                             _mm512_extractf32x8_ps(x.v, 1));
    __m128 z =
        _mm_max_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));

    z = _mm_max_ps(z, _mm_movehl_ps(z, z));
    z = _mm_max_ss(z, _mm_movehdup_ps(z));
    return _mm_cvtss_f32(z);
}

/* Sixteen halves or bfloat16 widened. */
static inline struct v16 v16_load_f16(const void *p)
{
    return (struct v16){_mm512_cvtph_ps(_mm256_loadu_si256(p))};
}

static inline struct v16 v16_load_bf16(const void *p)
{
    __m512i x = _mm512_cvtepu16_epi32(_mm256_loadu_si256(p));

    return (struct v16){_mm512_castsi512_ps(_mm512_slli_epi32(x, 16))};
}

/* Sixteen floats rounded to halves. */
static inline void v16_store_f16(void *p, struct v16 x)
{
    _mm256_storeu_si256(p, _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT));
}

/* Each element rounded to a half. */
static inline struct v16 v16_to_halves(struct v16 x)
{
    return (struct v16){
        _mm512_cvtph_ps(_mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT))};
}

/* Sixteen floats rounded to bfloat16. */
static inline void v16_store_bf16(void *p, struct v16 x)
{
    __m512i u = _mm512_castps_si512(x.v);
    __m512i odd =
        _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i near =
        _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    __mmask16 nan = _mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q);

    near = _mm512_mask_or_epi32(near, nan, u, _mm512_set1_epi32(0x400000));
    _mm256_storeu_si256(p, _mm512_cvtepi32_epi16(_mm512_srli_epi32(near, 16)));
}

/* ref_exp() of each element. */
static inline struct v16 v16_exp(struct v16 a)
{
    __m512 x = _mm512_min_ps(_mm512_set1_ps(89.0F), a.v);
    __mmask16 live = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.0F), _CMP_NLT_UQ);
    __m512 n, p, r;
    __m512i whole;

    n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(0x1.715476p+0F)),
                             _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-0x1.62e4p-1F), x);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-0x1.7f7d1cp-20F), r);
    p = _mm512_set1_ps(0x1.6d4316p-10F);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.123d82p-7F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.5554eap-5F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0x1.55547cp-3F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0F));
    whole = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    whole = _mm512_slli_epi32(whole, 23);
    return (struct v16){
        _mm512_maskz_mul_ps(live, p, _mm512_castsi512_ps(whole))};
}

#endif
