/* tk_pool.c - The pool of compute threads: each item once, whatever the number
 * of threads, and nothing lost between runs that follow each other at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/pool.h"

enum { MAX_ITEMS = 5000, MAX_THREADS = 5 };

struct count {
    unsigned char seen[MAX_ITEMS];
    _Atomic unsigned busy[MAX_THREADS];
    _Atomic unsigned wrong;
    unsigned threads;
};

static void count_item(void *arg, unsigned item, unsigned worker)
{
    struct count *c = arg;

    if (worker >= c->threads || item >= MAX_ITEMS ||
        atomic_fetch_add(&c->busy[worker], 1) != 0) {
        atomic_fetch_add(&c->wrong, 1);
        return;
    }
    c->seen[item]++;
    atomic_fetch_sub(&c->busy[worker], 1);
}

static void each_item_is_done_once(void **state)
{
    static const unsigned sizes[] = {0, 1, 2, 3, 7, 64, MAX_ITEMS};
    struct count *c = calloc(1, sizeof(*c));

    (void)state;
    for (unsigned threads = 1; threads <= MAX_THREADS; threads++) {
        struct krn_pool *p = NULL;

        assert_int_equal(pool_open(threads, 1, threads % 2, &p), KRN_OK);
        assert_int_equal(pool_threads(p), threads);
        c->threads = threads;
        for (unsigned k = 0; k < 300; k++) {
            unsigned n = sizes[k % 7];

            memset(c->seen, 0, sizeof(c->seen));
            pool_run(p, count_item, c, n);
            for (unsigned i = 0; i < MAX_ITEMS; i++)
                assert_int_equal(c->seen[i], i < n);
        }
        pool_close(p);
    }
    assert_int_equal(c->wrong, 0);
    free(c);
}

struct chain {
    unsigned value[8];
};

static void chain_item(void *arg, unsigned item, unsigned worker)
{
    struct chain *c = arg;

    (void)worker;
    c->value[item]++;
}

/* What one run wrote the next must see, without a pause between them. */
static void runs_see_what_the_last_wrote(void **state)
{
    struct chain c = {0};
    struct krn_pool *p = NULL;

    (void)state;
    assert_int_equal(pool_open(3, 0, false, &p), KRN_OK);
    for (unsigned k = 1; k <= 20000; k++) {
        pool_run(p, chain_item, &c, 8);
        for (unsigned i = 0; i < 8; i++) {
            if (c.value[i] != k)
                fail_msg("run %u item %u: %u", k, i, c.value[i]);
        }
    }
    pool_close(p);
}

static void unused_pools_close(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        struct krn_pool *p = NULL;

        assert_int_equal(pool_open(4, 0, false, &p), KRN_OK);
        pool_close(p);
    }
    pool_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_item_is_done_once),
        cmocka_unit_test(runs_see_what_the_last_wrote),
        cmocka_unit_test(unused_pools_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
