/* tmpl_parse.c - The statements of a chat template. */
#include "token/tmpl_parse.h"

#include <stdarg.h>
#include <stdio.h>

/* Most names a template may use. */
#define TMPL_NAMES_MAX 1024

/* --- the parser's tools ------------------------------------------------- */

void tmpl_place(const struct template *t, size_t pos,
                struct template_fault *why)
{
    why->line = 1;
    why->column = 1;
    for (size_t i = 0; i < pos && i < t->source.len; i++) {
        unsigned char c = (unsigned char)t->source.p[i];

        if (c == '\n') {
            why->line++;
            why->column = 1;
        } else if ((c & 0xC0) != 0x80) {
            why->column++;
        }
    }
}

enum err tmpl_parse_fail(struct tmpl_parser *p, size_t pos, const char *fmt,
                         ...)
{
    va_list ap;

    tmpl_place(p->t, pos, p->why);
    va_start(ap, fmt);
    vsnprintf(p->why->text, sizeof(p->why->text), fmt, ap);
    va_end(ap);
    return ERR_SYNTAX;
}

enum err tmpl_parse_unexpected(struct tmpl_parser *p, const char *wanted)
{
    struct str text = p->cur.text;

    if (text.len > 40)
        text.len = 40;
    if (p->cur.kind == TMPL_T_EOF)
        return tmpl_parse_fail(
            p, p->cur.pos, "unexpected end of the template, wanted %s", wanted);
    return tmpl_parse_fail(p, p->cur.pos, "unexpected '%.*s', wanted %s",
                           STR_ARG(text), wanted);
}

static enum err lex(struct tmpl_parser *p, struct tmpl_tok *out)
{
    enum err e = tmpl_lex_next(&p->lx, out);

    if (e != ERR_OK)
        return tmpl_parse_fail(p, p->lx.at, "%s", p->lx.why);
    return ERR_OK;
}

enum err tmpl_parse_step(struct tmpl_parser *p)
{
    if (p->has_next) {
        p->cur = p->next;
        p->has_next = false;
        return ERR_OK;
    }
    return lex(p, &p->cur);
}

enum err tmpl_parse_peek(struct tmpl_parser *p)
{
    if (p->has_next)
        return ERR_OK;
    p->has_next = true;
    return lex(p, &p->next);
}

bool tmpl_at_op(const struct tmpl_parser *p, const char *op)
{
    return p->cur.kind == TMPL_T_OP && str_eq(p->cur.text, str_from(op));
}

bool tmpl_at_name(const struct tmpl_parser *p, const char *name)
{
    return p->cur.kind == TMPL_T_NAME && str_eq(p->cur.text, str_from(name));
}

enum err tmpl_want_op(struct tmpl_parser *p, const char *op)
{
    char wanted[8];

    if (tmpl_at_op(p, op))
        return tmpl_parse_step(p);
    snprintf(wanted, sizeof(wanted), "'%s'", op);
    return tmpl_parse_unexpected(p, wanted);
}

enum err tmpl_skip_op(struct tmpl_parser *p, const char *op, bool *was_out)
{
    *was_out = tmpl_at_op(p, op);
    return *was_out ? tmpl_parse_step(p) : ERR_OK;
}

enum err tmpl_want_name(struct tmpl_parser *p, struct str *out)
{
    if (p->cur.kind != TMPL_T_NAME)
        return tmpl_parse_unexpected(p, "a name");
    *out = p->cur.text;
    return tmpl_parse_step(p);
}

enum err tmpl_name_id(struct tmpl_parser *p, struct str s, int *out)
{
    struct template *t = p->t;

    for (unsigned i = 0; i < t->n_names; i++) {
        if (str_eq(t->names[i], s)) {
            *out = (int)i;
            return ERR_OK;
        }
    }
    if (t->n_names == TMPL_NAMES_MAX)
        return tmpl_parse_fail(p, p->cur.pos, "too many names");
    if (!t->names)
        t->names = arena_alloc(t->arena, TMPL_NAMES_MAX * sizeof(t->names[0]));
    if (!t->names)
        return ERR_NOMEM;
    *out = (int)t->n_names;
    t->names[t->n_names++] = s;
    return ERR_OK;
}

