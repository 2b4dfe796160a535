/* t_retry_budget.c - The budget of retries: its share and its floor, the window
 * that slides, clients that retry by themselves, and many threads at once. */
#include "serve/retry_budget.h"

#include "unit/cmocka_all.h"

#include <stdlib.h>

#define T0 UINT64_C(7000000)

static void live(struct retry_budget *b, unsigned n, uint64_t now_ms)
{
    for (unsigned i = 0; i < n; i++)
        retry_budget_note(b, 0, now_ms);
}

/* How many can be taken at <now_ms>. */
static unsigned take_all(struct retry_budget *b, uint64_t now_ms)
{
    unsigned n = 0;

    while (n < 1000000 && retry_budget_take(b, now_ms))
        n++;
    return n;
}

static void a_share_of_the_traffic(void **state)
{
    struct retry_budget b;
    struct retry_budget_view v;

    (void)state;
    retry_budget_init(&b, 10, 3);
    live(&b, 1000, T0);
    assert_int_equal(take_all(&b, T0), 100);
    retry_budget_see(&b, T0, &v);
    assert_int_equal(v.live, 1000);
    assert_int_equal(v.spent, 100);
    assert_int_equal(v.allowed, 100);
    live(&b, 9, T0); /* not yet one more */
    assert_int_equal(take_all(&b, T0), 0);
    live(&b, 1, T0);
    assert_int_equal(take_all(&b, T0), 1);
    retry_budget_fini(&b);
}

static void a_floor_without_traffic(void **state)
{
    struct retry_budget b;

    (void)state;
    retry_budget_init(&b, 10, 5);
    assert_int_equal(take_all(&b, T0), 5);
    live(&b, 50, T0); /* a share of 5: the same five */
    assert_int_equal(take_all(&b, T0), 0);
    live(&b, 10, T0);
    assert_int_equal(take_all(&b, T0), 1);
    retry_budget_fini(&b);
}

static void the_window_slides(void **state)
{
    struct retry_budget b;
    const uint64_t end = T0 + 1000 * RETRY_BUDGET_WINDOW_S;

    (void)state;
    retry_budget_init(&b, 10, 0);
    live(&b, 100, T0);
    live(&b, 100, T0 + 5000);
    assert_int_equal(take_all(&b, T0 + 5000), 20);
    /* The first hundred is out of it; what was spent of it is not. */
    assert_int_equal(take_all(&b, end), 0);
    live(&b, 100, end);
    assert_int_equal(take_all(&b, end), 0);
    live(&b, 50, end);
    assert_int_equal(take_all(&b, end), 5);
    /* All of it is. */
    assert_int_equal(take_all(&b, end + 100000), 0);
    live(&b, 100, end + 100000);
    assert_int_equal(take_all(&b, end + 100000), 10);
    retry_budget_fini(&b);
}

static void retries_of_clients_are_spent(void **state)
{
    struct retry_budget b;

    (void)state;
    retry_budget_init(&b, 10, 0);
    live(&b, 1000, T0);
    for (unsigned i = 0; i < 60; i++)
        retry_budget_note(&b, 1 + i % 2, T0);
    assert_int_equal(take_all(&b, T0), 40);
    for (unsigned i = 0; i < 500; i++) /* served all the same */
        retry_budget_note(&b, 2, T0);
    assert_int_equal(take_all(&b, T0), 0);
    live(&b, 4000, T0);
    assert_int_equal(take_all(&b, T0), 0);
    live(&b, 1010, T0);
    assert_int_equal(take_all(&b, T0), 1);
    retry_budget_fini(&b);
}

static void what_was_not_used_is_given_back(void **state)
{
    struct retry_budget b;

    (void)state;
    retry_budget_init(&b, 10, 2);
    assert_int_equal(take_all(&b, T0), 2);
    retry_budget_give(&b, T0);
    assert_int_equal(take_all(&b, T0), 1);
    retry_budget_give(&b, T0 - 10000); /* that second is over */
    assert_int_equal(take_all(&b, T0), 0);
    retry_budget_give(&b, T0);
    retry_budget_give(&b, T0);
    retry_budget_give(&b, T0); /* never below none */
    assert_int_equal(take_all(&b, T0), 2);
    retry_budget_fini(&b);
}

