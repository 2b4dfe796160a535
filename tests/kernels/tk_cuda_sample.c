/* tk_cuda_sample.c - Draws on the GPU against those of the host's sampler: what
 * is not drawn is the same token, log probabilities are near. What is drawn is
 * held to the distribution worked out here in double precision, which the
 * host's sampler draws from, too: a number u takes the token at u of what is
 * left, in the order of ids. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/sample.h"
#include "kernels/cuda/tolerance.h"
#include "kernels/fakecuda.h"
#include "kernels/gask.h"
#include "kernels/gstep.h"
#include "kernels/kfix.h"
#include "kernels/krn.h"

#define DRAWS_MAX 64

/* --- what is not drawn ---------------------------------------------------- */

static void greedy_check(struct krn_ctx *c, struct gask *a)
{
    struct krn_draw d = gask_draw(a, 0, 0.5);
    struct krn_drawn out;
    int32_t want = gask_host(a, 0);

    gask_device(c, a, 1, &d, &out);
    if (out.id != want)
        print_message("of %u tokens: %d, not %d\n", a->n, out.id, want);
    assert_int_equal(out.id, want);
}

static void the_largest_is_the_hosts(void **state)
{
    static const unsigned sizes[] = {1, 2, 5, 31, 128, 1000, 4099, 9001};
    struct krn_ctx *c = gstep_opened(KRN_F32);
    uint64_t seed = 21;

    (void)state;
    for (unsigned i = 0; i < 8 * 8; i++) {
        struct gask a;
        gask_open(&a, sizes[i / 8], 3, i % 2, i % 4 == 3, &seed);
        if (i % 3)
            gask_edits(&a, &seed);
        if (i % 8 >= 4)
            gask_mask(&a, i % 8 == 5 ? 0.02F : 0.6F, &seed);
        greedy_check(c, &a);
        gask_close(&a);
    }
    krn_close(c);
}

/* Rows of nothing, of infinities, and tokens that are all forbidden, greedy or
 * not. */
static void strange_rows_are_the_hosts(void **state)
{
    struct krn_ctx *c = gstep_opened(KRN_F32);
    uint64_t seed = 22;

    (void)state;
    for (unsigned i = 0; i < 48; i++) {
        unsigned n = i % 2 ? 12 : 300;
        struct gask a;
        gask_open(&a, n, 1, false, false, &seed);
        a.p.temperature = i % 4 >= 2 ? 1.0F : 0;
        for (unsigned j = 0; j < n; j++)
            if (i % 3 == 0)
                a.x[j] = j % 2 ? NAN : -INFINITY;
            else if (i % 3 == 1)
                a.x[j] = j == n / 2 ? INFINITY : a.x[j];
        if (i % 6 == 2 || i >= 24)
            gask_mask(&a, i >= 36 ? 0 : 0.1F, &seed);
        if (i % 5 == 0) {
            /* Ban what there is of the first ones. */
            a.p.bias = a.bias;
            for (int32_t j = 0; j < 12; j++)
                a.bias[a.p.n_bias++] = (struct gen_bias){j, -100};
        }
        if (i % 3 == 2 || (i % 3 == 1 && (a.mask || a.p.n_bias > 0)))
            a.p.temperature = 0; /* else it may be a draw like any other */
        greedy_check(c, &a);
        gask_close(&a);
    }
    krn_close(c);
}

/* --- what is drawn -------------------------------------------------------- */

/* A token that may be drawn. */
struct cand {
    int32_t id;
    float x;
    double w;
};

