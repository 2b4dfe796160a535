/* t_grammar_walk.c - Random walks: masks are the truth of the bytes, token by
 * token; what is written parses and is of its schema; there is no dead end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "unit/grammar_kit.h"
#include "unit/schema_check.h"
#include "unit/vocab_files.h"

static const char *const schemas[] = {
    "{}",
    "{\"type\":\"object\"}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"ab\":{"
    "\"type\":\"string\",\"maxLength\":3},\"abc\":{\"type\":[\"number\","
    "\"null\"]},\"name\":{\"enum\":[\"abc\",\"ab\",\"z\\u00e9\",12,null]}},"
    "\"required\":[\"ab\"],\"additionalProperties\":false}",
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},"
    "\"name\":{\"type\":\"boolean\"}},\"additionalProperties\":{\"type\":"
    "\"array\",\"items\":{\"type\":\"string\"}}}",
    "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"minLength\":1,"
    "\"maxLength\":6},\"minItems\":1,\"maxItems\":4}",
    "{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\",\"minimum\":-"
    "12,"
    "\"maximum\":123},{\"type\":\"number\",\"minimum\":-0.5,"
    "\"exclusiveMaximum\":12.05},{\"const\":\"abc\"}],\"items\":{\"type\":"
    "\"boolean\"},\"minItems\":2}",
    "{\"$ref\":\"#/$defs/t\",\"$defs\":{\"t\":{\"type\":\"object\","
    "\"properties\":{\"a\":{\"type\":\"integer\",\"exclusiveMinimum\":7},"
    "\"name\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/t\"},"
    "\"maxItems\":2}},\"required\":[\"name\"],\"additionalProperties\":"
    "false}}}",
    "{\"anyOf\":[{\"type\":\"object\",\"properties\":{\"name\":{\"const\":"
    "\"ab\"},\"a\":{\"type\":\"integer\",\"maximum\":-3}},\"required\":["
    "\"name\",\"a\"],\"additionalProperties\":false},{\"type\":\"object\","
    "\"properties\":{\"name\":{\"const\":\"abc\"},\"b\":{\"type\":\"string\"}},"
    "\"required\":[\"name\",\"b\"],\"additionalProperties\":false},{\"type\":"
    "\"array\",\"items\":{\"$ref\":\"#\"}}]}",
    "{\"type\":\"string\",\"pattern\":\"^[a-c]{2,4}(12|z)*$\"}",
    "{\"type\":\"string\",\"pattern\":\"b[^a-y]\"}",
    "{\"type\":\"string\",\"pattern\":\"a+b\",\"minLength\":3,\"maxLength\":6}",
    "{\"allOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"type\":"
    "\"number\",\"minimum\":0.125}},\"required\":[\"a\"]},{\"properties\":{"
    "\"a\":{\"maximum\":99.5},\"name\":{\"type\":\"null\"}}}]}",
    "{\"type\":\"string\",\"minLength\":40,\"maxLength\":60}",
    "{\"anyOf\":[{\"type\":\"string\",\"maxLength\":2},{\"type\":\"string\","
    "\"maxLength\":5,\"minLength\":4},{\"type\":\"string\",\"pattern\":"
    "\"^hello world[a-z]*$\"}]}",
};

#define N_SCHEMAS (sizeof(schemas) / sizeof(*schemas))

static struct grammar *grammar_of(const struct kit *k, const char *schema)
{
    struct grammar_fault why;
    enum err err;
    struct grammar *g = kit_schema(k, schema, &why, &err);

    if (!g)
        fail_msg("%s: %s: %s", schema, why.param, why.text);
    return g;
}

/* --- masks --------------------------------------------------------------- */

/* Whether the bytes of <id> can be read one by one from <s>. */
static bool by_bytes(const struct kit *k, const struct grammar_state *s,
                     int32_t id)
{
    struct grammar_state *c = grammar_state_copy(s);
    struct str bytes = vocab_bytes(k->v, id);
    bool ok = true;

    assert_non_null(c);
    for (size_t i = 0; i < bytes.len && ok; i++)
        ok = grammar_accept(c, (uint8_t)bytes.p[i]);
    grammar_state_free(c);
    return ok;
}

