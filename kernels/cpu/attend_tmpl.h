/* attend_tmpl.h - Template of attention's inner loops, over the words of a
 * v16_*.h that was included before. Lanes run along positions for the scores
 * and along the head for the values, so that no sum crosses lanes but that of
 * the exponentials, whose order krn.h states. */
#ifndef TG_KERNELS_CPU_ATTEND_TMPL_H
#define TG_KERNELS_CPU_ATTEND_TMPL_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/cpu_rows.h"

/* Sixteen elements of a step of b. */
static inline struct v16 chain_load(enum krn_dtype t, const uint8_t *b)
{
    if (t == KRN_F16)
        return v16_load_f16(b);
    if (t == KRN_BF16)
        return v16_load_bf16(b);
    return v16_load((const float *)(const void *)b);
}

/* Chains of so few rows wait for memory: pages lie apart, and no hardware
 * fetches across them. */
#define CHAIN_FETCH_ROWS 4

/* Do <X> for each row that a chain of R rows can have; the sums are variables
 * with names, since an array of them would live in memory. */
#if V16_ROWS > 6
#define CHAIN_EACH(X)                                                          \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#else
#define CHAIN_EACH(X) X(0) X(1) X(2) X(3) X(4) X(5)
#endif

#define CHAIN_DECLARE(i) struct v16 s##i = v16_set1(0);

/* Three rows share a pointer, so that all fit into registers. */
#define CHAIN_A(i) (((i) < 3) ? a0 : ((i) < 6) ? a3 : ((i) < 9) ? a6 : a9)

#define CHAIN_STEP(i)                                                          \
    if (R > i)                                                                 \
        s##i = v16_fma(v16_set1(CHAIN_A(i)[(i) % 3 * lda]), v, s##i);

#define CHAIN_LATE(i)                                                          \
    if (R > i && x->n[i] > k)                                                  \
        s##i = v16_fma(v16_set1(x->a[(i)*lda + k]), v, s##i);

#define CHAIN_END(i)                                                           \
    if (R > i)                                                                 \
        chain_end(x, x->c + (i)*x->ldc, s##i);

static inline void chain_end(const struct cpu_chain *x, float *c, struct v16 s)
{
    if (x->end == CPU_CHAIN_ADD)
        s = v16_add(v16_load(c), s);
    else if (x->end == CPU_CHAIN_SCALE)
        s = v16_mul(s, v16_set1(x->scale));
    v16_store(c, s);
}

/* The chains of R rows: all together for as many steps as the first one has,
 * then those that go on. */
static inline __attribute__((always_inline)) void chain_run(
    const struct cpu_chain *x, const unsigned R, const enum krn_dtype t)
{
    size_t lda = x->lda;
    size_t step = x->b_step_bytes;
    const float *a0 = x->a;
    const float *a3 = R > 3 ? a0 + 3 * lda : a0;
    const float *a6 = R > 6 ? a0 + 6 * lda : a0;
    const float *a9 = R > 9 ? a0 + 9 * lda : a0;
    unsigned k = 0;
    struct v16 v;

    CHAIN_EACH(CHAIN_DECLARE)
    for (unsigned at = 0; k < x->n[0]; at++) {
        const uint8_t *b = (const uint8_t *)x->b[at] + x->b_skip_bytes;
        const uint8_t *later =
            (const uint8_t *)x->b[at + x->ahead] + x->b_skip_bytes;
        unsigned left = x->n[0] - k < x->piece ? x->n[0] - k : x->piece;

        k += left;
        for (; left > 0; left--, b += step) {
            if (R <= CHAIN_FETCH_ROWS) {
                _mm_prefetch((const char *)later, _MM_HINT_T0);
                later += step;
            }
            v = chain_load(t, b);
            CHAIN_EACH(CHAIN_STEP)
            a0++;
            a3++;
            a6++;
            a9++;
        }
    }
    for (; k < x->n[R - 1]; k++) {
        const uint8_t *b = (const uint8_t *)x->b[k / x->piece];

        v = chain_load(t, b + x->b_skip_bytes + k % x->piece * x->b_step_bytes);
        CHAIN_EACH(CHAIN_LATE)
    }
    CHAIN_EACH(CHAIN_END)
}

/* One function for each number of rows: what is inlined elsewhere loses its
 * registers. */
#define CHAIN_DEFINE(i)                                                        \
    static __attribute__((noinline)) void chain_rows_##i(                      \
        const struct cpu_chain *x)                                             \
    {                                                                          \
        if (x->dtype == KRN_F16)                                               \
            chain_run(x, (i) + 1, KRN_F16);                                    \
        else if (x->dtype == KRN_BF16)                                         \
            chain_run(x, (i) + 1, KRN_BF16);                                   \
        else                                                                   \
            chain_run(x, (i) + 1, KRN_F32);                                    \
    }

CHAIN_EACH(CHAIN_DEFINE)

#define CHAIN_NAME(i) chain_rows_##i,

static void chain_any(const struct cpu_chain *x)
{
    static void (*const by_rows[V16_ROWS])(const struct cpu_chain *) = {
        CHAIN_EACH(CHAIN_NAME)};

    by_rows[x->rows - 1](x);
}

static float score_greatest(const float *s, size_t n)
{
    struct v16 low = v16_set1(-INFINITY);
    struct v16 max = low;
    size_t i = 0;

    for (; i + 16 <= n; i += 16)
        max = v16_max(v16_load(s + i), max);
    if (i < n) {
        unsigned left = (unsigned)(n - i);

        max = v16_max(v16_blend(v16_load_n(s + i, left), low, left), max);
    }
    return v16_greatest(max);
}

static float score_exp_cut(float *s, size_t n, float max)
{
    struct v16 less = v16_set1(-max);
    struct v16 sum = v16_set1(0);
    size_t i = 0;

    for (; i + 16 <= n; i += 16) {
        struct v16 e = v16_exp(v16_add(v16_load(s + i), less));

        v16_store(s + i, e);
        sum = v16_add(sum, e);
    }
    if (i < n) {
        unsigned left = (unsigned)(n - i);
        struct v16 e = v16_exp(v16_add(v16_load_n(s + i, left), less));

        v16_store_n(s + i, e, left);
        sum = v16_add(sum, v16_first(e, left));
    }
    return v16_sum(sum);
}

#endif
