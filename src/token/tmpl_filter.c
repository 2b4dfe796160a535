/* tmpl_filter.c - The table of filters, and those that take other filters or
 * tests as arguments. */
#include "token/tmpl_filter.h"

/* --- arguments ---------------------------------------------------------- */

/* The parameter called <name>, -1 when <names> has none. */
static int param_index(const char *names, struct str name)
{
    struct str rest = str_from(names), part;

    for (int i = 0; str_split(&rest, ' ', &part); i++) {
        if (str_eq(part, name))
            return i;
    }
    return -1;
}

enum err tmpl_bind(struct tmpl_run *run, const char *what, const char *names,
                   const struct tmpl_args *args,
                   struct tmpl_val out[TMPL_PARAMS_MAX])
{
    struct str rest = str_from(names), part;
    size_t n = 0;

    while (n < TMPL_PARAMS_MAX && str_split(&rest, ' ', &part))
        n++;
    if (args->n > n)
        return tmpl_fail(run, "%s takes %zu arguments, %zu were given", what, n,
                         args->n);
    for (size_t i = 0; i < TMPL_PARAMS_MAX; i++)
        out[i] = i < args->n ? args->pos[i] : (struct tmpl_val){0};
    for (size_t k = 0; k < args->n_kw; k++) {
        struct str name = tmpl_bytes(args->kw[k].key);
        int i = param_index(names, name);

        if (name.len > 60)
            name.len = 60;
        if (i < 0 || out[i].type != TMPL_MISSING)
            return tmpl_fail(run, "%s cannot take '%.*s'", what, STR_ARG(name));
        out[i] = args->kw[k].val;
    }
    return ERR_OK;
}

enum err tmpl_want_int(struct tmpl_run *run, const char *what,
                       struct tmpl_val v, int64_t def, int64_t *out)
{
    if (v.type == TMPL_MISSING || v.type == TMPL_NONE)
        *out = def;
    else if (v.type == TMPL_INT)
        *out = v.u.i;
    else if (v.type == TMPL_BOOL)
        *out = v.u.b;
    else
        return tmpl_fail(run, "%s must be an integer, not %s", what,
                         tmpl_type_name(v));
    return ERR_OK;
}

enum err tmpl_want_str(struct tmpl_run *run, const char *what,
                       struct tmpl_val v, const struct tmpl_str *def,
                       const struct tmpl_str **out)
{
    if (v.type == TMPL_STR)
        *out = v.u.s;
    else if (v.type == TMPL_MISSING && def)
        *out = def;
    else
        return tmpl_fail(run, "%s must be a string, not %s", what,
                         tmpl_type_name(v));
    return ERR_OK;
}

/* --- filters of filters ------------------------------------------------- */

static const struct tmpl_val *keyword(const struct tmpl_args *args,
                                      const char *name)
{
    for (size_t i = 0; i < args->n_kw; i++) {
        if (str_eq(tmpl_bytes(args->kw[i].key), str_from(name)))
            return &args->kw[i].val;
    }
    return NULL;
}

/* The number of the filter or test that the first of <args> names; the others
 * are <rest>. */
static enum err named(struct tmpl_run *run, const struct tmpl_args *args,
                      bool test, struct tmpl_args *rest, int *out)
{
    struct str name;

    if (args->n == 0 || args->pos[0].type != TMPL_STR)
        return tmpl_fail(run, "the name of a %s is wanted",
                         test ? "test" : "filter");
    name = tmpl_bytes(args->pos[0]);
    *out = test ? tmpl_test_find(name) : tmpl_filter_find(name);
    if (name.len > 60)
        name.len = 60;
    if (*out < 0)
        return tmpl_fail(run, "no %s named '%.*s'", test ? "test" : "filter",
                         STR_ARG(name));
    *rest = *args;
    rest->pos++;
    rest->n--;
    return ERR_OK;
}

/* What map() and the selections walk through: nothing for none. */
static enum err mapped_elements(struct tmpl_run *run, struct tmpl_val v,
                                struct tmpl_list **out)
{
    return tmpl_elements(run, v.type == TMPL_NONE ? tmpl_undef(NULL) : v, out);
}

static enum err map_attribute(struct tmpl_run *run, const struct tmpl_list *l,
                              struct tmpl_val path, const struct tmpl_val *def,
                              struct tmpl_val *out)
{
    struct tmpl_val v;

