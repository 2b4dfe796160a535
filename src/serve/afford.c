/* afford.c - See afford.h. */
#include "serve/afford.h"

#include "account/price.h"
#include "conf/conf.h"
#include "exchange/exchange.h"
#include "exchange/quota.h"
#include "serve/route.h"

enum verdict afford_run(struct exchange *x, const struct choice *c)
{
    const struct price_quote price =
        price_find(&x->conf->price, c->up ? c->up->name : c->engine->name,
                   c->model, !c->up, x->start_wall_ms);
    enum err e = quota_open(x, &price, &x->work->quota);

    return e == ERR_OK ? VERDICT_GO : exchange_fail(x, e, NULL);
}
