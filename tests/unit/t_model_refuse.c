/* t_model_refuse.c - GGUF models that cannot be run: each is refused with a
 * sentence that names what is wrong. */
#include "engine/model.h"

#include "token/vocab.h"
#include "unit/cmocka_all.h"
#include "unit/model_rig.h"

/* A number of the metadata made wrong. */
struct wrong {
    const char *key; /* behind "llama." */
    uint32_t value;
    enum err err;
    const char *part;
};

static void refuses_wrong_numbers(void **state)
{
    static const struct wrong rows[] = {
        {"block_count", 0, ERR_SYNTAX, "number of layers is 0"},
        {"block_count", 5000, ERR_SYNTAX, "number of layers is 5000"},
        {"block_count", 3, ERR_SYNTAX, "'blk.2.attn_norm.weight' is missing"},
        {"block_count", 1, ERR_REFUSED, "'blk.1.attn_k.weight' has no place"},
        {"embedding_length", 0, ERR_SYNTAX, "width of the model is 0"},
        {"embedding_length", 32, ERR_SYNTAX,
         "'token_embd.weight' has the shape 320 x 64 where 320 x 32 is"},
        {"feed_forward_length", 97, ERR_SYNTAX,
         "'blk.0.ffn_gate.weight' has the shape 96 x 64 where 97 x 64"},
        {"feed_forward_length", UINT32_MAX, ERR_SYNTAX, "feed-forward"},
        {"attention.head_count", 0, ERR_SYNTAX, "head_count' is 0"},
        {"attention.head_count", 3, ERR_SYNTAX, "cannot share 2"},
        {"attention.head_count", 8, ERR_SYNTAX, "'blk.0.attn_q.weight' has"},
        {"attention.head_count_kv", 0, ERR_SYNTAX, "key-value heads is 0"},
        {"attention.head_count_kv", 8, ERR_SYNTAX, "not 1 to 4"},
        {"attention.head_count_kv", 4, ERR_SYNTAX, "'blk.0.attn_k.weight'"},
        {"attention.key_length", 32, ERR_SYNTAX, "differs from key_length"},
        {"attention.value_length", 8, ERR_SYNTAX, "differs from key_length"},
        {"rope.dimension_count", 15, ERR_SYNTAX, "15, is odd"},
        {"rope.dimension_count", 18, ERR_SYNTAX, "is 18, not 2 to 16"},
        {"rope.dimension_count", 0, ERR_SYNTAX, "is 0, not 2 to 16"},
        {"context_length", 0, ERR_SYNTAX, "context_length' is 0"},
        {"context_length", UINT32_MAX, ERR_SYNTAX, "context length is"},
        /* These are the bits of floats. */
        {"rope.freq_base", 0, ERR_SYNTAX, "base of the rotary"},
        {"rope.freq_base", 0x7fc00000, ERR_SYNTAX, "no finite number"},
        {"attention.layer_norm_rms_epsilon", 0x7f800000, ERR_SYNTAX,
         "no finite number"},
        {"attention.layer_norm_rms_epsilon", 0x40000000, ERR_SYNTAX,
         "epsilon of the norms"},
    };
    char key[128];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct ggufw *w = ggufm_new(&small);

        snprintf(key, sizeof(key), "llama.%s", rows[i].key);
        assert_true(ggufw_set(w, key, &rows[i].value, 4));
        must_refuse(w, rows[i].err, rows[i].part);
    }
}

static void refuses_what_it_does_not_know(void **state)
{
    static const struct wrong rows[] = {
        {"expert_count", 8, ERR_REFUSED, "mixtures of experts are not"},
        {"logit_scale", 1, ERR_REFUSED, "'llama.logit_scale' is not supp"},
        {"attention.scale", 1, ERR_REFUSED, "'llama.attention.scale' is not"},
        {"attn_logit_softcapping", 1, ERR_REFUSED, "is not supported"},
        {"rope.dimension_sections", 1, ERR_REFUSED, "is not supported"},
        {"rope.scaling.type", 1, ERR_SYNTAX, "is no string"},
    };
    struct ggufw *w;
    char key[128];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        w = ggufm_new(&small);
        snprintf(key, sizeof(key), "llama.%s", rows[i].key);
        ggufw_u32(w, key, rows[i].value);
        must_refuse(w, rows[i].err, rows[i].part);
    }
    w = ggufm_new(&small);
    ggufw_u32(w, "split.count", 3);
    must_refuse(w, ERR_REFUSED, "this is one part of 3");
    w = ggufm_new(&small);
    ggufw_bool(w, "llama.attention.causal", false);
    must_refuse(w, ERR_REFUSED, "without a causal mask is not supported");
    w = ggufm_new(&small);
    ggufw_str(w, "llama.rope.scaling.type", "longrope");
    must_refuse(w, ERR_REFUSED,
                "rope scaling 'longrope' is not supported; supported: none, "
                "linear, yarn");
    w = ggufm_new(&small);
    ggufw_u32(w, "llama.expert_count", 0);
    close_opened(must_open(w));
}

static void refuses_architectures_by_name(void **state)
{
    struct ggufm_shape s = small;
    struct ggufw *w;

    (void)state;
    s.arch = "gemma3";
    must_refuse(ggufm_new(&s), ERR_REFUSED,
                "architecture 'gemma3' is not supported; supported: llama, "
                "qwen2, qwen3");
    s.arch = "a\nb\xff";
    must_refuse(ggufm_new(&s), ERR_REFUSED, "architecture 'a?b?' is not");
    w = ggufm_new(&small);
    ggufw_drop(w, "general.architecture");
    must_refuse(w, ERR_SYNTAX, "'general.architecture' is missing");
}

