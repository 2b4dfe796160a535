/* conf_price_text.c - How amounts of money and days are written in a price
 * file. Amounts are read digit by digit into whole numbers: what cannot be
 * told exactly is refused, never rounded. */
#include "conf/conf_prices.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *const names[CONF_PRICE_COUNT] = {
    [CONF_PRICE_INPUT] = "input",
    [CONF_PRICE_CACHED_INPUT] = "cached_input",
    [CONF_PRICE_CACHE_WRITE] = "cache_write",
    [CONF_PRICE_CACHE_WRITE_1H] = "cache_write_1h",
    [CONF_PRICE_OUTPUT] = "output",
    [CONF_PRICE_REASONING] = "reasoning",
    [CONF_PRICE_AUDIO_IN] = "audio_in",
    [CONF_PRICE_AUDIO_OUT] = "audio_out",
    [CONF_PRICE_REQUEST] = "request",
    [CONF_PRICE_AUDIO_MINUTE] = "audio_minute",
};

const char *conf_price_item_name(enum conf_price_item i)
{
    return names[i];
}

/* Why <s>, which is not digits with at most one dot, is no amount. */
static const char *shape_fault(struct str s)
{
    if (s.len > 0 && s.p[0] == '-')
        return "is negative; write 0 or more";
    if (s.len > 0 && s.p[0] == '$')
        return "must be the number alone, in USD; write e.g. 1.25";
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] == 'e' || s.p[i] == 'E')
            return "must be written out, without an exponent; write e.g. "
                   "0.001";
    return "is no amount; write digits and at most one dot, e.g. 1.25";
}

/* Whether <s> is digits, or digits around one dot, with one after it. */
static bool shape_is_good(struct str s, size_t *dot_out)
{
    size_t dot = str_find_char(s, '.');

    *dot_out = dot;
    for (size_t i = 0; i < s.len; i++)
        if (i != dot && !is_digit(s.p[i]))
            return false;
    return s.len > 0 && dot + 1 != s.len;
}

const char *conf_price_parse(struct str s, unsigned places, int64_t *out)
{
    int64_t v = 0, scale = 1;
    size_t dot;

    if (!shape_is_good(s, &dot))
        return shape_fault(s);
    for (size_t i = 0; i < dot; i++) {
        v = v * 10 + (s.p[i] - '0');
        if (v > CONF_PRICE_USD_MAX)
            return "is over 1000000 USD; no model costs that";
    }
    for (unsigned i = 0; i < places; i++) {
        size_t at = dot + 1 + i;

        scale *= 10;
        v = v * 10 + (at < s.len ? s.p[at] - '0' : 0);
    }
    for (size_t i = dot + 1 + places; i < s.len; i++)
        if (s.p[i] != '0')
            return places == 6 ? "has more than 6 decimals; round it up"
                               : "has more than 9 decimals; round it up";
    if (v > CONF_PRICE_USD_MAX * scale)
        return "is over 1000000 USD; no model costs that";
    *out = v;
    return NULL;
}

/* Days before <year> since 1970; <year> at least 1970. */
static int64_t days_before(int64_t year)
{
    int64_t y = year - 1;

    return (year - 1970) * 365 + y / 4 - 1969 / 4 - (y / 100 - 1969 / 100) +
           (y / 400 - 1969 / 400);
}

bool conf_price_day(struct str s, int64_t *days_out)
{
    static const int before[13] = {0,   31,  59,  90,  120, 151, 181,
                                   212, 243, 273, 304, 334, 365};
    int64_t year = 0, month = 0, day = 0, leap, last;

    if (s.len != 10 || s.p[4] != '-' || s.p[7] != '-')
        return false;
    for (size_t i = 0; i < 10; i++) {
        int64_t *to = i < 4 ? &year : i < 7 ? &month : &day;

        if (i == 4 || i == 7)
            continue;
        if (!is_digit(s.p[i]))
            return false;
        *to = *to * 10 + (s.p[i] - '0');
    }
    if (year < 1970 || month < 1 || month > 12)
        return false;
    leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    last = before[month] - before[month - 1] + (month == 2 ? leap : 0);
    if (day < 1 || day > last)
        return false;
    *days_out = days_before(year) + before[month - 1] + (month > 2 ? leap : 0) +
                day - 1;
    return true;
}
