/* ledger_fold.c - The writer's side: rows go from the journals (and from the
 * workers' rings, when a journal cannot be written) into the database. In
 * one transaction stand the rows, their counters and how far each file is
 * folded, so a row enters once whatever dies when. Files are deleted only
 * after the transaction that emptied them is durable. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "account/ledger_priv.h"
#include "account/ledger_spend.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"

/* Seconds between two looks for readers that died. */
#define READER_CHECK_S 60

/* When rows have grown too old or too many: rows deleted in one transaction,
 * and how long a tick may go on with that, since jobs wait meanwhile. */
#define PRUNE_STEP 4000
#define PRUNE_MS   150

static enum err copy_list(struct ledger *l)
{
    struct jfile *f;
    size_t n = 0;

    pthread_mutex_lock(&l->lock);
    STAILQ_FOREACH(f, &l->files, link)
    n++;
    if (n > l->room_work) {
        struct jfile **more = realloc(l->work, 2 * n * sizeof(*more));

        if (!more) {
            pthread_mutex_unlock(&l->lock);
            return ERR_NOMEM;
        }
        l->work = more;
        l->room_work = 2 * n;
    }
    l->n_work = 0;
    STAILQ_FOREACH(f, &l->files, link)
    l->work[l->n_work++] = f;
    pthread_mutex_unlock(&l->lock);
    return ERR_OK;
}

static bool ring_has_more(const struct ledger_worker *lw)
{
    return atomic_load(&lw->head) != atomic_load(&lw->tail);
}

static bool fold_has_more(void *owner)
{
    struct ledger *l = owner;
    struct jfile *f;
    bool more = false;

    pthread_mutex_lock(&l->lock);
    STAILQ_FOREACH(f, &l->files, link)
    more = more || atomic_load(&f->end) > f->folded;
    for (unsigned i = 0; !more && i < l->opts.workers; i++)
        more = l->seats[i] && ring_has_more(l->seats[i]);
    pthread_mutex_unlock(&l->lock);
    return more;
}

/* Put one row in; one that is there already is counted and let be.
 * ERR_SYNTAX when the record is whole but no row that we know. */
static enum err fold_row(struct ledger *l, struct txn *t, struct str payload)
{
    struct usage_row row;

    if (row_decode(payload, &row) != ERR_OK)
        return ERR_SYNTAX;
    enum err err = ldb_row_add(t, payload, &row, &l->sums);
    if (err == ERR_EXISTS) {
        l->n_twice_now++;
        err = ERR_OK;
    } else if (err == ERR_OK)
        err = spend_map_add_row(&l->spends, &row);
    if (err == ERR_OK)
        err = hold_batch_end(&l->holds, t, &row);
    if (err == ERR_OK)
        l->n_rows_now++;
    return err;
}

static enum err note_folded(struct txn *t, const struct jfile *f)
{
    uint8_t bytes[8];
    struct rec_out o = {.p = bytes, .room = sizeof(bytes)};

    rec_put_int(&o, f->pending, 8);
    return ldb_put(t, LDB_FOLDS, str_of(f->id, JOURNAL_ID_LEN),
                   str_of(bytes, sizeof(bytes)));
}

/* Told once it is certain that the file will not be read there again. */
static void tell_damage(struct ledger *l, struct jfile *f)
{
    if (f->skipped_now > 0) {
        f->is_damaged = true;
        atomic_fetch_add(&l->damaged, f->skipped_now);
        log_err(LOG_LEDGER,
                "journal damaged, rows lost: file=%s skipped_bytes=%llu",
                f->path, (unsigned long long)f->skipped_now);
    }
    if (f->torn_now > 0)
        log_note(LOG_LEDGER,
                 "journal ended in a torn record: file=%s bytes=%llu", f->path,
                 (unsigned long long)f->torn_now);
    f->skipped_now = 0;
    f->torn_now = 0;
}

