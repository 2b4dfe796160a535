/* tmpl_format.c - Python's "%" formatting of strings. */
#include <inttypes.h>
#include <stdio.h>

#include "token/tmpl_run.h"
#include "token/tmpl_uni.h"

/* A directive, as printf() would have it. */
struct directive {
    char flags[8];
    int width;
    int precision; /* -1 = none */
    char kind;
};

/* Digits at <at> of <s>, at most 999. */
static int digits(struct str s, size_t *at)
{
    int v = 0;

    while (*at < s.len && s.p[*at] >= '0' && s.p[*at] <= '9' && v < 1000)
        v = v * 10 + (s.p[(*at)++] - '0');
    return v > 999 ? 999 : v;
}

/* Parse what follows a "%"; its length, 0 when it is none. */
static size_t parse_directive(struct str s, struct directive *d)
{
    size_t at = 0, n = 0;

    *d = (struct directive){.precision = -1};
    while (at < s.len && s.p[at] && strchr("-+ #0", s.p[at]) && n < 6)
        d->flags[n++] = s.p[at++];
    d->width = digits(s, &at);
    if (at < s.len && s.p[at] == '.') {
        at++;
        d->precision = digits(s, &at);
    }
    if (at >= s.len || !s.p[at] || !strchr("sridfFeEgGxXo", s.p[at]))
        return 0;
    d->kind = s.p[at];
    return at + 1;
}

static enum err put_many(struct tmpl_run *run, struct tmpl_room *r,
                         const char *c, size_t n)
{
    while (n-- > 0)
        ERR_TRY(tmpl_room_put(run, r, str_from(c), false));
    return ERR_OK;
}

static enum err put_string(struct tmpl_run *run, struct tmpl_room *r,
                           const struct directive *d, struct tmpl_val v)
{
    struct tmpl_val bounds[3] = {tmpl_none(), tmpl_none(), tmpl_none()};
    size_t chars, pad;

    ERR_TRY(tmpl_to_str(run, v, &v));
    if (d->precision >= 0) {
        bounds[1] = tmpl_int(d->precision);
        ERR_TRY(tmpl_slice(run, v, bounds, &v));
    }
    chars = tmpl_str_chars(v.u.s);
    pad = (size_t)d->width > chars ? (size_t)d->width - chars : 0;
    if (!strchr(d->flags, '-'))
        ERR_TRY(put_many(run, r, " ", pad));
    ERR_TRY(tmpl_room_add(run, r, v.u.s));
    return strchr(d->flags, '-') ? put_many(run, r, " ", pad) : ERR_OK;
}

/* The digits of a number without its sign; false when <d> wants none such. */
static bool put_digits(const struct directive *d, double real, uint64_t whole,
                       char *room, size_t cap)
{
    int digits = d->precision < 0 ? 6 : d->precision;

    switch (d->kind) {
    case 'd':
    case 'i':
        return (size_t)snprintf(room, cap, "%" PRIu64, whole) < cap;
    case 'x':
        return (size_t)snprintf(room, cap, "%" PRIx64, whole) < cap;
    case 'X':
        return (size_t)snprintf(room, cap, "%" PRIX64, whole) < cap;
    case 'o':
        return (size_t)snprintf(room, cap, "%" PRIo64, whole) < cap;
    case 'f':
    case 'F':
        return (size_t)snprintf(room, cap, "%.*f", digits, real) < cap;
    case 'e':
        return (size_t)snprintf(room, cap, "%.*e", digits, real) < cap;
    case 'E':
        return (size_t)snprintf(room, cap, "%.*E", digits, real) < cap;
    case 'g':
        return (size_t)snprintf(room, cap, "%.*g", digits, real) < cap;
    default:
        return (size_t)snprintf(room, cap, "%.*G", digits, real) < cap;
    }
}

