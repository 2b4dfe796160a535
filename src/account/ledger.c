/* ledger.c - Opening and closing the ledger, and the worker's side: a row
 * goes to the worker's journal with one write, or into its ring when that
 * fails. Must never block a worker on a sync, nor lose a row in silence. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "account/ledger_priv.h"
#include "account/ledger_spend.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"

static const struct ledger_opts defaults = {
    .workers = 64,
    .keep_rows_ms = 90 * (int64_t)TALLY_DAY_MS,
    .keep_rows = 5000000,
    .map_bytes = (size_t)64 << 20,
    .map_bytes_max = (size_t)1 << 40,
    .group_ms = 20,
    .journal_bytes = 8u << 20,
};

static void set_defaults(struct ledger_opts *o)
{
    if (o->workers == 0)
        o->workers = defaults.workers;
    if (o->keep_rows_ms == 0)
        o->keep_rows_ms = defaults.keep_rows_ms;
    if (o->keep_rows == 0)
        o->keep_rows = defaults.keep_rows;
    if (o->map_bytes == 0)
        o->map_bytes = defaults.map_bytes;
    if (o->map_bytes_max == 0)
        o->map_bytes_max = defaults.map_bytes_max;
    if (o->group_ms == 0)
        o->group_ms = defaults.group_ms;
    if (o->journal_bytes == 0)
        o->journal_bytes = defaults.journal_bytes;
}

/* Make <path> and what is missing above it, for the owner alone. */
static enum err make_dirs(const char *path, struct buf *why)
{
    char part[4096];
    const size_t len = strlen(path);

    if (len == 0 || len >= sizeof(part)) {
        env_say(why, "state directory has no usable name");
        return ERR_IO;
    }
    memcpy(part, path, len + 1);
    for (size_t i = 1; i <= len; i++) {
        if (part[i] != '/' && part[i] != 0)
            continue;
        part[i] = 0;
        if (mkdir(part, 0700) != 0 && errno != EEXIST) {
            env_say(why, "%s cannot be made: %s", part, strerror(errno));
            return ERR_IO;
        }
        part[i] = path[i];
    }
    return ERR_OK;
}

static enum err make_journal_dir(const char *path, struct buf *why)
{
    struct stat st;
    const enum err err = make_dirs(path, why);

    if (err != ERR_OK)
        return err;
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode) ||
        ((st.st_mode & 077) != 0 && chmod(path, 0700) != 0)) {
        env_say(why, "%s is not a directory of our own", path);
        return ERR_IO;
    }
    return ERR_OK;
}

/* Fold what an earlier process left. A disk that refuses is no reason not to
 * start: the rows stay in their journals and admission stays shut. */
static enum err fold_leftovers(struct ledger *l, struct writer_opts *wo,
                               struct buf *why)
{
    enum err err = ledger_fold_scan(l, why);

    if (err != ERR_OK)
        return err;
    err = writer_drain_now(wo);
    wo->ops->round_over(l); /* deletes what is folded */
    atomic_store(&l->replayed, atomic_load(&l->folded));
    if (atomic_load(&l->replayed) > 0)
        log_note(LOG_LEDGER, "rows found in journals: n=%llu twice=%llu",
                 (unsigned long long)atomic_load(&l->replayed),
                 (unsigned long long)atomic_load(&l->twice));
    if (err == ERR_CORRUPT) {
        env_say(why, "ledger %s is damaged: a counter fails its checksum",
                env_path(ldb_env(l->db)));
        return err;
    }
    if (err == ERR_OK)
        err = ledger_fold_tidy(l);
    if (err == ERR_OK)
        err = ledger_spend_recover(l, why);
    atomic_store(&l->is_settled, err == ERR_OK);
    return err == ERR_CORRUPT ? err : ERR_OK;
}

static enum err open_parts(struct ledger *l, struct buf *why)
{
    const struct ldb_opts db = {.dir = l->dir,
                                .map_bytes = l->opts.map_bytes,
                                .map_bytes_max = l->opts.map_bytes_max};
    enum err err = make_dirs(l->opts.state_dir, why);

