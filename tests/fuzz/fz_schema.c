/* fz_schema.c - A schema, as text or made up from the bytes, then random walks
 * by masks: what is masked in is accepted, there is no dead end, and what is
 * written is JSON. */
#include "token/grammar.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bytevocab.h"

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #cond);                 \
            abort();                                                           \
        }                                                                      \
    } while (0)

#define WALKS 1
#define STEPS 30

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What decides. */
struct dice {
    const uint8_t *p;
    size_t left;
    uint64_t rnd;
};

static unsigned roll(struct dice *d, unsigned n)
{
    if (d->left == 0)
        return 0;
    d->left--;
    return *d->p++ % n;
}

static unsigned random_of(struct dice *d, unsigned n)
{
    d->rnd = d->rnd * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(d->rnd >> 33) % n;
}

/* --- schemas made up ---------------------------------------------------- */

static const char *const names[] = {"a", "ab", "abc", "\xc3\xa9", "k\"", ""};

static json_t *make(struct dice *d, unsigned depth);

static json_t *make_number(struct dice *d)
{
    int v = (int)roll(d, 256) - 128, scale = (int)roll(d, 5);

    if (scale < 3)
        return json_integer(v * (scale == 2 ? 1000003 : 1));
    return json_real(v / (scale == 3 ? 8.0 : 10000.0));
}

static json_t *make_string(struct dice *d)
{
    json_t *s = json_pack("{s:s}", "type", "string");
    static const char *const patterns[] = {
        "^[a-c]{1,3}$", "a|b", "^(x?y*)+$", "\\d\\w\\s", "^.{2,9}$", "[^a]"};
    static const char *const formats[] = {"date-time", "ipv6",     "uuid",
                                          "email",     "duration", "uri"};

    if (roll(d, 3) == 0)
        json_object_set_new(s, "minLength", json_integer(roll(d, 20)));
    if (roll(d, 3) == 0)
        json_object_set_new(s, "maxLength", json_integer(roll(d, 200)));
    if (roll(d, 4) == 0)
        json_object_set_new(s, "pattern", json_string(patterns[roll(d, 6)]));
    else if (roll(d, 6) == 0)
        json_object_set_new(s, "format", json_string(formats[roll(d, 6)]));
    return s;
}

static json_t *make_bounds(struct dice *d)
{
    static const char *const keys[] = {"minimum", "maximum", "exclusiveMinimum",
                                       "exclusiveMaximum"};
    json_t *s = json_pack("{s:s}", "type", roll(d, 2) ? "integer" : "number");

    for (unsigned i = roll(d, 4); i > 0; i--)
        json_object_set_new(s, keys[roll(d, 4)], make_number(d));
    return s;
}

static json_t *make_object(struct dice *d, unsigned depth)
{
    json_t *s = json_pack("{s:s,s:{},s:[]}", "type", "object", "properties",
                          "required");

    for (unsigned i = roll(d, 5); i > 0; i--) {
        const char *name = names[roll(d, 6)];
        json_object_set_new(json_object_get(s, "properties"), name,
                            make(d, depth + 1));
        if (roll(d, 2))
            json_array_append_new(json_object_get(s, "required"),
                                  json_string(name));
    }
    if (roll(d, 3) == 0)
        json_object_set_new(s, "additionalProperties", make(d, depth + 1));
    else if (roll(d, 2))
        json_object_set_new(s, "additionalProperties", json_false());
    return s;
}

static json_t *make_array(struct dice *d, unsigned depth)
{
    json_t *s = json_pack("{s:s}", "type", "array");

    if (roll(d, 4))
        json_object_set_new(s, "items", make(d, depth + 1));
    if (roll(d, 4) == 0) {
        json_object_set_new(s, "prefixItems", json_array());
        for (unsigned i = roll(d, 3); i > 0; i--)
            json_array_append_new(json_object_get(s, "prefixItems"),
                                  make(d, depth + 1));
    }
    if (roll(d, 3) == 0)
        json_object_set_new(s, "minItems", json_integer(roll(d, 4)));
    if (roll(d, 3) == 0)
        json_object_set_new(s, "maxItems", json_integer(roll(d, 100)));
    return s;
}

static json_t *make_list(struct dice *d, unsigned depth)
{
    static const char *const keys[] = {"anyOf", "oneOf", "allOf"};
    json_t *s = roll(d, 3) ? json_object() : make(d, depth + 2);
    json_t *list = json_array();

    for (unsigned i = 1 + roll(d, 3); i > 0; i--)
        json_array_append_new(list, make(d, depth + 1));
    if (!json_is_object(s)) {
        json_decref(s);
        s = json_object();
    }
    json_object_set_new(s, keys[roll(d, 3)], list);
    return s;
}

static json_t *make_enum(struct dice *d)
{
    json_t *list = json_array();

    for (unsigned i = roll(d, 5); i > 0; i--)
        json_array_append_new(list, roll(d, 2) ? json_string(names[roll(d, 6)])
                                               : make_number(d));
    if (roll(d, 4) == 0)
        json_array_append_new(list, json_pack("{s:[n,b]}", "x", 1));
    return json_pack("{s:o}", "enum", list);
}

