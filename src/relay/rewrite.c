/* rewrite.c - See rewrite.h. */
#include "relay/rewrite.h"

#include "base/buf.h"
#include "wire/jscan.h"
#include "wire/jsplice.h"
#include "wire/sse.h"

/* Whether <scan> is a chunk of chat whose usage is null. */
static bool has_usage_null(const struct jscan *scan)
{
    return scan->m[JREP_CHOICES].type == JT_ARRAY &&
           scan->m[JREP_USAGE].type == JT_NULL;
}

enum err rewrite_json(const struct rewrite *how, const struct jscan *scan,
                      struct buf *out)
{
    struct jsplice s;
    unsigned renamed = 0;
    enum err e = ERR_OK;

    jsplice_init(&s, scan->text, NULL); /* nothing below composes bytes */
    if (how->model.len > 0)
        e = jsplice_rename_reply(&s, scan, how->model, &renamed);
    if (e == ERR_OK && how->usage_null && has_usage_null(scan))
        e = jsplice_remove(&s, scan->root.value, &scan->m[JREP_USAGE]);
    if (e != ERR_OK)
        return e;
    if (s.count == 0)
        return ERR_NOT_FOUND;
    e = buf_reserve(out, jsplice_len(&s));
    return e == ERR_OK ? jsplice_put(&s, out) : e;
}

#define LONG_TEXT   24 /* bytes: more than a token has */
#define LETTERS_TOK 3  /* that a token has at least, of a run of them */

/* Take the next string off <rest>: its raw text without the quotes. False when
 * there is none; one that is torn ends with the data. */
static bool next_string(struct str *rest, struct str *raw_out)
{
    struct str from = str_skip(*rest, str_find_char(*rest, '"'));
    size_t at = 0;

    if (from.len == 0)
        return false;
    from = str_skip(from, 1);
    for (;;) {
        size_t slashes = 0;

        at += str_find_char(str_skip(from, at), '"');
        while (slashes < at && from.p[at - slashes - 1] == '\\')
            slashes++;
        if (at == from.len || slashes % 2 == 0)
            break;
        at++;
    }
    *raw_out = str_of(from.p, at);
    *rest = at < from.len ? str_skip(from, at + 1) : str_skip(from, at);
    return true;
}

/* Whether members of that name carry generated text. Where every piece is a
 * `delta` the other names repeat at the end what was sent before. */
static bool carries_text(struct str name, enum endpoint_end kind)
{
    static const struct str names[] = {
        {"content", 7},       {"text", 4},
        {"arguments", 9},     {"thinking", 8},
        {"partial_json", 12}, {"reasoning", 9},
        {"refusal", 7},       {"reasoning_content", 17},
    };

    if (kind == ENDPOINT_END_RESPONSES || kind == ENDPOINT_END_TRANSCRIPT)
        return str_eq(name, STR("delta"));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (str_eq(name, names[i]))
            return true;
    return str_eq(name, STR("delta"));
}

/* Take the next generated text off <rest>, as next_string(). */
static bool next_text(struct str *rest, enum endpoint_end kind,
                      struct str *text_out)
{
    struct str name;

    while (next_string(rest, &name)) {
        *rest = json_skip_space(*rest);
        if (rest->len == 0 || rest->p[0] != ':')
            continue; /* a value */
        *rest = json_skip_space(str_skip(*rest, 1));
        if (rest->len == 0 || rest->p[0] != '"' || !carries_text(name, kind))
            continue;
        if (next_string(rest, text_out))
            return true;
    }
    return false;
}

size_t rewrite_text_bytes(struct str data, enum endpoint_end kind)
{
    struct str text;
    size_t sum = 0;

    while (next_text(&data, kind, &text))
        sum += text.len;
    return sum;
}

static bool is_letter(char c)
{
    return ((unsigned char)c | 32) >= 'a' && ((unsigned char)c | 32) <= 'z';
}

/* The tokens of <text>, escapes as they stand. */
static size_t dense_tokens(struct str text)
{
    size_t n = 0, run = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (is_letter(text.p[i])) {
            n += run % LETTERS_TOK == 0;
            run++;
            continue;
        }
        run = 0;
        n += text.p[i] != ' ';
    }
    return n;
}

size_t rewrite_text_tokens(struct str data, enum endpoint_end kind)
{
    struct str text;
    size_t sum = 0;

    while (next_text(&data, kind, &text)) {
        const size_t dense = text.len > LONG_TEXT ? dense_tokens(text) : 1;

        if (text.len > 0)
            sum += dense > 0 ? dense : 1;
    }
    return sum;
}

enum err rewrite_put_event(const struct sse_event *ev, struct str data,
                           struct buf *out)
{
    uintptr_t from = (uintptr_t)ev->raw.p, at = (uintptr_t)ev->data.p;
    enum err e;

    if (at < from || at - from >= ev->raw.len)
        return sse_put(out, ev->name, data);
    e = buf_put(out, ev->raw.p, at - from);
    if (e == ERR_OK)
        e = buf_put_str(out, data);
    return e == ERR_OK
               ? buf_put_str(out, str_skip(ev->raw, at - from + ev->data.len))
               : e;
}
