/* graph_load.c - A model's tensors onto the device, in the file's order of use:
 * matrices repacked in their own type, vectors widened to floats. Each tensor's
 * mapped pages are given back when it has been taken, so that the file and the
 * device's copy are never both in memory. */
#include "engine/graph_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/half.h"

/* A load under way. */
struct loading {
    struct graph *g;
    const struct graph_opts *o;
    struct model_fault *why;
    bool fp8;           /* how floats are kept */
    uint64_t done, all; /* bytes of the file */
};

static enum err refuse(struct loading *l, enum krn_status st, const char *name,
                       const struct model_tensor *t)
{
    if (st == KRN_NOMEM) {
        snprintf(l->why->text, sizeof(l->why->text),
                 "no memory for %s, %zu MiB; a smaller model or a smaller type "
                 "of weights would fit",
                 name, (t->bytes >> 20) + 1);
        return ERR_NOMEM;
    }
    snprintf(l->why->text, sizeof(l->why->text),
             "the device cannot hold %s, %zu x %zu of type %s; supported are "
             "the float types and whole blocks of Q8_0, Q4_0, Q4_K, Q5_K, Q6_K",
             name, t->n_out, t->n_in, krn_dtype_name(t->dtype));
    return ERR_REFUSED;
}

static void tensor_done(struct loading *l, const struct model_tensor *t)
{
    model_tensor_done(l->g->m, t);
    l->done += t->bytes;
    if (l->o->progress)
        l->o->progress(l->done, l->all, l->o->progress_arg);
}

static enum err matrix_take(struct loading *l, const char *name,
                            const struct model_tensor *t,
                            struct krn_weight **out)
{
    struct krn_ctx *c = l->g->c;
    enum krn_status st = krn_weights_fp8(c, l->fp8);

    if (st == KRN_OK)
        st = t->seed != 0 ? krn_weight_random(c, t->dtype, t->n_out, t->n_in,
                                              t->seed, out)
                          : krn_weight_load(c, t->dtype, t->n_out, t->n_in,
                                            t->data, out);

    if (st != KRN_OK)
        return refuse(l, st, name, t);
    l->g->weight_bytes += krn_weight_bytes(*out);
    tensor_done(l, t);
    return ERR_OK;
}

/* Element <i>; the file may have put it at an odd address. */
static float element(const struct model_tensor *t, size_t i)
{
    const uint8_t *at = (const uint8_t *)t->data;
    uint16_t half;
    float f;

    if (t->dtype == KRN_F32) {
        memcpy(&f, at + 4 * i, sizeof(f));
        return f;
    }
    memcpy(&half, at + 2 * i, sizeof(half));
    return t->dtype == KRN_F16 ? f32_of_half(half) : f32_of_bf16(half);
}

/* A vector that may be absent: *out stays NULL then. */
static enum err vector_take(struct loading *l, const char *name,
                            const struct model_tensor *t, float **out)
{
    size_t n = t->n_in * t->n_out;
    float *host, *to;
    enum krn_status st;

    if (!t->data)
        return ERR_OK;
    if (t->dtype != KRN_F32 && t->dtype != KRN_F16 && t->dtype != KRN_BF16)
        return refuse(l, KRN_UNSUPPORTED, name, t);
    host = malloc(n * sizeof(*host));
    to = krn_alloc(l->g->c, n * sizeof(*to));
    st = host && to ? KRN_OK : KRN_NOMEM;
    for (size_t i = 0; st == KRN_OK && i < n; i++)
        host[i] = element(t, i);
    if (st == KRN_OK)
        st = krn_put(l->g->c, to, host, n * sizeof(*to));
    free(host);
    if (st != KRN_OK) {
        krn_free(l->g->c, to);
        return refuse(l, st, name, t);
    }
    l->g->weight_bytes += n * sizeof(*to);
    tensor_done(l, t);
    *out = to;
    return ERR_OK;
}

static enum err layer_vectors(struct loading *l, const struct model_layer *from,
                              struct graph_layer *to)
{
    const struct {
        const char *name;
        const struct model_tensor *t;
        float **out;
    } all[] = {
        {"a norm before attention", &from->attn_norm, &to->attn_norm},
        {"a bias of queries", &from->q_bias, &to->q_bias},
        {"a bias of keys", &from->k_bias, &to->k_bias},
        {"a bias of values", &from->v_bias, &to->v_bias},
        {"a bias of attention's output", &from->o_bias, &to->o_bias},
        {"a norm of queries", &from->q_norm, &to->q_norm},
        {"a norm of keys", &from->k_norm, &to->k_norm},
        {"a norm before the feed-forward part", &from->ffn_norm, &to->ffn_norm},
    };
    enum err e = ERR_OK;

    for (size_t i = 0; e == ERR_OK && i < sizeof(all) / sizeof(all[0]); i++)
        e = vector_take(l, all[i].name, all[i].t, all[i].out);
    return e;
}

static enum err layer_matrices(struct loading *l,
                               const struct model_layer *from,
                               struct graph_layer *to)
{
    const struct {
        const char *name;
        const struct model_tensor *t;
        struct krn_weight **out;
    } all[] = {
        {"the weights of queries", &from->q, &to->q},
        {"the weights of keys", &from->k, &to->k},
        {"the weights of values", &from->v, &to->v},
        {"the weights of attention's output", &from->o, &to->o},
        {"the weights of the gate", &from->gate, &to->gate},
        {"the weights of the way up", &from->up, &to->up},
        {"the weights of the way down", &from->down, &to->down},
    };
    enum err e = ERR_OK;

    for (size_t i = 0; e == ERR_OK && i < sizeof(all) / sizeof(all[0]); i++)
        e = matrix_take(l, all[i].name, all[i].t, all[i].out);
    return e;
}

