/* kv_files.c - The files of a namespace's directory but for the pages: who has
 * it open, what it was made of, and whether the pages can be trusted. All that
 * opens, mends or removes a namespace holds the lock of its directory, for a
 * moment; see kv_enter(). */
#include "store/kv_db_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "store/boot.h"

/* How often a directory that was removed under our feet is made again. */
#define ENTER_TRIES 8

void kv_path(const struct kv_db *d, const char *name, char out[4096])
{
    if (snprintf(out, 4096, "%s/%s", d->dir, name) >= 4096)
        out[0] = '\0'; /* then nothing can be opened */
}

static bool lock_wait(int fd, int how)
{
    int rc;

    do
        rc = flock(fd, how);
    while (rc != 0 && errno == EINTR);
    return rc == 0;
}

/* Whether <fd> is what stands at <path>. */
static bool is_at(int fd, const char *path)
{
    struct stat a;
    struct stat b;

    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* --- the directory ------------------------------------------------------- */

/* Make the directory where it is missing, and the one around it. */
static bool make_dir(const struct kv_db *d)
{
    if (mkdir(d->dir, 0700) == 0 || errno == EEXIST)
        return true;
    if (errno != ENOENT || (mkdir(d->root, 0700) != 0 && errno != EEXIST))
        return false;
    return mkdir(d->dir, 0700) == 0 || errno == EEXIST;
}

enum err kv_enter(struct kv_db *d, bool make, struct buf *why)
{
    for (unsigned i = 0; i < ENTER_TRIES; i++) {
        if (make && !make_dir(d)) {
            env_say(why, "prefix store %s cannot be made: %s", d->dir,
                    strerror(errno));
            return ERR_IO;
        }
        d->dir_fd = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (d->dir_fd < 0)
            break;
        if (lock_wait(d->dir_fd, LOCK_EX) && is_at(d->dir_fd, d->dir))
            return ERR_OK;
        kv_leave(d); /* it was removed meanwhile */
    }
    env_say(why, "prefix store %s cannot be opened: %s", d->dir,
            strerror(errno));
    return ERR_IO;
}

void kv_leave(struct kv_db *d)
{
    if (d->dir_fd >= 0)
        close(d->dir_fd);
    d->dir_fd = -1;
}

/* --- who has it open ----------------------------------------------------- */

enum err kv_users_join(struct kv_db *d, struct buf *why)
{
    char path[4096];

    kv_path(d, "users", path);
    if (d->users_fd >= 0 && !is_at(d->users_fd, path)) {
        close(d->users_fd);
        d->users_fd = -1;
    }
    if (d->users_fd < 0)
        d->users_fd =
            open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->users_fd < 0) {
        env_say(why, "%s cannot be opened: %s", path, strerror(errno));
        return ERR_IO;
    }
    d->alone = flock(d->users_fd, LOCK_EX | LOCK_NB) == 0;
    if (d->alone || lock_wait(d->users_fd, LOCK_SH))
        return ERR_OK;
    env_say(why, "%s cannot be locked: %s", path, strerror(errno));
    return ERR_IO;
}

enum err kv_users_share(struct kv_db *d)
{
    return lock_wait(d->users_fd, LOCK_SH) ? ERR_OK : ERR_IO;
}

void kv_users_part(struct kv_db *d, bool synced)
{
    if (!synced || d->users_fd < 0 ||
        flock(d->users_fd, LOCK_EX | LOCK_NB) != 0)
        return;
    if (ftruncate(d->users_fd, 0) != 0)
        log_warn(LOG_STORE,
                 "prefix store counts as still open: dir=%s error=%s", d->dir,
                 strerror(errno));
}

/* Whether the file was open when the machine went down. */
static bool is_torn(const struct kv_db *d, const struct boot_id *now)
{
    struct boot_id then;
    const ssize_t n = pread(d->users_fd, then.b, sizeof(then.b), 0);

    if (n == 0)
        return false;
    return n != (ssize_t)sizeof(then.b) || !boot_id_eq(&then, now);
}

static enum err users_mark(const struct kv_db *d, const struct boot_id *now)
{
    if (pwrite(d->users_fd, now->b, sizeof(now->b), 0) !=
            (ssize_t)sizeof(now->b) ||
        fsync(d->users_fd) != 0)
        return ERR_IO;
    return ERR_OK;
}

/* --- the pages ----------------------------------------------------------- */

bool kv_pages_unlink(const struct kv_db *d)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "format"};
    char path[4096];
    bool ok = true;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        kv_path(d, names[i], path);
        ok = (unlink(path) == 0 || errno == ENOENT) && ok;
    }
    return ok;
}

void kv_begin_anew(struct kv_db *d, struct str cause)
{
    if (!kv_pages_unlink(d))
        return; /* opening it says why it cannot be */
    d->anew = true;
    log_note(LOG_STORE, "prefix store begins anew: dir=%s cause=\"%.*s\"",
             d->dir, STR_ARG(cause));
}

