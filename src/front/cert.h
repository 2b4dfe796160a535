/* cert.h - One certificate and its private key, from their files into an
 * OpenSSL context, with every mistake found on the way. Private to front/. */
#ifndef TG_FRONT_CERT_H
#define TG_FRONT_CERT_H

#include "conf/conf.h"

struct ssl_ctx_st;

/* Load the files of <c> into <ctx>. <faults> gets what is wrong, mistakes and
 * warnings; returns how many. Unless one of them is a mistake, <ctx> can
 * serve. */
size_t cert_load(struct ssl_ctx_st *ctx, const struct conf_cert *c,
                 struct conf_cert_fault faults[CONF_CERT_FAULTS]);

#endif
