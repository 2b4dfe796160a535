/* t_unfold.c - Plain replies told in events: what the events are, and that
 * they amount to the reply again. */
#include "fold_kit.h"

/* The stream of <json> as text, with ' for ", in <out>. */
static void tell(enum endpoint kind, const char *json, bool include_usage,
                 struct buf *out)
{
    char *copy = strdup(json);

    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    buf_init(out, KIT_MAX);
    assert_int_equal(unfold_reply(kind, str_from(copy), include_usage, out),
                     ERR_OK);
    free(copy);
    for (size_t i = 0; i < out->len; i++)
        out->p[i] = out->p[i] == '"' ? '\'' : out->p[i];
    assert_int_equal(buf_put(out, "", 1), ERR_OK);
}

#define CHUNK                                                                  \
    "data: {'object':'chat.completion.chunk','id':'c','created':7,'model':'m'"

static void chat_is_told_in_chunks(void **state)
{
    static const char json[] =
        "{'id':'c','object':'chat.completion','created':7,'model':'m',\n"
        " 'choices':[{'index':0,'message':{'role':'assistant','content':'Hi',"
        "'refusal':null},'logprobs':null,'finish_reason':'stop'}],\r\n"
        "'usage':{'prompt_tokens':1,'completion_tokens':2,'total_tokens':3},"
        "'timings':[1,\n2]}";
    struct buf out;

    (void)state;
    tell(ENDPOINT_CHAT, json, true, &out);
    assert_string_equal(
        out.p,
        CHUNK ",'choices':[{'index':0,'delta':{'role':'assistant','content':'',"
              "'refusal':null},'logprobs':null,'finish_reason':null}],"
              "'usage':null}\n\n" //
        CHUNK ",'choices':[{'index':0,'delta':{'content':'Hi'},'logprobs':null,"
              "'finish_reason':null}],'usage':null}\n\n" //
        CHUNK ",'choices':[{'index':0,'delta':{},'logprobs':null,"
              "'finish_reason':'stop'}],'timings':[1,2],'usage':null}\n\n" //
        CHUNK ",'choices':[],'usage':{'prompt_tokens':1,'completion_tokens':2,"
              "'total_tokens':3}}\n\ndata: [DONE]\n\n");
    buf_fini(&out);
    tell(ENDPOINT_CHAT, json, false, &out);
    assert_null(strstr(out.p, "usage"));
    buf_fini(&out);
}

static void tool_calls_are_told_in_pieces(void **state)
{
    struct buf out;

    (void)state;
    tell(ENDPOINT_CHAT,
         "{'choices':[{'message':{'content':null,'tool_calls':[{'id':'t','type'"
         ":'function','function':{'name':'f','arguments':'{}'}}]},"
         "'finish_reason':'tool_calls'}]}",
         false, &out);
    assert_string_equal(
        out.p,
        "data: {'object':'chat.completion.chunk','choices':[{'index':0,'delta':"
        "{'role':'assistant','content':null},'finish_reason':null}]}\n\n"
        "data: {'object':'chat.completion.chunk','choices':[{'index':0,'delta':"
        "{'tool_calls':[{'index':0,'id':'t','type':'function','function':{"
        "'arguments':'','name':'f'}}]},'finish_reason':null}]}\n\n"
        "data: {'object':'chat.completion.chunk','choices':[{'index':0,'delta':"
        "{'tool_calls':[{'index':0,'function':{'arguments':'{}'}}]},"
        "'finish_reason':null}]}\n\n"
        "data: {'object':'chat.completion.chunk','choices':[{'index':0,'delta':"
        "{},'finish_reason':'tool_calls'}]}\n\ndata: [DONE]\n\n");
    buf_fini(&out);
}

