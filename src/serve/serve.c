/* serve.c - What tollgate serves itself is answered at once; all else is asked
 * of targets, by loop.c. */
#include "serve/serve.h"

#include "exchange/exchange.h"
#include "serve/loop.h"

enum verdict serve_run(struct exchange *x)
{
    if ((x->in->ep.row->flags & ENDPOINT_LOCAL) == 0)
        return loop_begin(x);
    x->w->svc->local(x);
    return VERDICT_GO;
}

enum verdict serve_resume(struct exchange *x, enum wake why)
{
    return loop_resume(x, why);
}
