/* kv_dir.h - The directory that holds all namespaces, seen from outside: by a
 * tool, whether or not a daemon has them open, and whoever owns it. What might
 * end a process, a damaged file, is only looked at by a child. Files that must
 * be made are made as the owner of the namespace. Any thread. */
#ifndef TG_STORE_KV_DIR_H
#define TG_STORE_KV_DIR_H

#include "base/buf.h"
#include "base/err.h"
#include "store/kv_room.h"

/* A namespace. */
struct kv_dir_ns {
    char name[KV_ROOM_NAME]; /* of its directory */
    uint64_t bytes;          /* of all its files */
    uint64_t max_bytes;      /* that its pages may have, 0 = not known */
    uint64_t used_ms;        /* when it was used last, since the epoch */
    bool is_open;            /* somebody has it open */
    uint64_t pages;
    uint64_t page_bytes; /* of a payload, 0 = not known */
    char *about;   /* text of its ns.json, "" where there is none; owned */
    char *trouble; /* why its pages cannot be read, NULL: they can; owned */
};

/* The namespaces in <root>, longest unused first; freed with kv_dir_free(). A
 * root that does not exist has none. On failure a sentence is appended to
 * <why>. ERR_IO, ERR_NOMEM. */
enum err kv_dir_list(const char *root, struct kv_dir_ns **out, unsigned *n_out,
                     struct buf *why) MUST_CHECK;

/* Free a list; NULL is fine. */
void kv_dir_free(struct kv_dir_ns *list, unsigned n);

/* What verifying found. */
struct kv_dir_verified {
    uint64_t pages;   /* that were read */
    uint64_t bad;     /* of them, that are not what was stored */
    uint64_t dropped; /* of these */
};

/* Read every page of a namespace and prove it; <drop> deletes the bad ones.
 * Others may use it meanwhile. ERR_CORRUPT: the file itself is damaged or
 * cannot be trusted, whoever opens it to write begins it anew; ERR_NOT_FOUND:
 * no such namespace; ERR_IO: it cannot be opened; a sentence is appended to
 * <why>. */
enum err kv_dir_verify(const char *root, const char *name, bool drop,
                       struct kv_dir_verified *out, struct buf *why) MUST_CHECK;

/* Remove all pages of a namespace from the disk: with all of its files, unless
 * somebody has it open, who then begins it anew. ERR_NOT_FOUND; ERR_IO: a
 * sentence is appended to <why>. */
enum err kv_dir_purge(const char *root, const char *name,
                      struct buf *why) MUST_CHECK;

/* Remove a namespace. ERR_EXISTS: somebody has it open; else as
 * kv_dir_purge(). */
enum err kv_dir_remove(const char *root, const char *name,
                       struct buf *why) MUST_CHECK;

/* Remove namespaces that nobody has open, longest unused first and with a line
 * in the log each, until all in <root> and <want> more bytes are at most
 * <bound>; never that in the directory <own>. A writer does it before each
 * transaction by itself, see kv_db_opts. */
void kv_dir_make_room(const char *root, uint64_t bound, uint64_t want,
                      const char *own);

#endif