static json_t *make(struct dice *d, unsigned depth)
{
    static const char *const refs[] = {"#", "#/$defs/a", "#/$defs/b", "#/x"};

    if (depth > 6)
        return json_pack("{s:s}", "type", "null");
    switch (roll(d, 12)) {
    case 0:
        return json_true();
    case 1:
    case 2:
        return make_string(d);
    case 3:
        return make_bounds(d);
    case 4:
    case 5:
        return make_object(d, depth);
    case 6:
    case 7:
        return make_array(d, depth);
    case 8:
        return make_list(d, depth);
    case 9:
        return json_pack("{s:s}", "$ref", refs[roll(d, 4)]);
    case 10:
        return make_enum(d);
    default:
        return json_pack("{s:[s,s]}", "type", "null", "boolean");
    }
}

static json_t *make_root(struct dice *d)
{
    json_t *s = make(d, 0);

    if (json_is_object(s))
        json_object_set_new(
            s, "$defs",
            json_pack("{s:o,s:o}", "a", make(d, 1), "b", make(d, 1)));
    return s;
}

/* --- walks -------------------------------------------------------------- */

/* One token of <mask>, which has one. */
static int32_t pick(struct dice *d, const uint64_t *mask, unsigned n)
{
    unsigned at = random_of(d, n);

    for (unsigned i = 0; i < n; i++, at = (at + 1) % n)
        if (mask[at / 64] >> at % 64 & 1)
            return (int32_t)at;
    return -1;
}

static void check_text(const char *text, size_t n)
{
    json_error_t at;
    json_t *v = json_loadb(text, n, JSON_DECODE_ANY, &at);

    if (!v)
        fprintf(stderr, "%s: %.*s\n", at.text, (int)n, text);
    CHECK(v);
    json_decref(v);
}

/* Walk through <g>; with <json> what is whole must parse. */
static void walk(struct dice *d, struct grammar *g, const struct vocab *v,
                 bool json)
{
    struct grammar_state *s = grammar_start(g), *copy = NULL;
    static char text[STEPS * 64];
    uint64_t mask[16] = {0};
    size_t n = 0;

    CHECK(s);
    for (int i = 0; i < STEPS; i++) {
        struct str bytes;
        int32_t id;
        grammar_mask(s, mask);
        CHECK(grammar_may_end(s) ==
              (mask[BYTEVOCAB_EOS / 64] >> BYTEVOCAB_EOS % 64 & 1));
        id = pick(d, mask, vocab_size(v));
        CHECK(id >= 0);
        CHECK(!grammar_must_end(s) || id == BYTEVOCAB_EOS);
        if (i == 5)
            copy = grammar_state_copy(s);
        CHECK(grammar_accept(s, id));
        bytes = vocab_bytes(v, id);
        if (id == BYTEVOCAB_EOS && json)
            check_text(text, n);
        if (id == BYTEVOCAB_EOS)
            break;
        memcpy(text + n, bytes.p, bytes.len);
        n += bytes.len;
    }
    grammar_state_free(copy);
    grammar_state_free(s);
}

/* Tools with one function of <schema>. */
static enum err tools_of(struct dice *d, const struct vocab_index *ix,
                         json_t *schema, struct grammar_fault *why,
                         struct grammar **out)
{
    json_t *tools =
        json_pack("[{s:{s:s,s:O,s:b}}]", "function", "name", names[roll(d, 5)],
                  "parameters", schema, "strict", (int)roll(d, 2));
    struct grammar_tools t = {.style = roll(d, 4),
                              .tools = tools,
                              .required = roll(d, 2),
                              .parallel = roll(d, 2)};
    enum err err = grammar_from_tools(ix, &t, why, out);

    json_decref(tools);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vocab *v;
    static struct vocab_index *ix;
    struct dice d = {data, size, size};
    struct grammar_fault why;
    struct grammar *g = NULL;
    json_t *schema;
    unsigned mode;
    enum err err;

    if (!v) {
        v = bytevocab_new_usual();
        ix = vocab_index_new(v);
    }
    mode = roll(&d, 4);
    for (size_t i = 0; i < size; i++)
        d.rnd = d.rnd * 31 + data[i];
    schema = mode & 1
                 ? json_loadb((const char *)d.p, d.left, JSON_DECODE_ANY, NULL)
                 : make_root(&d);
    if (!schema)
        return 0;
    err = mode & 2 && random_of(&d, 4) == 0
              ? tools_of(&d, ix, schema, &why, &g)
              : grammar_from_schema(ix, schema, &why, &g);
    CHECK((err == ERR_OK) == (g != NULL));
    CHECK(g || why.text[0]);
    CHECK(memchr(why.param, 0, sizeof(why.param)));
    for (int i = 0; i < WALKS && g; i++)
        walk(&d, g, v, !(mode & 2));
    grammar_unref(g);
    json_decref(schema);
    return 0;
}
