/* control_price.h - Prices as admin commands show them. */
#ifndef TG_DAEMON_CONTROL_PRICE_H
#define TG_DAEMON_CONTROL_PRICE_H

#include <jansson.h>

struct conf;

/* The price of each of <targets>, an array of "target/model there", now: what
 * the entry that holds says, in USD, with its line in the file; or that there
 * is none, or need be none. A new array. */
json_t *control_price_list(const struct conf *c, const json_t *targets);

#endif
