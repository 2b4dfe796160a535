/* conf_value.c - One value of a row: from its node into the snapshot. A
 * mistake is told once, where it stands, and leaves the default. */
#include <inttypes.h>
#include <stdio.h>

#include "conf/conf_bind.h"
#include "conf/conf_parse.h"

#define TEXT_LEN_MAX 1024
#define PATH_LEN_MAX 4000
#define GPUS_MAX     16 /* of one model */
#define MODEL_HOW    "1 to 96 letters, digits and any of . _ - / : @ +"

/* Tell that <n> is no value of the row, and how one is written. */
static void bad(struct bind *b, const struct opt *o, const struct ynode *n,
                const char *how)
{
    static const char *const kinds[YNODE_KIND_COUNT] = {"nothing", "a value",
                                                        "a list", "a mapping"};

    if (n->kind != YNODE_SCALAR)
        say_error(b->say, n, "%s: %s where a %s belongs; write %s", o->path,
                  kinds[n->kind], opt_type_name(o->type), how);
    else
        say_error(b->say, n, "%s: \"%s\" will not do; write %s", o->path,
                  conf_quote(n->text).c, how);
}

static void put_str(struct bind *b, const struct opt *o, void *base,
                    struct str s)
{
    struct str copy = bind_dup(b, s);

    memcpy((char *)base + o->off, &copy, sizeof(copy));
}

static void bind_bool(struct bind *b, const struct opt *o,
                      const struct ynode *n, void *base)
{
    bool yes = str_ieq(n->text, STR("true"));

    if (!yes && !str_ieq(n->text, STR("false")))
        bad(b, o, n, "true or false");
    else
        memcpy((char *)base + o->off, &yes, sizeof(yes));
}

static void bind_count(struct bind *b, const struct opt *o,
                       const struct ynode *n, void *base)
{
    uint64_t v = 0;
    char how[96];

    if (!((o->flags & OPT_AUTO) && str_eq(n->text, STR("auto"))) &&
        (!str_to_u64(n->text, &v) || v < (uint64_t)o->min ||
         v > (uint64_t)o->max)) {
        snprintf(how, sizeof(how),
                 "a whole number from %" PRId64 " to %" PRId64 "%s", o->min,
                 o->max, o->flags & OPT_AUTO ? ", or auto" : "");
        bad(b, o, n, how);
        return;
    }
    memcpy((char *)base + o->off, &v, sizeof(v));
}

static void bind_duration(struct bind *b, const struct opt *o,
                          const struct ynode *n, void *base)
{
    int64_t ms;

    if (!conf_parse_duration(n->text, &ms))
        bad(b, o, n, "a whole number and its unit: 500ms, 10s, 5m, 1h or 30d");
    else if (ms < o->min || ms > o->max)
        say_error(b->say, n,
                  "%s: \"%s\" is out of range; write a duration from "
                  "%" PRId64 "ms to %" PRId64 "s",
                  o->path, conf_quote(n->text).c, o->min, o->max / 1000);
    else
        memcpy((char *)base + o->off, &ms, sizeof(ms));
}

/* The largest unit that divides <v>, to name a range. */
static const char *size_text(uint64_t v, char *p, size_t room)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t u = 0;

    while (u < 4 && v > 0 && v % 1024 == 0) {
        v /= 1024;
        u++;
    }
    snprintf(p, room, "%" PRIu64 "%s", v, units[u]);
    return p;
}

static void bind_size(struct bind *b, const struct opt *o,
                      const struct ynode *n, void *base)
{
    bool rate = o->type == OPT_RATE;
    char lo[32];
    char hi[32];
    uint64_t v;

    if (rate ? !conf_parse_rate(n->text, &v) : !conf_parse_size(n->text, &v))
        bad(b, o, n,
            rate ? "a whole number and its unit: 512B/s, 1KiB/s or 1MiB/s"
                 : "a whole number and its unit: 512B, 64KiB, 8MiB or 2GiB");
    else if (v < (uint64_t)o->min || v > (uint64_t)o->max)
        say_error(b->say, n,
                  "%s: \"%s\" is out of range; write a size from %s to %s",
                  o->path, conf_quote(n->text).c,
                  size_text((uint64_t)o->min, lo, sizeof(lo)),
                  size_text((uint64_t)o->max, hi, sizeof(hi)));
    else
        memcpy((char *)base + o->off, &v, sizeof(v));
}

