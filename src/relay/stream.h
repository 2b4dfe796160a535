/* stream.h - The sink of a reply that flows: event streams event by event,
 * other bodies byte by byte, WebSocket tunnels as raw bytes. */
#ifndef TG_RELAY_STREAM_H
#define TG_RELAY_STREAM_H

#include "exchange/sink.h"
#include "exchange/stage.h"
#include "wire/sse.h"

#include <event2/event.h>
#include <event2/event_struct.h>

struct exchange;

/* Longest that the last event waits for the transport's end, so that the
 * upstream connection can be used again. */
#define STREAM_TAIL_MS 50

/* The same where another exchange's call is followed. */
#define STREAM_SHARED_TAIL_MS 2000

/* State of a flowing reply; in the exchange's arena, as x->stage_data. */
struct stream {
    struct sink sink;       /* first: what the producer knows of us */
    struct exchange *x;     /* borrowed */
    struct producer *from;  /* borrowed; NULL once it has ended */
    struct sse_in in;       /* event streams: what is not yet whole */
    struct sse_judge judge; /* event streams: is it complete? */
    struct str model;       /* arena: the client's name for it, quoted, where
                             * events must say it; else empty */
    struct str noop;    /* arena: an empty chunk of this stream, for pings */
    struct buf tail;    /* the final event or bytes, held for the end */
    struct event timer; /* pings, and the wait for the end */
    bool timer_on;      /* <timer> was set up */
    bool events;        /* an event stream whose shape we know */
    bool unsure;        /* <events>, unless the first bytes say otherwise */
    bool tunnel;        /* after a 101 */
    bool paused;        /* the producer waits for resume() */
    struct buf later;   /* bytes that wait for budget, while <parked> */
    bool parked;        /* the next event waits for budget */
    bool lonely;        /* the client has left; read on for the usage */
    bool over;          /* the producer ended while <parked>: */
    struct produce_end how; /* so */
    bool ended;             /* nothing more is taken from the producer */
    int64_t sent_us;        /* monotonic: last byte queued */
    int64_t content_us;     /* monotonic: last event with content, or 0 */
    int64_t tail_us;        /* monotonic: the tail is sent by then; or 0 */
};

/* Send the head and take the producer over. False: the exchange has failed
 * and the producer still runs. */
bool stream_start(struct exchange *x);

/* What the next event waits for may be there. */
void stream_unpark(struct stream *s);

/* The client has left: read on without it, for what the reply says at its end
 * that it used. */
void stream_outlive(struct stream *s);

/* Room again: let the producer go on. */
void stream_drained(struct stream *s);

/* The client must be told that the stream ends badly (x->fail): an error
 * event where there are events, a broken transfer elsewhere. */
void stream_break(struct stream *s);

/* Stop the producer if it runs and free what the stream holds. */
void stream_fini(struct stream *s);

#endif
