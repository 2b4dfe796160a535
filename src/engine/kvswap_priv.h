/* kvswap_priv.h - What kvswap*.c share: one open namespace and its two
 * threads.
 *
 *   kvswap.c       opening, offers, numbers
 *   kvswap_write.c the thread that stores
 *   kvswap_load.c  the thread that brings back */
#ifndef TG_ENGINE_KVSWAP_PRIV_H
#define TG_ENGINE_KVSWAP_PRIV_H

#include "base/mbox.h"
#include "base/thr.h"
#include "engine/kvswap.h"
#include "store/kv_db.h"

#include <pthread.h>
#include <sys/queue.h>

/* What the writer is asked. */
enum kvswap_kind {
    KVSWAP_PAGE = 0, /* a struct kvswap_page */
    KVSWAP_TOUCH,    /* a struct kvswap_touched */
    KVSWAP_DROP,     /* a struct kvswap_touched of one hash */
    KVSWAP_PURGE,    /* a struct kvswap_item alone */
    KVSWAP_SYNC,     /* a struct kvswap_item alone */
    KVSWAP_WAKE,     /* nothing: look at <closing> */
};

/* What every message to the writer begins with. */
struct kvswap_item {
    struct mbox_msg link;
    STAILQ_ENTRY(kvswap_item) next;
    enum kvswap_kind kind;
};

STAILQ_HEAD(kvswap_items, kvswap_item);

/* A page on its way to the disk. */
struct kvswap_page {
    struct kvswap_item item; /* first */
    SLIST_ENTRY(kvswap_page) spare;
    struct kv_key key; /* tokens: those below */
    int32_t tokens[KV_TOKENS_MAX];
    void *payload; /* (page_bytes) owned */
};

/* Hashes of pages that were used, or of one that is to be dropped. */
struct kvswap_touched {
    struct kvswap_item item; /* first */
    unsigned n, n_hit;
    struct digest chain[]; /* (n) */
};

/* A load that is read piece by piece. */
TAILQ_HEAD(kvswap_loads, kvswap_load);

struct krn_pool;

/* An open namespace. */
struct kvswap {
    struct kv_db *db; /* owned */
    struct digest ns;
    char *name, *root, *dir; /* owned */
    size_t page_bytes;
    unsigned page_tokens;
    uint64_t max_bytes;
    unsigned most_pages; /* of the queue */
    _Atomic unsigned refs;
    _Atomic bool closing;
    _Atomic unsigned era;     /* see kvswap_era() */
    struct krn_pool *readers; /* owned, the loader's; NULL = itself alone */
    unsigned n_readers;       /* 1 .. KVSWAP_READERS_MAX */
    const struct kvswap_memory *memory; /* borrowed; NULL = the process's */
    void *memory_arg;                   /* borrowed */
    struct thr writer, loader;
    struct mbox to_writer, to_loader;
    struct kvswap_item wake_writer;
    struct mbox_msg wake_loader;

    /* The writer's own. */
    struct kvswap_items items; /* taken from the mailbox */
    bool dirty;                /* something was written since the last sync */
    bool failing;              /* transactions fail, of late */
    unsigned reopened;         /* how often the file was */
    uint64_t failed_us;        /* when the last one did */
    uint64_t told_us;          /* when that was logged */
    uint64_t sync_us;          /* of the last sync */

    /* The loader's own. */
    struct kvswap_loads loads; /* to be read, in turns */
    uint64_t n_bad;            /* pages that were damaged, not told yet */
    uint64_t bad_told_us;      /* when others were */

    pthread_mutex_t lock; /* guards what follows; innermost */
    struct kvadmit admit;
    SLIST_HEAD(, kvswap_page) spares; /* pages without a text */
    unsigned n_queued;                /* pages offered and not written yet */
    unsigned n_touches;               /* likewise texts that were used */
    struct kvswap_stats n;            /* counters alone */
};

/* Add <more> to the counter <field> of <w>. */
#define KVSWAP_COUNT(w, field, more)                                           \
    do {                                                                       \
        pthread_mutex_lock(&(w)->lock);                                        \
        (w)->n.field += (more);                                                \
        pthread_mutex_unlock(&(w)->lock);                                      \
    } while (0)

/* Bodies of the threads; <arg> is the struct kvswap. */
void kvswap_write_run(void *arg);
void kvswap_load_run(void *arg);

/* Have the writer drop the page of <hash>, soon. Any thread. */
void kvswap_drop(struct kvswap *w, const struct digest *hash);

/* Have the writer sync, which opens a file anew that is of no use. Any thread.
 */
void kvswap_sync(struct kvswap *w);

/* Free the pages that were put by. */
void kvswap_page_trim(struct kvswap *w);

#endif
