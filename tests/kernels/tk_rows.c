/* tk_rows.c - The row-wise operations: the scalar ones against double
 * precision, the fast ones against the scalar ones bit by bit, whatever the
 * lengths, strides and threads. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/half.h"
#include "kernels/kfix.h"
#include "kernels/krn.h"
#include "kernels/rfix.h"

static const unsigned lengths[] = {1,  2,   3,   7,   8,   9,    15,  16, 17,
                                   31, 32,  33,  47,  63,  64,   65,  80, 96,
                                   97, 128, 255, 257, 576, 1000, 1537};
enum { N_LENGTHS = sizeof(lengths) / sizeof(lengths[0]) };

/* <n> numbers around 0; with <odd>, now and then one that is not finite, tiny
 * or huge. */
static float *numbers(size_t n, bool odd, uint64_t *seed)
{
    static const float strange[] = {INFINITY, -INFINITY, NAN,    0.0F,
                                    -0.0F,    1e-42F,    -1e38F, 88.5F,
                                    -88.5F,   3e38F,     -87.0F, 1e-30F};
    float *x = calloc(n + 1, sizeof(*x));

    assert_non_null(x);
    for (size_t i = 0; i < n; i++) {
        x[i] = kfix_normal(seed) * 3;
        if (odd && kfix_next(seed) % 16 == 0)
            x[i] = strange[kfix_next(seed) % 12];
    }
    return x;
}

static float *copy_of(const float *x, size_t n)
{
    float *y = calloc(n + 1, sizeof(*y));

    assert_non_null(y);
    memcpy(y, x, n * sizeof(*y));
    return y;
}

/* --- norm ----------------------------------------------------------------- */

static void norm_check(struct rfix *f, unsigned m, unsigned n, bool odd,
                       uint64_t *seed)
{
    size_t ldx = n + 3;
    size_t ldy = n + 5;
    float *x = numbers(m * ldx, odd, seed);
    float *gain = numbers(n, false, seed);
    float *want = calloc(m * ldy, sizeof(*want));
    float *got = calloc(m * ldy, sizeof(*got));

    assert_int_equal(krn_rms_norm(f->ref, want, ldy, x, ldx, gain, m, n, 1e-5F),
                     KRN_OK);
    for (unsigned i = 0; i < f->n_fast; i++) {
        assert_int_equal(
            krn_rms_norm(f->fast[i], got, ldy, x, ldx, gain, m, n, 1e-5F),
            KRN_OK);
        assert_true(rfix_same(want, got, m * ldy));
    }
    for (size_t r = 0; r < m && !odd; r++) {
        double sum = 0;

        for (size_t i = 0; i < n; i++)
            sum += (double)x[r * ldx + i] * (double)x[r * ldx + i];
        for (size_t i = 0; i < n; i++) {
            double y =
                (double)x[r * ldx + i] / sqrt(sum / n + 1e-5) * (double)gain[i];

            assert_true(fabs((double)want[r * ldy + i] - y) <=
                        1e-6 * fabs(y) + 1e-12);
        }
    }
    free(x);
    free(gain);
    free(want);
    free(got);
}

static void norms_agree(void **state)
{
    struct rfix f;
    uint64_t seed = 11;

    (void)state;
    rfix_open(&f);
    for (unsigned i = 0; i < N_LENGTHS; i++) {
        norm_check(&f, 5, lengths[i], false, &seed);
        norm_check(&f, 9, lengths[i], true, &seed);
    }
    norm_check(&f, 700, 64, false, &seed);
    norm_check(&f, 70, 576, false, &seed);
    rfix_close(&f);
}

