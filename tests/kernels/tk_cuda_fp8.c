/* tk_cuda_fp8.c - Weights of 8-bit floats on a GPU, or on its emulator: how
 * they are rounded and where they lie, that every code is read right, and a
 * model of them against the same numbers as floats. */
#include <math.h>
#include <stdlib.h>

#include "kernels/cuda/e4m3.h"
#include "kernels/cuda/tile.cuh"
#include "kernels/cuda/tolerance.h"
#include "kernels/fakecuda.h"
#include "kernels/gfix.h"
#include "kernels/kfix.h"
#include "kernels/krn_priv.h"
#include "kernels/lfix.h"
#include "kernels/tfix.h"
#include "lib/graphrig.h"
#include "unit/cmocka_all.h"

static uint64_t seed = 5;

/* --- rounding ------------------------------------------------------------- */

/* The code nearest to <v>, the even one of two as near; found by looking at
 * all. */
static unsigned nearest(double v)
{
    unsigned best = 0;
    double off = HUGE_VAL;

    for (unsigned code = 0; code < 0x7f; code++) {
        double d = fabs(fabs(v) - tfix_e4m3(code));

        if (d < off || (d == off && code % 2 == 0)) {
            off = d;
            best = code;
        }
    }
    return best | (signbit(v) ? 0x80U : 0);
}

static void is_nearest(float v)
{
    if (e4m3_of_f32(v) != nearest((double)v))
        fail_msg("%a: 0x%02x, want 0x%02x", (double)v, e4m3_of_f32(v),
                 nearest((double)v));
}

static void numbers_become_the_nearest_code(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 0x7f; code++) {
        float v = (float)tfix_e4m3(code);
        float next = code < 0x7e ? (float)tfix_e4m3(code + 1) : 480;
        float middle = (v + next) / 2;
        const float at[] = {
            v,      nextafterf(v, 500),    nextafterf(v, -1),
            middle, nextafterf(middle, 0), nextafterf(middle, 500)};

        assert_int_equal(e4m3_of_f32(v), code);
        for (size_t i = 0; i < sizeof(at) / sizeof(*at); i++) {
            is_nearest(at[i]);
            is_nearest(-at[i]);
        }
    }
    for (unsigned i = 0; i < 100000; i++)
        is_nearest(kfix_normal(&seed) * ldexpf(1, (int)(i % 24) - 14));
}

static void no_number_becomes_nan(void **state)
{
    static const float large[] = {448, 464, 465, 1e6F, 3.4e38F, INFINITY};

    (void)state;
    for (size_t i = 0; i < sizeof(large) / sizeof(*large); i++) {
        assert_int_equal(e4m3_of_f32(large[i]), 0x7e);
        assert_int_equal(e4m3_of_f32(-large[i]), 0xfe);
    }
    assert_int_equal(e4m3_of_f32(NAN), 0);
    assert_int_equal(e4m3_of_f32(-NAN), 0);
    assert_int_equal(e4m3_of_f32(1e-40F), 0);
}

/* --- packing -------------------------------------------------------------- */

/* No byte of the tiles is a NaN, and each element is off by half a step at
 * most: 2^-4 of itself, 2^-10 of a row's 448th near 0. */
static void one_matrix(enum krn_dtype t, size_t n_out, size_t n_in)
{
    void *rows = kfix_rows(t, n_out, n_in, &seed);
    size_t bytes, bytes2, tiles = (n_in + 255) / 256 * TILE_FP8_BYTES;
    uint8_t *p = tfix_packed(t, KRN_FP8, n_out, n_in, rows, 0, &bytes);
    uint8_t *q = tfix_packed(t, KRN_FP8, n_out, n_in, rows, 1, &bytes2);
    double *want = calloc(n_in, sizeof(*want));

    assert_non_null(want);
    assert_int_equal(bytes, (n_out + 7) / 8 * (tiles + TILE_FP8_TAIL));
    assert_int_equal(bytes, bytes2);
    assert_memory_equal(p, q, bytes);
    for (size_t i = 0; i < bytes; i++)
        if (i % (tiles + TILE_FP8_TAIL) < tiles)
            assert_true((p[i] & 0x7f) != 0x7f);
    for (size_t r = 0; r < n_out; r++) {
        double most = 0;

        kfix_widen(t, (uint8_t *)rows + r * kfix_row_bytes(t, n_in), n_in,
                   want);
        for (size_t k = 0; k < n_in; k++)
            most = fmax(most, fabs(want[k]));
        for (size_t k = 0; k < n_in; k++) {
            double got = tfix_worth(KRN_FP8, p, n_in, r, k);
            double off = fmax(fabs(want[k]) * 0x1p-4, most / 448 * 0x1p-10);

            if (!(fabs(got - want[k]) <= off * (1 + 1e-6)))
                fail_msg("row %zu k %zu: %g, want %g", r, k, got, want[k]);
            if (fabs(want[k]) == most)
                assert_true(fabs(got - want[k]) <= 1e-6 * most);
        }
    }
    free(want);
    free(q);
    free(p);
    free(rows);
}

