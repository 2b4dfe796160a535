/* params.c - Numbers, switches and lists of a request: ranges as the OpenAI
 * API has them, and the further knobs of vLLM and llama.cpp under their names.
 * A known field that cannot be honoured is refused unless it says its
 * default. */
#include "engine/params.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/digest.h"

#define BEST_OF_MAX 20
#define SALT_MAX    256
#define STOP_MAX    4096 /* bytes of one stop string */
#define REPEAT_MAX  10.0

enum err params_refuse(struct params_fault *why, const char *param,
                       const char *fmt, ...)
{
    va_list ap;

    snprintf(why->param, sizeof(why->param), "%s", param ? param : "");
    va_start(ap, fmt);
    vsnprintf(why->text, sizeof(why->text), fmt, ap);
    va_end(ap);
    return ERR_BAD_PARAM;
}

const char *params_type_name(const json_t *v)
{
    if (!v)
        return "nothing";
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a decimal";
    case JSON_NULL:
        return "null";
    default:
        return "a boolean";
    }
}

struct str params_str(const json_t *v)
{
    if (!json_is_string(v))
        return (struct str){NULL, 0};
    return str_of(json_string_value(v), json_string_length(v));
}

const json_t *params_get(const json_t *body, const char *name)
{
    const json_t *v = json_object_get(body, name);

    return v && !json_is_null(v) ? v : NULL;
}

/* --- single values ------------------------------------------------------ */

/* A number in [lo, hi]; <out> stays when it is unsaid. */
static enum err get_number(const json_t *body, const char *name, double lo,
                           double hi, struct params_fault *why, float *out)
{
    const json_t *v = params_get(body, name);
    double d;

    if (!v)
        return ERR_OK;
    if (!json_is_number(v))
        return params_refuse(why, name,
                             "Invalid type for '%s': expected a number, but "
                             "got %s instead.",
                             name, params_type_name(v));
    d = json_number_value(v);
    if (!(d >= lo && d <= hi))
        return params_refuse(why, name,
                             "Invalid '%s': expected a number from %g to %g, "
                             "but got %g instead.",
                             name, lo, hi, d);
    *out = (float)d;
    return ERR_OK;
}

/* Whether <v> is a whole number, however it is written. */
static bool is_whole(const json_t *v, int64_t *out)
{
    double d;

    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return true;
    }
    if (!json_is_real(v))
        return false;
    d = json_real_value(v);
    if (d != floor(d) || fabs(d) > 9e15)
        return false;
    *out = (int64_t)d;
    return true;
}

static enum err get_integer(const json_t *body, const char *name, int64_t lo,
                            int64_t hi, struct params_fault *why, int64_t *out)
{
    const json_t *v = params_get(body, name);
    int64_t i;

    if (!v)
        return ERR_OK;
    if (!is_whole(v, &i))
        return params_refuse(why, name,
                             "Invalid type for '%s': expected an integer, but "
                             "got %s instead.",
                             name, params_type_name(v));
    if (i < lo || i > hi)
        return params_refuse(why, name,
                             "Invalid '%s': expected an integer from %lld to "
                             "%lld, but got %lld instead.",
                             name, (long long)lo, (long long)hi, (long long)i);
    *out = i;
    return ERR_OK;
}

static enum err get_bool(const json_t *body, const char *name,
                         struct params_fault *why, bool *out)
{
    const json_t *v = params_get(body, name);

    if (!v)
        return ERR_OK;
    if (!json_is_boolean(v))
        return params_refuse(why, name,
                             "Invalid type for '%s': expected a boolean, but "
                             "got %s instead.",
                             name, params_type_name(v));
    *out = json_is_true(v);
    return ERR_OK;
}

