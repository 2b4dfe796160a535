/* t_answer_calls.c - Calls of tools as clients read them: whole and streamed,
 * and what of the text around them is content. */
#include "unit/answer_rig.h"

static const char call[] = "ok\n<tool_call>\n{\"name\": \"f\", \"arguments\": "
                           "{\"a\": [1, \"x\"]}}\n</tool_call>";

static void calls_are_read_out_of_the_text(void **state)
{
    struct rig r;
    json_t *v, *args;

    (void)state;
    rig_open(&r, (struct plan){.kind = ENDPOINT_CHAT,
                               .tools = true,
                               .style = TOOLCALL_HERMES});
    for (size_t i = 0; call[i]; i++) {
        const char one[2] = {call[i], 0};

        text(&r, 0, one);
    }
    finish(&r, 0, GEN_FINISH_STOP);
    assert_int_equal(answer_finish(r.a, &r.out), ERR_OK);
    v = body(&r);
    assert_string_equal(text_at(v, "choices.0.finish_reason"), "tool_calls");
    assert_string_equal(
        text_at(v, "choices.0.message.tool_calls.0.function.name"), "f");
    assert_int_equal(
        strncmp(text_at(v, "choices.0.message.tool_calls.0.id"), "call_", 5),
        0);
    args = json_loads(
        text_at(v, "choices.0.message.tool_calls.0.function.arguments"), 0,
        NULL);
    assert_string_equal(text_at(args, "a.1"), "x");
    assert_true(str_starts(str_from(text_at(v, "choices.0.message.content")),
                           STR("ok")));
    json_decref(args);
    json_decref(v);
    rig_close(&r);
}

static void a_streamed_call_has_name_then_arguments(void **state)
{
    char args[200] = "";
    struct rig r;
    json_t *v, *list = NULL;
    bool named = false;

    (void)state;
    rig_open(&r, (struct plan){.kind = ENDPOINT_CHAT,
                               .stream = true,
                               .tools = true,
                               .style = TOOLCALL_HERMES});
    for (size_t i = 0; i < strlen(call); i += 3) {
        char some[4] = "";

        memcpy(some, call + i, strnlen(call + i, 3));
        text(&r, 0, some);
    }
    finish(&r, 0, GEN_FINISH_STOP);
    assert_int_equal(answer_finish(r.a, &r.out), ERR_OK);
    v = events(&r);
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *d =
            at(json_array_get(v, i), "choices.0.delta.tool_calls.0");

        if (!d)
            continue;
        assert_int_equal(int_at(d, "index"), 0);
        assert_true(named == (at(d, "id") == NULL));
        if (!named)
            assert_string_equal(text_at(d, "function.name"), "f");
        named = true;
        snprintf(args + strlen(args), sizeof(args) - strlen(args), "%s",
                 text_at(d, "function.arguments"));
    }
    list = json_loads(args, 0, NULL);
    assert_string_equal(text_at(list, "a.1"), "x");
    json_decref(list);
    json_decref(v);
    rig_close(&r);
}

/* A call, and what a family may write behind it: the text may end anywhere in
 * there. */
static const struct tail {
    enum toolcall_style style;
    const char *call, *tail;
} tails[] = {
    {TOOLCALL_HERMES,
     "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}",
     "\n</tool_call>\n<tool_call>\n{\"nam"},
    {TOOLCALL_HERMES,
     "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\": 1}}</tool_call>",
     "<tool_call>{\"name\":"},
    {TOOLCALL_LLAMA3, "{\"name\": \"f\", \"parameters\": {\"a\": 1}}",
     "; {\"name\""},
    {TOOLCALL_LLAMA3,
     "<|python_tag|>{\"name\": \"f\", \"parameters\": {\"a\": 1}}",
     "\n<|python_tag|>{"},
    {TOOLCALL_MISTRAL,
     "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1}}",
     ", {\"name\": "},
    {TOOLCALL_MISTRAL,
     "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1}}", "]\n"},
    {TOOLCALL_MISTRAL, "[TOOL_CALLS]f[ARGS]{\"a\": 1}",
     "[TOOL_CALLS]g[CALL_ID]123456789[ARGS]"},
};

