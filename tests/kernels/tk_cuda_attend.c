/* tk_cuda_attend.c - Attention on the GPU against double precision over the
 * same rounded queries, keys and values: every width of heads and group, single
 * tokens and chunks, with and without a prefix, mixed and interleaved. What is
 * no key of a row is NaN. In a deterministic context a row's bits do not depend
 * on what else is in a step; a recorded step serves other lengths. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cuda/e4m3.h"
#include "kernels/cuda/tolerance.h"
#include "kernels/fakecuda.h"
#include "kernels/gcheck.h"
#include "kernels/gfix.h"
#include "kernels/gstep.h"
#include "kernels/kfix.h"
#include "kernels/krn.h"
#include "kernels/tfix.h"

enum { LAYERS = 2, LAYER = 1, SEQS = 10, GAP = 8 };

/* Heads and types. */
struct shape {
    enum krn_dtype pool, act;
    unsigned n_head, n_kv, d_head;
};

/* Rows of one sequence that follow each other: positions from .. to - 1. */
struct piece {
    unsigned seq, from, to;
};

/* Sequences of <longest> tokens in pages, and room for rows. */
struct scene {
    struct krn_ctx *c;
    struct shape p;
    struct krn_kv kv;
    unsigned n_seq, longest, max_pages;
    double *k, *v; /* (n_seq, longest, n_kv, d_head) as they are in pages */
    int32_t *table;
    void *q, *out; /* on the device, (rows, ld) */
    void *q_host;
    double *q_exact; /* (rows, n_head * d_head) */
    size_t ld;
    unsigned rows; /* most */
    int32_t *seq, *pos, *ids;
    unsigned *wanted;
    unsigned kind;
    uint64_t seed;
};

/* --- scenes --------------------------------------------------------------- */

static struct krn_ctx *opened(enum krn_dtype act, bool deterministic)
{
    struct krn_ctx *c = deterministic ? gfix_open_deterministic() : gfix_open();

    assert_non_null(c);
    assert_int_equal(krn_act_use(c, act), KRN_OK);
    return c;
}

/* One token of FP8 of the half of a head at <half>: numbers of a scale of its
 * own. */
static void narrow_fill(struct scene *s, uint8_t *half, unsigned slot,
                        double *out)
{
    const unsigned d = s->kv.d_head;
    const int e = (int)(kfix_next(&s->seed) % 6) - 8;
    const uint32_t by = (uint32_t)(e + 15) << 10;

    for (unsigned i = 0; i < d; i++) {
        float v = ldexpf(kfix_normal(&s->seed), -e);

        half[slot * d + i] = e4m3_of_f32(v);
        out[i] = ldexp(tfix_e4m3(half[slot * d + i]), e);
    }
    memcpy(half + GSTEP_PAGE * d + slot * 4, (uint32_t[]){by << 16 | by}, 4);
}

/* One token's keys and values of FP8. */
static void narrow_token(struct scene *s, uint8_t *host, unsigned seq,
                         unsigned t)
{
    const struct krn_kv *kv = &s->kv;
    const size_t half = (size_t)GSTEP_PAGE * (kv->d_head + 4);
    int32_t page = s->table[seq * s->max_pages + t / GSTEP_PAGE];
    uint8_t *to = host + (size_t)page * krn_kv_page_bytes(kv) +
                  2 * LAYER * kv->n_kv_head * half;
    size_t at = ((size_t)seq * s->longest + t) * kv->n_kv_head * kv->d_head;

    for (unsigned h = 0; h < kv->n_kv_head; h++, to += half) {
        narrow_fill(s, to, t % GSTEP_PAGE, s->k + at + h * kv->d_head);
        narrow_fill(s, to + kv->n_kv_head * half, t % GSTEP_PAGE,
                    s->v + at + h * kv->d_head);
    }
}

