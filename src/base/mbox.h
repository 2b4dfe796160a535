/* mbox.h - Many-to-one mailbox between threads: any thread pushes without
 * locks, the owner drains in one callback of its loop. A message's ownership
 * moves with it. Messages of one sender arrive in the order pushed. */
#ifndef TG_BASE_MBOX_H
#define TG_BASE_MBOX_H

#include "base/err.h"

#include <stdatomic.h>
#include <stddef.h>

/* Link of a message; stands inside the sender's struct. Use MBOX_ENTRY() to
 * get back. */
struct mbox_msg {
    struct mbox_msg *next; /* the mailbox's while the message is in it */
};

/* The struct of type <type> whose member <member> is the link <m>. */
#define MBOX_ENTRY(m, type, member)                                            \
    ((type *)(void *)((char *)(m)-offsetof(type, member)))

/* A mailbox. Fields are its own. */
struct mbox {
    _Atomic(struct mbox_msg *) pushed; /* newest first; any thread */
    struct mbox_msg *ready;            /* oldest first; the owner's alone */
    int fd;                            /* eventfd, non-blocking; owned */
};

/* What the owner does with one message; it now owns <m> and may free it. */
typedef void mbox_fn(struct mbox_msg *m, void *arg);

/* Make <mb> empty and open its eventfd. ERR_IO when the system refuses. */
enum err mbox_init(struct mbox *mb) MUST_CHECK;

/* Close <mb>. It must be empty and no thread may push any more: drain it
 * after the senders have stopped. Zeroed memory with fd -1 is fine, too. */
void mbox_fini(struct mbox *mb);

/* Hand <m> over to the owner of <mb>; wakes it when the mailbox was empty.
 * Any thread, never blocks, cannot fail. */
void mbox_push(struct mbox *mb, struct mbox_msg *m);

/* The descriptor that is readable while messages wait; for the owner's loop
 * (level triggered), which then calls mbox_drain(). */
int mbox_fd(const struct mbox *mb);

/* Owner only: call <fn>(message, <arg>) for at most <max> waiting messages (0:
 * no limit), oldest first, and return how many. When some remain the
 * descriptor stays readable. <fn> may push to <mb>; those wait for the next
 * drain. */
size_t mbox_drain(struct mbox *mb, size_t max, mbox_fn *fn, void *arg);

#endif
