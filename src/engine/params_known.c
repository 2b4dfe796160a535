/* params_known.c - Fields of the API that ask nothing of this engine: they
 * must be of their type, and those that it cannot honour must say their
 * default, or are refused with what to send instead. */
#include "engine/params.h"

#include <stdio.h>

/* A field that may be there and changes nothing; prompt_cache_key says who
 * shares stored prefixes where there are any. */
struct idle {
    const char *name;
    unsigned types;
};

static const struct idle idle[] = {
    {"user", PARAMS_STRING},
    {"safety_identifier", PARAMS_STRING},
    {"prompt_cache_key", PARAMS_STRING},
    {"prompt_cache_retention", PARAMS_STRING},
    {"service_tier", PARAMS_STRING},
    {"verbosity", PARAMS_STRING},
    {"store", PARAMS_BOOL},
    {"metadata", PARAMS_OBJECT},
    {"prediction", PARAMS_OBJECT},
};

/* A field that this engine has no answer to. */
struct unable {
    const char *name;
    unsigned types;
    const char *instead;
};

static const struct unable unable[] = {
    {"suffix", PARAMS_STRING, "put the parts of the prompt together yourself"},
    {"audio", PARAMS_OBJECT, "leave it out"},
    {"functions", PARAMS_ARRAY, "send 'tools' instead"},
    {"function_call", PARAMS_STRING | PARAMS_OBJECT,
     "send 'tool_choice' instead"},
    {"web_search_options", PARAMS_OBJECT, "leave it out"},
    {"grammar", PARAMS_STRING,
     "send 'response_format' of type json_schema instead"},
    {"guided_regex", PARAMS_STRING,
     "send 'response_format' of type json_schema instead"},
    {"guided_grammar", PARAMS_STRING,
     "send 'response_format' of type json_schema instead"},
    {"guided_choice", PARAMS_ARRAY,
     "send 'response_format' with an enum instead"},
    {"structured_outputs", PARAMS_OBJECT,
     "send 'response_format' of type json_schema instead"},
    {"use_beam_search", PARAMS_BOOL, "leave it out"},
    {"continue_final_message", PARAMS_BOOL, "leave it out"},
    {"prompt_logprobs", PARAMS_NUMBER,
     "use 'echo' with 'logprobs' on /v1/completions"},
};

/* Whether <v> says nothing that would have to be done. */
static bool is_default(const json_t *v)
{
    return !v || json_is_false(v) ||
           (json_is_string(v) && json_string_length(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0);
}

static enum err judge_unable(const json_t *body, const struct unable *u,
                             struct params_fault *why)
{
    const json_t *v = params_get(body, u->name);

    ERR_TRY(params_expect(v, u->types, u->name, why));
    if (is_default(v))
        return ERR_OK;
    return params_refuse(why, u->name,
                         "Unsupported parameter: '%s' is not supported with "
                         "this model; %s.",
                         u->name, u->instead);
}

static enum err judge_modalities(const json_t *body, struct params_fault *why)
{
    const json_t *list = params_get(body, "modalities");

    ERR_TRY(params_expect(list, PARAMS_ARRAY, "modalities", why));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        char at[40];

        snprintf(at, sizeof(at), "modalities[%zu]", i);
        ERR_TRY(params_need(v, PARAMS_STRING, at, why));
        if (!str_eq(params_str(v), STR("text")))
            return params_refuse(why, "modalities",
                                 "Invalid 'modalities': this model answers in "
                                 "text only.");
    }
    return ERR_OK;
}

enum err params_judge_known(const json_t *body, struct params_fault *why)
{
    const json_t *opts = params_get(body, "stream_options");

    for (size_t i = 0; i < sizeof(idle) / sizeof(idle[0]); i++)
        ERR_TRY(params_expect(params_get(body, idle[i].name), idle[i].types,
                              idle[i].name, why));
    for (size_t i = 0; i < sizeof(unable) / sizeof(unable[0]); i++)
        ERR_TRY(judge_unable(body, &unable[i], why));
    ERR_TRY(params_expect(params_get(opts, "include_obfuscation"), PARAMS_BOOL,
                          "stream_options.include_obfuscation", why));
    return judge_modalities(body, why);
}
