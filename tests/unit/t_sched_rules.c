/* t_sched_rules.c - Who is refused, who waits for whom, what a cancel gives
 * back, and how jobs rest. */
#include "unit/sched_fixture.h"

#include "base/clock.h"

/* --- refusals ----------------------------------------------------------- */

static void refuse(struct rig *r, uint64_t id, const struct rig_ask *a,
                   enum err e)
{
    uint64_t steps = r->g->n_steps;

    rig_submit(r, id, a);
    rig_collect(r);
    assert_true(r->replies[id].over);
    assert_int_equal(r->replies[id].err, e);
    assert_int_equal(r->replies[id].counts.prompt_tokens, 0);
    assert_int_equal(r->g->n_steps, steps);
}

static void what_never_fits_is_refused_before_any_work(void **state)
{
    struct rig *r = rig_of(4, 64, 3);
    struct rig_ask a = ask_of(48, 1);
    int32_t bad[2] = {RIG_BYTES, 1 << 20};

    (void)state;
    assert_int_equal(sched_context(r->s), 48);
    refuse(r, 0, &a, ERR_CONTEXT_LENGTH);
    a.n_tokens = 49;
    a.max_tokens = 0;
    refuse(r, 1, &a, ERR_CONTEXT_LENGTH);
    a.n_tokens = 0;
    refuse(r, 2, &a, ERR_BAD_PARAM);
    a.tokens = bad;
    a.n_tokens = 2;
    refuse(r, 3, &a, ERR_BAD_PARAM);
    bad[1] = -1;
    refuse(r, 4, &a, ERR_BAD_PARAM);
    a = ask_of(48, 0);
    rig_submit(r, 5, &a);
    rig_finish(r, 10);
    assert_int_equal(r->replies[5].err, ERR_OK);
    assert_int_equal(r->replies[5].choices[0].finish, GEN_FINISH_LENGTH);
    assert_int_equal(r->replies[5].choices[0].text.len, 0);
    a = ask_of(40, 1000);
    rig_submit(r, 6, &a);
    rig_finish(r, 100);
    assert_int_equal(r->replies[6].counts.output_tokens, 8);
    assert_int_equal(r->replies[6].choices[0].finish, GEN_FINISH_LENGTH);
    rig_free(r);
}

static void over_the_queue_it_is_told_when_to_come_back(void **state)
{
    struct sched_opts o = {
        .slots = 1, .step_tokens = 16, .n_pages = 64, .queue = 3};
    struct rig *r = rig_new(&o, CONTEXT);
    struct rig_ask a = ask_of(100, 20);

    (void)state;
    for (uint64_t i = 0; i < 3; i++)
        rig_submit(r, i, &a);
    refuse(r, 3, &a, ERR_RATE_REQUESTS);
    assert_int_equal(r->replies[3].retry_after_ms, 1000); /* not known yet */
    rig_turn(r);
    rig_submit(r, 4, &a); /* the first runs, its place is free */
    refuse(r, 5, &a, ERR_RATE_REQUESTS);
    /* 4 jobs of 120 tokens are ahead, less what was read */
    assert_int_equal(atomic_load(&r->s->n.ahead), 4 * 120 - 16);
    atomic_store(&r->s->n.per_second, 100);
    refuse(r, 6, &a, ERR_RATE_REQUESTS);
    assert_int_equal(r->replies[6].retry_after_ms, 4640);
    atomic_store(&r->s->n.per_second, 1);
    refuse(r, 7, &a, ERR_RATE_REQUESTS);
    assert_int_equal(r->replies[7].retry_after_ms, 60000);
    atomic_store(&r->s->n.per_second, 1000000);
    refuse(r, 8, &a, ERR_RATE_REQUESTS);
    assert_int_equal(r->replies[8].retry_after_ms, 100);
    rig_finish(r, 1000);
    rig_free(r);
}

/* --- turns -------------------------------------------------------------- */

static void a_key_with_many_jobs_does_not_starve_another(void **state)
{
    struct rig *r = rig_of(4, 32, 64);
    struct rig_ask a = ask_of(30, 40);

    (void)state;
    a.key = "many";
    for (uint64_t i = 0; i < 100; i++)
        rig_submit(r, i, &a);
    for (int i = 0; i < 10; i++)
        rig_turn(r);
    a.key = "one";
    a.max_tokens = 10;
    rig_submit(r, 100, &a);
    /* it takes a slot at once, reads in a turn, and writes ten tokens */
    for (int i = 0; i < 16; i++)
        rig_turn(r);
    assert_true(r->replies[100].over);
    rig_finish(r, 5000);
    rig_free(r);
}

static void keys_share_the_reading_of_prompts(void **state)
{
    struct rig *r = rig_of(8, 64, 200);
    struct rig_ask a = ask_of(250, 1);
    struct rig_ask b = ask_of(100, 1);

    (void)state;
    b.tokens = prompt + 100;
    a.key = "long";
    b.key = "short";
    for (uint64_t i = 0; i < 5; i++) {
        a.scope = (uint8_t)i; /* nothing is shared */
        rig_submit(r, i, &a);
    }
    rig_turn(r);
    rig_submit(r, 9, &b);
    /* 100 tokens beside as many of the other key: done within 300 rows */
    for (int i = 0; i < 5; i++)
        rig_turn(r);
    assert_true(r->replies[9].over);
    assert_false(r->replies[1].over);
    rig_finish(r, 500);
    rig_free(r);
}

