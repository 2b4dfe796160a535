/* tmpl_lex.c - See tmpl_lex.h. */
#include "token/tmpl_lex.h"

#include <stdlib.h>

#include "token/tmpl_uni.h"

static enum err fail(struct tmpl_lex *lx, size_t at, const char *why)
{
    lx->at = at;
    lx->why = why;
    return ERR_SYNTAX;
}

static struct str rest_of(const struct tmpl_lex *lx)
{
    return str_skip(lx->src, lx->at);
}

static char char_at(const struct tmpl_lex *lx, size_t at)
{
    return at < lx->src.len ? lx->src.p[at] : '\0';
}

/* Consume up to <to>; what ends there may end a line. */
static void consume(struct tmpl_lex *lx, size_t to)
{
    lx->at = to;
    lx->line_start = to > 0 && lx->src.p[to - 1] == '\n';
}

/* Consume what follows a tag whose last two characters end at <end>: <sign> is
 * the sign before them, <trim> whether a line's end goes too. */
static void end_tag(struct tmpl_lex *lx, size_t end, char sign, bool trim)
{
    if (sign == '-')
        end += tmpl_uni_spaces(str_skip(lx->src, end));
    else if (sign != '+' && trim && char_at(lx, end) == '\n')
        end++;
    consume(lx, end);
    lx->state = TMPL_L_DATA;
}

/* The first "{{", "{%" or "{#" at or after <at>, or the end. */
static size_t find_open(const struct tmpl_lex *lx, size_t at)
{
    while (at + 1 < lx->src.len) {
        char next;

        at += str_find_char(str_skip(lx->src, at), '{');
        next = char_at(lx, at + 1);
        if (at < lx->src.len && (next == '{' || next == '%' || next == '#'))
            return at;
        at++;
    }
    return lx->src.len;
}

/* <data>, which stands before a tag of <kind> with <sign>, without the white
 * space that the tag takes away. */
static struct str cut_data(struct str data, char kind, char sign,
                           bool line_start)
{
    size_t line;

    if (sign == '-') {
        data.len -= tmpl_uni_spaces_end(data);
        return data;
    }
    if (sign == '+' || kind == '{')
        return data;
    line = data.len;
    while (line > 0 && data.p[line - 1] != '\n')
        line--;
    if (line == 0 && !line_start)
        return data;
    if (tmpl_uni_spaces(str_skip(data, line)) == data.len - line)
        data.len = line;
    return data;
}

/* Whether a tag with the one word <word> stands at <at>; where it ends, and
 * the sign it ends with. */
static bool match_word(const struct tmpl_lex *lx, size_t at, struct str word,
                       size_t *end_out, char *sign_out)
{
    char sign;

    at += 2;
    if (char_at(lx, at) == '-' || char_at(lx, at) == '+')
        at++;
    at += tmpl_uni_spaces(str_skip(lx->src, at));
    if (!str_starts(str_skip(lx->src, at), word))
        return false;
    at += word.len;
    at += tmpl_uni_spaces(str_skip(lx->src, at));
    sign = char_at(lx, at);
    if (sign == '-' || sign == '+')
        at++;
    if (!str_starts(str_skip(lx->src, at), STR("%}")))
        return false;
    *sign_out = sign;
    *end_out = at + 2;
    return true;
}

/* The text between raw and endraw; lx->at is behind the former. */
static enum err lex_raw(struct tmpl_lex *lx, size_t began, struct tmpl_tok *out)
{
    size_t from = lx->at, at = from, end = 0;
    bool line_start = lx->line_start;
    char sign = 0;

    for (;; at++) {
        at += str_find(str_skip(lx->src, at), STR("{%"));
        if (at >= lx->src.len)
            return fail(lx, began, "missing end of raw directive");
        if (match_word(lx, at, STR("endraw"), &end, &sign))
            break;
    }
    *out = (struct tmpl_tok){.kind = TMPL_T_DATA, .pos = from};
    out->text = cut_data(str_of(lx->src.p + from, at - from), '%',
                         char_at(lx, at + 2), line_start);
    end_tag(lx, end, sign, true);
    return ERR_OK;
}

/* Skip the comment at <at>. */
static enum err skip_comment(struct tmpl_lex *lx, size_t at)
{
    size_t end = at + 2;
    char sign;

    end += str_find(str_skip(lx->src, end), STR("#}"));
    if (end >= lx->src.len)
        return fail(lx, at, "missing end of comment tag");
    sign = end > at + 2 ? lx->src.p[end - 1] : '\0';
    end_tag(lx, end + 2, sign, true);
    return ERR_OK;
}

