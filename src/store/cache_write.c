/* cache_write.c - What is done in write transactions: storing replies, giving
 * them up, deleting them. Entries stand in the order in which they were stored,
 * and the first is given up first, unless it was found since: then it is stored
 * again as the last one. Room is made in transactions before the one that needs
 * it, and counted in pages, so that the file never passes its bound. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "store/cache_priv.h"

/* Shares of what may be used that are given up at once when there is no room
 * though there should be. */
#define FULL_SHARE 10

/* In at most so many steps. */
#define FULL_STEPS 128

/* Another try has that often only waited for a reader. */
#define HELD_TRIES 3

/* More is given up than is needed now: this share of what may be used, within
 * these bounds. */
#define MORE_SHARE 256
#define MORE_LEAST 8
#define MORE_MOST  2048

/* So many entries may be stored again for one that is given up. */
#define MOVES_EACH 4

/* Tables without entries have fewer pages. */
#define EMPTY_PAGES 64

/* Pages of a transaction that are not of its replies. */
#define TXN_PAGES 24

/* --- one entry ----------------------------------------------------------- */

/* What giving up has come to, to make room once. */
struct given {
    uint64_t evicted;
    uint64_t kept;
    uint64_t moved_bytes; /* in this transaction, that were stored again */
};

/* What a transaction does, to be counted when it is committed. */
struct work {
    struct cache_db *d;
    struct txn t;
    uint64_t next_seq; /* of the next entry that is stored */
    uint64_t stored, replaced, evicted, kept, deleted;
    uint64_t deleted_bytes;
};

/* The number after the last entry's. */
static enum err seq_next(struct txn *t, uint64_t *out)
{
    struct cursor c;

    ERR_TRY(cursor_open(t, CACHE_ENTRIES, &c));
    const enum err err = cursor_last(&c);
    if (err == ERR_OK)
        *out = cache_seq_of(c.key) + 1;
    else
        *out = 1;
    cursor_close(&c);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err work_begin(struct cache_db *d, struct work *out)
{
    *out = (struct work){.d = d};
    ERR_TRY(txn_begin_write(atomic_load(&d->env), &out->t));
    const enum err err = seq_next(&out->t, &out->next_seq);
    if (err != ERR_OK)
        txn_end(&out->t);
    return err;
}

/* Commit when all went well so far, as <err> says. */
static enum err work_end(struct work *w, enum err err)
{
    struct cache_db *d = w->d;
    uint64_t entries = atomic_load(&d->entries);
    uint64_t used = atomic_load(&d->used_pages);

    if (err == ERR_OK) {
        cache_db_note(d, &w->t);
        err = txn_commit(&w->t);
    }
    txn_end(&w->t);
    cache_db_stamp(d);
    if (err != ERR_OK) {
        atomic_store(&d->entries, entries);
        atomic_store(&d->used_pages, used);
        if (err != ERR_FULL) /* it is tried again with more room */
            cache_count(d, CACHE_N_WRITE_ERRORS, 1);
        return err;
    }
    cache_count(d, CACHE_N_STORED, w->stored);
    cache_count(d, CACHE_N_REPLACED, w->replaced);
    cache_count(d, CACHE_N_EVICTED, w->evicted);
    cache_count(d, CACHE_N_KEPT, w->kept);
    return ERR_OK;
}

/* Delete all slices of <seq>; which they are their keys tell. */
static enum err slices_del(struct txn *t, uint64_t seq)
{
    uint8_t first[CACHE_ENTRY_KEY];
    uint8_t key[CACHE_ENTRY_KEY];
    struct cursor c;
    enum err err;

    ERR_TRY(cursor_open(t, CACHE_ENTRIES, &c));
    for (;;) {
        err = cursor_seek(&c, cache_entry_key(seq, 0, first));
        if (err != ERR_OK || c.key.len != sizeof(key) ||
            cache_seq_of(c.key) != seq)
            break;
        memcpy(key, c.key.p, sizeof(key));
        err = txn_del_large(t, CACHE_ENTRIES, str_of(key, sizeof(key)));
        if (err != ERR_OK)
            break;
    }
    cursor_close(&c);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* Delete <row> of the index where it names <seq>. */
static enum err row_del(struct txn *t, struct str row, uint64_t seq)
{
    struct str value;
    const enum err err = txn_get(t, CACHE_INDEX, row, &value);

