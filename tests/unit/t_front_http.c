/* t_front_http.c - Requests and replies over real sockets: framing, keep-alive,
 * pipelining, bodies in every mode, refusals, CORS. */
#include "front_rig.h"

#include <stdio.h>
#include <stdlib.h>

#define GET(script) "GET /v1/files?" script " HTTP/1.1\r\nHost: a\r\n\r\n"

static void keeps_the_connection(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    for (int i = 0; i < 3; i++) {
        cli_send(&c, GET("now"));
        cli_expect(&c, "\r\n\r\nhello");
        assert_true(cli_has(&c, "HTTP/1.1 200 OK\r\n"));
        assert_true(cli_has(&c, "Content-Length: 5\r\n"));
        assert_true(cli_has(&c, "x-test: yes\r\n"));
        assert_true(cli_has(&c, "Date: "));
        assert_false(cli_has(&c, "Connection:"));
        cli_forget(&c);
    }
    assert_int_equal(r->settled, 3);
    assert_int_equal(front_conns(r->front), 1);
    cli_close(&c);
    RIG_UNTIL(r, front_conns(r->front) == 0);
    rig_free(r);
}

static void takes_any_split(void **state)
{
    static const char text[] =
        "POST /v1/chat/completions?echo HTTP/1.1\r\nHost: a\r\n"
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n"
        "0\r\nT: v\r\n\r\n";
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    for (size_t i = 0; i + 1 < sizeof(text); i++) {
        cli_send_bytes(&c, text + i, 1);
        rig_turn(r);
        rig_turn(r);
    }
    cli_expect(&c, "\r\n\r\nabcdefg");
    for (size_t cut = 1; cut + 1 < sizeof(text); cut++) {
        cli_forget(&c);
        cli_send_bytes(&c, text, cut);
        rig_turn(r);
        rig_turn(r);
        cli_send(&c, text + cut);
        cli_expect(&c, "\r\n\r\nabcdefg");
    }
    assert_int_equal(r->settled, sizeof(text) - 1);
    cli_close(&c);
    rig_free(r);
}

static void answers_pipelined_requests_in_order(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c,
             GET("now") "POST /v1/chat/completions?echo HTTP/1.1\r\n"
                        "Host: a\r\nContent-Length: 3\r\n\r\nabc" GET("fail")
                            GET("now"));
    cli_expect(&c, "\r\n\r\nhello");
    cli_expect(&c, "\r\n\r\nabc");
    cli_expect(&c, "\r\n\r\nauth");
    RIG_UNTIL(r, r->settled == 4);
    while (cli_count(&c, "hello") < 2) {
        assert_true(cli_recv(&c));
        rig_turn(r);
    }
    assert_true(str_find(buf_str(&c.got), STR("abc")) <
                str_find(buf_str(&c.got), STR("auth")));
    cli_close(&c);
    rig_free(r);
}

static void many_pipelined_requests_wait_their_turn(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    for (int i = 0; i < 2000; i++)
        cli_send(&c, GET("now"));
    while (cli_count(&c, "hello") < 2000) {
        assert_true(cli_recv(&c));
        rig_turn(r);
    }
    cli_close(&c);
    rig_free(r);
}

static void closes_when_too_much_is_sent_ahead(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    char *ahead = calloc(1, 20000);
    struct cli c;

    (void)state;
    memset(ahead, 'x', 20000);
    cli_open(&c, r, 0);
    cli_send(&c, GET("wait"));
    RIG_UNTIL(r, r->x != NULL);
    cli_send_bytes(&c, ahead, 20000);
    RIG_UNTIL(r, r->gone == 1);
    RIG_UNTIL(r, front_conns(r->front) == 0);
    cli_close(&c);
    free(ahead);
    rig_free(r);
}

static void waits_with_100_until_the_body_is_wanted(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, "POST /v1/chat/completions?echo HTTP/1.1\r\nHost: a\r\n"
                 "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    cli_expect(&c, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_int_equal(c.got.len, 25);
    cli_send(&c, "abc");
    cli_expect(&c, "\r\n\r\nabc");
    cli_forget(&c);
    cli_send(&c, "POST /v1/chat/completions?fail HTTP/1.1\r\nHost: a\r\n"
                 "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    cli_expect(&c, "\r\n\r\nauth");
    assert_false(cli_has(&c, "100 Continue"));
    assert_true(cli_has(&c, "Connection: close\r\n"));
    shutdown(c.fd, SHUT_WR);
    cli_expect_end(&c);
    assert_true(c.eof);
    cli_close(&c);
    rig_free(r);
}

static void early_reply_reaches_a_client_that_uploads(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    char *block = calloc(1, 1 << 20);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, "POST /v1/chat/completions?fail HTTP/1.1\r\nHost: a\r\n"
                 "Content-Length: 8388608\r\n\r\n");
    for (int i = 0; i < 8; i++)
        cli_send_bytes(&c, block, 1 << 20);
    cli_expect(&c, "\r\n\r\nauth");
    assert_true(cli_has(&c, "HTTP/1.1 401"));
    cli_expect_end(&c);
    assert_true(c.eof);
    cli_close(&c);
    free(block);
    rig_free(r);
}

