/* t_tape_threads.c - Tapes and flights under real threads: every reader gets
 * every byte in order or is told that it lost some, no wake is lost, nothing
 * is freed too early (the sanitizers tell). */
#include "base/thr.h"
#include "recall/flight.h"

#include "unit/tape_kit.h"

#include <poll.h>
#include <sched.h>
#include <stdlib.h>

#define READERS 6 /* a worker */
#define ROUNDS  60
#define WAIT_MS 30000 /* longer than anything takes: a lost wake fails */

static const struct tape_head stream_head = {.status = 200, .events = true};

/* Frames of a length that depends on where they stand, and bytes likewise. */
static size_t frame_len(uint64_t i)
{
    return 1 + (size_t)(i * 2654435761u >> 7) % 300;
}

static void frame_fill(char *out, uint64_t at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (char)((at + i) * 0x9E3779B1u >> 11);
}

/* A reader that checks what it gets. */
struct checker {
    struct tape_reader r; /* first */
    uint64_t at;          /* bytes seen */
    uint64_t leave_at;    /* detach after so many */
    bool hasty;           /* it does not wait to be told */
    bool over;            /* END, LOST or left */
    enum tape_read how;
};

/* A worker with a thread of its own. */
struct hand {
    struct worker w;
    struct thr thr;
    struct tape *tape;
    struct flights *flights; /* for the second test */
    struct checker c[READERS];
    unsigned rand;
    _Atomic unsigned *led;
};

static unsigned draw(struct hand *h, unsigned below)
{
    h->rand = h->rand * 1664525u + 1013904223u;
    return (h->rand >> 8) % below;
}

static void check_frame(struct checker *c, struct str frame)
{
    char want[300];

    if (frame.len > sizeof(want))
        abort();
    frame_fill(want, c->at, frame.len);
    if (memcmp(want, frame.p, frame.len) != 0)
        abort();
    c->at += frame.len;
}

static void on_more(struct tape_reader *r)
{
    struct checker *c = (struct checker *)(void *)r;
    struct str frame;
    uint32_t ms;

    while (!c->over) {
        c->how = tape_next(r, &frame, &ms);
        if (c->how == TAPE_AGAIN && c->hasty)
            continue;
        if (c->how == TAPE_AGAIN)
            return;
        if (c->how == TAPE_FRAME)
            check_frame(c, frame);
        c->over = c->how != TAPE_FRAME || c->at >= c->leave_at;
    }
    tape_detach(r);
}

static void wait_mail(struct worker *w)
{
    struct pollfd p = {.fd = mbox_fd(&w->inbox), .events = POLLIN};

    if (poll(&p, 1, WAIT_MS) != 1)
        abort();
    kit_mail(w);
}

static bool all_over(const struct hand *h)
{
    for (unsigned i = 0; i < READERS; i++)
        if (!h->c[i].over)
            return false;
    return true;
}

/* Attach readers one by one as the tape goes, and read until all are over. */
static void read_all(void *arg)
{
    struct hand *h = arg;

    for (unsigned i = 0; i < READERS; i++) {
        struct checker *c = &h->c[i];

        *c = (struct checker){.r.more = on_more, .leave_at = UINT64_MAX};
        if (draw(h, 4) == 0)
            c->leave_at = 1 + draw(h, 40000);
        if (tape_attach(h->tape, &c->r, &h->w))
            on_more(&c->r);
        else
            c->over = true;
        for (unsigned n = draw(h, 3); n > 0 && !all_over(h); n--)
            kit_mail(&h->w);
    }
    while (!all_over(h))
        wait_mail(&h->w);
}

static void write_all(struct tape *t, unsigned frames, bool complete)
{
    char frame[300];
    uint64_t at = 0;

    tape_start(t, &stream_head);
    for (unsigned i = 0; i < frames; i++) {
        const size_t len = frame_len(i);

        frame_fill(frame, at, len);
        tape_put(t, str_of(frame, len));
        at += len;
    }
    tape_end(t, complete, NULL);
}

static void hands_make(struct hand *h)
{
    for (unsigned i = 0; i < KIT_WORKERS; i++) {
        h[i] = (struct hand){.rand = 17 * i + 1};
        kit_worker(&h[i].w, i);
    }
}

static void hands_run(struct hand *h, struct tape *t, thr_fn *fn)
{
    for (unsigned i = 0; i < KIT_WORKERS; i++) {
        h[i].tape = t;
        assert_int_equal(thr_start(&h[i].thr, "hand", fn, &h[i]), ERR_OK);
    }
}

static void hands_join(struct hand *h)
{
    for (unsigned i = 0; i < KIT_WORKERS; i++)
        thr_join(&h[i].thr);
}

static void hands_end(struct hand *h)
{
    for (unsigned i = 0; i < KIT_WORKERS; i++)
        kit_worker_end(&h[i].w);
}

/* All that was put is read by who stays, if it is kept whole; in any case
 * nobody is told the end without having read all of it. */
static void check_round(struct hand *h, const struct tape *t, bool whole)
{
    for (unsigned i = 0; i < KIT_WORKERS * READERS; i++) {
        const struct checker *c = &h[i / READERS].c[i % READERS];

        assert_true(c->over);
        assert_null(c->r.tape);
        if (whole)
            assert_int_not_equal(c->how, TAPE_LOST);
        if (c->how == TAPE_END)
            assert_int_equal(c->at, tape_bytes(t));
    }
    assert_int_equal(tape_readers(t), 0);
}

