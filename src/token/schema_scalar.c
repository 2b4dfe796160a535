/* schema_scalar.c - Strings, numbers and listed values. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "token/schema_priv.h"
#include "token/schema_regex.h"

/* The largest bound whose digits fit. */
#define BOUND_MAX 9e21

/* --- strings ------------------------------------------------------------ */

/* Build a string of <pattern>; <key> is complained about. */
static uint32_t by_pattern(struct schema_ctx *c, const struct schema_at *at,
                           const char *key, struct str pattern,
                           const uint32_t min_max[2], uint32_t next)
{
    const char *why = NULL;
    uint32_t out = AUTO_FAIL;
    enum err err;

    next = auto_text(c->a, STR("\""), next);
    err = regex_build(c->a, pattern, min_max, next, &why, &out);
    if (err)
        return schema_fault(c, at, key, err, why);
    return auto_text(c->a, STR("\""), out);
}

uint32_t schema_string(struct schema_ctx *c, const struct schema_at *at,
                       const json_t *s, uint32_t next)
{
    const json_t *pattern = json_object_get(s, "pattern");
    const json_t *format = json_object_get(s, "format");
    uint32_t limits[2] = {0, AUTO_NO_MAX};
    struct str text = {NULL, 0};

    if (!schema_limit(c, at, s, "minLength", &limits[0]) ||
        !schema_limit(c, at, s, "maxLength", &limits[1]))
        return AUTO_FAIL;
    if (pattern && !json_is_string(pattern))
        return schema_fault(c, at, "pattern", ERR_SYNTAX, "must be a string");
    if (format && !json_is_string(format))
        return schema_fault(c, at, "format", ERR_SYNTAX, "must be a string");
    if (format && !regex_format(str_from(json_string_value(format)), &text))
        return schema_fault(c, at, "format", ERR_REFUSED,
                            "this format is not supported");
    if (pattern && text.len)
        return schema_fault(c, at, "pattern", ERR_REFUSED,
                            "is not supported beside this format");
    if (pattern) {
        text = str_of(json_string_value(pattern), json_string_length(pattern));
        return by_pattern(c, at, "pattern", text, limits, next);
    }
    if (text.len)
        return by_pattern(c, at, "format", text, limits, next);
    return auto_string(c->a, limits[0], limits[1], next);
}

/* --- numbers ------------------------------------------------------------ */

/* <d> in the fewest digits that mean it, in <out> (32), "d.ddde+xx". */
static void shortest(double d, char *out)
{
    for (int digits = 0; digits < 17; digits++) {
        snprintf(out, 32, "%.*e", digits, d);
        if (strtod(out, NULL) == d)
            break;
    }
}

/* Write magnitude <d> as a bound's digits; false when they do not fit. */
static bool digits_of(double d, struct auto_bound *b)
{
    char text[32], digits[32], *e;
    long point;
    size_t n = 0;

    shortest(d, text);
    e = strchr(text, 'e');
    if (!e)
        return false;
    point = strtol(e + 1, NULL, 10) + 1;
    for (char *p = text; p < e; p++)
        if (*p >= '0' && *p <= '9')
            digits[n++] = *p;
    while (n > 0 && digits[n - 1] == '0')
        n--;
    if (point > 22 || (long)n - point > 22)
        return false;
    memset(b->whole, 0, sizeof(b->whole));
    memset(b->fraction, 0, sizeof(b->fraction));
    b->whole[0] = '0';
    for (long i = 0; i < point; i++)
        b->whole[i] = (size_t)i < n ? digits[i] : '0';
    for (long i = point; i < (long)n; i++)
        b->fraction[i - point] = i < 0 ? '0' : digits[i];
    return true;
}

/* Of integers past 64 bits only the nearest double is known, which may lie
 * outside of the bound: its inner neighbour does not. Nothing within an upper
 * bound that has too many digits is longer than the longest that fits. */
static double bring_in(double d, bool upper)
{
    double in = upper ? -1 : 1;

    if (fabs(d) < 0x1p63)
        return d;
    d = nextafter(d, in * INFINITY);
    return d * in < -BOUND_MAX ? -in * BOUND_MAX : d;
}

/* Make <v> a bound, an <upper> or a lower one; false when its digits do not
 * fit. */
