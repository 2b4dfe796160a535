/* conn_in.c - From bytes to exchanges: reads the socket into the worker's
 * scratch buffer, finds heads, starts exchanges, hands body bytes on and
 * notices that the client has left. Only what cannot be used yet is copied, so
 * an idle connection holds no buffer. Decides what may be read when, and that
 * nothing is parsed behind bytes that were refused. */
#include <errno.h>

#include "base/clock.h"
#include "conf/conf.h"
#include "front/conn.h"
#include "front/tls.h"

/* Reads of one connection in one turn; then others are served. */
#define READS_PER_TURN 4

/* Bytes dropped of what a client still sends after it was refused. */
#define DROP_BYTES (16 * 1024 * 1024)

/* ---- reading ------------------------------------------------------------ */

static enum err read_plain(struct conn *c, char *p, size_t room, size_t *n_out)
{
    ssize_t n;

    do
        n = recv(c->fd, p, room, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        *n_out = (size_t)n;
        c->readable = (size_t)n == room || c->hup;
        return ERR_OK;
    }
    if (n == 0)
        return ERR_CLOSED;
    if (errno != EAGAIN)
        return ERR_IO;
    c->readable = false;
    return ERR_AGAIN;
}

/* Fill <room> with as many records as there are. */
static enum err read_tls(struct conn *c, char *p, size_t room, size_t *n_out)
{
    size_t have = 0, n;
    enum err e = ERR_OK;

    while (e == ERR_OK && room - have >= TLS_RECORD_BYTES) {
        e = tls_read(c->ssl, p + have, room - have, &n);
        if (e == ERR_OK)
            have += n;
    }
    if (e == ERR_AGAIN)
        c->readable = false;
    if (have == 0)
        return e;
    *n_out = have;
    return ERR_OK;
}

/* The client's side ended (<e> is ERR_CLOSED) or broke. */
static void on_end(struct conn *c, enum err e)
{
    c->readable = false;
    switch (c->state) {
    case CONN_FLUSH:
        if (e == ERR_CLOSED) {
            c->must_close = true;
            c->rest_raw = true;
            c->linger = false;
            buf_fini(&c->in);
            conn_mark(c, false);
            return;
        }
        conn_lose(c, "connection broke");
        return;
    case CONN_TUNNEL:
        if (e == ERR_CLOSED) {
            c->half_closed = true;
            c->x->in->body_done = true;
            conn_body_push(c);
            return;
        }
        conn_lose(c, "connection broke");
        return;
    default:
        if (e == ERR_CLOSED && conn_serves_half_closed(c)) {
            c->half_closed = true;
            c->readable =
                true; /* what is to be read after the reply: the end */
            return;
        }
        conn_lose(c, e == ERR_CLOSED ? "client closed" : "connection broke");
        return;
    }
}

bool conn_in_is_wanted(const struct conn *c)
{
    switch (c->state) {
    case CONN_HEAD:
        return !c->held;
    case CONN_IDLE:
    case CONN_LINGER:
        return true;
    case CONN_TUNNEL:
        return !c->half_closed &&
               chunkq_len(&c->x->in->stream) < CONN_STREAM_HIGH;
    case CONN_BODY:
    case CONN_WAIT:
    case CONN_REPLY:
    case CONN_FLUSH:
        if (c->rest_raw)
            return true;
        if (!http1_body_is_done(&c->body) && c->mode != BODY_IDLE)
            return conn_body_is_wanted(c);
        return c->x && !c->half_closed && c->in.len <= CONN_AHEAD_BYTES;
    default:
        return false;
    }
}

/* ---- heads -------------------------------------------------------------- */

/* What every exchange knows of its connection. */
static enum err request_fill(struct conn *c)
{
    struct request *in = c->x->in;

    in->tls = c->ssl != NULL;
    in->head_us = (int64_t)clock_mono_us();
    in->ep.row = endpoint_row(ENDPOINT_UNKNOWN);
    in->peer = arena_dup(c->x->arena, str_from(c->peer));
    return in->peer.p ? ERR_OK : ERR_NOMEM;
}

