/* t_proxy.c - Requests and tunnels through proxies: who is asked for what, who
 * resolves which name, and who gets to see the key. */
#include "lib/upfix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "upstream/resolve.h"

/* No name may be looked up but the proxy's. */
static int only_proxy(const char *host, const char *service,
                      const struct addrinfo *hints, struct addrinfo **out)
{
    if (strcmp(host, "proxy.test") != 0)
        return EAI_NONAME;
    return getaddrinfo("127.0.0.1", service, hints, out);
}

/* A world whose upstream origin.test:8080 is reached by <scheme> at <s>. */
static void proxied_init(struct upfix *f, struct rawserver *s,
                         struct secret *url, const char *scheme)
{
    upfix_init(f, "origin.test", 8080, false);
    resolver_set_lookup(f->resolver, only_proxy);
    url->hidden_ = str_from(arena_printf(
        f->arena, "%s://user:pass@proxy.test:%u", scheme, s->port));
    f->up.proxy = *url;
}

static void plain_request_goes_to_the_proxy_whole(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct secret url;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, raw_answer_all, NULL, NULL);
    proxied_init(&f, &s, &url, "http");
    spec = upfix_spec(&f, "POST", "/x//y?", "{}");
    seen_init(&seen);
    upfix_run(&f, &spec, &seen);
    assert_string_equal(seen.text, "");
    assert_int_equal(seen.err, ERR_OK);
    assert_memory_equal(
        s.log, "POST http://origin.test:8080/v1/x//y? HTTP/1.1\r\n", 48);
    assert_non_null(strstr(s.log, "Host: origin.test:8080\r\n"));
    assert_non_null(strstr(s.log, "Proxy-Authorization: Basic "));
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void proxy_password_is_in_no_text(void **state)
{
    static char refusal[] = "HTTP/1.1 407 Proxy Authentication Required\r\n"
                            "Content-Length: 0\r\n\r\n";
    static const char *const schemes[] = {"http", "socks5", "nonsense"};

    (void)state;
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        struct rawserver s;
        struct upfix f;
        struct secret url;
        struct seen seen;
        struct xfer_spec spec;

        rawserver_start(&s, raw_answer_all, refusal, NULL);
        rawserver_stop(&s); /* nobody listens */
        proxied_init(&f, &s, &url, schemes[i]);
        spec = upfix_spec(&f, "POST", "/x", "{}");
        seen_init(&seen);
        upfix_run(&f, &spec, &seen);
        assert_int_not_equal(seen.err, ERR_OK);
        assert_null(strstr(seen.text, "pass"));
        assert_null(strstr(seen.text, "user"));
        if (i < 2) {
            assert_int_equal(seen.err, ERR_UP_UNAVAILABLE);
            assert_false(seen.sent);
        }
        seen_fini(&seen);
        upfix_fini(&f);
    }
}

/* --- SOCKS5 ------------------------------------------------------------- */

static void socks(struct rawconn *c, void *arg)
{
    static const char granted[] = {5, 0, 0, 1, 0, 0, 0, 0, 0, 0};
    struct str got;

    got = raw_read(c, 2);
    raw_read(c, (size_t)(unsigned char)got.p[1]);
    raw_send_bytes(c, "\5\2", 2); /* user name and password, please */
    got = raw_read(c, 2);
    got = raw_read(c, (size_t)(unsigned char)got.p[1] + 1);
    raw_read(c, (size_t)(unsigned char)got.p[got.len - 1]);
    raw_send_bytes(c, "\1\0", 2);
    got = raw_read(c, 5);
    assert_int_equal(got.p[3], 3); /* a name, no address */
    got = raw_read(c, (size_t)(unsigned char)got.p[4] + 2);
    raw_note(c, str_of(got.p, got.len - 2));
    raw_note(c, STR("\n"));
    raw_send_bytes(c, granted, sizeof(granted));
    raw_answer_all(c, arg);
}