static void jobs_of_one_key_come_first_in_first_out(void **state)
{
    struct rig *r = rig_of(1, 32, 64);
    struct rig_ask a = ask_of(30, 3);

    (void)state;
    for (uint64_t i = 0; i < 10; i++)
        rig_submit(r, i, &a);
    rig_finish(r, 1000);
    for (uint64_t i = 1; i < 10; i++)
        assert_true(r->replies[i].turn > r->replies[i - 1].turn);
    rig_free(r);
}

static void decodes_run_while_a_prompt_is_read(void **state)
{
    struct rig *r = rig_of(4, 8, 64);
    struct rig_ask a = ask_of(8, 20);
    struct rig_ask b = ask_of(250, 1);

    (void)state;
    rig_submit(r, 0, &a);
    rig_turn(r);
    rig_submit(r, 1, &b);
    /* one token a turn, in spite of 250 that are to be read */
    for (int i = 0; i < 19; i++)
        rig_turn(r);
    assert_true(r->replies[0].over);
    assert_false(r->replies[1].over);
    assert_true(r->g->most_rows <= 8);
    rig_finish(r, 500);
    rig_free(r);
}

static void a_slow_device_reads_in_short_steps(void **state)
{
    struct sched_opts o = {.n_pages = 64, .step_tokens = 512, .step_ms = 500};
    struct rig *r = rig_new(&o, CONTEXT);
    struct rig_ask a = ask_of(250, 3);

    (void)state;
    r->g->row_ms = 10; /* 100 rows a second: 50 in a step beside decodes */
    rig_submit(r, 0, &a);
    rig_turn(r);
    assert_int_equal(r->g->most_rows, 128); /* not known yet */
    rig_finish(r, 20);
    a.max_tokens = 200;
    a.n_tokens = 8;
    rig_submit(r, 1, &a);
    rig_turn(r);
    r->g->most_rows = 0;
    a.n_tokens = 250;
    a.scope = 1;
    rig_submit(r, 2, &a);
    rig_finish(r, 300);
    assert_in_range(r->g->most_rows, 33, 52);
    rig_free(r);
}

/* --- the end of jobs ---------------------------------------------------- */

/* Cancel job 0 and expect all pages back by the next turn. */
static void cancel_now(struct rig *r, enum seq_state state)
{
    struct task *t = TAILQ_FIRST(&r->s->tasks);

    if (t)
        assert_int_equal(t->seqs[0].state, state);
    sched_cancel(r->s, 0);
    rig_turn(r);
    assert_true(r->replies[0].over);
    assert_int_equal(r->replies[0].err, ERR_CLIENT_GONE);
}

static void a_cancel_works_in_every_state(void **state)
{
    struct rig_ask a = ask_of(40, 20);
    struct rig *r = rig_of(1, 16, 64);

    (void)state;
    rig_submit(r, 0, &a); /* not even seen yet */
    cancel_now(r, SEQ_WAITING);
    assert_int_equal(r->replies[0].counts.prompt_tokens, 0);
    rig_finish(r, 1);
    rig_free(r);
    for (int turns = 1; turns < 8; turns++) {
        r = rig_of(1, 16, 64);
        rig_submit(r, 0, &a);
        for (int i = 0; i < turns; i++)
            rig_turn(r);
        cancel_now(r, turns < 3 ? SEQ_PREFILL : SEQ_DECODE);
        assert_int_equal(pages_used(r), 0);
        rig_free(r);
    }
    r = rig_of(1, 16, 64);
    rig_submit(r, 0, &a);
    rig_turn(r);
    sched_pause(r->s, 0, true);
    rig_turn(r);
    cancel_now(r, SEQ_PAUSED);
    assert_int_equal(pages_used(r), 0);
    rig_free(r);
}

static void a_cancel_works_while_preempted(void **state)
{
    struct rig *r = rig_of(4, 64, 6);
    struct rig_ask a = ask_of(40, 40);
    struct sched_stats st;

    (void)state;
    rig_submit(r, 1, &a);
    rig_turn(r);
    a.scope = 1;
    rig_submit(r, 0, &a);
    rig_turn(r);
    for (int i = 0; i < 20; i++)
        rig_turn(r);
    sched_read(r->s, &st);
    assert_true(st.preemptions > 0);
    assert_int_equal(TAILQ_LAST(&r->s->tasks, task_list)->seqs[0].state,
                     SEQ_PREEMPTED);
    sched_cancel(r->s, 0);
    rig_finish(r, 100);
    assert_int_equal(r->replies[0].err, ERR_CLIENT_GONE);
    assert_int_equal(r->replies[1].counts.output_tokens, 40);
    rig_free(r);
}

