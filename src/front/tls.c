/* tls.c - See tls.h. Decides the protocol's parameters: TLS 1.2 and 1.3, AEAD
 * suites with forward secrecy, http/1.1 by ALPN, no renegotiation, no early
 * data (a replayed request would be billed twice), no compression. A live
 * SSL_CTX is never changed: a reload builds new ones. Tickets are sealed with
 * keys that live in memory only and are replaced every hour; those sealed
 * with the key before are still opened, and renewed. */
#include "front/tls.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "conf/conf.h"
#include "front/cert.h"

#define TICKET_KEY_LIFE_US (3600ull * 1000 * 1000)
#define TICKET_NAME_BYTES  16

/* What seals session tickets. */
struct ticket_key {
    unsigned char name[TICKET_NAME_BYTES];
    unsigned char aes[32];
    unsigned char mac[32];
    bool set;
};

struct tls_tickets {
    pthread_mutex_t lock;  /* guards all below; a leaf */
    struct ticket_key now; /* seals and opens */
    struct ticket_key old; /* opens */
    uint64_t made_us;      /* monotonic: when <now> was made */
};

/* One certificate. */
struct tls_cert {
    SSL_CTX *ctx;      /* owned */
    struct str *names; /* owned, with their texts; none: ask the certificate */
    size_t n_names;
};

struct tls {
    atomic_uint refs;
    size_t n_certs;
    struct tls_cert certs[]; /* the first is the default */
};

static const unsigned char alpn_ours[] = "\x08http/1.1\x08http/1.0";

/* ---- tickets ------------------------------------------------------------ */

static bool ticket_key_make(struct ticket_key *k)
{
    k->set = RAND_bytes(k->name, sizeof(k->name)) == 1 &&
             RAND_priv_bytes(k->aes, sizeof(k->aes)) == 1 &&
             RAND_priv_bytes(k->mac, sizeof(k->mac)) == 1;
    return k->set;
}

enum err tls_tickets_new(struct tls_tickets **tickets_out)
{
    struct tls_tickets *t = calloc(1, sizeof(*t));

    if (!t)
        return ERR_NOMEM;
    if (!ticket_key_make(&t->now)) {
        free(t);
        return ERR_IO;
    }
    pthread_mutex_init(&t->lock, NULL);
    t->made_us = clock_mono_us();
    *tickets_out = t;
    return ERR_OK;
}

void tls_tickets_free(struct tls_tickets *t)
{
    if (!t)
        return;
    pthread_mutex_destroy(&t->lock);
    OPENSSL_cleanse(t, sizeof(*t));
    free(t);
}

/* Copy the sealing key, after its renewal when it is due. */
static bool ticket_key_current(struct tls_tickets *t, struct ticket_key *out)
{
    uint64_t now = clock_mono_us();

    pthread_mutex_lock(&t->lock);
    if (now > t->made_us && now - t->made_us >= TICKET_KEY_LIFE_US) {
        t->old = t->now;
        if (now - t->made_us >= 2 * TICKET_KEY_LIFE_US)
            t->old.set = false;
        t->made_us = now;
        ticket_key_make(&t->now);
    }
    *out = t->now;
    pthread_mutex_unlock(&t->lock);
    return out->set;
}

/* Copy the key called <name>; 1: the current one, 2: an older one, 0: none. */
static int ticket_key_find(struct tls_tickets *t, const unsigned char *name,
                           struct ticket_key *out)
{
    struct ticket_key now;
    int found = 0;

    if (ticket_key_current(t, &now) &&
        CRYPTO_memcmp(now.name, name, TICKET_NAME_BYTES) == 0) {
        *out = now;
        found = 1;
    }
    OPENSSL_cleanse(&now, sizeof(now));
    if (found)
        return found;
    pthread_mutex_lock(&t->lock);
    if (t->old.set &&
        CRYPTO_memcmp(t->old.name, name, TICKET_NAME_BYTES) == 0) {
        *out = t->old;
        found = 2;
    }
    pthread_mutex_unlock(&t->lock);
    return found;
}

static bool ticket_crypt_init(const struct ticket_key *k, unsigned char *iv,
                              EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int enc)
{
    char digest[] = "SHA256";
    unsigned char key[32];
    OSSL_PARAM params[3];
    bool ok;

    memcpy(key, k->mac, sizeof(key));
    params[0] =
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key, sizeof(key));
    params[1] =
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
    params[2] = OSSL_PARAM_construct_end();
    ok = EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, k->aes, iv, enc) ==
             1 &&
         EVP_MAC_CTX_set_params(mac, params) == 1;
    OPENSSL_cleanse(key, sizeof(key));
    return ok;
}

