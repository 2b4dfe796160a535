/* ledger_recover.c - What a start does with what the one before left, and why
 * it never counts less than was taken, nor more than was leased:
 *
 *   the process died    the page cache has the journals whole: every hold
 *                       without a row is charged in full
 *   the machine died    journals may lack any of their last records. No more
 *                       than the lease can have been taken, for it was on the
 *                       disk before: so that is what is spent, though the
 *                       holds that are found come to less, or, where the rows
 *                       that ended others are gone, to more */
#include "account/ledger_priv.h"
#include "account/ledger_spend.h"
#include "base/log.h"
#include "store/boot.h"

/* Open holds that one transaction charges; the last one does all the rest. */
#define CHARGE_STEP 20000

/* Name in LDB_META: the boot of the last start, and whether it was closed. */
#define META_BOOT STR("boot")

/* What the start before this one left. */
enum left_by {
    LEFT_BY_NOBODY = 0, /* the first start that knows spends */
    LEFT_WHOLE,         /* journals are what they were when last written */
    LEFT_IN_DOUBT
};

/* A recovery under way. */
struct recovery {
    struct ledger *l;
    enum left_by left;
    struct boot_id now;
    struct spend_map leases;  /* of LEFT_IN_DOUBT */
    struct spend_map rows;    /* of LEFT_BY_NOBODY: what all of them sum to */
    struct tally_map sums;    /* of what one transaction charges */
    struct spend_map charged; /* likewise */
    uint64_t n_charged;
};

/* --- holds ---------------------------------------------------------------- */

/* Turn the hold <payload> into the row that charges it. */
static enum err charge_hold(struct recovery *r, struct txn *t,
                            struct str payload)
{
    uint8_t bytes[ROW_BYTES_MAX];
    struct usage_row row;
    struct hold h;

    ERR_TRY(hold_decode(payload, &h));
    hold_row(&h, &row);
    const enum err err = ldb_row_add(
        t, str_of((char *)bytes, row_encode(&row, bytes)), &row, &r->sums);
    if (err != ERR_OK)
        return err == ERR_EXISTS ? ERR_OK : err;
    return spend_map_add_row(&r->charged, &row);
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

/* Make rows of open holds, at most CHARGE_STEP; spends are left as they are. */
static enum err charge_some(struct recovery *r, struct txn *t, unsigned *n_out)
{
    struct held held;
    enum err err = ERR_OK;
    unsigned n = 0;

    while (n < CHARGE_STEP && (err = first_hold(t, &held)) == ERR_OK) {
        const struct str payload = str_of(held.payload, held.len);

        ERR_TRY(charge_hold(r, t, payload));
        ERR_TRY(ledger_hold_drop(t, str_of(payload.p, ROW_ID_LEN)));
        n++;
    }
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return err;
    *n_out = n;
    return ldb_counters_add(t, &r->sums);
}

/* --- leases --------------------------------------------------------------- */

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

/* Where spends stand: what was charged is added, unless a lease says better. */
static enum err put_spends(struct recovery *r, struct txn *t)
{
    for (struct spend_item *it = r->charged.items; it; it = it->hh.next)
        if (!spend_map_at(&r->leases, str_of(it->name, it->name_len)))
            return ERR_NOMEM;
    for (struct spend_item *it = r->leases.items; it; it = it->hh.next) {
        const struct str name = str_of(it->name, it->name_len);
        const struct spend *charged = spend_map_at(&r->charged, name);
        struct spend s;

        if (!charged)
            return ERR_NOMEM;
        ERR_TRY(ledger_spend_get(t, LDB_SPENDS, name, &s));
        spend_recover(&s, charged, &it->sum);
        ERR_TRY(ledger_spend_put(t, LDB_SPENDS, name, &s));
    }
    return ERR_OK;
}

static enum err sum_row(void *arg, const struct usage_row *row)
{
    return spend_map_add_row(arg, row);
}

static enum err put_sums(const struct recovery *r, struct txn *t)
{
    for (const struct spend_item *it = r->rows.items; it; it = it->hh.next)
        ERR_TRY(ledger_spend_put(t, LDB_SPENDS, str_of(it->name, it->name_len),
                                 &it->sum));
    return ERR_OK;
}

/* --- the start ------------------------------------------------------------ */

enum err ledger_boot_note(struct txn *t, const struct boot_id *now, bool closed)
{
    uint8_t bytes[sizeof(now->b) + 1];

