/* kv_txn.c - What is done in a namespace's transactions: finding, reading,
 * storing, ageing and proving pages. Eviction comes before storing and in the
 * same transaction, so that the bound holds at every moment, also when the
 * process dies. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/kv_db_priv.h"

/* Shares of the pages that are given up at once when the map is full. */
#define FULL_SHARE 10

/* Hashes that verify reads in one transaction. */
#define VERIFY_BATCH 256

/* A transaction that stores pages lasts about this long at most, of which the
 * last commit tells how much the next one will take. */
#define BATCH_US 50000

/* What a transaction that stores pages has done. */
struct batch {
    struct kv_wrote wrote;
    unsigned stored; /* in this one */
    unsigned done;   /* pages dealt with */
};

/* A row of ticks. */
struct tick {
    uint64_t at;
    uint32_t hits;
};

static struct str hash_str(const struct digest *h)
{
    return str_of((const char *)h->b, sizeof(h->b));
}

static void be_put(uint8_t *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> 8 * (bytes - 1 - i));
}

static uint64_t be_get(const char *p, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | (uint8_t)p[i];
    return v;
}

/* --- ageing -------------------------------------------------------------- */

/* The tick after the last one given. */
static enum err tick_next(struct txn *t, uint64_t *out)
{
    struct cursor c;

    ERR_TRY(cursor_open(t, KV_ORDER, &c));
    const enum err err = cursor_last(&c);
    if (err == ERR_OK && c.key.len == 8)
        *out = be_get(c.key.p, 8) + 1;
    else
        *out = 1;
    cursor_close(&c);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err tick_get(struct txn *t, struct str hash, struct tick *out)
{
    struct str v;

    ERR_TRY(txn_get(t, KV_TICKS, hash, &v));
    if (v.len != 12)
        return ERR_CORRUPT;
    *out = (struct tick){.at = be_get(v.p, 8),
                         .hits = (uint32_t)be_get(v.p + 8, 4)};
    return ERR_OK;
}

static enum err tick_put(struct txn *t, struct str hash,
                         const struct tick *tick)
{
    uint8_t row[12];

    be_put(row, tick->at, 8);
    be_put(row + 8, tick->hits, 4);
    ERR_TRY(txn_put(t, KV_TICKS, hash, str_of((char *)row, sizeof(row))));
    return txn_put(t, KV_ORDER, str_of((char *)row, 8), hash);
}

static enum err order_del(struct txn *t, uint64_t at)
{
    uint8_t key[8];

    be_put(key, at, 8);
    return txn_del(t, KV_ORDER, str_of((char *)key, sizeof(key)));
}

/* Give <tick> of a page the time <at>. */
static enum err tick_move(struct txn *t, struct str hash, struct tick *tick,
                          uint64_t at)
{
    ERR_TRY(order_del(t, tick->at));
    tick->at = at;
    return tick_put(t, hash, tick);
}

/* Give up the page that was used longest ago. */
static enum err evict_one(struct txn *t, struct cursor *c, struct kv_wrote *out)
{
    struct digest hash;
    struct tick tick;

    ERR_TRY(cursor_seek(c, STR("")));
    if (c->value.len != sizeof(hash.b))
        return ERR_CORRUPT;
    memcpy(hash.b, c->value.p, sizeof(hash.b));
    ERR_TRY(tick_get(t, hash_str(&hash), &tick));
    ERR_TRY(cursor_del(c));
    ERR_TRY(txn_del(t, KV_TICKS, hash_str(&hash)));
    ERR_TRY(txn_del(t, KV_PAGES, hash_str(&hash)));
    out->evicted++;
    out->unused += tick.hits == 0;
    return ERR_OK;
}

static enum err evict(struct txn *t, uint64_t n, struct kv_wrote *out)
{
    struct cursor c;
    enum err err = ERR_OK;

