/* tk_ref.c - The scalar backend against sums in double precision: what the
 * others are compared with must itself be right. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/half.h"
#include "kernels/kfix.h"
#include "kernels/krn.h"

static struct krn_ctx *open_ref(unsigned threads)
{
    struct krn_opts o = {.device = "ref", .threads = threads};
    struct krn_ctx *c = NULL;

    assert_int_equal(krn_open(&o, &c), KRN_OK);
    return c;
}

/* How far y may be from the exact sum: the rounding of each product and sum,
 * and for integers half a step of each block of x. */
static double bound(enum krn_dtype t, const float *x, const double *w, size_t n)
{
    double sum = 0;
    double steps = 0;

    for (size_t i = 0; i < n; i++)
        sum += fabs(x[i] * w[i]);
    for (size_t b = 0; b < n && krn_dtype_block(t) != 1; b += 32) {
        double amax = 0;

        for (size_t i = b; i < b + 32; i++)
            amax = fmax(amax, fabs(x[i]));
        for (size_t i = b; i < b + 32; i++)
            steps += fabs(w[i]) * amax / 127 * 0.50001;
    }
    return steps + sum * 1e-5 + 1e-30;
}

static void linear_check(enum krn_dtype t, size_t n_out, size_t n_in)
{
    enum { M = 3, PAD = 5 };
    uint64_t seed = 7 + n_in + t;
    struct krn_ctx *c = open_ref(1);
    void *rows = kfix_rows(t, n_out, n_in, &seed);
    float *x = kfix_x(M, n_in, n_in + PAD, &seed);
    float *y = calloc(M * n_out, sizeof(*y));
    double *w = calloc(n_in, sizeof(*w));
    float *bias = kfix_x(1, n_out, n_out, &seed);
    struct krn_weight *kw = NULL;
    struct krn_out o = {.bias = bias, .y = y, .ldy = n_out};

    assert_int_equal(krn_weight_load(c, t, n_out, n_in, rows, &kw), KRN_OK);
    o.w = kw;
    assert_int_equal(krn_linear(c, x, n_in + PAD, M, 1, &o), KRN_OK);
    for (size_t n = 0; n < n_out; n++) {
        kfix_widen(t, (uint8_t *)rows + n * kfix_row_bytes(t, n_in), n_in, w);
        for (size_t m = 0; m < M; m++) {
            const float *xm = x + m * (n_in + PAD);
            double want = bias[n];

            for (size_t i = 0; i < n_in; i++)
                want += xm[i] * w[i];
            assert_true(fabs(y[m * n_out + n] - want) <=
                        bound(t, xm, w, n_in) + fabs(bias[n]) * 1e-6);
        }
    }
    krn_weight_free(c, kw);
    krn_close(c);
    free(rows);
    free(x);
    free(y);
    free(w);
    free(bias);
}

static void sums_are_those_of_double_precision(void **state)
{
    static const size_t floats[] = {1, 17, 255, 257, 600};

    (void)state;
    for (int t = 0; t < KRN_DTYPE_COUNT; t++) {
        size_t block = krn_dtype_block((enum krn_dtype)t);

        for (size_t i = 0; block == 1 && i < 5; i++)
            linear_check((enum krn_dtype)t, 5, floats[i]);
        for (size_t k = 1; block > 1 && k <= 9; k += 4)
            linear_check((enum krn_dtype)t, 21, k * block);
    }
}

static void rows_come_back_as_the_format_says(void **state)
{
    enum { N_OUT = 6, N_IN = 512 };
    static const int32_t ids[] = {5, 0, 5, 3};
    uint64_t seed = 99;
    struct krn_ctx *c = open_ref(1);
    float y[4 * N_IN];
    double w[N_IN];

    (void)state;
    for (int t = 0; t < KRN_DTYPE_COUNT; t++) {
        enum krn_dtype d = (enum krn_dtype)t;
        uint8_t *rows = kfix_rows(d, N_OUT, N_IN, &seed);
        struct krn_weight *kw = NULL;

        assert_int_equal(krn_weight_load(c, d, N_OUT, N_IN, rows, &kw), KRN_OK);
        assert_int_equal(krn_embed(c, y, kw, ids, 4), KRN_OK);
        for (size_t r = 0; r < 4; r++) {
            kfix_widen(d, rows + (size_t)ids[r] * kfix_row_bytes(d, N_IN), N_IN,
                       w);
            for (size_t i = 0; i < N_IN; i++)
                assert_true(y[r * N_IN + i] == (float)w[i]);
        }
        krn_weight_free(c, kw);
        free(rows);
    }
    krn_close(c);
}