static void packed_elements_are_near_those_of_the_file(void **state)
{
    static const enum krn_dtype types[] = {KRN_F32, KRN_F16, KRN_BF16};

    (void)state;
    for (size_t i = 0; i < 3; i++)
        for (size_t n_out = 1; n_out < 20; n_out += 6) {
            one_matrix(types[i], n_out, 8);
            one_matrix(types[i], n_out, 256);
            one_matrix(types[i], n_out, 840);
        }
}

static void rows_of_nothing_and_of_too_much(void **state)
{
    enum { N_IN = 16, N_OUT = 5 };
    float w[N_OUT * N_IN] = {0}; /* row 0 is of zeros */
    size_t bytes;
    uint8_t *p;

    (void)state;
    for (size_t k = 0; k < N_IN; k++) {
        w[N_IN + k] = 1e-38F;
        w[2 * N_IN + k] = 1;
        w[3 * N_IN + k] = 3e38F;
    }
    w[2 * N_IN + 3] = NAN;
    w[4 * N_IN + 1] = INFINITY;
    p = tfix_packed(KRN_F32, KRN_FP8, N_OUT, N_IN, w, 0, &bytes);
    assert_int_equal(bytes, TILE_FP8_BYTES + TILE_FP8_TAIL);
    for (size_t i = 0; i < TILE_FP8_BYTES; i++)
        assert_true((p[i] & 0x7f) != 0x7f);
    for (size_t k = 0; k < N_IN; k++) {
        assert_true(tfix_worth(KRN_FP8, p, N_IN, 0, k) == 0);
        assert_true(tfix_worth(KRN_FP8, p, N_IN, 1, k) == 0);
        assert_true(fabs(tfix_worth(KRN_FP8, p, N_IN, 2, k) - (k != 3)) < 1e-6);
        assert_true(fabs(tfix_worth(KRN_FP8, p, N_IN, 3, k) / 3e38 - 1) < 1e-6);
        assert_true(isfinite(tfix_worth(KRN_FP8, p, N_IN, 4, k)));
    }
    for (size_t r = 0; r < 8; r++) /* beyond the matrix */
        for (size_t k = 0; k < 256; k++)
            if (r >= N_OUT || k >= N_IN)
                assert_true(tfix_worth(KRN_FP8, p, N_IN, r, k) == 0);
    free(p);
}

/* --- products ------------------------------------------------------------- */

/* Code (k + 31 r) % 256 at k of row r, 0 for NaN; the scale of a row is 2^-3.
 */
static float coded(size_t r, size_t k)
{
    unsigned code = (unsigned)(k + 31 * r) % 256;

    return (code & 0x7f) == 0x7f ? 0 : (float)tfix_e4m3(code) / 8;
}

/* Products of the unit matrix, <m> tokens at a time: column k of w, exactly. */
static void codes_through(struct krn_ctx *c, const struct krn_weight *w,
                          size_t m)
{
    struct acts x = lfix_acts(c, 256, 256, 256);
    struct outs o = lfix_outs(c, KRN_AS_F32, 256, 24, 24);

    memset(x.host, 0, x.bytes);
    for (size_t k = 0; k < 256; k++)
        gcheck_set(KRN_F16, x.host, k * 256 + k, 1);
    assert_int_equal(krn_put(c, x.dev, x.host, x.bytes), KRN_OK);
    for (size_t at = 0; at < 256; at += m) {
        struct krn_prod p = {w, NULL, (float *)o.dev + at * 24, 24, KRN_AS_F32};

        assert_int_equal(c->dev->linear(c, (uint16_t *)x.dev + at * 256, 256,
                                        (unsigned)m, 1, &p),
                         KRN_OK);
    }
    lfix_outs_get(c, &o, 24);
    for (size_t j = 0; j < 256 * 24; j++)
        if (((float *)o.host)[j] != coded(j % 24, j / 24))
            fail_msg("%zu tokens, row %zu k %zu: %g, want %g", m, j % 24,
                     j / 24, (double)((float *)o.host)[j],
                     (double)coded(j % 24, j / 24));
    lfix_outs_free(c, &o);
    lfix_acts_free(c, &x);
}

