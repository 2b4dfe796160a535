/* conf_put.c - One value of the snapshot as YAML, by its type. A secret shows
 * as where it comes from, or as "***". */
#include "conf/conf_put.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

void conf_put(struct out *o, struct str s)
{
    if (o->e == ERR_OK)
        o->e = buf_put_str(o->b, s);
}

__attribute__((format(printf, 2, 3))) static void putf(struct out *o,
                                                       const char *fmt, ...)
{
    char text[128];
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    conf_put(o, str_of(text, n < 0 ? 0 : (size_t)n));
}

/* The value of <row> in <base>. */
static const void *at(const struct opt *row, const void *base)
{
    return (const char *)base + row->off;
}

static uint64_t u64_at(const struct opt *row, const void *base)
{
    uint64_t v;

    memcpy(&v, at(row, base), sizeof(v));
    return v;
}

size_t opt_count(const struct opt *row, const void *base)
{
    size_t n;

    memcpy(&n, (const char *)base + row->off_n, sizeof(n));
    return n;
}

const void *opt_array(const struct opt *row, const void *base)
{
    const void *p;

    memcpy(&p, at(row, base), sizeof(p));
    return p;
}

static bool is_plain(struct str s)
{
    if (s.len == 0 || str_ieq(s, STR("null")) || s.p[s.len - 1] == ':')
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (c >= '0' && c <= '9') || c == '/' ||
              (i > 0 && strchr("._:+-@", c))))
            return false;
    }
    return true;
}

void conf_put_text(struct out *o, struct str s)
{
    if (is_plain(s)) {
        conf_put(o, s);
        return;
    }
    conf_put(o, STR("\""));
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            conf_put(o, STR("\\"));
        conf_put(o, str_of(s.p + i, 1));
    }
    conf_put(o, STR("\""));
}

static void put_unit(struct out *o, uint64_t v, const uint64_t *factors,
                     const char *const *names)
{
    size_t i = 0;

    while (factors[i] > 1 && (v == 0 || v % factors[i] != 0))
        i++;
    putf(o, "%" PRIu64 "%s", v / factors[i], names[i]);
}

/* <literal> is shown for a secret that stands in the file itself. */
static void put_secret(struct out *o, const struct secret *s,
                       struct str literal)
{
    if (o->bare) {
        conf_put_text(o, s->source);
        conf_put_text(o, secret_reveal(s));
    } else {
        conf_put_text(o, s->source.len > 0 ? s->source : literal);
    }
}

static void put_bool(struct out *o, const struct opt *row, const void *base)
{
    bool yes;

    memcpy(&yes, at(row, base), sizeof(yes));
    conf_put(o, yes ? STR("true") : STR("false"));
}

static void put_count(struct out *o, const struct opt *row, const void *base)
{
    uint64_t v = u64_at(row, base);

    if (v == 0 && (row->flags & OPT_AUTO))
        conf_put(o, STR("auto"));
    else
        putf(o, "%" PRIu64, v);
}

static void put_duration(struct out *o, const struct opt *row, const void *base)
{
    static const uint64_t factors[] = {86400000, 3600000, 60000, 1000, 1};
    static const char *const names[] = {"d", "h", "m", "s", "ms"};

    put_unit(o, u64_at(row, base), factors, names);
}

static void put_size(struct out *o, const struct opt *row, const void *base)
{
    static const uint64_t factors[] = {1ULL << 40, 1ULL << 30, 1ULL << 20,
                                       1ULL << 10, 1};
    static const char *const names[] = {"TiB", "GiB", "MiB", "KiB", "B"};

    put_unit(o, u64_at(row, base), factors, names);
    if (row->type == OPT_RATE)
        conf_put(o, STR("/s"));
}

static void put_mode(struct out *o, const struct opt *row, const void *base)
{
    uint32_t mode;

    memcpy(&mode, at(row, base), sizeof(mode));
    putf(o, "0%03o", mode);
}

static void put_enum(struct out *o, const struct opt *row, const void *base)
{
    unsigned v;

    memcpy(&v, at(row, base), sizeof(v));
    conf_put(o, str_from(row->names[v]));
}

static void put_set(struct out *o, const struct opt *row, const void *base)
{
    const char *comma = "";
    unsigned v;

    memcpy(&v, at(row, base), sizeof(v));
    conf_put(o, STR("["));
    for (unsigned i = 0; row->names[i]; i++) {
        if ((v & 1U << i) == 0)
            continue;
        putf(o, "%s%s", comma, row->names[i]);
        comma = ", ";
    }
    conf_put(o, STR("]"));
}

static void put_net(struct out *o, const struct opt *row, const void *base)
{
    struct conf_addr addr;
    struct conf_url url;

    if (row->type == OPT_ADDRESS) {
        memcpy(&addr, at(row, base), sizeof(addr));
        conf_put_text(o, addr.text);
    } else {
        memcpy(&url, at(row, base), sizeof(url));
        conf_put_text(o, url.text);
    }
}

