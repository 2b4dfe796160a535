/* breaker.c - See breaker.h. The window is a ring of parts; a part is cleared
 * when its place in the ring is needed for a later one, so that nothing runs
 * when nothing happens.
 *
 * Locks: b->lock is a leaf. <stand> and <until_ms> are written under it and
 * read without it where a moment's delay does no harm. */
#include "serve/breaker.h"

#include <string.h>

#include "base/panic.h"

#define STATE_BITS 2

static enum breaker_state state_of(uint64_t stand)
{
    return (enum breaker_state)(stand & ((1U << STATE_BITS) - 1));
}

static uint64_t era_of(uint64_t stand)
{
    return stand >> STATE_BITS;
}

static uint64_t stand_now(const struct breaker *b)
{
    return atomic_load_explicit(&b->stand, memory_order_acquire);
}

static uint64_t until_now(const struct breaker *b)
{
    return atomic_load_explicit(&b->until_ms, memory_order_acquire);
}

static uint64_t probe_by_now(const struct breaker *b)
{
    return atomic_load_explicit(&b->probe_by_ms, memory_order_acquire);
}

/* Threads keep the time of their turn: one before the latest is the latest. */
static uint64_t time_of(struct breaker *b, uint64_t now_ms)
{
    if (now_ms > b->now_ms)
        b->now_ms = now_ms;
    return b->now_ms;
}

/* The only place that changes the state; an era begins. */
static void breaker_enter_state(struct breaker *b, enum breaker_state to)
{
    static const unsigned legal[BREAKER_STATE_COUNT] = {
        [BREAKER_CLOSED] = 1U << BREAKER_OPEN,
        [BREAKER_OPEN] = 1U << BREAKER_HALF_OPEN | 1U << BREAKER_CLOSED,
        [BREAKER_HALF_OPEN] = 1U << BREAKER_OPEN | 1U << BREAKER_CLOSED,
    };
    const uint64_t stand = stand_now(b);

    BUG_ON((legal[state_of(stand)] & 1U << to) == 0);
    b->changed_ms = b->now_ms;
    atomic_store_explicit(&b->stand,
                          (era_of(stand) + 1) << STATE_BITS | (uint64_t)to,
                          memory_order_release);
}

static void extend(struct breaker *b, uint64_t until_ms)
{
    if (until_ms > until_now(b))
        atomic_store_explicit(&b->until_ms, until_ms, memory_order_release);
}

/* --- the window ---------------------------------------------------------- */

static void forget(struct breaker *b)
{
    memset(b->slots, 0, sizeof(b->slots));
    b->run = 0;
}

/* Parts have the length of <r>, which a reload may have changed. */
static void window_set(struct breaker *b, const struct breaker_rules *r)
{
    const uint64_t slot_ms =
        r->window_ms <= BREAKER_SLOTS
            ? 1
            : (r->window_ms + BREAKER_SLOTS - 1) / BREAKER_SLOTS;

    if (slot_ms == b->slot_ms)
        return;
    forget(b);
    b->slot_ms = slot_ms;
}

static void window_count(struct breaker *b, bool bad)
{
    const uint64_t at = b->now_ms / b->slot_ms;
    struct breaker_slot *s = &b->slots[at % BREAKER_SLOTS];

    if (s->at != at)
        *s = (struct breaker_slot){.at = at};
    if (s->all == UINT32_MAX)
        return;
    s->all++;
    s->bad += bad;
}

/* Attempts and failures within the window at <now_ms>. */
static void window_sum(const struct breaker *b, uint64_t now_ms, uint64_t *all,
                       uint64_t *bad)
{
    *all = 0;
    *bad = 0;
    if (b->slot_ms == 0)
        return;
    for (unsigned i = 0; i < BREAKER_SLOTS; i++) {
        const struct breaker_slot *s = &b->slots[i];

        if (s->at + BREAKER_SLOTS <= now_ms / b->slot_ms)
            continue;
        *all += s->all;
        *bad += s->bad;
    }
}