static void a_message_is_told_in_events(void **state)
{
    struct buf out;

    (void)state;
    tell(ENDPOINT_MESSAGES,
         "{'id':'m','type':'message','content':[{'type':'text','text':'Hi'},{"
         "'type':'tool_use','id':'t','name':'f','input':{'a': 1}}],"
         "'stop_reason':'tool_use','stop_sequence':null,'usage':{"
         "'input_tokens':3,'output_tokens':9}}",
         false, &out);
    assert_string_equal(
        out.p,
        "event: message_start\ndata: {'type':'message_start','message':{'id':"
        "'m','type':'message','content':[],'stop_reason':null,"
        "'stop_sequence':null,'usage':{'input_tokens':3,'output_tokens':0}}}"
        "\n\n"
        "event: content_block_start\ndata: {'type':'content_block_start',"
        "'index':0,'content_block':{'type':'text','text':''}}\n\n"
        "event: content_block_delta\ndata: {'type':'content_block_delta',"
        "'index':0,'delta':{'type':'text_delta','text':'Hi'}}\n\n"
        "event: content_block_stop\ndata: {'type':'content_block_stop',"
        "'index':0}\n\n"
        "event: content_block_start\ndata: {'type':'content_block_start',"
        "'index':1,'content_block':{'type':'tool_use','id':'t','name':'f',"
        "'input':{}}}\n\n"
        "event: content_block_delta\ndata: {'type':'content_block_delta',"
        "'index':1,'delta':{'type':'input_json_delta','partial_json':''}}\n\n"
        "event: content_block_delta\ndata: {'type':'content_block_delta',"
        "'index':1,'delta':{'type':'input_json_delta','partial_json':"
        "'{\\'a\\': 1}'}}\n\n"
        "event: content_block_stop\ndata: {'type':'content_block_stop',"
        "'index':1}\n\n"
        "event: message_delta\ndata: {'type':'message_delta','delta':{"
        "'stop_reason':'tool_use','stop_sequence':null},'usage':{"
        "'output_tokens':9}}\n\n"
        "event: message_stop\ndata: {'type':'message_stop'}\n\n");
    buf_fini(&out);
}

/* The types of the events of <out>, a line each. */
static void types_of(struct str rest, char *to, size_t room)
{
    struct str event;
    size_t at = 0;

    while (unfold_next(&rest, &event)) {
        size_t len = str_find_char(event, '\n');

        assert_true(str_starts(event, STR("event: ")));
        assert_true(at + len < room);
        memcpy(to + at, event.p + 7, len - 6);
        at += len - 6;
    }
    to[at] = '\0';
}

static void a_response_is_told_in_events(void **state)
{
    char types[4096];
    struct buf out;

    (void)state;
    tell(ENDPOINT_RESPONSES,
         "{'id':'r','status':'completed','output':[{'id':'a','type':"
         "'reasoning','summary':[{'type':'summary_text','text':'S'}]},{'id':"
         "'b','type':'message','status':'completed','content':[{'type':"
         "'output_text','text':'T','annotations':[{'type':'x'}],'logprobs':[]},"
         "{'type':'refusal','refusal':'No'}]},{'id':'c','type':"
         "'function_call','name':'f','call_id':'k','arguments':'{}'},{'id':'d',"
         "'type':'web_search_call','status':'completed'},{'id':'e','type':"
         "'unheard_of'}],'usage':{'input_tokens':1}}",
         false, &out);
    out.len--;
    types_of(buf_str(&out), types, sizeof(types));
    assert_string_equal(types, "response.created\nresponse.in_progress\n"
                               "response.output_item.added\n"
                               "response.reasoning_summary_part.added\n"
                               "response.reasoning_summary_text.delta\n"
                               "response.reasoning_summary_text.done\n"
                               "response.reasoning_summary_part.done\n"
                               "response.output_item.done\n"
                               "response.output_item.added\n"
                               "response.content_part.added\n"
                               "response.output_text.delta\n"
                               "response.output_text.done\n"
                               "response.output_text.annotation.added\n"
                               "response.content_part.done\n"
                               "response.content_part.added\n"
                               "response.refusal.delta\n"
                               "response.refusal.done\n"
                               "response.content_part.done\n"
                               "response.output_item.done\n"
                               "response.output_item.added\n"
                               "response.function_call_arguments.delta\n"
                               "response.function_call_arguments.done\n"
                               "response.output_item.done\n"
                               "response.output_item.added\n"
                               "response.web_search_call.in_progress\n"
                               "response.web_search_call.searching\n"
                               "response.web_search_call.completed\n"
                               "response.output_item.done\n"
                               "response.output_item.added\n"
                               "response.output_item.done\n"
                               "response.completed\n");
    assert_non_null(strstr(
        out.p, "data: {'type':'response.output_text.delta','sequence_number':"
               "10,'item_id':'b','output_index':1,'content_index':0,'delta':"
               "'T','logprobs':[]}\n\n"));
    assert_non_null(
        strstr(out.p, "data: {'type':'response.created','sequence_number':0,"
                      "'response':{'id':'r','status':'in_progress','output':[],"
                      "'usage':null}}\n\n"));
    buf_fini(&out);
}

/* ---- there and back ---------------------------------------------------- */

