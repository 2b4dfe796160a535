/* cache_file.c - The file of replies: when it may be used, and what is done
 * with one that may not. In its directory stand
 *
 *   data.mdb          entries by number, numbers by key
 *   data.mdb.damaged  one that was damaged; the last such
 *   state             what data.mdb was like after the last commit, the boot
 *                     that was in, and whether it was closed
 *   lock, lock.mdb, format
 *
 * LMDB never syncs here but when it is closed: what a process wrote outlives it
 * in the page cache, but not the machine. As data.mdb only changes by commits,
 * one that is as <state> says needs no look; any other is walked in a child
 * before it is touched. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/log.h"
#include "store/boot.h"
#include "store/cache_priv.h"

#define MIB ((uint64_t)1 << 20)

/* A disk has room again when it has this much, or a share of the bound. */
#define ROOM_AGAIN_BYTES (64 * MIB)

/* What is recorded beside a reply takes so much at most, and a quarter of it.
 */
#define ABOUT_BYTES ((uint64_t)64 << 10)

/* So much more may be mapped before the map is let go. */
#define MAPPED_MORE_BYTES (256 * MIB)

/* Most bytes of replies of one transaction. */
#define BATCH_BYTES (8 * MIB)

const char *const cache_tables[CACHE_TABLE_COUNT] = {[CACHE_ENTRIES] =
                                                         "entries",
                                                     [CACHE_INDEX] = "index",
                                                     [CACHE_TICKS] = "ticks"};

/* --- what stands in "state" ---------------------------------------------- */

/* The file, as it was left. */
struct stamp {
    uint64_t inode;
    uint64_t bytes;
    int64_t changed_s;
    int64_t changed_ns;
};

/* All of "state". */
struct state {
    char magic[8];
    struct boot_id boot;
    struct stamp stamp;
    uint64_t is_closed;
    uint64_t sum; /* of all before */
};

#define STATE_MAGIC "tgcache1"

static uint64_t state_sum(const struct state *s)
{
    return XXH3_64bits(s, offsetof(struct state, sum));
}

static bool stamp_read(const struct cache_db *d, struct stamp *out)
{
    struct stat st;

    if (stat(d->path, &st) != 0)
        return false;
    *out = (struct stamp){.inode = st.st_ino,
                          .bytes = (uint64_t)st.st_size,
                          .changed_s = st.st_ctim.tv_sec,
                          .changed_ns = st.st_ctim.tv_nsec};
    return true;
}

static bool state_read(const struct cache_db *d, struct state *out)
{
    return pread(d->state_fd, out, sizeof(*out), 0) == (ssize_t)sizeof(*out) &&
           memcmp(out->magic, STATE_MAGIC, sizeof(out->magic)) == 0 &&
           out->sum == state_sum(out);
}

static bool state_write(const struct cache_db *d, bool is_closed)
{
    struct state s;

    memset(&s, 0, sizeof(s));
    memcpy(s.magic, STATE_MAGIC, sizeof(s.magic));
    boot_id_read(&s.boot);
    s.is_closed = is_closed;
    if (!stamp_read(d, &s.stamp))
        memset(&s.stamp, 0, sizeof(s.stamp));
    s.sum = state_sum(&s);
    return pwrite(d->state_fd, &s, sizeof(s), 0) == (ssize_t)sizeof(s);
}

/* --- setting up ---------------------------------------------------------- */

/* Bits for as many entries as the file can have, about, and hints for as many
 * as it will have, more likely. */
static enum err marks_new(struct cache_db *d)
{
    uint64_t slots = 1 << 12;

    uint64_t bits = 1 << 16;

    while (bits < d->max_bytes / 512 && bits < (uint64_t)1 << 27)
        bits *= 2;
    d->marks = calloc(bits / 64, sizeof(*d->marks));
    d->marks_mask = bits - 1;
    while (slots < d->max_bytes / 2048 && slots < (uint64_t)1 << 23)
        slots *= 2;
    d->hints = calloc(slots, sizeof(*d->hints));
    d->places = calloc(slots, sizeof(*d->places));
    d->hints_mask = slots - 1;
    return d->marks && d->hints && d->places ? ERR_OK : ERR_NOMEM;
}

