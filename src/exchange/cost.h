/* cost.h - What an exchange costs, from what is known of it so far. Relay asks
 * before the reply goes out, settle when it is over, and both get the same
 * answer for the same usage. */
#ifndef TG_EXCHANGE_COST_H
#define TG_EXCHANGE_COST_H

#include "account/price.h"

struct exchange;
struct leg;
struct reply;

/* Counts of one request. */
struct cost_use {
    uint64_t tok[ROW_TOK_COUNT];
    uint64_t audio_ms; /* audio billed by its time */
};

/* What <x> is known to have used: what the engine counted, else what the
 * upstream's reply said, else zeros. Gives who said so. */
enum row_source cost_use_of(const struct exchange *x, struct cost_use *out);

/* Whether the usage that the reply of <x> says is all that it used: of what
 * writes text, what went in and what came out. Half of it, or one that more
 * text came after, is no measure. */
bool cost_is_told(const struct exchange *x);

/* What <leg> is known to have used, as cost_use_of(). */
enum row_source cost_use_of_leg(const struct exchange *x, const struct leg *leg,
                                struct cost_use *out);

/* Whether that is all that it used, as cost_is_told(). */
bool cost_is_told_of_leg(const struct exchange *x, const struct leg *leg);

/* Output tokens of a reply, guessed from what was seen of its text: about a
 * token an event, and more in long ones. */
uint64_t cost_guess_output(const struct reply *out);

/* Whether <x>, once a target worked for it, may have to be paid: its operation
 * is metered, or it is passed on and creates something. Counting tokens and
 * reading what is stored is free everywhere. */
bool cost_is_due(const struct exchange *x);

/* The cost of <use> at the target of <x>, by the prices that <x> began with.
 * <estimated>: <use> was derived from bytes. All zero when nothing is due or no
 * target was asked. */
struct price_cost cost_of(const struct exchange *x, const struct cost_use *use,
                          bool estimated);

/* The same at the target of <leg>. */
struct price_cost cost_of_leg(const struct exchange *x, const struct leg *leg,
                              const struct cost_use *use, bool estimated);

/* The cost of a whole reply whose body has not been sent yet; false when it is
 * not known by then: the reply is a stream, says no usage, or is an error. */
bool cost_before_body(const struct exchange *x, struct price_cost *out);

#endif
