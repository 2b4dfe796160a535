/* t_cache_db.c - Recorded replies on disk: what is found, what is given up, the
 * bound, purges, and what a damaged, torn or foreign file does. */
#include "unit/cache_fixture.h"

/* Lengths around those of slices, of what a leaf has room for, and of pieces.
 */
static const size_t lengths[] = {
    0,      1,      100,    1023,    1024,           1900,   2000,
    2010,   3800,   3938,   3939,    3940,           3941,   4072,
    4096,   8000,   8031,   8144,    65536,          262143, 262144,
    262145, 524288, 999999, 2000000, 4 * 1024 * 1024};

#define LENGTHS (sizeof(lengths) / sizeof(lengths[0]))

/* --- what is found ------------------------------------------------------- */

static void all_are_there(struct fixture *f)
{
    for (unsigned i = 0; i < LENGTHS; i++) {
        assert_true(is_there(f, i, 1));
        assert_int_equal(f->got.len, lengths[i]);
    }
    assert_false(is_there(f, LENGTHS, 1));
}

static void a_reply_comes_back_byte_for_byte(void **state)
{
    struct fixture *f = *state;

    f->max_bytes = 32 * MIB;
    open_again(f);
    for (unsigned i = 0; i < LENGTHS; i++)
        put(f->s, i, lengths[i]);
    all_are_there(f); /* some of it from memory */
    cache_store_flush(f->s);
    all_are_there(f);
    open_again(f);
    all_are_there(f);
    assert_int_equal(stats_of(f->s).entries, LENGTHS);
    assert_int_equal(stats_of(f->s).corrupt, 0);
    assert_int_equal(lines_of(f, ""), 0);
}

static void a_sibling_is_found_where_any_will_do(void **state)
{
    struct fixture *f = *state;
    struct cache_found found;

    for (unsigned round = 0; round < 2; round++) {
        cache_store_put(f->s, put_made(f->s, sibling_of(7), 7, 1, 3000));
        if (round == 1)
            cache_store_flush(f->s);
        assert_int_equal(get(f, key_of(7), CACHE_EXACT_ONLY, &found),
                         ERR_NOT_FOUND);
        assert_int_equal(get(f, key_of(7), CACHE_ANY, &found), ERR_OK);
        assert_false(found.is_exact);
        put(f->s, 7, 10);
        if (round == 1)
            cache_store_flush(f->s);
        assert_int_equal(get(f, key_of(7), CACHE_ANY, &found), ERR_OK);
        assert_true(found.is_exact && f->got.len == 10);
        assert_int_equal(get(f, sibling_of(7), CACHE_ANY, &found), ERR_OK);
        assert_true(found.is_exact && f->got.len == 3000);
        cache_store_drop(f->s,
                         &(struct cache_key){key_of(7).same, key_of(7).exact});
        cache_store_flush(f->s);
        assert_false(is_there(f, 7, 1));
    }
}

static void the_latest_reply_counts(void **state)
{
    struct fixture *f = *state;

    for (unsigned v = 0; v < 40; v++)
        cache_store_put(f->s, put_made(f->s, key_of(3), 3, v, 100 + v * 997));
    for (unsigned round = 0; round < 2; round++) {
        char want[64];

        assert_true(is_there(f, 3, 40));
        bytes_make(3, 39, want, sizeof(want));
        assert_memory_equal(f->got.p, want, sizeof(want));
        cache_store_flush(f->s);
    }
    const struct cache_stats st = stats_of(f->s);
    assert_int_equal(st.entries, 1);
    assert_int_equal(st.stored, 40);
    assert_int_equal(st.replaced, 39);
}