static void bind_mode(struct bind *b, const struct opt *o,
                      const struct ynode *n, void *base)
{
    uint32_t mode;

    if (!conf_parse_mode(n->text, &mode))
        bad(b, o, n, "an octal mode like 0660");
    else
        memcpy((char *)base + o->off, &mode, sizeof(mode));
}

static void bind_enum(struct bind *b, const struct opt *o,
                      const struct ynode *n, void *base)
{
    char how[128] = "one of";

    for (int i = 0; o->names[i]; i++) {
        size_t used = strlen(how);

        snprintf(how + used, sizeof(how) - used, "%s %s", i > 0 ? "," : "",
                 o->names[i]);
        if (!str_eq(n->text, str_from(o->names[i])))
            continue;
        memcpy((char *)base + o->off, &i, sizeof(i));
        return;
    }
    bad(b, o, n, how);
}

/* The bit of <s> among the row's names, 0: it is none of them. */
static unsigned bit_of(const struct opt *o, struct str s)
{
    for (unsigned i = 0; o->names[i]; i++)
        if (str_eq(s, str_from(o->names[i])))
            return 1U << i;
    return 0;
}

/* A list of names. The default comes as it is written, in brackets: of one
 * name at most. */
static void bind_set(struct bind *b, const struct opt *o, const struct ynode *n,
                     void *base)
{
    unsigned v = 0;
    char how[128] = "a list of any of";

    for (int i = 0; o->names[i]; i++) {
        size_t used = strlen(how);

        snprintf(how + used, sizeof(how) - used, "%s %s", i > 0 ? "," : "",
                 o->names[i]);
    }
    if (n->kind == YNODE_SCALAR && n->line == 0) {
        v = bit_of(o, str_of(n->text.p + 1, n->text.len - 2));
    } else if (n->kind != YNODE_LIST) {
        bad(b, o, n, how);
        return;
    }
    for (const struct ypair *p = n->pairs; p; p = p->next) {
        unsigned bit = bit_of(o, p->node->text);

        if (!bind_visit(b, p->node))
            return;
        if (p->node->kind != YNODE_SCALAR || bit == 0)
            bad(b, o, p->node, how);
        v |= bit;
    }
    memcpy((char *)base + o->off, &v, sizeof(v));
}

static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (c >= '0' && c <= '9') || strchr("._-", c)))
            return false;
    }
    return s.len > 0 && s.len <= 64;
}

/* Whether a URL's path can hold <s>: no segment is empty or made of dots. */
static bool segments_are_plain(struct str s)
{
    while (s.len > 0) {
        size_t end = str_find_char(s, '/');
        struct str part = str_of(s.p, end);

        if (end == 0 || end + 1 == s.len || str_eq(part, STR(".")) ||
            str_eq(part, STR("..")))
            return false;
        s = str_skip(s, end < s.len ? end + 1 : end);
    }
    return true;
}

/* What is wrong with <s> as the name of an engine's model, or NULL. */
static const char *model_fault(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!is_name(str_of(s.p + i, 1)) && !strchr("/:@+", s.p[i]))
            return MODEL_HOW;
    if (s.len == 0 || s.len > CONF_MODEL_NAME_MAX)
        return MODEL_HOW;
    if (!segments_are_plain(s))
        return "one whose parts between slashes are neither empty nor dots: "
               "/v1/models/{id} could not name it";
    return NULL;
}

/* Whether <s> is numbers of GPUs, each once, with commas between. */
static bool is_gpus(struct str s)
{
    uint64_t seen = 0;
    unsigned n = 0;

    for (bool more = true; more; n++) {
        const size_t comma = str_find(s, STR(","));
        uint64_t v;

        more = comma < s.len;
        if (!str_to_u64(more ? str_of(s.p, comma) : s, &v) || v >= 64 ||
            seen >> v & 1)
            return false;
        seen |= 1ull << v;
        s = more ? str_skip(s, comma + 1) : s;
    }
    return n <= GPUS_MAX;
}

