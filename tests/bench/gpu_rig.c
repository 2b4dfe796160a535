/* gpu_rig.c - See gpu_rig.h. */
#include "gpu_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void rig_die(const char *what, const char *why)
{
    fprintf(stderr, "b_gpu: %s: %s\n", what, why);
    exit(1);
}

unsigned rig_most(const unsigned *v, unsigned n, unsigned least)
{
    for (unsigned i = 0; i < n; i++)
        least = v[i] > least ? v[i] : least;
    return least;
}

static void *take(size_t n, size_t each)
{
    void *p = calloc(n ? n : 1, each);

    if (!p)
        rig_die("host", "no memory");
    return p;
}

/* --- opening -------------------------------------------------------------- */

/* What a step reads of the weights, and multiplies. */
static void sizes_read(struct rig *r)
{
    const struct model *m = r->m;
    const struct model_tensor *head = m->p.tied ? &m->embed : &m->output;

    r->weight_bytes = (double)head->bytes;
    for (unsigned i = 0; i < m->p.n_layer; i++) {
        const struct model_layer *l = &m->layers[i];
        const struct model_tensor *all[] = {&l->q,    &l->k,  &l->v,   &l->o,
                                            &l->gate, &l->up, &l->down};

        for (unsigned k = 0; k < 7; k++) {
            r->weight_bytes += (double)all[k]->bytes;
            r->layer_flops +=
                2.0 * (double)all[k]->n_out * (double)all[k]->n_in;
        }
    }
    if (r->p->fp8)
        r->weight_bytes -= (double)graph_fp8_saves(m);
}

static void name_read(struct rig *r, const char *name)
{
    const char *record = getenv("TOLLGATE_CUDA_RECORD");
    const char *pdl = getenv("TOLLGATE_CUDA_PDL");
    const char *base = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
    const char *colon = strchr(base, ':');
    size_t at;

    snprintf(r->shape, sizeof(r->shape), "%.*s",
             (int)(colon ? (size_t)(colon - base) : strlen(base)), base);
    snprintf(r->type, sizeof(r->type), "%s",
             krn_dtype_name(r->p->fp8 ? KRN_FP8 : r->m->layers[0].down.dtype));
    r->draws = graph_draws(r->g) && !r->p->logits;
    snprintf(r->how, sizeof(r->how), "%s%s%s%s",
             record && !strcmp(record, "0") ? "plain" : "recorded",
             pdl && !strcmp(pdl, "0") ? "" : "+pdl", r->p->kv_fp8 ? "+kv8" : "",
             r->p->exact ? "+det" : "");
    at = strlen(r->how);
    if (!r->draws)
        snprintf(r->how + at, sizeof(r->how) - at, "+logits");
    else if (r->p->temperature > 0)
        snprintf(r->how + at, sizeof(r->how) - at, "+t%.1f",
                 (double)r->p->temperature);
}

static void model_get(struct rig *r, const char *name)
{
    struct model_fault why = {{0}};
    char path[256];

    snprintf(path, sizeof(path), "%s%s",
             strchr(name, '/') ? "" : MODEL_SYNTHETIC, name);
    if (model_open(path, &why, &r->m) != ERR_OK)
        rig_die(name, why.text);
    r->name = name;
    sizes_read(r);
}

static void device_get(struct rig *r)
{
    char why[256] = "";
    struct krn_opts o = {.device = r->p->device,
                         .deterministic = r->p->exact,
                         .why = why,
                         .why_bytes = sizeof(why)};

    if (krn_open(&o, &r->krn) != KRN_OK)
        rig_die(r->p->device, why[0] ? why : "cannot be opened");
    if (krn_act_use(r->krn, r->p->fp8 ? KRN_F16 : r->m->layers[0].down.dtype) !=
        KRN_OK)
        rig_die(r->name, "no such weights on this device");
}

/* Make the pool: as many sequences of the longest context as are asked for, or
 * as fit beside the weights and what operations will yet take. */
static void pool_get(struct rig *r, const struct graph_opts *o)
{
    const struct plan *p = r->p;
    const unsigned longest =
        rig_most(p->prompt, p->n_prompt,
                 rig_most(p->context, p->n_context, p->prefix) + RIG_ROOM);
    const uint64_t page =
        graph_page_bytes_of(r->m, o->kv_dtype, krn_page_tokens(r->krn));
    uint64_t have, all;

    r->page_tokens = krn_page_tokens(r->krn);
    r->max_pages = (longest + r->page_tokens - 1) / r->page_tokens;
    krn_memory(r->krn, &have, &all);
    have -= all / 16 < have ? all / 16 : have;
    while (all > 0 && r->max_seqs > 1 &&
           page * r->max_pages * r->max_seqs > have)
        r->max_seqs--;
    if (graph_pool_new(r->g, r->max_pages * r->max_seqs) != ERR_OK)
        rig_die(r->name, "no memory for keys and values");
}

