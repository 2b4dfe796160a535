/* schema_merge.c - References, and schemas that hold together: merged into one
 * keyword by keyword where that is exact, refused where it is not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "token/schema_priv.h"

#define REF_HOPS_MAX 32

bool schema_is_note(const char *key)
{
    static const char *const notes[] = {
        "title",         "description", "default",  "examples",    "example",
        "$schema",       "$id",         "$comment", "id",          "deprecated",
        "readOnly",      "writeOnly",   "$defs",    "definitions", "strict",
        "discriminator", "$anchor",
    };

    for (size_t i = 0; i < sizeof(notes) / sizeof(*notes); i++)
        if (strcmp(notes[i], key) == 0)
            return true;
    return strncmp(key, "x-", 2) == 0;
}

bool schema_says(const json_t *s, const char *but)
{
    const char *key;
    json_t *value;

    json_object_foreach(schema_open(s), key,
                        value) if (!schema_is_note(key) &&
                                   (!but || strcmp(key, but) != 0)) return true;
    return false;
}

/* --- references --------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The name at <p> up to a slash, its escapes read, in <out> (cap); where it
 * ends, or NULL when it is too long or wrong. */
static const char *read_name(const char *p, char *out, size_t cap)
{
    size_t n = 0;

    while (*p && *p != '/') {
        int c = (unsigned char)*p++;
        if (c == '%' && hex_digit(p[0]) >= 0 && hex_digit(p[1]) >= 0) {
            c = hex_digit(p[0]) * 16 + hex_digit(p[1]);
            p += 2;
        }
        if (c == '~') {
            if (*p != '0' && *p != '1')
                return NULL;
            c = *p++ == '0' ? '~' : '/';
        }
        if (n + 1 >= cap || c == 0)
            return NULL;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return p;
}

/* What JSON pointer <p> (after the '#') means in <root>; NULL: nothing. */
static const json_t *find_pointer(const json_t *root, const char *p)
{
    char name[256];

    while (root && *p == '/') {
        p = read_name(p + 1, name, sizeof(name));
        if (!p)
            return NULL;
        if (json_is_array(root))
            root = name[0] >= '0' && name[0] <= '9'
                       ? json_array_get(root, strtoul(name, NULL, 10))
                       : NULL;
        else
            root = json_object_get(root, name);
    }
    return root && *p == '\0' ? root : NULL;
}

const json_t *schema_resolve(struct schema_ctx *c, const struct schema_at *at,
                             const json_t *s)
{
    const char *ref = json_string_value(json_object_get(s, "$ref"));
    const json_t *target;

    if (!ref) {
        schema_fault(c, at, "$ref", ERR_SYNTAX, "must be a string");
        return NULL;
    }
    if (ref[0] != '#' || (ref[1] && ref[1] != '/')) {
        schema_fault(c, at, "$ref", ERR_REFUSED,
                     "only references within the schema (#/...) are "
                     "supported");
        return NULL;
    }
    target = find_pointer(c->root, ref + 1);
    if (!target)
        schema_fault(c, at, "$ref", ERR_SYNTAX, "leads to nothing");
    return target;
}

/* <s> behind its references; <s> itself where that is not simple. */
static const json_t *behind(struct schema_ctx *c, const json_t *s)
{
    for (int i = 0; i < REF_HOPS_MAX; i++) {
        const char *ref = json_string_value(json_object_get(s, "$ref"));
        const json_t *target;
        if (!ref || ref[0] != '#' || schema_says(s, "$ref"))
            return s;
        target = find_pointer(c->root, ref + 1);
        if (!target)
            return s;
        s = target;
    }
    return s;
}

/* --- merging ------------------------------------------------------------ */

/* Keep <s> (a new reference, maybe NULL) until the end. */
static json_t *keep(struct schema_ctx *c, json_t *s)
{
    if (!s || json_array_append_new(c->kept, s)) {
        schema_fault(c, NULL, NULL, ERR_NOMEM, "out of memory");
        return NULL;
    }
    return s;
}

const json_t *schema_without(struct schema_ctx *c, const json_t *s,
                             const char *key)
{
    json_t *copy = keep(c, json_copy(schema_open(s)));

    if (copy)
        json_object_del(copy, key);
    return copy;
}

/* The larger of two numbers when <larger>, else the smaller; NULL when one is
 * none. New reference. */
static json_t *tighter(const json_t *x, const json_t *y, bool larger)
{
    if (!json_is_number(x) || !json_is_number(y))
        return NULL;
    if ((json_number_value(x) > json_number_value(y)) != larger)
        x = y;
    return json_incref(schema_open(x));
}

static bool list_has(const json_t *list, const json_t *value)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_equal(json_array_get(list, i), value))
            return true;
    return false;
}