enum err tmpl_kids_add(struct tmpl_parser *p, struct tmpl_kids *k,
                       struct tmpl_node *n, unsigned char op)
{
    if (k->n == k->cap) {
        unsigned cap = k->cap ? k->cap * 2 : 4;
        struct tmpl_kids more = {.n = k->n, .cap = cap};

        more.at = arena_alloc(p->t->arena, cap * sizeof(more.at[0]));
        more.ops = arena_alloc(p->t->arena, cap);
        more.key = arena_alloc(p->t->arena, cap * sizeof(more.key[0]));
        if (!more.at || !more.ops || !more.key)
            return ERR_NOMEM;
        for (unsigned i = 0; i < k->n; i++) {
            more.at[i] = k->at[i];
            more.ops[i] = k->ops[i];
            more.key[i] = k->key[i];
        }
        *k = more;
    }
    k->at[k->n] = n;
    k->ops[k->n++] = op;
    return ERR_OK;
}

enum err tmpl_node_new(struct tmpl_parser *p, enum tmpl_kind kind, size_t pos,
                       const struct tmpl_kids *k, struct tmpl_node **out)
{
    struct tmpl_node *n = arena_alloc(p->t->arena, sizeof(*n));

    if (!n)
        return ERR_NOMEM;
    n->kind = kind;
    n->pos = (unsigned)pos;
    n->n = k->n;
    n->kid = k->at;
    n->ops = k->ops;
    n->key = k->key;
    for (unsigned i = 0; i < k->n; i++) {
        if (k->at[i] && k->at[i]->depth > n->depth)
            n->depth = k->at[i]->depth;
    }
    if (++n->depth > TMPL_NEST_MAX)
        return tmpl_parse_fail(p, pos, "nested too deeply");
    *out = n;
    return ERR_OK;
}

enum err tmpl_parse_str(struct tmpl_parser *p, struct str s,
                        struct tmpl_val *out)
{
    struct tmpl_str *t = arena_alloc(p->t->arena, sizeof(*t));

    if (!t)
        return ERR_NOMEM;
    *t = (struct tmpl_str){.p = s.p, .len = s.len};
    *out = (struct tmpl_val){.type = TMPL_STR, .u.s = t};
    return ERR_OK;
}

/* --- statements --------------------------------------------------------- */

static enum err parse_block(struct tmpl_parser *p, const char *const *ends,
                            struct tmpl_node **out);

/* The end of the tag. */
static enum err want_end(struct tmpl_parser *p)
{
    if (p->cur.kind != TMPL_T_TAG_END)
        return tmpl_parse_unexpected(p, "the end of the tag");
    return tmpl_parse_step(p);
}

/* The end of the tag, a block, and "{% <end> %}". */
static enum err parse_body(struct tmpl_parser *p, const char *end,
                           struct tmpl_node **out)
{
    const char *const ends[] = {end, NULL};

    ERR_TRY(want_end(p));
    ERR_TRY(parse_block(p, ends, out));
    ERR_TRY(tmpl_parse_step(p));
    return want_end(p);
}

/* Behind "if" or "elif". */
static enum err parse_if(struct tmpl_parser *p, size_t pos,
                         struct tmpl_node **out)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    struct tmpl_kids k = {0};
    struct tmpl_node **slot = out, *n;
    bool more;

    do {
        k = (struct tmpl_kids){0};
        ERR_TRY(tmpl_parse_tuple(p, false, &n));
        ERR_TRY(want_end(p));
        ERR_TRY(tmpl_kids_add(p, &k, n, 0));
        ERR_TRY(parse_block(p, ends, &n));
        ERR_TRY(tmpl_kids_add(p, &k, n, 0));
        ERR_TRY(tmpl_kids_add(p, &k, NULL, 0));
        ERR_TRY(tmpl_node_new(p, TMPL_N_IF, pos, &k, slot));
        slot = &k.at[2];
        more = tmpl_at_name(p, "elif");
        pos = p->cur.pos;
        if (more)
            ERR_TRY(tmpl_parse_step(p));
    } while (more);
    if (tmpl_at_name(p, "endif")) {
        ERR_TRY(tmpl_parse_step(p));
        return want_end(p);
    }
    ERR_TRY(tmpl_parse_step(p));
    return parse_body(p, "endif", slot);
}

