/* accounts_lease.c - How much is leased, and what happens when it is written.
 * One lease of an owner is written at a time; it is for all who wait. */
#include "account/accounts_priv.h"

#include <stddef.h>

/* A lease is for what is asked, for those who wait, and for more: what is taken
 * in so long at the rate of late, so that there is less than one a second. */
#define LEASE_AHEAD_MS 1500

/* Where a rate is not known yet: at first for so many of the request that asks,
 * and for so many times the last step when that was needed again within a
 * second; at most this part of a budget, which is what a power cut may cost. */
#define LEASE_FIRST 16
#define LEASE_GROWS 8
#define LEASE_PART  100

/* A rate is that of a second, but known after so long. */
#define BURN_MS     1000
#define BURN_MIN_MS 20

bool account_passed_lease(const struct account *it)
{
    for (int i = 0; i < ACCOUNT_CELLS; i++) {
        const struct budget *c = &it->cells[i];

        if (!c->spec.soft && c->spent > c->lease)
            return true;
    }
    return false;
}

static void lease_done(struct wjob *job, enum err result)
{
    struct account *it =
        (struct account *)(void *)((char *)job -
                                   offsetof(struct account, lease.job));
    const struct budget_amounts none = {0};
    struct accounts *a = it->of;
    struct accounts_waiter *w;

    pthread_mutex_lock(&a->lock);
    for (int i = 0; result == ERR_OK && i < ACCOUNT_CELLS; i++) {
        const struct budget_spec *s = &it->cells[i].spec;

        budget_set_lease(&it->cells[i], it->lease.lease.in[s->window].number,
                         it->lease.lease.in[s->window].took.of[s->unit]);
    }
    it->leasing = false;
    if (result == ERR_OK && account_passed_lease(it))
        account_lease(it, &none); /* while this one was written */
    if (result == ERR_OK)
        a->totals.leases++;
    else
        a->totals.leases_failed++;
    while ((w = TAILQ_FIRST(&it->for_lease)) != NULL) {
        account_unwait(w);
        w->wake(w);
    }
    if (--a->n_leasing == 0)
        pthread_cond_broadcast(&a->quiet);
    pthread_mutex_unlock(&a->lock);
}

static int64_t add(int64_t a, int64_t b)
{
    int64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static int64_t times(int64_t a, int64_t b)
{
    int64_t product;

    return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void account_burn(struct account *it, int64_t now_ms,
                  const struct budget_amounts *took)
{
    struct burn *b = &it->burn;
    const int64_t ms = now_ms - b->since_ms;

    if (ms >= BURN_MS) {
        for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
            b->last.of[u] =
                ms < 2 * BURN_MS ? times(b->now.of[u], BURN_MS) / ms : 0;
        b->now = (struct budget_amounts){0};
        b->since_ms = now_ms;
    }
    for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
        b->now.of[u] = add(b->now.of[u], took->of[u]);
}

/* What is likely taken in the time that a lease should do for. */
static int64_t ahead(const struct account *it, enum budget_unit unit)
{
    const struct burn *b = &it->burn;
    const int64_t ms = it->of->now_ms - b->since_ms;
    int64_t rate = 0;

    if (ms < 2 * BURN_MS)
        rate = larger(b->last.of[unit], times(b->now.of[unit], BURN_MS) /
                                            larger(ms, BURN_MIN_MS));
    return times(rate, LEASE_AHEAD_MS) / 1000;
}

/* How much more than <most>, which is lacking, is to be leased of <c>. */
static int64_t step_of(const struct account *it, const struct budget *c,
                       const struct budget_amounts *most)
{
    const enum budget_unit u = c->spec.unit;
    const bool again = it->of->now_ms - it->leased_ms < 1000;
    const int64_t likely = ahead(it, u);
    const int64_t bold = again ? times(it->step.of[u], LEASE_GROWS)
                               : times(most->of[u], LEASE_FIRST);
    const int64_t bound = larger(c->spec.amount / LEASE_PART, likely);

    return larger(larger(most->of[u], likely), smaller(bold, bound));
}

static int64_t waiting(const struct account *it, enum budget_unit unit)
{
    const struct accounts_waiter *w;
    int64_t sum = 0;

    TAILQ_FOREACH(w, &it->for_lease, link)
    sum = add(sum, w->most.of[unit]);
    return sum;
}

void account_lease(struct account *it, const struct budget_amounts *most)
{
    struct accounts *a = it->of;
    struct budget_amounts steps = {0};
    struct spend s;

    if (it->leasing)
        return;
    spend_init(&s);
    for (int i = 0; i < ACCOUNT_CELLS; i++) {
        const struct budget *c = &it->cells[i];
        const enum budget_window w = c->spec.window;
        int64_t want = c->lease;

        if (c->spec.soft)
            continue;
        const enum budget_unit u = c->spec.unit;
        const int64_t step = step_of(it, c, most);
        steps.of[u] = larger(steps.of[u], step);
        want =
            larger(want, budget_lease_for(c, most, add(step, waiting(it, u))));
        if (c->spent > want) /* what an upstream took beyond its hold */
            want = c->spent;
        s.in[w].number = c->window;
        s.in[w].took.of[u] = want;
    }
    it->step = steps;
    it->leased_ms = a->now_ms;
    ledger_lease_init(&it->lease, str_of(it->name, it->name_len), &s);
    it->lease.job.done = lease_done;
    it->leasing = true;
    a->n_leasing++;
    writer_submit(ledger_writer(a->l), &it->lease.job);
}

/* What the hard budgets of <it> lack, by unit, for <most> in place of <old>;
 * whether leases for it are missing. */
static bool lacks_lease(struct account *it, const struct budget_hold *old,
                        const struct budget_amounts *most,
                        struct budget_amounts *lacks_out)
{
    bool missing = false;

    *lacks_out = (struct budget_amounts){0};
    for (int i = 0; it && i < ACCOUNT_CELLS; i++) {
        struct budget *c = &it->cells[i];
        int64_t *lacks = &lacks_out->of[c->spec.unit];

        if (c->spec.soft)
            continue;
        if (budget_lacks(c, old, most) > *lacks)
            *lacks = budget_lacks(c, old, most);
        missing =
            missing || budget_ask_grow(&c, 1, old, most, NULL) == BUDGET_LEASE;
    }
    return missing;
}

bool account_waits_lease(const struct account_pair *p,
                         const struct budget_hold *old,
                         const struct budget_amounts *most,
                         struct accounts_waiter *w)
{
    struct account *const both[] = {p->key, p->team};
    struct account *at = NULL;

    for (int i = 0; i < 2; i++) {
        struct budget_amounts lacks;

        if (!lacks_lease(both[i], old, most, &lacks))
            continue;
        account_lease(both[i], &lacks);
        if (at)
            continue;
        at = both[i];
        w->most = lacks;
    }
    if (!at)
        return false;
    account_wait(at, &at->for_lease, w, NULL);
    return true;
}
