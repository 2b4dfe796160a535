/* txn.c - Transactions and cursors over LMDB, and what its codes mean here.
 * Must never let an MDB_val outlive its transaction in our own state. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/panic.h"
#include "store/env_priv.h"

/* The flags of a page that begins a value. */
#define PAGE_OVERFLOW 4

/* A disk with less than this is full. */
#define LEAST_FREE_BYTES ((uint64_t)1 << 20)

enum err env_error(struct env *env, int rc)
{
    switch (rc) {
    case MDB_SUCCESS:
        return ERR_OK;
    case MDB_NOTFOUND:
        return ERR_NOT_FOUND;
    case MDB_KEYEXIST:
        return ERR_EXISTS;
    default:
        break;
    }
    if (rc == MDB_PANIC) { /* what led to it is known */
        atomic_store(&env->fault, ENV_PANICKED);
        return ERR_IO;
    }
    atomic_store(&env->last_error, rc);
    switch (rc) {
    case MDB_MAP_FULL:
    case MDB_READERS_FULL:
    case MDB_TXN_FULL:
        return ERR_FULL;
    case MDB_BAD_VALSIZE:
        return ERR_RANGE;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case EFAULT: /* a page of an absurd size was to be written */
        if ((env->opts.flags & ENV_WATCHED) != 0)
            atomic_store(&env->fault, ENV_DAMAGED);
        return ERR_CORRUPT;
    case ENOMEM:
        return ERR_NOMEM;
    default:
        return ERR_IO;
    }
}

const char *env_last_error(const struct env *env)
{
    const int rc = atomic_load(&env->last_error);

    if (rc == MDB_MAP_FULL)
        return "the file has its largest size and no page of it is free "
               "(MDB_MAP_FULL)";
    return rc == 0 ? "" : mdb_strerror(rc);
}

bool env_is_disk_full(const struct env *env)
{
    const int rc = atomic_load(&env->last_error);

    return rc == ENOSPC || rc == EDQUOT || rc == EFBIG;
}

enum err env_fail(struct env *env, int system_errno)
{
    return env_error(env, system_errno);
}

/* What readers hold. */
struct held {
    size_t oldest; /* transaction that one of them reads */
};

/* A line of LMDB's list of readers: process, thread, transaction. */
static int see_reader(const char *line, void *arg)
{
    struct held *h = arg;
    const char *at = strrchr(line, ' ');
    char *end;

    if (!at)
        return 0;
    const size_t txn = strtoull(at + 1, &end, 10);
    if (end != at + 1 && *end == '\n' && txn < h->oldest)
        h->oldest = txn;
    return 0;
}

bool env_is_held(struct env *env)
{
    struct held h = {.oldest = SIZE_MAX};
    MDB_envinfo info;

    if (!env->mdb || mdb_env_info(env->mdb, &info) != MDB_SUCCESS ||
        mdb_reader_list(env->mdb, see_reader, &h) < 0)
        return false;
    return h.oldest < info.me_last_txnid;
}

static MDB_val val_of(struct str s)
{
    /* LMDB does not write through it. */
    union {
        const char *in;
        void *out;
    } p = {.in = s.p};

    return (MDB_val){.mv_size = s.len, .mv_data = p.out};
}

static bool is_open_table(const struct txn *t, unsigned table)
{
    return t->mdb && table < t->env->opts.n_tables;
}

enum err env_watch(struct env *env)
{
    const uint64_t least = atomic_load(&env->file_bytes);
    uint64_t most = least;
    struct stat st;
    int fd;

    if ((env->opts.flags & ENV_WATCHED) == 0)
        return ERR_OK;
    if (atomic_load(&env->fault) != ENV_FINE)
        return ERR_IO;
    if (mdb_env_get_fd(env->mdb, &fd) != MDB_SUCCESS || fstat(fd, &st) != 0)
        return env_error(env, EIO);
    while ((uint64_t)st.st_size > most &&
           !atomic_compare_exchange_weak(&env->file_bytes, &most,
                                         (uint64_t)st.st_size))
        continue;
    if (st.st_nlink > 0 && (uint64_t)st.st_size >= least)
        return ERR_OK;
    atomic_store(&env->fault, st.st_nlink > 0 ? ENV_CUT : ENV_GONE);
    return env_error(env, st.st_nlink > 0 ? EIO : ENOENT);
}

static enum err begin_read(struct env *env, struct txn *txn_out)
{
    MDB_txn *mdb;

