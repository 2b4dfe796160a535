/* schema_object.c - Objects and arrays. Members come in the order of
 * `properties`, those that are not required may be left out in any
 * combination, and others follow where they are allowed. An object that names
 * its properties and is silent about others has no others. */
#include <stdlib.h>
#include <string.h>

#include "token/schema_priv.h"

/* A member that has a name. */
struct member {
    const char *name;
    const json_t *schema;
    bool required;
};

/* The members of an object. */
struct members {
    struct member *list;
    size_t n;
    const json_t *more;  /* of members without a name; NULL = none */
    const char *more_at; /* where that is said */
    uint32_t close, after_more, pick_more;
};

static bool is_in(const json_t *list, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (text && strcmp(text, name) == 0)
            return true;
    }
    return false;
}

/* What `additionalProperties` of <s> comes to: whether there may be others,
 * and of which schema. False after a mistake. */
static bool read_more(struct schema_ctx *c, const struct schema_at *at,
                      const json_t *s, struct members *m)
{
    const json_t *more = json_object_get(s, "additionalProperties");

    m->more_at = "additionalProperties";
    if (!more && !json_object_get(s, "properties"))
        more = json_true();
    if (more && !json_is_boolean(more) && !json_is_object(more)) {
        schema_fault(c, at, m->more_at, ERR_SYNTAX,
                     "must be a boolean or a schema");
        return false;
    }
    m->more = json_is_false(more) ? NULL : more;
    return true;
}

/* Fill the list: named properties in their order, then required names that
 * have no schema of their own. False after a mistake. */
static bool read_members(struct schema_ctx *c, const struct schema_at *at,
                         const json_t *s, struct members *m)
{
    json_t *named = json_object_get(s, "properties"), *value;
    const json_t *required = json_object_get(s, "required");
    size_t n = json_object_size(named) + json_array_size(required);
    const char *key;

    if (n > SCHEMA_PROPERTIES_MAX * 2 ||
        json_object_size(named) > SCHEMA_PROPERTIES_MAX) {
        schema_fault(c, at, "properties", ERR_FULL, "too many properties");
        return false;
    }
    m->list = calloc(n + 1, sizeof(*m->list));
    if (!m->list) {
        schema_fault(c, at, NULL, ERR_NOMEM, "out of memory");
        return false;
    }
    json_object_foreach(named, key, value) m->list[m->n++] =
        (struct member){key, value, is_in(required, key)};
    for (size_t i = 0; i < json_array_size(required); i++) {
        const char *name = json_string_value(json_array_get(required, i));
        bool there = false;
        for (size_t k = 0; name && k < m->n && !there; k++)
            there = strcmp(m->list[k].name, name) == 0;
        if (!name || (!there && json_object_get(s, "additionalProperties") &&
                      !m->more)) {
            schema_fault(c, at, "required", ERR_SYNTAX,
                         "must list names of properties");
            return false;
        }
        if (!there)
            m->list[m->n++] =
                (struct member){name, m->more ? m->more : json_true(), true};
    }
    return true;
}

/* The part that a comma leads to when no named member is left: others, as many
 * as the text likes. */
static void build_more(struct schema_ctx *c, const struct schema_at *at,
                       struct members *m)
{
    struct schema_at below = schema_below(at, m->more_at);
    struct automaton *a = c->a;
    struct str *names;
    uint32_t value;

    m->after_more = m->close;
    m->pick_more = AUTO_FAIL;
    if (!m->more)
        return;
    names = calloc(m->n + 1, sizeof(*names));
    if (!names) {
        schema_fault(c, at, NULL, ERR_NOMEM, "out of memory");
        return;
    }
    for (size_t i = 0; i < m->n; i++)
        names[i] = str_from(m->list[i].name);
    m->after_more = auto_hole(a);
    value = auto_colon(a, schema_value(c, &below, m->more, m->after_more));
    m->pick_more = auto_string_but(a, names, m->n, value);
    auto_fill(a, m->after_more,
              auto_split(a, auto_text(a, STR(","), auto_space(a, m->pick_more)),
                         m->close));
    free(names);
}

/* All members, from the last to the first: <pick> is where a member from here
 * on begins, <after> where one has ended. */
static uint32_t build_members(struct schema_ctx *c, const struct schema_at *at,
                              const struct members *m)
{
    struct schema_at below = schema_below(at, "properties");
    uint32_t pick = m->pick_more, after = m->after_more, here;
    struct automaton *a = c->a;
    bool may_close = true;

    for (size_t i = m->n; i > 0 && !c->err; i--) {
        const struct member *p = &m->list[i - 1];
        struct schema_at place = schema_below(&below, p->name);
        here = auto_colon(a, schema_value(c, &place, p->schema, after));
        here = auto_text(a, STR("\""), here);
        here = auto_text(a, STR("\""),
                         auto_string_text(a, str_from(p->name), here));
        may_close = may_close && !p->required;
        pick = p->required ? here : auto_split(a, here, pick);
        after = auto_split(a, auto_text(a, STR(","), auto_space(a, pick)),
                           may_close ? m->close : AUTO_FAIL);
    }
    here = auto_space(a, pick);
    return auto_split(a, here, may_close ? m->close : AUTO_FAIL);
}

uint32_t schema_object(struct schema_ctx *c, const struct schema_at *at,
                       const json_t *s, uint32_t next)
{
    const json_t *named = json_object_get(s, "properties");
    const json_t *required = json_object_get(s, "required");
    struct members m = {0};
    uint32_t out = AUTO_FAIL;

    if (named && !json_is_object(named))
        return schema_fault(c, at, "properties", ERR_SYNTAX,
                            "must be an object");
    if (required && !json_is_array(required))
        return schema_fault(c, at, "required", ERR_SYNTAX, "must be a list");
    m.close = auto_space(c->a, auto_text(c->a, STR("}"), next));
    if (read_more(c, at, s, &m) && read_members(c, at, s, &m)) {
        build_more(c, at, &m);
        out = auto_text(c->a, STR("{"), build_members(c, at, &m));
    }
    free(m.list);
    return out;
}

