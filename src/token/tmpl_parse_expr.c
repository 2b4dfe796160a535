/* tmpl_parse_expr.c - The operators, filters and tests of a chat template, with
 * Jinja's precedence. */
#include "token/tmpl_parse.h"

/* Bound what the parser itself recurses. */
static enum err enter(struct tmpl_parser *p)
{
    if (++p->depth > TMPL_NEST_MAX)
        return tmpl_parse_fail(p, p->cur.pos, "nested too deeply");
    return ERR_OK;
}

/* --- filters and tests -------------------------------------------------- */

/* A name with dots in it. */
static enum err parse_dotted(struct tmpl_parser *p, struct str *out)
{
    bool more = true;

    ERR_TRY(tmpl_want_name(p, out));
    while (tmpl_at_op(p, ".") && more) {
        struct str part;

        ERR_TRY(tmpl_parse_step(p));
        ERR_TRY(tmpl_want_name(p, &part));
        out->len = (size_t)(part.p + part.len - out->p);
    }
    return ERR_OK;
}

static enum err parse_filter(struct tmpl_parser *p, struct tmpl_node **node)
{
    struct tmpl_kids k = {0};
    size_t pos = p->cur.pos;
    struct str name = {NULL, 0};
    int id;

    ERR_TRY(parse_dotted(p, &name));
    id = tmpl_filter_find(name);
    if (id < 0)
        return tmpl_parse_fail(p, pos, "no filter named '%.*s'", STR_ARG(name));
    ERR_TRY(tmpl_kids_add(p, &k, *node, 0));
    if (tmpl_at_op(p, "("))
        ERR_TRY(tmpl_parse_args(p, &k));
    ERR_TRY(tmpl_node_new(p, TMPL_N_FILTER, pos, &k, node));
    (*node)->id = id;
    return ERR_OK;
}

/* Whether a test's argument without parentheses begins here. */
static bool at_test_arg(const struct tmpl_parser *p)
{
    switch (p->cur.kind) {
    case TMPL_T_STRING:
    case TMPL_T_INT:
    case TMPL_T_REAL:
        return true;
    case TMPL_T_NAME:
        return !tmpl_at_name(p, "else") && !tmpl_at_name(p, "or") &&
               !tmpl_at_name(p, "and") && !tmpl_at_name(p, "if") &&
               !tmpl_at_name(p, "in") && !tmpl_at_name(p, "not") &&
               !tmpl_at_name(p, "recursive");
    default:
        return tmpl_at_op(p, "[") || tmpl_at_op(p, "{");
    }
}

static enum err parse_test(struct tmpl_parser *p, struct tmpl_node **node)
{
    struct tmpl_kids k = {0};
    size_t pos = p->cur.pos;
    struct tmpl_node *n;
    struct str name = {NULL, 0};
    bool negated;
    int id;

    ERR_TRY(tmpl_parse_step(p));
    negated = tmpl_at_name(p, "not");
    if (negated)
        ERR_TRY(tmpl_parse_step(p));
    ERR_TRY(parse_dotted(p, &name));
    id = tmpl_test_find(name);
    if (id < 0)
        return tmpl_parse_fail(p, pos, "no test named '%.*s'", STR_ARG(name));
    ERR_TRY(tmpl_kids_add(p, &k, *node, 0));
    if (tmpl_at_op(p, "(")) {
        ERR_TRY(tmpl_parse_args(p, &k));
    } else if (tmpl_at_name(p, "is")) {
        return tmpl_parse_fail(p, p->cur.pos, "tests cannot be chained");
    } else if (at_test_arg(p)) {
        ERR_TRY(tmpl_parse_postfix(p, &n));
        ERR_TRY(tmpl_kids_add(p, &k, n, TMPL_A_POS));
    }
    ERR_TRY(tmpl_node_new(p, TMPL_N_TEST, pos, &k, node));
    (*node)->id = id;
    (*node)->flag = negated;
    return ERR_OK;
}

