/* attempt.c - How a reply is judged by its head:
 *
 *   401, 403              our own key was refused: 502, the reason is logged
 *   5xx, not JSON         mapped to our own JSON error
 *   event stream, 2xx     committed at once, relay takes over the producer
 *   JSON                  collected up to a bound, so that a broken reply can
 *                         still become a clean error; beyond it, streamed
 *   text that must be     the same
 *   JSON
 *   anything else         streamed as it comes
 *
 * While a reply is collected nothing has been sent to the client. What the
 * engine replies is whole and well made before its head comes, and it counts
 * itself what it cost: it is never collected, so that a large one is no work
 * of a single turn. What it fails with, it has told already. */
#include "serve/attempt.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "engine/engine.h"
#include "exchange/exchange.h"
#include "serve/delay.h"
#include "serve/retry.h"
#include "serve/splice.h"
#include "serve/target.h"
#include "upstream/upstream.h"
#include "wire/jscan.h"

#define REPLY_COLLECT_MAX (64u * 1024 * 1024) /* bytes of a collected reply */
#define ERROR_TEXT_MAX    1024 /* bytes of an error's words that matter */

/* An attempt; in the exchange's arena. */
struct attempt {
    struct sink sink;              /* first: what the producer knows of us */
    struct exchange *x;            /* borrowed */
    struct choice choice;          /* by value */
    struct target_pass pass;       /* by value: what it was let in with */
    const struct reply_head *head; /* arena; NULL before it came */
    bool collect;                  /* bytes go to x->work->body */
    enum err outcome;              /* what target_leave() is told */
    const char *outcome_text;      /* static or arena, or NULL */
};

static struct str media_type(const struct reply_head *head)
{
    struct str v = headers_value(&head->headers, STR("Content-Type"));

    v.len = str_find_char(v, ';');
    return str_trim(v);
}

static bool is_json(const struct reply_head *head)
{
    struct str v = media_type(head);

    return str_ieq(v, STR("application/json")) ||
           (v.len > 5 && str_ieq(str_skip(v, v.len - 5), STR("+json")));
}

/* Keys that requests to the target carry one of; 0 = none, as the engine. */
static size_t key_count(const struct attempt *a)
{
    return a->choice.up ? a->choice.up->n_keys : 0;
}

/* A word of the error object of the reply, empty where it has none. */
static struct str error_word(const struct exchange *x, const char *name)
{
    const struct jmember *error;
    struct jmember m;
    struct str word = STR("");

    if (!x->work->scan)
        return word;
    error = &x->work->scan->m[JREP_ERROR];
    m = jval_member(error, str_from(name));
    if (jval_str(&m, ERROR_TEXT_MAX, x->arena, &word) != ERR_OK)
        return STR("");
    return word;
}

static enum retry_hint hint_of(const struct reply_head *head)
{
    struct str v = headers_value(&head->headers, STR("x-should-retry"));

    return str_ieq(v, STR("true"))    ? RETRY_YES
           : str_ieq(v, STR("false")) ? RETRY_NO
                                      : RETRY_UNSAID;
}

/* When to come again, as the reply says. */
static struct delay delay_of(const struct attempt *a)
{
    return delay_of_reply(&a->head->headers, a->head->status, clock_wall_ms());
}

/* Tell the target how <a> ended: with <e>, or with its reply. */
static void attempt_tell(struct attempt *a, enum err e)
{
    struct exchange *x = a->x;
    struct retry_end end = {
        .err = e, .sent = x->work->sent, .own_key = key_count(a) > 0};
    struct retry_verdict v;

    if (a->head) {
        end.status = a->head->status;
        end.hint = hint_of(a->head);
        end.delay = delay_of(a);
    }
    if (end.status >= 400) {
        end.type = error_word(x, "type");
        end.code = error_word(x, "code");
        end.message = error_word(x, "message");
    }
    v = retry_judge(&end);
    target_tell(&a->pass, a->choice.up, &v, clock_mono_ms());
}

/* The attempt is over for the target. */
static void attempt_leave(struct attempt *a, enum err e, const char *text)
{
    target_leave(&a->pass, a->choice.up, e, text, clock_mono_ms());
}

/* Whether a target is not to blame for <e>: only the engine judges requests
 * that way; budgets end where they end, or where the ledger fails. */
