/* tk_cuda_step.c - A step's inputs and its recorded operations: what a step is
 * padded to, that its numbers are at the same addresses whatever they are, that
 * what is repeated computes with the new ones, and what happens when recording
 * fails. The operation of all of them is krn_step_turns(), which reads the
 * positions, and krn_step_take(), which reads the wanted rows. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/a_rows.h"
#include "kernels/cuda/cuda.h"
#include "kernels/fakecuda.h"
#include "kernels/gfix.h"
#include "kernels/krn.h"

enum {
    MOST = 300,     /* rows */
    PAGES = 16,     /* of the pool */
    COLUMNS = 4096, /* of the table */
    PAIRS = 2,      /* that turns makes of a position */
    WIDTH = 5,      /* of what is taken */
};

/* A context with what steps need. */
struct fix {
    struct krn_ctx *c;
    struct krn_kv kv;
    double *freq;          /* device (PAIRS) */
    float *cs, *taken, *x; /* device */
    struct krn_step s;
    struct krn_pass pass;
    int32_t seq[MOST], pos[MOST], ids[MOST];
    unsigned wanted[MOST];
    int32_t *table; /* (MOST, COLUMNS) */
};

static const double freqs[PAIRS] = {1.0, 0.01};

static void *sent(struct krn_ctx *c, const void *host, size_t bytes)
{
    void *p = krn_alloc(c, bytes);

    assert_non_null(p);
    if (host)
        assert_int_equal(krn_put(c, p, host, bytes), KRN_OK);
    return p;
}

static struct fix *fix_open(void)
{
    struct fix *f = calloc(1, sizeof(*f));
    float x[MOST * WIDTH];

    assert_non_null(f);
    f->c = gfix_open();
    f->kv = (struct krn_kv){
        .dtype = KRN_BF16,
        .page_tokens = 64,
        .n_pages = PAGES,
        .n_layer = 1,
        .n_kv_head = 1,
        .d_head = 16,
    };
    f->kv.pages = sent(f->c, NULL, krn_kv_page_bytes(&f->kv) * PAGES);
    f->freq = sent(f->c, freqs, sizeof(freqs));
    f->cs = sent(f->c, NULL, sizeof(float) * MOST * PAIRS * 2);
    f->taken = sent(f->c, NULL, sizeof(x));
    for (int i = 0; i < MOST * WIDTH; i++)
        x[i] = (float)i;
    f->x = sent(f->c, x, sizeof(x));
    f->table = malloc(sizeof(int32_t) * MOST * COLUMNS);
    assert_non_null(f->table);
    for (int i = 0; i < MOST * COLUMNS; i++)
        f->table[i] = i % PAGES;
    return f;
}

static void fix_close(struct fix *f)
{
    krn_free(f->c, f->kv.pages);
    krn_free(f->c, f->freq);
    krn_free(f->c, f->cs);
    krn_free(f->c, f->taken);
    krn_free(f->c, f->x);
    krn_close(f->c);
    free(f->table);
    free(f);
    assert_int_equal(gfix_live(), 0);
}

/* A step of <m> rows, row i the one row of sequence i at position <pos> + i;
 * the last <n_wanted> of them wanted. */
static void rows_set(struct fix *f, unsigned m, unsigned n_wanted, int32_t pos)
{
    for (unsigned i = 0; i < m; i++) {
        f->seq[i] = (int32_t)i;
        f->pos[i] = pos + (int32_t)i;
        f->ids[i] = (int32_t)i + 1;
    }
    for (unsigned i = 0; i < n_wanted; i++)
        f->wanted[i] = m - n_wanted + i;
    f->s = (struct krn_step){
        .kv = &f->kv,
        .rows = {m, f->seq, f->pos, m, f->table, COLUMNS},
        .ids = f->ids,
        .wanted = f->wanted,
        .n_wanted = n_wanted,
        .n_vocab = MOST + 1,
        .kind = f->s.kind,
    };
}

static void begin(struct fix *f)
{
    f->pass = (struct krn_pass){0};
    assert_int_equal(krn_step_begin(f->c, &f->s, &f->pass), KRN_OK);
}

/* Queue the operations, unless they are known. */
static enum krn_status queue(struct fix *f)
{
    enum krn_status st = KRN_OK;

    if (f->pass.again)
        return KRN_OK;
    st = krn_step_turns(f->c, KRN_WANTED, f->cs, f->freq, 2 * PAIRS, 1.0);
    if (st == KRN_OK)
        st = krn_step_take(f->c, f->taken, f->x, WIDTH);
    return st;
}

