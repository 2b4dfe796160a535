/* t_price.c - What requests cost: every class and stand-in, which entry holds,
 * rounding, and any numbers against arithmetic on decimal digits. */
#include "price_kit.h"

/* ---- arithmetic on digits, slow and plain ------------------------------- */

#define DIGITS 80

/* A number, least digit first. */
struct big {
    unsigned d[DIGITS];
};

static struct big big_of(uint64_t v)
{
    struct big b = {{0}};

    for (unsigned i = 0; v > 0; i++, v /= 10)
        b.d[i] = (unsigned)(v % 10);
    return b;
}

static void big_carry(struct big *b)
{
    for (unsigned i = 0; i + 1 < DIGITS; i++) {
        b->d[i + 1] += b->d[i] / 10;
        b->d[i] %= 10;
    }
    assert_true(b->d[DIGITS - 1] < 10);
}

static struct big big_add(struct big a, struct big b)
{
    for (unsigned i = 0; i < DIGITS; i++)
        a.d[i] += b.d[i];
    big_carry(&a);
    return a;
}

static struct big big_mul(struct big a, struct big b)
{
    struct big r = {{0}};

    for (unsigned i = 0; i < DIGITS; i++)
        for (unsigned j = 0; j < DIGITS && i + j < DIGITS; j++)
            r.d[i + j] += a.d[i] * b.d[j];
    big_carry(&r);
    return r;
}

/* <a> / 10^<zeros>, rounded up. */
static struct big big_shift_up(struct big a, unsigned zeros)
{
    struct big r = {{0}};
    bool rest = false;

    for (unsigned i = 0; i < zeros; i++)
        rest = rest || a.d[i] != 0;
    for (unsigned i = zeros; i < DIGITS; i++)
        r.d[i - zeros] = a.d[i];
    return rest ? big_add(r, big_of(1)) : r;
}

/* <a> / 6 with the rest in the fraction's first digits kept: a * 10 / 60. */
static struct big big_div(struct big a, unsigned by, bool *rest_out)
{
    struct big r = {{0}};
    unsigned rest = 0;

    for (unsigned i = DIGITS; i-- > 0;) {
        unsigned v = rest * 10 + a.d[i];

        r.d[i] = v / by;
        rest = v % by;
    }
    *rest_out = rest != 0;
    return r;
}

static int64_t big_clamp(struct big b)
{
    uint64_t v = 0;

    for (unsigned i = DIGITS; i-- > 0;)
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, b.d[i], &v) || v > INT64_MAX)
            return INT64_MAX;
    return (int64_t)v;
}

/* The cost in whole nano-dollars by the prices of all classes: the sum in
 * pico-dollars times 60000 ms, then divided by 6 * 10^4 * 10^3. */
static int64_t oracle(const struct conf_price *p,
                      const uint64_t tok[ROW_TOK_COUNT], uint64_t audio_ms)
{
    static const enum conf_price_item item[ROW_TOK_COUNT] = {
        [ROW_TOK_INPUT] = CONF_PRICE_INPUT,
        [ROW_TOK_CACHE_READ] = CONF_PRICE_CACHED_INPUT,
        [ROW_TOK_CACHE_WRITE_5M] = CONF_PRICE_CACHE_WRITE,
        [ROW_TOK_CACHE_WRITE_1H] = CONF_PRICE_CACHE_WRITE_1H,
        [ROW_TOK_OUTPUT] = CONF_PRICE_OUTPUT,
        [ROW_TOK_REASONING] = CONF_PRICE_REASONING,
        [ROW_TOK_AUDIO_IN] = CONF_PRICE_AUDIO_IN,
        [ROW_TOK_AUDIO_OUT] = CONF_PRICE_AUDIO_OUT,
    };
    struct big sum = {{0}};
    bool rest;

    for (unsigned k = 0; k < ROW_TOK_COUNT; k++)
        sum = big_add(
            sum, big_mul(big_of(tok[k]), big_of((uint64_t)p->at[item[k]])));
    sum = big_add(sum, big_mul(big_of((uint64_t)p->at[CONF_PRICE_REQUEST]),
                               big_of(1000)));
    sum = big_mul(sum, big_of(60000));
    sum = big_add(
        sum, big_mul(big_of(audio_ms),
                     big_mul(big_of((uint64_t)p->at[CONF_PRICE_AUDIO_MINUTE]),
                             big_of(1000))));
    sum = big_div(sum, 6, &rest);
    if (rest)
        sum = big_add(sum, big_of(1));
    return big_clamp(big_shift_up(sum, 7));
}

