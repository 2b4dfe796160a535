/* tmpl_func.c - The functions that every chat template may call, the objects
 * they make, and the methods of loops. */
#include <stdio.h>

#include "token/tmpl_run.h"

enum func_id {
    F_RANGE,
    F_NAMESPACE,
    F_DICT,
    F_CYCLER,
    F_JOINER,
    F_RAISE,
    F_STRFTIME,
    F_CYCLER_NEXT,
    F_CYCLER_RESET,
};

static const struct {
    const char *name;
    enum func_id id;
} globals[] = {
    {"range", F_RANGE},
    {"namespace", F_NAMESPACE},
    {"dict", F_DICT},
    {"cycler", F_CYCLER},
    {"joiner", F_JOINER},
    {"raise_exception", F_RAISE},
    {"strftime_now", F_STRFTIME},
};

enum err tmpl_funcs_init(struct tmpl_run *run)
{
    for (size_t i = 0; i < sizeof(globals) / sizeof(globals[0]); i++) {
        for (unsigned n = 0; n < run->t->n_names; n++) {
            if (!str_eq(run->t->names[n], str_from(globals[i].name)))
                continue;
            ERR_TRY(tmpl_make_func(run, TMPL_F_BUILTIN, globals[i].id,
                                   tmpl_none(), &run->globals[n]));
        }
    }
    return ERR_OK;
}

static enum err call_range(struct tmpl_run *run, const struct tmpl_args *args,
                           struct tmpl_val *out)
{
    int64_t v[3] = {0, 0, 1};
    struct tmpl_val i;

    if (args->n < 1 || args->n > 3 || args->n_kw > 0)
        return tmpl_fail(run, "range takes 1 to 3 arguments");
    for (size_t k = 0; k < args->n; k++) {
        if (args->pos[k].type == TMPL_NONE)
            return tmpl_fail(run, "range needs integers");
        ERR_TRY(tmpl_want_int(run, "range", args->pos[k], 0, &v[k]));
    }
    if (args->n == 1) {
        v[1] = v[0];
        v[0] = 0;
    }
    if (v[2] == 0)
        return tmpl_fail(run, "the step of a range cannot be zero");
    ERR_TRY(tmpl_make_list(run, out));
    while (v[2] > 0 ? v[0] < v[1] : v[0] > v[1]) {
        if (out->u.list->n == TMPL_RANGE_MAX)
            return tmpl_fail(run, "the range is too large");
        i = tmpl_int(v[0]);
        ERR_TRY(tmpl_list_add(run, out->u.list, i));
        if (__builtin_add_overflow(v[0], v[2], &v[0]))
            break;
    }
    return ERR_OK;
}

/* namespace() and dict(): the members of a mapping or of pairs, and keywords.
 */
static enum err call_dict(struct tmpl_run *run, const struct tmpl_args *args,
                          struct tmpl_val *out)
{
    struct tmpl_list *l, *pair;

    ERR_TRY(tmpl_make_dict(run, out));
    if (args->n > 1)
        return tmpl_fail(run, "at most one mapping is wanted");
    if (args->n == 1 && args->pos[0].type == TMPL_DICT) {
        const struct tmpl_dict *d = args->pos[0].u.dict;

        for (size_t i = 0; i < d->n; i++)
            ERR_TRY(
                tmpl_dict_set(run, out->u.dict, d->at[i].key, d->at[i].val));
    } else if (args->n == 1) {
        ERR_TRY(tmpl_elements(run, args->pos[0], &l));
        for (size_t i = 0; i < l->n; i++) {
            ERR_TRY(tmpl_elements(run, l->at[i], &pair));
            if (pair->n != 2)
                return tmpl_fail(run, "pairs are wanted");
            ERR_TRY(tmpl_dict_set(run, out->u.dict, pair->at[0], pair->at[1]));
        }
    }
    for (size_t i = 0; i < args->n_kw; i++)
        ERR_TRY(
            tmpl_dict_set(run, out->u.dict, args->kw[i].key, args->kw[i].val));
    return ERR_OK;
}

static enum err call_raise(struct tmpl_run *run, const struct tmpl_args *args)
{
    struct tmpl_val v = tmpl_undef(NULL);

    if (args->n > 0)
        v = args->pos[0];
    ERR_TRY(tmpl_to_str(run, v, &v));
    run->why->raised = true;
    return tmpl_fail(run, "%.*s", (int)(v.u.s->len > 250 ? 250 : v.u.s->len),
                     v.u.s->p);
}

static enum err make_object(struct tmpl_run *run, enum tmpl_func_kind kind,
                            const struct tmpl_args *args, struct tmpl_val *out)
{
    struct tmpl_val l;

    if (kind == TMPL_F_CYCLER && args->n == 0)
        return tmpl_fail(run, "at least one item has to be provided");
    ERR_TRY(tmpl_make_list(run, &l));
    for (size_t i = 0; i < args->n; i++)
        ERR_TRY(tmpl_list_add(run, l.u.list, args->pos[i]));
    ERR_TRY(tmpl_make_func(run, kind, 0, tmpl_none(), out));
    out->u.func->items = l.u.list;
    return ERR_OK;
}

static enum err call_builtin(struct tmpl_run *run, enum func_id id,
                             const struct tmpl_args *args, struct tmpl_val *out)
{
    switch (id) {
    case F_RANGE:
        return call_range(run, args, out);
    case F_NAMESPACE:
        ERR_TRY(call_dict(run, args, out));
        out->type = TMPL_SPACE;
        return ERR_OK;
    case F_DICT:
        return call_dict(run, args, out);
    case F_CYCLER:
        return make_object(run, TMPL_F_CYCLER, args, out);
    case F_JOINER:
        return make_object(run, TMPL_F_JOINER, args, out);
    case F_RAISE:
        return call_raise(run, args);
    default:
        if (args->n != 1 || args->pos[0].type != TMPL_STR)
            return tmpl_fail(run, "strftime_now takes a format");
        return tmpl_strftime(run, args->pos[0].u.s, out);
    }
}

