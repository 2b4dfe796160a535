/* reqkey.c - See reqkey.h. The fields of a key are written one after the other
 * into one text, each with a tag and its length, so that no two lists of them
 * are the same bytes; its SHA-256 is the key. Who asks is taken from the
 * authenticated key and the configuration, never from the request. */
#include "recall/reqkey.h"

#include <string.h>

#include "account/key.h"
#include "exchange/exchange.h"
#include "wire/jscan.h"

/* Most header fields that belong to a key, most bytes of a key's text besides
 * the body. */
enum { HEADERS_MAX = 24, TEXT_MORE = 1 << 20 };

/* What a field is. The numbers are part of stored keys: never reuse one. */
enum tag {
    TAG_SECRET = 1,
    TAG_SHARED,
    TAG_TEAM,
    TAG_KEY,
    TAG_ENDPOINT,
    TAG_SHAPE,
    TAG_QUERY,
    TAG_MODEL,
    TAG_HEADER,
    TAG_HEADER_VALUE,
    TAG_ROUTE,
    TAG_TARGET,
    TAG_TARGET_MODEL,
    TAG_UPSTREAM,
    TAG_UPSTREAM_HEADER,
    TAG_ENGINE,
    TAG_BODY,
    TAG_SAME,
    TAG_STREAM,
    TAG_STREAM_USAGE,
    TAG_STREAM_OPTIONS,
    TAG_STREAM_TOOLS,
    TAG_WEIGHTS,
};

/* ---- fields ------------------------------------------------------------ */

#define HEAD_BYTES 9 /* of a field: its tag and its length */

static void fill_head(unsigned char head[HEAD_BYTES], enum tag tag,
                      uint64_t len)
{
    head[0] = (unsigned char)tag;
    for (int i = 0; i < 8; i++)
        head[1 + i] = (unsigned char)(len >> (8 * i));
}

static enum err put_head(struct buf *b, enum tag tag, uint64_t len)
{
    unsigned char head[HEAD_BYTES];

    fill_head(head, tag, len);
    return buf_put(b, head, sizeof(head));
}

static enum err put_field(struct buf *b, enum tag tag, struct str s)
{
    ERR_TRY(put_head(b, tag, s.len));
    return buf_put_str(b, s);
}

static enum err put_number(struct buf *b, enum tag tag, uint64_t v)
{
    char room[STR_I64_MAX];

    return put_field(b, tag, str_put_i64(room, (int64_t)v));
}

/* The canonical text of <json> as a field, whose length is known afterwards. */
static enum err put_canon(struct buf *b, enum tag tag, struct str json,
                          const struct canon_skip *skip)
{
    unsigned char head[HEAD_BYTES] = {0};
    const size_t at = b->len;

    ERR_TRY(buf_put(b, head, sizeof(head)));
    ERR_TRY(canon_put(json, skip, b));
    fill_head(head, tag, b->len - at - sizeof(head));
    memcpy(b->p + at, head, sizeof(head));
    return ERR_OK;
}

/* ---- who ---------------------------------------------------------------- */

static enum err put_scope(struct buf *b, const struct exchange *x,
                          enum conf_scope scope)
{
    if (scope == CONF_SCOPE_SHARED)
        return put_field(b, TAG_SHARED, STR(""));
    if (scope == CONF_SCOPE_TEAM && x->who->team.len > 0)
        return put_field(b, TAG_TEAM, x->who->team);
    return put_field(b, TAG_KEY, x->who->key_id);
}

/* ---- where to ------------------------------------------------------------ */

static enum err put_upstream(struct buf *b, const struct conf_upstream *up)
{
    ERR_TRY(put_field(b, TAG_UPSTREAM, up->name));
    ERR_TRY(put_field(b, TAG_UPSTREAM, up->url.text));
    ERR_TRY(put_number(b, TAG_UPSTREAM, (uint64_t)up->dialect));
    ERR_TRY(put_field(b, TAG_UPSTREAM, up->api_version));
    for (size_t i = 0; i < up->n_headers; i++) {
        ERR_TRY(put_field(b, TAG_UPSTREAM_HEADER, up->headers[i].name));
        ERR_TRY(put_field(b, TAG_UPSTREAM_HEADER,
                          secret_reveal(&up->headers[i].value)));
    }
    return ERR_OK;
}

