/* lfix.c - Products on a GPU against sums in double precision. */
#include "kernels/lfix.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/tolerance.h"
#include "kernels/kfix.h"
#include "kernels/krn_priv.h"
#include "kernels/tfix.h"

static uint64_t seed = 99;

/* --- a matrix and activations ------------------------------------------------
 */

/* Rows of floats of a kind: for ONE_HOT row r has one 1 at (7 r + 3) % n_in. */
static void *special_rows(enum krn_dtype t, enum what what, size_t n_out,
                          size_t n_in)
{
    uint8_t *rows = calloc(n_out * n_in, gcheck_size(t));

    assert_non_null(rows);
    for (size_t r = 0; r < n_out; r++)
        for (size_t k = 0; k < n_in; k++)
            gcheck_set(t, rows, r * n_in + k,
                       what == ONE_HOT ? (k == (7 * r + 3) % n_in)
                                       : (double)(r % 61 + 1) / 64);
    return rows;
}

struct mat lfix_mat(struct krn_ctx *c, enum krn_dtype t, enum what what,
                    size_t n_out, size_t n_in)
{
    struct mat m = {.t = t, .n_out = n_out, .n_in = n_in};
    enum krn_dtype from = t == KRN_FP8 ? KRN_BF16 : t;
    void *rows = what == RANDOM ? kfix_rows(from, n_out, n_in, &seed)
                                : special_rows(from, what, n_out, n_in);

    assert_non_null(rows);
    m.w = t == KRN_FP8 ? tfix_kept_as(from, t, n_out, n_in, rows)
                       : tfix_kept(t, krn_act(c), n_out, n_in, rows);
    assert_int_equal(krn_weights_fp8(c, t == KRN_FP8), KRN_OK);
    assert_int_equal(krn_weight_load(c, from, n_out, n_in, rows, &m.dev),
                     KRN_OK);
    assert_int_equal(m.dev->dtype == KRN_FP8, t == KRN_FP8);
    free(rows);
    return m;
}

void lfix_mat_free(struct krn_ctx *c, struct mat *m)
{
    krn_weight_free(c, m->dev);
    free(m->w);
}

struct acts lfix_acts(struct krn_ctx *c, size_t m, size_t n_in, size_t ldx)
{
    struct acts a = {.m = m, .n_in = n_in, .ldx = ldx};
    enum krn_dtype t = krn_act(c);

    a.bytes = (m * ldx + 64) * gcheck_size(t);
    a.host = malloc(a.bytes);
    a.x = malloc(m * n_in * sizeof(*a.x));
    assert_non_null(a.host);
    assert_non_null(a.x);
    memset(a.host, 0xff, a.bytes);
    for (size_t r = 0; r < m; r++)
        for (size_t k = 0; k < n_in; k++) {
            double v = (double)kfix_normal(&seed);

            if (kfix_next(&seed) % 97 == 0)
                v *= 16;
            gcheck_set(t, a.host, r * ldx + k, v);
            a.x[r * n_in + k] = gcheck_get(t, a.host, r * ldx + k);
        }
    a.dev = krn_alloc(c, a.bytes);
    assert_non_null(a.dev);
    assert_int_equal(krn_put(c, a.dev, a.host, a.bytes), KRN_OK);
    return a;
}

void lfix_acts_free(struct krn_ctx *c, struct acts *a)
{
    krn_free(c, a->dev);
    free(a->host);
    free(a->x);
}

double lfix_rms(const double *v, size_t n)
{
    double s = 0;

    for (size_t i = 0; i < n; i++)
        s += v[i] * v[i];
    return sqrt(s / (double)n);
}

/* --- one product
 * --------------------------------------------------------------- */

struct outs lfix_outs(struct krn_ctx *c, enum krn_as as, size_t m, size_t n,
                      size_t ldy)
{
    struct outs o = {.t = as == KRN_AS_ACT ? krn_act(c) : KRN_F32,
                     .m = m,
                     .n = n,
                     .ldy = ldy};

    o.bytes = (m * ldy + 64) * gcheck_size(o.t);
    o.host = malloc(o.bytes);
    o.before = calloc(m * n, sizeof(*o.before));
    assert_non_null(o.host);
    assert_non_null(o.before);
    memset(o.host, 0xff, o.bytes);
    for (size_t i = 0; as == KRN_AS_ADDED && i < m * n; i++) {
        gcheck_set(o.t, o.host, i / n * ldy + i % n,
                   (double)kfix_normal(&seed));
        o.before[i] = gcheck_get(o.t, o.host, i / n * ldy + i % n);
    }
    o.dev = krn_alloc(c, o.bytes);
    assert_non_null(o.dev);
    assert_int_equal(krn_put(c, o.dev, o.host, o.bytes), KRN_OK);
    return o;
}

