/* ledger_spend.c - See ledger_spend.h. What a start does, and why it never
 * counts less than was taken:
 *
 *   the process died    the page cache has the journals whole: every hold
 *                       without a row is charged in full
 *   the machine died    journals may lack their end: no more than the lease
 *                       can have been taken, for it was on the disk before;
 *                       so that is charged where it is more */
#include "account/ledger_spend.h"

#include "account/ledger_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/boot.h"

/* Open holds that one transaction charges. */
#define CHARGE_STEP 500

/* Name in LDB_META: the boot of the last start, and whether it was closed. */
#define META_BOOT STR("boot")

/* --- spends --------------------------------------------------------------- */

enum err ledger_spend_get(struct txn *t, enum ldb_table table, struct str name,
                          struct spend *out)
{
    struct str payload;
    const enum err err = ldb_get(t, table, name, &payload);

    if (err == ERR_NOT_FOUND) {
        spend_init(out);
        return ERR_OK;
    }
    if (err != ERR_OK)
        return err;
    return spend_decode(payload, out);
}

enum err ledger_spend_put(struct txn *t, enum ldb_table table, struct str name,
                          const struct spend *s)
{
    uint8_t bytes[SPEND_BYTES_MAX];

    return ldb_put(t, table, name,
                   str_of((char *)bytes, spend_encode(s, bytes)));
}

enum err ledger_spend_fold(struct txn *t, const struct spend_map *more)
{
    for (const struct spend_item *it = more->items; it; it = it->hh.next) {
        const struct str name = str_of(it->name, it->name_len);
        struct spend s;

        ERR_TRY(ledger_spend_get(t, LDB_SPENDS, name, &s));
        spend_merge(&s, &it->sum);
        ERR_TRY(ledger_spend_put(t, LDB_SPENDS, name, &s));
    }
    return ERR_OK;
}

enum err ledger_spend_read(struct ledger *l, struct str name, struct spend *out)
{
    struct txn t;

    ERR_TRY(txn_begin_read(ldb_env(l->db), &t));
    const enum err err = ledger_spend_get(&t, LDB_SPENDS, name, out);
    txn_end(&t);
    return err;
}

/* --- leases --------------------------------------------------------------- */

static enum err lease_run(struct txn *t, struct wjob *job)
{
    const struct ledger_lease *l = (struct ledger_lease *)(void *)job;
    const struct str name = str_of(l->name, l->name_len);
    struct spend had;

    ERR_TRY(ledger_spend_get(t, LDB_LEASES, name, &had));
    spend_most(&had, &l->lease);
    return ledger_spend_put(t, LDB_LEASES, name, &had);
}

void ledger_lease_init(struct ledger_lease *out, struct str name,
                       const struct spend *lease)
{
    *out = (struct ledger_lease){
        .job = {.run = lease_run}, .name_len = name.len, .lease = *lease};
    memcpy(out->name, name.p, name.len);
}

/* --- holds ---------------------------------------------------------------- */

/* Whether a later hold of the same request is there: journals are not always
 * read in the order in which they were written. */
static enum err is_outdated(struct txn *t, const struct hold *h, bool *out)
{
    struct str payload;
    struct hold had;
    const enum err err = ldb_get(t, LDB_HOLDS, h->id, &payload);

    *out = false;
    if (err != ERR_OK)
        return err == ERR_NOT_FOUND ? ERR_OK : err;
    ERR_TRY(hold_decode(payload, &had));
    *out = had.change > h->change;
    return ERR_OK;
}

enum err ledger_hold_fold(struct txn *t, struct str payload)
{
    bool outdated;
    struct hold h;
    struct str at;

    if (hold_decode(payload, &h) != ERR_OK)
        return ERR_SYNTAX;
    const enum err err = ldb_get(t, LDB_IDS, h.id, &at);
    if (err != ERR_NOT_FOUND)
        return err;
    ERR_TRY(is_outdated(t, &h, &outdated));
    if (outdated)
        return ERR_OK;
    return ldb_put(t, LDB_HOLDS, h.id, payload);
}

enum err ledger_hold_drop(struct txn *t, struct str id)
{
    const enum err err = ldb_del(t, LDB_HOLDS, id);

    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* --- recovery ------------------------------------------------------------- */

/* Turn the hold <payload> into the row that charges it. */
static enum err charge_hold(struct txn *t, struct str payload,
                            struct tally_map *sums, struct spend_map *spends)
{
    uint8_t bytes[ROW_BYTES_MAX];
    struct usage_row row;
    struct hold h;

