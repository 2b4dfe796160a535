/* b_gpu.c - How fast a model answers on a GPU, through the engine's graph:
 * steps of sequences that decode, prompts, and a prefix that is brought back
 * from the host's memory beside computing it again. Rows of CSV: gpu_row.h.
 *
 *   b_gpu [-d DEVICE] [-b BATCHES] [-c CONTEXTS] [-p PROMPTS] [-k CHUNKS]
 *         [-r PREFIX] [-n SAMPLES] [-t SECONDS] MODEL...
 *
 * MODEL is SHAPE[:TYPE] of model_synthetic.c, or the path of a model. Lists are
 * numbers with commas; "0" leaves that part out. After SECONDS nothing more is
 * begun. TOLLGATE_CUDA_RECORD=0 and TOLLGATE_CUDA_PDL=0 turn recorded graphs
 * and overlapping launches off. Keys and values before a context are those of
 * one prompt, copied for each sequence into pages of its own. */
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/graph.h"
#include "engine/model.h"
#include "gpu_row.h"
#include "kernels/krn.h"

enum {
    LIST = 16,
    ROOM = 64,      /* positions that decoding moves through */
    WARMUPS = 3,    /* samples before those that count */
    STEPS_MAX = 64, /* of a sample */
};

#define SAMPLE_S 0.2 /* a sample of decoding takes about that long */

/* What to do. */
struct plan {
    const char *device;
    unsigned batch[LIST], n_batch;
    unsigned context[LIST], n_context;
    unsigned prompt[LIST], n_prompt;
    unsigned chunk[LIST], n_chunk;
    unsigned prefix;
    unsigned samples;
    double end_s; /* nothing begins later */
};

/* A model on a device. */
struct rig {
    const struct plan *p;
    struct krn_ctx *krn;
    struct model *m;
    struct graph *g;
    const char *name;
    char shape[64], type[16], how[64];
    unsigned page_tokens;
    unsigned max_pages; /* of a sequence */
    unsigned max_seqs, max_rows;
    int32_t *table; /* (max_seqs, max_pages) pages of each sequence's own */
    int32_t *ids, *seq, *pos; /* (max_rows) */
    uint8_t *want;            /* (max_rows) */
    float *logits;            /* (max_seqs, n_vocab) */
    double weight_bytes;      /* that a step reads */
    double layer_flops;       /* of a token in all layers */
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "b_gpu: %s: %s\n", what, why);
    exit(1);
}

static unsigned most(const unsigned *v, unsigned n, unsigned least)
{
    for (unsigned i = 0; i < n; i++)
        least = v[i] > least ? v[i] : least;
    return least;
}

static bool is_late(const struct plan *p)
{
    return gpu_now_s() > p->end_s;
}

static void *take(size_t n, size_t each)
{
    void *p = calloc(n ? n : 1, each);

    if (!p)
        die("host", "no memory");
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
}

static void name_read(struct rig *r, const char *name)
{
    const char *record = getenv("TOLLGATE_CUDA_RECORD");
    const char *pdl = getenv("TOLLGATE_CUDA_PDL");
    const char *base = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
    const char *colon = strchr(base, ':');

    r->name = name;
    snprintf(r->shape, sizeof(r->shape), "%.*s",
             (int)(colon ? (size_t)(colon - base) : strlen(base)), base);
    snprintf(r->type, sizeof(r->type), "%s",
             krn_dtype_name(r->m->layers[0].down.dtype));
    snprintf(r->how, sizeof(r->how), "%s%s",
             record && !strcmp(record, "0") ? "plain" : "recorded",
             pdl && !strcmp(pdl, "0") ? "" : "+pdl");
}

static void model_get(struct rig *r, const char *name)
{
    struct model_fault why = {{0}};
    char path[256];

    snprintf(path, sizeof(path), "%s%s",
             strchr(name, '/') ? "" : MODEL_SYNTHETIC, name);
    if (model_open(path, &why, &r->m) != ERR_OK)
        die(name, why.text);
    name_read(r, name);
    sizes_read(r);
}

static void device_get(struct rig *r)
{
    char why[256] = "";
    struct krn_opts o = {
        .device = r->p->device, .why = why, .why_bytes = sizeof(why)};

    if (krn_open(&o, &r->krn) != KRN_OK)
        die(r->p->device, why[0] ? why : "cannot be opened");
    if (krn_act_use(r->krn, r->m->layers[0].down.dtype) != KRN_OK)
        die(r->name, "no such weights on this device");
}

/* Make the pool: as many sequences of the longest context as are asked for, or
 * as fit beside the weights and what operations will yet take. */
