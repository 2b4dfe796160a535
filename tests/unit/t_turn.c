/* t_turn.c - Waiting for a place at a target: who gets it, who is told that it
 * took too long or is in vain, and that none is lost or given twice, whatever
 * threads do. */
#include <event2/event.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "conf/conf.h"
#include "exchange/exchange.h"
#include "serve/retry.h"
#include "serve/target.h"
#include "serve/turn.h"

#include "unit/cmocka_all.h"

/* A worker without exchanges of its own. */
struct bench {
    struct target_table *table;
    struct target *t;
    struct conf_upstream up;
    struct worker w;
};

/* As much of an exchange as waits: what wakes it is noted in `pending`. */
struct dummy {
    struct exchange x;
    struct caller who;
    struct request in;
    struct turn *turn;
};

static void worker_make(struct worker *w)
{
    *w = (struct worker){.base = event_base_new()};
    assert_non_null(w->base);
    assert_int_equal(mbox_init(&w->inbox), ERR_OK);
}

static void take(struct mbox_msg *m, void *arg)
{
    struct worker_mail *mail = MBOX_ENTRY(m, struct worker_mail, link);

    mail->take(mail, arg);
}

static void read_mail(struct worker *w)
{
    mbox_drain(&w->inbox, 0, take, w);
}

static void worker_end(struct worker *w)
{
    read_mail(w);
    mbox_fini(&w->inbox);
    event_base_free(w->base);
}

static struct bench bench_make(uint64_t most)
{
    struct bench b = {.table = target_table_new()};

    b.up = (struct conf_upstream){
        .name = STR("up"),
        .breaker = {.failures = 1, .window_ms = 30000, .open_ms = 15000},
        .max_in_flight = most,
        .queue = {.size = 8, .wait_ms = 10000}};
    b.t = target_get(b.table, STR("up"));
    assert_non_null(b.t);
    worker_make(&b.w);
    return b;
}

static void bench_end(struct bench *b)
{
    struct target_view v;

    assert_true(target_view(b->table, 0, clock_mono_ms(), &v));
    assert_int_equal(v.in_flight, 0);
    assert_int_equal(v.queued, 0);
    worker_end(&b->w);
    target_table_free(b->table);
}

static void dummy_make(struct dummy *d, struct worker *w, const char *key)
{
    *d = (struct dummy){.who = {.key_id = str_from(key)}};
    d->x.running = true;
    d->x.w = w;
    d->x.who = &d->who;
    d->x.in = &d->in;
}

static bool woken(struct dummy *d)
{
    const bool was = (d->x.pending & 1U << WAKE_TURN) != 0;

    d->x.pending = 0;
    return was;
}

static enum queue_answer wait_turn(struct bench *b, struct dummy *d)
{
    uint64_t again_ms;

    return turn_wait(&d->x, b->t, &b->up, UINT64_MAX, &d->turn, &again_ms);
}

static enum target_answer enter(struct bench *b, struct target_pass *p)
{
    return target_enter(b->t, &b->up, 0, clock_mono_ms(), p);
}

static enum target_answer enter_in_turn(struct bench *b, struct dummy *d,
                                        struct target_pass *p)
{
    return turn_take(d->turn, &b->up, 0, clock_mono_ms(), p);
}

static void leave(struct bench *b, struct target_pass *p)
{
    target_leave(p, &b->up, ERR_OK, NULL, clock_mono_ms());
}