/* cycler().next() and reset(). */
static struct tmpl_val cycle(struct tmpl_func *c, bool reset)
{
    struct tmpl_val v = c->items->at[c->at];

    c->at = reset ? 0 : (c->at + 1) % c->items->n;
    return reset ? tmpl_none() : v;
}

/* joiner(): nothing at first, then the separator. */
static enum err join(struct tmpl_run *run, struct tmpl_func *j,
                     struct tmpl_val *out)
{
    if (j->at++ == 0)
        return tmpl_make_str(run, STR(""), false, out);
    if (j->items->n > 0) {
        *out = j->items->at[0];
        return ERR_OK;
    }
    return tmpl_make_str(run, STR(", "), false, out);
}

enum err tmpl_func_attr(struct tmpl_run *run, struct tmpl_val v,
                        struct str name, struct tmpl_val *out)
{
    struct tmpl_func *f = v.u.func;
    bool reset = str_eq(name, STR("reset"));

    *out = (struct tmpl_val){.type = TMPL_MISSING};
    if (f->kind != TMPL_F_CYCLER)
        return ERR_OK;
    if (str_eq(name, STR("current")))
        *out = f->items->at[f->at];
    else if (reset || str_eq(name, STR("next")))
        return tmpl_make_func(run, TMPL_F_BUILTIN,
                              reset ? F_CYCLER_RESET : F_CYCLER_NEXT, v, out);
    return ERR_OK;
}

enum err tmpl_func_call(struct tmpl_run *run, struct tmpl_func *f,
                        const struct tmpl_args *args, struct tmpl_val *out)
{
    if (f->kind == TMPL_F_JOINER)
        return join(run, f, out);
    if (f->kind != TMPL_F_BUILTIN)
        return tmpl_fail(run, "this cannot be called");
    if (f->id == F_CYCLER_NEXT || f->id == F_CYCLER_RESET) {
        *out = cycle(f->self.u.func, f->id == F_CYCLER_RESET);
        return ERR_OK;
    }
    return call_builtin(run, (enum func_id)f->id, args, out);
}

enum err tmpl_loop_call(struct tmpl_run *run, struct tmpl_loop *l, bool cycles,
                        const struct tmpl_args *args, struct tmpl_val *out)
{
    struct tmpl_val now;

    if (cycles && args->n == 0)
        return tmpl_fail(run, "no items for cycling given");
    if (cycles) {
        *out = args->pos[l->i % args->n];
        return ERR_OK;
    }
    ERR_TRY(tmpl_make_list(run, &now));
    for (size_t i = 0; i < args->n; i++)
        ERR_TRY(tmpl_list_add(run, now.u.list, args->pos[i]));
    *out =
        tmpl_bool(!l->seen || !tmpl_equal((struct tmpl_val){.type = TMPL_LIST,
                                                            .u.list = l->seen},
                                          now));
    l->seen = now.u.list;
    return ERR_OK;
}

/* --- str.format() ------------------------------------------------------- */

/* The argument of a field: its number, its name, or the next. */
static enum err field(struct tmpl_run *run, struct str name,
                      const struct tmpl_args *args, size_t *next,
                      struct tmpl_val *out)
{
    uint64_t i = *next;

    for (size_t k = 0; k < args->n_kw; k++) {
        if (str_eq(tmpl_bytes(args->kw[k].key), name)) {
            *out = args->kw[k].val;
            return ERR_OK;
        }
    }
    if (name.len > 0 && !str_to_u64(name, &i))
        return tmpl_fail(run, "unsupported field in a format");
    if (i >= args->n)
        return tmpl_fail(run, "not enough arguments for the format");
    *next += name.len == 0;
    *out = args->pos[i];
    return ERR_OK;
}

/* The piece of a format at <at>; how long it is. */
static enum err format_piece(struct tmpl_run *run, const struct tmpl_str *fmt,
                             size_t *at, struct str *name_out)
{
    struct str rest = str_of(fmt->p + *at, fmt->len - *at);
    size_t end = str_find_char(rest, '}');

    *name_out = (struct str){NULL, 0};
    if (str_starts(rest, STR("{{")) || str_starts(rest, STR("}}"))) {
        *at += 2;
        return ERR_OK;
    }
    if (rest.p[0] == '}' || end == rest.len)
        return tmpl_fail(run, "single '%c' in a format", rest.p[0]);
    *name_out = str_of(rest.p + 1, end - 1);
    *at += end + 1;
    return ERR_OK;
}

enum err tmpl_str_format(struct tmpl_run *run, const struct tmpl_str *fmt,
                         const struct tmpl_args *args, struct tmpl_val *out)
{
    size_t at = 0, next = 0;
    struct tmpl_room *r;

    ERR_TRY(tmpl_alloc(run, sizeof(*r), &r));
    while (at < fmt->len) {
        size_t from = at;
        struct tmpl_val v;
        struct str name;

        while (at < fmt->len && fmt->p[at] != '{' && fmt->p[at] != '}')
            at++;
        ERR_TRY(tmpl_room_copy(run, r, fmt, from, at - from));
        from = at;
        if (at == fmt->len)
            break;
        ERR_TRY(format_piece(run, fmt, &at, &name));
        if (!name.p) {
            ERR_TRY(tmpl_room_copy(run, r, fmt, from, 1));
            continue;
        }
        ERR_TRY(field(run, name, args, &next, &v));
        ERR_TRY(tmpl_put_val(run, r, v));
    }
    return tmpl_room_str(run, r, out);
}
