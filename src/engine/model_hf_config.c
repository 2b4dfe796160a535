/* model_hf_config.c - Hyper-parameters from a config.json as Hugging Face
 * writes it, in both spellings of rotary scaling: rope_scaling with rope_theta
 * beside it, and rope_parameters with all in it. Weights of these directories
 * are in the order that wants rotary pairs in halves, whatever the
 * architecture. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "engine/model_fault.h"
#include "engine/model_json.h"
#include "engine/model_priv.h"

#define CONFIG_MAX ((size_t)256 << 10)
#define ENDS_MAX   64

/* What the name of a class stands for. */
struct class
{
    const char *name;
    enum model_arch arch;
    bool mistral; /* its sliding window is on whenever it is told */
};

static const struct class classes[] = {
    {"LlamaForCausalLM", MODEL_LLAMA, false},
    {"MistralForCausalLM", MODEL_LLAMA, true},
    {"Qwen2ForCausalLM", MODEL_QWEN2, false},
    {"Qwen3ForCausalLM", MODEL_QWEN3, false},
};

/* The class that <j> names; NULL, with j->err, when there is none. */
static const struct class *find_class(struct mjson *j)
{
    const json_t *list = mjson_get(j, "architectures");
    const char *name = json_string_value(json_array_get(list, 0));

    if (!name) {
        j->err = model_fail(j->why, ERR_SYNTAX, "'architectures' is missing");
        return NULL;
    }
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        if (strcmp(name, classes[i].name) == 0)
            return &classes[i];
    j->err = model_fail(j->why, ERR_REFUSED,
                        "architecture '%s' is not supported; supported: "
                        "LlamaForCausalLM, MistralForCausalLM, "
                        "Qwen2ForCausalLM, Qwen3ForCausalLM",
                        model_show(str_from(name)).text);
    return NULL;
}

/* Refuse what this engine would compute wrongly. */
static enum err refuse_others(struct mjson *j)
{
    const json_t *quant = mjson_get(j, "quantization_config");
    const char *act = mjson_str(j, "hidden_act", "silu");
    const char *method =
        json_string_value(json_object_get(quant, "quant_method"));

    if (quant)
        return model_fail(j->why, ERR_REFUSED,
                          "quantization '%s' is not supported; supported: "
                          "weights in F32, F16 or BF16",
                          model_show(str_from(method ? method : "?")).text);
    if (strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0)
        return model_fail(j->why, ERR_REFUSED,
                          "hidden_act '%s' is not supported; supported: silu",
                          model_show(str_from(act)).text);
    if (mjson_bool(j, "mlp_bias", false))
        return model_fail(j->why, ERR_REFUSED, "mlp_bias is not supported");
    if (mjson_bool(j, "rope_interleaved", false))
        return model_fail(j->why, ERR_REFUSED,
                          "rope_interleaved is not supported");
    if (mjson_f32(j, "partial_rotary_factor", 1) != 1)
        return model_fail(j->why, ERR_REFUSED,
                          "partial_rotary_factor is not supported");
    return j->err;
}

/* --- rotary embedding --------------------------------------------------- */

/* The logarithm of yarn's attention. */
static float yarn_scale(float factor, float m)
{
    return factor <= 1 ? 1.0f : 0.1f * m * logf(factor) + 1.0f;
}

static void read_yarn(struct mjson *j, struct model_rope *r)
{
    float m = mjson_f32(j, "mscale", 0),
          all = mjson_f32(j, "mscale_all_dim", 0);
    float natural = yarn_scale(r->factor, 1);

    if (m > 0 && all > 0)
        natural = yarn_scale(r->factor, m) / yarn_scale(r->factor, all);
    r->scaling = MODEL_ROPE_YARN;
    r->ext_factor = 1;
    r->attn_factor = mjson_f32(j, "attention_factor", natural);
    r->beta_fast = mjson_f32(j, "beta_fast", 32);
    r->beta_slow = mjson_f32(j, "beta_slow", 1);
    if (!mjson_bool(j, "truncate", true) && j->err == ERR_OK)
        j->err = model_fail(j->why, ERR_REFUSED,
                            "yarn with truncate false is not supported");
}

