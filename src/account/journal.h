/* journal.h - One append-only file of usage rows and holds. A worker appends,
 * each row by one write; the ledger writer reads behind it; after a crash the
 * rest is read again. What was written survives the process, since it stands in
 * the page cache.
 *
 * A file is a head of JOURNAL_HEAD_BYTES and then sealed rows (store/rec.h),
 * each sealed with the file's id and its own offset. */
#ifndef TG_ACCOUNT_JOURNAL_H
#define TG_ACCOUNT_JOURNAL_H

#include <stdatomic.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/err.h"
#include "store/rec.h"
#include "store/row.h"

/* Bytes before the first record. */
#define JOURNAL_HEAD_BYTES 64

/* Bytes of a file's id. */
#define JOURNAL_ID_LEN 16

/* Bytes of the longest record. */
#define JOURNAL_RECORD_MAX (REC_HEAD_BYTES + ROW_BYTES_MAX)

/* One journal file. */
struct jfile {
    STAILQ_ENTRY(jfile) link; /* in the ledger's list; its lock */
    char *path;               /* owned */
    int fd;                   /* owned */
    uint8_t id[JOURNAL_ID_LEN];
    _Atomic(uint64_t) end;   /* records stand before it; the worker's */
    _Atomic(bool) is_sealed; /* nothing will be appended any more */
    uint64_t folded;         /* before it all is in the database; writer's */
    uint64_t pending;        /* the same in the transaction under way */
    uint64_t reserved;       /* disk blocks exist up to here; writer's */
    bool has_reserve;        /* the file system can reserve */
    bool is_damaged;         /* bytes in its middle were skipped */
    uint64_t skipped_now;    /* such bytes in the transaction under way */
    uint64_t torn_now;       /* bytes of a torn end in it */
};

/* Make a new file in <dir> for worker <index>, its head synced. ERR_IO with
 * errno. */
enum err journal_create(const char *dir, unsigned index,
                        struct jfile **file_out) MUST_CHECK;

/* Open a file that an earlier process left; sealed, its end is its size.
 * ERR_CORRUPT when its head is none, ERR_RANGE when a newer version wrote
 * it, ERR_IO, ERR_NOMEM. */
enum err journal_open(const char *path, struct jfile **file_out) MUST_CHECK;

/* Close and free, the file stays. */
void journal_free(struct jfile *f);

/* Reserve disk blocks for <bytes> behind the end, so that appending cannot
 * fail for want of space. ERR_FULL when there is none. Writer thread. */
enum err journal_reserve(struct jfile *f, uint64_t bytes) MUST_CHECK;

/* Seal and append the payload of <len> bytes, a REC_ROW or REC_HOLD, that
 * stands REC_HEAD_BYTES into <frame>. ERR_IO when it is not wholly written; a
 * later append overwrites what was. Only the owner; never blocks but for the
 * page cache. */
enum err journal_append(struct jfile *f, enum rec_type type, void *frame,
                        size_t len) MUST_CHECK;

/* One record read, and how the reading goes on. */
struct journal_read {
    const struct jfile *file; /* borrowed */
    uint64_t at;              /* offset of the next record */
    uint64_t limit;           /* read no further */
    uint64_t skipped;         /* bytes skipped as damaged, in all */
    uint64_t torn;            /* bytes at the end that are no record */
    struct buf bytes;         /* owned; from file offset <base> on */
    uint64_t base;
};

/* Begin to read <f> at offset <from> up to <limit>. */
void journal_read_init(struct journal_read *r, const struct jfile *f,
                       uint64_t from, uint64_t limit);

/* The type and payload of the next intact record, borrowed until the next call;
 * <at> then stands behind it. A damaged stretch is skipped when an intact
 * record follows, and is the torn end when none does. ERR_NOT_FOUND at the end
 * (then <at> is <limit>), ERR_IO, ERR_NOMEM. */
enum err journal_read_next(struct journal_read *r, enum rec_type *type_out,
                           struct str *payload_out) MUST_CHECK;

/* Free what <r> owns. */
void journal_read_fini(struct journal_read *r);

#endif
