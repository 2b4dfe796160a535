/* jval.c - Readers of jscan.h over text that the scanner has validated. */
#include "wire/jscan.h"

#include "wire/jtext.h"

enum jtype jval_type_of(char first)
{
    switch (first) {
    case '"':
        return JT_STRING;
    case '{':
        return JT_OBJECT;
    case '[':
        return JT_ARRAY;
    case 'n':
        return JT_NULL;
    case 't':
        return JT_TRUE;
    case 'f':
        return JT_FALSE;
    default:
        return first == '-' || (first >= '0' && first <= '9') ? JT_NUMBER
                                                              : JT_NONE;
    }
}

void jiter_init(struct jiter *it, struct str value)
{
    *it = (struct jiter){0};
    if (value.len < 2 || (value.p[0] != '{' && value.p[0] != '['))
        return;
    it->in_object = value.p[0] == '{';
    it->p = value.p + 1;
    it->end = value.p + value.len - 1;
}

/* The key at it->p and its colon; false when there is none. */
static bool iter_key(struct jiter *it, struct str *key_out)
{
    const char *start = it->p;

    if (*it->p != '"')
        return false;
    it->p = jtext_skip_string(it->p + 1, it->end);
    *key_out = str_of(start, (size_t)(it->p - start));
    it->p = jtext_skip_space(it->p, it->end);
    if (it->p == it->end || *it->p != ':')
        return false;
    it->p = jtext_skip_space(it->p + 1, it->end);
    return it->p < it->end;
}

bool jiter_next(struct jiter *it, struct jmember *out)
{
    const char *start;

    *out = (struct jmember){0};
    if (!it->p)
        return false;
    it->p = jtext_skip_space(it->p, it->end);
    if (it->p == it->end || (it->in_object && !iter_key(it, &out->key)))
        return false;
    start = it->p;
    out->type = jval_type_of(*start);
    it->p = jtext_skip_value(start, it->end);
    out->value = str_of(start, (size_t)(it->p - start));
    it->p = jtext_skip_space(it->p, it->end);
    if (it->p < it->end && *it->p == ',')
        it->p++;
    return out->type != JT_NONE;
}

/* The index that <name> is, or -1. */
static int64_t path_index(struct str name)
{
    int64_t n = 0;

    if (name.len == 0 || name.len > 9)
        return -1;
    for (size_t i = 0; i < name.len; i++) {
        if (name.p[i] < '0' || name.p[i] > '9')
            return -1;
        n = n * 10 + (name.p[i] - '0');
    }
    return n;
}

struct jmember jval_member(const struct jmember *in, struct str name)
{
    struct jmember m, found = {0};
    struct jiter it;
    int64_t left = path_index(name);

    if (in->type == JT_ARRAY && left < 0)
        return found;
    jiter_init(&it, in->value);
    while (jiter_next(&it, &m)) {
        if (in->type == JT_OBJECT && jval_is(m.key, name))
            found = m;
        if (in->type == JT_ARRAY && left-- == 0)
            return m;
    }
    return found;
}

struct jmember jscan_find(struct str text, const char *path)
{
    struct jmember m = {0};
    const char *end = text.p + text.len;
    const char *p;

    if (text.len == 0)
        return m;
    p = jtext_skip_space(text.p, end);
    if (p == end)
        return m;
    m.type = jval_type_of(*p);
    m.value = str_of(p, (size_t)(jtext_skip_value(p, end) - p));
    while (*path && m.type != JT_NONE) {
        const char *dot = strchrnul(path, '.');
        m = jval_member(&m, str_of(path, (size_t)(dot - path)));
        path = *dot ? dot + 1 : dot;
    }
    return m;
}

bool jval_is_unescaped(struct str raw, struct str name)
{
    struct junescape u;
    char c[4];
    size_t i = 0;
    unsigned n;

    if (raw.len <= name.len + 2)
        return raw.len == name.len + 2 &&
               memcmp(raw.p + 1, name.p, name.len) == 0 &&
               !memchr(name.p, '\\', name.len);
    if (!memchr(raw.p, '\\', raw.len))
        return false;
    junescape_init(&u, raw);
    while ((n = junescape_next(&u, c, true)) > 0) {
        if (name.len - i < n || memcmp(name.p + i, c, n) != 0)
            return false;
        i += n;
    }
    return i == name.len;
}