    if (err == ERR_NOT_FOUND || (err == ERR_OK && cache_seq_of(value) != seq))
        return ERR_OK;
    ERR_TRY(err);
    return txn_del(t, CACHE_INDEX, row);
}

/* Delete entry <seq> and its row, where its head tells which that is. */
static enum err entry_del(struct txn *t, uint64_t seq)
{
    uint8_t row[CACHE_INDEX_KEY];

    if (cache_row_of(t, seq, row))
        ERR_TRY(row_del(t, str_of(row, sizeof(row)), seq));
    return slices_del(t, seq);
}

/* Have <row> name <seq>; the entry that it named is deleted. */
static enum err row_put(struct work *w, struct str row, uint64_t seq)
{
    uint8_t value[CACHE_ENTRY_KEY];
    struct str old;

    const enum err err = txn_get(&w->t, CACHE_INDEX, row, &old);
    if (err == ERR_OK) {
        ERR_TRY(slices_del(&w->t, cache_seq_of(old)));
        w->replaced++;
    } else if (err != ERR_NOT_FOUND) {
        return err;
    }
    cache_entry_key(seq, 0, value);
    return txn_put(&w->t, CACHE_INDEX, row, str_of(value, 8));
}

/* --- storing ------------------------------------------------------------- */

static struct cache_head head_of(const struct cache_put *p)
{
    const char *text = p->text;
    const size_t key = p->text_len[0];
    const size_t team = p->text_len[1];

    return (struct cache_head){.key = p->key,
                               .id = p->id,
                               .bytes = p->bytes.len,
                               .made_wall_ms = p->made_wall_ms,
                               .until_wall_ms = p->until_wall_ms,
                               .key_id = str_of(text, key),
                               .team = str_of(text + key, team),
                               .model =
                                   str_of(text + key + team, p->text_len[2])};
}

uint64_t cache_put_pages(const struct cache_put *p)
{
    const struct cache_head h = head_of(p);
    const uint64_t total = cache_head_bytes(&h) + p->bytes.len;

    /* The last slice shares a page at best. */
    return total / CACHE_SLICE_ROOM + 1;
}

/* Fill slice <i> of an entry: its head, then its bytes. */
static void slice_fill(uint8_t *room, size_t len, uint32_t i,
                       const struct cache_head *h, const char *bytes)
{
    const size_t head = cache_head_bytes(h);
    const size_t at = (size_t)i * CACHE_SLICE_ROOM;
    uint8_t *data = room + 8;

    if (i == 0) {
        cache_head_write(h, data);
        if (len - 8 > head)
            memcpy(data + head, bytes, len - 8 - head);
    } else {
        memcpy(data, bytes + (at - head), len - 8);
    }
    cache_slice_seal(room, len, h->id, i);
}

static enum err entry_append(struct work *w, const struct cache_head *h,
                             const char *bytes)
{
    const uint64_t total = cache_head_bytes(h) + h->bytes;
    uint8_t key[CACHE_ENTRY_KEY];
    void *room;

    for (uint32_t i = 0; i < cache_slices(total); i++) {
        const size_t len = cache_slice_bytes(total, i);

        ERR_TRY(txn_append(&w->t, CACHE_ENTRIES,
                           cache_entry_key(w->next_seq, i, key), len, &room));
        slice_fill(room, len, i, h, bytes);
    }
    return ERR_OK;
}

static enum err store_one(struct work *w, const struct cache_put *p)
{
    const struct cache_head h = head_of(p);
    uint8_t row[CACHE_INDEX_KEY];

