/* graph.c - The pass over the layers. One loop runs every architecture: what
 * one lacks (biases, norms of heads) is NULL in its layers.
 *
 *   x = embedding
 *   each layer:  h = norm(x); q, k, v = h * w; turn q and k; k, v to pages
 *                h = attention(q); x += h * w_o
 *                h = norm(x); x += (silu(h * w_gate) * (h * w_up)) * w_down
 *   head:        h = norm(x); logits = h * w_head
 *
 * In the last layer only keys and values are needed of all rows; what follows
 * is done for the wanted rows alone. No row's numbers depend on another's, so
 * leaving rows out changes nothing. */
#include "engine/graph.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/graph_priv.h"
#include "engine/model.h"

enum {
    MLP_BYTES = 8 << 20,  /* of gate and up together */
    HEAD_BYTES = 4 << 20, /* of logits on the device */
    LEAST_ROWS = 64,      /* of one pass of the feed-forward part */
    LEAST_HEAD_ROWS = 8,
};

/* A step under way. The three wide buffers change places. */
struct pass {
    struct graph *g;
    struct krn_rows rows; /* those still worked on */
    const float *cs;      /* their cosines and sines */
    float *x, *h, *q;
    unsigned n_wanted;
    enum graph_want want;
};

static enum err err_of(enum krn_status st)
{
    switch (st) {
    case KRN_OK:
        return ERR_OK;
    case KRN_NOMEM:
        return ERR_NOMEM;
    case KRN_BAD_SHAPE:
        return ERR_RANGE;
    default:
        return ERR_IO;
    }
}

static size_t q_width(const struct graph *g)
{
    return (size_t)g->p.n_head * g->p.d_head;
}

static size_t kv_width(const struct graph *g)
{
    return (size_t)g->p.n_kv_head * g->p.d_head;
}

/* --- layers --------------------------------------------------------------- */

/* Norm the heads of <v>, if the model does that, and turn them. */
static enum krn_status heads_turn(const struct pass *a, float *v,
                                  const float *norm, unsigned n_head)
{
    const struct model_params *p = &a->g->p;
    size_t ld = (size_t)n_head * p->d_head;
    enum krn_status st = KRN_OK;

    if (norm)
        st = krn_rms_norm(a->g->c, v, p->d_head, v, p->d_head, norm,
                          a->rows.m * n_head, p->d_head, p->rms_eps);
    if (st != KRN_OK)
        return st;
    return krn_rope(a->g->c, v, ld, a->rows.m, n_head, p->d_head, p->rope.n_rot,
                    a->cs, p->rope.halves);
}

/* h = norm(x); keys and values into their pages, and q if <with_q>. */
static enum krn_status project(const struct pass *a, unsigned layer,
                               bool with_q)
{
    struct graph *g = a->g;
    const struct graph_layer *l = &g->layers[layer];
    const struct krn_out outs[] = {
        {l->k, l->k_bias, g->k, kv_width(g)},
        {l->v, l->v_bias, g->v, kv_width(g)},
        {l->q, l->q_bias, a->q, q_width(g)},
    };
    enum krn_status st;

    st = krn_rms_norm(g->c, a->h, g->p.d_model, a->x, g->p.d_model,
                      l->attn_norm, a->rows.m, g->p.d_model, g->p.rms_eps);
    if (st == KRN_OK)
        st = krn_linear(g->c, a->h, g->p.d_model, a->rows.m, with_q ? 3 : 2,
                        outs);
    if (st == KRN_OK)
        st = heads_turn(a, g->k, l->k_norm, g->p.n_kv_head);
    if (st == KRN_OK)
        st = krn_kv_write(g->c, &g->kv, layer, &a->rows, g->k, g->v,
                          kv_width(g));
    if (st == KRN_OK && with_q)
        st = heads_turn(a, a->q, l->q_norm, g->p.n_head);
    return st;
}

/* Keep the wanted rows only, and make their q. */
static enum krn_status narrow(struct pass *a, unsigned layer)
{
    struct graph *g = a->g;
    const struct graph_layer *l = &g->layers[layer];
    struct krn_out out = {l->q, l->q_bias, NULL, q_width(g)};
    int32_t *seq = g->whose;
    int32_t *pos = g->whose + g->max_rows;
    float *cs = g->cs + (size_t)g->max_rows * g->p.rope.n_rot;
    float *all = a->x;
    unsigned n = a->n_wanted;
    enum krn_status st;

