/* tmpl_cmp.c - Truth, equality and order of a template's values, as Python has
 * them. */
#include <math.h>

#include "token/tmpl_run.h"
#include "token/tmpl_uni.h"

const char *tmpl_type_name(struct tmpl_val v)
{
    static const char *const names[] = {
        [TMPL_MISSING] = "nothing", [TMPL_UNDEF] = "undefined",
        [TMPL_NONE] = "none",       [TMPL_BOOL] = "a boolean",
        [TMPL_INT] = "an integer",  [TMPL_REAL] = "a float",
        [TMPL_STR] = "a string",    [TMPL_LIST] = "a list",
        [TMPL_DICT] = "a mapping",  [TMPL_SPACE] = "a namespace",
        [TMPL_FUNC] = "a function", [TMPL_LOOP] = "a loop",
    };

    return names[v.type];
}

bool tmpl_number(struct tmpl_val v, double *out)
{
    if (v.type == TMPL_BOOL)
        *out = v.u.b ? 1 : 0;
    else if (v.type == TMPL_INT)
        *out = (double)v.u.i;
    else if (v.type == TMPL_REAL)
        *out = v.u.r;
    else
        return false;
    return true;
}

bool tmpl_truth(struct tmpl_val v)
{
    double r;

    switch (v.type) {
    case TMPL_MISSING:
    case TMPL_UNDEF:
    case TMPL_NONE:
        return false;
    case TMPL_STR:
        return v.u.s->len > 0;
    case TMPL_LIST:
        return v.u.list->n > 0;
    case TMPL_DICT:
        return v.u.dict->n > 0;
    default:
        return !tmpl_number(v, &r) || r != 0;
    }
}

static bool equal(struct tmpl_val a, struct tmpl_val b, unsigned depth);

static bool equal_lists(const struct tmpl_list *a, const struct tmpl_list *b,
                        unsigned depth)
{
    if (a == b)
        return true;
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        if (!equal(a->at[i], b->at[i], depth + 1))
            return false;
    }
    return true;
}

static bool equal_dicts(const struct tmpl_dict *a, const struct tmpl_dict *b,
                        unsigned depth)
{
    if (a == b)
        return true;
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        const struct tmpl_val *other = tmpl_dict_get(b, a->at[i].key);

        if (!other || !equal(a->at[i].val, *other, depth + 1))
            return false;
    }
    return true;
}

static bool equal(struct tmpl_val a, struct tmpl_val b, unsigned depth)
{
    double x, y;

    if (a.type == TMPL_INT && b.type == TMPL_INT)
        return a.u.i == b.u.i;
    if (tmpl_number(a, &x) && tmpl_number(b, &y))
        return x == y;
    if (a.type != b.type || depth > 64)
        return false;
    switch (a.type) {
    case TMPL_STR:
        return str_eq(tmpl_bytes(a), tmpl_bytes(b));
    case TMPL_LIST:
        return equal_lists(a.u.list, b.u.list, depth);
    case TMPL_DICT:
        return equal_dicts(a.u.dict, b.u.dict, depth);
    case TMPL_SPACE:
        return a.u.dict == b.u.dict;
    case TMPL_FUNC:
        return a.u.func == b.u.func;
    case TMPL_LOOP:
        return a.u.loop == b.u.loop;
    default:
        return true;
    }
}

bool tmpl_equal(struct tmpl_val a, struct tmpl_val b)
{
    return equal(a, b, 0);
}

bool tmpl_same(struct tmpl_val a, struct tmpl_val b)
{
    if ((a.type == TMPL_BOOL) != (b.type == TMPL_BOOL))
        return false;
    return equal(a, b, 0);
}

size_t tmpl_str_chars(const struct tmpl_str *s)
{
    size_t n = 0, at = 0;
    uint32_t cp;

    while (at < s->len) {
        uint64_t eight;

        if (s->len - at >= sizeof(eight)) {
            memcpy(&eight, s->p + at, sizeof(eight));
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                at += sizeof(eight);
                n += sizeof(eight);
                continue;
            }
        }
        at += tmpl_uni_next(str_of(s->p + at, s->len - at), &cp);
        n++;
    }
    return n;
}