    if (n == 0)
        return ERR_OK;
    ERR_TRY(cursor_open(t, KV_ORDER, &c));
    for (; err == ERR_OK && n > 0; n--)
        err = evict_one(t, &c, out);
    cursor_close(&c);
    return err;
}

/* --- storing ------------------------------------------------------------- */

static enum err store_one(struct kv_db *d, struct txn *t,
                          const struct kv_put *p, uint64_t at)
{
    const struct str hash = hash_str(&p->key.hash);
    const struct tick tick = {.at = at};
    void *room;

    ERR_TRY(txn_reserve(t, KV_PAGES, hash, KV_HEAD_BYTES + d->payload_bytes,
                        &room));
    kv_page_head(&p->key, &d->ns, d->payload_bytes,
                 kv_page_sum(p->payload, d->payload_bytes),
                 clock_wall_ms() / 1000, room);
    memcpy((uint8_t *)room + KV_HEAD_BYTES, p->payload, d->payload_bytes);
    return tick_put(t, hash, &tick);
}

/* Store <p>, or only make it younger where it is there; gives up what is in
 * its way before. */
static enum err put_one(struct kv_db *d, struct txn *t, const struct kv_put *p,
                        uint64_t at, struct batch *out)
{
    uint64_t have;
    struct tick tick;
    enum err err = tick_get(t, hash_str(&p->key.hash), &tick);

    if (err == ERR_OK) {
        out->wrote.present++;
        return tick_move(t, hash_str(&p->key.hash), &tick, at);
    }
    if (err != ERR_NOT_FOUND)
        return err;
    ERR_TRY(txn_count(t, KV_PAGES, &have));
    if (have >= d->max_pages)
        ERR_TRY(evict(t, have + 1 - d->max_pages, &out->wrote));
    err = store_one(d, t, p, at);
    out->wrote.stored += err == ERR_OK;
    out->stored += err == ERR_OK;
    return err;
}

/* Store pages of <puts> until the time of a transaction is spent, counting what
 * the commit will take. */
static enum err store_batch(struct kv_db *d, struct txn *t,
                            const struct kv_put *puts, unsigned n,
                            struct batch *out)
{
    const uint64_t until_us = clock_now_us() + BATCH_US;
    uint64_t at;
    unsigned i = 0;

    ERR_TRY(tick_next(t, &at));
    do {
        ERR_TRY(put_one(d, t, &puts[i], at + n - 1 - i, out));
        i++;
    } while (i < n && clock_now_us() + out->stored * d->commit_us < until_us);
    out->done = i;
    return ERR_OK;
}

static enum err batch_commit(struct kv_db *d, struct txn *t,
                             const struct batch *b)
{
    const uint64_t from_us = clock_now_us();

    ERR_TRY(txn_commit(t));
    if (b->stored > 0)
        d->commit_us = (clock_now_us() - from_us) / b->stored;
    return ERR_OK;
}

/* One transaction; <out> is added to when it is committed. */
static enum err write_batch(struct kv_db *d, const struct kv_put *puts,
                            unsigned n, struct kv_wrote *out,
                            unsigned *done_out)
{
    struct batch b = {.wrote = *out};
    struct txn t;

    ERR_TRY(txn_begin_write(d->env, &t));
    enum err err = store_batch(d, &t, puts, n, &b);
    if (err == ERR_OK)
        err = batch_commit(d, &t, &b);
    txn_end(&t);
    if (err != ERR_OK)
        return err;
    *out = b.wrote;
    *done_out = b.done;
    return ERR_OK;
}

/* The map is full though the bound holds: readers keep old pages. Give up a
 * share, so that there is room once they are done. */
static void give_up_share(struct kv_db *d, struct kv_wrote *out)
{
    struct kv_wrote done = *out;
    struct txn t;
    uint64_t have;

    if (txn_begin_write(d->env, &t) != ERR_OK)
        return;
    if (txn_count(&t, KV_PAGES, &have) == ERR_OK &&
        evict(&t, have / FULL_SHARE, &done) == ERR_OK &&
        txn_commit(&t) == ERR_OK)
        *out = done;
    txn_end(&t);
}

enum err kv_db_write(struct kv_db *d, const struct kv_put *puts, unsigned n,
                     struct kv_wrote *out)
{
    unsigned done = 0;
    enum err err = ERR_OK;