    if (!env->mdb)
        return ERR_IO;
    ERR_TRY(env_watch(env));
    const int rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &mdb);
    if (rc != MDB_SUCCESS)
        return env_error(env, rc);
    *txn_out = (struct txn){.env = env, .mdb = mdb};
    return ERR_OK;
}

enum err txn_begin_read(struct env *env, struct txn *txn_out)
{
    pthread_rwlock_rdlock(&env->gate);
    const enum err err = begin_read(env, txn_out);
    if (err != ERR_OK)
        pthread_rwlock_unlock(&env->gate);
    return err;
}

enum err txn_begin_write(struct env *env, struct txn *txn_out)
{
    MDB_txn *mdb;

    if (!env->mdb)
        return ERR_IO;
    ERR_TRY(env_watch(env));
    int rc = mdb_txn_begin(env->mdb, NULL, 0, &mdb);
    if (rc == MDB_MAP_RESIZED && env_adopt(env) == ERR_OK)
        rc = mdb_txn_begin(env->mdb, NULL, 0, &mdb);
    if (rc != MDB_SUCCESS)
        return env_error(env, rc);
    *txn_out = (struct txn){.env = env, .mdb = mdb, .is_write = true};
    return ERR_OK;
}

enum err txn_begin_child(struct txn *parent, struct txn *txn_out)
{
    MDB_txn *mdb;

    BUG_ON(!parent->is_write || !parent->mdb);
    const int rc = mdb_txn_begin(parent->env->mdb, parent->mdb, 0, &mdb);
    if (rc != MDB_SUCCESS)
        return env_error(parent->env, rc);
    *txn_out = (struct txn){
        .env = parent->env, .mdb = mdb, .parent = parent, .is_write = true};
    return ERR_OK;
}

/* Whether the file is about as large as the process may make one. */
static bool is_file_full(const struct env *env)
{
    struct rlimit most;
    struct stat st;

    return getrlimit(RLIMIT_FSIZE, &most) == 0 &&
           most.rlim_cur != RLIM_INFINITY && stat(env->path, &st) == 0 &&
           (uint64_t)st.st_size + LEAST_FREE_BYTES > most.rlim_cur;
}

/* LMDB calls a write that was cut short, as the last one on a full disk is, an
 * I/O error. */
static bool is_disk_full(const struct env *env)
{
    struct statvfs fs;

    return (statvfs(env->path, &fs) == 0 &&
            (uint64_t)fs.f_bavail * fs.f_frsize < LEAST_FREE_BYTES) ||
           is_file_full(env);
}

enum err txn_commit(struct txn *t)
{
    BUG_ON(!t->is_write || !t->mdb);
    const int rc = mdb_txn_commit(t->mdb);
    t->mdb = NULL;
    if (rc == EIO && is_disk_full(t->env))
        return env_error(t->env, ENOSPC);
    return env_error(t->env, rc);
}

void txn_end(struct txn *t)
{
    if (!t->mdb)
        return;
    mdb_txn_abort(t->mdb);
    t->mdb = NULL;
    if (!t->is_write)
        pthread_rwlock_unlock(&t->env->gate);
}

enum err txn_get(struct txn *t, unsigned table, struct str key,
                 struct str *value_out)
{
    MDB_val k = val_of(key);
    MDB_val v;

    BUG_ON(!is_open_table(t, table));
    const int rc = mdb_get(t->mdb, t->env->dbi[table], &k, &v);
    if (rc != MDB_SUCCESS)
        return env_error(t->env, rc);
    *value_out = str_of(v.mv_data, v.mv_size);
    return ERR_OK;
}

static enum err put(struct txn *t, unsigned table, struct str key,
                    struct str value, unsigned flags)
{
    MDB_val k = val_of(key);
    MDB_val v = val_of(value);

    BUG_ON(!is_open_table(t, table));
    return env_error(t->env,
                     mdb_put(t->mdb, t->env->dbi[table], &k, &v, flags));
}

enum err txn_put(struct txn *t, unsigned table, struct str key,
                 struct str value)
{
    return put(t, table, key, value, 0);
}

enum err txn_add(struct txn *t, unsigned table, struct str key,
                 struct str value)
{
    return put(t, table, key, value, MDB_NOOVERWRITE);
}

static enum err reserve(struct txn *t, unsigned table, struct str key,
                        MDB_val v, unsigned flags, void **room_out)
{
    MDB_val k = val_of(key);

    BUG_ON(!is_open_table(t, table));
    const int rc = mdb_put(t->mdb, t->env->dbi[table], &k, &v, flags);
    if (rc != MDB_SUCCESS)
        return env_error(t->env, rc);
    *room_out = v.mv_data;
    return ERR_OK;
}

