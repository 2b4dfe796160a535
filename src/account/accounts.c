/* accounts.c - See accounts.h. Of each owner all windows and units are kept,
 * whether a budget is set there or not: a new budget then knows what was taken
 * since its window began, and a hold is given back where it was taken, whatever
 * was changed meanwhile. */
#include "account/accounts_priv.h"

#include <stdlib.h>
#include <string.h>

#include "account/window.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"

/* The cells of one request that a hard budget stands in. */
struct bounds {
    struct budget *list[2 * ACCOUNT_CELLS];
    size_t n;
};

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

/* With the lock held. */
static int64_t now_of(struct accounts *a)
{
    const int64_t wall = (int64_t)clock_now_wall_ms();

    if (wall > a->now_ms)
        a->now_ms = wall;
    return a->now_ms;
}

int64_t accounts_now_ms(struct accounts *a)
{
    pthread_mutex_lock(&a->lock);
    const int64_t now = now_of(a);
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
    TAILQ_INIT(&it->waiters);
    now_of(a);
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

static struct budget *cell_of(struct account *it,
                              const struct budget_spec *spec)
{
    return &it->cells[(int)spec->window * BUDGET_UNIT_COUNT + (int)spec->unit];
}

/* --- bounds --------------------------------------------------------------- */

/* Set the budgets of <o> on <it>, all at <now_ms>; add the hard ones. */
static void bind(struct account *it, const struct accounts_owner *o,
                 int64_t now_ms, struct bounds *to)
{
    for (int i = 0; i < ACCOUNT_CELLS; i++) {
        budget_roll(&it->cells[i], now_ms);
        it->cells[i].spec.soft = true;
        it->cells[i].spec.amount = INT64_MAX;
    }
    for (size_t i = 0; i < o->n_budgets; i++) {
        const struct budget_spec *spec = &o->budgets[i];
        struct budget *c = cell_of(it, spec);

        if (spec->soft)
            continue;
        if (c->spec.soft)
            to->list[to->n++] = c;
        c->spec.soft = false;
        if (spec->amount < c->spec.amount)
            c->spec.amount = spec->amount;
    }
}

/* Whether a hard budget of <o> does not have room for <most>; tells which. */
static bool is_over(struct account *it, const struct accounts_owner *o,
                    const struct budget_amounts *most, bool is_team,
                    struct accounts_no *out)
{
    for (size_t i = 0; i < o->n_budgets; i++) {
        const struct budget_spec *spec = &o->budgets[i];
        struct budget b = *cell_of(it, spec);

        if (spec->soft)
            continue;
        b.spec = *spec;
        if (most->of[spec->unit] <= budget_left(&b))
            continue;
        *out = (struct accounts_no){.is_team = is_team,
                                    .spec = *spec,
                                    .left = budget_left(&b),
                                    .resets_ms =
                                        window_end_ms(spec->window, b.window)};
        return true;
    }
    return false;
}

/* --- waiting ---------------------------------------------------------------
 */

static void wait_at(struct account *it, const struct budget_amounts *most,
                    struct accounts_waiter *w)
{
    w->at = it;
    w->most = *most;
    TAILQ_INSERT_TAIL(&it->waiters, w, link);
    account_lease(it, most);
}

void accounts_leave(struct accounts *a, struct accounts_waiter *w)
{
    pthread_mutex_lock(&a->lock);
    if (w->at)
        TAILQ_REMOVE(&w->at->waiters, w, link);
    w->at = NULL;
    pthread_mutex_unlock(&a->lock);
}

/* --- asking --------------------------------------------------------------- */

/* The accounts of a request. */
struct pair {
    struct account *key, *team; /* NULL: it has none */
};

/* Find them. ERR_LEDGER when one cannot be read. */
static enum err pair_of(struct accounts *a, const struct accounts_ask *ask,
                        struct pair *out)
{
    *out = (struct pair){0};
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

static void bind_both(const struct pair *p, const struct accounts_ask *ask,
                      int64_t now_ms, struct bounds *out)
{
    out->n = 0;
    if (p->key)
        bind(p->key, &ask->key, now_ms, out);
    if (p->team)
        bind(p->team, &ask->team, now_ms, out);
}

/* Hold <most> in every cell of <it>. */
static void take(struct account *it, const struct budget_amounts *most,
                 int64_t at_ms, struct budget_hold *out)
{
    struct budget *list[ACCOUNT_CELLS];

    for (int i = 0; i < ACCOUNT_CELLS; i++)
        list[i] = &it->cells[i];
    budget_take(list, ACCOUNT_CELLS, most, at_ms, out);
}

static void settle(struct account *it, const struct budget_hold *h,
                   const struct budget_amounts *took)
{
    struct budget *list[ACCOUNT_CELLS];

    for (int i = 0; i < ACCOUNT_CELLS; i++)
        list[i] = &it->cells[i];
    budget_settle(list, ACCOUNT_CELLS, h, took);
}

/* With the lock held. */
static enum accounts_answer ask_locked(struct accounts *a,
                                       const struct accounts_ask *ask,
                                       struct accounts_waiter *w,
                                       struct accounts_hold *hold,
                                       struct accounts_no *no)
{
    struct bounds b;
    struct pair p;

    if (pair_of(a, ask, &p) != ERR_OK)
        return ACCOUNTS_DOWN;
    bind_both(&p, ask, now_of(a), &b);
    if (b.n == 0)
        return ACCOUNTS_HELD;
    if ((p.key && is_over(p.key, &ask->key, &ask->most, false, no)) ||
        (p.team && is_over(p.team, &ask->team, &ask->most, true, no)))
        return ACCOUNTS_OVER;
    if (ledger_state(a->l) != LEDGER_OK)
        return ACCOUNTS_DOWN;
    if (p.key && account_lacks_lease(p.key, &ask->most)) {
        wait_at(p.key, &ask->most, w);
        return ACCOUNTS_WAIT;
    }
    if (p.team && account_lacks_lease(p.team, &ask->most)) {
        wait_at(p.team, &ask->most, w);
        return ACCOUNTS_WAIT;
    }
    hold->key = p.key;
    hold->team = p.team;
    if (p.key)
        take(p.key, &ask->most, ask->at_ms, &hold->hold);
    if (p.team)
        take(p.team, &ask->most, ask->at_ms, &hold->hold);
    return ACCOUNTS_HELD;
}

/* Put the hold into the journal. */
static enum err write_hold(struct ledger_worker *lw,
                           const struct accounts_ask *ask)
{
    const struct hold h = {
        .id = ask->id,
        .at_ms = ask->at_ms,
        .key_id = ask->key.name,
        .team = ask->team.name,
        .input_tok = (uint64_t)ask->most.of[BUDGET_INPUT_TOKENS],
        .output_tok = (uint64_t)ask->most.of[BUDGET_OUTPUT_TOKENS],
        .cost_nusd = ask->most.of[BUDGET_NUSD]};

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
    pthread_mutex_unlock(&a->lock);
    *hold = (struct accounts_hold){0};
}

enum accounts_answer accounts_ask(struct accounts *a, struct ledger_worker *lw,
                                  const struct accounts_ask *ask,
                                  struct accounts_waiter *w,
                                  struct accounts_hold *hold_out,
                                  struct accounts_no *no_out)
{
    struct accounts_hold hold = {0};

    pthread_mutex_lock(&a->lock);
    const enum accounts_answer answer = ask_locked(a, ask, w, &hold, no_out);
    pthread_mutex_unlock(&a->lock);
    if (answer != ACCOUNTS_HELD)
        return answer;
    if ((hold.key || hold.team) && write_hold(lw, ask) != ERR_OK) {
        give_back(a, &hold);
        return ACCOUNTS_DOWN;
    }
    *hold_out = hold;
    return ACCOUNTS_HELD;
}

void accounts_left(struct accounts *a, const struct accounts_ask *ask,
                   struct budget_amounts *out)
{
    struct bounds b = {.n = 0};
    struct pair p;

    for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
        out->of[u] = INT64_MAX;
    pthread_mutex_lock(&a->lock);
    if (pair_of(a, ask, &p) == ERR_OK)
        bind_both(&p, ask, now_of(a), &b);
    for (size_t i = 0; i < b.n; i++) {
        int64_t *left = &out->of[b.list[i]->spec.unit];

        if (budget_left(b.list[i]) < *left)
            *left = budget_left(b.list[i]);
    }
    pthread_mutex_unlock(&a->lock);
}

/* --- settling ------------------------------------------------------------- */

static void burn_add(struct account *it, int64_t now_ms,
                     const struct budget_amounts *took)
{
    const int64_t second = now_ms / 1000;
    struct burn *b = &it->burn;

    if (second != b->second) {
        b->last = second == b->second + 1 ? b->now : (struct budget_amounts){0};
        b->now = (struct budget_amounts){0};
        b->second = second;
    }
    for (int u = 0; u < BUDGET_UNIT_COUNT; u++)
        if (__builtin_add_overflow(b->now.of[u], took->of[u], &b->now.of[u]))
            b->now.of[u] = INT64_MAX;
}

/* Count what was <took> by <it>, with what is held for it or nothing. */
static void count(struct account *it, const struct budget_hold *h,
                  const struct budget_amounts *took, int64_t now_ms)
{
    const struct budget_amounts none = {0};

    for (int i = 0; i < ACCOUNT_CELLS; i++)
        budget_roll(&it->cells[i], h->at_ms);
    settle(it, h, took);
    burn_add(it, now_ms, took);
    for (int i = 0; i < ACCOUNT_CELLS; i++) {
        const struct budget *c = &it->cells[i];

        if (!c->spec.soft && c->spent > c->lease) {
            account_lease(it, &none);
            return;
        }
    }
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
    const int64_t now_ms = now_of(a);
    if (key)
        count(key, kept, &took, now_ms);
    if (team)
        count(team, kept, &took, now_ms);
    pthread_mutex_unlock(&a->lock);
    if (hold)
        *hold = (struct accounts_hold){0};
}

void accounts_read(struct accounts *a, bool is_team, struct str name,
                   const struct budget_spec *spec, struct accounts_state *out)
{
    *out = (struct accounts_state){.resets_ms = INT64_MAX};
    pthread_mutex_lock(&a->lock);
    struct account *it = account_of(a, is_team, name);
    if (it) {
        struct budget *c = cell_of(it, spec);

        budget_roll(c, now_of(a));
        out->spent = c->spent;
        out->held = c->held;
        out->resets_ms = window_end_ms(spec->window, c->window);
    }
    pthread_mutex_unlock(&a->lock);
}
