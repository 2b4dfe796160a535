/* schema.c - The schema compiler: which keywords there are, and what is done
 * first. A keyword that is not understood is refused by name: a schema is
 * never weakened in silence. */
#include "token/schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "token/grammar_priv.h"
#include "token/schema_priv.h"

#define PATH_MAX_NAMES 400

/* Keywords that are understood, notes aside. */
static const char *const known[] = {
    "$ref",
    "$defs",
    "definitions",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "enum",
    "format",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "nullable",
    "oneOf",
    "pattern",
    "prefixItems",
    "properties",
    "required",
    "type",
    "uniqueItems",
};

/* --- complaints --------------------------------------------------------- */

/* Add <name> or <index> to the path in <out> (cap). */
static void put_name(char *out, size_t cap, const char *name, size_t index)
{
    size_t n = strlen(out);

    if (name)
        snprintf(out + n, cap - n, "%s%s", n ? "." : "", name);
    else
        snprintf(out + n, cap - n, "%s%zu", n ? "." : "", index);
}

uint32_t schema_fault(struct schema_ctx *c, const struct schema_at *at,
                      const char *key, enum err err, const char *text)
{
    const struct schema_at *path[PATH_MAX_NAMES];
    char *out = c->why->param;
    size_t n = 0;

    if (c->err)
        return AUTO_FAIL;
    c->err = err;
    out[0] = '\0';
    for (; at && at->up && n < PATH_MAX_NAMES; at = at->up)
        path[n++] = at;
    while (n > 0) {
        at = path[--n];
        put_name(out, sizeof(c->why->param), at->key, at->index);
    }
    if (key)
        put_name(out, sizeof(c->why->param), key, 0);
    snprintf(c->why->text, sizeof(c->why->text), "%s", text);
    return AUTO_FAIL;
}

/* --- types -------------------------------------------------------------- */

static const struct {
    const char *name;
    enum schema_type type;
} type_names[] = {
    {"null", SCHEMA_NULL},       {"boolean", SCHEMA_BOOLEAN},
    {"integer", SCHEMA_INTEGER}, {"number", SCHEMA_NUMBER},
    {"string", SCHEMA_STRING},   {"array", SCHEMA_ARRAY},
    {"object", SCHEMA_OBJECT},
};

static unsigned type_of_name(const json_t *name)
{
    const char *text = json_string_value(name);

    for (size_t i = 0; text && i < 7; i++)
        if (strcmp(type_names[i].name, text) == 0)
            return type_names[i].type;
    return 0;
}

/* The types that keywords of <s> are about, when it has no "type". */
static unsigned implied_types(const json_t *s)
{
    static const struct {
        const char *key;
        unsigned type;
    } about[] = {
        {"properties", SCHEMA_OBJECT},
        {"required", SCHEMA_OBJECT},
        {"additionalProperties", SCHEMA_OBJECT},
        {"items", SCHEMA_ARRAY},
        {"prefixItems", SCHEMA_ARRAY},
        {"minItems", SCHEMA_ARRAY},
        {"maxItems", SCHEMA_ARRAY},
        {"minLength", SCHEMA_STRING},
        {"maxLength", SCHEMA_STRING},
        {"pattern", SCHEMA_STRING},
        {"format", SCHEMA_STRING},
        {"minimum", SCHEMA_NUMBER},
        {"maximum", SCHEMA_NUMBER},
        {"exclusiveMinimum", SCHEMA_NUMBER},
        {"exclusiveMaximum", SCHEMA_NUMBER},
    };
    unsigned types = 0;

    for (size_t i = 0; i < sizeof(about) / sizeof(*about); i++)
        if (json_object_get(s, about[i].key))
            types |= about[i].type;
    return types ? types : SCHEMA_ALL;
}

unsigned schema_types(struct schema_ctx *c, const struct schema_at *at,
                      const json_t *s)
{
    const json_t *type = json_object_get(s, "type");
    unsigned types = 0, one;

    if (!type)
        types = implied_types(s);
    else if (json_is_string(type))
        types = type_of_name(type);
    for (size_t i = 0; i < json_array_size(type); i++) {
        one = type_of_name(json_array_get(type, i));
        if (!one)
            types = 0;
        if (!one)
            break;
        types |= one;
    }
    if (!types)
        schema_fault(c, at, "type", ERR_SYNTAX,
                     "must be a type's name or a list of them");
    else if (json_is_true(json_object_get(s, "nullable")))
        types |= SCHEMA_NULL;
    return types & SCHEMA_NUMBER ? types & ~(unsigned)SCHEMA_INTEGER : types;
}

