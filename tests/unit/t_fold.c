/* t_fold.c - Chunks of chat and of completions as the plain reply. */
#include "fold_kit.h"

#define D(s) "data: " s "\n\n"
#define DONE D("[DONE]")
#define HEAD                                                                   \
    "'id':'c1','object':'chat.completion.chunk','created':7,'model':'m'"
#define TOP "'id':'c1','object':'chat.completion','created':7,'model':'m'"
#define CH(i, delta)                                                           \
    D("{" HEAD ",'choices':[{'index':" #i ",'delta':" delta                    \
      ",'logprobs':null,'finish_reason':null}]}")
#define END(i, why)                                                            \
    D("{" HEAD ",'choices':[{'index':" #i ",'delta':{},"                       \
      "'logprobs':null,'finish_reason':'" why "'}]}")
/* Without logprobs, as most other providers write it. */
#define BARE(delta) D("{" HEAD ",'choices':[{'index':0,'delta':" delta "}]}")
#define STOP                                                                   \
    D("{" HEAD ",'choices':[{'index':0,'delta':{},'finish_reason':'stop'}]}")
#define USAGE "{'prompt_tokens':3,'completion_tokens':2,'total_tokens':5}"
#define ONE(message)                                                           \
    "{" TOP ",'choices':[{'index':0,'message':" message                        \
    ",'finish_reason':'stop'}]}"

