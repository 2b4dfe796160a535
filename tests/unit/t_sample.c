/* t_sample.c - From logits to a token: every step of the chain by itself
 * against a plain sort in double, draws by their frequencies, hostile rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sample.h"

#define MAX_N 5000

static struct gen_sampling neutral(void)
{
    return (struct gen_sampling){
        .temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 42};
}

static uint64_t rnd_state;

/* Uniform in [0, 1); SplitMix64. */
static double rnd(void)
{
    uint64_t z = rnd_state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

/* Logits like a model's: a few high, most far below; some equal. */
static void fill(float *x, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        double u = rnd() + rnd() + rnd() - 1.5;
        x[i] = (float)(floor(u * 64) / 8);
    }
}

/* One pick of a copy of <x>. */
static int32_t pick(const struct gen_sampling *p, const float *x, unsigned n,
                    const uint64_t *mask, uint64_t step)
{
    float *row = malloc(n * sizeof(*row)); /* exact: overruns are seen */
    struct sampler *s = sampler_new(p, 0, n);
    int32_t id;

    assert_non_null(s);
    assert_non_null(row);
    memcpy(row, x, n * sizeof(*row));
    id = sampler_pick(s, row, mask, step);
    sampler_free(s);
    free(row);
    return id;
}

/* --- the chain in plain words -------------------------------------------- */

struct ranked {
    double p;
    int32_t id;
};

static int by_rank(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->p != y->p)
        return x->p < y->p ? 1 : -1;
    return x->id < y->id ? -1 : 1;
}

/* Share of each token under <p>, by sorting; <out> (n). */
static void oracle(const struct gen_sampling *p, const float *x, unsigned n,
                   double *out)
{
    static struct ranked r[MAX_N];
    double max = -INFINITY, sum = 0, cum = 0;
    unsigned keep = n, k = 0;

    for (unsigned i = 0; i < n; i++)
        max = (double)x[i] > max ? (double)x[i] : max;
    for (unsigned i = 0; i < n; i++) {
        double d = ((double)x[i] - max) / (double)p->temperature;
        r[i] = (struct ranked){exp(d), (int32_t)i};
        out[i] = 0;
    }
    qsort(r, n, sizeof(*r), by_rank);
    if (p->top_k > 0 && (unsigned)p->top_k < n)
        keep = (unsigned)p->top_k;
    for (unsigned i = 0; i < keep; i++)
        sum += r[i].p;
    while (k < keep && (k == 0 || cum < (double)p->top_p * sum))
        cum += r[k++].p;
    for (sum = 0, keep = 0; keep < k; keep++) {
        if (r[keep].p < (double)p->min_p)
            break;
        sum += r[keep].p;
    }
    for (unsigned i = 0; i < keep; i++)
        out[r[i].id] = r[i].p / sum;
}

/* Draw <draws> times and compare with the oracle: nothing outside, and
 * chi-square within what chance allows. */
static void check_shares(const struct gen_sampling *p, const float *x,
                         unsigned n, unsigned draws)
{
    static double want[MAX_N];
    static unsigned got[MAX_N];
    double chi = 0, rest = 0, rest_got = 0;
    unsigned cells = 0;

    oracle(p, x, n, want);
    memset(got, 0, sizeof(got));
    for (unsigned i = 0; i < draws; i++) {
        int32_t id = pick(p, x, n, NULL, i);
        assert_in_range(id, 0, n - 1);
        assert_true(want[id] > 0);
        got[id]++;
    }
    for (unsigned i = 0; i < n; i++) {
        double e = want[i] * draws, d = got[i] - e;
        if (e < 5) {
            rest += e;
            rest_got += got[i];
            continue;
        }
        chi += d * d / e;
        cells++;
    }
    if (rest >= 5)
        chi += (rest_got - rest) * (rest_got - rest) / rest;
    /* Mean cells, deviation sqrt(2 cells): five of them is one in a million. */
    assert_true(chi < cells + 1 + 5 * sqrt(2.0 * (cells + 1)) + 10);
}

