/* t_bound_members.c - Members whose value decides whether a request has a
 * bound. */
#include "unit/bound_kit.h"

/* ---- members ----------------------------------------------------------- */

static const struct {
    const char *more, *param;
} of_chat[] = {
    {",\"foo\":1", "foo"},
    {",\"foo\":null", "foo"},
    {",\"fo\\u006f\":1", "fo\\u006f"},
    {",\"f\\no\":1", "f\\no"},
    {",\"n_predict\":100000", "n_predict"},
    {",\"max_new_tokens\":100000", "max_new_tokens"},
    {",\"max_output_tokens\":100000", "max_output_tokens"},
    {",\"extra_body\":{}", "extra_body"},
    {",\"options\":{\"num_predict\":-1}", "options"},
    {",\"web_search_options\":{\"a\":1}", "web_search_options"},
    {",\"web_search_options\":null", NULL},
    {",\"web_search_options\":{}", NULL},
    {",\"models\":[\"a\",\"b\"]", "models"},
    {",\"models\":[]", NULL},
    {",\"route\":\"fallback\"", "route"},
    {",\"provider\":{\"order\":[\"x\"]}", "provider"},
    {",\"plugins\":[{\"id\":\"web\"}]", "plugins"},
    {",\"transforms\":[\"middle-out\"]", "transforms"},
    {",\"use_beam_search\":true", "use_beam_search"},
    {",\"use_beam_search\":false", NULL},
    {",\"search_parameters\":{\"mode\":\"on\"}", "search_parameters"},
    {",\"service_tier\":\"priority\"", "service_tier"},
    {",\"service_tier\":\"fast\"", "service_tier"},
    {",\"service_tier\":1", "service_tier"},
    {",\"service_tier\":\"auto\"", NULL},
    {",\"service_tier\":\"flex\"", NULL},
    {",\"service_tier\":null", NULL},
    {",\"modalities\":[\"text\"]", NULL},
    {",\"modalities\":[\"text\",\"audio\"],\"audio\":{\"voice\":\"a\"}", NULL},
    {",\"modalities\":[\"text\",\"image\"]", "modalities"},
    {",\"modalities\":[1]", "modalities"},
    {",\"tools\":[{\"type\":\"web_search\"}]", "tools[0]"},
    {",\"tools\":[{\"type\":\"function\",\"type\":\"web_search\"}]",
     "tools[0]"},
    {",\"tools\":[{\"type\":\"web_search\",\"type\":\"function\"}]",
     "tools[0]"},
    {",\"tools\":[{\"type\":\"function\",\"Type\":\"web_search\"}]",
     "tools[0]"},
    {",\"tools\":[{\"type\":\"function\"},{\"google_search\":{}}]", "tools[1]"},
    {",\"tools\":[{\"type\":\"custom\",\"custom\":{}}]", NULL},
    {",\"tools\":[\"function\"]", "tools[0]"},
    {",\"tools\":{}", "tools"},
    {",\"tools\":null", NULL},
    {",\"response_format\":{\"type\":\"json_schema\"},\"seed\":7,"
     "\"metadata\":{\"a\":\"b\"},\"user\":\"u\",\"logprobs\":true,"
     "\"top_logprobs\":5,\"reasoning_effort\":\"high\",\"store\":true,"
     "\"stream\":true,\"stream_options\":{\"include_usage\":true},"
     "\"tool_choice\":\"auto\",\"parallel_tool_calls\":false,\"stop\":[],"
     "\"temperature\":1,\"top_p\":1,\"verbosity\":\"low\","
     "\"logit_bias\":{\"5\":-100},\"presence_penalty\":1,"
     "\"frequency_penalty\":1,\"prompt_cache_key\":\"k\","
     "\"safety_identifier\":\"s\"",
     NULL},
    {",\"top_k\":5,\"min_p\":0.1,\"repetition_penalty\":1.1,"
     "\"chat_template_kwargs\":{\"enable_thinking\":false},"
     "\"structured_outputs\":{},\"grammar\":\"g\",\"min_tokens\":1,"
     "\"ignore_eos\":true,\"reasoning\":{\"effort\":\"low\"},"
     "\"usage\":{\"include\":true},\"thinking\":{\"type\":\"disabled\"}",
     NULL},
};

