/* t_sched_restore.c - A scheduler that waits for a disk which answers when the
 * test says so: who runs meanwhile, who goes first afterwards, what is read but
 * once, and when computing is the faster way. */
#include "unit/sched_fixture.h"

#include "lib/fakeswap.h"

#include "base/clock.h"

#include <string.h>

#define PAGES 64

/* A disk that has the first <n> tokens of the prompt, and none of the memory
 * that they were computed in. */
static struct kvswap *disk_of(size_t n)
{
    struct kvswap *w = calloc(1, sizeof(*w));
    struct rig *r = rig_of(4, 64, PAGES);
    struct rig_ask a = ask_of(n + 1, 1);

    assert_non_null(w);
    sched_attach(r->s, w);
    rig_submit(r, 0, &a);
    fake_swap_finish(w, r);
    assert_true(r->replies[0].over);
    assert_int_equal(w->n_pages, n / KRN_PAGE_TOKENS);
    rig_free(r);
    memset(&w->n_finds, 0, 2 * sizeof(w->n_finds));
    w->n_touches = 0;
    return w;
}

static void disk_free(struct kvswap *w)
{
    assert_int_equal(w->n_loads, 0);
    fake_swap_fini(w);
    free(w);
}

/* A scheduler before <w>. */
static struct rig *rig_before(struct kvswap *w, unsigned slots, unsigned pages)
{
    struct rig *r = rig_of(slots, 64, pages);

    sched_attach(r->s, w);
    return r;
}

static uint64_t rows(const struct rig *r)
{
    struct sched_stats n;

    sched_read(r->s, &n);
    return n.rows;
}

static void others_run_while_one_waits_for_the_disk(void **state)
{
    struct kvswap *w = disk_of(128);
    struct rig *r = rig_before(w, 4, PAGES);
    struct rig_ask a = ask_of(20, 60);
    struct rig_ask b = ask_of(129, 5);
    struct rig_reply want;
    size_t before;

    (void)state;
    a.scope = 1;
    rig_submit(r, 0, &a);
    rig_turn(r);
    fake_swap_answer(w); /* nothing is stored of that one */
    for (unsigned i = 0; i < 4; i++)
        assert_true(rig_turn(r));
    rig_submit(r, 1, &b);
    assert_true(rig_turn(r));
    assert_int_equal(w->n_loads, 1);
    before = r->replies[0].choices[0].text.len;
    for (unsigned i = 0; i < 5; i++)
        assert_true(rig_turn(r)); /* while it is looked for */
    assert_true(r->replies[0].choices[0].text.len > before);
    fake_swap_answer(w);
    assert_true(rig_turn(r));
    assert_int_equal(w->n_loads, 1);
    before = r->replies[0].choices[0].text.len;
    for (unsigned i = 0; i < 5; i++)
        assert_true(rig_turn(r)); /* while it is read */
    assert_true(r->replies[0].choices[0].text.len > before);
    assert_false(r->replies[1].started);
    fake_swap_answer(w);
    rig_turn(r);
    assert_true(r->replies[1].started); /* in the very next step */
    assert_int_equal(r->replies[1].counts.cached_tokens, 128);
    fake_swap_finish(w, r);
    rig_alone(&b, &want);
    want.counts = r->replies[1].counts;
    rig_same(&r->replies[1], &want);
    rig_reply_fini(&want);
    rig_free(r);
    disk_free(w);
}

static void what_is_restored_goes_before_what_waits(void **state)
{
    struct kvswap *w = disk_of(128);
    struct rig *r = rig_before(w, 1, PAGES);
    struct rig_ask a = ask_of(129, 3);
    struct rig_ask b = ask_of(100, 3);

    (void)state;
    rig_submit(r, 0, &a);
    rig_turn(r);
    fake_swap_answer(w);
    rig_turn(r);
    fake_swap_answer(w); /* read; now others come */
    b.scope = 1;
    for (uint64_t i = 1; i < 5; i++)
        rig_submit(r, i, &b);
    fake_swap_finish(w, r);
    for (uint64_t i = 1; i < 5; i++)
        assert_true(r->replies[0].turn < r->replies[i].turn);
    rig_free(r);
    disk_free(w);
}

