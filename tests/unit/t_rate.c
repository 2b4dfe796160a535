/* t_rate.c - Requests that go by the limits of a key and a team: both or none,
 * exact under threads, everything given back at the end, once. */
#include "account/rate.h"

#include "unit/cmocka_all.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "account/bucket.h"
#include "account/key.h"

#define S UINT64_C(1000000)

/* A hold on <key> and <team>, of which the caller keeps its references. */
static struct rate_hold hold_on(struct rate *key, struct rate *team)
{
    struct rate_hold h;

    rate_hold_init(&h, key ? rate_ref(key) : NULL,
                   team ? rate_ref(team) : NULL);
    return h;
}

static struct rate *rate_of(uint64_t rpm, uint64_t tpm, uint64_t parallel)
{
    const struct key_limits l = {rpm, tpm, parallel};
    struct rate *r = rate_new(&l);

    assert_non_null(r);
    return r;
}

static uint64_t left(struct rate *r, enum rate_kind kind, uint64_t now_us)
{
    struct rate_view v;

    rate_see(r, now_us, &v);
    return v.of[kind].left;
}

static void both_or_none(void **state)
{
    struct rate *key = rate_of(10, 100, 2), *team = rate_of(3, 50, 0);
    struct rate_hold h[4];
    struct rate_refusal why;

    (void)state;
    for (int i = 0; i < 4; i++)
        h[i] = hold_on(key, team);
    assert_true(rate_enter(&h[0], S, &why));
    assert_true(rate_enter(&h[1], S, &why));
    assert_false(rate_enter(&h[2], S, &why)); /* the key's two places */
    assert_int_equal(why.kind, RATE_PARALLEL);
    assert_false(why.of_team);
    assert_int_equal(why.limit, 2);
    assert_int_equal(left(team, RATE_REQUESTS, S), 1); /* not the team's */
    rate_end(&h[0], 0, S);
    assert_true(rate_enter(&h[2], S, &why));
    rate_end(&h[1], 0, S);
    assert_false(rate_enter(&h[3], S, &why));
    assert_int_equal(why.kind, RATE_REQUESTS);
    assert_true(why.of_team);
    assert_int_equal(why.wait_ms, 20000);
    assert_int_equal(left(key, RATE_REQUESTS, S), 7);
    assert_int_equal(rate_running(key), 1);
    assert_false(rate_charge(&h[2], 51, S, &why)); /* never the team's */
    assert_true(why.wait_ms == BUCKET_NEVER && why.of_team);
    assert_int_equal(left(key, RATE_TOKENS, S), 100);
    rate_end(&h[2], 0, S);
    rate_end(&h[3], 0, S);
    assert_int_equal(left(key, RATE_REQUESTS, S), 8); /* refused: no request */
    rate_unref(key);
    rate_unref(team);
}

static void the_longest_wait_is_told(void **state)
{
    struct rate *key = rate_of(60, 0, 0), *team = rate_of(6, 0, 1);
    struct rate_hold a = hold_on(key, team), b = hold_on(key, team);
    struct rate_refusal why;

    (void)state;
    assert_true(rate_enter(&a, S, &why));
    assert_false(rate_enter(&b, S, &why));
    assert_int_equal(why.kind, RATE_PARALLEL);
    assert_int_equal(why.wait_ms, RATE_PARALLEL_WAIT_MS);
    rate_end(&a, 0, S);
    for (int i = 0; i < 5; i++) {
        a = hold_on(NULL, team);
        assert_true(rate_enter(&a, S, &why));
        rate_end(&a, 0, S);
    }
    a = hold_on(key, NULL);
    assert_true(rate_enter(&a, S, &why));
    assert_false(rate_enter(&b, S, &why));
    assert_int_equal(why.wait_ms, 10000);
    rate_end(&a, 0, S);
    rate_end(&b, 0, S);
    rate_unref(key);
    rate_unref(team);
}