/* Whether what was counted is too much. Those in a row that are older than the
 * window do not count, and they are the first of it. */
static bool is_too_bad(const struct breaker *b, const struct breaker_rules *r)
{
    uint64_t all, bad;

    if (r->failures == 0)
        return false;
    window_sum(b, b->now_ms, &all, &bad);
    if (bad < r->failures)
        return false;
    return b->run >= r->failures || (all >= BREAKER_SHARE_ATTEMPTS &&
                                     bad * 100 >= all * BREAKER_SHARE_PERCENT);
}

/* --- changes ------------------------------------------------------------- */

static void open_now(struct breaker *b, const struct breaker_rules *r)
{
    breaker_enter_state(b, BREAKER_OPEN);
    extend(b, b->now_ms + r->open_ms);
    forget(b);
}

static void close_now(struct breaker *b)
{
    breaker_enter_state(b, BREAKER_CLOSED);
    forget(b);
}

static enum breaker_event count(struct breaker *b,
                                const struct breaker_rules *r, bool bad)
{
    window_set(b, r);
    window_count(b, bad);
    b->run = bad ? b->run + 1 : 0;
    if (!bad || !is_too_bad(b, r))
        return BREAKER_SAME;
    b->opened++;
    open_now(b, r);
    return BREAKER_OPENED;
}

static enum breaker_event judge(struct breaker *b,
                                const struct breaker_rules *r,
                                const struct breaker_pass *pass,
                                enum breaker_word word)
{
    const uint64_t stand = stand_now(b);

    if (pass->era != era_of(stand))
        return BREAKER_SAME;
    switch (state_of(stand)) {
    case BREAKER_CLOSED:
        return word == BREAKER_GOOD || word == BREAKER_BAD
                   ? count(b, r, word == BREAKER_BAD)
                   : BREAKER_SAME;
    case BREAKER_HALF_OPEN:
        if (word == BREAKER_GOOD || word == BREAKER_ALIVE) {
            close_now(b);
            return BREAKER_RECOVERED;
        }
        open_now(b, r);
        return BREAKER_REOPENED;
    default: /* nobody gets a pass of an open one */
        return BREAKER_SAME;
    }
}

/* Let a probe through if it is time for one. */
static bool enter_as_probe(struct breaker *b, const struct breaker_rules *r)
{
    const uint64_t patience_ms = r->open_ms > 0 ? r->open_ms : 1;

    if (breaker_wait_ms(b, b->now_ms) > 0)
        return false;
    /* Its time first: who sees the state without the lock sees it, too. */
    atomic_store_explicit(&b->probe_by_ms, b->now_ms + patience_ms,
                          memory_order_release);
    if (state_of(stand_now(b)) == BREAKER_OPEN)
        breaker_enter_state(b, BREAKER_HALF_OPEN);
    b->probes++;
    return true;
}

/* --- for others ---------------------------------------------------------- */

void breaker_init(struct breaker *b)
{
    memset(b, 0, sizeof(*b));
    pthread_mutex_init(&b->lock, NULL);
}

void breaker_fini(struct breaker *b)
{
    pthread_mutex_destroy(&b->lock);
}

bool breaker_is_ready(const struct breaker *b, uint64_t now_ms)
{
    return breaker_wait_ms(b, now_ms) == 0;
}

bool breaker_is_closed(const struct breaker *b)
{
    return state_of(stand_now(b)) == BREAKER_CLOSED;
}

uint64_t breaker_wait_ms(const struct breaker *b, uint64_t now_ms)
{
    uint64_t until_ms = until_now(b);

    if (state_of(stand_now(b)) == BREAKER_HALF_OPEN &&
        probe_by_now(b) > until_ms)
        until_ms = probe_by_now(b);
    return until_ms > now_ms ? until_ms - now_ms : 0;
}

