/* t_pick_prefix.c - Where prompts go: evenly, always to the same target, when
 * targets come and go only as far as they must, and never to one that has too
 * much to do. */
#include "serve/pick.h"

#include "unit/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>

#define REPLICAS 8
#define KEYS     20000

static void replicas(struct pick_view v[REPLICAS])
{
    for (int i = 0; i < REPLICAS; i++) {
        char name[16];

        snprintf(name, sizeof(name), "replica-%d", i);
        v[i] =
            (struct pick_view){.weight = 1, .id = pick_hash(0, str_from(name))};
    }
}

static size_t place(const struct pick_view *v, uint64_t key)
{
    return pick_target(CONF_STRATEGY_PREFIX, v, REPLICAS,
                       pick_hash(key, STR("")), 0);
}

static void prompts_spread_evenly_and_stay(void **state)
{
    struct pick_view v[REPLICAS];
    uint64_t count[REPLICAS] = {0};

    (void)state;
    replicas(v);
    for (uint64_t key = 0; key < KEYS; key++) {
        const size_t at = place(v, key);

        count[at]++;
        assert_int_equal(place(v, key), at);
    }
    for (int i = 0; i < REPLICAS; i++)
        assert_in_range(count[i], KEYS / REPLICAS * 94 / 100,
                        KEYS / REPLICAS * 106 / 100);
}

static void prompts_spread_by_weight(void **state)
{
    struct pick_view v[REPLICAS];
    uint64_t count[REPLICAS] = {0};

    (void)state;
    replicas(v);
    v[2].weight = 3;
    v[5].weight = 0;
    for (uint64_t key = 0; key < KEYS; key++)
        count[place(v, key)]++;
    assert_int_equal(count[5], 0);
    assert_in_range(count[2], KEYS * 3 / 9 * 95 / 100,
                    KEYS * 3 / 9 * 105 / 100);
    assert_in_range(count[0], KEYS / 9 * 90 / 100, KEYS / 9 * 110 / 100);
}

/* When a target goes only its own prompts move, and evenly; when it is back
 * they are as before. */
static void only_the_prompts_of_who_goes_move(void **state)
{
    struct pick_view v[REPLICAS];
    static size_t before[KEYS];
    uint64_t moved[REPLICAS] = {0}, orphans = 0;

    (void)state;
    replicas(v);
    for (uint64_t key = 0; key < KEYS; key++)
        before[key] = place(v, key);
    v[3].out = true;
    for (uint64_t key = 0; key < KEYS; key++) {
        const size_t at = place(v, key);

        if (before[key] != 3) {
            assert_int_equal(at, before[key]);
            continue;
        }
        orphans++;
        moved[at]++;
    }
    for (int i = 0; i < REPLICAS; i++)
        if (i != 3)
            assert_in_range(moved[i], orphans / 7 * 80 / 100,
                            orphans / 7 * 120 / 100);
    v[3].out = false;
    for (uint64_t key = 0; key < KEYS; key++)
        assert_int_equal(place(v, key), before[key]);
}

/* A weight that grows draws prompts to it, and moves none between others. */
static void weights_move_no_more_than_they_must(void **state)
{
    struct pick_view v[REPLICAS];
    static size_t before[KEYS];

    (void)state;
    replicas(v);
    for (uint64_t key = 0; key < KEYS; key++)
        before[key] = place(v, key);
    v[6].weight = 2;
    for (uint64_t key = 0; key < KEYS; key++) {
        const size_t at = place(v, key);

        assert_true(at == before[key] || at == 6);
    }
}

/* Whoever else is there, and in whichever order they are given. */
static void the_order_of_targets_does_not_matter(void **state)
{
    struct pick_view v[REPLICAS], w[REPLICAS];

    (void)state;
    replicas(v);
    for (int i = 0; i < REPLICAS; i++)
        w[i] = v[(i * 3 + 1) % REPLICAS];
    for (uint64_t key = 0; key < 1000; key++)
        assert_int_equal(v[place(v, key)].id, w[place(w, key)].id);
}

/* One prompt that everybody sends: no target has more than its bound, and it
 * goes to few of them while it is asked for seldom. */
static void load_is_bounded(void **state)
{
    struct pick_view v[REPLICAS];
    uint64_t all = 0;

    (void)state;
    replicas(v);
    for (int i = 0; i < 2000; i++) {
        const size_t at = place(v, 42);
        uint64_t bound;

        v[at].in_flight++;
        all++;
        bound =
            (all * PICK_LOAD_PERCENT + 100 * REPLICAS - 1) / (100 * REPLICAS);
        bound = bound > PICK_LOAD_FREE ? bound : PICK_LOAD_FREE;
        assert_true(v[at].in_flight <= bound);
        if (all <= PICK_LOAD_FREE)
            assert_int_equal(v[at].in_flight, all);
    }
}

