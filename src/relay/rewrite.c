/* rewrite.c - See rewrite.h. */
#include "relay/rewrite.h"

#include "base/buf.h"
#include "wire/jscan.h"
#include "wire/jsplice.h"

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

/* Length of the raw string that starts at <s>, up to its closing quote. */
static size_t string_bytes(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '"')
            return i;
        if (s.p[i] == '\\')
            i++;
    }
    return s.len;
}

size_t rewrite_text_bytes(struct str data)
{
    static const struct str keys[] = {
        {"\"content\":\"", 11},   {"\"text\":\"", 8},
        {"\"delta\":\"", 9},      {"\"arguments\":\"", 13},
        {"\"thinking\":\"", 12},  {"\"partial_json\":\"", 16},
        {"\"reasoning\":\"", 13}, {"\"reasoning_content\":\"", 21},
    };
    size_t sum = 0;

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        size_t at = str_find(data, keys[i]);

        if (at < data.len)
            sum += string_bytes(str_skip(data, at + keys[i].len));
    }
    return sum;
}