enum err params_ids(const json_t *v, const char *param, unsigned n_vocab,
                    struct arena *mem, struct params_fault *why,
                    const int32_t **ids_out)
{
    size_t n = json_array_size(v);
    int32_t *ids = arena_alloc(mem, (n + 1) * sizeof(*ids));

    if (!ids)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        int64_t id;

        if (!is_whole(json_array_get(v, i), &id))
            return params_refuse(why, param,
                                 "Invalid type for '%s[%zu]': expected a token "
                                 "id.",
                                 param, i);
        if (id < 0 || id >= (int64_t)n_vocab)
            return params_refuse(why, param,
                                 "Invalid '%s[%zu]': this model has the tokens "
                                 "0 to %u, but got %lld.",
                                 param, i, n_vocab - 1, (long long)id);
        ids[i] = (int32_t)id;
    }
    *ids_out = ids;
    return ERR_OK;
}

/* --- sampling ----------------------------------------------------------- */

static enum err read_seed(const json_t *body, struct params_fault *why,
                          struct gen_sampling *s)
{
    int64_t seed = 0;
    enum err e;

    if (!params_get(body, "seed")) {
        digest_random(&s->seed, sizeof(s->seed));
        return ERR_OK;
    }
    e = get_integer(body, "seed", INT64_MIN, INT64_MAX, why, &seed);
    s->seed = (uint64_t)seed;
    return e;
}

static enum err read_bias(const json_t *body, unsigned n_vocab,
                          struct arena *mem, struct params_fault *why,
                          struct gen_sampling *s)
{
    json_t *v = json_object_get(body, "logit_bias");
    struct gen_bias *bias;
    const char *key;
    json_t *value;
    size_t n = 0;

    if (!v || json_is_null(v))
        return ERR_OK;
    if (!json_is_object(v))
        return params_refuse(why, "logit_bias",
                             "Invalid type for 'logit_bias': expected an "
                             "object, but got %s instead.",
                             params_type_name(v));
    if (json_object_size(v) > GEN_BIAS_MAX)
        return params_refuse(why, "logit_bias",
                             "Invalid 'logit_bias': at most %d tokens may be "
                             "given.",
                             GEN_BIAS_MAX);
    bias = arena_alloc(mem, (json_object_size(v) + 1) * sizeof(*bias));
    if (!bias)
        return ERR_NOMEM;
    json_object_foreach(v, key, value)
    {
        uint64_t id;
        double d = json_number_value(value);

        if (!str_to_u64(str_from(key), &id) || id >= n_vocab)
            return params_refuse(why, "logit_bias",
                                 "Invalid key in 'logit_bias': '%.40s' is no "
                                 "token id of this model (0 to %u).",
                                 key, n_vocab - 1);
        if (!json_is_number(value) || !(d >= -100 && d <= 100))
            return params_refuse(why, "logit_bias",
                                 "Invalid 'logit_bias.%.40s': expected a "
                                 "number from -100 to 100.",
                                 key);
        bias[n++] = (struct gen_bias){(int32_t)id, (float)d};
    }
    s->bias = bias;
    s->n_bias = n;
    return ERR_OK;
}

static enum err read_top_k(const json_t *body, struct params_fault *why,
                           struct gen_sampling *s)
{
    int64_t k = 0;
    enum err e = get_integer(body, "top_k", -1, INT32_MAX, why, &k);

    s->top_k = k < 0 ? 0 : (int)k;
    return e;
}

static enum err read_sampling(const json_t *body, struct params_fault *why,
                              struct gen_sampling *s)
{
    enum err e = get_number(body, "temperature", 0, 2, why, &s->temperature);

