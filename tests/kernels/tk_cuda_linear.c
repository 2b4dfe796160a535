/* tk_cuda_linear.c - Products on a GPU, or on its emulator: of all types, sizes
 * and numbers of tokens against sums in double precision over the elements as
 * the device keeps them; and that what a token gets does not depend on the
 * other tokens of the call where it must not. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/fakecuda.h"
#include "kernels/krn_priv.h"
#include "kernels/lfix.h"

static void few_tokens_of_every_type(void **state)
{
    static const size_t ks[] = {64, 256, 576, 896, 960, 1536, 2048};
    static const size_t ns[] = {1, 17, 40};
    static const enum krn_as as[] = {KRN_AS_ACT, KRN_AS_F32, KRN_AS_ADDED};

    (void)state;
    for (size_t i = 0; i < LFIX_KINDS; i++) {
        struct krn_ctx *c = lfix_opened(lfix_kinds[i].act, false);

        for (size_t j = 0; j < 7; j++)
            for (size_t m = 1; m <= 9; m += j == 1 ? 1 : 3) {
                size_t n = ns[(j + m) % 3];
                struct mat w = lfix_mat(c, lfix_kinds[i].t, RANDOM, n,
                                        lfix_whole(lfix_kinds[i].t, ks[j]));

                lfix_product(c, 1, &w, &as[(i + j + m) % 3], m, m % 2 != 0,
                             m % 4 == 0 ? 8 : 0);
                lfix_mat_free(c, &w);
            }
        krn_close(c);
    }
}

static void many_tokens_of_every_type(void **state)
{
    static const size_t ms[] = {12, 17, 33, 63, 64, 65, 200};
    static const enum krn_as as[] = {KRN_AS_ADDED, KRN_AS_ACT, KRN_AS_F32};

    (void)state;
    for (size_t i = 0; i < LFIX_KINDS; i++) {
        struct krn_ctx *c = lfix_opened(lfix_kinds[i].act, false);

        for (size_t j = 0; j < 7; j++) {
            struct mat w =
                lfix_mat(c, lfix_kinds[i].t, RANDOM, 75,
                         lfix_whole(lfix_kinds[i].t, 320 + 256 * (j % 2)));

            lfix_product(c, 1, &w, &as[j % 3], ms[j], j % 2 == 0, 8 * (j % 2));
            lfix_mat_free(c, &w);
        }
        krn_close(c);
    }
}

/* Long rows are cut into slices; a counter that is left behind shows at the
 * second call. */
static void long_rows_are_summed_in_slices(void **state)
{
    static const enum krn_as as[] = {KRN_AS_ADDED, KRN_AS_ACT};

    (void)state;
    for (size_t i = 0; i < LFIX_KINDS; i++) {
        struct krn_ctx *c = lfix_opened(lfix_kinds[i].act, false);
        struct mat w = lfix_mat(c, lfix_kinds[i].t, RANDOM, 24, 11008);

        lfix_product(c, 1, &w, &as[0], 3, true, 0);
        lfix_product(c, 1, &w, &as[1], 8, false, 0);
        lfix_product(c, 1, &w, &as[0], 20, false, 0);
        lfix_product(c, 1, &w, &as[0], 20, true, 0);
        lfix_mat_free(c, &w);
        krn_close(c);
    }
}

static void three_matrices_of_one_call(void **state)
{
    static const enum krn_as as[] = {KRN_AS_ACT, KRN_AS_ACT, KRN_AS_F32};
    static const size_t ms[] = {1, 8, 20, 70};

    (void)state;
    for (size_t i = 0; i < LFIX_KINDS; i++) {
        struct krn_ctx *c = lfix_opened(lfix_kinds[i].act, false);
        struct mat w[3];

        for (size_t j = 0; j < 3; j++)
            w[j] = lfix_mat(c, lfix_kinds[i].t, RANDOM, 40 - 9 * j,
                            lfix_whole(lfix_kinds[i].t, 256));
        for (size_t j = 0; j < 4; j++)
            lfix_product(c, 3, w, as, ms[j], true, 0);
        for (size_t j = 0; j < 3; j++)
            lfix_mat_free(c, &w[j]);
        krn_close(c);
    }
}

/* q, k and v of one wide row of m tokens. */
static void one_wide_row(struct krn_ctx *c, const struct mat w[3], size_t m)
{
    struct acts x = lfix_acts(c, m, 256, 256);
    struct outs o = lfix_outs(c, KRN_AS_ACT, m, 96, 96);
    size_t size = gcheck_size(o.t), at = 0;
    double *want = malloc(m * 96 * sizeof(*want));
    struct krn_prod prods[3];

    assert_non_null(want);
    for (size_t j = 0; j < 3; at += w[j++].n_out) {
        size_t n = w[j].n_out;

        prods[j] = (struct krn_prod){w[j].dev, NULL, (char *)o.dev + at * size,
                                     96, KRN_AS_ACT};
        for (size_t r = 0; r < m * n; r++)
            want[r / n * 96 + at + r % n] = lfix_dot(
                &w[j], x.x + r / n * 256, r % n, lfix_rounded_to(c, &w[j], m));
    }
    assert_int_equal(c->dev->linear(c, x.dev, 256, (unsigned)m, 3, prods),
                     KRN_OK);
    lfix_outs_get(c, &o, 96);
    assert_true(gcheck_near(krn_dtype_name(w[0].t),
                            (struct gcheck_out){o.t, o.host, m, 96, 96}, want,
                            lfix_tol(o.t, &w[0], &x)));
    free(want);
    lfix_outs_free(c, &o);
    lfix_acts_free(c, &x);
}

