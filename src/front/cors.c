/* cors.c - See cors.h. Decides that an origin is compared as the text it is,
 * that credentials (cookies) are never part of it - keys travel in headers
 * that the page itself must set - and that the headers asked for are echoed,
 * since clients add their own. */
#include "front/cors.h"

#include "conf/conf.h"
#include "exchange/exchange.h"

#define PREFLIGHT_MAX_AGE STR("86400")

/* Longest header list that is echoed. */
#define ECHO_BYTES 4096

/* Names of ours and of the providers that a page may read. */
static const char exposed[] =
    "x-request-id, request-id, retry-after, retry-after-ms, x-should-retry, "
    "x-ratelimit-limit-requests, x-ratelimit-limit-tokens, "
    "x-ratelimit-remaining-requests, x-ratelimit-remaining-tokens, "
    "x-ratelimit-reset-requests, x-ratelimit-reset-tokens, "
    "x-tollgate-target, x-tollgate-attempts, x-tollgate-cache, "
    "x-tollgate-cost-usd, x-tollgate-overhead-us, x-tollgate-budget-warning, "
    "age, openai-processing-ms, openai-version, openai-organization";

static struct str request_value(const struct exchange *x, struct str name)
{
    const struct http1_header *h = http1_find(&x->in->head, name);

    return h ? h->value : (struct str){NULL, 0};
}

/* What Access-Control-Allow-Origin says to <origin>; empty: nothing. */
static struct str allowed(const struct conf_cors *c, struct str origin)
{
    if (c->any)
        return STR("*");
    for (size_t i = 0; i < c->n_origins; i++) {
        if (str_ieq(c->origins[i], origin))
            return origin;
    }
    return (struct str){NULL, 0};
}

bool cors_is_preflight(const struct exchange *x)
{
    return x->conf->cors.n_origins > 0 && x->in->head.method == HTTP1_OPTIONS &&
           request_value(x, STR("origin")).len > 0 &&
           request_value(x, STR("access-control-request-method")).len > 0;
}

bool cors_is_ours(const struct exchange *x, struct str name)
{
    const struct str family = STR("access-control-");

    return x->conf->cors.n_origins > 0 && name.len > family.len &&
           str_ieq(str_of(name.p, family.len), family) && !cors_is_preflight(x);
}

/* The comma-separated tokens of <list>, as they are; empty when it is not
 * that. */
static struct str echo(struct str list)
{
    struct str rest = list, member;

    if (list.len > ECHO_BYTES)
        return (struct str){NULL, 0};
    while (http1_next_member(&rest, &member)) {
        if (!http1_is_token(member))
            return (struct str){NULL, 0};
    }
    return list;
}

enum err cors_preflight(struct exchange *x)
{
    struct reply_head *h = &x->local.head;
    struct str method, headers;
    enum err e;

    method = echo(request_value(x, STR("access-control-request-method")));
    headers = echo(request_value(x, STR("access-control-request-headers")));
    *h = (struct reply_head){.status = 204, .length = 0};
    e = headers_add(&h->headers, x->arena, STR("Access-Control-Max-Age"),
                    PREFLIGHT_MAX_AGE);
    if (e == ERR_OK && method.len > 0)
        e = headers_add(&h->headers, x->arena,
                        STR("Access-Control-Allow-Methods"), method);
    if (e == ERR_OK && headers.len > 0)
        e = headers_add(&h->headers, x->arena,
                        STR("Access-Control-Allow-Headers"), headers);
    x->local.ready = e == ERR_OK;
    return e;
}

enum err cors_put(const struct exchange *x, struct buf *b)
{
    const struct conf_cors *c = &x->conf->cors;
    struct str origin, allow;
    enum err e = ERR_OK;

    if (c->n_origins == 0)
        return ERR_OK;
    if (!c->any)
        e = http1_put_header(b, STR("Vary"), STR("Origin"));
    origin = request_value(x, STR("origin"));
    allow = allowed(c, origin);
    if (e != ERR_OK || origin.len == 0 || allow.len == 0)
        return e;
    e = http1_put_header(b, STR("Access-Control-Allow-Origin"), allow);
    if (e == ERR_OK && !cors_is_preflight(x))
        e = http1_put_header(b, STR("Access-Control-Expose-Headers"),
                             str_of(exposed, sizeof(exposed) - 1));
    return e;
}
