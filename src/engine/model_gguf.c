/* model_gguf.c - Hyper-parameters, names and templates from the metadata of a
 * GGUF file. Keys are those of the format's specification; a key that would
 * change the arithmetic in a way this engine does not know is refused. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/gguf.h"
#include "engine/model_fault.h"
#include "engine/model_priv.h"

#define KEY_ROOM 128

/* Metadata under the prefix of the architecture; the first error stays. */
struct keys {
    const struct gguf *g;
    const char *arch;
    struct model_fault *why;
    enum err err;
};

static const char *const arch_names[] = {
    [MODEL_LLAMA] = "llama", [MODEL_QWEN2] = "qwen2", [MODEL_QWEN3] = "qwen3"};

static const struct gguf_value *key_find(struct keys *k, const char *name)
{
    char key[KEY_ROOM];

    snprintf(key, sizeof(key), "%s.%s", k->arch, name);
    return gguf_find(k->g, str_from(key));
}

static void key_fail(struct keys *k, const char *name, const char *what)
{
    if (k->err == ERR_OK)
        k->err = model_fail(k->why, ERR_SYNTAX, "metadata '%s.%s' %s", k->arch,
                            name, what);
}

/* A whole number, or an array of the same one for each layer. */
static bool value_u64(const struct gguf_value *v, uint64_t *out)
{
    uint64_t first, other;
    struct gguf_value item;

    if (v->type != GGUF_ARRAY)
        return gguf_as_u64(v, out);
    if (v->n == 0 || v->item == GGUF_STRING || v->item == GGUF_ARRAY)
        return false;
    item = gguf_item(v, 0);
    if (!gguf_as_u64(&item, &first))
        return false;
    for (size_t i = 1; i < v->n; i++) {
        item = gguf_item(v, i);
        if (!gguf_as_u64(&item, &other) || other != first)
            return false;
    }
    *out = first;
    return true;
}

/* The whole number <name>; <absent> when there is none, or an error when that
 * is 0. */
static unsigned key_u32(struct keys *k, const char *name, unsigned absent)
{
    const struct gguf_value *v = key_find(k, name);
    uint64_t u = absent;

    if (!v && absent == 0)
        key_fail(k, name, "is missing");
    else if (v && !value_u64(v, &u))
        key_fail(k, name, "is no whole number, the same for all layers");
    else if (u > UINT32_MAX)
        key_fail(k, name, "is too large");
    return k->err == ERR_OK ? (unsigned)u : 0;
}

static bool key_has(struct keys *k, const char *name)
{
    return key_find(k, name) != NULL;
}

/* The number <name>, or <absent>. */
static float key_f32(struct keys *k, const char *name, float absent)
{
    const struct gguf_value *v = key_find(k, name);
    double d = (double)absent;

    if (v && (!gguf_as_f64(v, &d) || !isfinite(d)))
        key_fail(k, name, "is no finite number");
    return (float)d;
}

/* --- hyper-parameters --------------------------------------------------- */

static enum err find_arch(const struct gguf *g, struct model_fault *why,
                          enum model_arch *out)
{
    const struct gguf_value *v = gguf_find(g, STR("general.architecture"));
    struct str name;

    if (!v || !gguf_as_str(v, &name))
        return model_fail(why, ERR_SYNTAX,
                          "metadata 'general.architecture' is missing");
    for (unsigned a = 0; a <= MODEL_QWEN3; a++) {
        if (str_eq(name, str_from(arch_names[a]))) {
            *out = (enum model_arch)a;
            return ERR_OK;
        }
    }
    return model_fail(why, ERR_REFUSED,
                      "architecture '%s' is not supported; supported: llama, "
                      "qwen2, qwen3",
                      model_show(name).text);
}

