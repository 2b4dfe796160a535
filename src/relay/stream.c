/* stream.c - How an event stream passes:
 *
 *   bytes -> sse_in -> event -> judge -> strip | change | as it is -> client
 *
 * Events leave whole and in order. The one that ends the stream is held until
 * the transport ends too (at most STREAM_TAIL_MS), so that the usage row is
 * written before the client sees its last byte and the upstream connection
 * can be used again. The last bytes of a body with a length are held likewise.
 * What breaks off is told with an error event. */
#include "relay/stream.h"

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "exchange/exchange.h"
#include "exchange/quota.h"
#include "relay/heads.h"
#include "relay/kind.h"
#include "relay/pace.h"
#include "relay/ping.h"
#include "relay/rewrite.h"
#include "relay/tap.h"
#include "wire/jscan.h"
#include "wire/jsplice.h"
#include "wire/openai_err.h"

#define EVENT_MAX (STREAM_MEDIA_MAX + 4096) /* bytes of any, changed */

static void queue_bytes(struct stream *s, struct str bytes)
{
    struct exchange *x = s->x;

    if (bytes.len == 0 || !x->client)
        return;
    s->sent_us = (int64_t)clock_mono_us();
    if (x->out->first_us == 0)
        x->out->first_us = s->sent_us;
    x->out->bytes += bytes.len;
    x->client->ops->send(x->client, bytes);
}

/* ---- events ------------------------------------------------------------ */

static void note_event(struct stream *s, const struct sse_event *ev,
                       const struct sse_verdict *v)
{
    struct exchange *x = s->x;
    const bool said =
        v->scanned && usage_from_scan(&x->out->usage, &s->judge.scan);
    size_t text;

    if (said)
        x->out->usage_passed = false;
    if (said || s->judge.kind == ENDPOINT_END_MESSAGES) /* before its end */
        x->out->usage_final = s->judge.complete && x->out->usage.present;
    if (!ev->has_data || v->done)
        return;
    if (x->conf->keepalive == CONF_KEEPALIVE_CHUNK && v->scanned &&
        s->noop.len == 0 && x->in->ep.row->kind == ENDPOINT_CHAT)
        s->noop = ping_shape(x, s->judge.scan.text);
    text = rewrite_text_bytes(ev->data, s->judge.kind);
    if (text == 0)
        return;
    x->out->text_bytes += text;
    x->out->usage_passed = x->out->usage.present && !said;
    x->out->events++;
    if (s->content_us != 0)
        hist_observe(&x->w->stats->inter_token,
                     clock_mono_us() - (uint64_t)s->content_us);
    s->content_us = (int64_t)clock_mono_us();
}

/* What <ev> must lose or get before the client sees it. */
static struct rewrite changes_of(const struct stream *s,
                                 const struct sse_event *ev,
                                 const struct sse_verdict *v)
{
    struct rewrite how = {.usage_null = false};

    if (!ev->has_data || v->done)
        return how;
    how.model = s->model;
    how.usage_null = v->usage_null && s->x->ask->add_usage;
    return how;
}

/* Append <ev>, changed, to <out>; false when it stays as it is. */
static bool change_event(struct stream *s, const struct sse_event *ev,
                         const struct sse_verdict *v, struct buf *out)
{
    struct rewrite how = changes_of(s, ev, v);
    const struct jscan *scan = &s->judge.scan;
    struct jscan own;
    struct buf data;
    enum err e;

    if (how.model.len == 0 && !how.usage_null)
        return false;
    if (!v->scanned) {
        if (jscan_run(&own, ev->data, &jscan_reply, NULL) != ERR_OK)
            return false;
        scan = &own;
    }
    buf_init(&data, EVENT_MAX);
    e = rewrite_json(&how, scan, &data);
    if (e == ERR_OK)
        e = rewrite_put_event(ev, buf_str(&data), out);
    buf_fini(&data);
    return e == ERR_OK;
}

/* How long the last event waits for the end: a call that is shared ends when
 * the one who pays for it has settled. */
static int64_t tail_ms(const struct exchange *x)
{
    return x->found->how == RECALL_JOINED ? STREAM_SHARED_TAIL_MS
                                          : STREAM_TAIL_MS;
}

/* Whether this event ends the stream for good: nothing may follow it. */
static bool is_last(const struct stream *s, const struct sse_verdict *v)
{
    return v->done || (v->ends && s->judge.kind != ENDPOINT_END_CHAT) ||
           v->error;
}

