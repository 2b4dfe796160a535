/* t_sched_parts.c - The parts of the scheduler: pages, the prefix index, stop
 * strings, the turns of keys, the states of a sequence. */
#include "engine/fair.h"
#include "engine/kvpool.h"
#include "engine/prefix.h"
#include "engine/sched_priv.h"
#include "engine/stop.h"

#include "unit/cmocka_all.h"

#include <stdio.h>
#include <string.h>

/* --- pages -------------------------------------------------------------- */

static void pages_are_held_cached_or_free(void **state)
{
    struct kvpool p;
    int32_t a;
    int32_t b;

    (void)state;
    assert_int_equal(kvpool_init(&p, 3), ERR_OK);
    a = kvpool_take(&p);
    b = kvpool_take(&p);
    assert_true(a >= 0 && b >= 0 && a != b);
    assert_int_equal(p.n_free, 1);
    kvpool_ref(&p, a);
    assert_false(kvpool_is_private(&p, a));
    assert_true(kvpool_is_private(&p, b));
    kvpool_unref(&p, a);
    assert_true(kvpool_is_private(&p, a));
    kvpool_mark(&p, a);
    assert_false(kvpool_is_private(&p, a));
    kvpool_unref(&p, a);
    assert_int_equal(p.n_cached, 1);
    kvpool_unref(&p, b);
    assert_int_equal(p.n_free, 2);
    kvpool_ref(&p, a);
    assert_int_equal(p.n_cached, 0);
    kvpool_unmark(&p, a);
    kvpool_unref(&p, a);
    assert_int_equal(p.n_free, 3);
    for (int i = 0; i < 3; i++)
        assert_true(kvpool_take(&p) >= 0);
    assert_int_equal(kvpool_take(&p), -1);
    kvpool_fini(&p);
}

static void cached_pages_age_in_the_order_of_their_last_use(void **state)
{
    struct kvpool p;
    int32_t page[4];

    (void)state;
    assert_int_equal(kvpool_init(&p, 4), ERR_OK);
    for (int i = 0; i < 4; i++) {
        page[i] = kvpool_take(&p);
        kvpool_mark(&p, page[i]);
    }
    for (int i = 3; i >= 0; i--)
        kvpool_unref(&p, page[i]);
    assert_int_equal(p.oldest, page[3]);
    kvpool_ref(&p, page[2]);
    kvpool_unref(&p, page[2]);
    assert_int_equal(p.newest, page[2]);
    kvpool_unmark(&p, page[3]);
    assert_int_equal(p.oldest, page[1]);
    kvpool_unmark(&p, page[2]);
    assert_int_equal(p.newest, page[0]);
    assert_int_equal(p.n_cached, 2);
    kvpool_fini(&p);
}

/* --- the prefix index --------------------------------------------------- */

static void a_find_needs_every_field_of_the_key(void **state)
{
    static const uint8_t scope[32] = {7};
    int32_t tokens[KRN_PAGE_TOKENS] = {0};
    int32_t others[KRN_PAGE_TOKENS];
    struct prefix ix;
    struct prefix_key key = {.before = prefix_root(scope), .tokens = tokens};
    struct prefix_key bad;

    (void)state;
    for (int i = 0; i < KRN_PAGE_TOKENS; i++)
        tokens[i] = 100 + i;
    key.hash = prefix_chain(&key.before, 0, tokens, KRN_PAGE_TOKENS);
    assert_int_equal(prefix_init(&ix, 8, KRN_PAGE_TOKENS), ERR_OK);
    assert_true(prefix_put(&ix, &key, -1, 5));
    assert_int_equal(prefix_find(&ix, &key), 5);
    assert_false(prefix_put(&ix, &key, -1, 6));
    /* the same hash with anything else different is a miss */
    for (int i = 0; i < KRN_PAGE_TOKENS; i++) {
        memcpy(others, tokens, sizeof(others));
        others[i] ^= 1;
        bad = key;
        bad.tokens = others;
        assert_int_equal(prefix_find(&ix, &bad), -1);
    }
    for (size_t i = 0; i < DIGEST_BYTES; i++) {
        bad = key;
        bad.before.b[i] ^= 1;
        assert_int_equal(prefix_find(&ix, &bad), -1);
        bad = key;
        bad.hash.b[i] ^= 1;
        assert_int_equal(prefix_find(&ix, &bad), -1);
    }
    bad = key;
    bad.index = 1;
    assert_int_equal(prefix_find(&ix, &bad), -1);
    prefix_drop(&ix, 5);
    assert_int_equal(prefix_find(&ix, &key), -1);
    prefix_fini(&ix);
}

