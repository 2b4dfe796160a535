/* gpu_ops_rest.c - Attention, operations on rows, and copies. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "gpu_ops.h"

#define ROTATE                                                                 \
    256e6 /* bytes of keys and values, where layers can make them              \
           */

enum { LAYERS = 64 };

/* --- attention ------------------------------------------------------------ */

struct attention {
    void *q, *out;
};

static enum krn_status attend_queue(struct ops *o, unsigned i, unsigned m,
                                    void *arg)
{
    const struct attention *a = arg;
    const size_t ld = (size_t)o->size.n_head * o->size.d_head;

    (void)m;
    return krn_step_attend(o->krn, KRN_ALL, i % o->kv.n_layer, a->q, ld,
                           o->size.n_head, 1.0F / sqrtf((float)o->size.d_head),
                           a->out, ld);
}

static void attend_measure(struct ops *o, const struct attention *a,
                           unsigned rows, unsigned before, bool decode)
{
    const double heads = (double)o->size.n_head * o->size.d_head;
    const double seen = decode
                            ? (double)rows * (before + 1)
                            : rows * (double)before + rows * (rows + 1.0) / 2;
    const double kept = decode ? seen : (double)before + rows;
    const struct gpu_case c = {
        .what = decode ? "attend decode" : "attend prefill",
        .model = "",
        .type =
            krn_dtype_name(krn_act(o->krn) == KRN_BF16 ? KRN_BF16 : KRN_F16),
        .how = "",
        .batch = rows,
        .context = before,
        .tokens = rows,
        .bytes = 4.0 * o->size.n_kv_head * o->size.d_head * kept,
        .flops = 4.0 * heads * seen,
    };
    unsigned n = ops_count(o, c.bytes, c.flops);

    if (gpu_now_s() > o->end_s) {
        gpu_skip(&c, "no time");
        return;
    }
    if (decode) {
        const unsigned pt = krn_page_tokens(o->krn);
        const unsigned pages = rows * ((before + pt) / pt);
        unsigned layers = (unsigned)(ROTATE / c.bytes) + 1;

        layers = o->is_toy ? 2 : layers > LAYERS ? LAYERS : layers;
        ops_pool(o, layers, pages);
        n = (n + layers - 1) / layers * layers;
    } else {
        ops_pool(o, 2, (before + rows) / krn_page_tokens(o->krn) + 1);
    }
    ops_rows(o, rows, before, decode);
    ops_measure(o, &c, n, attend_queue, (void *)(uintptr_t)a);
}

void ops_attend(struct ops *o)
{
    static const unsigned batch[] = {1, 8, 64, 256};
    static const unsigned context[] = {127, 2047, 8191, 32767};
    static const unsigned rows[] = {512, 2048, 8192};
    const unsigned most_context = o->is_toy ? 1 : 4;
    const unsigned most_rows = o->is_toy ? 1 : 3;
    const size_t bytes =
        (size_t)OPS_ROOM * o->size.n_head * o->size.d_head * ops_act_bytes(o);
    struct attention a = {.q = ops_take(o, bytes), .out = ops_take(o, bytes)};

    ops_fill(o, a.q, bytes, krn_act(o->krn) == KRN_F32);
    for (unsigned k = 0; k < most_context; k++)
        for (unsigned b = 0; b < (o->is_toy ? 2U : 4U); b++)
            if ((uint64_t)batch[b] * context[k] <= 64 * 32768)
                attend_measure(o, &a, batch[b], context[k], true);
    for (unsigned i = 0; i < most_rows; i++) {
        attend_measure(o, &a, o->is_toy ? 70 : rows[i], 0, false);
        if (rows[i] == 2048) {
            attend_measure(o, &a, rows[i], 8192, false);
            attend_measure(o, &a, rows[i], 30720, false);
        }
    }
    krn_free(o->krn, a.q);
    krn_free(o->krn, a.out);
}

/* --- draws ---------------------------------------------------------------- */

enum { DRAWS = 256 };

struct drawing {
    float *logits; /* (DRAWS, n_vocab) */
    struct krn_draw ask[DRAWS];
    struct krn_drawn out[DRAWS];
};

/* Seconds of <times> times <n> draws. */
static double draw_s(struct ops *o, struct drawing *d, unsigned n,
                     unsigned times)
{
    const double t = gpu_now_s();

    for (unsigned i = 0; i < times; i++)
        ops_must(krn_step_draw(o->krn, d->logits, o->size.n_vocab,
                               o->size.n_vocab, n, d->ask, d->out),
                 "draw");
    return gpu_now_s() - t;
}