enum err cache_db_init(struct cache_db *d, const struct cache_store_opts *opts)
{
    *d = (struct cache_db){.state_fd = -1};
    if (opts->max_bytes < CACHE_STORE_LEAST_BYTES)
        return ERR_RANGE;
    d->max_bytes = opts->max_bytes / MIB * MIB;
    /* What tells of a reply comes on top of it. */
    d->max_entry_bytes =
        opts->max_entry_bytes + opts->max_entry_bytes / 4 + ABOUT_BYTES;
    if (d->max_entry_bytes > d->max_bytes / 4)
        d->max_entry_bytes = d->max_bytes / 4;
    d->dir = strdup(opts->dir);
    if (asprintf(&d->path, "%s/data.mdb", opts->dir) < 0)
        d->path = NULL;
    return d->dir && d->path ? marks_new(d) : ERR_NOMEM;
}

/* Share out <pages>. A transaction leaves pages behind that may only be used
 * two later, and changes a page of the index for each entry. */
static void plan(struct cache_db *d, uint64_t pages)
{
    d->cap_pages = pages;
    d->reserve = 48 + pages / 32;
    if (d->reserve > 4096)
        d->reserve = 4096;
    d->batch = (pages - d->reserve) / 8;
    if (d->batch > BATCH_BYTES / CACHE_PAGE_BYTES)
        d->batch = BATCH_BYTES / CACHE_PAGE_BYTES;
}

static void path_of(const struct cache_db *d, const char *name, char out[4096])
{
    if (snprintf(out, 4096, "%s/%s", d->dir, name) >= 4096)
        out[0] = '\0'; /* then nothing can be opened */
}

static void remove_file(const struct cache_db *d, const char *name)
{
    char path[4096];

    path_of(d, name, path);
    unlink(path);
}

void cache_db_forget_aside(struct cache_db *d)
{
    remove_file(d, "data.mdb.damaged");
}

/* --- opening ------------------------------------------------------------- */

/* Whether a record has the lengths that its table has. */
static enum err check_record(unsigned table, struct str key, struct str value,
                             struct buf *why)
{
    static const struct {
        size_t key, least, most;
    } lengths[CACHE_TABLE_COUNT] = {
        [CACHE_ENTRIES] = {CACHE_ENTRY_KEY, 9, CACHE_SLICE_BYTES},
        [CACHE_INDEX] = {CACHE_INDEX_KEY, 8, 8},
        [CACHE_TICKS] = {4, 8, 8},
    };

    if (key.len == lengths[table].key && value.len >= lengths[table].least &&
        value.len <= lengths[table].most)
        return ERR_OK;
    env_say(why, "a record is too short or too long");
    return ERR_CORRUPT;
}

/* Put the file out of the way. */
static bool put_away(struct cache_db *d, bool aside)
{
    char to[4096];

    path_of(d, "data.mdb.damaged", to);
    const bool ok = (aside && rename(d->path, to) == 0) ||
                    unlink(d->path) == 0 || errno == ENOENT;
    remove_file(d, "lock.mdb");
    remove_file(d, "format");
    return ok;
}

static void tell_anew(struct cache_db *d, const char *cause, bool aside)
{
    log_note(LOG_STORE, "response cache begins anew: dir=%s cause=\"%s\"%s",
             d->dir, cause, aside ? " aside=data.mdb.damaged" : "");
    cache_count(d, CACHE_N_ANEW, 1);
}

/* How the file that is there may be used. */
enum trust { TRUST_ALL, TRUST_WALKED, TRUST_NONE };

static enum trust judge(const struct cache_db *d, const char **cause_out)
{
    struct boot_id now;
    struct stamp is;
    struct state was;

    if (!stamp_read(d, &is) || is.bytes == 0)
        return TRUST_ALL;
    *cause_out = "it is larger than it may be";
    if (is.bytes > d->max_bytes)
        return TRUST_NONE;
    *cause_out = "nothing tells whether it is whole";
    if (!state_read(d, &was))
        return TRUST_NONE;
    boot_id_read(&now);
    *cause_out = "the machine went down while it was open";
    if (!was.is_closed && !boot_id_eq(&was.boot, &now))
        return TRUST_NONE;
    return memcmp(&is, &was.stamp, sizeof(is)) == 0 ? TRUST_ALL : TRUST_WALKED;
}

static enum err env_begin(struct cache_db *d, bool walked, struct buf *why)
{
    struct env *env = atomic_load(&d->env);
    const struct env_opts opts = {
        .dir = d->dir,
        .what = "response cache",
        .tables = cache_tables,
        .n_tables = CACHE_TABLE_COUNT,
        .flags = ENV_NOSYNC | ENV_WATCHED | (walked ? 0 : ENV_UNWALKED),
        .check = check_record,
        .map_bytes = d->max_bytes,
        .map_bytes_max = d->max_bytes,
    };

