/* xfer.c - The life of one transfer: an address, a turn of libcurl, deadlines,
 * pausing, the end. xfer_end() is the one place that tells a sink the end, and
 * xfer_drop() the one that says nothing. */
#include "upstream/xfer.h"

#include <event2/event.h>

#include "base/arena.h"
#include "base/chunkq.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "exchange/exchange.h"
#include "upstream/tunnel.h"

/* --- deadlines ---------------------------------------------------------- */

/* When <xf> is over at the latest, and what to say then. */
static uint64_t xfer_deadline(const struct xfer *xf, const char **text_out)
{
    uint64_t at = xf->end_by_us, next = UINT64_MAX;
    const char *text = "the total time for this request is used up";
    const char *more = NULL;

    switch (xf->state) {
    case XFER_RESOLVE:
        next = xf->connect_by_us;
        more = "no address was found within the connect timeout";
        break;
    case XFER_READY:
    case XFER_CONNECT:
        next = xf->connect_by_us;
        more = "no connection within the connect timeout";
        break;
    case XFER_ASK:
        if (xf->timeouts.first_byte_ms > 0 && !xf->read_paused)
            next = xf->last_us + (uint64_t)xf->timeouts.first_byte_ms * 1000;
        more = "no answer within the first byte timeout";
        break;
    case XFER_HEAD:
    case XFER_BODY:
        if (xf->timeouts.idle_ms > 0 && !xf->write_paused)
            next = xf->last_us + (uint64_t)xf->timeouts.idle_ms * 1000;
        more = "the reply stood still for the idle timeout";
        break;
    case XFER_TUNNEL:
        return tunnel_deadline(xf, text_out);
    case XFER_OVER:
    case XFER_STATE_COUNT:
        return UINT64_MAX;
    }
    *text_out = next < at ? more : text;
    return next < at ? next : at;
}

void xfer_arm(struct xfer *xf)
{
    const char *text;
    uint64_t at = xfer_deadline(xf, &text);
    uint64_t now = clock_mono_us();
    uint64_t left = at > now ? at - now : 0;
    struct timeval tv;

    if (at >= xf->armed_us)
        return; /* it fires earlier anyway, and looks again then */
    tv.tv_sec = (time_t)(left / 1000000);
    tv.tv_usec = (suseconds_t)(left % 1000000);
    if (event_add(&xf->timer, &tv) == 0)
        xf->armed_us = at;
}

void xfer_check_deadline(struct xfer *xf)
{
    const char *text = NULL;

    if (xfer_deadline(xf, &text) <= clock_mono_us()) {
        xfer_fail(xf, ERR_UP_TIMEOUT, text);
        xfer_end(xf);
        return;
    }
    xfer_arm(xf);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
    struct xfer *xf = arg;

    (void)fd;   /* of no use here */
    (void)what; /* likewise */
    clock_update();
    xf->armed_us = UINT64_MAX;
    xfer_check_deadline(xf);
}

void xfer_enter(struct xfer *xf, enum xfer_state state)
{
    BUG_ON(xf->state == XFER_OVER);
    xf->state = state;
    xf->last_us = clock_mono_us();
    if (state != XFER_OVER)
        xfer_arm(xf);
}

/* --- the end ------------------------------------------------------------ */

void xfer_fail(struct xfer *xf, enum err err, const char *text)
{
    if (xf->fail != ERR_OK)
        return;
    xf->fail = err;
    xf->text = text;
}

bool xfer_sent_now(const struct xfer *xf)
{
    long sent = 0;

    if (xf->asked == 0 || !xf->easy)
        return xf->was_sent;
    if (xf->proxied)
        return true; /* the figure below counts CONNECT, too */
    if (curl_easy_getinfo(xf->easy, CURLINFO_REQUEST_SIZE, &sent) != CURLE_OK)
        return true;
    return xf->was_sent || sent > xf->sent_before;
}

/* Let go of libcurl, timers and lists; the easy handle stays. */
static void xfer_detach(struct xfer *xf)
{
    struct upstream_pool *p = xf->pool;

    xf->was_sent = xfer_sent_now(xf);
    xf->state = XFER_OVER;
    pool_undefer(p, xf);
    event_del(&xf->timer);
    if (xf->tunnel)
        tunnel_close(xf);
    if (xf->lane)
        lanes_remove(xf);
    TAILQ_REMOVE(&p->open, xf, link);
    p->n_open--;
}