/* Open the tag or variable at <at>. */
static void open_tag(struct tmpl_lex *lx, size_t at, struct tmpl_tok *out)
{
    char kind = char_at(lx, at + 1), sign = char_at(lx, at + 2);

    *out = (struct tmpl_tok){.pos = at, .text = str_of(lx->src.p + at, 2)};
    out->kind = kind == '{' ? TMPL_T_VAR_BEGIN : TMPL_T_TAG_BEGIN;
    lx->state = kind == '{' ? TMPL_L_VAR : TMPL_L_TAG;
    lx->tag_at = at;
    lx->n_open = 0;
    lx->at = at + 2 + (sign == '-' || sign == '+');
}

/* Data up to the next tag; out->text.len == 0 tells that there was none. */
static enum err lex_data(struct tmpl_lex *lx, struct tmpl_tok *out)
{
    size_t at = find_open(lx, lx->at), end;
    struct str data = str_of(lx->src.p + lx->at, at - lx->at);
    bool line_start = lx->line_start;
    char sign = 0;

    *out = (struct tmpl_tok){.kind = TMPL_T_DATA, .pos = lx->at};
    if (at >= lx->src.len) {
        out->text = data;
        out->kind = data.len > 0 ? TMPL_T_DATA : TMPL_T_EOF;
        lx->at = at;
        return ERR_OK;
    }
    out->text =
        cut_data(data, char_at(lx, at + 1), char_at(lx, at + 2), line_start);
    if (out->text.len > 0) {
        /* the tag itself is read by the next call, with nothing before it */
        lx->at = at;
        lx->line_start = false;
        return ERR_OK;
    }
    if (char_at(lx, at + 1) == '#')
        return skip_comment(lx, at);
    if (char_at(lx, at + 1) == '%' &&
        match_word(lx, at, STR("raw"), &end, &sign) && sign != '+') {
        if (sign == '-')
            end += tmpl_uni_spaces(str_skip(lx->src, end));
        consume(lx, end);
        return lex_raw(lx, at, out);
    }
    open_tag(lx, at, out);
    return ERR_OK;
}

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static enum err lex_string(struct tmpl_lex *lx, struct tmpl_tok *out)
{
    size_t from = lx->at, at = from + 1;
    char quote = lx->src.p[from];

    while (at < lx->src.len && lx->src.p[at] != quote)
        at += lx->src.p[at] == '\\' ? 2 : 1;
    if (at >= lx->src.len)
        return fail(lx, from, "unterminated string");
    out->kind = TMPL_T_STRING;
    out->text = str_of(lx->src.p + from + 1, at - from - 1);
    lx->at = at + 1;
    return ERR_OK;
}

/* Digits with single underscores between them, of <base>. */
static size_t skip_digits(const struct tmpl_lex *lx, size_t at, int base)
{
    size_t from = at;

    for (;;) {
        char c = char_at(lx, at);
        bool ok = is_digit(c) ? c - '0' < base
                              : base == 16 && ((c >= 'a' && c <= 'f') ||
                                               (c >= 'A' && c <= 'F'));

        if (!ok && !(c == '_' && at > from && char_at(lx, at - 1) != '_'))
            break;
        at++;
    }
    return at > from && char_at(lx, at - 1) == '_' ? at - 1 : at;
}

/* The digits of <s> without underscores; false when they are too many. */
static bool plain_digits(struct str s, char room[64])
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '_')
            continue;
        if (n >= 63)
            return false;
        room[n++] = s.p[i];
    }
    room[n] = '\0';
    return true;
}

static enum err set_int(struct tmpl_lex *lx, size_t from, int base,
                        struct tmpl_tok *out)
{
    char room[64];
    char *end;
    uint64_t v = 0;
    struct str digits = str_of(lx->src.p + from, lx->at - from);

    if (!plain_digits(digits, room) || room[0] == '\0')
        return fail(lx, from, "number out of range");
    v = strtoull(room, &end, base);
    if (v > INT64_MAX || strlen(room) > (base == 2 ? 63 : 19))
        return fail(lx, from, "number out of range");
    out->kind = TMPL_T_INT;
    out->i = (int64_t)v;
    return ERR_OK;
}

/* Where a real number that begins at <from> ends; <at> is behind its whole
 * part. Equal to <at> when it is an integer. */
static size_t real_end(const struct tmpl_lex *lx, size_t at)
{
    size_t end = at, exp;

    if (char_at(lx, at) == '.' && is_digit(char_at(lx, at + 1)))
        end = skip_digits(lx, at + 1, 10);
    if (char_at(lx, end) != 'e' && char_at(lx, end) != 'E')
        return end;
    exp = end + 1;
    if (char_at(lx, exp) == '+' || char_at(lx, exp) == '-')
        exp++;
    return is_digit(char_at(lx, exp)) ? skip_digits(lx, exp, 10) : end;
}

