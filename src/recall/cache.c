/* cache.c - See cache.h. */
#include "recall/cache.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "conf/conf.h"
#include "recall/flight.h"
#include "recall/reqkey.h"
#include "recall/weights.h"
#include "store/cache_store.h"

#define NAME "cache.key"

/* Longest path of the store's directory. */
#define PATH_BYTES 4352

/* What a record has beside the body, at most, of one with a usual number of
 * frames. */
#define RECORD_EXTRA (64 * 1024)

/* A list of what is left out, and what became of it. */
struct cache_skip {
    struct cache_skip *next;
    struct canon_skip *skip; /* owned */
    size_t n;
    struct str paths[]; /* owned bytes */
};

static bool is_list(const struct cache_skip *s, const struct conf_cache *cc)
{
    if (s->n != cc->n_ignore)
        return false;
    for (size_t i = 0; i < s->n; i++)
        if (!str_eq(s->paths[i], cc->ignore[i]))
            return false;
    return true;
}

static void skip_free(struct cache_skip *s)
{
    reqkey_skip_free(s->skip);
    for (size_t i = 0; i < s->n; i++)
        free((void *)(uintptr_t)s->paths[i].p);
    free(s);
}

static struct cache_skip *skip_new(const struct conf_cache *cc)
{
    struct cache_skip *s =
        calloc(1, sizeof(*s) + cc->n_ignore * sizeof(s->paths[0]));

    if (!s)
        return NULL;
    for (; s->n < cc->n_ignore; s->n++) {
        const struct str from = cc->ignore[s->n];
        char *copy = malloc(from.len + 1);

        if (!copy) {
            skip_free(s);
            return NULL;
        }
        memcpy(copy, from.p, from.len);
        s->paths[s->n] = str_of(copy, from.len);
    }
    if (reqkey_skip_new(s->paths, s->n, &s->skip) == ERR_OK)
        return s;
    skip_free(s);
    return NULL;
}

static struct cache_skip *skip_find(struct cache *c,
                                    const struct conf_cache *cc)
{
    struct cache_skip *s =
        atomic_load_explicit(&c->skips, memory_order_acquire);

    while (s && !is_list(s, cc))
        s = s->next;
    return s;
}

const struct canon_skip *cache_skip(struct cache *c, const struct conf *conf)
{
    struct cache_skip *s = skip_find(c, &conf->cache);

    if (s)
        return s->skip;
    pthread_mutex_lock(&c->skips_lock);
    s = skip_find(c, &conf->cache);
    if (!s)
        s = skip_new(&conf->cache);
    if (s && !skip_find(c, &conf->cache)) {
        s->next = atomic_load(&c->skips);
        atomic_store_explicit(&c->skips, s, memory_order_release);
    }
    pthread_mutex_unlock(&c->skips_lock);
    return s ? s->skip : NULL;
}

static void store_open(struct cache *c, const struct conf *conf)
{
    char dir[PATH_BYTES];
    const struct cache_store_opts opts = {
        .dir = dir,
        .max_bytes = conf->cache.size_bytes,
        .max_entry_bytes = conf->cache.max_entry_bytes + RECORD_EXTRA,
    };
    enum err e = ERR_RANGE;
    int n = snprintf(dir, sizeof(dir), "%.*s/cache", STR_ARG(conf->state_dir));

    if (n > 0 && n < (int)sizeof(dir))
        e = cache_store_open(&opts, &c->store);
    if (e != ERR_OK)
        log_err(LOG_MAIN, "replies are not stored: dir=%s: %s", dir,
                err_name(e));
}

enum err cache_open(const struct conf *conf, unsigned n_workers,
                    struct cache **out, struct buf *why)
{
    struct cache *c = calloc(1, sizeof(*c));
    enum err e;

    if (!c)
        return ERR_NOMEM;
    c->n_workers = n_workers;
    c->weights = weights_mark(conf);
    pthread_mutex_init(&c->skips_lock, NULL);
    c->flights = flights_new(n_workers);
    e = c->flights ? key_file_get(conf->state_dir.p, NAME, c->secret)
                   : ERR_NOMEM;
    if (e != ERR_OK) {
        const int system_errno = errno;

        if (e != ERR_NOMEM &&
            buf_printf(why,
                       "the secret of stored replies cannot be read or made: "
                       "file=%s/" NAME ": %s",
                       conf->state_dir.p,
                       e == ERR_CORRUPT ? "it is too short"
                                        : strerror(system_errno)) != ERR_OK)
            e = ERR_NOMEM;
        cache_close(c);
        return e;
    }
    if (conf->cache.responses)
        store_open(c, conf);
    *out = c;
    return ERR_OK;
}

void cache_close(struct cache *c)
{
    struct cache_skip *s, *next;

    if (!c)
        return;
    for (s = atomic_load(&c->skips); s; s = next) {
        next = s->next;
        skip_free(s);
    }
    pthread_mutex_destroy(&c->skips_lock);
    cache_store_close(c->store);
    flights_free(c->flights);
    digest_wipe(c->secret, sizeof(c->secret));
    free(c);
}