    if (e == ERR_OK)
        e = get_number(body, "top_p", 0, 1, why, &s->top_p);
    if (e == ERR_OK)
        e = get_number(body, "min_p", 0, 1, why, &s->min_p);
    if (e == ERR_OK)
        e = read_top_k(body, why, s);
    if (e == ERR_OK)
        e = get_number(body, "presence_penalty", -2, 2, why,
                       &s->presence_penalty);
    if (e == ERR_OK)
        e = get_number(body, "frequency_penalty", -2, 2, why,
                       &s->frequency_penalty);
    if (e == ERR_OK)
        e = get_number(body, "repeat_penalty", 0.01, REPEAT_MAX, why,
                       &s->repetition_penalty);
    if (e == ERR_OK)
        e = get_number(body, "repetition_penalty", 0.01, REPEAT_MAX, why,
                       &s->repetition_penalty);
    return e == ERR_OK ? read_seed(body, why, s) : e;
}

/* --- when to stop ------------------------------------------------------- */

static enum err add_stop(const json_t *v, struct arena *mem,
                         struct params_fault *why, struct str *out)
{
    if (!json_is_string(v))
        return params_refuse(why, "stop",
                             "Invalid type for 'stop': expected a string or "
                             "an array of strings, but got %s instead.",
                             params_type_name(v));
    if (json_string_length(v) == 0)
        return params_refuse(why, "stop",
                             "Invalid 'stop': a stop sequence may not be "
                             "empty.");
    if (json_string_length(v) > STOP_MAX)
        return params_refuse(why, "stop",
                             "Invalid 'stop': a stop sequence may have at most "
                             "%d bytes.",
                             STOP_MAX);
    *out = arena_dup(mem, params_str(v));
    return out->p ? ERR_OK : ERR_NOMEM;
}

static enum err read_stops(const json_t *body, struct arena *mem,
                           struct params_fault *why, struct params *p)
{
    const json_t *v = params_get(body, "stop");
    size_t n = !v ? 0 : json_is_array(v) ? json_array_size(v) : 1;
    struct str *stops = arena_alloc(mem, (n + 1) * sizeof(*stops));
    enum err e = stops ? ERR_OK : ERR_NOMEM;

    if (n > GEN_STOPS_MAX)
        return params_refuse(why, "stop",
                             "Invalid 'stop': array too long. Expected at "
                             "most %d elements, but got %zu instead.",
                             GEN_STOPS_MAX, n);
    for (size_t i = 0; i < n && e == ERR_OK; i++)
        e = add_stop(json_is_array(v) ? json_array_get(v, i) : v, mem, why,
                     &stops[i]);
    p->stops = stops;
    p->n_stops = n;
    return e;
}

static enum err read_stop_ids(const json_t *body, unsigned n_vocab,
                              struct arena *mem, struct params_fault *why,
                              struct params *p)
{
    const json_t *v = params_get(body, "stop_token_ids");

    if (!v)
        return ERR_OK;
    if (!json_is_array(v))
        return params_refuse(why, "stop_token_ids",
                             "Invalid type for 'stop_token_ids': expected an "
                             "array of token ids.");
    p->n_stop_ids = json_array_size(v);
    return params_ids(v, "stop_token_ids", n_vocab, mem, why, &p->stop_ids);
}

static enum err read_lengths(const json_t *body, enum endpoint kind,
                             struct params_fault *why, struct params *p)
{
    int64_t least = 0;
    int64_t lo = kind == ENDPOINT_CHAT ? 1 : 0;
    enum err e =
        get_integer(body, "max_tokens", lo, INT32_MAX, why, &p->max_tokens);

    if (e == ERR_OK && kind == ENDPOINT_CHAT)
        e = get_integer(body, "max_completion_tokens", lo, INT32_MAX, why,
                        &p->max_tokens);
    if (e == ERR_OK)
        e = get_integer(body, "min_tokens", 0, INT32_MAX, why, &least);
    if (e == ERR_OK && least > 0)
        return params_refuse(why, "min_tokens",
                             "'min_tokens' is not supported by the engine; "
                             "leave it out or use 'ignore_eos'.");
    if (e == ERR_OK)
        e = get_bool(body, "ignore_eos", why, &p->ignore_eos);
    return e;
}

/* --- choices and probabilities ------------------------------------------ */