/* Give back what <xf> has; <whole>: it went its way to the end. */
static void xfer_free(struct xfer *xf, bool whole)
{
    struct upstream_pool *p = xf->pool;

    if (!whole || xf->fail != ERR_OK || xf->write_paused)
        xf->plain = false;
    if (xf->easy)
        pool_easy_give(p, xf->easy, xf->plain);
    slab_put(&p->xfers, xf);
}

void xfer_drop(struct xfer *xf)
{
    struct upstream_pool *p = xf->pool;

    BUG_ON(p->in_curl > 0 && xf->lane);
    xfer_detach(xf);
    xfer_free(xf, false);
}

void xfer_end(struct xfer *xf)
{
    struct upstream_pool *p = xf->pool;
    struct produce_end how = {.err = xf->fail, .text = xf->text};

    BUG_ON(p->in_curl > 0 && xf->lane);
    xfer_detach(xf);
    if (xf->sink)
        xf->sink->ops->end(xf->sink, &how);
    xfer_free(xf, true); /* nobody waits for what this does */
}

void xfer_done(struct xfer *xf, CURLcode code)
{
    if (xf->tunnel && code == CURLE_OK && xf->fail == ERR_OK &&
        xf->state == XFER_CONNECT) {
        tunnel_begin(xf);
        return;
    }
    if (!xf->connect_only || code != CURLE_OK)
        xfer_judge(xf, code);
    xfer_end(xf);
}

/* --- work --------------------------------------------------------------- */

void xfer_put_off(struct xfer *xf, enum xfer_later what)
{
    xf->todo |= (unsigned)what;
    pool_defer(xf->pool, xf, what == XFER_WORK_DROP);
}

static void xfer_add(struct xfer *xf)
{
    struct upstream_pool *p = xf->pool;
    uint64_t now = clock_mono_us();
    uint64_t left_ms =
        xf->connect_by_us > now ? (xf->connect_by_us - now) / 1000 : 0;
    CURLMcode mc;

    /* Our own timer fires first; libcurl's ends what it alone can see. */
    if (curl_easy_setopt(xf->easy, CURLOPT_CONNECTTIMEOUT_MS,
                         (long)left_ms + 50L) != CURLE_OK) {
        xfer_fail(xf, ERR_NOMEM, "no memory for a transfer");
        xfer_end(xf);
        return;
    }
    xfer_enter(xf, XFER_CONNECT);
    pool_enter(p);
    mc = lanes_add(p, xf);
    if (mc != CURLM_OK) {
        xfer_fail(xf, ERR_NOMEM, "libcurl takes no more transfers");
        xfer_put_off(xf, XFER_WORK_END);
    }
    pool_leave(p);
}

/* Tell libcurl what is paused now; it may deliver bytes at once. */
static void xfer_unpause(struct xfer *xf)
{
    struct upstream_pool *p = xf->pool;
    CURLcode code;

    if (!xf->lane || xf->state < XFER_ASK || xf->tunnel)
        return;
    pool_enter(p);
    code =
        curl_easy_pause(xf->easy, (xf->write_paused ? CURLPAUSE_RECV : 0) |
                                      (xf->read_paused ? CURLPAUSE_SEND : 0));
    if (code != CURLE_OK && code != CURLE_BAD_FUNCTION_ARGUMENT) {
        xfer_judge(xf, code);
        xfer_put_off(xf, XFER_WORK_END);
    }
    pool_leave(p);
}

void xfer_socket_closed(struct xfer *xf)
{
    if (xf->state == XFER_CONNECT)
        xfer_put_off(xf, XFER_WORK_KICK);
}

/* When an address refuses, libcurl picks the next one of its family but opens
 * no socket before some timer runs out, which may take seconds. A change of
 * what is paused, back and forth, makes it look at the transfer now. */