enum err jval_copy(const struct jmember *v, char *to, size_t cap,
                   size_t *len_out)
{
    struct junescape u;
    char c[4];
    size_t len = 0, n;

    if (v->type != JT_STRING)
        return ERR_BAD_PARAM;
    junescape_init(&u, v->value);
    while (u.p < u.end) {
        const char *stop = memchr(u.p, '\\', (size_t)(u.end - u.p));

        n = (size_t)((stop ? stop : u.end) - u.p);
        if (cap - len < n)
            return ERR_RANGE;
        memcpy(to + len, u.p, n);
        len += n;
        u.p += n;
        n = junescape_next(&u, c, false);
        if (cap - len < n)
            return ERR_RANGE;
        memcpy(to + len, c, n);
        len += n;
    }
    *len_out = len;
    return ERR_OK;
}

enum err jval_str(const struct jmember *v, size_t max, struct arena *arena,
                  struct str *str_out)
{
    struct str in;
    size_t len;
    char *to;
    enum err e;

    if (v->type != JT_STRING || v->value.len < 2)
        return ERR_BAD_PARAM;
    in = str_of(v->value.p + 1, v->value.len - 2);
    if (in.len == 0 || !memchr(in.p, '\\', in.len)) {
        if (in.len > max)
            return ERR_RANGE;
        *str_out = in;
        return ERR_OK;
    }
    len = in.len < max ? in.len : max; /* unescaping never grows */
    to = arena_alloc(arena, len + 1);
    if (!to)
        return ERR_NOMEM;
    e = jval_copy(v, to, len, &len);
    if (e != ERR_OK)
        return e;
    *str_out = str_of(to, len);
    return ERR_OK;
}

enum err jval_bool(const struct jmember *v, bool *bool_out)
{
    if (v->type != JT_TRUE && v->type != JT_FALSE)
        return ERR_BAD_PARAM;
    *bool_out = v->type == JT_TRUE;
    return ERR_OK;
}

/* A number taken apart: its digits are <digits> without the dot, the value is
 * 0.digits * 10^point. */
struct number {
    bool negative;
    struct str digits; /* may hold one '.' */
    int64_t point;     /* digits before the decimal point */
};

static struct number split_number(struct str raw)
{
    enum { EXPONENT_MAX = 1 << 30 }; /* far past any length of digits */
    struct number n = {0};
    int64_t exponent = 0;
    bool negative = false;
    size_t i;

    if (raw.len > 0 && raw.p[0] == '-') {
        n.negative = true;
        raw = str_skip(raw, 1);
    }
    i = 0;
    while (i < raw.len && raw.p[i] != 'e' && raw.p[i] != 'E')
        i++;
    n.digits = str_of(raw.p, i);
    n.point = (int64_t)str_find_char(n.digits, '.');
    if (++i < raw.len && (raw.p[i] == '-' || raw.p[i] == '+'))
        negative = raw.p[i++] == '-';
    for (; i < raw.len; i++)
        if (exponent < EXPONENT_MAX)
            exponent = exponent * 10 + (raw.p[i] - '0');
    n.point += negative ? -exponent : exponent;
    return n;
}

enum err jval_uint(const struct jmember *v, int64_t *uint_out)
{
    struct number n;
    int64_t value = 0, at = 0;
    bool nonzero = false, over = false;

    if (v->type != JT_NUMBER)
        return ERR_BAD_PARAM;
    n = split_number(v->value);
    for (size_t i = 0; i < n.digits.len; i++) {
        int digit = n.digits.p[i] - '0';
        if (n.digits.p[i] == '.')
            continue;
        nonzero = nonzero || digit != 0;
        if (at >= n.point && digit != 0)
            return ERR_BAD_PARAM;
        if (at < n.point)
            over = over || __builtin_mul_overflow(value, 10, &value) ||
                   __builtin_add_overflow(value, digit, &value);
        at++;
    }
    for (; nonzero && !over && at < n.point; at++)
        over = __builtin_mul_overflow(value, 10, &value);
    if (over || (n.negative && nonzero))
        return ERR_RANGE;
    *uint_out = value;
    return ERR_OK;
}
