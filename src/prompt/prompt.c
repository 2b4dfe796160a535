/* prompt.c - Which bodies are held and which flow past: JSON of any POST, also
 * when it is not called so, and forms, whose model may stand last, are
 * collected up to limits.body. Everything else streams: uploads, and what does
 * not begin as a JSON object does. And whether the key may use every model that
 * a path, a query or a body names. */
#include "prompt/prompt.h"

#include <string.h>
#include <sys/uio.h>

#include "account/key.h"
#include "exchange/exchange.h"
#include "prompt/query.h"
#include "prompt/validate.h"

/* Parts of the stream that are looked at for its first byte. */
#define PEEK_PARTS 8

/* How the body decides. */
enum body_kind {
    BODY_OPAQUE = 0,
    BODY_JSON,
    BODY_FORM,
    BODY_TEXT, /* its first byte tells whether it may be JSON */
};

static struct str media_type(const struct http1_head *head)
{
    const struct http1_header *h = http1_find(head, STR("Content-Type"));
    struct str v = h ? h->value : (struct str){NULL, 0};

    v.len = str_find_char(v, ';');
    return str_trim(v);
}

static bool type_is_json(struct str type)
{
    const struct str suffix = STR("+json");

    if (str_ieq(type, STR("application/json")))
        return true;
    return type.len > suffix.len &&
           str_ieq(str_skip(type, type.len - suffix.len), suffix);
}

/* Whether bodies of <type>, no JSON or form, are looked at. Upstreams that go
 * by the content take JSON under any name; a limited key has no use for the
 * doubt, other ones may send whatever they like unread. */
static bool type_is_open(const struct exchange *x, struct str type)
{
    const struct str text = STR("text/");

    if (type.len == 0 ||
        str_ieq(str_of(type.p, text.len < type.len ? text.len : type.len),
                text))
        return true;
    if (str_ieq(type, STR("application/x-www-form-urlencoded")))
        return true;
    return !x->in->ep.upload && key_is_limited(x->who->key);
}

static enum body_kind body_kind(const struct exchange *x)
{
    const struct endpoint_row *row = x->in->ep.row;
    struct str type = media_type(&x->in->head);
    bool form = str_ieq(type, STR("multipart/form-data"));

    if (x->in->head.method != HTTP1_POST || !x->in->has_body)
        return BODY_OPAQUE;
    if (form)
        return x->in->ep.upload ? BODY_OPAQUE : BODY_FORM;
    if (type_is_json(type))
        return BODY_JSON;
    /* An operation that only knows JSON is read as such whatever the type
     * says: curl without -H sends application/x-www-form-urlencoded. */
    if ((row->model_in & ENDPOINT_MODEL_JSON) != 0 &&
        (row->flags & ENDPOINT_PASS) == 0)
        return BODY_JSON;
    return type_is_open(x, type) ? BODY_TEXT : BODY_OPAQUE;
}

/* Operations that no provider serves without a model. Others (images,
 * moderations, responses from a stored prompt) may leave it out and then go to
 * the passthrough upstream. */
static bool model_is_required(const struct endpoint_row *row)
{
    switch (row->kind) {
    case ENDPOINT_CHAT:
    case ENDPOINT_COMPLETIONS:
    case ENDPOINT_EMBEDDINGS:
    case ENDPOINT_MESSAGES:
    case ENDPOINT_COUNT_TOKENS:
    case ENDPOINT_SPEECH:
    case ENDPOINT_TRANSCRIPTIONS:
    case ENDPOINT_TRANSLATIONS:
        return true;
    default:
        return false;
    }
}

static enum verdict model_refuse(struct exchange *x, struct str model)
{
    return exchange_fail_param(
        x, ERR_MODEL_NOT_FOUND, "model",
        "The model '%.*s' does not exist or you do not have access to it.",
        (int)(model.len > 256 ? 256 : model.len), model.p);
}

static enum verdict model_check(struct exchange *x)
{
    const struct endpoint_row *row = x->in->ep.row;
    struct ask *ask = x->ask;

    if (ask->model.len == 0) {
        if (!model_is_required(row))
            return VERDICT_GO;
        return exchange_fail_param(x, ERR_BAD_PARAM, "model",
                                   "You must provide a model parameter.");
    }
    if (x->who->key && !key_may_use(x->who->key, ask->model))
        return model_refuse(x, ask->model);
    return VERDICT_GO;
}

/* An Azure path names the deployment, which is the model and goes before what
 * a body says. What is passed on (operations we do not know, DELETE of a model)
 * is not routed by its path, but the key's list holds for it too. */
static enum verdict path_model(struct exchange *x)
{
    char room[512];
    struct str id, model;

    if (x->in->ep.model.len == 0)
        return VERDICT_GO;
    if (endpoint_decode(x->in->ep.model, room, sizeof(room), &id) != ERR_OK)
        return exchange_fail(x, ERR_MODEL_NOT_FOUND, NULL);
    if ((x->in->ep.row->flags & ENDPOINT_PASS) != 0)
        return x->who->key && !key_may_use(x->who->key, id)
                   ? model_refuse(x, id)
                   : VERDICT_GO;
    model = arena_dup(x->arena, id);
    if (!model.p)
        return exchange_fail(x, ERR_NOMEM, NULL);
    x->ask->model = model;
    x->ask->where = MODEL_PATH;
    return VERDICT_GO;
}

/* What goes to the passthrough upstream may name its model in the query. Of a
 * WebSocket nothing else is seen, so for a key with a list it must. */
