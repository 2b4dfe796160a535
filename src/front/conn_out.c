/* conn_out.c - From replies to the socket: frames and queues what later stages
 * send, writes it once at the end of the turn, tells the producer when there
 * is room again, and goes on to the next request. Decides how many bytes may
 * wait for a slow reader: less for each, the more all of them hold. */
#include <errno.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "base/log.h"
#include "front/conn.h"
#include "front/net.h"
#include "front/tls.h"

/* Bytes that may wait for one client, and for all of them together. */
#define HIGH_MOST_BYTES  (256 * 1024)
#define HIGH_LEAST_BYTES (16 * 1024)
#define QUEUED_BUDGET    (256ll * 1024 * 1024)

/* A queue beyond this may have made its producer wait. */
#define NOTABLE_BYTES (HIGH_LEAST_BYTES / 2)

#define IOV_MOST      64
#define WRITES_A_TURN 8
#define PUBLISH_BYTES (64 * 1024)

/* ---- queueing ----------------------------------------------------------- */

static struct conn *conn_of(struct client *client)
{
    return (struct conn *)client;
}

void conn_out_publish(struct front *f)
{
    int64_t delta = f->out_bytes - f->out_shown;

    if (delta == 0)
        return;
    atomic_fetch_add_explicit(&f->net->out_bytes, delta, memory_order_relaxed);
    f->out_shown = f->out_bytes;
}

/* The queue had <before> bytes and has been added to, if <e> is ERR_OK. */
static void queued_more(struct conn *c, size_t before, enum err e)
{
    struct front *f = c->f;
    size_t now = chunkq_len(&c->out);

    if (e != ERR_OK)
        c->broken = true;
    if (before == 0)
        c->write_us = (int64_t)clock_mono_us();
    if (now > NOTABLE_BYTES)
        c->was_high = true;
    f->out_bytes += (int64_t)(now - before);
    if (f->out_bytes - f->out_shown > PUBLISH_BYTES)
        conn_out_publish(f);
    conn_mark(c, false);
}

void conn_out_put(struct conn *c, struct str bytes)
{
    size_t before = chunkq_len(&c->out);

    if (c->state == CONN_CLOSED || bytes.len == 0)
        return;
    queued_more(c, before, chunkq_put_str(&c->out, bytes));
}

/* Begin to send <len> body bytes; how many of them may go. */
static size_t body_begin(struct conn *c, size_t len)
{
    char room[HTTP1_CHUNK_PREFIX];

    switch (c->framing) {
    case FRAMING_LENGTH:
        if (len > c->reply_left) {
            log_warn(LOG_HTTP, "reply longer than announced: request=%s",
                     c->x->name);
            c->must_close = true;
            len = (size_t)c->reply_left;
        }
        c->reply_left -= len;
        return len;
    case FRAMING_CHUNKED:
        conn_out_put(c, http1_chunk_prefix(room, len));
        return len;
    case FRAMING_CLOSE:
        return len;
    default:
        return 0;
    }
}

static void body_end(struct conn *c)
{
    if (c->framing == FRAMING_CHUNKED)
        conn_out_put(c, HTTP1_CHUNK_END);
}

/* Whether body bytes may be sent now. */
static bool is_replying(const struct conn *c)
{
    return c->x && (c->state == CONN_REPLY || c->state == CONN_TUNNEL);
}

static void op_send(struct client *client, struct str bytes)
{
    struct conn *c = conn_of(client);

    if (!is_replying(c) || bytes.len == 0)
        return;
    bytes.len = body_begin(c, bytes.len);
    if (bytes.len == 0)
        return;
    conn_out_put(c, bytes);
    body_end(c);
}

static void op_send_buf(struct client *client, struct buf *b)
{
    struct conn *c = conn_of(client);
    size_t before;

    if (!is_replying(c) || b->len == 0) {
        buf_fini(b);
        return;
    }
    b->len = body_begin(c, b->len);
    if (b->len == 0) {
        buf_fini(b);
        return;
    }
    before = chunkq_len(&c->out);
    queued_more(c, before, chunkq_take_buf(&c->out, b));
    body_end(c);
}

static size_t op_queued(const struct client *client)
{
    return chunkq_len(&((const struct conn *)client)->out);
}

