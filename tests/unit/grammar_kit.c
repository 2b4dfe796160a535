/* grammar_kit.c - See grammar_kit.h. */
#include "unit/grammar_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static void init_from(struct kit *k, struct vocab *v)
{
    k->v = v;
    k->ix = vocab_index_new(v);
    assert_non_null(k->ix);
}

void kit_init(struct kit *k, const struct str *words, size_t n)
{
    init_from(k, bytevocab_new(words, n));
}

void kit_init_usual(struct kit *k)
{
    init_from(k, bytevocab_new_usual());
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
    static const char ways[] = "\"}]0,1:tfnebz2-5a";
    int32_t n = (int32_t)vocab_size(k->v), have = 0;

    if (has(mask, KIT_EOS) && (hurry || kit_random(rnd) % 4 == 0))
        return KIT_EOS;
    for (size_t i = kit_random(rnd) % 2 * (kit_random(rnd) % 12);
         hurry && i < sizeof(ways) - 1; i++)
        if (has(mask, ways[i]) && kit_random(rnd) % 4 < 3)
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
