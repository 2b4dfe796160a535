/* kv_write.c - What is done in a namespace's write transactions: storing,
 * ageing, giving up and dropping pages. Giving up comes before storing and in
 * the same transaction, so that the bound holds at every moment, also when the
 * process dies. What stands in the way of a transaction, a file that refuses
 * everything or has no room, is dealt with here. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/kv_db_priv.h"
#include "store/kv_room.h"

/* Shares of the pages that are given up at once when there is no room. */
#define FULL_SHARE 10

/* In at most so many steps. */
#define FULL_STEPS 12

/* Another try has that often only waited for another reader. */
#define HELD_TRIES 3

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
    if (v.len != KV_TICK_BYTES)
        return ERR_CORRUPT;
    *out = (struct tick){.at = be_get(v.p, 8),
                         .hits = (uint32_t)be_get(v.p + 8, 4)};
    return ERR_OK;
}

static enum err tick_put(struct txn *t, struct str hash,
                         const struct tick *tick)
{
    uint8_t row[KV_TICK_BYTES];

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
    const enum err err = order_del(t, tick->at);

    if (err != ERR_OK)
        return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
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
    ERR_TRY(tick_get(t, kv_hash_str(&hash), &tick));
    ERR_TRY(cursor_del(c));
    ERR_TRY(txn_del(t, KV_TICKS, kv_hash_str(&hash)));
    ERR_TRY(txn_del_large(t, KV_PAGES, kv_hash_str(&hash)));
    out->evicted++;
    out->unused += tick.hits == 0;
    return ERR_OK;
}

static enum err evict(struct txn *t, uint64_t n, struct kv_wrote *out)
{
    struct cursor c;
    enum err err = ERR_OK;

    ERR_TRY(cursor_open(t, KV_ORDER, &c));
    for (; err == ERR_OK && n > 0; n--)
        err = evict_one(t, &c, out);
    cursor_close(&c);
    return err == ERR_NOT_FOUND ? ERR_CORRUPT : err; /* a row is missing */
}

/* --- storing ------------------------------------------------------------- */

static enum err store_one(struct kv_db *d, struct txn *t,
                          const struct kv_put *p, uint64_t at)
{
    const struct str hash = kv_hash_str(&p->key.hash);
    const struct tick tick = {.at = at};
    void *room;
    enum err err;

    err =
        txn_reserve(t, KV_PAGES, hash, KV_HEAD_BYTES + d->payload_bytes, &room);
    if (err != ERR_OK)
        return err == ERR_EXISTS ? ERR_CORRUPT : err; /* its tick is gone */
    kv_page_head(&p->key, &d->ns, d->payload_bytes,
                 kv_page_sum(p->payload, d->payload_bytes),
                 clock_wall_ms() / 1000, room);
    memcpy((uint8_t *)room + KV_HEAD_BYTES, p->payload, d->payload_bytes);
    return tick_put(t, hash, &tick);
}

/* A page that has a tick must be found: else its key is damaged, and it would
 * count as stored for ever. */
static enum err page_prove(struct txn *t, struct str hash)
{
    struct str v;
    const enum err err = txn_get(t, KV_PAGES, hash, &v);

    return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
}

/* Store <p>, or only make it younger where it is there; gives up what is in
 * its way before. */
