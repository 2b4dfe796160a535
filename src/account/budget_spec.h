/* budget_spec.h - The text form of a budget, AMOUNT/WINDOW, and what it
 * means. Pure. Spending against it is decided elsewhere. */
#ifndef TG_ACCOUNT_BUDGET_SPEC_H
#define TG_ACCOUNT_BUDGET_SPEC_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* What a budget counts. */
enum budget_unit {
    BUDGET_TOKENS = 0,    /* input and output together */
    BUDGET_INPUT_TOKENS,  /* input, cached or not */
    BUDGET_OUTPUT_TOKENS, /* output, reasoning included */
    BUDGET_NUSD,          /* nano-dollars */
    BUDGET_UNIT_COUNT
};

/* How long an amount lasts; windows follow the calendar in UTC. */
enum budget_window {
    BUDGET_TOTAL = 0, /* never renewed */
    BUDGET_MINUTE,
    BUDGET_HOUR,
    BUDGET_DAY,
    BUDGET_WEEK, /* from Monday */
    BUDGET_MONTH,
    BUDGET_WINDOW_COUNT
};

/* One budget of a key or team. */
struct budget_spec {
    int64_t amount; /* >= 0, in units of <unit> */
    enum budget_unit unit;
    enum budget_window window;
    bool soft; /* only warns */
};

/* Parse "500k-tokens/day", "2M-input-tokens/month", "1M-output-tokens/hour",
 * "$25/month". Multipliers k, M, G; decimals where the result is whole.
 * ERR_SYNTAX for another shape, ERR_RANGE when it does not fit or is not
 * whole. <soft> of the result is false. */
enum err budget_spec_parse(struct str text,
                           struct budget_spec *spec_out) MUST_CHECK;

/* Append the canonical text of <spec>; parsing it gives <spec> again but for
 * <soft>. ERR_NOMEM from the buffer. */
enum err budget_spec_print(const struct budget_spec *spec,
                           struct buf *out) MUST_CHECK;

/* "tokens", "input_tokens", "output_tokens", "usd"; static. */
const char *budget_unit_name(enum budget_unit unit);

/* "total", "minute", "hour", "day", "week", "month"; static. */
const char *budget_window_name(enum budget_window window);

#endif
