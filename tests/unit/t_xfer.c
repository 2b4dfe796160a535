/* t_xfer.c - Transfers that go well: bytes on the wire, fields, reuse, many at
 * once, TLS. */
#include "lib/upfix.h"

#include <openssl/ssl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "upstream/resolve.h"
#include "upstream/trust.h"

/* --- the request -------------------------------------------------------- */

static void post_is_sent_as_written(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;
    char want[1024];

    (void)state;
    rawserver_start(&s, raw_answer_all, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    upfix_client(&f, "Authorization: Bearer sk-tg-client\r\n"
                     "X-Api-Key: sk-tg-client\r\nApi-Key: sk-tg-client\r\n"
                     "Cookie: a=b\r\nUser-Agent: OpenAI/Python 1.2\r\n"
                     "Content-Type: application/json\r\n"
                     "Content-Length: 9\r\nExpect: 100-continue\r\n"
                     "Accept-Encoding: gzip, br\r\nKeep-Alive: 5\r\n"
                     "Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\n"
                     "X-Twice: one\r\nX-Twice: two\r\nX-Empty:\r\n"
                     "TE: trailers\r\nProxy-Authorization: x\r\n"
                     "Upgrade: h2c\r\n");
    spec = upfix_spec(&f, "POST", "/chat/completions", "{\"a\": 1}\n");
    upfix_once(&f, &spec, &seen);
    assert_int_equal(seen.err, ERR_OK);
    assert_int_equal(seen.status, 200);
    assert_int_equal(seen.length, 2);
    assert_string_equal(seen_text(&seen), "{}");
    snprintf(want, sizeof(want),
             "POST /v1/chat/completions HTTP/1.1\r\n"
             "Host: 127.0.0.1:%u\r\n"
             "User-Agent: OpenAI/Python 1.2\r\n"
             "Content-Type: application/json\r\n"
             "X-Twice: one\r\nX-Twice: two\r\nX-Empty:\r\n"
             "Authorization: Bearer sk-provider\r\n"
             "Accept-Encoding: identity\r\n"
             "Content-Length: 9\r\n\r\n{\"a\": 1}\n",
             s.port);
    assert_string_equal(s.log, want);
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void raw_target_bytes_stay(void **state)
{
    static const char *const odd[] = {
        "/files/a%2Fb%00",   "/x//y/./../z", "/x?a=b?c&&d",  "/a|b[1]^{}",
        "/%e2%82%ac/caf%C3", "/a;b=c,d",     "/x?q=a+b%20c", "/'\"<>`\\",
    };
    struct rawserver s;
    struct upfix f;
    struct seen seen;

    (void)state;
    rawserver_start(&s, raw_answer_all, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        struct xfer_spec spec = upfix_spec(&f, "GET", "/", NULL);
        size_t at = strcspn(odd[i], "?");
        char want[128];

        spec.suffix = str_of(odd[i], at);
        spec.query = str_from(odd[i] + at);
        free(s.log);
        s.log = NULL;
        s.log_len = 0;
        upfix_once(&f, &spec, &seen);
        assert_int_equal(seen.err, ERR_OK);
        snprintf(want, sizeof(want), "GET /v1%s HTTP/1.1\r\n", odd[i]);
        assert_memory_equal(s.log, want, strlen(want));
        seen_fini(&seen);
    }
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void methods_with_and_without_body(void **state)
{
    static const struct {
        const char *method, *body, *want;
    } rows[] = {
        {"GET", NULL, NULL},
        {"GET", "abc", "Content-Length: 3\r\n"},
        {"POST", NULL, "Content-Length: 0\r\n"},
        {"POST", "", "Content-Length: 0\r\n"},
        {"PUT", NULL, "Content-Length: 0\r\n"},
        {"PUT", "abcd", "Content-Length: 4\r\n"},
        {"PATCH", "abcd", "Content-Length: 4\r\n"},
        {"DELETE", NULL, NULL},
        {"DELETE", "x", "Content-Length: 1\r\n"},
        {"OPTIONS", NULL, NULL},
        {"PURGE-ALL", NULL, NULL},
        {"PURGE-ALL", "xy", "Content-Length: 2\r\n"},
    };
    struct rawserver s;
    struct upfix f;

    (void)state;
    rawserver_start(&s, raw_answer_all, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct xfer_spec spec =
            upfix_spec(&f, rows[i].method, "/r", rows[i].body);
        struct seen seen;
        char want[64];

        free(s.log);
        s.log = NULL;
        s.log_len = 0;
        upfix_once(&f, &spec, &seen);
        assert_int_equal(seen.err, ERR_OK);
        snprintf(want, sizeof(want), "%s /v1/r HTTP/1.1\r\n", rows[i].method);
        assert_memory_equal(s.log, want, strlen(want));
        if (rows[i].want)
            assert_non_null(strstr(s.log, rows[i].want));
        else
            assert_null(strstr(s.log, "Content-Length"));
        assert_null(strstr(s.log, "Content-Type"));
        assert_null(strstr(s.log, "Accept:"));
        assert_null(strstr(s.log, "Expect"));
        if (rows[i].body)
            assert_true(
                str_ends(str_of(s.log, s.log_len), str_from(rows[i].body)));
        seen_fini(&seen);
    }
    assert_int_equal(s.conns, 1);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void head_gives_length_and_no_body(void **state)
{
    static char reply[] = "HTTP/1.1 200 OK\r\n"
                          "Content-Length: 12345\r\n\r\n";
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, raw_answer_all, reply, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "HEAD", "/files/1", NULL);
    upfix_once(&f, &spec, &seen);
    assert_int_equal(seen.err, ERR_OK);
    assert_int_equal(seen.length, 12345);
    assert_int_equal(seen.bytes, 0);
    assert_memory_equal(s.log, "HEAD /v1/files/1 ", 17);
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

/* --- the reply ---------------------------------------------------------- */

static void reply_fields_cross_and_framing_does_not(void **state)
{
    static char reply[] =
        "HTTP/1.1 100 Continue\r\nX-Interim: no\r\n\r\n"
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        "HTTP/1.1 201 Created\r\nX-Request-Id: abc\r\n"
        "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
        "Connection: keep-alive, x-private\r\nX-Private: 1\r\n"
        "Keep-Alive: timeout=5\r\nTrailer: x-t\r\n"
        "X-Empty:\r\ncontent-encoding: gzip\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
        "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nx-t: 1\r\n\r\n";
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;
    const struct header *h;

    (void)state;
    rawserver_start(&s, raw_answer_all, reply, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "POST", "/x", "{}");
    upfix_once(&f, &spec, &seen);
    assert_int_equal(seen.err, ERR_OK);
    assert_int_equal(seen.status, 201);
    assert_int_equal(seen.length, -1);
    assert_string_equal(seen_text(&seen), "hello world");
    assert_int_equal(seen.headers.count, 5);
    h = seen.headers.first;
    assert_true(str_eq(h->name, STR("X-Request-Id")));
    h = h->next;
    assert_true(str_eq(h->value, STR("a=1")));
    h = h->next;
    assert_true(str_eq(h->value, STR("b=2")));
    h = h->next;
    assert_true(str_eq(h->name, STR("X-Empty")) && h->value.len == 0);
    h = h->next;
    assert_true(str_eq(h->value, STR("gzip")));
    assert_null(h->next);
    assert_ptr_equal(seen.headers.last, h);
    seen_fini(&seen);
    upfix_once(&f, &spec, &seen);
    assert_int_equal(seen.err, ERR_OK);
    assert_int_equal(s.conns, 1);
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void until_close(struct rawconn *c, void *arg)
{
    (void)arg;
    raw_request(c);
    raw_send(c, "HTTP/1.1 200 OK\r\n\r\nbytes until the end");
}

static void reply_until_close_is_complete(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, until_close, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "POST", "/x", "{}");
    upfix_once(&f, &spec, &seen);
    assert_int_equal(seen.err, ERR_OK);
    assert_int_equal(seen.length, -1);
    assert_string_equal(seen_text(&seen), "bytes until the end");
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void statuses_without_a_body(void **state)
{
    static const char *const replies[] = {
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nETag: x\r\nContent-Length: 7\r\n\r\n"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct rawserver s;
        struct upfix f;
        struct seen seen;
        struct xfer_spec spec;
        char copy[128];

        snprintf(copy, sizeof(copy), "%s", replies[i]);
        rawserver_start(&s, raw_answer_all, copy, NULL);
        upfix_init(&f, NULL, s.port, false);
        spec = upfix_spec(&f, "DELETE", "/x", NULL);
        upfix_once(&f, &spec, &seen);
        assert_int_equal(seen.err, ERR_OK);
        assert_int_equal(seen.length, i == 0 ? 0 : 7);
        assert_int_equal(seen.bytes, 0);
        seen_fini(&seen);
        upfix_fini(&f);
        rawserver_stop(&s);
    }
}

/* --- connections -------------------------------------------------------- */

static void connections_are_reused(void **state)
{
    struct rawserver s;
    struct upfix f;

    (void)state;
    rawserver_start(&s, raw_answer_all, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    for (int i = 0; i < 50; i++) {
        struct xfer_spec spec = upfix_spec(&f, "POST", "/x", "{}");
        struct seen seen;

        upfix_once(&f, &spec, &seen);
        assert_int_equal(seen.err, ERR_OK);
        seen_fini(&seen);
    }
    assert_int_equal(s.conns, 1);
    assert_int_equal(s.requests, 50);
    assert_int_equal(f.stats.counter[STAT_UP_CONNECTS], 1);
    assert_int_equal(upstream_pool_open(f.pool), 0);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void hundreds_at_once(void **state)
{
    enum { N = 300 }; /* of more than one lane */
    struct rawserver s;
    struct upfix f;
    struct seen *all = calloc(N, sizeof(*all));

    (void)state;
    rawserver_start(&s, raw_answer_all, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            struct xfer_spec spec = upfix_spec(&f, "POST", "/x", "{}");

            seen_init(&all[i]);
            upfix_start(&f, &spec, &all[i]);
        }
        assert_int_equal(upstream_pool_open(f.pool), N);
        for (int i = 0; i < N; i++) {
            upfix_wait(&f, &all[i]);
            assert_int_equal(all[i].err, ERR_OK);
            assert_string_equal(seen_text(&all[i]), "{}");
            seen_fini(&all[i]);
        }
    }
    assert_int_equal(s.requests, 3 * N);
    assert_true(s.conns <= N);
    upfix_fini(&f);
    rawserver_stop(&s);
    free(all);
}

/* --- TLS ---------------------------------------------------------------- */

static void tls_with_own_ca_and_name(void **state)
{
    char *ca;
    SSL_CTX *ctx = raw_tls_make("inside.test", &ca);
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;
    char want[64];

    (void)state;
    rawserver_start(&s, raw_answer_all, NULL, ctx);
    upfix_init(&f, "localhost", s.port, true);
    f.up.timeouts.connect_ms = 60000; /* the bundle is read within, once */
    spec = upfix_spec(&f, "POST", "/x", "{}");
    /* An unknown CA. */
    upfix_once(&f, &spec, &seen);
    assert_int_equal(seen.err, ERR_UP_TLS);
    assert_false(seen.sent);
    seen_fini(&seen);
    /* The CA, but another name. */
    f.up.tls.ca = str_from(ca);
    upfix_once(&f, &spec, &seen);
    assert_int_equal(seen.err, ERR_UP_TLS);
    seen_fini(&seen);
    /* Both. */
    f.up.tls.server_name = STR("inside.test");
    upfix_once(&f, &spec, &seen);
    assert_string_equal(seen.text, "");
    assert_int_equal(seen.err, ERR_OK);
    snprintf(want, sizeof(want), "Host: localhost:%u\r\n", s.port);
    assert_non_null(strstr(s.log, want));
    seen_fini(&seen);
    /* None, and nobody looks. */
    f.up.tls = (struct conf_up_tls){.verify = false};
    upfix_once(&f, &spec, &seen);
    assert_int_equal(seen.err, ERR_OK);
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
    unlink(ca);
    free(ca);
    SSL_CTX_free(ctx);
}

static void authorities_of_the_system_are_read_anew(void **state)
{
    char *ca;
    SSL_CTX *ctx = raw_tls_make("localhost", &ca);
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;
    struct trust *t;
    uint64_t gen;

    (void)state;
    rawserver_start(&s, raw_answer_all, NULL, ctx);
    upfix_init(&f, "localhost", s.port, true);
    f.up.timeouts.connect_ms = 60000; /* the bundle is read within, once */
    t = resolver_trust(f.resolver);
    spec = upfix_spec(&f, "POST", "/x", "{}");
    assert_int_equal(trust_gen(t), 0);
    upfix_once(&f, &spec, &seen);
    assert_int_equal(seen.err, ERR_UP_TLS);
    seen_fini(&seen);
    gen = trust_gen(t);
    assert_int_not_equal(gen, 0);
    setenv("SSL_CERT_FILE", ca, 1);
    resolver_refresh_trust(f.resolver);
    while (trust_gen(t) == gen)
        sched_yield();
    for (int i = 0; i < 2; i++) {
        upfix_once(&f, &spec, &seen);
        assert_string_equal(seen.text, "");
        assert_int_equal(seen.err, ERR_OK);
        seen_fini(&seen);
    }
    unsetenv("SSL_CERT_FILE");
    upfix_fini(&f);
    rawserver_stop(&s);
    unlink(ca);
    free(ca);
    SSL_CTX_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(post_is_sent_as_written),
        cmocka_unit_test(raw_target_bytes_stay),
        cmocka_unit_test(methods_with_and_without_body),
        cmocka_unit_test(head_gives_length_and_no_body),
        cmocka_unit_test(reply_fields_cross_and_framing_does_not),
        cmocka_unit_test(reply_until_close_is_complete),
        cmocka_unit_test(statuses_without_a_body),
        cmocka_unit_test(connections_are_reused),
        cmocka_unit_test(hundreds_at_once),
        cmocka_unit_test(tls_with_own_ca_and_name),
        cmocka_unit_test(authorities_of_the_system_are_read_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
