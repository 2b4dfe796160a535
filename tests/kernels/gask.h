/* gask.h - Rows of logits and what is asked of them, of the host's sampler and
 * of a device. What fails here fails the test. */
#ifndef TG_TESTS_KERNELS_GASK_H
#define TG_TESTS_KERNELS_GASK_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/sample.h"
#include "kernels/krn.h"

/* Biases, and tokens of the history, that a row may have. */
#define GASK_EDITS 16

/* A row and what is asked of it. */
struct gask {
    unsigned n; /* tokens */
    float *x;
    struct gen_sampling p;
    struct gen_bias bias[GASK_EDITS];
    int32_t seen[GASK_EDITS];       /* tokens, n_seen of them, */
    unsigned generated[GASK_EDITS]; /* and how often they were generated */
    unsigned n_seen;
    uint64_t *mask;    /* or NULL */
    struct sampler *s; /* with that history; owned */
};

/* A row of <n> logits spread by <spread>, of 1/8 steps with <ties>; with <odd>
 * now and then one that is NaN or infinite. */
void gask_open(struct gask *a, unsigned n, float spread, bool ties, bool odd,
               uint64_t *seed);
void gask_close(struct gask *a);

/* Give it biases and a history; each token stands once among either. */
void gask_edits(struct gask *a, uint64_t *seed);

/* Allow each token with probability <share>. */
void gask_mask(struct gask *a, float share, uint64_t *seed);

/* The sampler, which has seen the history; a's. Settings and biases must not
 * change from then on. */
struct sampler *gask_sampler(struct gask *a);

/* What the device is asked at step 0 of <row>, but with the number <u>. */
struct krn_draw gask_draw(struct gask *a, unsigned row, double u);

/* The token that the host's sampler picks at <step>. */
int32_t gask_host(struct gask *a, uint64_t step);

/* <n> draws on the device from rows that are all <a>'s. */
void gask_device(struct krn_ctx *c, const struct gask *a, unsigned n,
                 const struct krn_draw *draws, struct krn_drawn *out);

#endif
