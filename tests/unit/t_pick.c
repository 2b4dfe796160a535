/* t_pick.c - Choosing a target: who may be chosen, what each strategy shares
 * out, and how quick a target seems. Virtual time and seeded numbers. */
#include "serve/pick.h"

#include "unit/cmocka_all.h"

#include <pthread.h>
#include <stdlib.h>

#define STRATEGIES 4

/* A generator with a state of its own (SplitMix64). */
static uint64_t next_random(uint64_t *seed)
{
    uint64_t x = *seed += UINT64_C(0x9E3779B97F4A7C15);

    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

static size_t pick(enum conf_strategy how, const struct pick_view *v, size_t n,
                   uint64_t *seed)
{
    const uint64_t key = next_random(seed);

    return pick_target(how, v, n, key, next_random(seed));
}

/* --- who may be chosen --------------------------------------------------- */

static void none_is_chosen_when_all_are_out(void **state)
{
    const struct pick_view v[] = {{.out = true, .weight = 1}, {.out = true}};
    uint64_t seed = 1;

    (void)state;
    for (int how = 0; how < STRATEGIES; how++) {
        assert_int_equal(pick((enum conf_strategy)how, v, 0, &seed), 0);
        assert_int_equal(pick((enum conf_strategy)how, v, 2, &seed), 2);
    }
}

/* Each row: views of which only the one at <only> may be chosen, whatever the
 * strategy. */
static void the_best_kind_goes_first(void **state)
{
    static const struct {
        struct pick_view v[3];
        size_t only;
    } rows[] = {
        {{{.out = true, .weight = 9}, {.weight = 1}, {.out = true}}, 1},
        {{{.weight = 0}, {.weight = 1, .in_flight = 50}, {.weight = 0}}, 1},
        {{{.weight = 0}, {.out = true, .weight = 5}, {.out = true}}, 0},
        {{{.weight = 5, .in_flight = 2, .limit = 2},
          {.weight = 5, .in_flight = 9, .limit = 9},
          {.weight = 1, .in_flight = 1, .limit = 2}},
         2},
        /* Those with a weight are waited for, not passed over. */
        {{{.weight = 0}, {.weight = 1, .in_flight = 3, .limit = 2}}, 1},
        {{{.weight = 0, .in_flight = 1, .limit = 1},
          {.out = true},
          {.weight = 0, .in_flight = 7}},
         2},
    };
    uint64_t seed = 2;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        for (int how = 0; how < STRATEGIES; how++)
            for (int k = 0; k < 200; k++) {
                const size_t n = i == 4 ? 2 : 3;

                assert_int_equal(
                    pick((enum conf_strategy)how, rows[i].v, n, &seed),
                    rows[i].only);
            }
}

/* --- weighted ------------------------------------------------------------ */

static void weights_share_the_requests(void **state)
{
    const struct pick_view v[] = {
        {.weight = 3}, {.weight = 0}, {.weight = 1}, {.weight = 6}};
    uint64_t count[4] = {0};

    (void)state;
    /* Random numbers that are spread evenly: the shares are exact. */
    for (uint64_t i = 0; i < 1000; i++)
        count[pick_target(CONF_STRATEGY_WEIGHTED, v, 4, 0,
                          UINT64_MAX / 1000 * i + 12345)]++;
    assert_int_equal(count[0], 300);
    assert_int_equal(count[1], 0);
    assert_int_equal(count[2], 100);
    assert_int_equal(count[3], 600);
    assert_int_equal(pick_target(CONF_STRATEGY_WEIGHTED, v, 4, 0, 0), 0);
    assert_int_equal(pick_target(CONF_STRATEGY_WEIGHTED, v, 4, 0, UINT64_MAX),
                     3);
}

static void targets_without_weights_share_evenly(void **state)
{
    const struct pick_view v[4] = {{.weight = 0}};
    uint64_t count[4] = {0};

    (void)state;
    for (uint64_t i = 0; i < 1000; i++)
        count[pick_target(CONF_STRATEGY_WEIGHTED, v, 4, 0,
                          UINT64_MAX / 1000 * i)]++;
    for (size_t i = 0; i < 4; i++)
        assert_in_range(count[i], 249, 251);
}

/* --- least in flight ----------------------------------------------------- */

static void the_one_with_the_fewest_is_taken(void **state)
{
    uint64_t seed = 3;

    (void)state;
    for (int round = 0; round < 2000; round++) {
        struct pick_view v[5];
        uint64_t least = UINT64_MAX;
        size_t at;

        for (size_t i = 0; i < 5; i++) {
            v[i] = (struct pick_view){.weight = 1,
                                      .in_flight = next_random(&seed) % 6};
            least = v[i].in_flight < least ? v[i].in_flight : least;
        }
        at = pick(CONF_STRATEGY_LEAST_IN_FLIGHT, v, 5, &seed);
        assert_int_equal(v[at].in_flight, least);
    }
}

static void equals_are_taken_in_turn_by_chance(void **state)
{
    const struct pick_view v[] = {{.weight = 1, .in_flight = 2},
                                  {.weight = 1, .in_flight = 9},
                                  {.weight = 1, .in_flight = 2},
                                  {.weight = 1, .in_flight = 2}};
    uint64_t count[4] = {0};

    (void)state;
    for (uint64_t i = 0; i < 900; i++)
        count[pick_target(CONF_STRATEGY_LEAST_IN_FLIGHT, v, 4, 0,
                          UINT64_MAX / 900 * i + 9)]++;
    assert_in_range(count[0], 299, 301);
    assert_int_equal(count[1], 0);
    assert_in_range(count[2], 299, 301);
    assert_in_range(count[3], 299, 301);
}

/* Requests that never end are shared by weight at each moment. */
static void weights_share_what_is_in_flight(void **state)
{
    struct pick_view v[] = {{.weight = 1}, {.weight = 2}, {.weight = 5}};
    uint64_t seed = 4;

    (void)state;
    for (int i = 0; i < 800; i++)
        v[pick(CONF_STRATEGY_LEAST_IN_FLIGHT, v, 3, &seed)].in_flight++;
    assert_in_range(v[0].in_flight, 99, 101);
    assert_in_range(v[1].in_flight, 199, 201);
    assert_in_range(v[2].in_flight, 499, 501);
}

/* --- latency ------------------------------------------------------------- */

static uint64_t latency_at(const struct pick_pace *p, uint64_t now_ms)
{
    struct pick_view v = {.weight = 1};

    pick_pace_see(p, now_ms, &v);
    return v.latency_us;
}

static void an_estimate_rises_at_once_and_falls_in_time(void **state)
{
    struct pick_pace p = {.load = 0};

    (void)state;
    assert_int_equal(latency_at(&p, 77), 0);
    pick_pace_note(&p, 1000, 1, 1000);
    assert_int_equal(latency_at(&p, 1000), 1000);
    pick_pace_note(&p, 9000, 1, 1000);
    assert_int_equal(latency_at(&p, 1000), 5000);
    pick_pace_note(&p, 9000, 1, 1001);
    assert_int_equal(latency_at(&p, 1001), 7000);
    /* One sample after a half-life is believed by half. */
    pick_pace_note(&p, 1000, 1, 1001 + PICK_FALL_HALF_MS);
    assert_int_equal(latency_at(&p, 1001 + PICK_FALL_HALF_MS), 4000);
    pick_pace_note(&p, 1000, 1, 1001 + 3 * PICK_FALL_HALF_MS);
    assert_int_equal(latency_at(&p, 1001 + 3 * PICK_FALL_HALF_MS), 1750);
}

/* How often it is told makes no difference to how fast it falls, but for
 * roundings. */
static void samples_count_by_time_not_by_number(void **state)
{
    static const uint64_t gaps_ms[] = {1, 2, 7, 50, 500};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(gaps_ms); i++) {
        struct pick_pace p = {.load = 0};

        pick_pace_note(&p, 1010000, 1, 0);
        for (uint64_t ms = gaps_ms[i]; ms <= 2 * PICK_FALL_HALF_MS;
             ms += gaps_ms[i])
            for (int k = 0; k < 3; k++)
                pick_pace_note(&p, 10000, 1, ms);
        assert_in_range(latency_at(&p, 2 * PICK_FALL_HALF_MS), 255000, 265000);
    }
}

