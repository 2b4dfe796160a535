/* weigh.h - How many tokens a request may use, guessed from its bytes before
 * anything is sent. What it really used is known when it is settled. */
#ifndef TG_ADMIT_WEIGH_H
#define TG_ADMIT_WEIGH_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct exchange;
struct jscan;

/* Tokens of the JSON body <text>: a quarter of its bytes, rounded up; files
 * within it, in base64, count nothing. */
uint64_t weigh_input(struct str text);

/* The most tokens that <scan> lets a reply have: the largest cap it names times
 * the most choices, <n> or best_of. 0 when it names none, INT64_MAX at most. */
uint64_t weigh_output(const struct jscan *scan, unsigned n);

/* Whether tokens are counted for the operation of <x> at all. */
bool weigh_is_metered(const struct exchange *x);

/* Both for <x>, whose body is in; 0 where no tokens are counted and for bodies
 * that are not JSON. */
uint64_t weigh_tokens(const struct exchange *x);

#endif
