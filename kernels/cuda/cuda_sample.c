/* cuda_sample.c - Queueing draws from logits (k_sample.cu): all that the kernel
 * is told goes up in one copy and all results come back in one. Logarithms are
 * left to the host. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/a_sample.h"
#include "kernels/cuda/cuda.h"

/* What is taken at first: growing drops what was recorded. */
#define FIRST_BYTES ((size_t)1 << 20)

/* Below it the largest logit is taken. */
#define GREEDY_BELOW 1e-5F

_Static_assert(DRAW_TOP_MAX == KRN_TOP_MAX, "as many are told");

/* The kernel and its memory, which grows. */
struct cuda_sample {
    CUfunction draw;
    CUdeviceptr dev; /* results, draws, edits, masks */
    uint8_t *host;   /* owned; the same */
    size_t bytes;    /* of each */
};

/* Where things lie in that memory. */
struct layout {
    size_t draws, edits, masks; /* bytes from its begin; results are first */
    size_t bytes;
    size_t words; /* of 32 bits of a mask */
};

enum krn_status cuda_sample_open(struct cuda *d)
{
    struct cuda_sample *s = calloc(1, sizeof(*s));
    enum krn_status st;

    if (!s)
        return KRN_NOMEM;
    st = cuda_kernel(d, "tg_draw", 0, &s->draw);
    if (st != KRN_OK) {
        free(s);
        return st;
    }
    d->sample = s;
    return KRN_OK;
}

void cuda_sample_close(struct cuda *d)
{
    if (!d->sample)
        return;
    cuda_free(d, d->sample->dev);
    free(d->sample->host);
    free(d->sample);
    d->sample = NULL;
}

/* --- what goes up --------------------------------------------------------- */

static struct layout layout_of(unsigned n_vocab, unsigned n,
                               const struct krn_draw *draws)
{
    struct layout l = {.words = ((size_t)n_vocab + 63) / 64 * 2};
    size_t edits = 0, masks = 0;

    for (unsigned i = 0; i < n; i++) {
        edits += draws[i].n_edits;
        masks += draws[i].mask != NULL;
    }
    l.draws = n * sizeof(struct a_drawn);
    l.edits = l.draws + n * sizeof(struct a_draw);
    l.masks = l.edits + edits * sizeof(struct a_draw_edit);
    l.bytes = l.masks + masks * l.words * sizeof(uint32_t);
    return l;
}

/* Room for <bytes> on both sides. */
static enum krn_status grow(struct cuda *d, size_t bytes)
{
    struct cuda_sample *s = d->sample;
    size_t room = s->bytes > 0 ? s->bytes : FIRST_BYTES;

    if (bytes <= s->bytes)
        return KRN_OK;
    while (room < bytes)
        room *= 2;
    cuda_free(d, s->dev);
    free(s->host);
    s->bytes = 0;
    s->dev = cuda_alloc(d, room);
    s->host = malloc(room);
    if (s->dev == 0 || !s->host)
        return d->dead ? KRN_DEVICE : KRN_NOMEM;
    s->bytes = room;
    return KRN_OK;
}

static struct a_draw_edit edit_of(const struct krn_draw *w,
                                  const struct krn_edit *e)
{
    struct a_draw_edit a = {.id = e->id, .bias = e->bias};

    if (e->n_generated > 0) {
        a.less = w->frequency_penalty * (float)e->n_generated;
        a.less += w->presence_penalty;
    }
    a.flags = (e->banned ? DRAW_BANNED : 0) |
              (e->seen || e->n_generated > 0 ? DRAW_SEEN : 0);
    return a;
}

static struct a_draw draw_of(const struct krn_draw *w, size_t ld,
                             unsigned n_vocab)
{
    struct a_draw a = {.at = (int64_t)(w->row * ld),
                       .u = w->u,
                       .top_p = w->top_p,
                       .min_p = w->min_p,
                       .repetition = w->repetition_penalty,
                       .given = w->given,
                       .mask = -1,
                       .tell = w->logprobs,
                       .n_top = (int32_t)w->n_top};

    if (w->temperature >= GREEDY_BELOW)
        a.scale = 1 / w->temperature;
    if (w->top_k > 0 && (unsigned)w->top_k < n_vocab)
        a.top_k = w->top_k;
    return a;
}

