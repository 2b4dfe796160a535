/* t_model_hf.c - Model directories in the layout of Hugging Face: sound ones of
 * every architecture, and every way of being wrong. */
#include <math.h>

#include "engine/model.h"
#include "lib/hfdir.h"
#include "token/vocab.h"
#include "unit/cmocka_all.h"
#include "unit/state_dir.h"

static const struct ggufm_shape small = {
    .arch = "llama",
    .n_layer = 2,
    .d_model = 32,
    .n_head = 4,
    .n_kv_head = 2,
    .d_head = 8,
    .d_ff = 48,
    .n_vocab = 320,
    .context = 128,
    .tied = true,
    .dtype = KRN_BF16,
};

/* Open <dir>, which must succeed. */
static struct model *must_open(const char *dir)
{
    struct model_fault why = {""};
    struct model *m = NULL;
    enum err e = model_open(dir, &why, &m);

    assert_string_equal(why.text, "");
    assert_int_equal(e, ERR_OK);
    return m;
}

/* Open <dir>, which must be refused with <want> in the sentence. */
static void must_refuse(const char *dir, enum err want, const char *part)
{
    struct model_fault why = {""};
    struct model *m = NULL;
    enum err e = model_open(dir, &why, &m);

    if (!strstr(why.text, part))
        fail_msg("'%s' is not in '%s'", part, why.text);
    assert_int_equal(e, want);
    assert_null(m);
    assert_non_null(strstr(why.text, dir));
}

/* Replace config.json by one with <more>. */
static void put_config(const char *dir, const struct ggufm_shape *s,
                       const char *more)
{
    char *text = hfdir_config(s, more);

    hfdir_put(dir, "config.json", str_from(text));
    free(text);
}

static void same_tensor(const struct model_tensor *a,
                        const struct model_tensor *b)
{
    assert_int_equal(a->dtype, b->dtype);
    assert_int_equal(a->n_out, b->n_out);
    assert_int_equal(a->n_in, b->n_in);
    assert_int_equal(a->bytes, b->bytes);
    assert_int_equal(a->data == NULL, b->data == NULL);
    if (a->data)
        assert_memory_equal(a->data, b->data, a->bytes);
}

/* Both turn a text into the same tokens. */
static void same_vocab(const struct vocab *a, const struct vocab *b)
{
    const struct str text = STR("ab cd: it's 42 \xc3\xa4!<|im_end|>");
    struct vocab_ids x = {0}, y = {0};

    assert_int_equal(vocab_size(a), vocab_size(b));
    assert_int_equal(vocab_eos(a), vocab_eos(b));
    assert_int_equal(vocab_encode(a, text, NULL, 0, 100, &x), ERR_OK);
    assert_int_equal(vocab_encode(b, text, NULL, 0, 100, &y), ERR_OK);
    assert_true(x.n > 10);
    assert_int_equal(x.n, y.n);
    assert_memory_equal(x.ids, y.ids, x.n * sizeof(*x.ids));
    free(x.ids);
    free(y.ids);
}

/* The directory of <s> holds the same tensors as its GGUF. */
static void compare_formats(const struct ggufm_shape *s, unsigned shards)
{
    struct model_fault why = {""};
    char *dir = state_dir_make();
    struct model *g = NULL, *h;
    size_t len;
    char *image = ggufm_build(s, &len);

    hfdir_make(dir, s, shards);
    h = must_open(dir);
    assert_int_equal(model_open_gguf(str_of(image, len), &why, &g), ERR_OK);
    assert_int_equal(h->p.arch, g->p.arch);
    assert_int_equal(h->p.d_head, g->p.d_head);
    assert_int_equal(h->p.n_kv_head, g->p.n_kv_head);
    assert_int_equal(h->p.context, g->p.context);
    assert_int_equal(h->p.tied, s->tied);
    assert_int_equal(h->p.n_vocab, s->n_vocab);
    assert_true(h->p.rope.halves);
    assert_int_equal(g->p.rope.halves, strcmp(s->arch, "llama") != 0);
    same_vocab(h->vocab, g->vocab);
    same_tensor(&h->embed, &g->embed);
    same_tensor(&h->out_norm, &g->out_norm);
    same_tensor(&h->output, &g->output);
    for (unsigned l = 0; l < s->n_layer; l++) {
        const struct model_tensor *a = &h->layers[l].attn_norm;
        const struct model_tensor *b = &g->layers[l].attn_norm;

        for (size_t i = 0; i < sizeof(struct model_layer) / sizeof(*a); i++)
            same_tensor(&a[i], &b[i]);
    }
    model_close(h);
    model_close(g);
    free(image);
    state_dir_drop(dir);
}