static void one_text_is_read_once(void **state)
{
    struct kvswap *w = disk_of(128);
    struct rig *r = rig_before(w, 8, PAGES);
    struct rig_ask a = ask_of(129, 4);

    (void)state;
    for (uint64_t i = 0; i < 6; i++) {
        a.key = i % 2 ? "a" : "b";
        rig_submit(r, i, &a);
    }
    fake_swap_finish(w, r);
    assert_int_equal(w->n_finds, 1);
    assert_int_equal(w->n_reads, 1);
    for (uint64_t i = 0; i < 6; i++) {
        assert_int_equal(r->replies[i].err, ERR_OK);
        assert_int_equal(r->replies[i].counts.cached_tokens, 128);
    }
    assert_int_equal(w->restored, 128);
    assert_int_equal(w->saved_us, 90);
    rig_free(r);
    disk_free(w);
}

static void what_is_in_memory_is_not_asked_for(void **state)
{
    struct kvswap *w = disk_of(128);
    struct rig *r = rig_before(w, 8, PAGES);
    struct rig_ask a = ask_of(65, 4);

    (void)state;
    rig_submit(r, 0, &a);
    fake_swap_finish(w, r);
    assert_int_equal(w->n_finds, 1);
    rig_submit(r, 1, &a);
    fake_swap_finish(w, r);
    assert_int_equal(w->n_finds, 1);
    assert_int_equal(r->replies[1].counts.cached_tokens, 64);
    a.n_tokens = 129; /* the second half is */
    rig_submit(r, 2, &a);
    fake_swap_finish(w, r);
    assert_int_equal(w->n_finds, 2);
    assert_int_equal(w->restored, 128);
    assert_int_equal(r->replies[2].counts.cached_tokens, 128);
    rig_free(r);
    disk_free(w);
}

static void a_bad_page_ends_what_is_restored(void **state)
{
    struct kvswap *w = disk_of(128);
    struct rig_ask a = ask_of(129, 6);
    struct rig_reply want;

    (void)state;
    rig_alone(&a, &want);
    w->refuse = true; /* what is computed anew: the disk has it */
    for (unsigned bad = 1; bad <= 8; bad++) {
        struct rig *r = rig_before(w, 4, PAGES);

        w->bad = bad;
        rig_submit(r, 0, &a);
        fake_swap_finish(w, r);
        assert_int_equal(r->replies[0].counts.cached_tokens,
                         (bad - 1) * KRN_PAGE_TOKENS);
        want.counts = r->replies[0].counts;
        rig_same(&r->replies[0], &want);
        rig_free(r);
    }
    rig_reply_fini(&want);
    disk_free(w);
}

static void a_slow_disk_is_left_alone(void **state)
{
    struct sched_opts o = {.slots = 4, .step_tokens = 64, .n_pages = PAGES};
    struct kvswap *w = disk_of(128);
    struct rig *r = rig_new(&o, CONTEXT);
    struct rig_ask a = ask_of(129, 2);
    uint64_t id = 0;

    (void)state;
    sched_attach(r->s, w);
    r->g->row_ms = 1000; /* beside it, what this machine takes is nothing */
    w->refuse = true;
    a.scope = 1;
    rig_submit(r, id++, &a); /* what a row takes is known from here on */
    fake_swap_finish(w, r);
    a.scope = 0;
    /* 128 s of computing, 1.3 times less of reading: that is worth it */
    w->expect_s = 128 / 1.31;
    rig_submit(r, id++, &a);
    fake_swap_finish(w, r);
    assert_int_equal(w->restored, 128);
    /* a little more is not, but for one of 32 */
    w->expect_s = 128 / 1.29;
    for (unsigned i = 0; i < 64; i++) {
        sched_purge(r->s);
        fake_swap_finish(w, r);
        const uint64_t from = rows(r);
        rig_submit(r, id++, &a);
        fake_swap_finish(w, r);
        if (r->replies[id - 1].counts.cached_tokens == 0)
            assert_true(rows(r) - from >= 129);
    }
    assert_int_equal(w->restored, 3 * 128);
    assert_int_equal(w->recomputed, 62 * 128);
    rig_free(r);
    disk_free(w);
}

