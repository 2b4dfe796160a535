/* control_info.h - Admin commands that tell: targets, models, config, live
 * numbers. */
#ifndef TG_DAEMON_CONTROL_INFO_H
#define TG_DAEMON_CONTROL_INFO_H

#include "daemon/control.h"

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
/* top: counters and gauges since the start, for a live view. */
control_fn control_top;

#endif