static void nothing_is_allowed_of_nothing(void **state)
{
    struct retry_budget b;

    (void)state;
    retry_budget_init(&b, 0, 0);
    live(&b, 1000, T0);
    assert_int_equal(take_all(&b, T0), 0);
    retry_budget_fini(&b);
}

/* Threads have clocks that differ by a turn of their loops: those behind count
 * nothing twice and clear nothing. */
static void clocks_may_be_behind(void **state)
{
    struct retry_budget b;
    struct retry_budget_view v;

    (void)state;
    retry_budget_init(&b, 10, 0);
    live(&b, 100, T0 + 1000);
    assert_int_equal(take_all(&b, T0 + 1000), 10);
    assert_int_equal(take_all(&b, T0), 0);
    live(&b, 100, T0);
    assert_int_equal(take_all(&b, T0), 10);
    assert_int_equal(take_all(&b, T0 + 1000), 0);
    /* So far behind that its place has a later second. */
    live(&b, 100, T0 + 1000 - 1000 * RETRY_BUDGET_WINDOW_S);
    retry_budget_see(&b, T0 + 1000, &v);
    assert_int_equal(v.live, 200);
    assert_int_equal(v.spent, 20);
    retry_budget_note(&b, 1, T0 + 1000 - 1000 * RETRY_BUDGET_WINDOW_S);
    retry_budget_see(&b, T0 + 1000, &v);
    assert_int_equal(v.spent, 21);
    retry_budget_fini(&b);
}

/* An outage under constant load in which everybody wants to retry at once, and
 * keeps on: what is sent is at most 1.1 times what came. */
static void an_outage_is_not_made_worse(void **state)
{
    struct retry_budget b;
    uint64_t came = 0, retried = 0;

    (void)state;
    retry_budget_init(&b, RETRY_BUDGET_PERCENT, RETRY_BUDGET_FLOOR);
    for (uint64_t ms = T0; ms < T0 + 120000; ms += 2) {
        retry_budget_note(&b, 0, ms);
        came++;
        if (ms < T0 + 20000)
            continue;
        for (int i = 0; i < 3; i++)
            retried += retry_budget_take(&b, ms);
    }
    assert_true(retried * 10 <= came);
    assert_true(retried * 10 >= came * 8 / 10); /* and is made use of */
    retry_budget_fini(&b);
}

/* --- threads ------------------------------------------------------------- */

#define THREADS 4
#define EACH    25000

struct crowd {
    struct retry_budget b;
    _Atomic uint64_t taken;
};

static void *ask_and_take(void *arg)
{
    struct crowd *c = arg;

    for (unsigned i = 0; i < EACH; i++) {
        retry_budget_note(&c->b, 0, T0);
        if (retry_budget_take(&c->b, T0))
            c->taken++;
    }
    return NULL;
}

static void threads_take_no_more_than_there_is(void **state)
{
    struct crowd c = {.taken = 0};
    struct retry_budget_view v;
    pthread_t thread[THREADS];

    (void)state;
    retry_budget_init(&c.b, 10, 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, ask_and_take, &c), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    retry_budget_see(&c.b, T0, &v);
    assert_int_equal(v.live, THREADS * EACH);
    assert_int_equal(v.spent, c.taken);
    assert_true(c.taken <= THREADS * EACH / 10);
    assert_int_equal(c.taken + take_all(&c.b, T0), THREADS * EACH / 10);
    retry_budget_fini(&c.b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share_of_the_traffic),
        cmocka_unit_test(a_floor_without_traffic),
        cmocka_unit_test(the_window_slides),
        cmocka_unit_test(retries_of_clients_are_spent),
        cmocka_unit_test(what_was_not_used_is_given_back),
        cmocka_unit_test(nothing_is_allowed_of_nothing),
        cmocka_unit_test(clocks_may_be_behind),
        cmocka_unit_test(an_outage_is_not_made_worse),
        cmocka_unit_test(threads_take_no_more_than_there_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
