/* kv_db.h - Pages of keys and values of prompts, on disk: one LMDB environment
 * a namespace, which has one size of values, so that it never fragments. It is
 * a cache: what is damaged is a miss, and after a power cut all of it is.
 *
 * Threads: what is marked "writer" is for one thread of the process, the rest
 * for any. Processes of one host may have a namespace open together.
 *
 * A file that was cut or removed while it was open, or of which the head could
 * not be written, is opened again or begun anew by the next call of the writer,
 * with a line in the log; readers are refused until then. */
#ifndef TG_STORE_KV_DB_H
#define TG_STORE_KV_DB_H

#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "store/kv_page.h"

struct kv_db;

/* What a namespace is, and where. All is copied. */
struct kv_db_opts {
    const char *dir;      /* of the namespace; made 0700 when missing */
    struct digest ns;     /* of all that its pages depend on */
    struct str about;     /* JSON for people: what <ns> was made of */
    size_t payload_bytes; /* of every page; a multiple of 4096 is best */
    uint64_t max_bytes;   /* the file is never larger; at least 16 pages and
                           * KV_DB_LEAST_BYTES */
    uint64_t root_bytes;  /* all that stands in the directory around <dir> is
                           * never larger: namespaces that nobody has open make
                           * room; 0 = not bounded */
    bool keep;            /* nothing is begun anew: ERR_CORRUPT instead */
};

/* Least bound of a namespace's file. */
#define KV_DB_LEAST_BYTES ((uint64_t)4 << 20)

/* Open. What was not closed before the machine went down, what is damaged or
 * larger than its bound is begun anew, with a line in the log. On failure a
 * sentence is appended to <why>: ERR_REFUSED (the directory is of another
 * namespace, or on a network file system), ERR_RANGE (a bound too small),
 * ERR_IO, ERR_NOMEM. */
enum err kv_db_open(const struct kv_db_opts *opts, struct kv_db **out,
                    struct buf *why) MUST_CHECK;

/* Sync and close; no call may be under way. NULL is fine. */
void kv_db_close(struct kv_db *d);

/* How many of the first pages of a chain of <n> are there, and how many of
 * these the system has in memory. Touches no payload. */
enum err kv_db_find(struct kv_db *d, const struct digest *chain, unsigned n,
                    unsigned *found_out, unsigned *warm_out) MUST_CHECK;

/* Copy the payload of <key> to <out> (payload_bytes), all of it proved.
 * ERR_NOT_FOUND (also: of another text); ERR_CORRUPT and ERR_IO: drop it. <out>
 * may be overwritten in any case. Gives what computing it took. */
enum err kv_db_read(struct kv_db *d, const struct kv_key *key, void *out,
                    uint32_t *cost_us_out) MUST_CHECK;

/* A page to be stored. */
struct kv_put {
    struct kv_key key;
    const void *payload; /* (payload_bytes), borrowed */
};

/* What came of a write. */
struct kv_wrote {
    unsigned stored;
    unsigned present; /* that were there already */
    unsigned evicted; /* to make room */
    unsigned unused;  /* of these, never read */
};

/* Writer: store <n> pages, in transactions of at most 32 MiB and about 50 ms,
 * giving up the longest unused ones first where there is no room. Pages of one
 * text come in its order, and kv_db_touch() follows with all of the text. What
 * was done is counted in <out> in any case. ERR_FULL: readers hold what was
 * given up; ERR_IO. */
enum err kv_db_write(struct kv_db *d, const struct kv_put *puts, unsigned n,
                     struct kv_wrote *out) MUST_CHECK;

/* Writer: say that the <n> pages of a text were used, of which the first
 * <n_hit> were read and the rest stored just now. The last one ages first:
 * without the ones before it, it is worth nothing. */
enum err kv_db_touch(struct kv_db *d, const struct digest *chain, unsigned n,
                     unsigned n_hit) MUST_CHECK;

/* Writer: drop a page. ERR_NOT_FOUND. */
enum err kv_db_drop(struct kv_db *d, const struct digest *hash) MUST_CHECK;

/* Writer: drop all. */
enum err kv_db_purge(struct kv_db *d) MUST_CHECK;

/* Writer, every few seconds: have it on disk, free the slots of readers that
 * died, and see whether the disk has room again. */
enum err kv_db_sync(struct kv_db *d) MUST_CHECK;

/* Whether all is refused until kv_db_reopen(): a write of the file's head
 * failed, or the file was cut or removed. Any thread. */
bool kv_db_is_panicked(const struct kv_db *d);

/* How often the file was opened again since the start, also by other calls of
 * the writer: what was stored before may be lost. Any thread. */
unsigned kv_db_reopened(const struct kv_db *d);

/* Writer: open the file again, or begin it anew where it is of no use, with a
 * line in the log; readers are refused meanwhile. Failures as kv_db_open();
 * then all is refused until it succeeds. */
enum err kv_db_reopen(struct kv_db *d, struct buf *why) MUST_CHECK;

/* What LMDB or the system said at the last failure; "" when nothing failed. Any
 * thread; static. */
const char *kv_db_last_error(const struct kv_db *d);

/* Bytes of the file now. Any thread. */
uint64_t kv_db_bytes(const struct kv_db *d);

/* What is held. */
struct kv_db_stats {
    uint64_t bytes; /* of the file */
    uint64_t max_bytes;
    uint64_t pages;
    uint64_t max_pages;
    uint64_t page_bytes; /* of a page on disk, its index rows with it */
    uint64_t free_lists; /* records of LMDB's list of free pages */
    uint64_t free_bytes; /* of the file, to be used again */
};

/* Count. */
enum err kv_db_stats(struct kv_db *d, struct kv_db_stats *out) MUST_CHECK;

/* Read every page and prove it; the hashes of bad ones (32 bytes each) are
 * appended to <bad>. Gives how many were read. Writers may go on. */
enum err kv_db_verify(struct kv_db *d, uint64_t *pages_out,
                      struct buf *bad) MUST_CHECK;

#endif
