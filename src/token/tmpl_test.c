/* tmpl_test.c - The tests behind "is". */
#include "token/tmpl_run.h"
#include "token/tmpl_uni.h"

enum test_id {
    T_DEFINED,
    T_UNDEFINED,
    T_NONE,
    T_BOOLEAN,
    T_TRUE,
    T_FALSE,
    T_INTEGER,
    T_FLOAT,
    T_NUMBER,
    T_STRING,
    T_MAPPING,
    T_SEQUENCE,
    T_ITERABLE,
    T_CALLABLE,
    T_ESCAPED,
    T_ODD,
    T_EVEN,
    T_LOWER,
    T_UPPER,
    T_FILTER,
    T_TEST,
    T_WITH_ARG, /* those behind take an argument */
    T_EQ,
    T_NE,
    T_LT,
    T_LE,
    T_GT,
    T_GE,
    T_IN,
    T_SAME,
    T_DIVISIBLE,
    T_STARTING,
    T_ENDING,
};

static const struct {
    const char *name;
    enum test_id id;
} tests[] = {
    {"boolean", T_BOOLEAN},
    {"callable", T_CALLABLE},
    {"defined", T_DEFINED},
    {"divisibleby", T_DIVISIBLE},
    {"endingwith", T_ENDING},
    {"eq", T_EQ},
    {"equalto", T_EQ},
    {"escaped", T_ESCAPED},
    {"even", T_EVEN},
    {"false", T_FALSE},
    {"filter", T_FILTER},
    {"float", T_FLOAT},
    {"ge", T_GE},
    {"greaterthan", T_GT},
    {"gt", T_GT},
    {"in", T_IN},
    {"integer", T_INTEGER},
    {"iterable", T_ITERABLE},
    {"le", T_LE},
    {"lessthan", T_LT},
    {"lower", T_LOWER},
    {"lt", T_LT},
    {"mapping", T_MAPPING},
    {"ne", T_NE},
    {"none", T_NONE},
    {"number", T_NUMBER},
    {"odd", T_ODD},
    {"sameas", T_SAME},
    {"sequence", T_SEQUENCE},
    {"startingwith", T_STARTING},
    {"string", T_STRING},
    {"test", T_TEST},
    {"true", T_TRUE},
    {"undefined", T_UNDEFINED},
    {"upper", T_UPPER},
    {"==", T_EQ},
    {"!=", T_NE},
    {"<", T_LT},
    {"<=", T_LE},
    {">", T_GT},
    {">=", T_GE},
};

int tmpl_test_find(struct str name)
{
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        if (str_eq(name, str_from(tests[i].name)))
            return (int)i;
    }
    return -1;
}

/* Whether <v> has letters with case, and all of them in the one wanted. */
static enum err has_case(struct tmpl_run *run, struct tmpl_val v, bool upper,
                         bool *out)
{
    struct str s;
    bool any = false;
    uint32_t cp;

    ERR_TRY(tmpl_to_str(run, v, &v));
    ERR_TRY(tmpl_charge(run, v.u.s->len));
    *out = false;
    for (s = tmpl_bytes(v); s.len > 0;) {
        s = str_skip(s, tmpl_uni_next(s, &cp));
        if (upper ? tmpl_uni_is_lower(cp) : tmpl_uni_is_upper(cp))
            return ERR_OK;
        any |= tmpl_uni_is_lower(cp) || tmpl_uni_is_upper(cp);
    }
    *out = any;
    return ERR_OK;
}

static enum err is_odd(struct tmpl_run *run, struct tmpl_val v, int64_t rest,
                       bool *out)
{
    struct tmpl_val r;

    ERR_TRY(tmpl_arith(run, TMPL_O_MOD, v, tmpl_int(2), &r));
    *out = tmpl_equal(r, tmpl_int(rest));
    return ERR_OK;
}

static bool is_same(struct tmpl_val a, struct tmpl_val b)
{
    if (a.type != b.type)
        return false;
    if (a.type == TMPL_LIST)
        return a.u.list == b.u.list;
    if (a.type == TMPL_DICT)
        return a.u.dict == b.u.dict;
    return tmpl_equal(a, b);
}

