/* tk_cuda_blas.c - Products by cuBLASLt, or by what stands in for it: against
 * products in double precision, and that plans are asked for, measured and kept
 * as blas.h says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/cuda/blas_priv.h"
#include "kernels/cuda/tolerance.h"
#include "kernels/fakecuda.h"
#include "kernels/gcheck.h"
#include "kernels/krn.h"
#include "kernels/krn_priv.h"

/* What the rows of y hold before a product, and past its columns after it. */
#define FILL 7.5

/* A context, and a product whose operands are in its memory. */
struct fix {
    struct krn_ctx *c;
    struct cuda *d;
    struct blas *b;
    struct blas_gemm g;
    double *x, *w, *bias; /* as the device has them, rows m, n, 1 */
    void *mem[4];
    uint32_t seed;
};

static double draw(struct fix *f)
{
    f->seed = f->seed * 1664525u + 1013904223u;
    return ((double)(f->seed >> 8) / 0x800000 - 1) * 0.5;
}

static void blas_make(struct fix *f)
{
    char why[512] = "";
    enum krn_status st = blas_open(f->d, NULL, why, sizeof(why), &f->b);

    if (st != KRN_OK)
        fail_msg("%s", why);
}

static int setup(void **state)
{
    struct fix *f = calloc(1, sizeof(*f));
    char why[512] = "";
    struct krn_opts o = {
        .device = "cuda:0", .why = why, .why_bytes = sizeof(why)};

    assert_non_null(f);
    f->seed = 11;
    if (krn_open(&o, &f->c) != KRN_OK)
        fail_msg("%s", why);
    f->d = f->c->cuda;
    blas_make(f);
    *state = f;
    return 0;
}

static void drop(struct fix *f)
{
    for (int i = 0; i < 4; i++) {
        krn_free(f->c, f->mem[i]);
        f->mem[i] = NULL;
    }
    free(f->x);
    free(f->w);
    free(f->bias);
    f->x = f->w = f->bias = NULL;
}

static int teardown(void **state)
{
    struct fix *f = *state;

    drop(f);
    blas_close(f->b);
    krn_close(f->c);
    free(f);
    return 0;
}

/* <rows> rows of <n> numbers, <ld> apart, on the device, and as they are there
 * in *out (rows, n). <mem> slot <i>. */
static CUdeviceptr matrix(struct fix *f, int i, enum krn_dtype t, size_t rows,
                          size_t n, size_t ld, double **out)
{
    size_t bytes = rows * ld * gcheck_size(t);
    char *host = malloc(bytes);
    double *v = malloc(rows * n * sizeof(*v));

    assert_non_null(host);
    assert_non_null(v);
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < ld; j++) {
            double x = j < n ? gcheck_round(t, draw(f)) : NAN;

            gcheck_set(t, host, r * ld + j, x);
            if (j < n)
                v[r * n + j] = x;
        }
    }
    f->mem[i] = krn_alloc(f->c, bytes);
    assert_non_null(f->mem[i]);
    assert_int_equal(krn_put(f->c, f->mem[i], host, bytes), KRN_OK);
    free(host);
    *out = v;
    return (CUdeviceptr)(uintptr_t)f->mem[i];
}

/* Fill y. */
static void y_fill(struct fix *f)
{
    size_t n = f->g.m * f->g.ldy;
    void *host = malloc(n * gcheck_size(f->g.out));

    assert_non_null(host);
    for (size_t i = 0; i < n; i++)
        gcheck_set(f->g.out, host, i, FILL);
    assert_int_equal(krn_put(f->c, f->mem[2], host, n * gcheck_size(f->g.out)),
                     KRN_OK);
    free(host);
}

/* Make the operands of f->g, whose numbers are set; rows of x and w have <pad>
 * elements more than they need, those of y, too. */
static void make(struct fix *f, bool bias, size_t pad)
{
    struct blas_gemm *g = &f->g;

    drop(f);
    g->ldx = g->k + pad;
    g->ldw = g->k + pad;
    g->ldy = g->n + pad;
    g->x = matrix(f, 0, g->in, g->m, g->k, g->ldx, &f->x);
    g->w = matrix(f, 1, g->in, g->n, g->k, g->ldw, &f->w);
    g->bias = bias ? matrix(f, 3, KRN_F32, 1, g->n, g->n, &f->bias) : 0;
    f->mem[2] = krn_alloc(f->c, g->m * g->ldy * gcheck_size(g->out));
    assert_non_null(f->mem[2]);
    g->y = (CUdeviceptr)(uintptr_t)f->mem[2];
    y_fill(f);
}

