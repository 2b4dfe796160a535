/* meter.h - How many tokens the choices of one request may make, and how many
 * they have made. Its worker raises the first number as budgets are held for
 * it; the scheduler asks here before each token, so that none is made for which
 * nothing is held, and the choices of all its prompts share what there is:
 * whoever asks first gets it. When the worker closes the meter no token is made
 * any more, whatever is still under way, and what it reads is the whole.
 *
 * Any thread; one short lock. */
#ifndef TG_ENGINE_METER_H
#define TG_ENGINE_METER_H

#include <stdbool.h>
#include <stdint.h>

/* As many as they like. */
#define METER_ANY UINT64_MAX

struct meter;

/* What was done so far. */
struct meter_counts {
    uint64_t prompt_tok; /* of prompts that were begun */
    uint64_t cached_tok; /* of these, not computed */
    uint64_t output_tok; /* made, by all choices */
};

/* A meter with one reference that allows <most> tokens; NULL without memory. */
struct meter *meter_new(uint64_t most);

/* One reference more; gives <m>. NULL is fine. */
struct meter *meter_ref(struct meter *m);

/* Drop one; the last frees it. NULL is fine. */
void meter_unref(struct meter *m);

/* Allow <most> tokens in all; less than before changes nothing. */
void meter_raise(struct meter *m, uint64_t most);

/* Say that there will be no more than what is allowed now. */
void meter_end(struct meter *m);

/* Allow nothing any more. */
void meter_close(struct meter *m);

/* Tokens that are allowed and not made. */
uint64_t meter_left(struct meter *m);

/* What was done. */
void meter_read(struct meter *m, struct meter_counts *out);

/* --- the scheduler's; NULL allows everything ------------------------------ */

/* A prompt of <n> tokens is begun, <cached> of them are there. */
void meter_begin(struct meter *m, uint64_t n, uint64_t cached);

/* Count <n> tokens as made, which is to be done at once; false when so many
 * are not allowed: nothing is counted. */
bool meter_take(struct meter *m, unsigned n);

/* <n> tokens that were counted could not be made. */
void meter_give(struct meter *m, unsigned n);

/* Whether it was said that there are no more, and fewer than <n> are left;
 * false of a closed one. */
bool meter_is_over(struct meter *m, unsigned n);

/* Whether it is closed: nobody waits for what is made. */
bool meter_is_closed(struct meter *m);

#endif