/* Nothing is left over when samples are frequent and differences small. */
static void it_arrives_at_what_is_so(void **state)
{
    struct pick_pace p = {.load = 0};

    (void)state;
    pick_pace_note(&p, 3000, 1, 0);
    for (uint64_t ms = 1; ms <= 10 * PICK_FALL_HALF_MS; ms++)
        pick_pace_note(&p, 1000, 1, ms);
    assert_in_range(latency_at(&p, 10 * PICK_FALL_HALF_MS), 1000, 1003);
}

static void what_is_not_heard_of_fades(void **state)
{
    struct pick_pace p = {.load = 0};

    (void)state;
    pick_pace_note(&p, 800000, 5, 5);
    assert_int_equal(latency_at(&p, 5), 800000);
    assert_int_equal(latency_at(&p, 5 + PICK_IDLE_HALF_MS), 400000);
    assert_int_equal(latency_at(&p, 5 + 3 * PICK_IDLE_HALF_MS), 100000);
    assert_in_range(latency_at(&p, 5 + PICK_IDLE_HALF_MS / 2), 565000, 566000);
    for (uint64_t ms = 6, was = 800000; ms < 400000; ms += 97) {
        const uint64_t now = latency_at(&p, ms);

        assert_true(now <= was && now > 0);
        was = now;
    }
    assert_int_equal(latency_at(&p, 5 + 100 * PICK_IDLE_HALF_MS), 1);
    /* A clock that is behind sees what was noted. */
    assert_int_equal(latency_at(&p, 2), 800000);
}

