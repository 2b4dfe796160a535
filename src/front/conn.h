/* conn.h - One client connection and the worker's set of them. Private to
 * front/. conn.c owns life, states and deadlines; conn_in.c and conn_body.c
 * the way in; conn_out.c and reply.c the way out.
 *
 *                  +--------------------------------------+
 *                  v                                      |
 *   HANDSHAKE --> IDLE --> HEAD --> BODY --> WAIT --> REPLY --> FLUSH
 *                  |                                      |       |
 *                  +--> LINGER <--------------------------|-------+
 *                          |                              v
 *                          +----------> CLOSED <------ TUNNEL
 *
 * The socket is watched edge-triggered, once for reading, writing and the
 * peer's close, for its whole life: no epoll_ctl a request, and neither a FIN
 * nor a RST is missed or makes the loop spin while nothing is read. <readable>
 * and <writable> remember the edges. Nothing is written before the end of the
 * turn, and nothing is freed before it either. */
#ifndef TG_FRONT_CONN_H
#define TG_FRONT_CONN_H

#include "base/buf.h"
#include "base/chunkq.h"
#include "base/slab.h"
#include "exchange/exchange.h"
#include "front/front.h"
#include "front/gate.h"
#include "wire/http1.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>
#include <sys/socket.h>

struct listener;
struct ssl_st;
struct tls;

/* Bytes kept of what a client sends ahead while its reply is pending; it is
 * closed beyond that, so that its leaving is always seen. */
#define CONN_AHEAD_BYTES (16 * 1024)

/* Queued body bytes above which a streamed body is not read on. */
#define CONN_STREAM_HIGH (256 * 1024)

/* A peer's address as text, with its NUL. */
#define CONN_PEER_BYTES 48

/* Where a connection stands. */
enum conn_state {
    CONN_HANDSHAKE = 0, /* TLS is being set up */
    CONN_IDLE,          /* no byte of a request yet */
    CONN_HEAD,          /* a part of a head is there */
    CONN_BODY,          /* an exchange runs, its body is not complete */
    CONN_WAIT,          /* an exchange runs, the request is complete */
    CONN_REPLY,         /* the final head is queued, the reply not complete */
    CONN_FLUSH,         /* the exchange let go: bytes to send or to drop */
    CONN_LINGER,        /* our side is shut, the client may finish reading */
    CONN_TUNNEL,        /* raw bytes both ways */
    CONN_CLOSED,        /* to be freed at the end of the turn */
    CONN_STATE_COUNT
};

/* How the end of a reply's body is shown. */
enum conn_framing {
    FRAMING_NONE = 0, /* no body at all: bytes given are dropped */
    FRAMING_LENGTH,   /* reply_left bytes */
    FRAMING_CHUNKED,
    FRAMING_CLOSE, /* raw until the connection ends */
};

/* A deadline and what it is for. */
enum conn_due {
    DUE_NOTHING = 0,
    DUE_HANDSHAKE,
    DUE_IDLE,
    DUE_HEAD,
    DUE_BODY,
    DUE_DROP,  /* dropping the rest of a body takes too long */
    DUE_WRITE, /* the client does not read */
    DUE_LINGER,
    DUE_RESET, /* look whether all is sent and the reset can go out */
};

/* One connection. Times are monotonic, in us. */
struct conn {
    struct client client; /* first: what later stages hold */
    struct front *f;      /* borrowed */
    struct exchange *x;   /* borrowed until finish, abort or its leaving */
    struct ssl_st *ssl;   /* owned; NULL = plain */
    struct tls *tls;      /* counted */
    int fd;               /* owned */
    enum conn_state state;
    TAILQ_ENTRY(conn) live; /* in f->live, in f->dead when closed */
    TAILQ_ENTRY(conn) work; /* in f->work, while <queued> */
    TAILQ_ENTRY(conn) hold; /* in f->gate.line or .shakes */
    struct event io;
    struct event timer;
    int64_t timer_us; /* when <timer> fires; 0 = not armed */
    int64_t since_us; /* entry of the state; HEAD: its first byte */

