/* kv_room.h - Room for namespaces on the disk: a root directory that holds
 * many, of which those that nobody has open make room for those in use; and
 * what is done when the disk itself is full. */
#ifndef TG_STORE_KV_ROOM_H
#define TG_STORE_KV_ROOM_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct kv_db;

/* Bytes of a namespace's name with its NUL: 16 hex digits. */
#define KV_ROOM_NAME 17

/* A namespace as it stands on disk. */
struct kv_room_ns {
    char name[KV_ROOM_NAME];
    uint64_t bytes;      /* of all its files */
    uint64_t disk_bytes; /* that these take, and their directory */
    uint64_t used_ns;    /* when it was used last, since the epoch */
};

/* The namespaces in <root>, longest unused first; freed with free(). Other
 * things that stand there are passed over. ERR_IO (errno tells why),
 * ERR_NOMEM. */
enum err kv_room_scan(const char *root, struct kv_room_ns **out,
                      unsigned *n_out) MUST_CHECK;

/* Whether <name> is a name as a namespace has one. */
bool kv_room_is_name(const char *name);

/* Bytes on disk that the namespace in <dir> takes, 0 when it is none. */
uint64_t kv_room_bytes(const char *dir);

/* Whether the namespace in <dir> has a file of pages. */
bool kv_room_has_pages(const char *dir);

/* Lock <root> against others who want to know how much room there is, until
 * kv_room_leave(); -1 when that cannot be. */
int kv_room_enter(const char *root);
void kv_room_leave(int root_fd);

/* Whether somebody has the namespace in <dir> open, or opens it now. */
bool kv_room_is_open(const char *dir);

/* Remove the namespace in <dir> from the disk, but for files that are not of
 * it. ERR_EXISTS: somebody has it open; ERR_IO: a sentence is appended to
 * <why>. */
enum err kv_room_remove(const char *dir, struct buf *why) MUST_CHECK;

/* Remove namespaces that nobody has open, longest unused first and with a line
 * in the log each, until all that stands in <root> but that in <own> takes no
 * more than <most> bytes of disk. Gives the bytes that it takes then. Within
 * kv_room_enter(). */
uint64_t kv_room_make(const char *root, uint64_t most, const char *own);

/* Writer: find room for <n> pages, and hold it until kv_room_leave() of
 * <root_fd_out>, which is -1 when the file needs none. ERR_IO: there is none.
 */
enum err kv_room_take(struct kv_db *d, unsigned n, int *root_fd_out) MUST_CHECK;

/* Writer, after a failure: whether the disk was full; the file then stays as
 * large as it is. */
bool kv_room_is_disk_full(struct kv_db *d);

/* Writer, now and then: let the file grow again once the disk has room. */
void kv_room_look(struct kv_db *d);

#endif
