/* recall.c - Decides whether a request may be answered by what is stored, by
 * what somebody else is being answered, or by a call of its own, in this order.
 *
 *   look --> stored and fresh? --> replay
 *     |      stored, its time over? --> replay, and renew it; or keep it for
 *     v                                 when the call fails
 *   enter -> in flight? --> follow --> replay as it comes
 *     |                       |
 *     v                       v failed: enter once more
 *   lead  -> serve, for itself and for those who follow */
#include "recall/recall.h"

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "exchange/charge.h"
#include "exchange/exchange.h"
#include "exchange/quota.h"
#include "recall/cache.h"
#include "recall/flight.h"
#include "recall/job.h"

/* What a stored reply is good for. */
enum use {
    USE_NOT = 0,   /* nothing */
    USE_IN_NEED,   /* in place of an error */
    USE_AND_RENEW, /* it is replayed, and made anew beside */
    USE_STALE,     /* it is replayed though its time is over */
    USE_FRESH,     /* it is replayed */
};

static enum verdict enter(struct job *j);

/* --- what has no reply stored -------------------------------------------- */

/* The call is its own, and nobody shares it; its reply may be kept. */
static enum verdict alone(struct job *j)
{
    j->state = JOB_OVER;
    tape_unref(j->tape);
    j->tape = NULL;
    if (j->cache->store && j->x->conf->cache.responses)
        j->tape =
            tape_new(j->x->conf->cache.max_entry_bytes, j->cache->n_workers);
    if (j->tape)
        lead_begin(j);
    return VERDICT_GO;
}

/* Whether what it follows would have to be paid from a hard budget, when nobody
 * can say yet what it costs. */
static bool is_too_dear(const struct job *j)
{
    return j->x->conf->cache.charge == CONF_CHARGE_FULL &&
           charge_is_bounded(j->x);
}

/* The call that it follows failed as <f> says. */
static enum verdict failed(struct job *j, const struct tape_failure *f)
{
    struct exchange *x = j->x;

    tape_detach(&j->reader);
    if (f->again && ++j->failures < FLIGHT_TRIES)
        return enter(j);
    if (f->err == ERR_OK)
        return alone(j);
    j->state = JOB_OVER;
    x->found->how = RECALL_JOINED;
    (void)exchange_fail(x, f->err, "%.*s", STR_ARG(f->text));
    x->fail.upstream_status = f->status;
    if (f->retry_after_ms > 0)
        x->fail.retry_after_ms = f->retry_after_ms;
    return VERDICT_SKIP;
}

/* It can follow no more, and nothing was sent yet. */
static enum verdict lost(struct job *j)
{
    tape_detach(&j->reader);
    return ++j->failures < FLIGHT_TRIES ? enter(j) : alone(j);
}

/* Let its client have what it follows. */
static enum verdict join(struct job *j)
{
    if (!replay_tape(j))
        return lost(j);
    tape_detach(&j->reader);
    j->state = JOB_OVER;
    return VERDICT_SKIP;
}

/* Look how far the tape is that it follows. */
static enum verdict follow(struct job *j)
{
    enum tape_read read;
    uint32_t ms;
    struct str frame;

    do
        read = tape_next(&j->reader, &frame, &ms);
    while (read == TAPE_FRAME);
    switch (tape_state(j->tape)) {
    case TAPE_BLANK:
        return VERDICT_WAIT;
    case TAPE_RUNS:
    case TAPE_COMPLETE:
        if (!tape_is_whole(j->tape)) { /* and no other call's would be */
            tape_detach(&j->reader);
            return alone(j);
        }
        return read == TAPE_END || tape_head(j->tape)->events ? join(j)
                                                              : VERDICT_WAIT;
    case TAPE_FAILED:
        return failed(j, tape_failure(j->tape));
    default:
        return lost(j);
    }
}

static void on_more(struct tape_reader *r)
{
    struct job *j =
        (struct job *)(void *)((char *)r - offsetof(struct job, reader));

    exchange_wake(j->x, WAKE_TAPE);
}

/* Lead the call for this request, or follow who does. */
static enum verdict enter(struct job *j)
{
    struct exchange *x = j->x;
    const uint64_t bytes = x->conf->cache.max_entry_bytes;

