/* ledger_spend.h - What budgets need of the ledger: holds that survive the
 * process, leases that survive the machine, and what was spent, added up
 * exactly once however often it is read from a journal. */
#ifndef TG_ACCOUNT_LEDGER_SPEND_H
#define TG_ACCOUNT_LEDGER_SPEND_H

#include "account/hold.h"
#include "account/ledger.h"
#include "account/spend.h"
#include "store/boot.h"
#include "store/ledger_db.h"
#include "store/writer.h"

/* Store <h>: one write(2), before anything of its request is sent. From then
 * on its row must come, or it is charged in full at the next start. Unlike a
 * row it is never kept in memory: ERR_LEDGER while the journal cannot be
 * written, and the request must not be sent. Only the thread that owns <lw>. */
enum err ledger_hold_put(struct ledger_worker *lw,
                         const struct hold *h) MUST_CHECK;

/* What <name> (spend_key_name() or spend_team_name()) has taken, as far as the
 * database knows; nothing when it is unknown there. ERR_CORRUPT, ERR_IO. */
enum err ledger_spend_read(struct ledger *l, struct str name,
                           struct spend *out) MUST_CHECK;

/* A lease to be made durable; the caller keeps it alive until <job>'s done. */
struct ledger_lease {
    struct wjob job; /* set <done>, then writer_submit() or writer_call() */
    char name[SPEND_NAME_MAX];
    size_t name_len;
    struct spend lease; /* amounts; what the disk has is never lowered */
};

/* Fill <out> but for job.done. */
void ledger_lease_init(struct ledger_lease *out, struct str name,
                       const struct spend *lease);

/* Wait until what was put is folded, then say that <n> spends are all there is:
 * leases end, and a start after this one trusts what it finds. At the end of
 * the process, when no request is alive. ERR_LEDGER. */
enum err ledger_spend_close(struct ledger *l) MUST_CHECK;

/* --- for ledger*.c alone -------------------------------------------------- */

/* What <name> has in LDB_SPENDS or LDB_LEASES; nothing when it is unknown
 * there. ERR_CORRUPT, ERR_IO. */
enum err ledger_spend_get(struct txn *t, enum ldb_table table, struct str name,
                          struct spend *out) MUST_CHECK;

/* Store <s> there. In a write transaction. */
enum err ledger_spend_put(struct txn *t, enum ldb_table table, struct str name,
                          const struct spend *s) MUST_CHECK;

/* Add <more> to what the database has. In a write transaction. */
enum err ledger_spend_fold(struct txn *t,
                           const struct spend_map *more) MUST_CHECK;

/* Note the hold of <payload>, unless its row or its request's is there.
 * ERR_SYNTAX when it is none. In a write transaction. */
enum err ledger_hold_fold(struct txn *t, struct str payload) MUST_CHECK;

/* The row of <id> is there: its hold is over. In a write transaction. */
enum err ledger_hold_drop(struct txn *t, struct str id) MUST_CHECK;

/* <row> is there: what it ends is over. The first hold of a request has the
 * request's id, and where a leg ends it, one of nothing stands in its place
 * until the request's own row comes, whatever is read meanwhile. In a write
 * transaction. */
enum err ledger_hold_end(struct txn *t, const struct usage_row *row) MUST_CHECK;

/* End all leases and note that boot <now> has the ledger open, or that nobody
 * has. In a write transaction. */
enum err ledger_boot_note(struct txn *t, const struct boot_id *now,
                          bool closed) MUST_CHECK;

/* At start, when the journals are folded: charge what was held by requests
 * without a row, and, where the machine went down, what was leased. A line in
 * the log tells what was done. */
enum err ledger_spend_recover(struct ledger *l, struct buf *why) MUST_CHECK;

#endif