    if (err == ERR_OK)
        err = ldb_open(&db, &l->db, why);
    if (err == ERR_OK)
        err = make_journal_dir(l->journal_dir, why);
    if (err != ERR_OK)
        return err;
    struct writer_opts wo = {.env = ldb_env(l->db),
                             .ops = &ledger_fold_ops,
                             .owner = l,
                             .name = "ledger",
                             .group_ms = l->opts.group_ms};
    err = fold_leftovers(l, &wo, why);
    if (err == ERR_OK)
        err = writer_start(&wo, &l->writer);
    if (err == ERR_IO && why->len == 0)
        env_say(why, "the ledger's thread cannot be started");
    return err;
}

/* A next journal that was not needed. */
static void drop_next(struct ledger_worker *lw)
{
    struct jfile *next = atomic_exchange(&lw->next, NULL);

    if (!next)
        return;
    unlink(next->path);
    journal_free(next);
}

/* Free a seat that could not be left while the writer ran. */
static void drop_seat(struct ledger_worker *lw)
{
    const uint64_t lost = atomic_load(&lw->head) - atomic_load(&lw->tail);

    if (lost > 0)
        log_err(LOG_LEDGER, "closed with rows in memory, they are lost: n=%llu",
                (unsigned long long)lost);
    drop_next(lw);
    free(lw->ring);
    free(lw);
}

static void ledger_free(struct ledger *l)
{
    if (!l->seats)
        l->opts.workers = 0;
    for (unsigned i = 0; i < l->opts.workers; i++) {
        if (l->seats[i])
            drop_seat(l->seats[i]);
    }
    ledger_fold_fini(l);
    ldb_close(l->db);
    pthread_mutex_destroy(&l->lock);
    free(l->seats);
    free(l->dir);
    free(l->journal_dir);
    free(l);
}

enum err ledger_open(const struct ledger_opts *opts, struct ledger **ledger_out,
                     struct buf *why)
{
    struct ledger *l = calloc(1, sizeof(*l));

    if (!l)
        return ERR_NOMEM;
    clock_update();
    l->opts = *opts;
    set_defaults(&l->opts);
    STAILQ_INIT(&l->files);
    if (pthread_mutex_init(&l->lock, NULL) != 0)
        PANIC("pthread_mutex_init failed");
    l->seats = calloc(l->opts.workers, sizeof(struct ledger_worker *));
    if (asprintf(&l->dir, "%s/ledger", opts->state_dir) < 0)
        l->dir = NULL;
    if (asprintf(&l->journal_dir, "%s/journal", opts->state_dir) < 0)
        l->journal_dir = NULL;
    enum err err = ERR_NOMEM;
    if (l->seats && l->dir && l->journal_dir)
        err = open_parts(l, why);
    if (err != ERR_OK) {
        ledger_free(l);
        return err;
    }
    ledger_fold_judge(l);
    *ledger_out = l;
    return ERR_OK;
}

void ledger_close(struct ledger *l)
{
    if (!l)
        return;
    if (atomic_load(&l->is_settled) && ledger_spend_close(l) != ERR_OK)
        log_warn(LOG_LEDGER, "the ledger counts as still open");
    writer_stop(l->writer);
    l->writer = NULL;
    ledger_free(l);
}

enum ledger_state ledger_state(const struct ledger *l)
{
    return (enum ledger_state)atomic_load_explicit(&l->state,
                                                   memory_order_relaxed);
}

enum err ledger_trouble(struct ledger *l, struct buf *out)
{
    if (ledger_state(l) == LEDGER_OK)
        return ERR_OK;
    if (writer_state(l->writer) != WRITER_OK) {
        writer_trouble(l->writer, out);
        return ERR_OK;
    }
    if (!atomic_load(&l->is_settled))
        return buf_printf(out,
                          "what an earlier process left in %s is not in "
                          "the database yet",
                          l->journal_dir);
    if (atomic_load(&l->is_low))
        return buf_printf(out, "no disk space for journals in %s",
                          l->journal_dir);
    return buf_printf(out, "a journal in %s cannot be written", l->journal_dir);
}

struct ledger_stats ledger_stats(struct ledger *l)
{
    const struct writer_stats ws = writer_stats(l->writer);
    struct ledger_stats s = {
        .state = ledger_state(l),
        .rows_folded = atomic_load(&l->folded),
        .rows_replayed = atomic_load(&l->replayed),
        .rows_twice = atomic_load(&l->twice),
        .rows_pruned = atomic_load(&l->pruned),
        .commits = ws.commits,
        .commits_failed = ws.failures,
        .map_bytes = env_map_bytes(ldb_env(l->db)),
        .journal_damaged = atomic_load(&l->damaged),
    };
    uint64_t put;