/* Every token at <s>: mask, accept and bytes agree. The number allowed. */
static unsigned check_all(const struct kit *k, const struct grammar_state *s,
                          uint64_t *mask)
{
    int32_t n = (int32_t)vocab_size(k->v);
    unsigned allowed = 0;

    memset(mask, 0xFF, ((size_t)n / 64 + 1) * sizeof(*mask));
    grammar_mask(s, mask);
    for (int32_t id = 0; id < n; id++) {
        struct grammar_state *c = grammar_state_copy(s);
        bool in = mask[id / 64] >> id % 64 & 1;
        bool taken = grammar_accept(c, id);
        bool truth = id == KIT_EOS ? grammar_may_end(s)
                     : id == KIT_TOOL_CALLS || id == KIT_PYTHON
                         ? in
                         : by_bytes(k, s, id);
        if (in != taken || in != truth)
            fail_msg("token %d '%.*s': mask %d, accept %d, bytes %d", id,
                     STR_ARG(vocab_bytes(k->v, id)), in, taken, truth);
        allowed += in;
        grammar_state_free(c);
    }
    if (grammar_must_end(s))
        assert_int_equal(allowed, 1);
    assert_true(allowed > 0);
    return allowed;
}

/* Walk <g> at random, checking every state on the way. */
static void walk_checked(const struct kit *k, struct grammar *g, uint64_t seed)
{
    struct grammar_state *s = grammar_start(g);
    uint64_t mask[16];
    int32_t id = 0;

    assert_in_range(vocab_size(k->v), 1, 16 * 64);
    for (int step = 0; step < 40 && id != KIT_EOS; step++) {
        unsigned n = check_all(k, s, mask);
        n = kit_random(&seed) % n;
        for (id = 0; !(mask[id / 64] >> id % 64 & 1) || n-- > 0;)
            id++;
        assert_true(grammar_accept(s, id));
    }
    if (id == KIT_EOS) {
        assert_true(grammar_must_end(s) && grammar_may_end(s));
        grammar_mask(s, mask);
        assert_true(mask[0] == 0 && mask[KIT_EOS / 64] == 0);
        assert_false(grammar_accept(s, KIT_EOS));
    }
    grammar_state_free(s);
}

static void test_masks(void **state)
{
    struct kit k;

    (void)state;
    kit_init_usual(&k);
    for (size_t i = 0; i < N_SCHEMAS; i++) {
        struct grammar *g = grammar_of(&k, schemas[i]);
        for (uint64_t seed = 0; seed < 12; seed++)
            walk_checked(&k, g, seed * 77 + i);
        grammar_unref(g);
    }
    kit_fini(&k);
}

/* --- what is written ------------------------------------------------------ */

static void write_and_check(const struct kit *k, const char *schema,
                            unsigned rounds)
{
    static char text[20000];
    struct grammar *g = grammar_of(k, schema);
    json_t *s = json_loads(schema, 0, NULL), *v;
    json_error_t at;

    for (uint64_t seed = 0; seed < rounds; seed++) {
        if (!kit_write(k, g, seed, text, sizeof(text), 30 + seed % 300))
            fail_msg("%s: no end: %s", schema, text);
        v = json_loads(text, JSON_DECODE_ANY, &at);
        if (!v)
            fail_msg("%s: %s: %s", schema, at.text, text);
        if (!schema_check(s, s, v))
            fail_msg("%s: is not: %s", schema, text);
        if (kit_reads(k, g, str_from(text)) != 1)
            fail_msg("%s: not read again: %s", schema, text);
        json_decref(v);
    }
    json_decref(s);
    grammar_unref(g);
}

static void test_written(void **state)
{
    struct kit k;

    (void)state;
    kit_init_usual(&k);
    for (size_t i = 0; i < N_SCHEMAS; i++)
        write_and_check(&k, schemas[i], 150);
    kit_fini(&k);
}

/* A number as text in <out> (40). */
static char *random_number(uint64_t *rnd, char *out, bool integer)
{
    double d = (double)(int32_t)kit_random(rnd);

    for (uint32_t k = kit_random(rnd) % 10; k > 0; k--)
        d /= 10;
    if (integer)
        snprintf(out, 40, "%.0f", d);
    else
        snprintf(out, 40, "%.*g", 1 + (int)(kit_random(rnd) % 9), d);
    return out;
}