/* Refuse what this engine would compute wrongly. */
static void refuse_others(struct keys *k)
{
    static const char *const unknown[] = {
        "attention.scale",
        "attention.clamp_kqv",
        "attention.max_alibi_bias",
        "attention.temperature_scale",
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "logit_scale",
        "residual_scale",
        "embedding_scale",
        "rope.dimension_sections",
        "attention.kv_lora_rank",
        "attention.q_lora_rank",
    };
    const struct gguf_value *v = key_find(k, "attention.causal");
    bool causal = true;

    if (key_u32(k, "expert_count", UINT32_MAX) != UINT32_MAX &&
        key_u32(k, "expert_count", 1) > 0 && k->err == ERR_OK)
        k->err = model_fail(k->why, ERR_REFUSED,
                            "mixtures of experts are not supported; "
                            "supported: dense models");
    if (v && (!gguf_as_bool(v, &causal) || !causal) && k->err == ERR_OK)
        k->err = model_fail(k->why, ERR_REFUSED,
                            "attention without a causal mask is not "
                            "supported");
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
        if (k->err == ERR_OK && key_has(k, unknown[i]))
            k->err = model_fail(k->why, ERR_REFUSED,
                                "metadata '%s.%s' is not supported", k->arch,
                                unknown[i]);
}

static void read_yarn(struct keys *k, struct model_params *p)
{
    struct model_rope *r = &p->rope;

    r->ext_factor = key_f32(k, "rope.scaling.yarn_ext_factor", 1);
    r->beta_fast = key_f32(k, "rope.scaling.yarn_beta_fast", 32);
    r->beta_slow = key_f32(k, "rope.scaling.yarn_beta_slow", 1);
    r->attn_factor *= key_f32(k, "rope.scaling.yarn_attn_factor", 1);
    if (r->ext_factor != 0 && r->factor > 1)
        r->attn_factor *= 1.0f + 0.1f * logf(r->factor);
    r->orig_context =
        key_u32(k, "rope.scaling.original_context_length", p->context);
    if (key_has(k, "rope.scaling.yarn_log_multiplier") && k->err == ERR_OK)
        k->err = model_fail(k->why, ERR_REFUSED,
                            "metadata '%s.rope.scaling.yarn_log_multiplier' "
                            "is not supported",
                            k->arch);
}

static void read_rope(struct keys *k, struct model_params *p)
{
    const struct gguf_value *v = key_find(k, "rope.scaling.type");
    struct model_rope *r = &p->rope;
    struct str type = STR("none");

    r->halves = p->arch != MODEL_LLAMA;
    r->n_rot = key_u32(k, "rope.dimension_count", p->d_head);
    r->base = key_f32(k, "rope.freq_base", 10000);
    r->factor =
        key_f32(k, "rope.scaling.factor", key_f32(k, "rope.scale_linear", 1));
    r->attn_factor = key_f32(k, "rope.scaling.attn_factor", 1);
    if (!v && r->factor != 1)
        type = STR("linear");
    if (v && !gguf_as_str(v, &type))
        key_fail(k, "rope.scaling.type", "is no string");
    if (str_eq(type, STR("yarn"))) {
        r->scaling = MODEL_ROPE_YARN;
        read_yarn(k, p);
    } else if (str_eq(type, STR("linear"))) {
        r->scaling = MODEL_ROPE_LINEAR;
    } else if (str_eq(type, STR("none")) || type.len == 0) {
        r->factor = 1;
    } else if (k->err == ERR_OK) {
        k->err = model_fail(k->why, ERR_REFUSED,
                            "rope scaling '%s' is not supported; supported: "
                            "none, linear, yarn",
                            model_show(type).text);
    }
}

static void read_pooling(struct keys *k, struct model_params *p)
{
    unsigned type = key_u32(k, "pooling_type", 1);

    if (type == 3)
        p->pooling = MODEL_POOL_LAST;
    else if (type > 1 && k->err == ERR_OK)
        k->err = model_fail(k->why, ERR_REFUSED,
                            "pooling type %u is not supported; supported: "
                            "0 none, 1 mean, 3 last",
                            type);
}

static enum err read_params(struct keys *k, struct model_params *p)
{
    unsigned window;