    pthread_mutex_lock(&l->lock);
    put = l->past_rows;
    s.rows_refused = l->past_refused;
    for (unsigned i = 0; i < l->opts.workers; i++) {
        if (l->seats[i]) {
            put += atomic_load(&l->seats[i]->rows);
            s.rows_refused += atomic_load(&l->seats[i]->refused);
        }
    }
    pthread_mutex_unlock(&l->lock);
    const uint64_t done = s.rows_folded - s.rows_replayed;
    s.rows_waiting = put > done ? put - done : 0;
    return s;
}

struct writer *ledger_writer(struct ledger *l)
{
    return l->writer;
}

struct ledger_db *ledger_database(struct ledger *l)
{
    return l->db;
}

static enum err take_seat(struct ledger *l, struct ledger_worker *lw)
{
    enum err err = ERR_EXISTS;

    pthread_mutex_lock(&l->lock);
    if (!l->seats[lw->index]) {
        l->seats[lw->index] = lw;
        if (lw->cur)
            STAILQ_INSERT_TAIL(&l->files, lw->cur, link);
        err = ERR_OK;
    }
    pthread_mutex_unlock(&l->lock);
    return err;
}

/* A first journal; where the disk is full the seat starts without one and
 * the writer thread makes it when it can. */
static enum err first_journal(struct ledger *l, struct ledger_worker *lw)
{
    enum err err = journal_create(l->journal_dir, lw->index, &lw->cur);

    if (err == ERR_OK && journal_reserve(lw->cur, RESERVE_BYTES) == ERR_OK)
        return ERR_OK;
    if (err != ERR_OK && errno != ENOSPC && errno != EDQUOT && errno != EIO)
        return err;
    atomic_store(&lw->is_failing, err != ERR_OK);
    atomic_store(&l->is_low, true);
    atomic_store(&l->state, LEDGER_UNAVAILABLE);
    return ERR_OK;
}

enum err ledger_worker_open(struct ledger *l, unsigned index,
                            struct ledger_worker **worker_out)
{
    struct ledger_worker *lw;

    if (index >= l->opts.workers)
        return ERR_RANGE;
    lw = calloc(1, sizeof(*lw));
    if (!lw)
        return ERR_NOMEM;
    lw->ledger = l;
    lw->index = index;
    lw->ring = calloc(RING_ROWS, sizeof(*lw->ring));
    enum err err = lw->ring ? first_journal(l, lw) : ERR_NOMEM;
    if (err == ERR_OK)
        err = take_seat(l, lw);
    if (err == ERR_OK) {
        *worker_out = lw;
        return ERR_OK;
    }
    if (lw->cur) {
        unlink(lw->cur->path);
        journal_free(lw->cur);
    }
    free(lw->ring);
    free(lw);
    return err;
}

/* Gives up a seat whose ring is empty; on the writer thread, which is the
 * only one to look at seats that are not its own. */
struct leave {
    struct wjob job;
    struct ledger_worker *lw;
};

static enum err leave_run(struct txn *t, struct wjob *job)
{
    struct ledger_worker *lw = ((struct leave *)(void *)job)->lw;
    struct ledger *l = lw->ledger;

    (void)t; /* only its thread matters */
    if (atomic_load(&lw->head) != atomic_load(&lw->tail))
        return ERR_AGAIN;
    pthread_mutex_lock(&l->lock);
    if (l->seats[lw->index] == lw) {
        l->seats[lw->index] = NULL;
        l->past_rows += atomic_load(&lw->rows);
        l->past_refused += atomic_load(&lw->refused);
    }
    pthread_mutex_unlock(&l->lock);
    return ERR_OK;
}

static bool is_seated(const struct ledger_worker *lw)
{
    struct ledger *l = lw->ledger;

    pthread_mutex_lock(&l->lock);
    const bool seated = l->seats[lw->index] == lw;
    pthread_mutex_unlock(&l->lock);
    return seated;
}

