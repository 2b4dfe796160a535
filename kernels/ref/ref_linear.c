/* ref_linear.c - The contract of krn_linear() in scalar C. One output y of a
 * row x and a row of weights is:
 *
 *   F16, BF16: the row is cut every 256. In a cut
 *       a = +0; a = fma(x[k], w[k], a) for ascending k
 *     and y is the first cut's a, to which the others' are added in order.
 *
 *   F32: the same cuts, but in each one eight chains
 *       s[j] = +0; s[j] = fma(x[k], w[k], s[j]) for ascending k = j mod 8
 *       s[j] += s[j + h] for h = 4, 2, 1
 *     and a = s[0]. Vectors of eight lanes along k add so: what other engines
 *     compute from such files comes out the same, nearly always to the bit.
 *
 *   All other types: x is rounded to integers xq and a scale dx for each 32
 *   elements (ref_xblock_round()). Sums of integers are exact. From y = +0,
 *   for blocks in ascending order:
 *
 *   Q8_0, Q4_0: dot = sum of q * xq over the block;
 *       y = fma((float)dot * d, dx, y)
 *
 *   Q4_K, Q5_K: for the sub-blocks j of 32
 *       a = +0; a = fma((float)(scale[j] * dot[j]), dx[j], a)
 *       b = +0; b = fma((float)min[j], (float)sum[j] * dx[j], b)
 *     where sum[j] is that of xq; then
 *       y = fma(d, a, y); y = fma(-d_min, b, y)
 *
 *   Q6_K: for each 32 elements, dot[h] over the halves of 16,
 *       a = fma((float)(scale[0] * dot[0] + scale[1] * dot[1]), dx, a)
 *     from a = +0; then y = fma(d, a, y)
 *
 *   The bias is added last. The integers that become floats stay below 2^24,
 *   so that turning them is exact. */
#include <math.h>
#include <string.h>

#include "kernels/half.h"
#include "kernels/krn_priv.h"
#include "kernels/pool.h"
#include "kernels/ref/ref.h"

enum { GROUP = 16 }; /* rows of weights of an item */

void ref_xblock_round(const float *x, struct ref_xblock *out)
{
    uint32_t most = 0;
    float amax;
    float inverse;

    for (unsigned i = 0; i < REF_BLOCK; i++) {
        uint32_t mag = f32_bits(x[i]) & 0x7fffffffU;

        most = mag > most ? mag : most;
    }
    amax = f32_of_bits(most);
    out->d = amax / 127.0F;
    memset(out->q, 0, sizeof(out->q));
    if (most >= 0x7f800000U || amax < 0x1p-100F)
        return;
    inverse = 127.0F / amax;
    for (unsigned i = 0; i < REF_BLOCK; i++)
        out->q[i] = (int8_t)lrintf(x[i] * inverse);
}