    p->n_layer = key_u32(k, "block_count", 0);
    p->d_model = key_u32(k, "embedding_length", 0);
    p->d_ff = key_u32(k, "feed_forward_length", 0);
    p->n_head = key_u32(k, "attention.head_count", 0);
    p->context = key_u32(k, "context_length", 0);
    if (k->err == ERR_OK && (p->n_head == 0 || p->context == 0))
        key_fail(k, p->n_head ? "context_length" : "attention.head_count",
                 "is 0");
    if (k->err != ERR_OK)
        return k->err;
    p->n_kv_head = key_u32(k, "attention.head_count_kv", p->n_head);
    p->d_head = p->d_model / p->n_head;
    if (p->d_model % p->n_head != 0 && !key_has(k, "attention.key_length"))
        key_fail(k, "attention.head_count", "does not divide the width");
    if (p->d_head == 0 && !key_has(k, "attention.key_length"))
        key_fail(k, "attention.key_length", "is missing");
    p->d_head = key_u32(k, "attention.key_length", p->d_head);
    if (key_u32(k, "attention.value_length", p->d_head) != p->d_head)
        key_fail(k, "attention.value_length", "differs from key_length");
    if (!key_has(k, "attention.layer_norm_rms_epsilon"))
        key_fail(k, "attention.layer_norm_rms_epsilon", "is missing");
    p->rms_eps = key_f32(k, "attention.layer_norm_rms_epsilon", 1e-5f);
    window = key_u32(k, "attention.sliding_window", UINT32_MAX);
    if (window > 0 && window < p->context)
        p->context = window;
    if (k->err == ERR_OK)
        read_rope(k, p);
    read_pooling(k, p);
    refuse_others(k);
    return k->err == ERR_OK ? model_check_params(p, k->why) : k->err;
}

/* --- texts and advice --------------------------------------------------- */

static float advice(const struct gguf *g, struct str key)
{
    const struct gguf_value *v = gguf_find(g, key);
    double d;

    return v && gguf_as_f64(v, &d) && d >= 0 && d <= 1e6 ? (float)d : -1.0f;
}

static void read_sampling(const struct gguf *g, struct model_sampling *s)
{
    s->temperature = advice(g, STR("general.sampling.temp"));
    s->top_p = advice(g, STR("general.sampling.top_p"));
    s->min_p = advice(g, STR("general.sampling.min_p"));
    s->repetition_penalty = advice(g, STR("general.sampling.penalty_repeat"));
    s->top_k = (int)advice(g, STR("general.sampling.top_k"));
}

/* A copy of the string <key>, empty when there is none. */
static enum err read_text(struct model *m, const struct gguf *g, struct str key,
                          struct model_fault *why, struct str *out)
{
    const struct gguf_value *v = gguf_find(g, key);
    struct str text;

    if (!v)
        return ERR_OK;
    if (!gguf_as_str(v, &text))
        return model_fail(why, ERR_SYNTAX, "metadata '%s' is no string",
                          model_show(key).text);
    *out = arena_dup(m->store->arena, text);
    return out->p ? ERR_OK : model_fail(why, ERR_NOMEM, "out of memory");
}

/* Templates under tokenizer.chat_template.NAME. */
static enum err read_templates(struct model *m, const struct gguf *g,
                               struct model_fault *why)
{
    const struct str head = STR("tokenizer.chat_template.");
    struct model_template *list;
    enum err e = ERR_OK;
    size_t n = 0;

    for (size_t i = 0; i < g->n_pairs; i++)
        n += str_starts(g->pairs[i].key, head);
    list = arena_alloc(m->store->arena, (n + 1) * sizeof(*list));
    if (!list)
        return model_fail(why, ERR_NOMEM, "out of memory");
    m->templates = list;
    for (size_t i = 0; i < g->n_pairs && e == ERR_OK; i++) {
        const struct str key = g->pairs[i].key;

        if (!str_starts(key, head))
            continue;
        list->name = arena_dup(m->store->arena, str_skip(key, head.len));
        if (!list->name.p)
            return model_fail(why, ERR_NOMEM, "out of memory");
        e = read_text(m, g, key, why, &list->text);
        list++;
        m->n_templates++;
    }
    return e;
}

static enum err read_texts(struct model *m, const struct gguf *g,
                           struct model_fault *why)
{
    enum err e;

