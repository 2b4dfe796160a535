/* digest.h - SHA-256, HMAC, constant-time compare, random bytes and the plain
 * text forms of bytes. The only place that calls OpenSSL's digests and random
 * generator; when they fail the program cannot go on and panics. Any thread. */
#ifndef TG_BASE_DIGEST_H
#define TG_BASE_DIGEST_H

#include "base/err.h"
#include "base/str.h"

/* Bytes of a SHA-256 or HMAC-SHA-256. */
#define DIGEST_BYTES 32

/* Bytes of a digest in hex with its NUL. */
#define DIGEST_HEX_SIZE (2 * DIGEST_BYTES + 1)

/* A digest, by value. */
struct digest {
    uint8_t b[DIGEST_BYTES];
};

/* A digest in the making. */
struct digest_ctx;

/* SHA-256 of <len> bytes at <p>. */
struct digest digest_sha256(const void *p, size_t len);

/* Begin an incremental SHA-256; NULL without memory. */
struct digest_ctx *digest_new(void);

/* Add <len> bytes at <p>. */
void digest_update(struct digest_ctx *c, const void *p, size_t len);

/* The digest of what was added; <c> then begins anew. */
struct digest digest_final(struct digest_ctx *c);

/* Free <c>; NULL is fine. */
void digest_free(struct digest_ctx *c);

/* HMAC-SHA-256 of <msg> under <key>. */
struct digest digest_hmac(struct str key, struct str msg);

/* Whether <len> bytes at <a> and <b> are the same, in time that depends on
 * <len> alone. */
bool digest_eq(const void *a, const void *b, size_t len);

/* Overwrite <len> bytes at <p> with zeros, even where a compiler thinks it
 * needless: for secrets. */
void digest_wipe(void *p, size_t len);

/* Fill <out> with <len> random bytes fit for secrets. */
void digest_random(void *out, size_t len);

/* Write <len> bytes at <p> as 2*len lower-case hex digits and a NUL. */
void digest_hex(const void *p, size_t len, char *out);

/* Parse hex digits of either case into <out>, which has room for s.len/2
 * bytes. ERR_SYNTAX when a byte is no digit or their number is odd. */
enum err digest_unhex(struct str s, void *out) MUST_CHECK;

/* Write <len> random characters of 0-9A-Za-z and a NUL, each worth 5.95 bits,
 * evenly spread. */
void digest_base62(char *out, size_t len);

#endif
