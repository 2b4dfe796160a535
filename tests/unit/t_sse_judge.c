/* t_sse_judge.c - What events of each API mean, and words inside strings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "wire/sse.h"
#include "wire/usage.h"

static struct sse_judge j;
static struct sse_verdict v;

/* Judge an event of that name (may be "") and data. */
static void judge(const char *name, const char *data)
{
    struct sse_event e = {
        .name = str_from(name), .data = str_from(data), .has_data = true};

    sse_judge_event(&j, &e, &v);
}

/* The flags of the last verdict as letters. */
static const char *flags(void)
{
    static char text[16];
    size_t n = 0;

    if (v.done)
        text[n++] = 'D';
    if (v.ends)
        text[n++] = 'E';
    if (v.error)
        text[n++] = 'X';
    if (v.bad_json)
        text[n++] = 'B';
    if (v.usage)
        text[n++] = 'U';
    if (v.usage_only)
        text[n++] = 'O';
    if (v.usage_null)
        text[n++] = 'N';
    if (v.first)
        text[n++] = 'F';
    text[n] = '\0';
    return text;
}

#define CHUNK(delta, finish, rest)                                             \
    "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":" delta                 \
    ",\"finish_reason\":" finish "}]" rest "}"

static void chat_stream_is_followed(void **state)
{
    (void)state; /* cmocka's */
    sse_judge_init(&j, ENDPOINT_END_CHAT, 1);
    judge("", CHUNK("{\"role\":\"assistant\",\"content\":\"\"}", "null", ""));
    assert_string_equal(flags(), "");
    judge("", CHUNK("{\"content\":\"Hi\"}", "null", ",\"usage\":null"));
    assert_string_equal(flags(), "NF");
    judge("", CHUNK("{\"content\":\" you\"}", "null", ",\"usage\" : null"));
    assert_string_equal(flags(), "N");
    assert_false(v.scanned);
    judge("", CHUNK("{}", "\"stop\"", ""));
    assert_string_equal(flags(), "E");
    assert_true(str_eq(v.finish, STR("\"stop\"")));
    assert_true(j.complete);
    judge("", "{\"choices\":[],\"usage\":{\"prompt_tokens\":1,"
              "\"completion_tokens\":2}}");
    assert_string_equal(flags(), "UO");
    judge("", "[DONE]");
    assert_string_equal(flags(), "DE");
    assert_false(j.failed);
}

/* However an empty list of choices is written; not when more is said. */
static void chunks_of_usage_alone_are_known(void **state)
{
    static const struct {
        const char *data, *flags;
    } rows[] = {
        {"{\"choices\":[],\"usage\":{\"a\":1}}", "UO"},
        {"{\"choices\":null,\"usage\":{\"a\":1}}", "UO"},
        {"{\"usage\":{\"a\":1}}", "UO"},
        {"{\"usage\":{\"a\":1},\"error\":null}", "UO"},
        {"{\"usage\":{\"a\":1},\"error\":{\"message\":\"x\"}}", "EXU"},
        {"{\"choices\":[],\"usage\":{},\"error\":\"x\"}", "EXU"},
        {"{\"choices\":[{}],\"usage\":{\"a\":1}}", "U"},
        {"{\"choices\":{},\"usage\":{\"a\":1}}", "U"},
        {"{\"usage\":null}", "N"},
        {"{\"x\":{\"usage\":{\"a\":1}}}", ""},
    };

    (void)state; /* cmocka's */
    for (int content = 0; content < 2; content++) {
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            sse_judge_init(&j, ENDPOINT_END_CHAT, 1);
            j.content = content;
            judge("", rows[i].data);
            assert_string_equal(flags(), rows[i].flags);
        }
    }
}

