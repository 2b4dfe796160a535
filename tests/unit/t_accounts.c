/* t_accounts.c - Budgets under any concurrency and any death: as many requests
 * as fit are held, not one more, and none less once holds are given back.
 * TG_ADMISSIONS sets how many random admissions are made (default 20000),
 * TG_KILL_ROUNDS how often a process is killed (default 30). */
#include "unit/ledger_fixture.h"

#include "account/accounts.h"
#include "account/ledger_spend.h"
#include "base/clock.h"
#include "store/writer.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define WORKERS 4

/* A waiter that a thread sleeps on. */
struct sleeper {
    struct accounts_waiter w; /* first */
    pthread_mutex_t lock;
    pthread_cond_t woken_up;
    bool woken;
};

static void wake(struct accounts_waiter *w)
{
    struct sleeper *s = (struct sleeper *)(void *)w;

    pthread_mutex_lock(&s->lock);
    s->woken = true;
    pthread_cond_signal(&s->woken_up);
    pthread_mutex_unlock(&s->lock);
}

static void sleeper_init(struct sleeper *s)
{
    memset(s, 0, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->woken_up, NULL);
    s->w.wake = wake;
}

static void sleep_until_woken(struct sleeper *s)
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

static void client_init(struct client *c, struct fixture *f, struct accounts *a,
                        struct ledger_worker *lw)
{
    memset(c, 0, sizeof(*c));
    c->f = f;
    c->a = a;
    c->lw = lw;
    sleeper_init(&c->sleeper);
}

static struct budget_spec spec_of(const char *text)
{
    struct budget_spec spec;

    assert_int_equal(budget_spec_parse(str_from(text), &spec), ERR_OK);
    return spec;
}

static struct accounts_ask ask_of(const struct client *c,
                                  const struct usage_row *row, int64_t in,
                                  int64_t out)
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

