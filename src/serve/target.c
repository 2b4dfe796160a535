/* target.c - See target.h. Counters are atomics since every worker touches
 * them on each request; the rest stands behind one mutex per target.
 *
 * Locks: table lock guards the list (rank above target locks); a target's lock
 * guards its last_error (leaf). */
#include "serve/target.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

struct target {
    struct target *next; /* owned by the table; never unlinked */
    char *name;          /* owned, NUL-terminated */
    _Atomic uint64_t in_flight;
    _Atomic uint64_t requests;
    _Atomic uint64_t failures;
    _Atomic uint64_t last_ok_wall_ms;
    _Atomic unsigned turn; /* of keys */
    _Atomic bool draining;
    _Atomic uint64_t rest_until_ms[TARGET_KEYS_MAX]; /* per key */
    pthread_mutex_t lock;                            /* guards what follows */
    char last_error[160];
    uint64_t last_error_wall_ms;
};

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

bool target_view(struct target_table *t, unsigned i, struct target_view *out)
{
    struct target *g;

    pthread_mutex_lock(&t->lock);
    g = t->first;
    while (g && i-- > 0)
        g = g->next;
    pthread_mutex_unlock(&t->lock);
    if (!g)
        return false;
    *out = (struct target_view){
        .name = str_from(g->name),
        .in_flight = atomic_load(&g->in_flight),
        .requests = atomic_load(&g->requests),
        .failures = atomic_load(&g->failures),
        .draining = atomic_load(&g->draining),
        .last_ok_wall_ms = atomic_load(&g->last_ok_wall_ms),
    };
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
}

bool target_is_open(const struct target *t)
{
    return !atomic_load_explicit(&t->draining, memory_order_relaxed);
}

enum err target_enter(struct target *t, uint64_t max_in_flight)
{
    uint64_t before = atomic_fetch_add(&t->in_flight, 1);

    if (max_in_flight > 0 && before >= max_in_flight) {
        atomic_fetch_sub(&t->in_flight, 1);
        return ERR_OVERLOADED;
    }
    atomic_fetch_add_explicit(&t->requests, 1, memory_order_relaxed);
    return ERR_OK;
}

static void note_error(struct target *t, enum err e, const char *text)
{
    atomic_fetch_add_explicit(&t->failures, 1, memory_order_relaxed);
    pthread_mutex_lock(&t->lock);
    snprintf(t->last_error, sizeof(t->last_error), "%s: %s", err_name(e),
             text ? text : err_row(e)->message);
    t->last_error_wall_ms = clock_wall_ms();
    pthread_mutex_unlock(&t->lock);
}

void target_leave(struct target *t, enum err e, const char *text)
{
    atomic_fetch_sub(&t->in_flight, 1);
    if (e == ERR_OK)
        atomic_store_explicit(&t->last_ok_wall_ms, clock_wall_ms(),
                              memory_order_relaxed);
    else if (e != ERR_CLIENT_GONE && e != ERR_DRAINING)
        note_error(t, e, text);
}

unsigned target_key_next(struct target *t, unsigned n_keys, uint64_t now_ms)
{
    unsigned first =
        atomic_fetch_add_explicit(&t->turn, 1, memory_order_relaxed) % n_keys;

    for (unsigned i = 0; i < n_keys; i++) {
        unsigned key = (first + i) % n_keys;

        if (key >= TARGET_KEYS_MAX ||
            atomic_load_explicit(&t->rest_until_ms[key],
                                 memory_order_relaxed) <= now_ms)
            return key;
    }
    return first;
}

void target_key_rest(struct target *t, unsigned key, uint64_t until_ms)
{
    uint64_t was;

    if (key >= TARGET_KEYS_MAX)
        return;
    was = atomic_load(&t->rest_until_ms[key]);
    while (was < until_ms && !atomic_compare_exchange_weak(
                                 &t->rest_until_ms[key], &was, until_ms))
        ;
}
