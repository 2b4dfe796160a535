/* t_sched_draw.c - A scheduler whose device draws tokens itself: every reply is
 * what the host would have drawn, log probabilities with it, whatever else is
 * in the step; and what a device cannot draw is drawn by the host. */
#include "unit/sched_fixture.h"

#include "lib/fakegraph.h"

/* A scheduler over a device that draws. */
static struct rig *rig_draws(unsigned slots)
{
    struct rig *r = rig_of(slots, 64, 64);

    r->g->draws = true;
    return r;
}

/* Run <n> jobs at once; each must say what it says alone, on the host. Gives
 * the tokens that the device drew. */
static uint64_t run(unsigned slots, const struct rig_ask *asks, unsigned n)
{
    struct rig *r = rig_draws(slots);
    uint64_t drawn;

    for (unsigned i = 0; i < n; i++) {
        rig_submit(r, i, &asks[i]);
        rig_turn(r);
    }
    rig_finish(r, 2000);
    for (unsigned i = 0; i < n; i++) {
        struct rig_reply want;

        rig_alone(&asks[i], &want);
        want.counts = r->replies[i].counts;
        rig_same(&r->replies[i], &want);
        rig_reply_fini(&want);
    }
    drawn = r->g->n_draws;
    rig_free(r);
    return drawn;
}

static void every_token_is_drawn_by_the_device(void **state)
{
    const struct rig_ask asks[] = {ask_of(100, 20), ask_of(30, 7),
                                   ask_of(130, 1), ask_of(5, 40)};

    (void)state;
    assert_int_equal(run(4, asks, 4), 20 + 7 + 1 + 40);
}

static void log_probabilities_are_the_same(void **state)
{
    struct rig_ask asks[] = {ask_of(60, 12), ask_of(20, 9)};

    (void)state;
    asks[0].logprobs = true;
    asks[0].top = 5;
    asks[1].logprobs = true;
    assert_int_equal(run(2, asks, 2), 12 + 9);
}

static void choices_of_one_prompt_begin_on_the_host(void **state)
{
    struct rig_ask asks[] = {ask_of(60, 6), ask_of(33, 20)};

    (void)state;
    asks[0].n = 3;
    assert_int_equal(run(6, asks, 2), 3 * (6 - 1) + 20);
}

static void prompts_that_are_read_are_the_hosts(void **state)
{
    struct rig_ask asks[] = {ask_of(50, 5), ask_of(40, 30)};
    uint64_t drawn;

    (void)state;
    asks[0].prompt_logprobs = true;
    asks[0].logprobs = true;
    drawn = run(2, asks, 2);
    assert_in_range(drawn, 20, 34); /* but for steps that read */
}

static void those_that_lose_their_pages_draw_on(void **state)
{
    struct rig_ask asks[6];

    (void)state;
    for (unsigned i = 0; i < 6; i++)
        asks[i] = ask_of(150 + i, 60);
    assert_int_equal(run(6, asks, 6), 6 * 60);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_token_is_drawn_by_the_device),
        cmocka_unit_test(log_probabilities_are_the_same),
        cmocka_unit_test(choices_of_one_prompt_begin_on_the_host),
        cmocka_unit_test(prompts_that_are_read_are_the_hosts),
        cmocka_unit_test(those_that_lose_their_pages_draw_on),
    };

    return cmocka_run_group_tests(tests, fill_prompt, NULL);
}
