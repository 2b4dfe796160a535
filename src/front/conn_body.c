/* conn_body.c - Takes in request bodies, as the stages ask for them: collected
 * within the bounds of one body and of all, streamed with back-pressure, or
 * dropped. Decides when 100 Continue is due: when the body is wanted, never
 * before. */
#include "front/conn.h"

#include "base/clock.h"
#include "conf/conf.h"
#include "front/net.h"

/* Memory taken for a body before its bytes are there, at most. */
#define FIRST_ROOM (1024 * 1024)

bool conn_body_is_wanted(const struct conn *c)
{
    switch (c->mode) {
    case BODY_COLLECT:
    case BODY_DROP:
        return true;
    case BODY_STREAM:
        return !c->x || chunkq_len(&c->x->in->stream) < CONN_STREAM_HIGH;
    default:
        return false;
    }
}

void conn_body_set_mode(struct conn *c, enum body_mode mode)
{
    c->mode = mode;
    if (c->x)
        c->x->in->mode = mode;
}

void conn_body_push(struct conn *c)
{
    struct producer *p = c->x->work->producer;

    if (p)
        p->ops->body_ready(p);
    else if (c->x->in->body_done || chunkq_len(&c->x->in->stream) > 0)
        exchange_wake(c->x, WAKE_BODY);
}

void conn_body_fail(struct conn *c, enum err e)
{
    struct exchange *x = c->x;

    if (e == ERR_BAD_HTTP)
        stats_inc(c->f->w->stats, STAT_CONN_BAD_HTTP);
    c->must_close = true;
    c->linger = true;
    c->rest_raw = true;
    if (!x) {
        conn_mark(c, false);
        return;
    }
    exchange_fail(x, e, NULL);
    exchange_wake(x, WAKE_FAIL);
}

/* The last body byte is there. */
static void complete(struct conn *c)
{
    struct exchange *x = c->x;

    if (x) {
        x->in->body_done = true;
        x->in->body_us = (int64_t)clock_mono_us();
    }
    if (c->state == CONN_BODY)
        conn_enter(c, CONN_WAIT);
    if (c->state == CONN_FLUSH)
        conn_mark(c, false);
    if (x && c->mode == BODY_COLLECT)
        exchange_wake(x, WAKE_BODY);
    else if (x && c->mode == BODY_STREAM)
        conn_body_push(c);
}

/* Make room for <more> bytes of the collected body, within all bounds. */
static enum err collect_room(struct conn *c, size_t more)
{
    struct request *in = c->x->in;
    struct stats *stats = c->f->w->stats;
    size_t want = more;
    int64_t grown;

    if (in->body.len + more <= in->body.room)
        return ERR_OK;
    if (in->body.len == 0 && in->head.framing == HTTP1_LENGTH &&
        in->head.content_length > more)
        want = in->head.content_length < FIRST_ROOM
                   ? (size_t)in->head.content_length
                   : FIRST_ROOM;
    if ((uint64_t)net_buffered_bytes(c->f->net) + want >
        net_bodies_most(c->f->net, c->f->w->conf->limits.max_buffered_bytes))
        return ERR_OVERLOADED;
    if (buf_reserve(&in->body, want) != ERR_OK)
        return ERR_NOMEM;
    grown = (int64_t)in->body.room - in->held_bytes;
    in->held_bytes += grown;
    stat_shift(&stats->buffered_bytes, grown);
    return ERR_OK;
}

/* Hand <data> on. */
static enum err deliver(struct conn *c, struct str data)
{
    struct exchange *x = c->x;
    enum err e;

    c->body_seen += data.len;
    if (!x || c->mode == BODY_DROP) {
        c->dropped += data.len;
        return ERR_OK;
    }
    x->in->body_bytes += data.len;
    if (c->mode == BODY_STREAM)
        return chunkq_put_str(&x->in->stream, data) == ERR_OK ? ERR_OK
                                                              : ERR_NOMEM;
    e = collect_room(c, data.len);
    return e == ERR_OK ? buf_put_str(&x->in->body, data) : e;
}

/* After a batch of streamed bytes: tell the producer, and note when it has
 * enough for now. */
static void streamed(struct conn *c)
{
    conn_body_push(c);
    if (c->x && c->state != CONN_CLOSED && c->pause_us == 0 &&
        !conn_body_is_wanted(c))
        c->pause_us = (int64_t)clock_mono_us();
}

size_t conn_body_take(struct conn *c, const char *p, size_t len)
{
    size_t at = 0, used;
    enum err e = ERR_AGAIN;
    struct str data;

    if (http1_body_is_done(&c->body) || c->mode == BODY_IDLE)
        return 0;
    c->body_last_us = (int64_t)clock_mono_us();
    while (at < len && e == ERR_AGAIN) {
        enum err stored = ERR_OK;

        e = http1_body_feed(&c->body, p + at, len - at, &used, &data);
        if (e != ERR_OK && e != ERR_AGAIN)
            break;
        at += used;
        if (data.len > 0)
            stored = deliver(c, data);
        if (stored != ERR_OK)
            e = stored;
    }
    if (e == ERR_OK) {
        complete(c);
        return at;
    }
    if (e != ERR_AGAIN) {
        conn_body_fail(c, e);
        return len;
    }
    if (c->x && c->mode == BODY_STREAM)
        streamed(c);
    return at;
}

/* Tell a client that waits for it to send its body. */
static void say_continue(struct conn *c)
{
    if (c->said_continue)
        return;
    c->said_continue = true;
    if (c->in.len == 0 && c->body_seen == 0)
        conn_out_put(c, STR("HTTP/1.1 100 Continue\r\n\r\n"));
}

void conn_body_read(struct client *client, enum body_mode mode)
{
    struct conn *c = (struct conn *)client;

    if (!c->x || c->state == CONN_CLOSED)
        return;
    if (c->mode == BODY_IDLE && mode != BODY_IDLE)
        conn_body_clock_start(c);
    conn_body_set_mode(c, mode);
    if (mode == BODY_COLLECT || mode == BODY_STREAM) {
        if (!c->x->in->body_done)
            say_continue(c);
        else
            c->body_wake = true;
    }
    c->look = true;
    conn_mark(c, false);
}

void conn_body_taken(struct client *client)
{
    struct conn *c = (struct conn *)client;
    int64_t now = (int64_t)clock_mono_us();

    if (c->pause_us != 0) {
        c->body_us += now - c->pause_us;
        c->body_last_us = now;
        c->pause_us = 0;
        conn_arm(c);
    }
    c->look = true;
    conn_mark(c, false);
}