/* One token's keys and values, to the pages at <host> and as numbers. */
static void token_fill(struct scene *s, uint16_t *host, unsigned seq,
                       unsigned t)
{
    const struct krn_kv *kv = &s->kv;
    const size_t half = (size_t)GSTEP_PAGE * kv->d_head;
    const size_t n = (size_t)kv->n_kv_head * kv->d_head;
    int32_t page = s->table[seq * s->max_pages + t / GSTEP_PAGE];
    size_t to = (size_t)page * (krn_kv_page_bytes(kv) / 2) +
                2 * LAYER * kv->n_kv_head * half +
                (size_t)(t % GSTEP_PAGE) * kv->d_head;
    size_t at = ((size_t)seq * s->longest + t) * n;

    for (size_t i = 0; i < n; i++) {
        size_t k = to + i / kv->d_head * half + i % kv->d_head;
        size_t v = k + kv->n_kv_head * half;

        gcheck_set(kv->dtype, host, k, (double)kfix_normal(&s->seed));
        gcheck_set(kv->dtype, host, v, (double)kfix_normal(&s->seed));
        s->k[at + i] = gcheck_get(kv->dtype, host, k);
        s->v[at + i] = gcheck_get(kv->dtype, host, v);
    }
}

/* Keys and values of all sequences; pages lie in any order, and what is not a
 * token is NaN. */
static void pages_fill(struct scene *s)
{
    size_t bytes = krn_kv_page_bytes(&s->kv) * (size_t)s->kv.n_pages;
    uint16_t *host = gstep_nans(KRN_F16, bytes / 2); /* of any */

    for (unsigned i = 0; i < s->n_seq; i++)
        for (unsigned t = 0; t < s->longest; t++)
            if (s->kv.dtype == KRN_FP8)
                narrow_token(s, (uint8_t *)host, i, t);
            else
                token_fill(s, host, i, t);
    s->kv.pages = gstep_sent(s->c, host, bytes);
    free(host);
}

static void scene_open(struct scene *s, struct krn_ctx *c,
                       const struct shape *p, unsigned n_seq, unsigned longest,
                       unsigned rows)
{
    size_t n = (size_t)n_seq * longest * p->n_kv * p->d_head;

    *s = (struct scene){.c = c,
                        .p = *p,
                        .n_seq = n_seq,
                        .longest = longest,
                        .max_pages = (longest + GSTEP_PAGE - 1) / GSTEP_PAGE,
                        .ld = (size_t)p->n_head * p->d_head + GAP,
                        .seed = 7};
    s->rows = krn_step_rows(c, rows);
    s->kv = (struct krn_kv){.dtype = p->pool,
                            .page_tokens = GSTEP_PAGE,
                            .n_pages = n_seq * s->max_pages + 1,
                            .n_layer = LAYERS,
                            .n_kv_head = p->n_kv,
                            .d_head = p->d_head};
    s->k = calloc(n, sizeof(*s->k));
    s->v = calloc(n, sizeof(*s->v));
    s->table = calloc((size_t)n_seq * s->max_pages, sizeof(*s->table));
    s->seq = calloc(s->rows, sizeof(*s->seq));
    s->pos = calloc(s->rows, sizeof(*s->pos));
    s->ids = calloc(s->rows, sizeof(*s->ids));
    s->wanted = calloc(s->rows, sizeof(*s->wanted));
    assert_true(s->k && s->v && s->table && s->seq && s->pos && s->ids &&
                s->wanted);
    for (unsigned i = 0; i < n_seq * s->max_pages; i++)
        s->table[i] = (int32_t)(n_seq * s->max_pages - i);
    pages_fill(s);
    s->q_host = gstep_numbers(p->act, s->rows, (size_t)p->n_head * p->d_head,
                              s->ld, &s->q_exact, &s->seed);
    s->q = gstep_sent(c, s->q_host, s->rows * s->ld * gcheck_size(p->act));
    s->out = krn_alloc(c, s->rows * s->ld * gcheck_size(p->act));
    assert_non_null(s->out);
}

static void scene_close(struct scene *s)
{
    krn_free(s->c, s->kv.pages);
    krn_free(s->c, s->q);
    krn_free(s->c, s->out);
    free(s->k);
    free(s->v);
    free(s->table);
    free(s->seq);
    free(s->pos);
    free(s->ids);
    free(s->wanted);
    free(s->q_host);
    free(s->q_exact);
}

