/* tape_priv.h - What tape.c (the writer) and tape_read.c (the readers) share.
 *
 * Frames lie in blocks, one after the other, each behind its length and time.
 * A block's bytes never change once <used> tells of them, so they are read
 * without a lock; the lock guards which blocks there are, who waits, and how
 * far the tape is. Who reads in a block holds a reference to it: the writer
 * may drop it from the list meanwhile. */
#ifndef TG_EXCHANGE_TAPE_PRIV_H
#define TG_EXCHANGE_TAPE_PRIV_H

#include "exchange/tape.h"
#include "exchange/worker.h"

#include <pthread.h>
#include <stdatomic.h>

/* What stands before a frame in its block. */
struct tape_mark {
    uint32_t len; /* bytes of the frame, > 0 */
    uint32_t ms;  /* after the head */
};

/* A run of frames. */
struct tape_block {
    _Atomic unsigned refs;
    struct tape_block *next; /* lock; while it is in the list */
    uint64_t seq;            /* 0, 1, 2: place among all there were */
    size_t room;
    _Atomic size_t used; /* whole frames */
    char bytes[];        /* (room) */
};

/* The readers of one worker. */
struct tape_channel {
    struct worker_mail mail;
    struct tape *tape;
    struct worker *w;                           /* lock; borrowed */
    TAILQ_HEAD(tape_list, tape_reader) readers; /* that worker's thread */
    struct tape_reader *cursor; /* that thread's: who is next to be told */
    bool wants;                 /* lock: somebody is armed */
    bool posted;                /* lock: <mail> is under way */
};

/* A tape. */
struct tape {
    _Atomic unsigned refs;
    pthread_mutex_t lock;
    _Atomic int state;        /* enum tape_state; written under the lock */
    _Atomic bool whole;       /* likewise */
    bool gap;                 /* lock: a frame is missing, for want of memory */
    _Atomic unsigned readers; /* written under the lock */
    struct tape_block *first; /* lock; owned list, oldest first */
    struct tape_block *last;  /* lock; the writer reads it without */
    uint64_t kept_bytes;      /* writer: used bytes of the list */
    size_t next_bytes;        /* writer: room of the next block */
    uint64_t blocks;          /* writer: ever made */
    uint64_t max_bytes;       /* of body kept whole */
    _Atomic uint64_t bytes, frames; /* put so far; written by the writer */
    uint64_t start_ms;              /* writer: monotonic, at the head */
    struct tape_head head;          /* set before the state tells of it: */
    struct tape_failure failure;
    struct tape_sum sum;
    bool has_sum;
    struct tape *heir;         /* counted; guarded by who sets it */
    char *texts;               /* owned: of head or failure */
    char *sum_texts;           /* owned */
    struct worker_mail change; /* to <watcher>: the first reader has come, or
                                * the last has left */
    bool change_posted;        /* lock */
    struct worker *watcher;    /* lock; borrowed */
    void (*on_change)(void *); /* the writer's thread */
    void *on_change_arg;
    unsigned n_channels;
    struct tape_channel channels[]; /* (n_channels), by worker */
};

/* Drop a reference to <b>; NULL is fine. */
void tape_block_unref(struct tape_block *b);

/* Tell every worker that has armed readers; under the lock. */
void tape_tell(struct tape *t);

/* What a channel's mail does on its worker. */
void tape_take_mail(struct worker_mail *m, struct worker *w);

#endif
