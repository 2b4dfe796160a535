/* kv_txn.c - What is done in a namespace's read transactions: finding, reading,
 * counting and proving pages. They are short, for as long as one lasts nothing
 * that it may see is used again. */
#include <stdlib.h>
#include <string.h>

#include "store/kv_db_priv.h"

/* Hashes that verify reads in one transaction. */
#define VERIFY_BATCH 256

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
        err = txn_get(&t, KV_PAGES, kv_hash_str(&chain[i]), &v);
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

    ERR_TRY(read_page(d, kv_hash_str(&key->hash), key, out, &about));
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
    enum err err = txn_count(&t, KV_PAGES, &s.pages);
    if (err == ERR_OK)
        err = txn_count_free(&t, &s.free_lists, &s.free_bytes);
    s.free_bytes *= 4096;
    txn_end(&t);
    if (err == ERR_OK)
        *out = s;
    return err;
}

uint64_t kv_count(struct kv_db *d)
{
    struct txn t;
    uint64_t n = 0;

    if (txn_begin_read(d->env, &t) != ERR_OK)
        return 0;
    if (txn_count(&t, KV_PAGES, &n) != ERR_OK)
        n = 0;
    txn_end(&t);
    return n;
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
                read_page(d, kv_hash_str(&batch[i]), NULL, page, &about);

            pages += e != ERR_NOT_FOUND;
            if (e != ERR_OK && e != ERR_NOT_FOUND)
                err = buf_put_str(bad, kv_hash_str(&batch[i]));
        }
        if (n > 0)
            last = batch[n - 1];
        from = kv_hash_str(&last);
    }
    free(batch);
    free(page);
    if (err == ERR_OK)
        *pages_out = pages;
    return err;
}
