/* t_toolcall.c - Tool calls in generated text: each row whole, at every cut in
 * two, and byte by byte must tell the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "token/toolcall.h"

/* What was told so far, as text: T(...) B0(name) A(...) E0. */
struct told {
    struct buf log;
    enum toolcall_kind last;
    bool open;
};

static void put(struct told *t, const char *text)
{
    assert_int_equal(buf_put_str(&t->log, str_from(text)), ERR_OK);
}

static void close_run(struct told *t)
{
    if (t->open)
        put(t, ")");
    t->open = false;
}

static void on_piece(enum toolcall_kind kind, unsigned index, struct str text,
                     void *arg)
{
    struct told *t = arg;
    char head[32];

    if (!t->open || t->last != kind || kind == TOOLCALL_BEGIN) {
        close_run(t);
        if (kind == TOOLCALL_TEXT)
            snprintf(head, sizeof(head), "T(");
        else
            snprintf(head, sizeof(head), "%c%u%s", "TBAE"[kind], index,
                     kind == TOOLCALL_END ? "" : "(");
        put(t, head);
    }
    assert_int_equal(buf_put_str(&t->log, text), ERR_OK);
    t->last = kind;
    t->open = kind != TOOLCALL_END;
}

/* Read <text> in pieces: up to <cut>, then by <step> bytes. */
static char *read_all(enum toolcall_style style, struct str text, size_t cut,
                      size_t step)
{
    struct toolcall_reader *r = toolcall_reader_new(style);
    struct told t = {.open = false};

    assert_non_null(r);
    buf_init(&t.log, (size_t)1 << 24);
    while (text.len > 0) {
        size_t n = cut > 0 ? cut : step;

        n = n < text.len ? n : text.len;
        assert_int_equal(toolcall_read(r, str_of(text.p, n), on_piece, &t),
                         ERR_OK);
        text = str_skip(text, n);
        cut = 0;
    }
    assert_int_equal(toolcall_finish(r, on_piece, &t), ERR_OK);
    close_run(&t);
    assert_int_equal(buf_put(&t.log, "", 1), ERR_OK);
    toolcall_reader_free(r);
    return t.log.p;
}

struct row {
    enum toolcall_style style;
    const char *text, *want;
};

#define H TOOLCALL_HERMES
#define L TOOLCALL_LLAMA3
#define M TOOLCALL_MISTRAL

static const struct row rows[] = {
    {H, "hello", "T(hello)"},
    {H, "", ""},
    {H,
     "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": [1, \"}\"]}}\n"
     "</tool_call>",
     "B0(f)A0({\"a\": [1, \"}\"]})E0"},
    {H,
     "Hi <b>\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n"
     "<tool_call>{\"name\":\"g\",\"arguments\":{\"x\":\"\\\"\\\\\"}}"
     "</tool_call>\nbye\n",
     "T(Hi <b>\n)B0(f)A0({})E0B1(g)A1({\"x\":\"\\\"\\\\\"})E1T(\nbye\n)"},
    {H, "<tool_call>{\"arguments\":{\"a\":1},\"name\":\"f\"}</tool_call>",
     "B0(f)A0({\"a\":1})E0"},
    {H, "<tool_call>{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}",
     "B0(f)A0({\"a\":1})E0"},
    {H, "<tool_call>{\"name\":\"f\"}</tool_call>", "B0(f)A0({})E0"},
    {H,
     "<tool_call>{\"id\":{\"name\":\"x\"},\"name\":\"f\\u00e9\","
     "\"arguments\":null}</tool_call>",
     "B0(f\xC3\xA9)A0({})E0"},
    {H,
     "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":1},\"id\":\"7\"}"
     "</tool_call>",
     "B0(f)A0({\"a\":1})E0"},
    /* no calls */
    {H, "<tool_cal", "T(<tool_cal)"},
    {H, "<tool_call>", "T(<tool_call>)"},
    {H, "<tool_call>text</tool_call>", "T(<tool_call>text</tool_call>)"},
    {H, "<tool_call>{\"nam\":\"f\"}</tool_call>",
     "T(<tool_call>{\"nam\":\"f\"}</tool_call>)"},
    {H, "<tool_call>{\"name\":5}", "T(<tool_call>{\"name\":5})"},
    {H, "<tool_call>{\"name\":\"\",\"arguments\":{}}",
     "T(<tool_call>{\"name\":\"\",\"arguments\":{}})"},
    {H, "<tool_call>{\"name\":\"f\",\"arguments\":[1]}",
     "T(<tool_call>{\"name\":\"f\",\"arguments\":[1]})"},
    {H, "<tool_call>{\"name\":\"f\",\"argu",
     "T(<tool_call>{\"name\":\"f\",\"argu)"},
    {H, "<tool_call><tool_call>{\"name\":\"f\",\"arguments\":{}}",
     "T(<tool_call>)B0(f)A0({})E0"},
    {H, "<<tool_call>{\"name\":\"f\"}", "T(<)B0(f)A0({})E0"},
    {H, "{\"name\":\"f\",\"arguments\":{}}",
     "T({\"name\":\"f\",\"arguments\":{}})"},
    /* broken and unfinished calls */
    {H, "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":[1}}",
     "B0(f)A0({\"a\":[1)T(}})"},
    {H, "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"b",
     "B0(f)A0({\"a\":\"b)"},
    {H, "<tool_call>{\"name\":\"f\",\"arguments\":{}", "B0(f)A0({})E0"},
    {H, "<tool_call>{\"name\":\"f\",\"arguments\":{}} x", "B0(f)A0({})E0T( x)"},
    {H, "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_x",
     "B0(f)A0({})E0T(</tool_x)"},
    {H, "<tool_call>{\"name\":\"f\",\"arguments\":{},]}</tool_call>",
     "B0(f)A0({})T(,]}</tool_call>)"},
    /* Llama 3 */
    {L, "{\"name\": \"f\", \"parameters\": {\"a\": 1}}",
     "B0(f)A0({\"a\": 1})E0"},
    {L,
     "\n<|python_tag|>{\"type\":\"function\",\"name\":\"f\","
     "\"parameters\":{}}; {\"name\":\"g\",\"parameters\":{\"b\":2}}",
     "T(\n)B0(f)A0({})E0B1(g)A1({\"b\":2})E1"},
    {L, " {\"name\": \"f\"}", "T( {\"name\": \"f\"})"},
    {L, "{\"answer\": 5}", "T({\"answer\": 5})"},
    {L, "x {\"name\": \"f\", \"parameters\": {}}",
     "T(x {\"name\": \"f\", \"parameters\": {}})"},
    {L, "<|python_tag|>brave_search.call(query=\"x\")",
     "T(<|python_tag|>brave_search.call(query=\"x\"))"},
    {L, "{\"name\":\"f\",\"parameters\":{}}; more", "B0(f)A0({})E0T(; more)"},
    /* Mistral */
    {M,
     "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": 1}}, "
     "{\"name\": \"g\", \"arguments\": {}, \"id\": \"abcdefghi\"}]",
     "B0(f)A0({\"a\": 1})E0B1(g)A1({})E1"},
    {M,
     "ok[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]g[CALL_ID]123456789"
     "[ARGS]{}",
     "T(ok)B0(f)A0({\"a\": 1})E0B1(g)A1({})E1"},
    {M, "[TOOL_CALLS]f{\"a\": 1}", "B0(f)A0({\"a\": 1})E0"},
    {M, "[{\"name\": \"f\", \"arguments\": {}}] rest", "B0(f)A0({})E0T( rest)"},
    {M, "[1, 2]", "T([1, 2])"},
    {M, "[TOOL_CALLS] []", "T([TOOL_CALLS] [])"},
    {M, "[TOOL_CALLS]f[ARG]{}", "T([TOOL_CALLS]f[ARG]{})"},
    {M, "[TOOL_CALLS]f[ARGS]x{}", "T([TOOL_CALLS]f[ARGS]x{})"},
    {M, "[TOOL_CALLS]f[ARGS]x", "T([TOOL_CALLS]f[ARGS]x)"},
    {M, "[TOOL_CALLS]f[AR", "T([TOOL_CALLS]f[AR)"},
    {TOOLCALL_NONE, "<tool_call>{\"name\":\"f\",\"arguments\":{}}",
     "T(<tool_call>{\"name\":\"f\",\"arguments\":{}})"},
};

