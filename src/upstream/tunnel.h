/* tunnel.h - The part of a transfer that is a WebSocket tunnel. */
#ifndef TG_UPSTREAM_TUNNEL_H
#define TG_UPSTREAM_TUNNEL_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct xfer;
struct xfer_spec;

/* Make <xf> a tunnel: builds the request head. ERR_NOMEM; ERR_SYNTAX when
 * <spec> makes no request. */
enum err tunnel_prepare(struct xfer *xf,
                        const struct xfer_spec *spec) MUST_CHECK;

/* libcurl has connected: send the head and take over the socket. May end and
 * free <xf>. */
void tunnel_begin(struct xfer *xf);

/* body_ready() was called, or resume() with <resume>. May end and free <xf>. */
void tunnel_work(struct xfer *xf, bool resume);

/* Let go of the socket. */
void tunnel_close(struct xfer *xf);

/* As xfer_deadline(), for the state XFER_TUNNEL. */
uint64_t tunnel_deadline(const struct xfer *xf, const char **text_out);

#endif
