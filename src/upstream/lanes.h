/* lanes.h - The multi handles of a pool. libcurl looks through all connections
 * to a host for each transfer, so that a thousand at once would make each of
 * them cost half as much again: a pool has some multi handles, the lanes, and
 * fills one after the other. With little to do all are in the first, where
 * every idle connection is; HTTP/2, which shares connections, is always there.
 * Private to upstream/. */
#ifndef TG_UPSTREAM_LANES_H
#define TG_UPSTREAM_LANES_H

#include <curl/curl.h>
#include <event2/event_struct.h>
#include <stdbool.h>

struct upstream_pool;
struct xfer;

/* Lanes of a pool, and the transfers of one before the next is used. When all
 * have that many, the one with the fewest is. */
#define LANES_MAX  16
#define LANE_XFERS 128

/* One multi handle on the loop. */
struct lane {
    struct upstream_pool *pool; /* borrowed */
    CURLM *multi;               /* owned */
    struct event timer;         /* libcurl's one timer */
    unsigned n;                 /* transfers in it */
};

/* Open the first lane of <p>; false without memory. */
bool lanes_open(struct upstream_pool *p);

/* Close all; no transfer may be in them. */
void lanes_close(struct upstream_pool *p);

/* Hand <xf>'s easy handle to the lane that suits it: xf->lane. Callbacks may
 * run. */
CURLMcode lanes_add(struct upstream_pool *p, struct xfer *xf);

/* Take it out again. */
void lanes_remove(struct xfer *xf);

/* Tell the lane of a socket what happened on it. */
void lane_act(struct lane *l, curl_socket_t fd, int what);

#endif
