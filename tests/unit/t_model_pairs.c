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

/* Divisors as a converter writes them for llama 3's scaling: factor 8, from 16
 * tokens, waves between 16/4 and 16/1. */
static void fill_divisors(void *arg, unsigned i, uint64_t at, void *to,
                          size_t len)
{
    const struct ggufm_filler *f = arg;
    unsigned n, half = shape.d_head / 2;
    const struct ggufw_tensor *t = &ggufw_tensors(f->w, &n)[i];
    float *out = to;

    ggufm_fill(arg, i, at, to, len);
    if (strcmp(t->name, "rope_freqs.weight") != 0)
        return;
    for (unsigned k = 0; k < half; k++) {
        double wave = 2 * 3.14159265358979 * pow(10000, (double)k / half);
        double smooth = (16 / wave - 1) / (4 - 1);

        if (wave < 4)
            smooth = 1;
        if (wave > 16)
            smooth = 0;
        out[k] = (float)(1 / ((1 - smooth) / 8 + smooth));
    }
}

static void stretches_the_same_in_both_formats(void **state)
{
    struct ggufm_filler f = {.w = ggufm_new(&shape), .seed = shape.seed};
    float gguf[VOCAB], hf[VOCAB];
    struct model_fault why = {""};
    char *dir = state_dir_make();
    struct model *m = NULL;
    size_t len;
    char *image, *config;

    (void)state;
    ggufw_tensor(f.w, "rope_freqs.weight", KRN_F32, 0, shape.d_head / 2);
    image = ggufw_build(f.w, fill_divisors, &f, &len);
    assert_int_equal(model_open_gguf(str_of(image, len), &why, &m), ERR_OK);
    run(m, gguf);
    model_close(m);
    free(image);
    ggufw_free(f.w);
    hfdir_make(dir, &shape, 2);
    hfdir_weights(dir, &shape, 2, true);
    run_directory(dir, hf);
    assert_true(distance(gguf, hf) > 1e-3f);
    config = hfdir_config(&shape, ",\"rope_scaling\":{\"rope_type\":\"llama3\","
                                  "\"factor\":8,\"low_freq_factor\":1,"
                                  "\"high_freq_factor\":4,"
                                  "\"original_max_position_embeddings\":16}");
    hfdir_put(dir, "config.json", str_from(config));
    free(config);
    run_directory(dir, hf);
    assert_true(distance(gguf, hf) < 1e-4f);
    state_dir_drop(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(computes_the_same_from_both_formats),
        cmocka_unit_test(stretches_the_same_in_both_formats),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
