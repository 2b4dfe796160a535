/* flight.h - Which requests are under way, by what they ask: who asks the same
 * follows the tape of the one who came first instead of asking an upstream
 * again. One table a process; any thread.
 *
 * The first one leads: it fills the tape and calls flight_leave() once nobody
 * may join any more. A complete tape may stay in the table for a while, until
 * what is stored can be found. */
#ifndef TG_RECALL_FLIGHT_H
#define TG_RECALL_FLIGHT_H

#include "base/digest.h"

#include <stdint.h>

struct flights;
struct tape;

/* Most times that one request waits for the reply to somebody else's: the
 * first call, and the one retry after a failure. */
#define FLIGHT_TRIES 2

/* What a request does. */
enum flight_role {
    FLIGHT_LEADS = 0, /* its tape is new, blank and in the table */
    FLIGHT_FOLLOWS,   /* somebody else fills the tape */
    FLIGHT_ALONE,     /* no memory: there is no tape, nobody can join */
};

/* An empty table for workers with an index below <n_workers>; NULL without
 * memory. */
struct flights *flights_new(unsigned n_workers);

/* Free <f>, which nobody uses any more; what is still in it is dropped. NULL
 * is fine. */
void flights_free(struct flights *f);

/* Enter with the request <exact>. <max_bytes> is what a new tape keeps whole.
 * <tape_out> gets a reference unless it is ALONE.
 *
 * A follower that cannot use its tape (it FAILED with `again`, cannot be
 * attached, or broke off before anything was sent) enters again with it as
 * <after>; else that is NULL. The first to do so leads, and all others that
 * come after the same tape follow it, even when it has ended meanwhile: they
 * look at its state before they attach. A follower counts its failures itself
 * and gives up after FLIGHT_TRIES of them. */
enum flight_role flight_enter(struct flights *f, const struct digest *exact,
                              uint64_t max_bytes, struct tape *after,
                              struct tape **tape_out);

/* Nobody joins the flight of <tape> any more. Nothing if it is not (or no
 * longer) the one in the table. */
void flight_leave(struct flights *f, const struct digest *exact,
                  const struct tape *tape);

/* Flights in the table now. */
unsigned flights_count(struct flights *f);

#endif
