/* http1.h - HTTP/1.1 on the wire (RFC 9112): a resumable scanner that finds
 * and polices a message head, a one-shot parser of the complete head, an
 * incremental body reader and the writers of heads and chunks. Everything is
 * pure: bytes in, structs out; nothing is allocated and nothing is copied.
 *
 * The reading side is strict on purpose: what two parsers could read in two
 * ways is refused, never repaired. After any failure the connection must be
 * closed, since nobody knows where the next message begins. */
#ifndef TG_WIRE_HTTP1_H
#define TG_WIRE_HTTP1_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Defaults of the limits below; also the most fields a table need hold. */
#define HTTP1_HEAD_BYTES   32768
#define HTTP1_TARGET_BYTES 8192
#define HTTP1_FIELDS       100

/* Bounds on a head. A zero member stands for its default above. */
struct http1_limits {
    size_t head_bytes;   /* whole head, leading empty lines included */
    size_t target_bytes; /* request-target */
    size_t fields;       /* header fields */
};

/* What kind of head a scanner expects. */
enum http1_kind { HTTP1_REQUEST = 0, HTTP1_RESPONSE };

/* State of a head scan. Zeroed is a fresh scan of a request; set <kind> for a
 * response. Holds no pointer, so the input may move between calls. */
struct http1_scan {
    enum http1_kind kind;
    uint8_t state;       /* private */
    uint8_t matched;     /* private: bytes of a fixed text seen */
    uint8_t blank_lines; /* private: empty lines before the start line */
    bool bad_version;    /* private: well-formed, but not 1.0 or 1.1 */
    size_t at;           /* bytes looked at so far */
    size_t element;      /* private: length of the current element */
    size_t fields;       /* header fields begun */
};

/* Continue the scan of a head. <p>, <len> are all bytes received since the
 * scan began (the first of them unchanged); none is looked at twice. <limits>
 * may be NULL for the defaults.
 * ERR_OK: the head is complete; <used_out> is its length, leading empty lines
 * and final empty line included. ERR_AGAIN: more bytes are needed.
 * ERR_BAD_HTTP, ERR_HTTP_VERSION, ERR_URI_TOO_LONG, ERR_HEADERS_TOO_LARGE:
 * refused, at the first byte that shows it; answer, then close. */
enum err http1_scan(struct http1_scan *s, const char *p, size_t len,
                    const struct http1_limits *limits,
                    size_t *used_out) MUST_CHECK;

/* Request methods that the rest of the tree tells apart. */
enum http1_method {
    HTTP1_OTHER = 0, /* any other token; see method_text */
    HTTP1_GET,
    HTTP1_HEAD,
    HTTP1_POST,
    HTTP1_PUT,
    HTTP1_PATCH,
    HTTP1_DELETE,
    HTTP1_OPTIONS,
    HTTP1_TRACE,
    HTTP1_METHOD_COUNT
};

/* How the end of a body is found (RFC 9112 section 6.3). */
enum http1_framing {
    HTTP1_NO_BODY = 0,
    HTTP1_LENGTH,      /* content_length bytes, which may be 0 */
    HTTP1_CHUNKED,     /* the chunked coding */
    HTTP1_UNTIL_CLOSE, /* responses only: until the connection ends */
};

/* One header field; both slices borrow the parsed head. */
struct http1_header {
    struct str name;  /* as sent, never empty */
    struct str value; /* without surrounding blanks, may be empty */
};

/* A parsed head. Slices borrow the bytes that were parsed, <headers> is the
 * caller's table. Request members are zero in a response and vice versa. */
struct http1_head {
    enum http1_method method;
    int minor;              /* HTTP/1.<minor>: 0 or 1 */
    struct str method_text; /* as sent */
    struct str target;      /* raw: path and query */
    struct str path;        /* raw, begins with '/', or is "*" */
    struct str query;       /* raw, with its '?'; empty when there is none */
    struct str host;        /* Host, empty when a 1.0 request has none */
    int status;             /* response: 100..999 */
    struct str reason;      /* response: reason phrase, may be empty */

    struct http1_header *headers; /* borrowed: the table given */
    size_t count;                 /* fields in it */

    enum http1_framing framing;
    uint64_t content_length; /* with HTTP1_LENGTH */
    bool keep_alive;         /* the connection outlives this message */
    bool expect_continue;    /* a 100 (Continue) is waited for */
    bool has_connection;     /* some Connection field is present */
    bool connection_upgrade; /* Connection names "upgrade" */
    bool websocket;          /* GET asking to upgrade to websocket, no body;
                              * in a response: 101 agreeing to it */
};

/* Parse the complete request head <head> (what http1_scan() measured; leading
 * empty lines are fine) into <out>, using the <room> entries of <table>.
 * Checks everything by itself, whether or not the bytes were scanned before.
 * ERR_BAD_HTTP, ERR_HTTP_VERSION: as http1_scan(). ERR_EXPECTATION: an Expect
 * other than 100-continue. ERR_HEADERS_TOO_LARGE: more than <room> fields. */
enum err http1_parse(struct str head, struct http1_header *table, size_t room,
                     struct http1_head *out) MUST_CHECK;

/* The same for the response head to a GET, as strict. Interim responses (1xx)
 * are given like any other, without a body. */
enum err http1_parse_response(struct str head, struct http1_header *table,
                              size_t room, struct http1_head *out) MUST_CHECK;

/* The first field called <name> (any case), or NULL; the pointer lives as
 * long as the table. */
const struct http1_header *http1_find(const struct http1_head *head,
                                      struct str name);

/* Cut the next non-empty member off the comma-separated <list> (RFC 9110
 * section 5.6.1) and give it, trimmed, in <member_out>. False at the end. Knows
 * nothing of quoted strings. */