static const struct fold_row chat_rows[] = {
    {"openai", ENDPOINT_CHAT,
     CH(0, "{'role':'assistant','content':'','refusal':null}")
         CH(0, "{'content':'Hel'}") CH(0, "{'content':'lo \\u00e9\\n'}")
             END(0, "stop") DONE,
     "{" TOP ",'choices':[{'index':0,'message':{'role':'assistant',"
     "'content':'Hello \\u00e9\\n','refusal':null},'logprobs':null,"
     "'finish_reason':'stop'}]}"},
    {"usage and what else the top says", ENDPOINT_CHAT,
     D("{" HEAD ",'service_tier':null,'system_fingerprint':'fp','obfuscation':"
       "'x','choices':[{'index':0,'delta':{'content':'a'}}],'usage':null}")
         D("{" HEAD ",'service_tier':'default','system_fingerprint':'fp',"
           "'choices':[{'index':0,'delta':{},'finish_reason':'stop'}],"
           "'usage':null,'x_groq':{'id':'r'},'timings':{'ms':1.50}}")
             D("{" HEAD ",'choices':[],'usage':" USAGE "}") DONE,
     "{" TOP ",'service_tier':'default','system_fingerprint':'fp',"
     "'x_groq':{'id':'r'},'timings':{'ms':1.5},'choices':[{'index':0,"
     "'message':{'role':'assistant','content':'a'},'finish_reason':'stop'}],"
     "'usage':" USAGE "}"},
    {"choices in turns", ENDPOINT_CHAT,
     CH(1, "{'role':'assistant','content':'b'}")
         CH(0, "{'role':'assistant','content':'a'}") CH(1, "{'content':'B'}")
             CH(0, "{'content':'A'}") END(0, "stop") END(1, "length") DONE,
     "{" TOP ",'choices':[{'index':0,'message':{'role':'assistant',"
     "'content':'aA'},'logprobs':null,'finish_reason':'stop'},{'index':1,"
     "'message':{'role':'assistant','content':'bB'},'logprobs':null,"
     "'finish_reason':'length'}]}"},
    {"tool calls", ENDPOINT_CHAT,
     CH(0, "{'role':'assistant','content':null}") CH(
         0, "{'tool_calls':[{'index':0,'id':'t0','type':'function','function':"
            "{'name':'f','arguments':''}}]}")
         CH(0, "{'tool_calls':[{'index':0,'function':{'arguments':'{\\'a\\''}}]"
               "}") CH(0, "{'tool_calls':[{'index':1,'id':'t1','type':'"
                          "function','function':"
                          "{'name':'g','arguments':''}}]}")
             CH(0,
                "{'tool_calls':[{'index':0,'function':{'arguments':':1}'}}]}")
                 CH(0, "{'tool_calls':[{'index':1,'function':{'arguments':'{}'}"
                       "}]}") END(0, "tool_calls") DONE,
     "{" TOP ",'choices':[{'index':0,'message':{'role':'assistant',"
     "'content':null,'tool_calls':[{'id':'t0','type':'function','function':"
     "{'name':'f','arguments':'{\\'a\\':1}'}},{'id':'t1','type':'function',"
     "'function':{'name':'g','arguments':'{}'}}]},'logprobs':null,"
     "'finish_reason':'tool_calls'}]}"},
    {"tool calls that repeat what they are, without index", ENDPOINT_CHAT,
     BARE("{'role':'assistant','content':'','tool_calls':[{'id':'t0','type':"
          "'function','function':{'name':'f','arguments':'{'}}]}")
         BARE("{'role':'assistant','tool_calls':[{'id':'','type':'function',"
              "'function':{'name':'','arguments':'}'}}]}")
             BARE(
                 "{'tool_calls':[{'id':'t1','function':{'name':'g','arguments':"
                 "'[]'}}]}") STOP,
     ONE("{'role':'assistant','content':null,'tool_calls':[{'id':'t0','type':"
         "'function','function':{'name':'f','arguments':'{}'}},{'id':'t1',"
         "'function':{'name':'g','arguments':'[]'}}]}")},
    {"tool calls that begin at 1, and one of another type", ENDPOINT_CHAT,
     BARE("{'tool_calls':[{'index':1,'id':'t','type':'custom','custom':"
          "{'name':'sql','input':'se'}}]}")
         BARE("{'tool_calls':[{'index':1,'custom':{'input':'lect'}}]}") STOP,
     ONE("{'role':'assistant','content':null,'tool_calls':[{'id':'t','type':"
         "'custom','custom':{'name':'sql','input':'select'}}]}")},
    {"no tool calls, said", ENDPOINT_CHAT,
     BARE("{'role':'assistant','content':'x','tool_calls':[]}") STOP,
     ONE("{'role':'assistant','content':'x','tool_calls':[]}")},
    {"function call", ENDPOINT_CHAT,
     BARE("{'role':'assistant','content':null,'function_call':{'name':'f',"
          "'arguments':''}}")
         BARE("{'function_call':{'arguments':'{\\'b\\':2}'}}") STOP,
     ONE("{'role':'assistant','content':null,'function_call':{'name':'f',"
         "'arguments':'{\\'b\\':2}'}}")},
    {"refusal", ENDPOINT_CHAT,
     BARE("{'role':'assistant','content':'','refusal':null}")
         BARE("{'refusal':'I '}") BARE("{'refusal':'will not.'}") STOP,
     ONE("{'role':'assistant','content':null,'refusal':'I will not.'}")},
    {"reasoning and members nobody knows", ENDPOINT_CHAT,
     BARE("{'role':'assistant','content':null,'reasoning_content':'Let '}")
         BARE("{'reasoning_content':'me','reasoning_details':[{'type':'r.text',"
              "'text':'Le','format':'v1','index':0}]}")
             BARE("{'content':'4','reasoning_content':null,'reasoning_details':"
                  "[{"
                  "'type':'r.text','text':'t','format':'v1','index':0}],'cost':"
                  "1.10}") BARE("{'content':'2','flag':true}") STOP,
     ONE("{'role':'assistant','content':'42','reasoning_content':'Let me',"
         "'reasoning_details':[{'type':'r.text','text':'Let','format':'v1',"
         "'index':0}],'cost':1.1,'flag':true}")},
    {"logprobs", ENDPOINT_CHAT,
     D("{" HEAD ",'choices':[{'index':0,'delta':{'content':'a'},'logprobs':"
       "{'content':[{'token':'a','logprob':-0.5,'bytes':[97],'top_logprobs':"
       "[]}],'refusal':null},'finish_reason':null}]}")
         D("{" HEAD ",'choices':[{'index':0,'delta':{'content':'b'},'logprobs':"
           "{'content':[{'token':'b','logprob':-1e-7,'bytes':null,'top_"
           "logprobs':"
           "[]}],'refusal':null},'finish_reason':null}]}")
             D("{" HEAD ",'choices':[{'index':0,'delta':{},'logprobs':null,"
               "'finish_reason':'stop','stop_reason':null,'token_ids':null}]}")
                 DONE,
     "{" TOP ",'choices':[{'index':0,'message':{'role':'assistant','content':"
     "'ab'},'logprobs':{'content':[{'token':'a','logprob':-0.5,'bytes':[97],"
     "'top_logprobs':[]},{'token':'b','logprob':-1e-7,'bytes':null,"
     "'top_logprobs':[]}],'refusal':null},'finish_reason':'stop',"
     "'stop_reason':null,'token_ids':null}]}"},
    {"azure", ENDPOINT_CHAT,
     D("{'choices':[],'created':0,'id':'','model':'','object':'',"
       "'prompt_filter_results':[{'prompt_index':0}]}")
         D("{" HEAD
           ",'choices':[{'index':0,'delta':{'role':'assistant','content':"
           "'hi'},'content_filter_results':{'hate':{'severity':'safe'}},"
           "'finish_reason':null}]}")
             D("{" HEAD
               ",'choices':[{'index':0,'delta':{},'content_filter_results':{},"
               "'finish_reason':'stop'}]}") DONE,
     "{" TOP ",'prompt_filter_results':[{'prompt_index':0}],'choices':[{"
     "'index':0,'message':{'role':'assistant','content':'hi'},"
     "'content_filter_results':{'hate':{'severity':'safe'}},'finish_reason':"
     "'stop'}]}"},
    {"audio", ENDPOINT_CHAT,
     BARE("{'role':'assistant','content':null,'audio':{'id':'a1','transcript':"
          "'Go'}}") BARE("{'audio':{'data':'QUJD'}}")
         BARE("{'audio':{'transcript':'od'}}") BARE("{'audio':{'data':'REU='}}")
             BARE("{'audio':{'expires_at':99}}") STOP,
     ONE("{'role':'assistant','content':null,'audio':{'id':'a1','transcript':"
         "'Good','data':'QUJDREU=','expires_at':99}}")},
    {"audio in pieces with an end each", ENDPOINT_CHAT,
     BARE("{'audio':{'data':'QQ=='}}") BARE("{'audio':{'data':'QQ=='}}") STOP,
     NULL},
    {"annotations", ENDPOINT_CHAT,
     BARE("{'role':'assistant','content':'x'}") BARE(
         "{'annotations':[{'type':'url_citation','url_citation':{'url':'u'}}]}")
         BARE("{'annotations':[{'type':'url_citation','url_citation':{'url':'v'"
              "}}]}") STOP,
     ONE("{'role':'assistant','content':'x','annotations':[{'type':"
         "'url_citation','url_citation':{'url':'u'}},{'type':'url_citation',"
         "'url_citation':{'url':'v'}}]}")},
    {"no last blank line, CRLF, comments, other names of lines", ENDPOINT_CHAT,
     ": ping\n\n: hello\r\nid: 4\r\ndata: {" HEAD ",'choices':[{'index':0,\r\n"
     "data: 'delta':{'content':'x'},'finish_reason':'stop'}]}\r\n\r\n"
     "data: [DONE]",
     ONE("{'role':'assistant','content':'x'}")},
    {"no content at all", ENDPOINT_CHAT, BARE("{'role':'assistant'}") STOP,
     ONE("{'role':'assistant','content':null}")},
    {"pairs torn between chunks", ENDPOINT_CHAT,
     BARE("{'content':'\\ud83d'}") BARE("{'content':'\\ude00'}") STOP,
     ONE("{'role':'assistant','content':'\\ud83d\\ude00'}")},
};

