/* tls.h - Server-side TLS on OpenSSL: certificates of one listener as an
 * immutable, counted object, session ticket keys for the whole process, and
 * non-blocking reads and writes on a socket. Private to front/. */
#ifndef TG_FRONT_TLS_H
#define TG_FRONT_TLS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct conf_listen;
struct ssl_st;
struct tls;
struct tls_tickets;

/* Bytes of plaintext in one TLS record at most. */
#define TLS_RECORD_BYTES 16384

/* New random ticket keys, which renew themselves every hour; any thread may
 * use them. ERR_NOMEM, ERR_IO without randomness. */
enum err tls_tickets_new(struct tls_tickets **tickets_out) MUST_CHECK;

/* Wipe and free; after the last tls_unref(). NULL is fine. */
void tls_tickets_free(struct tls_tickets *t);

/* Load the certificates of <l> (at least one), one reference. <tickets> is
 * borrowed and must outlive the result. One outside its dates is as good as
 * any: the reader of the config warns. ERR_SYNTAX (logged): file unreadable or
 * broken, key does not match. */
enum err tls_new(const struct conf_listen *l, struct tls_tickets *tickets,
                 struct tls **tls_out) MUST_CHECK;

/* One more reference; any thread. NULL gives NULL. */
struct tls *tls_ref(struct tls *t);

/* Drop a reference; any thread. NULL is fine. */
void tls_unref(struct tls *t);

/* A new server session on the non-blocking socket <fd>, which stays the
 * caller's. Keep a reference of <t> while it lives. NULL without memory. */
struct ssl_st *tls_session_new(struct tls *t, int fd);

/* Free the session, without a word to the client. NULL is fine. */
void tls_session_free(struct ssl_st *s);

/* Go on with the handshake. ERR_OK: done; ERR_AGAIN: call again when the
 * socket can be read or written; ERR_CLOSED: the client left; ERR_IO: failed,
 * the reason is logged at debug level. */
enum err tls_handshake(struct ssl_st *s) MUST_CHECK;

/* Read at most <room> bytes. ERR_AGAIN when the socket has no more now,
 * ERR_CLOSED at its end (with or without close_notify), ERR_IO. */
enum err tls_read(struct ssl_st *s, void *p, size_t room,
                  size_t *len_out) MUST_CHECK;

/* Write some of <len> bytes. After ERR_AGAIN the same bytes (at any address,
 * perhaps more of them) must be offered again. ERR_CLOSED, ERR_IO. */
enum err tls_write(struct ssl_st *s, const void *p, size_t len,
                   size_t *len_out) MUST_CHECK;

/* Send close_notify if that is possible without waiting. */
void tls_close_notify(struct ssl_st *s);

#endif
