/* t_bound.c - The most that a request can take, and operations that have no
 * such bound. */
#include "unit/bound_kit.h"

/* ---- the table --------------------------------------------------------- */

static void members_are_sorted(void **state)
{
    size_t n;
    const struct bound_field *f = bound_field_list(&n);

    (void)state;
    assert_true(n > 100);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(f[i].name.len, strlen(f[i].name.p));
        assert_true(f[i].ops != 0);
        assert_true((f[i].rule == BOUND_UNSET) == (f[i].why != NULL));
        if (i == 0)
            continue;
        assert_true(strcmp(f[i - 1].name.p, f[i].name.p) <= 0);
        if (strcmp(f[i - 1].name.p, f[i].name.p) == 0)
            assert_int_equal(f[i - 1].ops & f[i].ops, 0);
    }
}

static void every_member_is_found(void **state)
{
    size_t n;
    const struct bound_field *f = bound_field_list(&n);
    char key[64];

    (void)state;
    for (size_t i = 0; i < n; i++)
        for (unsigned op = 1; op <= BOUND_MODERATE; op <<= 1) {
            const struct bound_field *got;

            (void)snprintf(key, sizeof(key), "\"%s\"", f[i].name.p);
            got = bound_field_find(str_from(key), (enum bound_op)op);
            if ((f[i].ops & op) != 0)
                assert_ptr_equal(got, &f[i]);
            else
                assert_true(!got || (got != &f[i] && (got->ops & op) != 0));
        }
    assert_null(bound_field_find(STR("\"\""), BOUND_CHAT));
    assert_null(bound_field_find(STR("\"a\""), BOUND_CHAT));
    assert_null(bound_field_find(STR("\"zz\""), BOUND_CHAT));
    assert_null(bound_field_find(STR("\"modem\""), BOUND_CHAT));
    assert_null(bound_field_find(STR("\"N\""), BOUND_CHAT));
    assert_non_null(bound_field_find(STR("\"\\u006e\""), BOUND_CHAT));
}

/* ---- caps and choices -------------------------------------------------- */

