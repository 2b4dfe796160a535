/* tmpl_put.c - Values of a template as text: JSON and what a template prints.
 * Booleans, lists and mappings are printed as JSON has them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "token/tmpl_run.h"
#include "token/tmpl_uni.h"

size_t tmpl_put_real(double r, char room[40])
{
    char *at;
    int exp;

    if (isnan(r))
        return (size_t)snprintf(room, 40, "nan");
    if (isinf(r))
        return (size_t)snprintf(room, 40, r < 0 ? "-inf" : "inf");
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(room, 40, "%.*e", digits - 1, r);
        if (strtod(room, NULL) != r)
            continue;
        at = strchr(room, 'e');
        exp = (int)strtol(at + 1, NULL, 10);
        if (exp < -4 || exp >= 16)
            return (size_t)snprintf(room, 40, "%.*g", digits, r);
        digits -= 1 + exp;
        return (size_t)snprintf(room, 40, "%.*f", digits > 0 ? digits : 1, r);
    }
    return strlen(room);
}

static enum err put_text(struct tmpl_run *run, struct tmpl_room *r,
                         const char *text, bool taint)
{
    return tmpl_room_put(run, r, str_from(text), taint);
}

/* Numbers and constants; <json>: as JSON writes them. */
static enum err put_scalar(struct tmpl_run *run, struct tmpl_room *r,
                           struct tmpl_val v, bool json)
{
    char room[STR_I64_MAX], real[40];
    size_t len;

    switch (v.type) {
    case TMPL_BOOL:
        return put_text(run, r, v.u.b ? "true" : "false", v.taint);
    case TMPL_INT:
        return tmpl_room_put(run, r, str_put_i64(room, v.u.i), v.taint);
    case TMPL_REAL:
        len = tmpl_put_real(v.u.r, real);
        if (json && isnan(v.u.r))
            return put_text(run, r, "NaN", v.taint);
        if (json && isinf(v.u.r))
            return put_text(run, r, v.u.r < 0 ? "-Infinity" : "Infinity",
                            v.taint);
        return tmpl_room_put(run, r, str_of(real, len), v.taint);
    case TMPL_NONE:
        return put_text(run, r, json ? "null" : "None", v.taint);
    default:
        return ERR_OK;
    }
}

/* Write the escape of <cp> into <room>, or nothing when it needs none. */
static size_t json_escape(uint32_t cp, bool ascii, char room[16])
{
    static const char plain[] = "\"\\\n\r\t\b\f", names[] = "\"\\nrtbf";
    const char *at = cp > 0 && cp < 0x80 ? strchr(plain, (int)cp) : NULL;

    if (at)
        return (size_t)snprintf(room, 16, "\\%c", names[at - plain]);
    if (cp >= 0x20 && (!ascii || cp < 0x7F))
        return 0;
    if (cp == UINT32_MAX)
        cp = 0xFFFD;
    if (cp < 0x10000)
        return (size_t)snprintf(room, 16, "\\u%04x", cp);
    cp -= 0x10000;
    return (size_t)snprintf(room, 16, "\\u%04x\\u%04x", 0xD800 + (cp >> 10),
                            0xDC00 + (cp & 0x3FF));
}

/* How many bytes of <s> from <at> on are written as they are. */
static size_t plain_run(struct str s, size_t at, bool ascii)
{
    size_t from = at;

    while (at < s.len) {
        unsigned char c = (unsigned char)s.p[at];

        if (c < 0x20 || c == '"' || c == '\\' || (ascii && c >= 0x7F))
            break;
        at++;
    }
    return at - from;
}

static enum err put_json_str(struct tmpl_run *run, struct tmpl_room *r,
                             const struct tmpl_str *s, bool ascii)
{
    struct str all = str_of(s->p, s->len);
    size_t at = 0;

    ERR_TRY(put_text(run, r, "\"", false));
    while (at < all.len) {
        size_t n = plain_run(all, at, ascii);
        char room[16];
        uint32_t cp;

        ERR_TRY(tmpl_room_copy(run, r, s, at, n));
        at += n;
        if (at == all.len)
            break;
        n = tmpl_uni_next(str_skip(all, at), &cp);
        ERR_TRY(tmpl_room_put(run, r,
                              str_of(room, json_escape(cp, ascii, room)),
                              tmpl_tainted(s, at)));
        at += n;
    }
    return put_text(run, r, "\"", false);
}

/* What stands before an element: the comma, a new line. */
static enum err put_gap(struct tmpl_run *run, struct tmpl_room *r,
                        const struct tmpl_json *how, bool comma, unsigned depth)
{
    if (comma && how->comma)
        ERR_TRY(tmpl_room_add(run, r, how->comma));
    else if (comma)
        ERR_TRY(put_text(run, r, how->pretty ? "," : ", ", false));
    if (!how->pretty)
        return ERR_OK;
    ERR_TRY(put_text(run, r, "\n", false));
    for (unsigned i = 0; i < depth; i++)
        ERR_TRY(tmpl_room_put(run, r, how->indent, false));
    return ERR_OK;
}

