/* splice.c - See splice.h. JSON is edited by byte ranges and never written
 * anew; of a form only the value of the part `model` changes. */
#include "serve/splice.h"

#include "exchange/exchange.h"
#include "upstream/provider.h"
#include "wire/jscan.h"
#include "wire/jsplice.h"

/* Have the JSON body name <model>, whatever it says now. */
static enum err model_put(struct exchange *x, struct str model,
                          struct jsplice *s)
{
    const struct jscan *scan = x->ask->scan;
    const struct jmember *m = &scan->m[JREQ_MODEL];
    struct str quoted = json_quote(x->arena, model);

    if (!quoted.p)
        return ERR_NOMEM;
    if (m->type == JT_NONE)
        return jsplice_insert(s, scan->root.value, STR("model"), quoted);
    return str_eq(m->value, quoted) ? ERR_OK
                                    : jsplice_replace(s, m->value, quoted);
}

static enum err splice_json(struct exchange *x, struct str model,
                            bool add_usage, struct buf *room)
{
    struct jsplice s;
    enum err e = ERR_OK;

    jsplice_init(&s, buf_str(&x->in->body), x->arena);
    if (model.len > 0)
        e = model_put(x, model, &s);
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

    if (at == 0 || str_eq(model, str_of(body.p + at, x->ask->model_len)))
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

enum err splice_request(struct exchange *x, const struct conf_upstream *up,
                        struct str model, bool add_usage, struct buf *room,
                        struct str *body_out)
{
    enum err e = ERR_OK;

    switch (x->ask->where) {
    case MODEL_JSON:
        if (str_eq(model, x->ask->model))
            model.len = 0; /* as it is, however it is written */
        break;
    case MODEL_MULTIPART:
        break;
    case MODEL_PATH:
        if (provider_path_has_model(up, x->in->ep.suffix))
            model.len = 0;
        break;
    case MODEL_NOWHERE:
        model.len = 0;
        break;
    }
    if (x->ask->scan && x->ask->scan->root.type == JT_OBJECT)
        e = splice_json(x, model, add_usage, room);
    else if (model.len > 0)
        e = splice_form(x, model, room);
    if (e != ERR_OK)
        return e;
    *body_out = room->len > 0 ? buf_str(room) : buf_str(&x->in->body);
    return ERR_OK;
}
