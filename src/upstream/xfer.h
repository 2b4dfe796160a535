/* xfer.h - One transfer, as the files of this folder see it.
 *
 *   RESOLVE -> READY -> CONNECT -> ASK -> HEAD -> BODY -> OVER
 *                          |
 *                          +-> TUNNEL -> OVER
 *
 * Any state may go to OVER. A transfer is in the multi handle from CONNECT on;
 * `todo` bits are work that must not be done inside a callback of libcurl. */
#ifndef TG_UPSTREAM_XFER_H
#define TG_UPSTREAM_XFER_H

#include "conf/conf.h"
#include "exchange/producer.h"
#include "exchange/sink.h"
#include "upstream/pool.h"
#include "upstream/upstream.h"

/* Where a transfer stands. */
enum xfer_state {
    XFER_RESOLVE = 0, /* waits for an address */
    XFER_READY,       /* waits to be handed to libcurl */
    XFER_CONNECT,     /* libcurl has it; no byte of it was sent */
    XFER_ASK,         /* being sent, or sent and unanswered */
    XFER_HEAD,        /* part of the reply's head is here */
    XFER_BODY,        /* the head was given to the sink */
    XFER_TUNNEL,      /* tunnel.c drives the socket */
    XFER_OVER,        /* about to be freed */
    XFER_STATE_COUNT
};

/* Work put off until libcurl has returned. */
enum xfer_later {
    XFER_WORK_ADD = 1,    /* hand it to libcurl */
    XFER_WORK_RESUME = 2, /* the sink takes bytes again */
    XFER_WORK_UPLOAD = 4, /* there are more body bytes to send */
    XFER_WORK_END = 8,    /* <fail> says why */
    XFER_WORK_DROP = 16,  /* cancelled */
    XFER_WORK_KICK = 32,  /* its connection attempt failed, on to the next */
};

/* Bounds on the head of a reply. */
#define XFER_HEAD_BYTES  65536 /* all head lines, interim ones included */
#define XFER_HEAD_FIELDS 256
#define XFER_INTERIM_MAX 32

/* Bodies from this size on are not copied behind the head by libcurl. */
#define XFER_SMALL_BODY 65536

/* A reply's head while it is read. */
struct xfer_reply {
    struct reply_head *head; /* arena */
    unsigned bytes;          /* of lines seen, interim heads included */
    unsigned interim;        /* interim heads seen */
    bool started;            /* within a head */
    bool has_length;
    bool has_coding; /* Transfer-Encoding: chunked */
};

struct tunnel;

/* A transfer. */
struct xfer {
    struct producer producer; /* first */
    TAILQ_ENTRY(xfer) link;
    TAILQ_ENTRY(xfer) todo_link;
    struct upstream_pool *pool;     /* borrowed */
    CURL *easy;                     /* owned; NULL once over */
    struct lane *lane;              /* borrowed; that <easy> is in, or NULL */
    struct exchange *x;             /* borrowed; may be NULL */
    struct arena *arena;            /* borrowed */
    struct sink *sink;              /* borrowed; NULL once cancelled */
    const struct conf_upstream *up; /* borrowed */
    struct tunnel *tunnel;          /* arena; NULL: an ordinary transfer */
    struct event timer;
    enum xfer_state state;
    unsigned todo;     /* enum xfer_later bits */
    bool queued;       /* on pool->todo */
    bool write_paused; /* the sink has enough */
    bool read_paused;  /* no body bytes to send */
    bool proxied;
    bool proxy_tunnels; /* the proxy passes bytes, not requests */
    bool safe;          /* GET or HEAD: may be sent again */
    bool plain;         /* see xfer_is_plain(); set nothing that others lack */
    bool prepared;      /* <easy> had a plain transfer before */
    bool head_only;     /* HEAD */
    bool connect_only;  /* over when connected */
    bool was_sent;      /* final once <easy> is gone */
    unsigned asked;     /* times libcurl was about to send the request */
    long sent_before;   /* CURLINFO_REQUEST_SIZE when it first was */
    enum xfer_body body_kind;
    struct str body;        /* borrowed */
    int64_t length;         /* of a streamed body, or -1 */
    uint64_t uploaded;      /* streamed bytes given to libcurl */
    curl_off_t upload_seen; /* bytes of a large body that were sent */
    struct conf_timeouts timeouts;
    uint64_t connect_by_us;
    uint64_t end_by_us;        /* UINT64_MAX: none */
    uint64_t last_us;          /* last progress in either direction */
    uint64_t armed_us;         /* when <timer> fires, UINT64_MAX: not armed */
    struct str host;           /* arena: name to look up; empty = none */
    uint16_t port;             /* its port */
    struct pool_host *fed;     /* borrowed; record of that name */
    uint64_t feed_gen;         /* addrs.gen carried by <resolve> */
    struct curl_slist resolve; /* CURLOPT_RESOLVE */
    struct xfer_reply reply;
    enum err fail;                /* our own reason to stop */
    const char *text;             /* static or arena; goes with <fail> */
    char detail[CURL_ERROR_SIZE]; /* libcurl's words */
};

