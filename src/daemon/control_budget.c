/* control_budget.c - See control_budget.h. Accounts are read one budget at a
 * time, so a list is no picture of one moment. */
#include "daemon/control_budget.h"

#include <stdint.h>
#include <stdlib.h>

#include "account/accounts.h"
#include "account/keytab.h"
#include "account/price.h"
#include "daemon/control_args.h"
#include "daemon/daemon.h"

/* Tokens as integers, money as a decimal string of dollars with two places or
 * as many as it takes. */
json_t *control_budget_amount(enum budget_unit unit, int64_t amount)
{
    char text[PRICE_USD_SIZE];

    if (unit != BUDGET_NUSD)
        return json_integer((json_int_t)amount);
    return json_text(price_print_short(amount, text));
}

static int64_t left_of(const struct budget_spec *b,
                       const struct accounts_state *s)
{
    int64_t left;

    if (__builtin_sub_overflow(b->amount, s->spent, &left) ||
        __builtin_sub_overflow(left, s->held, &left) || left < 0)
        return 0;
    return left;
}

static json_t *budget_json(const struct budget_spec *b)
{
    return json_pack("{s:o, s:s, s:s, s:b, s:n, s:n, s:n, s:n}", "amount",
                     control_budget_amount(b->unit, b->amount), "unit",
                     budget_unit_name(b->unit), "window",
                     budget_window_name(b->window), "soft", b->soft, "spent",
                     "held", "left", "resets");
}

static void put_state(json_t *o, const struct budget_spec *b,
                      const struct accounts_state *s)
{
    json_object_set_new(o, "spent", control_budget_amount(b->unit, s->spent));
    json_object_set_new(o, "held", control_budget_amount(b->unit, s->held));
    json_object_set_new(o, "left",
                        control_budget_amount(b->unit, left_of(b, s)));
    if (s->resets_ms != INT64_MAX)
        json_object_set_new(o, "resets", json_time(s->resets_ms));
}

json_t *control_budget_list(struct daemon *d, bool is_team, struct str owner,
                            const struct key_spec *spec)
{
    json_t *list = json_array();

    for (size_t i = 0; i < spec->n_budgets; i++) {
        const struct budget_spec *b = &spec->budgets[i];
        json_t *o = budget_json(b);
        struct accounts_state s;

        if (accounts_read(d->accounts, is_team, owner, b, &s))
            put_state(o, b, &s);
        json_array_append_new(list, o);
    }
    return list;
}

/* ---- all of them ------------------------------------------------------- */

struct sums {
    json_int_t hard, soft, used_up, passed;
};

static bool add(struct daemon *d, bool is_team, struct str owner,
                const struct key_spec *spec, struct sums *to)
{
    for (size_t i = 0; i < spec->n_budgets; i++) {
        const struct budget_spec *b = &spec->budgets[i];
        struct accounts_state s;

        if (!accounts_read(d->accounts, is_team, owner, b, &s))
            return false;
        if (b->soft) {
            to->soft++;
            to->passed += s.spent > b->amount;
        } else {
            to->hard++;
            to->used_up += s.spent >= b->amount;
        }
    }
    return true;
}

static bool add_keys(struct daemon *d, struct sums *to)
{
    const struct key **keys = NULL;
    size_t n = 0;
    bool ok = true;

    if (keytab_list(d->keys, &keys, &n) != ERR_OK)
        return false;
    for (size_t i = 0; i < n; i++) {
        ok = ok && add(d, false, keys[i]->id, &keys[i]->spec, to);
        key_unref(keys[i]);
    }
    free(keys);
    return ok;
}

static bool add_teams(struct daemon *d, struct sums *to)
{
    const struct team **teams = NULL;
    size_t n = 0;
    bool ok = true;

    if (keytab_list_teams(d->keys, &teams, &n) != ERR_OK)
        return false;
    for (size_t i = 0; i < n; i++) {
        ok = ok && add(d, true, teams[i]->spec.name, &teams[i]->spec, to);
        team_unref(teams[i]);
    }
    free(teams);
    return ok;
}

json_t *control_budget_sums(struct daemon *d)
{
    struct accounts_totals t;
    struct sums s = {0};

    if (!add_keys(d, &s) || !add_teams(d, &s))
        return json_null();
    accounts_totals(d->accounts, &t);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "hard", s.hard, "soft",
                     s.soft, "used_up", s.used_up, "passed", s.passed, "holds",
                     (json_int_t)t.holds, "waiting", (json_int_t)t.waiting);
}
