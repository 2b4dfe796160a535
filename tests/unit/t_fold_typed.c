/* t_fold_typed.c - The events of Responses and of Messages as the plain
 * reply. */
#include "fold_kit.h"

#define E(type, more) "event: " type "\ndata: {'type':'" type "'" more "}\n\n"

/* ---- responses --------------------------------------------------------- */

#define R "'id':'r','object':'response','model':'m'"
#define ITEM(id, text)                                                         \
    "{'id':'" id "','type':'message','role':'assistant','content':[{'type':"   \
    "'output_text','text':'" text "','annotations':[]}]}"
#define CREATED                                                                \
    E("response.created", ",'response':{" R ",'status':'in_progress',"         \
                          "'output':[],'usage':null}")

static const struct fold_row response_rows[] = {
    {"complete", ENDPOINT_RESPONSES,
     CREATED E("response.output_text.delta", ",'delta':'Hi'")
         E("response.completed",
           ",'response':{" R ",'status':'completed',"
           "'output':[" ITEM("i",
                             "Hi") "],'error':null,"
                                   "'temperature':1.0,'usage':{'input_tokens':"
                                   "1}}"),
     "{" R ",'status':'completed','output':[" ITEM(
         "i", "Hi") "],'error':null,"
                    "'temperature':1.0,'usage':{'input_tokens':1}}"},
    {"incomplete, with more behind", ENDPOINT_RESPONSES,
     CREATED E("response.incomplete",
               ",'response':{" R ",'status':'incomplete','output':[" ITEM(
                   "i", "H") "]}") "data: [DONE]\n\n",
     "{" R ",'status':'incomplete','output':[" ITEM("i", "H") "]}"},
    {"items that only their events have", ENDPOINT_RESPONSES,
     CREATED E("response.output_item.done",
               ",'output_index':1,'item':" ITEM("b", "B"))
         E("response.output_item.done",
           ",'output_index':0,'item':" ITEM("a", "A"))
             E("response.completed",
               ",'response':{" R ",'output':[],'status':'completed'}"),
     "{" R
     ",'status':'completed','output':[" ITEM("a", "A") "," ITEM("b", "B") "]}"},
    {"and no list of them", ENDPOINT_RESPONSES,
     E("response.output_item.done", ",'output_index':0,'item':" ITEM("a", "A"))
         E("response.completed", ",'response':{" R "}"),
     "{" R ",'output':[" ITEM("a", "A") "]}"},
    {"failed", ENDPOINT_RESPONSES,
     CREATED E("response.failed", ",'response':{" R ",'status':'failed'}"),
     NULL},
    {"broken by an error", ENDPOINT_RESPONSES,
     CREATED E("error", ",'message':'m'"), NULL},
    {"no end", ENDPOINT_RESPONSES,
     CREATED E("response.output_text.delta", ",'delta':'Hi'"), NULL},
    {"an end without a response", ENDPOINT_RESPONSES,
     CREATED E("response.completed", ""), NULL},
};

/* ---- messages ---------------------------------------------------------- */

#define M "'id':'msg_1','type':'message','role':'assistant','model':'c'"
#define START                                                                  \
    E("message_start",                                                         \
      ",'message':{" M ",'content':[],'stop_reason':null,'stop_sequence':"     \
      "null,'usage':{'input_tokens':9,'cache_read_input_tokens':2,"            \
      "'output_tokens':1,'service_tier':'standard'}}")
