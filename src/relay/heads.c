/* heads.c - See heads.h. Every end-to-end field of the upstream crosses as it
 * came; only its x-request-id steps aside, since that name is how clients and
 * our log agree on a request, and its rate limits are left out where the
 * caller has limits of its own: one client cannot obey two. */
#include "relay/heads.h"

#include "account/rate.h"
#include "base/clock.h"
#include "exchange/cost.h"
#include "exchange/exchange.h"
#include "exchange/soft.h"

/* What a 503 of ours asks clients to wait when nothing better is known. */
#define RETRY_AFTER_MS 1000

/* Soft budgets of a key and its team told in one reply. */
#define WARNING_BYTES_MAX 2048

#define ADD(h, x, name, value)                                                 \
    headers_add(&(h)->headers, (x)->arena, STR(name), (value))

static enum err add_number(struct reply_head *h, struct exchange *x,
                           struct str name, int64_t v)
{
    char text[STR_I64_MAX];

    return headers_add(&h->headers, x->arena, name, str_put_i64(text, v));
}

/* Names of the three fields of a limit. */
struct level_names {
    struct str limit, left, reset;
};

static const struct level_names request_names = {
    {"x-ratelimit-limit-requests", 26},
    {"x-ratelimit-remaining-requests", 30},
    {"x-ratelimit-reset-requests", 26},
};

static const struct level_names token_names = {
    {"x-ratelimit-limit-tokens", 24},
    {"x-ratelimit-remaining-tokens", 28},
    {"x-ratelimit-reset-tokens", 24},
};

/* Add what <l> says, where there is a limit. */
static enum err add_level(struct reply_head *h, struct exchange *x,
                          const struct level_names *n,
                          const struct rate_level *l)
{
    char span[CLOCK_SPAN_SIZE];
    enum err e;

    if (l->limit == 0)
        return ERR_OK;
    clock_format_span(l->reset_ms, span);
    e = add_number(h, x, n->limit, (int64_t)l->limit);
    if (e == ERR_OK)
        e = add_number(h, x, n->left, (int64_t)l->left);
    return e == ERR_OK
               ? headers_add(&h->headers, x->arena, n->reset, str_from(span))
               : e;
}

/* What is left of the caller's limits. */
static struct rate_view rates_now(const struct exchange *x)
{
    struct rate_view v = {.is_limited = false};

    if (x->who->rate)
        rate_view(x->who->rate, clock_mono_us(), &v);
    return v;
}

/* Add what <v> says. */
static enum err add_rates(struct reply_head *h, struct exchange *x,
                          const struct rate_view *v)
{
    enum err e = add_level(h, x, &request_names, &v->of[RATE_REQUESTS]);

    return e == ERR_OK ? add_level(h, x, &token_names, &v->of[RATE_TOKENS]) : e;
}

/* Add what soft budgets are passed. */
static enum err add_warning(struct reply_head *h, struct exchange *x)
{
    struct buf text;
    enum err e = ERR_OK;

    buf_init(&text, WARNING_BYTES_MAX);
    soft_warning(x, &text);
    if (text.len > 0)
        e = ADD(h, x, "x-tollgate-budget-warning", buf_str(&text));
    buf_fini(&text);
    return e;
}

enum err heads_own(struct exchange *x, struct reply_head *out)
{
    const struct rate_view rates = rates_now(x);
    enum err e = ADD(out, x, "x-request-id", str_from(x->name));

    if (e == ERR_OK && x->in->ep.shape == ENDPOINT_SHAPE_ANTHROPIC)
        e = ADD(out, x, "request-id", str_from(x->name));
    if (e == ERR_OK)
        e = add_rates(out, x, &rates);
    return e == ERR_OK ? add_warning(out, x) : e;
}

static bool begins(struct str name, struct str with)
{
    return name.len >= with.len && str_ieq(str_of(name.p, with.len), with);
}

static bool is_rate_field(struct str name)
{
    return begins(name, STR("x-ratelimit-")) ||
           begins(name, STR("anthropic-ratelimit-"));
}

/* Whether we say something else than the upstream there. */
static bool is_replaced(const struct work *w, struct str name)
{
    if (w->no_retry && str_ieq(name, STR("x-should-retry")))
        return true;
    return w->retry_after_ms > 0 && (str_ieq(name, STR("retry-after")) ||
                                     str_ieq(name, STR("retry-after-ms")));
}

/* The upstream's fields; of its limits none where the caller has its own. */
static enum err copy_fields(struct exchange *x, bool limited,
                            struct reply_head *out)
{
    const struct header *f = x->work->head->headers.first;

    for (; f; f = f->next) {
        struct str name = f->name;
        enum err e;

        if (limited && is_rate_field(name))
            continue;
        if (is_replaced(x->work, name))
            continue;
        if (str_ieq(name, STR("x-request-id")))
            name = STR("x-upstream-request-id");
        e = headers_share(&out->headers, x->arena, name, f);
        if (e != ERR_OK)
            return e;
    }
    return ERR_OK;
}

