/* t_model_open.c - What the reader makes of GGUF models that are sound: every
 * number, the vocabulary, the file behind them. */
#include "engine/model.h"

#include <math.h>

#include "token/vocab.h"
#include "unit/cmocka_all.h"
#include "unit/model_rig.h"
#include "unit/state_dir.h"

/* The path of a file of the shared test data in <room>; false when it is not
 * there. */
static bool data_path(const char *name, char room[4096])
{
    const char *dir = getenv("TOLLGATE_TEST_DATA");

    snprintf(room, 4096, "%s/%s", dir ? dir : TG_SRCDIR "/../shared/data",
             name);
    return access(room, R_OK) == 0;
}

/* --- sound models ------------------------------------------------------- */

static void opens_every_architecture_and_type(void **state)
{
    static const char *const archs[] = {"llama", "qwen2", "qwen3"};

    (void)state;
    for (unsigned i = 0; i < 3u * KRN_DTYPE_COUNT; i++) {
        struct ggufm_shape s = small;
        struct opened o;

        s.arch = archs[i % 3];
        s.dtype = (enum krn_dtype)(i / 3);
        s.tied = i % 2;
        s.spm = i % 4 == 0;
        s.d_model = 256;
        s.d_ff = 512;
        s.d_head = 64;
        s.n_layer = 1;
        o = must_open(ggufm_new(&s));
        assert_int_equal(o.m->p.arch, i % 3);
        assert_int_equal(o.m->p.rope.halves, i % 3 != MODEL_LLAMA);
        assert_int_equal(o.m->p.tied, s.tied);
        assert_int_equal(o.m->output.data == NULL, s.tied);
        assert_int_equal(o.m->layers[0].down.dtype, s.dtype);
        assert_int_equal(o.m->layers[0].q_bias.data != NULL, i % 3 == 1);
        assert_int_equal(o.m->layers[0].q_norm.data != NULL, i % 3 == 2);
        assert_null(o.m->layers[0].o_bias.data);
        assert_int_equal(vocab_size(o.m->vocab), s.n_vocab);
        assert_int_equal(vocab_eos(o.m->vocab), 2);
        close_opened(o);
    }
}

static void reads_all_numbers(void **state)
{
    struct opened o = must_open(ggufm_new(&small));
    const struct model_layer *l = &o.m->layers[1];

    (void)state;
    assert_int_equal(o.m->p.n_layer, 2);
    assert_int_equal(o.m->p.d_model, 64);
    assert_int_equal(o.m->p.n_head, 4);
    assert_int_equal(o.m->p.n_kv_head, 2);
    assert_int_equal(o.m->p.d_head, 16);
    assert_int_equal(o.m->p.d_ff, 96);
    assert_int_equal(o.m->p.n_vocab, 320);
    assert_int_equal(o.m->p.context, 128);
    assert_true(o.m->p.rms_eps == 1e-5f);
    assert_int_equal(o.m->p.rope.n_rot, 16);
    assert_true(o.m->p.rope.base == 10000.0f);
    assert_int_equal(o.m->p.rope.scaling, MODEL_ROPE_NONE);
    assert_true(o.m->p.rope.factor == 1.0f);
    assert_true(o.m->p.rope.attn_factor == 1.0f);
    assert_null(o.m->p.rope.divisors);
    assert_int_equal(o.m->p.pooling, MODEL_POOL_MEAN);
    assert_int_equal(l->k.n_out, 32);
    assert_int_equal(l->k.n_in, 64);
    assert_int_equal(l->down.n_out, 64);
    assert_int_equal(l->down.n_in, 96);
    assert_int_equal(l->attn_norm.n_out, 1);
    assert_int_equal(l->attn_norm.n_in, 64);
    assert_int_equal(l->attn_norm.dtype, KRN_F32);
    assert_string_equal(o.m->name.p, "random");
    assert_non_null(strstr(o.m->chat_template.p, "<|im_start|>"));
    assert_true(o.m->sampling.temperature < 0);
    assert_int_equal(o.m->sampling.top_k, -1);
    close_opened(o);
}

