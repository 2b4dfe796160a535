/* t_sched_meter.c - What a meter says was made is what was made, whenever it is
 * closed, whatever fails; and however tokens are counted out to jobs, each gets
 * what it gets alone. */
#include "unit/sched_fixture.h"

#include <poll.h>
#include <sched.h>

/* --- counts ------------------------------------------------------------- */

static void nothing_is_made_once_it_is_closed(void **state)
{
    struct rig_ask a = ask_of(40, 60);

    (void)state;
    for (int turns = 0; turns < 12; turns++) {
        struct rig *r = rig_of(4, 16, 64);
        struct meter_counts c;
        uint64_t prompt_tok, output_tok;

        a.meter = meter_new(METER_ANY);
        rig_submit(r, 0, &a);
        for (int i = 0; i < turns; i++)
            rig_turn(r);
        meter_close(a.meter);
        meter_read(a.meter, &c);
        prompt_tok = c.prompt_tok;
        output_tok = c.output_tok;
        assert_int_equal(prompt_tok, turns > 0 ? 40 : 0);
        assert_int_equal(output_tok, r->replies[0].counts.output_tokens);
        settle(r); /* the cancel is late */
        meter_read(a.meter, &c);
        assert_int_equal(c.prompt_tok, prompt_tok);
        assert_int_equal(c.output_tok, output_tok);
        assert_int_equal(first_seq(r, 0)->n_out, output_tok);
        atomic_store(&r->s->look_all, true); /* it was lost */
        rig_finish(r, 2);
        assert_int_equal(r->replies[0].err, ERR_CLIENT_GONE);
        rig_free(r);
        meter_unref(a.meter);
    }
}

static void tokens_of_a_failed_step_were_not_made(void **state)
{
    struct rig *r = rig_of(4, 16, 64);
    struct rig_ask a = ask_of(40, 60);

    (void)state;
    a.n = 2;
    a.meter = meter_new(100);
    r->g->fail_at = 9;
    rig_submit(r, 0, &a);
    rig_finish(r, 100);
    assert_int_equal(r->replies[0].err, ERR_INTERNAL);
    assert_int_equal(made(a.meter), r->replies[0].counts.output_tokens);
    assert_true(made(a.meter) > 2);
    rig_free(r);
    meter_unref(a.meter);
}

static void cached_tokens_are_counted_and_kept(void **state)
{
    struct rig *r = rig_of(4, 16, 64);
    struct rig_ask a = ask_of(40, 30);
    struct meter_counts c;

    (void)state;
    a.meter = meter_new(3);
    rig_submit(r, 0, &a);
    settle(r);
    meter_raise(a.meter, 30);
    sched_look(r->s, 0);
    settle(r);
    assert_true(r->replies[0].over);
    meter_unref(a.meter);
    a.meter = meter_new(METER_ANY);
    assert_int_equal(cached(r, 1, &a), 32);
    meter_read(a.meter, &c);
    assert_int_equal(c.prompt_tok, 40);
    assert_int_equal(c.cached_tok, 32);
    assert_int_equal(c.output_tok, 30);
    rig_free(r);
    meter_unref(a.meter);
}

/* --- any schedule ------------------------------------------------------- */

#define JOBS 8

static unsigned below(uint64_t *r, unsigned n)
{
    *r ^= *r << 13;
    *r ^= *r >> 7;
    *r ^= *r << 17;
    return (unsigned)((*r >> 20) % n);
}

static void random_job(uint64_t *r, struct rig_ask *a)
{
    *a = ask_of(1 + below(r, 100), 1 + below(r, 50));
    a->n = 1 + below(r, 3);
    a->temperature = below(r, 2) ? 1 : 0;
    a->seed = below(r, 1000);
    a->scope = (uint8_t)below(r, 2);
    a->key = below(r, 2) ? "a" : "b";
    a->logprobs = below(r, 2);
    a->prompt_logprobs = below(r, 5) == 0;
    a->ignore_eos = below(r, 2);
    a->stops[0] = below(r, 3) == 0 ? "ab" : NULL;
    a->meter = meter_new(below(r, 12));
}

/* Something that may happen to job <i> at any time. */
static void happen(uint64_t *r, struct rig *rig, uint64_t i, struct meter *m,
                   uint64_t *most)
{
    switch (below(r, 12)) {
    case 0:
        *most += below(r, 9);
        meter_raise(m, *most);
        sched_look(rig->s, i);
        break;
    case 1:
        *most += 1;
        meter_raise(m, *most); /* and the look comes another time */
        break;
    case 2:
        sched_look(rig->s, i);
        break;
    case 3:
        sched_pause(rig->s, i, below(r, 2));
        break;
    default:
        break;
    }
}

