/* tmpl_op.c - The operators of a chat template, with Python's meaning; a
 * string and a number may be added, too. */
#include <math.h>

#include "token/tmpl_run.h"
#include "token/tmpl_uni.h"

/* --- numbers ------------------------------------------------------------ */

static enum err fail_range(struct tmpl_run *run)
{
    return tmpl_fail(run, "number out of range");
}

static enum err int_power(struct tmpl_run *run, int64_t a, int64_t b,
                          struct tmpl_val *out)
{
    int64_t r = 1;

    if (b < 0) {
        if (a == 0)
            return tmpl_fail(run, "division by zero");
        *out = tmpl_real(pow((double)a, (double)b));
        return ERR_OK;
    }
    if (a == 0 || a == 1 || a == -1)
        b = b % 2 == 0 && b > 0 ? 2 : b > 0 ? 1 : 0;
    for (; b > 0; b--) {
        if (__builtin_mul_overflow(r, a, &r))
            return fail_range(run);
    }
    *out = tmpl_int(r);
    return ERR_OK;
}

/* Division that rounds down. */
static enum err int_divide(struct tmpl_run *run, enum tmpl_op op, int64_t a,
                           int64_t b, struct tmpl_val *out)
{
    int64_t q, r;

    if (b == 0)
        return tmpl_fail(run, "division by zero");
    if (op == TMPL_O_DIV) {
        *out = tmpl_real((double)a / (double)b);
        return ERR_OK;
    }
    if (b == -1) {
        if (op == TMPL_O_FLOOR && a == INT64_MIN)
            return fail_range(run);
        *out = tmpl_int(op == TMPL_O_FLOOR ? -a : 0);
        return ERR_OK;
    }
    q = a / b;
    r = a % b;
    if (r != 0 && (r < 0) != (b < 0)) {
        q--;
        r += b;
    }
    *out = tmpl_int(op == TMPL_O_FLOOR ? q : r);
    return ERR_OK;
}

static enum err int_arith(struct tmpl_run *run, enum tmpl_op op, int64_t a,
                          int64_t b, struct tmpl_val *out)
{
    int64_t r = 0;
    bool over;

    switch (op) {
    case TMPL_O_ADD:
        over = __builtin_add_overflow(a, b, &r);
        break;
    case TMPL_O_SUB:
        over = __builtin_sub_overflow(a, b, &r);
        break;
    case TMPL_O_MUL:
        over = __builtin_mul_overflow(a, b, &r);
        break;
    case TMPL_O_POW:
        return int_power(run, a, b, out);
    default:
        return int_divide(run, op, a, b, out);
    }
    *out = tmpl_int(r);
    return over ? fail_range(run) : ERR_OK;
}

static enum err real_arith(struct tmpl_run *run, enum tmpl_op op, double a,
                           double b, struct tmpl_val *out)
{
    double r = 0;

    if (b == 0 && (op == TMPL_O_DIV || op == TMPL_O_FLOOR || op == TMPL_O_MOD))
        return tmpl_fail(run, "division by zero");
    switch (op) {
    case TMPL_O_ADD:
        r = a + b;
        break;
    case TMPL_O_SUB:
        r = a - b;
        break;
    case TMPL_O_MUL:
        r = a * b;
        break;
    case TMPL_O_DIV:
        r = a / b;
        break;
    case TMPL_O_FLOOR:
        r = floor(a / b);
        break;
    case TMPL_O_POW:
        r = pow(a, b);
        break;
    default:
        r = fmod(a, b);
        if (r != 0 && (r < 0) != (b < 0))
            r += b;
        break;
    }
    *out = tmpl_real(r);
    return ERR_OK;
}

/* --- sequences ---------------------------------------------------------- */

static enum err add_lists(struct tmpl_run *run, const struct tmpl_list *a,
                          const struct tmpl_list *b, struct tmpl_val *out)
{
    ERR_TRY(tmpl_make_list(run, out));
    for (size_t i = 0; i < a->n; i++)
        ERR_TRY(tmpl_list_add(run, out->u.list, a->at[i]));
    for (size_t i = 0; i < b->n; i++)
        ERR_TRY(tmpl_list_add(run, out->u.list, b->at[i]));
    return ERR_OK;
}

static enum err repeat(struct tmpl_run *run, struct tmpl_val v, int64_t n,
                       struct tmpl_val *out)
{
    struct tmpl_room *r;

    if (v.type == TMPL_LIST) {
        ERR_TRY(tmpl_make_list(run, out));
        for (int64_t k = 0; k < n && v.u.list->n > 0; k++) {
            for (size_t i = 0; i < v.u.list->n; i++)
                ERR_TRY(tmpl_list_add(run, out->u.list, v.u.list->at[i]));
        }
        return ERR_OK;
    }
    ERR_TRY(tmpl_alloc(run, sizeof(*r), &r));
    for (int64_t k = 0; k < n && v.u.s->len > 0; k++)
        ERR_TRY(tmpl_room_add(run, r, v.u.s));
    return tmpl_room_str(run, r, out);
}

static bool is_scalar(struct tmpl_val v)
{
    return v.type == TMPL_INT || v.type == TMPL_REAL || v.type == TMPL_BOOL;
}