static void members_are_judged(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, ENDPOINT_CHAT);
    for (size_t i = 0; i < sizeof(of_chat) / sizeof(of_chat[0]); i++)
        chat_case(&r, of_chat[i].more, of_chat[i].param);
}

static void members_may_be_allowed(void **state)
{
    static const struct str allow[] = {
        {"foo", 3}, {"models", 6}, {"n", 1}, {"x_*", 3}, {"tools.web_*", 11}};
    static const struct str all[] = {{"*", 1}};
    struct rig r;

    (void)state;
    rig_init(&r, ENDPOINT_CHAT);
    r.rules.allow = allow;
    r.rules.n_allow = 5;
    chat_case(&r, ",\"foo\":1", NULL);
    chat_case(&r, ",\"\\u0066oo\":1", NULL);
    chat_case(&r, ",\"x_y\":1,\"x_\":2", NULL);
    chat_case(&r, ",\"models\":[\"a\"]", NULL);
    chat_case(&r, ",\"bar\":1", "bar");
    chat_case(&r, ",\"fo\":1", "fo");
    chat_case(&r, ",\"xx_y\":1", "xx_y");
    /* what has a meaning keeps it */
    chat_case(&r, ",\"n\":0", "n");
    chat_case(&r, ",\"tools\":[{\"type\":\"web_search\"}]", NULL);
    chat_case(&r, ",\"tools\":[{\"type\":\"mcp\"}]", "tools[0]");
    /* a glob does not mean what is known to raise the cost */
    r.rules.allow = all;
    r.rules.n_allow = 1;
    chat_case(&r, ",\"bar\":1", NULL);
    chat_case(&r, ",\"models\":[\"a\"]", "models");
    chat_case(&r, ",\"tools\":[{\"type\":\"web_search\"}]", "tools[0]");
}

/* Prices do not matter where only tokens do. */
static void money_is_judged_for_money(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r, ENDPOINT_CHAT);
    r.rules.units = TOKENS;
    chat_case(&r, ",\"service_tier\":\"priority\"", NULL);
    assert_int_equal(rig_ask(&r, "{\"messages\":[{\"cache_control\":{}}]}"),
                     ERR_OK);
    assert_int_equal(r.bound.kinds, PRICE_KINDS_TEXT);
    rig_init(&r, ENDPOINT_MESSAGES);
    r.rules.units = TOKENS;
    assert_int_equal(rig_ask(&r, "{\"speed\":\"fast\"}"), ERR_OK);
    r.rules.units = MONEY;
    assert_int_equal(rig_ask(&r, "{\"speed\":\"fast\"}"), ERR_BAD_PARAM);
    assert_int_equal(rig_ask(&r, "{\"speed\":\"standard\"}"), ERR_OK);
    assert_int_equal(rig_ask(&r, "{\"inference_geo\":\"us\"}"), ERR_BAD_PARAM);
    assert_int_equal(rig_ask(&r, "{\"inference_geo\":\"global\"}"), ERR_OK);
}

static void predictions_cost_what_they_are(void **state)
{
    struct bound b = bound_for(
        ENDPOINT_CHAT, CHAT_HEAD
        ",\"prediction\":{\"type\":\"content\",\"content\":\"abc\"}}");

    (void)state;
    assert_int_equal(b.extra_tok, strlen("{\"type\":\"content\",\"content\":"
                                         "\"abc\"}"));
}

