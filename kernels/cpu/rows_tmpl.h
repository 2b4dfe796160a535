/* rows_tmpl.h - Template of the row-wise inner loops, over the words of a
 * v16_*.h that was included before. Orders: kernels/krn.h. */
#ifndef TG_KERNELS_CPU_ROWS_TMPL_H
#define TG_KERNELS_CPU_ROWS_TMPL_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/cpu_rows.h"
#include "kernels/half.h"

static void row_norm(float *y, const float *x, const float *gain, size_t n,
                     float eps)
{
    struct v16 s0 = v16_set1(0);
    struct v16 s1 = s0;
    struct v16 r;
    size_t i = 0;

    for (; i + 32 <= n; i += 32) {
        struct v16 a = v16_load(x + i);
        struct v16 b = v16_load(x + i + 16);

        s0 = v16_fma(a, a, s0);
        s1 = v16_fma(b, b, s1);
    }
    for (unsigned j = 0; i + j < n; j += 16) {
        size_t left = n - i - j;
        struct v16 a = v16_load_n(x + i + j, left < 16 ? (unsigned)left : 16);

        if (j == 0)
            s0 = v16_fma(a, a, s0);
        else
            s1 = v16_fma(a, a, s1);
    }
    r = v16_set1(1.0F / sqrtf(v16_sum(v16_add(s0, s1)) / (float)n + eps));
    for (i = 0; i + 16 <= n; i += 16)
        v16_store(y + i,
                  v16_mul(v16_mul(v16_load(x + i), r), v16_load(gain + i)));
    if (i < n) {
        unsigned left = (unsigned)(n - i);
        struct v16 a = v16_mul(v16_load_n(x + i, left), r);

        v16_store_n(y + i, v16_mul(a, v16_load_n(gain + i, left)), left);
    }
}

static void row_add(float *y, const float *x, size_t n)
{
    size_t i = 0;

    for (; i + 16 <= n; i += 16)
        v16_store(y + i, v16_add(v16_load(y + i), v16_load(x + i)));
    for (; i < n; i++)
        y[i] += x[i];
}

static inline struct v16 silu_mul_16(struct v16 gate, struct v16 up)
{
    struct v16 e = v16_exp(v16_neg(gate));

    return v16_mul(v16_div(gate, v16_add(v16_set1(1.0F), e)), up);
}

static void row_silu_mul(float *y, const float *gate, const float *up, size_t n)
{
    size_t i = 0;

    for (; i + 16 <= n; i += 16)
        v16_store(y + i, silu_mul_16(v16_load(gate + i), v16_load(up + i)));
    if (i < n) {
        unsigned left = (unsigned)(n - i);

        v16_store_n(
            y + i,
            silu_mul_16(v16_load_n(gate + i, left), v16_load_n(up + i, left)),
            left);
    }
}

/* Pairs (i, i + n_rot / 2), for 16 i or fewer in all heads. */
static void turn_halves(const struct cpu_turn *t, unsigned i, unsigned n)
{
    float cosines[16] = {0};
    float sines[16] = {0};
    struct v16 cosine, sine;

    for (unsigned j = 0; j < n; j++) {
        cosines[j] = t->cs[2 * (i + j)];
        sines[j] = t->cs[2 * (i + j) + 1];
    }
    cosine = v16_load(cosines);
    sine = v16_load(sines);
    for (size_t h = 0; h < t->n_head; h++) {
        float *pa = t->v + h * t->d_head + i;
        float *pb = pa + t->n_rot / 2;
        struct v16 a = v16_load_n(pa, n);
        struct v16 b = v16_load_n(pb, n);

        v16_store_n(pa, v16_fms(a, cosine, v16_mul(b, sine)), n);
        v16_store_n(pb, v16_fma(b, cosine, v16_mul(a, sine)), n);
    }
}

/* Pairs (2i, 2i + 1), n elements from element i in all heads. */
static void turn_pairs(const struct cpu_turn *t, unsigned i, unsigned n)
{
    struct v16 cs = v16_load_n(t->cs + i, n);
    struct v16 cosine = v16_dup_even(cs);
    struct v16 sine = v16_dup_odd(cs);

    for (size_t h = 0; h < t->n_head; h++) {
        float *p = t->v + h * t->d_head + i;
        struct v16 a = v16_load_n(p, n);
        struct v16 b = v16_mul(v16_swap_pairs(a), sine);

        v16_store_n(p, v16_fmaddsub(a, cosine, b), n);
    }
}

static void row_turn(const struct cpu_turn *t)
{
    unsigned all = t->halves ? t->n_rot / 2 : t->n_rot;

    for (unsigned i = 0; i < all; i += 16) {
        unsigned n = all - i < 16 ? all - i : 16;

        if (t->halves)
            turn_halves(t, i, n);
        else
            turn_pairs(t, i, n);
    }
}

static void narrow_16(void *y, enum krn_dtype t, struct v16 x)
{
    if (t == KRN_F16)
        v16_store_f16(y, x);
    else if (t == KRN_BF16)
        v16_store_bf16(y, x);
    else
        v16_store(y, x);
}

static void row_narrow(void *y, size_t stride, enum krn_dtype t, const float *x,
                       size_t n)
{
    size_t bytes = t == KRN_F32 ? 4 : 2;
    union {
        float f[16];
        uint16_t h[16];
    } buf;

    for (size_t i = 0; i < n; i += 16) {
        unsigned left = n - i < 16 ? (unsigned)(n - i) : 16;
        uint8_t *to = (uint8_t *)y + i * stride * bytes;

        if (stride == 1 && left == 16) {
            narrow_16(to, t, v16_load(x + i));
            continue;
        }
        narrow_16(&buf, t, v16_load_n(x + i, left));
        for (unsigned j = 0; j < left; j++) {
            if (t == KRN_F32)
                ((float *)(void *)to)[j * stride] = buf.f[j];
            else
                ((uint16_t *)(void *)to)[j * stride] = buf.h[j];
        }
    }
}

/* Elements of <x> before a multiple of 16 are read by sixteens, the rest one
 * by one. */
static void row_widen(float *y, const void *x, enum krn_dtype t, size_t n)
{
    const uint16_t *h = x;
    size_t i = 0;

    for (; i + 16 <= n; i += 16) {
        if (t == KRN_F16)
            v16_store(y + i, v16_load_f16(h + i));
        else if (t == KRN_BF16)
            v16_store(y + i, v16_load_bf16(h + i));
        else
            v16_store(y + i, v16_load((const float *)x + i));
    }
    for (; i < n; i++) {
        if (t == KRN_F16)
            y[i] = f32_of_half(h[i]);
        else if (t == KRN_BF16)
            y[i] = f32_of_bf16(h[i]);
        else
            y[i] = ((const float *)x)[i];
    }
    for (; i % 16 != 0; i++)
        y[i] = 0;
}

static inline struct v16 weigh_16(struct v16 x, struct v16 by, bool halves)
{
    x = v16_mul(x, by);
    return halves ? v16_to_halves(x) : x;
}

static void row_weigh(float *x, size_t n, float by, bool halves)
{
    struct v16 b = v16_set1(by);
    size_t i = 0;

    for (; i + 16 <= n; i += 16)
        v16_store(x + i, weigh_16(v16_load(x + i), b, halves));
    if (i < n) {
        unsigned left = (unsigned)(n - i);

        v16_store_n(x + i, weigh_16(v16_load_n(x + i, left), b, halves), left);
    }
}

#endif