static int by_weight(const void *l, const void *r)
{
    const struct cand *a = l, *b = r;

    if (a->x != b->x)
        return a->x > b->x ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

static int by_id(const void *l, const void *r)
{
    return ((const struct cand *)l)->id < ((const struct cand *)r)->id ? -1 : 1;
}

/* Change logits as the host does. */
static void edited(const struct gask *a, float *x)
{
    for (size_t i = 0; i < a->p.n_bias; i++)
        x[a->bias[i].id] = a->bias[i].bias <= -100
                               ? -INFINITY
                               : x[a->bias[i].id] + a->bias[i].bias;
    for (unsigned i = 0; i < a->n_seen; i++) {
        float v = x[a->seen[i]], r = a->p.repetition_penalty;
        v = v > 0 ? v / r : v * r;
        if (a->generated[i])
            v -= a->p.frequency_penalty * (float)a->generated[i] +
                 a->p.presence_penalty;
        x[a->seen[i]] = v;
    }
    for (unsigned i = 0; a->mask && i < a->n; i++)
        if (!(a->mask[i / 64] >> i % 64 & 1))
            x[i] = -INFINITY;
}

/* What may be drawn, by id, weights adding up to 1; how many. *sure_out: no cut
 * is so near that rounding could move it. */
static size_t cands_of(const struct gask *a, struct cand *k, bool *sure_out)
{
    float *x = malloc(a->n * sizeof(*x));
    size_t n = 0, kept = 0;
    double sum = 0, part = 0;

    assert_non_null(x);
    memcpy(x, a->x, a->n * sizeof(*x));
    edited(a, x);
    for (unsigned i = 0; i < a->n; i++)
        if (x[i] > -INFINITY)
            k[n++] = (struct cand){(int32_t)i, x[i], 0};
    free(x);
    assert_true(n > 0);
    qsort(k, n, sizeof(*k), by_weight);
    if (a->p.top_k > 0 && (size_t)a->p.top_k < n)
        n = (size_t)a->p.top_k;
    *sure_out = true;
    for (size_t i = 0; i < n; i++)
        sum += k[i].w =
            exp(((double)k[i].x - (double)k[0].x) / (double)a->p.temperature);
    if (a->p.top_p < 1) {
        while (kept < n && (part < (double)a->p.top_p * sum || kept == 0)) {
            part += k[kept++].w;
            if (fabs(part / sum - (double)a->p.top_p) < 1e-5)
                *sure_out = false;
        }
        n = kept;
    }
    kept = 0;
    sum = 0;
    for (size_t i = 0; i < n; i++) {
        if (fabs(k[i].w / (double)a->p.min_p - 1) < 1e-5)
            *sure_out = false;
        if (k[i].w < (double)a->p.min_p)
            continue;
        sum += k[i].w;
        k[kept++] = k[i];
    }
    for (size_t i = 0; i < kept; i++)
        k[i].w /= sum;
    qsort(k, kept, sizeof(*k), by_id);
    return kept;
}

/* The host's sampler draws from <k> and from nothing else. */
static void host_agrees(struct gask *a, const struct cand *k, size_t n)
{
    enum { DRAWS = 400 };
    unsigned *times = calloc(a->n, sizeof(*times));

    assert_non_null(times);
    for (unsigned i = 0; i < DRAWS; i++) {
        int32_t id = gask_host(a, i);
        assert_true(id >= 0);
        times[id]++;
    }
    for (size_t i = 0; i < n; i++) {
        double off = fabs(times[k[i].id] - DRAWS * k[i].w);
        assert_true(off <= 5 * sqrt(DRAWS * k[i].w) + 5);
        times[k[i].id] = 0;
    }
    for (unsigned i = 0; i < a->n; i++)
        assert_int_equal(times[i], 0);
    free(times);
}

/* Draw with <n> numbers all over [0, 1). */
static void device_agrees(struct krn_ctx *c, struct gask *a,
                          const struct cand *k, size_t n_cands, unsigned n)
{
    struct krn_draw draws[DRAWS_MAX] = {{0}};
    struct krn_drawn out[DRAWS_MAX];

    for (unsigned i = 0; i < n; i++)
        draws[i] =
            gask_draw(a, n - 1 - i, i + 1 == n ? 1 - 0x1p-53 : (double)i / n);
    gask_device(c, a, n, draws, out);
    for (unsigned i = 0; i < n; i++) {
        double at = 0, near = 1e-6;
        bool fits = false;
        for (size_t j = 0; j < n_cands && at <= draws[i].u + near; j++) {
            double end = at + k[j].w;
            if (k[j].id == out[i].id)
                fits = draws[i].u < end + near;
            at = end;
        }
        if (!fits)
            print_message("%zu of %u tokens: u %.9g drew %d\n", n_cands, a->n,
                          draws[i].u, out[i].id);
        assert_true(fits);
    }
}

static void draw_check(struct krn_ctx *c, struct gask *a, bool host, unsigned n)
{
    struct cand *k = malloc(a->n * sizeof(*k));
    bool sure;
    size_t n_cands;

    assert_non_null(k);
    n_cands = cands_of(a, k, &sure);
    if (sure) {
        if (host)
            host_agrees(a, k, n_cands);
        device_agrees(c, a, k, n_cands, n);
    }
    free(k);
}

/* Settings of a draw. */
struct set {
    float temperature;
    int top_k;
    float top_p, min_p;
};

static const struct set sets[] = {
    {1, 0, 1, 0},        {0.7F, 0, 1, 0},         {1, 5, 1, 0},
    {1.5F, 40, 1, 0},    {1, 0, 0.9F, 0},         {1, 0, 0.1F, 0},
    {1, 0, 0, 0},        {1, 0, 1, 0.05F},        {1, 0, 1, 1},
    {2, 50, 0.8F, 0},    {1, 20, 0.95F, 0.1F},    {0.2F, 1, 0.5F, 0},
    {3, 0, 0.7F, 0.02F}, {1, 100000, 0.5F, 0.2F},
};

static void draws_are_of_what_is_left(void **state)
{
    static const unsigned sizes[] = {3, 60, 130, 700};
    struct krn_ctx *c = gstep_opened(KRN_F32);
    uint64_t seed = 23;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        for (size_t j = 0; j < sizeof(sets) / sizeof(sets[0]); j++) {
            struct gask a;
            gask_open(&a, sizes[i], i == 1 ? 0.5F : 2, j % 2, j % 3 == 2,
                      &seed);
            a.x[1] = 0.5F; /* something is left */
            if (j % 4 == 1)
                gask_edits(&a, &seed);
            if (j % 5 == 4)
                gask_mask(&a, 0.7F, &seed);
            if (a.mask)
                a.mask[0] |= 2;
            a.p.temperature = sets[j].temperature;
            a.p.top_k = sets[j].top_k;
            a.p.top_p = sets[j].top_p;
            a.p.min_p = sets[j].min_p;
            draw_check(c, &a, true, 12);
            gask_close(&a);
        }
    }
    krn_close(c);
}

