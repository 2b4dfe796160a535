/* b_kernels.c - How fast the products of a model's matrices are, beside what
 * the machine can read and multiply, both measured here. Each layer has weights
 * of its own, so that one pass reads what a token's pass reads. Prints a page
 * in Markdown.
 *
 *   b_kernels [-m 135M|360M|1.7B] [-t TYPE] [-i ISA] [-n THREADS] [-r ROWS]
 *             [-s SECONDS]
 *
 * Without -m, -t, -r: the shapes 135M and 1.7B, all types, 1 4 8 32 512 rows.
 * A median of wall time; then the least and the most, and the median of the
 * processor time of all threads, which other work on the machine disturbs
 * less. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "kernels/krn.h"
#include "machine.h"

enum {
    MAX_ROUNDS = 64,
    LARGE_M = 512, /* rows from which few layers are timed and scaled */
};

struct shape {
    const char *name;
    unsigned layers, d, qkv, ffn, vocab;
    unsigned timed; /* layers timed with many rows */
};

static const struct shape shapes[] = {
    {"135M", 30, 576, 960, 1536, 49152, 6},
    {"360M", 32, 960, 1600, 2560, 49152, 4},
    {"1.7B", 24, 2048, 6144, 8192, 49152, 1},
};

struct ask {
    const char *model;
    const char *type;
    const char *isa;
    unsigned threads;
    unsigned rows;
    double seconds;
};