/* Ask until it is certain. */
static enum accounts_answer ask(struct client *c,
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

static struct usage_row request(char id[ID_SIZE], struct accounts *a)
{
    struct usage_row row = row_at(id, DAY0);

    row.budget_ms = accounts_now_ms(a);
    return row;
}

/* The request took <in> and <out>. */
static void end(struct client *c, struct accounts_hold *hold,
                struct usage_row *row, uint64_t in, uint64_t out)
{
    memset(row->tok, 0, sizeof(row->tok));
    row->tok[ROW_TOK_INPUT] = in;
    row->tok[ROW_TOK_OUTPUT] = out;
    row->cost_nusd = (int64_t)(10 * (in + out));
    if (ledger_row_put(c->lw, row) != ERR_OK)
        abort();
    accounts_settle(c->a, hold, row);
}

static struct accounts_state state_of(struct accounts *a, bool is_team,
                                      const struct budget_spec *spec)
{
    struct accounts_state s;

    accounts_read(a, is_team, is_team ? STR("blue") : STR("key_a"), spec, &s);
    return s;
}

/* --- one thread ----------------------------------------------------------- */

static void what_does_not_fit_is_told(void **state)
{
    const struct budget_spec key = spec_of("100-tokens/day");
    const struct budget_spec team = spec_of("30-output-tokens/total");
    struct fixture *f = *state;
    struct accounts *a = accounts_new(f->ledger);
    struct accounts_hold hold, other;
    struct accounts_no no;
    struct client c;
    char id[ID_SIZE];

    client_init(&c, f, a, f->lw);
    c.key = &key;
    c.team = &team;
    struct usage_row row = request(id, a);
    struct accounts_ask what = ask_of(&c, &row, 60, 20);
    assert_int_equal(ask(&c, &what, &hold), ACCOUNTS_HELD);
    assert_int_equal(state_of(a, false, &key).held, 80);
    struct budget_amounts left;
    accounts_left(a, &what, &left);
    assert_int_equal(left.of[BUDGET_TOKENS], 20);
    assert_int_equal(left.of[BUDGET_OUTPUT_TOKENS], 10);
    assert_true(left.of[BUDGET_NUSD] == INT64_MAX);
    char id2[ID_SIZE];
    struct usage_row row2 = request(id2, a);
    what = ask_of(&c, &row2, 15, 6);
    assert_int_equal(accounts_ask(a, f->lw, &what, &c.sleeper.w, &other, &no),
                     ACCOUNTS_OVER);
    assert_false(no.is_team);
    assert_int_equal(no.left, 20);
    assert_int_equal(no.spec.unit, BUDGET_TOKENS);
    assert_true(no.resets_ms > (int64_t)clock_now_wall_ms());
    what = ask_of(&c, &row2, 5, 11);
    assert_int_equal(accounts_ask(a, f->lw, &what, &c.sleeper.w, &other, &no),
                     ACCOUNTS_OVER);
    assert_true(no.is_team);
    assert_int_equal(no.left, 10);
    assert_true(no.resets_ms == INT64_MAX);
    /* what was held and not taken is there again at once */
    end(&c, &hold, &row, 60, 5);
    what = ask_of(&c, &row2, 15, 20);
    assert_int_equal(ask(&c, &what, &other), ACCOUNTS_HELD);
    end(&c, &other, &row2, 15, 20);
    assert_int_equal(state_of(a, false, &key).spent, 100);
    assert_int_equal(state_of(a, false, &key).held, 0);
    assert_int_equal(state_of(a, true, &team).spent, 25);
    accounts_free(a);
}

static void a_budget_that_is_set_later_knows_what_was_taken(void **state)
{
    const struct budget_spec key = spec_of("100-tokens/day");
    struct fixture *f = *state;
    struct accounts *a = accounts_new(f->ledger);
    struct accounts_hold hold;
    struct client c;
    char id[ID_SIZE];

    client_init(&c, f, a, f->lw);
    for (unsigned i = 0; i < 3; i++) {
        struct usage_row row = request(id, a);
        const struct accounts_ask what = ask_of(&c, &row, 1000, 1000);
        assert_int_equal(ask(&c, &what, &hold), ACCOUNTS_HELD);
        end(&c, &hold, &row, 20, 10);
    }
    c.key = &key;
    struct usage_row row = request(id, a);
    struct accounts_ask what = ask_of(&c, &row, 10, 1);
    assert_int_equal(ask(&c, &what, &hold), ACCOUNTS_OVER);
    what = ask_of(&c, &row, 10, 0);
    assert_int_equal(ask(&c, &what, &hold), ACCOUNTS_HELD);
    /* and what was held by a budget is given back where it is gone */
    c.key = NULL;
    end(&c, &hold, &row, 0, 0);
    assert_int_equal(state_of(a, false, &key).held, 0);
    accounts_free(a);
    /* another process knows it, too */
    close_all(f);
    open_ledger(f);
    open_seat(f);
    a = accounts_new(f->ledger);
    assert_int_equal(state_of(a, false, &key).spent, 90);
    accounts_free(a);
}

static void a_new_window_is_a_new_budget(void **state)
{
    const struct budget_spec key = spec_of("100-tokens/minute");
    struct fixture *f = *state;
    struct accounts *a = accounts_new(f->ledger);
    struct accounts_hold hold, next;
    struct client c;
    char id[ID_SIZE], id2[ID_SIZE];

    client_init(&c, f, a, f->lw);
    c.key = &key;
    struct usage_row row = request(id, a);
    struct accounts_ask what = ask_of(&c, &row, 100, 0);
    assert_int_equal(ask(&c, &what, &hold), ACCOUNTS_HELD);
    struct usage_row row2 = request(id2, a);
    what = ask_of(&c, &row2, 1, 0);
    assert_int_equal(ask(&c, &what, &next), ACCOUNTS_OVER);
    clock_advance_ms(60000);
    row2.budget_ms = accounts_now_ms(a);
    what = ask_of(&c, &row2, 100, 0);
    assert_int_equal(ask(&c, &what, &next), ACCOUNTS_HELD);
    end(&c, &hold, &row, 100, 0); /* of the minute before */
    assert_int_equal(state_of(a, false, &key).spent, 0);
    assert_int_equal(state_of(a, false, &key).held, 100);
    end(&c, &next, &row2, 40, 0);
    assert_int_equal(state_of(a, false, &key).spent, 40);
    accounts_free(a);
}

static void who_leaves_is_not_woken(void **state)
{
    const struct budget_spec key = spec_of("1k-tokens/day");
    struct fixture *f = *state;
    struct accounts *a = accounts_new(f->ledger);
    struct accounts_hold hold;
    struct accounts_no no;
    struct client c;
    char id[ID_SIZE];

    client_init(&c, f, a, f->lw);
    c.key = &key;
    struct usage_row row = request(id, a);
    const struct accounts_ask what = ask_of(&c, &row, 10, 10);
    assert_int_equal(accounts_ask(a, f->lw, &what, &c.sleeper.w, &hold, &no),
                     ACCOUNTS_WAIT);
    accounts_leave(a, &c.sleeper.w);
    accounts_leave(a, &c.sleeper.w); /* again is fine */
    accounts_free(a);                /* waits for the lease */
    assert_true(c.sleeper.w.at == NULL);
}

/* --- many ----------------------------------------------------------------- */

struct crowd {
    struct client c;
    pthread_t thread;
    unsigned n; /* requests of this one */
    unsigned held, over;
    uint64_t seed;
    struct truth *truth;
};

/* What is held and spent in all, as upstreams see it. */
struct truth {
    _Atomic int64_t used;
    _Atomic int64_t taken;
    _Atomic uint64_t sent;
    int64_t amount;
};

static uint64_t next_random(uint64_t *x)
{
    *x = *x * 6364136223846793005u + 1442695040888963407u;
    return *x >> 33;
}

static void *ask_for_a_thousand(void *arg)
{
    struct crowd *w = arg;

    for (unsigned i = 0; i < w->n; i++) {
        char id[ID_SIZE];
        const struct usage_row row = request(id, w->c.a);
        const struct accounts_ask what = ask_of(&w->c, &row, 20, 7);
        struct accounts_hold hold;
        const enum accounts_answer answer = ask(&w->c, &what, &hold);

        w->held += answer == ACCOUNTS_HELD;
        w->over += answer == ACCOUNTS_OVER;
    }
    return NULL;
}

/* Have <workers> threads ask for 1000 requests of 27 tokens. */
static void crowd_runs(struct fixture *f, unsigned workers,
                       const struct budget_spec *key,
                       const struct budget_spec *team)
{
    struct accounts *a = accounts_new(f->ledger);
    struct crowd crowd[WORKERS];
    struct ledger_worker *seats[WORKERS];
    unsigned held = 0, over = 0;

    for (unsigned i = 0; i < workers; i++) {
        assert_int_equal(ledger_worker_open(f->ledger, i + 1, &seats[i]),
                         ERR_OK);
        memset(&crowd[i], 0, sizeof(crowd[i]));
        client_init(&crowd[i].c, f, a, seats[i]);
        crowd[i].c.key = key;
        crowd[i].c.team = team;
        crowd[i].n = 1000 / workers;
    }
    for (unsigned i = 0; i < workers; i++)
        pthread_create(&crowd[i].thread, NULL, ask_for_a_thousand, &crowd[i]);
    for (unsigned i = 0; i < workers; i++) {
        pthread_join(crowd[i].thread, NULL);
        held += crowd[i].held;
        over += crowd[i].over;
    }
    assert_int_equal(held, 37);
    assert_int_equal(over, 963);
    accounts_free(a);
    for (unsigned i = 0; i < workers; i++)
        ledger_worker_close(seats[i]);
}

static void exactly_as_many_as_fit(void **state)
{
    const struct budget_spec just =
        spec_of("1k-tokens/day"); /* 37 * 27 = 999 */
    const struct budget_spec wide = spec_of("1M-tokens/day");
    struct fixture *f = *state;

    crowd_runs(f, 1, &just, NULL);
    close_all(f);
    state_dir_drop(f->dir);
    f->dir = state_dir_make();
    f->opts.state_dir = f->dir;
    open_ledger(f);
    open_seat(f);
    crowd_runs(f, WORKERS, &wide, &just);
}

static void exactly_as_many_as_fit_both(void **state)
{
    const struct budget_spec key = spec_of("1k-tokens/day");
    const struct budget_spec team = spec_of("750-input-tokens/total");
    struct fixture *f = *state;

    crowd_runs(f, WORKERS, &key, &team); /* 37 * 20 = 740 */
}

static void *work_at_random(void *arg)
{
    struct crowd *w = arg;
    uint64_t x = w->seed;

    for (unsigned i = 0; i < w->n; i++) {
        char id[ID_SIZE];
        struct usage_row row = request(id, w->c.a);
        const int64_t in = (int64_t)(next_random(&x) % 50);
        const int64_t out = (int64_t)(next_random(&x) % 50);
        const struct accounts_ask what = ask_of(&w->c, &row, in, out);
        struct accounts_hold hold;

        if (ask(&w->c, &what, &hold) != ACCOUNTS_HELD) {
            w->over++;
            continue;
        }
        w->held++;
        if (atomic_fetch_add(&w->truth->used, in + out) + in + out >
            w->truth->amount)
            abort(); /* one too many */
        const int64_t took = out > 0 ? (int64_t)next_random(&x) % (out + 1) : 0;
        atomic_fetch_add(&w->truth->taken, in + took);
        atomic_fetch_sub(&w->truth->used, out - took);
        end(&w->c, &hold, &row, (uint64_t)in, (uint64_t)took);
    }
    return NULL;
}

static void never_one_too_many(void **state)
{
    const char *n = getenv("TG_ADMISSIONS");
    const unsigned all = n ? (unsigned)atoi(n) : 20000;
    struct budget_spec key = spec_of("1k-tokens/total");
    struct fixture *f = *state;
    struct accounts *a = accounts_new(f->ledger);
    struct ledger_worker *seats[WORKERS];
    struct crowd crowd[WORKERS];
    struct truth truth = {.amount = (int64_t)all * 10};

    key.amount = truth.amount; /* about a quarter of what is asked for */
    memset(crowd, 0, sizeof(crowd));
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(ledger_worker_open(f->ledger, i + 1, &seats[i]),
                         ERR_OK);
        client_init(&crowd[i].c, f, a, seats[i]);
        crowd[i].c.key = &key;
        crowd[i].n = all / WORKERS;
        crowd[i].seed = i;
        crowd[i].truth = &truth;
    }
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_create(&crowd[i].thread, NULL, work_at_random, &crowd[i]);
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(crowd[i].thread, NULL);
    const struct accounts_state s = state_of(a, false, &key);
    assert_int_equal(s.held, 0);
    assert_int_equal(s.spent, atomic_load(&truth.taken));
    assert_true(s.spent <= key.amount && s.spent > key.amount - 100);
    accounts_free(a);
    for (unsigned i = 0; i < WORKERS; i++)
        ledger_worker_close(seats[i]);
    /* the ledger agrees */
    assert_int_equal(ledger_flush(f->ledger), ERR_OK);
    struct spend spend;
    assert_int_equal(ledger_spend_read(f->ledger, STR("kkey_a"), &spend),
                     ERR_OK);
    assert_int_equal(spend.in[BUDGET_TOTAL].took.of[BUDGET_TOKENS], s.spent);
    assert_proved(f);
}

