/* t_retry_plan.c - Which step follows the end of an attempt, and how long the
 * pause before it is: row by row, and at random for what must hold of all. */
#include "serve/retry.h"

#include "conf/conf.h"
#include "unit/cmocka_all.h"

#include <stdlib.h>

static const struct conf_retries rules = {
    .attempts = 3, .backoff_ms = 250, .backoff_max_ms = 8000};

static const struct retry_room all = {.key = true,
                                      .target = true,
                                      .fallback = true,
                                      .fall_context = true,
                                      .fall_filter = true};

#define NOW UINT64_C(5000000)

static struct retry_verdict verdict(int status, enum err err, uint64_t delay_ms)
{
    const struct retry_end end = {
        .err = err,
        .status = status,
        .sent = true,
        .own_key = true,
        .delay = {delay_ms > 0 ? DELAY_RETRY_AFTER : DELAY_UNSAID, delay_ms}};

    return retry_judge(&end);
}

static struct retry_verdict unreached(void)
{
    const struct retry_end end = {.err = ERR_UP_UNAVAILABLE};

    return retry_judge(&end);
}

static enum retry_step step_of(const struct retry *r,
                               const struct retry_verdict *v,
                               const struct retry_room *room)
{
    struct retry copy = *r;

    return retry_plan(&copy, v, &rules, room, NOW, UINT64_MAX / 2).step;
}

static void who_is_not_concerned_goes_first(void **state)
{
    const struct retry_room none = {.key = false};
    struct retry r;
    struct retry_verdict v;

    (void)state;
    retry_begin(&r, NOW + 60000);
    v = unreached();
    assert_int_equal(step_of(&r, &v, &all), RETRY_NEXT_TARGET);
    assert_int_equal(step_of(&r, &v, &none), RETRY_SAME);
    v = verdict(401, ERR_OK, 0);
    assert_int_equal(step_of(&r, &v, &all), RETRY_NEXT_KEY);
    assert_int_equal(step_of(&r, &v, &none), RETRY_STOP);
    v = verdict(429, ERR_OK, 500);
    assert_int_equal(step_of(&r, &v, &all), RETRY_NEXT_KEY);
    assert_int_equal(step_of(&r, &v, &none), RETRY_SAME);
    v = verdict(402, ERR_OK, 0);
    assert_int_equal(step_of(&r, &v, &all), RETRY_NEXT_KEY);
    assert_int_equal(step_of(&r, &v, &none), RETRY_STOP);
    v = verdict(500, ERR_OK, 0);
    assert_int_equal(step_of(&r, &v, &all), RETRY_NEXT_TARGET);
    assert_int_equal(step_of(&r, &v, &none), RETRY_SAME);
    v = verdict(0, ERR_UP_TLS, 0);
    assert_int_equal(step_of(&r, &v, &none), RETRY_STOP);
    v = verdict(404, ERR_OK, 0);
    assert_int_equal(step_of(&r, &v, &all), RETRY_STOP);
    v = verdict(200, ERR_OK, 0);
    assert_int_equal(step_of(&r, &v, &all), RETRY_STOP);
}

static void who_is_busy_is_asked_again_once_before_others(void **state)
{
    const struct retry_verdict v = verdict(503, ERR_OK, 0);
    const struct retry_room shut = {.target = true, .same_shut = true};
    struct retry r;

    (void)state;
    retry_begin(&r, NOW + 60000);
    assert_int_equal(step_of(&r, &v, &shut), RETRY_NEXT_TARGET);
    assert_int_equal(step_of(&r, &v, &all), RETRY_SAME);
    retry_made(&r, &v, RETRY_SAME);
    assert_int_equal(step_of(&r, &v, &all), RETRY_NEXT_TARGET);
    retry_made(&r, &v, RETRY_NEXT_TARGET);
    assert_int_equal(r.here, 1);
    assert_int_equal(step_of(&r, &v, &all), RETRY_SAME);
}

static void attempts_at_one_target_are_counted(void **state)
{
    const struct retry_room alone = {.key = true};
    const struct retry_room others = {.fallback = true};
    const struct retry_verdict busy = verdict(503, ERR_OK, 0);
    const struct retry_verdict limit = verdict(429, ERR_OK, 100);
    struct retry r;

    (void)state;
    retry_begin(&r, NOW + 60000);
    for (unsigned i = 1; i < rules.attempts; i++) {
        assert_int_equal(step_of(&r, &busy, &alone), RETRY_SAME);
        retry_made(&r, &busy, RETRY_SAME);
    }
    assert_int_equal(step_of(&r, &busy, &alone), RETRY_STOP);
    assert_int_equal(step_of(&r, &limit, &alone), RETRY_STOP);
    assert_int_equal(step_of(&r, &busy, &others), RETRY_FALL_BACK);
    assert_int_equal(r.attempts, rules.attempts);
}

