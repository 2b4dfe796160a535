/* ref_rows.c - The row-wise operations in scalar C, in the order that krn.h
 * states and no other: the oracle of the fast ones. */
#include "kernels/ref/ref_rows.h"

#include <math.h>

#include "kernels/half.h"
#include "kernels/kv.h"

/* exp(x) = 2^n * exp(r), n the whole number nearest to x / ln 2 and r within
 * ln 2 / 2 of 0. exp(r) is 1 + r * (1 + r * (1/2 + ...)), a degree 6 polynomial
 * fitted at Chebyshev's points, 1.1e-8 off at most. Every step is one fused
 * multiply and add, rounded once, so that any instruction set can repeat it. */
float ref_exp(float x)
{
    float n, p, r;
    int32_t whole;

    if (isnan(x))
        return x;
    if (x < -87.0F)
        return 0.0F;
    if (x > 89.0F)
        x = 89.0F;
    n = rintf(x * 0x1.715476p+0F);
    r = fmaf(n, -0x1.62e4p-1F, x);
    r = fmaf(n, -0x1.7f7d1cp-20F, r);
    p = 0x1.6d4316p-10F;
    p = fmaf(p, r, 0x1.123d82p-7F);
    p = fmaf(p, r, 0x1.5554eap-5F);
    p = fmaf(p, r, 0x1.55547cp-3F);
    p = fmaf(p, r, 0.5F);
    p = fmaf(p, r, 1.0F);
    p = fmaf(p, r, 1.0F);
    whole = (int32_t)n + 127; /* 128 + 127 is the exponent of infinity */
    return p * f32_of_bits((uint32_t)whole << 23);
}

float ref_kv_get(const void *p, enum krn_dtype t, size_t i)
{
    if (t == KRN_F16)
        return f32_of_half(((const uint16_t *)p)[i]);
    if (t == KRN_BF16)
        return f32_of_bf16(((const uint16_t *)p)[i]);
    return ((const float *)p)[i];
}

void ref_kv_put(void *p, enum krn_dtype t, size_t i, float v)
{
    if (t == KRN_F16)
        ((uint16_t *)p)[i] = half_of_f32(v);
    else if (t == KRN_BF16)
        ((uint16_t *)p)[i] = bf16_of_f32(v);
    else
        ((float *)p)[i] = v;
}

static float mean_square(const float *x, unsigned n)
{
    float s[32] = {0};

    for (unsigned i = 0; i < n; i++)
        s[i % 32] = fmaf(x[i], x[i], s[i % 32]);
    for (unsigned h = 16; h > 0; h /= 2)
        for (unsigned j = 0; j < h; j++)
            s[j] += s[j + h];
    return s[0] / (float)n;
}

enum krn_status ref_rms_norm(struct krn_ctx *c, float *y, size_t ldy,
                             const float *x, size_t ldx, const float *gain,
                             unsigned m, unsigned n, float eps)
{
    (void)c; /* one thread, no scratch */
    for (size_t row = 0; row < m; row++) {
        const float *from = x + row * ldx;
        float *to = y + row * ldy;
        float r = 1.0F / sqrtf(mean_square(from, n) + eps);

        for (unsigned i = 0; i < n; i++)
            to[i] = (from[i] * r) * gain[i];
    }
    return KRN_OK;
}

enum krn_status ref_add(struct krn_ctx *c, float *y, const float *x, size_t n)
{
    (void)c; /* one thread, no scratch */
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
    return KRN_OK;
}

enum krn_status ref_silu_mul(struct krn_ctx *c, float *y, size_t ldy,
                             const float *gate, const float *up, size_t ldx,
                             unsigned m, size_t n)
{
    (void)c; /* one thread, no scratch */
    for (size_t row = 0; row < m; row++) {
        const float *g = gate + row * ldx;
        const float *u = up + row * ldx;
        float *to = y + row * ldy;

        for (size_t i = 0; i < n; i++)
            to[i] = (g[i] / (1.0F + ref_exp(-g[i]))) * u[i];
    }
    return KRN_OK;
}

static void turn(float *head, unsigned n_rot, const float *cs, bool halves)
{
    for (unsigned i = 0; i < n_rot / 2; i++) {
        float *pa = head + (halves ? i : 2 * i);
        float *pb = halves ? pa + n_rot / 2 : pa + 1;
        float a = *pa;
        float b = *pb;
        float cosine = cs[2 * i];
        float sine = cs[2 * i + 1];

        *pa = fmaf(a, cosine, -(b * sine));
        *pb = fmaf(b, cosine, a * sine);
    }
}

enum krn_status ref_rope(struct krn_ctx *c, float *v, size_t ld, unsigned m,
                         unsigned n_head, unsigned d_head, unsigned n_rot,
                         const float *cs, bool halves)
{
    (void)c; /* one thread, no scratch */
    for (size_t row = 0; row < m; row++)
        for (size_t h = 0; h < n_head; h++)
            turn(v + row * ld + h * d_head, n_rot, cs + row * n_rot, halves);
    return KRN_OK;
}

enum krn_status ref_kv_write(struct krn_ctx *c, const struct krn_kv *kv,
                             unsigned layer, const struct krn_rows *rows,
                             const float *k, const float *v, size_t ld)
{
    size_t d_head = kv->d_head;

    (void)c; /* one thread, no scratch */
    for (size_t r = 0; r < rows->m; r++) {
        size_t at = (size_t)rows->pos[r] % KRN_PAGE_TOKENS;

        for (unsigned h = 0; h < kv->n_kv_head; h++) {
            const struct kv_head to = kv_head_of(
                kv, layer, h, kv_page_of(rows, rows->seq[r], rows->pos[r]));
            const float *from_k = k + r * ld + h * d_head;
            const float *from_v = v + r * ld + h * d_head;

            for (size_t d = 0; d < d_head; d++) {
                ref_kv_put(to.k, kv->dtype, d * KRN_PAGE_TOKENS + at,
                           from_k[d]);
                ref_kv_put(to.v, kv->dtype, at * d_head + d, from_v[d]);
            }
        }
    }
    return KRN_OK;
}