static void opens_a_trained_model(void **state)
{
    struct model_fault why = {""};
    struct model *m = NULL;
    char path[4096];

    (void)state;
    if (!data_path("models/stories260K.gguf", path))
        skip();
    assert_int_equal(model_open(path, &why, &m), ERR_OK);
    assert_int_equal(m->p.arch, MODEL_LLAMA);
    assert_int_equal(m->p.n_layer, 5);
    assert_int_equal(m->p.d_head, 8);
    assert_int_equal(m->p.n_vocab, 512);
    assert_int_equal(m->p.context, 512);
    assert_true(m->p.tied);
    assert_int_equal(m->file_bytes, 1054176);
    assert_int_equal(vocab_size(m->vocab), 512);
    assert_int_equal(vocab_bos(m->vocab), 1);
    model_close(m);

    if (!data_path("models/llama-2-tiny-random.gguf", path))
        skip();
    assert_int_equal(model_open(path, &why, &m), ERR_OK);
    assert_int_equal(vocab_size(m->vocab), 32000);
    assert_false(m->p.tied);
    model_close(m);
}

static void opens_vocabularies_alone(void **state)
{
    static const struct {
        const char *file;
        unsigned n;
    } rows[] = {{"tokenizers/gpt-2.gguf", 50257},
                {"tokenizers/llama-spm.gguf", 32000},
                {"tokenizers/starcoder.gguf", 49152}};
    struct model_fault why = {""};
    struct model *m = NULL;
    struct vocab *v;
    char path[4096];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (!data_path(rows[i].file, path))
            skip();
        assert_int_equal(model_open_vocab(path, &why, &v), ERR_OK);
        assert_int_equal(vocab_size(v), rows[i].n);
        vocab_free(v);
        assert_int_not_equal(model_open(path, &why, &m), ERR_OK);
    }
}

static void reads_templates_and_advice(void **state)
{
    struct ggufw *w = ggufm_new(&small);
    struct opened o;

    (void)state;
    ggufw_str(w, "tokenizer.chat_template.tool_use", "with tools");
    ggufw_str(w, "tokenizer.chat_template.rag", "with papers");
    ggufw_f32(w, "general.sampling.temp", 0.7f);
    ggufw_u32(w, "general.sampling.top_k", 40);
    ggufw_f32(w, "general.sampling.top_p", 2e9f);
    o = must_open(w);
    assert_int_equal(o.m->n_templates, 2);
    assert_string_equal(o.m->templates[0].name.p, "rag");
    assert_string_equal(o.m->templates[0].text.p, "with papers");
    assert_string_equal(o.m->templates[1].name.p, "tool_use");
    assert_string_equal(o.m->templates[1].text.p, "with tools");
    assert_true(o.m->sampling.temperature == 0.7f);
    assert_int_equal(o.m->sampling.top_k, 40);
    assert_true(o.m->sampling.top_p < 0);
    close_opened(o);
}

/* --- rotary embedding and context --------------------------------------- */

static void reads_rope_scaling(void **state)
{
    struct ggufw *w = ggufm_new(&small);
    struct opened o;

    (void)state;
    ggufw_str(w, "llama.rope.scaling.type", "linear");
    ggufw_f32(w, "llama.rope.scaling.factor", 4);
    o = must_open(w);
    assert_int_equal(o.m->p.rope.scaling, MODEL_ROPE_LINEAR);
    assert_true(o.m->p.rope.factor == 4.0f);
    close_opened(o);

    w = ggufm_new(&small);
    ggufw_f32(w, "llama.rope.scale_linear", 2);
    o = must_open(w);
    assert_int_equal(o.m->p.rope.scaling, MODEL_ROPE_LINEAR);
    assert_true(o.m->p.rope.factor == 2.0f);
    close_opened(o);

    w = ggufm_new(&small);
    ggufw_str(w, "llama.rope.scaling.type", "yarn");
    ggufw_f32(w, "llama.rope.scaling.factor", 4);
    ggufw_u32(w, "llama.rope.scaling.original_context_length", 64);
    o = must_open(w);
    assert_int_equal(o.m->p.rope.scaling, MODEL_ROPE_YARN);
    assert_true(fabsf(o.m->p.rope.attn_factor - 1.1386294f) < 1e-5f);
    assert_true(o.m->p.rope.ext_factor == 1.0f);
    assert_true(o.m->p.rope.beta_fast == 32.0f);
    assert_int_equal(o.m->p.rope.orig_context, 64);
    close_opened(o);

    w = ggufm_new(&small);
    ggufw_str(w, "llama.rope.scaling.type", "none");
    ggufw_f32(w, "llama.rope.scaling.factor", 4);
    o = must_open(w);
    assert_int_equal(o.m->p.rope.scaling, MODEL_ROPE_NONE);
    assert_true(o.m->p.rope.factor == 1.0f);
    close_opened(o);
}