void rig_open(struct rig *r, const char *name, const struct plan *p)
{
    struct graph_opts o = {.kv_dtype = KRN_F16, .fp8 = p->fp8};
    struct model_fault why = {{0}};

    r->p = p;
    model_get(r, name);
    device_get(r);
    if (p->kv_fp8)
        o.kv_dtype = KRN_FP8;
    else if (krn_act(r->krn) == KRN_BF16)
        o.kv_dtype = KRN_BF16;
    r->max_seqs = rig_most(p->batch, p->n_batch, 1);
    r->max_rows = rig_most(p->chunk, p->n_chunk, r->max_seqs);
    o.max_rows = r->max_rows;
    if (graph_new(r->krn, r->m, &o, &why, &r->g) != ERR_OK)
        rig_die(name, why.text);
    name_read(r, name);
    pool_get(r, &o);
    r->table = take((size_t)r->max_seqs * r->max_pages, sizeof(*r->table));
    r->ids = take(r->max_rows, sizeof(*r->ids));
    r->seq = take(r->max_rows, sizeof(*r->seq));
    r->pos = take(r->max_rows, sizeof(*r->pos));
    r->want = take(r->max_rows, sizeof(*r->want));
    r->draw = take(r->max_seqs, sizeof(*r->draw));
    r->drawn = take(r->max_seqs, sizeof(*r->drawn));
    r->logits = graph_host_alloc(r->g, (size_t)r->max_seqs * r->m->p.n_vocab *
                                           sizeof(float));
    if (!r->logits)
        rig_die(name, "no memory for logits");
    for (unsigned i = 0; i < r->max_seqs * r->max_pages; i++)
        r->table[i] = (int32_t)i;
}

void rig_close(struct rig *r)
{
    graph_host_free(r->g, r->logits);
    graph_free(r->g);
    model_close(r->m);
    krn_close(r->krn);
    free(r->table);
    free(r->ids);
    free(r->seq);
    free(r->pos);
    free(r->want);
    free(r->draw);
    free(r->drawn);
}

/* --- steps ---------------------------------------------------------------- */

static void run(struct rig *r, unsigned m, unsigned n_seq)
{
    const struct graph_step s = {.rows = {.m = m,
                                          .seq = r->seq,
                                          .pos = r->pos,
                                          .n_seq = n_seq,
                                          .table = r->table,
                                          .max_pages = r->max_pages},
                                 .ids = r->ids,
                                 .want = r->want};

    if (graph_step_run(r->g, &s, r->logits) != ERR_OK)
        rig_die(r->name, "a step failed");
}

static int32_t some_id(const struct rig *r, unsigned seq, unsigned pos)
{
    return (int32_t)((pos * 7919u + seq * 104729u) % r->m->p.n_vocab);
}

void rig_prefill(struct rig *r, unsigned n, unsigned chunk, bool last)
{
    for (unsigned at = 0; at < n; at += chunk) {
        const unsigned m = n - at < chunk ? n - at : chunk;

        for (unsigned i = 0; i < m; i++) {
            r->ids[i] = some_id(r, 0, at + i);
            r->seq[i] = 0;
            r->pos[i] = (int32_t)(at + i);
            r->want[i] = GRAPH_NOTHING;
        }
        if (last && at + m == n)
            r->want[m - 1] = GRAPH_LOGITS;
        run(r, m, 1);
    }
    if (krn_sync(r->krn) != KRN_OK)
        rig_die(r->name, "the device failed");
}

static void draw(struct rig *r, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        r->draw[i] = (struct krn_draw){.row = i,
                                       .given = -1,
                                       .temperature = r->p->temperature,
                                       .top_p = 1,
                                       .repetition_penalty = 1,
                                       .u = (i * 0.618 + 0.1) -
                                            (unsigned)(i * 0.618 + 0.1)};
    if (graph_draw(r->g, r->m->p.n_vocab, n, r->draw, r->drawn) != ERR_OK)
        rig_die(r->name, "no token could be drawn");
    for (unsigned i = 0; i < n; i++)
        if (r->drawn[i].id < 0)
            rig_die(r->name, "a draw found no token");
}

void rig_decode(struct rig *r, unsigned n, unsigned pos)
{
    const bool draws = r->draws && n <= GRAPH_DRAW_ROWS;

    for (unsigned i = 0; i < n; i++) {
        r->ids[i] = some_id(r, i, pos);
        r->seq[i] = (int32_t)i;
        r->pos[i] = (int32_t)pos;
        r->want[i] = draws ? GRAPH_DRAW : GRAPH_LOGITS;
    }
    run(r, n, n);
    if (draws)
        draw(r, n);
}

void rig_spread(struct rig *r, unsigned from, unsigned n, unsigned tokens)
{
    const unsigned pages = (tokens + r->page_tokens - 1) / r->page_tokens;

    for (unsigned s = from; s < n; s++)
        for (unsigned i = 0; i < pages; i++)
            if (graph_page_copy(r->g, s * r->max_pages + i, i) != ERR_OK)
                rig_die(r->name, "a page cannot be copied");
}
