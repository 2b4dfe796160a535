/* params.c - Numbers, switches and lists of a request: ranges as the OpenAI
 * API has them, and the further knobs of vLLM and llama.cpp under their names.
 * A known field that cannot be honoured is refused unless it says its
 * default. */
#include "engine/params.h"

#include <math.h>
#include <stdio.h>

#include "base/digest.h"

#define BEST_OF_MAX 20
#define SALT_MAX    256
#define STOP_MAX    4096 /* bytes of one stop string */
#define REPEAT_MAX  10.0

/* --- sampling ----------------------------------------------------------- */

static enum err read_seed(const json_t *body, struct params_fault *why,
                          struct gen_sampling *s)
{
    const json_t *v = params_get(body, "seed");
    int64_t seed = 0;
    enum err e;

    if (!v) {
        digest_random(&s->seed, sizeof(s->seed));
        return ERR_OK;
    }
    /* The API rounds its bounds: what it allows at most is one more than the
     * largest integer of 64 bits. */
    if (json_is_real(v) && fabs(json_real_value(v)) == 0x1p63) {
        s->seed = UINT64_C(1) << 63;
        return ERR_OK;
    }
    e = params_integer(body, "seed", INT64_MIN, INT64_MAX, why, &seed);
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
    ERR_TRY(params_expect(v, PARAMS_OBJECT, "logit_bias", why));
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
        char at[64];

        snprintf(at, sizeof(at), "logit_bias.%.40s", key);
        if (!str_to_u64(str_from(key), &id) || id >= n_vocab)
            return params_refuse(why, at,
                                 "Invalid key in 'logit_bias': '%.40s' is no "
                                 "token id of this model (0 to %u).",
                                 key, n_vocab - 1);
        if (!json_is_number(value) || !(d >= -100 && d <= 100))
            return params_refuse(why, at,
                                 "Invalid '%s': expected a number from -100 to "
                                 "100.",
                                 at);
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
    enum err e = params_integer(body, "top_k", -1, INT32_MAX, why, &k);

    s->top_k = k < 0 ? 0 : (int)k;
    return e;
}

static enum err read_sampling(const json_t *body, struct params_fault *why,
                              struct gen_sampling *s)
{
    enum err e = params_number(body, "temperature", 0, 2, why, &s->temperature);

    if (e == ERR_OK)
        e = params_number(body, "top_p", 0, 1, why, &s->top_p);
    if (e == ERR_OK)
        e = params_number(body, "min_p", 0, 1, why, &s->min_p);
    if (e == ERR_OK)
        e = read_top_k(body, why, s);
    if (e == ERR_OK)
        e = params_number(body, "presence_penalty", -2, 2, why,
                          &s->presence_penalty);
    if (e == ERR_OK)
        e = params_number(body, "frequency_penalty", -2, 2, why,
                          &s->frequency_penalty);
    if (e == ERR_OK)
        e = params_number(body, "repeat_penalty", 0.01, REPEAT_MAX, why,
                          &s->repetition_penalty);
    if (e == ERR_OK)
        e = params_number(body, "repetition_penalty", 0.01, REPEAT_MAX, why,
                          &s->repetition_penalty);
    return e == ERR_OK ? read_seed(body, why, s) : e;
}

/* --- when to stop ------------------------------------------------------- */

static enum err add_stop(const json_t *v, const char *at, struct arena *mem,
                         struct params_fault *why, struct str *out)
{
    ERR_TRY(params_need(v, PARAMS_STRING, at, why));
    if (json_string_length(v) == 0)
        return params_refuse(
            why, at, "Invalid '%s': a stop sequence may not be empty.", at);
    if (json_string_length(v) > STOP_MAX)
        return params_refuse(why, at,
                             "Invalid '%s': a stop sequence may have at most "
                             "%d bytes.",
                             at, STOP_MAX);
    *out = arena_dup(mem, params_str(v));
    return out->p ? ERR_OK : ERR_NOMEM;
}

static enum err read_stops(const json_t *body, struct arena *mem,
                           struct params_fault *why, struct params *p)
{
    const json_t *v = params_get(body, "stop");
    bool list = json_is_array(v);
    size_t n = !v ? 0 : list ? json_array_size(v) : 1;
    struct str *stops;

    ERR_TRY(params_expect(v, PARAMS_STRING | PARAMS_ARRAY, "stop", why));
    if (n > GEN_STOPS_MAX)
        return params_refuse(why, "stop",
                             "Invalid 'stop': array too long. Expected at "
                             "most %d elements, but got %zu instead.",
                             GEN_STOPS_MAX, n);
    stops = arena_alloc(mem, (n + 1) * sizeof(*stops));
    if (!stops)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        char at[24];

        snprintf(at, sizeof(at), list ? "stop[%zu]" : "stop", i);
        ERR_TRY(
            add_stop(list ? json_array_get(v, i) : v, at, mem, why, &stops[i]));
    }
    p->stops = stops;
    p->n_stops = n;
    return ERR_OK;
}

static enum err read_stop_ids(const json_t *body, unsigned n_vocab,
                              struct arena *mem, struct params_fault *why,
                              struct params *p)
{
    const json_t *v = params_get(body, "stop_token_ids");

