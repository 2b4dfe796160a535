/* t_bill.c - What an exchange is charged: by how it ended, by who counted, and
 * by what its operation tells of itself. */
#include "settle/bill.h"

#include "exchange/cost.h"
#include "exchange/exchange.h"
#include "exchange/tape.h"
#include "price_kit.h"

/* An exchange as far as billing looks at it. */
struct rig {
    struct prices prices;
    struct conf conf;
    struct exchange x;
    struct request in;
    struct ask ask;
    struct recall found;
    struct work work;
    struct made made;
    struct reply out;
    struct bill bill;
    struct reply_head head;
    struct usage_row row;
};

#define ENTRIES                                                                \
    "- {model: m, input: 2, cached_input: 1, output: 10}\n"                    \
    "- {model: flat, input: 2, output: 10, request: 0.5}\n"                    \
    "- {model: time, audio_minute: 6}\n"                                       \
    "- {model: only-flat, request: 0.25}\n"

/* One request for <model> at an upstream, answered whole with <kind>'s usage
 * of 100 tokens in, 40 of them cached, and 10 out. */
static void rig_init(struct rig *r, enum endpoint kind, const char *model)
{
    memset(r, 0, sizeof(*r));
    r->prices = prices_of(ENTRIES);
    r->conf.price = r->prices.p;
    r->x = (struct exchange){.conf = &r->conf,
                             .in = &r->in,
                             .ask = &r->ask,
                             .found = &r->found,
                             .work = &r->work,
                             .made = &r->made,
                             .out = &r->out,
                             .bill = &r->bill,
                             .start_wall_ms = NOW_MS};
    r->in.ep.row = endpoint_row(kind);
    r->in.head.method = HTTP1_POST;
    r->in.body_bytes = 400;
    r->head.status = 200;
    r->work = (struct work){.target_name = STR("up"),
                            .upstream_model = str_from(model),
                            .attempts = 1,
                            .sent = true,
                            .head = &r->head,
                            .collected = true};
    r->out = (struct reply){
        .status = 200,
        .end = REPLY_COMPLETE,
        .bytes = 4000,
        .usage = {.input = 60,
                  .cache_read = 40,
                  .output = 10,
                  .said = USAGE_INPUT | USAGE_CACHE_READ | USAGE_OUTPUT,
                  .present = true}};
}

static void rig_bill(struct rig *r)
{
    bill_compute(&r->x, &r->row);
    assert_int_equal(r->bill.cost_nusd, r->row.cost_nusd);
    arena_free(r->prices.mem);
}

#define TOLD (60 * 2000 + 40 * 1000 + 10 * 10000)

static void exact_usage_is_charged(void **state)
{
    struct rig r;

    (void)state; /* cmocka's signature */
    rig_init(&r, ENDPOINT_CHAT, "m");
    rig_bill(&r);
    assert_int_equal(r.bill.outcome, OUTCOME_E);
    assert_int_equal(r.row.cost_nusd, TOLD);
    assert_int_equal(r.row.flags, 0);
    assert_int_equal(r.row.usage_source, ROW_SOURCE_UPSTREAM);
}

static void a_whole_reply_is_exact_though_the_client_left(void **state)
{
    struct rig r;

    (void)state; /* cmocka's signature */
    rig_init(&r, ENDPOINT_CHAT, "m");
    r.x.fail.err = ERR_CLIENT_GONE;
    r.out.end = REPLY_GONE;
    r.out.bytes = 0;
    rig_bill(&r);
    assert_int_equal(r.bill.outcome, OUTCOME_E);
    assert_int_equal(r.row.cost_nusd, TOLD);
}

static void nothing_asked_costs_nothing(void **state)
{
    struct rig r;

    (void)state; /* cmocka's signature */
    rig_init(&r, ENDPOINT_CHAT, "flat");
    r.work.attempts = 0;
    rig_bill(&r);
    assert_int_equal(r.bill.outcome, OUTCOME_Z);
    assert_int_equal(r.row.cost_nusd, 0);
    assert_int_equal(r.row.flags, 0);
    /* nor does a refusal, for which each request has a price */
    rig_init(&r, ENDPOINT_CHAT, "flat");
    r.head.status = 429;
    memset(&r.out.usage, 0, sizeof(r.out.usage));
    rig_bill(&r);
    assert_int_equal(r.bill.outcome, OUTCOME_Z);
    assert_int_equal(r.row.cost_nusd, 0);
}

