/* rawserver.c - See rawserver.h. */
#include "lib/rawserver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MUST(cond)                                                             \
    do {                                                                       \
        if (!(cond)) {                                                         \
            fprintf(stderr, "rawserver: %s:%d: %s\n", __FILE__, __LINE__,      \
                    #cond);                                                    \
            abort();                                                           \
        }                                                                      \
    } while (0)

/* --- bytes -------------------------------------------------------------- */

static size_t conn_read(struct rawconn *c, void *to, size_t len)
{
    ssize_t n;

    if (c->ssl) {
        n = SSL_read(c->ssl, to, (int)len);
        return n > 0 ? (size_t)n : 0;
    }
    do
        n = read(c->fd, to, len);
    while (n < 0 && errno == EINTR);
    return n > 0 ? (size_t)n : 0;
}

/* Read more into <in>; false at the end. */
static bool conn_more(struct rawconn *c)
{
    size_t n;

    if (c->in_room - c->in_len < 65536) {
        c->in_room += 1024 * 1024;
        c->in = realloc(c->in, c->in_room);
        MUST(c->in);
    }
    n = conn_read(c, c->in + c->in_len, c->in_room - c->in_len);
    c->in_len += n;
    return n > 0;
}

void raw_send_bytes(struct rawconn *c, const void *p, size_t len)
{
    const char *at = p;

    while (len > 0) {
        ssize_t n = c->ssl ? SSL_write(c->ssl, at, (int)len)
                           : send(c->fd, at, len, MSG_NOSIGNAL);

        if (n <= 0)
            return;
        at += n;
        len -= (size_t)n;
    }
}

void raw_send(struct rawconn *c, const char *text)
{
    raw_send_bytes(c, text, strlen(text));
}

void raw_answer_all(struct rawconn *c, void *arg)
{
    struct str req;

    while ((req = raw_request(c)).len > 0) {
        raw_note(c, req);
        raw_send(c, arg ? arg : RAW_OK);
    }
}

void raw_reset(struct rawconn *c)
{
    struct linger l = {1, 0};

    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
    close(c->fd);
    c->fd = -1;
}

void raw_note(struct rawconn *c, struct str bytes)
{
    struct rawserver *s = c->server;

    pthread_mutex_lock(&s->lock);
    s->log = realloc(s->log, s->log_len + bytes.len + 1);
    MUST(s->log);
    memcpy(s->log + s->log_len, bytes.p, bytes.len);
    s->log_len += bytes.len;
    s->log[s->log_len] = '\0';
    pthread_mutex_unlock(&s->lock);
}

/* --- requests ----------------------------------------------------------- */

/* Hand the first <len> bytes out through a hidden buffer behind the rest. */
static struct str conn_take(struct rawconn *c, size_t len)
{
    static _Thread_local char *out;
    static _Thread_local size_t room;

    if (room < len + 1) {
        room = len + 1;
        out = realloc(out, room);
        MUST(out);
    }
    if (len == 0 && !c->in) {
        free(out); /* the thread is about to end */
        out = NULL;
        room = 0;
        return (struct str){NULL, 0};
    }
    memcpy(out, c->in, len);
    out[len] = '\0';
    memmove(c->in, c->in + len, c->in_len - len);
    c->in_len -= len;
    return (struct str){out, len};
}

static size_t body_length(const char *head, size_t len)
{
    char *copy = strndup(head, len);
    char *at = strcasestr(copy, "\r\ncontent-length:");
    size_t n = at ? strtoul(at + 17, NULL, 10) : 0;

    free(copy);
    return n;
}

static bool head_is_chunked(const char *head, size_t len)
{
    char *copy = strndup(head, len);
    bool yes = strcasestr(copy, "\r\ntransfer-encoding: chunked") != NULL;

    free(copy);
    return yes;
}

struct str raw_request(struct rawconn *c)
{
    size_t head, len;
    char *end;

    for (;;) {
        end = c->in ? memmem(c->in, c->in_len, "\r\n\r\n", 4) : NULL;
        if (end)
            break;
        if (!conn_more(c))
            return (struct str){NULL, 0};
    }
    head = (size_t)(end - c->in) + 4;
    if (head_is_chunked(c->in, head)) {
        for (;;) {
            end = memmem(c->in + head, c->in_len - head, "0\r\n\r\n", 5);
            if (end)
                break;
            if (!conn_more(c))
                return (struct str){NULL, 0};
        }
        len = (size_t)(end - c->in) + 5;
    } else {
        len = head + body_length(c->in, head);
    }
    while (c->in_len < len)
        if (!conn_more(c))
            return (struct str){NULL, 0};
    atomic_fetch_add(&c->server->requests, 1);
    return conn_take(c, len);
}

struct str raw_read(struct rawconn *c, size_t n)
{
    while (c->in_len < n && conn_more(c))
        ;
    return conn_take(c, c->in_len < n ? c->in_len : n);
}

struct str raw_some(struct rawconn *c)
{
    if (c->in_len == 0 && !conn_more(c))
        return (struct str){NULL, 0};
    return conn_take(c, c->in_len);
}

size_t raw_drain(struct rawconn *c)
{
    size_t all = c->in_len, n;
    char room[65536];

    c->in_len = 0;
    while ((n = conn_read(c, room, sizeof(room))) > 0)
        all += n;
    return all;
}

/* --- threads ------------------------------------------------------------ */

static void *conn_thread(void *arg)
{
    struct rawconn *c = arg;
    struct rawserver *s = c->server;
    bool up = true;

    if (s->tls) {
        c->ssl = SSL_new(s->tls);
        SSL_set_fd(c->ssl, c->fd);
        up = SSL_accept(c->ssl) == 1;
    }
    if (up)
        s->script(c, s->arg);
    if (c->ssl && c->fd >= 0)
        SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    if (c->fd >= 0)
        close(c->fd);
    free(c->in);
    c->in = NULL;
    c->in_len = 0;
    conn_take(c, 0);
    free(c);
    OPENSSL_thread_stop();
    atomic_fetch_sub(&s->live, 1);
    return NULL;
}

static void *accept_thread(void *arg)
{
    struct rawserver *s = arg;
    unsigned nth = 0;

    for (;;) {
        int fd = accept(s->listen_fd, NULL, NULL);
        struct rawconn *c;
        pthread_t t;
        pthread_attr_t small;

        if (fd < 0)
            return NULL;
        c = calloc(1, sizeof(*c));
        MUST(c);
        c->server = s;
        c->fd = fd;
        c->nth = nth++;
        atomic_fetch_add(&s->conns, 1);
        atomic_fetch_add(&s->live, 1);
        pthread_attr_init(&small);
        pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&small, 512 * 1024);
        MUST(pthread_create(&t, &small, conn_thread, c) == 0);
        pthread_attr_destroy(&small);
    }
}

