/* upfix.c - See upfix.h. */
#include "lib/upfix.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MUST(cond)                                                             \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "upfix: %s:%d: %s\n", __FILE__, __LINE__, #cond);  \
            abort();                                                           \
        }                                                                      \
    } while (0)

/* --- the sink ----------------------------------------------------------- */

static void on_head(struct sink *sink, const struct reply_head *head)
{
    struct seen *s = (struct seen *)sink;

    MUST(!s->ended && s->heads == 0);
    s->heads++;
    s->status = head->status;
    s->length = head->length;
    s->headers = head->headers;
    if (s->hook)
        s->hook(s);
}

static enum flow on_data(struct sink *sink, struct str bytes)
{
    struct seen *s = (struct seen *)sink;

    MUST(!s->ended && s->heads == 1 && bytes.len > 0);
    if (s->pause_every > 0 && s->calls % s->pause_every == 0 && !s->told) {
        s->told = s->paused = true;
        s->pauses++;
        return FLOW_PAUSE;
    }
    s->told = s->paused = false;
    s->calls++;
    s->bytes += bytes.len;
    if (!s->forget)
        MUST(buf_put_str(&s->body, bytes) == ERR_OK);
    if (s->hook)
        s->hook(s);
    return FLOW_MORE;
}

static void on_end(struct sink *sink, const struct produce_end *how)
{
    struct seen *s = (struct seen *)sink;

    MUST(!s->ended);
    s->ended = true;
    s->err = how->err;
    snprintf(s->text, sizeof(s->text), "%s", how->text ? how->text : "");
    s->sent = s->producer && xfer_was_sent(s->producer);
    s->producer = NULL;
    if (s->hook)
        s->hook(s);
}

static const struct sink_ops seen_ops = {on_head, on_data, on_end};

void seen_init(struct seen *s)
{
    memset(s, 0, sizeof(*s));
    s->sink.ops = &seen_ops;
    buf_init(&s->body, 256 * 1024 * 1024);
}

void seen_fini(struct seen *s)
{
    buf_fini(&s->body);
}

const char *seen_text(struct seen *s)
{
    MUST(buf_put(&s->body, "", 1) == ERR_OK);
    s->body.len--;
    return s->body.p;
}

/* --- the world ---------------------------------------------------------- */

static void body_taken(struct client *c)
{
    struct upfix *f =
        (struct upfix *)(void *)((char *)c - offsetof(struct upfix, client));

    f->taken++;
}

static const struct client_ops client_ops = {.body_taken = body_taken};

void upfix_init(struct upfix *f, const char *host, uint16_t port, bool tls)
{
    struct conf_upstream *up = &f->up;

    memset(f, 0, sizeof(*f));
    MUST(upstream_boot() == ERR_OK);
    alarm(120); /* a test that hangs dies */
    snprintf(f->host, sizeof(f->host), "%s", host ? host : "127.0.0.1");
    snprintf(f->origin, sizeof(f->origin), "%s://%s:%u", tls ? "https" : "http",
             f->host, port);
    snprintf(f->text, sizeof(f->text), "%s/v1", f->origin);
    up->name = STR("test");
    up->url = (struct conf_url){tls,
                                port,
                                str_from(f->host),
                                STR("/v1"),
                                str_from(f->origin),
                                str_from(f->text)};
    up->timeouts = (struct conf_timeouts){5000, 60000, 60000, 120000};
    up->tls.verify = true;
    f->key.hidden_ = STR("sk-provider");
    up->keys = &f->key;
    up->n_keys = 1;
    f->w.base = event_base_new();
    f->w.stats = &f->stats;
    f->resolver = resolver_new();
    f->pool = upstream_pool_new(&f->w, f->resolver);
    f->w.upstreams = f->pool;
    f->arena = arena_new(4096, 64 * 1024 * 1024);
    MUST(f->w.base && f->resolver && f->pool && f->arena);
    chunk_pool_init(&f->chunks, 16);
    chunkq_init(&f->in.stream, &f->chunks, 1024 * 1024 * 1024);
    f->client.ops = &client_ops;
    f->x.arena = f->arena;
    f->x.w = &f->w;
    f->x.in = &f->in;
    f->x.client = &f->client;
}

void upfix_fini(struct upfix *f)
{
    upstream_pool_free(f->pool);
    resolver_free(f->resolver);
    chunkq_fini(&f->in.stream);
    chunk_pool_fini(&f->chunks);
    arena_free(f->arena);
    event_base_free(f->w.base);
}

void upfix_client(struct upfix *f, const char *lines)
{
    char *text = arena_printf(
        f->arena, "POST /v1/x HTTP/1.1\r\nHost: tollgate\r\n%s\r\n", lines);

    MUST(text);
    MUST(http1_parse(str_from(text), f->table, HTTP1_FIELDS, &f->head) ==
         ERR_OK);
}

struct xfer_spec upfix_spec(struct upfix *f, const char *method,
                            const char *suffix, const char *body)
{
    struct xfer_spec spec = {
        .up = &f->up,
        .method = str_from(method),
        .suffix = str_from(suffix),
        .client_head = f->head.headers ? &f->head : NULL,
        .body_kind = body ? XFER_BODY_BYTES : XFER_BODY_NONE,
        .body = str_from(body),
    };

    return spec;
}

void upfix_start(struct upfix *f, const struct xfer_spec *spec, struct seen *s)
{
    clock_update();
    s->producer = xfer_start(f->pool, &f->x, spec, &s->sink);
    MUST(s->producer);
    MUST(!s->ended && s->heads == 0);
}

void upfix_turn(struct upfix *f)
{
    MUST(event_base_loop(f->w.base, EVLOOP_NONBLOCK) >= 0);
}

void upfix_until(struct upfix *f, const bool *flag)
{
    while (!*(const volatile bool *)flag)
        MUST(event_base_loop(f->w.base, EVLOOP_ONCE) >= 0);
}

void upfix_wait(struct upfix *f, struct seen *s)
{
    while (!s->ended) {
        if (s->paused && s->producer) {
            s->paused = false;
            s->producer->ops->resume(s->producer);
        }
        MUST(event_base_loop(f->w.base, EVLOOP_ONCE) >= 0);
    }
}

void upfix_run(struct upfix *f, const struct xfer_spec *spec, struct seen *s)
{
    upfix_start(f, spec, s);
    upfix_wait(f, s);
}

void upfix_once(struct upfix *f, const struct xfer_spec *spec, struct seen *s)
{
    seen_init(s);
    upfix_run(f, spec, s);
}