#define BLOCK(i, b)                                                            \
    E("content_block_start", ",'index':" #i ",'content_block':" b)
#define DELTA(i, d) E("content_block_delta", ",'index':" #i ",'delta':" d)
#define TEXT(i, t)  DELTA(i, "{'type':'text_delta','text':'" t "'}")
#define JSON(i, t)                                                             \
    DELTA(i, "{'type':'input_json_delta','partial_json':'" t "'}")
#define CLOSE(i) E("content_block_stop", ",'index':" #i)
#define FINISH(why, n)                                                         \
    E("message_delta",                                                         \
      ",'delta':{'stop_reason':'" why                                          \
      "','stop_sequence':null},'usage':{'output_tokens':" #n "}")              \
    E("message_stop", "")
#define WHOLE(content, why, n)                                                 \
    "{" M ",'content':[" content "],'stop_reason':'" why                       \
    "','stop_sequence':null,'usage':{'input_tokens':9,"                        \
    "'cache_read_input_tokens':2,'output_tokens':" #n                          \
    ",'service_tier':'standard'}}"

static const struct fold_row message_rows[] = {
    {"text", ENDPOINT_MESSAGES,
     START BLOCK(0, "{'type':'text','text':''}") E("ping", "") TEXT(0, "Hel")
         TEXT(0, "lo") CLOSE(0) FINISH("end_turn", 5),
     WHOLE("{'type':'text','text':'Hello'}", "end_turn", 5)},
    {"thinking, text, tools", ENDPOINT_MESSAGES,
     START BLOCK(0, "{'type':'thinking','thinking':'','signature':''}")
         DELTA(0, "{'type':'thinking_delta','thinking':'Let '}")
             DELTA(0, "{'type':'thinking_delta','thinking':'me'}") DELTA(
                 0, "{'type':'signature_delta','signature':'c2ln'}") CLOSE(0)
                 BLOCK(1, "{'type':'text','text':''}") TEXT(1, "So") CLOSE(1)
                     BLOCK(2, "{'type':'tool_use','id':'t','name':'f',"
                              "'input':{}}") JSON(2, "") JSON(2, "{\\'a\\'")
                         JSON(2, ":\\'\\\\u00e9") JSON(2, "\\\\n\\', \\'b")
                             JSON(2, "\\':1.50}") CLOSE(2)
                                 BLOCK(3, "{'type':'tool_use','id':'u','name':"
                                          "'g','input':{}}") JSON(3, "")
                                     CLOSE(3) FINISH("tool_use", 40),
     WHOLE("{'type':'thinking','thinking':'Let me','signature':'c2ln'},"
           "{'type':'text','text':'So'},{'type':'tool_use','id':'t','name':"
           "'f','input':{'a':'\\u00e9\\n','b':1.50}},{'type':'tool_use','id':"
           "'u','name':'g','input':{}}",
           "tool_use", 40)},
    {"citations and blocks that come whole", ENDPOINT_MESSAGES,
     START BLOCK(0, "{'type':'redacted_thinking','data':'eHg='}") CLOSE(
         0) BLOCK(1, "{'type':'text','text':'','citations':[]}") TEXT(1, "A")
         DELTA(1, "{'type':'citations_delta','citation':{'cited_text':'x'}}")
             DELTA(1, "{'type':'citations_delta','citation':{'cited_text':"
                      "'y'}}") CLOSE(1)
                 BLOCK(2, "{'type':'web_search_tool_result','tool_use_id':'s',"
                          "'content':[{'url':'u'}]}") CLOSE(2)
                     FINISH("end_turn", 6),
     WHOLE("{'type':'redacted_thinking','data':'eHg='},{'type':'text','text':"
           "'A','citations':[{'cited_text':'x'},{'cited_text':'y'}]},{'type':"
           "'web_search_tool_result','tool_use_id':'s','content':[{'url':'u'}]"
           "}",
           "end_turn", 6)},
    {"what is only known at the end", ENDPOINT_MESSAGES,
     START BLOCK(0, "{'type':'compaction','content':null}")
         DELTA(0, "{'type':'compaction_delta','content':'sum'}") CLOSE(0) E(
             "message_delta",
             ",'delta':{'stop_reason':'stop_sequence','stop_sequence':'X',"
             "'container':{'id':'k'}},'usage':{'input_tokens':11,"
             "'cache_read_input_tokens':null,'output_tokens':7,"
             "'server_tool_use':{'web_search_requests':1}},"
             "'context_management':{'applied_edits':[]}") E("message_stop", ""),
     "{" M ",'content':[{'type':'compaction','content':'sum'}],'stop_reason':"
     "'stop_sequence','stop_sequence':'X','usage':{'input_tokens':11,"
     "'cache_read_input_tokens':2,'output_tokens':7,'service_tier':'standard',"
     "'server_tool_use':{'web_search_requests':1}},'container':{'id':'k'},"
     "'context_management':{'applied_edits':[]}}"},
    {"nothing said", ENDPOINT_MESSAGES, START FINISH("end_turn", 0),
     WHOLE("", "end_turn", 0)},
    {"not ended", ENDPOINT_MESSAGES,
     START BLOCK(0, "{'type':'text','text':''}") TEXT(0, "Hel"), NULL},
    {"an error", ENDPOINT_MESSAGES,
     START E("error", ",'error':{'type':'overloaded_error'}")
         E("message_stop", ""),
     NULL},
    {"no start", ENDPOINT_MESSAGES, FINISH("end_turn", 0), NULL},
    {"two starts", ENDPOINT_MESSAGES, START START FINISH("end_turn", 0), NULL},
    {"a delta of no block", ENDPOINT_MESSAGES,
     START TEXT(0, "Hel") FINISH("end_turn", 0), NULL},
    {"a block twice", ENDPOINT_MESSAGES,
     START BLOCK(0, "{'type':'text','text':''}")
         BLOCK(0, "{'type':'text','text':''}") FINISH("end_turn", 0),
     NULL},
    {"input that was cut", ENDPOINT_MESSAGES,
     START BLOCK(0, "{'type':'tool_use','id':'t','name':'f','input':{}}")
         JSON(0, "{\\'a\\':") CLOSE(0) FINISH("max_tokens", 4),
     NULL},
    {"a delta that nobody knows", ENDPOINT_MESSAGES,
     START BLOCK(0, "{'type':'text','text':''}")
         DELTA(0, "{'type':'new_delta','list':[1]}") FINISH("end_turn", 0),
     NULL},
};

static void the_response_of_the_last_event_is_the_reply(void **state)
{
    (void)state;
    kit_fold(response_rows, COUNT_OF(response_rows));
}

static void blocks_become_a_message(void **state)
{
    (void)state;
    kit_fold(message_rows, COUNT_OF(message_rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_response_of_the_last_event_is_the_reply),
        cmocka_unit_test(blocks_become_a_message),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