/* Copy <head> into the exchange's arena and parse it there. */
static enum err request_parse(struct conn *c, struct str head)
{
    struct request *in = c->x->in;
    struct http1_header *table;
    struct str copy = arena_dup(c->x->arena, head);
    enum err e;

    table = arena_alloc(c->x->arena, (c->scan.fields + 1) * sizeof(*table));
    if (!copy.p || !table)
        return ERR_NOMEM;
    e = http1_parse(copy, table, c->scan.fields + 1, &in->head);
    if (e != ERR_OK)
        return e;
    in->has_body =
        in->head.framing == HTTP1_CHUNKED ||
        (in->head.framing == HTTP1_LENGTH && in->head.content_length > 0);
    return http1_body_start(&c->body, &in->head, c->x->conf->limits.body_bytes);
}

/* Start the exchange of a head, good or (then c->head_err is set) bad. */
static void exchange_start(struct conn *c)
{
    struct request *in = c->x->in;

    c->requests++;
    if (c->head_err != ERR_OK) {
        c->must_close = true;
        c->linger = true;
        c->rest_raw = true;
    }
    if (!c->rest_raw && http1_body_is_done(&c->body)) {
        in->body_done = true;
        in->body_us = in->head_us;
    }
    c->said_continue = !in->head.expect_continue;
    if (!in->head.keep_alive)
        c->must_close = true;
    conn_enter(c, http1_body_is_done(&c->body) ? CONN_WAIT : CONN_BODY);
    exchange_run(c->x);
}

/* A new exchange in <c>; without memory the client gets a bare 503. */
static bool exchange_make(struct conn *c)
{
    c->x = exchange_new(c->f->w, &c->client);
    if (c->x && request_fill(c) == ERR_OK)
        return true;
    if (c->x) {
        c->head_err = ERR_NOMEM;
        return true;
    }
    c->requests++;
    reply_refused_send(c);
    conn_enter(c, CONN_FLUSH);
    return false;
}

void conn_in_refuse(struct conn *c, enum err e)
{
    struct str part = buf_str(&c->in);
    bool blank = true;

    for (size_t i = 0; i < part.len; i++)
        blank = blank && (part.p[i] == '\r' || part.p[i] == '\n');
    if (blank && e == ERR_REQUEST_TIMEOUT) {
        conn_lose(c, "header timeout");
        return;
    }
    if (e != ERR_REQUEST_TIMEOUT)
        stats_inc(c->f->w->stats, STAT_CONN_BAD_HTTP);
    c->head_err = e;
    c->body = (struct http1_body){0};
    if (exchange_make(c))
        exchange_start(c);
}

static void request_start(struct conn *c, struct str head)
{
    if (!exchange_make(c))
        return;
    if (c->head_err == ERR_OK)
        c->head_err = request_parse(c, head);
    if (c->head_err == ERR_BAD_HTTP || c->head_err == ERR_HTTP_VERSION)
        stats_inc(c->f->w->stats, STAT_CONN_BAD_HTTP);
    exchange_start(c);
}

/* Begin with the complete head at <p>, or put it in line. Returns the bytes
 * done with. */
static size_t begin_head(struct conn *c, const char *p)
{
    size_t len = c->head_len;

    if (c->held_us == 0 && !c->metrics && !gate_pass(c->f)) {
        gate_hold(c);
        return 0;
    }
    c->head_len = 0;
    request_start(c, str_of(p, len));
    return len;
}

/* Look for the end of a head in <p>, which begins where the head does. Returns
 * the bytes done with: none while it is incomplete or in line. */
static size_t take_head(struct conn *c, const char *p, size_t len)
{
    const struct conf_limits *l = &c->f->w->conf->limits;
    const struct http1_limits limits = {.head_bytes = l->header_bytes};
    enum err e;

    if (c->held)
        return 0;
    if (c->head_len > 0)
        return begin_head(c, p);

    if (c->state == CONN_IDLE)
        conn_enter(c, CONN_HEAD);
    e = http1_scan(&c->scan, p, len, &limits, &c->head_len);
    if (e == ERR_AGAIN)
        return 0;
    if (e == ERR_OK)
        return begin_head(c, p);
    conn_in_refuse(c, e);
    return len;
}