static enum err fold_file(struct ledger *l, struct txn *t, struct jfile *f,
                          unsigned max, unsigned *n)
{
    struct journal_read r;
    enum rec_type type;
    struct str payload;
    enum err err = ERR_OK;

    journal_read_init(&r, f, f->folded, atomic_load(&f->end));
    while (err == ERR_OK && *n < max) {
        err = journal_read_next(&r, &type, &payload);
        if (err != ERR_OK)
            break;
        err = type == REC_HOLD ? hold_batch_add(&l->holds, payload)
                               : fold_row(l, t, payload);
        *n += 1;
        if (err == ERR_SYNTAX) {
            r.skipped += REC_HEAD_BYTES + payload.len;
            err = ERR_OK;
        }
    }
    if (err == ERR_OK || err == ERR_NOT_FOUND) {
        f->pending = r.at;
        f->skipped_now = r.skipped;
        f->torn_now = r.torn;
        if (r.torn > 0 && *n < max)
            *n += 1; /* nothing but a torn end is a change, too */
        err = note_folded(t, f);
    }
    journal_read_fini(&r);
    return err;
}

static enum err fold_ring(struct ledger *l, struct txn *t,
                          struct ledger_worker *lw, unsigned max, unsigned *n)
{
    const uint64_t head = atomic_load(&lw->head);
    enum err err = ERR_OK;

    lw->taken = atomic_load(&lw->tail);
    while (err == ERR_OK && lw->taken != head && *n < max) {
        const struct ring_row *row = &lw->ring[lw->taken % RING_ROWS];

        err = fold_row(l, t, str_of(row->payload, row->len));
        BUG_ON(err == ERR_SYNTAX); /* we encoded it */
        if (err == ERR_OK) {
            lw->taken++;
            *n += 1;
        }
    }
    return err;
}

/* The seat of <index>, which stays until ledger_worker_close(), and that
 * waits for its ring to be empty. */
static struct ledger_worker *seat_at(struct ledger *l, unsigned index)
{
    pthread_mutex_lock(&l->lock);
    struct ledger_worker *lw = l->seats[index];
    pthread_mutex_unlock(&l->lock);
    return lw;
}

static enum err forget_gone(struct ledger *l, struct txn *t)
{
    enum err err = ERR_OK;

    for (size_t i = 0; err == ERR_OK && i < l->n_gone; i++) {
        err = ldb_del(t, LDB_FOLDS, str_of(l->gone[i].id, JOURNAL_ID_LEN));
        if (err == ERR_NOT_FOUND)
            err = ERR_OK;
    }
    l->n_gone_now = l->n_gone;
    return err;
}

static enum err fold_pull(void *owner, struct txn *t, unsigned max,
                          unsigned *n_out)
{
    struct ledger *l = owner;
    unsigned n = 0;
    enum err err = copy_list(l);

    tally_map_fini(&l->sums);
    spend_map_fini(&l->spends);
    hold_batch_fini(&l->holds);
    l->holds.in_order = atomic_load(&l->is_settled);
    l->n_twice_now = 0;
    l->n_rows_now = 0;
    for (size_t i = 0; err == ERR_OK && n < max && i < l->n_work; i++) {
        if (atomic_load(&l->work[i]->end) > l->work[i]->folded)
            err = fold_file(l, t, l->work[i], max, &n);
    }
    for (unsigned i = 0; err == ERR_OK && n < max && i < l->opts.workers; i++) {
        struct ledger_worker *lw = seat_at(l, i);

        if (lw)
            err = fold_ring(l, t, lw, max, &n);
    }
    if (err == ERR_OK)
        err = hold_batch_flush(&l->holds, t);
    if (err == ERR_OK)
        err = ldb_counters_add(t, &l->sums);
    if (err == ERR_OK)
        err = ledger_spend_fold(t, &l->spends);
    if (err == ERR_OK && n > 0)
        err = forget_gone(l, t);
    *n_out = n;
    return err;
}

static void fold_dropped(void *owner, enum err why)
{
    struct ledger *l = owner;

    (void)why; /* the writer has told it */
    for (size_t i = 0; i < l->n_work; i++) {
        l->work[i]->pending = l->work[i]->folded;
        l->work[i]->skipped_now = 0;
        l->work[i]->torn_now = 0;
    }
    for (unsigned i = 0; i < l->opts.workers; i++) {
        struct ledger_worker *lw = seat_at(l, i);

        if (lw)
            lw->taken = atomic_load(&lw->tail);
    }
    l->n_gone_now = 0;
}

