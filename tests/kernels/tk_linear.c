/* tk_linear.c - The products of each instruction set against the scalar ones,
 * bit for bit: over types, shapes, ways to cut the rows into calls, numbers of
 * threads and company of other outs. What this processor lacks is skipped. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kfix.h"
#include "kernels/krn.h"

static const char *const isas[] = {"scalar", "avx2", "avx512"};

/* A context, or NULL when the processor has no such set. */
static struct krn_ctx *open_cpu(const char *isa, unsigned threads)
{
    struct krn_opts o = {.isa = isa, .threads = threads};
    struct krn_ctx *c = NULL;
    enum krn_status st = krn_open(&o, &c);

    if (st == KRN_UNSUPPORTED)
        print_message("no %s here\n", isa);
    else
        assert_int_equal(st, KRN_OK);
    return c;
}

static struct krn_ctx *open_ref(void)
{
    struct krn_opts o = {.device = "ref", .threads = 2};
    struct krn_ctx *c = NULL;

    assert_int_equal(krn_open(&o, &c), KRN_OK);
    return c;
}

/* A product to be computed in several ways. */
struct product {
    enum krn_dtype type;
    size_t n_out;
    size_t n_in;
    unsigned m;
    size_t ldx;
    size_t ldy;
    void *rows;
    float *x;
    float *bias;
    float *want; /* (m, n_out), by the scalar backend */
    float *y;    /* (m, ldy) */
};

/* All of <p> in calls of <chunk> rows, the first one shorter; y elsewhere is
 * left as it is. */
static void product_run(struct krn_ctx *c, const struct product *p,
                        unsigned chunk, float *y, size_t ldy)
{
    struct krn_weight *w = NULL;
    unsigned some = (chunk + 1) / 2;

    assert_int_equal(
        krn_weight_load(c, p->type, p->n_out, p->n_in, p->rows, &w), KRN_OK);
    for (unsigned r = 0; r < p->m; r += some, some = chunk) {
        struct krn_out o = {
            .w = w, .bias = p->bias, .y = y + r * ldy, .ldy = ldy};

        some = some > p->m - r ? p->m - r : some;
        assert_int_equal(krn_linear(c, p->x + r * p->ldx, p->ldx, some, 1, &o),
                         KRN_OK);
    }
    krn_weight_free(c, w);
}

static void product_new(struct product *p, enum krn_dtype t, size_t n_out,
                        size_t n_in, unsigned m)
{
    uint64_t seed = 1 + n_out * 131 + n_in * 7 + t;
    struct krn_ctx *c = open_ref();

    *p = (struct product){.type = t, .n_out = n_out, .n_in = n_in, .m = m};
    p->ldx = n_in + 3;
    p->ldy = n_out + 5;
    p->rows = kfix_rows(t, n_out, n_in, &seed);
    p->x = kfix_x(m, n_in, p->ldx, &seed);
    p->bias = n_out % 2 == 0 ? kfix_x(1, n_out, n_out, &seed) : NULL;
    p->want = calloc(m * n_out, sizeof(float));
    p->y = calloc(m * p->ldy, sizeof(float));
    product_run(c, p, m, p->want, n_out);
    krn_close(c);
}

static void product_free(struct product *p)
{
    free(p->rows);
    free(p->x);
    free(p->bias);
    free(p->want);
    free(p->y);
}

static void product_check(const struct product *p, struct krn_ctx *c,
                          unsigned chunk)
{
    memset(p->y, 0xa5, p->m * p->ldy * sizeof(float));
    product_run(c, p, chunk, p->y, p->ldy);
    for (size_t r = 0; r < p->m; r++) {
        const float *y = p->y + r * p->ldy;

        for (size_t n = 0; n < p->n_out; n++) {
            if (memcmp(&y[n], &p->want[r * p->n_out + n], 4) != 0)
                fail_msg("%s, %s %zux%zu, %u rows by %u: row %zu out %zu is "
                         "%a, not %a",
                         krn_describe(c), krn_dtype_name(p->type), p->n_out,
                         p->n_in, p->m, chunk, r, n, (double)y[n],
                         (double)p->want[r * p->n_out + n]);
        }
        for (size_t n = p->n_out; n < p->ldy; n++) {
            uint32_t u;

            memcpy(&u, &y[n], 4);
            assert_int_equal(u, 0xa5a5a5a5U);
        }
    }
}

/* Every way to compute <p> that this machine has. The scalar code is what <p>
 * was computed with: once is enough to see that chunks and threads do nothing
 * to it. */
