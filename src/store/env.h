/* env.h - One LMDB environment: opened once, guarded, grown and reopened.
 * Nothing of LMDB is seen outside; values borrowed from a transaction live
 * as long as it does.
 *
 * Threads: one thread writes (the writer of this environment), any thread
 * reads in short transactions. Each reader holds the gate (a rwlock) shared;
 * growing the map and reopening hold it alone, for which no transaction may
 * be open in the process. So a read transaction must never be kept across a
 * wait, and a thread must not open a second one inside the first. */
#ifndef TG_STORE_ENV_H
#define TG_STORE_ENV_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct env;
struct MDB_txn;
struct MDB_cursor;

/* Most tables of one environment. */
#define ENV_TABLES_MAX 12

/* Longest key of a table, in bytes; keys are never empty. */
#define ENV_KEY_MAX 511

/* How an environment is kept; or-ed together. */
enum env_flag {
    ENV_NOSYNC = 1,     /* never synced: contents may be lost by power loss */
    ENV_DISPOSABLE = 2, /* damaged files are moved aside and made anew */
    ENV_UNLOCKED = 4, /* processes share it; the caller guards the directory */
    ENV_UNWALKED = 8, /* another process has it open, and walked it */
    ENV_WATCHED = 16 /* see enum env_fault; values are large, and walked over */
};

/* What makes an environment refuse all transactions until env_reopen(). Of
 * those that are ENV_WATCHED the file is looked at before each transaction, so
 * that one that was cut is an error there and no signal, but for the moment
 * between the two. */
enum env_fault {
    ENV_FINE = 0,
    ENV_PANICKED, /* a write of LMDB's head page failed */
    ENV_CUT,      /* watched: the file became shorter */
    ENV_GONE,     /* watched: the file was removed */
    ENV_DAMAGED,  /* watched: LMDB found its own pages damaged */
    ENV_SHUT      /* env_shut() was called, or env_reopen() failed */
};

/* What is proved of one record when a file is walked; appends what is wrong
 * to <why> and gives ERR_CORRUPT. Runs in a child process. */
typedef enum err env_check_fn(unsigned table, struct str key, struct str value,
                              struct buf *why);

/* How to open. Everything is borrowed until env_open() returns, the tables
 * and <check> until env_close(). */
struct env_opts {
    const char *dir;           /* made 0700 when missing */
    const char *what;          /* for sentences: "ledger" */
    const char *const *tables; /* their names, in the order of their numbers */
    unsigned n_tables;
    unsigned flags;       /* enum env_flag */
    size_t map_bytes;     /* first size of the map */
    size_t map_bytes_max; /* it never grows past this */
    env_check_fn *check;  /* may be NULL */
};

/* Open <dir>/data.mdb: lock the directory against other processes and against
 * a second open here, prove in a child process that the file can be walked
 * end to end, drop stale readers. On failure a sentence naming the file is
 * appended to <why>: ERR_EXISTS (in use), ERR_CORRUPT (damaged, or gone while
 * the directory says that it was there), ERR_REFUSED (a network file system),
 * ERR_IO, ERR_NOMEM. */
enum err env_open(const struct env_opts *opts, struct env **env_out,
                  struct buf *why) MUST_CHECK;

/* Close; no transaction may be open. NULL is fine. */
void env_close(struct env *env);

/* Make the map larger by half at least. Writer only, with no write
 * transaction open; waits for readers. ERR_FULL at the stated maximum. */
enum err env_grow(struct env *env) MUST_CHECK;

/* Let the file grow to <bytes> and no further, whatever it was opened with;
 * what it has now is the least. Writer only, with no write transaction open;
 * waits for readers. */
enum err env_limit(struct env *env, size_t bytes) MUST_CHECK;

/* Close the file: all transactions are refused until env_reopen(). Writer
 * only, with no write transaction open; waits for readers. */
void env_shut(struct env *env);

/* Close and open the file anew, checked first as at the start; made when there
 * is none, and <walked> has the file walked in spite of ENV_UNWALKED or not at
 * all. Readers are refused meanwhile. Writer only, after env_fault(). Failures
 * as env_open(); the environment then refuses all transactions. */
