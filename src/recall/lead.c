/* lead.c - The leader's side of a flight: who else waits, when the call goes on
 * without its own client, how the tape ends, and what of it is stored. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "exchange/exchange.h"
#include "exchange/tape.h"
#include "recall/cache.h"
#include "recall/flight.h"
#include "recall/job.h"
#include "recall/record.h"
#include "recall/worth.h"
#include "store/cache_store.h"

/* --- while it runs ------------------------------------------------------- */

static bool is_wanted(struct exchange *x)
{
    const struct job *j = job_of(x);

    return x->found->refresh || (j->tape && tape_readers(j->tape) > 0);
}

/* Somebody follows, or nobody does any more. */
static void on_readers(void *arg)
{
    struct exchange *x = arg;

    exchange_wake(x, WAKE_READERS);
}

/* --- its end ------------------------------------------------------------- */

/* What the reply cost, for those who get it without a call. */
static void sum_fill(const struct exchange *x, const struct usage_row *row,
                     struct tape_sum *sum)
{
    *sum = (struct tape_sum){
        .made_wall_ms = (int64_t)clock_wall_ms(),
        .cost_nusd = row->cost_nusd,
        .target = row->target,
        .target_model = row->target_model,
        .usage_source = row->usage_source,
        .flags = row->flags,
        .estimated = (row->flags & ROW_ESTIMATED) != 0,
    };
    memcpy(sum->id, x->name, sizeof(sum->id));
    memcpy(sum->tok, row->tok, sizeof(sum->tok));
    memcpy(sum->finish, x->out->usage.finish, sizeof(sum->finish));
}

/* Why there is no reply to share. An error of the upstream may be gone the next
 * time; what the request itself is to blame for is not; and what only its
 * sender is to blame for says nothing of others. */
static struct tape_failure failure_of(const struct exchange *x)
{
    const struct fail *f = &x->fail;
    struct tape_failure why = {.again = false};

    if (x->work->capped)
        return why; /* each by itself */
    if (f->err == ERR_OK || f->err == ERR_CLIENT_GONE) {
        why.again =
            x->work->badly || (x->work->head && x->work->head->status >= 400);
        return why;
    }
    switch (f->err) {
    case ERR_QUOTA:
    case ERR_BUDGET_CUT:
    case ERR_LEDGER:
    case ERR_DRAINING:
    case ERR_NOMEM:
        return why;
    default:
        break;
    }
    why.err = f->err;
    why.text = f->text;
    why.status = f->upstream_status;
    why.retry_after_ms = f->retry_after_ms > 0 ? f->retry_after_ms : 0;
    why.again =
        err_row(f->err)->status >= 500 || err_row(f->err)->status == 429;
    return why;
}

/* Whether the finish reason is that of a reply which is not what was asked
 * for. */
static bool is_refused(const char *finish)
{
    static const char *const reasons[] = {"content_filter", "refusal", "error",
                                          "failed", "cancelled"};

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (strcmp(finish, reasons[i]) == 0)
            return true;
    return false;
}

/* Whether it stops where a cap of ours did, which the request did not have. */
static bool is_cut(const struct exchange *x)
{
    const char *finish = x->out->usage.finish;

    return x->work->cap_added && (strcmp(finish, "length") == 0 ||
                                  strcmp(finish, "max_tokens") == 0 ||
                                  strcmp(finish, "max_output_tokens") == 0 ||
                                  strcmp(finish, "incomplete") == 0);
}

/* Whether it came from where its route goes, and not from a fallback, which is
 * another model's answer: the next one is the route's own, if that is back. */
static bool is_of_route(const struct exchange *x)
{
    const struct conf_route *r = x->work->route;

    for (size_t i = 0; r && i < r->n_targets; i++) {
        const struct conf_route_target *t = &r->targets[i];
        const struct str name =
            t->upstream >= 0 ? t->upstream_name : t->engine_name;
        const struct str model = t->model.len > 0 ? t->model : x->ask->model;

        if (str_eq(name, x->work->target_name) &&
            str_eq(model, x->work->upstream_model))
            return true;
    }
    return !r;
}

static bool is_to_be_kept(const struct job *j)
{
    const struct exchange *x = j->x;
    const struct tape *t = j->tape;

    return j->cache->store && x->conf->cache.responses && !x->work->capped &&
           tape_state(t) == TAPE_COMPLETE && tape_is_whole(t) &&
           tape_head(t)->status == 200 && !x->out->unended &&
           !is_refused(x->out->usage.finish) && !is_cut(x) && is_of_route(x) &&
           worth_keeping(x->in->ep.row, x->ask->n, t);
}

/* Hand the reply over to be stored. */
static void keep(const struct job *j)
{
    const struct exchange *x = j->x;
    const struct conf_cache *c = &x->conf->cache;
    const struct cache_about about = {
        .key_id = x->who->key_id, .team = x->who->team, .model = x->ask->model};
    const int64_t now_ms = tape_sum(j->tape)->made_wall_ms;
    int64_t over_ms = c->stale_if_error_ms;
    struct cache_put *p;

    if (over_ms < c->stale_while_refresh_ms)
        over_ms = c->stale_while_refresh_ms;
    p = cache_put_new(j->cache->store, &about);
    if (!p)
        return;
    p->key.same = j->key.same;
    p->key.exact = j->key.exact;
    p->made_wall_ms = now_ms;
    p->until_wall_ms = now_ms + j->ttl_ms + over_ms;
    p->epoch = j->epoch;
    if (record_put(j->tape, &p->bytes) == ERR_OK)
        cache_store_put(j->cache->store, p);
    else
        cache_put_free(p);
}

void lead_end(struct job *j)
{
    if (!j->tape || !j->fills)
        return;
    j->fills = false;
    tape_watch(j->tape, j->x->w, NULL, NULL);
    if (tape_state(j->tape) == TAPE_BLANK) {
        const struct tape_failure why = failure_of(j->x);

        tape_fail(j->tape, &why);
    } else if (tape_state(j->tape) == TAPE_RUNS) {
        tape_end(j->tape, false, NULL);
    }
    if (j->leads)
        flight_leave(j->cache->flights, &j->key.exact, j->tape);
    j->leads = false;
}

static void settled(struct exchange *x, const struct usage_row *row)
{
    struct job *j = job_of(x);
    struct tape_sum sum;

    if (!j->tape || !j->fills)
        return;
    if (tape_state(j->tape) == TAPE_RUNS) {
        sum_fill(x, row, &sum);
        tape_end(j->tape, x->out->whole, &sum);
        if (is_to_be_kept(j))
            keep(j);
    }
    lead_end(j);
}

void lead_begin(struct job *j)
{
    struct exchange *x = j->x;

    j->fills = true;
    if (j->cache->store)
        j->epoch = cache_store_epoch(j->cache->store);
    x->found->tape = j->tape;
    x->found->retries = j->leads && j->failures > 0;
    x->found->wanted = is_wanted;
    x->found->settled = settled;
    tape_watch(j->tape, x->w, on_readers, x);
}