static enum err read_choices(const json_t *body, enum endpoint kind,
                             struct params_fault *why, struct params *p)
{
    int64_t n = 1, best = 0;
    bool stream = json_is_true(json_object_get(body, "stream"));
    enum err e = get_integer(body, "n", 1, GEN_CHOICES_MAX, why, &n);

    if (e == ERR_OK && kind == ENDPOINT_COMPLETIONS)
        e = get_integer(body, "best_of", 0, BEST_OF_MAX, why, &best);
    if (e != ERR_OK)
        return e;
    if (best > 0 && best < n)
        return params_refuse(why, "best_of",
                             "Invalid 'best_of': it must be at least 'n', "
                             "which is %lld, but got %lld.",
                             (long long)n, (long long)best);
    if (best > n && stream)
        return params_refuse(why, "best_of",
                             "'best_of' above 'n' cannot be streamed: the best "
                             "choice is known only at the end.");
    p->n = (unsigned)n;
    p->best_of = (unsigned)(best > n ? best : n);
    return ERR_OK;
}

static enum err read_chat_logprobs(const json_t *body, struct params_fault *why,
                                   struct params *p)
{
    int64_t top = 0;
    enum err e = get_bool(body, "logprobs", why, &p->logprobs);

    if (e == ERR_OK)
        e = get_integer(body, "top_logprobs", 0, GEN_LOGPROBS_MAX, why, &top);
    if (e == ERR_OK && params_get(body, "top_logprobs") && !p->logprobs)
        return params_refuse(why, "top_logprobs",
                             "'top_logprobs' needs 'logprobs' to be true.");
    p->top_logprobs = (unsigned)top;
    return e;
}

static enum err read_text_logprobs(const json_t *body, struct params_fault *why,
                                   struct params *p)
{
    const json_t *v = params_get(body, "logprobs");
    int64_t top = 0;
    enum err e;

    if (!v || json_is_false(v))
        return ERR_OK;
    e = json_is_true(v)
            ? ERR_OK
            : get_integer(body, "logprobs", 0, GEN_LOGPROBS_MAX, why, &top);
    p->logprobs = e == ERR_OK;
    p->top_logprobs = (unsigned)top;
    return e;
}

/* --- the rest ----------------------------------------------------------- */

/* Whether <v> says nothing that would have to be done. */
static bool is_idle(const json_t *v)
{
    return !v || json_is_false(v) ||
           (json_is_string(v) && json_string_length(v) == 0) ||
           (json_is_array(v) && json_array_size(v) == 0);
}

/* Known fields that this engine has no answer to. */
static enum err refuse_unable(const json_t *body, struct params_fault *why)
{
    static const struct {
        const char *name;
        const char *instead;
    } unable[] = {
        {"suffix", "put the parts of the prompt together yourself"},
        {"audio", "leave it out"},
        {"functions", "send 'tools' instead"},
        {"function_call", "send 'tool_choice' instead"},
        {"web_search_options", "leave it out"},
        {"grammar", "send 'response_format' of type json_schema instead"},
        {"guided_regex", "send 'response_format' of type json_schema instead"},
        {"guided_grammar",
         "send 'response_format' of type json_schema instead"},
        {"guided_choice", "send 'response_format' with an enum instead"},
        {"structured_outputs",
         "send 'response_format' of type json_schema instead"},
        {"use_beam_search", "leave it out"},
        {"continue_final_message", "leave it out"},
        {"prompt_logprobs", "use 'echo' with 'logprobs' on /v1/completions"},
    };

    for (size_t i = 0; i < sizeof(unable) / sizeof(unable[0]); i++)
        if (!is_idle(params_get(body, unable[i].name)))
            return params_refuse(why, unable[i].name,
                                 "Unsupported parameter: '%s' is not supported "
                                 "with this model; %s.",
                                 unable[i].name, unable[i].instead);
    return ERR_OK;
}

