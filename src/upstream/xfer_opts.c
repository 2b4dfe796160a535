/* xfer_opts.c - Every option of libcurl that a transfer uses, in one place.
 * Decides how little libcurl may do by itself: no redirects, no decoding, no
 * environment, no lookups, no second sending of a request. */
#include "upstream/xfer.h"

#include <sys/stat.h>

#include "base/arena.h"
#include "base/chunkq.h"
#include "base/clock.h"
#include "exchange/exchange.h"
#include "exchange/worker.h"
#include "upstream/provider.h"

/* Receive buffers: a transfer holds one while it is active. Streams come in
 * small events, and there may be many of them. */
#define RECEIVE_STREAM 4096L
#define RECEIVE_PLAIN  16384L

/* Send buffers of bodies that libcurl does not copy behind the head. Each one
 * filled costs a turn of the loop; a large body is in memory anyway. */
#define SEND_STREAM    16384L
#define SEND_SMALL     65536L
#define SEND_LARGE     262144L
#define SEND_LARGE_MIN (256 * 1024)

/* Idle connections older than this are not used again: most providers close
 * theirs after a minute or more. The second bound lets changed addresses and
 * balancers take effect. */
#define IDLE_MAX_S 30L
#define LIFE_MAX_S 600L

/* How long libcurl may keep the parsed file of an own CA. */
#define CA_CACHE_S 3600L

/* Set an option; the first failure sticks in <ok>. */
#define SET(opt, value)                                                        \
    ((ok) = (ok) && curl_easy_setopt(c, (opt), (value)) == CURLE_OK)

/* --- callbacks ---------------------------------------------------------- */

/* CURLOPT_PREREQFUNCTION: libcurl is about to send the request on a
 * connection. The second time it would repeat it, since the first connection
 * died without an answer: only what surely went nowhere, or does nothing, may
 * be repeated. */
static int on_request(void *arg, char *there, char *here, int port_there,
                      int port_here)
{
    struct xfer *xf = arg;

    (void)there;      /* addresses are of no use here */
    (void)here;       /* likewise */
    (void)port_there; /* likewise */
    (void)port_here;  /* likewise */
    if (xf->fed)
        xf->fed->fed_gen = xf->feed_gen;
    if (xf->tunnel || xf->connect_only)
        return CURL_PREREQFUNC_OK; /* connected; tunnel.c sends the request */
    if (xf->asked > 0 && !xf->safe && xfer_sent_now(xf)) {
        xfer_fail(xf, ERR_UP_RESET,
                  "a kept-alive connection was closed before the answer");
        return CURL_PREREQFUNC_ABORT;
    }
    if (xf->asked == 0 && curl_easy_getinfo(xf->easy, CURLINFO_REQUEST_SIZE,
                                            &xf->sent_before) != CURLE_OK)
        xf->sent_before = -1;
    xf->asked++;
    xfer_enter(xf, XFER_ASK);
    return CURL_PREREQFUNC_OK;
}

/* CURLOPT_XFERINFOFUNCTION, for large bodies: the wait for the first byte
 * begins when all of the body is sent. */
static int on_progress(void *arg, curl_off_t down_total, curl_off_t down,
                       curl_off_t up_total, curl_off_t up)
{
    struct xfer *xf = arg;

    (void)down_total; /* the data callback knows better */
    (void)down;       /* likewise */
    (void)up_total;   /* known */
    if (up > xf->upload_seen)
        xf->last_us = clock_mono_us();
    xf->upload_seen = up;
    return 0;
}

