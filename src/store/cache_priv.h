/* cache_priv.h - The inside of the store of replies, for cache_*.c alone: the
 * file and what is done in its transactions. Queue and thread are in
 * cache_store.c, which calls all this. */
#ifndef TG_STORE_CACHE_PRIV_H
#define TG_STORE_CACHE_PRIV_H

#include "store/cache_entry.h"
#include "store/env.h"

/* Tables; their keys and values. */
enum cache_table {
    CACHE_ENTRIES = 0, /* seq (be64), slice (be32) -> slice; the least seq is
                        * given up first */
    CACHE_INDEX, /* halves of same and exact, 16 bytes each -> seq (be64) */
    CACHE_TICKS, /* "tick" -> a counter, so that a transaction is one */
    CACHE_TABLE_COUNT
};

/* Their names. */
extern const char *const cache_tables[CACHE_TABLE_COUNT];

/* Bytes of keys. */
#define CACHE_ENTRY_KEY 12
#define CACHE_HALF      16
#define CACHE_INDEX_KEY (2 * CACHE_HALF)

/* Bytes of a page, as LMDB has them where this runs. */
#define CACHE_PAGE_BYTES 4096

/* What is counted; see struct cache_stats. */
enum cache_count {
    CACHE_N_STORED = 0,
    CACHE_N_REPLACED,
    CACHE_N_EVICTED,
    CACHE_N_KEPT,
    CACHE_N_EXPIRED,
    CACHE_N_PURGED,
    CACHE_N_CORRUPT,
    CACHE_N_DROPPED_QUEUE,
    CACHE_N_DROPPED_SIZE,
    CACHE_N_DROPPED_SHUT,
    CACHE_N_DROPPED_ERROR,
    CACHE_N_WRITE_ERRORS,
    CACHE_N_ANEW,
    CACHE_N_COUNT
};

/* The file. What is not atomic is the writer's own once it is made. */
struct cache_db {
    char *dir;  /* owned */
    char *path; /* of data.mdb, owned */
    uint64_t max_bytes;
    uint64_t max_entry_bytes;
    _Atomic(struct env *) env; /* NULL until it was opened first */
    _Atomic bool is_open;
    _Atomic bool is_disk_full;
    _Atomic uint64_t entries;
    _Atomic uint64_t used_pages;
    _Atomic uint64_t file_bytes;
    _Atomic uint64_t n[CACHE_N_COUNT];
    _Atomic(uint64_t) *marks;   /* bits of entries that were found, by seq */
    uint64_t marks_mask;        /* of bit numbers */
    _Atomic(uint64_t) *hints;   /* where entries are, by key; may be wrong */
    _Atomic(uintptr_t) *places; /* where their first slices were seen */
    uint64_t hints_mask;        /* of slot numbers */

    int state_fd;
    bool is_told;        /* why it cannot be opened */
    uint64_t cap_pages;  /* that the file may have for now */
    uint64_t reserve;    /* of them, for what transactions leave behind */
    uint64_t batch;      /* most pages of one transaction's replies */
    uint64_t seen_bytes; /* mapped when the map was let go last */
};

/* Count <n> more of <what>. Any thread. */
static inline void cache_count(struct cache_db *d, enum cache_count what,
                               uint64_t n)
{
    atomic_fetch_add_explicit(&d->n[what], n, memory_order_relaxed);
}

/* --- keys ---------------------------------------------------------------- */

/* The key of slice <i> of entry <seq>; borrowed from <out>. */
struct str cache_entry_key(uint64_t seq, uint32_t i,
                           uint8_t out[CACHE_ENTRY_KEY]);

/* The seq of a key of entries, or of a value of the index. */
uint64_t cache_seq_of(struct str bytes);

/* The index's key of <k>; borrowed from <out>. */
struct str cache_index_key(const struct cache_key *k,
                           uint8_t out[CACHE_INDEX_KEY]);

/* --- the file: cache_file.c ---------------------------------------------- */

/* Set up <d>, whose file is not opened yet. ERR_RANGE, ERR_NOMEM. */
enum err cache_db_init(struct cache_db *d,
                       const struct cache_store_opts *opts) MUST_CHECK;

/* Open the file, or say once in the log why not. Writer only, as all below. */
enum err cache_db_open(struct cache_db *d) MUST_CHECK;

/* Sync, note that it is whole, close. */
void cache_db_close(struct cache_db *d);

/* Note what the file is like after a commit, and how much is in use. */
void cache_db_note(struct cache_db *d, struct txn *t);
void cache_db_stamp(struct cache_db *d);

/* Begin the file anew; <cause> is logged, NULL: nothing is. <aside> keeps the
 * old one as data.mdb.damaged. */
