/* bound_fields.c - The top-level members that a request may have under a hard
 * budget, by operation: those of OpenAI's and Anthropic's own, and what vLLM,
 * llama.cpp and their like take beside them. Only what cannot raise the cost
 * stands here, or what is judged by its value; anything else is refused by its
 * name, since nobody knows what it will do. */
#include "serve/bound_priv.h"

#include <stdlib.h>

#define NAME_MAX_LEN 40 /* bytes; no name is longer */

/* Operations with much in common. */
#define GEN    (BOUND_CHAT | BOUND_TEXT)
#define WRITES (GEN | BOUND_RESPONSES | BOUND_MESSAGES)
#define TOOLED (BOUND_CHAT | BOUND_RESPONSES | BOUND_MESSAGES)
#define ALL                                                                    \
    (WRITES | BOUND_EMBED | BOUND_RERANK | BOUND_SCORE | BOUND_POOL |          \
     BOUND_MODERATE)

#define W_FAR     "it brings in text from elsewhere, of any length"
#define W_LATER   "it is billed when nobody is listening any more"
#define W_OTHER   "others may answer then, at other prices"
#define W_SEARCH  "what a search reads and costs has no bound"
#define W_TOOLS   "what the provider's own tools read and cost has no bound"
#define W_CONTEXT "what a summary costs has no bound"
#define W_BEAM    "nobody can tell how many answers are made at once"

