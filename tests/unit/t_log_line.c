/* t_log_line.c - How a log line looks, whatever it is made to say. */
#include "base/log_line.h"

#include "unit/cmocka_all.h"

#include <jansson.h>
#include <stdio.h>

/* Format <text> and compare what follows the fixed part with <want>. */
static void check_line(struct str text, bool json, const char *want)
{
    struct log_line l = {.level = LOG_LEVEL_WARN, .cat = LOG_ROUTE};
    char out[LOG_LINE_SIZE + 1];
    size_t len;

    l.text = text;
    len = log_line_format(&l, json, out);
    assert_true(len <= LOG_LINE_SIZE);
    out[len] = 0;
    assert_string_equal(out, want);
}

#define T  "1970-01-01T00:00:00.000Z"
#define TX T " warn  route    "
#define TJ                                                                     \
    "{\"time\":\"" T "\",\"level\":\"warn\",\"part\":\"route\",\"text\":\""

static void escapes_what_could_forge_a_line(void **state)
{
    (void)state;
    check_line(STR("up: n=1"), false, TX "up: n=1\n");
    check_line(STR("a\nb\r\t\x1b[1m\x7f"), false,
               TX "a\\nb\\x0d\\x09\\x1b[1m\\x7f\n");
    check_line(STR("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80"), false,
               TX "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\n");
    check_line(STR("\xff\xc3(\xe2\x82"), false, TX "\\xff\\xc3(\\xe2\\x82\n");
    check_line(STR("\xc2\x9b\xe2\x80\xae\xe2\x80\xa8"), false,
               TX "\\u{9b}\\u{202e}\\u{2028}\n");
    check_line(STR("a\\n\"q\""), false, TX "a\\\\n\"q\"\n");
    check_line(str_of("a\0b", 3), false, TX "a\\x00b\n");
    check_line(STR("a\n\"q\" \\ \xff\xc2\x9b"), true,
               TJ "a\\\\n\\\"q\\\" \\\\\\\\ \\\\xff\\\\u{9b}\"}\n");
}

static void every_byte_pair_makes_valid_json(void **state)
{
    struct log_line l = {.context = STR("c\"\x01")};
    char out[LOG_LINE_SIZE], in[2];

    (void)state;
    l.text = str_of(in, 2);
    for (int a = 0; a < 256; a++) {
        for (int b = 0; b < 256; b++) {
            json_t *j;

            in[0] = (char)a;
            in[1] = (char)b;
            j = json_loadb(out, log_line_format(&l, true, out), 0, NULL);
            if (!j)
                fail_msg("bytes %02x %02x", a, b);
            json_decref(j);
        }
    }
}

static void cuts_long_text_between_characters(void **state)
{
    char in[LOG_LINE_SIZE * 2], out[LOG_LINE_SIZE];
    struct log_line l = {.text = str_of(in, sizeof(in))};
    size_t len;

    (void)state;
    for (size_t i = 0; i < sizeof(in); i += 2)
        memcpy(in + i, "\xc3\xa9", 2);
    len = log_line_format(&l, false, out);
    assert_in_range(len, LOG_LINE_SIZE - 30, LOG_LINE_SIZE);
    assert_memory_equal(out + len - 6, "\xc3\xa9...\n", 6);
    memset(in, 1, sizeof(in));
    len = log_line_format(&l, true, out);
    assert_in_range(len, LOG_LINE_SIZE - 30, LOG_LINE_SIZE);
    assert_memory_equal(out + len - 11, "\\\\x01...\"}\n", 11);
}

static void levels_have_names(void **state)
{
    enum log_level level = LOG_LEVEL_COUNT;

    (void)state;
    for (int i = 0; i < LOG_LEVEL_COUNT; i++) {
        assert_true(log_level_parse(str_from(log_level_name((enum log_level)i)),
                                    &level));
        assert_int_equal(level, i);
    }
    assert_true(log_level_parse(STR("Warning"), &level));
    assert_int_equal(level, LOG_LEVEL_WARN);
    assert_true(log_level_parse(STR("error"), &level));
    assert_int_equal(level, LOG_LEVEL_ERR);
    assert_false(log_level_parse(STR("loud"), &level));
    assert_false(log_level_parse(STR(""), &level));
    for (int i = 0; i < LOG_CAT_COUNT; i++)
        assert_non_null(log_cat_name((enum log_cat)i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes_what_could_forge_a_line),
        cmocka_unit_test(every_byte_pair_makes_valid_json),
        cmocka_unit_test(cuts_long_text_between_characters),
        cmocka_unit_test(levels_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
