/* conf_prices.h - The price file: what targets ask for the models they serve,
 * as whole numbers that are exact. Part of a snapshot, see conf.h: it is read
 * with the configuration and never written again. What a request costs by it
 * is account/price.h's affair. */
#ifndef TG_CONF_CONF_PRICES_H
#define TG_CONF_CONF_PRICES_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conf;
struct conf_report;

/* What may have a price. The first CONF_PRICE_TOKENS are prices of tokens. */
enum conf_price_item {
    CONF_PRICE_INPUT = 0,      /* fresh input */
    CONF_PRICE_CACHED_INPUT,   /* input read from a cache */
    CONF_PRICE_CACHE_WRITE,    /* input written to one for 5 minutes */
    CONF_PRICE_CACHE_WRITE_1H, /* for an hour */
    CONF_PRICE_OUTPUT,         /* generated and seen */
    CONF_PRICE_REASONING,      /* generated and not seen */
    CONF_PRICE_AUDIO_IN,       /* audio input */
    CONF_PRICE_AUDIO_OUT,      /* audio output */
    CONF_PRICE_TOKENS,
    CONF_PRICE_REQUEST = CONF_PRICE_TOKENS, /* each request */
    CONF_PRICE_AUDIO_MINUTE,                /* audio billed by its time */
    CONF_PRICE_COUNT
};

/* Most USD that any price may be: per million tokens, request or minute. */
#define CONF_PRICE_USD_MAX 1000000

/* One entry of the file. */
struct conf_price {
    /* By enum conf_price_item, 0 where none is given: pico-dollars a token,
     * nano-dollars a request or minute; at most CONF_PRICE_USD_MAX. */
    int64_t at[CONF_PRICE_COUNT];
    unsigned given;       /* bit per enum conf_price_item */
    int64_t updated_days; /* when it was last checked, days since 1970 */
    unsigned line;        /* of the file */
};

/* One name of one entry, in the order in which names are looked at. */
struct conf_price_name {
    struct str model;  /* name or glob; "*" where the entry has none */
    struct str target; /* name or glob of an upstream or engine model; empty
                        * where the entry has none */
    bool model_glob;
    unsigned rank;  /* of <target>: 0 a name, 1 a glob, 2 none */
    unsigned order; /* in the file */
    const struct conf_price *price;
};

/* All of a file. Zeroed is "no file". */
struct conf_prices {
    struct str file;        /* path; empty: none was there */
    int64_t updated_days;   /* of the file, days since 1970 */
    int64_t stale_after_ms; /* an older price is stale, 90 d; 0 = never */
    const struct conf_price *prices;
    size_t n_prices;
    const struct conf_price_name *exact; /* sorted by model, rank, order */
    size_t n_exact;
    const struct conf_price_name *globs; /* sorted by rank, order */
    size_t n_globs;
};

/* How prices are written in the file: "cache_write_1h". */
const char *conf_price_item_name(enum conf_price_item i);

/* Parse an amount of USD, "12.50", to whole numbers of 10^-<places>, <places>
 * at most 9. NULL and the value, or a sentence's end that says what is wrong
 * and what to write. No binary fraction is ever made of it. */
const char *conf_price_parse(struct str s, unsigned places, int64_t *out);

/* Parse "2026-11-21" to days since 1970, from that year to 9999. False if it
 * is no such day. */
bool conf_price_day(struct str s, int64_t *days_out);

/* Read a price file's <text> into <out>, whose arrays and texts lie in <mem>;
 * <name> stands for the file in messages. Mistakes and warnings go to
 * <report>, in the order of the file, behind what it has. <c> tells the
 * targets there are, or is NULL. ERR_SYNTAX: at least one mistake was told;
 * ERR_NOMEM. */
enum err conf_prices_parse(const char *name, struct str text,
                           const struct conf *c, struct arena *mem,
                           struct conf_report *report,
                           struct conf_prices *out) MUST_CHECK;

#endif