/* Elements of y past its columns are as they were. */
static void padding_check(const struct fix *f, const void *y)
{
    for (size_t r = 0; r < f->g.m; r++) {
        for (size_t j = f->g.n; j < f->g.ldy; j++)
            assert_true(gcheck_get(f->g.out, y, r * f->g.ldy + j) == FILL);
    }
}

/* y is what <added> times it was said to be. */
static void check(struct fix *f, const char *what)
{
    const struct blas_gemm *g = &f->g;
    size_t bytes = g->m * g->ldy * gcheck_size(g->out);
    double *want = calloc(g->m * (size_t)g->n, sizeof(*want));
    void *y = malloc(bytes);
    double rms = 0.5 / sqrt(3);
    struct gcheck_tol tol = gcheck_rows(g->out);

    assert_non_null(want);
    assert_non_null(y);
    for (size_t r = 0; r < g->m; r++) {
        for (size_t j = 0; j < g->n; j++) {
            double s = g->add ? FILL : 0;

            for (size_t i = 0; i < g->k; i++)
                s += f->x[r * g->k + i] * f->w[j * g->k + i];
            want[r * g->n + j] = s + (g->bias ? f->bias[j] : 0);
        }
    }
    tol.atol += TOL_LINEAR_ATOL(g->k, rms, rms);
    tol.rtol += TOL_LINEAR_RTOL;
    tol.nmse += TOL_LINEAR_NMSE;
    assert_int_equal(krn_get(f->c, y, f->mem[2], bytes), KRN_OK);
    assert_true(gcheck_near(
        what, (struct gcheck_out){g->out, y, g->m, g->n, g->ldy}, want, tol));
    padding_check(f, y);
    free(want);
    free(y);
}

static void a_product_is_right_in_every_type(void **state)
{
    static const enum krn_dtype types[][2] = {{KRN_BF16, KRN_BF16},
                                              {KRN_BF16, KRN_F32},
                                              {KRN_F16, KRN_F16},
                                              {KRN_F16, KRN_F32},
                                              {KRN_F32, KRN_F32}};
    static const unsigned ms[] = {1, 9, 16, 17, 65};
    struct fix *f = *state;

    for (size_t t = 0; t < 5; t++) {
        for (size_t i = 0; i < 5; i++) {
            char what[64];

            f->g = (struct blas_gemm){.m = ms[i],
                                      .n = 48,
                                      .k = 96,
                                      .in = types[t][0],
                                      .out = types[t][1]};
            make(f, false, i % 2 == 0 ? 0 : 8);
            snprintf(what, sizeof(what), "%s to %s, %u rows",
                     krn_dtype_name(types[t][0]), krn_dtype_name(types[t][1]),
                     ms[i]);
            assert_int_equal(blas_gemm(f->b, &f->g), KRN_OK);
            check(f, what);
        }
    }
}

static void a_product_is_added_and_a_bias_put_on_top(void **state)
{
    struct fix *f = *state;

    f->g = (struct blas_gemm){
        .m = 20, .n = 40, .k = 64, .in = KRN_BF16, .out = KRN_F32, .add = true};
    make(f, false, 4);
    assert_int_equal(blas_gemm(f->b, &f->g), KRN_OK);
    check(f, "added");
    make(f, true, 0);
    assert_int_equal(blas_gemm(f->b, &f->g), KRN_OK);
    check(f, "added, with a bias");
    f->g.add = false;
    make(f, true, 0);
    assert_int_equal(blas_gemm(f->b, &f->g), KRN_OK);
    check(f, "with a bias");
}

