/* attempt.c - See attempt.h. How a reply is judged by its beginning:
 *
 *   error                 collected; the end says what it says
 *   event stream          kept back until its first event, which may be an
 *                         error: that is one as if it had its status
 *   JSON                  collected up to a bound, so that a broken reply can
 *                         still become a clean error; beyond it, streamed
 *   text that must be     the same
 *   JSON
 *   anything else         streamed as it comes
 *
 * What the engine replies is whole and well made before its head comes, and it
 * counts itself what it cost: it is never collected, so that a large one is no
 * work of a single turn. What it fails with, it has told already. */
#include "serve/attempt.h"

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "engine/engine.h"
#include "exchange/exchange.h"
#include "serve/splice.h"
#include "upstream/upstream.h"
#include "wire/jscan.h"

#define PEEK_MS 10000 /* without keepalive.interval */

bool attempt_has_key(const struct attempt *a)
{
    return a->choice.up && a->choice.up->n_keys > 0;
}

/* Whether the request may have left. What reaches the engine costs nothing
 * until x->made says so. */
static bool was_sent(const struct attempt *a)
{
    return a->choice.up && a->producer && xfer_was_sent(a->producer);
}

/* The producer has ended, or is about to. */
static void forget_producer(struct attempt *a)
{
    a->sent = was_sent(a);
    if (a->x->work->producer == a->producer)
        a->x->work->producer = NULL;
    a->producer = NULL;
}

static void peek_stop(struct attempt *a)
{
    if (!a->timer_on)
        return;
    a->timer_on = false;
    event_del(&a->timer);
    sse_in_fini(&a->events);
}

static void set_ready(struct attempt *a)
{
    peek_stop(a);
    a->state = ATTEMPT_READY;
    exchange_wake(a->x, WAKE_HEAD);
}

/* What happened is in <end>, but for what every end has. */
static void set_ended(struct attempt *a, struct retry_end end)
{
    struct exchange *x = a->x;
    const bool is_stream = x->in->has_body && x->in->mode != BODY_COLLECT;

    peek_stop(a);
    end.sent = a->sent;
    end.body_gone = a->sent && (is_stream || x->in->head.websocket);
    end.idempotent = str_eq(x->in->head.method_text, STR("GET")) ||
                     str_eq(x->in->head.method_text, STR("HEAD"));
    end.own_key = attempt_has_key(a);
    if (a->head)
        end.delay =
            delay_of_reply(&a->head->headers, a->head->status, clock_wall_ms());
    a->end = end;
    a->state = ATTEMPT_ENDED;
    exchange_wake(x, WAKE_FAIL);
}

/* It ended without a reply that could be passed on. */
static void set_broken(struct attempt *a, enum err e, const char *text)
{
    a->text = text;
    if (a->mode == REPLY_COLLECT && a->head && a->head->status < 300)
        usage_from_body(&a->told, buf_str(&a->body));
    if (e == ERR_UP_INCOMPLETE) /* for the client it has not begun */
        e = ERR_UP_BAD;
    set_ended(a, (struct retry_end){.err = e});
}

/* --- the reply ----------------------------------------------------------- */

static void on_peek_time(evutil_socket_t fd, short what, void *arg)
{
    struct attempt *a = arg;

    (void)fd, (void)what;
    clock_update();
    set_ready(a);
}

static void peek_start(struct attempt *a)
{
    const struct conf *conf = a->x->conf;
    int64_t ms = conf->keepalive_ms > 0 ? conf->keepalive_ms : PEEK_MS;
    struct timeval tv = {ms / 1000, ms % 1000 * 1000};

    buf_init(&a->body, REPLY_PEEK_MAX);
    sse_in_init(&a->events, REPLY_PEEK_MAX, REPLY_PEEK_MAX);
    event_assign(&a->timer, a->x->w->base, -1, 0, on_peek_time, a);
    event_add(&a->timer, &tv);
    a->timer_on = true;
}

static void on_head(struct sink *s, const struct reply_head *head)
{
    struct attempt *a = (struct attempt *)(void *)s;
    struct exchange *x = a->x;

    a->head = head;
    a->head_us = clock_mono_us();
    a->mode = a->choice.up ? reply_mode_of(x, head, a->choice.passthrough)
                           : REPLY_PASS;
    a->sent = was_sent(a);
    if (a->mode == REPLY_COLLECT)
        buf_init(&a->body, REPLY_COLLECT_MAX);
    else if (a->mode == REPLY_PEEK)
        peek_start(a);
    else if (head->status >= 400 && a->choice.up)
        set_ended(a, (struct retry_end){.status = head->status});
    else
        set_ready(a);
}

/* The first event <ev> of a stream: an error there is told apart by its
 * words. */
