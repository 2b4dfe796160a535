/* gpu_row.h - Rows of figures in CSV, the same columns for every program that
 * measures a GPU, so that one page can be made of them (gpu_page.py). */
#ifndef TG_BENCH_GPU_ROW_H
#define TG_BENCH_GPU_ROW_H

#include <stddef.h>

/* Most samples of a figure. */
#define GPU_SAMPLES 64

/* What was measured, and how often. */
struct gpu_case {
    const char *what;    /* "decode", "prefill", ... */
    const char *model;   /* shape, or what an operation is about */
    const char *type;    /* of the weights */
    const char *how;     /* "record+pdl", "plain", "chunk 2048" */
    unsigned batch;      /* sequences, or rows */
    unsigned context;    /* tokens before, or 0 */
    unsigned tokens;     /* that a sample made or read; 0 = no such thing */
    double bytes, flops; /* that a sample must move and compute; 0 = not said */
};

/* Samples in seconds, and when they were taken. */
struct gpu_samples {
    double s[GPU_SAMPLES];
    unsigned n;
    double from_s, to_s; /* Unix time */
};

/* Seconds of a clock that only goes forward, and of the wall. */
double gpu_now_s(void);
double gpu_wall_s(void);

/* Name the device, of which there is one a program, and write the line of
 * names. */
void gpu_head(const char *device);

/* Write a row; a sample counts as <steps> of the case. */
void gpu_row(const struct gpu_case *c, const struct gpu_samples *all,
             unsigned steps);

/* Write that a case was left out, and why. */
void gpu_skip(const struct gpu_case *c, const char *why);

/* Read "1,8,64" into <out>, at most <room>; how many, 0 when it is no list. */
unsigned gpu_list(const char *text, unsigned *out, unsigned room);

#endif