static int compare_strings(struct str a, struct str b, bool fold)
{
    while (a.len > 0 && b.len > 0) {
        uint32_t x, y;
        size_t n = tmpl_uni_next(a, &x), m = tmpl_uni_next(b, &y);

        if (fold) {
            x = tmpl_uni_lower(x);
            y = tmpl_uni_lower(y);
        }
        if (x != y)
            return x < y ? -1 : 1;
        a = str_skip(a, n);
        b = str_skip(b, m);
    }
    return (a.len > 0) - (b.len > 0);
}

static enum err compare_lists(struct tmpl_run *run, const struct tmpl_list *a,
                              const struct tmpl_list *b, bool fold, int *out)
{
    enum err e = ERR_OK;

    if (++run->depth > TMPL_DEPTH_MAX)
        return tmpl_fail(run, "nested too deeply");
    *out = 0;
    for (size_t i = 0; e == ERR_OK && i < a->n && i < b->n && *out == 0; i++) {
        if (!tmpl_equal(a->at[i], b->at[i]))
            e = tmpl_compare(run, a->at[i], b->at[i], fold, out);
    }
    run->depth--;
    if (e == ERR_OK && *out == 0)
        *out = (a->n > b->n) - (a->n < b->n);
    return e;
}

enum err tmpl_compare(struct tmpl_run *run, struct tmpl_val a,
                      struct tmpl_val b, bool fold, int *out)
{
    double x, y;

    ERR_TRY(tmpl_charge(run, a.type == TMPL_STR ? a.u.s->len : 0));
    if (a.type == TMPL_INT && b.type == TMPL_INT) {
        *out = (a.u.i > b.u.i) - (a.u.i < b.u.i);
        return ERR_OK;
    }
    if (tmpl_number(a, &x) && tmpl_number(b, &y)) {
        *out = (x > y) - (x < y);
        return ERR_OK;
    }
    if (a.type == TMPL_STR && b.type == TMPL_STR) {
        *out = compare_strings(tmpl_bytes(a), tmpl_bytes(b), fold);
        return ERR_OK;
    }
    if (a.type == TMPL_LIST && b.type == TMPL_LIST)
        return compare_lists(run, a.u.list, b.u.list, fold, out);
    if (a.type == b.type && (a.type == TMPL_NONE || a.type == TMPL_UNDEF)) {
        *out = 0;
        return ERR_OK;
    }
    return tmpl_fail(run, "%s and %s have no order", tmpl_type_name(a),
                     tmpl_type_name(b));
}

/* The characters of <s>. */
static enum err list_chars(struct tmpl_run *run, const struct tmpl_str *s,
                           struct tmpl_list *l)
{
    size_t at = 0;
    uint32_t cp;

    while (at < s->len) {
        size_t n = tmpl_uni_next(str_of(s->p + at, s->len - at), &cp);
        struct tmpl_val c;

        ERR_TRY(tmpl_make_part(run, s, at, n, &c));
        ERR_TRY(tmpl_list_add(run, l, c));
        at += n;
    }
    return ERR_OK;
}

enum err tmpl_elements(struct tmpl_run *run, struct tmpl_val v,
                       struct tmpl_list **out)
{
    struct tmpl_val l;

    if (v.type == TMPL_LIST) {
        *out = v.u.list;
        return ERR_OK;
    }
    if (v.type != TMPL_STR && v.type != TMPL_DICT && v.type != TMPL_UNDEF)
        return tmpl_fail(run, "%s cannot be walked through", tmpl_type_name(v));
    ERR_TRY(tmpl_make_list(run, &l));
    if (v.type == TMPL_STR)
        ERR_TRY(list_chars(run, v.u.s, l.u.list));
    for (size_t i = 0; v.type == TMPL_DICT && i < v.u.dict->n; i++)
        ERR_TRY(tmpl_list_add(run, l.u.list, v.u.dict->at[i].key));
    *out = l.u.list;
    return ERR_OK;
}
