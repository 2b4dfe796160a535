/* t_breaker.c - The breaker: what opens it and what does not, its one probe,
 * and its times. */
#include "serve/breaker.h"

#include "unit/cmocka_all.h"

static const struct breaker_rules rules = {
    .failures = 5, .window_ms = 30000, .open_ms = 15000};

#define T0 UINT64_C(1000000)

static enum breaker_event attempt(struct breaker *b, enum breaker_word word,
                                  uint64_t now_ms)
{
    struct breaker_pass pass;

    assert_true(breaker_enter(b, &rules, now_ms, &pass));
    return breaker_leave(b, &rules, &pass, word, now_ms);
}

static bool is_shut(struct breaker *b, uint64_t now_ms)
{
    struct breaker_pass pass;

    if (breaker_is_ready(b, now_ms))
        return false;
    assert_false(breaker_enter(b, &rules, now_ms, &pass));
    return true;
}

static enum breaker_state state_at(struct breaker *b, uint64_t now_ms)
{
    struct breaker_view v;

    breaker_see(b, now_ms, &v);
    return v.state;
}

/* Fail until it opens, at <now_ms>. */
static void break_it(struct breaker *b, uint64_t now_ms)
{
    for (unsigned i = 1; i < rules.failures; i++)
        assert_int_equal(attempt(b, BREAKER_BAD, now_ms), BREAKER_SAME);
    assert_int_equal(attempt(b, BREAKER_BAD, now_ms), BREAKER_OPENED);
}

static void failures_in_a_row_open_it(void **state)
{
    struct breaker b;

    (void)state;
    breaker_init(&b);
    for (unsigned i = 0; i < 4; i++)
        attempt(&b, BREAKER_BAD, T0);
    attempt(&b, BREAKER_GOOD, T0); /* the row ends */
    break_it(&b, T0 + 1);
    assert_int_equal(state_at(&b, T0 + 1), BREAKER_OPEN);
    assert_true(is_shut(&b, T0 + 1));
    assert_true(is_shut(&b, T0 + 15000));
    assert_int_equal(breaker_wait_ms(&b, T0 + 1), 15000);
    assert_int_equal(breaker_wait_ms(&b, T0 + 15000), 1);
    assert_true(breaker_is_ready(&b, T0 + 15001));
    breaker_fini(&b);
}

static void failures_far_apart_do_not(void **state)
{
    struct breaker b;

    (void)state;
    breaker_init(&b);
    for (uint64_t i = 0; i < 50; i++)
        assert_int_equal(attempt(&b, BREAKER_BAD, T0 + i * 7500), BREAKER_SAME);
    /* Four are in the window; one more at once is the fifth. */
    assert_int_equal(attempt(&b, BREAKER_BAD, T0 + 49 * 7500), BREAKER_OPENED);
    breaker_fini(&b);
}

/* Those before a silence that is as long as the window are forgotten. */
static void failures_before_a_silence_do_not_count(void **state)
{
    struct breaker b;

    (void)state;
    breaker_init(&b);
    for (unsigned i = 0; i < 4; i++)
        attempt(&b, BREAKER_BAD, T0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(attempt(&b, BREAKER_BAD, T0 + 34000), BREAKER_SAME);
    assert_int_equal(attempt(&b, BREAKER_BAD, T0 + 34000), BREAKER_OPENED);
    breaker_fini(&b);
}

static void half_of_many_open_it_in_whatever_order(void **state)
{
    struct breaker b;
    enum breaker_event event = BREAKER_SAME;
    unsigned n = 0;

    (void)state;
    breaker_init(&b);
    for (; event == BREAKER_SAME && n < 1000; n++)
        event = attempt(&b, n % 2 ? BREAKER_BAD : BREAKER_GOOD, T0 + n);
    assert_int_equal(event, BREAKER_OPENED);
    assert_int_equal(n, BREAKER_SHARE_ATTEMPTS);
    breaker_fini(&b);
}

static void less_than_half_of_many_does_not(void **state)
{
    struct breaker b;

    (void)state;
    breaker_init(&b);
    for (unsigned n = 0; n < 100000; n++)
        assert_int_equal(
            attempt(&b, n % 9 < 5 ? BREAKER_GOOD : BREAKER_BAD, T0 + n),
            BREAKER_SAME);
    breaker_fini(&b);
}

static void old_successes_do_not_hide_new_failures(void **state)
{
    struct breaker b;
    unsigned n = 0;

    (void)state;
    breaker_init(&b);
    for (uint64_t i = 0; i < 30000; i++)
        attempt(&b, BREAKER_GOOD, T0 + i);
    /* One in four still succeeds, so that no five fail in a row. */
    while (attempt(&b, n % 4 == 3 ? BREAKER_GOOD : BREAKER_BAD,
                   T0 + 30000 + n) == BREAKER_SAME)
        n++;
    assert_in_range(n, 5000, 25000);
    breaker_fini(&b);
}

static void what_callers_do_never_counts(void **state)
{
    struct breaker b;
    struct breaker_view v;

    (void)state;
    breaker_init(&b);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(attempt(&b, BREAKER_ALIVE, T0), BREAKER_SAME);
        assert_int_equal(attempt(&b, BREAKER_SILENT, T0), BREAKER_SAME);
    }
    breaker_see(&b, T0, &v);
    assert_int_equal(v.attempts, 0);
    /* Nor does it end a row of failures, or thin their share. */
    for (unsigned i = 0; i < 4; i++) {
        attempt(&b, BREAKER_BAD, T0);
        attempt(&b, BREAKER_ALIVE, T0);
        attempt(&b, BREAKER_SILENT, T0);
    }
    assert_int_equal(attempt(&b, BREAKER_BAD, T0), BREAKER_OPENED);
    breaker_fini(&b);
}

