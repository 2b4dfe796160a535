/* schema_check.c - See schema_check.h. */
#include "unit/schema_check.h"

#include <regex.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static json_t *get(const json_t *s, const char *key)
{
    return json_object_get(s, key);
}

static bool is_type(const json_t *v, const char *type)
{
    static const char *const names[] = {"object", "array", "string"};

    if (strcmp(type, "integer") == 0)
        return json_is_integer(v);
    if (strcmp(type, "number") == 0)
        return json_is_number(v);
    if (strcmp(type, "boolean") == 0)
        return json_is_boolean(v);
    if (strcmp(type, "null") == 0)
        return json_is_null(v);
    return json_typeof(v) < 3 && strcmp(type, names[json_typeof(v)]) == 0;
}

static bool type_fits(const json_t *type, const json_t *v)
{
    bool fits = json_is_string(type) && is_type(v, json_string_value(type));

    for (size_t i = 0; i < json_array_size(type); i++)
        fits |= is_type(v, json_string_value(json_array_get(type, i)));
    return fits;
}

static bool is_in(const json_t *list, const json_t *v)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_equal(json_array_get(list, i), v))
            return true;
    return false;
}

static size_t characters(const json_t *v)
{
    size_t n = 0;

    for (const char *p = json_string_value(v); *p; p++)
        n += (*p & 0xC0) != 0x80;
    return n;
}

static bool matches(const char *pattern, const char *text)
{
    regex_t re;
    bool ok;

    if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB))
        abort();
    ok = regexec(&re, text, 0, NULL, 0) == 0;
    regfree(&re);
    return ok;
}

/* How many of the schemas in <list> <v> is of. */
static size_t count_fits(const json_t *root, const json_t *list,
                         const json_t *v)
{
    size_t n = 0;

    for (size_t i = 0; i < json_array_size(list); i++)
        n += schema_check(root, json_array_get(list, i), v);
    return n;
}

static bool members_fit(const json_t *root, const json_t *s, json_t *v)
{
    json_t *named = get(s, "properties"),
           *more = get(s, "additionalProperties");
    const char *key;
    json_t *value;

    json_object_foreach(v, key, value)
    {
        json_t *own = get(named, key);
        if (own && !schema_check(root, own, value))
            return false;
        if (!own && more && !schema_check(root, more, value))
            return false;
    }
    for (size_t i = 0; i < json_array_size(get(s, "required")); i++)
        if (!get(v, json_string_value(json_array_get(get(s, "required"), i))))
            return false;
    return true;
}

static bool elements_fit(const json_t *root, const json_t *s, const json_t *v)
{
    json_t *first = get(s, "prefixItems"), *rest = get(s, "items");
    size_t n = json_array_size(v);

    for (size_t i = 0; i < n; i++) {
        json_t *one =
            i < json_array_size(first) ? json_array_get(first, i) : rest;
        if (one && !schema_check(root, one, json_array_get(v, i)))
            return false;
    }
    if (get(s, "minItems") &&
        n < (size_t)json_integer_value(get(s, "minItems")))
        return false;
    return !get(s, "maxItems") ||
           n <= (size_t)json_integer_value(get(s, "maxItems"));
}

static bool string_fits(const json_t *s, const json_t *v)
{
    size_t n = characters(v);

    if (get(s, "minLength") &&
        n < (size_t)json_integer_value(get(s, "minLength")))
        return false;
    if (get(s, "maxLength") &&
        n > (size_t)json_integer_value(get(s, "maxLength")))
        return false;
    return !get(s, "pattern") ||
           matches(json_string_value(get(s, "pattern")), json_string_value(v));
}

static bool number_fits(const json_t *s, const json_t *v)
{
    double d = json_number_value(v);

    if (get(s, "minimum") && d < json_number_value(get(s, "minimum")))
        return false;
    if (get(s, "maximum") && d > json_number_value(get(s, "maximum")))
        return false;
    if (get(s, "exclusiveMinimum") &&
        d <= json_number_value(get(s, "exclusiveMinimum")))
        return false;
    return !get(s, "exclusiveMaximum") ||
           d < json_number_value(get(s, "exclusiveMaximum"));
}

bool schema_check(const json_t *root, const json_t *s, const json_t *v)
{
    const char *ref = json_string_value(get(s, "$ref"));
    const json_t *target = root;

    if (json_is_boolean(s))
        return json_is_true(s);
    if (ref && strncmp(ref, "#/$defs/", 8) == 0)
        target = get(get(root, "$defs"), ref + 8);
    if (ref && !schema_check(root, target, v))
        return false;
    if (get(s, "type") && !type_fits(get(s, "type"), v))
        return false;
    if (get(s, "enum") && !is_in(get(s, "enum"), v))
        return false;
    if (get(s, "const") && !json_equal(get(s, "const"), v))
        return false;
    if (get(s, "anyOf") && count_fits(root, get(s, "anyOf"), v) == 0)
        return false;
    if (get(s, "oneOf") && count_fits(root, get(s, "oneOf"), v) != 1)
        return false;
    if (get(s, "allOf") && count_fits(root, get(s, "allOf"), v) !=
                               json_array_size(get(s, "allOf")))
        return false;
    if (json_is_object(v))
        return members_fit(root, s, (json_t *)(uintptr_t)v);
    if (json_is_array(v))
        return elements_fit(root, s, v);
    if (json_is_string(v))
        return string_fits(s, v);
    return !json_is_number(v) || number_fits(s, v);
}
