/* t_conf.c - Snapshots: defaults, files, secrets, references, look-ups. */
#include "conf/conf.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/t_conf.XXXXXX";

/* Write <text> to a file <name> of the test's directory, with <mode>. */
static char *file_of(const char *name, const char *text, mode_t mode)
{
    static char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    unlink(path);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
    return path;
}

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

static void an_empty_file_gives_the_defaults(void **state)
{
    struct conf *c = must_load("");

    (void)state; /* cmocka's signature */
    assert_int_equal(c->n_listen, 1);
    is_str(c->listen[0].address.text, "127.0.0.1:4141");
    is_str(c->listen[0].address.host, "127.0.0.1");
    assert_int_equal(c->listen[0].address.port, 4141);
    assert_int_equal(c->listen[0].address.family, AF_INET);
    assert_int_equal(c->listen[0].mode, 0660);
    assert_int_equal(c->listen[0].n_tls, 0);
    is_str(c->state_dir, "/var/lib/tollgate");
    is_str(c->control_socket, "/run/tollgate/control.sock");
    assert_int_equal(c->workers, 0);
    assert_int_equal(c->drain_timeout_ms, 30000);
    assert_true(c->auth.required);
    assert_int_equal(c->auth.failures_limit, 20);
    assert_int_equal(c->auth.failures_window_ms, 60000);
    assert_int_equal(c->limits.body_bytes, 67108864);
    assert_int_equal(c->limits.header_timeout_ms, 10000);
    assert_int_equal(c->limits.idle_timeout_ms, 75000);
    assert_int_equal(c->limits.connections, 20000);
    assert_int_equal(c->limits.header_bytes, 32768);
    assert_int_equal(c->limits.body_min_rate_bps, 1024);
    assert_int_equal(c->limits.body_grace_ms, 10000);
    assert_int_equal(c->limits.write_stall_ms, 60000);
    assert_int_equal(c->limits.max_buffered_bytes, 1073741824);
    assert_int_equal(c->cors.n_origins, 0);
    assert_int_equal(c->keepalive, CONF_KEEPALIVE_COMMENT);
    assert_int_equal(c->keepalive_ms, 10000);
    assert_int_equal(c->passthrough, -1);
    assert_int_equal(c->n_upstreams, 0);
    assert_false(c->routes_given);
    assert_int_equal(c->metrics.family, AF_UNSPEC);
    assert_int_equal(c->log.level, LOG_LEVEL_INFO);
    assert_int_equal(c->log.access_to, CONF_ACCESS_STDERR);
    assert_int_equal(c->log.format, CONF_LOG_JSON);
    assert_int_equal(c->engine.prefix_size_bytes, 8589934592);
    assert_int_equal(c->engine.prefix_scope, CONF_SCOPE_KEY);
    assert_int_equal(c->engine.prefix_admission, CONF_ADMISSION_FIRST);
    assert_int_equal(c->engine.prefix_dir.len, 0);
    assert_int_equal(c->engine.prefix_write_bytes, 0);
    assert_int_equal(c->engine.prefix_epoch, 0);
    assert_int_equal(c->engine.cuda_blas_dir.len, 0);
    assert_int_equal(c->engine.cuda_reserve_bytes, 0);
    assert_false(c->engine.deterministic);
    assert_false(c->cache.responses);
    assert_int_equal(c->cache.ttl_ms, 3600000);
    assert_true(c->cache.coalesce);
    is_str(c->prices, "/etc/tollgate/prices.yaml");
    conf_unref(c);
}

static void the_prefix_store_is_in_the_state_directory_or_its_own(void **state)
{
    struct conf *c = must_load("state_dir: /s");
    char root[CONF_PREFIX_ROOT_BYTES];

    (void)state; /* cmocka's signature */
    conf_prefix_root(c, root);
    assert_string_equal(root, "/s/prefix");
    conf_unref(c);
    c = must_load("state_dir: /s\nengine: {prefix_store: {dir: /p/q}}");
    conf_prefix_root(c, root);
    assert_string_equal(root, "/p/q");
    conf_unref(c);
}

