/* kvswap.c - Opening a namespace for an engine, and what schedulers may offer:
 * as many pages as the queue has room for, of those that are worth it. */
#include "engine/kvswap_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "kernels/pool.h"

/* Pages that wait to be written: so many bytes, and at least so many pages. */
#define QUEUE_BYTES ((size_t)64 << 20)
#define QUEUE_PAGES 16

/* Texts that were used and wait to be told: at most so many. */
#define TOUCHES 1024

/* Bytes of the name of a namespace's directory. */
#define DIR_BYTES 8

_Static_assert(KRN_PAGE_TOKENS_MAX <= KV_TOKENS_MAX, "a header has room");

/* --- open and close ------------------------------------------------------ */

static enum err make_root(const char *root, struct buf *why)
{
    if (mkdir(root, 0700) == 0 || errno == EEXIST)
        return ERR_OK;
    if (buf_printf(why, "%s cannot be made: %s", root, strerror(errno)) !=
        ERR_OK)
        return ERR_NOMEM;
    return ERR_IO;
}

static enum err open_db(struct kvswap *w, const struct kvswap_opts *o,
                        struct buf *why)
{
    const struct kv_db_opts opts = {.dir = w->dir,
                                    .ns = o->ns,
                                    .about = o->about,
                                    .payload_bytes = o->page_bytes,
                                    .root_bytes = o->root_bytes,
                                    .max_bytes = o->max_bytes};

    ERR_TRY(make_root(w->root, why));
    return kv_db_open(&opts, &w->db, why);
}

/* All that is no thread. */
static enum err fill(struct kvswap *w, const struct kvswap_opts *o,
                     struct buf *why)
{
    char hex[2 * DIR_BYTES + 1];

    digest_hex(o->ns.b, DIR_BYTES, hex);
    w->name = strndup(o->name.p, o->name.len);
    w->root = strdup(o->root);
    if (!w->name || !w->root || asprintf(&w->dir, "%s/%s", o->root, hex) < 0) {
        w->dir = NULL;
        return ERR_NOMEM;
    }
    w->ns = o->ns;
    w->page_bytes = o->page_bytes;
    w->page_tokens = o->page_tokens;
    w->max_bytes = o->max_bytes;
    w->memory = o->memory;
    w->memory_arg = o->memory_arg;
    w->n_readers = o->readers < 1 ? 1 : o->readers;
    if (w->n_readers > KVSWAP_READERS_MAX)
        w->n_readers = KVSWAP_READERS_MAX;
    w->most_pages =
        (unsigned)((o->queue_bytes > 0 ? o->queue_bytes : QUEUE_BYTES) /
                   o->page_bytes);
    if (w->most_pages < QUEUE_PAGES)
        w->most_pages = QUEUE_PAGES;
    ERR_TRY(mbox_init(&w->to_writer));
    ERR_TRY(mbox_init(&w->to_loader));
    ERR_TRY(kvadmit_init(&w->admit, o->admission, o->write_bytes));
    return open_db(w, o, why);
}

static enum err start(struct kvswap *w)
{
    if (w->n_readers > 1 &&
        pool_open(w->n_readers, 0, false, &w->readers) != KRN_OK)
        return ERR_IO;
    ERR_TRY(thr_start(&w->writer, "kv-writer", kvswap_write_run, w));
    return thr_start(&w->loader, "kv-loader", kvswap_load_run, w);
}

enum err kvswap_open(const struct kvswap_opts *o, struct kvswap **out,
                     struct buf *why)
{
    struct kvswap *w = calloc(1, sizeof(*w));
    enum err err;

    BUG_ON(o->page_tokens == 0 || o->page_tokens > KRN_PAGE_TOKENS_MAX);
    if (!w)
        return ERR_NOMEM;
    pthread_mutex_init(&w->lock, NULL);
    STAILQ_INIT(&w->items);
    TAILQ_INIT(&w->loads);
    SLIST_INIT(&w->spares);
    w->to_writer.fd = -1;
    w->to_loader.fd = -1;
    w->wake_writer.kind = KVSWAP_WAKE;
    atomic_init(&w->refs, 1);
    atomic_init(&w->era, 1);
    err = fill(w, o, why);
    if (err == ERR_OK)
        err = start(w);
    if (err != ERR_OK) {
        kvswap_close(w);
        return err;
    }
    *out = w;
    return ERR_OK;
}

