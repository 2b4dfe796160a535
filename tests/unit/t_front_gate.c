/* t_front_gate.c - A turn begins so many requests and no more, those in line
 * keep their order and can leave, and what is refused is refused in full: the
 * reply is whole, its connection goes on, and nothing of the body is taken for
 * a request. Time moves by clock_advance_ms(). */
#include "front_rig.h"

#include "../../src/front/conn.h"

#include "base/clock.h"

enum { CLIENTS = 150 };

#define GET(script) "GET /v1/files?" script " HTTP/1.1\r\nHost: a\r\n\r\n"
#define REFUSED     "HTTP/1.1 503 Service Unavailable\r\n"

/* Many clients at once. */
struct crowd {
    struct rig *r;
    struct cli c[CLIENTS];
};

static void crowd_open(struct crowd *m, struct rig *r)
{
    m->r = r;
    for (int i = 0; i < CLIENTS; i++)
        cli_open(&m->c[i], r, 0);
    RIG_UNTIL(r, front_conns(r->front) == CLIENTS);
}

/* Have all send <text>, and turn until some of them stand in line. */
static void crowd_send(struct crowd *m, const char *text)
{
    for (int i = 0; i < CLIENTS; i++)
        cli_send(&m->c[i], text);
    RIG_UNTIL(m->r, stat_level(&m->r->stats.held) > 0);
}

static void crowd_close(struct crowd *m)
{
    for (int i = 0; i < CLIENTS; i++)
        cli_close(&m->c[i]);
    RIG_UNTIL(m->r, front_conns(m->r->front) == 0);
}

static void a_turn_begins_some_and_no_more(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct crowd m;
    unsigned before = 0;

    (void)state;
    crowd_open(&m, r);
    for (int i = 0; i < CLIENTS; i++)
        cli_send(&m.c[i], GET("wait"));
    while (before < CLIENTS) {
        rig_turn(r);
        assert_true(r->w.exchanges - before <= GATE_BEGINS);
        before = r->w.exchanges;
    }
    assert_int_equal(stat_level(&r->stats.held), 0);
    crowd_close(&m);
    rig_free(r);
}

static void all_of_a_burst_are_served(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct crowd m;

    (void)state;
    crowd_open(&m, r);
    crowd_send(&m, "POST /v1/files?echo HTTP/1.1\r\nHost: a\r\n"
                   "Content-Length: 3\r\n\r\nabc" GET("now"));
    for (int i = 0; i < CLIENTS; i++) {
        cli_expect(&m.c[i], "\r\n\r\nabc");
        cli_expect(&m.c[i], "\r\n\r\nhello");
        assert_false(cli_has(&m.c[i], REFUSED));
    }
    crowd_close(&m);
    rig_free(r);
}

static void who_waits_too_long_is_refused(void **state)
{
    struct rig *r = rig_new("limits: {start_wait: 100ms}", NULL);
    unsigned refused = 0;
    struct crowd m;

    (void)state;
    crowd_open(&m, r);
    crowd_send(&m, "POST /v1/files?echo HTTP/1.1\r\nHost: a\r\n"
                   "Content-Length: 3\r\n\r\nabc");
    clock_advance_ms(101);
    for (int i = 0; i < CLIENTS; i++) {
        cli_expect(&m.c[i], "\r\n\r\n");
        refused += cli_count(&m.c[i], REFUSED);
    }
    assert_int_equal(refused, stat_read(&r->stats.shed[SHED_WAIT]));
    assert_true(refused > 0 && refused < CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        cli_send(&m.c[i], GET("now"));
        cli_expect(&m.c[i], "\r\n\r\nhello");
    }
    crowd_close(&m);
    rig_free(r);
}

static void the_line_may_be_left(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct crowd m;

    (void)state;
    crowd_open(&m, r);
    crowd_send(&m, GET("wait"));
    crowd_close(&m);
    assert_int_equal(stat_level(&r->stats.held), 0);
    assert_int_equal(r->w.exchanges, 0);
    rig_free(r);
}

static void who_came_before_a_drain_is_served(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct crowd m;

    (void)state;
    crowd_open(&m, r);
    crowd_send(&m, GET("now"));
    RIG_UNTIL(r, r->settled + stat_level(&r->stats.held) == CLIENTS);
    assert_true(stat_level(&r->stats.held) > 0);
    r->w.draining = true;
    front_drain(r->front);
    for (int i = 0; i < CLIENTS; i++) {
        cli_expect_end(&m.c[i]);
        assert_true(cli_has(&m.c[i], "\r\n\r\nhello"));
    }
    crowd_close(&m);
    rig_free(r);
}

/* ---- nobody is let in --------------------------------------------------- */

/* A request, and whether its connection is kept when it is refused. */
struct refusal {
    const char *request;
    bool kept;
};

static const struct refusal refusals[] = {
    {GET("now"), true},
    {"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
     "Content-Length: 4\r\n\r\nGET ",
     true},
    {"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
     "Content-Length: 9\r\nConnection: close\r\n\r\nGET / HTT",
     false},
    {"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
     "Content-Length: 9999999\r\n\r\nGET ",
     false},
    {"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
     "Content-Length: 9\r\nExpect: 100-continue\r\n\r\n",
     false},
    {"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n"
     "Transfer-Encoding: chunked\r\n\r\n4\r\nGET \r\n0\r\n\r\n",
     false},
    {"GET /v1/files?now HTTP/1.0\r\n\r\n", false},
};

