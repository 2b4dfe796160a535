/* t_tunnel.c - WebSocket tunnels: the handshake, bytes both ways, pressure in
 * both directions, answers that are no 101, endings. */
#include "lib/upfix.h"

#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define SWITCHING                                                              \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"               \
    "Connection: Upgrade\r\nSec-WebSocket-Accept: xyz\r\n\r\n"

static struct xfer_spec handshake(struct upfix *f)
{
    struct xfer_spec spec;

    upfix_client(f, "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                    "Sec-WebSocket-Key: abc\r\nSec-WebSocket-Version: 13\r\n"
                    "Authorization: Bearer sk-tg-client\r\n");
    spec = upfix_spec(f, "GET", "/realtime", NULL);
    spec.query = STR("?model=m");
    return spec;
}

static void open_tunnel(struct upfix *f, const struct xfer_spec *spec,
                        struct seen *s)
{
    clock_update();
    s->producer = tunnel_start(f->pool, &f->x, spec, &s->sink);
    assert_non_null(s->producer);
    assert_int_equal(s->heads, 0);
}

/* Switch, with first bytes in the same segment, then echo all. */
static void echo(struct rawconn *c, void *arg)
{
    struct str got;

    (void)arg;
    got = raw_request(c);
    raw_note(c, got);
    raw_send(c, "HTTP/1.1 100 Continue\r\n\r\n" SWITCHING "hello ");
    while ((got = raw_some(c)).len > 0)
        raw_send_bytes(c, got.p, got.len);
}

static void say(struct upfix *f, struct seen *s, const void *p, size_t len)
{
    assert_int_equal(chunkq_put(&f->in.stream, p, len), ERR_OK);
    s->producer->ops->body_ready(s->producer);
}

static void check_echo(SSL_CTX *tls, const char *ca)
{
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;
    char want[512];

    rawserver_start(&s, echo, NULL, tls);
    upfix_init(&f, "localhost", s.port, tls != NULL);
    f.up.tls.ca = str_from(ca);
    spec = handshake(&f);
    seen_init(&seen);
    open_tunnel(&f, &spec, &seen);
    say(&f, &seen, "too early? ", 11); /* waits for the 101 */
    while (seen.bytes < 17 && !seen.ended)
        upfix_turn(&f);
    assert_string_equal(seen.text, "");
    say(&f, &seen, "world", 5);
    while (seen.bytes < 22)
        upfix_turn(&f);
    assert_int_equal(seen.status, 101);
    assert_true(
        str_eq(headers_value(&seen.headers, STR("Upgrade")), STR("websocket")));
    assert_true(str_eq(
        headers_value(&seen.headers, STR("Sec-WebSocket-Accept")), STR("xyz")));
    assert_string_equal(seen_text(&seen), "hello too early? world");
    snprintf(want, sizeof(want),
             "GET /v1/realtime?model=m HTTP/1.1\r\nHost: localhost:%u\r\n"
             "Sec-WebSocket-Key: abc\r\nSec-WebSocket-Version: 13\r\n"
             "Authorization: Bearer sk-provider\r\nConnection: Upgrade\r\n"
             "Upgrade: websocket\r\n\r\n",
             s.port);
    assert_string_equal(s.log, want);
    assert_true(xfer_was_sent(seen.producer));
    seen.producer->ops->cancel(seen.producer);
    while (s.live > 0) /* the server has seen the end, without our loop */
        sched_yield();
    assert_int_equal(upstream_pool_open(f.pool), 0);
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void echo_over_tcp(void **state)
{
    (void)state;
    check_echo(NULL, NULL);
}

static void echo_over_tls(void **state)
{
    char *ca;
    SSL_CTX *tls = raw_tls_make("localhost", &ca);

    (void)state;
    check_echo(tls, ca);
    SSL_CTX_free(tls);
    unlink(ca);
    free(ca);
}

/* Echo 20 MB in both directions at once, with a slow sink. */
static void pressure_both_ways(void **state)
{
    enum { PIECE = 50000, PIECES = 400 };
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;
    char *piece = malloc(PIECE);
    uint64_t all = 6 + (uint64_t)PIECE * PIECES;

    (void)state;
    for (int i = 0; i < PIECE; i++)
        piece[i] = (char)('a' + i % 26);
    rawserver_start(&s, echo, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = handshake(&f);
    seen_init(&seen);
    seen.pause_every = 3;
    open_tunnel(&f, &spec, &seen);
    for (int i = 0; i < PIECES || seen.bytes < all;) {
        assert_false(seen.ended);
        if (i < PIECES && chunkq_len(&f.in.stream) < 4 * PIECE) {
            say(&f, &seen, piece, PIECE);
            i++;
        }
        if (seen.paused) {
            seen.paused = false;
            seen.producer->ops->resume(seen.producer);
        }
        upfix_turn(&f);
    }
    assert_true(seen.pauses > 100);
    assert_true(f.taken > 0);
    for (uint64_t i = 6; i < all; i++)
        if (seen.body.p[i] != piece[(i - 6) % PIECE])
            fail_msg("byte %llu differs", (unsigned long long)i);
    seen.producer->ops->cancel(seen.producer);
    free(piece);
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

/* --- other answers ------------------------------------------------------ */

static void answer_once(struct rawconn *c, void *arg)
{
    raw_request(c);
    if (arg)
        raw_send(c, arg);
}

struct answer_row {
    char reply[256];
    int status; /* 0: no head */
    enum err err;
    const char *body;
};

static struct answer_row answers[] = {
    {"HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n"
     "X-A: b\r\nConnection: close\r\n\r\nno ke",
     401, ERR_OK, "no ke"},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
     "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
     200, ERR_OK, "abcde"},
    {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404, ERR_OK, ""},
    {"HTTP/1.1 500 Oops\r\n\r\nuntil the end", 500, ERR_OK, "until the end"},
    {"HTTP/1.1 500 Oops\r\nContent-Length: 9\r\n\r\nshort", 500,
     ERR_UP_INCOMPLETE, "short"},
    {"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 500,
     ERR_UP_INCOMPLETE, ""},
    {SWITCHING "bye", 101, ERR_OK, "bye"},
    {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n"
     "Connection: Upgrade\r\n\r\n",
     0, ERR_UP_BAD, ""},
    {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 0,
     ERR_UP_BAD, ""},
    {"garbage\r\n\r\n", 0, ERR_UP_BAD, ""},
    {"HTTP/1.1 101 Swi", 0, ERR_UP_RESET, ""},
    {"", 0, ERR_UP_RESET, ""},
};

static void other_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct answer_row *r = &answers[i];

        for (int slow = 0; slow < 2; slow++) {
            struct rawserver s;
            struct upfix f;
            struct seen seen;
            struct xfer_spec spec;

            rawserver_start(&s, answer_once, r->reply, NULL);
            upfix_init(&f, NULL, s.port, false);
            spec = handshake(&f);
            seen_init(&seen);
            seen.pause_every = slow;
            open_tunnel(&f, &spec, &seen);
            upfix_wait(&f, &seen);
            if (seen.err != r->err || seen.status != r->status ||
                strcmp(seen_text(&seen), r->body) != 0)
                fail_msg("answer %zu: err=%s status=%d body=%s text=%s", i,
                         err_name(seen.err), seen.status, seen_text(&seen),
                         seen.text);
            assert_true(seen.sent);
            if (seen.status >= 200)
                assert_null(headers_find(&seen.headers, STR("Connection")));
            seen_fini(&seen);
            upfix_fini(&f);
            rawserver_stop(&s);
        }
    }
}

