/* accounts.c - See accounts.h. Of each owner all windows and units are kept,
 * whether a budget is set there or not: a new budget then knows what was taken
 * since its window began, and a hold is given back where it was taken, whatever
 * was changed meanwhile. */
#include "account/accounts_priv.h"

#include <stdlib.h>
#include <string.h>

#include "account/ledger_reconcile.h"
#include "account/window.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"

/* --- life ----------------------------------------------------------------- */

struct accounts *accounts_new(struct ledger *l)
{
    struct accounts *a = calloc(1, sizeof(*a));

    if (!a)
        return NULL;
    a->l = l;
    if (pthread_mutex_init(&a->lock, NULL) != 0 ||
        pthread_cond_init(&a->quiet, NULL) != 0)
        PANIC("pthread_mutex_init failed");
    return a;
}

void accounts_free(struct accounts *a)
{
    struct account *it, *next;

    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    while (a->n_leasing > 0)
        pthread_cond_wait(&a->quiet, &a->lock);
    pthread_mutex_unlock(&a->lock);
    HASH_ITER(hh, a->by_name, it, next)
    {
        HASH_DEL(a->by_name, it);
        free(it);
    }
    pthread_cond_destroy(&a->quiet);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

/* --- time ----------------------------------------------------------------- */

int64_t account_now(struct accounts *a)
{
    const int64_t wall = (int64_t)clock_now_wall_ms();

    if (wall > a->now_ms)
        a->now_ms = wall;
    return a->now_ms;
}

int64_t accounts_now_ms(struct accounts *a)
{
    pthread_mutex_lock(&a->lock);
    const int64_t now = account_now(a);
    pthread_mutex_unlock(&a->lock);
    return now;
}

/* --- accounts ------------------------------------------------------------- */

static struct account *find(struct accounts *a, struct str name)
{
    struct account *it;

    HASH_FIND(hh, a->by_name, name.p, name.len, it);
    return it;
}

/* Begin with what the ledger says. A window that is later than now tells that
 * the clock went back: time goes on from there. */
static void load(struct account *it, const struct spend *s)
{
    struct accounts *a = it->of;

    for (int i = 0; i < ACCOUNT_CELLS; i++) {
        const struct budget_spec spec = {
            .amount = INT64_MAX,
            .unit = (enum budget_unit)(i % BUDGET_UNIT_COUNT),
            .window = (enum budget_window)(i / BUDGET_UNIT_COUNT),
            .soft = true};
        const int64_t number = s->in[spec.window].number;
        const int64_t begin = window_begin_ms(spec.window, number);

        budget_init(&it->cells[i], &spec, a->now_ms);
        if (begin > a->now_ms)
            a->now_ms = begin;
        budget_recover(&it->cells[i], number,
                       s->in[spec.window].took.of[spec.unit], 0, 0, true);
    }
}

static struct account *insert(struct accounts *a, struct str name,
                              const struct spend *s)
{
    struct account *it = calloc(1, sizeof(*it));

    if (!it)
        return NULL;
    it->name_len = name.len;
    memcpy(it->name, name.p, name.len);
    it->of = a;
    TAILQ_INIT(&it->for_lease);
    TAILQ_INIT(&it->for_room);
    account_now(a);
    load(it, s);
    HASH_ADD(hh, a->by_name, name, it->name_len, it);
    if (MAP_ADDED(it))
        return it;
    free(it);
    return NULL;
}

/* The account of <name>, which is read from the ledger when it is new; NULL
 * where that fails. With the lock held, which is let go meanwhile. An account
 * is made before the first row of its owner is put by this process, so the
 * ledger has all of it. */
static struct account *account_at(struct accounts *a, struct str name)
{
    struct account *it = find(a, name);
    struct spend s;

    if (it)
        return it;
    pthread_mutex_unlock(&a->lock);
    const enum err err = ledger_spend_read(a->l, name, &s);
    pthread_mutex_lock(&a->lock);
    it = find(a, name);
    if (it)
        return it;
    return err == ERR_OK ? insert(a, name, &s) : NULL;
}

static struct account *account_of(struct accounts *a, bool is_team,
                                  struct str text)
{
    char name[SPEND_NAME_MAX];
    const size_t len =
        is_team ? spend_team_name(text, name) : spend_key_name(text, name);

    return account_at(a, str_of(name, len));
}

struct budget *account_cell(struct account *it, const struct budget_spec *spec)
{
    return &it->cells[(int)spec->window * BUDGET_UNIT_COUNT + (int)spec->unit];
}

void account_cells(struct account *it, struct budget *list[ACCOUNT_CELLS])
{
    for (int i = 0; i < ACCOUNT_CELLS; i++)
        list[i] = &it->cells[i];
}

void account_roll(struct account *it, int64_t now_ms)
{
    for (int i = 0; i < ACCOUNT_CELLS; i++)
        budget_roll(&it->cells[i], now_ms);
}

enum err account_pair_of(struct accounts *a, const struct accounts_ask *ask,
                         struct account_pair *out)
{
    *out = (struct account_pair){0};
    if (ask->key.name.len > 0) {
        out->key = account_of(a, false, ask->key.name);
        if (!out->key)
            return ERR_LEDGER;
    }
    if (ask->team.name.len > 0) {
        out->team = account_of(a, true, ask->team.name);
        if (!out->team)
            return ERR_LEDGER;
    }
    return ERR_OK;
}

void accounts_meet(struct accounts *a, struct str key, struct str team)
{
    const struct accounts_ask ask = {.key.name = key, .team.name = team};
    struct account_pair p;

    pthread_mutex_lock(&a->lock);
    if (account_pair_of(a, &ask, &p) != ERR_OK)
        log_warn(LOG_LEDGER, "what a key or team has spent cannot be read");
    pthread_mutex_unlock(&a->lock);
}

/* --- bounds --------------------------------------------------------------- */

/* Set the budgets of <o> on <it>, all at <now_ms>; how many are hard. */
static size_t bind(struct account *it, const struct accounts_owner *o,
                   int64_t now_ms)
{
    size_t n = 0;

    for (int i = 0; i < ACCOUNT_CELLS; i++) {
        budget_roll(&it->cells[i], now_ms);
        it->cells[i].spec.soft = true;
        it->cells[i].spec.amount = INT64_MAX;
    }
    for (size_t i = 0; i < o->n_budgets; i++) {
        const struct budget_spec *spec = &o->budgets[i];
        struct budget *c = account_cell(it, spec);

        if (spec->soft)
            continue;
        n++;
        c->spec.soft = false;
        if (spec->amount < c->spec.amount)
            c->spec.amount = spec->amount;
    }
    return n;
}

size_t account_bind(const struct account_pair *p,
                    const struct accounts_ask *ask, int64_t now_ms)
{
    size_t n = 0;

    if (p->key)
        n += bind(p->key, &ask->key, now_ms);
    if (p->team)
        n += bind(p->team, &ask->team, now_ms);
    return n;
}

/* The first hard budget of <o> that ask->most does not fit, or NULL. */
static const struct budget_spec *over(struct account *it,
                                      const struct accounts_owner *o,
                                      const struct budget_amounts *most,
                                      const struct budget_hold *old, bool ever)
{
    for (size_t i = 0; i < o->n_budgets; i++) {
        const struct budget_spec *spec = &o->budgets[i];
        struct budget b;
        struct budget *list = &b;

        if (spec->soft)
            continue;
        b = *account_cell(it, spec);
        b.spec = *spec;
        if (ever)
            b.held = 0;
        if (budget_ask_grow(&list, 1, old, most, NULL) == BUDGET_OVER)
            return spec;
    }
    return NULL;
}

bool account_is_over(const struct account_pair *p,
                     const struct accounts_ask *ask,
                     const struct budget_hold *old, bool ever,
                     struct accounts_no *no)
{
    const struct budget_spec *spec = NULL;
    struct account *at = p->key;

    if (p->key)
        spec = over(p->key, &ask->key, &ask->most, old, ever);
    if (!spec && p->team) {
        at = p->team;
        spec = over(p->team, &ask->team, &ask->most, old, ever);
    }
    if (!spec)
        return false;
    struct budget b = *account_cell(at, spec);
    b.spec = *spec;
    *no = (struct accounts_no){.is_team = at != p->key,
                               .spec = *spec,
                               .left = budget_left(&b),
                               .resets_ms = b.end_ms};
    return true;
}

/* --- waiting -------------------------------------------------------------- */

void accounts_leave(struct accounts *a, struct accounts_waiter *w)
{
    pthread_mutex_lock(&a->lock);
    account_unwait(w);
    account_offer_over(w);
    w->turn = 0;
    pthread_mutex_unlock(&a->lock);
}

/* --- totals --------------------------------------------------------------- */

void account_total(struct accounts *a, const struct budget_amounts *more,
                   const struct budget_amounts *less)
{
    uint64_t held;

    for (int u = 0; u < BUDGET_UNIT_COUNT; u++) {
        /* as if without an end, so that what was added comes off again */
        held = (uint64_t)a->totals.held.of[u];
        held += (uint64_t)more->of[u] - (uint64_t)less->of[u];
        a->totals.held.of[u] = (int64_t)held;
    }
}

/* One more holds, or one less. */
static void total_hold(struct accounts *a, const struct budget_hold *h)
{
    const struct budget_amounts none = {0};

    account_total(a, &h->most, &none);
    a->totals.holds++;
}

static void total_unhold(struct accounts *a, const struct budget_hold *h)
{
    const struct budget_amounts none = {0};

    account_total(a, &none, &h->most);
    a->totals.holds--;
}

void accounts_totals(struct accounts *a, struct accounts_totals *out)
{
    pthread_mutex_lock(&a->lock);
    *out = a->totals;
    pthread_mutex_unlock(&a->lock);
}

/* --- asking --------------------------------------------------------------- */

/* Hold <most> in every cell of <it>. */
static void take(struct account *it, const struct budget_amounts *most,
                 int64_t at_ms, struct budget_hold *out)
{
    struct budget *list[ACCOUNT_CELLS];

    account_cells(it, list);
    budget_take(list, ACCOUNT_CELLS, most, at_ms, out);
}

static void settle(struct account *it, const struct budget_hold *h,
                   const struct budget_amounts *took)
{
    struct budget *list[ACCOUNT_CELLS];

    account_cells(it, list);
    budget_settle(list, ACCOUNT_CELLS, h, took);
    account_offer(it);
}

/* With the lock held; <w> waits for nothing. */
static enum accounts_answer ask_locked(struct accounts *a,
                                       const struct accounts_ask *ask,
                                       struct accounts_waiter *w,
                                       struct accounts_hold *hold,
                                       struct accounts_no *no)
{
    const struct budget_hold none = {0};
    struct account_pair p;

    if (account_pair_of(a, ask, &p) != ERR_OK)
        return ACCOUNTS_DOWN;
    const int64_t now_ms = account_now(a);
    if (account_bind(&p, ask, now_ms) == 0)
        return ACCOUNTS_HELD;
    if (account_is_over(&p, ask, &none, true, no))
        return ACCOUNTS_OVER;
    if (account_is_over(&p, ask, &none, false, no)) {
        account_wait_room(no->is_team ? p.team : p.key, &ask->most, w);
        return ACCOUNTS_BUSY;
    }
    if (ledger_state(a->l) != LEDGER_OK)
        return ACCOUNTS_DOWN;
    if (account_waits_lease(&p, &none, &ask->most, w))
        return ACCOUNTS_WAIT;
    hold->key = p.key;
    hold->team = p.team;
    if (p.key)
        take(p.key, &ask->most, now_ms, &hold->hold);
    if (p.team)
        take(p.team, &ask->most, now_ms, &hold->hold);
    total_hold(a, &hold->hold);
    return ACCOUNTS_HELD;
}

enum err account_write_hold(struct ledger_worker *lw,
                            const struct accounts_ask *ask,
                            const struct budget_hold *hold, uint32_t change)
{
    const struct hold h = {
        .id = ask->id,
        .at_ms = hold->at_ms,
        .key_id = ask->key.name,
        .team = ask->team.name,
        .input_tok = (uint64_t)hold->most.of[BUDGET_INPUT_TOKENS],
        .output_tok = (uint64_t)hold->most.of[BUDGET_OUTPUT_TOKENS],
        .cost_nusd = hold->most.of[BUDGET_NUSD],
        .change = change,
        .parent = ask->parent};

    return ledger_hold_put(lw, &h);
}

/* Give <hold> back, of which nothing was taken. */
static void give_back(struct accounts *a, struct accounts_hold *hold)
{
    const struct budget_amounts none = {0};

    pthread_mutex_lock(&a->lock);
    if (hold->key)
        settle(hold->key, &hold->hold, &none);
    if (hold->team)
        settle(hold->team, &hold->hold, &none);
    total_unhold(a, &hold->hold);
    pthread_mutex_unlock(&a->lock);
}

enum accounts_answer accounts_ask(struct accounts *a, struct ledger_worker *lw,
                                  const struct accounts_ask *ask,
                                  struct accounts_waiter *w,
                                  struct accounts_hold *hold_out,
                                  struct accounts_no *no_out)
{
    struct accounts_hold hold = {0};

    pthread_mutex_lock(&a->lock);
    account_unwait(w);
    const enum accounts_answer answer = ask_locked(a, ask, w, &hold, no_out);
    if (answer != ACCOUNTS_WAIT)
        account_offer_over(w);
    if (answer != ACCOUNTS_WAIT && answer != ACCOUNTS_BUSY)
        w->turn = 0;
    pthread_mutex_unlock(&a->lock);
    if (answer != ACCOUNTS_HELD)
        return answer;
    if ((hold.key || hold.team) &&
        account_write_hold(lw, ask, &hold.hold, ask->change) != ERR_OK) {
        give_back(a, &hold);
        return ACCOUNTS_DOWN;
    }
    hold.changes = ask->change;
    *hold_out = hold;
    return ACCOUNTS_HELD;
}

enum err accounts_give(struct accounts *a, struct ledger_worker *lw,
                       const struct accounts_ask *ask,
                       struct accounts_hold *hold)
{
    const struct budget_hold none = {.at_ms = hold->hold.at_ms};
    const uint32_t change = hold->changes + 1;

    if (hold->key || hold->team) {
        ERR_TRY(account_write_hold(lw, ask, &none, change));
        give_back(a, hold);
    }
    *hold = (struct accounts_hold){.changes = change + 1};
    return ERR_OK;
}

/* --- settling ------------------------------------------------------------- */

/* Count what was <took> by <it>, with what is held for it or nothing. */
static void count(struct account *it, const struct budget_hold *h,
                  const struct budget_amounts *took, int64_t now_ms)
{
    const struct budget_amounts none = {0};

    account_roll(it, h->at_ms);
    settle(it, h, took);
    account_burn(it, now_ms, took);
    if (account_passed_lease(it))
        account_lease(it, &none);
}

void accounts_settle(struct accounts *a, struct accounts_hold *hold,
                     const struct usage_row *row)
{
    const struct budget_amounts took = spend_of_row(row);
    const struct budget_hold bare = {
        .at_ms = row->budget_ms ? row->budget_ms : row->time_wall_ms};
    struct account *key = hold ? hold->key : NULL;
    struct account *team = hold ? hold->team : NULL;
    const struct budget_hold *kept = key || team ? &hold->hold : &bare;

    pthread_mutex_lock(&a->lock);
    if (!key && !team && row->key_id.len > 0)
        key = account_of(a, false, row->key_id);
    if (kept == &bare && row->team.len > 0)
        team = account_of(a, true, row->team);
    const int64_t now_ms = account_now(a);
    if (key)
        count(key, kept, &took, now_ms);
    if (team)
        count(team, kept, &took, now_ms);
    if (kept != &bare)
        total_unhold(a, kept);
    pthread_mutex_unlock(&a->lock);
    if (hold)
        *hold = (struct accounts_hold){0};
}

/* --- what was lost -------------------------------------------------------- */

static void lower(struct account *it, const struct spend *taken)
{
    for (int i = 0; i < ACCOUNT_CELLS; i++) {
        struct budget *c = &it->cells[i];
        const enum budget_window w = c->spec.window;

        budget_take_back(c, taken->in[w].number,
                         taken->in[w].took.of[c->spec.unit]);
    }
    account_offer(it);
}

enum err accounts_take_back(
    struct accounts *a, bool is_team, struct str name,
    const struct budget_amounts less[BUDGET_WINDOW_COUNT],
    struct spend *taken_out)
{
    char owner[SPEND_NAME_MAX];
    const size_t len =
        is_team ? spend_team_name(name, owner) : spend_key_name(name, owner);

    /* known before the ledger changes, so that it is lowered once */
    pthread_mutex_lock(&a->lock);
    struct account *it = account_at(a, str_of(owner, len));
    pthread_mutex_unlock(&a->lock);
    if (!it)
        return ERR_LEDGER;
    ERR_TRY(ledger_take_back(a->l, str_of(owner, len), less, taken_out));
    pthread_mutex_lock(&a->lock);
    lower(it, taken_out);
    pthread_mutex_unlock(&a->lock);
    return ERR_OK;
}