static void send_event(struct stream *s, const struct sse_event *ev,
                       const struct sse_verdict *v)
{
    struct str bytes = ev->raw;
    struct buf changed;

    buf_init(&changed, EVENT_MAX);
    if (change_event(s, ev, v, &changed))
        bytes = buf_str(&changed);
    tap_put(s->x, bytes);
    if (is_last(s, v)) {
        s->tail_us = (int64_t)clock_mono_us() + tail_ms(s->x) * 1000;
        if (buf_put_str(&s->tail, bytes) != ERR_OK)
            queue_bytes(s, bytes);
    } else {
        queue_bytes(s, bytes);
    }
    buf_fini(&changed);
}

/* ERR_BUDGET_CUT: the budget does not afford what is in it. */
static enum err pass_event(struct stream *s, const struct sse_event *ev)
{
    struct sse_verdict v;

    if (ev->has_data && pace_is_on(s->x) &&
        !pace_take(s->x, rewrite_text_tokens(ev->data, s->judge.kind)))
        return ERR_BUDGET_CUT;
    sse_judge_event(&s->judge, ev, &v);
    tap_event(s->x, ev, &v);
    note_event(s, ev, &v);
    if (!v.usage_only || !s->x->ask->add_usage)
        send_event(s, ev, &v);
    return ERR_OK;
}

/* Keep <bytes> until there is budget for what is in them. */
static enum err park(struct stream *s, struct str bytes)
{
    s->parked = true;
    return buf_put_str(&s->later, bytes);
}

static enum err take_events(struct stream *s, struct str bytes)
{
    struct sse_event ev;

