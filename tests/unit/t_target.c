/* t_target.c - Who is let in at a target after what others met: by its own
 * breaker, by those of its keys, by what it asked for; and what a reload or an
 * operator changes. */
#include <stdio.h>

#include "conf/conf.h"
#include "serve/retry.h"
#include "serve/target.h"

#include "unit/cmocka_all.h"

#define T0 UINT64_C(1000000)

static const struct secret keys[] = {{.hidden_ = STR("one")},
                                     {.hidden_ = STR("two")},
                                     {.hidden_ = STR("three")}};
static const struct secret turned[] = {{.hidden_ = STR("three")},
                                       {.hidden_ = STR("one")},
                                       {.hidden_ = STR("two")}};

static struct conf_upstream with(size_t n_keys)
{
    return (struct conf_upstream){
        .name = STR("up"),
        .keys = keys,
        .n_keys = n_keys,
        .breaker = {.failures = 5, .window_ms = 30000, .open_ms = 15000}};
}

struct scene {
    struct target_table *table;
    struct target *t;
    struct conf_upstream up;
};

static struct scene scene_with(size_t n_keys)
{
    struct scene s = {.table = target_table_new(), .up = with(n_keys)};

    assert_non_null(s.table);
    s.t = target_get(s.table, STR("up"));
    assert_non_null(s.t);
    return s;
}

static struct target_pass let_in(const struct scene *s, uint64_t tried,
                                 uint64_t now_ms)
{
    struct target_pass p = {.in = false};

    assert_int_equal(target_enter(s->t, &s->up, tried, now_ms, &p), TARGET_IN);
    assert_true(p.in);
    return p;
}

/* An attempt that ends as <end>; the key that it used. */
static unsigned attempt(const struct scene *s, struct retry_end end,
                        uint64_t tried, uint64_t now_ms)
{
    struct target_pass p = let_in(s, tried, now_ms);
    struct retry_verdict v;

    end.own_key = s->up.n_keys > 0;
    v = retry_judge(&end);
    target_tell(&p, &s->up, &v, now_ms);
    target_leave(&p, &s->up, end.err, NULL, now_ms);
    return p.key;
}

static bool is_shut(const struct scene *s, uint64_t now_ms)
{
    struct target_pass p;

    if (target_is_last_resort(s->t, &s->up, 0, now_ms))
        return false;
    assert_false(target_is_ready(s->t, &s->up, 0, now_ms));
    assert_int_equal(target_enter(s->t, &s->up, 0, now_ms, &p), TARGET_SHUT);
    return true;
}

static enum target_shut why(const struct scene *s, uint64_t now_ms,
                            uint64_t wait_ms)
{
    uint64_t got;
    enum target_shut w = target_why(s->t, &s->up, 0, now_ms, &got);

    assert_int_equal(got, wait_ms);
    return w;
}

static uint64_t in_flight(const struct scene *s)
{
    struct target_view v;

    assert_true(target_view(s->table, 0, T0, &v));
    return v.in_flight;
}

static const struct retry_end good = {.status = 200, .sent = true};
static const struct retry_end failed = {.status = 500, .sent = true};
static const struct retry_end wrong = {.status = 400, .sent = true};
static const struct retry_end refused = {.status = 401, .sent = true};
static const struct retry_end limited = {.status = 429, .sent = true};
static const struct retry_end limited_20s = {
    .status = 429,
    .sent = true,
    .delay = {.from = DELAY_RETRY_AFTER, .ms = 20000}};
static const struct retry_end spent = {
    .status = 429, .sent = true, .code = STR("insufficient_quota")};

