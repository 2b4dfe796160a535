/* reload.h - What is done with a config at the start and at each reload. */
#ifndef TG_DAEMON_RELOAD_H
#define TG_DAEMON_RELOAD_H

#include "base/log.h"

struct buf;
struct conf;

/* The log settings of <c>; strings are borrowed from it. */
struct log_settings reload_log_settings(const struct conf *c);

/* Log what prices <c> has, and which of its models have none; the latter is
 * also appended to <report>, if there is one, a line each. */
void reload_tell_prices(const struct conf *c, struct buf *report);

#endif