/* ---- costs -------------------------------------------------------------- */

static void every_class_has_its_own_price(void **state)
{
    static const int64_t per_million[ROW_TOK_COUNT] = {
        3000000000,  300000000,   3750000000,  6000000000,
        15000000000, 14000000000, 40000000000, 80000000000};
    struct prices r = prices_of(ALL);
    struct price_quote q = find(&r, "up", "m");
    const uint64_t none[ROW_TOK_COUNT] = {0};

    (void)state; /* cmocka's signature */
    assert_int_equal(price_cost(&q, none, 0).nusd, 10000000);
    assert_int_equal(price_cost(&q, none, 90000).nusd, 10000000 + 9000000);
    for (unsigned k = 0; k < ROW_TOK_COUNT; k++) {
        uint64_t tok[ROW_TOK_COUNT] = {0};

        tok[k] = 1000000;
        assert_int_equal(price_cost(&q, tok, 0).nusd,
                         10000000 + per_million[k]);
        assert_int_equal(price_cost(&q, tok, 0).marks, 0);
    }
    arena_free(r.mem);
}

static void a_request_is_rounded_up_once(void **state)
{
    struct prices r =
        prices_of("- {model: m, input: 0.0001, output: 0.0004}\n"
                  "- {model: least, input: 0.000001, output: 0.000001}\n"
                  "- {model: even, input: 0.001, output: 0}\n");
    struct price_quote q = find(&r, "up", "m");
    uint64_t tok[ROW_TOK_COUNT] = {[ROW_TOK_INPUT] = 3, [ROW_TOK_OUTPUT] = 1};

    (void)state; /* cmocka's signature */
    /* 3 * 100 + 400 = 700 pico-dollars: one nano-dollar, not two */
    assert_int_equal(price_cost(&q, tok, 0).nusd, 1);
    tok[ROW_TOK_OUTPUT] = 2; /* 1100 */
    assert_int_equal(price_cost(&q, tok, 0).nusd, 2);
    q = find(&r, "up", "least");
    tok[ROW_TOK_INPUT] = 999;
    tok[ROW_TOK_OUTPUT] = 1; /* 1000 */
    assert_int_equal(price_cost(&q, tok, 0).nusd, 1);
    tok[ROW_TOK_OUTPUT] = 2;
    assert_int_equal(price_cost(&q, tok, 0).nusd, 2);
    q = find(&r, "up", "even");
    assert_int_equal(price_cost(&q, tok, 0).nusd, 999);
    arena_free(r.mem);
}

static void a_time_is_a_part_of_its_minute(void **state)
{
    struct prices r = prices_of("- {model: w, audio_minute: 0.006}\n"
                                "- {model: text, input: 1, output: 1}\n");
    struct price_quote q = find(&r, "up", "w");
    uint64_t tok[ROW_TOK_COUNT] = {0};

    (void)state; /* cmocka's signature */
    assert_int_equal(price_cost(&q, tok, 60000).nusd, 6000000);
    assert_int_equal(price_cost(&q, tok, 7250).nusd, 725000);
    assert_int_equal(price_cost(&q, tok, 1).nusd, 100);
    tok[ROW_TOK_INPUT] = 1000; /* on purpose without a price of tokens */
    assert_int_equal(price_cost(&q, tok, 1).nusd, 100);
    assert_int_equal(price_cost(&q, tok, 1).marks, 0);
    q = find(&r, "up", "text");
    assert_int_equal(price_cost(&q, tok, 60000).marks, 0);
    tok[ROW_TOK_INPUT] = 0;
    assert_int_equal(price_cost(&q, tok, 60000).marks, PRICE_PART);
    arena_free(r.mem);
}

