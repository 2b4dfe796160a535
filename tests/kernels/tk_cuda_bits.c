/* tk_cuda_bits.c - The emulator's bits and roundings by their definitions:
 * every half and bfloat, sums of them, bytes permuted. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/emu/emu_run.h"
#include "kernels/emu_kernels.h"

static uint32_t rng = 1;

static uint32_t draw(void)
{
    rng = rng * 1664525u + 1013904223u;
    return rng >> 8 ^ rng << 16;
}

/* The value of half <h>, from its definition. */
static double half_value(uint16_t h)
{
    int e = h >> 10 & 31;
    double f = h & 0x3ff;
    double v = e == 0    ? ldexp(f, -24)
               : e != 31 ? ldexp(1024 + f, e - 25)
               : f == 0  ? (double)INFINITY
                         : (double)NAN;

    return (h & 0x8000) != 0 ? -v : v;
}

static double bf16_value(uint16_t h)
{
    int e = h >> 7 & 255;
    double f = h & 0x7f;
    double v = e == 0     ? ldexp(f, -133)
               : e != 255 ? ldexp(128 + f, e - 134)
               : f == 0   ? (double)INFINITY
                          : (double)NAN;

    return (h & 0x8000) != 0 ? -v : v;
}

/* The nearest of the ascending positive numbers of <value> to <v>, ties to the
 * even one; what is half a step beyond the last finite one becomes infinite. */
static uint16_t nearest(double v, double (*value)(uint16_t), uint16_t inf)
{
    double mag = fabs(v);
    uint16_t lo = 0;
    uint16_t hi = inf;
    double below, above;

    if (isnan(v))
        return 0x7fff;
    while (hi - lo > 1) {
        uint16_t mid = (uint16_t)((lo + hi) / 2);

        if (value(mid) <= mag)
            lo = mid;
        else
            hi = mid;
    }
    below = value(lo);
    above = hi == inf ? 2 * below - value((uint16_t)(lo - 1)) : value(hi);
    if (mag - below > above - mag ||
        (mag - below == above - mag && lo % 2 == 1))
        lo = hi;
    return (uint16_t)(lo | (signbit(v) ? 0x8000 : 0));
}

/* --- what kernels compute of words ---------------------------------------- */

enum { N_BITS = 65536 };

struct words {
    uint32_t *a, *b, *c, *out;
};

static void words_open(struct words *w)
{
    w->a = emu_alloc(N_BITS * 4);
    w->b = emu_alloc(N_BITS * 4);
    w->c = emu_alloc(N_BITS * 4);
    w->out = emu_alloc(N_BITS * 4);
    for (uint32_t i = 0; i < N_BITS; i++) {
        w->a[i] = draw();
        w->b[i] = draw();
        w->c[i] = draw();
    }
}

static void words_run(struct words *w, int op)
{
    struct emu_bits_args a = {w->a, w->b, w->c, w->out, N_BITS, op};

    assert_int_equal(
        emu_run("emu_bits", N_BITS / 128, 1, 1, 128, 0, &a, sizeof(a)), 0);
}

static void words_close(struct words *w)
{
    assert_true(emu_free(w->a) && emu_free(w->b) && emu_free(w->c) &&
                emu_free(w->out));
}

static void bytes_are_permuted_by_the_definition(void **state)
{
    struct words w;

    (void)state;
    words_open(&w);
    words_run(&w, BITS_PRMT);
    for (int i = 0; i < N_BITS; i++) {
        uint8_t in[8];
        uint8_t want[4];
        uint32_t r;

        memcpy(in, &w.a[i], 4);
        memcpy(in + 4, &w.b[i], 4);
        for (int k = 0; k < 4; k++) {
            unsigned n = w.c[i] >> (4 * k) & 15;

            want[k] = in[n & 7];
            if (n >= 8)
                want[k] = want[k] >= 128 ? 255 : 0;
        }
        memcpy(&r, want, 4);
        assert_int_equal(w.out[i], r);
    }
    words_run(&w, BITS_AND_OR);
    for (int i = 0; i < N_BITS; i++)
        assert_int_equal(w.out[i], (w.a[i] & 0xf000f) | 0x43004300);
    words_close(&w);
}

/* Floats of all sizes, those between two halves exactly, and special ones. */
static void floats_fill(uint32_t *a, bool bf16)
{
    static const uint32_t special[] = {
        0,          0x80000000, 0x7f800000, 0xff800000, 0x7fc00000,
        0x477fefff, 0x477ff000, 0x477fe000, 0x33000000, 0x33000001,
        0x32ffffff, 0x00000001, 0x7f7fffff, 0x38800000, 0x387fffff,
    };

    for (uint32_t i = 0; i < N_BITS; i++) {
        uint32_t tie = bf16 ? 0x8000 : 0x1000;

        a[i] = draw();
        if (i % 4 == 1)
            a[i] = (a[i] & ~(2 * tie - 1)) | tie;
        if (i % 4 == 2) /* within the range of halves */
            a[i] = (a[i] & 0x80ffffff) | (0x33 + i / 4 % 0x15) << 24;
        if (i % 8 == 6)
            a[i] = (a[i] & ~(2 * tie - 1)) | tie;
    }
    memcpy(a, special, sizeof(special));
}

static double float_value(uint32_t u)
{
    float f;

    memcpy(&f, &u, sizeof(f));
    return (double)f;
}