static void readers_on_many_threads(void **state)
{
    struct hand h[KIT_WORKERS];

    (void)state;
    hands_make(h);
    for (unsigned round = 0; round < ROUNDS; round++) {
        const bool whole = round % 3 != 0;
        struct tape *t = tape_new(whole ? 1 << 20 : 30000, KIT_WORKERS);

        hands_run(h, t, read_all);
        write_all(t, 100 + round * 50, round % 2);
        hands_join(h);
        check_round(h, t, whole);
        tape_unref(t);
    }
    hands_end(h);
}

/* A reader that asks again and again meets each frame at every moment of its
 * being put. */
static void read_hastily(void *arg)
{
    struct hand *h = arg;
    struct checker *c = &h->c[0];

    *c = (struct checker){
        .r.more = on_more, .leave_at = UINT64_MAX, .hasty = true};
    for (unsigned i = 1; i < READERS; i++)
        h->c[i] = (struct checker){.over = true};
    if (!tape_attach(h->tape, &c->r, &h->w))
        abort();
    on_more(&c->r);
}

static void hasty_readers_on_many_threads(void **state)
{
    struct hand h[KIT_WORKERS];

    (void)state;
    hands_make(h);
    for (unsigned round = 0; round < 3; round++) {
        struct tape *t = tape_new(1 << 26, KIT_WORKERS);

        hands_run(h, t, read_hastily);
        while (tape_readers(t) < KIT_WORKERS)
            sched_yield();
        write_all(t, 100000, true);
        hands_join(h);
        for (unsigned i = 0; i < KIT_WORKERS; i++)
            assert_int_equal(h[i].c[0].how, TAPE_END);
        check_round(h, t, true);
        tape_unref(t);
    }
    hands_end(h);
}

/* A window that moves under its readers. */
static void window_on_many_threads(void **state)
{
    struct hand h[KIT_WORKERS];

    (void)state;
    hands_make(h);
    for (unsigned round = 0; round < 3; round++) {
        struct tape *t = tape_new(1 << 21, KIT_WORKERS);

        hands_run(h, t, read_all);
        write_all(t, 40000, true);
        hands_join(h);
        check_round(h, t, false);
        tape_unref(t);
    }
    hands_end(h);
}

/* ---- flights ----------------------------------------------------------- */

#define KEYS 8

/* Fill the tape of a flight, or fail. */
static void lead(struct hand *h, const struct digest *d, struct tape *t)
{
    const struct tape_failure why = {.err = ERR_UP_RESET, .again = true};

    atomic_fetch_add(h->led, 1);
    if (draw(h, 4) == 0)
        tape_fail(t, &why);
    else
        write_all(t, 20, true);
    if (draw(h, 2) == 0)
        flight_leave(h->flights, d, t);
}

/* Follow <t> to its end; whether it was of use. */
static bool follow(struct hand *h, struct tape *t)
{
    struct checker *c = &h->c[0];

    *c = (struct checker){.r.more = on_more, .leave_at = UINT64_MAX};
    if (!tape_attach(t, &c->r, &h->w))
        return false;
    on_more(&c->r);
    while (!c->over)
        wait_mail(&h->w);
    if (tape_state(t) == TAPE_FAILED)
        return false;
    if (c->how != TAPE_END || c->at != tape_bytes(t))
        abort();
    return true;
}

/* One request: lead, or follow to the end; again after a failure. */
static void ask(struct hand *h, const struct digest *d)
{
    struct tape *after = NULL;
    bool done = false;

    for (unsigned i = 0; i < FLIGHT_TRIES && !done; i++) {
        struct tape *t = NULL;
        enum flight_role role = flight_enter(h->flights, d, 1 << 20, after, &t);

        tape_unref(after);
        after = t;
        done = role == FLIGHT_LEADS;
        if (done)
            lead(h, d, t);
        else if (role == FLIGHT_FOLLOWS)
            done = follow(h, t);
        else
            abort();
    }
    tape_unref(after);
}

static void ask_many(void *arg)
{
    struct hand *h = arg;
    struct digest d = {.b = {0}};

    for (unsigned i = 0; i < 2000; i++) {
        d.b[0] = (uint8_t)draw(h, KEYS);
        ask(h, &d);
    }
}

static void flights_on_many_threads(void **state)
{
    struct flights *f = flights_new(KIT_WORKERS);
    _Atomic unsigned led = 0;
    struct hand h[KIT_WORKERS];

    (void)state;
    hands_make(h);
    for (unsigned i = 0; i < KIT_WORKERS; i++) {
        h[i].flights = f;
        h[i].led = &led;
    }
    hands_run(h, NULL, ask_many);
    hands_join(h);
    assert_true(atomic_load(&led) >= KEYS);
    assert_true(atomic_load(&led) < KIT_WORKERS * 2000);
    assert_true(flights_count(f) <= KEYS);
    flights_free(f);
    hands_end(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_on_many_threads),
        cmocka_unit_test(hasty_readers_on_many_threads),
        cmocka_unit_test(window_on_many_threads),
        cmocka_unit_test(flights_on_many_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
