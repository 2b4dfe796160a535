/* relay.c - Chooses how the reply is sent and says how it ended. Exactly one
 * of finish() and abort() is called on a client that is still there. */
#include "relay/relay.h"

#include "base/clock.h"
#include "base/log.h"
#include "exchange/exchange.h"
#include "exchange/quota.h"
#include "relay/heads.h"
#include "relay/rewrite.h"
#include "relay/stream.h"
#include "relay/tap.h"
#include "wire/jscan.h"
#include "wire/jsplice.h"
#include "wire/openai_err.h"

#define ERROR_BODY_MAX (16u * 1024)
#define REWRITE_EXTRA  4096 /* bytes a renamed reply may grow by */

static void send_whole(struct exchange *x, const struct reply_head *head,
                       struct buf *body)
{
    x->out->status = head->status;
    x->out->bytes = body->len;
    x->out->first_us = (int64_t)clock_mono_us();
    if (!x->client)
        return;
    x->client->ops->reply(x->client, head);
    x->client->ops->send_buf(x->client, body);
    x->client->ops->finish(x->client);
}

static enum verdict send_error(struct exchange *x)
{
    struct err_reply r = {
        .shape = x->in->ep.shape,
        .code = x->fail.err,
        .message = x->fail.text,
        .param = str_from(x->fail.param),
        .request_id = str_from(x->name),
        .upstream_status = x->fail.upstream_status,
    };
    struct reply_head head;
    struct buf body;

    buf_init(&body, ERROR_BODY_MAX);
    x->out->end = REPLY_ERROR;
    if (err_body_put(&body, &r) != ERR_OK ||
        heads_error(x, (int64_t)body.len, &head) != ERR_OK) {
        log_warn(LOG_RELAY, "no memory for an error reply: id=%s", x->name);
        x->client->ops->abort(x->client);
    } else {
        send_whole(x, &head, &body);
    }
    buf_fini(&body);
    return VERDICT_GO;
}

static enum verdict send_local(struct exchange *x)
{
    struct reply_head *head = &x->local.head;

    x->out->end = REPLY_COMPLETE;
    if (heads_own(x, head) != ERR_OK) {
        (void)exchange_fail(x, ERR_NOMEM, NULL);
        return send_error(x);
    }
    send_whole(x, head, &x->local.body);
    return VERDICT_GO;
}

static enum verdict send_collected(struct exchange *x)
{
    const struct jscan *scan = x->work->scan;
    struct buf renamed, *body = &x->work->body;
    struct rewrite how = {.usage_null = false};
    struct reply_head head;

    buf_init(&renamed, body->len + REWRITE_EXTRA);
    if (scan && x->work->renamed && x->work->head->status < 300)
        how.model = json_quote(x->arena, x->ask->model);
    if (how.model.len > 0 && rewrite_json(&how, scan, &renamed) == ERR_OK)
        body = &renamed;
    if (x->out->end == REPLY_OPEN)
        x->out->end = REPLY_COMPLETE;
    if (heads_relayed(x, (int64_t)body->len, &head) != ERR_OK) {
        (void)exchange_fail(x, ERR_NOMEM, NULL);
        buf_fini(&renamed);
        return send_error(x);
    }
    tap_whole(x, buf_str(body));
    send_whole(x, &head, body);
    buf_fini(&renamed);
    return VERDICT_GO;
}

static enum verdict gone(struct exchange *x)
{
    (void)exchange_fail(x, ERR_CLIENT_GONE, NULL);
    x->out->end = REPLY_GONE;
    stats_inc(x->w->stats, STAT_CLIENT_GONE);
    return VERDICT_GO;
}

/* The client left before its reply came: a stream is read all the same where
 * serve does so for the usage. */
static enum verdict outlive(struct exchange *x)
{
    const bool reads_on = quota_is_lonely(x) && x->work->producer &&
                          !x->work->collected && !x->local.ready;

    (void)gone(x);
    if (!reads_on)
        return VERDICT_GO;
    if (stream_start(x))
        return VERDICT_WAIT;
    x->work->producer->ops->cancel(x->work->producer);
    return VERDICT_GO;
}

/* The client has left, or there never was one, but others want the reply. */
static enum verdict carry(struct exchange *x)
{
    if (exchange_has_failed(x)) {
        x->out->end = REPLY_ERROR;
        return VERDICT_GO;
    }
    if (!x->found->refresh)
        (void)gone(x);
    if (x->work->collected)
        return send_collected(x);
    if (stream_start(x))
        return VERDICT_WAIT;
    x->work->producer->ops->cancel(x->work->producer);
    return VERDICT_GO;
}

/* Whether somebody else waits for the reply, or it is to be kept. */
static bool is_wanted(struct exchange *x)
{
    return x->found->wanted && x->found->wanted(x);
}

/* Whether the call went so that what is kept is better than its reply. */
static bool went_badly(const struct exchange *x)
{
    if (exchange_has_failed(x))
        return err_row(x->fail.err)->status >= 500;
    return x->work->badly;
}

enum verdict relay_run(struct exchange *x)
{
    /* a reply that is here has its price, whoever still wants it */
    if (x->work->collected && x->work->scan)
        (void)usage_from_scan(&x->out->usage, x->work->scan);
    if (!x->client)
        return is_wanted(x) ? carry(x) : outlive(x);
    if (x->found->rescue && went_badly(x) && x->found->rescue(x))
        log_debug(LOG_RELAY, "stored reply instead: id=%s", x->name);
    if (exchange_has_failed(x))
        return send_error(x);
    if (x->local.ready)
        return send_local(x);
    if (x->work->collected)
        return send_collected(x);
    if (stream_start(x))
        return VERDICT_WAIT;
    x->work->producer->ops->cancel(x->work->producer);
    return send_error(x);
}

static enum verdict finish(struct exchange *x, struct stream *s)
{
    if (x->out->end == REPLY_OPEN)
        x->out->end = exchange_has_failed(x) || s->judge.failed
                          ? REPLY_INCOMPLETE
                          : REPLY_COMPLETE;
    stream_fini(s);
    return VERDICT_GO;
}

enum verdict relay_resume(struct exchange *x, enum wake why)
{
    struct stream *s = x->stage_data;

    switch (why) {
    case WAKE_DRAINED:
        stream_drained(s);
        return VERDICT_WAIT;
    case WAKE_END:
        return finish(x, s);
    case WAKE_GONE:
        (void)gone(x);
        if (is_wanted(x)) {
            stream_outlive(s);
            return VERDICT_WAIT;
        }
        if (!s->events || !s->from || !quota_linger(x))
            return finish(x, s);
        stream_outlive(s);
        return VERDICT_WAIT;
    case WAKE_READERS:
        if (x->client || is_wanted(x)) {
            stream_drained(s);
            return VERDICT_WAIT;
        }
        if (quota_is_lonely(x))
            return VERDICT_WAIT;
        return !s->events || !s->from || !quota_linger(x) ? finish(x, s)
                                                          : VERDICT_WAIT;
    case WAKE_QUOTA:
        if (s->from && s->from->ops->quota_ready)
            s->from->ops->quota_ready(s->from);
        else if (quota_is_lonely(x))
            return finish(x, s);
        else
            stream_unpark(s);
        return VERDICT_WAIT;
    case WAKE_FAIL:
        stream_break(s);
        return finish(x, s);
    case WAKE_DRAIN:
        (void)exchange_fail(x, ERR_DRAINING, "The gateway is shutting down.");
        stream_break(s);
        return finish(x, s);
    default:
        return VERDICT_WAIT;
    }
}