static void test_shares(void **state)
{
    static const struct {
        float t, top_p, min_p;
        int k;
        unsigned n;
    } rows[] = {
        {1, 1, 0, 0, 40},          {0.5f, 1, 0, 0, 1100},
        {2, 1, 0, 0, 1100},        {1, 0.9f, 0, 0, 1100},
        {1, 0.3f, 0, 0, 1100},     {3, 0.999f, 0, 0, 5000},
        {1, 1, 0.05f, 0, 1100},    {1, 1, 0, 7, 1100},
        {1, 1, 0, 400, 1100},      {0.7f, 0.8f, 0.02f, 50, 1100},
        {1.5f, 0.95f, 0.1f, 0, 7}, {5, 0.9f, 0, 0, 4097},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        static float x[MAX_N];
        struct gen_sampling p = neutral();
        rnd_state = i;
        p.temperature = rows[i].t;
        p.top_p = rows[i].top_p;
        p.min_p = rows[i].min_p;
        p.top_k = rows[i].k;
        fill(x, rows[i].n);
        check_shares(&p, x, rows[i].n, 8000);
    }
}

/* The set that can be drawn is the oracle's, to the token, over many rows. */
static void test_support(void **state)
{
    static float x[64];
    static double want[64];

    (void)state;
    rnd_state = 7;
    for (int round = 0; round < 150; round++) {
        struct gen_sampling p = neutral();
        unsigned n = 1 + (unsigned)(rnd() * 20), seen = 0, all = 0;
        bool got[64] = {false};
        p.temperature = 5;
        p.top_k = (int)(rnd() * 12);
        p.top_p = (float)rnd();
        p.min_p = rnd() < 0.5 ? 0 : (float)rnd() * 0.5f;
        fill(x, n);
        oracle(&p, x, n, want);
        for (unsigned i = 0; i < n; i++)
            all += want[i] > 0;
        for (unsigned i = 0; i < 600; i++) {
            int32_t id = pick(&p, x, n, NULL, i);
            assert_true(want[id] > 0);
            seen += !got[id];
            got[id] = true;
        }
        assert_int_equal(seen, all);
    }
}

/* --- single steps -------------------------------------------------------- */

static void test_greedy(void **state)
{
    struct gen_sampling p = neutral();
    float x[40] = {0};

    (void)state;
    p.temperature = 0;
    p.top_k = 3;
    assert_int_equal(pick(&p, x, 40, NULL, 9), 0);
    x[33] = x[35] = 2;
    x[39] = 1.5f;
    assert_int_equal(pick(&p, x, 40, NULL, 9), 33);
    assert_int_equal(pick(&p, x, 1, NULL, 0), 0);
    p.temperature = 1;
    p.top_k = 1;
    for (uint64_t i = 0; i < 50; i++)
        assert_int_equal(pick(&p, x, 40, NULL, i), 33);
    p.top_k = 0;
    p.top_p = 0;
    for (uint64_t i = 0; i < 50; i++)
        assert_int_equal(pick(&p, x, 40, NULL, i), 33);
}

static void test_bias(void **state)
{
    const struct gen_bias bias[] = {
        {3, 5}, {0, -100}, {-4, 9}, {2000000000, 9}, {3, -1}};
    struct gen_sampling p = neutral();
    float x[4] = {100, 3, 2, 0};

    (void)state;
    p.temperature = 0;
    p.bias = bias;
    p.n_bias = 5;
    assert_int_equal(pick(&p, x, 4, NULL, 0), 3); /* 4 beats 3, 0 is banned */
    p.temperature = 1;
    for (uint64_t i = 0; i < 2000; i++)
        assert_int_not_equal(pick(&p, x, 4, NULL, i), 0);
    assert_int_equal(pick(&p, x, 1, NULL, 0), -1);
    /* What a grammar must have goes before a ban, but only if nothing else. */
    assert_int_equal(pick(&p, x, 4, &(uint64_t){1}, 0), 0);
    assert_int_equal(pick(&p, x, 4, &(uint64_t){1 | 4}, 0), 2);
}

