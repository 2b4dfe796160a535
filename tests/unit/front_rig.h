/* front_rig.h - A worker with the real front/ and exchange/ on a real loop and
 * real sockets, whose later stages are scripted by the request's query:
 *
 *   now     reply at once: 200, 5 bytes "hello"
 *   big     as now, 1 MiB
 *   fail    401 at once, body unread
 *   echo    collect the body, then send it back
 *   wait    do nothing until the test acts on rig->x
 *   pull    stream the body into rig->pulled, reply "done" at its end
 *   stuck   ask for a streamed body and take nothing
 *   open    begin a reply of unknown length; the test sends and ends it
 *   tunnel  101, then echo raw bytes
 *
 * Nothing sleeps: every wait turns the loop until a condition holds. */
#ifndef TG_TESTS_FRONT_RIG_H
#define TG_TESTS_FRONT_RIG_H

#include "base/buf.h"
#include "exchange/exchange.h"
#include "front/front.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <openssl/ssl.h>

/* Everything a test has. */
struct rig {
    struct worker w;
    struct stats stats;
    struct services svc;
    struct chunk_pool chunks;
    struct front_net *net;
    struct front *front;
    struct exchange *x;  /* the last one that waits; NULL when it ended */
    struct buf pulled;   /* what pull took */
    bool pull_stopped;   /* pull takes nothing */
    unsigned settled;    /* exchanges that ended */
    unsigned gone;       /* of them, whose client left */
    unsigned drained;    /* WAKE_DRAINED seen */
    unsigned woken_body; /* WAKE_BODY seen */
    enum err last_err;   /* of the last exchange that ended */
    char dir[64];        /* scratch folder, removed at the end */
};

/* A client. */
struct cli {
    struct rig *rig;
    int fd;
    SSL *ssl;       /* NULL = plain */
    struct buf got; /* all that was received */
    bool eof;       /* the server closed in order */
    bool reset;     /* the server reset */
};

/* A running rig with <yaml> added to a plain listener on a free port of
 * 127.0.0.1; with <listen> given, that text is the value of `listen`. */
struct rig *rig_new(const char *yaml, const char *listen);

/* Stop and free all, checking that nothing is left behind. */
void rig_free(struct rig *r);

/* Remove the folder <dir> and the plain files in it. */
void rig_remove_folder(const char *dir);

/* A snapshot like the rig's, from other text. */
struct conf *rig_conf(struct rig *r, const char *yaml, const char *listen);

/* Turn the loop once, without waiting. */
void rig_turn(struct rig *r);

/* A turn of many that wait for something; <turns> counts them. After some
 * thousand the kernel is what is slow, and the processor is left to it. Fails
 * the test after half a minute of that. */
void rig_turn_waiting(struct rig *r, unsigned *turns);

/* Turn the loop until <cond>, an expression, holds. */
#define RIG_UNTIL(r, cond)                                                     \
    do {                                                                       \
        unsigned turns_ = 0;                                                   \
        while (!(cond))                                                        \
            rig_turn_waiting((r), &turns_);                                    \
    } while (0)

/* Turn the loop some times, so that what must not happen could have. */
void rig_settle(struct rig *r);

/* A client connected to address <at> of the rig. */
void cli_open(struct cli *c, struct rig *r, size_t at);

/* Send all of the C string <text>. */
void cli_send(struct cli *c, const char *text);

/* Send all <len> bytes. */
void cli_send_bytes(struct cli *c, const void *p, size_t len);

/* Receive what is there; false at the end of the connection. */
bool cli_recv(struct cli *c);

/* Receive until <text> is among the bytes received. */
void cli_expect(struct cli *c, const char *text);

/* Receive until the server has closed or reset. */
void cli_expect_end(struct cli *c);

/* Whether <text> was received. */
bool cli_has(const struct cli *c, const char *text);

/* How often <text> was received. */
unsigned cli_count(const struct cli *c, const char *text);

/* Forget what was received. */
void cli_forget(struct cli *c);

/* Close in order. */
void cli_close(struct cli *c);

/* Close by RST. */
void cli_reset(struct cli *c);

#endif
