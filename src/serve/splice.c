/* splice.c - See splice.h. JSON is edited by byte ranges and never written
 * anew; of a form only the value of the part `model` changes. */
#include "serve/splice.h"

#include "exchange/exchange.h"
#include "wire/jscan.h"
#include "wire/jsplice.h"

static enum err splice_json(struct exchange *x, struct str model,
                            bool add_usage, struct buf *room)
{
    struct jsplice s;
    enum err e = ERR_OK;

    jsplice_init(&s, buf_str(&x->in->body), x->arena);
    if (x->ask->where == MODEL_JSON && !str_eq(model, x->ask->model))
        e = jsplice_rename(&s, &x->ask->scan->m[JREQ_MODEL], model);
    if (e == ERR_OK && add_usage)
        e = jsplice_want_usage(&s, x->ask->scan);
    if (e != ERR_OK || s.count == 0)
        return e;
    e = buf_reserve(room, jsplice_len(&s));
    return e == ERR_OK ? jsplice_put(&s, room) : e;
}

static enum err splice_form(struct exchange *x, struct str model,
                            struct buf *room)
{
    struct str body = buf_str(&x->in->body);
    size_t at = (size_t)x->ask->model_at;
    enum err e;

    if (str_eq(model, x->ask->model))
        return ERR_OK;
    e = buf_reserve(room, body.len - x->ask->model_len + model.len);
    if (e == ERR_OK)
        e = buf_put(room, body.p, at);
    if (e == ERR_OK)
        e = buf_put_str(room, model);
    if (e == ERR_OK)
        e = buf_put_str(room, str_skip(body, at + x->ask->model_len));
    return e;
}

enum err splice_request(struct exchange *x, struct str model, bool add_usage,
                        struct buf *room, struct str *body_out)
{
    enum err e = ERR_OK;

    if (x->ask->where == MODEL_MULTIPART)
        e = splice_form(x, model, room);
    else if (x->ask->scan && x->ask->scan->root.type == JT_OBJECT)
        e = splice_json(x, model, add_usage, room);
    if (e != ERR_OK)
        return e;
    *body_out = room->len > 0 ? buf_str(room) : buf_str(&x->in->body);
    return ERR_OK;
}