enum err txn_reserve(struct txn *t, unsigned table, struct str key, size_t len,
                     void **room_out)
{
    return reserve(t, table, key, (MDB_val){.mv_size = len},
                   MDB_NOOVERWRITE | MDB_RESERVE, room_out);
}

enum err txn_append(struct txn *t, unsigned table, struct str key, size_t len,
                    void **room_out)
{
    return reserve(t, table, key, (MDB_val){.mv_size = len},
                   MDB_APPEND | MDB_RESERVE, room_out);
}

/* Have the pages of <len> bytes at <p> read in: the system says here what
 * would be a signal when they are touched. Systems before Linux 5.14 cannot. */
static enum err pages_read(const struct txn *t, const char *p, size_t len)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t from = (uintptr_t)p & ~(page - 1);
    const uintptr_t to = ((uintptr_t)p + len + page - 1) & ~(page - 1);

    while (madvise((void *)from, to - from, MADV_POPULATE_READ) != 0) {
        if (errno == EINVAL)
            return ERR_OK;
        if (errno != EINTR && errno != EAGAIN)
            return env_error(t->env, EIO);
    }
    return ERR_OK;
}

bool txn_is_warm(struct str v, size_t from)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t at = ((uintptr_t)v.p + from) & ~(page - 1);
    unsigned char in = 0;

    BUG_ON(from >= v.len);
    return mincore((void *)at, page, &in) == 0 && (in & 1) != 0;
}

enum err txn_copy(const struct txn *t, struct str v, size_t from, void *out,
                  size_t len)
{
    BUG_ON(from > v.len || len > v.len - from);
    ERR_TRY(pages_read(t, v.p + from, len));
    memcpy(out, v.p + from, len);
    return ERR_OK;
}

enum err txn_del(struct txn *t, unsigned table, struct str key)
{
    MDB_val k = val_of(key);

    BUG_ON(!is_open_table(t, table));
    return env_error(t->env, mdb_del(t->mdb, t->env->dbi[table], &k, NULL));
}

/* Where the map of <env> begins, for one transaction as good as for another: a
 * leaf begins with its number, the map with page 0. */
static enum err find_base(struct env *env)
{
    MDB_cursor *c = NULL;
    MDB_txn *txn;
    MDB_stat st;
    MDB_val k;
    MDB_val v;
    size_t page;
    int rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &txn);

    if (rc != MDB_SUCCESS)
        return env_error(env, rc);
    rc = mdb_env_stat(env->mdb, &st);
    if (rc == MDB_SUCCESS)
        rc = mdb_cursor_open(txn, DBI_TABLES, &c);
    if (rc == MDB_SUCCESS)
        rc = mdb_cursor_get(c, &k, &v, MDB_FIRST);
    if (rc == MDB_SUCCESS) {
        const uintptr_t leaf =
            (uintptr_t)k.mv_data & ~(uintptr_t)(st.ms_psize - 1);

        memcpy(&page, (const void *)leaf, sizeof(page));
        env->base = leaf - page * st.ms_psize;
        env->page_bytes = st.ms_psize;
    }
    if (c)
        mdb_cursor_close(c);
    mdb_txn_abort(txn);
    return env_error(env, rc);
}

/* What the head of a value's own pages says: number, flags, how many. */
static enum err prove_head(struct txn *t, struct str v)
{
    const struct env *env = t->env;
    const uintptr_t at = (uintptr_t)v.p - PAGE_HEAD;
    const size_t n =
        (PAGE_HEAD + v.len + env->page_bytes - 1) / env->page_bytes;
    size_t number;
    uint16_t flags;
    uint32_t pages;

    if (at < env->base || at >= env->base + atomic_load(&env->map_bytes))
        return ERR_OK; /* stored in this transaction */
    ERR_TRY(pages_read(t, v.p - PAGE_HEAD, PAGE_HEAD));
    memcpy(&number, (const void *)at, sizeof(number));
    memcpy(&flags, (const void *)(at + 10), sizeof(flags));
    memcpy(&pages, (const void *)(at + 12), sizeof(pages));
    if (number != (at - env->base) / env->page_bytes ||
        flags != PAGE_OVERFLOW || pages != n)
        return env_error(t->env, MDB_CORRUPTED);
    return ERR_OK;
}