static enum err parse_for(struct tmpl_parser *p, size_t pos,
                          struct tmpl_node **out)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    struct tmpl_kids k = {0};
    struct tmpl_node *n;
    bool recursive = false;

    ERR_TRY(tmpl_parse_target(p, false, &n));
    ERR_TRY(tmpl_kids_add(p, &k, n, 0));
    if (!tmpl_at_name(p, "in"))
        return tmpl_parse_unexpected(p, "'in'");
    ERR_TRY(tmpl_parse_step(p));
    ERR_TRY(tmpl_parse_tuple(p, false, &n));
    ERR_TRY(tmpl_kids_add(p, &k, n, 0));
    n = NULL;
    if (tmpl_at_name(p, "if")) {
        ERR_TRY(tmpl_parse_step(p));
        ERR_TRY(tmpl_parse_expr(p, true, &n));
    }
    ERR_TRY(tmpl_kids_add(p, &k, n, 0));
    if (tmpl_at_name(p, "recursive")) {
        recursive = true;
        ERR_TRY(tmpl_parse_step(p));
    }
    ERR_TRY(want_end(p));
    p->loops++;
    ERR_TRY(parse_block(p, ends, &n));
    p->loops--;
    ERR_TRY(tmpl_kids_add(p, &k, n, 0));
    n = NULL;
    if (tmpl_at_name(p, "else")) {
        ERR_TRY(tmpl_parse_step(p));
        ERR_TRY(parse_body(p, "endfor", &n));
    } else {
        ERR_TRY(tmpl_parse_step(p));
        ERR_TRY(want_end(p));
    }
    ERR_TRY(tmpl_kids_add(p, &k, n, 0));
    ERR_TRY(tmpl_node_new(p, TMPL_N_FOR, pos, &k, out));
    (*out)->flag = recursive;
    return ERR_OK;
}

/* What a block set or a filter block filters. */
static enum err parse_hole(struct tmpl_parser *p, bool bare,
                           struct tmpl_node **out)
{
    struct tmpl_kids none = {0};

    ERR_TRY(tmpl_node_new(p, TMPL_N_HOLE, p->cur.pos, &none, out));
    return tmpl_parse_filters(p, bare, *out, out);
}

static enum err parse_set(struct tmpl_parser *p, size_t pos,
                          struct tmpl_node **out)
{
    struct tmpl_kids k = {0};
    struct tmpl_node *n, *filter = NULL;
    bool plain;

    ERR_TRY(tmpl_parse_target(p, true, &n));
    ERR_TRY(tmpl_kids_add(p, &k, n, 0));
    ERR_TRY(tmpl_skip_op(p, "=", &plain));
    if (plain) {
        ERR_TRY(tmpl_parse_tuple(p, true, &n));
        ERR_TRY(tmpl_kids_add(p, &k, n, 0));
        ERR_TRY(want_end(p));
        return tmpl_node_new(p, TMPL_N_SET, pos, &k, out);
    }
    if (tmpl_at_op(p, "|"))
        ERR_TRY(parse_hole(p, false, &filter));
    ERR_TRY(parse_body(p, "endset", &n));
    ERR_TRY(tmpl_kids_add(p, &k, n, 0));
    ERR_TRY(tmpl_kids_add(p, &k, filter, 0));
    return tmpl_node_new(p, TMPL_N_SETBLOCK, pos, &k, out);
}

/* Parameters behind "(", with their defaults as kids. */
static enum err parse_params(struct tmpl_parser *p, struct tmpl_kids *k,
                             int *params, unsigned *n_out)
{
    unsigned n = 0;

    ERR_TRY(tmpl_want_op(p, "("));
    while (!tmpl_at_op(p, ")")) {
        struct tmpl_node *value = NULL;
        struct str name = {NULL, 0};
        bool has;

        if (n > 0)
            ERR_TRY(tmpl_want_op(p, ","));
        if (n == 32)
            return tmpl_parse_fail(p, p->cur.pos, "too many parameters");
        ERR_TRY(tmpl_want_name(p, &name));
        ERR_TRY(tmpl_name_id(p, name, &params[n]));
        ERR_TRY(tmpl_skip_op(p, "=", &has));
        if (has)
            ERR_TRY(tmpl_parse_expr(p, true, &value));
        ERR_TRY(tmpl_kids_add(p, k, value, 0));
        n++;
    }
    *n_out = n;
    return tmpl_parse_step(p);
}

static enum err set_params(struct tmpl_parser *p, struct tmpl_node *n,
                           const int *params, unsigned n_params)
{
    int *own = arena_alloc(p->t->arena, 32 * sizeof(own[0]));

    if (!own)
        return ERR_NOMEM;
    for (unsigned i = 0; i < n_params; i++)
        own[i] = params[i];
    n->params = own;
    n->n_params = n_params;
    return ERR_OK;
}