static void a_class_without_a_price_is_never_below_the_truth(void **state)
{
    static const struct {
        const char *entry;
        enum row_tok kind;
        int64_t nusd; /* of a million tokens */
        unsigned marks;
    } cases[] = {
        {"input: 4, output: 20", ROW_TOK_CACHE_READ, 4000000000, 0},
        {"input: 4, output: 20", ROW_TOK_REASONING, 20000000000, 0},
        {"input: 4, output: 20", ROW_TOK_CACHE_WRITE_5M, 5000000000,
         PRICE_PART},
        {"input: 4, output: 20", ROW_TOK_CACHE_WRITE_1H, 8000000000,
         PRICE_PART},
        {"input: 4, cache_write: 9", ROW_TOK_CACHE_WRITE_1H, 9000000000,
         PRICE_PART},
        {"input: 0.000001", ROW_TOK_CACHE_WRITE_5M, 2000, PRICE_PART},
        {"input: 4, output: 20", ROW_TOK_AUDIO_IN, 4000000000, PRICE_PART},
        {"input: 4, output: 20", ROW_TOK_AUDIO_OUT, 20000000000, PRICE_PART},
        {"input: 4", ROW_TOK_OUTPUT, 0, PRICE_PART},
        {"input: 4", ROW_TOK_REASONING, 0, PRICE_PART},
        {"output: 4", ROW_TOK_INPUT, 0, PRICE_PART},
        {"output: 4", ROW_TOK_CACHE_READ, 0, PRICE_PART},
        {"input: 4, cached_input: 0", ROW_TOK_CACHE_READ, 0, 0},
        {"input: 4, output: 4, reasoning: 0", ROW_TOK_REASONING, 0, 0},
        {"input: 0, output: 0", ROW_TOK_OUTPUT, 0, 0},
        {"request: 0", ROW_TOK_OUTPUT, 0, 0},
    };

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t tok[ROW_TOK_COUNT] = {0};
        char entry[256];

        snprintf(entry, sizeof(entry), "- {model: m, %s}\n", cases[i].entry);
        struct prices r = prices_of(entry);
        struct price_quote q = find(&r, "up", "m");
        tok[cases[i].kind] = 1000000;
        struct price_cost c = price_cost(&q, tok, 0);
        if (c.nusd != cases[i].nusd || c.marks != cases[i].marks)
            fail_msg("%s, class %d: %lld nano-dollars, marks %u",
                     cases[i].entry, (int)cases[i].kind, (long long)c.nusd,
                     c.marks);
        arena_free(r.mem);
    }
}

static uint64_t any_count(void)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     999,
                                     1000,
                                     1001,
                                     999999,
                                     1000000,
                                     1000001,
                                     INT32_MAX,
                                     1ULL << 32,
                                     (1ULL << 40) + 1,
                                     (1ULL << 53) + 1,
                                     INT64_MAX,
                                     (uint64_t)INT64_MAX + 1,
                                     UINT64_MAX};

    if (random() % 2 == 0)
        return edges[(size_t)random() % (sizeof(edges) / sizeof(edges[0]))];
    return (uint64_t)random() >> (random() % 31);
}

static void any_numbers_give_what_digits_give(void **state)
{
    const int64_t tok_max = INT64_C(1000000) * 1000000;
    const int64_t flat_max = INT64_C(1000000) * 1000000000;
    unsigned full = 0;

    (void)state; /* cmocka's signature */
    srandom(5);
    for (unsigned round = 0; round < 3000; round++) {
        struct conf_price p = {.given = (1U << CONF_PRICE_COUNT) - 1};
        const struct price_quote q = {.price = &p};
        uint64_t tok[ROW_TOK_COUNT];
        uint64_t audio_ms = any_count();

        for (unsigned i = 0; i < CONF_PRICE_TOKENS; i++)
            p.at[i] = any_price(tok_max);
        p.at[CONF_PRICE_REQUEST] = any_price(flat_max);
        p.at[CONF_PRICE_AUDIO_MINUTE] = any_price(flat_max);
        for (unsigned k = 0; k < ROW_TOK_COUNT; k++)
            tok[k] = round % 3 == 0 ? any_count() : any_count() % 1000000;
        struct price_cost c = price_cost(&q, tok, audio_ms);
        int64_t want = oracle(&p, tok, audio_ms);
        if (c.nusd != want)
            fail_msg("round %u: %lld, by digits %lld", round, (long long)c.nusd,
                     (long long)want);
        full += want == INT64_MAX;
    }
    assert_true(full > 100 && full < 2900);
}