static void what_is_no_product_is_refused(void **state)
{
    struct fix *f = *state;
    struct blas_gemm g;

    f->g = (struct blas_gemm){
        .m = 9, .n = 16, .k = 32, .in = KRN_F16, .out = KRN_F16};
    make(f, true, 0);
    assert_int_equal(blas_gemm(f->b, &f->g), KRN_UNSUPPORTED);
    g = f->g;
    g.bias = 0;
    g.in = g.out = KRN_Q8_0;
    assert_int_equal(blas_gemm(f->b, &g), KRN_UNSUPPORTED);
    g.in = KRN_F16;
    g.out = KRN_BF16;
    assert_int_equal(blas_gemm(f->b, &g), KRN_UNSUPPORTED);
    g.out = KRN_F16;
    g.ldx = 31;
    assert_int_equal(blas_gemm(f->b, &g), KRN_BAD_SHAPE);
    assert_int_equal(blas_tune(f->b, &g), KRN_BAD_SHAPE);
    g.ldx = 32;
    g.m = 0;
    assert_int_equal(blas_gemm(f->b, &g), KRN_BAD_SHAPE);
    assert_false(f->d->dead);
}

/* What the library was asked, and what it shall answer. */
static struct {
    cublasStatus_t (*heuristic)(
        cublasLtHandle_t h, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t la,
        cublasLtMatrixLayout_t lb, cublasLtMatrixLayout_t lc,
        cublasLtMatrixLayout_t ld, cublasLtMatmulPreference_t p, int most,
        cublasLtMatmulHeuristicResult_t *results, int *n);
    unsigned asked;
    unsigned checked;
    unsigned refuse; /* so many checks to come fail */
    cublasStatus_t (*check)(cublasLtHandle_t h, cublasLtMatmulDesc_t d,
                            cublasLtMatrixLayout_t la,
                            cublasLtMatrixLayout_t lb,
                            cublasLtMatrixLayout_t lc,
                            cublasLtMatrixLayout_t ld,
                            const cublasLtMatmulAlgo_t *algo,
                            cublasLtMatmulHeuristicResult_t *result);
} spy;

static cublasStatus_t spy_heuristic(
    cublasLtHandle_t h, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t la,
    cublasLtMatrixLayout_t lb, cublasLtMatrixLayout_t lc,
    cublasLtMatrixLayout_t ld, cublasLtMatmulPreference_t p, int most,
    cublasLtMatmulHeuristicResult_t *results, int *n)
{
    spy.asked++;
    return spy.heuristic(h, d, la, lb, lc, ld, p, most, results, n);
}

