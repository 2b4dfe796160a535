/* tk_cuda_graph.c - The pass over the layers on a GPU, the emulated one or,
 * with TG_TEST_GPU in the environment, a real one: it says what the CPU says,
 * within rounding, however a prompt is cut and whoever runs beside it. */
#include "engine/graph.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/graph_priv.h"
#include "kernels/fakecuda.h"
#include "kernels/gfix.h"
#include "lib/graphrig.h"
#include "unit/cmocka_all.h"

enum { VOCAB = 320, D_MODEL = 64, LONG = 150 };

static const struct ggufm_shape shapes[] = {
    {.arch = "llama",
     .n_layer = 2,
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

/* The same model on the CPU and on the GPU. */
struct both {
    struct graphrig_image image;
    struct graphrig cpu, gpu;
};

static void both_open(struct both *b, const struct ggufm_shape *shape)
{
    graphrig_image(&b->image, shape);
    graphrig_open(&b->cpu, &b->image, "cpu", 1, KRN_F16);
    graphrig_open(&b->gpu, &b->image, "cuda:0", 1, KRN_F16);
}

static void both_close(struct both *b)
{
    graphrig_close(&b->cpu);
    graphrig_close(&b->gpu);
    graphrig_image_free(&b->image);
    assert_int_equal(gfix_live(), 0);
}

/* Squares of what <got> is off, to squares of <want>. */
static double nmse(const float *got, const float *want, size_t n)
{
    double off = 0, all = 0;

    for (size_t i = 0; i < n; i++) {
        double d = (double)got[i] - (double)want[i];

        assert_true(isfinite(got[i]));
        off += d * d;
        all += (double)want[i] * (double)want[i];
    }
    return off / all;
}

/* The CPU rounds what a quantised matrix is multiplied with to 8 bits, the GPU
 * to halves. */
static double bound_of(const struct ggufm_shape *shape)
{
    return shape->dtype == KRN_F16    ? 1e-5
           : shape->dtype == KRN_BF16 ? 5e-4
                                      : 2e-3;
}

static void assert_close(const float *got, const float *want, size_t n,
                         double bound)
{
    double e = nmse(got, want, n);

    if (e > bound)
        print_message("off by %g, allowed %g\n", e, bound);
    assert_true(e <= bound);
}

static void a_prompt_says_what_it_says_on_the_cpu(void **state)
{
    static const int32_t chunks[] = {150, 64, 37, 7, 1};

    (void)state;
    for (int i = 0; i < N_SHAPES; i++) {
        struct both b;
        float want[VOCAB], got[VOCAB];

        both_open(&b, &shapes[i]);
        graphrig_prompt(&b.cpu, 0, LONG, LONG, want);
        for (size_t k = 0; k < sizeof(chunks) / sizeof(chunks[0]); k++) {
            int32_t n = chunks[k] == 1 ? 12 : LONG;

            if (n != LONG)
                graphrig_prompt(&b.cpu, 0, n, n, want);
            graphrig_prompt(&b.gpu, 0, n, chunks[k], got);
            assert_close(got, want, VOCAB, bound_of(&shapes[i]));
        }
        both_close(&b);
    }
}

/* Add the same rows to both. */
static void both_add(struct both *b, int32_t seq, int32_t from, int32_t to,
                     enum graph_want want)
{
    graphrig_add(&b->cpu, seq, from, to, want);
    graphrig_add(&b->gpu, seq, from, to, want);
}

/* Run what was added; <n> rows of <width> come out, equal but for rounding. */
static void both_run(struct both *b, unsigned n, unsigned width, double bound)
{
    float *want = calloc((size_t)n * width + 1, sizeof(*want));
    float *got = calloc((size_t)n * width + 1, sizeof(*got));

    assert_true(want && got);
    graphrig_run(&b->cpu, want);
    graphrig_run(&b->gpu, got);
    for (size_t i = 0; i < n; i++)
        assert_close(got + i * width, want + i * width, width, bound);
    free(want);
    free(got);
}

/* Whether the device would repeat a step of <n> sequences that decode. */
static bool is_recorded(struct graphrig *r, unsigned n, int32_t pos)
{
    int32_t seq[GRAPHRIG_SEQS], at[GRAPHRIG_SEQS], ids[GRAPHRIG_SEQS];
    unsigned wanted[GRAPHRIG_SEQS];
    struct krn_pass pass = {0};
    struct krn_step s = {
        .kv = &r->g->kv,
        .rows = {n, seq, at, GRAPHRIG_SEQS, r->table, GRAPHRIG_PAGES},
        .ids = ids,
        .wanted = wanted,
        .n_wanted = n,
        .n_vocab = VOCAB,
        .kind = GRAPH_LOGITS | 1U << 2};

    for (unsigned i = 0; i < n; i++) {
        seq[i] = (int32_t)i;
        at[i] = pos;
        ids[i] = graphrig_token(r, seq[i], pos);
        wanted[i] = i;
    }
    assert_int_equal(krn_step_begin(r->c, &s, &pass), KRN_OK);
    assert_true(pass.m >= n);
    if (!pass.again) /* let the step be forgotten */
        assert_int_equal(krn_step_heads(r->c, KRN_ALL, UINT_MAX, NULL),
                         KRN_BAD_SHAPE);
    assert_int_equal(krn_step_end(r->c), KRN_OK);
    return pass.again;
}

/* Sequences of different lengths go on together, by twos, threes, fives and
 * eights, beside a prompt now and then. */
static void decoding_together_says_the_same(void **state)
{
    static const int32_t company[] = {1, 2, 3, 5, 8, 8, 5, 3, 2, 1, 8, 5};

    (void)state;
    for (int i = 0; i < N_SHAPES; i++) {
        const double bound = bound_of(&shapes[i]);
        int32_t at[GRAPHRIG_SEQS];
        struct both b;

        both_open(&b, &shapes[i]);
        for (int32_t k = 0; k < GRAPHRIG_SEQS; k++) {
            at[k] = 1 + 17 * k;
            both_add(&b, k, 0, at[k], GRAPH_NOTHING);
        }
        both_run(&b, 0, VOCAB, bound);
        for (size_t k = 0; k < sizeof(company) / sizeof(company[0]); k++) {
            for (int32_t s = 0; s < company[k]; s++, at[s - 1]++)
                both_add(&b, s, at[s], at[s] + 1, GRAPH_LOGITS);
            if (k == 6)
                both_add(&b, 7, at[7], at[7] + 40, GRAPH_NOTHING);
            at[7] += k == 6 ? 40 : 0;
            both_run(&b, (unsigned)company[k], VOCAB, bound);
        }
        both_close(&b);
    }
}

/* What the device recorded is repeated for other tokens and other pages. */
static void steps_are_recorded_and_repeated(void **state)
{
    const double bound = bound_of(&shapes[0]);
    struct both b;

    (void)state;
    both_open(&b, &shapes[0]);
    for (int32_t pos = 0; pos < 70; pos++) {
        for (int32_t s = 0; s < 3; s++)
            both_add(&b, s, pos, pos + 1, GRAPH_LOGITS);
        both_run(&b, 3, VOCAB, bound);
        if (pos == 40)
            assert_true(is_recorded(&b.gpu, 3, pos));
        if (pos == 41) {
            assert_true(is_recorded(&b.gpu, 4, pos)); /* of the same size */
            assert_false(is_recorded(&b.gpu, 5, pos));
        }
    }
    both_close(&b);
}

/* Where that is asked for, a row's numbers are the same bit by bit however the
 * prompt is cut, and whoever runs beside it. */
static void nothing_depends_on_company_when_that_is_asked_for(void **state)
{
    static const int32_t chunks[] = {64, 37, 7};
    static const enum krn_dtype pools[N_SHAPES] = {KRN_F16, KRN_FP8, KRN_BF16};
    const struct krn_opts o = {.device = "cuda:0", .deterministic = true};

    (void)state;
    for (int i = 0; i < N_SHAPES; i++) {
        struct graphrig_image image;
        struct graphrig r;
        float want[VOCAB], got[VOCAB], many[GRAPHRIG_SEQS * VOCAB];

        graphrig_image(&image, &shapes[i]);
        graphrig_open_as(&r, &image, &o, pools[i]);
        graphrig_prompt(&r, 0, LONG, LONG, want);
        for (size_t k = 0; k < sizeof(chunks) / sizeof(chunks[0]); k++) {
            graphrig_prompt(&r, 0, LONG, chunks[k], got);
            assert_memory_equal(got, want, sizeof(got));
        }
        graphrig_add(&r, 0, 0, LONG - 1, GRAPH_NOTHING);
        for (int32_t s = 1; s < GRAPHRIG_SEQS; s++)
            graphrig_add(&r, s, 0, 5 * s, GRAPH_NOTHING);
        graphrig_run(&r, NULL);
        for (int32_t n = 1; n <= GRAPHRIG_SEQS; n += 1 + n / 2) {
            graphrig_add(&r, 0, LONG - 1, LONG, GRAPH_LOGITS);
            for (int32_t s = 1; s < n; s++)
                graphrig_add(&r, s, 5 * s, 5 * s + 1, GRAPH_LOGITS);
            graphrig_run(&r, many);
            assert_memory_equal(many, want, sizeof(want));
        }
        graphrig_close(&r);
        graphrig_image_free(&image);
        assert_int_equal(gfix_live(), 0);
    }
}

/* More logits than there is room for at once, and hidden rows. */
static void many_rows_come_out(void **state)
{
    struct both b;

    (void)state;
    both_open(&b, &shapes[0]);
    for (int32_t k = 0; k < 300; k++)
        both_add(&b, 0, k, k + 1, GRAPH_LOGITS);
    both_run(&b, 300, VOCAB, bound_of(&shapes[0]));
    for (int32_t k = 0; k < 70; k++)
        both_add(&b, 1, k, k + 1, k % 7 == 3 ? GRAPH_HIDDEN : GRAPH_NOTHING);
    both_run(&b, 10, D_MODEL, bound_of(&shapes[0]));
    for (int32_t k = 0; k < 70; k++)
        both_add(&b, 2, k, k + 1, GRAPH_HIDDEN);
    both_run(&b, 70, D_MODEL, bound_of(&shapes[0]));
    both_close(&b);
}

/* Greedy draws beside logits: the largest of what the CPU says, and logits of
 * the others as ever; once recorded, too. */
static void tokens_are_drawn_on_the_device(void **state)
{
    static const enum graph_want wants[] = {
        GRAPH_DRAW, GRAPH_LOGITS, GRAPH_LOGITS, GRAPH_DRAW, GRAPH_LOGITS};
    enum { N = sizeof(wants) / sizeof(wants[0]) };
    const double bound = bound_of(&shapes[0]);
    struct both b;
    float want[N * VOCAB], got[N * VOCAB];
    struct krn_draw draws[2];
    struct krn_drawn drawn[2];

    (void)state;
    both_open(&b, &shapes[0]);
    assert_true(graph_draws(b.gpu.g) && !graph_draws(b.cpu.g));
    for (int32_t pos = 0; pos < 5; pos++) {
        for (int32_t s = 0; s < N; s++) {
            graphrig_add(&b.cpu, s, pos, pos + 1, GRAPH_LOGITS);
            graphrig_add(&b.gpu, s, pos, pos + 1, wants[s]);
        }
        graphrig_run(&b.cpu, want);
        graphrig_run(&b.gpu, got);
        for (unsigned i = 0; i < 2; i++)
            draws[i] = (struct krn_draw){
                .row = 3 * i, .given = -1, .top_p = 1, .repetition_penalty = 1};
        assert_int_equal(graph_draw(b.gpu.g, VOCAB, 2, draws, drawn), ERR_OK);
        assert_int_equal(graph_draw(b.cpu.g, 1, 2, draws, drawn), ERR_RANGE);
        assert_close(got, want + (size_t)VOCAB, 2 * (size_t)VOCAB, bound);
        assert_close(got + (size_t)2 * VOCAB, want + (size_t)4 * VOCAB, VOCAB,
                     bound);
        for (unsigned i = 0; i < 2; i++) {
            const float *l = want + (size_t)3 * i * VOCAB;
            float most = l[0];

            for (unsigned v = 1; v < VOCAB; v++)
                most = l[v] > most ? l[v] : most;
            assert_in_range(drawn[i].id, 0, VOCAB - 1);
            assert_true(most - l[drawn[i].id] < 0.02F);
        }
    }
    draws[0].row = GRAPH_DRAW_ROWS;
    assert_int_equal(graph_draw(b.gpu.g, VOCAB, 1, draws, drawn), ERR_RANGE);
    both_close(&b);
}

/* --- pages ---------------------------------------------------------------- */

static void copy_wait(struct graph *g, uint64_t ticket)
{
    bool failed = false;

    while (!graph_page_done(g, ticket, &failed))
        assert_false(failed);
    assert_false(failed);
}

/* Pages of a sequence leave, come back elsewhere, and it goes on. */
static void pages_travel_to_the_host_and_back(void **state)
{
    struct both b;
    struct graph *g;
    uint64_t ticket;
    uint8_t *host;
    size_t bytes;
    int32_t spare;

    (void)state;
    both_open(&b, &shapes[2]);
    g = b.gpu.g;
    assert_false(graph_is_host(g));
    assert_null(graph_page_room(g, 0));
    assert_int_equal(graph_page_tokens(g), 64);
    bytes = graph_page_bytes(g);
    assert_int_equal(bytes, graph_page_bytes_of(b.gpu.m, KRN_F16, 64));
    spare = (int32_t)b.gpu.n_pages - 1;
    host = graph_host_alloc(g, 3 * bytes);
    assert_non_null(host);
    both_add(&b, 0, 0, LONG, GRAPH_NOTHING);
    both_run(&b, 0, VOCAB, 1);
    for (int32_t p = 0; p < 3; p++) {
        assert_int_equal(graph_page_out(g, (unsigned)b.gpu.table[p],
                                        host + (size_t)p * bytes, &ticket),
                         ERR_OK);
        copy_wait(g, ticket);
    }
    /* Another sequence takes the old pages. */
    for (int32_t p = 0; p < 3; p++) {
        b.gpu.table[GRAPHRIG_PAGES + p] = b.gpu.table[p];
        b.gpu.table[p] = spare - p;
    }
    both_add(&b, 1, 0, 130, GRAPH_NOTHING);
    both_run(&b, 0, VOCAB, 1);
    for (int32_t p = 0; p < 3; p++) {
        assert_int_equal(graph_page_in(g, (unsigned)(spare - p),
                                       host + (size_t)p * bytes, &ticket),
                         ERR_OK);
        copy_wait(g, ticket);
    }
    assert_int_equal(
        graph_page_copy(g, (unsigned)(spare - 3), (unsigned)(spare - 1)),
        ERR_OK);
    b.gpu.table[1] = spare - 3;
    both_add(&b, 0, LONG, LONG + 3, GRAPH_LOGITS);
    both_add(&b, 1, 130, 131, GRAPH_LOGITS);
    both_run(&b, 2, VOCAB, bound_of(&shapes[2]));
    graph_host_free(g, host);
    both_close(&b);
}

/* --- failing -------------------------------------------------------------- */

static void a_device_that_failed_is_begun_anew(void **state)
{
    const double bound = bound_of(&shapes[1]);
    struct model_fault why = {""};
    struct graph_step s;
    struct both b;
    float out[VOCAB];
    int32_t zero = 0;
    uint8_t want = GRAPH_LOGITS;

    (void)state;
    if (!gfix_is_fake())
        skip();
    both_open(&b, &shapes[1]);
    both_add(&b, 0, 0, 20, GRAPH_LOGITS);
    both_run(&b, 1, VOCAB, bound);
    s = (struct graph_step){
        .rows = {1, &zero, &zero, GRAPHRIG_SEQS, b.gpu.table, GRAPHRIG_PAGES},
        .ids = &zero,
        .want = &want};
    gfix_fail("launch", 9);
    assert_int_equal(graph_step_run(b.gpu.g, &s, out), ERR_IO);
    assert_int_equal(graph_step_run(b.gpu.g, &s, out), ERR_IO);
    assert_int_equal(graph_revive(b.gpu.g, &why), ERR_OK);
    both_add(&b, 0, 0, 20, GRAPH_LOGITS);
    both_run(&b, 1, VOCAB, bound);
    assert_int_equal(graph_revive(b.cpu.g, &why), ERR_OK);
    both_close(&b);
}

static void memory_that_is_not_there_is_told(void **state)
{
    struct graph_opts go = {.kv_dtype = KRN_F16, .n_pages = 4, .max_rows = 16};
    struct model_fault why = {""};
    struct graphrig_image image;
    struct graph *g = NULL;
    struct krn_ctx *c;
    struct model *m;
    unsigned told = 0;

    (void)state;
    if (!gfix_is_fake())
        skip();
    graphrig_image(&image, &shapes[0]);
    assert_int_equal(model_open_gguf(str_of(image.bytes, image.len), &why, &m),
                     ERR_OK);
    for (unsigned n = 1; n < 6; n++) {
        c = gfix_open();
        gfix_fail("alloc", n);
        if (graph_new(c, m, &go, &why, &g) != ERR_OK) {
            assert_non_null(strstr(why.text, "no memory"));
            assert_null(g);
            told++;
        }
        gfix_fail("alloc", 0);
        graph_free(g);
        g = NULL;
        krn_close(c);
        assert_int_equal(gfix_live(), 0);
    }
    assert_true(told >= 3);
    model_close(m);
    graphrig_image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prompt_says_what_it_says_on_the_cpu),
        cmocka_unit_test(decoding_together_says_the_same),
        cmocka_unit_test(steps_are_recorded_and_repeated),
        cmocka_unit_test(nothing_depends_on_company_when_that_is_asked_for),
        cmocka_unit_test(many_rows_come_out),
        cmocka_unit_test(tokens_are_drawn_on_the_device),
        cmocka_unit_test(pages_travel_to_the_host_and_back),
        cmocka_unit_test(a_device_that_failed_is_begun_anew),
        cmocka_unit_test(memory_that_is_not_there_is_told),
    };

    if (!fakecuda_use())
        return FAKECUDA_SKIP;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
