/* control_target.h - Admin commands about upstreams and engine models as
 * targets of requests. */
#ifndef TG_DAEMON_CONTROL_TARGET_H
#define TG_DAEMON_CONTROL_TARGET_H

#include "daemon/control.h"

/* target list: of each target and each of its keys whether requests may go
 * there, what is under way, and what failed last. */
control_fn control_target_list;
/* target drain: args {name}. */
control_fn control_target_drain;
/* target resume: args {name}. Forgets failures and rests, too. */
control_fn control_target_resume;

#endif