static enum err lex_number(struct tmpl_lex *lx, struct tmpl_tok *out)
{
    size_t from = lx->at, end;
    char room[64];
    char kind = char_at(lx, from + 1) | 0x20;
    int base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;

    if (lx->src.p[from] == '0' && base != 10 &&
        skip_digits(lx, from + 2, base) > from + 2) {
        lx->at = skip_digits(lx, from + 2, base);
        return set_int(lx, from + 2, base, out);
    }
    lx->at = skip_digits(lx, from, 10);
    end = real_end(lx, lx->at);
    if (end == lx->at || (from > 0 && lx->src.p[from - 1] == '.'))
        return set_int(lx, from, 10, out);
    if (!plain_digits(str_of(lx->src.p + from, end - from), room))
        return fail(lx, from, "number out of range");
    lx->at = end;
    out->kind = TMPL_T_REAL;
    out->r = strtod(room, NULL);
    return ERR_OK;
}

static enum err lex_bracket(struct tmpl_lex *lx, char c)
{
    static const char pairs[] = "()[]{}";
    const char *at = strchr(pairs, c);

    if (c == '\0' || !at)
        return ERR_OK;
    if ((at - pairs) % 2 == 0) {
        if (lx->n_open >= sizeof(lx->open))
            return fail(lx, lx->at, "brackets nested too deeply");
        lx->open[lx->n_open++] = at[1];
        return ERR_OK;
    }
    if (lx->n_open == 0 || lx->open[lx->n_open - 1] != c)
        return fail(lx, lx->at, "unexpected closing bracket");
    lx->n_open--;
    return ERR_OK;
}

static enum err lex_op(struct tmpl_lex *lx, struct tmpl_tok *out)
{
    static const char *const two[] = {"//", "**", "==", "!=", ">=", "<="};
    struct str rest = rest_of(lx);
    size_t len = 1;

    for (size_t i = 0; i < sizeof(two) / sizeof(two[0]); i++) {
        if (str_starts(rest, str_from(two[i])))
            len = 2;
    }
    if (len == 1 &&
        (rest.p[0] == '\0' || !strchr("+-/*%~[](){}><=.:|,;", rest.p[0])))
        return fail(lx, lx->at, "unexpected character");
    if (lex_bracket(lx, len == 1 ? rest.p[0] : '\0') != ERR_OK)
        return ERR_SYNTAX;
    out->kind = TMPL_T_OP;
    out->text = str_of(rest.p, len);
    lx->at += len;
    return ERR_OK;
}

/* Whether the open tag ends here; consumes its end. */
static bool lex_end(struct tmpl_lex *lx, struct tmpl_tok *out)
{
    bool tag = lx->state == TMPL_L_TAG;
    struct str rest = rest_of(lx), end = tag ? STR("%}") : STR("}}");
    char sign = '\0';

    if (lx->n_open > 0)
        return false;
    if (rest.len > 0 && (rest.p[0] == '-' || (tag && rest.p[0] == '+'))) {
        sign = rest.p[0];
        rest = str_skip(rest, 1);
    }
    if (!str_starts(rest, end))
        return false;
    out->kind = tag ? TMPL_T_TAG_END : TMPL_T_VAR_END;
    out->text = str_of(rest.p, 2);
    end_tag(lx, lx->at + (sign != '\0') + 2, sign, tag);
    return true;
}

static enum err lex_inside(struct tmpl_lex *lx, struct tmpl_tok *out)
{
    size_t from;
    enum err e;

    lx->at += tmpl_uni_spaces(rest_of(lx));
    from = lx->at;
    *out = (struct tmpl_tok){.pos = from};
    if (from >= lx->src.len)
        return fail(lx, lx->tag_at, "the tag is not closed");
    if (lex_end(lx, out))
        return ERR_OK;
    if (lx->src.p[from] == '\'' || lx->src.p[from] == '"')
        return lex_string(lx, out);
    if (is_digit(lx->src.p[from])) {
        e = lex_number(lx, out);
        out->text = str_of(lx->src.p + from, lx->at - from);
        return e;
    }
    if (!is_name_start(lx->src.p[from]))
        return lex_op(lx, out);
    while (is_name_start(char_at(lx, lx->at)) || is_digit(char_at(lx, lx->at)))
        lx->at++;
    out->kind = TMPL_T_NAME;
    out->text = str_of(lx->src.p + from, lx->at - from);
    return ERR_OK;
}

enum err tmpl_lex_next(struct tmpl_lex *lx, struct tmpl_tok *out)
{
    enum err e;

    if (lx->state != TMPL_L_DATA)
        return lex_inside(lx, out);
    do {
        e = lex_data(lx, out);
    } while (e == ERR_OK && out->kind == TMPL_T_DATA && out->text.len == 0);
    return e;
}
