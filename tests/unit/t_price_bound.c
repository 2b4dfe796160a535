/* t_price_bound.c - The most that a request can cost: no request within the
 * bound costs more, and what a budget affords is neither less nor more. */
#include "price_kit.h"

static const enum row_tok input_kinds[] = {
    ROW_TOK_INPUT, ROW_TOK_CACHE_READ, ROW_TOK_CACHE_WRITE_5M,
    ROW_TOK_CACHE_WRITE_1H, ROW_TOK_AUDIO_IN};
static const enum row_tok output_kinds[] = {ROW_TOK_OUTPUT, ROW_TOK_REASONING,
                                            ROW_TOK_AUDIO_OUT};

/* Deal at most <most> tokens out to those of <kinds> that <allowed> has. */
static void deal(uint64_t most, unsigned allowed, const enum row_tok *kinds,
                 size_t n, uint64_t tok[ROW_TOK_COUNT])
{
    for (size_t i = 0; i < n && most > 0; i++) {
        uint64_t part = (uint64_t)random() % (most + 1);

        if ((allowed & PRICE_KIND(kinds[i])) == 0)
            continue;
        tok[kinds[i]] = random() % 3 == 0 ? most : part;
        most -= tok[kinds[i]];
    }
}

static void no_request_within_a_bound_costs_more(void **state)
{
    (void)state; /* cmocka's signature */
    srandom(6);
    for (unsigned round = 0; round < 200000; round++) {
        struct conf_price p = {.given = (unsigned)random() %
                                        (1U << CONF_PRICE_COUNT)};
        const struct price_quote q = {.price = &p};
        struct price_bound b = {(uint64_t)random() % 100000,
                                (uint64_t)random() % 100000,
                                (uint64_t)random() % 100000,
                                (unsigned)random() % (1U << ROW_TOK_COUNT)};
        uint64_t tok[ROW_TOK_COUNT] = {0};

        for (unsigned i = 0; i < CONF_PRICE_COUNT; i++)
            if ((p.given & (1U << i)) != 0)
                p.at[i] = any_price(1000000000);
        deal(b.input_tok, b.kinds, input_kinds, 5, tok);
        deal(b.output_tok, b.kinds, output_kinds, 3, tok);
        struct price_cost most = price_worst_case(&q, &b);
        struct price_cost c =
            price_cost(&q, tok, (uint64_t)random() % (b.audio_ms + 1));
        if (c.nusd > most.nusd)
            fail_msg("round %u: costs %lld, at most %lld", round,
                     (long long)c.nusd, (long long)most.nusd);
    }
}

static void the_bound_is_met_by_the_dearest_kinds(void **state)
{
    struct prices r = prices_of(ALL);
    struct price_quote q = find(&r, "up", "m");
    struct price_bound b = {1000, 100, 0, PRICE_KINDS_TEXT};

    (void)state; /* cmocka's signature */
    assert_int_equal(price_worst_case(&q, &b).nusd,
                     10000000 + 3000000 + 1500000);
    b.kinds |= PRICE_KINDS_CACHE_WRITE;
    assert_int_equal(price_worst_case(&q, &b).nusd,
                     10000000 + 6000000 + 1500000);
    b.kinds |= PRICE_KINDS_AUDIO;
    assert_int_equal(price_worst_case(&q, &b).nusd,
                     10000000 + 40000000 + 8000000);
    b.input_tok = UINT64_MAX;
    b.output_tok = UINT64_MAX;
    b.audio_ms = UINT64_MAX;
    assert_true(price_worst_case(&q, &b).nusd == INT64_MAX);
    arena_free(r.mem);
}

static void a_bound_with_an_unpriced_kind_is_marked(void **state)
{
    struct prices r = prices_of("- {model: m, input: 1, output: 2}\n");
    struct price_quote q = find(&r, "up", "m");
    struct price_bound b = {10, 10, 0, PRICE_KINDS_TEXT};

    (void)state; /* cmocka's signature */
    assert_int_equal(price_worst_case(&q, &b).marks, 0);
    b.kinds |= PRICE_KINDS_CACHE_WRITE;
    assert_int_equal(price_worst_case(&q, &b).marks, PRICE_PART);
    b.kinds = PRICE_KINDS_TEXT | PRICE_KINDS_AUDIO;
    assert_int_equal(price_worst_case(&q, &b).marks, PRICE_PART);
    arena_free(r.mem);
}

static void the_most_output_fits_and_one_more_does_not(void **state)
{
    (void)state; /* cmocka's signature */
    srandom(7);
    for (unsigned round = 0; round < 20000; round++) {
        struct conf_price p = {.given = (1U << CONF_PRICE_COUNT) - 1};
        const struct price_quote q = {.price = &p};
        struct price_bound b = {(uint64_t)random() % 1000,
                                (uint64_t)random() % 1000, 0, PRICE_KINDS_TEXT};
        int64_t limit = random() % 2000000;
        uint64_t fits = UINT64_MAX;
        struct price_bound at;

        for (unsigned i = 0; i < CONF_PRICE_COUNT; i++)
            p.at[i] = any_price(1000000000);
        p.at[CONF_PRICE_REQUEST] = any_price(1000000);
        at = b;
        if (!price_fit_output(&q, &b, limit, &fits)) {
            at.output_tok = 0;
            assert_true(price_worst_case(&q, &at).nusd > limit);
            continue;
        }
        assert_true(fits <= b.output_tok);
        at.output_tok = fits;
        assert_true(price_worst_case(&q, &at).nusd <= limit);
        at.output_tok = fits + 1;
        if (fits < b.output_tok)
            assert_true(price_worst_case(&q, &at).nusd > limit);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_request_within_a_bound_costs_more),
        cmocka_unit_test(the_bound_is_met_by_the_dearest_kinds),
        cmocka_unit_test(a_bound_with_an_unpriced_kind_is_marked),
        cmocka_unit_test(the_most_output_fits_and_one_more_does_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
