/* ledger_priv.h - The inside of the ledger, for ledger*.c alone. */
#ifndef TG_ACCOUNT_LEDGER_PRIV_H
#define TG_ACCOUNT_LEDGER_PRIV_H

#include "account/hold_batch.h"
#include "account/journal.h"
#include "account/ledger.h"
#include "account/spend.h"
#include "store/ledger_db.h"
#include "store/writer.h"

#include <pthread.h>

/* Rows a worker keeps in memory while its journal cannot be written. The
 * memory is not touched before that. */
#define RING_ROWS 8192

/* Disk space kept ready behind each worker's journal: some 3,000 rows, more
 * than are in flight when a full disk stops admission. */
#define RESERVE_BYTES (1u << 20)

/* One row waiting in memory. */
struct ring_row {
    uint16_t len;
    uint8_t payload[ROW_BYTES_MAX];
};

/* A worker's seat. The ring has one writer (the worker: head) and one reader
 * (the ledger writer: tail); both only grow. */
struct ledger_worker {
    struct ledger *ledger;
    unsigned index;
    struct jfile *cur;            /* in the ledger's list; changed by the
                                     worker, under the ledger's lock; NULL
                                     while none could be made */
    bool must_rotate;             /* an append to cur failed; the worker's */
    _Atomic(struct jfile *) next; /* made by the writer, taken by the worker */
    _Atomic(bool) is_leaving;     /* given back: it needs no next journal */
    _Atomic(bool) is_failing;     /* the last append failed */
    _Atomic(uint64_t) rows;       /* accepted */
    _Atomic(uint64_t) refused;    /* not accepted: the ring was full */
    struct ring_row *ring;        /* owned, RING_ROWS of them */
    _Atomic(uint64_t) head;       /* rows put into the ring */
    _Atomic(uint64_t) tail;       /* rows taken out of it */
    uint64_t taken;               /* tail in the transaction under way */
};

STAILQ_HEAD(jfile_list, jfile);

/* One folded file whose record may be deleted in the next transaction. */
struct gone_id {
    uint8_t id[JOURNAL_ID_LEN];
};

/* The ledger; see ledger.h. */
struct ledger {
    struct ledger_opts opts;
    char *dir;         /* STATE/ledger, owned */
    char *journal_dir; /* STATE/journal, owned */
    struct ledger_db *db;
    struct writer *writer;
    _Atomic(int) state;       /* enum ledger_state */
    _Atomic(bool) is_low;     /* no disk space could be reserved */
    _Atomic(bool) is_settled; /* what an earlier process left is charged */
    _Atomic(uint64_t) folded, replayed, twice, pruned, damaged;
    uint64_t past_rows;    /* accepted by seats given back; lock */
    uint64_t past_refused; /* refused by them; lock */
    pthread_mutex_t lock;  /* guards files, seats, past_*; no call out of
                              here is made under it */
    struct jfile_list files;
    struct ledger_worker **seats; /* owned array; entries NULL or owned */

    /* The writer thread's alone. */
    struct jfile **work; /* copy of the list, owned */
    size_t n_work, room_work;
    struct tally_map sums;
    struct spend_map spends;
    struct hold_batch holds; /* in the transaction under way */
    struct gone_id *gone;    /* owned */
    size_t n_gone, room_gone, n_gone_now;
    uint64_t n_rows_now, n_twice_now; /* in the transaction under way */
    unsigned ticks;
};

/* The writer's side of the ledger. */
extern const struct writer_ops ledger_fold_ops;

/* Find the journal files an earlier process left and where their folding
 * stood. A sentence naming the file on failure. */
enum err ledger_fold_scan(struct ledger *l, struct buf *why) MUST_CHECK;

/* Delete folding records of files that are no more. */
enum err ledger_fold_tidy(struct ledger *l) MUST_CHECK;

/* Make the names in <dir> durable. ERR_IO. */
enum err ledger_sync_dir(const char *dir) MUST_CHECK;

/* Have the folding record of <f>, whose file is gone for good, deleted with
 * the next rows. */
void ledger_forget_later(struct ledger *l, const struct jfile *f);

/* Recompute the state from everything it depends on. */
void ledger_fold_judge(struct ledger *l);

/* Free what the writer thread left. */
void ledger_fold_fini(struct ledger *l);

#endif