static void read_scaling(struct mjson *j, struct model_params *p)
{
    const char *type = mjson_str(j, "type", "default");
    struct model_rope *r = &p->rope;

    type = mjson_str(j, "rope_type", type);
    r->factor = mjson_f32(j, "factor", 1);
    r->orig_context =
        mjson_u32(j, "original_max_position_embeddings", p->context);
    if (strcmp(type, "default") == 0) {
        r->factor = 1;
    } else if (strcmp(type, "linear") == 0) {
        r->scaling = MODEL_ROPE_LINEAR;
    } else if (strcmp(type, "llama3") == 0) {
        r->scaling = MODEL_ROPE_LLAMA3;
        r->low_freq = mjson_f32(j, "low_freq_factor", 0);
        r->high_freq = mjson_f32(j, "high_freq_factor", 0);
    } else if (strcmp(type, "yarn") == 0) {
        read_yarn(j, r);
    } else if (j->err == ERR_OK) {
        j->err = model_fail(j->why, ERR_REFUSED,
                            "rope scaling '%s' is not supported; supported: "
                            "default, linear, llama3, yarn",
                            model_show(str_from(type)).text);
    }
    if (r->scaling != MODEL_ROPE_NONE && !mjson_get(j, "factor") &&
        j->err == ERR_OK)
        j->err =
            model_fail(j->why, ERR_SYNTAX, "the rope scaling has no factor");
}

/* Yarn tells how far it stretches what the model was trained for. */
static void stretch_context(struct model_params *p)
{
    float far = p->rope.factor * (float)p->rope.orig_context;

    if (p->rope.scaling == MODEL_ROPE_YARN && far > (float)p->context &&
        far < 0x1p28f)
        p->context = (unsigned)far;
}

static void read_rope(struct mjson *j, struct model_params *p)
{
    const json_t *both = mjson_get(j, "rope_parameters");
    const json_t *old = mjson_get(j, "rope_scaling");
    struct mjson in = {.object = both ? both : old, .why = j->why};
    struct model_rope *r = &p->rope;

    r->halves = true;
    r->n_rot = p->d_head;
    r->base = mjson_f32(j, "rope_theta", 10000);
    r->factor = 1;
    r->attn_factor = 1;
    if (!in.object || j->err != ERR_OK)
        return;
    if (!json_is_object(in.object)) {
        j->err =
            model_fail(j->why, ERR_SYNTAX, "the rope scaling is no object");
        return;
    }
    r->base = mjson_f32(&in, "rope_theta", r->base);
    read_scaling(&in, p);
    if (in.err == ERR_OK &&
        (mjson_get(&in, "full_attention") || mjson_get(&in, "mrope_section") ||
         mjson_f32(&in, "partial_rotary_factor", 1) != 1))
        in.err = model_fail(j->why, ERR_REFUSED,
                            "rope parameters of several kinds in one model "
                            "are not supported");
    j->err = in.err;
}

/* --- the whole ---------------------------------------------------------- */

/* A window smaller than the context bounds it: within it every token sees all
 * others, as this engine computes it. */
static void read_window(struct mjson *j, const struct class *c,
                        struct model_params *p)
{
    unsigned window = mjson_u32(j, "sliding_window", UINT32_MAX);
    bool on = mjson_bool(j, "use_sliding_window", c->mistral);

    if (on && window > 0 && window < p->context)
        p->context = window;
}

/* Append one id to the end tokens of <m>. */
static bool add_end(struct model *m, const json_t *v)
{
    int32_t *ids = (int32_t *)(uintptr_t)m->end_ids;

    if (!json_is_integer(v) || json_integer_value(v) < 0 ||
        json_integer_value(v) > INT32_MAX || m->n_end_ids == ENDS_MAX)
        return false;
    ids[m->n_end_ids++] = (int32_t)json_integer_value(v);
    return true;
}

/* Replace the end tokens by those of <j>, if it tells any. */
static enum err read_ends(struct model *m, struct mjson *j)
{
    const json_t *v = mjson_get(j, "eos_token_id");
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    bool ok = true;

    if (!v)
        return ERR_OK;
    if (!m->end_ids)
        m->end_ids =
            arena_alloc(m->store->arena, ENDS_MAX * sizeof(*m->end_ids));
    if (!m->end_ids)
        return model_fail(j->why, ERR_NOMEM, "out of memory");
    m->n_end_ids = 0;
    for (size_t i = 0; i < n && ok; i++)
        ok = add_end(m, json_is_array(v) ? json_array_get(v, i) : v);
    return ok ? ERR_OK
              : model_fail(j->why, ERR_SYNTAX,
                           "'eos_token_id' is no id nor a list of ids");
}

