/* t_template.c - Chat templates: what they render, which bytes are trusted,
 * what is refused and where, and the bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "token/template.h"

/* 10 July 2025, 00:00 UTC. */
#define NOW_S INT64_C(1752105600)

#define MAX_BYTES ((size_t)8 << 20)

/* Render <source> with <context>; the text, or what was wrong, and with marks
 * around tainted runs when <marks>. */
static char *render(struct str source, const json_t *context, bool marks)
{
    struct template_fault why;
    struct template_text text = {0};
    struct template *t = NULL;
    char *out;
    FILE *f;
    size_t len, at = 0;
    enum err e = template_new(source, &why, &t);

    f = open_memstream(&out, &len);
    assert_non_null(f);
    if (e == ERR_OK)
        e = template_render(t, context, NOW_S, MAX_BYTES, &why, &text);
    if (e != ERR_OK)
        fprintf(f, "%s%s %u:%u %s", t ? "" : "refused ", err_name(e), why.line,
                why.column, why.text);
    for (size_t i = 0; e == ERR_OK && i < text.n_spans; i++) {
        bool mark = marks && !text.spans[i].trusted;

        fputs(mark ? "<" : "", f);
        fwrite(text.text.p + at, 1, text.spans[i].len, f);
        fputs(mark ? ">" : "", f);
        at += text.spans[i].len;
    }
    assert_int_equal(at, text.text.len);
    fclose(f);
    template_text_fini(&text);
    template_free(t);
    return out;
}

static unsigned check(const char *name, const char *got, const char *want)
{
    if (strcmp(got, want) == 0)
        return 0;
    print_error("%s\n  wanted: %s\n  got:    %s\n", name, want, got);
    return 1;
}

/* --- cases of real implementations -------------------------------------- */

/* jansson takes no NUL in a key: it stands as U+E000 until all is parsed. */
static void hide_nuls(char *line)
{
    static const char nul[] = "\\u0000";

    for (char *p = line; *p; p += *p == '\\' && p[1] ? 2 : 1) {
        if (strncmp(p, nul, 6) == 0)
            memcpy(p, "\\ue000", 6);
    }
}

static json_t *show_nuls_str(struct str s)
{
    char *out = malloc(s.len + 1);
    size_t n = 0;
    json_t *j;

    assert_non_null(out);
    for (size_t i = 0; i < s.len; i++) {
        if (str_starts(str_skip(s, i), STR("\xEE\x80\x80"))) {
            out[n++] = '\0';
            i += 2;
        } else {
            out[n++] = s.p[i];
        }
    }
    j = json_stringn_nocheck(out, n);
    free(out);
    return j;
}

static json_t *show_nuls(json_t *j)
{
    json_t *out;

    if (json_is_string(j))
        return show_nuls_str(
            str_of(json_string_value(j), json_string_length(j)));
    if (json_is_array(j)) {
        out = json_array();
        for (size_t i = 0; i < json_array_size(j); i++)
            json_array_append_new(out, show_nuls(json_array_get(j, i)));
        return out;
    }
    if (!json_is_object(j))
        return json_incref(j);
    out = json_object();
    for (void *it = json_object_iter(j); it;
         it = json_object_iter_next(j, it)) {
        json_t *key = show_nuls_str(str_from(json_object_iter_key(it)));

        json_object_setn_new_nocheck(out, json_string_value(key),
                                     json_string_length(key),
                                     show_nuls(json_object_iter_value(it)));
        json_decref(key);
    }
    return out;
}

static unsigned run_case(char *line)
{
    json_t *c, *context;
    const char *source, *want, *name;
    unsigned failed;
    char *got;

    hide_nuls(line);
    c = json_loads(line, 0, NULL);
    assert_non_null(c);
    context = show_nuls(json_object_get(c, "context"));
    source = json_string_value(json_object_get(c, "template"));
    want = json_string_value(json_object_get(c, "expected"));
    name = json_string_value(json_object_get(c, "name"));
    got = render(str_from(source), context, false);
    failed = check(name, got, want);
    free(got);
    json_decref(context);
    json_decref(c);
    return failed;
}

static void run_file(const char *name, unsigned least)
{
    const char *dir = getenv("TOLLGATE_TEST_DATA");
    unsigned n = 0, failed = 0;
    char path[4096], *line = NULL;
    size_t cap = 0;
    FILE *f;

    snprintf(path, sizeof(path), "%s/templates/%s",
             dir ? dir : TG_SRCDIR "/../shared/data", name);
    f = fopen(path, "r");
    if (!f) {
        print_message("%s is not there\n", path);
        skip();
    }
    while (getline(&line, &cap, f) > 0) {
        failed += run_case(line);
        n++;
    }
    free(line);
    fclose(f);
    print_message("%s: %u cases\n", name, n);
    assert_int_equal(failed, 0);
    assert_true(n >= least);
}

static void test_syntax_file(void **state)
{
    (void)state;
    run_file("syntax.jsonl", 157);
}

static void test_chat_file(void **state)
{
    (void)state;
    run_file("chat.jsonl", 10);
}

/* --- our own cases ------------------------------------------------------ */

#include "unit/template_cases.h"

static void run_rows(const struct row *rows, size_t n, bool marks)
{
    unsigned failed = 0;

    for (size_t i = 0; i < n; i++) {
        const char *text = rows[i].context ? rows[i].context : "{}";
        json_t *context = json_loads(text, 0, NULL);
        char *got;

        assert_non_null(context);
        got = render(str_from(rows[i].source), context, marks);
        failed += check(rows[i].source, got, rows[i].want);
        free(got);
        json_decref(context);
    }
    assert_int_equal(failed, 0);
}