    if (env)
        return env_reopen(env, walked, why);
    ERR_TRY(env_open(&opts, &env, why));
    atomic_store(&d->env, env);
    return ERR_OK;
}

/* Have "state" say that the file is open, on disk before the file changes. */
static enum err state_begin(struct cache_db *d, struct buf *why)
{
    if (state_write(d, false) && fdatasync(d->state_fd) == 0)
        return ERR_OK;
    env_say(why, "%s/state cannot be written: %s", d->dir, strerror(errno));
    return ERR_IO;
}

static enum err state_open(struct cache_db *d, struct buf *why)
{
    char path[4096];

    path_of(d, "state", path);
    if (mkdir(d->dir, 0700) != 0 && errno != EEXIST) {
        env_say(why, "%s cannot be made: %s", d->dir, strerror(errno));
        return ERR_IO;
    }
    if (d->state_fd < 0)
        d->state_fd =
            open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->state_fd < 0) {
        env_say(why, "%s cannot be opened: %s", path, strerror(errno));
        return ERR_IO;
    }
    if (flock(d->state_fd, LOCK_EX | LOCK_NB) == 0)
        return ERR_OK;
    env_say(why, "%s is in use by another process", d->dir);
    close(d->state_fd);
    d->state_fd = -1;
    return ERR_EXISTS;
}

/* Begin the environment; a damaged file is put aside. */
static enum err env_settle(struct cache_db *d, bool walked, struct buf *why)
{
    const size_t len = why->len;
    enum err err = env_begin(d, walked, why);

    if (err != ERR_CORRUPT)
        return err;
    /* What comes behind it is advice for files that are worth mending. */
    const char *end = memchr(why->p + len, ';', why->len - len);
    if (end)
        why->len = (size_t)(end - why->p);
    ERR_TRY(buf_put(why, "", 1));
    tell_anew(d, why->p + len, true);
    why->len = len;
    if (!put_away(d, true)) {
        env_say(why, "%s cannot be put aside: %s", d->path, strerror(errno));
        return ERR_IO;
    }
    return env_begin(d, false, why);
}

static enum err begin_count(struct cache_db *d, struct buf *why)
{
    struct env *env = atomic_load(&d->env);
    struct txn t;

    enum err err = txn_begin_read(env, &t);
    if (err == ERR_OK) {
        cache_db_stamp(d);
        cache_db_note(d, &t);
        txn_end(&t);
    }
    if (err != ERR_OK)
        env_say(why, "%s: %s", d->path, env_last_error(env));
    return err;
}

static enum err open_in(struct cache_db *d, struct buf *why)
{
    const char *cause = NULL;

    ERR_TRY(state_open(d, why));
    const enum trust trust = judge(d, &cause);
    if (trust == TRUST_NONE) {
        tell_anew(d, cause, false);
        put_away(d, false);
    }
    ERR_TRY(env_settle(d, trust == TRUST_WALKED, why));
    ERR_TRY(state_begin(d, why));
    plan(d, d->max_bytes / CACHE_PAGE_BYTES);
    ERR_TRY(cache_db_cap(d, d->max_bytes));
    atomic_store(&d->is_disk_full, false);
    return begin_count(d, why);
}

enum err cache_db_open(struct cache_db *d)
{
    struct buf why;

    buf_init(&why, 1024);
    const enum err err = open_in(d, &why);
    if (err == ERR_OK) {
        if (d->is_told)
            log_note(LOG_STORE, "response cache works again: dir=%s", d->dir);
        d->is_told = false;
        atomic_store(&d->is_open, true);
    } else if (err != ERR_EXISTS && !d->is_told) {
        log_warn(LOG_STORE, "response cache does not work: %.*s",
                 STR_ARG(buf_str(&why)));
        d->is_told = true;
    }
    buf_fini(&why);
    return err;
}

void cache_db_close(struct cache_db *d)
{
    struct env *env = atomic_load(&d->env);

    atomic_store(&d->is_open, false);
    if (env && env_fault(env) == ENV_FINE && env_sync(env) == ERR_OK) {
        env_shut(env); /* its last writes, before the stamp is taken */
        if (!state_write(d, true))
            log_warn(LOG_STORE, "response cache counts as still open: dir=%s",
                     d->dir);
    }
    env_close(env);
    atomic_store(&d->env, NULL);
    if (d->state_fd >= 0)
        close(d->state_fd);
    free((void *)(uintptr_t)d->marks);
    free((void *)(uintptr_t)d->hints);
    free((void *)(uintptr_t)d->places);
    free(d->dir);
    free(d->path);
}

