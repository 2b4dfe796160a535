/* reply.c - Writes reply heads. Decides the framing of the body, whether the
 * connection is kept, and which fields are ours: Connection, framing, and CORS
 * where it is configured; whatever a stage gives under these names is left
 * out. */
#include "front/conn.h"

#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "front/cors.h"

/* Unread body bytes that are worth reading to keep the connection. */
#define KEEP_BODY_BYTES (256 * 1024)

/* Whether the rest of the request's body will soon be out of the way. */
static bool body_is_short(const struct conn *c)
{
    const struct http1_head *h = &c->x->in->head;

    if (http1_body_is_done(&c->body))
        return true;
    if (c->rest_raw || h->framing != HTTP1_LENGTH)
        return false;
    if (h->expect_continue && !c->said_continue)
        return false; /* nobody knows whether it will be sent */
    return h->content_length - http1_body_bytes(&c->body) <= KEEP_BODY_BYTES;
}

/* Choose how the end of the body is shown. */
static void choose_framing(struct conn *c, const struct reply_head *head)
{
    const struct http1_head *in = &c->x->in->head;

    c->reply_left = 0;
    if (in->method == HTTP1_HEAD || head->status == 204 ||
        head->status == 205 || head->status == 304) {
        c->framing = FRAMING_NONE;
    } else if (head->length >= 0) {
        c->framing = FRAMING_LENGTH;
        c->reply_left = (uint64_t)head->length;
    } else if (in->minor >= 1) {
        c->framing = FRAMING_CHUNKED;
    } else {
        c->framing = FRAMING_CLOSE;
        c->must_close = true;
    }
}

static bool is_ours(const struct conn *c, struct str name)
{
    return str_ieq(name, STR("content-length")) || http1_is_hop_header(name) ||
           cors_is_ours(c->x, name);
}

/* The fields that the stage gives. Those that could break the head apart are
 * left out. */
static enum err put_given(struct conn *c, const struct reply_head *head)
{
    struct buf *b = &c->f->head;
    bool dated = false;

    for (const struct header *h = head->headers.first; h; h = h->next) {
        enum err e;

        if (is_ours(c, h->name))
            continue;
        dated = dated || str_ieq(h->name, STR("date"));
        e = http1_put_header(b, h->name, h->value);
        if (e == ERR_SYNTAX)
            log_warn(LOG_HTTP, "reply field left out: request=%s", c->x->name);
        else if (e != ERR_OK)
            return e;
    }
    if (dated)
        return ERR_OK;
    return http1_put_header(b, STR("Date"), str_from(clock_http_date()));
}

/* The fields that frame the body and end or keep the connection. */
static enum err put_framing(struct conn *c, const struct reply_head *head)
{
    struct buf *b = &c->f->head;
    enum err e = ERR_OK;

    if (c->framing == FRAMING_CHUNKED)
        e = http1_put_header(b, STR("Transfer-Encoding"), STR("chunked"));
    else if (head->status == 205)
        e = http1_put_header_u64(b, STR("Content-Length"), 0);
    else if (head->length >= 0 && head->status != 204)
        e = http1_put_header_u64(b, STR("Content-Length"),
                                 (uint64_t)head->length);
    if (e != ERR_OK)
        return e;
    if (c->must_close)
        return http1_put_header(b, STR("Connection"), STR("close"));
    if (c->x->in->head.minor == 0)
        return http1_put_header(b, STR("Connection"), STR("keep-alive"));
    return ERR_OK;
}

/* The fields of a 101: the upgrade itself is between us and the client. */
static enum err put_upgrade(struct conn *c)
{
    struct buf *b = &c->f->head;
    enum err e = http1_put_header(b, STR("Connection"), STR("Upgrade"));

    if (e != ERR_OK)
        return e;
    return http1_put_header(b, STR("Upgrade"), STR("websocket"));
}

/* The whole head, in f->head. */
static enum err head_build(struct conn *c, const struct reply_head *head)
{
    struct buf *b = &c->f->head;
    enum err e;

