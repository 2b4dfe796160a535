/* t_xfer_time.c - Deadlines of transfers, cancelling, starting and cancelling
 * from inside calls, names that are looked up. */
#include "lib/upfix.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "upstream/resolve.h"

#define HEAD "HTTP/1.1 200 OK\r\n"

static void only_close(struct rawconn *c, void *arg)
{
    (void)c;
    (void)arg;
}

/* --- deadlines ---------------------------------------------------------- */

static void say_and_hang(struct rawconn *c, void *arg)
{
    const char **say = arg;

    raw_request(c);
    if (*say)
        raw_send(c, *say);
    raw_drain(c);
}

/* Move the clock and have the deadlines looked at. */
static void pass_ms(struct upfix *f, uint64_t ms)
{
    clock_advance_ms(ms);
    upstream_pool_check_deadlines(f->pool);
}

/* Turn the loop until the server has the request. */
static void until_asked(struct upfix *f, struct rawserver *s)
{
    while (s->requests == 0)
        upfix_turn(f);
}

static void set_flag(struct seen *s)
{
    *(bool *)s->hook_arg = true;
}

static void no_first_byte(void **state)
{
    const char *say = NULL;
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, say_and_hang, &say, NULL);
    upfix_init(&f, NULL, s.port, false);
    f.up.timeouts = (struct conf_timeouts){5000, 30000, 10000, 600000};
    spec = upfix_spec(&f, "POST", "/x", "{}");
    seen_init(&seen);
    upfix_start(&f, &spec, &seen);
    until_asked(&f, &s);
    pass_ms(&f, 29000);
    assert_false(seen.ended);
    pass_ms(&f, 1001);
    assert_true(seen.ended);
    assert_int_equal(seen.err, ERR_UP_TIMEOUT);
    assert_true(seen.sent);
    assert_non_null(strstr(seen.text, "first byte"));
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void reply_stands_still(void **state)
{
    const char *say = HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;
    bool got = false;

    (void)state;
    rawserver_start(&s, say_and_hang, &say, NULL);
    upfix_init(&f, NULL, s.port, false);
    f.up.timeouts = (struct conf_timeouts){5000, 30000, 10000, 600000};
    spec = upfix_spec(&f, "POST", "/x", "{}");
    seen_init(&seen);
    seen.hook = set_flag;
    seen.hook_arg = &got;
    upfix_start(&f, &spec, &seen);
    while (seen.bytes < 3)
        upfix_turn(&f);
    pass_ms(&f, 9000);
    assert_false(seen.ended);
    pass_ms(&f, 1001);
    assert_true(seen.ended);
    assert_int_equal(seen.err, ERR_UP_TIMEOUT);
    assert_non_null(strstr(seen.text, "idle"));
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void a_paused_reply_has_no_idle_deadline(void **state)
{
    const char *say = HEAD "Content-Length: 3\r\n\r\nabc";
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, say_and_hang, &say, NULL);
    upfix_init(&f, NULL, s.port, false);
    f.up.timeouts = (struct conf_timeouts){5000, 30000, 10000, 600000};
    spec = upfix_spec(&f, "POST", "/x", "{}");
    seen_init(&seen);
    seen.pause_every = 1;
    upfix_start(&f, &spec, &seen);
    while (!seen.paused)
        upfix_turn(&f);
    pass_ms(&f, 100000);
    assert_false(seen.ended);
    upfix_wait(&f, &seen); /* resumes it */
    assert_int_equal(seen.err, ERR_OK);
    assert_string_equal(seen_text(&seen), "abc");
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void total_time_is_used_up(void **state)
{
    const char *say = HEAD "Content-Length: 3\r\n\r\nabc";
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, say_and_hang, &say, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "POST", "/x", "{}");
    clock_update();
    spec.deadline_us = (int64_t)clock_mono_us() + 50000000;
    seen_init(&seen);
    seen.pause_every = 1;
    upfix_start(&f, &spec, &seen);
    while (!seen.paused)
        upfix_turn(&f);
    pass_ms(&f, 50001);
    assert_true(seen.ended);
    assert_int_equal(seen.err, ERR_UP_TIMEOUT);
    assert_non_null(strstr(seen.text, "total"));
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void short_real_timer_fires(void **state)
{
    const char *say = NULL;
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, say_and_hang, &say, NULL);
    upfix_init(&f, NULL, s.port, false);
    f.up.timeouts = (struct conf_timeouts){5000, 20, 10000, 600000};
    spec = upfix_spec(&f, "POST", "/x", "{}");
    seen_init(&seen);
    upfix_run(&f, &spec, &seen);
    assert_int_equal(seen.err, ERR_UP_TIMEOUT);
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void connect_deadline(void **state)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof(at);
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;
    int fds[64], n = 0;

    (void)state;
    rawserver_start(&s, only_close, NULL, NULL);
    assert_int_equal(getsockname(s.listen_fd, (struct sockaddr *)&at, &len), 0);
    rawserver_stop(&s);
    /* A listener that never accepts, with its queue filled up. */
    fds[n++] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fds[0], (struct sockaddr *)&at, len), 0);
    assert_int_equal(listen(fds[0], 0), 0);
    while (n < 8) {
        fds[n] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fds[n++], (struct sockaddr *)&at, len);
    }
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "POST", "/x", "{}");
    seen_init(&seen);
    upfix_start(&f, &spec, &seen);
    upfix_turn(&f);
    upfix_turn(&f);
    pass_ms(&f, 4900);
    assert_false(seen.ended);
    pass_ms(&f, 101);
    assert_true(seen.ended);
    assert_int_equal(seen.err, ERR_UP_TIMEOUT);
    assert_false(seen.sent);
    assert_non_null(strstr(seen.text, "connect"));
    while (n > 0)
        close(fds[--n]);
    seen_fini(&seen);
    upfix_fini(&f);
}

