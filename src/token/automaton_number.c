/* automaton_number.c - Numbers digit by digit. Whole parts have at most 18
 * digits unless a bound has more, fractions 16, exponents two: every number
 * fits an int64_t or a double, and none goes on for ever. */
#include "token/automaton.h"

#include <string.h>

#define WHOLE_MAX    18
#define FRACTION_MAX 16

/* --- free numbers ------------------------------------------------------- */

static uint32_t digit(struct automaton *a, uint8_t lo, uint32_t next)
{
    return auto_range(a, (uint8_t)('0' + lo), '9', next);
}

/* From <min> to <max> digits; few nodes, no frames. */
static uint32_t some_digits(struct automaton *a, unsigned min, unsigned max,
                            uint32_t next)
{
    uint32_t out = next;

    for (unsigned i = max; i > 0; i--) {
        out = digit(a, 0, out);
        if (i > min)
            out = auto_split(a, out, next);
    }
    return out;
}

/* A fraction, or nothing. */
static uint32_t free_fraction(struct automaton *a, uint32_t next)
{
    return auto_split(
        a, next, auto_text(a, STR("."), some_digits(a, 1, FRACTION_MAX, next)));
}

static uint32_t free_number(struct automaton *a, bool integer, uint32_t next)
{
    struct auto_set e = {{0, (uint64_t)1 << 5 | (uint64_t)1 << 37}};
    struct auto_set sign = {{(uint64_t)1 << '+' | (uint64_t)1 << '-'}};
    uint32_t out = next;

    if (!integer) {
        out = some_digits(a, 1, 2, next);
        out = auto_split(a, out, auto_set_of(a, &sign, out));
        out = auto_split(a, next, auto_set_of(a, &e, out));
        out = free_fraction(a, out);
    }
    out = auto_split(
        a, auto_text(a, STR("0"), out),
        auto_range(a, '1', '9', some_digits(a, 0, WHOLE_MAX - 1, out)));
    return auto_split(a, out, auto_text(a, STR("-"), out));
}

/* --- bounded numbers ---------------------------------------------------- */

/* Most digits of a fraction that is still compared with a bound. */
#define TIGHT_MAX 24

/* Bounds of a magnitude, and the parts that its numbers share. Texts are
 * compared digit by digit; "tight" tells what a text has been equal to so
 * far: 1 the lower bound, 2 the upper, 3 both. */
struct span {
    bool integer;
    const struct auto_bound *lo, *hi;
    unsigned n; /* digits of the whole part at hand */
    uint32_t next;
    uint32_t rest_whole[WHOLE_MAX + TIGHT_MAX]; /* so many free digits, then
                                                 * anything */
    uint32_t rest_fraction[FRACTION_MAX + 1];   /* up to so many */
};

static uint8_t at_digit(const char *text, unsigned i)
{
    return i < strlen(text) ? (uint8_t)(text[i] - '0') : 0;
}

/* Whether a text that has been equal to its bounds up to digit <i> of the
 * fraction may end there. */
static bool may_end(const struct span *s, unsigned i, unsigned tight)
{
    bool lo_over = i >= strlen(s->lo->fraction);
    bool hi_over = i >= strlen(s->hi->fraction);

    if (tight & 1 && (!lo_over || s->lo->exclusive))
        return false;
    return !(tight & 2) || !hi_over || !s->hi->exclusive;
}

/* The digits from <lo> to <hi> that are equal to a bound one by one, and those
 * between in one go: the run that begins with <d>. */
struct digits {
    uint8_t last;
    unsigned tight;
};

static struct digits digits_at(uint8_t d, uint8_t lo, uint8_t hi,
                               unsigned tight)
{
    struct digits r = {d, (tight & 1 && d == lo ? 1u : 0u) |
                              (tight & 2 && d == hi ? 2u : 0u)};

    if (!r.tight)
        r.last = tight & 2 ? hi - 1 : 9;
    return r;
}

/* A fraction from digit <i> on. */
static uint32_t fraction(struct automaton *a, const struct span *s, unsigned i,
                         unsigned tight)
{
    bool over = may_end(s, i, tight);
    uint32_t out = i > 0 && over ? s->next : AUTO_FAIL;
    uint8_t lo, hi;

    if (tight == 1 && over)
        tight = 0;
    if (tight == 0 && i == 0)
        return digit(a, 0, s->rest_fraction[FRACTION_MAX - 1]);
    if (tight == 0)
        return s->rest_fraction[i < FRACTION_MAX ? FRACTION_MAX - i : 0];
    if (i >= TIGHT_MAX)
        return out;
    lo = tight & 1 ? at_digit(s->lo->fraction, i) : 0;
    hi = tight & 2 ? at_digit(s->hi->fraction, i) : 9;
    for (unsigned d = lo; d <= hi; d++) {
        struct digits r = digits_at((uint8_t)d, lo, hi, tight);
        out = auto_split(a, out,
                         auto_range(a, (uint8_t)('0' + d),
                                    (uint8_t)('0' + r.last),
                                    fraction(a, s, i + 1, r.tight)));
        d = r.last;
    }
    return out;
}