static void judge_event(struct attempt *a, const struct sse_event *ev)
{
    struct exchange *x = a->x;
    struct retry_end end = {.err = ERR_OK};
    struct sse_judge judge = {.choices = 0};
    struct sse_verdict v;
    struct jscan *scan;

    sse_judge_init(&judge, x->in->ep.row->end, x->ask->n);
    sse_judge_event(&judge, ev, &v);
    if (!v.error) {
        set_ready(a);
        return;
    }
    scan = arena_alloc(x->arena, sizeof(*scan));
    if (scan && jscan_run(scan, ev->data, &jscan_reply, NULL) == ERR_OK)
        reply_error_words(x, scan, &end);
    end.type = arena_dup(x->arena, end.type); /* <ev> is of this call */
    end.code = arena_dup(x->arena, end.code);
    end.message = arena_dup(x->arena, end.message);
    end.status = retry_status_of_error(end.type, end.code);
    a->text = "its stream begins with an error";
    set_ended(a, end);
}

static enum flow peek(struct attempt *a, struct str bytes)
{
    struct sse_event ev = {.has_data = false};
    enum err e = ERR_OK;

    if (bytes.len > REPLY_PEEK_MAX - a->body.len ||
        buf_put_str(&a->body, bytes) != ERR_OK) {
        set_ready(a);
        return FLOW_PAUSE;
    }
    while (e == ERR_OK && !ev.has_data)
        e = sse_in_next(&a->events, &bytes, &ev);
    if (e == ERR_OK)
        judge_event(a, &ev);
    else if (e != ERR_AGAIN)
        set_ready(a);
    return FLOW_MORE;
}

static enum flow on_data(struct sink *s, struct str bytes)
{
    struct attempt *a = (struct attempt *)(void *)s;

    if (a->state != ATTEMPT_RUNS || a->mode == REPLY_PASS)
        return FLOW_PAUSE; /* relay has not taken over yet */
    if (a->mode == REPLY_PEEK)
        return peek(a, bytes);
    if (bytes.len > REPLY_COLLECT_MAX - a->body.len) {
        set_ready(a);
        return FLOW_PAUSE;
    }
    if (a->head->length > 0 && a->body.room == 0 &&
        buf_reserve(&a->body, (size_t)a->head->length) != ERR_OK)
        log_debug(LOG_ROUTE, "no room ahead for a reply: id=%s", a->x->name);
    if (buf_put_str(&a->body, bytes) != ERR_OK) {
        set_ready(a);
        return FLOW_PAUSE;
    }
    return FLOW_MORE;
}

/* Scan the collected reply, once for everybody; false when it is not JSON. As
 * clients do, a byte-order mark is passed over. */
static bool reply_scan(struct attempt *a)
{
    struct jscan *scan = arena_alloc(a->x->arena, sizeof(*scan));
    struct str text = buf_str(&a->body);

    if (str_starts(text, STR("\xEF\xBB\xBF")))
        text = str_skip(text, 3);
    if (!scan || jscan_run(scan, text, &jscan_reply, NULL) != ERR_OK)
        return false;
    a->scan = scan;
    return true;
}

/* An upstream that echoes what it was sent must not show our key. */
static void mask_key(struct attempt *a)
{
    struct str key, rest = buf_str(&a->body);

    if (!attempt_has_key(a) || a->pass.key >= a->choice.up->n_keys)
        return;
    key = secret_reveal(&a->choice.up->keys[a->pass.key]);
    while (key.len > 0 && rest.len >= key.len) {
        size_t at = str_find(rest, key);

        if (at == rest.len)
            return;
        memset(a->body.p + (rest.p + at - a->body.p), '*', key.len);
        rest = str_skip(rest, at + key.len);
    }
}

/* `x-should-retry` of the reply. */
static enum retry_hint hint_of(const struct reply_head *head)
{
    struct str v = headers_value(&head->headers, STR("x-should-retry"));

    if (str_ieq(v, STR("true")))
        return RETRY_YES;
    return str_ieq(v, STR("false")) ? RETRY_NO : RETRY_UNSAID;
}

static void end_with_error(struct attempt *a)
{
    struct retry_end end = {.status = a->head->status,
                            .hint = hint_of(a->head)};

    mask_key(a);
    a->whole = true;
    a->text = arena_printf(a->x->arena, "it answered %d%s", end.status,
                           reply_scan(a) ? "" : " without JSON");
    if (a->scan)
        reply_error_words(a->x, a->scan, &end);
    set_ended(a, end);
}

static void on_end(struct sink *s, const struct produce_end *how)
{
    struct attempt *a = (struct attempt *)(void *)s;
    enum err e = how->err;

    forget_producer(a);
    if (e == ERR_OK && !a->head)
        e = ERR_UP_BAD;
    if (e == ERR_OK && a->mode == REPLY_PEEK)
        e = ERR_UP_INCOMPLETE; /* without one event */
    if (e != ERR_OK) {
        set_broken(a, e, how->text);
    } else if (a->head->status >= 400) {
        end_with_error(a);
    } else if (!reply_scan(a)) {
        set_broken(a, ERR_UP_BAD, "its body is not valid JSON");
    } else {
        a->whole = true;
        set_ready(a);
    }
}

static const struct sink_ops attempt_sink = {on_head, on_data, on_end};

/* --- the request --------------------------------------------------------- */