/* CURLOPT_READFUNCTION: body bytes out of the exchange's stream. */
static size_t on_read(char *to, size_t size, size_t n, void *arg)
{
    struct xfer *xf = arg;
    struct exchange *x = xf->x;
    struct iovec iov[8];
    size_t room = size * n, got = 0;
    int parts;

    if (xf->fail != ERR_OK)
        return CURL_READFUNC_ABORT;
    parts = chunkq_peek(&x->in->stream, iov, 8);
    for (int i = 0; i < parts && got < room; i++) {
        size_t part = iov[i].iov_len < room - got ? iov[i].iov_len : room - got;

        memcpy(to + got, iov[i].iov_base, part);
        got += part;
    }
    if (got == 0 && !x->in->body_done) {
        xf->read_paused = true;
        return CURL_READFUNC_PAUSE;
    }
    if (got == 0 && xf->length >= 0 && xf->uploaded < (uint64_t)xf->length) {
        xfer_fail(xf, ERR_CLIENT_GONE, "the client's body is too short");
        return CURL_READFUNC_ABORT;
    }
    if (got == 0)
        return 0;
    chunkq_consume(&x->in->stream, got);
    xf->uploaded += got;
    xf->last_us = clock_mono_us();
    if (x->client)
        x->client->ops->body_taken(x->client);
    return got;
}

/* --- groups of options -------------------------------------------------- */

/* What is of this transfer alone. */
static bool set_own(struct xfer *xf)
{
    CURL *c = xf->easy;
    bool ok = true;

    SET(CURLOPT_PRIVATE, xf);
    SET(CURLOPT_ERRORBUFFER, xf->detail);
    SET(CURLOPT_PREREQDATA, xf);
    SET(CURLOPT_HEADERDATA, xf);
    SET(CURLOPT_WRITEDATA, xf);
    return ok;
}

/* What all transfers of the pool share. */
static bool set_basics(struct xfer *xf)
{
    CURL *c = xf->easy;
    bool ok = true;

    SET(CURLOPT_SHARE, xf->pool->share);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_HTTP_CONTENT_DECODING, 0L);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
    SET(CURLOPT_MAXAGE_CONN, IDLE_MAX_S);
    SET(CURLOPT_MAXLIFETIME_CONN, LIFE_MAX_S);
    SET(CURLOPT_OPENSOCKETFUNCTION, pool_open_socket);
    SET(CURLOPT_OPENSOCKETDATA, xf->pool);
    SET(CURLOPT_CLOSESOCKETFUNCTION, pool_close_socket);
    SET(CURLOPT_CLOSESOCKETDATA, xf->pool);
    SET(CURLOPT_PREREQFUNCTION, on_request);
    SET(CURLOPT_HEADERFUNCTION, xfer_on_header);
    SET(CURLOPT_WRITEFUNCTION, xfer_on_data);
    return ok;
}

/* URL and name on the certificate. The URL's path is never sent: the exact
 * target is. */
static bool set_url(struct xfer *xf, struct str target)
{
    const struct conf_url *url = &xf->up->url;
    struct str name = xf->up->tls.server_name;
    bool renamed = url->tls && name.len > 0;
    bool bare = str_find_char(url->host, ':') == url->host.len;
    CURL *c = xf->easy;
    bool ok = true;
    struct str origin = url->origin;
    const struct pool_url *parsed;

    if (renamed) {
        struct curl_slist *to = arena_alloc(xf->arena, sizeof(*to));

        origin = str_from(arena_printf(xf->arena, "https://%.*s:%u",
                                       STR_ARG(name), url->port));
        if (to)
            to->data =
                arena_printf(xf->arena, bare ? "::%.*s:%u" : "::[%.*s]:%u",
                             STR_ARG(url->host), url->port);
        ok = to && to->data;
        SET(CURLOPT_CONNECT_TO, to);
    }
    parsed = ok && origin.p ? pool_url_get(xf->pool, origin) : NULL;
    if (!parsed)
        return false;
    SET(CURLOPT_CURLU, parsed->url);
    SET(CURLOPT_URL, parsed->text); /* else libcurl composes it anew */
    if (xf->proxied && !url->tls && !xf->proxy_tunnels)
        target = provider_join(xf->arena, url->origin, target);
    ok = ok && target.p;
    SET(CURLOPT_REQUEST_TARGET, target.p);
    return ok;
}

