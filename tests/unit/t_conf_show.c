/* t_conf_show.c - What is shown of a snapshot: it loads again, holds no
 * secret, and two of them differ where they differ; the table is sound. */
#include "base/arena.h"
#include "conf/conf_bind.h"
#include "conf/conf_put.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct conf *must_load(struct str text)
{
    struct conf_report r = {0};
    struct conf *c = NULL;

    if (conf_load_text("F", text, CONF_OFFLINE, &r, &c) != ERR_OK)
        fail_msg("%s\nin:\n%.*s",
                 r.n_items ? r.items[0].text : "no reason told", STR_ARG(text));
    conf_report_fini(&r);
    return c;
}

static const char rich[] =
    "listen:\n"
    "  - {address: '[::]:1', tls: {cert: /c, key: /k, names: [a.b]}}\n"
    "  - {address: 'unix:/s p', mode: 0600}\n"
    "state_dir: \"/a \\\"b\\\\\xc3\xa9\"\n"
    "limits: {idle_timeout: 90s, body: 1536KiB, body_min_rate: 0}\n"
    "upstreams:\n"
    "  - name: a\n"
    "    base_url: https://h/v1\n"
    "    api_key: hunter2\n"
    "    headers: {X-A: \"b, c: d\", Authorization: hunter2, 'null': e}\n"
    "    models: [gpt-*, 'null']\n"
    "    proxy: 'http://u:hunter2@h:1'\n"
    "  - {name: b, base_url: 'https://h', api_keys: [env:A, hunter2],\n"
    "     models: [], headers: {X-Env: env:B}}\n"
    "routes: [{model: m, targets: [{upstream: a, weight: 2,\n"
    "  model: \"m\xc3\xb6\xe6\xa8\xa1 4 o\"}],\n"
    "          fallbacks: [n],\n"
    "          fallback_on: [context_length, content_filter]},\n"
    "         {model: n, targets: [{upstream: b}], fallback_on: []}]\n"
    "cluster: {redis: 'redis://:hunter2@h'}\n";

static void what_is_printed_loads_again(void **state)
{
    static const char *const texts[] = {"", rich, "routes: []"};

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct conf *c = must_load(str_from(texts[i]));
        struct conf *d;
        struct buf one;
        struct buf two;

        buf_init(&one, 1 << 20);
        buf_init(&two, 1 << 20);
        assert_int_equal(conf_print(c, &one), ERR_OK);
        d = must_load(buf_str(&one));
        assert_int_equal(conf_print(d, &two), ERR_OK);
        assert_true(str_eq(buf_str(&one), buf_str(&two)));
        assert_int_equal(c->routes_given, d->routes_given);
        conf_unref(c);
        conf_unref(d);
        buf_fini(&one);
        buf_fini(&two);
    }
}

static void no_secret_is_printed(void **state)
{
    struct conf *c = must_load(str_from(rich));
    struct buf b;

    (void)state; /* cmocka's signature */
    buf_init(&b, 1 << 20);
    assert_int_equal(conf_print(c, &b), ERR_OK);
    assert_int_equal(str_find(buf_str(&b), STR("hunter2")), b.len);
    assert_true(str_find(buf_str(&b), STR("api_key: \"***\"\n")) < b.len);
    assert_true(str_find(buf_str(&b), STR("api_keys: [env:A, \"***\"]")) <
                b.len);
    assert_true(str_find(buf_str(&b), STR("\"http://***@h:1\"")) < b.len);
    assert_true(str_find(buf_str(&b), STR("\"redis://***@h\"")) < b.len);
    assert_true(
        str_find(buf_str(&b), STR("{X-A: \"b, c: d\", Authorization: \"***\", "
                                  "\"null\": e}")) < b.len);
    conf_unref(c);
    buf_fini(&b);
}

static void printing_stops_at_the_cap(void **state)
{
    struct conf *c = must_load(str_from(rich));
    struct buf b;

    (void)state; /* cmocka's signature */
    buf_init(&b, 200);
    assert_int_equal(buf_put_str(&b, STR("x")), ERR_OK);
    assert_int_equal(conf_print(c, &b), ERR_NOMEM);
    assert_int_equal(b.len, 1);
    conf_unref(c);
    buf_fini(&b);
}

