/* t_resolve.c - The resolver's cache by age, its threads and its answers. */
#include <arpa/inet.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "upstream/resolve.h"
#include "upstream/upstream.h"

/* What the fake lookup does; written before a lookup begins. */
static _Atomic int calls;
static _Atomic int answer; /* last byte of 192.0.2.x; 0: failure */
static _Atomic bool hold;  /* names that begin with "slow" wait */

static int fake(const char *host, const char *service,
                const struct addrinfo *hints, struct addrinfo **out)
{
    char text[64];
    struct addrinfo numeric = *hints;

    calls++;
    while (hold && strncmp(host, "slow", 4) == 0)
        sched_yield();
    if (answer == 0)
        return EAI_AGAIN;
    if (strcmp(host, "six.test") == 0)
        snprintf(text, sizeof(text), "2001:db8::%d", answer);
    else
        snprintf(text, sizeof(text), "192.0.2.%d", answer);
    numeric.ai_flags = AI_NUMERICHOST;
    return getaddrinfo(text, service, &numeric, out);
}

struct fixture {
    struct resolver *r;
    struct mbox box;
    int told;
    struct addrs *last; /* of the last answer, one reference */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    calls = 0;
    answer = 1;
    hold = false;
    f->r = resolver_new();
    resolver_set_lookup(f->r, fake);
    assert_int_equal(mbox_init(&f->box), ERR_OK);
    *state = f;
    return 0;
}

static void take(struct mbox_msg *m, void *arg)
{
    struct resolve_answer *a = MBOX_ENTRY(m, struct resolve_answer, link);
    struct fixture *f = arg;

    f->told++;
    addrs_unref(f->last);
    f->last = a->addrs ? addrs_ref(a->addrs) : NULL;
    resolve_answer_free(a);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    hold = false;
    resolver_forget(f->r, &f->box);
    mbox_drain(&f->box, 0, take, f);
    addrs_unref(f->last);
    resolver_free(f->r);
    mbox_fini(&f->box);
    free(f);
    return 0;
}

/* Wait for the next answer. */
static void await(struct fixture *f)
{
    struct pollfd p = {mbox_fd(&f->box), POLLIN, 0};

    assert_int_equal(poll(&p, 1, 30000), 1);
    mbox_drain(&f->box, 0, take, f);
}

/* Look <host> up; the text of what came at once, or NULL. */
static const char *now_text(struct fixture *f, const char *host, enum err want)
{
    static char text[128];
    struct addrs *a = NULL;

    assert_int_equal(resolver_lookup(f->r, str_from(host), &f->box, &a), want);
    if (!a)
        return NULL;
    snprintf(text, sizeof(text), "%s", a->text);
    addrs_unref(a);
    return text;
}

static void until_calls(int n)
{
    while (calls < n)
        sched_yield();
}

/* Ask until the answer is the one of <n>: a background lookup has ended. */
static void until_text(struct fixture *f, const char *host, const char *want)
{
    while (strcmp(now_text(f, host, ERR_OK), want) != 0)
        sched_yield();
}

static void first_lookup_waits_then_is_cached(void **state)
{
    struct fixture *f = *state;

    hold = true;
    assert_null(now_text(f, "slow.test", ERR_AGAIN));
    assert_null(now_text(f, "slow.test", ERR_AGAIN));
    hold = false;
    await(f);
    assert_int_equal(f->told, 1);
    assert_string_equal(f->last->text, "192.0.2.1");
    assert_string_equal(now_text(f, "slow.test", ERR_OK), "192.0.2.1");
    assert_int_equal(calls, 1);
    assert_null(now_text(f, "six.test", ERR_AGAIN));
    await(f);
    assert_string_equal(f->last->text, "[2001:db8::1]");
}

static void aged_answer_is_used_and_fetched_anew(void **state)
{
    struct fixture *f = *state;
    uint64_t gen;

    assert_null(now_text(f, "a.test", ERR_AGAIN));
    await(f);
    gen = f->last->gen;
    answer = 2;
    clock_advance_ms(RESOLVE_FRESH_MS + 1);
    assert_string_equal(now_text(f, "a.test", ERR_OK), "192.0.2.1");
    until_text(f, "a.test", "192.0.2.2");
    assert_int_equal(calls, 2);
    /* The same answer again keeps its number. */
    clock_advance_ms(RESOLVE_USED_MS + 1);
    assert_null(now_text(f, "a.test", ERR_AGAIN));
    await(f);
    assert_int_equal(calls, 3);
    assert_true(f->last->gen == gen + 1);
}