static const struct {
    const char *body, *param;
} of_responses[] = {
    {"{\"input\":\"a\",\"previous_response_id\":\"resp_1\"}",
     "previous_response_id"},
    {"{\"input\":\"a\",\"previous_response_id\":null}", NULL},
    {"{\"input\":\"a\",\"conversation\":\"conv_1\"}", "conversation"},
    {"{\"input\":\"a\",\"conversation\":{\"id\":\"c\"}}", "conversation"},
    {"{\"prompt\":{\"id\":\"pmpt_1\"}}", "prompt"},
    {"{\"input\":\"a\",\"background\":true}", "background"},
    {"{\"input\":\"a\",\"background\":false}", NULL},
    {"{\"input\":\"a\",\"background\":1}", "background"},
    {"{\"input\":\"a\",\"max_tokens\":5}", "max_tokens"},
    {"{\"input\":\"a\",\"n\":5}", "n"},
    {"{\"input\":\"a\",\"context_management\":[{\"type\":\"compaction\"}]}",
     "context_management"},
    {"{\"input\":[{\"type\":\"item_reference\",\"id\":\"msg_1\"}]}",
     "input[0]"},
    {"{\"input\":[{\"id\":\"msg_1\"}]}", "input[0]"},
    {"{\"input\":[{\"id\":\"msg_1\",\"type\":null}]}", "input[0]"},
    {"{\"input\":[{\"role\":\"user\",\"content\":\"a\"},"
     "{\"id\":\"msg_1\",\"role\":\"user\"}]}",
     "input[1]"},
    {"{\"input\":[{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[]}]"
     "}",
     "input[0]"},
    {"{\"input\":[{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[],"
     "\"encrypted_content\":null,\"content\":[]}]}",
     "input[0]"},
    {"{\"input\":[{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[],"
     "\"encrypted_content\":\"gAAAA\"}]}",
     NULL},
    {"{\"input\":[{\"type\":\"reasoning\",\"summary\":[],\"content\":[{"
     "\"type\":\"reasoning_text\",\"text\":\"a\"}]}]}",
     NULL},
    {"{\"input\":[{\"type\":\"web_search_call\",\"id\":\"ws_1\"}]}",
     "input[0]"},
    {"{\"input\":[{\"type\":\"image_generation_call\",\"id\":\"ig_1\"}]}",
     "input[0]"},
    {"{\"input\":[{\"type\":\"mcp_call\"}]}", "input[0]"},
    {"{\"input\":\"a\",\"tools\":[{\"type\":\"function\",\"name\":\"f\"},"
     "{\"type\":\"file_search\"}]}",
     "tools[1]"},
    {"{\"input\":\"a\",\"tools\":[{\"type\":\"code_interpreter\"}]}",
     "tools[0]"},
    {"{\"input\":\"a\",\"tools\":[{\"type\":\"mcp\",\"server_url\":\"x\"}]"
     "}",
     "tools[0]"},
    {"{\"input\":\"a\",\"tools\":[{\"type\":\"namespace\",\"tools\":[{"
     "\"type\":\"function\"}]},{\"type\":\"local_shell\"},"
     "{\"type\":\"custom\",\"name\":\"apply_patch\"}]}",
     NULL},
    {"{\"input\":\"a\",\"tools\":[{\"type\":\"namespace\",\"tools\":[{"
     "\"type\":\"web_search\"}]}]}",
     "tools[0]"},
    {"{\"input\":\"a\",\"tools\":[{\"type\":\"namespace\",\"tools\":[{"
     "\"type\":\"namespace\",\"tools\":[]}]}]}",
     "tools[0]"},
    {"{\"model\":\"m\",\"instructions\":\"i\",\"input\":[{\"type\":"
     "\"message\",\"role\":\"developer\",\"content\":[{\"type\":"
     "\"input_text\",\"text\":\"a\"}]},{\"type\":\"function_call\","
     "\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"{}\"},{\"type\":"
     "\"function_call_output\",\"call_id\":\"c\",\"output\":[{\"type\":"
     "\"input_text\",\"text\":\"b\"}]}],\"tools\":[],\"tool_choice\":"
     "\"auto\",\"parallel_tool_calls\":true,\"reasoning\":{\"effort\":"
     "\"low\"},\"store\":false,\"stream\":true,\"include\":[\"reasoning."
     "encrypted_content\"],\"prompt_cache_key\":\"k\",\"text\":{},"
     "\"client_metadata\":{},\"truncation\":\"auto\",\"top_logprobs\":1}",
     NULL},
    {"{\"input\":[{\"type\":\"function_call_output\",\"output\":[{\"type\":"
     "\"input_file\",\"file_id\":\"file_1\"}]}]}",
     "input[0]"},
    {"{\"input\":[{\"type\":\"computer_call_output\",\"output\":{\"type\":"
     "\"computer_screenshot\",\"image_url\":\"data:x\"}}]}",
     "input[0]"},
};