static void pool_get(struct rig *r, const struct graph_opts *o)
{
    const struct plan *p = r->p;
    const unsigned longest =
        most(p->prompt, p->n_prompt,
             most(p->context, p->n_context, p->prefix) + ROOM);
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
        die(r->name, "no memory for keys and values");
}

static void rig_open(struct rig *r, const char *name, const struct plan *p)
{
    struct graph_opts o = {.kv_dtype = KRN_F16};
    struct model_fault why = {{0}};

    r->p = p;
    model_get(r, name);
    device_get(r);
    if (krn_act(r->krn) == KRN_BF16)
        o.kv_dtype = KRN_BF16;
    r->max_seqs = most(p->batch, p->n_batch, 1);
    r->max_rows = most(p->chunk, p->n_chunk, r->max_seqs);
    o.max_rows = r->max_rows;
    if (graph_new(r->krn, r->m, &o, &why, &r->g) != ERR_OK)
        die(name, why.text);
    pool_get(r, &o);
    r->table = take((size_t)r->max_seqs * r->max_pages, sizeof(*r->table));
    r->ids = take(r->max_rows, sizeof(*r->ids));
    r->seq = take(r->max_rows, sizeof(*r->seq));
    r->pos = take(r->max_rows, sizeof(*r->pos));
    r->want = take(r->max_rows, sizeof(*r->want));
    r->logits = graph_host_alloc(r->g, (size_t)r->max_seqs * r->m->p.n_vocab *
                                           sizeof(float));
    if (!r->logits)
        die(name, "no memory for logits");
    for (unsigned i = 0; i < r->max_seqs * r->max_pages; i++)
        r->table[i] = (int32_t)i;
}

static void rig_close(struct rig *r)
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
        die(r->name, "a step failed");
}

static int32_t some_id(const struct rig *r, unsigned seq, unsigned pos)
{
    return (int32_t)((pos * 7919u + seq * 104729u) % r->m->p.n_vocab);
}

/* The prompt of <n> tokens of sequence 0, in chunks; the last token's logits
 * where <last> asks for them. */
static void prefill(struct rig *r, unsigned n, unsigned chunk, bool last)
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
        die(r->name, "the device failed");
}

/* One token of each of <n> sequences at <pos>. */
static void decode(struct rig *r, unsigned n, unsigned pos)
{
    for (unsigned i = 0; i < n; i++) {
        r->ids[i] = some_id(r, i, pos);
        r->seq[i] = (int32_t)i;
        r->pos[i] = (int32_t)pos;
        r->want[i] = GRAPH_LOGITS;
    }
    run(r, n, n);
}

/* Give the first <n> sequences what sequence 0 has of <tokens> tokens. */
static void spread(struct rig *r, unsigned from, unsigned n, unsigned tokens)
{
    const unsigned pages = (tokens + r->page_tokens - 1) / r->page_tokens;

    for (unsigned s = from; s < n; s++)
        for (unsigned i = 0; i < pages; i++)
            if (graph_page_copy(r->g, s * r->max_pages + i, i) != ERR_OK)
                die(r->name, "a page cannot be copied");
}

/* --- measuring ------------------------------------------------------------ */

static double kv_token_bytes(const struct rig *r)
{
    return (double)graph_page_bytes(r->g) / r->page_tokens;
}

/* Floating-point operations of attention over <n> tokens, causal, the first of
 * which sees <before> others. */
static double attend_flops(const struct rig *r, double n, double before)
{
    const struct model_params *p = &r->m->p;

    return 4.0 * p->n_layer * p->n_head * p->d_head *
           (n * before + n * (n + 1) / 2);
}

/* Steps of a sample, which is to take a fifth of a second. */
static unsigned steps_of(double step_s)
{
    const double n = SAMPLE_S / (step_s > 1e-9 ? step_s : 1e-9);

    return n < 4 ? 4 : n > STEPS_MAX ? STEPS_MAX : (unsigned)n;
}

static void decode_measure(struct rig *r, unsigned batch, unsigned context)
{
    const struct gpu_case c = {
        .what = "decode",
        .model = r->shape,
        .type = r->type,
        .how = r->how,
        .batch = batch,
        .context = context,
        .tokens = batch,
        .bytes = r->weight_bytes +
                 kv_token_bytes(r) * batch * ((double)context + ROOM / 2.0),
        .flops = batch * (r->layer_flops + attend_flops(r, 1, context)),
    };
    struct gpu_samples all = {.n = 0};
    unsigned steps;
    double t;

    if (batch > r->max_seqs || is_late(r->p)) {
        gpu_skip(&c, is_late(r->p) ? "no time" : "no memory");
        return;
    }
    for (unsigned i = 0; i < WARMUPS; i++)
        decode(r, batch, context);
    t = gpu_now_s();
    decode(r, batch, context);
    steps = steps_of(gpu_now_s() - t);
    for (unsigned k = 0; k < WARMUPS + r->p->samples; k++) {
        if (k == WARMUPS)
            all.from_s = gpu_wall_s();
        t = gpu_now_s();
        for (unsigned i = 0; i < steps; i++)
            decode(r, batch, context + i % ROOM);
        if (k >= WARMUPS)
            all.s[all.n++] = gpu_now_s() - t;
    }
    all.to_s = gpu_wall_s();
    gpu_row(&c, &all, steps);
}