    e = read_text(m, g, STR("general.name"), why, &m->name);
    if (e == ERR_OK)
        e = read_text(m, g, STR("tokenizer.chat_template"), why,
                      &m->chat_template);
    if (e == ERR_OK)
        e = read_templates(m, g, why);
    read_sampling(g, &m->sampling);
    return e;
}

/* --- tensors ------------------------------------------------------------ */

static enum err list_tensors(const struct gguf *g, struct model_fault *why,
                             struct model_entries *out)
{
    out->v = calloc(g->n_tensors + 1, sizeof(*out->v));
    if (!out->v)
        return model_fail(why, ERR_NOMEM, "out of memory");
    out->n = g->n_tensors;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = &g->tensors[i];

        out->v[i] = (struct model_entry){
            .name = t->name,
            .type = gguf_tensor_type_name(t->type),
            .dtype = t->dtype,
            .n_dims = t->n_dims,
            .dims = {t->dims[0], t->dims[1], t->dims[2], t->dims[3]},
            .data = t->data,
            .bytes = t->bytes,
        };
    }
    return model_entries_sort(out, why);
}

/* Divisors of the rotary frequencies, copied since graphs want floats that
 * are aligned. */
static enum err read_divisors(struct model *m, struct model_entries *all,
                              struct model_fault *why)
{
    struct model_entry *e = model_entry_use(all, STR("rope_freqs.weight"));
    size_t n = m->p.rope.n_rot / 2;
    float *to;

    if (!e)
        return ERR_OK;
    if (e->dtype != KRN_F32 || e->bytes != n * sizeof(float))
        return model_fail(why, ERR_SYNTAX,
                          "tensor 'rope_freqs.weight' is not F32 of %zu", n);
    to = arena_alloc(m->store->arena, e->bytes);
    if (!to)
        return model_fail(why, ERR_NOMEM, "out of memory");
    memcpy(to, e->data, e->bytes);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(to[i]) || to[i] < 1e-6f || to[i] > 1e6f)
            return model_fail(why, ERR_SYNTAX,
                              "tensor 'rope_freqs.weight' has a number that "
                              "is out of range");
    m->p.rope.divisors = to;
    return ERR_OK;
}

static enum err bind_tensors(struct model *m, const struct gguf *g,
                             struct model_fault *why)
{
    const struct model_binding how = {.naming = MODEL_NAMES_GGUF};
    struct model_entries all = {0};
    enum err e = list_tensors(g, why, &all);

    if (e == ERR_OK)
        e = read_divisors(m, &all, why);
    if (e == ERR_OK)
        e = model_bind(m, &all, &how, why);
    free(all.v);
    return e;
}

static enum err refuse_parts(const struct gguf *g, struct model_fault *why)
{
    const struct gguf_value *v = gguf_find(g, STR("split.count"));
    uint64_t n;

    if (v && gguf_as_u64(v, &n) && n > 1)
        return model_fail(why, ERR_REFUSED,
                          "this is one part of %" PRIu64 "; models in parts "
                          "are not supported: merge them into one file",
                          n);
    return ERR_OK;
}

static enum err fill(struct model *m, const struct gguf *g,
                     struct model_fault *why)
{
    struct keys k = {.g = g, .why = why};
    enum err e = find_arch(g, why, &m->p.arch);

    if (e != ERR_OK)
        return e;
    k.arch = arch_names[m->p.arch];
    e = refuse_parts(g, why);
    if (e == ERR_OK)
        e = read_params(&k, &m->p);
    if (e == ERR_OK)
        e = bind_tensors(m, g, why);
    if (e == ERR_OK)
        e = read_texts(m, g, why);
    return e == ERR_OK ? model_vocab_from_gguf(g, why, &m->vocab) : e;
}

enum err model_from_gguf(struct model *m, struct str image,
                         struct model_fault *why)
{
    struct gguf *g;
    enum err e = gguf_parse(image, why, &g);

    if (e != ERR_OK)
        return e;
    e = fill(m, g, why);
    gguf_free(g);
    return e;
}
