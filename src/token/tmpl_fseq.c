/* tmpl_fseq.c - Filters of sequences and mappings. */
#include "token/tmpl_filter.h"

/* --- paths -------------------------------------------------------------- */

/* A part of a path: a number is an index, too. */
static enum err get_step(struct tmpl_run *run, struct tmpl_val v,
                         const struct tmpl_str *path, struct str part,
                         struct tmpl_val *out)
{
    struct tmpl_val key;
    uint64_t i;

    if (part.len < 18 && str_to_u64(part, &i))
        return tmpl_get_item(run, v, tmpl_int((int64_t)i), out);
    ERR_TRY(
        tmpl_make_part(run, path, (size_t)(part.p - path->p), part.len, &key));
    return tmpl_get_item(run, v, key, out);
}

enum err tmpl_get_path(struct tmpl_run *run, struct tmpl_val v,
                       struct tmpl_val path, struct tmpl_val *out)
{
    struct str rest, part;

    ERR_TRY(tmpl_charge(run, 0));
    if (path.type != TMPL_STR)
        return tmpl_get_item(run, v, path, out);
    rest = tmpl_bytes(path);
    while (str_split(&rest, '.', &part))
        ERR_TRY(get_step(run, v, path.u.s, part, &v));
    *out = v;
    return ERR_OK;
}

/* What to sort or compare <v> by. Names with commas between are a list. */
static enum err sort_key(struct tmpl_run *run, struct tmpl_val v,
                         struct tmpl_val path, struct tmpl_val *out)
{
    struct str rest, part;
    struct tmpl_val key, one;

    *out = v;
    if (path.type == TMPL_MISSING || path.type == TMPL_NONE)
        return ERR_OK;
    if (path.type != TMPL_STR ||
        str_find_char(tmpl_bytes(path), ',') == path.u.s->len)
        return tmpl_get_path(run, v, path, out);
    ERR_TRY(tmpl_make_list(run, out));
    rest = tmpl_bytes(path);
    while (str_split(&rest, ',', &part)) {
        ERR_TRY(tmpl_make_part(run, path.u.s, (size_t)(part.p - path.u.s->p),
                               part.len, &key));
        ERR_TRY(tmpl_get_path(run, v, key, &one));
        ERR_TRY(tmpl_list_add(run, out->u.list, one));
    }
    return ERR_OK;
}

/* --- order -------------------------------------------------------------- */

struct merge {
    struct tmpl_pair *from, *to; /* key: what is sorted by */
    bool fold, reverse;
};

