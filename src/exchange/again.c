/* again.c - See again.h. All that the request was parsed from is copied: the
 * one it is a copy of may be gone before this one begins. */
#include "exchange/again.h"

#include <event2/event.h>

#include "base/clock.h"
#include "base/panic.h"
#include "exchange/exchange.h"

/* <s> in the arena <a>, also where it is empty; clears <ok> without memory. */
static struct str keep(struct arena *a, struct str s, bool *ok)
{
    struct str copy = {NULL, 0};

    if (s.len == 0)
        return copy;
    copy = arena_dup(a, s);
    *ok = *ok && copy.p;
    return copy;
}

/* A slice of the text <from>, in its copy <to>. */
static struct str same_slice(struct str s, struct str from, struct str to)
{
    if (s.len == 0)
        return s;
    BUG_ON(s.p < from.p || s.p + s.len > from.p + from.len);
    return str_of(to.p + (s.p - from.p), s.len);
}

static bool head_copy(const struct http1_head *from, struct arena *a,
                      struct http1_head *to)
{
    bool ok = true;

    *to = *from;
    to->method_text = keep(a, from->method_text, &ok);
    to->target = keep(a, from->target, &ok);
    to->host = keep(a, from->host, &ok);
    to->headers = arena_alloc(a, (from->count + 1) * sizeof(*to->headers));
    if (!ok || !to->headers)
        return false;
    to->path = same_slice(from->path, from->target, to->target);
    to->query = same_slice(from->query, from->target, to->target);
    for (size_t i = 0; i < from->count; i++) {
        to->headers[i].name = keep(a, from->headers[i].name, &ok);
        to->headers[i].value = keep(a, from->headers[i].value, &ok);
    }
    return ok;
}

static bool request_copy(const struct exchange *x, struct exchange *copy)
{
    const struct request *from = x->in;
    struct request *to = copy->in;
    bool ok = true;

    if (!head_copy(&from->head, copy->arena, &to->head) ||
        endpoint_lookup(to->head.method, to->head.path, &to->ep) != ERR_OK ||
        buf_put_str(&to->body, buf_str(&from->body)) != ERR_OK)
        return false;
    to->ep.shape = from->ep.shape;
    to->peer = keep(copy->arena, from->peer, &ok);
    to->tls = from->tls;
    to->has_body = from->has_body;
    to->mode = BODY_COLLECT;
    to->body_done = true;
    to->body_bytes = from->body_bytes;
    to->held_bytes = (int64_t)to->body.len;
    stat_shift(&copy->w->stats->buffered_bytes, to->held_bytes);
    to->head_us = to->body_us = copy->start_us;
    return ok;
}

struct exchange *exchange_copy(const struct exchange *x)
{
    struct exchange *copy;

    BUG_ON(!x->in->body_done || x->in->mode != BODY_COLLECT);
    copy = exchange_new(x->w, NULL);
    if (copy && !request_copy(x, copy)) {
        exchange_discard(copy);
        copy = NULL;
    }
    return copy;
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    clock_update();
    exchange_run_unasked(arg);
}

void exchange_run_later(struct exchange *x)
{
    const struct timeval now = {0, 0};

    if (event_base_once(x->w->base, -1, EV_TIMEOUT, on_turn, x, &now) != 0)
        exchange_discard(x);
}