    ERR_TRY(hold_decode(payload, &h));
    hold_row(&h, &row);
    const enum err err = ldb_row_add(
        t, str_of((char *)bytes, row_encode(&row, bytes)), &row, sums);
    if (err != ERR_OK)
        return err == ERR_EXISTS ? ERR_OK : err;
    return spend_map_add_row(spends, &row);
}

/* A hold copied out of its table. */
struct held {
    size_t len;
    char payload[HOLD_BYTES_MAX];
};

/* Copy the first open hold to <out>. ERR_NOT_FOUND. */
static enum err first_hold(struct txn *t, struct held *out)
{
    char id[ROW_ID_LEN];
    struct cursor c;
    struct str payload;

    ERR_TRY(cursor_open(t, LDB_HOLDS, &c));
    enum err err = cursor_seek(&c, STR(""));
    if (err == ERR_OK && c.key.len != sizeof(id))
        err = ERR_CORRUPT;
    if (err == ERR_OK)
        memcpy(id, c.key.p, sizeof(id));
    cursor_close(&c);
    if (err != ERR_OK)
        return err;
    ERR_TRY(ldb_get(t, LDB_HOLDS, str_of(id, sizeof(id)), &payload));
    if (payload.len > sizeof(out->payload))
        return ERR_CORRUPT;
    memcpy(out->payload, payload.p, payload.len);
    out->len = payload.len;
    return ERR_OK;
}

static enum err charge_some(struct txn *t, struct tally_map *sums,
                            struct spend_map *spends, unsigned *n_out)
{
    struct held held;
    enum err err = ERR_OK;
    unsigned n = 0;

    while (n < CHARGE_STEP && (err = first_hold(t, &held)) == ERR_OK) {
        const struct str payload = str_of(held.payload, held.len);

        ERR_TRY(charge_hold(t, payload, sums, spends));
        ERR_TRY(ledger_hold_drop(t, str_of(payload.p, ROW_ID_LEN)));
        n++;
    }
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return err;
    ERR_TRY(ldb_counters_add(t, sums));
    ERR_TRY(ledger_spend_fold(t, spends));
    *n_out = n;
    return ERR_OK;
}

/* Charge open holds in one transaction. */
static enum err charge_step(struct ledger *l, unsigned *n_out)
{
    struct tally_map sums = {0};
    struct spend_map spends = {0};
    struct txn t;
    unsigned n = 0;

    ERR_TRY(txn_begin_write(ldb_env(l->db), &t));
    enum err err = charge_some(&t, &sums, &spends, &n);
    if (err == ERR_OK && n > 0)
        err = txn_commit(&t);
    txn_end(&t);
    tally_map_fini(&sums);
    spend_map_fini(&spends);
    if (err == ERR_OK)
        *n_out = n;
    return err;
}

/* The same, with a larger map where it is full. */
static enum err charge_all(struct ledger *l, uint64_t *all_out)
{
    uint64_t all = 0;
    unsigned n = 1;

    while (n > 0) {
        enum err err = charge_step(l, &n);

        if (err == ERR_FULL)
            err = env_grow(ldb_env(l->db));
        else if (err == ERR_OK)
            all += n;
        if (err != ERR_OK)
            return err;
    }
    *all_out = all;
    return ERR_OK;
}

/* Leases, read before they are counted. */
static enum err collect_lease(void *arg, struct str key, struct str payload)
{
    struct spend_map *m = arg;
    struct spend lease;
    struct spend *to;

    if (key.len < 1 || key.len > SPEND_NAME_MAX)
        return ERR_CORRUPT;
    ERR_TRY(spend_decode(payload, &lease));
    to = spend_map_at(m, key);
    if (!to)
        return ERR_NOMEM;
    *to = lease;
    return ERR_OK;
}

static enum err assume_leases(struct txn *t, const struct spend_map *leases)
{
    for (const struct spend_item *it = leases->items; it; it = it->hh.next) {
        const struct str name = str_of(it->name, it->name_len);
        struct spend s;

        ERR_TRY(ledger_spend_get(t, LDB_SPENDS, name, &s));
        spend_assume(&s, &it->sum);
        ERR_TRY(ledger_spend_put(t, LDB_SPENDS, name, &s));
    }
    return ERR_OK;
}

/* End all leases and note that boot <now> has the ledger open, or that nobody
 * has. */
static enum err note_boot(struct txn *t, const struct boot_id *now, bool closed)
{
    uint8_t bytes[sizeof(now->b) + 1];