static bool is_known(struct tmpl_val v, bool filter)
{
    if (v.type != TMPL_STR)
        return false;
    return (filter ? tmpl_filter_find(tmpl_bytes(v))
                   : tmpl_test_find(tmpl_bytes(v))) >= 0;
}

/* The tests that only look at the type or at the value itself. */
static bool is_kind(enum test_id id, struct tmpl_val v)
{
    bool seq = v.type == TMPL_STR || v.type == TMPL_LIST ||
               v.type == TMPL_DICT || v.type == TMPL_UNDEF;
    bool num = v.type == TMPL_INT || v.type == TMPL_REAL;

    switch (id) {
    case T_DEFINED:
        return v.type != TMPL_UNDEF;
    case T_UNDEFINED:
        return v.type == TMPL_UNDEF;
    case T_NONE:
        return v.type == TMPL_NONE;
    case T_BOOLEAN:
        return v.type == TMPL_BOOL;
    case T_TRUE:
        return v.type == TMPL_BOOL && v.u.b;
    case T_FALSE:
        return v.type == TMPL_BOOL && !v.u.b;
    case T_INTEGER:
        return v.type == TMPL_INT;
    case T_FLOAT:
        return v.type == TMPL_REAL;
    case T_NUMBER:
        return num || v.type == TMPL_BOOL;
    case T_STRING:
        return v.type == TMPL_STR;
    case T_MAPPING:
        return v.type == TMPL_DICT;
    case T_SEQUENCE:
        return seq;
    case T_ITERABLE:
        return seq || v.type == TMPL_LOOP;
    case T_CALLABLE:
        return v.type == TMPL_FUNC || v.type == TMPL_LOOP;
    default:
        return false;
    }
}

static enum err check_ends(struct tmpl_run *run, bool start, struct tmpl_val v,
                           struct tmpl_val arg, bool *out)
{
    const struct tmpl_str *s, *part;

    ERR_TRY(tmpl_want_str(run, "the value", v, NULL, &s));
    ERR_TRY(tmpl_want_str(run, "the argument", arg, NULL, &part));
    *out = (start ? str_starts : str_ends)(str_of(s->p, s->len),
                                           str_of(part->p, part->len));
    return ERR_OK;
}

static enum err check_arg(struct tmpl_run *run, enum test_id id,
                          struct tmpl_val v, struct tmpl_val arg, bool *out)
{
    static const enum tmpl_op ops[] = {
        [T_EQ] = TMPL_O_EQ, [T_NE] = TMPL_O_NE, [T_LT] = TMPL_O_LT,
        [T_LE] = TMPL_O_LE, [T_GT] = TMPL_O_GT, [T_GE] = TMPL_O_GE,
        [T_IN] = TMPL_O_IN,
    };
    struct tmpl_val r;

    switch (id) {
    case T_SAME:
        *out = is_same(v, arg);
        return ERR_OK;
    case T_DIVISIBLE:
        ERR_TRY(tmpl_arith(run, TMPL_O_MOD, v, arg, &r));
        *out = !tmpl_truth(r);
        return ERR_OK;
    case T_STARTING:
    case T_ENDING:
        return check_ends(run, id == T_STARTING, v, arg, out);
    default:
        return tmpl_relate(run, ops[id], v, arg, out);
    }
}

enum err tmpl_test_call(struct tmpl_run *run, int id, struct tmpl_val v,
                        const struct tmpl_args *args, bool *out)
{
    enum test_id t = tests[id].id;
    size_t wanted = t > T_WITH_ARG ? 1 : 0;

    ERR_TRY(tmpl_charge(run, 0));
    if (args->n != wanted || args->n_kw > 0)
        return tmpl_fail(run, "the test '%s' takes %zu arguments, not %zu",
                         tests[id].name, wanted, args->n + args->n_kw);
    if (wanted == 1)
        return check_arg(run, t, v, args->pos[0], out);
    switch (t) {
    case T_ODD:
    case T_EVEN:
        return is_odd(run, v, t == T_ODD, out);
    case T_LOWER:
    case T_UPPER:
        return has_case(run, v, t == T_UPPER, out);
    case T_FILTER:
    case T_TEST:
        *out = is_known(v, t == T_FILTER);
        return ERR_OK;
    default:
        *out = is_kind(t, v);
        return ERR_OK;
    }
}
