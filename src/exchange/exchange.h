/* exchange.h - The one object a request is, from its parsed head to its usage
 * row. Each sub-struct is written by the stage named beside it and by nobody
 * else (make lint checks); later stages read it.
 *
 *   front -GO-> admit -GO-> prompt -GO-> hold -GO-> recall -GO-> serve
 *     |           |           |           |                       | head
 *     +---SKIP----+---SKIP----+---SKIP----+-------------SKIP--> relay -->
 * settle
 *
 * An exchange never leaves its worker's thread. Others refer to it by
 * `struct xid`; an answer for a dead generation is dropped. */
#ifndef TG_EXCHANGE_EXCHANGE_H
#define TG_EXCHANGE_EXCHANGE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/chunkq.h"
#include "base/err.h"
#include "base/id.h"
#include "base/str.h"
#include "exchange/client.h"
#include "exchange/producer.h"
#include "exchange/sink.h"
#include "exchange/stage.h"
#include "exchange/worker.h"
#include "wire/endpoint.h"
#include "wire/http1.h"
#include "wire/usage.h"

#include <stdint.h>

struct attempt;
struct conf;
struct conf_route;
struct job;
struct jscan;
struct key;
struct leg;
struct quota;
struct rate_hold;
struct tape;
struct tape_sum;
struct target;
struct usage_row;

/* Names an exchange across threads and time. */
struct xid {
    uint32_t worker; /* index */
    uint32_t gen;    /* never reused within a worker's life */
};

#define EXCHANGE_MAX_STEPS  4096 /* stage calls; more is a bug of ours */
#define EXCHANGE_ARENA      8128 /* first block: holds a usual request */
#define EXCHANGE_ARENA_CAP  (1024 * 1024)
#define EXCHANGE_STREAM_CAP (512 * 1024) /* body bytes not yet taken */

/* The first failure of an exchange; text for the client. */
struct fail {
    enum err err;
    struct str text;        /* arena: the sentence the client reads */
    const char *param;      /* arena or static: OpenAI `param`, or NULL */
    int upstream_status;    /* status the upstream had sent, or 0 */
    int64_t retry_after_ms; /* for retry-after headers, or -1 */
    struct str allow;       /* arena: value of Allow for 405, or empty */
};

/* front/: the request as it came. */
struct request {
    struct http1_head head;   /* slices of the arena */
    struct endpoint_match ep; /* what the path means */
    struct str peer;          /* arena: "192.0.2.1" or "unix" */
    bool tls;                 /* came over TLS */
    bool has_body;            /* framing announces one */
    enum body_mode mode;      /* how the body is taken in */
    struct buf body;          /* BODY_COLLECT: owned bytes */
    struct chunkq stream;     /* BODY_STREAM: bytes not yet taken */
    bool body_done;           /* all of the body has arrived */
    uint64_t body_bytes;      /* body bytes received so far */
    int64_t held_bytes;       /* of <body>, counted in stats->buffered_bytes:
                               * exchange.c takes them off when it is freed */
    int64_t head_us;          /* monotonic: head complete */
    int64_t body_us;          /* monotonic: body complete, or 0 */
};

/* admit/: who asks. */
struct caller {
    const struct key *key;  /* counted, dropped with the exchange; or NULL */
    struct str key_id;      /* of <key>; empty when no key was needed */
    struct str team;        /* of <key>; may be empty */
    struct rate_hold *rate; /* arena: what it holds of its limits, given back
                             * in settle; NULL: it has none */
};

/* How the body names its model. */
enum model_in {
    MODEL_NOWHERE = 0, /* no model: passthrough */
    MODEL_JSON,        /* top-level member `model` */
    MODEL_MULTIPART,   /* form part `model` */
    MODEL_PATH,        /* Azure deployment in the path */
};

/* prompt/: what is asked for. */
struct ask {
    struct jscan *scan;  /* arena: members of in->body; NULL: not JSON */
    enum model_in where; /* how the model was named */
    struct str model;    /* its decoded name, a slice of the arena or of
                          * in->body; may be empty */
    uint64_t model_at;   /* offset of a form part's value; 0: no such part */
    size_t model_len;    /* its length as sent */
    bool stream;         /* the client asked for a stream */
    bool add_usage;      /* include_usage is ours: strip its chunk */
    unsigned n;          /* choices asked for, >= 1 */
};

/* Where the reply of an exchange comes from. */
enum recall_how {
    RECALL_BYPASS = 0, /* a call of its own, which nobody else may know */
    RECALL_MISS,       /* a call of its own, whose reply may be kept */
    RECALL_HIT,        /* it was kept */
    RECALL_JOINED,     /* the call of another exchange */
    RECALL_HOW_COUNT
};