static void a_norm_in_place_is_the_same(void **state)
{
    enum { M = 4, N = 77 };
    struct rfix f;
    uint64_t seed = 12;
    float *x = numbers(M * N, false, &seed);
    float *gain = numbers(N, false, &seed);
    float want[M * N];

    (void)state;
    rfix_open(&f);
    assert_int_equal(krn_rms_norm(f.ref, want, N, x, N, gain, M, N, 1e-6F),
                     KRN_OK);
    for (unsigned i = 0; i < f.n_fast; i++) {
        float *y = copy_of(x, M * N);

        assert_int_equal(krn_rms_norm(f.fast[i], y, N, y, N, gain, M, N, 1e-6F),
                         KRN_OK);
        assert_true(rfix_same(want, y, M * N));
        free(y);
    }
    assert_int_equal(krn_rms_norm(f.ref, want, N, x, N, gain, M, 0, 1e-6F),
                     KRN_BAD_SHAPE);
    assert_int_equal(krn_rms_norm(f.ref, want, N - 1, x, N, gain, M, N, 1e-6F),
                     KRN_BAD_SHAPE);
    rfix_close(&f);
    free(x);
    free(gain);
}

/* --- element by element --------------------------------------------------- */

static void mix_check(struct rfix *f, size_t n, bool odd, uint64_t *seed)
{
    float *gate = numbers(n, odd, seed);
    float *up = numbers(n, odd, seed);
    float *sum = copy_of(gate, n);
    float *mix = calloc(n + 1, sizeof(*mix));

    assert_int_equal(krn_add(f->ref, sum, up, n), KRN_OK);
    assert_int_equal(krn_silu_mul(f->ref, mix, gate, up, n), KRN_OK);
    for (unsigned i = 0; i < f->n_fast; i++) {
        float *y = copy_of(gate, n);

        assert_int_equal(krn_add(f->fast[i], y, up, n), KRN_OK);
        assert_true(rfix_same(sum, y, n));
        memcpy(y, gate, n * sizeof(*y));
        assert_int_equal(krn_silu_mul(f->fast[i], y, y, up, n), KRN_OK);
        assert_true(rfix_same(mix, y, n));
        memcpy(y, up, n * sizeof(*y));
        assert_int_equal(krn_silu_mul(f->fast[i], y, gate, y, n), KRN_OK);
        assert_true(rfix_same(mix, y, n));
        assert_true(y[n] == 0); /* nothing past the end */
        free(y);
    }
    for (size_t i = 0; i < n && !odd; i++) {
        double g = (double)gate[i];
        double want = g / (1 + exp(-g)) * (double)up[i];

        assert_true(fabs((double)mix[i] - want) <= 1e-6 * fabs(want));
    }
    free(gate);
    free(up);
    free(sum);
    free(mix);
}

static void sums_and_gates_agree(void **state)
{
    struct rfix f;
    uint64_t seed = 13;

    (void)state;
    rfix_open(&f);
    for (unsigned i = 0; i < N_LENGTHS; i++) {
        mix_check(&f, lengths[i], false, &seed);
        mix_check(&f, lengths[i], true, &seed);
    }
    mix_check(&f, 100003, true, &seed);
    rfix_close(&f);
}

/* The gate alone, over all that a float can be: silu(x) * 1. */
static void gates_agree_everywhere(void **state)
{
    enum { N = 1 << 16 };
    struct rfix f;
    float *x = calloc(N, sizeof(*x));
    float *one = calloc(N, sizeof(*one));
    float *want = calloc(N, sizeof(*want));
    float *got = calloc(N, sizeof(*got));

    (void)state;
    rfix_open(&f);
    for (uint32_t i = 0; i < N; i++) {
        x[i] = f32_of_bits(i << 16 | (i * 40503U & 0xffffU));
        one[i] = 1;
    }
    assert_int_equal(krn_silu_mul(f.ref, want, x, one, N), KRN_OK);
    for (unsigned i = 0; i < f.n_fast; i++) {
        assert_int_equal(krn_silu_mul(f.fast[i], got, x, one, N), KRN_OK);
        assert_true(rfix_same(want, got, N));
    }
    for (size_t i = 0; i < N; i++) {
        double exact = (double)x[i] / (1 + exp(-(double)x[i]));

        if (fabsf(x[i]) < 80)
            assert_true(fabs((double)want[i] - exact) <=
                        3e-7 * fabs(exact) + 1e-45);
    }
    rfix_close(&f);
    free(x);
    free(one);
    free(want);
    free(got);
}

/* --- rotation ------------------------------------------------------------- */

