/* retry_budget.c - See retry_budget.h. Two rings of seconds; a place is cleared
 * when a later second needs it.
 *
 * Locks: b->lock is a leaf. */
#include "serve/retry_budget.h"

#include <string.h>

/* A word of the ring of live requests: its second above, their number below. */
#define COUNT_BITS 24
#define COUNT_MAX  ((UINT64_C(1) << COUNT_BITS) - 1)

static uint64_t second_of(uint64_t now_ms)
{
    return now_ms / 1000;
}

/* Whether second <at_s> is within the window that ends with <now_s>; threads
 * whose clocks are behind see what others counted ahead. */
static bool is_within(uint64_t at_s, uint64_t now_s)
{
    return at_s + RETRY_BUDGET_WINDOW_S > now_s;
}

static void live_add(struct retry_budget *b, uint64_t now_s)
{
    _Atomic uint64_t *place = &b->live[now_s % RETRY_BUDGET_WINDOW_S];
    uint64_t was = atomic_load_explicit(place, memory_order_relaxed), now;

    do {
        if (was >> COUNT_BITS > now_s)
            return; /* so late that its second has gone by */
        if (was >> COUNT_BITS < now_s)
            now = now_s << COUNT_BITS | 1;
        else if ((was & COUNT_MAX) == COUNT_MAX)
            return;
        else
            now = was + 1;
    } while (!atomic_compare_exchange_weak_explicit(
        place, &was, now, memory_order_relaxed, memory_order_relaxed));
}

static uint64_t live_sum(const struct retry_budget *b, uint64_t now_s)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < RETRY_BUDGET_WINDOW_S; i++) {
        const uint64_t word =
            atomic_load_explicit(&b->live[i], memory_order_relaxed);

        if (is_within(word >> COUNT_BITS, now_s))
            sum += word & COUNT_MAX;
    }
    return sum;
}

static uint64_t spent_sum(const struct retry_budget *b, uint64_t now_s)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < RETRY_BUDGET_WINDOW_S; i++)
        if (is_within(b->slots[i].at_s, now_s))
            sum += b->slots[i].spent;
    return sum;
}

static void spend(struct retry_budget *b, uint64_t now_s)
{
    struct retry_budget_slot *s = &b->slots[now_s % RETRY_BUDGET_WINDOW_S];

    if (s->at_s < now_s)
        *s = (struct retry_budget_slot){.at_s = now_s};
    s->spent++;
}

static uint64_t allowed(const struct retry_budget *b, uint64_t now_s)
{
    const uint64_t share = live_sum(b, now_s) * b->percent / 100;

    return share > b->floor ? share : b->floor;
}

void retry_budget_init(struct retry_budget *b, uint64_t percent, uint64_t floor)
{
    memset(b, 0, sizeof(*b));
    b->percent = percent;
    b->floor = floor;
    pthread_mutex_init(&b->lock, NULL);
}

void retry_budget_fini(struct retry_budget *b)
{
    pthread_mutex_destroy(&b->lock);
}

void retry_budget_note(struct retry_budget *b, unsigned count, uint64_t now_ms)
{
    if (count == 0) {
        live_add(b, second_of(now_ms));
        return;
    }
    pthread_mutex_lock(&b->lock);
    spend(b, second_of(now_ms));
    pthread_mutex_unlock(&b->lock);
}

bool retry_budget_take(struct retry_budget *b, uint64_t now_ms)
{
    const uint64_t now_s = second_of(now_ms);
    bool may;

    pthread_mutex_lock(&b->lock);
    may = spent_sum(b, now_s) < allowed(b, now_s);
    if (may)
        spend(b, now_s);
    pthread_mutex_unlock(&b->lock);
    return may;
}

void retry_budget_give(struct retry_budget *b, uint64_t then_ms)
{
    const uint64_t then_s = second_of(then_ms);
    struct retry_budget_slot *s = &b->slots[then_s % RETRY_BUDGET_WINDOW_S];

    pthread_mutex_lock(&b->lock);
    if (s->at_s == then_s && s->spent > 0)
        s->spent--;
    pthread_mutex_unlock(&b->lock);
}

void retry_budget_see(struct retry_budget *b, uint64_t now_ms,
                      struct retry_budget_view *out)
{
    const uint64_t now_s = second_of(now_ms);

    pthread_mutex_lock(&b->lock);
    *out = (struct retry_budget_view){.live = live_sum(b, now_s),
                                      .spent = spent_sum(b, now_s),
                                      .allowed = allowed(b, now_s)};
    pthread_mutex_unlock(&b->lock);
}