static void product_ways(const struct product *p, const unsigned *chunks,
                         size_t n_chunks)
{
    struct krn_ctx *scalar = open_cpu(isas[0], 3);

    product_check(p, scalar, chunks[n_chunks - 1]);
    krn_close(scalar);
    for (size_t i = 1; i < sizeof(isas) / sizeof(isas[0]); i++) {
        for (unsigned threads = 1; threads <= 3; threads++) {
            struct krn_ctx *c = open_cpu(isas[i], threads);

            for (size_t k = 0; c && k < n_chunks; k++)
                product_check(p, c, chunks[k]);
            krn_close(c);
        }
    }
}

static void shapes_of_floats(void **state)
{
    static const size_t shapes[][2] = {{1, 1},    {16, 32},  {17, 255},
                                       {33, 256}, {48, 257}, {100, 600},
                                       {64, 2048}};
    static const unsigned chunks[] = {70, 1, 7};
    struct product p;

    (void)state;
    for (int t = KRN_F32; t <= KRN_BF16; t++) {
        for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
            product_new(&p, (enum krn_dtype)t, shapes[i][0], shapes[i][1], 70);
            product_ways(&p, chunks, 3);
            product_free(&p);
        }
    }
}

static void shapes_of_blocks(void **state)
{
    static const size_t shapes[][2] = {{1, 256}, {16, 32},  {31, 64},
                                       {40, 96}, {50, 512}, {96, 2048}};
    static const unsigned chunks[] = {70, 1, 7};
    struct product p;

    (void)state;
    for (int t = KRN_Q8_0; t < KRN_DTYPE_COUNT; t++) {
        for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
            if (shapes[i][1] % krn_dtype_block((enum krn_dtype)t) != 0)
                continue;
            product_new(&p, (enum krn_dtype)t, shapes[i][0], shapes[i][1], 70);
            product_ways(&p, chunks, 3);
            product_free(&p);
        }
    }
}

/* Every number of rows up to where all paths have been taken. */
static void every_number_of_rows(void **state)
{
    unsigned chunks[40];
    struct product p;

    (void)state;
    for (unsigned i = 0; i < 40; i++)
        chunks[i] = i + 1;
    for (int t = 0; t < KRN_DTYPE_COUNT; t++) {
        product_new(&p, (enum krn_dtype)t, 84, 256, 61);
        product_ways(&p, chunks, 40);
        product_free(&p);
    }
}

/* Rows for several blocks of tiles, and more than are packed at once. */
static void many_rows(void **state)
{
    static const unsigned chunks[] = {512, 1100, 300};
    struct product p;

    (void)state;
    for (int t = 0; t < KRN_DTYPE_COUNT; t++) {
        product_new(&p, (enum krn_dtype)t, 70, 512, 1100);
        product_ways(&p, chunks, 3);
        product_free(&p);
    }
    /* As long as rows of x become too many bytes for one pass. */
    product_new(&p, KRN_Q8_0, 33, 4096, 131);
    product_ways(&p, chunks, 1);
    product_free(&p);
    product_new(&p, KRN_Q4_K, 33, 4096, 131);
    product_ways(&p, chunks, 1);
    product_free(&p);
}

/* All types in one call give what each gives alone. */
static void outs_share_their_rows(void **state)
{
    enum { N_IN = 512, M = 9 };
    struct product p[KRN_DTYPE_COUNT];
    uint64_t seed = 5;
    float *x = kfix_x(M, N_IN, N_IN, &seed);

    (void)state;
    for (int t = 0; t < KRN_DTYPE_COUNT; t++) {
        product_new(&p[t], (enum krn_dtype)t, 20 + (size_t)t * 13, N_IN, M);
        for (size_t r = 0; r < M; r++)
            memcpy(p[t].x + r * p[t].ldx, x + r * N_IN, N_IN * sizeof(float));
    }
    for (size_t i = 0; i < sizeof(isas) / sizeof(isas[0]); i++) {
        struct krn_ctx *c = open_cpu(isas[i], 2);
        struct krn_weight *w[KRN_DTYPE_COUNT] = {NULL};
        struct krn_out o[KRN_DTYPE_COUNT];

        for (int t = 0; c && t < KRN_DTYPE_COUNT; t++) {
            product_run(c, &p[t], M, p[t].want, p[t].n_out);
            assert_int_equal(krn_weight_load(c, p[t].type, p[t].n_out, N_IN,
                                             p[t].rows, &w[t]),
                             KRN_OK);
            o[t] = (struct krn_out){
                .w = w[t], .bias = p[t].bias, .y = p[t].y, .ldy = p[t].n_out};
        }
        if (c)
            assert_int_equal(krn_linear(c, x, N_IN, M, KRN_DTYPE_COUNT, o),
                             KRN_OK);
        for (int t = 0; c && t < KRN_DTYPE_COUNT; t++) {
            assert_memory_equal(p[t].y, p[t].want,
                                M * p[t].n_out * sizeof(float));
            krn_weight_free(c, w[t]);
        }
        krn_close(c);
    }
    for (int t = 0; t < KRN_DTYPE_COUNT; t++)
        product_free(&p[t]);
    free(x);
}

