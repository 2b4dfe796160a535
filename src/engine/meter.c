/* meter.c - See meter.h. */
#include "engine/meter.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/panic.h"

struct meter {
    pthread_mutex_t lock;
    unsigned refs;
    bool ended;  /* <most> is the last word */
    bool closed; /* nothing is allowed */
    uint64_t most;
    struct meter_counts n; /* n.output_tok <= most */
};

struct meter *meter_new(uint64_t most)
{
    struct meter *m = calloc(1, sizeof(*m));

    if (!m)
        return NULL;
    if (pthread_mutex_init(&m->lock, NULL) != 0) {
        free(m);
        return NULL;
    }
    m->refs = 1;
    m->most = most;
    return m;
}

struct meter *meter_ref(struct meter *m)
{
    if (!m)
        return NULL;
    pthread_mutex_lock(&m->lock);
    m->refs++;
    pthread_mutex_unlock(&m->lock);
    return m;
}

void meter_unref(struct meter *m)
{
    unsigned refs;

    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    refs = --m->refs;
    pthread_mutex_unlock(&m->lock);
    if (refs > 0)
        return;
    pthread_mutex_destroy(&m->lock);
    free(m);
}

void meter_raise(struct meter *m, uint64_t most)
{
    pthread_mutex_lock(&m->lock);
    if (most > m->most)
        m->most = most;
    pthread_mutex_unlock(&m->lock);
}

void meter_end(struct meter *m)
{
    pthread_mutex_lock(&m->lock);
    m->ended = true;
    pthread_mutex_unlock(&m->lock);
}

void meter_close(struct meter *m)
{
    pthread_mutex_lock(&m->lock);
    m->closed = true;
    pthread_mutex_unlock(&m->lock);
}

/* Under the lock. */
static uint64_t left(const struct meter *m)
{
    return m->closed ? 0 : m->most - m->n.output_tok;
}

uint64_t meter_left(struct meter *m)
{
    uint64_t n;

    pthread_mutex_lock(&m->lock);
    n = left(m);
    pthread_mutex_unlock(&m->lock);
    return n;
}

void meter_read(struct meter *m, struct meter_counts *out)
{
    pthread_mutex_lock(&m->lock);
    *out = m->n;
    pthread_mutex_unlock(&m->lock);
}

void meter_begin(struct meter *m, uint64_t n, uint64_t cached)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    if (!m->closed) {
        m->n.prompt_tok += n;
        m->n.cached_tok += cached;
    }
    pthread_mutex_unlock(&m->lock);
}

bool meter_take(struct meter *m, unsigned n)
{
    bool may;

    if (!m)
        return true;
    pthread_mutex_lock(&m->lock);
    may = left(m) >= n;
    if (may)
        m->n.output_tok += n;
    pthread_mutex_unlock(&m->lock);
    return may;
}

void meter_give(struct meter *m, unsigned n)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    BUG_ON(n > m->n.output_tok);
    m->n.output_tok -= n;
    pthread_mutex_unlock(&m->lock);
}

bool meter_is_closed(struct meter *m)
{
    bool closed;

    if (!m)
        return false;
    pthread_mutex_lock(&m->lock);
    closed = m->closed;
    pthread_mutex_unlock(&m->lock);
    return closed;
}

bool meter_is_over(struct meter *m, unsigned n)
{
    bool over;

    if (!m)
        return false;
    pthread_mutex_lock(&m->lock);
    over = m->ended && !m->closed && left(m) < n;
    pthread_mutex_unlock(&m->lock);
    return over;
}
