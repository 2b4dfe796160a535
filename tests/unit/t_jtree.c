/* t_jtree.c - The tree of a body: equal to jansson's where jansson reads it,
 * and what becomes of numbers, half pairs and names that jansson refuses. */
#include "cmocka_all.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "engine/jtree.h"
#include "engine/params.h"

static struct params_fault why;

static enum err read_text(struct str text, enum jtree_twice twice, json_t **out)
{
    struct arena *mem = arena_new(4096, 1u << 20);
    /* The exact size, for a sanitizer to see what is read beyond. */
    char *copy = malloc(text.len + (text.len == 0));
    enum err e;

    assert_non_null(mem);
    assert_non_null(copy);
    memcpy(copy, text.p, text.len);
    memset(&why, 0, sizeof(why));
    *out = NULL;
    e = jtree_read(str_of(copy, text.len), twice, mem, &why, out);
    free(copy);
    arena_free(mem);
    return e;
}

static json_t *tree_of(const char *text)
{
    json_t *v = NULL;
    enum err e = read_text(str_from(text), JTREE_TWICE_REFUSED, &v);

    if (e != ERR_OK)
        fail_msg("%s: %s", text, why.text);
    return v;
}

/* --- as jansson has it -------------------------------------------------- */

static void a_tree_is_what_jansson_reads(void **state)
{
    static const char *const rows[] = {
        "{}",
        " { } \n",
        "{\"a\":[]}",
        "{\"a\" : [ 1 , -2,3.5 , 1e3,-0 , 0.0, 1E-2,-1.5e+2 ] }",
        "{\"a\":{\"b\":{\"c\":[[],[{}],{\"d\":[null,true,false]}]}},\"e\":0}",
        "{\"\":\"\",\"a b\":\"x\\n\\t\\\"\\\\\\/\\b\\f\\r\"}",
        "{\"k\\u0041\":\"\\u00e9\\ud83d\\ude00\\u0000z\"}",
        "{\"\xC3\xA9\":\"\xF0\x9F\x98\x80\xE2\x82\xAC\"}",
        "{\"a\":9223372036854775807,\"b\":-9223372036854775808}",
        "{\"a\":1.7976931348623157e308,\"b\":5e-324,\"c\":1e-400}",
        "{\"a\":\"\\\\\",\"b\":\"\\\\\\\"\",\"c\":[\"]\",\"}\"]}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *want = json_loads(rows[i], JSON_ALLOW_NUL, NULL);
        json_t *got = tree_of(rows[i]);

        assert_non_null(want);
        if (!json_equal(want, got))
            fail_msg("%s", rows[i]);
        json_decref(want);
        json_decref(got);
    }
}

static void members_keep_their_order(void **state)
{
    json_t *v = tree_of("{\"z\":1,\"a\":2,\"m\":3}");
    char *text = json_dumps(v, JSON_COMPACT);

    (void)state;
    assert_string_equal(text, "{\"z\":1,\"a\":2,\"m\":3}");
    free(text);
    json_decref(v);
}

/* --- beyond jansson ----------------------------------------------------- */

static void numbers_too_big_are_the_nearest_double(void **state)
{
    static const struct {
        const char *text;
        double want;
    } rows[] = {
        {"9223372036854775808", 0x1p63},
        {"-9223372036854775809", -0x1p63},
        {"18446744073709551615", 0x1p64},
        {"123456789012345678901234567890", 123456789012345678901234567890.0},
        {"1e400", DBL_MAX},
        {"-1e400", -DBL_MAX},
    };
    char big[1100];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *v;
        char text[80];

        snprintf(text, sizeof(text), "{\"a\":[%s]}", rows[i].text);
        v = tree_of(text);
        assert_true(json_real_value(json_array_get(json_object_get(v, "a"),
                                                   0)) == rows[i].want);
        json_decref(v);
    }
    memset(big, '7', sizeof(big));
    memcpy(big, "{\"a\":", 5);
    memcpy(big + 1000, "}", 2);
    json_t *v = tree_of(big);
    assert_true(json_real_value(json_object_get(v, "a")) == DBL_MAX);
    json_decref(v);
}

static void half_a_pair_is_a_replacement(void **state)
{
    json_t *v = tree_of("{\"a\":\"x\\ud800y\\udc00\"}");

    (void)state;
    assert_string_equal(json_string_value(json_object_get(v, "a")),
                        "x\xEF\xBF\xBDy\xEF\xBF\xBD");
    json_decref(v);
}

/* --- what is refused ---------------------------------------------------- */

static void a_name_stands_once(void **state)
{
    static const struct {
        const char *text, *param;
    } rows[] = {
        {"{\"a\":1,\"a\":1}", "a"},
        {"{\"a\":1,\"b\":2,\"\\u0061\":3}", "a"},
        {"{\"m\":[0,{\"x\":1,\"y\":{\"z\":1,\"z\":2}}]}", "m[1].y.z"},
        {"{\"m\":[[{\"x\":1,\"x\":2}]]}", "m[0][0].x"},
        {"{\"m\":{\"a\\u0000b\":1}}", "m.a"},
    };
    json_t *v;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(
            read_text(str_from(rows[i].text), JTREE_TWICE_REFUSED, &v),
            ERR_BAD_JSON);
        assert_null(v);
        assert_string_equal(why.param, rows[i].param);
        assert_non_null(strstr(why.text, "ambiguous member at byte"));
    }
    assert_int_equal(read_text(STR("{\"a\":1,\"b\":{\"c\":1,\"c\":2},\"a\":3}"),
                               JTREE_TWICE_LAST, &v),
                     ERR_OK);
    assert_int_equal(json_integer_value(json_object_get(v, "a")), 3);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(v, "b"), "c")), 2);
    json_decref(v);
}

/* A path that is longer than its room is cut, not written past it. */
static void a_long_path_is_cut(void **state)
{
    char text[4096] = "";
    size_t n = 0;
    json_t *v;

    (void)state;
    for (int i = 0; i < 30; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "{\"%.*s\":", 70,
                              "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"
                              "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn");
    n += (size_t)snprintf(text + n, sizeof(text) - n, "{\"a\":1,\"a\":2}");
    memset(text + n, '}', 30);
    n += 30;
    assert_int_equal(read_text(str_of(text, n), JTREE_TWICE_REFUSED, &v),
                     ERR_BAD_JSON);
    assert_true(strlen(why.param) == sizeof(why.param) - 1);
}

static void what_is_no_object_is_told_apart(void **state)
{
    static const char *const rows[] = {"[]", "1", "\"x\"", "null", "12"};
    static const char *const bad[] = {
        "",   "{", "{\"a\":}", "{\"a\":1,}", "{\"a\":01}", "{\"a\":\"\xFF\"}",
        "{}x"};
    json_t *v;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(read_text(str_from(rows[i]), JTREE_TWICE_REFUSED, &v),
                         ERR_BAD_JSON);
        assert_string_equal(why.text,
                            "The request body must be a JSON object.");
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(read_text(str_from(bad[i]), JTREE_TWICE_REFUSED, &v),
                         ERR_BAD_JSON);
        assert_non_null(strstr(why.text, "not valid JSON: "));
        assert_non_null(strstr(why.text, " at byte "));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tree_is_what_jansson_reads),
        cmocka_unit_test(members_keep_their_order),
        cmocka_unit_test(numbers_too_big_are_the_nearest_double),
        cmocka_unit_test(half_a_pair_is_a_replacement),
        cmocka_unit_test(a_name_stands_once),
        cmocka_unit_test(a_long_path_is_cut),
        cmocka_unit_test(what_is_no_object_is_told_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