static void names_what_is_missing(void **state)
{
    static const char *const keys[] = {
        "llama.block_count",         "llama.embedding_length",
        "llama.feed_forward_length", "llama.attention.head_count",
        "llama.context_length",      "llama.attention.layer_norm_rms_epsilon",
        "tokenizer.ggml.model",      "tokenizer.ggml.tokens",
    };
    struct ggufw *w;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        w = ggufm_new(&small);
        assert_true(ggufw_drop(w, keys[i]));
        must_refuse(w, ERR_SYNTAX, keys[i]);
    }
}

/* Every tensor of every architecture renamed: it is missed, or told to have no
 * place, by its name. */
static void names_missing_tensors(void **state)
{
    static const char *const archs[] = {"llama", "qwen2", "qwen3"};
    struct ggufm_shape s = small;
    struct ggufw_tensor *t;
    char name[64];
    unsigned n = 1;

    (void)state;
    s.n_layer = 1;
    for (unsigned a = 0; a < 3; a++) {
        s.arch = archs[a];
        for (unsigned i = 0; i < n; i++) {
            struct ggufw *w = ggufm_new(&s);

            t = &ggufw_tensors(w, &n)[i];
            memcpy(name, t->name, sizeof(name));
            memcpy(t->name, "x", 2);
            must_refuse(w, ERR_SYNTAX, name);
        }
    }
}

static void refuses_tensors_without_a_place(void **state)
{
    struct ggufw *w = ggufm_new(&small);

    (void)state;
    ggufw_tensor(w, "blk.0.ffn_gate.bias", KRN_F32, 0, 96);
    must_refuse(w, ERR_REFUSED,
                "tensor 'blk.0.ffn_gate.bias' has no place in this "
                "architecture");
    w = ggufm_new(&small);
    ggufw_tensor(w, "blk.0.attn_q_norm.weight", KRN_F32, 0, 16);
    must_refuse(w, ERR_REFUSED, "'blk.0.attn_q_norm.weight' has no place");
    w = ggufm_new(&small);
    ggufw_tensor(w, "blk.0.attn_q.bias", KRN_F32, 0, 64);
    close_opened(must_open(w));
}

static void refuses_types_by_name(void **state)
{
    static const struct {
        uint32_t type;
        const char *name;
    } rows[] = {{3, "Q4_1"},     {6, "Q5_0"},   {10, "Q2_K"},
                {16, "IQ2_XXS"}, {39, "MXFP4"}, {28, "F64"}};
    char want[128];
    struct ggufw *w;
    unsigned n;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        w = ggufm_new(&small);
        ggufw_tensors(w, &n)[2].type = rows[i].type;
        snprintf(want, sizeof(want),
                 "tensor 'blk.0.attn_q.weight' has type %s, which is not "
                 "supported; supported: F32, F16, BF16, Q8_0, Q4_0",
                 rows[i].name);
        must_refuse(w, ERR_REFUSED, want);
    }
    w = ggufm_new(&small);
    ggufw_tensors(w, &n)[1].type = ggufw_type(KRN_Q8_0);
    must_refuse(w, ERR_REFUSED,
                "'blk.0.attn_norm.weight' has type Q8_0; supported for "
                "vectors: F32, F16, BF16");
}

static void refuses_vocabularies(void **state)
{
    static const float two[] = {1, 2};
    static const int32_t odd[320] = {[7] = 9};
    struct ggufw *w = ggufm_new(&small);
    struct opened o;

    (void)state;
    ggufw_drop(w, "tokenizer.ggml.model");
    ggufw_str(w, "tokenizer.ggml.model", "bert");
    must_refuse(w, ERR_REFUSED,
                "tokenizer 'bert' is not supported; supported: llama, gpt2");
    w = ggufm_new(&small);
    ggufw_drop(w, "tokenizer.ggml.pre");
    ggufw_str(w, "tokenizer.ggml.pre", "martian");
    must_refuse(w, ERR_REFUSED, "martian");
    w = ggufm_new(&small);
    ggufw_f32s(w, "tokenizer.ggml.scores", two, 2);
    must_refuse(w, ERR_SYNTAX, "'tokenizer.ggml.scores' is no array of the");
    w = ggufm_new(&small);
    ggufw_drop(w, "tokenizer.ggml.token_type");
    ggufw_i32s(w, "tokenizer.ggml.token_type", odd, COUNT_OF(odd));
    must_refuse(w, ERR_SYNTAX, "holds something that is no type");
    w = ggufm_new(&small);
    ggufw_drop(w, "tokenizer.ggml.bos_token_id");
    ggufw_u32(w, "tokenizer.ggml.bos_token_id", UINT32_MAX);
    o = must_open(w);
    assert_int_equal(vocab_bos(o.m->vocab), -1);
    close_opened(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_wrong_numbers),
        cmocka_unit_test(refuses_what_it_does_not_know),
        cmocka_unit_test(refuses_architectures_by_name),
        cmocka_unit_test(names_what_is_missing),
        cmocka_unit_test(names_missing_tensors),
        cmocka_unit_test(refuses_tensors_without_a_place),
        cmocka_unit_test(refuses_types_by_name),
        cmocka_unit_test(refuses_vocabularies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
