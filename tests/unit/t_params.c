/* t_params.c - What a request may ask of the engine, and what is refused under
 * which name. Each case is a whole body, as clients send it. */
#include "cmocka_all.h"

#include "base/arena.h"
#include "engine/params.h"

#define VOCAB 1000

/* A body being read. */
struct fixture {
    struct arena *mem;
    json_t *body;
    struct params p;
    struct params_fault why;
};

static enum err read_as(struct fixture *f, enum endpoint kind, const char *text)
{
    *f = (struct fixture){.mem = arena_new(4096, 1u << 20)};
    f->body = json_loads(text, JSON_ALLOW_NUL, NULL);
    assert_non_null(f->body);
    return params_read(f->body, kind, VOCAB, f->mem, &f->why, &f->p);
}

static void drop(struct fixture *f)
{
    params_fini(&f->p);
    json_decref(f->body);
    arena_free(f->mem);
}

/* --- what is refused ---------------------------------------------------- */

struct refusal {
    enum endpoint kind;
    const char *body;
    const char *param;
};

#define CHAT ENDPOINT_CHAT
#define TEXT ENDPOINT_COMPLETIONS
#define TOOL(more)                                                             \
    "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}]" more  \
    "}"

static const struct refusal refusals[] = {
    {CHAT, "{\"temperature\":2.1}", "temperature"},
    {CHAT, "{\"temperature\":-0.1}", "temperature"},
    {CHAT, "{\"temperature\":\"1\"}", "temperature"},
    {CHAT, "{\"temperature\":true}", "temperature"},
    {CHAT, "{\"top_p\":1.01}", "top_p"},
    {CHAT, "{\"min_p\":-1}", "min_p"},
    {CHAT, "{\"top_k\":-2}", "top_k"},
    {CHAT, "{\"top_k\":1.5}", "top_k"},
    {CHAT, "{\"presence_penalty\":2.5}", "presence_penalty"},
    {CHAT, "{\"frequency_penalty\":-2.5}", "frequency_penalty"},
    {CHAT, "{\"repetition_penalty\":0}", "repetition_penalty"},
    {CHAT, "{\"repeat_penalty\":11}", "repeat_penalty"},
    {CHAT, "{\"seed\":1.5}", "seed"},
    {CHAT, "{\"seed\":\"a\"}", "seed"},
    {CHAT, "{\"n\":0}", "n"},
    {CHAT, "{\"n\":129}", "n"},
    {CHAT, "{\"max_tokens\":0}", "max_tokens"},
    {CHAT, "{\"max_completion_tokens\":-5}", "max_completion_tokens"},
    {TEXT, "{\"max_tokens\":0}", "max_tokens"},
    {TEXT, "{\"max_tokens\":1.2}", "max_tokens"},
    {CHAT, "{\"min_tokens\":3}", "min_tokens"},
    {CHAT, "{\"ignore_eos\":1}", "ignore_eos"},
    {CHAT, "{\"stop\":7}", "stop"},
    {CHAT, "{\"stop\":\"\"}", "stop"},
    {CHAT, "{\"stop\":[\"a\",3]}", "stop[1]"},
    {CHAT, "{\"stop\":[\"\"]}", "stop[0]"},
    {CHAT, "{\"stop\":{}}", "stop"},
    {CHAT, "{\"stop\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}", "stop"},
    {CHAT, "{\"stop_token_ids\":[1000]}", "stop_token_ids[0]"},
    {CHAT, "{\"logit_bias\":[]}", "logit_bias"},
    {CHAT, "{\"logit_bias\":{\"x\":1}}", "logit_bias.x"},
    {CHAT, "{\"logit_bias\":{\"1000\":1}}", "logit_bias.1000"},
    {CHAT, "{\"logit_bias\":{\"-1\":1}}", "logit_bias.-1"},
    {CHAT, "{\"logit_bias\":{\"1\":101}}", "logit_bias.1"},
    {CHAT, "{\"logit_bias\":{\"1\":\"a\"}}", "logit_bias.1"},
    {CHAT, "{\"logprobs\":1}", "logprobs"},
    {CHAT, "{\"top_logprobs\":3}", "top_logprobs"},
    {CHAT, "{\"logprobs\":true,\"top_logprobs\":21}", "top_logprobs"},
    {TEXT, "{\"logprobs\":21}", "logprobs"},
    {TEXT, "{\"logprobs\":true}", "logprobs"},
    {TEXT, "{\"logprobs\":false}", "logprobs"},
    {CHAT, "{\"user\":5}", "user"},
    {CHAT, "{\"store\":\"yes\"}", "store"},
    {CHAT, "{\"enable_thinking\":\"x\"}", "enable_thinking"},
    {CHAT, "{\"reasoning_effort\":3}", "reasoning_effort"},
    {CHAT, "{\"modalities\":\"audio\"}", "modalities"},
    {CHAT, "{\"modalities\":[1]}", "modalities[0]"},
    {CHAT, "{\"guided_json\":\"{}\"}", "guided_json"},
    {CHAT, "{\"suffix\":false}", "suffix"},
    {CHAT, "{\"stream_options\":{\"include_obfuscation\":1}}",
     "stream_options.include_obfuscation"},
    {TEXT, "{\"n\":3,\"best_of\":2}", "best_of"},
    {TEXT, "{\"best_of\":21}", "best_of"},
    {TEXT, "{\"best_of\":2,\"stream\":true}", "best_of"},
    {TEXT, "{\"suffix\":\"x\"}", "suffix"},
    {TEXT, "{\"echo\":\"yes\"}", "echo"},
    {CHAT, "{\"audio\":{}}", "audio"},
    {CHAT, "{\"modalities\":[\"text\",\"audio\"]}", "modalities"},
    {CHAT, "{\"functions\":[{}]}", "functions"},
    {CHAT, "{\"grammar\":\"root ::= x\"}", "grammar"},
    {CHAT, "{\"cache_salt\":\"\"}", "cache_salt"},
    {CHAT, "{\"cache_salt\":3}", "cache_salt"},
    {TEXT, "{\"prompt_cache_key\":3}", "prompt_cache_key"},
    {CHAT, "{\"chat_template_kwargs\":[]}", "chat_template_kwargs"},
    {CHAT, "{\"response_format\":\"json\"}", "response_format"},
    {CHAT, "{\"response_format\":{\"type\":\"xml\"}}", "response_format.type"},
    {CHAT, "{\"response_format\":{\"type\":\"json_schema\"}}",
     "response_format.json_schema"},
    {CHAT,
     "{\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{}}}",
     "response_format.json_schema.name"},
    {CHAT,
     "{\"response_format\":{\"type\":\"json_schema\",\"json_schema\":"
     "{\"name\":\"a\",\"schema\":[]}}}",
     "response_format.json_schema.schema"},
    {CHAT, "{\"tools\":{}}", "tools"},
    {CHAT, "{\"tools\":[3]}", "tools[0]"},
    {CHAT, "{\"tools\":[{\"type\":\"custom\"}]}", "tools[0].type"},
    {CHAT, "{\"tools\":[{\"type\":\"function\"}]}", "tools[0].function"},
    {CHAT, "{\"tools\":[{\"type\":\"function\",\"function\":{}}]}",
     "tools[0].function.name"},
    {CHAT,
     "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a b\"}}]}",
     "tools[0].function.name"},
    {CHAT,
     "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a\","
     "\"parameters\":[]}}]}",
     "tools[0].function.parameters"},
    {CHAT,
     "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a\"}},"
     "{\"type\":\"function\",\"function\":{\"name\":\"a\"}}]}",
     "tools"},
    {CHAT, "{\"tool_choice\":\"required\"}", "tool_choice"},
    {CHAT, TOOL(",\"tool_choice\":\"must\""), "tool_choice"},
    {CHAT, TOOL(",\"tool_choice\":3"), "tool_choice"},
    {CHAT, TOOL(",\"tool_choice\":{\"type\":\"function\"}"),
     "tool_choice.function"},
    {CHAT, TOOL(",\"tool_choice\":{\"type\":\"function\",\"function\":{}}"),
     "tool_choice.function.name"},
    {CHAT,
     TOOL(",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":"
          "\"g\"}}"),
     "tool_choice"},
    {CHAT,
     TOOL(",\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":"
          "{\"mode\":\"auto\",\"tools\":[{\"type\":\"function\",\"function\":"
          "{\"name\":\"g\"}}]}}"),
     "tool_choice.allowed_tools.tools"},
    {CHAT,
     TOOL(",\"tool_choice\":{\"type\":\"allowed_tools\",\"allowed_tools\":"
          "{\"mode\":\"required\",\"tools\":[]}}"),
     "tool_choice"},
    {CHAT, TOOL(",\"parallel_tool_calls\":\"no\""), "parallel_tool_calls"},
    {CHAT, TOOL(",\"response_format\":{\"type\":\"json_object\"}"),
     "response_format"},
};

