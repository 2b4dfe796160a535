/* tk_cuda_heads.c - Heads on the GPU: their norms, their turning and where keys
 * and values go, against double precision over the same rounded inputs. All of
 * the pool is looked at: what is not written still holds NaN. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/fakecuda.h"
#include "kernels/gcheck.h"
#include "kernels/gstep.h"
#include "kernels/kfix.h"
#include "kernels/krn.h"
#include "kernels/tfix.h"

static const enum krn_dtype acts[] = {KRN_F32, KRN_F16, KRN_BF16};

/* --- heads ---------------------------------------------------------------- */

/* A shape of heads. */
struct shape {
    unsigned n_head, n_kv, d_head, n_rot;
    bool halves, norms;
    unsigned gap; /* elements behind the heads of a row */
    enum krn_dtype pool;
};

/* What one head becomes. */
static void head_want(double *v, const struct shape *p, const double *gain,
                      const float *cs, bool turned)
{
    unsigned n = p->d_head, half = p->n_rot / 2;
    double sum = 0;

    for (unsigned i = 0; i < n && gain; i++)
        sum += v[i] * v[i];
    for (unsigned i = 0; i < n && gain; i++)
        v[i] *= gain[i] / sqrt(sum / n + (double)1e-6F);
    for (unsigned i = 0; i < half && turned; i++) {
        unsigned a = p->halves ? i : 2 * i;
        unsigned b = p->halves ? i + half : 2 * i + 1;
        double c = (double)cs[2 * i], s = (double)cs[2 * i + 1];
        double va = v[a], vb = v[b];
        v[a] = va * c - vb * s;
        v[b] = vb * c + va * s;
    }
}

/* One call, on the host and the device. */
struct head_case {
    struct shape p;
    unsigned m, rows;
    void *in[3], *dev[3]; /* q, k, v */
    double *exact[3];
    size_t ld[3];
    double *gain[2];
    float *gain_dev[2];
    float *cs, *cs_dev;
    uint16_t *fill; /* what pages held before */
    size_t pool_bytes;
};

static void case_open(struct head_case *h, struct krn_ctx *c, struct gstep *t,
                      uint64_t *seed)
{
    const struct shape *p = &h->p;
    enum krn_dtype act = krn_act(c);
    size_t n[3] = {(size_t)p->n_head * p->d_head, (size_t)p->n_kv * p->d_head,
                   (size_t)p->n_kv * p->d_head};

    h->rows = krn_step_rows(c, GSTEP_MOST);
    for (int i = 0; i < 3; i++) {
        h->ld[i] = n[i] + p->gap;
        h->in[i] =
            gstep_numbers(act, h->rows, n[i], h->ld[i], &h->exact[i], seed);
        h->dev[i] =
            gstep_sent(c, h->in[i], h->rows * h->ld[i] * gcheck_size(act));
    }
    for (int i = 0; i < 2; i++) {
        float *g =
            gstep_numbers(KRN_F32, 1, p->d_head, p->d_head, &h->gain[i], seed);
        h->gain_dev[i] = gstep_sent(c, g, p->d_head * sizeof(float));
        free(g);
    }
    h->cs = calloc((size_t)h->rows * p->n_rot, sizeof(*h->cs));
    assert_non_null(h->cs);
    for (size_t i = 0; i < (size_t)h->rows * p->n_rot; i += 2) {
        double angle = (double)kfix_normal(seed);
        h->cs[i] = (float)cos(angle);
        h->cs[i + 1] = (float)sin(angle);
    }
    h->cs_dev =
        gstep_sent(c, h->cs, (size_t)h->rows * p->n_rot * sizeof(float));
    t->kv = (struct krn_kv){.dtype = p->pool,
                            .page_tokens = GSTEP_PAGE,
                            .n_pages = h->m + 2,
                            .n_layer = 3,
                            .n_kv_head = p->n_kv,
                            .d_head = p->d_head};
    h->pool_bytes = krn_kv_page_bytes(&t->kv) * (size_t)t->kv.n_pages;
    h->fill = gstep_nans(KRN_F16, h->pool_bytes / 2);
    t->kv.pages = gstep_sent(c, h->fill, h->pool_bytes);
}

static void case_close(struct head_case *h, struct krn_ctx *c, struct gstep *t)
{
    for (int i = 0; i < 3; i++) {
        krn_free(c, h->dev[i]);
        free(h->in[i]);
        free(h->exact[i]);
    }
    for (int i = 0; i < 2; i++) {
        krn_free(c, h->gain_dev[i]);
        free(h->gain[i]);
    }
    krn_free(c, h->cs_dev);
    free(h->cs);
    free(h->fill);
    krn_free(c, t->kv.pages);
}