static void half_open_admits_one_probe(void **state)
{
    struct breaker b;
    struct breaker_pass pass;
    const uint64_t at = T0 + 15000;

    (void)state;
    breaker_init(&b);
    break_it(&b, T0);
    assert_int_equal(state_at(&b, at - 1), BREAKER_OPEN);
    assert_int_equal(state_at(&b, at), BREAKER_HALF_OPEN);
    assert_true(breaker_enter(&b, &rules, at, &pass));
    assert_true(pass.probe);
    for (uint64_t ms = 0; ms < 15000; ms += 100)
        assert_true(is_shut(&b, at + ms));
    assert_int_equal(state_at(&b, at + 14999), BREAKER_HALF_OPEN);
    assert_int_equal(breaker_leave(&b, &rules, &pass, BREAKER_GOOD, at + 14999),
                     BREAKER_RECOVERED);
    assert_int_equal(state_at(&b, at + 14999), BREAKER_CLOSED);
    /* What failed before is forgotten. */
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(attempt(&b, BREAKER_BAD, at + 14999), BREAKER_SAME);
    breaker_fini(&b);
}

/* What the probe met, and what becomes of it. */
static void the_probe_decides(void **state)
{
    static const struct {
        enum breaker_word word;
        enum breaker_event event;
        enum breaker_state state;
    } rows[] = {
        {BREAKER_GOOD, BREAKER_RECOVERED, BREAKER_CLOSED},
        {BREAKER_ALIVE, BREAKER_RECOVERED, BREAKER_CLOSED},
        {BREAKER_BAD, BREAKER_REOPENED, BREAKER_OPEN},
        {BREAKER_SILENT, BREAKER_REOPENED, BREAKER_OPEN},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct breaker b;
        struct breaker_view v;
        const uint64_t at = T0 + 20000;

        breaker_init(&b);
        break_it(&b, T0);
        assert_int_equal(attempt(&b, rows[i].word, at), rows[i].event);
        breaker_see(&b, at, &v);
        assert_int_equal(v.state, rows[i].state);
        assert_int_equal(v.wait_ms, rows[i].state == BREAKER_OPEN ? 15000 : 0);
        assert_int_equal(v.opened, 1);
        assert_int_equal(v.probes, 1);
        assert_int_equal(v.changed_ms, at);
        breaker_fini(&b);
    }
}

static void a_probe_that_is_never_heard_of_makes_room(void **state)
{
    struct breaker b;
    struct breaker_pass lost, second;
    const uint64_t at = T0 + 15000;

    (void)state;
    breaker_init(&b);
    break_it(&b, T0);
    assert_true(breaker_enter(&b, &rules, at, &lost));
    assert_true(is_shut(&b, at + 14999));
    assert_true(breaker_enter(&b, &rules, at + 15000, &second));
    assert_true(is_shut(&b, at + 15001));
    /* The first is heard of after all. */
    assert_int_equal(breaker_leave(&b, &rules, &lost, BREAKER_GOOD, at + 15002),
                     BREAKER_RECOVERED);
    assert_int_equal(
        breaker_leave(&b, &rules, &second, BREAKER_BAD, at + 15003),
        BREAKER_SAME);
    assert_int_equal(state_at(&b, at + 15003), BREAKER_CLOSED);
    breaker_fini(&b);
}