    for (unsigned i = 0; i < n; i++) {
        seq[i] = a->rows.seq[g->idx[i]];
        pos[i] = a->rows.pos[g->idx[i]];
    }
    st = krn_take_rows(g->c, a->q, g->p.d_model, all, g->p.d_model, g->idx, n,
                       g->p.d_model);
    if (st == KRN_OK)
        st = krn_take_rows(g->c, cs, g->p.rope.n_rot, a->cs, g->p.rope.n_rot,
                           g->idx, n, g->p.rope.n_rot);
    a->x = a->q;
    a->q = all;
    a->cs = cs;
    a->rows.m = n;
    a->rows.seq = seq;
    a->rows.pos = pos;
    out.y = a->q;
    if (st == KRN_OK)
        st = krn_rms_norm(g->c, a->h, g->p.d_model, a->x, g->p.d_model,
                          l->attn_norm, n, g->p.d_model, g->p.rms_eps);
    if (st == KRN_OK)
        st = krn_linear(g->c, a->h, g->p.d_model, n, 1, &out);
    if (st == KRN_OK)
        st = heads_turn(a, a->q, l->q_norm, g->p.n_head);
    return st;
}

/* x += attention(q) * w_o. */
static enum krn_status attend(const struct pass *a, unsigned layer)
{
    struct graph *g = a->g;
    const struct graph_layer *l = &g->layers[layer];
    struct krn_out out = {l->o, l->o_bias, a->q, g->p.d_model};
    float scale = 1.0F / sqrtf((float)g->p.d_head);
    enum krn_status st;

    st = krn_attend(g->c, &g->kv, layer, &a->rows, a->q, q_width(g),
                    g->p.n_head, scale, a->h, q_width(g));
    if (st == KRN_OK)
        st = krn_linear(g->c, a->h, q_width(g), a->rows.m, 1, &out);
    if (st == KRN_OK)
        st = krn_add(g->c, a->x, a->q, (size_t)a->rows.m * g->p.d_model);
    return st;
}

/* The feed-forward part for <n> rows at <x>, with <h> to work in. */
static enum krn_status feed(struct graph *g, const struct graph_layer *l,
                            float *x, float *h, unsigned n)
{
    size_t d_ff = g->p.d_ff;
    unsigned d = g->p.d_model;
    const struct krn_out outs[] = {{l->gate, NULL, g->gate, d_ff},
                                   {l->up, NULL, g->up, d_ff}};
    const struct krn_out down = {l->down, NULL, h, d};
    enum krn_status st;

    st = krn_rms_norm(g->c, h, d, x, d, l->ffn_norm, n, d, g->p.rms_eps);
    if (st == KRN_OK)
        st = krn_linear(g->c, h, d, n, 2, outs);
    if (st == KRN_OK)
        st = krn_silu_mul(g->c, g->gate, g->gate, g->up, n * d_ff);
    if (st == KRN_OK)
        st = krn_linear(g->c, g->gate, d_ff, n, 1, &down);
    if (st == KRN_OK)
        st = krn_add(g->c, x, h, (size_t)n * d);
    return st;
}

static enum krn_status layer_run(struct pass *a, unsigned layer)
{
    struct graph *g = a->g;
    bool all = layer + 1 < g->p.n_layer || a->n_wanted == a->rows.m;
    enum krn_status st = project(a, layer, all);

    if (st == KRN_OK && !all) {
        if (a->n_wanted == 0)
            return KRN_OK;
        st = narrow(a, layer);
    }
    if (st == KRN_OK)
        st = attend(a, layer);
    for (unsigned at = 0; st == KRN_OK && at < a->rows.m; at += g->mlp_rows) {
        unsigned left = a->rows.m - at;

        st = feed(g, &g->layers[layer], a->x + (size_t)at * g->p.d_model, a->h,
                  left < g->mlp_rows ? left : g->mlp_rows);
    }
    return st;
}

/* --- a step --------------------------------------------------------------- */