static double wall_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *take(size_t bytes)
{
    void *p = malloc(bytes);

    if (!p) {
        fprintf(stderr, "b_kernels: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return p;
}

static void must(enum krn_status st, const char *what)
{
    if (st == KRN_OK)
        return;
    fprintf(stderr, "b_kernels: %s: status %d\n", what, (int)st);
    exit(1);
}

/* --- a model's matrices -------------------------------------------------- */

struct mats {
    const struct shape *s;
    struct krn_weight **qkv, **o, **up, **down; /* by layer */
    struct krn_weight *head;
    double bytes;
    double params; /* of the layers */
    double load_s;
};

static uint64_t rng = 88172645463325252U;

static float noise(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (float)(rng >> 40) * 0x1p-23F - 1.0F;
}

static struct krn_weight *mat_load(struct krn_ctx *c, struct mats *m,
                                   enum krn_dtype t, unsigned n_out,
                                   unsigned n_in)
{
    size_t row = n_in / krn_dtype_block(t) * krn_dtype_bytes(t);
    uint8_t *rows = take(row * n_out);
    struct krn_weight *w = NULL;
    double begin;

    /* Bits at random, but exponents in the middle: nothing may become infinite
     * or so small that the machine takes longer. */
    for (size_t i = 0; i < row * n_out; i++)
        rows[i] = (uint8_t)((i * 2654435761U >> 13 & 0x83) | 0x2c);
    begin = wall_s();
    must(krn_weight_load(c, t, n_out, n_in, rows, &w), "load");
    m->load_s += wall_s() - begin;
    m->bytes += (double)(row * n_out);
    free(rows);
    return w;
}

static void mats_load(struct krn_ctx *c, const struct shape *s,
                      enum krn_dtype t, struct mats *m)
{
    *m = (struct mats){.s = s};
    m->qkv = take(4 * s->layers * sizeof(*m->qkv));
    m->o = m->qkv + s->layers;
    m->up = m->o + s->layers;
    m->down = m->up + s->layers;
    for (unsigned i = 0; i < s->layers; i++) {
        m->qkv[i] = mat_load(c, m, t, s->qkv, s->d);
        m->o[i] = mat_load(c, m, t, s->d, s->d);
        m->up[i] = mat_load(c, m, t, 2 * s->ffn, s->d);
        m->down[i] = mat_load(c, m, t, s->d, s->ffn);
    }
    m->head = mat_load(c, m, t, s->vocab, s->d);
    m->params =
        (double)s->layers * s->d * (s->qkv + s->d + 2.0 * s->ffn + s->ffn);
}

static void mats_free(struct krn_ctx *c, struct mats *m)
{
    for (unsigned i = 0; i < 4 * m->s->layers; i++)
        krn_weight_free(c, m->qkv[i]);
    krn_weight_free(c, m->head);
    free(m->qkv);
}

static void mat_run(struct krn_ctx *c, const struct krn_weight *w,
                    const float *x, unsigned n_in, unsigned n_out,
                    unsigned rows, float *y)
{
    struct krn_out o = {.w = w, .y = y, .ldy = n_out};

    must(krn_linear(c, x, n_in, rows, 1, &o), "linear");
}

static void layer_run(struct krn_ctx *c, const struct mats *m, unsigned i,
                      const float *x, unsigned rows, float *y)
{
    const struct shape *s = m->s;

    mat_run(c, m->qkv[i], x, s->d, s->qkv, rows, y);
    mat_run(c, m->o[i], x, s->d, s->d, rows, y);
    mat_run(c, m->up[i], x, s->d, 2 * s->ffn, rows, y);
    mat_run(c, m->down[i], x, s->ffn, s->d, rows, y);
}

/* --- figures ------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    const double *x = a;
    const double *y = b;

    return (*x > *y) - (*x < *y);
}

static void row_print(const struct mats *m, const char *type, unsigned rows,
                      double *wall, double *cpu, int n,
                      const struct machine *mac)
{
    double head = (double)m->s->vocab * m->s->d;
    double flop = 2 * (m->params * rows + head * (rows >= LARGE_M ? 1 : rows));
    double med;

    qsort(wall, (size_t)n, sizeof(*wall), by_value);
    qsort(cpu, (size_t)n, sizeof(*cpu), by_value);
    med = wall[n / 2];
    printf("| %s | %s | %u | %.1f | %.2f (%.2f - %.2f) | %.2f | %d | %.1f | "
           "%.0f %% | %.1f | %.0f %% |\n",
           m->s->name, type, rows, rows / med, med * 1e3, wall[0] * 1e3,
           wall[n - 1] * 1e3, cpu[n / 2] * 1e3, n, m->bytes / med * 1e-9,
           m->bytes / med * 100 / mac->read_bytes_s, flop / med * 1e-9,
           flop / med * 100 / mac->flops);
    fflush(stdout);
}

static void rows_measure(struct krn_ctx *c, const struct mats *m,
                         const char *type, unsigned rows, const struct ask *ask,
                         const struct machine *mac)
{
    const struct shape *s = m->s;
    unsigned timed = rows >= LARGE_M ? s->timed : s->layers;
    size_t wide = s->ffn > s->d ? s->ffn : s->d;
    float *x = take(wide * rows * sizeof(*x));
    size_t y_len = (size_t)2 * s->ffn * rows;
    float *y;
    double wall[MAX_ROUNDS];
    double cpu[MAX_ROUNDS];
    double spent = 0;
    int n = 0;

    if (y_len < (size_t)s->vocab * (rows >= LARGE_M ? 1 : rows))
        y_len = (size_t)s->vocab * (rows >= LARGE_M ? 1 : rows);
    y_len = y_len < (size_t)s->qkv * rows ? (size_t)s->qkv * rows : y_len;
    y = take(y_len * sizeof(*y));
    for (size_t i = 0; i < wide * rows; i++)
        x[i] = noise();
    while (n < MAX_ROUNDS && (n < 3 || spent < ask->seconds)) {
        double w0 = wall_s();
        double c0 = cpu_s();
        double w1;
        double c1;
        double scale = (double)s->layers / timed;

        for (unsigned i = 0; i < timed; i++)
            layer_run(c, m, i, x, rows, y);
        w1 = wall_s();
        c1 = cpu_s();
        mat_run(c, m->head, x, s->d, s->vocab, rows >= LARGE_M ? 1 : rows, y);
        spent += wall_s() - w0;
        wall[n] = (w1 - w0) * scale + (wall_s() - w1);
        cpu[n] = (c1 - c0) * scale + (cpu_s() - c1);
        n++;
    }
    row_print(m, type, rows, wall, cpu, n, mac);
    free(x);
    free(y);
}

static void type_measure(struct krn_ctx *c, const struct shape *s,
                         enum krn_dtype t, const struct ask *ask,
                         const struct machine *mac)
{
    static const unsigned rows[] = {1, 4, 8, 32, 512};
    struct mats m;

    if (s->d % krn_dtype_block(t) != 0 || s->ffn % krn_dtype_block(t) != 0)
        return;
    mats_load(c, s, t, &m);
    fprintf(stderr, "%s %s: loaded %.2f GB in %.2f s\n", s->name,
            krn_dtype_name(t), m.bytes * 1e-9, m.load_s);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (ask->rows == 0)
            rows_measure(c, &m, krn_dtype_name(t), rows[i], ask, mac);
    }
    if (ask->rows != 0)
        rows_measure(c, &m, krn_dtype_name(t), ask->rows, ask, mac);
    mats_free(c, &m);
}

static void head_print(struct krn_ctx *c, const struct machine *mac)
{
    double load[3] = {0, 0, 0};
    struct utsname u;
    char when[32];
    time_t now = time(NULL);
    struct tm tm;

    gmtime_r(&now, &tm);
    strftime(when, sizeof(when), "%Y-%m-%d %H:%M UTC", &tm);
    uname(&u);
    (void)getloadavg(load, 3);
    printf("# Products of matrices on the CPU\n\n- %s\n", when);
    printf("- %s, %s %s, %s\n", mac->name, u.sysname, u.release,
           krn_describe(c));
    printf("- measured here: reading %.1f GB/s, fused multiply and add %.0f "
           "GFLOP/s\n- load average %.2f at the start\n\n",
           mac->read_bytes_s * 1e-9, mac->flops * 1e-9, load[0]);
    printf("All products of a pass through the layers and the head, nothing "
           "else: an upper\nbound for the engine. With 512 rows some layers "
           "are timed and scaled, and the\nhead has one row.\n\n");
    printf("| shape | type | rows | tok/s | ms (least - most) | processor ms "
           "| n | GB/s | of reading | GFLOP/s | of FMA |\n"
           "|---|---|---|---|---|---|---|---|---|---|---|\n");
}

static bool ask_parse(int argc, char **argv, struct ask *ask)
{
    int opt;

    while ((opt = getopt(argc, argv, "m:t:i:n:r:s:")) != -1) {
        if (opt == 'm')
            ask->model = optarg;
        else if (opt == 't')
            ask->type = optarg;
        else if (opt == 'i')
            ask->isa = optarg;
        else if (opt == 'n')
            ask->threads = (unsigned)strtoul(optarg, NULL, 10);
        else if (opt == 'r')
            ask->rows = (unsigned)strtoul(optarg, NULL, 10);
        else if (opt == 's')
            ask->seconds = strtod(optarg, NULL);
        else
            return false;
    }
    return optind == argc;
}

static bool shape_is_asked(const struct ask *ask, const struct shape *s)
{
    if (ask->model)
        return strcmp(ask->model, s->name) == 0;
    return strcmp(s->name, "360M") != 0;
}

int main(int argc, char **argv)
{
    struct ask ask = {.seconds = 0.5};
    struct krn_ctx *c = NULL;
    struct machine mac;

    if (!ask_parse(argc, argv, &ask)) {
        fprintf(stderr, "usage: b_kernels [-m MODEL] [-t TYPE] [-i ISA] "
                        "[-n THREADS] [-r ROWS] [-s SECONDS]\n");
        return 2;
    }
    must(krn_open(&(struct krn_opts){.isa = ask.isa, .threads = ask.threads},
                  &c),
         "open");
    machine_measure(&mac, krn_threads(c));
    head_print(c, &mac);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        for (int t = KRN_F16;
             t < KRN_DTYPE_COUNT && shape_is_asked(&ask, &shapes[i]); t++) {
            if (!ask.type ||
                strcmp(ask.type, krn_dtype_name((enum krn_dtype)t)) == 0)
                type_measure(c, &shapes[i], (enum krn_dtype)t, &ask, &mac);
        }
    }
    krn_close(c);
    return 0;
}
