/* child.h - Run a function in a forked child, so that a damaged file may kill
 * the child instead of us. The child holds no descriptor of ours, dies with
 * the thread that started it, and answers in text. */
#ifndef TG_STORE_CHILD_H
#define TG_STORE_CHILD_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* What the child runs; what it appends to <out> comes back to the parent. It
 * may allocate, must not take locks of other threads and must not log. */
typedef enum err child_fn(void *arg, struct buf *out);

/* A child under way. */
struct child {
    pid_t pid;
    int fd; /* its text; owned */
};

/* Start <fn>(<arg>) in a child. ERR_IO when the system refuses. */
enum err child_start(child_fn *fn, void *arg,
                     struct child *child_out) MUST_CHECK;

/* Wait for <c>, append its text to <out> (cut where <out> is full) and give
 * what <fn> gave. When the child died instead, ERR_CORRUPT is given and a
 * phrase saying how is appended: "reading it ended with signal 7 (Bus
 * error)". */
enum err child_finish(struct child *c, struct buf *out) MUST_CHECK;

/* In the child: be who owns <dir>, where we may choose, so that what is made is
 * of use to the owner. ERR_IO: errno tells why. */
enum err child_become_owner(const char *dir) MUST_CHECK;

#endif