enum err tmpl_parse_filters(struct tmpl_parser *p, bool bare,
                            struct tmpl_node *operand, struct tmpl_node **out)
{
    struct tmpl_node *n = operand;

    if (bare)
        ERR_TRY(parse_filter(p, &n));
    for (;;) {
        if (tmpl_at_op(p, "|")) {
            ERR_TRY(tmpl_parse_step(p));
            ERR_TRY(parse_filter(p, &n));
        } else if (!bare && tmpl_at_name(p, "is")) {
            ERR_TRY(parse_test(p, &n));
        } else if (!bare && tmpl_at_op(p, "(")) {
            ERR_TRY(tmpl_parse_call(p, &n));
        } else {
            break;
        }
    }
    *out = n;
    return ERR_OK;
}

/* --- operators ---------------------------------------------------------- */

static enum err parse_unary(struct tmpl_parser *p, bool filters,
                            struct tmpl_node **out)
{
    struct tmpl_kids k = {0};
    size_t pos = p->cur.pos;
    bool neg = tmpl_at_op(p, "-");
    struct tmpl_node *n;

    ERR_TRY(enter(p));
    if (neg || tmpl_at_op(p, "+")) {
        ERR_TRY(tmpl_parse_step(p));
        ERR_TRY(parse_unary(p, false, &n));
        ERR_TRY(tmpl_kids_add(p, &k, n, 0));
        ERR_TRY(tmpl_node_new(p, neg ? TMPL_N_NEG : TMPL_N_POS, pos, &k, &n));
    } else {
        ERR_TRY(tmpl_parse_postfix(p, &n));
    }
    if (filters)
        ERR_TRY(tmpl_parse_filters(p, false, n, &n));
    p->depth--;
    *out = n;
    return ERR_OK;
}

/* A level of left-associative operators. */
struct level {
    enum tmpl_kind kind;
    struct {
        const char *text;
        enum tmpl_op op;
    } ops[5];
};

static const struct level levels[] = {
    {TMPL_N_ARITH, {{"+", TMPL_O_ADD}, {"-", TMPL_O_SUB}}},
    {TMPL_N_CONCAT, {{"~", TMPL_O_ADD}}},
    {TMPL_N_ARITH,
     {{"*", TMPL_O_MUL},
      {"/", TMPL_O_DIV},
      {"//", TMPL_O_FLOOR},
      {"%", TMPL_O_MOD}}},
    {TMPL_N_ARITH, {{"**", TMPL_O_POW}}},
};

#define N_LEVELS (sizeof(levels) / sizeof(levels[0]))

static const char *op_here(const struct tmpl_parser *p, const struct level *l,
                           enum tmpl_op *out)
{
    for (size_t i = 0; i < 5 && l->ops[i].text; i++) {
        if (tmpl_at_op(p, l->ops[i].text)) {
            *out = l->ops[i].op;
            return l->ops[i].text;
        }
    }
    return NULL;
}

static enum err parse_level(struct tmpl_parser *p, size_t at,
                            struct tmpl_node **out)
{
    struct tmpl_kids k = {0};
    size_t pos = p->cur.pos;
    enum tmpl_op op = TMPL_O_ADD;
    struct tmpl_node *n;

    if (at == N_LEVELS)
        return parse_unary(p, true, out);
    ERR_TRY(parse_level(p, at + 1, &n));
    if (!op_here(p, &levels[at], &op)) {
        *out = n;
        return ERR_OK;
    }
    ERR_TRY(tmpl_kids_add(p, &k, n, 0));
    while (op_here(p, &levels[at], &op)) {
        k.ops[k.n - 1] = (unsigned char)op;
        ERR_TRY(tmpl_parse_step(p));
        ERR_TRY(parse_level(p, at + 1, &n));
        ERR_TRY(tmpl_kids_add(p, &k, n, 0));
    }
    return tmpl_node_new(p, levels[at].kind, pos, &k, out);
}