static void wrong_values_are_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        const struct refusal *r = &refusals[i];
        struct fixture f;
        enum err e = read_as(&f, r->kind, r->body);

        if (e != ERR_BAD_PARAM || strcmp(f.why.param, r->param) != 0)
            fail_msg("%s: err=%s param=\"%s\" text=\"%s\"", r->body,
                     err_name(e), f.why.param, f.why.text);
        assert_true(strlen(f.why.text) > 10);
        drop(&f);
    }
}

/* --- what is taken ------------------------------------------------------ */

static void defaults_are_those_of_the_api(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(read_as(&f, CHAT, "{\"seed\":null,\"n\":null}"), ERR_OK);
    assert_true(f.p.sampling.temperature == 1.0f);
    assert_true(f.p.sampling.top_p == 1.0f);
    assert_true(f.p.sampling.repetition_penalty == 1.0f);
    assert_int_equal(f.p.n, 1);
    assert_int_equal(f.p.best_of, 1);
    assert_int_equal(f.p.max_tokens, -1);
    assert_int_equal(f.p.format, PARAMS_TEXT);
    assert_int_equal(f.p.tool_choice, PARAMS_TOOLS_NONE);
    assert_true(f.p.parallel && f.p.add_generation);
    assert_false(f.p.logprobs || f.p.echo || f.p.ignore_eos);
    drop(&f);
    assert_int_equal(read_as(&f, TEXT, "{}"), ERR_OK);
    assert_int_equal(f.p.max_tokens, 16);
    drop(&f);
}