static bool is_device(struct str s)
{
    return str_eq(s, STR("auto")) || str_eq(s, STR("cpu")) ||
           str_eq(s, STR("cuda:*")) ||
           (str_starts(s, STR("cuda:")) && is_gpus(str_skip(s, 5)));
}

static bool is_path(struct str s)
{
    return s.len > 0 && s.p[0] == '/' && s.len <= PATH_LEN_MAX;
}

static bool origin_is_good(struct str s)
{
    size_t at = str_find(s, STR("://"));

    if (str_eq(s, STR("*")) || str_eq(s, STR("null")))
        return true;
    return at > 0 && at < s.len && conf_parse_is_authority(str_skip(s, at + 3));
}

static bool host_is_good(struct str s)
{
    if (str_starts(s, STR("*.")))
        s = str_skip(s, 2);
    return conf_parse_is_host(s);
}

/* Whether <s> is right for the row, else how it is written. */
static const char *text_fault(enum opt_type t, struct str s)
{
    switch (t) {
    case OPT_NAME:
        return is_name(s) ? NULL : "1 to 64 letters, digits, '.', '_' or '-'";
    case OPT_MODEL:
        return model_fault(s);
    case OPT_TEXT:
        return s.len > 0 && s.len <= TEXT_LEN_MAX ? NULL
                                                  : "1 to 1024 bytes of text";
    case OPT_PATH:
        return is_path(s) ? NULL : "an absolute path: /...";
    case OPT_ACCESS:
        return is_path(s) || str_eq(s, STR("stderr")) || str_eq(s, STR("off"))
                   ? NULL
                   : "stderr, off, or an absolute path: /...";
    case OPT_WEIGHTS:
        return is_path(s) || str_starts(s, STR("synthetic:"))
                   ? NULL
                   : "an absolute path: /...";
    case OPT_DEVICE:
        return is_device(s) ? NULL : "auto, cpu, cuda:0, cuda:0,1 or cuda:*";
    case OPT_GLOB:
    case OPT_GLOBS:
        return conf_parse_is_glob(s)
                   ? NULL
                   : "a model name or a glob of at most 8 stars";
    case OPT_ORIGINS:
        return origin_is_good(s)
                   ? NULL
                   : "\"*\" or an origin like https://app.example.com, "
                     "without a path";
    case OPT_HOST:
        return conf_parse_is_host(s) ? NULL : "a host name";
    case OPT_HOSTS:
        return host_is_good(s) ? NULL : "a host name or *.domain";
    default:
        return s.len > 0 && s.len <= TEXT_LEN_MAX ? NULL : "a short text";
    }
}

static void bind_text(struct bind *b, const struct opt *o,
                      const struct ynode *n, void *base)
{
    const char *how = text_fault(o->type, n->text);

    if (n->text.len == 0 && (o->flags & OPT_EMPTY))
        how = NULL;
    if (how)
        bad(b, o, n, how);
    else
        put_str(b, o, base, n->text);
}

static void bind_net(struct bind *b, const struct opt *o, const struct ynode *n,
                     void *base)
{
    struct conf_addr addr = {0};
    struct conf_url url = {0};
    const char *why = "";
    enum err e = ERR_OK;

    if (o->type == OPT_ADDRESS && n->text.len > 0)
        e = conf_parse_addr(b->mem, n->text, &addr, &why);
    else if (o->type != OPT_ADDRESS && n->text.len > 0)
        e = conf_parse_url(b->mem, n->text, &url, &why);
    else if (!(o->flags & OPT_EMPTY)) {
        e = ERR_SYNTAX;
        why = "is empty; write it or remove the key";
    }
    if (e == ERR_NOMEM)
        b->nomem = true;
    else if (e != ERR_OK)
        say_error(b->say, n, "%s: \"%s\" %s", o->path,
                  str_find_char(n->text, '@') < n->text.len
                      ? "..."
                      : conf_quote(n->text).c,
                  why);
    else if (o->type == OPT_ADDRESS)
        memcpy((char *)base + o->off, &addr, sizeof(addr));
    else if (o->type == OPT_BASE_URL)
        memcpy((char *)base + o->off, &url, sizeof(url));
    else
        memcpy((char *)base + o->off, &url.text, sizeof(url.text));
}