static void an_upstream_has_its_defaults(void **state)
{
    struct conf *c = must_load("upstreams:\n"
                               "  - name: a\n"
                               "    base_url: https://h/v1/\n");
    const struct conf_upstream *u = &c->upstreams[0];

    (void)state; /* cmocka's signature */
    is_str(u->url.text, "https://h/v1");
    assert_int_equal(u->dialect, CONF_DIALECT_OPENAI);
    assert_int_equal(u->n_keys, 0);
    is_str(u->api_version, "2024-10-21");
    assert_int_equal(u->n_headers, 0);
    assert_false(u->models_given);
    assert_int_equal(u->timeouts.connect_ms, 5000);
    assert_int_equal(u->timeouts.first_byte_ms, 120000);
    assert_int_equal(u->timeouts.idle_ms, 60000);
    assert_int_equal(u->timeouts.total_ms, 600000);
    assert_int_equal(u->retries.attempts, 3);
    assert_int_equal(u->retries.backoff_ms, 250);
    assert_int_equal(u->retries.backoff_max_ms, 8000);
    assert_false(u->retries.retry_ambiguous);
    assert_int_equal(u->breaker.failures, 5);
    assert_int_equal(u->breaker.window_ms, 30000);
    assert_int_equal(u->breaker.open_ms, 15000);
    assert_int_equal(u->max_in_flight, 0);
    assert_false(u->http2);
    assert_int_equal(secret_reveal(&u->proxy).len, 0);
    assert_true(u->tls.verify);
    assert_int_equal(u->tls.ca.len, 0);
    assert_int_equal(u->tls.server_name.len, 0);
    conf_unref(c);
}

static const char full[] =
    "listen:\n"
    "  - address: \"[::1]:0\"\n"
    "    tls: {cert: /etc/passwd, key: /etc/passwd}\n"
    "  - address: unix:/tmp/x.sock\n"
    "    mode: 0600\n"
    "    tls:\n"
    "      - {cert: /etc/passwd, key: /etc/passwd, names: [a.b, '*.c']}\n"
    "      - {cert: /etc/group, key: /etc/group}\n"
    "state_dir: /srv/tg\n"
    "workers: 4\n"
    "cors: {origins: ['*', 'https://app.example:8443']}\n"
    "keepalive: {mode: off, interval: 500ms}\n"
    "passthrough: b\n"
    "upstreams:\n"
    "  - name: a\n"
    "    base_url: https://a.example/v1\n"
    "    api_key: env:TG_TEST_KEY\n"
    "    headers: {X-One: 1, Authorization: 'env:TG_TEST_HEADER'}\n"
    "    models: [gpt-5*, \"*-mini\"]\n"
    "  - name: b\n"
    "    base_url: http://127.0.0.1:9/\n"
    "    dialect: azure\n"
    "    api_keys: [env:TG_TEST_KEY, two]\n"
    "    models: []\n"
    "    http2: true\n"
    "    proxy: socks5h://u:p@proxy:1080\n"
    "engine: {models: [{name: demo, path: /m.gguf, weights: fp8},\n"
    "  {name: bench, path: 'synthetic:tiny:q8_0'}], threads: 2,\n"
    "  prefix_store: {size: 1GiB, scope: team, admission: auto, dir: /p/q,\n"
    "    write_per_hour: 2GiB, epoch: 7},\n"
    "  cuda: {blas_dir: /c/lib, reserve: 3GiB}, deterministic: true}\n"
    "routes:\n"
    "  - model: fast*\n"
    "    targets:\n"
    "      - {upstream: b, model: gpt-5-mini, weight: 3}\n"
    "      - {engine: demo, weight: 0}\n"
    "    strategy: latency\n"
    "  - model: \"*\"\n"
    "    targets: [{upstream: a}]\n"
    "    fallbacks: [fast*]\n"
    "    fallback_on: [content_filter, error]\n"
    "    hedge_after: 2s\n"
    "  - model: fast-1\n"
    "    targets: [{upstream: a}]\n"
    "log: {level: debug, access: /var/log/a, format: text}\n"
    "metrics: {address: 127.0.0.1:0}\n"
    "telemetry: {otlp: 'http://c:4318'}\n"
    "cluster: {redis: 'redis://:pw@r:6379/2'}\n";

