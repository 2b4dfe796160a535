/* kvswap_load.c - The thread that brings pages back. What is asked for is
 * looked up at once, between the pieces of what is being read; those that are
 * read take turns, so that a long text does not hold up a short one. A page
 * that cannot be proved ends its load there, and is dropped. */
#include "engine/kvswap_priv.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "kernels/pool.h"

/* Bytes that one load reads in its turn. */
#define PIECE_BYTES ((size_t)4 << 20)

/* Newer measurements of a rate count so much: 1/4. */
#define LEARN 4

/* Between two lines about damage, of which there may be much at once. */
#define TELL_US 60000000

static void give_back(struct kvswap_load *l)
{
    mbox_push(l->answer, &l->head.link);
}

/* --- finding ------------------------------------------------------------- */

static void find(struct kvswap *w, struct kvswap_load *l)
{
    l->found = 0;
    l->warm = 0;
    if (kv_db_find(w->db, l->chain, l->n, &l->found, &l->warm) != ERR_OK) {
        l->found = 0;
        if (kv_db_is_panicked(w->db))
            kvswap_sync(w);
    }
    pthread_mutex_lock(&w->lock);
    w->n.lookups++;
    w->n.hits += l->found > 0;
    w->n.asked_tokens += (uint64_t)l->n * w->page_tokens;
    w->n.found_tokens += (uint64_t)l->found * w->page_tokens;
    pthread_mutex_unlock(&w->lock);
    give_back(l);
}

/* --- reading ------------------------------------------------------------- */

/* Remember how fast <l> was read, if it was all from memory or all not. */
static void learn(struct kvswap *w, const struct kvswap_load *l)
{
    const uint64_t bytes = (uint64_t)l->done * w->page_bytes;
    const double rate = (double)bytes * 1e6 / (double)(l->us + 1);
    double *mean = NULL;

    pthread_mutex_lock(&w->lock);
    w->n.restored_bytes += bytes;
    w->n.restored_us += l->us;
    if (l->done > 0 && l->warm >= l->from + l->n_to)
        mean = &w->n.warm_bytes_s;
    else if (l->done > 0 && l->warm == 0)
        mean = &w->n.cold_bytes_s;
    if (mean)
        *mean = *mean > 0 ? *mean + (rate - *mean) / LEARN : rate;
    pthread_mutex_unlock(&w->lock);
}

/* Tell of the damage that was met: at once, then of what a minute brings. */
static void tell_bad(struct kvswap *w)
{
    const uint64_t now_us = clock_now_us();

    if (w->n_bad == 0 || (w->bad_told_us > 0 && !atomic_load(&w->closing) &&
                          now_us - w->bad_told_us < TELL_US))
        return;
    log_warn(LOG_ENGINE,
             "stored prefixes are damaged and dropped: name=%s pages=%llu",
             w->name, (unsigned long long)w->n_bad);
    w->n_bad = 0;
    w->bad_told_us = now_us;
}

/* Milliseconds until there is damage to tell of, -1: none is known. */
static int tell_ms(const struct kvswap *w)
{
    const uint64_t past_us = clock_now_us() - w->bad_told_us;

    if (w->n_bad == 0)
        return -1;
    return past_us < TELL_US ? (int)((TELL_US - past_us) / 1000) + 1 : 0;
}

/* The load of <l> is over. */
static void finish(struct kvswap *w, struct kvswap_load *l)
{
    TAILQ_REMOVE(&w->loads, l, link);
    w->n_bad += l->bad;
    learn(w, l);
    give_back(l);
}

/* The page of <hash> is no good. */
static void condemn(struct kvswap *w, struct kvswap_load *l,
                    const struct digest *hash)
{
    l->bad++;
    KVSWAP_COUNT(w, failed, 1);
    kvswap_drop(w, hash);
}

/* What came of reading a page. */
struct read {
    enum err e;
    uint32_t cost_us;
};

/* Pages <at> .. <at>+<n>-1 of what <l> is to read, read at once. */
struct batch {
    struct kvswap *w;
    const struct kvswap_load *l;
    unsigned at, n;
    struct read got[KVSWAP_READERS_MAX];
};

/* Read one page of a batch. Any of the readers. */
static void read_item(void *arg, unsigned item, unsigned worker)
{
    struct batch *b = arg;
    const struct kvswap *w = b->w;
    const struct kvswap_load *l = b->l;
    const unsigned i = l->from + b->at + item;
    struct kv_key key = {.hash = l->chain[i],
                         .before = i > 0 ? l->chain[i - 1] : l->before,
                         .index = l->first + i,
                         .n_tokens = w->page_tokens,
                         .tokens = l->tokens + (size_t)i * w->page_tokens};

    (void)worker;
    b->got[item].e = kv_db_read(w->db, &key, l->to[i], &b->got[item].cost_us);
}