static void words_inside_strings_mean_nothing(void **state)
{
    static const char *const rows[] = {
        CHUNK("{\"content\":\"\\\"finish_reason\\\":\\\"stop\\\"\"}", "null",
              ""),
        CHUNK("{\"content\":\"finish_reason\"}", "null", ""),
        CHUNK("{\"content\":\"\\\"usage\\\":{\\\"prompt_tokens\\\":1}\"}",
              "null", ""),
        CHUNK("{\"content\":\"usage\"}", "null", ""),
        CHUNK("{\"content\":\"{\\\"error\\\":{}}\"}", "null", ""),
        CHUNK("{\"content\":\"[DONE]\"}", "null", ""),
        CHUNK("{\"tool_calls\":[{\"function\":{\"arguments\":"
              "\"{\\\"choices\\\":[],\\\"usage\\\":{}}\"}}]}",
              "null", ""),
        CHUNK("{\"x\\\"finish_reason\":\"stop\"}", "null", ""),
    };

    (void)state; /* cmocka's */
    for (int content = 0; content < 2; content++) {
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            sse_judge_init(&j, ENDPOINT_END_CHAT, 1);
            j.content = content;
            judge("", rows[i]);
            v.first = false;
            assert_string_equal(flags(), "");
            assert_false(j.complete);
        }
    }
}

/* Members of the same name deeper down are no members of the chunk. */
static void members_elsewhere_mean_nothing(void **state)
{
    (void)state; /* cmocka's */
    sse_judge_init(&j, ENDPOINT_END_CHAT, 1);
    j.content = true;
    judge("", "{\"choices\":[{\"index\":0,\"delta\":{\"finish_reason\":\"x\","
              "\"usage\":{},\"error\":{}},\"finish_reason\":null}]}");
    assert_string_equal(flags(), "");
    assert_true(v.scanned);
    judge("", "{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}");
    assert_string_equal(flags(), "B");
    judge("", "{\"choices\":[],\"prompt_filter_results\":[]}");
    assert_string_equal(flags(), "");
    judge("", "{\"choices\":[{\"finish_reason\": \n \"length\"}]}");
    assert_string_equal(flags(), "E");
}

static void every_choice_must_finish(void **state)
{
    (void)state; /* cmocka's */
    sse_judge_init(&j, ENDPOINT_END_CHAT, 3);
    judge("", CHUNK("{}", "\"stop\"", ""));
    assert_string_equal(flags(), "");
    judge("", CHUNK("{}", "\"stop\"", ""));
    judge("", CHUNK("{}", "\"stop\"", ""));
    assert_false(j.complete);
    judge("", "{\"choices\":[{\"index\":1,\"finish_reason\":\"stop\"}]}");
    assert_false(j.complete);
    judge("", "{\"choices\":[{\"index\":2,\"finish_reason\":\"length\"}]}");
    assert_true(v.ends && j.complete);
}

static void completions_and_tools_count_as_content(void **state)
{
    static const struct {
        const char *data;
        bool first;
    } rows[] = {
        {"{\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}", true},
        {"{\"choices\":[{\"text\":\"\",\"finish_reason\":null}]}", false},
        {CHUNK("{\"content\":null}", "null", ""), false},
        {CHUNK("{\"reasoning_content\":\"x\"}", "null", ""), true},
        {CHUNK("{\"tool_calls\":[{\"index\":0}]}", "null", ""), true},
        {CHUNK("{\"tool_calls\":[]}", "null", ""), false},
        {CHUNK("{\"refusal\":\"no\"}", "null", ""), true},
    };

    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        sse_judge_init(&j, ENDPOINT_END_CHAT, 1);
        judge("", rows[i].data);
        assert_int_equal(v.first, rows[i].first);
        judge("", rows[0].data);
        assert_int_equal(v.first, !rows[i].first);
    }
}