static void random_schedule(uint64_t seed, uint64_t *n_short)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
    struct rig *r =
        rig_of(1 + below(&x, 6), 1 + below(&x, 60), 11 + below(&x, 30));
    struct rig_ask asks[JOBS];
    uint64_t most[JOBS];

    for (uint64_t i = 0; i < JOBS; i++) {
        random_job(&x, &asks[i]);
        most[i] = meter_left(asks[i].meter);
        rig_submit(r, i, &asks[i]);
    }
    for (unsigned turn = 0; turn < 150; turn++) {
        for (uint64_t i = 0; i < JOBS; i++)
            happen(&x, r, i, asks[i].meter, &most[i]);
        rig_turn(r);
        for (uint64_t i = 0; i < JOBS; i++)
            assert_true(r->replies[i].counts.output_tokens <= most[i]);
        if (below(&x, 40) == 0)
            sched_purge(r->s);
    }
    for (uint64_t i = 0; i < JOBS; i++) {
        meter_raise(asks[i].meter, METER_ANY);
        sched_look(r->s, i);
        sched_pause(r->s, i, false);
    }
    rig_finish(r, 5000);
    for (uint64_t i = 0; i < JOBS; i++) {
        struct rig_reply alone;

        *n_short += r->replies[i].n_short;
        assert_int_equal(made(asks[i].meter),
                         r->replies[i].counts.output_tokens);
        meter_unref(asks[i].meter);
        asks[i].meter = NULL;
        rig_alone(&asks[i], &alone);
        rig_same(&r->replies[i], &alone);
        rig_reply_fini(&alone);
    }
    rig_free(r);
}

static void any_counting_gives_what_a_job_gets_alone(void **state)
{
    uint64_t n_short = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 120; seed++)
        random_schedule(seed, &n_short);
    assert_true(n_short > 500);
}

/* --- with a thread ------------------------------------------------------ */

/* Give each job that is short some more. */
static void feed(struct rig *r, struct meter *const *m, uint64_t *most,
                 unsigned *fed)
{
    for (uint64_t i = 0; i < JOBS; i++) {
        if (r->replies[i].n_short == fed[i])
            continue;
        fed[i] = r->replies[i].n_short;
        most[i] += 3;
        meter_raise(m[i], most[i]);
        sched_look(r->s, i);
    }
}

static void a_worker_feeds_the_engines_thread(void **state)
{
    struct sched_opts o = {.slots = 3, .step_tokens = 32, .n_pages = 40};
    struct rig *r = rig_start(&o, CONTEXT);
    struct pollfd p = {.fd = mbox_fd(&r->answer), .events = POLLIN};
    struct meter *m[JOBS];
    uint64_t most[JOBS];
    unsigned fed[JOBS] = {0};
    unsigned n_over = 0;

    (void)state;
    for (uint64_t i = 0; i < JOBS; i++) {
        struct rig_ask a = ask_of(20 + i, 40);

        most[i] = i;
        m[i] = a.meter = meter_new(most[i]);
        rig_submit(r, i, &a);
    }
    while (n_over < JOBS) {
        assert_int_equal(poll(&p, 1, 60000), 1);
        rig_collect(r);
        feed(r, m, most, fed);
        n_over = 0;
        for (uint64_t i = 0; i < JOBS; i++)
            n_over += r->replies[i].over;
    }
    for (uint64_t i = 0; i < JOBS; i++) {
        assert_int_equal(r->replies[i].counts.output_tokens, 40);
        assert_int_equal(made(m[i]), 40);
        meter_unref(m[i]);
    }
    rig_free(r);
}

/* A close at any moment tells what was made, for ever. */
static void a_close_is_exact_while_the_thread_runs(void **state)
{
    struct sched_opts o = {.slots = 8, .step_tokens = 64, .n_pages = 400};
    struct rig *r = rig_start(&o, CONTEXT);
    struct meter *m[100];
    uint64_t was[100];

    (void)state;
    for (uint64_t i = 0; i < 100; i++) {
        struct rig_ask a = ask_of(8, 200);

        m[i] = a.meter = meter_new(METER_ANY);
        rig_submit(r, i, &a);
        while (i >= 8 && made(m[i - 8]) < (i - 8) % 50)
            sched_yield();
        if (i < 8)
            continue;
        meter_close(m[i - 8]);
        was[i - 8] = made(m[i - 8]);
        sched_cancel(r->s, i - 8);
    }
    for (uint64_t i = 92; i < 100; i++) {
        meter_close(m[i]);
        was[i] = made(m[i]);
        sched_cancel(r->s, i);
    }
    rig_wait(r);
    for (uint64_t i = 0; i < 100; i++) {
        assert_int_equal(made(m[i]), was[i]);
        if (r->replies[i].err == ERR_CLIENT_GONE)
            assert_int_equal(r->replies[i].counts.output_tokens, was[i]);
        meter_unref(m[i]);
    }
    rig_free(r);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_made_once_it_is_closed),
        cmocka_unit_test(tokens_of_a_failed_step_were_not_made),
        cmocka_unit_test(cached_tokens_are_counted_and_kept),
        cmocka_unit_test(any_counting_gives_what_a_job_gets_alone),
        cmocka_unit_test(a_worker_feeds_the_engines_thread),
        cmocka_unit_test(a_close_is_exact_while_the_thread_runs),
    };

    return cmocka_run_group_tests(tests, fill_prompt, NULL);
}
