/* local.c - Health, metrics, the list of models and the root page. None of
 * them calls an upstream. */
#include "daemon/local.h"

#include "account/key.h"
#include "account/ledger.h"
#include "base/clock.h"
#include "conf/conf.h"
#include "daemon/daemon.h"
#include "daemon/status.h"
#include "engine/engine.h"
#include "exchange/exchange.h"
#include "serve/route.h"
#include "wire/jsplice.h"

#define LOCAL_BODY_MAX (16u * 1024 * 1024)
#define JSON           STR("application/json")
#define TEXT           STR("text/plain; charset=utf-8")

static struct daemon *daemon_of(const struct exchange *x)
{
    return ((const struct daemon_worker *)(const void *)x->w)->d;
}

static void reply(struct exchange *x, int status, struct str type)
{
    struct local_reply *l = &x->local;

    l->head.status = status;
    l->head.length = (int64_t)l->body.len;
    if (headers_add(&l->head.headers, x->arena, STR("Content-Type"), type) !=
        ERR_OK) {
        (void)exchange_fail(x, ERR_NOMEM, NULL);
        return;
    }
    l->ready = true;
}

static void reply_text(struct exchange *x, int status, struct str type,
                       struct str text)
{
    if (buf_put_str(&x->local.body, text) != ERR_OK) {
        (void)exchange_fail(x, ERR_NOMEM, NULL);
        return;
    }
    reply(x, status, type);
}

/* ---- health ------------------------------------------------------------ */

static bool is_ready(const struct daemon *d)
{
    return atomic_load(&d->state) == DAEMON_READY &&
           ledger_state(d->ledger) == LEDGER_OK &&
           watch_silent_ms(d) < WATCH_SILENT_MS &&
           engine_stage(d->engine) == ENGINE_STAGE_READY;
}

static void answer_readyz(struct exchange *x)
{
    struct daemon *d = daemon_of(x);

    if (is_ready(d))
        reply_text(x, 200, JSON, STR("{\"status\":\"ok\"}\n"));
    else if (atomic_load(&d->state) == DAEMON_STARTING)
        reply_text(x, 503, JSON, STR("{\"status\":\"starting\"}\n"));
    else if (atomic_load(&d->state) != DAEMON_READY)
        reply_text(x, 503, JSON, STR("{\"status\":\"draining\"}\n"));
    else if (ledger_state(d->ledger) != LEDGER_OK)
        reply_text(x, 503, JSON, STR("{\"status\":\"ledger unavailable\"}\n"));
    else if (watch_silent_ms(d) >= WATCH_SILENT_MS)
        reply_text(x, 503, JSON, STR("{\"status\":\"a worker is stuck\"}\n"));
    else if (engine_stage(d->engine) == ENGINE_STAGE_LOADING)
        reply_text(x, 503, JSON, STR("{\"status\":\"models are loading\"}\n"));
    else
        reply_text(x, 503, JSON,
                   STR("{\"status\":\"a model cannot be loaded\"}\n"));
}

static void answer_liveliness(struct exchange *x)
{
    if (atomic_load(&daemon_of(x)->state) == DAEMON_READY)
        reply_text(x, 200, JSON, STR("\"I'm alive!\"\n"));
    else
        reply_text(x, 503, JSON, STR("\"draining\"\n"));
}

static void answer_readiness(struct exchange *x)
{
    if (is_ready(daemon_of(x)))
        reply_text(x, 200, JSON, STR("{\"status\":\"healthy\"}\n"));
    else
        reply_text(x, 503, JSON, STR("{\"status\":\"unhealthy\"}\n"));
}

/* Who may see them is front's to judge, which knows the listener. */
static void answer_metrics(struct exchange *x)
{
    if (status_metrics(daemon_of(x), x->conf, &x->local.body) != ERR_OK) {
        (void)exchange_fail(x, ERR_NOMEM, NULL);
        return;
    }
    reply(x, 200, STR("text/plain; version=0.0.4; charset=utf-8"));
}

/* ---- models ------------------------------------------------------------ */

/* A name already listed. */
struct seen {
    struct seen *next; /* arena */
    struct str name;   /* arena */
};