/* Take page <item> of <b> in; what came of it. */
static enum err take_item(struct batch *b, struct kvswap_load *l, unsigned item)
{
    struct kvswap *w = b->w;
    const struct read *got = &b->got[item];

    if (got->e == ERR_OK)
        return ERR_OK;
    if (kv_db_is_panicked(w->db))
        kvswap_sync(w);
    else if (got->e != ERR_NOT_FOUND)
        condemn(w, l, &l->chain[l->from + b->at + item]);
    return got->e;
}

/* Read the next pages of <l>, as many as there are readers, from <at> on. */
static void read_batch(struct kvswap *w, const struct kvswap_load *l,
                       unsigned at, struct batch *out)
{
    const unsigned left = l->n_to - at;

    *out = (struct batch){.w = w, .l = l, .at = at};
    out->n = left < w->n_readers ? left : w->n_readers;
    if (w->readers)
        pool_run(w->readers, read_item, out, out->n);
    else
        read_item(out, 0, 0);
}

/* The load ends before a bad page. Those behind it are as bad, maybe: they
 * would not be stored anew, being there. What is read of them is not used. */
static void prove_rest(struct kvswap *w, struct kvswap_load *l)
{
    for (unsigned at = l->done + 1; at < l->n_to;) {
        struct batch b;

        if (atomic_load(&l->cancelled) || kv_db_is_panicked(w->db))
            return;
        read_batch(w, l, at, &b);
        for (unsigned i = 0; i < b.n; i++)
            (void)take_item(&b, l, i);
        at += b.n;
    }
}

/* Read the next pages of <l>; false when it ends here. */
static bool read_next(struct kvswap *w, struct kvswap_load *l)
{
    enum err e = ERR_OK;
    struct batch b;

    read_batch(w, l, l->done, &b);
    for (unsigned i = 0; i < b.n && e == ERR_OK; i++) {
        e = take_item(&b, l, i);
        l->done += e == ERR_OK;
        l->cost_us += e == ERR_OK ? b.got[i].cost_us : 0;
    }
    if (e != ERR_OK && e != ERR_NOT_FOUND)
        prove_rest(w, l);
    return e == ERR_OK;
}

/* Read a piece of the load whose turn it is. */
static void read_piece(struct kvswap *w)
{
    struct kvswap_load *l = TAILQ_FIRST(&w->loads);
    const uint64_t from_us = clock_now_us();
    const unsigned begin = l->done;
    bool more = true;

    while (more && (l->done - begin) * w->page_bytes < PIECE_BYTES)
        more =
            l->done < l->n_to && !atomic_load(&l->cancelled) && read_next(w, l);
    l->us += clock_now_us() - from_us;
    if (!more || l->done == l->n_to) {
        finish(w, l);
        return;
    }
    TAILQ_REMOVE(&w->loads, l, link);
    TAILQ_INSERT_TAIL(&w->loads, l, link);
}

/* --- the thread ---------------------------------------------------------- */

static void on_msg(struct mbox_msg *m, void *arg)
{
    struct kvswap *w = arg;
    struct kvswap_load *l;

    if (m == &w->wake_loader)
        return;
    l = (struct kvswap_load *)(void *)MBOX_ENTRY(m, struct gen_head, link);
    if (l->stage == KVSWAP_FIND) {
        find(w, l);
        return;
    }
    l->done = 0;
    l->bad = 0;
    l->us = 0;
    l->cost_us = 0;
    TAILQ_INSERT_TAIL(&w->loads, l, link);
}

void kvswap_load_run(void *arg)
{
    struct kvswap *w = arg;

    while (!atomic_load(&w->closing) || !TAILQ_EMPTY(&w->loads)) {
        struct pollfd p = {.fd = mbox_fd(&w->to_loader), .events = POLLIN};

        mbox_drain(&w->to_loader, 0, on_msg, w);
        tell_bad(w);
        if (!TAILQ_EMPTY(&w->loads))
            read_piece(w);
        else if (!atomic_load(&w->closing) && poll(&p, 1, tell_ms(w)) == -1)
            BUG_ON(errno != EINTR);
    }
    mbox_drain(&w->to_loader, 0, on_msg, w);
    tell_bad(w);
}

void kvswap_load(struct kvswap *w, struct kvswap_load *l)
{
    mbox_push(&w->to_loader, &l->head.link);
}