static void responses_are_judged(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(of_responses) / sizeof(of_responses[0]); i++)
        body_case(ENDPOINT_RESPONSES, of_responses[i].body,
                  of_responses[i].param);
}

static const struct {
    const char *body, *param;
} of_messages[] = {
    {"{\"max_tokens\":9,\"system\":[{\"type\":\"text\",\"text\":\"s\","
     "\"cache_control\":{\"type\":\"ephemeral\"}}],\"messages\":[{\"role\":"
     "\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":[{"
     "\"type\":\"thinking\",\"thinking\":\"t\",\"signature\":\"s\"},{"
     "\"type\":\"redacted_thinking\",\"data\":\"d\"},{\"type\":"
     "\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{\"type\":\"file\""
     ",\"file_id\":\"x\",\"image\":\"y\"}}]},{\"role\":\"user\","
     "\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"t\","
     "\"content\":[{\"type\":\"text\",\"text\":\"r\"}]}]}],\"tools\":[{"
     "\"name\":\"f\",\"input_schema\":{}},{\"type\":\"bash_20250124\","
     "\"name\":\"bash\"},{\"type\":\"text_editor_20250728\"},{\"type\":"
     "\"custom\"}],\"tool_choice\":{\"type\":\"auto\"},\"metadata\":{},"
     "\"stop_sequences\":[],\"thinking\":{\"type\":\"adaptive\"},"
     "\"output_config\":{},\"context_management\":{\"edits\":[{\"type\":"
     "\"clear_thinking_20251015\",\"keep\":\"all\"}]}}",
     NULL},
    {"{\"tools\":[{\"type\":\"web_search_20250305\"}]}", "tools[0]"},
    {"{\"tools\":[{\"type\":\"web_fetch_20250910\"}]}", "tools[0]"},
    {"{\"tools\":[{\"type\":\"code_execution_20250825\"}]}", "tools[0]"},
    {"{\"tools\":[{\"type\":\"bash_\"}]}", "tools[0]"},
    {"{\"tools\":[{\"type\":\"bash_web_search\"}]}", "tools[0]"},
    {"{\"tools\":[{\"type\":1}]}", "tools[0]"},
    {"{\"mcp_servers\":[{\"url\":\"x\"}]}", "mcp_servers"},
    {"{\"mcp_servers\":[]}", NULL},
    {"{\"container\":\"c\"}", "container"},
    {"{\"context_management\":{\"edits\":[{\"type\":\"compact_20260112\"}]}"
     "}",
     "context_management"},
    {"{\"context_management\":{\"edits\":[{\"type\":\"clear_x\",\"type\":"
     "\"compact_20260112\"}]}}",
     "context_management"},
    {"{\"context_management\":{\"other\":1}}", "context_management"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\","
     "\"source\":{\"type\":\"url\",\"url\":\"x\"}}]}]}",
     "messages[0]"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
     "\"tool_result\",\"content\":[{\"type\":\"image\",\"source\":{}}]}]}]"
     "}",
     "messages[0]"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
     "\"document\",\"source\":{\"type\":\"text\",\"data\":\"abc\"}}]}]}",
     NULL},
    {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
     "\"document\",\"source\":{\"type\":\"content\",\"content\":[{\"type\":"
     "\"text\",\"text\":\"a\"}]}}]}]}",
     NULL},
    {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
     "\"document\",\"source\":{\"type\":\"content\",\"content\":[{\"type\":"
     "\"image\",\"source\":{}}]}}]}]}",
     "messages[0]"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
     "\"document\",\"source\":{\"type\":\"text\",\"type\":\"base64\","
     "\"data\":\"abc\"}}]}]}",
     "messages[0]"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
     "\"document\",\"source\":{\"type\":\"file\",\"file_id\":\"f\"}}]}]}",
     "messages[0]"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
     "\"container_upload\",\"file_id\":\"f\"}]}]}",
     "messages[0]"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
     "\"search_result\",\"source\":\"https://x\",\"title\":\"t\","
     "\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}]}]}",
     NULL},
};

static void messages_are_judged(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(of_messages) / sizeof(of_messages[0]); i++)
        body_case(ENDPOINT_MESSAGES, of_messages[i].body, of_messages[i].param);
}

/* What a stream does not show of what it generates. */
static void thoughts_may_be_unseen(void **state)
{
    static const struct {
        const char *more;
        bool unseen;
    } rows[] = {
        {"", false},
        {",\"reasoning_effort\":\"none\"", false},
        {",\"reasoning_effort\":null", false},
        {",\"reasoning_effort\":\"minimal\"", true},
        {",\"reasoning_effort\":1", true},
        {",\"reasoning\":{}", false},
        {",\"reasoning\":{\"enabled\":false}", false},
        {",\"reasoning\":{\"effort\":\"none\"}", false},
        {",\"reasoning\":{\"effort\":\"none\",\"effort\":\"high\"}", true},
        {",\"reasoning\":{\"summary\":\"auto\"}", true},
        {",\"reasoning\":{\"max_tokens\":5}", true},
        {",\"thinking\":{\"type\":\"disabled\"}", false},
        {",\"thinking\":{\"type\":\"enabled\"}", true},
        {",\"enable_thinking\":false", false},
        {",\"enable_thinking\":true", true},
        {",\"thinking_budget\":0", false},
        {",\"thinking_budget\":9", true},
        {",\"reasoning_format\":\"hidden\"", true},
        {",\"reasoning_format\":\"parsed\"", false},
        {",\"modalities\":[\"text\"]", false},
        {",\"modalities\":[\"text\",\"audio\"]", true},
        {",\"best_of\":2", true},
        {",\"n\":2,\"best_of\":2", false},
    };
    struct rig r;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        rig_init(&r, ENDPOINT_CHAT);
        chat_case(&r, rows[i].more, NULL);
        if (r.bound.unseen != rows[i].unseen)
            fail_msg("%s", rows[i].more);
    }
    rig_init(&r, ENDPOINT_CHAT);
    r.rules.priced |= 1U << CONF_PRICE_REASONING;
    chat_case(&r, "", NULL);
    assert_true(r.bound.unseen);
    rig_init(&r, ENDPOINT_MESSAGES);
    assert_int_equal(rig_ask(&r, "{\"thinking\":{\"type\":\"adaptive\"}}"),
                     ERR_OK);
    assert_true(r.bound.unseen);
    assert_int_equal(rig_ask(&r, "{\"thinking\":{\"type\":\"disabled\"}}"),
                     ERR_OK);
    assert_false(r.bound.unseen);
}