static void a_request_without_a_seed_draws_its_own(void **state)
{
    struct fixture a, b;

    (void)state;
    assert_int_equal(read_as(&a, CHAT, "{}"), ERR_OK);
    assert_int_equal(read_as(&b, CHAT, "{}"), ERR_OK);
    assert_true(a.p.sampling.seed != b.p.sampling.seed);
    drop(&a);
    drop(&b);
    assert_int_equal(read_as(&a, CHAT, "{\"seed\":-3}"), ERR_OK);
    assert_true(a.p.sampling.seed == (uint64_t)-3);
    drop(&a);
}

static void numbers_may_be_written_either_way(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(read_as(&f, CHAT,
                             "{\"temperature\":0,\"n\":2.0,\"top_k\":-1,"
                             "\"max_tokens\":7,\"max_completion_tokens\":1e1,"
                             "\"logit_bias\":{\"5\":-100,\"7\":2.5}}"),
                     ERR_OK);
    assert_true(f.p.sampling.temperature == 0.0f);
    assert_int_equal(f.p.n, 2);
    assert_int_equal(f.p.sampling.top_k, 0);
    assert_int_equal(f.p.max_tokens, 10);
    assert_int_equal(f.p.sampling.n_bias, 2);
    assert_int_equal(f.p.sampling.bias[0].id, 5);
    assert_true(f.p.sampling.bias[1].bias == 2.5f);
    drop(&f);
}

/* Decimals are what integers past 64 bits are read as. */
static void a_number_too_big_is_out_of_range(void **state)
{
    static const char *const names[] = {"seed", "max_tokens", "top_k", "n"};
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char body[80];

        for (int sign = 0; sign < 2; sign++) {
            snprintf(body, sizeof(body), "{\"%s\":%s1.8446744073709552e19}",
                     names[i], sign ? "-" : "");
            assert_int_equal(read_as(&f, CHAT, body), ERR_BAD_PARAM);
            assert_string_equal(f.why.param, names[i]);
            assert_non_null(strstr(f.why.text, "expected an integer from"));
            drop(&f);
        }
    }
}