void rawserver_start(struct rawserver *s, raw_script *script, void *arg,
                     struct ssl_ctx_st *tls)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof(at);

    memset(s, 0, sizeof(*s));
    s->script = script;
    s->arg = arg;
    s->tls = tls;
    pthread_mutex_init(&s->lock, NULL);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MUST(s->listen_fd >= 0);
    MUST(bind(s->listen_fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    MUST(listen(s->listen_fd, 1024) == 0);
    MUST(getsockname(s->listen_fd, (struct sockaddr *)&at, &len) == 0);
    s->port = ntohs(at.sin_port);
    MUST(pthread_create(&s->thread, NULL, accept_thread, s) == 0);
}

void rawserver_stop(struct rawserver *s)
{
    shutdown(s->listen_fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listen_fd);
    while (atomic_load(&s->live) > 0)
        sched_yield();
    free(s->log);
    pthread_mutex_destroy(&s->lock);
}

/* --- TLS ---------------------------------------------------------------- */

static X509 *cert_make(EVP_PKEY *key, const char *name, long serial,
                       X509 *issuer, EVP_PKEY *issuer_key)
{
    X509 *x = X509_new();
    X509_NAME *n = X509_get_subject_name(x);
    X509V3_CTX ctx;
    X509_EXTENSION *e;
    char text[256];

    MUST(x);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), serial);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : n);
    X509V3_set_ctx(&ctx, issuer ? issuer : x, x, NULL, NULL, 0);
    if (issuer) {
        snprintf(text, sizeof(text), "DNS:%s", name);
        e = X509V3_EXT_conf_nid(NULL, &ctx, NID_subject_alt_name, text);
    } else {
        snprintf(text, sizeof(text), "critical,CA:TRUE");
        e = X509V3_EXT_conf_nid(NULL, &ctx, NID_basic_constraints, text);
    }
    MUST(e);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
    MUST(X509_sign(x, issuer_key, EVP_sha256()) > 0);
    return x;
}

struct ssl_ctx_st *raw_tls_make(const char *host, char **ca_path_out)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
    X509 *ca = cert_make(ca_key, "test CA", 1, NULL, ca_key);
    X509 *cert = cert_make(key, host, 2, ca, ca_key);
    char path[] = "/tmp/tg-test-ca-XXXXXX";
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");

    MUST(ctx && f);
    MUST(PEM_write_X509(f, ca) == 1);
    fclose(f);
    MUST(SSL_CTX_use_certificate(ctx, cert) == 1);
    MUST(SSL_CTX_use_PrivateKey(ctx, key) == 1);
    X509_free(ca);
    X509_free(cert);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    *ca_path_out = strdup(path);
    return ctx;
}