static void errors_end_every_stream(void **state)
{
    static const struct {
        enum endpoint_end kind;
        const char *name, *data;
    } rows[] = {
        {ENDPOINT_END_CHAT, "", "{\"error\":{\"message\":\"x\"}}"},
        {ENDPOINT_END_CHAT, "", "{\"error\" : \"overloaded\"}"},
        {ENDPOINT_END_CHAT, "error", "{\"message\":\"x\"}"},
        {ENDPOINT_END_RESPONSES, "error", "{\"type\":\"error\"}"},
        {ENDPOINT_END_RESPONSES, "",
         "{\"sequence_number\":1,\"type\":\"error\",\"code\":null}"},
        {ENDPOINT_END_RESPONSES, "response.failed",
         "{\"type\":\"response.failed\",\"response\":{\"status\":\"failed\"}}"},
        {ENDPOINT_END_RESPONSES, "", "{\"error\":{\"message\":\"x\"}}"},
        {ENDPOINT_END_MESSAGES, "error",
         "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}"},
        {ENDPOINT_END_IMAGE, "", "{\"type\":\"error\",\"error\":{}}"},
        {ENDPOINT_END_SPEECH, "", "{\"error\":{\"x\":1}}"},
        {ENDPOINT_END_NONE, "", "{\"error\":{\"x\":1}}"},
    };

    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        sse_judge_init(&j, rows[i].kind, 1);
        j.content = true;
        judge(rows[i].name, rows[i].data);
        if (!v.error || !j.failed)
            print_error("row %zu\n", i);
        assert_true(v.error && v.ends && j.failed && j.complete);
    }
}

static void nulls_are_no_errors(void **state)
{
    (void)state; /* cmocka's */
    sse_judge_init(&j, ENDPOINT_END_RESPONSES, 1);
    judge("response.created",
          "{\"type\":\"response.created\",\"error\":null,\"response\":"
          "{\"error\":null,\"usage\":null,\"status\":\"in_progress\"}}");
    assert_string_equal(flags(), "");
    judge("x", "{\"type\":\"response.mcp_call.failed\",\"item\":"
               "{\"error\":{\"code\":1}}}");
    assert_string_equal(flags(), "");
    assert_false(j.complete);
}

static void typed_streams_end_by_their_event(void **state)
{
    static const struct {
        enum endpoint_end kind;
        const char *data;
        const char *flags;
    } rows[] = {
        {ENDPOINT_END_RESPONSES,
         "{\"type\":\"response.output_text.delta\",\"delta\":\"a "
         "response.completed\"}",
         "F"},
        {ENDPOINT_END_RESPONSES,
         "{\"type\": \"response.completed\",\"response\":{\"usage\":{}}}",
         "EU"},
        {ENDPOINT_END_RESPONSES,
         "{\"response\":{},\"type\":\"response.incomplete\"}", "E"},
        {ENDPOINT_END_RESPONSES,
         "{\"typ\\u0065\":\"response.completed\",\"response\":{}}", "E"},
        {ENDPOINT_END_RESPONSES,
         "{\"item\":{\"type\":\"response.completed\"},\"type\":\"x\"}", ""},
        {ENDPOINT_END_RESPONSES, "{\"type\":\"response.completed\"", "B"},
        {ENDPOINT_END_RESPONSES,
         "{\"type\":\"response.completed\",\"type\":\"x\"}", ""},
        {ENDPOINT_END_MESSAGES, "{\"type\":\"message_stop\"}", "E"},
        {ENDPOINT_END_MESSAGES,
         "{\"type\":\"message_start\",\"message\":{\"usage\":{}}}", "U"},
        {ENDPOINT_END_MESSAGES,
         "{\"type\":\"content_block_delta\",\"delta\":{}}", "F"},
        {ENDPOINT_END_MESSAGES, "{\"type\":\"ping\"}", ""},
        {ENDPOINT_END_IMAGE, "{\"type\":\"image_edit.completed\",\"usage\":{}}",
         "EU"},
        {ENDPOINT_END_IMAGE, "{\"type\":\"image_generation.completed\"}", "E"},
        {ENDPOINT_END_SPEECH, "{\"type\":\"speech.audio.done\",\"usage\":{}}",
         "EU"},
        {ENDPOINT_END_TRANSCRIPT, "{\"type\":\"transcript.text.done\"}", "E"},
        {ENDPOINT_END_TRANSCRIPT, "{\"type\":\"speech.audio.done\"}", ""},
        {ENDPOINT_END_RESPONSES, "[DONE]", "D"},
    };

    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        sse_judge_init(&j, rows[i].kind, 1);
        judge("", rows[i].data);
        if (strcmp(flags(), rows[i].flags) != 0)
            print_error("row %zu\n", i);
        assert_string_equal(flags(), rows[i].flags);
    }
}