static void the_one_attempt_more_is_made_elsewhere(void **state)
{
    const struct retry_room there = {.fallback = true};
    const struct retry_verdict failed = verdict(500, ERR_OK, 0);
    const struct retry_verdict busy = verdict(503, ERR_OK, 0);
    struct retry r;

    (void)state;
    retry_begin(&r, NOW + 60000);
    assert_int_equal(step_of(&r, &failed, &there), RETRY_FALL_BACK);
    assert_int_equal(step_of(&r, &busy, &there), RETRY_SAME);
    retry_made(&r, &failed, RETRY_FALL_BACK);
    assert_int_equal(step_of(&r, &failed, &there), RETRY_STOP);
}

static void what_may_have_been_served_is_tried_once_more(void **state)
{
    const struct retry_verdict failed = verdict(500, ERR_OK, 0);
    const struct retry_verdict broken = verdict(0, ERR_UP_RESET, 0);
    const struct retry_verdict busy = verdict(503, ERR_OK, 0);
    struct conf_retries bold = rules;
    struct retry r;

    (void)state;
    bold.retry_ambiguous = true;
    retry_begin(&r, NOW + 60000);
    /* A break is not tried again unless it is allowed, */
    assert_int_equal(step_of(&r, &broken, &all), RETRY_STOP);
    assert_int_equal(retry_plan(&r, &broken, &bold, &all, NOW, 0).step,
                     RETRY_NEXT_TARGET);
    /* and nothing that is doubtful twice, nor after a safe one in between. */
    retry_made(&r, &broken, RETRY_NEXT_TARGET);
    assert_int_equal(retry_plan(&r, &broken, &bold, &all, NOW, 0).step,
                     RETRY_STOP);
    assert_int_equal(step_of(&r, &failed, &all), RETRY_STOP);
    assert_int_equal(step_of(&r, &busy, &all), RETRY_SAME);
    retry_made(&r, &busy, RETRY_SAME);
    assert_int_equal(step_of(&r, &failed, &all), RETRY_STOP);
}

static void refusals_fall_back_only_when_asked_to(void **state)
{
    const struct retry_end context = {.status = 400,
                                      .code = STR("context_length_exceeded")};
    const struct retry_end filter = {.status = 400,
                                     .code = STR("content_filter")};
    const struct retry_verdict long_one = retry_judge(&context);
    const struct retry_verdict bad_one = retry_judge(&filter);
    struct retry_room room = {.key = true, .target = true, .fallback = true};
    struct retry r;

    (void)state;
    retry_begin(&r, UINT64_MAX);
    assert_int_equal(step_of(&r, &long_one, &room), RETRY_STOP);
    assert_int_equal(step_of(&r, &bad_one, &room), RETRY_STOP);
    room.fall_context = true;
    assert_int_equal(step_of(&r, &long_one, &room), RETRY_FALL_BACK);
    assert_int_equal(step_of(&r, &bad_one, &room), RETRY_STOP);
    room.fall_filter = true;
    assert_int_equal(step_of(&r, &bad_one, &room), RETRY_FALL_BACK);
    room.fallback = false;
    assert_int_equal(step_of(&r, &bad_one, &room), RETRY_STOP);
}

static void limits_are_waited_for_when_it_is_short(void **state)
{
    static const struct {
        int status;
        uint64_t delay_ms, left_ms;
        enum retry_step step;
    } rows[] = {
        {429, 2000, 60000, RETRY_SAME}, {429, 2001, 60000, RETRY_STOP},
        {429, 1500, 1600, RETRY_STOP},  {429, 1500, 1900, RETRY_SAME},
        {429, 0, 60000, RETRY_SAME},    {429, 0, 1000, RETRY_STOP},
        {503, 8000, 60000, RETRY_SAME}, {503, 8001, 60000, RETRY_STOP},
        {503, 5000, 5000, RETRY_STOP},  {503, 0, 60000, RETRY_SAME},
    };
    const struct retry_room alone = {.key = false};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const struct retry_verdict v =
            verdict(rows[i].status, ERR_OK, rows[i].delay_ms);
        struct retry_plan p;
        struct retry r;

        retry_begin(&r, NOW + rows[i].left_ms);
        p = retry_plan(&r, &v, &rules, &alone, NOW, UINT64_MAX);
        if (p.step != rows[i].step)
            fail_msg("row %zu: %s", i, retry_step_name(p.step));
        if (p.step == RETRY_SAME)
            assert_true(p.wait_ms >= rows[i].delay_ms &&
                        p.wait_ms < rows[i].left_ms);
        assert_int_equal(r.latest_ms, v.after_ms);
    }
}