/* By batches within contexts: a context is written once for all. */
static void decode_all(struct rig *r)
{
    const struct plan *p = r->p;

    for (unsigned k = 0; k < p->n_context; k++) {
        unsigned done = 1;

        prefill(r, p->context[k], r->max_rows, false);
        for (unsigned b = 0; b < p->n_batch; b++) {
            const unsigned n =
                p->batch[b] < r->max_seqs ? p->batch[b] : r->max_seqs;

            spread(r, done, n, p->context[k]);
            done = n > done ? n : done;
            decode_measure(r, p->batch[b], p->context[k]);
        }
    }
}

static void prefill_measure(struct rig *r, unsigned n, unsigned chunk)
{
    char how[80];
    const struct gpu_case c = {
        .what = "prefill",
        .model = r->shape,
        .type = r->type,
        .how = how,
        .batch = 1,
        .context = n,
        .tokens = n,
        .bytes = r->weight_bytes * ((n + chunk - 1) / chunk),
        .flops = n * r->layer_flops + attend_flops(r, n, 0),
    };
    struct gpu_samples all = {.n = 0};

    snprintf(how, sizeof(how), "%s chunk %u", r->how, chunk);
    if (is_late(r->p)) {
        gpu_skip(&c, "no time");
        return;
    }
    for (unsigned k = 0; k < WARMUPS + r->p->samples; k++) {
        double t;

        if (k == WARMUPS)
            all.from_s = gpu_wall_s();
        t = gpu_now_s();
        prefill(r, n, chunk, true);
        if (k >= WARMUPS)
            all.s[all.n++] = gpu_now_s() - t;
    }
    all.to_s = gpu_wall_s();
    gpu_row(&c, &all, 1);
}

/* --- pages ---------------------------------------------------------------- */

/* Copies of <n> pages, out of the device or into it; while they are under way
 * <busy> sequences decode (0: none). Answers the steps done. */
static unsigned copy_pages(struct rig *r, unsigned n, uint8_t *host, bool in,
                           unsigned busy)
{
    const size_t bytes = graph_page_bytes(r->g);
    uint64_t ticket = 0;
    bool failed = false;
    unsigned steps = 0;

    for (unsigned i = 0; i < n; i++) {
        enum err e = in ? graph_page_in(r->g, i, host + i * bytes, &ticket)
                        : graph_page_out(r->g, i, host + i * bytes, &ticket);

        if (e != ERR_OK)
            die(r->name, "a page cannot be copied");
    }
    while (!graph_page_done(r->g, ticket, &failed)) {
        if (busy > 0) {
            decode(r, busy, 64);
            steps++;
        }
    }
    if (failed)
        die(r->name, "the device failed");
    return steps;
}

static void pages_measure(struct rig *r, const char *what, uint8_t *host,
                          bool in)
{
    const unsigned n = r->p->prefix / r->page_tokens;
    const struct gpu_case c = {
        .what = what,
        .model = r->shape,
        .type = r->type,
        .how = r->how,
        .batch = 1,
        .context = r->p->prefix,
        .tokens = r->p->prefix,
        .bytes = (double)n * (double)graph_page_bytes(r->g),
    };
    struct gpu_samples all = {.n = 0};

    for (unsigned k = 0; k < WARMUPS + r->p->samples; k++) {
        double t;

        if (k == WARMUPS)
            all.from_s = gpu_wall_s();
        t = gpu_now_s();
        (void)copy_pages(r, n, host, in, 0);
        if (k >= WARMUPS)
            all.s[all.n++] = gpu_now_s() - t;
    }
    all.to_s = gpu_wall_s();
    gpu_row(&c, &all, 1);
}

/* How long a step takes while pages come in: they belong to sequence 0, those
 * that decode are others. */
