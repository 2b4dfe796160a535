/* tunnel.c - A WebSocket tunnel: libcurl connects (TCP, proxy, TLS), then this
 * file writes the handshake, reads its answer and moves bytes both ways. It
 * looks at no frame. What the sink does not take is held, at most one read of
 * it, and nothing more is read until the sink wants more.
 *
 * Everything runs between pool_enter() and pool_leave(), so that a sink may
 * cancel the transfer from inside a call: the end is always put off. */
#include "upstream/tunnel.h"

#include <event2/event.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/chunkq.h"
#include "base/clock.h"
#include "exchange/exchange.h"
#include "exchange/worker.h"
#include "upstream/provider.h"
#include "upstream/xfer.h"
#include "wire/http1.h"

/* Bytes of one read, and reads before others get their turn. */
#define READ_BYTES 16384
#define READ_TURNS 8

/* Bound of the request's head. */
#define ASK_BYTES 65536

/* What the bytes from the upstream are. */
enum tunnel_phase {
    TUNNEL_HEAD = 0, /* the answer to the handshake */
    TUNNEL_RAW,      /* it was 101: anything */
    TUNNEL_REPLY,    /* it was not: the body of an ordinary reply */
};

/* State of a tunnel; lives in the exchange's arena. */
struct tunnel {
    enum tunnel_phase phase;
    struct event readable;
    struct event writable;
    bool open;       /* the events are set up */
    bool finished;   /* no more bytes come; end when <held> is gone */
    struct buf ask;  /* owned: request bytes not sent yet */
    struct buf held; /* owned: head so far; later, bytes not taken yet */
    struct http1_scan scan;
    struct http1_body body;
};

static void tunnel_fail(struct xfer *xf, enum err err, const char *text)
{
    xfer_fail(xf, err, text);
    xfer_put_off(xf, XFER_WORK_END);
}

/* --- the request -------------------------------------------------------- */