    if (atomic_load(&p->is_off))
        return ERR_OK;
    ERR_TRY(row_put(w, cache_index_key(&p->key, row), w->next_seq));
    ERR_TRY(entry_append(w, &h, p->bytes.p));
    cache_hint(w->d, &p->key, w->next_seq, NULL);
    w->next_seq++;
    w->stored++;
    return ERR_OK;
}

/* --- giving up ----------------------------------------------------------- */

/* Store entry <seq> again as the last one. */
static enum err entry_move(struct work *w, uint64_t seq,
                           const struct cache_head *h, uint64_t total)
{
    uint8_t copy[CACHE_SLICE_BYTES];
    uint8_t row[CACHE_INDEX_KEY];
    uint8_t key[CACHE_ENTRY_KEY];
    uint8_t value[CACHE_ENTRY_KEY];
    struct str v;
    void *room;

    cache_index_key(&h->key, row); /* <h> ends with the first change */
    for (uint32_t i = 0; i < cache_slices(total); i++) {
        ERR_TRY(
            txn_get(&w->t, CACHE_ENTRIES, cache_entry_key(seq, i, key), &v));
        if (v.len != cache_slice_bytes(total, i))
            return ERR_RANGE;
        ERR_TRY(txn_copy(&w->t, v, 0, copy, v.len));
        ERR_TRY(txn_append(&w->t, CACHE_ENTRIES,
                           cache_entry_key(w->next_seq, i, key), v.len, &room));
        memcpy(room, copy, v.len);
    }
    cache_entry_key(w->next_seq, 0, value);
    ERR_TRY(txn_put(&w->t, CACHE_INDEX, str_of(row, sizeof(row)),
                    str_of(value, 8)));
    w->next_seq++;
    w->kept++;
    return slices_del(&w->t, seq);
}

/* Whether <row> of the index names <seq>. */
static bool is_named(struct txn *t, struct str row, uint64_t seq)
{
    struct str value;

    return txn_get(t, CACHE_INDEX, row, &value) == ERR_OK &&
           cache_seq_of(value) == seq;
}

/* Whether an entry of <total> bytes may be stored again: not if that were most
 * of what is done, for all of them may have been found. */
static bool may_move(const struct cache_db *d, const struct given *g,
                     uint64_t total)
{
    return g->kept <= d->reserve + MOVES_EACH * g->evicted &&
           g->moved_bytes + total <= d->reserve / 4 * CACHE_PAGE_BYTES;
}

/* Give up the first entry, or store it again. ERR_NOT_FOUND: there is none. */
static enum err evict_one(struct work *w, struct given *g)
{
    uint8_t row[CACHE_INDEX_KEY];
    struct cache_first f;
    struct cursor c;

    ERR_TRY(cursor_open(&w->t, CACHE_ENTRIES, &c));
    enum err err = cursor_seek(&c, STR(""));
    const uint64_t seq = err == ERR_OK ? cache_seq_of(c.key) : 0;
    cursor_close(&c);
    ERR_TRY(err);
    const bool marked = cache_mark_take(w->d, seq);
    err = cache_first_of(&w->t, seq, &f);
    const uint64_t total = err == ERR_OK ? f.head_bytes + f.head.bytes : 0;
    if (err == ERR_OK && marked && may_move(w->d, g, total) &&
        is_named(&w->t, cache_index_key(&f.head.key, row), seq)) {
        err = entry_move(w, seq, &f.head, total);
        g->moved_bytes += total;
        g->kept++;
        return err == ERR_NOT_FOUND || err == ERR_RANGE ? ERR_CORRUPT : err;
    }
    w->evicted++;
    g->evicted++;
    return entry_del(&w->t, seq);
}

/* Pages that may be in use. */
static uint64_t limit_of(const struct cache_db *d)
{
    return d->cap_pages - d->reserve;
}

/* Give up <n> entries in one transaction, or less when no more than <most>
 * pages are in use then. */
static enum err evict_some(struct cache_db *d, uint64_t n, uint64_t most,
                           struct given *g)
{
    uint64_t used = atomic_load(&d->used_pages);
    struct work w;

