/* automaton_text.c - JSON's parts as programs: characters, strings, white
 * space, any value. Strings hold whole UTF-8 characters; \u0000 and half
 * surrogate pairs are left out, since many readers take them for errors. */
#include "token/automaton.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

#define INDENT_MAX 16

/* --- code points as UTF-8 ----------------------------------------------- */

/* Bytes of one length, from those of <lo> to those of <hi>, n >= 1. */
static uint32_t utf8_between(struct automaton *a, const char *lo,
                             const char *hi, size_t n, uint32_t next)
{
    uint8_t l = (uint8_t)lo[0], h = (uint8_t)hi[0];
    uint32_t all, part, out = AUTO_FAIL;

    if (n == 1)
        return auto_range(a, l, h, next);
    if (l == h)
        return auto_range(a, l, l,
                          utf8_between(a, lo + 1, hi + 1, n - 1, next));
    if (strspn(lo + 1, "\x80") != n - 1) {
        part = utf8_between(a, lo + 1, "\xbf\xbf\xbf", n - 1, next);
        out = auto_range(a, l++, (uint8_t)lo[0], part);
    }
    if (strspn(hi + 1, "\xbf") != n - 1) {
        part = utf8_between(a, "\x80\x80\x80", hi + 1, n - 1, next);
        out = auto_split(a, out, auto_range(a, h, h, part));
        h--;
    }
    if (l > h)
        return out;
    all = next;
    for (size_t i = 1; i < n; i++)
        all = auto_range(a, 0x80, 0xBF, all);
    return auto_split(a, out, auto_range(a, l, h, all));
}

/* Raw UTF-8 of the code points lo .. hi, none of them a surrogate. */
static uint32_t utf8_run(struct automaton *a, uint32_t lo, uint32_t hi,
                         uint32_t next)
{
    static const uint32_t ends[] = {0x7F, 0x7FF, 0xFFFF, 0x10FFFF};
    uint32_t out = AUTO_FAIL;

    for (size_t i = 0; i < 4 && lo <= hi; i++) {
        char l[5] = {0}, h[5] = {0};
        if (lo > ends[i])
            continue;
        utf8_put(lo, l);
        utf8_put(hi < ends[i] ? hi : ends[i], h);
        out = auto_split(a, out, utf8_between(a, l, h, i + 1, next));
        lo = ends[i] + 1;
    }
    return out;
}

/* How ASCII <cp>, which a JSON string must escape, is written in <out>; its
 * length. */
static size_t escape_text(uint32_t cp, char out[6])
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    static const char hex[] = "0123456789abcdef";
    const char *at = memchr(from, (int)cp, sizeof(from) - 1);

    memcpy(out, "\\u00", 4);
    if (at) {
        out[1] = to[at - from];
        return 2;
    }
    out[4] = hex[cp >> 4];
    out[5] = hex[cp & 15];
    return 6;
}

/* One of the ASCII characters of <set> that a JSON string must escape, behind
 * one common backslash. */
static uint32_t escaped_any(struct automaton *a, const struct auto_set *set,
                            uint32_t next)
{
    struct auto_word words[40];
    char text[40][6];
    size_t n = 0;

    for (uint32_t cp = 1; cp < 0x60; cp++) {
        if (!(set->bits[cp / 64] >> cp % 64 & 1))
            continue;
        words[n].text = str_of(text[n], escape_text(cp, text[n]));
        words[n++].next = next;
    }
    return auto_words(a, words, n);
}

/* The part lo .. hi of a run beyond ASCII. */
static uint32_t run_part(struct automaton *a, uint32_t lo, uint32_t hi,
                         uint32_t next)
{
    uint32_t out = AUTO_FAIL;

    if (lo <= hi && lo < 0xD800)
        out = utf8_run(a, lo, hi < 0xD800 ? hi : 0xD7FF, next);
    if (hi > 0xDFFF)
        out = auto_split(a, out,
                         utf8_run(a, lo > 0xDFFF ? lo : 0xE000, hi, next));
    return out;
}

uint32_t auto_char_of(struct automaton *a, const struct auto_run *runs,
                      size_t n, uint32_t next)
{
    struct auto_set raw = {{0}}, hidden = {{0}};
    uint32_t out = AUTO_FAIL;

    for (size_t i = 0; i < n; i++) {
        uint32_t lo = runs[i].lo ? runs[i].lo : 1; /* no NUL */
        for (; lo <= runs[i].hi && lo < 0x80; lo++) {
            bool must = lo < 0x20 || lo == '"' || lo == '\\';
            struct auto_set *set = must ? &hidden : &raw;
            set->bits[lo / 64] |= (uint64_t)1 << lo % 64;
        }
        if (lo <= runs[i].hi)
            out = auto_split(a, out, run_part(a, lo, runs[i].hi, next));
    }
    out = auto_split(a, auto_set_of(a, &raw, next), out);
    if (next == AUTO_FAIL)
        return AUTO_FAIL;
    return auto_split(a, out, escaped_any(a, &hidden, next));
}