static cublasStatus_t spy_check(cublasLtHandle_t h, cublasLtMatmulDesc_t d,
                                cublasLtMatrixLayout_t la,
                                cublasLtMatrixLayout_t lb,
                                cublasLtMatrixLayout_t lc,
                                cublasLtMatrixLayout_t ld,
                                const cublasLtMatmulAlgo_t *algo,
                                cublasLtMatmulHeuristicResult_t *result)
{
    spy.checked++;
    if (spy.refuse > 0) {
        spy.refuse--;
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    return spy.check(h, d, la, lb, lc, ld, algo, result);
}

static void spy_on(struct fix *f)
{
    memset(&spy, 0, sizeof(spy));
    spy.heuristic = f->b->lib.heuristic;
    spy.check = f->b->lib.algo_check;
    f->b->lib.heuristic = spy_heuristic;
    f->b->lib.algo_check = spy_check;
}

static void a_bucket_is_asked_for_once(void **state)
{
    struct fix *f = *state;

    spy_on(f);
    f->g =
        (struct blas_gemm){.n = 48, .k = 64, .in = KRN_BF16, .out = KRN_BF16};
    for (unsigned m = 33; m <= 64; m += 31) {
        f->g.m = m;
        make(f, false, 0);
        assert_int_equal(blas_gemm(f->b, &f->g), KRN_OK);
        check(f, "of one bucket");
        assert_int_equal(spy.asked, 1);
    }
    /* The same rows again need no check. */
    spy.checked = 0;
    assert_int_equal(blas_gemm(f->b, &f->g), KRN_OK);
    assert_int_equal(spy.checked, 0);
    f->g.m = 65;
    make(f, false, 0);
    assert_int_equal(blas_gemm(f->b, &f->g), KRN_OK);
    assert_int_equal(spy.asked, 2);
}

static void rows_that_the_bucket_fails_are_asked_for_apart(void **state)
{
    struct fix *f = *state;
    struct blas_key key;

    f->g = (struct blas_gemm){
        .m = 64, .n = 48, .k = 64, .in = KRN_BF16, .out = KRN_BF16};
    make(f, false, 0);
    assert_int_equal(blas_gemm(f->b, &f->g), KRN_OK);
    key = blas_key_of(&f->g);
    spy_on(f);
    spy.refuse = blas_plan_get(f->b, &key)->n_algo;
    f->g.m = 50;
    make(f, false, 0);
    assert_int_equal(blas_gemm(f->b, &f->g), KRN_OK);
    assert_int_equal(spy.asked, 1);
    assert_int_equal(spy.refuse, 0);
    check(f, "asked for apart");
    /* With nothing that does, another product's way is to be found. */
    spy.refuse = 1000;
    f->g.m = 51;
    make(f, false, 0);
    assert_int_equal(blas_gemm(f->b, &f->g), KRN_UNSUPPORTED);
    assert_false(f->d->dead);
}

/* Record f->g and run what was recorded. */
static enum krn_status record(struct fix *f)
{
    const struct drv *v = f->d->drv;
    enum krn_status st;
    CUgraph graph = NULL;
    CUgraphExec exec = NULL;

    assert_int_equal(
        v->capture_begin(f->d->compute, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
        CUDA_SUCCESS);
    f->d->recording = true;
    st = blas_gemm(f->b, &f->g);
    f->d->recording = false;
    assert_int_equal(v->capture_end(f->d->compute, &graph), CUDA_SUCCESS);
    assert_int_equal(v->graph_instantiate(&exec, graph, 0), CUDA_SUCCESS);
    y_fill(f);
    if (st == KRN_OK)
        assert_int_equal(v->graph_launch(exec, f->d->compute), CUDA_SUCCESS);
    assert_int_equal(krn_sync(f->c), KRN_OK);
    v->graph_exec_destroy(exec);
    v->graph_destroy(graph);
    return st;
}

static void recordings_never_ask(void **state)
{
    struct fix *f = *state;

    spy_on(f);
    f->g = (struct blas_gemm){
        .m = 16, .n = 64, .k = 64, .in = KRN_BF16, .out = KRN_F32};
    make(f, false, 0);
    assert_int_equal(record(f), KRN_UNSUPPORTED);
    assert_int_equal(spy.asked, 0);
    assert_int_equal(blas_gemm(f->b, &f->g), KRN_OK);
    assert_int_equal(spy.asked, 1);
    assert_int_equal(record(f), KRN_OK);
    check(f, "recorded");
    /* Rows of another bucket borrow. */
    f->g.m = 24;
    make(f, false, 0);
    assert_int_equal(record(f), KRN_OK);
    assert_int_equal(spy.asked, 1);
    check(f, "recorded by a plan of other rows");
    assert_int_equal(blas_gemm(f->b, &f->g), KRN_OK);
    assert_int_equal(spy.asked, 2);
}

/* A path of a file that is not there. */
static void name_make(char *path, size_t bytes)
{
    snprintf(path, bytes, "tk_cuda_blas.%ld.plans", (long)getpid());
    unlink(path);
}

static void reopen(struct fix *f)
{
    blas_close(f->b);
    blas_make(f);
}

/* Measure f->g for 16 and 32 rows. */
static void tune(struct fix *f)
{
    f->g = (struct blas_gemm){
        .m = 32, .n = 64, .k = 64, .in = KRN_BF16, .out = KRN_BF16};
    make(f, false, 0);
    assert_int_equal(blas_tune(f->b, &f->g), KRN_OK);
    f->g.m = 16;
    assert_int_equal(blas_tune(f->b, &f->g), KRN_OK);
}

static void what_was_measured_is_kept(void **state)
{
    struct fix *f = *state;
    struct blas_key key;
    cublasLtMatmulAlgo_t first;
    char path[64];

    name_make(path, sizeof(path));
    assert_int_equal(blas_plans_load(f->b, path), 0);
    assert_true(blas_plans_save(f->b, path));
    assert_int_equal(access(path, F_OK), -1);
    tune(f);
    key = blas_key_of(&f->g);
    first = blas_plan_get(f->b, &key)->algo[0];
    assert_true(blas_plans_save(f->b, path));
    reopen(f);
    assert_int_equal(blas_plans_load(f->b, path), 2);
    spy_on(f);
    assert_int_equal(blas_tune(f->b, &f->g), KRN_OK);
    assert_int_equal(spy.asked + spy.checked, 0);
    assert_memory_equal(&blas_plan_get(f->b, &key)->algo[0], &first,
                        sizeof(first));
    assert_int_equal(blas_gemm(f->b, &f->g), KRN_OK);
    assert_int_equal(spy.asked, 0);
    f->g.m = 32;
    y_fill(f);
    assert_int_equal(blas_gemm(f->b, &f->g), KRN_OK);
    check(f, "by a plan of the file");
    unlink(path);
}

static void what_two_have_measured_is_kept_together(void **state)
{
    struct fix *f = *state;
    struct blas *first = f->b;
    char path[64];

    name_make(path, sizeof(path));
    tune(f);
    assert_true(blas_plans_save(f->b, path));
    blas_make(f);
    f->g.m = 100;
    make(f, false, 0);
    assert_int_equal(blas_tune(f->b, &f->g), KRN_OK);
    assert_true(blas_plans_save(f->b, path));
    reopen(f);
    assert_int_equal(blas_plans_load(f->b, path), 3);
    blas_close(first);
    unlink(path);
}

/* Write the first <n> bytes of <text> with byte <at> changed to <path>. */
static void spoil(const char *path, const char *text, size_t n, size_t at)
{
    FILE *out = fopen(path, "w");

    assert_non_null(out);
    for (size_t i = 0; i < n; i++)
        fputc(i == at ? text[i] ^ 1 : text[i], out);
    fclose(out);
}

static void a_spoilt_file_gives_nothing_and_is_rewritten(void **state)
{
    struct fix *f = *state;
    char path[64];
    char text[8192];
    FILE *in;
    size_t n;

    name_make(path, sizeof(path));
    tune(f);
    assert_true(blas_plans_save(f->b, path));
    in = fopen(path, "r");
    assert_non_null(in);
    n = fread(text, 1, sizeof(text), in);
    fclose(in);
    assert_true(n > 100 && n < sizeof(text));
    reopen(f);
    for (size_t at = 0; at < n; at += 7) {
        spoil(path, text, n, at);
        assert_int_equal(blas_plans_load(f->b, path), 0);
    }
    for (size_t len = 0; len < n - 1; len += 5) {
        spoil(path, text, len, n);
        assert_int_equal(blas_plans_load(f->b, path), 0);
    }
    tune(f);
    assert_true(blas_plans_save(f->b, path));
    reopen(f);
    assert_int_equal(blas_plans_load(f->b, path), 2);
    unlink(path);
    assert_false(f->b->unsaved);
    tune(f);
    f->g.m = 1;
    f->g.add = true;
    assert_int_equal(blas_tune(f->b, &f->g), KRN_OK);
    assert_false(blas_plans_save(f->b, "/nonexistent/folder/plans"));
}

static void a_library_that_is_not_wanted_is_not_found(void **state)
{
    struct fix *f = *state;
    char *was = getenv("TOLLGATE_CUBLASLT");
    char why[512] = "";
    struct blas *b = NULL;

    was = was ? strdup(was) : NULL;
    setenv("TOLLGATE_CUBLASLT", "none", 1);
    assert_int_equal(blas_open(f->d, NULL, why, sizeof(why), &b),
                     KRN_UNSUPPORTED);
    assert_null(b);
    assert_non_null(strstr(why, "TOLLGATE_CUBLASLT"));
    if (was)
        setenv("TOLLGATE_CUBLASLT", was, 1);
    else
        unsetenv("TOLLGATE_CUBLASLT");
    free(was);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_product_is_right_in_every_type),
        TEST(a_product_is_added_and_a_bias_put_on_top),
        TEST(what_is_no_product_is_refused),
        TEST(a_bucket_is_asked_for_once),
        TEST(rows_that_the_bucket_fails_are_asked_for_apart),
        TEST(recordings_never_ask),
        TEST(what_was_measured_is_kept),
        TEST(what_two_have_measured_is_kept_together),
        TEST(a_spoilt_file_gives_nothing_and_is_rewritten),
        TEST(a_library_that_is_not_wanted_is_not_found),
    };

    if (!fakecuda_use())
        return FAKECUDA_SKIP;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