static int dot(const int8_t *a, const int8_t *b, unsigned n)
{
    int sum = 0;

    for (unsigned i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static int total(const int8_t *a, unsigned n)
{
    int sum = 0;

    for (unsigned i = 0; i < n; i++)
        sum += a[i];
    return sum;
}

/* A cut of F32 weights, in eight chains. */
static float woven_step(const struct ref_piece *p, const float *x, float y,
                        bool first)
{
    float s[REF_CHAINS] = {0};

    for (unsigned i = 0; i < p->n; i++)
        s[i % REF_CHAINS] = fmaf(x[i], p->f[i], s[i % REF_CHAINS]);
    for (unsigned h = REF_CHAINS / 2; h > 0; h /= 2)
        for (unsigned j = 0; j < h; j++)
            s[j] += s[j + h];
    return first ? s[0] : y + s[0];
}

static float floats_step(const struct ref_piece *p, const float *x, float y,
                         bool first)
{
    float a = 0;

    for (unsigned i = 0; i < p->n; i++)
        a = fmaf(x[i], p->f[i], a);
    return first ? a : y + a;
}

static float q32_step(const struct ref_piece *p, const struct ref_xblock *x,
                      float y)
{
    return fmaf((float)dot(p->q, x->q, REF_BLOCK) * p->d, x->d, y);
}

static float min_step(const struct ref_piece *p, const struct ref_xblock *x,
                      float y)
{
    float a = 0;
    float b = 0;

    for (unsigned j = 0; j < REF_CUT / REF_BLOCK; j++) {
        int s = p->scale[j] * dot(p->q + j * REF_BLOCK, x[j].q, REF_BLOCK);
        float sum = (float)total(x[j].q, REF_BLOCK) * x[j].d;

        a = fmaf((float)s, x[j].d, a);
        b = fmaf((float)p->min[j], sum, b);
    }
    y = fmaf(p->d, a, y);
    return fmaf(-p->d_min, b, y);
}

static float q6_step(const struct ref_piece *p, const struct ref_xblock *x,
                     float y)
{
    float a = 0;

    for (unsigned j = 0; j < REF_CUT / REF_BLOCK; j++) {
        const int8_t *q = p->q + j * REF_BLOCK;
        int s = p->scale[2 * j] * dot(q, x[j].q, REF_SCALE);

        s += p->scale[2 * j + 1] *
             dot(q + REF_SCALE, x[j].q + REF_SCALE, REF_SCALE);
        a = fmaf((float)s, x[j].d, a);
    }
    return fmaf(p->d, a, y);
}

struct job {
    const float *x;
    size_t ldx;
    unsigned m;
    unsigned n;
    const struct krn_out *outs;
    struct ref_xblock *blocks; /* (m, n_in / 32); unused by float types */
};

/* One output of all rows of x. */
static void column_run(const struct job *j, const struct krn_out *o, size_t row)
{
    const struct krn_weight *w = o->w;
    size_t per_row = w->n_in / REF_BLOCK;
    struct ref_piece p;
    float *y = o->y + row;

    for (unsigned r = 0; r < j->m; r++)
        y[r * o->ldy] = 0;
    for (size_t at = 0; at < w->n_in; at += p.n) {
        ref_piece_read(w->dtype, w->data + row * w->unit_bytes, w->n_in, at,
                       &p);
        for (unsigned r = 0; r < j->m; r++) {
            const struct ref_xblock *b =
                j->blocks ? j->blocks + r * per_row + at / REF_BLOCK : NULL;
            float *to = &y[r * o->ldy];

            if (w->dtype == KRN_F32)
                *to = woven_step(&p, j->x + r * j->ldx + at, *to, at == 0);
            else if (krn_dtype_block(w->dtype) == 1)
                *to = floats_step(&p, j->x + r * j->ldx + at, *to, at == 0);
            else if (krn_dtype_block(w->dtype) == REF_BLOCK)
                *to = q32_step(&p, b, *to);
            else if (w->dtype == KRN_Q6_K)
                *to = q6_step(&p, b, *to);
            else
                *to = min_step(&p, b, *to);
        }
    }
    for (unsigned r = 0; r < j->m && o->bias; r++)
        y[r * o->ldy] += o->bias[row];
}

static void group_item(void *arg, unsigned item, unsigned worker)
{
    const struct job *j = arg;
    const struct krn_out *o = j->outs;
    size_t groups = (o->w->n_out + GROUP - 1) / GROUP;
    size_t end;

    (void)worker;
    while (item >= groups) {
        item -= (unsigned)groups;
        o++;
        groups = (o->w->n_out + GROUP - 1) / GROUP;
    }
    end = (size_t)(item + 1) * GROUP;
    end = end < o->w->n_out ? end : o->w->n_out;
    for (size_t row = (size_t)item * GROUP; row < end; row++)
        column_run(j, o, row);
}

static void round_item(void *arg, unsigned item, unsigned worker)
{
    const struct job *j = arg;
    size_t n_in = j->outs[0].w->n_in;
    size_t per_row = n_in / REF_BLOCK;

    (void)worker;
    for (size_t b = 0; b < per_row; b++)
        ref_xblock_round(j->x + item * j->ldx + b * REF_BLOCK,
                         &j->blocks[item * per_row + b]);
}

static enum krn_status ref_linear(struct krn_ctx *c, const float *x, size_t ldx,
                                  unsigned m, unsigned n,
                                  const struct krn_out *outs)
{
    struct job j = {.x = x, .ldx = ldx, .m = m, .n = n, .outs = outs};
    size_t per_row = outs[0].w->n_in / REF_BLOCK;
    unsigned items = 0;
    bool rounds = false;

    for (unsigned i = 0; i < n; i++) {
        items += (unsigned)((outs[i].w->n_out + GROUP - 1) / GROUP);
        rounds = rounds || krn_dtype_block(outs[i].w->dtype) != 1;
    }
    if (rounds) {
        j.blocks =
            krn_scratch(c, KRN_SLOT_LINEAR, per_row * m * sizeof(*j.blocks));
        if (!j.blocks)
            return KRN_NOMEM;
        pool_run(c->pool, round_item, &j, m);
    }
    pool_run(c->pool, group_item, &j, items);
    return KRN_OK;
}

static void ref_layout(enum krn_dtype t, size_t n_out, size_t n_in,
                       size_t *unit_bytes_out, size_t *units_out)
{
    *unit_bytes_out = n_in / krn_dtype_block(t) * krn_dtype_bytes(t);
    *units_out = n_out;
}

static void ref_pack(struct krn_ctx *c, const struct krn_weight *w,
                     const void *rows)
{
    (void)c;
    memcpy(w->data, rows, w->bytes);
}

static void ref_row(const struct krn_weight *w, size_t row, float *y)
{
    struct ref_piece p;

    for (size_t at = 0; at < w->n_in; at += p.n) {
        ref_piece_read(w->dtype, w->data + row * w->unit_bytes, w->n_in, at,
                       &p);
        ref_piece_widen(w->dtype, &p, y + at);
    }
}

const struct krn_mat_ops ref_mat_ops = {
    .layout = ref_layout,
    .pack = ref_pack,
    .linear = ref_linear,
    .row = ref_row,
};