static void a_deadline_ends_a_job_wherever_it_is(void **state)
{
    struct rig *r = rig_of(1, 16, 64);
    struct rig_ask a = ask_of(40, 200);

    (void)state;
    clock_update();
    a.deadline_ms = (int64_t)clock_mono_ms() + 1000000;
    rig_submit(r, 0, &a);
    a.deadline_ms += 1000000;
    rig_submit(r, 1, &a);
    for (int i = 0; i < 5; i++)
        rig_turn(r);
    assert_false(r->replies[0].over);
    clock_advance_ms(1000001);
    rig_turn(r);
    assert_int_equal(r->replies[0].err, ERR_UP_TIMEOUT);
    assert_false(r->replies[1].over);
    clock_advance_ms(1000001);
    rig_finish(r, 1);
    assert_int_equal(r->replies[1].err, ERR_UP_TIMEOUT);
    rig_free(r);
}

static void a_failed_step_ends_its_jobs_and_no_others(void **state)
{
    struct rig *r = rig_of(1, 16, 64);
    struct rig_ask a = ask_of(40, 5);

    (void)state;
    r->g->fail_at = 4;
    rig_submit(r, 0, &a);
    rig_submit(r, 1, &a);
    rig_finish(r, 100);
    assert_int_equal(r->replies[0].err, ERR_INTERNAL);
    assert_int_equal(r->replies[1].err, ERR_OK);
    assert_int_equal(r->replies[1].counts.output_tokens, 5);
    rig_free(r);
}

static void the_end_of_the_engine_fails_what_is_under_way(void **state)
{
    struct rig *r = rig_of(1, 16, 64);
    struct rig_ask a = ask_of(40, 5);
    struct mbox *answer = &r->answer;

    (void)state;
    rig_submit(r, 0, &a);
    rig_turn(r);
    rig_submit(r, 1, &a);
    sched_free(r->s);
    r->s = NULL;
    rig_collect(r);
    assert_int_equal(r->replies[0].err, ERR_DRAINING);
    assert_int_equal(r->replies[1].err, ERR_DRAINING);
    assert_non_null(answer);
    rig_free(r);
}

/* --- slow readers ------------------------------------------------------- */

static void a_paused_job_rests_and_goes_on(void **state)
{
    struct rig *r = rig_of(1, 16, 64);
    struct rig_ask a = ask_of(20, 20);
    size_t had;

    (void)state;
    rig_submit(r, 0, &a);
    for (int i = 0; i < 6; i++)
        rig_turn(r);
    sched_pause(r->s, 0, true);
    rig_turn(r);
    had = r->replies[0].choices[0].n_events;
    for (int i = 0; i < 5; i++)
        assert_false(rig_turn(r));
    assert_int_equal(r->replies[0].choices[0].n_events, had);
    assert_int_equal(pages_used(r), 2);
    /* its slot is another's meanwhile */
    rig_submit(r, 1, &a);
    for (int i = 0; i < 25; i++)
        rig_turn(r);
    assert_true(r->replies[1].over);
    sched_pause(r->s, 0, false);
    rig_finish(r, 100);
    assert_int_equal(r->replies[0].counts.output_tokens, 20);
    rig_free(r);
}

static void a_paused_job_yields_its_pages(void **state)
{
    struct rig *r = rig_of(2, 64, 6);
    struct rig_ask a = ask_of(60, 10);
    struct rig_reply alone;
    struct sched_stats st;

    (void)state;
    rig_alone(&a, &alone);
    rig_submit(r, 0, &a);
    rig_turn(r);
    sched_pause(r->s, 0, true);
    a.scope = 1;
    rig_submit(r, 1, &a);
    for (int i = 0; i < 20; i++)
        rig_turn(r);
    assert_true(r->replies[1].over);
    sched_read(r->s, &st);
    assert_int_equal(st.preemptions, 1);
    sched_pause(r->s, 0, false);
    rig_finish(r, 100);
    rig_same(&r->replies[0], &alone);
    rig_reply_fini(&alone);
    rig_free(r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_never_fits_is_refused_before_any_work),
        cmocka_unit_test(over_the_queue_it_is_told_when_to_come_back),
        cmocka_unit_test(a_key_with_many_jobs_does_not_starve_another),
        cmocka_unit_test(keys_share_the_reading_of_prompts),
        cmocka_unit_test(jobs_of_one_key_come_first_in_first_out),
        cmocka_unit_test(decodes_run_while_a_prompt_is_read),
        cmocka_unit_test(a_slow_device_reads_in_short_steps),
        cmocka_unit_test(a_cancel_works_in_every_state),
        cmocka_unit_test(a_cancel_works_while_preempted),
        cmocka_unit_test(a_deadline_ends_a_job_wherever_it_is),
        cmocka_unit_test(a_failed_step_ends_its_jobs_and_no_others),
        cmocka_unit_test(the_end_of_the_engine_fails_what_is_under_way),
        cmocka_unit_test(a_paused_job_rests_and_goes_on),
        cmocka_unit_test(a_paused_job_yields_its_pages),
    };

    return cmocka_run_group_tests(tests, fill_prompt, NULL);
}