    g->moved_bytes = 0;
    ERR_TRY(work_begin(d, &w));
    enum err err = ERR_OK;
    for (uint64_t i = 0; err == ERR_OK && used > most && i < n; i++) {
        err = evict_one(&w, g);
        if (err == ERR_OK)
            err = txn_count_used(&w.t, &used);
    }
    if (err == ERR_NOT_FOUND) /* what rows there are name nothing */
        err = txn_clear(&w.t, CACHE_INDEX);
    return work_end(&w, err);
}

/* A transaction that does nothing: what was given up two before may be used
 * again. */
static enum err tick(struct cache_db *d)
{
    uint8_t value[8] = {0};
    struct str old;
    struct work w;

    ERR_TRY(work_begin(d, &w));
    if (txn_get(&w.t, CACHE_TICKS, STR("tick"), &old) == ERR_OK &&
        old.len == sizeof(value))
        memcpy(value, old.p, sizeof(value));
    for (unsigned i = 0; i < sizeof(value) && ++value[i] == 0; i++)
        continue;
    return work_end(&w, txn_put(&w.t, CACHE_TICKS, STR("tick"),
                                str_of(value, sizeof(value))));
}

/* Have <pages> free. */
static enum err make_room(struct cache_db *d, uint64_t pages)
{
    const uint64_t limit = limit_of(d);
    struct given g = {0};
    uint64_t more = limit / MORE_SHARE;

    if (atomic_load(&d->used_pages) + pages <= limit)
        return ERR_OK;
    more = more < MORE_LEAST ? MORE_LEAST : more;
    more = more > MORE_MOST ? MORE_MOST : more;
    const uint64_t most = limit > pages + more ? limit - pages - more : 0;
    while (atomic_load(&d->used_pages) > most && atomic_load(&d->entries) > 0)
        ERR_TRY(evict_some(d, d->reserve / 8, most, &g));
    ERR_TRY(tick(d));
    if (atomic_load(&d->used_pages) + pages <= limit)
        return ERR_OK;
    /* Empty tables have no pages: what counts them is damaged. */
    return atomic_load(&d->entries) == 0 &&
                   atomic_load(&d->used_pages) > EMPTY_PAGES
               ? ERR_CORRUPT
               : ERR_FULL;
}

/* --- what stands in the way ---------------------------------------------- */

/* There is no room, though the bound holds: the disk is full, or what is free
 * is still held. Give up entries until no more than <most> pages are in use. To
 * give up many at once takes room, too, which those given up before will have
 * made two transactions later: hence one at a time first. */
static void give_up(struct cache_db *d, uint64_t most)
{
    struct given g = {.kept = UINT64_MAX}; /* nothing is stored again */
    uint64_t n = 1;

    for (unsigned i = 0; i < FULL_STEPS; i++) {
        if (atomic_load(&d->used_pages) <= most ||
            atomic_load(&d->entries) == 0)
            break;
        if (evict_some(d, n, most, &g) == ERR_OK)
            n = 2 * n < d->reserve / 8 ? 2 * n : n;
        else
            n = 1;
    }
    /* Without it what comes next finds less room. */
    if (tick(d) != ERR_OK)
        errno = 0;
}

static void note_disk_full(struct cache_db *d)
{
    if (!atomic_load(&d->is_disk_full))
        log_warn(LOG_STORE,
                 "response cache is kept as large as it is, the disk is full: "
                 "dir=%s",
                 d->dir);
    atomic_store(&d->is_disk_full, true);
    if (cache_db_cap(d, 0) == ERR_OK)
        give_up(d, limit_of(d));
}

static enum err write_once(struct cache_db *d, struct cache_put *const *puts,
                           unsigned n)
{
    uint64_t pages = TXN_PAGES + n;
    struct work w;

    for (unsigned i = 0; i < n; i++)
        pages += cache_put_pages(puts[i]);
    ERR_TRY(make_room(d, pages));
    ERR_TRY(work_begin(d, &w));
    enum err err = ERR_OK;
    for (unsigned i = 0; err == ERR_OK && i < n; i++)
        err = store_one(&w, puts[i]);
    return work_end(&w, err);
}

enum err cache_db_write(struct cache_db *d, struct cache_put *const *puts,
                        unsigned n)
{
    struct env *env = atomic_load(&d->env);
    enum err err = write_once(d, puts, n);

    /* Either may come behind the other: a full disk makes the bound smaller. */
    for (unsigned i = 0; i < HELD_TRIES; i++) {
        const uint64_t used = atomic_load(&d->used_pages);

        if (err == ERR_IO && env_is_disk_full(env))
            note_disk_full(d);
        else if (err != ERR_FULL)
            break;
        else if (!env_wait_held(env))
            give_up(d, used - used / FULL_SHARE);
        err = write_once(d, puts, n);
    }
    if (cache_db_mend(d, err))
        err = write_once(d, puts, n);
    return err;
}

/* --- deleting ------------------------------------------------------------ */

enum err cache_db_delete(struct cache_db *d, const struct cache_bad *bad)
{
    const struct str row = str_of(bad->row, sizeof(bad->row));
    struct work w;