/* A list in the making. */
struct model_list {
    struct exchange *x;
    struct buf *out;
    struct seen *seen; /* arena */
    size_t n_seen;
    struct str only; /* list just this one; empty = all */
    struct str first, last;
    bool anthropic;
    bool full; /* no memory */
};

static bool seen_before(struct model_list *l, struct str model)
{
    struct seen *fresh;

    for (const struct seen *s = l->seen; s; s = s->next)
        if (str_eq(s->name, model))
            return true;
    fresh = arena_alloc(l->x->arena, sizeof(*fresh));
    if (fresh)
        fresh->name = arena_dup(l->x->arena, model);
    if (!fresh || !fresh->name.p) {
        l->full = true;
        return true;
    }
    fresh->next = l->seen;
    l->seen = fresh;
    l->n_seen++;
    return false;
}

/* What the engine knows of a model that it serves, under the names that
 * clients of vLLM, of OpenRouter and of llama.cpp read. */
static enum err put_engine(struct model_list *l, const struct engine_view *v)
{
    return buf_printf(
        l->out,
        ",\"max_model_len\":%llu,\"context_length\":%llu,"
        "\"meta\":{\"n_ctx\":%llu,\"n_ctx_train\":%llu,"
        "\"n_vocab\":%llu,\"n_embd\":%llu,\"size\":%llu}",
        (unsigned long long)v->context, (unsigned long long)v->context,
        (unsigned long long)v->context, (unsigned long long)v->trained,
        (unsigned long long)v->n_vocab, (unsigned long long)v->d_model,
        (unsigned long long)v->weight_bytes);
}

/* The engine model that answers for <model>, if there is one. */
static bool model_engine(const struct exchange *x, struct str model,
                         struct engine_view *out)
{
    const struct conf_engine_model *m = route_engine(x->conf, model);

    return m && engine_find(x->w->svc->engine, m->name, out);
}

/* One object that carries both dialects' members: clients of either read
 * theirs and ignore the rest. */
static enum err put_model(struct model_list *l, struct str model,
                          struct str owner)
{
    uint64_t since_ms = daemon_of(l->x)->start_wall_ms;
    char date[CLOCK_RFC3339_SIZE];
    struct engine_view v;
    bool own = model_engine(l->x, model, &v);
    enum err e;

    if (own && v.created_s > 0)
        since_ms = (uint64_t)v.created_s * 1000;

    clock_format_rfc3339(since_ms - since_ms % 1000, date);
    e = buf_printf(l->out, "{\"id\":");
    if (e == ERR_OK)
        e = json_put_str(l->out, model);
    if (e == ERR_OK && l->anthropic)
        e = buf_printf(l->out, ",\"type\":\"model\",\"display_name\":");
    if (e == ERR_OK && l->anthropic)
        e = json_put_str(l->out, model);
    if (e == ERR_OK && l->anthropic)
        e = buf_printf(l->out, ",\"created_at\":\"%s\"}", date);
    if (e == ERR_OK && !l->anthropic)
        e = buf_printf(l->out,
                       ",\"object\":\"model\",\"created\":%llu,\"owned_by\":",
                       (unsigned long long)(since_ms / 1000));
    if (e == ERR_OK && !l->anthropic)
        e = json_put_str(l->out, owner);
    if (e == ERR_OK && !l->anthropic && own)
        e = put_engine(l, &v);
    if (e == ERR_OK && !l->anthropic)
        e = buf_put(l->out, "}", 1);
    return e;
}

static void list_model(struct str model, struct str owner, void *arg)
{
    struct model_list *l = arg;
    const struct key *key = l->x->who->key;
    struct engine_view v;

    if (l->only.len > 0 && !str_eq(l->only, model))
        return;
    if (!l->x->conf->routes_given && model_engine(l->x, model, &v) && v.failed)
        return; /* nobody can be served by it */
    if ((key && !key_may_use(key, model)) || seen_before(l, model) || l->full)
        return;
    if (l->n_seen > 1 && buf_put(l->out, ",", 1) != ERR_OK)
        l->full = true;
    if (put_model(l, model, owner) != ERR_OK)
        l->full = true;
    l->last = l->seen->name;
    if (l->n_seen == 1)
        l->first = l->last;
}