static void every_part_is_filled(void **state)
{
    struct conf *c = must_load(full);

    (void)state; /* cmocka's signature */
    assert_int_equal(c->n_listen, 2);
    assert_int_equal(c->listen[0].address.family, AF_INET6);
    assert_int_equal(c->listen[0].n_tls, 1);
    is_str(c->listen[0].tls[0].key, "/etc/passwd");
    is_str(c->listen[1].address.path, "/tmp/x.sock");
    assert_int_equal(c->listen[1].mode, 0600);
    assert_int_equal(c->listen[1].n_tls, 2);
    assert_int_equal(c->listen[1].tls[0].n_names, 2);
    is_str(c->listen[1].tls[0].names[1], "*.c");
    is_str(c->state_dir, "/srv/tg");
    is_str(c->control_socket, "/srv/tg/control.sock");
    assert_int_equal(c->workers, 4);
    assert_true(c->cors.any);
    assert_int_equal(c->cors.n_origins, 2);
    assert_int_equal(c->keepalive, CONF_KEEPALIVE_OFF);
    assert_int_equal(c->keepalive_ms, 500);
    assert_int_equal(c->passthrough, 1);
    assert_int_equal(c->log.level, LOG_LEVEL_DEBUG);
    assert_int_equal(c->log.access_to, CONF_ACCESS_FILE);
    assert_int_equal(c->log.format, CONF_LOG_TEXT);
    assert_int_equal(c->metrics.family, AF_INET);
    is_str(c->otlp, "http://c:4318");
    is_str(secret_reveal(&c->redis), "redis://:pw@r:6379/2");
    assert_int_equal(c->engine.n_models, 2);
    is_str(c->engine.models[1].path, "synthetic:tiny:q8_0");
    assert_int_equal(c->engine.threads, 2);
    is_str(c->engine.models[0].device, "auto");
    assert_true(c->engine.models[0].prefix_store);
    assert_int_equal(c->engine.models[0].weights, CONF_WEIGHTS_FP8);
    assert_int_equal(c->engine.models[1].weights, CONF_WEIGHTS_AUTO);
    assert_int_equal(c->engine.prefix_size_bytes, 1073741824);
    assert_int_equal(c->engine.prefix_scope, CONF_SCOPE_TEAM);
    assert_int_equal(c->engine.prefix_admission, CONF_ADMISSION_AUTO);
    is_str(c->engine.prefix_dir, "/p/q");
    assert_int_equal(c->engine.prefix_write_bytes, 2147483648);
    assert_int_equal(c->engine.prefix_epoch, 7);
    is_str(c->engine.cuda_blas_dir, "/c/lib");
    assert_int_equal(c->engine.cuda_reserve_bytes, 3221225472);
    assert_true(c->engine.deterministic);
    conf_unref(c);
}

static void upstreams_and_routes_are_resolved(void **state)
{
    struct conf *c = must_load(full);
    const struct conf_upstream *a = &c->upstreams[0];
    const struct conf_upstream *b = &c->upstreams[1];

    (void)state; /* cmocka's signature */
    is_str(secret_reveal(&a->keys[0]), "sk-test");
    is_str(a->keys[0].source, "env:TG_TEST_KEY");
    is_str(a->headers[0].name, "X-One");
    is_str(secret_reveal(&a->headers[0].value), "1");
    is_str(secret_reveal(&a->headers[1].value), "Bearer xyz");
    assert_int_equal(b->n_keys, 2);
    is_str(secret_reveal(&b->keys[1]), "two");
    assert_int_equal(b->keys[1].source.len, 0);
    assert_int_equal(b->dialect, CONF_DIALECT_AZURE);
    assert_true(b->models_given);
    assert_int_equal(b->n_models, 0);
    is_str(secret_reveal(&b->proxy), "socks5h://u:p@proxy:1080");

    assert_true(c->routes_given);
    assert_int_equal(c->routes[0].targets[0].upstream, 1);
    assert_int_equal(c->routes[0].targets[0].engine, -1);
    assert_int_equal(c->routes[0].targets[0].weight, 3);
    is_str(c->routes[0].targets[0].model, "gpt-5-mini");
    assert_int_equal(c->routes[0].targets[1].upstream, -1);
    assert_int_equal(c->routes[0].targets[1].engine, 0);
    assert_int_equal(c->routes[0].targets[1].weight, 0);
    assert_int_equal(c->routes[0].strategy, CONF_STRATEGY_LATENCY);
    assert_int_equal(c->routes[1].targets[0].weight, 1);
    is_str(c->routes[1].fallbacks[0], "fast*");
    assert_int_equal(c->routes[0].fallback_on, CONF_FALL_ERROR);
    assert_int_equal(c->routes[1].fallback_on,
                     CONF_FALL_ERROR | CONF_FALL_FILTER);
    assert_int_equal(c->routes[1].hedge_after_ms, 2000);
    conf_unref(c);
}

