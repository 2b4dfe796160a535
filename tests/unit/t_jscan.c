/* t_jscan.c - The JSON scanner: verdicts, places, limits, readers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/jscan.h"

#include "lib/json_cases.h"

static struct jscan s;

/* A copy that ends where memory does, so that sanitizers see over-reads. */
static char *tight(const char *text, size_t len)
{
    char *p = malloc(len ? len : 1);

    assert_non_null(p);
    memcpy(p, text, len);
    return p;
}

static enum err scan(const char *text, const struct jtable *table)
{
    return jscan_run(&s, str_from(text), table, NULL);
}

static void check_slice(struct str got, const char *want)
{
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.p, want, got.len);
}

static void corpus_gets_its_verdicts(void **state)
{
    int wrong = 0;

    (void)state; /* cmocka's */
    for (int i = 0; i < JSON_CASES; i++) {
        const struct json_case *c = &json_cases[i];
        char *p = tight(c->text, c->len);
        bool valid = jscan_run(&s, str_of(p, c->len), NULL, NULL) == ERR_OK;
        bool told = valid ? !s.reason : s.reason && s.err_at <= c->len;
        if (valid != c->valid || !told) {
            printf("%s: got %d (%s at %zu)\n", c->name, valid,
                   s.reason ? s.reason : "-", s.err_at);
            wrong++;
        }
        free(p);
    }
    assert_int_equal(wrong, 0);
    assert_true(JSON_CASES >= 150);
}

/* A valid text is valid at any place within a vector. */
static void verdict_does_not_depend_on_alignment(void **state)
{
    char text[512];

    (void)state; /* cmocka's */
    for (int i = 0; i < JSON_CASES; i++) {
        for (size_t pad = 0; pad < 33; pad++) {
            const struct json_case *c = &json_cases[i];
            if (!c->valid)
                continue;
            size_t n =
                (size_t)snprintf(text, sizeof(text), "[\"%*s\",", (int)pad, "");
            memcpy(text + n, c->text, c->len);
            n += c->len;
            text[n++] = ']';
            char *p = tight(text, n);
            assert_true(jscan_is_valid(str_of(p, n)));
            free(p);
        }
    }
}

static void errors_tell_where_and_why(void **state)
{
    static const struct {
        const char *text;
        size_t at;
        const char *reason;
    } rows[] = {
        {"", 0, "empty text"},
        {"{\"a\":1,}", 7, "expected a string as key"},
        {"{\"a\" 1}", 5, "expected ':' after a key"},
        {"[1 2]", 3, "expected ',' or ']'"},
        {"{\"a\":1 2}", 7, "expected ',' or '}'"},
        {"{} x", 3, "bytes after the value"},
        {"[1}", 2, "'}' closes an array"},
        {"{\"a\":1]", 6, "']' closes an object"},
        {"[\"a\x01\"]", 3, "control character in string"},
        {"[\"\\x\"]", 3, "invalid escape in string"},
        {"[\"\\u12x4\"]", 6, "invalid \\u escape in string"},
        {"[\"ab\xFF\"]", 4, "invalid UTF-8 in string"},
        {"[\"ab", 4, "unterminated string"},
        {"[1,", 3, "unterminated array"},
        {"{\"a\":1", 6, "unterminated object"},
        {"[01]", 2, "leading zero in a number"},
        {"[1.x]", 3, "expected a digit in a number"},
        {"[NaN]", 1, "expected a value"},
    };

    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(scan(rows[i].text, NULL), ERR_BAD_JSON);
        assert_int_equal(s.err_at, rows[i].at);
        assert_string_equal(s.reason, rows[i].reason);
    }
}

