/* throttle.c - A fixed table of addresses, two ways associative by hash; the
 * one whose window began first makes room. Forgetting an address only makes
 * the throttle milder, so the table never grows.
 *
 * Lock: one mutex guards the slots; rank: leaf, nothing is called under it. */
#include "admit/throttle.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdlib.h>
#include <xxhash.h>

#define THROTTLE_SLOTS 8192 /* power of two */

struct slot {
    uint64_t hash;     /* of the address; 0 = free */
    uint64_t since_ms; /* start of the window */
    uint64_t count;    /* failures in it */
};

struct throttle {
    pthread_mutex_t lock; /* guards slots */
    struct slot slots[THROTTLE_SLOTS];
};

struct throttle *throttle_new(void)
{
    struct throttle *t = calloc(1, sizeof(*t));

    if (t)
        pthread_mutex_init(&t->lock, NULL);
    return t;
}

void throttle_free(struct throttle *t)
{
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* What stands for <peer> in the table. Who has an IPv6 address has a /64 of
 * them, so the network part alone counts there. Never 0. */
static uint64_t peer_hash(struct str peer)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr a;

    if (peer.len < sizeof(text) && str_find_char(peer, ':') < peer.len) {
        memcpy(text, peer.p, peer.len);
        text[peer.len] = 0;
        if (inet_pton(AF_INET6, text, &a) == 1)
            return XXH3_64bits(a.s6_addr, 8) | 1;
    }
    return XXH3_64bits(peer.p, peer.len) | 1;
}

static struct slot *slot_for(struct throttle *t, uint64_t hash)
{
    struct slot *a = &t->slots[hash & (THROTTLE_SLOTS - 1)];
    struct slot *b = &t->slots[(hash >> 32) & (THROTTLE_SLOTS - 1)];

    if (a->hash == hash)
        return a;
    if (b->hash == hash)
        return b;
    if (a->hash == 0)
        return a;
    if (b->hash == 0)
        return b;
    return a->since_ms <= b->since_ms ? a : b;
}

bool throttle_fail(struct throttle *t, struct str peer, uint64_t now_ms,
                   uint64_t limit, uint64_t window_ms, uint64_t *wait_ms_out)
{
    uint64_t hash = peer_hash(peer), gone_ms;
    struct slot *s;
    bool over;

    if (limit == 0)
        return false;
    pthread_mutex_lock(&t->lock);
    s = slot_for(t, hash);
    if (s->hash != hash)
        *s = (struct slot){.hash = hash, .since_ms = now_ms};
    /* Threads keep the time of their turn: it may be before another's. */
    gone_ms = now_ms > s->since_ms ? now_ms - s->since_ms : 0;
    if (gone_ms >= window_ms) {
        *s = (struct slot){.hash = hash, .since_ms = now_ms};
        gone_ms = 0;
    }
    s->count++;
    over = s->count > limit;
    if (over)
        *wait_ms_out = window_ms - gone_ms;
    pthread_mutex_unlock(&t->lock);
    return over;
}