static const struct {
    enum endpoint kind;
    const char *body;
    uint64_t cap, choices, output;
    unsigned caps;
} of_caps[] = {
    {ENDPOINT_CHAT, CHAT_HEAD "}", 4096, 1, 4096, 0},
    {ENDPOINT_CHAT, CHAT_HEAD ",\"max_tokens\":10}", 10, 1, 10,
     BOUND_MAX_TOKENS},
    {ENDPOINT_CHAT, CHAT_HEAD ",\"max_tokens\":1e3}", 1000, 1, 1000,
     BOUND_MAX_TOKENS},
    {ENDPOINT_CHAT, CHAT_HEAD ",\"max_tokens\":2.50e1}", 25, 1, 25,
     BOUND_MAX_TOKENS},
    {ENDPOINT_CHAT, CHAT_HEAD ",\"max_tokens\":null}", 4096, 1, 4096, 0},
    {ENDPOINT_CHAT, CHAT_HEAD ",\"max_tokens\":5,\"max_completion_tokens\":7}",
     7, 1, 7, BOUND_MAX_TOKENS | BOUND_MAX_COMPLETION_TOKENS},
    {ENDPOINT_CHAT, CHAT_HEAD ",\"n\":3,\"max_tokens\":10}", 10, 3, 30,
     BOUND_MAX_TOKENS},
    {ENDPOINT_CHAT, CHAT_HEAD ",\"\\u006e\":3,\"max_\\u0074okens\":10}", 10, 3,
     30, BOUND_MAX_TOKENS},
    {ENDPOINT_CHAT, CHAT_HEAD ",\"n\":2,\"best_of\":5}", 4096, 5, 20480, 0},
    {ENDPOINT_CHAT, CHAT_HEAD ",\"n\":1.0,\"best_of\":null}", 4096, 1, 4096, 0},
    {ENDPOINT_CHAT, CHAT_HEAD ",\"max_tokens\":9007199254740992,\"n\":128}",
     9007199254740992, 128, UINT64_C(1) << 60, BOUND_MAX_TOKENS},
    {ENDPOINT_COMPLETIONS, "{\"prompt\":\"a\",\"max_tokens\":7}", 7, 1, 7,
     BOUND_MAX_TOKENS},
    {ENDPOINT_COMPLETIONS, "{\"prompt\":[\"a\",\"b\"]}", 16, 2, 32, 0},
    {ENDPOINT_COMPLETIONS,
     "{\"prompt\":[\"a\",\"b\",\"c\"],\"max_tokens\":7,\"n\":2}", 7, 6, 42,
     BOUND_MAX_TOKENS},
    {ENDPOINT_COMPLETIONS, "{\"prompt\":[1,2,3],\"max_tokens\":7}", 7, 1, 7,
     BOUND_MAX_TOKENS},
    {ENDPOINT_COMPLETIONS, "{\"prompt\":[[1,2],[3],[4]],\"max_tokens\":7}", 7,
     3, 21, BOUND_MAX_TOKENS},
    {ENDPOINT_COMPLETIONS, "{\"prompt\":[],\"max_tokens\":7}", 7, 1, 7,
     BOUND_MAX_TOKENS},
    {ENDPOINT_COMPLETIONS, "{\"prompt\":[1,\"a\",[2]],\"max_tokens\":7}", 7, 3,
     21, BOUND_MAX_TOKENS},
    {ENDPOINT_RESPONSES, "{\"input\":\"a\",\"max_output_tokens\":20}", 20, 1,
     20, BOUND_MAX_OUTPUT_TOKENS},
    {ENDPOINT_RESPONSES, "{\"input\":\"a\"}", 4096, 1, 4096, 0},
    {ENDPOINT_MESSAGES, "{\"messages\":[],\"max_tokens\":9}", 9, 1, 9,
     BOUND_MAX_TOKENS},
    {ENDPOINT_EMBEDDINGS, "{\"input\":[\"a\",\"b\"]}", 0, 1, 0, 0},
    {ENDPOINT_RERANK, "{\"query\":\"a\",\"documents\":[\"b\"]}", 0, 1, 0, 0},
    {ENDPOINT_SCORE, "{\"text_1\":\"a\",\"text_2\":[\"b\"]}", 0, 1, 0, 0},
    {ENDPOINT_POOLING, "{\"input\":\"a\"}", 0, 1, 0, 0},
    {ENDPOINT_CLASSIFY, "{\"input\":\"a\"}", 0, 1, 0, 0},
    {ENDPOINT_MODERATIONS, "{\"input\":\"a\"}", 0, 1, 0, 0},
};

static void caps_and_choices_multiply(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(of_caps) / sizeof(of_caps[0]); i++) {
        struct bound b = bound_for(of_caps[i].kind, of_caps[i].body);

        if (b.cap_tok != of_caps[i].cap || b.choices != of_caps[i].choices ||
            b.output_tok != of_caps[i].output || b.caps != of_caps[i].caps)
            fail_msg("%s: cap %llu, %llu choices, %llu output, caps %u",
                     of_caps[i].body, (unsigned long long)b.cap_tok,
                     (unsigned long long)b.choices,
                     (unsigned long long)b.output_tok, b.caps);
        assert_false(b.free || b.flat);
        assert_int_equal(b.extra_tok, 0);
        assert_int_equal(b.audio_ms, 0);
    }
}

static void numbers_that_are_none_are_refused(void **state)
{
    static const char *const bad[] = {"-1",
                                      "0",
                                      "0.5",
                                      "1.5",
                                      "\"5\"",
                                      "true",
                                      "[1]",
                                      "{}",
                                      "9007199254740993",
                                      "1e16",
                                      "2147483648e10",
                                      "9223372036854775808",
                                      "-0",
                                      "1e999999999",
                                      "1e-1",
                                      "99999999999999999999999999999999999999"};
    static const char *const names[] = {"max_tokens", "max_completion_tokens",
                                        "n", "best_of"};
    struct rig r;
    char more[128];

    (void)state;
    rig_init(&r, ENDPOINT_CHAT);
    for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
            (void)snprintf(more, sizeof(more), ",\"%s\":%s", names[k], bad[i]);
            chat_case(&r, more, names[k]);
        }
    chat_case(&r, ",\"n\":129", "n");
    chat_case(&r, ",\"n\":128", NULL);
    chat_case(&r, ",\"best_of\":129", "best_of");
    body_case(ENDPOINT_RESPONSES, "{\"max_output_tokens\":-1}",
              "max_output_tokens");
    body_case(ENDPOINT_MESSAGES, "{\"max_tokens\":\"1\"}", "max_tokens");
}