uint32_t auto_string_text(struct automaton *a, struct str text, uint32_t next)
{
    for (size_t i = text.len; i > 0; i--) {
        uint8_t c = (uint8_t)text.p[i - 1];
        char escape[6];
        if (c == 0)
            return AUTO_FAIL;
        if (c < 0x20 || c == '"' || c == '\\')
            next = auto_text(a, str_of(escape, escape_text(c, escape)), next);
        else
            next = auto_range(a, c, c, next);
    }
    return next;
}

/* --- strings ------------------------------------------------------------ */

/* Four hexadecimal digits lo .. hi of a code unit. */
static uint32_t hex_between(struct automaton *a, unsigned lo, unsigned hi,
                            uint32_t next)
{
    struct auto_set set = {{0}};

    for (unsigned d = lo; d <= hi; d++) {
        unsigned c = d < 10 ? '0' + d : 'a' + d - 10;
        set.bits[c / 64] |= (uint64_t)1 << c % 64;
        if (d >= 10)
            set.bits[(c - 32) / 64] |= (uint64_t)1 << (c - 32) % 64;
    }
    return auto_set_of(a, &set, next);
}

static uint32_t hex_any(struct automaton *a, unsigned n, uint32_t next)
{
    for (; n > 0; n--)
        next = hex_between(a, 0, 15, next);
    return next;
}

/* What follows "\u": any unit but NUL and surrogates, or a whole pair. */
static uint32_t unicode_escape(struct automaton *a, uint32_t next)
{
    uint32_t low, out, x;

    low = hex_between(a, 12, 15, hex_any(a, 2, next));
    low = auto_text(a, STR("\\u"), hex_between(a, 13, 13, low));
    out = hex_between(a, 13, 13, hex_between(a, 8, 11, hex_any(a, 2, low)));
    x = hex_between(a, 13, 13, hex_between(a, 0, 7, hex_any(a, 2, next)));
    out = auto_split(a, out, x);
    x = auto_split(a, hex_between(a, 1, 12, hex_any(a, 3, next)),
                   hex_between(a, 14, 15, hex_any(a, 3, next)));
    out = auto_split(a, out, x);
    x = hex_between(a, 0, 0, hex_between(a, 1, 15, next));
    x = auto_split(a, x, hex_between(a, 1, 15, hex_any(a, 1, next)));
    x = auto_split(a, hex_between(a, 0, 0, x),
                   hex_between(a, 1, 15, hex_any(a, 2, next)));
    return auto_split(a, out, hex_between(a, 0, 0, x));
}

/* Any one character in any spelling, up to AUTO_RET; shared. */
static uint32_t any_char(struct automaton *a)
{
    static const struct auto_run high = {0x80, 0x10FFFF};
    struct auto_set set = {{0xFFFFFFFF00000000u & ~((uint64_t)1 << '"'),
                            ~((uint64_t)1 << ('\\' - 64)), 0, 0}};
    uint32_t simple, out;

    if (a->chars != AUTO_FAIL)
        return a->chars;
    out = auto_set_of(a, &set, AUTO_RET);
    if (!a->err)
        a->nodes[out].plain = true;
    out = auto_split(a, out, auto_char_of(a, &high, 1, AUTO_RET));
    memset(&set, 0, sizeof(set));
    for (const char *c = "\"\\/bfnrt"; *c; c++)
        set.bits[*c / 64] |= (uint64_t)1 << *c % 64;
    simple = auto_set_of(a, &set, AUTO_RET);
    simple = auto_split(a, simple,
                        auto_text(a, STR("u"), unicode_escape(a, AUTO_RET)));
    a->chars = auto_split(a, out, auto_text(a, STR("\\"), simple));
    return a->chars;
}

uint32_t auto_string(struct automaton *a, uint32_t min, uint32_t max,
                     uint32_t next)
{
    uint32_t end = auto_text(a, STR("\""), next);

    return auto_text(a, STR("\""), auto_loop(a, any_char(a), min, max, end));
}

/* One of the keys while they are laid out as a tree. */
static int by_bytes(const void *x, const void *y)
{
    const struct str *a = x, *b = y;
    size_t n = a->len < b->len ? a->len : b->len;
    int c = n ? memcmp(a->p, b->p, n) : 0;

    return c ? c : (a->len > b->len) - (a->len < b->len);
}

/* What tells a string from keys[0 .. n), which agree in <at> bytes: its end
 * when no key ends here, a character that none goes on with, or one that some
 * do and then what tells it from those. <rest>: any end of a string; <end>:
 * the closing quote. */