static void charges_are_corrected(void **state)
{
    struct rate *key = rate_of(0, 1000, 0);
    struct rate_hold a = hold_on(key, NULL), b = hold_on(key, NULL);
    struct rate_refusal why;

    (void)state;
    assert_true(rate_counts_tokens(&a));
    assert_true(rate_enter(&a, S, &why));
    assert_true(rate_charge(&a, 600, S, &why));
    assert_true(rate_enter(&b, S, &why));
    assert_false(rate_charge(&b, 500, S, &why));
    assert_int_equal(why.kind, RATE_TOKENS);
    assert_int_equal(why.wait_ms, 6000);
    rate_end(&b, 0, S);
    rate_end(&a, 100, S); /* it used less */
    assert_int_equal(left(key, RATE_TOKENS, S), 900);
    a = hold_on(key, NULL);
    assert_true(rate_enter(&a, S, &why));
    assert_true(rate_charge(&a, 10, S, &why));
    rate_end(&a, 2900, S); /* it used more than there was: 2000 are owed */
    assert_int_equal(left(key, RATE_TOKENS, S), 0);
    assert_int_equal(left(key, RATE_TOKENS, 121 * S), 0);
    assert_int_equal(left(key, RATE_TOKENS, 181 * S), 1000);
    rate_unref(key);
}

static void the_end_comes_once(void **state)
{
    struct rate *key = rate_of(5, 0, 1);
    struct rate_hold h = hold_on(key, NULL), other = hold_on(key, NULL);
    struct rate_hold nothing = {.tokens = 0};
    struct rate_refusal why;

    (void)state;
    assert_true(rate_enter(&h, S, &why));
    rate_end(&h, 7, S);
    rate_end(&h, 7, S);
    rate_end(&nothing, 7, S);
    assert_int_equal(rate_running(key), 0);
    assert_true(rate_enter(&other, S, &why));
    rate_end(&h, 7, S);
    assert_int_equal(rate_running(key), 1);
    rate_end(&other, 7, S);
    h = hold_on(key, NULL);
    rate_end(&h, 7, S); /* never entered */
    assert_int_equal(rate_running(key), 0);
    assert_int_equal(left(key, RATE_REQUESTS, S), 3);
    rate_unref(key);
}

static void a_change_holds_at_once(void **state)
{
    struct rate *key = rate_of(0, 0, 0);
    struct rate_hold h[3];
    struct rate_refusal why;
    struct rate_view v;

    (void)state;
    for (int i = 0; i < 3; i++)
        h[i] = hold_on(key, NULL);
    assert_false(rate_counts_tokens(&h[0]));
    assert_true(rate_enter(&h[0], S, &why));
    assert_true(rate_enter(&h[1], S, &why));
    rate_view(&h[0], S, &v);
    assert_false(v.is_limited);
    /* those that run count against a limit that comes later */
    rate_set(key, &(struct key_limits){.parallel = 2, .tpm = 100}, S);
    rate_view(&h[0], S, &v);
    assert_true(v.is_limited);
    assert_int_equal(v.of[RATE_TOKENS].limit, 100);
    assert_int_equal(v.of[RATE_REQUESTS].limit, 0);
    assert_false(rate_enter(&h[2], S, &why));
    rate_set(key, &(struct key_limits){.parallel = 3, .tpm = 100}, S);
    assert_true(rate_enter(&h[2], S, &why));
    rate_end(&h[0], 30, S); /* not charged, used all the same */
    assert_int_equal(left(key, RATE_TOKENS, S), 70);
    rate_end(&h[1], 0, S);
    rate_end(&h[2], 0, S);
    assert_int_equal(rate_running(key), 0);
    rate_unref(key);
}

/* ---- a model ----------------------------------------------------------- */

#define PARTS INT64_C(60000000)
#define KEYS  3
#define HOLDS 12
#define ACTS  200000

/* What a rate should be: levels in parts of a unit, below zero when owed. */
struct model {
    struct key_limits limits;
    __int128 requests, tokens;
    uint64_t running;
};