static void a_place_goes_to_who_waits(void **state)
{
    struct bench b = bench_make(1);
    struct target_pass first, second, third;
    struct dummy one, two;

    (void)state;
    dummy_make(&one, &b.w, "a");
    dummy_make(&two, &b.w, "b");
    assert_int_equal(enter(&b, &first), TARGET_IN);
    assert_int_equal(enter(&b, &second), TARGET_FULL);
    assert_int_equal(wait_turn(&b, &one), QUEUE_WAITS);
    assert_int_equal(wait_turn(&b, &two), QUEUE_WAITS);
    read_mail(&b.w);
    assert_false(woken(&one));
    leave(&b, &first);
    assert_int_equal(enter(&b, &third), TARGET_FULL); /* nobody jumps in */
    read_mail(&b.w);
    assert_true(woken(&one));
    assert_false(woken(&two));
    assert_int_equal(enter_in_turn(&b, &one, &second), TARGET_IN);
    leave(&b, &second);
    read_mail(&b.w);
    assert_true(woken(&two));
    assert_int_equal(enter_in_turn(&b, &two, &third), TARGET_IN);
    leave(&b, &third);
    assert_int_equal(enter(&b, &first), TARGET_IN);
    leave(&b, &first);
    bench_end(&b);
}

static void keys_take_turns(void **state)
{
    struct bench b = bench_make(1);
    struct target_pass p;
    struct dummy d[4];
    static const char *const keys[] = {"a", "a", "a", "b"};
    static const unsigned order[] = {0, 3, 1, 2};

    (void)state;
    assert_int_equal(enter(&b, &p), TARGET_IN);
    for (unsigned i = 0; i < 4; i++) {
        dummy_make(&d[i], &b.w, keys[i]);
        assert_int_equal(wait_turn(&b, &d[i]), QUEUE_WAITS);
    }
    for (unsigned i = 0; i < 4; i++) {
        leave(&b, &p);
        read_mail(&b.w);
        assert_true(woken(&d[order[i]]));
        assert_int_equal(enter_in_turn(&b, &d[order[i]], &p), TARGET_IN);
    }
    leave(&b, &p);
    bench_end(&b);
}

/* Its client leaves while the message that it has a place is under way. */
static void who_gives_up_hands_its_place_on(void **state)
{
    struct bench b = bench_make(1);
    struct target_pass p;
    struct dummy one, two, three;

    (void)state;
    dummy_make(&one, &b.w, "a");
    dummy_make(&two, &b.w, "b");
    dummy_make(&three, &b.w, "c");
    assert_int_equal(enter(&b, &p), TARGET_IN);
    assert_int_equal(wait_turn(&b, &one), QUEUE_WAITS);
    assert_int_equal(wait_turn(&b, &two), QUEUE_WAITS);
    assert_int_equal(wait_turn(&b, &three), QUEUE_WAITS);
    turn_drop(two.turn);
    leave(&b, &p);
    turn_drop(one.turn);
    read_mail(&b.w);
    assert_false(woken(&one));
    assert_false(woken(&two));
    assert_true(woken(&three));
    turn_drop(three.turn);
    assert_int_equal(enter(&b, &p), TARGET_IN);
    leave(&b, &p);
    bench_end(&b);
}

static void a_target_that_opens_puts_all_off(void **state)
{
    struct bench b = bench_make(1);
    const struct retry_verdict failed = {.kind = RETRY_KIND_FAILED,
                                         .word = BREAKER_BAD};
    struct target_pass p, q;
    struct dummy one, two;

    (void)state;
    dummy_make(&one, &b.w, "a");
    dummy_make(&two, &b.w, "b");
    assert_int_equal(enter(&b, &p), TARGET_IN);
    assert_int_equal(wait_turn(&b, &one), QUEUE_WAITS);
    assert_int_equal(wait_turn(&b, &two), QUEUE_WAITS);
    target_tell(&p, &b.up, &failed, clock_mono_ms());
    read_mail(&b.w);
    assert_true(woken(&one));
    assert_true(woken(&two));
    assert_int_equal(enter_in_turn(&b, &one, &q), TARGET_SHUT);
    assert_int_equal(enter_in_turn(&b, &two, &q), TARGET_SHUT);
    leave(&b, &p);
    bench_end(&b);
}

