/* turn.c - See turn.h. A place that is given back is handed over as it is: it
 * stays counted in flight, so that nobody comes between. Who gets it is told by
 * its worker's inbox; a turn outlives its exchange while that message is under
 * way.
 *
 * Lost wakes: who comes is in the queue before it looks for room, and who
 * leaves makes room before it looks at the queue. */
#include "serve/turn.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "exchange/exchange.h"
#include "serve/target_priv.h"

/* What came of waiting. */
enum turn_state {
    TURN_WAITS = 0,
    TURN_PLACED, /* it is counted in flight */
    TURN_LATE,
    TURN_SHUT,
};

/* Somebody who waits. */
struct turn {
    struct queue_waiter waiter; /* first */
    struct worker_mail mail;
    struct event timer;    /* its time is over */
    struct target *t;      /* borrowed */
    struct worker *w;      /* borrowed */
    struct exchange *x;    /* borrowed; NULL once over */
    enum turn_state state; /* guarded by the queue's lock, as is */
    bool posted;           /* <mail> is under way */
};

/* Wait at least so long before coming again. */
#define AGAIN_MIN_MS 1000

/* --- places -------------------------------------------------------------- */

/* Count one in flight if there is room. */
static bool place_take(struct target *t)
{
    const uint64_t most = atomic_load(&t->limit);

    if (atomic_fetch_add(&t->in_flight, 1) < most || most == 0)
        return true;
    atomic_fetch_sub(&t->in_flight, 1);
    return false;
}

/* Tell the worker of <turn> that it waits no longer. Under the lock. */
static void post(struct target *t, struct turn *turn, enum turn_state state,
                 uint64_t now_ms)
{
    const uint64_t since_ms = turn->waiter.since_ms;

    turn->state = state;
    turn->posted = true;
    atomic_fetch_sub(&t->waiting, 1);
    if (now_ms > since_ms)
        atomic_fetch_add(&t->waited_ms, now_ms - since_ms);
    mbox_push(&turn->w->inbox, &turn->mail.link);
}

/* Hand places over while there are any. Under the lock. */
static void hand_over(struct target *t, uint64_t now_ms)
{
    for (;;) {
        const bool room = t->queue.n > 0 && place_take(t);
        bool late = false;
        struct turn *turn =
            (struct turn *)(void *)queue_take(&t->queue, room, now_ms, &late);

        if (room && (!turn || late))
            atomic_fetch_sub(&t->in_flight, 1);
        if (!turn)
            return;
        post(t, turn, late ? TURN_LATE : TURN_PLACED, now_ms);
    }
}

void target_hand_on(struct target *t, uint64_t now_ms)
{
    if (atomic_load(&t->waiting) == 0)
        return;
    pthread_mutex_lock(&t->queue_lock);
    hand_over(t, now_ms);
    pthread_mutex_unlock(&t->queue_lock);
}

void target_set_limit(struct target *t, uint64_t most, uint64_t now_ms)
{
    atomic_store(&t->limit, most);
    target_hand_on(t, now_ms);
}

void target_put_off(struct target *t, uint64_t now_ms)
{
    struct turn *turn;
    bool late;

    if (atomic_load(&t->waiting) == 0)
        return;
    pthread_mutex_lock(&t->queue_lock);
    /* At the end of time all are late. */
    while ((turn = (struct turn *)(void *)queue_take(
                &t->queue, false, UINT64_MAX, &late)) != NULL)
        post(t, turn, TURN_SHUT, now_ms);
    pthread_mutex_unlock(&t->queue_lock);
}

/* --- being told ---------------------------------------------------------- */

static void take_mail(struct worker_mail *mail, struct worker *w)
{
    struct turn *turn = MBOX_ENTRY(mail, struct turn, mail);
    struct target *t = turn->t;

    if (!w || !turn->x) {
        free(turn);
        return;
    }
    pthread_mutex_lock(&t->queue_lock);
    turn->posted = false;
    pthread_mutex_unlock(&t->queue_lock);
    event_del(&turn->timer);
    exchange_wake(turn->x, WAKE_TURN);
}

/* Its time is over. If somebody has told it otherwise the message comes. */
static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct turn *turn = arg;
    struct target *t = turn->t;
    bool late;

    (void)fd, (void)what;
    clock_update();
    pthread_mutex_lock(&t->queue_lock);
    late = turn->state == TURN_WAITS;
    if (late) {
        queue_drop(&t->queue, &turn->waiter);
        turn->state = TURN_LATE;
        atomic_fetch_sub(&t->waiting, 1);
        atomic_fetch_add(&t->waited_ms,
                         clock_mono_ms() - turn->waiter.since_ms);
    }
    pthread_mutex_unlock(&t->queue_lock);
    if (late)
        exchange_wake(turn->x, WAKE_TURN);
}

