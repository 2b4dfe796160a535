/* t_model_pairs.c - Rotary pairs are taken as each format has them: a llama
 * computes the same from a GGUF file, whose rows are in the order of neighbour
 * pairs, and from a directory, whose rows are in the order of halves. With the
 * rows of the other format it would not. */
#include <math.h>

#include "engine/graph.h"
#include "engine/model.h"
#include "lib/hfdir.h"
#include "unit/cmocka_all.h"
#include "unit/state_dir.h"

enum { N_IDS = 40, PAGES = 4, VOCAB = 320 };

static const struct ggufm_shape shape = {
    .arch = "llama",
    .n_layer = 3,
    .d_model = 64,
    .n_head = 4,
    .n_kv_head = 2,
    .d_head = 16,
    .d_ff = 96,
    .n_vocab = VOCAB,
    .context = 128,
    .dtype = KRN_F32,
    .seed = 7,
};

/* The logits of the last of some tokens. */
static void run(const struct model *m, float logits[VOCAB])
{
    struct krn_opts o = {.device = "ref"};
    struct graph_opts go = {
        .kv_dtype = KRN_F32, .n_pages = PAGES, .max_rows = N_IDS};
    int32_t ids[N_IDS], pos[N_IDS], seq[N_IDS] = {0};
    const int32_t table[PAGES] = {3, 1, 0, 2};
    uint8_t want[N_IDS] = {[N_IDS - 1] = GRAPH_LOGITS};
    struct graph_step s = {
        .rows = {N_IDS, seq, pos, 1, table, PAGES}, .ids = ids, .want = want};
    struct model_fault why = {""};
    struct krn_ctx *c;
    struct graph *g;

    for (int32_t i = 0; i < N_IDS; i++) {
        ids[i] = (i * 37 + 5) % VOCAB;
        pos[i] = i;
    }
    assert_int_equal(krn_open(&o, &c), KRN_OK);
    assert_int_equal(graph_new(c, m, &go, &why, &g), ERR_OK);
    assert_int_equal(graph_step_run(g, &s, logits), ERR_OK);
    graph_free(g);
    krn_close(c);
}

static void run_directory(const char *dir, float logits[VOCAB])
{
    struct model_fault why = {""};
    struct model *m = NULL;

    assert_int_equal(model_open(dir, &why, &m), ERR_OK);
    run(m, logits);
    model_close(m);
}

/* By how much two rows differ at most. */
static float distance(const float *a, const float *b)
{
    float most = 0;

    for (unsigned i = 0; i < VOCAB; i++)
        most = fmaxf(most, fabsf(a[i] - b[i]));
    return most;
}

static void computes_the_same_from_both_formats(void **state)
{
    float gguf[VOCAB], hf[VOCAB];
    struct model_fault why = {""};
    char *dir = state_dir_make();
    struct model *m = NULL;
    size_t len;
    char *image = ggufm_build(&shape, &len);

    (void)state;
    assert_int_equal(model_open_gguf(str_of(image, len), &why, &m), ERR_OK);
    run(m, gguf);
    model_close(m);
    free(image);
    hfdir_make(dir, &shape, 1);
    run_directory(dir, hf);
    assert_true(distance(gguf, hf) > 1e-2f);
    hfdir_weights(dir, &shape, 1, true);
    run_directory(dir, hf);
    assert_true(distance(gguf, hf) < 1e-4f);
    state_dir_drop(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(computes_the_same_from_both_formats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
