/* upfix.h - For tests of upstream/: a worker with a loop and a pool, one
 * configured upstream, an exchange that can stream a body, and a sink that
 * remembers what it is told. */
#ifndef TG_TESTS_UPFIX_H
#define TG_TESTS_UPFIX_H

#include "lib/rawserver.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/chunkq.h"
#include "base/clock.h"
#include "conf/conf.h"
#include "exchange/exchange.h"
#include "upstream/upstream.h"
#include "wire/http1.h"

/* What a test's sink was told. */
struct seen {
    struct sink sink;
    struct producer *producer;
    int heads;
    int status;
    int64_t length;
    struct headers headers;
    struct buf body; /* unless <forget> */
    uint64_t bytes;  /* of body */
    bool forget;     /* do not keep the body */
    bool ended;
    enum err err;
    char text[512];
    bool sent;       /* xfer_was_sent() in end() */
    int pause_every; /* answer FLOW_PAUSE before every n-th data call */
    int calls;       /* data calls that took bytes */
    bool paused;     /* the last data call was refused */
    bool told;       /* it was refused once already */
    int pauses;
    /* Called at the end of head(), data() and end(), if set. */
    void (*hook)(struct seen *s);
    void *hook_arg;
};

/* A test's world. */
struct upfix {
    struct worker w;
    struct stats stats;
    struct resolver *resolver;
    struct upstream_pool *pool;
    struct arena *arena;
    struct conf_upstream up;
    struct secret key;
    char host[64], origin[128], text[192];
    struct exchange x;
    struct request in;
    struct client client;
    struct chunk_pool chunks;
    int taken; /* body_taken() calls */
    struct http1_header table[HTTP1_FIELDS];
    struct http1_head head;
};

/* Make <f> speak to <host>:<port> (NULL: 127.0.0.1), base path "/v1". */
void upfix_init(struct upfix *f, const char *host, uint16_t port, bool tls);

/* Free everything. */
void upfix_fini(struct upfix *f);

/* Set f->head from header lines, each ended by CRLF. */
void upfix_client(struct upfix *f, const char *lines);

/* A spec for <method> <suffix> with <body> (NULL: none). */
struct xfer_spec upfix_spec(struct upfix *f, const char *method,
                            const char *suffix, const char *body);

/* Make <s> new. */
void seen_init(struct seen *s);
void seen_fini(struct seen *s);

/* Start <spec> into <s>. */
void upfix_start(struct upfix *f, const struct xfer_spec *spec, struct seen *s);

/* Run the loop until <s> has ended. */
void upfix_wait(struct upfix *f, struct seen *s);

/* Run the loop until <flag> is set; the loop waits for events. */
void upfix_until(struct upfix *f, const bool *flag);

/* One turn of the loop, without waiting. */
void upfix_turn(struct upfix *f);

/* start and wait. */
void upfix_run(struct upfix *f, const struct xfer_spec *spec, struct seen *s);

/* The same, with <s> made new. */
void upfix_once(struct upfix *f, const struct xfer_spec *spec, struct seen *s);

/* The body seen, as a C string. */
const char *seen_text(struct seen *s);

#endif
