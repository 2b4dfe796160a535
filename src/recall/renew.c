/* renew.c - Has a stored reply made anew by a request of its own, which nobody
 * waits for. Its flight is taken before it begins, so that a crowd that is
 * given the old reply makes one such request, not one each. */
#include "base/log.h"
#include "conf/conf.h"
#include "exchange/again.h"
#include "recall/cache.h"
#include "recall/flight.h"
#include "recall/job.h"

/* The job of <copy>, a copy of the request of <j>, which leads with <t>. */
static bool give_job(const struct job *j, struct exchange *copy, struct tape *t)
{
    struct job *own = arena_alloc(copy->arena, sizeof(*own));

    if (!own)
        return false;
    own->x = copy;
    own->cache = j->cache;
    own->state = JOB_OVER;
    own->key = j->key;
    own->ttl_ms = j->ttl_ms;
    own->tape = t;
    own->fills = true;
    own->leads = true;
    buf_init(&own->bytes, 0);
    copy->found->refresh = true;
    copy->found->job = own;
    copy->found->release = job_release;
    return true;
}

void renew_begin(const struct job *j)
{
    const struct tape_failure not_made = {.again = true};
    struct cache *c = j->cache;
    struct exchange *copy = NULL;
    struct tape *t = NULL;

    if (j->x->w->draining)
        return;
    if (flight_enter(c->flights, &j->key.exact,
                     j->x->conf->cache.max_entry_bytes, NULL,
                     &t) != FLIGHT_LEADS) {
        tape_unref(t); /* somebody is at it */
        return;
    }
    copy = exchange_copy(j->x);
    if (copy && give_job(j, copy, t)) {
        log_debug(LOG_HTTP, "stored reply is made anew: id=%s by=%s",
                  j->x->name, copy->name);
        exchange_run_later(copy);
        return;
    }
    if (copy)
        exchange_discard(copy);
    tape_fail(t, &not_made);
    flight_leave(c->flights, &j->key.exact, t);
    tape_unref(t);
}
