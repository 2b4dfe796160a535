/* tap.h - Writes what a client is sent to the tape of its exchange, if it has
 * one: for others who asked the same, and to be stored. Pings and error events
 * of ours are not part of a reply and stay off it. */
#ifndef TG_RELAY_TAP_H
#define TG_RELAY_TAP_H

#include "base/str.h"

#include <stdbool.h>

struct exchange;
struct reply_head;
struct sse_event;
struct sse_verdict;

/* A reply that flows begins: <head> as the client is sent it, <events> where it
 * is an event stream. What nobody else may have leaves the tape blank. */
void tap_start(struct exchange *x, const struct reply_head *head, bool events);

/* The next event, or piece of another body. */
void tap_put(struct exchange *x, struct str bytes);

/* Whether others read the reply of <x> from its beginning: it is held up for
 * none of them, nor for its own client. At most what a tape keeps whole is
 * queued for that one. */
bool tap_is_shared(const struct exchange *x);

/* What the next event means: one that cannot be read spoils the reply. */
void tap_event(struct exchange *x, const struct sse_event *ev,
               const struct sse_verdict *v);

/* It came to its proper end. */
void tap_done(struct exchange *x);

/* All of a reply that was collected: x->work->head with <body>. */
void tap_whole(struct exchange *x, struct str body);

#endif