static void a_seed_may_be_what_the_api_allows(void **state)
{
    static const struct {
        const char *text;
        uint64_t seed;
    } rows[] = {
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", (uint64_t)INT64_MIN},
        {"9.223372036854775807e18", UINT64_C(1) << 63},
        {"-9.223372036854776e18", UINT64_C(1) << 63},
        {"4e18", UINT64_C(4000000000000000000)},
        {"12.0", 12},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fixture f;
        char body[80];

        snprintf(body, sizeof(body), "{\"seed\":%s}", rows[i].text);
        assert_int_equal(read_as(&f, CHAT, body), ERR_OK);
        assert_true(f.p.sampling.seed == rows[i].seed);
        drop(&f);
    }
}

static void who_shares_is_read_on_both_endpoints(void **state)
{
    static const enum endpoint kinds[] = {CHAT, TEXT};
    struct fixture f;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(read_as(&f, kinds[i],
                                 "{\"cache_salt\":\"ab\","
                                 "\"prompt_cache_key\":\"c\\u0000d\"}"),
                         ERR_OK);
        assert_true(str_eq(f.p.cache_salt, STR("ab")));
        assert_true(str_eq(f.p.cache_key, STR("c\0d")));
        drop(&f);
        assert_int_equal(read_as(&f, kinds[i], "{\"prompt_cache_key\":null}"),
                         ERR_OK);
        assert_int_equal(f.p.cache_salt.len, 0);
        assert_int_equal(f.p.cache_key.len, 0);
        drop(&f);
        assert_int_equal(read_as(&f, kinds[i], "{\"prompt_cache_key\":\"\"}"),
                         ERR_OK);
        assert_int_equal(f.p.cache_key.len, 0);
        drop(&f);
    }
}

static void stops_come_alone_or_as_a_list(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(read_as(&f, CHAT, "{\"stop\":\"a\\u0000b\"}"), ERR_OK);
    assert_int_equal(f.p.n_stops, 1);
    assert_int_equal(f.p.stops[0].len, 3);
    drop(&f);
    assert_int_equal(
        read_as(&f, CHAT, "{\"stop\":[\"x\",\"yz\"],\"stop_token_ids\":[3]}"),
        ERR_OK);
    assert_int_equal(f.p.n_stops, 2);
    assert_true(str_eq(f.p.stops[1], STR("yz")));
    assert_int_equal(f.p.n_stop_ids, 1);
    assert_int_equal(f.p.stop_ids[0], 3);
    drop(&f);
    assert_int_equal(read_as(&f, CHAT, "{\"stop\":[]}"), ERR_OK);
    assert_int_equal(f.p.n_stops, 0);
    drop(&f);
}

static void logprobs_differ_by_endpoint(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(
        read_as(&f, CHAT, "{\"logprobs\":true,\"top_logprobs\":20}"), ERR_OK);
    assert_true(f.p.logprobs);
    assert_int_equal(f.p.top_logprobs, 20);
    drop(&f);
    assert_int_equal(read_as(&f, TEXT,
                             "{\"logprobs\":0,\"echo\":true,"
                             "\"max_tokens\":0}"),
                     ERR_OK);
    assert_true(f.p.logprobs && f.p.echo);
    assert_int_equal(f.p.top_logprobs, 0);
    assert_int_equal(f.p.max_tokens, 0);
    drop(&f);
    assert_int_equal(read_as(&f, TEXT, "{\"n\":2,\"best_of\":4}"), ERR_OK);
    assert_int_equal(f.p.n, 2);
    assert_int_equal(f.p.best_of, 4);
    drop(&f);
}

