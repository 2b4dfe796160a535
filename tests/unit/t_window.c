/* t_window.c - Calendar windows against the C library's calendar. */
#include "account/window.h"

#include "unit/cmocka_all.h"

#include <string.h>
#include <time.h>

#define DAY_MS ((int64_t)86400000)

static int64_t ms_of(int year, int month, int day)
{
    struct tm tm = {
        .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};

    return (int64_t)timegm(&tm) * 1000;
}

static void known_days(void **state)
{
    const int64_t now = ms_of(2026, 11, 21) + 3723004;

    (void)state;
    assert_int_equal(window_number(BUDGET_TOTAL, now), 0);
    assert_int_equal(window_number(BUDGET_MINUTE, now), now / 60000);
    assert_int_equal(window_number(BUDGET_HOUR, now), now / 3600000);
    assert_int_equal(window_number(BUDGET_DAY, now), now / DAY_MS);
    assert_int_equal(window_number(BUDGET_MONTH, now), 2026 * 12 + 10);
    /* a Saturday: its week began on the 16th */
    const int64_t week = window_number(BUDGET_WEEK, now);
    assert_int_equal(window_begin_ms(BUDGET_WEEK, week), ms_of(2026, 11, 16));
    assert_int_equal(window_end_ms(BUDGET_WEEK, week), ms_of(2026, 11, 23));
    assert_int_equal(window_end_ms(BUDGET_MONTH, 2026 * 12 + 10),
                     ms_of(2026, 12, 1));
    assert_int_equal(window_end_ms(BUDGET_MONTH, 2026 * 12 + 11),
                     ms_of(2027, 1, 1));
}

/* Every day of nine centuries, leap days and ends of years among them. */
static void months_are_those_of_the_calendar(void **state)
{
    (void)state;
    for (int64_t day = -146097; day < 146097 * 2; day++) {
        const time_t t = (time_t)(day * 86400);
        const int64_t ms = day * DAY_MS;
        struct tm tm;

        gmtime_r(&t, &tm);
        const int64_t m = window_number(BUDGET_MONTH, ms);
        assert_int_equal(m, (tm.tm_year + 1900) * 12 + tm.tm_mon);
        assert_int_equal(window_number(BUDGET_MONTH, ms + DAY_MS - 1), m);
        if (tm.tm_mday == 1)
            assert_int_equal(window_begin_ms(BUDGET_MONTH, m), ms);
        const int64_t w = window_number(BUDGET_WEEK, ms);
        assert_int_equal(window_begin_ms(BUDGET_WEEK, w),
                         ms - (tm.tm_wday + 6) % 7 * DAY_MS);
    }
}

static void windows_follow_each_other(void **state)
{
    static const int64_t times[] = {0, -1, 1, 1763750000123, -62135596800000};

    (void)state;
    for (int w = BUDGET_MINUTE; w < BUDGET_WINDOW_COUNT; w++)
        for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
            const enum budget_window k = (enum budget_window)w;
            const int64_t n = window_number(k, times[i]);
            const int64_t begin = window_begin_ms(k, n);
            const int64_t end = window_end_ms(k, n);

            assert_true(begin <= times[i] && times[i] < end);
            assert_int_equal(window_number(k, begin), n);
            assert_int_equal(window_number(k, begin - 1), n - 1);
            assert_int_equal(window_number(k, end - 1), n);
            assert_int_equal(window_number(k, end), n + 1);
        }
}

static void the_ends_of_time_are_no_trouble(void **state)
{
    (void)state;
    for (int w = 0; w < BUDGET_WINDOW_COUNT; w++) {
        const enum budget_window k = (enum budget_window)w;

        window_number(k, INT64_MAX);
        window_number(k, INT64_MIN);
        assert_true(window_end_ms(k, INT64_MAX) == INT64_MAX);
        assert_true(window_begin_ms(k, INT64_MIN) == INT64_MIN);
        assert_true(window_end_ms(k, INT64_MAX / 2) == INT64_MAX);
    }
    assert_int_equal(window_begin_ms(BUDGET_TOTAL, 0), INT64_MIN);
    assert_int_equal(window_end_ms(BUDGET_TOTAL, 0), INT64_MAX);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_days),
        cmocka_unit_test(months_are_those_of_the_calendar),
        cmocka_unit_test(windows_follow_each_other),
        cmocka_unit_test(the_ends_of_time_are_no_trouble),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