static size_t op_high_water(const struct client *client)
{
    const struct front *f = ((const struct conn *)client)->f;
    int64_t all =
        atomic_load_explicit(&f->net->out_bytes, memory_order_relaxed);
    int64_t left = QUEUED_BUDGET - all;

    if (left >= QUEUED_BUDGET / 2)
        return HIGH_MOST_BYTES;
    if (left <= 0)
        return HIGH_LEAST_BYTES;
    return (size_t)(HIGH_LEAST_BYTES + (HIGH_MOST_BYTES - HIGH_LEAST_BYTES) *
                                           left / (QUEUED_BUDGET / 2));
}

/* ---- the end of a reply ------------------------------------------------- */

/* The exchange is done with <c>. */
static void let_go(struct conn *c)
{
    c->x = NULL;
    if (!http1_body_is_done(&c->body))
        conn_body_set_mode(c, BODY_DROP);
    c->look = true;
    conn_enter(c, CONN_FLUSH);
    conn_mark(c, false);
}

/* Drop what waits to be sent. */
static void forget_queued(struct conn *c)
{
    c->f->out_bytes -= (int64_t)chunkq_len(&c->out);
    chunkq_fini(&c->out);
}

static void op_abort(struct client *client)
{
    struct conn *c = conn_of(client);

    if (!c->x && c->state == CONN_FLUSH)
        forget_queued(c); /* finish() was called, nothing of it is sent yet */
    else if (!c->x)
        return;
    c->reset = true;
    c->must_close = true;
    c->rest_raw = true;
    if (c->x)
        let_go(c);
}

static void op_finish(struct client *client)
{
    struct conn *c = conn_of(client);

    if (!c->x)
        return;
    if (!is_replying(c) ||
        (c->framing == FRAMING_LENGTH && c->reply_left > 0)) {
        op_abort(client);
        return;
    }
    if (c->framing == FRAMING_CHUNKED)
        conn_out_put(c, HTTP1_CHUNK_LAST);
    if (c->state == CONN_TUNNEL) {
        c->must_close = true;
        c->rest_raw = true;
        c->linger = !c->half_closed;
    }
    let_go(c);
}

static void op_tunnel(struct client *client)
{
    struct conn *c = conn_of(client);

    if (!c->x || c->state != CONN_REPLY)
        return;
    c->framing = FRAMING_CLOSE;
    conn_body_set_mode(c, BODY_STREAM);
    c->x->in->body_done = false;
    conn_enter(c, CONN_TUNNEL);
    c->look = true;
    conn_mark(c, false);
}

/* ---- writing ------------------------------------------------------------ */

static enum err write_plain(struct conn *c, size_t *n_out)
{
    struct iovec iov[IOV_MOST];
    struct msghdr m = {.msg_iov = iov};
    size_t offered = 0;
    ssize_t n;

    m.msg_iovlen = (size_t)chunkq_peek(&c->out, iov, IOV_MOST);
    for (size_t i = 0; i < m.msg_iovlen; i++)
        offered += iov[i].iov_len;
    do
        n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        c->writable = false;
        return ERR_AGAIN;
    }
    if (n < 0)
        return ERR_CLOSED;
    c->writable = (size_t)n == offered;
    *n_out = (size_t)n;
    return ERR_OK;
}

/* One record of what is queued, gathered in the scratch buffer unless it lies
 * in one piece. */
static enum err write_tls(struct conn *c, size_t *n_out)
{
    struct iovec iov[IOV_MOST];
    int n = chunkq_peek(&c->out, iov, IOV_MOST);
    const char *p = iov[0].iov_base;
    char *room = c->f->w->scratch;
    size_t len = 0;
    enum err e;

    if (n == 1 || iov[0].iov_len >= TLS_RECORD_BYTES) {
        len = iov[0].iov_len;
    } else {
        for (int i = 0; i < n && len < TLS_RECORD_BYTES; i++) {
            size_t part = iov[i].iov_len;

            if (part > TLS_RECORD_BYTES - len)
                part = TLS_RECORD_BYTES - len;
            memcpy(room + len, iov[i].iov_base, part);
            len += part;
        }
        p = room;
    }
    if (len > TLS_RECORD_BYTES)
        len = TLS_RECORD_BYTES;
    e = tls_write(c->ssl, p, len, n_out);
    if (e == ERR_AGAIN)
        c->writable = false;
    return e;
}