static void old_answer_serves_when_lookups_fail(void **state)
{
    struct fixture *f = *state;
    struct addrs *a = NULL;

    assert_null(now_text(f, "a.test", ERR_AGAIN));
    await(f);
    answer = 0;
    clock_advance_ms(RESOLVE_USED_MS + 1);
    assert_null(now_text(f, "a.test", ERR_AGAIN));
    await(f);
    assert_string_equal(f->last->text, "192.0.2.1");
    /* From now on nobody waits for it, but it is tried again. */
    clock_advance_ms(RESOLVE_FAIL_MS + 1);
    assert_string_equal(now_text(f, "a.test", ERR_OK), "192.0.2.1");
    until_calls(3);
    /* Until it is too old for anything. */
    clock_advance_ms(RESOLVE_STALE_MS);
    while (resolver_lookup(f->r, STR("a.test"), &f->box, &a) == ERR_OK) {
        addrs_unref(a);
        clock_advance_ms(RESOLVE_FAIL_MS);
    }
    answer = 3;
    clock_advance_ms(RESOLVE_FAIL_MS + 1);
    assert_null(now_text(f, "a.test", ERR_AGAIN));
}

static void failure_is_remembered_for_a_moment(void **state)
{
    struct fixture *f = *state;

    answer = 0;
    assert_null(now_text(f, "a.test", ERR_AGAIN));
    await(f);
    assert_null(f->last);
    assert_null(now_text(f, "a.test", ERR_NOT_FOUND));
    assert_int_equal(calls, 1);
    answer = 1;
    clock_advance_ms(RESOLVE_FAIL_MS + 1);
    assert_null(now_text(f, "a.test", ERR_AGAIN));
    await(f);
    assert_string_equal(f->last->text, "192.0.2.1");
}

static void slow_names_leave_a_thread_for_others(void **state)
{
    struct fixture *f = *state;
    char name[32];

    hold = true;
    for (int i = 0; i < RESOLVE_THREADS - 1; i++) {
        snprintf(name, sizeof(name), "slow%d.test", i);
        assert_null(now_text(f, name, ERR_AGAIN));
    }
    assert_null(now_text(f, "a.test", ERR_AGAIN));
    await(f);
    assert_string_equal(f->last->text, "192.0.2.1");
    assert_int_equal(f->told, 1);
    hold = false;
    while (f->told < RESOLVE_THREADS)
        await(f);
}

static void nobody_is_told_after_forget(void **state)
{
    struct fixture *f = *state;
    struct addrs *a = NULL;

    hold = true;
    assert_null(now_text(f, "slow.test", ERR_AGAIN));
    resolver_forget(f->r, &f->box);
    hold = false;
    while (resolver_lookup(f->r, STR("slow.test"), &f->box, &a) != ERR_OK) {
        resolver_forget(f->r, &f->box);
        sched_yield();
    }
    addrs_unref(a);
    resolver_forget(f->r, &f->box);
    mbox_drain(&f->box, 0, take, f);
    a = NULL;
    assert_true(f->told <= 1);
}

static void literals(void **state)
{
    static const char *const yes[] = {"127.0.0.1", "::1",       "fe80::1",
                                      "localhost", "LOCALHOST", "a.localhost"};
    static const char *const no[] = {"example.com", "localhost.com",
                                     "1.2.3",       "a1.b2",
                                     "xlocalhost",  "127.0.0.1.nip.io"};

    (void)state;
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
        assert_true(resolve_is_literal(str_from(yes[i])));
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        assert_false(resolve_is_literal(str_from(no[i])));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(first_lookup_waits_then_is_cached),
        T(aged_answer_is_used_and_fetched_anew),
        T(old_answer_serves_when_lookups_fail),
        T(failure_is_remembered_for_a_moment),
        T(slow_names_leave_a_thread_for_others),
        T(nobody_is_told_after_forget),
        cmocka_unit_test(literals),
    };
#undef T

    return cmocka_run_group_tests(tests, NULL, NULL);
}
