/* delay.c - See delay.h. Numbers are kept in nanoseconds of 128 bits: parts are
 * capped when read, so that no product or sum of them can overflow. */
#include "serve/delay.h"

#include "exchange/sink.h"

#define NANO UINT64_C(1000000000) /* of a second, or of a plain number */

/* No number is read as more than this, far beyond any time that is meant. */
#define NUMBER_MAX UINT64_C(1000000000000000000)

/* Plain seconds from these on are Unix times: 2001 in seconds, and the same in
 * milliseconds. As spans they were 31 years and more. */
#define UNIX_S_MIN  UINT64_C(1000000000)
#define UNIX_MS_MIN UINT64_C(1000000000000)

#define DAY_S 86400

/* The reset of a limit, and what says whether it is used up. */
struct reset_row {
    struct str reset;
    struct str remaining;
};

/* Take <c> off the front of <s>. */
static bool take_char(struct str *s, char c)
{
    if (s->len == 0 || s->p[0] != c)
        return false;
    *s = str_skip(*s, 1);
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Take <least> to <most> digits. */
static bool take_digits(struct str *s, unsigned least, unsigned most, int *out)
{
    unsigned n = 0;
    int v = 0;

    while (n < most && n < s->len && is_digit(s->p[n]))
        v = v * 10 + (s->p[n++] - '0');
    if (n < least)
        return false;
    *s = str_skip(*s, n);
    *out = v;
    return true;
}

/* Take one of <n> names by its first three letters, whatever their case. */
static bool take_name(struct str *s, const char *const *names, int n, int *out)
{
    for (int i = 0; i < n; i++) {
        if (s->len >= 3 && str_ieq(str_of(s->p, 3), str_from(names[i]))) {
            *s = str_skip(*s, 3);
            *out = i;
            return true;
        }
    }
    return false;
}

/* --- numbers and spans --------------------------------------------------- */

/* Take a decimal number, in billionths; digits past those round it up. */
static bool take_decimal(struct str *s, unsigned __int128 *nano_out)
{
    uint64_t whole = 0, part = 0, step = NANO / 10;
    bool digits = false, more = false;

    for (; s->len > 0 && is_digit(s->p[0]); *s = str_skip(*s, 1)) {
        digits = true;
        whole = whole * 10 + (uint64_t)(s->p[0] - '0');
        whole = whole > NUMBER_MAX ? NUMBER_MAX : whole;
    }
    if (take_char(s, '.')) {
        for (; s->len > 0 && is_digit(s->p[0]); *s = str_skip(*s, 1)) {
            digits = true;
            part += step * (uint64_t)(s->p[0] - '0');
            more = more || (step == 0 && s->p[0] != '0');
            step /= 10;
        }
    }
    if (!digits)
        return false;
    *nano_out = (unsigned __int128)whole * NANO + part + (more ? 1 : 0);
    return true;
}

/* Take a unit of time, in billionths of a second. */
static bool take_unit(struct str *s, uint64_t *nano_out)
{
    static const struct {
        struct str name;
        uint64_t nano;
    } units[] = {
        {STR("ns"), 1},           {STR("us"), 1000},
        {STR("\xC2\xB5s"), 1000}, /* micro sign */
        {STR("\xCE\xBCs"), 1000}, /* Greek mu */
        {STR("ms"), 1000000},     {STR("s"), NANO},
        {STR("m"), 60 * NANO},    {STR("h"), 3600 * NANO},
        {STR("d"), DAY_S * NANO},
    };

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (str_starts(*s, units[i].name)) {
            *s = str_skip(*s, units[i].name.len);
            *nano_out = units[i].nano;
            return true;
        }
    }
    return false;
}

/* <nano> in milliseconds, rounded up, and not more than is believed. */
static uint64_t ms_of_nano(unsigned __int128 nano)
{
    unsigned __int128 ms = (nano + 999999) / 1000000;

    return ms > DELAY_MAX_MS ? DELAY_MAX_MS : (uint64_t)ms;
}