static void short_unread_body_keeps_the_connection(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, "POST /v1/chat/completions?fail HTTP/1.1\r\nHost: a\r\n"
                 "Content-Length: 5\r\n\r\nab");
    cli_expect(&c, "\r\n\r\nauth");
    assert_false(cli_has(&c, "Connection: close"));
    cli_send(&c, "cde" GET("now"));
    cli_expect(&c, "\r\n\r\nhello");
    cli_close(&c);
    rig_free(r);
}

struct refusal {
    const char *request;
    const char *status;
    enum err err;
};

static void refuses_what_no_stage_needs_to_see(void **state)
{
    static const struct refusal rows[] = {
        {"BAD\r\n\r\n", "400", ERR_BAD_HTTP},
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400", ERR_BAD_HTTP},
        {"GET /x HTTP/1.1\r\n\r\n", "400", ERR_BAD_HTTP},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505", ERR_HTTP_VERSION},
        {"GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", "417",
         ERR_EXPECTATION},
        {"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
         "Content-Length: 99999999999\r\n\r\n",
         "413", ERR_TOO_LARGE},
        {"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
         "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
         "400", ERR_BAD_HTTP},
        {"POST /v1/chat/completions?echo HTTP/1.1\r\nHost: a\r\n"
         "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
         "400", ERR_BAD_HTTP},
        {"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
         "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
         "415", ERR_ENCODING},
    };
    struct rig *r = rig_new(NULL, NULL);

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char want[32];
        struct cli c;

        cli_open(&c, r, 0);
        cli_send(&c, rows[i].request);
        snprintf(want, sizeof(want), "HTTP/1.1 %s ", rows[i].status);
        cli_expect(&c, want);
        cli_expect(&c, err_name(rows[i].err));
        assert_true(cli_has(&c, "Connection: close\r\n"));
        assert_int_equal(r->last_err, rows[i].err);
        cli_expect_end(&c);
        assert_true(c.eof);
        cli_close(&c);
        RIG_UNTIL(r, front_conns(r->front) == 0);
        assert_int_equal(r->settled, i + 1);
    }
    rig_free(r);
}

static void unknown_urls_and_methods_keep_the_connection(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
    cli_expect(&c, "unknown_url");
    cli_send(&c, "GET /v1/chat/completions HTTP/1.1\r\nHost: a\r\n\r\n");
    RIG_UNTIL(r, r->settled == 2);
    assert_int_equal(front_conns(r->front), 1);
    cli_close(&c);
    rig_free(r);
}

