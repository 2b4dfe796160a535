/* kv_db.c - Opening a namespace: who else has it open, whether its file can be
 * trusted, and where it ends. In its directory stand
 *
 *   users     locked by all who have it open, alone by who opens it as the
 *             first; holds the boot it was opened in until it is closed
 *   ns.json   what the namespace was made of
 *   data.mdb  pages by hash, ticks by hash, hashes by tick
 *
 * LMDB never syncs here, but every few seconds: that survives the death of a
 * process, not that of the machine. So a file that was open in another boot is
 * thrown away. */
#include "store/kv_db.h"

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
#include "store/kv_db_priv.h"

/* Bytes of index rows a page, generously. */
#define ROW_BYTES 512

#define MIB ((uint64_t)1 << 20)

/* One transaction writes no more. */
#define BATCH_BYTES (32 * MIB)

static const char *const tables[KV_TABLE_COUNT] = {
    [KV_PAGES] = "pages", [KV_TICKS] = "ticks", [KV_ORDER] = "order"};

static void path_in(const struct kv_db *d, const char *name, char out[4096])
{
    if (snprintf(out, 4096, "%s/%s", d->dir, name) >= 4096)
        out[0] = '\0'; /* then nothing can be opened */
}

/* --- room ---------------------------------------------------------------- */

/* LMDB may use a page again only in a later transaction: what one of them gives
 * up and what the next one writes must find room beside each other. */
static enum err room_plan(struct kv_db *d, struct buf *why)
{
    const uint64_t value = KV_HEAD_BYTES + d->payload_bytes;
    const uint64_t spare = d->max_bytes / 10 > 4 * BATCH_BYTES
                               ? 4 * BATCH_BYTES
                               : d->max_bytes / 10 + MIB;

    d->page_bytes = (value + 16 + 4095) / 4096 * 4096 + ROW_BYTES;
    if (d->max_bytes < KV_DB_LEAST_BYTES || d->max_bytes < 16 * d->page_bytes) {
        env_say(why, "the prefix store %s is too small: its least is %llu MiB",
                d->dir,
                (unsigned long long)((16 * d->page_bytes > KV_DB_LEAST_BYTES
                                          ? 16 * d->page_bytes
                                          : KV_DB_LEAST_BYTES) /
                                         MIB +
                                     1));
        return ERR_RANGE;
    }
    d->batch = (unsigned)((spare < BATCH_BYTES ? spare : BATCH_BYTES) / 3 /
                          d->page_bytes);
    d->batch = d->batch ? d->batch : 1;
    d->max_pages = (d->max_bytes - spare) / d->page_bytes - 3 * d->batch;
    return ERR_OK;
}

/* --- who has it open ----------------------------------------------------- */

static enum err users_open(struct kv_db *d, struct buf *why)
{
    char path[4096];

    path_in(d, "users", path);
    if (mkdir(d->dir, 0700) != 0 && errno != EEXIST) {
        env_say(why, "prefix store %s cannot be made: %s", d->dir,
                strerror(errno));
        return ERR_IO;
    }
    d->users_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->users_fd < 0) {
        env_say(why, "%s cannot be opened: %s", path, strerror(errno));
        return ERR_IO;
    }
    d->alone = flock(d->users_fd, LOCK_EX | LOCK_NB) == 0;
    /* Who opens it alone is done in a moment. */
    while (!d->alone && flock(d->users_fd, LOCK_SH) != 0) {
        if (errno != EINTR)
            return ERR_IO;
    }
    return ERR_OK;
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

static void begin_anew(const struct kv_db *d, struct str cause)
{
    char path[4096];

    path_in(d, "data.mdb", path);
    unlink(path);
    path_in(d, "lock.mdb", path);
    unlink(path);
    path_in(d, "format", path);
    unlink(path);
    log_note(LOG_STORE, "prefix store begins anew: dir=%s cause=\"%.*s\"",
             d->dir, STR_ARG(cause));
}

static enum err file_prepare(struct kv_db *d, struct buf *why)
{
    struct boot_id now;
    struct stat st;
    char path[4096];

