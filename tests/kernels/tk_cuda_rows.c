/* tk_cuda_rows.c - What deals with rows on the GPU against double precision
 * over the same rounded inputs: every type, sizes that are whole vectors and
 * sizes that are not, strides, rows that are nobody's, and memory around all of
 * it that holds NaN. A row's result is the same bit by bit in any number of
 * rows. Heads: tk_cuda_heads.c. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/tolerance.h"
#include "kernels/fakecuda.h"
#include "kernels/gcheck.h"
#include "kernels/gstep.h"
#include "kernels/kfix.h"
#include "kernels/krn.h"

static const enum krn_dtype acts[] = {KRN_F32, KRN_F16, KRN_BF16};

#define FAR_PAGES 2048 /* more than any page that tables name */

/* --- embedding ------------------------------------------------------------ */

/* What widening may lose where activations are <act>: floats may be kept as
 * those. */
static struct gcheck_tol embed_tol(enum krn_dtype t, enum krn_dtype act)
{
    if (t >= KRN_Q4_K)
        return (struct gcheck_tol){TOL_K_RTOL, 1e-3, TOL_K_NMSE};
    if (t <= KRN_BF16 && t != act && act != KRN_F32)
        return gcheck_rows(act);
    return (struct gcheck_tol){TOL_EXACT_RTOL, TOL_EXACT_ATOL, TOL_EXACT_NMSE};
}

static void embed_check(struct krn_ctx *c, struct gstep *t, enum krn_dtype type,
                        size_t n_in, unsigned m, uint64_t *seed)
{
    size_t row = kfix_row_bytes(type, n_in);
    uint8_t *rows = kfix_rows(type, GSTEP_VOCAB, n_in, seed);
    size_t bytes = krn_step_rows(c, GSTEP_MOST) * n_in * sizeof(float);
    float *fill = gstep_nans(KRN_F32, bytes / sizeof(float));
    float *x = gstep_sent(c, fill, bytes), *got;
    double *want = calloc(m * n_in, sizeof(*want));
    struct krn_weight *w;

    assert_non_null(want);
    assert_int_equal(krn_weight_load(c, type, GSTEP_VOCAB, n_in, rows, &w),
                     KRN_OK);
    gstep_plain(t, c, m);
    assert_int_equal(krn_step_embed(c, x, w), KRN_OK);
    for (unsigned r = 0; r < m; r++)
        kfix_widen(type, rows + (size_t)t->ids[r] * row, n_in, want + r * n_in);
    gstep_end(t, c);
    got = gstep_taken(c, x, bytes);
    assert_true(gcheck_near(krn_dtype_name(type),
                            (struct gcheck_out){KRN_F32, got, m, n_in, n_in},
                            want, embed_tol(type, krn_act(c))));
    assert_true(gcheck_same("behind the rows", got + t->pass.m * n_in,
                            fill + t->pass.m * n_in,
                            bytes - t->pass.m * n_in * sizeof(float)));
    krn_weight_free(c, w);
    krn_free(c, x);
    free(got);
    free(fill);
    free(want);
    free(rows);
}

static void embed_widens_each_type(void **state)
{
    static const size_t even[] = {256, 512, 4096};
    static const size_t blocks[] = {32, 64, 288, 576};
    static const size_t odd[] = {1, 20, 1000, 1023};
    uint64_t seed = 11;

    (void)state;
    for (int a = 0; a < 3; a++) {
        struct krn_ctx *c = gstep_opened(acts[a]);
        struct gstep t;

        gstep_open(&t, c);
        for (int i = 0; i < 3; i++)
            for (int type = 0; type < KRN_DTYPE_COUNT; type++)
                embed_check(c, &t, (enum krn_dtype)type, even[i], 5, &seed);
        for (int i = 0; i < 4; i++) {
            for (int type = 0; type <= KRN_Q4_0; type++)
                embed_check(c, &t, (enum krn_dtype)type, blocks[i], 3, &seed);
            for (int type = 0; type <= KRN_BF16; type++)
                embed_check(c, &t, (enum krn_dtype)type, odd[i], 9, &seed);
        }
        gstep_close(&t, c);
        krn_close(c);
    }
}

