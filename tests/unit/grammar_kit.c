/* grammar_kit.c - See grammar_kit.h. */
#include "unit/grammar_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

/* <s> in the byte alphabet of GPT-2, malloc'ed. */
static struct str spell(struct str s)
{
    char *out = malloc(4 * s.len + 1);
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        uint32_t c = (uint8_t)s.p[i], k = 0;
        bool own = (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || c >= 174;
        for (uint32_t b = 0; b < c; b++)
            k += !((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174);
        n += utf8_put(own ? c : 256 + k, out + n);
    }
    return str_of(out, n);
}

void kit_init(struct kit *k, const struct str *words, size_t n)
{
    struct vocab_spec spec = {.kind = VOCAB_BPE,
                              .pre = STR("gpt-2"),
                              .n = KIT_WORDS + n,
                              .bos = -1,
                              .eos = KIT_EOS,
                              .eot = -1,
                              .eom = -1,
                              .unk = -1,
                              .pad = -1,
                              .add_bos = VOCAB_UNSAID,
                              .add_eos = VOCAB_UNSAID,
                              .add_space_prefix = VOCAB_UNSAID};
    struct str *text = calloc(spec.n, sizeof(*text));
    int32_t *types = calloc(spec.n, sizeof(*types));
    struct vocab_fault why = {""};

    for (size_t i = 0; i < spec.n; i++) {
        char c = (char)i;
        types[i] = VOCAB_NORMAL;
        if (i < 256)
            text[i] = spell(str_of(&c, 1));
        else if (i >= KIT_WORDS)
            text[i] = spell(words[i - KIT_WORDS]);
        else
            types[i] = VOCAB_CONTROL;
    }
    text[KIT_EOS] = str_from(strdup("</s>"));
    text[KIT_TOOL_CALLS] = str_from(strdup("[TOOL_CALLS]"));
    text[KIT_PYTHON] = str_from(strdup("<|python_tag|>"));
    spec.text = text;
    spec.types = types;
    if (vocab_new(&spec, &why, &k->v))
        fail_msg("%s", why.text);
    for (size_t i = 0; i < spec.n; i++)
        free((void *)(uintptr_t)text[i].p);
    free(text);
    free(types);
    k->ix = vocab_index_new(k->v);
    assert_non_null(k->ix);
}

/* Words that cross JSON's borders in many ways, parts of characters. */
static const struct str usual[] = {
    STR("{\""),
    STR("\":"),
    STR("\": "),
    STR("\", \""),
    STR("\",\""),
    STR("\"}"),
    STR("}}"),
    STR("}]"),
    STR("[{\""),
    STR("[["),
    STR("]]"),
    STR("],"),
    STR(" \""),
    STR("true"),
    STR("true,"),
    STR("null"),
    STR("null}"),
    STR("false"),
    STR("abc"),
    STR("ab"),
    STR("a\":"),
    STR("name"),
    STR("\"name"),
    STR("12"),
    STR("123,"),
    STR("0.5"),
    STR("-1"),
    STR("1e5"),
    STR("\\n"),
    STR("\\u00"),
    STR("\\ud83d"),
    STR("d83d\\u"),
    STR("\xc3\xa9"),
    STR("\xc3"),
    STR("\xa9\""),
    STR("\xe2\x82"),
    STR("\xf0\x9f"),
    STR("\n"),
    STR("\n  "),
    STR("    "),
    STR("\t"),
    STR("  "),
    STR("\"a\":1}"),
    STR("},{"),
    STR("\\\""),
    STR("\\"),
    STR("<tool_call>"),
    STR("</tool_call>"),
    STR("\n{\"name\": \""),
    STR("\", \"arguments\": {"),
    STR("<tool"),
    STR("call>\n{"),
    STR("the "),
    STR("hello world"),
    STR("\":[\""),
    STR("e-"),
    STR("00"),
    STR("\"\""),
    STR("\"\"}"),
    STR("{}"),
    STR("[]"),
    STR("{}}"),
    STR("\xed\xa0"),
    STR("\xff"),
    STR("z\xc3"),
    STR("-0"),
    STR("zz\"}]"),
};

void kit_init_usual(struct kit *k)
{
    kit_init(k, usual, sizeof(usual) / sizeof(*usual));
}

void kit_fini(struct kit *k)
{
    vocab_index_free(k->ix);
    vocab_free(k->v);
}

struct grammar *kit_schema(const struct kit *k, const char *schema,
                           struct grammar_fault *why, enum err *err)
{
    json_error_t at;
    json_t *s = json_loads(schema, JSON_DECODE_ANY, &at);
    struct grammar *g = NULL;

