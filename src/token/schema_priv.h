/* schema_priv.h - What the parts of the schema compiler share. Builders take
 * the place of their schema in the text, for complaints, and the node that
 * follows; the first mistake sticks. Only for schema*.c. */
#ifndef TG_TOKEN_SCHEMA_PRIV_H
#define TG_TOKEN_SCHEMA_PRIV_H

#include "token/schema.h"

#define SCHEMA_DEPTH_MAX      96    /* schemas within schemas */
#define SCHEMA_VISITS_MAX     20000 /* schemas read, merged ones included */
#define SCHEMA_PROPERTIES_MAX 1000  /* of one object */
#define SCHEMA_ENUM_MAX       4096  /* values of one enum */
#define SCHEMA_BRANCHES_MAX   256   /* of one anyOf */

/* A place within the schema: its name or index and where it lies. */
struct schema_at {
    const struct schema_at *up; /* NULL at the root */
    const char *key;            /* NULL: <index> */
    size_t index;
};

/* A schema that is called by reference. */
struct schema_rule {
    const json_t *schema;
    uint32_t entry;
};

/* A schema being compiled. */
struct schema_ctx {
    struct automaton *a;
    const json_t *root;
    struct grammar_fault *why;
    enum err err; /* the first mistake */
    struct schema_rule *rules;
    size_t n_rules, rules_cap;
    json_t *kept; /* array of merged schemas, alive until the end */
    unsigned depth, visits;
};

/* <s> as jansson wants it, which counts references in what it reads. */
static inline json_t *schema_open(const json_t *s)
{
    union {
        const json_t *in;
        json_t *out;
    } u = {s};

    return u.out;
}

/* Note a mistake at <at>.<key> (may be NULL); AUTO_FAIL, so that callers can
 * return it. */
uint32_t schema_fault(struct schema_ctx *c, const struct schema_at *at,
                      const char *key, enum err err, const char *text);

/* A sub-schema's place. */
static inline struct schema_at schema_below(const struct schema_at *up,
                                            const char *key)
{
    return (struct schema_at){up, key, 0};
}

/* The place of an element. */
static inline struct schema_at schema_item(const struct schema_at *up,
                                           size_t index)
{
    return (struct schema_at){up, NULL, index};
}

/* Values of schema <s>. */
uint32_t schema_value(struct schema_ctx *c, const struct schema_at *at,
                      const json_t *s, uint32_t next);

/* Values of <s> that are objects. */
uint32_t schema_object(struct schema_ctx *c, const struct schema_at *at,
                       const json_t *s, uint32_t next);

/* Values of <s> that are arrays. */
uint32_t schema_array(struct schema_ctx *c, const struct schema_at *at,
                      const json_t *s, uint32_t next);

/* Values of <s> that are strings. */
uint32_t schema_string(struct schema_ctx *c, const struct schema_at *at,
                       const json_t *s, uint32_t next);

/* Values of <s> that are numbers, or integers. */
uint32_t schema_number(struct schema_ctx *c, const struct schema_at *at,
                       const json_t *s, bool integer, uint32_t next);

/* One of the values of array <values>, those of a type in <types> (bits of
 * enum schema_type). */
uint32_t schema_enum(struct schema_ctx *c, const struct schema_at *at,
                     const json_t *values, unsigned types, uint32_t next);

/* A limit of items or characters: <key> of <s>, or <otherwise>. False after a
 * mistake. */
bool schema_limit(struct schema_ctx *c, const struct schema_at *at,
                  const json_t *s, const char *key, uint32_t *limit);

/* Types as bits. */
enum schema_type {
    SCHEMA_NULL = 1,
    SCHEMA_BOOLEAN = 2,
    SCHEMA_INTEGER = 4,
    SCHEMA_NUMBER = 8,
    SCHEMA_STRING = 16,
    SCHEMA_ARRAY = 32,
    SCHEMA_OBJECT = 64,
    SCHEMA_ALL = 127 - SCHEMA_INTEGER,
};

/* The types that <s> allows, by "type" or by what else it says; 0 after a
 * mistake. */
unsigned schema_types(struct schema_ctx *c, const struct schema_at *at,
                      const json_t *s);

/* --- schema_merge.c ----------------------------------------------------- */

/* Whether <key> says nothing about values. */
bool schema_is_note(const char *key);

/* Whether <s> has a keyword that is no note, besides <but> (may be NULL). */
bool schema_says(const json_t *s, const char *but);

/* The schema that "$ref" of <s> means; NULL after a mistake. */
const json_t *schema_resolve(struct schema_ctx *c, const struct schema_at *at,
                             const json_t *s);

/* A schema of what both allow, kept in <c>; NULL after a mistake. <key> is
 * complained about. */
const json_t *schema_merge(struct schema_ctx *c, const struct schema_at *at,
                           const char *key, const json_t *x, const json_t *y);

/* A copy of <s> without <key>, kept in <c>; NULL without memory. */
const json_t *schema_without(struct schema_ctx *c, const json_t *s,
                             const char *key);

/* Whether no value is of both schemas, as far as it shows. */
bool schema_apart(struct schema_ctx *c, const json_t *x, const json_t *y);

#endif
