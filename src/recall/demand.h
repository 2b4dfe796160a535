/* demand.h - What a request asks of stored replies: its Cache-Control. */
#ifndef TG_RECALL_DEMAND_H
#define TG_RECALL_DEMAND_H

#include "wire/http1.h"

#include <stdbool.h>
#include <stdint.h>

/* Most seconds that are told apart: what is larger counts as this, as RFC 9111
 * section 1.2.2 has it. Times 1000 it fits an int64_t. */
#define DEMAND_SECONDS_MAX (INT64_C(1) << 31)

/* What was asked for. */
struct demand {
    bool no_store;       /* keep nothing of this exchange */
    bool no_cache;       /* no stored reply: ask anew; max-age=0, too */
    bool only_if_cached; /* a stored reply or none */
    int64_t max_age_s;   /* oldest reply that will do; -1: unsaid */
    int64_t max_stale_s; /* so long past its time it still does; 0: not at
                          * all */
    int64_t min_fresh_s; /* so long it must still have; 0: unsaid */
};

/* Read every Cache-Control field of <head> into <out>; where there is none,
 * Pragma: no-cache. Names are of any case, values may be quoted, what is not
 * known is passed over. Of a directive that stands twice the stricter one
 * counts. What cannot be read is taken so that no reply is given that was not
 * wanted: a broken max-age is 0, a broken max-stale 0, a broken min-fresh
 * DEMAND_SECONDS_MAX; after a quote that does not end it is no_store and
 * no_cache. */
void demand_read(const struct http1_head *head, struct demand *out);

#endif
