/* cache_find.c - Reading entries. Nothing is given that was not proved just
 * before, and a find proves all of an entry, so that damage is a miss and not a
 * reply that breaks off. Reads end with their transaction: bytes are copied
 * out. */
#include <string.h>

#include "store/cache_priv.h"

/* Entries above this are proved as they are given. */
#define PROVE_ALL_BYTES ((uint64_t)16 << 20)

/* So many replies of the same request are looked at. */
#define SIBLINGS_MAX 8

/* Slices that cache_db_prove() reads in one transaction, about. */
#define PROVE_SLICES 512

/* --- keys ---------------------------------------------------------------- */

static void be_put(uint8_t *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> 8 * (bytes - 1 - i));
}

struct str cache_entry_key(uint64_t seq, uint32_t i,
                           uint8_t out[CACHE_ENTRY_KEY])
{
    be_put(out, seq, 8);
    be_put(out + 8, i, 4);
    return str_of(out, CACHE_ENTRY_KEY);
}

uint64_t cache_seq_of(struct str bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < 8 && i < bytes.len; i++)
        v = v << 8 | (uint8_t)bytes.p[i];
    return v;
}

struct str cache_index_key(const struct cache_key *k,
                           uint8_t out[CACHE_INDEX_KEY])
{
    memcpy(out, k->same.b, CACHE_HALF);
    memcpy(out + CACHE_HALF, k->exact.b, CACHE_HALF);
    return str_of(out, CACHE_INDEX_KEY);
}

/* --- slices -------------------------------------------------------------- */

/* Room for a slice that is copied out. */
struct scratch {
    _Alignas(8) uint8_t b[CACHE_SLICE_BYTES];
};

/* The data of the slice <v>, number <i> of entry <id>, proved. One that has a
 * page of its own is copied first: the disk may refuse it. */
static enum err slice_data(const struct txn *t, struct str v, uint64_t id,
                           uint32_t i, struct scratch *s, struct str *out)
{
    if (v.len > CACHE_SLICE_BYTES)
        return ERR_CORRUPT;
    if ((uintptr_t)v.p % CACHE_PAGE_BYTES ==
        CACHE_PAGE_BYTES - CACHE_SLICE_BYTES) {
        ERR_TRY(txn_copy(t, v, 0, s->b, v.len));
        v.p = (const char *)s->b;
    }
    return cache_slice_open(v, id, i, out);
}

enum err cache_first_of(struct txn *t, uint64_t seq, struct cache_first *out)
{
    uint8_t key[CACHE_ENTRY_KEY];
    struct str v;

    ERR_TRY(txn_get(t, CACHE_ENTRIES, cache_entry_key(seq, 0, key), &v));
    ERR_TRY(cache_slice_open(v, 0, 0, &out->data));
    return cache_head_read(out->data, &out->head, &out->head_bytes);
}

bool cache_row_of(struct txn *t, uint64_t seq, uint8_t row[CACHE_INDEX_KEY])
{
    uint8_t key[CACHE_ENTRY_KEY];
    struct cache_head h;
    size_t head_bytes;
    struct str v;

    if (txn_get(t, CACHE_ENTRIES, cache_entry_key(seq, 0, key), &v) != ERR_OK ||
        cache_head_read(str_skip(v, 8), &h, &head_bytes) != ERR_OK)
        return false;
    cache_index_key(&h.key, row);
    return true;
}

/* What of an entry is read. */
struct span {
    uint64_t id;
    uint64_t total; /* bytes, its head with them */
    uint64_t from;  /* what is given: bytes of the same */
    uint64_t to;
    uint64_t proved_to; /* what is proved behind it */
};

/* Give the part of slice <i> that is asked for. */
static enum err give(const struct span *sp, uint32_t i, struct str data,
                     struct buf *out)
{
    const uint64_t at = (uint64_t)i * CACHE_SLICE_ROOM;
    const uint64_t from = sp->from > at ? sp->from - at : 0;
    const uint64_t to = sp->to > at ? sp->to - at : 0;

    if (data.len + 8 != cache_slice_bytes(sp->total, i))
        return ERR_CORRUPT;
    if (from >= data.len || to <= from)
        return ERR_OK;
    return buf_put(out, data.p + from,
                   (size_t)(to < data.len ? to : data.len) - (size_t)from);
}

