/* machine.c - Two plain loops, one bound by memory and one by arithmetic. */
#include "machine.h"

#include <immintrin.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/model.h"

#define SPAN    ((size_t)512 << 20)
#define ROUNDS  (20u << 20)
#define THREADS 64

struct job {
    const uint8_t *from; /* bytes to read, or NULL: arithmetic */
    size_t bytes;
    bool wide;
    double sink;
};

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

__attribute__((target("avx2"))) static double read_all(const uint8_t *p,
                                                       size_t n)
{
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;

    for (size_t i = 0; i + 128 <= n; i += 128) {
        const __m256i *q = (const __m256i *)(const void *)(p + i);

        a = _mm256_xor_si256(a, _mm256_load_si256(q));
        b = _mm256_xor_si256(b, _mm256_load_si256(q + 1));
        c = _mm256_xor_si256(c, _mm256_load_si256(q + 2));
        d = _mm256_xor_si256(d, _mm256_load_si256(q + 3));
    }
    a = _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d));
    return (double)_mm256_extract_epi32(a, 0);
}

__attribute__((target("avx2,fma"))) static double fma_256(void)
{
    __m256 a[10], x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(1e-3f);
    float out[8], sum = 0;

    for (unsigned k = 0; k < 10; k++)
        a[k] = _mm256_set1_ps((float)k);
    for (unsigned i = 0; i < ROUNDS; i++) {
#pragma GCC unroll 10
        for (unsigned k = 0; k < 10; k++)
            a[k] = _mm256_fmadd_ps(a[k], x, y);
    }
    for (unsigned k = 0; k < 10; k++) {
        _mm256_storeu_ps(out, a[k]);
        sum += out[0];
    }
    return (double)sum;
}

__attribute__((target("avx512f"))) static double fma_512(void)
{
    __m512 a[10], x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(1e-3f);
    float sum = 0;

    for (unsigned k = 0; k < 10; k++)
        a[k] = _mm512_set1_ps((float)k);
    for (unsigned i = 0; i < ROUNDS; i++) {
#pragma GCC unroll 10
        for (unsigned k = 0; k < 10; k++)
            a[k] = _mm512_fmadd_ps(a[k], x, y);
    }
    for (unsigned k = 0; k < 10; k++)
        sum += _mm512_reduce_add_ps(a[k]);
    return (double)sum;
}

static void *work(void *arg)
{
    struct job *j = arg;

    if (j->from)
        j->sink = read_all(j->from, j->bytes);
    else
        j->sink = j->wide ? fma_512() : fma_256();
    return NULL;
}

/* Seconds that all jobs take side by side, the best of five. */
static double race(struct job *jobs, unsigned n)
{
    double best = 1e9;

    for (unsigned k = 0; k < 5; k++) {
        pthread_t id[THREADS];
        double t = now_s();
        unsigned made = 0;

        while (made < n && !pthread_create(&id[made], NULL, work, &jobs[made]))
            made++;
        for (unsigned i = 0; i < made; i++)
            pthread_join(id[i], NULL);
        t = now_s() - t;
        best = t < best ? t : best;
    }
    return best;
}

static void machine_name(char *out, size_t size, unsigned cores)
{
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256] = "", *name = NULL;

    while (f && !name && fgets(line, sizeof(line), f)) {
        if (!strncmp(line, "model name", 10) && strchr(line, ':'))
            name = strchr(line, ':') + 2;
    }
    if (f)
        fclose(f);
    if (name)
        name[strcspn(name, "\n")] = '\0';
    snprintf(out, size, "%.80s, %u cores", name ? name : "unknown CPU", cores);
}

void machine_measure(struct machine *out, unsigned threads)
{
    unsigned cores = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    uint8_t *span = aligned_alloc(64, SPAN);
    struct job jobs[THREADS] = {{0}};

    memset(out, 0, sizeof(*out));
    machine_name(out->name, sizeof(out->name), cores);
    out->threads = threads ? threads : cores;
    if (out->threads > THREADS)
        out->threads = THREADS;
    if (!span)
        exit(1);
    memset(span, 1, SPAN);
    for (unsigned i = 0; i < out->threads; i++) {
        jobs[i].bytes = SPAN / out->threads / 128 * 128;
        jobs[i].from = span + i * jobs[i].bytes;
    }
    out->read_bytes_s = (double)SPAN / race(jobs, out->threads);
    for (unsigned i = 0; i < out->threads; i++) {
        jobs[i].from = NULL;
        jobs[i].wide = __builtin_cpu_supports("avx512f");
    }
    out->flops = 2.0 * (jobs[0].wide ? 16 : 8) * 10 * ROUNDS * out->threads /
                 race(jobs, out->threads);
    free(span);
}

double machine_params(const struct model *m)
{
    double sum = 0;

    for (unsigned i = 0; i < m->p.n_layer; i++) {
        const struct model_layer *l = &m->layers[i];
        const struct model_tensor *all[] = {&l->q,    &l->k,  &l->v,   &l->o,
                                            &l->gate, &l->up, &l->down};

        for (unsigned k = 0; k < 7; k++)
            sum += (double)all[k]->n_out * (double)all[k]->n_in;
    }
    return sum;
}
