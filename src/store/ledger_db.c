/* ledger_db.c - The tables of the ledger. Decides keys, what belongs into one
 * transaction with a row, and how long a read may hold a snapshot. */
#include "store/ledger_db.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/panic.h"

/* Records looked at in one read transaction. */
#define READ_STEP 1000

/* Bytes of rows copied out at once. */
#define READ_BYTES (512u << 10)

/* Name in LDB_META: first day of which all rows are there. */
#define META_WHOLE_FROM STR("whole_from_day")

/* Name in LDB_META: written to see whether writing works. */
#define META_TOUCHED STR("touched")

struct ledger_db {
    struct env *env;
};

static const char *const table_names[LDB_TABLE_COUNT] = {
    [LDB_META] = "meta",     [LDB_KEYS] = "keys",   [LDB_TEAMS] = "teams",
    [LDB_ROWS] = "rows",     [LDB_IDS] = "ids",     [LDB_COUNTERS] = "counters",
    [LDB_FOLDS] = "folds",   [LDB_HOLDS] = "holds", [LDB_SPENDS] = "spends",
    [LDB_LEASES] = "leases",
};

static const enum rec_type table_types[LDB_TABLE_COUNT] = {
    [LDB_META] = REC_META,    [LDB_KEYS] = REC_KEY,
    [LDB_TEAMS] = REC_TEAM,   [LDB_ROWS] = REC_ROW,
    [LDB_IDS] = REC_ROW_AT,   [LDB_COUNTERS] = REC_COUNTER,
    [LDB_FOLDS] = REC_FOLD,   [LDB_HOLDS] = REC_HOLD,
    [LDB_SPENDS] = REC_SPEND, [LDB_LEASES] = REC_LEASE,
};

const char *ldb_table_name(unsigned table)
{
    return table < LDB_TABLE_COUNT ? table_names[table] : "unknown";
}

enum err ldb_check(unsigned table, struct str key, struct str value,
                   struct buf *why)
{
    struct str payload;

    if (rec_open(value, table_types[table], rec_seed(table, key), &payload) ==
        ERR_OK)
        return ERR_OK;
    env_say(why, "a record fails its checksum");
    return ERR_CORRUPT;
}

/* The walk at start proves that no page can kill us. Seals of rows and ids,
 * millions of them, are left to whoever reads them and to `ledger verify`:
 * checking them here would take most of the time that a start takes. */
static enum err check_at_start(unsigned table, struct str key, struct str value,
                               struct buf *why)
{
    if (table == LDB_ROWS || table == LDB_IDS)
        return ERR_OK;
    return ldb_check(table, key, value, why);
}

struct env_opts ldb_env_opts(const struct ldb_opts *opts)
{
    return (struct env_opts){
        .dir = opts->dir,
        .what = "ledger",
        .tables = table_names,
        .n_tables = LDB_TABLE_COUNT,
        .map_bytes = opts->map_bytes,
        .map_bytes_max = opts->map_bytes_max,
        .check = check_at_start,
    };
}

enum err ldb_open(const struct ldb_opts *opts, struct ledger_db **db_out,
                  struct buf *why)
{
    const struct env_opts env_opts = ldb_env_opts(opts);
    struct ledger_db *db = calloc(1, sizeof(*db));

    if (!db)
        return ERR_NOMEM;
    const enum err err = env_open(&env_opts, &db->env, why);
    if (err != ERR_OK) {
        free(db);
        return err;
    }
    *db_out = db;
    return ERR_OK;
}

void ldb_close(struct ledger_db *db)
{
    if (!db)
        return;
    env_close(db->env);
    free(db);
}

struct env *ldb_env(const struct ledger_db *db)
{
    return db->env;
}

static enum err open_value(enum ldb_table table, struct str key,
                           struct str value, struct str *payload_out)
{
    return rec_open(value, table_types[table], rec_seed(table, key),
                    payload_out);
}

enum err ldb_put(struct txn *t, enum ldb_table table, struct str key,
                 struct str payload)
{
    char frame[REC_HEAD_BYTES + REC_PAYLOAD_MAX];

    if (payload.len > REC_PAYLOAD_MAX)
        return ERR_RANGE;
    if (payload.len > 0)
        memcpy(frame + REC_HEAD_BYTES, payload.p, payload.len);
    rec_seal(frame, table_types[table], payload.len, rec_seed(table, key));
    return txn_put(t, table, key, str_of(frame, REC_HEAD_BYTES + payload.len));
}

enum err ldb_get(struct txn *t, enum ldb_table table, struct str key,
                 struct str *payload_out)
{
    struct str value;
    const enum err err = txn_get(t, table, key, &value);

    if (err != ERR_OK)
        return err;
    return open_value(table, key, value, payload_out);
}

enum err ldb_del(struct txn *t, enum ldb_table table, struct str key)
{
    return txn_del(t, table, key);
}