    if (!d->alone)
        return ERR_OK;
    boot_id_read(&now);
    path_in(d, "data.mdb", path);
    if (stat(path, &st) != 0)
        st.st_size = 0;
    if (st.st_size > 0 && is_torn(d, &now))
        begin_anew(d, STR("the machine went down while it was open"));
    else if ((uint64_t)st.st_size > d->max_bytes)
        begin_anew(d, STR("it is larger than it may be"));
    if (users_mark(d, &now) == ERR_OK)
        return ERR_OK;
    env_say(why, "%s/users cannot be written: %s", d->dir, strerror(errno));
    return ERR_IO;
}

/* --- what it is ---------------------------------------------------------- */

static enum err about_write(const struct kv_db *d, struct str about,
                            const char *path)
{
    char from[4096];

    path_in(d, "ns.json.new", from);
    const int fd =
        open(from, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return ERR_IO;
    const bool ok = write(fd, about.p, about.len) == (ssize_t)about.len;
    close(fd);
    if (ok && rename(from, path) == 0)
        return ERR_OK;
    unlink(from);
    return ERR_IO;
}

/* Have <about> in ns.json, or find it there. */
static enum err about_settle(const struct kv_db *d, struct str about,
                             struct buf *why)
{
    char path[4096];
    char *text = malloc(about.len + 1);
    enum err err = ERR_OK;

    if (!text)
        return ERR_NOMEM;
    path_in(d, "ns.json", path);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) {
        const ssize_t n = read(fd, text, about.len + 1);

        close(fd);
        if (n < 0 || !str_eq(str_of(text, (size_t)n), about)) {
            env_say(why, "%s is of another model or version; move %s away",
                    path, d->dir);
            err = ERR_REFUSED;
        }
    } else if (errno != ENOENT || about_write(d, about, path) != ERR_OK) {
        env_say(why, "%s: %s", path, strerror(errno));
        err = ERR_IO;
    }
    free(text);
    return err;
}

/* --- open and close ------------------------------------------------------ */

static enum err env_begin(struct kv_db *d, struct buf *why)
{
    const struct env_opts opts = {
        .dir = d->dir,
        .what = "prefix store",
        .tables = tables,
        .n_tables = KV_TABLE_COUNT,
        .flags = ENV_NOSYNC | ENV_UNLOCKED | (d->alone ? 0 : ENV_UNWALKED),
        .map_bytes = d->max_bytes,
        .map_bytes_max = d->max_bytes,
    };
    const size_t len = why->len;
    const enum err err = env_open(&opts, &d->env, why);

    if (err != ERR_CORRUPT || !d->alone)
        return err;
    /* What comes behind it is advice for files that are worth mending. */
    const char *end = memchr(why->p + len, ';', why->len - len);
    begin_anew(d, str_of(why->p + len,
                         end ? (size_t)(end - why->p) - len : why->len - len));
    why->len = len;
    return env_open(&opts, &d->env, why);
}

static void db_free(struct kv_db *d)
{
    env_close(d->env);
    if (d->users_fd >= 0)
        close(d->users_fd);
    free(d->dir);
    free(d);
}

enum err kv_db_open(const struct kv_db_opts *opts, struct kv_db **out,
                    struct buf *why)
{
    struct kv_db *d = calloc(1, sizeof(*d));
    enum err err = ERR_NOMEM;

    if (!d)
        return ERR_NOMEM;
    d->users_fd = -1;
    d->ns = opts->ns;
    d->payload_bytes = opts->payload_bytes;
    d->max_bytes = opts->max_bytes / MIB * MIB;
    d->dir = strdup(opts->dir);
    if (d->dir)
        err = room_plan(d, why);
    if (err == ERR_OK)
        err = users_open(d, why);
    if (err == ERR_OK)
        err = about_settle(d, opts->about, why);
    if (err == ERR_OK)
        err = file_prepare(d, why);
    if (err == ERR_OK)
        err = env_begin(d, why);
    if (err == ERR_OK && d->alone && flock(d->users_fd, LOCK_SH) != 0)
        err = ERR_IO;
    if (err != ERR_OK) {
        db_free(d);
        return err;
    }
    *out = d;
    return ERR_OK;
}

void kv_db_close(struct kv_db *d)
{
    if (!d)
        return;
    const bool synced = env_sync(d->env) == ERR_OK;
    env_close(d->env);
    d->env = NULL;
    /* The last one to go says that nothing is open. */
    if (synced && flock(d->users_fd, LOCK_EX | LOCK_NB) == 0 &&
        ftruncate(d->users_fd, 0) != 0)
        log_warn(LOG_STORE, "prefix store %s counts as still open", d->dir);
    db_free(d);
}