static enum err put_number(struct tmpl_run *run, struct tmpl_room *r,
                           const struct directive *d, struct tmpl_val v)
{
    bool left = strchr(d->flags, '-'), zero = strchr(d->flags, '0') && !left;
    char room[1400];
    const char *sign = "";
    double real = 0;
    uint64_t whole;
    size_t len, pad;

    if (!tmpl_number(v, &real))
        return tmpl_fail(run, "%%%c needs a number, not %s", d->kind,
                         tmpl_type_name(v));
    if (strchr("dixXo", d->kind) && !(real > -9.2e18 && real < 9.2e18))
        return tmpl_fail(run, "number out of range");
    if (real < 0)
        sign = "-";
    else if (strchr(d->flags, '+'))
        sign = "+";
    else if (strchr(d->flags, ' '))
        sign = " ";
    whole = strchr("dixXo", d->kind) ? (uint64_t)(real < 0 ? -real : real) : 0;
    if (v.type == TMPL_INT)
        whole = v.u.i < 0 ? 0 - (uint64_t)v.u.i : (uint64_t)v.u.i;
    if (strchr(d->flags, '#') ||
        !put_digits(d, real < 0 ? -real : real, whole, room, sizeof(room)))
        return tmpl_fail(run, "unsupported format directive");
    len = strlen(sign) + strlen(room);
    pad = (size_t)d->width > len ? (size_t)d->width - len : 0;
    if (!left && !zero)
        ERR_TRY(put_many(run, r, " ", pad));
    ERR_TRY(tmpl_room_put(run, r, str_from(sign), v.taint));
    if (zero)
        ERR_TRY(put_many(run, r, "0", pad));
    ERR_TRY(tmpl_room_put(run, r, str_from(room), v.taint));
    return left ? put_many(run, r, " ", pad) : ERR_OK;
}

static enum err put_directive(struct tmpl_run *run, struct tmpl_room *r,
                              const struct directive *d, struct tmpl_val v)
{
    return d->kind == 's' || d->kind == 'r' ? put_string(run, r, d, v)
                                            : put_number(run, r, d, v);
}

/* The name in parentheses that a directive may begin with. */
static struct str directive_name(struct str s)
{
    size_t end = str_find_char(s, ')');

    if (s.len == 0 || s.p[0] != '(' || end == s.len)
        return (struct str){NULL, 0};
    return str_of(s.p + 1, end - 1);
}

/* The argument that <name> or the next position <used> means. */
static enum err pick(struct tmpl_run *run, struct str name,
                     const struct tmpl_val *args, size_t n, size_t *used,
                     struct tmpl_val *out)
{
    const struct tmpl_val *v = NULL;

    if (name.p && n == 1 && args[0].type == TMPL_DICT)
        v = tmpl_dict_find(args[0].u.dict, name);
    else if (!name.p && *used < n)
        v = &args[(*used)++];
    if (!v)
        return tmpl_fail(run, "not enough arguments for the format");
    *out = *v;
    return ERR_OK;
}

enum err tmpl_format(struct tmpl_run *run, const struct tmpl_str *fmt,
                     const struct tmpl_val *args, size_t n,
                     struct tmpl_val *out)
{
    struct str all = str_of(fmt->p, fmt->len);
    size_t at = 0, used = 0;
    struct tmpl_room *r;

    ERR_TRY(tmpl_alloc(run, sizeof(*r), &r));
    while (at < all.len) {
        size_t run_len = str_find_char(str_skip(all, at), '%'), len;
        struct directive d;
        struct tmpl_val v;
        struct str name;

        ERR_TRY(tmpl_room_copy(run, r, fmt, at, run_len));
        at += run_len;
        if (at == all.len)
            break;
        if (str_starts(str_skip(all, at), STR("%%"))) {
            ERR_TRY(tmpl_room_copy(run, r, fmt, at, 1));
            at += 2;
            continue;
        }
        name = directive_name(str_skip(all, at + 1));
        at += 1 + (name.p ? name.len + 2 : 0);
        len = parse_directive(str_skip(all, at), &d);
        if (len == 0)
            return tmpl_fail(run, "unsupported format directive");
        ERR_TRY(pick(run, name, args, n, &used, &v));
        ERR_TRY(put_directive(run, r, &d, v));
        at += len;
    }
    if (used < n && !(n == 1 && args[0].type == TMPL_DICT))
        return tmpl_fail(run, "not all arguments are used by the format");
    return tmpl_room_str(run, r, out);
}