static void an_exact_route_comes_before_globs(void **state)
{
    struct conf *c = must_load(full);

    (void)state; /* cmocka's signature */
    assert_ptr_equal(conf_route_find(c, STR("fast-1")), &c->routes[2]);
    assert_ptr_equal(conf_route_find(c, STR("fast-2")), &c->routes[0]);
    assert_ptr_equal(conf_route_find(c, STR("other")), &c->routes[1]);
    assert_true(conf_upstream_serves(&c->upstreams[0], STR("gpt-5.1")));
    assert_true(conf_upstream_serves(&c->upstreams[0], STR("o4-mini")));
    assert_false(conf_upstream_serves(&c->upstreams[0], STR("gpt-4")));
    assert_false(conf_upstream_serves(&c->upstreams[1], STR("gpt-5")));
    assert_int_equal(conf_upstream_find(c, STR("b")), 1);
    assert_int_equal(conf_upstream_find(c, STR("c")), -1);
    assert_int_equal(conf_upstream_find(c, STR("")), -1);
    conf_unref(c);
}

/* What `config show` writes out is a config again. */
static void the_default_price_file_may_be_written_and_missing(void **state)
{
    struct conf *c = must_load("prices: " CONF_PRICES_FILE "\n");

    (void)state; /* cmocka's signature */
    assert_false(c->prices_given);
    conf_unref(c);
}

static void nulls_are_the_same_as_absent(void **state)
{
    struct conf *c = must_load("listen:\nlimits:\nworkers: ~\nauth: null\n"
                               "upstreams:\nroutes:\n"
                               "log: {level: }\n");

    (void)state; /* cmocka's signature */
    assert_int_equal(c->n_listen, 1);
    assert_int_equal(c->limits.body_bytes, 67108864);
    assert_true(c->auth.required);
    assert_false(c->routes_given);
    assert_int_equal(c->log.level, LOG_LEVEL_INFO);
    conf_unref(c);
}

/* What a secret file gives, or a part of what is told. */
static const struct {
    const char *text;
    mode_t mode;
    const char *value; /* NULL: refused */
    const char *says;
} secret_files[] = {
    {"sk-abc\n", 0600, "sk-abc", NULL},
    {"sk-abc", 0400, "sk-abc", NULL},
    {"sk-abc\r\n", 0640, "sk-abc", NULL},
    {"sk-abc\n\n", 0600, NULL, "not printable"},
    {"sk-abc\n", 0644, NULL, "chmod o-rw"},
    {"sk-abc\n", 0602, NULL, "chmod o-rw"},
    {"", 0600, NULL, "is empty"},
    {"\n", 0600, NULL, "is empty"},
    {"a b\n", 0600, NULL, "holds a space"},
    {"a\x01", 0600, NULL, "not printable"},
    {"sk-\xc3\xa9\n", 0600, NULL, "not printable"},
};

static void secret_files_are_private_and_clean(void **state)
{
    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(secret_files) / sizeof(secret_files[0]);
         i++) {
        struct conf_report r = {0};
        struct conf *c = NULL;
        char text[256];
        enum err e;

        snprintf(text, sizeof(text),
                 "upstreams: [{name: a, base_url: 'https://h', api_key: "
                 "'file:%s'}]",
                 file_of("key", secret_files[i].text, secret_files[i].mode));
        e = conf_load_text("F", str_from(text), 0, &r, &c);
        if (secret_files[i].value) {
            assert_int_equal(e, ERR_OK);
            is_str(secret_reveal(&c->upstreams[0].keys[0]),
                   secret_files[i].value);
        } else {
            assert_int_equal(e, ERR_SYNTAX);
            if (!strstr(r.items[0].text, secret_files[i].says))
                fail_msg("%zu: %s", i, r.items[0].text);
        }
        conf_report_fini(&r);
        conf_unref(c);
    }
}