/* A URL that may hold a password: kept as a secret. */
static void bind_secret_url(struct bind *b, const struct opt *o,
                            const struct ynode *n, void *base)
{
    static const char *const proxies[] = {"http://", "https://", "socks5://",
                                          "socks5h://", NULL};
    static const char *const stores[] = {"redis://", "rediss://", NULL};
    const char *const *s = o->type == OPT_PROXY ? proxies : stores;
    struct secret v = {0};
    struct str rest;
    size_t at;

    if (n->kind == YNODE_SCALAR && n->text.len == 0)
        return;
    at = str_find_char(n->text, '@');
    if (!bind_secret(b, o, n, at < n->text.len ? LITERAL_WARN : LITERAL_FINE,
                     false, &v))
        return;
    rest = secret_reveal(&v);
    while (*s && !str_starts(rest, str_from(*s)))
        s++;
    if (*s)
        rest = str_skip(rest, strlen(*s));
    at = str_find_char(rest, '@');
    rest = str_skip(rest, at < rest.len ? at + 1 : 0);
    if (o->type == OPT_REDIS || str_ends(rest, STR("/")))
        rest.len = str_find_char(rest, '/');
    if (secret_reveal(&v).len > 0 && (!*s || !conf_parse_is_authority(rest)))
        say_error(b->say, n, "%s: not a URL of that kind; write e.g. %s",
                  o->path, o->example);
    else
        memcpy((char *)base + o->off, &v, sizeof(v));
}

static void bind_secrets(struct bind *b, const struct opt *o,
                         const struct ynode *n, void *base)
{
    bool one = o->type == OPT_SECRET;
    size_t count = one ? 1 : n->n_pairs;
    struct secret *v;

    if (!one &&
        (n->kind != YNODE_LIST || count == 0 || count > (size_t)o->max)) {
        say_error(b->say, n,
                  "%s needs a list of 1 to %" PRId64 " secrets; write %s",
                  o->path, o->max, o->example);
        return;
    }
    v = bind_array(b, o, base, count, sizeof(*v));
    if (!v)
        return;
    if (one) {
        bind_secret(b, o, n, LITERAL_WARN, false, v);
        return;
    }
    for (const struct ypair *p = n->pairs; p; p = p->next)
        if (bind_visit(b, p->node))
            bind_secret(b, o, p->node, LITERAL_WARN, false, v++);
}

static void bind_strs(struct bind *b, const struct opt *o,
                      const struct ynode *n, void *base)
{
    struct str *v;

    if (n->kind != YNODE_LIST || n->n_pairs > (size_t)o->max) {
        say_error(b->say, n, "%s needs a list of at most %" PRId64 "; write %s",
                  o->path, o->max, o->example ? o->example : "[\"*\"]");
        return;
    }
    v = bind_array(b, o, base, n->n_pairs, sizeof(*v));
    for (const struct ypair *p = n->pairs; v && p; p = p->next, v++) {
        const char *how = text_fault(o->type, p->node->text);

        if (!bind_visit(b, p->node))
            return;
        if (p->node->kind != YNODE_SCALAR || how)
            bad(b, o, p->node, how ? how : "plain values");
        else
            *v = bind_dup(b, p->node->text);
    }
}