/* What began before it opened says nothing: neither closes it, nor opens it
 * again after it recovered, nor makes it wait longer. */
static void late_words_do_not_count(void **state)
{
    struct breaker b;
    struct breaker_pass old[12];

    (void)state;
    breaker_init(&b);
    for (size_t i = 0; i < COUNT_OF(old); i++)
        assert_true(breaker_enter(&b, &rules, T0, &old[i]));
    break_it(&b, T0);
    assert_int_equal(breaker_leave(&b, &rules, &old[0], BREAKER_GOOD, T0 + 9),
                     BREAKER_SAME);
    assert_int_equal(state_at(&b, T0 + 9), BREAKER_OPEN);
    for (size_t i = 1; i < 6; i++)
        breaker_leave(&b, &rules, &old[i], BREAKER_BAD, T0 + 14000);
    assert_int_equal(breaker_wait_ms(&b, T0 + 14000), 1000);
    assert_int_equal(attempt(&b, BREAKER_GOOD, T0 + 15000), BREAKER_RECOVERED);
    for (size_t i = 6; i < COUNT_OF(old); i++)
        assert_int_equal(
            breaker_leave(&b, &rules, &old[i], BREAKER_BAD, T0 + 15001),
            BREAKER_SAME);
    assert_int_equal(state_at(&b, T0 + 15001), BREAKER_CLOSED);
    breaker_fini(&b);
}

static void waits_are_only_ever_extended(void **state)
{
    struct breaker b;
    const uint64_t at = T0;

    (void)state;
    breaker_init(&b);
    breaker_rest(&b, at + 60000);
    breaker_rest(&b, at + 2000);
    assert_int_equal(breaker_wait_ms(&b, at), 60000);
    assert_true(is_shut(&b, at + 59999));
    assert_int_equal(state_at(&b, at), BREAKER_CLOSED);
    /* A rest is no fall: no probe afterwards, all may come. */
    assert_int_equal(attempt(&b, BREAKER_GOOD, at + 60000), BREAKER_SAME);
    assert_int_equal(attempt(&b, BREAKER_GOOD, at + 60000), BREAKER_SAME);
    /* Opening for 15 s does not shorten a rest of 40 s; nor does a rest
     * shorten that. */
    break_it(&b, at + 61000);
    breaker_rest(&b, at + 61000 + 1000);
    assert_int_equal(breaker_wait_ms(&b, at + 61000), 15000);
    breaker_rest(&b, at + 61000 + 40000);
    assert_int_equal(breaker_wait_ms(&b, at + 61000), 40000);
    assert_true(is_shut(&b, at + 61000 + 39999));
    assert_int_equal(attempt(&b, BREAKER_BAD, at + 61000 + 40000),
                     BREAKER_REOPENED);
    assert_int_equal(breaker_wait_ms(&b, at + 61000 + 40000), 15000);
    breaker_fini(&b);
}

/* A probe that is answered by a limit closes it, and it rests as it was told
 * to. */
static void a_rest_outlives_a_recovery(void **state)
{
    struct breaker b;
    struct breaker_pass pass;
    const uint64_t at = T0 + 15000;

    (void)state;
    breaker_init(&b);
    break_it(&b, T0);
    assert_true(breaker_enter(&b, &rules, at, &pass));
    breaker_rest(&b, at + 3000);
    assert_int_equal(breaker_leave(&b, &rules, &pass, BREAKER_ALIVE, at),
                     BREAKER_RECOVERED);
    assert_int_equal(breaker_wait_ms(&b, at), 3000);
    assert_true(breaker_is_ready(&b, at + 3000));
    breaker_fini(&b);
}

static void tripping_opens_at_once(void **state)
{
    static const struct breaker_rules never = {.window_ms = 1000};
    struct breaker b;
    struct breaker_pass pass;

    (void)state;
    breaker_init(&b);
    assert_int_equal(breaker_trip(&b, &never, T0), BREAKER_SAME);
    assert_int_equal(breaker_trip(&b, &rules, T0), BREAKER_OPENED);
    assert_int_equal(breaker_trip(&b, &rules, T0 + 1000), BREAKER_SAME);
    assert_int_equal(breaker_wait_ms(&b, T0 + 1000), 14000);
    assert_true(breaker_enter(&b, &rules, T0 + 15000, &pass));
    assert_int_equal(breaker_trip(&b, &rules, T0 + 15000), BREAKER_REOPENED);
    assert_int_equal(breaker_leave(&b, &rules, &pass, BREAKER_BAD, T0 + 15000),
                     BREAKER_SAME);
    assert_int_equal(breaker_wait_ms(&b, T0 + 15000), 15000);
    breaker_fini(&b);
}

