/* t_front_net.c - Sockets and workers: free ports, unix sockets, shortage of
 * descriptors, the connection limit, draining, the metrics address. */
#include "front_rig.h"

#include "../../src/front/front.c"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#define GET(script) "GET /v1/files?" script " HTTP/1.1\r\nHost: a\r\n\r\n"

static void free_port_is_one_for_all_workers(void **state)
{
    struct rig *r =
        rig_new(NULL, "[{address: \"127.0.0.1:0\"}, {address: \"[::1]:0\"}]");
    struct front_net *net;
    char text[FRONT_ADDRESS_BYTES], want[FRONT_ADDRESS_BYTES];

    (void)state;
    assert_int_equal(front_net_open(r->w.conf, 3, &net), ERR_OK);
    assert_int_equal(front_net_count(net), 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_not_equal(front_net_port(net, i), 0);
        front_net_address(net, i, text);
        snprintf(want, sizeof(want), i ? "[::1]:%u" : "127.0.0.1:%u",
                 front_net_port(net, i));
        assert_string_equal(text, want);
    }
    for (unsigned w = 0; w < 3; w++) {
        struct sockaddr_in sa;
        socklen_t len = sizeof(sa);
        int fd = net_fd_take(net, 0, w);

        assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
        assert_int_equal(ntohs(sa.sin_port), front_net_port(net, 0));
        assert_int_equal(net_fd_take(net, 0, w), -1);
        close(fd);
    }
    front_net_close(net);
    rig_free(r);
}

static void taken_port_is_refused(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct front_net *net;
    char listen[128];
    struct conf *c;

    (void)state;
    snprintf(listen, sizeof(listen), "[{address: \"127.0.0.1:%u\"}]",
             front_net_port(r->net, 0));
    c = rig_conf(r, NULL, listen);
    assert_int_equal(front_net_open(c, 1, &net), ERR_EXISTS);
    conf_unref(c);
    rig_free(r);
}