static void failures_shut_it_and_one_probe_opens_it(void **state)
{
    struct scene s = scene_with(1);
    struct target_pass probe, other;
    struct retry_verdict v;

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        attempt(&s, failed, 0, T0);
    for (unsigned i = 0; i < 1000; i++) /* callers' mistakes do not count */
        attempt(&s, wrong, 0, T0);
    assert_true(target_is_ready(s.t, &s.up, 0, T0));
    attempt(&s, failed, 0, T0);
    assert_true(is_shut(&s, T0));
    assert_int_equal(why(&s, T0 + 5000, 10000), TARGET_BROKEN);
    assert_true(is_shut(&s, T0 + 14999));
    assert_true(target_is_ready(s.t, &s.up, 0, T0 + 15000));
    probe = let_in(&s, 0, T0 + 15000);
    assert_true(probe.all.probe);
    assert_int_equal(target_enter(s.t, &s.up, 0, T0 + 15000, &other),
                     TARGET_SHUT);
    v = retry_judge(&good);
    target_tell(&probe, &s.up, &v, T0 + 15001);
    assert_true(target_is_ready(s.t, &s.up, 0, T0 + 15001));
    target_leave(&probe, &s.up, ERR_OK, NULL, T0 + 15001);
    target_leave(&probe, &s.up, ERR_OK, NULL, T0 + 15001);
    assert_int_equal(in_flight(&s), 0);
    target_table_free(s.table);
}

static void a_probe_that_is_not_heard_of_shuts_it_again(void **state)
{
    struct scene s = scene_with(1);
    struct target_pass probe;

    (void)state;
    for (unsigned i = 0; i < 5; i++)
        attempt(&s, failed, 0, T0);
    probe = let_in(&s, 0, T0 + 15000);
    target_leave(&probe, &s.up, ERR_CLIENT_GONE, NULL, T0 + 15500);
    assert_true(is_shut(&s, T0 + 30499));
    assert_true(target_is_ready(s.t, &s.up, 0, T0 + 30500));
    target_table_free(s.table);
}

static void a_bad_certificate_shuts_it_at_once(void **state)
{
    struct scene s = scene_with(1);

    (void)state;
    attempt(&s, (struct retry_end){.err = ERR_UP_TLS}, 0, T0);
    assert_true(is_shut(&s, T0));
    assert_int_equal(why(&s, T0, 15000), TARGET_BROKEN);
    target_table_free(s.table);
}

static void streams_that_break_off_count(void **state)
{
    struct scene s = scene_with(1);
    const struct retry_verdict v = retry_judge(&good);

    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        struct target_pass p = let_in(&s, 0, T0);

        target_tell(&p, &s.up, &v, T0);
        target_leave(&p, &s.up, ERR_UP_INCOMPLETE, "cut", T0);
    }
    assert_true(is_shut(&s, T0));
    target_table_free(s.table);
}

static void a_limited_key_lets_others_go_on(void **state)
{
    struct scene s = scene_with(2);
    const unsigned first = attempt(&s, limited_20s, 0, T0);

    (void)state;
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(attempt(&s, good, 0, T0), 1 - first);
    assert_false(target_is_ready(s.t, &s.up, 1U << (1 - first), T0));
    attempt(&s, limited_20s, 0, T0 + 5000);
    assert_true(is_shut(&s, T0 + 5000));
    assert_int_equal(why(&s, T0 + 5000, 15000), TARGET_LIMITED);
    assert_true(target_is_ready(s.t, &s.up, 0, T0 + 20000));
    assert_int_equal(attempt(&s, good, 0, T0 + 20000), first);
    target_table_free(s.table);
}

static void rests_are_only_extended(void **state)
{
    struct scene s = scene_with(1);
    struct target_pass one = let_in(&s, 0, T0), two = let_in(&s, 0, T0);
    struct retry_end end = limited_20s;
    struct retry_verdict v;

    (void)state;
    end.own_key = true;
    v = retry_judge(&end);
    target_tell(&one, &s.up, &v, T0);
    end.delay.ms = 3000;
    v = retry_judge(&end);
    target_tell(&two, &s.up, &v, T0);
    assert_int_equal(why(&s, T0, 20000), TARGET_LIMITED);
    target_leave(&one, &s.up, ERR_OK, NULL, T0);
    target_leave(&two, &s.up, ERR_OK, NULL, T0);
    target_table_free(s.table);
}