static enum err parse_macro(struct tmpl_parser *p, size_t pos,
                            struct tmpl_node **out)
{
    struct tmpl_kids k = {0};
    int params[32], id;
    unsigned n_params, loops = p->loops;
    struct str name = {NULL, 0};
    struct tmpl_node *n;

    ERR_TRY(tmpl_want_name(p, &name));
    ERR_TRY(tmpl_name_id(p, name, &id));
    ERR_TRY(tmpl_kids_add(p, &k, NULL, 0));
    ERR_TRY(parse_params(p, &k, params, &n_params));
    p->loops = 0;
    ERR_TRY(parse_body(p, "endmacro", &n));
    p->loops = loops;
    k.at[0] = n;
    ERR_TRY(tmpl_node_new(p, TMPL_N_MACRO, pos, &k, out));
    (*out)->id = id;
    return set_params(p, *out, params, n_params);
}

static enum err parse_call_block(struct tmpl_parser *p, size_t pos,
                                 struct tmpl_node **out)
{
    struct tmpl_kids k = {0};
    int params[32];
    unsigned n_params = 0, loops = p->loops;
    struct tmpl_node *n;

    ERR_TRY(tmpl_kids_add(p, &k, NULL, 0));
    ERR_TRY(tmpl_kids_add(p, &k, NULL, 0));
    if (tmpl_at_op(p, "("))
        ERR_TRY(parse_params(p, &k, params, &n_params));
    ERR_TRY(tmpl_parse_postfix(p, &n));
    if (n->kind != TMPL_N_CALL)
        return tmpl_parse_fail(p, pos, "expected a call");
    k.at[1] = n;
    p->loops = 0;
    ERR_TRY(parse_body(p, "endcall", &n));
    p->loops = loops;
    k.at[0] = n;
    ERR_TRY(tmpl_node_new(p, TMPL_N_CALLBLOCK, pos, &k, out));
    return set_params(p, *out, params, n_params);
}

static enum err parse_filtered(struct tmpl_parser *p, size_t pos,
                               struct tmpl_node **out)
{
    struct tmpl_kids k = {0};
    struct tmpl_node *n, *filter;

    ERR_TRY(parse_hole(p, true, &filter));
    ERR_TRY(parse_body(p, "endfilter", &n));
    ERR_TRY(tmpl_kids_add(p, &k, n, 0));
    ERR_TRY(tmpl_kids_add(p, &k, filter, 0));
    return tmpl_node_new(p, TMPL_N_FILTERED, pos, &k, out);
}

static enum err parse_with(struct tmpl_parser *p, size_t pos,
                           struct tmpl_node **out)
{
    struct tmpl_kids k = {0};
    struct tmpl_node *n;

    ERR_TRY(tmpl_kids_add(p, &k, NULL, 0));
    while (p->cur.kind != TMPL_T_TAG_END) {
        if (k.n > 1)
            ERR_TRY(tmpl_want_op(p, ","));
        ERR_TRY(tmpl_parse_target(p, false, &n));
        ERR_TRY(tmpl_kids_add(p, &k, n, 0));
        ERR_TRY(tmpl_want_op(p, "="));
        ERR_TRY(tmpl_parse_expr(p, true, &n));
        ERR_TRY(tmpl_kids_add(p, &k, n, 0));
    }
    ERR_TRY(parse_body(p, "endwith", &n));
    k.at[0] = n;
    return tmpl_node_new(p, TMPL_N_WITH, pos, &k, out);
}

static enum err parse_scope(struct tmpl_parser *p, size_t pos,
                            struct tmpl_node **out)
{
    struct tmpl_kids k = {0};
    struct tmpl_node *n;

    ERR_TRY(parse_body(p, "endgeneration", &n));
    ERR_TRY(tmpl_kids_add(p, &k, n, 0));
    return tmpl_node_new(p, TMPL_N_SCOPE, pos, &k, out);
}

static enum err parse_print(struct tmpl_parser *p, size_t pos,
                            struct tmpl_node **out)
{
    struct tmpl_kids k = {0};
    struct tmpl_node *n;

    ERR_TRY(tmpl_parse_tuple(p, true, &n));
    ERR_TRY(tmpl_kids_add(p, &k, n, 0));
    ERR_TRY(tmpl_node_new(p, TMPL_N_PRINT, pos, &k, out));
    if (p->cur.kind != TMPL_T_VAR_END && p->cur.kind != TMPL_T_TAG_END)
        return tmpl_parse_unexpected(p, "the end of the tag");
    return tmpl_parse_step(p);
}