static const struct fold_row bad_rows[] = {
    {"an error", ENDPOINT_CHAT,
     BARE("{'content':'a'}") D("{'error':{'message':'m'}}"), NULL},
    {"an error by name", ENDPOINT_CHAT,
     BARE("{'content':'a'}") "event: error\n" D("{'message':'m'}"), NULL},
    {"nothing", ENDPOINT_CHAT, DONE, NULL},
    {"no choice", ENDPOINT_CHAT, D("{" HEAD ",'choices':[]}") DONE, NULL},
    {"no JSON", ENDPOINT_CHAT, BARE("{'content':'a'}") D("{oops") DONE, NULL},
    {"no object", ENDPOINT_CHAT, BARE("{'content':'a'}") D("[1]") DONE, NULL},
    {"parts in the place of text", ENDPOINT_CHAT,
     BARE("{'content':[{'type':'text','text':'a'}]}") STOP, NULL},
    {"text, then a number", ENDPOINT_CHAT,
     BARE("{'content':'a'}") BARE("{'content':1}") STOP, NULL},
    {"a plain reply in an event", ENDPOINT_CHAT,
     D("{" TOP ",'choices':[{'index':0,'message':{'content':'a'}}]}"), NULL},
    {"an index that is none", ENDPOINT_CHAT,
     D("{" HEAD ",'choices':[{'index':-1,'delta':{}}]}"), NULL},
    {"another endpoint", ENDPOINT_SPEECH, BARE("{'content':'a'}") STOP, NULL},
};