static void every_code_is_read_right(void **state)
{
    static const size_t ms[] = {1, 8, 16, 32, 64, 256};
    struct krn_ctx *c = lfix_opened(KRN_F16, false);
    float *rows = malloc(24 * 256 * sizeof(*rows));
    struct krn_weight *w;

    (void)state;
    assert_non_null(rows);
    for (size_t i = 0; i < 24 * 256; i++)
        rows[i] = coded(i / 256, i % 256);
    assert_int_equal(krn_weights_fp8(c, true), KRN_OK);
    assert_int_equal(krn_weight_load(c, KRN_F32, 24, 256, rows, &w), KRN_OK);
    for (size_t i = 0; i < sizeof(ms) / sizeof(*ms); i++)
        codes_through(c, w, ms[i]);
    krn_weight_free(c, w);
    krn_close(c);
    free(rows);
}

/* Random weights are those of the host, rounded. */
static void random_weights_are_near_those_of_the_host(void **state)
{
    enum { N_IN = 520, N_OUT = 20, M = 4 };
    struct krn_ctx *c = lfix_opened(KRN_F16, false), *ref;
    const struct krn_opts o = {.device = "ref"};
    struct krn_weight *a, *b;
    struct acts x = lfix_acts(c, M, N_IN, N_IN);
    struct outs out = lfix_outs(c, KRN_AS_F32, M, N_OUT, N_OUT);
    struct mat w = {.t = KRN_FP8, .n_out = N_OUT, .n_in = N_IN};
    float rows[N_OUT * N_IN];
    double want[M * N_OUT];
    int32_t ids[N_OUT];
    struct krn_prod p;

    (void)state;
    assert_int_equal(krn_open(&o, &ref), KRN_OK);
    assert_int_equal(krn_weights_fp8(c, true), KRN_OK);
    assert_int_equal(krn_weight_random(c, KRN_BF16, N_OUT, N_IN, 7, &a),
                     KRN_OK);
    assert_int_equal(a->dtype, KRN_FP8);
    assert_int_equal(krn_weight_random(ref, KRN_F32, N_OUT, N_IN, 7, &b),
                     KRN_OK);
    for (int r = 0; r < N_OUT; r++)
        ids[r] = r;
    assert_int_equal(krn_embed(ref, rows, b, ids, N_OUT), KRN_OK);
    w.w = malloc(sizeof(rows) * 2);
    assert_non_null(w.w);
    for (size_t i = 0; i < (size_t)N_OUT * N_IN; i++)
        w.w[i] = (double)rows[i];
    for (size_t i = 0; i < M * N_OUT; i++)
        want[i] = lfix_dot(&w, x.x + i / N_OUT * N_IN, i % N_OUT, KRN_F32);
    p = (struct krn_prod){a, NULL, out.dev, N_OUT, KRN_AS_F32};
    assert_int_equal(c->dev->linear(c, x.dev, N_IN, M, 1, &p), KRN_OK);
    lfix_outs_get(c, &out, N_OUT);
    /* An element is off by 2^-4 of itself at most, evenly: 7e-4 of squares. */
    assert_true(gcheck_near(
        "FP8", (struct gcheck_out){KRN_F32, out.host, M, N_OUT, N_OUT}, want,
        (struct gcheck_tol){0, 0.15 * lfix_rms(x.x, (size_t)M * N_IN), 2e-3}));
    free(w.w);
    krn_weight_free(c, a);
    krn_weight_free(ref, b);
    lfix_outs_free(c, &out);
    lfix_acts_free(c, &x);
    krn_close(c);
    krn_close(ref);
}

/* --- contexts ------------------------------------------------------------- */

/* What a matrix of <t> with rows of <n_in> is kept as. */
static enum krn_dtype kept_of(struct krn_ctx *c, enum krn_dtype t, size_t n_in)
{
    void *rows = kfix_rows(t, 3, n_in, &seed);
    enum krn_dtype kept;
    struct krn_weight *w;