enum err cache_db_anew(struct cache_db *d, const char *cause,
                       bool aside) MUST_CHECK;

/* After the failure <err>: whether the file was opened again, so that another
 * try is worth it. */
bool cache_db_mend(struct cache_db *d, enum err err);

/* Remove what was set aside. */
void cache_db_forget_aside(struct cache_db *d);

/* Once a second: let go of the map, see whether the disk has room again. */
void cache_db_tend(struct cache_db *d);

/* Let the file have <bytes> at most, or what it has. */
enum err cache_db_cap(struct cache_db *d, uint64_t bytes) MUST_CHECK;

/* --- reading: cache_find.c ----------------------------------------------- */

/* What a reader found to be of no use. */
struct cache_bad {
    bool is_any;
    bool is_over; /* not damaged */
    uint64_t seq;
    uint8_t row[CACHE_INDEX_KEY];
};

/* As cache_store_find() and cache_store_read_on(), in the file alone; what is
 * to be deleted is noted in <bad>. Any thread. */
enum err cache_db_find(struct cache_db *d, const struct cache_key *key,
                       enum cache_how how, int64_t now_wall_ms,
                       struct cache_found *out, struct buf *bytes_out,
                       struct cache_bad *bad) MUST_CHECK;
/* The next bytes; see above. */
enum err cache_db_read_on(struct cache_db *d, struct cache_found *found,
                          struct buf *bytes_out,
                          struct cache_bad *bad) MUST_CHECK;

/* How far proving has come. */
struct cache_proof {
    uint64_t seq;     /* where to go on */
    uint64_t entries; /* that were read */
    unsigned n_bad;   /* of the last call */
    struct cache_bad bad[64];
};

/* Prove some entries from <p> on. Any thread. ERR_NOT_FOUND behind the last,
 * ERR_CLOSED, ERR_IO, ERR_CORRUPT. */
enum err cache_db_prove(struct cache_db *d, struct cache_proof *p) MUST_CHECK;

/* The first slice of an entry; borrowed until the transaction's next change. */
struct cache_first {
    struct cache_head head;
    size_t head_bytes; /* of <data> */
    struct str data;   /* all of the slice */
};

/* That of entry <seq>, proved. ERR_NOT_FOUND, ERR_CORRUPT. */
enum err cache_first_of(struct txn *t, uint64_t seq,
                        struct cache_first *out) MUST_CHECK;

/* The row of the index that the head of entry <seq> tells, proved or not: it is
 * only good to be compared. */
bool cache_row_of(struct txn *t, uint64_t seq, uint8_t row[CACHE_INDEX_KEY]);

/* --- writing: cache_write.c ---------------------------------------------- */

/* Store the <n> puts, which are not too many; what is in their way is given up
 * before. */
enum err cache_db_write(struct cache_db *d, struct cache_put *const *puts,
                        unsigned n) MUST_CHECK;

/* Pages that <p> needs. */
uint64_t cache_put_pages(const struct cache_put *p);

/* Delete what a reader found to be of no use. */
enum err cache_db_delete(struct cache_db *d,
                         const struct cache_bad *bad) MUST_CHECK;

/* Delete the entry of <key>. ERR_NOT_FOUND. */
enum err cache_db_drop(struct cache_db *d,
                       const struct cache_key *key) MUST_CHECK;

/* Delete some of what <what> means from entry *<seq> on, which goes on; what
 * was deleted is added to <out>. ERR_NOT_FOUND behind the last. */
enum err cache_db_purge(struct cache_db *d, const struct cache_purge *what,
                        uint64_t *seq, struct cache_purged *out) MUST_CHECK;

/* Whether a purge of <what> means a reply with these texts. */
bool cache_purge_means(const struct cache_purge *what, struct str key_id,
                       struct str team, struct str model);

/* --- what is known in memory: cache_hint.c -------------------------------- */

/* Note that the entry of <key> is <seq>, whose first slice stands at <place>
 * (NULL: not known), and ask for it: 0 when it is not known. What is told may
 * be wrong, and must be compared; <place> is never read. Any thread. */
void cache_hint(struct cache_db *d, const struct cache_key *key, uint64_t seq,
                const void *place);

/* The entry of <key>, 0 when it is not known: it may be wrong, and must be
 * compared. Any thread. */
uint64_t cache_hint_of(const struct cache_db *d, const struct cache_key *key);

/* Mark entry <seq> as found, see whether it was since the last time. */
void cache_mark(struct cache_db *d, uint64_t seq);
bool cache_mark_take(struct cache_db *d, uint64_t seq);

#endif