static void reads_the_same_as_from_gguf(void **state)
{
    static const char *const archs[] = {"llama", "qwen2", "qwen3"};
    static const enum krn_dtype types[] = {KRN_F32, KRN_F16, KRN_BF16};

    (void)state;
    for (unsigned i = 0; i < 9; i++) {
        struct ggufm_shape s = small;

        s.arch = archs[i / 3];
        s.dtype = types[i % 3];
        s.tied = i % 2;
        s.d_head = i / 3 == 2 ? 16 : 8;
        compare_formats(&s, 1 + i % 4);
    }
}

static void takes_advice_and_templates(void **state)
{
    char *dir = state_dir_make();
    struct model *m;

    (void)state;
    hfdir_make(dir, &small, 1);
    m = must_open(dir);
    assert_true(fabsf(m->sampling.temperature - 0.6f) < 1e-6f);
    assert_true(fabsf(m->sampling.top_p - 0.95f) < 1e-6f);
    assert_int_equal(m->sampling.top_k, 20);
    assert_int_equal(m->n_end_ids, 2);
    assert_int_equal(m->end_ids[0], 2);
    assert_int_equal(m->end_ids[1], 0);
    assert_true(m->sampling.min_p < 0);
    assert_string_equal(m->chat_template.p, "{{ 'from config' }}");
    assert_int_equal(m->n_templates, 0);
    assert_non_null(strstr(dir, m->name.p));
    model_close(m);

    hfdir_put(dir, "tokenizer_config.json",
              STR("{\"chat_template\":[{\"name\":\"default\",\"template\":"
                  "\"main\"},{\"name\":\"tool_use\",\"template\":"
                  "\"tools\"}]}"));
    m = must_open(dir);
    assert_string_equal(m->chat_template.p, "main");
    assert_int_equal(m->n_templates, 1);
    assert_string_equal(m->templates[0].name.p, "tool_use");
    assert_string_equal(m->templates[0].text.p, "tools");
    model_close(m);

    hfdir_put(dir, "chat_template.json", STR("{\"chat_template\":\"json\"}"));
    m = must_open(dir);
    assert_string_equal(m->chat_template.p, "json");
    model_close(m);

    hfdir_put(dir, "chat_template.jinja", STR("jinja\n"));
    m = must_open(dir);
    assert_string_equal(m->chat_template.p, "jinja\n");
    model_close(m);

    hfdir_put(dir, "tokenizer_config.json", STR("{\"chat_template\":7}"));
    must_refuse(dir, ERR_SYNTAX, "tokenizer_config.json: 'chat_template' is");
    state_dir_drop(dir);
}

static void ends_at_the_tokens_told(void **state)
{
    char *dir = state_dir_make();
    struct model *m;

    (void)state;
    hfdir_make(dir, &small, 1);
    hfdir_put(dir, "generation_config.json",
              STR("{\"eos_token_id\":[2,300,99999]}"));
    m = must_open(dir);
    assert_int_equal(m->n_end_ids, 2);
    assert_true(vocab_is_eog(m->vocab, 2));
    assert_true(vocab_is_eog(m->vocab, 300));
    assert_false(vocab_is_eog(m->vocab, 301));
    model_close(m);
    hfdir_put(dir, "generation_config.json", STR("{\"eos_token_id\":301}"));
    m = must_open(dir);
    assert_true(vocab_is_eog(m->vocab, 301));
    assert_false(vocab_is_eog(m->vocab, 300));
    model_close(m);
    hfdir_put(dir, "generation_config.json", STR("{\"eos_token_id\":\"x\"}"));
    must_refuse(dir, ERR_SYNTAX, "'eos_token_id' is no id nor a list of ids");
    state_dir_drop(dir);
}

