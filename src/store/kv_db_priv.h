/* kv_db_priv.h - The inside of a namespace, for kv_*.c alone. */
#ifndef TG_STORE_KV_DB_PRIV_H
#define TG_STORE_KV_DB_PRIV_H

#include "store/env.h"
#include "store/kv_db.h"

/* Tables; their keys and values. */
enum kv_table {
    KV_PAGES = 0, /* hash -> header and payload */
    KV_TICKS,     /* hash -> tick (be64), times read (be32) */
    KV_ORDER,     /* tick (be64) -> hash: the least is given up first */
    KV_TABLE_COUNT
};

/* Bytes of a row of KV_TICKS. */
#define KV_TICK_BYTES 12

/* Their names. */
extern const char *const kv_tables[KV_TABLE_COUNT];

/* A namespace. Nothing changes once it is open, but for what is the writer's
 * own. */
struct kv_db {
    char *dir;   /* owned */
    char *about; /* text of ns.json, owned */
    struct env *env;
    struct digest ns;
    size_t payload_bytes;
    uint64_t max_bytes;         /* of the file */
    uint64_t page_bytes;        /* of one on disk */
    char *root;                 /* the directory around <dir>, owned */
    uint64_t root_bytes;        /* of all that stands there, 0 = not bounded */
    bool keep;                  /* nothing is begun anew */
    _Atomic uint64_t max_pages; /* that are kept */
    _Atomic unsigned reopened;  /* so often */

    /* The writer's own. */
    unsigned batch;     /* most pages of one transaction */
    uint64_t cap_bytes; /* what the file may have for now, <= max_bytes */
    bool is_disk_full;  /* <cap_bytes> is what the file has, for this cause */
    int dir_fd;         /* between kv_enter() and kv_leave(), else -1 */
    int users_fd;
    bool alone;         /* nobody else had it open when it was opened */
    bool anew;          /* it was begun anew when it was opened */
    uint64_t commit_us; /* that the last commit took, a page */
};

/* A hash as a key of the tables; borrowed. */
static inline struct str kv_hash_str(const struct digest *h)
{
    return str_of((const char *)h->b, sizeof(h->b));
}

/* Plan how many pages a file of <cap> bytes may hold. ERR_RANGE: too few. */
enum err kv_plan(struct kv_db *d, uint64_t cap) MUST_CHECK;

/* Bytes that a file must be allowed to have to hold <pages>. */
uint64_t kv_plan_bytes(const struct kv_db *d, uint64_t pages);

/* Pages that are stored, 0 when it cannot be told. */
uint64_t kv_count(struct kv_db *d);

/* The path of a file of the namespace. */
void kv_path(const struct kv_db *d, const char *name, char out[4096]);

/* Hold the directory's lock until kv_leave(); <make> it where it is missing.
 * What is said on failure is appended to <why>, here and below. */
enum err kv_enter(struct kv_db *d, bool make, struct buf *why) MUST_CHECK;
void kv_leave(struct kv_db *d);

/* Count as one who has it open; <alone>: as the only one, which nobody can
 * join until kv_users_share(). Within the lock. */
enum err kv_users_join(struct kv_db *d, struct buf *why) MUST_CHECK;
enum err kv_users_share(struct kv_db *d) MUST_CHECK;

/* Note that the file is whole on disk where this is the last one who has it
 * open. Within the lock, before users_fd is closed. */
void kv_users_part(struct kv_db *d, bool synced);

/* Remove the pages; false (errno tells why) when that cannot be. Within the
 * lock; others who have them open find out. */
bool kv_pages_unlink(const struct kv_db *d);

/* The same, with a line in the log. */
void kv_begin_anew(struct kv_db *d, struct str cause);

/* Whether what stands in <dir> was open when the machine went down, and what is
 * said of it. */
#define KV_TORN "the machine went down while it was open"
bool kv_is_torn(const char *dir);

/* Remove pages that cannot be trusted, and note that they are open now. */
enum err kv_file_prepare(struct kv_db *d, struct buf *why) MUST_CHECK;

/* Bytes of the file, 0 when there is none. */
uint64_t kv_file_bytes(const struct kv_db *d);

/* What a program must know to open a namespace. */
struct kv_layout {
    struct digest ns;
    uint64_t page_bytes; /* of a payload */
    uint64_t max_bytes;  /* as it was opened last */
};

/* Read it. ERR_IO, ERR_CORRUPT. */
enum err kv_layout_read(const char *dir, struct kv_layout *out,
                        struct buf *why) MUST_CHECK;

/* Have ns.json and the layout stand there, or find them; one that is damaged
 * is written anew, and where both are, so are the pages. ERR_REFUSED: the
 * directory is another namespace's. */
enum err kv_owner_settle(struct kv_db *d, struct buf *why) MUST_CHECK;

#endif
