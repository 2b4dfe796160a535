/* accounts_tell.c - How budgets stand: what is told of them, and changes
 * nothing. */
#include "account/accounts_priv.h"

static void least(struct budget_amounts *of, const struct budget *b,
                  int64_t held)
{
    int64_t *to = &of->of[b->spec.unit];
    struct budget at = *b;

    at.held = held;
    if (budget_left(&at) < *to)
        *to = budget_left(&at);
}

static void least_of(const struct account *it, struct accounts_room *out)
{
    for (int i = 0; it && i < ACCOUNT_CELLS; i++) {
        const struct budget *c = &it->cells[i];

        if (c->spec.soft)
            continue;
        least(&out->now, c, c->held);
        least(&out->ever, c, 0);
    }
}

void accounts_left(struct accounts *a, const struct accounts_ask *ask,
                   struct accounts_room *out)
{
    struct account_pair p;

    for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
        out->now.of[u] = out->ever.of[u] = INT64_MAX;
    out->waiting = 0;
    pthread_mutex_lock(&a->lock);
    if (account_pair_of(a, ask, &p) == ERR_OK) {
        account_bind(&p, ask, account_now(a));
        least_of(p.key, out);
        least_of(p.team, out);
        if (p.key)
            out->waiting = p.key->n_for_room;
        if (p.team && p.team->n_for_room > out->waiting)
            out->waiting = p.team->n_for_room;
    }
    pthread_mutex_unlock(&a->lock);
}

/* The first soft budget of <o> that is passed. */
static bool passed(struct account *it, const struct accounts_owner *o,
                   int64_t now_ms, struct accounts_no *out)
{
    for (size_t i = 0; it && i < o->n_budgets; i++) {
        const struct budget_spec *spec = &o->budgets[i];
        struct budget *c = account_cell(it, spec);

        budget_roll(c, now_ms);
        if (!spec->soft || c->spent <= spec->amount)
            continue;
        *out = (struct accounts_no){.spec = *spec,
                                    .left = spec->amount - c->spent,
                                    .resets_ms = c->end_ms};
        return true;
    }
    return false;
}

bool accounts_soft(struct accounts *a, const struct accounts_ask *ask,
                   struct accounts_no *out)
{
    struct account_pair p;
    bool found = false;

    pthread_mutex_lock(&a->lock);
    if (account_pair_of(a, ask, &p) == ERR_OK) {
        const int64_t now_ms = account_now(a);

        found = passed(p.key, &ask->key, now_ms, out);
        if (!found && passed(p.team, &ask->team, now_ms, out)) {
            out->is_team = true;
            found = true;
        }
    }
    pthread_mutex_unlock(&a->lock);
    return found;
}

bool accounts_read(struct accounts *a, bool is_team, struct str name,
                   const struct budget_spec *spec, struct accounts_state *out)
{
    struct accounts_ask ask = {.at_ms = 0};
    struct account_pair p;
    bool known = false;

    if (is_team)
        ask.team.name = name;
    else
        ask.key.name = name;
    *out = (struct accounts_state){.resets_ms = INT64_MAX};
    pthread_mutex_lock(&a->lock);
    if (account_pair_of(a, &ask, &p) == ERR_OK && (p.key || p.team)) {
        struct budget *c = account_cell(is_team ? p.team : p.key, spec);

        budget_roll(c, account_now(a));
        out->spent = c->spent;
        out->held = c->held;
        out->resets_ms = c->end_ms;
        known = true;
    }
    pthread_mutex_unlock(&a->lock);
    return known;
}
