/* cache_store.h - Recorded replies on disk, found by what they answer: one LMDB
 * environment, one thread that writes it, readers of any thread. It is a cache:
 * what is damaged is a miss, what does not fit is not kept, and while the file
 * is not open (it is still looked at, the disk is full, the directory may not
 * be written) there is nothing in it.
 *
 * What is handed in is found at once, before it is on disk. A file that was
 * closed, or left by a process that died in this boot, is used as it is; one
 * that somebody else changed is walked first, beside the daemon; one that was
 * open when the machine went down is begun anew. */
#ifndef TG_STORE_CACHE_STORE_H
#define TG_STORE_CACHE_STORE_H

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"

#include <stdatomic.h>

struct cache_store;

/* Bytes that find and read_on give at once, at most. */
#define CACHE_PIECE_BYTES ((size_t)256 << 10)

/* Longest key id, team and model name together; a reply of a longer one is not
 * kept. */
#define CACHE_TEXT_MAX 2048

/* Least bound of the file. */
#define CACHE_STORE_LEAST_BYTES ((uint64_t)1 << 20)

/* What a store is. All is copied. */
struct cache_store_opts {
    const char *dir;          /* made 0700 when missing */
    uint64_t max_bytes;       /* the file is never larger */
    uint64_t max_entry_bytes; /* of a reply, without what is recorded beside it;
                               * with it, a quarter of <max_bytes> at most */
    uint32_t wait_ms;         /* for the file to be opened; 0: 300 */
};

/* Open: starts the thread that writes, which opens the file; waits for it for
 * a moment, then goes on without. Why a file cannot be opened is logged,
 * and tried again. ERR_RANGE (a bound too small), ERR_NOMEM, ERR_IO (no
 * thread). */
enum err cache_store_open(const struct cache_store_opts *opts,
                          struct cache_store **out) MUST_CHECK;

/* Write what is queued, sync, close; no call may be under way. NULL is fine. */
void cache_store_close(struct cache_store *s);

/* What a request is known by. */
struct cache_key {
    struct digest same;  /* but for how the reply is sent */
    struct digest exact; /* all of it */
};

/* --- finding ------------------------------------------------------------- */

/* Which reply is wanted. */
enum cache_how {
    CACHE_EXACT_ONLY = 0,
    CACHE_ANY /* the exact one, else one of the same <same> */
};

/* What was found, and how to read on. */
struct cache_found {
    struct cache_key key; /* of what was found */
    bool is_exact;
    int64_t made_wall_ms;
    int64_t until_wall_ms;
    uint64_t bytes_total;
    uint64_t bytes_read; /* so many were given */
    uint64_t id;         /* the store's */
    uint64_t seq;        /* the store's */
};

/* Look for <key> at the time <now_wall_ms>, and append the first
 * CACHE_PIECE_BYTES of its bytes to <bytes_out>, all of the reply proved (above
 * 16 MiB: what is given). A hit keeps it from being given up next. Any thread;
 * one short read transaction. ERR_NOT_FOUND: nothing, or it is over;
 * ERR_CORRUPT and ERR_IO: a miss, too, the reply is deleted; ERR_NOMEM. */
enum err cache_store_find(struct cache_store *s, const struct cache_key *key,
                          enum cache_how how, int64_t now_wall_ms,
                          struct cache_found *out,
                          struct buf *bytes_out) MUST_CHECK;

/* Append the next bytes, proved; <found> counts them. Failures as above:
 * ERR_NOT_FOUND says that the reply was given up or replaced meanwhile. */
enum err cache_store_read_on(struct cache_store *s, struct cache_found *found,
                             struct buf *bytes_out) MUST_CHECK;

/* Delete the reply to exactly <key>, soon; it is found no more at once only if
 * it is still queued. Any thread. */
void cache_store_drop(struct cache_store *s, const struct cache_key *key);

/* --- keeping ------------------------------------------------------------- */

/* Whose reply, for purges. Borrowed. */
struct cache_about {
    struct str key_id;
    struct str team;
    struct str model;
};

