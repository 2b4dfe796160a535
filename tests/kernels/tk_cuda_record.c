/* tk_cuda_record.c - Recorded steps of a GPU: that a step's numbers are at the
 * same addresses whatever they are, that what is repeated computes with the new
 * ones, and what happens when recording fails. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/a_rows.h"
#include "kernels/cuda/cuda.h"
#include "kernels/dfix.h"
#include "kernels/fakecuda.h"
#include "kernels/gfix.h"

/* --- recording ----------------------------------------------------------- */

static void the_third_step_of_a_shape_repeats_the_second(void **state)
{
    struct dfix *f = dfix_open();

    (void)state;
    assert_false(dfix_decode(f, 3, 10));
    assert_false(dfix_decode(f, 4, 20));
    for (int i = 0; i < 20; i++)
        assert_true(dfix_decode(f, 3 + (unsigned)i % 2, 30 + 7 * i));
    /* Another bucket, another kind, another size of the table: each its own. */
    assert_false(dfix_decode(f, 5, 1) || dfix_decode(f, 6, 1));
    f->s.kind = 1;
    assert_false(dfix_decode(f, 3, 1) || dfix_decode(f, 4, 1));
    f->s.kind = 0;
    assert_false(dfix_decode(f, 3, 64 * 8) || dfix_decode(f, 4, 64 * 9));
    assert_true(dfix_decode(f, 3, 64 * 15) && dfix_decode(f, 4, 1) &&
                dfix_decode(f, 7, 3));
    f->s.kind = 1;
    assert_true(dfix_decode(f, 4, 300));
    dfix_close(f);
}

static void steps_in_between_do_not_disturb_what_is_recorded(void **state)
{
    struct dfix *f = dfix_open();

    (void)state;
    assert_false(dfix_decode(f, 3, 10) || dfix_decode(f, 3, 11));
    for (int i = 0; i < 10; i++) {
        dfix_rows(f, 40, 3, 200 + i);
        assert_false(dfix_step(f));
        assert_true(dfix_decode(f, 4, 12 + i));
        assert_true(dfix_decode(f, 3, 13 + i));
    }
    dfix_close(f);
}

static void steps_that_wait_in_line_have_inputs_of_their_own(void **state)
{
    enum { STEPS = 12, ROWS = 4 };
    struct dfix *f = dfix_open();
    float cs[STEPS][DFIX_PAIRS * 2];

    (void)state;
    for (int i = 0; i < STEPS; i++) {
        dfix_rows(f, ROWS, 1, 100 * i);
        dfix_begin(f);
        assert_int_equal(krn_step_turns(f->c, KRN_WANTED,
                                        f->cs + (size_t)i * DFIX_PAIRS * 2,
                                        f->freq, 2 * DFIX_PAIRS, 1.0),
                         KRN_OK);
        assert_int_equal(krn_step_end(f->c), KRN_OK);
    }
    assert_int_equal(krn_get(f->c, cs, f->cs, sizeof(cs)), KRN_OK);
    for (int i = 0; i < STEPS; i++) {
        const double at = (100 * i + ROWS - 1) * dfix_freq[1];

        assert_true(fabs((double)cs[i][2] - cos(at)) < 1e-6);
    }
    dfix_close(f);
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
    unsigned attributes; /* of all launches together */
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
    seen.attributes += config->numAttrs;
    seen.n++;
    return seen.launch(config, f, params, extra);
}

static void two_batches_of_a_bucket_have_the_same_arguments(void **state)
{
    struct dfix *f = dfix_open();
    struct drv *v = f->c->cuda->drv;

    (void)state;
    memset(&seen, 0, sizeof(seen));
    seen.launch = v->launch;
    v->launch = launch_seen;
    assert_false(dfix_decode(f, 9, 3));
    assert_int_equal(seen.n, 2);
    seen.n = 0;
    seen.round = 1;
    assert_false(dfix_decode(f, 16, 400));
    assert_int_equal(seen.n, 2);
    assert_memory_equal(seen.size[0], seen.size[1], sizeof(seen.size[0]));
    assert_memory_equal(&seen.turns[0], &seen.turns[1], sizeof(seen.turns[0]));
    assert_memory_equal(&seen.take[0], &seen.take[1], sizeof(seen.take[0]));
    v->launch = seen.launch;
    dfix_close(f);
}