/* A file of which everything is in the database goes; one with damage in its
 * middle is kept for people under another name. Its folding record must
 * outlive it on disk, or a power loss could bring the file back alone. */
static void retire_file(struct ledger *l, struct jfile *f)
{
    char aside[4096];

    pthread_mutex_lock(&l->lock);
    STAILQ_REMOVE(&l->files, f, jfile, link);
    pthread_mutex_unlock(&l->lock);
    if (f->is_damaged && snprintf(aside, sizeof(aside), "%s.damaged", f->path) <
                             (int)sizeof(aside)) {
        if (rename(f->path, aside) != 0)
            log_err(LOG_LEDGER, "cannot rename: file=%s error=%s", f->path,
                    strerror(errno));
    } else if (unlink(f->path) != 0) {
        log_err(LOG_LEDGER, "cannot delete: file=%s error=%s", f->path,
                strerror(errno));
    }
    if (ledger_sync_dir(l->journal_dir) == ERR_OK)
        ledger_forget_later(l, f);
    journal_free(f);
}

static void retire_folded(struct ledger *l)
{
    if (copy_list(l) != ERR_OK)
        return; /* the next round will */
    for (size_t i = 0; i < l->n_work; i++) {
        struct jfile *f = l->work[i];

        if (atomic_load(&f->is_sealed) && f->folded >= atomic_load(&f->end))
            retire_file(l, f);
    }
    l->n_work = 0;
}

static void fold_committed(void *owner)
{
    struct ledger *l = owner;

    atomic_fetch_add(&l->folded, l->n_rows_now);
    atomic_fetch_add(&l->twice, l->n_twice_now);
    for (size_t i = 0; i < l->n_work; i++) {
        l->work[i]->folded = l->work[i]->pending;
        tell_damage(l, l->work[i]);
    }
    for (unsigned i = 0; i < l->opts.workers; i++) {
        struct ledger_worker *lw = seat_at(l, i);

        if (lw)
            atomic_store(&lw->tail, lw->taken);
    }
    if (l->n_gone_now > 0) {
        memmove(l->gone, l->gone + l->n_gone_now,
                (l->n_gone - l->n_gone_now) * sizeof(*l->gone));
        l->n_gone -= l->n_gone_now;
        l->n_gone_now = 0;
    }
}

static enum err fold_probe(void *owner, struct txn *t)
{
    (void)owner; /* the shape of writer_ops */
    return ldb_touch(t, clock_wall_ms());
}

/* Have a successor ready before the file is full, or at once when the file
 * cannot be written: making one proves that the directory takes files. */
static bool make_next(struct ledger *l, struct ledger_worker *lw,
                      const struct jfile *cur)
{
    const bool failing = !cur || atomic_load(&lw->is_failing);
    struct jfile *next;

    if (atomic_load(&lw->next) || atomic_load(&lw->is_leaving))
        return true;
    if (!failing && atomic_load(&cur->end) < l->opts.journal_bytes / 2)
        return true;
    if (journal_create(l->journal_dir, lw->index, &next) != ERR_OK)
        return !failing;
    if (journal_reserve(next, RESERVE_BYTES) != ERR_OK) {
        unlink(next->path);
        journal_free(next);
        return false;
    }
    atomic_store(&lw->next, next);
    atomic_store(&lw->is_failing, false);
    return true;
}

/* Keep space ready for each worker. The seat's current file is found under
 * the lock, since the worker changes it under the lock. */
static void keep_reserves(struct ledger *l)
{
    bool low = false;

    for (unsigned i = 0; i < l->opts.workers; i++) {
        pthread_mutex_lock(&l->lock);
        struct ledger_worker *lw = l->seats[i];
        struct jfile *cur = lw ? lw->cur : NULL;
        pthread_mutex_unlock(&l->lock);
        if (!lw)
            continue;
        if (cur && journal_reserve(cur, RESERVE_BYTES) != ERR_OK)
            low = true;
        if (!make_next(l, lw, cur))
            low = true;
    }
    if (low && !atomic_exchange(&l->is_low, true))
        log_err(LOG_LEDGER, "no disk space for journals: dir=%s",
                l->journal_dir);
    if (!low && atomic_exchange(&l->is_low, false))
        log_note(LOG_LEDGER, "disk space for journals again: dir=%s",
                 l->journal_dir);
}