/* --- cancelling --------------------------------------------------------- */

static void note_close(struct rawconn *c, void *arg)
{
    const char **say = arg;

    raw_request(c);
    if (*say)
        raw_send(c, *say);
    raw_drain(c);
    raw_note(c, STR("closed"));
}

/* Wait until the server has seen the connection go, without our loop. */
static void until_live(struct rawserver *s, unsigned live)
{
    while (s->live > live)
        sched_yield();
}

static void cancel_closes_at_once(void **state)
{
    static const char *const says[] = {
        NULL, "HTTP/1.1 200 OK\r\nContent-",
        HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"};

    (void)state;
    for (int i = 0; i < 3; i++) {
        const char *say = says[i];
        struct rawserver s;
        struct upfix f;
        struct seen seen;
        struct xfer_spec spec;

        rawserver_start(&s, note_close, &say, NULL);
        upfix_init(&f, NULL, s.port, false);
        spec = upfix_spec(&f, "POST", "/x", "{}");
        seen_init(&seen);
        upfix_start(&f, &spec, &seen);
        until_asked(&f, &s);
        while (i == 2 && seen.bytes == 0)
            upfix_turn(&f);
        seen.producer->ops->cancel(seen.producer);
        assert_int_equal(upstream_pool_open(f.pool), 0);
        until_live(&s, 0); /* no turn of the loop is needed */
        assert_string_equal(s.log, "closed");
        upfix_turn(&f);
        assert_false(seen.ended);
        seen_fini(&seen);
        upfix_fini(&f);
        rawserver_stop(&s);
    }
}

/* Answer once both requests are here. */
static void answer_both(struct rawconn *c, void *arg)
{
    (void)arg;
    raw_request(c);
    while (c->server->requests < 2)
        sched_yield();
    raw_send(c, HEAD "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    raw_drain(c);
}

/* A sink that cancels another transfer, or its own, from inside data(). */
static void cancel_from_data(struct seen *s)
{
    struct seen *victim = s->hook_arg;

    if (s->bytes == 0 || s->ended || !victim->producer)
        return;
    victim->producer->ops->cancel(victim->producer);
    victim->producer = NULL;
}

static void cancel_inside_a_callback_is_put_off(void **state)
{
    (void)state;
    for (int own = 0; own < 2; own++) {
        struct rawserver s;
        struct upfix f;
        struct seen one, two;
        struct xfer_spec spec;

        rawserver_start(&s, answer_both, NULL, NULL);
        upfix_init(&f, NULL, s.port, false);
        spec = upfix_spec(&f, "POST", "/x", "{}");
        seen_init(&one);
        seen_init(&two);
        one.hook = cancel_from_data;
        one.hook_arg = own ? &one : &two;
        upfix_start(&f, &spec, &one);
        upfix_start(&f, &spec, &two);
        while (upstream_pool_open(f.pool) == 2)
            upfix_turn(&f);
        until_live(&s, 1);
        assert_false(one.ended);
        assert_false(two.ended);
        if (!own)
            assert_non_null(one.producer);
        seen_fini(&one);
        seen_fini(&two);
        upfix_fini(&f); /* the other one is still open */
        rawserver_stop(&s);
    }
}

/* A sink that starts another transfer from inside its calls. */
struct starter {
    struct upfix *f;
    struct xfer_spec spec;
    struct seen *next;
};

static void start_next(struct seen *s)
{
    struct starter *st = s->hook_arg;

    if (st->next->producer || st->next->ended)
        return;
    upfix_start(st->f, &st->spec, st->next);
}

static void start_inside_a_callback(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct seen one, two;
    struct starter st;

    (void)state;
    rawserver_start(&s, raw_answer_all, NULL, NULL);
    upfix_init(&f, NULL, s.port, false);
    st = (struct starter){&f, upfix_spec(&f, "POST", "/x", "{}"), &two};
    seen_init(&one);
    seen_init(&two);
    one.hook = start_next;
    one.hook_arg = &st;
    upfix_run(&f, &st.spec, &one);
    upfix_wait(&f, &two);
    assert_int_equal(one.err, ERR_OK);
    assert_int_equal(two.err, ERR_OK);
    seen_fini(&one);
    seen_fini(&two);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void pool_is_freed_with_transfers_open(void **state)
{
    const char *say = HEAD "Content-Length: 30\r\n\r\nabc";
    struct rawserver s;
    struct upfix f;
    struct seen seen[4];
    struct xfer_spec spec;

    (void)state;
    rawserver_start(&s, say_and_hang, &say, NULL);
    upfix_init(&f, NULL, s.port, false);
    spec = upfix_spec(&f, "POST", "/x", "{}");
    for (int i = 0; i < 4; i++) {
        seen_init(&seen[i]);
        upfix_start(&f, &spec, &seen[i]);
        if (i == 0)
            while (seen[0].bytes == 0)
                upfix_turn(&f);
    }
    upfix_fini(&f);
    for (int i = 0; i < 4; i++) {
        assert_false(seen[i].ended);
        seen_fini(&seen[i]);
    }
    rawserver_stop(&s);
}

/* --- names -------------------------------------------------------------- */

/* Resolves good.test to 127.0.0.1, hangs on slow.test, fails otherwise. */
static _Atomic bool let_go;
static _Atomic int lookups;

static int fake_lookup(const char *host, const char *service,
                       const struct addrinfo *hints, struct addrinfo **out)
{
    lookups++;
    while (strcmp(host, "slow.test") == 0 && !let_go)
        sched_yield();
    if (strcmp(host, "good.test") != 0)
        return EAI_NONAME;
    return getaddrinfo("127.0.0.1", service, hints, out);
}

static void names_are_looked_up_once(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct seen seen[10];
    struct xfer_spec spec;

    (void)state;
    lookups = 0;
    rawserver_start(&s, raw_answer_all, NULL, NULL);
    upfix_init(&f, "good.test", s.port, false);
    resolver_set_lookup(f.resolver, fake_lookup);
    spec = upfix_spec(&f, "POST", "/x", "{}");
    for (int i = 0; i < 10; i++) {
        seen_init(&seen[i]);
        upfix_start(&f, &spec, &seen[i]);
    }
    for (int i = 0; i < 10; i++) {
        upfix_wait(&f, &seen[i]);
        assert_string_equal(seen[i].text, "");
        assert_int_equal(seen[i].err, ERR_OK);
        seen_fini(&seen[i]);
    }
    assert_int_equal(lookups, 1);
    upfix_fini(&f);
    rawserver_stop(&s);
}

static void unknown_name_is_unavailable(void **state)
{
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;

    (void)state;
    upfix_init(&f, "nowhere.test", 80, false);
    resolver_set_lookup(f.resolver, fake_lookup);
    spec = upfix_spec(&f, "POST", "/x", "{}");
    for (int i = 0; i < 2; i++) { /* the second fails from the cache */
        seen_init(&seen);
        upfix_run(&f, &spec, &seen);
        assert_int_equal(seen.err, ERR_UP_UNAVAILABLE);
        assert_false(seen.sent);
        seen_fini(&seen);
    }
    upfix_fini(&f);
}

static void slow_name_delays_nobody_else(void **state)
{
    struct rawserver s;
    struct upfix f;
    struct seen slow, good;
    struct xfer_spec spec;
    struct conf_upstream other;

    (void)state;
    let_go = false;
    rawserver_start(&s, raw_answer_all, NULL, NULL);
    upfix_init(&f, "slow.test", s.port, false);
    resolver_set_lookup(f.resolver, fake_lookup);
    spec = upfix_spec(&f, "POST", "/x", "{}");
    seen_init(&slow);
    upfix_start(&f, &spec, &slow);
    upfix_turn(&f);
    other = f.up;
    other.url.host = STR("good.test");
    other.url.origin =
        str_from(arena_printf(f.arena, "http://good.test:%u", s.port));
    spec.up = &other;
    seen_init(&good);
    upfix_run(&f, &spec, &good);
    assert_int_equal(good.err, ERR_OK);
    assert_false(slow.ended);
    pass_ms(&f, 5001);
    assert_true(slow.ended);
    assert_int_equal(slow.err, ERR_UP_TIMEOUT);
    assert_non_null(strstr(slow.text, "address"));
    let_go = true;
    seen_fini(&slow);
    seen_fini(&good);
    upfix_fini(&f);
    rawserver_stop(&s);
}

/* --- several addresses -------------------------------------------------- */

/* Resolves to 127.0.0.2, then 127.0.0.1. */
static int two_addresses(const char *host, const char *service,
                         const struct addrinfo *hints, struct addrinfo **out)
{
    struct addrinfo *second = NULL;
    int rc = getaddrinfo("127.0.0.2", service, hints, out);

    (void)host;
    if (rc == 0)
        rc = getaddrinfo("127.0.0.1", service, hints, &second);
    if (rc == 0)
        (*out)->ai_next = second;
    return rc;
}

static void refused_address_leads_to_the_next(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    struct rawserver s;
    struct upfix f;
    struct seen seen;
    struct xfer_spec spec;
    int fds[8], n = 0;

    (void)state;
    rawserver_start(&s, raw_answer_all, NULL, NULL);
    /* The first address takes no connection until its listener is gone: the
     * refusal comes when libcurl already waits for the socket. */
    at.sin_port = htons(s.port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
    fds[n++] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fds[0], (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(fds[0], 0), 0);
    while (n < 8) {
        fds[n] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fds[n++], (struct sockaddr *)&at, sizeof(at));
    }
    upfix_init(&f, "good.test", s.port, false);
    resolver_set_lookup(f.resolver, two_addresses);
    spec = upfix_spec(&f, "POST", "/x", "{}");
    seen_init(&seen);
    upfix_start(&f, &spec, &seen);
    while (f.stats.counter[STAT_UP_CONNECTS] == 0)
        upfix_turn(&f);
    upfix_turn(&f);
    while (n > 0)
        close(fds[--n]);
    upfix_wait(&f, &seen);
    assert_string_equal(seen.text, "");
    assert_int_equal(seen.err, ERR_OK);
    assert_int_equal(f.stats.counter[STAT_UP_CONNECTS], 2);
    seen_fini(&seen);
    upfix_fini(&f);
    rawserver_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_first_byte),
        cmocka_unit_test(reply_stands_still),
        cmocka_unit_test(a_paused_reply_has_no_idle_deadline),
        cmocka_unit_test(total_time_is_used_up),
        cmocka_unit_test(short_real_timer_fires),
        cmocka_unit_test(connect_deadline),
        cmocka_unit_test(cancel_closes_at_once),
        cmocka_unit_test(cancel_inside_a_callback_is_put_off),
        cmocka_unit_test(start_inside_a_callback),
        cmocka_unit_test(pool_is_freed_with_transfers_open),
        cmocka_unit_test(names_are_looked_up_once),
        cmocka_unit_test(unknown_name_is_unavailable),
        cmocka_unit_test(slow_name_delays_nobody_else),
        cmocka_unit_test(refused_address_leads_to_the_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
