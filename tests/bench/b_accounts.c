/* b_accounts.c - What budgets of a key and its team cost a request: to ask and
 * to settle, with the hold in the journal; and how often a lease is written.
 * Rows are put as always, and what they take alone is told beside. Time of the
 * thread, best of some rounds, in ns. Needs a state directory as its argument:
 * one that can be thrown away. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "account/accounts.h"
#include "base/clock.h"
#include "base/id.h"

#define TIMES  20000
#define ROUNDS 7
#define GROWN  4 /* times that a hold grows where it does */

#define MANY INT64_C(1000000000000000)

static const struct budget_spec wide[] = {
    {MANY, BUDGET_TOKENS, BUDGET_MINUTE, false},
    {MANY, BUDGET_TOKENS, BUDGET_DAY, false},
    {MANY, BUDGET_NUSD, BUDGET_MONTH, false},
    {MANY, BUDGET_OUTPUT_TOKENS, BUDGET_TOTAL, false}};

#define N_WIDE (sizeof(wide) / sizeof(wide[0]))

struct bench {
    struct ledger *l;
    struct ledger_worker *lw;
    struct accounts *a;
    struct accounts_waiter w;
    pthread_mutex_t lock;
    pthread_cond_t was_woken;
    bool woken;
    bool has_key, has_team;
    unsigned grows;
};

static void die(const char *what)
{
    fprintf(stderr, "b_accounts: %s\n", what);
    exit(1);
}

static void wake(struct accounts_waiter *w)
{
    struct bench *b =
        (struct bench *)(void *)((char *)w - offsetof(struct bench, w));

    pthread_mutex_lock(&b->lock);
    b->woken = true;
    pthread_cond_signal(&b->was_woken);
    pthread_mutex_unlock(&b->lock);
}

static void until_woken(struct bench *b)
{
    pthread_mutex_lock(&b->lock);
    while (!b->woken)
        pthread_cond_wait(&b->was_woken, &b->lock);
    b->woken = false;
    pthread_mutex_unlock(&b->lock);
}

/* What this thread worked; while it waits for a lease it does not. */
static uint64_t worked_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static struct budget_amounts most_of(int64_t n)
{
    return (struct budget_amounts){.of = {n, n / 2, n / 2, 1000 * n}};
}

static void ask(struct bench *b, struct accounts_ask *what,
                struct accounts_hold *hold)
{
    struct accounts_no no;
    enum accounts_answer answer;

    while ((answer = accounts_ask(b->a, b->lw, what, &b->w, hold, &no)) ==
           ACCOUNTS_WAIT)
        until_woken(b);
    for (unsigned i = 0; answer == ACCOUNTS_HELD && i < b->grows; i++) {
        what->most = most_of(1000 * (i + 2));
        while ((answer = accounts_grow(b->a, b->lw, what, &b->w, hold, &no)) ==
               ACCOUNTS_WAIT)
            until_woken(b);
    }
    if (answer != ACCOUNTS_HELD)
        die("not held");
}

/* One request; what was spent in the accounts, and in all. */
static void request(struct bench *b)
{
    char id[ID_SIZE];
    struct usage_row row;
    struct accounts_hold hold = {0};

    id_new(id);
    row = (struct usage_row){.id = str_from(id),
                             .time_wall_ms = (int64_t)clock_now_wall_ms(),
                             .key_id = STR("key_01"),
                             .team = STR("blue"),
                             .endpoint = STR("chat"),
                             .model = STR("fast"),
                             .target = STR("openai"),
                             .target_model = STR("gpt-5-mini"),
                             .status = 200,
                             .tok = {300, 0, 0, 0, 400, 0, 0, 0},
                             .cost_nusd = 700000};
    struct accounts_ask what = {
        .id = row.id,
        .key = {row.key_id, wide, b->has_key ? N_WIDE : 0},
        .team = {row.team, wide, b->has_team ? N_WIDE : 0},
        .most = most_of(1000),
        .at_ms = row.time_wall_ms};
    ask(b, &what, &hold);
    row.budget_ms = hold.hold.at_ms;
    if (ledger_row_put(b->lw, &row) != ERR_OK)
        die("a row cannot be put");
    accounts_settle(b->a, &hold, &row);
}

static void measure(struct bench *b, const char *what)
{
    double best = 1e18;
    struct accounts_totals before, after;
    const uint64_t began_us = clock_now_us();

    accounts_totals(b->a, &before);
    for (int r = 0; r < ROUNDS; r++) {
        uint64_t start_ns;
        double each;

        if (ledger_flush(b->l) != ERR_OK)
            die("the ledger does not keep up");
        start_ns = worked_ns();
        for (int i = 0; i < TIMES; i++)
            request(b);
        each = (double)(worked_ns() - start_ns) / TIMES;
        if (each < best)
            best = each;
    }
    accounts_totals(b->a, &after);
    printf("%-34s %8.0f ns a request, leases a second: %.1f\n", what, best,
           (double)(after.leases - before.leases) * 1e6 /
               (double)(clock_now_us() - began_us));
}

int main(int argc, char **argv)
{
    struct bench b = {.w = {.wake = wake},
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .was_woken = PTHREAD_COND_INITIALIZER};
    struct ledger_opts opts = {.keep_rows = 100000};
    struct buf why;

    if (argc != 2)
        die("usage: b_accounts STATE_DIR");
    opts.state_dir = argv[1];
    buf_init(&why, 4096);
    if (ledger_open(&opts, &b.l, &why) != ERR_OK ||
        ledger_worker_open(b.l, 0, &b.lw) != ERR_OK)
        die("the ledger cannot be opened");
    b.a = accounts_new(b.l);
    if (!b.a)
        die("no memory");
    measure(&b, "no budgets");
    b.has_key = true;
    measure(&b, "4 of a key");
    b.has_team = true;
    measure(&b, "4 of a key and 4 of its team");
    b.grows = GROWN;
    measure(&b, "the same, growing 4 times");
    accounts_free(b.a);
    ledger_worker_close(b.lw);
    ledger_close(b.l);
    buf_fini(&why);
    return 0;
}