static bool bound_of(const json_t *v, bool upper, struct auto_bound *b)
{
    double d = bring_in(json_real_value(v), upper);
    json_int_t i = json_integer_value(v);

    b->given = true;
    if (json_is_real(v)) {
        b->negative = d < 0;
        return digits_of(fabs(d), b);
    }
    b->negative = i < 0;
    snprintf(b->whole, sizeof(b->whole), "%llu",
             i < 0 ? 0ULL - (unsigned long long)i : (unsigned long long)i);
    memset(b->fraction, 0, sizeof(b->fraction));
    return true;
}

/* Of two lower bounds (upper ones when <upper>) keep the tighter in <b>. */
static void tighten(struct auto_bound *b, const struct auto_bound *other,
                    double mine, double theirs, bool upper)
{
    bool tighter = upper ? theirs < mine : theirs > mine;

    if (!other->given)
        return;
    if (!b->given || tighter || (mine == theirs && other->exclusive))
        *b = *other;
}

/* Read the bound that <keys> (inclusive, exclusive) give. False after a
 * mistake. */
static bool read_bound(struct schema_ctx *c, const struct schema_at *at,
                       const json_t *s, const char *const keys[2],
                       struct auto_bound *out)
{
    const json_t *in = json_object_get(s, keys[0]);
    const json_t *ex = json_object_get(s, keys[1]);
    struct auto_bound b = {0}, open = {0};
    bool upper = keys[0][1] == 'a'; /* "maximum" */
    bool ok;

    if (in && !json_is_number(in))
        return schema_fault(c, at, keys[0], ERR_SYNTAX, "must be a number");
    if (ex && !json_is_number(ex) && !json_is_boolean(ex))
        return schema_fault(c, at, keys[1], ERR_SYNTAX, "must be a number");
    ok = !in || bound_of(in, upper, &b);
    if (!ok)
        return schema_fault(c, at, keys[0], ERR_REFUSED,
                            "has more digits than are supported");
    b.exclusive = json_is_true(ex);
    if (json_is_number(ex)) {
        open.exclusive = true;
        if (!bound_of(ex, upper, &open))
            return schema_fault(c, at, keys[1], ERR_REFUSED,
                                "has more digits than are supported");
    }
    tighten(&b, &open, json_number_value(in), json_number_value(ex), upper);
    *out = b;
    return true;
}

uint32_t schema_number(struct schema_ctx *c, const struct schema_at *at,
                       const json_t *s, bool integer, uint32_t next)
{
    static const char *const los[] = {"minimum", "exclusiveMinimum"};
    static const char *const his[] = {"maximum", "exclusiveMaximum"};
    struct auto_bound lo, hi;

    if (!read_bound(c, at, s, los, &lo) || !read_bound(c, at, s, his, &hi))
        return AUTO_FAIL;
    return auto_number(c->a, integer, &lo, &hi, next);
}

/* --- listed values ------------------------------------------------------ */

/* The type of one value, as a bit. */
static unsigned type_of(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return SCHEMA_OBJECT;
    case JSON_ARRAY:
        return SCHEMA_ARRAY;
    case JSON_STRING:
        return SCHEMA_STRING;
    case JSON_INTEGER:
        return SCHEMA_INTEGER | SCHEMA_NUMBER;
    case JSON_REAL:
        return json_real_value(v) == floor(json_real_value(v))
                   ? SCHEMA_INTEGER | SCHEMA_NUMBER
                   : SCHEMA_NUMBER;
    case JSON_NULL:
        return SCHEMA_NULL;
    default:
        return SCHEMA_BOOLEAN;
    }
}

static uint32_t literal(struct schema_ctx *c, const json_t *v, uint32_t next,
                        unsigned depth);

/* A list or an object as it is, lightly spaced. */
static uint32_t literal_array(struct schema_ctx *c, const json_t *v,
                              uint32_t next, unsigned depth)
{
    struct automaton *a = c->a;

    next = auto_text(a, STR("]"), next);
    for (size_t i = json_array_size(v); i > 0; i--) {
        next = literal(c, json_array_get(v, i - 1), next, depth + 1);
        if (i > 1)
            next = auto_text(a, STR(","), auto_space(a, next));
    }
    return auto_text(a, STR("["), next);
}