/* The numbers of prompts and choices may multiply past any number. */
static void sums_do_not_wrap(void **state)
{
    enum { PROMPTS = 200000 };
    struct buf body;
    struct bound b;

    (void)state;
    buf_init(&body, 1 << 20);
    assert_int_equal(buf_put_str(&body, STR("{\"n\":128,\"max_tokens\":"
                                            "9007199254740992,\"prompt\":[")),
                     ERR_OK);
    for (int i = 0; i < PROMPTS; i++)
        assert_int_equal(buf_put_str(&body, i > 0 ? STR(",\"\"") : STR("\"\"")),
                         ERR_OK);
    assert_int_equal(buf_put(&body, "]}", 3), ERR_OK);
    b = bound_for(ENDPOINT_COMPLETIONS, body.p);
    assert_true(b.output_tok == UINT64_MAX);
    assert_int_equal(b.choices, PROMPTS * 128);
    buf_fini(&body);
}

static void thinking_is_within_the_cap(void **state)
{
    struct bound b;

    (void)state;
    b = bound_for(ENDPOINT_MESSAGES,
                  "{\"messages\":[],\"max_tokens\":2000,\"thinking\":"
                  "{\"type\":\"enabled\",\"budget_tokens\":1024}}");
    assert_int_equal(b.least_tok, 1025);
    assert_int_equal(b.output_tok, 2000);
    assert_int_equal(b.extra_tok, 0);
    b = bound_for(ENDPOINT_MESSAGES,
                  "{\"messages\":[],\"max_tokens\":2000,\"thinking\":"
                  "{\"type\":\"enabled\",\"budget_tokens\":5000}}");
    assert_int_equal(b.output_tok + b.extra_tok, 7000);
    b = bound_for(ENDPOINT_RESPONSES, "{\"input\":\"\"}");
    assert_int_equal(b.least_tok, 16);
    b = bound_for(ENDPOINT_CHAT, CHAT_HEAD "}");
    assert_int_equal(b.least_tok, 1);
    body_case(ENDPOINT_MESSAGES, "{\"thinking\":{\"budget_tokens\":-1}}",
              "thinking.budget_tokens");
}

/* ---- input ------------------------------------------------------------- */

static void text_is_at_most_its_bytes(void **state)
{
    static const char body[] =
        CHAT_HEAD ",\"user\":\"a long name that nobody has\"}";
    struct bound b = bound_for(ENDPOINT_CHAT, body);

    (void)state;
    assert_true(b.input_tok >= strlen(body));
    assert_true(b.input_tok < strlen(body) + 400);
}

static void tools_have_a_price_of_their_own(void **state)
{
    struct bound with, without;

    (void)state;
    without = bound_for(ENDPOINT_CHAT, CHAT_HEAD ",\"tools\":[]}");
    assert_true(without.input_tok < 400);
    with = bound_for(ENDPOINT_CHAT, CHAT_HEAD
                     ",\"tools\":[{\"type\":\"function\",\"function\":{"
                     "\"name\":\"f\",\"parameters\":{\"enum\":[1,1,1,1]}}}]}");
    assert_true(with.input_tok > 2400);
    with = bound_for(ENDPOINT_CHAT,
                     CHAT_HEAD ",\"functions\":[{\"name\":\"f\"}]}");
    assert_true(with.input_tok > 2048);
    with =
        bound_for(ENDPOINT_MESSAGES, "{\"tools\":[{\"type\":\"bash_20250124\"},"
                                     "{\"type\":\"computer_20250124\"}]}");
    assert_true(with.input_tok > 4096 + 256);
    with = bound_for(ENDPOINT_CHAT,
                     CHAT_HEAD ",\"chat_template_kwargs\":{\"a\":true}}");
    assert_true(with.input_tok < 400);
    with = bound_for(ENDPOINT_CHAT,
                     CHAT_HEAD ",\"chat_template_kwargs\":{\"a\":[\"b\"]}}");
    assert_true(with.input_tok > 2048);
}

