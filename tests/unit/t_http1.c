/* t_http1.c - What the head scanner and parser report, field by field. What
 * they must refuse stands in tests/lib/http1_vectors.json. */
#include "wire/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define ROOM 16

static struct http1_header table[ROOM];

static void assert_str(struct str have, const char *want)
{
    if (!str_eq(have, str_from(want)))
        fail_msg("\"%.*s\" is not \"%s\"", STR_ARG(have), want);
}

static struct http1_head parse(const char *text)
{
    struct http1_head head = {0};
    enum err e = http1_parse(str_from(text), table, ROOM, &head);

    if (e != ERR_OK)
        fail_msg("%s: %s", err_name(e), text);
    return head;
}

static struct http1_head parse_response(const char *text)
{
    struct http1_head head = {0};
    enum err e = http1_parse_response(str_from(text), table, ROOM, &head);

    if (e != ERR_OK)
        fail_msg("%s: %s", err_name(e), text);
    return head;
}

static void assert_no_response(const char *text)
{
    struct http1_head head = {.status = -1};

    if (http1_parse_response(str_from(text), table, ROOM, &head) == ERR_OK)
        fail_msg("accepted: %s", text);
    assert_int_equal(head.status, -1);
}

static void test_parse_slices_the_request_line(void **state)
{
    struct http1_head h = parse("\r\nPOST /v1/a%2Fb?c=d?e HTTP/1.1\r\n"
                                "Host: h:1\r\nX-Y: \t z \r\n\r\n");

    (void)state;
    assert_int_equal(h.method, HTTP1_POST);
    assert_str(h.method_text, "POST");
    assert_str(h.target, "/v1/a%2Fb?c=d?e");
    assert_str(h.path, "/v1/a%2Fb");
    assert_str(h.query, "?c=d?e");
    assert_str(h.host, "h:1");
    assert_int_equal(h.minor, 1);
    assert_int_equal(h.count, 2);
    assert_str(h.headers[1].name, "X-Y");
    assert_str(h.headers[1].value, "z");
    assert_int_equal(h.framing, HTTP1_NO_BODY);
    assert_true(h.keep_alive);
    assert_false(h.has_connection);
}

static void test_parse_names_methods(void **state)
{
    static const struct {
        const char *text;
        enum http1_method method;
    } rows[] = {
        {"GET / HTTP/1.0\r\n\r\n", HTTP1_GET},
        {"HEAD / HTTP/1.0\r\n\r\n", HTTP1_HEAD},
        {"POST / HTTP/1.0\r\n\r\n", HTTP1_POST},
        {"PUT / HTTP/1.0\r\n\r\n", HTTP1_PUT},
        {"PATCH / HTTP/1.0\r\n\r\n", HTTP1_PATCH},
        {"DELETE / HTTP/1.0\r\n\r\n", HTTP1_DELETE},
        {"OPTIONS * HTTP/1.0\r\n\r\n", HTTP1_OPTIONS},
        {"TRACE / HTTP/1.0\r\n\r\n", HTTP1_TRACE},
        {"Get / HTTP/1.0\r\n\r\n", HTTP1_OTHER},
        {"GETS / HTTP/1.0\r\n\r\n", HTTP1_OTHER},
        {"QUERY / HTTP/1.0\r\n\r\n", HTTP1_OTHER},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(parse(rows[i].text).method, rows[i].method);
}

static void test_parse_tells_the_framing(void **state)
{
    struct http1_head h;

    (void)state;
    h = parse("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: "
              "9223372036854775807\r\n\r\n");
    assert_int_equal(h.framing, HTTP1_LENGTH);
    assert_true(h.content_length == INT64_MAX);
    h = parse("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(h.framing, HTTP1_LENGTH);
    assert_true(h.content_length == 0);
    h = parse("GET / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: CHUNKED\r\n"
              "\r\n");
    assert_int_equal(h.framing, HTTP1_CHUNKED);
}

static void test_parse_expects_only_with_a_body_in_1_1(void **state)
{
    (void)state;
    assert_true(parse("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                      "Expect: 100-continue\r\n\r\n")
                    .expect_continue);
    assert_true(parse("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-CONTINUE\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n")
                    .expect_continue);
    assert_false(parse("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n"
                       "Expect: 100-continue\r\n\r\n")
                     .expect_continue);
    assert_false(parse("POST / HTTP/1.0\r\nContent-Length: 1\r\n"
                       "Expect: 100-continue\r\n\r\n")
                     .expect_continue);
}

static void test_parse_sees_websocket_upgrades(void **state)
{
    (void)state;
    assert_true(parse("GET /v1/realtime HTTP/1.1\r\nHost: a\r\n"
                      "Connection: keep-alive, Upgrade\r\n"
                      "Upgrade: WebSocket\r\n\r\n")
                    .websocket);
    assert_true(parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n"
                      "Upgrade: h2c, websocket\r\n\r\n")
                    .websocket);
    assert_false(parse("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
                       "\r\n")
                     .websocket);
    assert_false(parse("POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n"
                       "Upgrade: websocket\r\n\r\n")
                     .websocket);
    assert_false(parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n"
                       "Upgrade: h2c\r\n\r\n")
                     .websocket);
    assert_false(parse("GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\n"
                       "Upgrade: websocket\r\n\r\n")
                     .websocket);
    assert_false(parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n"
                       "Upgrade: websocket\r\nContent-Length: 1\r\n\r\n")
                     .websocket);
}