static bool set_tls(struct xfer *xf)
{
    const struct conf_up_tls *tls = &xf->up->tls;
    CURL *c = xf->easy;
    bool ok = true;
    struct stat st;

    SET(CURLOPT_HTTP_VERSION,
        (long)(xf->up->http2 && !xf->tunnel ? CURL_HTTP_VERSION_2TLS
                                            : CURL_HTTP_VERSION_1_1));
    SET(CURLOPT_PIPEWAIT, xf->up->http2 ? 1L : 0L);
    if (!xf->up->url.tls && !xf->proxied)
        return ok;
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, tls->verify ? 1L : 0L);
    SET(CURLOPT_SSL_VERIFYHOST, tls->verify ? 2L : 0L);
    SET(CURLOPT_CAPATH, NULL);
    if (tls->ca.len == 0) {
        SET(CURLOPT_CAINFO, NULL);
        SET(CURLOPT_SSL_CTX_FUNCTION, pool_set_trust);
        SET(CURLOPT_SSL_CTX_DATA, xf->pool);
    } else if (stat(tls->ca.p, &st) == 0 && S_ISDIR(st.st_mode)) {
        SET(CURLOPT_CAINFO, NULL);
        SET(CURLOPT_CAPATH, tls->ca.p);
    } else {
        SET(CURLOPT_CAINFO, tls->ca.p);
    }
    /* Each connection sets its store up anew: libcurl would keep one parsed
     * file for the pool, and confuse ours with it. */
    SET(CURLOPT_CA_CACHE_TIMEOUT, tls->ca.len == 0 ? 0L : CA_CACHE_S);
    return ok;
}

/* Cut "scheme://user:password@host:port" down to host and port. */
static void proxy_split(struct str url, struct str *host_out,
                        uint16_t *port_out)
{
    size_t at = str_find(url, STR("://"));
    bool tls = str_starts(url, STR("https:"));
    uint64_t port = tls ? 443 : 1080;
    struct str rest = at < url.len ? str_skip(url, at + 3) : url;
    size_t end;

    rest.len = str_find_char(rest, '/');
    for (end = rest.len; end > 0; end--)
        if (rest.p[end - 1] == '@')
            break;
    rest = str_skip(rest, end);
    if (rest.len > 0 && rest.p[0] == '[')
        end = str_find_char(rest, ']') + 1;
    else
        end = str_find_char(rest, ':');
    if (end < rest.len && str_to_u64(str_skip(rest, end + 1), &port) &&
        port > 65535)
        port = 0;
    if (rest.len > 0 && rest.p[0] == '[' && end <= rest.len) {
        *host_out = (struct str){rest.p + 1, end - 2};
    } else {
        *host_out = (struct str){rest.p, end < rest.len ? end : rest.len};
    }
    *port_out = (uint16_t)port;
}

/* The proxy, or none whatever the environment says; and whose name must be
 * looked up. SOCKS proxies are given the name, not an address. */
static bool set_proxy(struct xfer *xf)
{
    struct str url = secret_reveal(&xf->up->proxy);
    CURL *c = xf->easy;
    bool ok = true;
    char *text;

    if (!xf->prepared)
        SET(CURLOPT_NOPROXY, "");
    if (url.len == 0) {
        if (!xf->prepared)
            SET(CURLOPT_PROXY, "");
        xf->host = xf->up->url.host;
        xf->port = xf->up->url.port;
        return ok;
    }
    xf->proxied = true;
    proxy_split(url, &xf->host, &xf->port);
    if (str_starts(url, STR("socks5://")))
        text =
            arena_printf(xf->arena, "socks5h%.*s", STR_ARG(str_skip(url, 6)));
    else if (str_starts(url, STR("socks4://")))
        text =
            arena_printf(xf->arena, "socks4a%.*s", STR_ARG(str_skip(url, 6)));
    else
        text = arena_printf(xf->arena, "%.*s", STR_ARG(url));
    xf->proxy_tunnels = xf->tunnel || str_starts(url, STR("socks"));
    ok = text != NULL;
    SET(CURLOPT_PROXY, text);
    SET(CURLOPT_HTTPPROXYTUNNEL, xf->tunnel ? 1L : 0L);
    return ok;
}

/* Whether requests of <method> say Content-Length: 0 when they are empty. */
static bool method_has_body(struct str method)
{
    return str_eq(method, STR("POST")) || str_eq(method, STR("PUT")) ||
           str_eq(method, STR("PATCH"));
}

