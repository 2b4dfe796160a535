/* cache_hint.c - What is known of entries in memory alone: which were found
 * since they were stored or looked at last, and where they are. Neither need be
 * right: marks of two entries may be one, and a hint is compared with what
 * stands there. Any thread. */
#include <string.h>

#include "store/cache_priv.h"

/* --- marks --------------------------------------------------------------- */

void cache_mark(struct cache_db *d, uint64_t seq)
{
    const uint64_t bit = seq & d->marks_mask;
    const uint64_t mask = (uint64_t)1 << bit % 64;
    _Atomic(uint64_t) *at = &d->marks[bit / 64];

    if ((atomic_load_explicit(at, memory_order_relaxed) & mask) == 0)
        atomic_fetch_or_explicit(at, mask, memory_order_relaxed);
}

bool cache_mark_take(struct cache_db *d, uint64_t seq)
{
    const uint64_t bit = seq & d->marks_mask;
    const uint64_t mask = (uint64_t)1 << bit % 64;

    return (atomic_fetch_and_explicit(&d->marks[bit / 64], ~mask,
                                      memory_order_relaxed) &
            mask) != 0;
}

/* --- hints --------------------------------------------------------------- */

/* A slot: a part of the key that its place does not tell, and the seq. */
#define HINT_SEQ_BITS 40
#define HINT_WAYS     4

/* Bytes that are fetched early: of the key before a slice, and of it. */
#define WARM_BEFORE 32
#define WARM_BYTES  1280

/* The first of the slots of <key>, and what one of it begins with. */
static uint64_t hint_at(const struct cache_db *d, const struct cache_key *key,
                        uint64_t *tag_out)
{
    uint64_t words[2];

    memcpy(words, key->exact.b, sizeof(words));
    *tag_out = (words[1] | 1) << HINT_SEQ_BITS;
    return words[0] * HINT_WAYS & d->hints_mask;
}

/* Have the processor fetch what stood at <place>: the head of its page and some
 * of the reply. It does nothing where nothing is mapped any more. */
static void warm(uintptr_t place)
{
    const uintptr_t page = place & ~(uintptr_t)(CACHE_PAGE_BYTES - 1);

    if (place == 0)
        return;
    __builtin_prefetch((const void *)page);
    for (uintptr_t at = place - WARM_BEFORE; at < place + WARM_BYTES; at += 64)
        __builtin_prefetch((const void *)at);
}

uint64_t cache_hint_of(const struct cache_db *d, const struct cache_key *key)
{
    const uint64_t seqs = ((uint64_t)1 << HINT_SEQ_BITS) - 1;
    uint64_t tag;
    const uint64_t at = hint_at(d, key, &tag);

    for (unsigned i = 0; i < HINT_WAYS; i++) {
        const uint64_t slot =
            atomic_load_explicit(&d->hints[at + i], memory_order_relaxed);

        if ((slot & ~seqs) != tag)
            continue;
        warm(atomic_load_explicit(&d->places[at + i], memory_order_relaxed));
        return slot & seqs;
    }
    return 0;
}

void cache_hint(struct cache_db *d, const struct cache_key *key, uint64_t seq,
                const void *place)
{
    const uint64_t seqs = ((uint64_t)1 << HINT_SEQ_BITS) - 1;
    uint64_t tag;
    const uint64_t at = hint_at(d, key, &tag);
    uint64_t to = at + seq % HINT_WAYS;
    uint64_t slot = 0;

    if (seq > seqs)
        return;
    for (unsigned i = 0; i < HINT_WAYS; i++) {
        slot = atomic_load_explicit(&d->hints[at + i], memory_order_relaxed);
        if (slot == 0)
            to = at + i;
        if ((slot & ~seqs) != tag)
            continue;
        to = at + i;
        break;
    }
    if (atomic_load_explicit(&d->hints[to], memory_order_relaxed) !=
        (tag | seq))
        atomic_store_explicit(&d->hints[to], tag | seq, memory_order_relaxed);
    if (atomic_load_explicit(&d->places[to], memory_order_relaxed) !=
        (uintptr_t)place)
        atomic_store_explicit(&d->places[to], (uintptr_t)place,
                              memory_order_relaxed);
}