/* Penalties move the logits as documented: seen by what it takes to win. */
static void test_penalties(void **state)
{
    struct gen_sampling p = neutral();
    float x[6], y[6] = {4, -4, 3, 1, 1, 1};
    struct sampler *s;

    (void)state;
    p.temperature = 0;
    p.repetition_penalty = 2;
    p.frequency_penalty = 0.5f;
    p.presence_penalty = 0.25f;
    s = sampler_new(&p, 0, 6);
    sampler_see(s, 0, false);
    sampler_see(s, 0, false);
    sampler_see(s, 1, true);
    sampler_see(s, 2, true);
    sampler_see(s, 2, true);
    sampler_see(s, 2, true);
    sampler_see(s, -1, true);
    sampler_see(s, 6, true);
    memcpy(x, y, sizeof(x));
    assert_int_equal(sampler_pick(s, x, NULL, 0), 0);
    /* Greedy leaves the changed row behind. */
    assert_true(x[0] == 2.0f && x[1] == -8.75f);
    assert_true(x[2] == 1.5f - 1.75f && x[3] == 1.0f);
    sampler_free(s);

    p.repetition_penalty = 1; /* the prompt does not count */
    s = sampler_new(&p, 0, 6);
    sampler_see(s, 0, false);
    sampler_see(s, 2, true);
    memcpy(x, y, sizeof(x));
    assert_int_equal(sampler_pick(s, x, NULL, 0), 0);
    assert_true(x[0] == 4.0f && x[2] == 2.25f);
    sampler_free(s);
}

static void test_long_history(void **state)
{
    static float x[MAX_N];
    struct gen_sampling p = neutral();
    struct sampler *s;

    (void)state;
    p.temperature = 0;
    p.presence_penalty = 1;
    p.frequency_penalty = 1;
    s = sampler_new(&p, 0, MAX_N);
    for (int32_t i = 0; i < 3 * MAX_N; i++)
        if (i % MAX_N != 4321)
            sampler_see(s, i % MAX_N, true);
    memset(x, 0, sizeof(x));
    assert_int_equal(sampler_pick(s, x, NULL, 0), 4321);
    for (unsigned i = 0; i < MAX_N; i++)
        assert_true(x[i] == (i == 4321 ? 0.0f : -4.0f));
    sampler_free(s);
}

static void test_mask(void **state)
{
    static float x[200];
    struct gen_sampling p = neutral();

    (void)state;
    rnd_state = 3;
    for (uint64_t round = 0; round < 2000; round++) {
        uint64_t mask[4] = {0};
        unsigned n = 1 + (unsigned)(rnd() * 199), allowed = 0;
        int32_t id;
        fill(x, n);
        for (unsigned i = 0; i < n; i++)
            if (rnd() < 0.05)
                mask[i / 64] |= (uint64_t)1 << i % 64;
        for (unsigned i = 0; i < n; i++)
            allowed += mask[i / 64] >> i % 64 & 1;
        for (unsigned i = n; i < 256; i++) /* beyond the row: never read */
            mask[i / 64] |= (uint64_t)1 << i % 64;
        p.temperature = round % 3 ? 1 : 0;
        p.top_k = round % 2 ? 5 : 0;
        p.top_p = round % 5 ? 1 : 0.5f;
        id = pick(&p, x, n, mask, round);
        if (allowed == 0)
            assert_int_equal(id, -1);
        else
            assert_true(id >= 0 && (unsigned)id < n &&
                        (mask[id / 64] >> id % 64 & 1));
    }
}

/* --- draws --------------------------------------------------------------- */