    assert_int_equal(krn_weight_load(c, t, 3, n_in, rows, &w), KRN_OK);
    kept = w->dtype;
    if (kept == KRN_FP8)
        assert_int_equal(c->dev->embed(c, NULL, w), KRN_UNSUPPORTED);
    krn_weight_free(c, w);
    free(rows);
    return kept;
}

static void a_context_says_what_it_keeps(void **state)
{
    struct krn_ctx *c = lfix_opened(KRN_BF16, false);
    const struct krn_opts o = {.device = "cpu", .threads = 1};

    (void)state;
    assert_string_equal(krn_dtype_name(KRN_FP8), "FP8");
    assert_string_equal(krn_dtype_name(KRN_DTYPE_COUNT), "");
    assert_int_equal(krn_weights_fp8(c, true), KRN_UNSUPPORTED);
    assert_int_equal(krn_act_use(c, KRN_F16), KRN_OK);
    assert_int_equal(kept_of(c, KRN_BF16, 64), KRN_F16);
    assert_int_equal(krn_weights_fp8(c, true), KRN_OK);
    assert_int_equal(kept_of(c, KRN_Q8_0, 64), KRN_Q8_0);
    assert_int_equal(kept_of(c, KRN_BF16, 12), KRN_F16);
    assert_true(gfix_numerics(c, "cuda-f16-v1"));
    assert_int_equal(kept_of(c, KRN_BF16, 64), KRN_FP8);
    assert_int_equal(kept_of(c, KRN_F16, 24), KRN_FP8);
    assert_int_equal(kept_of(c, KRN_F32, 8), KRN_FP8);
    assert_true(gfix_numerics(c, "cuda-f16-fp8-v1"));
    assert_int_equal(krn_weights_fp8(c, false), KRN_OK);
    assert_int_equal(kept_of(c, KRN_BF16, 64), KRN_F16);
    assert_true(gfix_numerics(c, "cuda-f16-fp8-v1"));
    assert_int_equal(krn_act_use(c, KRN_F16), KRN_OK);
    assert_true(gfix_numerics(c, "cuda-f16-v1"));
    krn_close(c);
    c = lfix_opened(KRN_F16, true);
    assert_int_equal(krn_weights_fp8(c, true), KRN_OK);
    assert_int_equal(kept_of(c, KRN_F32, 8), KRN_FP8);
    assert_true(gfix_numerics(c, "cuda-f16-fp8-v1-det"));
    krn_close(c);
    assert_int_equal(krn_open(&o, &c), KRN_OK);
    assert_int_equal(krn_weights_fp8(c, true), KRN_UNSUPPORTED);
    assert_int_equal(krn_weights_fp8(c, false), KRN_OK);
    krn_close(c);
}

/* --- a model -------------------------------------------------------------- */

enum { VOCAB = 320, LONG = 40 };

static struct ggufm_shape shape_of(bool tied)
{
    return (struct ggufm_shape){.arch = "llama",
                                .n_layer = 2,
                                .d_model = 64,
                                .n_head = 4,
                                .n_kv_head = 2,
                                .d_head = 16,
                                .d_ff = 96,
                                .n_vocab = VOCAB,
                                .context = 256,
                                .tied = tied,
                                .dtype = KRN_F32,
                                .seed = 4};
}

/* Round the matrix <t>, which lies in the image <i>. */
static void tensor_round(struct graphrig_image *i, const struct model_tensor *t)
{
    char *at = i->bytes + ((const char *)t->data - i->bytes);
    double *w = tfix_kept_as(t->dtype, KRN_FP8, t->n_out, t->n_in, t->data);

    assert_int_equal(t->dtype, KRN_F32);
    for (size_t k = 0; k < t->n_out * t->n_in; k++) {
        float f = (float)w[k];

        memcpy(at + 4 * k, &f, sizeof(f));
    }
    free(w);
}

/* Round all that graph_opts.fp8 rounds. */
static void image_round(struct graphrig_image *i)
{
    struct model_fault why = {""};
    struct model *m;

    assert_int_equal(model_open_gguf(str_of(i->bytes, i->len), &why, &m),
                     ERR_OK);
    for (unsigned n = 0; n < m->p.n_layer; n++) {
        const struct model_layer *l = &m->layers[n];
        const struct model_tensor *const all[] = {
            &l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down};

        for (size_t k = 0; k < sizeof(all) / sizeof(*all); k++)
            tensor_round(i, all[k]);
    }
    if (!m->p.tied)
        tensor_round(i, &m->output);
    model_close(m);
}

