/* t_delay.c - When to come again, as upstreams write it: each form, what is no
 * form, what is bounded, which field of a reply is meant. */
#include "serve/delay.h"

#include "base/clock.h"
#include "exchange/sink.h"
#include "unit/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Sat, 21 Nov 2026 21:20:00 GMT */
#define NOW_MS UINT64_C(1795296000000)

#define UNTOUCHED UINT64_C(4711)

struct row {
    const char *text;
    uint64_t ms;
};

static void reads(const struct row *r, size_t n, enum delay_unit unit)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t ms = UNTOUCHED;

        if (!delay_parse(str_from(r[i].text), unit, NOW_MS, &ms) ||
            ms != r[i].ms)
            fail_msg("\"%s\": %llu, not %llu", r[i].text,
                     (unsigned long long)ms, (unsigned long long)r[i].ms);
    }
}

static void numbers_count_seconds(void **state)
{
    static const struct row rows[] = {
        {"0", 0},
        {"1", 1000},
        {"20", 20000},
        {" 3\t", 3000},
        {"0.5", 500},
        {".5", 500},
        {"5.", 5000},
        {"1.0001", 1001},
        {"0.000000000001", 1},
        {"0.000000000000", 0},
        {"00007", 7000},
        {"86399.999", 86399999},
    };

    (void)state;
    reads(rows, COUNT_OF(rows), DELAY_UNIT_S);
}

static void numbers_count_milliseconds_where_the_name_says_so(void **state)
{
    static const struct row rows[] = {
        {"0", 0},        {"1", 1},         {"250", 250},
        {"250.25", 251}, {"0.0000001", 1}, {"86400000", DELAY_MAX_MS},
        {"1s", 1000},    {"20ms", 20},     {"1795296005000", DELAY_MAX_MS},
    };

    (void)state;
    reads(rows, COUNT_OF(rows), DELAY_UNIT_MS);
}

static void spans_are_read_as_go_writes_them(void **state)
{
    static const struct row rows[] = {
        {"1s", 1000},
        {"12ms", 12},
        {"6m0s", 360000},
        {"1h0m0s", 3600000},
        {"1h2m3.5s", 3723500},
        {"2m59.56s", 179560},
        {"7.66s", 7660},
        {"0s", 0},
        {"1us", 1},
        {"1\xC2\xB5s", 1},
        {"1\xCE\xBCs", 1},
        {"1ns", 1},
        {"999999ns1ns", 1},
        {"1000001ns", 2},
        {"1d", DELAY_MAX_MS},
        {"0.5d", 43200000},
        {"12h.5h", 45000000},
    };
    char text[CLOCK_SPAN_SIZE];
    unsigned seed = 3;

    (void)state;
    reads(rows, COUNT_OF(rows), DELAY_UNIT_S);
    for (int i = 0; i < 1000; i++) {
        struct row r = {text, (uint64_t)rand_r(&seed) % (DELAY_MAX_MS + 1)};

        clock_format_span(r.ms, text);
        reads(&r, 1, DELAY_UNIT_S);
    }
}

static void unix_times_are_known_by_their_size(void **state)
{
    static const struct row rows[] = {
        {"1795296000", 0},
        {"1795296030", 30000},
        {"1795296000.25", 250},
        {"1795295999", 0},
        {"1795296005000", 5000},
        {"1795295999999", 0},
        {"1000000000", 0},
        {"999999999", DELAY_MAX_MS},
        {"1895296000", DELAY_MAX_MS},
    };

    (void)state;
    reads(rows, COUNT_OF(rows), DELAY_UNIT_S);
}

static void rfc3339_is_read(void **state)
{
    static const struct row rows[] = {
        {"2026-11-21T21:20:30Z", 30000},
        {"2026-11-21T21:20:00Z", 0},
        {"2026-11-21T21:19:59Z", 0},
        {"2026-11-21t21:20:01z", 1000},
        {"2026-11-21 21:20:01Z", 1000},
        {"2026-11-21T21:20:00.25Z", 250},
        {"2026-11-21T21:20:00.0001Z", 1},
        {"2026-11-21T23:20:09+02:00", 9000},
        {"2026-11-21T14:50:10-06:30", 10000},
        {"2026-11-21T21:20:60Z", 60000},
        {"2026-11-22T21:20:00Z", DELAY_MAX_MS},
        {"2028-02-29T00:00:00Z", DELAY_MAX_MS},
        {"1970-01-01T00:00:00+23:59", 0},
        {"9999-12-31T23:59:59Z", DELAY_MAX_MS},
    };

    (void)state;
    reads(rows, COUNT_OF(rows), DELAY_UNIT_S);
}

