/* t_xfer_faults.c - Transfers that go wrong: what each fault is called, and
 * that no request is sent twice. */
#include "lib/upfix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* --- replies that are none ---------------------------------------------- */

/* What a server does after it has read a request. */
struct fault {
    const char *name;
    const char *reply; /* NULL: nothing */
    size_t repeat;     /* this text, as often, after <reply> */
    const char *text;
    bool reset;
    enum err err;
    int heads; /* given to the sink before the end */
};

#define HEAD "HTTP/1.1 200 OK\r\n"

static const struct fault faults[] = {
    {"closed at once", NULL, 0, NULL, false, ERR_UP_RESET, 0},
    {"reset at once", NULL, 0, NULL, true, ERR_UP_RESET, 0},
    {"reset in the head", HEAD "Content-Le", 0, NULL, true, ERR_UP_RESET, 0},
    {"garbage", "hello, this is no HTTP at all\r\n\r\n", 0, NULL, false,
     ERR_UP_BAD, 0},
    {"HTTP/0.9", "<html></html>", 0, NULL, false, ERR_UP_BAD, 0},
    {"status 99", "HTTP/1.1 099 X\r\n\r\n", 0, NULL, false, ERR_UP_BAD, 0},
    {"status 600", "HTTP/1.1 600 X\r\n\r\n", 0, NULL, false, ERR_UP_BAD, 0},
    {"unasked 101", "HTTP/1.1 101 X\r\nUpgrade: y\r\n\r\n", 0, NULL, false,
     ERR_UP_BAD, 0},
    {"two lengths", HEAD "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", 0,
     NULL, false, ERR_UP_BAD, 0},
    {"the same length twice",
     HEAD "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 0, NULL, false,
     ERR_UP_BAD, 0},
    {"a list of lengths", HEAD "Content-Length: 2, 2\r\n\r\n{}", 0, NULL, false,
     ERR_UP_BAD, 0},
    {"signed length", HEAD "Content-Length: +2\r\n\r\n{}", 0, NULL, false,
     ERR_UP_BAD, 0},
    {"length beside chunks",
     HEAD "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
          "2\r\n{}\r\n0\r\n\r\n",
     0, NULL, false, ERR_UP_BAD, 0},
    {"unknown coding", HEAD "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
     0, NULL, false, ERR_UP_BAD, 0},
    {"coding twice",
     HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"
          "0\r\n\r\n",
     0, NULL, false, ERR_UP_BAD, 0},
    {"folded line", HEAD "X-A: b\r\n c\r\nContent-Length: 2\r\n\r\n{}", 0, NULL,
     false, ERR_UP_BAD, 0},
    {"no colon", HEAD "X-A b\r\nContent-Length: 2\r\n\r\n{}", 0, NULL, false,
     ERR_UP_BAD, 0},
    {"blank before colon", HEAD "X-A : b\r\nContent-Length: 2\r\n\r\n{}", 0,
     NULL, false, ERR_UP_BAD, 0},
    {"endless interim heads", "", 1000, "HTTP/1.1 102 Processing\r\n\r\n",
     false, ERR_UP_BAD, 0},
    {"too many fields", HEAD, 300, "X-F: y\r\n", false, ERR_UP_BAD, 0},
    {"endless head", HEAD, 100000, "X-Filling-The-Head: 0123456789\r\n", false,
     ERR_UP_BAD, 0},
    {"short body", HEAD "Content-Length: 100\r\n\r\nabc", 0, NULL, false,
     ERR_UP_INCOMPLETE, 1},
    {"short body, reset", HEAD "Content-Length: 100\r\n\r\nabc", 0, NULL, true,
     ERR_UP_INCOMPLETE, 1},
    {"chunks cut off", HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", 0,
     NULL, false, ERR_UP_INCOMPLETE, 1},
    {"bad chunk size", HEAD "Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n",
     0, NULL, false, ERR_UP_INCOMPLETE, 1},
    {"chunk size overflows",
     HEAD "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\nabc\r\n", 0,
     NULL, false, ERR_UP_INCOMPLETE, 1},
};

static void do_fault(struct rawconn *c, void *arg)
{
    const struct fault *f = atomic_load((_Atomic(const struct fault *) *)arg);

    if (raw_request(c).len == 0)
        return;
    if (f->reply)
        raw_send(c, f->reply);
    for (size_t i = 0; i < f->repeat; i++)
        raw_send(c, f->text);
    if (f->reset)
        raw_reset(c);
}

