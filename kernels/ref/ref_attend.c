/* ref_attend.c - Attention in scalar C, one row and head at a time, in the
 * order that krn.h states. */
#include <math.h>
#include <stdlib.h>

#include "kernels/half.h"
#include "kernels/kv.h"
#include "kernels/ref/ref_rows.h"

/* One row and head at work. */
struct ref_query {
    const struct krn_kv *kv;
    const struct krn_rows *rows;
    unsigned layer;
    unsigned kv_head;
    int32_t seq;
    size_t n;       /* positions seen */
    const float *q; /* (d_head) */
    float *e;       /* (n) scores, then weights */
    float *out;     /* (d_head) */
};

static struct kv_head page_at(const struct ref_query *a, size_t pos)
{
    return kv_head_of(a->kv, a->layer, a->kv_head,
                      kv_page_of(a->rows, a->seq, (int32_t)pos));
}

/* A factor of a product with keys or values. */
static float operand(const struct ref_query *a, float x)
{
    return a->kv->dtype == KRN_F16 ? f32_of_half(half_of_f32(x)) : x;
}

static void weigh(const struct ref_query *a, float scale)
{
    float max = -INFINITY;

    for (size_t j = 0; j < a->n; j++) {
        const void *k = page_at(a, j).k;
        float s = 0;

        for (size_t d = 0; d < a->kv->d_head; d++)
            s = fmaf(operand(a, a->q[d]),
                     ref_kv_get(k, a->kv->dtype,
                                d * KRN_PAGE_TOKENS + j % KRN_PAGE_TOKENS),
                     s);
        a->e[j] = s * scale;
        if (a->e[j] > max)
            max = a->e[j];
    }
    for (size_t j = 0; j < a->n; j++)
        a->e[j] = ref_exp(a->e[j] - max);
}

static float sum_of_cut(const float *e, size_t n)
{
    float s[16] = {0};

    for (size_t j = 0; j < n; j++)
        s[j % 16] += e[j];
    for (size_t h = 8; h > 0; h /= 2)
        for (size_t j = 0; j < h; j++)
            s[j] += s[j + h];
    return s[0];
}

static float value_of_cut(const struct ref_query *a, size_t from, size_t to,
                          size_t d)
{
    size_t d_head = a->kv->d_head;
    float o = 0;

    for (size_t j = from; j < to; j++)
        o = fmaf(a->e[j],
                 ref_kv_get(page_at(a, j).v, a->kv->dtype,
                            j % KRN_PAGE_TOKENS * d_head + d),
                 o);
    return o;
}

static size_t cut_end(const struct ref_query *a, size_t from)
{
    return a->n - from < KV_CUT_TOKENS ? a->n : from + KV_CUT_TOKENS;
}

static void gather(const struct ref_query *a)
{
    float sum = 0;

    for (size_t from = 0; from < a->n; from += KV_CUT_TOKENS) {
        float part = sum_of_cut(a->e + from, cut_end(a, from) - from);

        sum = from == 0 ? part : sum + part;
    }
    for (size_t j = 0; j < a->n; j++)
        a->e[j] = operand(a, a->e[j] * (1.0F / sum));
    for (size_t from = 0; from < a->n; from += KV_CUT_TOKENS) {
        for (size_t d = 0; d < a->kv->d_head; d++) {
            float part = value_of_cut(a, from, cut_end(a, from), d);

            a->out[d] = from == 0 ? part : a->out[d] + part;
        }
    }
}

enum krn_status ref_attend(struct krn_ctx *c, const struct krn_kv *kv,
                           unsigned layer, const struct krn_rows *rows,
                           const float *q, size_t ldq, unsigned n_head,
                           float scale, float *out, size_t ldo)
{
    unsigned group = n_head / kv->n_kv_head;
    struct ref_query a = {.kv = kv, .rows = rows, .layer = layer};
    size_t longest = 0;

    (void)c; /* one thread */
    for (size_t r = 0; r < rows->m; r++)
        if ((size_t)rows->pos[r] + 1 > longest)
            longest = (size_t)rows->pos[r] + 1;
    a.e = malloc((longest + 1) * sizeof(*a.e));
    if (!a.e)
        return KRN_NOMEM;
    for (size_t r = 0; r < rows->m; r++)
        for (size_t h = 0; h < n_head; h++) {
            a.kv_head = (unsigned)h / group;
            a.seq = rows->seq[r];
            a.n = (size_t)rows->pos[r] + 1;
            a.q = q + r * ldq + h * kv->d_head;
            a.out = out + r * ldo + h * kv->d_head;
            weigh(&a, scale);
            gather(&a);
        }
    free(a.e);
    return KRN_OK;
}
