/* t_chunkq.c - The output queue against a plain model of it. */
#include "unit/cmocka_all.h"

#include <stdlib.h>

static long fail_in = -1; /* allocations until one fails; -1: none does */

static void *t_malloc(size_t n)
{
    return fail_in >= 0 && fail_in-- == 0 ? NULL : malloc(n);
}

#define malloc t_malloc
#include "base/chunkq.c"
#undef malloc

static int freed; /* blocks given back */

static void count_free(void *p, void *arg)
{
    assert_ptr_equal(arg, &freed);
    freed++;
    free(p);
}

/* Compare the first bytes of <q> with <want>. */
static void check(const struct chunkq *q, const char *want, size_t len)
{
    struct iovec iov[500];
    int n = chunkq_peek(q, iov, 500);
    size_t at = 0;

    assert_int_equal(chunkq_len(q), len);
    for (int i = 0; i < n; i++) {
        assert_true(iov[i].iov_len > 0);
        assert_memory_equal(iov[i].iov_base, want + at, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    assert_int_equal(at, len);
}

static void small_appends_share_a_chunk(void **state)
{
    struct chunk_pool pool;
    struct chunkq q;
    struct iovec iov[4];

    (void)state;
    chunk_pool_init(&pool, 10);
    chunkq_init(&q, &pool, 100000);
    for (int i = 0; i < 100; i++)
        assert_int_equal(chunkq_put(&q, "0123456789", 10), ERR_OK);
    assert_int_equal(pool.live, 1);
    assert_int_equal(chunkq_peek(&q, iov, 4), 1);
    assert_int_equal(iov[0].iov_len, 1000);
    chunkq_consume(&q, 999);
    assert_int_equal(pool.live, 1);
    chunkq_consume(&q, 1);
    assert_int_equal(pool.live, 0);
    assert_null(q.head);
    assert_null(q.tail);
    assert_int_equal(pool.free_count, 1);
    assert_int_equal(chunkq_put_str(&q, STR("x")), ERR_OK);
    assert_int_equal(pool.reused, 1);
    chunkq_fini(&q);
    chunk_pool_fini(&pool);
}

static void refuses_what_does_not_fit_whole(void **state)
{
    struct chunk_pool pool;
    struct chunkq q;
    char *block = malloc(20);

    (void)state;
    freed = 0;
    chunk_pool_init(&pool, 10);
    chunkq_init(&q, &pool, 15);
    assert_int_equal(chunkq_put(&q, "0123456789", 10), ERR_OK);
    assert_int_equal(chunkq_put(&q, "0123456789", 10), ERR_FULL);
    assert_int_equal(
        chunkq_take(&q, block, str_of(block, 20), count_free, &freed),
        ERR_FULL);
    assert_int_equal(freed, 1);
    check(&q, "0123456789", 10);
    assert_int_equal(chunkq_room(&q), 5);
    assert_false(chunkq_is_full(&q));
    assert_int_equal(chunkq_put(&q, "abcde", 5), ERR_OK);
    assert_true(chunkq_is_full(&q));
    chunkq_fini(&q);
    chunk_pool_fini(&pool);
}

static void takes_blocks_without_a_copy(void **state)
{
    struct chunk_pool pool;
    struct chunkq q;
    struct iovec iov[4];
    struct buf b;
    char *block = malloc(50);

    (void)state;
    freed = 0;
    memset(block, 'b', 50);
    chunk_pool_init(&pool, 10);
    chunkq_init(&q, &pool, 100000);
    assert_int_equal(chunkq_put(&q, "aa", 2), ERR_OK);
    assert_int_equal(
        chunkq_take(&q, block, str_of(block + 10, 5), count_free, &freed),
        ERR_OK);
    assert_int_equal(chunkq_put(&q, "cc", 2), ERR_OK);
    check(&q, "aabbbbbcc", 9);
    assert_int_equal(chunkq_peek(&q, iov, 4), 3);
    assert_ptr_equal(iov[1].iov_base, block + 10);
    chunkq_consume(&q, 6);
    assert_int_equal(freed, 0);
    chunkq_consume(&q, 1);
    assert_int_equal(freed, 1);
    check(&q, "cc", 2);

    buf_init(&b, 100000);
    assert_int_equal(buf_printf(&b, "%9000d", 1), ERR_OK);
    block = b.p;
    assert_int_equal(chunkq_take_buf(&q, &b), ERR_OK);
    assert_null(b.p);
    assert_int_equal(b.cap, 100000);
    assert_int_equal(chunkq_peek(&q, iov, 4), 2);
    assert_ptr_equal(iov[1].iov_base, block);
    assert_int_equal(buf_put(&b, "small", 5), ERR_OK);
    assert_int_equal(chunkq_take_buf(&q, &b), ERR_OK);
    assert_null(b.p);
    assert_int_equal(chunkq_len(&q), 9007);
    chunkq_fini(&q);
    assert_int_equal(pool.live, 0);
    chunk_pool_fini(&pool);
}

static void empty_block_is_given_back(void **state)
{
    struct chunk_pool pool;
    struct chunkq q;

    (void)state;
    freed = 0;
    chunk_pool_init(&pool, 0);
    chunkq_init(&q, &pool, 10);
    assert_int_equal(chunkq_take(&q, malloc(1), STR(""), count_free, &freed),
                     ERR_OK);
    assert_int_equal(freed, 1);
    assert_int_equal(chunkq_put(&q, NULL, 0), ERR_OK);
    assert_null(q.head);
    chunkq_fini(&q);
    chunk_pool_fini(&pool);
}

static void keeps_no_more_free_chunks_than_asked(void **state)
{
    static char big[CHUNK_BYTES * 20];
    struct chunk_pool pool;
    struct chunkq q;

    (void)state;
    chunk_pool_init(&pool, 3);
    chunkq_init(&q, &pool, sizeof(big));
    assert_int_equal(chunkq_put(&q, big, sizeof(big)), ERR_OK);
    assert_true(pool.live > 20);
    chunkq_fini(&q);
    assert_int_equal(pool.free_count, 3);
    chunk_pool_fini(&pool);
}

static void failing_memory_changes_nothing(void **state)
{
    static char big[CHUNK_BYTES * 3];
    struct chunk_pool pool;
    struct chunkq q;
    char *block = malloc(10);

    (void)state;
    freed = 0;
    chunk_pool_init(&pool, 0);
    chunkq_init(&q, &pool, sizeof(big) * 2);
    assert_int_equal(chunkq_put(&q, "abc", 3), ERR_OK);
    for (long n = 0; n < 3; n++) {
        fail_in = n;
        assert_int_equal(chunkq_put(&q, big, sizeof(big)), ERR_NOMEM);
        fail_in = -1;
        check(&q, "abc", 3);
        assert_int_equal(pool.live, 1);
    }
    fail_in = 0;
    assert_int_equal(
        chunkq_take(&q, block, str_of(block, 10), count_free, &freed),
        ERR_NOMEM);
    assert_int_equal(freed, 1);
    check(&q, "abc", 3);
    chunkq_fini(&q);
    chunk_pool_fini(&pool);
}

/* Put and consume at random and compare with one flat array. */
static void behaves_like_a_flat_array(void **state)
{
    static char in[400000];
    struct chunk_pool pool;
    struct chunkq q;
    size_t head = 0, tail = 0;

    (void)state;
    srand(1);
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (char)rand();
    chunk_pool_init(&pool, 4);
    chunkq_init(&q, &pool, 60000);
    while (tail < sizeof(in)) {
        size_t n = (size_t)rand() % (rand() % 4 == 0 ? 20000 : 200);
        bool own = rand() % 5 == 0;
        enum err e;

        if (n > sizeof(in) - tail)
            n = sizeof(in) - tail;
        if (own) {
            char *block = malloc(n + 1);

            memcpy(block, in + tail, n);
            e = chunkq_take(&q, block, str_of(block, n), count_free, &freed);
        } else {
            e = chunkq_put(&q, in + tail, n);
        }
        assert_int_equal(e, tail + n - head > 60000 ? ERR_FULL : ERR_OK);
        tail += e == ERR_OK ? n : 0;
        n = (size_t)rand() % (tail - head + 1);
        check(&q, in + head, tail - head);
        chunkq_consume(&q, n);
        head += n;
    }
    check(&q, in + head, tail - head);
    chunkq_fini(&q);
    chunk_pool_fini(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_appends_share_a_chunk),
        cmocka_unit_test(refuses_what_does_not_fit_whole),
        cmocka_unit_test(takes_blocks_without_a_copy),
        cmocka_unit_test(empty_block_is_given_back),
        cmocka_unit_test(keeps_no_more_free_chunks_than_asked),
        cmocka_unit_test(failing_memory_changes_nothing),
        cmocka_unit_test(behaves_like_a_flat_array),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
