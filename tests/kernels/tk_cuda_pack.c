/* tk_cuda_pack.c - How matrices are packed for a GPU: every element is where
 * the layout says, and is worth what the file's is, up to the rounding that the
 * layout names. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/pack.h"
#include "kernels/cuda/tile.cuh"
#include "kernels/half.h"
#include "kernels/kfix.h"
#include "kernels/tfix.h"

static uint64_t seed = 12;

/* The largest difference of an element to the file's that its type allows. */
static double allowed(enum krn_dtype t, enum krn_dtype kept, double w,
                      double offset)
{
    if (t == KRN_Q4_K || t == KRN_Q5_K || t == KRN_Q6_K)
        return (fabs(w) + 2 * fabs(offset)) * 0x1p-11 * 1.001 + 0x1p-19;
    if (kept == KRN_F16 && t != KRN_F16)
        return fabs(w) * 0x1p-11 + 0x1p-25;
    if (kept == KRN_BF16 && t != KRN_BF16)
        return fabs(w) * 0x1p-8;
    return 0;
}

/* Pack a random matrix and compare each element. */
static void one_matrix(enum krn_dtype t, enum krn_dtype act, size_t n_out,
                       size_t n_in)
{
    enum krn_dtype kept = pack_kept(t, act);
    void *rows = kfix_rows(t, n_out, n_in, &seed);
    size_t row_bytes = kfix_row_bytes(t, n_in), bytes, bytes2;
    uint8_t *p = tfix_packed(t, kept, n_out, n_in, rows, 0, &bytes);
    uint8_t *q = tfix_packed(t, kept, n_out, n_in, rows, 3, &bytes2);
    double *want = calloc(n_in, sizeof(*want));

    assert_non_null(rows);
    assert_non_null(want);
    assert_int_equal(bytes, bytes2);
    assert_memory_equal(p, q, bytes);
    for (size_t r = 0; r < n_out; r++) {
        kfix_widen(t, (uint8_t *)rows + r * row_bytes, n_in, want);
        for (size_t k = 0; k < n_in; k++) {
            double got = tfix_worth(kept, p, n_in, r, k);

            if (!(fabs(got - want[k]) <= allowed(t, kept, want[k], 0.07)))
                fail_msg("%s row %zu k %zu: %g, want %g", krn_dtype_name(t), r,
                         k, got, want[k]);
        }
    }
    free(want);
    free(q);
    free(p);
    free(rows);
}

static void packed_elements_are_those_of_the_file(void **state)
{
    (void)state;
    for (int t = 0; t < KRN_DTYPE_COUNT; t++) {
        size_t k = krn_dtype_block((enum krn_dtype)t) == 256 ? 256 : 32;

        for (size_t n_in = k; n_in < 4 * 256; n_in += 7 * k)
            for (size_t n_out = 1; n_out < 20; n_out += 4)
                one_matrix((enum krn_dtype)t, KRN_F16, n_out, n_in);
        one_matrix((enum krn_dtype)t, KRN_F32, 9, 768);
        one_matrix((enum krn_dtype)t, KRN_BF16, 9, 768);
    }
}

static void forms_follow_the_type_of_activations(void **state)
{
    (void)state;
    assert_int_equal(pack_kept(KRN_F16, KRN_F32), KRN_F32);
    assert_int_equal(pack_kept(KRN_BF16, KRN_F32), KRN_F32);
    assert_int_equal(pack_kept(KRN_BF16, KRN_F16), KRN_F16);
    assert_int_equal(pack_kept(KRN_F32, KRN_F16), KRN_F16);
    assert_int_equal(pack_kept(KRN_F32, KRN_BF16), KRN_BF16);
    assert_int_equal(pack_kept(KRN_F16, KRN_BF16), KRN_F16);
    for (int t = KRN_Q8_0; t < KRN_DTYPE_COUNT; t++)
        for (int act = KRN_F32; act <= KRN_BF16; act++)
            assert_int_equal(pack_kept((enum krn_dtype)t, (enum krn_dtype)act),
                             t);
}

/* Every byte that can be is where it belongs, and none is lost: as many
 * different places as elements. */
static void no_two_elements_share_a_place(void **state)
{
    static const enum krn_dtype types[] = {KRN_Q8_0, KRN_Q4_0, KRN_Q4_K,
                                           KRN_Q5_K, KRN_Q6_K};

    (void)state;
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        enum krn_dtype t = types[i];
        size_t row = kfix_row_bytes(t, 256), bytes, bytes2, moved = 0;
        uint8_t *rows = calloc(8, row);
        uint8_t *p = tfix_packed(t, t, 8, 256, rows, 0, &bytes);

        /* flip each bit of one row's file bytes: something must change */
        for (size_t bit = 0; bit < row * 8; bit++) {
            uint8_t *q;

            rows[3 * row + bit / 8] ^= (uint8_t)(1U << bit % 8);
            q = tfix_packed(t, t, 8, 256, rows, 0, &bytes2);
            moved += memcmp(p, q, bytes) != 0;
            rows[3 * row + bit / 8] ^= (uint8_t)(1U << bit % 8);
            free(q);
        }
        /* d = 0 hides scales: bits of quants and of d are seen */
        assert_true(moved >= 256U * (t == KRN_Q8_0   ? 8
                                     : t == KRN_Q5_K ? 5
                                     : t == KRN_Q6_K ? 6
                                                     : 4));
        free(p);
        free(rows);
    }
}

static void rows_and_k_beyond_the_matrix_are_zeros(void **state)
{
    void *rows = kfix_rows(KRN_Q8_0, 3, 96, &seed);
    size_t bytes;
    uint8_t *p;

    (void)state;
    assert_non_null(rows);
    p = tfix_packed(KRN_Q8_0, KRN_Q8_0, 3, 96, rows, 0, &bytes);
    assert_int_equal(bytes, TILE_Q8_0_BYTES);
    for (size_t r = 0; r < 8; r++)
        for (size_t k = 0; k < 256; k++)
            if (r >= 3 || k >= 96)
                assert_true(tfix_worth(KRN_Q8_0, p, 96, r, k) == 0);
    free(p);
    free(rows);
}

static void halves_beyond_the_range_stay_at_its_end(void **state)
{
    const float big[4] = {1e6F, -1e30F, 65504.F, 1e-30F};
    size_t bytes;
    uint8_t *p = tfix_packed(KRN_F32, KRN_F16, 1, 4, big, 0, &bytes);

    (void)state;
    assert_true(tfix_worth(KRN_F16, p, 4, 0, 0) == 65504);
    assert_true(tfix_worth(KRN_F16, p, 4, 0, 1) == -65504);
    assert_true(tfix_worth(KRN_F16, p, 4, 0, 2) == 65504);
    assert_true(tfix_worth(KRN_F16, p, 4, 0, 3) == 0);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_elements_are_those_of_the_file),
        cmocka_unit_test(forms_follow_the_type_of_activations),
        cmocka_unit_test(no_two_elements_share_a_place),
        cmocka_unit_test(rows_and_k_beyond_the_matrix_are_zeros),
        cmocka_unit_test(halves_beyond_the_range_stay_at_its_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
