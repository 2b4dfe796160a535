/* tally.c - Sums of usage rows. Decides what a counter is kept for and what
 * counts as an error; sums saturate, they never wrap. */
#include "store/tally.h"

#include <stdlib.h>

#include <xxhash.h>

#include "store/rec.h"

/* Model names in a counter's key are cut here: LMDB keys end at 511 bytes. */
#define KEY_MODEL_MAX 96

_Static_assert(TALLY_KEY_MAX <= 511, "LMDB keys end at 511 bytes");

uint32_t tally_day(int64_t wall_ms)
{
    const int64_t day = wall_ms < 0 ? 0 : wall_ms / TALLY_DAY_MS;

    return day > UINT32_MAX ? UINT32_MAX : (uint32_t)day;
}

static bool is_unserved(const struct usage_row *row)
{
    return (row->status == 400 || row->status == 404) &&
           row_input_tokens(row->tok) + row_output_tokens(row->tok) == 0;
}

struct tally_key tally_key_of(const struct usage_row *row)
{
    const struct tally_key k = {
        .day = tally_day(row->time_wall_ms),
        .key_id = row->key_id,
        .team = row->team,
        .model = is_unserved(row) ? (struct str){"", 0} : row->model,
        .target = row->target,
        .target_model =
            is_unserved(row) ? (struct str){"", 0} : row->target_model,
    };

    return k;
}

static size_t put_name(uint8_t *p, struct str s, size_t max)
{
    const size_t len = s.len < max ? s.len : max;

    p[0] = (uint8_t)len;
    if (len > 0)
        memcpy(p + 1, s.p, len);
    return len + 1;
}

size_t tally_key_encode(const struct tally_key *k, void *out)
{
    uint8_t *p = out;
    size_t at = 4;

    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(k->day >> (24 - 8 * i));
    at += put_name(p + at, k->key_id, ROW_NAME_MAX);
    at += put_name(p + at, k->team, ROW_NAME_MAX);
    at += put_name(p + at, k->model, KEY_MODEL_MAX);
    at += put_name(p + at, k->target, ROW_TARGET_MAX);
    at += put_name(p + at, k->target_model, KEY_MODEL_MAX);
    return at;
}

static struct str get_name(struct rec_in *in)
{
    const size_t len = (size_t)rec_get_int(in, 1);

    return rec_get_raw(in, len);
}

enum err tally_key_decode(struct str bytes, struct tally_key *key_out)
{
    struct rec_in in = {.p = (const uint8_t *)bytes.p, .left = bytes.len};
    struct tally_key k = {0};

    for (unsigned i = 0; i < 4; i++)
        k.day = k.day << 8 | (uint32_t)rec_get_int(&in, 1);
    k.key_id = get_name(&in);
    k.team = get_name(&in);
    k.model = get_name(&in);
    k.target = get_name(&in);
    k.target_model = get_name(&in);
    if (in.bad || in.left != 0 || k.key_id.len > ROW_NAME_MAX ||
        k.team.len > ROW_NAME_MAX || k.model.len > KEY_MODEL_MAX ||
        k.target.len > ROW_TARGET_MAX || k.target_model.len > KEY_MODEL_MAX)
        return ERR_CORRUPT;
    *key_out = k;
    return ERR_OK;
}

size_t tally_encode(const struct tally *t, void *out)
{
    struct rec_out o = {.p = out, .room = TALLY_BYTES_MAX};

    rec_put_int(&o, t->requests, 8);
    rec_put_int(&o, t->errors, 8);
    rec_put_int(&o, t->estimated, 8);
    rec_put_int(&o, (uint64_t)t->cost_nusd, 8);
    rec_put_int(&o, t->ms_total, 8);
    rec_put_int(&o, t->bytes_in, 8);
    rec_put_int(&o, t->bytes_out, 8);
    rec_put_int(&o, ROW_TOK_COUNT, 1);
    for (unsigned i = 0; i < ROW_TOK_COUNT; i++)
        rec_put_int(&o, t->tok[i], 8);
    rec_put_int(&o, t->unpriced, 8);
    rec_put_int(&o, t->stale_price, 8);
    rec_put_int(&o, t->legs, 8);
    rec_put_int(&o, t->misses, 8);
    rec_put_int(&o, t->hits, 8);
    rec_put_int(&o, t->joined, 8);
    rec_put_int(&o, t->saved_input_tok, 8);
    rec_put_int(&o, t->saved_output_tok, 8);
    rec_put_int(&o, (uint64_t)t->saved_nusd, 8);
    return o.len;
}

