/* t_ring.c - The ring between threads: wrap, bounds, parts, many senders. */
#include "base/ring.h"
#include "base/thr.h"

#include "unit/cmocka_all.h"

#include <sched.h>
#include <stdlib.h>

#define NONE ((struct str){NULL, 0})

static void gives_back_what_was_pushed(void **state)
{
    struct ring *r = ring_new(4096);
    struct iovec iov[4];

    (void)state;
    assert_true(ring_is_empty(r));
    assert_int_equal(ring_peek(r, iov, 4), 0);
    assert_false(ring_push(r, NONE, NONE, 0));
    assert_true(ring_push(r, STR("ab"), STR("cd"), 0));
    assert_true(ring_push(r, NONE, STR("efg"), 0));
    assert_false(ring_is_empty(r));
    assert_int_equal(ring_peek(r, iov, 4), 2);
    assert_memory_equal(iov[0].iov_base, "abcd", 4);
    assert_int_equal(iov[1].iov_len, 3);
    assert_int_equal(ring_peek(r, iov, 1), 1);
    assert_int_equal(ring_consume(r, 7), 2);
    assert_true(ring_is_empty(r));
    ring_free(r);
    ring_free(NULL);
}

static void consumes_in_parts(void **state)
{
    struct ring *r = ring_new(4096);
    struct iovec iov[4];

    (void)state;
    assert_true(ring_push(r, STR("abcd"), NONE, 0));
    assert_true(ring_push(r, STR("efgh"), NONE, 0));
    assert_false(ring_drop_torn(r));
    assert_int_equal(ring_consume(r, 1), 0);
    assert_int_equal(ring_peek(r, iov, 4), 2);
    assert_memory_equal(iov[0].iov_base, "bcd", 3);
    assert_int_equal(iov[0].iov_len, 3);
    assert_int_equal(ring_consume(r, 5), 1);
    assert_true(ring_drop_torn(r));
    assert_false(ring_drop_torn(r));
    assert_true(ring_is_empty(r));
    ring_free(r);
}

static void keeps_the_spare_room_free(void **state)
{
    struct ring *r = ring_new(4096);
    char big[2049] = {0};
    int n = 0;

    (void)state;
    assert_false(ring_push(r, str_of(big, 2049), NONE, 0));
    while (ring_push(r, str_of(big, 56), NONE, 1024))
        n++;
    assert_int_equal(n, (4096 - 1024) / 64);
    while (ring_push(r, str_of(big, 56), NONE, 0))
        n++;
    assert_int_equal(n, 4096 / 64);
    ring_free(r);
}

static void marks_what_was_pushed_before(void **state)
{
    struct ring *r = ring_new(4096);
    uint64_t mark;

    (void)state;
    assert_true(ring_push(r, STR("abcd"), NONE, 0));
    mark = ring_mark(r);
    assert_true(ring_push(r, STR("efgh"), NONE, 0));
    assert_false(ring_is_past(r, mark));
    ring_consume(r, 4);
    assert_true(ring_is_past(r, mark));
    assert_false(ring_is_past(r, ring_mark(r)));
    ring_free(r);
}

/* Byte <i> of record <n>. */
static char byte_of(size_t n, size_t i)
{
    return (char)(n * 31 + i * 7);
}

static size_t len_of(size_t n)
{
    return 1 + n * 7919 % 700;
}

/* Compare the records from <n> on, <skip> bytes into the first. */
static size_t check(struct ring *r, size_t n, size_t skip)
{
    struct iovec iov[100];
    int count = ring_peek(r, iov, 100);
    size_t total = 0;

    for (int k = 0; k < count; k++, n++, skip = 0) {
        const char *p = iov[k].iov_base;

        assert_int_equal(iov[k].iov_len, len_of(n) - skip);
        for (size_t i = 0; i < iov[k].iov_len; i++)
            assert_int_equal(p[i], byte_of(n, i + skip));
        total += iov[k].iov_len;
    }
    return total;
}

static void behaves_like_a_list_over_many_wraps(void **state)
{
    struct ring *r = ring_new(4096);
    size_t in = 0, out = 0, skip = 0;
    char rec[800];

    (void)state;
    srand(1);
    while (out < 20000) {
        size_t total, n;

        for (size_t i = 0; i < len_of(in); i++)
            rec[i] = byte_of(in, i);
        n = (size_t)rand() % (len_of(in) + 1);
        if (ring_push(r, str_of(rec, n), str_of(rec + n, len_of(in) - n), 0))
            in++;
        else
            assert_true(in > out);
        total = check(r, out, skip);
        n = (size_t)rand() % (total + 1);
        skip += n;
        for (size_t left = ring_consume(r, n); left > 0; left--)
            skip -= len_of(out++);
    }
    ring_free(r);
}

#define SENDERS 3
#define EACH    30000

/* A sending thread. */
struct sender {
    struct ring *r;
    uint32_t index;
    struct thr thr;
};

static void send_all(void *arg)
{
    const struct sender *s = arg;
    uint32_t rec[20];

    for (uint32_t n = 1; n <= EACH; n++) {
        size_t words = 2 + n % 18;

        for (size_t i = 1; i < words; i++)
            rec[i] = n;
        rec[0] = s->index;
        while (!ring_push(s->r, str_of(rec, words * 4), NONE, 0))
            sched_yield();
    }
}

/* Check one record; <last> holds the last number of each sender. */
static void see(const struct iovec *iov, uint32_t last[SENDERS])
{
    const uint32_t *rec = iov->iov_base;

    assert_in_range(rec[0], 0, SENDERS - 1);
    assert_int_equal(rec[1], last[rec[0]] + 1);
    assert_int_equal(iov->iov_len, 4 * (2 + rec[1] % 18));
    for (size_t i = 1; i < iov->iov_len / 4; i++)
        assert_int_equal(rec[i], rec[1]);
    last[rec[0]] = rec[1];
}

static void loses_nothing_of_many_senders(void **state)
{
    struct ring *r = ring_new(8192);
    struct sender senders[SENDERS];
    uint32_t last[SENDERS] = {0};
    struct iovec iov[50];
    size_t got = 0;

    (void)state;
    for (uint32_t i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.r = r, .index = i};
        assert_int_equal(
            thr_start(&senders[i].thr, "sender", send_all, &senders[i]),
            ERR_OK);
    }
    while (got < SENDERS * EACH) {
        size_t len = 0;
        int n = ring_peek(r, iov, 50);

        for (int i = 0; i < n; i++) {
            see(&iov[i], last);
            len += iov[i].iov_len;
        }
        got += ring_consume(r, len);
        if (n == 0)
            sched_yield();
    }
    assert_true(ring_is_empty(r));
    for (int i = 0; i < SENDERS; i++)
        thr_join(&senders[i].thr);
    ring_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_what_was_pushed),
        cmocka_unit_test(consumes_in_parts),
        cmocka_unit_test(keeps_the_spare_room_free),
        cmocka_unit_test(marks_what_was_pushed_before),
        cmocka_unit_test(behaves_like_a_list_over_many_wraps),
        cmocka_unit_test(loses_nothing_of_many_senders),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
