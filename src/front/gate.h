/* gate.h - When a request whose head is here may begin, and which are refused
 * instead. Private to front/.
 *
 * A turn of the loop begins some requests and no more, so that those under way
 * get on; the others wait here, as bytes, in the order they came. This wait is
 * what is measured. A request that has waited for limits.start_wait is refused
 * with 503 before its body is read; once the line has not been empty for that
 * long, the load is more than a burst and a quarter of it is enough. The line
 * is short again as soon as less is asked for: nothing has to be unlearned.
 *
 * All that come are refused while the loop itself is late, which waiting here
 * does not show (streams under way can take all its time), and while memory is
 * short. Health, metrics and the like are never refused.
 *
 * TLS handshakes go on here too, some in a turn: a thousand at once would hold
 * up everything else for a second. */
#ifndef TG_FRONT_GATE_H
#define TG_FRONT_GATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct conn;
struct exchange;
struct front;

/* Requests that a turn begins, and steps of TLS handshakes that it does: such a
 * step takes about a millisecond. */
#define GATE_BEGINS 32
#define GATE_SHAKES 8

/* The loop is late: each tick of a second came that much after its moment. It
 * is no more, once a tick is that little late. Microseconds. */
#define GATE_LATE_US     (400 * 1000)
#define GATE_LATE_FOR_US (1000 * 1000)
#define GATE_IN_TIME_US  (150 * 1000)

/* And it is late by its own work: its thread had so many percent of the time. A
 * machine that others keep from it is made no quicker by refusals. */
#define GATE_BUSY_PERCENT 50

TAILQ_HEAD(gate_line, conn);

/* One worker's gate. Times are monotonic, in us. */
struct gate {
    struct gate_line line;   /* by c->hold */
    unsigned n;              /* in it */
    struct gate_line shakes; /* by c->hold: handshakes that can go on */
    unsigned begun;          /* in this turn */
    int64_t stood_us;        /* since when the line is not empty; 0 = it is */
    int64_t late_us; /* since when the loop has been late; 0 = it is not */
    uint64_t late_busy_us; /* what its thread had had of a processor then */
    bool late;             /* for so long that nobody is let in */
    uint64_t refused;      /* since the line was empty or the loop in time */
    uint64_t unsaid;       /* of them, not yet logged */
    int64_t said_us;       /* last line in the log */
};

/* Nobody waits. */
void gate_init(struct gate *g);

/* Whether the request that is read now may begin at once; then it is counted
 * as begun. */
bool gate_pass(struct front *f);

/* Put <c>, whose next head is complete in c->in, into the line. */
void gate_hold(struct conn *c);

/* Have the TLS handshake of <c> go on when its turn comes. */
void gate_hold_shake(struct conn *c);

/* <c> ends: take it out of the line. */
void gate_forget(struct conn *c);

/* Begin or refuse those in line whose turn it is. Once a turn of the loop. */
void gate_run(struct front *f);

/* A tick of the loop came <lag_us> after its moment; its thread has had
 * <busy_us> of a processor since it began. */
void gate_note_lag(struct front *f, uint64_t lag_us, uint64_t busy_us);

/* Whether a TLS handshake, which costs as much as many requests, is not to be
 * begun now. */
bool gate_is_shut(const struct front *f);

/* Fail <x>, which gate_run() let begin for the client to get a reply in full
 * form, with ERR_OVERLOADED. */
void gate_fail(struct exchange *x);

#endif