/* What must be listed as changed from <a> to <b>: "KEY" or "KEY!" where a
 * restart is needed, in order, split by spaces. */
static const struct {
    const char *a;
    const char *b;
    const char *changes;
} diffs[] = {
    {rich, rich, ""},
    {"", "workers: 2", "workers!"},
    {"", "workers: auto", ""},
    {"", "limits: {idle_timeout: 75000ms}", ""},
    {"", "limits: {idle_timeout: 76s}", "limits.idle_timeout"},
    {"", "state_dir: /x", "state_dir! control_socket!"},
    {"", "log: {level: debug}\nauth: {failures: {limit: 1}}",
     "auth.failures.limit log.level"},
    {"", "metrics: {address: 127.0.0.1:1}", "metrics.address!"},
    {"", "listen: [{address: 127.0.0.1:1}]",
     "listen[127.0.0.1:4141]! listen[127.0.0.1:1]!"},
    {"listen: [{address: 'unix:/a'}]",
     "listen: [{address: 'unix:/a', mode: 0600}]", "listen[unix:/a].mode!"},
    {"listen: [{tls: {cert: /c, key: /k}}]",
     "listen: [{tls: {cert: /d, key: /k}}]",
     "listen[127.0.0.1:4141].tls[/c].cert"},
    {"listen: [{tls: {cert: /c, key: /k}}]",
     "listen: [{tls: [{cert: /c, key: /k}, {cert: /d, key: /e}]}]",
     "listen[127.0.0.1:4141].tls"},
    {"listen: [{tls: {cert: /c, key: /k}}]", "listen: [{}]",
     "listen[127.0.0.1:4141].tls!"},
    {"upstreams: [{name: a, base_url: 'https://h'}]",
     "upstreams: [{name: a, base_url: 'https://i'}, {name: b, base_url: "
     "'https://j'}]",
     "upstreams[a].base_url upstreams[b]"},
    {"upstreams: [{name: a, base_url: 'https://h'}, {name: b, base_url: "
     "'https://j'}]",
     "upstreams: [{name: b, base_url: 'https://j', http2: true}, {name: a, "
     "base_url: 'https://h'}]",
     "upstreams[b].http2"},
    {"upstreams: [{name: a, base_url: 'https://h'}, {name: b, base_url: "
     "'https://j'}]",
     "upstreams: [{name: b, base_url: 'https://j'}, {name: a, base_url: "
     "'https://h'}]",
     "upstreams"},
    {"upstreams: [{name: a, base_url: 'https://h', api_key: one}]",
     "upstreams: [{name: a, base_url: 'https://h', api_key: two}]",
     "upstreams[a].api_key"},
    {"upstreams: [{name: a, base_url: 'https://h', api_key: one}]",
     "upstreams: [{name: a, base_url: 'https://h', api_keys: [one, two]}]",
     "upstreams[a].api_key upstreams[a].api_keys"},
    {"upstreams: [{name: a, base_url: 'https://h'}]",
     "upstreams: [{name: a, base_url: 'https://h', models: []}]",
     "upstreams[a].models"},
    {"upstreams: [{name: a, base_url: 'https://h', headers: {b: c}}]",
     "upstreams: [{name: a, base_url: 'https://h', headers: {b: d}}]",
     "upstreams[a].headers"},
    {"upstreams: [{name: a, base_url: 'https://h'}]\n"
     "routes: [{model: m, targets: [{upstream: a}]}]",
     "upstreams: [{name: a, base_url: 'https://h'}]\n"
     "routes: [{model: m, targets: [{upstream: a, weight: 2}]}]",
     "routes[m].targets[a].weight"},
    {"cluster: {redis: 'redis://:a@h'}", "cluster: {redis: 'redis://:b@h'}",
     "cluster.redis"},
};

