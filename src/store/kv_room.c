/* kv_room.c - How much room namespaces have, and who makes room for whom. The
 * bound of a root directory holds for several processes: whoever lets a file
 * grow holds the lock of the root from looking until it is written. A file that
 * has all it may have needs no look. */
#include "store/kv_room.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/kv_db_priv.h"
#include "store/kv_models.h"

/* Rows of index that a transaction may write beside its pages. */
#define SPARE_BYTES 65536

/* A disk has room again when it has this much. */
#define ROOM_AGAIN_BYTES ((uint64_t)128 << 20)

/* Kept free of a root for the first files of whom opens a namespace beside
 * others that have all the rest. */
#define HEADROOM_BYTES ((uint64_t)256 << 10)

/* What disks give a file, and a directory at least. */
#define BLOCK_BYTES 4096

/* Files of a root beside its namespaces. */
static const char *const loose[] = {"digests", "digests.lock", "engine.key"};

#define LOOSE (sizeof(loose) / sizeof(loose[0]))

/* Files of a namespace, the one that says that it is one first. */
static const char *const files[] = {"users",        "data.mdb",   "lock.mdb",
                                    "format",       "format.new", "ns.json",
                                    "ns.json.new",  "layout",     "layout.new",
                                    KV_MODELS_FILE, "lock"};

#define FILES (sizeof(files) / sizeof(files[0]))

/* --- what stands there --------------------------------------------------- */

bool kv_room_is_name(const char *name)
{
    return strlen(name) == KV_ROOM_NAME - 1 &&
           strspn(name, "0123456789abcdef") == KV_ROOM_NAME - 1;
}

static uint64_t on_disk(const struct stat *st)
{
    return ((uint64_t)st->st_size + BLOCK_BYTES - 1) / BLOCK_BYTES *
           BLOCK_BYTES;
}

/* Bytes on disk that <root> takes without its namespaces. */
static uint64_t loose_bytes(const char *root)
{
    uint64_t sum = BLOCK_BYTES;
    char path[4200];
    struct stat st;

    for (size_t i = 0; i < LOOSE; i++) {
        snprintf(path, sizeof(path), "%s/%s", root, loose[i]);
        sum += lstat(path, &st) == 0 ? on_disk(&st) : 0;
    }
    return sum;
}

/* Add up the files of the namespace in <dir> of <at_fd>; false when it is
 * none. */
