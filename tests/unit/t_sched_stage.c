/* t_sched_stage.c - A scheduler whose device has memory of its own: pages are
 * brought back through staging memory, some at a time, and stored by copies
 * that end when they end. What is generated and what is stored is what it would
 * be without all that. */
#include "unit/sched_fixture.h"

#include "lib/fakegraph.h"
#include "lib/fakeswap.h"

#include <string.h>

#define PAGES 64

/* Staging memory has room for so many pages of this size: two waves of two. */
#define PAGE_BYTES ((size_t)64 << 20)

/* A scheduler before <w>, over a device whose copies end at the <lag>th
 * look. */
static struct rig *rig_device(struct kvswap *w, unsigned slots, unsigned lag)
{
    struct rig *r = rig_of(slots, 64, PAGES);

    r->g->device = true;
    r->g->lag = lag;
    r->g->page_bytes = PAGE_BYTES;
    sched_attach(r->s, w);
    return r;
}

/* A disk that has the first <n> tokens of the prompt, stored by a device. */
static struct kvswap *disk_of(size_t n, unsigned lag)
{
    struct kvswap *w = calloc(1, sizeof(*w));
    struct rig *r = rig_device(w, 4, lag);
    struct rig_ask a = ask_of(n + 1, 1);

    assert_non_null(w);
    rig_submit(r, 0, &a);
    fake_swap_finish(w, r);
    for (unsigned i = 0; i < PAGES * (lag + 1); i++)
        rig_turn(r); /* copies out may end after the job */
    assert_int_equal(w->n_pages, n / KRN_PAGE_TOKENS);
    rig_free(r);
    memset(&w->n_finds, 0, 2 * sizeof(w->n_finds));
    return w;
}

static void disk_free(struct kvswap *w)
{
    assert_int_equal(w->n_loads, 0);
    fake_swap_fini(w);
    free(w);
}

/* Turns, and answers of the disk, until all jobs of <r> are over. */
static void finish(struct kvswap *w, struct rig *r, unsigned jobs)
{
    for (unsigned turn = 0; turn < 5000; turn++) {
        unsigned over = 0;

        rig_turn(r);
        if (w->n_loads > 0)
            fake_swap_answer(w);
        for (unsigned i = 0; i < jobs; i++)
            over += r->replies[i].over;
        if (over == jobs)
            return;
    }
    fail();
}

static void what_comes_in_waves_is_what_was_computed(void **state)
{
    (void)state;
    for (unsigned lag = 0; lag < 7; lag++) {
        struct kvswap *w = disk_of(240, lag);
        struct rig *r = rig_device(w, 4, lag);
        struct rig_ask a = ask_of(241, 8);
        struct rig_reply want;

        rig_submit(r, 0, &a);
        finish(w, r, 1);
        assert_int_equal(r->replies[0].counts.cached_tokens, 240);
        assert_int_equal(w->n_reads, 8); /* 15 pages, two at a time */
        rig_alone(&a, &want);
        want.counts = r->replies[0].counts;
        rig_same(&r->replies[0], &want);
        rig_reply_fini(&want);
        rig_free(r);
        disk_free(w);
    }
}

static void short_beginnings_are_not_asked_for(void **state)
{
    struct kvswap *w = disk_of(128, 0);
    struct rig *r = rig_device(w, 4, 0);
    struct rig_ask a = ask_of(96, 3);

    (void)state;
    r->s->o.restore_min = 96;
    w->refuse = true; /* what is computed anew: the disk has it */
    rig_submit(r, 0, &a);
    finish(w, r, 1);
    assert_int_equal(w->n_finds, 0);
    a.n_tokens = 97;
    rig_submit(r, 1, &a);
    sched_purge(r->s);
    finish(w, r, 2);
    assert_int_equal(w->n_finds, 1);
    rig_free(r);
    disk_free(w);
}

static void several_share_the_staging_memory(void **state)
{
    struct kvswap *w = disk_of(128, 3);
    struct rig *first = rig_device(w, 4, 3);
    struct rig_ask b = ask_of(129, 5);
    struct rig *r;

    (void)state;
    b.scope = 1; /* the same text of others: pages of their own */
    rig_submit(first, 0, &b);
    finish(w, first, 1);
    rig_free(first);
    assert_int_equal(w->n_pages, 16);
    r = rig_device(w, 4, 3);
    for (uint64_t i = 0; i < 4; i++) {
        struct rig_ask a = ask_of(100 + i * 9, 4);

        a.scope = i % 2;
        rig_submit(r, i, &a);
    }
    finish(w, r, 4);
    for (uint64_t i = 0; i < 4; i++) {
        struct rig_ask a = ask_of(100 + i * 9, 4);
        struct rig_reply want;

        assert_true(r->replies[i].counts.cached_tokens >= 96);
        rig_alone(&a, &want);
        want.counts = r->replies[i].counts;
        rig_same(&r->replies[i], &want);
        rig_reply_fini(&want);
    }
    rig_free(r);
    disk_free(w);
}

