/* t_openai_err.c - Error bodies and events in both shapes; masked secrets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "wire/jscan.h"
#include "wire/openai_err.h"

static struct buf out;

static void check_out(const char *want)
{
    if (!str_eq(buf_str(&out), str_from(want)))
        print_error("got  %.*s\nwant %s\n", STR_ARG(buf_str(&out)),
                    want ? want : "nothing");
    assert_true(str_eq(buf_str(&out), str_from(want)));
    buf_clear(&out);
}

static void openai_shape_has_its_four_members(void **state)
{
    struct err_reply r = {.code = ERR_BAD_PARAM,
                          .message = STR("'n' is \"odd\"\n"),
                          .param = STR("n")};

    (void)state; /* cmocka's */
    assert_int_equal(err_body_put(&out, &r), ERR_OK);
    check_out("{\"error\":{\"message\":\"'n' is \\\"odd\\\"\\n\",\"type\":"
              "\"invalid_request_error\",\"param\":\"n\",\"code\":null}}");
    r = (struct err_reply){.code = ERR_UP_RESET,
                           .request_id = STR("req_1"),
                           .upstream_status = 500};
    assert_int_equal(err_body_put(&out, &r), ERR_OK);
    check_out("{\"error\":{\"message\":\"The upstream closed the connection "
              "before it answered.\",\"type\":\"upstream_error\",\"param\":"
              "null,\"code\":\"upstream_reset\",\"upstream_status\":500,"
              "\"request_id\":\"req_1\"}}");
}

static void anthropic_shape_has_type_and_request_id(void **state)
{
    struct err_reply r = {.shape = ENDPOINT_SHAPE_ANTHROPIC,
                          .code = ERR_RATE_REQUESTS,
                          .message = STR("slow"),
                          .param = STR("n"),
                          .request_id = STR("req_1")};

    (void)state; /* cmocka's */
    assert_int_equal(err_body_put(&out, &r), ERR_OK);
    check_out("{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\","
              "\"message\":\"slow\"},\"request_id\":\"req_1\"}");
    r.request_id = STR("");
    assert_int_equal(err_event_put(&out, &r), ERR_OK);
    check_out("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
              "\"rate_limit_error\",\"message\":\"slow\"}}\n\n");
}

static void openai_event_has_no_name(void **state)
{
    struct err_reply r = {.code = ERR_UP_INCOMPLETE, .message = STR("a\nb")};

    (void)state; /* cmocka's */
    assert_int_equal(err_event_put(&out, &r), ERR_OK);
    check_out("data: {\"error\":{\"message\":\"a\\nb\",\"type\":"
              "\"upstream_error\",\"param\":null,\"code\":"
              "\"upstream_incomplete\"}}\n\n");
}

static void every_code_gives_valid_json(void **state)
{
    char bytes[256];

    (void)state; /* cmocka's */
    for (int i = 0; i < 256; i++)
        bytes[i] = (char)i;
    for (int i = 0; i < 2 * ERR_COUNT; i++) {
        struct err_reply r = {.shape = (enum endpoint_shape)(i & 1),
                              .code = (enum err)(i / 2),
                              .message = str_of(bytes, 256),
                              .param = str_of(bytes, 256)};
        if (i % 3 == 0)
            r.message.len = 0;
        assert_int_equal(err_body_put(&out, &r), ERR_OK);
        assert_true(jscan_is_valid(buf_str(&out)));
        buf_clear(&out);
    }
}

static void nothing_is_appended_past_the_cap(void **state)
{
    struct err_reply r = {.code = ERR_AUTH, .request_id = STR("req_123")};
    struct buf small;
    size_t need;

    (void)state; /* cmocka's */
    assert_int_equal(err_event_put(&out, &r), ERR_OK);
    need = out.len;
    buf_clear(&out);
    for (size_t cap = 0; cap < need; cap++) {
        buf_init(&small, cap);
        assert_int_equal(err_event_put(&small, &r), ERR_NOMEM);
        assert_int_equal(small.len, 0);
        buf_fini(&small);
    }
}

static void secrets_are_masked(void **state)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"Incorrect API key provided: sk-proj-abcDEF123456_-x. See",
         "Incorrect API key provided: sk-proj-***. See"},
        {"sk-abcdef0123456789", "sk-***"},
        {"\"sk-tg-0123456789abcdef\"", "\"sk-tg-***\""},
        {"sk-ant-api03-xxxxxxxx", "sk-ant-***"},
        {"sk-abcd****wxyz is wrong", "sk-*** is wrong"},
        {"a sk-aaaaaaaaa and sk-bbbbbbbbb", "a sk-*** and sk-***"},
        {"task-force and risk-averseness, sk-1", "task-force and "
                                                 "risk-averseness, sk-1"},
        {"Authorization: Bearer abc123def456.x-y_z~",
         "Authorization: Bearer ***"},
        {"authorization: abcdef123456", "authorization: ***"},
        {"bearer\tABCDEFGH1", "bearer\t***"},
        {"Bearer <key>", "Bearer <key>"},
        {"Bearer authentication required", "Bearer authentication required"},
        {"Basic dXNlcjpwYXNzd29yZA==", "Basic ***"},
        {"x-api-key: 0123456789abcdef", "x-api-key: ***"},
        {"{\"api_key\": \"0123456789abcdef\"}", "{\"api_key\": \"***\"}"},
        {"api-key must be set", "api-key must be set"},
        {"AIzaSyA0123456789abcdefghij", "AIza***"},
        {"gsk_0123456789abcdefgh", "gsk_***"},
        {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig", "eyJ***"},
        {"", ""},
        {"sk-", "sk-"},
        {"Basically0 Bearers0123456789", "Basically0 Bearers0123456789"},
        {"Bearer ", "Bearer "},
    };

    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(redact_put(&out, str_from(rows[i].in)), ERR_OK);
        check_out(rows[i].want);
    }
}

static void secrets_in_messages_are_masked(void **state)
{
    struct err_reply r = {.code = ERR_UP_AUTH,
                          .message = STR("key \"sk-0123456789\" \n no")};

    (void)state; /* cmocka's */
    assert_int_equal(err_body_put(&out, &r), ERR_OK);
    check_out("{\"error\":{\"message\":\"key \\\"sk-***\\\" \\n no\",\"type\":"
              "\"upstream_error\",\"param\":null,\"code\":"
              "\"upstream_auth_failed\"}}");
}

static int begin(void **state)
{
    (void)state; /* cmocka's */
    buf_init(&out, 1 << 16);
    return 0;
}

static int end(void **state)
{
    (void)state; /* cmocka's */
    buf_fini(&out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(openai_shape_has_its_four_members),
        cmocka_unit_test(anthropic_shape_has_type_and_request_id),
        cmocka_unit_test(openai_event_has_no_name),
        cmocka_unit_test(every_code_gives_valid_json),
        cmocka_unit_test(nothing_is_appended_past_the_cap),
        cmocka_unit_test(secrets_are_masked),
        cmocka_unit_test(secrets_in_messages_are_masked),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