static void http_dates_are_read_in_three_forms(void **state)
{
    static const struct row rows[] = {
        {"Sat, 21 Nov 2026 21:20:30 GMT", 30000},
        {"sat, 21 nov 2026 21:20:30 gmt", 30000},
        {"Sat, 21 Nov 2026 21:20:30 UTC", 30000},
        {"Sat, 21-Nov-2026 21:20:30 GMT", 30000},
        {"Saturday, 21-Nov-26 21:20:30 GMT", 30000},
        {"Sat Nov 21 21:20:30 2026", 30000},
        {"Sun, 06 Nov 1994 08:49:37 GMT", 0},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 0},
        {"Sun Nov  6 08:49:37 1994", 0},
        {"Mon, 1 Jan 2029 00:00:00 GMT", DELAY_MAX_MS},
    };

    (void)state;
    reads(rows, COUNT_OF(rows), DELAY_UNIT_S);
}

/* Two digits of a year mean the closest year that ends on them. */
static void short_years_are_the_closest(void **state)
{
    static const struct {
        int now_year, yy, year;
    } rows[] = {{2026, 27, 2027}, {2026, 76, 2076}, {2026, 77, 1977},
                {2026, 0, 2000},  {2099, 1, 2101},  {2099, 99, 2099},
                {2050, 0, 2100},  {2049, 0, 2000},  {2101, 99, 2099}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct tm then = {.tm_year = rows[i].year - 1900, .tm_mday = 1};
        struct tm now = {.tm_year = rows[i].now_year - 1900, .tm_mday = 2};
        int64_t at_s = timegm(&then), now_s = timegm(&now);
        uint64_t ms = UNTOUCHED;
        char text[64];

        snprintf(text, sizeof(text), "Friday, 01-Jan-%02d 00:00:00 GMT",
                 rows[i].yy);
        assert_true(delay_parse(str_from(text), DELAY_UNIT_S,
                                (uint64_t)now_s * 1000, &ms));
        assert_int_equal(ms, at_s > now_s ? DELAY_MAX_MS : 0);
    }
}

static void write_date(int form, const struct tm *tm, char text[64])
{
    switch (form) {
    case 0:
        assert_true(strftime(text, 64, "%a, %d %b %Y %H:%M:%S GMT", tm) > 0);
        break;
    case 1:
        assert_true(strftime(text, 64, "%A, %d-%b-%Y %H:%M:%S GMT", tm) > 0);
        memmove(strrchr(text, '-') + 1, strrchr(text, '-') + 3,
                strlen(strrchr(text, '-') + 3) + 1);
        break;
    case 2:
        assert_true(strftime(text, 64, "%a %b %e %H:%M:%S %Y", tm) > 0);
        break;
    default:
        assert_true(strftime(text, 64, "%Y-%m-%dT%H:%M:%SZ", tm) > 0);
    }
}

/* The calendar against the C library's, in every form. */
static void each_day_is_where_it_belongs(void **state)
{
    (void)state;
    /* A prime number of seconds, about 11 days: 1971 to 2170. */
    for (int64_t at_s = 31536000; at_s < 6311433600; at_s += 950009) {
        for (int form = 0; form < 4; form++) {
            const uint64_t before_ms = (uint64_t)at_s * 1000 - 12345;
            time_t t = (time_t)at_s;
            struct tm tm;
            char text[64];
            uint64_t ms = UNTOUCHED;

            assert_non_null(gmtime_r(&t, &tm));
            write_date(form, &tm, text);
            assert_true(
                delay_parse(str_from(text), DELAY_UNIT_S, before_ms, &ms));
            if (ms != 12345)
                fail_msg("%s is %llu off", text, (unsigned long long)ms);
        }
    }
}