struct kvswap *kvswap_share(struct kvswap *w, const struct digest *ns)
{
    if (!w || memcmp(w->ns.b, ns->b, sizeof(ns->b)) != 0)
        return NULL;
    atomic_fetch_add(&w->refs, 1);
    return w;
}

/* What woke a thread that was awake: it is a part of <w>. */
static void on_wake(struct mbox_msg *m, void *arg)
{
    const struct kvswap *w = arg;

    BUG_ON(m != &w->wake_loader && m != &w->wake_writer.link);
}

void kvswap_close(struct kvswap *w)
{
    if (!w || atomic_fetch_sub(&w->refs, 1) > 1)
        return;
    atomic_store(&w->closing, true);
    if (w->to_loader.fd != -1)
        mbox_push(&w->to_loader, &w->wake_loader);
    thr_join(&w->loader);
    if (w->to_writer.fd != -1)
        mbox_push(&w->to_writer, &w->wake_writer.link);
    thr_join(&w->writer);
    mbox_drain(&w->to_loader, 0, on_wake, w);
    mbox_drain(&w->to_writer, 0, on_wake, w);
    pool_close(w->readers);
    kv_db_close(w->db);
    kvswap_page_trim(w);
    kvadmit_fini(&w->admit);
    mbox_fini(&w->to_writer);
    mbox_fini(&w->to_loader);
    pthread_mutex_destroy(&w->lock);
    free(w->name);
    free(w->root);
    free(w->dir);
    free(w);
}

unsigned kvswap_era(struct kvswap *w)
{
    return atomic_load(&w->era);
}

/* --- offers -------------------------------------------------------------- */

/* Whether the page of <hash> is to be stored now; counts why not. With the lock
 * held. */
static bool is_welcome(struct kvswap *w, const struct digest *hash)
{
    if (w->n_queued >= w->most_pages) {
        w->n.dropped_queue++;
        return false;
    }
    if (!kvadmit_wants(&w->admit, hash)) {
        w->n.dropped_admission++;
        return false;
    }
    if (!kvadmit_spend(&w->admit, clock_now_us() / 60000000, w->page_bytes)) {
        w->n.dropped_budget++;
        return false;
    }
    return true;
}

/* A page to fill: one that was put by, or NULL. With the lock held. */
static struct kvswap_page *spare_take(struct kvswap *w)
{
    struct kvswap_page *p = SLIST_FIRST(&w->spares);

    if (p)
        SLIST_REMOVE_HEAD(&w->spares, spare);
    return p;
}

static void *payload_get(const struct kvswap *w)
{
    const size_t bytes = (w->page_bytes + 4095) / 4096 * 4096;

    return w->memory ? w->memory->get(w->memory_arg, bytes)
                     : aligned_alloc(4096, bytes);
}

static void payload_put(const struct kvswap *w, void *p)
{
    if (w->memory)
        w->memory->put(w->memory_arg, p);
    else
        free(p);
}

static struct kvswap_page *page_new(const struct kvswap *w)
{
    struct kvswap_page *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->payload = payload_get(w);
    if (p->payload)
        return p;
    free(p);
    return NULL;
}

void kvswap_page_done(struct kvswap *w, struct kvswap_page *p)
{
    pthread_mutex_lock(&w->lock);
    SLIST_INSERT_HEAD(&w->spares, p, spare);
    w->n_queued--;
    pthread_mutex_unlock(&w->lock);
}

void kvswap_page_trim(struct kvswap *w)
{
    struct kvswap_page *p;

    do {
        pthread_mutex_lock(&w->lock);
        p = spare_take(w);
        pthread_mutex_unlock(&w->lock);
        if (p)
            payload_put(w, p->payload);
        free(p);
    } while (p);
}

struct kvswap_page *kvswap_offer(struct kvswap *w, const struct kv_key *key,
                                 void **room_out)
{
    struct kvswap_page *p = NULL;

    pthread_mutex_lock(&w->lock);
    const bool welcome = is_welcome(w, &key->hash);
    if (welcome) {
        w->n_queued++;
        p = spare_take(w);
    }
    pthread_mutex_unlock(&w->lock);
    if (!welcome)
        return NULL;
    if (!p)
        p = page_new(w);
    if (!p) {
        pthread_mutex_lock(&w->lock);
        w->n_queued--;
        w->n.dropped_queue++;
        pthread_mutex_unlock(&w->lock);
        return NULL;
    }
    memcpy(p->tokens, key->tokens, w->page_tokens * sizeof(*p->tokens));
    p->key = *key;
    p->key.tokens = p->tokens;
    p->item.kind = KVSWAP_PAGE;
    *room_out = p->payload;
    return p;
}

