/* env.c - Opening, guarding, growing and reopening one LMDB environment.
 * Decides when a file may be touched at all: never twice at a time, never
 * before it was walked in a child process, and a ledger that was there is
 * never made anew. The steps of opening:
 *
 *   directory -> flock on "lock" -> is the file there that "format" speaks
 *   of? -> walk in a child -> LMDB opens it -> stale readers -> tables
 *
 * Must never use MDB_WRITEMAP: with it a full disk is a SIGBUS. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/panic.h"
#include "store/env_priv.h"

/* Reader slots: threads that read at once, and a few child processes. */
#define READERS 126

/* Bytes that LMDB's lock file needs at most for them; it is mapped for
 * writing, so its blocks must exist before. */
#define LOCK_FILE_BYTES 16384

/* How often and how long to wait for the child of a dead holder, 3 s. */
#define LOCK_TRIES   300
#define LOCK_WAIT_US 10000

/* How often and how long to wait for a reader, 100 ms. */
#define HELD_TRIES   40
#define HELD_WAIT_US 2500

/* What the file "format" says; the number changes when an older program
 * must not touch what a newer one wrote. */
#define FORMAT_TEXT "tollgate store "
#define FORMAT_NOW  1

/* Maps are multiples of this. */
#define MAP_STEP ((size_t)1 << 20)

/* File systems on which neither flock nor LMDB can be trusted. */
static const struct {
    long magic;
    const char *name;
} remote_fs[] = {
    {0x6969, "NFS"}, {(long)0xff534d42, "CIFS"}, {(long)0xfe534d42, "SMB2"}};

static int file_in(const struct env *env, const char *name, int flags)
{
    char path[4096];

    if (snprintf(path, sizeof(path), "%s/%s", env->dir, name) >=
        (int)sizeof(path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static enum err prepare_dir(struct env *env, struct buf *why)
{
    struct statfs fs;
    struct stat st;

    if (mkdir(env->dir, 0700) != 0 && errno != EEXIST) {
        env_say(why, "%s directory %s cannot be made: %s", env->opts.what,
                env->dir, strerror(errno));
        return ERR_IO;
    }
    if (stat(env->dir, &st) != 0 || !S_ISDIR(st.st_mode) ||
        statfs(env->dir, &fs) != 0) {
        env_say(why, "%s: %s is not a usable directory", env->opts.what,
                env->dir);
        return ERR_IO;
    }
    if ((st.st_mode & 077) != 0 && chmod(env->dir, 0700) != 0) {
        env_say(why, "%s directory %s is open to others and cannot be closed",
                env->opts.what, env->dir);
        return ERR_IO;
    }
    for (size_t i = 0; i < sizeof(remote_fs) / sizeof(remote_fs[0]); i++) {
        if (fs.f_type != remote_fs[i].magic)
            continue;
        env_say(why, "%s directory %s is on %s; it must be on a local disk",
                env->opts.what, env->dir, remote_fs[i].name);
        return ERR_REFUSED;
    }
    return ERR_OK;
}

/* The process id in the lock file, 0 when there is none. */
static long read_holder(int fd)
{
    char pid[16] = "";

    return pread(fd, pid, sizeof(pid) - 1, 0) > 0 ? strtol(pid, NULL, 10) : 0;
}

static void say_who_holds(const struct env *env, long who, struct buf *why)
{
    if (who == (long)getpid())
        env_say(why, "%s %s is open already in this process (%s/lock)",
                env->opts.what, env->path, env->dir);
    else
        env_say(why,
                "%s/lock is held by process %ld: another tollgate uses this "
                "state directory; stop it, or choose another state_dir",
                env->dir, who);
}

/* Take the flock. When its holder was killed while it walked the file, its
 * child may hold the lock for the moment it takes to die, too: that is worth
 * waiting for. */
static bool lock_file(int fd, long *who_out)
{
    for (unsigned i = 0;; i++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        *who_out = read_holder(fd);
        const bool is_dead =
            *who_out > 0 && kill((pid_t)*who_out, 0) != 0 && errno == ESRCH;
        if (!is_dead || i == LOCK_TRIES)
            return false;
        usleep(LOCK_WAIT_US);
    }
}

/* A flock on a description of its own also refuses a second open in this
 * very process, which LMDB would not notice. */
static enum err take_lock(struct env *env, struct buf *why)
{
    char pid[16];
    long who = 0;
    const int fd = file_in(env, "lock", O_RDWR | O_CREAT);

    if (fd < 0) {
        env_say(why, "%s/lock cannot be opened: %s", env->dir, strerror(errno));
        return ERR_IO;
    }
    if (!lock_file(fd, &who)) {
        say_who_holds(env, who, why);
        close(fd);
        return ERR_EXISTS;
    }
    const int len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)len, 0) != len) {
        /* a full disk: the lock holds, only its owner is not named */
        errno = 0;
    }
    env->lock_fd = fd;
    return ERR_OK;
}

