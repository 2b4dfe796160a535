/* admit.c - Finds the presented secret, has it judged, and answers every bad
 * one with the same 401. What was wrong stands in the log, never in the reply.
 * A key that is good and has reached a limit gets 429.
 * A key is taken from `Authorization: Bearer`, `x-api-key` or `api-key`, or
 * from the WebSocket subprotocol that browsers must use. */
#include "admit/admit.h"

#include "account/keytab.h"
#include "account/ledger.h"
#include "admit/limits.h"
#include "admit/throttle.h"
#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "exchange/exchange.h"

static struct str bearer_token(struct str value)
{
    const struct str scheme = STR("Bearer");

    if (value.len <= scheme.len ||
        !str_ieq(str_of(value.p, scheme.len), scheme) ||
        (value.p[scheme.len] != ' ' && value.p[scheme.len] != '\t'))
        return (struct str){NULL, 0};
    return str_trim(str_skip(value, scheme.len));
}

/* Browsers cannot set headers on a WebSocket: OpenAI's clients then name the
 * key as a subprotocol. */
static struct str subprotocol_token(const struct http1_head *head)
{
    const struct str prefix = STR("openai-insecure-api-key.");
    const struct http1_header *h =
        http1_find(head, STR("Sec-WebSocket-Protocol"));
    struct str list = h ? h->value : (struct str){NULL, 0}, member;

    while (http1_next_member(&list, &member))
        if (str_starts(member, prefix))
            return str_skip(member, prefix.len);
    return (struct str){NULL, 0};
}

static struct str presented_secret(const struct http1_head *head)
{
    const struct http1_header *h = http1_find(head, STR("Authorization"));
    struct str secret = {NULL, 0};

    if (h)
        secret = bearer_token(h->value);
    if (secret.len == 0) {
        h = http1_find(head, STR("x-api-key"));
        secret = h ? h->value : secret;
    }
    if (secret.len == 0) {
        h = http1_find(head, STR("api-key"));
        secret = h ? h->value : secret;
    }
    if (secret.len == 0 && head->websocket)
        secret = subprotocol_token(head);
    return secret;
}

static enum verdict admit_refuse(struct exchange *x, enum key_verdict why,
                                 struct str key_id)
{
    const struct conf_auth *auth = &x->conf->auth;
    uint64_t wait_ms = 0;
    enum verdict v;

    stats_inc(x->w->stats, STAT_AUTH_FAILED);
    if (!throttle_fail(x->w->svc->throttle, x->in->peer, clock_mono_ms(),
                       auth->failures_limit, (uint64_t)auth->failures_window_ms,
                       &wait_ms)) {
        log_info(LOG_ADMIT, "key refused: id=%s cause=%s key=%.*s peer=%.*s",
                 x->name, key_verdict_name(why), STR_ARG(key_id),
                 STR_ARG(x->in->peer));
        return exchange_fail(x, ERR_AUTH, NULL);
    }
    stats_inc(x->w->stats, STAT_AUTH_THROTTLED);
    log_debug(
        LOG_ADMIT, "key refused, throttled: id=%s cause=%s key=%.*s peer=%.*s",
        x->name, key_verdict_name(why), STR_ARG(key_id), STR_ARG(x->in->peer));
    v = exchange_fail(x, ERR_RATE_REQUESTS,
                      "Too many failed authentications from this address.");
    x->fail.retry_after_ms = (int64_t)wait_ms;
    return v;
}

static enum verdict caller_set(struct exchange *x, const struct key *key)
{
    x->who->key = key;
    x->who->key_id = key->id;
    x->who->team = key->spec.team;
    return limits_enter(x, key);
}

enum verdict admit_run(struct exchange *x)
{
    const struct key *key = NULL;
    enum key_verdict kv;
    struct str id;

    if ((x->in->ep.row->flags & ENDPOINT_NEEDS_KEY) == 0)
        return VERDICT_GO;
    if (x->w->svc->ledger && ledger_state(x->w->svc->ledger) != LEDGER_OK) {
        enum verdict v = exchange_fail(x, ERR_LEDGER, NULL);

        x->fail.retry_after_ms = 1000;
        return v;
    }
    if (!x->conf->auth.required)
        return caller_set(x, keytab_anonymous(x->w->svc->keys));
    kv = keytab_check(x->w->svc->keys, presented_secret(&x->in->head),
                      x->start_wall_ms, &key);
    if (kv == KEY_OK)
        return caller_set(x, key);
    id = key ? arena_dup(x->arena, key->id) : STR("-");
    key_unref(key);
    return admit_refuse(x, kv, id);
}