static void nothing_begins_after_the_deadline(void **state)
{
    const struct retry_verdict v = unreached();
    struct retry r;

    (void)state;
    retry_begin(&r, NOW);
    assert_int_equal(step_of(&r, &v, &all), RETRY_STOP);
    retry_begin(&r, NOW + 1);
    assert_int_equal(step_of(&r, &v, &all), RETRY_NEXT_TARGET);
}

/* However many targets there are, and however quickly they refuse. */
static void attempts_are_bounded(void **state)
{
    const struct retry_verdict v = unreached();
    struct retry r;
    unsigned made = 1;

    (void)state;
    retry_begin(&r, UINT64_MAX);
    for (; made < 100 && step_of(&r, &v, &all) != RETRY_STOP; made++)
        retry_made(&r, &v, RETRY_NEXT_TARGET);
    assert_int_equal(made, RETRY_ATTEMPTS_MAX);
}

static void what_was_work_costs(void **state)
{
    const struct retry_room others = {.target = true, .same_shut = true};
    const struct retry_room alone = {.key = false};
    struct retry r;

    (void)state;
    retry_begin(&r, UINT64_MAX);
    {
        const struct retry_verdict v = unreached();

        assert_false(retry_plan(&r, &v, &rules, &others, NOW, 1).costs);
        assert_true(retry_plan(&r, &v, &rules, &alone, NOW, 1).costs);
    }
    {
        const struct retry_verdict v = verdict(429, ERR_OK, 0);

        assert_false(retry_plan(&r, &v, &rules, &all, NOW, 1).costs);
        assert_true(retry_plan(&r, &v, &rules, &alone, NOW, 1).costs);
    }
    {
        const struct retry_verdict v = verdict(500, ERR_OK, 0);

        assert_true(retry_plan(&r, &v, &rules, &others, NOW, 1).costs);
    }
    {
        const struct retry_verdict v = verdict(503, ERR_OK, 0);

        assert_true(retry_plan(&r, &v, &rules, &others, NOW, 1).costs);
    }
}

/* A request, and what has become of it. */
struct story {
    struct conf_retries conf;
    struct retry r;
    uint64_t now;
    unsigned doubts, here, made;
};

static bool one_in(unsigned *seed, int n)
{
    return rand_r(seed) % n == 0;
}

static struct retry_end some_end(unsigned *seed)
{
    static const int statuses[] = {0,   0,   400, 401, 402, 408, 429,
                                   500, 502, 503, 504, 529, 409};
    static const enum err errs[] = {ERR_UP_UNAVAILABLE, ERR_UP_TLS,
                                    ERR_UP_TIMEOUT,     ERR_UP_RESET,
                                    ERR_UP_BAD,         ERR_OVERLOADED};
    const int status = statuses[(size_t)rand_r(seed) % COUNT_OF(statuses)];
    const enum err e = errs[(size_t)rand_r(seed) % COUNT_OF(errs)];

    return (struct retry_end){
        .status = status,
        .err = status > 0 ? ERR_OK : e,
        .sent = one_in(seed, 2),
        .told = one_in(seed, 20),
        .own_key = one_in(seed, 2),
        .hint = (enum retry_hint)(rand_r(seed) % 3),
        .delay = {DELAY_RETRY_AFTER, (uint64_t)rand_r(seed) % 4000}};
}

/* What must hold of step <p> after <end>. */
static void step_is_good(const struct story *s, const struct retry_end *end,
                         const struct retry_room *room,
                         const struct retry_plan *p)
{
    assert_false(end->told);
    assert_true(s->now + p->wait_ms < s->r.deadline_ms);
    if (p->step != RETRY_SAME) {
        assert_int_equal(p->wait_ms, 0);
        return;
    }
    assert_false(room->same_shut);
    assert_int_not_equal(end->hint, RETRY_NO);
    assert_true(p->costs);
    assert_true(p->wait_ms >= end->delay.ms);
}

/* One more end; false: it was the last. */
static bool goes_on(struct story *s, unsigned *seed)
{
    const struct retry_end end = some_end(seed);
    const struct retry_room room = {.key = one_in(seed, 2),
                                    .target = one_in(seed, 2),
                                    .fallback = one_in(seed, 4),
                                    .same_shut = one_in(seed, 4)};
    const struct retry_verdict v = retry_judge(&end);
    struct retry_plan p;

    s->now += (uint64_t)rand_r(seed) % 1000;
    p = retry_plan(&s->r, &v, &s->conf, &room, s->now,
                   (uint64_t)rand_r(seed) << 33);
    if (p.step == RETRY_STOP)
        return false;
    step_is_good(s, &end, &room, &p);
    if (v.doubtful) {
        assert_int_equal(s->doubts, 0);
        assert_true(end.status > 0 || s->conf.retry_ambiguous);
        s->doubts++;
    }
    retry_made(&s->r, &v, p.step);
    s->here =
        p.step == RETRY_SAME || p.step == RETRY_NEXT_KEY ? s->here + 1 : 1;
    s->made++;
    s->now += p.wait_ms;
    assert_true(s->here <= s->conf.attempts);
    assert_true(s->made <= RETRY_ATTEMPTS_MAX);
    return true;
}

