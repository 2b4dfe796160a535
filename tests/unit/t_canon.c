/* t_canon.c - Canonical text: what is the same is one text, what differs is
 * not, and what is left out is left out there alone. */
#include "wire/canon.h"

#include "unit/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/jscan.h"

#define OUT_CAP (1 << 22)

static void canon_of(const char *json, const struct canon_skip *skip,
                     struct buf *out)
{
    const struct str text = str_from(json);

    assert_true(jscan_is_valid(text));
    buf_init(out, OUT_CAP);
    assert_int_equal(canon_put(text, skip, out), ERR_OK);
}

/* <json> is written <want>, which is its own canonical text. */
static void is(const char *json, const char *want)
{
    struct buf got, again;

    canon_of(json, NULL, &got);
    if (!str_eq(buf_str(&got), str_from(want)))
        fail_msg("%s\ngot  %.*s\nwant %s", json, STR_ARG(buf_str(&got)), want);
    buf_init(&again, OUT_CAP);
    assert_true(jscan_is_valid(buf_str(&got)));
    assert_int_equal(canon_put(buf_str(&got), NULL, &again), ERR_OK);
    assert_true(str_eq(buf_str(&again), buf_str(&got)));
    buf_fini(&got);
    buf_fini(&again);
}

static void differ(const char *a, const char *b)
{
    struct buf ca, cb;

    canon_of(a, NULL, &ca);
    canon_of(b, NULL, &cb);
    if (str_eq(buf_str(&ca), buf_str(&cb)))
        fail_msg("%s and %s are both %.*s", a, b, STR_ARG(buf_str(&ca)));
    buf_fini(&ca);
    buf_fini(&cb);
}