static void changes_are_listed(void **state)
{
    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(diffs) / sizeof(diffs[0]); i++) {
        struct conf *a = must_load(str_from(diffs[i].a));
        struct conf *b = must_load(str_from(diffs[i].b));
        struct conf_changes ch = {0};
        char got[512] = "";
        size_t restarts = 0;

        assert_int_equal(conf_diff(a, b, &ch), ERR_OK);
        for (size_t j = 0; j < ch.n_items; j++) {
            size_t used = strlen(got);

            restarts += ch.items[j].restart;
            snprintf(got + used, sizeof(got) - used, "%s%s%s", j > 0 ? " " : "",
                     ch.items[j].key, ch.items[j].restart ? "!" : "");
        }
        assert_string_equal(got, diffs[i].changes);
        assert_int_equal(restarts, ch.n_restart);
        conf_changes_fini(&ch);
        conf_unref(a);
        conf_unref(b);
    }
}

static void the_table_is_sound(void **state)
{
    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < conf_opts_count; i++) {
        const struct opt *o = &conf_opts[i];
        size_t parents = strchr(o->path, '.') ? 0 : 1;

        assert_ptr_equal(opt_find(o->path), o);
        assert_true(strlen(o->help) > 0 && strlen(o->help) < 80);
        if (o->type == OPT_LIST)
            assert_true(i + 1 < conf_opts_count && o->size > 0 &&
                        opt_is_child(o + 1, o));
        if (o->flags & OPT_REQUIRED)
            assert_non_null(o->example);
        if (o->type != OPT_MAP && !o->def)
            assert_non_null(o->example);
        for (size_t j = 0; j < i; j++)
            parents += (conf_opts[j].type == OPT_MAP ||
                        conf_opts[j].type == OPT_LIST) &&
                       opt_is_child(o, &conf_opts[j]);
        if (parents != 1)
            fail_msg("%s has no map above it", o->path);
    }
    assert_null(opt_find("limit"));
}

/* A default is written as it would be printed, but for longer units. */
static void every_default_is_one_of_its_type(void **state)
{
    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < conf_opts_count; i++) {
        const struct opt *o = &conf_opts[i];
        struct conf_report r = {0};
        struct say say = {&r, "F"};
        struct bind b = {&say, arena_new(4096, 1 << 20), CONF_OFFLINE, 0, 0, 0};
        struct ynode n = {.kind = YNODE_SCALAR};
        _Alignas(16) char base[2048] = {0};

        assert_true(o->off + sizeof(struct conf_url) <= sizeof(base));
        if (o->def && o->def[0] != '[' && o->def[0] != '{') {
            n.text = o->def[0] == '"' ? STR("") : str_from(o->def);
            bind_value(&b, o, &n, base);
        }
        if (r.n_errors > 0)
            fail_msg("%s", r.items[0].text);
        assert_false(b.nomem);
        conf_report_fini(&r);
        arena_free(b.mem);
    }
}

static void the_table_is_described(void **state)
{
    struct buf b;
    struct str rest;
    struct str line;
    size_t n = 0;

    (void)state; /* cmocka's signature */
    buf_init(&b, 1 << 20);
    assert_int_equal(conf_describe(&b), ERR_OK);
    rest = buf_str(&b);
    while (str_split(&rest, '\n', &line)) {
        size_t tabs = 0;

        for (size_t i = 0; i < line.len; i++)
            tabs += line.p[i] == '\t';
        assert_int_equal(tabs, 5);
        n++;
    }
    assert_int_equal(n, conf_opts_count);
    assert_true(str_find(buf_str(&b), STR("cache.responses.ttl\tduration\t1h"
                                          "\t\t-\t")) < b.len);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_printed_loads_again),
        cmocka_unit_test(no_secret_is_printed),
        cmocka_unit_test(printing_stops_at_the_cap),
        cmocka_unit_test(changes_are_listed),
        cmocka_unit_test(the_table_is_sound),
        cmocka_unit_test(every_default_is_one_of_its_type),
        cmocka_unit_test(the_table_is_described),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