static void the_chain_depends_on_every_field(void **state)
{
    uint8_t scope[32] = {0};
    int32_t tokens[KRN_PAGE_TOKENS] = {0};
    struct digest root = prefix_root(scope);
    struct digest first = prefix_chain(&root, 0, tokens, KRN_PAGE_TOKENS);
    struct digest other;

    (void)state;
    for (int i = 0; i < 32; i++) {
        scope[i] = 1;
        other = prefix_root(scope);
        assert_memory_not_equal(other.b, root.b, DIGEST_BYTES);
        scope[i] = 0;
    }
    for (int i = 0; i < KRN_PAGE_TOKENS; i++) {
        tokens[i] = 1 << 24;
        other = prefix_chain(&root, 0, tokens, KRN_PAGE_TOKENS);
        assert_memory_not_equal(other.b, first.b, DIGEST_BYTES);
        tokens[i] = 0;
    }
    other = prefix_chain(&root, 1, tokens, KRN_PAGE_TOKENS);
    assert_memory_not_equal(other.b, first.b, DIGEST_BYTES);
    other = prefix_chain(&first, 0, tokens, KRN_PAGE_TOKENS);
    assert_memory_not_equal(other.b, first.b, DIGEST_BYTES);
}

/* The chain is fixed: SHA-256 of 01, the hash before, the index and the tokens
 * in little-endian order. */
static void the_chain_is_the_one_that_is_written_down(void **state)
{
    uint8_t text[1 + 32 + 4 + 64] = {1};
    int32_t tokens[KRN_PAGE_TOKENS];
    struct digest before;
    struct digest want;
    struct digest got;

    (void)state;
    for (int i = 0; i < 32; i++)
        before.b[i] = (uint8_t)(i * 3);
    memcpy(text + 1, before.b, 32);
    text[33] = 0x04;
    text[34] = 0x03;
    for (int i = 0; i < KRN_PAGE_TOKENS; i++) {
        tokens[i] = 0x00020100 + i;
        text[37 + 4 * i] = (uint8_t)i;
        text[38 + 4 * i] = 0x01;
        text[39 + 4 * i] = 0x02;
    }
    want = digest_sha256(text, sizeof(text));
    got = prefix_chain(&before, 0x0304, tokens, KRN_PAGE_TOKENS);
    assert_memory_equal(got.b, want.b, 32);
}

/* --- stop strings ------------------------------------------------------- */

/* Where a plain search says that the text is cut, or -1: the match that ends
 * first, and of those the longest. */
static long cut_of(struct str text, const struct str *stops, size_t n)
{
    for (size_t end = 1; end <= text.len; end++) {
        size_t most = 0;

        for (size_t i = 0; i < n; i++)
            if (str_ends(str_of(text.p, end), stops[i]) && stops[i].len > most)
                most = stops[i].len;
        if (most > 0)
            return (long)(end - most);
    }
    return -1;
}

/* The longest end of <text> that begins a stop string. */
static size_t held_of(struct str text, const struct str *stops, size_t n)
{
    size_t most = 0;

    for (size_t i = 0; i < n; i++)
        for (size_t k = 1; k < stops[i].len && k <= text.len; k++)
            if (str_ends(text, str_of(stops[i].p, k)) && k > most)
                most = k;
    return most;
}

/* Feed <text> in two pieces cut at <at>; the cut, or -1. */
static long feed(const struct stop_set *set, struct str text, size_t at,
                 size_t *held)
{
    uint32_t k[4] = {0};
    struct stop_hit hit;

    if (stop_feed(set, k, str_of(text.p, at), &hit))
        return (long)(hit.end - hit.len);
    if (stop_feed(set, k, str_skip(text, at), &hit))
        return (long)(at + hit.end) - (long)hit.len;
    *held = stop_held(set, k);
    return -1;
}

