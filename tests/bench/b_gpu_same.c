/* b_gpu_same.c - Whether two devices say the same. One writes on from a short
 * text, always the likeliest token; the other is led along the same tokens, in
 * one go and then token by token, and what it would have said is compared.
 *
 *   b_gpu_same [-a DEVICE] [-d DEVICE] [-n TOKENS] [-s SEQUENCES] MODEL...
 *
 * -a (cpu) leads, -d (cuda:0) follows with all SEQUENCES (1) at once. A line a
 * model and way:
 *   ok MODEL TYPE WAY: 200 of 200 alike, NMSE 1.0e-07
 * One in a hundred tokens may differ, of a model of random numbers five, where
 * the leader all but liked it as much: its logits are closer than 0.05. Exits
 * with 1 when more differ, or logits differ by more than
 * kernels/cuda/tolerance.h says. */
#include <getopt.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "engine/graph.h"
#include "engine/model.h"
#include "kernels/cuda/tolerance.h"
#include "kernels/krn.h"
#include "token/vocab.h"

#define BEGINNING  "Once upon a time"
#define BEGIN_ROOM 64
#define CLOSE      0.05 /* logits that are as good as equal */
#define CHUNK      64   /* rows of a step that reads */

/* A model on a device. */
struct side {
    struct krn_ctx *krn;
    struct graph *g;
    int32_t *table; /* (n_seq, max_pages) */
    unsigned n_seq, max_pages;
    float *logits; /* (CHUNK or n_seq, n_vocab) */
};

/* A text and what the leader thought of it. */
struct told {
    const struct model *m;
    const char *name;
    int32_t *ids;  /* (n_begin + n) */
    float *logits; /* (n, n_vocab): before each token that it chose */
    unsigned n_begin, n;
};

/* How alike the follower is. */
struct tally {
    unsigned all, alike;
    double widest; /* gap of the leader's logits where they differ */
    double nmse;   /* of the worst row */
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "b_gpu_same: %s: %s\n", what, why);
    exit(1);
}

static void *take(size_t n, size_t each)
{
    void *p = calloc(n ? n : 1, each);

    if (!p)
        die("host", "no memory");
    return p;
}

static void side_open(struct side *s, const char *device, const struct told *t,
                      unsigned n_seq)
{
    char why[512] = "";
    struct krn_opts ko = {
        .device = device, .why = why, .why_bytes = sizeof(why)};
    struct graph_opts go = {.kv_dtype = KRN_F16};
    struct model_fault fault = {""};
    enum krn_dtype type = t->m->layers[0].down.dtype;
    unsigned tokens = t->n_begin + t->n;

    if (krn_open(&ko, &s->krn) != KRN_OK)
        die(device, why[0] ? why : "cannot be opened");
    if (krn_act_use(s->krn, type) != KRN_OK)
        die(device, "no such weights");
    if (type == KRN_BF16)
        go.kv_dtype = KRN_BF16;
    s->n_seq = n_seq;
    s->max_pages = tokens / krn_page_tokens(s->krn) + 1;
    go.n_pages = s->max_pages * n_seq;
    go.max_rows = n_seq > CHUNK ? n_seq : CHUNK;
    if (graph_new(s->krn, t->m, &go, &fault, &s->g) != ERR_OK)
        die(t->name, fault.text);
    s->table = take(go.n_pages, sizeof(*s->table));
    for (unsigned i = 0; i < go.n_pages; i++)
        s->table[i] = (int32_t)(go.n_pages - 1 - i);
    s->logits = take((size_t)go.max_rows * t->m->p.n_vocab, sizeof(float));
}

static void side_close(struct side *s)
{
    free(s->table);
    free(s->logits);
    graph_free(s->g);
    krn_close(s->krn);
}

/* Run <n> tokens of the first sequence from position <at> on, wanting the
 * logits of the last one or of all. */