static void xfer_kick(struct xfer *xf)
{
    struct upstream_pool *p = xf->pool;

    if (xf->state != XFER_CONNECT || !xf->lane)
        return;
    pool_enter(p);
    if (curl_easy_pause(xf->easy, CURLPAUSE_SEND) == CURLE_OK &&
        curl_easy_pause(xf->easy, CURLPAUSE_CONT) != CURLE_OK)
        log_warn(LOG_UPSTREAM, "a connection attempt is slow to move on");
    pool_leave(p);
}

void xfer_work(struct xfer *xf)
{
    unsigned todo = xf->todo;

    xf->todo = 0;
    if (todo & XFER_WORK_DROP) {
        xfer_drop(xf);
    } else if (todo & XFER_WORK_END) {
        xfer_end(xf);
    } else if (todo & XFER_WORK_ADD) {
        xfer_add(xf);
    } else if (todo & XFER_WORK_KICK) {
        xfer_kick(xf);
    } else if (xf->tunnel) {
        tunnel_work(xf, (todo & XFER_WORK_RESUME) != 0);
    } else {
        if (todo & XFER_WORK_RESUME)
            xf->write_paused = false;
        if (todo & XFER_WORK_UPLOAD)
            xf->read_paused = false;
        xf->last_us = clock_mono_us();
        xfer_arm(xf);
        xfer_unpause(xf);
    }
}

/* --- the producer ------------------------------------------------------- */

static void xfer_resume(struct producer *pr)
{
    xfer_put_off((struct xfer *)pr, XFER_WORK_RESUME);
}

static void xfer_body_ready(struct producer *pr)
{
    struct xfer *xf = (struct xfer *)pr;

    if (xf->read_paused || xf->tunnel)
        xfer_put_off(xf, XFER_WORK_UPLOAD);
}

static void xfer_redirect(struct producer *pr, struct sink *s)
{
    ((struct xfer *)pr)->sink = s;
}

static void xfer_cancel(struct producer *pr)
{
    struct xfer *xf = (struct xfer *)pr;

    BUG_ON(xf->state == XFER_OVER);
    if (xf->pool->in_curl > 0 && xf->lane) {
        xf->sink = NULL;
        xfer_fail(xf, ERR_CLOSED, "cancelled");
        xfer_put_off(xf, XFER_WORK_DROP);
        return;
    }
    xfer_drop(xf);
}

static const struct producer_ops xfer_ops = {
    .resume = xfer_resume,
    .body_ready = xfer_body_ready,
    .redirect = xfer_redirect,
    .cancel = xfer_cancel,
};

/* --- the start ---------------------------------------------------------- */

/* Have <addrs> given to libcurl with this transfer, unless it has them. */
static void xfer_feed(struct xfer *xf, const struct addrs *addrs)
{
    char *line;

    xf->fed = pool_host_get(xf->pool, xf->host, xf->port);
    xf->feed_gen = addrs->gen;
    if (xf->fed && xf->fed->fed_gen == addrs->gen)
        return;
    line = xf->fed ? arena_printf(xf->arena, "%s:%s", xf->fed->key, addrs->text)
                   : NULL;
    xf->plain = false;
    xf->resolve.data = line;
    if (!line ||
        curl_easy_setopt(xf->easy, CURLOPT_RESOLVE, &xf->resolve) != CURLE_OK)
        xfer_fail(xf, ERR_NOMEM, "no memory for an address");
}

void xfer_resolved(struct xfer *xf, struct addrs *addrs)
{
    if (addrs)
        xfer_feed(xf, addrs);
    else
        xfer_fail(xf, ERR_UP_UNAVAILABLE, "the host name has no address");
    xfer_enter(xf, XFER_READY);
    xfer_put_off(xf, xf->fail == ERR_OK ? XFER_WORK_ADD : XFER_WORK_END);
}

/* Find an address, or begin to. */
static void xfer_resolve(struct xfer *xf)
{
    struct upstream_pool *p = xf->pool;
    struct addrs *addrs = NULL;
    enum err err;

    if (xf->host.len == 0 || resolve_is_literal(xf->host)) {
        xfer_enter(xf, XFER_READY);
        xfer_put_off(xf, XFER_WORK_ADD);
        return;
    }
    err = resolver_lookup(p->resolver, xf->host, &p->answers, &addrs);
    if (err == ERR_AGAIN) {
        xfer_enter(xf, XFER_RESOLVE);
        return;
    }
    if (err == ERR_NOMEM)
        xfer_fail(xf, err, "no memory for a name lookup");
    xfer_resolved(xf, addrs);
    addrs_unref(addrs);
}

