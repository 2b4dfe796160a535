/* fold_priv.h - What the parts of the aggregator share. Not for others. */
#ifndef TG_WIRE_FOLD_PRIV_H
#define TG_WIRE_FOLD_PRIV_H

#include "wire/fold.h"
#include "wire/jmerge.h"

/* A stream that is being put together; zeroed but for what is given. */
struct fold {
    struct jmerge m;
    enum endpoint kind;
    const struct usage *told; /* borrowed, or NULL */
    struct jnode top;         /* the reply so far */
    struct jnode *list;       /* its choices, content blocks or, for responses,
                               * items; NULL until there is one */
    struct str usage;         /* chat: the last that was said, raw */
    struct str head;          /* chat: what stood before the `choices` of the
                               * last chunk; most chunks repeat it */
    struct jmember final;     /* responses: the whole of it, once it came */
    bool ended;               /* messages: message_stop came */
};

/* Take one event: <root> is its data, a validated object. What is wrong goes
 * to f->m.err. */
void fold_chat_event(struct fold *f, const struct jmember *root);
void fold_message_event(struct fold *f, const struct jmember *root);

/* All events were taken: append the reply. */
enum err fold_chat_put(struct fold *f, struct buf *out) MUST_CHECK;
enum err fold_message_put(struct fold *f, struct buf *out) MUST_CHECK;

#endif
