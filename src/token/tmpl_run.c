/* tmpl_run.c - Runs the statements of a chat template. */
#include "token/tmpl_run.h"

/* --- names -------------------------------------------------------------- */

enum err tmpl_env_new(struct tmpl_run *run, struct tmpl_env *up,
                      struct tmpl_env **out)
{
    struct tmpl_env *env;

    ERR_TRY(tmpl_alloc(run, sizeof(*env), &env));
    env->up = up;
    *out = env;
    return ERR_OK;
}

enum err tmpl_env_set(struct tmpl_run *run, struct tmpl_env *env, int id,
                      struct tmpl_val v)
{
    struct tmpl_slot *at;
    unsigned cap;

    if (id < 0)
        return ERR_OK;
    if (!env) {
        run->globals[id] = v;
        return ERR_OK;
    }
    for (unsigned i = 0; i < env->n; i++) {
        if (env->at[i].id == id) {
            env->at[i].v = v;
            return ERR_OK;
        }
    }
    if (env->n == env->cap) {
        cap = env->cap ? env->cap * 2 : 4;
        ERR_TRY(tmpl_alloc(run, cap * sizeof(at[0]), &at));
        if (env->n > 0)
            memcpy(at, env->at, env->n * sizeof(at[0]));
        env->at = at;
        env->cap = cap;
    }
    env->at[env->n++] = (struct tmpl_slot){id, v};
    return ERR_OK;
}

/* --- assignment --------------------------------------------------------- */

static enum err assign(struct tmpl_run *run, struct tmpl_env *env,
                       const struct tmpl_node *target, struct tmpl_val v);

static enum err assign_tuple(struct tmpl_run *run, struct tmpl_env *env,
                             const struct tmpl_node *target, struct tmpl_val v)
{
    struct tmpl_list *l;

    run->at = target;
    if (v.type == TMPL_UNDEF)
        return tmpl_fail_undef(run, v);
    ERR_TRY(tmpl_elements(run, v, &l));
    if (l->n != target->n)
        return tmpl_fail(run, "%zu values for %u names", l->n, target->n);
    for (unsigned i = 0; i < target->n; i++)
        ERR_TRY(assign(run, env, target->kid[i], l->at[i]));
    return ERR_OK;
}

static enum err assign(struct tmpl_run *run, struct tmpl_env *env,
                       const struct tmpl_node *target, struct tmpl_val v)
{
    struct tmpl_val space;

    if (target->kind == TMPL_N_NAME)
        return tmpl_env_set(run, env, target->id, v);
    if (target->kind == TMPL_N_TUPLE)
        return assign_tuple(run, env, target, v);
    if (target->kind != TMPL_N_ATTR)
        return tmpl_fail(run, "this cannot be assigned to");
    ERR_TRY(tmpl_eval(run, target->kid[0], &space));
    run->at = target;
    if (space.type != TMPL_SPACE)
        return tmpl_fail(run, "cannot assign an attribute of %s",
                         tmpl_type_name(space));
    return tmpl_dict_set(run, space.u.dict, target->lit, v);
}

/* --- text --------------------------------------------------------------- */

enum err tmpl_capture(struct tmpl_run *run, const struct tmpl_node *n,
                      struct tmpl_env *env, struct tmpl_val *out)
{
    struct tmpl_room *outer = run->out, *r;
    struct tmpl_env *outer_env = run->env;
    enum err e = ERR_OK;

    ERR_TRY(tmpl_alloc(run, sizeof(*r), &r));
    run->out = r;
    run->env = env;
    if (n)
        e = tmpl_exec(run, n);
    run->out = outer;
    run->env = outer_env;
    ERR_TRY(e);
    return tmpl_room_str(run, r, out);
}

/* The text of <block> in a scope of its own, through <filter>. */
static enum err capture_filtered(struct tmpl_run *run,
                                 const struct tmpl_node *block,
                                 const struct tmpl_node *filter,
                                 struct tmpl_val *out)
{
    struct tmpl_env *env;
    struct tmpl_val outer = run->hole;
    enum err e;