    for (;;) {
        struct tape *after = j->tape;
        enum flight_role role;

        j->tape = NULL;
        role = flight_enter(j->cache->flights, &j->key.exact, bytes, after,
                            &j->tape);
        tape_unref(after);
        switch (role) {
        case FLIGHT_LEADS:
            j->leads = true;
            j->state = JOB_OVER;
            lead_begin(j);
            return VERDICT_GO;
        case FLIGHT_ALONE:
            j->state = JOB_OVER;
            return VERDICT_GO;
        case FLIGHT_FOLLOWS:
            break;
        }
        if (is_too_dear(j))
            return alone(j);
        j->reader.more = on_more;
        j->state = JOB_FOLLOW;
        if (tape_attach(j->tape, &j->reader, x->w))
            return follow(j);
        if (tape_state(j->tape) == TAPE_FAILED)
            return failed(j, tape_failure(j->tape));
        if (++j->failures >= FLIGHT_TRIES)
            return alone(j);
    }
}

static enum verdict not_stored(struct job *j)
{
    struct exchange *x = j->x;

    if (j->demand.only_if_cached) {
        j->state = JOB_OVER;
        j->has_stale = false;
        return exchange_fail(x, ERR_NOT_CACHED, NULL);
    }
    if (j->demand.no_cache || !x->conf->cache.coalesce)
        return alone(j);
    return enter(j);
}

/* --- what has ------------------------------------------------------------ */

/* The stored reply is the reply of the exchange. */
static enum verdict hit(struct job *j)
{
    struct exchange *x = j->x;

    switch (charge_hit(x)) {
    case QUOTA_WAIT:
        j->state = JOB_PAY;
        return VERDICT_WAIT;
    case QUOTA_HELD:
        break;
    default:
        j->state = JOB_OVER;
        x->found->how = RECALL_MISS;
        x->found->sum = NULL;
        return VERDICT_SKIP;
    }
    j->state = JOB_OVER;
    if (j->renews)
        renew_begin(j);
    return VERDICT_SKIP;
}

/* All of the stored reply is there. */
static enum verdict use(struct job *j)
{
    if (!replay_bytes(j))
        return not_stored(j);
    return hit(j);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct job *j = arg;

    (void)fd, (void)what;
    clock_update();
    exchange_wake(j->x, WAKE_TAPE);
}

/* Read on in another turn of the loop. */
static enum verdict read_later(struct job *j)
{
    const struct timeval now = {0, 0};

    if (!j->timer_on)
        event_assign(&j->timer, j->x->w->base, -1, 0, on_timer, j);
    j->timer_on = true;
    j->state = JOB_READ;
    if (event_add(&j->timer, &now) != 0)
        return not_stored(j);
    return VERDICT_WAIT;
}

/* Read the next piece of the stored reply. */
static enum verdict read_on(struct job *j)
{
    if (cache_store_read_on(j->cache->store, &j->found, &j->bytes) != ERR_OK) {
        buf_clear(&j->bytes);
        return not_stored(j);
    }
    return job_has_all(j) ? use(j) : read_later(j);
}

/* What the reply that was found is good for now. */
static enum use judge(struct job *j)
{
    const struct conf_cache *c = &j->x->conf->cache;
    const struct demand *d = &j->demand;
    int64_t age_ms = (int64_t)clock_wall_ms() - j->found.made_wall_ms;
    int64_t left_ms;

    if (age_ms < 0)
        age_ms = 0;
    j->x->found->age_s = age_ms / 1000;
    if (d->max_age_s >= 0 && age_ms > d->max_age_s * 1000)
        return USE_NOT;
    left_ms = j->ttl_ms - age_ms;
    if (left_ms > 0 && left_ms >= d->min_fresh_s * 1000)
        return USE_FRESH;
    if (d->min_fresh_s > 0)
        return USE_NOT;
    if (-left_ms < d->max_stale_s * 1000)
        return USE_STALE;
    if (-left_ms < c->stale_while_refresh_ms)
        return USE_AND_RENEW;
    return -left_ms < c->stale_if_error_ms ? USE_IN_NEED : USE_NOT;
}

/* Look for the stored reply. */
static enum err find(struct job *j)
{
    const struct cache_key key = {.same = j->key.same, .exact = j->key.exact};

    buf_init(&j->bytes, j->x->conf->cache.max_entry_bytes * 2 + 65536);
    return cache_store_find(j->cache->store, &key,
                            j->x->conf->cache.exact_mode ? CACHE_EXACT_ONLY
                                                         : CACHE_ANY,
                            (int64_t)clock_wall_ms(), &j->found, &j->bytes);
}

static enum verdict look(struct job *j)
{
    struct exchange *x = j->x;
    enum use use_for = USE_NOT;