static void results_are_right(struct fix *f)
{
    float cs[MOST * PAIRS * 2];
    float taken[MOST * WIDTH];
    const size_t n = f->s.n_wanted;

    assert_int_equal(krn_get(f->c, cs, f->cs, n * PAIRS * 2 * sizeof(*cs)),
                     KRN_OK);
    assert_int_equal(krn_get(f->c, taken, f->taken, n * WIDTH * sizeof(*taken)),
                     KRN_OK);
    for (size_t i = 0; i < n; i++) {
        const unsigned row = f->wanted[i];

        for (int j = 0; j < PAIRS; j++) {
            const double at = f->pos[row] * freqs[j];

            assert_true(fabs((double)cs[(i * PAIRS + j) * 2] - cos(at)) < 1e-6);
            assert_true(fabs((double)cs[(i * PAIRS + j) * 2 + 1] - sin(at)) <
                        1e-6);
        }
        for (int j = 0; j < WIDTH; j++)
            assert_true(taken[i * WIDTH + j] == (float)(row * WIDTH + j));
    }
}

/* Do the step that is set, which must be right. Whether it was repeated. */
static bool step(struct fix *f)
{
    begin(f);
    assert_int_equal(queue(f), KRN_OK);
    assert_int_equal(krn_step_end(f->c), KRN_OK);
    results_are_right(f);
    return f->pass.again;
}

/* <m> rows decoded from position <pos> on: whether it was repeated. */
static bool decode(struct fix *f, unsigned m, int32_t pos)
{
    rows_set(f, m, m, pos);
    return step(f);
}

/* --- inputs -------------------------------------------------------------- */

/* Read <n> words at <at> on the device. */
static void words(struct fix *f, CUdeviceptr at, size_t n, int32_t *out)
{
    assert_int_equal(
        krn_get(f->c, out, (const void *)(uintptr_t)at, n * sizeof(*out)),
        KRN_OK);
}

static void decode_steps_are_padded_with_rows_of_nobody(void **state)
{
    struct fix *f = fix_open();
    const struct cuda_inputs *in = &f->c->cuda->in;
    int32_t w[64];

    (void)state;
    rows_set(f, 3, 3, 60);
    begin(f);
    assert_int_equal(f->pass.m, 4);
    assert_int_equal(f->pass.n_wanted, 4);
    assert_int_equal(krn_step_end(f->c), KRN_OK);
    assert_int_equal(in->n_seq, 4);
    assert_int_equal(in->max_pages, 8);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(in->set[i].m, 4);
        words(f, in->set[i].pos, 4, w);
        assert_memory_equal(w, ((int32_t[]){60, 61, 62, -1}), 16);
        words(f, in->set[i].seq, 4, w);
        assert_memory_equal(w, ((int32_t[]){0, 1, 2, 0}), 16);
    }
    words(f, in->ids, 4, w);
    assert_memory_equal(w, ((int32_t[]){1, 2, 3, 0}), 16);
    words(f, in->wanted, 4, w);
    assert_memory_equal(w, ((int32_t[]){0, 1, 2, 0}), 16);
    words(f, in->table, 32, w);
    assert_memory_equal(w, f->table, 32);
    assert_memory_equal(w + 16, f->table + 2 * COLUMNS, 32);
    for (int i = 24; i < 32; i++)
        assert_int_equal(w[i], -1);
    fix_close(f);
}

static void other_steps_are_as_they_come(void **state)
{
    struct fix *f = fix_open();
    const struct cuda_inputs *in = &f->c->cuda->in;
    int32_t w[8];

    (void)state;
    rows_set(f, 7, 2, 100);
    begin(f);
    assert_int_equal(f->pass.m, 7);
    assert_int_equal(f->pass.n_wanted, 2);
    assert_int_equal(queue(f), KRN_OK);
    assert_int_equal(krn_step_end(f->c), KRN_OK);
    results_are_right(f);
    assert_int_equal(in->max_pages, 2);
    words(f, in->set[KRN_ALL].pos, 7, w);
    for (int i = 0; i < 7; i++)
        assert_int_equal(w[i], 100 + i);
    words(f, in->set[KRN_WANTED].pos, 2, w);
    assert_memory_equal(w, ((int32_t[]){105, 106}), 8);
    words(f, in->wanted, 2, w);
    assert_memory_equal(w, ((int32_t[]){5, 6}), 8);
    /* Two rows of one sequence are no decode step, nor is one beyond the
     * buckets, nor one that nothing comes out of. */
    rows_set(f, 3, 3, 5);
    f->seq[2] = 1;
    assert_false(step(f) || step(f) || step(f));
    assert_int_equal(f->pass.m, 3);
    assert_false(decode(f, 257, 0) || decode(f, 257, 0) || decode(f, 257, 0));
    assert_int_equal(f->pass.m, 257);
    rows_set(f, 3, 0, 5);
    assert_false(step(f) || step(f) || step(f));
    fix_close(f);
}

