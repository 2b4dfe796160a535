/* t_grammar_tools.c - Tool calls in the styles of the families: what is a
 * call, what is text, and that there is no way between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "unit/grammar_kit.h"

static const char tools_text[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{"
    "\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"integer\"}},"
    "\"required\":[\"x\"],\"additionalProperties\":false}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"fg\"}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"any\",\"parameters\":{"
    "\"type\":\"object\",\"propertyNames\":{}}}}]";

#define CALL_F  "{\"name\": \"f\", \"arguments\": {\"x\": 1}}"
#define CALL_FG "{\"name\":\"fg\",\"arguments\":{}}"
#define CALL_3  "{\"name\": \"any\", \"arguments\": {\"q\": [1]}}"
#define BAD_F   "{\"name\": \"f\", \"arguments\": {\"y\": 1}}"
#define H(c)    "<tool_call>\n" c "\n</tool_call>"
#define LLAMA_F "{\"name\": \"f\", \"parameters\": {\"x\": 1}}"

/* One way to ask, and texts; '\1' and '\2' stand for the two marker tokens. */
static const struct row {
    enum toolcall_style style;
    const char *only;
    bool required, parallel;
    const char *good[12], *bad[16];
} rows[] = {
    {TOOLCALL_HERMES,
     NULL,
     true,
     true,
     {H(CALL_F), H(CALL_FG), H(CALL_3), H(CALL_F) "\n" H(CALL_FG),
      H(CALL_F) H(CALL_F), "<tool_call>" CALL_F "</tool_call>"},
     {"", "x", "hello " H(CALL_F), H(BAD_F), CALL_F, "<tool_call>",
      "<tool_call>\n" CALL_F, H(CALL_F) " x", H("{\"name\": \"g\"}"),
      H(CALL_F) "\n"}},
    {TOOLCALL_HERMES,
     NULL,
     false,
     false,
     {"", "Hello.", "a < b <tool", "<tool_cal>", "<<tool_cal", H(CALL_F),
      "Let me see. " H(CALL_F), "\xff\xfe",
      "<tool_<tool_call>\n" CALL_F "\n</tool_call>", "\2 is shown"},
     {"<tool_call>", "<tool_call>x", H(BAD_F), H(CALL_F) H(CALL_F),
      H(CALL_F) "\nand", "<tool_<tool_call>x", "<tool_call>\n{}"}},
    {TOOLCALL_HERMES, "fg", true, false, {H(CALL_FG)}, {H(CALL_F), H(CALL_3)}},
    {TOOLCALL_LLAMA3,
     NULL,
     true,
     false,
     {LLAMA_F, "\2" LLAMA_F, "{ \"name\": \"f\", \"parameters\": {\"x\": 1}}"},
     {"", "x", CALL_F, "{}", LLAMA_F ";" LLAMA_F, "\1" LLAMA_F}},
    {TOOLCALL_LLAMA3,
     NULL,
     false,
     true,
     {"", "Hello", "{", "{\"na", "{\"nam\": 1}", "{ }", "{\"value\": 3}",
      LLAMA_F, "\2" LLAMA_F, "x" LLAMA_F, "{  \"name\": 3"},
     {"{\"name\"", "{\"name\": \"g\"}", "{ \"name\":1",
      "{\"name\": \"f\", \"parameters\": {\"y\": 1}}", LLAMA_F " and",
      "\2 text"}},
    {TOOLCALL_MISTRAL,
     NULL,
     true,
     true,
     {"[TOOL_CALLS] [" CALL_F "]", "\1[" CALL_F ", " CALL_FG "]",
      "\1 [" CALL_F ",\n" CALL_F "]", "[TOOL_CALLS][" CALL_3 "]"},
     {"[" CALL_F "]", "\1[]", "\1" CALL_F, "\1[" CALL_F "] x", "x",
      "\2[" CALL_F "]", "\1[" BAD_F "]"}},
    {TOOLCALL_MISTRAL,
     NULL,
     false,
     false,
     {"", "text [TOOL", "\1[" CALL_F "]", "so: \1 [" CALL_F "]",
      "[[TOOL_CALLS] [" CALL_F "]"},
     {"\1", "\1x", "[TOOL_CALLS]x", "\1[" CALL_F "," CALL_F "]",
      "\1[" CALL_F "]\1"}},
};