/* How many attributes the launches of a step have, while the variable <name> is
 * 0; whether its third step of a shape is repeated goes to *again. */
static unsigned attributes_with(const char *name, bool *again)
{
    struct dfix *f;

    assert_int_equal(setenv(name, "0", 1), 0);
    f = dfix_open();
    assert_int_equal(unsetenv(name), 0);
    memset(&seen, 0, sizeof(seen));
    seen.launch = f->c->cuda->drv->launch;
    f->c->cuda->drv->launch = launch_seen;
    assert_false(dfix_decode(f, 2, 1));
    f->c->cuda->drv->launch = seen.launch;
    assert_false(dfix_decode(f, 2, 2));
    *again = dfix_decode(f, 2, 3);
    dfix_close(f);
    return seen.attributes;
}

static void the_environment_turns_recording_and_early_begins_off(void **state)
{
    const unsigned early = gfix_is_fake() ? 2 : 0;
    bool again = true;

    (void)state;
    assert_true(attributes_with("TOLLGATE_CUDA_RECORD", &again) >= early);
    assert_false(again);
    assert_int_equal(attributes_with("TOLLGATE_CUDA_PDL", &again), 0);
    assert_true(again);
}

static void inputs_that_grow_are_recorded_anew(void **state)
{
    struct dfix *f = dfix_open();

    (void)state;
    assert_false(dfix_decode(f, 3, 10) || dfix_decode(f, 3, 20));
    assert_true(dfix_decode(f, 3, 30));
    assert_false(dfix_decode(f, 200, 64 * 2000)); /* a table of two megabytes */
    assert_false(dfix_decode(f, 3, 10));
    assert_false(dfix_decode(f, 3, 20));
    assert_true(dfix_decode(f, 3, 30));
    assert_false(dfix_decode(f, 200, 64 * 2001));
    assert_true(dfix_decode(f, 200, 64 * 2002));
    assert_true(dfix_decode(f, 3, 31));
    dfix_close(f);
}

static void freeing_memory_drops_what_is_recorded(void **state)
{
    struct dfix *f = dfix_open();
    void *p = krn_alloc(f->c, 100);

    (void)state;
    assert_false(dfix_decode(f, 3, 10) || dfix_decode(f, 3, 20));
    assert_true(dfix_decode(f, 3, 30));
    krn_free(f->c, p);
    assert_false(dfix_decode(f, 3, 10) || dfix_decode(f, 3, 20));
    assert_true(dfix_decode(f, 3, 30));
    /* Meanwhile, too: then the step must be begun again. */
    p = krn_alloc(f->c, 100);
    dfix_begin(f);
    assert_true(f->pass.again);
    krn_free(f->c, p);
    assert_int_equal(krn_step_end(f->c), KRN_UNSUPPORTED);
    assert_false(dfix_step(f) || dfix_step(f));
    assert_true(dfix_step(f));
    dfix_close(f);
}

static void old_recordings_make_room_for_new_ones(void **state)
{
    struct dfix *f = dfix_open();
    unsigned live;

    (void)state;
    for (unsigned kind = 0; kind < 64; kind++) {
        f->s.kind = kind;
        assert_false(dfix_decode(f, 2, 10) || dfix_decode(f, 2, 20));
    }
    live = gfix_live();
    f->s.kind = 0;
    assert_true(dfix_decode(f, 2, 30)); /* 1 is the oldest then */
    for (unsigned kind = 100; kind < 140; kind++) {
        f->s.kind = kind;
        assert_false(dfix_decode(f, 2, 10) || dfix_decode(f, 2, 20));
    }
    assert_int_equal(gfix_live(), live);
    f->s.kind = 0;
    assert_true(dfix_decode(f, 2, 31));
    f->s.kind = 63;
    assert_true(dfix_decode(f, 2, 32));
    f->s.kind = 1;
    assert_false(dfix_decode(f, 2, 33));
    dfix_close(f);
}