static void test_seeds(void **state)
{
    static float x[300];
    struct gen_sampling p = neutral(), q = neutral();
    unsigned same_seed = 0, same_choice = 0;

    (void)state;
    rnd_state = 11;
    p.temperature = q.temperature = 4;
    q.seed = 43;
    for (unsigned i = 0; i < 200; i++) {
        struct sampler *a, *b;
        float row[300];
        int32_t id;
        fill(x, 300);
        id = pick(&p, x, 300, NULL, i);
        assert_int_equal(id, pick(&p, x, 300, NULL, i));
        same_seed += id == pick(&q, x, 300, NULL, i);
        a = sampler_new(&p, 0, 300);
        b = sampler_new(&p, 1, 300);
        memcpy(row, x, sizeof(row));
        assert_int_equal(id, sampler_pick(a, row, NULL, i));
        memcpy(row, x, sizeof(row));
        same_choice += id == sampler_pick(b, row, NULL, i);
        sampler_free(a);
        sampler_free(b);
    }
    assert_true(same_seed < 20 && same_choice < 20);
}

/* One sampler used on and on draws as a fresh one at the same step. */
static void test_recompute(void **state)
{
    static float x[3000], row[3000];
    struct gen_sampling p = neutral();
    struct sampler *on;

    (void)state;
    p.temperature = 2;
    p.top_p = 0.9f;
    p.frequency_penalty = 0.3f;
    on = sampler_new(&p, 5, 3000);
    for (unsigned round = 0; round < 30; round++) {
        struct sampler *s = sampler_new(&p, 5, 3000);
        int32_t ids[31];
        for (unsigned i = 0; i <= round; i++) {
            rnd_state = i;
            fill(x, 3000);
            memcpy(row, x, sizeof(row));
            ids[i] = sampler_pick(s, row, NULL, i);
            sampler_see(s, ids[i], true);
        }
        rnd_state = round;
        fill(row, 3000);
        assert_int_equal(sampler_pick(on, row, NULL, round), ids[round]);
        sampler_see(on, ids[round], true);
        sampler_free(s);
    }
    sampler_free(on);
}

/* --- hostile rows -------------------------------------------------------- */

static void test_hostile(void **state)
{
    static const float odd[] = {NAN,    INFINITY, -INFINITY, 3e38f,
                                -3e38f, 1e-40f,   0};
    struct gen_sampling p = neutral();

    (void)state;
    rnd_state = 5;
    for (uint64_t round = 0; round < 20000; round++) {
        float x[70];
        uint64_t mask[2] = {rnd() < 0.5 ? 2 : UINT64_MAX, rnd() < 0.5 ? 0 : 63};
        unsigned n = 1 + (unsigned)(rnd() * 69);
        int32_t id;
        for (unsigned i = 0; i < n; i++)
            x[i] = rnd() < 0.3 ? (float)rnd() : odd[(int)(rnd() * 7)];
        p.temperature = (float[]){0, 1e-4f, 1, 1e30f, NAN}[(int)(rnd() * 5)];
        p.top_k = (int)(rnd() * 40) - 2;
        p.top_p = (float[]){1, 0, 0.5f, NAN}[(int)(rnd() * 4)];
        p.min_p = (float[]){0, 1, 0.5f, 7}[(int)(rnd() * 4)];
        id = pick(&p, x, n, round % 2 ? mask : NULL, round);
        if (round % 2 && n == 1 && mask[0] == 2)
            assert_int_equal(id, -1);
        else
            assert_in_range(id, 0, n - 1);
    }
}

