/* t_bucket.c - The token bucket against a model that lets in one microsecond's
 * flow after another: what fits, how long until more does, what is left. */
#include "account/bucket.h"

#include "unit/cmocka_all.h"

#include <stdlib.h>

#define PARTS INT64_C(60000000)

/* The model: a level in parts of a unit, below zero when some are owed. */
struct model {
    __int128 level;
    int64_t limit;
    uint64_t at_us;
};

static void model_step(struct model *m)
{
    m->at_us++;
    m->level += m->limit;
    if (m->level > (__int128)m->limit * PARTS)
        m->level = (__int128)m->limit * PARTS;
}

static void model_go(struct model *m, uint64_t to_us)
{
    while (m->at_us < to_us)
        model_step(m);
}

static bool model_fits(const struct model *m, int64_t n)
{
    return m->level >= n * (__int128)PARTS;
}

/* Milliseconds until <n> units fit, counted. */
static uint64_t model_wait_ms(struct model m, int64_t n)
{
    const uint64_t from_us = m.at_us;

    while (!model_fits(&m, n))
        model_step(&m);
    return (m.at_us - from_us + 999) / 1000;
}

static uint64_t model_full_ms(struct model m)
{
    const uint64_t from_us = m.at_us;

    while (m.level < (__int128)m.limit * PARTS)
        model_step(&m);
    return (m.at_us - from_us + 999) / 1000;
}

static uint64_t model_left(const struct model *m)
{
    return m->level > 0 ? (uint64_t)(m->level / PARTS) : 0;
}

/* One random deed on both. Limits are such that some units flow in a few
 * milliseconds, so that the model need not walk for hours. */
static void deed(struct bucket *b, struct model *m, unsigned *seed)
{
    const int64_t n = rand_r(seed) % (int)(m->limit / 1000 + 2);
    const uint64_t now_us = m->at_us + (uint64_t)(rand_r(seed) % 400);
    const __int128 full = (__int128)m->limit * PARTS;

    model_go(m, now_us);
    switch (rand_r(seed) % 4) {
    case 0:
        bucket_give(b, (uint64_t)n / 2, now_us);
        m->level += (n / 2) * (__int128)PARTS;
        m->level = m->level > full ? full : m->level;
        break;
    case 1: /* taken whether it fits or not */
        bucket_take(b, (uint64_t)n, now_us);
        m->level -= n * (__int128)PARTS;
        break;
    default:
        assert_int_equal(bucket_wait_ms(b, (uint64_t)n, now_us) == 0,
                         model_fits(m, n));
        if (model_fits(m, n)) {
            bucket_take(b, (uint64_t)n, now_us);
            m->level -= n * (__int128)PARTS;
        }
    }
    assert_int_equal(bucket_left(b, now_us), model_left(m));
    assert_int_equal(bucket_wait_ms(b, (uint64_t)n, now_us),
                     model_wait_ms(*m, n));
}

static void it_is_the_model(void **state)
{
    unsigned seed = 7;

    (void)state;
    for (int round = 0; round < 40; round++) {
        struct bucket b = {.limit = 0};
        struct model m = {.limit = 1 + rand_r(&seed) % 3000000};

        m.at_us = (uint64_t)rand_r(&seed);
        m.level = (__int128)m.limit * PARTS;
        bucket_set(&b, (uint64_t)m.limit, m.at_us);
        bucket_take(&b, (uint64_t)m.limit, m.at_us); /* not full most times */
        m.level -= (__int128)m.limit * PARTS;
        for (int i = 0; i < 100; i++)
            deed(&b, &m, &seed);
    }
}

static void full_is_told_to_the_millisecond(void **state)
{
    unsigned seed = 11;

    (void)state;
    for (int round = 0; round < 200; round++) {
        struct bucket b = {.limit = 0};
        struct model m = {.limit = 1 + rand_r(&seed) % 100000};
        uint64_t n = 1 + (uint64_t)rand_r(&seed) % (uint64_t)m.limit / 5000;

        m.level = (__int128)m.limit * PARTS;
        bucket_set(&b, (uint64_t)m.limit, 0);
        bucket_take(&b, n, 0);
        m.level -= (__int128)n * PARTS;
        assert_int_equal(bucket_full_ms(&b, 0), model_full_ms(m));
    }
}

/* Asked as often as one likes, exactly the limit and its flow come out: what is
 * rounded is shown, never kept. */
static void nothing_is_lost_or_made(void **state)
{
    static const uint64_t limits[] = {1, 7, 37, 59, 61, 1000, 999983};

    (void)state;
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct bucket b = {.limit = 0};
        uint64_t taken = 0, us = 1000;

        bucket_set(&b, limits[i], us);
        /* ten minutes, at steps that divide nothing */
        for (; us <= 1000 + 600000000; us += 99991) {
            while (bucket_wait_ms(&b, 1, us) == 0) {
                bucket_take(&b, 1, us);
                taken++;
            }
        }
        us -= 99991;
        assert_int_equal(taken, limits[i] + limits[i] * (us - 1000) / PARTS);
    }
}

