/* target.c - The table of targets. Counters are atomics since every worker
 * touches them on each request; the rest stands behind one mutex per target.
 *
 * Locks: table lock guards the list (rank above target locks); a target's lock
 * guards its last_error and the growth of its keys; locks of breakers are
 * below it. */
#include "serve/target.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "conf/conf.h"
#include "serve/target_priv.h"

struct target_table {
    pthread_mutex_t lock; /* guards the list's growth */
    struct target *first; /* owned; oldest first */
};

struct target_table *target_table_new(void)
{
    struct target_table *t = calloc(1, sizeof(*t));

    if (t)
        pthread_mutex_init(&t->lock, NULL);
    return t;
}

void target_table_free(struct target_table *t)
{
    struct target *g;

    if (!t)
        return;
    g = t->first;
    while (g) {
        struct target *next = g->next;

        target_keys_free(g);
        breaker_fini(&g->gate.breaker);
        pthread_mutex_destroy(&g->queue_lock);
        pthread_mutex_destroy(&g->lock);
        free(g->name);
        free(g);
        g = next;
    }
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static struct target *target_new(struct str name)
{
    struct target *g = calloc(1, sizeof(*g));

    if (!g)
        return NULL;
    g->name = strndup(name.p, name.len);
    if (!g->name) {
        free(g);
        return NULL;
    }
    pthread_mutex_init(&g->lock, NULL);
    pthread_mutex_init(&g->queue_lock, NULL);
    queue_init(&g->queue);
    breaker_init(&g->gate.breaker);
    digest_random(&g->seed, sizeof(g->seed));
    return g;
}

/* The link that points at the target called <name>, or at NULL at the end. */
static struct target **find_link(struct target_table *t, struct str name)
{
    struct target **at = &t->first;

    while (*at && !str_eq(str_from((*at)->name), name))
        at = &(*at)->next;
    return at;
}

struct target *target_get(struct target_table *t, struct str name)
{
    struct target **at, *g;

    pthread_mutex_lock(&t->lock);
    at = find_link(t, name);
    if (!*at)
        *at = target_new(name);
    g = *at;
    pthread_mutex_unlock(&t->lock);
    return g;
}

struct target *target_find(struct target_table *t, struct str name)
{
    struct target *g;

    pthread_mutex_lock(&t->lock);
    g = *find_link(t, name);
    pthread_mutex_unlock(&t->lock);
    return g;
}

/* The <i>th target, or NULL. */
static struct target *target_at(struct target_table *t, unsigned i)
{
    struct target *g;

    pthread_mutex_lock(&t->lock);
    g = t->first;
    while (g && i-- > 0)
        g = g->next;
    pthread_mutex_unlock(&t->lock);
    return g;
}

static uint64_t rest_of(const struct target_gate *g, uint64_t now_ms)
{
    const uint64_t until_ms = atomic_load(&g->rest_until_ms);

    return until_ms > now_ms ? until_ms - now_ms : 0;
}

bool target_view(struct target_table *t, unsigned i, uint64_t now_ms,
                 struct target_view *out)
{
    struct target *g = target_at(t, i);

    if (!g)
        return false;
    *out = (struct target_view){
        .name = str_from(g->name),
        .in_flight = atomic_load(&g->in_flight),
        .requests = atomic_load(&g->requests),
        .failures = atomic_load(&g->failures),
        .draining = atomic_load(&g->draining),
        .last_ok_wall_ms = atomic_load(&g->last_ok_wall_ms),
        .rest_ms = rest_of(&g->gate, now_ms),
        .checks = atomic_load(&g->checks),
        .checks_failed = atomic_load(&g->checks_failed),
        .queued = atomic_load(&g->waiting),
        .waits = atomic_load(&g->waits),
        .waited_ms = atomic_load(&g->waited_ms),
        .refused = atomic_load(&g->refused),
    };
    breaker_see(&g->gate.breaker, now_ms, &out->breaker);
    pthread_mutex_lock(&g->lock);
    memcpy(out->last_error, g->last_error, sizeof(out->last_error));
    out->last_error_wall_ms = g->last_error_wall_ms;
    pthread_mutex_unlock(&g->lock);
    return true;
}

void target_drain(struct target *t, bool draining)
{
    atomic_store(&t->draining, draining);
    log_note(LOG_ROUTE, "target %s: name=%s", draining ? "drains" : "resumes",
             t->name);
    if (draining)
        target_put_off(t, clock_mono_ms());
}

bool target_is_open(const struct target *t)
{
    return !atomic_load_explicit(&t->draining, memory_order_relaxed);
}

static void gate_reset(struct target_gate *g, uint64_t now_ms)
{
    breaker_reset(&g->breaker, now_ms);
    atomic_store(&g->rest_until_ms, 0);
}

void target_reset(struct target *t, uint64_t now_ms)
{
    gate_reset(&t->gate, now_ms);
    for (unsigned i = 0; i < atomic_load(&t->n_keys); i++)
        gate_reset(&atomic_load(&t->keys[i])->gate, now_ms);
}

void target_pace_note(const struct target_pass *p, uint64_t latency_us,
                      uint64_t now_ms)
{
    if (p->in)
        pick_pace_note(&p->t->pace, latency_us, atomic_load(&p->t->in_flight),
                       now_ms);
}

void target_see(const struct target *t, const struct conf_upstream *up,
                uint64_t now_ms, struct pick_view *out)
{
    out->in_flight = atomic_load_explicit(&t->in_flight, memory_order_relaxed);
    out->limit = up ? up->max_in_flight : 0;
    pick_pace_see(&t->pace, now_ms, out);
}
