/* t_front_gone.c - The client's leaving is seen at once in every state, and
 * every deadline is kept; time moves by clock_advance_ms(). */
#include "front_rig.h"

#include "../../src/front/conn.c"

#include "base/clock.h"

#include <stdlib.h>

#define GET(script) "GET /v1/files?" script " HTTP/1.1\r\nHost: a\r\n\r\n"

/* How a client can leave. */
enum leave { LEAVE_FIN = 0, LEAVE_HALF, LEAVE_RST, LEAVE_COUNT };

static void leave(struct cli *c, enum leave how)
{
    if (how == LEAVE_HALF)
        assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
    else if (how == LEAVE_RST)
        cli_reset(c);
    else
        cli_close(c);
}

/* A connection in some state, made by what was sent. */
struct situation {
    const char *request;
    bool exchange; /* one is pending that must be told */
};

static const struct situation situations[] = {
    {"", false},
    {"GET / HT", false},
    {GET("wait"), true},
    {GET("open"), true},
    {"POST /v1/chat/completions?echo HTTP/1.1\r\nHost: a\r\n"
     "Content-Length: 9\r\n\r\nabc",
     true},
    {"POST /v1/chat/completions?wait HTTP/1.1\r\nHost: a\r\n"
     "Content-Length: 9\r\n\r\nabc",
     true},
    {"POST /v1/files?pull HTTP/1.1\r\nHost: a\r\n"
     "Content-Length: 9\r\n\r\nabc",
     true},
    {GET("wait") GET("now"), true},
};

static void leaving_is_seen_in_every_state(void **state)
{
    struct rig *r = rig_new(NULL, NULL);

    (void)state;
    for (size_t i = 0; i < sizeof(situations) / sizeof(situations[0]); i++) {
        for (enum leave how = LEAVE_FIN; how < LEAVE_COUNT; how++) {
            unsigned gone = r->gone;
            struct cli c;

            cli_open(&c, r, 0);
            RIG_UNTIL(r, front_conns(r->front) == 1);
            cli_send(&c, situations[i].request);
            rig_settle(r);
            leave(&c, how);
            RIG_UNTIL(r, front_conns(r->front) == 0);
            assert_int_equal(r->gone - gone, situations[i].exchange ? 1 : 0);
            assert_int_equal(r->w.exchanges, 0);
            if (how == LEAVE_HALF)
                cli_close(&c);
        }
    }
    rig_free(r);
}

/* How often the loop found something to do in <turns> turns. */
static unsigned busy_turns(struct rig *r, unsigned turns)
{
    unsigned busy = 0;

    for (unsigned i = 0; i < turns; i++) {
        int had = event_base_get_num_events(r->w.base, EVENT_BASE_COUNT_ACTIVE);

        rig_turn(r);
        busy += had > 0 || event_base_get_num_events(
                               r->w.base, EVENT_BASE_COUNT_ACTIVE) > 0;
    }
    return busy;
}

/* With limits.half_close a client may end its side and read on. */
static void half_closed_client_is_served_when_asked(void **state)
{
    struct rig *r = rig_new("limits: {half_close: true}", NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, GET("open") GET("now"));
    cli_expect(&c, "Transfer-Encoding: chunked\r\n");
    leave(&c, LEAVE_HALF);
    rig_settle(r);
    assert_int_equal(r->gone, 0);
    assert_true(busy_turns(r, 100) < 10);
    r->x->client->ops->send(r->x->client, STR("late"));
    cli_expect(&c, "late");
    r->x->client->ops->finish(r->x->client);
    exchange_wake(r->x, WAKE_END);
    cli_expect_end(&c);
    assert_true(cli_has(&c, "hello")); /* what was sent before its end, too */
    assert_true(c.eof);
    assert_int_equal(r->settled, 2);
    cli_close(&c);
    RIG_UNTIL(r, front_conns(r->front) == 0);
    rig_free(r);
}