/* The rows of <n> pieces, in their order. */
static unsigned rows_of(struct scene *s, const struct piece *pieces, unsigned n)
{
    unsigned m = 0;

    for (unsigned i = 0; i < n; i++)
        for (unsigned t = pieces[i].from; t < pieces[i].to; t++, m++) {
            assert_true(m < s->rows && t < s->longest);
            s->seq[m] = (int32_t)pieces[i].seq;
            s->pos[m] = (int32_t)t;
        }
    return m;
}

/* One step of <m> rows, of which all are wanted or the last one is. Its result
 * (rows, ld) is the caller's. What was there before is NaN. */
static void *step(struct scene *s, unsigned m, bool all, bool *again_out)
{
    size_t bytes = s->rows * s->ld * gcheck_size(s->p.act);
    void *nans = gstep_nans(s->p.act, s->rows * s->ld);
    struct krn_step st = {
        .kv = &s->kv,
        .rows = {m, s->seq, s->pos, s->n_seq, s->table, s->max_pages},
        .ids = s->ids,
        .wanted = s->wanted,
        .n_wanted = all ? m : 1,
        .n_vocab = 4,
        .kind = s->kind};
    struct krn_pass pass;

    for (unsigned i = 0; i < m; i++)
        s->wanted[i] = all ? i : m - 1;
    assert_int_equal(krn_put(s->c, s->out, nans, bytes), KRN_OK);
    assert_int_equal(krn_step_begin(s->c, &st, &pass), KRN_OK);
    if (!pass.again)
        assert_int_equal(
            krn_step_attend(s->c, KRN_ALL, LAYER, s->q, s->ld, s->p.n_head,
                            1.F / sqrtf((float)s->p.d_head), s->out, s->ld),
            KRN_OK);
    if (again_out != NULL)
        *again_out = pass.again;
    assert_int_equal(krn_step_end(s->c), KRN_OK);
    assert_int_equal(krn_sync(s->c), KRN_OK);
    free(nans);
    return gstep_taken(s->c, s->out, bytes);
}

/* --- by definition -------------------------------------------------------- */

/* Row <r> and head <h>; <w> has room for a weight of each position. */
static void exact_head(const struct scene *s, unsigned r, unsigned h, double *w,
                       double *out)
{
    const unsigned d = s->p.d_head, n = (unsigned)s->pos[r] + 1;
    const size_t tok = (size_t)s->p.n_kv * d;
    const size_t at = (size_t)s->seq[r] * s->longest * tok +
                      (size_t)(h / (s->p.n_head / s->p.n_kv)) * d;
    const double *q = s->q_exact + ((size_t)r * s->p.n_head + h) * d;
    const enum krn_dtype half = s->p.pool == KRN_FP8 ? KRN_F16 : s->p.pool;
    double top = -INFINITY, sum = 0;

    for (unsigned t = 0; t < n; t++) {
        w[t] = 0;
        for (unsigned e = 0; e < d; e++)
            w[t] += gcheck_round(half, q[e]) * s->k[at + t * tok + e];
        w[t] /= sqrt((double)d);
        top = w[t] > top ? w[t] : top;
    }
    for (unsigned t = 0; t < n; t++) {
        w[t] = exp(w[t] - top);
        sum += w[t];
    }
    for (unsigned e = 0; e < d; e++) {
        out[e] = 0;
        for (unsigned t = 0; t < n; t++)
            out[e] += w[t] / sum * s->v[at + t * tok + e];
    }
}

/* Hold the result of <m> rows against that. */
static void near_check(const struct scene *s, const char *what, unsigned m,
                       const void *got)
{
    const size_t n = (size_t)s->p.n_head * s->p.d_head;
    double *want = calloc(m * n, sizeof(*want));
    double *w = calloc(s->longest, sizeof(*w));
    /* Four standard deviations: few values are larger. */
    struct gcheck_tol tol = {TOL_ATTEND_RTOL, TOL_ATTEND_ATOL(4.0),
                             TOL_ATTEND_NMSE};

    assert_true(want && w);
    for (unsigned r = 0; r < m; r++)
        for (unsigned h = 0; h < s->p.n_head; h++)
            exact_head(s, r, h, w, want + r * n + (size_t)h * s->p.d_head);
    assert_true(gcheck_near(
        what, (struct gcheck_out){s->p.act, got, m, n, s->ld}, want, tol));
    free(want);
    free(w);
}