static void results_and_matrices_side_by_side(void **state)
{
    (void)state;
    for (size_t i = 0; i < LFIX_KINDS; i++) {
        struct krn_ctx *c = lfix_opened(lfix_kinds[i].act, false);
        size_t n[3] = {64, 16, 16};
        struct mat w[3];

        for (size_t j = 0; j < 3; j++)
            w[j] = lfix_mat(c, lfix_kinds[i].t, RANDOM, n[j], 256);
        for (size_t m = 2; m < 100; m += 38)
            one_wide_row(c, w, m);
        for (size_t j = 0; j < 3; j++)
            lfix_mat_free(c, &w[j]);
        krn_close(c);
    }
}

static void gated_units_of_every_type(void **state)
{
    static const size_t ms[] = {1, 5, 8, 19, 71, 195};

    (void)state;
    for (size_t i = 0; i < LFIX_KINDS; i++) {
        struct krn_ctx *c = lfix_opened(lfix_kinds[i].act, false);
        struct mat g = lfix_mat(c, lfix_kinds[i].t, RANDOM, 43,
                                lfix_whole(lfix_kinds[i].t, 320));
        struct mat u = lfix_mat(c, lfix_kinds[i].t, RANDOM, 43,
                                lfix_whole(lfix_kinds[i].t, 320));

        for (size_t j = 0; j < 6; j++)
            lfix_gated(c, &g, &u, ms[j]);
        lfix_mat_free(c, &g);
        lfix_mat_free(c, &u);
        krn_close(c);
    }
}

/* Sizes of tiny models, types that are mixed, rows that are not aligned. */
static void shapes_and_types_of_no_kernel_in_particular(void **state)
{
    static const enum krn_as as[] = {KRN_AS_ACT, KRN_AS_F32, KRN_AS_ADDED};
    static const struct {
        enum krn_dtype t, act;
        size_t n_in;
    } odd[] = {
        {KRN_F32, KRN_F32, 172},  {KRN_F16, KRN_F16, 172},
        {KRN_BF16, KRN_BF16, 12}, {KRN_F16, KRN_BF16, 96},
        {KRN_Q8_0, KRN_BF16, 96}, {KRN_Q4_K, KRN_BF16, 256},
        {KRN_Q6_K, KRN_F32, 256}, {KRN_BF16, KRN_F16, 100},
        {KRN_F32, KRN_F16, 72},   {KRN_F16, KRN_F32, 33},
        {KRN_Q4_0, KRN_F32, 32},  {KRN_Q5_K, KRN_F32, 512},
        {KRN_FP8, KRN_F16, 72},   {KRN_FP8, KRN_F16, 264},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
        struct krn_ctx *c = lfix_opened(odd[i].act, false);
        struct mat w = lfix_mat(c, odd[i].t, RANDOM, 21, odd[i].n_in);
        struct mat u = lfix_mat(c, odd[i].t, RANDOM, 21, odd[i].n_in);

        lfix_product(c, 1, &w, &as[i % 3], 3, true, 1);
        lfix_product(c, 1, &w, &as[(i + 1) % 3], 70, true,
                     odd[i].t >= KRN_Q8_0 ? 8 : 3);
        lfix_gated(c, &w, &u, 4);
        lfix_gated(c, &w, &u, 66);
        lfix_mat_free(c, &w);
        lfix_mat_free(c, &u);
        krn_close(c);
    }
}

static void a_permuted_operand_would_show(void **state)
{
    static const enum krn_as as = KRN_AS_F32;

    (void)state;
    for (size_t i = 0; i < LFIX_KINDS; i++) {
        struct krn_ctx *c;

        if (i >= 3 && lfix_kinds[i].t != KRN_FP8)
            continue;
        c = lfix_opened(lfix_kinds[i].act, false);
        for (size_t m = 2; m < 80; m += 35) {
            struct mat hot = lfix_mat(c, lfix_kinds[i].t, ONE_HOT, 70, 256);
            struct mat ramp = lfix_mat(c, lfix_kinds[i].t, RAMP, 70, 256);

            lfix_product(c, 1, &hot, &as, m, false, 0);
            lfix_product(c, 1, &ramp, &as, m, false, 0);
            lfix_mat_free(c, &hot);
            lfix_mat_free(c, &ramp);
        }
        krn_close(c);
    }
}