/* The overflow of a prompt goes to the same next target each time. */
static void what_does_not_fit_goes_to_the_next_in_order(void **state)
{
    struct pick_view v[REPLICAS], w[REPLICAS];
    size_t first, second;

    (void)state;
    replicas(v);
    for (uint64_t key = 0; key < 500; key++) {
        memcpy(w, v, sizeof(w));
        first = place(w, key);
        w[first].out = true;
        second = place(w, key);
        w[first].out = false;
        w[first].in_flight = 100;
        for (int i = 0; i < REPLICAS; i++)
            if (i != (int)first)
                w[i].in_flight = 20;
        assert_int_equal(place(w, key), second);
    }
}

static void loads_of_others_move_nothing(void **state)
{
    struct pick_view v[REPLICAS];
    uint64_t kept = 0;
    unsigned seed = 12;

    (void)state;
    replicas(v);
    for (uint64_t key = 0; key < 2000; key++) {
        const size_t idle = place(v, key);
        struct pick_view w[REPLICAS];

        memcpy(w, v, sizeof(w));
        for (int i = 0; i < REPLICAS; i++)
            w[i].in_flight = 100 + (uint64_t)rand_r(&seed) % 20;
        kept += place(w, key) == idle;
    }
    /* None is above 1.25 times the mean of 109. */
    assert_int_equal(kept, 2000);
}

static void keys_are_those_of_the_first_blocks(void **state)
{
    static const char head[] = "[{\"role\":\"system\",\"content\":\"";
    char a[2048], b[2048];

    (void)state;
    memset(a, 'x', sizeof(a));
    memcpy(a, head, sizeof(head) - 1);
    memcpy(b, a, sizeof(b));
    /* A conversation that goes on. */
    b[PICK_BLOCKS * PICK_BLOCK_BYTES] = 'y';
    for (size_t len = PICK_BLOCKS * PICK_BLOCK_BYTES; len < sizeof(a);
         len += 77)
        assert_true(pick_prefix_key(0, str_of(a, sizeof(a))) ==
                    pick_prefix_key(0, str_of(b, len)));
    /* Another one. */
    b[PICK_BLOCK_BYTES + 1] = 'y';
    assert_true(pick_prefix_key(0, str_of(a, sizeof(a))) !=
                pick_prefix_key(0, str_of(b, sizeof(b))));
    /* Others may share the text, and no cache. */
    assert_true(pick_prefix_key(0, str_of(a, sizeof(a))) !=
                pick_prefix_key(1, str_of(a, sizeof(a))));
    /* Short ones: all of it, then the first block. */
    assert_true(pick_prefix_key(0, str_of(a, 40)) !=
                pick_prefix_key(0, str_of(a, 41)));
    assert_true(pick_prefix_key(0, str_of(a, PICK_BLOCK_BYTES)) ==
                pick_prefix_key(0, str_of(a, 2 * PICK_BLOCK_BYTES - 1)));
}

/* Hashes are written into nothing, but two nodes must agree on them. */
static void hashes_are_the_same_everywhere(void **state)
{
    uint64_t seen[64], seed = 1;

    (void)state;
    assert_true(pick_hash(0, STR("")) == UINT64_C(0x48218226FF3CD4BF));
    assert_true(pick_hash(0, STR("openai")) == UINT64_C(0x57674FE81A0AC70F));
    assert_true(pick_hash(1, STR("a longer name of an upstream")) ==
                UINT64_C(0x31549A1DF38E0D05));
    /* Trailing zeros and lengths are told apart. */
    for (size_t len = 0; len < COUNT_OF(seen); len++) {
        static const char zeros[64];

        seen[len] = pick_hash(seed, str_of(zeros, len));
        for (size_t k = 0; k < len; k++)
            assert_true(seen[k] != seen[len]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_spread_evenly_and_stay),
        cmocka_unit_test(prompts_spread_by_weight),
        cmocka_unit_test(only_the_prompts_of_who_goes_move),
        cmocka_unit_test(weights_move_no_more_than_they_must),
        cmocka_unit_test(the_order_of_targets_does_not_matter),
        cmocka_unit_test(load_is_bounded),
        cmocka_unit_test(what_does_not_fit_goes_to_the_next_in_order),
        cmocka_unit_test(loads_of_others_move_nothing),
        cmocka_unit_test(keys_are_those_of_the_first_blocks),
        cmocka_unit_test(hashes_are_the_same_everywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
