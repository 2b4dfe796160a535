/* kvswap_write.c - The thread that stores pages: it takes what waits in the
 * order it came, in transactions of many pages; has the file synced now and
 * then; and goes on after whatever the disk does: what could not be written is
 * not stored, and the next page is tried anew. */
#include "engine/kvswap_priv.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"

/* Pages that are handed to the store at once. */
#define BATCH_PAGES 64

/* Between two syncs, and between two looks for dead readers. */
#define SYNC_US  5000000
#define STALE_US 60000000

/* Between two lines about writes that fail; and how long none may fail until
 * all is said to be well. */
#define TELL_US 60000000
#define CALM_US 5000000

/* --- what came of it ----------------------------------------------------- */

static void note_wrote(struct kvswap *w, const struct kv_wrote *wrote)
{
    pthread_mutex_lock(&w->lock);
    w->n.stored_pages += wrote->stored;
    w->n.stored_bytes += (uint64_t)wrote->stored * w->page_bytes;
    w->n.evicted += wrote->evicted;
    w->n.unused += wrote->unused;
    const bool changed =
        kvadmit_learn(&w->admit, wrote->evicted, wrote->unused);
    const bool strict = w->admit.strict;
    pthread_mutex_unlock(&w->lock);
    w->dirty = true;
    if (changed)
        log_note(LOG_ENGINE, "prefix store keeps what is seen %s: name=%s",
                 strict ? "twice" : "once", w->name);
}

/* A transaction failed: tells of the first one, and of one a minute. */
static void note_failure(struct kvswap *w)
{
    const uint64_t now_us = clock_now_us();

    KVSWAP_COUNT(w, write_errors, 1);
    w->failed_us = now_us;
    if (w->failing && now_us - w->told_us < TELL_US)
        return;
    w->failing = true;
    w->told_us = now_us;
    log_warn(LOG_ENGINE, "prefixes cannot be stored: name=%s dir=%s: %s",
             w->name, w->dir, kv_db_last_error(w->db));
}

/* Pages were written: tells when that goes well for a while again. */
static void note_success(struct kvswap *w)
{
    if (!w->failing || clock_now_us() - w->failed_us < CALM_US)
        return;
    w->failing = false;
    atomic_fetch_add(&w->era, 1); /* what failed may be offered again */
    log_note(LOG_ENGINE, "prefixes are stored again: name=%s", w->name);
}

/* See whether the file was opened anew, and what it had is lost. */
static void note_reopened(struct kvswap *w)
{
    const unsigned n = kv_db_reopened(w->db);

    if (n != w->reopened)
        atomic_fetch_add(&w->era, 1);
    w->reopened = n;
}

/* --- work ---------------------------------------------------------------- */

/* Store <n> pages. */
static void write_pages(struct kvswap *w, const struct kv_put *puts, unsigned n)
{
    struct kv_wrote wrote;
    enum err e = kv_db_write(w->db, puts, n, &wrote);

    note_wrote(w, &wrote);
    if (e == ERR_FULL) { /* some were given up: there may be room now */
        e = kv_db_write(w->db, puts, n, &wrote);
        note_wrote(w, &wrote);
    }
    if (e == ERR_OK)
        note_success(w);
    else
        note_failure(w);
}

/* Store the pages at the head of the queue. */
static void take_pages(struct kvswap *w)
{
    struct kvswap_page *pages[BATCH_PAGES];
    struct kv_put puts[BATCH_PAGES];
    struct kvswap_item *i = STAILQ_FIRST(&w->items);
    unsigned n = 0;

    while (i && i->kind == KVSWAP_PAGE && n < BATCH_PAGES) {
        struct kvswap_page *p = (struct kvswap_page *)(void *)i;

        STAILQ_REMOVE_HEAD(&w->items, next);
        pages[n] = p;
        puts[n++] = (struct kv_put){.key = p->key, .payload = p->payload};
        i = STAILQ_FIRST(&w->items);
    }
    if (n > 0)
        write_pages(w, puts, n);
    for (unsigned k = 0; k < n; k++)
        kvswap_page_done(w, pages[k]);
}

static enum err touch(struct kvswap *w, const struct kvswap_touched *t)
{
    pthread_mutex_lock(&w->lock);
    w->n_touches--;
    pthread_mutex_unlock(&w->lock);
    return kv_db_touch(w->db, t->chain, t->n, t->n_hit);
}

/* Do what <i>, which is no page, asks. */
static void take_other(struct kvswap *w, struct kvswap_item *i)
{
    struct kvswap_touched *t = (struct kvswap_touched *)(void *)i;
    enum err e = ERR_OK;

    if (i->kind == KVSWAP_TOUCH)
        e = touch(w, t);
    else if (i->kind == KVSWAP_DROP)
        e = kv_db_drop(w->db, &t->chain[0]);
    else if (i->kind == KVSWAP_PURGE)
        e = kv_db_purge(w->db);
    else
        e = kv_db_sync(w->db);
    if (i->kind == KVSWAP_PURGE && e == ERR_OK) {
        atomic_fetch_add(&w->era, 1);
        log_note(LOG_ENGINE, "prefix store purged: name=%s", w->name);
    }
    if (e == ERR_NOT_FOUND)
        e = ERR_OK;
    w->dirty = w->dirty || e == ERR_OK;
    if (e != ERR_OK)
        note_failure(w);
    free(i);
}

/* Do one piece of what waits; false when nothing does. */
static bool work(struct kvswap *w)
{
    struct kvswap_item *i = STAILQ_FIRST(&w->items);

    if (!i)
        return false;
    if (i->kind == KVSWAP_PAGE) {
        take_pages(w);
        return true;
    }
    STAILQ_REMOVE_HEAD(&w->items, next);
    take_other(w, i);
    return true;
}

/* Sync when it is time; what rests needs no memory. */
static void tick(struct kvswap *w)
{
    const uint64_t age_us = clock_now_us() - w->sync_us;

    if (age_us < (w->dirty ? SYNC_US : STALE_US))
        return;
    if (!w->dirty)
        kvswap_page_trim(w);
    w->dirty = false;
    if (kv_db_sync(w->db) != ERR_OK)
        KVSWAP_COUNT(w, write_errors, 1);
    w->sync_us = clock_now_us();
}

/* --- the thread ---------------------------------------------------------- */

static void on_msg(struct mbox_msg *m, void *arg)
{
    struct kvswap_item *i = MBOX_ENTRY(m, struct kvswap_item, link);
    struct kvswap *w = arg;

    if (i->kind != KVSWAP_WAKE)
        STAILQ_INSERT_TAIL(&w->items, i, next);
}

/* Milliseconds until there is something to do. */
static int sleep_ms(const struct kvswap *w)
{
    const uint64_t at_us = w->sync_us + (w->dirty ? SYNC_US : STALE_US);
    const uint64_t now_us = clock_now_us();

    return at_us > now_us ? (int)((at_us - now_us) / 1000) + 1 : 0;
}

void kvswap_write_run(void *arg)
{
    struct kvswap *w = arg;

    w->sync_us = clock_now_us();
    while (!atomic_load(&w->closing)) {
        struct pollfd p = {.fd = mbox_fd(&w->to_writer), .events = POLLIN};

        mbox_drain(&w->to_writer, 0, on_msg, w);
        tick(w);
        note_reopened(w);
        if (!work(w) && poll(&p, 1, sleep_ms(w)) == -1)
            BUG_ON(errno != EINTR);
    }
    mbox_drain(&w->to_writer, 0, on_msg, w);
    while (work(w))
        continue;
}
