/* splice.h - The request body as a target is to get it: the client's bytes
 * but for the model's name, stream_options and the cap that budgets afford. */
#ifndef TG_SERVE_SPLICE_H
#define TG_SERVE_SPLICE_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>

struct conf_upstream;
struct exchange;
struct buf;

/* The body of <x> for <up> with its model named <model>, and with
 * stream_options.include_usage when <add_usage>. A model that stood in the
 * path is put into the body, in the place of any there, unless it stands in
 * the path again; only into a form that has no part for it, it is not. When
 * nothing changes <body_out> borrows x->in->body, else it borrows <room>, which
 * the caller has initialised with a cap and keeps. ERR_NOMEM, ERR_TOO_LARGE. */
enum err splice_request(struct exchange *x, const struct conf_upstream *up,
                        struct str model, bool add_usage, struct buf *room,
                        struct str *body_out) MUST_CHECK;

#endif