void ledger_worker_close(struct ledger_worker *lw)
{
    struct leave leave = {.job = {.run = leave_run}, .lw = lw};

    if (!lw)
        return;
    struct ledger *l = lw->ledger;
    atomic_store(&lw->is_leaving, true);
    pthread_mutex_lock(&l->lock);
    if (lw->cur)
        atomic_store(&lw->cur->is_sealed, true);
    lw->cur = NULL;
    pthread_mutex_unlock(&l->lock);
    enum err err = writer_call(l->writer, &leave.job);
    if (err == ERR_AGAIN) /* the ring was emptied with this very commit */
        err = writer_call(l->writer, &leave.job);
    if (is_seated(lw)) {
        log_warn(LOG_LEDGER, "worker leaves with the ledger failing: index=%u",
                 lw->index);
        return; /* freed with the ledger, folded when the disk allows */
    }
    drop_next(lw);
    free(lw->ring);
    free(lw);
}

/* Go on with the next file when this one is full or failing. */
static void rotate(struct ledger_worker *lw)
{
    struct ledger *l = lw->ledger;
    struct jfile *next = atomic_exchange(&lw->next, NULL);

    if (!next)
        return;
    pthread_mutex_lock(&l->lock);
    if (lw->cur)
        atomic_store(&lw->cur->is_sealed, true);
    STAILQ_INSERT_TAIL(&l->files, next, link);
    lw->cur = next;
    pthread_mutex_unlock(&l->lock);
    lw->must_rotate = false;
}

/* The journal failed: shut admission, and have the writer see to it. */
static void fail_journal(struct ledger_worker *lw)
{
    struct ledger *l = lw->ledger;
    int ok = LEDGER_OK;

    lw->must_rotate = true;
    atomic_store(&lw->is_failing, true);
    if (atomic_compare_exchange_strong(&l->state, &ok, LEDGER_UNAVAILABLE))
        log_err(LOG_LEDGER, "journal cannot be written: file=%s error=%s",
                lw->cur ? lw->cur->path : l->journal_dir, strerror(errno));
    writer_kick(l->writer);
}

/* The same; keep the row in memory. */
static enum err ring_put(struct ledger_worker *lw, const void *payload,
                         size_t len)
{
    const uint64_t head = atomic_load(&lw->head);

    fail_journal(lw);
    if (head - atomic_load(&lw->tail) >= RING_ROWS) {
        atomic_fetch_add(&lw->refused, 1);
        return ERR_FULL;
    }
    struct ring_row *slot = &lw->ring[head % RING_ROWS];
    memcpy(slot->payload, payload, len);
    slot->len = (uint16_t)len;
    atomic_store(&lw->head, head + 1);
    return ERR_OK;
}

/* Append to the journal, or to the next one. ERR_IO. */
static enum err append(struct ledger_worker *lw, enum rec_type type,
                       void *frame, size_t len)
{
    enum err err = ERR_IO;

    if (!lw->cur || lw->must_rotate ||
        atomic_load_explicit(&lw->cur->end, memory_order_relaxed) >=
            lw->ledger->opts.journal_bytes)
        rotate(lw);
    if (lw->cur)
        err = journal_append(lw->cur, type, frame, len);
    if (err == ERR_OK && lw->must_rotate) {
        lw->must_rotate = false;
        atomic_store(&lw->is_failing, false);
    }
    return err;
}

enum err ledger_hold_put(struct ledger_worker *lw, const struct hold *h)
{
    uint8_t frame[REC_HEAD_BYTES + HOLD_BYTES_MAX];
    const size_t len = hold_encode(h, frame + REC_HEAD_BYTES);

    /* rows that wait in memory come first */
    if (atomic_load(&lw->head) != atomic_load(&lw->tail))
        return ERR_LEDGER;
    if (append(lw, REC_HOLD, frame, len) == ERR_OK)
        return ERR_OK;
    fail_journal(lw);
    return ERR_LEDGER;
}

enum err ledger_row_put(struct ledger_worker *lw, const struct usage_row *row)
{
    uint8_t frame[JOURNAL_RECORD_MAX];
    const size_t len = row_encode(row, frame + REC_HEAD_BYTES);
    enum err err = append(lw, REC_ROW, frame, len);

    if (err != ERR_OK)
        err = ring_put(lw, frame + REC_HEAD_BYTES, len);
    if (err != ERR_OK)
        return err;
    atomic_fetch_add_explicit(&lw->rows, 1, memory_order_relaxed);
    writer_kick(lw->ledger->writer);
    return ERR_OK;
}
