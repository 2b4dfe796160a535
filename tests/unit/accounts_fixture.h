/* accounts_fixture.h - Requests that ask for budgets, as tests make them: of
 * key_a in team blue. */
#ifndef TG_TESTS_UNIT_ACCOUNTS_FIXTURE_H
#define TG_TESTS_UNIT_ACCOUNTS_FIXTURE_H

#include "unit/ledger_fixture.h"

#include "account/accounts.h"
#include "account/ledger_spend.h"
#include "base/clock.h"

#include <pthread.h>

/* A waiter that a thread sleeps on. */
struct sleeper {
    struct accounts_waiter w; /* first */
    pthread_mutex_t lock;
    pthread_cond_t woken_up;
    bool woken;
};

static inline void wake(struct accounts_waiter *w)
{
    struct sleeper *s = (struct sleeper *)(void *)w;

    pthread_mutex_lock(&s->lock);
    s->woken = true;
    pthread_cond_signal(&s->woken_up);
    pthread_mutex_unlock(&s->lock);
}

static inline void sleeper_init(struct sleeper *s)
{
    memset(s, 0, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->woken_up, NULL);
    s->w.wake = wake;
}

static inline void sleep_until_woken(struct sleeper *s)
{
    pthread_mutex_lock(&s->lock);
    while (!s->woken)
        pthread_cond_wait(&s->woken_up, &s->lock);
    s->woken = false;
    pthread_mutex_unlock(&s->lock);
}

/* --- requests ------------------------------------------------------------- */

struct client {
    struct fixture *f;
    struct accounts *a;
    struct ledger_worker *lw;
    struct sleeper sleeper;
    const struct budget_spec *key, *team; /* NULL: none */
};

static inline void client_init(struct client *c, struct fixture *f,
                               struct accounts *a, struct ledger_worker *lw)
{
    memset(c, 0, sizeof(*c));
    c->f = f;
    c->a = a;
    c->lw = lw;
    sleeper_init(&c->sleeper);
}

static inline struct budget_spec spec_of(const char *text)
{
    struct budget_spec spec;

    assert_int_equal(budget_spec_parse(str_from(text), &spec), ERR_OK);
    return spec;
}

static inline struct accounts_ask ask_of(const struct client *c,
                                         const struct usage_row *row,
                                         int64_t in, int64_t out)
{
    return (struct accounts_ask){
        .id = row->id,
        .key = {.name = STR("key_a"),
                .budgets = c->key,
                .n_budgets = c->key != NULL},
        .team = {.name = STR("blue"),
                 .budgets = c->team,
                 .n_budgets = c->team != NULL},
        .most = {.of = {[BUDGET_TOKENS] = in + out,
                        [BUDGET_INPUT_TOKENS] = in,
                        [BUDGET_OUTPUT_TOKENS] = out,
                        [BUDGET_NUSD] = 10 * (in + out)}},
        .at_ms = row->budget_ms};
}

/* Ask until it is certain, or others hold what it needs. */
static inline enum accounts_answer ask(struct client *c,
                                       const struct accounts_ask *what,
                                       struct accounts_hold *hold)
{
    struct accounts_no no;
    enum accounts_answer answer;

    *hold = (struct accounts_hold){0};
    while ((answer = accounts_ask(c->a, c->lw, what, &c->sleeper.w, hold,
                                  &no)) == ACCOUNTS_WAIT)
        sleep_until_woken(&c->sleeper);
    return answer;
}

/* Grow, waiting for leases. */
static inline enum accounts_answer grow(struct client *c,
                                        const struct accounts_ask *what,
                                        struct accounts_hold *hold)
{
    enum accounts_answer answer;
    struct accounts_no no;

    while ((answer = accounts_grow(c->a, c->lw, what, &c->sleeper.w, hold,
                                   &no)) == ACCOUNTS_WAIT)
        sleep_until_woken(&c->sleeper);
    return answer;
}

/* Ask, and do not wait for others. */
static inline enum accounts_answer ask_now(struct client *c,
                                           const struct accounts_ask *what,
                                           struct accounts_hold *hold)
{
    const enum accounts_answer answer = ask(c, what, hold);

    accounts_leave(c->a, &c->sleeper.w);
    c->sleeper.woken = false;
    return answer;
}

static inline struct usage_row request(char id[ID_SIZE], struct accounts *a)
{
    struct usage_row row = row_at(id, DAY0);

    row.budget_ms = accounts_now_ms(a);
    return row;
}

/* The request took <in> and <out>. */
static inline void end(struct client *c, struct accounts_hold *hold,
                       struct usage_row *row, uint64_t in, uint64_t out)
{
    memset(row->tok, 0, sizeof(row->tok));
    row->tok[ROW_TOK_INPUT] = in;
    row->tok[ROW_TOK_OUTPUT] = out;
    row->cost_nusd = (int64_t)(10 * (in + out));
    if (hold->key || hold->team)
        row->budget_ms = hold->hold.at_ms;
    if (ledger_row_put(c->lw, row) != ERR_OK)
        abort();
    accounts_settle(c->a, hold, row);
}

static inline struct accounts_state state_of(struct accounts *a, bool is_team,
                                             const struct budget_spec *spec)
{
    struct accounts_state s;

    accounts_read(a, is_team, is_team ? STR("blue") : STR("key_a"), spec, &s);
    return s;
}

/* --- one at a time -------------------------------------------------------- */

/* A client that asked for <in> and <out>. */
struct asker {
    struct client c;
    char id[ID_SIZE];
    struct usage_row row;
    struct accounts_hold hold;
    struct accounts_no no;
};

static inline enum accounts_answer asker_asks(struct asker *k, int64_t in,
                                              int64_t out)
{
    struct accounts_ask what = ask_of(&k->c, &k->row, in, out);

    what.at_ms = accounts_now_ms(k->c.a);
    return accounts_ask(k->c.a, k->c.lw, &what, &k->c.sleeper.w, &k->hold,
                        &k->no);
}

/* The same, over leases. */
static inline enum accounts_answer asker_waits(struct asker *k, int64_t in,
                                               int64_t out)
{
    enum accounts_answer answer;

    while ((answer = asker_asks(k, in, out)) == ACCOUNTS_WAIT)
        sleep_until_woken(&k->c.sleeper);
    return answer;
}

static inline void asker_init(struct asker *k, struct fixture *f,
                              struct accounts *a, const struct budget_spec *key,
                              const struct budget_spec *team)
{
    memset(k, 0, sizeof(*k));
    client_init(&k->c, f, a, f->lw);
    k->c.key = key;
    k->c.team = team;
    k->row = request(k->id, a);
}

static inline enum accounts_answer asker_grows(struct asker *k, int64_t in,
                                               int64_t out)
{
    const struct accounts_ask what = ask_of(&k->c, &k->row, in, out);

    return grow(&k->c, &what, &k->hold);
}

static inline void asker_ends(struct asker *k, uint64_t in, uint64_t out)
{
    end(&k->c, &k->hold, &k->row, in, out);
}

#endif