static void members_of_a_request_are_found(void **state)
{
    (void)state; /* cmocka's */
    assert_int_equal(
        scan(" { \"messages\" : [ {\"role\":\"user\",\"model\":\"no\"} ] ,\n"
             "\"mo\\u0064el\":\"gpt-5\", \"stream\":true,"
             "\"stream_options\":{\"x\":{\"include_usage\":1},"
             "\"include_usage\":false},\"n\":2,\"max_tokens\":null,"
             "\"metadata\":{\"n\":7,\"n\":8}} ",
             &jscan_request),
        ERR_OK);
    assert_int_equal(s.root.type, JT_OBJECT);
    assert_int_equal(s.root.value.p - s.text.p, 1);
    assert_int_equal(s.root.value.len, s.text.len - 2);
    check_slice(s.m[JREQ_MODEL].value, "\"gpt-5\"");
    check_slice(s.m[JREQ_MODEL].key, "\"mo\\u0064el\"");
    check_slice(s.m[JREQ_MESSAGES].value,
                "[ {\"role\":\"user\",\"model\":\"no\"} ]");
    assert_int_equal(s.m[JREQ_MESSAGES].type, JT_ARRAY);
    assert_int_equal(s.m[JREQ_STREAM].type, JT_TRUE);
    check_slice(s.m[JREQ_STREAM].value, "true");
    assert_int_equal(s.m[JREQ_INCLUDE_USAGE].type, JT_FALSE);
    check_slice(s.m[JREQ_INCLUDE_USAGE].value, "false");
    check_slice(s.m[JREQ_N].value, "2");
    assert_int_equal(s.m[JREQ_MAX_TOKENS].type, JT_NULL);
    assert_int_equal(s.m[JREQ_BEST_OF].type, JT_NONE);
}

static void members_of_a_reply_are_found_last_wins(void **state)
{
    (void)state; /* cmocka's */
    assert_int_equal(
        scan("{\"type\":\"response.completed\",\"response\":{\"model\":\"a\","
             "\"usage\":{\"input_tokens\":1},\"incomplete_details\":"
             "{\"reason\":\"max\"}},"
             "\"response\":{\"id\":\"r\",\"status\":\"completed\"},"
             "\"error\":null,\"error\":{\"m\":1}}",
             &jscan_reply),
        ERR_OK);
    assert_int_equal(s.m[JREP_RESPONSE_MODEL].type, JT_NONE);
    assert_int_equal(s.m[JREP_RESPONSE_USAGE].type, JT_NONE);
    assert_int_equal(s.m[JREP_RESPONSE_REASON].type, JT_NONE);
    check_slice(s.m[JREP_RESPONSE_STATUS].value, "\"completed\"");
    check_slice(s.m[JREP_ERROR].value, "{\"m\":1}");
}

static void other_types_at_the_top_are_told(void **state)
{
    (void)state; /* cmocka's */
    assert_int_equal(scan("[{\"model\":\"x\"}]", &jscan_request), ERR_OK);
    assert_int_equal(s.root.type, JT_ARRAY);
    assert_int_equal(s.m[JREQ_MODEL].type, JT_NONE);
    assert_int_equal(scan("\"model\"", &jscan_request), ERR_OK);
    assert_int_equal(s.root.type, JT_STRING);
    check_slice(s.root.value, "\"model\"");
}

static void duplicate_keys_of_requests_are_refused(void **state)
{
    static const struct {
        const char *text;
        size_t at;
    } rows[] = {
        {"{\"model\":1,\"model\":2}", 11},
        {"{\"model\":1,\"mo\\u0064el\":2}", 11},
        {"{\"\\u006dodel\":1,\"model\":2}", 16},
        {"{\"zzz\":1,\"model\":0,\"zzz\":1}", 19},
        {"{\"a\\/b\":1,\"a/b\":1}", 10},
        {"{\"\\ud83d\\ude00\":1,\"\xF0\x9F\x98\x80\":1}", 18},
        {"{\"\":1,\"\":1}", 6},
        {"{\"\\u0000\":1,\"\\u0000\":1}", 12},
        {"{\"stream_options\":{\"a\":1,\"a\":1}}", 25},
        {"{\"stream_options\":{\"include_usage\":1,"
         "\"include_usag\\u0065\":1}}",
         37},
    };

    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(scan(rows[i].text, &jscan_request), ERR_BAD_PARAM);
        assert_int_equal(s.err_at, rows[i].at);
        assert_ptr_equal(s.dup_key.p, rows[i].text + rows[i].at);
        assert_string_equal(s.reason, "duplicate key");
        assert_int_equal(scan(rows[i].text, &jscan_reply), ERR_OK);
    }
}

