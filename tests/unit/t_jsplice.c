/* t_jsplice.c - Splices: every edit and combination, results compared whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "wire/jsplice.h"

/* One text under edit. */
struct work {
    struct jscan scan;
    struct jsplice splice;
    struct arena *arena;
    struct buf out;
};

static int work_begin(void **state)
{
    struct work *w = calloc(1, sizeof(*w));

    if (!w)
        return -1;
    w->arena = arena_new(1024, 1 << 16);
    buf_init(&w->out, 1 << 16);
    *state = w;
    return w->arena ? 0 : -1;
}

static int work_end(void **state)
{
    struct work *w = *state;

    arena_free(w->arena);
    buf_fini(&w->out);
    free(w);
    return 0;
}

static void load(struct work *w, const char *text, const struct jtable *table)
{
    assert_int_equal(jscan_run(&w->scan, str_from(text), table, NULL), ERR_OK);
    jsplice_init(&w->splice, w->scan.text, w->arena);
    buf_clear(&w->out);
}

static void check_result(struct work *w, const char *want)
{
    struct iovec iov[JSPLICE_IOV];
    unsigned n = jsplice_iov(&w->splice, iov);
    size_t at = 0;

    buf_clear(&w->out);
    assert_int_equal(jsplice_put(&w->splice, &w->out), ERR_OK);
    if (!str_eq(buf_str(&w->out), str_from(want)))
        fail_msg("got  %.*s\nwant %s", STR_ARG(buf_str(&w->out)),
                 want ? want : "nothing");
    assert_int_equal(jsplice_len(&w->splice), strlen(want));
    for (unsigned i = 0; i < n; i++) {
        assert_true(iov[i].iov_len > 0);
        assert_memory_equal(iov[i].iov_base, want + at, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    assert_int_equal(at, strlen(want));
    assert_true(jscan_is_valid(buf_str(&w->out)));
}

static void no_edit_gives_the_same_bytes(void **state)
{
    struct work *w = *state;

    load(w, " {\"a\" : 1e2 , \"b\":\"\\/\"}\n", &jscan_request);
    check_result(w, " {\"a\" : 1e2 , \"b\":\"\\/\"}\n");
}

static void model_is_renamed_and_quoted(void **state)
{
    struct work *w = *state;

    load(w, "{ \"model\" : \"a\", \"n\":1.0}", &jscan_request);
    assert_int_equal(jsplice_rename(&w->splice, &w->scan.m[JREQ_MODEL],
                                    STR("x\"y\\\n\x7F/\xC3\xA9\xFF")),
                     ERR_OK);
    check_result(w, "{ \"model\" : \"x\\\"y\\\\\\n\\u007f/\xC3\xA9"
                    "\xEF\xBF\xBD\", \"n\":1.0}");
    load(w, "{\"model\":1}", &jscan_request);
    assert_int_equal(
        jsplice_rename(&w->splice, &w->scan.m[JREQ_MODEL], STR("x")),
        ERR_BAD_PARAM);
}

static void usage_is_asked_for_from_every_start(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"{\"stream\":true}",
         "{\"stream_options\":{\"include_usage\":true},\"stream\":true}"},
        {"{}", "{\"stream_options\":{\"include_usage\":true}}"},
        {" { } ", " {\"stream_options\":{\"include_usage\":true} } "},
        {"{\"stream_options\":null,\"a\":1}",
         "{\"stream_options\":{\"include_usage\":true},\"a\":1}"},
        {"{\"stream_options\": {}}",
         "{\"stream_options\": {\"include_usage\":true}}"},
        {"{\"stream_options\":{ \"x\":1}}",
         "{\"stream_options\":{\"include_usage\":true, \"x\":1}}"},
        {"{\"stream_options\":{\"include_usage\": false ,\"x\":1}}",
         "{\"stream_options\":{\"include_usage\": true ,\"x\":1}}"},
        {"{\"stream_options\":{\"include_usage\":null}}",
         "{\"stream_options\":{\"include_usage\":true}}"},
        {"{\"stream_options\":{\"include_usag\\u0065\":true}}",
         "{\"stream_options\":{\"include_usag\\u0065\":true}}"},
    };
    struct work *w = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        load(w, rows[i].in, &jscan_request);
        assert_int_equal(jsplice_want_usage(&w->splice, &w->scan), ERR_OK);
        check_result(w, rows[i].out);
    }
    load(w, "{\"stream_options\":[1]}", &jscan_request);
    assert_int_equal(jsplice_want_usage(&w->splice, &w->scan), ERR_BAD_PARAM);
    load(w, "[]", &jscan_request);
    assert_int_equal(jsplice_want_usage(&w->splice, &w->scan), ERR_BAD_PARAM);
}