/* From <now_ms> to <at_ms>. */
static uint64_t ms_until(int64_t at_ms, uint64_t now_ms)
{
    if (at_ms <= 0 || (uint64_t)at_ms <= now_ms)
        return 0;
    return (uint64_t)at_ms - now_ms > DELAY_MAX_MS ? DELAY_MAX_MS
                                                   : (uint64_t)at_ms - now_ms;
}

/* A number that stands alone. */
static uint64_t ms_of_number(unsigned __int128 nano, enum delay_unit unit,
                             uint64_t now_ms)
{
    uint64_t whole = (uint64_t)(nano / NANO);

    if (unit == DELAY_UNIT_MS)
        return ms_of_nano(nano / 1000 + (nano % 1000 != 0));
    if (whole >= UNIX_MS_MIN)
        return ms_until((int64_t)whole, now_ms);
    if (whole >= UNIX_S_MIN)
        return ms_until((int64_t)((nano + 999999) / 1000000), now_ms);
    return ms_of_nano(nano);
}

static bool parse_span(struct str s, enum delay_unit unit, uint64_t now_ms,
                       uint64_t *ms_out)
{
    unsigned __int128 sum = 0, nano;
    uint64_t each;

    if (!take_decimal(&s, &nano))
        return false;
    if (s.len == 0) {
        *ms_out = ms_of_number(nano, unit, now_ms);
        return true;
    }
    for (;;) {
        if (!take_unit(&s, &each))
            return false;
        /* Fractions of a nanosecond do not matter. */
        sum += nano / NANO * each + nano % NANO * each / NANO;
        if (s.len == 0)
            break;
        if (!take_decimal(&s, &nano))
            return false;
    }
    *ms_out = ms_of_nano(sum);
    return true;
}

/* --- dates --------------------------------------------------------------- */

/* A time of the calendar, UTC. */
struct civil {
    int year, month, day; /* month 0..11, day from 1 */
    int hour, minute, second;
    int ms;       /* 0..1000: rounded up */
    int offset_s; /* east of Greenwich */
};

static const char *const month_names[] = {"Jan", "Feb", "Mar", "Apr",
                                          "May", "Jun", "Jul", "Aug",
                                          "Sep", "Oct", "Nov", "Dec"};

static bool is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days from 1970 to the first of January <year>. */
static int64_t days_to_year(int year)
{
    int64_t y = year - 1;

    return 365 * (int64_t)(year - 1970) + (y / 4 - 1969 / 4) -
           (y / 100 - 1969 / 100) + (y / 400 - 1969 / 400);
}

/* Milliseconds since 1970; false when there is no such time. */
static bool civil_ms(const struct civil *c, int64_t *at_out)
{
    static const int before[] = {0,   31,  59,  90,  120, 151,
                                 181, 212, 243, 273, 304, 334};
    static const int length[] = {31, 28, 31, 30, 31, 30,
                                 31, 31, 30, 31, 30, 31};
    int64_t days;
    bool leap;

    if (c->year < 1970 || c->month < 0 || c->month > 11 || c->hour > 23 ||
        c->minute > 59 || c->second > 60)
        return false;
    leap = is_leap(c->year);
    if (c->day < 1 || c->day > length[c->month] + (leap && c->month == 1))
        return false;
    days = days_to_year(c->year) + before[c->month] + (leap && c->month > 1) +
           c->day - 1;
    *at_out = (days * DAY_S + c->hour * 3600 + c->minute * 60 + c->second -
               c->offset_s) *
                  1000 +
              c->ms;
    return true;
}

/* Take "08:49:37". */
static bool take_clock(struct str *s, struct civil *c)
{
    return take_digits(s, 2, 2, &c->hour) && take_char(s, ':') &&
           take_digits(s, 2, 2, &c->minute) && take_char(s, ':') &&
           take_digits(s, 2, 2, &c->second);
}

/* The year that ends on <yy> and is closest to <now_ms> (RFC 9110, 5.6.7). */
static int year_of(int yy, uint64_t now_ms)
{
    int64_t now_days = (int64_t)(now_ms / (DAY_S * UINT64_C(1000)));
    int now_year = 1970 + (int)(now_days > 3600000 ? 9000 : now_days / 366);
    int year;

    while (now_year < 9999 && days_to_year(now_year + 1) <= now_days)
        now_year++;
    year = now_year - now_year % 100 + yy;
    if (year > now_year + 50)
        year -= 100;
    return year < now_year - 49 ? year + 100 : year;
}