/* Fetch it; what is between rows, from column <used> on, is still NaN. */
void lfix_outs_get(struct krn_ctx *c, struct outs *o, size_t used)
{
    size_t size = gcheck_size(o->t);

    assert_int_equal(krn_get(c, o->host, o->dev, o->bytes), KRN_OK);
    for (size_t i = 0; i < o->m * o->ldy + 64; i++) {
        const uint8_t *p = (uint8_t *)o->host + i * size;

        if (i < o->m * o->ldy && i % o->ldy < used)
            continue;
        for (size_t b = 0; b < size; b++)
            if (p[b] != 0xff)
                fail_msg("row %zu column %zu was written", i / o->ldy,
                         i % o->ldy);
    }
}

void lfix_outs_free(struct krn_ctx *c, struct outs *o)
{
    krn_free(c, o->dev);
    free(o->host);
    free(o->before);
}

/* x times row <r> of <w>, in double precision; the elements of w rounded to
 * <as> before, F32 for not. */
double lfix_dot(const struct mat *w, const double *x, size_t r,
                enum krn_dtype as)
{
    double s = 0;

    for (size_t k = 0; k < w->n_in; k++) {
        double v = w->w[r * w->n_in + k];

        s += x[k] * (as == KRN_F32 ? v : gcheck_round(as, v));
    }
    return s;
}

/* Whether the matrix is written as floats before the product. */
enum krn_dtype lfix_rounded_to(const struct krn_ctx *c, const struct mat *w,
                               size_t m)
{
    bool tiles = w->t >= KRN_Q8_0;
    size_t few = krn_act(c) == KRN_F16 ? 192 : 8; /* without writing it */

    return tiles && m > few && !c->cuda->deterministic ? krn_act(c) : KRN_F32;
}

/* How far a product may be off that is written as <out>. */
struct gcheck_tol lfix_tol(enum krn_dtype out, const struct mat *w,
                           const struct acts *x)
{
    double atol = TOL_LINEAR_ATOL(w->n_in, lfix_rms(x->x, x->m * x->n_in),
                                  lfix_rms(w->w, w->n_out * w->n_in));
    struct gcheck_tol tol = {TOL_LINEAR_RTOL, atol, TOL_LINEAR_NMSE};

    if (out != KRN_F32) {
        struct gcheck_tol round = gcheck_rows(out);

        tol.rtol += round.rtol;
        tol.atol += round.atol;
        tol.nmse += round.nmse;
    }
    return tol;
}

/* What is written as activations and read again is rounded twice, and sums in
 * another order may be rounded the other way: the largest of <n> numbers moved
 * by the last place. */
static double a_place_of(enum krn_dtype t, const double *v, size_t n)
{
    double most = 0;

    for (size_t i = 0; i < n; i++)
        most = fmax(most, fabs(v[i]));
    return t == KRN_F32 ? 0 : most * (t == KRN_F16 ? 0x1p-11 : 0x1p-8);
}

