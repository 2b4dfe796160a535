/* reqkey_bodies.h - A body of each dialect with every field that its
 * specification has, and those that clients add. */
#ifndef TG_TESTS_UNIT_REQKEY_BODIES_H
#define TG_TESTS_UNIT_REQKEY_BODIES_H

#define BODY_CHAT                                                              \
    "{\"model\":\"m\",\"messages\":["                                          \
    "{\"role\":\"developer\",\"content\":\"d\",\"name\":\"dev\"},"             \
    "{\"role\":\"system\",\"content\":[{\"type\":\"text\",\"text\":\"s\","     \
    "\"prompt_cache_breakpoint\":{\"mode\":\"explicit\"}}]},"                  \
    "{\"role\":\"user\",\"name\":\"u\",\"content\":["                          \
    "{\"type\":\"text\",\"text\":\"look\"},"                                   \
    "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:a\","               \
    "\"detail\":\"low\"}},"                                                    \
    "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"b\","               \
    "\"format\":\"wav\"}},"                                                    \
    "{\"type\":\"file\",\"file\":{\"filename\":\"f\",\"file_data\":\"c\","     \
    "\"file_id\":\"file-1\"}}]},"                                              \
    "{\"role\":\"assistant\",\"content\":null,\"refusal\":\"no\","             \
    "\"name\":\"as\",\"audio\":{\"id\":\"audio_1\"},\"tool_calls\":["          \
    "{\"id\":\"call_1\",\"type\":\"function\",\"function\":{"                  \
    "\"name\":\"f\",\"arguments\":\"{}\"}}],"                                  \
    "\"function_call\":{\"name\":\"g\",\"arguments\":\"[]\"},"                 \
    "\"reasoning_content\":\"hm\"},"                                           \
    "{\"role\":\"tool\",\"tool_call_id\":\"call_1\",\"content\":\"r\"},"       \
    "{\"role\":\"function\",\"name\":\"g\",\"content\":\"q\"}],"               \
    "\"temperature\":0.5,\"top_p\":0.9,\"n\":2,\"stop\":[\"a\",\"b\"],"        \
    "\"max_completion_tokens\":5,\"max_tokens\":6,"                            \
    "\"presence_penalty\":0.1,\"frequency_penalty\":0.2,"                      \
    "\"logit_bias\":{\"50256\":-100},\"logprobs\":true,\"top_logprobs\":3,"    \
    "\"seed\":7,\"user\":\"u\",\"safety_identifier\":\"s\","                   \
    "\"prompt_cache_key\":\"k\",\"prompt_cache_options\":{"                    \
    "\"mode\":\"implicit\",\"ttl\":\"30m\"},"                                  \
    "\"prompt_cache_retention\":\"24h\","                                      \
    "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{"          \
    "\"name\":\"n\",\"description\":\"d\",\"strict\":true,\"schema\":{"        \
    "\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\"},"        \
    "\"user\":{\"enum\":[1,2.5,null]}},\"required\":[\"id\"],"                 \
    "\"additionalProperties\":false}}},"                                       \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","          \
    "\"description\":\"d\",\"strict\":false,\"parameters\":{"                  \
    "\"type\":\"object\",\"properties\":{\"metadata\":{"                       \
    "\"type\":\"integer\",\"minimum\":1}}}}},"                                 \
    "{\"type\":\"custom\",\"custom\":{\"name\":\"c\",\"description\":\"d\","   \
    "\"format\":{\"type\":\"grammar\",\"grammar\":{\"syntax\":\"lark\","       \
    "\"definition\":\"x\"}}}}],"                                               \
    "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"   \
    "\"parallel_tool_calls\":true,\"function_call\":\"auto\","                 \
    "\"functions\":[{\"name\":\"g\",\"description\":\"d\","                    \
    "\"parameters\":{}}],\"reasoning_effort\":\"low\","                        \
    "\"verbosity\":\"high\",\"modalities\":[\"text\",\"audio\"],"              \
    "\"audio\":{\"voice\":\"alloy\",\"format\":\"mp3\"},"                      \
    "\"prediction\":{\"type\":\"content\",\"content\":\"p\"},"                 \
    "\"service_tier\":\"flex\",\"store\":false,\"metadata\":{\"a\":\"b\"},"    \
    "\"web_search_options\":{\"search_context_size\":\"low\","                 \
    "\"user_location\":{\"approximate\":{\"city\":\"x\"}}},"                   \
    "\"moderation\":{\"model\":\"o\"},\"top_k\":4,\"min_p\":0.05,"             \
    "\"repetition_penalty\":1.1,\"grammar\":\"root\","                         \
    "\"chat_template_kwargs\":{\"enable_thinking\":false},"                    \
    "\"reasoning\":{\"effort\":\"low\"},\"keep_alive\":\"5m\","                \
    "\"cache_salt\":\"z\",\"guided_json\":{\"a\":1},"                          \
    "\"client_metadata\":{\"turn\":\"t\"},\"something_new\":[{\"x\":null}]}"