static void pools_as_told(void **state)
{
    char *dir = state_dir_make();
    char room[4096];
    struct model *m;

    (void)state;
    hfdir_make(dir, &small, 1);
    m = must_open(dir);
    assert_int_equal(m->p.pooling, MODEL_POOL_MEAN);
    model_close(m);
    assert_int_equal(mkdir(state_dir_path(dir, "1_Pooling", room), 0700), 0);
    hfdir_put(dir, "1_Pooling/config.json",
              STR("{\"word_embedding_dimension\":32,"
                  "\"pooling_mode_lasttoken\":true,"
                  "\"pooling_mode_mean_tokens\":false}"));
    m = must_open(dir);
    assert_int_equal(m->p.pooling, MODEL_POOL_LAST);
    model_close(m);
    hfdir_put(dir, "1_Pooling/config.json",
              STR("{\"pooling_mode_cls_token\":true}"));
    must_refuse(dir, ERR_REFUSED, "this way of pooling is not supported");
    state_dir_drop(dir);
}

/* --- rotary embedding --------------------------------------------------- */

static void reads_both_spellings_of_scaling(void **state)
{
    static const char *const llama3[] = {
        ",\"rope_theta\":500000.0,\"rope_scaling\":{\"factor\":32.0,"
        "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
        "\"original_max_position_embeddings\":8192,\"rope_type\":\"llama3\"}",
        ",\"rope_theta\":500000.0,\"rope_scaling\":{\"factor\":32.0,"
        "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
        "\"original_max_position_embeddings\":8192,\"type\":\"llama3\"}",
        ",\"rope_parameters\":{\"factor\":32.0,\"rope_theta\":500000.0,"
        "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
        "\"original_max_position_embeddings\":8192,\"rope_type\":"
        "\"llama3\"}",
    };
    char *dir = state_dir_make();
    struct model *m;

    (void)state;
    hfdir_make(dir, &small, 1);
    for (size_t i = 0; i < COUNT_OF(llama3); i++) {
        put_config(dir, &small, llama3[i]);
        m = must_open(dir);
        assert_int_equal(m->p.rope.scaling, MODEL_ROPE_LLAMA3);
        assert_true(m->p.rope.base == 500000.0f);
        assert_true(m->p.rope.factor == 32.0f);
        assert_true(m->p.rope.low_freq == 1.0f);
        assert_true(m->p.rope.high_freq == 4.0f);
        assert_int_equal(m->p.rope.orig_context, 8192);
        assert_int_equal(m->p.context, 128);
        model_close(m);
    }
    put_config(dir, &small,
               ",\"rope_parameters\":{\"rope_theta\":7e4,"
               "\"rope_type\":\"default\"}");
    m = must_open(dir);
    assert_int_equal(m->p.rope.scaling, MODEL_ROPE_NONE);
    assert_true(m->p.rope.base == 70000.0f);
    model_close(m);
    put_config(dir, &small,
               ",\"rope_scaling\":{\"type\":\"linear\","
               "\"factor\":4}");
    m = must_open(dir);
    assert_int_equal(m->p.rope.scaling, MODEL_ROPE_LINEAR);
    assert_true(m->p.rope.factor == 4.0f);
    assert_true(m->p.rope.base == 10000.0f);
    model_close(m);
    state_dir_drop(dir);
}

