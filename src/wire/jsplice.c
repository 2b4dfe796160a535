/* jsplice.c - See jsplice.h. Edits are sorted by offset as they come; commas
 * are decided when the result is given out, when all edits are known. */
#include "wire/jsplice.h"

#include <stdio.h>

#include "wire/jtext.h"

void jsplice_init(struct jsplice *s, struct str text, struct arena *arena)
{
    *s = (struct jsplice){.text = text, .arena = arena};
}

static size_t offset_of(const struct jsplice *s, const char *p)
{
    return (size_t)(p - s->text.p);
}

/* Whether <a> may not stand beside <b>. Inserts at one place are no clash, nor
 * is an insert where a cut begins; two cuts may touch, not overlap. */
static bool clashes(const struct jedit *a, const struct jedit *b)
{
    if (a->insert && b->insert)
        return false;
    if (a->insert)
        return a->at > b->at && a->at < b->at + b->cut;
    if (b->insert)
        return b->at > a->at && b->at < a->at + a->cut;
    return a->at < b->at + b->cut && b->at < a->at + a->cut;
}

/* Put <e> in its place among the edits: after those at the same offset, but
 * inserts before cuts. */
static enum err add_edit(struct jsplice *s, const struct jedit *e)
{
    unsigned i = s->count;

    if (s->count == JSPLICE_EDITS)
        return ERR_FULL;
    for (unsigned k = 0; k < s->count; k++)
        if (clashes(e, &s->edit[k]))
            return ERR_EXISTS;
    while (i > 0 && (s->edit[i - 1].at > e->at ||
                     (s->edit[i - 1].at == e->at && e->insert &&
                      !s->edit[i - 1].insert))) {
        s->edit[i] = s->edit[i - 1];
        i--;
    }
    s->edit[i] = *e;
    s->count++;
    return ERR_OK;
}

enum err jsplice_replace(struct jsplice *s, struct str value, struct str with)
{
    struct jedit e = {
        .at = offset_of(s, value.p), .cut = value.len, .put = with};

    return add_edit(s, &e);
}

/* Bytes that one byte beyond ASCII, or control, of <s> may take, quoted. */
enum { QUOTED_MAX = 6 };

/* Write the escaped form of the character at <p>; tells the bytes taken. */
static unsigned quote_char(const char *p, const char *end, char to[QUOTED_MAX],
                           unsigned *len_out)
{
    static const char hex[] = "0123456789abcdef";
    static const char from[] = "\"\\\b\f\n\r\t", into[] = "\"\\bfnrt";
    unsigned char c = (unsigned char)*p;
    const char *known = memchr(from, c, sizeof(from) - 1);
    unsigned n;

    if (known) {
        to[0] = '\\';
        to[1] = into[known - from];
        *len_out = 2;
        return 1;
    }
    if (c < 0x20 || c == 0x7F) {
        memcpy(to, "\\u00", 4);
        to[4] = hex[c >> 4];
        to[5] = hex[c & 15];
        *len_out = 6;
        return 1;
    }
    n = jtext_utf8_len(p, end);
    *len_out = n ? n : 3;
    memcpy(to, n ? p : "\xEF\xBF\xBD", *len_out);
    return n ? n : 1;
}

/* Bytes that stand for themselves between quotes: ASCII that can be seen. */
static const bool is_plain[256] = {
    [' '] = true,
    ['!'] = true,
    ['#' ... '['] = true,
    [']' ... '~'] = true,
};

/* Bytes from <p> on that stand for themselves between quotes. */
static size_t plain_len(const char *p, const char *end)
{
    const char *at = p;

    while (at < end && is_plain[(unsigned char)*at])
        at++;
    return (size_t)(at - p);
}

/* Bytes of <s> quoted, or write them to <to> when it is not NULL. */
static size_t quote(struct str s, char *to)
{
    const char *p = s.p, *end = s.p + s.len;
    char c[QUOTED_MAX];
    size_t len = 1, run;
    unsigned n;

    if (to)
        to[0] = '"';
    while (p < end) {
        run = plain_len(p, end);
        if (to)
            memcpy(to + len, p, run);
        len += run;
        p += run;
        if (p == end)
            break;
        p += quote_char(p, end, c, &n);
        if (to)
            memcpy(to + len, c, n);
        len += n;
    }
    if (to)
        to[len] = '"';
    return len + 1;
}