static enum err put_engine(struct buf *b, const struct conf_engine_model *m)
{
    ERR_TRY(put_field(b, TAG_ENGINE, m->name));
    ERR_TRY(put_field(b, TAG_ENGINE, m->path));
    ERR_TRY(put_number(b, TAG_ENGINE, m->context));
    ERR_TRY(put_number(b, TAG_ENGINE, (uint64_t)m->kv_dtype));
    return put_number(b, TAG_ENGINE, (uint64_t)m->weights);
}

static enum err put_target(struct buf *b, const struct conf *c,
                           const struct conf_route_target *t)
{
    ERR_TRY(put_field(b, TAG_TARGET, STR("")));
    ERR_TRY(put_field(b, TAG_TARGET_MODEL, t->model));
    if (t->upstream >= 0)
        return put_upstream(b, &c->upstreams[t->upstream]);
    if (t->engine >= 0)
        return put_engine(b, &c->engine.models[t->engine]);
    return put_field(b, TAG_ENGINE, t->engine_name);
}

static enum err put_route(struct buf *b, const struct conf *c,
                          const struct conf_route *r)
{
    ERR_TRY(put_field(b, TAG_ROUTE, r->model));
    for (size_t i = 0; i < r->n_targets; i++)
        ERR_TRY(put_target(b, c, &r->targets[i]));
    return ERR_OK;
}

/* Where requests for <model> go as configured, fallbacks included: without
 * routes, to any upstream or engine model. */
static enum err put_targets(struct buf *b, const struct conf *c,
                            struct str model)
{
    const struct conf_route *r =
        c->routes_given ? conf_route_find(c, model) : NULL;

    if (r) {
        ERR_TRY(put_route(b, c, r));
        for (size_t i = 0; i < r->n_fallbacks; i++) {
            const struct conf_route *f = conf_route_find(c, r->fallbacks[i]);

            ERR_TRY(put_field(b, TAG_ROUTE, r->fallbacks[i]));
            if (f)
                ERR_TRY(put_route(b, c, f));
        }
        return ERR_OK;
    }
    ERR_TRY(put_field(b, TAG_ROUTE, STR("")));
    for (size_t i = 0; i < c->n_upstreams; i++)
        ERR_TRY(put_upstream(b, &c->upstreams[i]));
    for (size_t i = 0; i < c->engine.n_models; i++)
        ERR_TRY(put_engine(b, &c->engine.models[i]));
    return ERR_OK;
}

/* ---- header fields ------------------------------------------------------- */

/* Whether <name> begins with <head>, in any case. */
static bool starts_with(struct str name, struct str head)
{
    return name.len >= head.len && (name.p[0] | 32) == head.p[0] &&
           strncasecmp(name.p, head.p, head.len) == 0;
}

/* Whether an answer may depend on the client's field <name>: versions, betas
 * and the account of the providers' own APIs, and what their hosts take for
 * parameters. What clients tell of themselves has no meaning. */
static bool is_semantic(struct str name)
{
    static const struct str names[] = {{"extra-parameters", 16},
                                       {"azureml-model-deployment", 24}};

    if (starts_with(name, STR("anthropic-")))
        return !str_ieq(name, STR("anthropic-dangerous-direct-browser-access"));
    if (starts_with(name, STR("openai-")))
        return true;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (str_ieq(name, names[i]))
            return true;
    return name.len > 5 && (name.p[name.len - 1] | 32) == 'a' &&
           str_ieq(str_skip(name, name.len - 5), STR("-beta"));
}

/* Order of two fields by their names in any case. */
static int header_cmp(const struct http1_header *a,
                      const struct http1_header *b)
{
    const size_t n = a->name.len < b->name.len ? a->name.len : b->name.len;
    const int d = strncasecmp(a->name.p, b->name.p, n);

    return d != 0 ? d
                  : (a->name.len > b->name.len) - (a->name.len < b->name.len);
}

