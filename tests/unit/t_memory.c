/* t_memory.c - Buffers, arenas and slabs: caps, reuse, failing memory. */
#include "unit/cmocka_all.h"

#include <stdbool.h>
#include <stdlib.h>

/* Allocation that the tests can make fail. */
static long fail_in = -1; /* allocations until one fails; -1: none does */

static bool fails(void)
{
    return fail_in >= 0 && fail_in-- == 0;
}

static void *t_malloc(size_t n)
{
    return fails() ? NULL : malloc(n);
}

static void *t_calloc(size_t n, size_t size)
{
    return fails() ? NULL : calloc(n, size);
}

static void *t_realloc(void *p, size_t n)
{
    return fails() ? NULL : realloc(p, n);
}

static void *t_reallocarray(void *p, size_t n, size_t size)
{
    return fails() ? NULL : reallocarray(p, n, size);
}

#define malloc       t_malloc
#define calloc       t_calloc
#define realloc      t_realloc
#define reallocarray t_reallocarray
#define block        arena_block
#include "base/arena.c"
#undef block
#include "base/buf.c"
#include "base/slab.c"
#undef malloc
#undef calloc
#undef realloc
#undef reallocarray

static void buf_keeps_its_cap(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 10);
    assert_int_equal(buf_put(&b, "12345678", 8), ERR_OK);
    assert_int_equal(buf_put(&b, "abc", 3), ERR_NOMEM);
    assert_true(str_eq(buf_str(&b), STR("12345678")));
    assert_int_equal(buf_put(&b, "ab", 2), ERR_OK);
    assert_int_equal(buf_put(&b, "", 0), ERR_OK);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), ERR_NOMEM);
    buf_consume(&b, 3);
    assert_true(str_eq(buf_str(&b), STR("45678ab")));
    buf_consume(&b, 100);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
    assert_int_equal(b.cap, 10);
}

static void buf_prints_short_and_long(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    assert_int_equal(buf_printf(&b, "%d-%s", 7, "x"), ERR_OK);
    assert_true(str_eq(buf_str(&b), STR("7-x")));
    assert_int_equal(buf_printf(&b, "%600d", 1), ERR_OK);
    assert_int_equal(b.len, 603);
    assert_int_equal(b.p[602], '1');
    assert_int_equal(buf_printf(&b, "%600d", 1), ERR_NOMEM);
    assert_int_equal(b.len, 603);
    buf_fini(&b);
}

static void buf_survives_failing_memory(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 10000);
    assert_int_equal(buf_put(&b, "a", 1), ERR_OK);
    fail_in = 0;
    assert_int_equal(buf_reserve(&b, 5000), ERR_NOMEM);
    fail_in = 0;
    assert_int_equal(buf_printf(&b, "%600d", 1), ERR_NOMEM);
    assert_true(str_eq(buf_str(&b), STR("a")));
    buf_fini(&b);
}

static void arena_aligns_zeroes_and_caps(void **state)
{
    struct arena *a = arena_new(100, 20000);
    size_t total = 0;

    (void)state;
    for (size_t n = 1; n < 3000; n = n * 2 + 1) {
        char *p = arena_alloc(a, n);

        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 'x', n);
        total += n;
    }
    assert_true(arena_used(a) >= total);
    assert_null(arena_alloc(a, 20001));
    assert_null(arena_alloc(a, SIZE_MAX));
    assert_null(arena_alloc(a, SIZE_MAX - 8));
    assert_string_equal(arena_printf(a, "%s=%d", "k", 5), "k=5");
    assert_true(str_eq(arena_dup(a, STR("abc")), STR("abc")));
    assert_non_null(arena_dup(a, STR("")).p);
    while (arena_alloc(a, 100))
        ;
    assert_true(arena_used(a) <= 20000);
    assert_null(arena_printf(a, "%200d", 1));
    assert_null(arena_dup(a, str_of("x", SIZE_MAX)).p);
    arena_free(a);
    arena_free(NULL);
}

static void arena_survives_failing_memory(void **state)
{
    struct arena *a;

    (void)state;
    for (int n = 0; n < 2; n++) {
        fail_in = n;
        assert_null(arena_new(10, 100));
    }
    a = arena_new(64, 100000);
    fail_in = 0;
    assert_null(arena_alloc(a, 5000));
    fail_in = 0;
    assert_null(arena_alloc(a, 200));
    assert_non_null(arena_alloc(a, 200));
    arena_free(a);
}

static void slab_finds_the_living_only(void **state)
{
    struct slab s;
    uint32_t slot, gen;
    char *p, *q;

    (void)state;
    slab_init(&s, "thing", 100, 1000);
    p = slab_get(&s);
    assert_int_equal((uintptr_t)p % 16, 0);
    slot = slab_slot(&s, p);
    gen = slab_gen(&s, p);
    assert_int_not_equal(gen, 0);
    assert_ptr_equal(slab_find(&s, slot, gen), p);
    assert_null(slab_find(&s, slot, gen + 1));
    assert_null(slab_find(&s, slot, 0));
    assert_null(slab_find(&s, 999999, gen));
    memset(p, 'x', 100);
    slab_put(&s, p);
    slab_put(&s, NULL);
    assert_null(slab_find(&s, slot, gen));
    assert_null(slab_find(&s, slot, gen + 1));
    q = slab_get(&s);
    assert_int_equal(slab_slot(&s, q), slot);
    assert_int_not_equal(slab_gen(&s, q), gen);
    assert_null(slab_find(&s, slot, gen));
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(q[i], 0);
    slab_put(&s, q);
    slab_fini(&s);
}

static void slab_stops_at_its_limit(void **state)
{
    struct slab s;
    void *p[100];

    (void)state;
    slab_init(&s, "thing", 3000, 99);
    for (int i = 0; i < 99; i++) {
        p[i] = slab_get(&s);
        assert_non_null(p[i]);
        assert_true(slab_slot(&s, p[i]) < 99);
    }
    assert_null(slab_get(&s));
    assert_int_equal(s.live, 99);
    slab_put(&s, p[50]);
    assert_ptr_equal(slab_find(&s, slab_slot(&s, p[7]), slab_gen(&s, p[7])),
                     p[7]);
    p[50] = slab_get(&s);
    assert_non_null(p[50]);
    for (int i = 0; i < 99; i++)
        slab_put(&s, p[i]);
    assert_int_equal(s.peak, 99);
    assert_int_equal(s.fails, 1);
    assert_int_equal(s.gets, 101);
    slab_fini(&s);
}

static void slab_fails_when_told_and_without_memory(void **state)
{
    struct slab s;
    void *p;

    (void)state;
    slab_init(&s, "thing", 8, 10);
    slab_fail_at(&s, 2);
    p = slab_get(&s);
    assert_non_null(p);
    assert_null(slab_get(&s));
    slab_put(&s, p);
    slab_fini(&s);
    for (int n = 0; n < 2; n++) {
        slab_init(&s, "thing", 8, 10);
        fail_in = n;
        assert_null(slab_get(&s));
        fail_in = -1;
        p = slab_get(&s);
        assert_non_null(p);
        slab_put(&s, p);
        slab_fini(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_keeps_its_cap),
        cmocka_unit_test(buf_prints_short_and_long),
        cmocka_unit_test(buf_survives_failing_memory),
        cmocka_unit_test(arena_aligns_zeroes_and_caps),
        cmocka_unit_test(arena_survives_failing_memory),
        cmocka_unit_test(slab_finds_the_living_only),
        cmocka_unit_test(slab_stops_at_its_limit),
        cmocka_unit_test(slab_fails_when_told_and_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
