/* b_gpu.c - How fast a model answers on a GPU, through the engine's graph:
 * steps of sequences that decode, prompts, and a prefix that is brought back
 * from the host's memory beside computing it again. Rows of CSV: gpu_row.h.
 *
 *   b_gpu [-d DEVICE] [-b BATCHES] [-c CONTEXTS] [-p PROMPTS] [-k CHUNKS]
 *         [-r PREFIX] [-e TEMPERATURE] [-8] [-v] [-l] [-n SAMPLES] [-t SECONDS]
 *         [--deterministic] [--synthetic SHAPE[:TYPE]] [MODEL...]
 *
 * MODEL is the path of a model, or SHAPE[:TYPE] of model_synthetic.c, which has
 * random weights that are made on the device; --synthetic takes one such, and
 * may be there several times. Lists are numbers with commas; "0" leaves that
 * part out. The device draws each token, with TEMPERATURE (0: the likeliest);
 * with -l its logits go to the host in place of that. With -8 weights of floats
 * are kept in 8 bits, with -v keys and values; with --deterministic what comes
 * out depends on nothing else in a step. After SECONDS nothing more is begun.
 * TOLLGATE_CUDA_RECORD=0 and TOLLGATE_CUDA_PDL=0 turn recorded graphs and
 * overlapping launches off. Keys and values before a context are those of one
 * prompt, copied for each sequence into pages of its own. */
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu_rig.h"
#include "gpu_row.h"

enum {
    WARMUPS = 3,    /* samples before those that count */
    STEPS_MAX = 64, /* of a sample */
};

#define SAMPLE_S 0.2 /* a sample of decoding takes about that long */

static bool is_late(const struct plan *p)
{
    return gpu_now_s() > p->end_s;
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
                 kv_token_bytes(r) * batch * ((double)context + RIG_ROOM / 2.0),
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
        rig_decode(r, batch, context);
    t = gpu_now_s();
    rig_decode(r, batch, context);
    steps = steps_of(gpu_now_s() - t);
    for (unsigned k = 0; k < WARMUPS + r->p->samples; k++) {
        if (k == WARMUPS)
            all.from_s = gpu_wall_s();
        t = gpu_now_s();
        for (unsigned i = 0; i < steps; i++)
            rig_decode(r, batch, context + i % RIG_ROOM);
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

        rig_prefill(r, p->context[k], r->max_rows, false);
        for (unsigned b = 0; b < p->n_batch; b++) {
            const unsigned n =
                p->batch[b] < r->max_seqs ? p->batch[b] : r->max_seqs;

            rig_spread(r, done, n, p->context[k]);
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
        rig_prefill(r, n, chunk, true);
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
            rig_die(r->name, "a page cannot be copied");
    }
    while (!graph_page_done(r->g, ticket, &failed)) {
        if (busy > 0) {
            rig_decode(r, busy, 64);
            steps++;
        }
    }
    if (failed)
        rig_die(r->name, "the device failed");
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
        rig_die(r->name, "no memory for pages on the host");
    rig_prefill(r, n * r->page_tokens, r->max_rows, false);
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
    *n = gpu_list(text, out, RIG_LIST);
    if (*n == 1 && out[0] == 0)
        *n = 0;
    else if (*n == 0)
        return false;
    return true;
}

/* Models that are named by options. */
struct named {
    const char *v[16];
    unsigned n;
};

static bool name_add(struct named *models, const char *name)
{
    if (models->n == sizeof(models->v) / sizeof(models->v[0]) ||
        strchr(name, '/'))
        return false;
    models->v[models->n++] = name;
    return true;
}

static bool read_args(int argc, char **argv, struct plan *p, struct named *made)
{
    static const struct option options[] = {
        {"synthetic", required_argument, NULL, 's'},
        {"deterministic", no_argument, NULL, 'D'},
        {0}};
    bool ok = true;
    int o;

    while (ok && (o = getopt_long(argc, argv, "d:b:c:p:k:r:e:8vls:n:t:",
                                  options, NULL)) != -1) {
        if (o == 's')
            ok = name_add(made, optarg);
        else if (o == 'D')
            p->exact = true;
        else if (o == 'd')
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
        else if (o == 'e')
            p->temperature = strtof(optarg, NULL);
        else if (o == '8')
            p->fp8 = true;
        else if (o == 'v')
            p->kv_fp8 = true;
        else if (o == 'l')
            p->logits = true;
        else if (o == 'n')
            p->samples = (unsigned)strtoul(optarg, NULL, 10);
        else if (o == 't')
            p->end_s = gpu_now_s() + strtod(optarg, NULL);
        else
            ok = false;
    }
    return ok && (optind < argc || made->n > 0) && p->samples >= 1 &&
           p->samples <= GPU_SAMPLES;
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
    struct named made = {.n = 0};

    if (!read_args(argc, argv, &p, &made)) {
        fputs("usage: b_gpu [-d DEVICE] [-b BATCHES] [-c CONTEXTS] "
              "[-p PROMPTS] [-k CHUNKS] [-r PREFIX] [-e TEMPERATURE] "
              "[-8] [-v] [-l] [-n SAMPLES] [-t SECONDS] "
              "[--deterministic] [--synthetic SHAPE[:TYPE]] [MODEL...]\n",
              stderr);
        return 2;
    }
    for (unsigned i = 0; i < made.n; i++)
        bench(made.v[i], &p);
    for (int i = optind; i < argc; i++)
        bench(argv[i], &p);
    return 0;
}
