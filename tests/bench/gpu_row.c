/* gpu_row.c - See gpu_row.h. Rows go to the standard output as soon as they are
 * known: a program that is stopped has told what it found. */
#include "gpu_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double clock_s(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double gpu_now_s(void)
{
    return clock_s(CLOCK_MONOTONIC);
}

double gpu_wall_s(void)
{
    return clock_s(CLOCK_REALTIME);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

void gpu_head(const char *device)
{
    printf("# device: %s\n", device);
    printf("what,model,type,how,batch,context,n,ms_median,ms_min,ms_max,"
           "tok_s,gb_s,tflop_s,from,to,note\n");
    fflush(stdout);
}

static void head_put(const struct gpu_case *c)
{
    printf("%s,%s,%s,%s,%u,%u,", c->what, c->model, c->type, c->how, c->batch,
           c->context);
}

void gpu_row(const struct gpu_case *c, const struct gpu_samples *all,
             unsigned steps)
{
    double s[GPU_SAMPLES], median;

    if (all->n == 0) {
        gpu_skip(c, "no sample");
        return;
    }
    memcpy(s, all->s, all->n * sizeof(*s));
    qsort(s, all->n, sizeof(*s), by_value);
    for (unsigned i = 0; i < all->n; i++)
        s[i] /= steps;
    median = s[all->n / 2];
    head_put(c);
    printf("%u,%.5f,%.5f,%.5f,%.2f,%.2f,%.2f,%.3f,%.3f,\n", all->n,
           1e3 * median, 1e3 * s[0], 1e3 * s[all->n - 1], c->tokens / median,
           1e-9 * c->bytes / median, 1e-12 * c->flops / median, all->from_s,
           all->to_s);
    fflush(stdout);
}

void gpu_skip(const struct gpu_case *c, const char *why)
{
    head_put(c);
    printf("0,,,,,,,,,%s\n", why);
    fflush(stdout);
}

unsigned gpu_list(const char *text, unsigned *out, unsigned room)
{
    unsigned n = 0;

    while (n < room) {
        char *end;
        const unsigned long v = strtoul(text, &end, 10);

        if (end == text || v > 1u << 30)
            return 0;
        out[n++] = (unsigned)v;
        if (*end == '\0')
            return n;
        if (*end != ',')
            return 0;
        text = end + 1;
    }
    return 0;
}