    buf_clear(b);
    e = http1_put_status(b, head->status);
    if (e == ERR_OK)
        e = put_given(c, head);
    if (e == ERR_OK && head->status == 101)
        e = put_upgrade(c);
    else if (e == ERR_OK && head->status >= 200)
        e = put_framing(c, head);
    if (e == ERR_OK && head->status >= 200)
        e = cors_put(c->x, b);
    return e == ERR_OK ? http1_put_end(b) : e;
}

/* What follows from the decision to answer now. */
static void final_begin(struct conn *c, const struct reply_head *head)
{
    if (c->f->draining)
        c->must_close = true;
    if (!body_is_short(c)) {
        c->must_close = true;
        c->linger = true;
    }
    if (!http1_body_is_done(&c->body) && c->mode != BODY_STREAM)
        conn_body_set_mode(c, BODY_DROP);
    choose_framing(c, head);
}

void reply_head_send(struct client *client, const struct reply_head *head)
{
    struct conn *c = (struct conn *)client;

    if (!c->x || (c->state != CONN_BODY && c->state != CONN_WAIT))
        return;
    if (head->status < 200 && c->x->in->head.minor == 0)
        return; /* HTTP/1.0 knows no interim replies */
    if (head->status >= 200)
        final_begin(c, head);
    if (head_build(c, head) != ERR_OK) {
        c->broken = true;
        conn_mark(c, false);
        return;
    }
    if (head->status >= 200 || head->status == 101)
        conn_enter(c, CONN_REPLY);
    conn_out_put(c, buf_str(&c->f->head));
}

/* What a client reads that is refused before it is known who it is: the text
 * around the request's id, by shape. */
static const struct {
    const char *before, *after;
} overloaded_text[] = {
    [ENDPOINT_SHAPE_OPENAI] =
        {"{\"error\":{\"message\":\"The server is overloaded.\","
         "\"type\":\"server_error\",\"param\":null,"
         "\"code\":\"overloaded\",\"request_id\":\"",
         "\"}}"},
    [ENDPOINT_SHAPE_ANTHROPIC] =
        {"{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
         "\"message\":\"The server is overloaded.\"},\"request_id\":\"",
         "\"}"},
};

/* Written in pieces: this is what is done most when there is least time. */
void reply_overloaded_send(struct conn *c, enum endpoint_shape shape,
                           uint64_t retry_ms)
{
    struct str before = str_from(overloaded_text[shape].before);
    struct str after = str_from(overloaded_text[shape].after);
    struct buf *b = &c->f->head;
    char id[ID_SIZE];
    enum err e;

    id_new(id);
    buf_clear(b);
    e = http1_put_status(b, 503);
    if (e == ERR_OK)
        e = http1_put_header(b, STR("Date"), str_from(clock_http_date()));
    if (e == ERR_OK)
        e = buf_put_str(b, STR("Content-Type: application/json\r\n"
                               "x-should-retry: true\r\n"));
    if (e == ERR_OK)
        e = http1_put_header_u64(b, STR("Content-Length"),
                                 before.len + sizeof(id) - 1 + after.len);
    if (e == ERR_OK)
        e = http1_put_header(b, STR("x-request-id"), str_from(id));
    if (e == ERR_OK)
        e = http1_put_header_u64(b, STR("retry-after"),
                                 (retry_ms + 999) / 1000);
    if (e == ERR_OK)
        e = http1_put_header_u64(b, STR("retry-after-ms"), retry_ms);
    if (e == ERR_OK && c->must_close)
        e = http1_put_header(b, STR("Connection"), STR("close"));
    if (e == ERR_OK)
        e = http1_put_end(b);
    if (e == ERR_OK)
        e = buf_put_str(b, before);
    if (e == ERR_OK)
        e = buf_put(b, id, sizeof(id) - 1);
    if (e == ERR_OK)
        e = buf_put_str(b, after);
    if (e == ERR_OK)
        conn_out_put(c, buf_str(b));
}

void reply_refused_send(struct conn *c)
{
    c->must_close = true;
    c->linger = true;
    c->rest_raw = true;
    reply_overloaded_send(c, ENDPOINT_SHAPE_OPENAI, 1000);
}