void kvswap_push(struct kvswap *w, struct kvswap_page *p)
{
    mbox_push(&w->to_writer, &p->item.link);
}

/* --- other messages ------------------------------------------------------ */

/* Hand <n> hashes to the writer; false without memory. */
static bool push_hashes(struct kvswap *w, enum kvswap_kind kind,
                        const struct digest *chain, unsigned n, unsigned n_hit)
{
    struct kvswap_touched *t = malloc(sizeof(*t) + n * sizeof(*chain));

    if (!t)
        return false;
    t->item.kind = kind;
    t->n = n;
    t->n_hit = n_hit;
    memcpy(t->chain, chain, n * sizeof(*chain));
    mbox_push(&w->to_writer, &t->item.link);
    return true;
}

void kvswap_touch(struct kvswap *w, const struct digest *chain, unsigned n,
                  unsigned n_hit)
{
    pthread_mutex_lock(&w->lock);
    const bool room = w->n_touches < TOUCHES;
    w->n_touches += room;
    pthread_mutex_unlock(&w->lock);
    if (!room || push_hashes(w, KVSWAP_TOUCH, chain, n, n_hit))
        return;
    pthread_mutex_lock(&w->lock);
    w->n_touches--; /* else room would be lost with every message that was */
    pthread_mutex_unlock(&w->lock);
}

void kvswap_drop(struct kvswap *w, const struct digest *hash)
{
    /* without memory it is found bad again, and dropped then */
    (void)push_hashes(w, KVSWAP_DROP, hash, 1, 0);
}

/* Hand a message without more to the writer; false without memory. */
static bool push_kind(struct kvswap *w, enum kvswap_kind kind)
{
    struct kvswap_item *i = calloc(1, sizeof(*i));

    if (!i)
        return false;
    i->kind = kind;
    mbox_push(&w->to_writer, &i->link);
    return true;
}

void kvswap_purge(struct kvswap *w)
{
    if (!push_kind(w, KVSWAP_PURGE))
        log_warn(LOG_ENGINE, "no memory to purge the prefix store: name=%s",
                 w->name);
}

void kvswap_sync(struct kvswap *w)
{
    /* without memory, it happens some time later */
    (void)push_kind(w, KVSWAP_SYNC);
}

/* --- numbers ------------------------------------------------------------- */

void kvswap_read(struct kvswap *w, struct kvswap_stats *out)
{
    struct kv_db_stats s;

    pthread_mutex_lock(&w->lock);
    *out = w->n;
    out->queued_bytes = (uint64_t)w->n_queued * w->page_bytes;
    pthread_mutex_unlock(&w->lock);
    out->max_bytes = w->max_bytes;
    if (kv_db_stats(w->db, &s) != ERR_OK)
        return;
    out->pages = s.pages;
    out->max_pages = s.max_pages;
    out->bytes = s.bytes;
}

double kvswap_expect_s(struct kvswap *w, unsigned pages, unsigned warm)
{
    const double bytes = (double)w->page_bytes;
    double warm_s, cold_s;

    if (warm > pages)
        warm = pages;
    pthread_mutex_lock(&w->lock);
    const double warm_rate = w->n.warm_bytes_s;
    const double cold_rate = w->n.cold_bytes_s;
    pthread_mutex_unlock(&w->lock);
    if ((warm > 0 && warm_rate <= 0) || (pages > warm && cold_rate <= 0))
        return 0;
    warm_s = warm > 0 ? warm * bytes / warm_rate : 0;
    cold_s = pages > warm ? (pages - warm) * bytes / cold_rate : 0;
    return warm_s + cold_s;
}

void kvswap_count(struct kvswap *w, unsigned found, unsigned restored,
                  uint64_t saved_us)
{
    pthread_mutex_lock(&w->lock);
    w->n.restored_tokens += restored;
    w->n.saved_us += saved_us;
    w->n.restores += restored > 0;
    if (restored == 0) {
        w->n.recomputes++;
        w->n.recomputed_tokens += found;
    }
    pthread_mutex_unlock(&w->lock);
}