static void flow(__int128 *level, uint64_t limit, uint64_t us)
{
    const __int128 full = (__int128)limit * PARTS;

    *level += (__int128)limit * (int64_t)us;
    if (*level > full)
        *level = full;
}

/* Keys 0.. of one team, which is the last; requests of them under way. */
struct world {
    struct rate *rate[KEYS + 1];
    struct model model[KEYS + 1];
    struct rate_hold hold[HOLDS];
    int key[HOLDS]; /* -1: not under way */
    uint64_t now_us;
    unsigned seed;
    unsigned passed, refused;
};

static bool may_enter(const struct model *m)
{
    return m->requests >= PARTS &&
           (m->limits.parallel == 0 || m->running < m->limits.parallel);
}

static void try_enter(struct world *w, int i)
{
    const int k = rand_r(&w->seed) % KEYS;
    struct model *m[2] = {&w->model[k], &w->model[KEYS]};
    struct rate_refusal why;

    w->hold[i] = hold_on(w->rate[k], w->rate[KEYS]);
    const bool want = may_enter(m[0]) && may_enter(m[1]);
    assert_int_equal(rate_enter(&w->hold[i], w->now_us, &why), want);
    if (!want) {
        w->refused++;
        rate_end(&w->hold[i], 0, w->now_us);
        return;
    }
    w->passed++;
    w->key[i] = k;
    for (int j = 0; j < 2; j++) {
        m[j]->requests -= PARTS;
        m[j]->running++;
    }
}

/* Charge and end hold <i>, or end it without. */
static void try_end(struct world *w, int i)
{
    struct model *m[2] = {&w->model[w->key[i]], &w->model[KEYS]};
    const __int128 ask = rand_r(&w->seed) % 300, used = rand_r(&w->seed) % 300;
    struct rate_refusal why;
    bool fits = true;

    for (int j = 0; j < 2; j++)
        fits = fits && m[j]->tokens >= ask * PARTS;
    if (rand_r(&w->seed) % 4 != 0)
        assert_int_equal(
            rate_charge(&w->hold[i], (uint64_t)ask, w->now_us, &why), fits);
    else
        fits = true;
    const bool refused = w->hold[i].refused;
    rate_end(&w->hold[i], refused ? 0 : (uint64_t)used, w->now_us);
    for (int j = 0; j < 2; j++) {
        m[j]->running--;
        if (refused)
            m[j]->requests += PARTS;
        else
            m[j]->tokens -= used * PARTS;
        flow(&m[j]->requests, m[j]->limits.rpm, 0);
        flow(&m[j]->tokens, m[j]->limits.tpm, 0);
    }
    w->key[i] = -1;
}

static void act(struct world *w)
{
    const int i = rand_r(&w->seed) % HOLDS;
    const uint64_t us = (uint64_t)(rand_r(&w->seed) % 100000);

    w->now_us += us;
    for (int k = 0; k <= KEYS; k++) {
        flow(&w->model[k].requests, w->model[k].limits.rpm, us);
        flow(&w->model[k].tokens, w->model[k].limits.tpm, us);
    }
    if (w->key[i] < 0)
        try_enter(w, i);
    else
        try_end(w, i);
}

/* Every answer is that of the model; nothing is left at the end. */
static void answers_are_the_models(void **state)
{
    struct world w = {.now_us = 1, .seed = 3};

    (void)state;
    for (int k = 0; k <= KEYS; k++) {
        struct model *m = &w.model[k];

        m->limits = k < KEYS ? (struct key_limits){300, 60000, 3}
                             : (struct key_limits){500, 100000, 7};
        m->requests = (__int128)m->limits.rpm * PARTS;
        m->tokens = (__int128)m->limits.tpm * PARTS;
        w.rate[k] = rate_of(0, 0, 0);
        rate_set(w.rate[k], &m->limits, w.now_us);
    }
    for (int i = 0; i < HOLDS; i++)
        w.key[i] = -1;
    for (int i = 0; i < ACTS; i++)
        act(&w);
    assert_true(w.passed > ACTS / 20);
    assert_true(w.refused > ACTS / 20);
    for (int i = 0; i < HOLDS; i++)
        rate_end(&w.hold[i], 0, w.now_us);
    for (int k = 0; k <= KEYS; k++) {
        assert_int_equal(rate_running(w.rate[k]), 0);
        rate_unref(w.rate[k]);
    }
}

