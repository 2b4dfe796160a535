/* window.c - See window.h. The calendar of months is computed from days alone,
 * with years that begin in March, so that leap days come last. */
#include "account/window.h"

#define MINUTE_MS ((int64_t)60000)
#define HOUR_MS   (60 * MINUTE_MS)
#define DAY_MS    (24 * HOUR_MS)

/* Day 0, a Thursday, is 3 days behind a Monday. */
#define MONDAY_DAYS 3

/* Days of 400 years, and from the first of March of year 0 to day 0. */
#define CYCLE_DAYS 146097
#define EPOCH_DAYS 719468

/* Years that a number of months may stand for. */
#define YEARS_MAX 200000000

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Months since the year 0 of the month that <day> is in. */
static int64_t month_of_day(int64_t day)
{
    const int64_t z = day + EPOCH_DAYS;
    const int64_t cycle = floor_div(z, CYCLE_DAYS);
    const int64_t doe = z - cycle * CYCLE_DAYS;
    const int64_t yoe =
        (doe - doe / 1460 + doe / 36524 - doe / (CYCLE_DAYS - 1)) / 365;
    const int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    const int64_t mp = (5 * doy + 2) / 153; /* 0 = March */

    return (cycle * 400 + yoe) * 12 + mp + 2;
}

/* The first day of <month>. */
static int64_t day_of_month(int64_t month)
{
    const int64_t from_march = month - 2;
    const int64_t year = floor_div(from_march, 12);
    const int64_t mp = from_march - year * 12;
    const int64_t cycle = floor_div(year, 400);
    const int64_t yoe = year - cycle * 400;
    const int64_t doy = (153 * mp + 2) / 5;

    return cycle * CYCLE_DAYS + yoe * 365 + yoe / 4 - yoe / 100 + doy -
           EPOCH_DAYS;
}

int64_t window_number(enum budget_window window, int64_t wall_ms)
{
    const int64_t day = floor_div(wall_ms, DAY_MS);

    switch (window) {
    case BUDGET_MINUTE:
        return floor_div(wall_ms, MINUTE_MS);
    case BUDGET_HOUR:
        return floor_div(wall_ms, HOUR_MS);
    case BUDGET_DAY:
        return day;
    case BUDGET_WEEK:
        return floor_div(day + MONDAY_DAYS, 7);
    case BUDGET_MONTH:
        return month_of_day(day);
    case BUDGET_TOTAL:
    case BUDGET_WINDOW_COUNT:
        break;
    }
    return 0;
}

/* <n> times <each>, or the end of time. */
static int64_t times(int64_t n, int64_t each)
{
    int64_t ms;

    if (__builtin_mul_overflow(n, each, &ms))
        return n < 0 ? INT64_MIN : INT64_MAX;
    return ms;
}

int64_t window_begin_ms(enum budget_window window, int64_t number)
{
    switch (window) {
    case BUDGET_MINUTE:
        return times(number, MINUTE_MS);
    case BUDGET_HOUR:
        return times(number, HOUR_MS);
    case BUDGET_DAY:
        return times(number, DAY_MS);
    case BUDGET_WEEK:
        if (number > INT64_MAX / 7 || number < INT64_MIN / 7 + 1)
            return number < 0 ? INT64_MIN : INT64_MAX;
        return times(number * 7 - MONDAY_DAYS, DAY_MS);
    case BUDGET_MONTH:
        if (number > YEARS_MAX * (int64_t)12)
            return INT64_MAX;
        if (number < -YEARS_MAX * (int64_t)12)
            return INT64_MIN;
        return times(day_of_month(number), DAY_MS);
    case BUDGET_TOTAL:
    case BUDGET_WINDOW_COUNT:
        break;
    }
    return INT64_MIN;
}

int64_t window_end_ms(enum budget_window window, int64_t number)
{
    if (window == BUDGET_TOTAL || number == INT64_MAX)
        return INT64_MAX;
    return window_begin_ms(window, number + 1);
}