static void bad_shapes_are_refused(void **state)
{
    static const int32_t low[] = {-1};
    static const int32_t high[] = {4};
    struct krn_opts cuda = {.device = "cuda"};
    struct krn_opts isa = {.device = "ref", .isa = "avx2"};
    struct krn_ctx *c = NULL;
    struct krn_weight *w = NULL;
    struct krn_weight *v = NULL;
    float rows[4 * 33] = {0};
    float y[64];

    (void)state;
    assert_int_equal(krn_open(&cuda, &c), KRN_UNSUPPORTED);
    assert_int_equal(krn_open(&isa, &c), KRN_UNSUPPORTED);
    assert_null(c);
    c = open_ref(1);
    assert_int_equal(krn_weight_load(c, KRN_Q8_0, 4, 33, rows, &w),
                     KRN_BAD_SHAPE);
    assert_int_equal(krn_weight_load(c, KRN_F32, 0, 32, rows, &w),
                     KRN_BAD_SHAPE);
    assert_int_equal(krn_weight_load(c, KRN_F32, 4, 0, rows, &w),
                     KRN_BAD_SHAPE);
    assert_int_equal(krn_weight_load(c, KRN_DTYPE_COUNT, 4, 32, rows, &w),
                     KRN_UNSUPPORTED);
    assert_null(w);
    assert_int_equal(krn_weight_load(c, KRN_F32, 4, 33, rows, &w), KRN_OK);
    assert_int_equal(krn_weight_load(c, KRN_F32, 4, 32, rows, &v), KRN_OK);
    struct krn_out o[] = {{.w = w, .y = y, .ldy = 4},
                          {.w = v, .y = y, .ldy = 4}};
    assert_int_equal(krn_linear(c, rows, 33, 1, 2, o), KRN_BAD_SHAPE);
    assert_int_equal(krn_linear(c, rows, 32, 1, 1, o), KRN_BAD_SHAPE);
    o[0].ldy = 3;
    assert_int_equal(krn_linear(c, rows, 33, 1, 1, o), KRN_BAD_SHAPE);
    assert_int_equal(krn_linear(c, rows, 33, 0, 0, o), KRN_OK);
    assert_int_equal(krn_embed(c, y, w, low, 1), KRN_BAD_SHAPE);
    assert_int_equal(krn_embed(c, y, w, high, 1), KRN_BAD_SHAPE);
    krn_weight_free(c, w);
    krn_weight_free(c, v);
    krn_close(c);
}

/* Halves by definition: the nearest of the two neighbours, the even one when
 * both are as near. */
static void halves_round_to_nearest_even(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 0x7c00; h++) {
        float low = f32_of_half((uint16_t)h);
        float next = h == 0x7bff ? 65536.0F : f32_of_half((uint16_t)(h + 1));
        float mid = low + (next - low) / 2;
        double exact = (h >> 10) != 0
                           ? ldexp(1024 + h % 1024, (int)(h >> 10) - 25)
                           : ldexp(h, -24);

        assert_true((double)low == exact);
        assert_int_equal(half_of_f32(low), h);
        assert_int_equal(half_of_f32(-low), h | 0x8000);
        assert_int_equal(half_of_f32(mid), h % 2 == 0 ? h : h + 1);
        assert_int_equal(half_of_f32(nextafterf(mid, 0)), h);
        assert_int_equal(half_of_f32(nextafterf(mid, 1e9F)), h + 1);
    }
    assert_int_equal(half_of_f32(INFINITY), 0x7c00);
    assert_int_equal(half_of_f32(1e30F), 0x7c00);
    assert_true(isnan(f32_of_half(0x7c01)));
    assert_true(isnan(f32_of_half(half_of_f32(NAN))));
    assert_true(isinf(f32_of_half(0xfc00)));
    assert_true(isnan(f32_of_bf16(bf16_of_f32(f32_of_bits(0x7f800001U)))));
    assert_int_equal(bf16_of_f32(f32_of_bits(0x3f808000U)), 0x3f80);
    assert_int_equal(bf16_of_f32(f32_of_bits(0x3f818000U)), 0x3f82);
    assert_int_equal(bf16_of_f32(f32_of_bits(0x3f808001U)), 0x3f81);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_double_precision),
        cmocka_unit_test(rows_come_back_as_the_format_says),
        cmocka_unit_test(bad_shapes_are_refused),
        cmocka_unit_test(halves_round_to_nearest_even),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