/* More tokens are left than are sorted. */
static void draws_of_many_are_of_what_is_left(void **state)
{
    struct krn_ctx *c = gstep_opened(KRN_F32);
    uint64_t seed = 24;

    (void)state;
    for (size_t j = 0; j < sizeof(sets) / sizeof(sets[0]); j++) {
        struct gask a;
        gask_open(&a, j % 2 ? 20000 : 9999, j % 3 ? 0.3F : 0, j % 2, false,
                  &seed);
        a.p.temperature = sets[j].temperature;
        a.p.top_k = sets[j].top_k * 100;
        a.p.top_p = sets[j].top_p;
        a.p.min_p = sets[j].min_p;
        draw_check(c, &a, false, 8);
        gask_close(&a);
    }
    krn_close(c);
}

/* Where nothing but edits and masks cuts, the host draws in the order of ids,
 * too: with the same numbers it gets the same tokens. */
static void numbers_are_the_hosts(void **state)
{
    enum { N = 24 };
    struct krn_ctx *c = gstep_opened(KRN_F32);
    struct krn_draw draws[N] = {{0}};
    struct krn_drawn out[N];
    uint64_t seed = 26;
    struct gask a;

    (void)state;
    gask_open(&a, 2000, 1, false, true, &seed);
    gask_edits(&a, &seed);
    gask_mask(&a, 0.9F, &seed);
    a.p.temperature = 1.2F;
    a.p.seed = 77;
    for (unsigned i = 0; i < N; i++) {
        assert_true(sampler_ask(gask_sampler(&a), a.mask, i, &draws[i]));
        draws[i].row = i;
    }
    gask_device(c, &a, N, draws, out);
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(out[i].id, gask_host(&a, i));
    gask_close(&a);
    krn_close(c);
}