static bool is_clients_fault(enum err e)
{
    int status = err_row(e)->status;

    return e == ERR_QUOTA || e == ERR_BUDGET_CUT || e == ERR_LEDGER ||
           (e > ERR_REFUSED && status >= 400 && status < 429);
}

static void attempt_release(struct exchange *x)
{
    struct attempt *a = x->work->attempt;
    enum err e = a->outcome;

    if (e == ERR_OK)
        e = x->fail.err;
    if (is_clients_fault(e))
        e = ERR_OK;
    attempt_leave(a, e, a->outcome_text);
}

/* Give up with <e>; the exchange learns it, and relay tells the client. */
static void attempt_fail(struct attempt *a, enum err e, const char *text)
{
    struct exchange *x = a->x;

    a->outcome = e;
    a->outcome_text = text;
    attempt_tell(a, e);
    if (a->choice.up)
        stats_inc(x->w->stats, STAT_UP_FAILED);
    log_at(is_clients_fault(e) ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, LOG_ROUTE,
           "attempt failed: id=%s target=%.*s error=%s reason=\"%s\"", x->name,
           STR_ARG(x->work->target_name), err_name(e), text ? text : "");
    (void)exchange_fail(x, e, "%s%s%s%s", err_row(e)->message, text ? " (" : "",
                        text ? text : "", text ? ")" : "");
    if (a->head)
        x->fail.upstream_status = a->head->status;
    exchange_wake(x, WAKE_FAIL);
}

static void attempt_commit(struct attempt *a)
{
    struct exchange *x = a->x;

    x->work->head = a->head;
    exchange_wake(x, WAKE_HEAD);
}

/* The status line that a non-JSON error of an upstream becomes. */
static enum err map_status(int status)
{
    if (status == 429)
        return ERR_RATE_REQUESTS;
    if (status == 503 || status == 529)
        return ERR_UP_UNAVAILABLE;
    if (status == 504 || status == 408)
        return ERR_UP_TIMEOUT;
    return ERR_UP_BAD;
}

/* Whether an upstream refuses our key: only when we sent one. Without a key
 * of ours the refusal is meant for the client. */
static bool refuses_key(const struct attempt *a)
{
    int status = a->head->status;

    return (status == 401 || status == 403) && key_count(a) > 0;
}

/* Whether a good reply of this type can be nothing but JSON, though it does not
 * say so: text, or no type at all, where all there is to get is JSON. */
static bool must_be_json(const struct exchange *x,
                         const struct reply_head *head)
{
    struct str v = media_type(head);

    switch (x->in->ep.row->usage) {
    case ENDPOINT_USAGE_CHAT:
    case ENDPOINT_USAGE_EMBEDDINGS:
    case ENDPOINT_USAGE_RESPONSES:
    case ENDPOINT_USAGE_MESSAGES:
    case ENDPOINT_USAGE_COUNT:
    case ENDPOINT_USAGE_RERANK:
        break;
    default:
        return false;
    }
    if (x->ask->stream || head->status != 200)
        return false;
    return v.len == 0 ||
           (str_ieq(str_of(v.p, v.len < 5 ? v.len : 5), STR("text/")) &&
            !str_ieq(v, STR("text/event-stream")));
}

static bool wants_collect(const struct attempt *a)
{
    const struct exchange *x = a->x;
    const struct reply_head *head = a->head;

    if (!a->choice.up)
        return false;
    if (headers_are_coded(&head->headers))
        return false;
    if (x->in->head.method == HTTP1_HEAD || head->status == 204 ||
        head->status == 304 || head->status == 101)
        return false;
    if (head->length > (int64_t)REPLY_COLLECT_MAX)
        return false;
    if (head->status >= 400)
        return true;
    /* Of what is passed on only replies that tell their usage are read. */
    return (is_json(head) || must_be_json(x, head)) &&
           (!a->choice.passthrough ||
            x->in->ep.row->usage != ENDPOINT_USAGE_NONE);
}

/* The upstream refuses our key, which is nothing that a client can mend. */
static void fail_key(struct attempt *a)
{
    int status = a->head->status;

    log_warn(LOG_ROUTE,
             "upstream refuses our key: upstream=%.*s key=%u status=%d",
             STR_ARG(a->choice.up->name), a->pass.key, status);
    attempt_fail(a, ERR_UP_AUTH,
                 arena_printf(a->x->arena, "it answered %d", status));
}

