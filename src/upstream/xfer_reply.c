/* xfer_reply.c - What a reply must look like, and what each failure of libcurl
 * means. libcurl forgives much: two lengths, a length beside chunks, folded
 * lines, any number of interim heads. Whoever forgives that can be made to see
 * another reply than the next reader does, so it is refused here. */
#include <stdio.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/panic.h"
#include "exchange/worker.h"
#include "upstream/xfer.h"
#include "wire/http1.h"

/* --- the head ----------------------------------------------------------- */

/* A reason not to trust the reply; gives the count that stops libcurl. */
static size_t refuse(struct xfer *xf, const char *why)
{
    xfer_fail(xf, ERR_UP_BAD, why);
    return 0;
}

/* "HTTP/1.1 200 OK" begins a head. */
static size_t on_status_line(struct xfer *xf, struct str line, size_t n)
{
    size_t at = str_find_char(line, ' ') + 1;
    struct str code = str_skip(line, at);
    uint64_t status;

    if (code.len < 3 || (code.len > 3 && code.p[3] != ' '))
        return refuse(xf, "the reply has no valid status line");
    code.len = 3;
    if (!str_to_u64(code, &status) || status < 100 || status > 599)
        return refuse(xf, "the reply has no valid status");
    if (status == 101)
        return refuse(xf, "the reply switches protocols, unasked");
    if (status < 200 && ++xf->reply.interim > XFER_INTERIM_MAX)
        return refuse(xf, "the reply has too many interim heads");
    memset(xf->reply.head, 0, sizeof(*xf->reply.head));
    xf->reply.head->status = (int)status;
    xf->reply.head->length = -1;
    xf->reply.started = true;
    xf->reply.has_length = false;
    xf->reply.has_coding = false;
    return n;
}

/* Content-Length: one, and a number. */
static bool take_length(struct xfer *xf, struct str value)
{
    uint64_t length;

    if (xf->reply.has_length || !str_to_u64(value, &length) ||
        length > INT64_MAX)
        return false;
    xf->reply.has_length = true;
    xf->reply.head->length = (int64_t)length;
    return true;
}

static size_t on_field_line(struct xfer *xf, struct str line, size_t n)
{
    struct reply_head *head = xf->reply.head;
    struct str name = {line.p, str_find_char(line, ':')};
    struct str value = str_trim(str_skip(line, name.len + 1));
    enum err err;

    if (name.len == line.len || !http1_is_token(name))
        return refuse(xf, "the reply has a malformed header line");
    if (str_ieq(name, STR("Content-Length"))) {
        if (!take_length(xf, value))
            return refuse(xf, "the reply has a bad or second Content-Length");
        return n;
    }
    if (str_ieq(name, STR("Transfer-Encoding"))) {
        if (xf->reply.has_coding || !str_ieq(value, STR("chunked")))
            return refuse(xf, "the reply has an unknown transfer coding");
        xf->reply.has_coding = true;
        return n;
    }
    if (head->headers.count >= XFER_HEAD_FIELDS)
        return refuse(xf, "the reply has too many header fields");
    err = headers_add(&head->headers, xf->arena, name, value);
    if (err == ERR_NOMEM) {
        xfer_fail(xf, ERR_NOMEM, "no memory for the reply's head");
        return 0;
    }
    return err == ERR_OK ? n : refuse(xf, "the reply has a bad header value");
}

/* Whether some Connection field in <all> names <name>. */
static bool is_named(const struct headers *all, struct str name)
{
    for (const struct header *f = all->first; f; f = f->next)
        if (str_ieq(f->name, STR("Connection")) &&
            http1_list_has(f->value, name))
            return true;
    return false;
}

void xfer_reply_filter(struct headers *h)
{
    static const struct str connection = {"Connection", 10};
    struct headers kept = {NULL, NULL, 0};
    struct header *f, *next;
    struct header **at = &kept.first;

    /* Empty the names of those to go, but not of the one that names them. */
    for (f = h->first; f; f = f->next)
        if (!str_ieq(f->name, connection) &&
            (http1_is_hop_header(f->name) ||
             str_ieq(f->name, STR("Content-Length")) || is_named(h, f->name)))
            f->name.len = 0;
    for (f = h->first; f; f = next) {
        next = f->next;
        if (f->name.len == 0 || str_ieq(f->name, connection))
            continue;
        f->next = NULL;
        *at = f;
        at = &f->next;
        kept.last = f;
        kept.count++;
    }
    *h = kept;
}

