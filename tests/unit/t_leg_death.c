/* t_leg_death.c - Requests of several attempts under a budget, and a process
 * that dies at any moment: all that was held is charged, and no more.
 * TG_KILL_ROUNDS sets how often a process is killed (default 30). */
#include "unit/leg_rig.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* --- deaths --------------------------------------------------------------- */

/* In a child: go on until <n> steps of a request are done, then die. */
static void die_after(struct fixture *f, int n)
{
    const pid_t child = fork();

    if (child == 0) {
        struct rig r;
        struct one o;

        open_ledger(f);
        open_seat(f);
        rig_open(&r, f, "1k-tokens/total");
        one_open(&o, &r);
        for (int i = 0; i < n; i++) {
            if (i % 2 == 0 && begin(&r, &o, "m", 50) != QUOTA_HELD)
                abort();
            if (i % 2 == 1 &&
                leg_part(&o.x, i == 3 ? &refused : &reset) != ERR_OK)
                abort();
        }
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void all_that_was_held_is_charged_after_a_death(void **state)
{
    const int64_t wants[] = {0, 150, 150, 300, 300, 300, 300, 450};
    struct fixture *f = *state;
    int64_t spent = 0;
    struct rig r;

    open_ledger(f);
    open_seat(f);
    rig_open(&r, f, "1M-tokens/total");
    rig_close(&r);
    close_all(f);
    for (int n = 0; n < 8; n++) {
        die_after(f, n);
        open_ledger(f);
        open_seat(f);
        rig_open(&r, f, NULL);
        spent += wants[n];
        assert_int_equal(state_of(&r).spent, spent);
        rig_close(&r);
        assert_proved(f);
        assert_int_equal(total(f).requests, n);
        close_all(f);
    }
}

static void what_was_given_back_is_not_charged_after_a_death(void **state)
{
    struct fixture *f = *state;
    struct rig r;
    pid_t child;
    int status = 0;

    child = fork();
    if (child == 0) {
        struct one o, other;

        open_ledger(f);
        open_seat(f);
        rig_open(&r, f, "200-tokens/total");
        one_open(&o, &r);
        one_open(&other, &r);
        if (begin(&r, &o, "m", 50) != QUOTA_HELD)
            abort();
        quota_give(&o.x);
        if (begin(&r, &other, "m", 100) != QUOTA_HELD)
            abort();
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WTERMSIG(status), SIGKILL);
    open_ledger(f);
    open_seat(f);
    rig_open(&r, f, NULL);
    assert_int_equal(state_of(&r).spent, 200);
    rig_close(&r);
    assert_proved(f);
}

/* --- by chance ------------------------------------------------------------ */

#define BUDGET 20000

/* What providers worked for, in tokens; shared with the child. */
static int64_t *worked;

static uint64_t any(uint64_t *seed, uint64_t n)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (*seed >> 33) % n;
}

/* Steps that are left to live, and chance. */
struct life {
    uint64_t seed, left;
};

static void step(struct life *l)
{
    if (l->left-- == 0)
        kill(getpid(), SIGKILL);
}

/* An attempt that is sent, and worked for up to what it was allowed. */
static int64_t work(struct life *l, uint64_t out)
{
    const int64_t took = (int64_t)any(&l->seed, 100 + out + 1);

    *worked += took;
    step(l);
    return took;
}

/* One request of up to four attempts, the second maybe beside the first. */
static void request(struct rig *r, struct life *l)
{
    struct leg *leg = NULL;
    struct one o;

    one_open(&o, r);
    for (unsigned i = 0; i < 4; i++) {
        const uint64_t out = 1 + any(&l->seed, 300);
        const bool has_more = leg && any(&l->seed, 2) == 0;

        if (begin(r, &o, "m", out) != QUOTA_HELD) {
            give_up(r, &o, i > 0 ? ERR_UP_RESET : ERR_QUOTA);
            step(l);
            return;
        }
        step(l);
        switch (any(&l->seed, 5)) {
        case 0:
            assert_int_equal(leg_part(&o.x, &refused), ERR_OK);
            break;
        case 1:
            (void)work(l, out);
            assert_int_equal(leg_part(&o.x, &reset), ERR_OK);
            break;
        case 2:
            (void)work(l, out);
            leg = leg_open(&o.x);
            break;
        default:
            if (has_more && leg->open)
                leg_close(&o.x, leg, &reset);
            const int64_t took = work(l, out);
            answer(r, &o, took < 100 ? took : 100, took < 100 ? 0 : took - 100);
            step(l);
            return;
        }
        step(l);
    }
    give_up(r, &o, ERR_UP_RESET);
    step(l);
}

/* In a child: requests until death, which comes at some time. */
static void live(struct fixture *f, uint64_t seed)
{
    struct life l = {.seed = seed};
    struct rig r;

    l.left = any(&l.seed, 100);
    open_ledger(f);
    open_seat(f);
    rig_open(&r, f, NULL);
    for (;;)
        request(&r, &l);
}

static void no_death_makes_more_or_less_of_it(void **state)
{
    const char *text = getenv("TG_KILL_ROUNDS");
    const int rounds = text ? atoi(text) : 30;
    struct fixture *f = *state;
    struct rig r;

    worked = mmap(NULL, sizeof(*worked), PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(worked != MAP_FAILED);
    open_ledger(f);
    open_seat(f);
    rig_open(&r, f, "20k-tokens/total");
    rig_close(&r);
    close_all(f);
    for (int i = 0; i < rounds; i++) {
        const pid_t child = fork();
        int status = 0;

        if (child == 0)
            live(f, (uint64_t)i + 1); /* never comes back */
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(WTERMSIG(status), SIGKILL);
        open_ledger(f);
        open_seat(f);
        rig_open(&r, f, NULL);
        assert_true(state_of(&r).spent >= *worked);
        assert_true(state_of(&r).spent <= BUDGET);
        assert_int_equal(state_of(&r).held, 0);
        rig_close(&r);
        assert_proved(f);
        close_all(f);
    }
    munmap(worked, sizeof(*worked));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            all_that_was_held_is_charged_after_a_death, setup, teardown),
        cmocka_unit_test_setup_teardown(
            what_was_given_back_is_not_charged_after_a_death, setup, teardown),
        cmocka_unit_test_setup_teardown(no_death_makes_more_or_less_of_it,
                                        setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
