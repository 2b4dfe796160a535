/* quota_grow.c - A hold that grows as its request goes on, until there is no
 * more. */
#include "exchange/quota.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"
#include "conf/conf.h"
#include "exchange/exchange.h"
#include "exchange/quota_priv.h"

/* Every so often a growing hold looks again for room. */
#define LOOK_MS 100

/* Those that grow and have used up all wait for each other: not for long. */
#define GROW_WAIT_MS 5000

/* The room there is for the whole of what <q> is to hold: what it holds is
 * part of it, unless a window has ended since. */
static struct budget_amounts room_with_own(const struct quota *q)
{
    struct accounts_room room;

    accounts_left(q->a, &q->ask, &room);
    for (int u = 0; u < BUDGET_UNIT_COUNT; u++) {
        const int64_t own = q->p.hold.hold.most.of[u];

        if (room.now.of[u] != INT64_MAX &&
            __builtin_add_overflow(room.now.of[u], own, &room.now.of[u]))
            room.now.of[u] = INT64_MAX;
    }
    return room.now;
}

/* Whether <q> could have more if others gave back what they hold. */
static bool has_hope(const struct quota *q)
{
    uint64_t most = q->p.cap_tok;
    struct accounts_room room;

    accounts_left(q->a, &q->ask, &room);
    return quota_fit(q, &room.ever, &most) && most > q->p.output_tok;
}

static enum accounts_answer grow_to(struct exchange *x, uint64_t output_tok)
{
    struct quota *q = x->work->quota;
    enum accounts_answer answer;

    q->ask.most = quota_amounts(q, output_tok);
    q->ask.at_ms = accounts_now_ms(q->a);
    answer = accounts_grow(q->a, x->w->ledger, &q->ask, &q->wait->waiter,
                           &q->p.hold, &q->no);
    if (answer != ACCOUNTS_HELD)
        return answer;
    q->p.output_tok = output_tok;
    q->began_ms = 0;
    return answer;
}

/* How long to wait for others. */
static uint64_t patience_of(const struct exchange *x)
{
    const uint64_t wait_ms = (uint64_t)x->conf->budgets.wait_ms;

    return wait_ms < GROW_WAIT_MS ? wait_ms : GROW_WAIT_MS;
}

/* There is no more now: wait a little, or give up. */
static enum quota_answer grow_later(struct exchange *x)
{
    struct quota *q = x->work->quota;

    if (!has_hope(q) || !quota_may_wait(x, patience_of(x)))
        return QUOTA_OVER;
    return quota_wait_until(q, clock_mono_ms() + LOOK_MS, WAIT_LOOK);
}

enum quota_answer quota_grow(struct exchange *x, uint64_t output_tok)
{
    struct quota *q = x->work->quota;
    enum accounts_answer answer;
    struct budget_amounts room;

    if (!q || !q->p.held || q->p.output_tok >= output_tok)
        return QUOTA_HELD;
    if (q->wait->on)
        return QUOTA_WAIT;
    if (q->late)
        return QUOTA_DOWN;
    if (output_tok > q->p.cap_tok)
        output_tok = q->p.cap_tok;
    if (output_tok <= q->p.output_tok)
        return QUOTA_OVER;
    quota_renew(q, x);
    answer = grow_to(x, output_tok);
    if (answer == ACCOUNTS_OVER) {
        room = room_with_own(q);
        if (!quota_fit(q, &room, &output_tok) || output_tok <= q->p.output_tok)
            return grow_later(x);
        answer = grow_to(x, output_tok);
    }
    switch (answer) {
    case ACCOUNTS_HELD:
        return QUOTA_HELD;
    case ACCOUNTS_WAIT:
        return quota_wait_until(q, clock_mono_ms() + QUOTA_LEASE_MS,
                                WAIT_LEASE);
    case ACCOUNTS_OVER:
        return grow_later(x);
    default:
        return QUOTA_DOWN;
    }
}

/* Whether no budget has room for one more token; q->no tells the first. What is
 * held stays as it is. */
static bool is_over(struct exchange *x)
{
    struct quota *q = x->work->quota;
    const uint64_t held = q->p.output_tok;
    const enum accounts_answer answer = grow_to(x, held + 1);

    if (answer == ACCOUNTS_HELD && grow_to(x, held) != ACCOUNTS_HELD)
        log_debug(LOG_ADMIT, "a token too many is held: id=%s", x->name);
    if (answer == ACCOUNTS_WAIT)
        accounts_leave(q->a, &q->wait->waiter);
    return answer == ACCOUNTS_OVER;
}

const char *quota_cut_text(struct exchange *x)
{
    const char *text;

    stats_inc(x->w->stats, STAT_BUDGET_CUTS);
    if (is_over(x))
        text = quota_text_end(x);
    else
        text = arena_printf(x->arena,
                            "The reply went on beyond the %" PRIu64 " tokens "
                            "of output that its budget was asked for.",
                            quota_output(x));
    return text ? text : err_row(ERR_BUDGET_CUT)->message;
}
