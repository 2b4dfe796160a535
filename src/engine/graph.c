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
 * leaving rows out changes nothing.
 *
 * Which operations are queued, and with which arguments, depends on nothing but
 * a step's kind and its rows as the device counts them (struct krn_pass): a
 * device may repeat an earlier step of that kind and shape. */
#include "engine/graph.h"

#include <math.h>

#include "engine/graph_priv.h"
#include "engine/model.h"

/* A step under way. */
struct pass {
    struct graph *g;
    struct krn_step step;
    struct krn_pass pass;
    enum graph_want want; /* of the wanted rows; GRAPH_LOGITS for draws */
    unsigned n_draws;     /* wanted rows whose logits stay */
    bool all;             /* every row is wanted */
    enum krn_set set;     /* rows still worked on, */
    unsigned m;           /* how many, */
    float *x;             /* their residual stream, */
    const float *cs;      /* their cosines and sines */
};

/* --- layers --------------------------------------------------------------- */

/* Norm the heads, if the model does that, turn them, and keep keys and values:
 * of all that is not NULL. */
static enum krn_status heads(const struct pass *a, unsigned layer, bool with_q,
                             bool with_kv)
{
    const struct graph *g = a->g;
    const struct graph_layer *l = &g->layers[layer];
    const struct krn_heads h = {.q = with_q ? g->q : NULL,
                                .k = with_kv ? g->k : NULL,
                                .v = with_kv ? g->v : NULL,
                                .ldq = g->ldq,
                                .ldk = g->ldkv,
                                .ldv = g->ldkv,
                                .n_head = g->p.n_head,
                                .q_norm = l->q_norm,
                                .k_norm = l->k_norm,
                                .eps = g->p.rms_eps,
                                .cs = a->cs,
                                .n_rot = g->p.rope.n_rot,
                                .halves = g->p.rope.halves};

    return krn_step_heads(g->c, a->set, layer, &h);
}

/* h = norm(x) of <m> rows. */
static enum krn_status norm(struct graph *g, const float *x, const float *gain,
                            unsigned m)
{
    unsigned d = g->p.d_model;

    return krn_step_norm(g->c, g->h, d, false, x, d, gain, m, d, g->p.rms_eps);
}

/* h = norm(x); keys and values into their pages, and q if <with_q>. */
static enum krn_status project(const struct pass *a, unsigned layer,
                               bool with_q)
{
    struct graph *g = a->g;
    const struct graph_layer *l = &g->layers[layer];
    const struct krn_prod prods[] = {
        {l->q, l->q_bias, g->q, g->ldq, KRN_AS_ACT},
        {l->k, l->k_bias, g->k, g->ldkv, KRN_AS_ACT},
        {l->v, l->v_bias, g->v, g->ldkv, KRN_AS_ACT},
    };
    enum krn_status st = norm(g, a->x, l->attn_norm, a->m);

    if (st == KRN_OK)
        st = krn_step_linear(g->c, g->h, g->p.d_model, a->m, with_q ? 3 : 2,
                             with_q ? prods : prods + 1);
    if (st == KRN_OK)
        st = heads(a, layer, with_q, true);
    return st;
}

/* Keep the wanted rows only, and make their q. */
static enum krn_status narrow(struct pass *a, unsigned layer)
{
    struct graph *g = a->g;
    const struct graph_layer *l = &g->layers[layer];
    const struct model_rope *r = &g->p.rope;
    const struct krn_prod prod = {l->q, l->q_bias, g->q, g->ldq, KRN_AS_ACT};
    enum krn_status st = krn_step_take(g->c, g->few, a->x, g->p.d_model);

    if (st == KRN_OK)
        st = krn_step_turns(g->c, KRN_WANTED, g->few_cs, g->freq, r->n_rot,
                            (double)r->attn_factor);
    a->set = KRN_WANTED;
    a->m = a->pass.n_wanted;
    a->x = g->few;
    a->cs = g->few_cs;
    if (st == KRN_OK)
        st = norm(g, a->x, l->attn_norm, a->m);
    if (st == KRN_OK)
        st = krn_step_linear(g->c, g->h, g->p.d_model, a->m, 1, &prod);
    if (st == KRN_OK)
        st = heads(a, layer, true, false);
    return st;
}

/* x += attention(q) * w_o. */
static enum krn_status attend(const struct pass *a, unsigned layer)
{
    struct graph *g = a->g;
    const struct graph_layer *l = &g->layers[layer];
    const struct krn_prod prod = {l->o, l->o_bias, a->x, g->p.d_model,
                                  KRN_AS_ADDED};
    float scale = 1.0F / sqrtf((float)g->p.d_head);
    enum krn_status st;

