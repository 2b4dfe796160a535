/* provider.c - Fields of a request to a provider. A client's field crosses
 * unless it belongs to its connection, carries one of its secrets, is framing,
 * or is set by the configuration; the key is added here and nowhere else. */
#include "upstream/provider.h"

#include "base/arena.h"
#include "base/buf.h"
#include "conf/conf.h"
#include "upstream/upstream.h"
#include "wire/http1.h"

/* Fields that never cross, besides those of http1_is_hop_header(). */
static const struct str stays[] = {
    {"Host", 4},
    {"Authorization", 13},
    {"x-api-key", 9},
    {"api-key", 7},
    {"Cookie", 6},
    {"Cookie2", 7},
    {"Content-Length", 14},
    {"Expect", 6},
    {"Accept-Encoding", 15},
};

void fields_put(struct fields *f, struct str name, struct str value)
{
    size_t len = name.len + 2 + value.len;
    struct curl_slist *line = arena_alloc(f->arena, sizeof(*line) + len + 1);
    char *p;

    if (!line) {
        f->failed = true;
        return;
    }
    p = (char *)(line + 1);
    line->data = p;
    memcpy(p, name.p, name.len);
    p += name.len;
    if (value.len == 0) {
        *p = ';';
    } else {
        memcpy(p, ": ", 2);
        memcpy(p + 2, value.p, value.len);
    }
    if (f->last)
        f->last->next = line;
    else
        f->first = line;
    f->last = line;
}

void fields_tell(struct fields *f, const char *line)
{
    struct str s = str_from(line);
    struct curl_slist *item = arena_alloc(f->arena, sizeof(*item) + s.len + 1);

    if (!item) {
        f->failed = true;
        return;
    }
    item->data = (char *)(item + 1);
    memcpy(item->data, s.p, s.len);
    if (f->last)
        f->last->next = item;
    else
        f->first = item;
    f->last = item;
}

bool fields_have(const struct fields *f, struct str name)
{
    for (const struct curl_slist *l = f->first; l; l = l->next)
        if (strncasecmp(l->data, name.p, name.len) == 0 &&
            (l->data[name.len] == ':' || l->data[name.len] == ';'))
            return true;
    return false;
}

struct str provider_join(struct arena *a, struct str base, struct str tail)
{
    char *p = arena_alloc(a, base.len + tail.len + 1);

    if (!p)
        return (struct str){NULL, 0};
    if (base.len > 0)
        memcpy(p, base.p, base.len);
    if (tail.len > 0)
        memcpy(p + base.len, tail.p, tail.len);
    return (struct str){p, base.len + tail.len};
}

enum err provider_put_encoded(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                     (c >= 'A' && c <= 'Z') || c == '-' || c == '.' ||
                     c == '_' || c == '~';
        enum err e = plain ? buf_put(b, &c, 1) : buf_printf(b, "%%%02X", c);

        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

const struct provider *provider_of(const struct conf_upstream *up)
{
    switch (up->dialect) {
    case CONF_DIALECT_AZURE:
        return &provider_azure;
    case CONF_DIALECT_ANTHROPIC:
        return &provider_anthropic;
    case CONF_DIALECT_OPENAI:
        break;
    }
    return &provider_openai;
}

struct str provider_target(struct arena *a, const struct xfer_spec *spec)
{
    struct str t = provider_of(spec->up)->target(a, spec);

    /* A base_url without a path and a request without one. */
    if (t.p && (t.len == 0 || t.p[0] != '/'))
        return provider_join(a, STR("/"), t);
    return t;
}

bool provider_path_has_model(const struct conf_upstream *up, struct str suffix)
{
    const struct provider *pr = provider_of(up);

    return pr->path_has_model && pr->path_has_model(up, suffix);
}

static bool field_is_configured(const struct conf_upstream *up, struct str name)
{
    for (size_t i = 0; i < up->n_headers; i++)
        if (str_ieq(up->headers[i].name, name))
            return true;
    return false;
}

/* Whether the client's field <name> goes to the upstream. */
static bool field_crosses(const struct xfer_spec *spec, struct str name)
{
    for (size_t i = 0; i < sizeof(stays) / sizeof(stays[0]); i++)
        if (str_ieq(name, stays[i]))
            return false;
    return !http1_is_hop_header(name) &&
           !http1_is_named_by_connection(spec->client_head, name) &&
           !field_is_configured(spec->up, name);
}

/* Browsers must send their key as a WebSocket subprotocol: that member stays
 * here, the others cross. */
static void put_protocols(struct fields *f, struct str name, struct str list)
{
    struct str kept = {NULL, 0}, member;

    while (http1_next_member(&list, &member)) {
        if (str_starts(member, STR("openai-insecure-api-key.")))
            continue;
        if (kept.len > 0)
            kept = provider_join(f->arena, kept, STR(", "));
        kept = provider_join(f->arena, kept, member);
        if (!kept.p) {
            f->failed = true;
            return;
        }
    }
    if (kept.len > 0)
        fields_put(f, name, kept);
}

static void put_client_field(struct fields *f, struct str name,
                             struct str value)
{
    if (str_ieq(name, STR("Sec-WebSocket-Protocol")))
        put_protocols(f, name, value);
    else
        fields_put(f, name, value);
}

static void put_key(struct fields *f, const struct xfer_spec *spec)
{
    const struct provider *pr = provider_of(spec->up);
    struct str key, value;

    if (spec->up->n_keys == 0 || field_is_configured(spec->up, pr->key_name))
        return;
    key = secret_reveal(&spec->up->keys[spec->key_index % spec->up->n_keys]);
    value = provider_join(f->arena, pr->key_prefix, key);
    if (!value.p) {
        f->failed = true;
        return;
    }
    fields_put(f, pr->key_name, value);
}

void provider_fields(struct fields *f, const struct xfer_spec *spec,
                     bool upgrade)
{
    const struct http1_head *head = spec->client_head;
    const struct provider *pr = provider_of(spec->up);

    for (size_t i = 0; head && i < head->count; i++)
        if (field_crosses(spec, head->headers[i].name))
            put_client_field(f, head->headers[i].name, head->headers[i].value);
    for (size_t i = 0; i < spec->up->n_headers; i++)
        fields_put(f, spec->up->headers[i].name,
                   secret_reveal(&spec->up->headers[i].value));
    put_key(f, spec);
    if (pr->extra)
        pr->extra(f, spec);
    if (upgrade) {
        fields_put(f, STR("Connection"), STR("Upgrade"));
        fields_put(f, STR("Upgrade"), STR("websocket"));
    } else if (!fields_have(f, STR("Accept-Encoding"))) {
        fields_put(f, STR("Accept-Encoding"), STR("identity"));
    }
}