static enum verdict query_check(struct exchange *x)
{
    const struct key *key = x->who->key;
    const struct http1_head *h = &x->in->head;

    if (!key_is_limited(key) || (x->in->ep.row->flags & ENDPOINT_PASS) == 0)
        return VERDICT_GO;
    switch (query_judge(h->query, key)) {
    case QUERY_REFUSED:
        return exchange_fail_param(x, ERR_MODEL_NOT_FOUND, "model",
                                   "The model in the query does not exist or "
                                   "you do not have access to it.");
    case QUERY_ALLOWED:
        return VERDICT_GO;
    case QUERY_NONE:
        break;
    }
    if (!h->websocket || x->in->ep.azure)
        return VERDICT_GO;
    return exchange_fail_param(x, ERR_MODEL_NOT_FOUND, "model",
                               "This key is limited to some models: name one "
                               "of them as 'model' in the query.");
}

/* What holds of any request, and all of one whose body is not read. */
static enum verdict unread_judge(struct exchange *x)
{
    enum verdict v = path_model(x);

    return v == VERDICT_GO ? model_check(x) : v;
}

static enum verdict body_judge(struct exchange *x)
{
    enum verdict v = VERDICT_GO;

    switch (body_kind(x)) {
    case BODY_FORM:
        v = validate_multipart(x);
        break;
    case BODY_TEXT:
        v = validate_text(x);
        break;
    default:
        v = validate_json(x);
        break;
    }
    return v == VERDICT_GO ? unread_judge(x) : v;
}

/* Bytes that may stand before JSON: space, and those of a byte-order mark. */
static bool is_blank(char c)
{
    return c != 0 && strchr(" \t\r\n\xef\xbb\xbf", c) != NULL;
}

/* Whether what has come of the body does not rule out a JSON object. */
static bool may_be_object(const struct chunkq *q)
{
    struct iovec v[PEEK_PARTS];
    int n = chunkq_peek(q, v, PEEK_PARTS);

    for (int i = 0; i < n; i++) {
        struct str s = str_of(v[i].iov_base, v[i].iov_len);

        for (size_t k = 0; k < s.len; k++)
            if (!is_blank(s.p[k]))
                return s.p[k] == '{';
    }
    return true;
}

/* Turn from streaming to collecting: what has come is the beginning. */
static enum verdict body_hold(struct exchange *x)
{
    struct chunkq *q = &x->in->stream;
    struct iovec v;

    while (chunkq_peek(q, &v, 1) == 1) {
        if (buf_put(&x->in->body, v.iov_base, v.iov_len) != ERR_OK)
            return exchange_fail(x, ERR_NOMEM, NULL);
        chunkq_consume(q, v.iov_len);
    }
    x->client->ops->read_body(x->client, BODY_COLLECT);
    x->client->ops->body_taken(x->client);
    return VERDICT_WAIT;
}

/* The first bytes of a body of BODY_TEXT have come, or its end. */
static enum verdict body_peek(struct exchange *x)
{
    size_t len = chunkq_len(&x->in->stream);

    if (len == 0 && !x->in->body_done)
        return VERDICT_WAIT;
    return len > 0 && may_be_object(&x->in->stream) ? body_hold(x)
                                                    : unread_judge(x);
}

/* Whether two readers could take the body for different things. */
static bool type_is_ambiguous(const struct http1_head *head)
{
    unsigned types = 0;

    for (size_t i = 0; i < head->count; i++)
        types += str_ieq(head->headers[i].name, STR("Content-Type"));
    return types > 1;
}

/* The body of <x>, which goes to an upstream. */
static enum verdict body_begin(struct exchange *x)
{
    enum body_kind kind = body_kind(x);

    if (x->in->has_body && type_is_ambiguous(&x->in->head))
        return exchange_fail(x, ERR_BAD_REQUEST,
                             "The request has more than one Content-Type.");
    if (kind == BODY_TEXT && http1_is_encoded(&x->in->head) &&
        !key_is_limited(x->who->key))
        kind = BODY_OPAQUE;
    if (kind == BODY_OPAQUE)
        return unread_judge(x);
    if (http1_is_encoded(&x->in->head))
        return exchange_fail(x, ERR_ENCODING, NULL);
    if (x->in->mode == BODY_COLLECT && x->in->body_done)
        return body_judge(x); /* a request that is made once more */
    x->client->ops->read_body(x->client,
                              kind == BODY_TEXT ? BODY_STREAM : BODY_COLLECT);
    return VERDICT_WAIT;
}

enum verdict prompt_run(struct exchange *x)
{
    enum verdict v;

    if ((x->in->ep.row->flags & ENDPOINT_LOCAL) != 0) {
        if (x->in->has_body)
            x->client->ops->read_body(x->client, BODY_DROP);
        return VERDICT_GO;
    }
    v = query_check(x);
    return v == VERDICT_GO ? body_begin(x) : v;
}

enum verdict prompt_resume(struct exchange *x, enum wake why)
{
    switch (why) {
    case WAKE_BODY:
        if (x->in->mode == BODY_STREAM)
            return body_peek(x);
        return x->in->body_done ? body_judge(x) : VERDICT_WAIT;
    case WAKE_FAIL:
        return VERDICT_SKIP;
    case WAKE_GONE:
        return exchange_fail(x, ERR_CLIENT_GONE, NULL);
    case WAKE_DRAIN:
        return exchange_fail(x, ERR_DRAINING, NULL);
    default:
        return VERDICT_WAIT;
    }
}
