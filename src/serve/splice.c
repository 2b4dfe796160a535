/* splice.c - See splice.h. JSON is edited by byte ranges and never written
 * anew; of a form only the value of the part `model` changes. */
#include "serve/splice.h"

#include "conf/conf.h"
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

static bool ends_in(struct str s, struct str tail)
{
    return s.len >= tail.len && str_eq(str_skip(s, s.len - tail.len), tail);
}

/* Whether <up> knows max_completion_tokens in a chat. Other servers of the same
 * dialect may not, and ignore it. */
static bool knows_new_cap(const struct conf_upstream *up, struct str model)
{
    static const struct str families[] = {
        {"o1", 2}, {"o3", 2}, {"o4", 2}, {"gpt-5", 5}};

    if (up->dialect == CONF_DIALECT_AZURE ||
        ends_in(up->url.host, STR(".openai.com")))
        return true;
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        if (str_starts(model, families[i]))
            return true;
    return false;
}

/* Whether the number <v> is written with digits alone. Servers differ in what
 * they make of 1e3 and 1000.0, and some then know no cap at all. */
static bool is_plain(struct str v)
{
    for (size_t i = 0; i < v.len; i++)
        if (v.p[i] < '0' || v.p[i] > '9')
            return false;
    return true;
}

/* Have the member <slot> say no more than <cap>, in digits: it is lowered, and
 * where there is none and <must> holds, it is put there. */
static enum err cap_member(struct jsplice *s, const struct jscan *scan,
                           enum jreq slot, uint64_t cap, bool must)
{
    static const struct str names[] = {
        [JREQ_MAX_TOKENS] = {"max_tokens", 10},
        [JREQ_MAX_COMPLETION_TOKENS] = {"max_completion_tokens", 21},
        [JREQ_MAX_OUTPUT_TOKENS] = {"max_output_tokens", 17},
    };
    const struct jmember *m = &scan->m[slot];
    int64_t said = 0;

    if (jval_is_unset(m)) {
        if (!must)
            return ERR_OK;
    } else if (jval_uint(m, &said) == ERR_OK && (uint64_t)said <= cap) {
        if (is_plain(m->value))
            return ERR_OK;
        cap = (uint64_t)said;
    }
    return jsplice_cap(s, scan, m, names[slot], (int64_t)cap);
}

/* Have a chat say no more than <cap> for each answer. Who knows the older name
 * alone must find it. */
static enum err cap_chat(struct exchange *x, const struct conf_upstream *up,
                         struct str model, struct jsplice *s)
{
    const struct jscan *scan = x->ask->scan;
    const struct jmember *new = &scan->m[JREQ_MAX_COMPLETION_TOKENS];
    const bool is_new = knows_new_cap(up, model);
    const bool has_old = !jval_is_unset(&scan->m[JREQ_MAX_TOKENS]);
    uint64_t cap = x->work->cap_tok;
    int64_t said;
    enum err e = cap_member(s, scan, JREQ_MAX_COMPLETION_TOKENS, cap,
                            is_new && !has_old);

    if (e != ERR_OK)
        return e;
    if (!jval_is_unset(new) && jval_uint(new, &said) == ERR_OK &&
        (uint64_t)said < cap)
        cap = (uint64_t)said;
    return cap_member(s, scan, JREQ_MAX_TOKENS, cap, !is_new);
}

/* Have the body say no more than the budgets afford. */
static enum err cap_put(struct exchange *x, const struct conf_upstream *up,
                        struct str model, struct jsplice *s)
{
    const struct jscan *scan = x->ask->scan;
    const uint64_t cap = x->work->cap_tok;

    if (cap == 0)
        return ERR_OK;
    switch (x->in->ep.row->kind) {
    case ENDPOINT_CHAT:
        return cap_chat(x, up, model, s);
    case ENDPOINT_RESPONSES:
    case ENDPOINT_RESPONSES_COMPACT:
        return cap_member(s, scan, JREQ_MAX_OUTPUT_TOKENS, cap, true);
    default:
        return cap_member(s, scan, JREQ_MAX_TOKENS, cap, true);
    }
}

static enum err splice_json(struct exchange *x, const struct conf_upstream *up,
                            struct str model, bool add_usage, struct buf *room)
{
    const struct str asked =
        x->work->upstream_model.len > 0 ? x->work->upstream_model : model;
    struct jsplice s;
    enum err e = ERR_OK;

    jsplice_init(&s, buf_str(&x->in->body), x->arena);
    if (model.len > 0)
        e = model_put(x, model, &s);
    if (e == ERR_OK && add_usage)
        e = jsplice_want_usage(&s, x->ask->scan);
    if (e == ERR_OK)
        e = cap_put(x, up, asked, &s);
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
        e = splice_json(x, up, model, add_usage, room);
    else if (model.len > 0)
        e = splice_form(x, model, room);
    if (e != ERR_OK)
        return e;
    *body_out = room->len > 0 ? buf_str(room) : buf_str(&x->in->body);
    return ERR_OK;
}