static void cap_is_set_or_lowered(void **state)
{
    struct work *w = *state;

    load(w, "{\"max_tokens\":9e9,\"a\":1}", &jscan_request);
    assert_int_equal(jsplice_cap(&w->splice, &w->scan,
                                 &w->scan.m[JREQ_MAX_TOKENS], STR("max_tokens"),
                                 100),
                     ERR_OK);
    check_result(w, "{\"max_tokens\":100,\"a\":1}");
    load(w, "{\"a\":1}", &jscan_request);
    assert_int_equal(jsplice_cap(&w->splice, &w->scan,
                                 &w->scan.m[JREQ_MAX_TOKENS], STR("max_tokens"),
                                 INT64_MAX),
                     ERR_OK);
    check_result(w, "{\"max_tokens\":9223372036854775807,\"a\":1}");
}

static void edits_stand_together_in_any_order(void **state)
{
    struct work *w = *state;
    const struct jmember *m = w->scan.m;
    const char *text = "{\"model\":\"a\",\"stream\":true,\"n\":1}";
    const char *want = "{\"max_tokens\":5,\"stream_options\":"
                       "{\"include_usage\":true},\"model\":\"bb\","
                       "\"stream\":true,\"n\":1}";

    load(w, text, &jscan_request);
    assert_int_equal(jsplice_rename(&w->splice, &m[JREQ_MODEL], STR("bb")),
                     ERR_OK);
    assert_int_equal(jsplice_cap(&w->splice, &w->scan, &m[JREQ_MAX_TOKENS],
                                 STR("max_tokens"), 5),
                     ERR_OK);
    assert_int_equal(jsplice_want_usage(&w->splice, &w->scan), ERR_OK);
    check_result(w, want);
    load(w, text, &jscan_request);
    assert_int_equal(jsplice_cap(&w->splice, &w->scan, &m[JREQ_MAX_TOKENS],
                                 STR("max_tokens"), 5),
                     ERR_OK);
    assert_int_equal(jsplice_want_usage(&w->splice, &w->scan), ERR_OK);
    assert_int_equal(jsplice_rename(&w->splice, &m[JREQ_MODEL], STR("bb")),
                     ERR_OK);
    check_result(w, want);
}

static void members_are_removed_with_one_comma(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"{\"usage\":null}", "{}"},
        {"{ \"usage\" : null }", "{  }"},
        {"{\"usage\":null,\"a\":1}", "{\"a\":1}"},
        {"{\"usage\":null , \"a\":1}", "{\"a\":1}"},
        {"{\n \"usage\" : null,\n \"a\":1\n}", "{\n \"a\":1\n}"},
        {"{\"a\":1,\"usage\":null}", "{\"a\":1}"},
        {"{\"a\":1 ,\n\"usage\":null }", "{\"a\":1  }"},
        {"{\"a\":1,\"usage\":null,\"b\":2}", "{\"a\":1,\"b\":2}"},
    };
    struct work *w = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        load(w, rows[i].in, &jscan_reply);
        assert_int_equal(jsplice_remove(&w->splice, w->scan.root.value,
                                        &w->scan.m[JREP_USAGE]),
                         ERR_OK);
        check_result(w, rows[i].out);
    }
}

static void only_member_goes_while_others_come(void **state)
{
    struct work *w = *state;

    for (int first = 0; first < 2; first++) {
        load(w, "{\"usage\":null}", &jscan_reply);
        if (first)
            assert_int_equal(jsplice_remove(&w->splice, w->scan.root.value,
                                            &w->scan.m[JREP_USAGE]),
                             ERR_OK);
        assert_int_equal(
            jsplice_insert(&w->splice, w->scan.root.value, STR("x"), STR("1")),
            ERR_OK);
        assert_int_equal(
            jsplice_insert(&w->splice, w->scan.root.value, STR("y"), STR("2")),
            ERR_OK);
        if (!first)
            assert_int_equal(jsplice_remove(&w->splice, w->scan.root.value,
                                            &w->scan.m[JREP_USAGE]),
                             ERR_OK);
        check_result(w, "{\"x\":1,\"y\":2}");
    }
}

