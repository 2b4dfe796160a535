/* rawserver.h - A server for tests that sends what a script says, byte by
 * byte: each connection runs the script in a thread of its own, with blocking
 * calls. Listens on a free port of 127.0.0.1. */
#ifndef TG_TESTS_RAWSERVER_H
#define TG_TESTS_RAWSERVER_H

#include "base/str.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ssl_ctx_st;
struct ssl_st;

/* One connection. */
struct rawconn {
    struct rawserver *server;
    int fd;
    struct ssl_st *ssl; /* NULL: plain */
    unsigned nth;       /* 0 for the first connection of the server */
    char *in;           /* bytes read and not taken yet, owned */
    size_t in_len, in_room;
};

/* A script; the connection is closed when it returns. */
typedef void raw_script(struct rawconn *c, void *arg);

/* A server. */
struct rawserver {
    int listen_fd;
    uint16_t port;
    raw_script *script;
    void *arg;
    struct ssl_ctx_st *tls; /* borrowed; NULL: plain */
    pthread_t thread;
    pthread_mutex_t lock; /* guards <log> */
    char *log;            /* what raw_note() was given, in order */
    size_t log_len;
    _Atomic unsigned conns;    /* accepted */
    _Atomic unsigned live;     /* scripts running */
    _Atomic unsigned requests; /* raw_request() that were complete */
};

/* Start a server; <tls> may be NULL. Aborts the test on failure. */
void rawserver_start(struct rawserver *s, raw_script *script, void *arg,
                     struct ssl_ctx_st *tls);

/* Stop it; scripts must return once their peers have closed. */
void rawserver_stop(struct rawserver *s);

/* Read one whole request (head, and the body its framing tells). Gives its raw
 * bytes, valid until the next call; an empty slice at the end of input. */
struct str raw_request(struct rawconn *c);

/* Read until <n> bytes were read in all since the last taking, or the end;
 * gives and takes them. */
struct str raw_read(struct rawconn *c, size_t n);

/* Take what has come; waits for at least one byte. Empty at the end. */
struct str raw_some(struct rawconn *c);

/* Read and forget until the peer closes; gives the number of bytes. */
size_t raw_drain(struct rawconn *c);

/* Send all of it; errors are ignored. */
void raw_send(struct rawconn *c, const char *text);
void raw_send_bytes(struct rawconn *c, const void *p, size_t len);

/* A reply that is as good as any. */
#define RAW_OK                                                                 \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"                    \
    "Content-Length: 2\r\n\r\n{}"

/* A script: answer every request with the text <arg> (NULL: RAW_OK), noting
 * the request. */
void raw_answer_all(struct rawconn *c, void *arg);

/* Close with a RST. The script must return next. */
void raw_reset(struct rawconn *c);

/* Append to the server's log. */
void raw_note(struct rawconn *c, struct str bytes);

/* A TLS server context whose certificate names <host>, signed by a CA made
 * for it; <ca_path_out> gets the path of a file with the CA, for the caller
 * to unlink and free(). */
struct ssl_ctx_st *raw_tls_make(const char *host, char **ca_path_out);

#endif
