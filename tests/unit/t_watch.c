/* t_watch.c - Where the memory that a process may use is read, and when it is
 * short. */
#include "cmocka_all.h"

#include "daemon/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file or folder that was made. */
struct made {
    char path[128];
};

/* A folder like /sys/fs/cgroup. */
struct groups {
    char *root;
    struct made *made; /* in the order they were made */
    unsigned n;
};

static char *add(struct groups *g, const char *name)
{
    struct made *m = &g->made[g->n++];

    snprintf(m->path, sizeof(m->path), "%s/%s", g->root, name);
    return m->path;
}

static void groups_make(struct groups *g)
{
    g->n = 0;
    g->made = calloc(8, sizeof(*g->made));
    g->root = strdup("/tmp/t_watch.XXXXXX");
    assert_true(g->made && g->root && mkdtemp(g->root));
}

static void groups_folder(struct groups *g, const char *name)
{
    assert_int_equal(mkdir(add(g, name), 0700), 0);
}

static void groups_file(struct groups *g, const char *name, const char *text)
{
    FILE *f = fopen(add(g, name), "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void groups_remove(struct groups *g)
{
    while (g->n > 0)
        assert_int_equal(remove(g->made[--g->n].path), 0);
    assert_int_equal(rmdir(g->root), 0);
    free(g->root);
    free(g->made);
}

static void the_least_limit_above_counts(void **state)
{
    struct groups g;

    (void)state;
    groups_make(&g);
    groups_folder(&g, "a");
    groups_folder(&g, "a/b");
    groups_file(&g, "a/memory.max", "1000000\n");
    groups_file(&g, "a/b/memory.max", "max\n");
    assert_true(watch_cgroup_bytes(g.root, "0::/a/b\n") == 1000000);
    assert_true(watch_cgroup_bytes(g.root, "0::/a\n") == 1000000);
    assert_true(watch_cgroup_bytes(g.root, "0::/\n") == UINT64_MAX);
    assert_true(watch_cgroup_bytes(g.root, "0::/a/gone\n") == 1000000);
    groups_remove(&g);
}

static void a_container_sees_its_own_root(void **state)
{
    struct groups g;

    (void)state;
    groups_make(&g);
    groups_file(&g, "memory.max", "5000\n");
    assert_true(watch_cgroup_bytes(g.root, "0::/") == 5000);
    groups_remove(&g);
}

static void the_first_version_has_its_own_folder(void **state)
{
    struct groups g;

    (void)state;
    groups_make(&g);
    groups_folder(&g, "memory");
    groups_folder(&g, "memory/x");
    groups_file(&g, "memory/memory.limit_in_bytes", "9223372036854771712\n");
    groups_file(&g, "memory/x/memory.limit_in_bytes", "7000\n");
    assert_true(watch_cgroup_bytes(
                    g.root, "5:devices:/x\n4:memory:/x\n0::/\n") == 7000);
    assert_true(watch_cgroup_bytes(g.root, "5:devices:/x\n0::/\n") ==
                UINT64_MAX);
    groups_remove(&g);
}

static void nonsense_is_no_limit(void **state)
{
    (void)state;
    assert_true(watch_cgroup_bytes("/nowhere", "") == UINT64_MAX);
    assert_true(watch_cgroup_bytes("/nowhere", "0::/a\n") == UINT64_MAX);
    assert_true(watch_cgroup_bytes("/nowhere", "\n\n0\n:::\n0:") == UINT64_MAX);
}

static void the_least_bound_counts(void **state)
{
    const uint64_t none = UINT64_MAX;

    (void)state;
    assert_true(watch_bound(0, none, none) == none);
    assert_true(watch_bound(500, none, none) == 500);
    assert_true(watch_bound(0, 1000, none) == 900);
    assert_true(watch_bound(0, 1000, 2000) == 900);
    assert_true(watch_bound(0, 1000, 800) == 800);
    assert_true(watch_bound(500, 1000, 800) == 500);
    assert_true(watch_bound(5000, 1000, none) == 900);
}

static void it_is_short_until_some_is_free(void **state)
{
    (void)state;
    assert_false(watch_is_short(1000, 1000, false));
    assert_true(watch_is_short(1001, 1000, false));
    assert_false(watch_is_short(951, 1000, false));
    assert_true(watch_is_short(951, 1000, true));
    assert_false(watch_is_short(950, 1000, true));
    assert_false(watch_is_short(1 << 30, UINT64_MAX, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_limit_above_counts),
        cmocka_unit_test(a_container_sees_its_own_root),
        cmocka_unit_test(the_first_version_has_its_own_folder),
        cmocka_unit_test(nonsense_is_no_limit),
        cmocka_unit_test(the_least_bound_counts),
        cmocka_unit_test(it_is_short_until_some_is_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