static void on_head(struct sink *s, const struct reply_head *head)
{
    struct attempt *a = (struct attempt *)(void *)s;
    struct exchange *x = a->x;

    a->head = head;
    x->work->head_us = (int64_t)clock_mono_us();
    a->collect = wants_collect(a);
    if (a->collect) {
        buf_init(&x->work->body, REPLY_COLLECT_MAX);
        return;
    }
    if (refuses_key(a)) {
        fail_key(a);
        return;
    }
    attempt_tell(a, ERR_OK);
    attempt_commit(a);
}

static enum flow on_data(struct sink *s, struct str bytes)
{
    struct attempt *a = (struct attempt *)(void *)s;
    struct exchange *x = a->x;

    if (!a->collect)
        return FLOW_PAUSE; /* relay has not taken over yet */
    if (bytes.len > REPLY_COLLECT_MAX - x->work->body.len) {
        a->collect = false;
        attempt_commit(a);
        return FLOW_PAUSE;
    }
    if (a->head->length > 0 && x->work->body.room == 0 &&
        buf_reserve(&x->work->body, (size_t)a->head->length) != ERR_OK)
        log_debug(LOG_ROUTE, "no room ahead for a reply: id=%s", x->name);
    if (buf_put_str(&x->work->body, bytes) != ERR_OK) {
        a->collect = false;
        attempt_commit(a);
        return FLOW_PAUSE;
    }
    return FLOW_MORE;
}

/* Scan the collected reply, once for everybody; false when it is not JSON. As
 * clients do, a byte-order mark is passed over. */
static bool reply_scan(struct exchange *x)
{
    struct jscan *scan = arena_alloc(x->arena, sizeof(*scan));
    struct str text = buf_str(&x->work->body);

    if (str_starts(text, STR("\xEF\xBB\xBF")))
        text = str_skip(text, 3);
    if (!scan || jscan_run(scan, text, &jscan_reply, NULL) != ERR_OK)
        return false;
    x->work->scan = scan;
    return true;
}

/* An upstream that echoes what it was sent must not show our key. */
static void mask_key(struct attempt *a)
{
    const struct conf_upstream *up = a->choice.up;
    struct str key, rest = buf_str(&a->x->work->body);

    if (a->pass.key >= key_count(a))
        return;
    key = secret_reveal(&up->keys[a->pass.key]);
    while (key.len > 0 && rest.len >= key.len) {
        size_t at = str_find(rest, key);

        if (at == rest.len)
            return;
        memset(a->x->work->body.p + (rest.p + at - a->x->work->body.p), '*',
               key.len);
        rest = str_skip(rest, at + key.len);
    }
}

static void judge_error_reply(struct attempt *a)
{
    struct exchange *x = a->x;
    int status = a->head->status;
    struct delay delay;
    const char *text;
    bool is_text;

    mask_key(a);
    is_text = !reply_scan(x);
    attempt_tell(a, ERR_OK);
    if (refuses_key(a)) {
        fail_key(a);
        return;
    }
    if (is_text && status >= 500) {
        text = arena_printf(x->arena, "it answered %d without JSON", status);
        delay = delay_of(a);
        if (delay.from != DELAY_UNSAID)
            x->fail.retry_after_ms = (int64_t)delay.ms;
        attempt_fail(a, map_status(status), text);
        return;
    }
    if (status == 429 || status >= 500) {
        a->outcome = map_status(status);
        a->outcome_text = arena_printf(x->arena, "it answered %d", status);
    }
    x->work->collected = true;
    attempt_commit(a);
}

/* Whether the request may have left. What reaches the engine costs nothing
 * until x->made says so. */
static bool was_sent(const struct attempt *a)
{
    return a->choice.up && xfer_was_sent(a->x->work->producer);
}

static void on_end(struct sink *s, const struct produce_end *how)
{
    struct attempt *a = (struct attempt *)(void *)s;
    struct exchange *x = a->x;

    x->work->sent = was_sent(a);
    x->work->producer = NULL;
    if (how->err != ERR_OK || !a->head) {
        enum err e = how->err == ERR_OK ? ERR_UP_BAD : how->err;

        attempt_fail(a, e == ERR_UP_INCOMPLETE ? ERR_UP_BAD : e, how->text);
        return;
    }
    if (a->head->status >= 400) {
        judge_error_reply(a);
        return;
    }
    if (!reply_scan(x)) {
        attempt_fail(a, ERR_UP_BAD, "its body is not valid JSON");
        return;
    }
    attempt_tell(a, ERR_OK);
    x->work->collected = true;
    attempt_commit(a);
}

