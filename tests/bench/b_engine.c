/* b_engine.c - How fast the graph answers: tokens a second of one prompt, of
 * one sequence that decodes and of eight, for each model file named, beside
 * what the machine can do. Prints a table in Markdown.
 *   b_engine [-t THREADS] [-p PREFILL] [-d DECODE] [-n REPEATS] FILE... */
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/graph.h"
#include "engine/model.h"
#include "kernels/krn.h"
#include "machine.h"

#define SEQS    8
#define REPEATS 32

struct plan {
    unsigned threads, prefill, decode, repeats;
};

struct rig {
    struct krn_ctx *krn;
    struct model *m;
    struct graph *g;
    float *logits;      /* (SEQS, n_vocab) */
    int32_t *table;     /* (SEQS, max_pages) */
    unsigned max_pages; /* of a sequence */
    double load_ms;
};

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "b_engine: %s: %s\n", what, why);
    exit(1);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void rig_open(struct rig *r, const char *path, const struct plan *p)
{
    struct krn_opts ko = {.threads = p->threads};
    struct graph_opts go = {.kv_dtype = KRN_F16};
    struct model_fault why = {{0}};
    double t = now_s();
    unsigned longest = p->prefill > p->decode ? p->prefill : p->decode;

    r->max_pages = longest / KRN_PAGE_TOKENS + 2;
    go.n_pages = SEQS * r->max_pages;
    go.max_rows = p->prefill > SEQS ? p->prefill : SEQS;
    if (krn_open(&ko, &r->krn) != KRN_OK)
        die(path, "no context");
    if (model_open(path, &why, &r->m) != ERR_OK)
        die(path, why.text);
    if (graph_new(r->krn, r->m, &go, &why, &r->g) != ERR_OK)
        die(path, why.text);
    r->load_ms = 1e3 * (now_s() - t);
    r->logits = malloc(SEQS * (size_t)r->m->p.n_vocab * sizeof(float));
    r->table = malloc(SEQS * (size_t)r->max_pages * sizeof(*r->table));
    if (!r->logits || !r->table)
        die(path, "no memory");
    for (unsigned i = 0; i < SEQS * r->max_pages; i++)
        r->table[i] = (int32_t)i;
}

static void rig_close(struct rig *r)
{
    graph_free(r->g);
    model_close(r->m);
    krn_close(r->krn);
    free(r->logits);
    free(r->table);
}

/* One step of <m> rows: a chunk of sequence 0, or a row of each of <m>. */
static void step(struct rig *r, unsigned m, bool chunk, unsigned pos)
{
    int32_t ids[1024], seq[1024], at[1024];
    uint8_t want[1024];
    struct graph_step s = {.ids = ids, .want = want};
    unsigned vocab = r->m->p.n_vocab;

    for (unsigned i = 0; i < m; i++) {
        seq[i] = chunk ? 0 : (int32_t)i;
        at[i] = (int32_t)(chunk ? pos + i : pos);
        ids[i] = (int32_t)((pos * 7919u + i * 104729u) % vocab);
        want[i] = !chunk || i + 1 == m ? GRAPH_LOGITS : GRAPH_NOTHING;
    }
    s.rows = (struct krn_rows){.m = m,
                               .seq = seq,
                               .pos = at,
                               .n_seq = SEQS,
                               .table = r->table,
                               .max_pages = r->max_pages};
    if (graph_step_run(r->g, &s, r->logits) != ERR_OK)
        die("step", "failed");
}

/* Tokens a second of each repeat: a prompt, then <seqs> that decode. */
static void run(struct rig *r, const struct plan *p, double *pp, double *one,
                double *eight)
{
    for (unsigned k = 0; k < p->repeats + 1; k++) {
        unsigned slot = k ? k - 1 : 0;
        double t = now_s();

        step(r, p->prefill, true, 0);
        pp[slot] = p->prefill / (now_s() - t);
        t = now_s();
        for (unsigned i = 0; i < p->decode; i++)
            step(r, 1, false, i);
        one[slot] = p->decode / (now_s() - t);
        t = now_s();
        for (unsigned i = 0; i < p->decode; i++)
            step(r, SEQS, false, i);
        eight[slot] = SEQS * p->decode / (now_s() - t);
    }
}

static const char *spread(double *v, unsigned n, char *out, size_t size)
{
    qsort(v, n, sizeof(*v), by_value);
    snprintf(out, size, "%.1f (%.1f - %.1f)", v[n / 2], v[0], v[n - 1]);
    return out;
}

/* Memory that is resident now, in MiB. */
static unsigned long resident_mib(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long all = 0, here = 0;

    if (f && fscanf(f, "%lu %lu", &all, &here) != 2)
        here = 0;
    if (f)
        fclose(f);
    return here * 4 / 1024;
}

static void bench(const char *path, const struct plan *p,
                  const struct machine *mc)
{
    struct rig r = {0};
    double pp[REPEATS], one[REPEATS], eight[REPEATS];
    char a[64], b[64], c[64];
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    double bytes, params;

    rig_open(&r, path, p);
    run(&r, p, pp, one, eight);
    bytes = (double)graph_weight_bytes(r.g);
    params = machine_params(r.m);
    spread(pp, p->repeats, a, sizeof(a));
    spread(one, p->repeats, b, sizeof(b));
    spread(eight, p->repeats, c, sizeof(c));
    printf("| %s | %.0f | %s | %.0f %% | %s | %.0f %% | %s | %.2f | %.0f | "
           "%lu |\n",
           name, r.load_ms, a,
           100 * 2 * params * pp[p->repeats / 2] / mc->flops, b,
           100 * bytes * one[p->repeats / 2] / mc->read_bytes_s, c,
           eight[p->repeats / 2] / one[p->repeats / 2], bytes / 1048576.0,
           resident_mib());
    fflush(stdout);
    rig_close(&r);
}

static bool read_args(int argc, char **argv, struct plan *p)
{
    int o;

    while ((o = getopt(argc, argv, "t:p:d:n:")) != -1) {
        unsigned v = (unsigned)strtoul(optarg ? optarg : "0", NULL, 10);

        if (o == 't')
            p->threads = v;
        else if (o == 'p')
            p->prefill = v;
        else if (o == 'd')
            p->decode = v;
        else if (o == 'n')
            p->repeats = v;
        else
            return false;
    }
    return optind < argc && p->prefill >= 1 && p->prefill <= 1024 &&
           p->decode >= 1 && p->repeats >= 1 && p->repeats <= REPEATS;
}

int main(int argc, char **argv)
{
    struct plan p = {.prefill = 512, .decode = 32, .repeats = 5};
    struct machine mc;

    if (!read_args(argc, argv, &p)) {
        fprintf(stderr, "usage: b_engine [-t THREADS] [-p PREFILL] "
                        "[-d DECODE] [-n REPEATS] FILE...\n");
        return 2;
    }
    machine_measure(&mc, p.threads);
    printf("%s; %u threads; reads %.1f GB/s, %.0f GFLOP/s fused multiply and "
           "add, both measured here; n = %u, median (least - most)\n\n",
           mc.name, mc.threads, mc.read_bytes_s / 1e9, mc.flops / 1e9,
           p.repeats);
    printf("| model | load ms | prefill %u tok/s | of FLOP peak | decode %u "
           "tok/s | of read limit | eight decode tok/s | times one | weights "
           "MiB | resident MiB |\n|---|---|---|---|---|---|---|---|---|---|\n",
           p.prefill, p.decode);
    for (int i = optind; i < argc; i++)
        bench(argv[i], &p, &mc);
    return 0;
}
