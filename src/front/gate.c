/* gate.c - See gate.h. Decides what a refusal costs: for the usual request it
 * is one look at the head and one write, and the connection is kept. What
 * needs more (CORS fields, HTTP/1.0, a body of unknown length) takes the long
 * way through an exchange that fails at once. */
#include "front/gate.h"

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "exchange/exchange.h"
#include "front/conn.h"
#include "front/net.h"
#include "wire/endpoint.h"
#include "wire/http1.h"

#define US_PER_MS    1000
#define SAY_EVERY_US (1000 * 1000)

/* Refusals in one turn, at most: then others are served. Each costs as much as
 * a seventh of what a request costs that is served, so there are few as long as
 * nobody waits much longer than he should, and more by the square of that. */
#define REFUSALS_LEAST 4
#define REFUSALS_MOST  256

/* What is left of start_wait when the load is no burst. */
#define STANDING_SHARE 4

/* Bounds of the wait that a refusal names. */
#define RETRY_LEAST_MS 1000
#define RETRY_MOST_MS  10000

/* Body bytes worth reading to keep the connection of a refused request. */
#define KEEP_BODY_BYTES (256 * 1024)

static const char *const reason_names[SHED_REASON_COUNT] = {
#define REASON_NAME(id, name) name,
    SHED_REASONS(REASON_NAME)
#undef REASON_NAME
};

/* ---- the line ----------------------------------------------------------- */

void gate_init(struct gate *g)
{
    *g = (struct gate){0};
    TAILQ_INIT(&g->line);
    TAILQ_INIT(&g->shakes);
}

bool gate_is_shut(const struct front *f)
{
    return f->gate.late || net_is_short(f->net);
}

bool gate_pass(struct front *f)
{
    struct gate *g = &f->gate;

    if (g->n > 0 || g->begun >= GATE_BEGINS || gate_is_shut(f))
        return false;
    g->begun++;
    conn_turn(f, false);
    return true;
}

void gate_hold(struct conn *c)
{
    struct gate *g = &c->f->gate;

    c->held = true;
    c->held_us = (int64_t)clock_mono_us();
    if (g->n++ == 0 && g->stood_us == 0)
        g->stood_us = c->held_us;
    TAILQ_INSERT_TAIL(&g->line, c, hold);
    stat_shift(&c->f->w->stats->held, 1);
    conn_turn(c->f, false);
}

static void unhold(struct conn *c)
{
    struct gate *g = &c->f->gate;

    TAILQ_REMOVE(&g->line, c, hold);
    g->n--;
    c->held = false;
    stat_shift(&c->f->w->stats->held, -1);
}

void gate_hold_shake(struct conn *c)
{
    if (!c->shaking)
        TAILQ_INSERT_TAIL(&c->f->gate.shakes, c, hold);
    c->shaking = true;
    conn_turn(c->f, false);
}

void gate_forget(struct conn *c)
{
    if (c->held)
        unhold(c);
    if (c->shaking)
        TAILQ_REMOVE(&c->f->gate.shakes, c, hold);
    c->shaking = false;
}

static void shakes_run(struct front *f)
{
    struct conn *c;

    for (int i = 0; i < GATE_SHAKES; i++) {
        c = TAILQ_FIRST(&f->gate.shakes);
        if (!c)
            return;
        gate_forget(c);
        conn_handshake(c);
    }
    if (!TAILQ_EMPTY(&f->gate.shakes))
        conn_turn(f, true);
}

/* ---- refusing ----------------------------------------------------------- */

/* How long a client should wait before it asks again: longer, the longer this
 * has lasted, and not the same for all, so that they do not come together. */
static uint64_t retry_ms(const struct gate *g)
{
    int64_t since = g->late_us != 0 ? g->late_us : g->stood_us;
    int64_t lasted = (int64_t)clock_mono_us() - since;
    uint64_t ms = RETRY_LEAST_MS;

    if (since != 0 && lasted > 0)
        ms += (uint64_t)lasted / US_PER_MS / 4;
    if (ms > RETRY_MOST_MS)
        ms = RETRY_MOST_MS;
    return ms + ms / 2 * (g->refused * 40503 % 65536) / 65536;
}

static void count_refusal(struct conn *c, enum shed_reason why)
{
    struct gate *g = &c->f->gate;
    int64_t now = (int64_t)clock_mono_us();

    stat_bump(&c->f->w->stats->shed[why], 1);
    g->refused++;
    g->unsaid++;
    if (g->said_us != 0 && now - g->said_us < SAY_EVERY_US)
        return;
    log_warn(LOG_HTTP,
             "overloaded, requests are refused: worker=%u reason=%s "
             "refused=%llu waiting=%u",
             c->f->w->index, reason_names[why], (unsigned long long)g->unsaid,
             g->n);
    g->said_us = now;
    g->unsaid = 0;
}

/* Whether the request with <head> can be answered without an exchange. */
static bool is_plain(const struct conn *c, const struct http1_head *head)
{
    return head->minor == 1 && head->method != HTTP1_HEAD &&
           head->framing != HTTP1_CHUNKED &&
           (c->f->w->conf->cors.n_origins == 0 ||
            http1_find(head, STR("Origin")) == NULL);
}

/* Answer 503 and go on to what follows the body, if that is worth it. */
static void refuse(struct conn *c, const struct http1_head *head,
                   enum endpoint_shape shape)
{
    bool has_body = head->framing == HTTP1_LENGTH && head->content_length > 0;