/* --- cosines -------------------------------------------------------------- */

static void turns_are_those_of_positions(void **state)
{
    enum { HALF = 32, M = 7 };
    static const int32_t pos[M] = {0, 1, 63, 64, 4095, 131070, 131071};
    struct krn_ctx *c = gstep_opened(KRN_BF16);
    size_t n = krn_step_rows(c, GSTEP_MOST) * 2 * HALF;
    float *fill = gstep_nans(KRN_F32, n);
    float *cs = gstep_sent(c, fill, n * sizeof(float)), *got;
    double freq[HALF], want[M * 2 * HALF];
    double *freq_dev;
    struct gstep t;

    (void)state;
    gstep_open(&t, c);
    for (int i = 0; i < HALF; i++)
        freq[i] = pow(500000, -(double)i / HALF);
    freq_dev = gstep_sent(c, freq, sizeof(freq));
    for (unsigned i = 0; i < M; i++) {
        t.pos[i] = pos[i];
        t.wanted[i] = i + 2; /* the last ones */
    }
    t.kv.n_pages = FAR_PAGES;
    gstep_begin(&t, c, M, 5);
    for (int set = 0; set < 2; set++) {
        unsigned m = set == 0 ? M : 5;
        assert_int_equal(
            krn_step_turns(c, (enum krn_set)set, cs, freq_dev, 2 * HALF, 1.25),
            KRN_OK);
        got = gstep_taken(c, cs, n * sizeof(float));
        for (unsigned r = 0; r < m; r++) {
            for (int i = 0; i < HALF; i++) {
                double angle = (double)pos[M - m + r] * freq[i];
                want[(r * HALF + (unsigned)i) * 2] = 1.25 * cos(angle);
                want[(r * HALF + (unsigned)i) * 2 + 1] = 1.25 * sin(angle);
            }
        }
        assert_true(gcheck_near(
            "turns", (struct gcheck_out){KRN_F32, got, m, 2 * HALF, 2 * HALF},
            want,
            (struct gcheck_tol){TOL_TURNS_RTOL, TOL_TURNS_ATOL,
                                TOL_TURNS_NMSE}));
        free(got);
    }
    gstep_end(&t, c);
    gstep_close(&t, c);
    krn_free(c, cs);
    krn_free(c, freq_dev);
    krn_close(c);
    free(fill);
}

/* --- norm ----------------------------------------------------------------- */

static void norm_want(double *y, const double *x, const double *gain,
                      unsigned m, unsigned n, double eps)
{
    for (size_t r = 0; r < m; r++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += x[r * n + i] * x[r * n + i];
        for (size_t i = 0; i < n; i++)
            y[r * n + i] = x[r * n + i] / sqrt(sum / n + eps) * gain[i];
    }
}