static void without_rules_it_never_opens(void **state)
{
    static const struct breaker_rules never = {0};
    struct breaker b;
    struct breaker_pass pass;

    (void)state;
    breaker_init(&b);
    for (unsigned i = 0; i < 1000; i++) {
        assert_true(breaker_enter(&b, &never, T0 + i, &pass));
        assert_int_equal(breaker_leave(&b, &never, &pass, BREAKER_BAD, T0 + i),
                         BREAKER_SAME);
    }
    breaker_fini(&b);
}

static void an_operator_may_close_it(void **state)
{
    struct breaker b;

    (void)state;
    breaker_init(&b);
    break_it(&b, T0);
    breaker_rest(&b, T0 + 100000);
    breaker_reset(&b, T0 + 1);
    assert_true(breaker_is_ready(&b, T0 + 1));
    assert_int_equal(state_at(&b, T0 + 1), BREAKER_CLOSED);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(attempt(&b, BREAKER_BAD, T0 + 1), BREAKER_SAME);
    breaker_reset(&b, T0 + 1); /* closed already: forgets */
    assert_int_equal(attempt(&b, BREAKER_BAD, T0 + 1), BREAKER_SAME);
    breaker_fini(&b);
}

/* Other rules, as after a reload, begin to count anew when the window has
 * another length, and hold at once. */
static void rules_may_change(void **state)
{
    const struct breaker_rules strict = {
        .failures = 1, .window_ms = 1000, .open_ms = 100};
    struct breaker b;
    struct breaker_pass pass;

    (void)state;
    breaker_init(&b);
    for (unsigned i = 0; i < 4; i++)
        attempt(&b, BREAKER_BAD, T0);
    assert_true(breaker_enter(&b, &strict, T0, &pass));
    assert_int_equal(breaker_leave(&b, &strict, &pass, BREAKER_BAD, T0),
                     BREAKER_OPENED);
    assert_int_equal(breaker_wait_ms(&b, T0), 100);
    breaker_fini(&b);
}

/* Threads have clocks that differ by a turn of their loops. */
static void time_that_goes_back_is_the_latest(void **state)
{
    struct breaker b;

    (void)state;
    breaker_init(&b);
    attempt(&b, BREAKER_BAD, T0 + 5000);
    for (unsigned i = 0; i < 3; i++)
        attempt(&b, BREAKER_BAD, T0);
    assert_int_equal(attempt(&b, BREAKER_BAD, T0), BREAKER_OPENED);
    assert_int_equal(breaker_wait_ms(&b, T0 + 5000), 15000);
    breaker_fini(&b);
}

static void states_have_names(void **state)
{
    (void)state;
    assert_string_equal(breaker_state_name(BREAKER_CLOSED), "closed");
    assert_string_equal(breaker_state_name(BREAKER_OPEN), "open");
    assert_string_equal(breaker_state_name(BREAKER_HALF_OPEN), "half_open");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_in_a_row_open_it),
        cmocka_unit_test(failures_far_apart_do_not),
        cmocka_unit_test(failures_before_a_silence_do_not_count),
        cmocka_unit_test(half_of_many_open_it_in_whatever_order),
        cmocka_unit_test(less_than_half_of_many_does_not),
        cmocka_unit_test(old_successes_do_not_hide_new_failures),
        cmocka_unit_test(what_callers_do_never_counts),
        cmocka_unit_test(half_open_admits_one_probe),
        cmocka_unit_test(the_probe_decides),
        cmocka_unit_test(a_probe_that_is_never_heard_of_makes_room),
        cmocka_unit_test(late_words_do_not_count),
        cmocka_unit_test(waits_are_only_ever_extended),
        cmocka_unit_test(a_rest_outlives_a_recovery),
        cmocka_unit_test(tripping_opens_at_once),
        cmocka_unit_test(without_rules_it_never_opens),
        cmocka_unit_test(an_operator_may_close_it),
        cmocka_unit_test(rules_may_change),
        cmocka_unit_test(time_that_goes_back_is_the_latest),
        cmocka_unit_test(states_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