static bool is_sequence(struct tmpl_val v)
{
    return v.type == TMPL_STR || v.type == TMPL_LIST;
}

/* Arithmetic that is not of two numbers. */
static enum err seq_arith(struct tmpl_run *run, enum tmpl_op op,
                          struct tmpl_val a, struct tmpl_val b,
                          struct tmpl_val *out)
{
    if (op == TMPL_O_ADD && a.type == TMPL_LIST && b.type == TMPL_LIST)
        return add_lists(run, a.u.list, b.u.list, out);
    if (op == TMPL_O_ADD && (a.type == TMPL_STR || b.type == TMPL_STR) &&
        (a.type == TMPL_STR || is_scalar(a)) &&
        (b.type == TMPL_STR || is_scalar(b))) {
        ERR_TRY(tmpl_to_str(run, a, &a));
        ERR_TRY(tmpl_to_str(run, b, &b));
        return tmpl_concat(run, a.u.s, b.u.s, out);
    }
    if (op == TMPL_O_MUL && is_sequence(a) && b.type == TMPL_INT)
        return repeat(run, a, b.u.i, out);
    if (op == TMPL_O_MUL && is_sequence(b) && a.type == TMPL_INT)
        return repeat(run, b, a.u.i, out);
    if (op == TMPL_O_MOD && a.type == TMPL_STR) {
        if (b.type == TMPL_LIST)
            return tmpl_format(run, a.u.s, b.u.list->at, b.u.list->n, out);
        return tmpl_format(run, a.u.s, &b, 1, out);
    }
    return tmpl_fail(run, "unsupported operands: %s and %s", tmpl_type_name(a),
                     tmpl_type_name(b));
}

enum err tmpl_arith(struct tmpl_run *run, enum tmpl_op op, struct tmpl_val a,
                    struct tmpl_val b, struct tmpl_val *out)
{
    double x, y;

    if (a.type == TMPL_UNDEF || b.type == TMPL_UNDEF)
        return tmpl_fail_undef(run, a.type == TMPL_UNDEF ? a : b);
    if (!tmpl_number(a, &x) || !tmpl_number(b, &y))
        return seq_arith(run, op, a, b, out);
    if (a.type == TMPL_REAL || b.type == TMPL_REAL)
        ERR_TRY(real_arith(run, op, x, y, out));
    else
        ERR_TRY(int_arith(run, op, a.type == TMPL_INT ? a.u.i : a.u.b,
                          b.type == TMPL_INT ? b.u.i : b.u.b, out));
    out->taint = a.taint || b.taint;
    return ERR_OK;
}

/* What comparing <v> with another of its kind may touch, in bytes. */
static size_t size_of(struct tmpl_val v)
{
    switch (v.type) {
    case TMPL_STR:
        return v.u.s->len;
    case TMPL_LIST:
        return v.u.list->n * 64;
    case TMPL_DICT:
        return v.u.dict->n * 256;
    default:
        return 0;
    }
}

/* --- comparison --------------------------------------------------------- */

static enum err contains(struct tmpl_run *run, struct tmpl_val item,
                         struct tmpl_val in, bool *out)
{
    struct str all;

    *out = false;
    if (in.type == TMPL_UNDEF)
        return ERR_OK;
    if (in.type == TMPL_DICT || in.type == TMPL_SPACE) {
        *out = tmpl_dict_get(in.u.dict, item) != NULL;
        return ERR_OK;
    }
    if (in.type == TMPL_STR) {
        if (item.type != TMPL_STR)
            return tmpl_fail(run, "%s cannot be in a string",
                             tmpl_type_name(item));
        all = tmpl_bytes(in);
        *out = item.u.s->len == 0 || str_find(all, tmpl_bytes(item)) < all.len;
        return tmpl_charge(run, all.len);
    }
    if (in.type != TMPL_LIST)
        return tmpl_fail(run, "nothing can be in %s", tmpl_type_name(in));
    for (size_t i = 0; i < in.u.list->n && !*out; i++) {
        ERR_TRY(tmpl_charge(run, size_of(item)));
        *out = tmpl_same(item, in.u.list->at[i]);
    }
    return ERR_OK;
}

enum err tmpl_relate(struct tmpl_run *run, enum tmpl_op op, struct tmpl_val a,
                     struct tmpl_val b, bool *out)
{
    int order = 0;

    if (op == TMPL_O_IN || op == TMPL_O_NOT_IN) {
        ERR_TRY(contains(run, a, b, out));
        *out = *out == (op == TMPL_O_IN);
        return ERR_OK;
    }
    if (op == TMPL_O_EQ || op == TMPL_O_NE) {
        ERR_TRY(tmpl_charge(run, size_of(a)));
        *out = tmpl_equal(a, b) == (op == TMPL_O_EQ);
        return ERR_OK;
    }
    if (a.type == TMPL_UNDEF || b.type == TMPL_UNDEF)
        return tmpl_fail_undef(run, a.type == TMPL_UNDEF ? a : b);
    ERR_TRY(tmpl_compare(run, a, b, false, &order));
    *out = op == TMPL_O_LT   ? order < 0
           : op == TMPL_O_LE ? order <= 0
           : op == TMPL_O_GT ? order > 0
                             : order >= 0;
    return ERR_OK;
}

