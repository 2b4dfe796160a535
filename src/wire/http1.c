/* http1.c - Parses a complete message head into slices and decides how its
 * body is framed. Decides what RFC 9112 leaves to the reader always in favour
 * of refusing: one Host, one length, chunked alone, no folding, no repairs.
 * Trusts nothing that the scanner found out. */
#include "wire/http1.h"

#include "wire/http1_char.h"

/* See http1_scan.c, which tolerates the same. */
#define BLANK_LINES_MAX  4
#define METHOD_BYTES_MAX 32

/* Fields that this file interprets. */
enum known {
    KNOWN_NOT = 0,
    KNOWN_HOST,
    KNOWN_CONTENT_LENGTH,
    KNOWN_TRANSFER_ENCODING,
    KNOWN_CONNECTION,
    KNOWN_EXPECT,
    KNOWN_UPGRADE,
    KNOWN_GUARDED,   /* of no interest, but see known_of() */
    KNOWN_DISGUISED, /* one of these, written with '_' for '-' */
};

/* A parse under way. */
struct parse {
    const char *p;   /* next byte */
    const char *end; /* borrowed, as <p> */
    struct http1_head head;
    unsigned hosts, lengths, codings;
    bool is_response;
    bool close;        /* Connection: close */
    bool persist;      /* Connection: keep-alive */
    bool expects;      /* Expect: 100-continue */
    bool to_websocket; /* Upgrade: websocket */
    bool bad_expect;   /* any other Expect */
};

struct method_name {
    struct str text;
    enum http1_method method;
};

static const struct method_name methods[] = {
    {STR("GET"), HTTP1_GET},         {STR("POST"), HTTP1_POST},
    {STR("HEAD"), HTTP1_HEAD},       {STR("PUT"), HTTP1_PUT},
    {STR("PATCH"), HTTP1_PATCH},     {STR("DELETE"), HTTP1_DELETE},
    {STR("OPTIONS"), HTTP1_OPTIONS}, {STR("TRACE"), HTTP1_TRACE},
};

struct field_name {
    struct str text;
    enum known known;
};

/* Names of interest by length; those of a length differ in their first. The
 * first entry is none, the last ends the last length. */
static const struct field_name field_names[] = {
    {{NULL, 0}, KNOWN_NOT},
    {STR("host"), KNOWN_HOST},
    {STR("expect"), KNOWN_EXPECT},
    {STR("upgrade"), KNOWN_UPGRADE},
    {STR("api-key"), KNOWN_GUARDED},
    {STR("x-api-key"), KNOWN_GUARDED},
    {STR("connection"), KNOWN_CONNECTION},
    {STR("keep-alive"), KNOWN_GUARDED},
    {STR("content-type"), KNOWN_GUARDED},
    {STR("content-length"), KNOWN_CONTENT_LENGTH},
    {STR("content-encoding"), KNOWN_GUARDED},
    {STR("proxy-connection"), KNOWN_GUARDED},
    {STR("transfer-encoding"), KNOWN_TRANSFER_ENCODING},
    {STR("proxy-authenticate"), KNOWN_GUARDED},
    {STR("proxy-authorization"), KNOWN_GUARDED},
    {{NULL, 0}, KNOWN_NOT},
};

/* Where the names of each length begin in field_names. */
static const uint8_t at_length[] = {
    [4] = 1,  [6] = 2,   [7] = 3,   [9] = 5,   [10] = 6,  [12] = 8,
    [14] = 9, [16] = 10, [17] = 12, [18] = 13, [19] = 14,
};

/* Fields of one connection, besides those that Connection names. */
static const struct str hop_names[] = {
    STR("connection"),
    STR("keep-alive"),
    STR("proxy-connection"),
    STR("proxy-authenticate"),
    STR("proxy-authorization"),
    STR("proxy-authentication-info"),
    STR("te"),
    STR("trailer"),
    STR("transfer-encoding"),
    STR("upgrade"),
    STR("http2-settings"),
};

static size_t left(const struct parse *ps)
{
    return (size_t)(ps->end - ps->p);
}