static void a_bad_page_ends_the_waves(void **state)
{
    (void)state;
    for (unsigned bad = 1; bad <= 8; bad++) {
        struct kvswap *w = disk_of(128, 2);
        struct rig *r = rig_device(w, 4, 2);
        struct rig_ask a = ask_of(129, 6);
        struct rig_reply want;

        w->bad = bad;
        w->refuse = true; /* what is computed anew: the disk has it */
        rig_submit(r, 0, &a);
        finish(w, r, 1);
        assert_int_equal(r->replies[0].counts.cached_tokens,
                         (bad - 1) * KRN_PAGE_TOKENS);
        rig_alone(&a, &want);
        want.counts = r->replies[0].counts;
        rig_same(&r->replies[0], &want);
        rig_reply_fini(&want);
        rig_free(r);
        disk_free(w);
    }
}

static void a_copy_that_fails_ends_them_too(void **state)
{
    (void)state;
    for (uint64_t ticket = 1; ticket <= 8; ticket++) {
        struct kvswap *w = disk_of(128, 2);
        struct rig *r = rig_device(w, 4, 2);
        struct rig_ask a = ask_of(129, 6);
        struct rig_reply want;

        r->g->fail_copy = ticket;
        w->refuse = true;
        rig_submit(r, 0, &a);
        finish(w, r, 1);
        assert_in_range(r->replies[0].counts.cached_tokens, 0,
                        (ticket - 1) * KRN_PAGE_TOKENS);
        rig_alone(&a, &want);
        want.counts = r->replies[0].counts;
        rig_same(&r->replies[0], &want);
        rig_reply_fini(&want);
        rig_free(r);
        disk_free(w);
    }
}

static void jobs_may_leave_in_the_middle_of_a_wave(void **state)
{
    (void)state;
    for (unsigned after = 0; after < 30; after++) {
        struct kvswap *w = disk_of(240, 3);
        struct rig *r = rig_device(w, 4, 3);
        struct rig_ask a = ask_of(241, 3);

        rig_submit(r, 0, &a);
        for (unsigned i = 0; i < after; i++) {
            rig_turn(r);
            if (w->n_loads > 0)
                fake_swap_answer(w);
        }
        sched_cancel(r->s, 0);
        finish(w, r, 1);
        rig_submit(r, 1, &a); /* nothing of it is left in the way */
        finish(w, r, 2);
        assert_int_equal(r->replies[1].err, ERR_OK);
        for (unsigned i = 0; i < 100; i++) {
            rig_turn(r);
            if (w->n_loads > 0)
                fake_swap_answer(w);
        }
        assert_int_equal(pages_used(r), 0);
        rig_free(r);
        disk_free(w);
    }
}

/* Whether what <w> has of <a> is what was computed. */
static void is_right(struct kvswap *w, const struct rig_ask *a)
{
    struct rig *r = rig_device(w, 4, 0);
    struct rig_reply want;

    rig_submit(r, 0, a);
    finish(w, r, 1);
    assert_int_equal(r->replies[0].counts.cached_tokens, 128);
    rig_alone(a, &want);
    want.counts = r->replies[0].counts;
    rig_same(&r->replies[0], &want);
    rig_reply_fini(&want);
    rig_free(r);
}

static void pages_that_are_copied_out_are_kept_till_then(void **state)
{
    struct kvswap *w = calloc(1, sizeof(*w));
    struct rig *r = rig_device(w, 4, 40);
    struct rig_ask a = ask_of(129, 1);
    struct rig_ask b = ask_of(250, 6);

    (void)state;
    assert_non_null(w);
    rig_submit(r, 0, &a);
    finish(w, r, 1);
    assert_int_equal(w->n_pages, 0);
    assert_int_equal(pages_used(r), 0);
    sched_purge(r->s); /* waits for them */
    rig_turn(r);
    assert_int_equal(w->n_pages, 8);
    b.scope = 1;
    rig_submit(r, 1, &b); /* takes every page there is, and gives them up */
    rig_submit(r, 2, &a);
    finish(w, r, 3);
    for (unsigned i = 0; i < 800; i++)
        rig_turn(r);
    is_right(w, &a);
    rig_free(r);
    disk_free(w);
}

static void what_was_purged_meanwhile_is_not_stored(void **state)
{
    struct kvswap *w = calloc(1, sizeof(*w));
    struct rig *r = rig_device(w, 4, 40);
    struct rig_ask a = ask_of(129, 1);

    (void)state;
    assert_non_null(w);
    rig_submit(r, 0, &a);
    finish(w, r, 1);
    w->era++;
    for (unsigned i = 0; i < 400; i++)
        rig_turn(r);
    assert_int_equal(w->n_pages, 0);
    rig_free(r);
    disk_free(w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_comes_in_waves_is_what_was_computed),
        cmocka_unit_test(short_beginnings_are_not_asked_for),
        cmocka_unit_test(several_share_the_staging_memory),
        cmocka_unit_test(a_bad_page_ends_the_waves),
        cmocka_unit_test(a_copy_that_fails_ends_them_too),
        cmocka_unit_test(jobs_may_leave_in_the_middle_of_a_wave),
        cmocka_unit_test(pages_that_are_copied_out_are_kept_till_then),
        cmocka_unit_test(what_was_purged_meanwhile_is_not_stored),
    };

    return cmocka_run_group_tests(tests, fill_prompt, NULL);
}
