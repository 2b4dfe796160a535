/* t_graph.c - The pass over the layers: a row's numbers are the same bit by bit
 * however the prompt is cut, whoever runs beside it, on whichever device and
 * threads, and wherever its pages lie. */
#include "engine/graph.h"

#include <stdlib.h>

#include "lib/graphrig.h"
#include "unit/cmocka_all.h"

enum { VOCAB = 320, D_MODEL = 64, LONG = 300 };

static const struct ggufm_shape shapes[] = {
    {.arch = "llama",
     .n_layer = 3,
     .d_model = D_MODEL,
     .n_head = 6,
     .n_kv_head = 2,
     .d_head = 16,
     .d_ff = 96,
     .n_vocab = VOCAB,
     .context = 2048,
     .tied = true,
     .dtype = KRN_F16,
     .seed = 1},
    {.arch = "qwen2",
     .n_layer = 2,
     .d_model = D_MODEL,
     .n_head = 4,
     .n_kv_head = 1,
     .d_head = 16,
     .d_ff = 160,
     .n_vocab = VOCAB,
     .context = 2048,
     .tied = false,
     .dtype = KRN_Q8_0,
     .seed = 2},
    {.arch = "qwen3",
     .n_layer = 2,
     .d_model = D_MODEL,
     .n_head = 4,
     .n_kv_head = 4,
     .d_head = 24,
     .d_ff = 96,
     .n_vocab = VOCAB,
     .context = 2048,
     .tied = true,
     .dtype = KRN_BF16,
     .seed = 3},
};
enum { N_SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

/* A model, and what the tokens of sequence 0 give when run at once, on one
 * thread. */
struct scene {
    struct graphrig_image image;
    float want[VOCAB];
};

static void scene_init(struct scene *s, const struct ggufm_shape *shape)
{
    struct graphrig r;

    graphrig_image(&s->image, shape);
    graphrig_open(&r, &s->image, "cpu", 1, KRN_F16);
    graphrig_prompt(&r, 0, LONG, LONG, s->want);
    graphrig_close(&r);
}

static void chunks_change_nothing(void **state)
{
    static const int32_t chunks[] = {1, 2, 7, 16, 33, 255, 256, 257};

    (void)state;
    for (int i = 0; i < N_SHAPES; i++) {
        struct scene s;

        scene_init(&s, &shapes[i]);
        for (unsigned threads = 1; threads <= 2; threads++) {
            struct graphrig r;

            graphrig_open(&r, &s.image, "cpu", threads, KRN_F16);
            for (size_t k = 0; k < sizeof(chunks) / sizeof(chunks[0]); k++) {
                float got[VOCAB];

                graphrig_prompt(&r, (int32_t)0, LONG, chunks[k], got);
                assert_memory_equal(got, s.want, sizeof(got));
            }
            graphrig_close(&r);
        }
        graphrig_image_free(&s.image);
    }
}

static void scalar_code_agrees(void **state)
{
    (void)state;
    for (int i = 0; i < N_SHAPES; i++) {
        struct scene s;
        struct graphrig r;
        float got[VOCAB];

        scene_init(&s, &shapes[i]);
        graphrig_open(&r, &s.image, "ref", 2, KRN_F16);
        graphrig_prompt(&r, 0, LONG, 300, got);
        assert_memory_equal(got, s.want, sizeof(got));
        graphrig_close(&r);
        graphrig_image_free(&s.image);
    }
}

/* Sequence 0 goes on token by token from LONG - 12 while seven others are
 * prefilled, decoded and forgotten beside it. */
static void company_check(struct graphrig *r, const struct scene *s)
{
    float got[GRAPHRIG_SEQS][VOCAB];
    int32_t at[GRAPHRIG_SEQS] = {0};

    graphrig_add(r, 0, 0, LONG - 12, GRAPH_NOTHING);
    graphrig_run(r, NULL);
    for (int32_t step = 0; step < 12; step++) {
        for (int32_t k = 1; k < GRAPHRIG_SEQS; k++) {
            int32_t n = (step + k) % 3 == 0 ? 3 * k : 1;
            bool wanted = (step + k) % 2 == 0;

            if (k == 4)
                graphrig_add(r, 0, LONG - 12 + step, LONG - 11 + step,
                             GRAPH_LOGITS);
            graphrig_add(r, k, at[k], at[k] + n,
                         k < 4 || !wanted ? GRAPH_NOTHING : GRAPH_LOGITS);
            at[k] += n;
        }
        graphrig_run(r, got[0]);
    }
    assert_memory_equal(got[0], s->want, sizeof(got[0]));
}

static void company_changes_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < N_SHAPES; i++) {
        struct scene s;

        scene_init(&s, &shapes[i]);
        for (unsigned threads = 1; threads <= 2; threads++) {
            struct graphrig r;

            graphrig_open(&r, &s.image, "cpu", threads, KRN_F16);
            company_check(&r, &s);
            graphrig_close(&r);
        }
        graphrig_image_free(&s.image);
    }
}

