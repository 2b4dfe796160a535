/* ledger_spend.c - See ledger_spend.h. Starts after a death are in
 * ledger_recover.c. */
#include "account/ledger_spend.h"

#include "account/ledger_priv.h"
#include "store/boot.h"

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

/* ERR_EXISTS: the row of <id> is there. */
static enum err has_no_row(struct txn *t, struct str id)
{
    struct str at;
    const enum err err = id.len > 0 ? ldb_get(t, LDB_IDS, id, &at) : ERR_OK;

    if (id.len == 0 || err == ERR_NOT_FOUND)
        return ERR_OK;
    return err == ERR_OK ? ERR_EXISTS : err;
}

enum err ledger_hold_fold(struct txn *t, struct str payload)
{
    bool outdated;
    struct hold h;

    if (hold_decode(payload, &h) != ERR_OK)
        return ERR_SYNTAX;
    enum err err = has_no_row(t, h.id);
    if (err == ERR_OK)
        err = has_no_row(t, h.parent);
    if (err != ERR_OK)
        return err == ERR_EXISTS ? ERR_OK : err;
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

/* Put a hold of nothing in the place of the first one of the request of <leg>,
 * which no older one replaces. */
static enum err hold_nothing(struct txn *t, const struct usage_row *leg)
{
    const struct hold h = {.id = leg->hold,
                           .at_ms = leg->budget_ms,
                           .key_id = leg->key_id,
                           .team = leg->team,
                           .change = UINT32_MAX};
    uint8_t bytes[HOLD_BYTES_MAX];

    return ldb_put(t, LDB_HOLDS, h.id,
                   str_of((char *)bytes, hold_encode(&h, bytes)));
}

enum err ledger_hold_end(struct txn *t, const struct usage_row *row)
{
    enum err err;

    ERR_TRY(ledger_hold_drop(t, row->id));
    if (row->hold.len == 0)
        return ERR_OK;
    if ((row->flags & ROW_LEG) == 0 || !str_eq(row->hold, row->parent))
        return ledger_hold_drop(t, row->hold);
    err = has_no_row(t, row->parent);
    if (err == ERR_EXISTS)
        return ledger_hold_drop(t, row->hold);
    return err == ERR_OK ? hold_nothing(t, row) : err;
}

/* --- the end -------------------------------------------------------------- */

static enum err close_run(struct txn *t, struct wjob *job)
{
    struct boot_id now;

    (void)job; /* there is nothing to tell */
    boot_id_read(&now);
    return ledger_boot_note(t, &now, true);
}

enum err ledger_spend_close(struct ledger *l)
{
    struct wjob job = {.run = close_run};

    ERR_TRY(ledger_flush(l));
    return writer_call(l->writer, &job);
}
