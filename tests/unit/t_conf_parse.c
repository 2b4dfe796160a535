/* t_conf_parse.c - The notations of values: what is taken, as what, and what
 * is refused. */
#include "conf/conf_parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

/* The result of a number, or -1 for "must be refused". */
struct number {
    const char *text;
    int64_t value;
};

static void durations_need_a_unit(void **state)
{
    static const struct number cases[] = {
        {"500ms", 500},
        {"10s", 10000},
        {"5m", 300000},
        {"1h", 3600000},
        {"30d", 2592000000},
        {"0", 0},
        {"0s", 0},
        {"00", 0},
        {"007s", 7000},
        {"9223372036854775807ms", INT64_MAX},
        {"9223372036854775808ms", -1},
        {"18446744073709551616ms", -1},
        {"106751991168d", -1},
        {"", -1},
        {"s", -1},
        {"10", -1},
        {"-1s", -1},
        {"+1s", -1},
        {"1.5s", -1},
        {"1s ", -1},
        {" 1s", -1},
        {"1 s", -1},
        {"1S", -1},
        {"1h30m", -1},
        {"1us", -1},
        {"1min", -1},
        {"1e3s", -1},
    };

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t v = -1;

        if (conf_parse_duration(str_from(cases[i].text), &v) !=
                (cases[i].value >= 0) ||
            v != cases[i].value)
            fail_msg("duration \"%s\" gave %lld", cases[i].text, (long long)v);
    }
}

static void sizes_are_binary(void **state)
{
    static const struct number cases[] = {
        {"64KiB", 65536},
        {"8MiB", 8388608},
        {"2GiB", 2147483648},
        {"1TiB", 1099511627776},
        {"512B", 512},
        {"0", 0},
        {"8388607TiB", 9223370937343148032},
        {"8388608TiB", -1},
        {"64KB", -1},
        {"64MB", -1},
        {"64M", -1},
        {"64k", -1},
        {"64kib", -1},
        {"64", -1},
        {"KiB", -1},
        {"", -1},
        {"-1KiB", -1},
        {"1KiB/s", -1},
    };

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t v = UINT64_MAX;

        if (conf_parse_size(str_from(cases[i].text), &v) !=
                (cases[i].value >= 0) ||
            v != (uint64_t)cases[i].value)
            fail_msg("size \"%s\" gave %llu", cases[i].text,
                     (unsigned long long)v);
    }
}

static void rates_are_sizes_a_second(void **state)
{
    static const struct number cases[] = {
        {"1KiB/s", 1024}, {"512B/s", 512}, {"0", 0},    {"0B/s", 0},
        {"0/s", 0},       {"1KiB", -1},    {"/s", -1},  {"s", -1},
        {"", -1},         {"1KiB/m", -1},  {"1/s", -1}, {"1KiB/s/s", -1},
    };

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t v = UINT64_MAX;

        if (conf_parse_rate(str_from(cases[i].text), &v) !=
                (cases[i].value >= 0) ||
            v != (uint64_t)cases[i].value)
            fail_msg("rate \"%s\" gave %llu", cases[i].text,
                     (unsigned long long)v);
    }
}

static void modes_are_octal(void **state)
{
    static const struct number cases[] = {
        {"0660", 0660}, {"660", 0660}, {"0o660", 0660}, {"0777", 0777},
        {"0000", 0},    {"1777", -1},  {"0888", -1},    {"66", -1},
        {"00660", -1},  {"", -1},      {"rw-", -1},     {"0x1b0", -1},
    };

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint32_t v = UINT32_MAX;

        if (conf_parse_mode(str_from(cases[i].text), &v) !=
                (cases[i].value >= 0) ||
            v != (uint32_t)cases[i].value)
            fail_msg("mode \"%s\" gave %o", cases[i].text, v);
    }
}

/* An address and its parts; family 0 for "must be refused". */
struct address {
    const char *text;
    int family;
    const char *host;
    unsigned port;
    const char *path;
};