/* Merge [a, b) and [b, c). */
static enum err merge(struct tmpl_run *run, const struct merge *m, size_t a,
                      size_t b, size_t c)
{
    size_t i = a, j = b;
    int order;

    for (size_t k = a; k < c; k++) {
        bool right = i == b;

        if (i < b && j < c) {
            ERR_TRY(tmpl_compare(run, m->from[i].key, m->from[j].key, m->fold,
                                 &order));
            right = m->reverse ? order < 0 : order > 0;
        }
        m->to[k] = right ? m->from[j++] : m->from[i++];
    }
    return ERR_OK;
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

enum err tmpl_sort(struct tmpl_run *run, struct tmpl_list *l,
                   struct tmpl_val path, bool fold, bool reverse)
{
    struct merge m = {.fold = fold, .reverse = reverse};
    size_t n = l->n;

    if (n < 2)
        return ERR_OK;
    ERR_TRY(tmpl_alloc(run, n * sizeof(m.from[0]), &m.from));
    ERR_TRY(tmpl_alloc(run, n * sizeof(m.to[0]), &m.to));
    for (size_t i = 0; i < n; i++) {
        m.from[i].val = l->at[i];
        ERR_TRY(sort_key(run, l->at[i], path, &m.from[i].key));
    }
    for (size_t width = 1; width < n; width *= 2) {
        struct tmpl_pair *swap = m.from;

        for (size_t a = 0; a < n; a += 2 * width)
            ERR_TRY(merge(run, &m, a, min_size(a + width, n),
                          min_size(a + 2 * width, n)));
        m.from = m.to;
        m.to = swap;
    }
    for (size_t i = 0; i < n; i++)
        l->at[i] = m.from[i].val;
    return ERR_OK;
}

/* A list of its own with the elements of <v>. */
static enum err copy_of(struct tmpl_run *run, struct tmpl_val v,
                        struct tmpl_val *out)
{
    struct tmpl_list *l;

    ERR_TRY(tmpl_elements(run, v, &l));
    ERR_TRY(tmpl_make_list(run, out));
    for (size_t i = 0; i < l->n; i++)
        ERR_TRY(tmpl_list_add(run, out->u.list, l->at[i]));
    return ERR_OK;
}

enum err tmpl_f_sort(struct tmpl_run *run, struct tmpl_val v,
                     const struct tmpl_val *a, struct tmpl_val *out)
{
    ERR_TRY(copy_of(run, v, out));
    return tmpl_sort(run, out->u.list, a[2], !tmpl_truth(a[1]),
                     tmpl_truth(a[0]));
}

enum err tmpl_f_list(struct tmpl_run *run, struct tmpl_val v,
                     const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    return copy_of(run, v, out);
}

enum err tmpl_f_reverse(struct tmpl_run *run, struct tmpl_val v,
                        const struct tmpl_val *a, struct tmpl_val *out)
{
    const struct tmpl_val bounds[3] = {tmpl_none(), tmpl_none(), tmpl_int(-1)};
    struct tmpl_list *l;

    (void)a;
    if (v.type == TMPL_STR)
        return tmpl_slice(run, v, bounds, out);
    ERR_TRY(tmpl_elements(run, v, &l));
    return tmpl_slice(run, (struct tmpl_val){.type = TMPL_LIST, .u.list = l},
                      bounds, out);
}

/* The least or greatest. */
static enum err extreme(struct tmpl_run *run, struct tmpl_val v,
                        const struct tmpl_val *a, int sign,
                        struct tmpl_val *out)
{
    struct tmpl_val best, key;
    struct tmpl_list *l;
    int order;

    ERR_TRY(tmpl_elements(run, v, &l));
    *out = tmpl_undef(NULL);
    for (size_t i = 0; i < l->n; i++) {
        ERR_TRY(sort_key(run, l->at[i], a[1], &key));
        order = -sign;
        if (i > 0)
            ERR_TRY(tmpl_compare(run, key, best, !tmpl_truth(a[0]), &order));
        if (i > 0 && order * sign <= 0)
            continue;
        best = key;
        *out = l->at[i];
    }
    return ERR_OK;
}

enum err tmpl_f_min(struct tmpl_run *run, struct tmpl_val v,
                    const struct tmpl_val *a, struct tmpl_val *out)
{
    return extreme(run, v, a, -1, out);
}

enum err tmpl_f_max(struct tmpl_run *run, struct tmpl_val v,
                    const struct tmpl_val *a, struct tmpl_val *out)
{
    return extreme(run, v, a, 1, out);
}

/* --- parts -------------------------------------------------------------- */

enum err tmpl_f_length(struct tmpl_run *run, struct tmpl_val v,
                       const struct tmpl_val *a, struct tmpl_val *out)
{
    (void)a;
    *out = tmpl_int(0);
    if (v.type == TMPL_STR) {
        *out = tmpl_int((int64_t)tmpl_str_chars(v.u.s));
        return tmpl_charge(run, v.u.s->len);
    }
    if (v.type == TMPL_LIST)
        *out = tmpl_int((int64_t)v.u.list->n);
    else if (v.type == TMPL_DICT)
        *out = tmpl_int((int64_t)v.u.dict->n);
    else if (v.type == TMPL_LOOP)
        *out = tmpl_int((int64_t)v.u.loop->items->n);
    else if (v.type != TMPL_UNDEF)
        return tmpl_fail(run, "%s has no length", tmpl_type_name(v));
    return ERR_OK;
}

enum err tmpl_f_first(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a, struct tmpl_val *out)
{
    struct tmpl_list *l;

    (void)a;
    if (v.type == TMPL_STR)
        return tmpl_get_item(run, v, tmpl_int(0), out);
    ERR_TRY(tmpl_elements(run, v, &l));
    *out = l->n > 0 ? l->at[0] : tmpl_undef(NULL);
    return ERR_OK;
}

enum err tmpl_f_last(struct tmpl_run *run, struct tmpl_val v,
                     const struct tmpl_val *a, struct tmpl_val *out)
{
    struct tmpl_list *l;

    (void)a;
    if (v.type == TMPL_STR)
        return tmpl_get_item(run, v, tmpl_int(-1), out);
    ERR_TRY(tmpl_elements(run, v, &l));
    *out = l->n > 0 ? l->at[l->n - 1] : tmpl_undef(NULL);
    return ERR_OK;
}

enum err tmpl_f_join(struct tmpl_run *run, struct tmpl_val v,
                     const struct tmpl_val *a, struct tmpl_val *out)
{
    struct tmpl_val sep = {0}, l, one;
    struct tmpl_list *all;

    if (a[0].type != TMPL_MISSING)
        ERR_TRY(tmpl_to_str(run, a[0], &sep));
    ERR_TRY(tmpl_elements(run, v, &all));
    if (a[1].type != TMPL_MISSING && a[1].type != TMPL_NONE) {
        ERR_TRY(tmpl_make_list(run, &l));
        for (size_t i = 0; i < all->n; i++) {
            ERR_TRY(tmpl_get_path(run, all->at[i], a[1], &one));
            ERR_TRY(tmpl_list_add(run, l.u.list, one));
        }
        all = l.u.list;
    }
    return tmpl_join(run, all, sep.type == TMPL_STR ? sep.u.s : NULL, out);
}

enum err tmpl_f_sum(struct tmpl_run *run, struct tmpl_val v,
                    const struct tmpl_val *a, struct tmpl_val *out)
{
    struct tmpl_list *l;
    struct tmpl_val one;

    ERR_TRY(tmpl_elements(run, v, &l));
    *out = a[1].type == TMPL_MISSING ? tmpl_int(0) : a[1];
    for (size_t i = 0; i < l->n; i++) {
        ERR_TRY(sort_key(run, l->at[i], a[0], &one));
        ERR_TRY(tmpl_arith(run, TMPL_O_ADD, *out, one, out));
    }
    return ERR_OK;
}

/* <v>, or its lower case when it is a string and <fold>. */
static enum err folded(struct tmpl_run *run, struct tmpl_val v, bool fold,
                       struct tmpl_val *out)
{
    *out = v;
    if (!fold || v.type != TMPL_STR)
        return ERR_OK;
    return tmpl_recase(run, v.u.s, TMPL_LOWER, false, out);
}

enum err tmpl_f_unique(struct tmpl_run *run, struct tmpl_val v,
                       const struct tmpl_val *a, struct tmpl_val *out)
{
    struct tmpl_val seen, key;
    struct tmpl_list *l;

    ERR_TRY(tmpl_elements(run, v, &l));
    ERR_TRY(tmpl_make_list(run, out));
    ERR_TRY(tmpl_make_dict(run, &seen));
    for (size_t i = 0; i < l->n; i++) {
        ERR_TRY(sort_key(run, l->at[i], a[1], &key));
        ERR_TRY(folded(run, key, !tmpl_truth(a[0]), &key));
        if (tmpl_dict_get(seen.u.dict, key))
            continue;
        ERR_TRY(tmpl_dict_set(run, seen.u.dict, key, tmpl_none()));
        ERR_TRY(tmpl_list_add(run, out->u.list, l->at[i]));
    }
    return ERR_OK;
}

enum err tmpl_f_batch(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a, struct tmpl_val *out)
{
    struct tmpl_list *l, *row = NULL;
    struct tmpl_val one;
    int64_t width;

    ERR_TRY(tmpl_want_int(run, "linecount", a[0], 0, &width));
    ERR_TRY(tmpl_elements(run, v, &l));
    ERR_TRY(tmpl_make_list(run, out));
    for (size_t i = 0; i < l->n; i++) {
        if (!row || (int64_t)row->n == width) {
            ERR_TRY(tmpl_make_list(run, &one));
            ERR_TRY(tmpl_list_add(run, out->u.list, one));
            row = one.u.list;
        }
        ERR_TRY(tmpl_list_add(run, row, l->at[i]));
    }
    while (row && a[1].type != TMPL_MISSING && a[1].type != TMPL_NONE &&
           (int64_t)row->n < width)
        ERR_TRY(tmpl_list_add(run, row, a[1]));
    return ERR_OK;
}

enum err tmpl_f_slice(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a, struct tmpl_val *out)
{
    struct tmpl_list *l;
    struct tmpl_val one;
    int64_t n;
    size_t at = 0;

    ERR_TRY(tmpl_want_int(run, "slices", a[0], 0, &n));
    ERR_TRY(tmpl_elements(run, v, &l));
    if (n < 1 || n > TMPL_RANGE_MAX)
        return tmpl_fail(run, "slices are out of range");
    ERR_TRY(tmpl_make_list(run, out));
    for (size_t i = 0; i < (size_t)n; i++) {
        bool more = i < l->n % (size_t)n;

        ERR_TRY(tmpl_make_list(run, &one));
        for (size_t k = 0; k < l->n / (size_t)n + more; k++)
            ERR_TRY(tmpl_list_add(run, one.u.list, l->at[at++]));
        if (!more && a[1].type != TMPL_MISSING && l->n % (size_t)n != 0)
            ERR_TRY(tmpl_list_add(run, one.u.list, a[1]));
        ERR_TRY(tmpl_list_add(run, out->u.list, one));
    }
    return ERR_OK;
}

enum err tmpl_f_groupby(struct tmpl_run *run, struct tmpl_val v,
                        const struct tmpl_val *a, struct tmpl_val *out)
{
    bool fold = !tmpl_truth(a[2]);
    struct tmpl_val all, key, low, last = {0}, group = {0}, pair;

    if (a[0].type == TMPL_MISSING)
        return tmpl_fail(run, "groupby needs an attribute");
    ERR_TRY(copy_of(run, v, &all));
    ERR_TRY(tmpl_sort(run, all.u.list, a[0], fold, false));
    ERR_TRY(tmpl_make_list(run, out));
    for (size_t i = 0; i < all.u.list->n; i++) {
        ERR_TRY(tmpl_get_path(run, all.u.list->at[i], a[0], &key));
        if (key.type == TMPL_UNDEF && a[1].type != TMPL_MISSING)
            key = a[1];
        ERR_TRY(folded(run, key, fold, &low));
        if (i == 0 || !tmpl_equal(low, last)) {
            ERR_TRY(tmpl_make_list(run, &group));
            ERR_TRY(tmpl_make_pair(run, key, group, &pair));
            ERR_TRY(tmpl_list_add(run, out->u.list, pair));
            last = low;
        }
        ERR_TRY(tmpl_list_add(run, group.u.list, all.u.list->at[i]));
    }
    return ERR_OK;
}

enum err tmpl_f_items(struct tmpl_run *run, struct tmpl_val v,
                      const struct tmpl_val *a, struct tmpl_val *out)
{
    struct tmpl_val pair;

    (void)a;
    if (v.type != TMPL_DICT && v.type != TMPL_UNDEF)
        return tmpl_fail(run, "%s has no items", tmpl_type_name(v));
    ERR_TRY(tmpl_make_list(run, out));
    for (size_t i = 0; v.type == TMPL_DICT && i < v.u.dict->n; i++) {
        ERR_TRY(tmpl_make_pair(run, v.u.dict->at[i].key, v.u.dict->at[i].val,
                               &pair));
        ERR_TRY(tmpl_list_add(run, out->u.list, pair));
    }
    return ERR_OK;
}

enum err tmpl_f_dictsort(struct tmpl_run *run, struct tmpl_val v,
                         const struct tmpl_val *a, struct tmpl_val *out)
{
    static const struct tmpl_str by_key = {.p = "key", .len = 3};
    const struct tmpl_str *by;
    bool value;

    ERR_TRY(tmpl_want_str(run, "by", a[1], &by_key, &by));
    value = str_eq(str_of(by->p, by->len), STR("value"));
    if (!value && !str_eq(str_of(by->p, by->len), STR("key")))
        return tmpl_fail(run, "by must be \"key\" or \"value\"");
    ERR_TRY(tmpl_f_items(run, v, a, out));
    return tmpl_sort(run, out->u.list, tmpl_int(value), !tmpl_truth(a[0]),
                     tmpl_truth(a[2]));
}