/* Whoever cannot use the place that it gets passes it on. */
static void a_place_without_a_key_is_passed_on(void **state)
{
    static const struct secret keys[] = {{.hidden_ = STR("one")}};
    struct bench b = bench_make(1);
    struct target_pass p, q;
    struct dummy one, two;

    (void)state;
    b.up.keys = keys;
    b.up.n_keys = 1;
    dummy_make(&one, &b.w, "a");
    dummy_make(&two, &b.w, "b");
    assert_int_equal(enter(&b, &p), TARGET_IN);
    assert_int_equal(wait_turn(&b, &one), QUEUE_WAITS);
    assert_int_equal(wait_turn(&b, &two), QUEUE_WAITS);
    leave(&b, &p);
    read_mail(&b.w);
    assert_int_equal(turn_take(one.turn, &b.up, 1, clock_mono_ms(), &q),
                     TARGET_SHUT);
    read_mail(&b.w);
    assert_true(woken(&two));
    assert_int_equal(enter_in_turn(&b, &two, &q), TARGET_IN);
    leave(&b, &q);
    bench_end(&b);
}

static void who_waits_too_long_is_told(void **state)
{
    struct bench b = bench_make(1);
    struct target_pass p, q;
    struct target_view v;
    struct dummy one;

    (void)state;
    b.up.queue.wait_ms = 5;
    dummy_make(&one, &b.w, "a");
    assert_int_equal(enter(&b, &p), TARGET_IN);
    assert_int_equal(wait_turn(&b, &one), QUEUE_WAITS);
    event_base_loop(b.w.base, EVLOOP_ONCE);
    assert_true(woken(&one));
    assert_int_equal(enter_in_turn(&b, &one, &q), TARGET_FULL);
    assert_true(target_view(b.table, 0, clock_mono_ms(), &v));
    assert_int_equal(v.refused, 1);
    assert_int_equal(v.waits, 1);
    leave(&b, &p);
    bench_end(&b);
}

static void no_more_wait_than_may(void **state)
{
    struct bench b = bench_make(1);
    struct target_pass p;
    struct dummy d[3];
    uint64_t again_ms = 0;

    (void)state;
    b.up.queue.size = 2;
    assert_int_equal(enter(&b, &p), TARGET_IN);
    for (unsigned i = 0; i < 3; i++)
        dummy_make(&d[i], &b.w, i == 0 ? "a" : "b");
    assert_int_equal(wait_turn(&b, &d[0]), QUEUE_WAITS);
    assert_int_equal(wait_turn(&b, &d[1]), QUEUE_WAITS);
    assert_int_equal(
        turn_wait(&d[2].x, b.t, &b.up, UINT64_MAX, &d[2].turn, &again_ms),
        QUEUE_FULL);
    assert_true(again_ms >= 1000);
    turn_drop(d[0].turn);
    turn_drop(d[1].turn);
    b.up.queue.size = 0;
    assert_int_equal(wait_turn(&b, &d[2]), QUEUE_FULL);
    leave(&b, &p);
    bench_end(&b);
}

/* Who waits where a reload has made room need not wait for others to go. */
static void a_larger_limit_lets_more_in(void **state)
{
    struct bench b = bench_make(1);
    struct target_pass p[3];
    struct dummy one;

    (void)state;
    dummy_make(&one, &b.w, "a");
    assert_int_equal(enter(&b, &p[0]), TARGET_IN);
    assert_int_equal(enter(&b, &p[1]), TARGET_FULL);
    assert_int_equal(wait_turn(&b, &one), QUEUE_WAITS);
    b.up.max_in_flight = 3;
    assert_int_equal(enter(&b, &p[1]), TARGET_IN);
    read_mail(&b.w);
    assert_true(woken(&one));
    assert_int_equal(enter_in_turn(&b, &one, &p[2]), TARGET_IN);
    for (unsigned i = 0; i < 3; i++)
        leave(&b, &p[i]);
    bench_end(&b);
}