static void read_on(struct side *s, const int32_t *ids, unsigned at, unsigned n,
                    bool all)
{
    int32_t seq[CHUNK] = {0};
    int32_t pos[CHUNK];
    uint8_t want[CHUNK];
    struct graph_step step = {
        .rows = {n, seq, pos, s->n_seq, s->table, s->max_pages},
        .ids = ids,
        .want = want};

    for (unsigned i = 0; i < n; i++) {
        pos[i] = (int32_t)(at + i);
        want[i] = all || i == n - 1 ? GRAPH_LOGITS : GRAPH_NOTHING;
    }
    if (graph_step_run(s->g, &step, s->logits) != ERR_OK)
        die("a step", krn_trouble(s->krn));
}

/* Run one token <id> at position <at> in every sequence. */
static void write_on(struct side *s, int32_t id, unsigned at)
{
    int32_t *seq = take(s->n_seq, sizeof(*seq));
    int32_t *pos = take(s->n_seq, sizeof(*pos));
    int32_t *ids = take(s->n_seq, sizeof(*ids));
    uint8_t *want = take(s->n_seq, 1);
    struct graph_step step = {
        .rows = {s->n_seq, seq, pos, s->n_seq, s->table, s->max_pages},
        .ids = ids,
        .want = want};

    for (unsigned i = 0; i < s->n_seq; i++) {
        seq[i] = (int32_t)i;
        pos[i] = (int32_t)at;
        ids[i] = id;
        want[i] = GRAPH_LOGITS;
    }
    if (graph_step_run(s->g, &step, s->logits) != ERR_OK)
        die("a step", krn_trouble(s->krn));
    free(seq);
    free(pos);
    free(ids);
    free(want);
}

/* The index of the greatest of <v> (n). */
static unsigned best(const float *v, unsigned n)
{
    unsigned at = 0;

    for (unsigned i = 1; i < n; i++)
        at = v[i] > v[at] ? i : at;
    return at;
}

/* Encode what every text begins with. */
static void begin(struct told *t)
{
    struct vocab_ids ids = {0};
    const struct vocab *v = t->m->vocab;
    struct str text = {.p = BEGINNING, .len = strlen(BEGINNING)};

    if (vocab_encode(v, text, NULL, 0, BEGIN_ROOM - 1, &ids) != ERR_OK)
        die(t->name, "its vocabulary fails");
    t->n_begin = 0;
    if (vocab_adds_bos(v))
        t->ids[t->n_begin++] = vocab_bos(v);
    for (size_t i = 0; i < ids.n; i++)
        t->ids[t->n_begin++] = ids.ids[i];
    free(ids.ids);
}

/* Let <device> write <t>'s tokens. */
static void lead(struct told *t, const char *device)
{
    struct side s = {0};
    const size_t row = t->m->p.n_vocab;

    side_open(&s, device, t, 1);
    read_on(&s, t->ids, 0, t->n_begin, false);
    for (unsigned i = 0; i < t->n; i++) {
        unsigned at = t->n_begin + i;

        memcpy(t->logits + i * row, s.logits, row * sizeof(float));
        t->ids[at] = (int32_t)best(s.logits, (unsigned)row);
        read_on(&s, t->ids + at, at, 1, true);
    }
    side_close(&s);
}

/* Compare the follower's logits <v> before token <i>. */
static void compare(const struct told *t, unsigned i, const float *v,
                    struct tally *y)
{
    const unsigned n = t->m->p.n_vocab;
    const float *want = t->logits + (size_t)i * n;
    unsigned mine = best(v, n);
    unsigned theirs = best(want, n);
    double off = 0, all = 0, nmse, gap;

    for (unsigned k = 0; k < n; k++) {
        double d = (double)v[k] - (double)want[k];

        off += d * d;
        all += (double)want[k] * (double)want[k];
    }
    nmse = off / all;
    gap = (double)want[theirs] - (double)want[mine];
    y->all++;
    y->alike += mine == theirs;
    y->widest = gap > y->widest ? gap : y->widest;
    /* NaN is worse than everything. */
    y->nmse = nmse <= y->nmse ? y->nmse : nmse;
}

/* Follow <t> in one go. */
static void follow_reading(const struct told *t, struct side *s,
                           struct tally *y)
{
    unsigned all = t->n_begin + t->n - 1;