/* The empty line ends a head. */
static size_t on_head_end(struct xfer *xf, size_t n)
{
    struct reply_head *head = xf->reply.head;

    xf->reply.started = false;
    if (xf->reply.has_length && xf->reply.has_coding)
        return refuse(xf, "the reply has a length beside chunks");
    if (head->status < 200)
        return n;
    if (!xf->head_only && head->status == 204)
        head->length = 0;
    xfer_reply_filter(&head->headers);
    /* libcurl stops an upload that is refused, but for as long as the upload
     * is paused it does not see the end of the reply. */
    if (xf->read_paused && head->status >= 300)
        xfer_put_off(xf, XFER_WORK_UPLOAD);
    xfer_enter(xf, XFER_BODY);
    if (xf->sink)
        xf->sink->ops->head(xf->sink, head);
    return xf->fail == ERR_OK ? n : 0; /* cancelled: its body may be gone */
}

size_t xfer_on_header(char *p, size_t size, size_t n, void *arg)
{
    struct xfer *xf = arg;
    struct str line = {p, size * n};

    xf->last_us = clock_mono_us();
    if (xf->fail != ERR_OK)
        return 0;
    if (xf->state == XFER_BODY)
        return line.len; /* trailers */
    if (xf->state != XFER_HEAD)
        xfer_enter(xf, XFER_HEAD);
    xf->reply.bytes += (unsigned)line.len;
    if (xf->reply.bytes > XFER_HEAD_BYTES)
        return refuse(xf, "the reply's head is too large");
    while (line.len > 0 &&
           (line.p[line.len - 1] == '\n' || line.p[line.len - 1] == '\r'))
        line.len--;
    if (!xf->reply.started)
        return line.len == 0 ? refuse(xf, "the reply has no status line")
                             : on_status_line(xf, line, size * n);
    if (line.len == 0)
        return on_head_end(xf, size * n);
    if (line.p[0] == ' ' || line.p[0] == '\t')
        return refuse(xf, "the reply has a folded header line");
    return on_field_line(xf, line, size * n);
}

/* --- the body ----------------------------------------------------------- */

size_t xfer_on_data(char *p, size_t size, size_t n, void *arg)
{
    struct xfer *xf = arg;
    size_t len = size * n;
    enum flow flow;

    xf->last_us = clock_mono_us();
    if (xf->fail != ERR_OK || len == 0)
        return xf->fail != ERR_OK ? CURL_WRITEFUNC_ERROR : 0;
    if (xf->state != XFER_BODY) {
        refuse(xf, "the reply has a body without a head");
        return CURL_WRITEFUNC_ERROR;
    }
    flow = xf->sink->ops->data(xf->sink, str_of(p, len));
    if (xf->fail != ERR_OK) /* cancelled: its body may be gone */
        return CURL_WRITEFUNC_ERROR;
    if (flow == FLOW_PAUSE) {
        xf->write_paused = true;
        stats_inc(xf->pool->w->stats, STAT_UP_PAUSED);
        return CURL_WRITEFUNC_PAUSE;
    }
    return len;
}

/* --- the verdict -------------------------------------------------------- */

/* One failure of libcurl, before the reply's head was given to the sink. */
struct verdict_row {
    CURLcode code;
    enum err err;
    const char *text;
};