/* Values of each type that <s> allows. */
static uint32_t by_type(struct schema_ctx *c, const struct schema_at *at,
                        const json_t *s, uint32_t next)
{
    unsigned types = schema_types(c, at, s);
    struct automaton *a = c->a;
    uint32_t out = AUTO_FAIL;

    if (!schema_says(s, NULL))
        return auto_value(a, next);
    if (types & SCHEMA_OBJECT)
        out = auto_split(a, out, schema_object(c, at, s, next));
    if (types & SCHEMA_ARRAY)
        out = auto_split(a, out, schema_array(c, at, s, next));
    if (types & SCHEMA_STRING)
        out = auto_split(a, out, schema_string(c, at, s, next));
    if (types & (SCHEMA_INTEGER | SCHEMA_NUMBER))
        out = auto_split(
            a, out, schema_number(c, at, s, !(types & SCHEMA_NUMBER), next));
    if (types & SCHEMA_BOOLEAN) {
        out = auto_split(a, out, auto_text(a, STR("true"), next));
        out = auto_split(a, out, auto_text(a, STR("false"), next));
    }
    if (types & SCHEMA_NULL)
        out = auto_split(a, out, auto_text(a, STR("null"), next));
    return out;
}

/* --- schemas made of schemas -------------------------------------------- */

/* A node where values of <target> begin, up to AUTO_RET. */
static uint32_t rule_of(struct schema_ctx *c, const struct schema_at *at,
                        const json_t *target)
{
    struct schema_rule *more;
    uint32_t hole;

    for (size_t i = 0; i < c->n_rules; i++)
        if (c->rules[i].schema == target)
            return c->rules[i].entry;
    if (c->n_rules == c->rules_cap) {
        c->rules_cap = c->rules_cap ? c->rules_cap * 2 : 16;
        more = realloc(c->rules, c->rules_cap * sizeof(*more));
        if (!more)
            return schema_fault(c, at, NULL, ERR_NOMEM, "out of memory");
        c->rules = more;
    }
    hole = auto_hole(c->a);
    c->rules[c->n_rules++] = (struct schema_rule){target, hole};
    auto_fill(c->a, hole, schema_value(c, at, target, AUTO_RET));
    return hole;
}

/* Values of a schema with "$ref". */
static uint32_t by_ref(struct schema_ctx *c, const struct schema_at *at,
                       const json_t *s, uint32_t next)
{
    const json_t *target = schema_resolve(c, at, s), *rest;
    const struct schema_at top = {NULL, NULL, 0};
    struct schema_at there = {&top, NULL, 0};
    char name[sizeof(c->why->param)];

    if (!target)
        return AUTO_FAIL;
    snprintf(name, sizeof(name), "%s",
             json_string_value(json_object_get(s, "$ref")));
    for (char *p = name; *p; p++)
        *p = *p == '/' ? '.' : *p;
    there.key = name + (name[1] ? 2 : 1);
    if (!schema_says(s, "$ref"))
        return auto_call(c->a, rule_of(c, name[1] ? &there : &top, target),
                         next);
    rest = schema_without(c, s, "$ref");
    rest = rest ? schema_merge(c, at, "$ref", target, rest) : NULL;
    return rest ? schema_value(c, at, rest, next) : AUTO_FAIL;
}

/* Values of a schema with "allOf": all of it merged into one. */
static uint32_t by_all(struct schema_ctx *c, const struct schema_at *at,
                       const json_t *s, uint32_t next)
{
    const json_t *list = json_object_get(s, "allOf");
    const json_t *sum = schema_without(c, s, "allOf");
    size_t n = json_array_size(list);

    if (n == 0 || n > SCHEMA_BRANCHES_MAX)
        return schema_fault(c, at, "allOf", n ? ERR_FULL : ERR_SYNTAX,
                            "must be a list of at least one schema");
    for (size_t i = 0; i < n && sum; i++)
        sum = schema_merge(c, at, "allOf", sum, json_array_get(list, i));
    return sum ? schema_value(c, at, sum, next) : AUTO_FAIL;
}

/* Whether the branches of a oneOf exclude each other. */
static bool all_apart(struct schema_ctx *c, const json_t *list)
{
    size_t n = json_array_size(list);

    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++)
            if (!schema_apart(c, json_array_get(list, i),
                              json_array_get(list, j)))
                return false;
    return true;
}

/* Values of a schema with "anyOf" or "oneOf", the <key>: each branch together
 * with what stands beside it. */
static uint32_t by_any(struct schema_ctx *c, const struct schema_at *at,
                       const json_t *s, const char *key, uint32_t next)
{
    const json_t *list = json_object_get(s, key), *branch, *rest = NULL;
    struct schema_at below = schema_below(at, key), item;
    size_t n = json_array_size(list);
    uint32_t out = AUTO_FAIL;

    if (n == 0 || n > SCHEMA_BRANCHES_MAX)
        return schema_fault(c, at, key, n ? ERR_FULL : ERR_SYNTAX,
                            "must be a list of 1 to 256 schemas");
    if (strcmp(key, "oneOf") == 0 && !all_apart(c, list))
        return schema_fault(c, at, key, ERR_REFUSED,
                            "branches that do not exclude each other by their "
                            "types or by a required constant are not "
                            "supported: use anyOf");
    if (schema_says(s, key))
        rest = schema_without(c, s, key);
    for (size_t i = 0; i < n && !c->err; i++) {
        branch = json_array_get(list, i);
        item = schema_item(&below, i);
        if (rest)
            branch = schema_merge(c, at, key, branch, rest);
        if (branch)
            out = auto_split(c->a, out, schema_value(c, &item, branch, next));
    }
    return out;
}