static void a_broken_stream_is_estimated_and_never_below_what_it_said(
    void **state)
{
    struct rig r;

    (void)state; /* cmocka's signature */
    rig_init(&r, ENDPOINT_MESSAGES, "m");
    r.work.collected = false;
    r.out.streaming = true;
    r.out.end = REPLY_INCOMPLETE;
    r.out.events = 7;
    r.out.text_bytes = 8;
    rig_bill(&r);
    assert_int_equal(r.bill.outcome, OUTCOME_C);
    assert_int_equal(r.row.tok[ROW_TOK_OUTPUT], 10);
    assert_int_equal(r.row.cost_nusd, TOLD);
    assert_int_equal(r.row.flags, ROW_ESTIMATED);
    rig_init(&r, ENDPOINT_MESSAGES, "m");
    r.work.collected = false;
    r.out.streaming = true;
    r.out.end = REPLY_GONE;
    r.out.events = 25;
    rig_bill(&r);
    assert_int_equal(r.row.tok[ROW_TOK_OUTPUT], 25);
    assert_int_equal(r.row.cost_nusd, TOLD + 15 * 10000);
}

/* What <said> of the usage leaves out is guessed, of both kinds of reply. */
static void half_of_a_usage_is_no_measure(void **state)
{
    struct price_cost c;
    struct rig r;

    (void)state; /* cmocka's signature */
    rig_init(&r, ENDPOINT_CHAT, "m");
    r.out.usage.said = USAGE_INPUT;
    r.out.usage.output = 0;
    assert_false(cost_before_body(&r.x, &c));
    rig_bill(&r);
    assert_int_equal(r.bill.outcome, OUTCOME_C);
    assert_int_equal(r.row.flags, ROW_ESTIMATED);
    assert_int_equal(r.row.tok[ROW_TOK_INPUT], 60);
    assert_int_equal(r.row.tok[ROW_TOK_OUTPUT], 1000);
    rig_init(&r, ENDPOINT_CHAT, "m");
    r.out.usage.said = USAGE_OUTPUT;
    r.out.usage.input = 0;
    rig_bill(&r);
    assert_int_equal(r.row.flags, ROW_ESTIMATED);
    assert_int_equal(r.row.tok[ROW_TOK_INPUT], 100);
    assert_int_equal(r.row.tok[ROW_TOK_OUTPUT], 10);
    /* nothing comes out of these */
    rig_init(&r, ENDPOINT_EMBEDDINGS, "m");
    r.out.usage.said = USAGE_INPUT;
    r.out.usage.output = 0;
    rig_bill(&r);
    assert_int_equal(r.bill.outcome, OUTCOME_E);
}

static void text_after_the_usage_is_not_in_it(void **state)
{
    struct rig r;

    (void)state; /* cmocka's signature */
    rig_init(&r, ENDPOINT_MESSAGES, "m");
    r.work.collected = false;
    r.out.streaming = true;
    r.out.events = 25;
    r.out.usage_passed = true;
    r.out.usage_final = true;
    rig_bill(&r);
    assert_int_equal(r.bill.outcome, OUTCOME_C);
    assert_int_equal(r.row.tok[ROW_TOK_OUTPUT], 25);
}

static void what_nobody_knows_is_charged_by_its_input(void **state)
{
    struct rig r;

    (void)state; /* cmocka's signature */
    rig_init(&r, ENDPOINT_CHAT, "flat");
    memset(&r.out.usage, 0, sizeof(r.out.usage));
    r.work.head = NULL;
    r.work.collected = false;
    r.x.fail.err = ERR_CLIENT_GONE;
    r.out.end = REPLY_GONE;
    rig_bill(&r);
    assert_int_equal(r.bill.outcome, OUTCOME_H);
    assert_int_equal(r.row.flags, ROW_IN_DOUBT | ROW_ESTIMATED);
    assert_int_equal(r.row.cost_nusd, 500000000 + 100 * 2000);
}