static void draw_measure(struct ops *o, struct drawing *d, unsigned n,
                         const char *how)
{
    const unsigned times = o->is_toy ? 1 : 20;
    const struct gpu_case c = {.what = "draw",
                               .model = "",
                               .type = "F32",
                               .how = how,
                               .batch = n,
                               .tokens = n,
                               .bytes = 4.0 * n * o->size.n_vocab};
    struct gpu_samples all = {.n = 0};

    if (gpu_now_s() > o->end_s) {
        gpu_skip(&c, "no time");
        return;
    }
    for (unsigned k = 0; k < 3; k++)
        (void)draw_s(o, d, n, times);
    all.from_s = gpu_wall_s();
    while (all.n < o->samples)
        all.s[all.n++] = draw_s(o, d, n, times);
    all.to_s = gpu_wall_s();
    gpu_row(&c, &all, times);
}

/* The likeliest token, and one of those that are often asked for. */
static void ops_draw(struct ops *o)
{
    static const unsigned rows[] = {1, 64, DRAWS};
    const size_t bytes = (size_t)DRAWS * o->size.n_vocab * sizeof(float);
    struct drawing *d = calloc(1, sizeof(*d));

    if (!d)
        ops_die("host", "no memory");
    d->logits = ops_take(o, bytes);
    ops_fill(o, d->logits, bytes, true);
    for (unsigned warm = 0; warm < 2; warm++) {
        for (unsigned i = 0; i < DRAWS; i++)
            d->ask[i] = (struct krn_draw){.row = i,
                                          .given = -1,
                                          .temperature = warm ? 0.8F : 0,
                                          .top_k = warm ? 40 : 0,
                                          .top_p = warm ? 0.95F : 1,
                                          .repetition_penalty = 1,
                                          .u = 0.5};
        for (unsigned i = 0; i < (o->is_toy ? 1U : 3U); i++)
            draw_measure(o, d, rows[i],
                         warm ? "t 0.8 top_k 40 top_p 0.95" : "likeliest");
    }
    krn_free(o->krn, d->logits);
    free(d);
}

/* --- rows ----------------------------------------------------------------- */

struct rows {
    float *x, *gain, *cs;
    void *y;
    double *freq;
};

static enum krn_status norm_queue(struct ops *o, unsigned i, unsigned m,
                                  void *arg)
{
    const struct rows *r = arg;

    (void)i;
    return krn_step_norm(o->krn, r->y, o->size.d_model, false, r->x,
                         o->size.d_model, r->gain, m, o->size.d_model, 1e-5F);
}

static enum krn_status heads_queue(struct ops *o, unsigned i, unsigned m,
                                   void *arg)
{
    const struct rows *r = arg;
    const struct ops_size *s = &o->size;
    const size_t q = (size_t)s->n_head * s->d_head;
    const size_t kv = (size_t)s->n_kv_head * s->d_head;
    const size_t ld = q + 2 * kv;
    char *const y = r->y;
    const size_t each = ops_act_bytes(o);
    const struct krn_heads h = {.q = y,
                                .k = y + q * each,
                                .v = y + (q + kv) * each,
                                .ldq = ld,
                                .ldk = ld,
                                .ldv = ld,
                                .n_head = s->n_head,
                                .q_norm = r->gain,
                                .k_norm = r->gain,
                                .eps = 1e-6F,
                                .cs = r->cs,
                                .n_rot = s->d_head,
                                .halves = true};

    (void)i;
    (void)m;
    return krn_step_heads(o->krn, KRN_ALL, 0, &h);
}

static enum krn_status turns_queue(struct ops *o, unsigned i, unsigned m,
                                   void *arg)
{
    const struct rows *r = arg;

    (void)i;
    (void)m;
    return krn_step_turns(o->krn, KRN_ALL, r->cs, r->freq, o->size.d_head, 1);
}

static void rows_one(struct ops *o, struct rows *r, unsigned m, ops_fn *fn,
                     const char *what, double bytes)
{
    const struct gpu_case c = {.what = what,
                               .model = "",
                               .type = krn_dtype_name(krn_act(o->krn)),
                               .how = "",
                               .batch = m,
                               .tokens = m,
                               .bytes = bytes * m};

    ops_rows(o, m, 0, m <= 256);
    ops_measure(o, &c, ops_count(o, c.bytes, 0), fn, r);
}

