/* tmpl_parse_atom.c - What the expressions of a chat template are made of:
 * literals, names, attributes, items, calls. */
#include "token/tmpl_parse.h"

#include <stdlib.h>

#include "base/utf8.h"

static enum err literal(struct tmpl_parser *p, struct tmpl_val v,
                        struct tmpl_node **out)
{
    struct tmpl_kids none = {0};

    ERR_TRY(tmpl_node_new(p, TMPL_N_LIT, p->cur.pos, &none, out));
    (*out)->lit = v;
    return ERR_OK;
}

/* --- string literals ---------------------------------------------------- */

static int hex_value(struct str s, unsigned n, uint32_t *out)
{
    uint32_t v = 0;

    if (s.len < n)
        return -1;
    for (unsigned i = 0; i < n; i++) {
        char c = s.p[i];
        char low = (char)(c | 0x20);

        if (c >= '0' && c <= '9')
            v = v * 16 + (uint32_t)(c - '0');
        else if (low >= 'a' && low <= 'f')
            v = v * 16 + (uint32_t)(low - 'a' + 10);
        else
            return -1;
    }
    *out = v;
    return 0;
}

/* Write <cp>, which stands behind an escape of <width> digits; a pair of
 * surrogates is one character. Bytes read beyond the digits. */
static size_t put_code(struct str rest, unsigned width, uint32_t cp, char **to)
{
    uint32_t low;
    size_t more = 0;

    if (cp >= 0xD800 && cp < 0xDC00 && width == 4 && rest.len >= 6 &&
        rest.p[0] == '\\' && rest.p[1] == 'u' &&
        hex_value(str_skip(rest, 2), 4, &low) == 0 && low >= 0xDC00 &&
        low < 0xE000) {
        cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
        more = 6;
    }
    if (utf8_put(cp, *to) == 0)
        cp = 0xFFFD;
    *to += utf8_put(cp, *to);
    return more;
}

/* The escape that <s>, behind its backslash, begins with; its length. 0: none
 * that is known; SIZE_MAX: a broken one. */
static size_t unescape(struct str s, char **to)
{
    static const char names[] = "nrtbfav\\'\"",
                      values[] = "\n\r\t\b\f\a\v\\'\"";
    const char *at = s.p[0] ? strchr(names, s.p[0]) : NULL;
    unsigned width = s.p[0] == 'x'   ? 2
                     : s.p[0] == 'u' ? 4
                     : s.p[0] == 'U' ? 8
                                     : 0;
    uint32_t v = 0;
    size_t n = 0;

    if (at) {
        *(*to)++ = values[at - names];
        return 1;
    }
    if (s.p[0] == '\n')
        return 1;
    if (width > 0) {
        if (hex_value(str_skip(s, 1), width, &v) != 0)
            return SIZE_MAX;
        n = 1 + width;
        return n + put_code(str_skip(s, n), width, v, to);
    }
    while (n < 3 && n < s.len && s.p[n] >= '0' && s.p[n] <= '7')
        v = v * 8 + (uint32_t)(s.p[n++] - '0');
    if (n > 0)
        put_code(str_skip(s, n), 0, v, to);
    return n;
}

/* Append the text of the string token to <room>, which is large enough. */
static enum err decode(struct tmpl_parser *p, struct str s, char **to)
{
    while (s.len > 0) {
        size_t run = str_find_char(s, '\\'), n;

        memcpy(*to, s.p, run);
        *to += run;
        s = str_skip(s, run);
        if (s.len < 2)
            break;
        n = unescape(str_skip(s, 1), to);
        if (n == SIZE_MAX)
            return tmpl_parse_fail(p, p->cur.pos, "broken escape in string");
        if (n == 0)
            *(*to)++ = '\\';
        s = str_skip(s, 1 + n);
    }
    return ERR_OK;
}

/* String literals, one after the other. */
static enum err parse_strings(struct tmpl_parser *p, struct tmpl_node **out)
{
    size_t len = 0;
    char *room = NULL;

    ERR_TRY(literal(p, tmpl_none(), out));
    while (p->cur.kind == TMPL_T_STRING) {
        char *more = arena_alloc(p->t->arena, len + p->cur.text.len + 8);
        char *to = more;

        if (!more)
            return ERR_NOMEM;
        if (len > 0)
            memcpy(more, room, len);
        to += len;
        ERR_TRY(decode(p, p->cur.text, &to));
        room = more;
        len = (size_t)(to - more);
        ERR_TRY(tmpl_parse_step(p));
    }
    return tmpl_parse_str(p, str_of(room, len), &(*out)->lit);
}