    if (!s)
        fail_msg("%s: %s", schema, at.text);
    *err = grammar_from_schema(k->ix, s, why, &g);
    json_decref(s);
    return g;
}

static uint64_t *mask_new(const struct kit *k)
{
    uint64_t *mask = calloc(vocab_size(k->v) / 64 + 1, sizeof(*mask));

    assert_non_null(mask);
    return mask;
}

static bool has(const uint64_t *mask, int32_t id)
{
    return mask[id / 64] >> id % 64 & 1;
}

int kit_reads(const struct kit *k, struct grammar *g, struct str text)
{
    struct grammar_state *s = grammar_start(g);
    uint64_t *mask = mask_new(k);
    int out = 1;

    assert_non_null(s);
    for (size_t i = 0; i < text.len && out > 0; i++) {
        int32_t id = (uint8_t)text.p[i];
        bool masked;
        grammar_mask(s, mask);
        masked = has(mask, id);
        if (!grammar_accept(s, id))
            out = -1;
        assert_int_equal(masked, out > 0);
    }
    if (out > 0) {
        grammar_mask(s, mask);
        assert_int_equal(has(mask, KIT_EOS), grammar_may_end(s));
        out = grammar_may_end(s);
    }
    grammar_state_free(s);
    free(mask);
    return out;
}

uint32_t kit_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)(z ^ z >> 31);
}

/* One of the tokens of <mask>, or -1. */
static int32_t choose(const struct kit *k, const uint64_t *mask, uint64_t *rnd,
                      bool hurry)
{
    static const char ways[] = "\"}]0,1:tfne2-5a";
    int32_t n = (int32_t)vocab_size(k->v), have = 0;

    if (has(mask, KIT_EOS) && (hurry || kit_random(rnd) % 4 == 0))
        return KIT_EOS;
    for (size_t i = 0; hurry && i < sizeof(ways) - 1; i++)
        if (has(mask, ways[i]) && kit_random(rnd) % 8)
            return ways[i];
    for (int32_t id = 0; id < n; id++)
        have += has(mask, id);
    if (have == 0)
        return -1;
    have = (int32_t)(kit_random(rnd) % (uint32_t)have);
    for (int32_t id = 0; id < n; id++)
        if (has(mask, id) && have-- == 0)
            return id;
    return -1;
}

bool kit_write(const struct kit *k, struct grammar *g, uint64_t seed, char *out,
               size_t cap, size_t soft)
{
    struct grammar_state *s = grammar_start(g);
    uint64_t *mask = mask_new(k);
    size_t n = 0;
    bool ended = false;

    assert_non_null(s);
    while (!ended) {
        struct str bytes;
        int32_t id;
        grammar_mask(s, mask);
        id = choose(k, mask, &seed, n > soft);
        if (id < 0)
            fail_msg("dead end after: %.*s", (int)n, out);
        assert_true(grammar_accept(s, id));
        ended = id == KIT_EOS;
        bytes = vocab_bytes(k->v, id);
        if (ended || n + bytes.len >= cap)
            break;
        memcpy(out + n, bytes.p, bytes.len);
        n += bytes.len;
    }
    out[n] = '\0';
    grammar_state_free(s);
    free(mask);
    return ended;
}
