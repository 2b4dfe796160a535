/* flight.c - See flight.h. The table is cut into shards, each with a lock held
 * for one look: requests are spread over them by their digests. */
#include "recall/flight.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/map.h"
#include "exchange/tape.h"

#define SHARDS 64 /* a power of two */

/* A flight. */
struct flight_entry {
    struct digest exact;
    struct tape *tape; /* counted */
    UT_hash_handle hh;
};

struct flight_shard {
    pthread_mutex_t lock;
    struct flight_entry *entries; /* owned, by digest */
};

/* The table. */
struct flights {
    unsigned n_workers;
    struct flight_shard shards[SHARDS];
};

struct flights *flights_new(unsigned n_workers)
{
    struct flights *f = calloc(1, sizeof(*f));

    if (!f)
        return NULL;
    f->n_workers = n_workers;
    for (unsigned i = 0; i < SHARDS; i++)
        pthread_mutex_init(&f->shards[i].lock, NULL);
    return f;
}

/* Take <e> out of <s> and free it. */
static void entry_drop(struct flight_shard *s, struct flight_entry *e)
{
    HASH_DELETE(hh, s->entries, e);
    tape_unref(e->tape);
    free(e);
}

void flights_free(struct flights *f)
{
    if (!f)
        return;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct flight_shard *s = &f->shards[i];

        while (s->entries)
            entry_drop(s, s->entries);
        pthread_mutex_destroy(&s->lock);
    }
    free(f);
}

static struct flight_shard *shard_of(struct flights *f,
                                     const struct digest *exact)
{
    return &f->shards[exact->b[0] % SHARDS];
}

static struct flight_entry *entry_find(struct flight_shard *s,
                                       const struct digest *exact)
{
    struct flight_entry *e = NULL;

    HASH_FIND(hh, s->entries, exact->b, DIGEST_BYTES, e);
    return e;
}

/* Put a flight of <tape> into <s>; NULL without memory. */
static struct flight_entry *entry_add(struct flight_shard *s,
                                      const struct digest *exact,
                                      struct tape *tape)
{
    struct flight_entry *e = calloc(1, sizeof(*e));

    if (!e)
        return NULL;
    e->exact = *exact;
    HASH_ADD(hh, s->entries, exact, DIGEST_BYTES, e);
    if (!MAP_ADDED(e)) {
        free(e);
        return NULL;
    }
    e->tape = tape_ref(tape);
    return e;
}

/* Join or begin the flight of <exact>; under the lock of <s>. */
static enum flight_role enter(struct flight_shard *s,
                              const struct digest *exact, struct tape *fresh,
                              struct tape **tape_out)
{
    struct flight_entry *e = entry_find(s, exact);

    if (e && tape_is_open(e->tape)) {
        *tape_out = tape_ref(e->tape);
        return FLIGHT_FOLLOWS;
    }
    if (!fresh)
        return FLIGHT_ALONE;
    if (e)
        entry_drop(s, e);
    if (!entry_add(s, exact, fresh))
        return FLIGHT_ALONE;
    *tape_out = tape_ref(fresh);
    return FLIGHT_LEADS;
}

/* The same after <after>, whose lock this is, too. */
static enum flight_role enter_after(struct flight_shard *s,
                                    const struct digest *exact,
                                    struct tape *fresh, struct tape *after,
                                    struct tape **tape_out)
{
    struct tape *heir = after ? tape_heir(after) : NULL;
    enum flight_role role;

    if (heir) {
        *tape_out = tape_ref(heir);
        return FLIGHT_FOLLOWS;
    }
    role = enter(s, exact, fresh, tape_out);
    if (after && role != FLIGHT_ALONE)
        tape_set_heir(after, *tape_out);
    return role;
}

enum flight_role flight_enter(struct flights *f, const struct digest *exact,
                              uint64_t max_bytes, struct tape *after,
                              struct tape **tape_out)
{
    struct flight_shard *s = shard_of(f, exact);
    struct tape *fresh = tape_new(max_bytes, f->n_workers);
    enum flight_role role;

    if (after && tape_is_open(after)) /* no reason to look for another */
        after = NULL;
    pthread_mutex_lock(&s->lock);
    role = enter_after(s, exact, fresh, after, tape_out);
    pthread_mutex_unlock(&s->lock);
    tape_unref(fresh);
    return role;
}

void flight_leave(struct flights *f, const struct digest *exact,
                  const struct tape *tape)
{
    struct flight_shard *s = shard_of(f, exact);
    struct flight_entry *e;

    pthread_mutex_lock(&s->lock);
    e = entry_find(s, exact);
    if (e && e->tape == tape)
        entry_drop(s, e);
    pthread_mutex_unlock(&s->lock);
}

unsigned flights_count(struct flights *f)
{
    unsigned n = 0;

    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&f->shards[i].lock);
        n += HASH_COUNT(f->shards[i].entries);
        pthread_mutex_unlock(&f->shards[i].lock);
    }
    return n;
}
