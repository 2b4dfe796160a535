/* kv_db.c - Opening a namespace: who else has it open, whether its file can be
 * trusted, and where it ends. In its directory stand
 *
 *   users     locked by all who have it open, alone by who opens it as the
 *             first; holds the boot it was opened in until it is closed
 *   ns.json   what the namespace was made of, for people
 *   layout    what a program needs to open it
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
#include "store/kv_room.h"

/* Bytes of index rows a page, generously. */
#define ROW_BYTES 512

#define MIB ((uint64_t)1 << 20)

/* What is made when a store is opened for the first time has less. */
#define FIRST_BYTES 131072

/* A store has room for so many. */
#define LEAST_PAGES 16

/* One transaction writes no more. */
#define BATCH_BYTES (32 * MIB)

const char *const kv_tables[KV_TABLE_COUNT] = {
    [KV_PAGES] = "pages", [KV_TICKS] = "ticks", [KV_ORDER] = "order"};

/* --- room ---------------------------------------------------------------- */

/* What of <cap> bytes is left free. LMDB may use a page again only two
 * transactions after it was given up: what three of them write must find room
 * beside each other, and what readers hold for a moment. */
static uint64_t spare_of(uint64_t cap)
{
    const uint64_t rows = cap / 4 < MIB ? cap / 4 : MIB;
    const uint64_t spare = cap / 10 + rows;

    return spare > 4 * BATCH_BYTES ? 4 * BATCH_BYTES : spare;
}

enum err kv_plan(struct kv_db *d, uint64_t cap)
{
    const uint64_t spare = spare_of(cap);
    const uint64_t batch = spare / 4 / d->page_bytes;
    const uint64_t pages = (cap - spare) / d->page_bytes;

    if (pages < LEAST_PAGES / 4)
        return ERR_RANGE;
    d->batch = batch ? (unsigned)batch : 1;
    d->max_pages = pages;
    d->cap_bytes = cap;
    return ERR_OK;
}

uint64_t kv_plan_bytes(const struct kv_db *d, uint64_t pages)
{
    const uint64_t bytes = (pages + 1) * d->page_bytes;

    return bytes + spare_of(bytes + bytes / 9 + 2 * MIB);
}

static enum err plan_all(struct kv_db *d, struct buf *why)
{
    const uint64_t value = KV_HEAD_BYTES + d->payload_bytes;
    uint64_t least = KV_DB_LEAST_BYTES;

    d->page_bytes = (value + 16 + 4095) / 4096 * 4096 + ROW_BYTES;
    if (LEAST_PAGES * d->page_bytes > least)
        least = LEAST_PAGES * d->page_bytes;
    if (d->max_bytes >= least && kv_plan(d, d->max_bytes) == ERR_OK)
        return ERR_OK;
    env_say(why, "the prefix store %s is too small: its least is %llu MiB",
            d->dir, (unsigned long long)((least + MIB - 1) / MIB));
    return ERR_RANGE;
}

/* --- open and close ------------------------------------------------------ */

/* Whether a record has the lengths that its table has. */
static enum err check_record(unsigned table, struct str key, struct str value,
                             struct buf *why)
{
    static const struct {
        size_t key, least, most;
    } lengths[KV_TABLE_COUNT] = {
        [KV_PAGES] = {DIGEST_BYTES, KV_HEAD_BYTES, SIZE_MAX},
        [KV_TICKS] = {DIGEST_BYTES, KV_TICK_BYTES, KV_TICK_BYTES},
        [KV_ORDER] = {8, DIGEST_BYTES, DIGEST_BYTES},
    };

    if (key.len == lengths[table].key && value.len >= lengths[table].least &&
        value.len <= lengths[table].most)
        return ERR_OK;
    env_say(why, "a record is too short or too long");
    return ERR_CORRUPT;
}

/* Open the file, for the first time or again. LMDB may clear new pages: of a
 * value that is the last 4 KiB alone, and what memory held before would be on
 * disk otherwise. */
static enum err env_begin(struct kv_db *d, struct buf *why)
{
    const struct env_opts opts = {
        .dir = d->dir,
        .what = "prefix store",
        .tables = kv_tables,
        .n_tables = KV_TABLE_COUNT,
        .flags = ENV_NOSYNC | ENV_UNLOCKED | ENV_WATCHED |
                 (d->alone ? 0 : ENV_UNWALKED),
        .check = check_record,
        .map_bytes = d->max_bytes,
        .map_bytes_max = d->max_bytes,
    };

