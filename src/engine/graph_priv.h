/* graph_priv.h - What a graph is made of. Only graph*.c include this. */
#ifndef TG_ENGINE_GRAPH_PRIV_H
#define TG_ENGINE_GRAPH_PRIV_H

#include "engine/graph.h"
#include "engine/model.h"

/* One layer on the device; what the architecture lacks is NULL. Owned. */
struct graph_layer {
    float *attn_norm, *ffn_norm;              /* (d_model) */
    float *q_norm, *k_norm;                   /* (d_head) */
    float *q_bias, *k_bias, *v_bias, *o_bias; /* as wide as their outputs */
    struct krn_weight *q, *k, *v, *o;
    struct krn_weight *gate, *up, *down;
};

/* A model on a device. */
struct graph {
    struct krn_ctx *c;     /* borrowed */
    const struct model *m; /* borrowed */
    struct model_params p;
    struct krn_kv kv; /* pages owned */
    unsigned max_rows;
    bool fp8;                   /* as in graph_opts */
    unsigned rows;              /* of buffers: max_rows and what is added */
    unsigned mlp_rows;          /* rows of one pass of the feed-forward part */
    unsigned head_rows;         /* rows of one pass of the output head */
    struct krn_weight *embed;   /* owned */
    struct krn_weight *head;    /* owned, or the embedding */
    float *out_norm;            /* (d_model), owned */
    struct graph_layer *layers; /* (n_layer), owned */
    size_t weight_bytes;

    /* Device memory of a step, one allocation, owned. What is no float has the
     * device's type of activations. */
    void *arena;
    float *x, *few;   /* (rows, d_model): the residual stream, of all rows and
                       * of the wanted ones */
    void *h;          /* (rows, wider of d_model and n_head * d_head) */
    void *q;          /* (rows, n_head * d_head), rows <ldq> apart */
    void *k, *v;      /* (rows, n_kv_head * d_head), rows <ldkv> apart */
    size_t ldq, ldkv; /* elements */
    void *glu;        /* (mlp_rows, 2 * d_ff), rows <ldglu> apart */
    size_t ldglu;
    float *logits;      /* (head_rows, n_vocab) */
    float *cs, *few_cs; /* (rows, n_rot): of all rows, of the wanted ones */
    double *freq;       /* (n_rot / 2) turns of a position, in radians */

    unsigned *idx; /* (max_rows) wanted rows, host memory, owned */
};

/* What an answer of the device means to users of graph.h. */
static inline enum err graph_err(enum krn_status st)
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

/* Elements of a row of queries. */
static inline size_t graph_q_width(const struct graph *g)
{
    return (size_t)g->p.n_head * g->p.d_head;
}

/* Elements of a row of keys, or of values. */
static inline size_t graph_kv_width(const struct graph *g)
{
    return (size_t)g->p.n_kv_head * g->p.d_head;
}

/* Let the device compute with what suits the type of most weights of g->m.
 * ERR_REFUSED with <why>. */
enum err graph_act_choose(struct graph *g, struct model_fault *why) MUST_CHECK;

/* Put all of g->m onto the device. ERR_NOMEM, ERR_REFUSED with <why>. */
enum err graph_load(struct graph *g, const struct graph_opts *o,
                    struct model_fault *why) MUST_CHECK;

/* Free what graph_load() put there. */
void graph_unload(struct graph *g);

/* What a position turns each pair of <r> by, in radians: out (n_rot / 2). */
void graph_rope_freqs(const struct model_rope *r, double *out);

#endif
