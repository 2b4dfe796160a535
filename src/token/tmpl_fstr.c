/* tmpl_fstr.c - Filters of strings and numbers. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "token/tmpl_filter.h"
#include "token/tmpl_uni.h"

/* --- case, white space -------------------------------------------------- */

static enum err recase(struct tmpl_run *run, struct tmpl_val v,
                       enum tmpl_case how, struct tmpl_val *out)
{
    ERR_TRY(tmpl_to_str(run, v, &v));
    return tmpl_recase(run, v.u.s, how, true, out);
}

enum err tmpl_f_upper(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    return recase(run, v, TMPL_UPPER, out);
}

enum err tmpl_f_lower(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    return recase(run, v, TMPL_LOWER, out);
}

enum err tmpl_f_capitalize(struct tmpl_run *run, struct tmpl_val v,
                           const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    return recase(run, v, TMPL_CAPITAL, out);
}

enum err tmpl_f_title(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    return recase(run, v, TMPL_TITLE, out);
}

enum err tmpl_f_string(struct tmpl_run *run, struct tmpl_val v,
                       const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    return tmpl_to_str(run, v, out);
}

enum err tmpl_f_trim(struct tmpl_run *run, struct tmpl_val v,
                     const struct tmpl_val *a, struct tmpl_val *out)
{
    const struct tmpl_str *set = NULL;

    if (a[0].type != TMPL_MISSING && a[0].type != TMPL_NONE)
        ERR_TRY(tmpl_want_str(run, "chars", a[0], NULL, &set));
    ERR_TRY(tmpl_to_str(run, v, &v));
    return tmpl_strip(run, v.u.s, set, true, true, out);
}

enum err tmpl_f_replace(struct tmpl_run *run, struct tmpl_val v,
                        const struct tmpl_val *a, struct tmpl_val *out)
{
    struct tmpl_val from_to[2];
    int64_t count;

    if (a[0].type == TMPL_MISSING || a[1].type == TMPL_MISSING)
        return tmpl_fail(run, "replace takes two strings");
    ERR_TRY(tmpl_want_int(run, "count", a[2], -1, &count));
    ERR_TRY(tmpl_to_str(run, v, &v));
    ERR_TRY(tmpl_to_str(run, a[0], &from_to[0]));
    ERR_TRY(tmpl_to_str(run, a[1], &from_to[1]));
    return tmpl_replace(run, v.u.s, from_to, count, out);
}

enum err tmpl_f_split(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a, struct tmpl_val *out)
{
    const struct tmpl_str *sep = NULL;
    int64_t max;

    if (a[0].type != TMPL_MISSING && a[0].type != TMPL_NONE)
        ERR_TRY(tmpl_want_str(run, "sep", a[0], NULL, &sep));
    ERR_TRY(tmpl_want_int(run, "maxsplit", a[1], -1, &max));
    ERR_TRY(tmpl_to_str(run, v, &v));
    return tmpl_split(run, v.u.s, sep, max, false, out);
}

/* What stands before each line: <width> spaces, or a string. */
static enum err indention(struct tmpl_run *run, struct tmpl_val width,
                          struct tmpl_val *out)
{
    struct tmpl_room *r;
    int64_t n;

    *out = width;
    if (width.type == TMPL_STR)
        return ERR_OK;
    ERR_TRY(tmpl_want_int(run, "width", width, 4, &n));
    ERR_TRY(tmpl_alloc(run, sizeof(*r), &r));
    for (int64_t i = 0; i < n; i++)
        ERR_TRY(tmpl_room_put(run, r, STR(" "), false));
    return tmpl_room_str(run, r, out);
}

enum err tmpl_f_indent(struct tmpl_run *run, struct tmpl_val v,
                       const struct tmpl_val *a, struct tmpl_val *out)
{
    bool first = tmpl_truth(a[1]), blank = tmpl_truth(a[2]);
    static const struct tmpl_str newline = {.p = "\n", .len = 1};
    struct tmpl_val lines, ind, nl = {.type = TMPL_STR, .u.s = &newline};
    struct tmpl_room *r;

    ERR_TRY(tmpl_to_str(run, v, &v));
    ERR_TRY(indention(run, a[0], &ind));
    ERR_TRY(tmpl_arith(run, TMPL_O_ADD, v, nl, &v));
    ERR_TRY(tmpl_splitlines(run, v.u.s, false, &lines));
    ERR_TRY(tmpl_alloc(run, sizeof(*r), &r));
    for (size_t i = 0; i < lines.u.list->n; i++) {
        const struct tmpl_str *line = lines.u.list->at[i].u.s;

        if (i > 0)
            ERR_TRY(tmpl_room_add(run, r, &newline));
        if (i == 0 ? first : blank || line->len > 0)
            ERR_TRY(tmpl_room_add(run, r, ind.u.s));
        ERR_TRY(tmpl_room_add(run, r, line));
    }
    return tmpl_room_str(run, r, out);
}

/* The first <n> characters of <v>. */
static enum err head(struct tmpl_run *run, struct tmpl_val v, int64_t n,
                     struct tmpl_val *out)
{
    const struct tmpl_val b[3] = {tmpl_none(), tmpl_int(n), tmpl_none()};