/* Codes not listed are mistakes of ours. */
static const struct verdict_row verdicts[] = {
    {CURLE_COULDNT_RESOLVE_HOST, ERR_UP_UNAVAILABLE, "no address"},
    {CURLE_COULDNT_RESOLVE_PROXY, ERR_UP_UNAVAILABLE, "no proxy address"},
    {CURLE_COULDNT_CONNECT, ERR_UP_UNAVAILABLE, "could not connect"},
    {CURLE_PROXY, ERR_UP_UNAVAILABLE, "the proxy failed"},
    {CURLE_OPERATION_TIMEDOUT, ERR_UP_TIMEOUT,
     "no connection within the connect timeout"},
    {CURLE_SSL_CONNECT_ERROR, ERR_UP_TLS, "TLS handshake failed"},
    {CURLE_PEER_FAILED_VERIFICATION, ERR_UP_TLS, "certificate refused"},
    {CURLE_SSL_CERTPROBLEM, ERR_UP_TLS, "TLS failed"},
    {CURLE_SSL_CIPHER, ERR_UP_TLS, "TLS failed"},
    {CURLE_SSL_CACERT_BADFILE, ERR_UP_TLS, "the CA file cannot be used"},
    {CURLE_SSL_ISSUER_ERROR, ERR_UP_TLS, "certificate refused"},
    {CURLE_SSL_INVALIDCERTSTATUS, ERR_UP_TLS, "certificate refused"},
    {CURLE_USE_SSL_FAILED, ERR_UP_TLS, "TLS failed"},
    {CURLE_SEND_ERROR, ERR_UP_RESET, "connection lost while sending"},
    {CURLE_SEND_FAIL_REWIND, ERR_UP_RESET,
     "a kept-alive connection was closed before the answer"},
    {CURLE_RECV_ERROR, ERR_UP_RESET, "connection lost before the answer"},
    {CURLE_GOT_NOTHING, ERR_UP_RESET, "connection closed without an answer"},
    {CURLE_HTTP2, ERR_UP_RESET, "HTTP/2 connection lost"},
    {CURLE_HTTP2_STREAM, ERR_UP_RESET, "HTTP/2 stream lost"},
    {CURLE_UNSUPPORTED_PROTOCOL, ERR_UP_BAD, "the reply is not HTTP"},
    {CURLE_WEIRD_SERVER_REPLY, ERR_UP_BAD, "the reply is not HTTP"},
    {CURLE_PARTIAL_FILE, ERR_UP_BAD, "the reply is cut short"},
    {CURLE_BAD_CONTENT_ENCODING, ERR_UP_BAD, "unknown transfer coding"},
    {CURLE_UPLOAD_FAILED, ERR_UP_BAD, "the upstream takes no such body"},
    {CURLE_OUT_OF_MEMORY, ERR_NOMEM, "no memory in libcurl"},
};

static const struct verdict_row *verdict_find(CURLcode code)
{
    static const struct verdict_row ours = {CURLE_OK, ERR_INTERNAL,
                                            "libcurl refused"};

    for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++)
        if (verdicts[i].code == code)
            return &verdicts[i];
    return &ours;
}

/* libcurl's words, where they may be told. */
static const char *verdict_detail(const struct xfer *xf, CURLcode code)
{
    long answer = 0;
    char *text;

    if (!xf->proxied)
        return xf->detail[0] != '\0' ? xf->detail : curl_easy_strerror(code);
    /* A proxy's URL may hold a password, and libcurl likes to quote it. */
    if (xf->asked > 0 ||
        curl_easy_getinfo(xf->easy, CURLINFO_HTTP_CONNECTCODE, &answer) !=
            CURLE_OK ||
        answer < 300)
        return curl_easy_strerror(code);
    text = arena_printf(xf->arena, "CONNECT was answered %ld", answer);
    return text ? text : curl_easy_strerror(code);
}

void xfer_judge(struct xfer *xf, CURLcode code)
{
    static const struct verdict_row no_proxy = {CURLE_OK, ERR_UP_UNAVAILABLE,
                                                "the proxy failed"};
    const struct verdict_row *row = verdict_find(code);
    const char *text;
    bool late = xf->state == XFER_BODY;

    if (xf->fail != ERR_OK)
        return;
    if (code == CURLE_OK) {
        if (!late)
            xfer_fail(xf, ERR_UP_BAD, "the reply has no head");
        return;
    }
    if (xf->proxied && xf->asked == 0 && row->err == ERR_UP_RESET)
        row = &no_proxy;
    text = arena_printf(xf->arena, "%s: %s",
                        late ? "the reply broke off" : row->text,
                        verdict_detail(xf, code));
    xfer_fail(xf, late && row->err != ERR_NOMEM ? ERR_UP_INCOMPLETE : row->err,
              text ? text : row->text);
}