/* A product of up to three matrices, each with its own kind of output. */
void lfix_product(struct krn_ctx *c, unsigned n, struct mat *w,
                  const enum krn_as *as, size_t m, bool bias, size_t pad)
{
    struct acts x = lfix_acts(c, m, w[0].n_in, w[0].n_in + pad);
    struct krn_prod prods[3];
    struct outs o[3];
    float *b[3] = {NULL, NULL, NULL};
    float *dev_b[3] = {NULL, NULL, NULL};
    char name[100];

    for (unsigned i = 0; i < n; i++) {
        o[i] = lfix_outs(c, as[i], m, w[i].n_out, w[i].n_out + pad);
        if (bias) {
            b[i] = malloc(w[i].n_out * sizeof(float));
            assert_non_null(b[i]);
            for (size_t r = 0; r < w[i].n_out; r++)
                b[i][r] = kfix_normal(&seed);
            dev_b[i] = krn_alloc(c, w[i].n_out * sizeof(float));
            assert_int_equal(
                krn_put(c, dev_b[i], b[i], w[i].n_out * sizeof(float)), KRN_OK);
        }
        prods[i] =
            (struct krn_prod){w[i].dev, dev_b[i], o[i].dev, o[i].ldy, as[i]};
    }
    assert_int_equal(c->dev->linear(c, x.dev, x.ldx, (unsigned)m, n, prods),
                     KRN_OK);
    for (unsigned i = 0; i < n; i++) {
        double *want = malloc(m * w[i].n_out * sizeof(*want));
        struct gcheck_tol tol = lfix_tol(o[i].t, &w[i], &x);

        assert_non_null(want);
        for (size_t j = 0; j < m * w[i].n_out; j++)
            want[j] = o[i].before[j] +
                      lfix_dot(&w[i], x.x + j / w[i].n_out * x.n_in,
                               j % w[i].n_out, lfix_rounded_to(c, &w[i], m));
        if (bias && m > 8) /* added to what was rounded */
            tol.atol += a_place_of(o[i].t, want, m * w[i].n_out);
        for (size_t j = 0; bias && j < m * w[i].n_out; j++)
            want[j] += (double)b[i][j % w[i].n_out];
        snprintf(name, sizeof(name), "%s %zu x %zu, %zu tokens, as %d",
                 krn_dtype_name(w[i].t), w[i].n_out, w[i].n_in, m, as[i]);
        lfix_outs_get(c, &o[i], w[i].n_out);
        assert_true(gcheck_near(
            name,
            (struct gcheck_out){o[i].t, o[i].host, m, w[i].n_out, o[i].ldy},
            want, tol));
        free(want);
        lfix_outs_free(c, &o[i]);
        krn_free(c, dev_b[i]);
        free(b[i]);
    }
    lfix_acts_free(c, &x);
}

void lfix_gated(struct krn_ctx *c, struct mat *gate, struct mat *up, size_t m)
{
    size_t n = gate->n_out, ldy = 2 * n + 8;
    struct acts x = lfix_acts(c, m, gate->n_in, gate->n_in);
    struct outs o = lfix_outs(c, KRN_AS_ACT, m, n, ldy);
    double *want = malloc(m * n * sizeof(*want));
    double *both = malloc(m * n * sizeof(*want));
    struct gcheck_tol tol = lfix_tol(o.t, gate, &x);
    char name[100];

    assert_non_null(want);
    assert_non_null(both);
    assert_int_equal(c->dev->glu(c, x.dev, x.ldx, (unsigned)m, gate->dev,
                                 up->dev, o.dev, ldy),
                     KRN_OK);
    for (size_t j = 0; j < m * n; j++) {
        enum krn_dtype as = lfix_rounded_to(c, gate, m);
        double g = lfix_dot(gate, x.x + j / n * x.n_in, j % n, as);
        double u = lfix_dot(up, x.x + j / n * x.n_in, j % n, as);

        want[j] = g / (1 + exp(-g)) * u;
        both[j] = g * u;
    }
    lfix_outs_get(c, &o, 2 * n);
    snprintf(name, sizeof(name), "%s gated %zu x %zu, %zu tokens",
             krn_dtype_name(gate->t), n, gate->n_in, m);
    tol.rtol *= 4; /* two factors, which may have been rounded before */
    tol.atol = tol.atol * 4 + 2 * a_place_of(o.t, both, m * n);
    tol.nmse *= 4;
    free(both);
    if (!gcheck_near(name, (struct gcheck_out){o.t, o.host, m, n, ldy}, want,
                     tol))
        fail();
    free(want);
    lfix_outs_free(c, &o);
    lfix_acts_free(c, &x);
}

struct krn_ctx *lfix_opened(enum krn_dtype act, bool deterministic)
{
    char why[200] = "";
    const struct krn_opts o = {.device = "cuda:0",
                               .deterministic = deterministic,
                               .why = why,
                               .why_bytes = sizeof(why)};
    struct krn_ctx *c;

    if (krn_open(&o, &c) != KRN_OK)
        fail_msg("%s", why);
    assert_int_equal(krn_act_use(c, act), KRN_OK);
    return c;
}

const struct lfix_kind lfix_kinds[LFIX_KINDS] = {
    {KRN_BF16, KRN_BF16}, {KRN_F16, KRN_F16},  {KRN_F32, KRN_F32},
    {KRN_Q8_0, KRN_F16},  {KRN_Q4_0, KRN_F16}, {KRN_Q4_K, KRN_F16},
    {KRN_Q5_K, KRN_F16},  {KRN_Q6_K, KRN_F16}, {KRN_FP8, KRN_F16},
};
/* <k> up to what the type has whole blocks for. */
size_t lfix_whole(enum krn_dtype t, size_t k)
{
    size_t block = krn_dtype_block(t);

    return (k + block - 1) / block * block;
}