static void rooms_for_rows_are_whole_buckets(void **state)
{
    static const unsigned want[][2] = {{1, 1},     {3, 4},     {9, 16},
                                       {17, 24},   {33, 48},   {65, 96},
                                       {129, 192}, {193, 256}, {300, 300}};
    struct krn_ctx *c = gfix_open();

    (void)state;
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
        assert_int_equal(krn_step_rows(c, want[i][0]), want[i][1]);
    krn_close(c);
}

/* --- recording ----------------------------------------------------------- */

static void the_third_step_of_a_shape_repeats_the_second(void **state)
{
    struct fix *f = fix_open();

    (void)state;
    assert_false(decode(f, 3, 10));
    assert_false(decode(f, 4, 20));
    for (int i = 0; i < 20; i++)
        assert_true(decode(f, 3 + (unsigned)i % 2, 30 + 7 * i));
    /* Another bucket, another kind, another size of the table: each its own. */
    assert_false(decode(f, 5, 1) || decode(f, 6, 1));
    f->s.kind = 1;
    assert_false(decode(f, 3, 1) || decode(f, 4, 1));
    f->s.kind = 0;
    assert_false(decode(f, 3, 64 * 8) || decode(f, 4, 64 * 9));
    assert_true(decode(f, 3, 64 * 15) && decode(f, 4, 1) && decode(f, 7, 3));
    f->s.kind = 1;
    assert_true(decode(f, 4, 300));
    fix_close(f);
}

static void steps_in_between_do_not_disturb_what_is_recorded(void **state)
{
    struct fix *f = fix_open();

    (void)state;
    assert_false(decode(f, 3, 10) || decode(f, 3, 11));
    for (int i = 0; i < 10; i++) {
        rows_set(f, 40, 3, 200 + i);
        assert_false(step(f));
        assert_true(decode(f, 4, 12 + i));
        assert_true(decode(f, 3, 13 + i));
    }
    fix_close(f);
}

static void steps_that_wait_in_line_have_inputs_of_their_own(void **state)
{
    enum { STEPS = 12, ROWS = 4 };
    struct fix *f = fix_open();
    float cs[STEPS][PAIRS * 2];

    (void)state;
    for (int i = 0; i < STEPS; i++) {
        rows_set(f, ROWS, 1, 100 * i);
        begin(f);
        assert_int_equal(krn_step_turns(f->c, KRN_WANTED,
                                        f->cs + (size_t)i * PAIRS * 2, f->freq,
                                        2 * PAIRS, 1.0),
                         KRN_OK);
        assert_int_equal(krn_step_end(f->c), KRN_OK);
    }
    assert_int_equal(krn_get(f->c, cs, f->cs, sizeof(cs)), KRN_OK);
    for (int i = 0; i < STEPS; i++) {
        const double at = (100 * i + ROWS - 1) * freqs[1];

        assert_true(fabs((double)cs[i][2] - cos(at)) < 1e-6);
    }
    fix_close(f);
}

/* The argument of each launch, as a spy in the driver's place sees it. */
struct seen {
    CUresult (*launch)(const CUlaunchConfig *config, CUfunction f,
                       void **params, void **extra);
    unsigned n;
    unsigned size[2][2][5]; /* of grid, block and shared memory */
    struct a_turns turns[2];
    struct a_take take[2];
    unsigned round;
};

static struct seen seen;

static CUresult launch_seen(const CUlaunchConfig *config, CUfunction f,
                            void **params, void **extra)
{
    assert_true(seen.n < 2);
    memcpy(seen.size[seen.round][seen.n],
           ((unsigned[]){config->gridDimX, config->gridDimY, config->gridDimZ,
                         config->blockDimX, config->sharedMemBytes}),
           sizeof(seen.size[0][0]));
    if (seen.n == 0)
        memcpy(&seen.turns[seen.round], params[0], sizeof(seen.turns[0]));
    else
        memcpy(&seen.take[seen.round], params[0], sizeof(seen.take[0]));
    seen.n++;
    return seen.launch(config, f, params, extra);
}

