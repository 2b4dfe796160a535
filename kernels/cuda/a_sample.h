/* a_sample.h - What the kernel of k_sample.cu is told and what it tells: one
 * upload holds the draws, their edits and masks; one copy brings back a result
 * for each. Shared by the host and the device. */
#ifndef TG_KERNELS_CUDA_A_SAMPLE_H
#define TG_KERNELS_CUDA_A_SAMPLE_H

#include <stdint.h>

/* Threads of a block, and most of the likeliest tokens that are told. */
#define DRAW_THREADS 1024
#define DRAW_TOP_MAX 20

/* Weights are fixed-point numbers of this many bits behind the point, the
 * likeliest token's being 1: sums of them are exact, in any order. A row has
 * less than 2^21 of them. */
#define DRAW_BITS 42

/* What is done to one logit. */
struct a_draw_edit {
    int32_t id;
    float bias;
    float less;     /* of the frequency and presence penalties */
    uint32_t flags; /* DRAW_* */
    float was;      /* set by the kernel: the logit before */
};
/* Flags of an edit. */
#define DRAW_BANNED 1u
#define DRAW_SEEN   2u

/* One draw. */
struct a_draw {
    int64_t at;       /* of the row's first logit */
    double u;         /* in [0, 1) */
    float scale;      /* 1 / temperature; 0: the largest logit is taken */
    float top_p;      /* 1 or more = off */
    float min_p;      /* 0 = off */
    float repetition; /* 1 = off */
    int32_t top_k;    /* 0 = off */
    int32_t given;    /* -1, or a token of which the logit is told */
    int32_t edits;    /* the first one's index; */
    int32_t n_edits;
    int32_t mask; /* index of the mask's first word of 32 bits, or -1 */
    int32_t tell; /* the row's maximum, sum and likeliest tokens are told */
    int32_t n_top;
    int32_t unused;
};

/* What became of it. */
struct a_drawn {
    int32_t id; /* -1: none is allowed */
    float x;    /* its logit, before edits */
    float max;  /* of the row, -inf when there is none */
    int32_t n_top;
    uint64_t sum; /* of weights relative to max, at a temperature of 1 */
    struct {
        int32_t id;
        float x;
    } top[DRAW_TOP_MAX]; /* the likeliest first */
};

/* tg_draw: a block of DRAW_THREADS a draw. */
struct a_draws {
    float *logits; /* rows of n_vocab */
    const struct a_draw *draws;
    struct a_draw_edit *edits;
    const uint32_t *masks;
    struct a_drawn *out;
    int32_t n_vocab;
    int32_t vec; /* rows begin at multiples of 16 bytes */
};

#endif
