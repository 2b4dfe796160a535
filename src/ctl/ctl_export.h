/* ctl_export.h - `tollctl ledger export`: rows, a page at a time. */
#ifndef TG_CTL_CTL_EXPORT_H
#define TG_CTL_CTL_EXPORT_H

#include "ctl/ctl_cmds.h"
#include "ctl/ctl_io.h"

/* Ask for every row of the span in <args> (taken) and print them: with <show>
 * as one table, without as one JSON value, written as the pages come. When a
 * page fails that value stays open, so that it cannot be taken for whole. */
enum ctl_exit ctl_export(struct ctl_conn *c, json_t *args, ctl_show_fn *show);

#endif
