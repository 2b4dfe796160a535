/* t_conf_sample.c - The sample configuration: every setting of it, with the
 * '#' taken away, is good and is the default, unless it says "example". */
#include "conf/conf_put.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#ifndef TG_SRCDIR
#define TG_SRCDIR "."
#endif

/* Whether <line> is a setting behind a '#': a key follows at once, or after
 * two blanks or more; prose follows after one. */
static bool is_setting(const char *line)
{
    return line[0] == '#' && ((line[1] >= 'a' && line[1] <= 'z') ||
                              (line[1] == ' ' && line[2] == ' '));
}

/* The sample, with <settings> its settings uncommented. */
static void read_sample(struct buf *b, bool settings)
{
    FILE *f = fopen(TG_SRCDIR "/etc/tollgate.yaml", "r");
    char line[256];

    if (!f)
        fail_msg("no %s", TG_SRCDIR "/etc/tollgate.yaml");
    while (fgets(line, sizeof(line), f)) {
        const char *text = settings && is_setting(line) ? line + 1 : line;

        assert_true(strlen(line) <= 80 && strchr(line, '\n'));
        assert_int_equal(buf_put_str(b, str_from(text)), ERR_OK);
    }
    assert_int_equal(fclose(f), 0);
}

static struct conf *must_load(const struct buf *b, size_t *warnings_out)
{
    struct conf_report r = {0};
    struct conf *c = NULL;

    if (conf_load_text("F", buf_str(b), CONF_OFFLINE, &r, &c) != ERR_OK)
        fail_msg("%s", r.n_items ? r.items[0].text : "no reason told");
    *warnings_out = r.n_warnings;
    conf_report_fini(&r);
    return c;
}

static void as_shipped_it_is_the_default(void **state)
{
    struct conf_changes ch = {0};
    struct conf *c;
    struct conf *d;
    struct buf b;
    size_t n;

    (void)state; /* cmocka's signature */
    buf_init(&b, 1 << 20);
    d = must_load(&b, &n);
    read_sample(&b, false);
    c = must_load(&b, &n);
    assert_int_equal(n, 1); /* no upstream is configured */
    assert_int_equal(conf_diff(c, d, &ch), ERR_OK);
    assert_int_equal(ch.n_items, 0);
    conf_changes_fini(&ch);
    conf_unref(c);
    conf_unref(d);
    buf_fini(&b);
}

/* The rows that stand directly in the file or in maps, at the top. */
static bool is_top(const struct opt *o)
{
    return !strstr(o->path, "[]") && o->type != OPT_MAP &&
           o->type != OPT_LIST && o->def;
}

static void uncommented_it_shows_the_defaults(void **state)
{
    struct conf *c;
    struct conf *d;
    struct buf text;
    struct buf empty;
    size_t n;

    (void)state; /* cmocka's signature */
    buf_init(&text, 1 << 20);
    buf_init(&empty, 1 << 20);
    read_sample(&text, true);
    c = must_load(&text, &n);
    d = must_load(&empty, &n);
    for (size_t i = 0; i < conf_opts_count; i++) {
        struct buf a;
        struct buf b;
        struct out x = {.b = &a, .bare = true};
        struct out y = {.b = &b, .bare = true};

        if (!is_top(&conf_opts[i]))
            continue;
        buf_init(&a, 4096);
        buf_init(&b, 4096);
        assert_true(conf_put_value(&x, &conf_opts[i], c));
        assert_true(conf_put_value(&y, &conf_opts[i], d));
        if (!str_eq(buf_str(&a), buf_str(&b)))
            fail_msg("sample %.*s, default %.*s", STR_ARG(buf_str(&a)),
                     STR_ARG(buf_str(&b)));
        buf_fini(&a);
        buf_fini(&b);
    }
    conf_unref(c);
    conf_unref(d);
    buf_fini(&text);
    buf_fini(&empty);
}

static void its_upstream_shows_the_defaults(void **state)
{
    static const char bare[] = "upstreams:\n"
                               "  - name: openai\n"
                               "    base_url: https://api.openai.com/v1\n"
                               "    api_key: env:OPENAI_API_KEY\n"
                               "    models: [gpt-5*, text-embedding-*]\n"
                               "  - name: azure\n"
                               "    base_url: "
                               "https://example.openai.azure.com\n"
                               "    dialect: azure\n"
                               "    api_keys: [env:AZURE_KEY_1, "
                               "env:AZURE_KEY_2]\n";
    struct conf_changes ch = {0};
    struct conf *c;
    struct conf *d;
    struct buf text;
    struct buf b;
    size_t n;

    (void)state; /* cmocka's signature */
    buf_init(&text, 1 << 20);
    buf_init(&b, 4096);
    read_sample(&text, true);
    assert_int_equal(buf_put_str(&b, str_from(bare)), ERR_OK);
    c = must_load(&text, &n);
    d = must_load(&b, &n);
    assert_int_equal(conf_diff(c, d, &ch), ERR_OK);
    for (size_t i = 0; i < ch.n_items; i++)
        if (str_starts(str_from(ch.items[i].key), STR("upstreams")))
            fail_msg("%s is not the default", ch.items[i].key);
    assert_true(ch.n_items > 0); /* engine, routes and others are examples */
    conf_changes_fini(&ch);
    conf_unref(c);
    conf_unref(d);
    buf_fini(&text);
    buf_fini(&b);
}

static void the_minimal_one_is_good(void **state)
{
    struct conf_report r = {0};
    struct conf *c = NULL;

    (void)state; /* cmocka's signature */
    assert_int_equal(conf_load_file(TG_SRCDIR "/etc/tollgate-minimal.yaml",
                                    CONF_OFFLINE, &r, &c),
                     ERR_OK);
    assert_int_equal(r.n_items, 0);
    assert_int_equal(c->passthrough, 0);
    conf_report_fini(&r);
    conf_unref(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_shipped_it_is_the_default),
        cmocka_unit_test(uncommented_it_shows_the_defaults),
        cmocka_unit_test(its_upstream_shows_the_defaults),
        cmocka_unit_test(the_minimal_one_is_good),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