/* " Nov  6 08:49:37 1994", what follows the day's name in asctime()'s form. */
static bool parse_asctime(struct str s, struct civil *c)
{
    if (!take_char(&s, ' ') || !take_name(&s, month_names, 12, &c->month) ||
        !take_char(&s, ' '))
        return false;
    (void)take_char(&s, ' '); /* a day of one digit has two blanks before it */
    return take_digits(&s, 1, 2, &c->day) && take_char(&s, ' ') &&
           take_clock(&s, c) && take_char(&s, ' ') &&
           take_digits(&s, 4, 4, &c->year) && s.len == 0;
}

/* " 06 Nov 1994 08:49:37 GMT", or with '-' and a year of two digits, what
 * follows the comma in the other two forms. */
static bool parse_fixdate(struct str s, uint64_t now_ms, struct civil *c)
{
    struct str year;
    char sep;

    if (!take_char(&s, ' ') || !take_digits(&s, 1, 2, &c->day) || s.len == 0)
        return false;
    sep = s.p[0];
    if ((sep != ' ' && sep != '-') || !take_char(&s, sep) ||
        !take_name(&s, month_names, 12, &c->month) || !take_char(&s, sep))
        return false;
    year = s;
    if (!take_digits(&s, 2, 4, &c->year))
        return false;
    if (year.len - s.len == 2)
        c->year = year_of(c->year, now_ms);
    else if (year.len - s.len != 4)
        return false;
    return take_char(&s, ' ') && take_clock(&s, c) && take_char(&s, ' ') &&
           (str_ieq(s, STR("GMT")) || str_ieq(s, STR("UTC")));
}

/* An HTTP date, in milliseconds since 1970. The day's name need not be true. */
static bool parse_http_date(struct str s, uint64_t now_ms, int64_t *at_out)
{
    static const char *const names[] = {"Mon", "Tue", "Wed", "Thu",
                                        "Fri", "Sat", "Sun"};
    struct civil c = {0};
    size_t comma;
    int day;

    if (!take_name(&s, names, 7, &day))
        return false;
    comma = str_find_char(s, ',');
    if (comma == s.len)
        return parse_asctime(s, &c) && civil_ms(&c, at_out);
    for (size_t i = 0; i < comma; i++)
        if ((s.p[i] | 0x20) < 'a' || (s.p[i] | 0x20) > 'z')
            return false;
    return parse_fixdate(str_skip(s, comma + 1), now_ms, &c) &&
           civil_ms(&c, at_out);
}

/* Take "Z" or "+02:00". */
static bool take_offset(struct str *s, int *offset_out)
{
    bool west = s->len > 0 && s->p[0] == '-';
    int hour, minute;

    *offset_out = 0;
    if (take_char(s, 'Z') || take_char(s, 'z'))
        return true;
    if (!take_char(s, west ? '-' : '+') || !take_digits(s, 2, 2, &hour) ||
        !take_char(s, ':') || !take_digits(s, 2, 2, &minute) || hour > 23 ||
        minute > 59)
        return false;
    *offset_out = (hour * 3600 + minute * 60) * (west ? -1 : 1);
    return true;
}

static bool parse_rfc3339(struct str s, int64_t *at_out)
{
    struct civil c = {0};
    unsigned __int128 nano;

    if (!take_digits(&s, 4, 4, &c.year) || !take_char(&s, '-') ||
        !take_digits(&s, 2, 2, &c.month) || !take_char(&s, '-') ||
        !take_digits(&s, 2, 2, &c.day))
        return false;
    c.month--;
    if (!take_char(&s, 'T') && !take_char(&s, 't') && !take_char(&s, ' '))
        return false;
    if (!take_clock(&s, &c))
        return false;
    if (s.len > 1 && s.p[0] == '.' && is_digit(s.p[1])) {
        if (!take_decimal(&s, &nano))
            return false;
        c.ms = (int)ms_of_nano(nano);
    }
    return take_offset(&s, &c.offset_s) && s.len == 0 && civil_ms(&c, at_out);
}

