/* kind.c - See kind.h. */
#include "relay/kind.h"

#include <string.h>

#include "exchange/exchange.h"

static struct str media_type(const struct exchange *x)
{
    struct str v = headers_value(&x->work->head->headers, STR("Content-Type"));

    v.len = str_find_char(v, ';');
    return str_trim(v);
}

bool stream_is_events(const struct exchange *x)
{
    return str_ieq(media_type(x), STR("text/event-stream")) &&
           !headers_are_coded(&x->work->head->headers);
}

bool stream_may_be_events(const struct exchange *x)
{
    struct str type = media_type(x);
    int status = x->work->head->status;
    enum endpoint_end end = x->in->ep.row->end;

    if (!x->ask->stream || status < 200 || status > 299 || status == 204 ||
        status == 205 || headers_are_coded(&x->work->head->headers))
        return false;
    if (end != ENDPOINT_END_CHAT && end != ENDPOINT_END_RESPONSES &&
        end != ENDPOINT_END_MESSAGES)
        return false;
    return type.len == 0 || str_ieq(type, STR("text/plain")) ||
           str_ieq(type, STR("application/octet-stream"));
}

bool stream_begins_events(struct str s)
{
    static const struct str fields[] = {
        {":", 1}, {"data", 4}, {"event", 5}, {"id", 2}, {"retry", 5}};

    if (str_starts(s, STR("\xEF\xBB\xBF")))
        s = str_skip(s, 3);
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        size_t n = s.len < fields[i].len ? s.len : fields[i].len;

        if (memcmp(s.p, fields[i].p, n) == 0)
            return true;
    }
    return false;
}

/* Images and audio come in base64 within one line; text never comes near the
 * bounds of sse.h. */
size_t stream_event_bound(const struct exchange *x)
{
    switch (x->in->ep.row->end) {
    case ENDPOINT_END_RESPONSES:
    case ENDPOINT_END_IMAGE:
    case ENDPOINT_END_SPEECH:
    case ENDPOINT_END_NONE:
        return STREAM_MEDIA_MAX;
    default:
        return 0;
    }
}
