/* validate.c - Checks what the gateway itself relies on (model, stream, n,
 * stream_options) and nothing more: every other parameter is the upstream's to
 * judge, so that new ones work on the day they appear. */
#include "prompt/validate.h"

#include "account/key.h"
#include "exchange/exchange.h"
#include "wire/jscan.h"
#include "wire/multipart.h"

#define MODEL_NAME_MAX 256 /* bytes of a model name after unescaping */
#define CHOICES_MAX    128 /* `n` of the OpenAI specification */
#define PARAM_NAME_MAX 64  /* bytes of a member's name that is shown */

/* Name of the member that stands twice, for `param`; NULL when there is none
 * or it is no name one would use. */
static const char *dup_name(struct exchange *x, const struct jscan *scan)
{
    const struct jmember m = {.value = scan->dup_key, .type = JT_STRING};
    struct str name;

    if (jval_str(&m, PARAM_NAME_MAX, x->arena, &name) != ERR_OK)
        return NULL;
    return arena_printf(x->arena, "%.*s", STR_ARG(name));
}

static enum verdict refuse_json(struct exchange *x, const struct jscan *scan,
                                enum err e)
{
    if (e == ERR_BAD_PARAM && !scan->dup_key.p)
        return exchange_fail(x, ERR_BAD_JSON,
                             "The request body has too many members, at byte "
                             "%zu; one object may have %d.",
                             scan->err_at, JSCAN_KEYS_MAX);
    if (e == ERR_BAD_PARAM)
        return exchange_fail_param(x, ERR_BAD_JSON, dup_name(x, scan),
                                   "The request body has an ambiguous member "
                                   "at byte %zu: %s.",
                                   scan->err_at, scan->reason);
    return exchange_fail(
        x, ERR_BAD_JSON, "The request body is not valid JSON: %s at byte %zu.",
        scan->reason ? scan->reason : "syntax error", scan->err_at);
}

static enum verdict read_model(struct exchange *x, const struct jscan *scan)
{
    const struct jmember *m = &scan->m[JREQ_MODEL];
    enum err e;

    if (jval_is_unset(m))
        return VERDICT_GO;
    e = jval_str(m, MODEL_NAME_MAX, x->arena, &x->ask->model);
    if (e == ERR_NOMEM)
        return exchange_fail(x, ERR_NOMEM, NULL);
    if (e == ERR_RANGE)
        return exchange_fail_param(x, ERR_MODEL_NOT_FOUND, "model",
                                   "The model name is longer than %d bytes.",
                                   MODEL_NAME_MAX);
    if (e != ERR_OK)
        return exchange_fail_param(x, ERR_BAD_PARAM, "model",
                                   "'model' must be a string.");
    x->ask->where = MODEL_JSON;
    return VERDICT_GO;
}

static enum verdict read_stream(struct exchange *x, const struct jscan *scan)
{
    const struct jmember *opts = &scan->m[JREQ_STREAM_OPTIONS];
    bool include = false;

    if (!jval_is_unset(&scan->m[JREQ_STREAM]) &&
        jval_bool(&scan->m[JREQ_STREAM], &x->ask->stream) != ERR_OK)
        return exchange_fail_param(x, ERR_BAD_PARAM, "stream",
                                   "'stream' must be true or false.");
    if (!jval_is_unset(opts) && opts->type != JT_OBJECT)
        return exchange_fail_param(x, ERR_BAD_PARAM, "stream_options",
                                   "'stream_options' must be an object.");
    if (!jval_is_unset(&scan->m[JREQ_INCLUDE_USAGE]) &&
        jval_bool(&scan->m[JREQ_INCLUDE_USAGE], &include) != ERR_OK)
        return exchange_fail_param(
            x, ERR_BAD_PARAM, "stream_options.include_usage",
            "'stream_options.include_usage' must be true or false.");
    x->ask->add_usage =
        x->ask->stream && !include && x->in->ep.row->end == ENDPOINT_END_CHAT;
    return VERDICT_GO;
}

static enum verdict read_choices(struct exchange *x, const struct jscan *scan)
{
    const struct jmember *m = &scan->m[JREQ_N];
    int64_t n = 1;

    if (x->in->ep.row->end != ENDPOINT_END_CHAT || jval_is_unset(m))
        return VERDICT_GO;
    if (jval_uint(m, &n) != ERR_OK || n < 1 || n > CHOICES_MAX)
        return exchange_fail_param(x, ERR_BAD_PARAM, "n",
                                   "'n' must be an integer from 1 to %d.",
                                   CHOICES_MAX);
    x->ask->n = (unsigned)n;
    return VERDICT_GO;
}

/* Whether what we cannot read may go on. */
static bool may_pass_unread(const struct exchange *x)
{
    return (x->in->ep.row->flags & ENDPOINT_PASS) != 0 &&
           !key_is_limited(x->who->key);
}

static enum verdict read_json(struct exchange *x, bool called_json)
{
    struct jscan *scan = arena_alloc(x->arena, sizeof(*scan));
    enum verdict v;
    enum err e;

    if (!scan)
        return exchange_fail(x, ERR_NOMEM, NULL);
    e = jscan_run(scan, buf_str(&x->in->body), &jscan_request, NULL);
    if (e != ERR_OK && e != ERR_BAD_PARAM && !called_json && may_pass_unread(x))
        return VERDICT_GO;
    if (e != ERR_OK)
        return refuse_json(x, scan, e);
    x->ask->scan = scan;
    if (scan->root.type != JT_OBJECT) {
        if ((x->in->ep.row->flags & ENDPOINT_PASS) != 0)
            return VERDICT_GO;
        return exchange_fail(x, ERR_BAD_JSON,
                             "The request body must be a JSON object.");
    }
    v = read_model(x, scan);
    if (v == VERDICT_GO)
        v = read_stream(x, scan);
    return v == VERDICT_GO ? read_choices(x, scan) : v;
}

enum verdict validate_json(struct exchange *x)
{
    return read_json(x, true);
}

enum verdict validate_text(struct exchange *x)
{
    return read_json(x, false);
}

enum verdict validate_multipart(struct exchange *x)
{
    const struct http1_header *h =
        http1_find(&x->in->head, STR("Content-Type"));
    struct multipart m;
    enum err e = multipart_init(&m, h->value);

    if (e == ERR_OK)
        e = multipart_feed(&m, buf_str(&x->in->body));
    if (e == ERR_BAD_PARAM)
        return exchange_fail_param(x, ERR_BAD_PARAM, "model",
                                   "The form must have one part 'model' of at "
                                   "most %d bytes.",
                                   MULTIPART_VALUE_MAX);
    if ((e != ERR_OK || !multipart_is_closed(&m)) && may_pass_unread(x))
        return VERDICT_GO;
    if (e != ERR_OK || !multipart_is_closed(&m))
        return exchange_fail(x, ERR_BAD_REQUEST,
                             "The body is not valid multipart/form-data.");
    if (!multipart_has_model(&m))
        return VERDICT_GO;
    x->ask->model = arena_dup(x->arena, multipart_model(&m));
    if (!x->ask->model.p)
        return exchange_fail(x, ERR_NOMEM, NULL);
    x->ask->where = MODEL_MULTIPART;
    x->ask->model_at = m.value_at;
    x->ask->model_len = m.value_len;
    return VERDICT_GO;
}