static const struct {
    const char *name;
    enum endpoint kind;
    const char *json;
} replies[] = {
    {"chat", ENDPOINT_CHAT,
     "{'id':'c','object':'chat.completion','created':7,'model':'m','choices':[{"
     "'index':0,'message':{'role':'assistant','content':'a','refusal':null,"
     "'annotations':[]},'logprobs':{'content':[{'token':'a','logprob':-0.1}],"
     "'refusal':null},'finish_reason':'stop'},{'index':1,'message':{'role':"
     "'assistant','content':null,'refusal':'no'},'logprobs':null,"
     "'finish_reason':'stop','content_filter_results':{}}],'usage':{"
     "'prompt_tokens':1},'service_tier':'default','citations':['u','v']}"},
    {"chat of reasoning", ENDPOINT_CHAT,
     "{'object':'chat.completion','choices':[{'index':0,'message':{'role':"
     "'assistant','content':'42','reasoning_content':'hm','reasoning_details':["
     "{'type':'t','text':'hm','index':0}],'x':{'y':['z',1]}},'finish_reason':"
     "'stop','stop_reason':null,'token_ids':[1,2]}]}"},
    {"chat of calls", ENDPOINT_CHAT,
     "{'object':'chat.completion','choices':[{'index':0,'message':{'role':"
     "'assistant','content':null,'tool_calls':[{'id':'a','type':'function',"
     "'function':{'name':'f','arguments':'{\\'k\\':\\'v\\'}'},'extra_content':"
     "{'google':{'thought_signature':'s'}}},{'id':'b','type':'custom','custom':"
     "{'name':'g','input':''}}]},'finish_reason':'tool_calls'}]}"},
    {"chat of a function call", ENDPOINT_CHAT,
     "{'object':'chat.completion','choices':[{'index':0,'message':{'role':"
     "'assistant','content':null,'function_call':{'name':'f','arguments':"
     "'{}'}},'finish_reason':'function_call'}]}"},
    {"chat of audio", ENDPOINT_CHAT,
     "{'object':'chat.completion','choices':[{'index':0,'message':{'role':"
     "'assistant','content':null,'audio':{'id':'a','expires_at':9,'data':"
     "'QUI=','transcript':'t'}},'finish_reason':'stop'}]}"},
    {"completions", ENDPOINT_COMPLETIONS,
     "{'id':'c','object':'text_completion','model':'m','choices':[{'index':0,"
     "'text':'ab','logprobs':{'tokens':['a','b'],'text_offset':[0,1]},"
     "'finish_reason':'length'},{'index':1,'text':'','logprobs':null,"
     "'finish_reason':'stop'}],'usage':{'prompt_tokens':1}}"},
    {"response", ENDPOINT_RESPONSES,
     "{'id':'r','status':'incomplete','incomplete_details':{'reason':'x'},"
     "'error':null,'output':[{'type':'message','content':[{'type':"
     "'output_text','text':'T','logprobs':[{'token':'T'}]}]},{'type':"
     "'custom_tool_call','id':'i','input':'select'},{'type':'mcp_call','id':"
     "'i','arguments':'{}','output':'o','status':'completed'},{'type':"
     "'code_interpreter_call','id':'i','code':'1','status':'completed',"
     "'outputs':null},{'type':'image_generation_call','id':'i','result':'QQ==',"
     "'status':'completed'},{'type':'reasoning','id':'i','summary':[],"
     "'content':[{'type':'reasoning_text','text':'why'}],'encrypted_content':"
     "'e'}]}"},
    {"message", ENDPOINT_MESSAGES,
     "{'id':'m','type':'message','role':'assistant','model':'c','content':[{"
     "'type':'thinking','thinking':'hm','signature':'c2ln'},{'type':"
     "'redacted_thinking','data':'d'},{'type':'text','text':'T','citations':["
     "{'cited_text':'x'}]},{'type':'text','text':'','citations':null},{'type':"
     "'tool_use','id':'t','name':'f','input':{'a':[1,2.50,'\\u00e9\\n'],'b':{}}"
     "},{'type':'tool_use','id':'u','name':'g','input':{ }},{'type':"
     "'server_tool_use','id':'s','name':'web_search','input':{'q':'x'}},{"
     "'type':'web_search_tool_result','content':[{'url':'u'}]}],'stop_reason':"
     "'refusal','stop_sequence':null,'stop_details':{'category':'c'},"
     "'container':{'id':'k'},'context_management':{'applied_edits':[]},"
     "'usage':{'input_tokens':3,'output_tokens':9,'server_tool_use':{"
     "'web_search_requests':1},'cache_creation':{'ephemeral_5m_input_tokens':0}"
     "}}"},
};