static void socks_proxy_is_given_the_name(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct secret url;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, socks, NULL, NULL);
    proxied_init(&f, &s, &url, "socks5");
    spec = upfix_spec(&f, "POST", "/x", "{}");
    for (int i = 0; i < 2; i++) {
        seen_init(&seen);
        upfix_run(&f, &spec, &seen);
        assert_string_equal(seen.text, "");
        assert_int_equal(seen.err, ERR_OK);
        seen_fini(&seen);
    }
    assert_memory_equal(s.log, "origin.test\nPOST /v1/x HTTP/1.1\r\n", 33);
    assert_int_equal(s.conns, 1);
    upfix_fini(&f);
    rawserver_stop(&s);
}

/* --- CONNECT ------------------------------------------------------------ */

static void connect_and_switch(struct rawconn *c, void *arg)
{
    struct str got;

    (void)arg;
    raw_note(c, raw_request(c));
    raw_send(c, "HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n");
    raw_note(c, raw_request(c));
    raw_send(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\n\r\n");
    while ((got = raw_some(c)).len > 0)
        raw_send_bytes(c, got.p, got.len);
}

static void tunnel_by_connect(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct secret url;
    struct seen seen;
    struct xfer_spec spec;
    char *at;

    (void)state;
    rawserver_start(&s, connect_and_switch, NULL, NULL);
    proxied_init(&f, &s, &url, "http");
    upfix_client(&f, "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                     "Sec-WebSocket-Key: abc\r\n");
    spec = upfix_spec(&f, "GET", "/realtime", NULL);
    seen_init(&seen);
    seen.producer = tunnel_start(f.pool, &f.x, &spec, &seen.sink);
    assert_int_equal(chunkq_put(&f.in.stream, "ping", 4), ERR_OK);
    seen.producer->ops->body_ready(seen.producer);
    while (seen.bytes < 4 && !seen.ended)
        upfix_turn(&f);
    assert_string_equal(seen.text, "");
    assert_int_equal(seen.status, 101);
    assert_string_equal(seen_text(&seen), "ping");
    assert_memory_equal(s.log, "CONNECT origin.test:8080 HTTP/1.1\r\n", 35);
    at = strstr(s.log, "GET /v1/realtime HTTP/1.1\r\n");
    assert_non_null(at);
    assert_null(memmem(s.log, (size_t)(at - s.log), "sk-provider", 11));
    assert_non_null(strstr(at, "Authorization: Bearer sk-provider\r\n"));
    seen.producer->ops->cancel(seen.producer);
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void connect_refused_is_unavailable(void **state)
{
    static char refusal[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n"
                            "\r\n";
    struct rawserver s;
    struct upfix f;
    struct secret url;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, raw_answer_all, refusal, NULL);
    proxied_init(&f, &s, &url, "http");
    f.up.url.tls = true;
    f.up.url.origin = STR("https://origin.test:8080");
    spec = upfix_spec(&f, "POST", "/x", "{}");
    seen_init(&seen);
    upfix_run(&f, &spec, &seen);
    assert_int_equal(seen.err, ERR_UP_UNAVAILABLE);
    assert_non_null(strstr(seen.text, "403"));
    assert_int_equal(seen.heads, 0);
    assert_false(seen.sent);
    assert_memory_equal(s.log, "CONNECT origin.test:8080 HTTP/1.1\r\n", 35);
    assert_null(strstr(s.log, "sk-provider"));
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

/* --- the environment ---------------------------------------------------- */

static void environment_is_not_asked(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    rawserver_start(&s, raw_answer_all, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "POST", "/x", "{}");
    seen_init(&seen);
    upfix_run(&f, &spec, &seen);
    assert_int_equal(seen.err, ERR_OK);
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_request_goes_to_the_proxy_whole),
        cmocka_unit_test(proxy_password_is_in_no_text),
        cmocka_unit_test(socks_proxy_is_given_the_name),
        cmocka_unit_test(tunnel_by_connect),
        cmocka_unit_test(connect_refused_is_unavailable),
        cmocka_unit_test(environment_is_not_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