/* clang-format off */
static const struct bound_field fields[] = {
    {{"add_generation_prompt", 21},
     BOUND_CHAT | BOUND_EMBED | BOUND_POOL,
     BOUND_ANY, NULL},
    {{"add_special_tokens", 18},
     GEN | BOUND_EMBED | BOUND_POOL | BOUND_SCORE | BOUND_RERANK,
     BOUND_ANY, NULL},
    {{"allowed_token_ids", 17}, GEN, BOUND_ANY, NULL},
    {{"audio", 5}, BOUND_CHAT, BOUND_VOICE, NULL},
    {{"background", 10}, BOUND_RESPONSES, BOUND_UNSET, W_LATER},
    {{"bad_words", 9}, GEN, BOUND_ANY, NULL},
    {{"best_of", 7}, GEN, BOUND_BEST_OF, NULL},
    {{"cache_control", 13}, BOUND_CHAT, BOUND_ANY, NULL},
    {{"cache_control", 13}, BOUND_MESSAGES, BOUND_ANY, NULL},
    {{"cache_prompt", 12}, GEN, BOUND_ANY, NULL},
    {{"cache_salt", 10}, ALL, BOUND_ANY, NULL},
    {{"chat_template_kwargs", 20},
     BOUND_CHAT | BOUND_EMBED | BOUND_POOL,
     BOUND_KWARGS, NULL},
    {{"client_metadata", 15}, BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"container", 9}, BOUND_MESSAGES | BOUND_RESPONSES, BOUND_UNSET, W_TOOLS},
    {{"context_management", 18}, BOUND_MESSAGES, BOUND_CONTEXT, NULL},
    {{"context_management", 18}, BOUND_RESPONSES, BOUND_UNSET, W_CONTEXT},
    {{"continue_final_message", 22},
     BOUND_CHAT | BOUND_EMBED | BOUND_POOL,
     BOUND_ANY, NULL},
    {{"conversation", 12}, BOUND_RESPONSES, BOUND_UNSET, W_FAR},
    {{"data_1", 6}, BOUND_RERANK | BOUND_SCORE, BOUND_SIDE_A, NULL},
    {{"data_2", 6}, BOUND_RERANK | BOUND_SCORE, BOUND_SIDE_B, NULL},
    {{"dimensions", 10}, BOUND_EMBED | BOUND_POOL, BOUND_ANY, NULL},
    {{"documents", 9}, BOUND_RERANK | BOUND_SCORE, BOUND_SIDE_B, NULL},
    {{"dry_allowed_length", 18}, GEN, BOUND_ANY, NULL},
    {{"dry_base", 8}, GEN, BOUND_ANY, NULL},
    {{"dry_multiplier", 14}, GEN, BOUND_ANY, NULL},
    {{"dry_penalty_last_n", 18}, GEN, BOUND_ANY, NULL},
    {{"dry_sequence_breakers", 21}, GEN, BOUND_ANY, NULL},
    {{"dynatemp_exponent", 17}, GEN, BOUND_ANY, NULL},
    {{"dynatemp_range", 14}, GEN, BOUND_ANY, NULL},
    {{"echo", 4}, GEN, BOUND_ANY, NULL},
    {{"enable_thinking", 15}, BOUND_CHAT, BOUND_REASONS, NULL},
    {{"encoding_format", 15}, BOUND_EMBED | BOUND_POOL, BOUND_ANY, NULL},
    {{"fallbacks", 9},
     WRITES | BOUND_EMBED | BOUND_RERANK,
     BOUND_UNSET, W_OTHER},
    {{"frequency_penalty", 17}, GEN | BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"function_call", 13}, BOUND_CHAT, BOUND_ANY, NULL},
    {{"functions", 9}, BOUND_CHAT, BOUND_FUNCTIONS, NULL},
    {{"grammar", 7}, GEN, BOUND_ANY, NULL},
    {{"guided_choice", 13}, GEN, BOUND_ANY, NULL},
    {{"guided_decoding_backend", 23}, GEN, BOUND_ANY, NULL},
    {{"guided_grammar", 14}, GEN, BOUND_ANY, NULL},
    {{"guided_json", 11}, GEN, BOUND_ANY, NULL},
    {{"guided_regex", 12}, GEN, BOUND_ANY, NULL},
    {{"guided_whitespace_pattern", 25}, GEN, BOUND_ANY, NULL},
    {{"id_slot", 7}, GEN, BOUND_ANY, NULL},
    {{"ignore_eos", 10}, GEN | BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"include", 7}, BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"include_reasoning", 17}, BOUND_CHAT, BOUND_REASONS, NULL},
    {{"include_stop_str_in_output", 26}, GEN, BOUND_ANY, NULL},
    {{"inference_geo", 13}, BOUND_MESSAGES, BOUND_PLACE, NULL},
    {{"input", 5},
     BOUND_EMBED | BOUND_RESPONSES | BOUND_POOL | BOUND_MODERATE,
     BOUND_INPUT, NULL},
    {{"input_type", 10}, BOUND_EMBED | BOUND_POOL, BOUND_ANY, NULL},
    {{"instructions", 12}, BOUND_RESPONSES, BOUND_CONTENT, NULL},
    {{"items", 5}, BOUND_RERANK | BOUND_SCORE, BOUND_SIDE_B, NULL},
    {{"json_schema", 11}, GEN, BOUND_ANY, NULL},
    {{"keep_alive", 10}, ALL, BOUND_ANY, NULL},
    {{"length_penalty", 14}, GEN, BOUND_ANY, NULL},
    {{"logit_bias", 10}, GEN | BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"logprobs", 8}, GEN | BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"max_chunks_per_doc", 18}, BOUND_RERANK, BOUND_ANY, NULL},
    {{"max_completion_tokens", 21}, GEN, BOUND_CAP, NULL},
    {{"max_output_tokens", 17}, BOUND_RESPONSES, BOUND_CAP, NULL},
    {{"max_tokens", 10}, GEN | BOUND_MESSAGES, BOUND_CAP, NULL},
    {{"max_tokens_per_doc", 18}, BOUND_RERANK, BOUND_ANY, NULL},
    {{"max_tool_calls", 14}, BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"mcp_servers", 11}, BOUND_MESSAGES, BOUND_UNSET, W_TOOLS},
    {{"messages", 8},
     BOUND_CHAT | BOUND_MESSAGES | BOUND_EMBED | BOUND_POOL,
     BOUND_CONTENT, NULL},
    {{"metadata", 8}, WRITES, BOUND_ANY, NULL},
    {{"min_keep", 8}, GEN, BOUND_ANY, NULL},
    {{"min_p", 5}, GEN | BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"min_tokens", 10}, GEN | BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"mirostat", 8}, GEN, BOUND_ANY, NULL},
    {{"mirostat_eta", 12}, GEN, BOUND_ANY, NULL},
    {{"mirostat_tau", 12}, GEN, BOUND_ANY, NULL},
    {{"modalities", 10}, BOUND_CHAT, BOUND_MODES, NULL},
    {{"model", 5}, ALL, BOUND_ANY, NULL},
    {{"models", 6}, WRITES | BOUND_EMBED | BOUND_RERANK, BOUND_UNSET, W_OTHER},
    {{"moderation", 10}, BOUND_CHAT | BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"n", 1}, GEN, BOUND_N, NULL},
    {{"n_probs", 7}, GEN, BOUND_ANY, NULL},
    {{"normalize", 9}, BOUND_EMBED | BOUND_POOL, BOUND_ANY, NULL},
    {{"output_config", 13}, BOUND_MESSAGES, BOUND_ANY, NULL},
    {{"output_format", 13}, BOUND_MESSAGES, BOUND_ANY, NULL},
    {{"parallel_tool_calls", 19},
     BOUND_CHAT | BOUND_RESPONSES,
     BOUND_ANY, NULL},
    {{"plugins", 7}, WRITES | BOUND_EMBED | BOUND_RERANK, BOUND_UNSET, W_OTHER},
    {{"post_sampling_probs", 19}, GEN, BOUND_ANY, NULL},
    {{"prediction", 10}, BOUND_CHAT, BOUND_GUESS, NULL},
    {{"presence_penalty", 16}, GEN | BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"previous_response_id", 20}, BOUND_RESPONSES, BOUND_UNSET, W_FAR},
    {{"priority", 8}, ALL, BOUND_ANY, NULL},
    {{"prompt", 6}, BOUND_RESPONSES, BOUND_UNSET, W_FAR},
    {{"prompt", 6}, BOUND_TEXT, BOUND_PROMPT, NULL},
    {{"prompt_cache_key", 16}, GEN | BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"prompt_cache_options", 20}, GEN | BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"prompt_cache_retention", 22}, GEN | BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"prompt_logprobs", 15}, GEN, BOUND_ANY, NULL},
    {{"provider", 8},
     WRITES | BOUND_EMBED | BOUND_RERANK,
     BOUND_UNSET, W_OTHER},
    {{"queries", 7}, BOUND_RERANK | BOUND_SCORE, BOUND_SIDE_A, NULL},
    {{"query", 5}, BOUND_RERANK | BOUND_SCORE, BOUND_SIDE_A, NULL},
    {{"random_seed", 11}, BOUND_CHAT, BOUND_ANY, NULL},
    {{"rank_fields", 11}, BOUND_RERANK, BOUND_ANY, NULL},
    {{"raw_scores", 10}, BOUND_RERANK, BOUND_ANY, NULL},
    {{"reasoning", 9}, BOUND_CHAT | BOUND_RESPONSES, BOUND_REASONS, NULL},
    {{"reasoning_effort", 16}, BOUND_CHAT, BOUND_REASONS, NULL},
    {{"reasoning_format", 16}, BOUND_CHAT, BOUND_SHOWS, NULL},
    {{"repeat_last_n", 13}, GEN, BOUND_ANY, NULL},
    {{"repeat_penalty", 14}, GEN, BOUND_ANY, NULL},
    {{"repetition_penalty", 18}, GEN | BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"request_id", 10}, ALL, BOUND_ANY, NULL},
    {{"response_format", 15}, GEN, BOUND_ANY, NULL},
    {{"return_documents", 16}, BOUND_RERANK, BOUND_ANY, NULL},
    {{"return_progress", 15}, GEN, BOUND_ANY, NULL},
    {{"return_text", 11}, BOUND_RERANK, BOUND_ANY, NULL},
    {{"return_token_ids", 16}, GEN, BOUND_ANY, NULL},
    {{"return_tokens_as_token_ids", 26}, GEN, BOUND_ANY, NULL},
    {{"route", 5}, WRITES | BOUND_EMBED | BOUND_RERANK, BOUND_UNSET, W_OTHER},
    {{"safe_prompt", 11}, BOUND_CHAT, BOUND_ANY, NULL},
    {{"safety_identifier", 17}, BOUND_CHAT | BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"samplers", 8}, GEN, BOUND_ANY, NULL},
    {{"seed", 4}, GEN | BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"service_tier", 12}, WRITES, BOUND_TIER, NULL},
    {{"skip_special_tokens", 19}, GEN, BOUND_ANY, NULL},
    {{"spaces_between_special_tokens", 29}, GEN, BOUND_ANY, NULL},
    {{"speed", 5}, BOUND_MESSAGES, BOUND_SPEED, NULL},
    {{"stop", 4}, GEN | BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"stop_sequences", 14}, BOUND_MESSAGES, BOUND_ANY, NULL},
    {{"stop_token_ids", 14}, GEN | BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"store", 5}, BOUND_CHAT | BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"stream", 6}, WRITES, BOUND_ANY, NULL},
    {{"stream_options", 14}, WRITES, BOUND_ANY, NULL},
    {{"structured_outputs", 18}, GEN, BOUND_ANY, NULL},
    {{"suffix", 6}, BOUND_TEXT, BOUND_ANY, NULL},
    {{"system", 6}, BOUND_MESSAGES, BOUND_CONTENT, NULL},
    {{"task", 4}, BOUND_EMBED | BOUND_POOL, BOUND_ANY, NULL},
    {{"temperature", 11}, WRITES, BOUND_ANY, NULL},
    {{"text", 4}, BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"text_1", 6}, BOUND_RERANK | BOUND_SCORE, BOUND_SIDE_A, NULL},
    {{"text_2", 6}, BOUND_RERANK | BOUND_SCORE, BOUND_SIDE_B, NULL},
    {{"tfs_z", 5}, GEN, BOUND_ANY, NULL},
    {{"thinking", 8}, BOUND_CHAT, BOUND_REASONS, NULL},
    {{"thinking", 8}, BOUND_MESSAGES, BOUND_THINKING, NULL},
    {{"thinking_budget", 15}, BOUND_CHAT, BOUND_REASONS, NULL},
    {{"thinking_token_budget", 21}, BOUND_CHAT, BOUND_REASONS, NULL},
    {{"timings_per_token", 17}, GEN, BOUND_ANY, NULL},
    {{"tool_choice", 11}, TOOLED, BOUND_ANY, NULL},
    {{"tools", 5}, TOOLED, BOUND_TOOLS, NULL},
    {{"top_a", 5}, GEN, BOUND_ANY, NULL},
    {{"top_k", 5}, BOUND_RERANK, BOUND_ANY, NULL},
    {{"top_k", 5}, WRITES, BOUND_ANY, NULL},
    {{"top_logprobs", 12}, GEN | BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"top_n", 5}, BOUND_RERANK, BOUND_ANY, NULL},
    {{"top_n_sigma", 11}, GEN, BOUND_ANY, NULL},
    {{"top_p", 5}, WRITES, BOUND_ANY, NULL},
    {{"transforms", 10},
     WRITES | BOUND_EMBED | BOUND_RERANK,
     BOUND_UNSET, W_OTHER},
    {{"truncate", 8}, BOUND_EMBED | BOUND_POOL, BOUND_ANY, NULL},
    {{"truncate_prompt_tokens", 22}, ALL, BOUND_ANY, NULL},
    {{"truncation", 10}, BOUND_EMBED | BOUND_RERANK, BOUND_ANY, NULL},
    {{"truncation", 10}, BOUND_RESPONSES, BOUND_ANY, NULL},
    {{"typical_p", 9}, GEN, BOUND_ANY, NULL},
    {{"usage", 5}, BOUND_CHAT, BOUND_ANY, NULL},
    {{"use_beam_search", 15}, GEN, BOUND_UNSET, W_BEAM},
    {{"user", 4}, ALL, BOUND_ANY, NULL},
    {{"verbosity", 9}, BOUND_CHAT, BOUND_ANY, NULL},
    {{"web_search_options", 18}, BOUND_CHAT, BOUND_UNSET, W_SEARCH},
    {{"xtc_probability", 15}, GEN, BOUND_ANY, NULL},
    {{"xtc_threshold", 13}, GEN, BOUND_ANY, NULL},
};
/* clang-format on */

#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))

const struct bound_field *bound_field_list(size_t *n_out)
{
    *n_out = N_FIELDS;
    return fields;
}

/* As memcmp(), a name before its continuations. */
static int compare(struct str a, struct str b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int c = memcmp(a.p, b.p, len);

    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}

/* The first row that is not before <name>. */
static size_t find_first(struct str name)
{
    size_t from = 0, to = N_FIELDS;

    while (from < to) {
        size_t mid = from + (to - from) / 2;

        if (compare(fields[mid].name, name) < 0)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

const struct bound_field *bound_field_find(struct str key, enum bound_op op)
{
    const struct jmember m = {.value = key, .type = JT_STRING};
    char text[NAME_MAX_LEN];
    struct str name;
    size_t len;

    if (jval_copy(&m, text, sizeof(text), &len) != ERR_OK)
        return NULL;
    name = str_of(text, len);
    for (size_t i = find_first(name);
         i < N_FIELDS && str_eq(fields[i].name, name); i++)
        if ((fields[i].ops & op) != 0)
            return &fields[i];
    return NULL;
}