static void check_row(const struct row *row)
{
    struct str text = str_from(row->text);

    for (size_t cut = 0; cut <= text.len + 1; cut++) {
        size_t step = cut == text.len + 1 ? 1 : text.len;
        char *got = read_all(row->style, text, step == 1 ? 0 : cut,
                             step > 0 ? step : 1);

        if (strcmp(got, row->want) != 0)
            print_error("%s, cut at %zu\n", row->text, cut);
        assert_string_equal(got, row->want);
        free(got);
    }
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        check_row(&rows[i]);
}

/* Arguments are told as they come, not when the call is whole. */
static void test_deltas(void **state)
{
    static const char *const pieces[] = {
        "<tool_call>{\"name\":\"f\",\"arguments\"",
        ":",
        "{\"a",
        "\":1",
        "}",
        "}</tool_call>"};
    static const char *const want[] = {"",     "",  "B0(f)A0({\"a",
                                       "\":1", "}", ")E0"};
    struct toolcall_reader *r = toolcall_reader_new(H);
    struct told t = {.open = false};
    size_t at = 0;

    (void)state;
    buf_init(&t.log, 4096);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(toolcall_read(r, str_from(pieces[i]), on_piece, &t),
                         ERR_OK);
        assert_true(
            str_eq(str_of(t.log.p + at, t.log.len - at), str_from(want[i])));
        at = t.log.len;
    }
    assert_int_equal(toolcall_count(r), 1);
    toolcall_reader_free(r);
    buf_fini(&t.log);
}

/* What is held is bounded, and comes out whole. */
static void test_hold(void **state)
{
    size_t len = 200000;
    char *text = malloc(len + 1), *got;

    (void)state;
    assert_non_null(text);
    memset(text, 'x', len);
    text[len] = '\0';
    memcpy(text, "<tool_call>{\"a\":\"", 17);
    for (size_t step = 1; step <= len; step = step * 7 + 3) {
        got = read_all(H, str_of(text, len), 0, step);
        assert_int_equal(strlen(got), len + 3);
        assert_memory_equal(got + 2, text, len);
        free(got);
    }
    free(text);
}

static void test_styles(void **state)
{
    static const struct {
        const char *source;
        enum toolcall_style want;
    } sources[] = {
        {"{{ messages }}", TOOLCALL_NONE},
        {"<tool_call>\\n{\"name\": <function-name>, \"arguments\": ", H},
        {"{{ '[TOOL_CALLS] [' }}", M},
        {"{{ \"<|python_tag|>\" }}", L},
        {"<tool_call>\\n<function=example>", TOOLCALL_NONE},
        {"<tool_call>{name}\\n<arg_key>", TOOLCALL_NONE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
        assert_int_equal(toolcall_style_of(str_from(sources[i].source)),
                         sources[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_deltas),
        cmocka_unit_test(test_hold),
        cmocka_unit_test(test_styles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