    *out = (struct kv_wrote){0};
    for (unsigned i = 0; i < n && err == ERR_OK; i += done)
        err = write_batch(d, puts + i, n - i < d->batch ? n - i : d->batch, out,
                          &done);
    if (err == ERR_FULL)
        give_up_share(d, out);
    return err;
}

static enum err touch_all(struct txn *t, const struct digest *chain, unsigned n,
                          unsigned n_hit)
{
    uint64_t at;

    ERR_TRY(tick_next(t, &at));
    for (unsigned i = n; i > 0; i--) {
        const struct str hash = hash_str(&chain[i - 1]);
        struct tick tick;
        enum err err = tick_get(t, hash, &tick);

        if (err == ERR_NOT_FOUND)
            continue;
        tick.hits += i <= n_hit && tick.hits < UINT32_MAX;
        if (err == ERR_OK)
            err = tick_move(t, hash, &tick, at++);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

enum err kv_db_touch(struct kv_db *d, const struct digest *chain, unsigned n,
                     unsigned n_hit)
{
    struct txn t;

    ERR_TRY(txn_begin_write(d->env, &t));
    enum err err = touch_all(&t, chain, n, n_hit);
    if (err == ERR_OK)
        err = txn_commit(&t);
    txn_end(&t);
    return err;
}

static enum err drop_in(struct txn *t, struct str hash)
{
    struct tick tick;

    ERR_TRY(tick_get(t, hash, &tick));
    ERR_TRY(order_del(t, tick.at));
    ERR_TRY(txn_del(t, KV_TICKS, hash));
    return txn_del(t, KV_PAGES, hash);
}

enum err kv_db_drop(struct kv_db *d, const struct digest *hash)
{
    struct txn t;

    ERR_TRY(txn_begin_write(d->env, &t));
    enum err err = drop_in(&t, hash_str(hash));
    if (err == ERR_OK)
        err = txn_commit(&t);
    txn_end(&t);
    return err;
}

enum err kv_db_purge(struct kv_db *d)
{
    struct txn t;
    enum err err = ERR_OK;

    ERR_TRY(txn_begin_write(d->env, &t));
    for (unsigned i = 0; i < KV_TABLE_COUNT && err == ERR_OK; i++)
        err = txn_clear(&t, i);
    if (err == ERR_OK)
        err = txn_commit(&t);
    txn_end(&t);
    return err;
}

enum err kv_db_sync(struct kv_db *d)
{
    env_drop_stale_readers(d->env);
    return env_sync(d->env);
}

/* --- reading ------------------------------------------------------------- */

enum err kv_db_find(struct kv_db *d, const struct digest *chain, unsigned n,
                    unsigned *found_out, unsigned *warm_out)
{
    const size_t len = KV_HEAD_BYTES + d->payload_bytes;
    enum err err = ERR_OK;
    unsigned warm = 0;
    unsigned i = 0;
    struct txn t;
    struct str v;

    ERR_TRY(txn_begin_read(d->env, &t));
    for (; i < n; i++) {
        err = txn_get(&t, KV_PAGES, hash_str(&chain[i]), &v);
        if (err != ERR_OK || v.len != len)
            break;
        warm += txn_is_warm(v, KV_HEAD_BYTES) && txn_is_warm(v, len - 1);
    }
    txn_end(&t);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return err;
    *found_out = i;
    *warm_out = warm;
    return ERR_OK;
}

static enum err read_in(struct kv_db *d, struct txn *t, struct str hash,
                        const struct kv_key *key, void *out,
                        struct kv_about *about)
{
    uint8_t head[KV_HEAD_BYTES];
    struct str v;

    ERR_TRY(txn_get(t, KV_PAGES, hash, &v));
    if (v.len != KV_HEAD_BYTES + d->payload_bytes)
        return ERR_CORRUPT;
    ERR_TRY(txn_copy(t, v, 0, head, sizeof(head)));
    ERR_TRY(kv_page_check(head, &d->ns, d->payload_bytes, key, about));
    return txn_copy(t, v, KV_HEAD_BYTES, out, d->payload_bytes);
}

/* Of any text where <key> is NULL. */
static enum err read_page(struct kv_db *d, struct str hash,
                          const struct kv_key *key, void *out,
                          struct kv_about *about)
{
    struct txn t;

    ERR_TRY(txn_begin_read(d->env, &t));
    const enum err err = read_in(d, &t, hash, key, out, about);
    txn_end(&t);
    if (err != ERR_OK)
        return err;
    return kv_page_sum(out, d->payload_bytes) == about->sum ? ERR_OK
                                                            : ERR_CORRUPT;
}

enum err kv_db_read(struct kv_db *d, const struct kv_key *key, void *out,
                    uint32_t *cost_us_out)
{
    struct kv_about about;

    ERR_TRY(read_page(d, hash_str(&key->hash), key, out, &about));
    *cost_us_out = about.cost_us;
    return ERR_OK;
}

enum err kv_db_stats(struct kv_db *d, struct kv_db_stats *out)
{
    struct kv_db_stats s = {.bytes = kv_db_bytes(d),
                            .max_bytes = d->max_bytes,
                            .max_pages = d->max_pages,
                            .page_bytes = d->page_bytes};
    struct txn t;

    ERR_TRY(txn_begin_read(d->env, &t));
    const enum err err = txn_count(&t, KV_PAGES, &s.pages);
    txn_end(&t);
    if (err == ERR_OK)
        *out = s;
    return err;
}

/* --- proving ------------------------------------------------------------- */

/* The next hashes behind <from> (empty: from the first on). */
static enum err hashes_next(struct kv_db *d, struct str from,
                            struct digest *out, unsigned *n_out)
{
    struct txn t;
    struct cursor c = {0};
    unsigned n = 0;

    ERR_TRY(txn_begin_read(d->env, &t));
    enum err err = cursor_open(&t, KV_PAGES, &c);
    if (err == ERR_OK)
        err = cursor_seek(&c, from);
    if (err == ERR_OK && from.len != 0 && str_eq(c.key, from))
        err = cursor_next(&c);
    for (; err == ERR_OK && n < VERIFY_BATCH; err = cursor_next(&c)) {
        if (c.key.len != sizeof(out->b)) {
            err = ERR_CORRUPT;
            break;
        }
        memcpy(out[n++].b, c.key.p, sizeof(out->b));
    }
    cursor_close(&c);
    txn_end(&t);
    *n_out = n;
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

enum err kv_db_verify(struct kv_db *d, uint64_t *pages_out, struct buf *bad)
{
    struct digest last;
    struct digest *batch = calloc(VERIFY_BATCH, sizeof(*batch));
    void *page = malloc(d->payload_bytes);
    struct str from = STR("");
    struct kv_about about;
    uint64_t pages = 0;
    unsigned n = 1;
    enum err err = batch && page ? ERR_OK : ERR_NOMEM;

    while (err == ERR_OK && n > 0) {
        err = hashes_next(d, from, batch, &n);
        for (unsigned i = 0; err == ERR_OK && i < n; i++) {
            const enum err e =
                read_page(d, hash_str(&batch[i]), NULL, page, &about);

            pages += e != ERR_NOT_FOUND;
            if (e != ERR_OK && e != ERR_NOT_FOUND)
                err = buf_put_str(bad, hash_str(&batch[i]));
        }
        if (n > 0)
            last = batch[n - 1];
        from = hash_str(&last);
    }
    free(batch);
    free(page);
    if (err == ERR_OK)
        *pages_out = pages;
    return err;
}