    return tmpl_slice(run, v, b, out);
}

enum err tmpl_f_truncate(struct tmpl_run *run, struct tmpl_val v,
                         const struct tmpl_val *a, struct tmpl_val *out)
{
    static const struct tmpl_str dots = {.p = "...", .len = 3};
    const struct tmpl_str *end;
    int64_t len, leeway, room;
    struct tmpl_val words;

    ERR_TRY(tmpl_want_int(run, "length", a[0], 255, &len));
    ERR_TRY(tmpl_want_str(run, "end", a[2], &dots, &end));
    ERR_TRY(tmpl_want_int(run, "leeway", a[3], 5, &leeway));
    ERR_TRY(tmpl_to_str(run, v, &v));
    room = len - (int64_t)tmpl_str_chars(end);
    if (room < 0 || leeway < 0 || len > INT64_MAX - leeway)
        return tmpl_fail(run, "truncate has no room for its end");
    *out = v;
    if ((int64_t)tmpl_str_chars(v.u.s) <= len + leeway)
        return ERR_OK;
    ERR_TRY(head(run, v, room, out));
    if (!tmpl_truth(a[1])) {
        static const struct tmpl_str space = {.p = " ", .len = 1};

        ERR_TRY(tmpl_split(run, out->u.s, &space, 1, true, &words));
        *out = words.u.list->at[0];
    }
    return tmpl_concat(run, out->u.s, end, out);
}

enum err tmpl_f_wordcount(struct tmpl_run *run, struct tmpl_val v,
                          const struct tmpl_val *a, struct tmpl_val *out)
{
    size_t at = 0;
    int64_t n = 0;
    bool in = false;
    uint32_t cp;

    (void)a;
    ERR_TRY(tmpl_to_str(run, v, &v));
    ERR_TRY(tmpl_charge(run, v.u.s->len));
    while (at < v.u.s->len) {
        bool word;

        at += tmpl_uni_next(str_skip(tmpl_bytes(v), at), &cp);
        word = cp == '_' || tmpl_uni_is_alpha(cp) || tmpl_uni_is_digit(cp);
        n += word && !in;
        in = word;
    }
    *out = tmpl_int(n);
    return ERR_OK;
}

enum err tmpl_f_escape(struct tmpl_run *run, struct tmpl_val v,
                       const struct tmpl_val *a, struct tmpl_val *out)
{
    static const char from[] = "&<>'\"";
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    struct tmpl_room *r;
    const struct tmpl_str *s;

    (void)a;
    ERR_TRY(tmpl_to_str(run, v, &v));
    ERR_TRY(tmpl_alloc(run, sizeof(*r), &r));
    s = v.u.s;
    for (size_t i = 0; i < s->len; i++) {
        const char *hit = s->p[i] ? strchr(from, s->p[i]) : NULL;

        if (hit)
            ERR_TRY(tmpl_room_put(run, r, str_from(to[hit - from]),
                                  tmpl_tainted(s, i)));
        else
            ERR_TRY(tmpl_room_copy(run, r, s, i, 1));
    }
    return tmpl_room_str(run, r, out);
}

/* --- JSON --------------------------------------------------------------- */

static enum err json_separators(struct tmpl_run *run, struct tmpl_val v,
                                struct tmpl_json *how)
{
    if (v.type == TMPL_MISSING || v.type == TMPL_NONE)
        return ERR_OK;
    if (v.type != TMPL_LIST || v.u.list->n != 2 ||
        v.u.list->at[0].type != TMPL_STR || v.u.list->at[1].type != TMPL_STR)
        return tmpl_fail(run, "separators must be a pair of strings");
    how->comma = v.u.list->at[0].u.s;
    how->colon = v.u.list->at[1].u.s;
    return ERR_OK;
}

enum err tmpl_f_tojson(struct tmpl_run *run, struct tmpl_val v,
                       const struct tmpl_val *a, struct tmpl_val *out)
{
    struct tmpl_json how = {.strict = true};
    struct tmpl_val ind;
    struct tmpl_room *r;

    how.ascii = tmpl_truth(a[0]);
    how.sort = tmpl_truth(a[3]);
    ERR_TRY(json_separators(run, a[2], &how));
    if (a[1].type != TMPL_MISSING && a[1].type != TMPL_NONE) {
        ERR_TRY(indention(run, a[1], &ind));
        how.pretty = true;
        how.indent = tmpl_bytes(ind);
    }
    ERR_TRY(tmpl_alloc(run, sizeof(*r), &r));
    ERR_TRY(tmpl_put_json(run, r, v, &how, 0));
    return tmpl_room_str(run, r, out);
}

/* --- numbers ------------------------------------------------------------ */

/* The text of <v> without white space and underscores, for the C library. */
static bool number_text(struct tmpl_val v, char room[64])
{
    struct str s = tmpl_bytes(v);
    size_t n = 0;

    s = str_skip(s, tmpl_uni_spaces(s));
    s.len -= tmpl_uni_spaces_end(s);
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '_' && i > 0 && i + 1 < s.len && s.p[i - 1] != '_')
            continue;
        if (n == 63 || s.p[i] == '\0' || s.p[i] == '_' ||
            tmpl_uni_space((unsigned char)s.p[i]))
            return false;
        room[n++] = s.p[i];
    }
    room[n] = '\0';
    return n > 0;
}