/* Whether <c> stands at slice <i> of entry <seq>. */
static bool is_at(const struct cursor *c, uint64_t seq, uint32_t i)
{
    uint8_t key[CACHE_ENTRY_KEY];

    return str_eq(c->key, cache_entry_key(seq, i, key));
}

static enum err read_slices(struct txn *t, uint64_t seq, const struct span *sp,
                            struct cursor *c, struct buf *out)
{
    const uint32_t n = cache_slices(sp->proved_to);
    uint32_t i = (uint32_t)(sp->from / CACHE_SLICE_ROOM);
    uint8_t key[CACHE_ENTRY_KEY];
    struct scratch s;
    struct str data;
    enum err err = cursor_seek(c, cache_entry_key(seq, i, key));

    for (; err == ERR_OK && i < n; i++) {
        if (!is_at(c, seq, i))
            return ERR_NOT_FOUND;
        ERR_TRY(slice_data(t, c->value, sp->id, i, &s, &data));
        ERR_TRY(give(sp, i, data, out));
        if (i + 1 < n)
            err = cursor_next(c);
    }
    return err;
}

/* Give and prove what <sp> says; what was appended is taken back on failure. */
static enum err read_span(struct txn *t, uint64_t seq, const struct span *sp,
                          struct buf *out)
{
    const size_t len = out->len;
    struct cursor c;

    ERR_TRY(buf_reserve(out, (size_t)(sp->to - sp->from)));
    ERR_TRY(cursor_open(t, CACHE_ENTRIES, &c));
    const enum err err = read_slices(t, seq, sp, &c, out);
    cursor_close(&c);
    if (err != ERR_OK)
        out->len = len;
    return err;
}

/* --- finding ------------------------------------------------------------- */

/* A find under way. */
struct look {
    struct cache_db *d;
    struct txn t;
    const struct cache_key *key;
    int64_t now_wall_ms;
    struct cache_found *out;
    struct buf *bytes;
    struct cache_bad *bad;
};

static bool digest_is(const struct digest *a, const struct digest *b)
{
    return memcmp(a->b, b->b, DIGEST_BYTES) == 0;
}