    struct buf in;          /* bytes not yet parsed; no memory when empty */
    struct http1_scan scan; /* of the head that is arriving */
    struct http1_body body; /* of the current request */
    enum body_mode mode;    /* as x->in->mode, outlives it */
    size_t head_len;        /* of a complete head in <in> that has not begun */
    int64_t held_us;        /* when its wait began; 0 = it did not wait */
    enum err head_err;      /* why the head is bad: front_run() tells */
    int64_t body_us;        /* when we began to wait for body bytes */
    int64_t body_last_us;   /* last body byte */
    int64_t pause_us;       /* reading stopped for back-pressure; 0 = not */
    uint64_t body_seen;     /* body bytes since body_us */
    uint64_t dropped;       /* bytes read to be dropped */

    struct chunkq out;         /* bytes to be sent */
    enum conn_framing framing; /* of the current reply */
    uint64_t reply_left;       /* FRAMING_LENGTH: body bytes to come */
    int64_t write_us;          /* last time the kernel took bytes */

    uint32_t requests;  /* heads seen */
    bool queued;        /* in f->work */
    bool held;          /* in f->gate.line */
    bool shaking;       /* in f->gate.shakes */
    bool shed;          /* its exchange is to fail: gate_fail() */
    bool look;          /* work: parse and read, not only write */
    bool body_wake;     /* work: tell that the body was complete already */
    bool readable;      /* the socket may have bytes */
    bool writable;      /* the socket may take bytes */
    bool hup;           /* the peer's side is shut */
    bool broken;        /* memory failed: close at the end of the turn */
    bool must_close;    /* no other request on this connection */
    bool linger;        /* the client may still be sending */
    bool reset;         /* close by RST once all is sent */
    bool rest_raw;      /* the rest of the input is dropped unparsed */
    bool said_continue; /* 100 Continue was sent or is pointless */
    bool was_high;      /* the producer may be waiting for WAKE_DRAINED */
    bool half_closed;   /* the client sent its end and may read on */
    bool metrics;       /* came in by the metrics listener */
    bool local_peer;    /* loopback or unix */
    bool counted;       /* in f->net->conns */
    uint32_t address;   /* slot in net->by_address */
    char peer[CONN_PEER_BYTES]; /* "192.0.2.1", "2001:db8::1", "unix" */
};

TAILQ_HEAD(conn_list, conn);

/* One worker's part of front/. */
struct front {
    struct worker *w;           /* borrowed */
    struct front_net *net;      /* borrowed */
    struct listener *listeners; /* owned */
    size_t n_listeners;
    struct slab conns;     /* all struct conn */
    struct conn_list live; /* open */
    struct conn_list dead; /* closed in this turn */
    struct conn_list todo; /* with work for the end of the turn */
    unsigned n_todo;       /* in todo */
    struct gate gate;      /* which requests begin */
    struct event turn_ev;  /* activated to run the work of this turn */
    struct event later_ev; /* zero timer: work for the next turn */
    bool turn_set;         /* turn_ev is active */
    bool in_turn;          /* the work is being done */
    bool in_read;          /* bytes of a connection are being used */
    bool draining;
    int64_t drain_us;    /* since when */
    int reserve_fd;      /* spent when descriptors run out; or -1 */
    unsigned n_conns;    /* in live */
    unsigned n_watchers; /* of them, on the metrics listener */
    unsigned n_refusing; /* of them, over the limit */
    struct buf head;     /* scratch: reply heads are built here */
    int64_t out_bytes;   /* queued replies of this worker */
    int64_t out_shown;   /* of them, in net->out_bytes */
};

/* ---- conn.c ------------------------------------------------------------- */

/* A new connection on <fd>, which it takes over, from <sa>. Without memory or
 * over the limit the client is refused and closed. */
void conn_accept(struct listener *l, int fd, const struct sockaddr_storage *sa);

