/* play.c - See play.h. A turn of the loop takes a bounded number of bytes, so
 * that a long reply does not hold up others; a sink that is full keeps the
 * frame waiting, and the tape's writer never. */
#include "recall/play.h"

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/clock.h"
#include "exchange/exchange.h"
#include "exchange/stored.h"
#include "exchange/tape.h"

/* Bytes of a turn. */
#define PLAY_TURN_BYTES (256u * 1024)

/* One that plays; in the arena of its exchange. */
struct play {
    struct producer producer;  /* first: what the consumer knows of us */
    struct tape_reader reader; /* of the tape */
    struct exchange *x;        /* borrowed */
    struct sink *sink;         /* borrowed; NULL before redirect() */
    struct event timer;        /* the next turn, or the time of a frame */
    bool paced;                /* frames have their times */
    int64_t start_us;          /* monotonic: of the first turn; 0: none */
    bool has_frame;            /* <frame> was read, and not taken yet */
    struct str frame;          /* borrowed from the tape */
    uint32_t frame_ms;         /* its time */
    bool *gone;                /* to be set when it ends during a turn */
};

static struct play *of_producer(struct producer *p)
{
    return (struct play *)(void *)p;
}

static struct play *of_reader(struct tape_reader *r)
{
    return (struct play *)(void *)((char *)r - offsetof(struct play, reader));
}

static void play_stop(struct play *p)
{
    event_del(&p->timer);
    tape_detach(&p->reader);
    if (p->gone)
        *p->gone = true;
    p->gone = NULL;
}

/* Go on in <wait_us> from now; 0: in the next turn. */
static void play_later(struct play *p, int64_t wait_us)
{
    const struct timeval tv = {wait_us / 1000000, wait_us % 1000000};

    event_add(&p->timer, &tv);
}

/* Whether the frame at hand has to wait; then it goes on at its time. */
static bool is_early(struct play *p)
{
    const int64_t now_us = (int64_t)clock_mono_us();
    int64_t due_us;

    if (!p->paced)
        return false;
    if (p->start_us == 0)
        p->start_us = now_us;
    due_us = p->start_us + (int64_t)p->frame_ms * 1000;
    if (now_us >= due_us)
        return false;
    play_later(p, due_us - now_us);
    return true;
}

static void play_end(struct play *p, enum tape_read how)
{
    const struct tape *t = p->reader.tape;
    struct recall *found = p->x->found;
    struct produce_end end = {.err = ERR_UP_INCOMPLETE};

    if (how == TAPE_LOST)
        end.text = "this client reads too slowly to share the call";
    else if (tape_state(t) == TAPE_COMPLETE)
        end.err = ERR_OK;
    else
        end.text = "the call that it shares did";
    if (!found->sum) /* the exchange holds the tape, too */
        found->sum = tape_sum(t);
    if (found->sum)
        stored_name(p->x, found->sum->target, found->sum->target_model,
                    found->sum->finish);
    play_stop(p);
    p->sink->ops->end(p->sink, &end);
}

/* Have a frame at hand; false when there is none now. */
static bool play_read(struct play *p)
{
    enum tape_read how;

    if (p->has_frame)
        return true;
    how = tape_next(&p->reader, &p->frame, &p->frame_ms);
    if (how == TAPE_END || how == TAPE_LOST) {
        play_end(p, how); /* which may be the end of <p>, too */
        return false;
    }
    p->has_frame = how == TAPE_FRAME;
    return p->has_frame;
}

static void play_turn(struct play *p)
{
    size_t bytes = 0;
    bool gone = false;

    p->gone = &gone;
    while (!gone && play_read(p) && !is_early(p)) {
        if (bytes >= PLAY_TURN_BYTES) {
            play_later(p, 0);
            break;
        }
        bytes += p->frame.len;
        if (p->sink->ops->data(p->sink, p->frame) == FLOW_PAUSE && !gone)
            break; /* resume() will come */
        if (!gone)
            p->has_frame = false;
    }
    if (!gone)
        p->gone = NULL;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    clock_update();
    play_turn(arg);
}

static void on_more(struct tape_reader *r)
{
    struct play *p = of_reader(r);

    if (p->sink)
        play_turn(p);
}

static void on_resume(struct producer *producer)
{
    play_later(of_producer(producer), 0);
}

static void on_body_ready(struct producer *producer)
{
    (void)producer; /* nobody reads it */
}

static void on_redirect(struct producer *producer, struct sink *s)
{
    of_producer(producer)->sink = s;
}

static void on_cancel(struct producer *producer)
{
    play_stop(of_producer(producer));
}

static const struct producer_ops play_ops = {
    .resume = on_resume,
    .body_ready = on_body_ready,
    .redirect = on_redirect,
    .cancel = on_cancel,
};

struct producer *play_new(struct exchange *x, struct tape *t, bool paced)
{
    struct play *p = arena_alloc(x->arena, sizeof(*p));

    if (!p)
        return NULL;
    p->producer.ops = &play_ops;
    p->x = x;
    p->reader.more = on_more;
    p->paced = paced;
    event_assign(&p->timer, x->w->base, -1, 0, on_timer, p);
    return tape_attach(t, &p->reader, x->w) ? &p->producer : NULL;
}
