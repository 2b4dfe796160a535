/* t_http1_out.c - Heads and chunks as written, and what the writer refuses. */
#include "wire/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void assert_text(const struct buf *b, const char *want)
{
    if (!str_eq(buf_str(b), str_from(want)))
        fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(buf_str(b)), want);
}

static void test_head(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    assert_int_equal(http1_put_status(&b, 404), ERR_OK);
    assert_int_equal(http1_put_header(&b, STR("a"), STR("b c\t\xe9")), ERR_OK);
    assert_int_equal(http1_put_header(&b, STR("empty"), STR("")), ERR_OK);
    assert_int_equal(http1_put_header_u64(&b, STR("n"), UINT64_MAX), ERR_OK);
    assert_int_equal(http1_put_header_u64(&b, STR("z"), 0), ERR_OK);
    assert_int_equal(http1_put_end(&b), ERR_OK);
    assert_text(&b, "HTTP/1.1 404 Not Found\r\na: b c\t\xe9\r\nempty: \r\n"
                    "n: 18446744073709551615\r\nz: 0\r\n\r\n");
    buf_clear(&b);
    assert_int_equal(http1_put_request(&b, STR("GET"), STR("/a?b")), ERR_OK);
    assert_text(&b, "GET /a?b HTTP/1.1\r\n");
    buf_clear(&b);
    assert_int_equal(http1_put_status(&b, 799), ERR_OK);
    assert_text(&b, "HTTP/1.1 799 Unknown\r\n");
    buf_fini(&b);
}

static void test_injection_is_refused(void **state)
{
    static const struct str bad[] = {
        STR("a\r\nb: c"), STR("a\rb"),  STR("a\nb"),
        STR("a\0b"),      STR("a\x7f"), STR("\x01"),
    };
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(http1_put_header(&b, STR("x"), bad[i]), ERR_SYNTAX);
        assert_int_equal(http1_put_header(&b, bad[i], STR("x")), ERR_SYNTAX);
        assert_int_equal(http1_put_request(&b, STR("GET"), bad[i]), ERR_SYNTAX);
        assert_int_equal(http1_put_request(&b, bad[i], STR("/")), ERR_SYNTAX);
    }
    assert_int_equal(http1_put_header(&b, STR(""), STR("x")), ERR_SYNTAX);
    assert_int_equal(http1_put_header(&b, STR("a b"), STR("x")), ERR_SYNTAX);
    assert_int_equal(http1_put_header(&b, STR("a:"), STR("x")), ERR_SYNTAX);
    assert_int_equal(http1_put_request(&b, STR("GET"), STR("/a b")),
                     ERR_SYNTAX);
    assert_int_equal(http1_put_request(&b, STR("GET"), STR("/\xe9")),
                     ERR_SYNTAX);
    assert_int_equal(http1_put_request(&b, STR("GET"), STR("")), ERR_SYNTAX);
    assert_int_equal(http1_put_status(&b, 99), ERR_RANGE);
    assert_int_equal(http1_put_status(&b, 1000), ERR_RANGE);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

static void test_full_buffer_stays_as_it_was(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 8);
    assert_int_equal(http1_put_header(&b, STR("abc"), STR("de")), ERR_NOMEM);
    assert_int_equal(http1_put_chunk(&b, STR("abcd")), ERR_NOMEM);
    assert_int_equal(b.len, 0);
    assert_int_equal(http1_put_chunk(&b, STR("abc")), ERR_OK);
    assert_text(&b, "3\r\nabc\r\n");
    buf_fini(&b);
}

static void test_chunk_prefixes(void **state)
{
    static const struct {
        size_t len;
        const char *text;
    } rows[] = {
        {1, "1\r\n"},           {15, "f\r\n"},
        {16, "10\r\n"},         {255, "ff\r\n"},
        {0x10000, "10000\r\n"}, {SIZE_MAX, "ffffffffffffffff\r\n"},
    };
    char room[HTTP1_CHUNK_PREFIX];
    struct buf b;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_true(str_eq(http1_chunk_prefix(room, rows[i].len),
                           str_from(rows[i].text)));
    buf_init(&b, 100);
    assert_int_equal(http1_put_chunk(&b, STR("")), ERR_OK);
    assert_int_equal(b.len, 0);
    buf_fini(&b);
}

/* What the writer writes, the reader reads back. */
static void test_chunks_read_back(void **state)
{
    struct http1_head head = {.framing = HTTP1_CHUNKED};
    struct http1_body body;
    struct str data = {NULL, 0};
    struct buf b;
    size_t used = 0;

    (void)state;
    buf_init(&b, 1000);
    assert_int_equal(http1_put_chunk(&b, STR("hello, chunked world")), ERR_OK);
    assert_int_equal(buf_put_str(&b, HTTP1_CHUNK_LAST), ERR_OK);
    assert_int_equal(http1_body_start(&body, &head, 100), ERR_OK);
    assert_int_equal(http1_body_feed(&body, b.p, b.len, &used, &data), ERR_OK);
    assert_int_equal(used, b.len);
    assert_true(str_eq(data, STR("hello, chunked world")));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_injection_is_refused),
        cmocka_unit_test(test_full_buffer_stays_as_it_was),
        cmocka_unit_test(test_chunk_prefixes),
        cmocka_unit_test(test_chunks_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