static void a_refusal_is_whole(void **state)
{
    struct rig *r = rig_new("cors: {origins: [\"*\"]}", NULL);

    (void)state;
    front_net_set_short(r->net, true);
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        struct cli c;

        cli_open(&c, r, 0);
        cli_send(&c, refusals[i].request);
        cli_expect(&c, "overloaded");
        assert_true(cli_has(&c, REFUSED));
        if (refusals[i].kept) {
            cli_expect(&c, "\"code\":\"overloaded\",\"request_id\":\"");
            assert_true(cli_has(&c, "\r\nretry-after: "));
            assert_true(cli_has(&c, "\r\nx-should-retry: true\r\n"));
            assert_true(cli_has(&c, "\r\nx-request-id: "));
        }
        assert_int_equal(cli_count(&c, "HTTP/1.1 "), 1);
        assert_int_equal(r->w.exchanges, 0);
        if (refusals[i].kept) {
            cli_send(&c, GET("now"));
            RIG_UNTIL(r, !cli_recv(&c) || cli_count(&c, REFUSED) == 2);
        } else {
            cli_expect_end(&c);
        }
        cli_close(&c);
        RIG_UNTIL(r, front_conns(r->front) == 0);
    }
    rig_free(r);
}

static void a_page_can_read_its_refusal(void **state)
{
    struct rig *r = rig_new("cors: {origins: [\"*\"]}", NULL);
    struct cli c;

    (void)state;
    front_net_set_short(r->net, true);
    cli_open(&c, r, 0);
    cli_send(&c, "GET /v1/files?now HTTP/1.1\r\nHost: a\r\n"
                 "Origin: https://x.example\r\n\r\n");
    cli_expect(&c, "\r\n\r\n");
    assert_true(cli_has(&c, REFUSED));
    assert_true(cli_has(&c, "\r\nAccess-Control-Allow-Origin: *\r\n"));
    assert_int_equal(r->last_err, ERR_OVERLOADED);
    cli_close(&c);
    RIG_UNTIL(r, front_conns(r->front) == 0);
    rig_free(r);
}

static void anthropic_clients_read_their_shape(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    front_net_set_short(r->net, true);
    cli_open(&c, r, 0);
    cli_send(&c, "POST /v1/messages HTTP/1.1\r\nHost: a\r\n"
                 "Content-Length: 2\r\n\r\n{}");
    cli_expect(&c, "{\"type\":\"error\",\"error\":{\"type\":"
                   "\"overloaded_error\",");
    cli_close(&c);
    RIG_UNTIL(r, front_conns(r->front) == 0);
    rig_free(r);
}

static void health_is_answered_all_the_same(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    front_net_set_short(r->net, true);
    cli_open(&c, r, 0);
    cli_send(&c, "GET /healthz?now HTTP/1.1\r\nHost: a\r\n\r\n");
    cli_expect(&c, "\r\n\r\nhello");
    front_net_set_short(r->net, false);
    cli_forget(&c);
    cli_send(&c, GET("now"));
    cli_expect(&c, "\r\n\r\nhello");
    cli_close(&c);
    RIG_UNTIL(r, front_conns(r->front) == 0);
    rig_free(r);
}

/* Ticks of a loop for <ms>, each late by <lag_us>, whose thread has <percent>
 * of a processor. */
static void tick_at(struct rig *r, unsigned ms, uint64_t lag_us,
                    unsigned percent)
{
    static uint64_t busy_us;

    for (unsigned at = 0; at < ms; at += 100) {
        clock_advance_ms(100);
        clock_update();
        busy_us += 1000 * percent;
        front_note_lag(r->front, lag_us, busy_us);
    }
}

static void tick(struct rig *r, unsigned ms, uint64_t lag_us)
{
    tick_at(r, ms, lag_us, 100);
}

static void ask(struct cli *c, const char *want)
{
    cli_forget(c);
    cli_send(c, GET("now"));
    cli_expect(c, want);
}

static void a_loop_that_stays_late_lets_nobody_in(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    tick(r, 300, GATE_LATE_US);
    ask(&c, "\r\n\r\nhello"); /* a moment is no load */
    tick(r, 1100, GATE_LATE_US - 1);
    ask(&c, REFUSED);
    tick(r, 1000, GATE_IN_TIME_US);
    ask(&c, REFUSED);
    tick(r, 100, GATE_IN_TIME_US - 1);
    ask(&c, "\r\n\r\nhello");
    tick(r, 5000, GATE_LATE_US - 1);
    ask(&c, "\r\n\r\nhello");
    assert_int_equal(stat_read(&r->stats.shed[SHED_LAG]), 2);
    cli_close(&c);
    RIG_UNTIL(r, front_conns(r->front) == 0);
    rig_free(r);
}

static void who_is_kept_from_a_processor_serves_all(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    tick_at(r, 5000, GATE_LATE_US, GATE_BUSY_PERCENT - 1);
    ask(&c, "\r\n\r\nhello");
    tick_at(r, 6000, GATE_LATE_US, 100);
    ask(&c, REFUSED);
    assert_int_equal(stat_read(&r->stats.shed[SHED_LAG]), 1);
    cli_close(&c);
    RIG_UNTIL(r, front_conns(r->front) == 0);
    rig_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_turn_begins_some_and_no_more),
        cmocka_unit_test(all_of_a_burst_are_served),
        cmocka_unit_test(who_waits_too_long_is_refused),
        cmocka_unit_test(the_line_may_be_left),
        cmocka_unit_test(who_came_before_a_drain_is_served),
        cmocka_unit_test(a_refusal_is_whole),
        cmocka_unit_test(a_page_can_read_its_refusal),
        cmocka_unit_test(anthropic_clients_read_their_shape),
        cmocka_unit_test(health_is_answered_all_the_same),
        cmocka_unit_test(a_loop_that_stays_late_lets_nobody_in),
        cmocka_unit_test(who_is_kept_from_a_processor_serves_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