    if (d->env)
        return env_reopen(d->env, d->alone, why);
    return env_open(&opts, &d->env, why);
}

/* The same; what is damaged is begun anew. */
static enum err file_open(struct kv_db *d, struct buf *why)
{
    const size_t len = why->len;
    const enum err err = env_begin(d, why);

    if (err != ERR_CORRUPT || d->keep)
        return err;
    /* What comes behind it is advice for files that are worth mending. */
    const char *end = memchr(why->p + len, ';', why->len - len);
    kv_begin_anew(d, str_of(why->p + len, end ? (size_t)(end - why->p) - len
                                              : why->len - len));
    why->len = len;
    return env_begin(d, why);
}

/* Make room for the files alone. */
static void room_first(const struct kv_db *d)
{
    const uint64_t kept = kv_room_bytes(d->dir) + FIRST_BYTES;
    const int fd = kv_room_enter(d->root);

    kv_room_make(d->root, d->root_bytes > kept ? d->root_bytes - kept : 0,
                 d->dir);
    kv_room_leave(fd);
}

/* Open all, in a directory that is ours for the moment; <lost> says why the
 * pages that are there are of no use, and is NULL when they are. */
static enum err open_within(struct kv_db *d, const char *lost, struct buf *why)
{
    ERR_TRY(kv_users_join(d, why));
    if (!d->keep)
        ERR_TRY(kv_owner_settle(d, why));
    if (d->root_bytes > 0)
        room_first(d);
    if (lost && !d->keep)
        kv_begin_anew(d, str_from(lost));
    ERR_TRY(kv_file_prepare(d, why));
    ERR_TRY(file_open(d, why));
    ERR_TRY(kv_plan(d, d->max_bytes));
    d->is_disk_full = false;
    return d->alone ? kv_users_share(d) : ERR_OK;
}

static enum err open_all(struct kv_db *d, const char *lost, struct buf *why)
{
    d->anew = false;
    ERR_TRY(kv_enter(d, !d->keep, why));
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
    free(d->root);
    free(d->dir);
    free(d);
}

/* The directory around <dir>. */
static char *root_of(const char *dir)
{
    const char *end = dir + strlen(dir);

    while (end > dir && end[-1] == '/')
        end--;
    while (end > dir && end[-1] != '/')
        end--;
    while (end > dir + 1 && end[-1] == '/')
        end--;
    return end > dir ? strndup(dir, (size_t)(end - dir)) : strdup(".");
}

static enum err fill(struct kv_db *d, const struct kv_db_opts *opts)
{
    d->users_fd = -1;
    d->dir_fd = -1;
    d->ns = opts->ns;
    d->payload_bytes = opts->payload_bytes;
    d->max_bytes = opts->max_bytes / MIB * MIB;
    d->root_bytes = opts->root_bytes;
    d->keep = opts->keep;
    d->dir = strdup(opts->dir);
    d->root = root_of(opts->dir);
    d->about = strndup(opts->about.p, opts->about.len);
    return d->dir && d->root && d->about ? ERR_OK : ERR_NOMEM;
}

enum err kv_db_open(const struct kv_db_opts *opts, struct kv_db **out,
                    struct buf *why)
{
    struct kv_db *d = calloc(1, sizeof(*d));

    if (!d)
        return ERR_NOMEM;
    enum err err = fill(d, opts);
    if (err == ERR_OK)
        err = plan_all(d, why);
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

static const char *cause_of(enum env_fault fault)
{
    switch (fault) {
    case ENV_PANICKED:
        return "the head of its file could not be written";
    case ENV_GONE:
        return "its file was removed";
    case ENV_SHUT:
        return "it could not be opened before";
    case ENV_FINE:
    case ENV_CUT:
    case ENV_DAMAGED:
        break;
    }
    return "asked for";
}

unsigned kv_db_reopened(const struct kv_db *d)
{
    return d->reopened;
}

enum err kv_db_reopen(struct kv_db *d, struct buf *why)
{
    const enum env_fault fault = env_fault(d->env);

    env_shut(d->env);
    const enum err err = open_all(d, lost_by(fault), why);
    d->reopened++;
    if (err == ERR_OK && !d->anew)
        log_note(LOG_STORE, "prefix store opened again: dir=%s cause=\"%s\"",
                 d->dir, cause_of(fault));
    return err;
}