/* --- slices ------------------------------------------------------------- */

struct range {
    int64_t from, to, step;
};

/* One bound of a slice of <n> elements, from <def>. */
static enum err bound(struct tmpl_run *run, struct tmpl_val v, int64_t n,
                      struct range limits, int64_t *inout)
{
    int64_t i;

    if (v.type == TMPL_NONE)
        return ERR_OK;
    if (v.type != TMPL_INT && v.type != TMPL_BOOL)
        return tmpl_fail(run, "slices need integers, not %s",
                         tmpl_type_name(v));
    i = v.type == TMPL_INT ? v.u.i : v.u.b;
    if (i < 0)
        i = i < -n ? limits.from : i + n;
    if (i < limits.from)
        i = limits.from;
    *inout = i > limits.to ? limits.to : i;
    return ERR_OK;
}

static enum err slice_range(struct tmpl_run *run,
                            const struct tmpl_val bounds[3], int64_t n,
                            struct range *out)
{
    struct range limits = {0, n, 1};

    out->step = 1;
    if (bounds[2].type == TMPL_INT)
        out->step = bounds[2].u.i;
    else if (bounds[2].type != TMPL_NONE)
        return tmpl_fail(run, "slices need integers");
    if (out->step == 0)
        return tmpl_fail(run, "the step of a slice cannot be zero");
    if (out->step < 0)
        limits = (struct range){-1, n - 1, 1};
    out->from = out->step < 0 ? n - 1 : 0;
    out->to = out->step < 0 ? -1 : n;
    ERR_TRY(bound(run, bounds[0], n, limits, &out->from));
    ERR_TRY(bound(run, bounds[1], n, limits, &out->to));
    if (out->step > n + 1)
        out->step = n + 1;
    if (out->step < -n - 1)
        out->step = -n - 1;
    return ERR_OK;
}

static bool in_range(const struct range *r, int64_t i)
{
    return r->step > 0 ? i < r->to : i > r->to;
}

/* Where the characters of <s> begin; one more, at its end. */
static enum err char_starts(struct tmpl_run *run, const struct tmpl_str *s,
                            size_t n, size_t **out)
{
    size_t at = 0, *starts;
    uint32_t cp;

    ERR_TRY(tmpl_alloc(run, (n + 1) * sizeof(starts[0]), &starts));
    for (size_t i = 0; i <= n; i++) {
        starts[i] = at;
        if (at < s->len)
            at += tmpl_uni_next(str_of(s->p + at, s->len - at), &cp);
    }
    *out = starts;
    return ERR_OK;
}

/* Characters [from, to) of <s>. */
static enum err cut(struct tmpl_run *run, const struct tmpl_str *s,
                    int64_t from, int64_t to, struct tmpl_val *out)
{
    size_t at = 0, begin = s->len, end = s->len;
    uint32_t cp;

    for (int64_t i = 0; i <= to; i++) {
        if (i == from)
            begin = at;
        if (i == to)
            end = at;
        if (at < s->len)
            at += tmpl_uni_next(str_of(s->p + at, s->len - at), &cp);
    }
    if (to <= from)
        begin = end = 0;
    return tmpl_make_part(run, s, begin, end - begin, out);
}

static enum err slice_str(struct tmpl_run *run, const struct tmpl_str *s,
                          const struct tmpl_val bounds[3], struct tmpl_val *out)
{
    size_t n = tmpl_str_chars(s), *starts;
    struct tmpl_room *room;
    struct range r;

    ERR_TRY(tmpl_charge(run, s->len));
    ERR_TRY(slice_range(run, bounds, (int64_t)n, &r));
    if (r.step == 1)
        return cut(run, s, r.from, r.to, out);
    ERR_TRY(char_starts(run, s, n, &starts));
    ERR_TRY(tmpl_alloc(run, sizeof(*room), &room));
    for (int64_t i = r.from; in_range(&r, i); i += r.step)
        ERR_TRY(
            tmpl_room_copy(run, room, s, starts[i], starts[i + 1] - starts[i]));
    return tmpl_room_str(run, room, out);
}

enum err tmpl_slice(struct tmpl_run *run, struct tmpl_val v,
                    const struct tmpl_val bounds[3], struct tmpl_val *out)
{
    struct range r;

    if (v.type == TMPL_UNDEF)
        return tmpl_fail_undef(run, v);
    if (v.type == TMPL_STR)
        return slice_str(run, v.u.s, bounds, out);
    if (v.type != TMPL_LIST)
        return tmpl_fail(run, "%s cannot be sliced", tmpl_type_name(v));
    ERR_TRY(slice_range(run, bounds, (int64_t)v.u.list->n, &r));
    ERR_TRY(tmpl_make_list(run, out));
    for (int64_t i = r.from; in_range(&r, i); i += r.step)
        ERR_TRY(tmpl_list_add(run, out->u.list, v.u.list->at[i]));
    return ERR_OK;
}
