/* delay.h - What an upstream says about when to come again: Retry-After in
 * all its forms and the resets of its rate limits. Decides which of several is
 * meant and how much of it is believed; never waits and never reads a clock:
 * the time is an argument. Pure; any thread. */
#ifndef TG_SERVE_DELAY_H
#define TG_SERVE_DELAY_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct headers;

/* The longest delay that is believed: after a day it does no harm to ask. */
#define DELAY_MAX_MS UINT64_C(86400000)

/* Longer texts name no time. */
#define DELAY_TEXT_MAX 64

/* What a number without a unit counts. */
enum delay_unit {
    DELAY_UNIT_S = 0, /* as in Retry-After */
    DELAY_UNIT_MS,    /* as in retry-after-ms */
};

/* Which field a delay is from. */
enum delay_from {
    DELAY_UNSAID = 0,  /* none: the reply does not say when */
    DELAY_RETRY_AFTER, /* one that is about this very request */
    DELAY_RESET,       /* the reset of a rate limit that may be the cause */
};

/* When to come again. */
struct delay {
    enum delay_from from;
    uint64_t ms; /* from now, 0..DELAY_MAX_MS; 0 when unsaid */
};

/* Read one time to wait: "20", "0.5", ".5" in <unit>; "6m0s", "1h30m",
 * "250ms", "7.66s" as Go writes spans, "1d" too; "2026-01-31T23:59:59.5Z" or
 * with an offset; an HTTP date in any of its three forms; Unix seconds or
 * milliseconds, known by their size, where <unit> is seconds. <now_wall_ms> is
 * what absolute times are counted from; those gone by are 0. Fractions of a
 * millisecond are rounded up, for nobody shall come too early, and what exceeds
 * DELAY_MAX_MS is that. False on anything else, negative numbers among it;
 * <ms_out> is untouched then. */
bool delay_parse(struct str text, enum delay_unit unit, uint64_t now_wall_ms,
                 uint64_t *ms_out);

/* What the reply with status <status> and fields <h> says, at <now_wall_ms>:
 * the first good one of retry-after-ms, x-ms-retry-after-ms and Retry-After,
 * of a reply with any status. Without one, and only of a 429, the reset of the
 * rate limit that is used up, the latest of several; if none says that it is,
 * the latest of all; a reset of 0 says nothing. Absolute times are counted from
 * the reply's own Date where it has one, so that it does not matter whose clock
 * is wrong. */
struct delay delay_of_reply(const struct headers *h, int status,
                            uint64_t now_wall_ms);

#endif