static void the_engine_s_own_counts_go_before_all(void **state)
{
    struct rig r;

    (void)state; /* cmocka's signature */
    rig_init(&r, ENDPOINT_CHAT, "m");
    r.work.engine = true;
    r.work.target_name = STR("m");
    r.made = (struct made){
        .counted = true, .input_tok = 5, .cached_tok = 3, .output_tok = 2};
    r.out.end = REPLY_GONE;
    r.work.collected = false;
    rig_bill(&r);
    assert_int_equal(r.bill.outcome, OUTCOME_E);
    assert_int_equal(r.row.usage_source, ROW_SOURCE_ENGINE);
    assert_int_equal(r.row.cost_nusd, 5 * 2000 + 3 * 1000 + 2 * 10000);
}

/* An operation, and what is charged and marked when it tells no usage. */
struct blind {
    enum endpoint kind;
    const char *model;
    enum http1_method method;
    int64_t nusd;
    bool unpriced;
};

static void what_tells_no_usage_is_marked_unless_each_is_priced(void **state)
{
    static const struct blind cases[] = {
        {ENDPOINT_PASSTHROUGH, "none", HTTP1_POST, 0, true},
        {ENDPOINT_PASSTHROUGH, "none", HTTP1_GET, 0, false},
        {ENDPOINT_PASSTHROUGH, "none", HTTP1_DELETE, 0, false},
        {ENDPOINT_PASSTHROUGH, "m", HTTP1_POST, 0, true},
        {ENDPOINT_PASSTHROUGH, "only-flat", HTTP1_POST, 250000000, false},
        {ENDPOINT_PASSTHROUGH, "only-flat", HTTP1_GET, 0, false},
        {ENDPOINT_FILE_UPLOAD, "none", HTTP1_POST, 0, false},
        {ENDPOINT_VIDEOS, "none", HTTP1_POST, 0, true},
        {ENDPOINT_MODERATIONS, "only-flat", HTTP1_POST, 250000000, false},
        {ENDPOINT_COUNT_TOKENS, "none", HTTP1_POST, 0, false},
        {ENDPOINT_COUNT_TOKENS, "flat", HTTP1_POST, 0, false},
        {ENDPOINT_TOKENIZE, "none", HTTP1_POST, 0, false},
        {ENDPOINT_IMAGE_GENERATIONS, "only-flat", HTTP1_POST, 250000000, false},
        {ENDPOINT_IMAGE_GENERATIONS, "m", HTTP1_POST, 100 * 2000, true},
        {ENDPOINT_TRANSCRIPTIONS, "time", HTTP1_POST, 0, true},
        {ENDPOINT_EMBEDDINGS, "m", HTTP1_POST, 100 * 2000, false},
        {ENDPOINT_RERANK, "only-flat", HTTP1_POST, 250000000, false},
        {ENDPOINT_CHAT, "none", HTTP1_POST, 0, true},
    };

    (void)state; /* cmocka's signature */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct blind *c = &cases[i];
        struct rig r;

        rig_init(&r, c->kind, c->model);
        r.in.head.method = c->method;
        memset(&r.out.usage, 0, sizeof(r.out.usage));
        rig_bill(&r);
        if (r.row.cost_nusd != c->nusd ||
            ((r.row.flags & ROW_UNPRICED) != 0) != c->unpriced)
            fail_msg("%s of %s: %lld nano-dollars, flags %u", r.in.ep.row->name,
                     c->model, (long long)r.row.cost_nusd,
                     (unsigned)r.row.flags);
    }
}

static void a_tunnel_is_marked(void **state)
{
    struct rig r;

    (void)state; /* cmocka's signature */
    rig_init(&r, ENDPOINT_PASSTHROUGH, "none");
    memset(&r.out.usage, 0, sizeof(r.out.usage));
    r.in.head.method = HTTP1_GET;
    r.in.head.websocket = true;
    rig_bill(&r);
    assert_int_equal(r.row.flags & ROW_UNPRICED, ROW_UNPRICED);
}

static void a_stale_price_is_charged_and_marked(void **state)
{
    struct rig r;

    (void)state; /* cmocka's signature */
    rig_init(&r, ENDPOINT_CHAT, "m");
    r.x.start_wall_ms = NOW_MS + 91 * DAY_MS;
    rig_bill(&r);
    assert_int_equal(r.row.cost_nusd, TOLD);
    assert_int_equal(r.row.flags, ROW_STALE_PRICE);
}