/* A reply to be kept. Who makes it fills in what is here. */
struct cache_put {
    struct cache_key key;
    int64_t made_wall_ms;
    int64_t until_wall_ms;   /* it is found no more from then on */
    uint64_t epoch;          /* cache_store_epoch() before it was asked for */
    struct buf bytes;        /* the reply; empty at first, capped */
    void (*done)(void *arg); /* or NULL: told once, with <arg>, that it is on
                              * disk or was dropped: on the writer's thread, or
                              * from within cache_store_put(), which drops */
    void *arg;

    /* The store's own. */
    _Atomic unsigned refs;
    _Atomic bool is_off; /* purged while it was queued */
    uint64_t id;
    uint16_t text_len[3]; /* of key id, team, model in <text> */
    struct cache_put *next_queued;
    struct cache_put *next_same;
    char text[]; /* key id, team, model, one behind the other */
};

/* A new one for <about>; its bytes may grow to what <s> keeps. NULL
 * without memory, or when the texts are too long. Any thread. */
struct cache_put *cache_put_new(struct cache_store *s,
                                const struct cache_about *about);

/* Give up one that was not handed over; NULL is fine. */
void cache_put_free(struct cache_put *p);

/* Hand <p> over, which is found from now on and stored soon; it replaces what
 * was kept for the same key. Dropped and counted where the queue is full, the
 * file is not open, or a purge since its epoch meant it. Any thread; never
 * waits for the disk. */
void cache_store_put(struct cache_store *s, struct cache_put *p);

/* Wait until what was handed over is on disk, or given up. Any thread that may
 * wait. */
void cache_store_flush(struct cache_store *s);

/* To be noted in <epoch> of a put before its request is sent. Any thread. */
uint64_t cache_store_epoch(const struct cache_store *s);

/* --- purging and counting ------------------------------------------------ */

/* What a purge means: all that is given must fit; nothing given is all. */
struct cache_purge {
    struct str key_id; /* empty: any */
    struct str team;
    struct str model;
};

/* What it did. */
struct cache_purged {
    uint64_t entries;
    uint64_t bytes; /* of the replies; where all are meant, of their pages */
};

/* Delete what <what> means, and wait until it is done: nothing that was asked
 * for before is kept afterwards. Files that were moved aside go, too. Any
 * thread that may wait. ERR_IO: not all could be deleted. */
enum err cache_store_purge(struct cache_store *s,
                           const struct cache_purge *what,
                           struct cache_purged *out) MUST_CHECK;

/* What verifying found. */
struct cache_verified {
    uint64_t entries; /* that were read */
    uint64_t damaged; /* of them; they are deleted */
};

/* Read every reply and prove it; others go on meanwhile. Any thread that may
 * wait. ERR_IO: not all could be read, ERR_CLOSED: the file is not open. */
enum err cache_store_verify(struct cache_store *s,
                            struct cache_verified *out) MUST_CHECK;

/* What is held, and what was done since the start. */
struct cache_stats {
    bool is_open;
    bool is_disk_full;
    uint64_t entries;
    uint64_t bytes;      /* of the pages in use */
    uint64_t file_bytes; /* of the file, never above <max_bytes> */
    uint64_t max_bytes;
    uint64_t queued_bytes; /* in memory, to be stored */
    uint64_t stored;
    uint64_t replaced; /* of these, in place of an older reply */
    uint64_t evicted;  /* to make room */
    uint64_t kept;     /* given a second chance, for they were found */
    uint64_t expired;  /* found when they were over, and deleted */
    uint64_t purged;
    uint64_t corrupt;       /* damaged: a miss, and deleted */
    uint64_t dropped_queue; /* not stored: the queue was full */
    uint64_t dropped_size;  /* not stored: too large */
    uint64_t dropped_shut;  /* not stored: the file was not open */
    uint64_t dropped_error; /* not stored: the disk refused, or is full */
    uint64_t write_errors;  /* transactions that failed */
    uint64_t anew;          /* the file was begun anew so often */
};

/* Count; never waits for the disk. Any thread. */
void cache_store_stats(struct cache_store *s, struct cache_stats *out);

#endif