static void note_bad(struct cache_bad *bad, struct str row, uint64_t seq,
                     bool is_over)
{
    *bad = (struct cache_bad){.is_any = true, .is_over = is_over, .seq = seq};
    memcpy(bad->row, row.p, CACHE_INDEX_KEY);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Give the first bytes of the entry <seq>, and prove the rest. */
static enum err give_bytes(struct look *l, uint64_t seq,
                           const struct cache_first *f, uint64_t first)
{
    const uint64_t bytes = f->head.bytes;
    const uint64_t total = f->head_bytes + bytes;
    const struct span sp = {.id = f->head.id,
                            .total = total,
                            .from = f->head_bytes,
                            .to = f->head_bytes + first,
                            .proved_to =
                                f->head_bytes +
                                (bytes <= PROVE_ALL_BYTES ? bytes : first)};

    if (cache_slices(total) > 1)
        return read_span(&l->t, seq, &sp, l->bytes);
    return give(&sp, 0, f->data, l->bytes);
}

static enum err give_entry(struct look *l, uint64_t seq,
                           const struct cache_first *f)
{
    const uint64_t first = least(f->head.bytes, CACHE_PIECE_BYTES);

    ERR_TRY(give_bytes(l, seq, f, first));
    *l->out = (struct cache_found){
        .key = f->head.key,
        .is_exact = digest_is(&f->head.key.exact, &l->key->exact),
        .made_wall_ms = f->head.made_wall_ms,
        .until_wall_ms = f->head.until_wall_ms,
        .bytes_total = f->head.bytes,
        .bytes_read = first,
        .id = f->head.id,
        .seq = seq};
    return ERR_OK;
}

/* Try the entry <seq> that <row> of the index names, of which <err> and <f>
 * came. ERR_NOT_FOUND: another request's, or over. */
static enum err try_first(struct look *l, struct str row, uint64_t seq,
                          enum err err, const struct cache_first *f)
{
    if (err == ERR_OK && !digest_is(&f->head.key.same, &l->key->same))
        return ERR_NOT_FOUND;
    if (err == ERR_OK && f->head.until_wall_ms <= l->now_wall_ms) {
        note_bad(l->bad, row, seq, true);
        return ERR_NOT_FOUND;
    }
    if (err == ERR_OK)
        err = give_entry(l, seq, f);
    if (err == ERR_OK || err == ERR_NOMEM)
        return err;
    note_bad(l->bad, row, seq, false);
    return err == ERR_IO ? ERR_IO : ERR_CORRUPT;
}

static enum err try_row(struct look *l, struct str row, uint64_t seq)
{
    struct cache_first f;
    const enum err err = cache_first_of(&l->t, seq, &f);

    return try_first(l, row, seq, err, &f);
}

/* Whether <seq> is the entry of exactly what is looked for; then <f> is its
 * first slice. */
static bool is_it(struct look *l, uint64_t seq, struct cache_first *f)
{
    return seq != 0 && cache_first_of(&l->t, seq, f) == ERR_OK &&
           digest_is(&f->head.key.same, &l->key->same) &&
           digest_is(&f->head.key.exact, &l->key->exact);
}

static enum err find_exact(struct look *l, uint64_t hint)
{
    uint8_t row[CACHE_INDEX_KEY];
    const struct str key = cache_index_key(l->key, row);
    uint64_t seq = hint;
    struct cache_first f;
    struct str value;
    enum err err = ERR_OK;

    if (!is_it(l, seq, &f)) {
        ERR_TRY(txn_get(&l->t, CACHE_INDEX, key, &value));
        seq = cache_seq_of(value);
        err = cache_first_of(&l->t, seq, &f);
    }
    ERR_TRY(try_first(l, key, seq, err, &f));
    if (!l->out->is_exact)
        return ERR_NOT_FOUND;
    cache_hint(l->d, l->key, seq, f.data.p);
    return ERR_OK;
}

static enum err find_sibling(struct look *l)
{
    const struct str same = str_of(l->key->same.b, CACHE_HALF);
    struct cursor c;
    enum err found = ERR_NOT_FOUND;

    ERR_TRY(cursor_open(&l->t, CACHE_INDEX, &c));
    enum err err = cursor_seek(&c, same);
    for (unsigned i = 0; i < SIBLINGS_MAX && err == ERR_OK; i++) {
        if (!str_starts(c.key, same))
            break;
        found = c.key.len == CACHE_INDEX_KEY
                    ? try_row(l, c.key, cache_seq_of(c.value))
                    : ERR_CORRUPT;
        if (found != ERR_NOT_FOUND)
            break;
        err = cursor_next(&c);
    }
    cursor_close(&c);
    return err == ERR_OK || err == ERR_NOT_FOUND ? found : err;
}

enum err cache_db_find(struct cache_db *d, const struct cache_key *key,
                       enum cache_how how, int64_t now_wall_ms,
                       struct cache_found *out, struct buf *bytes_out,
                       struct cache_bad *bad)
{
    struct env *env = atomic_load(&d->env);
    struct cache_found found;
    struct look l = {.d = d,
                     .key = key,
                     .now_wall_ms = now_wall_ms,
                     .out = &found,
                     .bytes = bytes_out,
                     .bad = bad};
    const size_t len = bytes_out->len;

    bad->is_any = false;
    if (!env || !atomic_load_explicit(&d->is_open, memory_order_relaxed))
        return ERR_NOT_FOUND;
    const uint64_t hint = cache_hint_of(d, key);
    ERR_TRY(txn_begin_read(env, &l.t));
    enum err err = find_exact(&l, hint);
    if (err == ERR_NOT_FOUND)
        bytes_out->len = len;
    if (err == ERR_NOT_FOUND && how == CACHE_ANY)
        err = find_sibling(&l);
    txn_end(&l.t);
    if (err != ERR_OK)
        return err;
    cache_mark(d, found.seq);
    *out = found;
    return ERR_OK;
}

/* --- reading on ---------------------------------------------------------- */

/* Where the entry of <f> is now: it may have moved. */
static enum err find_again(struct txn *t, struct cache_found *f,
                           struct cache_first *out)
{
    uint8_t row[CACHE_INDEX_KEY];
    struct str value;

    if (cache_first_of(t, f->seq, out) == ERR_OK && out->head.id == f->id)
        return ERR_OK;
    ERR_TRY(txn_get(t, CACHE_INDEX, cache_index_key(&f->key, row), &value));
    f->seq = cache_seq_of(value);
    ERR_TRY(cache_first_of(t, f->seq, out));
    return out->head.id == f->id ? ERR_OK : ERR_NOT_FOUND;
}

static enum err read_on_in(struct txn *t, struct cache_found *f,
                           struct buf *bytes_out)
{
    struct cache_first first;

    ERR_TRY(find_again(t, f, &first));
    if (first.head.bytes != f->bytes_total)
        return ERR_CORRUPT;
    const uint64_t to =
        least(f->bytes_total, f->bytes_read + CACHE_PIECE_BYTES);
    const struct span sp = {.id = f->id,
                            .total = first.head_bytes + f->bytes_total,
                            .from = first.head_bytes + f->bytes_read,
                            .to = first.head_bytes + to,
                            .proved_to = first.head_bytes + to};

    ERR_TRY(read_span(t, f->seq, &sp, bytes_out));
    f->bytes_read = to;
    return ERR_OK;
}

enum err cache_db_read_on(struct cache_db *d, struct cache_found *found,
                          struct buf *bytes_out, struct cache_bad *bad)
{
    struct env *env = atomic_load(&d->env);
    uint8_t row[CACHE_INDEX_KEY];
    struct txn t;

    bad->is_any = false;
    if (!env || !atomic_load_explicit(&d->is_open, memory_order_relaxed))
        return ERR_NOT_FOUND;
    ERR_TRY(txn_begin_read(env, &t));
    const enum err err = read_on_in(&t, found, bytes_out);
    txn_end(&t);
    if (err == ERR_CORRUPT || err == ERR_IO)
        note_bad(bad, cache_index_key(&found->key, row), found->seq, false);
    return err;
}

/* --- proving ------------------------------------------------------------- */

/* Prove entry <seq>; <slices> counts what was read. */
static enum err prove_entry(struct txn *t, uint64_t seq, uint32_t *slices,
                            struct cache_bad *bad)
{
    uint8_t row[CACHE_INDEX_KEY];
    struct cache_first f;
    struct buf none;

    enum err err = cache_first_of(t, seq, &f);
    if (err == ERR_OK) {
        const uint64_t total = f.head_bytes + f.head.bytes;
        const struct span sp = {
            .id = f.head.id, .total = total, .proved_to = total};

        buf_init(&none, 0);
        *slices += cache_slices(total);
        err = read_span(t, seq, &sp, &none);
        buf_fini(&none);
    }
    *slices += 1;
    if (err == ERR_OK)
        return ERR_OK;
    if (!cache_row_of(t, seq, row))
        memset(row, 0, sizeof(row)); /* nobody's */
    note_bad(bad, str_of(row, sizeof(row)), seq, false);
    return err;
}

static enum err prove_in(struct txn *t, struct cache_proof *p, struct cursor *c)
{
    const unsigned room = sizeof(p->bad) / sizeof(p->bad[0]);
    uint8_t key[CACHE_ENTRY_KEY];
    uint32_t slices = 0;

    while (slices < PROVE_SLICES && p->n_bad < room) {
        ERR_TRY(cursor_seek(c, cache_entry_key(p->seq, 0, key)));
        if (c->key.len != CACHE_ENTRY_KEY)
            return ERR_CORRUPT;
        const uint64_t seq = cache_seq_of(c->key);
        p->n_bad += prove_entry(t, seq, &slices, &p->bad[p->n_bad]) != ERR_OK;
        p->entries++;
        p->seq = seq + 1;
    }
    return ERR_OK;
}

enum err cache_db_prove(struct cache_db *d, struct cache_proof *p)
{
    struct env *env = atomic_load(&d->env);
    struct cursor c;
    struct txn t;

    p->n_bad = 0;
    if (!env || !atomic_load(&d->is_open))
        return ERR_CLOSED;
    ERR_TRY(txn_begin_read(env, &t));
    enum err err = cursor_open(&t, CACHE_ENTRIES, &c);
    if (err == ERR_OK) {
        err = prove_in(&t, p, &c);
        cursor_close(&c);
    }
    txn_end(&t);
    return err;
}