    ERR_TRY(work_begin(d, &w));
    enum err err = row_del(&w.t, row, bad->seq);
    if (err == ERR_OK)
        err = slices_del(&w.t, bad->seq);
    return work_end(&w, err);
}

enum err cache_db_drop(struct cache_db *d, const struct cache_key *key)
{
    uint8_t bytes[CACHE_INDEX_KEY];
    const struct str row = cache_index_key(key, bytes);
    struct str value;
    struct work w;

    ERR_TRY(work_begin(d, &w));
    enum err err = txn_get(&w.t, CACHE_INDEX, row, &value);
    if (err == ERR_OK)
        err = slices_del(&w.t, cache_seq_of(value));
    if (err == ERR_OK)
        err = txn_del(&w.t, CACHE_INDEX, row);
    if (err == ERR_NOT_FOUND) {
        txn_end(&w.t);
        return err;
    }
    return work_end(&w, err);
}

static bool fits(struct str wanted, struct str is)
{
    return wanted.len == 0 || str_eq(wanted, is);
}

bool cache_purge_means(const struct cache_purge *what, struct str key_id,
                       struct str team, struct str model)
{
    return fits(what->key_id, key_id) && fits(what->team, team) &&
           fits(what->model, model);
}

/* Delete the entry at or behind *<seq>, if it is meant; go on to the next. */
static enum err purge_one(struct work *w, const struct cache_purge *what,
                          uint64_t *seq)
{
    uint8_t key[CACHE_ENTRY_KEY];
    struct cache_first f;
    struct cursor c;

    ERR_TRY(cursor_open(&w->t, CACHE_ENTRIES, &c));
    enum err err = cursor_seek(&c, cache_entry_key(*seq, 0, key));
    const uint64_t at = err == ERR_OK ? cache_seq_of(c.key) : 0;
    cursor_close(&c);
    ERR_TRY(err);
    *seq = at + 1;
    err = cache_first_of(&w->t, at, &f);
    if (err == ERR_OK &&
        !cache_purge_means(what, f.head.key_id, f.head.team, f.head.model))
        return ERR_OK;
    /* Nobody can tell whose a damaged one is. */
    w->deleted_bytes += err == ERR_OK ? f.head.bytes : 0;
    w->deleted++;
    return entry_del(&w->t, at);
}

enum err cache_db_purge(struct cache_db *d, const struct cache_purge *what,
                        uint64_t *seq, struct cache_purged *out)
{
    uint64_t next = *seq;
    struct work w;

    ERR_TRY(work_begin(d, &w));
    enum err err = ERR_OK;
    for (unsigned i = 0;
         err == ERR_OK && i < 4096 && w.deleted < d->reserve / 8; i++)
        err = purge_one(&w, what, &next);
    const bool is_end = err == ERR_NOT_FOUND;
    if (w.deleted == 0 && (err == ERR_OK || is_end))
        txn_end(&w.t); /* nothing was changed */
    else
        err = work_end(&w, is_end ? ERR_OK : err);
    if (err != ERR_OK && !is_end)
        return err;
    *seq = next;
    out->entries += w.deleted;
    out->bytes += w.deleted_bytes;
    cache_count(d, CACHE_N_PURGED, w.deleted);
    return is_end ? ERR_NOT_FOUND : ERR_OK;
}