static enum err attempt_body(struct attempt *a, struct xfer_spec *spec)
{
    struct exchange *x = a->x;

    if (!x->in->has_body)
        return ERR_OK;
    if (x->in->mode != BODY_COLLECT) {
        spec->body_kind = XFER_BODY_STREAM;
        spec->length = x->in->head.framing == HTTP1_LENGTH
                           ? (int64_t)x->in->head.content_length
                           : -1;
        x->client->ops->read_body(x->client, BODY_STREAM);
        return ERR_OK;
    }
    spec->body_kind = XFER_BODY_BYTES;
    return splice_request(x, a->choice.up, a->choice.model, x->ask->add_usage,
                          &a->request, &spec->body);
}

void attempt_note(struct attempt *a)
{
    struct work *work = a->x->work;
    const struct choice *c = &a->choice;

    work->route = c->route;
    work->target = c->target;
    work->label = c->label;
    work->upstream_model = c->model;
    work->renamed =
        c->up && c->model.len > 0 && !str_eq(c->model, a->x->ask->model);
    work->passthrough = c->passthrough;
    work->engine = !c->up;
    work->target_name = c->up ? c->up->name : c->engine->name;
    work->producer = a->producer;
}

static void attempt_spec(const struct attempt *a, struct xfer_spec *spec)
{
    const struct exchange *x = a->x;
    const struct choice *c = &a->choice;

    spec->up = c->up;
    spec->key_index = a->pass.key;
    spec->method = x->in->head.method_text;
    spec->suffix = x->in->ep.suffix;
    spec->query = x->in->head.query;
    spec->model = c->model;
    spec->client_head = &x->in->head;
    spec->streaming_reply = x->ask->stream;
}

/* Hand the request over; ERR_NOMEM. */
static enum err attempt_send(struct attempt *a, int64_t deadline_us)
{
    struct exchange *x = a->x;
    struct xfer_spec spec = {.deadline_us = deadline_us};
    enum err e;

    if (!a->choice.up) {
        a->producer =
            engine_start(x->w->engine, x, a->choice.engine->name, &a->sink);
        return a->producer ? ERR_OK : ERR_NOMEM;
    }
    attempt_spec(a, &spec);
    e = attempt_body(a, &spec);
    if (e != ERR_OK)
        return e;
    stats_inc(x->w->stats, STAT_UP_STARTED);
    a->producer = x->in->head.websocket
                      ? tunnel_start(x->w->upstreams, x, &spec, &a->sink)
                      : xfer_start(x->w->upstreams, x, &spec, &a->sink);
    return a->producer ? ERR_OK : ERR_NOMEM;
}

enum err attempt_start(struct exchange *x, const struct choice *c,
                       const struct target_pass *pass, int64_t deadline_us,
                       struct attempt **out)
{
    struct attempt *a = arena_alloc(x->arena, sizeof(*a));
    struct target_pass own = *pass;
    enum err e;

    if (!a) {
        target_leave(&own, c->up, ERR_OK, NULL, clock_mono_ms());
        return ERR_NOMEM;
    }
    *a = (struct attempt){.sink = {&attempt_sink},
                          .x = x,
                          .choice = *c,
                          .pass = *pass,
                          .start_us = clock_mono_us()};
    buf_init(&a->request, SIZE_MAX / 2);
    buf_init(&a->body, 0);
    x->work->attempts++;
    attempt_note(a);
    e = attempt_send(a, deadline_us);
    if (e != ERR_OK) {
        attempt_leave(a, ERR_OK, NULL);
        attempt_free(a);
        return e;
    }
    x->work->producer = a->producer;
    *out = a;
    return ERR_OK;
}

/* --- what becomes of it -------------------------------------------------- */

void attempt_commit(struct attempt *a)
{
    struct work *work = a->x->work;

    attempt_note(a);
    work->head = a->head;
    work->head_us = (int64_t)a->head_us;
    work->sent = a->sent;
    work->collected = a->whole;
    work->scan = a->scan;
    buf_fini(&work->body);
    work->body = a->body;
    buf_init(&a->body, 0);
    a->state = ATTEMPT_COMMITTED;
}

void attempt_cancel(struct attempt *a)
{
    struct producer *p = a->producer;

    peek_stop(a);
    if (!p)
        return;
    forget_producer(a);
    p->ops->cancel(p);
}

void attempt_leave(struct attempt *a, enum err e, const char *text)
{
    target_leave(&a->pass, a->choice.up, e, text, clock_mono_ms());
}

void attempt_free(struct attempt *a)
{
    peek_stop(a);
    buf_fini(&a->request);
    buf_fini(&a->body);
}

void attempt_drop_request(struct attempt *a)
{
    struct exchange *x = a->x;

    /* How HTTP/2 sends a body is libcurl's own affair. */
    if (!a->producer || !a->choice.up || x->in->mode != BODY_COLLECT ||
        x->work->keeps_body || a->choice.up->http2 ||
        xfer_needs_body(a->producer))
        return;
    buf_fini(&a->request);
    exchange_drop_body(x);
    a->choice.model = x->work->upstream_model;
}
