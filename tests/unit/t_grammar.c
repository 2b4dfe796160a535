/* t_grammar.c - Which texts a schema lets through, byte by byte, and which
 * schemas are refused, with the place that is complained about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "unit/grammar_kit.h"

#define TEXTS_MAX 40

/* A schema, texts that are of it and texts that are not, NULL-terminated. */
struct row {
    const char *schema;
    const char *good[TEXTS_MAX];
    const char *bad[TEXTS_MAX];
};

static const struct row rows[] = {
    {"{\"type\":\"boolean\"}",
     {"true", "false", " true"},
     {"", "t", "tru", "True", "null", "true ", "  true", "truefalse"}},
    {"{\"type\":[\"null\",\"boolean\"]}", {"null", "true"}, {"nul", "0"}},
    {"{\"type\":\"string\"}",
     {"\"\"", "\"abc\"", "\"\xc3\xa9\"", "\"\xe2\x82\xac\"",
      "\"\xf0\x9f\x98\x80\"", "\"\xed\x9f\xbf\"", "\"\xee\x80\x80\"",
      "\"\xf4\x8f\xbf\xbf\"", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\u00e9\"",
      "\"\\uD83D\\uDE00\"", "\"\\ud83d\\ude00\"", "\"\\u0001\"", "\"\\uFFFF\"",
      "\"\x7f\"", "\"\\uD7FF\"", "\"\\uE000\""},
     {"\"",
      "\"a",
      "a",
      "\"\n\"",
      "\"\t\"",
      "\"\xff\"",
      "\"\xc3\"",
      "\"\xc0\x80\"",
      "\"\xe0\x80\x80\"",
      "\"\xed\xa0\x80\"",
      "\"\xf0\x80\x80\x80\"",
      "\"\xf4\x90\x80\x80\"",
      "\"\xf5\x80\x80\x80\"",
      "\"\x80\"",
      "\"\\x\"",
      "\"\\u12\"",
      "\"\\u12g4\"",
      "\"\\uD83D\"",
      "\"\\uD83Dx\"",
      "\"\\uD83D\\n\"",
      "\"\\uD83D\\u0041\"",
      "\"\\uDE00\"",
      "\"\\u0000\"",
      "\"\\\"",
      "\"a\" "}},
    {"{\"type\":\"string\",\"minLength\":2,\"maxLength\":4}",
     {"\"ab\"", "\"abcd\"", "\"\xc3\xa9\xe2\x82\xac\"",
      "\"\xf0\x9f\x98\x80\\ud83d\\ude00\\n\\u0041\""},
     {"\"\"", "\"a\"", "\"abcde\"", "\"\xf0\x9f\x98\x80\"",
      "\"\\ud83d\\ude00\"", "\"abcd\\n\""}},
    {"{\"type\":\"integer\"}",
     {"0", "-0", "7", "-12", "123456789012345678"},
     {"", "-", "01", "1.0", "1e3", "+1", "1234567890123456789", "- 1"}},
    {"{\"type\":\"number\"}",
     {"0", "-0.5", "1.25", "1e3", "1E+10", "2.5e-07", "10"},
     {"", ".5", "1.", "1e", "1e+", "01", "1.2.3", "1e100", "--1", "0x1"}},
    {"{\"type\":\"integer\",\"minimum\":-3,\"maximum\":120}",
     {"-3", "-1", "-0", "0", "9", "10", "99", "100", "119", "120"},
     {"-4", "-10", "121", "130", "200", "1000", "00", "012", "1.0"}},
    {"{\"type\":\"integer\",\"exclusiveMinimum\":9,\"exclusiveMaximum\":1001}",
     {"10", "99", "500", "999", "1000"},
     {"9", "8", "1001", "1002", "2000", "10000", "-10"}},
    {"{\"type\":\"integer\",\"minimum\":18}",
     {"18", "19", "20", "100", "999999999999999999"},
     {"17", "1", "9", "0", "-18"}},
    {"{\"type\":\"integer\",\"maximum\":-5}",
     {"-5", "-6", "-10", "-500"},
     {"-4", "0", "5", "-0"}},
    {"{\"type\":\"integer\",\"minimum\":1.5,\"maximum\":3.5}",
     {"2", "3"},
     {"1", "4", "2.0"}},
    {"{\"type\":\"integer\",\"minimum\":0,"
     "\"maximum\":9223372036854775807}",
     {"0", "9223372036854775807", "9199999999999999999", "1000000000000000000"},
     {"9223372036854775808", "9999999999999999999", "-1"}},
    {"{\"type\":\"integer\",\"minimum\":0,"
     "\"maximum\":18446744073709551615.0}",
     {"0", "9223372036854775808", "18446744073709549000"},
     {"18446744073709551616", "18446744073709552000", "99999999999999999999",
      "-1"}},
    {"{\"type\":\"integer\",\"minimum\":-1e300,\"maximum\":1e300}",
     {"0", "999999999999999999999", "-999999999999999999999"},
     {"99999999999999999999999", "-99999999999999999999999", "1e5"}},
    {"{\"type\":\"number\",\"minimum\":0,\"maximum\":1}",
     {"0", "1", "0.0", "0.5", "0.999", "1.0", "1.000"},
     {"1.1", "1.01", "1.0001", "2", "-0.1", "10", "00.1", "0.5e1", "1."}},
    {"{\"type\":\"number\",\"exclusiveMinimum\":0,\"exclusiveMaximum\":1}",
     {"0.1", "0.01", "0.99999"},
     {"0", "0.0", "0.000", "1", "1.0", "0."}},
    {"{\"type\":\"number\",\"minimum\":-1.25,\"maximum\":2.5}",
     {"-1.25", "-1.2", "-1", "-0.99", "0", "1.99", "2", "2.5", "2.50", "2.4999",
      "-1.250"},
     {"-1.26", "-1.251", "-1.3", "-2", "2.51", "2.501", "2.6", "3",
      "-1.2500001"}},
    {"{\"type\":\"number\",\"exclusiveMaximum\":0}",
     {"-0.1", "-1", "-100.5"},
     {"0", "-0", "-0.0", "0.1", "1"}},
    {"{\"type\":\"number\",\"minimum\":0,\"exclusiveMinimum\":true}",
     {"0.5", "1"},
     {"0", "0.0", "-1"}},
    {"{\"enum\":[\"a\",\"ab\",\"b\\\"\",1,1.5,true,null,[1,{\"x\":2}]]}",
     {"\"a\"", "\"ab\"", "\"b\\\"\"", "1", "1.5", "true", "null",
      "[1,{\"x\":2}]", "[1, {\"x\": 2}]"},
     {"\"\"", "\"abc\"", "\"b\"", "2", "1.50", "[1]", "false", "\"A\""}},
    {"{\"type\":\"string\",\"enum\":[\"a\",1,null]}", {"\"a\""}, {"1", "null"}},
    {"{\"const\":\"\\u00e9\\n\"}",
     {"\"\xc3\xa9\\n\""},
     {"\"e\"", "\"\xc3\xa9\""}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},"
     "\"b\":{\"type\":\"string\"}},\"required\":[\"a\",\"b\"],"
     "\"additionalProperties\":false}",
     {"{\"a\":1,\"b\":\"x\"}", "{\"a\": 1, \"b\": \"x\"}",
      "{ \"a\":1,\n  \"b\":\"x\" }", "{\n  \"a\": 1,\n  \"b\": \"x\"\n}"},
     {"{}", "{\"a\":1}", "{\"b\":\"x\",\"a\":1}", "{\"a\":1,\"b\":\"x\",}",
      "{\"a\":1,\"b\":\"x\"} ", "{\"a\":1,\"b\":\"x\",\"c\":1}", "{\"a\":1;",
      "{\"a\":\"x\"", "{  \"a\"", "{\"a\" :"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},"
     "\"b\":{\"type\":\"integer\"},\"c\":{\"type\":\"integer\"}},"
     "\"required\":[\"b\"]}",
     {"{\"b\":2}", "{\"a\":1,\"b\":2}", "{\"b\":2,\"c\":3}",
      "{\"a\":1,\"b\":2,\"c\":3}"},
     {"{}", "{\"a\":1}", "{\"c\":3}", "{\"a\":1,\"c\":3}", "{\"b\":2,\"a\":1}",
      "{\"b\":2,\"b\":2}", "{,\"b\":2}"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"null\"},"
     "\"b\":{\"type\":\"null\"},\"ab\":{\"type\":\"null\"}}}",
     {"{}", "{\"a\":null}", "{\"ab\":null}", "{\"a\":null,\"ab\":null}",
      "{\"b\":null,\"ab\":null}", "{\n}", "{ }"},
     {"{\"ab\":null,\"a\":null}", "{\"x\":1}", "{\"\":null}"}},
    {"{\"type\":\"object\",\"properties\":{\"ab\":{\"type\":\"integer\"},"
     "\"\\u00e9\":{\"type\":\"integer\"}},"
     "\"additionalProperties\":{\"type\":\"boolean\"}}",
     {"{}", "{\"ab\":1}", "{\"x\":true}", "{\"ab\":1,\"x\":true,\"y\":false}",
      "{\"a\":true}", "{\"abc\":true}", "{\"\":true}", "{\"\xc3\xaa\":true}",
      "{\"\xc3\xa9\":1,\"\xc3\xa9x\":true}"},
     {"{\"ab\":true}", "{\"x\":1}", "{\"x\":true,\"ab\":1}",
      "{\"\xc3\xa9\":true}", "{\"\\u0061b\":true}"}},
    {"{\"type\":\"object\"}",
     {"{}", "{\"a\":1}", "{\"a\":{\"b\":[1,null,\"x\"]}, \"c\":-1.5e3}"},
     {"[]", "{1:2}", "{\"a\"}", "{\"a\":1,}", "1"}},
    {"{\"type\":\"object\",\"required\":[\"k\"]}",
     {"{\"k\":1}", "{\"k\":[],\"x\":2}"},
     {"{}", "{\"x\":2}"}},
    {"{}",
     {"1", "\"x\"", "[]", "[1,[2,{}]]", "{\"a\":null}", "true"},
     {"", "[1,]", "[,1]", "{\"a\":}", "nul"}},
    {"true", {"1", "{}"}, {"x"}},
    {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}",
     {"[]", "[ ]", "[1]", "[1,2]", "[1, 2, 3]", "[\n  1,\n  2\n]"},
     {"[", "[1", "[1,]", "[,]", "[1 2]", "[\"a\"]", "[1,,2]"}},
    {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":2,"
     "\"maxItems\":3}",
     {"[1,2]", "[1,2,3]"},
     {"[]", "[1]", "[1,2,3,4]"}},
    {"{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"maxItems\":1}",
     {"[]", "[1]"},
     {"[1,2]"}},
    {"{\"type\":\"array\",\"maxItems\":0}", {"[]"}, {"[1]", "[null]"}},
    {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"},"
     "{\"type\":\"string\"}],\"items\":{\"type\":\"boolean\"},\"minItems\":1}",
     {"[1]", "[1,\"a\"]", "[1,\"a\",true,false]"},
     {"[]", "[\"a\"]", "[1,true]", "[1,\"a\",1]"}},
    {"{\"type\":\"array\",\"prefixItems\":[{\"type\":\"integer\"},"
     "{\"type\":\"string\"}],\"minItems\":2}",
     {"[1,\"a\"]"},
     {"[]", "[1]", "[1,\"a\",1]"}},
    {"{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"integer\"},"
     "{\"type\":\"null\"}]}",
     {"\"a\"", "1", "null"},
     {"true", "1.5"}},
    {"{\"anyOf\":[{\"type\":\"object\",\"properties\":{\"kind\":{\"const\":"
     "\"a\"},\"x\":{\"type\":\"integer\"}},\"required\":[\"kind\",\"x\"],"
     "\"additionalProperties\":false},{\"type\":\"object\",\"properties\":{"
     "\"kind\":{\"const\":\"ab\"},\"y\":{\"type\":\"string\"}},\"required\":["
     "\"kind\",\"y\"],\"additionalProperties\":false}]}",
     {"{\"kind\":\"a\",\"x\":1}", "{\"kind\":\"ab\",\"y\":\"z\"}"},
     {"{\"kind\":\"a\",\"y\":\"z\"}", "{\"kind\":\"ab\",\"x\":1}",
      "{\"kind\":\"abc\""}},
    {"{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"k\":{\"const\":1}},"
     "\"required\":[\"k\"]},{\"type\":\"object\",\"properties\":{\"k\":{"
     "\"enum\":[2,3]}},\"required\":[\"k\"]},{\"type\":\"string\"}]}",
     {"{\"k\":1}", "{\"k\":3}", "\"x\""},
     {"{\"k\":4}", "{}"}},
    {"{\"allOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"type\":"
     "\"integer\",\"minimum\":1}},\"required\":[\"a\"]},{\"type\":\"object\","
     "\"properties\":{\"a\":{\"maximum\":3},\"b\":{\"type\":\"null\"}},"
     "\"required\":[\"b\"]}]}",
     {"{\"a\":1,\"b\":null}", "{\"a\":3,\"b\":null}"},
     {"{\"a\":4,\"b\":null}", "{\"a\":0,\"b\":null}", "{\"a\":1}"}},
    {"{\"$ref\":\"#/$defs/node\",\"$defs\":{\"node\":{\"type\":\"object\","
     "\"properties\":{\"v\":{\"type\":\"integer\"},\"next\":{\"anyOf\":[{"
     "\"$ref\":\"#/$defs/node\"},{\"type\":\"null\"}]}},\"required\":[\"v\","
     "\"next\"],\"additionalProperties\":false}}}",
     {"{\"v\":1,\"next\":null}", "{\"v\":1,\"next\":{\"v\":2,\"next\":null}}"},
     {"{\"v\":1}", "{\"v\":1,\"next\":{}}", "{\"v\":1,\"next\":1}"}},
    {"{\"type\":\"object\",\"properties\":{\"c\":{\"type\":\"array\","
     "\"items\":{\"$ref\":\"#\"}}},\"required\":[\"c\"]}",
     {"{\"c\":[]}", "{\"c\":[{\"c\":[]},{\"c\":[{\"c\":[]}]}]}"},
     {"{\"c\":[1]}", "{}"}},
    {"{\"definitions\":{\"a/b\":{\"type\":\"null\"}},\"items\":{\"$ref\":"
     "\"#/definitions/a~1b\"}}",
     {"[null]", "[]"},
     {"[1]", "null"}},
    {"{\"$ref\":\"#/$defs/n\",\"description\":\"x\",\"maximum\":5,\"$defs\":{"
     "\"n\":{\"type\":\"integer\",\"minimum\":0}}}",
     {"0", "5"},
     {"6", "-1"}},
    {"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":"
     "{\"type\":\"integer\"}},\"anyOf\":[{\"required\":[\"a\"]},{\"required\":["
     "\"b\"]}],\"additionalProperties\":false}",
     {"{\"a\":1}", "{\"b\":1}", "{\"a\":1,\"b\":2}"},
     {"{}", "{\"c\":1}"}},
    {"{\"type\":\"integer\",\"nullable\":true}", {"1", "null"}, {"\"x\""}},
};