/* In a child: requests until it is killed. */
static void work_until_killed(struct fixture *f, struct truth *truth,
                              const struct budget_spec *key, uint64_t seed)
{
    struct accounts *a;
    struct client c;
    uint64_t x = seed;

    open_ledger(f);
    open_seat(f);
    a = accounts_new(f->ledger);
    client_init(&c, f, a, f->lw);
    c.key = key;
    for (;;) {
        char id[ID_SIZE];
        struct usage_row row = request(id, a);
        const int64_t in = (int64_t)(next_random(&x) % 50);
        const int64_t out = (int64_t)(next_random(&x) % 50);
        const struct accounts_ask what = ask_of(&c, &row, in, out);
        struct accounts_hold hold;

        if (ask(&c, &what, &hold) != ACCOUNTS_HELD) {
            atomic_fetch_add(&truth->sent, 1);
            sched_yield();
            continue;
        }
        /* it is sent: the upstream takes some of it, whatever becomes of us */
        const int64_t took =
            in + (out > 0 ? (int64_t)next_random(&x) % (out + 1) : 0);
        atomic_fetch_add(&truth->taken, took);
        atomic_fetch_add(&truth->sent, 1);
        end(&c, &hold, &row, (uint64_t)in, (uint64_t)(took - in));
    }
}