static void a_secret_file_is_bounded(void **state)
{
    char big[17000];
    char text[256];
    struct conf_report r = {0};
    struct conf *c = NULL;

    (void)state; /* cmocka's signature */
    memset(big, 'x', sizeof(big));
    big[16385] = '\0';
    snprintf(text, sizeof(text),
             "upstreams: [{name: a, base_url: 'https://h', api_key: "
             "'file:%s'}]",
             file_of("key", big, 0600));
    assert_int_equal(conf_load_text("F", str_from(text), 0, &r, &c),
                     ERR_SYNTAX);
    assert_non_null(strstr(r.items[0].text, "longer than 16 KiB"));
    conf_report_fini(&r);
    memset(big, 'x', sizeof(big));
    big[16384] = '\0';
    file_of("key", big, 0600);
    c = must_load(text);
    assert_int_equal(secret_reveal(&c->upstreams[0].keys[0]).len, 16384);
    conf_unref(c);
}

static void offline_looks_at_nothing_else(void **state)
{
    static const char text[] =
        "listen: [{tls: {cert: /nonexistent/c, key: /nonexistent/k}}]\n"
        "upstreams:\n"
        "  - {name: a, base_url: 'https://h', api_key: env:TG_TEST_UNSET,\n"
        "     proxy: file:/nonexistent/p, tls: {ca: /nonexistent/ca}}\n"
        "control_socket: /x/y.sock\n";
    struct conf_report r = {0};
    struct conf *c = NULL;

    (void)state; /* cmocka's signature */
    assert_int_equal(conf_load_text("F", str_from(text), CONF_OFFLINE, &r, &c),
                     ERR_OK);
    is_str(c->control_socket, "/x/y.sock");
    assert_int_equal(c->upstreams[0].n_keys, 1);
    assert_int_equal(secret_reveal(&c->upstreams[0].keys[0]).len, 0);
    conf_report_fini(&r);
    conf_unref(c);
    assert_int_equal(conf_load_text("F", str_from(text), 0, &r, &c),
                     ERR_SYNTAX);
    assert_int_equal(r.n_errors, 5);
    conf_report_fini(&r);
}

static void a_file_is_read_or_told_why_not(void **state)
{
    const char *path = file_of("good.yaml", "\xef\xbb\xbfworkers: 3\n", 0600);
    struct conf_report r = {0};
    struct conf *c = NULL;

    (void)state; /* cmocka's signature */
    assert_int_equal(conf_load_file(path, 0, &r, &c), ERR_OK);
    assert_int_equal(c->workers, 3);
    is_str(c->file, path);
    conf_report_fini(&r);
    conf_unref(c);
    c = NULL;

    assert_int_equal(conf_load_file("/nonexistent/f", 0, &r, &c), ERR_IO);
    assert_string_equal(r.items[0].text,
                        "/nonexistent/f:1:1: cannot be opened (No such file "
                        "or directory); check the path and its mode");
    conf_report_fini(&r);
    assert_int_equal(conf_load_file(dir, 0, &r, &c), ERR_IO);
    assert_non_null(strstr(r.items[0].text, "Is a directory"));
    conf_report_fini(&r);
    assert_int_equal(conf_load_file("/dev/zero", 0, &r, &c), ERR_SYNTAX);
    assert_non_null(strstr(r.items[0].text, "larger than 4 MiB"));
    conf_report_fini(&r);
    assert_null(c);
}

