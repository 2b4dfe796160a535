/* t_accounts.c - Budgets under any concurrency and any death: as many requests
 * as fit are held, not one more, and none less once holds are given back.
 * TG_ADMISSIONS sets how many random admissions are made (default 20000),
 * TG_KILL_ROUNDS how often a process is killed (default 30). */
#include "unit/accounts_fixture.h"

#include "store/writer.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define WORKERS 4

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
    struct accounts_room left;
    accounts_left(a, &what, &left);
    assert_int_equal(left.now.of[BUDGET_TOKENS], 20);
    assert_int_equal(left.ever.of[BUDGET_TOKENS], 100);
    assert_int_equal(left.now.of[BUDGET_OUTPUT_TOKENS], 10);
    assert_int_equal(left.ever.of[BUDGET_OUTPUT_TOKENS], 30);
    assert_true(left.now.of[BUDGET_NUSD] == INT64_MAX);
    assert_true(left.ever.of[BUDGET_NUSD] == INT64_MAX);
    char id2[ID_SIZE];
    struct usage_row row2 = request(id2, a);
    what = ask_of(&c, &row2, 81, 20);
    assert_int_equal(accounts_ask(a, f->lw, &what, &c.sleeper.w, &other, &no),
                     ACCOUNTS_OVER);
    assert_false(no.is_team);
    assert_int_equal(no.left, 20);
    assert_int_equal(no.spec.unit, BUDGET_TOKENS);
    assert_true(no.resets_ms > (int64_t)clock_now_wall_ms());
    what = ask_of(&c, &row2, 5, 31);
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
    assert_int_equal(ask_now(&c, &what, &next), ACCOUNTS_BUSY);
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
    unsigned held, busy;
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
        const enum accounts_answer answer = ask_now(&w->c, &what, &hold);

        w->held += answer == ACCOUNTS_HELD;
        w->busy += answer == ACCOUNTS_BUSY;
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
    unsigned held = 0, busy = 0;

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
        busy += crowd[i].busy;
    }
    assert_int_equal(held, 37);
    assert_int_equal(busy, 963);
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

/* Have the hold of a request grow or shrink; the output it then has. */
static int64_t change_at_random(struct crowd *w, struct accounts_hold *hold,
                                const struct usage_row *row, int64_t in,
                                int64_t out, uint64_t *x)
{
    const int64_t next = (int64_t)(next_random(x) % 60);
    const struct accounts_ask what = ask_of(&w->c, row, in, next);

    if (next <= out)
        atomic_fetch_sub(&w->truth->used, out - next);
    const enum accounts_answer answer = grow(&w->c, &what, hold);
    if (answer != ACCOUNTS_HELD && answer != ACCOUNTS_OVER)
        abort();
    if (next <= out || answer == ACCOUNTS_OVER)
        return next <= out ? next : out;
    if (atomic_fetch_add(&w->truth->used, next - out) + next - out >
        w->truth->amount)
        abort(); /* one too many */
    return next;
}

static void *work_at_random(void *arg)
{
    struct crowd *w = arg;
    uint64_t x = w->seed;

    for (unsigned i = 0; i < w->n; i++) {
        char id[ID_SIZE];
        struct usage_row row = request(id, w->c.a);
        const int64_t in = (int64_t)(next_random(&x) % 50);
        int64_t out = (int64_t)(next_random(&x) % 50);
        const struct accounts_ask what = ask_of(&w->c, &row, in, out);
        struct accounts_hold hold;

        if (ask_now(&w->c, &what, &hold) != ACCOUNTS_HELD) {
            w->busy++;
            continue;
        }
        w->held++;
        if (atomic_fetch_add(&w->truth->used, in + out) + in + out >
            w->truth->amount)
            abort(); /* one too many */
        for (unsigned g = 0; g < 3; g++)
            out = change_at_random(w, &hold, &row, in, out, &x);
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

/* --- nobody is forgotten -------------------------------------------------- */

#define MANY 16

static void *wait_for_others(void *arg)
{
    struct crowd *w = arg;
    uint64_t x = w->seed;

    while (w->held < w->n) {
        char id[ID_SIZE];
        struct usage_row row = request(id, w->c.a);
        const struct accounts_ask what =
            ask_of(&w->c, &row, 10 + (int64_t)(next_random(&x) % 40), 5);
        struct accounts_hold hold;
        enum accounts_answer answer;

        while ((answer = ask(&w->c, &what, &hold)) == ACCOUNTS_BUSY) {
            w->busy++;
            sleep_until_woken(&w->c.sleeper);
            if (next_random(&x) % 4 == 0)
                break; /* the client is gone */
        }
        accounts_leave(w->c.a, &w->c.sleeper.w);
        if (answer != ACCOUNTS_HELD)
            continue;
        w->held++;
        end(&w->c, &hold, &row, 0, 0);
    }
    return NULL;
}

/* Where a wake is lost, this never ends. */
static void nobody_who_waits_is_forgotten(void **state)
{
    const struct budget_spec key = spec_of("100-tokens/total");
    const struct budget_spec team = spec_of("90-input-tokens/total");
    struct fixture *f = *state;
    struct ledger_worker *seats[MANY];
    struct crowd crowd[MANY];
    unsigned busy = 0;

    close_all(f);
    f->opts.workers = MANY + 1;
    open_ledger(f);
    open_seat(f);
    struct accounts *a = accounts_new(f->ledger);
    memset(crowd, 0, sizeof(crowd));
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(ledger_worker_open(f->ledger, i + 1, &seats[i]),
                         ERR_OK);
        client_init(&crowd[i].c, f, a, seats[i]);
        crowd[i].c.key = i % 3 == 0 ? NULL : &key;
        crowd[i].c.team = &team;
        crowd[i].n = 200;
        crowd[i].seed = i;
    }
    struct accounts_totals t;
    struct asker all;
    asker_init(&all, f, a, NULL, &team);
    assert_int_equal(asker_waits(&all, 90, 0), ACCOUNTS_HELD);
    for (unsigned i = 0; i < MANY; i++)
        pthread_create(&crowd[i].thread, NULL, wait_for_others, &crowd[i]);
    do {
        sched_yield();
        accounts_totals(a, &t);
    } while (t.waiting == 0);
    asker_ends(&all, 0, 0);
    for (unsigned i = 0; i < MANY; i++) {
        pthread_join(crowd[i].thread, NULL);
        busy += crowd[i].busy;
    }
    assert_true(busy > 0);
    accounts_totals(a, &t);
    assert_int_equal(t.holds, 0);
    assert_int_equal(t.waiting, 0);
    accounts_free(a);
    for (unsigned i = 0; i < MANY; i++)
        ledger_worker_close(seats[i]);
}

/* --- deaths --------------------------------------------------------------- */

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
        int64_t out = (int64_t)(next_random(&x) % 50);
        struct accounts_ask what = ask_of(&c, &row, in, out);
        struct accounts_hold hold;

        if (ask(&c, &what, &hold) != ACCOUNTS_HELD) {
            atomic_fetch_add(&truth->sent, 1);
            sched_yield();
            continue;
        }
        /* it is sent: the upstream takes some of it, whatever becomes of us,
         * and of what it is allowed later */
        if (next_random(&x) % 2 == 0) {
            what = ask_of(&c, &row, in, out / 2 + 30);
            if (grow(&c, &what, &hold) == ACCOUNTS_HELD)
                out = out / 2 + 30;
        }
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
        if (i % 10 == 0)
            assert_proved(f); /* rows and spends agree, no id is there twice */
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
        OPEN(nobody_who_waits_is_forgotten),
        SHUT(no_death_lets_a_budget_be_passed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