    c->requests++;
    c->must_close = !head->keep_alive || c->f->draining;
    if (has_body &&
        (head->expect_continue || head->content_length > KEEP_BODY_BYTES)) {
        c->must_close = true;
        c->linger = true;
    }
    buf_consume(&c->in, c->head_len);
    c->head_len = 0;
    if (has_body)
        conn_body_set_mode(c, BODY_DROP);
    conn_enter(c, CONN_FLUSH);
    reply_overloaded_send(c, shape, retry_ms(&c->f->gate));
    c->look = true;
    conn_mark(c, false);
}

/* Refuse <c>'s request if it is one that may be refused; otherwise nothing has
 * changed. The long way: it is marked to fail when it begins. */
static bool try_refuse(struct conn *c, enum shed_reason why)
{
    struct http1_header table[HTTP1_FIELDS + 1];
    struct endpoint_match ep;
    struct http1_head head;

    if (http1_parse(str_of(c->in.p, c->head_len), table, HTTP1_FIELDS + 1,
                    &head) != ERR_OK ||
        endpoint_lookup(head.method, head.path, &ep) != ERR_OK ||
        (ep.row->flags & ENDPOINT_NEEDS_KEY) == 0)
        return false;
    count_refusal(c, why);
    if (!is_plain(c, &head) ||
        http1_body_start(&c->body, &head, c->f->w->conf->limits.body_bytes) !=
            ERR_OK) {
        c->body = (struct http1_body){0};
        c->shed = true;
        return false;
    }
    unhold(c);
    refuse(c, &head, ep.shape);
    return true;
}

void gate_fail(struct exchange *x)
{
    struct conn *c = (struct conn *)x->client;

    (void)exchange_fail(x, ERR_OVERLOADED, NULL);
    x->fail.retry_after_ms = (int64_t)retry_ms(&c->f->gate);
}

/* ---- a turn ------------------------------------------------------------- */

/* How long anybody should wait now, in us; INT64_MAX: as long as it takes. */
static int64_t wait_most(const struct front *f, int64_t now)
{
    int64_t most = f->w->conf->limits.start_wait_ms * US_PER_MS;

    if (most == 0)
        return INT64_MAX;
    return now - f->gate.stood_us > most ? most / STANDING_SHARE : most;
}

/* How many of those that have waited for longer than <most> may be refused in
 * this turn. */
static unsigned refusals_most(const struct front *f, int64_t most, int64_t now)
{
    const struct conn *first = TAILQ_FIRST(&f->gate.line);
    int64_t times;

    if (!first || gate_is_shut(f))
        return REFUSALS_MOST;
    times = (now - first->held_us) / (most / 4 + 1); /* in quarters */
    if (times > 4 * 8)
        return REFUSALS_MOST;
    return (unsigned)(REFUSALS_LEAST * times * times / 16);
}

/* Why <c>, the first in line, is to be refused; SHED_REASON_COUNT: it is not.
 */
static enum shed_reason why_refuse(const struct conn *c, int64_t most,
                                   int64_t now)
{
    if (c->shed)
        return SHED_REASON_COUNT; /* it fails when it begins */
    if (gate_is_shut(c->f))
        return c->f->gate.late ? SHED_LAG : SHED_MEMORY;
    return now - c->held_us > most ? SHED_WAIT : SHED_REASON_COUNT;
}

static void begin(struct conn *c)
{
    struct front *f = c->f;

    unhold(c);
    f->gate.begun++;
    f->in_read = true; /* replies are written at the end of the turn */
    conn_in_resume(c);
    f->in_read = false;
}

static void line_is_empty(struct gate *g)
{
    g->stood_us = 0;
    if (g->late_us == 0)
        g->refused = 0;
}

void gate_run(struct front *f)
{
    struct gate *g = &f->gate;
    int64_t now = (int64_t)clock_mono_us();
    int64_t most = wait_most(f, now);
    unsigned refusals = refusals_most(f, most, now);
    struct conn *c;

    while ((c = TAILQ_FIRST(&g->line)) != NULL) {
        enum shed_reason why = why_refuse(c, most, now);

        if (why != SHED_REASON_COUNT && refusals > 0) {
            refusals--;
            if (try_refuse(c, why))
                continue;
        }
        if (g->begun >= GATE_BEGINS || (gate_is_shut(f) && refusals == 0))
            break;
        begin(c);
    }
    shakes_run(f);
    g->begun = 0;
    if (g->n > 0)
        conn_turn(f, true);
    else
        line_is_empty(g);
}

/* Whether the loop has been late for long, and by its own work. */
static bool is_late(const struct gate *g, int64_t now, uint64_t busy_us)
{
    const int64_t for_us = now - g->late_us;

    return for_us >= GATE_LATE_FOR_US &&
           (busy_us - g->late_busy_us) * 100 >=
               (uint64_t)for_us * GATE_BUSY_PERCENT;
}

void gate_note_lag(struct front *f, uint64_t lag_us, uint64_t busy_us)
{
    struct gate *g = &f->gate;
    int64_t now = (int64_t)clock_mono_us();

    if (lag_us < GATE_IN_TIME_US) {
        g->late = false;
        g->late_us = 0;
        return;
    }
    if (g->late_us == 0 && lag_us < GATE_LATE_US)
        return;
    if (g->late_us == 0) {
        g->late_us = now;
        g->late_busy_us = busy_us;
    }
    if (f->w->conf->limits.start_wait_ms > 0)
        g->late = is_late(g, now, busy_us);
}