static const char *const no_times[] = {
    "",
    " ",
    "-1",
    "+1",
    "soon",
    ".",
    "1..5",
    "1.5.5",
    "1e3",
    "0x10",
    "1 s",
    "1s2",
    "s",
    "1mo",
    "1S",
    "6M0S",
    "1,5",
    "NaN",
    "inf",
    "1w",
    "ms",
    "1m s",
    "--",
    "60; comment",
    "60, 120",
    /* calendar */
    "2026-11-21",
    "2026-11-21T21:20Z",
    "2026-11-21T21:20:00",
    "2026-11-21T21:20:00+0200",
    "2026-11-21T21:20:00 Z",
    "2026-13-01T00:00:00Z",
    "2026-00-01T00:00:00Z",
    "2026-02-29T00:00:00Z",
    "2026-11-31T00:00:00Z",
    "2026-11-00T00:00:00Z",
    "2026-11-21T24:00:00Z",
    "2026-11-21T23:60:00Z",
    "2026-11-21T23:59:61Z",
    "1969-12-31T23:59:59Z",
    "2026-11-21T21:20:00+24:00",
    "2026-11-21T21:20:00.Z",
    "20261121T212000Z",
    "12026-11-21T21:20:00Z",
    "2026-11-21T21:20:00Zulu",
    /* HTTP */
    "Sat, 21 Nov 2026 21:20:30",
    "Sat, 21 Nov 2026 21:20:30 CET",
    "Sat, 21 Nov 2026 21:20:30 +0000",
    "Sat,21 Nov 2026 21:20:30 GMT",
    "Sat, 32 Nov 2026 21:20:30 GMT",
    "Sat, 21 Nob 2026 21:20:30 GMT",
    "Sat, 21 Nov 202 21:20:30 GMT",
    "Sat, 21-Nov 2026 21:20:30 GMT",
    "Sat, 21 Nov 2026 9:20:30 GMT",
    "Sat, 29 Feb 2025 21:20:30 GMT",
    "Xat, 21 Nov 2026 21:20:30 GMT",
    "Sa!urday, 21-Nov-26 21:20:30 GMT",
    "Sat Nov 21 21:20:30 26",
    "Sat Nov 21 21:20:30 2026 GMT",
    "Sat Nov   6 21:20:30 2026",
    "Sat",
    "Sat,",
    "Sat, ",
    "Sat, 21",
    "21 Nov 2026 21:20:30 GMT",
    /* longer than any time */
    "00000000000000000000000000000000000000000000000000000000000000001",
};

static void what_is_no_time_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(no_times); i++) {
        uint64_t ms = UNTOUCHED;

        if (delay_parse(str_from(no_times[i]), DELAY_UNIT_S, NOW_MS, &ms))
            fail_msg("\"%s\" is %llu", no_times[i], (unsigned long long)ms);
        assert_int_equal(ms, UNTOUCHED);
    }
}

static void what_is_too_long_is_bounded(void **state)
{
    static const struct row rows[] = {
        {"86401", DELAY_MAX_MS},
        {"604800", DELAY_MAX_MS},
        {"99999999999999999999999999999999999999999999999999", DELAY_MAX_MS},
        {"99999999999999999999999999999999999999999999999999h", DELAY_MAX_MS},
        {"99999999999999999999d99999999999999999999d", DELAY_MAX_MS},
        {"25h", DELAY_MAX_MS},
    };

    (void)state;
    reads(rows, COUNT_OF(rows), DELAY_UNIT_S);
}

/* --- replies ------------------------------------------------------------- */

#define FIELDS_MAX 8

/* Fields of a reply: names and values in turn, NULL at the end. */
struct reply {
    const char *field[2 * FIELDS_MAX + 1];
    int status;
    enum delay_from from;
    uint64_t ms;
};

static struct delay delay_of(const struct reply *r)
{
    struct header room[FIELDS_MAX] = {0};
    struct headers h = {0};

    for (unsigned i = 0; r->field[2 * i]; i++) {
        room[i].name = str_from(r->field[2 * i]);
        room[i].value = str_from(r->field[2 * i + 1]);
        if (h.last)
            h.last->next = &room[i];
        else
            h.first = &room[i];
        h.last = &room[i];
        h.count++;
    }
    return delay_of_reply(&h, r->status, NOW_MS);
}

static void says(const struct reply *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct delay d = delay_of(&r[i]);

        if (d.from != r[i].from || d.ms != r[i].ms)
            fail_msg("row %zu: from %d, %llu ms", i, d.from,
                     (unsigned long long)d.ms);
    }
}

static void the_field_about_this_request_goes_first(void **state)
{
    static const struct reply rows[] = {
        {{NULL}, 429, DELAY_UNSAID, 0},
        {{"Retry-After", "7"}, 429, DELAY_RETRY_AFTER, 7000},
        {{"retry-after", "0"}, 503, DELAY_RETRY_AFTER, 0},
        {{"Retry-After", "7", "retry-after-ms", "250"},
         503,
         DELAY_RETRY_AFTER,
         250},
        {{"Retry-After", "7", "x-ms-retry-after-ms", "80"},
         429,
         DELAY_RETRY_AFTER,
         80},
        {{"Retry-After", "7", "retry-after-ms", "soon"},
         429,
         DELAY_RETRY_AFTER,
         7000},
        {{"Retry-After", "-1", "x-ratelimit-reset-requests", "1s"},
         429,
         DELAY_RESET,
         1000},
        {{"Retry-After", "9", "x-ratelimit-reset-tokens", "6m0s"},
         429,
         DELAY_RETRY_AFTER,
         9000},
    };

    (void)state;
    says(rows, COUNT_OF(rows));
}