static const char path_108[] =
    "unix:/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

static void addresses_are_numeric(void **state)
{
    static const struct address cases[] = {
        {"127.0.0.1:4141", AF_INET, "127.0.0.1", 4141, ""},
        {"0.0.0.0:0", AF_INET, "0.0.0.0", 0, ""},
        {"1.2.3.4:65535", AF_INET, "1.2.3.4", 65535, ""},
        {"[::1]:4141", AF_INET6, "::1", 4141, ""},
        {"[::]:80", AF_INET6, "::", 80, ""},
        {"[2001:db8::1]:1", AF_INET6, "2001:db8::1", 1, ""},
        {"unix:/run/x.sock", AF_UNIX, "", 0, "/run/x.sock"},
        {path_108, 0, "", 0, ""},
        {"127.0.0.1", 0, "", 0, ""},
        {"4141", 0, "", 0, ""},
        {":4141", 0, "", 0, ""},
        {"*:4141", 0, "", 0, ""},
        {"127.0.0.1:", 0, "", 0, ""},
        {"127.0.0.1:65536", 0, "", 0, ""},
        {"127.0.0.1:-1", 0, "", 0, ""},
        {"127.0.0.1:80x", 0, "", 0, ""},
        {"127.0.0.1:000080", 0, "", 0, ""},
        {"127.1:80", 0, "", 0, ""},
        {"0x7f.0.0.1:80", 0, "", 0, ""},
        {"256.0.0.1:80", 0, "", 0, ""},
        {"localhost:80", 0, "", 0, ""},
        {"::1:4141", 0, "", 0, ""},
        {"[::1]", 0, "", 0, ""},
        {"[::1]4141", 0, "", 0, ""},
        {"[::1:4141", 0, "", 0, ""},
        {"[127.0.0.1]:80", 0, "", 0, ""},
        {"[]:80", 0, "", 0, ""},
        {"unix:", 0, "", 0, ""},
        {"unix:/", 0, "", 0, ""},
        {"unix:relative", 0, "", 0, ""},
        {"unix:/dir/", 0, "", 0, ""},
        {"", 0, "", 0, ""},
    };
    struct arena *mem = arena_new(4096, 1 << 20);

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct address *c = &cases[i];
        struct conf_addr a = {0};
        const char *why = NULL;
        enum err e = conf_parse_addr(mem, str_from(c->text), &a, &why);

        if (e != (c->family ? ERR_OK : ERR_SYNTAX))
            fail_msg("address \"%s\": %s", c->text, err_name(e));
        if (!c->family) {
            assert_non_null(why);
            continue;
        }
        assert_int_equal(a.family, c->family);
        assert_int_equal(a.port, c->port);
        assert_string_equal(a.host.p, c->host);
        assert_string_equal(a.path.p, c->path);
        assert_string_equal(a.text.p, c->text);
    }
    arena_free(mem);
}

/* A URL and its parts; NULL host for "must be refused". */
struct url {
    const char *text;
    const char *host;
    unsigned port;
    const char *path;
    const char *whole;
};