/* It may still leave for good, and a body must be whole. */
static void half_closed_client_can_leave(void **state)
{
    struct rig *r = rig_new("limits: {half_close: true}", NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, GET("wait"));
    rig_settle(r);
    leave(&c, LEAVE_HALF);
    rig_settle(r);
    assert_int_equal(r->gone, 0);
    leave(&c, LEAVE_RST);
    RIG_UNTIL(r, front_conns(r->front) == 0);
    assert_int_equal(r->gone, 1);
    cli_open(&c, r, 0);
    cli_send(&c, GET("open"));
    cli_expect(&c, "Transfer-Encoding: chunked\r\n");
    leave(&c, LEAVE_FIN);
    rig_settle(r);
    assert_int_equal(r->gone, 1); /* it looks like a half-close */
    for (int i = 0; i < 2; i++) {
        r->x->client->ops->send(r->x->client, STR("late"));
        rig_settle(r);
        if (!r->x)
            break;
    }
    RIG_UNTIL(r, front_conns(r->front) == 0);
    assert_int_equal(r->gone, 2);
    cli_open(&c, r, 0);
    cli_send(&c, "POST /v1/chat/completions?echo HTTP/1.1\r\nHost: a\r\n"
                 "Content-Length: 9\r\n\r\nabc");
    rig_settle(r);
    leave(&c, LEAVE_HALF);
    RIG_UNTIL(r, front_conns(r->front) == 0);
    assert_int_equal(r->gone, 3);
    cli_close(&c);
    rig_free(r);
}

/* Fill a streamed body that nobody takes until reading has stopped. */
static void stop_reading(struct rig *r, struct cli *c)
{
    char *block = calloc(1, 1 << 20);

    cli_open(c, r, 0);
    cli_send(c, "POST /v1/files?stuck HTTP/1.1\r\nHost: a\r\n"
                "Content-Length: 60000000\r\n\r\n");
    RIG_UNTIL(r, r->x != NULL);
    while (chunkq_len(&r->x->in->stream) < CONN_STREAM_HIGH) {
        ssize_t n = send(c->fd, block, 100000, MSG_NOSIGNAL);

        assert_true(n > 0 || errno == EAGAIN);
        rig_turn(r);
    }
    free(block);
}

static void leaving_is_seen_while_reading_is_stopped(void **state)
{
    struct rig *r = rig_new(NULL, NULL);

    (void)state;
    for (enum leave how = LEAVE_FIN; how < LEAVE_COUNT; how++) {
        struct cli c;

        stop_reading(r, &c);
        rig_settle(r);
        assert_int_equal(front_conns(r->front), 1);
        leave(&c, how);
        RIG_UNTIL(r, front_conns(r->front) == 0);
        assert_int_equal(r->gone, how + 1);
        if (how == LEAVE_HALF)
            cli_close(&c);
    }
    rig_free(r);
}

static void stopped_reading_does_not_spin(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct timeval tv = {0, 30000};
    struct cli c;
    uint64_t read_before;

    (void)state;
    stop_reading(r, &c);
    rig_settle(r);
    read_before = r->stats.counter[STAT_BYTES_IN];
    assert_int_equal(busy_turns(r, 100), 0);
    /* A blocking turn sleeps until its timer: nothing else is ready. */
    event_base_loopexit(r->w.base, &tv);
    assert_int_equal(event_base_loop(r->w.base, 0), 0);
    assert_true(read_before == r->stats.counter[STAT_BYTES_IN]);
    cli_reset(&c);
    RIG_UNTIL(r, front_conns(r->front) == 0);
    rig_free(r);
}

/* Let <ms> pass for every connection. */
static void pass_ms(struct rig *r, uint64_t ms)
{
    rig_settle(r);
    clock_advance_ms(ms);
    front_check_deadlines(r->front);
    rig_settle(r);
}

static void slow_head_is_answered_408(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, "GET / HTTP/1.1\r\nHo");
    for (int i = 0; i < 9; i++) {
        pass_ms(r, 1100);
        if (i < 8)
            cli_send(&c, "s");
    }
    assert_true(front_conns(r->front) == 1);
    assert_int_equal(r->settled, 0);
    pass_ms(r, 500);
    cli_expect(&c, "HTTP/1.1 408 ");
    cli_expect(&c, "request_timeout");
    cli_expect_end(&c);
    assert_true(c.eof);
    cli_close(&c);
    assert_int_equal(r->last_err, ERR_REQUEST_TIMEOUT);
    rig_free(r);
}

