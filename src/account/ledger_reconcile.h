/* ledger_reconcile.h - What counts as spent though nobody saw it: it was leased
 * when the machine went down, and the journals that would tell may lack their
 * ends. It is told, and taken back on an operator's word. */
#ifndef TG_ACCOUNT_LEDGER_RECONCILE_H
#define TG_ACCOUNT_LEDGER_RECONCILE_H

#include "account/ledger.h"
#include "account/spend.h"

/* List the owners of whom something is lost, as of <now_ms>: in windows that
 * are over nothing is. Free it with spend_map_fini(). ERR_LEDGER when rows
 * cannot be folded now, ERR_CORRUPT, ERR_IO, ERR_NOMEM. */
enum err ledger_lost_list(struct ledger *l, int64_t now_ms,
                          struct spend_map *out) MUST_CHECK;

/* Take <less>, by window, back from what is lost of <name>, durably; never
 * more than that. *taken_out is what was. ERR_NOT_FOUND when it was nothing,
 * ERR_LEDGER when the database refuses. Not for a worker's loop. See
 * accounts_take_back(). */
enum err ledger_take_back(struct ledger *l, struct str name,
                          const struct budget_amounts less[BUDGET_WINDOW_COUNT],
                          struct spend *taken_out) MUST_CHECK;

#endif
