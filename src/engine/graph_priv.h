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
    unsigned mlp_rows;          /* rows of one pass of the feed-forward part */
    unsigned head_rows;         /* rows of one pass of the output head */
    struct krn_weight *embed;   /* owned */
    struct krn_weight *head;    /* owned, or the embedding */
    float *out_norm;            /* (d_model), owned */
    struct graph_layer *layers; /* (n_layer), owned */
    size_t weight_bytes;

    /* Device memory of a step, one allocation, owned. */
    float *arena;
    float *x, *h, *q; /* (max_rows, widest of d_model, n_head * d_head) */
    float *k, *v;     /* (max_rows, n_kv_head * d_head) */
    float *gate, *up; /* (mlp_rows, d_ff) */
    float *logits;    /* (head_rows, n_vocab) */
    float *cs;        /* (2, max_rows, n_rot): all rows, then the wanted ones */

    /* Host memory of a step, owned. */
    double *freq;   /* (n_rot / 2) turns of a position, in radians */
    float *turns;   /* (max_rows, n_rot) what goes to cs */
    unsigned *idx;  /* (max_rows) wanted rows */
    int32_t *whose; /* (2, max_rows) sequence and position of wanted rows */
};

/* Put all of g->m onto the device. ERR_NOMEM, ERR_REFUSED with <why>. */
enum err graph_load(struct graph *g, const struct graph_opts *o,
                    struct model_fault *why) MUST_CHECK;

/* Free what graph_load() put there. */
void graph_unload(struct graph *g);

/* What a position turns each pair of <r> by, in radians: out (n_rot / 2). */
void graph_rope_freqs(const struct model_rope *r, double *out);

/* Cosines and sines of <n> positions: out (n, n_rot / 2, 2). */
void graph_rope_turns(const struct model_rope *r, const double *freq,
                      const int32_t *pos, unsigned n, float *out);

#endif
