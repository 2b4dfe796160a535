/* t_http1_body.c - The body reader's slices, counts and bounds. Malformed
 * bodies stand in tests/lib/http1_vectors.json. */
#include "wire/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static struct http1_body start(enum http1_framing framing, uint64_t length,
                               uint64_t limit)
{
    struct http1_head head = {.framing = framing, .content_length = length};
    struct http1_body b;

    assert_int_equal(http1_body_start(&b, &head, limit), ERR_OK);
    return b;
}

/* Feed all of <in>, drop the data. */
static enum err drain(struct http1_body *b, struct str in)
{
    struct str data;
    enum err e = ERR_AGAIN;
    size_t used;

    while (in.len > 0 && e == ERR_AGAIN) {
        e = http1_body_feed(b, in.p, in.len, &used, &data);
        if (e == ERR_OK || e == ERR_AGAIN)
            in = str_skip(in, used);
    }
    return e;
}

static void test_no_body_is_done_at_once(void **state)
{
    struct http1_body b = start(HTTP1_NO_BODY, 0, 0);
    struct str data = {NULL, 9};
    size_t used = 9;

    (void)state;
    assert_true(http1_body_is_done(&b));
    assert_int_equal(http1_body_feed(&b, "GET", 3, &used, &data), ERR_OK);
    assert_int_equal(used, 0);
    assert_int_equal(data.len, 0);
    b = start(HTTP1_LENGTH, 0, 0);
    assert_true(http1_body_is_done(&b));
}

static void test_length_gives_slices_of_the_input(void **state)
{
    struct http1_body b = start(HTTP1_LENGTH, 5, 5);
    const char in[] = "helloGET";
    struct str data;
    size_t used;

    (void)state;
    assert_int_equal(http1_body_feed(&b, in, 2, &used, &data), ERR_AGAIN);
    assert_int_equal(used, 2);
    assert_ptr_equal(data.p, in);
    assert_int_equal(http1_body_feed(&b, in + 2, 6, &used, &data), ERR_OK);
    assert_int_equal(used, 3);
    assert_ptr_equal(data.p, in + 2);
    assert_int_equal(data.len, 3);
    assert_true(http1_body_is_done(&b));
    assert_true(http1_body_bytes(&b) == 5);
}

static void test_chunks_give_one_run_a_call(void **state)
{
    struct http1_body b = start(HTTP1_CHUNKED, 0, 10);
    const char in[] = "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nGET";
    struct str data;
    size_t used, at = 0;

    (void)state;
    assert_int_equal(http1_body_feed(&b, in, sizeof(in) - 1, &used, &data),
                     ERR_AGAIN);
    assert_ptr_equal(data.p, in + 3);
    assert_int_equal(data.len, 3);
    at += used;
    assert_int_equal(
        http1_body_feed(&b, in + at, sizeof(in) - 1 - at, &used, &data),
        ERR_OK);
    assert_int_equal(data.len, 2);
    assert_memory_equal(data.p, "de", 2);
    assert_string_equal(in + at + used, "GET");
    assert_true(http1_body_bytes(&b) == 5);
}

static void test_limits_hold_exactly(void **state)
{
    struct http1_head head = {.framing = HTTP1_LENGTH, .content_length = 11};
    struct http1_body b;

    (void)state;
    assert_int_equal(http1_body_start(&b, &head, 10), ERR_TOO_LARGE);
    assert_int_equal(http1_body_start(&b, &head, 11), ERR_OK);
    b = start(HTTP1_CHUNKED, 0, 10);
    assert_int_equal(drain(&b, STR("a\r\n0123456789\r\n0\r\n\r\n")), ERR_OK);
    b = start(HTTP1_CHUNKED, 0, 10);
    assert_int_equal(drain(&b, STR("b\r\n")), ERR_TOO_LARGE);
    b = start(HTTP1_CHUNKED, 0, 10);
    assert_int_equal(drain(&b, STR("9\r\n012345678\r\n2\r\n")), ERR_TOO_LARGE);
    b = start(HTTP1_UNTIL_CLOSE, 0, 3);
    assert_int_equal(drain(&b, STR("abc")), ERR_AGAIN);
    assert_int_equal(drain(&b, STR("d")), ERR_TOO_LARGE);
}

static void test_failure_is_for_good(void **state)
{
    struct http1_body b = start(HTTP1_CHUNKED, 0, 10);
    struct str data = {NULL, 9};
    size_t used = 9;

    (void)state;
    assert_int_equal(http1_body_feed(&b, "x", 1, &used, &data), ERR_BAD_HTTP);
    assert_int_equal(used, 9);
    assert_int_equal(data.len, 9);
    assert_int_equal(http1_body_feed(&b, "0\r\n\r\n", 5, &used, &data),
                     ERR_BAD_HTTP);
    assert_false(http1_body_is_done(&b));
}

/* A client that sends a byte a chunk is in order, however much it sends. */
static void test_one_byte_chunks_go_on_and_on(void **state)
{
    struct http1_body b = start(HTTP1_CHUNKED, 0, 1u << 30);

    (void)state;
    for (int i = 0; i < 300000; i++)
        assert_int_equal(drain(&b, STR("1\r\nx\r\n")), ERR_AGAIN);
    assert_int_equal(drain(&b, STR("0\r\n\r\n")), ERR_OK);
    assert_true(http1_body_bytes(&b) == 300000);
}

static void test_framing_without_data_ends(void **state)
{
    struct http1_body b = start(HTTP1_CHUNKED, 0, 1u << 30);
    char chunk[300];
    enum err e = ERR_AGAIN;
    int n, sent = 0;

    (void)state;
    n = snprintf(chunk, sizeof(chunk), "1;a=%0*d\r\nx\r\n", 250, 0);
    while (e == ERR_AGAIN && sent < 10000) {
        e = drain(&b, str_of(chunk, (size_t)n));
        sent++;
    }
    assert_int_equal(e, ERR_BAD_HTTP);
    assert_in_range(sent, 200, 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_body_is_done_at_once),
        cmocka_unit_test(test_length_gives_slices_of_the_input),
        cmocka_unit_test(test_chunks_give_one_run_a_call),
        cmocka_unit_test(test_limits_hold_exactly),
        cmocka_unit_test(test_failure_is_for_good),
        cmocka_unit_test(test_one_byte_chunks_go_on_and_on),
        cmocka_unit_test(test_framing_without_data_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