/* A query is read once more with each document. */
static void pairs_are_read_together(void **state)
{
    struct bound one, many, score;

    (void)state;
    one = bound_for(ENDPOINT_RERANK,
                    "{\"query\":\"0123456789\",\"documents\":[\"a\"]}");
    many = bound_for(ENDPOINT_RERANK,
                     "{\"query\":\"0123456789\",\"documents\":"
                     "[\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\"]}");
    assert_true(many.input_tok > one.input_tok + 7 * 128 + 8 * 12);
    score = bound_for(ENDPOINT_SCORE,
                      "{\"text_1\":[\"a\",\"b\"],\"text_2\":\"0123456789\"}");
    assert_true(score.input_tok > 2 * 128 + 2 * 12);
    /* nothing on one side is nothing to compare */
    one = bound_for(ENDPOINT_RERANK, "{\"query\":\"a\",\"documents\":[]}");
    assert_true(one.input_tok < 320);
}

static void bytes_are_counted_by_words(void **state)
{
    char text[256];
    uint64_t want = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)i;
    assert_int_equal(bound_count(str_of(text, 256), STR(",:")), 2);
    assert_int_equal(bound_count(str_of(text, 256), STR("\xFF\x7F\x80")), 3);
    assert_int_equal(bound_count(str_of(text, 0), STR(",")), 0);
    srand(1);
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (char)(rand() % 4 + '+');
        want += text[i] == ',' || text[i] == '.';
    }
    for (size_t from = 0; from < 16; from++) {
        assert_int_equal(
            bound_count(str_of(text + from, 256 - from), STR(",.")), want);
        want -= text[from] == ',' || text[from] == '.';
    }
}

