/* cache_dir.c - See cache_dir.h. All that opens a file of LMDB is done in a
 * child; what it finds comes back as two or three numbers in a text. */
#include "store/cache_dir.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "store/cache_priv.h"
#include "store/child.h"

/* Room for what a purge makes, beside what is there. */
#define MORE_BYTES ((uint64_t)64 << 20)

/* A file may have to be walked first. */
#define WAIT_MS 600000

/* What is done in a child, and with what. */
struct task {
    const char *dir;
    const struct cache_purge *what; /* NULL: verify */
};

/* --- in the child -------------------------------------------------------- */

static uint64_t file_bytes_of(const char *dir)
{
    struct stat st;
    char path[4200];

    snprintf(path, sizeof(path), "%s/data.mdb", dir);
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static enum err count_in(struct txn *t, void *arg, struct buf *out)
{
    uint64_t entries = 0;
    uint64_t pages = 0;

    (void)arg;
    ERR_TRY(txn_count(t, CACHE_INDEX, &entries));
    ERR_TRY(txn_count_used(t, &pages));
    return buf_printf(out, "%llu %llu", (unsigned long long)entries,
                      (unsigned long long)(pages * CACHE_PAGE_BYTES));
}

static enum err count_child(void *arg, struct buf *out)
{
    const struct task *task = arg;
    const struct env_opts opts = {.dir = task->dir,
                                  .what = "response cache",
                                  .tables = cache_tables,
                                  .n_tables = CACHE_TABLE_COUNT};

    if (child_become_owner(task->dir) == ERR_OK)
        return env_look(&opts, true, count_in, NULL, out);
    env_say(out, "%s: %s", task->dir, strerror(errno));
    return ERR_IO;
}

static enum err work(const struct task *task, struct cache_store *s,
                     struct buf *out)
{
    struct cache_purged purged = {0};
    struct cache_verified v = {0};
    struct cache_stats st;
    enum err err;

    cache_store_stats(s, &st);
    if (!st.is_open) {
        env_say(out, "%s is in use by another process, or cannot be opened",
                task->dir);
        return ERR_IO;
    }
    if (st.anew > 0) {
        env_say(out,
                "%s was damaged as a whole, or open when the machine went "
                "down; it is empty now",
                task->dir);
        return ERR_CORRUPT;
    }
    err = task->what ? cache_store_purge(s, task->what, &purged)
                     : cache_store_verify(s, &v);
    if (err == ERR_OK)
        return buf_printf(
            out, "%llu %llu",
            (unsigned long long)(task->what ? purged.entries : v.entries),
            (unsigned long long)(task->what ? purged.bytes : v.damaged));
    env_say(out, "%s: not all can be read or changed", task->dir);
    return err;
}

static enum err work_child(void *arg, struct buf *out)
{
    const struct task *task = arg;
    const struct cache_store_opts opts = {
        .dir = task->dir,
        .max_bytes = file_bytes_of(task->dir) + MORE_BYTES,
        .max_entry_bytes = CACHE_STORE_LEAST_BYTES,
        .wait_ms = WAIT_MS};
    struct cache_store *s;

    log_level_set(LOG_LEVEL_ERR);
    if (child_become_owner(task->dir) != ERR_OK) {
        env_say(out, "%s: %s", task->dir, strerror(errno));
        return ERR_IO;
    }
    ERR_TRY(cache_store_open(&opts, &s));
    const enum err err = work(task, s, out);
    cache_store_close(s);
    return err;
}

/* --- in the parent ------------------------------------------------------- */

/* Run <fn> in a child, which answers with two numbers. */
static enum err run_child(child_fn *fn, struct task *task,
                          unsigned long long n[2], struct buf *why)
{
    struct child child;
    struct buf said;

    if (child_start(fn, task, &child) != ERR_OK) {
        env_say(why, "there is no child process to read %s", task->dir);
        return ERR_IO;
    }
    buf_init(&said, 4096);
    enum err err = child_finish(&child, &said);
    if (err == ERR_OK)
        err = buf_put(&said, "", 1);
    if (err == ERR_OK && sscanf(said.p, "%llu %llu", &n[0], &n[1]) != 2)
        err = ERR_CORRUPT;
    if (err != ERR_OK)
        env_say(why, "%.*s", STR_ARG(buf_str(&said)));
    buf_fini(&said);
    return err;
}

enum err cache_dir_stats(const char *dir, struct cache_dir_stats *out,
                         struct buf *why)
{
    struct task task = {.dir = dir};
    unsigned long long n[2] = {0};
    struct stat st;

    if (stat(dir, &st) != 0 && errno != ENOENT) {
        env_say(why, "%s cannot be read: %s", dir, strerror(errno));
        return ERR_IO;
    }
    *out = (struct cache_dir_stats){.file_bytes = file_bytes_of(dir)};
    if (out->file_bytes == 0)
        return ERR_OK;
    ERR_TRY(run_child(count_child, &task, n, why));
    out->entries = n[0];
    out->bytes = n[1];
    return ERR_OK;
}

enum err cache_dir_purge(const char *dir, const struct cache_purge *what,
                         struct cache_purged *out, struct buf *why)
{
    struct task task = {.dir = dir, .what = what};
    unsigned long long n[2] = {0};

    if (file_bytes_of(dir) > 0)
        ERR_TRY(run_child(work_child, &task, n, why));
    *out = (struct cache_purged){.entries = n[0], .bytes = n[1]};
    return ERR_OK;
}

enum err cache_dir_verify(const char *dir, struct cache_verified *out,
                          struct buf *why)
{
    struct task task = {.dir = dir};
    unsigned long long n[2] = {0};

    if (file_bytes_of(dir) > 0)
        ERR_TRY(run_child(work_child, &task, n, why));
    *out = (struct cache_verified){.entries = n[0], .damaged = n[1]};
    return ERR_OK;
}