/* The body that stands in memory, which may be empty. */
static bool set_body_bytes(struct xfer *xf)
{
    CURL *c = xf->easy;
    bool ok = true;

    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)xf->body.len);
    SET(CURLOPT_POSTFIELDS, xf->body.len > 0 ? xf->body.p : "");
    if (xf->body.len < XFER_SMALL_BODY)
        return ok;
    SET(CURLOPT_UPLOAD_BUFFERSIZE,
        xf->body.len >= SEND_LARGE_MIN ? SEND_LARGE : SEND_SMALL);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, xf);
    SET(CURLOPT_NOPROGRESS, 0L);
    return ok;
}

static bool set_body(struct xfer *xf, const struct xfer_spec *spec)
{
    struct str method = spec->method;
    CURL *c = xf->easy;
    bool ok = true;
    char *text;

    xf->safe = str_eq(method, STR("GET")) || str_eq(method, STR("HEAD"));
    if (str_eq(method, STR("HEAD"))) {
        xf->head_only = true;
        xf->body_kind = XFER_BODY_NONE;
        SET(CURLOPT_NOBODY, 1L);
        return ok;
    }
    if (xf->body_kind == XFER_BODY_STREAM) {
        SET(CURLOPT_UPLOAD, 1L);
        SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)xf->length);
        SET(CURLOPT_READFUNCTION, on_read);
        SET(CURLOPT_READDATA, xf);
        SET(CURLOPT_UPLOAD_BUFFERSIZE, SEND_STREAM);
    } else if (xf->body_kind == XFER_BODY_BYTES || method_has_body(method)) {
        ok = set_body_bytes(xf);
    }
    if (str_eq(method, STR("GET")) && xf->body_kind == XFER_BODY_NONE)
        return ok;
    if (str_eq(method, STR("POST")) && xf->body_kind != XFER_BODY_STREAM)
        return ok;
    text = arena_printf(xf->arena, "%.*s", STR_ARG(method));
    ok = ok && text;
    SET(CURLOPT_CUSTOMREQUEST, text);
    return ok;
}

/* Header lines, with libcurl's own defaults taken away. */
static bool set_fields(struct xfer *xf, const struct xfer_spec *spec)
{
    struct fields f = {.arena = xf->arena};
    const struct conf_url *url = &xf->up->url;
    CURL *c = xf->easy;
    bool ok = true;

    provider_fields(&f, spec, false);
    if (!fields_have(&f, STR("Accept")))
        fields_tell(&f, "Accept:");
    if (!fields_have(&f, STR("Content-Type")))
        fields_tell(&f, "Content-Type:");
    fields_tell(&f, "Expect:");
    if (url->tls && xf->up->tls.server_name.len > 0 &&
        !fields_have(&f, STR("Host")))
        fields_put(&f, STR("Host"), str_skip(url->origin, 8));
    SET(CURLOPT_HTTPHEADER, f.first);
    return ok && !f.failed;
}

bool xfer_is_plain(const struct xfer_spec *spec)
{
    const struct conf_upstream *up = spec->up;

    return spec->body_kind == XFER_BODY_BYTES &&
           spec->body.len < XFER_SMALL_BODY &&
           str_eq(spec->method, STR("POST")) && !up->http2 &&
           secret_reveal(&up->proxy).len == 0 && up->tls.server_name.len == 0 &&
           up->tls.ca.len == 0;
}

enum err xfer_set_options(struct xfer *xf, const struct xfer_spec *spec)
{
    CURL *c = xf->easy;
    struct str target = provider_target(xf->arena, spec);
    bool ok = target.p && set_own(xf) && (xf->prepared || set_basics(xf));

    ok = ok && set_proxy(xf) && set_url(xf, target) && set_tls(xf);
    if (xf->tunnel || xf->connect_only) {
        SET(CURLOPT_CONNECT_ONLY, 1L);
        return ok ? ERR_OK : ERR_NOMEM;
    }
    ok = ok && set_body(xf, spec) && set_fields(xf, spec);
    SET(CURLOPT_BUFFERSIZE,
        spec->streaming_reply ? RECEIVE_STREAM : RECEIVE_PLAIN);
    return ok ? ERR_OK : ERR_NOMEM;
}
