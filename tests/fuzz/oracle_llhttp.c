/* oracle_llhttp.c - The system's llhttp, compiled here in strict mode, as an
 * oracle. configure finds its sources; its state machine is in
 * oracle_llhttp_states.c, which declares things in its own way. */
#include "api.c"

#include "http.c"

#include "oracle.h"

static int on_body(llhttp_t *p, const char *at, size_t len)
{
    struct oracle *o = p->data;

    memcpy(o->body + o->body_len, at, len);
    o->body_len += len;
    return 0;
}

/* Pausing shows the position. Connection counts now: the trailers may have
 * another one, which says nothing (RFC 9110 section 6.5.1). */
static int on_headers_complete(llhttp_t *p)
{
    struct oracle *o = p->data;

    o->has_head = true;
    o->keep = llhttp_should_keep_alive(p) != 0;
    return HPE_PAUSED;
}

static int on_message_complete(llhttp_t *p)
{
    struct oracle *o = p->data;

    o->complete = true;
    return HPE_PAUSED;
}

void oracle_llhttp(struct oracle *o, const char *p, size_t len)
{
    llhttp_settings_t settings;
    enum llhttp_errno e;
    llhttp_t parser;

    llhttp_settings_init(&settings);
    settings.on_body = on_body;
    settings.on_headers_complete = on_headers_complete;
    settings.on_message_complete = on_message_complete;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = o;
    e = llhttp_execute(&parser, p, len);
    if (e == HPE_PAUSED && o->has_head && !o->complete) {
        const char *at = llhttp_get_error_pos(&parser);

        o->head = (size_t)(at - p);
        llhttp_resume(&parser);
        e = llhttp_execute(&parser, at, len - o->head);
    }
    if (o->complete)
        o->end = (size_t)(llhttp_get_error_pos(&parser) - p);
    else if (e != HPE_OK)
        o->error = llhttp_errno_name(e);
}
