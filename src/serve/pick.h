/* pick.h - Which of several targets gets a request, by the strategy of its
 * route:
 *
 *   weighted         at random, by weight
 *   least in flight  the one with the fewest requests for its weight
 *   latency          of two taken at random the one that is quicker
 *   prefix           the one that such prompts went to before, as its prefix
 *                    cache is warm for them, unless it has too much to do
 *
 * Decides from what the caller tells of each target; knows neither clocks nor
 * randomness nor who is healthy: those are arguments. Pure, but for struct
 * pick_pace, which threads share without a lock. */
#ifndef TG_SERVE_PICK_H
#define TG_SERVE_PICK_H

#include "base/str.h"
#include "conf/conf.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What there is to know of a target. Those with a weight go before those
 * without, which are chosen by none but to stand in; then those below their
 * limit before those at it. Only the first kind that is there is chosen from,
 * and each without a weight then counts as 1. */
struct pick_view {
    bool out;            /* not to be chosen: tried already, shut, drained */
    uint64_t weight;     /* 0..1000 */
    uint64_t in_flight;  /* requests under way there */
    uint64_t limit;      /* most of them; 0: no limit */
    uint64_t latency_us; /* latency: of pick_pace_see(); 0: not known */
    uint64_t load;       /* latency: likewise */
    uint64_t id;         /* prefix: pick_hash() of what names it for good */
};

/* The index of the target to take of the <n> views <v>, or <n> when all are
 * out. <key> is of pick_prefix_key(), for the prefix strategy alone, which is
 * the one that does without <random>: 64 bits, all of them used. */
size_t pick_target(enum conf_strategy how, const struct pick_view *v, size_t n,
                   uint64_t key, uint64_t random);

/* --- latency ------------------------------------------------------------- */

/* An estimate moves halfway to a sample above it at once, and so much of its
 * way down to one below it in the time of a half-life: a target that slows
 * down is left within a few replies, one that is quick again is believed soon,
 * and a single slow reply does not turn everything over. */
#define PICK_FALL_HALF_MS 2000

/* Of what is not heard of the estimate halves in this time, so that it is tried
 * again: one that was ten times slower than another gets a request or two
 * every half minute. */
#define PICK_IDLE_HALF_MS 10000

/* The same while requests are under way there: one that is about to find out is
 * enough, others wait for what it finds. */
#define PICK_BUSY_HALF_MS 40000

/* Parts of a request that loads are counted in. */
#define PICK_LOAD_PARTS 16

/* How quick a target is. Zeroed: not known. Any thread. */
struct pick_pace {
    _Atomic uint64_t latency; /* us, and ms of the last sample: 32 bits each */
    _Atomic uint64_t load;    /* in flight when such samples were begun */
};

/* A reply of <p>'s target, which must be a good one, began <latency_us> after
 * its request was sent; <in_flight> were under way then, itself included. At
 * <now_ms>, monotonic. What fails at once is no quick reply: tell of none. */
void pick_pace_note(struct pick_pace *p, uint64_t latency_us,
                    uint64_t in_flight, uint64_t now_ms);

/* Fill latency_us and load of <v> with what is known of <p> at <now_ms>;
 * v->in_flight is there already. */
void pick_pace_see(const struct pick_pace *p, uint64_t now_ms,
                   struct pick_view *v);

/* --- prefix -------------------------------------------------------------- */

/* Bytes of a block, and how many blocks of a prompt tell where it goes. */
#define PICK_BLOCK_BYTES 256
#define PICK_BLOCKS      2

/* No target takes more than so many percent of its share of what is under way,
 * unless that is less than PICK_LOAD_FREE requests: the prompt goes to the next
 * in its own order then. */
#define PICK_LOAD_PERCENT 125
#define PICK_LOAD_FREE    4

/* A hash of <s>, the same in every process and on every machine; <seed> may be
 * the hash of something before it. */
uint64_t pick_hash(uint64_t seed, struct str s);

/* The key of a prompt of which <prompt> are the first bytes as sent: of its
 * first whole blocks, so that it stays when a conversation goes on; of all of
 * it, when there is not one. <seed> may tell apart what shares no cache. */
uint64_t pick_prefix_key(uint64_t seed, struct str prompt);

#endif
