/* control_info.h - Admin commands that tell: usage, targets, models, config,
 * ledger, live numbers. */
#ifndef TG_DAEMON_CONTROL_INFO_H
#define TG_DAEMON_CONTROL_INFO_H

#include "daemon/control.h"

/* usage: args {key, team, by, since, until}, all optional. */
control_fn control_usage;
/* target list: health, in-flight and last error per upstream. */
control_fn control_target_list;
/* target drain: args {name}. */
control_fn control_target_drain;
/* target resume: args {name}. */
control_fn control_target_resume;
/* model list: models served and by whom. */
control_fn control_model_list;
/* config show: the running config as YAML, secrets masked. */
control_fn control_config_show;
/* config explain: args {key, model}: which target, which limits, why. */
control_fn control_config_explain;
/* ledger verify: proves that the records are whole and the sums true. */
control_fn control_ledger_verify;
/* ledger export: args {since, until}: usage rows, oldest first. */
control_fn control_ledger_export;
/* request show: args {id}: the usage row of one request. */
control_fn control_request_show;
/* top: counters and gauges since the start, for a live view. */
control_fn control_top;

#endif