/* As kit_reads(), with marker tokens. */
static int reads(struct grammar *g, const char *text)
{
    struct grammar_state *s = grammar_start(g);
    int out = 1;

    assert_non_null(s);
    for (; *text && out > 0; text++) {
        int32_t id = *text == '\1'   ? KIT_TOOL_CALLS
                     : *text == '\2' ? KIT_PYTHON
                                     : (uint8_t)*text;
        uint64_t mask[16] = {0};
        bool in;
        grammar_mask(s, mask);
        in = mask[id / 64] >> id % 64 & 1;
        out = grammar_accept(s, id) ? 1 : -1;
        assert_int_equal(in, out == 1);
    }
    out = out > 0 ? grammar_may_end(s) : out;
    grammar_state_free(s);
    return out;
}

static void test_styles(void **state)
{
    json_t *tools = json_loads(tools_text, 0, NULL);
    struct kit k;

    (void)state;
    assert_non_null(tools);
    kit_init_usual(&k);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct grammar_tools t = {.style = rows[i].style,
                                  .tools = tools,
                                  .only = str_from(rows[i].only),
                                  .required = rows[i].required,
                                  .parallel = rows[i].parallel};
        struct grammar_fault why;
        struct grammar *g = NULL;
        if (grammar_from_tools(k.ix, &t, &why, &g))
            fail_msg("%zu: %s %s", i, why.param, why.text);
        for (size_t j = 0; rows[i].good[j]; j++)
            if (reads(g, rows[i].good[j]) != 1)
                fail_msg("%zu: not %s", i, rows[i].good[j]);
        for (size_t j = 0; rows[i].bad[j]; j++)
            if (reads(g, rows[i].bad[j]) == 1)
                fail_msg("%zu: took %s", i, rows[i].bad[j]);
        grammar_unref(g);
    }
    json_decref(tools);
    kit_fini(&k);
}

/* What is written when a call is required has a name and arguments. */
static void test_written(void **state)
{
    json_t *tools = json_loads(tools_text, 0, NULL);
    struct grammar_tools t = {
        .style = TOOLCALL_LLAMA3, .tools = tools, .required = true};
    struct grammar_fault why;
    struct grammar *g = NULL;
    char text[9000];
    struct kit k;

    (void)state;
    kit_init_usual(&k);
    assert_int_equal(grammar_from_tools(k.ix, &t, &why, &g), ERR_OK);
    for (uint64_t seed = 0; seed < 300; seed++) {
        json_t *call;
        char *from;
        assert_true(kit_write(&k, g, seed, text, sizeof(text), 200));
        from = strchr(text, '{');
        call = json_loads(from ? from : "", 0, NULL);
        if (!json_is_string(json_object_get(call, "name")) ||
            !json_is_object(json_object_get(call, "parameters")))
            fail_msg("%s", text);
        json_decref(call);
    }
    grammar_unref(g);
    json_decref(tools);
    kit_fini(&k);
}

static void test_refused(void **state)
{
    static const struct {
        const char *tools, *only, *param;
        enum err err;
    } bad[] = {
        {"[]", NULL, "", ERR_SYNTAX},
        {"{}", NULL, "", ERR_SYNTAX},
        {"[{\"type\":\"function\"}]", NULL, "0.function.name", ERR_SYNTAX},
        {"[{\"function\":{\"name\":\"f\"}}]", "g", "", ERR_NOT_FOUND},
        {"[{\"function\":{\"name\":\"a\"}},{\"function\":{\"name\":\"f\","
         "\"strict\":true,\"parameters\":{\"type\":\"object\",\"properties\":{"
         "\"x\":{\"multipleOf\":2}}}}}]",
         NULL, "1.function.parameters.properties.x.multipleOf", ERR_REFUSED},
        {"[{\"function\":{\"name\":\"f\",\"parameters\":{\"type\":3}}}]", NULL,
         "0.function.parameters.type", ERR_SYNTAX},
    };
    struct kit k;

    (void)state;
    kit_init_usual(&k);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        json_t *tools = json_loads(bad[i].tools, 0, NULL);
        struct grammar_tools t = {.style = TOOLCALL_HERMES,
                                  .tools = tools,
                                  .only = str_from(bad[i].only)};
        struct grammar_fault why;
        struct grammar *g = NULL;
        assert_int_equal(grammar_from_tools(k.ix, &t, &why, &g), bad[i].err);
        assert_string_equal(why.param, bad[i].param);
        assert_null(g);
        t.style = TOOLCALL_NONE;
        assert_int_equal(grammar_from_tools(k.ix, &t, &why, &g), ERR_REFUSED);
        json_decref(tools);
    }
    kit_fini(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_styles),
        cmocka_unit_test(test_written),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests_name("grammar_tools", tests, NULL, NULL);
}
