/* t_ledger_verify.c - What a proof of the ledger finds in what keys and teams
 * have spent; and what was lost with the machine, told and taken back. */
#include "unit/accounts_fixture.h"

#include "account/ledger_reconcile.h"
#include "store/writer.h"

#include <signal.h>
#include <sys/wait.h>

#define ROWS 10

static void again(struct fixture *f)
{
    open_ledger(f);
    open_seat(f);
}

static void assert_found(struct fixture *f, const char *what)
{
    buf_clear(&f->why);
    assert_int_equal(ledger_verify(f->ledger, &f->why), ERR_CORRUPT);
    if (str_find(buf_str(&f->why), str_from(what)) == f->why.len)
        fail_msg("no '%s' in: %.*s", what, STR_ARG(buf_str(&f->why)));
}

static void assert_told(struct fixture *f, const char *what)
{
    assert_proved(f);
    if (str_find(buf_str(&f->why), str_from(what)) == f->why.len)
        fail_msg("no '%s' in: %.*s", what, STR_ARG(buf_str(&f->why)));
}

static void put_rows(struct fixture *f)
{
    for (unsigned i = 0; i < ROWS; i++)
        put(f, DAY0 + i * 1000);
}

static void spends_are_what_rows_say(void **state)
{
    struct fixture *f = *state;
    struct ledger_db *db;
    struct spend s, wrong;
    struct txn t;

    put_rows(f);
    assert_told(f, "spends=2 windows_without_all_rows=0 holds=0 leases=0 "
                   "faults=0");
    close_all(f);
    db = begin_alone(f, &t);
    assert_int_equal(ledger_spend_get(&t, LDB_SPENDS, STR("tblue"), &s),
                     ERR_OK);
    wrong = s;
    wrong.in[BUDGET_MONTH].took.of[BUDGET_NUSD]--;
    assert_int_equal(ledger_spend_put(&t, LDB_SPENDS, STR("tblue"), &wrong),
                     ERR_OK);
    commit_alone(db, &t);
    again(f);
    assert_found(
        f, "spend of team blue in its month: 29 nano-dollars of which 0 were "
           "lost, its rows sum to 30");
    close_all(f);
    /* one token too many is found as one too few */
    db = begin_alone(f, &t);
    wrong = s;
    wrong.in[BUDGET_TOTAL].took.of[BUDGET_TOKENS]++;
    assert_int_equal(ledger_spend_put(&t, LDB_SPENDS, STR("tblue"), &wrong),
                     ERR_OK);
    commit_alone(db, &t);
    again(f);
    assert_found(f, "spend of team blue in its total: 231 tokens");
    close_all(f);
    db = begin_alone(f, &t);
    assert_int_equal(ldb_del(&t, LDB_SPENDS, STR("tblue")), ERR_OK);
    commit_alone(db, &t);
    again(f);
    assert_found(f, "team blue has rows, but no spend");
}

/* Puts a hold into the database, whatever is there. */
struct put_hold {
    struct wjob job;
    const struct hold *h;
};

static enum err put_hold_run(struct txn *t, struct wjob *job)
{
    const struct hold *h = ((struct put_hold *)(void *)job)->h;
    uint8_t bytes[HOLD_BYTES_MAX];

    return ldb_put(t, LDB_HOLDS, h->id, str_of(bytes, hold_encode(h, bytes)));
}

static void a_hold_beside_its_row_is_told(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    const struct usage_row row = row_at(id, DAY0);
    const struct hold h = {.id = row.id, .at_ms = DAY0, .key_id = row.key_id};
    struct put_hold put_hold = {.job = {.run = put_hold_run}, .h = &h};

    assert_int_equal(writer_call(ledger_writer(f->ledger), &put_hold.job),
                     ERR_OK);
    assert_told(f, "holds=1");
    assert_int_equal(ledger_row_put(f->lw, &row), ERR_OK);
    assert_told(f, "holds=0"); /* its end */
    assert_int_equal(writer_call(ledger_writer(f->ledger), &put_hold.job),
                     ERR_OK);
    assert_found(f, "is held, but its row is there");
    close_all(f);
    again(f);
    assert_told(f, "holds=0"); /* a start does not charge what has a row */
    assert_int_equal(total(f).requests, 1);
}

static void where_rows_are_gone_less_is_proved(void **state)
{
    struct fixture *f = *state;
    const struct ldb_keep keep = {.rows = ROWS / 2, .max = 100};
    struct ledger_db *db;
    struct spend s;
    struct txn t;
    unsigned n;

    put_rows(f);
    close_all(f);
    db = begin_alone(f, &t);
    assert_int_equal(ldb_prune(&t, &keep, &n), ERR_OK);
    assert_int_equal(n, ROWS / 2);
    commit_alone(db, &t);
    again(f);
    assert_told(f, "windows_without_all_rows=12");
    close_all(f);
    /* but there must not be more rows than were spent */
    db = begin_alone(f, &t);
    assert_int_equal(ledger_spend_get(&t, LDB_SPENDS, STR("kkey_a"), &s),
                     ERR_OK);
    s.in[BUDGET_TOTAL].took.of[BUDGET_NUSD] = ROWS / 2 * 3 - 1;
    assert_int_equal(ledger_spend_put(&t, LDB_SPENDS, STR("kkey_a"), &s),
                     ERR_OK);
    commit_alone(db, &t);
    again(f);
    assert_found(f, "spend of key key_a in its total");
}

