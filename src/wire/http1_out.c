/* http1_out.c - Writes HTTP/1.1 heads and chunks into buffers. Decides that
 * nothing which could break a head apart (CR, LF, NUL, control bytes) ever
 * leaves this process, whoever supplied it. */
#include "wire/http1.h"

struct reason {
    int status;
    const char *text;
};

/* RFC 9110 section 15, RFC 6585, and the two that gateways made custom. */
static const struct reason reasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {103, "Early Hints"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {407, "Proxy Authentication Required"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
    {511, "Network Authentication Required"},
    {529, "Overloaded"},
};

/* Append without a check; room was reserved. */
static void put(struct buf *b, struct str s)
{
    if (s.len > 0)
        memcpy(b->p + b->len, s.p, s.len);
    b->len += s.len;
}

const char *http1_reason(int status)
{
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].status == status)
            return reasons[i].text;
    }
    return "Unknown";
}

enum err http1_put_status(struct buf *b, int status)
{
    struct str reason = str_from(http1_reason(status));
    char code[3] = {(char)('0' + status / 100 % 10),
                    (char)('0' + status / 10 % 10), (char)('0' + status % 10)};
    enum err e;

    if (status < 100 || status > 999)
        return ERR_RANGE;
    e = buf_reserve(b, reason.len + 15);
    if (e != ERR_OK)
        return e;
    put(b, STR("HTTP/1.1 "));
    put(b, str_of(code, sizeof(code)));
    put(b, STR(" "));
    put(b, reason);
    put(b, STR("\r\n"));
    return ERR_OK;
}

enum err http1_put_request(struct buf *b, struct str method, struct str target)
{
    enum err e;

    if (!http1_is_token(method) || target.len == 0)
        return ERR_SYNTAX;
    for (size_t i = 0; i < target.len; i++) {
        if (target.p[i] <= ' ' || target.p[i] > '~' || target.p[i] == '#')
            return ERR_SYNTAX;
    }
    e = buf_reserve(b, method.len + target.len + 12);
    if (e != ERR_OK)
        return e;
    put(b, method);
    put(b, STR(" "));
    put(b, target);
    put(b, STR(" HTTP/1.1\r\n"));
    return ERR_OK;
}

enum err http1_put_header(struct buf *b, struct str name, struct str value)
{
    enum err e;

    if (!http1_is_token(name) || !http1_is_field_value(value))
        return ERR_SYNTAX;
    e = buf_reserve(b, name.len + value.len + 4);
    if (e != ERR_OK)
        return e;
    put(b, name);
    put(b, STR(": "));
    put(b, value);
    put(b, STR("\r\n"));
    return ERR_OK;
}

enum err http1_put_header_u64(struct buf *b, struct str name, uint64_t value)
{
    char digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    return http1_put_header(b, name, str_of(digits + at, sizeof(digits) - at));
}

enum err http1_put_end(struct buf *b)
{
    return buf_put(b, "\r\n", 2);
}

struct str http1_chunk_prefix(char room[HTTP1_CHUNK_PREFIX], size_t len)
{
    static const char hex[] = "0123456789abcdef";
    size_t at = HTTP1_CHUNK_PREFIX;

    room[--at] = '\n';
    room[--at] = '\r';
    do {
        room[--at] = hex[len & 15];
        len >>= 4;
    } while (len > 0);
    return str_of(room + at, HTTP1_CHUNK_PREFIX - at);
}

enum err http1_put_chunk(struct buf *b, struct str data)
{
    char room[HTTP1_CHUNK_PREFIX];
    struct str prefix;
    enum err e;

    if (data.len == 0)
        return ERR_OK;
    prefix = http1_chunk_prefix(room, data.len);
    e = buf_reserve(b, prefix.len + data.len + 2);
    if (e != ERR_OK)
        return e;
    put(b, prefix);
    put(b, data);
    put(b, HTTP1_CHUNK_END);
    return ERR_OK;
}