/* OpenSSL's hook: 1 go on, 2 go on and renew the ticket, 0 no such key. */
static int on_ticket(SSL *s, unsigned char *name, unsigned char *iv,
                     EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int enc)
{
    struct tls_tickets *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(s));
    struct ticket_key k;
    int result;

    if (enc) {
        result =
            ticket_key_current(t, &k) && RAND_bytes(iv, EVP_MAX_IV_LENGTH) == 1
                ? 1
                : 0;
        if (result == 1)
            memcpy(name, k.name, TICKET_NAME_BYTES);
    } else {
        result = ticket_key_find(t, name, &k);
        if (result == 1 && SSL_version(s) >= TLS1_3_VERSION)
            result = 2; /* clients use a TLS 1.3 ticket only once */
    }
    if (result > 0 && !ticket_crypt_init(&k, iv, cipher, mac, enc))
        result = enc ? -1 : 0;
    OPENSSL_cleanse(&k, sizeof(k));
    return result;
}

/* ---- certificates ------------------------------------------------------- */

/* Whether the conf name <glob> covers <host>: "*." stands for one label. */
static bool name_matches(struct str glob, struct str host)
{
    size_t dot;

    if (!str_starts(glob, STR("*.")))
        return str_ieq(glob, host);
    dot = str_find_char(host, '.');
    return dot > 0 && dot < host.len &&
           str_ieq(str_skip(glob, 1), str_skip(host, dot));
}

static bool cert_serves(const struct tls_cert *cert, struct str host)
{
    for (size_t i = 0; i < cert->n_names; i++) {
        if (name_matches(cert->names[i], host))
            return true;
    }
    if (cert->n_names > 0)
        return false;
    return X509_check_host(SSL_CTX_get0_certificate(cert->ctx), host.p,
                           host.len, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
                           NULL) == 1;
}

/* Whether the client of <s> can check signatures by the key of <cert>. */
static bool client_takes(SSL *s, const struct tls_cert *cert)
{
    EVP_PKEY *key = SSL_CTX_get0_privatekey(cert->ctx);
    int ours = EVP_PKEY_get_base_id(key), theirs = 0;
    int n = SSL_get_sigalgs(s, 0, NULL, NULL, NULL, NULL, NULL);

    for (int i = 0; i < n; i++) {
        SSL_get_sigalgs(s, i, &theirs, NULL, NULL, NULL, NULL);
        if (theirs == ours ||
            (theirs == EVP_PKEY_RSA_PSS && ours == EVP_PKEY_RSA))
            return true;
    }
    return n == 0; /* it did not say */
}

/* The certificate for <name>: the first one that the client takes, else the
 * first; NULL when none is for that name. */
static const struct tls_cert *cert_choose(const struct tls *t, SSL *s,
                                          struct str name)
{
    const struct tls_cert *first = NULL;

    for (size_t i = 0; i < t->n_certs; i++) {
        if (!cert_serves(&t->certs[i], name))
            continue;
        if (client_takes(s, &t->certs[i]))
            return &t->certs[i];
        if (!first)
            first = &t->certs[i];
    }
    return first;
}

/* OpenSSL's hook: choose the certificate by the name the client sent. */
static int on_server_name(SSL *s, int *alert, void *arg)
{
    const char *name = SSL_get_servername(s, TLSEXT_NAMETYPE_host_name);
    const struct tls_cert *cert =
        name ? cert_choose(arg, s, str_from(name)) : NULL;

    (void)alert; /* never refused: the default certificate answers */
    if (!cert)
        return SSL_TLSEXT_ERR_NOACK;
    if (SSL_get_SSL_CTX(s) != cert->ctx && !SSL_set_SSL_CTX(s, cert->ctx))
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    return SSL_TLSEXT_ERR_OK;
}

/* OpenSSL's hook: agree on http/1.1 or refuse; a client that offers only h2
 * would not understand us. */
