/* control_info.h - Admin commands that tell: models, config, live
 * numbers. */
#ifndef TG_DAEMON_CONTROL_INFO_H
#define TG_DAEMON_CONTROL_INFO_H

#include "daemon/control.h"

/* model list: models served and by whom. */
control_fn control_model_list;
/* config show: the running config as YAML, secrets masked. */
control_fn control_config_show;
/* config explain: args {key, model}: which target, which limits, why. */
control_fn control_config_explain;
/* top: counters and gauges since the start, for a live view. */
control_fn control_top;

#endif