static void events_amount_to_the_reply(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(replies); i++)
        kit_round(replies[i].name, replies[i].kind, replies[i].json, true);
}

/* Long text comes in pieces that tear no character, escape or pair. */
static void long_text_is_cut_between_characters(void **state)
{
    static const char *const units[] = {
        "a",   "\xC3\xA9", "\xE2\x82\xAC",  "\xF0\x9F\x98\x80",
        "\\n", "\\u00e9",  "\\ud83d\\ude00"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        struct buf json, sse, back;
        struct str rest, event;
        size_t events = 0;

        buf_init(&json, KIT_MAX);
        buf_init(&sse, KIT_MAX);
        buf_init(&back, KIT_MAX);
        assert_int_equal(
            buf_put_str(&json,
                        STR("{\"object\":\"chat.completion\",\"choices\":[{"
                            "\"index\":0,\"message\":{\"role\":\"assistant\","
                            "\"content\":\"x")),
            ERR_OK);
        for (int n = 0; n < 5000; n++)
            assert_int_equal(buf_put_str(&json, str_from(units[i])), ERR_OK);
        assert_int_equal(
            buf_put_str(&json, STR("\"},\"finish_reason\":\"stop\"}]}")),
            ERR_OK);
        assert_int_equal(buf_put(&json, "", 1), ERR_OK);
        json.len--;
        assert_int_equal(
            unfold_reply(ENDPOINT_CHAT, buf_str(&json), false, &sse), ERR_OK);
        rest = buf_str(&sse);
        while (unfold_next(&rest, &event)) {
            struct str data = str_skip(event, 6);

            assert_true(event.len < 1200);
            data.len -= 2;
            assert_true(str_eq(data, STR("[DONE]")) || jscan_is_valid(data));
            events++;
        }
        assert_true(events >= 7);
        assert_int_equal(fold_events(ENDPOINT_CHAT, buf_str(&sse), NULL, &back),
                         ERR_OK);
        kit_equal(units[i], buf_str(&back), json.p);
        buf_fini(&json);
        buf_fini(&sse);
        buf_fini(&back);
    }
}

static void what_has_no_events_is_refused(void **state)
{
    static const struct {
        enum endpoint kind;
        const char *json;
    } rows[] = {
        {ENDPOINT_CHAT, ""},
        {ENDPOINT_CHAT, "[]"},
        {ENDPOINT_CHAT, "{\"choices\":[]}"},
        {ENDPOINT_CHAT, "{\"choices\":[1]}"},
        {ENDPOINT_CHAT, "{\"choices\":[{}]}"},
        {ENDPOINT_CHAT, "{\"error\":{\"message\":\"m\"}}"},
        {ENDPOINT_CHAT, "{\"choices\":[{\"message\":{\"content\":[]}}]}"},
        {ENDPOINT_CHAT,
         "{\"choices\":[{\"message\":{\"tool_calls\":[{\"id\":\"x\"}]}}]}"},
        {ENDPOINT_COMPLETIONS, "{\"choices\":[{\"message\":{}}]}"},
        {ENDPOINT_RESPONSES, "{\"status\":\"failed\",\"output\":[]}"},
        {ENDPOINT_RESPONSES, "{\"status\":\"in_progress\",\"output\":[]}"},
        {ENDPOINT_RESPONSES, "{\"status\":\"completed\"}"},
        {ENDPOINT_MESSAGES, "{\"type\":\"message\"}"},
        {ENDPOINT_MESSAGES, "{\"type\":\"error\",\"content\":[]}"},
        {ENDPOINT_MESSAGES, "{\"type\":\"message\",\"content\":[{}]}"},
        {ENDPOINT_EMBEDDINGS, "{\"object\":\"list\",\"data\":[]}"},
    };
    struct buf out;

    (void)state;
    buf_init(&out, KIT_MAX);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(
            unfold_reply(rows[i].kind, str_from(rows[i].json), false, &out),
            ERR_NOT_FOUND);
        assert_int_equal(out.len, 0);
    }
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chat_is_told_in_chunks),
        cmocka_unit_test(tool_calls_are_told_in_pieces),
        cmocka_unit_test(a_message_is_told_in_events),
        cmocka_unit_test(a_response_is_told_in_events),
        cmocka_unit_test(events_amount_to_the_reply),
        cmocka_unit_test(long_text_is_cut_between_characters),
        cmocka_unit_test(what_has_no_events_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