/* What two lists have in common, or both hold; NULL when one is none. */
static json_t *lists(const json_t *x, const json_t *y, bool common)
{
    json_t *out = json_is_array(x) && json_is_array(y) ? json_array() : NULL;
    size_t n = out ? json_array_size(x) : 0;

    for (size_t i = 0; i < n; i++)
        if (!common || list_has(y, json_array_get(x, i)))
            json_array_append(out, json_array_get(x, i));
    n = out && !common ? json_array_size(y) : 0;
    for (size_t i = 0; i < n; i++)
        if (!list_has(x, json_array_get(y, i)))
            json_array_append(out, json_array_get(y, i));
    return out;
}

/* The types in both of two "type" values; NULL when there is none. */
static json_t *types_in_both(json_t *x, json_t *y)
{
    json_t *a = json_is_string(x) ? json_pack("[O]", x) : json_incref(x);
    json_t *b = json_is_string(y) ? json_pack("[O]", y) : json_incref(y);
    json_t *out = lists(a, b, true);
    json_t *integer = json_string("integer"), *number = json_string("number");

    /* An integer is a number. */
    if (out &&
        ((list_has(a, integer) && list_has(b, number)) ||
         (list_has(b, integer) && list_has(a, number))) &&
        !list_has(out, integer) && !list_has(out, number))
        json_array_append(out, integer);
    json_decref(integer);
    json_decref(number);
    json_decref(a);
    json_decref(b);
    if (out && json_array_size(out) == 0) {
        json_decref(out);
        out = NULL;
    }
    return out;
}

/* Both schemas for one value, as an allOf. */
static json_t *both(const json_t *x, const json_t *y)
{
    if (json_equal(x, y))
        return json_incref(schema_open(x));
    return json_pack("{s:[O,O]}", "allOf", x, y);
}

/* The properties of both; what only one names must be allowed by the other,
 * which the caller has seen to. */
static json_t *properties(const json_t *x, const json_t *y)
{
    json_t *out = json_is_object(x) && json_is_object(y)
                      ? json_copy(schema_open(x))
                      : NULL;
    const char *key;
    json_t *value, *had;

    if (!out)
        return NULL;
    json_object_foreach(schema_open(y), key, value)
    {
        had = json_object_get(out, key);
        if (had)
            json_object_set_new(out, key, both(had, value));
        else
            json_object_set(out, key, value);
    }
    return out;
}

/* What two values of keyword <key> mean together; NULL: refuse. */
static json_t *merge_key(const char *key, json_t *x, json_t *y)
{
    static const char *const mins[] = {"minimum", "exclusiveMinimum",
                                       "minItems", "minLength"};
    static const char *const maxs[] = {"maximum", "exclusiveMaximum",
                                       "maxItems", "maxLength"};

    if (json_equal(x, y))
        return json_incref(x);
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(key, mins[i]) == 0)
            return tighter(x, y, true);
        if (strcmp(key, maxs[i]) == 0)
            return tighter(x, y, false);
    }
    if (strcmp(key, "required") == 0)
        return lists(x, y, false);
    if (strcmp(key, "enum") == 0)
        return lists(x, y, true);
    if (strcmp(key, "type") == 0)
        return types_in_both(x, y);
    if (strcmp(key, "properties") == 0)
        return properties(x, y);
    if (strcmp(key, "items") == 0)
        return both(x, y);
    return NULL;
}

/* Whether <x> allows members beside its own while <y> names others. */
static bool closes_out(const json_t *x, const json_t *y)
{
    const json_t *more = json_object_get(x, "additionalProperties");
    const json_t *own = json_object_get(x, "properties");
    const char *key;
    json_t *value;

    if (!more || json_is_true(more))
        return false;
    json_object_foreach(json_object_get(y, "properties"), key,
                        value) if (!json_object_get(own, key)) return true;
    return false;
}

/* What <x> is without its references, for merging. */
static const json_t *plain(struct schema_ctx *c, const struct schema_at *at,
                           const json_t *x)
{
    static const char *const open[] = {"$ref", "allOf"};

    for (int i = 0; i < REF_HOPS_MAX; i++) {
        const json_t *rest, *list;
        x = behind(c, x);
        if (json_object_get(x, open[1]) == NULL)
            return x;
        list = json_object_get(x, open[1]);
        rest = schema_without(c, x, open[1]);
        if (!rest || json_array_size(list) != 1 || c->err)
            return x;
        if (schema_says(rest, NULL))
            return x;
        x = json_array_get(list, 0);
    }
    schema_fault(c, at, "$ref", ERR_SYNTAX, "a reference leads back to itself");
    return x;
}

