/* accounts_room.c - Who waits for what others hold, and who of them is woken.
 * What is given back is offered to those that wait longest, and to no more of
 * them than it may suffice for; an offer stands until who got it asks again or
 * leaves, and what it did not take is offered on. Nobody is kept out by an
 * offer: it only tells whom to wake. Who waits in vain, since too much was
 * spent, is woken, too: to be refused. */
#include "account/accounts_priv.h"

void account_unwait(struct accounts_waiter *w)
{
    if (!w->at)
        return;
    if (w->for_room) {
        TAILQ_REMOVE(&w->at->for_room, w, link);
        w->at->n_for_room--;
    } else {
        TAILQ_REMOVE(&w->at->for_lease, w, link);
    }
    w->at->of->totals.waiting--;
    w->at = NULL;
}

void account_wait(struct account *it, struct waiter_list *list,
                  struct accounts_waiter *w, struct accounts_waiter *next)
{
    w->at = it;
    w->for_room = list == &it->for_room;
    it->n_for_room += w->for_room;
    if (next)
        TAILQ_INSERT_BEFORE(next, w, link);
    else
        TAILQ_INSERT_TAIL(list, w, link);
    it->of->totals.waiting++;
}

/* The first that waits at <it> and came after <turn>, or NULL. */
static struct accounts_waiter *after(struct account *it, uint64_t turn)
{
    struct accounts_waiter *w = TAILQ_FIRST(&it->for_room);

    while (w && w->turn < turn)
        w = TAILQ_NEXT(w, link);
    return w;
}

void account_wait_room(struct account *it, const struct budget_amounts *most,
                       struct accounts_waiter *w)
{
    struct accounts_waiter *next = w->turn ? after(it, w->turn) : NULL;

    if (w->turn == 0)
        w->turn = ++it->of->turns;
    w->most = *most;
    account_wait(it, &it->for_room, w, next);
}

/* What the hard budgets of <it> leave, by unit. */
struct room {
    struct budget_amounts now;  /* beyond what is offered already */
    struct budget_amounts ever; /* once all that is held came back */
};

static void room_of(const struct account *it, struct room *out)
{
    for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
        out->now.of[u] = out->ever.of[u] = INT64_MAX;
    for (int i = 0; i < ACCOUNT_CELLS; i++) {
        const struct budget *c = &it->cells[i];
        const enum budget_unit u = c->spec.unit;
        const int64_t now = budget_left(c) - it->offered.of[u];
        const int64_t ever = c->spec.amount - c->spent;

        if (c->spec.soft)
            continue;
        if (now < out->now.of[u])
            out->now.of[u] = now;
        if (ever < out->ever.of[u])
            out->ever.of[u] = ever;
    }
}

static bool fits(const struct budget_amounts *room,
                 const struct budget_amounts *most)
{
    for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
        if (most->of[u] > 0 && most->of[u] > room->of[u])
            return false;
    return true;
}

static void wake(struct accounts_waiter *w)
{
    account_unwait(w);
    w->wake(w);
}

/* Add <most> to what is offered, and take it from <room>. */
static void offer(struct account *it, struct budget_amounts *room,
                  struct accounts_waiter *w)
{
    for (int u = 0; u < BUDGET_UNIT_COUNT; u++) {
        if (__builtin_add_overflow(it->offered.of[u], w->most.of[u],
                                   &it->offered.of[u]))
            it->offered.of[u] = INT64_MAX;
        if (room->of[u] != INT64_MAX)
            room->of[u] -= w->most.of[u];
    }
    w->offered_by = it;
    w->offered = w->most;
    wake(w);
}

void account_offer(struct account *it)
{
    struct accounts_waiter *w = TAILQ_FIRST(&it->for_room);
    struct room room;

    if (!w)
        return;
    account_roll(it, it->of->now_ms);
    room_of(it, &room);
    while (w) {
        struct accounts_waiter *next = TAILQ_NEXT(w, link);

        if (fits(&room.now, &w->most))
            offer(it, &room.now, w);
        else if (!fits(&room.ever, &w->most))
            wake(w);
        w = next;
    }
}

void account_offer_over(struct accounts_waiter *w)
{
    struct account *it = w->offered_by;

    if (!it)
        return;
    w->offered_by = NULL;
    for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
        it->offered.of[u] -= w->offered.of[u];
    account_offer(it);
}

void accounts_changed(struct accounts *a, bool is_team, struct str name)
{
    struct accounts_ask ask = {.at_ms = 0};
    struct accounts_waiter *w;
    struct account_pair p;

    if (is_team)
        ask.team.name = name;
    else
        ask.key.name = name;
    pthread_mutex_lock(&a->lock);
    if (account_pair_of(a, &ask, &p) == ERR_OK) {
        struct account *it = is_team ? p.team : p.key;

        while (it && (w = TAILQ_FIRST(&it->for_room)) != NULL) {
            account_unwait(w);
            w->wake(w);
        }
    }
    pthread_mutex_unlock(&a->lock);
}