static const struct url urls[] = {
    {"https://api.openai.com/v1", "api.openai.com", 443, "/v1",
     "https://api.openai.com/v1"},
    {"https://api.openai.com/v1///", "api.openai.com", 443, "/v1",
     "https://api.openai.com/v1"},
    {"http://127.0.0.1:8000", "127.0.0.1", 8000, "", "http://127.0.0.1:8000"},
    {"HTTP://Host.Example:80/", "host.example", 80, "", "http://host.example"},
    {"https://h:8443/a/b", "h", 8443, "/a/b", "https://h:8443/a/b"},
    {"http://[::1]:9/v1", "::1", 9, "/v1", "http://[::1]:9/v1"},
    {"https://x_y.internal./v1", "x_y.internal.", 443, "/v1",
     "https://x_y.internal./v1"},
    {"https://h/a%20b", "h", 443, "/a%20b", "https://h/a%20b"},
    {"", NULL, 0, "", ""},
    {"api.openai.com/v1", NULL, 0, "", ""},
    {"ftp://h/", NULL, 0, "", ""},
    {"https:/h", NULL, 0, "", ""},
    {"https://", NULL, 0, "", ""},
    {"https:///v1", NULL, 0, "", ""},
    {"https://user@h/", NULL, 0, "", ""},
    {"https://user:pass@h/", NULL, 0, "", ""},
    {"https://h/p@th", NULL, 0, "", ""},
    {"https://h/?a=b", NULL, 0, "", ""},
    {"https://h?a=b", NULL, 0, "", ""},
    {"https://h/#f", NULL, 0, "", ""},
    {"https://h:/", NULL, 0, "", ""},
    {"https://h:0/", NULL, 0, "", ""},
    {"https://h:65536/", NULL, 0, "", ""},
    {"https://h:80:80/", NULL, 0, "", ""},
    {"https://1.2.3/", NULL, 0, "", ""},
    {"https://1.2.3.256/", NULL, 0, "", ""},
    {"https://-h/", NULL, 0, "", ""},
    {"https://a..b/", NULL, 0, "", ""},
    {"https://.a/", NULL, 0, "", ""},
    {"https://h h/", NULL, 0, "", ""},
    {"https://h/a b", NULL, 0, "", ""},
    {"https://h/../x", NULL, 0, "", ""},
    {"https://h/./x", NULL, 0, "", ""},
    {"https://h/x/..", NULL, 0, "", ""},
    {"https://h\\x/", NULL, 0, "", ""},
    {"https://h/\"", NULL, 0, "", ""},
    {"https://h\xc3\xa9/", NULL, 0, "", ""},
    {"https://[::1/", NULL, 0, "", ""},
    {"https://[h]/", NULL, 0, "", ""},
};

static void urls_are_split(void **state)
{
    struct arena *mem = arena_new(4096, 1 << 20);

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        const struct url *c = &urls[i];
        struct conf_url u = {0};
        const char *why = NULL;
        enum err e = conf_parse_url(mem, str_from(c->text), &u, &why);

        if (e != (c->host ? ERR_OK : ERR_SYNTAX))
            fail_msg("URL \"%s\": %s", c->text, err_name(e));
        if (!c->host) {
            assert_non_null(why);
            continue;
        }
        assert_string_equal(u.host.p, c->host);
        assert_int_equal(u.port, c->port);
        assert_string_equal(u.path.p, c->path);
        assert_string_equal(u.text.p, c->whole);
        assert_true(str_starts(u.text, u.origin));
        assert_int_equal(u.tls, strncmp(u.origin.p, "https:", 6) == 0);
    }
    arena_free(mem);
}

static void distance_counts_edits(void **state)
{
    static const struct {
        const char *a;
        const char *b;
        unsigned d;
    } cases[] = {
        {"", "", 0},
        {"abc", "abc", 0},
        {"abc", "", 3},
        {"", "abc", 3},
        {"abc", "abd", 1},
        {"abc", "acb", 1},
        {"abc", "ab", 1},
        {"abc", "xabc", 1},
        {"conections", "connections", 1},
        {"idle-timeout", "IDLE_timeout", 0},
        {"kitten", "sitting", 3},
    };
    static const char long_word[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(
            conf_parse_distance(str_from(cases[i].a), str_from(cases[i].b)),
            cases[i].d);
    assert_int_equal(conf_parse_distance(str_from(long_word), STR("a")), 99);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_need_a_unit),
        cmocka_unit_test(sizes_are_binary),
        cmocka_unit_test(rates_are_sizes_a_second),
        cmocka_unit_test(modes_are_octal),
        cmocka_unit_test(addresses_are_numeric),
        cmocka_unit_test(urls_are_split),
        cmocka_unit_test(distance_counts_edits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