static void row_key(int64_t wall_ms, struct str id, char out[LDB_ROW_KEY_LEN])
{
    const uint64_t ms = wall_ms < 0 ? 0 : (uint64_t)wall_ms;

    for (unsigned i = 0; i < 8; i++)
        out[i] = (char)(uint8_t)(ms >> (56 - 8 * i));
    memset(out + 8, 0, ROW_ID_LEN);
    if (id.len > 0)
        memcpy(out + 8, id.p, id.len < ROW_ID_LEN ? id.len : ROW_ID_LEN);
}

static int64_t row_key_time(struct str key)
{
    uint64_t ms = 0;

    for (unsigned i = 0; i < 8; i++)
        ms = ms << 8 | (uint8_t)key.p[i];
    return (int64_t)ms;
}

enum err ldb_row_add(struct txn *t, struct str payload,
                     const struct usage_row *row, struct tally_map *sums)
{
    const struct tally_key tk = tally_key_of(row);
    char name[TALLY_KEY_MAX];
    char key[LDB_ROW_KEY_LEN];
    uint8_t at[REC_HEAD_BYTES + 8];
    struct rec_out o = {.p = at + REC_HEAD_BYTES, .room = 8};

    rec_put_int(&o, (uint64_t)row->time_wall_ms, 8);
    rec_seal(at, REC_ROW_AT, 8, rec_seed(LDB_IDS, row->id));
    enum err err = txn_add(t, LDB_IDS, row->id, str_of(at, sizeof(at)));
    if (err != ERR_OK)
        return err;
    row_key(row->time_wall_ms, row->id, key);
    err = ldb_put(t, LDB_ROWS, str_of(key, sizeof(key)), payload);
    if (err != ERR_OK)
        return err;
    struct tally *sum =
        tally_map_at(sums, str_of(name, tally_key_encode(&tk, name)));
    if (!sum)
        return ERR_NOMEM;
    tally_add_row(sum, row);
    return ERR_OK;
}

static enum err counter_add(struct txn *t, struct str name,
                            const struct tally *more)
{
    uint8_t bytes[TALLY_BYTES_MAX];
    struct tally sum = {0};
    struct str payload;
    enum err err = ldb_get(t, LDB_COUNTERS, name, &payload);

    if (err == ERR_OK)
        err = tally_decode(payload, &sum);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return err;
    tally_add(&sum, more);
    return ldb_put(t, LDB_COUNTERS, name,
                   str_of(bytes, tally_encode(&sum, bytes)));
}

enum err ldb_counters_add(struct txn *t, const struct tally_map *sums)
{
    enum err err = ERR_OK;

    for (const struct tally_item *it = tally_map_next(sums, NULL);
         err == ERR_OK && it; it = tally_map_next(sums, it))
        err = counter_add(t, str_of(it->name, it->name_len), &it->sum);
    return err;
}

enum err ldb_whole_from_day(struct txn *t, uint32_t *day_out)
{
    struct str payload;
    const enum err err = ldb_get(t, LDB_META, META_WHOLE_FROM, &payload);

    if (err == ERR_NOT_FOUND) {
        *day_out = 0;
        return ERR_OK;
    }
    if (err != ERR_OK)
        return err;
    struct rec_in in = {.p = (const uint8_t *)payload.p, .left = payload.len};
    const uint32_t day = (uint32_t)rec_get_int(&in, 4);
    if (in.bad)
        return ERR_CORRUPT;
    *day_out = day;
    return ERR_OK;
}

static enum err note_day_broken(struct txn *t, uint32_t day)
{
    uint8_t bytes[4];
    struct rec_out o = {.p = bytes, .room = sizeof(bytes)};
    uint32_t whole = 0;
    const enum err err = ldb_whole_from_day(t, &whole);

    if (err != ERR_OK || day < whole)
        return err;
    rec_put_int(&o, day + 1, 4);
    return ldb_put(t, LDB_META, META_WHOLE_FROM, str_of(bytes, o.len));
}

enum err ldb_touch(struct txn *t, uint64_t now)
{
    uint8_t bytes[8];
    struct rec_out o = {.p = bytes, .room = sizeof(bytes)};

    rec_put_int(&o, now, 8);
    return ldb_put(t, LDB_META, META_TOUCHED, str_of(bytes, o.len));
}

/* Delete the row <c> stands on and its id. */
static enum err drop_row(struct txn *t, struct cursor *c)
{
    char id[ROW_ID_LEN];