static uint64_t bytes_of_layer(const struct model_layer *l)
{
    const struct model_tensor *const all[] = {
        &l->attn_norm, &l->q,        &l->k,      &l->v,      &l->o,
        &l->q_bias,    &l->k_bias,   &l->v_bias, &l->o_bias, &l->q_norm,
        &l->k_norm,    &l->ffn_norm, &l->gate,   &l->up,     &l->down};
    uint64_t n = 0;

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        n += all[i]->bytes; /* 0 of what is absent */
    return n;
}

/* Bytes of matrices by type. */
static void count_types(const struct model *m, uint64_t bytes[KRN_DTYPE_COUNT])
{
    bytes[m->embed.dtype] += m->embed.bytes;
    if (!m->p.tied)
        bytes[m->output.dtype] += m->output.bytes;
    for (unsigned i = 0; i < m->p.n_layer; i++) {
        const struct model_layer *l = &m->layers[i];
        const struct model_tensor *const all[] = {
            &l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};

        for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++)
            bytes[all[k]->dtype] += all[k]->bytes;
    }
}

/* Let the device compute with what suits weights of <t>. */
static enum err act_use(struct graph *g, enum krn_dtype t,
                        struct model_fault *why)
{
    enum krn_status st = krn_act_use(g->c, t == KRN_FP8 ? KRN_F16 : t);

    if (st == KRN_OK && t == KRN_FP8) /* whether it can at all */
        st = krn_weights_fp8(g->c, true);
    if (st == KRN_OK)
        return ERR_OK;
    snprintf(why->text, sizeof(why->text),
             "the device cannot compute with weights of type %s; write %s",
             krn_dtype_name(t), t == KRN_FP8 ? "weights: auto" : "cpu");
    return ERR_REFUSED;
}

/* What <t> takes less in 8 bits. */
static uint64_t saves(const struct model_tensor *t)
{
    const uint64_t n = (uint64_t)t->n_out * t->n_in;

    return krn_dtype_block(t->dtype) == 1 && t->bytes > n ? t->bytes - n : 0;
}

uint64_t graph_fp8_saves(const struct model *m)
{
    uint64_t n = m->p.tied ? 0 : saves(&m->output);

    for (unsigned i = 0; i < m->p.n_layer; i++) {
        const struct model_layer *l = &m->layers[i];

        n += saves(&l->q) + saves(&l->k) + saves(&l->v) + saves(&l->o) +
             saves(&l->gate) + saves(&l->up) + saves(&l->down);
    }
    return n;
}

enum err graph_act_choose(struct graph *g, struct model_fault *why)
{
    uint64_t bytes[KRN_DTYPE_COUNT] = {0};
    enum krn_dtype most = KRN_F32;

    if (g->fp8)
        return act_use(g, KRN_FP8, why);
    count_types(g->m, bytes);
    for (int t = 0; t < KRN_DTYPE_COUNT; t++)
        if (bytes[t] > bytes[most])
            most = (enum krn_dtype)t;
    return act_use(g, most, why);
}

enum err graph_load(struct graph *g, const struct graph_opts *o,
                    struct model_fault *why)
{
    const struct model *m = g->m;
    struct loading l = {.g = g, .o = o, .why = why};
    const bool tied = m->p.tied;
    enum err e;

    l.all = m->embed.bytes + m->out_norm.bytes + (tied ? 0 : m->output.bytes);
    for (unsigned i = 0; i < g->p.n_layer; i++)
        l.all += bytes_of_layer(&m->layers[i]);
    g->layers = calloc(g->p.n_layer, sizeof(*g->layers));
    if (!g->layers)
        return refuse(&l, KRN_NOMEM, "the layers", &m->out_norm);
    e = matrix_take(&l, "the embedding", &m->embed, &g->embed);
    l.fp8 = o->fp8;
    for (unsigned i = 0; e == ERR_OK && i < g->p.n_layer; i++) {
        e = layer_vectors(&l, &m->layers[i], &g->layers[i]);
        if (e == ERR_OK)
            e = layer_matrices(&l, &m->layers[i], &g->layers[i]);
    }
    if (e == ERR_OK)
        e = vector_take(&l, "the last norm", &m->out_norm, &g->out_norm);
    if (e == ERR_OK && tied)
        g->head = g->embed;
    else if (e == ERR_OK)
        e = matrix_take(&l, "the output head", &m->output, &g->head);
    return e;
}

static void layer_free(struct krn_ctx *c, struct graph_layer *l)
{
    krn_free(c, l->attn_norm);
    krn_free(c, l->ffn_norm);
    krn_free(c, l->q_norm);
    krn_free(c, l->k_norm);
    krn_free(c, l->q_bias);
    krn_free(c, l->k_bias);
    krn_free(c, l->v_bias);
    krn_free(c, l->o_bias);
    krn_weight_free(c, l->q);
    krn_weight_free(c, l->k);
    krn_weight_free(c, l->v);
    krn_weight_free(c, l->o);
    krn_weight_free(c, l->gate);
    krn_weight_free(c, l->up);
    krn_weight_free(c, l->down);
}

void graph_unload(struct graph *g)
{
    for (unsigned i = 0; g->layers && i < g->p.n_layer; i++)
        layer_free(g->c, &g->layers[i]);
    free(g->layers);
    if (g->head != g->embed)
        krn_weight_free(g->c, g->head);
    krn_weight_free(g->c, g->embed);
    krn_free(g->c, g->out_norm);
    g->layers = NULL;
    g->head = g->embed = NULL;
    g->out_norm = NULL;
    g->weight_bytes = 0;
}
