/* graph_new.c - What a graph has on its device beside the weights: buffers of a
 * step, laid out for the device that they are on, and the pool of pages. */
#include "engine/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "engine/graph_priv.h"
#include "engine/model.h"

enum {
    MLP_BYTES = 8 << 20,  /* of gate and up together */
    HEAD_BYTES = 4 << 20, /* of logits */
    LEAST_ROWS = 64,      /* of one pass of the feed-forward part */
    LEAST_HEAD_ROWS = 8,
    ALIGN_BYTES = 256, /* of buffers */
    HOST_PAD = 16,     /* floats between wide rows, so that not all of them fall
                        * into one set of the first-level cache */
};

static struct krn_kv kv_shape(const struct model_params *p, enum krn_dtype t,
                              unsigned page_tokens)
{
    return (struct krn_kv){.dtype = t,
                           .page_tokens = page_tokens,
                           .n_layer = p->n_layer,
                           .n_kv_head = p->n_kv_head,
                           .d_head = p->d_head};
}

size_t graph_page_bytes_of(const struct model *m, enum krn_dtype kv_dtype,
                           unsigned page_tokens)
{
    struct krn_kv kv = kv_shape(&m->p, kv_dtype, page_tokens);

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

/* Lay the buffers of a step out, from <at> on; the bytes they take. Where
 * memory is not the host's, q, k and v share rows, so that they can be one
 * product. */
static size_t arena_lay(struct graph *g, uint8_t *at)
{
    size_t rows = g->rows;
    size_t act = krn_dtype_bytes(krn_act(g->c));
    size_t d = g->p.d_model;
    size_t turns = rows * g->p.rope.n_rot * sizeof(float);
    bool dense = krn_is_host(g->c);
    size_t wide = graph_q_width(g) + (dense ? 0 : 2 * graph_kv_width(g));
    const struct {
        void *to; /* a pointer */
        size_t bytes;
    } all[] = {
        {&g->x, rows * d * sizeof(float)},
        {&g->few, rows * d * sizeof(float)},
        {&g->h, rows * (d > graph_q_width(g) ? d : graph_q_width(g)) * act},
        {&g->q, rows * wide * act},
        {&g->k, dense ? rows * graph_kv_width(g) * act : 0},
        {&g->v, dense ? rows * graph_kv_width(g) * act : 0},
        {&g->glu, g->mlp_rows * g->ldglu * act},
        {&g->logits, (size_t)g->head_rows * g->p.n_vocab * sizeof(float)},
        {&g->cs, turns},
        {&g->few_cs, turns},
        {&g->freq, (size_t)g->p.rope.n_rot / 2 * sizeof(double)},
    };
    size_t bytes = 0;

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        void *here = at ? at + bytes : NULL;

        memcpy(all[i].to, &here, sizeof(here));
        bytes += (all[i].bytes + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    }
    g->ldq = wide;
    g->ldkv = dense ? graph_kv_width(g) : wide;
    if (at && !dense) {
        g->k = (uint8_t *)g->q + graph_q_width(g) * act;
        g->v = (uint8_t *)g->k + graph_kv_width(g) * act;
    }
    return bytes;
}

enum err graph_pool_new(struct graph *g, unsigned n_pages)
{
    size_t bytes;

    BUG_ON(g->kv.pages != NULL);
    if (__builtin_mul_overflow(krn_kv_page_bytes(&g->kv), (size_t)n_pages,
                               &bytes))
        return ERR_NOMEM;
    g->kv.pages = krn_alloc(g->c, bytes);
    if (!g->kv.pages)
        return ERR_NOMEM;
    g->kv.n_pages = n_pages;
    return ERR_OK;
}

/* What a position turns each pair by, to the device. */
static enum err freqs_put(struct graph *g)
{
    size_t n = g->p.rope.n_rot / 2;
    double *freq = calloc(n + 1, sizeof(*freq));
    enum krn_status st = KRN_NOMEM;

    if (freq) {
        graph_rope_freqs(&g->p.rope, freq);
        st = krn_put(g->c, g->freq, freq, n * sizeof(*freq));
    }
    free(freq);
    return graph_err(st);
}

/* All memory of a step. */
static enum err memory_get(struct graph *g)
{
    bool host = krn_is_host(g->c);

    g->rows = krn_step_rows(g->c, g->max_rows);
    g->ldglu = 2 * (size_t)g->p.d_ff + (host ? HOST_PAD : 0);
    g->mlp_rows = g->rows;
    g->head_rows = GRAPH_DRAW_ROWS < g->rows ? GRAPH_DRAW_ROWS : g->rows;
    if (host) {
        g->mlp_rows = rows_in(MLP_BYTES, 2 * sizeof(float) * g->p.d_ff,
                              LEAST_ROWS, g->rows);
        g->head_rows = rows_in(HEAD_BYTES, sizeof(float) * g->p.n_vocab,
                               LEAST_HEAD_ROWS, g->rows);
    }
    g->arena = krn_alloc(g->c, arena_lay(g, NULL));
    if (!g->arena)
        return ERR_NOMEM;
    arena_lay(g, g->arena);
    return freqs_put(g);
}

static void no_memory(const struct graph *g, const struct graph_opts *o,
                      struct model_fault *why)
{
    snprintf(why->text, sizeof(why->text),
             "no memory for %u pages of %zu bytes and steps of %u rows; fewer "
             "of either would fit",
             o->n_pages, krn_kv_page_bytes(&g->kv), o->max_rows);
}

/* Everything that is on the device, but for a pool that is to be made later. */
static enum err device_fill(struct graph *g, const struct graph_opts *o,
                            struct model_fault *why)
{
    enum err e = o->n_pages > 0 ? graph_pool_new(g, o->n_pages) : ERR_OK;

    if (e == ERR_OK)
        e = graph_act_choose(g, why);
    if (e == ERR_OK)
        e = memory_get(g);
    if (e == ERR_NOMEM)
        no_memory(g, o, why);
    else if (e == ERR_IO)
        snprintf(why->text, sizeof(why->text), "the device failed: %s",
                 krn_trouble(g->c));
    return e == ERR_OK ? graph_load(g, o, why) : e;
}

/* Free what device_fill() and graph_pool_new() made. */
static void device_drain(struct graph *g)
{
    graph_unload(g);
    krn_free(g->c, g->kv.pages);
    krn_free(g->c, g->arena);
    g->kv.pages = NULL;
    g->arena = NULL;
}

enum err graph_new(struct krn_ctx *c, const struct model *m,
                   const struct graph_opts *o, struct model_fault *why,
                   struct graph **out)
{
    struct graph *g = calloc(1, sizeof(*g));
    enum err e;

    if (g)
        g->idx = calloc(o->max_rows, sizeof(*g->idx));
    if (!g || !g->idx) {
        free(g);
        snprintf(why->text, sizeof(why->text), "no memory");
        return ERR_NOMEM;
    }
    g->c = c;
    g->m = m;
    g->p = m->p;
    g->max_rows = o->max_rows;
    g->fp8 = o->fp8;
    g->kv = kv_shape(&m->p, o->kv_dtype, krn_page_tokens(c));
    e = device_fill(g, o, why);
    if (e != ERR_OK) {
        graph_free(g);
        return e;
    }
    *out = g;
    return ERR_OK;
}

enum err graph_revive(struct graph *g, struct model_fault *why)
{
    const struct graph_opts o = {.kv_dtype = g->kv.dtype,
                                 .fp8 = g->fp8,
                                 .n_pages = g->kv.n_pages,
                                 .max_rows = g->max_rows};

    if (krn_is_host(g->c))
        return ERR_OK;
    device_drain(g);
    if (!model_is_whole(g->m)) {
        snprintf(why->text, sizeof(why->text),
                 "the file is not any more what was loaded; start again");
        return ERR_IO;
    }
    if (krn_reset(g->c) != KRN_OK) {
        snprintf(why->text, sizeof(why->text),
                 "the device cannot be opened anew: %s", krn_trouble(g->c));
        return ERR_IO;
    }
    return device_fill(g, &o, why);
}

void graph_free(struct graph *g)
{
    if (!g)
        return;
    device_drain(g);
    free(g->idx);
    free(g);
}
