/* sink.h - Where a reply goes: a producer (upstream, engine, a stored reply)
 * pushes one head, then bytes, then one end. All calls come from the worker's
 * loop and never from inside the call that started the producer. */
#ifndef TG_EXCHANGE_SINK_H
#define TG_EXCHANGE_SINK_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct arena;

/* One header field; name and value live as long as the arena they are in. */
struct header {
    struct header *next; /* arena; order of arrival */
    struct str name;     /* as received, a token */
    struct str value;    /* trimmed, no CR, LF, NUL */
};

/* An ordered list of fields; repeated names stay repeated. Zeroed = empty. */
struct headers {
    struct header *first; /* arena */
    struct header *last;  /* arena */
    unsigned count;
};

/* Append a field whose bytes are copied into <a>. ERR_SYNTAX when name is no
 * token or value holds CR, LF or NUL; ERR_NOMEM. */
enum err headers_add(struct headers *h, struct arena *a, struct str name,
                     struct str value) MUST_CHECK;

/* Append <from>, a field of another list, under <name>, a token; the bytes of
 * both are borrowed and must live as long as <a>. ERR_NOMEM. */
enum err headers_share(struct headers *h, struct arena *a, struct str name,
                       const struct header *from) MUST_CHECK;

/* The first field called <name> (ASCII case ignored), or NULL. */
const struct header *headers_find(const struct headers *h, struct str name);

/* The value of the first field called <name>, or the empty slice. */
struct str headers_value(const struct headers *h, struct str name);

/* Whether <h> says that the body is in some content coding, so that it cannot
 * be read as it is. */
bool headers_are_coded(const struct headers *h);

/* The head of a reply. */
struct reply_head {
    int status;             /* 200..599 */
    struct headers headers; /* end-to-end fields only; no framing fields */
    int64_t length;         /* body bytes if known, else -1 */
};

/* How a producer ended. */
struct produce_end {
    enum err err;     /* ERR_OK: the transport says the body is complete */
    const char *text; /* static or arena: what happened, for logs; or NULL */
};

/* Whether a sink takes more bytes now. */
enum flow {
    FLOW_MORE = 0, /* bytes taken, go on */
    FLOW_PAUSE,    /* bytes NOT taken: offer them again after resume() */
};

struct sink;

/* What a sink does; every function is called on the exchange's worker. */
struct sink_ops {
    /* The head, once, before any byte. <head> and its fields live in the
     * exchange's arena. */
    void (*head)(struct sink *s, const struct reply_head *head);
    /* Body bytes, borrowed for the call. */
    enum flow (*data)(struct sink *s, struct str bytes);
    /* The end, once; the producer is finished and must not be used again. May
     * come without a head when nothing arrived. */
    void (*end)(struct sink *s, const struct produce_end *how);
};

/* A sink; embed it first in your own struct. */
struct sink {
    const struct sink_ops *ops; /* static */
};

#endif