static void two_batches_of_a_bucket_have_the_same_arguments(void **state)
{
    struct fix *f = fix_open();
    struct drv *v = f->c->cuda->drv;

    (void)state;
    memset(&seen, 0, sizeof(seen));
    seen.launch = v->launch;
    v->launch = launch_seen;
    assert_false(decode(f, 9, 3));
    assert_int_equal(seen.n, 2);
    seen.n = 0;
    seen.round = 1;
    assert_false(decode(f, 16, 400));
    assert_int_equal(seen.n, 2);
    assert_memory_equal(seen.size[0], seen.size[1], sizeof(seen.size[0]));
    assert_memory_equal(&seen.turns[0], &seen.turns[1], sizeof(seen.turns[0]));
    assert_memory_equal(&seen.take[0], &seen.take[1], sizeof(seen.take[0]));
    v->launch = seen.launch;
    fix_close(f);
}

static void inputs_that_grow_are_recorded_anew(void **state)
{
    struct fix *f = fix_open();

    (void)state;
    assert_false(decode(f, 3, 10) || decode(f, 3, 20));
    assert_true(decode(f, 3, 30));
    assert_false(decode(f, 200, 64 * 2000)); /* a table of two megabytes */
    assert_false(decode(f, 3, 10));
    assert_false(decode(f, 3, 20));
    assert_true(decode(f, 3, 30));
    assert_false(decode(f, 200, 64 * 2001));
    assert_true(decode(f, 200, 64 * 2002));
    assert_true(decode(f, 3, 31));
    fix_close(f);
}

static void freeing_memory_drops_what_is_recorded(void **state)
{
    struct fix *f = fix_open();
    void *p = krn_alloc(f->c, 100);

    (void)state;
    assert_false(decode(f, 3, 10) || decode(f, 3, 20));
    assert_true(decode(f, 3, 30));
    krn_free(f->c, p);
    assert_false(decode(f, 3, 10) || decode(f, 3, 20));
    assert_true(decode(f, 3, 30));
    /* Meanwhile, too: then the step must be begun again. */
    p = krn_alloc(f->c, 100);
    begin(f);
    assert_true(f->pass.again);
    krn_free(f->c, p);
    assert_int_equal(krn_step_end(f->c), KRN_UNSUPPORTED);
    assert_false(step(f) || step(f));
    assert_true(step(f));
    fix_close(f);
}

static void old_recordings_make_room_for_new_ones(void **state)
{
    struct fix *f = fix_open();
    unsigned live;

    (void)state;
    for (unsigned kind = 0; kind < 64; kind++) {
        f->s.kind = kind;
        assert_false(decode(f, 2, 10) || decode(f, 2, 20));
    }
    live = gfix_live();
    f->s.kind = 0;
    assert_true(decode(f, 2, 30)); /* 1 is the oldest then */
    for (unsigned kind = 100; kind < 140; kind++) {
        f->s.kind = kind;
        assert_false(decode(f, 2, 10) || decode(f, 2, 20));
    }
    assert_int_equal(gfix_live(), live);
    f->s.kind = 0;
    assert_true(decode(f, 2, 31));
    f->s.kind = 63;
    assert_true(decode(f, 2, 32));
    f->s.kind = 1;
    assert_false(decode(f, 2, 33));
    fix_close(f);
}

/* --- failing ------------------------------------------------------------- */

/* That a step of a shape seen before fails, runs when it is begun again, and
 * that nothing is recorded any more. */
static void recording_ends(struct fix *f, const char *word)
{
    rows_set(f, 3, 3, 50);
    begin(f);
    assert_false(f->pass.again);
    assert_int_equal(queue(f), KRN_OK);
    assert_int_equal(krn_step_end(f->c), KRN_UNSUPPORTED);
    assert_false(step(f));
    for (int i = 0; i < 3; i++)
        assert_false(decode(f, 4, 60 + i));
    assert_non_null(strstr(krn_trouble(f->c), word));
}

static void a_capture_that_fails_falls_back_to_plain_launches(void **state)
{
    static const char *const whats[][2] = {{"capture", "capturing"},
                                           {"graph", "graph"}};

    (void)state;
    if (!gfix_is_fake())
        skip();
    for (int i = 0; i < 2; i++) {
        struct fix *f = fix_open();

        assert_false(decode(f, 9, 1) || decode(f, 9, 2));
        assert_true(decode(f, 9, 3));
        assert_false(decode(f, 4, 10));
        gfix_fail(whats[i][0], 1);
        recording_ends(f, whats[i][1]);
        assert_false(decode(f, 9, 3)); /* nor is what was */
        fix_close(f);
    }
}

