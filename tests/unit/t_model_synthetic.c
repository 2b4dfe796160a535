/* t_model_synthetic.c - Models that are in no file: the shapes are those of the
 * models they are named after, tensors have seeds of their own, and the
 * vocabulary writes any text. */
#include "engine/model.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "token/vocab.h"
#include "unit/cmocka_all.h"

static struct model *must_open(const char *path)
{
    struct model_fault why = {{0}};
    struct model *m = NULL;
    enum err e = model_open(path, &why, &m);

    if (e != ERR_OK)
        fail_msg("%s: %s", path, why.text);
    return m;
}

static uint64_t count(const struct model_tensor *t)
{
    return (uint64_t)t->n_out * t->n_in;
}

/* Weights of all matrices, embeddings and head included. */
static uint64_t count_all(const struct model *m)
{
    uint64_t n = count(&m->embed);

    if (!m->p.tied)
        n += count(&m->output);
    for (unsigned i = 0; i < m->p.n_layer; i++) {
        const struct model_layer *l = &m->layers[i];

        n += count(&l->q) + count(&l->k) + count(&l->v) + count(&l->o) +
             count(&l->gate) + count(&l->up) + count(&l->down);
    }
    return n;
}

static void has_the_size_of_its_name(void **state)
{
    static const struct {
        const char *path;
        double millions;     /* as published, with the embedding */
        unsigned kv_numbers; /* keys and values of a token */
    } all[] = {
        {"synthetic:llama-3.1-8b", 8030, 65536},
        {"synthetic:qwen3-8b", 8191, 73728},
        {"synthetic:qwen2-7b", 7616, 28672},
        {"synthetic:smollm2-1.7b", 1711, 98304},
        {"synthetic:smollm2-360m", 362, 20480},
        {"synthetic:smollm2-135m", 134.5, 11520},
        {"synthetic:tinyllama-1.1b", 1100, 11264},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        struct model *m = must_open(all[i].path);
        double n = (double)count_all(m) / 1e6;

        if (n < all[i].millions * 0.999 || n > all[i].millions * 1.001)
            fail_msg("%s has %.1f million", all[i].path, n);
        assert_int_equal(2 * m->p.n_layer * m->p.n_kv_head * m->p.d_head,
                         all[i].kv_numbers);
        assert_int_equal(m->embed.dtype, KRN_BF16);
        assert_int_equal(m->file_bytes, 2 * count_all(m));
        assert_int_equal(vocab_size(m->vocab), m->p.n_vocab);
        model_close(m);
    }
}

static void matrices_have_seeds_and_vectors_have_data(void **state)
{
    struct model *m = must_open("synthetic:tiny-qwen2");
    const struct model_layer *l = &m->layers[1];

    (void)state;
    assert_null(l->q.data);
    assert_int_not_equal(l->q.seed, 0);
    assert_int_not_equal(l->q.seed, l->k.seed);
    assert_int_not_equal(l->q.seed, m->layers[0].q.seed);
    assert_int_not_equal(l->down.seed, m->embed.seed);
    assert_true(((const float *)l->attn_norm.data)[255] == 1.0f);
    assert_int_equal(l->q_bias.n_in, 448);
    assert_true(((const float *)l->q_bias.data)[447] == 0.0f);
    assert_null(l->q_norm.data);
    model_close(m);
}

/* Rows of 576 are no whole blocks of 256. */
static void types_that_do_not_fit_are_replaced(void **state)
{
    struct model *m = must_open("synthetic:smollm2-135m:q4_k");

    (void)state;
    assert_int_equal(m->layers[0].q.dtype, KRN_Q8_0);
    assert_int_equal(m->layers[0].q.bytes, 576 * 576 / 32 * 34);
    assert_int_equal(m->layers[0].down.dtype, KRN_Q4_K);
    model_close(m);
}

static void a_digest_is_of_shape_and_type(void **state)
{
    static const char *const paths[] = {"synthetic:tiny", "synthetic:tiny:BF16",
                                        "synthetic:tiny:q8_0",
                                        "synthetic:tiny-qwen3"};
    struct model *m[4];

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        m[i] = must_open(paths[i]);
        assert_int_equal(model_digest(m[i]), ERR_OK);
        assert_true(model_is_whole(m[i]));
    }
    assert_string_equal(m[0]->digest, m[1]->digest);
    assert_string_not_equal(m[0]->digest, m[2]->digest);
    assert_string_not_equal(m[0]->digest, m[3]->digest);
    for (unsigned i = 0; i < 4; i++)
        model_close(m[i]);
}

static void a_text_has_a_token_a_byte(void **state)
{
    struct model *m = must_open("synthetic:tiny");
    const struct str text = STR("Zw\xc3\xb6lf aaab\n\xf0\x9f\x90\x87 0123");
    struct vocab_ids ids = {0};
    struct detok d = {.n_held = 0};
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    assert_int_equal(vocab_encode(m->vocab, text, NULL, 0, 100, &ids), ERR_OK);
    assert_int_equal(ids.n, text.len);
    for (size_t i = 0; i < ids.n; i++) {
        assert_in_range(ids.ids[i], 0, 255);
        assert_int_equal(detok_push(&d, m->vocab, ids.ids[i], false, &b),
                         ERR_OK);
    }
    assert_true(str_eq(buf_str(&b), text));
    for (unsigned i = 0; i < m->p.n_vocab; i++)
        assert_false(vocab_is_eog(m->vocab, (int32_t)i));
    buf_fini(&b);
    free(ids.ids);
    model_close(m);
}

static void names_that_are_none_are_refused(void **state)
{
    static const char *const paths[] = {"synthetic:", "synthetic:gpt-5",
                                        "synthetic:tiny:", "synthetic:tiny:q3",
                                        "synthetic:tiny:bf16:"};

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct model_fault why = {{0}};
        struct model *m = NULL;

        assert_int_equal(model_open(paths[i], &why, &m), ERR_REFUSED);
        assert_null(m);
        assert_non_null(strstr(why.text, "there are"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_the_size_of_its_name),
        cmocka_unit_test(matrices_have_seeds_and_vectors_have_data),
        cmocka_unit_test(types_that_do_not_fit_are_replaced),
        cmocka_unit_test(a_digest_is_of_shape_and_type),
        cmocka_unit_test(a_text_has_a_token_a_byte),
        cmocka_unit_test(names_that_are_none_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