void ledger_fold_judge(struct ledger *l)
{
    enum ledger_state state = LEDGER_OK;

    if (atomic_load(&l->is_low) || !atomic_load(&l->is_settled))
        state = LEDGER_UNAVAILABLE;
    for (unsigned i = 0; i < l->opts.workers; i++) {
        const struct ledger_worker *lw = seat_at(l, i);

        if (lw && (ring_has_more(lw) || atomic_load(&lw->is_failing)))
            state = LEDGER_UNAVAILABLE;
    }
    if (l->writer && writer_state(l->writer) == WRITER_FAILING)
        state = LEDGER_UNAVAILABLE;
    if (l->writer && writer_state(l->writer) == WRITER_BROKEN)
        state = LEDGER_FATAL;
    atomic_store(&l->state, (int)state);
}

static void fold_round_over(void *owner)
{
    struct ledger *l = owner;

    retire_folded(l);
    keep_reserves(l);
    ledger_fold_judge(l);
}

/* Rows go by their age against the newest row or the clock, whichever is
 * older: a clock that jumps ahead must not empty the ledger. */
static enum err prune_once(struct ledger *l, unsigned *n_out)
{
    struct txn t;
    int64_t now = (int64_t)clock_wall_ms();
    int64_t newest = 0;
    enum err err = txn_begin_write(ldb_env(l->db), &t);

    if (err != ERR_OK)
        return err;
    err = ldb_newest_row(&t, &newest);
    if (err == ERR_OK && newest < now)
        now = newest;
    const struct ldb_keep keep = {.rows = l->opts.keep_rows,
                                  .since_wall_ms = now - l->opts.keep_rows_ms,
                                  .max = PRUNE_STEP};
    unsigned n = 0;
    if (err == ERR_OK)
        err = ldb_prune(&t, &keep, &n);
    if (err == ERR_OK && n > 0)
        err = txn_commit(&t);
    txn_end(&t);
    if (err == ERR_OK)
        *n_out = n;
    return err;
}

/* Charge what an earlier process left, where the disk refused at start. */
static void settle_late(struct ledger *l)
{
    struct buf why;

    if (atomic_load(&l->is_settled) || fold_has_more(l))
        return;
    buf_init(&why, 1024);
    if (ledger_spend_recover(l, &why) == ERR_OK)
        atomic_store(&l->is_settled, true);
    buf_fini(&why);
}

static void fold_tick(void *owner)
{
    struct ledger *l = owner;
    const uint64_t until = clock_now_us() + PRUNE_MS * 1000;
    unsigned n;

    do {
        n = 0;
        if (prune_once(l, &n) != ERR_OK)
            break; /* nothing to delete, or a failure the next commit tells */
        atomic_fetch_add(&l->pruned, n);
    } while (n == PRUNE_STEP && clock_now_us() < until);
    if (++l->ticks % READER_CHECK_S == 0) {
        const unsigned dead = env_drop_stale_readers(ldb_env(l->db));

        if (dead > 0)
            log_note(LOG_LEDGER, "dropped readers that died: n=%u", dead);
    }
    settle_late(l);
    keep_reserves(l);
    ledger_fold_judge(l);
}

const struct writer_ops ledger_fold_ops = {
    .has_more = fold_has_more,
    .pull = fold_pull,
    .committed = fold_committed,
    .dropped = fold_dropped,
    .probe = fold_probe,
    .round_over = fold_round_over,
    .tick = fold_tick,
};

void ledger_fold_fini(struct ledger *l)
{
    struct jfile *f;

    f = STAILQ_FIRST(&l->files);
    while (f) {
        struct jfile *next = STAILQ_NEXT(f, link);

        journal_free(f);
        f = next;
    }
    tally_map_fini(&l->sums);
    spend_map_fini(&l->spends);
    hold_batch_fini(&l->holds);
    free(l->work);
    free(l->gone);
}