static bool look(int at_fd, const char *dir, struct kv_room_ns *out)
{
    char path[4200];
    struct stat st;

    for (size_t i = 0; i < FILES; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
        if (fstatat(at_fd, path, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            if (i == 0)
                return false;
            continue;
        }
        const uint64_t at_ns = (uint64_t)st.st_mtim.tv_sec * 1000000000 +
                               (uint64_t)st.st_mtim.tv_nsec;
        out->bytes += (uint64_t)st.st_size;
        out->disk_bytes += on_disk(&st);
        if (i < 2 && at_ns > out->used_ns)
            out->used_ns = at_ns;
    }
    out->disk_bytes += BLOCK_BYTES;
    return true;
}

uint64_t kv_room_bytes(const char *dir)
{
    struct kv_room_ns ns = {.bytes = 0};

    return look(AT_FDCWD, dir, &ns) ? ns.disk_bytes : 0;
}

bool kv_room_has_pages(const char *dir)
{
    char path[4200];
    struct stat st;

    snprintf(path, sizeof(path), "%s/data.mdb", dir);
    return stat(path, &st) == 0 && st.st_size > 0;
}

static int by_use(const void *a, const void *b)
{
    const struct kv_room_ns *x = a;
    const struct kv_room_ns *y = b;

    if (x->used_ns != y->used_ns)
        return x->used_ns < y->used_ns ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* A longer list with room for one more, NULL without memory. */
static struct kv_room_ns *one_more(struct kv_room_ns *list, unsigned n)
{
    if (n % 16 != 0)
        return list;
    struct kv_room_ns *more = realloc(list, (n + 16) * sizeof(*list));
    if (!more)
        free(list);
    return more;
}

static enum err read_root(DIR *dir, struct kv_room_ns **out, unsigned *n_out)
{
    struct kv_room_ns *list = NULL;
    const struct dirent *e;
    unsigned n = 0;

    while ((e = readdir(dir)) != NULL) {
        struct kv_room_ns ns = {0};

        if (!kv_room_is_name(e->d_name))
            continue;
        memcpy(ns.name, e->d_name, sizeof(ns.name));
        if (!look(dirfd(dir), ns.name, &ns))
            continue;
        list = one_more(list, n);
        if (!list)
            return ERR_NOMEM;
        list[n++] = ns;
    }
    if (n > 0)
        qsort(list, n, sizeof(*list), by_use);
    *out = list;
    *n_out = n;
    return ERR_OK;
}

enum err kv_room_scan(const char *root, struct kv_room_ns **out,
                      unsigned *n_out)
{
    DIR *dir = opendir(root);

    if (!dir)
        return ERR_IO;
    const enum err err = read_root(dir, out, n_out);
    closedir(dir);
    return err;
}

/* --- who makes room ------------------------------------------------------ */

int kv_room_enter(const char *root)
{
    const int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || flock(fd, LOCK_EX) == 0)
        return fd;
    close(fd);
    return -1;
}

void kv_room_leave(int root_fd)
{
    if (root_fd >= 0)
        close(root_fd);
}

/* Lock the namespace in <dir> and its users against all others, without
 * waiting. ERR_EXISTS: somebody has it. */
static enum err seize(const char *dir, int *dir_fd_out, int *users_fd_out)
{
    char path[4096];

    *users_fd_out = -1;
    *dir_fd_out = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (*dir_fd_out < 0)
        return ERR_IO;
    if (flock(*dir_fd_out, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? ERR_EXISTS : ERR_IO;
    if (snprintf(path, sizeof(path), "%s/users", dir) >= (int)sizeof(path))
        return ERR_IO;
    *users_fd_out = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*users_fd_out < 0)
        return errno == ENOENT ? ERR_OK : ERR_IO;
    if (flock(*users_fd_out, LOCK_EX | LOCK_NB) == 0)
        return ERR_OK;
    return errno == EWOULDBLOCK ? ERR_EXISTS : ERR_IO;
}

static void release(int dir_fd, int users_fd)
{
    if (users_fd >= 0)
        close(users_fd);
    if (dir_fd >= 0)
        close(dir_fd);
}

bool kv_room_is_open(const char *dir)
{
    int dir_fd;
    int users_fd;
    const enum err err = seize(dir, &dir_fd, &users_fd);

    release(dir_fd, users_fd);
    return err == ERR_EXISTS;
}

/* The directory's lock is held: who waits for it finds that it is gone. */
static enum err remove_files(const char *dir, int dir_fd)
{
    for (size_t i = FILES; i > 0; i--) {
        if (unlinkat(dir_fd, files[i - 1], 0) != 0 && errno != ENOENT)
            return ERR_IO;
    }
    return rmdir(dir) == 0 || errno == ENOTEMPTY ? ERR_OK : ERR_IO;
}

enum err kv_room_remove(const char *dir, struct buf *why)
{
    int dir_fd;
    int users_fd;
    enum err err = seize(dir, &dir_fd, &users_fd);

    if (err == ERR_OK)
        err = remove_files(dir, dir_fd);
    if (err == ERR_IO)
        env_say(why, "prefix store %s cannot be removed: %s", dir,
                strerror(errno));
    release(dir_fd, users_fd);
    return err;
}

static bool make_one(const char *root, const struct kv_room_ns *ns)
{
    const uint64_t now_ns = clock_now_wall_ms() * 1000000;
    char dir[4096];
    struct buf why;

    if (snprintf(dir, sizeof(dir), "%s/%s", root, ns->name) >= (int)sizeof(dir))
        return false;
    buf_init(&why, 1024);
    const enum err err = kv_room_remove(dir, &why);
    if (err == ERR_OK)
        log_note(LOG_STORE,
                 "prefix store removed to make room: dir=%s bytes=%llu "
                 "unused_s=%llu",
                 dir, (unsigned long long)ns->bytes,
                 (unsigned long long)(now_ns > ns->used_ns
                                          ? (now_ns - ns->used_ns) / 1000000000
                                          : 0));
    buf_fini(&why);
    return err == ERR_OK;
}

/* The name of <dir> in its root. */
static const char *name_of(const char *dir)
{
    const char *slash = strrchr(dir, '/');

    return slash ? slash + 1 : dir;
}

uint64_t kv_room_make(const char *root, uint64_t most, const char *own)
{
    struct kv_room_ns *list = NULL;
    unsigned n = 0;
    uint64_t sum = loose_bytes(root);

    if (kv_room_scan(root, &list, &n) != ERR_OK)
        return sum;
    for (unsigned i = 0; i < n; i++)
        sum += strcmp(list[i].name, name_of(own)) != 0 ? list[i].disk_bytes : 0;
    for (unsigned i = 0; i < n && sum > most; i++) {
        if (strcmp(list[i].name, name_of(own)) != 0 && make_one(root, &list[i]))
            sum -= list[i].disk_bytes;
    }
    free(list);
    return sum;
}

/* --- room for a file ----------------------------------------------------- */

/* Let the file have <cap> bytes at most from now on, or what it has. */
static enum err cap_set(struct kv_db *d, uint64_t cap)
{
    const uint64_t size = kv_file_bytes(d);

    if (cap < size)
        cap = size;
    if (cap > d->max_bytes)
        cap = d->max_bytes;
    cap &= ~(uint64_t)4095;
    if (cap != env_map_bytes(d->env))
        ERR_TRY(env_limit(d->env, cap));
    return cap == d->cap_bytes ? ERR_OK : kv_plan(d, cap);
}

static enum err root_take(struct kv_db *d, unsigned n)
{
    const uint64_t batch = n < d->batch ? n : d->batch;
    const uint64_t now = kv_room_bytes(d->dir);
    const uint64_t size = kv_file_bytes(d);
    const uint64_t small = now > size ? now - size : 0;
    uint64_t want = kv_plan_bytes(d, kv_count(d) + batch);

    if (want < size + batch * d->page_bytes + SPARE_BYTES)
        want = size + batch * d->page_bytes + SPARE_BYTES;
    if (want > d->max_bytes)
        want = d->max_bytes;
    want += small;
    const uint64_t bound =
        d->root_bytes > HEADROOM_BYTES ? d->root_bytes - HEADROOM_BYTES : 0;
    const uint64_t others =
        kv_room_make(d->root, bound > want ? bound - want : 0, d->dir);
    return cap_set(d, bound > others + small ? bound - others - small : 0);
}

enum err kv_room_take(struct kv_db *d, unsigned n, int *root_fd_out)
{
    const uint64_t size = kv_file_bytes(d);

    *root_fd_out = -1;
    if (d->root_bytes == 0 || d->is_disk_full)
        return ERR_OK;
    if (size + d->page_bytes > d->max_bytes) /* as good as full */
        return cap_set(d, size);
    *root_fd_out = kv_room_enter(d->root);
    const enum err err = root_take(d, n);
    if (err != ERR_RANGE)
        return err;
    return env_fail(d->env, EDQUOT);
}

bool kv_room_is_disk_full(struct kv_db *d)
{
    if (!env_is_disk_full(d->env))
        return false;
    d->is_disk_full = true;
    return cap_set(d, 0) == ERR_OK;
}

void kv_room_look(struct kv_db *d)
{
    struct statvfs fs;

    if (!d->is_disk_full || statvfs(d->dir, &fs) != 0 ||
        (uint64_t)fs.f_bavail * fs.f_frsize < ROOM_AGAIN_BYTES)
        return;
    d->is_disk_full = cap_set(d, d->max_bytes) != ERR_OK;
}
