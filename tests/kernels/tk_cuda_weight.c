/* tk_cuda_weight.c - Weights on a GPU, or on its emulator: that every code is
 * read right, and that random ones are those of the host. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/tolerance.h"
#include "kernels/fakecuda.h"
#include "kernels/krn_priv.h"
#include "kernels/lfix.h"

/* Through products with the rows of the unit matrix: column k of w. */
static void every_code_of_a_byte_is_read_right(void **state)
{
    static const enum krn_dtype types[] = {KRN_Q8_0, KRN_Q4_0, KRN_Q4_K,
                                           KRN_Q5_K, KRN_Q6_K};
    struct krn_ctx *c = lfix_opened(KRN_F16, false);

    (void)state;
    for (size_t i = 0; i < 5; i++) {
        /* 16 rows of 256 random elements have every code many times */
        struct mat w = lfix_mat(c, types[i], RANDOM, 16, 256);
        struct acts x = lfix_acts(c, 256, 256, 256);
        struct outs o = lfix_outs(c, KRN_AS_F32, 256, 16, 16);

        memset(x.host, 0, x.bytes);
        for (size_t k = 0; k < 256; k++)
            gcheck_set(KRN_F16, x.host, k * 256 + k, 1);
        assert_int_equal(krn_put(c, x.dev, x.host, x.bytes), KRN_OK);
        for (size_t at = 0; at < 256; at += 8) {
            struct krn_prod p = {w.dev, NULL, (float *)o.dev + at * 16, 16,
                                 KRN_AS_F32};

            assert_int_equal(
                c->dev->linear(c, (uint16_t *)x.dev + at * 256, 256, 8, 1, &p),
                KRN_OK);
        }
        lfix_outs_get(c, &o, 16);
        for (size_t j = 0; j < 256 * 16; j++) {
            float got = ((float *)o.host)[j];
            float want = (float)w.w[j % 16 * 256 + j / 16];

            if (fabsf(got - want) > 1e-6F * fabsf(want) + 1e-12F)
                fail_msg("%s row %zu k %zu: %g, want %g",
                         krn_dtype_name(types[i]), j % 16, j / 16, (double)got,
                         (double)want);
        }
        lfix_outs_free(c, &o);
        lfix_acts_free(c, &x);
        lfix_mat_free(c, &w);
    }
    krn_close(c);
}

/* Random weights of the device are those of the host. */
static void random_weights_are_those_of_the_host(void **state)
{
    struct krn_opts o = {.device = "ref"};
    struct krn_ctx *ref;

    (void)state;
    assert_int_equal(krn_open(&o, &ref), KRN_OK);
    for (size_t i = 0; i < LFIX_KINDS && lfix_kinds[i].t != KRN_FP8; i++) {
        struct krn_ctx *c = lfix_opened(lfix_kinds[i].act, false);
        size_t n_in = 512, n_out = 20;
        struct krn_weight *a, *b;
        struct mat w = {.t = lfix_kinds[i].t, .n_out = n_out, .n_in = n_in};
        int32_t ids[20];
        float *rows = malloc(n_out * n_in * sizeof(*rows));
        struct acts x = lfix_acts(c, 4, n_in, n_in);
        struct outs out = lfix_outs(c, KRN_AS_F32, 4, n_out, n_out);
        struct krn_prod p;
        struct gcheck_tol tol;
        double *want = malloc(4 * n_out * sizeof(*want));

        assert_non_null(rows);
        assert_non_null(want);
        assert_int_equal(krn_weight_random(c, w.t, n_out, n_in, 77, &a),
                         KRN_OK);
        assert_int_equal(krn_weight_random(ref, w.t, n_out, n_in, 77, &b),
                         KRN_OK);
        for (int r = 0; r < 20; r++)
            ids[r] = r;
        assert_int_equal(krn_embed(ref, rows, b, ids, 20), KRN_OK);
        w.w = malloc(n_out * n_in * sizeof(*w.w));
        assert_non_null(w.w);
        for (size_t k = 0; k < n_out * n_in; k++)
            w.w[k] = (double)rows[k];
        assert_true(fabs(lfix_rms(w.w, n_out * n_in) * sqrt(512) - 1) < 0.1);
        for (size_t k = 0; k < 4 * n_out; k++)
            want[k] = lfix_dot(&w, x.x + k / n_out * n_in, k % n_out, KRN_F32);
        p = (struct krn_prod){a, NULL, out.dev, n_out, KRN_AS_F32};
        assert_int_equal(c->dev->linear(c, x.dev, n_in, 4, 1, &p), KRN_OK);
        lfix_outs_get(c, &out, n_out);
        tol = lfix_tol(KRN_F32, &w, &x);
        tol.atol +=
            1e-3 * lfix_rms(x.x, 4 * n_in); /* scales rounded to halves */
        tol.nmse = TOL_K_NMSE;
        assert_true(
            gcheck_near(krn_dtype_name(w.t),
                        (struct gcheck_out){KRN_F32, out.host, 4, n_out, n_out},
                        want, tol));
        krn_weight_free(c, a);
        krn_weight_free(ref, b);
        free(w.w);
        free(want);
        free(rows);
        lfix_outs_free(c, &out);
        lfix_acts_free(c, &x);
        krn_close(c);
    }
    krn_close(ref);
}