/* Numbers between random bounds: each one written is within them, and each
 * candidate is read exactly when it is. */
static void number_round(const struct kit *k, uint64_t *rnd)
{
    static const char *const los[] = {"minimum", "exclusiveMinimum"};
    static const char *const his[] = {"maximum", "exclusiveMaximum"};
    bool integer = kit_random(rnd) % 2, lo_ex = kit_random(rnd) % 2;
    bool hi_ex = kit_random(rnd) % 2;
    char a[40], b[40], schema[200], text[60];
    struct grammar_fault why;
    struct grammar *g;
    enum err err;
    double lo, hi, d;

    lo = strtod(random_number(rnd, a, integer), NULL);
    hi = strtod(random_number(rnd, b, integer), NULL);
    snprintf(schema, sizeof(schema), "{\"type\":\"%s\",\"%s\":%s,\"%s\":%s}",
             integer ? "integer" : "number", los[lo_ex], a, his[hi_ex], b);
    g = kit_schema(k, schema, &why, &err);
    assert_true(g || (err == ERR_SYNTAX && (lo >= hi || hi - lo < 2)));
    for (unsigned i = 0; i < 40 && g; i++) {
        bool in;
        random_number(rnd, text, integer);
        if (kit_random(rnd) % 2)
            snprintf(text, sizeof(text), "%s", kit_random(rnd) % 2 ? a : b);
        if (strchr(text, 'e') || strcmp(text, "-0") == 0)
            continue;
        d = strtod(text, NULL);
        in = (lo_ex ? d > lo : d >= lo) && (hi_ex ? d < hi : d <= hi);
        if ((kit_reads(k, g, str_from(text)) == 1) != in)
            fail_msg("%s: %s", schema, text);
    }
    for (uint64_t i = 0; i < 10 && g; i++) {
        assert_true(kit_write(k, g, *rnd + i, text, sizeof(text), 10));
        d = strtod(text, NULL);
        if (!((lo_ex ? d > lo : d >= lo) && (hi_ex ? d < hi : d <= hi)))
            fail_msg("%s: wrote %s", schema, text);
    }
    grammar_unref(g);
}

static void test_numbers(void **state)
{
    static const struct str none[1];
    uint64_t rnd = 4;
    struct kit k;

    (void)state;
    kit_init(&k, none, 0);
    for (unsigned round = 0; round < 300; round++)
        number_round(&k, &rnd);
    kit_fini(&k);
}

/* --- states --------------------------------------------------------------- */

static void test_copies(void **state)
{
    struct grammar_state *s, *c, *d;
    struct grammar *g;
    uint64_t before[16], after[16];
    struct kit k;

    (void)state;
    kit_init_usual(&k);
    g = grammar_of(&k, schemas[2]);
    s = grammar_start(g);
    grammar_unref(g); /* the states hold it */
    assert_true(grammar_accept(s, '{'));
    memset(before, 0, sizeof(before));
    memset(after, 0, sizeof(after));
    grammar_mask(s, before);
    c = grammar_state_copy(s);
    assert_true(grammar_accept(c, '"') && grammar_accept(c, 'a'));
    assert_false(grammar_accept(c, '}'));
    d = grammar_state_copy(c);
    grammar_state_free(c);
    grammar_mask(s, after);
    assert_memory_equal(before, after, sizeof(before));
    assert_true(grammar_accept(d, '"') || grammar_accept(d, 'b'));
    assert_true(grammar_accept(s, '\n'));
    grammar_state_free(s);
    grammar_state_free(d);
    kit_fini(&k);
}

/* So many places that what is remembered is thrown away on the way: masks stay
 * the truth, states stay where they are. */
