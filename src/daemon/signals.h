/* signals.h - Signals and the main thread's tick. */
#ifndef TG_DAEMON_SIGNALS_H
#define TG_DAEMON_SIGNALS_H

#include "base/err.h"

struct daemon;

/* Watch SIGHUP (reload), SIGTERM and SIGINT (drain; again: stop at once),
 * SIGUSR1 (reopen logs), and start the watchdog's tick. ERR_NOMEM. */
enum err signals_open(struct daemon *d) MUST_CHECK;

/* Stop watching. */
void signals_close(struct daemon *d);

/* Tell the service manager, if one asks to be told: "READY=1". */
void signals_notify(const char *state);

#endif
