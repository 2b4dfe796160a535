/* t_clock.c - Cached time, its test offset, and its printed forms. */
#include "base/clock.h"
#include "base/id.h"
#include "base/thr.h"

#include "unit/cmocka_all.h"

#include <string.h>
#include <time.h>

static void cache_stands_until_updated(void **state)
{
    uint64_t us, ns;

    (void)state;
    clock_update();
    us = clock_mono_us();
    ns = clock_wall_ns();
    while (clock_now_us() == us)
        ;
    assert_true(clock_mono_us() == us);
    assert_true(clock_wall_ns() == ns);
    assert_true(clock_mono_ms() == us / 1000);
    assert_true(clock_wall_ms() == ns / 1000000);
    clock_update();
    assert_true(clock_mono_us() > us);
}

static void wall_time_is_the_systems(void **state)
{
    uint64_t before = (uint64_t)time(NULL), after;

    (void)state;
    clock_update();
    after = (uint64_t)time(NULL);
    assert_in_range(clock_wall_ms() / 1000, before ? before - 1 : 0, after + 1);
    assert_in_range(clock_now_wall_ms() / 1000, before ? before - 1 : 0,
                    after + 1);
}

static void advance_moves_every_clock(void **state)
{
    uint64_t us, ms;

    (void)state;
    clock_update();
    us = clock_mono_us();
    ms = clock_wall_ms();
    clock_advance_ms(3600000);
    assert_in_range(clock_mono_us() - us, UINT64_C(3600000000),
                    UINT64_C(3700000000));
    assert_in_range(clock_wall_ms() - ms, 3599999, 3700000);
    assert_true(clock_now_us() >= us + UINT64_C(3600000000));
}

static void read_in_thread(void *arg)
{
    *(uint64_t *)arg = clock_mono_us();
}

static void first_read_of_a_thread_sets_its_cache(void **state)
{
    struct thr t;
    uint64_t us = 0, before = clock_now_us();

    (void)state;
    assert_int_equal(thr_start(&t, "reader", read_in_thread, &us), ERR_OK);
    thr_join(&t);
    assert_true(us >= before);
}

static void prints_rfc3339(void **state)
{
    static const struct {
        uint64_t ms;
        const char *want;
    } t[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {951782400123, "2000-02-29T00:00:00.123Z"},
        {951868799999, "2000-02-29T23:59:59.999Z"},
        {4102444800000, "2100-01-01T00:00:00.000Z"},
        {4107542399000, "2100-02-28T23:59:59.000Z"},
        {4107542400000, "2100-03-01T00:00:00.000Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {253402300800000, "9999-12-31T23:59:59.999Z"},
        {UINT64_MAX, "9999-12-31T23:59:59.999Z"},
        {1, "1970-01-01T00:00:00.001Z"},
    };
    char out[CLOCK_RFC3339_SIZE];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        clock_format_rfc3339(t[i].ms, out);
        assert_string_equal(out, t[i].want);
    }
}

static void prints_spans_as_go_does(void **state)
{
    static const struct {
        uint64_t ms;
        const char *want;
    } t[] = {
        {0, "0s"},
        {1, "1ms"},
        {250, "250ms"},
        {1000, "1s"},
        {1500, "1.5s"},
        {1050, "1.05s"},
        {59999, "59.999s"},
        {60000, "1m0s"},
        {360000, "6m0s"},
        {90010, "1m30.01s"},
        {3600000, "1h0m0s"},
        {90061001, "25h1m1.001s"},
        {UINT64_MAX, "5124095576030h25m51.615s"},
    };
    char out[CLOCK_SPAN_SIZE];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(t); i++) {
        clock_format_span(t[i].ms, out);
        assert_string_equal(out, t[i].want);
    }
}

static void prints_http_dates(void **state)
{
    char out[CLOCK_HTTP_SIZE], want[64];
    time_t s;
    struct tm tm;

    (void)state;
    clock_format_http(784111777000, out);
    assert_string_equal(out, "Sun, 06 Nov 1994 08:49:37 GMT");
    for (uint64_t ms = 0; ms < UINT64_C(8000000000000); ms += 86399999999) {
        s = (time_t)(ms / 1000);
        gmtime_r(&s, &tm);
        strftime(want, sizeof(want), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        clock_format_http(ms, out);
        assert_string_equal(out, want);
    }
}

static void http_date_follows_the_clock(void **state)
{
    char want[CLOCK_HTTP_SIZE], first[CLOCK_HTTP_SIZE];

    (void)state;
    clock_update();
    memcpy(first, clock_http_date(), sizeof(first));
    clock_format_http(clock_wall_ms(), want);
    assert_string_equal(first, want);
    clock_advance_ms(1000);
    assert_string_not_equal(clock_http_date(), first);
    clock_format_http(clock_wall_ms(), want);
    assert_string_equal(clock_http_date(), want);
}

static void ids_sort_by_time_and_differ(void **state)
{
    static char ids[5000][ID_SIZE];

    (void)state;
    clock_update();
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        id_new(ids[i]);
        assert_int_equal(strlen(ids[i]), 26);
        assert_int_equal(strspn(ids[i], "0123456789abcdefghjkmnpqrstvwxyz"),
                         26);
        assert_memory_equal(ids[i], ids[0], 10);
        for (size_t j = i > 300 ? i - 300 : 0; j < i; j++)
            assert_string_not_equal(ids[i], ids[j]);
    }
    clock_advance_ms(1);
    id_new(ids[1]);
    assert_true(strcmp(ids[1], ids[0]) > 0);
    clock_advance_ms(UINT64_C(3600000) * 24 * 365 * 20);
    id_new(ids[2]);
    assert_true(strcmp(ids[2], ids[1]) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cache_stands_until_updated),
        cmocka_unit_test(wall_time_is_the_systems),
        cmocka_unit_test(advance_moves_every_clock),
        cmocka_unit_test(first_read_of_a_thread_sets_its_cache),
        cmocka_unit_test(prints_rfc3339),
        cmocka_unit_test(prints_spans_as_go_does),
        cmocka_unit_test(prints_http_dates),
        cmocka_unit_test(http_date_follows_the_clock),
        cmocka_unit_test(ids_sort_by_time_and_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