/* Values of a schema with "const" or "enum". */
static uint32_t by_enum(struct schema_ctx *c, const struct schema_at *at,
                        const json_t *s, uint32_t next)
{
    json_t *one = json_object_get(s, "const"), *list;
    unsigned types = SCHEMA_ALL;
    const char *key;
    json_t *value;
    uint32_t out;

    json_object_foreach(schema_open(s), key, value) if (
        !schema_is_note(key) && strcmp(key, "const") != 0 &&
        strcmp(key, "enum") != 0 && strcmp(key, "type") != 0 &&
        strcmp(key, "nullable") !=
            0) return schema_fault(c, at, key, ERR_REFUSED,
                                   "is not supported beside enum or const");
    if (one && json_object_get(s, "enum"))
        return schema_fault(c, at, "const", ERR_REFUSED,
                            "is not supported beside enum");
    if (json_object_get(s, "type"))
        types = schema_types(c, at, s);
    if (!one)
        return schema_enum(c, at, json_object_get(s, "enum"), types, next);
    list = json_array();
    if (!list || json_array_append(list, one)) {
        json_decref(list);
        return schema_fault(c, at, NULL, ERR_NOMEM, "out of memory");
    }
    out = schema_enum(c, at, list, types, next);
    json_decref(list);
    return out;
}

static bool all_known(struct schema_ctx *c, const struct schema_at *at,
                      const json_t *s)
{
    const char *key;
    json_t *value;

    json_object_foreach(schema_open(s), key, value)
    {
        size_t i = 0, n = sizeof(known) / sizeof(*known);
        while (i < n && strcmp(known[i], key) != 0)
            i++;
        if (i < n || schema_is_note(key))
            continue;
        schema_fault(c, at, key, ERR_REFUSED,
                     "this schema keyword is not supported");
        return false;
    }
    return true;
}

/* Values of <s>, an object with understood keywords. */
static uint32_t by_keywords(struct schema_ctx *c, const struct schema_at *at,
                            const json_t *s, uint32_t next)
{
    if (json_object_get(s, "$ref"))
        return by_ref(c, at, s, next);
    if (json_object_get(s, "allOf"))
        return by_all(c, at, s, next);
    if (json_object_get(s, "anyOf"))
        return by_any(c, at, s, "anyOf", next);
    if (json_object_get(s, "oneOf"))
        return by_any(c, at, s, "oneOf", next);
    if (json_object_get(s, "const") || json_object_get(s, "enum"))
        return by_enum(c, at, s, next);
    return by_type(c, at, s, next);
}

uint32_t schema_value(struct schema_ctx *c, const struct schema_at *at,
                      const json_t *s, uint32_t next)
{
    uint32_t out = AUTO_FAIL;

    if (c->err || c->a->err)
        return AUTO_FAIL;
    if (json_is_true(s))
        return auto_value(c->a, next);
    if (json_is_false(s))
        return AUTO_FAIL;
    if (!json_is_object(s))
        return schema_fault(c, at, NULL, ERR_SYNTAX,
                            "a schema must be an object or a boolean");
    if (c->depth >= SCHEMA_DEPTH_MAX || c->visits >= SCHEMA_VISITS_MAX)
        return schema_fault(c, at, NULL, ERR_FULL,
                            "the schema is too large or too deep");
    c->depth++;
    c->visits++;
    if (all_known(c, at, s))
        out = by_keywords(c, at, s, next);
    c->depth--;
    return out;
}

enum err schema_build(struct automaton *a, const json_t *schema,
                      struct grammar_fault *why, uint32_t next, uint32_t *out)
{
    const struct schema_at at = {NULL, NULL, 0};
    struct schema_ctx c = {.a = a, .root = schema, .why = why};
    uint32_t entry;

    c.kept = json_array();
    if (!c.kept)
        return ERR_NOMEM;
    entry = schema_value(&c, &at, schema, next);
    if (!c.err && a->err)
        schema_fault(&c, &at, NULL, a->err, "the schema is too large");
    if (!c.err)
        *out = entry;
    json_decref(c.kept);
    free(c.rules);
    return c.err;
}

enum err grammar_from_schema(const struct vocab_index *ix, const json_t *schema,
                             struct grammar_fault *why, struct grammar **out)
{
    uint32_t start = AUTO_FAIL;
    struct automaton a;
    enum err err;

    memset(why, 0, sizeof(*why));
    auto_init(&a);
    err = schema_build(&a, schema, why, AUTO_RET, &start);
    if (err) {
        auto_fini(&a);
        return err;
    }
    start = auto_split(&a, start, auto_text(&a, STR(" "), start));
    err = grammar_make(ix, &a, start, out);
    if (err == ERR_SYNTAX)
        snprintf(why->text, sizeof(why->text),
                 "no finite value can match this schema");
    if (err == ERR_REFUSED) {
        err = ERR_SYNTAX;
        snprintf(why->text, sizeof(why->text),
                 "a reference leads back to itself");
    }
    return err;
}