static void unix_socket_is_served_and_removed(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct front_net *net, *other;
    char listen[256], path[128];
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct conf *c;
    struct stat st;
    struct cli cli;
    int fd;

    (void)state;
    snprintf(path, sizeof(path), "%s/sock", r->dir);
    snprintf(listen, sizeof(listen), "[{address: \"unix:%s\", mode: 0600}]",
             path);
    c = rig_conf(r, NULL, listen);
    /* A stale file, as a killed process leaves it. */
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%.100s", path);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    close(fd);
    assert_int_equal(front_net_open(c, 2, &net), ERR_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(front_net_open(c, 1, &other), ERR_EXISTS);
    assert_int_equal(stat(path, &st), 0);
    /* Serve it by this rig. */
    front_close(r->front);
    front_net_close(r->net);
    r->net = net;
    assert_int_equal(front_open(&r->w, net, &r->front), ERR_OK);
    cli_open(&cli, r, 0);
    cli_send(&cli, GET("wait"));
    RIG_UNTIL(r, r->x != NULL);
    assert_true(str_eq(r->x->in->peer, STR("unix")));
    exchange_wake(r->x, WAKE_HEAD);
    cli_expect(&cli, "hello");
    cli_forget(&cli);
    cli_send(&cli, GET("big"));
    cli_expect(&cli, "bbbb");
    cli_close(&cli);
    RIG_UNTIL(r, front_conns(r->front) == 0);
    conf_unref(c);
    fd = open(path, O_PATH);
    assert_true(fd >= 0);
    close(fd);
    rig_free(r);
    assert_int_equal(stat(path, &st), -1);
}

static void other_files_are_not_removed(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct front_net *net;
    char listen[256], path[128];
    struct conf *c;
    struct stat st;
    FILE *f;

    (void)state;
    snprintf(path, sizeof(path), "%s/file", r->dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    snprintf(listen, sizeof(listen), "[{address: \"unix:%s\"}]", path);
    c = rig_conf(r, NULL, listen);
    assert_int_equal(front_net_open(c, 1, &net), ERR_EXISTS);
    assert_int_equal(stat(path, &st), 0);
    conf_unref(c);
    rig_free(r);
}

static void connections_over_the_limit_read_503(void **state)
{
    struct rig *r = rig_new("limits: {connections: 2}", NULL);
    struct cli a, b, c;

    (void)state;
    cli_open(&a, r, 0);
    cli_open(&b, r, 0);
    RIG_UNTIL(r, front_conns(r->front) == 2);
    cli_open(&c, r, 0);
    cli_send(&c, GET("now"));
    cli_expect(&c, "HTTP/1.1 503 ");
    cli_expect(&c, "\"code\":\"overloaded\"");
    cli_expect_end(&c);
    assert_true(c.eof);
    assert_int_equal(r->stats.counter[STAT_CONNS_REFUSED], 1);
    cli_close(&c);
    cli_send(&a, GET("now"));
    cli_expect(&a, "hello");
    cli_close(&a);
    RIG_UNTIL(r, front_conns(r->front) == 1);
    cli_open(&c, r, 0);
    cli_send(&c, GET("now"));
    cli_expect(&c, "hello");
    cli_close(&c);
    cli_close(&b);
    rig_free(r);
}

static void address_has_a_limit_of_its_own(void **state)
{
    struct rig *r = rig_new("limits: {connections_per_address: 2}", NULL);
    struct cli a, b, c;

    (void)state;
    cli_open(&a, r, 0);
    cli_open(&b, r, 0);
    RIG_UNTIL(r, front_conns(r->front) == 2);
    cli_open(&c, r, 0);
    cli_expect(&c, "HTTP/1.1 503 ");
    cli_expect(&c, "\"code\":\"overloaded\"");
    cli_close(&c);
    cli_close(&a);
    RIG_UNTIL(r, front_conns(r->front) == 1);
    cli_open(&a, r, 0);
    cli_send(&a, GET("now"));
    cli_expect(&a, "hello");
    cli_close(&a);
    cli_close(&b);
    RIG_UNTIL(r, front_conns(r->front) == 0);
    for (size_t i = 0; i < NET_ADDRESS_SLOTS; i++)
        assert_int_equal(r->net->by_address[i], 0);
    rig_free(r);
}

static void addresses_are_told_apart(void **state)
{
    struct sockaddr_storage sa = {.ss_family = AF_INET};
    struct sockaddr_in *in = (struct sockaddr_in *)&sa;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&sa;
    unsigned same = 0;
    uint32_t slot;

    (void)state;
    inet_pton(AF_INET, "192.0.2.1", &in->sin_addr);
    slot = net_address_slot(&sa);
    assert_in_range(slot, 1, NET_ADDRESS_SLOTS - 1);
    in->sin_port = htons(99);
    assert_int_equal(net_address_slot(&sa), slot);
    for (uint32_t i = 0; i < 1000; i++) {
        in->sin_addr.s_addr = htonl(0x0a000000 + i);
        same += net_address_slot(&sa) == slot;
    }
    assert_true(same < 10);
    sa.ss_family = AF_INET6;
    inet_pton(AF_INET6, "2001:db8:0:1::1", &in6->sin6_addr);
    slot = net_address_slot(&sa);
    inet_pton(AF_INET6, "2001:db8:0:1:9:9:9:9", &in6->sin6_addr);
    assert_int_equal(net_address_slot(&sa), slot);
    sa.ss_family = AF_UNIX;
    assert_int_equal(net_address_slot(&sa), 0);
}

/* Clients get three quarters of what is left, upstreams the rest. */
static void descriptors_bound_the_connections(void **state)
{
    struct rlimit before, low;
    struct cli held[48], over;
    struct rig *r;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = 64 + 8 + 64; /* ours, refused ones, clients and more */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    r = rig_new(NULL, NULL);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    for (int i = 0; i < 48; i++)
        cli_open(&held[i], r, 0);
    RIG_UNTIL(r, front_conns(r->front) == 48);
    cli_open(&over, r, 0);
    cli_expect(&over, "HTTP/1.1 503 ");
    cli_close(&over);
    for (int i = 0; i < 48; i++)
        cli_close(&held[i]);
    rig_free(r);
}

/* Take every descriptor but <left>. */
static int hog(int *fds, int most, int left)
{
    int n = 0;

    while (n < most) {
        int fd = open("/dev/null", O_RDONLY);

        if (fd < 0)
            break;
        fds[n++] = fd;
    }
    while (left-- > 0 && n > 0)
        close(fds[--n]);
    return n;
}

static void shortage_of_descriptors_pauses_and_recovers(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct rlimit before, low;
    struct cli a, b;
    int fds[256], n;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = 128;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    n = hog(fds, 256, 2);
    cli_open(&a, r, 0);
    cli_open(&b, r, 0); /* the last descriptor is gone now */
    RIG_UNTIL(r, r->stats.counter[STAT_CONNS_REFUSED] >= 1);
    rig_settle(r);
    /* Paused: one refusal a pause, whoever waits. */
    assert_true(r->stats.counter[STAT_CONNS_REFUSED] <= 2);
    assert_int_equal(front_conns(r->front), 0);
    assert_true(evtimer_pending(&r->front->listeners[0].pause, NULL));
    assert_false(event_pending(&r->front->listeners[0].ev, EV_READ, NULL));
    cli_close(&a);
    cli_close(&b);
    while (n > 0)
        close(fds[--n]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    cli_open(&a, r, 0);
    cli_send(&a, GET("now"));
    cli_expect(&a, "hello");
    cli_close(&a);
    assert_true(r->front->reserve_fd >= 0);
    rig_free(r);
}

static void draining_ends_what_is_idle_and_lets_replies_finish(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli idle, busy, fresh, late;

    (void)state;
    cli_open(&idle, r, 0);
    cli_send(&idle, GET("now"));
    cli_expect(&idle, "hello");
    cli_open(&busy, r, 0);
    cli_send(&busy, GET("wait"));
    RIG_UNTIL(r, r->x != NULL);
    cli_open(&fresh, r, 0);
    RIG_UNTIL(r, front_conns(r->front) == 3);
    cli_open(&late, r, 0); /* still in the backlog */
    r->w.draining = true;
    front_drain(r->front);
    cli_expect_end(&idle);
    assert_true(idle.eof);
    cli_send(&fresh, GET("now"));
    cli_expect(&fresh, "HTTP/1.1 503 ");
    cli_expect(&fresh, "draining");
    cli_expect_end(&fresh);
    cli_send(&late, GET("now"));
    cli_expect(&late, "HTTP/1.1 503 ");
    exchange_wake(r->x, WAKE_HEAD);
    cli_expect(&busy, "hello");
    assert_true(cli_has(&busy, "HTTP/1.1 200 "));
    assert_true(cli_has(&busy, "Connection: close\r\n"));
    cli_close(&idle);
    cli_close(&fresh);
    cli_close(&late);
    cli_close(&busy);
    RIG_UNTIL(r, front_conns(r->front) == 0);
    rig_free(r);
}

static void silent_clients_do_not_hold_up_a_drain(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    RIG_UNTIL(r, front_conns(r->front) == 1);
    r->w.draining = true;
    front_drain(r->front);
    rig_settle(r);
    assert_int_equal(front_conns(r->front), 1);
    clock_advance_ms(1100);
    front_check_deadlines(r->front);
    RIG_UNTIL(r, front_conns(r->front) == 0);
    cli_close(&c);
    rig_free(r);
}

static void metrics_have_their_own_address(void **state)
{
    struct rig *r = rig_new("metrics: {address: \"127.0.0.1:0\"}", NULL);
    struct cli c;

    (void)state;
    assert_int_equal(front_net_count(r->net), 2);
    cli_open(&c, r, 0);
    cli_send(&c, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    cli_expect(&c, "HTTP/1.1 404 ");
    cli_close(&c);
    cli_open(&c, r, 1);
    cli_send(&c, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    cli_expect(&c, "HTTP/1.1 200 ");
    cli_forget(&c);
    cli_send(&c, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    cli_expect(&c, "HTTP/1.1 200 ");
    cli_forget(&c);
    cli_send(&c, GET("now"));
    cli_expect(&c, "HTTP/1.1 404 ");
    cli_close(&c);
    rig_free(r);
}

static void watchers_see_a_drain_to_its_end(void **state)
{
    struct rig *r = rig_new("metrics: {address: \"127.0.0.1:0\"}", NULL);
    struct cli c, old;

    (void)state;
    cli_open(&old, r, 1);
    cli_send(&old, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    cli_expect(&old, "HTTP/1.1 200 ");
    cli_forget(&old);
    r->w.draining = true;
    front_drain(r->front);
    clock_advance_ms(1100);
    for (unsigned i = 0; i < 2; i++) {
        cli_open(&c, r, 1);
        RIG_UNTIL(r, front_conns(r->front) == 2);
        assert_int_equal(front_clients(r->front), 0);
        front_check_deadlines(r->front);
        cli_send(&c, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        cli_expect(&c, "HTTP/1.1 200 ");
        cli_expect(&c, "Connection: close\r\n");
        cli_close(&c);
        RIG_UNTIL(r, front_conns(r->front) == 1);
    }
    cli_send(&old, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    cli_expect(&old, "HTTP/1.1 200 ");
    cli_close(&old);
    rig_free(r);
}

static void watchers_get_in_when_clients_do_not(void **state)
{
    struct rig *r = rig_new("metrics: {address: \"127.0.0.1:0\"}\n"
                            "limits: {connections: 1, "
                            "connections_per_address: 1}",
                            NULL);
    struct cli held, c;

    (void)state;
    cli_open(&held, r, 0);
    RIG_UNTIL(r, front_conns(r->front) == 1);
    cli_open(&c, r, 0);
    cli_expect(&c, "HTTP/1.1 503 ");
    cli_close(&c);
    cli_open(&c, r, 1);
    cli_send(&c, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    cli_expect(&c, "HTTP/1.1 200 ");
    cli_close(&c);
    cli_close(&held);
    rig_free(r);
}

static void idle_connection_holds_no_buffers(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct conn *conn;
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, "POST /v1/chat/completions?echo HTTP/1.1\r\nHo");
    rig_settle(r);
    cli_send(&c, "st: a\r\nContent-Length: 3\r\n\r\nabc");
    cli_expect(&c, "abc");
    rig_settle(r);
    conn = TAILQ_FIRST(&r->front->live);
    assert_int_equal(conn->state, CONN_IDLE);
    assert_int_equal(conn->in.room, 0);
    assert_null(conn->out.head);
    assert_int_equal(r->chunks.live, 0);
    assert_int_equal(atomic_load(&r->net->out_bytes), 0);
    cli_close(&c);
    rig_free(r);
}

static void high_mark_falls_as_all_queues_grow(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, GET("open"));
    RIG_UNTIL(r, r->x != NULL);
    for (long long mib = 0; mib <= 512; mib += 64) {
        size_t mark;

        atomic_store(&r->net->out_bytes, mib * 1024 * 1024);
        mark = r->x->client->ops->high_water(r->x->client);
        assert_int_equal(mark, mib <= 128   ? 256 * 1024
                               : mib == 192 ? 136 * 1024
                                            : 16 * 1024);
    }
    atomic_store(&r->net->out_bytes, 0);
    cli_close(&c);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_port_is_one_for_all_workers),
        cmocka_unit_test(taken_port_is_refused),
        cmocka_unit_test(unix_socket_is_served_and_removed),
        cmocka_unit_test(other_files_are_not_removed),
        cmocka_unit_test(connections_over_the_limit_read_503),
        cmocka_unit_test(address_has_a_limit_of_its_own),
        cmocka_unit_test(addresses_are_told_apart),
        cmocka_unit_test(descriptors_bound_the_connections),
        cmocka_unit_test(shortage_of_descriptors_pauses_and_recovers),
        cmocka_unit_test(draining_ends_what_is_idle_and_lets_replies_finish),
        cmocka_unit_test(silent_clients_do_not_hold_up_a_drain),
        cmocka_unit_test(metrics_have_their_own_address),
        cmocka_unit_test(watchers_get_in_when_clients_do_not),
        cmocka_unit_test(watchers_see_a_drain_to_its_end),
        cmocka_unit_test(idle_connection_holds_no_buffers),
        cmocka_unit_test(high_mark_falls_as_all_queues_grow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