static void test_texts(void **state)
{
    struct kit k;

    (void)state;
    kit_init_usual(&k);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct grammar_fault why;
        enum err err;
        struct grammar *g = kit_schema(&k, rows[i].schema, &why, &err);
        if (!g)
            fail_msg("%s: %s: %s", rows[i].schema, why.param, why.text);
        for (size_t j = 0; rows[i].good[j]; j++)
            if (kit_reads(&k, g, str_from(rows[i].good[j])) != 1)
                fail_msg("%s: not %s", rows[i].schema, rows[i].good[j]);
        for (size_t j = 0; rows[i].bad[j]; j++)
            if (kit_reads(&k, g, str_from(rows[i].bad[j])) == 1)
                fail_msg("%s: took %s", rows[i].schema, rows[i].bad[j]);
        grammar_unref(g);
    }
    kit_fini(&k);
}

/* Patterns and formats: the values, without quotes. */
static const struct row patterns[] = {
    {"\"pattern\":\"^a+b?$\"", {"a", "aab"}, {"", "b", "abb", "xa", "ab "}},
    {"\"pattern\":\"b\"", {"b", "abc", "bb", "\\nb"}, {"", "ac"}},
    {"\"pattern\":\"^(\\\\d{3})-[^0-9]$\"",
     {"123-x", "000-\\n", "123-\\\"", "123-\xc3\xa9"},
     {"12-x", "1234-x", "123-4", "123-"}},
    {"\"pattern\":\"^(foo|ba[rz])*$\"",
     {"", "foo", "barbaz", "foofoobar"},
     {"fo", "ba", "bar "}},
    {"\"pattern\":\"^(a*)*(b|)+$\"", {"", "aaa", "ab", "bb"}, {"ba"}},
    {"\"pattern\":\"^(a?b?){2,3}$\"",
     {"", "a", "ab", "abab", "ababab", "ba", "aaa"},
     {"abababab", "aaaa"}},
    {"\"pattern\":\"^x{0}y$\"", {"y"}, {"xy"}},
    {"\"pattern\":\"^(?:a|b)(?<n>c)d{2,}?$\"",
     {"acdd", "bcddd"},
     {"acd", "cdd"}},
    {"\"pattern\":\"^[\\\\w.-]+@\\\\S$\"", {"a.b-c@x"}, {"@x", "a@ "}},
    {"\"pattern\":\"^\\\\u00e9\\\\x41[\\\\]\\\\\\\\]$\"",
     {"\xc3\xa9"
      "A]",
      "\xc3\xa9"
      "A\\\\"},
     {"eA]"}},
    {"\"pattern\":\"^a|b$\"", {"a", "ax", "b", "xb"}, {"xa", "bx"}},
    {"\"pattern\":\"^.$\"",
     {"a", "\\\"", "\\t", "\xf0\x9f\x98\x80"},
     {"", "\\n", "ab", "\xf0\x9f\x98"}},
    {"\"pattern\":\"^a*$\",\"minLength\":2,\"maxLength\":3",
     {"aa", "aaa"},
     {"", "a", "aaaa"}},
    {"\"pattern\":\"(ab|\xc3\xa9)+\",\"minLength\":3",
     {"ab\xc3\xa9", "xxab", "xxx\xc3\xa9"},
     {"ab", "\xc3\xa9\xc3\xa9", "xxx"}},
    {"\"format\":\"date-time\"",
     {"2024-01-31T23:59:59Z", "2024-02-28T00:00:00.123+02:00"},
     {"2024-02-30T00:00:00Z", "2024-13-01T00:00:00Z", "2024-01-01",
      "2024-01-01T24:00:00Z", "2024-01-01 00:00:00Z"}},
    {"\"format\":\"date\"", {"1999-12-31"}, {"1999-04-31", "99-12-31"}},
    {"\"format\":\"time\"", {"12:30:00Z"}, {"12:30", "25:00:00Z"}},
    {"\"format\":\"duration\"",
     {"P1D", "PT5M", "P1Y2M3DT4H5M6S", "P3W"},
     {"P", "PT", "1D", "P1S"}},
    {"\"format\":\"uuid\"",
     {"123e4567-e89b-12d3-a456-426614174000"},
     {"123e4567e89b12d3a456426614174000",
      "x23e4567-e89b-12d3-a456-42661417400"}},
    {"\"format\":\"email\"",
     {"a.b+c@x-y.org"},
     {"a@", "@b.c", "a b@c.d", "a@b"}},
    {"\"format\":\"hostname\"", {"a", "www.x-y.org"}, {"-a", "a-", "a..b", ""}},
    {"\"format\":\"ipv4\"",
     {"0.0.0.0", "255.1.20.199"},
     {"256.1.1.1", "1.1.1"}},
    {"\"format\":\"ipv6\"",
     {"::", "::1", "2001:db8::8a2e:370:7334", "1:2:3:4:5:6:7:8", "fe80::"},
     {"1:2", ":::", "1::2::3", "1:2:3:4:5:6:7:8:9", "g::"}},
    {"\"format\":\"uri\"", {"https://a.b/c?d=%20#e"}, {"a", "https://", "//a"}},
    {"\"format\":\"password\"", {"", "x\\n"}, {"\n"}},
};