static void ones(void *arg, unsigned i, uint64_t at, void *to, size_t len)
{
    float *f = to;

    (void)at;
    for (size_t k = 0; i == *(unsigned *)arg && k < len / sizeof(*f); k++)
        f[k] = (float)(k + 1);
}

static void reads_divisors_of_frequencies(void **state)
{
    struct model_fault why = {""};
    struct ggufw *w = ggufm_new(&small);
    unsigned i = ggufw_tensor(w, "rope_freqs.weight", KRN_F32, 0, 8);
    struct model *m = NULL;
    size_t len;
    char *image = ggufw_build(w, ones, &i, &len);

    (void)state;
    assert_int_equal(model_open_gguf(str_of(image, len), &why, &m), ERR_OK);
    for (unsigned k = 0; k < 8; k++)
        assert_true(m->p.rope.divisors[k] == (float)(k + 1));
    model_close(m);
    free(image);
    must_refuse(w, ERR_SYNTAX, "has a number that is out of range");
    w = ggufm_new(&small);
    ggufw_tensor(w, "rope_freqs.weight", KRN_F32, 0, 7);
    must_refuse(w, ERR_SYNTAX, "'rope_freqs.weight' is not F32 of 8");
}

static void bounds_the_context_by_the_window(void **state)
{
    struct ggufw *w = ggufm_new(&small);
    struct opened o;

    (void)state;
    ggufw_u32(w, "llama.attention.sliding_window", 96);
    o = must_open(w);
    assert_int_equal(o.m->p.context, 96);
    close_opened(o);
    w = ggufm_new(&small);
    ggufw_u32(w, "llama.attention.sliding_window", 4096);
    o = must_open(w);
    assert_int_equal(o.m->p.context, 128);
    close_opened(o);
}

static void takes_numbers_told_for_each_layer(void **state)
{
    static const int32_t same[] = {2, 2}, other[] = {2, 4};
    struct ggufw *w = ggufm_new(&small);
    struct opened o;

    (void)state;
    ggufw_drop(w, "llama.attention.head_count_kv");
    ggufw_i32s(w, "llama.attention.head_count_kv", same, 2);
    o = must_open(w);
    assert_int_equal(o.m->p.n_kv_head, 2);
    close_opened(o);
    w = ggufm_new(&small);
    ggufw_drop(w, "llama.attention.head_count_kv");
    ggufw_i32s(w, "llama.attention.head_count_kv", other, 2);
    must_refuse(w, ERR_SYNTAX, "is no whole number, the same for all layers");
}

static void pools_as_told(void **state)
{
    struct ggufw *w = ggufm_new(&small);
    struct opened o;

    (void)state;
    ggufw_u32(w, "llama.pooling_type", 3);
    o = must_open(w);
    assert_int_equal(o.m->p.pooling, MODEL_POOL_LAST);
    close_opened(o);
    w = ggufm_new(&small);
    ggufw_u32(w, "llama.pooling_type", 2);
    must_refuse(w, ERR_REFUSED, "pooling type 2 is not supported");
}

/* --- files -------------------------------------------------------------- */

/* Write a model of <s> to a fresh file of <dir>; its path in <room>. */
static void write_model(const char *dir, const struct ggufm_shape *s,
                        char room[4096])
{
    struct ggufm_filler f = {.w = ggufm_new(s), .seed = s->seed};
    FILE *to = fopen(state_dir_path(dir, "m.gguf", room), "wb");

    assert_non_null(to);
    assert_true(ggufw_write(f.w, ggufm_fill, &f, to));
    assert_int_equal(fclose(to), 0);
    ggufw_free(f.w);
}

static void tells_the_file(void **state)
{
    struct model_fault why = {""};
    struct model *m = NULL;
    char *dir = state_dir_make();
    char room[4096], want[4200];

    (void)state;
    state_dir_path(dir, "none.gguf", room);
    assert_int_equal(model_open(room, &why, &m), ERR_IO);
    snprintf(want, sizeof(want), "%s: cannot be opened: No such file", room);
    assert_memory_equal(why.text, want, strlen(want));
    assert_int_equal(mkfifo(room, 0600), 0);
    assert_int_equal(model_open(room, &why, &m), ERR_IO);
    assert_non_null(strstr(why.text, "this is not a regular file"));
    state_dir_path(dir, "empty.gguf", room);
    fclose(fopen(room, "wb"));
    assert_int_equal(model_open(room, &why, &m), ERR_SYNTAX);
    assert_non_null(strstr(why.text, "the file is empty"));
    assert_null(m);
    state_dir_drop(dir);
}