static void chunks_become_a_reply(void **state)
{
    (void)state;
    kit_fold(chat_rows, COUNT_OF(chat_rows));
}

static void what_is_no_reply_is_refused(void **state)
{
    (void)state;
    kit_fold(bad_rows, COUNT_OF(bad_rows));
}

#define TEXT "'id':'c','object':'text_completion','created':7,'model':'m'"
#define T(i, text, why)                                                        \
    D("{" TEXT ",'choices':[{'index':" #i ",'text':'" text                     \
      "','logprobs':null,'finish_reason':" why "}]}")

static const struct fold_row text_rows[] = {
    {"two choices", ENDPOINT_COMPLETIONS,
     T(0, "a", "null") T(1, "b", "null") T(0, "c", "null") T(0, "", "'stop'") T(
         1, "", "'length'") D("{" TEXT ",'choices':[],'usage':" USAGE "}") DONE,
     "{" TEXT ",'choices':[{'index':0,'text':'ac','logprobs':null,"
     "'finish_reason':'stop'},{'index':1,'text':'b','logprobs':null,"
     "'finish_reason':'length'}],'usage':" USAGE "}"},
    {"logprobs", ENDPOINT_COMPLETIONS,
     D("{" TEXT ",'choices':[{'index':0,'text':'a','logprobs':{'tokens':['a'],"
       "'token_logprobs':[-0.25],'top_logprobs':[{'a':-0.25}],'text_offset':"
       "[0]},'finish_reason':null}]}")
         D("{" TEXT
           ",'choices':[{'index':0,'text':'b','logprobs':{'tokens':['b'],"
           "'token_logprobs':[-0.5],'top_logprobs':[{'b':-0.5}],'text_offset':["
           "1]"
           "},'finish_reason':'stop'}]}") DONE,
     "{" TEXT ",'choices':[{'index':0,'text':'ab','logprobs':{'tokens':['a',"
     "'b'],'token_logprobs':[-0.25,-0.5],'top_logprobs':[{'a':-0.25},{'b':"
     "-0.5}],'text_offset':[0,1]},'finish_reason':'stop'}]}"},
    {"no text", ENDPOINT_COMPLETIONS, T(0, "", "'stop'") DONE,
     "{" TEXT ",'choices':[{'index':0,'text':'','logprobs':null,"
     "'finish_reason':'stop'}]}"},
};

static void pieces_of_text_become_a_reply(void **state)
{
    (void)state;
    kit_fold(text_rows, COUNT_OF(text_rows));
}