/* A large matrix has a piece of its own, small ones share one. */
static void what_is_freed_is_free_again(void **state)
{
    struct krn_ctx *c = lfix_opened(KRN_BF16, false);
    uint64_t before, now, all;
    struct mat a = lfix_mat(c, KRN_BF16, RANDOM, 5, 64);
    uint8_t *rows = calloc((size_t)80 << 20, 1);
    struct krn_weight *big;
    struct mat b;

    (void)state;
    assert_non_null(rows);
    krn_memory(c, &before, &all);
    assert_int_equal(
        krn_weight_load(c, KRN_BF16, 40 << 10, 1 << 10, rows, &big), KRN_OK);
    free(rows);
    b = lfix_mat(c, KRN_BF16, RANDOM, 8, 64);
    assert_true(krn_weight_bytes(big) == (size_t)80 << 20);
    krn_memory(c, &now, &all);
    assert_true(now <= before - ((uint64_t)80 << 20));
    krn_weight_free(c, big);
    krn_memory(c, &now, &all);
    assert_true(now == before);
    lfix_mat_free(c, &a);
    lfix_mat_free(c, &b);
    krn_close(c);
}

/* Large enough to be packed in shares, by several threads. */
static void a_large_matrix_is_packed_as_a_small_one(void **state)
{
    static const enum krn_dtype types[] = {KRN_Q4_0, KRN_Q6_K, KRN_F32};
    static const enum krn_as as = KRN_AS_ACT;
    struct krn_ctx *c = lfix_opened(KRN_F16, false);

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct mat w = lfix_mat(c, types[i], RANDOM, 9700, 1024);

        lfix_product(c, 1, &w, &as, 1, false, 0);
        lfix_mat_free(c, &w);
    }
    krn_close(c);
}

/* Half a tebibyte. */
static void no_memory_leaves_nothing_behind(void **state)
{
    static const enum krn_dtype types[] = {KRN_F16, KRN_Q8_0};
    struct krn_ctx *c = lfix_opened(KRN_F16, false);
    const uint8_t nothing[1] = {0}; /* is not read */
    uint64_t before, now, all;
    struct krn_weight *w = NULL;
    struct mat a = lfix_mat(c, KRN_Q8_0, RANDOM, 16, 64);
    struct mat b;

    (void)state;
    for (int i = 0; i < 2; i++) {
        krn_memory(c, &before, &all);
        assert_int_equal(
            krn_weight_load(c, types[i], 1 << 26, 1 << 12, nothing, &w),
            KRN_NOMEM);
        assert_null(w);
        krn_memory(c, &now, &all);
        assert_true(before - now <= (uint64_t)128 << 20); /* room to widen */
    }
    b = lfix_mat(c, KRN_F16, RANDOM, 16, 64);
    assert_int_equal(krn_sync(c), KRN_OK);
    lfix_mat_free(c, &a);
    lfix_mat_free(c, &b);
    krn_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_of_a_byte_is_read_right),
        cmocka_unit_test(random_weights_are_those_of_the_host),
        cmocka_unit_test(what_is_freed_is_free_again),
        cmocka_unit_test(a_large_matrix_is_packed_as_a_small_one),
        cmocka_unit_test(no_memory_leaves_nothing_behind),
    };

    if (!fakecuda_use())
        return FAKECUDA_SKIP;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