/* A place that becomes free before it is waited for is not missed. */
static void a_place_just_left_is_taken(void **state)
{
    struct bench b = bench_make(1);
    struct target_pass p;
    struct dummy one;

    (void)state;
    dummy_make(&one, &b.w, "a");
    assert_int_equal(enter(&b, &p), TARGET_IN);
    leave(&b, &p);
    assert_int_equal(wait_turn(&b, &one), QUEUE_WAITS);
    read_mail(&b.w);
    assert_true(woken(&one));
    assert_int_equal(enter_in_turn(&b, &one, &p), TARGET_IN);
    leave(&b, &p);
    bench_end(&b);
}

/* --- threads ------------------------------------------------------------- */

#define THREADS 4
#define ROUNDS  3000
#define PLACES  2

struct hand {
    struct bench *b;
    const char *key;
    uint64_t random;
    _Atomic int *inside;
    unsigned in, dropped;
};

static uint64_t next_random(struct hand *h)
{
    h->random = h->random * 6364136223846793005U + 1442695040888963407U;
    return h->random >> 33;
}

/* Wait until <d> is woken, or drop it now and then. */
static bool get_in_turn(struct hand *h, struct worker *w, struct dummy *d,
                        struct target_pass *p)
{
    if (wait_turn(h->b, d) != QUEUE_WAITS)
        return false;
    if (next_random(h) % 4 == 0) {
        turn_drop(d->turn);
        h->dropped++;
        return false;
    }
    while (!woken(d)) { /* for ever, if it is forgotten */
        struct pollfd mail = {.fd = mbox_fd(&w->inbox), .events = POLLIN};

        poll(&mail, 1, -1);
        read_mail(w);
    }
    return enter_in_turn(h->b, d, p) == TARGET_IN;
}

static void *work(void *arg)
{
    struct hand *h = arg;
    struct worker w;
    struct dummy d;

    worker_make(&w);
    dummy_make(&d, &w, h->key);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct target_pass p;
        enum target_answer a = enter(h->b, &p);

        if (a == TARGET_FULL && get_in_turn(h, &w, &d, &p))
            a = TARGET_IN;
        read_mail(&w);
        if (a != TARGET_IN)
            continue;
        h->in++;
        if (atomic_fetch_add(h->inside, 1) >= PLACES)
            atomic_store(h->inside, 1000000);
        if (next_random(h) % 2 == 0)
            sched_yield();
        atomic_fetch_sub(h->inside, 1);
        leave(h->b, &p);
    }
    worker_end(&w);
    return NULL;
}

static void threads_lose_no_place(void **state)
{
    struct bench b = bench_make(PLACES);
    static const char *const keys[] = {"a", "b", "b", "c"};
    struct hand hands[THREADS];
    pthread_t threads[THREADS];
    _Atomic int inside = 0;
    unsigned dropped = 0;

    (void)state;
    b.up.queue.wait_ms = 3600000;
    for (unsigned i = 0; i < THREADS; i++) {
        hands[i] = (struct hand){
            .b = &b, .key = keys[i], .random = i, .inside = &inside};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &hands[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(hands[i].in > 0);
        dropped += hands[i].dropped;
    }
    assert_int_equal(inside, 0);
    print_message("%u gave up\n", dropped);
    bench_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_place_goes_to_who_waits),
        cmocka_unit_test(keys_take_turns),
        cmocka_unit_test(who_gives_up_hands_its_place_on),
        cmocka_unit_test(a_target_that_opens_puts_all_off),
        cmocka_unit_test(a_place_without_a_key_is_passed_on),
        cmocka_unit_test(who_waits_too_long_is_told),
        cmocka_unit_test(no_more_wait_than_may),
        cmocka_unit_test(a_larger_limit_lets_more_in),
        cmocka_unit_test(a_place_just_left_is_taken),
        cmocka_unit_test(threads_lose_no_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