/* Note which rows are wanted. ERR_RANGE: for different things. */
static enum err wants_read(struct pass *a, const struct graph_step *s)
{
    for (unsigned r = 0; r < s->rows.m; r++) {
        if (s->want[r] == GRAPH_NOTHING)
            continue;
        if (s->want[r] > GRAPH_HIDDEN ||
            (a->n_wanted > 0 && s->want[r] != a->want))
            return ERR_RANGE;
        a->want = (enum graph_want)s->want[r];
        a->g->idx[a->n_wanted++] = r;
    }
    return ERR_OK;
}

static enum krn_status begin(struct pass *a, const struct graph_step *s)
{
    struct graph *g = a->g;
    const struct model_rope *r = &g->p.rope;
    enum krn_status st;

    st = krn_embed(g->c, a->x, g->embed, s->ids, s->rows.m);
    if (st != KRN_OK)
        return st;
    graph_rope_turns(r, g->freq, s->rows.pos, s->rows.m, g->turns);
    return krn_put(g->c, g->cs, g->turns,
                   (size_t)s->rows.m * r->n_rot * sizeof(*g->turns));
}

/* The wanted rows, which are all that is left, to the caller. */
static enum krn_status finish(const struct pass *a, float *out)
{
    struct graph *g = a->g;
    unsigned d = g->p.d_model;
    size_t n_vocab = g->p.n_vocab;
    struct krn_out head = {g->head, NULL, g->logits, n_vocab};
    enum krn_status st;

    st = krn_rms_norm(g->c, a->h, d, a->x, d, g->out_norm, a->n_wanted, d,
                      g->p.rms_eps);
    if (st == KRN_OK && a->want == GRAPH_HIDDEN)
        return krn_get(g->c, out, a->h, (size_t)a->n_wanted * d * sizeof(*out));
    for (unsigned at = 0; st == KRN_OK && at < a->n_wanted;
         at += g->head_rows) {
        unsigned n = a->n_wanted - at;

        n = n < g->head_rows ? n : g->head_rows;
        st = krn_linear(g->c, a->h + (size_t)at * d, d, n, 1, &head);
        if (st == KRN_OK)
            st = krn_get(g->c, out + at * n_vocab, g->logits,
                         n * n_vocab * sizeof(*out));
    }
    return st;
}

enum err graph_step_run(struct graph *g, const struct graph_step *s, float *out)
{
    struct pass a = {
        .g = g, .rows = s->rows, .cs = g->cs, .x = g->x, .h = g->h, .q = g->q};
    enum krn_status st, end;
    enum err e;

    if (s->rows.m > g->max_rows)
        return ERR_RANGE;
    if (s->rows.m == 0)
        return ERR_OK;
    e = wants_read(&a, s);
    if (e != ERR_OK)
        return e;
    st = begin(&a, s);
    for (unsigned l = 0; st == KRN_OK && l < g->p.n_layer; l++)
        st = layer_run(&a, l);
    if (st == KRN_OK && a.n_wanted > 0)
        st = finish(&a, out);
    end = krn_sync(g->c);
    return err_of(st != KRN_OK ? st : end);
}

enum err graph_page_copy(struct graph *g, unsigned to, unsigned from)
{
    return err_of(krn_kv_copy(g->c, &g->kv, to, from));
}

enum err graph_page_get(struct graph *g, unsigned page, void *host)
{
    return err_of(krn_get(g->c, host, graph_page_room(g, page),
                          krn_kv_page_bytes(&g->kv)));
}

void *graph_page_room(struct graph *g, unsigned page)
{
    return (char *)g->kv.pages + page * krn_kv_page_bytes(&g->kv);
}

/* --- life ----------------------------------------------------------------- */

static struct krn_kv kv_shape(const struct model_params *p, enum krn_dtype t)
{
    return (struct krn_kv){.dtype = t,
                           .n_layer = p->n_layer,
                           .n_kv_head = p->n_kv_head,
                           .d_head = p->d_head};
}

size_t graph_page_bytes_of(const struct model *m, enum krn_dtype kv_dtype)
{
    struct krn_kv kv = kv_shape(&m->p, kv_dtype);

    return krn_kv_page_bytes(&kv);
}

size_t graph_weight_bytes(const struct graph *g)
{
    return g->weight_bytes;
}