static void clashing_edits_are_refused(void **state)
{
    struct work *w = *state;
    struct str root;

    load(w, "{\"id\":\"a\",\"usage\":{\"b\":1},\"model\":\"m\"}", &jscan_reply);
    root = w->scan.root.value;
    assert_int_equal(jsplice_remove(&w->splice, root, &w->scan.m[JREP_USAGE]),
                     ERR_OK);
    assert_int_equal(jsplice_insert(&w->splice, w->scan.m[JREP_USAGE].value,
                                    STR("x"), STR("1")),
                     ERR_EXISTS);
    assert_int_equal(
        jsplice_replace(&w->splice, w->scan.m[JREP_USAGE].value, STR("1")),
        ERR_EXISTS);
    assert_int_equal(jsplice_remove(&w->splice, root, &w->scan.m[JREP_USAGE]),
                     ERR_EXISTS);
    assert_int_equal(jsplice_remove(&w->splice, root, &w->scan.m[JREP_ID]),
                     ERR_EXISTS);
    assert_int_equal(jsplice_remove(&w->splice, root, &w->scan.m[JREP_MODEL]),
                     ERR_OK);
    check_result(w, "{\"id\":\"a\"}");
}

static void edits_are_bounded(void **state)
{
    struct work *w = *state;

    load(w, "{\"a\":1}", &jscan_request);
    for (int i = 0; i < JSPLICE_EDITS; i++)
        assert_int_equal(
            jsplice_insert(&w->splice, w->scan.root.value, STR("x"), STR("1")),
            ERR_OK);
    assert_int_equal(
        jsplice_insert(&w->splice, w->scan.root.value, STR("x"), STR("1")),
        ERR_FULL);
    w->out.cap = 10;
    assert_int_equal(jsplice_put(&w->splice, &w->out), ERR_NOMEM);
    assert_int_equal(w->out.len, 0);
}

static void every_model_of_a_reply_is_renamed(void **state)
{
    static const struct {
        const char *in, *out;
        unsigned renamed;
    } rows[] = {
        {"{\"id\":\"c\",\"model\":\"up\",\"choices\":[{\"model\":\"up\"}]}",
         "{\"id\":\"c\",\"model\":\"us\",\"choices\":[{\"model\":\"up\"}]}", 1},
        {"{\"type\":\"response.created\",\"response\":{\"model\":\"up\"}}",
         "{\"type\":\"response.created\",\"response\":{\"model\":\"us\"}}", 1},
        {"{\"type\":\"message_start\",\"message\":{\"model\":\"up\"}}",
         "{\"type\":\"message_start\",\"message\":{\"model\":\"us\"}}", 1},
        {"{\"type\":\"ping\"}", "{\"type\":\"ping\"}", 0},
        {"{\"model\":null}", "{\"model\":null}", 0},
        {"{\"model\":\"\"}", "{\"model\":\"\"}", 0},
        {"{\"model\":\"\",\"message\":{\"model\":\"up\"}}",
         "{\"model\":\"\",\"message\":{\"model\":\"us\"}}", 1},
    };
    struct work *w = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsigned n = 99;
        load(w, rows[i].in, &jscan_reply);
        assert_int_equal(
            jsplice_rename_reply(&w->splice, &w->scan, STR("\"us\""), &n),
            ERR_OK);
        assert_int_equal(n, rows[i].renamed);
        check_result(w, rows[i].out);
    }
}

static void text_is_escaped_without_quotes(void **state)
{
    struct work *w = *state;

    assert_int_equal(json_put_str(&w->out, STR("\x01\t\"")), ERR_OK);
    assert_int_equal(json_put_text(&w->out, STR("a\"b")), ERR_OK);
    assert_true(str_eq(buf_str(&w->out), STR("\"\\u0001\\t\\\"\"a\\\"b")));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, work_begin, work_end)
    const struct CMUnitTest tests[] = {
        T(no_edit_gives_the_same_bytes),
        T(model_is_renamed_and_quoted),
        T(usage_is_asked_for_from_every_start),
        T(cap_is_set_or_lowered),
        T(edits_stand_together_in_any_order),
        T(members_are_removed_with_one_comma),
        T(only_member_goes_while_others_come),
        T(clashing_edits_are_refused),
        T(edits_are_bounded),
        T(every_model_of_a_reply_is_renamed),
        T(text_is_escaped_without_quotes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
