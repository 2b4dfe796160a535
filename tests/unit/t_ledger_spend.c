/* t_ledger_spend.c - What keys and teams have spent, whatever dies when: rows
 * count once, holds without a row in full, leases where the machine went down.
 * TG_KILL_ROUNDS sets how often the kill -9 test kills (default 30). */
#include "unit/ledger_fixture.h"

#include "account/ledger_spend.h"
#include "account/window.h"
#include "store/ledger_db.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

static struct spend spend_of(struct fixture *f, const char *name)
{
    struct spend s;

    assert_int_equal(ledger_flush(f->ledger), ERR_OK);
    assert_int_equal(ledger_spend_read(f->ledger, str_from(name), &s), ERR_OK);
    return s;
}

static int64_t total_of(struct fixture *f, const char *name,
                        enum budget_unit unit)
{
    return spend_of(f, name).in[BUDGET_TOTAL].took.of[unit];
}

/* A hold of the request of <row>: as much as it takes, and <more> output. */
static struct hold hold_of(const struct usage_row *row, uint64_t more)
{
    return (struct hold){.id = row->id,
                         .at_ms = row->time_wall_ms,
                         .key_id = row->key_id,
                         .team = row->team,
                         .input_tok = row_input_tokens(row->tok),
                         .output_tok = row_output_tokens(row->tok) + more,
                         .cost_nusd = 1000};
}

static void again(struct fixture *f)
{
    close_all(f);
    open_ledger(f);
    open_seat(f);
}

static void rows_are_spent_by_key_and_team(void **state)
{
    struct fixture *f = *state;

    for (unsigned i = 0; i < 10; i++)
        put(f, DAY0 + i * 1000);
    put(f, DAY0 + TALLY_DAY_MS); /* the next day, of another week or not */
    const struct spend s = spend_of(f, "kkey_a");
    assert_int_equal(s.in[BUDGET_TOTAL].took.of[BUDGET_TOKENS], 11 * 23);
    assert_int_equal(s.in[BUDGET_TOTAL].took.of[BUDGET_INPUT_TOKENS], 11 * 15);
    assert_int_equal(s.in[BUDGET_TOTAL].took.of[BUDGET_OUTPUT_TOKENS], 11 * 8);
    assert_int_equal(s.in[BUDGET_TOTAL].took.of[BUDGET_NUSD], 33);
    assert_int_equal(s.in[BUDGET_DAY].took.of[BUDGET_NUSD], 3);
    assert_int_equal(s.in[BUDGET_DAY].number,
                     window_number(BUDGET_DAY, DAY0 + TALLY_DAY_MS));
    assert_int_equal(s.in[BUDGET_MONTH].took.of[BUDGET_NUSD], 33);
    assert_int_equal(total_of(f, "tblue", BUDGET_NUSD), 33);
    assert_int_equal(total_of(f, "kblue", BUDGET_NUSD), 0);
    again(f);
    assert_int_equal(total_of(f, "kkey_a", BUDGET_NUSD), 33);
    assert_proved(f);
}

static void a_row_that_comes_twice_is_spent_once(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    const struct usage_row row = row_at(id, DAY0);

    assert_int_equal(ledger_row_put(f->lw, &row), ERR_OK);
    assert_int_equal(ledger_row_put(f->lw, &row), ERR_OK);
    assert_int_equal(total_of(f, "kkey_a", BUDGET_NUSD), 3);
}

static void a_hold_ends_with_its_row(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    const struct usage_row row = row_at(id, DAY0);
    const struct hold h = hold_of(&row, 50);

    assert_int_equal(ledger_hold_put(f->lw, &h), ERR_OK);
    assert_int_equal(total_of(f, "kkey_a", BUDGET_NUSD), 0);
    assert_int_equal(ledger_row_put(f->lw, &row), ERR_OK);
    again(f);
    assert_int_equal(total_of(f, "kkey_a", BUDGET_NUSD), 3);
    assert_int_equal(total(f).requests, 1);
}

