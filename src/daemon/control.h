/* control.h - The admin socket: a unix socket, mode 0600, for the daemon's own
 * user and root alone. One JSON object a line each way:
 *
 *   -> {"cmd": "key create", "args": {"name": "me"}}
 *   <- {"ok": true, "data": {...}}
 *   <- {"ok": false, "error": "a sentence for people"}
 *
 * Commands run on the main thread, so they may wait for the disk. */
#ifndef TG_DAEMON_CONTROL_H
#define TG_DAEMON_CONTROL_H

#include "base/buf.h"
#include "base/err.h"

#include <jansson.h>

struct control;
struct daemon;

/* Most bytes of a reason: a config's mistakes are many. */
#define CONTROL_WHY_BYTES (1024u * 1024)

/* Run one command: <args> is an object, borrowed. Gives a new reference to
 * the answer's data; NULL after a sentence was appended to <why>. */
typedef json_t *control_fn(struct daemon *d, const json_t *args,
                           struct buf *why);

/* A command. */
struct control_cmd {
    const char *name; /* "key create" */
    control_fn *run;
    bool changes; /* something, and so is logged */
};

/* All commands, ended by a NULL name: see control_cmds.c. */
extern const struct control_cmd control_cmds[];

/* Open d->conf->control_socket, replacing one that nobody answers on. The
 * reason of a failure was logged: ERR_EXISTS, ERR_IO, ERR_NOMEM. */
enum err control_open(struct daemon *d, struct control **out) MUST_CHECK;

/* Close every connection, remove the socket file. NULL is fine. */
void control_close(struct control *c);

#endif