static void rows_from_before_there_were_spends_are_spent(void **state)
{
    struct fixture *f = *state;
    struct ledger_db *db;
    struct txn t;

    put_rows(f);
    close_all(f);
    db = begin_alone(f, &t);
    assert_int_equal(txn_clear(&t, LDB_SPENDS), ERR_OK);
    assert_int_equal(ldb_del(&t, LDB_META, STR("boot")), ERR_OK);
    commit_alone(db, &t);
    for (unsigned i = 0; i < 2; i++) {
        struct spend s;

        again(f);
        put(f, DAY0 + TALLY_DAY_MS);
        assert_proved(f);
        assert_int_equal(ledger_spend_read(f->ledger, STR("kkey_a"), &s),
                         ERR_OK);
        assert_int_equal(s.in[BUDGET_TOTAL].took.of[BUDGET_NUSD],
                         3 * (ROWS + 1 + i));
        close_all(f);
    }
    again(f);
}

/* --- what was lost -------------------------------------------------------- */

/* In a child: one request ends and one is held; then the machine goes down. */
static void lose_the_machine(struct fixture *f, const struct budget_spec *key)
{
    const pid_t child = fork();
    int status = 0;

    if (child == 0) {
        struct asker one, two;

        open_ledger(f);
        open_seat(f);
        struct accounts *a = accounts_new(f->ledger);
        asker_init(&one, f, a, key, NULL);
        asker_init(&two, f, a, key, NULL);
        if (asker_waits(&one, 100, 200) != ACCOUNTS_HELD ||
            asker_waits(&two, 100, 100) != ACCOUNTS_HELD)
            abort();
        asker_ends(&one, 100, 50);
        if (ledger_flush(f->ledger) != ERR_OK)
            abort();
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WTERMSIG(status), SIGKILL);
    machine_restarts(f, false);
}

static int64_t lost_of(struct fixture *f, const char *name)
{
    struct spend_map lost;
    struct spend_item *it;
    int64_t n = 0;

    assert_int_equal(ledger_lost_list(f->ledger, DAY0, &lost), ERR_OK);
    HASH_FIND(hh, lost.items, name, strlen(name), it);
    if (it)
        n = it->sum.in[BUDGET_TOTAL].lost.of[BUDGET_TOKENS];
    spend_map_fini(&lost);
    return n;
}

static void what_was_lost_is_told_and_taken_back(void **state)
{
    const struct budget_spec key = spec_of("1k-tokens/total");
    struct budget_amounts less[BUDGET_WINDOW_COUNT] = {0};
    struct fixture *f = *state;
    struct spend taken;

    lose_the_machine(f, &key);
    again(f);
    assert_proved(f);
    struct accounts *a = accounts_new(f->ledger);
    /* 150 were seen, 200 held and so charged; more was leased */
    const int64_t lost = lost_of(f, "kkey_a");
    const int64_t spent = state_of(a, false, &key).spent;
    assert_true(lost > 0);
    assert_int_equal(spent, 350 + lost);
    assert_int_equal(lost_of(f, "tblue"), 0);
    /* some of it: who waits for room may have it at once */
    struct asker k, other;
    asker_init(&k, f, a, &key, NULL);
    asker_init(&other, f, a, &key, NULL);
    assert_int_equal(asker_waits(&k, 1000 - spent, 0), ACCOUNTS_HELD);
    less[BUDGET_TOTAL].of[BUDGET_TOKENS] = 10;
    assert_int_equal(accounts_take_back(a, false, STR("key_a"), less, &taken),
                     ERR_OK);
    assert_int_equal(taken.in[BUDGET_TOTAL].took.of[BUDGET_TOKENS], 10);
    assert_int_equal(state_of(a, false, &key).spent, spent - 10);
    assert_int_equal(lost_of(f, "kkey_a"), lost - 10);
    assert_int_equal(asker_waits(&other, 10, 0), ACCOUNTS_HELD);
    asker_ends(&other, 0, 0);
    asker_ends(&k, 0, 0);
    assert_proved(f);
    /* all of it, and no more */
    less[BUDGET_TOTAL].of[BUDGET_TOKENS] = INT64_MAX;
    assert_int_equal(accounts_take_back(a, false, STR("key_a"), less, &taken),
                     ERR_OK);
    assert_int_equal(taken.in[BUDGET_TOTAL].took.of[BUDGET_TOKENS], lost - 10);
    assert_int_equal(accounts_take_back(a, false, STR("key_a"), less, &taken),
                     ERR_NOT_FOUND);
    assert_int_equal(state_of(a, false, &key).spent, 350);
    accounts_free(a);
    assert_proved(f);
    /* for good */
    close_all(f);
    again(f);
    a = accounts_new(f->ledger);
    assert_int_equal(state_of(a, false, &key).spent, 350);
    assert_int_equal(lost_of(f, "kkey_a"), 0);
    accounts_free(a);
}

static void what_was_lost_in_a_window_that_is_over_is_nothing(void **state)
{
    const struct budget_spec key = spec_of("1k-tokens/minute");
    struct fixture *f = *state;
    struct spend_map lost;

    lose_the_machine(f, &key);
    again(f);
    assert_int_equal(ledger_lost_list(f->ledger, DAY0, &lost), ERR_OK);
    assert_int_equal(HASH_COUNT(lost.items), 1);
    spend_map_fini(&lost);
    assert_int_equal(
        ledger_lost_list(f->ledger, (int64_t)clock_now_wall_ms() + TALLY_DAY_MS,
                         &lost),
        ERR_OK);
    assert_int_equal(HASH_COUNT(lost.items), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        OPEN(spends_are_what_rows_say),
        OPEN(a_hold_beside_its_row_is_told),
        OPEN(where_rows_are_gone_less_is_proved),
        OPEN(rows_from_before_there_were_spends_are_spent),
        SHUT(what_was_lost_is_told_and_taken_back),
        SHUT(what_was_lost_in_a_window_that_is_over_is_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