uint64_t kv_file_bytes(const struct kv_db *d)
{
    struct stat st;
    char path[4096];

    kv_path(d, "data.mdb", path);
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

bool kv_is_torn(const char *dir)
{
    struct kv_db d = {.users_fd = -1};
    struct boot_id now;
    char path[4200];

    snprintf(path, sizeof(path), "%s/users", dir);
    d.users_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (d.users_fd < 0)
        return false;
    boot_id_read(&now);
    const bool torn = is_torn(&d, &now);
    close(d.users_fd);
    return torn;
}

enum err kv_file_prepare(struct kv_db *d, struct buf *why)
{
    const uint64_t size = kv_file_bytes(d);
    struct boot_id now;

    if (!d->alone)
        return ERR_OK;
    boot_id_read(&now);
    const bool torn = size > 0 && is_torn(d, &now);
    if (torn && d->keep) {
        env_say(why, "prefix store %s cannot be trusted: " KV_TORN, d->dir);
        return ERR_CORRUPT;
    }
    if (torn)
        kv_begin_anew(d, STR(KV_TORN));
    else if (size > d->max_bytes && !d->keep)
        kv_begin_anew(d, STR("it is larger than it may be"));
    if (users_mark(d, &now) == ERR_OK)
        return ERR_OK;
    env_say(why, "%s/users cannot be written: %s", d->dir, strerror(errno));
    return ERR_IO;
}

/* --- what it is ---------------------------------------------------------- */

static enum err file_write(const struct kv_db *d, const char *name,
                           struct str text)
{
    char from[4096];
    char to[4096];
    char part[64];

    snprintf(part, sizeof(part), "%s.new", name);
    kv_path(d, part, from);
    kv_path(d, name, to);
    const int fd =
        open(from, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return ERR_IO;
    const bool ok = write(fd, text.p, text.len) == (ssize_t)text.len;
    close(fd);
    if (ok && rename(from, to) == 0)
        return ERR_OK;
    unlink(from);
    return ERR_IO;
}

/* Whether ns.json says what the namespace was made of. */
static bool is_about_ours(const struct kv_db *d)
{
    const struct str about = str_from(d->about);
    char *text = malloc(about.len + 1);
    char path[4096];
    ssize_t n = -1;

    kv_path(d, "ns.json", path);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && text)
        n = read(fd, text, about.len + 1);
    if (fd >= 0)
        close(fd);
    const bool ours = n >= 0 && str_eq(str_of(text, (size_t)n), about);
    free(text);
    return ours;
}

/* --- what a program needs ------------------------------------------------ */

enum err kv_layout_read(const char *dir, struct kv_layout *out, struct buf *why)
{
    unsigned long long bytes[2] = {0};
    char hex[DIGEST_HEX_SIZE] = "";
    struct kv_layout l;
    char text[512] = "";
    char path[4200];

    snprintf(path, sizeof(path), "%s/layout", dir);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    const ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (n < 0)
        env_say(why, "%s cannot be read: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return ERR_IO;
    if (sscanf(text, "namespace %64s page_bytes %llu max_bytes %llu", hex,
               &bytes[0], &bytes[1]) != 3 ||
        strlen(hex) != 2 * DIGEST_BYTES ||
        digest_unhex(str_from(hex), l.ns.b) != ERR_OK) {
        env_say(why, "%s is damaged", path);
        return ERR_CORRUPT;
    }
    l.page_bytes = bytes[0];
    l.max_bytes = bytes[1];
    *out = l;
    return ERR_OK;
}

static enum err layout_write(const struct kv_db *d)
{
    char hex[DIGEST_HEX_SIZE];
    char text[256];

    digest_hex(d->ns.b, sizeof(d->ns.b), hex);
    const int n = snprintf(
        text, sizeof(text), "namespace %s\npage_bytes %zu\nmax_bytes %llu\n",
        hex, d->payload_bytes, (unsigned long long)d->max_bytes);
    return file_write(d, "layout", str_of(text, (size_t)n));
}

/* Whether the layout that was read is what it has to be. */
static bool layout_is(const struct kv_db *d, bool is_known,
                      const struct kv_layout *l)
{
    return is_known && digest_eq(l->ns.b, d->ns.b, sizeof(d->ns.b)) &&
           l->page_bytes == d->payload_bytes && l->max_bytes == d->max_bytes;
}

/* Whose the directory is, by what stands there. Either file may be damaged. */
enum owner {
    OWNER_US,
    OWNER_NOBODY, /* that can be told */
    OWNER_OTHER,
};

static enum owner owner_of(const struct kv_db *d, bool is_known, bool is_ours,
                           const struct kv_layout *l)
{
    if (is_ours)
        return OWNER_US;
    if (!is_known)
        return OWNER_NOBODY;
    return digest_eq(l->ns.b, d->ns.b, sizeof(d->ns.b)) &&
                   l->page_bytes == d->payload_bytes
               ? OWNER_US
               : OWNER_OTHER;
}

enum err kv_owner_settle(struct kv_db *d, struct buf *why)
{
    struct kv_layout l = {.max_bytes = 0};
    struct buf none;
    const bool ours = is_about_ours(d);

    buf_init(&none, 512);
    const bool known = kv_layout_read(d->dir, &l, &none) == ERR_OK;
    buf_fini(&none);
    const enum owner owner = owner_of(d, known, ours, &l);
    if (owner == OWNER_OTHER) {
        env_say(why, "%s is of another model or version; move it away", d->dir);
        return ERR_REFUSED;
    }
    if (owner == OWNER_NOBODY && kv_file_bytes(d) > 0)
        kv_begin_anew(d, STR("nothing says what it is of"));
    if (!ours && file_write(d, "ns.json", str_from(d->about)) != ERR_OK) {
        env_say(why, "%s/ns.json cannot be written: %s", d->dir,
                strerror(errno));
        return ERR_IO;
    }
    if (layout_is(d, known, &l) || layout_write(d) == ERR_OK)
        return ERR_OK;
    env_say(why, "%s/layout cannot be written: %s", d->dir, strerror(errno));
    return ERR_IO;
}