/* Write what goes up. */
static void fill(uint8_t *host, const struct layout *l, size_t ld,
                 unsigned n_vocab, unsigned n, const struct krn_draw *draws)
{
    struct a_draw *a = (struct a_draw *)(host + l->draws);
    struct a_draw_edit *e = (struct a_draw_edit *)(host + l->edits);
    uint32_t *masks = (uint32_t *)(host + l->masks);
    size_t n_edits = 0, n_masks = 0;

    memset(host, 0, l->draws);
    for (unsigned i = 0; i < n; i++) {
        const struct krn_draw *w = &draws[i];
        a[i] = draw_of(w, ld, n_vocab);
        a[i].edits = (int32_t)n_edits;
        a[i].n_edits = (int32_t)w->n_edits;
        for (size_t j = 0; j < w->n_edits; j++)
            e[n_edits++] = edit_of(w, &w->edits[j]);
        if (w->mask) {
            a[i].mask = (int32_t)(n_masks * l->words);
            memcpy(masks + n_masks++ * l->words, w->mask,
                   l->words * sizeof(*masks));
        }
    }
}

/* --- what comes back ------------------------------------------------------ */

/* The log probability of logit <x> in the row of <r>, as
 * src/engine/sample_logprobs.c has it. */
static float logprob_of(float x, const struct a_drawn *r)
{
    double log_sum = r->sum > 0 ? log(ldexp((double)r->sum, -DRAW_BITS)) : 0;
    double d = x == r->max ? 0 : (double)x - (double)r->max;
    float lp = (float)(d - log_sum);

    return r->max > -INFINITY && lp >= KRN_LOGPROB_NONE ? lp : KRN_LOGPROB_NONE;
}

static void take_out(const struct a_drawn *r, const struct krn_draw *w,
                     struct krn_drawn *out)
{
    *out = (struct krn_drawn){.id = r->id};
    if (!w->logprobs)
        return;
    out->logprob = r->id >= 0 ? logprob_of(r->x, r) : KRN_LOGPROB_NONE;
    out->n_top = (unsigned)r->n_top;
    for (unsigned i = 0; i < out->n_top; i++) {
        out->top[i].id = r->top[i].id;
        out->top[i].logprob = logprob_of(r->top[i].x, r);
    }
}

/* --- the call ------------------------------------------------------------- */

/* Copy up, run, copy back. */
static enum krn_status run(struct cuda *d, float *logits, size_t ld,
                           unsigned n_vocab, unsigned n, const struct layout *l)
{
    struct cuda_sample *s = d->sample;
    uintptr_t at = (uintptr_t)s->dev;
    struct a_draws a = {.logits = logits,
                        .draws = (const struct a_draw *)(at + l->draws),
                        .edits = (struct a_draw_edit *)(at + l->edits),
                        .masks = (const uint32_t *)(at + l->masks),
                        .out = (struct a_drawn *)at,
                        .n_vocab = (int32_t)n_vocab};
    struct cuda_grid grid = {n, 1, 1};
    enum krn_status st = cuda_put(d, s->dev, s->host, l->bytes);

    a.vec = ld % 4 == 0 && (uintptr_t)logits % 16 == 0;
    if (st == KRN_OK)
        st = cuda_launch(d, s->draw, grid, DRAW_THREADS, 0, &a);
    if (st == KRN_OK)
        st = cuda_get(d, s->host, s->dev, l->draws);
    return st;
}

enum krn_status cuda_draw(struct krn_ctx *c, float *logits, size_t ld,
                          unsigned n_vocab, unsigned n,
                          const struct krn_draw *draws, struct krn_drawn *out)
{
    struct cuda *d = c->cuda;
    struct layout l = layout_of(n_vocab, n, draws);
    enum krn_status st = cuda_enter(d);

    if (st == KRN_OK)
        st = grow(d, l.bytes);
    if (st != KRN_OK)
        return st;
    fill(d->sample->host, &l, ld, n_vocab, n, draws);
    st = run(d, logits, ld, n_vocab, n, &l);
    if (st != KRN_OK)
        return st;
    for (unsigned i = 0; i < n; i++)
        take_out((const struct a_drawn *)d->sample->host + i, &draws[i],
                 &out[i]);
    return KRN_OK;
}