static void equal_keys_of_different_objects_are_fine(void **state)
{
    (void)state; /* cmocka's */
    assert_int_equal(scan("{\"a\":{\"a\":1},\"stream_options\":{\"a\":1},"
                          "\"messages\":[{\"a\":1,\"a\":1}],\"b\":1,"
                          "\"\\ud800\":1,\"\\ud801\":1}",
                          &jscan_request),
                     ERR_OK);
}

static void keys_that_only_fold_to_known_ones_are_refused(void **state)
{
    static const char *const rows[] = {
        "{\"Model\":1}",
        "{\"model\":1,\"MODEL\":2}",
        ("{\"max_to\xE2\x84\xAA"
         "ens\":1}"),
        "{\"max_token\\u017f\":1}",
        "{\"stream_options\":{\"Include_Usage\":true}}",
    };

    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(scan(rows[i], &jscan_request), ERR_BAD_PARAM);
        assert_int_equal(scan(rows[i], &jscan_reply), ERR_OK);
    }
    assert_int_equal(
        scan("{\"Modell\":1,\"mode\":1,\"A\":1,\"a\":1}", &jscan_request),
        ERR_OK);
}

static void keys_of_a_request_are_limited(void **state)
{
    char text[8192];

    (void)state; /* cmocka's */
    for (int more = 0; more < 2; more++) {
        size_t n = 1;
        text[0] = '{';
        for (int i = 0; i < JSCAN_KEYS_MAX + more; i++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "\"k%d\":0,", i);
        text[n - 1] = '}';
        assert_int_equal(jscan_run(&s, str_of(text, n), &jscan_request, NULL),
                         more ? ERR_BAD_PARAM : ERR_OK);
    }
    assert_string_equal(s.reason, "too many keys");
}

static void depth_is_limited(void **state)
{
    static char text[4100];
    static const unsigned limits[] = {1, 63, 64, 65, 128, 1024, 9999};

    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        unsigned most = limits[i] > 1024 ? 1024 : limits[i];
        struct jscan_limits l = {.depth = limits[i]};
        for (unsigned depth = most; depth <= most + 1; depth++) {
            memset(text, '[', depth);
            memset(text + depth, ']', depth);
            assert_int_equal(jscan_run(&s, str_of(text, 2 * depth), NULL, &l),
                             depth == most ? ERR_OK : ERR_BAD_JSON);
        }
        assert_string_equal(s.reason, "nested too deeply");
        assert_int_equal(s.err_at, most);
    }
    memset(text, '[', 129);
    assert_int_equal(jscan_run(&s, str_of(text, 129), NULL, NULL),
                     ERR_BAD_JSON);
    assert_int_equal(s.err_at, 128);
}

/* The stack of bits must tell arrays from objects at every level. */
static void mixed_nesting_is_followed(void **state)
{
    char text[2048];
    size_t n = 0;

    (void)state; /* cmocka's */
    for (int i = 0; i < 120; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s",
                              i % 3 == 0 ? "{\"a\":" : "[");
    text[n++] = '1';
    for (int i = 119; i >= 0; i--)
        text[n++] = i % 3 == 0 ? '}' : ']';
    assert_true(jscan_is_valid(str_of(text, n)));
    text[n - 50] = text[n - 50] == '}' ? ']' : '}';
    assert_false(jscan_is_valid(str_of(text, n)));
}

static void values_are_limited(void **state)
{
    struct jscan_limits l = {.values = 4};

    (void)state; /* cmocka's */
    assert_int_equal(jscan_run(&s, STR("[1,{\"a\":2}]"), NULL, &l), ERR_OK);
    assert_int_equal(s.values, 4);
    assert_int_equal(jscan_run(&s, STR("[1,{\"a\":2},3]"), NULL, &l),
                     ERR_BAD_JSON);
    assert_string_equal(s.reason, "too many values");
}