static void times_may_wrap(void **state)
{
    struct pick_pace p = {.load = 0};
    const uint64_t at = (UINT64_C(1) << 32) - 2;

    (void)state;
    pick_pace_note(&p, 5000, 1, at);
    assert_int_equal(latency_at(&p, at + PICK_IDLE_HALF_MS), 2500);
    pick_pace_note(&p, UINT64_MAX, UINT64_MAX, at + 5);
    assert_true(latency_at(&p, at + 5) > 1000000000);
    pick_pace_note(&p, 0, 0, at + 6);
    assert_true(latency_at(&p, at + 6) > 1000000000);
}

#define THREADS 4

static void *note_some(void *arg)
{
    struct pick_view v = {.weight = 1};

    for (uint64_t i = 0; i < 20000; i++) {
        pick_pace_note(arg, 1000 + i % 100, 1 + i % 8, i / 10);
        pick_pace_see(arg, i / 10, &v);
        if (v.latency_us < 900 || v.latency_us > 1100 ||
            v.load > 8 * PICK_LOAD_PARTS)
            return arg;
    }
    return NULL;
}

/* What threads note at once is some of it, never a mixture. */
static void threads_share_a_pace_without_a_lock(void **state)
{
    struct pick_pace p = {.load = 0};
    pthread_t thread[THREADS];
    void *wrong;

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, note_some, &p), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], &wrong), 0);
        assert_null(wrong);
    }
}

/* The worst of several is never the better of two. */
static void the_slowest_is_not_taken(void **state)
{
    struct pick_view v[5];
    uint64_t count[5] = {0}, seed = 6;

    (void)state;
    for (size_t i = 0; i < 5; i++)
        v[i] = (struct pick_view){.weight = 1, .latency_us = 1000 * (i + 1)};
    for (int i = 0; i < 10000; i++)
        count[pick(CONF_STRATEGY_LATENCY, v, 5, &seed)]++;
    assert_int_equal(count[4], 0);
    /* Of 20 ordered pairs the quickest is in 8, the next in 6 without it. */
    assert_in_range(count[0], 3800, 4200);
    assert_in_range(count[1], 2800, 3200);
    assert_in_range(count[2], 1800, 2200);
    assert_in_range(count[3], 850, 1150);
}