static bool parse_real(struct tmpl_val v, double *out)
{
    char room[64], *end;

    if (!number_text(v, room) || strpbrk(room, "xXpP"))
        return false;
    *out = strtod(room, &end);
    return *end == '\0';
}

static bool real_to_int(double r, int64_t *out)
{
    if (!(r > -9.2e18 && r < 9.2e18))
        return false;
    *out = (int64_t)r;
    return true;
}

static bool parse_int(struct tmpl_val v, int64_t base, int64_t *out)
{
    char room[64], *end;
    double r;
    long long i;

    if (base != 0 && (base < 2 || base > 36))
        return false;
    if (number_text(v, room)) {
        const char *digits = room;

        if (base == 0 && (room[0] == '0') && (room[1] | 0x20) == 'o') {
            digits = room + 2;
            base = 8;
        } else if ((base == 2 || base == 0) && room[0] == '0' &&
                   (room[1] | 0x20) == 'b') {
            digits = room + 2;
            base = 2;
        }
        i = strtoll(digits, &end, (int)base);
        if (*end == '\0' && i != INT64_MAX && i != INT64_MIN) {
            *out = i;
            return true;
        }
    }
    return parse_real(v, &r) && real_to_int(r, out);
}

enum err tmpl_f_int(struct tmpl_run *run, struct tmpl_val v,
                    const struct tmpl_val *a, struct tmpl_val *out)
{
    int64_t base, i;
    double r;
    bool ok;

    if (v.type == TMPL_UNDEF)
        return tmpl_fail_undef(run, v);
    ERR_TRY(tmpl_want_int(run, "base", a[1], 10, &base));
    if (v.type == TMPL_STR)
        ok = parse_int(v, base, &i);
    else if (v.type == TMPL_INT)
        i = v.u.i, ok = true;
    else
        ok = tmpl_number(v, &r) && real_to_int(r, &i);
    *out = ok ? tmpl_int(i) : a[0].type == TMPL_MISSING ? tmpl_int(0) : a[0];
    if (ok)
        out->taint = v.taint || (v.type == TMPL_STR && v.u.s->taint);
    return ERR_OK;
}

enum err tmpl_f_float(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a, struct tmpl_val *out)
{
    double r = 0;
    bool ok = v.type == TMPL_STR ? parse_real(v, &r) : tmpl_number(v, &r);

    if (v.type == TMPL_UNDEF)
        return tmpl_fail_undef(run, v);
    *out = ok ? tmpl_real(r) : a[0].type == TMPL_MISSING ? tmpl_real(0) : a[0];
    if (ok)
        out->taint = v.taint || (v.type == TMPL_STR && v.u.s->taint);
    return ERR_OK;
}

enum err tmpl_f_bool(struct tmpl_run *run, struct tmpl_val v,
                     const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)run;
    (void)a;
    *out = tmpl_bool(tmpl_truth(v));
    return ERR_OK;
}

enum err tmpl_f_abs(struct tmpl_run *run, struct tmpl_val v,
                    const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    if (v.type == TMPL_REAL) {
        v.u.r = fabs(v.u.r);
        *out = v;
        return ERR_OK;
    }
    if (v.type != TMPL_INT && v.type != TMPL_BOOL)
        return tmpl_fail(run, "%s has no absolute value", tmpl_type_name(v));
    return tmpl_arith(run,
                      v.type == TMPL_INT && v.u.i < 0 ? TMPL_O_SUB : TMPL_O_ADD,
                      tmpl_int(0), v, out);
}

enum err tmpl_f_round(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a, struct tmpl_val *out)
{
    static const struct tmpl_str common = {.p = "common", .len = 6};
    const struct tmpl_str *how;
    char room[512];
    int64_t digits;
    double r, scale;

    ERR_TRY(tmpl_want_int(run, "precision", a[0], 0, &digits));
    ERR_TRY(tmpl_want_str(run, "method", a[1], &common, &how));
    if (!tmpl_number(v, &r) || digits < -300 || digits > 100)
        return tmpl_fail(run, "%s cannot be rounded", tmpl_type_name(v));
    scale = pow(10, (double)digits);
    *out = v;
    if (str_eq(str_of(how->p, how->len), STR("ceil"))) {
        *out = tmpl_real(ceil(r * scale) / scale);
    } else if (str_eq(str_of(how->p, how->len), STR("floor"))) {
        *out = tmpl_real(floor(r * scale) / scale);
    } else if (v.type == TMPL_REAL && digits >= 0) {
        snprintf(room, sizeof(room), "%.*f", (int)digits, r);
        *out = tmpl_real(strtod(room, NULL));
    } else if (digits < 0) {
        r = nearbyint(r * scale) / scale;
        *out = v.type == TMPL_REAL ? tmpl_real(r) : tmpl_int((int64_t)r);
    }
    out->taint = v.taint;
    return ERR_OK;
}