static void integers_are_exact(void **state)
{
    static const struct {
        const char *text;
        enum err err;
        int64_t value;
    } rows[] = {
        {"0", ERR_OK, 0},
        {"-0", ERR_OK, 0},
        {"-0.0e5", ERR_OK, 0},
        {"1", ERR_OK, 1},
        {"2147483648", ERR_OK, INT64_C(1) << 31},
        {"9007199254740993", ERR_OK, INT64_C(9007199254740993)},
        {"9223372036854775807", ERR_OK, INT64_MAX},
        {"9223372036854775808", ERR_RANGE, 0},
        {"18446744073709551617", ERR_RANGE, 0},
        {"1e19", ERR_RANGE, 0},
        {"1e99999999999999999999", ERR_RANGE, 0},
        {"-1", ERR_RANGE, 0},
        {"-1e400", ERR_RANGE, 0},
        {"-9223372036854775808", ERR_RANGE, 0},
        {"1e3", ERR_OK, 1000},
        {"1E+3", ERR_OK, 1000},
        {"1.0", ERR_OK, 1},
        {"1.5e1", ERR_OK, 15},
        {"2.50e1", ERR_OK, 25},
        {"100e-2", ERR_OK, 1},
        {"1000e-4", ERR_BAD_PARAM, 0},
        {"0.001e3", ERR_OK, 1},
        {"0e999999999999", ERR_OK, 0},
        {"0.0", ERR_OK, 0},
        {"9.223372036854775807e18", ERR_OK, INT64_MAX},
        {"9.223372036854775808e18", ERR_RANGE, 0},
        {"92233720368547758070e-1", ERR_OK, INT64_MAX},
        {"1.5", ERR_BAD_PARAM, 0},
        {"-1.5", ERR_BAD_PARAM, 0},
        {"1e-1", ERR_BAD_PARAM, 0},
        {"1e-99999999999999999999", ERR_BAD_PARAM, 0},
        {"\"5\"", ERR_BAD_PARAM, 0},
        {"null", ERR_BAD_PARAM, 0},
        {"true", ERR_BAD_PARAM, 0},
        {"[1]", ERR_BAD_PARAM, 0},
    };

    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t got = -7;
        assert_int_equal(scan(rows[i].text, NULL), ERR_OK);
        enum err e = jval_uint(&s.root, &got);
        if (e != rows[i].err)
            printf("%s: %s\n", rows[i].text, err_name(e));
        assert_int_equal(e, rows[i].err);
        assert_int_equal(got, e == ERR_OK ? rows[i].value : -7);
    }
}

static void strings_are_unescaped(void **state)
{
    static const struct {
        const char *text, *want;
        size_t len;
    } rows[] = {
        {"\"\"", "", 0},
        {"\"abc\"", "abc", 3},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
        {"\"a\\u0000b\"", "a\0b", 3},
        {"\"\\u00e9\\u20AC\"", "\xC3\xA9\xE2\x82\xAC", 5},
        {"\"\\ud83d\\ude00\"", "\xF0\x9F\x98\x80", 4},
        {"\"\\ud800\"", "\xEF\xBF\xBD", 3},
        {"\"\\ud800\\ud83d\\ude00\"", "\xEF\xBF\xBD\xF0\x9F\x98\x80", 7},
        {"\"\\udc00\\ud800\"", "\xEF\xBF\xBD\xEF\xBF\xBD", 6},
        {"\"\\ud800\\n\"", "\xEF\xBF\xBD\n", 4},
        {"\"\xC3\xA9\\n\"", "\xC3\xA9\n", 3},
    };
    struct arena *a = arena_new(256, 1 << 16);
    struct str got;

    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char small[16];
        size_t len = 99;
        assert_int_equal(scan(rows[i].text, NULL), ERR_OK);
        assert_int_equal(jval_str(&s.root, rows[i].len, a, &got), ERR_OK);
        assert_int_equal(got.len, rows[i].len);
        assert_memory_equal(got.p, rows[i].want, got.len);
        assert_int_equal(jval_copy(&s.root, small, rows[i].len, &len), ERR_OK);
        assert_int_equal(len, rows[i].len);
        if (rows[i].len == 0)
            continue;
        assert_int_equal(jval_str(&s.root, rows[i].len - 1, a, &got),
                         ERR_RANGE);
        assert_int_equal(jval_copy(&s.root, small, rows[i].len - 1, &len),
                         ERR_RANGE);
    }
    assert_int_equal(scan("17", NULL), ERR_OK);
    assert_int_equal(jval_str(&s.root, 9, a, &got), ERR_BAD_PARAM);
    arena_free(a);
}