#define ROWS(rows) (rows), sizeof(rows) / sizeof((rows)[0])

static void test_rows(void **state)
{
    (void)state;
    run_rows(ROWS(plain_rows), false);
}

static void test_trust(void **state)
{
    (void)state;
    run_rows(ROWS(trust_rows), true);
}

static void test_faults(void **state)
{
    (void)state;
    run_rows(ROWS(fault_rows), false);
}

/* --- bounds ------------------------------------------------------------- */

/* Render <source> with a message of <len> bytes; the result's length. */
static enum err render_large(const char *source, size_t len, size_t *out)
{
    struct template_fault why;
    struct template_text text = {0};
    struct template *t = NULL;
    char *content = malloc(len + 1);
    json_t *context;
    enum err e;

    assert_non_null(content);
    memset(content, 'x', len);
    content[len] = '\0';
    context = json_pack("{s:[{s:s, s:s}]}", "messages", "role", "user",
                        "content", content);
    assert_non_null(context);
    assert_int_equal(template_new(str_from(source), &why, &t), ERR_OK);
    e = template_render(t, context, 0, MAX_BYTES, &why, &text);
    *out = text.text.len;
    template_text_fini(&text);
    template_free(t);
    json_decref(context);
    free(content);
    return e;
}

static void test_large_message(void **state)
{
    static const char *const sources[] = {
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m['content'] | trim }}"
        "{% endfor %}",
        "{% set ns = namespace(s='') %}{% for i in range(3) %}{% for m in "
        "messages %}{% set ns.s = ns.s + m.content[:9] ~ m.content[9:] %}"
        "{% endfor %}{% endfor %}{{ ns.s | replace('xx', 'x') }}",
        "{% for m in messages %}{{ m.content | upper | tojson }}{% endfor %}",
    };
    const size_t want[] = {((size_t)1 << 20) + 9, (size_t)3 << 19,
                           ((size_t)1 << 20) + 2};
    size_t len;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(render_large(sources[i], (size_t)1 << 20, &len),
                         ERR_OK);
        assert_int_equal(len, want[i]);
    }
}

/* A string that grows by a little, many times, is not copied each time: a
 * quadratic one would pass the bound on steps. */
static void test_appending(void **state)
{
    size_t len;

    (void)state;
    assert_int_equal(
        render_large("{% set ns = namespace(s='') %}{% for i in range(50000) "
                     "%}{% set ns.s = ns.s + 'abcdefghij' %}{% endfor %}"
                     "{{ ns.s }}",
                     1, &len),
        ERR_OK);
    assert_int_equal(len, 500000);
}

static void test_bounds(void **state)
{
    static const char *const sources[] = {
        "{% for i in range(90000) %}{% for j in range(90000) %}"
        "{% endfor %}{% endfor %}",
        "{% set ns = namespace(s='x') %}{% for i in range(60) %}"
        "{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{{ 'x' * 99999999999 }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}"
        "{% set ns.l = ns.l + ns.l %}{% endfor %}",
    };
    size_t len;

    (void)state;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(render_large(sources[i], 1, &len), ERR_FULL);
    assert_int_equal(render_large("{% macro m() %}{{ m() }}{% endmacro %}"
                                  "{{ m() }}",
                                  1, &len),
                     ERR_SYNTAX);
}

/* --- capabilities ------------------------------------------------------- */

static struct template_caps caps_of(const char *source)
{
    struct template_fault why;
    struct template *t = NULL;
    struct template_caps c;

    assert_int_equal(template_new(str_from(source), &why, &t), ERR_OK);
    c = *template_caps(t);
    template_free(t);
    return c;
}

static void test_caps(void **state)
{
    struct template_caps c;

    (void)state;
    c = caps_of("{% for m in messages %}{{ m.role }}: {{ m.content }}\n"
                "{% endfor %}");
    assert_true(c.content_string && c.system && !c.tools && !c.tool_calls);
    assert_false(c.content_parts);
    c = caps_of("{% if messages[0].role == 'system' %}"
                "{{ raise_exception('no system') }}{% endif %}"
                "{% for m in messages %}{{ '<' + m.content + '>' }}"
                "{% endfor %}");
    assert_true(c.content_string && !c.system && !c.content_parts);
    c = caps_of("{% if tools %}{{ tools | tojson }}{% endif %}"
                "{% for m in messages %}{% if m.tool_calls %}"
                "{% for t in m.tool_calls %}{{ t.function.name }}("
                "{{ t.function.arguments | tojson }}){% endfor %}{% elif "
                "m.content is string %}{{ m.content }}{% else %}"
                "{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}"
                "{% endfor %}");
    assert_true(c.tools && c.tool_calls && c.content_parts && c.system);
    assert_false(c.call_arguments_text);
    c = caps_of("{% for m in messages %}{{ m.content }}{% for t in "
                "m.tool_calls or [] %}{{ t.function.name + "
                "t.function.arguments }}{% endfor %}{% endfor %}");
    assert_true(c.tool_calls && c.call_arguments_text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_syntax_file),   cmocka_unit_test(test_chat_file),
        cmocka_unit_test(test_rows),          cmocka_unit_test(test_trust),
        cmocka_unit_test(test_faults),        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_large_message), cmocka_unit_test(test_appending),
        cmocka_unit_test(test_caps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