enum err env_reopen(struct env *env, bool walked, struct buf *why) MUST_CHECK;

/* Whether all is refused until env_reopen(), and why. Any thread. */
enum env_fault env_fault(const struct env *env);

/* Look at the file of an ENV_WATCHED environment now; as env_fault(). Any
 * thread without a transaction. */
enum env_fault env_probe(struct env *env);

/* Refuse all from now on, as ENV_DAMAGED: what the tables hold is contrary to
 * each other. Any thread. */
void env_condemn(struct env *env);

/* Whether env_fault() is any. */
static inline bool env_is_panicked(const struct env *env)
{
    return env_fault(env) != ENV_FINE;
}

/* Write what an ENV_NOSYNC environment holds to the disk. Any thread. */
enum err env_sync(struct env *env) MUST_CHECK;

/* Whether a reader, of whatever process, keeps pages from being used again that
 * were freed more than a transaction ago. Writer only, here and below. */
bool env_is_held(struct env *env);

/* Wait until none does, for 100 ms at most; false when none did. */
bool env_wait_held(struct env *env);

/* Let the system take the map out of this process, which it then reads anew
 * from the page cache where it is touched: bounds what counts as resident.
 * Writer only, with no write transaction open; readers go on. */
void env_forget(struct env *env);

/* Free the slots of readers whose process is gone; how many. Writer only,
 * once a minute: they keep pages from being used again. */
unsigned env_drop_stale_readers(struct env *env);

/* Bytes of the map. */
size_t env_map_bytes(const struct env *env);

/* The file, for sentences; borrowed. */
const char *env_path(const struct env *env);

/* Whether the last failure was that of a disk without room. Any thread. */
bool env_is_disk_full(const struct env *env);

/* Note <system_errno> as the last failure; gives ERR_IO. Any thread. */
enum err env_fail(struct env *env, int system_errno) MUST_CHECK;

/* What LMDB or the system said at the last failure of any transaction, e.g.
 * "No space left on device"; "" when nothing failed. Any thread; static. */
const char *env_last_error(const struct env *env);

/* Append printf text to <why>, which may be too small for it: a sentence cut
 * short is no reason to fail in another way. */