static bool is_nan16(uint16_t h, uint16_t inf)
{
    return (h & 0x7fff) > inf;
}

static void numbers_are_rounded_to_the_nearest(void **state)
{
    struct words w;

    (void)state;
    words_open(&w);
    for (int bf16 = 0; bf16 < 2; bf16++) {
        uint16_t inf = bf16 != 0 ? 0x7f80 : 0x7c00;

        floats_fill(w.a, bf16 != 0);
        floats_fill(w.b, bf16 == 0);
        words_run(&w, bf16 != 0 ? BITS_PACK_BF16 : BITS_PACK_F16);
        for (int i = 0; i < 2 * N_BITS; i++) {
            double v = float_value(i % 2 == 0 ? w.a[i / 2] : w.b[i / 2]);
            uint16_t got = (uint16_t)(w.out[i / 2] >> 16 * (i % 2));
            uint16_t want;

            if (bf16 == 0 && fabs(v) > 65504)
                v = v > 0 ? 65504 : -65504;
            want = nearest(v, bf16 != 0 ? bf16_value : half_value, inf);
            if (isnan(v))
                assert_true(is_nan16(got, inf));
            else
                assert_int_equal(got, want);
        }
    }
    words_close(&w);
}

static void halves_are_what_they_are(void **state)
{
    struct words w;

    (void)state;
    words_open(&w);
    for (uint32_t i = 0; i < N_BITS; i++)
        w.a[i] = i;
    for (int bf16 = 0; bf16 < 2; bf16++) {
        words_run(&w, bf16 != 0 ? BITS_OF_BF16 : BITS_OF_F16);
        for (uint32_t i = 0; i < N_BITS; i++) {
            double want =
                bf16 != 0 ? bf16_value((uint16_t)i) : half_value((uint16_t)i);
            double got = float_value(w.out[i]);

            assert_true(isnan(want) ? isnan(got) : want == got);
            assert_int_equal(w.out[i] >> 31, i >> 15);
        }
    }
    words_close(&w);
}

static void e4m3_becomes_halves(int op)
{
    struct words w;

    words_open(&w);
    for (uint32_t i = 0; i < N_BITS; i++)
        w.a[i] = i;
    words_run(&w, op);
    for (uint32_t i = 0; i < N_BITS; i++) {
        for (int k = 0; k < 2; k++) {
            unsigned b = i >> 8 * k & 0xff;
            double v = (b & 0x78) == 0
                           ? ldexp(b & 7, -9)
                           : ldexp(8 + (b & 7), (int)(b >> 3 & 15) - 10);
            double got = half_value((uint16_t)(w.out[i] >> 16 * k));

            if ((b & 0x7f) == 0x7f)
                assert_true(op == BITS_E4M3 ? isnan(got) : fabs(got) == 480);
            else
                assert_true(got == ((b & 0x80) != 0 ? -v : v));
        }
    }
    words_close(&w);
}

static void e4m3_are_what_they_are(void **state)
{
    (void)state;
    e4m3_becomes_halves(BITS_E4M3);
    e4m3_becomes_halves(BITS_E4M3_BITS);
}

static void sums_of_halves_are_rounded_once(void **state)
{
    struct words w;

    (void)state;
    words_open(&w);
    for (int bf16 = 0; bf16 < 2; bf16++) {
        double (*value)(uint16_t) = bf16 != 0 ? bf16_value : half_value;
        uint16_t inf = bf16 != 0 ? 0x7f80 : 0x7c00;

        words_run(&w, bf16 != 0 ? BITS_ADD_BF16 : BITS_ADD_F16);
        for (int i = 0; i < 2 * N_BITS; i++) {
            double x = value((uint16_t)(w.a[i / 2] >> 16 * (i % 2)));
            double y = value((uint16_t)(w.b[i / 2] >> 16 * (i % 2)));
            uint16_t got = (uint16_t)(w.out[i / 2] >> 16 * (i % 2));

            /* Sums of bfloats far apart are not exact in doubles. */
            if (isnan(x + y))
                assert_true(is_nan16(got, inf));
            else if (isinf(x + y))
                assert_int_equal(got & 0x7fff, inf);
            else if (fabs(x) < 0x1p30 * fabs(y) && fabs(y) < 0x1p30 * fabs(x) &&
                     x + y != 0)
                assert_int_equal(got, nearest(x + y, value, inf));
        }
    }
    words_close(&w);
}

static void ex2_is_a_power_of_two(void **state)
{
    struct words w;

    (void)state;
    words_open(&w);
    for (uint32_t i = 0; i < N_BITS; i++) {
        float f = (float)i / 200.f - 200.f;

        memcpy(&w.a[i], &f, 4);
    }
    words_run(&w, BITS_EX2);
    for (uint32_t i = 0; i < N_BITS; i++) {
        double want = exp2(float_value(w.a[i]));
        double got = float_value(w.out[i]);

        if (want < 0x1p-126)
            assert_true(got == 0);
        else if (want < 0x1p127)
            assert_true(fabs(got - want) <= want * 0x1p-22);
    }
    words_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_permuted_by_the_definition),
        cmocka_unit_test(numbers_are_rounded_to_the_nearest),
        cmocka_unit_test(halves_are_what_they_are),
        cmocka_unit_test(e4m3_are_what_they_are),
        cmocka_unit_test(sums_of_halves_are_rounded_once),
        cmocka_unit_test(ex2_is_a_power_of_two),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