static int on_alpn(SSL *s, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *arg)
{
    unsigned char *chosen = NULL;

    (void)s;   /* the same for every session */
    (void)arg; /* none */
    if (SSL_select_next_proto(&chosen, out_len, alpn_ours,
                              sizeof(alpn_ours) - 1, in,
                              in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* Load the files of <c>; warnings were told by whoever read the config. */
static bool cert_take(SSL_CTX *ctx, const struct conf_cert *c)
{
    struct conf_cert_fault faults[CONF_CERT_FAULTS];
    size_t n = cert_load(ctx, c, faults);
    bool good = true;

    for (size_t i = 0; i < n; i++) {
        if (faults[i].warning)
            continue;
        log_err(LOG_TLS, "%s: path=%s reason=\"%s\"",
                faults[i].of_key ? "private key cannot be used"
                                 : "certificate cannot be used",
                faults[i].of_key ? c->key.p : c->cert.p, faults[i].why);
        good = false;
    }
    return good;
}

/* A context with everything but the certificate; NULL on failure. */
static SSL_CTX *ctx_new(struct tls *t, struct tls_tickets *tickets)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    char text[160];

    if (!ctx)
        return NULL;
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_clear_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_max_early_data(ctx, 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_app_data(ctx, tickets);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(ctx, t);
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
        SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
        SSL_CTX_set_num_tickets(ctx, 1) == 1 &&
        SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"tollgate",
                                       8) == 1 &&
        SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1)
        return ctx;
    ERR_error_string_n(ERR_peek_error(), text, sizeof(text));
    log_err(LOG_TLS, "TLS cannot be set up: reason=\"%s\"", text);
    ERR_clear_error();
    SSL_CTX_free(ctx);
    return NULL;
}

/* Copy the names that the conf gives for a certificate. */
static enum err names_copy(struct tls_cert *cert, const struct conf_cert *c)
{
    size_t bytes = c->n_names * sizeof(struct str);
    char *text;

    if (c->n_names == 0)
        return ERR_OK;
    for (size_t i = 0; i < c->n_names; i++)
        bytes += c->names[i].len;
    cert->names = malloc(bytes);
    if (!cert->names)
        return ERR_NOMEM;
    text = (char *)(cert->names + c->n_names);
    for (size_t i = 0; i < c->n_names; i++) {
        memcpy(text, c->names[i].p, c->names[i].len);
        cert->names[i] = str_of(text, c->names[i].len);
        text += c->names[i].len;
    }
    cert->n_names = c->n_names;
    return ERR_OK;
}

enum err tls_new(const struct conf_listen *l, struct tls_tickets *tickets,
                 struct tls **tls_out)
{
    struct tls *t = calloc(1, sizeof(*t) + l->n_tls * sizeof(t->certs[0]));
    enum err e = ERR_OK;

    if (!t)
        return ERR_NOMEM;
    atomic_init(&t->refs, 1);
    for (size_t i = 0; i < l->n_tls && e == ERR_OK; i++) {
        t->certs[i].ctx = ctx_new(t, tickets);
        t->n_certs = i + 1;
        if (!t->certs[i].ctx)
            e = ERR_NOMEM;
        else if (!cert_take(t->certs[i].ctx, &l->tls[i]))
            e = ERR_SYNTAX;
        else
            e = names_copy(&t->certs[i], &l->tls[i]);
    }
    if (e != ERR_OK) {
        tls_unref(t);
        return e;
    }
    *tls_out = t;
    return ERR_OK;
}

struct tls *tls_ref(struct tls *t)
{
    if (t)
        atomic_fetch_add(&t->refs, 1);
    return t;
}

void tls_unref(struct tls *t)
{
    if (!t || atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    for (size_t i = 0; i < t->n_certs; i++) {
        SSL_CTX_free(t->certs[i].ctx);
        free(t->certs[i].names);
    }
    free(t);
}

/* ---- sessions ----------------------------------------------------------- */

struct ssl_st *tls_session_new(struct tls *t, int fd)
{
    SSL *s = SSL_new(t->certs[0].ctx);

    if (!s)
        return NULL;
    if (SSL_set_fd(s, fd) != 1) {
        SSL_free(s);
        return NULL;
    }
    SSL_set_accept_state(s);
    return s;
}

void tls_session_free(struct ssl_st *s)
{
    SSL_free(s);
}

/* What the result <ret> of an SSL call means. */
static enum err outcome(SSL *s, int ret)
{
    switch (SSL_get_error(s, ret)) {
    case SSL_ERROR_NONE:
        return ERR_OK;
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return ERR_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return ERR_CLOSED;
    case SSL_ERROR_SYSCALL:
        return errno == EPIPE || errno == ECONNRESET || errno == 0 ? ERR_CLOSED
                                                                   : ERR_IO;
    default:
        return ERR_IO;
    }
}

enum err tls_handshake(struct ssl_st *s)
{
    enum err e;
    char text[160];

    ERR_clear_error();
    errno = 0;
    e = outcome(s, SSL_do_handshake(s));
    if (e == ERR_IO && log_is_on(LOG_LEVEL_DEBUG)) {
        ERR_error_string_n(ERR_peek_error(), text, sizeof(text));
        log_debug(LOG_TLS, "handshake failed: reason=\"%s\"", text);
    }
    return e;
}

enum err tls_read(struct ssl_st *s, void *p, size_t room, size_t *len_out)
{
    size_t n = 0;
    int ret;

    ERR_clear_error();
    errno = 0;
    ret = SSL_read_ex(s, p, room, &n);
    if (ret == 1) {
        *len_out = n;
        return ERR_OK;
    }
    return outcome(s, ret);
}

enum err tls_write(struct ssl_st *s, const void *p, size_t len, size_t *len_out)
{
    size_t n = 0;
    int ret;

    ERR_clear_error();
    errno = 0;
    ret = SSL_write_ex(s, p, len, &n);
    if (ret == 1) {
        *len_out = n;
        return ERR_OK;
    }
    return outcome(s, ret);
}

void tls_close_notify(struct ssl_st *s)
{
    ERR_clear_error();
    if (SSL_is_init_finished(s) && SSL_shutdown(s) < 0)
        ERR_clear_error();
}