    memcpy(bytes, now->b, sizeof(now->b));
    bytes[sizeof(now->b)] = closed;
    ERR_TRY(txn_clear(t, LDB_LEASES));
    return ldb_put(t, LDB_META, META_BOOT,
                   str_of((char *)bytes, sizeof(bytes)));
}

/* What the start before this one left. */
enum left_by {
    LEFT_BY_NOBODY = 0, /* the first start that knows spends */
    LEFT_WHOLE,         /* journals are what they were when last written */
    LEFT_IN_DOUBT
};

static enum err look_back(struct ledger *l, const struct boot_id *now,
                          enum left_by *out)
{
    struct boot_id then;
    struct str payload;
    struct txn t;

    ERR_TRY(txn_begin_read(ldb_env(l->db), &t));
    enum err err = ldb_get(&t, LDB_META, META_BOOT, &payload);
    *out = LEFT_BY_NOBODY;
    if (err == ERR_OK && payload.len != sizeof(then.b) + 1)
        err = ERR_CORRUPT;
    if (err == ERR_OK) {
        memcpy(then.b, payload.p, sizeof(then.b));
        *out = payload.p[sizeof(then.b)] != 0 || boot_id_eq(&then, now)
                   ? LEFT_WHOLE
                   : LEFT_IN_DOUBT;
    }
    txn_end(&t);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

static enum err sum_row(void *arg, const struct usage_row *row)
{
    return spend_map_add_row(arg, row);
}

static enum err put_sums(struct txn *t, const struct spend_map *sums)
{
    for (const struct spend_item *it = sums->items; it; it = it->hh.next)
        ERR_TRY(ledger_spend_put(t, LDB_SPENDS, str_of(it->name, it->name_len),
                                 &it->sum));
    return ERR_OK;
}

/* What must be known before a start can be noted: of the first one, what the
 * rows sum to, which versions without spends may have written; of one in doubt,
 * the leases. */
static enum err collect(struct ledger *l, enum left_by left,
                        struct spend_map *m, struct buf *why)
{
    if (left == LEFT_BY_NOBODY) {
        const enum err err = ldb_rows_read(l->db, 0, INT64_MAX, sum_row, m);

        if (err == ERR_CORRUPT)
            env_say(why, "ledger %s is damaged: a row fails its checksum",
                    env_path(ldb_env(l->db)));
        return err;
    }
    if (left == LEFT_IN_DOUBT)
        return ldb_each(l->db, LDB_LEASES, collect_lease, m, why);
    return ERR_OK;
}

static enum err settle_run(struct txn *t, enum left_by left,
                           const struct spend_map *m, const struct boot_id *now)
{
    if (left == LEFT_BY_NOBODY)
        ERR_TRY(put_sums(t, m));
    if (left == LEFT_IN_DOUBT)
        ERR_TRY(assume_leases(t, m));
    ERR_TRY(note_boot(t, now, false));
    return txn_commit(t);
}

static enum err settle_leases(struct ledger *l, struct buf *why)
{
    struct spend_map m = {0};
    enum left_by left;
    struct boot_id now;
    struct txn t;

    boot_id_read(&now);
    ERR_TRY(look_back(l, &now, &left));
    enum err err = collect(l, left, &m, why);
    if (err == ERR_OK)
        err = txn_begin_write(ldb_env(l->db), &t);
    if (err == ERR_OK) {
        err = settle_run(&t, left, &m, &now);
        txn_end(&t);
    }
    if (err == ERR_OK && left == LEFT_IN_DOUBT)
        log_warn(LOG_LEDGER, "the machine went down with the ledger open: what "
                             "was leased counts as spent");
    spend_map_fini(&m);
    return err;
}

enum err ledger_spend_recover(struct ledger *l, struct buf *why)
{
    uint64_t n;

    ERR_TRY(charge_all(l, &n));
    if (n > 0)
        log_warn(LOG_LEDGER,
                 "requests were under way when the daemon died, and are "
                 "charged in full: n=%llu",
                 (unsigned long long)n);
    enum err err = settle_leases(l, why);
    while (err == ERR_FULL) {
        ERR_TRY(env_grow(ldb_env(l->db)));
        err = settle_leases(l, why);
    }
    return err;
}

/* --- the end -------------------------------------------------------------- */

static enum err close_run(struct txn *t, struct wjob *job)
{
    struct boot_id now;

    (void)job; /* there is nothing to tell */
    boot_id_read(&now);
    return note_boot(t, &now, true);
}

enum err ledger_spend_close(struct ledger *l)
{
    struct wjob job = {.run = close_run};

    ERR_TRY(ledger_flush(l));
    return writer_call(l->writer, &job);
}