/* Read the number in "format": 0 when there is no such file. */
static enum err read_format(struct env *env, long *format_out, struct buf *why)
{
    const struct str head = STR(FORMAT_TEXT);
    char text[64] = "";
    const int fd = file_in(env, "format", O_RDONLY);

    if (fd < 0 && errno == ENOENT) {
        *format_out = 0;
        return ERR_OK;
    }
    const ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    long found = 0;
    if (n > 0 && str_starts(str_of(text, (size_t)n), head))
        found = strtol(text + head.len, NULL, 10);
    if (found <= 0 || found > FORMAT_NOW) {
        env_say(why,
                "%s/format is not readable by this version (it knows format "
                "%d); use the version that wrote it",
                env->dir, FORMAT_NOW);
        return ERR_CORRUPT;
    }
    *format_out = found;
    return ERR_OK;
}

/* Say on disk that the file exists now, so that it is missed if it goes. */
static enum err write_format(struct env *env)
{
    char text[64];
    char from[4096];
    char to[4096];
    const int len =
        snprintf(text, sizeof(text), "%s%d\n", FORMAT_TEXT, FORMAT_NOW);
    const int fd = file_in(env, "format.new", O_WRONLY | O_CREAT | O_TRUNC);

    if (fd < 0)
        return ERR_IO;
    const bool ok = write(fd, text, (size_t)len) == len && fsync(fd) == 0;
    close(fd);
    if (snprintf(from, sizeof(from), "%s/format.new", env->dir) >=
            (int)sizeof(from) ||
        snprintf(to, sizeof(to), "%s/format", env->dir) >= (int)sizeof(to))
        return ERR_IO;
    if (!ok || rename(from, to) != 0) {
        unlink(from);
        return ERR_IO;
    }
    const int dir = open(env->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return ERR_IO;
    const int rc = fsync(dir);
    close(dir);
    return rc == 0 ? ERR_OK : ERR_IO;
}

/* Move a damaged file of a disposable environment out of the way. */
static enum err set_aside(struct env *env, struct buf *why)
{
    char to[4096];
    char lock[4096];

    if (snprintf(to, sizeof(to), "%s.damaged", env->path) >= (int)sizeof(to) ||
        snprintf(lock, sizeof(lock), "%s/lock.mdb", env->dir) >=
            (int)sizeof(lock) ||
        rename(env->path, to) != 0) {
        env_say(why, "; it cannot be moved aside");
        return ERR_IO;
    }
    unlink(lock);
    why->len = 0;
    return ERR_OK;
}

/* Decide whether data.mdb may be touched, and how large it is. */
static enum err check_file(struct env *env, long format, off_t *size_out,
                           struct buf *why)
{
    const bool disposable = (env->opts.flags & ENV_DISPOSABLE) != 0;
    struct stat st = {0};
    enum err err = ERR_OK;

    if (stat(env->path, &st) != 0 && errno != ENOENT) {
        env_say(why, "%s %s: %s", env->opts.what, env->path, strerror(errno));
        return ERR_IO;
    }
    if (format == 0 && st.st_size < 2 * sysconf(_SC_PAGESIZE)) {
        *size_out = 0; /* to be made, or its making was cut short */
        return st.st_size == 0 || truncate(env->path, 0) == 0 ? ERR_OK : ERR_IO;
    }
    *size_out = st.st_size;
    if (st.st_size == 0 && disposable)
        return ERR_OK;
    if (st.st_size == 0) {
        env_say(why,
                "%s %s is missing or empty though it was there before; put "
                "back a copy of it, or move %s away to begin anew",
                env->opts.what, env->path, env->dir);
        err = ERR_CORRUPT;
    } else if (st.st_size < 2 * sysconf(_SC_PAGESIZE)) {
        env_say(why,
                "%s %s is damaged: it is cut short at %lld bytes; put back a "
                "copy of it, or move the directory away to begin anew",
                env->opts.what, env->path, (long long)st.st_size);
        err = ERR_CORRUPT;
    } else if ((env->opts.flags & ENV_UNWALKED) == 0) {
        err = env_walk(&env->opts, env->path, why);
    }
    if (err == ERR_CORRUPT && disposable) {
        *size_out = 0;
        err = set_aside(env, why);
    }
    return err;
}

static int open_tables(struct env *env)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn);

    for (unsigned i = 0; rc == MDB_SUCCESS && i < env->opts.n_tables; i++)
        rc = mdb_dbi_open(txn, env->opts.tables[i], 0, &env->dbi[i]);
    if (rc == MDB_SUCCESS)
        return mdb_txn_commit(txn); /* keeps the handles */
    if (rc != MDB_NOTFOUND)
        return rc;
    mdb_txn_abort(txn);
    rc = mdb_txn_begin(env->mdb, NULL, 0, &txn);
    if (rc != MDB_SUCCESS)
        return rc;
    for (unsigned i = 0; rc == MDB_SUCCESS && i < env->opts.n_tables; i++)
        rc = mdb_dbi_open(txn, env->opts.tables[i], MDB_CREATE, &env->dbi[i]);
    if (rc == MDB_SUCCESS)
        return mdb_txn_commit(txn);
    mdb_txn_abort(txn);
    return rc;
}