/* ---- threads ----------------------------------------------------------- */

#define THREADS 8
#define ROUNDS  4000

struct crowd {
    struct rate *key, *team;
    atomic_uint passed;
    atomic_int inside;
    atomic_int most;
    unsigned seed;
};

static void *knock(void *arg)
{
    struct crowd *c = arg;
    struct rate_refusal why;

    for (int i = 0; i < ROUNDS; i++) {
        struct rate_hold h = hold_on(c->key, c->team);

        if (rate_enter(&h, S, &why))
            atomic_fetch_add(&c->passed, 1);
        rate_end(&h, 0, S);
    }
    return NULL;
}

static void run_all(void *(*f)(void *), struct crowd *c)
{
    pthread_t t[THREADS];

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, f, c), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
}

static void a_crowd_gets_the_limit_exactly(void **state)
{
    struct crowd c = {.key = rate_of(37, 0, 0), .team = rate_of(0, 0, 0)};

    (void)state;
    run_all(knock, &c);
    assert_int_equal(c.passed, 37);
    rate_unref(c.key);
    c.key = rate_of(1000, 0, 0);
    rate_set(c.team, &(struct key_limits){.rpm = 41}, S);
    c.passed = 0;
    run_all(knock, &c);
    assert_int_equal(c.passed, 41);
    assert_int_equal(left(c.key, RATE_REQUESTS, S), 1000 - 41);
    assert_int_equal(rate_running(c.key) + rate_running(c.team), 0);
    rate_unref(c.key);
    rate_unref(c.team);
}

/* Enter, stay for a while, charge, leave, while limits change. */
static void *live(void *arg)
{
    struct crowd *c = arg;
    unsigned seed = atomic_fetch_add(&c->passed, 1);
    struct rate_refusal why;

    for (int i = 0; i < ROUNDS; i++) {
        struct rate_hold h = hold_on(c->key, c->team);

        if (rand_r(&seed) % 64 == 0)
            rate_set(c->team, &(struct key_limits){.tpm = 500 + i}, S);
        if (rate_enter(&h, S, &why)) {
            int n = atomic_fetch_add(&c->inside, 1) + 1;
            int most = atomic_load(&c->most);

            while (n > most &&
                   !atomic_compare_exchange_weak(&c->most, &most, n))
                continue;
            (void)rate_charge(&h, (uint64_t)(rand_r(&seed) % 50), S, &why);
            atomic_fetch_sub(&c->inside, 1);
        }
        rate_end(&h, h.tokens, S + (uint64_t)i * 1000);
    }
    return NULL;
}

static void never_more_at_once_and_none_left(void **state)
{
    struct crowd c = {.key = rate_of(0, 0, 5), .team = rate_of(0, 1000, 0)};

    (void)state;
    run_all(live, &c);
    assert_in_range(c.most, 1, 5);
    assert_int_equal(rate_running(c.key), 0);
    assert_int_equal(rate_running(c.team), 0);
    rate_unref(c.key);
    rate_unref(c.team);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_or_none),
        cmocka_unit_test(the_longest_wait_is_told),
        cmocka_unit_test(charges_are_corrected),
        cmocka_unit_test(the_end_comes_once),
        cmocka_unit_test(a_change_holds_at_once),
        cmocka_unit_test(answers_are_the_models),
        cmocka_unit_test(a_crowd_gets_the_limit_exactly),
        cmocka_unit_test(never_more_at_once_and_none_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