/* ---- dispatch ----------------------------------------------------------- */

/* Drop what a refused client goes on sending, within bounds. */
static void drop_raw(struct conn *c, size_t len)
{
    c->dropped += len;
    if (c->dropped > DROP_BYTES && !c->x)
        conn_lose(c, "client sends on after it was refused");
}

static size_t take_tunnel(struct conn *c, const char *p, size_t len)
{
    struct request *in = c->x->in;

    if (chunkq_put(&in->stream, p, len) != ERR_OK) {
        c->broken = true;
        conn_mark(c, false);
        return len;
    }
    in->body_bytes += len;
    conn_body_push(c);
    return len;
}

/* Use some of <p>; 0 when nothing can be used now. */
static size_t take_some(struct conn *c, const char *p, size_t len)
{
    switch (c->state) {
    case CONN_IDLE:
    case CONN_HEAD:
        return take_head(c, p, len);
    case CONN_TUNNEL:
        return take_tunnel(c, p, len);
    case CONN_CLOSED:
        return len;
    default:
        break;
    }
    if (c->rest_raw) {
        drop_raw(c, len);
        return len;
    }
    return conn_body_take(c, p, len);
}

/* Use as much of <p> as can be used now; returns how much that was. */
static size_t take(struct conn *c, const char *p, size_t len)
{
    size_t at = 0;

    while (at < len) {
        size_t used = take_some(c, p + at, len - at);

        if (used == 0)
            break;
        at += used;
    }
    return at;
}

/* Keep <p> until it can be used. */
static void keep(struct conn *c, const char *p, size_t len)
{
    if (len > 0 && buf_put(&c->in, p, len) != ERR_OK) {
        conn_lose(c, "too many bytes sent ahead");
        return;
    }
    if (c->in.len > CONN_AHEAD_BYTES && c->x && http1_body_is_done(&c->body))
        conn_lose(c, "too many bytes sent ahead");
}

/* Use what is kept; true when nothing of it is left. */
static bool take_kept(struct conn *c)
{
    size_t used;

    if (c->in.len == 0)
        return true;
    used = take(c, c->in.p, c->in.len);
    if (c->state == CONN_CLOSED)
        return false;
    buf_consume(&c->in, used);
    if (c->in.len > 0)
        return false;
    buf_fini(&c->in);
    return true;
}

/* Bytes <p> in the scratch buffer have arrived. */
static void arrived(struct conn *c, const char *p, size_t len)
{
    size_t used = 0;

    stats_add(c->f->w->stats, STAT_BYTES_IN, len);
    if (c->in.len > 0) {
        keep(c, p, len);
        if (c->state != CONN_CLOSED)
            take_kept(c);
        return;
    }
    used = take(c, p, len);
    if (c->state != CONN_CLOSED)
        keep(c, p + used, len - used);
}

static void read_on(struct conn *c)
{
    char *scratch = c->f->w->scratch;
    unsigned reads = 0;
    size_t n = 0;

    while (c->readable && conn_in_is_wanted(c)) {
        enum err e;

        if (reads++ == READS_PER_TURN) {
            c->look = true;
            conn_mark(c, true);
            return;
        }
        e = c->ssl ? read_tls(c, scratch, WORKER_SCRATCH, &n)
                   : read_plain(c, scratch, WORKER_SCRATCH, &n);
        if (e == ERR_AGAIN)
            return;
        if (e == ERR_OK)
            arrived(c, scratch, n);
        else
            on_end(c, e);
    }
}

void conn_in_read(struct conn *c)
{
    struct front *f = c->f;

    f->in_read = true;
    read_on(c);
    f->in_read = false;
}

void conn_in_resume(struct conn *c)
{
    take_kept(c);
    if (c->state != CONN_CLOSED)
        conn_in_read(c);
}
