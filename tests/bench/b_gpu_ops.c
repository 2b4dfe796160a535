/* b_gpu_ops.c - How fast single operations of a GPU are: products over weights
 * that no cache holds, attention, what is done to rows, and copies. Rows of
 * CSV: gpu_row.h; "batch" is rows, "context" what attention sees before them.
 * Sizes are those of an 8B model, with -s those of a toy.
 *
 *   b_gpu_ops [-d DEVICE] [-s] [-y TYPES] [-m ROWS] [-n SAMPLES] [-t SECONDS]
 *             [PART...]
 *
 * PART: copy rows attend linear; none: all. A sample is many operations queued
 * as one step, so that what a step costs does not show. */
#include <getopt.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "gpu_ops.h"
#include "gpu_row.h"
#include "kernels/krn.h"

enum {
    WARMUPS = 3,
    LIST = 16,
};

void ops_die(const char *what, const char *why)
{
    fprintf(stderr, "b_gpu_ops: %s: %s\n", what, why);
    exit(1);
}

void ops_must(enum krn_status st, const char *what)
{
    static const char *const names[] = {"", "no memory", "bad shape",
                                        "not supported", "the device failed"};

    if (st != KRN_OK)
        ops_die(what, names[st]);
}

void *ops_take(struct ops *o, size_t bytes)
{
    void *p = krn_alloc(o->krn, bytes ? bytes : 1);

    if (!p)
        ops_die("device memory", "there is too little");
    return p;
}

size_t ops_act_bytes(const struct ops *o)
{
    return krn_dtype_bytes(krn_act(o->krn));
}

/* Numbers that are neither all alike nor large, over <bytes> of halves or
 * floats: bits at random, exponents near that of one. */
void ops_fill(struct ops *o, void *to, size_t bytes, bool f32)
{
    const size_t piece = bytes < (1 << 20) ? bytes : 1 << 20;
    uint8_t *host = malloc(piece ? piece : 1);
    uint32_t v = 12345;

    if (!host)
        ops_die("host", "no memory");
    for (size_t i = 0; i < piece; i++) {
        const bool top = f32 ? i % 4 == 3 : i % 2 == 1;

        v = v * 1664525u + 1013904223u;
        host[i] = (uint8_t)(top ? 0x3a | (v >> 24 & 0x80) : v >> 24);
    }
    for (size_t at = 0; at < bytes; at += piece)
        ops_must(krn_put(o->krn, (char *)to + at, host,
                         bytes - at < piece ? bytes - at : piece),
                 "put");
    free(host);
}

/* --- steps ---------------------------------------------------------------- */

void ops_rows(struct ops *o, unsigned rows, unsigned before, bool decode)
{
    const unsigned n_seq = decode ? rows : 1;
    const unsigned pt = krn_page_tokens(o->krn);
    const unsigned last = before + (decode ? 1 : rows);
    const unsigned pages = (last + pt - 1) / pt;

    if (rows > o->room || (uint64_t)n_seq * pages > o->kv.n_pages)
        ops_die("rows", "there is no room for them");
    for (unsigned i = 0; i < rows; i++) {
        o->ids[i] = (int32_t)(i * 7919u % o->size.n_vocab);
        o->seq[i] = decode ? (int32_t)i : 0;
        o->pos[i] = (int32_t)(before + (decode ? 0 : i));
        o->wanted[i] = i;
    }
    if (!decode)
        o->wanted[0] = rows - 1;
    for (unsigned i = 0; i < n_seq * pages; i++)
        o->table[i] = (int32_t)i;
    o->step = (struct krn_step){
        .kv = &o->kv,
        .rows = {.m = rows,
                 .seq = o->seq,
                 .pos = o->pos,
                 .n_seq = n_seq,
                 .table = o->table,
                 .max_pages = pages},
        .ids = o->ids,
        .wanted = o->wanted,
        .n_wanted = decode ? rows : 1,
        .n_vocab = o->size.n_vocab,
        .kind = ++o->kind,
    };
}