static enum err put_json_list(struct tmpl_run *run, struct tmpl_room *r,
                              const struct tmpl_list *l,
                              const struct tmpl_json *how, unsigned depth)
{
    if (l->n == 0)
        return put_text(run, r, "[]", false);
    ERR_TRY(put_text(run, r, "[", false));
    for (size_t i = 0; i < l->n; i++) {
        ERR_TRY(put_gap(run, r, how, i > 0, depth + 1));
        ERR_TRY(tmpl_put_json(run, r, l->at[i], how, depth + 1));
    }
    ERR_TRY(put_gap(run, r, how, false, depth));
    return put_text(run, r, "]", false);
}

static enum err put_json_key(struct tmpl_run *run, struct tmpl_room *r,
                             struct tmpl_val key, const struct tmpl_json *how)
{
    if (key.type == TMPL_STR) {
        ERR_TRY(put_json_str(run, r, key.u.s, how->ascii));
    } else {
        ERR_TRY(put_text(run, r, "\"", false));
        ERR_TRY(put_scalar(run, r, key, true));
        ERR_TRY(put_text(run, r, "\"", false));
    }
    if (how->colon)
        return tmpl_room_add(run, r, how->colon);
    return put_text(run, r, ": ", false);
}

/* The members of <d> in the order of their keys. */
static enum err sorted(struct tmpl_run *run, const struct tmpl_dict *d,
                       struct tmpl_list **out)
{
    struct tmpl_val l, pair;

    ERR_TRY(tmpl_make_list(run, &l));
    for (size_t i = 0; i < d->n; i++) {
        ERR_TRY(tmpl_make_pair(run, d->at[i].key, d->at[i].val, &pair));
        ERR_TRY(tmpl_list_add(run, l.u.list, pair));
    }
    *out = l.u.list;
    return tmpl_sort(run, l.u.list, tmpl_int(0), false, false);
}

static enum err put_json_dict(struct tmpl_run *run, struct tmpl_room *r,
                              const struct tmpl_dict *d,
                              const struct tmpl_json *how, unsigned depth)
{
    struct tmpl_list *order = NULL;

    if (d->n == 0)
        return put_text(run, r, "{}", false);
    if (how->sort)
        ERR_TRY(sorted(run, d, &order));
    ERR_TRY(put_text(run, r, "{", false));
    for (size_t i = 0; i < d->n; i++) {
        struct tmpl_pair p = d->at[i];

        if (order)
            p = (struct tmpl_pair){order->at[i].u.list->at[0],
                                   order->at[i].u.list->at[1]};
        ERR_TRY(put_gap(run, r, how, i > 0, depth + 1));
        ERR_TRY(put_json_key(run, r, p.key, how));
        ERR_TRY(tmpl_put_json(run, r, p.val, how, depth + 1));
    }
    ERR_TRY(put_gap(run, r, how, false, depth));
    return put_text(run, r, "}", false);
}

enum err tmpl_put_json(struct tmpl_run *run, struct tmpl_room *r,
                       struct tmpl_val v, const struct tmpl_json *how,
                       unsigned depth)
{
    ERR_TRY(tmpl_charge(run, 0));
    if (depth > 256)
        return tmpl_fail(run, "a value is nested too deeply");
    switch (v.type) {
    case TMPL_STR:
        return put_json_str(run, r, v.u.s, how->ascii);
    case TMPL_LIST:
        return put_json_list(run, r, v.u.list, how, depth);
    case TMPL_SPACE:
        if (how->strict)
            break;
        return put_json_dict(run, r, v.u.dict, how, depth);
    case TMPL_DICT:
        return put_json_dict(run, r, v.u.dict, how, depth);
    case TMPL_UNDEF:
        return put_text(run, r, how->strict ? "null" : "undefined", false);
    case TMPL_FUNC:
    case TMPL_LOOP:
    case TMPL_MISSING:
        break;
    default:
        return put_scalar(run, r, v, true);
    }
    if (how->strict)
        return tmpl_fail(run, "%s cannot be written as JSON",
                         tmpl_type_name(v));
    return put_text(run, r, "<function>", false);
}

enum err tmpl_put_val(struct tmpl_run *run, struct tmpl_room *r,
                      struct tmpl_val v)
{
    static const struct tmpl_json how = {0};

    switch (v.type) {
    case TMPL_STR:
        return tmpl_room_add(run, r, v.u.s);
    case TMPL_MISSING:
    case TMPL_UNDEF:
        return ERR_OK;
    case TMPL_BOOL:
    case TMPL_INT:
    case TMPL_REAL:
    case TMPL_NONE:
        return put_scalar(run, r, v, false);
    default:
        return tmpl_put_json(run, r, v, &how, 0);
    }
}

enum err tmpl_to_str(struct tmpl_run *run, struct tmpl_val v,
                     struct tmpl_val *out)
{
    struct tmpl_room *r;

    if (v.type == TMPL_STR) {
        *out = v;
        return ERR_OK;
    }
    ERR_TRY(tmpl_alloc(run, sizeof(*r), &r));
    ERR_TRY(tmpl_put_val(run, r, v));
    return tmpl_room_str(run, r, out);
}
