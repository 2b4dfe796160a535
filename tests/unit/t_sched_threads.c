/* t_sched_threads.c - The scheduler with its own thread while several others
 * submit, cancel, pause and read its numbers; for the thread sanitizer. */
#include "unit/sched_fixture.h"

#include "base/thr.h"

#include <stdatomic.h>
#include <string.h>

#define SENDERS 4
#define EACH    24 /* jobs of a sender */
#define JOBS    (SENDERS * EACH)

/* One sender. */
struct sender {
    struct rig *r;
    uint64_t first; /* id of its first job */
    struct thr thr;
};

/* A reader of numbers. */
struct reader {
    struct rig *r;
    atomic_bool stop;
    uint64_t most_waiting;
    struct thr thr;
};

/* Job <id> of the test. */
static struct rig_ask job(uint64_t id)
{
    struct rig_ask a = ask_of(1 + (id * 37) % 90, 1 + (unsigned)(id % 23));

    a.temperature = 1;
    a.seed = id;
    a.n = 1 + (id % 5 == 0);
    a.scope = (uint8_t)(id % 3);
    a.key = id % 2 ? "odd" : "even";
    a.ignore_eos = id % 4 == 0;
    return a;
}

static void send_all(void *arg)
{
    struct sender *me = arg;

    for (uint64_t id = me->first; id < me->first + EACH; id++) {
        struct rig_ask a = job(id);

        rig_send(me->r, id, &a);
        if (id % 6 == 1)
            sched_cancel(me->r->s, id - 1);
        if (id % 3 == 2) {
            sched_pause(me->r->s, id - 1, true);
            sched_pause(me->r->s, id - 1, false);
        }
        if (id % 7 == 0)
            sched_purge(me->r->s);
    }
}

static void read_all(void *arg)
{
    struct reader *me = arg;
    struct sched_stats st;

    while (!atomic_load(&me->stop)) {
        sched_read(me->r->s, &st);
        if (st.waiting > me->most_waiting)
            me->most_waiting = st.waiting;
    }
}

static void start_senders(struct rig *r, struct sender *senders)
{
    for (uint64_t id = 0; id < JOBS; id++)
        rig_expect(r, id);
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i].r = r;
        senders[i].first = i * EACH;
        assert_int_equal(
            thr_start(&senders[i].thr, "sender", send_all, &senders[i]),
            ERR_OK);
    }
}

static void many_threads_get_what_each_job_gets_alone(void **state)
{
    struct sched_opts o = {.slots = 6, .step_tokens = 40, .n_pages = 30};
    struct rig *r = rig_start(&o, CONTEXT);
    struct sender senders[SENDERS];
    struct reader reader = {.r = r};
    struct sched_stats st;
    unsigned n_gone = 0;

    (void)state;
    start_senders(r, senders);
    assert_int_equal(thr_start(&reader.thr, "reader", read_all, &reader),
                     ERR_OK);
    rig_wait(r);
    for (unsigned i = 0; i < SENDERS; i++)
        thr_join(&senders[i].thr);
    atomic_store(&reader.stop, true);
    thr_join(&reader.thr);
    for (uint64_t id = 0; id < JOBS; id++) {
        struct rig_ask a = job(id);
        struct rig_reply alone;

        if (r->replies[id].err == ERR_CLIENT_GONE) {
            n_gone++;
            continue;
        }
        rig_alone(&a, &alone);
        rig_same(&r->replies[id], &alone);
        rig_reply_fini(&alone);
    }
    sched_read(r->s, &st);
    assert_int_equal(st.jobs, JOBS);
    assert_int_equal(st.cancelled, n_gone);
    assert_int_equal(st.waiting, 0);
    rig_free(r);
}

static void an_idle_engine_wakes_for_each_job(void **state)
{
    struct sched_opts o = {.slots = 2, .step_tokens = 16, .n_pages = 30};
    struct rig *r = rig_start(&o, CONTEXT);

    (void)state;
    for (uint64_t id = 0; id < 50; id++) {
        struct rig_ask a = job(id);

        rig_submit(r, id, &a);
        rig_wait(r);
        assert_int_equal(r->replies[id].err, ERR_OK);
    }
    rig_free(r);
}

static void an_engine_may_end_while_it_is_busy(void **state)
{
    struct sched_opts o = {.slots = 2, .step_tokens = 16, .n_pages = 30};

    (void)state;
    for (int round = 0; round < 20; round++) {
        struct rig *r = rig_start(&o, CONTEXT);
        struct rig_ask a = ask_of(60, 100);

        for (uint64_t id = 0; id < 8; id++)
            rig_submit(r, id, &a);
        sched_free(r->s);
        r->s = NULL;
        rig_collect(r);
        for (uint64_t id = 0; id < 8; id++)
            assert_true(r->replies[id].over);
        rig_free(r);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_threads_get_what_each_job_gets_alone),
        cmocka_unit_test(an_idle_engine_wakes_for_each_job),
        cmocka_unit_test(an_engine_may_end_while_it_is_busy),
    };

    return cmocka_run_group_tests(tests, fill_prompt, NULL);
}