/* Take <text> when it comes next. */
static bool take(struct parse *ps, struct str text)
{
    if (!str_starts(str_of(ps->p, left(ps)), text))
        return false;
    ps->p += text.len;
    return true;
}

/* Take the run of bytes of class <of>. */
static struct str take_run(struct parse *ps, enum http1_char of)
{
    struct str run = {ps->p, http1_char_span(ps->p, left(ps), of)};

    ps->p += run.len;
    return run;
}

static enum http1_method method_of(struct str text)
{
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (str_eq(text, methods[i].text))
            return methods[i].method;
    }
    return HTTP1_OTHER;
}

/* "HTTP/" DIGIT "." DIGIT; 1.0 and 1.1 alone are spoken here. */
static enum err parse_version(struct parse *ps, char last)
{
    const char *v = ps->p;

    if (left(ps) < 9 || !take(ps, STR("HTTP/")) ||
        !http1_char_is(v[5], HTTP1_DIGIT) || v[6] != '.' ||
        !http1_char_is(v[7], HTTP1_DIGIT) || v[8] != last)
        return ERR_BAD_HTTP;
    if (v[5] != '1' || v[7] > '1')
        return ERR_HTTP_VERSION;
    ps->head.minor = v[7] - '0';
    ps->p = v + 8;
    return ERR_OK;
}

static enum err parse_target(struct parse *ps)
{
    struct http1_head *h = &ps->head;

    h->target.p = ps->p;
    if (take(ps, STR("*"))) {
        h->path = str_of(h->target.p, 1);
    } else {
        h->path = take_run(ps, HTTP1_PATH);
        if (h->path.len == 0 || h->path.p[0] != '/')
            return ERR_BAD_HTTP;
    }
    h->query = str_of(ps->p, 0);
    if (h->path.p[0] == '/' && take(ps, STR("?")))
        h->query.len = 1 + take_run(ps, HTTP1_QUERY).len;
    h->target.len = (size_t)(ps->p - h->target.p);
    return ERR_OK;
}

static enum err parse_request_line(struct parse *ps)
{
    struct http1_head *h = &ps->head;
    enum err e;

    for (int i = 0; i < BLANK_LINES_MAX; i++) {
        if (!take(ps, STR("\r\n")))
            break;
    }
    h->method_text = take_run(ps, HTTP1_TCHAR);
    h->method = method_of(h->method_text);
    if (h->method_text.len == 0 || h->method_text.len > METHOD_BYTES_MAX ||
        !take(ps, STR(" ")))
        return ERR_BAD_HTTP;
    e = parse_target(ps);
    if (e != ERR_OK)
        return e;
    if (!take(ps, STR(" ")))
        return ERR_BAD_HTTP;
    e = parse_version(ps, '\r');
    if (e != ERR_OK)
        return e;
    if (!take(ps, STR("\r\n")) || str_eq(h->method_text, STR("CONNECT")))
        return ERR_BAD_HTTP;
    if (h->path.p[0] == '*' && h->method != HTTP1_OPTIONS)
        return ERR_BAD_HTTP;
    return ERR_OK;
}

static enum err parse_status_line(struct parse *ps)
{
    struct http1_head *h = &ps->head;
    enum err e = parse_version(ps, ' ');
    struct str code;
    uint64_t status;

    if (e != ERR_OK)
        return e;
    ps->p++;
    code = take_run(ps, HTTP1_DIGIT);
    if (code.len != 3 || code.p[0] == '0' || !str_to_u64(code, &status) ||
        !take(ps, STR(" ")))
        return ERR_BAD_HTTP;
    h->status = (int)status;
    h->reason = take_run(ps, HTTP1_FIELD);
    return take(ps, STR("\r\n")) ? ERR_OK : ERR_BAD_HTTP;
}

/* The entry that <name> can be at all, or NULL. */
static const struct field_name *candidate(struct str name)
{
    size_t i = name.len < sizeof(at_length) ? at_length[name.len] : 0;

    for (; i > 0 && field_names[i].text.len == name.len; i++) {
        if (field_names[i].text.p[0] == (name.p[0] | 32))
            return &field_names[i];
    }
    return NULL;
}

