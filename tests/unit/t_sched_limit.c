/* t_sched_limit.c - Jobs whose tokens are counted out: they stop at exactly the
 * last one they may make, rest without harm to others, go on as if nothing had
 * been, and end there when there are no more. */
#include "unit/sched_fixture.h"

/* Allow job <id> <most> tokens in all and let it go as far as it may. */
static void raise_to(struct rig *r, uint64_t id, struct meter *m, uint64_t most)
{
    meter_raise(m, most);
    sched_look(r->s, id);
    settle(r);
}

static void it_stops_at_exactly_its_last_token_and_goes_on(void **state)
{
    struct rig *r = rig_of(4, 16, 64);
    struct rig_ask a = ask_of(40, 60);
    struct rig_reply alone;

    (void)state;
    a.logprobs = true;
    a.top = 3;
    rig_alone(&a, &alone);
    a.meter = meter_new(10);
    rig_submit(r, 0, &a);
    settle(r);
    assert_int_equal(r->replies[0].counts.output_tokens, 10);
    assert_int_equal(made(a.meter), 10);
    assert_int_equal(r->replies[0].choices[0].n_lps, 10);
    assert_int_equal(r->replies[0].n_short, 1);
    assert_int_equal(first_seq(r, 0)->state, SEQ_PAUSED);
    assert_int_equal(pages_used(r), 4); /* 50 tokens, the last not computed */
    sched_look(r->s, 0);                /* nothing new: told again */
    settle(r);
    assert_int_equal(r->replies[0].n_short, 2);
    assert_int_equal(made(a.meter), 10);
    raise_to(r, 0, a.meter, 11);
    assert_int_equal(made(a.meter), 11);
    raise_to(r, 0, a.meter, 5); /* less changes nothing */
    raise_to(r, 0, a.meter, 35);
    assert_int_equal(made(a.meter), 35);
    assert_int_equal(r->replies[0].choices[0].n_lps, 35);
    meter_raise(a.meter, 60);
    sched_look(r->s, 0);
    rig_finish(r, 100);
    rig_same(&r->replies[0], &alone);
    assert_int_equal(made(a.meter), 60);
    rig_reply_fini(&alone);
    rig_free(r);
    meter_unref(a.meter);
}

/* Raised before it is short, it never rests. */
static void raised_in_time_it_never_rests(void **state)
{
    struct rig *r = rig_of(4, 16, 64);
    struct rig_ask a = ask_of(40, 60);

    (void)state;
    a.meter = meter_new(4);
    rig_submit(r, 0, &a);
    for (uint64_t i = 5; !r->replies[0].over; i++) {
        assert_true(rig_turn(r));
        meter_raise(a.meter, i);
    }
    assert_int_equal(r->replies[0].n_short, 0);
    assert_int_equal(made(a.meter), 60);
    rig_finish(r, 1);
    rig_free(r);
    meter_unref(a.meter);
}

static void others_run_meanwhile(void **state)
{
    struct rig *r = rig_of(1, 16, 64);
    struct rig_ask a = ask_of(40, 30);
    struct rig_ask b = ask_of(40, 30);
    struct rig_reply alone;

    (void)state;
    rig_alone(&a, &alone);
    a.meter = meter_new(7);
    rig_submit(r, 0, &a);
    settle(r);
    /* the only slot is another's, of the same key and of another */
    rig_submit(r, 1, &b);
    b.key = "other";
    rig_submit(r, 2, &b);
    settle(r);
    rig_same(&r->replies[1], &alone);
    rig_same(&r->replies[2], &alone);
    assert_int_equal(made(a.meter), 7);
    meter_raise(a.meter, METER_ANY);
    sched_look(r->s, 0);
    rig_finish(r, 100);
    rig_same(&r->replies[0], &alone);
    assert_int_equal(made(a.meter), 30);
    rig_reply_fini(&alone);
    rig_free(r);
    meter_unref(a.meter);
}

/* --- what happens while it rests ---------------------------------------- */

static void cancelled_while_it_rests_it_gives_all_back(void **state)
{
    struct rig *r = rig_of(4, 16, 64);
    struct rig_ask a = ask_of(40, 60);

    (void)state;
    a.n = 3;
    a.temperature = 1;
    a.meter = meter_new(12);
    rig_submit(r, 0, &a);
    settle(r);
    meter_close(a.meter);
    sched_cancel(r->s, 0);
    rig_finish(r, 1);
    assert_int_equal(r->replies[0].err, ERR_CLIENT_GONE);
    assert_int_equal(r->replies[0].counts.output_tokens, 12);
    assert_int_equal(made(a.meter), 12);
    rig_free(r);
    meter_unref(a.meter);
}