static void silent_connections_close_silently(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    RIG_UNTIL(r, front_conns(r->front) == 1);
    pass_ms(r, 9900);
    assert_true(front_conns(r->front) == 1);
    pass_ms(r, 200);
    cli_expect_end(&c);
    assert_int_equal(c.got.len, 0);
    cli_close(&c);
    cli_open(&c, r, 0);
    cli_send(&c, GET("now"));
    cli_expect(&c, "hello");
    cli_forget(&c);
    pass_ms(r, 74000);
    assert_true(front_conns(r->front) == 1);
    cli_send(&c, GET("now"));
    cli_expect(&c, "hello");
    cli_forget(&c);
    pass_ms(r, 74000);
    assert_true(front_conns(r->front) == 1);
    pass_ms(r, 1100);
    cli_expect_end(&c);
    assert_int_equal(c.got.len, 0);
    assert_true(c.eof);
    cli_close(&c);
    rig_free(r);
}

static void pending_reply_has_no_deadline_here(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, GET("wait"));
    pass_ms(r, 3600 * 1000);
    assert_true(front_conns(r->front) == 1);
    exchange_wake(r->x, WAKE_HEAD);
    cli_expect(&c, "hello");
    cli_close(&c);
    rig_free(r);
}

static void slow_body_is_answered_408(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, "POST /v1/chat/completions?echo HTTP/1.1\r\nHost: a\r\n"
                 "Content-Length: 5000\r\n\r\n");
    rig_settle(r);
    for (int i = 0; i < 10; i++) {
        pass_ms(r, 1000);
        if (i < 9)
            cli_send(&c, "x");
    }
    cli_expect(&c, "HTTP/1.1 408 ");
    cli_expect_end(&c);
    assert_true(c.eof);
    cli_close(&c);
    rig_free(r);
}

static void steady_body_is_waited_for(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    char block[2048];
    struct cli c;

    (void)state;
    memset(block, 'x', sizeof(block));
    cli_open(&c, r, 0);
    cli_send(&c, "POST /v1/chat/completions?echo HTTP/1.1\r\nHost: a\r\n"
                 "Content-Length: 81920\r\n\r\n");
    for (int i = 0; i < 40; i++) {
        cli_send_bytes(&c, block, sizeof(block));
        pass_ms(r, 1500);
    }
    cli_expect(&c, "Content-Length: 81920\r\n");
    cli_close(&c);
    rig_free(r);
}

static void burst_then_silence_ends(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    char *block = calloc(1, 1 << 20);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, "POST /v1/chat/completions?echo HTTP/1.1\r\nHost: a\r\n"
                 "Content-Length: 2000000\r\n\r\n");
    cli_send_bytes(&c, block, 1 << 20);
    pass_ms(r, 86 * 1000);
    cli_expect(&c, "HTTP/1.1 408 ");
    cli_close(&c);
    free(block);
    rig_free(r);
}

static void slow_reader_pauses_the_producer_and_drains(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    char block[16384];
    struct cli c;
    size_t total = 0;

    (void)state;
    memset(block, 'b', sizeof(block));
    cli_open(&c, r, 0);
    cli_send(&c, GET("open"));
    RIG_UNTIL(r, r->x != NULL);
    for (int i = 0; i < 2000; i++) {
        const struct client_ops *ops = r->x->client->ops;

        if (ops->queued(r->x->client) >= ops->high_water(r->x->client))
            break;
        ops->send(r->x->client, str_of(block, sizeof(block)));
        total += sizeof(block);
        rig_turn(r);
    }
    assert_in_range(r->x->client->ops->queued(r->x->client), 256 * 1024,
                    300 * 1024);
    rig_settle(r);
    r->drained = 0;
    rig_settle(r);
    assert_int_equal(r->drained, 0);
    for (unsigned i = 0; r->drained == 0;) {
        assert_true(cli_recv(&c));
        rig_turn_waiting(r, &i);
    }
    assert_true(r->x->client->ops->queued(r->x->client) <= 64 * 1024);
    r->x->client->ops->finish(r->x->client);
    exchange_wake(r->x, WAKE_END);
    cli_expect(&c, "\r\n0\r\n\r\n");
    assert_true(c.got.len > total);
    cli_close(&c);
    rig_free(r);
}