static void no_death_lets_a_budget_be_passed(void **state)
{
    const char *rounds = getenv("TG_KILL_ROUNDS");
    const unsigned n = rounds ? (unsigned)atoi(rounds) : 30;
    struct budget_spec key = spec_of("1k-tokens/total");
    struct fixture *f = *state;
    struct truth *truth = mmap(NULL, sizeof(*truth), PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(truth != MAP_FAILED);
    key.amount = (int64_t)n * 3000;
    for (unsigned i = 0; i < n; i++) {
        const uint64_t until = atomic_load(&truth->sent) + 1 + i * 37 % 200;
        const pid_t child = fork();

        if (child == 0)
            work_until_killed(f, truth, &key, i);
        while (atomic_load(&truth->sent) < until &&
               waitpid(child, NULL, WNOHANG) == 0)
            sched_yield();
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        open_ledger(f);
        open_seat(f);
        struct accounts *a = accounts_new(f->ledger);
        const struct accounts_state s = state_of(a, false, &key);
        assert_true(atomic_load(&truth->taken) <= s.spent);
        assert_true(s.spent <= key.amount);
        assert_int_equal(s.held, 0);
        accounts_free(a);
        close_all(f);
    }
    assert_true(atomic_load(&truth->taken) > 0);
    munmap(truth, sizeof(*truth));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        OPEN(what_does_not_fit_is_told),
        OPEN(a_budget_that_is_set_later_knows_what_was_taken),
        OPEN(a_new_window_is_a_new_budget),
        OPEN(who_leaves_is_not_woken),
        OPEN(exactly_as_many_as_fit),
        OPEN(exactly_as_many_as_fit_both),
        OPEN(never_one_too_many),
        SHUT(no_death_lets_a_budget_be_passed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