    st = krn_step_attend(g->c, a->set, layer, g->q, g->ldq, g->p.n_head, scale,
                         g->h, graph_q_width(g));
    if (st == KRN_OK)
        st = krn_step_linear(g->c, g->h, graph_q_width(g), a->m, 1, &prod);
    return st;
}

/* The feed-forward part for <n> rows at <x>. */
static enum krn_status feed(struct graph *g, const struct graph_layer *l,
                            float *x, unsigned n)
{
    const struct krn_prod down = {l->down, NULL, x, g->p.d_model, KRN_AS_ADDED};
    enum krn_status st = norm(g, x, l->ffn_norm, n);

    if (st == KRN_OK)
        st = krn_step_glu(g->c, g->h, g->p.d_model, n, l->gate, l->up, g->glu,
                          g->ldglu);
    if (st == KRN_OK)
        st = krn_step_linear(g->c, g->glu, g->ldglu, n, 1, &down);
    return st;
}

static enum krn_status layer_run(struct pass *a, unsigned layer)
{
    struct graph *g = a->g;
    bool last = layer + 1 == g->p.n_layer;
    bool with_q = !last || a->all;
    enum krn_status st = project(a, layer, with_q);

    if (st == KRN_OK && !with_q) {
        if (a->pass.n_wanted == 0)
            return KRN_OK;
        st = narrow(a, layer);
    }
    if (st == KRN_OK)
        st = attend(a, layer);
    for (unsigned at = 0; st == KRN_OK && at < a->m; at += g->mlp_rows) {
        unsigned left = a->m - at;

        st = feed(g, &g->layers[layer], a->x + (size_t)at * g->p.d_model,
                  left < g->mlp_rows ? left : g->mlp_rows);
    }
    return st;
}

/* --- what comes out ------------------------------------------------------- */

/* Where hidden rows go: the buffer that x is not in. */
static float *hidden_of(const struct pass *a)
{
    return a->all ? a->g->few : a->g->x;
}

/* The rows that come out, as the device counts them. */
static unsigned rows_out(const struct pass *a)
{
    return a->all ? a->pass.m : a->pass.n_wanted;
}

/* Logits of the rows from <at> on, as many as there is room for, from h. */
static enum krn_status head(const struct pass *a, unsigned at)
{
    struct graph *g = a->g;
    size_t d = g->p.d_model;
    unsigned n = rows_out(a) - at;
    const struct krn_prod prod = {g->head, NULL, g->logits, g->p.n_vocab,
                                  KRN_AS_F32};

    return krn_step_linear(
        g->c, (const uint8_t *)g->h + at * d * krn_dtype_bytes(krn_act(g->c)),
        d, n < g->head_rows ? n : g->head_rows, 1, &prod);
}

static enum krn_status finish(const struct pass *a)
{
    struct graph *g = a->g;
    unsigned d = g->p.d_model;
    enum krn_status st;

    if (a->want == GRAPH_HIDDEN)
        return krn_step_norm(g->c, hidden_of(a), d, true, a->x, d, g->out_norm,
                             a->m, d, g->p.rms_eps);
    st = norm(g, a->x, g->out_norm, a->m);
    return st == KRN_OK ? head(a, 0) : st;
}

/* All operations of a step; those of its first part, where logits take more. */
static enum krn_status body(struct pass *a)
{
    struct graph *g = a->g;
    const struct model_rope *r = &g->p.rope;
    enum krn_status st = krn_step_embed(g->c, a->x, g->embed);

    if (st == KRN_OK)
        st = krn_step_turns(g->c, KRN_ALL, g->cs, g->freq, r->n_rot,
                            (double)r->attn_factor);
    for (unsigned l = 0; st == KRN_OK && l < g->p.n_layer; l++)
        st = layer_run(a, l);
    if (st == KRN_OK && a->want != GRAPH_NOTHING)
        st = finish(a);
    return st;
}

/* --- a step --------------------------------------------------------------- */

/* Note which rows are wanted. ERR_RANGE: for different things, or for what the
 * device does not do. */
static enum err wants_read(struct pass *a, const struct graph_step *s)
{
    struct graph *g = a->g;
    unsigned n = 0;

    for (unsigned r = 0; r < s->rows.m; r++) {
        enum graph_want want = (enum graph_want)s->want[r];

        if (want == GRAPH_NOTHING)
            continue;
        if (want == GRAPH_DRAW) {
            want = GRAPH_LOGITS;
            a->n_draws++;
        }
        if (want > GRAPH_HIDDEN || (n > 0 && want != a->want))
            return ERR_RANGE;
        a->want = want;
        g->idx[n++] = r;
    }
    if (a->n_draws > 0 && (!graph_draws(g) || n > g->head_rows))
        return ERR_RANGE;
    a->step.n_wanted = n;
    a->all = n == s->rows.m;
    return ERR_OK;
}

