/* reload.h - Settings of the log that the config decides. */
#ifndef TG_DAEMON_RELOAD_H
#define TG_DAEMON_RELOAD_H

#include "base/log.h"

struct conf;

/* The log settings of <c>; strings are borrowed from it. */
struct log_settings reload_log_settings(const struct conf *c);

#endif
