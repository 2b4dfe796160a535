/* tk_random.c - Random weights: decided by seed, row and column alone, of the
 * deviation that was promised, whatever the type. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/krn.h"

enum { N_OUT = 40, N_IN = 1024 };

/* All elements of a random matrix, to be freed. */
static float *elements(const char *device, enum krn_dtype t, size_t n_out,
                       uint64_t seed)
{
    const struct krn_opts o = {.device = device, .threads = 1};
    float *y = calloc(n_out * N_IN, sizeof(*y));
    struct krn_weight *w = NULL;
    struct krn_ctx *c = NULL;

    assert_non_null(y);
    assert_int_equal(krn_open(&o, &c), KRN_OK);
    assert_int_equal(krn_weight_random(c, t, n_out, N_IN, seed, &w), KRN_OK);
    for (size_t i = 0; i < n_out; i++) {
        const int32_t id = (int32_t)i;

        assert_int_equal(krn_embed(c, y + i * N_IN, w, &id, 1), KRN_OK);
    }
    krn_weight_free(c, w);
    krn_close(c);
    return y;
}

static void has_the_deviation_that_was_promised(void **state)
{
    (void)state;
    for (int t = 0; t < KRN_DTYPE_COUNT; t++) {
        float *y = elements("ref", (enum krn_dtype)t, N_OUT, 5);
        double sum = 0, squares = 0, want = 1 / sqrt(N_IN);
        const double n = N_OUT * N_IN;

        for (size_t i = 0; i < (size_t)N_OUT * N_IN; i++) {
            sum += y[i];
            squares += (double)y[i] * y[i];
        }
        /* The bytes of the hash are uniform: means of n of them. Q8_0 and
         * Q4_0 have half a quant of mean, as their zero is not the middle. */
        if (fabs(sqrt(squares / n) / want - 1) > 0.03 ||
            fabs(sum / n) > 0.12 * want)
            fail_msg("%s: mean %g, deviation %g of %g",
                     krn_dtype_name((enum krn_dtype)t), sum / n,
                     sqrt(squares / n), want);
        free(y);
    }
}

static void a_row_and_a_seed_decide(void **state)
{
    (void)state;
    for (int t = 0; t < KRN_DTYPE_COUNT; t++) {
        float *a = elements("ref", (enum krn_dtype)t, N_OUT, 5);
        float *b = elements("cpu", (enum krn_dtype)t, N_OUT / 2, 5);
        float *c = elements("ref", (enum krn_dtype)t, N_OUT, 6);
        const size_t half = (size_t)N_OUT / 2 * N_IN * sizeof(*a);

        assert_memory_equal(a, b, half);
        assert_memory_not_equal(a, c, half);
        assert_memory_not_equal(a, a + N_IN, N_IN * sizeof(*a));
        free(a);
        free(b);
        free(c);
    }
}

/* All types are of the same bytes: the order of their elements is the same. */
static void types_have_the_same_numbers(void **state)
{
    static const struct {
        enum krn_dtype t;
        double least; /* correlation with the bytes' low bits */
        unsigned bits;
    } all[] = {{KRN_Q8_0, 0.999, 8}, {KRN_BF16, 0.999, 8}, {KRN_F16, 0.999, 8},
               {KRN_Q4_0, 0.999, 4}, {KRN_Q4_K, 0.999, 4}, {KRN_Q5_K, 0.999, 5},
               {KRN_Q6_K, 0.999, 6}};
    float *f32 = elements("ref", KRN_F32, N_OUT, 9);
    const double step = 1 / sqrt(N_IN) / 73.9;

    (void)state;
    for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
        float *y = elements("ref", all[k].t, N_OUT, 9);
        const unsigned levels = 1U << all[k].bits;
        double xy = 0, xx = 0, yy = 0;

        for (size_t i = 0; i < (size_t)N_OUT * N_IN; i++) {
            const unsigned byte = (unsigned)lrint(f32[i] / step + 127.5);
            const double x = byte % levels - (levels - 1) / 2.0;

            xy += x * y[i];
            xx += x * x;
            yy += (double)y[i] * y[i];
        }
        if (xy / sqrt(xx * yy) < all[k].least * 0.99)
            fail_msg("%s: correlation %g", krn_dtype_name(all[k].t),
                     xy / sqrt(xx * yy));
        free(y);
    }
    free(f32);
}

static void shapes_are_checked(void **state)
{
    const struct krn_opts o = {.device = "ref"};
    struct krn_weight *w = NULL;
    struct krn_ctx *c = NULL;

    (void)state;
    assert_int_equal(krn_open(&o, &c), KRN_OK);
    assert_int_equal(krn_weight_random(c, KRN_Q8_0, 3, 33, 1, &w),
                     KRN_BAD_SHAPE);
    assert_int_equal(krn_weight_random(c, KRN_F32, 0, 32, 1, &w),
                     KRN_BAD_SHAPE);
    assert_int_equal(krn_weight_random(c, KRN_DTYPE_COUNT, 1, 32, 1, &w),
                     KRN_UNSUPPORTED);
    krn_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_the_deviation_that_was_promised),
        cmocka_unit_test(a_row_and_a_seed_decide),
        cmocka_unit_test(types_have_the_same_numbers),
        cmocka_unit_test(shapes_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