static void what_is_over_is_a_miss_and_deleted(void **state)
{
    struct fixture *f = *state;
    const struct cache_key key = key_of(1);
    struct cache_found found;

    put(f->s, 1, 500);
    cache_store_flush(f->s);
    assert_int_equal(cache_store_find(f->s, &key, CACHE_ANY, NOW + AN_HOUR - 1,
                                      &found, &f->got),
                     ERR_OK);
    assert_true(found.made_wall_ms == NOW &&
                found.until_wall_ms == NOW + AN_HOUR);
    assert_int_equal(
        cache_store_find(f->s, &key, CACHE_ANY, NOW + AN_HOUR, &found, &f->got),
        ERR_NOT_FOUND);
    cache_store_flush(f->s);
    assert_int_equal(stats_of(f->s).expired, 1);
    assert_int_equal(stats_of(f->s).entries, 0);
    assert_false(is_there(f, 1, 1));
}

/* --- room ---------------------------------------------------------------- */

static void a_bound_holds(struct fixture *f, uint64_t max_bytes, size_t most)
{
    unsigned there = 0;

    f->max_bytes = max_bytes;
    open_again(f);
    for (unsigned i = 0; i < 3 * max_bytes / most + (most < MIB ? 2000 : 60);
         i++) {
        put(f->s, i, (size_t)i * 7919 % most);
        if (i % 37 == 0)
            cache_store_flush(f->s);
        assert_true(file_bytes(f) <= max_bytes);
    }
    cache_store_flush(f->s);
    struct cache_stats st = stats_of(f->s);
    assert_int_equal(st.dropped_error, 0);
    assert_int_equal(st.write_errors, 0);
    assert_int_equal(st.dropped_queue, 0);
    assert_true(st.file_bytes <= max_bytes && st.bytes <= max_bytes);
    assert_true(st.bytes >= max_bytes / 2);
    assert_int_equal(st.entries, st.stored - st.evicted);
    for (unsigned i = 0; i < st.stored; i++)
        there += is_there(f, i, 1);
    assert_int_equal(there, st.entries);
    open_again(f);
    assert_int_equal(stats_of(f->s).entries, there);
    assert_int_equal(lines_of(f, ""), 0);
}

static void the_file_never_grows_past_its_bound(void **state)
{
    a_bound_holds(*state, 4 * MIB, 3000);
}

static void nor_does_the_least_one(void **state)
{
    a_bound_holds(*state, CACHE_STORE_LEAST_BYTES, 9000);
}

static void nor_does_one_of_large_replies(void **state)
{
    a_bound_holds(*state, 8 * MIB, 2 * MIB);
}

static void what_is_found_stays_and_the_oldest_goes_first(void **state)
{
    struct fixture *f = *state;
    unsigned there = 0;

    f->max_bytes = 4 * MIB;
    open_again(f);
    for (unsigned i = 0; i < 20; i++)
        put(f->s, i, 1000);
    for (unsigned i = 20; stats_of(f->s).evicted < 3000; i++) {
        put(f->s, i, 1000);
        if (i % 50 > 0)
            continue;
        cache_store_flush(f->s);
        for (unsigned k = 0; k < 20; k += 2)
            assert_true(is_there(f, k, 1));
    }
    for (unsigned k = 0; k < 20; k++)
        there += is_there(f, k, 1);
    assert_int_equal(there, 10);
    assert_true(stats_of(f->s).kept > 0);
}

static void what_is_too_large_is_not_kept(void **state)
{
    struct fixture *f = *state;
    struct cache_put *p;

    f->max_bytes = 4 * MIB;
    open_again(f);
    p = put_made(f->s, key_of(1), 1, 0, MIB + 1);
    assert_int_equal(p->bytes.len, 0); /* it cannot even be made */
    cache_put_free(p);
    put(f->s, 2, MIB);
    assert_true(is_there(f, 2, 1));
    cache_store_flush(f->s);
    assert_true(is_there(f, 2, 1));
}

/* --- purges -------------------------------------------------------------- */