    if (!v)
        return ERR_OK;
    ERR_TRY(params_expect(v, PARAMS_ARRAY, "stop_token_ids", why));
    p->n_stop_ids = json_array_size(v);
    return params_ids(v, "stop_token_ids", n_vocab, mem, why, &p->stop_ids);
}

static enum err read_lengths(const json_t *body, enum endpoint kind,
                             struct params_fault *why, struct params *p)
{
    int64_t least = 0;
    int64_t lo = kind == ENDPOINT_CHAT ? 1 : 0;
    enum err e =
        params_integer(body, "max_tokens", lo, INT32_MAX, why, &p->max_tokens);

    if (e == ERR_OK && kind == ENDPOINT_CHAT)
        e = params_integer(body, "max_completion_tokens", lo, INT32_MAX, why,
                           &p->max_tokens);
    if (e == ERR_OK)
        e = params_integer(body, "min_tokens", 0, INT32_MAX, why, &least);
    if (e == ERR_OK && least > 0)
        return params_refuse(why, "min_tokens",
                             "'min_tokens' is not supported by the engine; "
                             "leave it out or use 'ignore_eos'.");
    if (e == ERR_OK)
        e = params_bool(body, "ignore_eos", why, &p->ignore_eos);
    return e;
}

/* --- choices and probabilities ------------------------------------------ */

static enum err read_choices(const json_t *body, enum endpoint kind,
                             struct params_fault *why, struct params *p)
{
    int64_t n = 1, best = 0;
    bool stream = json_is_true(json_object_get(body, "stream"));
    enum err e = params_integer(body, "n", 1, GEN_CHOICES_MAX, why, &n);

    if (e == ERR_OK && kind == ENDPOINT_COMPLETIONS)
        e = params_integer(body, "best_of", 0, BEST_OF_MAX, why, &best);
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
    enum err e = params_bool(body, "logprobs", why, &p->logprobs);

    if (e == ERR_OK)
        e = params_integer(body, "top_logprobs", 0, GEN_LOGPROBS_MAX, why,
                           &top);
    if (e == ERR_OK && params_get(body, "top_logprobs") && !p->logprobs)
        return params_refuse(why, "top_logprobs",
                             "'top_logprobs' needs 'logprobs' to be true.");
    p->top_logprobs = (unsigned)top;
    return e;
}

static enum err read_text_logprobs(const json_t *body, struct params_fault *why,
                                   struct params *p)
{
    int64_t top = 0;
    enum err e =
        params_integer(body, "logprobs", 0, GEN_LOGPROBS_MAX, why, &top);

    p->logprobs = params_get(body, "logprobs") && e == ERR_OK;
    p->top_logprobs = (unsigned)top;
    return e;
}

/* --- the rest ----------------------------------------------------------- */

static enum err read_salt(const json_t *body, struct params_fault *why,
                          struct arena *mem, struct params *p)
{
    const json_t *v = params_get(body, "cache_salt");

    if (!v)
        return ERR_OK;
    ERR_TRY(params_expect(v, PARAMS_STRING, "cache_salt", why));
    if (json_string_length(v) == 0 || json_string_length(v) > SALT_MAX)
        return params_refuse(why, "cache_salt",
                             "Invalid 'cache_salt': expected a string of 1 to "
                             "%d bytes.",
                             SALT_MAX);
    p->cache_salt = arena_dup(mem, params_str(v));
    return p->cache_salt.p ? ERR_OK : ERR_NOMEM;
}

/* Its type is judged among the fields that say nothing: an empty one does. */
static enum err read_cache_key(const json_t *body, struct arena *mem,
                               struct params *p)
{
    p->cache_key =
        arena_dup(mem, params_str(params_get(body, "prompt_cache_key")));
    return p->cache_key.p ? ERR_OK : ERR_NOMEM;
}

static enum err read_chat(const json_t *body, struct params_fault *why,
                          struct params *p)
{
    p->kwargs = params_get(body, "chat_template_kwargs");
    p->thinking = params_get(body, "enable_thinking");
    p->effort = params_get(body, "reasoning_effort");
    ERR_TRY(read_chat_logprobs(body, why, p));
    ERR_TRY(
        params_expect(p->kwargs, PARAMS_OBJECT, "chat_template_kwargs", why));
    ERR_TRY(params_expect(p->thinking, PARAMS_BOOL, "enable_thinking", why));
    ERR_TRY(params_expect(p->effort, PARAMS_STRING, "reasoning_effort", why));
    ERR_TRY(
        params_bool(body, "add_generation_prompt", why, &p->add_generation));
    return params_read_tools(body, why, p);
}

static enum err read_text(const json_t *body, struct params_fault *why,
                          struct params *p)
{
    enum err e = read_text_logprobs(body, why, p);

    if (e == ERR_OK)
        e = params_bool(body, "echo", why, &p->echo);
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
    e = params_judge_known(body, why);
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
        e = params_bool(body, "skip_special_tokens", why, &skip);
    p->keep_special = !skip;
    if (e == ERR_OK)
        e = read_salt(body, why, mem, p);
    if (e == ERR_OK)
        e = read_cache_key(body, mem, p);
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
