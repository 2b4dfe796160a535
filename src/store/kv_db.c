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

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "store/kv_db_priv.h"

/* Bytes of index rows a page, generously. */
#define ROW_BYTES 512

#define MIB ((uint64_t)1 << 20)

/* One transaction writes no more. */
#define BATCH_BYTES (32 * MIB)

static const char *const tables[KV_TABLE_COUNT] = {
    [KV_PAGES] = "pages", [KV_TICKS] = "ticks", [KV_ORDER] = "order"};

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

/* --- open and close ------------------------------------------------------ */

/* Open the file with <fn>; what is damaged is begun anew. */
static enum err env_begin(struct kv_db *d, struct buf *why)
{
    const struct env_opts opts = {
        .dir = d->dir,
        .what = "prefix store",
        .tables = tables,
        .n_tables = KV_TABLE_COUNT,
        .flags = ENV_NOSYNC | ENV_UNLOCKED | ENV_WATCHED |
                 (d->alone ? 0 : ENV_UNWALKED),
        .map_bytes = d->max_bytes,
        .map_bytes_max = d->max_bytes,
    };

    if (d->env)
        return env_reopen(d->env, d->alone, why);
    return env_open(&opts, &d->env, why);
}

static enum err file_open(struct kv_db *d, struct buf *why)
{
    const size_t len = why->len;
    const enum err err = env_begin(d, why);

    if (err != ERR_CORRUPT)
        return err;
    /* What comes behind it is advice for files that are worth mending. */
    const char *end = memchr(why->p + len, ';', why->len - len);
    kv_begin_anew(d, str_of(why->p + len, end ? (size_t)(end - why->p) - len
                                              : why->len - len));
    why->len = len;
    return env_begin(d, why);
}

/* Open all, in a directory that is ours for the moment; <lost> says why the
 * pages that are there are of no use, and is NULL when they are. */
static enum err open_within(struct kv_db *d, const char *lost, struct buf *why)
{
    ERR_TRY(kv_users_join(d, why));
    ERR_TRY(kv_about_settle(d, why));
    if (lost)
        kv_begin_anew(d, str_from(lost));
    ERR_TRY(kv_file_prepare(d, why));
    ERR_TRY(file_open(d, why));
    return d->alone ? kv_users_share(d) : ERR_OK;
}

static enum err open_all(struct kv_db *d, const char *lost, struct buf *why)
{
    d->anew = false;
    ERR_TRY(kv_enter(d, true, why));
    const enum err err = open_within(d, lost, why);
    kv_leave(d);
    return err;
}

static void db_free(struct kv_db *d)
{
    env_close(d->env);
    kv_leave(d);
    if (d->users_fd >= 0)
        close(d->users_fd);
    free(d->about);
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
    d->dir_fd = -1;
    d->ns = opts->ns;
    d->payload_bytes = opts->payload_bytes;
    d->max_bytes = opts->max_bytes / MIB * MIB;
    d->dir = strdup(opts->dir);
    d->about = strndup(opts->about.p, opts->about.len);
    if (d->dir && d->about)
        err = room_plan(d, why);
    if (err == ERR_OK)
        err = open_all(d, NULL, why);
    if (err != ERR_OK) {
        db_free(d);
        return err;
    }
    *out = d;
    return ERR_OK;
}

void kv_db_close(struct kv_db *d)
{
    struct buf why;

    if (!d)
        return;
    buf_init(&why, 256);
    const bool synced = env_sync(d->env) == ERR_OK;
    env_shut(d->env);
    /* The last one to go says that nothing is open. */
    if (kv_enter(d, false, &why) == ERR_OK)
        kv_users_part(d, synced);
    buf_fini(&why);
    db_free(d);
}

/* --- mending ------------------------------------------------------------- */

bool kv_db_is_panicked(const struct kv_db *d)
{
    return env_is_panicked(d->env);
}

const char *kv_db_last_error(const struct kv_db *d)
{
    return env_last_error(d->env);
}

uint64_t kv_db_bytes(const struct kv_db *d)
{
    return kv_file_bytes(d);
}

/* Why the pages are lost after <fault>, NULL when they are not. */
static const char *lost_by(enum env_fault fault)
{
    switch (fault) {
    case ENV_CUT:
        return "the file was cut while it was open";
    case ENV_DAMAGED:
        return "the file was damaged while it was open";
    case ENV_FINE:
    case ENV_PANICKED:
    case ENV_GONE:
    case ENV_SHUT:
        break;
    }
    return NULL;
}

enum err kv_db_reopen(struct kv_db *d, struct buf *why)
{
    const enum env_fault fault = env_fault(d->env);

    env_shut(d->env);
    const enum err err = open_all(d, lost_by(fault), why);
    if (err == ERR_OK && !d->anew)
        log_note(LOG_STORE, "prefix store opened again: dir=%s cause=\"%s\"",
                 d->dir,
                 fault == ENV_GONE ? "its file was removed"
                                   : "its head could not be written");
    return err;
}