static void families_may_hide_thoughts(void **state)
{
    static const char *const hide[] = {"o1",
                                       "o3-mini",
                                       "o4-mini-2025-04-16",
                                       "openai/o3",
                                       "gpt-5",
                                       "gpt-5.1",
                                       "gpt-5-mini",
                                       "gpt-10",
                                       "GPT-5",
                                       "a/b/gpt-6-x",
                                       "gemini-2.5-pro",
                                       "google/gemini-3-pro",
                                       "grok-4",
                                       "codex-mini-latest"};
    static const char *const show[] = {
        "",       "o",        "gpt-",  "gpt-4o",        "gpt-4.1",
        "olmo-2", "openai/",  "qwen3", "gpt-oss-120b",  "chatgpt-4o-latest",
        "demo",   "o3/qwen3", "/",     "claude-opus-4", "deepseek-reasoner"};

    (void)state;
    for (size_t i = 0; i < sizeof(hide) / sizeof(hide[0]); i++)
        if (!bound_hides_thoughts(str_from(hide[i])))
            fail_msg("%s", hide[i]);
    for (size_t i = 0; i < sizeof(show) / sizeof(show[0]); i++)
        if (bound_hides_thoughts(str_from(show[i])))
            fail_msg("%s", show[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_judged),
        cmocka_unit_test(members_may_be_allowed),
        cmocka_unit_test(money_is_judged_for_money),
        cmocka_unit_test(predictions_cost_what_they_are),
        cmocka_unit_test(responses_are_judged),
        cmocka_unit_test(messages_are_judged),
        cmocka_unit_test(thoughts_may_be_unseen),
        cmocka_unit_test(families_may_hide_thoughts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