static void booleans_are_read(void **state)
{
    bool b = false;

    (void)state; /* cmocka's */
    assert_int_equal(scan("true", NULL), ERR_OK);
    assert_int_equal(jval_bool(&s.root, &b), ERR_OK);
    assert_true(b);
    assert_int_equal(scan("1", NULL), ERR_OK);
    assert_int_equal(jval_bool(&s.root, &b), ERR_BAD_PARAM);
}

static void names_are_compared_unescaped(void **state)
{
    (void)state; /* cmocka's */
    assert_true(jval_is(STR("\"model\""), STR("model")));
    assert_true(jval_is(STR("\"\\u006Dodel\""), STR("model")));
    assert_false(jval_is(STR("\"mode\""), STR("model")));
    assert_false(jval_is(STR("\"modelx\""), STR("model")));
    assert_false(jval_is(STR("\"mode\\n\""), STR("model")));
    assert_false(jval_is(STR("\"model\\u0000\""), STR("model")));
    assert_true(jval_is(STR("\"\""), STR("")));
    assert_true(jval_is(STR("\"a\\\\b\""), STR("a\\b")));
    assert_false(jval_is(STR("\"\\\\\""), STR("\\\\")));
}

static void paths_are_walked(void **state)
{
    static const char text[] =
        " {\"a\" : {\"b\":[10, {\"c\":\"]}\\\"\",\"d\":null} ,[ ]]},"
        "\"\":1,\"a.b\":2, \"e\":3,\"e\":4,\"\\u0066\":5} ";
    static const struct {
        const char *path, *want;
    } rows[] = {
        {"a.b.0", "10"},
        {"a.b.1.c", "\"]}\\\"\""},
        {"a.b.1.d", "null"},
        {"a.b.2", "[ ]"},
        {"a.b.3", NULL},
        {"a.b.x", NULL},
        {"a.b.1.c.d", NULL},
        {"zz", NULL},
        {"e", "4"},
        {"f", "5"},
        {"a.b.00000001", "{\"c\":\"]}\\\"\",\"d\":null}"},
    };

    (void)state; /* cmocka's */
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct jmember m = jscan_find(str_from(text), rows[i].path);
        if (!rows[i].want)
            assert_int_equal(m.type, JT_NONE);
        else
            check_slice(m.value, rows[i].want);
    }
    assert_int_equal(jscan_find(str_from(text), "").type, JT_OBJECT);
    assert_int_equal(jscan_find(STR(""), "a").type, JT_NONE);
    assert_int_equal(jscan_find(STR(" "), "a").type, JT_NONE);
}

/* Readers must stay inside text that was never validated. */
static void readers_survive_every_prefix(void **state)
{
    static const char text[] =
        "{\"a\\u00e9\":[1,\"x\\\"\",{\"b\":\"\\ud83d\\ude00\"}],\"c\":-1.5e3}";

    (void)state; /* cmocka's */
    for (size_t n = 0; n < sizeof(text); n++) {
        char *p = tight(text, n);
        struct jmember m = jscan_find(str_of(p, n), "a.2.b");
        m = jscan_find(str_of(p, n), "c");
        assert_true(m.type == JT_NONE || m.value.p + m.value.len <= p + n);
        assert_int_equal(jscan_is_valid(str_of(p, n)), n == sizeof(text) - 1);
        free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(corpus_gets_its_verdicts),
        cmocka_unit_test(verdict_does_not_depend_on_alignment),
        cmocka_unit_test(errors_tell_where_and_why),
        cmocka_unit_test(members_of_a_request_are_found),
        cmocka_unit_test(members_of_a_reply_are_found_last_wins),
        cmocka_unit_test(other_types_at_the_top_are_told),
        cmocka_unit_test(duplicate_keys_of_requests_are_refused),
        cmocka_unit_test(equal_keys_of_different_objects_are_fine),
        cmocka_unit_test(keys_that_only_fold_to_known_ones_are_refused),
        cmocka_unit_test(keys_of_a_request_are_limited),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(mixed_nesting_is_followed),
        cmocka_unit_test(values_are_limited),
        cmocka_unit_test(integers_are_exact),
        cmocka_unit_test(strings_are_unescaped),
        cmocka_unit_test(booleans_are_read),
        cmocka_unit_test(names_are_compared_unescaped),
        cmocka_unit_test(paths_are_walked),
        cmocka_unit_test(readers_survive_every_prefix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
