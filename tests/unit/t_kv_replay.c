/* t_kv_replay.c - Traffic that shares prefixes finds in a store nearly what it
 * would find in an ideal one of as many pages; see make bench-prefix-store for
 * more of it. */
#include "lib/kvreplay.h"

#include "unit/kv_fixture.h"

#include <math.h>

static void play(struct fixture *f, uint64_t max_bytes, bool second)
{
    struct kv_db_opts opts = opts_of(f);
    struct kv_db_stats s;
    struct kvreplay r;

    kv_db_close(f->db);
    f->db = NULL;
    nftw(f->ns, state_dir_unlink, 16, FTW_DEPTH | FTW_PHYS);
    opts.payload_bytes = KVREPLAY_PAYLOAD;
    opts.max_bytes = max_bytes;
    assert_int_equal(kv_db_open(&opts, &f->db, &f->why), ERR_OK);
    assert_int_equal(kv_db_stats(f->db, &s), ERR_OK);
    const struct kvreplay_opts o = {.db = f->db,
                                    .requests = 400,
                                    .seed = 5,
                                    .pages = s.max_pages,
                                    .second = second};
    assert_int_equal(kvreplay_run(&o, &r), ERR_OK);
    const double hits = (double)r.hits / (double)r.asked;
    const double ideal = (double)r.ideal / (double)r.asked;
    print_message("%llu pages, %llu different, room for %llu: found %.4f, "
                  "ideal %.4f\n",
                  (unsigned long long)r.asked, (unsigned long long)r.distinct,
                  (unsigned long long)s.max_pages, hits, ideal);
    assert_int_equal(r.wrong, 0);
    assert_true(s.max_pages < r.distinct); /* it had to choose */
    assert_true(hits > 0.1 && fabs(hits - ideal) <= 0.02);
}

static void hits_are_those_of_an_ideal_store(void **state)
{
    struct fixture *f = *state;

    play(f, 8 << 20, false);
    play(f, 16 << 20, false);
}

static void so_with_pages_seen_twice(void **state)
{
    struct fixture *f = *state;

    play(f, 8 << 20, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(hits_are_those_of_an_ideal_store),
        T(so_with_pages_seen_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
