/* producer.h - The pull side of a reply's source. A producer pushes into its
 * sink (sink.h); the consumer steers it with these. */
#ifndef TG_EXCHANGE_PRODUCER_H
#define TG_EXCHANGE_PRODUCER_H

struct producer;
struct sink;

/* What a producer can be told; all on the exchange's worker. */
struct producer_ops {
    /* Go on after FLOW_PAUSE; data arrives from a later turn of the loop. */
    void (*resume)(struct producer *p);
    /* More request-body bytes (or their end) are in x->in->stream. */
    void (*body_ready)(struct producer *p);
    /* Send everything from now on to <s>. */
    void (*redirect)(struct producer *p, struct sink *s);
    /* Stop at once and forget the sink; no call comes after this. Not to be
     * called from inside a sink call of the same producer. */
    void (*cancel)(struct producer *p);
    /* What quota_ask() or quota_grow() waited for may be there: ask again. NULL
     * where whoever takes the bytes does that. */
    void (*quota_ready)(struct producer *p);
};

/* A producer; embed it first in your own struct. */
struct producer {
    const struct producer_ops *ops; /* static */
};

#endif