/* Squares of what <got> is off, to squares of <want>. */
static double nmse(const float *got, const float *want)
{
    double off = 0, all = 0;

    for (size_t i = 0; i < VOCAB; i++) {
        off += pow((double)got[i] - (double)want[i], 2);
        all += pow((double)want[i], 2);
    }
    return off / all;
}

/* The model of 8 bits: exact beside the CPU that computes with the rounded
 * numbers as floats, and near the one that has the model's own. */
static void a_model(bool tied)
{
    const struct ggufm_shape shape = shape_of(tied);
    struct graphrig_image own, rounded;
    struct graphrig gpu, cpu, cpu_own;
    float got[VOCAB], again[VOCAB], want[VOCAB], want_own[VOCAB];
    struct model_fault why = {""};
    double e;

    graphrig_image(&own, &shape);
    graphrig_image(&rounded, &shape);
    image_round(&rounded);
    graphrig_open(&cpu, &rounded, "cpu", 1, KRN_F16);
    graphrig_open(&cpu_own, &own, "cpu", 1, KRN_F16);
    graphrig_open_fp8(&gpu, &own, "cuda:0", KRN_F16);
    assert_true(gfix_numerics(gpu.c, "cuda-f16-fp8-v1"));
    graphrig_prompt(&cpu, 0, LONG, LONG, want);
    graphrig_prompt(&cpu_own, 0, LONG, LONG, want_own);
    graphrig_prompt(&gpu, 0, LONG, LONG, got);
    graphrig_prompt(&gpu, 1, LONG, 1, again);
    e = nmse(got, want);
    if (e > 1e-5)
        fail_msg("off by %g", e);
    /* 14 or 15 products in a row at most, 7e-4 each. */
    e = nmse(got, want_own);
    if (e > 15 * 7e-4 || e < 1e-5)
        fail_msg("off by %g of the model's own", e);
    if (gfix_is_fake()) {
        assert_int_equal(graph_revive(gpu.g, &why), ERR_OK);
        assert_true(gfix_numerics(gpu.c, "cuda-f16-fp8-v1"));
        graphrig_prompt(&gpu, 0, LONG, LONG, again);
        assert_memory_equal(got, again, sizeof(got));
    }
    assert_true(graph_fp8_saves(gpu.m) > 3 * 2 * 64 * 96);
    graphrig_close(&gpu);
    graphrig_close(&cpu);
    graphrig_close(&cpu_own);
    graphrig_image_free(&own);
    graphrig_image_free(&rounded);
    assert_int_equal(gfix_live(), 0);
}

static void a_model_says_what_its_rounded_numbers_say(void **state)
{
    (void)state;
    a_model(true);
    a_model(false);
}

static void the_cpu_refuses_them(void **state)
{
    const struct krn_opts o = {.device = "cpu", .threads = 1};
    const struct ggufm_shape shape = shape_of(true);
    const struct graph_opts go = {
        .kv_dtype = KRN_F16, .fp8 = true, .n_pages = 4, .max_rows = 16};
    struct model_fault why = {""};
    struct graphrig_image i;
    struct krn_ctx *c;
    struct graph *g;
    struct model *m;

    (void)state;
    graphrig_image(&i, &shape);
    assert_int_equal(krn_open(&o, &c), KRN_OK);
    assert_int_equal(model_open_gguf(str_of(i.bytes, i.len), &why, &m), ERR_OK);
    assert_int_equal(graph_new(c, m, &go, &why, &g), ERR_REFUSED);
    assert_non_null(strstr(why.text, "write weights: auto"));
    model_close(m);
    krn_close(c);
    graphrig_image_free(&i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_become_the_nearest_code),
        cmocka_unit_test(no_number_becomes_nan),
        cmocka_unit_test(packed_elements_are_near_those_of_the_file),
        cmocka_unit_test(rows_of_nothing_and_of_too_much),
        cmocka_unit_test(every_code_is_read_right),
        cmocka_unit_test(random_weights_are_near_those_of_the_host),
        cmocka_unit_test(a_context_says_what_it_keeps),
        cmocka_unit_test(a_model_says_what_its_rounded_numbers_say),
        cmocka_unit_test(the_cpu_refuses_them),
    };

    if (!fakecuda_use())
        return FAKECUDA_SKIP;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
