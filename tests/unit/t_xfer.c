/* t_xfer.c - Transfers that go well: bytes on the wire, reuse, bodies, fields,
 * pausing, many at once, TLS. */
#include "lib/upfix.h"

#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define OK_REPLY                                                               \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"                    \
    "Content-Length: 2\r\n\r\n{}"

/* Answer every request with <arg>, noting the request. */
static void answer_all(struct rawconn *c, void *arg)
{
    struct str req;

    while ((req = raw_request(c)).len > 0) {
        raw_note(c, req);
        raw_send(c, arg ? arg : OK_REPLY);
    }
}

/* Run one request against a fixed answer. */
static void exchange_once(struct upfix *f, struct rawserver *s,
                          const struct xfer_spec *spec, struct seen *seen)
{
    seen_init(seen);
    upfix_run(f, spec, seen);
    (void)s; /* its log is for the caller */
}

/* --- the request -------------------------------------------------------- */

static void post_is_sent_as_written(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;
    char want[1024];

    (void)state;
    rawserver_start(&s, answer_all, NULL, NULL);
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
    exchange_once(&f, &s, &spec, &seen);
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
    rawserver_start(&s, answer_all, NULL, NULL);
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
        exchange_once(&f, &s, &spec, &seen);
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
    rawserver_start(&s, answer_all, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct xfer_spec spec =
            upfix_spec(&f, rows[i].method, "/r", rows[i].body);
        struct seen seen;
        char want[64];

        free(s.log);
        s.log = NULL;
        s.log_len = 0;
        exchange_once(&f, &s, &spec, &seen);
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
    rawserver_start(&s, answer_all, reply, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "HEAD", "/files/1", NULL);
    exchange_once(&f, &s, &spec, &seen);
    assert_int_equal(seen.err, ERR_OK);
    assert_int_equal(seen.length, 12345);
    assert_int_equal(seen.bytes, 0);
    assert_memory_equal(s.log, "HEAD /v1/files/1 ", 17);
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

/* --- uploads ------------------------------------------------------------ */

static void check_upload(struct rawserver *s, const char *body, size_t len)
{
    struct str log = {s->log, s->log_len};
    size_t at = str_find(log, STR("\r\n\r\n")) + 4;

    assert_int_equal(log.len - at, len);
    assert_memory_equal(log.p + at, body, len);
}

static void bodies_of_every_size_arrive(void **state)
{
    static const size_t sizes[] = {1,     1000,  16384,   65535,
                                   65536, 65537, 1048576, 20 * 1048576};
    size_t max = 20 * 1048576;
    char *body = malloc(max + 1);
    struct rawserver s;
    struct upfix f;

    (void)state;
    for (size_t i = 0; i < max; i++)
        body[i] = (char)('a' + (i * 7 + i / 251) % 26);
    body[max] = '\0';
    rawserver_start(&s, answer_all, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct xfer_spec spec = upfix_spec(&f, "POST", "/b", "x");
        struct seen seen;

        spec.body = str_of(body, sizes[i]);
        free(s.log);
        s.log = NULL;
        s.log_len = 0;
        exchange_once(&f, &s, &spec, &seen);
        assert_int_equal(seen.err, ERR_OK);
        check_upload(&s, body, sizes[i]);
        seen_fini(&seen);
    }
    free(body);
    upfix_fini(&f);
    rawserver_stop(&s);
}

/* Feed <len> bytes into the stream in pieces, between turns of the loop. */
static void feed_stream(struct upfix *f, struct seen *seen, const char *body,
                        size_t len)
{
    size_t at = 0, piece = 1;

    while (at < len) {
        size_t n = piece < len - at ? piece : len - at;

        assert_int_equal(chunkq_put(&f->in.stream, body + at, n), ERR_OK);
        at += n;
        piece = piece * 3 % 70001 + 1;
        f->in.body_done = at == len;
        seen->producer->ops->body_ready(seen->producer);
        upfix_turn(f);
    }
}

static void streamed_body_with_length(void **state)
{
    size_t len = 3 * 1048576;
    char *body = malloc(len);
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    memset(body, 'z', len);
    for (size_t i = 0; i < len; i += 97)
        body[i] = (char)('0' + i % 10);
    rawserver_start(&s, answer_all, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "POST", "/files", NULL);
    spec.body_kind = XFER_BODY_STREAM;
    spec.length = (int64_t)len;
    seen_init(&seen);
    upfix_start(&f, &spec, &seen);
    feed_stream(&f, &seen, body, len);
    upfix_wait(&f, &seen);
    assert_int_equal(seen.err, ERR_OK);
    assert_true(f.taken > 0);
    assert_non_null(strstr(s.log, "Content-Length: 3145728\r\n"));
    assert_null(strstr(s.log, "Transfer-Encoding"));
    check_upload(&s, body, len);
    seen_fini(&seen);
    free(body);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void streamed_body_without_length_is_chunked(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, answer_all, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "PUT", "/files", NULL);
    spec.body_kind = XFER_BODY_STREAM;
    spec.length = -1;
    seen_init(&seen);
    upfix_start(&f, &spec, &seen);
    upfix_turn(&f);
    feed_stream(&f, &seen, "hello world", 11);
    upfix_wait(&f, &seen);
    assert_int_equal(seen.err, ERR_OK);
    assert_memory_equal(s.log, "PUT /v1/files ", 14);
    assert_non_null(strstr(s.log, "Transfer-Encoding: chunked\r\n"));
    assert_null(strstr(s.log, "Content-Length"));
    assert_true(str_ends(str_of(s.log, s.log_len), STR("0\r\n\r\n")));
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void refuse_early(struct rawconn *c, void *arg)
{
    (void)arg;
    raw_read(c, 200);
    raw_send(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
    raw_drain(c);
}

static void early_answer_to_an_upload_arrives(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, refuse_early, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "POST", "/files", NULL);
    spec.body_kind = XFER_BODY_STREAM;
    spec.length = 1000000;
    seen_init(&seen);
    upfix_start(&f, &spec, &seen);
    assert_int_equal(chunkq_put(&f.in.stream, seen.text, 400), ERR_OK);
    upfix_wait(&f, &seen);
    assert_int_equal(seen.err, ERR_OK);
    assert_int_equal(seen.status, 413);
    assert_string_equal(seen_text(&seen), "big");
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
    rawserver_start(&s, answer_all, reply, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "POST", "/x", "{}");
    exchange_once(&f, &s, &spec, &seen);
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
    exchange_once(&f, &s, &spec, &seen);
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
    exchange_once(&f, &s, &spec, &seen);
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
        rawserver_start(&s, answer_all, copy, NULL);
        upfix_init(&f, NULL, s.port, false);
        spec = upfix_spec(&f, "DELETE", "/x", NULL);
        exchange_once(&f, &s, &spec, &seen);
        assert_int_equal(seen.err, ERR_OK);
        assert_int_equal(seen.length, 0);
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
    rawserver_start(&s, answer_all, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    for (int i = 0; i < 50; i++) {
        struct xfer_spec spec = upfix_spec(&f, "POST", "/x", "{}");
        struct seen seen;

        exchange_once(&f, &s, &spec, &seen);
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

static void hundred_at_once(void **state)
{
    enum { N = 100 };
    struct rawserver s;
    struct upfix f;
    struct seen *all = calloc(N, sizeof(*all));

    (void)state;
    rawserver_start(&s, answer_all, NULL, NULL);
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

/* --- pausing ------------------------------------------------------------ */

static void hundred_megabytes(struct rawconn *c, void *arg)
{
    size_t len = 1 << 20;
    char *block = malloc(len);

    (void)arg;
    memset(block, 'x', len);
    while (raw_request(c).len > 0) {
        raw_send(c, "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n");
        for (int i = 0; i < 100; i++)
            raw_send_bytes(c, block, len);
    }
    free(block);
}

/* Resident memory in KiB. */
static long resident_kib(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    long all, resident;

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &all, &resident), 2);
    fclose(f);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void paused_reply_is_whole_and_memory_is_bounded(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;
    long before;

    (void)state;
    rawserver_start(&s, hundred_megabytes, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "GET", "/files/1/content", NULL);
    seen_init(&seen);
    seen.forget = true;
    seen.pause_every = 3;
    before = resident_kib();
    upfix_run(&f, &spec, &seen);
    assert_int_equal(seen.err, ERR_OK);
    assert_int_equal(seen.bytes, 104857600);
    assert_true(seen.pauses > 1000);
    assert_true(f.stats.counter[STAT_UP_PAUSED] == (uint64_t)seen.pauses);
    assert_true(resident_kib() - before < 16 * 1024);
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void small_chunked_reply_survives_pauses(void **state)
{
    static char reply[] =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n3\r\ndef\r\n3\r\nghi\r\n0\r\n\r\n";
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, answer_all, reply, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "POST", "/x", "{}");
    spec.streaming_reply = true;
    for (int i = 1; i < 4; i++) {
        seen_init(&seen);
        seen.pause_every = i;
        upfix_run(&f, &spec, &seen);
        assert_int_equal(seen.err, ERR_OK);
        assert_string_equal(seen_text(&seen), "abcdefghi");
        assert_true(seen.pauses > 0);
        seen_fini(&seen);
    }
    assert_int_equal(s.conns, 1);
    upfix_fini(&f);
    rawserver_stop(&s);
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
    rawserver_start(&s, answer_all, NULL, ctx);
    upfix_init(&f, "localhost", s.port, true);
    spec = upfix_spec(&f, "POST", "/x", "{}");
    /* An unknown CA. */
    exchange_once(&f, &s, &spec, &seen);
    assert_int_equal(seen.err, ERR_UP_TLS);
    assert_false(seen.sent);
    seen_fini(&seen);
    /* The CA, but another name. */
    f.up.tls.ca = str_from(ca);
    exchange_once(&f, &s, &spec, &seen);
    assert_int_equal(seen.err, ERR_UP_TLS);
    seen_fini(&seen);
    /* Both. */
    f.up.tls.server_name = STR("inside.test");
    exchange_once(&f, &s, &spec, &seen);
    assert_string_equal(seen.text, "");
    assert_int_equal(seen.err, ERR_OK);
    snprintf(want, sizeof(want), "Host: localhost:%u\r\n", s.port);
    assert_non_null(strstr(s.log, want));
    seen_fini(&seen);
    /* None, and nobody looks. */
    f.up.tls = (struct conf_up_tls){.verify = false};
    exchange_once(&f, &s, &spec, &seen);
    assert_int_equal(seen.err, ERR_OK);
    seen_fini(&seen);
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
        cmocka_unit_test(bodies_of_every_size_arrive),
        cmocka_unit_test(streamed_body_with_length),
        cmocka_unit_test(streamed_body_without_length_is_chunked),
        cmocka_unit_test(early_answer_to_an_upload_arrives),
        cmocka_unit_test(reply_fields_cross_and_framing_does_not),
        cmocka_unit_test(reply_until_close_is_complete),
        cmocka_unit_test(statuses_without_a_body),
        cmocka_unit_test(connections_are_reused),
        cmocka_unit_test(hundred_at_once),
        cmocka_unit_test(paused_reply_is_whole_and_memory_is_bounded),
        cmocka_unit_test(small_chunked_reply_survives_pauses),
        cmocka_unit_test(tls_with_own_ca_and_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