/* Norm <m> rows and a few of them alone. */
static void norm_check(struct krn_ctx *c, unsigned m, unsigned n, size_t ldx,
                       size_t ldy, bool f32, uint64_t *seed)
{
    enum krn_dtype t = f32 ? KRN_F32 : krn_act(c);
    size_t bytes = m * ldy * gcheck_size(t);
    double *exact, *gains, *want = calloc((size_t)m * n, sizeof(*want));
    float *x = gstep_numbers(KRN_F32, m, n, ldx, &exact, seed);
    float *gain = gstep_numbers(KRN_F32, 1, n, n, &gains, seed);
    void *fill = gstep_nans(t, m * ldy);
    float *x_dev = gstep_sent(c, x, m * ldx * sizeof(float));
    float *gain_dev = gstep_sent(c, gain, n * sizeof(float));
    void *y_dev = gstep_sent(c, fill, bytes);
    uint8_t *got, *one;
    size_t row = ldy * gcheck_size(t);

    assert_non_null(want);
    assert_int_equal(
        krn_step_norm(c, y_dev, ldy, f32, x_dev, ldx, gain_dev, m, n, 1e-5F),
        KRN_OK);
    got = gstep_taken(c, y_dev, bytes);
    norm_want(want, exact, gains, m, n, (double)1e-5F);
    assert_true(gcheck_near("norm", (struct gcheck_out){t, got, m, n, ldy},
                            want, gcheck_rows(t)));
    for (size_t r = 0; r < m; r++)
        assert_true(gcheck_same("between rows",
                                got + r * row + n * gcheck_size(t), fill,
                                row - n * gcheck_size(t)));
    for (unsigned k = 1; k < m; k = 2 * k + 1) {
        unsigned from = m - k;
        assert_int_equal(krn_put(c, y_dev, fill, bytes), KRN_OK);
        assert_int_equal(krn_step_norm(c, y_dev, ldy, f32, x_dev + from * ldx,
                                       ldx, gain_dev, k, n, 1e-5F),
                         KRN_OK);
        one = gstep_taken(c, y_dev, k * row);
        assert_true(gcheck_same("fewer rows", one, got + from * row, k * row));
        free(one);
    }
    krn_free(c, x_dev);
    krn_free(c, y_dev);
    krn_free(c, gain_dev);
    free(got);
    free(fill);
    free(want);
    free(gain);
    free(gains);
    free(x);
    free(exact);
}

static void norm_is_near_and_alike(void **state)
{
    static const unsigned sizes[] = {1,   7,    8,    64,   100,  288,
                                     576, 2048, 4096, 5001, 8192, 8200};
    uint64_t seed = 12;

    (void)state;
    for (int a = 0; a < 3; a++) {
        struct krn_ctx *c = gstep_opened(acts[a]);
        struct gstep t;

        gstep_open(&t, c);
        gstep_plain(&t, c, 1);
        for (int i = 0; i < 12; i++) {
            unsigned n = sizes[i];
            norm_check(c, 3, n, n, n, false, &seed);
            norm_check(c, 2, n, n + 8, n + 16, true, &seed);
            norm_check(c, 2, n, n + 3, n + 5, false, &seed);
        }
        norm_check(c, 64, 576, 576, 576, false, &seed);
        gstep_end(&t, c);
        gstep_close(&t, c);
        krn_close(c);
    }
}

/* --- taking rows ---------------------------------------------------------- */

static void take_copies_wanted_rows(void **state)
{
    static const unsigned sizes[] = {1, 6, 8, 576, 2050, 4096};
    enum { M = 11 };
    struct krn_ctx *c = gstep_opened(KRN_F16);
    struct gstep t;
    uint64_t seed = 13;

    (void)state;
    gstep_open(&t, c);
    for (int i = 0; i < 6; i++) {
        unsigned n = sizes[i];
        unsigned rows = krn_step_rows(c, GSTEP_MOST);
        double *exact;
        float *x = gstep_numbers(KRN_F32, rows, n, n, &exact, &seed);
        float *x_dev = gstep_sent(c, x, (size_t)rows * n * sizeof(float));
        float *y_dev = krn_alloc(c, (size_t)rows * n * sizeof(float));
        float *got;

        assert_non_null(y_dev);
        for (unsigned r = 0; r < M; r++) {
            t.pos[r] = 3;
            t.ids[r] = 0;
        }
        t.wanted[0] = 1;
        t.wanted[1] = 4;
        t.wanted[2] = 10;
        gstep_begin(&t, c, M, 3);
        assert_int_equal(krn_step_take(c, y_dev, x_dev, n), KRN_OK);
        gstep_end(&t, c);
        got = gstep_taken(c, y_dev, 3 * n * sizeof(float));
        for (unsigned r = 0; r < 3; r++)
            assert_true(gcheck_same("take", got + r * n, x + t.wanted[r] * n,
                                    n * sizeof(float)));
        krn_free(c, x_dev);
        krn_free(c, y_dev);
        free(got);
        free(x);
        free(exact);
    }
    gstep_close(&t, c);
    krn_close(c);
}