/* --- arrays ------------------------------------------------------------- */

/* What an array consists of. */
struct elements {
    const json_t *first; /* list of schemas, or NULL */
    const json_t *rest;  /* NULL = none */
    uint32_t min, max;
    uint32_t close;
};

bool schema_limit(struct schema_ctx *c, const struct schema_at *at,
                  const json_t *s, const char *key, uint32_t *limit)
{
    const json_t *v = json_object_get(s, key);
    double d = json_number_value(v);

    if (!v)
        return true;
    if (d > 1e9)
        d = 1e9;
    if (!json_is_number(v) || !(d >= 0) || d != (double)(uint32_t)d) {
        schema_fault(c, at, key, ERR_SYNTAX,
                     "must be a whole number of at least 0");
        return false;
    }
    *limit = (uint32_t)d;
    return true;
}

/* Read the keywords of an array; false after a mistake. */
static bool read_elements(struct schema_ctx *c, const struct schema_at *at,
                          const json_t *s, struct elements *e)
{
    const json_t *items = json_object_get(s, "items");

    e->max = AUTO_NO_MAX;
    e->first = json_object_get(s, "prefixItems");
    if (json_is_array(items) && !e->first) { /* as before 2020-12 */
        e->first = items;
        items = NULL;
    }
    if (e->first && !json_is_array(e->first)) {
        schema_fault(c, at, "prefixItems", ERR_SYNTAX, "must be a list");
        return false;
    }
    if (json_array_size(e->first) > SCHEMA_PROPERTIES_MAX) {
        schema_fault(c, at, "prefixItems", ERR_FULL, "too many items");
        return false;
    }
    e->rest = items ? items : json_true();
    if (json_is_false(e->rest) || (e->first && !items))
        e->rest = NULL;
    if (json_object_get(s, "uniqueItems") &&
        !json_is_false(json_object_get(s, "uniqueItems"))) {
        schema_fault(c, at, "uniqueItems", ERR_REFUSED,
                     "this schema keyword is not supported");
        return false;
    }
    return schema_limit(c, at, s, "minItems", &e->min) &&
           schema_limit(c, at, s, "maxItems", &e->max);
}

/* Elements behind the <n> of the list, <left> of which may still follow; where
 * a comma and such an element begin, or none. */
static uint32_t rest_elements(struct schema_ctx *c, const struct schema_at *at,
                              const struct elements *e, uint32_t n,
                              uint32_t *item)
{
    struct schema_at below = schema_below(at, "items");
    uint32_t min = e->min > n ? e->min - n : 0;
    uint32_t max = e->max == AUTO_NO_MAX ? e->max : e->max > n ? e->max - n : 0;
    struct automaton *a = c->a;
    uint32_t more;

    *item = AUTO_FAIL;
    if (!e->rest || max == 0)
        return min ? AUTO_FAIL : e->close;
    *item = schema_value(c, &below, e->rest, AUTO_RET);
    more = auto_text(a, STR(","), auto_space(a, *item));
    return auto_loop(a, more, min, max, e->close);
}

/* The elements of an array whose list has none: the first has no comma. */
static uint32_t only_rest(struct schema_ctx *c, const struct schema_at *at,
                          struct elements *e)
{
    struct elements tail = *e;
    uint32_t item, more, begin;

    tail.min = e->min ? e->min - 1 : 0;
    tail.max = e->max == AUTO_NO_MAX ? e->max : e->max - 1;
    if (e->max == 0 || !e->rest)
        return e->min ? AUTO_FAIL : e->close;
    more = AUTO_FAIL;
    begin = rest_elements(c, at, &tail, 0, &item);
    if (tail.max == 0) {
        struct schema_at below = schema_below(at, "items");
        item = schema_value(c, &below, e->rest, AUTO_RET);
    }
    more = auto_space(c->a, auto_call(c->a, item, begin));
    return auto_split(c->a, more, e->min ? AUTO_FAIL : e->close);
}

/* The elements of the list, then the others. */
static uint32_t with_list(struct schema_ctx *c, const struct schema_at *at,
                          const struct elements *e)
{
    struct schema_at below = schema_below(at, "prefixItems"), place;
    uint32_t n = (uint32_t)json_array_size(e->first), item, after, value;

    if (n > e->max)
        n = e->max;
    after = rest_elements(c, at, e, n, &item);
    for (uint32_t i = n; i > 0 && !c->err; i--) {
        place = schema_item(&below, i - 1);
        value = schema_value(c, &place, json_array_get(e->first, i - 1), after);
        after = auto_space(c->a, value);
        if (i > 1)
            after = auto_text(c->a, STR(","), after);
        if (e->min < i)
            after = auto_split(c->a, after, e->close);
    }
    return after;
}

uint32_t schema_array(struct schema_ctx *c, const struct schema_at *at,
                      const json_t *s, uint32_t next)
{
    struct elements e = {0};
    uint32_t out;

    if (!read_elements(c, at, s, &e))
        return AUTO_FAIL;
    e.close = auto_space(c->a, auto_text(c->a, STR("]"), next));
    if (e.min > e.max)
        return AUTO_FAIL;
    if (json_array_size(e.first) == 0 || e.max == 0)
        out = only_rest(c, at, &e);
    else
        out = with_list(c, at, &e);
    return auto_text(c->a, STR("["), out);
}
