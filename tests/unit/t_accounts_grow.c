/* t_accounts_grow.c - Holds that wait for others and holds that change: who is
 * woken and when, which window a hold is in, and what a crash charges. */
#include "unit/accounts_fixture.h"

#include <signal.h>
#include <sys/wait.h>

/* --- waiting for what others hold ----------------------------------------- */

#define ASKERS 5

static void who_waits_longest_is_woken_first(void **state)
{
    const struct budget_spec key = spec_of("100-tokens/day");
    struct fixture *f = *state;
    struct accounts *a = accounts_new(f->ledger);
    struct asker k[ASKERS];

    for (unsigned i = 0; i < ASKERS; i++)
        asker_init(&k[i], f, a, &key, NULL);
    assert_int_equal(asker_waits(&k[0], 60, 40), ACCOUNTS_HELD);
    assert_int_equal(asker_asks(&k[1], 50, 0), ACCOUNTS_BUSY);
    assert_false(k[1].no.is_team);
    assert_int_equal(k[1].no.left, 0);
    assert_int_equal(asker_asks(&k[2], 60, 0), ACCOUNTS_BUSY);
    assert_int_equal(asker_asks(&k[3], 20, 0), ACCOUNTS_BUSY);
    assert_int_equal(asker_asks(&k[4], 20, 0), ACCOUNTS_BUSY);
    assert_int_equal(asker_asks(&k[1], 50, 0), ACCOUNTS_BUSY); /* in its turn */
    struct accounts_totals t;
    accounts_totals(a, &t);
    assert_int_equal(t.waiting, 4);
    assert_int_equal(t.holds, 1);
    /* 80 come back: the first fits, the next does not beside it, the two after
     * do in the 30 that are left only one by one */
    asker_ends(&k[0], 20, 0);
    assert_true(k[1].c.sleeper.woken);
    assert_false(k[2].c.sleeper.woken);
    assert_true(k[3].c.sleeper.woken);
    assert_false(k[4].c.sleeper.woken);
    assert_int_equal(asker_waits(&k[3], 20, 0), ACCOUNTS_HELD);
    assert_false(k[4].c.sleeper.woken);
    /* who was woken and leaves, leaves it to the others: 60 are left */
    accounts_leave(a, &k[1].c.sleeper.w);
    assert_true(k[2].c.sleeper.woken);
    assert_false(k[4].c.sleeper.woken);
    /* and so does who takes less */
    assert_int_equal(asker_waits(&k[2], 40, 0), ACCOUNTS_HELD);
    assert_true(k[4].c.sleeper.woken);
    assert_int_equal(asker_waits(&k[4], 20, 0), ACCOUNTS_HELD);
    asker_ends(&k[2], 40, 0);
    asker_ends(&k[3], 20, 0);
    asker_ends(&k[4], 20, 0);
    assert_int_equal(state_of(a, false, &key).spent, 100);
    assert_int_equal(state_of(a, false, &key).held, 0);
    accounts_free(a);
}

static void a_turn_is_kept_over_a_vain_awakening(void **state)
{
    const struct budget_spec key = spec_of("100-tokens/day");
    struct fixture *f = *state;
    struct accounts *a = accounts_new(f->ledger);
    struct asker k[ASKERS];

    for (unsigned i = 0; i < ASKERS; i++)
        asker_init(&k[i], f, a, &key, NULL);
    assert_int_equal(asker_waits(&k[0], 100, 0), ACCOUNTS_HELD);
    assert_int_equal(asker_asks(&k[1], 90, 0), ACCOUNTS_BUSY);
    assert_int_equal(asker_asks(&k[2], 90, 0), ACCOUNTS_BUSY);
    asker_ends(&k[0], 0, 0);
    assert_true(k[1].c.sleeper.woken);
    k[1].c.sleeper.woken = false;
    assert_int_equal(asker_waits(&k[3], 50, 0), ACCOUNTS_HELD); /* faster */
    assert_int_equal(asker_asks(&k[1], 90, 0), ACCOUNTS_BUSY);
    asker_ends(&k[3], 0, 0);
    assert_true(k[1].c.sleeper.woken);
    assert_false(k[2].c.sleeper.woken);
    accounts_leave(a, &k[1].c.sleeper.w);
    assert_true(k[2].c.sleeper.woken);
    accounts_leave(a, &k[2].c.sleeper.w);
    accounts_free(a);
}

