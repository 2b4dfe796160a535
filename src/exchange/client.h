/* client.h - What later stages may do to the client's connection, without
 * knowing front/. Implemented by front/conn_out.c and conn_in.c. Framing
 * (chunked, Content-Length, HEAD, HTTP/1.0, Date, Connection) is front's. */
#ifndef TG_EXCHANGE_CLIENT_H
#define TG_EXCHANGE_CLIENT_H

#include "base/str.h"
#include "exchange/sink.h"

struct buf;
struct client;

/* How the request body is taken in. */
enum body_mode {
    BODY_IDLE = 0, /* not read yet; the client has not been told to go on */
    BODY_COLLECT,  /* into x->in->body; WAKE_BODY once, when complete */
    BODY_STREAM,   /* into x->in->stream; on each read producer->body_ready, or
                    * WAKE_BODY while there is no producer */
    BODY_DROP,     /* read and thrown away, bounded, so that a client which
                    * still sends can read our reply */
};

/* Operations on a connection; all queue, none blocks, none calls back into a
 * stage before it returns. */
struct client_ops {
    /* Begin or change taking in the body; sends 100 Continue when due. */
    void (*read_body)(struct client *c, enum body_mode mode);
    /* x->in->stream was consumed; read on if reading was stopped for it. */
    void (*body_taken)(struct client *c);
    /* Send an interim or final head. length -1 = chunked (or close on 1.0). */
    void (*reply)(struct client *c, const struct reply_head *head);
    /* Queue body bytes, copied. */
    void (*send)(struct client *c, struct str bytes);
    /* Queue the bytes of <b> without copying; <b> is empty afterwards. */
    void (*send_buf)(struct client *c, struct buf *b);
    /* Bytes queued and not yet taken by the kernel. */
    size_t (*queued)(const struct client *c);
    /* Bytes above which data() must answer FLOW_PAUSE now; depends on how
     * many streams share the worker's memory. */
    size_t (*high_water)(const struct client *c);
    /* The reply is complete: keep the connection or close it gently. */
    void (*finish)(struct client *c);
    /* Offer what is queued to the kernel now, not at the end of the turn. */
    void (*flush)(struct client *c);
    /* The reply cannot be completed: close so that the client sees a broken
     * transfer (no last chunk, RST), after sending what is queued. */
    void (*abort)(struct client *c);
    /* Reply 101 was sent: from now on raw bytes both ways. Input goes into
     * x->in->stream, send() is unframed. */
    void (*tunnel)(struct client *c);
};

/* A connection as later stages see it; first member of struct conn. */
struct client {
    const struct client_ops *ops; /* static */
};

#endif
