/* replay.c - How bytes that were recorded become a reply again: a body as one
 * that was collected, a stream by a producer that plays it; and one as the
 * other, where the request differs in nothing but how it wants its reply. */
#include <string.h>

#include "base/log.h"
#include "conf/conf.h"
#include "exchange/exchange.h"
#include "exchange/leg.h"
#include "exchange/stored.h"
#include "exchange/tape.h"
#include "recall/cache.h"
#include "recall/job.h"
#include "recall/play.h"
#include "recall/record.h"
#include "store/cache_store.h"
#include "wire/fold.h"
#include "wire/unfold.h"

/* How much longer than the one a body of the other mode may be. */
#define TRANSLATED_TIMES 8
#define TRANSLATED_EXTRA 65536

/* --- what the row and the metrics say ------------------------------------ */

/* The configured text that stands for the model of <x> in metrics, where
 * <target> served it. */
static struct str label_of(const struct exchange *x, struct str target)
{
    const struct conf *c = x->conf;
    const struct conf_route *r = conf_route_find(c, x->ask->model);

    if (r)
        return r->model;
    for (size_t i = 0; i < c->engine.n_models; i++)
        if (str_eq(c->engine.models[i].name, x->ask->model))
            return c->engine.models[i].name;
    for (size_t i = 0; i < c->n_upstreams; i++) {
        const struct conf_upstream *up = &c->upstreams[i];

        if (!str_eq(up->name, target))
            continue;
        for (size_t k = 0; k < up->n_models; k++)
            if (str_glob(up->models[k], x->ask->model))
                return up->models[k];
    }
    return STR("*");
}

/* <s> in the arena; false without memory. */
static bool keep_text(struct exchange *x, struct str *s)
{
    struct str copy = {NULL, 0};

    if (s->len > 0) {
        copy = arena_dup(x->arena, *s);
        if (!copy.p)
            return false;
    }
    *s = copy;
    return true;
}

/* Note what the one who paid paid. */
static bool take_sum(struct exchange *x, const struct tape_sum *from)
{
    struct tape_sum *sum;

    if (!from)
        return true;
    sum = arena_alloc(x->arena, sizeof(*sum));
    if (!sum)
        return false;
    *sum = *from;
    if (!keep_text(x, &sum->target) || !keep_text(x, &sum->target_model))
        return false;
    x->found->sum = sum;
    stored_name(x, sum->target, sum->target_model, sum->finish);
    return true;
}

/* The head of a reply of <length> bytes (-1: unknown) like <h>; NULL without
 * memory. */
static const struct reply_head *head_of(struct exchange *x,
                                        const struct tape_head *h,
                                        int64_t length)
{
    struct reply_head *head = arena_alloc(x->arena, sizeof(*head));

    if (!head)
        return NULL;
    *head = (struct reply_head){.status = h->status, .length = length};
    if (h->type.len > 0 && headers_add(&head->headers, x->arena,
                                       STR("Content-Type"), h->type) != ERR_OK)
        return NULL;
    return head;
}

/* --- bodies and streams -------------------------------------------------- */

/* Have <body> sent as it is. */
static bool send_body(struct exchange *x, const struct tape_head *h,
                      struct str body)
{
    struct buf copy;
    const struct stored_reply r = {
        .head = head_of(x, h, (int64_t)body.len),
        .body = &copy,
        .label = label_of(x, x->work->target_name),
    };

    buf_init(&copy, body.len);
    if (!r.head || buf_put_str(&copy, body) != ERR_OK)
        return false;
    stored_take(x, &r);
    return true;
}

/* Have <t> played. */
static bool send_tape(struct exchange *x, struct tape *t, bool paced)
{
    struct stored_reply r = {
        .head = head_of(x, tape_head(t), -1),
        .label = label_of(x, x->work->target_name),
    };

    r.producer = r.head ? play_new(x, t, paced) : NULL;
    if (!r.producer)
        return false;
    stored_take(x, &r);
    return true;
}

/* Have one event stream sent that is all there. */
static bool send_events(struct job *j, struct str events)
{
    const struct tape_head head = {
        .status = 200, .type = STR("text/event-stream"), .events = true};
    struct tape *t = tape_new(events.len, j->cache->n_workers);
    struct str event;
    bool ok;

    if (!t)
        return false;
    tape_start(t, &head);
    while (unfold_next(&events, &event))
        tape_put(t, event);
    tape_end(t, true, NULL);
    ok = send_tape(j->x, t, false);
    tape_unref(t);
    return ok;
}

/* All frames of a whole tape, one behind the other. */
static enum err tape_body(const struct tape *t, struct buf *out)
{
    struct tape_pos pos = {.at = 0};
    struct str frame;
    enum err e = ERR_OK;
    uint32_t ms;

    while (e == ERR_OK && tape_scan(t, &pos, &frame, &ms))
        e = buf_put_str(out, frame);
    return e;
}