static enum err read_params(struct mjson *j, const struct class *c,
                            struct model_params *p)
{
    p->arch = c->arch;
    p->n_layer = mjson_u32(j, "num_hidden_layers", 0);
    p->d_model = mjson_u32(j, "hidden_size", 0);
    p->d_ff = mjson_u32(j, "intermediate_size", 0);
    p->n_head = mjson_u32(j, "num_attention_heads", 0);
    p->context = mjson_u32(j, "max_position_embeddings", 0);
    p->rms_eps = mjson_f32(j, "rms_norm_eps", 1e-6f);
    if (j->err != ERR_OK)
        return j->err;
    if (p->n_head == 0 || p->context == 0)
        return model_fail(j->why, ERR_SYNTAX,
                          "'num_attention_heads' or 'max_position_embeddings' "
                          "is 0");
    p->n_kv_head = mjson_u32(j, "num_key_value_heads", p->n_head);
    p->d_head = p->arch == MODEL_QWEN3 ? 128 : p->d_model / p->n_head;
    if (p->d_head == 0 || mjson_get(j, "head_dim"))
        p->d_head = mjson_u32(j, "head_dim", 0);
    else if (p->arch != MODEL_QWEN3 && p->d_model % p->n_head != 0)
        return model_fail(j->why, ERR_SYNTAX,
                          "%u heads do not divide a width of %u", p->n_head,
                          p->d_model);
    if (j->err == ERR_OK)
        read_rope(j, p);
    if (j->err == ERR_OK)
        stretch_context(p);
    read_window(j, c, p);
    return j->err == ERR_OK ? model_check_params(p, j->why) : j->err;
}

static enum err read_config(struct model *m, struct mjson *j,
                            struct model_binding *how)
{
    const struct class *c = find_class(j);
    enum err e;
    bool tied;

    if (!c)
        return j->err;
    e = refuse_others(j);
    if (e == ERR_OK)
        e = read_params(j, c, &m->p);
    if (e != ERR_OK)
        return e;
    tied = mjson_bool(j, "tie_word_embeddings", false);
    *how = (struct model_binding){
        .naming = MODEL_NAMES_HF,
        .prefix = "model.",
        .attention_bias = !c->mistral && c->arch != MODEL_QWEN2 &&
                          mjson_bool(j, "attention_bias", false),
        .ignore_head = tied,
        .need_head = !tied && mjson_get(j, "tie_word_embeddings"),
    };
    e = read_ends(m, j);
    return e == ERR_OK ? j->err : e;
}

enum err model_hf_config(struct model *m, struct str text,
                         struct model_fault *why, struct model_binding *how_out)
{
    struct mjson j = {.why = why};
    json_t *root;
    enum err e = mjson_parse(text, CONFIG_MAX, why, &root);

    if (e != ERR_OK)
        return e;
    j.object = root;
    e = read_config(m, &j, how_out);
    json_decref(root);
    return e;
}

/* A number that is advice: absent or odd ones are no matter. */
static float advice(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    double d = json_number_value(v);

    return json_is_number(v) && d >= 0 && d <= 1e6 ? (float)d : -1.0f;
}

enum err model_hf_generation(struct model *m, struct str text,
                             struct model_fault *why)
{
    struct model_sampling *s = &m->sampling;
    struct mjson j = {.why = why};
    json_t *root;
    enum err e = mjson_parse(text, CONFIG_MAX, why, &root);

    if (e != ERR_OK)
        return e;
    j.object = root;
    s->temperature = advice(root, "temperature");
    s->top_p = advice(root, "top_p");
    s->min_p = advice(root, "min_p");
    s->repetition_penalty = advice(root, "repetition_penalty");
    s->top_k = (int)advice(root, "top_k");
    e = read_ends(m, &j);
    json_decref(root);
    return e;
}

enum err model_hf_pooling(struct model *m, struct str text,
                          struct model_fault *why)
{
    struct mjson j = {.why = why};
    json_t *root;
    enum err e = mjson_parse(text, CONFIG_MAX, why, &root);
    bool last, mean;

    if (e != ERR_OK)
        return e;
    j.object = root;
    last = mjson_bool(&j, "pooling_mode_lasttoken", false);
    mean = mjson_bool(&j, "pooling_mode_mean_tokens", false);
    e = j.err;
    if (e == ERR_OK && last == mean)
        e = model_fail(why, ERR_REFUSED,
                       "this way of pooling is not supported; supported: "
                       "mean of all tokens, last token");
    m->p.pooling = last ? MODEL_POOL_LAST : MODEL_POOL_MEAN;
    json_decref(root);
    return e;
}