/* Seconds of a step of <n> operations. */
static double step_s(struct ops *o, unsigned n, ops_fn *fn, void *arg)
{
    const double t = gpu_now_s();
    struct krn_pass pass;

    ops_must(krn_step_begin(o->krn, &o->step, &pass), "begin");
    for (unsigned i = 0; i < n && !pass.again; i++)
        ops_must(fn(o, i, pass.m, arg), "operation");
    ops_must(krn_step_end(o->krn), "end");
    ops_must(krn_sync(o->krn), "sync");
    return gpu_now_s() - t;
}

void ops_measure(struct ops *o, const struct gpu_case *c, unsigned n,
                 ops_fn *fn, void *arg)
{
    struct gpu_samples all = {.n = 0};

    if (gpu_now_s() > o->end_s) {
        gpu_skip(c, "no time");
        return;
    }
    for (unsigned k = 0; k < WARMUPS + o->samples; k++) {
        double s;

        if (k == WARMUPS)
            all.from_s = gpu_wall_s();
        s = step_s(o, n, fn, arg);
        if (k >= WARMUPS)
            all.s[all.n++] = s;
    }
    all.to_s = gpu_wall_s();
    gpu_row(c, &all, n);
}

unsigned ops_count(const struct ops *o, double bytes, double flops)
{
    const double s = bytes / 4e12 + flops / 7e14 + 1e-6;
    const double n = o->sample_s / s;

    return n < 2 ? 2 : n > 400 ? 400 : (unsigned)n;
}

/* --- pages ---------------------------------------------------------------- */

void ops_pool(struct ops *o, unsigned n_layer, unsigned n_pages)
{
    const unsigned pt = krn_page_tokens(o->krn);
    size_t bytes;

    krn_free(o->krn, o->kv.pages);
    o->kv = (struct krn_kv){
        .dtype = krn_act(o->krn) == KRN_BF16 ? KRN_BF16 : KRN_F16,
        .page_tokens = pt,
        .n_pages = n_pages,
        .n_layer = n_layer,
        .n_kv_head = o->size.n_kv_head,
        .d_head = o->size.d_head,
    };
    bytes = krn_kv_page_bytes(&o->kv);
    o->kv.pages = ops_take(o, bytes * n_pages);
    ops_fill(o, o->kv.pages, bytes, false);
    for (unsigned i = 1; i < n_pages; i++)
        ops_must(krn_kv_copy(o->krn, &o->kv, i, 0), "copy of a page");
    ops_must(krn_sync(o->krn), "sync");
}

/* --- life ----------------------------------------------------------------- */

static const struct ops_size big = {.d_model = 4096,
                                    .n_head = 32,
                                    .n_kv_head = 8,
                                    .d_head = 128,
                                    .d_ff = 14336,
                                    .n_vocab = 128256};
static const struct ops_size toy = {.d_model = 256,
                                    .n_head = 4,
                                    .n_kv_head = 2,
                                    .d_head = 64,
                                    .d_ff = 512,
                                    .n_vocab = 1024};

static void *host_take(size_t n, size_t each)
{
    void *p = calloc(n, each);

    if (!p)
        ops_die("host", "no memory");
    return p;
}

static void ops_open(struct ops *o, enum krn_dtype t)
{
    char why[256] = "";
    const struct krn_opts ko = {
        .device = o->device, .why = why, .why_bytes = sizeof(why)};

    if (krn_open(&ko, &o->krn) != KRN_OK)
        ops_die(o->device, why[0] ? why : "cannot be opened");
    ops_must(krn_act_use(o->krn, t), "type of activations");
    o->kv = (struct krn_kv){.pages = NULL};
    if (!o->named)
        gpu_head(krn_describe(o->krn));
    o->named = true;
}