static uint32_t but_tree(struct automaton *a, const struct str *keys, size_t n,
                         size_t at, const uint32_t rest_end[2])
{
    struct auto_run runs[2] = {{0x20, 0}, {0, 0}};
    uint32_t out = AUTO_FAIL, from = 0x20, cp = 0;
    size_t i = 0;

    while (i < n && keys[i].len == at)
        i++;
    if (i == 0)
        out = rest_end[1];
    while (i < n && !a->err) {
        struct str tail = str_skip(keys[i], at);
        size_t len = utf8_next(tail, &cp), j = i;
        while (j < n && str_starts(str_skip(keys[j], at), str_of(tail.p, len)))
            j++;
        if (cp >= 0x20 && cp != '"' && cp != '\\')
            out = auto_split(
                a, out,
                auto_text(a, str_of(tail.p, len),
                          but_tree(a, keys + i, j - i, at + len, rest_end)));
        runs[0] = (struct auto_run){from, cp - 1};
        if (cp > from)
            out = auto_split(a, out, auto_char_of(a, runs, 1, rest_end[0]));
        from = cp >= from ? cp + 1 : from;
        i = j;
    }
    runs[0] = (struct auto_run){from, 0x10FFFF};
    return auto_split(a, out, auto_char_of(a, runs, 1, rest_end[0]));
}

uint32_t auto_string_but(struct automaton *a, const struct str *keys, size_t n,
                         uint32_t next)
{
    static const struct auto_run raw[] = {
        {0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0x10FFFF}};
    uint32_t rest_end[2], out;
    struct str *sorted;

    if (n == 0)
        return auto_string(a, 0, AUTO_NO_MAX, next);
    sorted = malloc(n * sizeof(*sorted));
    if (!sorted) {
        a->err = a->err ? a->err : ERR_NOMEM;
        return AUTO_FAIL;
    }
    memcpy(sorted, keys, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), by_bytes);
    rest_end[1] = auto_text(a, STR("\""), next);
    rest_end[0] = auto_loop(a, auto_char_of(a, raw, 3, AUTO_RET), 0,
                            AUTO_NO_MAX, rest_end[1]);
    out = but_tree(a, sorted, n, 0, rest_end);
    free(sorted);
    return auto_text(a, STR("\""), out);
}

/* --- between the values ------------------------------------------------- */

uint32_t auto_space(struct automaton *a, uint32_t next)
{
    struct auto_set blank = {{(uint64_t)1 << ' ' | (uint64_t)1 << '\t'}};
    uint32_t line;

    if (a->indent == AUTO_FAIL)
        a->indent = auto_set_of(a, &blank, AUTO_RET);
    line = auto_loop(a, a->indent, 0, INDENT_MAX, next);
    return auto_split(a, next,
                      auto_split(a, auto_text(a, STR(" "), next),
                                 auto_text(a, STR("\n"), line)));
}

uint32_t auto_colon(struct automaton *a, uint32_t next)
{
    return auto_text(a, STR(":"),
                     auto_split(a, next, auto_text(a, STR(" "), next)));
}

/* Members of any kind, up to the closing brace. */
static uint32_t any_members(struct automaton *a, uint32_t value, uint32_t next)
{
    uint32_t close = auto_space(a, auto_text(a, STR("}"), next));
    uint32_t after = auto_hole(a), member;

    member = auto_string(a, 0, AUTO_NO_MAX,
                         auto_colon(a, auto_call(a, value, after)));
    auto_fill(
        a, after,
        auto_split(a, auto_text(a, STR(","), auto_space(a, member)), close));
    return auto_split(a, auto_space(a, member), close);
}

/* Elements of any kind, up to the closing bracket. */
static uint32_t any_elements(struct automaton *a, uint32_t value, uint32_t next)
{
    uint32_t close = auto_space(a, auto_text(a, STR("]"), next));
    uint32_t after = auto_hole(a), item = auto_call(a, value, after);

    auto_fill(
        a, after,
        auto_split(a, auto_text(a, STR(","), auto_space(a, item)), close));
    return auto_split(a, auto_space(a, item), close);
}

/* The shared part that is any value. */
static uint32_t value_part(struct automaton *a)
{
    static const struct auto_bound none = {.given = false};
    uint32_t out;

    if (a->value != AUTO_FAIL)
        return a->value;
    a->value = auto_hole(a);
    out = auto_string(a, 0, AUTO_NO_MAX, AUTO_RET);
    out = auto_split(a, out, auto_number(a, false, &none, &none, AUTO_RET));
    out = auto_split(a, out, auto_text(a, STR("true"), AUTO_RET));
    out = auto_split(a, out, auto_text(a, STR("false"), AUTO_RET));
    out = auto_split(a, out, auto_text(a, STR("null"), AUTO_RET));
    out = auto_split(
        a, out, auto_text(a, STR("{"), any_members(a, a->value, AUTO_RET)));
    out = auto_split(
        a, out, auto_text(a, STR("["), any_elements(a, a->value, AUTO_RET)));
    auto_fill(a, a->value, out);
    return a->value;
}

uint32_t auto_value(struct automaton *a, uint32_t next)
{
    return auto_call(a, value_part(a), next);
}

uint32_t auto_object(struct automaton *a, uint32_t next)
{
    return auto_text(a, STR("{"), any_members(a, value_part(a), next));
}