/* Many rows in one call, each with what is its own; between rows, and behind
 * the last, stand logits that nobody may see. */
static void mixed_check(struct krn_ctx *c, unsigned n, size_t ld,
                        uint64_t *seed)
{
    enum { N = 16 };
    struct krn_draw draws[N] = {{0}};
    struct krn_drawn out[N];
    struct gask asks[N];
    float *x = malloc(N * ld * sizeof(*x)), *dev;

    assert_non_null(x);
    for (size_t i = 0; i < N * ld; i++)
        x[i] = 1e30F;
    for (unsigned i = 0; i < N; i++) {
        struct gask *a = &asks[i];
        gask_open(a, n, 2, i % 3 == 0, i % 4 == 1, seed);
        if (i % 2)
            gask_edits(a, seed);
        if (i % 5 > 2)
            gask_mask(a, 0.9F, seed);
        a->p.temperature = i % 3 == 1 ? 0.8F : 0;
        assert_true(sampler_ask(gask_sampler(a), a->mask, i, &draws[i]));
        draws[i].row = N - 1 - i;
        draws[i].logprobs = i % 4 == 2;
        draws[i].given = i == 7 ? (int32_t)n - 1 : -1;
        memcpy(x + draws[i].row * ld, a->x, n * sizeof(*x));
    }
    dev = gstep_sent(c, x, N * ld * sizeof(*x));
    assert_int_equal(krn_step_draw(c, dev, ld, n, N, draws, out), KRN_OK);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(out[i].id,
                         i == 7 ? (int32_t)n - 1 : gask_host(&asks[i], i));
        gask_close(&asks[i]);
    }
    krn_free(c, dev);
    free(x);
}

static void rows_of_a_call_are_apart(void **state)
{
    struct krn_ctx *c = gstep_opened(KRN_F32);
    uint64_t seed = 27;

    (void)state;
    mixed_check(c, 500, 500, &seed);
    mixed_check(c, 501, 504, &seed);
    mixed_check(c, 64, 67, &seed);
    mixed_check(c, 3000, 3001, &seed);
    krn_close(c);
}

/* Draw the last token that is left of <n> equal ones. */
static int32_t last_of_equals(struct krn_ctx *c, unsigned n, int top_k,
                              float top_p)
{
    struct gask a;
    struct krn_draw d;
    struct krn_drawn out;
    uint64_t seed = 1;

    gask_open(&a, n, 0, false, false, &seed);
    a.p.temperature = 1;
    a.p.top_k = top_k;
    a.p.top_p = top_p;
    d = gask_draw(&a, 0, 1 - 0x1p-53);
    gask_device(c, &a, 1, &d, &out);
    for (uint64_t i = 0; i < 100; i++)
        assert_true(gask_host(&a, i) <= out.id);
    gask_close(&a);
    return out.id;
}

static void equals_are_cut_by_lowest_id(void **state)
{
    struct krn_ctx *c = gstep_opened(KRN_F32);

    (void)state;
    assert_int_equal(last_of_equals(c, 8, 0, 1), 7);
    assert_int_equal(last_of_equals(c, 8, 3, 1), 2);
    assert_int_equal(last_of_equals(c, 8, 0, 0.5F), 3);
    assert_int_equal(last_of_equals(c, 8, 4, 0.5F), 1);
    assert_int_equal(last_of_equals(c, 10000, 0, 1), 9999);
    assert_int_equal(last_of_equals(c, 10000, 3000, 1), 2999);
    assert_int_equal(last_of_equals(c, 10000, 0, 0.5F), 4999);
    assert_int_equal(last_of_equals(c, 10000, 8000, 0.5F), 3999);
    assert_int_equal(last_of_equals(c, 10000, 7, 0.5F), 3);
    krn_close(c);
}

/* --- log probabilities ---------------------------------------------------- */