/* Whatever happens to a request, in whatever order. */
static void whatever_happens_it_ends(void **state)
{
    unsigned seed = 21, longest = 0;

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        struct story s = {.conf = {.attempts = 1 + (uint64_t)rand_r(&seed) % 5,
                                   .backoff_ms = rand_r(&seed) % 500,
                                   .backoff_max_ms = rand_r(&seed) % 9000,
                                   .retry_ambiguous = one_in(&seed, 2)},
                          .now = NOW,
                          .here = 1,
                          .made = 1};

        retry_begin(&s.r, NOW + (uint64_t)rand_r(&seed) % 30000);
        while (goes_on(&s, &seed))
            ;
        longest = s.made > longest ? s.made : longest;
    }
    assert_true(longest >= 8); /* or nothing was shown */
}

/* --- pauses -------------------------------------------------------------- */

static void pauses_double_up_to_their_bound(void **state)
{
    static const struct {
        uint64_t base, max;
        unsigned n;
        uint64_t most;
    } rows[] = {
        {250, 8000, 1, 250},
        {250, 8000, 2, 500},
        {250, 8000, 3, 1000},
        {250, 8000, 6, 8000},
        {250, 8000, 7, 8000},
        {250, 8000, 99, 8000},
        {250, 100, 1, 100},
        {0, 8000, 5, 0},
        {1, UINT64_MAX, 64, UINT64_C(1) << 63},
        {1, UINT64_MAX, 65, UINT64_MAX},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_true(retry_pause_ms(rows[i].base, rows[i].max, rows[i].n, 0,
                                   UINT64_MAX) == rows[i].most);
        assert_int_equal(
            retry_pause_ms(rows[i].base, rows[i].max, rows[i].n, 0, 0), 0);
    }
}

/* Full jitter: each pause is as likely as any other. */
static void pauses_are_spread_evenly(void **state)
{
    unsigned count[10] = {0};

    (void)state;
    for (uint64_t i = 0; i < 10000; i++) {
        const uint64_t ms =
            retry_pause_ms(250, 8000, 3, 0, UINT64_MAX / 10000 * i + 77);

        assert_true(ms <= 1000);
        count[ms == 1000 ? 9 : ms / 100]++;
    }
    for (size_t i = 0; i < COUNT_OF(count); i++)
        assert_in_range(count[i], 990, 1010);
}

static void a_named_delay_is_kept_and_spread(void **state)
{
    (void)state;
    assert_int_equal(retry_pause_ms(250, 8000, 3, 1500, 0), 1500);
    assert_int_equal(retry_pause_ms(250, 8000, 3, 1500, UINT64_MAX), 1750);
    assert_int_equal(retry_pause_ms(250, 100, 1, 1500, UINT64_MAX), 1600);
}

static void clients_tell_how_often_they_tried(void **state)
{
    (void)state;
    assert_int_equal(retry_count_of(STR("0")), 0);
    assert_int_equal(retry_count_of(STR("2")), 2);
    assert_int_equal(retry_count_of(STR(" 1 ")), 1);
    assert_int_equal(retry_count_of(STR("1000")), 1000);
    assert_int_equal(retry_count_of(STR("1001")), 0);
    assert_int_equal(retry_count_of(STR("-1")), 0);
    assert_int_equal(retry_count_of(STR("")), 0);
    assert_int_equal(retry_count_of(STR("99999999999999999999")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_not_concerned_goes_first),
        cmocka_unit_test(who_is_busy_is_asked_again_once_before_others),
        cmocka_unit_test(attempts_at_one_target_are_counted),
        cmocka_unit_test(the_one_attempt_more_is_made_elsewhere),
        cmocka_unit_test(what_may_have_been_served_is_tried_once_more),
        cmocka_unit_test(refusals_fall_back_only_when_asked_to),
        cmocka_unit_test(limits_are_waited_for_when_it_is_short),
        cmocka_unit_test(nothing_begins_after_the_deadline),
        cmocka_unit_test(attempts_are_bounded),
        cmocka_unit_test(what_was_work_costs),
        cmocka_unit_test(whatever_happens_it_ends),
        cmocka_unit_test(pauses_double_up_to_their_bound),
        cmocka_unit_test(pauses_are_spread_evenly),
        cmocka_unit_test(a_named_delay_is_kept_and_spread),
        cmocka_unit_test(clients_tell_how_often_they_tried),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
