/* t_worth.c - Which replies that came to their end are given to others. */
#include "recall/worth.h"

#include "unit/cmocka_all.h"

#include <string.h>

#include "exchange/tape.h"

/* A complete tape of these frames, up to NULL. */
static struct tape *tape_of(int status, bool events, const char *const *frames)
{
    const struct tape_head head = {.status = status,
                                   .type = events ? STR("text/event-stream")
                                                  : STR("application/json"),
                                   .events = events};
    struct tape *t = tape_new(1 << 20, 1);

    assert_non_null(t);
    tape_start(t, &head);
    for (; *frames; frames++)
        tape_put(t, str_from(*frames));
    tape_end(t, true, NULL);
    return t;
}

static bool is_kept(enum endpoint kind, unsigned n, int status, bool events,
                    const char *const *frames)
{
    struct tape *t = tape_of(status, events, frames);
    const bool kept = worth_keeping(endpoint_row(kind), n, t);

    tape_unref(t);
    return kept;
}

#define BODY(kind, ...)                                                        \
    is_kept(kind, 1, 200, false, (const char *const[]){__VA_ARGS__, NULL})
#define STREAM(kind, ...)                                                      \
    is_kept(kind, 1, 200, true, (const char *const[]){__VA_ARGS__, NULL})

#define CHAT ENDPOINT_CHAT
#define RESP ENDPOINT_RESPONSES
#define MSGS ENDPOINT_MESSAGES

static void bodies_without_an_error_are(void **state)
{
    (void)state;
    assert_true(BODY(CHAT, "{\"choices\":[]}"));
    assert_true(BODY(CHAT, "{\"choi", "ces\":[],\"err", "or\":null}"));
    assert_true(BODY(CHAT, "{\"error\":\"\",\"choices\":[]}"));
    assert_true(BODY(RESP, "{\"status\":\"completed\",\"error\":null}"));
    assert_true(BODY(RESP, "{\"status\":\"incomplete\"}"));
    assert_true(BODY(MSGS, "{\"type\":\"message\"}"));
    assert_true(BODY(ENDPOINT_SCORE, "[{\"score\":1}]"));
    assert_true(BODY(ENDPOINT_TOKENIZE, "{\"tokens\":[1]}"));
}

static void other_bodies_are_not(void **state)
{
    static const char *const one[] = {"{}", NULL};

    (void)state;
    assert_false(BODY(CHAT, "{\"error\":{\"message\":\"m\"}}"));
    assert_false(BODY(CHAT, "{\"error\":\"no\"}"));
    assert_false(BODY(CHAT, "{\"a\":1,\"\\u0065rror\":{}}"));
    assert_false(BODY(CHAT, "{\"a\":1"));
    assert_false(BODY(CHAT, "<html>"));
    assert_false(BODY(CHAT, "[]"));
    assert_false(BODY(CHAT, "\"ok\""));
    assert_false(is_kept(CHAT, 1, 200, false, one + 1));
    assert_false(BODY(MSGS, "{\"type\":\"error\"}"));
    assert_false(BODY(RESP, "{\"status\":\"failed\"}"));
    assert_false(BODY(RESP, "{\"status\":\"cancelled\"}"));
    assert_false(BODY(RESP, "{\"status\":\"queued\"}"));
    assert_false(BODY(RESP, "{\"status\":\"in_progress\"}"));
    assert_true(is_kept(CHAT, 1, 200, false, one));
    assert_false(is_kept(CHAT, 1, 201, false, one));
    assert_false(is_kept(CHAT, 1, 400, false, one));
}

#define TEXT                                                                   \
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"
#define FINISH                                                                 \
    "data: {\"choices\":[{\"index\":0,\"finish_reason\":\"stop\"}]}\n\n"
#define DONE "data: [DONE]\n\n"

static void whole_streams_are(void **state)
{
    (void)state;
    assert_true(STREAM(CHAT, TEXT, FINISH, DONE));
    assert_true(STREAM(CHAT, TEXT, FINISH));
    assert_true(STREAM(CHAT, ": ping\n\n", TEXT "\n", ": x\n" FINISH, DONE));
    assert_true(
        STREAM(CHAT, "data: {\"error\":null,\"choices\":[]}\r\n\r\n", DONE));
    assert_true(STREAM(CHAT, "data:{\"choices\":[]}\r\r", "data:[DONE]\r\r"));
    assert_true(STREAM(RESP, "event: response.completed\ndata: {\"type\":"
                             "\"response.completed\",\"response\":{}}\n\n"));
    assert_true(STREAM(MSGS, "event: ping\ndata: {\"type\":\"ping\"}\n\n",
                       "event: message_stop\ndata: {\"type\":"
                       "\"message_stop\"}\n\n"));
    assert_true(STREAM(ENDPOINT_CLASSIFY, "data: {}\n\n"));
}

static void broken_streams_are_not(void **state)
{
    static const char *const two[] = {TEXT, FINISH, NULL};

    (void)state;
    assert_false(STREAM(CHAT, TEXT));
    assert_false(STREAM(CHAT, ""));
    assert_false(is_kept(CHAT, 2, 200, true, two));
    assert_false(STREAM(CHAT, TEXT, "data: {\"error\":{\"message\":\"m\"}}\n\n",
                        FINISH, DONE));
    assert_false(STREAM(CHAT, TEXT, FINISH, DONE,
                        "data: {\"error\":{\"message\":\"m\"}}\n\n"));
    assert_false(STREAM(CHAT, TEXT, "event: error\ndata: {}\n\n", DONE));
    assert_false(STREAM(CHAT, "data: {\"choices\":[\n\n", TEXT, FINISH, DONE));
    assert_false(STREAM(CHAT, "data: hello\n\n", TEXT, FINISH, DONE));
    assert_false(STREAM(CHAT, TEXT, FINISH, "data: [DONE]\n"));
    assert_false(STREAM(CHAT, TEXT, FINISH, "data: [DO"));
    assert_false(STREAM(RESP, "event: response.created\ndata: {\"type\":"
                              "\"response.created\"}\n\n"));
    assert_false(STREAM(RESP, "event: response.failed\ndata: {\"type\":"
                              "\"response.failed\",\"response\":{}}\n\n"));
    assert_false(STREAM(RESP, "event: error\ndata: {\"type\":\"error\"}\n\n",
                        "event: response.completed\ndata: {\"type\":"
                        "\"response.completed\",\"response\":{}}\n\n"));
    assert_false(STREAM(MSGS, "event: error\ndata: {\"type\":\"error\"}\n\n",
                        "event: message_stop\ndata: {\"type\":"
                        "\"message_stop\"}\n\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_without_an_error_are),
        cmocka_unit_test(other_bodies_are_not),
        cmocka_unit_test(whole_streams_are),
        cmocka_unit_test(broken_streams_are_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