/* A driver that cannot begin a capture, and one that takes no launch in it. */
static CUresult no_begin(CUstream s, CUstreamCaptureMode mode)
{
    (void)s;
    (void)mode;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

static CUresult no_launch(const CUlaunchConfig *config, CUfunction f,
                          void **params, void **extra)
{
    (void)config;
    (void)f;
    (void)params;
    (void)extra;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

static void a_capture_that_does_not_begin_costs_nothing(void **state)
{
    struct fix *f = fix_open();

    (void)state;
    f->c->cuda->drv->capture_begin = no_begin;
    for (int i = 0; i < 4; i++)
        assert_false(decode(f, 4, 10 + i));
    assert_non_null(strstr(krn_trouble(f->c), "capturing"));
    fix_close(f);
}

static void an_operation_that_cannot_be_captured_ends_recording(void **state)
{
    struct fix *f = fix_open();
    struct drv *v = f->c->cuda->drv;
    CUresult (*launch)(const CUlaunchConfig *, CUfunction, void **, void **) =
        v->launch;

    (void)state;
    assert_false(decode(f, 4, 10));
    begin(f);
    v->launch = no_launch;
    assert_int_equal(queue(f), KRN_UNSUPPORTED);
    v->launch = launch;
    assert_int_equal(krn_step_end(f->c), KRN_OK);
    for (int i = 0; i < 4; i++)
        assert_false(decode(f, 4, 10 + i));
    assert_non_null(strstr(krn_trouble(f->c), "launching"));
    fix_close(f);
}

static void an_operation_that_fails_leaves_nothing_behind(void **state)
{
    struct fix *f = fix_open();

    (void)state;
    for (int i = 0; i < 3; i++) { /* plain, captured, captured */
        rows_set(f, 4, 4, 10);
        begin(f);
        assert_false(f->pass.again);
        assert_int_equal(queue(f), KRN_OK);
        assert_int_equal(
            krn_step_norm(f->c, f->x, 1, true, f->x, 1, f->x, 1, 0, 1e-5F),
            KRN_BAD_SHAPE);
        assert_int_equal(krn_step_end(f->c), KRN_OK);
    }
    assert_false(decode(f, 4, 10));
    assert_true(decode(f, 4, 12));
    assert_string_equal(krn_trouble(f->c), "");
    fix_close(f);
}

static void recording_goes_on_after_a_reset(void **state)
{
    struct fix *f = fix_open();
    struct krn_ctx *c = f->c;

    (void)state;
    if (!gfix_is_fake())
        skip();
    assert_false(decode(f, 4, 10) || decode(f, 4, 11));
    rows_set(f, 4, 4, 12);
    begin(f);
    assert_true(f->pass.again);
    gfix_fail("launch", 1);
    if (krn_step_end(c) == KRN_OK)
        assert_int_equal(krn_sync(c), KRN_DEVICE);
    assert_int_equal(krn_step_begin(c, &f->s, &f->pass), KRN_DEVICE);
    krn_free(c, f->kv.pages);
    krn_free(c, f->freq);
    krn_free(c, f->cs);
    krn_free(c, f->taken);
    krn_free(c, f->x);
    assert_int_equal(krn_reset(c), KRN_OK);
    krn_close(c);
    free(f->table);
    free(f);
    assert_int_equal(gfix_live(), 0);
    f = fix_open();
    assert_false(decode(f, 4, 10) || decode(f, 4, 11));
    assert_true(decode(f, 4, 12));
    fix_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_steps_are_padded_with_rows_of_nobody),
        cmocka_unit_test(other_steps_are_as_they_come),
        cmocka_unit_test(rooms_for_rows_are_whole_buckets),
        cmocka_unit_test(the_third_step_of_a_shape_repeats_the_second),
        cmocka_unit_test(steps_in_between_do_not_disturb_what_is_recorded),
        cmocka_unit_test(steps_that_wait_in_line_have_inputs_of_their_own),
        cmocka_unit_test(two_batches_of_a_bucket_have_the_same_arguments),
        cmocka_unit_test(inputs_that_grow_are_recorded_anew),
        cmocka_unit_test(freeing_memory_drops_what_is_recorded),
        cmocka_unit_test(old_recordings_make_room_for_new_ones),
        cmocka_unit_test(a_capture_that_fails_falls_back_to_plain_launches),
        cmocka_unit_test(a_capture_that_does_not_begin_costs_nothing),
        cmocka_unit_test(an_operation_that_cannot_be_captured_ends_recording),
        cmocka_unit_test(an_operation_that_fails_leaves_nothing_behind),
        cmocka_unit_test(recording_goes_on_after_a_reset),
    };

    if (!fakecuda_use())
        return FAKECUDA_SKIP;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