static void refused_tunnel_is_unavailable(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, answer_once, NULL, NULL);
    rawserver_stop(&s);
    upfix_init(&f, NULL, s.port, false);
    spec = handshake(&f);
    seen_init(&seen);
    open_tunnel(&f, &spec, &seen);
    upfix_wait(&f, &seen);
    assert_int_equal(seen.err, ERR_UP_UNAVAILABLE);
    assert_false(seen.sent);
    seen_fini(&seen);
    upfix_fini(&f);
}

static void reset_tunnel(struct rawconn *c, void *arg)
{
    (void)arg;
    raw_request(c);
    raw_send(c, SWITCHING);
    raw_read(c, 4);
    raw_reset(c);
}

static void reset_after_the_head_is_incomplete(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, reset_tunnel, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = handshake(&f);
    seen_init(&seen);
    open_tunnel(&f, &spec, &seen);
    while (seen.heads == 0)
        upfix_turn(&f);
    say(&f, &seen, "ping", 4);
    upfix_wait(&f, &seen);
    assert_int_equal(seen.err, ERR_UP_INCOMPLETE);
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void hang(struct rawconn *c, void *arg)
{
    raw_request(c);
    if (arg)
        raw_send(c, arg);
    raw_drain(c);
}

static void deadlines_end_with_the_head(void **state)
{
    static char switching[] = SWITCHING;

    (void)state;
    for (int answered = 0; answered < 2; answered++) {
        struct rawserver s;
        struct upfix f;
        struct seen seen;
        struct xfer_spec spec;

        rawserver_start(&s, hang, answered ? switching : NULL, NULL);
        upfix_init(&f, NULL, s.port, false);
        spec = handshake(&f);
        seen_init(&seen);
        open_tunnel(&f, &spec, &seen);
        while (s.requests == 0 || (answered && seen.heads == 0))
            upfix_turn(&f);
        clock_advance_ms(answered ? 3600000 : 60001);
        upstream_pool_check_deadlines(f.pool);
        assert_int_equal(seen.ended, !answered);
        if (answered)
            seen.producer->ops->cancel(seen.producer);
        else
            assert_int_equal(seen.err, ERR_UP_TIMEOUT);
        seen_fini(&seen);
        upfix_fini(&f);
        rawserver_stop(&s);
    }
}

static void cancel_own(struct seen *s)
{
    if (s->bytes == 0 || !s->producer)
        return;
    s->producer->ops->cancel(s->producer);
    s->producer = NULL;
}

static void cancel_from_inside_data(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, echo, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = handshake(&f);
    seen_init(&seen);
    seen.hook = cancel_own;
    open_tunnel(&f, &spec, &seen);
    while (upstream_pool_open(f.pool) > 0)
        upfix_turn(&f);
    assert_false(seen.ended);
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echo_over_tcp),
        cmocka_unit_test(echo_over_tls),
        cmocka_unit_test(pressure_both_ways),
        cmocka_unit_test(other_answers),
        cmocka_unit_test(refused_tunnel_is_unavailable),
        cmocka_unit_test(reset_after_the_head_is_incomplete),
        cmocka_unit_test(deadlines_end_with_the_head),
        cmocka_unit_test(cancel_from_inside_data),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
