/* t_mbox.c - Mailboxes and threads: order, wake-ups, many senders. */
#include "base/mbox.h"
#include "base/thr.h"

#include "unit/cmocka_all.h"

#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A message of the tests. */
struct note {
    int sender;
    int number;
    struct mbox_msg msg;
};

/* What the drain callback saw. */
struct seen {
    struct mbox *mb;
    int last[8]; /* last number of each sender */
    int count;
    int push_again; /* messages the callback pushes */
};

static bool is_readable(const struct mbox *mb)
{
    struct pollfd p = {.fd = mbox_fd(mb), .events = POLLIN};

    return poll(&p, 1, 0) == 1;
}

static struct note *note_new(int sender, int number)
{
    struct note *n = calloc(1, sizeof(*n));

    assert_non_null(n);
    n->sender = sender;
    n->number = number;
    return n;
}

static void see(struct mbox_msg *m, void *arg)
{
    struct note *n = MBOX_ENTRY(m, struct note, msg);
    struct seen *s = arg;

    assert_int_equal(n->number, s->last[n->sender] + 1);
    s->last[n->sender] = n->number;
    s->count++;
    if (s->push_again > 0) {
        s->push_again--;
        mbox_push(s->mb, &note_new(n->sender, n->number + 1)->msg);
    }
    free(n);
}

static void keeps_order_and_wakes_once(void **state)
{
    struct mbox mb;
    struct seen s = {.mb = &mb};
    uint64_t count;

    (void)state;
    assert_int_equal(mbox_init(&mb), ERR_OK);
    assert_false(is_readable(&mb));
    for (int i = 1; i <= 5; i++)
        mbox_push(&mb, &note_new(0, i)->msg);
    assert_true(is_readable(&mb));
    assert_int_equal(read(mbox_fd(&mb), &count, 8), 8);
    assert_int_equal(count, 1);
    assert_int_equal(mbox_drain(&mb, 0, see, &s), 5);
    assert_int_equal(s.last[0], 5);
    assert_false(is_readable(&mb));
    assert_int_equal(mbox_drain(&mb, 0, see, &s), 0);
    mbox_fini(&mb);
    mbox_fini(&mb);
}

static void bounded_drain_stays_readable(void **state)
{
    struct mbox mb;
    struct seen s = {.mb = &mb};

    (void)state;
    assert_int_equal(mbox_init(&mb), ERR_OK);
    for (int i = 1; i <= 3; i++)
        mbox_push(&mb, &note_new(0, i)->msg);
    assert_int_equal(mbox_drain(&mb, 2, see, &s), 2);
    assert_true(is_readable(&mb));
    mbox_push(&mb, &note_new(0, 4)->msg);
    assert_int_equal(mbox_drain(&mb, 1, see, &s), 1);
    assert_true(is_readable(&mb));
    assert_int_equal(mbox_drain(&mb, 1, see, &s), 1);
    assert_false(is_readable(&mb));
    assert_int_equal(s.last[0], 4);
    mbox_fini(&mb);
}

static void callback_may_push(void **state)
{
    struct mbox mb;
    struct seen s = {.mb = &mb, .push_again = 3};

    (void)state;
    assert_int_equal(mbox_init(&mb), ERR_OK);
    mbox_push(&mb, &note_new(0, 1)->msg);
    for (int i = 0; i < 4; i++) {
        assert_true(is_readable(&mb));
        assert_int_equal(mbox_drain(&mb, 0, see, &s), 1);
    }
    assert_false(is_readable(&mb));
    mbox_fini(&mb);
}

#define SENDERS 4
#define EACH    20000

/* A sending thread. */
struct sender {
    struct mbox *mb;
    int index;
    struct thr thr;
};

static void send_all(void *arg)
{
    struct sender *s = arg;

    for (int i = 1; i <= EACH; i++)
        mbox_push(s->mb, &note_new(s->index, i)->msg);
}

