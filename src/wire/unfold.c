/* unfold.c - See unfold.h. */
#include "wire/unfold.h"

#include "wire/unfold_priv.h"

void unfold_fail(struct unfold *u, enum err e)
{
    if (u->err == ERR_OK)
        u->err = e;
}

void unfold_text(struct unfold *u, struct str text)
{
    if (u->err == ERR_OK)
        u->err = buf_put_str(u->out, text);
}

void unfold_raw(struct unfold *u, struct str raw)
{
    size_t from = 0, at = 0;

    for (; at < raw.len; at++) {
        if (raw.p[at] != '\n' && raw.p[at] != '\r')
            continue;
        unfold_text(u, str_of(raw.p + from, at - from));
        from = at + 1;
    }
    unfold_text(u, str_of(raw.p + from, at - from));
}

void unfold_member(struct unfold *u, struct str name, struct str raw)
{
    unfold_text(u, STR(",\""));
    unfold_text(u, name);
    unfold_text(u, STR("\":"));
    unfold_raw(u, raw);
}

void unfold_number(struct unfold *u, int64_t n)
{
    char room[STR_I64_MAX];

    unfold_text(u, str_put_i64(room, n));
}

void unfold_begin(struct unfold *u, struct str type)
{
    unfold_text(u, STR("event: "));
    unfold_text(u, type);
    unfold_text(u, STR("\ndata: {\"type\":\""));
    unfold_text(u, type);
    unfold_text(u, STR("\""));
}

void unfold_rest(struct unfold *u, struct str object, const struct str *skip,
                 size_t count)
{
    struct jmember m;
    struct jiter it;

    jiter_init(&it, object);
    while (jiter_next(&it, &m)) {
        size_t i = 0;

        while (i < count && !jval_is(m.key, skip[i]))
            i++;
        if (i < count)
            continue;
        unfold_text(u, STR(","));
        unfold_raw(u, m.key);
        unfold_text(u, STR(":"));
        unfold_raw(u, m.value);
    }
}

struct str unfold_inside(const struct jmember *v)
{
    if (v->type != JT_STRING)
        return STR("");
    return str_of(v->value.p + 1, v->value.len - 2);
}

/* Bytes of what stands at the front of <s> and must stay together. */
static size_t unit_len(struct str s)
{
    const unsigned char c = (unsigned char)s.p[0];

    if (c == '\\') {
        if (s.len < 2 || s.p[1] != 'u')
            return 2;
        /* the first half of a pair, and the second behind it */
        if (s.len >= 12 && (s.p[2] | 32) == 'd' && strchr("89abAB", s.p[3]) &&
            s.p[6] == '\\' && s.p[7] == 'u')
            return 12;
        return 6;
    }
    return c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

bool unfold_piece(struct str *rest, struct str *piece_out)
{
    size_t at = 0;

    if (rest->len == 0)
        return false;
    while (at < rest->len && at < UNFOLD_PIECE)
        at += unit_len(str_skip(*rest, at));
    if (at > rest->len)
        at = rest->len;
    *piece_out = str_of(rest->p, at);
    *rest = str_skip(*rest, at);
    return true;
}

static void unfold_any(struct unfold *u, const struct jmember *root)
{
    switch (u->kind) {
    case ENDPOINT_CHAT:
    case ENDPOINT_COMPLETIONS:
        unfold_chat(u, root);
        return;
    case ENDPOINT_MESSAGES:
        unfold_message(u, root);
        return;
    case ENDPOINT_RESPONSES:
        unfold_response(u, root);
        return;
    default:
        unfold_fail(u, ERR_NOT_FOUND);
        return;
    }
}

enum err unfold_reply(enum endpoint kind, struct str json, bool include_usage,
                      struct buf *sse_out)
{
    struct unfold u = {
        .out = sse_out, .kind = kind, .include_usage = include_usage};
    const size_t start = sse_out->len;
    struct jmember error;
    struct jscan scan;

    if (jscan_run(&scan, json, NULL, NULL) != ERR_OK ||
        scan.root.type != JT_OBJECT)
        return ERR_NOT_FOUND;
    error = jval_member(&scan.root, STR("error"));
    if (!jval_is_unset(&error))
        return ERR_NOT_FOUND;
    unfold_any(&u, &scan.root);
    if (u.err != ERR_OK)
        sse_out->len = start;
    return u.err;
}

bool unfold_next(struct str *rest, struct str *event_out)
{
    const size_t at = str_find(*rest, STR("\n\n"));

    if (rest->len == 0)
        return false;
    *event_out = str_of(rest->p, at < rest->len ? at + 2 : at);
    *rest = str_skip(*rest, event_out->len);
    return true;
}