static void numbers_are_their_value(void **state)
{
    static const char *const same[][8] = {
        {"1", "1.0", "1e0", "10e-1", "0.1e1", "1E+0", "1.000", "100E-2"},
        {"0", "0.0", "-0", "0e5", "-0.0E-7", "0e999999999999999999999", "0",
         "0.000e+1"},
        {"7e-1", "0.7", "7E-1", "0.70", "70e-2", "0.07e1", "7e-0001", "700e-3"},
        {"-25e-1", "-2.5", "-2.50", "-25E-1", "-0.25e1", "-250e-2", "-25e-01",
         "-2.5e0"},
        {"100", "1e2", "100.0", "1.00e2", "10e1", "100e0", "0.1e3", "1000e-1"},
        {"1e3", "1000", "1000.0", "10e2", "0.001e6", "1E3", "1e+03", "100e1"},
        {"1e400", "10e399", "0.1e401", "1E400", "1.0e400", "100e398",
         "1e0000000000000000000000400", "0.01e402"},
        {"9007199254740993", "9007199254740993.0", "9007199254740993e0",
         "900719925474099.3e1", "90071992547409930e-1", "9007199254740993.00",
         "9.007199254740993e15", "9007199254740993E0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        for (size_t k = 0; k < 8; k++)
            is(same[i][k], same[i][0]);
}

static void numbers_that_differ_do(void **state)
{
    static const char *const all[] = {"0.1",
                                      "0.10000000000000001",
                                      "1",
                                      "-1",
                                      "10",
                                      "100",
                                      "1000",
                                      "1e400",
                                      "1e401",
                                      "1e-400",
                                      "0",
                                      "9007199254740992",
                                      "9007199254740993",
                                      "1e99999999999999999999",
                                      "1e99999999999999999998",
                                      "1e-99999999999999999999",
                                      "1e100000000000000000",
                                      "\"1\"",
                                      "null",
                                      "true",
                                      "[1]"};
    const size_t n = sizeof(all) / sizeof(all[0]);

    (void)state;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            differ(all[i], all[k]);
}

/* A number of a million digits and a power of a million digits. */
static void long_numbers_do_no_harm(void **state)
{
    const size_t n = 1000000;
    char *text = malloc(n + 8), *zeros = malloc(n + 8);
    struct buf a;

    (void)state;
    assert_non_null(text);
    assert_non_null(zeros);
    memset(text, '9', n);
    memcpy(text, "1e", 2);
    text[n] = 0;
    is(text, text);
    memset(zeros, '0', n);
    memcpy(zeros, "0.", 2);
    memcpy(zeros + n, "1", 2);
    canon_of(zeros, NULL, &a);
    assert_true(str_eq(buf_str(&a), STR("1e-999999")));
    buf_fini(&a);
    free(text);
    free(zeros);
}

static void strings_are_their_text(void **state)
{
    (void)state;
    is("\"abc\"", "\"abc\"");
    is("\"\\u0061\\u0062c\"", "\"abc\"");
    is("\"a\\/b\"", "\"a/b\"");
    is("\"\\u00e9\"", "\"\xc3\xa9\"");
    is("\"\\uD83D\\uDE00\"", "\"\xf0\x9f\x98\x80\"");
    is("\"\\n\\r\\t\\b\\f\\\\\\\"\"", "\"\\n\\r\\t\\b\\f\\\\\\\"\"");
    is("\"\\u000a\\u000D\\u0009\\u0008\\u000c\\u005c\\u0022\"",
       "\"\\n\\r\\t\\b\\f\\\\\\\"\"");
    is("\"\\u0000\\u001F\\u007f\"", "\"\\u0000\\u001f\x7f\"");
    is("\"\\uD83D\"", "\"\\ud83d\"");
    is("\"\\uDE00\\uD83D\"", "\"\\ude00\\ud83d\"");
    is("\"\\uD83Dx\\u0078\"", "\"\\ud83dxx\"");
    is("\"\"", "\"\"");
    differ("\"\\uD83D\"", "\"\\uFFFD\"");
    differ("\"a\"", "\"A\"");
    differ("\"a\"", "\"a \"");
    differ("\"\xc3\xa9\"", "\"e\xcc\x81\""); /* not normalised */
    differ("\"\\u0000\"", "\"\"");
}

static void space_and_order_mean_nothing(void **state)
{
    (void)state;
    is(" { } ", "{}");
    is("[ ]", "[]");
    is("\t{\"b\" : 1 ,\r\n\"a\":[ 1 , 2,{\"d\":null, \"c\" :true} ]}\n",
       "{\"a\":[1,2,{\"c\":true,\"d\":null}],\"b\":1}");
    is("{\"a\":1,\"\\u0041\":2}", "{\"A\":2,\"a\":1}");
    is("{\"ab\":1,\"a\":2,\"a b\":3,\"\":4}",
       "{\"\":4,\"a\":2,\"a b\":3,\"ab\":1}");
    is("{\"c\":{\"z\":{},\"y\":[]},\"b\":{\"x\":1},\"a\":[[],{}]}",
       "{\"a\":[[],{}],\"b\":{\"x\":1},\"c\":{\"y\":[],\"z\":{}}}");
    differ("[1,2]", "[2,1]");
    differ("{\"a\":null}", "{}");
    differ("{\"a\":[]}", "{\"a\":{}}");
    differ("{\"a\":{\"b\":1}}", "{\"a\":{},\"b\":1}");
    differ("[[1],2]", "[[1,2]]");
}

static void refuses(const char *json, enum err want)
{
    struct buf out;

    buf_init(&out, OUT_CAP);
    assert_int_equal(buf_put(&out, "x", 1), ERR_OK);
    assert_int_equal(canon_put(str_from(json), NULL, &out), want);
    assert_true(str_eq(buf_str(&out), STR("x")));
    buf_fini(&out);
}

static void two_of_a_name_have_none(void **state)
{
    (void)state;
    refuses("{\"a\":1,\"a\":1}", ERR_BAD_PARAM);
    refuses("{\"a\":1,\"b\":2,\"\\u0061\":1}", ERR_BAD_PARAM);
    refuses("{\"b\":1,\"x\":[{\"k\":0,\"\":2,\"k\":1}]}", ERR_BAD_PARAM);
}

static void what_is_no_json_is_seen(void **state)
{
    static const char *const bad[] = {
        "",      " ",          "{",         "[1",       "{\"a\"}", "{\"a\":",
        "[1}",   "{\"a\":1]",  "1 2",       "[] []",    "{1:2}",   "\"abc",
        "wrong", "\"\\\x01\"", "[\"a\\\"]", "{\"a\" 1}"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        refuses(bad[i], ERR_BAD_JSON);
}

/* Members m0.. in an order that is no order, and sorted. */
static void many_members_are_sorted(void **state)
{
    enum { MANY = 5000 };
    struct buf a, b, ca, cb;

    (void)state;
    buf_init(&a, OUT_CAP);
    buf_init(&b, OUT_CAP);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(buf_printf(&a, "%c\"m%u\":%u", i ? ',' : '{',
                                    i * 7919 % MANY, i * 7919 % MANY),
                         ERR_OK);
        assert_int_equal(
            buf_printf(&b, "%c\"m%u\" : %u.0", i ? ',' : '{', i, i), ERR_OK);
    }
    assert_int_equal(buf_put(&a, "}", 2), ERR_OK);
    assert_int_equal(buf_put(&b, "}", 2), ERR_OK);
    canon_of(a.p, NULL, &ca);
    canon_of(b.p, NULL, &cb);
    assert_true(ca.len > 0 && str_eq(buf_str(&ca), buf_str(&cb)));
    a.p[a.len - 2] = ',';
    a.len--;
    assert_int_equal(buf_put(&a, "\"m4999\":0}", 11), ERR_OK);
    refuses(a.p, ERR_BAD_PARAM);
    buf_fini(&a);
    buf_fini(&b);
    buf_fini(&ca);
    buf_fini(&cb);
}

/* Objects of <deep> levels, each with its members the wrong way round. */
static void nest(struct buf *b, unsigned deep, size_t fill)
{
    buf_init(b, OUT_CAP);
    for (unsigned i = 0; i < deep; i++)
        assert_int_equal(buf_printf(b, "{\"b\":%u,\"a\":", i), ERR_OK);
    assert_int_equal(buf_printf(b, "\"%0*d\"", (int)fill, 0), ERR_OK);
    for (unsigned i = 0; i < deep; i++)
        assert_int_equal(buf_put(b, "}", 1), ERR_OK);
    assert_int_equal(buf_put(b, "", 1), ERR_OK);
}

static void depth_is_bounded(void **state)
{
    struct buf b, out;

    (void)state;
    nest(&b, CANON_DEPTH, 1);
    canon_of(b.p, NULL, &out);
    buf_fini(&out);
    buf_fini(&b);
    nest(&b, CANON_DEPTH + 1, 1);
    refuses(b.p, ERR_RANGE);
    buf_fini(&b);
}

/* A megabyte that every level would copy again. */
static void copying_is_bounded(void **state)
{
    struct buf b, out;

    (void)state;
    nest(&b, 60, 1 << 20);
    canon_of(b.p, NULL, &out);
    buf_fini(&out);
    buf_fini(&b);
    nest(&b, CANON_DEPTH, 1 << 20);
    refuses(b.p, ERR_RANGE);
    buf_fini(&b);
}

static void output_is_bounded(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 10);
    assert_int_equal(canon_put(STR("[1,2,3,4,5,6]"), NULL, &out), ERR_NOMEM);
    assert_int_equal(out.len, 0);
    assert_int_equal(canon_put(STR("[1,2,3]"), NULL, &out), ERR_OK);
    buf_fini(&out);
}

/* ---- what is left out -------------------------------------------------- */

static void table_of(struct canon_skip *skip, const char *const *paths)
{
    memset(skip, 0, sizeof(*skip));
    for (; *paths; paths++)
        assert_int_equal(canon_skip_add(skip, str_from(*paths)), ERR_OK);
}

static void skips(const char *json, const char *want)
{
    static const char *const paths[] = {
        "user",      "metadata",          "input[].id", "a.b.c",
        "m[].n[].o", "system[x-billing]", "all[]",      NULL};
    struct canon_skip skip;
    struct buf got;

    table_of(&skip, paths);
    canon_of(json, &skip, &got);
    if (!str_eq(buf_str(&got), str_from(want)))
        fail_msg("%s\ngot  %.*s\nwant %s", json, STR_ARG(buf_str(&got)), want);
    buf_fini(&got);
}

static void members_are_left_out(void **state)
{
    (void)state;
    skips("{\"user\":\"x\"}", "{}");
    skips("{\"\\u0075ser\":[1,{}],\"z\":1,\"metadata\":{\"a\":1}}",
          "{\"z\":1}");
    skips("{\"z\":1,\"user\":2,\"b\":3}", "{\"b\":3,\"z\":1}");
    skips("{\"User\":1,\"users\":2}", "{\"User\":1,\"users\":2}");
    skips("{\"x\":{\"user\":1},\"y\":[{\"metadata\":2}]}",
          "{\"x\":{\"user\":1},\"y\":[{\"metadata\":2}]}");
    skips("[{\"user\":1}]", "[{\"user\":1}]");
    skips("{\"a\":{\"b\":{\"c\":1,\"d\":2},\"c\":3},\"b\":{\"c\":4}}",
          "{\"a\":{\"b\":{\"d\":2},\"c\":3},\"b\":{\"c\":4}}");
    skips("{\"a\":[{\"b\":{\"c\":1}}]}", "{\"a\":[{\"b\":{\"c\":1}}]}");
    skips("{\"m\":[{\"n\":[{\"o\":1,\"p\":2},3]},{\"n\":{\"o\":4}}]}",
          "{\"m\":[{\"n\":[{\"p\":2},3]},{\"n\":{\"o\":4}}]}");
}

static void ids_go_where_there_is_content(void **state)
{
    (void)state;
    skips(
        "{\"input\":[{\"id\":\"msg_1\",\"role\":\"user\",\"content\":\"x\"}]}",
        "{\"input\":[{\"content\":\"x\",\"role\":\"user\"}]}");
    skips("{\"input\":[{\"call_id\":\"c\",\"id\":\"fc_1\"}]}",
          "{\"input\":[{\"call_id\":\"c\"}]}");
    skips("{\"input\":[{\"id\":\"rs_1\",\"encrypted_content\":\"e\"}]}",
          "{\"input\":[{\"encrypted_content\":\"e\"}]}");
    skips("{\"input\":[{\"id\":\"rs_1\",\"encrypted_content\":null}]}",
          "{\"input\":[{\"encrypted_content\":null,\"id\":\"rs_1\"}]}");
    skips("{\"input\":[{\"id\":\"rs_1\",\"summary\":[ ]}]}",
          "{\"input\":[{\"id\":\"rs_1\",\"summary\":[]}]}");
    skips("{\"input\":[{\"id\":\"rs_1\",\"summary\":[{}]}]}",
          "{\"input\":[{\"summary\":[{}]}]}");
    skips("{\"input\":[{\"type\":\"item_reference\",\"id\":\"msg_1\"}]}",
          "{\"input\":[{\"id\":\"msg_1\",\"type\":\"item_reference\"}]}");
    skips("{\"input\":[{\"id\":\"msg_1\"}]}",
          "{\"input\":[{\"id\":\"msg_1\"}]}");
    skips("{\"input\":{\"id\":\"x\",\"content\":1}}",
          "{\"input\":{\"content\":1,\"id\":\"x\"}}");
    skips("{\"input\":[{\"content\":[{\"id\":1}],\"id\":2}]}",
          "{\"input\":[{\"content\":[{\"id\":1}]}]}");
}

static void lines_are_left_out(void **state)
{
    (void)state;
    skips("{\"system\":[{\"type\":\"text\",\"text\":\"x-billing: a=1;\"},"
          "{\"type\":\"text\",\"text\":\"Be kind.\"}]}",
          "{\"system\":[{\"text\":\"Be kind.\",\"type\":\"text\"}]}");
    skips("{\"system\":[\"x-billing: a\\n\",\"b\"]}", "{\"system\":[\"b\"]}");
    skips("{\"system\":[\"x-billing: a\"]}", "{\"system\":[]}");
    skips("{\"system\":\"x-billing: a\"}", "{\"system\":\"x-billing: a\"}");
    skips("{\"system\":[\"x-billing: a\\nb\"]}",
          "{\"system\":[\"x-billing: a\\nb\"]}");
    skips("{\"system\":[\"x-billing\",\"x-billing a\",\"x-billing\\u003a "
          "b\\r\\n\",1]}",
          "{\"system\":[1]}");
    skips("{\"system\":[\"x-billings: a\",\" x-billing: a\",\"x-billing-b\"]}",
          "{\"system\":[\"x-billings: a\",\" x-billing: a\",\"x-billing-b\"]}");
    skips("{\"all\":[1,{\"a\":[2]}],\"b\":{\"all\":[3]}}",
          "{\"all\":[],\"b\":{\"all\":[3]}}");
    skips("{\"messages\":[\"x-billing: a\"]}",
          "{\"messages\":[\"x-billing: a\"]}");
}

static void paths_are_judged(void **state)
{
    static const char *const bad[] = {"",   ".",    "a.",      ".a",     "a..b",
                                      "a]", "[].a", "a[",      "a[x].b", "a[]b",
                                      "[]", "a[]x", "a.b[x]c", "a[x][]"};
    struct canon_skip skip = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (canon_skip_add(&skip, str_from(bad[i])) != ERR_SYNTAX)
            fail_msg("'%s' is a path", bad[i]);
    assert_int_equal(skip.count, 0);
    assert_int_equal(canon_skip_add(&skip, STR("a.b.c.d.e.f.g.h")), ERR_OK);
    assert_int_equal(canon_skip_add(&skip, STR("a.b.c.d.e.f.g.h.i")),
                     ERR_RANGE);
    assert_int_equal(canon_skip_add(&skip, STR("a[][].b[x: y.z]")), ERR_OK);
    while (skip.count < CANON_PATHS)
        assert_int_equal(canon_skip_add(&skip, STR("b")), ERR_OK);
    assert_int_equal(canon_skip_add(&skip, STR("c")), ERR_RANGE);
}

/* The last path of a full table holds, too. */
static void tables_may_be_full(void **state)
{
    static char names[CANON_PATHS][8];
    struct canon_skip skip = {0};
    struct buf got;

    (void)state;
    for (unsigned i = 0; i < CANON_PATHS; i++) {
        snprintf(names[i], sizeof(names[i]), "n%u", i);
        assert_int_equal(canon_skip_add(&skip, str_from(names[i])), ERR_OK);
    }
    canon_of("{\"n63\":1,\"n64\":2,\"n0\":3,\"n31\":4}", &skip, &got);
    assert_true(str_eq(buf_str(&got), STR("{\"n64\":2}")));
    buf_fini(&got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_their_value),
        cmocka_unit_test(numbers_that_differ_do),
        cmocka_unit_test(long_numbers_do_no_harm),
        cmocka_unit_test(strings_are_their_text),
        cmocka_unit_test(space_and_order_mean_nothing),
        cmocka_unit_test(two_of_a_name_have_none),
        cmocka_unit_test(what_is_no_json_is_seen),
        cmocka_unit_test(many_members_are_sorted),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(copying_is_bounded),
        cmocka_unit_test(output_is_bounded),
        cmocka_unit_test(members_are_left_out),
        cmocka_unit_test(ids_go_where_there_is_content),
        cmocka_unit_test(lines_are_left_out),
        cmocka_unit_test(paths_are_judged),
        cmocka_unit_test(tables_may_be_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
