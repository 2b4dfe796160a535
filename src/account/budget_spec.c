/* budget_spec.c - AMOUNT/WINDOW. Decides the text form of budgets; exact
 * integer arithmetic throughout, so that no amount is ever rounded. */
#include "account/budget_spec.h"

#include <inttypes.h>

/* Nano-dollars of a dollar, and its decimal places. */
#define NUSD_PER_USD INT64_C(1000000000)
#define USD_PLACES   9

static const char *const unit_names[BUDGET_UNIT_COUNT] = {
    [BUDGET_TOKENS] = "tokens",
    [BUDGET_INPUT_TOKENS] = "input_tokens",
    [BUDGET_OUTPUT_TOKENS] = "output_tokens",
    [BUDGET_NUSD] = "usd",
};

static const char *const window_names[BUDGET_WINDOW_COUNT] = {
    [BUDGET_TOTAL] = "total", [BUDGET_MINUTE] = "minute",
    [BUDGET_HOUR] = "hour",   [BUDGET_DAY] = "day",
    [BUDGET_WEEK] = "week",   [BUDGET_MONTH] = "month",
};

/* What follows the number, by unit; dollars have their sign before it. */
static const char *const suffixes[BUDGET_NUSD] = {
    [BUDGET_TOKENS] = "-tokens",
    [BUDGET_INPUT_TOKENS] = "-input-tokens",
    [BUDGET_OUTPUT_TOKENS] = "-output-tokens",
};

const char *budget_unit_name(enum budget_unit unit)
{
    return (unsigned)unit < BUDGET_UNIT_COUNT ? unit_names[unit] : "unknown";
}

const char *budget_window_name(enum budget_window window)
{
    return (unsigned)window < BUDGET_WINDOW_COUNT ? window_names[window]
                                                  : "unknown";
}

static enum err parse_window(struct str s, enum budget_window *out)
{
    for (unsigned i = 0; i < BUDGET_WINDOW_COUNT; i++) {
        if (str_eq(s, str_from(window_names[i]))) {
            *out = (enum budget_window)i;
            return ERR_OK;
        }
    }
    return ERR_SYNTAX;
}

/* Digits of <s> up to the first other byte; gives how many. */
static size_t count_digits(struct str s)
{
    size_t n = 0;

    while (n < s.len && s.p[n] >= '0' && s.p[n] <= '9')
        n++;
    return n;
}

/* The multiplier letter at the start of <s>, eaten; 1 when there is none. */
static int64_t take_multiplier(struct str *s)
{
    int64_t by = 1;

    if (s->len == 0)
        return by;
    if (s->p[0] == 'k' || s->p[0] == 'K')
        by = 1000;
    else if (s->p[0] == 'M')
        by = 1000000;
    else if (s->p[0] == 'G')
        by = 1000000000;
    if (by != 1)
        *s = str_skip(*s, 1);
    return by;
}

/* Parse DIGITS[.DIGITS][kMG] at the start of *<s>, eaten, times <scale>. */
static enum err take_amount(struct str *s, int64_t scale, int64_t *out)
{
    const size_t whole = count_digits(*s);
    struct str places = {"", 0};
    uint64_t v = 0;
    __int128 sum;

    if (whole == 0)
        return ERR_SYNTAX;
    if (!str_to_u64(str_of(s->p, whole), &v) || v > INT64_MAX)
        return ERR_RANGE;
    *s = str_skip(*s, whole);
    if (s->len > 0 && s->p[0] == '.') {
        *s = str_skip(*s, 1);
        places = str_of(s->p, count_digits(*s));
        if (places.len == 0)
            return ERR_SYNTAX;
        *s = str_skip(*s, places.len);
    }
    /* v < 2^63 and unit <= 1e18 < 2^60: the product fits */
    __int128 unit = (__int128)take_multiplier(s) * scale;
    sum = (__int128)v * unit;
    for (size_t i = 0; i < places.len; i++) {
        const int digit = places.p[i] - '0';

        if (digit != 0 && unit % 10 != 0)
            return ERR_RANGE; /* not a whole number of units */
        unit /= 10;
        sum += digit * unit;
    }
    if (sum > INT64_MAX)
        return ERR_RANGE;
    *out = (int64_t)sum;
    return ERR_OK;
}

static enum err parse_tokens(struct str s, struct budget_spec *spec)
{
    const enum err err = take_amount(&s, 1, &spec->amount);

    if (err != ERR_OK)
        return err;
    for (unsigned i = 0; i < BUDGET_NUSD; i++) {
        if (str_eq(s, str_from(suffixes[i]))) {
            spec->unit = (enum budget_unit)i;
            return ERR_OK;
        }
    }
    return ERR_SYNTAX;
}

static enum err parse_dollars(struct str s, struct budget_spec *spec)
{
    enum err err;

    s = str_skip(s, 1);
    err = take_amount(&s, NUSD_PER_USD, &spec->amount);
    if (err != ERR_OK)
        return err;
    spec->unit = BUDGET_NUSD;
    return s.len == 0 ? ERR_OK : ERR_SYNTAX;
}

enum err budget_spec_parse(struct str text, struct budget_spec *spec_out)
{
    const size_t slash = str_find_char(text, '/');
    const struct str amount = str_of(text.p, slash);
    struct budget_spec spec = {0};
    enum err err;

    if (slash == text.len)
        return ERR_SYNTAX;
    err = parse_window(str_skip(text, slash + 1), &spec.window);
    if (err != ERR_OK)
        return err;
    if (amount.len > 0 && amount.p[0] == '$')
        err = parse_dollars(amount, &spec);
    else
        err = parse_tokens(amount, &spec);
    if (err == ERR_OK)
        *spec_out = spec;
    return err;
}

/* Print nano-dollars without needless zeros: "25", "0.5". */
static enum err print_dollars(int64_t nusd, struct buf *out)
{
    char places[USD_PLACES + 1];
    int64_t rest = nusd % NUSD_PER_USD;
    int n = USD_PLACES;

    enum err err = buf_printf(out, "$%" PRId64, nusd / NUSD_PER_USD);
    if (err != ERR_OK || rest == 0)
        return err;
    for (int i = USD_PLACES - 1; i >= 0; i--) {
        places[i] = (char)('0' + rest % 10);
        rest /= 10;
    }
    while (places[n - 1] == '0')
        n--;
    return buf_printf(out, ".%.*s", n, places);
}

static enum err print_tokens(int64_t amount, const char *suffix,
                             struct buf *out)
{
    static const struct {
        int64_t by;
        const char *letter;
    } multipliers[] = {{1000000000, "G"}, {1000000, "M"}, {1000, "k"}};

    for (size_t i = 0; i < 3; i++) {
        if (amount != 0 && amount % multipliers[i].by == 0)
            return buf_printf(out, "%" PRId64 "%s%s",
                              amount / multipliers[i].by, multipliers[i].letter,
                              suffix);
    }
    return buf_printf(out, "%" PRId64 "%s", amount, suffix);
}

enum err budget_spec_print(const struct budget_spec *spec, struct buf *out)
{
    enum err err;

    if (spec->unit == BUDGET_NUSD)
        err = print_dollars(spec->amount, out);
    else
        err = print_tokens(spec->amount, suffixes[spec->unit], out);
    if (err != ERR_OK)
        return err;
    return buf_printf(out, "/%s", budget_window_name(spec->window));
}