static void the_largest_numbers_fill_but_never_wrap(void **state)
{
    struct conf_price p = {.given = (1U << CONF_PRICE_COUNT) - 1};
    const struct price_quote q = {.price = &p};
    uint64_t tok[ROW_TOK_COUNT];

    (void)state; /* cmocka's signature */
    for (unsigned i = 0; i < CONF_PRICE_TOKENS; i++)
        p.at[i] = INT64_C(1000000) * 1000000;
    p.at[CONF_PRICE_REQUEST] = INT64_C(1000000) * 1000000000;
    p.at[CONF_PRICE_AUDIO_MINUTE] = INT64_C(1000000) * 1000000000;
    for (unsigned k = 0; k < ROW_TOK_COUNT; k++)
        tok[k] = UINT64_MAX;
    assert_true(price_cost(&q, tok, UINT64_MAX).nusd == INT64_MAX);
    assert_true(oracle(&p, tok, UINT64_MAX) == INT64_MAX);
    /* just below and just above what a number holds: one token is 10^9 */
    memset(tok, 0, sizeof(tok));
    p.at[CONF_PRICE_REQUEST] = 0;
    tok[ROW_TOK_INPUT] = 9223372036;
    assert_true(price_cost(&q, tok, 0).nusd == INT64_C(9223372036000000000));
    tok[ROW_TOK_INPUT] = 9223372037;
    assert_true(price_cost(&q, tok, 0).nusd == INT64_MAX);
}

/* ---- which entry -------------------------------------------------------- */

static void exact_goes_before_glob_and_earlier_before_later(void **state)
{
    static const struct {
        const char *target, *model;
        int64_t usd; /* the price of input that tells the entries apart */
    } cases[] = {
        {"up", "gpt-5", 2},
        {"up", "gpt-5-mini", 3},
        {"up", "gpt-5-nano", 1},
        {"up", "gpt-4", 4},
        {"other", "gpt-5", 5},
        {"other", "gpt-9", 6},
        {"azure-1", "gpt-5", 7},
        {"azure-1", "gpt-4", 8},
        {"azure-2", "gpt-5", 9},
        {"up", "an-alias", 2},
        {"up", "alias-glob-x", 2},
        {"up", "one", 10},
        {"up", "two", 10},
        {"up", "Gpt-5", -1},
        {"up", "", -1},
        {"whole", "", 11},
        {"whole", "gpt-5", 11},
    };
    struct prices r = prices_of(
        "- {model: gpt-5-*, input: 1}\n"
        "- {model: gpt-5, aliases: [an-alias, alias-glob-*], input: 2}\n"
        "- {model: gpt-5-mini, input: 3}\n"
        "- {model: gpt-*, input: 4}\n"
        "- {model: gpt-5, input: 99}\n"
        "- {model: gpt-5, target: other, input: 5}\n"
        "- {model: gpt-*, target: other, input: 6}\n"
        "- {model: gpt-5, target: azure-1, input: 7}\n"
        "- {model: gpt-*, target: azure-1, input: 8}\n"
        "- {model: gpt-*, target: azure-*, input: 9}\n"
        "- {model: [one, two], input: 10}\n"
        "- {target: whole, input: 11}\n");

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct price_quote q = find(&r, cases[i].target, cases[i].model);
        int64_t got = q.price ? q.price->at[CONF_PRICE_INPUT] / 1000000 : -1;

        if (got != cases[i].usd ||
            (q.marks == PRICE_MISSING) != (cases[i].usd < 0))
            fail_msg("%s %s: price %lld", cases[i].target, cases[i].model,
                     (long long)got);
    }
    arena_free(r.mem);
}

static void an_engine_model_is_free_unless_it_is_meant(void **state)
{
    struct prices r = prices_of("- {model: '*', input: 1}\n"
                                "- {model: named, input: 2}\n"
                                "- {target: aimed, input: 3}\n"
                                "- {target: loc*, model: '*', input: 4}\n");
    static const struct {
        const char *name;
        int64_t usd;
    } cases[] = {{"demo", -1}, {"named", 2}, {"aimed", 3}, {"local", 4}};

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str name = str_from(cases[i].name);
        struct price_quote q = price_find(&r.p, name, name, true, NOW_MS);
        const uint64_t tok[ROW_TOK_COUNT] = {1000000};
        struct price_cost c = price_cost(&q, tok, 0);

        assert_int_equal(c.marks, 0);
        assert_int_equal(c.nusd,
                         cases[i].usd < 0 ? 0 : cases[i].usd * 1000000000);
        q = price_find(&r.p, name, name, false, NOW_MS);
        assert_non_null(q.price);
    }
    arena_free(r.mem);
}

