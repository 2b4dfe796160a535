/* t_thr.c - Threads: names, indexes, and the wish for a short slice. */
#include "base/thr.h"

#include "unit/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

/* What sched_getattr() of Linux gives, in its first version. */
struct sched_got {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};

struct seen {
    unsigned index;
    char name[THR_NAME_SIZE];
    int nice;
    uint64_t slice_ns; /* 0: cannot be told */
};

static uint64_t slice_ns(void)
{
    struct sched_got got = {.size = 0};

#ifdef SYS_sched_getattr
    if (syscall(SYS_sched_getattr, 0, &got, sizeof(got), 0) != 0)
        return 0;
#endif
    return got.runtime_ns;
}

static void looks(void *arg)
{
    struct seen *s = arg;

    (void)setpriority(PRIO_PROCESS, 0, 7);
    thr_set_slice(300);
    s->index = thr_index();
    snprintf(s->name, sizeof(s->name), "%s", thr_name());
    s->nice = getpriority(PRIO_PROCESS, 0);
    s->slice_ns = slice_ns();
}

static void has_a_name_and_an_index(void **state)
{
    struct thr a, b;
    struct seen seen[2] = {{0}};

    (void)state;
    assert_int_equal(thr_index(), 0);
    assert_string_equal(thr_name(), "main");
    assert_int_equal(thr_start(&a, "first", looks, &seen[0]), ERR_OK);
    assert_int_equal(thr_start(&b, "a-name-that-is-long", looks, &seen[1]),
                     ERR_OK);
    thr_join(&a);
    thr_join(&b);
    thr_join(&b);
    assert_true(seen[0].index > 0 && seen[1].index > 0);
    assert_int_not_equal(seen[0].index, seen[1].index);
    assert_string_equal(seen[0].name, "first");
    assert_string_equal(seen[1].name, "a-name-that-is-");
}

/* Whether the system lets ordinary threads wish for a slice. */
static bool knows_slices(void)
{
    struct utsname u;
    unsigned major = 0, minor = 0;

    return uname(&u) == 0 && strcmp(u.sysname, "Linux") == 0 &&
           sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
           (major > 6 || (major == 6 && minor >= 12));
}

static void a_slice_leaves_the_priority(void **state)
{
    struct thr t;
    struct seen seen = {0};
    uint64_t before = slice_ns();

    (void)state;
    assert_int_equal(thr_start(&t, "short", looks, &seen), ERR_OK);
    thr_join(&t);
    assert_int_equal(seen.nice, 7);
    assert_true(slice_ns() == before);
    if (!knows_slices() || seen.slice_ns == 0)
        skip();
    assert_true(seen.slice_ns == 300000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_a_name_and_an_index),
        cmocka_unit_test(a_slice_leaves_the_priority),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