/* --- pieces of products --------------------------------------------------- */

static void silu_check(struct krn_ctx *c, unsigned m, unsigned n, size_t ld,
                       uint64_t *seed)
{
    enum krn_dtype t = krn_act(c);
    size_t bytes = m * ld * gcheck_size(t);
    double *exact, *want = calloc((size_t)m * n, sizeof(*want));
    void *y = gstep_numbers(t, m, 2 * (size_t)n, ld, &exact, seed);
    void *dev, *got;

    assert_non_null(want);
    /* Of the first exp() is too large, the last product is beyond F16. */
    gcheck_set(t, y, 0, -100);
    exact[0] = -100;
    gcheck_set(t, y, (m - 1) * ld + n - 1, n > 1 ? 300 : 0);
    exact[(2 * (size_t)m - 1) * n - 1] = n > 1 ? 300 : 0;
    gcheck_set(t, y, (m - 1) * ld + 2 * n - 1, -300);
    exact[2 * (size_t)m * n - 1] = -300;
    dev = gstep_sent(c, y, bytes);
    for (size_t r = 0; r < m; r++) {
        for (size_t i = 0; i < n; i++) {
            double g = exact[r * 2 * n + i];
            want[r * n + i] = g / (1 + exp(-g)) * exact[(r * 2 + 1) * n + i];
            if (t == KRN_F16)
                want[r * n + i] = fmax(want[r * n + i], -65504);
        }
    }
    assert_int_equal(cuda_silu_rows(c->cuda, dev, ld, m, n), KRN_OK);
    got = gstep_taken(c, dev, bytes);
    assert_true(gcheck_near("silu", (struct gcheck_out){t, got, m, n, ld}, want,
                            gcheck_rows(t)));
    krn_free(c, dev);
    free(got);
    free(y);
    free(exact);
    free(want);
}

static void bias_check(struct krn_ctx *c, unsigned m, unsigned n, size_t ld,
                       bool f32, uint64_t *seed)
{
    enum krn_dtype t = f32 ? KRN_F32 : krn_act(c);
    size_t bytes = m * ld * gcheck_size(t);
    double *exact, *add;
    void *y = gstep_numbers(t, m, n, ld, &exact, seed);
    float *bias = gstep_numbers(KRN_F32, 1, n, n, &add, seed);
    void *dev = gstep_sent(c, y, bytes), *got;
    float *bias_dev = gstep_sent(c, bias, n * sizeof(float));

    for (size_t i = 0; i < (size_t)m * n; i++)
        exact[i] += add[i % n];
    assert_int_equal(cuda_bias_rows(c->cuda, dev, ld, f32, bias_dev, m, n),
                     KRN_OK);
    got = gstep_taken(c, dev, bytes);
    assert_true(gcheck_near("bias", (struct gcheck_out){t, got, m, n, ld},
                            exact, gcheck_rows(t)));
    krn_free(c, dev);
    krn_free(c, bias_dev);
    free(got);
    free(y);
    free(exact);
    free(bias);
    free(add);
}

static void silu_and_bias_are_near(void **state)
{
    static const unsigned sizes[] = {1, 8, 13, 172, 1024, 1536, 2050};
    uint64_t seed = 16;

    (void)state;
    for (int a = 0; a < 3; a++) {
        struct krn_ctx *c = gstep_opened(acts[a]);

        for (int i = 0; i < 7; i++) {
            unsigned n = sizes[i];
            silu_check(c, 3, n, 2 * n, &seed);
            silu_check(c, 2, n, 2 * n + 5, &seed);
            bias_check(c, 3, n, n, false, &seed);
            bias_check(c, 2, n, n + 8, true, &seed);
        }
        krn_close(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embed_widens_each_type),
        cmocka_unit_test(turns_are_those_of_positions),
        cmocka_unit_test(norm_is_near_and_alike),
        cmocka_unit_test(take_copies_wanted_rows),
        cmocka_unit_test(silu_and_bias_are_near),
    };

    if (!fakecuda_use())
        return FAKECUDA_SKIP;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