/* Run the step, or one more part of it, which computes the logits of the rows
 * from <at> on. */
static enum krn_status part_try(struct pass *a, unsigned at)
{
    struct graph *g = a->g;
    enum krn_status st, end;

    a->step.kind =
        (unsigned)a->want | (unsigned)a->all << 2 | at / g->head_rows << 3;
    st = krn_step_begin(g->c, &a->step, &a->pass);
    if (st != KRN_OK)
        return st;
    a->set = KRN_ALL;
    a->m = a->pass.m;
    a->x = g->x;
    a->cs = g->cs;
    if (!a->pass.again)
        st = at == 0 ? body(a) : head(a, at);
    end = krn_step_end(g->c);
    return st != KRN_OK ? st : end;
}

/* A device that could not record the step has done nothing of it, and does
 * without from then on. */
static enum krn_status part_run(struct pass *a, unsigned at)
{
    enum krn_status st = part_try(a, at);

    return st == KRN_UNSUPPORTED ? part_try(a, at) : st;
}

/* Logits that do not stay to the caller, where some do: those of rows that are
 * neighbours at once. */
static enum krn_status rest_get(const struct pass *a, const uint8_t *want,
                                float *out)
{
    const struct graph *g = a->g;
    size_t n_vocab = g->p.n_vocab;
    unsigned n = 0;
    enum krn_status st = KRN_OK;

    for (unsigned i = 0; st == KRN_OK && i <= a->step.n_wanted; i++) {
        if (i < a->step.n_wanted && want[g->idx[i]] == GRAPH_LOGITS) {
            n++;
            continue;
        }
        st = krn_get(g->c, out, g->logits + (i - n) * n_vocab,
                     n * n_vocab * sizeof(*out));
        out = n > 0 ? out + n * n_vocab : out;
        n = 0;
    }
    return st;
}

/* The wanted rows to the caller; the first part of the step was run. */
static enum krn_status results_get(struct pass *a, float *out)
{
    struct graph *g = a->g;
    unsigned all = a->step.n_wanted;
    size_t n_vocab = g->p.n_vocab;
    enum krn_status st = KRN_OK;

    if (a->want == GRAPH_HIDDEN)
        return krn_get(g->c, out, hidden_of(a),
                       (size_t)all * g->p.d_model * sizeof(*out));
    for (unsigned at = 0; st == KRN_OK && at < all; at += g->head_rows) {
        unsigned n = all - at;

        n = n < g->head_rows ? n : g->head_rows;
        if (at > 0)
            st = part_run(a, at);
        if (st == KRN_OK)
            st = krn_get(g->c, out + at * n_vocab, g->logits,
                         n * n_vocab * sizeof(*out));
    }
    return st;
}

enum err graph_step_run(struct graph *g, const struct graph_step *s, float *out)
{
    struct pass a = {.g = g};
    enum krn_status st, end;
    enum err e;

    if (s->rows.m > g->max_rows)
        return ERR_RANGE;
    if (s->rows.m == 0)
        return ERR_OK;
    a.step = (struct krn_step){.kv = &g->kv,
                               .rows = s->rows,
                               .ids = s->ids,
                               .wanted = g->idx,
                               .n_vocab = g->p.n_vocab};
    e = wants_read(&a, s);
    if (e != ERR_OK)
        return e;
    st = part_run(&a, 0);
    if (st == KRN_OK && a.n_draws > 0)
        return graph_err(rest_get(&a, s->want, out));
    if (st == KRN_OK && a.want != GRAPH_NOTHING)
        st = results_get(&a, out);
    end = krn_sync(g->c);
    return graph_err(st != KRN_OK ? st : end);
}

bool graph_draws(const struct graph *g)
{
    return !krn_is_host(g->c);
}

enum err graph_draw(struct graph *g, unsigned n_tokens, unsigned n,
                    const struct krn_draw *draws, struct krn_drawn *out)
{
    for (unsigned i = 0; i < n; i++)
        if (draws[i].row >= g->head_rows)
            return ERR_RANGE;
    if (!graph_draws(g) || n_tokens > g->p.n_vocab)
        return ERR_RANGE;
    return graph_err(
        krn_step_draw(g->c, g->logits, g->p.n_vocab, n_tokens, n, draws, out));
}