    x->found->how = RECALL_MISS;
    if (!j->cache->store || !x->conf->cache.responses || j->demand.no_cache ||
        find(j) != ERR_OK)
        return not_stored(j);
    use_for = judge(j);
    if (use_for <= USE_IN_NEED) {
        j->has_stale = use_for == USE_IN_NEED;
        buf_fini(&j->bytes);
        return not_stored(j);
    }
    j->renews = use_for == USE_AND_RENEW;
    x->found->stale = use_for < USE_FRESH;
    return job_has_all(j) ? use(j) : read_later(j);
}

/* --- in place of an error ------------------------------------------------ */

/* The call failed, and relay asks for what is stored. What was tried may have
 * cost something: that is a row of its own. */
static bool rescue(struct exchange *x)
{
    struct job *j = job_of(x);

    if (!j->has_stale)
        return false;
    j->has_stale = false;
    if (find(j) != ERR_OK)
        return false;
    while (!job_has_all(j))
        if (cache_store_read_on(j->cache->store, &j->found, &j->bytes) !=
            ERR_OK)
            return false;
    if (!replay_rescue(j))
        return false;
    log_info(LOG_HTTP, "a stored reply in place of an error: id=%s age_s=%lld",
             x->name, (long long)x->found->age_s);
    return true;
}

/* --- the stage ----------------------------------------------------------- */

void job_release(struct exchange *x)
{
    struct job *j = job_of(x);

    if (j->timer_on)
        event_del(&j->timer);
    tape_detach(&j->reader);
    lead_end(j);
    tape_unref(j->tape);
    buf_fini(&j->bytes);
}

/* The route's rule lets the reply of <x> be kept or shared. */
static bool is_allowed(const struct exchange *x, const struct conf_route *r)
{
    switch (conf_keep_of(x->conf, r)) {
    case CONF_KEEP_ALWAYS:
        return true;
    case CONF_KEEP_DETERMINISTIC:
        return reqkey_is_deterministic(x);
    default:
        return false;
    }
}

/* A job for <x>; NULL where its reply can be neither kept nor shared. */
static struct job *job_new(struct exchange *x, const struct demand *d)
{
    const struct conf_cache *cc = &x->conf->cache;
    struct cache *c = x->w->svc->cache;
    const struct conf_route *r;
    struct reqkey_conf rc = {.scope = cc->scope};
    struct job *j;

    if (!c || (!(c->store && cc->responses) && !cc->coalesce) || d->no_store ||
        !x->ask->scan)
        return NULL;
    r = conf_route_find(x->conf, x->ask->model);
    if (!is_allowed(x, r))
        return NULL;
    j = arena_alloc(x->arena, sizeof(*j));
    rc.secret = str_of((const char *)c->secret, sizeof(c->secret));
    rc.weights = &c->weights;
    rc.skip = cache_skip(c, x->conf);
    if (!j || !rc.skip || reqkey_make(x, &rc, &j->key) != ERR_OK)
        return NULL;
    j->x = x;
    j->cache = c;
    j->demand = *d;
    j->ttl_ms = conf_ttl_of(x->conf, r);
    buf_init(&j->bytes, 0);
    return j;
}

enum verdict recall_run(struct exchange *x)
{
    struct demand d;
    struct job *j;

    if ((x->in->ep.row->flags & ENDPOINT_LOCAL) != 0)
        return VERDICT_GO;
    if (x->found->refresh) { /* renew_begin() has looked */
        x->found->how = RECALL_MISS;
        lead_begin(x->found->job);
        return VERDICT_GO;
    }
    demand_read(&x->in->head, &d);
    j = job_new(x, &d);
    if (!j)
        return d.only_if_cached ? exchange_fail(x, ERR_NOT_CACHED, NULL)
                                : VERDICT_GO;
    x->found->job = j;
    x->found->rescue = rescue;
    x->found->release = job_release;
    return look(j);
}

enum verdict recall_resume(struct exchange *x, enum wake why)
{
    struct job *j = job_of(x);

    switch (why) {
    case WAKE_TAPE:
        if (j->state == JOB_READ)
            return read_on(j);
        return j->state == JOB_FOLLOW ? follow(j) : VERDICT_WAIT;
    case WAKE_QUOTA:
        return j->state == JOB_PAY ? hit(j) : VERDICT_WAIT;
    case WAKE_GONE:
        return exchange_fail(x, ERR_CLIENT_GONE, NULL);
    case WAKE_DRAIN:
        return exchange_fail(x, ERR_DRAINING, NULL);
    case WAKE_FAIL:
        return VERDICT_SKIP;
    default:
        return VERDICT_WAIT;
    }
}