static void reads_yarn(void **state)
{
    char *dir = state_dir_make();
    struct model *m;

    (void)state;
    hfdir_make(dir, &small, 1);
    put_config(dir, &small,
               ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0,"
               "\"original_max_position_embeddings\":64}");
    m = must_open(dir);
    assert_int_equal(m->p.rope.scaling, MODEL_ROPE_YARN);
    assert_true(fabsf(m->p.rope.attn_factor - 1.1386294f) < 1e-5f);
    assert_true(m->p.rope.beta_fast == 32.0f);
    assert_true(m->p.rope.beta_slow == 1.0f);
    assert_int_equal(m->p.rope.orig_context, 64);
    assert_int_equal(m->p.context, 256);
    model_close(m);
    put_config(dir, &small,
               ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0,"
               "\"attention_factor\":1.5,\"beta_fast\":16}");
    m = must_open(dir);
    assert_true(m->p.rope.attn_factor == 1.5f);
    assert_true(m->p.rope.beta_fast == 16.0f);
    assert_int_equal(m->p.rope.orig_context, 128);
    assert_int_equal(m->p.context, 512);
    model_close(m);
    put_config(dir, &small,
               ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0,"
               "\"mscale\":1.0,\"mscale_all_dim\":1.0}");
    m = must_open(dir);
    assert_true(m->p.rope.attn_factor == 1.0f);
    model_close(m);
    state_dir_drop(dir);
}

/* --- refusals ----------------------------------------------------------- */

static void refuses_configs(void **state)
{
    static const struct {
        const char *more;
        enum err err;
        const char *part;
    } rows[] = {
        {",\"quantization_config\":{\"quant_method\":\"gptq\"}", ERR_REFUSED,
         "quantization 'gptq' is not supported; supported: weights in F32"},
        {",\"mlp_bias\":true", ERR_REFUSED, "mlp_bias is not supported"},
        {",\"rope_interleaved\":true", ERR_REFUSED, "rope_interleaved is"},
        {",\"partial_rotary_factor\":0.5", ERR_REFUSED, "partial_rotary"},
        {",\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}", ERR_REFUSED,
         "rope scaling 'dynamic' is not supported; supported: default, "
         "linear, llama3, yarn"},
        {",\"rope_scaling\":{\"type\":\"linear\"}", ERR_SYNTAX,
         "the rope scaling has no factor"},
        {",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0.5}", ERR_SYNTAX,
         "out of range"},
        {",\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8}", ERR_SYNTAX,
         "out of range"},
        {",\"rope_scaling\":7", ERR_SYNTAX, "is no object"},
        {",\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"truncate\":"
         "false}",
         ERR_REFUSED, "truncate"},
        {",\"rope_parameters\":{\"full_attention\":{}}", ERR_REFUSED,
         "several kinds"},
        {",\"rope_theta\":\"x\"", ERR_SYNTAX, "'rope_theta' is no sound"},
        {",\"rope_theta\":0", ERR_SYNTAX, "base of the rotary"},
        {",\"eos_token_id\":1", ERR_SYNTAX, "duplicate"},
        {",\"attention_bias\":true", ERR_SYNTAX,
         "tensor 'model.layers.0.self_attn.q_proj.bias' is missing"},
        {",\"attention_bias\":\"yes\"", ERR_SYNTAX, "neither true nor false"},
    };
    char *dir = state_dir_make();

    (void)state;
    hfdir_make(dir, &small, 1);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        put_config(dir, &small, rows[i].more);
        must_refuse(dir, rows[i].err, rows[i].part);
    }
    state_dir_drop(dir);
}