static void test_not_a_number(void **state)
{
    struct gen_sampling p = neutral();
    float x[4] = {NAN, -1, NAN, -2};
    float none[4] = {NAN, NAN, -INFINITY, NAN};
    float inf[4] = {1, INFINITY, NAN, INFINITY};
    const uint64_t mask[1] = {12};
    bool got[4] = {false};

    (void)state;
    for (uint64_t i = 0; i < 100; i++) {
        int32_t id = pick(&p, x, 4, NULL, i);
        assert_true(id == 1 || id == 3);
        assert_int_equal(pick(&p, none, 4, mask, i), 2);
        got[pick(&p, inf, 4, NULL, i)] = true;
    }
    assert_true(!got[0] && got[1] && !got[2] && got[3]);
    p.temperature = 0;
    assert_int_equal(pick(&p, none, 4, NULL, 0), 0);
    assert_int_equal(pick(&p, inf, 4, NULL, 0), 1);
}

/* --- log probabilities --------------------------------------------------- */

static void test_logprobs(void **state)
{
    static float x[MAX_N];
    static struct ranked r[MAX_N];

    (void)state;
    rnd_state = 9;
    for (unsigned round = 0; round < 60; round++) {
        unsigned n = 1 + (unsigned)(rnd() * (MAX_N - 1)), top = round % 24;
        struct gen_logprob lp = {0};
        double sum = 0;
        int32_t id = (int32_t)(rnd() * n);
        fill(x, n);
        for (unsigned i = 0; i < n; i++) {
            sum += exp((double)x[i]);
            r[i] = (struct ranked){(double)x[i], (int32_t)i};
        }
        qsort(r, n, sizeof(*r), by_rank);
        sample_logprobs(x, n, id, top, &lp);
        assert_int_equal(lp.id, id);
        assert_true(fabs((double)lp.logprob - ((double)x[id] - log(sum))) <
                    1e-5);
        top = top > GEN_LOGPROBS_MAX ? GEN_LOGPROBS_MAX : top;
        assert_int_equal(lp.n_top, top < n ? top : n);
        for (unsigned i = 0; i < lp.n_top; i++) {
            assert_int_equal(lp.top[i].id, r[i].id);
            assert_true(fabs((double)lp.top[i].logprob - (r[i].p - log(sum))) <
                        1e-5);
        }
    }
}

static void test_logprobs_hostile(void **state)
{
    float x[5] = {NAN, 1, -INFINITY, 1, -20000};
    float inf[3] = {INFINITY, 0, INFINITY};
    float none[2] = {NAN, -INFINITY};
    struct gen_logprob lp;

    (void)state;
    sample_logprobs(x, 5, 0, 20, &lp);
    assert_true(lp.logprob == SAMPLE_LOGPROB_NONE);
    assert_int_equal(lp.n_top, 3);
    assert_int_equal(lp.top[0].id, 1);
    assert_int_equal(lp.top[1].id, 3);
    assert_true(fabsf(lp.top[0].logprob - -0.6931472f) < 1e-6f);
    assert_true(lp.top[2].logprob == SAMPLE_LOGPROB_NONE);
    sample_logprobs(x, 5, 5, 0, &lp);
    assert_true(lp.logprob == SAMPLE_LOGPROB_NONE && lp.n_top == 0);
    sample_logprobs(x, 5, -1, 0, &lp);
    assert_true(lp.logprob == SAMPLE_LOGPROB_NONE);
    sample_logprobs(inf, 3, 2, 3, &lp);
    assert_true(fabsf(lp.logprob - -0.6931472f) < 1e-6f);
    assert_true(lp.n_top == 3 && lp.top[1].id == 2 && lp.top[2].id == 1);
    assert_true(lp.top[2].logprob == SAMPLE_LOGPROB_NONE);
    sample_logprobs(none, 2, 0, 2, &lp);
    assert_true(lp.logprob == SAMPLE_LOGPROB_NONE && lp.n_top == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_support),
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_bias),
        cmocka_unit_test(test_penalties),
        cmocka_unit_test(test_long_history),
        cmocka_unit_test(test_mask),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_recompute),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_not_a_number),
        cmocka_unit_test(test_logprobs),
        cmocka_unit_test(test_logprobs_hostile),
    };

    return cmocka_run_group_tests_name("sample", tests, NULL, NULL);
}
