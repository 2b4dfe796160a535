/* ctl_io.h - The control socket from the tool's side, and tables for people. */
#ifndef TG_CTL_CTL_IO_H
#define TG_CTL_CTL_IO_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* Exit statuses of tollctl. */
enum ctl_exit {
    CTL_DONE = 0,
    CTL_REFUSED = 1, /* the daemon or the tool said no; stderr has one line */
    CTL_USAGE = 2,
    CTL_UNREACHABLE = 3,
};

/* A connection to the daemon. */
struct ctl_conn {
    int fd;
    FILE *in; /* owned; reads from fd */
};

/* Connect to the socket <path>. Gives 0, or errno: with ENOENT and ECONNREFUSED
 * no daemon is there. */
int ctl_try(struct ctl_conn *c, const char *path);

/* Say on stderr that ctl_try() gave <reason> for <path>. */
void ctl_say_gone(const char *path, int reason);

/* Connect to the socket <path>. False: the reason is on stderr. */
bool ctl_connect(struct ctl_conn *c, const char *path);

/* Close; fine on a connection that was never opened (fd -1). */
void ctl_close(struct ctl_conn *c);

/* Run one command; <args> is taken (NULL = none). Gives the answer's data as
 * a new reference, or NULL with the reason on stderr and <exit_out> set. */
json_t *ctl_ask(struct ctl_conn *c, const char *cmd, json_t *args,
                enum ctl_exit *exit_out);

/* Print <v> on stdout as a program reads it, with a line break. */
void ctl_put_json(const json_t *v);

/* How a column is aligned and cut. */
struct ctl_column {
    const char *title;
    const char *member; /* of each row object; "a.b" goes into objects */
    bool right;         /* numbers */
};

/* Print the array <rows> as a table with the <n> (at most 16) columns; "-"
 * stands for null. On a terminal, texts are cut so that a row is one line;
 * elsewhere nothing is. Prints <empty> when there are no rows. */
void ctl_table(const json_t *rows, const struct ctl_column *columns, size_t n,
               const char *empty);

/* Print the members of <o> as "name   value" lines, lists joined by commas. */
void ctl_fields(const json_t *o);

#endif