static void busyness_that_was_measured_is_not_counted_twice(void **state)
{
    struct pick_view v[] = {
        {.weight = 1,
         .latency_us = 100,
         .in_flight = 49,
         .load = 50 * PICK_LOAD_PARTS},
        {.weight = 1, .latency_us = 1000, .in_flight = 0, .load = 0}};
    uint64_t seed = 7;

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(pick(CONF_STRATEGY_LATENCY, v, 2, &seed), 0);
    /* Ten times as many as usual: it hangs. */
    v[0].in_flight = 600;
    for (int i = 0; i < 100; i++)
        assert_int_equal(pick(CONF_STRATEGY_LATENCY, v, 2, &seed), 1);
    /* Less than usual makes nobody quicker than it ever was. */
    v[0] = (struct pick_view){.weight = 1, .latency_us = 100};
    v[1].load = 50 * PICK_LOAD_PARTS;
    for (int i = 0; i < 100; i++)
        assert_int_equal(pick(CONF_STRATEGY_LATENCY, v, 2, &seed), 0);
}

static void one_request_finds_out_about_the_unknown(void **state)
{
    struct pick_view v[] = {{.weight = 1, .latency_us = 100, .in_flight = 3},
                            {.weight = 1, .latency_us = 0, .in_flight = 0}};
    uint64_t seed = 8;

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(pick(CONF_STRATEGY_LATENCY, v, 2, &seed), 1);
    v[1].in_flight = 1;
    for (int i = 0; i < 100; i++)
        assert_int_equal(pick(CONF_STRATEGY_LATENCY, v, 2, &seed), 0);
}

/* --- a run of requests in virtual time ----------------------------------- */

#define SIM_TARGETS 3
#define SIM_OPEN    4096

/* A request under way. */
struct flight {
    uint64_t end_us, start_us;
    size_t target;
    uint64_t in_flight;
};

struct sim {
    struct pick_view v[SIM_TARGETS];
    struct pick_pace pace[SIM_TARGETS];
    uint64_t latency_us[SIM_TARGETS]; /* UINT64_MAX: hangs */
    struct flight open[SIM_OPEN];
    size_t n_open, n;
    uint64_t sent[SIM_TARGETS];
    uint64_t now_us, seed;
};

static void sim_end(struct sim *s, size_t i)
{
    const struct flight f = s->open[i];

    s->open[i] = s->open[--s->n_open];
    s->v[f.target].in_flight--;
    pick_pace_note(&s->pace[f.target], f.end_us - f.start_us, f.in_flight,
                   f.end_us / 1000);
}

static void sim_ends(struct sim *s)
{
    for (;;) {
        size_t first = s->n_open;

        for (size_t i = 0; i < s->n_open; i++)
            if (s->open[i].end_us <= s->now_us &&
                (first == s->n_open ||
                 s->open[i].end_us < s->open[first].end_us))
                first = i;
        if (first == s->n_open)
            return;
        sim_end(s, first);
    }
}

static void sim_send(struct sim *s)
{
    size_t t;
    uint64_t l;

    sim_ends(s);
    for (size_t i = 0; i < s->n; i++)
        pick_pace_see(&s->pace[i], s->now_us / 1000, &s->v[i]);
    t = pick(CONF_STRATEGY_LATENCY, s->v, s->n, &s->seed);
    l = s->latency_us[t];
    s->sent[t]++;
    s->v[t].in_flight++;
    assert_true(s->n_open < SIM_OPEN);
    /* Give or take a tenth. */
    s->open[s->n_open++] =
        (struct flight){l == UINT64_MAX ? l
                                        : s->now_us + l - l / 10 +
                                              next_random(&s->seed) % (l / 5),
                        s->now_us, t, s->v[t].in_flight};
}

/* <n> requests, one each <gap_us>. */
static void sim_run(struct sim *s, uint64_t n, uint64_t gap_us)
{
    for (uint64_t i = 0; i < n; i++) {
        s->now_us += gap_us;
        sim_send(s);
    }
}

static void sim_init(struct sim *s, size_t n, uint64_t first_us,
                     uint64_t others_us)
{
    *s = (struct sim){.n = n, .now_us = 1000000, .seed = 11};
    for (size_t i = 0; i < n; i++) {
        s->v[i].weight = 1;
        s->latency_us[i] = i == 0 ? first_us : others_us;
    }
}

/* At any rate, from the first request on, so few go to one that is ten times
 * slower that the 99th percentile is the quick one's. */
