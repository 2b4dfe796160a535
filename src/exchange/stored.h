/* stored.h - A reply that no attempt of the exchange made: it was kept, or is
 * made for another one. */
#ifndef TG_EXCHANGE_STORED_H
#define TG_EXCHANGE_STORED_H

#include "base/str.h"

struct buf;
struct exchange;
struct producer;
struct reply_head;

/* Such a reply, and what is to be told of it. */
struct stored_reply {
    const struct reply_head *head; /* arena */
    struct buf *body;              /* all of it, moved away; or NULL */
    struct producer *producer;     /* gives it, where <body> is NULL */
    struct str label;              /* conf text or static: for metrics */
};

/* Have <x>, for which nothing runs, answered with <r>, whatever failed until
 * now: relay sends it as it is. */
void stored_take(struct exchange *x, const struct stored_reply *r);

/* Note who made it, under which name, and its finish reason: all of them live
 * as long as <x>. */
void stored_name(struct exchange *x, struct str target, struct str target_model,
                 const char finish[32]);

#endif