static void logprob_check(struct krn_ctx *c, struct gask *a, int32_t given,
                          unsigned n_top)
{
    struct krn_draw d = gask_draw(a, 0, 0.5);
    struct krn_drawn out;
    struct gen_logprob want;

    d.given = given;
    d.logprobs = true;
    d.n_top = n_top;
    gask_device(c, a, 1, &d, &out);
    assert_int_equal(out.id, given >= 0 ? given : gask_host(a, 0));
    sample_logprobs(a->x, a->n, out.id, n_top, &want);
    assert_true(fabsf(out.logprob - want.logprob) <= (float)TOL_LOGPROB_ATOL);
    assert_int_equal(out.n_top, want.n_top);
    for (unsigned i = 0; i < want.n_top; i++) {
        assert_int_equal(out.top[i].id, want.top[i].id);
        assert_true(fabsf(out.top[i].logprob - want.top[i].logprob) <=
                    (float)TOL_LOGPROB_ATOL);
    }
}

static void logprobs_are_the_hosts(void **state)
{
    static const unsigned sizes[] = {1, 7, 20, 333, 5000, 12000};
    struct krn_ctx *c = gstep_opened(KRN_F32);
    uint64_t seed = 25;

    (void)state;
    for (unsigned i = 0; i < 36; i++) {
        struct gask a;
        gask_open(&a, sizes[i / 6], i % 7 == 0 ? 0 : 4, i % 2, i % 3 == 1,
                  &seed);
        if (i % 3 == 2)
            gask_edits(&a, &seed);
        if (i % 12 == 5)
            a.x[a.n / 2] = INFINITY;
        if (i % 12 == 11)
            for (unsigned j = 0; j < a.n; j++)
                a.x[j] = -INFINITY;
        logprob_check(c, &a, i % 2 ? (int32_t)(kfix_next(&seed) % a.n) : -1,
                      i % 4 == 0   ? 0
                      : i % 4 == 1 ? 5
                                   : 20);
        gask_close(&a);
    }
    krn_close(c);
}

/* --- what is refused ------------------------------------------------------ */

static void what_is_no_draw_is_refused(void **state)
{
    struct krn_ctx *c = gstep_opened(KRN_F32), *cpu = NULL;
    struct krn_edit far = {.id = 8};
    struct krn_draw d = {.given = -1, .top_p = 1, .repetition_penalty = 1};
    struct krn_draw bad[4] = {d, d, d, d};
    struct krn_drawn out;
    float *x = krn_alloc(c, 8 * sizeof(*x));

    (void)state;
    assert_non_null(x);
    bad[0].given = 8;
    bad[1].u = 1;
    bad[2].n_top = KRN_TOP_MAX + 1;
    bad[3].edits = &far;
    bad[3].n_edits = 1;
    for (int i = 0; i < 4; i++)
        assert_int_equal(krn_step_draw(c, x, 8, 8, 1, &bad[i], &out),
                         KRN_BAD_SHAPE);
    assert_int_equal(krn_step_draw(c, x, 8, 0, 1, &d, &out), KRN_BAD_SHAPE);
    assert_int_equal(krn_step_draw(c, x, 8, 8, 0, NULL, NULL), KRN_OK);
    krn_free(c, x);
    krn_close(c);
    assert_int_equal(krn_open(&(struct krn_opts){.device = "cpu"}, &cpu),
                     KRN_OK);
    assert_int_equal(krn_step_draw(cpu, NULL, 8, 8, 1, &d, &out),
                     KRN_UNSUPPORTED);
    krn_close(cpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_largest_is_the_hosts),
        cmocka_unit_test(strange_rows_are_the_hosts),
        cmocka_unit_test(draws_are_of_what_is_left),
        cmocka_unit_test(draws_of_many_are_of_what_is_left),
        cmocka_unit_test(numbers_are_the_hosts),
        cmocka_unit_test(rows_of_a_call_are_apart),
        cmocka_unit_test(equals_are_cut_by_lowest_id),
        cmocka_unit_test(logprobs_are_the_hosts),
        cmocka_unit_test(what_is_no_draw_is_refused),
    };

    if (!fakecuda_use())
        return FAKECUDA_SKIP;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
