/* price_kit.h - Prices for tests of costs, from the text of entries. */
#ifndef TG_TESTS_PRICE_KIT_H
#define TG_TESTS_PRICE_KIT_H

#include "account/price.h"
#include "conf/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Milliseconds of a day. */
#define DAY_MS INT64_C(86400000)

/* The day of the prices. */
#define NOW_MS (20778 * DAY_MS) /* 2026-11-21 */

/* Prices read from text, and what they lie in. */
struct prices {
    struct arena *mem;
    struct conf_prices p;
};

/* The prices that the lines <entries> tell, checked on 2026-11-21. */
static inline struct prices prices_of(const char *entries)
{
    struct prices r = {.mem = arena_new(4096, 1 << 20)};
    struct conf_report report = {0};
    char text[4096];

    snprintf(text, sizeof(text), "updated: 2026-11-21\nprices:\n%s", entries);
    if (conf_prices_parse("P", str_from(text), NULL, r.mem, &report, &r.p) !=
        ERR_OK)
        fail_msg("%s", report.n_items ? report.items[0].text : "no reason");
    conf_report_fini(&report);
    return r;
}

/* What <model> costs at <target> on that day. */
static inline struct price_quote find(const struct prices *r,
                                      const char *target, const char *model)
{
    return price_find(&r->p, str_from(target), str_from(model), false, NOW_MS);
}

/* An entry that prices everything. */
#define ALL                                                                    \
    "- {model: m, input: 3, cached_input: 0.3, cache_write: 3.75, "            \
    "cache_write_1h: 6, output: 15, reasoning: 14, audio_in: 40, "             \
    "audio_out: 80, request: 0.01, audio_minute: 0.006}\n"

/* A price up to <max>, often one at an edge. */
static inline int64_t any_price(int64_t max)
{
    const int64_t edges[] = {0, 1, 999, 1000, 1001, 12500, max - 1, max};

    if (random() % 2 == 0)
        return edges[(size_t)random() % (sizeof(edges) / sizeof(edges[0]))];
    return random() % (max + 1) >> (random() % 31);
}

#endif