/* recall/: what was found in stores, and who else waits for the reply. */
struct recall {
    enum recall_how how;
    bool stale;        /* HIT: its time is over */
    bool refresh;      /* nobody waits: it renews what is kept */
    int64_t age_s;     /* HIT: seconds since it was made */
    struct tape *tape; /* what relay writes too, counted; NULL: nothing */
    bool retries;      /* <tape> follows one that failed: an error goes on it,
                        * whatever it is */
    const struct tape_sum *sum; /* HIT, JOINED: what the one who paid paid;
                                 * NULL: not known */
    /* Whether somebody else waits for the reply, though the client has left;
     * or NULL. */
    bool (*wanted)(struct exchange *x);
    /* Said by relay when the call failed: true makes what is kept its reply;
     * or NULL. */
    bool (*rescue)(struct exchange *x);
    /* Settle's word to those who follow, once the row is safe; or NULL. */
    void (*settled)(struct exchange *x, const struct usage_row *row);
    void (*release)(struct exchange *x); /* when <x> is freed; or NULL */
    struct job *job; /* arena: recall's own; NULL: it has nothing to do */
};

/* serve/: who answers. */
struct work {
    const struct conf_route *route; /* borrowed from x->conf; may be NULL */
    struct target *target;          /* process table; NULL before the choice */
    struct str target_name;         /* conf text: the upstream's name */
    struct str label;               /* conf text: model label for metrics */
    struct str upstream_model;      /* arena: model name sent upstream */
    bool renamed;                   /* replies must carry ask->model again */
    bool passthrough;               /* routed to the passthrough upstream */
    bool engine;                    /* the target is an engine model */
    unsigned attempts;              /* attempts started */
    bool sent;                      /* request bytes may have left */
    struct producer *producer;      /* of the current attempt; NULL when none
                                     * runs. Once relay has it, it lives until
                                     * relay ends */
    const struct reply_head *head;  /* arena: committed head, or NULL */
    struct buf body;                /* reply bytes collected so far, owned */
    bool collected;                 /* body holds the whole reply */
    const struct jscan *scan;       /* arena: of the collected body, if JSON */
    const struct usage *told;       /* arena: what a reply that broke off and
                                     * is not passed on says; or NULL */
    int64_t head_us;                /* monotonic: reply head arrived, or 0 */
    struct buf request;     /* owned: the spliced body of an attempt that was
                             * cancelled while it was being sent */
    bool keeps_body;        /* in->body is read to the end, for such a one */
    struct loop *loop;      /* arena: the attempts; serve's */
    int64_t retry_after_ms; /* what an error that is passed on says instead of
                             * its own; 0: its own */
    bool no_retry;          /* it says that trying again does not help */
    bool badly;             /* it is the upstream's failure, whatever its head
                             * says */
    uint64_t cap_tok; /* of a choice: what the body must say that it may output
                       * at most; 0: whatever it says */
    bool capped;      /* that is less than was asked for, for a budget */
    bool cap_added;   /* the body itself said none */
    struct quota *quota; /* arena: what is held of budgets; NULL:
                          * there are none */
    struct leg *legs;    /* arena: attempts that did not answer and may have
                          * cost something; see exchange/leg.h */
    void (*release)(struct exchange *x); /* serve's last word, said by
                                          * exchange_release(); or NULL */
};

/* engine/: what an attempt within the process made, as it goes. */
struct made {
    bool counted; /* the counts below are exact as of now */
    uint64_t input_tok, cached_tok, output_tok;
};

/* Who ended the reply and how. */
enum reply_end {
    REPLY_OPEN = 0,
    REPLY_COMPLETE,   /* terminator or full length reached */
    REPLY_INCOMPLETE, /* broke off after the first byte */
    REPLY_ERROR,      /* an error body of ours was sent */
    REPLY_GONE,       /* the client left first */
};

/* relay/: what the client was sent. */
struct reply {
    int status; /* status sent, 0 when none */
    enum reply_end end;
    bool streaming;      /* event stream */
    struct usage usage;  /* what the reply said, usage.present */
    bool usage_final;    /* a stream said it when or after it ended */
    bool taped;          /* what is sent goes on x->found->tape, too */
    bool spoiled;        /* with something in it that is no JSON */
    bool whole;          /* all of it is there, as it should be */
    bool unended;        /* a stream without the event that ends it: clients
                          * take it for whole, but who knows */
    bool usage_passed;   /* text came after the usage that a stream said */
    int64_t first_us;    /* monotonic: first body byte queued, or 0 */
    uint64_t bytes;      /* body bytes queued, before framing */
    uint64_t text_bytes; /* generated text seen, for estimates */
    uint64_t text_tok;   /* tokens of it, reckoned event by event */
    uint64_t events;     /* stream events passed that had content */
};