const json_t *schema_merge(struct schema_ctx *c, const struct schema_at *at,
                           const char *key, const json_t *x, const json_t *y)
{
    json_t *out, *value;
    const char *name;

    x = plain(c, at, x);
    y = plain(c, at, y);
    if (json_is_false(x) || json_is_false(y))
        return json_is_false(x) ? x : y;
    if (json_is_true(x) || json_is_true(y))
        return json_is_true(x) ? y : x;
    if (!json_is_object(x) || !json_is_object(y) || closes_out(x, y) ||
        closes_out(y, x)) {
        schema_fault(c, at, key, ERR_REFUSED,
                     "these schemas cannot be merged into one");
        return NULL;
    }
    if (++c->visits > SCHEMA_VISITS_MAX) {
        schema_fault(c, at, key, ERR_FULL, "the schema is too large");
        return NULL;
    }
    out = keep(c, json_copy(schema_open(x)));
    if (out && !json_is_true(json_object_get(y, "nullable")))
        json_object_del(out, "nullable");
    json_object_foreach(schema_open(y), name, value)
    {
        json_t *had = out ? json_object_get(out, name) : NULL;
        json_t *sum = json_incref(value);
        if (!had && strcmp(name, "nullable") == 0) {
            json_decref(sum);
            continue;
        }
        if (had && !schema_is_note(name)) {
            json_decref(sum);
            sum = merge_key(name, had, value);
        }
        if (!sum || !out || json_object_set_new(out, name, sum)) {
            schema_fault(c, at, key, ERR_REFUSED,
                         "these schemas cannot be merged into one");
            return NULL;
        }
    }
    return out;
}

/* --- schemas apart ------------------------------------------------------ */

/* The values of "const" or "enum" of <s>, as a list; NULL when it has
 * neither. New reference. */
static json_t *values_of(const json_t *s)
{
    json_t *one = json_object_get(s, "const");

    if (one)
        return json_pack("[O]", one);
    return json_incref(json_object_get(s, "enum"));
}

/* Whether both have values listed, and none in common. */
static bool values_apart(const json_t *x, const json_t *y)
{
    json_t *a = values_of(x), *b = values_of(y), *common = NULL;
    bool apart = false;

    if (json_is_array(a) && json_is_array(b))
        common = lists(a, b, true);
    apart = common && json_array_size(common) == 0;
    json_decref(common);
    json_decref(a);
    json_decref(b);
    return apart;
}

static bool requires(const json_t *s, const char *name)
{
    const json_t *list = json_object_get(s, "required");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (text && strcmp(text, name) == 0)
            return true;
    }
    return false;
}

/* Whether <x> requires a member that <y> does not let in. */
static bool misses_member(const json_t *x, const json_t *y)
{
    const json_t *list = json_object_get(x, "required");

    if (!json_is_false(json_object_get(y, "additionalProperties")))
        return false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name && !json_object_get(json_object_get(y, "properties"), name))
            return true;
    }
    return false;
}

/* Whether a member that both objects require tells them apart. */
static bool members_apart(struct schema_ctx *c, const json_t *x,
                          const json_t *y)
{
    json_t *mine = json_object_get(x, "properties"), *value;
    json_t *theirs = json_object_get(y, "properties");
    const char *key;

    if (misses_member(x, y) || misses_member(y, x))
        return true;
    json_object_foreach(mine, key, value)
    {
        json_t *other = json_object_get(theirs, key);
        if (other && requires(x, key) && requires(y, key) &&
            values_apart(behind(c, value), behind(c, other)))
            return true;
    }
    return false;
}

/* The types of <s>, listed values looked at; SCHEMA_ALL when it is not
 * simple. */
static unsigned plain_types(struct schema_ctx *c, const json_t *s)
{
    const struct schema_at at = {NULL, NULL, 0};

    if (!json_is_object(s) || !json_object_get(s, "type"))
        return SCHEMA_ALL;
    return schema_types(c, &at, s);
}

bool schema_apart(struct schema_ctx *c, const json_t *x, const json_t *y)
{
    unsigned a, b;

    x = behind(c, x);
    y = behind(c, y);
    a = plain_types(c, x);
    b = plain_types(c, y);
    if (a & SCHEMA_INTEGER)
        a |= SCHEMA_NUMBER;
    if (b & SCHEMA_INTEGER)
        b |= SCHEMA_NUMBER;
    if ((a & b) == 0 || values_apart(x, y))
        return true;
    return (a & b) == SCHEMA_OBJECT && members_apart(c, x, y);
}