static void head_too_large_is_refused(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    char *big = calloc(1, 40000);
    struct cli c;

    (void)state;
    memset(big, 'v', 39999);
    cli_open(&c, r, 0);
    cli_send(&c, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    cli_send_bytes(&c, big, 39999);
    cli_expect(&c, "HTTP/1.1 431 ");
    cli_expect_end(&c);
    cli_close(&c);
    free(big);
    rig_free(r);
}

static void collected_body_is_bounded(void **state)
{
    struct rig *r = rig_new("limits: {body: 64KiB}", NULL);
    char *block = calloc(1, 70000);
    struct cli c;

    (void)state;
    memset(block, 'x', 70000);
    cli_open(&c, r, 0);
    cli_send(&c, "POST /v1/chat/completions?echo HTTP/1.1\r\nHost: a\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n11170\r\n");
    cli_send_bytes(&c, block, 70000);
    cli_expect(&c, "HTTP/1.1 413 ");
    assert_int_equal(r->last_err, ERR_TOO_LARGE);
    cli_expect_end(&c);
    cli_close(&c);
    cli_open(&c, r, 0);
    cli_send(&c, "POST /v1/chat/completions?echo HTTP/1.1\r\nHost: a\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n10000\r\n");
    cli_send_bytes(&c, block, 65536);
    cli_send(&c, "\r\n0\r\n\r\n");
    cli_expect(&c, "Content-Length: 65536\r\n");
    cli_close(&c);
    free(block);
    rig_free(r);
}

static void all_bodies_together_are_bounded(void **state)
{
    struct rig *r = rig_new("limits: {body: 1MiB, max_buffered: 1MiB}", NULL);
    char *block = calloc(1, 700000);
    struct cli a, b;

    (void)state;
    cli_open(&a, r, 0);
    cli_send(&a, "POST /v1/chat/completions?echo HTTP/1.1\r\nHost: a\r\n"
                 "Content-Length: 700000\r\n\r\n");
    cli_send_bytes(&a, block, 600000);
    RIG_UNTIL(r, r->stats.buffered_bytes >= 600000);
    cli_open(&b, r, 0);
    cli_send(&b, "POST /v1/chat/completions?echo HTTP/1.1\r\nHost: a\r\n"
                 "Content-Length: 700000\r\n\r\n");
    cli_send_bytes(&b, block, 700000);
    cli_expect(&b, "HTTP/1.1 503 ");
    cli_expect(&b, "overloaded");
    cli_send_bytes(&a, block, 100000);
    cli_expect(&a, "Content-Length: 700000\r\n");
    cli_close(&a);
    cli_close(&b);
    free(block);
    rig_free(r);
}

static void streamed_body_has_back_pressure(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    char *block = calloc(1, 4 << 20);
    size_t sent = 0;
    struct cli c;

    (void)state;
    r->pull_stopped = true;
    cli_open(&c, r, 0);
    cli_send(&c, "POST /v1/files?pull HTTP/1.1\r\nHost: a\r\n"
                 "Content-Length: 4194304\r\n\r\n");
    RIG_UNTIL(r, r->x != NULL);
    for (unsigned i = 0; chunkq_len(&r->x->in->stream) < 256 * 1024;) {
        ssize_t n = send(c.fd, block + sent, (4 << 20) - sent, MSG_NOSIGNAL);

        sent += n > 0 ? (size_t)n : 0;
        rig_turn_waiting(r, &i);
    }
    rig_settle(r);
    assert_in_range(chunkq_len(&r->x->in->stream), 256 * 1024,
                    256 * 1024 + WORKER_SCRATCH);
    r->pull_stopped = false;
    r->x->work->producer->ops->body_ready(r->x->work->producer);
    cli_send_bytes(&c, block + sent, (4 << 20) - sent);
    cli_expect(&c, "\r\n\r\ndone");
    assert_int_equal(r->pulled.len, 4 << 20);
    cli_close(&c);
    free(block);
    rig_free(r);
}

/* A long stream that its client drains slowly wakes its stage very often. */
static void wakes_are_not_counted(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, GET("open"));
    RIG_UNTIL(r, r->x != NULL);
    for (int i = 0; i < 2 * EXCHANGE_MAX_STEPS; i++)
        exchange_wake(r->x, WAKE_DRAINED);
    r->x->client->ops->finish(r->x->client);
    exchange_wake(r->x, WAKE_END);
    cli_expect(&c, "\r\n0\r\n\r\n");
    cli_close(&c);
    rig_free(r);
}

static void open_reply_is_chunked_or_closed(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, GET("open"));
    cli_expect(&c, "Transfer-Encoding: chunked\r\n");
    cli_forget(&c);
    r->x->client->ops->send(r->x->client, STR("hello world, hi"));
    r->x->client->ops->send(r->x->client, STR(""));
    cli_expect(&c, "f\r\nhello world, hi\r\n");
    r->x->client->ops->finish(r->x->client);
    exchange_wake(r->x, WAKE_END);
    cli_expect(&c, "\r\n0\r\n\r\n");
    cli_forget(&c);
    cli_send(&c, "GET /v1/files?open HTTP/1.0\r\nConnection: keep-alive\r\n"
                 "\r\n");
    cli_expect(&c, "Connection: close\r\n");
    assert_false(cli_has(&c, "Transfer-Encoding"));
    r->x->client->ops->send(r->x->client, STR("raw"));
    r->x->client->ops->finish(r->x->client);
    exchange_wake(r->x, WAKE_END);
    cli_expect_end(&c);
    assert_true(cli_has(&c, "\r\n\r\nraw"));
    assert_true(c.eof);
    cli_close(&c);
    rig_free(r);
}

static void http_1_0_is_kept_when_asked(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    cli_expect(&c, "Connection: keep-alive\r\n");
    cli_expect(&c, "hello");
    cli_forget(&c);
    cli_send(&c, "GET / HTTP/1.0\r\n\r\n");
    cli_expect_end(&c);
    assert_true(cli_has(&c, "Connection: close\r\n"));
    assert_true(cli_has(&c, "hello"));
    cli_close(&c);
    rig_free(r);
}

static void head_has_no_body(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" GET("fail"));
    cli_expect(&c, "\r\n\r\nauth");
    assert_true(cli_has(&c, "Content-Length: 5\r\n"));
    assert_false(cli_has(&c, "hello"));
    cli_close(&c);
    rig_free(r);
}