static void without_the_library_our_own_kernels_serve(void **state)
{
    const char *was = getenv("TOLLGATE_CUBLASLT");
    char *kept = was ? strdup(was) : NULL;

    assert_int_equal(setenv("TOLLGATE_CUBLASLT", "none", 1), 0);
    many_tokens_of_every_type(state);
    three_matrices_of_one_call(state);
    results_and_matrices_side_by_side(state);
    gated_units_of_every_type(state);
    shapes_and_types_of_no_kernel_in_particular(state);
    if (kept)
        assert_int_equal(setenv("TOLLGATE_CUBLASLT", kept, 1), 0);
    else
        assert_int_equal(unsetenv("TOLLGATE_CUBLASLT"), 0);
    free(kept);
}

/* The bytes of token <at> of <m> tokens that begin at row <from> of <x>. */
static uint8_t *token_of(struct krn_ctx *c, const struct mat *w,
                         const struct acts *x, size_t from, size_t m, size_t at)
{
    struct outs o = lfix_outs(c, KRN_AS_F32, m, w->n_out, w->n_out);
    struct krn_prod p = {w->dev, NULL, o.dev, o.ldy, KRN_AS_F32};
    uint8_t *y = malloc(w->n_out * 4);
    size_t size = gcheck_size(krn_act(c));

    assert_non_null(y);
    assert_int_equal(c->dev->linear(c, (char *)x->dev + from * x->ldx * size,
                                    x->ldx, (unsigned)m, 1, &p),
                     KRN_OK);
    lfix_outs_get(c, &o, w->n_out);
    memcpy(y, (uint8_t *)o.host + at * w->n_out * 4, w->n_out * 4);
    lfix_outs_free(c, &o);
    return y;
}

/* Token <at> of <x> alone and among <m> others from row <from> on. */
static void same_bits(struct krn_ctx *c, const struct mat *w,
                      const struct acts *x, size_t at, size_t from, size_t m)
{
    uint8_t *a = token_of(c, w, x, at, 1, 0);
    uint8_t *b = token_of(c, w, x, from, m, at - from);

    if (memcmp(a, b, w->n_out * 4) != 0)
        fail_msg("%s: token %zu of %zu differs", krn_dtype_name(w->t),
                 at - from, m);
    free(a);
    free(b);
}

static void a_token_gets_the_same_bits_in_any_company(void **state)
{
    (void)state;
    for (size_t i = 0; i < LFIX_KINDS; i++)
        for (size_t k = 512; k < 8192; k += 5632) {
            struct krn_ctx *c = lfix_opened(lfix_kinds[i].act, false);
            struct mat w = lfix_mat(c, lfix_kinds[i].t, RANDOM, 35, k);
            struct acts x = lfix_acts(c, 12, k, k);

            for (size_t m = 2; m <= 8; m++)
                same_bits(c, &w, &x, 4, m < 5 ? 5 - m : 4 - m % 4, m);
            lfix_acts_free(c, &x);
            lfix_mat_free(c, &w);
            krn_close(c);
        }
}

static void deterministic_results_do_not_depend_on_the_number(void **state)
{
    (void)state;
    for (size_t i = 0; i < LFIX_KINDS; i++)
        for (size_t k = 256; k < 8192; k += 5632) {
            struct krn_ctx *c = lfix_opened(lfix_kinds[i].act, true);
            struct mat w = lfix_mat(c, lfix_kinds[i].t, RANDOM, 19, k);
            struct mat u = lfix_mat(c, lfix_kinds[i].t, RANDOM, 19, k);
            struct acts x = lfix_acts(c, 75, k, k);
            const enum krn_as as = KRN_AS_ADDED;

            same_bits(c, &w, &x, 9, 0, 10);
            same_bits(c, &w, &x, 70, 5, 70);
            lfix_product(c, 1, &w, &as, 27, true, 0);
            lfix_gated(c, &w, &u, 27);
            lfix_acts_free(c, &x);
            lfix_mat_free(c, &w);
            lfix_mat_free(c, &u);
            krn_close(c);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_tokens_of_every_type),
        cmocka_unit_test(many_tokens_of_every_type),
        cmocka_unit_test(long_rows_are_summed_in_slices),
        cmocka_unit_test(three_matrices_of_one_call),
        cmocka_unit_test(results_and_matrices_side_by_side),
        cmocka_unit_test(gated_units_of_every_type),
        cmocka_unit_test(shapes_and_types_of_no_kernel_in_particular),
        cmocka_unit_test(without_the_library_our_own_kernels_serve),
        cmocka_unit_test(a_permuted_operand_would_show),
        cmocka_unit_test(a_token_gets_the_same_bits_in_any_company),
        cmocka_unit_test(deterministic_results_do_not_depend_on_the_number),
    };

    if (!fakecuda_use())
        return FAKECUDA_SKIP;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