/* --- for others ---------------------------------------------------------- */

static struct turn *turn_new(struct exchange *x, struct target *t,
                             uint64_t wait_ms)
{
    const struct timeval tv = {(time_t)(wait_ms / 1000),
                               (suseconds_t)(wait_ms % 1000 * 1000)};
    struct turn *turn = calloc(1, sizeof(*turn));

    if (!turn)
        return NULL;
    turn->mail.take = take_mail;
    turn->t = t;
    turn->w = x->w;
    turn->x = x;
    event_assign(&turn->timer, x->w->base, -1, 0, on_timer, turn);
    if (event_add(&turn->timer, &tv) == 0)
        return turn;
    free(turn);
    return NULL;
}

/* Under the lock. */
static enum queue_answer put(struct turn *turn, const struct conf_upstream *up,
                             uint64_t deadline_ms, uint64_t now_ms)
{
    const struct exchange *x = turn->x;
    struct target *t = turn->t;
    const struct str key =
        x->who->key_id.len > 0 ? x->who->key_id : x->in->peer;
    const enum queue_answer a = queue_put(&t->queue, &turn->waiter, key,
                                          deadline_ms, up->queue.size, now_ms);

    if (a != QUEUE_WAITS)
        return a;
    atomic_fetch_add(&t->waiting, 1);
    atomic_fetch_add(&t->waits, 1);
    hand_over(t, now_ms);
    return a;
}

/* It would be in vain to wait; when it may not be. */
static uint64_t again_ms(struct target *t, struct exchange *x, uint64_t now_ms)
{
    uint64_t ms;

    pthread_mutex_lock(&t->queue_lock);
    ms = queue_expect_ms(&t->queue, x->who->key_id, now_ms);
    pthread_mutex_unlock(&t->queue_lock);
    atomic_fetch_add(&t->refused, 1);
    return ms > AGAIN_MIN_MS ? ms : AGAIN_MIN_MS;
}

enum queue_answer turn_wait(struct exchange *x, struct target *t,
                            const struct conf_upstream *up,
                            uint64_t deadline_ms, struct turn **out,
                            uint64_t *again_ms_out)
{
    const uint64_t now_ms = clock_mono_ms();
    const uint64_t most_ms = (uint64_t)up->queue.wait_ms;
    enum queue_answer a = QUEUE_FULL;
    struct turn *turn = NULL;

    if (deadline_ms > now_ms + most_ms)
        deadline_ms = now_ms + most_ms;
    if (up->queue.size > 0 && deadline_ms > now_ms)
        turn = turn_new(x, t, deadline_ms - now_ms);
    if (turn) {
        pthread_mutex_lock(&t->queue_lock);
        a = put(turn, up, deadline_ms, now_ms);
        pthread_mutex_unlock(&t->queue_lock);
    }
    if (a == QUEUE_WAITS) {
        log_debug(LOG_ROUTE, "waits for its turn: id=%s target=%s", x->name,
                  t->name);
        *out = turn;
        return a;
    }
    if (turn) {
        event_del(&turn->timer);
        free(turn);
    }
    *again_ms_out = again_ms(t, x, now_ms);
    return a;
}

/* End <turn>; what became of it. */
static enum turn_state finish(struct turn *turn)
{
    struct target *t = turn->t;
    enum turn_state state;
    bool posted;

    event_del(&turn->timer);
    pthread_mutex_lock(&t->queue_lock);
    state = turn->state;
    posted = turn->posted;
    if (state == TURN_WAITS) {
        queue_drop(&t->queue, &turn->waiter);
        atomic_fetch_sub(&t->waiting, 1);
    }
    pthread_mutex_unlock(&t->queue_lock);
    turn->x = NULL;
    if (!posted)
        free(turn);
    return state;
}

enum target_answer turn_take(struct turn *turn, const struct conf_upstream *up,
                             uint64_t tried_keys, uint64_t now_ms,
                             struct target_pass *out)
{
    struct target *t = turn->t;

    switch (finish(turn)) {
    case TURN_PLACED:
        return target_enter_placed(t, up, tried_keys, now_ms, out);
    case TURN_SHUT:
        return TARGET_SHUT;
    default:
        atomic_fetch_add(&t->refused, 1);
        return TARGET_FULL;
    }
}

void turn_drop(struct turn *turn)
{
    struct target *t;

    if (!turn)
        return;
    t = turn->t;
    if (finish(turn) != TURN_PLACED)
        return;
    atomic_fetch_sub(&t->in_flight, 1);
    target_hand_on(t, clock_mono_ms());
}
