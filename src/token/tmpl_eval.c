/* tmpl_eval.c - Evaluates the expressions of a chat template. */
#include "token/tmpl_run.h"

/* --- names and parts ---------------------------------------------------- */

enum err tmpl_fail_undef(struct tmpl_run *run, struct tmpl_val v)
{
    struct str name = v.type == TMPL_UNDEF && v.u.name ? *v.u.name : STR("it");

    if (name.len > 80)
        name.len = 80;
    return tmpl_fail(run, "'%.*s' is undefined", STR_ARG(name));
}

static struct tmpl_val look_up(const struct tmpl_run *run, int id)
{
    for (const struct tmpl_env *e = run->env; e; e = e->up) {
        for (unsigned i = 0; i < e->n; i++) {
            if (e->at[i].id == id)
                return e->at[i].v;
        }
    }
    if (run->globals[id].type == TMPL_MISSING)
        return tmpl_undef(&run->t->names[id]);
    return run->globals[id];
}

/* An undefined value that knows its name. */
static enum err undefined(struct tmpl_run *run, struct str name,
                          struct tmpl_val *out)
{
    struct str *own;

    ERR_TRY(tmpl_alloc(run, sizeof(*own), &own));
    *own = name;
    *out = tmpl_undef(own);
    return ERR_OK;
}

/* An element of a loop's items, undefined outside of them. */
static struct tmpl_val loop_item(const struct tmpl_loop *l, size_t i)
{
    return i < l->items->n ? l->items->at[i] : tmpl_undef(NULL);
}

static enum err loop_attr(struct tmpl_run *run, struct tmpl_val v,
                          struct str name, struct tmpl_val *out)
{
    const struct tmpl_loop *l = v.u.loop;
    int64_t i = (int64_t)l->i, n = (int64_t)l->items->n;
    const struct {
        const char *name;
        struct tmpl_val v;
    } known[] = {
        {"index", tmpl_int(i + 1)},
        {"index0", tmpl_int(i)},
        {"first", tmpl_bool(i == 0)},
        {"last", tmpl_bool(i + 1 == n)},
        {"length", tmpl_int(n)},
        {"revindex", tmpl_int(n - i)},
        {"revindex0", tmpl_int(n - i - 1)},
        {"depth", tmpl_int((int64_t)l->depth)},
        {"depth0", tmpl_int((int64_t)l->depth - 1)},
        {"previtem", i > 0 ? loop_item(l, l->i - 1) : tmpl_undef(NULL)},
        {"nextitem", loop_item(l, l->i + 1)},
    };

    for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
        if (str_eq(name, str_from(known[k].name))) {
            *out = known[k].v;
            return ERR_OK;
        }
    }
    ERR_TRY(tmpl_method_find(run, v, name, out));
    return out->type == TMPL_MISSING ? undefined(run, name, out) : ERR_OK;
}

enum err tmpl_get_attr(struct tmpl_run *run, struct tmpl_val v, struct str name,
                       struct tmpl_val *out)
{
    const struct tmpl_val *member = NULL;

    if (v.type == TMPL_UNDEF)
        return tmpl_fail_undef(run, v);
    if (v.type == TMPL_LOOP)
        return loop_attr(run, v, name, out);
    ERR_TRY(tmpl_method_find(run, v, name, out));
    if (out->type != TMPL_MISSING)
        return ERR_OK;
    if (v.type == TMPL_DICT || v.type == TMPL_SPACE)
        member = tmpl_dict_find(v.u.dict, name);
    if (!member)
        return undefined(run, name, out);
    *out = *member;
    return ERR_OK;
}

/* Element <i> of a list or string, from the end when negative. */
static enum err get_index(struct tmpl_run *run, struct tmpl_val v, int64_t i,
                          struct tmpl_val *out)
{
    struct tmpl_val bounds[3] = {tmpl_int(i), tmpl_int(i + 1), tmpl_none()};

    if (v.type == TMPL_LIST) {
        int64_t n = (int64_t)v.u.list->n;

        i = i < 0 ? i + n : i;
        *out = i >= 0 && i < n ? v.u.list->at[i] : tmpl_undef(NULL);
        return ERR_OK;
    }
    if (i == INT64_MAX)
        bounds[1] = tmpl_none();
    if (i == -1)
        bounds[1] = tmpl_none();
    ERR_TRY(tmpl_slice(run, v, bounds, out));
    if (out->u.s->len == 0)
        *out = tmpl_undef(NULL);
    return ERR_OK;
}