/* What <name> is to this file. The meaning of the fields above must not hinge
 * on whether a later reader takes '_' for '-', as CGI and its heirs do. */
static enum known known_of(struct str name)
{
    const struct field_name *f = candidate(name);

    if (!f)
        return KNOWN_NOT;
    if (str_ieq(name, f->text))
        return f->known;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.p[i] == '_' ? '-' : (char)(name.p[i] | 32);

        if (c != f->text.p[i])
            return KNOWN_NOT;
    }
    return KNOWN_DISGUISED;
}

static enum err on_connection(struct parse *ps, struct str list)
{
    struct str member;

    ps->head.has_connection = true;
    while (http1_next_member(&list, &member)) {
        if (!http1_is_token(member))
            return ERR_BAD_HTTP;
        if (str_ieq(member, STR("close")))
            ps->close = true;
        else if (str_ieq(member, STR("keep-alive")))
            ps->persist = true;
        else if (str_ieq(member, STR("upgrade")))
            ps->head.connection_upgrade = true;
    }
    return ERR_OK;
}

static enum err on_expect(struct parse *ps, struct str list)
{
    struct str member;

    while (http1_next_member(&list, &member)) {
        if (str_ieq(member, STR("100-continue")))
            ps->expects = true;
        else
            ps->bad_expect = true;
    }
    return ERR_OK;
}

/* 1*DIGIT, once, at most 2^63 - 1 so that no signed reader sees another. */
static enum err on_content_length(struct parse *ps, struct str value)
{
    uint64_t length;

    if (++ps->lengths > 1 || !str_to_u64(value, &length) || length > INT64_MAX)
        return ERR_BAD_HTTP;
    ps->head.content_length = length;
    return ERR_OK;
}

static enum err interpret(struct parse *ps, const struct http1_header *f)
{
    switch (known_of(f->name)) {
    case KNOWN_HOST:
        if (ps->is_response)
            return ERR_OK;
        if (++ps->hosts > 1 || !http1_is_host(f->value))
            return ERR_BAD_HTTP;
        ps->head.host = f->value;
        return ERR_OK;
    case KNOWN_CONTENT_LENGTH:
        return on_content_length(ps, f->value);
    case KNOWN_TRANSFER_ENCODING:
        if (++ps->codings > 1 || !str_ieq(f->value, STR("chunked")))
            return ERR_BAD_HTTP;
        return ERR_OK;
    case KNOWN_CONNECTION:
        return on_connection(ps, f->value);
    case KNOWN_EXPECT:
        return on_expect(ps, f->value);
    case KNOWN_UPGRADE:
        if (http1_list_has(f->value, STR("websocket")))
            ps->to_websocket = true;
        return ERR_OK;
    case KNOWN_DISGUISED:
        return ERR_BAD_HTTP;
    case KNOWN_NOT:
    case KNOWN_GUARDED:
        break;
    }
    return ERR_OK;
}

/* One field line. */
static enum err parse_field(struct parse *ps, struct http1_header *f)
{
    f->name = take_run(ps, HTTP1_TCHAR);
    if (f->name.len == 0 || !take(ps, STR(":")))
        return ERR_BAD_HTTP;
    f->value = str_of(ps->p, http1_char_span_field(ps->p, left(ps)));
    ps->p += f->value.len;
    f->value = str_trim(f->value);
    if (!take(ps, STR("\r\n")))
        return ERR_BAD_HTTP;
    return interpret(ps, f);
}

/* The field lines and the empty line, which must be the last. */
static enum err parse_fields(struct parse *ps, struct http1_header *table,
                             size_t room)
{
    size_t n = 0;
    enum err e;

    while (!take(ps, STR("\r\n"))) {
        if (n == room)
            return ERR_HEADERS_TOO_LARGE;
        e = parse_field(ps, &table[n]);
        if (e != ERR_OK)
            return e;
        n++;
    }
    ps->head.headers = table;
    ps->head.count = n;
    return ps->p == ps->end ? ERR_OK : ERR_BAD_HTTP;
}

/* What length and coding mean together (RFC 9112 section 6.3). */
static enum err frame(struct parse *ps)
{
    struct http1_head *h = &ps->head;

