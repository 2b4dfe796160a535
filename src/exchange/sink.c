/* sink.c - Header lists. */
#include "exchange/sink.h"

#include "base/arena.h"

static bool name_is_token(struct str s)
{
    static const char extra[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                     (c >= 'A' && c <= 'Z');

        if (!alnum && (c == 0 || !strchr(extra, c)))
            return false;
    }
    return s.len > 0;
}

static bool value_is_clean(struct str s)
{
    return str_find_char(s, '\r') == s.len && str_find_char(s, '\n') == s.len &&
           str_find_char(s, '\0') == s.len;
}

enum err headers_add(struct headers *h, struct arena *a, struct str name,
                     struct str value)
{
    struct header *f;

    if (!name_is_token(name) || !value_is_clean(value))
        return ERR_SYNTAX;
    f = arena_alloc(a, sizeof(*f));
    if (!f)
        return ERR_NOMEM;
    f->name = arena_dup(a, name);
    f->value = arena_dup(a, str_trim(value));
    if (!f->name.p || !f->value.p)
        return ERR_NOMEM;
    if (h->last)
        h->last->next = f;
    else
        h->first = f;
    h->last = f;
    h->count++;
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