static void formats_find_their_schema(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(
        read_as(&f, CHAT, "{\"response_format\":{\"type\":\"text\"}}"), ERR_OK);
    assert_int_equal(f.p.format, PARAMS_TEXT);
    drop(&f);
    assert_int_equal(
        read_as(&f, CHAT, "{\"response_format\":{\"type\":\"json_object\"}}"),
        ERR_OK);
    assert_int_equal(f.p.format, PARAMS_JSON_OBJECT);
    drop(&f);
    assert_int_equal(
        read_as(&f, CHAT,
                "{\"response_format\":{\"type\":\"json_schema\","
                "\"json_schema\":{\"name\":\"x\",\"strict\":true,\"schema\":"
                "{\"type\":\"integer\"}}}}"),
        ERR_OK);
    assert_int_equal(f.p.format, PARAMS_JSON_SCHEMA);
    assert_string_equal(json_string_value(json_object_get(f.p.schema, "type")),
                        "integer");
    assert_string_equal(f.p.schema_at, "response_format.json_schema.schema");
    drop(&f);
    assert_int_equal(read_as(&f, CHAT, "{\"guided_json\":{\"type\":\"null\"}}"),
                     ERR_OK);
    assert_int_equal(f.p.format, PARAMS_JSON_SCHEMA);
    drop(&f);
}

static void tool_choice_takes_every_form(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(read_as(&f, CHAT, TOOL("")), ERR_OK);
    assert_int_equal(f.p.tool_choice, PARAMS_TOOLS_AUTO);
    drop(&f);
    assert_int_equal(read_as(&f, CHAT, TOOL(",\"tool_choice\":\"none\"")),
                     ERR_OK);
    assert_int_equal(f.p.tool_choice, PARAMS_TOOLS_NONE);
    drop(&f);
    assert_int_equal(read_as(&f, CHAT,
                             TOOL(",\"tool_choice\":\"required\","
                                  "\"parallel_tool_calls\":false")),
                     ERR_OK);
    assert_int_equal(f.p.tool_choice, PARAMS_TOOLS_REQUIRED);
    assert_int_equal(f.p.only.len, 0);
    assert_false(f.p.parallel);
    drop(&f);
    assert_int_equal(
        read_as(&f, CHAT,
                TOOL(",\"tool_choice\":{\"type\":\"function\",\"function\":"
                     "{\"name\":\"f\"}}")),
        ERR_OK);
    assert_int_equal(f.p.tool_choice, PARAMS_TOOLS_REQUIRED);
    assert_true(str_eq(f.p.only, STR("f")));
    drop(&f);
    assert_int_equal(
        read_as(&f, CHAT,
                "{\"tools\":[{\"type\":\"function\",\"function\":{\"name\":"
                "\"a\"}},{\"type\":\"function\",\"function\":{\"name\":\"b\"}}]"
                ",\"tool_choice\":{\"type\":\"allowed_tools\","
                "\"allowed_tools\":{\"mode\":\"required\",\"tools\":[{\"type\":"
                "\"function\",\"function\":{\"name\":\"b\"}}]}}}"),
        ERR_OK);
    assert_int_equal(f.p.tool_choice, PARAMS_TOOLS_REQUIRED);
    assert_int_equal(json_array_size(f.p.tools), 1);
    drop(&f);
}

static void unknown_and_idle_members_are_passed_over(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(
        read_as(&f, CHAT,
                "{\"novel\":[1,{}],\"user\":\"u\",\"store\":true,"
                "\"metadata\":{\"a\":\"b\"},\"service_tier\":\"flex\","
                "\"suffix\":null,\"functions\":[],\"audio\":null,"
                "\"modalities\":[\"text\"],\"cache_prompt\":true,"
                "\"min_tokens\":0,\"tools\":[],\"tool_choice\":\"auto\"}"),
        ERR_OK);
    assert_int_equal(f.p.tool_choice, PARAMS_TOOLS_NONE);
    drop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_values_are_refused_by_name),
        cmocka_unit_test(defaults_are_those_of_the_api),
        cmocka_unit_test(a_request_without_a_seed_draws_its_own),
        cmocka_unit_test(numbers_may_be_written_either_way),
        cmocka_unit_test(a_number_too_big_is_out_of_range),
        cmocka_unit_test(a_seed_may_be_what_the_api_allows),
        cmocka_unit_test(who_shares_is_read_on_both_endpoints),
        cmocka_unit_test(stops_come_alone_or_as_a_list),
        cmocka_unit_test(logprobs_differ_by_endpoint),
        cmocka_unit_test(formats_find_their_schema),
        cmocka_unit_test(tool_choice_takes_every_form),
        cmocka_unit_test(unknown_and_idle_members_are_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