static enum err parse_jump(struct tmpl_parser *p, size_t pos, bool is_break,
                           struct tmpl_node **out)
{
    struct tmpl_kids none = {0};

    if (p->loops == 0)
        return tmpl_parse_fail(p, pos, "'%s' outside of a loop",
                               is_break ? "break" : "continue");
    ERR_TRY(tmpl_node_new(p, is_break ? TMPL_N_BREAK : TMPL_N_CONTINUE, pos,
                          &none, out));
    return want_end(p);
}

/* The statement whose name is the current token. */
static enum err parse_statement(struct tmpl_parser *p, struct tmpl_node **out)
{
    static const struct {
        const char *name;
        enum err (*parse)(struct tmpl_parser *, size_t, struct tmpl_node **);
    } known[] = {
        {"if", parse_if},
        {"for", parse_for},
        {"set", parse_set},
        {"macro", parse_macro},
        {"with", parse_with},
        {"call", parse_call_block},
        {"filter", parse_filtered},
        {"print", parse_print},
        {"generation", parse_scope},
    };
    size_t pos = p->cur.pos;
    struct str name = {NULL, 0};

    ERR_TRY(tmpl_want_name(p, &name));
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (str_eq(name, str_from(known[i].name)))
            return known[i].parse(p, pos, out);
    }
    if (str_eq(name, STR("break")) || str_eq(name, STR("continue")))
        return parse_jump(p, pos, name.p[0] == 'b', out);
    return tmpl_parse_fail(p, pos, "unknown tag '%.*s'", STR_ARG(name));
}

/* One piece of a block: text, a variable, a statement. <ended_out>: it was one
 * of <ends> instead, whose name is the current token now. */
static enum err parse_piece(struct tmpl_parser *p, const char *const *ends,
                            bool *ended_out, struct tmpl_node **out)
{
    struct tmpl_kids none = {0};
    size_t pos = p->cur.pos;

    if (p->cur.kind == TMPL_T_DATA) {
        ERR_TRY(tmpl_node_new(p, TMPL_N_TEXT, pos, &none, out));
        ERR_TRY(tmpl_parse_str(p, p->cur.text, &(*out)->lit));
        return tmpl_parse_step(p);
    }
    if (p->cur.kind == TMPL_T_VAR_BEGIN) {
        ERR_TRY(tmpl_parse_step(p));
        return parse_print(p, pos, out);
    }
    if (p->cur.kind != TMPL_T_TAG_BEGIN)
        return tmpl_parse_unexpected(p, "a tag");
    ERR_TRY(tmpl_parse_step(p));
    for (size_t i = 0; ends && ends[i]; i++) {
        if (tmpl_at_name(p, ends[i]))
            *ended_out = true;
    }
    return *ended_out ? ERR_OK : parse_statement(p, out);
}

/* Statements up to one of <ends> (NULL: up to the end of the template). */
static enum err parse_block(struct tmpl_parser *p, const char *const *ends,
                            struct tmpl_node **out)
{
    struct tmpl_kids k = {0};
    size_t pos = p->cur.pos;
    bool ended = false;

    if (++p->depth > TMPL_NEST_MAX)
        return tmpl_parse_fail(p, pos, "nested too deeply");
    while (!ended) {
        struct tmpl_node *n = NULL;
        char wanted[32];

        if (p->cur.kind == TMPL_T_EOF) {
            if (!ends)
                break;
            snprintf(wanted, sizeof(wanted), "'%s'", ends[0]);
            for (size_t i = 0; ends[i]; i++)
                snprintf(wanted, sizeof(wanted), "'%s'", ends[i]);
            return tmpl_parse_unexpected(p, wanted);
        }
        ERR_TRY(parse_piece(p, ends, &ended, &n));
        if (!ended)
            ERR_TRY(tmpl_kids_add(p, &k, n, 0));
    }
    p->depth--;
    return tmpl_node_new(p, TMPL_N_BLOCK, pos, &k, out);
}

enum err tmpl_parse(struct template *t, struct template_fault *why)
{
    struct tmpl_parser p = {.t = t, .why = why};

    p.lx.src = t->source;
    p.lx.line_start = true;
    ERR_TRY(tmpl_parse_step(&p));
    return parse_block(&p, NULL, &t->root);
}