static void q_check(struct head_case *h, struct krn_ctx *c)
{
    enum krn_dtype act = krn_act(c);
    size_t n = (size_t)h->p.n_head * h->p.d_head;
    uint8_t *got =
        gstep_taken(c, h->dev[0], h->m * h->ld[0] * gcheck_size(act));

    for (unsigned r = 0; r < h->m; r++)
        for (unsigned i = 0; i < h->p.n_head; i++)
            head_want(h->exact[0] + r * n + (size_t)i * h->p.d_head, &h->p,
                      h->p.norms ? h->gain[0] : NULL,
                      h->cs + (size_t)r * h->p.n_rot, true);
    assert_true(gcheck_near("q",
                            (struct gcheck_out){act, got, h->m, n, h->ld[0]},
                            h->exact[0], gcheck_rows(act)));
    for (unsigned r = 0; r < h->m; r++)
        assert_true(gcheck_same("behind q",
                                got + (r * h->ld[0] + n) * gcheck_size(act),
                                h->fill, h->p.gap * gcheck_size(act)));
    free(got);
}

/* A head's keys or values of FP8: its scale is the least that will do, and each
 * number within half a step of e4m3. They are filled with ones after. */
static void narrow_check(const struct shape *p, uint8_t *half, unsigned slot,
                         const double *want)
{
    uint8_t *got = half + slot * p->d_head;
    uint8_t *scale = half + GSTEP_PAGE * p->d_head + slot * 4;
    double top = 0, by;
    uint16_t twice[2];

    memcpy(twice, scale, 4);
    assert_int_equal(twice[0], twice[1]);
    by = gcheck_get(KRN_F16, twice, 0);
    for (unsigned i = 0; i < p->d_head; i++) {
        double is = tfix_e4m3(got[i]) * by, off = fabs(is - want[i]);

        top = fabs(want[i]) > top ? fabs(want[i]) : top;
        if (off > fmax(fabs(want[i]) / 16, by / 1024) * 1.001)
            fail_msg("%u: %g, want %g (scale %g)", i, is, want[i], by);
    }
    assert_true(top <= 448 * by * 1.001 && top >= 224 * by * 0.999);
    memset(got, 0xff, p->d_head);
    memset(scale, 0xff, 4);
}

/* Look at one head of keys or values in its page; it is filled with ones
 * after. */
static void page_check(struct head_case *h, const struct gstep *t,
                       uint16_t *pool, unsigned r, unsigned which)
{
    const struct shape *p = &h->p;
    size_t one = krn_kv_page_bytes(&t->kv) / 6, half = one / p->n_kv;

    for (unsigned i = 0; i < p->n_kv; i++) {
        double *want = h->exact[which] + ((size_t)r * p->n_kv + i) * p->d_head;
        size_t page = (size_t)t->table[r * t->s.rows.max_pages +
                                       (unsigned)t->pos[r] / GSTEP_PAGE];
        unsigned slot = (unsigned)t->pos[r] % GSTEP_PAGE;
        uint8_t *at =
            (uint8_t *)pool + page * 6 * one + (2 + which - 1) * one + i * half;
        uint16_t *got = (uint16_t *)at + (size_t)slot * p->d_head;

        head_want(want, p, which == 1 && p->norms ? h->gain[1] : NULL,
                  h->cs + (size_t)r * p->n_rot, which == 1);
        if (p->pool == KRN_FP8) {
            narrow_check(p, at, slot, want);
            continue;
        }
        assert_true(gcheck_near(
            which == 1 ? "k" : "v",
            (struct gcheck_out){p->pool, got, 1, p->d_head, p->d_head}, want,
            gcheck_rows(p->pool)));
        memset(got, 0xff, p->d_head * 2);
    }
}

static void heads_check(struct krn_ctx *c, struct shape p, unsigned m,
                        uint64_t *seed)
{
    struct head_case h = {.p = p, .m = m};
    struct gstep t = {0};
    struct krn_heads a;
    uint16_t *pool;

    t.kind = 1000 + (unsigned)(kfix_next(seed) % 1000000);
    case_open(&h, c, &t, seed);
    for (unsigned i = 0; i < m; i++) {
        t.pos[i] = i == 0 ? 131071 : (int32_t)(kfix_next(seed) % 1000);
        t.ids[i] = 0;
        t.wanted[i] = i;
    }
    a = (struct krn_heads){.q = h.dev[0],
                           .k = h.dev[1],
                           .v = h.dev[2],
                           .ldq = h.ld[0],
                           .ldk = h.ld[1],
                           .ldv = h.ld[2],
                           .n_head = p.n_head,
                           .q_norm = p.norms ? h.gain_dev[0] : NULL,
                           .k_norm = p.norms ? h.gain_dev[1] : NULL,
                           .eps = 1e-6F,
                           .cs = h.cs_dev,
                           .n_rot = p.n_rot,
                           .halves = p.halves};
    gstep_begin(&t, c, m, m);
    assert_int_equal(krn_step_heads(c, KRN_ALL, 1, &a), KRN_OK);
    assert_int_equal(krn_step_end(c), KRN_OK);
    pool = gstep_taken(c, t.kv.pages, h.pool_bytes);
    q_check(&h, c);
    for (unsigned r = 0; r < m; r++) {
        page_check(&h, &t, pool, r, 1);
        page_check(&h, &t, pool, r, 2);
    }
    /* Nothing else was written. */
    assert_true(
        gcheck_same("the rest of the pool", pool, h.fill, h.pool_bytes));
    free(pool);
    free(t.table);
    case_close(&h, c, &t);
}