/* Characters that become several where text is brought into a normal form. */
static void normal_forms_are_counted(void **state)
{
    static const struct {
        const char *text;
        uint64_t plain, folded;
    } rows[] = {
        {"", 0, 0},
        {"plain text of some length, and more of it", 0, 0},
        {"\xc3\xa9\xe4\xbd\xa0\xe5\xa5\xbd\xed\x95\x9c\xf0\x9f\x98\x80", 0, 0},
        {"\xe0\xa5\x98", 3, 3},     /* U+0958 */
        {"\xf0\x9d\x85\xa0", 8, 8}, /* U+1D160 */
        {"a\xf0\x9d\x85\xa0 \xf0\x9d\x85\xa0z", 16, 16},
        {"\xef\xb7\xba", 0, 15}, /* U+FDFA */
        {"\xc2\xbd", 0, 1},      /* U+00BD */
        {"\xe3\x8c\x96", 0, 5},  /* U+3316 */
        {"\\ufdfa\\uFDFB\\u0041", 0, 24},
        {"0123456\xef\xb7\xba", 0, 15},
        {"\\u", 0, 0},
        {"\\ufdf", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(bound_growth(str_from(rows[i].text), false),
                         rows[i].plain);
        assert_int_equal(bound_growth(str_from(rows[i].text), true),
                         rows[i].folded);
    }
}

/* ---- operations -------------------------------------------------------- */

static void operations_are_judged(void **state)
{
    static const struct {
        enum endpoint kind;
        unsigned units, priced;
        const char *body;
        enum err e;
    } rows[] = {
        {ENDPOINT_PASSTHROUGH, TOKENS, 0, "{}", ERR_BAD_REQUEST},
        {ENDPOINT_PASSTHROUGH, MONEY, 0, "{}", ERR_BAD_REQUEST},
        {ENDPOINT_PASSTHROUGH, MONEY, TEXT_PRICES, "{}", ERR_BAD_REQUEST},
        {ENDPOINT_PASSTHROUGH, MONEY, 1U << CONF_PRICE_REQUEST, "{}", ERR_OK},
        {ENDPOINT_PASSTHROUGH, MONEY, 1U << CONF_PRICE_REQUEST, "form", ERR_OK},
        {ENDPOINT_PASSTHROUGH, MONEY | TOKENS, 1U << CONF_PRICE_REQUEST, "{}",
         ERR_BAD_REQUEST},
        {ENDPOINT_PASSTHROUGH, MONEY, TEXT_PRICES | 1U << CONF_PRICE_REQUEST,
         "{}", ERR_BAD_REQUEST},
        {ENDPOINT_MESSAGES_PASS, MONEY, 0, "{}", ERR_BAD_REQUEST},
        {ENDPOINT_RESPONSES_COMPACT, MONEY, TEXT_PRICES, "{}", ERR_BAD_REQUEST},
        {ENDPOINT_RESPONSES_COMPACT, TOKENS, 0, "{}", ERR_BAD_REQUEST},
        {ENDPOINT_IMAGE_GENERATIONS, TOKENS, 1U << CONF_PRICE_REQUEST, "{}",
         ERR_BAD_REQUEST},
        {ENDPOINT_IMAGE_GENERATIONS, MONEY, 1U << CONF_PRICE_REQUEST, "{}",
         ERR_OK},
        {ENDPOINT_IMAGE_GENERATIONS, MONEY, 1U << CONF_PRICE_REQUEST,
         "{\"n\":1}", ERR_OK},
        {ENDPOINT_IMAGE_GENERATIONS, MONEY, 1U << CONF_PRICE_REQUEST,
         "{\"n\":2}", ERR_BAD_REQUEST},
        {ENDPOINT_IMAGE_GENERATIONS, MONEY, 1U << CONF_PRICE_REQUEST,
         "{\"n\":\"2\"}", ERR_BAD_REQUEST},
        {ENDPOINT_IMAGE_EDITS, MONEY, 1U << CONF_PRICE_REQUEST, "form",
         ERR_BAD_REQUEST},
        {ENDPOINT_TRANSCRIPTIONS, MONEY, 1U << CONF_PRICE_REQUEST, "form",
         ERR_OK},
        {ENDPOINT_TRANSCRIPTIONS, MONEY, 1U << CONF_PRICE_AUDIO_MINUTE, "form",
         ERR_BAD_REQUEST},
        {ENDPOINT_SPEECH, MONEY, TEXT_PRICES, "{}", ERR_BAD_REQUEST},
        {ENDPOINT_VIDEOS, MONEY, 0, "{}", ERR_BAD_REQUEST},
        {ENDPOINT_MODERATIONS, MONEY, 0, "{}", ERR_BAD_REQUEST},
        {ENDPOINT_MODERATIONS, TOKENS, 0, "{}", ERR_BAD_REQUEST},
        {ENDPOINT_MODERATIONS, TOKENS, 1U << CONF_PRICE_REQUEST, "{}", ERR_OK},
        {ENDPOINT_CHAT, TOKENS, 0, "form", ERR_BAD_REQUEST},
        {ENDPOINT_CHAT, TOKENS, 0, "[]", ERR_BAD_REQUEST},
        {ENDPOINT_CHAT, TOKENS, 0, "{}", ERR_OK},
    };
    struct rig r;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        rig_init(&r, rows[i].kind);
        r.rules.units = rows[i].units;
        r.rules.priced = rows[i].priced;
        if (rig_ask(&r, rows[i].body) != rows[i].e)
            fail_msg("row %zu: %s", i, r.no.text);
        if (rows[i].e == ERR_OK)
            continue;
        assert_string_equal(r.no.param, "");
        assert_non_null(strstr(r.no.text, "hard budget"));
    }
}

