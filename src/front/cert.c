/* cert.c - See cert.h. Decides what is a mistake in a certificate (a file that
 * cannot serve, a key of another certificate) and what is only worth a
 * warning: a certificate outside its dates still serves, for a clock may be
 * wrong and a client may not care. */
#include "front/cert.h"

#include <openssl/decodererr.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdio.h>

#include "front/front.h"

/* The faults of one certificate. */
struct faults {
    struct conf_cert_fault *v; /* borrowed, CONF_CERT_FAULTS of them */
    size_t n;
};

__attribute__((format(printf, 4, 5))) static void fault(struct faults *f,
                                                        bool warning,
                                                        bool of_key,
                                                        const char *fmt, ...)
{
    struct conf_cert_fault *one;
    va_list ap;

    if (f->n >= CONF_CERT_FAULTS)
        return;
    one = &f->v[f->n++];
    one->warning = warning;
    one->of_key = of_key;
    va_start(ap, fmt);
    vsnprintf(one->why, sizeof(one->why), fmt, ap);
    va_end(ap);
}

/* What OpenSSL says went wrong first, which is the cause; its queue is empty
 * afterwards. */
static const char *reason(void)
{
    unsigned long e = ERR_peek_error();
    const char *text = ERR_SYSTEM_ERROR(e) ? strerror(ERR_GET_REASON(e))
                                           : ERR_reason_error_string(e);

    ERR_clear_error();
    return text ? text : "unknown reason";
}

/* Whether no PEM block of the wanted kind was found. */
static bool is_missing(void)
{
    unsigned long e = ERR_peek_error();

    if (ERR_GET_LIB(e) == ERR_LIB_OSSL_DECODER)
        return ERR_GET_REASON(e) == ERR_R_UNSUPPORTED;
    return ERR_GET_LIB(e) == ERR_LIB_PEM &&
           ERR_GET_REASON(e) == PEM_R_NO_START_LINE;
}

static void judge_dates(const X509 *leaf, struct faults *f)
{
    if (X509_cmp_current_time(X509_get0_notAfter(leaf)) < 0)
        fault(f, true, false, "has expired; renew it");
    if (X509_cmp_current_time(X509_get0_notBefore(leaf)) > 0)
        fault(f, true, false,
              "is not valid yet; check its dates and the clock");
}

static bool load_chain(SSL_CTX *ctx, const char *path, struct faults *f)
{
    if (SSL_CTX_use_certificate_chain_file(ctx, path) == 1)
        return true;
    if (is_missing())
        fault(f, false, false,
              "has no certificate in it; name a PEM file with the chain, leaf "
              "first");
    else
        fault(f, false, false,
              "cannot be loaded (%s); name a PEM file with the chain, leaf "
              "first",
              reason());
    ERR_clear_error();
    return false;
}

/* <paired>: the certificate is loaded, so the key must be of it. */
static void load_key(SSL_CTX *ctx, const char *path, bool paired,
                     struct faults *f)
{
    EVP_PKEY *key = NULL;
    BIO *in = BIO_new_file(path, "r");

    if (in)
        key = PEM_read_bio_PrivateKey(in, NULL,
                                      SSL_CTX_get_default_passwd_cb(ctx), NULL);
    BIO_free(in);
    if (!key && in && is_missing())
        fault(f, false, true,
              "has no private key in it that can be read; name a PEM file with "
              "the key of the certificate, without a passphrase");
    else if (!key)
        fault(f, false, true,
              "cannot be loaded (%s); name a PEM file with a private key that "
              "has no passphrase",
              reason());
    else if (paired &&
             X509_check_private_key(SSL_CTX_get0_certificate(ctx), key) != 1)
        fault(f, false, true,
              "does not match its certificate; name the key that the "
              "certificate was issued for");
    else if (paired && SSL_CTX_use_PrivateKey(ctx, key) != 1)
        fault(f, false, true, "cannot be used (%s); make another", reason());
    EVP_PKEY_free(key);
    ERR_clear_error();
}

/* A key with a passphrase cannot be loaded; OpenSSL would ask for it on the
 * terminal, and wait. */
static int no_passphrase(char *buf, int room, int writing, void *arg)
{
    (void)buf;
    (void)room;
    (void)writing; /* never */
    (void)arg;
    return 0;
}

size_t cert_load(SSL_CTX *ctx, const struct conf_cert *c,
                 struct conf_cert_fault faults[CONF_CERT_FAULTS])
{
    struct faults f = {.v = faults};
    bool paired;

    ERR_clear_error();
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    paired = load_chain(ctx, c->cert.p, &f);
    load_key(ctx, c->key.p, paired, &f);
    if (paired)
        judge_dates(SSL_CTX_get0_certificate(ctx), &f);
    return f.n;
}

size_t front_judge_cert(const struct conf_cert *c,
                        struct conf_cert_fault faults[CONF_CERT_FAULTS])
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    struct faults f = {.v = faults};

    if (ctx)
        f.n = cert_load(ctx, c, faults);
    else
        fault(&f, false, false, "cannot be judged: TLS cannot be set up (%s)",
              reason());
    SSL_CTX_free(ctx);
    return f.n;
}