static void heads_turn_and_append(void **state)
{
    static const struct shape shapes[] = {
        {32, 8, 128, 128, true, false, 0, KRN_BF16},
        {4, 2, 128, 128, false, true, 0, KRN_F16},
        {9, 3, 64, 64, true, true, 0, KRN_F16},
        {9, 3, 64, 32, true, false, 8, KRN_BF16},
        {8, 4, 8, 8, true, true, 0, KRN_F16},
        {8, 4, 8, 8, false, false, 3, KRN_BF16},
        {5, 1, 80, 20, true, true, 0, KRN_F16},
        {7, 1, 96, 40, false, true, 8, KRN_BF16},
        {2, 1, 256, 256, true, true, 0, KRN_BF16},
        {3, 3, 16, 6, true, false, 1, KRN_F16},
        {16, 1, 32, 24, true, true, 0, KRN_BF16},
        {6, 2, 48, 2, false, true, 0, KRN_F16},
        {32, 8, 128, 128, true, false, 0, KRN_FP8},
        {5, 1, 80, 20, true, true, 3, KRN_FP8},
        {2, 1, 256, 256, false, true, 0, KRN_FP8},
        {8, 4, 8, 8, true, false, 0, KRN_FP8},
    };
    uint64_t seed = 14;

    (void)state;
    for (int a = 0; a < 3; a++) {
        struct krn_ctx *c = gstep_opened(acts[a]);

        for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
            heads_check(c, shapes[i], i % 2 ? 3 : 5, &seed);
        heads_check(c, shapes[2], 64, &seed);
        krn_close(c);
    }
}

/* Rows of heads come out the same bit by bit whatever is beside them; the last
 * layer of a model has queries of the wanted rows alone. */
static void heads_of_a_row_are_alike(void **state)
{
    static const struct shape p = {9, 3, 64, 64, true, true, 0, KRN_BF16};
    struct krn_ctx *c = gstep_opened(KRN_BF16);
    struct head_case h = {.p = p, .m = 64};
    struct gstep t = {0};
    uint64_t seed = 15;
    size_t row = (size_t)p.n_head * p.d_head * 2;
    uint8_t *all = NULL, *few;

    (void)state;
    case_open(&h, c, &t, &seed);
    for (unsigned m = 64; m > 0; m /= 4) {
        struct krn_heads a = {.q = h.dev[0],
                              .ldq = h.ld[0],
                              .n_head = p.n_head,
                              .q_norm = h.gain_dev[0],
                              .eps = 1e-6F,
                              .cs = h.cs_dev,
                              .n_rot = p.n_rot,
                              .halves = true};
        assert_int_equal(krn_put(c, h.dev[0], h.in[0], h.rows * row), KRN_OK);
        for (unsigned i = 0; i < m; i++) {
            t.pos[i] = 5;
            t.wanted[i] = i;
        }
        gstep_begin(&t, c, m, m);
        assert_int_equal(krn_step_heads(c, KRN_WANTED, 0, &a), KRN_OK);
        gstep_end(&t, c);
        few = gstep_taken(c, h.dev[0], m * row);
        if (all) {
            assert_true(gcheck_same("q", few, all, m * row));
            free(few);
        } else {
            all = few;
        }
    }
    few = gstep_taken(c, t.kv.pages, h.pool_bytes);
    assert_true(gcheck_same("pages", few, h.fill, h.pool_bytes));
    free(few);
    free(all);
    case_close(&h, c, &t);
    krn_close(c);
}

/* Heads that the kernel cannot hold are refused; the context goes on. */
static void odd_heads_are_refused(void **state)
{
    static const unsigned sizes[] = {12, 264};
    struct krn_ctx *c = gstep_opened(KRN_F16);
    struct gstep t;

    (void)state;
    gstep_open(&t, c);
    for (int i = 0; i < 2; i++) {
        struct krn_heads a = {
            .q = t.kv.pages, .ldq = sizes[i], .n_head = 1, .eps = 1e-6F};
        t.kv.d_head = sizes[i];
        gstep_plain(&t, c, 1);
        assert_int_equal(krn_step_heads(c, KRN_ALL, 0, &a), KRN_UNSUPPORTED);
        gstep_end(&t, c);
    }
    gstep_close(&t, c);
    krn_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_turn_and_append),
        cmocka_unit_test(heads_of_a_row_are_alike),
        cmocka_unit_test(odd_heads_are_refused),
    };

    if (!fakecuda_use())
        return FAKECUDA_SKIP;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
