/* http1_body.c - Finds a body's data and its end, for Content-Length and for
 * the chunked coding, in bytes that arrive in any pieces. Gives slices of the
 * input, keeps no pointer. Decides how much framing a body may cost.
 *
 *   DATA (length)  -> DONE
 *   SIZE -> EXT.. -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE ..
 *                       `(size 0)-> LINE -> NAME -> VALUE -> VALUE_LF -> LINE
 *                                     `-> END_LF -> DONE                    */
#include "wire/http1.h"

#include "wire/http1_char.h"

#define SIZE_DIGITS_MAX 16

enum body_state {
    BODY_DONE = 0,
    BODY_DATA,
    BODY_SIZE,
    /* extensions of a chunk: the rows of ext_next */
    BODY_EXT_BLANK,      /* blanks before ';' */
    BODY_EXT_START,      /* after ';' */
    BODY_EXT_NAME,       /* in a name */
    BODY_EXT_NAME_BLANK, /* blanks after a name */
    BODY_EXT_EQUALS,     /* after '=' */
    BODY_EXT_VALUE,      /* in a token value */
    BODY_EXT_QUOTED,     /* in a quoted value */
    BODY_EXT_ESCAPE,     /* after '\' in it */
    BODY_EXT_QUOTED_END, /* after the closing quote */
    BODY_SIZE_LF,
    BODY_DATA_CR,
    BODY_DATA_LF,
    BODY_LINE,
    BODY_NAME,
    BODY_VALUE,
    BODY_VALUE_LF,
    BODY_END_LF,
    BODY_FAILED,
};

/* What a byte is to an extension; OTHER is any other byte of a quoted value. */
enum ext_char {
    EXT_BLANK,
    EXT_SEMI,
    EXT_EQUAL,
    EXT_QUOTE,
    EXT_BACK,
    EXT_TOKEN,
    EXT_OTHER,
    EXT_CR,
    EXT_COUNT
};

#define NO BODY_FAILED

/* RFC 9112 section 7.1.1, with its "bad" blanks around ';' and '='. */
/* clang-format off */
static const uint8_t ext_next[][EXT_COUNT] = {
    /*                  blank           ;          =         "   \   token  other CR */
    [BODY_EXT_BLANK - BODY_EXT_BLANK] =
        {BODY_EXT_BLANK, BODY_EXT_START, NO, NO, NO, NO, NO, NO},
    [BODY_EXT_START - BODY_EXT_BLANK] =
        {BODY_EXT_START, NO, NO, NO, NO, BODY_EXT_NAME, NO, NO},
    [BODY_EXT_NAME - BODY_EXT_BLANK] =
        {BODY_EXT_NAME_BLANK, BODY_EXT_START, BODY_EXT_EQUALS, NO, NO,
         BODY_EXT_NAME, NO, BODY_SIZE_LF},
    [BODY_EXT_NAME_BLANK - BODY_EXT_BLANK] =
        {BODY_EXT_NAME_BLANK, BODY_EXT_START, BODY_EXT_EQUALS, NO, NO, NO, NO,
         NO},
    [BODY_EXT_EQUALS - BODY_EXT_BLANK] =
        {BODY_EXT_EQUALS, NO, NO, BODY_EXT_QUOTED, NO, BODY_EXT_VALUE, NO, NO},
    [BODY_EXT_VALUE - BODY_EXT_BLANK] =
        {BODY_EXT_BLANK, BODY_EXT_START, NO, NO, NO, BODY_EXT_VALUE, NO,
         BODY_SIZE_LF},
    [BODY_EXT_QUOTED - BODY_EXT_BLANK] =
        {BODY_EXT_QUOTED, BODY_EXT_QUOTED, BODY_EXT_QUOTED, BODY_EXT_QUOTED_END,
         BODY_EXT_ESCAPE, BODY_EXT_QUOTED, BODY_EXT_QUOTED, NO},
    [BODY_EXT_ESCAPE - BODY_EXT_BLANK] =
        {BODY_EXT_QUOTED, BODY_EXT_QUOTED, BODY_EXT_QUOTED, BODY_EXT_QUOTED,
         BODY_EXT_QUOTED, BODY_EXT_QUOTED, BODY_EXT_QUOTED, NO},
    [BODY_EXT_QUOTED_END - BODY_EXT_BLANK] =
        {BODY_EXT_BLANK, BODY_EXT_START, NO, NO, NO, NO, NO, BODY_SIZE_LF},
};
/* clang-format on */