/* The comparison that stands here, consumed. */
static enum err skip_compare(struct tmpl_parser *p, enum tmpl_op *op_out,
                             bool *was_out)
{
    static const struct level l = {
        TMPL_N_CMP, {{"==", TMPL_O_EQ}, {"!=", TMPL_O_NE}, {"<", TMPL_O_LT}}};
    static const struct level m = {
        TMPL_N_CMP, {{"<=", TMPL_O_LE}, {">", TMPL_O_GT}, {">=", TMPL_O_GE}}};

    *was_out = true;
    if (op_here(p, &l, op_out) || op_here(p, &m, op_out))
        return tmpl_parse_step(p);
    if (tmpl_at_name(p, "in")) {
        *op_out = TMPL_O_IN;
        return tmpl_parse_step(p);
    }
    *was_out = false;
    if (!tmpl_at_name(p, "not"))
        return ERR_OK;
    ERR_TRY(tmpl_parse_peek(p));
    if (p->next.kind != TMPL_T_NAME || !str_eq(p->next.text, STR("in")))
        return ERR_OK;
    *was_out = true;
    *op_out = TMPL_O_NOT_IN;
    ERR_TRY(tmpl_parse_step(p));
    return tmpl_parse_step(p);
}

static enum err parse_compare(struct tmpl_parser *p, struct tmpl_node **out)
{
    struct tmpl_kids k = {0};
    size_t pos = p->cur.pos;
    enum tmpl_op op;
    struct tmpl_node *n;
    bool was;

    ERR_TRY(parse_level(p, 0, &n));
    ERR_TRY(tmpl_kids_add(p, &k, n, 0));
    for (;;) {
        ERR_TRY(skip_compare(p, &op, &was));
        if (!was)
            break;
        k.ops[k.n - 1] = (unsigned char)op;
        ERR_TRY(parse_level(p, 0, &n));
        ERR_TRY(tmpl_kids_add(p, &k, n, 0));
    }
    if (k.n == 1) {
        *out = n;
        return ERR_OK;
    }
    return tmpl_node_new(p, TMPL_N_CMP, pos, &k, out);
}

static enum err parse_not(struct tmpl_parser *p, struct tmpl_node **out)
{
    struct tmpl_kids k = {0};
    size_t pos = p->cur.pos;
    struct tmpl_node *n;

    if (!tmpl_at_name(p, "not"))
        return parse_compare(p, out);
    ERR_TRY(enter(p));
    ERR_TRY(tmpl_parse_step(p));
    ERR_TRY(parse_not(p, &n));
    ERR_TRY(tmpl_kids_add(p, &k, n, 0));
    p->depth--;
    return tmpl_node_new(p, TMPL_N_NOT, pos, &k, out);
}

/* Operands with <word> between them. */
static enum err parse_logic(struct tmpl_parser *p, bool is_or,
                            struct tmpl_node **out)
{
    const char *word = is_or ? "or" : "and";
    struct tmpl_kids k = {0};
    size_t pos = p->cur.pos;
    struct tmpl_node *n;

    for (;;) {
        if (is_or)
            ERR_TRY(parse_logic(p, false, &n));
        else
            ERR_TRY(parse_not(p, &n));
        ERR_TRY(tmpl_kids_add(p, &k, n, 0));
        if (!tmpl_at_name(p, word))
            break;
        ERR_TRY(tmpl_parse_step(p));
    }
    if (k.n == 1) {
        *out = n;
        return ERR_OK;
    }
    return tmpl_node_new(p, is_or ? TMPL_N_OR : TMPL_N_AND, pos, &k, out);
}

enum err tmpl_parse_expr(struct tmpl_parser *p, bool cond,
                         struct tmpl_node **out)
{
    struct tmpl_node *n, *test, *other;