static void test_parse_leaves_output_on_failure(void **state)
{
    struct http1_head head = {.status = 7};

    (void)state;
    assert_int_equal(
        http1_parse(STR("GET / HTTP/1.1\r\n\r\n"), table, ROOM, &head),
        ERR_BAD_HTTP);
    assert_int_equal(http1_parse(STR("GET / HTTP/1.1\r\nHost: a\r\n\r\nX"),
                                 table, ROOM, &head),
                     ERR_BAD_HTTP);
    assert_int_equal(
        http1_parse(STR("GET / HTTP/1.1\r\nHost: a\r\n"), table, ROOM, &head),
        ERR_BAD_HTTP);
    assert_int_equal(http1_parse(STR(""), table, ROOM, &head), ERR_BAD_HTTP);
    assert_int_equal(http1_parse(STR("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n"
                                     "\r\n"),
                                 table, 1, &head),
                     ERR_HEADERS_TOO_LARGE);
    assert_int_equal(head.status, 7);
}

static void test_scan_obeys_its_limits(void **state)
{
    struct str head = STR("GET /abc HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n");
    struct http1_limits tight = {
        .head_bytes = head.len, .target_bytes = 4, .fields = 2};
    struct http1_scan s = {0};
    size_t used = 0;

    (void)state;
    assert_int_equal(http1_scan(&s, head.p, head.len, &tight, &used), ERR_OK);
    assert_int_equal(used, head.len);
    tight.head_bytes--;
    s = (struct http1_scan){0};
    assert_int_equal(http1_scan(&s, head.p, head.len, &tight, &used),
                     ERR_HEADERS_TOO_LARGE);
    tight.head_bytes++;
    tight.target_bytes--;
    s = (struct http1_scan){0};
    assert_int_equal(http1_scan(&s, head.p, head.len, &tight, &used),
                     ERR_URI_TOO_LONG);
    tight.target_bytes++;
    tight.fields--;
    s = (struct http1_scan){0};
    assert_int_equal(http1_scan(&s, head.p, head.len, &tight, &used),
                     ERR_HEADERS_TOO_LARGE);
}

/* A refusal does not wait for the rest of the line. */
static void test_scan_refuses_early(void **state)
{
    static const char *const starts[] = {
        "{",
        "GET h",
        "GET /\n",
        "GET / HTTP/x",
        "\n",
        "GET / HTTP/1.1\n",
        "\x16",
        "CONNECT a",
        "GET / HTTP/1.1\r\n ",
        "GET / HTTP/1.1\r\nA ",
        "GET / HTTP/1.1\r\nA:\n",
        "GET / HTTP/1.1\r\nA: b\r\n\t",
    };
    size_t used = 99;

    (void)state;
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        struct http1_scan s = {0};
        size_t len = strlen(starts[i]);

        assert_int_equal(http1_scan(&s, starts[i], len - 1, NULL, &used),
                         ERR_AGAIN);
        assert_int_equal(http1_scan(&s, starts[i], len, NULL, &used),
                         ERR_BAD_HTTP);
    }
    assert_int_equal(used, 99);
}