bool breaker_enter(struct breaker *b, const struct breaker_rules *r,
                   uint64_t now_ms, struct breaker_pass *pass_out)
{
    uint64_t stand = stand_now(b);
    bool may;

    if (state_of(stand) == BREAKER_CLOSED) {
        if (now_ms < until_now(b))
            return false;
        *pass_out = (struct breaker_pass){era_of(stand), false};
        return true;
    }
    pthread_mutex_lock(&b->lock);
    (void)time_of(b, now_ms);
    may = state_of(stand_now(b)) == BREAKER_CLOSED ? b->now_ms >= until_now(b)
                                                   : enter_as_probe(b, r);
    stand = stand_now(b);
    pthread_mutex_unlock(&b->lock);
    if (may)
        *pass_out = (struct breaker_pass){era_of(stand),
                                          state_of(stand) != BREAKER_CLOSED};
    return may;
}

enum breaker_event breaker_leave(struct breaker *b,
                                 const struct breaker_rules *r,
                                 const struct breaker_pass *pass,
                                 enum breaker_word word, uint64_t now_ms)
{
    enum breaker_event event;

    if (!pass->probe && (word == BREAKER_SILENT || word == BREAKER_ALIVE))
        return BREAKER_SAME;
    pthread_mutex_lock(&b->lock);
    (void)time_of(b, now_ms);
    event = judge(b, r, pass, word);
    pthread_mutex_unlock(&b->lock);
    return event;
}

enum breaker_event breaker_trip(struct breaker *b,
                                const struct breaker_rules *r, uint64_t now_ms)
{
    enum breaker_event event = BREAKER_SAME;

    if (r->failures == 0)
        return BREAKER_SAME;
    pthread_mutex_lock(&b->lock);
    (void)time_of(b, now_ms);
    switch (state_of(stand_now(b))) {
    case BREAKER_CLOSED:
        b->opened++;
        open_now(b, r);
        event = BREAKER_OPENED;
        break;
    case BREAKER_HALF_OPEN:
        open_now(b, r);
        event = BREAKER_REOPENED;
        break;
    default:
        break;
    }
    pthread_mutex_unlock(&b->lock);
    return event;
}

void breaker_rest(struct breaker *b, uint64_t until_ms)
{
    pthread_mutex_lock(&b->lock);
    extend(b, until_ms);
    pthread_mutex_unlock(&b->lock);
}

void breaker_reset(struct breaker *b, uint64_t now_ms)
{
    pthread_mutex_lock(&b->lock);
    (void)time_of(b, now_ms);
    atomic_store_explicit(&b->until_ms, 0, memory_order_release);
    if (state_of(stand_now(b)) != BREAKER_CLOSED)
        breaker_enter_state(b, BREAKER_CLOSED);
    forget(b);
    pthread_mutex_unlock(&b->lock);
}

void breaker_see(struct breaker *b, uint64_t now_ms, struct breaker_view *out)
{
    enum breaker_state state;

    pthread_mutex_lock(&b->lock);
    state = state_of(stand_now(b));
    *out = (struct breaker_view){.wait_ms = breaker_wait_ms(b, now_ms),
                                 .run = b->run,
                                 .opened = b->opened,
                                 .probes = b->probes,
                                 .changed_ms = b->changed_ms};
    if (state == BREAKER_OPEN && now_ms >= until_now(b))
        state = BREAKER_HALF_OPEN;
    out->state = state;
    window_sum(b, now_ms, &out->attempts, &out->failures);
    pthread_mutex_unlock(&b->lock);
}

const char *breaker_state_name(enum breaker_state s)
{
    static const char *const names[BREAKER_STATE_COUNT] = {
        [BREAKER_CLOSED] = "closed",
        [BREAKER_OPEN] = "open",
        [BREAKER_HALF_OPEN] = "half_open",
    };

    BUG_ON((unsigned)s >= BREAKER_STATE_COUNT);
    return names[s];
}
