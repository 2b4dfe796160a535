/* rewrite.c - See rewrite.h. */
#include "relay/rewrite.h"

#include "base/buf.h"
#include "exchange/exchange.h"
#include "wire/jscan.h"
#include "wire/jsplice.h"

enum err rewrite_model(struct exchange *x, const struct jscan *scan,
                       struct buf *out)
{
    struct jsplice s;
    unsigned renamed = 0;
    enum err e;

    jsplice_init(&s, scan->text, x->arena);
    e = jsplice_rename_reply(&s, scan, x->ask->model, &renamed);
    if (e != ERR_OK)
        return e;
    if (renamed == 0)
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