/* Change the state: the only writer of c->state. Entering CONN_CLOSED closes
 * the descriptor and queues <c> to be freed; it needs x == NULL. */
void conn_enter(struct conn *c, enum conn_state to);

/* Name of a state, for logs. */
const char *conn_state_name(enum conn_state s);

/* Whether <to> may follow <from>. */
bool conn_may_enter(enum conn_state from, enum conn_state to);

/* Make the timer fire no later than the nearest deadline. */
void conn_arm(struct conn *c);

/* Go on with the TLS handshake as far as the client's bytes go. */
void conn_handshake(struct conn *c);

/* Do what the deadline that has passed asks for, or arm the timer again. */
void conn_check_deadline(struct conn *c);

/* Close at once: an exchange in it gets WAKE_GONE. <why> is for the log. */
void conn_lose(struct conn *c, const char *why);

/* As conn_lose(), and the kernel forgets unsent bytes and sends RST. */
void conn_kill(struct conn *c, const char *why);

/* Have conn_out_work() called for <c> at the end of this turn; within that,
 * or with <later>, in the next one. */
void conn_mark(struct conn *c, bool later);

/* Have the end of this turn come, where what is left for it is done; with
 * <later>, or within it, the end of the next one. */
void conn_turn(struct front *f, bool later);

/* All is sent and the connection ends: shut our side and linger, or close. */
void conn_shut(struct conn *c);

/* Free what was closed. */
void conn_free_dead(struct front *f);

/* Body bytes of a request are being waited for, since now. */
void conn_body_clock_start(struct conn *c);

/* Whether the end of what the client sends leaves its request alive. */
bool conn_serves_half_closed(const struct conn *c);

/* ---- conn_in.c ---------------------------------------------------------- */

/* Read while there is something to read and a use for it. */
void conn_in_read(struct conn *c);

/* Parse what is kept in c->in, then read on. */
void conn_in_resume(struct conn *c);

/* Whether bytes from the client have a use now. */
bool conn_in_is_wanted(const struct conn *c);

/* Run an exchange that fails with <e>, then close: the head is bad, or did
 * not arrive in time. */
void conn_in_refuse(struct conn *c, enum err e);

/* ---- conn_body.c -------------------------------------------------------- */

/* Take body bytes from <p>; returns how many of <len> are done with. */
size_t conn_body_take(struct conn *c, const char *p, size_t len);

/* Whether body bytes may be taken now. */
bool conn_body_is_wanted(const struct conn *c);

/* The body cannot be completed: fail the exchange, then close. */
void conn_body_fail(struct conn *c, enum err e);

/* Set how the body is taken in, in <c> and its exchange. */
void conn_body_set_mode(struct conn *c, enum body_mode mode);

/* Tell the exchange's producer that x->in->stream has changed. */
void conn_body_push(struct conn *c);

/* client_ops.read_body */
void conn_body_read(struct client *client, enum body_mode mode);

/* client_ops.body_taken */
void conn_body_taken(struct client *client);

/* ---- conn_out.c --------------------------------------------------------- */

/* The operations that later stages have. */
extern const struct client_ops conn_ops;

/* Do what <c> was marked for: parse, send, go on to the next request. */
void conn_out_work(struct conn *c);

/* Queue raw bytes; sets c->broken without memory. */
void conn_out_put(struct conn *c, struct str bytes);

/* Share the count of queued bytes with the other workers. */
void conn_out_publish(struct front *f);

/* ---- reply.c ------------------------------------------------------------ */

/* client_ops.reply */
void reply_head_send(struct client *client, const struct reply_head *head);

/* Queue a whole 503 without an exchange, in the words of <shape>; after it the
 * connection is kept unless c->must_close. <retry_ms> tells when to come
 * again. */
void reply_overloaded_send(struct conn *c, enum endpoint_shape shape,
                           uint64_t retry_ms);

/* The same for a client of whom nothing was read, or cannot be: the connection
 * closes then. */
void reply_refused_send(struct conn *c);

#endif