static void digests_every_byte(void **state)
{
    struct model_fault why = {""};
    struct ggufm_shape s = small;
    char *dir = state_dir_make();
    char room[4096], was[65];
    struct model *m;
    struct opened o;

    (void)state;
    write_model(dir, &s, room);
    assert_int_equal(model_open(room, &why, &m), ERR_OK);
    assert_string_equal(m->digest, "");
    assert_int_equal(model_digest(m), ERR_OK);
    assert_int_equal(strlen(m->digest), 64);
    memcpy(was, m->digest, sizeof(was));
    model_digest_stop(m);
    assert_int_equal(model_digest(m), ERR_CLOSED);
    model_close(m);

    /* The same bytes in memory have the same digest. */
    o = must_open(ggufm_new(&s));
    assert_int_equal(model_digest(o.m), ERR_OK);
    assert_string_equal(o.m->digest, was);
    close_opened(o);

    s.seed = 1;
    write_model(dir, &s, room);
    assert_int_equal(model_open(room, &why, &m), ERR_OK);
    assert_int_equal(model_digest(m), ERR_OK);
    assert_string_not_equal(m->digest, was);
    model_close(m);
    state_dir_drop(dir);
}

static void notices_files_that_change(void **state)
{
    struct model_fault why = {""};
    char *dir = state_dir_make();
    char room[4096];
    struct stat st;
    struct model *m;

    (void)state;
    write_model(dir, &small, room);
    assert_int_equal(model_open(room, &why, &m), ERR_OK);
    assert_true(model_is_whole(m));
    assert_int_equal(stat(room, &st), 0);
    assert_int_equal(truncate(room, st.st_size - 1), 0);
    assert_false(model_is_whole(m));
    assert_int_equal(model_digest(m), ERR_IO);
    assert_string_equal(m->digest, "");
    model_close(m);
    state_dir_drop(dir);
}

/* Pages of this process that are in memory. */
static long resident_pages(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    long all = 0, here = 0;

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &all, &here), 2);
    fclose(f);
    return here;
}

/* Under the thread sanitizer a read touches pages of its own as well. */
#if defined(__SANITIZE_THREAD__)
#define SHADOWED true
#elif defined(__clang__)
#define SHADOWED __has_feature(thread_sanitizer)
#else
#define SHADOWED false
#endif

static void gives_back_the_pages_of_a_tensor(void **state)
{
    struct ggufm_shape s = small;
    struct model_fault why = {""};
    char *dir;
    char room[4096];
    volatile char sum = 0;
    long before, touched;
    struct model *m;
    const char *p;

    (void)state;
    if (SHADOWED)
        skip();
    dir = state_dir_make();
    s.d_model = 2048; /* the embedding takes 8 MiB */
    s.n_vocab = 2048;
    s.n_layer = 1;
    s.tied = true;
    write_model(dir, &s, room);
    assert_int_equal(model_open(room, &why, &m), ERR_OK);
    before = resident_pages();
    p = m->embed.data;
    for (size_t i = 0; i < m->embed.bytes; i += 512)
        sum = (char)(sum + p[i]);
    touched = resident_pages();
    assert_true(touched - before > 1500);
    model_tensor_done(m, &m->embed);
    assert_true(resident_pages() < before + 300);
    assert_int_equal(p[0], p[0]); /* still to be read, if need be */
    model_close(m);
    state_dir_drop(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_every_architecture_and_type),
        cmocka_unit_test(reads_all_numbers),
        cmocka_unit_test(opens_a_trained_model),
        cmocka_unit_test(opens_vocabularies_alone),
        cmocka_unit_test(reads_templates_and_advice),
        cmocka_unit_test(reads_rope_scaling),
        cmocka_unit_test(reads_divisors_of_frequencies),
        cmocka_unit_test(bounds_the_context_by_the_window),
        cmocka_unit_test(takes_numbers_told_for_each_layer),
        cmocka_unit_test(pools_as_told),
        cmocka_unit_test(tells_the_file),
        cmocka_unit_test(digests_every_byte),
        cmocka_unit_test(notices_files_that_change),
        cmocka_unit_test(gives_back_the_pages_of_a_tensor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