static void what_is_not_said_only_steers(void **state)
{
    struct scene s = scene_with(2);
    const unsigned first = attempt(&s, limited, 0, T0);

    (void)state;
    assert_int_equal(attempt(&s, limited, 0, T0), 1 - first);
    assert_false(target_is_ready(s.t, &s.up, 0, T0));
    assert_true(target_is_last_resort(s.t, &s.up, 0, T0));
    assert_int_equal(why(&s, T0, 1000), TARGET_LIMITED);
    attempt(&s, good, 0, T0);
    assert_true(target_is_ready(s.t, &s.up, 0, T0 + 1000));
    target_table_free(s.table);
}

static void a_refused_key_is_left_for_another(void **state)
{
    struct scene s = scene_with(2);
    const unsigned first = attempt(&s, refused, 0, T0);

    (void)state;
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(attempt(&s, good, 0, T0), 1 - first);
    assert_true(target_is_ready(s.t, &s.up, 0, T0));
    /* It is tried when there is no other, until its own breaker opens. */
    for (unsigned i = 1; i < 5; i++)
        assert_int_equal(attempt(&s, refused, 1U << (1 - first), T0), first);
    assert_false(target_is_last_resort(s.t, &s.up, 1U << (1 - first), T0));
    assert_true(target_is_ready(s.t, &s.up, 0, T0));
    target_table_free(s.table);
}

static void a_key_whose_requests_alone_fail_is_left(void **state)
{
    struct scene s = scene_with(2);
    struct target_pass p;

    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        p = let_in(&s, 0, T0);
        const struct retry_verdict v =
            retry_judge(p.key == 0 ? &failed : &good);

        target_tell(&p, &s.up, &v, T0);
        target_leave(&p, &s.up, ERR_OK, NULL, T0);
    }
    assert_true(target_is_ready(s.t, &s.up, 0, T0));
    assert_false(target_is_last_resort(s.t, &s.up, 2, T0));
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(attempt(&s, good, 0, T0), 1);
    target_table_free(s.table);
}

static void an_empty_account_shuts_its_key_for_long(void **state)
{
    struct scene s = scene_with(1);

    (void)state;
    attempt(&s, spent, 0, T0);
    assert_true(is_shut(&s, T0));
    assert_int_equal(why(&s, T0, RETRY_SPENT_REST_MS), TARGET_SPENT);
    target_reset(s.t, T0);
    assert_true(target_is_ready(s.t, &s.up, 0, T0));
    target_table_free(s.table);
}

static void without_a_key_the_target_itself_rests(void **state)
{
    struct scene s = scene_with(0);

    (void)state;
    assert_int_equal(attempt(&s, limited_20s, 0, T0), TARGET_NO_KEY);
    assert_true(is_shut(&s, T0));
    assert_int_equal(why(&s, T0, 20000), TARGET_LIMITED);
    target_table_free(s.table);
}

static void busy_with_a_time_lets_others_go_first(void **state)
{
    struct scene s = scene_with(1);
    struct retry_end end = limited_20s;

    (void)state;
    end.status = 503;
    attempt(&s, end, 0, T0);
    assert_false(target_is_ready(s.t, &s.up, 0, T0));
    assert_true(target_is_last_resort(s.t, &s.up, 0, T0));
    assert_int_equal(why(&s, T0, 20000), TARGET_BUSY);
    target_table_free(s.table);
}

static void a_reload_that_moves_keys_keeps_their_rests(void **state)
{
    struct scene s = scene_with(3);

    (void)state;
    while (attempt(&s, good, 0, T0) != 2)
        ;
    assert_int_equal(attempt(&s, limited_20s, 6, T0), 0); /* "one" */
    s.up.keys = turned;
    for (unsigned i = 0; i < 9; i++)
        assert_int_not_equal(attempt(&s, good, 0, T0), 1);
    assert_false(target_is_ready(s.t, &s.up, 5, T0));
    target_table_free(s.table);
}

static void what_is_never_left_alone_is_never_shut(void **state)
{
    struct scene s = scene_with(1);

    (void)state;
    s.up.breaker.failures = 0;
    for (unsigned i = 0; i < 100; i++)
        attempt(&s, failed, 0, T0);
    assert_true(target_is_ready(s.t, &s.up, 0, T0));
    attempt(&s, limited_20s, 0, T0);
    attempt(&s, spent, 0, T0);
    assert_false(target_is_ready(s.t, &s.up, 0, T0));
    assert_true(target_is_last_resort(s.t, &s.up, 0, T0));
    attempt(&s, good, 0, T0);
    target_table_free(s.table);
}

