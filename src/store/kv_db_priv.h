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

/* A namespace. Nothing changes once it is open, but for what is the writer's
 * own. */
struct kv_db {
    char *dir;   /* owned */
    char *about; /* text of ns.json, owned */
    struct env *env;
    struct digest ns;
    size_t payload_bytes;
    uint64_t max_bytes;  /* of the file */
    uint64_t max_pages;  /* that are kept */
    uint64_t page_bytes; /* of one on disk */
    unsigned batch;      /* most pages of one transaction */

    /* The writer's own. */
    int dir_fd; /* between kv_enter() and kv_leave(), else -1 */
    int users_fd;
    bool alone;         /* nobody else had it open when it was opened */
    bool anew;          /* it was begun anew when it was opened */
    uint64_t commit_us; /* that the last commit took, a page */
};

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

/* Remove the pages, with a line in the log. Within the lock; others who have
 * them open find out. */
void kv_begin_anew(struct kv_db *d, struct str cause);

/* Remove pages that cannot be trusted, and note that they are open now. */
enum err kv_file_prepare(struct kv_db *d, struct buf *why) MUST_CHECK;

/* Bytes of the file, 0 when there is none. */
uint64_t kv_file_bytes(const struct kv_db *d);

/* Have the text of ns.json there, or find it. ERR_REFUSED: another one. */
enum err kv_about_settle(const struct kv_db *d, struct buf *why) MUST_CHECK;

#endif