/* --- failing ------------------------------------------------------------- */

/* That a step of a shape seen before fails, runs when it is begun again, and
 * that nothing is recorded any more. */
static void recording_ends(struct dfix *f, const char *word)
{
    dfix_rows(f, 3, 3, 50);
    dfix_begin(f);
    assert_false(f->pass.again);
    assert_int_equal(dfix_queue(f), KRN_OK);
    assert_int_equal(krn_step_end(f->c), KRN_UNSUPPORTED);
    assert_false(dfix_step(f));
    for (int i = 0; i < 3; i++)
        assert_false(dfix_decode(f, 4, 60 + i));
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
        struct dfix *f = dfix_open();

        assert_false(dfix_decode(f, 9, 1) || dfix_decode(f, 9, 2));
        assert_true(dfix_decode(f, 9, 3));
        assert_false(dfix_decode(f, 4, 10));
        gfix_fail(whats[i][0], 1);
        recording_ends(f, whats[i][1]);
        assert_false(dfix_decode(f, 9, 3)); /* nor is what was */
        dfix_close(f);
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
    struct dfix *f = dfix_open();

    (void)state;
    f->c->cuda->drv->capture_begin = no_begin;
    for (int i = 0; i < 4; i++)
        assert_false(dfix_decode(f, 4, 10 + i));
    assert_non_null(strstr(krn_trouble(f->c), "capturing"));
    dfix_close(f);
}

static void an_operation_that_cannot_be_captured_ends_recording(void **state)
{
    struct dfix *f = dfix_open();
    struct drv *v = f->c->cuda->drv;
    CUresult (*launch)(const CUlaunchConfig *, CUfunction, void **, void **) =
        v->launch;

    (void)state;
    assert_false(dfix_decode(f, 4, 10));
    dfix_begin(f);
    v->launch = no_launch;
    assert_int_equal(dfix_queue(f), KRN_UNSUPPORTED);
    v->launch = launch;
    assert_int_equal(krn_step_end(f->c), KRN_OK);
    for (int i = 0; i < 4; i++)
        assert_false(dfix_decode(f, 4, 10 + i));
    assert_non_null(strstr(krn_trouble(f->c), "launching"));
    dfix_close(f);
}

static void an_operation_that_fails_leaves_nothing_behind(void **state)
{
    struct dfix *f = dfix_open();

    (void)state;
    for (int i = 0; i < 3; i++) { /* plain, captured, captured */
        dfix_rows(f, 4, 4, 10);
        dfix_begin(f);
        assert_false(f->pass.again);
        assert_int_equal(dfix_queue(f), KRN_OK);
        assert_int_equal(
            krn_step_norm(f->c, f->x, 1, true, f->x, 1, f->x, 1, 0, 1e-5F),
            KRN_BAD_SHAPE);
        assert_int_equal(krn_step_end(f->c), KRN_OK);
    }
    assert_false(dfix_decode(f, 4, 10));
    assert_true(dfix_decode(f, 4, 12));
    assert_string_equal(krn_trouble(f->c), "");
    dfix_close(f);
}

static void recording_goes_on_after_a_reset(void **state)
{
    struct dfix *f = dfix_open();
    struct krn_ctx *c = f->c;

    (void)state;
    if (!gfix_is_fake())
        skip();
    assert_false(dfix_decode(f, 4, 10) || dfix_decode(f, 4, 11));
    dfix_rows(f, 4, 4, 12);
    dfix_begin(f);
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
    f = dfix_open();
    assert_false(dfix_decode(f, 4, 10) || dfix_decode(f, 4, 11));
    assert_true(dfix_decode(f, 4, 12));
    dfix_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_third_step_of_a_shape_repeats_the_second),
        cmocka_unit_test(steps_in_between_do_not_disturb_what_is_recorded),
        cmocka_unit_test(steps_that_wait_in_line_have_inputs_of_their_own),
        cmocka_unit_test(two_batches_of_a_bucket_have_the_same_arguments),
        cmocka_unit_test(the_environment_turns_recording_and_early_begins_off),
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
