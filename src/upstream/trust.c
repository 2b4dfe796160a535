/* trust.c - The bundle is read into one store that nobody verifies with, so
 * that it never changes; each pool puts the same certificate objects into a
 * store of its own. */
#include "upstream/trust.h"

#include <curl/curl.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/arena.h"
#include "base/log.h"
#include "upstream/resolve.h"

/* The bundle. */
struct trust {
    struct arena *mem;       /* owned; holds this */
    struct resolver_job job; /* in use while <busy> */
    pthread_mutex_t lock;    /* guards all below; innermost */
    bool busy;               /* <job> is queued or running */
    X509_STORE *read;        /* one reference; NULL: not read yet */
    uint64_t gen;
};

/* Read what OpenSSL and libcurl each take for the system's bundle: on a good
 * system it is the same, on a bare one only one of them is there. */
static X509_STORE *read_system(void)
{
    X509_STORE *s = X509_STORE_new();
    CURL *c = curl_easy_init();
    char *file = NULL;
    bool ok = s && X509_STORE_set_default_paths(s) == 1;

    if (c && curl_easy_getinfo(c, CURLINFO_CAINFO, &file) != CURLE_OK)
        file = NULL;
    if (s && file && X509_STORE_load_file(s, file) == 1)
        ok = true;
    curl_easy_cleanup(c);
    ERR_clear_error(); /* files that are not there */
    if (!ok)
        log_warn(LOG_TLS, "no certificate authorities of the system found");
    return s;
}

static void take(struct trust *t, X509_STORE *fresh)
{
    pthread_mutex_lock(&t->lock);
    t->busy = false;
    if (fresh) {
        X509_STORE_free(t->read);
        t->read = fresh;
        t->gen++;
    }
    pthread_mutex_unlock(&t->lock);
}

static void run(struct resolver_job *job)
{
    take(MBOX_ENTRY(job, struct trust, job), read_system());
}

struct trust *trust_new(void)
{
    struct arena *mem = arena_new(256, 4096);
    struct trust *t = mem ? arena_alloc(mem, sizeof(*t)) : NULL;

    if (!t) {
        arena_free(mem);
        return NULL;
    }
    t->mem = mem;
    t->job.run = run;
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void trust_free(struct trust *t)
{
    if (!t)
        return;
    X509_STORE_free(t->read);
    pthread_mutex_destroy(&t->lock);
    arena_free(t->mem);
}

void trust_refresh(struct trust *t, struct resolver *r)
{
    bool start;

    pthread_mutex_lock(&t->lock);
    start = !t->busy;
    t->busy = true;
    pthread_mutex_unlock(&t->lock);
    if (start)
        resolver_submit(r, &t->job);
}

uint64_t trust_gen(struct trust *t)
{
    uint64_t gen;

    pthread_mutex_lock(&t->lock);
    gen = t->gen;
    pthread_mutex_unlock(&t->lock);
    return gen;
}

/* The store that was read, with a reference; reads it if need be. */
static X509_STORE *trust_read(struct trust *t, uint64_t *gen_out)
{
    X509_STORE *s;

    pthread_mutex_lock(&t->lock);
    if (!t->read) {
        t->read = read_system();
        t->gen++;
    }
    s = t->read;
    *gen_out = t->gen;
    if (s && X509_STORE_up_ref(s) != 1)
        s = NULL;
    pthread_mutex_unlock(&t->lock);
    return s;
}

X509_STORE *trust_store_new(struct trust *t, uint64_t *gen_out)
{
    X509_STORE *from = trust_read(t, gen_out);
    X509_STORE *to = from ? X509_STORE_new() : NULL;
    const STACK_OF(X509_OBJECT) * all;

    if (!to) {
        X509_STORE_free(from);
        return NULL;
    }
    all = X509_STORE_get0_objects(from);
    for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
        X509 *cert = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));

        if (cert && X509_STORE_add_cert(to, cert) != 1)
            log_warn(LOG_TLS, "a certificate authority cannot be used");
    }
    /* A bundle that is only a directory is looked into when it is needed. */
    if (sk_X509_OBJECT_num(all) == 0 && X509_STORE_set_default_paths(to) != 1)
        log_warn(LOG_TLS, "no certificate authorities of the system found");
    X509_STORE_free(from);
    return to;
}