/* Likewise, and what lies between rows against what was there. */
static void result_check(const struct scene *s, const char *what, unsigned m,
                         const void *got)
{
    const size_t el = gcheck_size(s->p.act);
    const size_t n = (size_t)s->p.n_head * s->p.d_head;
    void *nan = gstep_nans(s->p.act, GAP);

    near_check(s, what, m, got);
    for (unsigned r = 0; r < m; r++)
        assert_true(gcheck_same("between rows",
                                (const uint8_t *)got + (r * s->ld + n) * el,
                                nan, GAP * el));
    free(nan);
}

static void pieces_check(struct scene *s, const char *what,
                         const struct piece *pieces, unsigned n)
{
    unsigned m = rows_of(s, pieces, n);
    void *got;

    s->kind++;
    got = step(s, m, true, NULL);
    result_check(s, what, m, got);
    free(got);
}

#define COUNT(a) (unsigned)(sizeof(a) / sizeof((a)[0]))

/* --- tests ---------------------------------------------------------------- */

static const struct shape shapes[] = {
    {KRN_BF16, KRN_BF16, 8, 2, 128}, {KRN_F16, KRN_F16, 4, 4, 64},
    {KRN_F16, KRN_F32, 8, 1, 8},     {KRN_BF16, KRN_F32, 3, 1, 16},
    {KRN_BF16, KRN_F16, 7, 1, 80},   {KRN_F16, KRN_BF16, 4, 2, 96},
    {KRN_F16, KRN_F16, 16, 1, 64},   {KRN_BF16, KRN_BF16, 4, 2, 256},
    {KRN_FP8, KRN_F16, 8, 2, 128},   {KRN_FP8, KRN_BF16, 4, 4, 64},
    {KRN_FP8, KRN_F32, 16, 1, 8},    {KRN_FP8, KRN_F16, 7, 1, 80},
    {KRN_FP8, KRN_F32, 4, 2, 256},   {KRN_FP8, KRN_F16, 3, 1, 24},
};

/* Single tokens of sequences of every length about a page's end. */
static void tokens_of_any_length(void **state)
{
    static const unsigned lens[] = {1, 63, 64, 65, 127, 128, 300, 320};
    struct piece pieces[COUNT(lens)];

    (void)state;
    for (unsigned i = 0; i < COUNT(lens); i++)
        pieces[i] = (struct piece){i, lens[i] - 1, lens[i]};
    for (unsigned i = 0; i < COUNT(shapes); i++) {
        struct krn_ctx *c = opened(shapes[i].act, false);
        struct scene s;

        scene_open(&s, c, &shapes[i], COUNT(lens), 320, 16);
        pieces_check(&s, "all lengths", pieces, COUNT(lens));
        pieces_check(&s, "one", pieces + 6, 1);
        pieces_check(&s, "three", pieces + 3, 3);
        scene_close(&s);
        krn_close(c);
    }
}

/* Chunks, with a prefix and without, between single tokens; and two sequences
 * whose rows take turns. */
static void chunks_and_tokens(void **state)
{
    static const struct piece mixed[] = {
        {0, 70, 71}, {1, 0, 21}, {2, 0, 1}, {3, 62, 81}, {4, 99, 100}};
    static const struct piece turns[] = {{0, 5, 6},   {1, 64, 65}, {0, 6, 7},
                                         {1, 65, 67}, {0, 7, 9},   {1, 67, 68}};

    (void)state;
    for (unsigned i = 0; i < COUNT(shapes); i++) {
        struct krn_ctx *c = opened(shapes[i].act, false);
        struct scene s;

        scene_open(&s, c, &shapes[i], 5, 100, 64);
        pieces_check(&s, "mixed", mixed, COUNT(mixed));
        pieces_check(&s, "taking turns", turns, COUNT(turns));
        scene_close(&s);
        krn_close(c);
    }
}