static void each_fault_has_its_name(void **state)
{
    _Atomic(const struct fault *) now = NULL;
    struct rawserver s;
    struct upfix fx;

    (void)state;
    rawserver_start(&s, do_fault, &now, NULL);
    upfix_init(&fx, NULL, s.port, false);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct xfer_spec spec = upfix_spec(&fx, "POST", "/x", "{}");
        const struct fault *f = &faults[i];
        struct seen seen;

        atomic_store(&now, f);
        seen_init(&seen);
        upfix_run(&fx, &spec, &seen);
        if (seen.err != f->err || seen.heads != f->heads || !seen.sent)
            fail_msg("%s: err=%s heads=%d sent=%d text=%s", f->name,
                     err_name(seen.err), seen.heads, seen.sent, seen.text);
        assert_true(seen.text[0] != '\0');
        assert_null(strstr(seen.text, "sk-provider"));
        seen_fini(&seen);
    }
    assert_int_equal(upstream_pool_open(fx.pool), 0);
    upfix_fini(&fx);
    rawserver_stop(&s);
}

static void refused_connection_is_unavailable(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, do_fault, NULL, NULL);
    rawserver_stop(&s); /* its port is free again */
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "POST", "/x", "{}");
    seen_init(&seen);
    upfix_run(&f, &spec, &seen);
    assert_int_equal(seen.err, ERR_UP_UNAVAILABLE);
    assert_false(seen.sent);
    seen_fini(&seen);
    upfix_fini(&f);
}

static void not_tls(struct rawconn *c, void *arg)
{
    (void)arg;
    raw_read(c, 10);
    raw_send(c, "HTTP/1.1 400 Bad Request\r\n\r\n");
}

static void plain_server_is_a_tls_fault(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, not_tls, NULL, NULL);
    upfix_init(&f, NULL, s.port, true);
    spec = upfix_spec(&f, "POST", "/x", "{}");
    seen_init(&seen);
    upfix_run(&f, &spec, &seen);
    assert_int_equal(seen.err, ERR_UP_TLS);
    assert_false(seen.sent);
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

/* --- kept-alive connections --------------------------------------------- */

/* Answer the first request of a connection; read the second and close. */
static void die_on_second(struct rawconn *c, void *arg)
{
    (void)arg;
    if (raw_request(c).len == 0)
        return;
    raw_send(c, RAW_OK);
    if (raw_request(c).len > 0)
        raw_note(c, STR("executed\n"));
}

static void post_is_never_sent_again(void **state)
{
    static const char *const methods[] = {"POST", "DELETE", "PUT"};
    struct rawserver s;
    struct upfix f;
    struct xfer_spec spec;
    struct seen seen;

    (void)state;
    for (int i = 0; i < 3; i++) {
        rawserver_start(&s, die_on_second, NULL, NULL);
        upfix_init(&f, NULL, s.port, false);
        spec = upfix_spec(&f, methods[i], "/x", i == 1 ? NULL : "{}");
        seen_init(&seen);
        upfix_run(&f, &spec, &seen);
        assert_int_equal(seen.err, ERR_OK);
        seen_fini(&seen);
        seen_init(&seen);
        upfix_run(&f, &spec, &seen);
        assert_int_equal(seen.err, ERR_UP_RESET);
        assert_true(seen.sent);
        assert_non_null(strstr(seen.text, "kept-alive"));
        assert_int_equal(s.requests, 2);
        pthread_mutex_lock(&s.lock);
        assert_string_equal(s.log, "executed\n");
        pthread_mutex_unlock(&s.lock);
        /* The pool is as good as before. */
        seen_fini(&seen);
        seen_init(&seen);
        upfix_run(&f, &spec, &seen);
        assert_int_equal(seen.err, ERR_OK);
        seen_fini(&seen);
        upfix_fini(&f);
        rawserver_stop(&s);
    }
}

static void large_post_is_never_sent_again(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct xfer_spec spec;
    struct seen seen;
    char *body = calloc(1, 300000);

    (void)state;
    memset(body, 'b', 299999);
    rawserver_start(&s, die_on_second, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "POST", "/x", body);
    for (int i = 0; i < 2; i++) {
        seen_init(&seen);
        upfix_run(&f, &spec, &seen);
        assert_int_equal(seen.err, i == 0 ? ERR_OK : ERR_UP_RESET);
        seen_fini(&seen);
    }
    assert_int_equal(s.requests, 2);
    free(body);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void get_is_sent_again_on_a_dead_connection(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct xfer_spec spec;
    struct seen seen;

    (void)state;
    rawserver_start(&s, die_on_second, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "GET", "/x", NULL);
    for (int i = 0; i < 2; i++) {
        seen_init(&seen);
        upfix_run(&f, &spec, &seen);
        assert_int_equal(seen.err, ERR_OK);
        seen_fini(&seen);
    }
    assert_int_equal(s.conns, 2);
    upfix_fini(&f);
    rawserver_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_fault_has_its_name),
        cmocka_unit_test(refused_connection_is_unavailable),
        cmocka_unit_test(plain_server_is_a_tls_fault),
        cmocka_unit_test(post_is_never_sent_again),
        cmocka_unit_test(large_post_is_never_sent_again),
        cmocka_unit_test(get_is_sent_again_on_a_dead_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