static void ops_close(struct ops *o)
{
    krn_free(o->krn, o->kv.pages);
    krn_close(o->krn);
}

/* A type of activations has a context of its own. */
static void part_run(struct ops *o, const char *part)
{
    if (strcmp(part, "linear") == 0) {
        for (unsigned i = 0; i < o->n_types; i++) {
            ops_open(o, o->types[i]);
            ops_pool(o, 1, OPS_PAGES);
            ops_linear(o, o->types[i]);
            ops_close(o);
        }
        return;
    }
    ops_open(o, KRN_BF16);
    if (strcmp(part, "copy") == 0)
        ops_copy(o);
    else if (strcmp(part, "rows") == 0)
        ops_row_wise(o);
    else if (strcmp(part, "attend") == 0)
        ops_attend(o);
    else
        ops_die(part, "there is no such part");
    ops_close(o);
}

static bool read_types(const char *text, struct ops *o)
{
    o->n_types = 0;
    while (*text) {
        const size_t len = strcspn(text, ",");
        unsigned t = 0;

        while (t < KRN_DTYPE_COUNT &&
               (strncasecmp(text, krn_dtype_name((enum krn_dtype)t), len) ||
                strlen(krn_dtype_name((enum krn_dtype)t)) != len))
            t++;
        if (t == KRN_DTYPE_COUNT || o->n_types == OPS_TYPES)
            return false;
        o->types[o->n_types++] = (enum krn_dtype)t;
        text += len + (text[len] == ',');
    }
    return o->n_types > 0;
}

static bool read_args(int argc, char **argv, struct ops *o)
{
    bool ok = true;
    int c;

    while (ok && (c = getopt(argc, argv, "d:sy:m:n:t:")) != -1) {
        if (c == 'd')
            o->device = optarg;
        else if (c == 's')
            o->is_toy = true;
        else if (c == 'y')
            ok = read_types(optarg, o);
        else if (c == 'm')
            ok = (o->n_m = gpu_list(optarg, o->m, OPS_ROWS)) > 0;
        else if (c == 'n')
            o->samples = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 't')
            o->end_s = gpu_now_s() + strtod(optarg, NULL);
        else
            ok = false;
    }
    return ok && o->samples >= 1 && o->samples <= GPU_SAMPLES;
}

int main(int argc, char **argv)
{
    static const char *const parts[] = {"copy", "rows", "attend", "linear"};
    struct ops o = {.device = "cuda:0",
                    .types = {KRN_BF16, KRN_Q8_0, KRN_Q4_0, KRN_Q4_K},
                    .n_types = 4,
                    .m = {1, 4, 8, 16, 32, 64, 256, 2048, 8192},
                    .n_m = 9,
                    .samples = 5,
                    .end_s = 1e18,
                    .sample_s = 4e-3};

    if (!read_args(argc, argv, &o)) {
        fputs("usage: b_gpu_ops [-d DEVICE] [-s] [-y TYPES] [-m ROWS] "
              "[-n SAMPLES] [-t SECONDS] [copy|rows|attend|linear...]\n",
              stderr);
        return 2;
    }
    o.size = o.is_toy ? toy : big;
    if (o.is_toy)
        o.sample_s = 0;
    o.room = OPS_ROOM;
    o.ids = host_take(o.room, sizeof(*o.ids));
    o.seq = host_take(o.room, sizeof(*o.seq));
    o.pos = host_take(o.room, sizeof(*o.pos));
    o.wanted = host_take(o.room, sizeof(*o.wanted));
    o.table = host_take(OPS_TABLE, sizeof(*o.table));
    for (int i = optind; i < argc; i++)
        part_run(&o, argv[i]);
    for (unsigned i = 0; optind == argc && i < 4; i++)
        part_run(&o, parts[i]);
    free(o.ids);
    free(o.seq);
    free(o.pos);
    free(o.wanted);
    free(o.table);
    return 0;
}