static void what_the_disk_lost_is_offered_again(void **state)
{
    struct kvswap *w = calloc(1, sizeof(*w));
    struct rig *r = rig_of(4, 64, PAGES);
    struct rig_ask a = ask_of(129, 1);

    (void)state;
    assert_non_null(w);
    sched_attach(r->s, w);
    for (unsigned i = 0; i < 3; i++) {
        rig_submit(r, i, &a);
        fake_swap_finish(w, r);
        assert_int_equal(w->n_pages, 128 / KRN_PAGE_TOKENS);
        if (i == 1) {
            fake_swap_fini(w);
            w->n_pages = 0;
            w->era++;
        }
    }
    assert_int_equal(r->replies[2].counts.cached_tokens, 128);
    rig_free(r);
    disk_free(w);
}

static void what_was_generated_costs_what_reading_it_would(void **state)
{
    struct kvswap *w = calloc(1, sizeof(*w));
    struct rig *r = rig_of(4, 64, PAGES);
    struct rig_ask a = ask_of(64, 65);

    (void)state;
    assert_non_null(w);
    sched_attach(r->s, w);
    r->g->row_ms = 10;
    r->g->run_ms = 6400; /* a hundred each in a step of 64, 6400 in one of 1 */
    rig_submit(r, 0, &a);
    fake_swap_finish(w, r);
    assert_true(r->replies[0].over);
    assert_int_equal(w->n_pages, 128 / KRN_PAGE_TOKENS);
    assert_true(w->cost_us >= 128 * 110000);
    assert_true(w->cost_us < 128 * 120000);
    rig_free(r);
    disk_free(w);
}

static void a_disk_that_hangs_is_given_up(void **state)
{
    (void)state;
    for (unsigned stage = 0; stage < 2; stage++) {
        struct kvswap *w = disk_of(128);
        struct rig *r = rig_before(w, 4, PAGES);
        struct rig_ask a = ask_of(129, 5);

        w->refuse = true;
        rig_submit(r, 0, &a);
        rig_submit(r, 1, &a); /* waits for the first one's */
        rig_turn(r);
        if (stage == 1)
            fake_swap_answer(w);
        rig_turn(r);
        clock_advance_ms(9000);
        rig_turn(r);
        assert_int_equal(w->n_loads, 1);
        assert_int_equal(r->replies[0].counts.prompt_tokens, 0);
        clock_advance_ms(1500);
        while (!r->replies[0].over || !r->replies[1].over)
            assert_true(rig_turn(r));
        a.scope = 1; /* nothing is asked until it answers */
        rig_submit(r, 2, &a);
        while (!r->replies[2].over)
            assert_true(rig_turn(r));
        assert_int_equal(w->n_loads, 1);
        assert_int_equal(r->replies[0].err, ERR_OK);
        assert_int_equal(r->replies[0].counts.cached_tokens, 0);
        assert_int_equal(w->recomputed, stage == 1 ? 128 : 0);
        assert_int_equal(r->replies[1].err, ERR_OK);
        fake_swap_finish(w, r); /* it comes after all */
        a.scope = 2;
        rig_submit(r, 3, &a);
        rig_turn(r);
        assert_int_equal(w->n_loads, 1);
        fake_swap_finish(w, r);
        assert_int_equal(r->replies[3].err, ERR_OK);
        assert_int_equal(pages_used(r), 0);
        rig_free(r);
        disk_free(w);
    }
}

static void there_may_be_room_for_a_part(void **state)
{
    struct kvswap *w = disk_of(128);
    struct rig *r = rig_before(w, 4, 12);
    struct rig_ask a = ask_of(20, 60);
    struct rig_ask b = ask_of(129, 5);

    (void)state;
    a.scope = 1;
    rig_submit(r, 0, &a);
    rig_submit(r, 1, &b);
    fake_swap_finish(w, r);
    assert_int_equal(r->replies[0].err, ERR_OK);
    assert_int_equal(r->replies[1].err, ERR_OK);
    assert_int_equal(pages_used(r), 0);
    rig_free(r);
    disk_free(w);
}

