/* tmpl_parse.h - The parser's own state, shared by its two halves: statements
 * and expressions. */
#ifndef TG_TOKEN_TMPL_PARSE_H
#define TG_TOKEN_TMPL_PARSE_H

#include "token/tmpl_ast.h"
#include "token/tmpl_lex.h"

/* The parser. */
struct tmpl_parser {
    struct template *t;
    struct tmpl_lex lx;
    struct tmpl_tok cur;
    struct tmpl_tok next;
    bool has_next;
    unsigned depth;
    unsigned loops; /* for statements around this place */
    struct template_fault *why;
};

/* Kids that are being collected. */
struct tmpl_kids {
    struct tmpl_node **at;
    unsigned char *ops;
    struct tmpl_val *key;
    unsigned n;
    unsigned cap;
};

/* Note what is wrong at byte <pos>; returns ERR_SYNTAX. */
enum err tmpl_parse_fail(struct tmpl_parser *p, size_t pos, const char *fmt,
                         ...) __attribute__((format(printf, 3, 4)));

/* The same, about the current token. */
enum err tmpl_parse_unexpected(struct tmpl_parser *p, const char *wanted);

/* Go to the next token; the one after it. */
enum err tmpl_parse_step(struct tmpl_parser *p) MUST_CHECK;
enum err tmpl_parse_peek(struct tmpl_parser *p) MUST_CHECK;

/* Whether the current token is this operator, this name. */
bool tmpl_at_op(const struct tmpl_parser *p, const char *op);
bool tmpl_at_name(const struct tmpl_parser *p, const char *name);

/* Consume this operator or fail; consume it when it is there. */
enum err tmpl_want_op(struct tmpl_parser *p, const char *op) MUST_CHECK;
enum err tmpl_skip_op(struct tmpl_parser *p, const char *op,
                      bool *was_out) MUST_CHECK;

/* Consume any name. */
enum err tmpl_want_name(struct tmpl_parser *p, struct str *out) MUST_CHECK;

/* The number of the name <s>. */
enum err tmpl_name_id(struct tmpl_parser *p, struct str s, int *out) MUST_CHECK;

/* Collect <n> (may be NULL). */
enum err tmpl_kids_add(struct tmpl_parser *p, struct tmpl_kids *k,
                       struct tmpl_node *n, unsigned char op) MUST_CHECK;

/* A node of <kind> at <pos> with the kids collected. */
enum err tmpl_node_new(struct tmpl_parser *p, enum tmpl_kind kind, size_t pos,
                       const struct tmpl_kids *k,
                       struct tmpl_node **out) MUST_CHECK;

/* A string value of the template. */
enum err tmpl_parse_str(struct tmpl_parser *p, struct str s,
                        struct tmpl_val *out) MUST_CHECK;

/* Any expression; <cond>: with "a if b else c". */
enum err tmpl_parse_expr(struct tmpl_parser *p, bool cond,
                         struct tmpl_node **out) MUST_CHECK;

/* Expressions with commas between them are a tuple. */
enum err tmpl_parse_tuple(struct tmpl_parser *p, bool cond,
                          struct tmpl_node **out) MUST_CHECK;

/* What can be assigned to: names, tuples of them, attributes of names. */
enum err tmpl_parse_target(struct tmpl_parser *p, bool attrs,
                           struct tmpl_node **out) MUST_CHECK;

/* Filters behind <operand>, the first without its "|" when <bare>. */
enum err tmpl_parse_filters(struct tmpl_parser *p, bool bare,
                            struct tmpl_node *operand,
                            struct tmpl_node **out) MUST_CHECK;

/* The arguments of a call, from "(" to ")". */
enum err tmpl_parse_args(struct tmpl_parser *p, struct tmpl_kids *k) MUST_CHECK;

/* An attribute of <node>, from its ".". */
enum err tmpl_parse_attr(struct tmpl_parser *p,
                         struct tmpl_node **node) MUST_CHECK;

/* A call of <node>, from its "(". */
enum err tmpl_parse_call(struct tmpl_parser *p,
                         struct tmpl_node **node) MUST_CHECK;

/* A primary with its attributes, items and calls. */
enum err tmpl_parse_postfix(struct tmpl_parser *p,
                            struct tmpl_node **out) MUST_CHECK;

#endif
