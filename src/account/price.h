/* price.h - What a request costs: counts of tokens by class times the prices
 * of whoever served it. Pure: no I/O, no clock, no binary fractions. Costs are
 * whole nano-dollars, rounded up once a request, so no sum of them is below
 * what was used; one that no number holds is the largest there is. */
#ifndef TG_ACCOUNT_PRICE_H
#define TG_ACCOUNT_PRICE_H

#include "conf/conf_prices.h"
#include "store/row.h"

/* Why a cost may not be the truth; or-ed together. 0: it is. */
enum price_mark {
    PRICE_MISSING = 1, /* nobody gave a price: the cost is 0 */
    PRICE_PART = 2,    /* a class in use has none: a stand-in, or 0 */
    PRICE_STALE = 4,   /* the price was checked too long ago */
};

/* The price of one model at one target. */
struct price_quote {
    const struct conf_price *price; /* borrowed from the prices; NULL: none */
    unsigned marks;                 /* PRICE_MISSING or PRICE_STALE */
};

/* What a request costs, and how sure that is. */
struct price_cost {
    int64_t nusd;   /* >= 0 */
    unsigned marks; /* enum price_mark */
};

/* Bits of price_bound.kinds, 1 << enum row_tok, for what a body may ask. */
#define PRICE_KIND(k) (1U << (k))
#define PRICE_KINDS_TEXT                                                       \
    (PRICE_KIND(ROW_TOK_INPUT) | PRICE_KIND(ROW_TOK_CACHE_READ) |              \
     PRICE_KIND(ROW_TOK_OUTPUT) | PRICE_KIND(ROW_TOK_REASONING))
#define PRICE_KINDS_CACHE_WRITE                                                \
    (PRICE_KIND(ROW_TOK_CACHE_WRITE_5M) | PRICE_KIND(ROW_TOK_CACHE_WRITE_1H))
#define PRICE_KINDS_AUDIO                                                      \
    (PRICE_KIND(ROW_TOK_AUDIO_IN) | PRICE_KIND(ROW_TOK_AUDIO_OUT))

/* The most that a request may use. */
struct price_bound {
    uint64_t input_tok;  /* of all input kinds together */
    uint64_t output_tok; /* of all output kinds together */
    uint64_t audio_ms;   /* audio billed by its time */
    unsigned kinds;      /* PRICE_KIND() bits that its tokens may be of */
};

/* The price of <model>, as it is called at <target>, at <now_wall_ms>. Entries
 * that name the target go before those with a glob for it, these before those
 * without a target; then exact names of models before globs; then earlier
 * entries before later ones. A model of the built-in <engine> is priced only by
 * an entry that says its name or a target; else it is free, which needs no
 * mark. <ps> lives as long as the quote. */
struct price_quote price_find(const struct conf_prices *ps, struct str target,
                              struct str model, bool engine,
                              int64_t now_wall_ms);

/* The cost of one request that used <tok>, by enum row_tok, and <audio_ms> of
 * audio billed by its time; any numbers. */
struct price_cost price_cost(const struct price_quote *q,
                             const uint64_t tok[ROW_TOK_COUNT],
                             uint64_t audio_ms);

/* The most that a request within <b> can cost, however its tokens divide into
 * the kinds of <b>: no price_cost() of such a request is above it. Any mark
 * says that there is no telling: refuse where the bound must hold. */
struct price_cost price_worst_case(const struct price_quote *q,
                                   const struct price_bound *b);

/* The most output of <b> that <limit_nusd> affords: the largest output_tok <=
 * b->output_tok whose price_worst_case() is not above it; false when none at
 * all is too dear. */
bool price_fit_output(const struct price_quote *q, const struct price_bound *b,
                      int64_t limit_nusd, uint64_t *output_tok_out);

/* Bytes of a printed amount, with its NUL. */
#define PRICE_USD_SIZE 24

/* Print <nusd> as USD with nine decimals, "0.000012500"; gives a slice of
 * <out>. Below 0 counts as 0. */
struct str price_print_usd(int64_t nusd, char out[PRICE_USD_SIZE]);

/* The same with two decimals or as many as it takes: "25.00", "0.0000125". */
struct str price_print_short(int64_t nusd, char out[PRICE_USD_SIZE]);

#endif
