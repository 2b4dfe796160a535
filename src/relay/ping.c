/* ping.c - See ping.h. Pings in mode `chunk` must look like the stream's own
 * chunks: clients take id, model and created from whichever comes. */
#include "relay/ping.h"

#include "conf/conf.h"
#include "exchange/exchange.h"
#include "wire/jscan.h"
#include "wire/jsplice.h"
#include "wire/sse.h"

struct str ping_shape(struct exchange *x, struct str data)
{
    const struct jmember id = jscan_find(data, "id");
    const struct jmember created = jscan_find(data, "created");
    struct str model;

    if (id.type != JT_STRING || created.type != JT_NUMBER)
        return STR("");
    model = json_quote(x->arena, x->ask->model);
    if (!model.p)
        return STR("");
    return str_from(arena_printf(
        x->arena,
        "{\"id\":%.*s,\"object\":\"chat.completion.chunk\","
        "\"created\":%.*s,\"model\":%.*s,\"choices\":[{"
        "\"index\":0,\"delta\":{},\"finish_reason\":null}]}",
        STR_ARG(id.value), STR_ARG(created.value), STR_ARG(model)));
}

enum err ping_put(const struct exchange *x, struct str shape, struct buf *out)
{
    if (x->in->ep.shape == ENDPOINT_SHAPE_ANTHROPIC)
        return sse_put(out, STR("ping"), STR("{\"type\": \"ping\"}"));
    if (x->conf->keepalive == CONF_KEEPALIVE_CHUNK && shape.len > 0)
        return sse_put(out, STR(""), shape);
    return sse_put_ping(out);
}
