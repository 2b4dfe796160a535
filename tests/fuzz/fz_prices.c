/* fz_prices.c - Any text as a price file: it is refused with something to say,
 * or it gives prices in their range, whose names are found as a slow walk over
 * all of them finds them, and by which no request costs more than its bound. */
#include "account/price.h"
#include "base/panic.h"
#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whether a problem is one line of printable text with its place. */
static void check_report(const struct conf_report *r)
{
    for (size_t i = 0; i < r->n_items; i++) {
        const struct conf_problem *p = &r->items[i];

        BUG_ON(strncmp(p->text, "F:", 2) != 0);
        BUG_ON(p->line == 0 || p->column == 0);
        for (const char *c = p->text; *c; c++)
            BUG_ON(*c < 0x20 || *c >= 0x7f);
        BUG_ON(i > 0 && r->items[i - 1].line > p->line);
    }
}

static void check_price(const struct conf_price *p)
{
    for (unsigned i = 0; i < CONF_PRICE_COUNT; i++) {
        int64_t unit = i < CONF_PRICE_TOKENS ? 1000000 : 1000000000;

        BUG_ON(p->at[i] < 0 || p->at[i] > CONF_PRICE_USD_MAX * unit);
        BUG_ON((p->given & (1U << i)) == 0 && p->at[i] != 0);
    }
    BUG_ON(p->given == 0);
}

/* Whether <a> goes before <b> where both fit. */
static bool goes_before(const struct conf_price_name *a,
                        const struct conf_price_name *b)
{
    if (a->rank != b->rank)
        return a->rank < b->rank;
    if (a->model_glob != b->model_glob)
        return b->model_glob;
    return a->order < b->order;
}

/* The best of the <n> <names> that fit, and <best>. */
static const struct conf_price_name *walk(const struct conf_price_name *names,
                                          size_t n, struct str target,
                                          struct str model,
                                          const struct conf_price_name *best)
{
    for (size_t i = 0; i < n; i++) {
        const struct conf_price_name *at = &names[i];

        if (!str_glob(at->model_glob ? at->model : STR("*"), model) ||
            (!at->model_glob && !str_eq(at->model, model)))
            continue;
        if (at->rank == 0 ? !str_eq(at->target, target)
                          : at->rank == 1 && !str_glob(at->target, target))
            continue;
        if (!best || goes_before(at, best))
            best = at;
    }
    return best;
}

static void check_find(const struct conf_prices *p, struct str target,
                       struct str model)
{
    struct price_quote q = price_find(p, target, model, false, 0);
    const struct conf_price_name *n;

    n = walk(p->exact, p->n_exact, target, model, NULL);
    n = walk(p->globs, p->n_globs, target, model, n);
    BUG_ON(q.price != (n ? n->price : NULL));
    BUG_ON((q.marks == PRICE_MISSING) != (n == NULL));
}

/* Costs of counts made of <seed> are within the bound of their sums. */
static void check_cost(const struct conf_price *p, uint64_t seed)
{
    const struct price_quote q = {.price = p};
    struct price_bound b = {.kinds = (1U << ROW_TOK_COUNT) - 1};
    uint64_t tok[ROW_TOK_COUNT];

    for (unsigned k = 0; k < ROW_TOK_COUNT; k++) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        tok[k] = seed >> (k * 3 + 8);
    }
    b.input_tok = row_input_tokens(tok);
    b.output_tok = row_output_tokens(tok);
    b.audio_ms = seed >> 16;
    BUG_ON(price_cost(&q, tok, b.audio_ms).nusd < 0);
    BUG_ON(price_cost(&q, tok, b.audio_ms).nusd >
           price_worst_case(&q, &b).nusd);
}

static void check_prices(const struct conf_prices *p)
{
    static const struct str odd[] = {{"", 0}, {"a", 1}, {"gpt-5-mini", 10}};

    for (size_t i = 0; i < p->n_prices; i++) {
        check_price(&p->prices[i]);
        check_cost(&p->prices[i], i);
    }
    for (size_t i = 0; i < p->n_exact && i < 64; i++) {
        check_find(p, p->exact[i].target, p->exact[i].model);
        check_find(p, STR("up"), p->exact[i].model);
    }
    for (size_t i = 0; i < p->n_globs && i < 64; i++)
        check_find(p, p->globs[i].target, p->globs[i].model);
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
        check_find(p, odd[i], odd[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *mem = arena_new(16384, 64UL << 20);
    struct conf_report r = {0};
    struct conf_prices p;
    enum err e;

    if (!mem)
        return 0;
    e = conf_prices_parse("F", str_of(data, size), NULL, mem, &r, &p);
    check_report(&r);
    BUG_ON(e != ERR_OK && e != ERR_SYNTAX && e != ERR_NOMEM);
    BUG_ON((e == ERR_SYNTAX) != (r.n_errors > 0));
    if (e == ERR_OK)
        check_prices(&p);
    conf_report_fini(&r);
    arena_free(mem);
    return 0;
}