static void test_response_framing(void **state)
{
    struct http1_head h;

    (void)state;
    h = parse_response("HTTP/1.1 101 Switching Protocols\r\n"
                       "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert_int_equal(h.status, 101);
    assert_str(h.reason, "Switching Protocols");
    assert_true(h.websocket);
    assert_int_equal(h.framing, HTTP1_NO_BODY);
    h = parse_response("HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\n");
    assert_str(h.reason, "");
    assert_int_equal(h.framing, HTTP1_LENGTH);
    assert_true(h.content_length == 3);
    assert_true(h.keep_alive);
    assert_false(h.websocket);
    h = parse_response("HTTP/1.1 502 Bad\r\n\r\n");
    assert_int_equal(h.framing, HTTP1_UNTIL_CLOSE);
    assert_false(h.keep_alive);
    h = parse_response("HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n");
    assert_int_equal(h.framing, HTTP1_NO_BODY);
    h = parse_response("HTTP/1.1 304 Not\r\nContent-Length: 3\r\n\r\n");
    assert_int_equal(h.framing, HTTP1_NO_BODY);
    h = parse_response("HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n"
                       "\r\n");
    assert_int_equal(h.framing, HTTP1_CHUNKED);
    h = parse_response("HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n");
    assert_false(h.websocket);
}

static void test_response_refusals(void **state)
{
    static const char *const bad[] = {
        "HTTP/1.1 200\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 200 O\x01K\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
         "Transfer-Encoding: chunked\r\n\r\n"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 101 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 204 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct http1_scan s = {.kind = HTTP1_RESPONSE};
        size_t used = 0;
        enum err e = http1_scan(&s, bad[i], strlen(bad[i]), NULL, &used);

        assert_no_response(bad[i]);
        assert_true(e == ERR_OK || e == ERR_AGAIN || e == ERR_BAD_HTTP ||
                    e == ERR_HTTP_VERSION);
    }
}

static void test_scan_takes_responses(void **state)
{
    struct str head = STR("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nrest");
    struct http1_scan s = {.kind = HTTP1_RESPONSE};
    size_t used = 0;

    (void)state;
    for (size_t n = 1; n < head.len - 4; n++)
        assert_int_equal(http1_scan(&s, head.p, n, NULL, &used), ERR_AGAIN);
    assert_int_equal(http1_scan(&s, head.p, head.len, NULL, &used), ERR_OK);
    assert_int_equal(used, head.len - 4);
}

static void test_hop_by_hop_fields(void **state)
{
    struct http1_head h =
        parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-One\r\n"
              "X-One: 1\r\nX-Two: 2\r\nConnection: ,x-three\r\n\r\n");

    (void)state;
    assert_true(http1_is_hop_header(STR("Connection")));
    assert_true(http1_is_hop_header(STR("TE")));
    assert_true(http1_is_hop_header(STR("transfer-ENCODING")));
    assert_true(http1_is_hop_header(STR("Proxy-Authorization")));
    assert_false(http1_is_hop_header(STR("Content-Length")));
    assert_false(http1_is_hop_header(STR("X-One")));
    assert_true(http1_is_named_by_connection(&h, STR("x-one")));
    assert_true(http1_is_named_by_connection(&h, STR("X-Three")));
    assert_false(http1_is_named_by_connection(&h, STR("X-Two")));
    assert_false(http1_is_named_by_connection(&h, STR("X")));
    assert_str(http1_find(&h, STR("x-TWO"))->value, "2");
    assert_null(http1_find(&h, STR("x-four")));
}

static void test_any_coding_is_told(void **state)
{
    static const struct {
        const char *fields;
        bool want;
    } rows[] = {
        {"", false},
        {"Content-Encoding: identity\r\n", false},
        {"Content-Encoding:\r\n", false},
        {"Content-Encoding: gzip\r\n", true},
        {"content-encoding: identity, br\r\n", true},
        {"Content-Encoding: identity\r\ncontent-encoding: zstd\r\n", true},
    };
    struct http1_head head;
    char text[256];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        snprintf(text, sizeof(text), "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n",
                 rows[i].fields);
        assert_int_equal(http1_parse(str_from(text), table,
                                     sizeof(table) / sizeof(table[0]), &head),
                         ERR_OK);
        assert_int_equal(http1_is_encoded(&head), rows[i].want);
    }
}

static void test_lists_skip_empty_members(void **state)
{
    struct str list = STR(" ,, a ,\tb c,,d"), member = {NULL, 0};

    (void)state;
    assert_true(http1_next_member(&list, &member));
    assert_str(member, "a");
    assert_true(http1_next_member(&list, &member));
    assert_str(member, "b c");
    assert_true(http1_next_member(&list, &member));
    assert_str(member, "d");
    assert_false(http1_next_member(&list, &member));
    assert_true(http1_list_has(STR("a, B"), STR("b")));
    assert_false(http1_list_has(STR("ab"), STR("b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_slices_the_request_line),
        cmocka_unit_test(test_parse_names_methods),
        cmocka_unit_test(test_parse_tells_the_framing),
        cmocka_unit_test(test_parse_expects_only_with_a_body_in_1_1),
        cmocka_unit_test(test_parse_sees_websocket_upgrades),
        cmocka_unit_test(test_parse_leaves_output_on_failure),
        cmocka_unit_test(test_scan_obeys_its_limits),
        cmocka_unit_test(test_scan_refuses_early),
        cmocka_unit_test(test_response_framing),
        cmocka_unit_test(test_response_refusals),
        cmocka_unit_test(test_scan_takes_responses),
        cmocka_unit_test(test_hop_by_hop_fields),
        cmocka_unit_test(test_any_coding_is_told),
        cmocka_unit_test(test_lists_skip_empty_members),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
