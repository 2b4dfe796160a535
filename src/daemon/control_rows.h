/* control_rows.h - Admin commands that tell what requests used and cost: sums,
 * rows, and the proof that they agree. */
#ifndef TG_DAEMON_CONTROL_ROWS_H
#define TG_DAEMON_CONTROL_ROWS_H

#include "daemon/control.h"

/* usage: args {key, team, by, since, until}, all optional. */
control_fn control_usage;
/* ledger verify: proves that the records are whole and the sums true. */
control_fn control_ledger_verify;
/* ledger export: args {since, until}: usage rows, oldest first. */
control_fn control_ledger_export;
/* request show: args {id}: the usage row of one request. */
control_fn control_request_show;

#endif