enum err json_put_str(struct buf *out, struct str s)
{
    bool plain = s.len == 0 || plain_len(s.p, s.p + s.len) == s.len;
    size_t len = plain ? s.len + 2 : quote(s, NULL);
    enum err e = buf_reserve(out, len);

    if (e != ERR_OK)
        return e;
    if (plain) {
        out->p[out->len] = '"';
        if (s.len > 0)
            memcpy(out->p + out->len + 1, s.p, s.len);
        out->len += len;
        out->p[out->len - 1] = '"';
        return ERR_OK;
    }
    quote(s, out->p + out->len);
    out->len += len;
    return ERR_OK;
}

enum err json_put_text(struct buf *out, struct str s)
{
    enum err e = json_put_str(out, s);

    if (e != ERR_OK)
        return e;
    out->len -= 2;
    size_t len = quote(s, NULL) - 2;
    char *start = out->p + out->len - len;
    memmove(start, start + 1, len);
    return ERR_OK;
}

struct str json_quote(struct arena *arena, struct str s)
{
    size_t len = quote(s, NULL);
    char *p = arena_alloc(arena, len);

    if (!p)
        return (struct str){0};
    quote(s, p);
    return str_of(p, len);
}

/* Whether the raw object has no members. */
static bool is_empty_object(struct str object)
{
    const char *end = object.p + object.len;
    const char *p = jtext_skip_space(object.p + 1, end);

    return p == end || *p == '}';
}

/* Whether the insert at <i> must be followed by a comma: another one of the
 * same object comes, or the object keeps a member. */
static bool needs_comma(const struct jsplice *s, unsigned i)
{
    const struct jedit *e = &s->edit[i];

    if (i + 1 < s->count && s->edit[i + 1].insert &&
        s->edit[i + 1].object == e->object)
        return true;
    if (e->empties)
        return false;
    for (unsigned k = i + 1; k < s->count; k++)
        if (s->edit[k].empties && !s->edit[k].insert &&
            s->edit[k].object == e->object)
            return false;
    return true;
}

enum err jsplice_insert(struct jsplice *s, struct str object, struct str name,
                        struct str value)
{
    struct str key = json_quote(s->arena, name);
    struct jedit e = {.insert = true};
    char *p;

    if (!key.p)
        return ERR_NOMEM;
    p = arena_alloc(s->arena, key.len + 1 + value.len);
    if (!p)
        return ERR_NOMEM;
    memcpy(p, key.p, key.len);
    p[key.len] = ':';
    memcpy(p + key.len + 1, value.p, value.len);
    e.put = str_of(p, key.len + 1 + value.len);
    e.object = offset_of(s, object.p);
    e.at = e.object + 1;
    e.empties = is_empty_object(object); /* was empty all along */
    return add_edit(s, &e);
}

enum err jsplice_remove(struct jsplice *s, struct str object,
                        const struct jmember *m)
{
    const char *start = m->key.p, *end = m->value.p + m->value.len;
    const char *before = start - 1; /* a key always follows `{` or `,` */
    const char *after = jtext_skip_space(end, object.p + object.len);
    struct jedit e = {.object = offset_of(s, object.p)};

    while (*before == ' ' || *before == '\n' || *before == '\r' ||
           *before == '\t')
        before--;
    if (*before == ',')
        start = before;
    else if (*after == ',') /* the next one moves to its place */
        end = jtext_skip_space(after + 1, object.p + object.len);
    else
        e.empties = true;
    e.at = offset_of(s, start);
    e.cut = (size_t)(end - start);
    return add_edit(s, &e);
}

size_t jsplice_len(const struct jsplice *s)
{
    size_t len = s->text.len;

    for (unsigned i = 0; i < s->count; i++) {
        const struct jedit *e = &s->edit[i];
        len = len - e->cut + e->put.len;
        if (e->insert && needs_comma(s, i))
            len++;
    }
    return len;
}