static enum err put_ids(struct model_list *l)
{
    enum err e = buf_printf(l->out, ",\"first_id\":");

    if (e == ERR_OK)
        e = l->first.len ? json_put_str(l->out, l->first)
                         : buf_put(l->out, "null", 4);
    if (e == ERR_OK)
        e = buf_printf(l->out, ",\"last_id\":");
    if (e == ERR_OK)
        e = l->last.len ? json_put_str(l->out, l->last)
                        : buf_put(l->out, "null", 4);
    return e;
}

static void model_list_init(struct model_list *l, struct exchange *x)
{
    *l = (struct model_list){.x = x, .out = &x->local.body};
    l->anthropic = x->in->ep.shape == ENDPOINT_SHAPE_ANTHROPIC;
}

static void answer_models(struct exchange *x)
{
    struct model_list l;
    enum err e;

    model_list_init(&l, x);
    e = l.anthropic ? buf_printf(l.out, "{\"data\":[")
                    : buf_printf(l.out, "{\"object\":\"list\",\"data\":[");
    route_models(x->conf, x->w->svc->discover, list_model, &l);
    if (e == ERR_OK)
        e = buf_printf(l.out, "],\"has_more\":false");
    if (e == ERR_OK)
        e = put_ids(&l);
    if (e == ERR_OK)
        e = buf_put(l.out, "}\n", 2);
    if (e != ERR_OK || l.full)
        (void)exchange_fail(x, ERR_NOMEM, NULL);
    else
        reply(x, 200, JSON);
}

static void answer_model(struct exchange *x)
{
    struct model_list l;
    char room[512];
    struct str id;
    const struct key *key = x->who->key;

    model_list_init(&l, x);
    if (endpoint_decode(x->in->ep.model, room, sizeof(room), &id) == ERR_OK &&
        (!key || key_may_use(key, id))) {
        l.only = id;
        route_models(x->conf, x->w->svc->discover, list_model, &l);
        /* A name that only a glob serves is listed nowhere, yet it is there. */
        if (l.n_seen == 0 && route_serves(x->conf, x->w->svc->discover, id))
            list_model(id, STR("tollgate"), &l);
    }
    if (l.full)
        (void)exchange_fail(x, ERR_NOMEM, NULL);
    else if (l.n_seen == 0)
        (void)exchange_fail_param(x, ERR_MODEL_NOT_FOUND, "model", "%s",
                                  err_row(ERR_MODEL_NOT_FOUND)->message);
    else
        reply(x, 200, JSON);
}

/* What may be asked of a URL; a page's preflight is answered in front. */
static void answer_options(struct exchange *x)
{
    struct reply_head *h = &x->local.head;

    *h = (struct reply_head){.status = 204, .length = 0};
    if (headers_add(&h->headers, x->arena, STR("Allow"),
                    str_from(x->in->ep.row->allow)) != ERR_OK) {
        (void)exchange_fail(x, ERR_NOMEM, NULL);
        return;
    }
    x->local.ready = true;
}

/* ---- all --------------------------------------------------------------- */

void local_answer(struct exchange *x)
{
    if (x->local.ready || exchange_has_failed(x))
        return;
    buf_init(&x->local.body, LOCAL_BODY_MAX);
    switch (x->in->ep.row->kind) {
    case ENDPOINT_MODELS:
        answer_models(x);
        break;
    case ENDPOINT_MODEL:
        answer_model(x);
        break;
    case ENDPOINT_ROOT:
        reply_text(x, 200, TEXT, STR("tollgate\n"));
        break;
    case ENDPOINT_HEALTHZ:
    case ENDPOINT_HEALTH:
        reply_text(x, 200, JSON, STR("{\"status\":\"ok\"}\n"));
        break;
    case ENDPOINT_READYZ:
        answer_readyz(x);
        break;
    case ENDPOINT_LIVELINESS:
        answer_liveliness(x);
        break;
    case ENDPOINT_READINESS:
        answer_readiness(x);
        break;
    case ENDPOINT_METRICS:
        answer_metrics(x);
        break;
    case ENDPOINT_OPTIONS:
        answer_options(x);
        break;
    default:
        (void)exchange_fail(x, ERR_UNKNOWN_URL, NULL);
        break;
    }
}