static void xfer_set_deadlines(struct xfer *xf, const struct xfer_spec *spec)
{
    uint64_t now = clock_mono_us();

    xf->timeouts = spec->timeouts ? *spec->timeouts : spec->up->timeouts;
    xf->connect_by_us = now + (uint64_t)xf->timeouts.connect_ms * 1000;
    xf->end_by_us = UINT64_MAX;
    if (spec->deadline_us > 0)
        xf->end_by_us = (uint64_t)spec->deadline_us;
    else if (xf->timeouts.total_ms > 0)
        xf->end_by_us = now + (uint64_t)xf->timeouts.total_ms * 1000;
    xf->last_us = now;
    xf->armed_us = UINT64_MAX;
}

static struct xfer *xfer_new(struct upstream_pool *p, struct exchange *x,
                             const struct xfer_spec *spec, struct sink *s)
{
    struct xfer *xf = slab_get(&p->xfers);

    if (!xf)
        return NULL;
    xf->plain = xf->prepared = xfer_is_plain(spec);
    xf->easy = pool_easy_take(p, &xf->prepared);
    xf->arena = spec->arena ? spec->arena : x->arena;
    xf->reply.head = arena_alloc(xf->arena, sizeof(*xf->reply.head));
    if (!xf->easy || !xf->reply.head) {
        if (xf->easy)
            pool_easy_give(p, xf->easy, xf->prepared);
        slab_put(&p->xfers, xf);
        return NULL;
    }
    xf->producer.ops = &xfer_ops;
    xf->pool = p;
    xf->x = x;
    xf->sink = s;
    xf->up = spec->up;
    xf->connect_only = spec->connect_only;
    xf->body_kind = spec->body_kind;
    xf->body = spec->body;
    xf->length = spec->body_kind == XFER_BODY_STREAM ? spec->length : -1;
    event_assign(&xf->timer, p->w->base, -1, 0, on_deadline, xf);
    xfer_set_deadlines(xf, spec);
    TAILQ_INSERT_TAIL(&p->open, xf, link);
    p->n_open++;
    return xf;
}

/* Set <xf> up and send it on its way; its sink hears of failures later. */
static void xfer_launch(struct xfer *xf, const struct xfer_spec *spec)
{
    enum err err = xfer_set_options(xf, spec);

    if (err == ERR_OK) {
        xfer_resolve(xf);
        return;
    }
    xfer_fail(xf, err, "the request could not be set up");
    xfer_put_off(xf, XFER_WORK_END);
}

struct producer *xfer_start(struct upstream_pool *p, struct exchange *x,
                            const struct xfer_spec *spec, struct sink *s)
{
    struct xfer *xf = xfer_new(p, x, spec, s);

    if (!xf)
        return NULL;
    xfer_launch(xf, spec);
    return &xf->producer;
}

struct producer *tunnel_start(struct upstream_pool *p, struct exchange *x,
                              const struct xfer_spec *spec, struct sink *s)
{
    struct xfer *xf = xfer_new(p, x, spec, s);
    enum err err;

    if (!xf)
        return NULL;
    xf->body_kind = XFER_BODY_NONE;
    err = tunnel_prepare(xf, spec);
    if (err == ERR_OK) {
        xfer_launch(xf, spec);
    } else {
        xfer_fail(xf, err, "the upgrade request could not be made");
        xfer_put_off(xf, XFER_WORK_END);
    }
    return &xf->producer;
}

bool xfer_was_sent(const struct producer *pr)
{
    return xfer_sent_now((const struct xfer *)pr);
}

bool xfer_needs_body(const struct producer *pr)
{
    const struct xfer *xf = (const struct xfer *)pr;
    curl_off_t done = 0;

    if (xf->body_kind != XFER_BODY_BYTES || !xf->easy)
        return false;
    if (xf->state < XFER_ASK)
        return true;
    return curl_easy_getinfo(xf->easy, CURLINFO_SIZE_UPLOAD_T, &done) !=
               CURLE_OK ||
           (uint64_t)done < xf->body.len;
}