bool delay_parse(struct str text, enum delay_unit unit, uint64_t now_wall_ms,
                 uint64_t *ms_out)
{
    struct str s = str_trim(text);
    int64_t at_ms;

    if (s.len == 0 || s.len > DELAY_TEXT_MAX)
        return false;
    if (!is_digit(s.p[0]) && s.p[0] != '.') {
        if (!parse_http_date(s, now_wall_ms, &at_ms))
            return false;
        *ms_out = ms_until(at_ms, now_wall_ms);
        return true;
    }
    if (s.len > 4 && s.p[4] == '-') {
        if (!parse_rfc3339(s, &at_ms))
            return false;
        *ms_out = ms_until(at_ms, now_wall_ms);
        return true;
    }
    return parse_span(s, unit, now_wall_ms, ms_out);
}

/* --- a reply ------------------------------------------------------------- */

/* The time that absolute times of <h> are counted from. */
static uint64_t time_of(const struct headers *h, uint64_t now_wall_ms)
{
    struct str date = str_trim(headers_value(h, STR("Date")));
    int64_t at_ms;

    if (date.len > DELAY_TEXT_MAX ||
        !parse_http_date(date, now_wall_ms, &at_ms) || at_ms < 0)
        return now_wall_ms;
    return (uint64_t)at_ms;
}

/* Whether <text> is the number zero. */
static bool is_zero(struct str text)
{
    struct str s = str_trim(text);
    unsigned __int128 nano;

    return take_decimal(&s, &nano) && s.len == 0 && nano == 0;
}

static struct delay reset_of(const struct headers *h, uint64_t now_ms)
{
    static const struct reset_row rows[] = {
        {STR("x-ratelimit-reset-requests"),
         STR("x-ratelimit-remaining-requests")},
        {STR("x-ratelimit-reset-tokens"), STR("x-ratelimit-remaining-tokens")},
        {STR("x-ratelimit-reset-project-requests"),
         STR("x-ratelimit-remaining-project-requests")},
        {STR("x-ratelimit-reset-project-tokens"),
         STR("x-ratelimit-remaining-project-tokens")},
        {STR("anthropic-ratelimit-requests-reset"),
         STR("anthropic-ratelimit-requests-remaining")},
        {STR("anthropic-ratelimit-tokens-reset"),
         STR("anthropic-ratelimit-tokens-remaining")},
        {STR("anthropic-ratelimit-input-tokens-reset"),
         STR("anthropic-ratelimit-input-tokens-remaining")},
        {STR("anthropic-ratelimit-output-tokens-reset"),
         STR("anthropic-ratelimit-output-tokens-remaining")},
        {STR("anthropic-ratelimit-unified-reset"),
         STR("anthropic-ratelimit-unified-remaining")},
        {STR("x-ratelimit-reset"), STR("x-ratelimit-remaining")},
        {STR("ratelimit-reset"), STR("ratelimit-remaining")},
    };
    uint64_t all_ms = 0, used_ms = 0, ms;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!delay_parse(headers_value(h, rows[i].reset), DELAY_UNIT_S, now_ms,
                         &ms))
            continue;
        all_ms = ms > all_ms ? ms : all_ms;
        if (ms > used_ms && is_zero(headers_value(h, rows[i].remaining)))
            used_ms = ms;
    }
    ms = used_ms > 0 ? used_ms : all_ms;
    return (struct delay){ms > 0 ? DELAY_RESET : DELAY_UNSAID, ms};
}

struct delay delay_of_reply(const struct headers *h, int status,
                            uint64_t now_wall_ms)
{
    static const struct {
        struct str name;
        enum delay_unit unit;
    } rows[] = {
        {STR("retry-after-ms"), DELAY_UNIT_MS},
        {STR("x-ms-retry-after-ms"), DELAY_UNIT_MS},
        {STR("Retry-After"), DELAY_UNIT_S},
    };
    uint64_t at_ms = time_of(h, now_wall_ms), ms;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (delay_parse(headers_value(h, rows[i].name), rows[i].unit, at_ms,
                        &ms))
            return (struct delay){DELAY_RETRY_AFTER, ms};
    if (status != 429)
        return (struct delay){DELAY_UNSAID, 0};
    return reset_of(h, at_ms);
}