static void a_target_ten_times_slower_is_left_alone(void **state)
{
    static const uint64_t gaps_us[] = {1000, 5000, 20000, 50000};
    static struct sim s;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(gaps_us); i++) {
        sim_init(&s, 2, 50000, 500000);
        sim_run(&s, 60000000 / gaps_us[i], gaps_us[i]);
        if (s.sent[1] * 100 >= s.sent[0] + s.sent[1])
            fail_msg("gap %llu us: %llu of %llu went to the slow one",
                     (unsigned long long)gaps_us[i],
                     (unsigned long long)s.sent[1],
                     (unsigned long long)(s.sent[0] + s.sent[1]));
        assert_true(s.sent[1] > 0);
    }
}

/* After a silence that leaves little of what was known, one request finds out;
 * the others do not go there before it is back. */
static void one_request_finds_out(void **state)
{
    static struct sim s;

    (void)state;
    for (uint64_t silence_us = 0; silence_us <= 60000000;
         silence_us += 5000000) {
        sim_init(&s, 2, 20000, 200000);
        sim_run(&s, 200, 50000);
        s.now_us += silence_us;
        s.sent[1] = 0;
        sim_run(&s, 400, 50000);
        assert_in_range(s.sent[1], 0, 2);
    }
}

static void equals_share_the_requests(void **state)
{
    static struct sim s;

    (void)state;
    sim_init(&s, 2, 50000, 50000);
    sim_run(&s, 20000, 5000);
    assert_in_range(s.sent[0], 8000, 12000);
}

static void who_slows_down_is_left_and_found_again(void **state)
{
    static struct sim s;

    (void)state;
    sim_init(&s, 2, 50000, 200000);
    sim_run(&s, 2000, 5000);
    /* The quick one is slow: the other takes over within a few replies. */
    s.latency_us[0] = 2000000;
    sim_run(&s, 500, 5000);
    s.sent[0] = s.sent[1] = 0;
    sim_run(&s, 2000, 5000);
    assert_true(s.sent[0] * 20 < s.sent[1]);
    /* And quick again: it has its requests back within a minute. */
    s.latency_us[0] = 50000;
    sim_run(&s, 12000, 5000);
    s.sent[0] = s.sent[1] = 0;
    sim_run(&s, 2000, 5000);
    assert_true(s.sent[1] * 20 < s.sent[0]);
}

static void who_hangs_is_left_without_a_word_from_it(void **state)
{
    static struct sim s;

    (void)state;
    sim_init(&s, 2, 50000, 200000);
    sim_run(&s, 4000, 5000);
    s.latency_us[0] = UINT64_MAX;
    s.sent[0] = s.sent[1] = 0;
    sim_run(&s, 2000, 5000);
    assert_true(s.sent[0] * 4 < s.sent[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_is_chosen_when_all_are_out),
        cmocka_unit_test(the_best_kind_goes_first),
        cmocka_unit_test(weights_share_the_requests),
        cmocka_unit_test(targets_without_weights_share_evenly),
        cmocka_unit_test(the_one_with_the_fewest_is_taken),
        cmocka_unit_test(equals_are_taken_in_turn_by_chance),
        cmocka_unit_test(weights_share_what_is_in_flight),
        cmocka_unit_test(an_estimate_rises_at_once_and_falls_in_time),
        cmocka_unit_test(samples_count_by_time_not_by_number),
        cmocka_unit_test(it_arrives_at_what_is_so),
        cmocka_unit_test(what_is_not_heard_of_fades),
        cmocka_unit_test(times_may_wrap),
        cmocka_unit_test(threads_share_a_pace_without_a_lock),
        cmocka_unit_test(the_slowest_is_not_taken),
        cmocka_unit_test(busyness_that_was_measured_is_not_counted_twice),
        cmocka_unit_test(one_request_finds_out_about_the_unknown),
        cmocka_unit_test(a_target_ten_times_slower_is_left_alone),
        cmocka_unit_test(one_request_finds_out),
        cmocka_unit_test(equals_share_the_requests),
        cmocka_unit_test(who_slows_down_is_left_and_found_again),
        cmocka_unit_test(who_hangs_is_left_without_a_word_from_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