static void a_purge_takes_what_it_means(void **state)
{
    struct fixture *f = *state;
    static const struct cache_purge odd = {.key_id = STR("key_odd")};
    static const struct cache_purge large = {.model = STR("large")};
    static const struct cache_purge none = {.model = STR("large"),
                                            .key_id = STR("key_odd")};
    static const struct cache_purge thirds = {.team = STR("thirds")};
    struct cache_purged done;

    for (unsigned i = 0; i < 300; i++) {
        put(f->s, i, 2000);
        if (i == 150)
            cache_store_flush(f->s);
    }
    assert_int_equal(cache_store_purge(f->s, &odd, &done), ERR_OK);
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(is_there(f, i, 1), i % 2 == 0);
    assert_true(done.entries >= 75 && done.entries <= 150);
    cache_store_flush(f->s);
    assert_int_equal(stats_of(f->s).entries, 150);
    assert_int_equal(cache_store_purge(f->s, &none, &done), ERR_OK);
    assert_int_equal(done.entries, 0);
    assert_int_equal(cache_store_purge(f->s, &large, &done), ERR_OK);
    assert_int_equal(done.entries, 30);
    assert_int_equal(done.bytes, 60000);
    assert_int_equal(cache_store_purge(f->s, &thirds, &done), ERR_OK);
    assert_int_equal(done.entries, 40);
    open_again(f);
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(is_there(f, i, 1), i % 2 == 0 && i % 3 && i % 5);
}

static void a_purge_of_all_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    static const struct cache_purge all;
    struct cache_purged done;

    for (unsigned i = 0; i < 1000; i++)
        put(f->s, i, 2000);
    cache_store_flush(f->s);
    assert_true(file_bytes(f) > 2 * MIB);
    assert_int_equal(cache_store_purge(f->s, &all, &done), ERR_OK);
    assert_int_equal(done.entries, 1000);
    assert_true(file_bytes(f) < MIB / 4);
    for (unsigned i = 0; i < 1000; i++)
        assert_false(is_there(f, i, 1));
    put(f->s, 1, 2000);
    open_again(f);
    assert_true(is_there(f, 1, 1));
    assert_int_equal(stats_of(f->s).entries, 1);
    assert_int_equal(lines_of(f, ""), 0);
}

static void what_was_asked_for_before_a_purge_is_not_kept(void **state)
{
    struct fixture *f = *state;
    static const struct cache_purge odd = {.key_id = STR("key_odd")};
    static const struct cache_purge all;
    struct cache_put *early[4];
    struct cache_purged done;

    for (unsigned i = 0; i < 4; i++)
        early[i] = put_made(f->s, key_of(i), i, 0, 100);
    assert_int_equal(cache_store_purge(f->s, &odd, &done), ERR_OK);
    cache_store_put(f->s, early[0]);
    cache_store_put(f->s, early[1]);
    assert_true(is_there(f, 0, 1));
    assert_false(is_there(f, 1, 1));
    put(f->s, 1, 100);
    assert_true(is_there(f, 1, 1));
    assert_int_equal(cache_store_purge(f->s, &all, &done), ERR_OK);
    cache_store_put(f->s, early[2]);
    assert_false(is_there(f, 2, 1));
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(cache_store_purge(f->s, &odd, &done), ERR_OK);
    cache_store_put(f->s, early[3]);
    assert_false(is_there(f, 3, 1));
    cache_store_flush(f->s);
    assert_int_equal(stats_of(f->s).entries, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(a_reply_comes_back_byte_for_byte),
        T(a_sibling_is_found_where_any_will_do),
        T(the_latest_reply_counts),
        T(what_is_over_is_a_miss_and_deleted),
        T(the_file_never_grows_past_its_bound),
        T(nor_does_the_least_one),
        T(nor_does_one_of_large_replies),
        T(what_is_found_stays_and_the_oldest_goes_first),
        T(what_is_too_large_is_not_kept),
        T(a_purge_takes_what_it_means),
        T(a_purge_of_all_leaves_nothing),
        T(what_was_asked_for_before_a_purge_is_not_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
