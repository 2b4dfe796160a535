/* t_model_open.c - Models that are sound: what the reader makes of them. */
#include "engine/model.h"

#include <stdlib.h>

#include "lib/ggufm.h"
#include "unit/cmocka_all.h"

/* The path of a file of the shared test data in <room>; false when it is not
 * there. */
static bool data_path(const char *name, char *room, size_t size)
{
    const char *dir = getenv("TOLLGATE_TEST_DATA");
    FILE *f;

    snprintf(room, size, "%s/%s", dir ? dir : "../shared/data", name);
    f = fopen(room, "rb");
    if (f)
        fclose(f);
    return f != NULL;
}

static const struct ggufm_shape small = {
    .arch = "llama",
    .n_layer = 2,
    .d_model = 64,
    .n_head = 4,
    .n_kv_head = 2,
    .d_head = 16,
    .d_ff = 96,
    .n_vocab = 320,
    .context = 128,
    .tied = true,
    .dtype = KRN_F16,
};

static void opens_what_was_written(void **state)
{
    struct model_fault why = {""};
    struct model *m = NULL;
    size_t len;
    char *image = ggufm_build(&small, &len);
    enum err e = model_open_gguf(str_of(image, len), &why, &m);

    (void)state;
    assert_string_equal(why.text, "");
    assert_int_equal(e, ERR_OK);
    assert_int_equal(m->p.n_layer, 2);
    assert_int_equal(m->p.d_model, 64);
    assert_int_equal(m->p.n_kv_head, 2);
    assert_int_equal(m->p.n_vocab, 320);
    assert_true(m->p.tied);
    assert_false(m->p.rope.halves);
    assert_int_equal(m->layers[1].down.n_in, 96);
    assert_int_equal(m->layers[1].down.n_out, 64);
    assert_int_equal(m->layers[1].down.dtype, KRN_F16);
    assert_int_equal(model_digest(m), ERR_OK);
    assert_int_equal(strlen(m->digest), 64);
    model_close(m);
    free(image);
}

static void opens_a_trained_model(void **state)
{
    struct model_fault why = {""};
    struct model *m = NULL;
    char path[512];

    (void)state;
    if (!data_path("models/stories260K.gguf", path, sizeof(path)))
        skip();
    assert_int_equal(model_open(path, &why, &m), ERR_OK);
    assert_int_equal(m->p.arch, MODEL_LLAMA);
    assert_int_equal(m->p.n_layer, 5);
    assert_int_equal(m->p.d_head, 8);
    assert_int_equal(m->p.n_vocab, 512);
    assert_int_equal(m->p.context, 512);
    assert_true(m->p.tied);
    assert_int_equal(m->file_bytes, 1054176);
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_what_was_written),
        cmocka_unit_test(opens_a_trained_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