void ops_row_wise(struct ops *o)
{
    static const unsigned all[] = {1, 64, 2048, 8192};
    const struct ops_size *s = &o->size;
    const unsigned wide = (s->n_head + 2 * s->n_kv_head) * s->d_head;
    const double act = (double)ops_act_bytes(o);
    const size_t x_bytes = (size_t)OPS_ROOM * s->d_model * sizeof(float);
    double freq[256];
    struct rows r = {
        .x = ops_take(o, x_bytes),
        .gain = ops_take(o, s->d_model * sizeof(float)),
        .cs = ops_take(o, (size_t)OPS_ROOM * s->d_head * sizeof(float)),
        .y = ops_take(o, (size_t)OPS_ROOM * (wide + s->d_model) * 4),
        .freq = ops_take(o, sizeof(freq)),
    };

    for (unsigned i = 0; i < s->d_head / 2; i++)
        freq[i] = pow(500000, -2.0 * i / s->d_head);
    ops_must(krn_put(o->krn, r.freq, freq, s->d_head / 2 * sizeof(*freq)),
             "put");
    ops_fill(o, r.x, x_bytes, true);
    ops_fill(o, r.gain, s->d_model * sizeof(float), true);
    ops_fill(o, r.y, (size_t)OPS_ROOM * wide * ops_act_bytes(o), false);
    ops_pool(o, 1, OPS_PAGES);
    for (unsigned i = 0; i < (o->is_toy ? 2U : 4U); i++) {
        rows_one(o, &r, all[i], norm_queue, "norm", (4 + act) * s->d_model);
        rows_one(o, &r, all[i], turns_queue, "turns", 4.0 * s->d_head);
        rows_one(o, &r, all[i], heads_queue, "heads", 2 * act * wide);
    }
    if (!krn_is_host(o->krn))
        ops_draw(o);
    krn_free(o->krn, r.x);
    krn_free(o->krn, r.gain);
    krn_free(o->krn, r.cs);
    krn_free(o->krn, r.y);
    krn_free(o->krn, r.freq);
}

/* --- copies --------------------------------------------------------------- */

enum way { INSIDE = 0, IN, OUT, BOTH, WAYS };

/* Copy <n> pages and wait. */
static double copy_s(struct ops *o, enum way way, unsigned n, uint8_t *host)
{
    const size_t bytes = krn_kv_page_bytes(&o->kv);
    const unsigned half = o->kv.n_pages / 2;
    const double t = gpu_now_s();
    uint64_t in = 0, out = 0;
    bool failed = false;

    for (unsigned i = 0; i < n; i++) {
        const unsigned k = i % half;

        if (way == INSIDE)
            ops_must(krn_kv_copy(o->krn, &o->kv, half + k, k), "copy");
        if (way == IN || way == BOTH)
            ops_must(krn_page_in(o->krn, &o->kv, k, host + k * bytes, &in),
                     "copy in");
        if (way == OUT || way == BOTH)
            ops_must(krn_page_out(o->krn, &o->kv, half + k,
                                  host + (half + k) * bytes, &out),
                     "copy out");
    }
    if (way == INSIDE)
        ops_must(krn_sync(o->krn), "sync");
    while (way != INSIDE && way != OUT && !krn_page_done(o->krn, in, &failed))
        continue;
    while (way != INSIDE && way != IN && !krn_page_done(o->krn, out, &failed))
        continue;
    if (failed)
        ops_die("copy", "the device failed");
    return gpu_now_s() - t;
}

static void way_measure(struct ops *o, enum way way, uint8_t *host)
{
    static const char *const names[WAYS] = {"copy inside", "copy in",
                                            "copy out", "copy both ways"};
    const size_t bytes = krn_kv_page_bytes(&o->kv);
    const unsigned n = o->kv.n_pages / 2;
    char size[32];
    const struct gpu_case c = {
        .what = names[way],
        .model = size,
        .type = "",
        .how = "",
        .batch = n,
        .bytes = (double)bytes * n * (way == INSIDE || way == BOTH ? 2 : 1),
    };
    struct gpu_samples all = {.n = 0};

    snprintf(size, sizeof(size), "%zu KiB", bytes >> 10);
    if (gpu_now_s() > o->end_s) {
        gpu_skip(&c, "no time");
        return;
    }
    for (unsigned k = 0; k < 3 + o->samples; k++) {
        double s;

        if (k == 3)
            all.from_s = gpu_wall_s();
        s = copy_s(o, way, n, host);
        if (k >= 3)
            all.s[all.n++] = s;
    }
    all.to_s = gpu_wall_s();
    gpu_row(&c, &all, 1);
}

void ops_copy(struct ops *o)
{
    static const unsigned layers[] = {1, 16, 128, 1024};
    const struct ops_size was = o->size;

    o->size.n_kv_head = 1;
    o->size.d_head = 256; /* a page of one layer is 64 KiB */
    for (unsigned i = 0; i < (o->is_toy ? 2U : 4U); i++) {
        const unsigned pages =
            o->is_toy ? 4 : 2 * (i < 2 ? 256 : 1024 >> 2 * i);
        uint8_t *host;

        ops_pool(o, layers[i], pages);
        host = krn_host_alloc(o->krn, pages * krn_kv_page_bytes(&o->kv));
        if (!host)
            ops_die("host", "no memory");
        for (unsigned way = 0; way < WAYS; way++)
            way_measure(o, (enum way)way, host);
        krn_host_free(o->krn, host);
    }
    o->size = was;
}