static void the_limit_that_is_used_up_is_meant(void **state)
{
    static const struct reply rows[] = {
        {{"x-ratelimit-reset-requests", "1s", "x-ratelimit-remaining-requests",
          "0", "x-ratelimit-reset-tokens", "6m0s",
          "x-ratelimit-remaining-tokens", "149984"},
         429,
         DELAY_RESET,
         1000},
        {{"x-ratelimit-reset-requests", "12ms",
          "x-ratelimit-remaining-requests", "4999", "x-ratelimit-reset-tokens",
          "12s", "x-ratelimit-remaining-tokens", "500"},
         429,
         DELAY_RESET,
         12000},
        {{"x-ratelimit-reset-requests", "8.64s", "x-ratelimit-reset-tokens",
          "6ms"},
         429,
         DELAY_RESET,
         8640},
        {{"anthropic-ratelimit-requests-reset", "2026-11-21T21:20:01Z",
          "anthropic-ratelimit-requests-remaining", "49",
          "anthropic-ratelimit-input-tokens-reset", "2026-11-21T21:20:13Z",
          "anthropic-ratelimit-input-tokens-remaining", "0",
          "anthropic-ratelimit-output-tokens-reset", "2026-11-21T21:21:00Z"},
         429,
         DELAY_RESET,
         13000},
        {{"x-ratelimit-reset", "1795296042", "x-ratelimit-remaining", "0"},
         429,
         DELAY_RESET,
         42000},
        /* Azure's zeros and minus ones say nothing. */
        {{"x-ratelimit-reset-requests", "0", "x-ratelimit-reset-tokens", "-1"},
         429,
         DELAY_UNSAID,
         0},
        {{"x-ratelimit-reset-requests", "0", "x-ratelimit-remaining-requests",
          "0", "x-ratelimit-reset-tokens", "30"},
         429,
         DELAY_RESET,
         30000},
        /* Replies of every kind tell the state of their limits. */
        {{"x-ratelimit-reset-tokens", "6m0s", "x-ratelimit-remaining-tokens",
          "0"},
         503,
         DELAY_UNSAID,
         0},
    };

    (void)state;
    says(rows, COUNT_OF(rows));
}

static void absolute_times_count_from_the_reply_s_own_date(void **state)
{
    static const struct reply rows[] = {
        /* The upstream's clock is an hour behind, then one ahead. */
        {{"Date", "Sat, 21 Nov 2026 20:20:00 GMT", "Retry-After",
          "Sat, 21 Nov 2026 20:20:05 GMT"},
         503,
         DELAY_RETRY_AFTER,
         5000},
        {{"Retry-After", "Sat, 21 Nov 2026 22:20:05 GMT", "Date",
          "Sat, 21 Nov 2026 22:20:00 GMT"},
         503,
         DELAY_RETRY_AFTER,
         5000},
        {{"Date", "today", "Retry-After", "Sat, 21 Nov 2026 21:20:05 GMT"},
         503,
         DELAY_RETRY_AFTER,
         5000},
        {{"Date", "Sat, 21 Nov 2026 20:20:00 GMT", "x-ratelimit-reset-requests",
          "2026-11-21T20:20:02Z"},
         429,
         DELAY_RESET,
         2000},
        {{"Date", "Thu, 01 Jan 1970 00:00:00 GMT", "Retry-After", "3"},
         503,
         DELAY_RETRY_AFTER,
         3000},
    };

    (void)state;
    says(rows, COUNT_OF(rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_count_seconds),
        cmocka_unit_test(numbers_count_milliseconds_where_the_name_says_so),
        cmocka_unit_test(spans_are_read_as_go_writes_them),
        cmocka_unit_test(unix_times_are_known_by_their_size),
        cmocka_unit_test(rfc3339_is_read),
        cmocka_unit_test(http_dates_are_read_in_three_forms),
        cmocka_unit_test(short_years_are_the_closest),
        cmocka_unit_test(each_day_is_where_it_belongs),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(what_is_too_long_is_bounded),
        cmocka_unit_test(the_field_about_this_request_goes_first),
        cmocka_unit_test(the_limit_that_is_used_up_is_meant),
        cmocka_unit_test(absolute_times_count_from_the_reply_s_own_date),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