static enum err read_modalities(const json_t *body, struct params_fault *why)
{
    const json_t *v = params_get(body, "modalities");

    for (size_t i = 0; i < json_array_size(v); i++)
        if (!str_eq(params_str(json_array_get(v, i)), STR("text")))
            return params_refuse(why, "modalities",
                                 "This model answers in text only.");
    return ERR_OK;
}

static enum err read_salt(const json_t *body, struct params_fault *why,
                          struct arena *mem, struct params *p)
{
    const json_t *v = params_get(body, "cache_salt");

    if (!v)
        return ERR_OK;
    if (!json_is_string(v) || json_string_length(v) == 0 ||
        json_string_length(v) > SALT_MAX)
        return params_refuse(why, "cache_salt",
                             "'cache_salt' must be a string of 1 to %d bytes.",
                             SALT_MAX);
    p->cache_salt = arena_dup(mem, params_str(v));
    return p->cache_salt.p ? ERR_OK : ERR_NOMEM;
}

static enum err read_chat(const json_t *body, struct params_fault *why,
                          struct params *p)
{
    const json_t *kwargs = params_get(body, "chat_template_kwargs");
    enum err e = read_chat_logprobs(body, why, p);

    if (e == ERR_OK && kwargs && !json_is_object(kwargs))
        e = params_refuse(why, "chat_template_kwargs",
                          "'chat_template_kwargs' must be an object.");
    p->kwargs = kwargs;
    p->thinking = params_get(body, "enable_thinking");
    p->effort = params_get(body, "reasoning_effort");
    if (e == ERR_OK)
        e = get_bool(body, "add_generation_prompt", why, &p->add_generation);
    if (e == ERR_OK)
        e = read_modalities(body, why);
    if (e == ERR_OK)
        e = params_read_tools(body, why, p);
    return e;
}

static enum err read_text(const json_t *body, struct params_fault *why,
                          struct params *p)
{
    enum err e = read_text_logprobs(body, why, p);

    if (e == ERR_OK)
        e = get_bool(body, "echo", why, &p->echo);
    if (e == ERR_OK && p->max_tokens == 0 && !p->echo)
        return params_refuse(why, "max_tokens",
                             "Invalid 'max_tokens': 0 needs 'echo' to be "
                             "true.");
    if (e == ERR_OK && p->max_tokens < 0)
        p->max_tokens = 16; /* what the API says of this endpoint */
    return e;
}

enum err params_read(const json_t *body, enum endpoint kind, unsigned n_vocab,
                     struct arena *mem, struct params_fault *why,
                     struct params *out)
{
    struct params *p = out;
    bool skip = true;
    enum err e;

    *p = (struct params){
        .sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1},
        .n = 1,
        .best_of = 1,
        .max_tokens = -1,
        .add_generation = true,
        .parallel = true,
    };
    e = refuse_unable(body, why);
    if (e == ERR_OK)
        e = read_sampling(body, why, &p->sampling);
    if (e == ERR_OK)
        e = read_bias(body, n_vocab, mem, why, &p->sampling);
    if (e == ERR_OK)
        e = read_stops(body, mem, why, p);
    if (e == ERR_OK)
        e = read_stop_ids(body, n_vocab, mem, why, p);
    if (e == ERR_OK)
        e = read_lengths(body, kind, why, p);
    if (e == ERR_OK)
        e = read_choices(body, kind, why, p);
    if (e == ERR_OK)
        e = get_bool(body, "skip_special_tokens", why, &skip);
    p->keep_special = !skip;
    if (e == ERR_OK)
        e = read_salt(body, why, mem, p);
    if (e == ERR_OK)
        e = params_read_format(body, why, p);
    if (e == ERR_OK)
        e = kind == ENDPOINT_CHAT ? read_chat(body, why, p)
                                  : read_text(body, why, p);
    return e;
}

void params_fini(struct params *p)
{
    json_decref(p->tools);
    p->tools = NULL;
}
