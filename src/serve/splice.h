/* splice.h - The request body as a target is to get it: the client's bytes
 * but for the model's name and stream_options. */
#ifndef TG_SERVE_SPLICE_H
#define TG_SERVE_SPLICE_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

struct exchange;
struct buf;

/* The body of <x> with its model named <model>, and with
 * stream_options.include_usage when <add_usage>. When nothing changes
 * <body_out> borrows x->in->body, else it borrows <room>, which the caller
 * has initialised with a cap and keeps. ERR_NOMEM, ERR_TOO_LARGE. */
enum err splice_request(struct exchange *x, struct str model, bool add_usage,
                        struct buf *room, struct str *body_out) MUST_CHECK;

#endif
