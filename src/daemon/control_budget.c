/* control_budget.c - See control_budget.h. Accounts are read one budget at a
 * time, so a list is no picture of one moment. */
#include "daemon/control_budget.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "account/accounts.h"
#include "account/keytab.h"
#include "daemon/control_args.h"
#include "daemon/daemon.h"

#define NUSD_PER_USD INT64_C(1000000000)

/* Tokens as integers, money as a decimal string of dollars with two places or
 * as many as it takes. */
static json_t *amount_json(enum budget_unit unit, int64_t amount)
{
    char text[40];

    if (unit != BUDGET_NUSD)
        return json_integer((json_int_t)amount);
    snprintf(text, sizeof(text), "%" PRId64 ".%09" PRId64,
             amount / NUSD_PER_USD, amount % NUSD_PER_USD);
    for (size_t n = strlen(text); n > 0 && text[n - 1] == '0' &&
                                  text[n - 2] != '.' && text[n - 3] != '.';)
        text[--n] = '\0';
    return json_string(text);
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

static json_t *budget_json(const struct budget_spec *b,
                           const struct accounts_state *s)
{
    json_t *resets =
        s->resets_ms == INT64_MAX ? json_null() : json_time(s->resets_ms);

    return json_pack(
        "{s:o, s:s, s:s, s:b, s:o, s:o, s:o, s:o}", "amount",
        amount_json(b->unit, b->amount), "unit", budget_unit_name(b->unit),
        "window", budget_window_name(b->window), "soft", b->soft, "spent",
        amount_json(b->unit, s->spent), "held", amount_json(b->unit, s->held),
        "left", amount_json(b->unit, left_of(b, s)), "resets", resets);
}

json_t *control_budget_list(struct daemon *d, bool is_team, struct str owner,
                            const struct key_spec *spec)
{
    json_t *list = json_array();

    for (size_t i = 0; i < spec->n_budgets; i++) {
        struct accounts_state s;

        accounts_read(d->accounts, is_team, owner, &spec->budgets[i], &s);
        json_array_append_new(list, budget_json(&spec->budgets[i], &s));
    }
    return list;
}

/* ---- all of them ------------------------------------------------------- */

struct sums {
    json_int_t hard, soft, used_up, passed;
};

static void add(struct daemon *d, bool is_team, struct str owner,
                const struct key_spec *spec, struct sums *to)
{
    for (size_t i = 0; i < spec->n_budgets; i++) {
        const struct budget_spec *b = &spec->budgets[i];
        struct accounts_state s;

        accounts_read(d->accounts, is_team, owner, b, &s);
        if (b->soft) {
            to->soft++;
            to->passed += s.spent > b->amount;
        } else {
            to->hard++;
            to->used_up += s.spent >= b->amount;
        }
    }
}

static bool add_keys(struct daemon *d, struct sums *to)
{
    const struct key **keys = NULL;
    size_t n = 0;

    if (keytab_list(d->keys, &keys, &n) != ERR_OK)
        return false;
    for (size_t i = 0; i < n; i++) {
        add(d, false, keys[i]->id, &keys[i]->spec, to);
        key_unref(keys[i]);
    }
    free(keys);
    return true;
}

static bool add_teams(struct daemon *d, struct sums *to)
{
    const struct team **teams = NULL;
    size_t n = 0;

    if (keytab_list_teams(d->keys, &teams, &n) != ERR_OK)
        return false;
    for (size_t i = 0; i < n; i++) {
        add(d, true, teams[i]->spec.name, &teams[i]->spec, to);
        team_unref(teams[i]);
    }
    free(teams);
    return true;
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