static void refuses_whole_configs(void **state)
{
    static const struct {
        const char *text;
        enum err err;
        const char *part;
    } rows[] = {
        {"", ERR_SYNTAX, "config.json: this is not a JSON object"},
        {"[]", ERR_SYNTAX, "config.json: this is not a JSON object"},
        {"{}", ERR_SYNTAX, "'architectures' is missing"},
        {"{\"architectures\":[\"Gemma3ForCausalLM\"]}", ERR_REFUSED,
         "architecture 'Gemma3ForCausalLM' is not supported; supported: "
         "LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, "
         "Qwen3ForCausalLM"},
        {"{\"architectures\":[\"LlamaForCausalLM\"]}", ERR_SYNTAX,
         "'num_hidden_layers' is missing"},
        {"{\"architectures\":[\"LlamaForCausalLM\"],\"hidden_act\":\"gelu\"}",
         ERR_REFUSED, "hidden_act 'gelu' is not supported; supported: silu"},
        {"{\"architectures\":[\"LlamaForCausalLM\"],\"num_hidden_layers\":-1}",
         ERR_SYNTAX, "'num_hidden_layers' is out of range"},
        {"{\"architectures\":[\"LlamaForCausalLM\"],\"num_hidden_layers\":"
         "1.5}",
         ERR_SYNTAX, "'num_hidden_layers' is no whole number"},
    };
    char *dir = state_dir_make();

    (void)state;
    hfdir_make(dir, &small, 1);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        hfdir_put(dir, "config.json", str_from(rows[i].text));
        must_refuse(dir, rows[i].err, rows[i].part);
    }
    state_dir_drop(dir);
}

static void refuses_what_is_missing(void **state)
{
    static const struct {
        const char *name, *part;
    } rows[] = {
        {"config.json", "config.json: cannot be opened: No such file"},
        {"tokenizer.json", "tokenizer.json: cannot be opened"},
        {"model-00002-of-00003.safetensors",
         "model-00002-of-00003.safetensors: cannot be opened"},
        {"model.safetensors.index.json", "neither model.safetensors nor"},
    };
    char room[4096];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char *dir = state_dir_make();

        hfdir_make(dir, &small, 3);
        assert_int_equal(unlink(state_dir_path(dir, rows[i].name, room)), 0);
        must_refuse(dir, ERR_IO, rows[i].part);
        state_dir_drop(dir);
    }
}

static void confines_names_to_the_directory(void **state)
{
    static const char *const bad[] = {
        "../model.safetensors",
        "/etc/passwd",
        "a/b.safetensors",
        "..",
        ".hidden.safetensors",
        "",
        "model.bin",
        "a b.safetensors",
        "a\\nb.safetensors",
    };
    char *dir = state_dir_make();
    char text[256];

    (void)state;
    hfdir_make(dir, &small, 2);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        snprintf(text, sizeof(text),
                 "{\"weight_map\":{\"model.norm.weight\":\"%s\"}}", bad[i]);
        hfdir_put(dir, "model.safetensors.index.json", str_from(text));
        must_refuse(dir, ERR_SYNTAX, "no plain name of a .safetensors file");
    }
    hfdir_put(dir, "model.safetensors.index.json",
              STR("{\"weight_map\":{\"a\":7}}"));
    must_refuse(dir, ERR_SYNTAX, "no plain name");
    hfdir_put(dir, "model.safetensors.index.json", STR("{\"weight_map\":{}}"));
    must_refuse(dir, ERR_SYNTAX, "'weight_map' is missing or empty");
    hfdir_put(dir, "model.safetensors.index.json",
              STR("{\"weight_map\":{\"model.norm.weight\":"
                  "\"model-00001-of-00002.safetensors\"}}"));
    must_refuse(dir, ERR_SYNTAX, "is missing");
    state_dir_drop(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_same_as_from_gguf),
        cmocka_unit_test(takes_advice_and_templates),
        cmocka_unit_test(ends_at_the_tokens_told),
        cmocka_unit_test(pools_as_told),
        cmocka_unit_test(reads_both_spellings_of_scaling),
        cmocka_unit_test(reads_yarn),
        cmocka_unit_test(refuses_configs),
        cmocka_unit_test(refuses_whole_configs),
        cmocka_unit_test(refuses_what_is_missing),
        cmocka_unit_test(confines_names_to_the_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