static void stops_are_found_at_every_split(void **state)
{
    static const char alphabet[] = "aab";
    uint64_t r = 12345;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        char text[24];
        char bytes[4][6];
        struct str stops[4];
        struct stop_set *set;
        size_t held = 0;

        for (size_t i = 0; i < sizeof(text); i++) {
            r = r * 6364136223846793005u + 1442695040888963407u;
            text[i] = alphabet[(r >> 33) % 3];
        }
        for (size_t i = 0; i < 4; i++) {
            r = r * 6364136223846793005u + 1442695040888963407u;
            stops[i] = str_of(bytes[i], 3 + (r >> 33) % 4);
            for (size_t k = 0; k < stops[i].len; k++) {
                r = r * 6364136223846793005u + 1442695040888963407u;
                bytes[i][k] = alphabet[(r >> 40) % 3];
            }
            if (i % 2 == 1) /* one that seldom matches */
                bytes[i][stops[i].len - 1] = 'c';
        }
        set = stop_set_new(stops, 4);
        assert_non_null(set);
        for (size_t at = 0; at <= sizeof(text); at++) {
            struct str all = str_of(text, sizeof(text));
            long want = cut_of(all, stops, 4);

            assert_int_equal(feed(set, all, at, &held), want);
            if (want < 0)
                assert_int_equal(held, held_of(all, stops, 4));
        }
        stop_set_free(set);
    }
}

/* --- turns -------------------------------------------------------------- */

static void keys_get_equal_shares_of_tokens(void **state)
{
    static const size_t wants[3] = {1000, 7, 60};
    size_t got[3] = {0};
    struct fair f;
    struct fair_key *k[3];
    struct task tasks[3] = {{.born = 1}, {.born = 2}, {.born = 3}};
    struct seq q[3] = {0};

    (void)state;
    fair_init(&f);
    for (int i = 0; i < 3; i++) {
        char id[2] = {(char)('a' + i), 0};

        q[i].task = &tasks[i];
        k[i] = fair_join(&f, id);
        assert_non_null(k[i]);
        fair_add(&f, k[i], &q[i], false);
    }
    assert_ptr_equal(fair_join(&f, "a"), k[0]);
    for (int step = 0; step < 3000; step++) {
        struct fair_key *now = fair_turn(&f);
        size_t i = now == k[0] ? 0 : now == k[1] ? 1 : 2;
        size_t n = fair_grant(now, wants[i]);

        assert_in_range(n, 1, wants[i]);
        got[i] += n;
        fair_spend(&f, now, n);
    }
    for (int i = 0; i < 3; i++) {
        assert_in_range(got[i] - got[(i + 1) % 3] + FAIR_QUANTUM, 0,
                        2 * FAIR_QUANTUM);
        fair_remove(&f, k[i], &q[i], false);
        fair_leave(&f, k[i]);
    }
    fair_leave(&f, k[0]);
    assert_null(f.keys);
    assert_null(fair_turn(&f));
}

/* --- states ------------------------------------------------------------- */

static void moves_are_those_that_are_drawn(void **state)
{
    static const char *const names[SEQ_COUNT] = {
        [SEQ_WAITING] = "waiting",     [SEQ_PREFILL] = "prefill",
        [SEQ_DECODE] = "decode",       [SEQ_PAUSED] = "paused",
        [SEQ_PREEMPTED] = "preempted", [SEQ_RESTORING] = "restoring",
        [SEQ_DONE] = "done",
    };
    static const char *const legal[] = {
        "waiting prefill",   "waiting decode",    "waiting paused",
        "waiting preempted", "waiting done",      "prefill decode",
        "prefill paused",    "prefill preempted", "prefill done",
        "decode paused",     "decode preempted",  "decode done",
        "paused waiting",    "paused preempted",  "paused done",
        "preempted prefill", "preempted decode",  "preempted paused",
        "preempted done",    "waiting restoring", "preempted restoring",
        "restoring waiting", "restoring paused",  "restoring preempted",
        "restoring done",
    };

    (void)state;
    for (int from = 0; from < SEQ_COUNT; from++)
        for (int to = 0; to < SEQ_COUNT; to++) {
            char name[64];
            bool want = false;

            snprintf(name, sizeof(name), "%s %s", names[from], names[to]);
            for (size_t i = 0; i < COUNT_OF(legal); i++)
                want |= strcmp(name, legal[i]) == 0;
            assert_int_equal(seq_may((enum seq_state)from, (enum seq_state)to),
                             want);
        }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_held_cached_or_free),
        cmocka_unit_test(cached_pages_age_in_the_order_of_their_last_use),
        cmocka_unit_test(a_find_needs_every_field_of_the_key),
        cmocka_unit_test(the_chain_depends_on_every_field),
        cmocka_unit_test(the_chain_is_the_one_that_is_written_down),
        cmocka_unit_test(stops_are_found_at_every_split),
        cmocka_unit_test(keys_get_equal_shares_of_tokens),
        cmocka_unit_test(moves_are_those_that_are_drawn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
