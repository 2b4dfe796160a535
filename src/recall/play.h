/* play.h - Gives the frames of a tape to a sink: what was stored, or what
 * somebody else is being answered right now. */
#ifndef TG_RECALL_PLAY_H
#define TG_RECALL_PLAY_H

#include <stdbool.h>

struct exchange;
struct producer;
struct tape;

/* A producer that plays <t> for <x> from its beginning, once it is resumed.
 * <paced>: each frame as long after the head as it came then. It lives in the
 * arena of <x>; its end tells whether the tape was complete. NULL when the
 * beginning of <t> is not there, or without memory. */
struct producer *play_new(struct exchange *x, struct tape *t, bool paced);

#endif