/* No turn of the loop comes between the flush and the bytes. */
static void flush_sends_at_once(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, GET("open"));
    RIG_UNTIL(r, r->x != NULL);
    cli_expect(&c, "\r\n\r\n");
    r->x->client->ops->send(r->x->client, STR("early"));
    assert_true(cli_recv(&c));
    assert_false(cli_has(&c, "early"));
    r->x->client->ops->flush(r->x->client);
    assert_int_equal(r->x->client->ops->queued(r->x->client), 0);
    assert_true(cli_recv(&c));
    assert_true(cli_has(&c, "early"));
    r->x->client->ops->finish(r->x->client);
    exchange_wake(r->x, WAKE_END);
    cli_expect(&c, "\r\n0\r\n\r\n");
    cli_close(&c);
    rig_free(r);
}

static void stalled_reader_is_reset(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    char *block = calloc(1, 8 << 20);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, GET("open"));
    RIG_UNTIL(r, r->x != NULL);
    r->x->client->ops->send(r->x->client, str_of(block, 8 << 20));
    rig_settle(r);
    pass_ms(r, 59000);
    assert_int_equal(front_conns(r->front), 1);
    pass_ms(r, 2000);
    assert_int_equal(front_conns(r->front), 0);
    assert_int_equal(r->gone, 1);
    cli_expect_end(&c);
    assert_true(c.reset);
    cli_close(&c);
    free(block);
    rig_free(r);
}

static void lingering_is_bounded(void **state)
{
    struct rig *r = rig_new(NULL, NULL);
    struct cli c;

    (void)state;
    cli_open(&c, r, 0);
    cli_send(&c, "BAD\r\n\r\n");
    cli_expect(&c, "HTTP/1.1 400 ");
    cli_expect_end(&c);
    assert_int_equal(front_conns(r->front), 1);
    cli_send(&c, "more");
    pass_ms(r, 2100);
    assert_int_equal(front_conns(r->front), 0);
    cli_close(&c);
    rig_free(r);
}

static void state_table_is_closed(void **state)
{
    /* Rows: from; columns: to, in the order of the enum. */
    static const char *const table[CONN_STATE_COUNT] = {
        /* handshake */ ".i.......c", /* idle */ "..h...fl.c",
        /* head */ "...bw.f..c",      /* body */ "....wrf..c",
        /* wait */ ".....rf..c",      /* reply */ "......f.tc",
        /* flush */ ".i.....l.c",     /* linger */ ".........c",
        /* tunnel */ "......f..c",    /* closed */ "..........",
    };

    (void)state;
    for (unsigned from = 0; from < CONN_STATE_COUNT; from++) {
        for (unsigned to = 0; to < CONN_STATE_COUNT; to++)
            assert_int_equal(
                conn_may_enter((enum conn_state)from, (enum conn_state)to),
                table[from][to] != '.');
        assert_string_not_equal(conn_state_name((enum conn_state)from), "?");
    }
    assert_string_equal(conn_state_name(CONN_STATE_COUNT), "?");
    assert_false(conn_may_enter(CONN_STATE_COUNT, CONN_IDLE));
}

static void connection_object_is_small(void **state)
{
    (void)state;
    assert_true(sizeof(struct conn) <= 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaving_is_seen_in_every_state),
        cmocka_unit_test(half_closed_client_is_served_when_asked),
        cmocka_unit_test(half_closed_client_can_leave),
        cmocka_unit_test(leaving_is_seen_while_reading_is_stopped),
        cmocka_unit_test(stopped_reading_does_not_spin),
        cmocka_unit_test(slow_head_is_answered_408),
        cmocka_unit_test(silent_connections_close_silently),
        cmocka_unit_test(pending_reply_has_no_deadline_here),
        cmocka_unit_test(slow_body_is_answered_408),
        cmocka_unit_test(steady_body_is_waited_for),
        cmocka_unit_test(burst_then_silence_ends),
        cmocka_unit_test(slow_reader_pauses_the_producer_and_drains),
        cmocka_unit_test(flush_sends_at_once),
        cmocka_unit_test(stalled_reader_is_reset),
        cmocka_unit_test(lingering_is_bounded),
        cmocka_unit_test(state_table_is_closed),
        cmocka_unit_test(connection_object_is_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
