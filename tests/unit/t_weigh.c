/* t_weigh.c - What a request is taken to use before anything of it is sent. */
#include "admit/weigh.h"

#include "unit/cmocka_all.h"

#include <string.h>

#include "wire/jscan.h"

static uint64_t output_of(const char *json, unsigned n)
{
    struct jscan scan;

    assert_int_equal(jscan_run(&scan, str_from(json), &jscan_request, NULL),
                     ERR_OK);
    return weigh_output(&scan, n);
}

static void text_is_a_quarter_of_its_bytes(void **state)
{
    (void)state;
    assert_int_equal(weigh_input(STR("")), 0);
    assert_int_equal(weigh_input(STR("a")), 1);
    assert_int_equal(weigh_input(STR("abcd")), 1);
    assert_int_equal(weigh_input(STR("{\"input\":\"one two\"}")), 5);
    assert_int_equal(weigh_input(STR("\"\\u00e9\\n\\\\\"")), 3);
}

/* <n> bytes of base64, slashes as some write them, between two texts. */
static uint64_t with_file(size_t n)
{
    static char text[1 << 17];
    size_t len = 0;

    memcpy(text, "\"url\":\"", 7);
    len = 7;
    for (size_t i = 0; i < n; i++) {
        if (i % 64 == 63)
            text[len++] = '\\';
        text[len++] = i % 64 == 63 ? '/' : (char)('A' + i % 26);
    }
    memcpy(text + len, "==\", ok", 7);
    return weigh_input(str_of(text, len + 7));
}

static void files_count_nothing(void **state)
{
    (void)state;
    assert_int_equal(with_file(100000), (7 + 5 + 3) / 4);
    assert_int_equal(with_file(512), (7 + 512 + 8 + 2 + 5 + 3) / 4);
}

/* Of every byte whether it goes on with a word: what is long and has it in its
 * middle counts nothing, or all but that. */
static void words_are_of_base64_alone(void **state)
{
    static const char of_base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                    "abcdefghijklmnopqrstuvwxyz"
                                    "0123456789+/-_=";
    char text[2001];

    (void)state;
    for (int c = 0; c < 256; c++) {
        const bool goes_on = c != 0 && strchr(of_base64, c) != NULL;

        memset(text, 'A', sizeof(text));
        text[1000] = (char)c;
        assert_int_equal(weigh_input(str_of(text, sizeof(text))),
                         goes_on ? 0 : (sizeof(text) + 3) / 4);
    }
}

static void caps_and_choices_multiply(void **state)
{
    (void)state;
    assert_int_equal(output_of("{}", 1), 0);
    assert_int_equal(output_of("{\"max_tokens\":10}", 1), 10);
    assert_int_equal(output_of("{\"max_tokens\":10}", 3), 30);
    assert_int_equal(
        output_of("{\"max_tokens\":10,\"max_completion_tokens\":7}", 1), 10);
    assert_int_equal(output_of("{\"max_output_tokens\":1e3}", 1), 1000);
    assert_int_equal(output_of("{\"max_tokens\":10,\"best_of\":4}", 2), 40);
    assert_int_equal(output_of("{\"max_tokens\":null}", 2), 0);
}

static void odd_numbers_do_no_harm(void **state)
{
    (void)state;
    assert_int_equal(output_of("{\"max_tokens\":-5}", 1), 0);
    assert_int_equal(output_of("{\"max_tokens\":\"9\"}", 1), 0);
    assert_int_equal(output_of("{\"max_tokens\":0.5}", 1), 0);
    assert_true(output_of("{\"max_tokens\":99999999999999999999}", 1) ==
                INT64_MAX);
    assert_true(output_of("{\"max_tokens\":9223372036854775807}", 128) ==
                INT64_MAX);
    assert_true(output_of("{\"max_tokens\":1e300}", 1) == INT64_MAX);
    assert_int_equal(output_of("{\"max_tokens\":-1e300}", 1), 0);
    assert_true(output_of("{\"max_tokens\":5,\"best_of\":1e300}", 1) ==
                INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_a_quarter_of_its_bytes),
        cmocka_unit_test(files_count_nothing),
        cmocka_unit_test(words_are_of_base64_alone),
        cmocka_unit_test(caps_and_choices_multiply),
        cmocka_unit_test(odd_numbers_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