/* --- primaries ---------------------------------------------------------- */

static enum err parse_name(struct tmpl_parser *p, struct tmpl_node **out)
{
    static const struct {
        const char *name;
        int is;
    } consts[] = {{"true", 1},  {"True", 1}, {"false", 0},
                  {"False", 0}, {"none", 2}, {"None", 2}};
    struct tmpl_kids none = {0};
    int id;

    for (size_t i = 0; i < sizeof(consts) / sizeof(consts[0]); i++) {
        if (!tmpl_at_name(p, consts[i].name))
            continue;
        ERR_TRY(literal(
            p, consts[i].is == 2 ? tmpl_none() : tmpl_bool(consts[i].is), out));
        return tmpl_parse_step(p);
    }
    ERR_TRY(tmpl_name_id(p, p->cur.text, &id));
    ERR_TRY(tmpl_node_new(p, TMPL_N_NAME, p->cur.pos, &none, out));
    (*out)->id = id;
    return tmpl_parse_step(p);
}

/* What stands between brackets, up to <close>. */
static enum err parse_elements(struct tmpl_parser *p, const char *close,
                               struct tmpl_kids *k)
{
    bool dict = close[0] == '}';

    while (!tmpl_at_op(p, close)) {
        struct tmpl_node *n;

        if (k->n > 0)
            ERR_TRY(tmpl_want_op(p, ","));
        if (tmpl_at_op(p, close))
            break;
        ERR_TRY(tmpl_parse_expr(p, true, &n));
        ERR_TRY(tmpl_kids_add(p, k, n, 0));
        if (!dict)
            continue;
        ERR_TRY(tmpl_want_op(p, ":"));
        ERR_TRY(tmpl_parse_expr(p, true, &n));
        ERR_TRY(tmpl_kids_add(p, k, n, 0));
    }
    return tmpl_parse_step(p);
}

static enum err parse_paren(struct tmpl_parser *p, struct tmpl_node **out)
{
    struct tmpl_kids none = {0};
    size_t pos = p->cur.pos;

    ERR_TRY(tmpl_parse_step(p));
    if (tmpl_at_op(p, ")")) {
        ERR_TRY(tmpl_node_new(p, TMPL_N_TUPLE, pos, &none, out));
        return tmpl_parse_step(p);
    }
    ERR_TRY(tmpl_parse_tuple(p, true, out));
    return tmpl_want_op(p, ")");
}

static enum err parse_primary(struct tmpl_parser *p, struct tmpl_node **out)
{
    struct tmpl_kids k = {0};
    size_t pos = p->cur.pos;
    bool list = tmpl_at_op(p, "["), dict = tmpl_at_op(p, "{");

    if (p->cur.kind == TMPL_T_NAME)
        return parse_name(p, out);
    if (p->cur.kind == TMPL_T_STRING)
        return parse_strings(p, out);
    if (p->cur.kind == TMPL_T_INT || p->cur.kind == TMPL_T_REAL) {
        ERR_TRY(literal(p,
                        p->cur.kind == TMPL_T_INT ? tmpl_int(p->cur.i)
                                                  : tmpl_real(p->cur.r),
                        out));
        return tmpl_parse_step(p);
    }
    if (tmpl_at_op(p, "("))
        return parse_paren(p, out);
    if (!list && !dict)
        return tmpl_parse_unexpected(p, "an expression");
    ERR_TRY(tmpl_parse_step(p));
    ERR_TRY(parse_elements(p, list ? "]" : "}", &k));
    return tmpl_node_new(p, list ? TMPL_N_LIST : TMPL_N_DICT, pos, &k, out);
}

/* --- calls, attributes, items ------------------------------------------- */

static enum err parse_arg(struct tmpl_parser *p, struct tmpl_kids *k)
{
    unsigned char how = TMPL_A_POS;
    struct tmpl_val key = {0};
    struct tmpl_node *n;

    if (tmpl_at_op(p, "*"))
        how = TMPL_A_STAR;
    else if (tmpl_at_op(p, "**"))
        how = TMPL_A_STARS;
    if (how != TMPL_A_POS)
        ERR_TRY(tmpl_parse_step(p));
    if (how == TMPL_A_POS && p->cur.kind == TMPL_T_NAME) {
        ERR_TRY(tmpl_parse_peek(p));
        if (p->next.kind == TMPL_T_OP && str_eq(p->next.text, STR("="))) {
            how = TMPL_A_KEY;
            ERR_TRY(tmpl_parse_str(p, p->cur.text, &key));
            ERR_TRY(tmpl_parse_step(p));
            ERR_TRY(tmpl_parse_step(p));
        }
    }
    if (how == TMPL_A_POS && k->n > 1 &&
        (k->ops[k->n - 1] == TMPL_A_KEY || k->ops[k->n - 1] == TMPL_A_STARS))
        return tmpl_parse_fail(p, p->cur.pos,
                               "positional argument behind a keyword");
    ERR_TRY(tmpl_parse_expr(p, true, &n));
    ERR_TRY(tmpl_kids_add(p, k, n, how));
    k->key[k->n - 1] = key;
    return ERR_OK;
}