    ERR_TRY(tmpl_make_list(run, out));
    for (size_t i = 0; i < l->n; i++) {
        ERR_TRY(tmpl_get_path(run, l->at[i], path, &v));
        if (v.type == TMPL_UNDEF && def)
            v = *def;
        ERR_TRY(tmpl_list_add(run, out->u.list, v));
    }
    return ERR_OK;
}

static enum err filter_map(struct tmpl_run *run, struct tmpl_val v,
                           const struct tmpl_args *args, struct tmpl_val *out)
{
    const struct tmpl_val *path = keyword(args, "attribute");
    struct tmpl_args rest;
    struct tmpl_list *l;
    struct tmpl_val w;
    int id;

    ERR_TRY(mapped_elements(run, v, &l));
    if (args->n == 0 && path)
        return map_attribute(run, l, *path, keyword(args, "default"), out);
    ERR_TRY(named(run, args, false, &rest, &id));
    ERR_TRY(tmpl_make_list(run, out));
    if (++run->depth > TMPL_DEPTH_MAX)
        return tmpl_fail(run, "the template goes too deep");
    for (size_t i = 0; i < l->n; i++) {
        ERR_TRY(tmpl_filter_call(run, id, l->at[i], &rest, &w));
        ERR_TRY(tmpl_list_add(run, out->u.list, w));
    }
    run->depth--;
    return ERR_OK;
}

/* What a selection looks for. */
struct selection {
    bool wanted;
    bool attr;
    struct tmpl_val path;
    int test; /* -1: truth */
    struct tmpl_args args;
};

static enum err select_by(struct tmpl_run *run, struct tmpl_val v,
                          const struct selection *how, struct tmpl_val *out)
{
    struct tmpl_list *l;
    struct tmpl_val w;
    bool is;

    ERR_TRY(mapped_elements(run, v, &l));
    ERR_TRY(tmpl_make_list(run, out));
    for (size_t i = 0; i < l->n; i++) {
        w = l->at[i];
        if (how->attr)
            ERR_TRY(tmpl_get_path(run, w, how->path, &w));
        is = tmpl_truth(w);
        if (how->test >= 0)
            ERR_TRY(tmpl_test_call(run, how->test, w, &how->args, &is));
        if (is == how->wanted)
            ERR_TRY(tmpl_list_add(run, out->u.list, l->at[i]));
    }
    return ERR_OK;
}

static enum err select_any(struct tmpl_run *run, struct tmpl_val v,
                           const struct tmpl_args *args, struct selection how,
                           struct tmpl_val *out)
{
    struct tmpl_args rest = *args;

    how.test = -1;
    if (how.attr) {
        if (args->n == 0)
            return tmpl_fail(run, "the name of an attribute is wanted");
        how.path = args->pos[0];
        rest.pos++;
        rest.n--;
    }
    if (rest.n > 0)
        ERR_TRY(named(run, &rest, true, &how.args, &how.test));
    return select_by(run, v, &how, out);
}

static enum err filter_select(struct tmpl_run *run, struct tmpl_val v,
                              const struct tmpl_args *args,
                              struct tmpl_val *out)
{
    return select_any(run, v, args, (struct selection){.wanted = true}, out);
}

static enum err filter_reject(struct tmpl_run *run, struct tmpl_val v,
                              const struct tmpl_args *args,
                              struct tmpl_val *out)
{
    return select_any(run, v, args, (struct selection){.wanted = false}, out);
}

static enum err filter_selectattr(struct tmpl_run *run, struct tmpl_val v,
                                  const struct tmpl_args *args,
                                  struct tmpl_val *out)
{
    struct selection how = {.wanted = true, .attr = true};

    return select_any(run, v, args, how, out);
}

static enum err filter_rejectattr(struct tmpl_run *run, struct tmpl_val v,
                                  const struct tmpl_args *args,
                                  struct tmpl_val *out)
{
    return select_any(run, v, args, (struct selection){.attr = true}, out);
}

static enum err filter_format(struct tmpl_run *run, struct tmpl_val v,
                              const struct tmpl_args *args,
                              struct tmpl_val *out)
{
    ERR_TRY(tmpl_to_str(run, v, &v));
    return tmpl_format(run, v.u.s, args->pos, args->n, out);
}

/* --- the simplest ------------------------------------------------------- */

static enum err f_default(struct tmpl_run *run, struct tmpl_val v,
                          const struct tmpl_val *a, struct tmpl_val *out)
{
    if (v.type != TMPL_UNDEF && (!tmpl_truth(a[1]) || tmpl_truth(v))) {
        *out = v;
        return ERR_OK;
    }
    *out = a[0];
    if (a[0].type == TMPL_MISSING)
        return tmpl_make_str(run, STR(""), false, out);
    return ERR_OK;
}

