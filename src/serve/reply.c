/* reply.c - See reply.h. What is taken whole: errors, and JSON up to a bound,
 * so that nothing has been sent to the client while it may still break. */
#include "serve/reply.h"

#include "exchange/exchange.h"
#include "serve/retry.h"
#include "wire/jscan.h"

#define WORD_MAX    128  /* bytes of a type or code */
#define MESSAGE_MAX 4096 /* bytes of a message */

static struct str media_type(const struct reply_head *head)
{
    struct str v = headers_value(&head->headers, STR("Content-Type"));

    v.len = str_find_char(v, ';');
    return str_trim(v);
}

static bool is_json(const struct reply_head *head)
{
    struct str v = media_type(head);

    return str_ieq(v, STR("application/json")) ||
           (v.len > 5 && str_ieq(str_skip(v, v.len - 5), STR("+json")));
}

static bool is_event_stream(const struct reply_head *head)
{
    return str_ieq(media_type(head), STR("text/event-stream"));
}

/* Whether a good reply of this type can be nothing but JSON, though it does not
 * say so: text, or no type at all, where all there is to get is JSON. */
static bool must_be_json(const struct exchange *x,
                         const struct reply_head *head)
{
    struct str v = media_type(head);

    switch (x->in->ep.row->usage) {
    case ENDPOINT_USAGE_CHAT:
    case ENDPOINT_USAGE_EMBEDDINGS:
    case ENDPOINT_USAGE_RESPONSES:
    case ENDPOINT_USAGE_MESSAGES:
    case ENDPOINT_USAGE_COUNT:
    case ENDPOINT_USAGE_RERANK:
        break;
    default:
        return false;
    }
    if (x->ask->stream || head->status != 200)
        return false;
    return v.len == 0 ||
           (str_ieq(str_of(v.p, v.len < 5 ? v.len : 5), STR("text/")) &&
            !is_event_stream(head));
}

/* Whether the first event of a stream is looked at: its errors are known. */
static bool is_peeked(const struct exchange *x, const struct reply_head *head)
{
    return head->status == 200 && is_event_stream(head) &&
           x->in->ep.row->end != ENDPOINT_END_NONE;
}

enum reply_mode reply_mode_of(const struct exchange *x,
                              const struct reply_head *head, bool passthrough)
{
    if (headers_are_coded(&head->headers))
        return REPLY_PASS;
    if (x->in->head.method == HTTP1_HEAD || head->status == 204 ||
        head->status == 304 || head->status == 101)
        return REPLY_PASS;
    if (is_peeked(x, head))
        return REPLY_PEEK;
    if (head->length > (int64_t)REPLY_COLLECT_MAX)
        return REPLY_PASS;
    if (head->status >= 400)
        return REPLY_COLLECT;
    /* Of what is passed on only replies that tell their usage are read. */
    if (passthrough && x->in->ep.row->usage == ENDPOINT_USAGE_NONE)
        return REPLY_PASS;
    return is_json(head) || must_be_json(x, head) ? REPLY_COLLECT : REPLY_PASS;
}

enum err reply_err_of(int status)
{
    if (status == 429)
        return ERR_RATE_REQUESTS;
    if (status == 503 || status == 529)
        return ERR_UP_UNAVAILABLE;
    if (status == 504 || status == 408)
        return ERR_UP_TIMEOUT;
    return ERR_UP_BAD;
}

/* A string or a number as text; empty when it is neither, or too long. */
static struct str word_of(struct exchange *x, const struct jmember *m,
                          size_t max)
{
    struct str s;

    if (m->type == JT_NUMBER)
        return m->value;
    if (jval_str(m, max, x->arena, &s) != ERR_OK)
        return str_of(NULL, 0);
    return s;
}

void reply_error_words(struct exchange *x, const struct jscan *scan,
                       struct retry_end *end)
{
    const struct jmember *e = &scan->m[JREP_ERROR];
    struct jmember m;

    if (e->type == JT_NONE || e->type == JT_NULL)
        e = &scan->m[JREP_RESPONSE_ERROR];
    if (e->type == JT_STRING) {
        end->message = word_of(x, e, MESSAGE_MAX);
        return;
    }
    if (e->type != JT_OBJECT)
        e = &scan->root;
    m = jval_member(e, STR("type"));
    end->type = word_of(x, &m, WORD_MAX);
    m = jval_member(e, STR("code"));
    end->code = word_of(x, &m, WORD_MAX);
    m = jval_member(e, STR("message"));
    end->message = word_of(x, &m, MESSAGE_MAX);
}