    ERR_TRY(tmpl_env_new(run, run->env, &env));
    ERR_TRY(tmpl_capture(run, block, env, out));
    if (!filter || run->flow != TMPL_GOES_ON)
        return ERR_OK;
    run->hole = *out;
    e = tmpl_eval(run, filter, out);
    run->hole = outer;
    return e;
}

static enum err exec_print(struct tmpl_run *run, const struct tmpl_node *n)
{
    struct tmpl_val v;

    ERR_TRY(tmpl_eval(run, n->kid[0], &v));
    run->at = n;
    return tmpl_put_val(run, run->out, v);
}

static enum err exec_block(struct tmpl_run *run, const struct tmpl_node *n)
{
    for (unsigned i = 0; i < n->n && run->flow == TMPL_GOES_ON; i++)
        ERR_TRY(tmpl_exec(run, n->kid[i]));
    return ERR_OK;
}

/* --- control ------------------------------------------------------------ */

static enum err exec_if(struct tmpl_run *run, const struct tmpl_node *n)
{
    struct tmpl_val v;

    for (;;) {
        ERR_TRY(tmpl_eval(run, n->kid[0], &v));
        if (tmpl_truth(v))
            return tmpl_exec(run, n->kid[1]);
        if (!n->kid[2])
            return ERR_OK;
        if (n->kid[2]->kind != TMPL_N_IF)
            return tmpl_exec(run, n->kid[2]);
        n = n->kid[2];
    }
}

/* The elements of <iter> that the condition of <n> lets through. */
static enum err for_items(struct tmpl_run *run, const struct tmpl_node *n,
                          struct tmpl_val iter, struct tmpl_env *env,
                          struct tmpl_list **out)
{
    struct tmpl_env *inner, *outer = run->env;
    struct tmpl_list *all;
    struct tmpl_val some, v;

    ERR_TRY(tmpl_elements(run, iter, &all));
    if (!n->kid[2]) {
        *out = all;
        return ERR_OK;
    }
    ERR_TRY(tmpl_make_list(run, &some));
    ERR_TRY(tmpl_env_new(run, env, &inner));
    for (size_t i = 0; i < all->n; i++) {
        ERR_TRY(assign(run, inner, n->kid[0], all->at[i]));
        run->env = inner;
        ERR_TRY(tmpl_eval(run, n->kid[2], &v));
        run->env = outer;
        if (tmpl_truth(v))
            ERR_TRY(tmpl_list_add(run, some.u.list, all->at[i]));
    }
    *out = some.u.list;
    return ERR_OK;
}

/* The rounds of the loop. */
static enum err for_rounds(struct tmpl_run *run, const struct tmpl_node *n,
                           struct tmpl_loop *loop, struct tmpl_env *inner)
{
    struct tmpl_val v = {.type = TMPL_LOOP, .u.loop = loop};

    for (loop->i = 0; loop->i < loop->items->n; loop->i++) {
        inner->n = 0;
        ERR_TRY(tmpl_env_set(run, inner, run->loop_id, v));
        ERR_TRY(assign(run, inner, n->kid[0], loop->items->at[loop->i]));
        run->env = inner;
        ERR_TRY(tmpl_exec(run, n->kid[3]));
        if (run->flow == TMPL_BREAKS) {
            run->flow = TMPL_GOES_ON;
            break;
        }
        run->flow = TMPL_GOES_ON;
    }
    return ERR_OK;
}

enum err tmpl_exec_for(struct tmpl_run *run, const struct tmpl_node *n,
                       struct tmpl_val iter, struct tmpl_env *env, size_t depth)
{
    struct tmpl_env *outer = run->env, *inner;
    struct tmpl_loop *loop;

    ERR_TRY(tmpl_alloc(run, sizeof(*loop), &loop));
    ERR_TRY(for_items(run, n, iter, env, &loop->items));
    ERR_TRY(tmpl_env_new(run, env, &inner));
    loop->depth = depth;
    loop->env = env;
    loop->node = n->flag ? n : NULL;
    if (loop->items->n > 0) {
        ERR_TRY(for_rounds(run, n, loop, inner));
    } else if (n->kid[4]) {
        run->env = inner;
        ERR_TRY(tmpl_exec(run, n->kid[4]));
    }
    run->env = outer;
    return ERR_OK;
}

