/* blame.c - See blame.h. */
#include "serve/blame.h"

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "exchange/exchange.h"
#include "serve/attempt.h"
#include "serve/reply.h"
#include "serve/target.h"

enum err blame_of(const struct attempt *a)
{
    const struct retry_end *end = &a->end;

    if (end->err != ERR_OK)
        return end->err;
    /* Not by its words: they may be gone with the reply. */
    if (end->own_key && (end->status == 401 || end->status == 403))
        return ERR_UP_AUTH;
    return end->status == 429 || end->status >= 500 ? reply_err_of(end->status)
                                                    : ERR_OK;
}

/* Whether a target is not to blame for <e>: only the engine judges requests
 * that way; budgets end where they end, or where the ledger fails. */
static bool is_clients_fault(enum err e)
{
    int status = err_row(e)->status;

    return e == ERR_QUOTA || e == ERR_BUDGET_CUT || e == ERR_LEDGER ||
           (e > ERR_REFUSED && status >= 400 && status < 429);
}

void blame_leave(struct attempt *a, enum err e, const char *text)
{
    attempt_leave(a, is_clients_fault(e) ? ERR_OK : e, text);
}

static struct str name_of(const struct choice *c)
{
    return c->up ? c->up->name : c->engine->name;
}

static void log_end(const struct attempt *a, enum retry_kind kind)
{
    const enum err blame = blame_of(a);
    struct exchange *x = a->x;

    if (kind == RETRY_KIND_KEY)
        log_warn(LOG_ROUTE,
                 "upstream refuses our key: upstream=%.*s key=%u status=%d",
                 STR_ARG(a->choice.up->name), a->pass.key, a->end.status);
    if (a->choice.up && blame != ERR_OK)
        stats_inc(x->w->stats, STAT_UP_FAILED);
    if (blame == ERR_OK && kind == RETRY_KIND_CALLER)
        return;
    log_at(is_clients_fault(blame) ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
           LOG_ROUTE,
           "attempt failed: id=%s target=%.*s as=%s status=%d reason=\"%s\"",
           x->name, STR_ARG(name_of(&a->choice)), retry_kind_name(kind),
           a->end.status, a->text ? a->text : "");
}

struct retry_verdict blame_judge(struct attempt *a)
{
    const struct retry_verdict v = retry_judge(&a->end);

    target_tell(&a->pass, a->choice.up, &v, clock_mono_ms());
    log_end(a, v.kind);
    return v;
}