static void a_price_is_stale_past_its_days(void **state)
{
    struct prices r =
        prices_of("- {model: a, input: 1}\n"
                  "- {model: b, input: 1, updated: 2026-11-01}\n");
    const struct str up = STR("up");
    const int64_t days = 90 * DAY_MS;

    (void)state; /* cmocka's signature */
    assert_int_equal(price_find(&r.p, up, STR("a"), false, NOW_MS + days).marks,
                     0);
    assert_int_equal(
        price_find(&r.p, up, STR("a"), false, NOW_MS + days + 1).marks,
        PRICE_STALE);
    assert_int_equal(
        price_find(&r.p, up, STR("b"), false, NOW_MS + days - 20 * DAY_MS)
            .marks,
        0);
    assert_int_equal(
        price_find(&r.p, up, STR("b"), false, NOW_MS + days - 19 * DAY_MS)
            .marks,
        PRICE_STALE);
    r.p.stale_after_ms = 0;
    assert_int_equal(
        price_find(&r.p, up, STR("b"), false, NOW_MS + 1000 * days).marks, 0);
    arena_free(r.mem);
}

static void without_a_price_the_cost_is_nothing_and_marked(void **state)
{
    const struct conf_prices none = {.n_prices = 0};
    struct price_quote q =
        price_find(&none, STR("up"), STR("m"), false, NOW_MS);
    const uint64_t tok[ROW_TOK_COUNT] = {5, 5, 5, 5, 5, 5, 5, 5};
    const struct price_bound b = {5, 5, 5, PRICE_KINDS_TEXT};

    (void)state; /* cmocka's signature */
    assert_int_equal(price_cost(&q, tok, 5).nusd, 0);
    assert_int_equal(price_cost(&q, tok, 5).marks, PRICE_MISSING);
    assert_int_equal(price_worst_case(&q, &b).marks, PRICE_MISSING);
    q = price_find(&none, STR("demo"), STR("demo"), true, NOW_MS);
    assert_int_equal(price_cost(&q, tok, 5).marks, 0);
    assert_int_equal(price_worst_case(&q, &b).marks, 0);
}

static void money_prints_with_nine_decimals(void **state)
{
    static const struct {
        int64_t nusd;
        const char *text;
    } cases[] = {{0, "0.000000000"},
                 {1, "0.000000001"},
                 {12500, "0.000012500"},
                 {1000000000, "1.000000000"},
                 {INT64_MAX, "9223372036.854775807"},
                 {-1, "0.000000000"}};
    char room[PRICE_USD_SIZE];

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(price_print_usd(cases[i].nusd, room).p,
                            cases[i].text);
    assert_string_equal(price_print_short(0, room).p, "0.00");
    assert_string_equal(price_print_short(1, room).p, "0.000000001");
    assert_string_equal(price_print_short(12500, room).p, "0.0000125");
    assert_string_equal(price_print_short(INT64_C(25000000000), room).p,
                        "25.00");
    assert_string_equal(price_print_short(INT64_C(100500000000), room).p,
                        "100.50");
    assert_string_equal(price_print_short(INT64_MAX, room).p,
                        "9223372036.854775807");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_class_has_its_own_price),
        cmocka_unit_test(a_request_is_rounded_up_once),
        cmocka_unit_test(a_time_is_a_part_of_its_minute),
        cmocka_unit_test(a_class_without_a_price_is_never_below_the_truth),
        cmocka_unit_test(any_numbers_give_what_digits_give),
        cmocka_unit_test(the_largest_numbers_fill_but_never_wrap),
        cmocka_unit_test(exact_goes_before_glob_and_earlier_before_later),
        cmocka_unit_test(an_engine_model_is_free_unless_it_is_meant),
        cmocka_unit_test(a_price_is_stale_past_its_days),
        cmocka_unit_test(without_a_price_the_cost_is_nothing_and_marked),
        cmocka_unit_test(money_prints_with_nine_decimals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