static enum err exec_for(struct tmpl_run *run, const struct tmpl_node *n)
{
    struct tmpl_val iter;

    ERR_TRY(tmpl_eval(run, n->kid[1], &iter));
    run->at = n->kid[1];
    return tmpl_exec_for(run, n, iter, run->env, 1);
}

static enum err exec_set(struct tmpl_run *run, const struct tmpl_node *n)
{
    struct tmpl_val v;

    if (n->kind == TMPL_N_SET)
        ERR_TRY(tmpl_eval(run, n->kid[1], &v));
    else
        ERR_TRY(capture_filtered(run, n->kid[1], n->kid[2], &v));
    if (run->flow != TMPL_GOES_ON)
        return ERR_OK;
    return assign(run, run->env, n->kid[0], v);
}

static enum err exec_with(struct tmpl_run *run, const struct tmpl_node *n)
{
    struct tmpl_env *outer = run->env, *env;
    struct tmpl_val v;

    ERR_TRY(tmpl_env_new(run, outer, &env));
    for (unsigned i = 1; i + 1 < n->n; i += 2) {
        ERR_TRY(tmpl_eval(run, n->kid[i + 1], &v));
        ERR_TRY(assign(run, env, n->kid[i], v));
    }
    run->env = env;
    ERR_TRY(tmpl_exec(run, n->kid[0]));
    run->env = outer;
    return ERR_OK;
}

/* --- macros ------------------------------------------------------------- */

static enum err make_closure(struct tmpl_run *run, enum tmpl_func_kind kind,
                             const struct tmpl_node *n, struct tmpl_val *out)
{
    ERR_TRY(tmpl_make_func(run, kind, n->id, tmpl_none(), out));
    out->u.func->node = n;
    out->u.func->env = run->env;
    return ERR_OK;
}

static enum err exec_macro(struct tmpl_run *run, const struct tmpl_node *n)
{
    struct tmpl_val f;

    ERR_TRY(make_closure(run, TMPL_F_MACRO, n, &f));
    return tmpl_env_set(run, run->env, n->id, f);
}

static enum err exec_call_block(struct tmpl_run *run, const struct tmpl_node *n)
{
    struct tmpl_val caller, v;

    ERR_TRY(make_closure(run, TMPL_F_CALLER, n, &caller));
    ERR_TRY(tmpl_eval_call(run, n->kid[1], caller, &v));
    return tmpl_put_val(run, run->out, v);
}

static enum err exec_scope(struct tmpl_run *run, const struct tmpl_node *n)
{
    struct tmpl_env *outer = run->env, *env;

    ERR_TRY(tmpl_env_new(run, outer, &env));
    run->env = env;
    ERR_TRY(tmpl_exec(run, n->kid[0]));
    run->env = outer;
    return ERR_OK;
}

/* The argument for parameter <i> of <n>; which keyword it was, is marked. */
static struct tmpl_val argument(struct tmpl_run *run, const struct tmpl_node *n,
                                unsigned i, const struct tmpl_args *args,
                                uint32_t *used)
{
    if (i < args->n)
        return args->pos[i];
    for (size_t k = 0; k < args->n_kw && k < 32; k++) {
        if (str_eq(tmpl_bytes(args->kw[k].key), run->t->names[n->params[i]])) {
            *used |= UINT32_C(1) << k;
            return args->kw[k].val;
        }
    }
    return (struct tmpl_val){.type = TMPL_MISSING};
}

