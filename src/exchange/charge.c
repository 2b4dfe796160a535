/* charge.c - See charge.h. A cost that is known has a price of its own: so much
 * for the request, and nothing for its tokens. */
#include "exchange/charge.h"

#include "account/key.h"
#include "account/keytab.h"
#include "conf/conf.h"
#include "exchange/exchange.h"
#include "exchange/quota_priv.h"
#include "exchange/tape.h"

bool charge_is_shared(const struct exchange *x)
{
    return x->found->how == RECALL_HIT || x->found->how == RECALL_JOINED;
}

bool charge_cost(const struct exchange *x, int64_t *nusd_out)
{
    const struct tape_sum *sum = x->found->sum;

    if (charge_is_full(x) && (!sum || (sum->flags & ROW_UNPRICED) != 0))
        return false;
    *nusd_out = charge_is_full(x) ? sum->cost_nusd : 0;
    return true;
}

bool charge_is_full(const struct exchange *x)
{
    return x->conf->cache.charge == CONF_CHARGE_FULL;
}

static bool is_any_hard(const struct budget_spec *budgets, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!budgets[i].soft)
            return true;
    return false;
}

bool charge_is_bounded(const struct exchange *x)
{
    const struct key *key = x->who->key;
    const struct team *team;
    bool is_bounded;

    if (!key || !x->w->svc || !x->w->svc->accounts)
        return false;
    if (is_any_hard(key->spec.budgets, key->spec.n_budgets))
        return true;
    if (key->spec.team.len == 0)
        return false;
    team = keytab_find_team(x->w->svc->keys, key->spec.team);
    is_bounded = team && is_any_hard(team->spec.budgets, team->spec.n_budgets);
    team_unref(team);
    return is_bounded;
}

/* The price by which a request costs what <sum> says; in the arena, NULL
 * without memory. */
static const struct conf_price *price_of(struct exchange *x,
                                         const struct tape_sum *sum)
{
    struct conf_price *p = arena_alloc(x->arena, sizeof(*p));

    if (!p)
        return NULL;
    *p = (struct conf_price){.given = (1U << CONF_PRICE_COUNT) - 1};
    p->at[CONF_PRICE_REQUEST] = sum->cost_nusd;
    return p;
}

static enum quota_answer fail_nomem(struct exchange *x)
{
    (void)exchange_fail(x, ERR_NOMEM, NULL);
    return QUOTA_DOWN;
}

/* Ask for exactly what <sum> says. */
static enum quota_answer ask_for(struct exchange *x, const struct tape_sum *sum)
{
    const uint64_t out = row_output_tokens(sum->tok);
    const struct quota_need need = {.input_tok = row_input_tokens(sum->tok),
                                    .output_tok = out,
                                    .first_tok = out,
                                    .floor_tok = out,
                                    .kinds = PRICE_KINDS_TEXT};

    return quota_ask(x, &need);
}

enum quota_answer charge_hit(struct exchange *x)
{
    const struct tape_sum *sum = x->found->sum;
    struct price_quote price = {.marks = PRICE_MISSING};

    if (!sum || !charge_is_full(x) || !charge_is_bounded(x))
        return QUOTA_HELD;
    if ((sum->flags & ROW_UNPRICED) == 0)
        price = (struct price_quote){.price = price_of(x, sum)};
    if ((sum->flags & ROW_UNPRICED) == 0 && !price.price)
        return fail_nomem(x);
    if (quota_open(x, &price, &x->work->quota) != ERR_OK)
        return fail_nomem(x);
    return quota_units(x) == 0 ? QUOTA_HELD : ask_for(x, sum);
}

void charge_undo(struct exchange *x)
{
    struct quota *q = x->work->quota;

    if (!q)
        return;
    quota_give(x);
    q->again = false;
    q->asked = false;
    q->began_ms = 0;
}