/* LMDB writes to its lock file through a map; without blocks behind it a
 * full disk would be a SIGBUS. */
static enum err reserve_lock_file(struct env *env)
{
    const int fd = file_in(env, "lock.mdb", O_RDWR | O_CREAT);

    if (fd < 0)
        return ERR_IO;
    const int rc = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, LOCK_FILE_BYTES);
    const bool ok = rc == 0 || errno == EOPNOTSUPP;
    close(fd);
    return ok ? ERR_OK : ERR_IO;
}

static size_t map_for(const struct env *env, off_t size)
{
    size_t bytes = (size_t)size + (size_t)size / 2;

    if (bytes < env->opts.map_bytes)
        bytes = env->opts.map_bytes;
    if (bytes > env->opts.map_bytes_max)
        bytes = env->opts.map_bytes_max;
    if (bytes < (size_t)size)
        bytes = (size_t)size;
    return (bytes + MAP_STEP - 1) & ~(MAP_STEP - 1);
}

static enum err open_mdb(struct env *env, off_t size, struct buf *why)
{
    const unsigned sync = (env->opts.flags & ENV_NOSYNC) != 0 ? MDB_NOSYNC : 0;
    const size_t map = map_for(env, size);

    if (reserve_lock_file(env) != ERR_OK) {
        env_say(why, "%s/lock.mdb: %s", env->dir, strerror(errno));
        return ERR_IO;
    }
    int rc = mdb_env_create(&env->mdb);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_set_maxdbs(env->mdb, ENV_TABLES_MAX);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_set_maxreaders(env->mdb, READERS);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_set_mapsize(env->mdb, map);
    if (rc == MDB_SUCCESS)
        rc = mdb_env_open(env->mdb, env->dir, MDB_NOTLS | sync, 0600);
    if (rc == MDB_SUCCESS && size == 0 && sync == 0)
        rc = mdb_env_sync(env->mdb, 1); /* its head, before what refers to it */
    if (rc == MDB_SUCCESS) {
        env_drop_stale_readers(env);
        rc = open_tables(env);
    }
    if (rc == MDB_SUCCESS) {
        atomic_store(&env->map_bytes, map);
        atomic_store(&env->file_bytes, 0);
        atomic_store(&env->fault, ENV_FINE);
        return ERR_OK;
    }
    env_say(why, "%s %s cannot be opened: %s", env->opts.what, env->path,
            mdb_strerror(rc));
    mdb_env_close(env->mdb);
    env->mdb = NULL;
    return env_error(env, rc);
}

static enum err format_settle(struct env *env, struct buf *why)
{
    const enum err err = write_format(env);

    if (err != ERR_OK)
        env_say(why, "%s/format cannot be written: %s", env->dir,
                strerror(errno));
    return err;
}

static enum err open_all(struct env *env, struct buf *why)
{
    long format = 0;
    off_t size;
    enum err err = prepare_dir(env, why);

    if (err == ERR_OK && (env->opts.flags & ENV_UNLOCKED) == 0)
        err = take_lock(env, why);
    if (err == ERR_OK)
        err = read_format(env, &format, why);
    if (err == ERR_OK)
        err = check_file(env, format, &size, why);
    if (err == ERR_OK)
        err = open_mdb(env, size, why);
    return err == ERR_OK && format == 0 ? format_settle(env, why) : err;
}

static void env_free(struct env *env)
{
    if (env->mdb)
        mdb_env_close(env->mdb);
    if (env->lock_fd >= 0)
        close(env->lock_fd);
    pthread_rwlock_destroy(&env->gate);
    free(env->dir);
    free(env->path);
    free(env);
}

static void init_gate(struct env *env)
{
    pthread_rwlockattr_t attr;

    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr,
                                  PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    if (pthread_rwlock_init(&env->gate, &attr) != 0)
        PANIC("pthread_rwlock_init failed");
    pthread_rwlockattr_destroy(&attr);
}

enum err env_open(const struct env_opts *opts, struct env **env_out,
                  struct buf *why)
{
    struct env *env = calloc(1, sizeof(*env));