/* The content of all deltas, and the arguments of call 0, into <args> (80). */
static struct buf content_of(json_t *v, char *args)
{
    struct buf all;

    buf_init(&all, 1u << 16);
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *d = at(json_array_get(v, i), "choices.0.delta");
        const char *text = json_string_value(json_object_get(d, "content"));
        const json_t *one = at(d, "tool_calls.0");

        if (text)
            assert_int_equal(buf_put_str(&all, str_from(text)), ERR_OK);
        if (!one)
            continue;
        assert_int_equal(int_at(one, "index"), 0);
        snprintf(args + strlen(args), 80 - strlen(args), "%s",
                 text_at(one, "function.arguments"));
    }
    return all;
}

/* Send <all> in two parts, the first of <cut> bytes, or by bytes if it is 0,
 * and read what comes of it. */
static void check_tail(const struct tail *t, const char *all, size_t cut,
                       bool stream)
{
    struct rig r;
    struct buf content = {0};
    char args[80] = "";
    json_t *v;

    rig_open(&r, (struct plan){.kind = ENDPOINT_CHAT,
                               .stream = stream,
                               .tools = true,
                               .style = t->style});
    for (size_t i = 0, n = cut; all[i]; i += n, n = SIZE_MAX) {
        char part[256];

        n = cut == 0 ? 1 : n < strlen(all + i) ? n : strlen(all + i);
        snprintf(part, sizeof(part), "%.*s", (int)n, all + i);
        text(&r, 0, part);
    }
    finish(&r, 0, GEN_FINISH_STOP);
    assert_int_equal(answer_finish(r.a, &r.out), ERR_OK);
    if (stream) {
        v = events(&r);
        content = content_of(v, args);
        assert_string_equal(text_at(json_array_get(v, json_array_size(v) - 1),
                                    "choices.0.finish_reason"),
                            "tool_calls");
    } else {
        v = body(&r);
        snprintf(
            args, sizeof(args), "%s",
            text_at(v, "choices.0.message.tool_calls.0.function.arguments"));
        assert_true(json_is_null(at(v, "choices.0.message.content")));
        assert_null(at(v, "choices.0.message.tool_calls.1"));
    }
    if (content.len > 0)
        fail_msg("%s, cut at %zu: content \"%.*s\"", all, cut,
                 STR_ARG(buf_str(&content)));
    assert_string_equal(args, "{\"a\": 1}");
    buf_fini(&content);
    json_decref(v);
    rig_close(&r);
}

static void what_closes_a_call_is_never_content(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(tails) / sizeof(tails[0]); i++)
        for (size_t n = 0; n <= strlen(tails[i].tail); n++) {
            const struct tail *t = &tails[i];
            char all[256];

            snprintf(all, sizeof(all), "%s%.*s", t->call, (int)n, t->tail);
            for (size_t cut = 0; cut <= strlen(all); cut++)
                check_tail(t, all, cut, true);
            check_tail(t, all, 0, false);
            check_tail(t, all, strlen(all), false);
        }
}

/* Words behind a call are no tag: they are told, and the tag is not. */
static void words_behind_a_call_are_content(void **state)
{
    static const char all[] = "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\""
                              ": 1}}</tool_call></b> done";
    struct rig r;
    char args[80] = "";
    struct buf content;
    json_t *v;

    (void)state;
    rig_open(&r, (struct plan){.kind = ENDPOINT_CHAT,
                               .stream = true,
                               .tools = true,
                               .style = TOOLCALL_HERMES});
    for (size_t i = 0; all[i]; i++) {
        const char one[2] = {all[i], 0};

        text(&r, 0, one);
    }
    finish(&r, 0, GEN_FINISH_STOP);
    assert_int_equal(answer_finish(r.a, &r.out), ERR_OK);
    v = events(&r);
    content = content_of(v, args);
    assert_true(str_eq(buf_str(&content), STR("</b> done")));
    buf_fini(&content);
    json_decref(v);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_read_out_of_the_text),
        cmocka_unit_test(a_streamed_call_has_name_then_arguments),
        cmocka_unit_test(what_closes_a_call_is_never_content),
        cmocka_unit_test(words_behind_a_call_are_content),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