/* --- while it is open ---------------------------------------------------- */

void cache_db_stamp(struct cache_db *d)
{
    struct stat st;

    if (stat(d->path, &st) == 0)
        atomic_store(&d->file_bytes, (uint64_t)st.st_size);
    /* Without it the next start walks the file. */
    if (!state_write(d, false))
        errno = 0;
}

void cache_db_note(struct cache_db *d, struct txn *t)
{
    uint64_t n;

    if (txn_count(t, CACHE_INDEX, &n) == ERR_OK)
        atomic_store(&d->entries, n);
    if (txn_count_used(t, &n) == ERR_OK)
        atomic_store(&d->used_pages, n);
}

enum err cache_db_anew(struct cache_db *d, const char *cause, bool aside)
{
    if (d->state_fd < 0) /* it may be another process's */
        ERR_TRY(cache_db_open(d));
    struct env *env = atomic_load(&d->env);
    atomic_store(&d->is_open, false);
    if (env)
        env_shut(env);
    if (cause)
        tell_anew(d, cause, aside);
    if (!put_away(d, aside))
        return ERR_IO;
    return cache_db_open(d);
}

static const char *cause_of(enum env_fault fault)
{
    switch (fault) {
    case ENV_CUT:
        return "the file was cut while it was open";
    case ENV_GONE:
        return "the file was removed while it was open";
    case ENV_DAMAGED:
        return "the file was damaged while it was open";
    case ENV_PANICKED:
    case ENV_SHUT:
    case ENV_FINE:
        break;
    }
    return NULL;
}

bool cache_db_mend(struct cache_db *d, enum err err)
{
    struct env *env = atomic_load(&d->env);

    if (err != ERR_CORRUPT && err != ERR_IO)
        return false;
    if (err == ERR_CORRUPT)
        env_condemn(env);
    const enum env_fault fault = env_probe(env);
    if (fault == ENV_FINE)
        return false;
    atomic_store(&d->is_open, false);
    const char *cause = cause_of(fault);
    if (cause)
        return cache_db_anew(d, cause, fault != ENV_GONE) == ERR_OK;
    env_shut(env);
    return cache_db_open(d) == ERR_OK;
}

enum err cache_db_cap(struct cache_db *d, uint64_t bytes)
{
    struct env *env = atomic_load(&d->env);
    struct stat st;
    uint64_t cap = bytes;

    if (stat(d->path, &st) == 0 && cap < (uint64_t)st.st_size)
        cap = (uint64_t)st.st_size;
    if (cap < CACHE_STORE_LEAST_BYTES / 2)
        return ERR_FULL;
    if (cap > d->max_bytes)
        cap = d->max_bytes;
    if (cap != env_map_bytes(env))
        ERR_TRY(env_limit(env, cap));
    plan(d, cap / CACHE_PAGE_BYTES);
    return ERR_OK;
}

/* Bytes of files that are mapped into this process and in memory. */
static uint64_t mapped_bytes(void)
{
    unsigned long long total, resident, shared = 0;
    FILE *f = fopen("/proc/self/statm", "re");

    if (!f)
        return 0;
    if (fscanf(f, "%llu %llu %llu", &total, &resident, &shared) != 3)
        shared = 0;
    fclose(f);
    return shared * CACHE_PAGE_BYTES;
}

static void look_for_room(struct cache_db *d)
{
    const uint64_t want = d->max_bytes / 4 < ROOM_AGAIN_BYTES
                              ? d->max_bytes / 4
                              : ROOM_AGAIN_BYTES;
    struct statvfs fs;

    if (statvfs(d->dir, &fs) != 0 || (uint64_t)fs.f_bavail * fs.f_frsize < want)
        return;
    if (cache_db_cap(d, d->max_bytes) != ERR_OK)
        return;
    atomic_store(&d->is_disk_full, false);
    log_note(LOG_STORE, "response cache has room again: dir=%s", d->dir);
}

void cache_db_tend(struct cache_db *d)
{
    const uint64_t now = mapped_bytes();

    if (atomic_load(&d->is_disk_full))
        look_for_room(d);
    if (now < d->seen_bytes)
        d->seen_bytes = now;
    if (now < d->seen_bytes + MAPPED_MORE_BYTES)
        return;
    env_forget(atomic_load(&d->env));
    d->seen_bytes = mapped_bytes();
}