static void jobs_may_leave_at_any_time(void **state)
{
    (void)state;
    for (unsigned when = 0; when < 5; when++) {
        struct kvswap *w = disk_of(128);
        struct rig *r = rig_before(w, 4, PAGES);
        struct rig_ask a = ask_of(129, 5);

        rig_submit(r, 0, &a);
        rig_submit(r, 1, &a); /* waits for the first one's */
        rig_submit(r, 2, &a);
        for (unsigned i = 0; i < when; i++) {
            rig_turn(r);
            if (i % 2 == 1)
                fake_swap_answer(w);
        }
        sched_cancel(r->s, 0);
        sched_cancel(r->s, 2);
        rig_turn(r);
        assert_int_equal(r->replies[0].err, ERR_CLIENT_GONE);
        fake_swap_finish(w, r);
        assert_int_equal(r->replies[1].err, ERR_OK);
        assert_int_equal(r->replies[1].counts.cached_tokens, 128);
        assert_int_equal(pages_used(r), 0);
        rig_free(r);
        disk_free(w);
    }
}

static void a_text_is_told_to_be_used(void **state)
{
    struct kvswap *w = disk_of(128);
    struct rig *r = rig_before(w, 4, PAGES);
    struct rig_ask a = ask_of(150, 30);

    (void)state;
    rig_submit(r, 0, &a);
    fake_swap_finish(w, r);
    assert_int_equal(w->n_touches, 1);
    assert_int_equal(w->last_n, (150 + 30 - 1) / KRN_PAGE_TOKENS);
    assert_int_equal(w->last_hit, 8);
    assert_int_equal(w->n_pages, w->last_n);
    /* and again when it comes from memory */
    rig_submit(r, 1, &a);
    fake_swap_finish(w, r);
    assert_int_equal(w->n_touches, 2);
    assert_int_equal(w->last_hit, 9);
    rig_free(r);
    disk_free(w);
}

static void what_was_refused_is_offered_at_its_next_use(void **state)
{
    struct kvswap *w = disk_of(0);
    struct rig *r = rig_before(w, 4, PAGES);
    struct rig_ask a = ask_of(65, 1);

    (void)state;
    w->refuse = true;
    rig_submit(r, 0, &a);
    fake_swap_finish(w, r);
    assert_int_equal(w->n_pages, 0);
    assert_int_equal(w->n_refused, 4);
    w->refuse = false;
    rig_submit(r, 1, &a);
    fake_swap_finish(w, r);
    assert_int_equal(w->n_pages, 4);
    rig_submit(r, 2, &a); /* asserts that none is stored twice */
    fake_swap_finish(w, r);
    rig_free(r);
    disk_free(w);
}

static void embeddings_leave_the_disk_alone(void **state)
{
    struct kvswap *w = disk_of(128);
    struct rig *r = rig_before(w, 4, PAGES);
    struct rig_ask a = ask_of(129, 0);
    const unsigned had = w->n_pages;

    (void)state;
    a.kind = GEN_EMBED;
    rig_submit(r, 0, &a);
    a.scope = 1;
    rig_submit(r, 1, &a);
    fake_swap_finish(w, r);
    assert_int_equal(r->replies[1].err, ERR_OK);
    assert_int_equal(w->n_finds, 0);
    assert_int_equal(w->n_touches, 0);
    assert_int_equal(w->n_pages, had);
    rig_free(r);
    disk_free(w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(others_run_while_one_waits_for_the_disk),
        cmocka_unit_test(what_is_restored_goes_before_what_waits),
        cmocka_unit_test(one_text_is_read_once),
        cmocka_unit_test(what_is_in_memory_is_not_asked_for),
        cmocka_unit_test(a_bad_page_ends_what_is_restored),
        cmocka_unit_test(a_slow_disk_is_left_alone),
        cmocka_unit_test(what_the_disk_lost_is_offered_again),
        cmocka_unit_test(what_was_generated_costs_what_reading_it_would),
        cmocka_unit_test(a_disk_that_hangs_is_given_up),
        cmocka_unit_test(there_may_be_room_for_a_part),
        cmocka_unit_test(jobs_may_leave_at_any_time),
        cmocka_unit_test(a_text_is_told_to_be_used),
        cmocka_unit_test(what_was_refused_is_offered_at_its_next_use),
        cmocka_unit_test(embeddings_leave_the_disk_alone),
    };

    return cmocka_run_group_tests(tests, fill_prompt, NULL);
}