static void test_patterns(void **state)
{
    struct kit k;

    (void)state;
    kit_init_usual(&k);
    for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
        const struct row *r = &patterns[i];
        struct grammar_fault why;
        struct grammar *g;
        char text[512];
        enum err err;
        snprintf(text, sizeof(text), "{\"type\":\"string\",%s}", r->schema);
        g = kit_schema(&k, text, &why, &err);
        if (!g)
            fail_msg("%s: %s: %s", text, why.param, why.text);
        for (size_t j = 0; r->good[j]; j++) {
            snprintf(text, sizeof(text), "\"%s\"", r->good[j]);
            if (kit_reads(&k, g, str_from(text)) != 1)
                fail_msg("%s: not %s", r->schema, text);
        }
        for (size_t j = 0; r->bad[j]; j++) {
            snprintf(text, sizeof(text), "\"%s\"", r->bad[j]);
            if (kit_reads(&k, g, str_from(text)) == 1)
                fail_msg("%s: took %s", r->schema, text);
        }
        grammar_unref(g);
    }
    kit_fini(&k);
}

#define PROPS(s) "{\"type\":\"object\",\"properties\":{" s "}}"

/* Schemas that are refused, and where. */
static const struct {
    const char *schema, *param;
    enum err err;
} refused[] = {
    {PROPS("\"age\":{\"type\":\"integer\",\"multipleOf\":5}"),
     "properties.age.multipleOf", ERR_REFUSED},
    {"{\"type\":\"array\",\"items\":{\"not\":{}}}", "items.not", ERR_REFUSED},
    {"{\"anyOf\":[{\"type\":\"null\"},{\"if\":{}}]}", "anyOf.1.if",
     ERR_REFUSED},
    {"{\"patternProperties\":{}}", "patternProperties", ERR_REFUSED},
    {"{\"type\":\"array\",\"uniqueItems\":true}", "uniqueItems", ERR_REFUSED},
    {"{\"type\":\"array\",\"contains\":{}}", "contains", ERR_REFUSED},
    {"{\"type\":\"object\",\"minProperties\":1}", "minProperties", ERR_REFUSED},
    {"{\"frobnicate\":1}", "frobnicate", ERR_REFUSED},
    {"{\"type\":\"string\",\"format\":\"regex\"}", "format", ERR_REFUSED},
    {"{\"type\":\"string\",\"pattern\":\"(?=a)\"}", "pattern", ERR_REFUSED},
    {"{\"type\":\"string\",\"pattern\":\"(a)\\\\1\"}", "pattern", ERR_REFUSED},
    {"{\"type\":\"string\",\"pattern\":\"\\\\bx\"}", "pattern", ERR_REFUSED},
    {"{\"type\":\"string\",\"pattern\":\"a^b\"}", "pattern", ERR_REFUSED},
    {"{\"type\":\"string\",\"pattern\":\"a{2,1}\"}", "pattern", ERR_SYNTAX},
    {"{\"type\":\"string\",\"pattern\":\"(a\"}", "pattern", ERR_SYNTAX},
    {"{\"type\":\"string\",\"pattern\":\"a)\"}", "pattern", ERR_SYNTAX},
    {"{\"type\":\"string\",\"pattern\":\"[b-a]\"}", "pattern", ERR_SYNTAX},
    {"{\"type\":\"string\",\"pattern\":\"[a\"}", "pattern", ERR_SYNTAX},
    {"{\"type\":\"string\",\"pattern\":\"*\"}", "pattern", ERR_SYNTAX},
    {"{\"type\":\"string\",\"pattern\":\"(((a{1,99}){1,99}){1,99}){1,99}\"}",
     "pattern", ERR_FULL},
    {"{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"string\","
     "\"maxLength\":3}]}",
     "oneOf", ERR_REFUSED},
    {"{\"type\":\"str\"}", "type", ERR_SYNTAX},
    {"{\"type\":[]}", "type", ERR_SYNTAX},
    {"{\"type\":\"string\",\"minLength\":-1}", "minLength", ERR_SYNTAX},
    {"{\"enum\":[\"a\"],\"minLength\":1}", "minLength", ERR_REFUSED},
    {"{\"enum\":[]}", "", ERR_SYNTAX},
    {"{\"anyOf\":[]}", "anyOf", ERR_SYNTAX},
    {"{\"$ref\":\"#/nowhere\"}", "$ref", ERR_SYNTAX},
    {"{\"$ref\":\"http://x/y\"}", "$ref", ERR_REFUSED},
    {"{\"$ref\":\"#\"}", "", ERR_SYNTAX},
    {"{\"$defs\":{\"a\":{\"anyOf\":[{\"$ref\":\"#/$defs/a\"},"
     "{\"type\":\"null\"}]}},\"$ref\":\"#/$defs/a\"}",
     "", ERR_SYNTAX},
    {"{\"type\":\"object\",\"properties\":{\"n\":{\"$ref\":\"#\"}},"
     "\"required\":[\"n\"]}",
     "", ERR_SYNTAX},
    {"false", "", ERR_SYNTAX},
    {"3", "", ERR_SYNTAX},
    {"{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", "", ERR_SYNTAX},
    {"{\"type\":\"integer\",\"minimum\":1e30}", "minimum", ERR_REFUSED},
    {"{\"type\":\"number\",\"maximum\":-1e30}", "maximum", ERR_REFUSED},
    {"{\"type\":\"array\",\"minItems\":3,\"maxItems\":2}", "", ERR_SYNTAX},
    {"{\"type\":\"object\",\"properties\":{},\"required\":[\"a\"],"
     "\"additionalProperties\":false}",
     "required", ERR_SYNTAX},
    {"{\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":{\"x\":{"
     "\"multipleOf\":2}}}},\"$ref\":\"#/$defs/n\"}",
     "$defs.n.properties.x.multipleOf", ERR_REFUSED},
};

static void test_refused(void **state)
{
    struct kit k;

    (void)state;
    kit_init_usual(&k);
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        struct grammar_fault why;
        struct grammar *g;
        enum err err;
        g = kit_schema(&k, refused[i].schema, &why, &err);
        if (g || err != refused[i].err || strcmp(why.param, refused[i].param))
            fail_msg("%s: %s at '%s': %s", refused[i].schema, err_name(err),
                     why.param, why.text);
        assert_true(why.text[0] != '\0');
    }
    kit_fini(&k);
}