enum err tmpl_get_item(struct tmpl_run *run, struct tmpl_val v,
                       struct tmpl_val key, struct tmpl_val *out)
{
    const struct tmpl_val *member = NULL;

    if (v.type == TMPL_UNDEF)
        return tmpl_fail_undef(run, v);
    if (v.type == TMPL_DICT || v.type == TMPL_SPACE)
        member = tmpl_dict_get(v.u.dict, key);
    if (member) {
        *out = *member;
        return ERR_OK;
    }
    if (v.type == TMPL_LIST || v.type == TMPL_STR) {
        if (key.type == TMPL_INT || key.type == TMPL_BOOL)
            return get_index(run, v, key.type == TMPL_INT ? key.u.i : key.u.b,
                             out);
    }
    if (key.type == TMPL_STR)
        return tmpl_get_attr(run, v, tmpl_bytes(key), out);
    *out = tmpl_undef(NULL);
    return ERR_OK;
}

static enum err eval_part(struct tmpl_run *run, const struct tmpl_node *n,
                          struct tmpl_val *out)
{
    struct tmpl_val v, key;

    ERR_TRY(tmpl_eval(run, n->kid[0], &v));
    if (n->kind == TMPL_N_ATTR) {
        run->at = n;
        return tmpl_get_attr(run, v, tmpl_bytes(n->lit), out);
    }
    ERR_TRY(tmpl_eval(run, n->kid[1], &key));
    run->at = n;
    return tmpl_get_item(run, v, key, out);
}

static enum err eval_slice(struct tmpl_run *run, const struct tmpl_node *n,
                           struct tmpl_val *out)
{
    struct tmpl_val v, bounds[3];

    ERR_TRY(tmpl_eval(run, n->kid[0], &v));
    for (unsigned i = 0; i < 3; i++) {
        bounds[i] = tmpl_none();
        if (n->kid[i + 1])
            ERR_TRY(tmpl_eval(run, n->kid[i + 1], &bounds[i]));
    }
    run->at = n;
    return tmpl_slice(run, v, bounds, out);
}

/* --- lists and mappings ------------------------------------------------- */

static enum err eval_list(struct tmpl_run *run, const struct tmpl_node *n,
                          struct tmpl_val *out)
{
    struct tmpl_val v;

    ERR_TRY(tmpl_make_list(run, out));
    for (unsigned i = 0; i < n->n; i++) {
        ERR_TRY(tmpl_eval(run, n->kid[i], &v));
        ERR_TRY(tmpl_list_add(run, out->u.list, v));
    }
    return ERR_OK;
}

static enum err eval_dict(struct tmpl_run *run, const struct tmpl_node *n,
                          struct tmpl_val *out)
{
    struct tmpl_val key, v;

    ERR_TRY(tmpl_make_dict(run, out));
    for (unsigned i = 0; i + 1 < n->n; i += 2) {
        ERR_TRY(tmpl_eval(run, n->kid[i], &key));
        ERR_TRY(tmpl_eval(run, n->kid[i + 1], &v));
        run->at = n->kid[i];
        ERR_TRY(tmpl_dict_set(run, out->u.dict, key, v));
    }
    return ERR_OK;
}

/* --- calls -------------------------------------------------------------- */

struct arg_lists {
    struct tmpl_list pos;
    struct tmpl_dict kw;
};

static enum err add_stars(struct tmpl_run *run, struct arg_lists *l,
                          struct tmpl_val v, bool pairs)
{
    struct tmpl_list *all;

    if (pairs && v.type != TMPL_DICT)
        return tmpl_fail(run, "%s behind ** is no mapping", tmpl_type_name(v));
    for (size_t i = 0; pairs && i < v.u.dict->n; i++) {
        if (v.u.dict->at[i].key.type != TMPL_STR)
            return tmpl_fail(run, "keywords must be strings");
        ERR_TRY(tmpl_dict_set(run, &l->kw, v.u.dict->at[i].key,
                              v.u.dict->at[i].val));
    }
    if (pairs)
        return ERR_OK;
    ERR_TRY(tmpl_elements(run, v, &all));
    for (size_t i = 0; i < all->n; i++)
        ERR_TRY(tmpl_list_add(run, &l->pos, all->at[i]));
    return ERR_OK;
}

/* The arguments of <n>: its kids but the first. */
static enum err eval_args(struct tmpl_run *run, const struct tmpl_node *n,
                          struct tmpl_args *out)
{
    struct arg_lists l = {{0}, {0}};

