/* fair.c - See fair.h. Turns share out the reading of prompts; the places of
 * sequences that run are shared out by their number alone, since an output's
 * length is not known beforehand. */
#include "engine/fair.h"

#include <stdlib.h>
#include <string.h>

#include "base/panic.h"

void fair_init(struct fair *f)
{
    f->keys = NULL;
    f->n_ring = 0;
    TAILQ_INIT(&f->ring);
}

struct fair_key *fair_join(struct fair *f, const char *id)
{
    struct fair_key *k;

    HASH_FIND_STR(f->keys, id, k);
    if (!k) {
        k = calloc(1, sizeof(*k));
        if (!k)
            return NULL;
        memcpy(k->id, id, strnlen(id, sizeof(k->id) - 1));
        TAILQ_INIT(&k->waiting);
        TAILQ_INIT(&k->reading);
        HASH_ADD_STR(f->keys, id, k);
        if (!MAP_ADDED(k)) {
            free(k);
            return NULL;
        }
    }
    k->n_jobs++;
    return k;
}

void fair_leave(struct fair *f, struct fair_key *k)
{
    k->n_jobs--;
    if (k->n_jobs > 0)
        return;
    BUG_ON(k->in_ring || k->n_running > 0);
    HASH_DEL(f->keys, k);
    free(k);
}

/* Add <q> to <list>, which is in order of age. */
static void insert(struct seq_list *list, struct seq *q)
{
    struct seq *at = TAILQ_LAST(list, seq_list);

    while (at && seq_is_younger(at, q))
        at = TAILQ_PREV(at, seq_list, work);
    if (at)
        TAILQ_INSERT_AFTER(list, at, q, work);
    else
        TAILQ_INSERT_HEAD(list, q, work);
}

void fair_add(struct fair *f, struct fair_key *k, struct seq *q, bool reads)
{
    insert(reads ? &k->reading : &k->waiting, q);
    if (k->in_ring)
        return;
    k->in_ring = true;
    k->deficit = 0;
    TAILQ_INSERT_TAIL(&f->ring, k, ring);
    f->n_ring++;
}

void fair_remove(struct fair *f, struct fair_key *k, struct seq *q, bool reads)
{
    if (reads)
        TAILQ_REMOVE(&k->reading, q, work);
    else
        TAILQ_REMOVE(&k->waiting, q, work);
    if (!TAILQ_EMPTY(&k->reading) || !TAILQ_EMPTY(&k->waiting))
        return;
    k->in_ring = false;
    TAILQ_REMOVE(&f->ring, k, ring);
    f->n_ring--;
}

struct fair_key *fair_turn(struct fair *f)
{
    return TAILQ_FIRST(&f->ring);
}

void fair_next(struct fair *f)
{
    struct fair_key *k = TAILQ_FIRST(&f->ring);

    TAILQ_REMOVE(&f->ring, k, ring);
    TAILQ_INSERT_TAIL(&f->ring, k, ring);
}

void fair_first(struct fair *f, struct fair_key *k)
{
    BUG_ON(!k->in_ring);
    TAILQ_REMOVE(&f->ring, k, ring);
    TAILQ_INSERT_HEAD(&f->ring, k, ring);
}

size_t fair_grant(struct fair_key *k, size_t want)
{
    if (k->deficit <= 0)
        k->deficit += FAIR_QUANTUM;
    return want < (size_t)k->deficit ? want : (size_t)k->deficit;
}

void fair_spend(struct fair *f, struct fair_key *k, size_t n)
{
    k->deficit -= (long)n;
    if (k->deficit <= 0 && k->in_ring && k == fair_turn(f))
        fair_next(f);
}

bool fair_may_start(const struct fair *f, const struct fair_key *k)
{
    const struct fair_key *o;

    TAILQ_FOREACH(o, &f->ring, ring)
    if (o->n_running < k->n_running && !TAILQ_EMPTY(&o->waiting))
        return false;
    return true;
}