static void who_waits_in_vain_is_woken_to_be_refused(void **state)
{
    const struct budget_spec key = spec_of("100-tokens/day");
    struct fixture *f = *state;
    struct accounts *a = accounts_new(f->ledger);
    struct asker k[ASKERS];

    for (unsigned i = 0; i < ASKERS; i++)
        asker_init(&k[i], f, a, &key, NULL);
    assert_int_equal(asker_waits(&k[0], 50, 0), ACCOUNTS_HELD);
    assert_int_equal(asker_waits(&k[1], 50, 0), ACCOUNTS_HELD);
    assert_int_equal(asker_asks(&k[2], 80, 0), ACCOUNTS_BUSY);
    assert_int_equal(asker_asks(&k[3], 70, 0), ACCOUNTS_BUSY);
    asker_ends(&k[0], 30, 0);
    assert_true(k[2].c.sleeper.woken); /* 70 are left for ever */
    assert_int_equal(asker_asks(&k[2], 80, 0), ACCOUNTS_OVER);
    assert_int_equal(k[2].no.left, 20);
    assert_false(k[3].c.sleeper.woken);
    asker_ends(&k[1], 0, 0);
    assert_true(k[3].c.sleeper.woken);
    assert_int_equal(asker_asks(&k[3], 70, 0), ACCOUNTS_HELD);
    asker_ends(&k[3], 0, 0);
    accounts_free(a);
}

static void a_team_wakes_those_of_its_keys(void **state)
{
    const struct budget_spec key = spec_of("100-tokens/day");
    const struct budget_spec team = spec_of("50-output-tokens/hour");
    struct fixture *f = *state;
    struct accounts *a = accounts_new(f->ledger);
    struct asker one, two;

    asker_init(&one, f, a, &key, &team);
    asker_init(&two, f, a, &key, &team);
    assert_int_equal(asker_waits(&one, 1, 50), ACCOUNTS_HELD);
    assert_int_equal(asker_asks(&two, 1, 10), ACCOUNTS_BUSY);
    assert_true(two.no.is_team);
    /* a hold that shrinks gives back, too */
    assert_int_equal(asker_grows(&one, 1, 41), ACCOUNTS_HELD);
    assert_false(two.c.sleeper.woken);
    assert_int_equal(asker_grows(&one, 1, 40), ACCOUNTS_HELD);
    assert_true(two.c.sleeper.woken);
    assert_int_equal(asker_waits(&two, 1, 10), ACCOUNTS_HELD);
    asker_ends(&one, 1, 0);
    asker_ends(&two, 1, 0);
    accounts_free(a);
}

static uint64_t waiting_at(struct accounts *a)
{
    struct accounts_totals t;

    accounts_totals(a, &t);
    return t.waiting;
}

static void a_changed_budget_wakes_all_who_wait_for_it(void **state)
{
    const struct budget_spec key = spec_of("100-tokens/day");
    const struct budget_spec more = spec_of("160-tokens/day");
    struct fixture *f = *state;
    struct accounts *a = accounts_new(f->ledger);
    struct asker k[3];

    for (unsigned i = 0; i < 3; i++)
        asker_init(&k[i], f, a, &key, NULL);
    assert_int_equal(asker_waits(&k[0], 100, 0), ACCOUNTS_HELD);
    assert_int_equal(asker_asks(&k[1], 60, 0), ACCOUNTS_BUSY);
    assert_int_equal(asker_asks(&k[2], 60, 0), ACCOUNTS_BUSY);
    accounts_changed(a, true, STR("blue")); /* nobody waits there */
    accounts_changed(a, false, STR("nobody"));
    assert_false(k[1].c.sleeper.woken || k[2].c.sleeper.woken);
    assert_int_equal(waiting_at(a), 2);
    accounts_changed(a, false, STR("key_a"));
    assert_true(k[1].c.sleeper.woken && k[2].c.sleeper.woken);
    assert_int_equal(waiting_at(a), 0);
    k[1].c.key = k[2].c.key = &more;
    k[1].c.sleeper.woken = k[2].c.sleeper.woken = false;
    assert_int_equal(asker_waits(&k[1], 60, 0), ACCOUNTS_HELD);
    assert_int_equal(asker_asks(&k[2], 60, 0), ACCOUNTS_BUSY);
    accounts_leave(a, &k[2].c.sleeper.w);
    asker_ends(&k[0], 0, 0);
    asker_ends(&k[1], 0, 0);
    accounts_free(a);
}

/* --- growing -------------------------------------------------------------- */

