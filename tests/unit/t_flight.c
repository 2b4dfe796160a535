/* t_flight.c - Who leads and who follows. */
#include "recall/flight.h"

#include "unit/tape_kit.h"

static struct digest digest_of(uint8_t n)
{
    struct digest d = {.b = {n}};

    d.b[31] = n;
    return d;
}

static const struct tape_head plain_head = {.status = 200};

static void first_leads_others_follow(void **state)
{
    struct flights *f = flights_new(1);
    struct digest d = digest_of(1), other = digest_of(2);
    struct tape *a = NULL, *b = NULL, *c = NULL;

    (void)state;
    assert_int_equal(flight_enter(f, &d, 100, NULL, &a), FLIGHT_LEADS);
    assert_int_equal(tape_state(a), TAPE_BLANK);
    assert_int_equal(flight_enter(f, &d, 100, NULL, &b), FLIGHT_FOLLOWS);
    assert_ptr_equal(a, b);
    assert_int_equal(flight_enter(f, &other, 100, NULL, &c), FLIGHT_LEADS);
    assert_ptr_not_equal(a, c);
    assert_int_equal(flights_count(f), 2);
    flight_leave(f, &d, c); /* not its own */
    assert_int_equal(flights_count(f), 2);
    flight_leave(f, &d, a);
    flight_leave(f, &d, a);
    assert_int_equal(flights_count(f), 1);
    tape_unref(b);
    assert_int_equal(flight_enter(f, &d, 100, NULL, &b), FLIGHT_LEADS);
    assert_ptr_not_equal(a, b);
    flight_leave(f, &d, a); /* long gone */
    assert_int_equal(flights_count(f), 2);
    tape_unref(a);
    tape_unref(b);
    tape_unref(c);
    flights_free(f);
}

static void what_cannot_be_joined_is_replaced(void **state)
{
    const struct tape_failure why = {.err = ERR_UP_RESET, .again = true};
    struct flights *f = flights_new(1);
    struct digest d = digest_of(1);
    struct tape *t = NULL, *u = NULL;

    (void)state;
    assert_int_equal(flight_enter(f, &d, 3, NULL, &t), FLIGHT_LEADS);
    tape_fail(t, &why); /* and has not left */
    assert_int_equal(flight_enter(f, &d, 3, NULL, &u), FLIGHT_LEADS);
    tape_unref(t);
    tape_start(u, &plain_head);
    tape_put(u, STR("abc"));
    assert_int_equal(flight_enter(f, &d, 3, NULL, &t), FLIGHT_FOLLOWS);
    tape_unref(t);
    tape_put(u, STR("d")); /* outgrown */
    assert_int_equal(flight_enter(f, &d, 3, NULL, &t), FLIGHT_LEADS);
    tape_unref(u);
    tape_start(t, &plain_head);
    tape_end(t, false, NULL); /* broken */
    assert_int_equal(flight_enter(f, &d, 3, NULL, &u), FLIGHT_LEADS);
    tape_unref(t);
    tape_start(u, &plain_head);
    tape_end(u, true, NULL); /* complete: until it leaves */
    assert_int_equal(flight_enter(f, &d, 3, NULL, &t), FLIGHT_FOLLOWS);
    assert_int_equal(flights_count(f), 1);
    tape_unref(t);
    tape_unref(u);
    flights_free(f);
}

/* However late those hear of it that followed a call which failed: one retry
 * serves them all, also when it has ended and left. */
static void one_retry_serves_all(void **state)
{
    const struct tape_failure why = {.err = ERR_UP_RESET, .again = true};
    struct flights *f = flights_new(1);
    struct digest d = digest_of(1);
    struct tape *failed = NULL, *retry = NULL, *t = NULL, *last = NULL;

    (void)state;
    assert_int_equal(flight_enter(f, &d, 3, NULL, &failed), FLIGHT_LEADS);
    tape_fail(failed, &why);
    flight_leave(f, &d, failed);
    assert_int_equal(flight_enter(f, &d, 3, failed, &retry), FLIGHT_LEADS);
    assert_int_equal(flight_enter(f, &d, 3, failed, &t), FLIGHT_FOLLOWS);
    assert_ptr_equal(t, retry);
    tape_unref(t);
    tape_start(retry, &plain_head);
    tape_end(retry, true, NULL);
    flight_leave(f, &d, retry);
    assert_int_equal(flights_count(f), 0);
    assert_int_equal(flight_enter(f, &d, 3, failed, &t), FLIGHT_FOLLOWS);
    assert_ptr_equal(t, retry);
    tape_unref(t);
    /* who did not follow it asks anew, and heirs have heirs */
    assert_int_equal(flight_enter(f, &d, 3, NULL, &t), FLIGHT_LEADS);
    assert_ptr_not_equal(t, retry);
    tape_fail(t, &why);
    assert_int_equal(flight_enter(f, &d, 3, t, &last), FLIGHT_LEADS);
    tape_unref(t);
    /* an open tape is followed, whatever is said */
    assert_int_equal(flight_enter(f, &d, 3, last, &t), FLIGHT_FOLLOWS);
    assert_ptr_equal(t, last);
    tape_unref(t);
    flight_leave(f, &d, last);
    tape_unref(failed);
    tape_unref(retry);
    tape_unref(last);
    flights_free(f);
}

/* Who comes after a failure and finds somebody else under way joins that. */
static void heir_may_be_a_strangers(void **state)
{
    const struct tape_failure why = {.err = ERR_UP_RESET, .again = true};
    struct flights *f = flights_new(1);
    struct digest d = digest_of(1);
    struct tape *failed = NULL, *other = NULL, *t = NULL, *u = NULL;

    (void)state;
    assert_int_equal(flight_enter(f, &d, 3, NULL, &failed), FLIGHT_LEADS);
    tape_fail(failed, &why);
    assert_int_equal(flight_enter(f, &d, 3, NULL, &other), FLIGHT_LEADS);
    assert_int_equal(flight_enter(f, &d, 3, failed, &t), FLIGHT_FOLLOWS);
    assert_ptr_equal(t, other);
    flight_leave(f, &d, other);
    assert_int_equal(flight_enter(f, &d, 3, failed, &u), FLIGHT_FOLLOWS);
    assert_ptr_equal(u, other);
    tape_unref(failed);
    tape_unref(other);
    tape_unref(t);
    tape_unref(u);
    flights_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_leads_others_follow),
        cmocka_unit_test(one_retry_serves_all),
        cmocka_unit_test(heir_may_be_a_strangers),
        cmocka_unit_test(what_cannot_be_joined_is_replaced),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