/* Do what the todo bits of <xf> say; outside libcurl. May free <xf>. */
void xfer_work(struct xfer *xf);

/* A socket of <xf> was closed. */
void xfer_socket_closed(struct xfer *xf);

/* libcurl is done with <xf>. May free <xf>. */
void xfer_done(struct xfer *xf, CURLcode code);

/* An answer of the resolver: <addrs> is NULL when there are none. Puts work
 * off, frees nothing. */
void xfer_resolved(struct xfer *xf, struct addrs *addrs);

/* Note why <xf> must stop; the first reason holds. <text> is static or in
 * its arena. */
void xfer_fail(struct xfer *xf, enum err err, const char *text);

/* End <xf> now with what xfer_fail() noted, ERR_OK if nothing: tell the sink,
 * free <xf>. Outside libcurl. */
void xfer_end(struct xfer *xf);

/* Free <xf> without a word to its sink. Outside libcurl. */
void xfer_drop(struct xfer *xf);

/* Have xfer_work() do <what> once libcurl has returned. */
void xfer_put_off(struct xfer *xf, enum xfer_later what);

/* Set <state>, note progress and set the timer for its deadline. */
void xfer_enter(struct xfer *xf, enum xfer_state state);

/* Set the timer if a deadline comes before it. */
void xfer_arm(struct xfer *xf);

/* Look at the deadlines; may free <xf>. */
void xfer_check_deadline(struct xfer *xf);

/* Whether request bytes may have left, as libcurl knows now. */
bool xfer_sent_now(const struct xfer *xf);

/* --- xfer_opts.c -------------------------------------------------------- */

/* Whether <spec> is a plain transfer: a small POST on HTTP/1.1, straight to an
 * upstream without an own CA or another name. Most are, and what they share is
 * set once for many of them. */
bool xfer_is_plain(const struct xfer_spec *spec);

/* Set every option of xf->easy for <spec>. ERR_NOMEM, or what xfer_fail()
 * should be told: ERR_INTERNAL, ERR_BAD_REQUEST. */
enum err xfer_set_options(struct xfer *xf,
                          const struct xfer_spec *spec) MUST_CHECK;

/* --- xfer_reply.c ------------------------------------------------------- */

/* libcurl's CURLOPT_HEADERFUNCTION and CURLOPT_WRITEFUNCTION; <arg> is the
 * transfer. */
size_t xfer_on_header(char *p, size_t size, size_t n, void *arg);
size_t xfer_on_data(char *p, size_t size, size_t n, void *arg);

/* Take fields out of <h> that belong to one connection or frame a body. */
void xfer_reply_filter(struct headers *h);

/* What <code> means for <xf>: fails it with code and text, unless it has
 * failed already or all is well. */
void xfer_judge(struct xfer *xf, CURLcode code);

#endif