static void a_hold_grows_as_far_as_it_fits(void **state)
{
    const struct budget_spec key = spec_of("100-tokens/day");
    const struct budget_spec team = spec_of("90-tokens/total");
    struct fixture *f = *state;
    struct accounts *a = accounts_new(f->ledger);
    struct asker k, other, none;

    asker_init(&k, f, a, &key, &team);
    asker_init(&other, f, a, NULL, &team);
    asker_init(&none, f, a, NULL, NULL);
    assert_int_equal(asker_waits(&k, 10, 10), ACCOUNTS_HELD);
    assert_int_equal(asker_waits(&other, 0, 30), ACCOUNTS_HELD);
    assert_int_equal(asker_grows(&k, 10, 51), ACCOUNTS_OVER);
    assert_int_equal(state_of(a, false, &key).held, 50); /* of both */
    assert_int_equal(asker_grows(&k, 10, 50), ACCOUNTS_HELD);
    assert_int_equal(state_of(a, false, &key).held, 90);
    assert_int_equal(state_of(a, true, &team).held, 90);
    assert_int_equal(asker_grows(&k, 5, 20), ACCOUNTS_HELD);
    assert_int_equal(state_of(a, true, &team).held, 55);
    struct accounts_totals t;
    accounts_totals(a, &t);
    assert_int_equal(t.holds, 2);
    assert_int_equal(t.held.of[BUDGET_TOKENS], 55);
    assert_int_equal(t.held.of[BUDGET_OUTPUT_TOKENS], 50);
    assert_true(t.leases > 0 && t.leases_failed == 0);
    asker_ends(&k, 5, 15);
    asker_ends(&other, 0, 0);
    assert_int_equal(state_of(a, false, &key).spent, 20);
    assert_int_equal(state_of(a, true, &team).held, 0);
    accounts_totals(a, &t);
    assert_int_equal(t.holds, 0);
    assert_int_equal(t.held.of[BUDGET_TOKENS], 0);
    assert_int_equal(t.waiting, 0);
    /* nothing held stays nothing held */
    assert_int_equal(asker_waits(&none, 10, 10), ACCOUNTS_HELD);
    assert_int_equal(asker_grows(&none, 1000, 1000), ACCOUNTS_HELD);
    assert_int_equal(state_of(a, false, &key).held, 0);
    accounts_free(a);
}

static void a_hold_grows_into_the_window_of_now(void **state)
{
    const struct budget_spec key = spec_of("100-tokens/minute");
    const struct budget_spec team = spec_of("200-tokens/total");
    struct fixture *f = *state;
    struct accounts *a = accounts_new(f->ledger);
    struct asker k, other;

    asker_init(&k, f, a, &key, &team);
    asker_init(&other, f, a, &key, &team);
    assert_int_equal(asker_waits(&k, 10, 80), ACCOUNTS_HELD);
    const int64_t began = k.hold.hold.at_ms;
    clock_advance_ms(60000);
    assert_int_equal(asker_waits(&other, 0, 50), ACCOUNTS_HELD);
    assert_int_equal(state_of(a, false, &key).held, 50);
    /* smaller: it stays where it is, and the new minute is not its own */
    assert_int_equal(asker_grows(&k, 10, 70), ACCOUNTS_HELD);
    assert_true(k.hold.hold.at_ms == began);
    assert_int_equal(state_of(a, false, &key).held, 50);
    assert_int_equal(state_of(a, true, &team).held, 130);
    /* larger: as a whole, so that it must fit as a whole */
    assert_int_equal(asker_grows(&k, 10, 75), ACCOUNTS_OVER);
    assert_int_equal(state_of(a, true, &team).held, 130);
    asker_ends(&other, 0, 10);
    assert_int_equal(asker_grows(&k, 10, 80), ACCOUNTS_HELD);
    assert_true(k.hold.hold.at_ms > began);
    assert_int_equal(state_of(a, false, &key).held, 90);
    assert_int_equal(state_of(a, true, &team).held, 90);
    asker_ends(&k, 10, 80);
    assert_int_equal(state_of(a, false, &key).spent, 100);
    assert_int_equal(state_of(a, false, &key).held, 0);
    assert_int_equal(state_of(a, true, &team).spent, 100);
    accounts_free(a);
}

static void who_asks_again_in_a_new_window_holds_there(void **state)
{
    const struct budget_spec key = spec_of("100-tokens/minute");
    struct fixture *f = *state;
    struct accounts *a = accounts_new(f->ledger);
    struct asker k;

    asker_init(&k, f, a, &key, NULL);
    struct accounts_ask what = ask_of(&k.c, &k.row, 60, 0);
    what.at_ms = accounts_now_ms(a);
    clock_advance_ms(60000); /* it waited long for its first lease */
    assert_int_equal(ask(&k.c, &what, &k.hold), ACCOUNTS_HELD);
    assert_int_equal(state_of(a, false, &key).held, 60);
    asker_ends(&k, 60, 0);
    assert_int_equal(state_of(a, false, &key).held, 0);
    assert_int_equal(state_of(a, false, &key).spent, 60);
    accounts_free(a);
}