static void add_slot(struct iovec *iov, unsigned *n, struct str bytes)
{
    /* iov_base is not const because readv() writes there; we only send */
    union {
        const void *in;
        void *out;
    } base = {.in = bytes.p};

    if (bytes.len > 0)
        iov[(*n)++] = (struct iovec){base.out, bytes.len};
}

unsigned jsplice_iov(const struct jsplice *s, struct iovec iov[JSPLICE_IOV])
{
    size_t at = 0;
    unsigned n = 0;

    for (unsigned i = 0; i < s->count; i++) {
        const struct jedit *e = &s->edit[i];
        add_slot(iov, &n, str_of(s->text.p + at, e->at - at));
        add_slot(iov, &n, e->put);
        if (e->insert && needs_comma(s, i))
            add_slot(iov, &n, STR(","));
        at = e->at + e->cut;
    }
    add_slot(iov, &n, str_of(s->text.p + at, s->text.len - at));
    return n;
}

enum err jsplice_put(const struct jsplice *s, struct buf *out)
{
    struct iovec iov[JSPLICE_IOV];
    unsigned n = jsplice_iov(s, iov);
    enum err e = buf_reserve(out, jsplice_len(s));

    for (unsigned i = 0; i < n && e == ERR_OK; i++)
        e = buf_put(out, iov[i].iov_base, iov[i].iov_len);
    return e;
}

enum err jsplice_rename(struct jsplice *s, const struct jmember *m,
                        struct str name)
{
    struct str quoted;

    if (m->type != JT_STRING)
        return ERR_BAD_PARAM;
    quoted = json_quote(s->arena, name);
    if (!quoted.p)
        return ERR_NOMEM;
    return jsplice_replace(s, m->value, quoted);
}

enum err jsplice_rename_reply(struct jsplice *s, const struct jscan *reply,
                              struct str quoted, unsigned *renamed_out)
{
    static const enum jrep places[] = {JREP_MODEL, JREP_RESPONSE_MODEL,
                                       JREP_MESSAGE_MODEL};
    unsigned n = 0;

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        const struct jmember *m = &reply->m[places[i]];
        if (m->type != JT_STRING || str_eq(m->value, STR("\"\"")))
            continue;
        enum err e = jsplice_replace(s, m->value, quoted);
        if (e != ERR_OK)
            return e;
        n++;
    }
    *renamed_out = n;
    return ERR_OK;
}

enum err jsplice_want_usage(struct jsplice *s, const struct jscan *request)
{
    const struct jmember *options = &request->m[JREQ_STREAM_OPTIONS];
    const struct jmember *usage = &request->m[JREQ_INCLUDE_USAGE];

    if (request->root.type != JT_OBJECT)
        return ERR_BAD_PARAM;
    switch (options->type) {
    case JT_NONE:
        return jsplice_insert(s, request->root.value, STR("stream_options"),
                              STR("{\"include_usage\":true}"));
    case JT_NULL:
        return jsplice_replace(s, options->value,
                               STR("{\"include_usage\":true}"));
    case JT_OBJECT:
        if (usage->type == JT_TRUE)
            return ERR_OK;
        if (usage->type != JT_NONE)
            return jsplice_replace(s, usage->value, STR("true"));
        return jsplice_insert(s, options->value, STR("include_usage"),
                              STR("true"));
    default:
        return ERR_BAD_PARAM;
    }
}

enum err jsplice_cap(struct jsplice *s, const struct jscan *request,
                     const struct jmember *m, struct str name, int64_t cap_tok)
{
    char *text = arena_printf(s->arena, "%lld", (long long)cap_tok);

    if (!text)
        return ERR_NOMEM;
    if (m->type != JT_NONE)
        return jsplice_replace(s, m->value, str_from(text));
    if (request->root.type != JT_OBJECT)
        return ERR_BAD_PARAM;
    return jsplice_insert(s, request->root.value, name, str_from(text));
}