/* All rows wanted or one: the last layer is cut down or not. */
static void wanting_more_changes_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < N_SHAPES; i++) {
        struct scene s;
        struct graphrig r;
        float *got = calloc((size_t)LONG * VOCAB, sizeof(*got));
        float one[VOCAB];

        scene_init(&s, &shapes[i]);
        graphrig_open(&r, &s.image, "cpu", 2, KRN_F16);
        for (int32_t k = 0; k < LONG; k++)
            graphrig_add(&r, 0, k, k + 1, GRAPH_LOGITS);
        graphrig_run(&r, got);
        assert_memory_equal(got + (size_t)(LONG - 1) * VOCAB, s.want,
                            sizeof(s.want));
        for (int32_t n = 1; n < LONG; n += 97) {
            graphrig_prompt(&r, 0, n, 64, one);
            assert_memory_equal(one, got + (size_t)(n - 1) * VOCAB,
                                sizeof(one));
        }
        graphrig_close(&r);
        graphrig_image_free(&s.image);
        free(got);
    }
}

/* The first pages of sequence 0, copied or shared, and gone on with from
 * another sequence that has the same tokens. */
static void copied_and_shared_pages_change_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < N_SHAPES; i++) {
        struct scene s;
        struct graphrig r;
        float got[VOCAB];
        int32_t spare;

        scene_init(&s, &shapes[i]);
        graphrig_open(&r, &s.image, "cpu", 2, KRN_F16);
        spare = (int32_t)r.n_pages - 1;
        graphrig_add(&r, 0, 0, 200, GRAPH_NOTHING);
        graphrig_run(&r, NULL);
        /* 200 is in the middle of page 12: that one must be copied. */
        for (int32_t p = 0; p <= 12; p += 3) {
            assert_int_equal(graph_page_copy(r.g, (unsigned)(spare - p),
                                             (unsigned)r.table[p]),
                             ERR_OK);
            r.table[p] = spare - p;
        }
        /* Whoever has the old page 12 now may write what it likes. */
        graphrig_add(&r, 1, 0, 250, GRAPH_NOTHING);
        graphrig_run(&r, NULL);
        graphrig_add(&r, 0, 200, LONG, GRAPH_LOGITS);
        graphrig_run(&r, got);
        assert_memory_equal(got, s.want, sizeof(got));
        assert_int_equal(graph_page_copy(r.g, r.n_pages, 0), ERR_RANGE);
        graphrig_close(&r);
        graphrig_image_free(&s.image);
    }
}

static void hidden_rows_do_not_depend_on_chunks(void **state)
{
    struct scene s;
    struct graphrig r;
    float *all = calloc((size_t)LONG * D_MODEL, sizeof(*all));
    float *got = calloc((size_t)LONG * D_MODEL, sizeof(*got));
    double size = 0;

    (void)state;
    scene_init(&s, &shapes[0]);
    graphrig_open(&r, &s.image, "cpu", 2, KRN_F16);
    for (int32_t k = 0; k < LONG; k++)
        graphrig_add(&r, 0, k, k + 1, GRAPH_HIDDEN);
    graphrig_run(&r, all);
    for (int32_t k = 0; k < LONG; k++) {
        graphrig_add(&r, 0, k, k + 1, GRAPH_HIDDEN);
        if (k % 37 == 36 || k + 1 == LONG)
            graphrig_run(&r, got + (size_t)(k - k % 37) * D_MODEL);
    }
    assert_memory_equal(all, got, LONG * D_MODEL * sizeof(*all));
    for (int k = 0; k < D_MODEL; k++)
        size += (double)all[k] * (double)all[k];
    assert_true(size > 0.1 * D_MODEL && size < 10 * D_MODEL);
    graphrig_close(&r);
    graphrig_image_free(&s.image);
    free(all);
    free(got);
}

