/* trust.h - The certificate authorities of the system, read once for the whole
 * process: parsing the usual bundle takes tens of milliseconds, too long for a
 * worker's loop. */
#ifndef TG_UPSTREAM_TRUST_H
#define TG_UPSTREAM_TRUST_H

#include <stdint.h>

struct resolver;
struct trust;
struct x509_store_st;

/* Nothing read yet. NULL without memory. */
struct trust *trust_new(void);

/* Free <t>; no job of it runs any more. NULL is fine. */
void trust_free(struct trust *t);

/* Read the bundle, again if it was read before, by a thread of <r>, whose own
 * <t> is. */
void trust_refresh(struct trust *t, struct resolver *r);

/* Changes whenever a bundle was read; 0 before the first. Any thread. */
uint64_t trust_gen(struct trust *t);

/* A new store with the certificates of the system, for the use of one thread;
 * the certificates themselves are shared. Reads the bundle here and now when
 * that was not done before. <gen_out> is what trust_gen() belongs to it. NULL
 * without memory; free it with X509_STORE_free(). Any thread. */
struct x509_store_st *trust_store_new(struct trust *t, uint64_t *gen_out);

#endif
