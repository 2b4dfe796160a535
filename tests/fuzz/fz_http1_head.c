/* fz_http1_head.c - Head scanner and parser. Holds that pieces do not matter,
 * that scanner and parser draw the same line, that every slice lies in the
 * input, and that a head written anew from its parts means the same.
 *
 * Input: a byte of options (bit 0: response, the rest: size of the pieces),
 * then the head. */
#include "wire/http1.h"

#include <stdlib.h>

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond))                                                           \
            abort();                                                           \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef enum err parse_fn(struct str, struct http1_header *, size_t,
                          struct http1_head *);

static bool lies_in(struct str part, struct str whole)
{
    return part.len == 0 ||
           (part.p >= whole.p && part.p + part.len <= whole.p + whole.len);
}

/* Scan <in> in pieces of <step> bytes. */
static enum err scan(enum http1_kind kind, struct str in, size_t step,
                     size_t *used_out)
{
    struct http1_scan s = {.kind = kind};
    enum err e = ERR_AGAIN;
    size_t n = 0;

    while (e == ERR_AGAIN && n < in.len) {
        n = in.len - n < step ? in.len : n + step;
        e = http1_scan(&s, in.p, n, NULL, used_out);
    }
    return e;
}

static void check_slices(const struct http1_head *h, struct str in)
{
    CHECK(lies_in(h->method_text, in) && lies_in(h->target, in));
    CHECK(lies_in(h->path, in) && lies_in(h->query, in));
    CHECK(lies_in(h->host, in) && lies_in(h->reason, in));
    CHECK(h->target.len == h->path.len + h->query.len);
    for (size_t i = 0; i < h->count; i++) {
        CHECK(http1_is_token(h->headers[i].name));
        CHECK(http1_is_field_value(h->headers[i].value));
        CHECK(lies_in(h->headers[i].name, in));
        CHECK(lies_in(h->headers[i].value, in));
    }
}

static enum err rewrite(const struct http1_head *h, struct buf *b)
{
    enum err e;

    if (h->status > 0)
        e = buf_printf(b, "HTTP/1.%d %d %.*s\r\n", h->minor, h->status,
                       STR_ARG(h->reason));
    else
        e = buf_printf(b, "%.*s %.*s HTTP/1.%d\r\n", STR_ARG(h->method_text),
                       STR_ARG(h->target), h->minor);
    for (size_t i = 0; i < h->count && e == ERR_OK; i++)
        e = http1_put_header(b, h->headers[i].name, h->headers[i].value);
    return e == ERR_OK ? http1_put_end(b) : e;
}

static void check_rewrite(const struct http1_head *h, parse_fn *parse)
{
    static struct http1_header table[HTTP1_FIELDS];
    struct http1_head again;
    struct buf b;

    buf_init(&b, 1u << 20);
    CHECK(rewrite(h, &b) == ERR_OK);
    CHECK(parse(buf_str(&b), table, HTTP1_FIELDS, &again) == ERR_OK);
    CHECK(again.framing == h->framing && again.count == h->count);
    CHECK(again.content_length == h->content_length);
    CHECK(again.keep_alive == h->keep_alive);
    CHECK(again.websocket == h->websocket);
    CHECK(again.expect_continue == h->expect_continue);
    CHECK(str_eq(again.target, h->target) && str_eq(again.host, h->host));
    CHECK(!memchr(h->path.p ? h->path.p : "", '?', h->path.len));
    for (size_t i = 0; i < h->count; i++) {
        struct str name = h->headers[i].name;

        CHECK(str_eq(again.headers[i].value, h->headers[i].value));
        CHECK(http1_is_named_by_connection(h, name) ==
              http1_is_named_by_connection(&again, name));
    }
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http1_header table[HTTP1_FIELDS];
    struct http1_head head;
    enum http1_kind kind;
    parse_fn *parse;
    struct str in;
    size_t used = 0, pieces_used = 0;
    enum err e, pieces_e;

    if (size < 1)
        return 0;
    kind = data[0] & 1 ? HTTP1_RESPONSE : HTTP1_REQUEST;
    parse = kind == HTTP1_RESPONSE ? http1_parse_response : http1_parse;
    in = str_of(data + 1, size - 1);
    e = scan(kind, in, in.len + 1, &used);
    pieces_e = scan(kind, in, 1u + (data[0] >> 1), &pieces_used);
    CHECK(e == pieces_e && used == pieces_used);
    if (e == ERR_OK)
        in.len = used;
    pieces_e = parse(in, table, HTTP1_FIELDS, &head);
    if (pieces_e != ERR_OK)
        return 0;
    if (e == ERR_OK) {
        check_slices(&head, in);
        check_rewrite(&head, parse);
    } else {
        CHECK(e == ERR_URI_TOO_LONG || e == ERR_HEADERS_TOO_LARGE);
    }
    return 0;
}