static void the_cost_is_known_before_the_body_of_plain_replies(void **state)
{
    struct price_cost c = {.nusd = -1};
    struct rig r;

    (void)state; /* cmocka's signature */
    rig_init(&r, ENDPOINT_CHAT, "m");
    assert_true(cost_before_body(&r.x, &c));
    assert_int_equal(c.nusd, TOLD);
    r.ask.stream = true;
    assert_false(cost_before_body(&r.x, &c));
    r.ask.stream = false;
    r.out.streaming = true;
    assert_false(cost_before_body(&r.x, &c));
    r.out.streaming = false;
    r.head.status = 400;
    assert_false(cost_before_body(&r.x, &c));
    r.head.status = 200;
    r.work.upstream_model = STR("none");
    assert_false(cost_before_body(&r.x, &c));
    r.work.upstream_model = STR("m");
    r.out.usage.present = false;
    assert_false(cost_before_body(&r.x, &c));
    r.work.head = NULL;
    assert_false(cost_before_body(&r.x, &c));
    arena_free(r.prices.mem);
}

/* --- made for another ------------------------------------------------------
 */

/* The same request answered by what another one paid for. */
static void rig_share(struct rig *r, struct tape_sum *sum, enum recall_how how)
{
    rig_init(r, ENDPOINT_CHAT, "m");
    *sum = (struct tape_sum){.tok = {60, 40, 0, 0, 10},
                             .cost_nusd = TOLD,
                             .target = STR("up"),
                             .usage_source = ROW_SOURCE_UPSTREAM,
                             .flags = ROW_STREAM | ROW_STALE_PRICE};
    r->work.attempts = 0;
    r->found.how = how;
    r->found.sum = sum;
}

static void a_stored_reply_costs_nothing_and_says_what_it_saved(void **state)
{
    static const enum row_cache as[] = {ROW_CACHE_HIT, ROW_CACHE_JOINED};
    struct tape_sum sum;
    struct rig r;

    (void)state; /* cmocka's signature */
    for (int i = 0; i < 2; i++) {
        rig_share(&r, &sum, i == 0 ? RECALL_HIT : RECALL_JOINED);
        rig_bill(&r);
        assert_int_equal(r.bill.outcome, OUTCOME_E);
        assert_int_equal(r.row.cache, as[i]);
        assert_int_equal(r.row.cost_nusd, 0);
        assert_int_equal(r.bill.input_tok + r.bill.output_tok, 0);
        assert_int_equal(r.row.flags, 0);
        assert_int_equal(r.row.usage_source, ROW_SOURCE_UPSTREAM);
        assert_int_equal(r.row.saved_input_tok, 100);
        assert_int_equal(r.row.saved_output_tok, 10);
        assert_int_equal(r.row.saved_nusd, TOLD);
    }
}

static void it_is_charged_in_full_where_the_config_says_so(void **state)
{
    struct tape_sum sum;
    struct rig r;

    (void)state; /* cmocka's signature */
    rig_share(&r, &sum, RECALL_HIT);
    r.conf.cache.charge = CONF_CHARGE_FULL;
    rig_bill(&r);
    assert_int_equal(r.row.cost_nusd, TOLD);
    assert_int_equal(r.row.tok[ROW_TOK_CACHE_READ], 40);
    assert_int_equal(r.bill.input_tok, 100);
    assert_int_equal(r.bill.output_tok, 10);
    assert_int_equal(r.row.flags, ROW_STALE_PRICE);
    assert_int_equal(r.row.saved_nusd, TOLD);
}

static void what_did_not_come_saves_and_costs_nothing(void **state)
{
    struct tape_sum sum;
    struct rig r;

    (void)state; /* cmocka's signature */
    rig_share(&r, &sum, RECALL_JOINED);
    r.conf.cache.charge = CONF_CHARGE_FULL;
    r.x.fail.err = ERR_UP_INCOMPLETE;
    r.out.end = REPLY_INCOMPLETE;
    rig_bill(&r);
    assert_int_equal(r.bill.outcome, OUTCOME_Z);
    assert_int_equal(r.row.cost_nusd + r.row.saved_nusd, 0);
    assert_int_equal(r.row.saved_input_tok, 0);
}