static void a_minute_at_once_and_no_more(void **state)
{
    struct bucket b = {.limit = 0};

    (void)state;
    bucket_set(&b, 37, 5);
    for (int i = 0; i < 37; i++) {
        assert_int_equal(bucket_wait_ms(&b, 1, 5), 0);
        bucket_take(&b, 1, 5);
    }
    /* 60 s / 37 = 1621.62 ms */
    assert_int_equal(bucket_wait_ms(&b, 1, 5), 1622);
    assert_int_not_equal(bucket_wait_ms(&b, 1, 5 + 1621 * 1000), 0);
    assert_int_equal(bucket_wait_ms(&b, 1, 5 + 1622 * 1000), 0);
    assert_int_equal(bucket_full_ms(&b, 5), 60000 - 1622);
    assert_int_equal(bucket_left(&b, 5 + UINT64_C(3600000000)), 37);
}

static void what_never_fits_is_told(void **state)
{
    struct bucket b = {.limit = 0};

    (void)state;
    assert_int_equal(bucket_wait_ms(&b, UINT64_MAX, 1), 0); /* no limit */
    bucket_set(&b, 10, 1);
    assert_int_equal(bucket_wait_ms(&b, 10, 1), 0);
    assert_true(bucket_wait_ms(&b, 11, 1) == BUCKET_NEVER);
    assert_true(bucket_wait_ms(&b, UINT64_MAX, 1) == BUCKET_NEVER);
}

static void debts_are_paid_first(void **state)
{
    struct bucket b = {.limit = 0};

    (void)state;
    bucket_set(&b, 60, 0);
    bucket_take(&b, 180, 0); /* two minutes owed */
    assert_int_equal(bucket_left(&b, 0), 0);
    assert_int_equal(bucket_wait_ms(&b, 1, 0), 121000);
    assert_int_equal(bucket_full_ms(&b, 0), 180000);
    bucket_give(&b, 120, 0);
    assert_int_equal(bucket_wait_ms(&b, 1, 0), 1000);
}

static void a_wild_number_shuts_it_for_an_hour(void **state)
{
    struct bucket b = {.limit = 0};

    (void)state;
    bucket_set(&b, 1000, 0);
    for (int i = 0; i < 100; i++)
        bucket_take(&b, UINT64_MAX, 0);
    assert_int_equal(bucket_wait_ms(&b, 1000, 0),
                     UINT64_C(60000) * BUCKET_LACK_MAX_MIN);
    bucket_set(&b, INT64_MAX, 0);
    for (int i = 0; i < 100; i++)
        bucket_take(&b, UINT64_MAX, 0);
    assert_int_equal(bucket_wait_ms(&b, INT64_MAX, 0),
                     UINT64_C(60000) * BUCKET_LACK_MAX_MIN);
}

static void a_change_keeps_what_was_taken(void **state)
{
    struct bucket b = {.limit = 0};

    (void)state;
    bucket_set(&b, 10, 0);
    bucket_take(&b, 6, 0);
    bucket_set(&b, 20, 0);
    assert_int_equal(bucket_left(&b, 0), 14);
    bucket_set(&b, 8, 0);
    assert_int_equal(bucket_left(&b, 0), 2);
    bucket_set(&b, 3, 0); /* more than it holds was taken: it is empty */
    assert_int_equal(bucket_left(&b, 0), 0);
    assert_int_equal(bucket_wait_ms(&b, 1, 0), 20000);
    bucket_take(&b, 6, 0);
    bucket_set(&b, 3, 0); /* no change: debts stay */
    assert_int_equal(bucket_wait_ms(&b, 1, 0), 140000);
    bucket_set(&b, 0, 0);
    assert_int_equal(bucket_wait_ms(&b, 1000000, 0), 0);
    bucket_set(&b, 5, 0); /* a limit where there was none */
    assert_int_equal(bucket_left(&b, 0), 5);
}

static void times_before_the_last_count_as_that(void **state)
{
    struct bucket b = {.limit = 0};

    (void)state;
    bucket_set(&b, 60, 10000000);
    bucket_take(&b, 60, 10000000);
    bucket_take(&b, 1, 9000000);
    assert_int_equal(bucket_wait_ms(&b, 1, 9000000), 2000);
    assert_int_equal(bucket_wait_ms(&b, 1, 11000000), 1000);
    assert_int_equal(bucket_wait_ms(&b, 1, 10500000), 1000);
    assert_int_equal(bucket_wait_ms(&b, 1, 12000000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_model),
        cmocka_unit_test(full_is_told_to_the_millisecond),
        cmocka_unit_test(nothing_is_lost_or_made),
        cmocka_unit_test(a_minute_at_once_and_no_more),
        cmocka_unit_test(what_never_fits_is_told),
        cmocka_unit_test(debts_are_paid_first),
        cmocka_unit_test(a_wild_number_shuts_it_for_an_hour),
        cmocka_unit_test(a_change_keeps_what_was_taken),
        cmocka_unit_test(times_before_the_last_count_as_that),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