/* --- refusals and sums ---------------------------------------------------- */

struct progress {
    uint64_t last, all;
    unsigned calls;
};

static void progress_note(uint64_t done, uint64_t all, void *arg)
{
    struct progress *p = arg;

    assert_true(done > p->last && done <= all);
    p->last = done;
    p->all = all;
    p->calls++;
}

static void loading_tells_how_far_it_is(void **state)
{
    struct graphrig_image image;
    struct krn_opts ko = {.threads = 1};
    struct progress p = {0, 0, 0};
    struct graph_opts go = {.kv_dtype = KRN_F16,
                            .n_pages = 4,
                            .max_rows = 4,
                            .progress = progress_note,
                            .progress_arg = &p};
    struct model_fault why = {""};
    struct krn_ctx *c;
    struct model *m;
    struct graph *g = NULL;

    (void)state;
    graphrig_image(&image, &shapes[0]);
    assert_int_equal(krn_open(&ko, &c), KRN_OK);
    assert_int_equal(model_open_gguf(str_of(image.bytes, image.len), &why, &m),
                     ERR_OK);
    assert_int_equal(graph_new(c, m, &go, &why, &g), ERR_OK);
    assert_true(p.calls > 20 && p.last == p.all);
    assert_true(graph_weight_bytes(g) >= p.all);
    assert_int_equal(graph_page_bytes_of(m, KRN_F16, 16),
                     3 * 2 * 2 * 16 * 16 * 2);
    graph_free(g);
    g = NULL;
    go.n_pages = UINT32_MAX;
    m->p.n_layer = UINT32_MAX;
    assert_int_equal(graph_new(c, m, &go, &why, &g), ERR_NOMEM);
    assert_null(g);
    assert_non_null(strstr(why.text, "no memory"));
    m->p.n_layer = 3;
    model_close(m);
    krn_close(c);
    graphrig_image_free(&image);
}

static void bad_steps_are_refused(void **state)
{
    struct scene s;
    struct graphrig r;
    float out[2 * VOCAB];
    int32_t seq[] = {0, 0};
    int32_t pos[] = {0, 1};
    int32_t ids[] = {5, VOCAB};
    uint8_t want[] = {GRAPH_HIDDEN, GRAPH_LOGITS};
    struct graph_step step = {.ids = ids, .want = want};

    (void)state;
    scene_init(&s, &shapes[0]);
    graphrig_open(&r, &s.image, "cpu", 1, KRN_F16);
    step.rows = (struct krn_rows){2, seq, pos, 1, r.table, GRAPHRIG_PAGES};
    assert_int_equal(graph_step_run(r.g, &step, out), ERR_RANGE);
    want[0] = GRAPH_LOGITS;
    assert_int_equal(graph_step_run(r.g, &step, out), ERR_RANGE);
    ids[1] = -1;
    assert_int_equal(graph_step_run(r.g, &step, out), ERR_RANGE);
    ids[1] = VOCAB - 1;
    pos[1] = GRAPHRIG_PAGES * KRN_PAGE_TOKENS;
    assert_int_equal(graph_step_run(r.g, &step, out), ERR_RANGE);
    pos[1] = 1;
    step.rows.m = GRAPHRIG_ROWS + 1;
    assert_int_equal(graph_step_run(r.g, &step, out), ERR_RANGE);
    step.rows.m = 0;
    assert_int_equal(graph_step_run(r.g, &step, out), ERR_OK);
    step.rows.m = 2;
    assert_int_equal(graph_step_run(r.g, &step, out), ERR_OK);
    graphrig_close(&r);
    graphrig_image_free(&s.image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_change_nothing),
        cmocka_unit_test(scalar_code_agrees),
        cmocka_unit_test(company_changes_nothing),
        cmocka_unit_test(wanting_more_changes_nothing),
        cmocka_unit_test(copied_and_shared_pages_change_nothing),
        cmocka_unit_test(hidden_rows_do_not_depend_on_chunks),
        cmocka_unit_test(loading_tells_how_far_it_is),
        cmocka_unit_test(bad_steps_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
