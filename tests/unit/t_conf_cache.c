/* t_conf_cache.c - The rules of stored replies: defaults, routes, reloads. */
#include "conf/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Load <text>, which must be good. */
static struct conf *must_load(const char *text)
{
    struct conf_report r = {0};
    struct conf *c = NULL;

    if (conf_load_text("F", str_from(text), 0, &r, &c) != ERR_OK)
        fail_msg("%s", r.n_items ? r.items[0].text : "no reason told");
    conf_report_fini(&r);
    return c;
}

#define is_str(s, want) assert_string_equal((s).p ? (s).p : "", want)

static void what_is_not_said_is_careful(void **state)
{
    struct conf *c = must_load("");

    (void)state; /* cmocka's signature */
    assert_int_equal(c->cache.keep, CONF_KEEP_DETERMINISTIC);
    assert_int_equal(c->cache.charge, CONF_CHARGE_NONE);
    assert_int_equal(c->cache.pace, CONF_PACE_INSTANT);
    assert_int_equal(c->cache.stale_if_error_ms, 0);
    assert_int_equal(c->cache.stale_while_refresh_ms, 0);
    assert_false(c->cache.exact_mode);
    assert_int_equal(c->cache.n_ignore, 7);
    is_str(c->cache.ignore[0], "user");
    is_str(c->cache.ignore[5], "input[].id");
    is_str(c->cache.ignore[6], "system[x-anthropic-billing-header]");
    conf_unref(c);
}

static void a_route_has_its_own_rule_for_replies_or_that_of_all(void **state)
{
    struct conf *c =
        must_load("upstreams: [{name: a, base_url: 'https://h/v1'}]\n"
                  "routes:\n"
                  "  - {model: m, targets: [{upstream: a}]}\n"
                  "  - {model: n, targets: [{upstream: a}], cache: never, "
                  "cache_ttl: 5s}\n"
                  "cache: {responses: {keep: always, ttl: 9s}, charge: full, "
                  "pace: recorded, exact_mode: true, ignore: [user]}\n");
    struct conf *d = must_load("cache: {responses: {enabled: true, size: "
                               "2MiB, ttl: 8s}, ignore: []}");

    (void)state; /* cmocka's signature */
    assert_int_equal(conf_keep_of(c, NULL), CONF_KEEP_ALWAYS);
    assert_int_equal(conf_keep_of(c, &c->routes[0]), CONF_KEEP_ALWAYS);
    assert_int_equal(conf_keep_of(c, &c->routes[1]), CONF_KEEP_NEVER);
    assert_int_equal(conf_ttl_of(c, NULL), 9000);
    assert_int_equal(conf_ttl_of(c, &c->routes[0]), 9000);
    assert_int_equal(conf_ttl_of(c, &c->routes[1]), 5000);
    assert_int_equal(c->cache.charge, CONF_CHARGE_FULL);
    assert_int_equal(c->cache.pace, CONF_PACE_RECORDED);
    assert_true(c->cache.exact_mode);
    assert_int_equal(c->cache.n_ignore, 1);
    assert_int_equal(d->cache.n_ignore, 0);
    conf_keep_cache(d, c); /* whether there is one stays, its rules do not */
    assert_false(d->cache.responses);
    assert_int_equal(d->cache.size_bytes, c->cache.size_bytes);
    assert_int_equal(d->cache.ttl_ms, 8000);
    conf_unref(c);
    conf_unref(d);
}

#define UP "upstreams: [{name: a, base_url: 'https://h/v1'"

static void mistakes_are_told_in_their_places(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {UP "}]\ncache: {ignore: [a.b, 'a..b']}",
         "2:23: cache.ignore: \"a..b\" is no path of members"},
        {UP "}]\ncache: {ignore: ['a[b].c']}",
         "2:18: cache.ignore: \"a[b].c\" is no path"},
        {UP "}]\ncache: {ignore: [a.b.c.d.e]}",
         "2:18: cache.ignore: \"a.b.c.d.e\" is no path"},
        {UP "}]\ncache: {ignore: ['a[']}",
         "2:18: cache.ignore: \"a[\" is no path"},
        {UP "}]\ncache: {ignore: ['[]']}",
         "2:18: cache.ignore: \"[]\" is no path"},
        {UP "}]\ncache: {ignore: [messages]}",
         "2:18: cache.ignore: \"messages\" is what is asked for"},
        {UP "}]\ncache: {responses: {keep: some}}",
         "2:27: cache.responses.keep"},
        {UP "}]\nroutes: [{model: m, targets: [{upstream: a}], cache: 1}]",
         "2:54: routes[].cache"},
    };

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct conf_report r = {0};
        struct conf *c = NULL;

        assert_int_equal(
            conf_load_text("F", str_from(cases[i].text), 0, &r, &c),
            ERR_SYNTAX);
        assert_int_equal(r.n_items, 1);
        assert_non_null(strstr(r.items[0].text, cases[i].why));
        conf_report_fini(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_said_is_careful),
        cmocka_unit_test(mistakes_are_told_in_their_places),
        cmocka_unit_test(a_route_has_its_own_rule_for_replies_or_that_of_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