#undef NO

static enum err go(struct http1_body *b, enum body_state next)
{
    b->state = (uint8_t)next;
    return ERR_OK;
}

/* Go on in <next> when <c> is <want>. */
static enum err expect(struct http1_body *b, char c, char want,
                       enum body_state next)
{
    return c == want ? go(b, next) : ERR_BAD_HTTP;
}

static enum err on_ext(struct http1_body *b, char c)
{
    enum ext_char what = EXT_OTHER;
    uint8_t next;

    if (++b->ext_bytes > HTTP1_CHUNK_EXT_BYTES + 1)
        return ERR_BAD_HTTP;
    if (c == ' ' || c == '\t')
        what = EXT_BLANK;
    else if (c == ';')
        what = EXT_SEMI;
    else if (c == '=')
        what = EXT_EQUAL;
    else if (c == '"')
        what = EXT_QUOTE;
    else if (c == '\\')
        what = EXT_BACK;
    else if (c == '\r')
        what = EXT_CR;
    else if (http1_char_is(c, HTTP1_TCHAR))
        what = EXT_TOKEN;
    else if (!http1_char_is(c, HTTP1_FIELD))
        return ERR_BAD_HTTP;
    next = ext_next[b->state - BODY_EXT_BLANK][what];
    return next == BODY_FAILED ? ERR_BAD_HTTP : go(b, next);
}

static enum err on_size(struct http1_body *b, char c)
{
    if (http1_char_is(c, HTTP1_HEX)) {
        if (++b->digits > SIZE_DIGITS_MAX)
            return ERR_BAD_HTTP;
        b->left = b->left << 4 | http1_char_hex(c);
        return ERR_OK;
    }
    if (b->digits == 0)
        return ERR_BAD_HTTP;
    if (c == '\r')
        return go(b, BODY_SIZE_LF);
    b->ext_bytes = 1;
    if (c == ';')
        return go(b, BODY_EXT_START);
    if (c == ' ' || c == '\t')
        return go(b, BODY_EXT_BLANK);
    return ERR_BAD_HTTP;
}

/* The size line is complete. */
static enum err on_size_end(struct http1_body *b, char c)
{
    uint64_t allowed;

    if (c != '\n')
        return ERR_BAD_HTTP;
    if (b->left == 0)
        return go(b, BODY_LINE);
    if (b->left > b->limit - b->total)
        return ERR_TOO_LARGE;
    b->total += b->left;
    if (__builtin_mul_overflow(b->total, HTTP1_OVERHEAD_RATIO, &allowed) ||
        __builtin_add_overflow(allowed, HTTP1_OVERHEAD_BASE_BYTES, &allowed))
        allowed = UINT64_MAX;
    return b->overhead > allowed ? ERR_BAD_HTTP : go(b, BODY_DATA);
}

/* A trailer's name is complete: those that frame messages are an attack. */
static enum err on_name_end(struct http1_body *b)
{
    struct str name = {b->name, b->name_len};

    if (str_ieq(name, STR("content-length")) ||
        str_ieq(name, STR("transfer-encoding")) || str_ieq(name, STR("host")))
        return ERR_BAD_HTTP;
    return go(b, BODY_VALUE);
}

