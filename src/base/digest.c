/* digest.c - See digest.h. Algorithms are fetched once a process; each thread
 * keeps a context that it begins anew for every digest, which is what makes a
 * short one cheap. */
#include "base/digest.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/panic.h"

struct digest_ctx {
    EVP_MD_CTX *md; /* owned */
};

/* A thread's contexts, made on first use. */
struct own {
    EVP_MD_CTX *md;   /* owned */
    EVP_MAC_CTX *mac; /* owned */
};

static struct shared {
    EVP_MD *sha256;    /* owned by the process */
    EVP_MAC *hmac;     /* owned by the process */
    pthread_key_t own; /* a struct own, freed with its thread */
} shared;
static pthread_once_t shared_once = PTHREAD_ONCE_INIT;
static _Thread_local struct own *own; /* owned by shared.own */

static void own_free(void *p)
{
    struct own *o = p;

    EVP_MD_CTX_free(o->md);
    EVP_MAC_CTX_free(o->mac);
    free(o);
    own = NULL;
}

static void shared_make(void)
{
    shared.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    shared.hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (!shared.sha256 || !shared.hmac)
        PANIC("OpenSSL offers no SHA-256 or HMAC; check its configuration");
    BUG_ON(pthread_key_create(&shared.own, own_free) != 0);
}

static struct own *own_get(void)
{
    OSSL_PARAM p[2];
    struct own *o = own;

    if (o)
        return o;
    pthread_once(&shared_once, shared_make);
    o = calloc(1, sizeof(*o));
    if (!o)
        PANIC("no memory for a thread's digest contexts");
    p[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
                                            (char[]){"SHA256"}, 0);
    p[1] = OSSL_PARAM_construct_end();
    o->md = EVP_MD_CTX_new();
    o->mac = EVP_MAC_CTX_new(shared.hmac);
    if (!o->md || !o->mac || EVP_MAC_CTX_set_params(o->mac, p) != 1 ||
        EVP_DigestInit_ex2(o->md, shared.sha256, NULL) != 1)
        PANIC("OpenSSL cannot make a digest context");
    BUG_ON(pthread_setspecific(shared.own, o) != 0);
    own = o;
    return o;
}

/* Store the digest of <md> in <d> and begin it anew. */
static void finish(EVP_MD_CTX *md, struct digest *d)
{
    BUG_ON(EVP_DigestFinal_ex(md, d->b, NULL) != 1);
    BUG_ON(EVP_DigestInit_ex2(md, NULL, NULL) != 1);
}

struct digest digest_sha256(const void *p, size_t len)
{
    EVP_MD_CTX *md = own_get()->md;
    struct digest d;

    BUG_ON(EVP_DigestUpdate(md, p, len) != 1);
    finish(md, &d);
    return d;
}

struct digest_ctx *digest_new(void)
{
    struct digest_ctx *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    pthread_once(&shared_once, shared_make);
    c->md = EVP_MD_CTX_new();
    if (!c->md || EVP_DigestInit_ex2(c->md, shared.sha256, NULL) != 1) {
        digest_free(c);
        return NULL;
    }
    return c;
}

void digest_update(struct digest_ctx *c, const void *p, size_t len)
{
    BUG_ON(EVP_DigestUpdate(c->md, p, len) != 1);
}

struct digest digest_final(struct digest_ctx *c)
{
    struct digest d;

    finish(c->md, &d);
    return d;
}

void digest_free(struct digest_ctx *c)
{
    if (!c)
        return;
    EVP_MD_CTX_free(c->md);
    free(c);
}

struct digest digest_hmac(struct str key, struct str msg)
{
    EVP_MAC_CTX *mac = own_get()->mac;
    struct digest d;
    size_t len;

    /* A NULL key would mean "the key of the time before". */
    BUG_ON(EVP_MAC_init(mac, (const uint8_t *)(key.p ? key.p : ""), key.len,
                        NULL) != 1);
    BUG_ON(EVP_MAC_update(mac, (const uint8_t *)msg.p, msg.len) != 1);
    BUG_ON(EVP_MAC_final(mac, d.b, &len, sizeof(d.b)) != 1);
    return d;
}

bool digest_eq(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

void digest_wipe(void *p, size_t len)
{
    OPENSSL_cleanse(p, len);
}

void digest_random(void *out, size_t len)
{
    char *at = out;

    while (len > 0) {
        int n = len > 1 << 20 ? 1 << 20 : (int)len;

        if (RAND_bytes((unsigned char *)at, n) != 1)
            PANIC("the system gives no random bytes");
        at += n;
        len -= (size_t)n;
    }
}

void digest_hex(const void *p, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *b = p;

    for (size_t i = 0; i < len; i++) {
        *out++ = digits[b[i] >> 4];
        *out++ = digits[b[i] & 15];
    }
    *out = 0;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

enum err digest_unhex(struct str s, void *out)
{
    uint8_t *b = out;

    if (s.len % 2 != 0)
        return ERR_SYNTAX;
    for (size_t i = 0; i < s.len; i++) {
        if (hex_value(s.p[i]) < 0)
            return ERR_SYNTAX;
    }
    for (size_t i = 0; i < s.len; i += 2)
        *b++ = (uint8_t)(hex_value(s.p[i]) << 4 | hex_value(s.p[i + 1]));
    return ERR_OK;
}

void digest_base62(char *out, size_t len)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz";
    uint8_t pool[64];
    size_t used = sizeof(pool);

    for (size_t i = 0; i < len;) {
        if (used == sizeof(pool)) {
            digest_random(pool, sizeof(pool));
            used = 0;
        }
        /* 248 is the largest multiple of 62 in a byte: beyond it some
         * characters would come more often than others. */
        if (pool[used] < 248)
            out[i++] = digits[pool[used] % 62];
        used++;
    }
    out[len] = 0;
    digest_wipe(pool, sizeof(pool));
}
