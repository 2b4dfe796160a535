/* t_kvadmit.c - Which pages are written: at once, at the second sight, as it
 * pays; and the bound of an hour. */
#include "engine/kvadmit.h"

#include "unit/cmocka_all.h"

#include <string.h>

static struct digest hash_of(uint64_t i)
{
    return digest_sha256(&i, sizeof(i));
}

static bool wants(struct kvadmit *a, uint64_t i)
{
    const struct digest d = hash_of(i);

    return kvadmit_wants(a, &d);
}

static void the_first_sight_is_enough(void **state)
{
    struct kvadmit a;

    (void)state;
    assert_int_equal(kvadmit_init(&a, KVADMIT_FIRST, 0), ERR_OK);
    for (uint64_t i = 0; i < 100; i++)
        assert_true(wants(&a, i));
    assert_false(kvadmit_learn(&a, 1u << 20, 1u << 20));
    assert_true(wants(&a, 7));
    kvadmit_fini(&a);
}

static void it_takes_a_second_sight(void **state)
{
    struct kvadmit a;

    (void)state;
    assert_int_equal(kvadmit_init(&a, KVADMIT_SECOND, 0), ERR_OK);
    for (uint64_t i = 0; i < 1000; i++)
        assert_false(wants(&a, i));
    unsigned n = 0;
    for (uint64_t i = 0; i < 1000; i++)
        n += wants(&a, i);
    assert_in_range(n, 980, 1000); /* a few places are shared */
    assert_false(wants(&a, 5000));
    kvadmit_fini(&a);
}

static void auto_learns_what_is_of_use(void **state)
{
    struct kvadmit a;

    (void)state;
    assert_int_equal(kvadmit_init(&a, KVADMIT_AUTO, 0), ERR_OK);
    assert_true(wants(&a, 1));
    /* too few to tell */
    assert_false(kvadmit_learn(&a, KVADMIT_WINDOW - 1, KVADMIT_WINDOW - 1));
    assert_true(wants(&a, 2));
    assert_true(kvadmit_learn(&a, 1, 1));
    assert_false(wants(&a, 3));
    assert_true(wants(&a, 3));
    assert_true(wants(&a, 1)); /* seen while it was lax */
    /* between the two bounds nothing changes */
    assert_false(kvadmit_learn(&a, KVADMIT_WINDOW, KVADMIT_WINDOW * 3 / 4));
    assert_false(wants(&a, 4));
    assert_true(kvadmit_learn(&a, KVADMIT_WINDOW, KVADMIT_WINDOW / 2));
    assert_true(wants(&a, 5));
    kvadmit_fini(&a);
}

static void an_hour_has_a_bound(void **state)
{
    struct kvadmit a;
    uint64_t spent = 0;

    (void)state;
    assert_int_equal(kvadmit_init(&a, KVADMIT_FIRST, 1000), ERR_OK);
    for (uint64_t m = 100; m < 160; m++)
        for (unsigned i = 0; i < 3; i++)
            spent += kvadmit_spend(&a, m, 10) ? 10 : 0;
    assert_int_equal(spent, 1000);
    assert_false(kvadmit_spend(&a, 159, 1));
    /* what was written in minute 100 is an hour ago */
    assert_true(kvadmit_spend(&a, 160, 30));
    assert_false(kvadmit_spend(&a, 160, 1));
    /* and after a long rest, all of it */
    assert_true(kvadmit_spend(&a, 100000, 1000));
    assert_false(kvadmit_spend(&a, 100001, 1));
    assert_false(kvadmit_spend(&a, 200000, 1001));
    kvadmit_fini(&a);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_sight_is_enough),
        cmocka_unit_test(it_takes_a_second_sight),
        cmocka_unit_test(auto_learns_what_is_of_use),
        cmocka_unit_test(an_hour_has_a_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