void env_say(struct buf *why, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* A transaction; lives on the stack of the thread that began it. */
struct txn {
    struct env *env;
    struct MDB_txn *mdb;
    struct txn *parent; /* of a child; NULL otherwise */
    bool is_write;
};

/* Begin reading a snapshot. Any thread, one at a time per thread. End it with
 * txn_end(). ERR_IO, ERR_FULL (no reader slot). */
enum err txn_begin_read(struct env *env, struct txn *txn_out) MUST_CHECK;

/* Begin writing. Writer only. */
enum err txn_begin_write(struct env *env, struct txn *txn_out) MUST_CHECK;

/* Begin a part of the write transaction <parent> that can be undone alone;
 * <parent> must not be used until it has ended. */
enum err txn_begin_child(struct txn *parent, struct txn *txn_out) MUST_CHECK;

/* Make it durable (a child: part of its parent). Ended in any case. */
enum err txn_commit(struct txn *t) MUST_CHECK;

/* End without keeping anything written. Does nothing when already ended. */
void txn_end(struct txn *t);

/* The value under <key>, borrowed until the transaction ends or, in a write
 * transaction, its next change. ERR_NOT_FOUND, ERR_CORRUPT, ERR_IO. */
enum err txn_get(struct txn *t, unsigned table, struct str key,
                 struct str *value_out) MUST_CHECK;

/* Store; an older value is replaced. ERR_FULL when the map must grow (then
 * the transaction is lost), ERR_RANGE for a key too long, ERR_IO. */
enum err txn_put(struct txn *t, unsigned table, struct str key,
                 struct str value) MUST_CHECK;

/* Make room for a value of <len> bytes under <key>, which has none: to be
 * filled before anything else is done in the transaction. ERR_EXISTS when it
 * has one; else as txn_put(). */
enum err txn_reserve(struct txn *t, unsigned table, struct str key, size_t len,
                     void **room_out) MUST_CHECK;

/* Make room for a value of <len> bytes behind the last record of <table>, whose
 * key is less than <key>: pages are filled one after the other. ERR_EXISTS when
 * it is not; else as txn_reserve(). */
enum err txn_append(struct txn *t, unsigned table, struct str key, size_t len,
                    void **room_out) MUST_CHECK;

/* Copy <len> bytes of the value <v> of a transaction that is open, from its
 * byte <from> on. A disk that fails, or a file that was cut, is ERR_IO here and
 * a signal where the value itself is touched (before Linux 5.14 here, too). */
enum err txn_copy(const struct txn *t, struct str v, size_t from, void *out,
                  size_t len) MUST_CHECK;

/* Whether byte <from> of the value <v> is in memory; touches nothing of it. */
bool txn_is_warm(struct str v, size_t from);

/* Store unless there is a value: ERR_EXISTS. */
enum err txn_add(struct txn *t, unsigned table, struct str key,
                 struct str value) MUST_CHECK;

/* Delete a value that may have pages of its own, in a write transaction of an
 * ENV_WATCHED environment: LMDB frees what their head says, so that this is
 * proved before. ERR_CORRUPT: it is damaged; ERR_NOT_FOUND, ERR_IO. */
enum err txn_del_large(struct txn *t, unsigned table,
                       struct str key) MUST_CHECK;

/* Delete. ERR_NOT_FOUND. */
enum err txn_del(struct txn *t, unsigned table, struct str key) MUST_CHECK;

/* Delete everything in <table>. */
enum err txn_clear(struct txn *t, unsigned table) MUST_CHECK;

/* How many records <table> holds. */
enum err txn_count(struct txn *t, unsigned table,
                   uint64_t *count_out) MUST_CHECK;

/* Records of LMDB's list of free pages, and pages that it holds. */
enum err txn_count_free(struct txn *t, uint64_t *records_out,
                        uint64_t *pages_out) MUST_CHECK;

/* How many pages all tables, LMDB's own with them, have in use. */
enum err txn_count_used(struct txn *t, uint64_t *pages_out) MUST_CHECK;

/* A place in a table; ends with its transaction, close it before. */
struct cursor {
    struct txn *txn;
    struct MDB_cursor *mdb;
    struct str key;   /* borrowed, where it stands */
    struct str value; /* borrowed, where it stands */
};

/* Open a cursor; it stands nowhere. */
enum err cursor_open(struct txn *t, unsigned table,
                     struct cursor *cur_out) MUST_CHECK;

/* Close; zeroed is fine. */
void cursor_close(struct cursor *c);

/* Go to the first record whose key is >= <key>; empty goes to the first of
 * all. ERR_NOT_FOUND when there is none. */
enum err cursor_seek(struct cursor *c, struct str key) MUST_CHECK;

/* Go on by one. ERR_NOT_FOUND behind the last. */
enum err cursor_next(struct cursor *c) MUST_CHECK;

/* Go to the last record. ERR_NOT_FOUND when there is none. */
enum err cursor_last(struct cursor *c) MUST_CHECK;

/* Delete the record it stands on; cursor_next() then goes to the one behind
 * it. Write transactions only. */
enum err cursor_del(struct cursor *c) MUST_CHECK;

/* Walk the file at <path>, that of <opts>, in a child process; nobody may write
 * meanwhile. ERR_CORRUPT with a sentence appended to <why>; ERR_IO. */
enum err env_walk(const struct env_opts *opts, const char *path,
                  struct buf *why) MUST_CHECK;

/* Open the file of <opts> for reading in this process, which must be a child
 * made for it, and call <fn> with a transaction. With <shared> it stands
 * beside a live writer; without, nobody writes. Gives what <fn> gives. */
typedef enum err env_look_fn(struct txn *t, void *arg, struct buf *out);
enum err env_look(const struct env_opts *opts, bool shared, env_look_fn *fn,
                  void *arg, struct buf *out) MUST_CHECK;

#endif
