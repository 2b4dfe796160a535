/* gstep.c - Memory and steps for tests of operations of a GPU. */
#include "kernels/gstep.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/gcheck.h"
#include "kernels/kfix.h"

/* --- memory --------------------------------------------------------------- */

/* <n> elements of type <t>, all bits set, which is a NaN. */
void *gstep_nans(enum krn_dtype t, size_t n)
{
    void *p = malloc(n * gcheck_size(t) + 1);

    assert_non_null(p);
    memset(p, 0xff, n * gcheck_size(t));
    return p;
}

/* <m> rows of <n> numbers about 1, <ld> apart, as <t> has them; what is between
 * is NaN. *exact_out (m, n): what they are worth. */
void *gstep_numbers(enum krn_dtype t, size_t m, size_t n, size_t ld,
                    double **exact_out, uint64_t *seed)
{
    void *p = gstep_nans(t, m * ld);
    double *x = calloc(m * n + 1, sizeof(*x));

    assert_non_null(x);
    for (size_t r = 0; r < m; r++) {
        for (size_t i = 0; i < n; i++) {
            gcheck_set(t, p, r * ld + i, (double)kfix_normal(seed) * 1.5);
            x[r * n + i] = gcheck_get(t, p, r * ld + i);
        }
    }
    *exact_out = x;
    return p;
}

/* <host> on the device. */
void *gstep_sent(struct krn_ctx *c, const void *host, size_t bytes)
{
    void *p = krn_alloc(c, bytes ? bytes : 1);

    assert_non_null(p);
    assert_int_equal(krn_put(c, p, host, bytes), KRN_OK);
    return p;
}

void *gstep_taken(struct krn_ctx *c, const void *dev, size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);

    assert_non_null(p);
    assert_int_equal(krn_get(c, p, dev, bytes), KRN_OK);
    return p;
}

struct krn_ctx *gstep_opened(enum krn_dtype act)
{
    char why[256] = "";
    const struct krn_opts o = {
        .device = "cuda:0", .why = why, .why_bytes = sizeof(why)};
    struct krn_ctx *c = NULL;

    if (krn_open(&o, &c) != KRN_OK)
        fail_msg("%s", why);
    assert_int_equal(krn_act_use(c, act), KRN_OK);
    assert_int_equal(krn_act(c), act);
    return c;
}

/* --- steps ---------------------------------------------------------------- */

/* Sequences whose last position is pos[i], each with a page of its own for
 * it. */
void gstep_begin(struct gstep *t, struct krn_ctx *c, unsigned m,
                 unsigned n_wanted)
{
    unsigned max_pages = 1;

    for (unsigned i = 0; i < m; i++)
        if ((unsigned)t->pos[i] / GSTEP_PAGE + 1 > max_pages)
            max_pages = (unsigned)t->pos[i] / GSTEP_PAGE + 1;
    t->table = malloc((size_t)m * max_pages * sizeof(*t->table));
    assert_non_null(t->table);
    for (unsigned i = 0; i < m; i++) {
        t->seq[i] = (int32_t)i;
        for (unsigned j = 0; j < max_pages; j++)
            t->table[i * max_pages + j] =
                j <= (unsigned)t->pos[i] / GSTEP_PAGE ? (int32_t)(m - i) : -1;
    }
    t->s =
        (struct krn_step){.kv = &t->kv,
                          .rows = {m, t->seq, t->pos, m, t->table, max_pages},
                          .ids = t->ids,
                          .wanted = t->wanted,
                          .n_wanted = n_wanted,
                          .n_vocab = GSTEP_VOCAB,
                          .kind = ++t->kind};
    assert_int_equal(krn_step_begin(c, &t->s, &t->pass), KRN_OK);
    assert_true(t->pass.m >= m && t->pass.n_wanted >= n_wanted);
    assert_true(t->pass.m <= krn_step_rows(c, GSTEP_MOST));
    assert_false(t->pass.again);
}

void gstep_end(struct gstep *t, struct krn_ctx *c)
{
    assert_int_equal(krn_step_end(c), KRN_OK);
    assert_int_equal(krn_sync(c), KRN_OK);
    free(t->table);
    t->table = NULL;
}

/* Begin with a small pool, rows at positions 0 .. and all of them wanted. */
void gstep_plain(struct gstep *t, struct krn_ctx *c, unsigned m)
{
    for (unsigned i = 0; i < m; i++) {
        t->pos[i] = (int32_t)i;
        t->ids[i] = (int32_t)(i * 7 % GSTEP_VOCAB);
        t->wanted[i] = i;
    }
    gstep_begin(t, c, m, m);
}

void gstep_open(struct gstep *t, struct krn_ctx *c)
{
    *t = (struct gstep){.kv = {.dtype = KRN_BF16,
                               .page_tokens = GSTEP_PAGE,
                               .n_pages = GSTEP_MOST + 1,
                               .n_layer = 1,
                               .n_kv_head = 1,
                               .d_head = 16}};
    t->kv.pages =
        krn_alloc(c, krn_kv_page_bytes(&t->kv) * (size_t)t->kv.n_pages);
    assert_non_null(t->kv.pages);
}

void gstep_close(struct gstep *t, struct krn_ctx *c)
{
    krn_free(c, t->kv.pages);
}