static void loses_nothing_of_many_senders(void **state)
{
    struct sender senders[SENDERS];
    struct mbox mb;
    struct seen s = {.mb = &mb};
    struct pollfd p;

    (void)state;
    assert_int_equal(mbox_init(&mb), ERR_OK);
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.mb = &mb, .index = i};
        assert_int_equal(
            thr_start(&senders[i].thr, "sender", send_all, &senders[i]),
            ERR_OK);
    }
    p = (struct pollfd){.fd = mbox_fd(&mb), .events = POLLIN};
    while (s.count < SENDERS * EACH) {
        /* A lost wake-up would hang here. */
        assert_int_equal(poll(&p, 1, 30000), 1);
        mbox_drain(&mb, 100, see, &s);
    }
    for (int i = 0; i < SENDERS; i++) {
        thr_join(&senders[i].thr);
        assert_int_equal(s.last[i], EACH);
    }
    mbox_fini(&mb);
}

/* What a thread says of itself. */
struct self {
    unsigned index;
    char name[THR_NAME_SIZE];
    bool blocks_term;
    struct mbox *go; /* readable when it may end */
};

static void tell_self(void *arg)
{
    struct self *s = arg;
    struct pollfd p = {.fd = mbox_fd(s->go), .events = POLLIN};
    sigset_t set;

    s->index = thr_index();
    snprintf(s->name, sizeof(s->name), "%s", thr_name());
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    s->blocks_term = sigismember(&set, SIGTERM) == 1;
    poll(&p, 1, -1);
}

static void threads_have_index_name_and_no_signals(void **state)
{
    struct thr t[3];
    struct self self[3];
    struct mbox go;
    struct seen s = {.mb = &go};
    sigset_t set;
    unsigned first;

    (void)state;
    assert_int_equal(mbox_init(&go), ERR_OK);
    assert_int_equal(thr_index(), 0);
    assert_string_equal(thr_name(), "main");
    for (int i = 0; i < 3; i++) {
        self[i] = (struct self){.go = &go};
        assert_int_equal(
            thr_start(&t[i], "a-very-long-thread-name", tell_self, &self[i]),
            ERR_OK);
    }
    first = t[0].index;
    mbox_push(&go, &note_new(0, 1)->msg);
    for (int i = 0; i < 3; i++) {
        thr_join(&t[i]);
        thr_join(&t[i]);
        assert_int_equal(self[i].index, first + (unsigned)i);
        assert_string_equal(self[i].name, "a-very-long-thr");
        assert_true(self[i].blocks_term);
    }
    pthread_sigmask(SIG_SETMASK, NULL, &set);
    assert_int_equal(sigismember(&set, SIGTERM), 0);
    assert_int_equal(thr_start(&t[0], "again", tell_self, &self[0]), ERR_OK);
    assert_int_equal(t[0].index, first);
    thr_join(&t[0]);
    mbox_drain(&go, 0, see, &s);
    mbox_fini(&go);
}

static void nothing(void *arg)
{
    (void)arg;
}

static void thread_indexes_run_out(void **state)
{
    static struct thr t[THR_MAX];
    int n = 0;

    (void)state;
    /* Ended but not joined threads keep their index. */
    while (n < THR_MAX && thr_start(&t[n], "x", nothing, NULL) == ERR_OK)
        n++;
    assert_int_equal(n, THR_MAX - 1);
    while (n-- > 0)
        thr_join(&t[n]);
    assert_int_equal(thr_start(&t[0], "x", nothing, NULL), ERR_OK);
    thr_join(&t[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order_and_wakes_once),
        cmocka_unit_test(bounded_drain_stays_readable),
        cmocka_unit_test(callback_may_push),
        cmocka_unit_test(loses_nothing_of_many_senders),
        cmocka_unit_test(threads_have_index_name_and_no_signals),
        cmocka_unit_test(thread_indexes_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
