/* dfix.c - Steps for tests of how steps are queued and recorded. */
#include "kernels/dfix.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kernels/gfix.h"

const double dfix_freq[DFIX_PAIRS] = {1.0, 0.01};

static void *sent(struct krn_ctx *c, const void *host, size_t bytes)
{
    void *p = krn_alloc(c, bytes);

    assert_non_null(p);
    if (host)
        assert_int_equal(krn_put(c, p, host, bytes), KRN_OK);
    return p;
}

struct dfix *dfix_open(void)
{
    struct dfix *f = calloc(1, sizeof(*f));
    float x[DFIX_MOST * DFIX_WIDTH];

    assert_non_null(f);
    f->c = gfix_open();
    f->kv = (struct krn_kv){
        .dtype = KRN_BF16,
        .page_tokens = 64,
        .n_pages = DFIX_PAGES,
        .n_layer = 1,
        .n_kv_head = 1,
        .d_head = 16,
    };
    f->kv.pages = sent(f->c, NULL, krn_kv_page_bytes(&f->kv) * DFIX_PAGES);
    f->freq = sent(f->c, dfix_freq, sizeof(dfix_freq));
    f->cs = sent(f->c, NULL, sizeof(float) * DFIX_MOST * DFIX_PAIRS * 2);
    f->taken = sent(f->c, NULL, sizeof(x));
    for (int i = 0; i < DFIX_MOST * DFIX_WIDTH; i++)
        x[i] = (float)i;
    f->x = sent(f->c, x, sizeof(x));
    f->table = malloc(sizeof(int32_t) * DFIX_MOST * DFIX_COLUMNS);
    assert_non_null(f->table);
    for (int i = 0; i < DFIX_MOST * DFIX_COLUMNS; i++)
        f->table[i] = i % DFIX_PAGES;
    return f;
}

void dfix_close(struct dfix *f)
{
    krn_free(f->c, f->kv.pages);
    krn_free(f->c, f->freq);
    krn_free(f->c, f->cs);
    krn_free(f->c, f->taken);
    krn_free(f->c, f->x);
    krn_close(f->c);
    free(f->table);
    free(f);
    assert_int_equal(gfix_live(), 0);
}

void dfix_rows(struct dfix *f, unsigned m, unsigned n_wanted, int32_t pos)
{
    for (unsigned i = 0; i < m; i++) {
        f->seq[i] = (int32_t)i;
        f->pos[i] = pos + (int32_t)i;
        f->ids[i] = (int32_t)i + 1;
    }
    for (unsigned i = 0; i < n_wanted; i++)
        f->wanted[i] = m - n_wanted + i;
    f->s = (struct krn_step){
        .kv = &f->kv,
        .rows = {m, f->seq, f->pos, m, f->table, DFIX_COLUMNS},
        .ids = f->ids,
        .wanted = f->wanted,
        .n_wanted = n_wanted,
        .n_vocab = DFIX_MOST + 1,
        .kind = f->s.kind,
    };
}

void dfix_begin(struct dfix *f)
{
    f->pass = (struct krn_pass){0};
    assert_int_equal(krn_step_begin(f->c, &f->s, &f->pass), KRN_OK);
}

enum krn_status dfix_queue(struct dfix *f)
{
    enum krn_status st = KRN_OK;

    if (f->pass.again)
        return KRN_OK;
    st = krn_step_turns(f->c, KRN_WANTED, f->cs, f->freq, 2 * DFIX_PAIRS, 1.0);
    if (st == KRN_OK)
        st = krn_step_take(f->c, f->taken, f->x, DFIX_WIDTH);
    return st;
}

void dfix_right(struct dfix *f)
{
    float cs[DFIX_MOST * DFIX_PAIRS * 2];
    float taken[DFIX_MOST * DFIX_WIDTH];
    const size_t n = f->s.n_wanted;

    assert_int_equal(krn_get(f->c, cs, f->cs, n * DFIX_PAIRS * 2 * sizeof(*cs)),
                     KRN_OK);
    assert_int_equal(
        krn_get(f->c, taken, f->taken, n * DFIX_WIDTH * sizeof(*taken)),
        KRN_OK);
    for (size_t i = 0; i < n; i++) {
        const unsigned row = f->wanted[i];

        for (int j = 0; j < DFIX_PAIRS; j++) {
            const double at = f->pos[row] * dfix_freq[j];

            assert_true(fabs((double)cs[(i * DFIX_PAIRS + j) * 2] - cos(at)) <
                        1e-6);
            assert_true(fabs((double)cs[(i * DFIX_PAIRS + j) * 2 + 1] -
                             sin(at)) < 1e-6);
        }
        for (int j = 0; j < DFIX_WIDTH; j++)
            assert_true(taken[i * DFIX_WIDTH + j] ==
                        (float)(row * DFIX_WIDTH + j));
    }
}

bool dfix_step(struct dfix *f)
{
    dfix_begin(f);
    assert_int_equal(dfix_queue(f), KRN_OK);
    assert_int_equal(krn_step_end(f->c), KRN_OK);
    dfix_right(f);
    return f->pass.again;
}

bool dfix_decode(struct dfix *f, unsigned m, int32_t pos)
{
    dfix_rows(f, m, m, pos);
    return dfix_step(f);
}