    for (unsigned at = 0; at < all; at += CHUNK) {
        unsigned n = all - at < CHUNK ? all - at : CHUNK;

        read_on(s, t->ids + at, at, n, true);
        for (unsigned i = 0; i < n; i++) {
            if (at + i + 1 >= t->n_begin)
                compare(t, at + i + 1 - t->n_begin,
                        s->logits + (size_t)i * t->m->p.n_vocab, y);
        }
    }
}

/* Follow <t> token by token in all sequences. */
static void follow_writing(const struct told *t, struct side *s,
                           struct tally *y)
{
    for (unsigned at = 0; at < t->n_begin + t->n - 1; at++) {
        write_on(s, t->ids[at], at);
        if (at + 1 < t->n_begin)
            continue;
        for (unsigned i = 0; i < s->n_seq; i++)
            compare(t, at + 1 - t->n_begin,
                    s->logits + (size_t)i * t->m->p.n_vocab, y);
    }
}

/* Say how it went; whether it will do. */
static bool verdict(const struct told *t, const char *way,
                    const struct tally *y)
{
    /* Of random numbers the likeliest token seldom stands out. */
    bool is_random =
        strncmp(t->name, MODEL_SYNTHETIC, strlen(MODEL_SYNTHETIC)) == 0;
    unsigned long long least = is_random ? 95 : 99;
    bool ok = y->all > 0 && y->alike * 100ull >= y->all * least &&
              y->widest < CLOSE && y->nmse <= TOL_LOGITS_NMSE;

    printf("%s %s %s %s: %u of %u alike, NMSE %.1e", ok ? "ok" : "FAILED",
           t->name, krn_dtype_name(t->m->layers[0].down.dtype), way, y->alike,
           y->all, y->nmse);
    if (y->alike < y->all)
        printf(", those that differ by %.3f at most", y->widest);
    printf("\n");
    fflush(stdout);
    return ok;
}

static bool model_run(const char *name, const char *leader,
                      const char *follower, unsigned n, unsigned n_seq)
{
    struct told t = {.name = name, .n = n};
    struct model *m;
    struct model_fault why = {""};
    struct side s = {0};
    struct tally reading = {0}, writing = {0};
    char way[64];
    bool ok;

    if (model_open(name, &why, &m) != ERR_OK)
        die(name, why.text);
    t.m = m;
    t.ids = take(BEGIN_ROOM + n, sizeof(*t.ids));
    t.logits = take((size_t)n * m->p.n_vocab, sizeof(float));
    begin(&t);
    lead(&t, leader);
    side_open(&s, follower, &t, n_seq);
    follow_reading(&t, &s, &reading);
    ok = verdict(&t, "read", &reading);
    follow_writing(&t, &s, &writing);
    snprintf(way, sizeof(way), "written %u at a time", n_seq);
    ok = verdict(&t, way, &writing) && ok;
    side_close(&s);
    free(t.ids);
    free(t.logits);
    model_close(m);
    return ok;
}

int main(int argc, char **argv)
{
    const char *leader = "cpu";
    const char *follower = "cuda:0";
    unsigned long n = 200, n_seq = 1;
    bool ok = true;
    int c;

    while ((c = getopt(argc, argv, "a:d:n:s:")) != -1) {
        if (c == 'a')
            leader = optarg;
        else if (c == 'd')
            follower = optarg;
        else if (c == 'n')
            n = strtoul(optarg, NULL, 10);
        else if (c == 's')
            n_seq = strtoul(optarg, NULL, 10);
        else
            return 2;
    }
    if (optind == argc || n == 0 || n > 100000 || n_seq == 0 || n_seq > 256) {
        fprintf(stderr, "usage: b_gpu_same [-a DEVICE] [-d DEVICE] [-n TOKENS] "
                        "[-s SEQUENCES] MODEL...\n");
        return 2;
    }
    for (int i = optind; i < argc; i++)
        ok = model_run(argv[i], leader, follower, (unsigned)n,
                       (unsigned)n_seq) &&
             ok;
    return ok ? 0 : 1;
}
