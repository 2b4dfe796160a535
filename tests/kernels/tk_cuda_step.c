/* tk_cuda_step.c - A step's inputs on a GPU: what a step is padded to and what
 * of it lies on the device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/cuda/cuda.h"
#include "kernels/dfix.h"
#include "kernels/fakecuda.h"
#include "kernels/gfix.h"

/* Read <n> words at <at> on the device. */
static void words(struct dfix *f, CUdeviceptr at, size_t n, int32_t *out)
{
    assert_int_equal(
        krn_get(f->c, out, (const void *)(uintptr_t)at, n * sizeof(*out)),
        KRN_OK);
}

static void decode_steps_are_padded_with_rows_of_nobody(void **state)
{
    struct dfix *f = dfix_open();
    const struct cuda_inputs *in = &f->c->cuda->in;
    int32_t w[64];

    (void)state;
    dfix_rows(f, 3, 3, 60);
    dfix_begin(f);
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
    assert_memory_equal(w + 16, f->table + 2 * DFIX_COLUMNS, 32);
    for (int i = 24; i < 32; i++)
        assert_int_equal(w[i], -1);
    dfix_close(f);
}

static void other_steps_are_as_they_come(void **state)
{
    struct dfix *f = dfix_open();
    const struct cuda_inputs *in = &f->c->cuda->in;
    int32_t w[8];

    (void)state;
    dfix_rows(f, 7, 2, 100);
    dfix_begin(f);
    assert_int_equal(f->pass.m, 7);
    assert_int_equal(f->pass.n_wanted, 2);
    assert_int_equal(dfix_queue(f), KRN_OK);
    assert_int_equal(krn_step_end(f->c), KRN_OK);
    dfix_right(f);
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
    dfix_rows(f, 3, 3, 5);
    f->seq[2] = 1;
    assert_false(dfix_step(f) || dfix_step(f) || dfix_step(f));
    assert_int_equal(f->pass.m, 3);
    assert_false(dfix_decode(f, 257, 0) || dfix_decode(f, 257, 0) ||
                 dfix_decode(f, 257, 0));
    assert_int_equal(f->pass.m, 257);
    dfix_rows(f, 3, 0, 5);
    assert_false(dfix_step(f) || dfix_step(f) || dfix_step(f));
    dfix_close(f);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decode_steps_are_padded_with_rows_of_nobody),
        cmocka_unit_test(other_steps_are_as_they_come),
        cmocka_unit_test(rooms_for_rows_are_whole_buckets),
    };

    if (!fakecuda_use())
        return FAKECUDA_SKIP;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