    BUG_ON(opts->n_tables > ENV_TABLES_MAX);
    if (!env)
        return ERR_NOMEM;
    env->opts = *opts;
    env->lock_fd = -1;
    init_gate(env);
    env->dir = strdup(opts->dir);
    if (asprintf(&env->path, "%s/data.mdb", opts->dir) < 0)
        env->path = NULL;
    enum err err = ERR_NOMEM;
    if (env->dir && env->path) {
        env->opts.dir = env->dir;
        err = open_all(env, why);
    }
    if (err != ERR_OK) {
        env_free(env);
        return err;
    }
    *env_out = env;
    return ERR_OK;
}

void env_close(struct env *env)
{
    if (env)
        env_free(env);
}

enum err env_grow(struct env *env)
{
    const size_t old = atomic_load(&env->map_bytes);
    size_t bytes =
        old > env->opts.map_bytes_max / 2 ? env->opts.map_bytes_max : old * 2;

    bytes &= ~(MAP_STEP - 1);
    if (!env->mdb || bytes <= old)
        return ERR_FULL;
    pthread_rwlock_wrlock(&env->gate);
    const int rc = mdb_env_set_mapsize(env->mdb, bytes);
    pthread_rwlock_unlock(&env->gate);
    if (rc != MDB_SUCCESS)
        return env_error(env, rc);
    atomic_store(&env->map_bytes, bytes);
    return ERR_OK;
}

enum err env_limit(struct env *env, size_t bytes)
{
    MDB_envinfo info;
    int rc = EIO;

    pthread_rwlock_wrlock(&env->gate);
    if (env->mdb && env_watch(env) == ERR_OK)
        rc = mdb_env_set_mapsize(env->mdb, bytes);
    env->base = 0;
    if (rc == MDB_SUCCESS)
        rc = mdb_env_info(env->mdb, &info);
    pthread_rwlock_unlock(&env->gate);
    if (rc != MDB_SUCCESS)
        return env_error(env, rc);
    atomic_store(&env->map_bytes, info.me_mapsize);
    return ERR_OK;
}

enum err env_adopt(struct env *env)
{
    MDB_envinfo info;

    pthread_rwlock_wrlock(&env->gate);
    int rc = mdb_env_set_mapsize(env->mdb, 0);
    env->base = 0;
    if (rc == MDB_SUCCESS)
        rc = mdb_env_info(env->mdb, &info);
    pthread_rwlock_unlock(&env->gate);
    if (rc != MDB_SUCCESS)
        return env_error(env, rc);
    atomic_store(&env->map_bytes, info.me_mapsize);
    return ERR_OK;
}

void env_shut(struct env *env)
{
    pthread_rwlock_wrlock(&env->gate);
    if (env->mdb)
        mdb_env_close(env->mdb);
    env->mdb = NULL;
    env->base = 0;
    atomic_store(&env->fault, ENV_SHUT);
    pthread_rwlock_unlock(&env->gate);
}

enum err env_reopen(struct env *env, bool walked, struct buf *why)
{
    long format = 0;
    off_t size = 0;

    env_shut(env);
    env->opts.flags &= ~(unsigned)ENV_UNWALKED;
    env->opts.flags |= walked ? 0 : ENV_UNWALKED;
    enum err err = read_format(env, &format, why);
    if (err == ERR_OK)
        err = check_file(env, format, &size, why);
    pthread_rwlock_wrlock(&env->gate);
    if (err == ERR_OK)
        err = open_mdb(env, size, why);
    pthread_rwlock_unlock(&env->gate);
    return err == ERR_OK && format == 0 ? format_settle(env, why) : err;
}

enum env_fault env_fault(const struct env *env)
{
    return (enum env_fault)atomic_load(&env->fault);
}

enum env_fault env_probe(struct env *env)
{
    struct txn t;

    if (txn_begin_read(env, &t) == ERR_OK)
        txn_end(&t);
    return env_fault(env);
}

void env_condemn(struct env *env)
{
    atomic_store(&env->fault, ENV_DAMAGED);
}

enum err env_sync(struct env *env)
{
    enum err err = ERR_IO;

    pthread_rwlock_rdlock(&env->gate);
    if (env->mdb)
        err = env_error(env, mdb_env_sync(env->mdb, 1));
    pthread_rwlock_unlock(&env->gate);
    return err;
}

bool env_wait_held(struct env *env)
{
    if (!env_is_held(env))
        return false;
    env_drop_stale_readers(env);
    for (unsigned i = 0; i < HELD_TRIES && env_is_held(env); i++)
        usleep(HELD_WAIT_US);
    return true;
}

unsigned env_drop_stale_readers(struct env *env)
{
    int dead = 0;

    if (!env->mdb || mdb_reader_check(env->mdb, &dead) != MDB_SUCCESS)
        return 0;
    return (unsigned)dead;
}

size_t env_map_bytes(const struct env *env)
{
    return atomic_load(&env->map_bytes);
}

const char *env_path(const struct env *env)
{
    return env->path;
}