bool http1_next_member(struct str *list, struct str *member_out);

/* Whether the comma-separated <list> has the member <token> (any case). */
bool http1_list_has(struct str list, struct str token);

/* Whether Content-Encoding names a coding other than identity. */
bool http1_is_encoded(const struct http1_head *head);

/* Whether <s> is a token of RFC 9110 section 5.6.2 (1*tchar). */
bool http1_is_token(struct str s);

/* Whether <s> may stand as a field value: no CR, LF, NUL or other control
 * byte but HTAB. Blanks at the ends are fine. */
bool http1_is_field_value(struct str s);

/* Whether <s> is a valid Host value: uri-host [ ":" port ]. */
bool http1_is_host(struct str s);

/* Whether a field called <name> belongs to one connection by its very name
 * (RFC 9110 section 7.6.1 and its kin: Connection, Keep-Alive, Proxy-*, TE,
 * Trailer, Transfer-Encoding, Upgrade, HTTP2-Settings). Content-Length and
 * Host are not among them: whoever writes a head frames it on its own. */
bool http1_is_hop_header(struct str name);

/* Whether a Connection field of <head> names <name>. */
bool http1_is_named_by_connection(const struct http1_head *head,
                                  struct str name);

/* ---- bodies ------------------------------------------------------------ */

/* Bounds on the framing of a chunked body. */
#define HTTP1_CHUNK_EXT_BYTES 256 /* extensions of one chunk */
#define HTTP1_TRAILER_BYTES   8192
#define HTTP1_TRAILER_FIELDS  100

/* Framing bytes (size lines, extensions, line ends) that a chunked body may
 * have: this many, and this many more for each byte of data. The leanest
 * one-byte chunk costs five; clients that send such chunks are in order,
 * those that send many times more framing than data are not. */
#define HTTP1_OVERHEAD_BASE_BYTES 65536
#define HTTP1_OVERHEAD_RATIO      8

/* State of a body reader; members are private. */
struct http1_body {
    enum http1_framing framing;
    uint8_t state;
    uint8_t digits;     /* of the current chunk size */
    uint16_t ext_bytes; /* of the current chunk */
    uint16_t fields;    /* trailer fields begun */
    uint16_t trailer_bytes;
    uint8_t name_len;  /* of the current trailer name, capped */
    char name[20];     /* its first bytes */
    uint64_t left;     /* data bytes of the body or chunk still to come */
    uint64_t total;    /* data bytes announced so far */
    uint64_t given;    /* data bytes handed out */
    uint64_t overhead; /* framing bytes read */
    uint64_t limit;    /* most data bytes */
};

/* Begin to read the body that follows <head>; it may hold at most
 * <limit_bytes> of data. ERR_TOO_LARGE when Content-Length passes it. */
enum err http1_body_start(struct http1_body *b, const struct http1_head *head,
                          uint64_t limit_bytes) MUST_CHECK;

/* Read on in the <len> bytes at <p>. At most one run of data is found a call:
 * it is given in <data_out> as a slice of the input (empty when none), and
 * <used_out> bytes of the input are done with.
 * ERR_OK: the body ends with these bytes, what follows is the next message.
 * ERR_AGAIN: go on, with the rest of the input or with more; when <len> was
 * not 0, <used_out> is not 0. ERR_TOO_LARGE: more data than allowed, as soon
 * as the size is known. ERR_BAD_HTTP: not well-formed, or too much framing.
 * ERR_HEADERS_TOO_LARGE: too many trailers. Trailers are checked, dropped. */
enum err http1_body_feed(struct http1_body *b, const char *p, size_t len,
                         size_t *used_out, struct str *data_out) MUST_CHECK;

/* Whether the body is complete; true at once when there is none. */
bool http1_body_is_done(const struct http1_body *b);

/* Data bytes handed out so far. */
uint64_t http1_body_bytes(const struct http1_body *b);

/* ---- output ------------------------------------------------------------ */

/* The reason phrase of <status>, "Unknown" for those without one. */
const char *http1_reason(int status);

/* Append "HTTP/1.1 <status> <reason>" and its line end. ERR_RANGE unless
 * <status> is 100..999, ERR_NOMEM at the cap of <b>. */
enum err http1_put_status(struct buf *b, int status) MUST_CHECK;

/* Append the request line "<method> <target> HTTP/1.1". ERR_SYNTAX when
 * <method> is no token or <target> has a byte that no target may have. */
enum err http1_put_request(struct buf *b, struct str method,
                           struct str target) MUST_CHECK;

/* Append one header field. ERR_SYNTAX, and nothing appended, when <name> is no
 * token or <value> has CR, LF, NUL or another control byte. */
enum err http1_put_header(struct buf *b, struct str name,
                          struct str value) MUST_CHECK;

/* Append one header field with a decimal value. */
enum err http1_put_header_u64(struct buf *b, struct str name,
                              uint64_t value) MUST_CHECK;

/* Append the empty line that ends a head. */
enum err http1_put_end(struct buf *b) MUST_CHECK;

/* Room for a chunk-size line: 16 digits and the line end. */
#define HTTP1_CHUNK_PREFIX 18

/* The line end after a chunk's data, and the whole last chunk. */
#define HTTP1_CHUNK_END  STR("\r\n")
#define HTTP1_CHUNK_LAST STR("0\r\n\r\n")

/* Write the size line of a chunk of <len> > 0 bytes into <room>; gives the
 * slice of it that is used. */
struct str http1_chunk_prefix(char room[HTTP1_CHUNK_PREFIX], size_t len);

/* Append <data> as one chunk; nothing when it is empty, since an empty chunk
 * would end the body. */
enum err http1_put_chunk(struct buf *b, struct str data) MUST_CHECK;

#endif