enum err tally_decode(struct str bytes, struct tally *tally_out)
{
    struct rec_in in = {.p = (const uint8_t *)bytes.p, .left = bytes.len};
    struct tally t = {.requests = rec_get_int(&in, 8)};

    t.errors = rec_get_int(&in, 8);
    t.estimated = rec_get_int(&in, 8);
    t.cost_nusd = (int64_t)rec_get_int(&in, 8);
    t.ms_total = rec_get_int(&in, 8);
    t.bytes_in = rec_get_int(&in, 8);
    t.bytes_out = rec_get_int(&in, 8);
    const unsigned n = (unsigned)rec_get_int(&in, 1);
    for (unsigned i = 0; i < n; i++) {
        const uint64_t v = rec_get_int(&in, 8);

        if (i < ROW_TOK_COUNT)
            t.tok[i] = v;
    }
    if (in.left > 0) { /* else of a version that knew no prices */
        t.unpriced = rec_get_int(&in, 8);
        t.stale_price = rec_get_int(&in, 8);
    }
    if (in.left > 0) /* nor did the next know legs */
        t.legs = rec_get_int(&in, 8);
    if (in.left > 0) { /* and the third no stored replies */
        t.misses = rec_get_int(&in, 8);
        t.hits = rec_get_int(&in, 8);
        t.joined = rec_get_int(&in, 8);
        t.saved_input_tok = rec_get_int(&in, 8);
        t.saved_output_tok = rec_get_int(&in, 8);
        t.saved_nusd = (int64_t)rec_get_int(&in, 8);
    }
    if (in.bad)
        return ERR_CORRUPT;
    *tally_out = t;
    return ERR_OK;
}

static void add_u64(uint64_t *to, uint64_t v)
{
    if (__builtin_add_overflow(*to, v, to))
        *to = UINT64_MAX;
}

static void add_i64(int64_t *to, int64_t v)
{
    if (__builtin_add_overflow(*to, v, to))
        *to = v < 0 ? INT64_MIN : INT64_MAX;
}

void tally_add(struct tally *t, const struct tally *more)
{
    add_u64(&t->requests, more->requests);
    add_u64(&t->errors, more->errors);
    add_u64(&t->estimated, more->estimated);
    for (unsigned i = 0; i < ROW_TOK_COUNT; i++)
        add_u64(&t->tok[i], more->tok[i]);
    add_i64(&t->cost_nusd, more->cost_nusd);
    add_u64(&t->ms_total, more->ms_total);
    add_u64(&t->bytes_in, more->bytes_in);
    add_u64(&t->bytes_out, more->bytes_out);
    add_u64(&t->unpriced, more->unpriced);
    add_u64(&t->stale_price, more->stale_price);
    add_u64(&t->legs, more->legs);
    add_u64(&t->misses, more->misses);
    add_u64(&t->hits, more->hits);
    add_u64(&t->joined, more->joined);
    add_u64(&t->saved_input_tok, more->saved_input_tok);
    add_u64(&t->saved_output_tok, more->saved_output_tok);
    add_i64(&t->saved_nusd, more->saved_nusd);
}