/* --- as the other --------------------------------------------------------- */

/* What the one who paid was told that it used. */
static struct usage usage_of(const struct tape_sum *sum)
{
    struct usage u = {
        .input = (int64_t)sum->tok[ROW_TOK_INPUT],
        .cache_read = (int64_t)sum->tok[ROW_TOK_CACHE_READ],
        .cache_write_5m = (int64_t)sum->tok[ROW_TOK_CACHE_WRITE_5M],
        .cache_write_1h = (int64_t)sum->tok[ROW_TOK_CACHE_WRITE_1H],
        .audio_in = (int64_t)sum->tok[ROW_TOK_AUDIO_IN],
        .output = (int64_t)sum->tok[ROW_TOK_OUTPUT],
        .reasoning = (int64_t)sum->tok[ROW_TOK_REASONING],
        .audio_out = (int64_t)sum->tok[ROW_TOK_AUDIO_OUT],
        .said = USAGE_INPUT | USAGE_OUTPUT,
        .present = true,
    };

    return u;
}

static bool asks_usage(const struct exchange *x)
{
    const struct jmember v =
        jscan_find(x->ask->scan->text, "stream_options.include_usage");
    bool on = false;

    return jval_bool(&v, &on) == ERR_OK && on;
}

/* Make the other mode of <body>, a stream where <events>. */
static bool send_translated(struct job *j, const struct record_view *v)
{
    const struct tape_head json = {.status = 200,
                                   .type = STR("application/json")};
    struct exchange *x = j->x;
    const enum endpoint kind = x->in->ep.row->kind;
    struct usage told;
    struct buf out;
    bool ok;

    buf_init(&out, v->body.len * TRANSLATED_TIMES + TRANSLATED_EXTRA);
    if (v->head.events) {
        if (v->has_sum)
            told = usage_of(&v->sum);
        ok = fold_events(kind, v->body,
                         v->has_sum && !v->sum.estimated ? &told : NULL,
                         &out) == ERR_OK &&
             send_body(x, &json, buf_str(&out));
    } else {
        ok = unfold_reply(kind, v->body, asks_usage(x), &out) == ERR_OK &&
             send_events(j, buf_str(&out));
    }
    buf_fini(&out);
    return ok;
}

/* --- the three ways in ---------------------------------------------------- */

static bool replay_stream(struct job *j)
{
    const bool paced = j->x->conf->cache.pace == CONF_PACE_RECORDED;
    struct tape *t;
    bool ok;

    if (record_open(buf_str(&j->bytes), j->cache->n_workers, &t) != ERR_OK)
        return false;
    ok = send_tape(j->x, t, paced);
    tape_unref(t);
    return ok;
}

bool replay_bytes(struct job *j)
{
    struct exchange *x = j->x;
    struct record_view v;
    bool ok;

    if (record_view(buf_str(&j->bytes), &v) != ERR_OK ||
        !take_sum(x, v.has_sum ? &v.sum : NULL)) {
        buf_fini(&j->bytes);
        return false;
    }
    if (!j->found.is_exact)
        ok = v.head.events != j->key.streams && send_translated(j, &v);
    else if (v.head.events)
        ok = replay_stream(j);
    else
        ok = send_body(x, &v.head, v.body);
    buf_fini(&j->bytes);
    if (ok)
        x->found->how = RECALL_HIT;
    else
        x->found->sum = NULL;
    return ok;
}

bool replay_tape(struct job *j)
{
    struct exchange *x = j->x;
    struct tape *t = j->tape;
    const bool whole = tape_state(t) == TAPE_COMPLETE;
    struct buf body;
    bool ok;

    if (whole && !take_sum(x, tape_sum(t)))
        return false;
    if (tape_head(t)->events) {
        ok = send_tape(x, t, false);
    } else {
        buf_init(&body, tape_bytes(t));
        ok = tape_is_whole(t) && tape_body(t, &body) == ERR_OK &&
             send_body(x, tape_head(t), buf_str(&body));
        buf_fini(&body);
    }
    x->found->how = ok ? RECALL_JOINED : x->found->how;
    return ok;
}

bool replay_rescue(struct job *j)
{
    struct exchange *x = j->x;
    struct producer *flows = x->work->producer;
    const struct leg_end how = {.why = x->fail.err,
                                .status = x->fail.upstream_status,
                                .sent = x->work->sent,
                                .usage = x->work->told};

    if (flows)
        flows->ops->cancel(flows);
    lead_end(j);
    if ((x->work->attempts > 0 && leg_part(x, &how) != ERR_OK) ||
        !replay_bytes(j)) {
        if (flows) /* the error reply that it gave cannot be sent any more */
            (void)exchange_fail(x, ERR_UP_UNAVAILABLE, NULL);
        return false;
    }
    x->found->stale = true;
    return true;
}