static enum err put_fields(struct buf *b, const struct fields *f)
{
    for (const struct curl_slist *l = f->first; l; l = l->next) {
        struct str line = str_from(l->data);
        size_t colon = str_find_char(line, ':');
        enum err e;

        if (colon < line.len)
            e = http1_put_header(b, str_of(line.p, colon),
                                 str_trim(str_skip(line, colon + 1)));
        else
            e = http1_put_header(b, str_of(line.p, line.len - 1), STR(""));
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

static enum err put_ask(struct buf *b, struct xfer *xf,
                        const struct xfer_spec *spec)
{
    struct fields f = {.arena = xf->arena};
    struct str target = provider_target(xf->arena, spec);
    struct str origin = spec->up->url.origin;
    struct str host = str_skip(origin, str_find(origin, STR("://")) + 3);
    enum err e;

    provider_fields(&f, spec, true);
    if (!target.p || f.failed)
        return ERR_NOMEM;
    e = http1_put_request(b, spec->method, target);
    if (e == ERR_OK && !fields_have(&f, STR("Host")))
        e = http1_put_header(b, STR("Host"), host);
    if (e == ERR_OK)
        e = put_fields(b, &f);
    return e == ERR_OK ? http1_put_end(b) : e;
}

enum err tunnel_prepare(struct xfer *xf, const struct xfer_spec *spec)
{
    struct tunnel *t = arena_alloc(xf->arena, sizeof(*t));

    if (!t)
        return ERR_NOMEM;
    xf->tunnel = t;
    t->scan.kind = HTTP1_RESPONSE;
    buf_init(&t->ask, ASK_BYTES);
    buf_init(&t->held, XFER_HEAD_BYTES + READ_BYTES);
    return put_ask(&t->ask, xf, spec);
}

/* --- from the upstream to the sink -------------------------------------- */

/* Give <bytes> to the sink, or hold them behind those already held. */
static void tunnel_give(struct xfer *xf, struct str bytes)
{
    struct tunnel *t = xf->tunnel;

    if (bytes.len == 0 || xf->fail != ERR_OK)
        return;
    if (!xf->write_paused) {
        if (xf->sink->ops->data(xf->sink, bytes) == FLOW_MORE)
            return;
        xf->write_paused = true;
        stats_inc(xf->pool->w->stats, STAT_UP_PAUSED);
    }
    if (xf->fail == ERR_OK && buf_put_str(&t->held, bytes) != ERR_OK)
        tunnel_fail(xf, ERR_NOMEM, "no memory for a tunnel");
}

/* No more bytes come from the upstream. */
static void tunnel_finish(struct xfer *xf)
{
    xf->tunnel->finished = true;
    event_del(&xf->tunnel->readable);
    if (!xf->write_paused)
        xfer_put_off(xf, XFER_WORK_END);
}

static void take_reply(struct xfer *xf, struct str bytes)
{
    enum err err = ERR_AGAIN;

    while (err == ERR_AGAIN && bytes.len > 0 && xf->fail == ERR_OK) {
        struct str data = {NULL, 0};
        size_t used = 0;

        err = http1_body_feed(&xf->tunnel->body, bytes.p, bytes.len, &used,
                              &data);
        tunnel_give(xf, data);
        bytes = str_skip(bytes, used);
    }
    if (err == ERR_OK)
        tunnel_finish(xf);
    else if (err != ERR_AGAIN)
        tunnel_fail(xf, ERR_UP_INCOMPLETE, "the reply's body is malformed");
}

/* Copy the answer's head into the arena and give it to the sink. */
static void give_head(struct xfer *xf, const struct http1_head *from)
{
    struct tunnel *t = xf->tunnel;
    struct reply_head *head = xf->reply.head;
    enum err err = ERR_OK;

    head->status = from->status;
    head->length =
        from->framing == HTTP1_LENGTH ? (int64_t)from->content_length : -1;
    for (size_t i = 0; i < from->count && err == ERR_OK; i++)
        err = headers_add(&head->headers, xf->arena, from->headers[i].name,
                          from->headers[i].value);
    if (err != ERR_OK) {
        tunnel_fail(xf, err, "no memory for the reply's head");
        return;
    }
    if (from->status == 101) {
        t->phase = TUNNEL_RAW;
    } else {
        t->phase = TUNNEL_REPLY;
        xfer_reply_filter(&head->headers);
        if (http1_body_start(&t->body, from, UINT64_MAX) != ERR_OK) {
            tunnel_fail(xf, ERR_UP_BAD, "the reply's length is too large");
            return;
        }
    }
    xf->sink->ops->head(xf->sink, head);
    if (t->phase == TUNNEL_REPLY && http1_body_is_done(&t->body))
        tunnel_finish(xf);
}

/* Read one head at the front of <bytes>; gives its length, 0 when it is not
 * complete or not to be trusted (then <xf> has failed). */
static size_t take_one_head(struct xfer *xf, struct str bytes)
{
    static const struct http1_limits limits = {.head_bytes = XFER_HEAD_BYTES,
                                               .fields = HTTP1_FIELDS};
    struct http1_header table[HTTP1_FIELDS];
    struct tunnel *t = xf->tunnel;
    struct http1_head head;
    size_t used = 0;
    enum err err = http1_scan(&t->scan, bytes.p, bytes.len, &limits, &used);

    if (err == ERR_AGAIN)
        return 0;
    if (err == ERR_OK)
        err = http1_parse_response(str_of(bytes.p, used), table, HTTP1_FIELDS,
                                   &head);
    if (err != ERR_OK) {
        tunnel_fail(xf, ERR_UP_BAD, "the reply's head is malformed");
        return 0;
    }
    t->scan = (struct http1_scan){.kind = HTTP1_RESPONSE};
    if (head.status == 101 && !head.websocket) {
        tunnel_fail(xf, ERR_UP_BAD, "the reply switches to another protocol");
    } else if (head.status == 101 || head.status >= 200) {
        give_head(xf, &head);
    } else if (++xf->reply.interim > XFER_INTERIM_MAX) {
        tunnel_fail(xf, ERR_UP_BAD, "the reply has too many interim heads");
    }
    return used;
}

static void tunnel_take(struct xfer *xf, struct str bytes);

/* Collect the head in <held>; what follows it is something else. */
static void take_head(struct xfer *xf, struct str bytes)
{
    struct tunnel *t = xf->tunnel;
    struct buf all = t->held;
    size_t used = 0, n;

    if (buf_put_str(&all, bytes) != ERR_OK) {
        tunnel_fail(xf, ERR_UP_BAD, "the reply's head is too large");
        return;
    }
    buf_init(&t->held, all.cap);
    do {
        n = take_one_head(xf, str_skip(buf_str(&all), used));
        used += n;
    } while (n > 0 && t->phase == TUNNEL_HEAD && xf->fail == ERR_OK);
    buf_consume(&all, used);
    if (t->phase == TUNNEL_HEAD) {
        t->held = all;
        return;
    }
    if (xf->fail == ERR_OK && !t->finished)
        tunnel_take(xf, buf_str(&all));
    buf_fini(&all);
}

static void tunnel_take(struct xfer *xf, struct str bytes)
{
    xf->last_us = clock_mono_us();
    switch (xf->tunnel->phase) {
    case TUNNEL_HEAD:
        take_head(xf, bytes);
        break;
    case TUNNEL_RAW:
        tunnel_give(xf, bytes);
        break;
    case TUNNEL_REPLY:
        take_reply(xf, bytes);
        break;
    }
}

/* The upstream has closed its side. */
static void tunnel_closed(struct xfer *xf)
{
    struct tunnel *t = xf->tunnel;

    if (t->phase == TUNNEL_HEAD)
        tunnel_fail(xf, ERR_UP_RESET, "connection closed without an answer");
    else if (t->phase == TUNNEL_REPLY && t->body.framing != HTTP1_UNTIL_CLOSE)
        tunnel_fail(xf, ERR_UP_INCOMPLETE, "the reply is cut short");
    else
        tunnel_finish(xf);
}

static void tunnel_read(struct xfer *xf)
{
    struct tunnel *t = xf->tunnel;
    char room[READ_BYTES];

    for (int turn = 0; turn < READ_TURNS; turn++) {
        size_t n = 0;
        CURLcode code;

        if (xf->write_paused || t->finished || xf->fail != ERR_OK)
            return;
        code = curl_easy_recv(xf->easy, room, sizeof(room), &n);
        if (code == CURLE_AGAIN)
            return;
        if (code != CURLE_OK) {
            tunnel_fail(
                xf, t->phase == TUNNEL_HEAD ? ERR_UP_RESET : ERR_UP_INCOMPLETE,
                "the tunnel's connection was lost");
            return;
        }
        if (n == 0) {
            tunnel_closed(xf);
            return;
        }
        tunnel_take(xf, str_of(room, n));
    }
    /* TLS may hold decrypted bytes that the socket does not tell of. */
    event_active(&t->readable, EV_READ, 0);
}

/* --- from the client to the upstream ------------------------------------ */

/* Send from <p>; gives what was taken, 0 when the socket is full or lost. */
static size_t send_some(struct xfer *xf, const void *p, size_t len)
{
    size_t n = 0;
    CURLcode code = curl_easy_send(xf->easy, p, len, &n);

    if (code == CURLE_OK)
        return n;
    if (code == CURLE_AGAIN)
        event_add(&xf->tunnel->writable, NULL);
    else
        tunnel_fail(xf,
                    xf->tunnel->phase == TUNNEL_HEAD ? ERR_UP_RESET
                                                     : ERR_UP_INCOMPLETE,
                    "the tunnel's connection was lost");
    return 0;
}

static void tunnel_write(struct xfer *xf)
{
    struct tunnel *t = xf->tunnel;
    struct chunkq *q = &xf->x->in->stream;
    struct iovec iov;

    event_del(&t->writable);
    while (t->ask.len > 0) {
        size_t n = send_some(xf, t->ask.p, t->ask.len);

        if (n == 0)
            return;
        xf->was_sent = true;
        buf_consume(&t->ask, n);
    }
    buf_fini(&t->ask);
    while (t->phase == TUNNEL_RAW && chunkq_peek(q, &iov, 1) == 1) {
        size_t n = send_some(xf, iov.iov_base, iov.iov_len);

        if (n == 0)
            return;
        chunkq_consume(q, n);
        if (xf->x->client)
            xf->x->client->ops->body_taken(xf->x->client);
    }
    /* WebSocket knows no half-open connection: a client that has ended has
     * left, and the upstream must learn it now. */
    if (t->phase == TUNNEL_RAW && xf->x->in->body_done)
        tunnel_finish(xf);
}

/* --- events ------------------------------------------------------------- */

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct xfer *xf = arg;
    struct upstream_pool *p = xf->pool;

    (void)fd;   /* of no use here */
    (void)what; /* likewise */
    clock_update();
    pool_enter(p);
    tunnel_read(xf);
    if (xf->fail == ERR_OK && xf->tunnel->phase == TUNNEL_RAW)
        tunnel_write(xf);
    if (xf->write_paused)
        event_del(&xf->tunnel->readable);
    pool_leave(p);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct xfer *xf = arg;
    struct upstream_pool *p = xf->pool;

    (void)fd;   /* of no use here */
    (void)what; /* likewise */
    clock_update();
    pool_enter(p);
    tunnel_write(xf);
    pool_leave(p);
}

void tunnel_begin(struct xfer *xf)
{
    struct upstream_pool *p = xf->pool;
    struct tunnel *t = xf->tunnel;
    curl_socket_t fd = CURL_SOCKET_BAD;

    if (curl_easy_getinfo(xf->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
        fd == CURL_SOCKET_BAD) {
        xfer_fail(xf, ERR_UP_RESET, "the connection was lost at once");
        xfer_put_off(xf, XFER_WORK_END);
        return;
    }
    event_assign(&t->readable, p->w->base, fd, EV_READ | EV_PERSIST,
                 on_readable, xf);
    event_assign(&t->writable, p->w->base, fd, EV_WRITE | EV_PERSIST,
                 on_writable, xf);
    t->open = true;
    xfer_enter(xf, XFER_TUNNEL);
    pool_enter(p);
    if (event_add(&t->readable, NULL) != 0)
        tunnel_fail(xf, ERR_NOMEM, "no memory for a tunnel");
    else
        tunnel_write(xf);
    pool_leave(p);
}

/* The sink wants more: first what is held, then the socket. */
static void tunnel_resume(struct xfer *xf)
{
    struct tunnel *t = xf->tunnel;
    struct buf held = t->held;

    xf->write_paused = false;
    buf_init(&t->held, held.cap);
    tunnel_give(xf, buf_str(&held));
    buf_fini(&held);
    if (xf->write_paused || xf->fail != ERR_OK)
        return;
    if (t->finished) {
        xfer_put_off(xf, XFER_WORK_END);
        return;
    }
    if (event_add(&t->readable, NULL) != 0)
        tunnel_fail(xf, ERR_NOMEM, "no memory for a tunnel");
    else
        event_active(&t->readable, EV_READ, 0);
}

void tunnel_work(struct xfer *xf, bool resume)
{
    struct upstream_pool *p = xf->pool;

    if (xf->state != XFER_TUNNEL)
        return; /* tunnel_begin() will look at all of it */
    pool_enter(p);
    if (resume && xf->write_paused)
        tunnel_resume(xf);
    if (xf->fail == ERR_OK)
        tunnel_write(xf);
    pool_leave(p);
}

void tunnel_close(struct xfer *xf)
{
    struct tunnel *t = xf->tunnel;

    if (t->open) {
        event_del(&t->readable);
        event_del(&t->writable);
    }
    t->open = false;
    buf_fini(&t->ask);
    buf_fini(&t->held);
}

uint64_t tunnel_deadline(const struct xfer *xf, const char **text_out)
{
    uint64_t first_us = (uint64_t)xf->timeouts.first_byte_ms * 1000;

    if (xf->tunnel->phase != TUNNEL_HEAD)
        return UINT64_MAX;
    if (first_us > 0 && xf->last_us + first_us < xf->end_by_us) {
        *text_out = "no answer within the first byte timeout";
        return xf->last_us + first_us;
    }
    *text_out = "the total time for this request is used up";
    return xf->end_by_us;
}