static enum err f_attr(struct tmpl_run *run, struct tmpl_val v,
                       const struct tmpl_val *a, struct tmpl_val *out)
{
    if (a[0].type != TMPL_STR)
        return tmpl_fail(run, "attr takes a name");
    return tmpl_get_attr(run, v, tmpl_bytes(a[0]), out);
}

/* --- the table ---------------------------------------------------------- */

typedef enum err raw_fn(struct tmpl_run *run, struct tmpl_val v,
                        const struct tmpl_args *args, struct tmpl_val *out);

static const struct {
    const char *name;
    const char *params; /* of <fn> */
    tmpl_filter_fn *fn;
    raw_fn *raw; /* takes what arguments there are */
} filters[] = {
    {"abs", "", tmpl_f_abs, NULL},
    {"attr", "name", f_attr, NULL},
    {"batch", "linecount fill_with", tmpl_f_batch, NULL},
    {"bool", "", tmpl_f_bool, NULL},
    {"capitalize", "", tmpl_f_capitalize, NULL},
    {"center", "width", tmpl_f_center, NULL},
    {"count", "", tmpl_f_length, NULL},
    {"d", "default_value boolean", f_default, NULL},
    {"default", "default_value boolean", f_default, NULL},
    {"dictsort", "case_sensitive by reverse", tmpl_f_dictsort, NULL},
    {"e", "", tmpl_f_escape, NULL},
    {"escape", "", tmpl_f_escape, NULL},
    {"first", "", tmpl_f_first, NULL},
    {"float", "default", tmpl_f_float, NULL},
    {"forceescape", "", tmpl_f_escape, NULL},
    {"format", NULL, NULL, filter_format},
    {"groupby", "attribute default case_sensitive", tmpl_f_groupby, NULL},
    {"indent", "width first blank", tmpl_f_indent, NULL},
    {"int", "default base", tmpl_f_int, NULL},
    {"items", "", tmpl_f_items, NULL},
    {"join", "d attribute", tmpl_f_join, NULL},
    {"last", "", tmpl_f_last, NULL},
    {"length", "", tmpl_f_length, NULL},
    {"list", "", tmpl_f_list, NULL},
    {"lower", "", tmpl_f_lower, NULL},
    {"map", NULL, NULL, filter_map},
    {"max", "case_sensitive attribute", tmpl_f_max, NULL},
    {"min", "case_sensitive attribute", tmpl_f_min, NULL},
    {"reject", NULL, NULL, filter_reject},
    {"rejectattr", NULL, NULL, filter_rejectattr},
    {"replace", "old new count", tmpl_f_replace, NULL},
    {"reverse", "", tmpl_f_reverse, NULL},
    {"round", "precision method", tmpl_f_round, NULL},
    {"safe", "", tmpl_f_string, NULL},
    {"select", NULL, NULL, filter_select},
    {"selectattr", NULL, NULL, filter_selectattr},
    {"slice", "slices fill_with", tmpl_f_slice, NULL},
    {"sort", "reverse case_sensitive attribute", tmpl_f_sort, NULL},
    {"split", "sep maxsplit", tmpl_f_split, NULL},
    {"string", "", tmpl_f_string, NULL},
    {"sum", "attribute start", tmpl_f_sum, NULL},
    {"title", "", tmpl_f_title, NULL},
    {"tojson", "ensure_ascii indent separators sort_keys", tmpl_f_tojson, NULL},
    {"trim", "chars", tmpl_f_trim, NULL},
    {"truncate", "length killwords end leeway", tmpl_f_truncate, NULL},
    {"unique", "case_sensitive attribute", tmpl_f_unique, NULL},
    {"upper", "", tmpl_f_upper, NULL},
    {"wordcount", "", tmpl_f_wordcount, NULL},
};

int tmpl_filter_find(struct str name)
{
    for (size_t i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
        if (str_eq(name, str_from(filters[i].name)))
            return (int)i;
    }
    return -1;
}

enum err tmpl_filter_call(struct tmpl_run *run, int id, struct tmpl_val v,
                          const struct tmpl_args *args, struct tmpl_val *out)
{
    struct tmpl_val a[TMPL_PARAMS_MAX];

    ERR_TRY(tmpl_charge(run, 0));
    if (filters[id].raw)
        return filters[id].raw(run, v, args, out);
    ERR_TRY(tmpl_bind(run, filters[id].name, filters[id].params, args, a));
    return filters[id].fn(run, v, a, out);
}