enum err tmpl_parse_args(struct tmpl_parser *p, struct tmpl_kids *k)
{
    bool first = true;

    ERR_TRY(tmpl_want_op(p, "("));
    while (!tmpl_at_op(p, ")")) {
        if (!first)
            ERR_TRY(tmpl_want_op(p, ","));
        if (tmpl_at_op(p, ")"))
            break;
        ERR_TRY(parse_arg(p, k));
        first = false;
    }
    return tmpl_parse_step(p);
}

enum err tmpl_parse_attr(struct tmpl_parser *p, struct tmpl_node **node)
{
    struct tmpl_kids k = {0};
    struct tmpl_node *n;
    size_t pos = p->cur.pos;

    ERR_TRY(tmpl_parse_step(p));
    ERR_TRY(tmpl_kids_add(p, &k, *node, 0));
    if (p->cur.kind == TMPL_T_INT) {
        ERR_TRY(literal(p, tmpl_int(p->cur.i), &n));
        ERR_TRY(tmpl_kids_add(p, &k, n, 0));
        ERR_TRY(tmpl_node_new(p, TMPL_N_ITEM, pos, &k, node));
        return tmpl_parse_step(p);
    }
    if (p->cur.kind != TMPL_T_NAME)
        return tmpl_parse_unexpected(p, "a name or a number");
    ERR_TRY(tmpl_node_new(p, TMPL_N_ATTR, pos, &k, node));
    ERR_TRY(tmpl_parse_str(p, p->cur.text, &(*node)->lit));
    return tmpl_parse_step(p);
}

/* One bound of a slice, when it is there. */
static enum err parse_bound(struct tmpl_parser *p, struct tmpl_kids *k)
{
    struct tmpl_node *n = NULL;

    if (!tmpl_at_op(p, ":") && !tmpl_at_op(p, "]"))
        ERR_TRY(tmpl_parse_expr(p, true, &n));
    return tmpl_kids_add(p, k, n, 0);
}

static enum err parse_item(struct tmpl_parser *p, struct tmpl_node **node)
{
    struct tmpl_kids k = {0};
    size_t pos = p->cur.pos;
    bool more = true;

    ERR_TRY(tmpl_parse_step(p));
    ERR_TRY(tmpl_kids_add(p, &k, *node, 0));
    if (tmpl_at_op(p, "]"))
        return tmpl_parse_unexpected(p, "an expression");
    ERR_TRY(parse_bound(p, &k));
    if (!tmpl_at_op(p, ":")) {
        ERR_TRY(tmpl_want_op(p, "]"));
        return tmpl_node_new(p, TMPL_N_ITEM, pos, &k, node);
    }
    while (k.n < 4) {
        if (more)
            ERR_TRY(tmpl_skip_op(p, ":", &more));
        if (more)
            ERR_TRY(parse_bound(p, &k));
        else
            ERR_TRY(tmpl_kids_add(p, &k, NULL, 0));
    }
    ERR_TRY(tmpl_want_op(p, "]"));
    return tmpl_node_new(p, TMPL_N_SLICE, pos, &k, node);
}

enum err tmpl_parse_call(struct tmpl_parser *p, struct tmpl_node **node)
{
    struct tmpl_kids k = {0};
    size_t pos = p->cur.pos;

    ERR_TRY(tmpl_kids_add(p, &k, *node, 0));
    ERR_TRY(tmpl_parse_args(p, &k));
    return tmpl_node_new(p, TMPL_N_CALL, pos, &k, node);
}

enum err tmpl_parse_postfix(struct tmpl_parser *p, struct tmpl_node **out)
{
    struct tmpl_node *n;
    enum err e = parse_primary(p, &n);

    while (e == ERR_OK && p->cur.kind == TMPL_T_OP) {
        if (tmpl_at_op(p, "."))
            e = tmpl_parse_attr(p, &n);
        else if (tmpl_at_op(p, "["))
            e = parse_item(p, &n);
        else if (tmpl_at_op(p, "("))
            e = tmpl_parse_call(p, &n);
        else
            break;
    }
    if (e == ERR_OK)
        *out = n;
    return e;
}
