/* clock.c - See clock.h. The cache is per thread; the offset of tests is the
 * one thing threads share, and it only grows. */
#include "base/clock.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DAY_S        86400u
#define YEAR_10000_S 253402300800u

/* What a thread knows of the time. */
struct clock_cache {
    uint64_t mono_us;
    uint64_t wall_ns;
    uint64_t http_s;
    char http[CLOCK_HTTP_SIZE];
    uint64_t day; /* the day that <date> holds */
    char date[11];
    bool is_set;
};

static _Thread_local struct clock_cache cache;
static _Atomic uint64_t offset_ms;

static uint64_t read_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec +
           atomic_load_explicit(&offset_ms, memory_order_relaxed) * 1000000u;
}

void clock_update(void)
{
    cache.mono_us = read_ns(CLOCK_MONOTONIC) / 1000;
    cache.wall_ns = read_ns(CLOCK_REALTIME);
    cache.is_set = true;
}

uint64_t clock_mono_us(void)
{
    if (!cache.is_set)
        clock_update();
    return cache.mono_us;
}

uint64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

uint64_t clock_wall_ns(void)
{
    if (!cache.is_set)
        clock_update();
    return cache.wall_ns;
}

uint64_t clock_wall_ms(void)
{
    return clock_wall_ns() / 1000000;
}

uint64_t clock_now_us(void)
{
    return read_ns(CLOCK_MONOTONIC) / 1000;
}

uint64_t clock_now_wall_ms(void)
{
    return read_ns(CLOCK_REALTIME) / 1000000;
}

void clock_advance_ms(uint64_t ms)
{
    atomic_fetch_add(&offset_ms, ms);
    clock_update();
}

/* Write <v> as <n> decimal digits, zeros first. */
static void put_digits(char *at, uint64_t v, int n)
{
    while (n-- > 0) {
        at[n] = (char)('0' + v % 10);
        v /= 10;
    }
}

/* Write the date of <day> days since the epoch as YYYY-MM-DD. */
static void put_date(uint64_t day, char *at)
{
    time_t t = (time_t)(day * DAY_S);
    struct tm tm;

    gmtime_r(&t, &tm);
    put_digits(at, (uint64_t)tm.tm_year + 1900, 4);
    at[4] = '-';
    put_digits(at + 5, (uint64_t)tm.tm_mon + 1, 2);
    at[7] = '-';
    put_digits(at + 8, (uint64_t)tm.tm_mday, 2);
}

/* Write the time of day <s> as HH:MM:SS. */
static void put_time(uint64_t s, char *at)
{
    put_digits(at, s / 3600, 2);
    at[2] = ':';
    put_digits(at + 3, s / 60 % 60, 2);
    at[5] = ':';
    put_digits(at + 6, s % 60, 2);
}

void clock_format_rfc3339(uint64_t wall_ms, char out[CLOCK_RFC3339_SIZE])
{
    uint64_t s, day;

    if (wall_ms >= YEAR_10000_S * 1000)
        wall_ms = YEAR_10000_S * 1000 - 1;
    s = wall_ms / 1000;
    day = s / DAY_S;
    if (cache.date[0] == 0 || cache.day != day) {
        put_date(day, cache.date);
        cache.day = day;
    }
    memcpy(out, cache.date, 10);
    out[10] = 'T';
    put_time(s % DAY_S, out + 11);
    out[19] = '.';
    put_digits(out + 20, wall_ms % 1000, 3);
    memcpy(out + 23, "Z", 2);
}

void clock_format_http(uint64_t wall_ms, char out[CLOCK_HTTP_SIZE])
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t t;
    struct tm tm;

    if (wall_ms >= YEAR_10000_S * 1000)
        wall_ms = YEAR_10000_S * 1000 - 1;
    t = (time_t)(wall_ms / 1000);
    gmtime_r(&t, &tm);
    memcpy(out, "Day, 00 Mon 0000 00:00:00 GMT", CLOCK_HTTP_SIZE);
    memcpy(out, days + 3 * tm.tm_wday, 3);
    put_digits(out + 5, (uint64_t)tm.tm_mday, 2);
    memcpy(out + 8, months + 3 * tm.tm_mon, 3);
    put_digits(out + 12, (uint64_t)tm.tm_year + 1900, 4);
    put_time((uint64_t)t % DAY_S, out + 17);
}

void clock_format_span(uint64_t ms, char out[CLOCK_SPAN_SIZE])
{
    uint64_t s = ms / 1000, part = ms % 1000;
    int n = 0, digits = 3;

    if (s == 0 && part > 0) {
        snprintf(out, CLOCK_SPAN_SIZE, "%" PRIu64 "ms", part);
        return;
    }
    if (s >= 3600)
        n = snprintf(out, CLOCK_SPAN_SIZE, "%" PRIu64 "h", s / 3600);
    if (s >= 60)
        n += snprintf(out + n, CLOCK_SPAN_SIZE - (size_t)n, "%" PRIu64 "m",
                      s / 60 % 60);
    for (; part > 0 && part % 10 == 0; part /= 10)
        digits--;
    if (part > 0)
        snprintf(out + n, CLOCK_SPAN_SIZE - (size_t)n,
                 "%" PRIu64 ".%0*" PRIu64 "s", s % 60, digits, part);
    else
        snprintf(out + n, CLOCK_SPAN_SIZE - (size_t)n, "%" PRIu64 "s", s % 60);
}

const char *clock_http_date(void)
{
    uint64_t s = clock_wall_ms() / 1000;

    if (cache.http[0] == 0 || cache.http_s != s) {
        clock_format_http(s * 1000, cache.http);
        cache.http_s = s;
    }
    return cache.http;
}