static const char *header_fault(const struct ynode *map, const struct ypair *p)
{
    static const char *const ours[] = {
        "host",       "content-length",  "transfer-encoding",
        "connection", "keep-alive",      "upgrade",
        "te",         "trailer",         "proxy-connection",
        "expect",     "accept-encoding", NULL};
    struct str name = p->key->text;

    for (size_t i = 0; i < name.len; i++) {
        char c = name.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (c >= '0' && c <= '9') || strchr("!#$%&'*+-.^_`|~", c)))
            return "is no header name; write letters, digits and '-'";
    }
    if (name.len == 0 || name.len > 128)
        return "is no header name; write 1 to 128 characters";
    for (const char *const *o = ours; *o; o++)
        if (str_ieq(name, str_from(*o)))
            return "is set by tollgate itself; remove it";
    for (const struct ypair *q = map->pairs; q != p; q = q->next)
        if (str_ieq(q->key->text, name))
            return "is set twice; remove one of them";
    return NULL;
}

static void bind_headers(struct bind *b, const struct opt *o,
                         const struct ynode *n, void *base)
{
    struct conf_header *v;

    if (n->kind != YNODE_MAP || n->n_pairs > (size_t)o->max) {
        say_error(b->say, n,
                  "%s needs a mapping of at most %" PRId64 " headers; write %s",
                  o->path, o->max, o->example);
        return;
    }
    v = bind_array(b, o, base, n->n_pairs, sizeof(*v));
    for (const struct ypair *p = n->pairs; v && p; p = p->next, v++) {
        const char *fault = header_fault(n, p);

        if (!bind_visit(b, p->node))
            return;
        if (fault)
            say_error(b->say, p->key, "%s: %s %s", o->path,
                      conf_quote(p->key->text).c, fault);
        v->name = bind_dup(b, p->key->text);
        bind_secret(b, o, p->node,
                    conf_header_is_secret(v->name) ? LITERAL_WARN
                                                   : LITERAL_FINE,
                    true, &v->value);
    }
}

/* What reads each type; a scalar node is made sure of where <scalar>. */
static const struct {
    void (*read)(struct bind *, const struct opt *, const struct ynode *,
                 void *);
    bool scalar;
} readers[OPT_TYPE_COUNT] = {
    [OPT_BOOL] = {bind_bool, true},
    [OPT_COUNT] = {bind_count, true},
    [OPT_DURATION] = {bind_duration, true},
    [OPT_SIZE] = {bind_size, true},
    [OPT_RATE] = {bind_size, true},
    [OPT_MODE] = {bind_mode, true},
    [OPT_ENUM] = {bind_enum, true},
    [OPT_SET] = {bind_set, false},
    [OPT_NAME] = {bind_text, true},
    [OPT_MODEL] = {bind_text, true},
    [OPT_TEXT] = {bind_text, true},
    [OPT_GLOB] = {bind_text, true},
    [OPT_HOST] = {bind_text, true},
    [OPT_PATH] = {bind_text, true},
    [OPT_ACCESS] = {bind_text, true},
    [OPT_WEIGHTS] = {bind_text, true},
    [OPT_DEVICE] = {bind_text, true},
    [OPT_HTTP_URL] = {bind_net, true},
    [OPT_ADDRESS] = {bind_net, true},
    [OPT_BASE_URL] = {bind_net, true},
    [OPT_SECRET] = {bind_secrets, false},
    [OPT_SECRETS] = {bind_secrets, false},
    [OPT_PROXY] = {bind_secret_url, false},
    [OPT_REDIS] = {bind_secret_url, false},
    [OPT_GLOBS] = {bind_strs, false},
    [OPT_STRS] = {bind_strs, false},
    [OPT_ORIGINS] = {bind_strs, false},
    [OPT_HOSTS] = {bind_strs, false},
    [OPT_HEADERS] = {bind_headers, false},
};

void bind_value(struct bind *b, const struct opt *o, const struct ynode *n,
                void *base)
{
    const char *how =
        o->def && strcmp(o->def, "\"\"") != 0 ? o->def : o->example;
    char eg[96];

    if (!readers[o->type].scalar || n->kind == YNODE_SCALAR) {
        readers[o->type].read(b, o, n, base);
        return;
    }
    snprintf(eg, sizeof(eg), "%s: %s", opt_leaf(o), how ? how : "...");
    bad(b, o, n, eg);
}
