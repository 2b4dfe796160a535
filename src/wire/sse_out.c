/* sse_out.c - The writer of sse.h. */
#include "wire/sse.h"

enum err sse_put(struct buf *out, struct str name, struct str data)
{
    size_t start = out->len;
    enum err e = ERR_OK;

    if (name.len > 0) {
        e = buf_put_str(out, STR("event: "));
        if (e == ERR_OK)
            e = buf_put_str(out, name);
        if (e == ERR_OK)
            e = buf_put_str(out, STR("\n"));
    }
    while (e == ERR_OK) {
        size_t at = 0;
        while (at < data.len && data.p[at] != '\n' && data.p[at] != '\r')
            at++;
        e = buf_put_str(out, STR("data: "));
        if (e == ERR_OK)
            e = buf_put(out, data.p, at);
        if (e == ERR_OK)
            e = buf_put_str(out, STR("\n"));
        if (at == data.len)
            break;
        if (at + 1 < data.len && data.p[at] == '\r' && data.p[at + 1] == '\n')
            at++;
        data = str_skip(data, at + 1);
    }
    if (e == ERR_OK)
        e = buf_put_str(out, STR("\n"));
    if (e != ERR_OK)
        out->len = start;
    return e;
}

enum err sse_put_done(struct buf *out)
{
    return buf_put_str(out, STR("data: [DONE]\n\n"));
}

enum err sse_put_ping(struct buf *out)
{
    return buf_put_str(out, STR(": ping\n"));
}

struct str sse_tail_end(enum sse_tail tail)
{
    switch (tail) {
    case SSE_TAIL_LINE:
        return STR("\n");
    case SSE_TAIL_TORN:
        return STR("\n\n");
    case SSE_TAIL_CLEAN:
        break;
    }
    return STR("");
}