static enum err on_trailer(struct http1_body *b, char c)
{
    if (++b->trailer_bytes > HTTP1_TRAILER_BYTES)
        return ERR_HEADERS_TOO_LARGE;
    if (b->state == BODY_VALUE)
        return http1_char_is(c, HTTP1_FIELD)
                   ? ERR_OK
                   : expect(b, c, '\r', BODY_VALUE_LF);
    if (b->state == BODY_LINE) {
        if (c == '\r')
            return go(b, BODY_END_LF);
        if (++b->fields > HTTP1_TRAILER_FIELDS)
            return ERR_HEADERS_TOO_LARGE;
        b->name_len = 0;
        b->state = BODY_NAME;
    } else if (c == ':') {
        return on_name_end(b);
    }
    if (!http1_char_is(c, HTTP1_TCHAR))
        return ERR_BAD_HTTP;
    if (b->name_len < sizeof(b->name))
        b->name[b->name_len++] = c;
    return ERR_OK;
}

/* One byte of framing. */
static enum err on_framing(struct http1_body *b, char c)
{
    b->overhead++;
    switch ((enum body_state)b->state) {
    case BODY_SIZE:
        return on_size(b, c);
    case BODY_SIZE_LF:
        return on_size_end(b, c);
    case BODY_DATA_CR:
        return expect(b, c, '\r', BODY_DATA_LF);
    case BODY_DATA_LF:
        b->left = 0;
        b->digits = 0;
        return expect(b, c, '\n', BODY_SIZE);
    case BODY_LINE:
    case BODY_NAME:
    case BODY_VALUE:
        return on_trailer(b, c);
    case BODY_VALUE_LF:
        return expect(b, c, '\n', BODY_LINE);
    case BODY_END_LF:
        return expect(b, c, '\n', BODY_DONE);
    case BODY_FAILED:
    case BODY_DONE:
    case BODY_DATA:
        return ERR_BAD_HTTP;
    default:
        return on_ext(b, c);
    }
}

/* Hand out what <in> has of the current run of data. */
static enum err take_data(struct http1_body *b, struct str in,
                          struct str *data_out)
{
    uint64_t n = in.len < b->left ? in.len : b->left;

    if (b->framing == HTTP1_UNTIL_CLOSE) {
        n = in.len;
        if (n > b->limit - b->given)
            return ERR_TOO_LARGE;
    } else {
        b->left -= n;
        if (b->left == 0)
            b->state = b->framing == HTTP1_CHUNKED ? BODY_DATA_CR : BODY_DONE;
    }
    b->given += n;
    *data_out = str_of(in.p, (size_t)n);
    return ERR_OK;
}

enum err http1_body_start(struct http1_body *b, const struct http1_head *head,
                          uint64_t limit_bytes)
{
    struct http1_body fresh = {.framing = head->framing, .limit = limit_bytes};

    switch (head->framing) {
    case HTTP1_NO_BODY:
        break;
    case HTTP1_LENGTH:
        if (head->content_length > limit_bytes)
            return ERR_TOO_LARGE;
        fresh.left = head->content_length;
        fresh.total = head->content_length;
        fresh.state = fresh.left > 0 ? BODY_DATA : BODY_DONE;
        break;
    case HTTP1_CHUNKED:
        fresh.state = BODY_SIZE;
        break;
    case HTTP1_UNTIL_CLOSE:
        fresh.state = BODY_DATA;
        break;
    }
    *b = fresh;
    return ERR_OK;
}

enum err http1_body_feed(struct http1_body *b, const char *p, size_t len,
                         size_t *used_out, struct str *data_out)
{
    struct str data = {p, 0};
    size_t used = 0;
    enum err e;

    while (used < len && b->state != BODY_DONE) {
        if (b->state == BODY_DATA) {
            if (data.len > 0)
                break;
            e = take_data(b, str_of(p + used, len - used), &data);
            used += data.len;
        } else {
            e = on_framing(b, p[used++]);
        }
        if (e != ERR_OK) {
            b->state = BODY_FAILED;
            return e;
        }
    }
    *used_out = used;
    *data_out = data;
    return b->state == BODY_DONE ? ERR_OK : ERR_AGAIN;
}

bool http1_body_is_done(const struct http1_body *b)
{
    return b->state == BODY_DONE;
}

uint64_t http1_body_bytes(const struct http1_body *b)
{
    return b->given;
}