static enum err put_name(struct buf *b, struct str name)
{
    ERR_TRY(put_head(b, TAG_HEADER, name.len));
    for (size_t i = 0; i < name.len; i++) {
        char c = name.p[i];

        c = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
        ERR_TRY(buf_put(b, &c, 1));
    }
    return ERR_OK;
}

/* The fields that belong to the key, by name; those of one name stay in their
 * order. */
static enum err put_headers(struct buf *b, const struct http1_head *head)
{
    const struct http1_header *found[HEADERS_MAX];
    unsigned n = 0;

    for (size_t i = 0; i < head->count; i++) {
        const struct http1_header *h = &head->headers[i];
        unsigned k;

        if (!is_semantic(h->name))
            continue;
        if (n == HEADERS_MAX)
            return ERR_NOT_FOUND;
        for (k = n++; k > 0 && header_cmp(found[k - 1], h) > 0; k--)
            found[k] = found[k - 1];
        found[k] = h;
    }
    for (unsigned i = 0; i < n; i++) {
        ERR_TRY(put_name(b, found[i]->name));
        ERR_TRY(put_field(b, TAG_HEADER_VALUE, str_trim(found[i]->value)));
    }
    return ERR_OK;
}

/* ---- whether ------------------------------------------------------------- */

/* Whether the reply to an operation depends on its request alone. */
static bool is_kept(enum endpoint kind)
{
    switch (kind) {
    case ENDPOINT_CHAT:
    case ENDPOINT_COMPLETIONS:
    case ENDPOINT_EMBEDDINGS:
    case ENDPOINT_RESPONSES:
    case ENDPOINT_RESPONSES_INPUT_TOKENS:
    case ENDPOINT_MESSAGES:
    case ENDPOINT_COUNT_TOKENS:
    case ENDPOINT_MODERATIONS:
    case ENDPOINT_RERANK:
    case ENDPOINT_SCORE:
    case ENDPOINT_CLASSIFY:
    case ENDPOINT_POOLING:
    case ENDPOINT_TOKENIZE:
    case ENDPOINT_DETOKENIZE:
        return true;
    default:
        return false;
    }
}

/* Whether the reply is made later, or adds to something that goes on. */
static bool has_state(const struct exchange *x)
{
    const struct jscan *s = x->ask->scan;
    const struct jmember *background = &s->m[JREQ_BACKGROUND];
    struct jmember talk;

    if (!jval_is_unset(background) && background->type != JT_FALSE)
        return true;
    if (x->in->ep.row->kind != ENDPOINT_RESPONSES)
        return false;
    talk = jval_member(&s->root, STR("conversation"));
    return !jval_is_unset(&talk);
}

static bool may_have_key(const struct exchange *x)
{
    const struct http1_head *head = &x->in->head;

    return is_kept(x->in->ep.row->kind) && head->method == HTTP1_POST &&
           !head->websocket && x->in->mode == BODY_COLLECT &&
           x->in->body_done && x->ask->scan &&
           x->ask->scan->root.type == JT_OBJECT &&
           x->ask->where != MODEL_MULTIPART &&
           x->in->body.len <= REQKEY_BODY_MAX &&
           !http1_find(head, STR("Range")) && !has_state(x);
}

static bool is_zero(const struct jmember *m)
{
    if (m->type != JT_NUMBER)
        return false;
    for (size_t i = 0; i < m->value.len; i++) {
        if (m->value.p[i] == 'e' || m->value.p[i] == 'E')
            break;
        if (m->value.p[i] >= '1' && m->value.p[i] <= '9')
            return false;
    }
    return true;
}

bool reqkey_is_deterministic(const struct exchange *x)
{
    const struct jscan *s = x->ask->scan;

    if (!s || s->root.type != JT_OBJECT)
        return false;
    return x->in->ep.row->kind == ENDPOINT_EMBEDDINGS ||
           is_zero(&s->m[JREQ_TEMPERATURE]) || !jval_is_unset(&s->m[JREQ_SEED]);
}