static void the_file_is_found_in_order(void **state)
{
    struct conf_report r = {0};
    struct conf *c = NULL;
    char *path = file_of("env.yaml", "workers: 7\n", 0600);

    (void)state; /* cmocka's signature */
    setenv("TOLLGATE_CONFIG", path, 1);
    assert_string_equal(conf_find("/given"), "/given");
    assert_string_equal(conf_find(NULL), path);
    assert_int_equal(conf_load(NULL, 0, &r, &c), ERR_OK);
    assert_int_equal(c->workers, 7);
    conf_unref(c);
    conf_report_fini(&r);
    setenv("TOLLGATE_CONFIG", "", 1);
    if (conf_find(NULL))
        assert_true(str_ends(str_from(conf_find(NULL)), STR("tollgate.yaml")));
    unsetenv("TOLLGATE_CONFIG");
}

/* The state directory of the built-in default, NULL when refused. */
static const struct {
    const char *xdg;
    const char *home;
    const char *state_dir;
} homes[] = {
    {"/x/state", "/home/u", "/x/state/tollgate"},
    {NULL, "/home/u", "/home/u/.local/state/tollgate"},
    {"", "/home/u", "/home/u/.local/state/tollgate"},
    {"rel", "/home/u", "/home/u/.local/state/tollgate"},
    {"/a234567890123456789012345678901234567890123456789012345678901234567890"
     "12345678901234567890",
     NULL, NULL},
    {NULL, NULL, NULL},
    {NULL, "rel", NULL},
};

static void set_or_not(const char *name, const char *value)
{
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

static void the_default_lives_in_the_home(void **state)
{
    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(homes) / sizeof(homes[0]); i++) {
        struct conf_report r = {0};
        struct conf *c = NULL;
        char ctl[128];

        set_or_not("XDG_STATE_HOME", homes[i].xdg);
        set_or_not("HOME", homes[i].home);
        if (!homes[i].state_dir) {
            assert_int_equal(conf_default(&r, &c), ERR_SYNTAX);
            assert_int_equal(r.n_errors, 1);
            conf_report_fini(&r);
            continue;
        }
        assert_int_equal(conf_default(&r, &c), ERR_OK);
        assert_int_equal(r.n_items, 0);
        is_str(c->state_dir, homes[i].state_dir);
        snprintf(ctl, sizeof(ctl), "%s/control.sock", homes[i].state_dir);
        is_str(c->control_socket, ctl);
        is_str(c->file, "");
        assert_int_equal(c->n_listen, 1);
        assert_true(c->auth.required);
        conf_unref(c);
    }
}

static void *ref_and_unref(void *arg)
{
    for (int i = 0; i < 20000; i++)
        conf_unref(conf_ref(arg));
    conf_unref(arg);
    return NULL;
}

static void references_are_counted_across_threads(void **state)
{
    struct conf *c = must_load(full);
    pthread_t t[4];

    (void)state; /* cmocka's signature */
    for (int i = 0; i < 4; i++)
        assert_int_equal(
            pthread_create(&t[i], NULL, ref_and_unref, conf_ref(c)), 0);
    conf_unref(c);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(t[i], NULL), 0);
    conf_unref(NULL);
}

static int setup(void **state)
{
    (void)state; /* cmocka's signature */
    setenv("TG_TEST_KEY", "sk-test", 1);
    setenv("TG_TEST_HEADER", "Bearer xyz", 1);
    unsetenv("TG_TEST_UNSET");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    static const char *const names[] = {"key", "good.yaml", "env.yaml"};
    char path[128];

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_file_gives_the_defaults),
        cmocka_unit_test(the_prefix_store_is_in_the_state_directory_or_its_own),
        cmocka_unit_test(an_upstream_has_its_defaults),
        cmocka_unit_test(every_part_is_filled),
        cmocka_unit_test(upstreams_and_routes_are_resolved),
        cmocka_unit_test(an_exact_route_comes_before_globs),
        cmocka_unit_test(the_default_price_file_may_be_written_and_missing),
        cmocka_unit_test(nulls_are_the_same_as_absent),
        cmocka_unit_test(secret_files_are_private_and_clean),
        cmocka_unit_test(a_secret_file_is_bounded),
        cmocka_unit_test(offline_looks_at_nothing_else),
        cmocka_unit_test(a_file_is_read_or_told_why_not),
        cmocka_unit_test(the_file_is_found_in_order),
        cmocka_unit_test(the_default_lives_in_the_home),
        cmocka_unit_test(references_are_counted_across_threads),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