    memcpy(bytes, now->b, sizeof(now->b));
    bytes[sizeof(now->b)] = closed;
    ERR_TRY(txn_clear(t, LDB_LEASES));
    return ldb_put(t, LDB_META, META_BOOT,
                   str_of((char *)bytes, sizeof(bytes)));
}

static enum err look_back(struct recovery *r)
{
    struct boot_id then;
    struct str payload;
    struct txn t;

    ERR_TRY(txn_begin_read(ldb_env(r->l->db), &t));
    enum err err = ldb_get(&t, LDB_META, META_BOOT, &payload);
    r->left = LEFT_BY_NOBODY;
    if (err == ERR_OK && payload.len != sizeof(then.b) + 1)
        err = ERR_CORRUPT;
    if (err == ERR_OK) {
        memcpy(then.b, payload.p, sizeof(then.b));
        r->left = payload.p[sizeof(then.b)] != 0 || boot_id_eq(&then, &r->now)
                      ? LEFT_WHOLE
                      : LEFT_IN_DOUBT;
    }
    txn_end(&t);
    return err == ERR_NOT_FOUND ? ERR_OK : err;
}

/* What must be known before: of the first start, what the rows sum to, which
 * versions without spends may have written; of one in doubt, the leases. */
static enum err collect(struct recovery *r, struct buf *why)
{
    struct ledger *l = r->l;
    enum err err = ERR_OK;

    if (r->left == LEFT_IN_DOUBT)
        return ldb_each(l->db, LDB_LEASES, collect_lease, &r->leases, why);
    if (r->left == LEFT_BY_NOBODY)
        err = ldb_rows_read(l->db, 0, INT64_MAX, sum_row, &r->rows);
    if (err == ERR_CORRUPT)
        env_say(why, "ledger %s is damaged: a row fails its checksum",
                env_path(ldb_env(l->db)));
    return err;
}

/* One transaction; *n_out is how many holds it charged, and with less than
 * CHARGE_STEP it was the last. */
static enum err recover_run(struct recovery *r, struct txn *t, unsigned *n_out)
{
    ERR_TRY(charge_some(r, t, n_out));
    if (*n_out == CHARGE_STEP)
        return ledger_spend_fold(t, &r->charged);
    if (r->left == LEFT_BY_NOBODY)
        ERR_TRY(put_sums(r, t));
    ERR_TRY(put_spends(r, t));
    return ledger_boot_note(t, &r->now, false);
}

static enum err recover_step(struct recovery *r, unsigned *n_out)
{
    struct txn t;

    ERR_TRY(txn_begin_write(ldb_env(r->l->db), &t));
    enum err err = recover_run(r, &t, n_out);
    if (err == ERR_OK)
        err = txn_commit(&t);
    txn_end(&t);
    if (err == ERR_OK)
        r->n_charged += *n_out;
    tally_map_fini(&r->sums);
    spend_map_fini(&r->charged);
    return err;
}

/* All of them, with a larger map where it is full. */
static enum err recover_all(struct recovery *r, struct buf *why)
{
    unsigned n = CHARGE_STEP;

    while (n == CHARGE_STEP) {
        ERR_TRY(collect(r, why));
        enum err err = recover_step(r, &n);

        spend_map_fini(&r->leases);
        spend_map_fini(&r->rows);
        if (err == ERR_FULL) {
            n = CHARGE_STEP;
            err = env_grow(ldb_env(r->l->db));
        }
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

enum err ledger_spend_recover(struct ledger *l, struct buf *why)
{
    struct recovery r = {.l = l};

    boot_id_read(&r.now);
    ERR_TRY(look_back(&r));
    const enum err err = recover_all(&r, why);
    spend_map_fini(&r.leases);
    spend_map_fini(&r.rows);
    if (err != ERR_OK)
        return err;
    if (r.n_charged > 0)
        log_warn(LOG_LEDGER,
                 "requests were under way when the daemon died, and are "
                 "charged in full: n=%llu",
                 (unsigned long long)r.n_charged);
    if (r.left == LEFT_IN_DOUBT)
        log_warn(LOG_LEDGER, "the machine went down with the ledger open: what "
                             "was leased counts as spent");
    return ERR_OK;
}