static void a_crash_charges_the_hold_as_it_was_last(void **state)
{
    const struct budget_spec key = spec_of("1k-tokens/total");
    struct fixture *f = *state;
    int to_parent[2];
    char byte;

    assert_int_equal(pipe(to_parent), 0);
    const pid_t child = fork();
    if (child == 0) {
        struct asker grown, shrunk;

        f->opts.journal_bytes = 1024; /* a file for a few of them */
        open_ledger(f);
        open_seat(f);
        struct accounts *a = accounts_new(f->ledger);
        asker_init(&grown, f, a, &key, NULL);
        asker_init(&shrunk, f, a, &key, NULL);
        bool ok = asker_waits(&grown, 10, 10) == ACCOUNTS_HELD &&
                  asker_waits(&shrunk, 100, 100) == ACCOUNTS_HELD;
        for (int64_t i = 11; ok && i <= 50; i++)
            ok = asker_grows(&grown, 10, i) == ACCOUNTS_HELD &&
                 asker_grows(&shrunk, 100, 111 - i) == ACCOUNTS_HELD;
        (void)!write(to_parent[1], ok ? "y" : "n", 1);
        pause();
    }
    assert_int_equal(read(to_parent[0], &byte, 1), 1);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(to_parent[0]);
    close(to_parent[1]);
    assert_int_equal(byte, 'y');
    open_ledger(f);
    open_seat(f);
    struct accounts *a = accounts_new(f->ledger);
    assert_int_equal(state_of(a, false, &key).spent, 60 + 161);
    accounts_free(a);
    assert_proved(f);
}

static void what_passes_its_hold_is_leased(void **state)
{
    const struct budget_spec key = spec_of("1k-tokens/total");
    struct fixture *f = *state;
    struct accounts *a = accounts_new(f->ledger);
    struct spend lease;
    struct txn t;
    struct asker k;

    asker_init(&k, f, a, &key, NULL);
    assert_int_equal(asker_waits(&k, 10, 10), ACCOUNTS_HELD);
    asker_ends(&k, 10, 5000); /* the upstream did not keep to its cap */
    assert_int_equal(state_of(a, false, &key).spent, 5010);
    accounts_free(a); /* waits for it */
    struct env *env = ldb_env(ledger_database(f->ledger));
    assert_int_equal(txn_begin_read(env, &t), ERR_OK);
    assert_int_equal(ledger_spend_get(&t, LDB_LEASES, STR("kkey_a"), &lease),
                     ERR_OK);
    txn_end(&t);
    assert_int_equal(lease.in[BUDGET_TOTAL].took.of[BUDGET_TOKENS], 5010);
}

static void what_passed_a_soft_budget_is_told(void **state)
{
    const struct budget_spec hard = spec_of("1k-tokens/day");
    struct budget_spec soft = spec_of("50-tokens/day");
    struct fixture *f = *state;
    struct accounts *a = accounts_new(f->ledger);
    struct accounts_no no;
    struct asker k;

    soft.soft = true;
    asker_init(&k, f, a, &hard, &soft);
    assert_int_equal(asker_waits(&k, 50, 10), ACCOUNTS_HELD);
    struct accounts_ask what = ask_of(&k.c, &k.row, 0, 0);
    assert_false(accounts_soft(a, &what, &no)); /* held is not spent */
    asker_ends(&k, 45, 5);
    assert_false(accounts_soft(a, &what, &no));
    k.row = request(k.id, a);
    assert_int_equal(asker_waits(&k, 50, 10), ACCOUNTS_HELD);
    asker_ends(&k, 7, 0);
    assert_true(accounts_soft(a, &what, &no));
    assert_true(no.is_team);
    assert_int_equal(no.left, -7);
    assert_int_equal(no.spec.amount, 50);
    assert_true(no.resets_ms > (int64_t)clock_now_wall_ms());
    struct accounts_room room;
    accounts_left(a, &what, &room); /* it bounds nothing */
    assert_int_equal(room.ever.of[BUDGET_TOKENS], 943);
    accounts_free(a);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        OPEN(who_waits_longest_is_woken_first),
        OPEN(a_turn_is_kept_over_a_vain_awakening),
        OPEN(who_waits_in_vain_is_woken_to_be_refused),
        OPEN(a_team_wakes_those_of_its_keys),
        OPEN(a_changed_budget_wakes_all_who_wait_for_it),
        OPEN(a_hold_grows_as_far_as_it_fits),
        OPEN(a_hold_grows_into_the_window_of_now),
        OPEN(who_asks_again_in_a_new_window_holds_there),
        OPEN(what_passes_its_hold_is_leased),
        OPEN(what_passed_a_soft_budget_is_told),
        SHUT(a_crash_charges_the_hold_as_it_was_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