static void put_plain(struct out *o, const struct opt *row, const void *base)
{
    struct str s;

    memcpy(&s, at(row, base), sizeof(s));
    conf_put_text(o, s);
}

static void put_strs(struct out *o, const struct opt *row, const void *base)
{
    const struct str *v = opt_array(row, base);
    size_t n = opt_count(row, base);

    conf_put(o, STR("["));
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            conf_put(o, STR(", "));
        conf_put_text(o, v[i]);
    }
    conf_put(o, STR("]"));
}

static void put_secrets(struct out *o, const struct opt *row, const void *base)
{
    const struct secret *v = opt_array(row, base);
    size_t n = opt_count(row, base);

    if (row->type == OPT_SECRET) {
        put_secret(o, v, STR("***"));
        return;
    }
    conf_put(o, STR("["));
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            conf_put(o, STR(", "));
        put_secret(o, &v[i], STR("***"));
    }
    conf_put(o, STR("]"));
}

/* A URL without its user and password. */
static void put_secret_url(struct out *o, const struct opt *row,
                           const void *base)
{
    struct secret s;
    struct str v;
    size_t user;
    size_t scheme;

    memcpy(&s, at(row, base), sizeof(s));
    v = secret_reveal(&s);
    user = str_find_char(v, '@');
    scheme = str_find(v, STR("://"));
    if (o->bare || s.source.len > 0 || user == v.len) {
        put_secret(o, &s, v);
        return;
    }
    conf_put(o, STR("\""));
    conf_put(o, str_of(v.p, scheme < user ? scheme + 3 : 0));
    conf_put(o, STR("***"));
    conf_put(o, str_skip(v, user));
    conf_put(o, STR("\""));
}

static void put_headers(struct out *o, const struct opt *row, const void *base)
{
    const struct conf_header *v = opt_array(row, base);
    size_t n = opt_count(row, base);

    conf_put(o, STR("{"));
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            conf_put(o, STR(", "));
        conf_put_text(o, v[i].name);
        conf_put(o, STR(": "));
        put_secret(o, &v[i].value,
                   conf_header_is_secret(v[i].name)
                       ? STR("***")
                       : secret_reveal(&v[i].value));
    }
    conf_put(o, STR("}"));
}

/* What writes each type; NULL for maps and lists of maps. */
static void (*const writers[OPT_TYPE_COUNT])(struct out *, const struct opt *,
                                             const void *) = {
    [OPT_BOOL] = put_bool,         [OPT_COUNT] = put_count,
    [OPT_DURATION] = put_duration, [OPT_SIZE] = put_size,
    [OPT_RATE] = put_size,         [OPT_MODE] = put_mode,
    [OPT_ENUM] = put_enum,         [OPT_NAME] = put_plain,
    [OPT_MODEL] = put_plain,       [OPT_TEXT] = put_plain,
    [OPT_GLOB] = put_plain,        [OPT_HOST] = put_plain,
    [OPT_PATH] = put_plain,        [OPT_WEIGHTS] = put_plain,
    [OPT_ACCESS] = put_plain,      [OPT_DEVICE] = put_plain,
    [OPT_HTTP_URL] = put_plain,    [OPT_ADDRESS] = put_net,
    [OPT_BASE_URL] = put_net,      [OPT_SECRET] = put_secrets,
    [OPT_SECRETS] = put_secrets,   [OPT_PROXY] = put_secret_url,
    [OPT_REDIS] = put_secret_url,  [OPT_GLOBS] = put_strs,
    [OPT_STRS] = put_strs,         [OPT_ORIGINS] = put_strs,
    [OPT_HOSTS] = put_strs,        [OPT_SET] = put_set,
    [OPT_HEADERS] = put_headers,
};

/* Whether the key would be left out of a file: it holds nothing. */
static bool is_absent(const struct opt *row, const void *base)
{
    struct str s;
    struct conf_addr addr;
    bool given;

    if (row->off_given > 0) {
        memcpy(&given, (const char *)base + row->off_given, sizeof(given));
        return !given;
    }
    switch (row->type) {
    case OPT_SECRET:
        return opt_count(row, base) != 1;
    case OPT_SECRETS:
        return opt_count(row, base) < 2;
    case OPT_HOSTS:
        return opt_count(row, base) == 0;
    case OPT_ADDRESS:
        memcpy(&addr, at(row, base), sizeof(addr));
        return addr.family == 0;
    case OPT_NAME:
    case OPT_MODEL:
    case OPT_TEXT:
    case OPT_GLOB:
    case OPT_HOST:
    case OPT_PATH:
    case OPT_WEIGHTS:
        memcpy(&s, at(row, base), sizeof(s));
        return s.len == 0 && !(row->flags & OPT_EMPTY);
    default:
        return false;
    }
}

bool conf_put_value(struct out *o, const struct opt *row, const void *base)
{
    if (is_absent(row, base))
        return false;
    conf_put(o, str_from(opt_leaf(row)));
    conf_put(o, STR(": "));
    writers[row->type](o, row, base);
    return true;
}