/* In a child: <holds> requests are sent, of which <rows> end; then it dies. */
static void die_with(struct fixture *f, unsigned holds, unsigned rows)
{
    const pid_t child = fork();

    if (child == 0) {
        open_ledger(f);
        open_seat(f);
        for (unsigned i = 0; i < holds; i++) {
            char id[ID_SIZE];
            const struct usage_row row = row_at(id, DAY0);
            const struct hold h = hold_of(&row, 50);

            if (ledger_hold_put(f->lw, &h) != ERR_OK)
                abort();
            if (i < rows && ledger_row_put(f->lw, &row) != ERR_OK)
                abort();
        }
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void holds_of_a_killed_process_are_charged_in_full(void **state)
{
    struct fixture *f = *state;

    die_with(f, 700, 100);
    open_ledger(f);
    open_seat(f);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(total_of(f, "kkey_a", BUDGET_NUSD),
                         100 * 3 + 600 * 1000);
        assert_int_equal(total_of(f, "tblue", BUDGET_OUTPUT_TOKENS),
                         100 * 8 + 600 * 58);
        const struct usage_sum sum = total(f);
        assert_int_equal(sum.requests, 700);
        assert_int_equal(sum.cost_nusd, 100 * 3 + 600 * 1000);
        assert_int_equal(sum.errors, 600);
        assert_proved(f);
        again(f);
    }
}

static void a_row_found_after_its_charge_changes_nothing(void **state)
{
    struct fixture *f = *state;
    char id[ID_SIZE];
    const struct usage_row row = row_at(id, DAY0);
    const struct hold h = hold_of(&row, 50);

    /* the row is in the database, its hold in a journal that is read later */
    assert_int_equal(ledger_row_put(f->lw, &row), ERR_OK);
    assert_int_equal(ledger_flush(f->ledger), ERR_OK);
    assert_int_equal(ledger_hold_put(f->lw, &h), ERR_OK);
    again(f);
    assert_int_equal(total_of(f, "kkey_a", BUDGET_NUSD), 3);
    assert_int_equal(total(f).requests, 1);
}

/* --- legs ----------------------------------------------------------------- */

/* A request of two attempts: the first holds by the request's id and is a leg,
 * the second holds by an id of its own, which the request's row ends. */
struct pair {
    char main_id[ID_SIZE], leg_id[ID_SIZE], own_id[ID_SIZE];
    struct usage_row main, leg;
    struct hold first, second;
};

static void pair_init(struct pair *p)
{
    p->main = row_at(p->main_id, DAY0);
    p->leg = row_at(p->leg_id, DAY0);
    id_new(p->own_id);
    p->first = hold_of(&p->main, 50);
    p->second = hold_of(&p->main, 70);
    p->second.id = str_from(p->own_id);
    p->second.parent = p->main.id;
    p->second.cost_nusd = 2000;
    p->leg.parent = p->main.id;
    p->leg.hold = p->main.id;
    p->leg.flags = ROW_LEG;
    p->leg.cost_nusd = 700;
    p->main.hold = p->second.id;
}

/* Put them in the order of <what>: 1 and 2 for the holds, l and m for the rows;
 * each is read before the next, unless all are to be read <at_once>. */
static void put_in_order(struct fixture *f, const char *what, bool at_once)
{
    struct pair p;

    pair_init(&p);
    for (; *what; what++) {
        enum err err;

        if (*what == '1' || *what == '2')
            err = ledger_hold_put(f->lw, *what == '1' ? &p.first : &p.second);
        else
            err = ledger_row_put(f->lw, *what == 'l' ? &p.leg : &p.main);
        assert_int_equal(err, ERR_OK);
        if (!at_once)
            assert_int_equal(ledger_flush(f->ledger), ERR_OK);
    }
}

static void legs_end_their_holds_in_any_order(void **state)
{
    static const char *const orders[] = {"12lm", "1l2m", "l12m", "lm12", "m12l",
                                         "ml21", "1lm2", "2lm1", "l1m2"};
    struct fixture *f = *state;

    const unsigned n = sizeof(orders) / sizeof(orders[0]);

    for (unsigned i = 0; i < 2 * n; i++) {
        put_in_order(f, orders[i % n], i >= n);
        again(f);
        assert_int_equal(total_of(f, "kkey_a", BUDGET_NUSD), 703 * (i + 1));
        const struct usage_sum sum = total(f);
        assert_int_equal(sum.requests, i + 1);
        assert_int_equal(sum.legs, i + 1);
        assert_proved(f);
    }
}

/* What a start charges for what was under way. */
static void open_legs_are_charged_once(void **state)
{
    static const struct {
        const char *what;
        int64_t nusd;
        unsigned requests, legs;
    } cases[] = {{"1", 1000, 1, 0},         {"12", 3000, 1, 1},
                 {"12l", 700 + 2000, 1, 2}, {"l12", 700 + 2000, 1, 2},
                 {"1l", 700, 1, 1},         {"l1", 700, 1, 1}};
    struct fixture *f = *state;
    int64_t nusd = 0;
    unsigned requests = 0, legs = 0;

    const unsigned n = sizeof(cases) / sizeof(cases[0]);

    for (unsigned i = 0; i < 2 * n; i++) {
        put_in_order(f, cases[i % n].what, i >= n);
        again(f);
        nusd += cases[i % n].nusd;
        requests += cases[i % n].requests;
        legs += cases[i % n].legs;
        assert_int_equal(total_of(f, "kkey_a", BUDGET_NUSD), nusd);
        const struct usage_sum sum = total(f);
        assert_int_equal(sum.requests, requests);
        assert_int_equal(sum.legs, legs);
        assert_proved(f);
    }
}

/* --- leases --------------------------------------------------------------- */

static enum err lease(struct fixture *f, const char *name, int64_t nusd)
{
    const struct budget_amounts most = {.of = {[BUDGET_NUSD] = nusd}};
    struct ledger_lease l;
    struct spend s;

    spend_init(&s);
    spend_add(&s, DAY0, &most);
    ledger_lease_init(&l, str_from(name), &s);
    return writer_call(ledger_writer(f->ledger), &l.job);
}

/* In a child: lease, hold, end some; then the process dies. */
static void lease_and_die(struct fixture *f, int64_t nusd, unsigned rows)
{
    const pid_t child = fork();

    if (child == 0) {
        open_ledger(f);
        open_seat(f);
        if (lease(f, "kkey_a", nusd) != ERR_OK)
            abort();
        for (unsigned i = 0; i < rows; i++)
            put(f, DAY0);
        if (ledger_flush(f->ledger) != ERR_OK)
            abort();
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void leases_count_when_the_machine_went_down(void **state)
{
    struct fixture *f = *state;

    lease_and_die(f, 500, 4);
    machine_restarts(f, false);
    open_ledger(f);
    open_seat(f);
    for (unsigned i = 0; i < 3; i++) {
        const struct spend s = spend_of(f, "kkey_a");
        assert_int_equal(s.in[BUDGET_TOTAL].took.of[BUDGET_NUSD], 500);
        assert_int_equal(s.in[BUDGET_TOTAL].lost.of[BUDGET_NUSD], 488);
        assert_int_equal(s.in[BUDGET_DAY].took.of[BUDGET_NUSD], 500);
        /* others had none */
        assert_int_equal(total_of(f, "tblue", BUDGET_NUSD), 12);
        again(f); /* and it is counted once */
    }
    put(f, DAY0);
    assert_int_equal(total_of(f, "kkey_a", BUDGET_NUSD), 503);
}

static void leases_are_nothing_when_the_process_died(void **state)
{
    struct fixture *f = *state;

    lease_and_die(f, 500, 4);
    open_ledger(f);
    open_seat(f);
    assert_int_equal(total_of(f, "kkey_a", BUDGET_NUSD), 12);
    close_all(f);
    /* its end was told: what comes later is of no matter */
    machine_restarts(f, true);
    open_ledger(f);
    open_seat(f);
    assert_int_equal(total_of(f, "kkey_a", BUDGET_NUSD), 12);
}

static void a_lease_is_never_lowered(void **state)
{
    struct fixture *f = *state;

    close_all(f);
    lease_and_die(f, 500, 0);
    machine_restarts(f, false);
    open_ledger(f);
    open_seat(f);
    assert_int_equal(total_of(f, "kkey_a", BUDGET_NUSD), 500);
    assert_int_equal(lease(f, "kkey_a", 900), ERR_OK);
    assert_int_equal(lease(f, "kkey_a", 700), ERR_OK);
    ledger_worker_close(f->lw);
    f->lw = NULL;
    /* leases end with a clean end */
    close_all(f);
    machine_restarts(f, true);
    open_ledger(f);
    open_seat(f);
    assert_int_equal(total_of(f, "kkey_a", BUDGET_NUSD), 500);
}

/* --- kill -9 at any time -------------------------------------------------- */

/* What upstreams truly took; survives the child. */
struct truth {
    _Atomic int64_t nusd;  /* taken by requests that were sent */
    _Atomic int64_t most;  /* held for them */
    _Atomic uint64_t sent; /* requests */
};

static uint64_t next_random(uint64_t *x)
{
    *x = *x * 6364136223846793005u + 1442695040888963407u;
    return *x >> 33;
}

/* In a child: requests until it is killed. */
static void work_until_killed(struct fixture *f, struct truth *truth,
                              uint64_t seed)
{
    uint64_t x = seed;

    open_ledger(f);
    open_seat(f);
    for (;;) {
        char id[ID_SIZE];
        struct usage_row row = row_at(id, DAY0);
        const struct hold h = hold_of(&row, 50);
        const int64_t takes = (int64_t)(next_random(&x) % 1000);

        if (ledger_hold_put(f->lw, &h) != ERR_OK)
            abort();
        atomic_fetch_add(&truth->most, h.cost_nusd);
        atomic_fetch_add(&truth->sent, 1);
        atomic_fetch_add(&truth->nusd, takes); /* it is sent, and works */
        row.cost_nusd = takes;
        if (next_random(&x) % 8 > 0 && ledger_row_put(f->lw, &row) != ERR_OK)
            abort();
    }
}

static void whatever_dies_no_less_is_spent_than_was_taken(void **state)
{
    const char *rounds = getenv("TG_KILL_ROUNDS");
    const unsigned n = rounds ? (unsigned)atoi(rounds) : 30;
    struct fixture *f = *state;
    struct truth *truth = mmap(NULL, sizeof(*truth), PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(truth != MAP_FAILED);
    for (unsigned i = 0; i < n; i++) {
        const uint64_t until = atomic_load(&truth->sent) + 1 + i * 37 % 400;
        const pid_t child = fork();

        if (child == 0)
            work_until_killed(f, truth, i);
        while (atomic_load(&truth->sent) < until &&
               waitpid(child, NULL, WNOHANG) == 0)
            sched_yield();
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        open_ledger(f);
        open_seat(f);
        const int64_t spent = total_of(f, "kkey_a", BUDGET_NUSD);
        assert_true(spent >= atomic_load(&truth->nusd));
        /* a hold may stand in the journal of which the truth was not told */
        assert_true(spent <= atomic_load(&truth->most) + 1000 * (int64_t)n);
        assert_int_equal(total(f).cost_nusd, spent);
        assert_int_equal(total_of(f, "tblue", BUDGET_NUSD), spent);
        assert_proved(f);
        close_all(f);
    }
    munmap(truth, sizeof(*truth));
}

/* --- bytes ---------------------------------------------------------------- */

static void records_are_read_as_they_were_written(void **state)
{
    const struct budget_amounts some = {.of = {1, 2, 3, 4}};
    uint8_t bytes[SPEND_BYTES_MAX];
    struct spend s, back;

    (void)state;
    spend_init(&s);
    spend_add(&s, DAY0, &some);
    s.in[BUDGET_DAY].lost = some;
    size_t len = spend_encode(&s, bytes);
    assert_int_equal(spend_decode(str_of(bytes, len), &back), ERR_OK);
    assert_memory_equal(&s, &back, sizeof(s));
    for (size_t i = 0; i < len; i++)
        assert_int_equal(spend_decode(str_of(bytes, i), &back), ERR_CORRUPT);

    uint8_t room[HOLD_BYTES_MAX];
    char id[ID_SIZE];
    const struct usage_row row = row_at(id, DAY0);
    struct hold h = hold_of(&row, 5);
    struct hold out;
    h.change = 7;
    h.parent = STR("01hzy3v7k2m4n6p8q0r2s4t6v7");
    len = hold_encode(&h, room);
    assert_int_equal(hold_decode(str_of(room, len), &out), ERR_OK);
    assert_true(str_eq(out.id, h.id) && str_eq(out.key_id, h.key_id) &&
                str_eq(out.team, h.team));
    assert_int_equal(out.at_ms, h.at_ms);
    assert_int_equal(out.input_tok, h.input_tok);
    assert_int_equal(out.output_tok, h.output_tok);
    assert_int_equal(out.cost_nusd, h.cost_nusd);
    assert_int_equal(out.change, h.change);
    assert_true(str_eq(out.parent, h.parent));
    /* before there were legs it ended where their requests begin */
    for (size_t i = 0; i < len; i++)
        assert_int_equal(hold_decode(str_of(room, i), &out),
                         i == len - 2 - ROW_ID_LEN ? ERR_OK : ERR_CORRUPT);
}

static void windows_that_are_over_take_nothing_with_them(void **state)
{
    const struct budget_amounts ten = {.of = {10, 10, 10, 10}};
    struct spend a, b;

    (void)state;
    spend_init(&a);
    spend_init(&b);
    spend_add(&a, DAY0, &ten);
    spend_add(&b, DAY0 + TALLY_DAY_MS, &ten);
    spend_merge(&a, &b);
    assert_int_equal(a.in[BUDGET_DAY].took.of[0], 10);
    assert_int_equal(a.in[BUDGET_TOTAL].took.of[0], 20);
    spend_add(&a, DAY0, &ten); /* late: of yesterday */
    assert_int_equal(a.in[BUDGET_DAY].took.of[0], 10);
    assert_int_equal(a.in[BUDGET_TOTAL].took.of[0], 30);
    spend_add(&b, DAY0 + TALLY_DAY_MS, &ten);
    spend_most(&a, &b);
    assert_int_equal(a.in[BUDGET_DAY].took.of[0], 20);
    assert_int_equal(a.in[BUDGET_TOTAL].took.of[0], 30);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        OPEN(rows_are_spent_by_key_and_team),
        OPEN(a_row_that_comes_twice_is_spent_once),
        OPEN(a_hold_ends_with_its_row),
        SHUT(holds_of_a_killed_process_are_charged_in_full),
        OPEN(a_row_found_after_its_charge_changes_nothing),
        OPEN(legs_end_their_holds_in_any_order),
        OPEN(open_legs_are_charged_once),
        SHUT(leases_count_when_the_machine_went_down),
        SHUT(leases_are_nothing_when_the_process_died),
        OPEN(a_lease_is_never_lowered),
        SHUT(whatever_dies_no_less_is_spent_than_was_taken),
        cmocka_unit_test(records_are_read_as_they_were_written),
        cmocka_unit_test(windows_that_are_over_take_nothing_with_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