/* What nobody here reads keeps its bytes: no double comes between. */
static void bytes_are_kept(void **state)
{
    static const char sse[] =
        "data: "
        "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\u0041\"}}],"
        "\"x\":1.0000000000000000000000001e+00,\"id\":\"\\u0063\"}\n\n"
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"/\\/\"},"
        "\"finish_reason\":\"stop\"}]}\n\n";
    struct buf out;

    (void)state;
    buf_init(&out, KIT_MAX);
    assert_int_equal(fold_events(ENDPOINT_CHAT, str_from(sse), NULL, &out),
                     ERR_OK);
    assert_true(
        str_eq(buf_str(&out),
               STR("{\"choices\":[{\"index\":0,\"message\":{\"content\":"
                   "\"\\u0041/\\/\",\"role\":\"assistant\"},\"finish_reason\":"
                   "\"stop\"}],\"x\":1.0000000000000000000000001e+00,\"id\":"
                   "\"\\u0063\",\"object\":\"chat.completion\"}")));
    buf_fini(&out);
}

static void usage_is_told_where_the_stream_says_none(void **state)
{
    struct usage told = {.input = 5,
                         .cache_read = 4,
                         .output = 2,
                         .reasoning = 6,
                         .said = USAGE_INPUT | USAGE_OUTPUT | USAGE_CACHE_READ,
                         .present = true};
    static const char sse[] = "data: {\"choices\":[{\"index\":0,\"delta\":{},"
                              "\"finish_reason\":\"stop\"}]}\n\n";
    struct buf out;

    (void)state;
    buf_init(&out, KIT_MAX);
    assert_int_equal(fold_events(ENDPOINT_CHAT, str_from(sse), &told, &out),
                     ERR_OK);
    kit_equal("told", buf_str(&out),
              "{\"object\":\"chat.completion\",\"choices\":[{\"index\":0,"
              "\"message\":{\"role\":\"assistant\",\"content\":null},"
              "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,"
              "\"completion_tokens\":8,\"total_tokens\":17,"
              "\"prompt_tokens_details\":{\"cached_tokens\":4},"
              "\"completion_tokens_details\":{\"reasoning_tokens\":6}}}");
    buf_clear(&out);
    told.present = false;
    assert_int_equal(fold_events(ENDPOINT_CHAT, str_from(sse), &told, &out),
                     ERR_OK);
    assert_null(memmem(out.p, out.len, "usage", 5));
    buf_fini(&out);
}

/* A stream may have any names and numbers; the work stays bounded. */
static void too_many_names_are_refused(void **state)
{
    struct buf sse, out;

    (void)state;
    buf_init(&sse, KIT_MAX);
    buf_init(&out, KIT_MAX);
    for (int i = 0; i < 5000; i++)
        assert_int_equal(
            buf_printf(&sse, "data: {\"n%d\":1,\"choices\":[]}\n\n", i),
            ERR_OK);
    assert_int_equal(fold_events(ENDPOINT_CHAT, buf_str(&sse), NULL, &out),
                     ERR_NOT_FOUND);
    buf_clear(&sse);
    for (int i = 0; i < 5000; i++)
        assert_int_equal(
            buf_printf(&sse,
                       "data: {\"choices\":[{\"index\":%d,\"delta\":{}}]}\n\n",
                       i),
            ERR_OK);
    assert_int_equal(fold_events(ENDPOINT_CHAT, buf_str(&sse), NULL, &out),
                     ERR_NOT_FOUND);
    assert_int_equal(out.len, 0);
    buf_fini(&sse);
    buf_fini(&out);
}

static void a_reply_past_its_bound_is_none(void **state)
{
    static const char sse[] =
        "data: "
        "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"abc\"}}]}\n\n";
    struct buf out;

    (void)state;
    buf_init(&out, 40);
    assert_int_equal(buf_put_str(&out, STR("x")), ERR_OK);
    assert_int_equal(fold_events(ENDPOINT_CHAT, str_from(sse), NULL, &out),
                     ERR_NOMEM);
    assert_int_equal(out.len, 1);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_become_a_reply),
        cmocka_unit_test(what_is_no_reply_is_refused),
        cmocka_unit_test(pieces_of_text_become_a_reply),
        cmocka_unit_test(bytes_are_kept),
        cmocka_unit_test(usage_is_told_where_the_stream_says_none),
        cmocka_unit_test(too_many_names_are_refused),
        cmocka_unit_test(a_reply_past_its_bound_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