static void aborted_reply_is_seen_as_broken(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, GET("open"));
    RIG_UNTIL(r, r->x != NULL);
    r->x->client->ops->send(r->x->client, STR("part"));
    r->x->client->ops->abort(r->x->client);
    exchange_wake(r->x, WAKE_END);
    cli_expect_end(&c);
    assert_true(cli_has(&c, "4\r\npart\r\n"));
    assert_false(cli_has(&c, "\r\n0\r\n"));
    assert_true(c.reset);
    cli_close(&c);
    rig_free(r);
}

static void tunnel_passes_bytes_and_ends(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, GET("tunnel") "early");
    cli_expect(&c, "HTTP/1.1 101 ");
    cli_expect(&c, "\r\n\r\nearly");
    assert_true(cli_has(&c, "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
    cli_forget(&c);
    cli_send(&c, "GET / raw \x01\x02");
    cli_expect(&c, "GET / raw \x01\x02");
    shutdown(c.fd, SHUT_WR);
    cli_expect_end(&c);
    assert_true(c.eof);
    assert_int_equal(r->settled, 1);
    assert_int_equal(r->gone, 0);
    cli_close(&c);
    rig_free(r);
}

static void preflight_is_answered_without_a_stage(void **state)
{
    struct rig *r = rig_new("cors: {origins: [\"https://a.example\"]}", NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, "OPTIONS /v1/chat/completions?wait HTTP/1.1\r\nHost: a\r\n"
                 "Origin: https://a.example\r\n"
                 "Access-Control-Request-Method: POST\r\n"
                 "Access-Control-Request-Headers: authorization,x-stainless-os"
                 "\r\n\r\n");
    cli_expect(&c, "\r\n\r\n");
    assert_true(cli_has(&c, "HTTP/1.1 204 "));
    assert_true(
        cli_has(&c, "Access-Control-Allow-Origin: https://a.example\r\n"));
    assert_true(cli_has(
        &c, "Access-Control-Allow-Headers: authorization,x-stainless-os\r\n"));
    assert_true(cli_has(&c, "Access-Control-Allow-Methods: POST\r\n"));
    assert_true(cli_has(&c, "Vary: Origin\r\n"));
    assert_false(cli_has(&c, "Content-Length"));
    cli_forget(&c);
    cli_send(&c, "GET /v1/files?now HTTP/1.1\r\nHost: a\r\n"
                 "Origin: https://a.example\r\n\r\n");
    cli_expect(&c, "hello");
    assert_true(
        cli_has(&c, "Access-Control-Allow-Origin: https://a.example\r\n"));
    assert_true(cli_has(&c, "Access-Control-Expose-Headers: x-request-id,"));
    cli_forget(&c);
    cli_send(&c, "GET /v1/files?fail HTTP/1.1\r\nHost: a\r\n"
                 "Origin: https://evil.example\r\n\r\n");
    cli_expect(&c, "auth");
    assert_false(cli_has(&c, "Access-Control-"));
    cli_close(&c);
    rig_free(r);
}

static void options_without_cors_passes_on(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, "OPTIONS /v1/chat/completions?now HTTP/1.1\r\nHost: a\r\n"
                 "Origin: https://a.example\r\n"
                 "Access-Control-Request-Method: POST\r\n\r\n");
    cli_expect(&c, "hello");
    assert_false(cli_has(&c, "Access-Control-"));
    cli_close(&c);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_connection),
        cmocka_unit_test(takes_any_split),
        cmocka_unit_test(answers_pipelined_requests_in_order),
        cmocka_unit_test(many_pipelined_requests_wait_their_turn),
        cmocka_unit_test(closes_when_too_much_is_sent_ahead),
        cmocka_unit_test(waits_with_100_until_the_body_is_wanted),
        cmocka_unit_test(early_reply_reaches_a_client_that_uploads),
        cmocka_unit_test(short_unread_body_keeps_the_connection),
        cmocka_unit_test(refuses_what_no_stage_needs_to_see),
        cmocka_unit_test(unknown_urls_and_methods_keep_the_connection),
        cmocka_unit_test(head_too_large_is_refused),
        cmocka_unit_test(collected_body_is_bounded),
        cmocka_unit_test(all_bodies_together_are_bounded),
        cmocka_unit_test(streamed_body_has_back_pressure),
        cmocka_unit_test(wakes_are_not_counted),
        cmocka_unit_test(open_reply_is_chunked_or_closed),
        cmocka_unit_test(http_1_0_is_kept_when_asked),
        cmocka_unit_test(head_has_no_body),
        cmocka_unit_test(aborted_reply_is_seen_as_broken),
        cmocka_unit_test(tunnel_passes_bytes_and_ends),
        cmocka_unit_test(preflight_is_answered_without_a_stage),
        cmocka_unit_test(options_without_cors_passes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