static void test_json_object(void **state)
{
    static const char deep[] = "{\"a\":[[[{\"b\":{}}]]]}";
    struct grammar *g;
    char text[4000];
    struct kit k;
    size_t n = 0;

    (void)state;
    kit_init_usual(&k);
    g = grammar_json_object(k.ix);
    assert_non_null(g);
    assert_int_equal(kit_reads(&k, g, str_from(deep)), 1);
    assert_int_equal(kit_reads(&k, g, STR(" {}")), 1);
    assert_int_equal(kit_reads(&k, g, STR("[]")), -1);
    assert_int_equal(kit_reads(&k, g, STR("{}{")), -1);
    /* As deep as it gets, then all the way back: no dead end. */
    text[n++] = '{';
    while (n < 3000) {
        memcpy(text + n, "\"a\":{", 5);
        if (kit_reads(&k, g, str_of(text, n + 5)) < 0)
            break;
        n += 5;
    }
    assert_in_range(n, 500, 2900);
    memset(text + n, '}', n / 5 + 1);
    assert_int_equal(kit_reads(&k, g, str_of(text, n + n / 5 + 1)), 1);
    grammar_unref(g);
    kit_fini(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_json_object),
    };

    return cmocka_run_group_tests_name("grammar", tests, NULL, NULL);
}