    for (unsigned i = 1; i < n->n; i++) {
        struct tmpl_val v;

        ERR_TRY(tmpl_eval(run, n->kid[i], &v));
        if (n->ops[i] == TMPL_A_POS)
            ERR_TRY(tmpl_list_add(run, &l.pos, v));
        else if (n->ops[i] == TMPL_A_KEY)
            ERR_TRY(tmpl_dict_set(run, &l.kw, n->key[i], v));
        else
            ERR_TRY(add_stars(run, &l, v, n->ops[i] == TMPL_A_STARS));
    }
    *out = (struct tmpl_args){l.pos.at, l.pos.n, l.kw.at, l.kw.n};
    return ERR_OK;
}

static enum err call_loop(struct tmpl_run *run, const struct tmpl_loop *l,
                          const struct tmpl_args *args, struct tmpl_val *out)
{
    struct tmpl_room *outer = run->out, *r;
    enum err e;

    if (!l->node || args->n != 1)
        return tmpl_fail(run, "this loop is not recursive");
    ERR_TRY(tmpl_alloc(run, sizeof(*r), &r));
    run->out = r;
    e = tmpl_exec_for(run, l->node, args->pos[0], l->env, l->depth + 1);
    run->out = outer;
    ERR_TRY(e);
    return tmpl_room_str(run, r, out);
}

enum err tmpl_call(struct tmpl_run *run, struct tmpl_val f,
                   const struct tmpl_args *args, struct tmpl_val caller,
                   struct tmpl_val *out)
{
    if (f.type == TMPL_UNDEF)
        return tmpl_fail_undef(run, f);
    if (f.type == TMPL_LOOP)
        return call_loop(run, f.u.loop, args, out);
    if (f.type != TMPL_FUNC)
        return tmpl_fail(run, "%s cannot be called", tmpl_type_name(f));
    switch (f.u.func->kind) {
    case TMPL_F_MACRO:
    case TMPL_F_CALLER:
        return tmpl_call_macro(run, f.u.func, args, caller, out);
    case TMPL_F_METHOD:
        return tmpl_method_call(run, f.u.func, args, out);
    default:
        return tmpl_func_call(run, f.u.func, args, out);
    }
}

enum err tmpl_eval_call(struct tmpl_run *run, const struct tmpl_node *n,
                        struct tmpl_val caller, struct tmpl_val *out)
{
    struct tmpl_args args;
    struct tmpl_val f;

    ERR_TRY(tmpl_eval(run, n->kid[0], &f));
    ERR_TRY(eval_args(run, n, &args));
    run->at = n;
    return tmpl_call(run, f, &args, caller, out);
}

static enum err eval_filter(struct tmpl_run *run, const struct tmpl_node *n,
                            struct tmpl_val *out)
{
    struct tmpl_args args;
    struct tmpl_val v;
    bool is;

    ERR_TRY(tmpl_eval(run, n->kid[0], &v));
    ERR_TRY(eval_args(run, n, &args));
    run->at = n;
    if (n->kind == TMPL_N_FILTER)
        return tmpl_filter_call(run, n->id, v, &args, out);
    ERR_TRY(tmpl_test_call(run, n->id, v, &args, &is));
    *out = tmpl_bool(is != n->flag);
    return ERR_OK;
}

/* --- operators ---------------------------------------------------------- */

static enum err eval_sign(struct tmpl_run *run, const struct tmpl_node *n,
                          struct tmpl_val *out)
{
    struct tmpl_val v, zero = tmpl_int(0);

    ERR_TRY(tmpl_eval(run, n->kid[0], &v));
    run->at = n;
    if (v.type == TMPL_REAL) {
        v.u.r = n->kind == TMPL_N_NEG ? -v.u.r : v.u.r;
        *out = v;
        return ERR_OK;
    }
    if (v.type != TMPL_INT && v.type != TMPL_BOOL)
        return tmpl_fail(run, "%s has no sign", tmpl_type_name(v));
    return tmpl_arith(run, n->kind == TMPL_N_NEG ? TMPL_O_SUB : TMPL_O_ADD,
                      zero, v, out);
}

static enum err eval_arith(struct tmpl_run *run, const struct tmpl_node *n,
                           struct tmpl_val *out)
{
    struct tmpl_val v, w;

    ERR_TRY(tmpl_eval(run, n->kid[0], &v));
    for (unsigned i = 1; i < n->n; i++) {
        ERR_TRY(tmpl_eval(run, n->kid[i], &w));
        run->at = n->kid[i];
        ERR_TRY(tmpl_arith(run, (enum tmpl_op)n->ops[i - 1], v, w, &v));
    }
    *out = v;
    return ERR_OK;
}

static enum err eval_concat(struct tmpl_run *run, const struct tmpl_node *n,
                            struct tmpl_val *out)
{
    struct tmpl_val v, w;