/* Chunks of more than a tile, and few rows behind a long prefix, whose keys are
 * split. */
static void long_chunks(void **state)
{
    static const struct shape p[] = {{KRN_BF16, KRN_BF16, 8, 2, 64},
                                     {KRN_F16, KRN_F16, 8, 2, 128},
                                     {KRN_F16, KRN_F16, 3, 1, 32},
                                     {KRN_FP8, KRN_F16, 8, 2, 128},
                                     {KRN_FP8, KRN_F16, 8, 2, 64}};
    static const struct piece whole[] = {{0, 0, 193}, {1, 1, 65}};
    static const struct piece behind[] = {{0, 1010, 1024}, {1, 600, 640}};

    (void)state;
    for (unsigned i = 0; i < COUNT(p); i++) {
        struct krn_ctx *c = opened(p[i].act, false);
        struct scene s;

        scene_open(&s, c, &p[i], 2, 1024, 320);
        pieces_check(&s, "whole", whole, COUNT(whole));
        pieces_check(&s, "behind a prefix", behind, COUNT(behind));
        pieces_check(&s, "one token", (struct piece[]){{0, 1023, 1024}}, 1);
        scene_close(&s);
        krn_close(c);
    }
}

/* Row <r> of a result. */
static const void *row_of(const struct scene *s, const void *out, unsigned r)
{
    return (const uint8_t *)out + r * s->ld * gcheck_size(s->p.act);
}

/* Row <r> of <pieces> must have the bits of row <base_r> of <base>, whose
 * queries it is given. */
static void same_check(struct scene *s, const char *what, const void *base,
                       unsigned base_r, unsigned n_rows,
                       const struct piece *pieces, unsigned n, unsigned r)
{
    const size_t el = gcheck_size(s->p.act);
    const size_t bytes = s->rows * s->ld * el;
    uint8_t *q = malloc(bytes);
    unsigned m = rows_of(s, pieces, n);
    void *got;

    assert_non_null(q);
    memcpy(q, s->q_host, bytes);
    memcpy(q + r * s->ld * el, (const uint8_t *)s->q_host + base_r * s->ld * el,
           n_rows * s->ld * el);
    assert_int_equal(krn_put(s->c, s->q, q, bytes), KRN_OK);
    s->kind++;
    got = step(s, m, true, NULL);
    assert_int_equal(krn_put(s->c, s->q, s->q_host, bytes), KRN_OK);
    for (unsigned i = 0; i < n_rows; i++)
        assert_true(gcheck_same(what, row_of(s, got, r + i),
                                row_of(s, base, base_r + i),
                                (size_t)s->p.n_head * s->p.d_head * el));
    free(got);
    free(q);
}

/* A token of 700 alone, among three and eight, and as part of chunks; a prompt
 * in one step, in two and one token at a time. */
static void bits_do_not_depend_on_others(void **state)
{
    static const struct piece alone[] = {{0, 699, 700}};
    static const struct piece three[] = {{1, 20, 21}, {0, 699, 700}, {2, 0, 3}};
    static const struct piece eight[] = {{3, 0, 1},     {4, 63, 64}, {1, 8, 9},
                                         {2, 10, 11},   {5, 1, 2},   {6, 0, 1},
                                         {0, 690, 700}, {7, 5, 6}};
    static const struct piece prompt[] = {{0, 660, 700}};
    static const struct piece second[] = {{0, 677, 700}};
    static const struct shape p[] = {{KRN_BF16, KRN_BF16, 2, 1, 64},
                                     {KRN_F16, KRN_F16, 4, 1, 256},
                                     {KRN_FP8, KRN_F16, 4, 1, 128}};

    (void)state;
    for (unsigned i = 0; i < COUNT(p); i++) {
        struct krn_ctx *c = opened(p[i].act, true);
        struct scene s;
        unsigned m;
        void *base;

        scene_open(&s, c, &p[i], 8, 700, 64);
        m = rows_of(&s, prompt, 1);
        base = step(&s, m, true, NULL);
        result_check(&s, "prompt", m, base);
        same_check(&s, "alone", base, 39, 1, alone, 1, 0);
        same_check(&s, "one of three", base, 39, 1, three, 3, 1);
        same_check(&s, "one of eight", base, 30, 10, eight, 8, 6);
        same_check(&s, "second part", base, 17, 23, second, 1, 0);
        free(base);
        scene_close(&s);
        krn_close(c);
    }
}

