/* control_keys.h - Admin commands on keys and teams; see control.h for the
 * shape of a command and doc/man/tollctl.8 for what each one does. */
#ifndef TG_DAEMON_CONTROL_KEYS_H
#define TG_DAEMON_CONTROL_KEYS_H

#include "daemon/control.h"

struct key_limits;

/* {"rpm","tpm","parallel"}; 0 is no limit. New reference. */
json_t *control_limits_json(const struct key_limits *l);

/* key create: args of a key's spec; the answer carries "key", the secret. */
control_fn control_key_create;
/* key list: every key, oldest first. */
control_fn control_key_list;
/* key show: args {id}: id, name or secret. */
control_fn control_key_show;
/* key update: args {id} and the spec's members to change. */
control_fn control_key_update;
/* key block: args {id}. */
control_fn control_key_block;
/* key unblock: args {id}. */
control_fn control_key_unblock;
/* key rotate: args {id, grace}; the answer carries "key". */
control_fn control_key_rotate;
/* key delete: args {id}. */
control_fn control_key_delete;
/* team create: args of a team's spec. */
control_fn control_team_create;
/* team list: every team by name. */
control_fn control_team_list;
/* team show: args {name}. */
control_fn control_team_show;
/* team update: args {name} and the spec's members to change. */
control_fn control_team_update;
/* team delete: args {name}. */
control_fn control_team_delete;

#endif