    while (s->tail_us == 0) {
        enum err e;

        if (pace_is_on(s->x) && pace_next(s->x) == PACE_WAIT)
            return park(s, bytes);
        e = sse_in_next(&s->in, &bytes, &ev);
        if (e == ERR_AGAIN)
            return ERR_OK;
        if (e == ERR_OK)
            e = pass_event(s, &ev);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* Bytes of a reply that is no event stream. Those that complete a body of known
 * length would tell the client that all is over, so they wait for the end. */
static void take_bytes(struct stream *s, struct str bytes)
{
    const struct exchange *x = s->x;
    int64_t length = x->work->head->length;

    tap_put(s->x, bytes);
    if (length >= 0 && !s->tunnel &&
        x->out->bytes + bytes.len >= (uint64_t)length &&
        buf_put_str(&s->tail, bytes) == ERR_OK)
        return;
    queue_bytes(s, bytes);
}

/* ---- the end ----------------------------------------------------------- */

static void put_error_event(struct stream *s)
{
    struct exchange *x = s->x;
    struct err_reply r = {
        .shape = x->in->ep.shape,
        .code = x->fail.err,
        .message = x->fail.text,
        .request_id = str_from(x->name),
    };
    struct buf b;

    buf_init(&b, 16 * 1024);
    if (err_event_put(&b, &r) == ERR_OK)
        queue_bytes(s, buf_str(&b));
    buf_fini(&b);
}

/* What stood at the end without the blank line that ends an event: clients
 * differ in whether they read it, so it is completed if it is whole. */
static void take_rest(struct stream *s)
{
    struct exchange *x = s->x;
    struct str rest = sse_in_pending(&s->in);
    struct str fill =
        sse_in_tail(&s->in) == SSE_TAIL_TORN ? STR("\n\n") : STR("\n");
    struct sse_event ev;
    struct sse_verdict v;
    struct sse_judge probe = s->judge;

    if (s->tail_us != 0 || rest.len == 0)
        return;
    if (sse_in_end(&s->in, &ev) != ERR_OK &&
        sse_in_next(&s->in, &fill, &ev) != ERR_OK)
        return;
    sse_judge_event(&probe, &ev, &v);
    if (ev.has_data && !v.done && !jscan_is_valid(ev.data)) {
        log_info(LOG_RELAY, "stream ends within an event: id=%s", x->name);
        return;
    }
    (void)pass_event(s, &ev); /* the last one: nothing comes of a cut */
}

static void stream_complete(struct stream *s)
{
    struct exchange *x = s->x;

    queue_bytes(s, buf_str(&s->tail));
    buf_clear(&s->tail);
    s->ended = true;
    x->out->unended = s->events && s->tail_us == 0;
    if (!s->judge.failed)
        tap_done(x);
    if (x->client)
        x->client->ops->finish(x->client);
    exchange_wake(x, WAKE_END);
}

void stream_break(struct stream *s)
{
    struct exchange *x = s->x;

    s->ended = true;
    if (!x->client)
        return;
    stats_inc(x->w->stats, STAT_STREAM_BROKEN);
    if (s->events && !s->tunnel) {
        put_error_event(s);
        x->client->ops->finish(x->client);
        return;
    }
    if (s->tunnel)
        x->client->ops->finish(x->client);
    else
        x->client->ops->abort(x->client);
}

static void on_end(struct sink *k, const struct produce_end *how)
{
    struct stream *s = (struct stream *)(void *)k;
    struct exchange *x = s->x;

    s->from = NULL;
    if (s->ended)
        return;
    if (s->parked) {
        s->over = true;
        s->how = *how;
        return;
    }
    if (s->events)
        take_rest(s);
    if (s->events &&
        (s->judge.complete ||
         (s->judge.kind == ENDPOINT_END_NONE && how->err == ERR_OK))) {
        stream_complete(s);
        return;
    }
    if (!s->events && (how->err == ERR_OK || s->tunnel)) {
        stream_complete(s);
        return;
    }
    (void)exchange_fail(
        x, how->err == ERR_UP_TIMEOUT ? ERR_UP_TIMEOUT : ERR_UP_INCOMPLETE,
        "The upstream's stream broke off%s%s.", how->text ? ": " : "",
        how->text ? how->text : "");
    stream_break(s);
    exchange_wake(x, WAKE_END);
}

/* ---- what it is -------------------------------------------------------- */

/* Let the first <bytes> that are no space tell what the reply is. One that is
 * no event stream goes on byte by byte, with what was kept of it. */
static void decide_kind(struct stream *s, struct str bytes)
{
    bytes = json_skip_space(bytes);
    if (bytes.len == 0)
        return;
    s->unsure = false;
    if (stream_begins_events(bytes))
        return;
    queue_bytes(s, sse_in_pending(&s->in));
    sse_in_fini(&s->in);
    event_del(&s->timer);
    s->timer_on = false;
    s->events = false;
    s->x->out->streaming = false;
}

/* ---- the producer's calls ---------------------------------------------- */

static void on_head(struct sink *k, const struct reply_head *head)
{
    (void)k, (void)head; /* serve/ took it before it gave us the producer */
}

/* The stream cannot go on, by <e>. */
static void give_up(struct exchange *x, enum err e)
{
    if (e == ERR_BUDGET_CUT)
        (void)exchange_fail(x, e, "%s", quota_cut_text(x));
    else
        (void)exchange_fail(x, ERR_UP_BAD,
                            "The upstream sent an event that is too large.");
    exchange_wake(x, WAKE_FAIL);
}

/* Let <bytes> pass. After a failure <s> is gone, unless the stage runs. */
static void push_bytes(struct stream *s, struct str bytes)
{
    enum err e = ERR_OK;

    if (s->unsure)
        decide_kind(s, bytes);
    if (s->events)
        e = take_events(s, bytes);
    else
        take_bytes(s, bytes);
    if (e != ERR_OK) {
        give_up(s->x, e);
        return;
    }
    if (s->tail_us != 0 && s->timer_on) {
        int64_t ms = tail_ms(s->x);
        struct timeval tv = {ms / 1000, ms % 1000 * 1000};

        event_add(&s->timer, &tv);
    }
}

static enum flow on_data(struct sink *k, struct str bytes)
{
    struct stream *s = (struct stream *)(void *)k;
    struct exchange *x = s->x;

    if (s->ended || (!x->client && !s->lonely))
        return FLOW_MORE; /* thrown away: the end is near */
    if (s->parked) {
        s->paused = true;
        return FLOW_PAUSE;
    }
    if (x->client && !tap_is_shared(x) &&
        x->client->ops->queued(x->client) >=
            x->client->ops->high_water(x->client)) {
        s->paused = true;
        stats_inc(x->w->stats, STAT_UP_PAUSED);
        return FLOW_PAUSE;
    }
    push_bytes(s, bytes);
    return FLOW_MORE;
}

static const struct sink_ops stream_sink = {on_head, on_data, on_end};

void stream_unpark(struct stream *s)
{
    struct buf bytes = s->later;
    enum err e;

    if (!s->parked)
        return;
    s->parked = false;
    buf_init(&s->later, EVENT_MAX);
    e = take_events(s, buf_str(&bytes));
    buf_fini(&bytes);
    if (e != ERR_OK) {
        give_up(s->x, e);
        return; /* <s> is gone */
    }
    if (s->parked)
        return;
    if (s->over)
        on_end(&s->sink, &s->how);
    else
        stream_drained(s);
}

void stream_outlive(struct stream *s)
{
    s->lonely = true;
    stream_drained(s);
}

void stream_drained(struct stream *s)
{
    if (!s->paused || !s->from || s->parked)
        return;
    s->paused = false;
    s->from->ops->resume(s->from);
}

/* ---- pings ------------------------------------------------------------- */

static void put_ping(struct stream *s)
{
    struct buf b;

    buf_init(&b, 1024);
    if (ping_put(s->x, s->noop, &b) == ERR_OK) {
        stats_inc(s->x->w->stats, STAT_PINGS);
        queue_bytes(s, buf_str(&b));
    }
    buf_fini(&b);
}

static void timer_arm(struct stream *s, int64_t wait_us)
{
    struct timeval tv;

    if (wait_us < 1000)
        wait_us = 1000;
    tv = (struct timeval){wait_us / 1000000, wait_us % 1000000};
    event_add(&s->timer, &tv);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct stream *s = arg;
    struct exchange *x = s->x;
    int64_t every_us = x->conf->keepalive_ms * 1000, due_us, now_us;

    (void)fd;
    (void)what;
    clock_update();
    now_us = (int64_t)clock_mono_us();
    if (s->tail_us != 0) {
        stream_complete(s);
        return;
    }
    if (x->conf->keepalive == CONF_KEEPALIVE_OFF || every_us <= 0)
        return;
    due_us = s->sent_us + every_us;
    if (now_us >= due_us) {
        if (x->client && !s->unsure && x->client->ops->queued(x->client) == 0)
            put_ping(s);
        due_us = now_us + every_us;
    }
    timer_arm(s, due_us - now_us);
}

/* ---- start and stop ---------------------------------------------------- */

static void stream_init(struct stream *s, struct exchange *x)
{
    *s = (struct stream){.sink = {&stream_sink},
                         .x = x,
                         .from = x->work->producer,
                         .sent_us = (int64_t)clock_mono_us()};
    s->tunnel = x->work->head->status == 101;
    s->unsure = stream_may_be_events(x);
    s->events = s->unsure || (!s->tunnel && x->work->head->status < 300 &&
                              stream_is_events(x));
    s->lonely = !x->client;
    buf_init(&s->tail, EVENT_MAX);
    buf_init(&s->later, EVENT_MAX);
    if (!s->events)
        return;
    sse_in_init(&s->in, stream_event_bound(x), stream_event_bound(x));
    sse_judge_init(&s->judge, x->in->ep.row->end, x->ask->n);
    if (x->work->renamed)
        s->model = json_quote(x->arena, x->ask->model);
    event_assign(&s->timer, x->w->base, -1, 0, on_timer, s);
    s->timer_on = true;
    timer_arm(s, x->conf->keepalive_ms * 1000);
}

/* Bytes that serve had collected before it gave up collecting. */
static void pass_collected(struct stream *s)
{
    struct exchange *x = s->x;

    if (x->work->body.len == 0)
        return;
    if (s->events) {
        struct buf bytes = x->work->body;

        buf_init(&x->work->body, 0);
        push_bytes(s, buf_str(&bytes));
        buf_fini(&bytes);
        return;
    }
    tap_put(x, buf_str(&x->work->body));
    if (!x->client)
        return;
    x->out->bytes += x->work->body.len;
    x->out->first_us = (int64_t)clock_mono_us();
    x->client->ops->send_buf(x->client, &x->work->body);
}

bool stream_start(struct exchange *x)
{
    struct stream *s = arena_alloc(x->arena, sizeof(*s));
    struct reply_head head;
    int64_t length;

    if (!s) {
        (void)exchange_fail(x, ERR_NOMEM, NULL);
        return false;
    }
    length = stream_is_events(x) || stream_may_be_events(x)
                 ? -1
                 : x->work->head->length;
    if (heads_relayed(x, length, &head) != ERR_OK) {
        (void)exchange_fail(x, ERR_NOMEM, NULL);
        return false;
    }
    x->stage_data = s;
    stream_init(s, x);
    tap_start(x, &head, s->events);
    x->out->status = head.status;
    x->out->streaming = s->events;
    if (x->client)
        x->client->ops->reply(x->client, &head);
    if (s->tunnel && x->client) {
        stats_inc(x->w->stats, STAT_TUNNELS);
        x->client->ops->tunnel(x->client);
    }
    pass_collected(s);
    x->w->streams++;
    s->from->ops->redirect(s->from, &s->sink);
    s->from->ops->resume(s->from);
    return true;
}

void stream_fini(struct stream *s)
{
    struct exchange *x = s->x;

    if (s->timer_on)
        event_del(&s->timer);
    s->timer_on = false;
    if (s->events)
        sse_in_fini(&s->in);
    buf_fini(&s->tail);
    buf_fini(&s->later);
    x->w->streams--;
    if (s->from) {
        struct producer *p = s->from;

        s->from = NULL;
        p->ops->cancel(p);
    }
}