    if (ps->codings > 0 && (ps->lengths > 0 || h->minor == 0))
        return ERR_BAD_HTTP;
    if (ps->codings > 0)
        h->framing = HTTP1_CHUNKED;
    else if (ps->lengths > 0)
        h->framing = HTTP1_LENGTH;
    h->keep_alive = !ps->close && (h->minor == 1 || ps->persist);
    return ERR_OK;
}

enum err http1_parse(struct str head, struct http1_header *table, size_t room,
                     struct http1_head *out)
{
    struct parse ps = {.p = head.p, .end = head.p + head.len};
    struct http1_head *h = &ps.head;
    bool has_body;
    enum err e = parse_request_line(&ps);

    if (e == ERR_OK)
        e = parse_fields(&ps, table, room);
    if (e == ERR_OK)
        e = frame(&ps);
    if (e != ERR_OK)
        return e;
    if (ps.hosts == 0 && h->minor == 1)
        return ERR_BAD_HTTP;
    if (ps.bad_expect)
        return ERR_EXPECTATION;
    has_body = h->framing == HTTP1_CHUNKED || h->content_length > 0;
    h->expect_continue = ps.expects && has_body && h->minor == 1;
    h->websocket = ps.to_websocket && h->connection_upgrade && !has_body &&
                   h->method == HTTP1_GET && h->minor == 1;
    *out = *h;
    return ERR_OK;
}

enum err http1_parse_response(struct str head, struct http1_header *table,
                              size_t room, struct http1_head *out)
{
    struct parse ps = {
        .p = head.p, .end = head.p + head.len, .is_response = true};
    struct http1_head *h = &ps.head;
    enum err e = parse_status_line(&ps);

    if (e == ERR_OK)
        e = parse_fields(&ps, table, room);
    if (e == ERR_OK)
        e = frame(&ps);
    if (e != ERR_OK)
        return e;
    if (h->status < 200 || h->status == 204 || h->status == 304) {
        if (h->framing == HTTP1_CHUNKED && h->status != 304)
            return ERR_BAD_HTTP;
        h->framing = HTTP1_NO_BODY;
        h->content_length = 0;
    } else if (h->framing == HTTP1_NO_BODY) {
        h->framing = HTTP1_UNTIL_CLOSE;
        h->keep_alive = false;
    }
    h->websocket = h->status == 101 && h->minor == 1 && ps.to_websocket &&
                   h->connection_upgrade;
    *out = *h;
    return ERR_OK;
}

const struct http1_header *http1_find(const struct http1_head *head,
                                      struct str name)
{
    for (size_t i = 0; i < head->count; i++) {
        if (str_ieq(head->headers[i].name, name))
            return &head->headers[i];
    }
    return NULL;
}

bool http1_next_member(struct str *list, struct str *member_out)
{
    struct str part;

    while (str_split(list, ',', &part)) {
        part = str_trim(part);
        if (part.len > 0) {
            *member_out = part;
            return true;
        }
    }
    return false;
}

bool http1_list_has(struct str list, struct str token)
{
    struct str member;

    while (http1_next_member(&list, &member)) {
        if (str_ieq(member, token))
            return true;
    }
    return false;
}

bool http1_is_encoded(const struct http1_head *head)
{
    struct str list, member;

    for (size_t i = 0; i < head->count; i++) {
        if (!str_ieq(head->headers[i].name, STR("content-encoding")))
            continue;
        list = head->headers[i].value;
        while (http1_next_member(&list, &member)) {
            if (!str_ieq(member, STR("identity")))
                return true;
        }
    }
    return false;
}

bool http1_is_hop_header(struct str name)
{
    for (size_t i = 0; i < sizeof(hop_names) / sizeof(hop_names[0]); i++) {
        if (str_ieq(name, hop_names[i]))
            return true;
    }
    return false;
}

bool http1_is_named_by_connection(const struct http1_head *head,
                                  struct str name)
{
    if (!head->has_connection)
        return false;
    for (size_t i = 0; i < head->count; i++) {
        if (known_of(head->headers[i].name) == KNOWN_CONNECTION &&
            http1_list_has(head->headers[i].value, name))
            return true;
    }
    return false;
}