/* Write what the socket takes. False: <c> is closed. */
static bool flush(struct conn *c)
{
    unsigned writes = 0;
    bool progress = false;
    size_t n;

    while (chunkq_len(&c->out) > 0 && c->writable) {
        enum err e;

        if (writes++ == WRITES_A_TURN) {
            conn_mark(c, true);
            break;
        }
        e = c->ssl ? write_tls(c, &n) : write_plain(c, &n);
        if (e == ERR_AGAIN)
            break;
        if (e != ERR_OK) {
            conn_lose(c, "write failed");
            return false;
        }
        progress = true;
        chunkq_consume(&c->out, n);
        c->f->out_bytes -= (int64_t)n;
        stats_add(c->f->w->stats, STAT_BYTES_OUT, n);
    }
    if (progress)
        c->write_us = (int64_t)clock_mono_us();
    return true;
}

/* While bytes of <c> are being read it stands at the top of the stack and its
 * scratch buffer is in use; what it has to send goes at the end of the turn. */
static void op_flush(struct client *client)
{
    struct conn *c = conn_of(client);

    if (c->state == CONN_CLOSED || c->broken || c->f->in_turn || c->f->in_read)
        return;
    if (!flush(c))
        log_debug(LOG_NET, "client left before its reply: fd=%d", c->fd);
}

const struct client_ops conn_ops = {
    .read_body = conn_body_read,
    .body_taken = conn_body_taken,
    .reply = reply_head_send,
    .send = op_send,
    .send_buf = op_send_buf,
    .queued = op_queued,
    .high_water = op_high_water,
    .finish = op_finish,
    .flush = op_flush,
    .abort = op_abort,
    .tunnel = op_tunnel,
};

/* Wake the producer when the queue is low. Below the least mark nobody can be
 * waiting; above it somebody may be, since the mark moves. */
static void tell_drained(struct conn *c)
{
    size_t len = chunkq_len(&c->out);

    if (!c->was_high || !c->x || len > op_high_water(&c->client) / 4)
        return;
    c->was_high = len > HIGH_LEAST_BYTES / 4;
    exchange_wake(c->x, WAKE_DRAINED);
}

/* Make <c> ready for the next request, which may be there already. */
static void next_request(struct conn *c)
{
    c->scan = (struct http1_scan){.kind = HTTP1_REQUEST};
    c->body = (struct http1_body){0};
    c->mode = BODY_IDLE;
    c->head_err = ERR_OK;
    c->head_len = 0;
    c->held_us = 0;
    c->shed = false;
    c->pause_us = 0;
    c->body_seen = 0;
    c->dropped = 0;
    c->framing = FRAMING_NONE;
    c->reply_left = 0;
    c->was_high = false;
    c->body_wake = false;
    c->linger = false;
    conn_enter(c, CONN_IDLE);
    if (c->in.len > 0 || c->readable) {
        c->look = true;
        conn_mark(c, true);
    } else if (c->f->draining) {
        conn_lose(c, "draining");
    }
}

/* The exchange has let go and all is sent. */
static void after_flush(struct conn *c)
{
    if (c->must_close)
        conn_shut(c);
    else if (http1_body_is_done(&c->body) || c->rest_raw)
        next_request(c);
    else
        conn_arm(c); /* the rest of the body is being dropped */
}

void conn_out_work(struct conn *c)
{
    if (c->broken) {
        conn_kill(c, "out of memory");
        return;
    }
    if (c->body_wake && c->x) {
        c->body_wake = false;
        if (c->mode == BODY_COLLECT)
            exchange_wake(c->x, WAKE_BODY);
        else
            conn_body_push(c);
    }
    if (c->look && c->state != CONN_CLOSED) {
        c->look = false;
        conn_in_resume(c);
    }
    if (c->state == CONN_CLOSED || !flush(c))
        return;
    tell_drained(c);
    if (c->state == CONN_CLOSED)
        return;
    if (chunkq_len(&c->out) > 0)
        conn_arm(c);
    else if (c->state == CONN_FLUSH)
        after_flush(c);
}