static void what_is_free_is_not_held(void **state)
{
    static const struct {
        enum endpoint kind;
        enum http1_method method;
        bool free;
    } rows[] = {
        {ENDPOINT_COUNT_TOKENS, HTTP1_POST, true},
        {ENDPOINT_RESPONSES_INPUT_TOKENS, HTTP1_POST, true},
        {ENDPOINT_FILE_UPLOAD, HTTP1_POST, true},
        {ENDPOINT_PASSTHROUGH, HTTP1_GET, true},
        {ENDPOINT_PASSTHROUGH, HTTP1_DELETE, true},
        {ENDPOINT_PASSTHROUGH, HTTP1_POST, false},
        {ENDPOINT_PASSTHROUGH, HTTP1_PUT, false},
        {ENDPOINT_PASSTHROUGH, HTTP1_PATCH, false},
        {ENDPOINT_PASSTHROUGH, HTTP1_OTHER, false},
    };
    struct http1_header override = {.name = STR("x-http-method-override"),
                                    .value = STR("POST")};
    struct rig r;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        rig_init(&r, rows[i].kind);
        r.in.head.method = rows[i].method;
        assert_int_equal(rig_ask(&r, "{\"foo\":1}"),
                         rows[i].free ? ERR_OK : ERR_BAD_REQUEST);
        if (rows[i].free)
            assert_true(r.bound.free);
    }
    rig_init(&r, ENDPOINT_PASSTHROUGH);
    r.in.head.method = HTTP1_GET;
    r.in.has_body = true;
    assert_int_equal(rig_ask(&r, "{}"), ERR_BAD_REQUEST);
    rig_init(&r, ENDPOINT_PASSTHROUGH);
    r.rules.units = MONEY;
    r.rules.priced = 1U << CONF_PRICE_REQUEST;
    r.in.head.method = HTTP1_PUT;
    assert_int_equal(rig_ask(&r, "{}"), ERR_BAD_REQUEST);
    rig_init(&r, ENDPOINT_PASSTHROUGH);
    r.in.head.method = HTTP1_GET;
    r.in.head.headers = &override;
    r.in.head.count = 1;
    assert_int_equal(rig_ask(&r, ""), ERR_BAD_REQUEST);
    rig_init(&r, ENDPOINT_PASSTHROUGH);
    r.in.head.method = HTTP1_GET;
    r.in.head.websocket = true;
    assert_int_equal(rig_ask(&r, ""), ERR_BAD_REQUEST);
}

/* Where a judgement of a text costs so much a request, it takes no tokens. */
static void moderations_may_be_flat(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, ENDPOINT_MODERATIONS);
    r.rules.priced = 1U << CONF_PRICE_REQUEST;
    assert_int_equal(rig_ask(&r, "{\"input\":\"a\"}"), ERR_OK);
    assert_true(r.bound.flat);
    assert_int_equal(r.bound.input_tok, 0);
    r.rules.priced = TEXT_PRICES;
    assert_int_equal(rig_ask(&r, "{\"input\":\"a\"}"), ERR_OK);
    assert_false(r.bound.flat);
    assert_true(r.bound.input_tok > 256);
}

static void models_that_search_are_refused(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, ENDPOINT_CHAT);
    r.ask.model = STR("org/model:online");
    chat_case(&r, "", "model");
    r.ask.model = STR("org/model:free");
    chat_case(&r, "", NULL);
}

/* Nothing is given where there is no bound. */
static void failure_leaves_the_result(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, ENDPOINT_CHAT);
    assert_int_equal(rig_ask(&r, "{\"n\":3,\"foo\":1}"), ERR_BAD_PARAM);
    for (size_t i = 0; i < sizeof(r.bound); i++)
        assert_int_equal(((unsigned char *)&r.bound)[i], 0xA5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_sorted),
        cmocka_unit_test(every_member_is_found),
        cmocka_unit_test(caps_and_choices_multiply),
        cmocka_unit_test(numbers_that_are_none_are_refused),
        cmocka_unit_test(sums_do_not_wrap),
        cmocka_unit_test(thinking_is_within_the_cap),
        cmocka_unit_test(text_is_at_most_its_bytes),
        cmocka_unit_test(tools_have_a_price_of_their_own),
        cmocka_unit_test(pairs_are_read_together),
        cmocka_unit_test(bytes_are_counted_by_words),
        cmocka_unit_test(normal_forms_are_counted),
        cmocka_unit_test(operations_are_judged),
        cmocka_unit_test(what_is_free_is_not_held),
        cmocka_unit_test(moderations_may_be_flat),
        cmocka_unit_test(models_that_search_are_refused),
        cmocka_unit_test(failure_leaves_the_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