/* What follows a whole part: nothing where it keeps within, or a fraction. */
static uint32_t after_whole(struct automaton *a, const struct span *s,
                            unsigned tight)
{
    uint32_t out = may_end(s, 0, tight) ? s->next : AUTO_FAIL;

    if (s->integer)
        return out;
    return auto_split(a, out, auto_text(a, STR("."), fraction(a, s, 0, tight)));
}

/* Whole digits from <i> on. */
static uint32_t whole(struct automaton *a, const struct span *s, unsigned i,
                      unsigned tight)
{
    uint8_t lo = i == 0 && s->n > 1 ? 1 : 0, hi = 9;
    uint32_t out = AUTO_FAIL;

    if (i == s->n)
        return tight ? after_whole(a, s, tight) : s->rest_whole[0];
    if (tight == 0 && i > 0)
        return s->rest_whole[s->n - i];
    if (tight & 1)
        lo = at_digit(s->lo->whole, i);
    if (tight & 2)
        hi = at_digit(s->hi->whole, i);
    for (unsigned d = lo; d <= hi; d++) {
        struct digits r = digits_at((uint8_t)d, lo, hi, tight);
        out = auto_split(a, out,
                         auto_range(a, (uint8_t)('0' + d),
                                    (uint8_t)('0' + r.last),
                                    whole(a, s, i + 1, r.tight)));
        d = r.last;
    }
    return out;
}

/* Magnitudes from <lo> to <hi>, both given. */
static uint32_t magnitude(struct automaton *a, bool integer,
                          const struct auto_bound *lo,
                          const struct auto_bound *hi, uint32_t next)
{
    struct span s = {.integer = integer, .lo = lo, .hi = hi, .next = next};
    unsigned lo_n = (unsigned)strlen(lo->whole);
    unsigned hi_n = (unsigned)strlen(hi->whole);
    uint32_t out = AUTO_FAIL;

    s.rest_fraction[0] = next;
    for (unsigned i = 1; i <= FRACTION_MAX && !integer; i++)
        s.rest_fraction[i] =
            auto_split(a, next, digit(a, 0, s.rest_fraction[i - 1]));
    s.rest_whole[0] = after_whole(a, &s, 0);
    for (unsigned i = 1; i < hi_n; i++)
        s.rest_whole[i] = digit(a, 0, s.rest_whole[i - 1]);
    for (s.n = lo_n; s.n <= hi_n; s.n++)
        out = auto_split(
            a, out,
            whole(a, &s, 0, (s.n == lo_n ? 1u : 0u) | (s.n == hi_n ? 2u : 0u)));
    return out;
}

/* The largest magnitude when there is no bound: all nines, but at least as
 * long as <other>. */
static struct auto_bound ceiling(const struct auto_bound *other)
{
    struct auto_bound b = {.given = true};
    size_t n = other->given ? strlen(other->whole) : 0;

    memset(b.whole, '9', n > WHOLE_MAX ? n : WHOLE_MAX);
    memset(b.fraction, '9', FRACTION_MAX);
    return b;
}

uint32_t auto_number(struct automaton *a, bool integer,
                     const struct auto_bound *lo, const struct auto_bound *hi,
                     uint32_t next)
{
    struct auto_bound zero = {.given = true, .whole = "0"}, top;
    uint32_t out = AUTO_FAIL;

    if (!lo->given && !hi->given)
        return free_number(a, integer, next);
    if (!hi->given || !hi->negative) {
        top = hi->given ? *hi : ceiling(lo);
        out = magnitude(a, integer, lo->given && !lo->negative ? lo : &zero,
                        &top, next);
    }
    if (!lo->given || lo->negative) {
        top = lo->given ? *lo : ceiling(hi);
        /* -0 is 0. */
        zero.exclusive = hi->given && hi->exclusive &&
                         strcmp(hi->whole, "0") == 0 && !hi->fraction[0];
        out = auto_split(
            a, out,
            auto_text(a, STR("-"),
                      magnitude(a, integer,
                                hi->given && hi->negative ? hi : &zero, &top,
                                next)));
    }
    return out;
}
