/* oracle_http_parser.c - The system's http_parser library as an oracle. It is
 * built without its strict mode, but it is another hand's reading. */
#include "oracle.h"

#include <http_parser.h>
#include <string.h>

static int on_body(http_parser *p, const char *at, size_t len)
{
    struct oracle *o = p->data;

    memcpy(o->body + o->body_len, at, len);
    o->body_len += len;
    return 0;
}

/* Pausing shows the position. Connection counts now: the trailers may have
 * another one, which says nothing (RFC 9110 section 6.5.1). */
static int on_headers_complete(http_parser *p)
{
    struct oracle *o = p->data;

    o->has_head = true;
    o->keep = http_should_keep_alive(p) != 0;
    http_parser_pause(p, 1);
    return 0;
}

static int on_message_complete(http_parser *p)
{
    struct oracle *o = p->data;

    o->complete = true;
    http_parser_pause(p, 1);
    return 0;
}

void oracle_http_parser(struct oracle *o, const char *p, size_t len)
{
    http_parser_settings settings;
    http_parser parser;
    size_t used;

    http_parser_settings_init(&settings);
    settings.on_body = on_body;
    settings.on_headers_complete = on_headers_complete;
    settings.on_message_complete = on_message_complete;
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = o;
    used = http_parser_execute(&parser, &settings, p, len);
    if (HTTP_PARSER_ERRNO(&parser) == HPE_PAUSED && o->has_head &&
        !o->complete) {
        /* It stops at the last LF of the head, not after it. */
        o->head = used + 1;
        http_parser_pause(&parser, 0);
        used += http_parser_execute(&parser, &settings, p + used, len - used);
    }
    if (o->complete)
        o->end = used;
    else if (HTTP_PARSER_ERRNO(&parser) != HPE_OK)
        o->error = http_errno_name(HTTP_PARSER_ERRNO(&parser));
}