static void it_yields_its_pages_while_it_rests(void **state)
{
    struct rig *r = rig_of(2, 64, 6);
    struct rig_ask a = ask_of(60, 30);
    struct rig_ask b = ask_of(60, 10);
    struct rig_reply alone;
    struct sched_stats st;

    (void)state;
    rig_alone(&a, &alone);
    a.meter = meter_new(2);
    rig_submit(r, 0, &a);
    settle(r);
    b.scope = 1;
    rig_submit(r, 1, &b);
    settle(r);
    assert_true(r->replies[1].over);
    sched_read(r->s, &st);
    assert_int_equal(st.preemptions, 1);
    meter_raise(a.meter, 30);
    sched_look(r->s, 0);
    rig_finish(r, 100);
    rig_same(&r->replies[0], &alone);
    rig_reply_fini(&alone);
    rig_free(r);
    meter_unref(a.meter);
}

/* A slow reader and a want of tokens, in any order. */
static void it_may_rest_for_both_reasons(void **state)
{
    struct rig_ask a = ask_of(40, 60);
    struct rig_reply alone;

    (void)state;
    rig_alone(&a, &alone);
    for (int order = 0; order < 4; order++) {
        struct rig *r = rig_of(4, 16, 64);

        a.meter = meter_new(9);
        rig_submit(r, 0, &a);
        if (order < 2)
            settle(r);
        else
            rig_turn(r);
        sched_pause(r->s, 0, true);
        settle(r);
        if (order % 2 == 0)
            sched_pause(r->s, 0, false);
        raise_to(r, 0, a.meter, 30);
        assert_int_equal(made(a.meter), order % 2 == 0 ? 30
                                        : order == 1   ? 9
                                                       : made(a.meter));
        sched_pause(r->s, 0, true);
        sched_pause(r->s, 0, false);
        meter_raise(a.meter, 60);
        sched_look(r->s, 0);
        rig_finish(r, 200);
        rig_same(&r->replies[0], &alone);
        rig_free(r);
        meter_unref(a.meter);
    }
    rig_reply_fini(&alone);
}

static void a_purge_and_the_end_of_the_engine_find_it_resting(void **state)
{
    struct rig *r = rig_of(4, 16, 64);
    struct rig_ask a = ask_of(40, 60);

    (void)state;
    a.meter = meter_new(9);
    rig_submit(r, 0, &a);
    settle(r);
    sched_purge(r->s);
    settle(r);
    sched_free(r->s);
    r->s = NULL;
    rig_collect(r);
    assert_int_equal(r->replies[0].err, ERR_DRAINING);
    assert_int_equal(r->replies[0].counts.output_tokens, 9);
    rig_free(r);
    meter_unref(a.meter);
}

/* --- the end of it ------------------------------------------------------ */

/* Run <ask> with <most> tokens and no more; it is as if each choice had asked
 * for what it got. */
static void cut_at(struct rig_ask a, unsigned most, bool in_time)
{
    struct rig *r = rig_of(4, 16, 64);
    struct rig_reply want;

    a.meter = meter_new(most);
    if (in_time)
        meter_end(a.meter);
    rig_submit(r, 0, &a);
    settle(r);
    if (!in_time) {
        assert_false(r->replies[0].over);
        meter_end(a.meter);
        sched_look(r->s, 0);
    }
    rig_finish(r, 10);
    assert_int_equal(r->replies[0].err, ERR_OK);
    assert_int_equal(made(a.meter), most);
    assert_int_equal(r->replies[0].n_short, in_time ? 0 : 1);
    meter_unref(a.meter);
    a.meter = NULL;
    a.max_tokens = most;
    rig_alone(&a, &want);
    assert_int_equal(want.choices[0].finish, GEN_FINISH_LENGTH);
    want.choices[0].finish = GEN_FINISH_CUT;
    rig_same(&r->replies[0], &want);
    rig_reply_fini(&want);
    rig_free(r);
}

static void without_more_it_ends_as_if_it_had_asked_for_less(void **state)
{
    struct rig_ask a = ask_of(40, 200);

    (void)state;
    a.logprobs = true;
    a.top = 2;
    a.temperature = 1;
    a.seed = 5;
    a.stops[0] = "abcaabca"; /* text is held back for it */
    for (unsigned most = 1; most < 40; most++) {
        cut_at(a, most, false);
        cut_at(a, most, true);
    }
}

static void what_it_asked_for_is_no_cut(void **state)
{
    struct rig *r = rig_of(4, 16, 64);
    struct rig_ask a = ask_of(40, 20);

    (void)state;
    a.meter = meter_new(20);
    meter_end(a.meter);
    rig_submit(r, 0, &a);
    rig_finish(r, 100);
    assert_int_equal(r->replies[0].choices[0].finish, GEN_FINISH_LENGTH);
    assert_int_equal(made(a.meter), 20);
    rig_free(r);
    meter_unref(a.meter);
}