    memcpy(id, c->key.p + 8, ROW_ID_LEN);
    enum err err = cursor_del(c);
    if (err != ERR_OK)
        return err;
    err = txn_del(t, LDB_IDS, str_of(id, ROW_ID_LEN));
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* Delete rows from the front as <keep> says; the day of the last one deleted
 * goes to *day. */
static enum err drop_rows(struct txn *t, struct cursor *c, uint64_t count,
                          const struct ldb_keep *keep, uint32_t *day,
                          unsigned *n_out)
{
    unsigned n = 0;
    enum err err = cursor_seek(c, (struct str){"", 0});

    for (; err == ERR_OK && n < keep->max; err = cursor_next(c)) {
        if (c->key.len != LDB_ROW_KEY_LEN)
            return ERR_CORRUPT;
        const int64_t at = row_key_time(c->key);
        if (count - n <= keep->rows && at >= keep->since_wall_ms)
            break;
        *day = tally_day(at);
        const enum err gone = drop_row(t, c);
        if (gone != ERR_OK)
            return gone;
        n++;
    }
    *n_out = n;
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

enum err ldb_prune(struct txn *t, const struct ldb_keep *keep, unsigned *n_out)
{
    struct cursor c;
    uint64_t count;
    uint32_t day = 0;
    unsigned n = 0;
    enum err err = txn_count(t, LDB_ROWS, &count);

    if (err == ERR_OK)
        err = cursor_open(t, LDB_ROWS, &c);
    if (err != ERR_OK)
        return err;
    err = drop_rows(t, &c, count, keep, &day, &n);
    cursor_close(&c);
    if (err == ERR_OK && n > 0)
        err = note_day_broken(t, day);
    if (err == ERR_OK)
        *n_out = n;
    return err;
}

enum err ldb_newest_row(struct txn *t, int64_t *wall_ms_out)
{
    struct cursor c;
    enum err err = cursor_open(t, LDB_ROWS, &c);

    if (err != ERR_OK)
        return err;
    err = cursor_last(&c);
    if (err == ERR_OK && c.key.len != LDB_ROW_KEY_LEN)
        err = ERR_CORRUPT;
    if (err == ERR_OK)
        *wall_ms_out = row_key_time(c.key);
    cursor_close(&c);
    return err;
}

/* A long read in short steps: where the next one begins. */
struct step {
    char key[ENV_KEY_MAX + 1];
    size_t key_len;
    bool over;
};

static void step_after(struct step *s, struct str key)
{
    memcpy(s->key, key.p, key.len);
    s->key[key.len] = 0; /* the smallest key above */
    s->key_len = key.len < ENV_KEY_MAX ? key.len + 1 : key.len;
}

/* What a step over counters carries. */
struct counter_read {
    struct step at;
    uint32_t to_day;
    ldb_counter_fn *fn;
    void *arg;
};

static enum err read_counter(struct counter_read *r, const struct cursor *c)
{
    struct tally_key key;
    struct tally sum;
    struct str payload;

    if (open_value(LDB_COUNTERS, c->key, c->value, &payload) != ERR_OK ||
        tally_key_decode(c->key, &key) != ERR_OK ||
        tally_decode(payload, &sum) != ERR_OK) {
        log_err(LOG_LEDGER, "damaged record: table=counters");
        return ERR_CORRUPT;
    }
    if (key.day > r->to_day) {
        r->at.over = true;
        return ERR_OK;
    }
    step_after(&r->at, c->key);
    return r->fn(r->arg, &key, &sum);
}

static enum err counters_step(struct ledger_db *db, struct counter_read *r)
{
    struct txn t;
    struct cursor c = {0};
    enum err err = txn_begin_read(db->env, &t);

    if (err != ERR_OK)
        return err;
    err = cursor_open(&t, LDB_COUNTERS, &c);
    if (err == ERR_OK)
        err = cursor_seek(&c, str_of(r->at.key, r->at.key_len));
    for (unsigned n = 0; err == ERR_OK && n < READ_STEP && !r->at.over; n++) {
        err = read_counter(r, &c);
        if (err == ERR_OK && !r->at.over)
            err = cursor_next(&c);
    }
    if (err == ERR_NOT_FOUND) {
        r->at.over = true;
        err = ERR_OK;
    }
    cursor_close(&c);
    txn_end(&t);
    return err;
}

enum err ldb_counters_read(struct ledger_db *db, uint32_t from_day,
                           uint32_t to_day, ldb_counter_fn *fn, void *arg)
{
    struct counter_read r = {.to_day = to_day, .fn = fn, .arg = arg};
    enum err err = ERR_OK;

    for (unsigned i = 0; i < 4; i++)
        r.at.key[i] = (char)(uint8_t)(from_day >> (24 - 8 * i));
    r.at.key_len = 4;
    while (err == ERR_OK && !r.at.over)
        err = counters_step(db, &r);
    return err;
}

/* Copy rows from <at> on into <bytes>, each as u32 length and payload. */
static enum err rows_step(struct ledger_db *db, struct step *at,
                          int64_t until_wall_ms, struct buf *bytes)
{
    struct txn t;
    struct cursor c = {0};
    enum err err = txn_begin_read(db->env, &t);

    if (err != ERR_OK)
        return err;
    err = cursor_open(&t, LDB_ROWS, &c);
    if (err == ERR_OK)
        err = cursor_seek(&c, str_of(at->key, at->key_len));
    for (unsigned n = 0; err == ERR_OK && n < READ_STEP; n++) {
        struct str payload;
        if (c.key.len != LDB_ROW_KEY_LEN ||
            open_value(LDB_ROWS, c.key, c.value, &payload) != ERR_OK) {
            log_err(LOG_LEDGER, "damaged record: table=rows");
            err = ERR_CORRUPT;
            break;
        }
        at->over = row_key_time(c.key) >= until_wall_ms;
        if (at->over || bytes->len > READ_BYTES)
            break;
        const uint32_t len = (uint32_t)payload.len;
        err = buf_put(bytes, &len, sizeof(len));
        if (err == ERR_OK)
            err = buf_put_str(bytes, payload);
        if (err == ERR_OK) {
            step_after(at, c.key);
            err = cursor_next(&c);
        }
    }
    at->over = at->over || err == ERR_NOT_FOUND;
    cursor_close(&c);
    txn_end(&t);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err give_rows(struct str bytes, ldb_row_fn *fn, void *arg)
{
    enum err err = ERR_OK;

    while (err == ERR_OK && bytes.len > 0) {
        struct usage_row row;
        uint32_t len;

        memcpy(&len, bytes.p, sizeof(len));
        bytes = str_skip(bytes, sizeof(len));
        err = row_decode(str_of(bytes.p, len), &row);
        if (err == ERR_OK)
            err = fn(arg, &row);
        bytes = str_skip(bytes, len);
    }
    return err;
}

enum err ldb_rows_read(struct ledger_db *db, int64_t since_wall_ms,
                       int64_t until_wall_ms, ldb_row_fn *fn, void *arg)
{
    struct step at = {.key_len = LDB_ROW_KEY_LEN};
    struct buf bytes;
    enum err err = ERR_OK;

    row_key(since_wall_ms, (struct str){"", 0}, at.key);
    buf_init(&bytes, READ_BYTES + 2 * REC_PAYLOAD_MAX);
    while (err == ERR_OK && !at.over) {
        buf_clear(&bytes);
        err = rows_step(db, &at, until_wall_ms, &bytes);
        if (err == ERR_OK)
            err = give_rows(buf_str(&bytes), fn, arg);
    }
    buf_fini(&bytes);
    return err;
}

static enum err find_in(struct txn *t, struct str id, struct buf *room)
{
    struct str payload;
    char key[LDB_ROW_KEY_LEN];
    enum err err = ldb_get(t, LDB_IDS, id, &payload);

    if (err != ERR_OK)
        return err;
    struct rec_in in = {.p = (const uint8_t *)payload.p, .left = payload.len};
    row_key((int64_t)rec_get_int(&in, 8), id, key);
    if (in.bad)
        return ERR_CORRUPT;
    err = ldb_get(t, LDB_ROWS, str_of(key, sizeof(key)), &payload);
    if (err != ERR_OK)
        return err;
    buf_clear(room);
    return buf_put_str(room, payload);
}

enum err ldb_row_find(struct ledger_db *db, struct str id, struct buf *room,
                      struct usage_row *row_out)
{
    struct txn t;

    if (id.len != ROW_ID_LEN)
        return ERR_NOT_FOUND;
    enum err err = txn_begin_read(db->env, &t);
    if (err != ERR_OK)
        return err;
    err = find_in(&t, id, room);
    txn_end(&t);
    return err == ERR_OK ? row_decode(buf_str(room), row_out) : err;
}

static enum err each_in(struct txn *t, enum ldb_table table, ldb_record_fn *fn,
                        void *arg, struct buf *why)
{
    struct cursor c;
    enum err err = cursor_open(t, table, &c);

    if (err != ERR_OK)
        return err;
    err = cursor_next(&c);
    while (err == ERR_OK) {
        struct str payload;

        err = open_value(table, c.key, c.value, &payload);
        if (err == ERR_OK)
            err = fn(arg, c.key, payload);
        if (err == ERR_CORRUPT)
            env_say(why, "%s is damaged: table %s, record \"%.*s\"",
                    env_path(t->env), table_names[table], STR_ARG(c.key));
        if (err == ERR_OK)
            err = cursor_next(&c);
        else
            break;
    }
    cursor_close(&c);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

enum err ldb_each(struct ledger_db *db, enum ldb_table table, ldb_record_fn *fn,
                  void *arg, struct buf *why)
{
    struct txn t;
    enum err err = txn_begin_read(db->env, &t);

    if (err != ERR_OK)
        return err;
    err = each_in(&t, table, fn, arg, why);
    txn_end(&t);
    return err;
}
