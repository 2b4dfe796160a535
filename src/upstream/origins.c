/* origins.c - What a pool keeps of each origin of the configuration for as long
 * as it lives: whether libcurl has its addresses, and its parsed URL. */
#include <stdio.h>

#include "base/arena.h"
#include "upstream/pool.h"

/* Longest "host:port" and its NUL; libcurl takes names of 255 bytes. */
#define POOL_HOST_KEY 264

struct pool_host *pool_host_get(struct upstream_pool *p, struct str host,
                                uint16_t port)
{
    char key[POOL_HOST_KEY];
    struct pool_host *h = NULL;
    struct arena *mem;
    int len = snprintf(key, sizeof(key), "%.*s:%u", STR_ARG(host), port);

    if (len <= 0 || (size_t)len >= sizeof(key))
        return NULL;
    HASH_FIND(hh, p->hosts, key, (size_t)len, h);
    if (h)
        return h;
    mem = arena_new(512, 4096);
    h = mem ? arena_alloc(mem, sizeof(*h)) : NULL;
    if (h)
        h->key = arena_printf(mem, "%s", key);
    if (!h || !h->key) {
        arena_free(mem);
        return NULL;
    }
    h->mem = mem;
    HASH_ADD_KEYPTR(hh, p->hosts, h->key, (size_t)len, h);
    if (!MAP_ADDED(h)) {
        arena_free(mem);
        return NULL;
    }
    return h;
}

/* A record for <origin>, with its URL parsed. */
static struct pool_url *url_new(struct str origin)
{
    struct arena *mem = arena_new(512, 4096);
    struct pool_url *u = mem ? arena_alloc(mem, sizeof(*u)) : NULL;

    if (!u) {
        arena_free(mem);
        return NULL;
    }
    u->mem = mem;
    u->text = arena_printf(mem, "%.*s/", STR_ARG(origin));
    u->url = curl_url();
    if (!u->text || !u->url ||
        curl_url_set(u->url, CURLUPART_URL, u->text, 0) != CURLUE_OK) {
        curl_url_cleanup(u->url);
        arena_free(mem);
        return NULL;
    }
    return u;
}

const struct pool_url *pool_url_get(struct upstream_pool *p, struct str origin)
{
    struct pool_url *u = NULL;

    HASH_FIND(hh, p->urls, origin.p, origin.len, u);
    if (u)
        return u;
    u = url_new(origin);
    if (!u)
        return NULL;
    HASH_ADD_KEYPTR(hh, p->urls, u->text, origin.len, u);
    if (!MAP_ADDED(u)) {
        curl_url_cleanup(u->url);
        arena_free(u->mem);
        return NULL;
    }
    return u;
}

void pool_origins_free(struct upstream_pool *p)
{
    struct pool_host *h, *h_next;
    struct pool_url *u, *u_next;

    HASH_ITER(hh, p->hosts, h, h_next)
    {
        HASH_DEL(p->hosts, h);
        arena_free(h->mem);
    }
    HASH_ITER(hh, p->urls, u, u_next)
    {
        HASH_DEL(p->urls, u);
        curl_url_cleanup(u->url);
        arena_free(u->mem);
    }
}
