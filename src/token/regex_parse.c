/* regex_parse.c - Reading regular expressions. */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "token/regex_tree.h"

#define NESTING_MAX 40
#define LAST_CP     0x10FFFFu

/* A pattern being read; the first mistake sticks. */
struct reader {
    struct str left;
    struct regex_tree *t;
    enum err err;
    const char *why;
    unsigned nesting;
    bool lead, tail; /* the branch at hand had ^ in front, $ at its end */
};

static uint32_t read_alternatives(struct reader *r);

static uint32_t refuse(struct reader *r, enum err err, const char *why)
{
    if (!r->err) {
        r->err = err;
        r->why = why;
    }
    r->left.len = 0;
    return 0;
}

static bool take(struct reader *r, const char *text)
{
    if (!str_starts(r->left, str_from(text)))
        return false;
    r->left = str_skip(r->left, strlen(text));
    return true;
}

static char peek(const struct reader *r)
{
    return r->left.len ? r->left.p[0] : '\0';
}

/* --- the tree ----------------------------------------------------------- */

static uint32_t put(struct reader *r, struct regex_node n)
{
    if (r->t->n_nodes >= REGEX_NODES_MAX)
        return refuse(r, ERR_FULL, "the pattern is too large");
    r->t->nodes[r->t->n_nodes] = n;
    return r->t->n_nodes++;
}

static uint32_t cat(struct reader *r, uint32_t a, uint32_t b)
{
    const struct regex_node *x = &r->t->nodes[a], *y = &r->t->nodes[b];

    if (x->op == REGEX_EMPTY)
        return b;
    if (y->op == REGEX_EMPTY)
        return a;
    return put(r, (struct regex_node){.op = REGEX_CAT,
                                      .a = a,
                                      .b = b,
                                      .nullable = x->nullable && y->nullable});
}

static uint32_t alt(struct reader *r, uint32_t a, uint32_t b)
{
    bool nullable = r->t->nodes[a].nullable || r->t->nodes[b].nullable;

    return put(r, (struct regex_node){
                      .op = REGEX_ALT, .a = a, .b = b, .nullable = nullable});
}

static uint32_t repeat(struct reader *r, uint32_t a, uint32_t min, uint32_t max)
{
    bool nullable = min == 0 || r->t->nodes[a].nullable;

    return put(r, (struct regex_node){.op = REGEX_REPEAT,
                                      .a = a,
                                      .min = min,
                                      .max = max,
                                      .nullable = nullable});
}

/* --- classes ------------------------------------------------------------ */

static void put_run(struct reader *r, uint32_t lo, uint32_t hi)
{
    if (r->t->n_runs >= REGEX_RUNS_MAX - 2)
        refuse(r, ERR_FULL, "the pattern is too large");
    else
        r->t->runs[r->t->n_runs++] = (struct auto_run){lo, hi};
}

static int by_lo(const void *x, const void *y)
{
    const struct auto_run *a = x, *b = y;

    return (a->lo > b->lo) - (a->lo < b->lo);
}

/* Sort the runs from <first> on, join those that touch. */
static void tidy(struct reader *r, uint32_t first)
{
    struct auto_run *runs = r->t->runs;
    uint32_t n = first;

    qsort(runs + first, r->t->n_runs - first, sizeof(*runs), by_lo);
    for (uint32_t i = first; i < r->t->n_runs; i++) {
        if (n > first && runs[i].lo <= runs[n - 1].hi + 1) {
            if (runs[i].hi > runs[n - 1].hi)
                runs[n - 1].hi = runs[i].hi;
            continue;
        }
        runs[n++] = runs[i];
    }
    r->t->n_runs = n;
}

/* Turn the runs from <first> on into all others. */
static void invert(struct reader *r, uint32_t first)
{
    struct auto_run *runs = r->t->runs;
    uint32_t from = 0, n = first, end;

    tidy(r, first);
    end = r->t->n_runs;
    for (uint32_t i = first; i < end; i++) {
        struct auto_run run = runs[i];
        if (run.lo > from)
            runs[n++] = (struct auto_run){from, run.lo - 1};
        from = run.hi + 1;
    }
    r->t->n_runs = n;
    if (from <= LAST_CP)
        put_run(r, from, LAST_CP);
}

/* The class of the runs from <first> on. */
static uint32_t class_of(struct reader *r, uint32_t first, bool inverted)
{
    if (inverted)
        invert(r, first);
    else
        tidy(r, first);
    return put(r, (struct regex_node){.op = REGEX_CLASS,
                                      .a = first,
                                      .n = r->t->n_runs - first});
}

static void put_digits(struct reader *r)
{
    put_run(r, '0', '9');
}

static void put_words(struct reader *r)
{
    put_run(r, '0', '9');
    put_run(r, 'A', 'Z');
    put_run(r, '_', '_');
    put_run(r, 'a', 'z');
}

