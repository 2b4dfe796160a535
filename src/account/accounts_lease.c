/* accounts_lease.c - How much is leased, and what happens when it is written.
 * One lease of an owner is written at a time; it is for all who wait. */
#include "account/accounts_priv.h"

#include <stddef.h>

/* A lease is for what is asked, and for about a second of what was taken of
 * late, at most this part of a budget. */
#define LEASE_PART 100

static void lease_done(struct wjob *job, enum err result)
{
    struct account *it =
        (struct account *)(void *)((char *)job -
                                   offsetof(struct account, lease.job));
    struct accounts *a = it->of;
    struct accounts_waiter *w;

    pthread_mutex_lock(&a->lock);
    for (int i = 0; result == ERR_OK && i < ACCOUNT_CELLS; i++) {
        const struct budget_spec *s = &it->cells[i].spec;

        budget_set_lease(&it->cells[i], it->lease.lease.in[s->window].number,
                         it->lease.lease.in[s->window].took.of[s->unit]);
    }
    it->leasing = false;
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

/* What was taken lately in a second. */
static int64_t burnt(const struct account *it, enum budget_unit unit)
{
    const int64_t now = it->burn.now.of[unit];
    const int64_t last = it->burn.last.of[unit];

    return now > last ? now : last;
}

/* How much more than <most> is to be leased of <c>. */
static int64_t lease_more(const struct account *it, const struct budget *c,
                          const struct budget_amounts *most)
{
    const enum budget_unit u = c->spec.unit;
    const struct accounts_waiter *w;
    int64_t more = burnt(it, u);

    if (more > c->spec.amount / LEASE_PART)
        more = c->spec.amount / LEASE_PART;
    if (more < most->of[u])
        more = most->of[u];
    TAILQ_FOREACH(w, &it->for_lease, link)
    if (__builtin_add_overflow(more, w->most.of[u], &more))
        return INT64_MAX;
    return more;
}

void account_lease(struct account *it, const struct budget_amounts *most)
{
    struct accounts *a = it->of;
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
        const int64_t need = budget_lease_for(c, most, lease_more(it, c, most));
        if (need > want)
            want = need;
        if (c->spent > want) /* what an upstream took beyond its hold */
            want = c->spent;
        s.in[w].number = c->window;
        s.in[w].took.of[c->spec.unit] = want;
    }
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