#define BODY_COMPLETIONS                                                       \
    "{\"model\":\"m\",\"prompt\":[[1,2],[3]],\"max_tokens\":16,"               \
    "\"best_of\":3,\"echo\":true,\"suffix\":\"s\",\"logprobs\":5,\"n\":2,"     \
    "\"stop\":\"x\",\"temperature\":0,\"top_p\":1,"                            \
    "\"presence_penalty\":0,\"frequency_penalty\":0.5,"                        \
    "\"logit_bias\":{\"1\":2},\"seed\":1,\"user\":\"u\"}"

#define BODY_EMBEDDINGS                                                        \
    "{\"model\":\"m\",\"input\":[\"a\",\"b\"],"                                \
    "\"encoding_format\":\"base64\",\"dimensions\":256,\"user\":\"u\","        \
    "\"input_type\":\"query\"}"

#define BODY_RESPONSES                                                         \
    "{\"model\":\"m\",\"instructions\":\"i\",\"input\":["                      \
    "{\"type\":\"message\",\"id\":\"msg_1\",\"role\":\"user\","                \
    "\"status\":\"completed\",\"content\":["                                   \
    "{\"type\":\"input_text\",\"text\":\"t\"},"                                \
    "{\"type\":\"input_image\",\"image_url\":\"u\",\"detail\":\"auto\"},"      \
    "{\"type\":\"input_file\",\"file_id\":\"f\"}]},"                           \
    "{\"role\":\"assistant\",\"id\":\"msg_2\",\"phase\":\"final\","            \
    "\"content\":\"c\"},"                                                      \
    "{\"type\":\"function_call\",\"id\":\"fc_1\",\"call_id\":\"call_1\","      \
    "\"name\":\"f\",\"arguments\":\"{}\"},"                                    \
    "{\"type\":\"function_call_output\",\"id\":\"fo_1\","                      \
    "\"call_id\":\"call_1\",\"output\":\"o\"},"                                \
    "{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":["                    \
    "{\"type\":\"summary_text\",\"text\":\"h\"}],"                             \
    "\"encrypted_content\":\"e\"},"                                            \
    "{\"type\":\"item_reference\",\"id\":\"msg_9\"},"                          \
    "{\"type\":\"image_generation_call\",\"id\":\"ig_1\"}],"                   \
    "\"max_output_tokens\":16,\"temperature\":1,\"top_p\":0.9,"                \
    "\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"description\":\"d\","  \
    "\"parameters\":{\"type\":\"object\"},\"strict\":true},"                   \
    "{\"type\":\"web_search\"},{\"type\":\"namespace\",\"name\":\"n\"},"       \
    "{\"type\":\"mcp\",\"server_label\":\"l\",\"server_url\":\"w\"}],"         \
    "\"tool_choice\":\"auto\",\"parallel_tool_calls\":false,"                  \
    "\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\","           \
    "\"schema\":{\"type\":\"object\"},\"strict\":true},"                       \
    "\"verbosity\":\"low\"},"                                                  \
    "\"reasoning\":{\"effort\":\"low\",\"summary\":\"auto\"},"                 \
    "\"store\":false,\"previous_response_id\":\"resp_1\","                     \
    "\"include\":[\"reasoning.encrypted_content\"],"                           \
    "\"metadata\":{\"a\":\"b\"},\"truncation\":\"auto\",\"user\":\"u\","       \
    "\"prompt_cache_key\":\"k\",\"safety_identifier\":\"s\","                  \
    "\"client_metadata\":{\"x\":{\"y\":[1]}},\"top_logprobs\":2,"              \
    "\"service_tier\":\"auto\",\"max_tool_calls\":3,\"background\":false,"     \
    "\"conversation\":null,\"prompt\":{\"id\":\"pmpt_1\","                     \
    "\"version\":\"2\",\"variables\":{\"v\":\"w\"}}}"

#define BODY_MESSAGES                                                          \
    "{\"model\":\"m\",\"max_tokens\":64,\"system\":["                          \
    "{\"type\":\"text\",\"text\":\"x-anthropic-billing-header: cch=1;\"},"     \
    "{\"type\":\"text\",\"text\":\"kind\","                                    \
    "\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"5m\"}}],"             \
    "\"messages\":[{\"role\":\"user\",\"content\":["                           \
    "{\"type\":\"text\",\"text\":\"t\"},"                                      \
    "{\"type\":\"image\",\"source\":{\"type\":\"base64\","                     \
    "\"media_type\":\"image/png\",\"data\":\"d\"}},"                           \
    "{\"type\":\"document\",\"source\":{\"type\":\"url\",\"url\":\"u\"},"      \
    "\"title\":\"t\",\"context\":\"c\",\"citations\":{\"enabled\":true}}]},"   \
    "{\"role\":\"assistant\",\"content\":["                                    \
    "{\"type\":\"thinking\",\"thinking\":\"h\",\"signature\":\"s\"},"          \
    "{\"type\":\"redacted_thinking\",\"data\":\"r\"},"                         \
    "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\","                \
    "\"input\":{\"a\":1,\"id\":\"i\",\"content\":2}}]},"                       \
    "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","               \
    "\"tool_use_id\":\"toolu_1\",\"content\":\"r\",\"is_error\":false}]}],"    \
    "\"stop_sequences\":[\"x\"],\"tools\":[{\"name\":\"f\","                   \
    "\"description\":\"d\",\"input_schema\":{\"type\":\"object\"}},"           \
    "{\"type\":\"bash_20250124\",\"name\":\"bash\"}],"                         \
    "\"tool_choice\":{\"type\":\"auto\","                                      \
    "\"disable_parallel_tool_use\":true},"                                     \
    "\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024},"              \
    "\"output_config\":{\"effort\":\"low\"},"                                  \
    "\"metadata\":{\"user_id\":\"u\"},\"service_tier\":\"auto\","              \
    "\"cache_control\":{\"type\":\"ephemeral\"},\"temperature\":1,"            \
    "\"top_p\":0.9,\"top_k\":5,\"container\":\"c\","                           \
    "\"mcp_servers\":[{\"type\":\"url\",\"url\":\"u\",\"name\":\"n\"}],"       \
    "\"context_management\":{\"edits\":[{\"type\":\"e\"}]}}"

#define BODY_RERANK                                                            \
    "{\"model\":\"m\",\"query\":\"q\",\"documents\":[\"a\",{\"text\":\"b\"}]," \
    "\"top_n\":2,\"return_documents\":true,\"user\":\"u\"}"

#define BODY_MODERATIONS                                                       \
    "{\"model\":\"m\",\"input\":[{\"type\":\"text\",\"text\":\"t\"},"          \
    "{\"type\":\"image_url\",\"image_url\":{\"url\":\"u\"}}]}"

#define BODY_SCORE                                                             \
    "{\"model\":\"m\",\"text_1\":\"a\",\"text_2\":[\"b\",\"c\"],"              \
    "\"truncate_prompt_tokens\":5}"

#define BODY_TOKENS                                                            \
    "{\"model\":\"m\",\"prompt\":\"p\",\"add_special_tokens\":false,"          \
    "\"tokens\":[1,2,3],\"input\":\"i\"}"

#endif
