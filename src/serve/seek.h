/* seek.h - Whom a request may ask, one after the other: its targets by the
 * strategy of its route, then those of the routes it falls back to. Knows who
 * was asked already; never asks anybody. */
#ifndef TG_SERVE_SEEK_H
#define TG_SERVE_SEEK_H

#include "serve/retry.h"
#include "serve/route.h"

struct exchange;

/* Where a request's search stands. */
struct seek {
    struct exchange *x;             /* borrowed */
    const struct conf_route *route; /* the first one; NULL: by upstreams */
    struct str asked;         /* model by which the present route is found */
    struct choice choice;     /* who is asked now */
    size_t fallbacks;         /* of <route>, that were taken or passed by */
    struct route_tried tried; /* who is not asked again */
    uint64_t tried_keys;      /* keys of the present target, bits: likewise */
    struct route_none none;   /* why there was nobody, the last time */
};

/* Whom else there is after an attempt at the present choice. */
struct seek_next {
    struct retry_room room;
    struct choice target;   /* where room.target */
    struct choice fallback; /* where room.fallback */
    size_t fallback_at;     /* which one */
};

/* Find whom to ask first: of the route, else of one it falls back to. False:
 * nobody can be asked, s->none says why. */
bool seek_first(struct seek *s, struct exchange *x);

/* Choose once more among those of the present route that were not asked: one
 * with room, if there is any. False: as seek_other(). */
bool seek_again(struct seek *s);

/* The present choice cannot be asked after all: let it be another. False: there
 * is none. */
bool seek_other(struct seek *s);

/* Find somebody of the present route to ask beside the present choice, which
 * stays. False: there is none. */
bool seek_beside(struct seek *s, struct choice *out);

/* The present choice is <other> from now on, and <other> what it was; that
 * counts as tried. */
void seek_swap(struct seek *s, struct choice *other);

/* How much longer the present target is left alone for a limit, in ms; 0: it is
 * not. */
uint64_t seek_limit_ms(const struct seek *s);

/* Look for what the moves of <v> allow, after an attempt with key number <key>
 * of the present target. */
void seek_look(struct seek *s, const struct retry_verdict *v, unsigned key,
               struct seek_next *out);

/* Make <step>, which <next> has room for, after an attempt with <key>. */
void seek_step(struct seek *s, enum retry_step step,
               const struct seek_next *next, unsigned key);

/* The name of who is asked now. */
struct str seek_name(const struct seek *s);

#endif