    ERR_TRY(tmpl_eval(run, n->kid[0], &v));
    ERR_TRY(tmpl_to_str(run, v, &v));
    for (unsigned i = 1; i < n->n; i++) {
        ERR_TRY(tmpl_eval(run, n->kid[i], &w));
        run->at = n->kid[i];
        ERR_TRY(tmpl_to_str(run, w, &w));
        ERR_TRY(tmpl_concat(run, v.u.s, w.u.s, &v));
    }
    *out = v;
    return ERR_OK;
}

static enum err eval_compare(struct tmpl_run *run, const struct tmpl_node *n,
                             struct tmpl_val *out)
{
    struct tmpl_val v, w;
    bool is = true;

    ERR_TRY(tmpl_eval(run, n->kid[0], &v));
    for (unsigned i = 1; i < n->n && is; i++) {
        ERR_TRY(tmpl_eval(run, n->kid[i], &w));
        run->at = n->kid[i];
        ERR_TRY(tmpl_relate(run, (enum tmpl_op)n->ops[i - 1], v, w, &is));
        v = w;
    }
    *out = tmpl_bool(is);
    return ERR_OK;
}

static enum err eval_logic(struct tmpl_run *run, const struct tmpl_node *n,
                           struct tmpl_val *out)
{
    bool stops_at = n->kind == TMPL_N_OR;

    for (unsigned i = 0; i < n->n; i++) {
        ERR_TRY(tmpl_eval(run, n->kid[i], out));
        if (tmpl_truth(*out) == stops_at)
            break;
    }
    return ERR_OK;
}

static enum err eval_cond(struct tmpl_run *run, const struct tmpl_node *n,
                          struct tmpl_val *out)
{
    struct tmpl_val v;

    ERR_TRY(tmpl_eval(run, n->kid[1], &v));
    if (tmpl_truth(v))
        return tmpl_eval(run, n->kid[0], out);
    if (n->kid[2])
        return tmpl_eval(run, n->kid[2], out);
    *out = tmpl_undef(NULL);
    return ERR_OK;
}

/* --- all of them -------------------------------------------------------- */

static enum err eval_op(struct tmpl_run *run, const struct tmpl_node *n,
                        struct tmpl_val *out)
{
    switch (n->kind) {
    case TMPL_N_NEG:
    case TMPL_N_POS:
        return eval_sign(run, n, out);
    case TMPL_N_NOT:
        ERR_TRY(tmpl_eval(run, n->kid[0], out));
        *out = tmpl_bool(!tmpl_truth(*out));
        return ERR_OK;
    case TMPL_N_ARITH:
        return eval_arith(run, n, out);
    case TMPL_N_CONCAT:
        return eval_concat(run, n, out);
    case TMPL_N_CMP:
        return eval_compare(run, n, out);
    case TMPL_N_AND:
    case TMPL_N_OR:
        return eval_logic(run, n, out);
    case TMPL_N_COND:
        return eval_cond(run, n, out);
    default:
        return tmpl_fail(run, "this is no expression");
    }
}

static enum err eval(struct tmpl_run *run, const struct tmpl_node *n,
                     struct tmpl_val *out)
{
    switch (n->kind) {
    case TMPL_N_LIT:
        *out = n->lit;
        return ERR_OK;
    case TMPL_N_NAME:
        *out = look_up(run, n->id);
        return ERR_OK;
    case TMPL_N_HOLE:
        *out = run->hole;
        return ERR_OK;
    case TMPL_N_LIST:
    case TMPL_N_TUPLE:
        return eval_list(run, n, out);
    case TMPL_N_DICT:
        return eval_dict(run, n, out);
    case TMPL_N_ATTR:
    case TMPL_N_ITEM:
        return eval_part(run, n, out);
    case TMPL_N_SLICE:
        return eval_slice(run, n, out);
    case TMPL_N_CALL:
        return tmpl_eval_call(run, n, (struct tmpl_val){0}, out);
    case TMPL_N_FILTER:
    case TMPL_N_TEST:
        return eval_filter(run, n, out);
    default:
        return eval_op(run, n, out);
    }
}

enum err tmpl_eval(struct tmpl_run *run, const struct tmpl_node *n,
                   struct tmpl_val *out)
{
    enum err e;

    run->at = n;
    ERR_TRY(tmpl_charge(run, 0));
    if (++run->depth > TMPL_DEPTH_MAX)
        return tmpl_fail(run, "the template goes too deep");
    e = eval(run, n, out);
    run->depth--;
    return e;
}
