/* env_priv.h - The inside of an environment, for env.c, env_walk.c and txn.c
 * alone. */
#ifndef TG_STORE_ENV_PRIV_H
#define TG_STORE_ENV_PRIV_H

#include "store/env.h"

#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>

/* What a page of LMDB begins with; a value of its own pages stands behind. */
#define PAGE_HEAD 16

/* LMDB's tables of free pages and of tables. */
#define DBI_FREE   0
#define DBI_TABLES 1

/* An open environment. */
struct env {
    struct env_opts opts; /* its dir and path below, owned */
    char *dir;            /* owned */
    char *path;           /* <dir>/data.mdb, owned */
    MDB_env *mdb;         /* NULL after a reopen that failed */
    MDB_dbi dbi[ENV_TABLES_MAX];
    int lock_fd;           /* holds the flock */
    pthread_rwlock_t gate; /* readers shared; grow and reopen alone */
    _Atomic(size_t) map_bytes;
    _Atomic(int) fault;           /* enum env_fault */
    _Atomic(uint64_t) file_bytes; /* watched: the most that it had */
    uintptr_t base;               /* of the map; the writer's, 0: not known */
    size_t page_bytes;            /* of LMDB, known with <base> */
    _Atomic(int) last_error;      /* of LMDB or errno; 0: none */
};

/* Our code for LMDB's <rc>; remembers it as the last error of <env>. */
enum err env_error(struct env *env, int rc);

/* Watched: see whether the file is still there and whole; else ERR_IO. The
 * caller keeps the environment from being closed. */
enum err env_watch(struct env *env) MUST_CHECK;

/* Map as much as another process has made of the file. Writer only, with no
 * write transaction open; waits for readers. */
enum err env_adopt(struct env *env) MUST_CHECK;

/* Kinds of pages of LMDB's trees: what their flags are. */
#define ENV_PAGE_BRANCH 1
#define ENV_PAGE_LEAF   2

/* Whether <page> is a page of that kind whose nodes fill what it says that they
 * fill, and are within it. */
bool env_page_is_sound(const uint8_t *page, size_t page_bytes, unsigned kind);

#endif