static void a_shared_call_that_goes_on_saves_what_its_reply_says(void **state)
{
    struct tape_sum sum;
    struct rig r;

    (void)state; /* cmocka's signature */
    rig_share(&r, &sum, RECALL_JOINED);
    r.found.sum = NULL;
    rig_bill(&r);
    assert_int_equal(r.row.saved_input_tok, 100);
    assert_int_equal(r.row.saved_output_tok, 10);
    assert_int_equal(r.row.saved_nusd, 0);
    assert_int_equal(r.row.flags, 0);
}

static void who_leaves_a_shared_call_had_what_was_seen_of_it(void **state)
{
    struct tape_sum sum;
    struct rig r;

    (void)state; /* cmocka's signature */
    rig_share(&r, &sum, RECALL_JOINED);
    r.conf.cache.charge = CONF_CHARGE_FULL;
    r.found.sum = NULL;
    r.work.collected = false;
    r.x.fail.err = ERR_CLIENT_GONE;
    r.out = (struct reply){.end = REPLY_GONE, .streaming = true, .events = 7};
    rig_bill(&r);
    assert_int_equal(r.bill.input_tok, 100); /* a fourth of 400 bytes */
    assert_int_equal(r.bill.output_tok, 7);
    assert_int_equal(r.row.saved_output_tok, 7);
    assert_int_equal(r.row.flags, ROW_ESTIMATED | ROW_UNPRICED);
    assert_int_equal(r.row.usage_source, ROW_SOURCE_ESTIMATED);
    rig_share(&r, &sum, RECALL_JOINED);
    r.found.sum = NULL;
    r.x.fail.err = ERR_CLIENT_GONE; /* before anything came */
    r.out = (struct reply){.end = REPLY_GONE};
    rig_bill(&r);
    assert_int_equal(r.row.saved_input_tok + r.row.saved_output_tok, 0);
}

static void a_call_that_others_may_have_is_a_miss_and_paid(void **state)
{
    struct rig r;

    (void)state; /* cmocka's signature */
    rig_init(&r, ENDPOINT_CHAT, "m");
    r.found.how = RECALL_MISS;
    rig_bill(&r);
    assert_int_equal(r.row.cache, ROW_CACHE_MISS);
    assert_int_equal(r.row.cost_nusd, TOLD);
    assert_int_equal(r.row.saved_input_tok + r.row.saved_output_tok, 0);
}

static void its_cost_is_known_before_the_body(void **state)
{
    struct price_cost cost;
    struct tape_sum sum;
    struct rig r;

    (void)state; /* cmocka's signature */
    rig_share(&r, &sum, RECALL_HIT);
    assert_true(cost_before_body(&r.x, &cost));
    assert_int_equal(cost.nusd, 0);
    r.conf.cache.charge = CONF_CHARGE_FULL;
    assert_true(cost_before_body(&r.x, &cost));
    assert_int_equal(cost.nusd, TOLD);
    sum.flags = ROW_UNPRICED;
    assert_false(cost_before_body(&r.x, &cost));
    arena_free(r.prices.mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stored_reply_costs_nothing_and_says_what_it_saved),
        cmocka_unit_test(it_is_charged_in_full_where_the_config_says_so),
        cmocka_unit_test(what_did_not_come_saves_and_costs_nothing),
        cmocka_unit_test(a_shared_call_that_goes_on_saves_what_its_reply_says),
        cmocka_unit_test(who_leaves_a_shared_call_had_what_was_seen_of_it),
        cmocka_unit_test(a_call_that_others_may_have_is_a_miss_and_paid),
        cmocka_unit_test(its_cost_is_known_before_the_body),
        cmocka_unit_test(exact_usage_is_charged),
        cmocka_unit_test(a_whole_reply_is_exact_though_the_client_left),
        cmocka_unit_test(nothing_asked_costs_nothing),
        cmocka_unit_test(
            a_broken_stream_is_estimated_and_never_below_what_it_said),
        cmocka_unit_test(half_of_a_usage_is_no_measure),
        cmocka_unit_test(text_after_the_usage_is_not_in_it),
        cmocka_unit_test(what_nobody_knows_is_charged_by_its_input),
        cmocka_unit_test(the_engine_s_own_counts_go_before_all),
        cmocka_unit_test(what_tells_no_usage_is_marked_unless_each_is_priced),
        cmocka_unit_test(a_tunnel_is_marked),
        cmocka_unit_test(a_stale_price_is_charged_and_marked),
        cmocka_unit_test(the_cost_is_known_before_the_body_of_plain_replies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