/* Rows of <row_bytes> that fit into <bytes>, at least <least>, at most all. */
static unsigned rows_in(size_t bytes, size_t row_bytes, unsigned least,
                        unsigned most)
{
    size_t n = bytes / row_bytes;

    if (n < least)
        n = least;
    return n < most ? (unsigned)n : most;
}

/* Lay the buffers of a step out, from <at> on; the floats they take. */
static size_t arena_lay(struct graph *g, float *at)
{
    size_t rows = g->max_rows;
    size_t wide = g->p.d_model > q_width(g) ? g->p.d_model : q_width(g);
    const struct {
        float **to;
        size_t floats;
    } all[] = {
        {&g->x, rows * wide},
        {&g->h, rows * wide},
        {&g->q, rows * wide},
        {&g->k, rows * kv_width(g)},
        {&g->v, rows * kv_width(g)},
        {&g->gate, (size_t)g->mlp_rows * g->p.d_ff},
        {&g->up, (size_t)g->mlp_rows * g->p.d_ff},
        {&g->logits, (size_t)g->head_rows * g->p.n_vocab},
        {&g->cs, 2 * rows * g->p.rope.n_rot},
    };
    size_t floats = 0;

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (at)
            *all[i].to = at + floats;
        floats += (all[i].floats + 15) / 16 * 16;
    }
    return floats;
}

/* All memory but that of the weights. */
static bool memory_get(struct graph *g)
{
    size_t page_bytes = krn_kv_page_bytes(&g->kv);
    size_t n_rot = g->p.rope.n_rot;
    size_t pool_bytes;

    if (__builtin_mul_overflow(page_bytes, (size_t)g->kv.n_pages, &pool_bytes))
        return false;
    g->mlp_rows = rows_in(MLP_BYTES, 2 * sizeof(float) * g->p.d_ff, LEAST_ROWS,
                          g->max_rows);
    g->head_rows = rows_in(HEAD_BYTES, sizeof(float) * g->p.n_vocab,
                           LEAST_HEAD_ROWS, g->max_rows);
    g->kv.pages = krn_alloc(g->c, pool_bytes);
    g->arena = krn_alloc(g->c, arena_lay(g, NULL) * sizeof(float));
    g->freq = calloc(n_rot / 2 + 1, sizeof(*g->freq));
    g->turns = calloc(g->max_rows * n_rot + 1, sizeof(*g->turns));
    g->idx = calloc(g->max_rows, sizeof(*g->idx));
    g->whose = calloc(2 * (size_t)g->max_rows, sizeof(*g->whose));
    if (!g->kv.pages || !g->arena || !g->freq || !g->turns || !g->idx ||
        !g->whose)
        return false;
    arena_lay(g, g->arena);
    graph_rope_freqs(&g->p.rope, g->freq);
    return true;
}

static void no_memory(const struct model *m, const struct graph_opts *o,
                      struct model_fault *why)
{
    snprintf(why->text, sizeof(why->text),
             "no memory for %u pages of %zu bytes and steps of %u rows; fewer "
             "of either would fit",
             o->n_pages, graph_page_bytes_of(m, o->kv_dtype), o->max_rows);
}

enum err graph_new(struct krn_ctx *c, const struct model *m,
                   const struct graph_opts *o, struct model_fault *why,
                   struct graph **out)
{
    struct graph *g = calloc(1, sizeof(*g));
    enum err e = ERR_NOMEM;

    if (!g) {
        no_memory(m, o, why);
        return ERR_NOMEM;
    }
    g->c = c;
    g->m = m;
    g->p = m->p;
    g->max_rows = o->max_rows;
    g->kv = kv_shape(&m->p, o->kv_dtype);
    g->kv.n_pages = o->n_pages;
    if (memory_get(g))
        e = graph_load(g, o, why);
    else
        no_memory(m, o, why);
    if (e != ERR_OK) {
        graph_free(g);
        return e;
    }
    *out = g;
    return ERR_OK;
}

void graph_free(struct graph *g)
{
    if (!g)
        return;
    graph_unload(g);
    krn_free(g->c, g->kv.pages);
    krn_free(g->c, g->arena);
    free(g->freq);
    free(g->turns);
    free(g->idx);
    free(g->whose);
    free(g);
}
