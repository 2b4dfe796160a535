/* control_reconcile.h - The admin command on what was lost with the machine:
 * counted as spent, though nobody saw it. */
#ifndef TG_DAEMON_CONTROL_RECONCILE_H
#define TG_DAEMON_CONTROL_RECONCILE_H

#include "daemon/control.h"

/* ledger reconcile: args {key, team, take_back, reason}, all optional. Lists
 * what is lost; with take_back ("all", or an amount as budgets have it), takes
 * that back from the key or team first, or with "all" from everybody. */
control_fn control_ledger_reconcile;

#endif
