/* upstream.h - Requests to providers: one pool of connections a worker, one
 * transfer an attempt, one resolver and one table of discovered models a
 * process. Decides how a request looks on the wire to a provider and what of
 * its answer counts as an answer; never retries, never routes, never looks
 * into a body. What goes wrong comes out of sink->end() as an error code. */
#ifndef TG_UPSTREAM_UPSTREAM_H
#define TG_UPSTREAM_UPSTREAM_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct conf;
struct conf_timeouts;
struct conf_upstream;
struct discover;
struct exchange;
struct http1_head;
struct producer;
struct resolver;
struct sink;
struct upstream_pool;
struct worker;

/* --- the process -------------------------------------------------------- */

/* Set libcurl and OpenSSL up; once, from the main thread, before any other
 * thread runs and before any other use of OpenSSL.
 * ERR_IO when the library refuses. */
enum err upstream_boot(void) MUST_CHECK;

/* A resolver shared by all workers; its threads start on demand. NULL without
 * memory. */
struct resolver *resolver_new(void);

/* Have the certificate authorities of the system read by a thread of <r>: at
 * the start, so that no worker has to, and at a reload, for they may have
 * changed. */
void resolver_refresh_trust(struct resolver *r);

/* Stop the threads and free <r>; after every pool. Waits for a lookup under
 * way for at most a second. NULL is fine. */
void resolver_free(struct resolver *r);

/* --- one worker --------------------------------------------------------- */

/* The pool of <w> (its base and stats are set), on the loop of <w>. <r> is
 * borrowed until upstream_pool_free(). NULL without memory. */
struct upstream_pool *upstream_pool_new(struct worker *w, struct resolver *r);

/* Close all connections and free <p>; transfers still open are dropped
 * without a word to their sinks. On the worker's thread, or after it ended.
 * NULL is fine. */
void upstream_pool_free(struct upstream_pool *p);

/* Transfers and tunnels now open. */
unsigned upstream_pool_open(const struct upstream_pool *p);

/* Look at every deadline now; for a clock that a test has moved. */
void upstream_pool_check_deadlines(struct upstream_pool *p);

/* --- one attempt -------------------------------------------------------- */

/* Where a request's body is. */
enum xfer_body {
    XFER_BODY_NONE = 0, /* POST, PUT and PATCH still send Content-Length: 0 */
    XFER_BODY_BYTES,    /* spec.body */
    XFER_BODY_STREAM,   /* x->in->stream; body_ready() tells of more */
};

/* What to send. The struct itself is only read during the call; what it
 * points to is borrowed as told. Zeroed members are sensible. */
struct xfer_spec {
    const struct conf_upstream *up; /* borrowed until end() or cancel() */
    unsigned key_index;             /* into up->keys, taken modulo n_keys */
    struct str method;              /* a token: "POST" */
    struct str suffix;              /* raw, what follows base_url: "/models" */
    struct str query;               /* raw, with its '?', or empty */
    struct str model;               /* name there; Azure's paths hold it */
    const struct http1_head *client_head; /* its end-to-end fields cross, NULL
                                           * when nobody asked; for the call */
    enum xfer_body body_kind;
    struct str body;      /* borrowed: see xfer_needs_body() */
    int64_t length;       /* of a streamed body, -1 = unknown */
    bool streaming_reply; /* small buffers: events are expected */
    bool connect_only;    /* just connect: TCP, proxy, TLS. end() says ERR_OK
                           * without a head when that is done */
    int64_t deadline_us;  /* monotonic end of it all; 0: timeouts->total_ms
                           * from now */
    const struct conf_timeouts *timeouts; /* NULL: those of <up>; copied */
    struct arena *arena; /* reply head, texts; NULL: that of <x> */
};

/* Send a request; the reply goes to <s>, by calls from later turns of the
 * loop. <x> lends its arena and its streamed body; it may be NULL when <spec>
 * has an arena and no streamed body. Fields that must not cross are left out:
 * hop-by-hop ones, those that Connection names, Host, keys, cookies,
 * Content-Length, Expect; Accept-Encoding becomes identity.
 * Any failure comes through s->end(), never from here. NULL only without
 * memory. May be called from inside sink calls of other producers.
 *
 * end() gives: ERR_UP_UNAVAILABLE no address, connection refused, proxy
 * failed; ERR_UP_TLS handshake or certificate; ERR_UP_TIMEOUT one of the
 * deadlines, the text says which; ERR_UP_RESET broken before the head;
 * ERR_UP_BAD not HTTP, or no HTTP we trust, before the head went out;
 * ERR_UP_INCOMPLETE anything that breaks the body off after the head (a
 * deadline stays ERR_UP_TIMEOUT); ERR_NOMEM a bound of ours. A request that
 * may have reached an upstream is never sent a second time, but for GET and
 * HEAD on a kept-alive connection found dead. */
struct producer *xfer_start(struct upstream_pool *p, struct exchange *x,
                            const struct xfer_spec *spec, struct sink *s);

/* Whether bytes of the request may have left; false proves that the upstream
 * has not seen it. Until end() has returned, end() included. */
bool xfer_was_sent(const struct producer *p);

/* Whether spec.body is still read: true until the upload is done. May only
 * turn false; once it is false the bytes may be freed. */
bool xfer_needs_body(const struct producer *p);

/* Like xfer_start() for a WebSocket upgrade: <spec> has no body; the answer's
 * head comes with status 101 and its upgrade fields, then raw bytes flow both
 * ways: the upstream's to s->data(), the client's from x->in->stream on
 * body_ready(). Any other answer comes as an ordinary reply. Idle and total
 * deadlines end with the head. <x> must not be NULL. */
struct producer *tunnel_start(struct upstream_pool *p, struct exchange *x,
                              const struct xfer_spec *spec, struct sink *s);

/* --- discovered models -------------------------------------------------- */

/* What is known about a model at an upstream without `models`. */
enum discover_answer {
    DISCOVER_UNKNOWN = 0, /* the upstream was never asked or never answered */
    DISCOVER_NO,
    DISCOVER_YES,
};

/* The models of one upstream; immutable, counted. */
struct discover_list {
    uint64_t fetched_wall_ms;
    size_t count;
    const struct str *ids; /* sorted by bytes, each followed by a NUL */
};

/* The table of discovered models. <r> lends its threads for parsing and is
 * borrowed until discover_free(). NULL without memory. */
struct discover *discover_new(struct resolver *r);

/* Free <d>; no worker runs any more. NULL is fine. */
void discover_free(struct discover *d);

/* Ask the upstreams of w->conf that have no `models`, now and every five
 * minutes (15 s after a failure), over w->upstreams. Call it on one worker
 * only, on its thread, at its start and after each reload. Without memory
 * nothing is asked until the next call. */
void discover_run(struct discover *d, struct worker *w);

/* Stop asking; on the worker that discover_run() was called on, before its
 * pool is freed. */
void discover_stop(struct discover *d);

/* Whether upstream <name> said that it serves <model>. Any thread. */
enum discover_answer discover_serves(struct discover *d, struct str name,
                                     struct str model);

/* The list of upstream <name>, with a reference for discover_list_unref(), or
 * NULL when nothing is known. Any thread. */
const struct discover_list *discover_list_get(struct discover *d,
                                              struct str name);

/* Drop a reference; NULL is fine. Any thread. */
void discover_list_unref(const struct discover_list *l);

#endif