static void no_more_than_may_be_are_in(void **state)
{
    struct scene s = scene_with(1);
    struct target_pass one, two;

    (void)state;
    s.up.max_in_flight = 1;
    one = let_in(&s, 0, T0);
    assert_int_equal(target_enter(s.t, &s.up, 0, T0, &two), TARGET_FULL);
    target_leave(&one, &s.up, ERR_OK, NULL, T0);
    two = let_in(&s, 0, T0);
    target_leave(&two, &s.up, ERR_OK, NULL, T0);
    target_drain(s.t, true);
    assert_int_equal(target_enter(s.t, &s.up, 0, T0, &two), TARGET_SHUT);
    assert_int_equal(why(&s, T0, 0), TARGET_DRAINED);
    target_table_free(s.table);
}

static void an_engine_model_is_just_counted(void **state)
{
    struct scene s = scene_with(1);
    struct target_pass p;
    const struct retry_verdict v = retry_judge(&failed);

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(target_enter(s.t, NULL, 0, T0, &p), TARGET_IN);
        target_tell(&p, NULL, &v, T0);
        target_leave(&p, NULL, ERR_INTERNAL, NULL, T0);
    }
    assert_true(target_is_ready(s.t, NULL, 0, T0));
    assert_int_equal(in_flight(&s), 0);
    target_table_free(s.table);
}

/* More keys than are watched come and go; those in use find a place once
 * others were not used for long. */
static void keys_that_are_gone_give_way(void **state)
{
    struct scene s = scene_with(1);
    char name[TARGET_KEYS_MAX + 2][8];
    struct secret one = {.source = STR("")};
    struct target_key_view v;

    (void)state;
    s.up.keys = &one;
    for (unsigned i = 0; i < TARGET_KEYS_MAX + 1; i++) {
        snprintf(name[i], sizeof(name[i]), "k%u", i);
        one.hidden_ = str_from(name[i]);
        attempt(&s, limited_20s, 0, T0 + i);
    }
    target_key_view(s.t, &s.up, 0, T0, &v); /* the last is not watched */
    assert_int_equal(v.why, TARGET_OPEN);
    attempt(&s, limited_20s, 0, T0 + 600000);
    target_key_view(s.t, &s.up, 0, T0 + 600000, &v);
    assert_int_equal(v.why, TARGET_LIMITED);
    assert_int_equal(v.wait_ms, 20000);
    one.hidden_ = str_from(name[0]); /* which it took the place of */
    target_key_view(s.t, &s.up, 0, T0, &v);
    assert_int_equal(v.why, TARGET_OPEN);
    target_table_free(s.table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_shut_it_and_one_probe_opens_it),
        cmocka_unit_test(a_probe_that_is_not_heard_of_shuts_it_again),
        cmocka_unit_test(a_bad_certificate_shuts_it_at_once),
        cmocka_unit_test(streams_that_break_off_count),
        cmocka_unit_test(a_limited_key_lets_others_go_on),
        cmocka_unit_test(rests_are_only_extended),
        cmocka_unit_test(what_is_not_said_only_steers),
        cmocka_unit_test(a_refused_key_is_left_for_another),
        cmocka_unit_test(a_key_whose_requests_alone_fail_is_left),
        cmocka_unit_test(an_empty_account_shuts_its_key_for_long),
        cmocka_unit_test(without_a_key_the_target_itself_rests),
        cmocka_unit_test(busy_with_a_time_lets_others_go_first),
        cmocka_unit_test(a_reload_that_moves_keys_keeps_their_rests),
        cmocka_unit_test(what_is_never_left_alone_is_never_shut),
        cmocka_unit_test(no_more_than_may_be_are_in),
        cmocka_unit_test(an_engine_model_is_just_counted),
        cmocka_unit_test(keys_that_are_gone_give_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