/* ---- keys ---------------------------------------------------------------- */

static enum err put_same(struct buf *b, const struct exchange *x,
                         const struct reqkey_conf *rc)
{
    const struct endpoint_match *ep = &x->in->ep;

    ERR_TRY(put_field(b, TAG_SECRET, rc->secret));
    ERR_TRY(put_scope(b, x, rc->scope));
    ERR_TRY(put_field(b, TAG_ENDPOINT, str_from(ep->row->name)));
    ERR_TRY(put_number(b, TAG_SHAPE,
                       (uint64_t)ep->shape * 2 + (ep->azure ? 1 : 0)));
    ERR_TRY(put_field(b, TAG_QUERY, x->in->head.query));
    ERR_TRY(put_field(b, TAG_MODEL, x->ask->model));
    ERR_TRY(put_headers(b, &x->in->head));
    ERR_TRY(put_targets(b, x->conf, x->ask->model));
    if (rc->weights && x->conf->engine.n_models > 0)
        ERR_TRY(put_field(b, TAG_WEIGHTS,
                          str_of(rc->weights->b, sizeof(rc->weights->b))));
    return put_canon(b, TAG_BODY, x->ask->scan->root.value, rc->skip);
}

/* Whether stream_options has more than whether usage is to be told. */
static bool has_options(const struct jmember *options)
{
    struct jmember m;
    struct jiter it;

    if (options->type != JT_OBJECT)
        return false;
    jiter_init(&it, options->value);
    while (jiter_next(&it, &m))
        if (!jval_is(m.key, STR("include_usage")) && m.type != JT_NULL)
            return true;
    return false;
}

static enum err put_exact(struct buf *b, const struct exchange *x,
                          const struct digest *same)
{
    const struct jscan *s = x->ask->scan;
    const struct jmember *tools = &s->m[JREQ_TOOLS];
    const bool usage = s->m[JREQ_INCLUDE_USAGE].type == JT_TRUE;

    ERR_TRY(put_field(b, TAG_SAME, str_of(same->b, sizeof(same->b))));
    ERR_TRY(put_number(b, TAG_STREAM, x->ask->stream));
    ERR_TRY(put_number(b, TAG_STREAM_USAGE, usage));
    if (has_options(&s->m[JREQ_STREAM_OPTIONS]))
        ERR_TRY(put_canon(b, TAG_STREAM_OPTIONS,
                          s->m[JREQ_STREAM_OPTIONS].value, NULL));
    /* Some clients say it of each tool, and in streams alone. */
    if (str_find(tools->value, STR(REQKEY_TOOL_STREAMS)) < tools->value.len)
        ERR_TRY(put_canon(b, TAG_STREAM_TOOLS, tools->value, NULL));
    return ERR_OK;
}

static enum err make_keys(struct buf *b, const struct exchange *x,
                          const struct reqkey_conf *rc, struct reqkey *out)
{
    struct reqkey key = {.streams = x->ask->stream,
                         .deterministic = reqkey_is_deterministic(x)};

    ERR_TRY(buf_reserve(b, 1024 + x->in->body.len * 2));
    ERR_TRY(put_same(b, x, rc));
    key.same = digest_sha256(b->p, b->len);
    digest_wipe(b->p, HEAD_BYTES + rc->secret.len);
    buf_clear(b);
    ERR_TRY(put_exact(b, x, &key.same));
    key.exact = digest_sha256(b->p, b->len);
    *out = key;
    return ERR_OK;
}

enum err reqkey_make(const struct exchange *x, const struct reqkey_conf *rc,
                     struct reqkey *out)
{
    struct buf text;
    enum err e;

    if (!may_have_key(x))
        return ERR_NOT_FOUND;
    buf_init(&text, (size_t)4 * REQKEY_BODY_MAX + TEXT_MORE);
    e = make_keys(&text, x, rc, out);
    buf_fini(&text);
    return e == ERR_OK || e == ERR_NOMEM ? e : ERR_NOT_FOUND;
}