/* settle/: what it cost. */
struct bill {
    enum outcome outcome;
    bool estimated; /* counts are ours, not the upstream's */
    uint64_t input_tok, cached_tok, output_tok;
    int64_t cost_nusd;
    unsigned price_marks; /* enum price_mark: why the cost may not be it */
    bool done;            /* settled: never twice */
};

/* A reply made by tollgate itself; filled by services.local. */
struct local_reply {
    bool ready;
    struct reply_head head;
    struct buf body; /* owned */
};

/* A request. */
struct exchange {
    TAILQ_ENTRY(exchange) link; /* in w->by_stage[stage] */
    struct xid id;
    char name[ID_SIZE]; /* request id, sortable, NUL-terminated */
    enum stage stage;   /* changed by exchange_enter() and nobody else */
    uint32_t steps;
    bool running;          /* inside exchange_run() */
    uint32_t pending;      /* bit per enum wake that came while running */
    struct worker *w;      /* borrowed */
    struct client *client; /* borrowed; NULL once the client has gone */
    struct conf *conf;     /* one reference, dropped at the end */
    struct arena *arena;   /* owned; freed last */
    struct fail fail;      /* first failure wins */
    int64_t start_us;      /* monotonic: first byte of the request */
    int64_t start_wall_ms; /* Unix time of the same */
    int64_t stage_us[STAGE_COUNT]; /* monotonic entry times */
    struct local_reply local;      /* filled by services.local */
    struct request *in;            /* front/ */
    struct caller *who;            /* admit/ */
    struct ask *ask;               /* prompt/ */
    struct recall *found;          /* recall/ */
    struct work *work;             /* serve/ */
    struct made *made;             /* engine/ */
    struct reply *out;             /* relay/ */
    struct bill *bill;             /* settle/ */
    void *stage_data; /* arena: private to the current stage; NULL on entry */
};

/* A new exchange on <w> for <client>, in STAGE_FRONT, all sub-structs there
 * and zeroed; takes a reference of w->conf. NULL without memory. */
struct exchange *exchange_new(struct worker *w, struct client *client);

/* Run stages from FRONT until one waits or SETTLE is done; <x> is freed before
 * this returns in the latter case: the caller must not touch it again. */
void exchange_run(struct exchange *x);

/* The same for one that nobody sent, behind STAGE_FRONT; see again.h. */
void exchange_run_unasked(struct exchange *x);

/* Free <x>, which was never run. */
void exchange_discard(struct exchange *x);

/* Say that what served <x> is done with it, once: before its last byte is let
 * go, so that a client that waits for an answer finds its place free. Also done
 * when <x> is freed. */
void exchange_release(struct exchange *x);

/* Wake a waiting exchange. Safe from inside a stage function of <x>: the wake
 * is then delivered when that function has returned. Otherwise <x> may be
 * freed before this returns. */
void exchange_wake(struct exchange *x, enum wake why);

/* The client is gone: x->client becomes NULL and WAKE_GONE is delivered. */
void exchange_gone(struct exchange *x);

/* Free the collected body of the request, before the exchange ends: nobody
 * reads it after this. Names that are slices of it are copied first; without
 * memory for that, it stays. */
void exchange_drop_body(struct exchange *x);

/* Move the collected body into <out> (empty, uninitialised): its new owner
 * reads it on another thread. Names that are slices of it are copied first. It
 * counts as held until exchange_drop_body(). ERR_NOMEM: it stays. */
enum err exchange_take_body(struct exchange *x, struct buf *out) MUST_CHECK;

/* Note a failure, unless one is noted already, and return VERDICT_SKIP. The
 * printf text is for the client; NULL takes the table's sentence. */
enum verdict exchange_fail(struct exchange *x, enum err e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with the name of the offending parameter (static or arena). */
enum verdict exchange_fail_param(struct exchange *x, enum err e,
                                 const char *param, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Whether <x> has failed. */
static inline bool exchange_has_failed(const struct exchange *x)
{
    return x->fail.err != ERR_OK;
}

/* Names for logs. */
const char *stage_name(enum stage s);

/* "bypass", "miss", "hit" or "joined", as clients and logs have it. */
struct str recall_name(enum recall_how how);

#endif
