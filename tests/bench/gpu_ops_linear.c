/* gpu_ops_linear.c - Products of an 8B model's matrices, each over so many
 * copies of its weights that no cache holds them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu_ops.h"

enum {
    COPIES = 32, /* of a matrix, at most */
    DECODE = 256 /* rows up to here are sequences that decode */
};

#define ROTATE 256e6 /* bytes that copies take together */

/* A product, with room for what it reads and writes. */
struct product {
    const char *name;
    unsigned n_in;
    unsigned n_out[3]; /* of its matrices; glu: gate and up */
    unsigned n;
    enum krn_as as;
    bool glu;
    struct krn_weight *w[COPIES][3];
    unsigned copies;
    unsigned wide; /* of all n_out */
    void *x, *y;
    double bytes; /* of one copy */
};

static void weights_get(struct ops *o, struct product *p, enum krn_dtype t)
{
    const unsigned least = o->is_toy ? 1 : 2;
    uint64_t seed = 1;

    p->bytes = 0;
    p->wide = 0;
    for (unsigned i = 0; i < p->n; i++) {
        p->bytes += (double)p->n_in / (double)krn_dtype_block(t) *
                    (double)krn_dtype_bytes(t) * p->n_out[i];
        p->wide += p->n_out[i];
    }
    p->copies = o->is_toy ? 1 : (unsigned)(ROTATE / p->bytes) + 1;
    p->copies = p->copies < least ? least : p->copies;
    p->copies = p->copies > COPIES ? COPIES : p->copies;
    for (unsigned k = 0; k < p->copies; k++)
        for (unsigned i = 0; i < p->n; i++)
            ops_must(krn_weight_random(o->krn, t, p->n_out[i], p->n_in, seed++,
                                       &p->w[k][i]),
                     "weights");
}

static void weights_put(struct ops *o, struct product *p)
{
    for (unsigned k = 0; k < p->copies; k++)
        for (unsigned i = 0; i < p->n; i++)
            krn_weight_free(o->krn, p->w[k][i]);
}

static enum krn_status queue(struct ops *o, unsigned i, unsigned m, void *arg)
{
    const struct product *p = arg;
    struct krn_weight *const *w = p->w[i % p->copies];
    const size_t each = p->as == KRN_AS_ACT ? ops_act_bytes(o) : sizeof(float);
    struct krn_prod all[3];
    size_t at = 0;

    if (p->glu)
        return krn_step_glu(o->krn, p->x, p->n_in, m, w[0], w[1], p->y,
                            p->wide);
    for (unsigned k = 0; k < p->n; k++) {
        all[k] = (struct krn_prod){.w = w[k],
                                   .y = (char *)p->y + at * each,
                                   .ldy = p->wide,
                                   .as = p->as};
        at += p->n_out[k];
    }
    return krn_step_linear(o->krn, p->x, p->n_in, m, p->n, all);
}

static void rows_measure(struct ops *o, struct product *p, enum krn_dtype t,
                         unsigned m)
{
    const double flops = 2.0 * m * p->n_in * p->wide;
    const double moved =
        p->bytes + (double)ops_act_bytes(o) * m * (p->n_in + p->wide);
    const struct gpu_case c = {.what = "linear",
                               .model = p->name,
                               .type = krn_dtype_name(t),
                               .how = "",
                               .batch = m,
                               .tokens = m,
                               .bytes = moved,
                               .flops = flops};
    unsigned n = ops_count(o, moved, flops);

    /* Each copy the same number of times. */
    n = (n + p->copies - 1) / p->copies * p->copies;
    ops_rows(o, m, 0, m <= DECODE);
    ops_measure(o, &c, n, queue, p);
}

static void product_measure(struct ops *o, struct product *p, enum krn_dtype t)
{
    unsigned most = 0;
    size_t bytes;

    for (unsigned i = 0; i < o->n_m; i++)
        most = o->m[i] > most ? o->m[i] : most;
    most = krn_step_rows(o->krn, most);
    weights_get(o, p, t);
    bytes = (size_t)most * p->n_in * ops_act_bytes(o);
    p->x = ops_take(o, bytes);
    ops_fill(o, p->x, bytes, krn_act(o->krn) == KRN_F32);
    p->y = ops_take(o, (size_t)most * p->wide * sizeof(float));
    ops_fill(o, p->y, (size_t)most * p->wide * sizeof(float), true);
    for (unsigned i = 0; i < o->n_m; i++)
        if (p->wide < 100000 || o->m[i] <= DECODE) /* the head: last rows */
            rows_measure(o, p, t, o->m[i]);
    krn_free(o->krn, p->x);
    krn_free(o->krn, p->y);
    weights_put(o, p);
}

void ops_linear(struct ops *o, enum krn_dtype t)
{
    const struct ops_size *s = &o->size;
    const unsigned q = s->n_head * s->d_head, kv = s->n_kv_head * s->d_head;
    struct product all[] = {
        {.name = "qkv", .n_in = s->d_model, .n_out = {q, kv, kv}, .n = 3},
        {.name = "o",
         .n_in = q,
         .n_out = {s->d_model},
         .n = 1,
         .as = KRN_AS_ADDED},
        {.name = "gate-up",
         .n_in = s->d_model,
         .n_out = {s->d_ff, s->d_ff},
         .n = 2,
         .glu = true},
        {.name = "down",
         .n_in = s->d_ff,
         .n_out = {s->d_model},
         .n = 1,
         .as = KRN_AS_ADDED},
        {.name = "head",
         .n_in = s->d_model,
         .n_out = {s->n_vocab},
         .n = 1,
         .as = KRN_AS_F32},
    };

    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        product_measure(o, &all[i], t);
}