/* What the reply costs, where it is known by now. */
static enum err add_cost(struct exchange *x, struct reply_head *out)
{
    char text[PRICE_USD_SIZE];
    struct price_cost cost;

    if (!cost_before_body(x, &cost))
        return ERR_OK;
    return ADD(out, x, "x-tollgate-cost-usd", price_print_usd(cost.nusd, text));
}

/* Where the reply came from, and how old it is. */
static enum err add_cache(struct exchange *x, struct reply_head *out)
{
    enum err e = ADD(out, x, "x-tollgate-cache", recall_name(x->found->how));

    if (e == ERR_OK && x->found->how == RECALL_HIT && !exchange_has_failed(x))
        e = add_number(out, x, STR("age"),
                       x->found->age_s > 0 ? x->found->age_s : 0);
    return e;
}

static enum err add_tollgate(struct exchange *x, struct reply_head *out)
{
    const int64_t chosen_us = x->stage_us[STAGE_SERVE]
                                  ? x->stage_us[STAGE_SERVE]
                                  : x->stage_us[STAGE_RELAY];
    int64_t overhead_us = chosen_us - x->in->head_us;
    enum err e = ERR_OK;

    if (x->work->target_name.len > 0) /* else of a call that goes on */
        e = ADD(out, x, "x-tollgate-target", x->work->target_name);
    if (e == ERR_OK)
        e = add_number(out, x, STR("x-tollgate-attempts"), x->work->attempts);
    if (e == ERR_OK)
        e = add_cache(x, out);
    if (e == ERR_OK)
        e = add_number(out, x, STR("x-tollgate-overhead-us"),
                       overhead_us < 0 ? 0 : overhead_us);
    /* A model's name may hold bytes that no field value may: leave it out. */
    return e == ERR_SYNTAX ? ERR_OK : e;
}

/* When to come again. */
static enum err add_wait(struct exchange *x, int64_t ms, struct reply_head *out)
{
    enum err e = add_number(out, x, STR("retry-after"), (ms + 999) / 1000);

    return e == ERR_OK ? add_number(out, x, STR("retry-after-ms"), ms) : e;
}

/* What serve/ has an error say in place of what its upstream did. */
static enum err add_instead(struct exchange *x, struct reply_head *out)
{
    enum err e = ERR_OK;

    if (x->work->retry_after_ms > 0)
        e = add_wait(x, x->work->retry_after_ms, out);
    if (e == ERR_OK && x->work->no_retry)
        e = ADD(out, x, "x-should-retry", STR("false"));
    return e;
}

enum err heads_relayed(struct exchange *x, int64_t length,
                       struct reply_head *out)
{
    const struct rate_view rates = rates_now(x);
    enum err e;

    *out =
        (struct reply_head){.status = x->work->head->status, .length = length};
    e = copy_fields(x, rates.is_limited, out);
    if (e == ERR_OK)
        e = ADD(out, x, "x-request-id", str_from(x->name));
    if (e == ERR_OK)
        e = add_instead(x, out);
    if (e == ERR_OK)
        e = add_cost(x, out);
    if (e == ERR_OK)
        e = add_rates(out, x, &rates);
    if (e == ERR_OK)
        e = add_warning(out, x);
    return e == ERR_OK ? add_tollgate(x, out) : e;
}

static enum err add_retry(struct exchange *x, struct reply_head *out)
{
    enum retry_hint hint = err_row(x->fail.err)->retry;
    int64_t ms = x->fail.retry_after_ms;
    enum err e = ERR_OK;

    if (ms < 0 && err_row(x->fail.err)->status == 503 && hint != RETRY_NO)
        ms = RETRY_AFTER_MS;
    if (ms >= 0)
        e = add_wait(x, ms, out);
    if (e == ERR_OK && hint != RETRY_UNSAID)
        e = ADD(out, x, "x-should-retry",
                hint == RETRY_YES ? STR("true") : STR("false"));
    return e;
}

enum err heads_error(struct exchange *x, int64_t length, struct reply_head *out)
{
    enum err e;

    *out = (struct reply_head){.status = err_row(x->fail.err)->status,
                               .length = length};
    e = ADD(out, x, "Content-Type", STR("application/json"));
    if (e == ERR_OK)
        e = heads_own(x, out);
    if (e == ERR_OK)
        e = add_retry(x, out);
    if (e == ERR_OK && x->fail.allow.len > 0)
        e = ADD(out, x, "Allow", x->fail.allow);
    if (e == ERR_OK && x->fail.err == ERR_AUTH)
        e = ADD(out, x, "WWW-Authenticate", STR("Bearer"));
    if (e == ERR_OK && x->work->attempts > 0)
        e = add_tollgate(x, out);
    else if (e == ERR_OK && x->found->how != RECALL_BYPASS)
        e = add_cache(x, out);
    return e;
}
