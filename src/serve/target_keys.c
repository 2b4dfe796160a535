/* target_keys.c - The keys of an upstream that are watched. They are found by
 * a hash of the secret: a reload may add, drop and reorder them. Readers take
 * no lock: entries are only ever added, and one that is taken over by another
 * key says so in its id. */
#include <stdlib.h>

#include "conf/conf.h"
#include "serve/target_priv.h"

static uint64_t id_of(const struct target *t, const struct conf_upstream *up,
                      unsigned key)
{
    const uint64_t id = pick_hash(t->seed, secret_reveal(&up->keys[key]));

    return id ? id : 1;
}

static struct target_key *find(const struct target *t, uint64_t id)
{
    const unsigned n = atomic_load_explicit(&t->n_keys, memory_order_acquire);

    for (unsigned i = 0; i < n; i++) {
        struct target_key *k =
            atomic_load_explicit(&t->keys[i], memory_order_relaxed);

        if (atomic_load_explicit(&k->id, memory_order_acquire) == id)
            return k;
    }
    return NULL;
}

struct target_key *target_key_find(const struct target *t,
                                   const struct conf_upstream *up, unsigned key)
{
    return find(t, id_of(t, up, key));
}

/* A new entry. Under the lock. */
static struct target_key *grow(struct target *t)
{
    const unsigned n = atomic_load_explicit(&t->n_keys, memory_order_relaxed);
    struct target_key *k;

    if (n == TARGET_KEYS_MAX)
        return NULL;
    k = calloc(1, sizeof(*k));
    if (!k)
        return NULL;
    breaker_init(&k->gate.breaker);
    atomic_store_explicit(&t->keys[n], k, memory_order_relaxed);
    atomic_store_explicit(&t->n_keys, n + 1, memory_order_release);
    return k;
}

/* The entry of a key that was not used for long, emptied. Under the lock. */
static struct target_key *take_over(struct target *t, uint64_t now_ms)
{
    struct target_key *oldest = atomic_load(&t->keys[0]);

    for (unsigned i = 1; i < TARGET_KEYS_MAX; i++) {
        struct target_key *k = atomic_load(&t->keys[i]);

        if (atomic_load(&k->used_ms) < atomic_load(&oldest->used_ms))
            oldest = k;
    }
    if (atomic_load(&oldest->used_ms) + TARGET_KEY_IDLE_MS > now_ms)
        return NULL;
    atomic_store(&oldest->id, 0);
    breaker_reset(&oldest->gate.breaker, now_ms);
    atomic_store(&oldest->gate.rest_until_ms, 0);
    atomic_store(&oldest->gate.why, TARGET_OPEN);
    return oldest;
}

struct target_key *target_key_get(struct target *t,
                                  const struct conf_upstream *up, unsigned key,
                                  uint64_t now_ms)
{
    const uint64_t id = id_of(t, up, key);
    struct target_key *k = find(t, id);

    if (!k) {
        pthread_mutex_lock(&t->lock);
        k = find(t, id); /* another thread may have been quicker */
        if (!k)
            k = grow(t);
        if (!k && atomic_load(&t->n_keys) == TARGET_KEYS_MAX)
            k = take_over(t, now_ms);
        if (k) {
            atomic_store_explicit(&k->used_ms, now_ms, memory_order_relaxed);
            atomic_store_explicit(&k->id, id, memory_order_release);
        }
        pthread_mutex_unlock(&t->lock);
        return k;
    }
    if (atomic_load_explicit(&k->used_ms, memory_order_relaxed) < now_ms)
        atomic_store_explicit(&k->used_ms, now_ms, memory_order_relaxed);
    return k;
}

void target_keys_free(struct target *t)
{
    for (unsigned i = 0; i < atomic_load(&t->n_keys); i++) {
        struct target_key *k = atomic_load(&t->keys[i]);

        breaker_fini(&k->gate.breaker);
        free(k);
    }
}
