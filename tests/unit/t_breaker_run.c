/* t_breaker_run.c - The breaker over time: whatever happens to it, a provider
 * that is down for a while, and threads that share it. */
#include "serve/breaker.h"

#include "unit/cmocka_all.h"

#include <stdlib.h>

static const struct breaker_rules rules = {
    .failures = 5, .window_ms = 30000, .open_ms = 15000};

#define T0 UINT64_C(1000000)

static enum breaker_state state_at(struct breaker *b, uint64_t now_ms)
{
    struct breaker_view v;

    breaker_see(b, now_ms, &v);
    return v.state;
}

/* A breaker to which things happen, and what it has said so far. */
struct tale {
    struct breaker b;
    struct breaker_pass pass[8];
    bool used[8];
    uint64_t now, until, probe_by;
    unsigned seed;
};

static void tale_enter(struct tale *t, unsigned k)
{
    t->used[k] = breaker_enter(&t->b, &rules, t->now, &t->pass[k]);
    if (!t->used[k])
        return;
    assert_true(t->now >= t->until);
    if (!t->pass[k].probe)
        return;
    assert_true(t->now >= t->probe_by);
    t->probe_by = t->now + rules.open_ms;
}

static void tale_leave(struct tale *t, unsigned k)
{
    const unsigned word = (unsigned)rand_r(&t->seed) % 6;
    const enum breaker_event event = breaker_leave(
        &t->b, &rules, &t->pass[k],
        word > BREAKER_BAD ? BREAKER_BAD : (enum breaker_word)word, t->now);

    t->used[k] = false;
    if (event == BREAKER_SAME)
        return;
    t->probe_by = 0;
    if (event == BREAKER_RECOVERED)
        assert_true(t->pass[k].probe);
    else
        assert_true(breaker_wait_ms(&t->b, t->now) >= rules.open_ms);
}

/* Something happens. */
static void tale_goes_on(struct tale *t)
{
    const unsigned k = (unsigned)rand_r(&t->seed) % 8;
    uint64_t wait_ms;

    t->now += (uint64_t)rand_r(&t->seed) % 3000;
    if (rand_r(&t->seed) % 20 == 0)
        breaker_rest(&t->b, t->now + (uint64_t)rand_r(&t->seed) % 20000);
    else if (t->used[k])
        tale_leave(t, k);
    else
        tale_enter(t, k);
    if (state_at(&t->b, t->now) == BREAKER_HALF_OPEN)
        return;
    wait_ms = breaker_wait_ms(&t->b, t->now);
    assert_true(t->until <= t->now || t->now + wait_ms >= t->until);
    if (wait_ms > 0)
        t->until = t->now + wait_ms;
}

/* Nothing passes while it is shut, waits never shrink, there is one probe in
 * its time, and it closes by a probe alone. */
static void whatever_happens_it_keeps_its_word(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        struct tale t = {.now = T0, .seed = round};

        breaker_init(&t.b);
        for (unsigned i = 0; i < 400; i++)
            tale_goes_on(&t);
        assert_true(t.until > T0);
        breaker_fini(&t.b);
    }
}

/* 500 requests a second at a provider that is down for 30 s. */
static void a_provider_that_is_down_is_left_alone(void **state)
{
    struct breaker b;
    struct breaker_view v;
    const uint64_t down = T0 + 10000, up = down + 30000;
    uint64_t sent_down = 0, opened_ms = 0, recovered_ms = 0, refused = 0;

    (void)state;
    breaker_init(&b);
    for (uint64_t now = T0; now < up + 40000; now += 2) {
        const bool works = now < down || now >= up;
        struct breaker_pass pass;
        enum breaker_event event;

        if (!breaker_enter(&b, &rules, now, &pass)) {
            refused++;
            continue;
        }
        sent_down += !works;
        event = breaker_leave(&b, &rules, &pass,
                              works ? BREAKER_GOOD : BREAKER_BAD, now);
        if (event == BREAKER_OPENED)
            opened_ms = now;
        if (event == BREAKER_RECOVERED)
            recovered_ms = now;
    }
    breaker_see(&b, up + 40000, &v);
    assert_in_range(opened_ms, down, down + 1000);
    assert_in_range(recovered_ms, up, up + rules.open_ms);
    assert_true(sent_down <= rules.failures + 30000 / rules.open_ms);
    assert_true(v.probes <= 1 + 30000 / rules.open_ms);
    assert_int_equal(v.opened, 1);
    assert_true(refused > 10000);
    breaker_fini(&b);
}

/* --- threads ------------------------------------------------------------- */

#define RACERS 4

struct race {
    struct breaker b;
    pthread_barrier_t line;
    _Atomic unsigned probes;
    _Atomic unsigned opened;
};

static void *run_for_it(void *arg)
{
    struct race *r = arg;

    for (unsigned round = 0; round < 200; round++) {
        const uint64_t now = T0 + round * UINT64_C(40000);
        struct breaker_pass pass;

        /* All fail at once: it opens once. */
        pthread_barrier_wait(&r->line);
        for (unsigned i = 0; i < rules.failures; i++)
            if (breaker_enter(&r->b, &rules, now, &pass))
                r->opened += breaker_leave(&r->b, &rules, &pass, BREAKER_BAD,
                                           now) == BREAKER_OPENED;
        pthread_barrier_wait(&r->line);
        /* All may be the probe: one is. */
        if (breaker_enter(&r->b, &rules, now + 20000, &pass) && pass.probe) {
            r->probes++;
            pthread_barrier_wait(&r->line);
            breaker_leave(&r->b, &rules, &pass, BREAKER_GOOD, now + 20000);
        } else {
            pthread_barrier_wait(&r->line);
        }
    }
    return NULL;
}

static void threads_share_one_probe(void **state)
{
    struct race r = {.probes = 0};
    pthread_t thread[RACERS];

    (void)state;
    breaker_init(&r.b);
    assert_int_equal(pthread_barrier_init(&r.line, NULL, RACERS), 0);
    for (unsigned i = 0; i < RACERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, run_for_it, &r), 0);
    for (unsigned i = 0; i < RACERS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_int_equal(r.opened, 200);
    assert_int_equal(r.probes, 200);
    pthread_barrier_destroy(&r.line);
    breaker_fini(&r.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whatever_happens_it_keeps_its_word),
        cmocka_unit_test(a_provider_that_is_down_is_left_alone),
        cmocka_unit_test(threads_share_one_probe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
