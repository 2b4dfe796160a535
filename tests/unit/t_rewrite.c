/* t_rewrite.c - Generated text is counted in each dialect, however its JSON is
 * spaced, and only once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "relay/rewrite.h"

struct row {
    enum endpoint_end kind;
    size_t want;
    const char *data; /* compact JSON */
};

static const struct row rows[] = {
    {ENDPOINT_END_CHAT, 0, ""},
    {ENDPOINT_END_CHAT, 0, "[DONE]"},
    {ENDPOINT_END_CHAT, 0,
     "{\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null}}]}"},
    {ENDPOINT_END_CHAT, 5,
     "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":"
     "{\"role\":\"assistant\",\"content\":\"Hello\"}}]}"},
    {ENDPOINT_END_CHAT, 4, /* each choice of a chunk */
     "{\"choices\":[{\"delta\":{\"content\":\"abc\"}},"
     "{\"index\":1,\"delta\":{\"content\":\"d\"}}]}"},
    {ENDPOINT_END_CHAT, 3, "{\"choices\":[{\"text\":\"abc\"}]}"},
    {ENDPOINT_END_CHAT, 4,
     "{\"choices\":[{\"delta\":{\"reasoning_content\":\"hmmm\"}}]}"},
    {ENDPOINT_END_CHAT, 4,
     "{\"choices\":[{\"delta\":{\"reasoning\":\"hmmm\"}}]}"},
    {ENDPOINT_END_CHAT, 2, "{\"choices\":[{\"delta\":{\"refusal\":\"No\"}}]}"},
    {ENDPOINT_END_CHAT, 9,
     "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"function\":"
     "{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}}]}}]}"},
    {ENDPOINT_END_CHAT, 17, /* words inside of text are no members */
     "{\"choices\":[{\"delta\":{\"content\":\"\\\"text\\\":\\\"x\\\",\\\\\"}}"
     "]}"},
    {ENDPOINT_END_CHAT, 0, /* values are no names */
     "{\"a\":\"content\",\"b\":[\"text\",\"x\"],\"c\":\"delta\"}"},
    {ENDPOINT_END_CHAT, 0,
     "{\"choices\":[{\"logprobs\":{\"content\":[{\"token\":\"ab\"}]}}]}"},
    {ENDPOINT_END_MESSAGES, 2,
     "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
     "{\"type\":\"text_delta\",\"text\":\"Hi\"}}"},
    {ENDPOINT_END_MESSAGES, 3,
     "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
     "{\"type\":\"thinking_delta\",\"thinking\":\"Mmm\"}}"},
    {ENDPOINT_END_MESSAGES, 7,
     "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":"
     "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":\"}}"},
    {ENDPOINT_END_RESPONSES, 4,
     "{\"type\":\"response.output_text.delta\",\"delta\":\"Hiya\"}"},
    {ENDPOINT_END_RESPONSES, 2,
     "{\"type\":\"response.function_call_arguments.delta\",\"delta\":\"{}\"}"},
    {ENDPOINT_END_RESPONSES, 0, /* said before, piece by piece */
     "{\"type\":\"response.output_text.done\",\"text\":\"Hiya\"}"},
    {ENDPOINT_END_RESPONSES, 0,
     "{\"type\":\"response.function_call_arguments.done\","
     "\"arguments\":\"{}\"}"},
    {ENDPOINT_END_TRANSCRIPT, 2,
     "{\"type\":\"transcript.text.delta\",\"delta\":\"Hi\"}"},
    {ENDPOINT_END_TRANSCRIPT, 0,
     "{\"type\":\"transcript.text.done\",\"text\":\"Hi\"}"},
    {ENDPOINT_END_NONE, 2, "{\"delta\":\"Hi\"}"},
};

static char *put(char *to, const char *bytes, size_t len)
{
    memcpy(to, bytes, len);
    return to + len;
}

/* <data> with <space> before and after each punctuation outside of strings. */
static void put_spaced(const char *data, const char *space, char *to)
{
    bool inside = false;

    for (; *data; data++) {
        size_t pad = !inside && strchr("{}[]:,", *data) ? strlen(space) : 0;

        if (*data == '"')
            inside = !inside;
        to = put(to, space, pad);
        to = put(to, data, 1);
        to = put(to, space, pad);
        if (inside && *data == '\\')
            to = put(to, ++data, 1);
    }
    *to = '\0';
}

static void text_is_counted_however_spaced(void **state)
{
    static const char *const spaces[] = {"", " ", "\n\t", "\r\n  "};
    char text[2048];

    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (size_t k = 0; k < sizeof(spaces) / sizeof(spaces[0]); k++) {
            size_t got;

            put_spaced(rows[i].data, spaces[k], text);
            got = rewrite_text_bytes(str_from(text), rows[i].kind);
            if (got != rows[i].want)
                fail_msg("%s: %zu, not %zu", text, got, rows[i].want);
        }
    }
}

/* Data cut anywhere is read to its end and not beyond. */
static void torn_data_is_no_harm(void **state)
{
    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = strlen(rows[i].data);

        for (size_t n = 0; n <= len; n++) {
            char *copy = malloc(n > 0 ? n : 1); /* for the sanitizer */

            assert_non_null(copy);
            memcpy(copy, rows[i].data, n);
            assert_true(rewrite_text_bytes(str_of(copy, n), rows[i].kind) <=
                        rows[i].want);
            free(copy);
        }
    }
}

/* Tokens of long texts are reckoned by what they may be at most; a short one
 * is one token. */
static void tokens_are_reckoned(void **state)
{
    static const struct {
        size_t want;
        const char *text;
    } texts[] = {
        {0, ""},
        {1, "Hi"},
        {1, " internationalization"},
        {1, "                          "},
        {10, "word word word word word"
             " "},
        {30, "123456789012345678901234567890"},
        {27, "\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5"
             "\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5\xe6\x97\xa5"},
        {16, "if (a[0] == b) { return c; }"},
    };
    char data[512];

    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        size_t got;

        snprintf(data, sizeof(data),
                 "{\"choices\":[{\"delta\":{\"content\":\"%s\"}}]}",
                 texts[i].text);
        got = rewrite_text_tokens(str_from(data), ENDPOINT_END_CHAT);
        if (got != texts[i].want)
            fail_msg("%s: %zu, not %zu", texts[i].text, got, texts[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_counted_however_spaced),
        cmocka_unit_test(torn_data_is_no_harm),
        cmocka_unit_test(tokens_are_reckoned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
