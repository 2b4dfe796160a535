/* t_sched_lost.c - A scheduler whose device fails in the middle of a step: all
 * that had begun fails with 503, what waits is served by the device begun anew
 * and gets the same numbers, nothing of the old pages is used again, and a
 * device that cannot be begun anew refuses all. */
#include "unit/sched_fixture.h"

#include "lib/fakegraph.h"
#include "lib/fakeswap.h"

#include <string.h>

#define PAGES 64

/* The device. */
struct device {
    struct graph *g; /* borrowed */
    unsigned n_revived;
    bool refuse;
};

/* Begin anew: nothing of its pages is left. */
static bool revive(void *arg)
{
    struct device *d = arg;

    if (d->refuse)
        return false;
    d->n_revived++;
    memset(d->g->kv, 0xee, PAGES * KRN_PAGE_TOKENS * sizeof(*d->g->kv));
    d->g->fail_at = 0;
    d->g->fail_copy = 0;
    return true;
}

static struct rig *rig_over(struct device *d, unsigned slots)
{
    struct sched_opts o = {.slots = slots,
                           .step_tokens = 64,
                           .n_pages = PAGES,
                           .revive = revive,
                           .revive_arg = d};
    struct rig *r = rig_new(&o, CONTEXT);

    d->g = r->g;
    return r;
}

/* Whether reply <id> is that of <ask> computed alone. */
static void is_right(struct rig *r, uint64_t id, const struct rig_ask *ask)
{
    struct rig_reply want;

    rig_alone(ask, &want);
    want.counts = r->replies[id].counts;
    rig_same(&r->replies[id], &want);
    rig_reply_fini(&want);
}

static void what_had_begun_fails_and_what_waits_is_served(void **state)
{
    (void)state;
    for (uint64_t at = 1; at < 12; at++) {
        struct device d = {0};
        struct rig *r = rig_over(&d, 2);
        struct rig_ask a = ask_of(100, 20);
        struct rig_ask b = ask_of(60, 4);
        unsigned n_failed = 0;

        d.g->fail_at = at;
        rig_submit(r, 0, &a);
        rig_submit(r, 1, &a);
        rig_submit(r, 2, &b);
        rig_finish(r, 1000);
        assert_int_equal(d.n_revived, 1);
        for (uint64_t i = 0; i < 3; i++) {
            const struct rig_ask *ask = i < 2 ? &a : &b;

            if (r->replies[i].err == ERR_OK) {
                is_right(r, i, ask);
                continue;
            }
            assert_int_equal(r->replies[i].err, ERR_MODEL_DOWN);
            n_failed++;
        }
        assert_in_range(n_failed, 1, 2);
        assert_int_equal(r->replies[2].err, ERR_OK);
        assert_int_equal(pages_used(r), 0);
        rig_free(r);
    }
}

static void no_page_is_used_again(void **state)
{
    struct device d = {0};
    struct rig *r = rig_over(&d, 2);
    struct rig_ask a = ask_of(128, 4);

    (void)state;
    rig_submit(r, 0, &a);
    rig_finish(r, 1000);
    assert_int_equal(cached(r, 1, &a), 112);
    d.g->fail_at = d.g->n_steps + 1;
    rig_submit(r, 2, &a);
    rig_finish(r, 1000);
    assert_int_equal(r->replies[2].err, ERR_MODEL_DOWN);
    assert_int_equal(cached(r, 3, &a), 0);
    is_right(r, 3, &a);
    rig_free(r);
}

static void what_the_disk_has_comes_back(void **state)
{
    struct kvswap *w = calloc(1, sizeof(*w));
    struct device d = {0};
    struct rig *r = rig_over(&d, 4);
    struct rig_ask a = ask_of(129, 4);
    struct rig_ask b = ask_of(10, 4); /* too short to be asked for */

    (void)state;
    assert_non_null(w);
    d.g->device = true;
    d.g->lag = 2;
    sched_attach(r->s, w);
    rig_submit(r, 0, &a);
    fake_swap_finish(w, r);
    for (unsigned i = 0; i < 100; i++)
        rig_turn(r);
    assert_int_equal(w->n_pages, 8);
    sched_purge(r->s);
    rig_turn(r);
    rig_submit(r, 1, &a);
    for (unsigned i = 0; i < 4; i++)
        rig_turn(r);
    assert_int_equal(w->n_loads, 1); /* it is under way when the device fails */
    d.g->fail_at = d.g->n_steps + 1;
    d.g->fail_copy = d.g->n_tickets + 1;
    rig_submit(r, 2, &b);
    for (unsigned i = 0; i < 6; i++)
        rig_turn(r);
    assert_int_equal(d.n_revived, 0); /* an answer is still to come */
    fake_swap_answer(w);
    for (unsigned i = 0; i < 6; i++)
        rig_turn(r);
    assert_int_equal(d.n_revived, 1);
    assert_int_equal(r->replies[1].err, ERR_MODEL_DOWN);
    assert_int_equal(r->replies[2].err, ERR_MODEL_DOWN);
    rig_submit(r, 3, &a);
    for (unsigned i = 0; i < 500; i++) {
        rig_turn(r);
        if (w->n_loads > 0)
            fake_swap_answer(w);
    }
    assert_true(r->replies[3].over);
    assert_int_equal(r->replies[3].counts.cached_tokens, 128);
    is_right(r, 3, &a);
    rig_free(r);
    fake_swap_fini(w);
    free(w);
}

static void one_that_stays_down_refuses_all(void **state)
{
    struct device d = {.refuse = true};
    struct rig *r = rig_over(&d, 1);
    struct rig_ask a = ask_of(40, 4);

    (void)state;
    d.g->fail_at = 2;
    for (uint64_t i = 0; i < 3; i++)
        rig_submit(r, i, &a);
    rig_finish(r, 1000);
    rig_submit(r, 3, &a);
    rig_finish(r, 1000);
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(r->replies[i].err, ERR_MODEL_DOWN);
    assert_int_equal(pages_used(r), 0);
    rig_free(r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_had_begun_fails_and_what_waits_is_served),
        cmocka_unit_test(no_page_is_used_again),
        cmocka_unit_test(what_the_disk_has_comes_back),
        cmocka_unit_test(one_that_stays_down_refuses_all),
    };

    return cmocka_run_group_tests(tests, fill_prompt, NULL);
}
