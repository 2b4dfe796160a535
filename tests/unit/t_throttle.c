/* t_throttle.c - Failures counted by address: the limit, the window, networks
 * of IPv6, clocks that differ, and a flood of addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "admit/throttle.h"

#define LIMIT     3
#define WINDOW_MS 1000

static bool fail_once(struct throttle *t, const char *peer, uint64_t now_ms,
                      uint64_t *wait_ms)
{
    return throttle_fail(t, str_from(peer), now_ms, LIMIT, WINDOW_MS, wait_ms);
}

static void limit_holds_within_the_window(void **state)
{
    struct throttle *t = throttle_new();
    uint64_t wait_ms = 0;

    (void)state;
    for (int i = 0; i < LIMIT; i++)
        assert_false(fail_once(t, "192.0.2.1", 5000 + (uint64_t)i, &wait_ms));
    assert_true(fail_once(t, "192.0.2.1", 5400, &wait_ms));
    assert_int_equal(wait_ms, 600);
    assert_true(fail_once(t, "192.0.2.1", 5999, &wait_ms));
    assert_int_equal(wait_ms, 1);
    assert_false(fail_once(t, "192.0.2.1", 6000, &wait_ms));
    assert_false(fail_once(t, "192.0.2.2", 5400, &wait_ms));
    throttle_free(t);
}

static void no_limit_is_none(void **state)
{
    struct throttle *t = throttle_new();
    uint64_t wait_ms = 0;

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_false(
            throttle_fail(t, STR("192.0.2.1"), 1, 0, WINDOW_MS, &wait_ms));
    throttle_free(t);
}

static void ipv6_counts_by_its_64(void **state)
{
    struct throttle *t = throttle_new();
    uint64_t wait_ms = 0;
    char peer[48];

    (void)state;
    for (unsigned i = 1; i <= LIMIT; i++) {
        snprintf(peer, sizeof(peer), "2001:db8:0:1::%x", i);
        assert_false(fail_once(t, peer, 1, &wait_ms));
    }
    assert_true(fail_once(t, "2001:db8:0:1:ffff::1", 1, &wait_ms));
    assert_true(fail_once(t, "2001:0db8::1:0:0:0:9", 1, &wait_ms));
    assert_false(fail_once(t, "2001:db8:0:2::1", 1, &wait_ms));
    throttle_free(t);
}

/* Threads read the clock once a turn, so one may be behind another. */
static void time_that_goes_back_resets_nothing(void **state)
{
    struct throttle *t = throttle_new();
    uint64_t wait_ms = 0;

    (void)state;
    for (int i = 0; i < LIMIT; i++)
        assert_false(fail_once(t, "192.0.2.1", 5000, &wait_ms));
    assert_true(fail_once(t, "192.0.2.1", 4990, &wait_ms));
    assert_int_equal(wait_ms, WINDOW_MS);
    assert_true(fail_once(t, "192.0.2.1", 5001, &wait_ms));
    throttle_free(t);
}

static void other_names_of_peers_count_as_they_are(void **state)
{
    struct throttle *t = throttle_new();
    uint64_t wait_ms = 0;

    (void)state;
    for (int i = 0; i < LIMIT; i++) {
        assert_false(fail_once(t, "unix", 1, &wait_ms));
        assert_false(fail_once(t, "not:an:address", 1, &wait_ms));
    }
    assert_true(fail_once(t, "unix", 1, &wait_ms));
    assert_true(fail_once(t, "not:an:address", 1, &wait_ms));
    assert_false(fail_once(t, "", 1, &wait_ms));
    throttle_free(t);
}

/* A flood makes the table forget but never grow, and who fails on is caught
 * again. */
static void flood_of_addresses_is_survived(void **state)
{
    struct throttle *t = throttle_new();
    uint64_t wait_ms = 0;
    bool caught = false;
    char peer[48];

    (void)state;
    for (unsigned i = 0; i < 200000; i++) {
        snprintf(peer, sizeof(peer), "10.%u.%u.%u", i >> 16, i >> 8 & 255,
                 i & 255);
        assert_false(fail_once(t, peer, 10 + i / 1000, &wait_ms));
    }
    for (int i = 0; i <= LIMIT; i++)
        caught = fail_once(t, "192.0.2.1", 300, &wait_ms);
    assert_true(caught);
    throttle_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limit_holds_within_the_window),
        cmocka_unit_test(no_limit_is_none),
        cmocka_unit_test(ipv6_counts_by_its_64),
        cmocka_unit_test(time_that_goes_back_resets_nothing),
        cmocka_unit_test(other_names_of_peers_count_as_they_are),
        cmocka_unit_test(flood_of_addresses_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