static uint32_t literal_object(struct schema_ctx *c, const json_t *v,
                               uint32_t next, unsigned depth)
{
    struct automaton *a = c->a;
    uint32_t out = AUTO_FAIL;
    size_t n = json_object_size(v), i = 0;
    const char **keys = calloc(n + 1, sizeof(*keys));
    const char *key;
    json_t *value;

    if (!keys)
        return schema_fault(c, NULL, NULL, ERR_NOMEM, "out of memory");
    json_object_foreach(schema_open(v), key, value) keys[i++] = key;
    out = auto_text(a, STR("}"), next);
    for (; i > 0; i--) {
        out = literal(c, json_object_get(v, keys[i - 1]), out, depth + 1);
        out = auto_text(a, STR("\""), auto_colon(a, out));
        out = auto_string_text(a, str_from(keys[i - 1]), out);
        out = auto_text(a, STR("\""), out);
        if (i > 1)
            out = auto_text(a, STR(","), auto_space(a, out));
    }
    free(keys);
    return auto_text(a, STR("{"), out);
}

/* A number as text in <out> (40). */
static struct str number_text(const json_t *v, char *out)
{
    if (json_is_integer(v)) {
        snprintf(out, 40, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        return str_from(out);
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, 40, "%.*g", digits, json_real_value(v));
        if (strtod(out, NULL) == json_real_value(v))
            break;
    }
    if (!strpbrk(out, ".e"))
        snprintf(out + strlen(out), 3, ".0");
    return str_from(out);
}

static uint32_t literal(struct schema_ctx *c, const json_t *v, uint32_t next,
                        unsigned depth)
{
    struct automaton *a = c->a;
    char text[48];

    if (depth > SCHEMA_DEPTH_MAX)
        return schema_fault(c, NULL, NULL, ERR_FULL, "a value is too deep");
    if (c->err || a->err)
        return AUTO_FAIL;
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return literal_object(c, v, next, depth);
    case JSON_ARRAY:
        return literal_array(c, v, next, depth);
    case JSON_STRING:
        next = auto_text(a, STR("\""), next);
        next = auto_string_text(
            a, str_of(json_string_value(v), json_string_length(v)), next);
        return auto_text(a, STR("\""), next);
    case JSON_TRUE:
        return auto_text(a, STR("true"), next);
    case JSON_FALSE:
        return auto_text(a, STR("false"), next);
    case JSON_NULL:
        return auto_text(a, STR("null"), next);
    default:
        return auto_text(a, number_text(v, text), next);
    }
}

/* The strings among <values> as one tree of words. */
static uint32_t enum_strings(struct schema_ctx *c, const json_t *values,
                             uint32_t next)
{
    size_t n = json_array_size(values), k = 0;
    struct auto_word *words = calloc(n + 1, sizeof(*words));
    json_t *texts = json_array();
    uint32_t out = AUTO_FAIL;

    for (size_t i = 0; words && texts && i < n; i++) {
        const json_t *v = json_array_get(values, i);
        char *text = json_is_string(v) && json_string_length(v) ==
                                              strlen(json_string_value(v))
                         ? json_dumps(v, JSON_ENCODE_ANY)
                         : NULL;
        if (!text)
            continue;
        json_array_append_new(texts, json_string(text));
        free(text);
        words[k].text = str_from(json_string_value(json_array_get(texts, k)));
        words[k].next = next;
        k += words[k].text.len > 0;
    }
    if (words && texts)
        out = auto_words(c->a, words, k);
    else
        schema_fault(c, NULL, NULL, ERR_NOMEM, "out of memory");
    free(words);
    json_decref(texts);
    return out;
}

uint32_t schema_enum(struct schema_ctx *c, const struct schema_at *at,
                     const json_t *values, unsigned types, uint32_t next)
{
    size_t n = json_array_size(values);
    uint32_t out = AUTO_FAIL;

    if (!json_is_array(values))
        return schema_fault(c, at, "enum", ERR_SYNTAX, "must be a list");
    if (n > SCHEMA_ENUM_MAX)
        return schema_fault(c, at, "enum", ERR_FULL, "has too many values");
    if (types & SCHEMA_STRING)
        out = enum_strings(c, values, next);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(values, i);
        if (json_is_string(v) || !(type_of(v) & types))
            continue;
        out = auto_split(c->a, out, literal(c, v, next, 0));
    }
    return out;
}