static void embed_check(struct krn_ctx *c, struct krn_ctx *ref,
                        enum krn_dtype t, size_t n_out, size_t n_in)
{
    static const int32_t ids[] = {0, 16, 5, 15, 18, 5};
    uint64_t seed = 3 + t;
    void *rows = kfix_rows(t, n_out, n_in, &seed);
    struct krn_weight *a = NULL;
    struct krn_weight *b = NULL;
    float *y = calloc(6 * n_in, sizeof(*y));
    float *z = calloc(6 * n_in, sizeof(*z));

    assert_int_equal(krn_weight_load(c, t, n_out, n_in, rows, &a), KRN_OK);
    assert_int_equal(krn_weight_load(ref, t, n_out, n_in, rows, &b), KRN_OK);
    assert_int_equal(krn_embed(c, y, a, ids, 6), KRN_OK);
    assert_int_equal(krn_embed(ref, z, b, ids, 6), KRN_OK);
    assert_memory_equal(y, z, 6 * n_in * sizeof(*y));
    krn_weight_free(c, a);
    krn_weight_free(ref, b);
    free(rows);
    free(y);
    free(z);
}

static void rows_come_out_of_panels(void **state)
{
    struct krn_ctx *ref = open_ref();

    (void)state;
    for (size_t i = 0; i < sizeof(isas) / sizeof(isas[0]); i++) {
        struct krn_ctx *c = open_cpu(isas[i], 2);

        for (int t = 0; c && t < KRN_DTYPE_COUNT; t++) {
            embed_check(c, ref, (enum krn_dtype)t, 19, 512);
            if (krn_dtype_block((enum krn_dtype)t) == 1)
                embed_check(c, ref, (enum krn_dtype)t, 19, 301);
        }
        krn_close(c);
    }
    krn_close(ref);
}

/* As <want>, and finite where <finite>; one NaN is as good as another. */
static void row_check(const float *y, const float *want, size_t n, bool finite)
{
    for (size_t k = 0; k < n; k++) {
        if (isnan(want[k]))
            assert_true(isnan(y[k]));
        else
            assert_memory_equal(&y[k], &want[k], 4);
        assert_int_equal(isfinite(want[k]) != 0, finite);
    }
}

/* Extremes of x: what rounds to nothing, what has no scale. A row that is not
 * finite gives what is not finite, and its neighbours are left alone. */
static void rows_that_are_no_numbers(void **state)
{
    static const float odd[] = {INFINITY, -INFINITY, NAN,   1e-45F,   1e-38F,
                                1e-30F,   1e30F,     -0.0F, 0x1p-100F};
    enum { N = sizeof(odd) / sizeof(odd[0]), N_IN = 256, N_OUT = 20 };
    struct product p;

    (void)state;
    for (int t = 0; t < KRN_DTYPE_COUNT; t++) {
        product_new(&p, (enum krn_dtype)t, N_OUT, N_IN, N);
        for (size_t k = 0; k < N * 32; k += 3)
            p.x[k / 32 * p.ldx + 64 + k % 32] = odd[k / 32];
        for (size_t i = 0; i < sizeof(isas) / sizeof(isas[0]); i++) {
            struct krn_ctx *c = open_cpu(isas[i], 1);

            if (!c)
                continue;
            product_run(c, &p, N, i == 0 ? p.want : p.y, N_OUT);
            for (size_t r = 0; i > 0 && r < N; r++)
                row_check(p.y + r * N_OUT, p.want + r * N_OUT, N_OUT, r > 2);
            krn_close(c);
        }
        product_free(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_of_floats),
        cmocka_unit_test(shapes_of_blocks),
        cmocka_unit_test(every_number_of_rows),
        cmocka_unit_test(many_rows),
        cmocka_unit_test(outs_share_their_rows),
        cmocka_unit_test(rows_come_out_of_panels),
        cmocka_unit_test(rows_that_are_no_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
