/* accounts_grow.c - A hold that changes while its request goes on. Until the
 * new hold stands in the journal, what is more of the old and the new is held:
 * whichever of them a start after a crash finds, it was held. */
#include "account/accounts_priv.h"

/* One change, between its two steps. */
struct change {
    struct account_pair at;
    struct budget_hold old, new;
};

static void keep(struct account *it, const struct budget_hold *kept,
                 const struct budget_hold *other)
{
    struct budget *list[ACCOUNT_CELLS];

    if (!it)
        return;
    account_cells(it, list);
    budget_keep(list, ACCOUNT_CELLS, kept, other);
    account_offer(it);
}

static void grow(struct account *it, const struct change *c)
{
    struct budget *list[ACCOUNT_CELLS];

    if (!it)
        return;
    account_cells(it, list);
    budget_grow(list, ACCOUNT_CELLS, &c->old, &c->new);
}

static bool is_less(const struct budget_amounts *a,
                    const struct budget_amounts *b)
{
    for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
        if (a->of[u] > b->of[u])
            return false;
    return true;
}

/* With the lock held: make room for what is more. */
static enum accounts_answer grow_locked(struct accounts *a,
                                        const struct accounts_ask *ask,
                                        struct accounts_waiter *w,
                                        struct change *c,
                                        struct accounts_no *no)
{
    const int64_t now_ms = account_now(a);

    account_bind(&c->at, ask, now_ms);
    if (!is_less(&ask->most, &c->old.most)) {
        c->new.at_ms = now_ms;
        if (account_is_over(&c->at, ask, &c->old, false, no))
            return ACCOUNTS_OVER;
        if (ledger_state(a->l) != LEDGER_OK)
            return ACCOUNTS_DOWN;
        if (account_waits_lease(&c->at, &c->old, &ask->most, w))
            return ACCOUNTS_WAIT;
    }
    grow(c->at.key, c);
    grow(c->at.team, c);
    return ACCOUNTS_HELD;
}

enum accounts_answer accounts_grow(struct accounts *a, struct ledger_worker *lw,
                                   const struct accounts_ask *ask,
                                   struct accounts_waiter *w,
                                   struct accounts_hold *hold,
                                   struct accounts_no *no_out)
{
    struct change c = {.at = {.key = hold->key, .team = hold->team},
                       .old = hold->hold,
                       .new = {.most = ask->most, .at_ms = hold->hold.at_ms}};

    if (!hold->key && !hold->team)
        return ACCOUNTS_HELD;
    pthread_mutex_lock(&a->lock);
    account_unwait(w);
    const enum accounts_answer answer = grow_locked(a, ask, w, &c, no_out);
    pthread_mutex_unlock(&a->lock);
    if (answer != ACCOUNTS_HELD)
        return answer;
    const bool stands =
        account_write_hold(lw, ask, &c.new, hold->changes + 1) == ERR_OK;
    const struct budget_hold *kept = stands ? &c.new : &c.old;
    const struct budget_hold *other = stands ? &c.old : &c.new;
    pthread_mutex_lock(&a->lock);
    keep(c.at.key, kept, other);
    keep(c.at.team, kept, other);
    account_total(a, &kept->most, &c.old.most);
    pthread_mutex_unlock(&a->lock);
    hold->hold = *kept;
    hold->changes += stands;
    return stands ? ACCOUNTS_HELD : ACCOUNTS_DOWN;
}
