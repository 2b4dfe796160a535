/* gask.c - Rows of logits and what is asked of them, of host and device. */
#include "kernels/gask.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kfix.h"

static float uniform(uint64_t *seed)
{
    return (float)(kfix_next(seed) >> 40) * 0x1p-24F;
}

/* A row of <n> logits spread by <spread>, of 1/8 steps with <ties>; with <odd>
 * now and then one that is NaN or infinite. */
void gask_open(struct gask *a, unsigned n, float spread, bool ties, bool odd,
               uint64_t *seed)
{
    *a = (struct gask){.n = n, .p = {.top_p = 1, .repetition_penalty = 1}};
    a->x = calloc(n, sizeof(*a->x));
    assert_non_null(a->x);
    for (unsigned i = 0; i < n; i++) {
        float v = kfix_normal(seed) * spread;
        a->x[i] = ties ? rintf(v * 8) / 8 : v;
        if (odd && kfix_next(seed) % 8 == 0)
            a->x[i] = kfix_next(seed) % 2 ? NAN : -INFINITY;
    }
}

void gask_close(struct gask *a)
{
    sampler_free(a->s);
    free(a->x);
    free(a->mask);
}

/* Biases and a history; each token once among either. */
void gask_edits(struct gask *a, uint64_t *seed)
{
    unsigned n = a->n < GASK_EDITS ? a->n : GASK_EDITS;

    a->p.bias = a->bias;
    for (unsigned i = 0; i < n; i++) {
        int32_t id = (int32_t)(i * (a->n / n));
        if (kfix_next(seed) % 2)
            a->bias[a->p.n_bias++] = (struct gen_bias){
                id, kfix_next(seed) % 3 ? uniform(seed) * 20 - 10 : -100};
        if (kfix_next(seed) % 2) {
            a->seen[a->n_seen] = id;
            a->generated[a->n_seen++] = (unsigned)(kfix_next(seed) % 4);
        }
    }
    a->p.repetition_penalty = kfix_next(seed) % 2 ? 1 : 1.3F;
    a->p.frequency_penalty = uniform(seed) - 0.3F;
    a->p.presence_penalty = uniform(seed);
}

/* Allow each token with probability <share>. */
void gask_mask(struct gask *a, float share, uint64_t *seed)
{
    a->mask = calloc(a->n / 64 + 1, sizeof(*a->mask));
    assert_non_null(a->mask);
    for (unsigned i = 0; i < a->n; i++)
        if (uniform(seed) < share)
            a->mask[i / 64] |= UINT64_C(1) << i % 64;
}

/* The sampler, which has seen the history. */
struct sampler *gask_sampler(struct gask *a)
{
    if (a->s)
        return a->s;
    a->s = sampler_new(&a->p, 0, a->n);
    assert_non_null(a->s);
    for (unsigned i = 0; i < a->n_seen; i++) {
        sampler_see(a->s, a->seen[i], false);
        for (unsigned j = 0; j < a->generated[i]; j++)
            sampler_see(a->s, a->seen[i], true);
    }
    return a->s;
}

/* What the device is asked at step 0, but with the number <u>. */
struct krn_draw gask_draw(struct gask *a, unsigned row, double u)
{
    struct krn_draw d;

    assert_true(sampler_ask(gask_sampler(a), a->mask, 0, &d));
    d.row = row;
    d.u = u;
    return d;
}

/* The token that the host's sampler picks at <step>. */
int32_t gask_host(struct gask *a, uint64_t step)
{
    float *x = malloc(a->n * sizeof(*x));
    int32_t id;

    assert_non_null(x);
    memcpy(x, a->x, a->n * sizeof(*x));
    id = sampler_pick(gask_sampler(a), x, a->mask, step);
    free(x);
    return id;
}

/* <n> draws from rows that are all <a>'s. */
void gask_device(struct krn_ctx *c, const struct gask *a, unsigned n,
                 const struct krn_draw *draws, struct krn_drawn *out)
{
    float *x = krn_alloc(c, (size_t)n * a->n * sizeof(*x));

    assert_non_null(x);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(krn_put(c, x + (size_t)draws[i].row * a->n, a->x,
                                 a->n * sizeof(*x)),
                         KRN_OK);
    assert_int_equal(krn_step_draw(c, x, a->n, a->n, n, draws, out), KRN_OK);
    krn_free(c, x);
}