static void test_forgetting(void **state)
{
    static const char schema[] =
        "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"pattern\":"
        "\"(a|b)*a(a|b){9}z\"},\"maxItems\":3000}";
    struct grammar_state *s, *old[8];
    uint64_t mask[16], rnd = 3;
    struct grammar *g;
    struct kit k;

    (void)state;
    kit_init_usual(&k);
    g = grammar_of(&k, schema);
    s = grammar_start(g);
    for (int i = 0; i < 8; i++)
        old[i] = grammar_start(g);
    assert_true(grammar_accept(s, '[') && grammar_accept(s, '"'));
    for (int i = 0; i < 30000; i++) {
        if (i % 1000 == 500)
            check_all(&k, s, mask);
        assert_true(grammar_accept(s, 'a' + (int)(kit_random(&rnd) % 2)));
        assert_true(i > 7 || grammar_accept(old[i], '['));
    }
    for (int i = 0; i < 8; i++) {
        check_all(&k, old[i], mask);
        grammar_state_free(old[i]);
    }
    grammar_state_free(s);
    grammar_unref(g);
    kit_fini(&k);
}

/* --- real vocabularies ---------------------------------------------------- */

/* Read <text> byte by byte and, before some of the bytes, compare every 41st
 * token's mask bit with its bytes. Byte tokens are found by <bytes>. */
static void compare_real(const struct kit *k, const int32_t *bytes,
                         struct grammar *g, const char *text)
{
    int32_t n = (int32_t)vocab_size(k->v);
    uint64_t *mask = calloc((size_t)n / 64 + 1, sizeof(*mask));
    struct grammar_state *s = grammar_start(g);

    assert_true(mask && s);
    for (size_t at = 0; text[at]; at++) {
        grammar_mask(s, mask);
        for (int32_t id = (int32_t)at % 41; id < n && at % 3 == 0; id += 41) {
            struct str t = vocab_bytes(k->v, id);
            struct grammar_state *c = grammar_state_copy(s);
            bool ok = t.len > 0 && !vocab_is_control(k->v, id) &&
                      !vocab_is_eog(k->v, id);
            for (size_t i = 0; i < t.len && ok; i++)
                ok = grammar_accept(c, bytes[(uint8_t)t.p[i]]);
            if (ok != (mask[id / 64] >> id % 64 & 1))
                fail_msg("after %.*s: token %d '%.*s': %d", (int)at, text, id,
                         STR_ARG(t), ok);
            grammar_state_free(c);
        }
        assert_true(grammar_accept(s, bytes[(uint8_t)text[at]]));
    }
    assert_true(grammar_may_end(s));
    grammar_state_free(s);
    free(mask);
}

static void real_round(struct vocab *v)
{
    static const char schema[] =
        "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":"
        "\"string\",\"maxLength\":9},\"when\":{\"type\":\"string\","
        "\"format\":\"date\"},\"n\":{\"type\":\"integer\",\"maximum\":"
        "250}},\"additionalProperties\":{\"type\":\"string\"}}";
    struct kit k = {v, vocab_index_new(v)};
    struct grammar *g = grammar_of(&k, schema);
    int32_t bytes[256];

    for (int32_t id = (int32_t)vocab_size(v) - 1; id >= 0; id--) {
        struct str t = vocab_bytes(v, id);
        if (t.len == 1 && !vocab_is_control(v, id))
            bytes[(uint8_t)t.p[0]] = id;
    }
    compare_real(&k, bytes, g,
                 "{\"name\": \"Zo\xc3\xab \\n\",\n \"when\":\"2024-02-09\", "
                 "\"n\":-42, \"other\":\"x\"}");
    grammar_unref(g);
    kit_fini(&k);
}

static void test_real(void **state)
{
    const char *dir = vocab_files_dir();
    char a[500], b[500];
    struct vocab_fault why;
    struct vocab *v;

    (void)state;
    snprintf(a, sizeof(a), "%s/tokenizers/qwen2.vocab.txt", dir);
    snprintf(b, sizeof(b), "%s/tokenizers/qwen2.merges.txt", dir);
    v = vocab_files_lists(a, b, "qwen2", &why);
    if (!v)
        skip();
    real_round(v);
    snprintf(a, sizeof(a), "%s/models/llama-2-tiny-random.gguf", dir);
    v = vocab_files_gguf(a, &why);
    if (!v)
        skip();
    real_round(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks),      cmocka_unit_test(test_written),
        cmocka_unit_test(test_numbers),    cmocka_unit_test(test_copies),
        cmocka_unit_test(test_forgetting), cmocka_unit_test(test_real),
    };

    return cmocka_run_group_tests_name("grammar_walk", tests, NULL, NULL);
}