static void a_prompt_that_may_make_none_is_not_read(void **state)
{
    struct rig *r = rig_of(4, 16, 64);
    struct rig_ask a = ask_of(40, 20);
    struct rig_ask b = ask_of(40, 0);

    (void)state;
    a.n = 3;
    a.meter = b.meter = meter_new(2);
    meter_end(a.meter);
    rig_submit(r, 0, &a);
    rig_submit(r, 1, &b); /* needs none */
    rig_finish(r, 20);
    assert_int_equal(r->replies[0].counts.prompt_tokens, 0);
    assert_int_equal(r->replies[0].counts.output_tokens, 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(r->replies[0].choices[i].finish, GEN_FINISH_CUT);
    assert_int_equal(r->replies[1].counts.prompt_tokens, 40);
    assert_int_equal(r->replies[1].choices[0].finish, GEN_FINISH_LENGTH);
    assert_int_equal(made(a.meter), 0);
    rig_free(r);
    meter_unref(a.meter);
}

/* --- choices ------------------------------------------------------------ */

static void choices_share_what_there_is(void **state)
{
    struct rig_ask a = ask_of(40, 60);
    struct rig_reply alone;

    (void)state;
    a.n = 3;
    a.temperature = 1;
    a.seed = 9;
    a.logprobs = true;
    rig_alone(&a, &alone);
    for (unsigned most = 3; most < 60; most += 7) {
        struct rig *r = rig_of(most % 2 ? 8 : 2, 16, 64);
        size_t n = 0;

        a.meter = meter_new(most);
        meter_end(a.meter);
        rig_submit(r, 0, &a);
        rig_finish(r, 200);
        assert_int_equal(made(a.meter), most);
        assert_int_equal(r->replies[0].counts.output_tokens, most);
        for (unsigned i = 0; i < 3; i++) {
            const struct rig_choice *c = &r->replies[0].choices[i];

            n += c->n_lps;
            assert_int_equal(c->finish, GEN_FINISH_CUT);
            assert_true(c->n_lps <= alone.choices[i].n_lps);
            for (size_t k = 0; k < c->n_lps; k++)
                assert_int_equal(c->lps[k].id, alone.choices[i].lps[k].id);
        }
        assert_int_equal(n, most);
        rig_free(r);
        meter_unref(a.meter);
    }
    rig_reply_fini(&alone);
}

static void first_tokens_of_all_choices_come_together(void **state)
{
    struct rig *r = rig_of(4, 16, 64);
    struct rig_ask a = ask_of(40, 20);
    struct rig_reply alone;

    (void)state;
    a.n = 4;
    a.temperature = 1;
    rig_alone(&a, &alone);
    a.meter = meter_new(3);
    rig_submit(r, 0, &a);
    settle(r);
    assert_false(r->replies[0].started);
    assert_int_equal(made(a.meter), 0);
    assert_int_equal(r->replies[0].n_short, 1);
    raise_to(r, 0, a.meter, 4);
    assert_true(r->replies[0].started);
    assert_int_equal(made(a.meter), 4);
    raise_to(r, 0, a.meter, 6); /* two of the four go on */
    assert_int_equal(made(a.meter), 6);
    meter_raise(a.meter, 80);
    sched_look(r->s, 0);
    rig_finish(r, 100);
    rig_same(&r->replies[0], &alone);
    rig_reply_fini(&alone);
    rig_free(r);
    meter_unref(a.meter);
}

static void two_prompts_share_what_there_is(void **state)
{
    struct rig *r = rig_of(4, 16, 64);
    struct rig_ask a = ask_of(40, 50);

    (void)state;
    a.meter = meter_new(31);
    rig_submit(r, 0, &a);
    a.tokens = prompt + 60;
    rig_submit(r, 1, &a);
    settle(r);
    assert_int_equal(made(a.meter), 31);
    assert_int_equal(r->replies[0].counts.output_tokens +
                         r->replies[1].counts.output_tokens,
                     31);
    meter_end(a.meter);
    sched_look(r->s, 0);
    sched_look(r->s, 1);
    rig_finish(r, 10);
    assert_int_equal(made(a.meter), 31);
    rig_free(r);
    meter_unref(a.meter);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_stops_at_exactly_its_last_token_and_goes_on),
        cmocka_unit_test(raised_in_time_it_never_rests),
        cmocka_unit_test(others_run_meanwhile),
        cmocka_unit_test(cancelled_while_it_rests_it_gives_all_back),
        cmocka_unit_test(it_yields_its_pages_while_it_rests),
        cmocka_unit_test(it_may_rest_for_both_reasons),
        cmocka_unit_test(a_purge_and_the_end_of_the_engine_find_it_resting),
        cmocka_unit_test(without_more_it_ends_as_if_it_had_asked_for_less),
        cmocka_unit_test(what_it_asked_for_is_no_cut),
        cmocka_unit_test(a_prompt_that_may_make_none_is_not_read),
        cmocka_unit_test(choices_share_what_there_is),
        cmocka_unit_test(first_tokens_of_all_choices_come_together),
        cmocka_unit_test(two_prompts_share_what_there_is),
    };

    return cmocka_run_group_tests(tests, fill_prompt, NULL);
}