static const struct sink_ops attempt_sink = {on_head, on_data, on_end};

static enum err attempt_body(struct attempt *a, struct xfer_spec *spec)
{
    struct exchange *x = a->x;
    bool add = x->ask->add_usage;
    enum err e;

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
    buf_fini(&x->work->request);
    buf_init(&x->work->request, SIZE_MAX / 2);
    e = splice_request(x, a->choice.up, a->choice.model, add, &x->work->request,
                       &spec->body);
    return e;
}

static void attempt_note(struct exchange *x, const struct choice *c)
{
    struct work *work = x->work;

    work->route = c->route;
    work->target = c->target;
    work->label = c->label;
    work->upstream_model = c->model;
    work->renamed =
        c->up && c->model.len > 0 && !str_eq(c->model, x->ask->model);
    work->passthrough = c->passthrough;
    work->engine = !c->up;
    work->target_name = c->up ? c->up->name : c->engine->name;
    work->attempts++;
}

static void attempt_spec(struct exchange *x, const struct choice *c,
                         struct xfer_spec *spec)
{
    spec->up = c->up;
    spec->method = x->in->head.method_text;
    spec->suffix = x->in->ep.suffix;
    spec->query = x->in->head.query;
    spec->model = c->model;
    spec->client_head = &x->in->head;
    spec->streaming_reply = x->ask->stream;
}

/* Count <a> in at its target. */
static enum err attempt_enter(struct attempt *a)
{
    struct exchange *x = a->x;

    switch (target_enter(a->choice.target, a->choice.up, 0, clock_mono_ms(),
                         &a->pass)) {
    case TARGET_FULL:
        return ERR_OVERLOADED;
    case TARGET_SHUT:
        return ERR_UP_UNAVAILABLE;
    default:
        break;
    }
    x->work->attempt = a;
    x->work->release = attempt_release;
    return ERR_OK;
}

/* Hand the request to the engine. */
static enum err attempt_engine(struct attempt *a)
{
    struct exchange *x = a->x;
    enum err e;

    e = attempt_enter(a);
    if (e != ERR_OK)
        return e;
    x->work->producer =
        engine_start(x->w->engine, x, a->choice.engine->name, &a->sink);
    if (x->work->producer)
        return ERR_OK;
    attempt_leave(a, ERR_NOMEM, NULL);
    return ERR_NOMEM;
}

enum err attempt_start(struct exchange *x, const struct choice *c)
{
    struct attempt *a = arena_alloc(x->arena, sizeof(*a));
    struct xfer_spec spec = {0};
    enum err e;

    if (!a)
        return ERR_NOMEM;
    *a = (struct attempt){.sink = {&attempt_sink}, .x = x, .choice = *c};
    attempt_note(x, c);
    if (c->engine)
        return attempt_engine(a);
    attempt_spec(x, c, &spec);
    e = attempt_body(a, &spec);
    if (e == ERR_OK)
        e = attempt_enter(a);
    if (e != ERR_OK)
        return e;
    spec.key_index = a->pass.key == TARGET_NO_KEY ? 0 : a->pass.key;
    stats_inc(x->w->stats, STAT_UP_STARTED);
    x->work->producer = x->in->head.websocket
                            ? tunnel_start(x->w->upstreams, x, &spec, &a->sink)
                            : xfer_start(x->w->upstreams, x, &spec, &a->sink);
    if (x->work->producer)
        return ERR_OK;
    attempt_leave(a, ERR_NOMEM, NULL);
    return ERR_NOMEM;
}

void attempt_cancel(struct exchange *x)
{
    struct producer *p = x->work->producer;

    if (!p)
        return;
    x->work->sent = was_sent(x->work->attempt);
    x->work->producer = NULL;
    p->ops->cancel(p);
}

void attempt_drop_request(struct exchange *x)
{
    const struct producer *p = x->work->producer;
    struct attempt *a = x->work->attempt;

    /* How HTTP/2 sends a body is libcurl's own affair. */
    if (!p || !a->choice.up || x->in->mode != BODY_COLLECT ||
        a->choice.up->http2 || xfer_needs_body(p))
        return;
    buf_fini(&x->work->request);
    exchange_drop_body(x);
    a->choice.model = x->work->upstream_model;
}