static enum err put_one(struct kv_db *d, struct txn *t, const struct kv_put *p,
                        uint64_t at, struct batch *out)
{
    uint64_t have;
    struct tick tick;
    enum err err = tick_get(t, kv_hash_str(&p->key.hash), &tick);

    if (err == ERR_OK) {
        ERR_TRY(page_prove(t, kv_hash_str(&p->key.hash)));
        out->wrote.present++;
        return tick_move(t, kv_hash_str(&p->key.hash), &tick, at);
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

/* --- what stands in the way ---------------------------------------------- */

/* Give up <n> pages in a transaction of their own. */
static enum err give_up(struct kv_db *d, uint64_t n, struct kv_wrote *out)
{
    struct kv_wrote done = *out;
    struct txn t;

    ERR_TRY(txn_begin_write(d->env, &t));
    enum err err = evict(&t, n, &done);
    if (err == ERR_OK)
        err = txn_commit(&t);
    txn_end(&t);
    if (err == ERR_OK)
        *out = done;
    return err;
}

/* There is no room, though the bound holds: the disk is full, or what is free
 * is in pieces. Give up a share. To give up many at once takes room, too, which
 * those given up before will have made two transactions later: hence small
 * steps first where large ones fail. */
static void give_up_share(struct kv_db *d, struct kv_wrote *out)
{
    const uint64_t have = kv_count(d);
    const uint64_t from = out->evicted;
    uint64_t step = have / FULL_SHARE / 2 + 1;

    for (unsigned i = 0; i < FULL_STEPS; i++) {
        const uint64_t given = out->evicted - from;

        if (given > have / FULL_SHARE && i > 1)
            return;
        if (give_up(d, step, out) == ERR_OK)
            step = step * 2 < have / FULL_SHARE ? step * 2 : step;
        else
            step = step > 4 ? step / 4 : 1;
    }
}

/* After a failure: whether the file was opened again, so that it is worth
 * another try. */
static bool is_mended(struct kv_db *d, enum err err)
{
    struct buf why;

    if (err == ERR_CORRUPT)
        env_condemn(d->env);
    if (err != ERR_CORRUPT && err != ERR_IO)
        return false;
    if (env_probe(d->env) == ENV_FINE)
        return false;
    buf_init(&why, 1024);
    const bool ok = kv_db_reopen(d, &why) == ERR_OK;
    buf_fini(&why);
    return ok;
}

/* What a transaction that is no write does, and with what. */
struct job {
    enum err (*fn)(struct txn *t, const struct job *j);
    const struct digest *chain;
    unsigned n;
    unsigned n_hit;
};

static enum err run_once(struct kv_db *d, const struct job *j)
{
    struct txn t;

    ERR_TRY(txn_begin_write(d->env, &t));
    enum err err = j->fn(&t, j);
    if (err == ERR_OK)
        err = txn_commit(&t);
    txn_end(&t);
    return err;
}

static enum err run(struct kv_db *d, const struct job *j)
{
    enum err err = run_once(d, j);

    for (unsigned i = 0; err == ERR_FULL && i < HELD_TRIES; i++) {
        const bool held = env_wait_held(d->env);

        err = run_once(d, j);
        if (!held)
            break;
    }
    return is_mended(d, err) ? run_once(d, j) : err;
}

/* --- writing ------------------------------------------------------------- */

/* One transaction, waiting a little for readers that hold what it needs. */
static enum err write_patient(struct kv_db *d, const struct kv_put *puts,
                              unsigned n, struct kv_wrote *out,
                              unsigned *done_out)
{
    enum err err = write_batch(d, puts, n, out, done_out);

    for (unsigned i = 0; err == ERR_FULL && i < HELD_TRIES; i++) {
        const bool held = env_wait_held(d->env);

        err = write_batch(d, puts, n, out, done_out);
        if (!held)
            break;
    }
    return err;
}

/* One transaction, with what stands in its way removed. */
static enum err write_some(struct kv_db *d, const struct kv_put *puts,
                           unsigned n, struct kv_wrote *out, unsigned *done_out)
{
    int root_fd = -1;
    enum err err = kv_room_take(d, n, &root_fd);

    if (err != ERR_OK) {
        kv_room_leave(root_fd);
        return err;
    }
    err = write_patient(d, puts, n < d->batch ? n : d->batch, out, done_out);
    kv_room_leave(root_fd);
    const bool disk = err == ERR_IO && kv_room_is_disk_full(d);
    if (disk || (err == ERR_FULL && !env_is_held(d->env)))
        give_up_share(d, out);
    return disk ? env_fail(d->env, ENOSPC) : err;
}

enum err kv_db_write(struct kv_db *d, const struct kv_put *puts, unsigned n,
                     struct kv_wrote *out)
{
    bool again = false;
    unsigned done = 0;
    enum err err = ERR_OK;

    *out = (struct kv_wrote){0};
    for (unsigned i = 0; i < n && err == ERR_OK; i += done) {
        done = 0;
        err = write_some(d, puts + i, n - i, out, &done);
        if (err != ERR_OK && !again && is_mended(d, err)) {
            again = true;
            err = ERR_OK;
        }
    }
    return err;
}

static enum err touch_one(struct txn *t, const struct job *j, unsigned i,
                          uint64_t *at)
{
    const struct str hash = kv_hash_str(&j->chain[i]);
    struct tick tick;
    const enum err err = tick_get(t, hash, &tick);

    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    ERR_TRY(err);
    tick.hits += i < j->n_hit && tick.hits < UINT32_MAX;
    return tick_move(t, hash, &tick, (*at)++);
}

static enum err touch_in(struct txn *t, const struct job *j)
{
    uint64_t at;

    ERR_TRY(tick_next(t, &at));
    for (unsigned i = j->n; i > 0; i--)
        ERR_TRY(touch_one(t, j, i - 1, &at));
    return ERR_OK;
}

enum err kv_db_touch(struct kv_db *d, const struct digest *chain, unsigned n,
                     unsigned n_hit)
{
    const struct job job = {
        .fn = touch_in, .chain = chain, .n = n, .n_hit = n_hit};

    return run(d, &job);
}

static enum err drop_in(struct txn *t, const struct job *j)
{
    const struct str hash = kv_hash_str(j->chain);
    struct tick tick;

    ERR_TRY(tick_get(t, hash, &tick));
    ERR_TRY(order_del(t, tick.at));
    ERR_TRY(txn_del(t, KV_TICKS, hash));
    return txn_del_large(t, KV_PAGES, hash);
}

enum err kv_db_drop(struct kv_db *d, const struct digest *hash)
{
    const struct job job = {.fn = drop_in, .chain = hash, .n = 1};

    return run(d, &job);
}

static enum err purge_in(struct txn *t, const struct job *j)
{
    (void)j;
    for (unsigned i = 0; i < KV_TABLE_COUNT; i++)
        ERR_TRY(txn_clear(t, i));
    return ERR_OK;
}

enum err kv_db_purge(struct kv_db *d)
{
    const struct job job = {.fn = purge_in};

    return run(d, &job);
}

enum err kv_db_sync(struct kv_db *d)
{
    struct txn t;

    /* This also takes over a larger map of another process. */
    const enum err err = txn_begin_write(d->env, &t);
    if (err == ERR_OK)
        txn_end(&t);
    else if (!is_mended(d, err))
        return err;
    const unsigned dead = env_drop_stale_readers(d->env);
    if (dead > 0)
        log_note(
            LOG_STORE,
            "prefix store let go what dead readers held: dir=%s readers=%u",
            d->dir, dead);
    kv_room_look(d);
    return env_sync(d->env);
}