enum err txn_del_large(struct txn *t, unsigned table, struct str key)
{
    struct str v;

    BUG_ON(!t->is_write || t->parent);
    if (t->env->base == 0)
        ERR_TRY(find_base(t->env));
    ERR_TRY(txn_get(t, table, key, &v));
    if (((uintptr_t)v.p & (t->env->page_bytes - 1)) == PAGE_HEAD)
        ERR_TRY(prove_head(t, v)); /* a leaf's nodes stand further behind */
    return txn_del(t, table, key);
}

void env_forget(struct env *env)
{
    const size_t len = atomic_load(&env->map_bytes);

    if (!env->mdb || (env->base == 0 && find_base(env) != ERR_OK))
        return;
    /* It is only a wish. */
    if (madvise((void *)env->base, len, MADV_DONTNEED) != 0)
        errno = 0;
}

enum err txn_clear(struct txn *t, unsigned table)
{
    BUG_ON(!is_open_table(t, table));
    return env_error(t->env, mdb_drop(t->mdb, t->env->dbi[table], 0));
}

enum err txn_count(struct txn *t, unsigned table, uint64_t *count_out)
{
    MDB_stat st;

    BUG_ON(!is_open_table(t, table));
    const int rc = mdb_stat(t->mdb, t->env->dbi[table], &st);
    if (rc != MDB_SUCCESS)
        return env_error(t->env, rc);
    *count_out = st.ms_entries;
    return ERR_OK;
}

enum err txn_count_used(struct txn *t, uint64_t *pages_out)
{
    uint64_t pages = 2; /* heads */
    MDB_stat st;

    for (unsigned i = 0; i < t->env->opts.n_tables + 2; i++) {
        const MDB_dbi dbi = i == 0   ? DBI_FREE
                            : i == 1 ? DBI_TABLES
                                     : t->env->dbi[i - 2];
        const int rc = mdb_stat(t->mdb, dbi, &st);

        if (rc != MDB_SUCCESS)
            return env_error(t->env, rc);
        pages += st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages;
    }
    *pages_out = pages;
    return ERR_OK;
}

enum err txn_count_free(struct txn *t, uint64_t *records_out,
                        uint64_t *pages_out)
{
    uint64_t records = 0;
    uint64_t pages = 0;
    MDB_cursor *c;
    MDB_val k;
    MDB_val v;
    int rc = mdb_cursor_open(t->mdb, DBI_FREE, &c);

    if (rc != MDB_SUCCESS)
        return env_error(t->env, rc);
    while ((rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == MDB_SUCCESS) {
        records++;
        pages += *(const size_t *)v.mv_data;
    }
    mdb_cursor_close(c);
    if (rc != MDB_NOTFOUND)
        return env_error(t->env, rc);
    *records_out = records;
    *pages_out = pages;
    return ERR_OK;
}

enum err cursor_open(struct txn *t, unsigned table, struct cursor *cur_out)
{
    MDB_cursor *mdb;

    BUG_ON(!is_open_table(t, table));
    const int rc = mdb_cursor_open(t->mdb, t->env->dbi[table], &mdb);
    if (rc != MDB_SUCCESS)
        return env_error(t->env, rc);
    *cur_out = (struct cursor){.txn = t, .mdb = mdb};
    return ERR_OK;
}

void cursor_close(struct cursor *c)
{
    if (c->mdb)
        mdb_cursor_close(c->mdb);
    c->mdb = NULL;
}

static enum err cursor_move(struct cursor *c, MDB_val *key, MDB_cursor_op op)
{
    MDB_val v = {0};
    const int rc = mdb_cursor_get(c->mdb, key, &v, op);

    if (rc != MDB_SUCCESS)
        return env_error(c->txn->env, rc);
    c->key = str_of(key->mv_data, key->mv_size);
    c->value = str_of(v.mv_data, v.mv_size);
    return ERR_OK;
}

enum err cursor_seek(struct cursor *c, struct str key)
{
    MDB_val k = val_of(key);

    return cursor_move(c, &k, key.len ? MDB_SET_RANGE : MDB_FIRST);
}

enum err cursor_next(struct cursor *c)
{
    MDB_val k = {0};

    return cursor_move(c, &k, MDB_NEXT);
}

enum err cursor_last(struct cursor *c)
{
    MDB_val k = {0};

    return cursor_move(c, &k, MDB_LAST);
}

enum err cursor_del(struct cursor *c)
{
    return env_error(c->txn->env, mdb_cursor_del(c->mdb, 0));
}