/* Surplus arguments: `varargs` and `kwargs` where the template knows them. */
static enum err bind_surplus(struct tmpl_run *run, const struct tmpl_node *n,
                             struct tmpl_env *env, const struct tmpl_args *args,
                             uint32_t used)
{
    struct tmpl_val rest, more;

    ERR_TRY(tmpl_make_list(run, &rest));
    ERR_TRY(tmpl_make_dict(run, &more));
    for (size_t i = n->n_params; i < args->n; i++)
        ERR_TRY(tmpl_list_add(run, rest.u.list, args->pos[i]));
    for (size_t k = 0; k < args->n_kw; k++) {
        if (k < 32 && (used & UINT32_C(1) << k) != 0)
            continue;
        ERR_TRY(
            tmpl_dict_set(run, more.u.dict, args->kw[k].key, args->kw[k].val));
    }
    if (rest.u.list->n > 0 && run->varargs_id < 0)
        return tmpl_fail(run, "the macro takes %u arguments, %zu were given",
                         n->n_params, args->n);
    if (more.u.dict->n > 0 && run->kwargs_id < 0)
        return tmpl_fail(run, "the macro has no parameter '%.*s'",
                         STR_ARG(tmpl_bytes(more.u.dict->at[0].key)));
    ERR_TRY(tmpl_env_set(run, env, run->varargs_id, rest));
    return tmpl_env_set(run, env, run->kwargs_id, more);
}

static enum err bind_params(struct tmpl_run *run, const struct tmpl_node *n,
                            struct tmpl_env *env, const struct tmpl_args *args)
{
    unsigned first = n->kind == TMPL_N_MACRO ? 1 : 2;
    struct tmpl_env *outer = run->env;
    uint32_t used = 0;

    for (unsigned i = 0; i < n->n_params; i++) {
        struct tmpl_val v = argument(run, n, i, args, &used);

        if (v.type == TMPL_MISSING && n->kid[first + i]) {
            run->env = env;
            ERR_TRY(tmpl_eval(run, n->kid[first + i], &v));
            run->env = outer;
        } else if (v.type == TMPL_MISSING) {
            v = tmpl_undef(&run->t->names[n->params[i]]);
        }
        ERR_TRY(tmpl_env_set(run, env, n->params[i], v));
    }
    return bind_surplus(run, n, env, args, used);
}

enum err tmpl_call_macro(struct tmpl_run *run, const struct tmpl_func *f,
                         const struct tmpl_args *args, struct tmpl_val caller,
                         struct tmpl_val *out)
{
    struct tmpl_env *env;

    ERR_TRY(tmpl_env_new(run, f->env, &env));
    ERR_TRY(bind_params(run, f->node, env, args));
    if (f->kind == TMPL_F_MACRO) {
        if (caller.type == TMPL_MISSING)
            caller = tmpl_undef(NULL);
        ERR_TRY(tmpl_env_set(run, env, run->caller_id, caller));
    }
    return tmpl_capture(run, f->node->kid[0], env, out);
}

/* --- all of them -------------------------------------------------------- */

static enum err exec(struct tmpl_run *run, const struct tmpl_node *n)
{
    struct tmpl_val v;

    switch (n->kind) {
    case TMPL_N_BLOCK:
        return exec_block(run, n);
    case TMPL_N_TEXT:
        return tmpl_room_add(run, run->out, n->lit.u.s);
    case TMPL_N_PRINT:
        return exec_print(run, n);
    case TMPL_N_IF:
        return exec_if(run, n);
    case TMPL_N_FOR:
        return exec_for(run, n);
    case TMPL_N_SET:
    case TMPL_N_SETBLOCK:
        return exec_set(run, n);
    case TMPL_N_MACRO:
        return exec_macro(run, n);
    case TMPL_N_CALLBLOCK:
        return exec_call_block(run, n);
    case TMPL_N_FILTERED:
        ERR_TRY(capture_filtered(run, n->kid[0], n->kid[1], &v));
        return tmpl_put_val(run, run->out, v);
    case TMPL_N_WITH:
        return exec_with(run, n);
    case TMPL_N_SCOPE:
        return exec_scope(run, n);
    case TMPL_N_BREAK:
    case TMPL_N_CONTINUE:
        run->flow = n->kind == TMPL_N_BREAK ? TMPL_BREAKS : TMPL_CONTINUES;
        return ERR_OK;
    default:
        return tmpl_fail(run, "this is no statement");
    }
}

enum err tmpl_exec(struct tmpl_run *run, const struct tmpl_node *n)
{
    enum err e;

    run->at = n;
    ERR_TRY(tmpl_charge(run, 0));
    if (++run->depth > TMPL_DEPTH_MAX)
        return tmpl_fail(run, "the template goes too deep");
    e = exec(run, n);
    run->depth--;
    return e;
}