static void put_blanks(struct reader *r)
{
    static const struct auto_run blanks[] = {
        {9, 13},          {32, 32},         {0xA0, 0xA0},     {0x1680, 0x1680},
        {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F},
        {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};

    for (size_t i = 0; i < sizeof(blanks) / sizeof(*blanks); i++)
        put_run(r, blanks[i].lo, blanks[i].hi);
}

/* Put the runs of \d \D \w \W \s \S; false when <c> is none of these. */
static bool put_shorthand(struct reader *r, char c)
{
    uint32_t first = r->t->n_runs;

    switch (c | 0x20) {
    case 'd':
        put_digits(r);
        break;
    case 'w':
        put_words(r);
        break;
    case 's':
        put_blanks(r);
        break;
    default:
        return false;
    }
    if (!(c & 0x20))
        invert(r, first);
    return true;
}

/* --- single characters -------------------------------------------------- */

static uint32_t read_hex(struct reader *r, unsigned n)
{
    uint32_t v = 0;

    for (; n > 0; n--) {
        char c = peek(r);
        if (c >= '0' && c <= '9')
            v = v * 16 + (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            v = v * 16 + (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return refuse(r, ERR_SYNTAX,
                          "a hexadecimal escape of the pattern is unfinished");
        r->left = str_skip(r->left, 1);
    }
    return v;
}

/* What follows "\u": four digits, a pair of them, or digits in braces. */
static uint32_t read_unicode(struct reader *r)
{
    uint32_t v, low;
    struct str back;

    if (take(r, "{")) {
        for (v = 0; r->left.len && peek(r) != '}' && v <= LAST_CP;)
            v = v * 16 + read_hex(r, 1);
        if (!take(r, "}") || v > LAST_CP)
            return refuse(r, ERR_SYNTAX,
                          "a \\u{} of the pattern is no code "
                          "point");
        return v;
    }
    v = read_hex(r, 4);
    back = r->left;
    if (v >= 0xD800 && v < 0xDC00 && take(r, "\\u")) {
        low = read_hex(r, 4);
        if (low >= 0xDC00 && low < 0xE000)
            return 0x10000 + ((v - 0xD800) << 10) + (low - 0xDC00);
        r->left = r->err ? r->left : back;
    }
    return v;
}

/* The character that the escape after a backslash means. */
static uint32_t read_escape(struct reader *r)
{
    static const char from[] = "tnvfr", to[] = "\t\n\v\f\r";
    char c = peek(r);
    const char *at = c ? strchr(from, c) : NULL;

    if (!r->left.len)
        return refuse(r, ERR_SYNTAX, "the pattern ends in a backslash");
    r->left = str_skip(r->left, 1);
    if (at)
        return (uint32_t)to[at - from];
    if (c == 'x')
        return read_hex(r, 2);
    if (c == 'u')
        return read_unicode(r);
    if (c == '0' && !(peek(r) >= '0' && peek(r) <= '9'))
        return 0;
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
        (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80)
        return refuse(r, ERR_REFUSED,
                      "an escape of the pattern (a back reference, a word "
                      "border, a property) is not supported");
    return (uint32_t)c;
}

/* One raw code point. */
static uint32_t read_raw(struct reader *r)
{
    uint32_t cp = 0;
    size_t n = utf8_next(r->left, &cp);

    if (n == 0)
        return refuse(r, ERR_SYNTAX, "the pattern is not valid UTF-8");
    r->left = str_skip(r->left, n);
    return cp;
}

/* One end of a range within brackets; false when it was a shorthand, whose
 * runs are put. */
static bool read_member(struct reader *r, uint32_t *cp)
{
    if (!take(r, "\\")) {
        *cp = read_raw(r);
        return true;
    }
    if (put_shorthand(r, peek(r))) {
        r->left = str_skip(r->left, 1);
        return false;
    }
    *cp = take(r, "b") ? 8 : read_escape(r);
    return true;
}

/* What stands between brackets, the opening one being read. */
static uint32_t read_brackets(struct reader *r)
{
    uint32_t first = r->t->n_runs, lo = 0, hi = 0;
    bool inverted = take(r, "^");

    while (r->left.len && !take(r, "]")) {
        bool single = read_member(r, &lo);
        if (r->err || !single)
            continue;
        hi = lo;
        if (r->left.len > 1 && peek(r) == '-' && r->left.p[1] != ']') {
            take(r, "-");
            if (!read_member(r, &hi)) {
                put_run(r, '-', '-');
                hi = lo;
            }
        }
        if (hi < lo)
            return refuse(r, ERR_SYNTAX,
                          "a range of the pattern is out of order");
        put_run(r, lo, hi);
        if (!r->left.len)
            return refuse(r, ERR_SYNTAX, "a class of the pattern has no end");
    }
    return class_of(r, first, inverted);
}

/* --- atoms and above ---------------------------------------------------- */

/* A group, its opening parenthesis being read. */
static uint32_t read_group(struct reader *r)
{
    uint32_t out;

    if (take(r, "?")) {
        bool named = str_starts(r->left, STR("<")) &&
                     !str_starts(r->left, STR("<=")) &&
                     !str_starts(r->left, STR("<!"));
        if (named)
            r->left = str_skip(r->left, str_find_char(r->left, '>') + 1);
        else if (!take(r, ":"))
            return refuse(r, ERR_REFUSED,
                          "look-around in a pattern is not supported");
    }
    if (++r->nesting > NESTING_MAX)
        return refuse(r, ERR_FULL, "the pattern is nested too deep");
    out = read_alternatives(r);
    r->nesting--;
    if (!take(r, ")"))
        return refuse(r, ERR_SYNTAX, "a group of the pattern has no end");
    return out;
}

static uint32_t read_atom(struct reader *r)
{
    uint32_t first = r->t->n_runs, cp;

    if (take(r, "("))
        return read_group(r);
    if (take(r, "["))
        return read_brackets(r);
    if (take(r, ".")) {
        put_run(r, '\n', '\n');
        put_run(r, '\r', '\r');
        put_run(r, 0x2028, 0x2029);
        return class_of(r, first, true);
    }
    if (peek(r) == '^' || peek(r) == '$')
        return refuse(r, ERR_REFUSED,
                      "anchors within a pattern are not supported");
    if (strchr("*+?{", peek(r)) && peek(r))
        return refuse(r, ERR_SYNTAX,
                      "a quantifier of the pattern has nothing to repeat");
    if (take(r, "\\")) {
        if (put_shorthand(r, peek(r))) {
            r->left = str_skip(r->left, 1);
            return class_of(r, first, false);
        }
        cp = read_escape(r);
    } else {
        cp = read_raw(r);
    }
    put_run(r, cp, cp);
    return class_of(r, first, false);
}

/* Decimal digits; AUTO_NO_MAX when there are none. */
static uint32_t read_count(struct reader *r)
{
    uint32_t v = AUTO_NO_MAX;

    while (peek(r) >= '0' && peek(r) <= '9') {
        v = (v == AUTO_NO_MAX ? 0 : v) * 10 + (uint32_t)(peek(r) - '0');
        if (v > REGEX_REPEAT_MAX)
            refuse(r, ERR_FULL, "a quantifier of the pattern is too large");
        r->left = str_skip(r->left, 1);
    }
    return v;
}

/* Apply the quantifiers that follow <atom>. */
static uint32_t read_quantifier(struct reader *r, uint32_t atom)
{
    uint32_t min = 1, max = 1;

    if (take(r, "*")) {
        min = 0;
        max = AUTO_NO_MAX;
    } else if (take(r, "+")) {
        max = AUTO_NO_MAX;
    } else if (take(r, "?")) {
        min = 0;
    } else if (take(r, "{")) {
        min = read_count(r);
        max = take(r, ",") ? read_count(r) : min;
        if (min == AUTO_NO_MAX || !take(r, "}") || min > max)
            return refuse(r, ERR_SYNTAX,
                          "a quantifier of the pattern is wrong");
    } else {
        return atom;
    }
    take(r, "?");
    if (peek(r) && strchr("*+?{", peek(r)))
        return refuse(r, ERR_SYNTAX,
                      "a quantifier of the pattern has nothing to repeat");
    return repeat(r, atom, min, max);
}

/* One branch; at the top its anchors are noted. */
static uint32_t read_branch(struct reader *r)
{
    uint32_t out = put(r, (struct regex_node){.nullable = true}), atom;

    if (r->nesting == 0)
        r->lead = r->tail = false;
    while (r->nesting == 0 && take(r, "^"))
        r->lead = true;
    while (r->left.len && peek(r) != '|' && peek(r) != ')' && !r->err) {
        if (r->nesting == 0 && take(r, "$")) {
            r->tail = true;
            if (r->left.len && peek(r) != '|' && peek(r) != '$')
                return refuse(r, ERR_REFUSED,
                              "anchors within a pattern are not supported");
            continue;
        }
        atom = read_quantifier(r, read_atom(r));
        out = cat(r, out, atom);
    }
    return out;
}

/* Any characters around a branch that is not anchored. */
static uint32_t with_ends(struct reader *r, uint32_t branch)
{
    uint32_t first = r->t->n_runs, any;

    if (r->lead && r->tail)
        return branch;
    put_run(r, 0, LAST_CP);
    any = repeat(r, class_of(r, first, false), 0, AUTO_NO_MAX);
    if (!r->lead)
        branch = cat(r, any, branch);
    return r->tail ? branch : cat(r, branch, any);
}

static uint32_t read_alternatives(struct reader *r)
{
    uint32_t out = read_branch(r);

    if (r->nesting == 0)
        out = with_ends(r, out);
    while (!r->err && take(r, "|")) {
        uint32_t more = read_branch(r);
        if (r->nesting == 0)
            more = with_ends(r, more);
        out = alt(r, out, more);
    }
    return out;
}

enum err regex_parse(struct str pattern, struct regex_tree *t, const char **why)
{
    struct reader r = {.left = pattern, .t = t};

    t->n_nodes = t->n_runs = 0;
    t->root = read_alternatives(&r);
    if (!r.err && r.left.len)
        refuse(&r, ERR_SYNTAX, "a parenthesis of the pattern is not opened");
    *why = r.why;
    return r.err;
}