void tally_add_row(struct tally *t, const struct usage_row *row)
{
    const bool is_leg = (row->flags & ROW_LEG) != 0;
    const bool is_bad =
        row->status >= 400 || (row->flags & ROW_INCOMPLETE) != 0;
    struct tally one = {
        .requests = !is_leg,
        .errors = !is_leg && is_bad,
        .legs = is_leg,
        .estimated = (row->flags & ROW_ESTIMATED) != 0,
        .cost_nusd = row->cost_nusd,
        .ms_total = is_leg ? 0 : row->ms_total,
        .bytes_in = is_leg ? 0 : row->bytes_in,
        .bytes_out = row->bytes_out,
        .unpriced = (row->flags & ROW_UNPRICED) != 0,
        .stale_price = (row->flags & ROW_STALE_PRICE) != 0,
        .misses = !is_leg && row->cache == ROW_CACHE_MISS,
        .hits = !is_leg && row->cache == ROW_CACHE_HIT,
        .joined = !is_leg && row->cache == ROW_CACHE_JOINED,
        .saved_input_tok = row->saved_input_tok,
        .saved_output_tok = row->saved_output_tok,
        .saved_nusd = row->saved_nusd,
    };

    memcpy(one.tok, row->tok, sizeof(one.tok));
    tally_add(t, &one);
}

bool tally_is_same(const struct tally *a, const struct tally *b)
{
    return a->requests == b->requests && a->errors == b->errors &&
           a->estimated == b->estimated &&
           memcmp(a->tok, b->tok, sizeof(a->tok)) == 0 &&
           a->cost_nusd == b->cost_nusd && a->ms_total == b->ms_total &&
           a->bytes_in == b->bytes_in && a->bytes_out == b->bytes_out &&
           a->unpriced == b->unpriced && a->stale_price == b->stale_price &&
           a->legs == b->legs && a->misses == b->misses && a->hits == b->hits &&
           a->joined == b->joined && a->saved_input_tok == b->saved_input_tok &&
           a->saved_output_tok == b->saved_output_tok &&
           a->saved_nusd == b->saved_nusd;
}

void tally_map_fini(struct tally_map *m)
{
    struct tally_item *it = tally_map_next(m, NULL);

    while (it) {
        struct tally_item *next = tally_map_next(m, it);

        free(it);
        it = next;
    }
    free(m->buckets);
    *m = (struct tally_map){0};
}

static size_t bucket_of(struct str name, size_t n_buckets)
{
    return (size_t)XXH64(name.p, name.len, 0) & (n_buckets - 1);
}

static bool map_grow(struct tally_map *m)
{
    const size_t n = m->n_buckets ? m->n_buckets * 2 : 64;
    struct tally_item **to = calloc(n, sizeof(struct tally_item *));

    if (!to)
        return false;
    for (size_t i = 0; i < m->n_buckets; i++) {
        while (m->buckets[i]) {
            struct tally_item *it = m->buckets[i];
            const size_t b = bucket_of(str_of(it->name, it->name_len), n);

            m->buckets[i] = it->next;
            it->next = to[b];
            to[b] = it;
        }
    }
    free(m->buckets);
    m->buckets = to;
    m->n_buckets = n;
    return true;
}

struct tally *tally_map_at(struct tally_map *m, struct str name)
{
    if (m->n >= m->n_buckets && !map_grow(m))
        return NULL;
    struct tally_item **head = &m->buckets[bucket_of(name, m->n_buckets)];
    for (struct tally_item *it = *head; it; it = it->next) {
        if (str_eq(str_of(it->name, it->name_len), name))
            return &it->sum;
    }
    struct tally_item *it = calloc(1, sizeof(*it) + name.len + 1);
    if (!it)
        return NULL;
    it->name_len = name.len;
    if (name.len > 0)
        memcpy(it->name, name.p, name.len);
    it->next = *head;
    *head = it;
    m->n++;
    return &it->sum;
}

struct tally_item *tally_map_next(const struct tally_map *m,
                                  const struct tally_item *prev)
{
    size_t b = 0;

    if (prev) {
        if (prev->next)
            return prev->next;
        b = 1 + bucket_of(str_of(prev->name, prev->name_len), m->n_buckets);
    }
    for (; b < m->n_buckets; b++) {
        if (m->buckets[b])
            return m->buckets[b];
    }
    return NULL;
}