/* The type is read without a scan, however it is spaced. */
static void types_are_read_however_spaced(void **state)
{
    static const char *const rows[] = {
        "{\"type\":\"content_block_delta\",\"delta\":{\"text\":\"x\"}}",
        "{\"type\": \"content_block_delta\", \"delta\": {\"text\": \"x\"}}",
        "{ \"type\" : \"content_block_delta\" }",
        "\n{\n\t\"type\":\r\n\"content_block_delta\"\n}",
    };

    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        sse_judge_init(&j, ENDPOINT_END_MESSAGES, 1);
        judge("", rows[i]);
        assert_string_equal(flags(), "F");
        assert_false(v.scanned);
    }
}

/* As members of chat are. */
static void words_are_found_however_spaced(void **state)
{
    static const struct {
        const char *data, *flags;
    } rows[] = {
        {"{\"choices\": [{\"finish_reason\": \"stop\"}]}", "E"},
        {"{ \"choices\" : [ { \"finish_reason\" : \"stop\" } ] }", "E"},
        {"{\"choices\": [{\"finish_reason\": null}]}", ""},
        {"{ \"error\" :\n{ \"message\" : \"x\" } }", "EX"},
        {"{\"choices\": [ ], \"usage\" :\t{\"a\": 1}}", "UO"},
        {"{\"choices\": [{}], \"usage\" :\t null}", "N"},
    };

    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        sse_judge_init(&j, ENDPOINT_END_CHAT, 1);
        j.content = true;
        judge("", rows[i].data);
        assert_string_equal(flags(), rows[i].flags);
    }
}

static void finish_and_usage_of_a_messages_stream(void **state)
{
    struct usage u = {0};

    (void)state; /* cmocka's */
    sse_judge_init(&j, ENDPOINT_END_MESSAGES, 1);
    judge("message_start", "{\"type\":\"message_start\",\"message\":{\"usage\":"
                           "{\"input_tokens\":9,\"output_tokens\":1}}}");
    assert_true(v.scanned && usage_from_scan(&u, &j.scan));
    judge("message_delta",
          "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":"
          "\"end_turn\"},\"usage\":{\"output_tokens\":7}}");
    assert_true(v.usage && v.scanned && usage_from_scan(&u, &j.scan));
    assert_true(str_eq(v.finish, STR("\"end_turn\"")));
    assert_int_equal(u.input, 9);
    assert_int_equal(u.output, 7);
    assert_string_equal(u.finish, "end_turn");
    judge("message_stop", "{\"type\":\"message_stop\"}");
    assert_true(v.ends);
}

static void blocks_without_data_mean_nothing(void **state)
{
    struct sse_event e = {.raw = STR(": ping\n\n")};

    (void)state; /* cmocka's */
    sse_judge_init(&j, ENDPOINT_END_CHAT, 0);
    sse_judge_event(&j, &e, &v);
    assert_string_equal(flags(), "");
    judge("", "");
    assert_string_equal(flags(), "B");
    assert_false(j.complete);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chat_stream_is_followed),
        cmocka_unit_test(chunks_of_usage_alone_are_known),
        cmocka_unit_test(words_inside_strings_mean_nothing),
        cmocka_unit_test(members_elsewhere_mean_nothing),
        cmocka_unit_test(every_choice_must_finish),
        cmocka_unit_test(completions_and_tools_count_as_content),
        cmocka_unit_test(errors_end_every_stream),
        cmocka_unit_test(nulls_are_no_errors),
        cmocka_unit_test(typed_streams_end_by_their_event),
        cmocka_unit_test(types_are_read_however_spaced),
        cmocka_unit_test(words_are_found_however_spaced),
        cmocka_unit_test(finish_and_usage_of_a_messages_stream),
        cmocka_unit_test(blocks_without_data_mean_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
