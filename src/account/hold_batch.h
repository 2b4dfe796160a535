/* hold_batch.h - Holds read from journals in one transaction. Most end with a
 * row that is read moments later: those never see the database. */
#ifndef TG_ACCOUNT_HOLD_BATCH_H
#define TG_ACCOUNT_HOLD_BATCH_H

#include "account/hold.h"
#include "base/map.h"
#include "store/ledger_db.h"

/* One of them. */
struct hold_item {
    UT_hash_handle hh;
    char id[ROW_ID_LEN];
    uint32_t change;
    size_t len;
    char payload[HOLD_BYTES_MAX];
};

/* Those that no row has ended yet. Zeroed is empty. */
struct hold_batch {
    struct hold_item *items; /* uthash, owned */
    bool in_order; /* journals are read as they were written: before the first
                    * hold of an id the database has none of it */
};

/* Take the hold of <payload>. ERR_SYNTAX when it is none, ERR_NOMEM. */
enum err hold_batch_add(struct hold_batch *b, struct str payload) MUST_CHECK;

/* <row> is put: what it ends is over, here and in the database of <t>. */
enum err hold_batch_end(struct hold_batch *b, struct txn *t,
                        const struct usage_row *row) MUST_CHECK;

/* Put the rest into the database; <b> is empty then. */
enum err hold_batch_flush(struct hold_batch *b, struct txn *t) MUST_CHECK;

/* Free every item; <b> is empty then. */
void hold_batch_fini(struct hold_batch *b);

#endif