/* Steps of one kind: the first is queued, one is recorded, and the record
 * serves other lengths, also after another step has needed more room for
 * partial results. */
static void recorded_steps_serve_any_length(void **state)
{
    static const struct shape p = {KRN_F16, KRN_F16, 4, 2, 64};
    static const unsigned lens[][3] = {{5, 70, 1},     {64, 65, 300},
                                       {640, 1, 2},    {9, 512, 640},
                                       {200, 600, 64}, {1, 1, 1}};
    struct krn_ctx *c;
    unsigned n_again = 0;

    (void)state;
    for (unsigned det = 0; det < 2; det++) {
        struct scene s;

        c = opened(p.act, det != 0);
        scene_open(&s, c, &p, 3, 640, 48);
        for (unsigned i = 0; i < 2 * COUNT(lens); i++) {
            const unsigned *len = lens[i % COUNT(lens)];
            struct piece pieces[3];
            unsigned m;
            bool again;
            void *got;

            if (i == COUNT(lens)) {
                pieces_check(&s, "growing", (struct piece[]){{0, 600, 640}}, 1);
                s.kind--;
            }
            for (unsigned k = 0; k < 3; k++)
                pieces[k] = (struct piece){k, len[k] - 1, len[k]};
            m = rows_of(&s, pieces, 3);
            got = step(&s, m, true, &again);
            n_again += again;
            result_check(&s, again ? "repeated" : "queued", m, got);
            free(got);
        }
        scene_close(&s);
        krn_close(c);
    }
    assert_true(n_again >= 2 * COUNT(lens));
}

/* Only what is wanted, by its own plan. */
static void wanted_rows(void **state)
{
    static const struct shape p = {KRN_BF16, KRN_BF16, 4, 2, 64};
    static const struct piece pieces[] = {{0, 0, 9}, {1, 60, 70}, {2, 40, 41}};
    struct krn_ctx *c = opened(p.act, false);
    struct scene s;
    struct krn_step st;
    struct krn_pass pass;
    unsigned m;
    void *got;

    (void)state;
    scene_open(&s, c, &p, 3, 70, 32);
    m = rows_of(&s, pieces, COUNT(pieces));
    s.wanted[0] = 8;
    s.wanted[1] = m - 1;
    st = (struct krn_step){
        .kv = &s.kv,
        .rows = {m, s.seq, s.pos, s.n_seq, s.table, s.max_pages},
        .ids = s.ids,
        .wanted = s.wanted,
        .n_wanted = 2,
        .n_vocab = 4};
    assert_int_equal(krn_step_begin(c, &st, &pass), KRN_OK);
    assert_int_equal(krn_step_attend(c, KRN_ALL, LAYER, s.q, s.ld, p.n_head,
                                     0.125F, s.out, s.ld),
                     KRN_OK);
    assert_int_equal(krn_step_attend(c, KRN_WANTED, LAYER, s.q, s.ld, p.n_head,
                                     0.125F, s.out, s.ld),
                     KRN_OK);
    assert_int_equal(krn_step_end(c), KRN_OK);
    got = gstep_taken(c, s.out, s.rows * s.ld * gcheck_size(p.act));
    s.seq[0] = s.seq[8]; /* the first two rows are those wanted */
    s.pos[0] = s.pos[8];
    s.seq[1] = s.seq[m - 1];
    s.pos[1] = s.pos[m - 1];
    near_check(&s, "wanted", 2, got);
    free(got);
    scene_close(&s);
    krn_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_of_any_length),
        cmocka_unit_test(chunks_and_tokens),
        cmocka_unit_test(long_chunks),
        cmocka_unit_test(bits_do_not_depend_on_others),
        cmocka_unit_test(recorded_steps_serve_any_length),
        cmocka_unit_test(wanted_rows),
    };

    if (!fakecuda_use())
        return FAKECUDA_SKIP;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
