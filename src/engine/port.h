/* port.h - A worker's side of the engine, as port.c and flight.c share it. One
 * flight a request, from its body to the last byte of its reply; it is a
 * producer:
 *
 *   PREP -> HOLD -> RUN -> (head) -> over
 *
 * In PREP its request is with a prep thread; in HOLD it asks the budgets of its
 * key for what it may take, if there are any, and may wait for an answer; in
 * RUN some of its jobs are with the scheduler. Any sink call may end in
 * cancel(); what must not be freed then is freed when the call has returned. */
#ifndef TG_ENGINE_PORT_H
#define TG_ENGINE_PORT_H

#include "base/buf.h"
#include "base/map.h"
#include "base/mbox.h"
#include "engine/answer.h"
#include "engine/engine_priv.h"
#include "engine/gen.h"
#include "engine/prep.h"
#include "exchange/exchange.h"

#include <event2/event_struct.h>

struct flight;
struct meter;
struct sched;

/* A job of a flight, found by its id when an event comes. */
struct flight_job {
    UT_hash_handle hh;
    uint64_t id;
    struct flight *f;
    struct sched *sched; /* borrowed: whose it is while it is open */
    unsigned index;      /* of the prompt */
    bool open;           /* with the scheduler */
};

/* A request under way. */
struct flight {
    struct producer producer; /* first */
    TAILQ_ENTRY(flight) link, later_link;
    UT_hash_handle hh;
    uint64_t id;
    struct engine_port *port;
    struct exchange *x;      /* borrowed */
    struct sink *sink;       /* borrowed */
    struct engine_model *m;  /* borrowed; NULL: see <err> */
    struct prep *prep;       /* owned, unless <away> */
    struct answer *answer;   /* owned; NULL in PREP */
    struct meter *meter;     /* one reference: of all its jobs; NULL before RUN
                              */
    uint64_t most_tok;       /* that all choices may make, by their caps */
    uint64_t first_tok;      /* of these, held at once and each time again */
    unsigned n_choices;      /* that make tokens */
    uint64_t feed_tok;       /* with no more than that left, more is held */
    enum err cut_err;        /* why there was no more */
    const char *cut_text;    /* static or arena: goes with it; or NULL */
    struct flight_job *jobs; /* owned: (n_jobs) */
    unsigned n_jobs;
    unsigned next_job; /* the first that is not with the scheduler yet */
    unsigned open_jobs;
    struct buf out;              /* owned: bytes for the sink */
    size_t out_at;               /* so many of them it has taken */
    struct event timer;          /* keepalive before the head */
    enum err err;                /* it fails in a later turn */
    const char *err_text;        /* static; goes with <err> */
    int64_t retry_after_ms;      /* likewise, or -1 */
    struct mbox_msg *held;       /* owned: events that wait, oldest first */
    struct mbox_msg **held_last; /* where the next one goes */
    unsigned held_at;            /* log probabilities of the first one taken */
    unsigned in_sink;            /* depth of sink calls */
    bool away;                   /* <prep> is with a prep thread */
    bool asking;                 /* in HOLD: waits for an answer */
    bool growing;                /* waits for an answer to holding more */
    bool is_short;               /* choices rest until more is held */
    bool woken;                  /* what it waits for may be there */
    bool cut;                    /* a choice was ended for want of tokens */
    bool timer_on;
    bool head_sent;
    bool paused;   /* the sink has enough */
    bool ending;   /* the jobs are done, the end is being written */
    bool complete; /* <out> is all there will be */
    bool later;    /* on the list of those with work put off */
    bool drained;  /* the sink takes bytes again */
    bool dead;     /* cancelled within a sink call */
};

TAILQ_HEAD(flight_list, flight);

/* A worker's side. */
struct engine_port {
    LIST_ENTRY(engine_port) link;                 /* in engine->gone */
    struct worker *w;                             /* borrowed */
    struct engine *e;                             /* borrowed */
    struct mbox done;                             /* from prep threads */
    struct mbox events;                           /* from schedulers */
    struct event *done_ev, *events_ev, *later_ev; /* owned */
    struct flight_list flights, todo;
    struct flight *by_id;
    struct flight_job *by_job;
    unsigned n_open;
};

/* Do <f>'s work in a later turn of the loop. */
void flight_later(struct flight *f);

/* Forget what may still come, and have the scheduler stop. */
void flight_detach(struct flight *f);

/* Free <f>, which was detached. */
void flight_free(struct flight *f);

/* Tell the client why, then end: <f> is freed, here or when the sink calls it
 * is in have returned. <param> may be "". */
void flight_fail(struct flight *f, enum err e, const char *param,
                 const char *text);

/* --- flight_meter.c ----------------------------------------------------- */

/* Hold what <f> may take of the budgets, and give its jobs their meter: ERR_OK,
 * they may be submitted. ERR_AGAIN: f->woken will be set. Else it is to fail;
 * where the exchange has failed already, that is why. */
enum err flight_hold(struct flight *f) MUST_CHECK;

/* Hold more where it runs short, or have it end where it must. */
void flight_feed(struct flight *f);

/* <ev> came, of which its meter is to know. */
void flight_meter_event(struct flight *f, const struct gen_event *ev);

/* Tell the exchange what was made so far. */
void flight_meter_note(struct flight *f);

/* Have nothing made any more, and tell the exchange what was. */
void flight_meter_close(struct flight *f);

/* --- flight.c ----------------------------------------------------------- */

/* Give the sink what it may have by now. May free <f>. */
void flight_flush(struct flight *f);

/* Do what was put off. May free <f>. */
void flight_work(struct flight *f);

/* A prep thread is done with <f>. May free <f>. */
void flight_prepared(struct flight *f);

/* An event came for a job of <f>, which takes it over. May free <f>. */
void flight_take(struct flight *f, struct gen_event *ev);

#endif
