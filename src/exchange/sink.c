/* sink.c - Header lists. */
#include "exchange/sink.h"

#include "base/arena.h"
#include "wire/http1.h"

static bool value_is_clean(struct str s)
{
    return str_find_char(s, '\r') == s.len && str_find_char(s, '\n') == s.len &&
           str_find_char(s, '\0') == s.len;
}

static void append(struct headers *h, struct header *f)
{
    if (h->last)
        h->last->next = f;
    else
        h->first = f;
    h->last = f;
    h->count++;
}

enum err headers_add(struct headers *h, struct arena *a, struct str name,
                     struct str value)
{
    struct header *f;
    char *text;

    value = str_trim(value);
    if (!http1_is_token(name) || !value_is_clean(value))
        return ERR_SYNTAX;
    f = arena_alloc(a, sizeof(*f) + name.len + value.len);
    if (!f)
        return ERR_NOMEM;
    text = (char *)(f + 1);
    memcpy(text, name.p, name.len);
    if (value.len > 0)
        memcpy(text + name.len, value.p, value.len);
    f->name = str_of(text, name.len);
    f->value = str_of(text + name.len, value.len);
    append(h, f);
    return ERR_OK;
}

enum err headers_share(struct headers *h, struct arena *a, struct str name,
                       const struct header *from)
{
    struct header *f = arena_alloc(a, sizeof(*f));

    if (!f)
        return ERR_NOMEM;
    *f = (struct header){.name = name, .value = from->value};
    append(h, f);
    return ERR_OK;
}

const struct header *headers_find(const struct headers *h, struct str name)
{
    for (const struct header *f = h->first; f; f = f->next)
        if (str_ieq(f->name, name))
            return f;
    return NULL;
}

struct str headers_value(const struct headers *h, struct str name)
{
    const struct header *f = headers_find(h, name);

    return f ? f->value : (struct str){NULL, 0};
}

bool headers_are_coded(const struct headers *h)
{
    for (const struct header *f = h->first; f; f = f->next)
        if (str_ieq(f->name, STR("Content-Encoding")) && f->value.len > 0 &&
            !str_ieq(f->value, STR("identity")))
            return true;
    return false;
}