static void busy_measure(struct rig *r, uint8_t *host)
{
    const unsigned n = r->p->prefix / r->page_tokens;
    const unsigned batch = r->max_seqs - 1 < 8 ? r->max_seqs - 1 : 8;
    struct gpu_case c = {.what = "decode while restoring",
                         .model = r->shape,
                         .type = r->type,
                         .how = r->how,
                         .batch = batch,
                         .context = 64,
                         .tokens = batch};
    struct gpu_samples all = {.n = 0, .from_s = gpu_wall_s()};
    int32_t *own = r->table;

    r->table += r->max_pages;
    for (unsigned k = 0; batch > 0 && k < WARMUPS + r->p->samples; k++) {
        const double t = gpu_now_s();
        const unsigned steps = copy_pages(r, n, host, true, batch);

        if (k >= WARMUPS && steps > 0)
            all.s[all.n++] = (gpu_now_s() - t) / steps;
    }
    r->table = own;
    all.to_s = gpu_wall_s();
    gpu_row(&c, &all, 1);
}

static void restore_all(struct rig *r)
{
    const unsigned n = r->p->prefix / r->page_tokens;
    uint8_t *host;

    if (n == 0 || is_late(r->p))
        return;
    host = graph_host_alloc(r->g, n * graph_page_bytes(r->g));
    if (!host)
        die(r->name, "no memory for pages on the host");
    prefill(r, n * r->page_tokens, r->max_rows, false);
    pages_measure(r, "save", host, false);
    pages_measure(r, "restore", host, true);
    busy_measure(r, host);
    graph_host_free(r->g, host);
}

/* --- all ------------------------------------------------------------------ */

static void bench(const char *name, const struct plan *p)
{
    struct rig r = {.p = p};
    const double t = gpu_now_s();

    rig_open(&r, name, p);
    gpu_head(krn_describe(r.krn));
    printf("# %s %s: %.2f GiB of weights on the device, %u sequences of %u "
           "tokens, loaded in %.2f s\n",
           r.shape, r.type, (double)graph_weight_bytes(r.g) / (1 << 30),
           r.max_seqs, r.max_pages * r.page_tokens, gpu_now_s() - t);
    decode_all(&r);
    for (unsigned i = 0; i < p->n_prompt; i++)
        for (unsigned k = 0; k < p->n_chunk; k++)
            if (k == 0 || p->chunk[k - 1] < p->prompt[i])
                prefill_measure(&r, p->prompt[i], p->chunk[k]);
    restore_all(&r);
    rig_close(&r);
}

static bool take_list(const char *text, unsigned *out, unsigned *n)
{
    *n = gpu_list(text, out, LIST);
    if (*n == 1 && out[0] == 0)
        *n = 0;
    else if (*n == 0)
        return false;
    return true;
}

static bool read_args(int argc, char **argv, struct plan *p)
{
    bool ok = true;
    int o;

    while (ok && (o = getopt(argc, argv, "d:b:c:p:k:r:n:t:")) != -1) {
        if (o == 'd')
            p->device = optarg;
        else if (o == 'b')
            ok = take_list(optarg, p->batch, &p->n_batch);
        else if (o == 'c')
            ok = take_list(optarg, p->context, &p->n_context);
        else if (o == 'p')
            ok = take_list(optarg, p->prompt, &p->n_prompt);
        else if (o == 'k')
            ok = take_list(optarg, p->chunk, &p->n_chunk) && p->n_chunk > 0;
        else if (o == 'r')
            p->prefix = (unsigned)strtoul(optarg, NULL, 10);
        else if (o == 'n')
            p->samples = (unsigned)strtoul(optarg, NULL, 10);
        else if (o == 't')
            p->end_s = gpu_now_s() + strtod(optarg, NULL);
        else
            ok = false;
    }
    return ok && optind < argc && p->samples >= 1 && p->samples <= GPU_SAMPLES;
}

int main(int argc, char **argv)
{
    struct plan p = {.device = "cuda:0",
                     .batch = {1, 8, 64},
                     .n_batch = 3,
                     .context = {128, 2048, 8192},
                     .n_context = 3,
                     .prompt = {512, 2048, 8192},
                     .n_prompt = 3,
                     .chunk = {2048, 8192},
                     .n_chunk = 2,
                     .prefix = 8192,
                     .samples = 5,
                     .end_s = 1e18};

    if (!read_args(argc, argv, &p)) {
        fputs("usage: b_gpu [-d DEVICE] [-b BATCHES] [-c CONTEXTS] "
              "[-p PROMPTS] [-k CHUNKS] [-r PREFIX] [-n SAMPLES] "
              "[-t SECONDS] MODEL...\n",
              stderr);
        return 2;
    }
    for (int i = optind; i < argc; i++)
        bench(argv[i], &p);
    return 0;
}