    ERR_TRY(enter(p));
    ERR_TRY(parse_logic(p, true, &n));
    while (cond && tmpl_at_name(p, "if")) {
        struct tmpl_kids k = {0};
        size_t pos = p->cur.pos;

        other = NULL;
        ERR_TRY(tmpl_parse_step(p));
        ERR_TRY(parse_logic(p, true, &test));
        if (tmpl_at_name(p, "else")) {
            ERR_TRY(tmpl_parse_step(p));
            ERR_TRY(tmpl_parse_expr(p, true, &other));
        }
        ERR_TRY(tmpl_kids_add(p, &k, n, 0));
        ERR_TRY(tmpl_kids_add(p, &k, test, 0));
        ERR_TRY(tmpl_kids_add(p, &k, other, 0));
        ERR_TRY(tmpl_node_new(p, TMPL_N_COND, pos, &k, &n));
    }
    p->depth--;
    *out = n;
    return ERR_OK;
}

/* Whether a tuple without parentheses ends here. */
static bool at_tuple_end(const struct tmpl_parser *p)
{
    return p->cur.kind == TMPL_T_VAR_END || p->cur.kind == TMPL_T_TAG_END ||
           tmpl_at_op(p, ")") || tmpl_at_name(p, "recursive");
}

enum err tmpl_parse_tuple(struct tmpl_parser *p, bool cond,
                          struct tmpl_node **out)
{
    struct tmpl_kids k = {0};
    size_t pos = p->cur.pos;
    struct tmpl_node *n;
    bool comma = false;

    do {
        if (k.n > 0 && at_tuple_end(p))
            break;
        ERR_TRY(tmpl_parse_expr(p, cond, &n));
        ERR_TRY(tmpl_kids_add(p, &k, n, 0));
        if (!tmpl_at_op(p, ","))
            break;
        comma = true;
        ERR_TRY(tmpl_parse_step(p));
    } while (true);
    if (!comma) {
        *out = n;
        return ERR_OK;
    }
    return tmpl_node_new(p, TMPL_N_TUPLE, pos, &k, out);
}

static enum err parse_target_one(struct tmpl_parser *p, bool attrs,
                                 struct tmpl_node **out)
{
    struct tmpl_kids none = {0};
    struct str name = {NULL, 0};
    size_t pos = p->cur.pos;
    int id;

    if (tmpl_at_op(p, "(")) {
        ERR_TRY(enter(p));
        ERR_TRY(tmpl_parse_step(p));
        ERR_TRY(tmpl_parse_target(p, false, out));
        p->depth--;
        return tmpl_want_op(p, ")");
    }
    ERR_TRY(tmpl_want_name(p, &name));
    ERR_TRY(tmpl_name_id(p, name, &id));
    ERR_TRY(tmpl_node_new(p, TMPL_N_NAME, pos, &none, out));
    (*out)->id = id;
    if (!attrs || !tmpl_at_op(p, "."))
        return ERR_OK;
    return tmpl_parse_attr(p, out);
}

enum err tmpl_parse_target(struct tmpl_parser *p, bool attrs,
                           struct tmpl_node **out)
{
    struct tmpl_kids k = {0};
    size_t pos = p->cur.pos;
    struct tmpl_node *n;
    bool comma = false;

    do {
        if (k.n > 0 &&
            (tmpl_at_op(p, ")") || tmpl_at_op(p, "=") || tmpl_at_name(p, "in")))
            break;
        ERR_TRY(parse_target_one(p, attrs, &n));
        ERR_TRY(tmpl_kids_add(p, &k, n, 0));
        if (!tmpl_at_op(p, ","))
            break;
        comma = true;
        ERR_TRY(tmpl_parse_step(p));
    } while (true);
    if (!comma) {
        *out = n;
        return ERR_OK;
    }
    return tmpl_node_new(p, TMPL_N_TUPLE, pos, &k, out);
}