struct rope_case {
    unsigned m, n_head, d_head, n_rot;
    bool halves;
};

static void rope_check(struct rfix *f, struct rope_case k, uint64_t *seed)
{
    size_t ld = (size_t)k.n_head * k.d_head + 2;
    size_t all = k.m * ld;
    float *v = numbers(all, false, seed);
    float *cs = numbers((size_t)k.m * k.n_rot, false, seed);
    float *want = copy_of(v, all);

    assert_int_equal(krn_rope(f->ref, want, ld, k.m, k.n_head, k.d_head,
                              k.n_rot, cs, k.halves),
                     KRN_OK);
    for (unsigned i = 0; i < f->n_fast; i++) {
        float *y = copy_of(v, all);

        assert_int_equal(krn_rope(f->fast[i], y, ld, k.m, k.n_head, k.d_head,
                                  k.n_rot, cs, k.halves),
                         KRN_OK);
        assert_true(rfix_same(want, y, all));
        free(y);
    }
    for (size_t r = 0; r < k.m; r++) {
        for (size_t i = 0; i < k.n_rot / 2; i++) {
            size_t at = r * ld + (k.n_head - 1) * (size_t)k.d_head;
            size_t ia = at + (k.halves ? i : 2 * i);
            size_t ib = k.halves ? ia + k.n_rot / 2 : ia + 1;
            double c = (double)cs[r * k.n_rot + 2 * i];
            double s = (double)cs[r * k.n_rot + 2 * i + 1];
            double a = (double)v[ia], b = (double)v[ib];

            assert_true(fabs((double)want[ia] - (a * c - b * s)) < 1e-5);
            assert_true(fabs((double)want[ib] - (b * c + a * s)) < 1e-5);
        }
    }
    free(v);
    free(cs);
    free(want);
}

static void rotations_agree(void **state)
{
    static const unsigned d_heads[] = {2,  4,  6,  8,  10,  34,
                                       64, 72, 80, 96, 128, 130};
    struct rfix f;
    uint64_t seed = 14;
    float v[8] = {0};

    (void)state;
    rfix_open(&f);
    for (size_t i = 0; i < sizeof(d_heads) / sizeof(d_heads[0]); i++) {
        unsigned d = d_heads[i];
        unsigned part = d / 4 * 2 > 0 ? d / 4 * 2 : 2;

        rope_check(&f, (struct rope_case){3, 3, d, d, true}, &seed);
        rope_check(&f, (struct rope_case){3, 3, d, d, false}, &seed);
        rope_check(&f, (struct rope_case){2, 5, d, part, true}, &seed);
        rope_check(&f, (struct rope_case){2, 5, d, part, false}, &seed);
    }
    rope_check(&f, (struct rope_case){200, 9, 64, 64, true}, &seed);
    assert_int_equal(krn_rope(f.ref, v, 8, 1, 1, 8, 10, v, true),
                     KRN_BAD_SHAPE);
    assert_int_equal(krn_rope(f.ref, v, 8, 1, 1, 8, 3, v, true), KRN_BAD_SHAPE);
    rfix_close(&f);
}

/* --- rows by index -------------------------------------------------------- */

static void rows_are_taken_in_order(void **state)
{
    static const unsigned idx[] = {4, 0, 4, 2};
    struct rfix f;
    float x[5 * 3], y[4 * 4] = {0};

    (void)state;
    rfix_open(&f);
    for (int i = 0; i < 15; i++)
        x[i] = (float)i;
    assert_int_equal(krn_take_rows(f.ref, y, 4, x, 3, idx, 4, 3), KRN_OK);
    for (int r = 0; r < 4; r++)
        for (int i = 0; i < 3; i++)
            assert_true(y[r * 4 + i] == x[idx[r] * 3 + (unsigned)i]);
    assert_true(y[3] == 0 && y[7] == 0);
    rfix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_agree),
        cmocka_unit_test(a_norm_in_place_is_the_same),
        cmocka_unit_test(sums_and_gates_agree),
        cmocka_unit_test(gates_agree_everywhere),
        cmocka_unit_test(rotations_agree),
        cmocka_unit_test(rows_are_taken_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
