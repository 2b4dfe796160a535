/* tk_attend.c - Keys, values and attention: the scalar code against double
 * precision, the fast code against the scalar one bit by bit; and that no row
 * is touched by how a prompt is cut into calls, by other rows of a call, by the
 * number of threads or by what pages hold past a row's position. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/half.h"
#include "kernels/kfix.h"
#include "kernels/krn.h"
#include "kernels/rfix.h"

/* Sequences with all their tokens. Row r of q, k and v is the token at place
 * pos[r] of sequence seq[r]. */
struct scene {
    struct krn_kv kv;
    struct krn_rows rows;
    unsigned n_head;
    size_t ldq, ldk; /* floats from row to row */
    float *q, *k, *v;
    int32_t *seq, *pos, *table;
    size_t page_bytes;
    float scale;
};

struct shape {
    enum krn_dtype dtype;
    unsigned n_head, n_kv_head, d_head;
    unsigned n_seq;
    unsigned lens[8];
};

enum { LAYERS = 2, LAYER = 1 };

static float *numbers(size_t n, float size, uint64_t *seed)
{
    float *x = calloc(n + 1, sizeof(*x));

    assert_non_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = kfix_normal(seed) * size;
    return x;
}

/* Rows are in the order of their sequences; pages in any order, and every one
 * full of NaN. */
static void scene_init(struct scene *s, const struct shape *h, uint64_t *seed)
{
    unsigned m = 0;
    unsigned longest = 0;

    memset(s, 0, sizeof(*s));
    s->kv = (struct krn_kv){.dtype = h->dtype,
                            .n_layer = LAYERS,
                            .n_kv_head = h->n_kv_head,
                            .d_head = h->d_head};
    for (unsigned i = 0; i < h->n_seq; i++) {
        m += h->lens[i];
        longest = h->lens[i] > longest ? h->lens[i] : longest;
    }
    s->n_head = h->n_head;
    s->ldq = (size_t)h->n_head * h->d_head + 3;
    s->ldk = (size_t)h->n_kv_head * h->d_head + 1;
    s->q = numbers(m * s->ldq, 2, seed);
    s->k = numbers(m * s->ldk, 2, seed);
    s->v = numbers(m * s->ldk, 1, seed);
    s->scale = 1.0F / sqrtf((float)h->d_head);
    s->seq = calloc(m, sizeof(*s->seq));
    s->pos = calloc(m, sizeof(*s->pos));
    s->rows = (struct krn_rows){
        .m = m, .n_seq = h->n_seq, .max_pages = longest / KRN_PAGE_TOKENS + 2};
    s->kv.n_pages = h->n_seq * s->rows.max_pages;
    s->table = calloc(s->kv.n_pages, sizeof(*s->table));
    for (unsigned i = 0; i < s->kv.n_pages; i++)
        s->table[i] = (int32_t)(s->kv.n_pages - 1 - i);
    for (unsigned i = 0, r = 0; i < h->n_seq; i++) {
        for (unsigned k = 0; k < h->lens[i]; k++, r++) {
            s->seq[r] = (int32_t)i;
            s->pos[r] = (int32_t)k;
        }
    }
    s->rows.seq = s->seq;
    s->rows.pos = s->pos;
    s->rows.table = s->table;
    s->page_bytes = krn_kv_page_bytes(&s->kv);
    s->kv.pages = malloc(s->kv.n_pages * s->page_bytes);
    assert_non_null(s->kv.pages);
    memset(s->kv.pages, 0xff, s->kv.n_pages * s->page_bytes);
}

static void scene_fini(struct scene *s)
{
    free(s->q);
    free(s->k);
    free(s->v);
    free(s->seq);
    free(s->pos);
    free(s->table);
    free(s->kv.pages);
}

/* Rows <at> .. <at>+<n>-1 of the scene. */
static struct krn_rows part_of(const struct scene *s, size_t at, unsigned n)
{
    struct krn_rows r = s->rows;

    r.seq += at;
    r.pos += at;
    r.m = n;
    return r;
}

static void attend_part(const struct scene *s, struct krn_ctx *c, size_t at,
                        unsigned n, float *out)
{
    struct krn_rows r = part_of(s, at, n);

    assert_int_equal(krn_attend(c, &s->kv, LAYER, &r, s->q + at * s->ldq,
                                s->ldq, s->n_head, s->scale, out + at * s->ldq,
                                s->ldq),
                     KRN_OK);
}

static void write_part(const struct scene *s, struct krn_ctx *c, size_t at,
                       unsigned n)
{
    struct krn_rows r = part_of(s, at, n);

    assert_int_equal(krn_kv_write(c, &s->kv, LAYER, &r, s->k + at * s->ldk,
                                  s->v + at * s->ldk, s->ldk),
                     KRN_OK);
}

/* --- against double precision --------------------------------------------- */

static double rounded(enum krn_dtype t, float x)
{
    if (t == KRN_F16)
        return (double)f32_of_half(half_of_f32(x));
    if (t == KRN_BF16)
        return (double)f32_of_bf16(bf16_of_f32(x));
    return (double)x;
}

/* Row <r> and head <h> by definition: weights in <w>, then out (d_head). */
static void attend_exactly(const struct scene *s, size_t r, unsigned h,
                           double *w, double *out)
{
    size_t d_head = s->kv.d_head;
    size_t first = r - (size_t)s->pos[r];
    size_t kv_at = h / (s->n_head / s->kv.n_kv_head) * d_head;
    enum krn_dtype q_type = s->kv.dtype == KRN_F16 ? KRN_F16 : KRN_F32;
    double sum = 0;

    for (size_t j = first; j <= r; j++) {
        double score = 0;

        for (size_t d = 0; d < d_head; d++)
            score += rounded(q_type, s->q[r * s->ldq + h * d_head + d]) *
                     rounded(s->kv.dtype, s->k[j * s->ldk + kv_at + d]);
        w[j - first] = exp(score * (double)s->scale);
        sum += w[j - first];
    }
    for (size_t d = 0; d < d_head; d++) {
        out[d] = 0;
        for (size_t j = first; j <= r; j++)
            out[d] += w[j - first] / sum *
                      rounded(s->kv.dtype, s->v[j * s->ldk + kv_at + d]);
    }
}

static void exact_check(const struct scene *s, const float *out)
{
    double *w = calloc(s->rows.m, sizeof(*w));
    double *want = calloc(s->kv.d_head, sizeof(*want));
    double off = s->kv.dtype == KRN_F16 ? 2e-3 : 2e-5;

    for (size_t r = 0; r < s->rows.m; r += 1 + r / 8)
        for (unsigned h = 0; h < s->n_head; h++) {
            attend_exactly(s, r, h, w, want);
            for (size_t d = 0; d < s->kv.d_head; d++)
                assert_true(
                    fabs((double)out[r * s->ldq + h * s->kv.d_head + d] -
                         want[d]) < off);
        }
    free(w);
    free(want);
}

/* --- equality ------------------------------------------------------------- */

/* Attention of the whole scene, <chunk> rows a call. */
static void chunks_check(const struct scene *s, struct krn_ctx *c,
                         unsigned chunk, const float *want, float *got)
{
    memset(got, 0, s->rows.m * s->ldq * sizeof(*got));
    for (size_t at = 0; at < s->rows.m; at += chunk) {
        size_t left = s->rows.m - at;

        attend_part(s, c, at, left < chunk ? (unsigned)left : chunk, got);
    }
    assert_true(rfix_same(want, got, s->rows.m * s->ldq));
}

static void shape_check(struct rfix *f, const struct shape *h, bool chunked,
                        uint64_t *seed)
{
    static const unsigned chunks[] = {1, 2, 3, 7, 16, 17, 64, 100, 512};
    struct scene s;
    size_t floats, bytes;
    float *want, *got;
    void *pages;

    scene_init(&s, h, seed);
    floats = s.rows.m * s.ldq;
    bytes = s.kv.n_pages * s.page_bytes;
    want = calloc(floats, sizeof(*want));
    got = calloc(floats, sizeof(*got));
    pages = malloc(bytes);
    write_part(&s, f->ref, 0, s.rows.m);
    attend_part(&s, f->ref, 0, s.rows.m, want);
    exact_check(&s, want);
    memcpy(pages, s.kv.pages, bytes);
    for (unsigned i = 0; i < f->n_fast; i++) {
        memset(s.kv.pages, 0xff, bytes);
        write_part(&s, f->fast[i], 0, s.rows.m / 3);
        write_part(&s, f->fast[i], s.rows.m / 3, s.rows.m - s.rows.m / 3);
        assert_memory_equal(s.kv.pages, pages, bytes);
        chunks_check(&s, f->fast[i], s.rows.m, want, got);
        for (size_t k = 0; chunked && k < sizeof(chunks) / sizeof(chunks[0]);
             k++)
            chunks_check(&s, f->fast[i], chunks[k], want, got);
    }
    free(want);
    free(got);
    free(pages);
    scene_fini(&s);
}

static void any_shape_agrees(void **state)
{
    static const unsigned d_heads[] = {1,  2,  5,  8,   16, 20,
                                       64, 80, 96, 128, 129};
    static const unsigned groups[] = {1, 2, 3, 4, 5, 7, 8, 13, 50};
    struct rfix f;
    uint64_t seed = 21;

    (void)state;
    rfix_open(&f);
    for (unsigned i = 0; i < 36; i++) {
        unsigned kv_heads = 1 + (unsigned)(kfix_next(&seed) % 3);
        unsigned group = groups[kfix_next(&seed) % 9];
        struct shape h = {.dtype = (enum krn_dtype)(i % 3),
                          .n_head = kv_heads * group,
                          .n_kv_head = kv_heads,
                          .d_head = d_heads[kfix_next(&seed) % 11],
                          .n_seq = 1 + (unsigned)(kfix_next(&seed) % 4)};

        for (unsigned k = 0; k < h.n_seq; k++)
            h.lens[k] = 1 + (unsigned)(kfix_next(&seed) % 70);
        shape_check(&f, &h, true, &seed);
    }
    rfix_close(&f);
}

/* Longer than one cut, where desks are split and scores do not all fit. */
static void long_sequences_agree(void **state)
{
    static const struct shape shapes[] = {
        {KRN_F16, 3, 1, 64, 1, {700}},
        {KRN_F32, 2, 2, 8, 2, {256, 513}},
        {KRN_BF16, 7, 1, 20, 2, {600, 255}},
        {KRN_F16, 4, 4, 16, 1, {1030}},
    };
    struct rfix f;
    uint64_t seed = 22;

    (void)state;
    rfix_open(&f);
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        shape_check(&f, &shapes[i], i < 2, &seed);
    rfix_close(&f);
}

/* A step of a server: the last row of each sequence, and a chunk of one, in
 * mixed order, against the rows of the whole. */
static void neighbours_change_nothing(void **state)
{
    static const struct shape h = {
        KRN_F16, 9, 3, 64, 8, {40, 300, 1, 17, 520, 16, 64, 33}};
    struct rfix f;
    struct scene s;
    uint64_t seed = 23;
    float *want, *got;
    float *q;
    size_t at[64];
    int32_t seq[64], pos[64];
    unsigned n = 0;

    (void)state;
    rfix_open(&f);
    scene_init(&s, &h, &seed);
    want = calloc(s.rows.m * s.ldq, sizeof(*want));
    write_part(&s, f.ref, 0, s.rows.m);
    attend_part(&s, f.ref, 0, s.rows.m, want);
    /* Rows 250..269 of sequence 1 and the last ones of the others, shuffled
     * but for the order in each sequence. */
    for (unsigned i = 0; i < 20; i++) {
        at[n++] = 40 + 250 + i;
        for (unsigned k = 0; k < 8 && i == 10; k++) {
            size_t end = 0;

            for (unsigned j = 0; j <= k; j++)
                end += h.lens[j];
            if (k != 1)
                at[n++] = end - 1;
        }
    }
    got = calloc(n * s.ldq, sizeof(*got));
    q = calloc(n * s.ldq, sizeof(*q));
    for (unsigned i = 0; i < n; i++) {
        seq[i] = s.seq[at[i]];
        pos[i] = s.pos[at[i]];
        memcpy(q + i * s.ldq, s.q + at[i] * s.ldq, s.ldq * sizeof(*q));
    }
    for (unsigned i = 0; i < f.n_fast; i++) {
        struct krn_rows r = s.rows;

        r.m = n;
        r.seq = seq;
        r.pos = pos;
        assert_int_equal(krn_attend(f.fast[i], &s.kv, LAYER, &r, q, s.ldq,
                                    s.n_head, s.scale, got, s.ldq),
                         KRN_OK);
        for (unsigned k = 0; k < n; k++)
            assert_true(
                rfix_same(want + at[k] * s.ldq, got + k * s.ldq, s.ldq - 3));
    }
    free(want);
    free(got);
    free(q);
    scene_fini(&s);
    rfix_close(&f);
}

/* NaN and infinities in keys, values and queries come out the same. */
static void strange_numbers_agree(void **state)
{
    static const struct shape h = {KRN_F32, 4, 2, 18, 2, {40, 300}};
    static const float strange[] = {NAN, INFINITY, -INFINITY, 1e38F, -1e-44F};
    struct rfix f;
    struct scene s;
    uint64_t seed = 24;
    float *want, *got;

    (void)state;
    rfix_open(&f);
    scene_init(&s, &h, &seed);
    for (unsigned i = 0; i < 30; i++) {
        float *all[] = {s.q, s.k, s.v};
        size_t ld = i % 3 == 0 ? s.ldq : s.ldk;

        all[i % 3][kfix_next(&seed) % (s.rows.m * ld)] = strange[i / 3 % 5];
    }
    want = calloc(s.rows.m * s.ldq, sizeof(*want));
    got = calloc(s.rows.m * s.ldq, sizeof(*got));
    write_part(&s, f.ref, 0, s.rows.m);
    attend_part(&s, f.ref, 0, s.rows.m, want);
    for (unsigned i = 0; i < f.n_fast; i++) {
        chunks_check(&s, f.fast[i], s.rows.m, want, got);
        chunks_check(&s, f.fast[i], 5, want, got);
    }
    free(want);
    free(got);
    scene_fini(&s);
    rfix_close(&f);
}

/* --- pages ---------------------------------------------------------------- */

static void pages_lie_as_the_header_says(void **state)
{
    static const struct shape h = {KRN_F32, 2, 2, 3, 1, {20}};
    struct rfix f;
    struct scene s;
    uint64_t seed = 25;
    const float *page;

    (void)state;
    rfix_open(&f);
    scene_init(&s, &h, &seed);
    assert_int_equal(s.page_bytes, LAYERS * 2 * 2 * 3 * KRN_PAGE_TOKENS * 4);
    write_part(&s, f.ref, 0, s.rows.m);
    page = (const float *)((const uint8_t *)s.kv.pages +
                           (size_t)s.table[1] * s.page_bytes);
    for (size_t head = 0; head < 2; head++)
        for (size_t d = 0; d < 3; d++) {
            size_t k = ((LAYER * 2 + 0) * 2 + head) * 48 + d * 16 + 3;
            size_t v = ((LAYER * 2 + 1) * 2 + head) * 48 + 3 * 3 + d;

            assert_true(page[k] == s.k[19 * s.ldk + head * 3 + d]);
            assert_true(page[v] == s.v[19 * s.ldk + head * 3 + d]);
        }
    scene_fini(&s);
    rfix_close(&f);
}

static void pages_are_copied_whole(void **state)
{
    static const struct shape h = {KRN_F16, 2, 1, 8, 1, {40}};
    struct rfix f;
    struct scene s;
    uint64_t seed = 26;
    uint8_t *pages;

    (void)state;
    rfix_open(&f);
    scene_init(&s, &h, &seed);
    write_part(&s, f.ref, 0, s.rows.m);
    pages = s.kv.pages;
    assert_int_equal(krn_kv_copy(f.ref, &s.kv, 0, (unsigned)s.table[0]),
                     KRN_OK);
    assert_memory_equal(pages, pages + (size_t)s.table[0] * s.page_bytes,
                        s.page_bytes);
    assert_int_equal(krn_kv_copy(f.ref, &s.kv, s.kv.n_pages, 0), KRN_BAD_SHAPE);
    assert_int_equal(krn_kv_copy(f.ref, &s.kv, 0, s.kv.n_pages), KRN_BAD_SHAPE);
    scene_fini(&s);
    rfix_close(&f);
}

/* One row with something wrong; nothing may be written. */
static void refused(struct rfix *f, struct scene *s, struct krn_rows r)
{
    float out[64] = {7};

    assert_int_equal(
        krn_kv_write(f->ref, &s->kv, LAYER, &r, s->k, s->v, s->ldk),
        KRN_BAD_SHAPE);
    assert_int_equal(krn_attend(f->ref, &s->kv, LAYER, &r, s->q, s->ldq,
                                s->n_head, 1, out, s->ldq),
                     KRN_BAD_SHAPE);
    assert_true(out[0] == 7);
}

static void rows_without_pages_are_refused(void **state)
{
    static const struct shape h = {KRN_F32, 2, 2, 4, 1, {20}};
    struct rfix f;
    struct scene s;
    uint64_t seed = 27;
    int32_t seq = 0;
    int32_t pos = 3;
    float out[8];

    (void)state;
    rfix_open(&f);
    scene_init(&s, &h, &seed);
    struct krn_rows r = s.rows;
    r.m = 1;
    r.seq = &seq;
    r.pos = &pos;
    seq = 1;
    refused(&f, &s, r);
    seq = -1;
    refused(&f, &s, r);
    seq = 0;
    pos = -1;
    refused(&f, &s, r);
    pos = 16 * 3;
    refused(&f, &s, r);
    pos = 3;
    s.table[0] = -1;
    refused(&f, &s, r);
    s.table[0] = (int32_t)s.kv.n_pages;
    refused(&f, &s, r);
    /* A hole below a row matters to what it sees, not to what it writes. */
    pos = 17;
    assert_int_equal(krn_kv_write(f.ref, &s.kv, LAYER, &r, s.k, s.v, s.ldk),
                     KRN_OK);
    assert_int_equal(krn_attend(f.ref, &s.kv, LAYER, &r, s.q, s.ldq, s.n_head,
                                1, out, s.ldq),
                     KRN_BAD_SHAPE);
    s.table[0] = 0;
    assert_int_equal(krn_attend(f.ref, &s.kv, LAYERS, &r, s.q, s.ldq, s.n_head,
                                1, out, s.ldq),
                     KRN_BAD_SHAPE);
    assert_int_equal(
        krn_attend(f.ref, &s.kv, LAYER, &r, s.q, s.ldq, 3, 1, out, s.ldq),
        KRN_BAD_SHAPE);
    s.kv.dtype = KRN_Q8_0;
    refused(&f, &s, r);
    scene_fini(&s);
    rfix_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_shape_agrees),
        cmocka_unit_test(long_sequences_agree),
        cmocka_unit_test(neighbours_change_nothing),
        cmocka_unit_test(strange_numbers_agree),
        cmocka_unit_test(pages_lie_as_the_header_says),
        cmocka_unit_test(pages_are_copied_whole),
        cmocka_unit_test(rows_without_pages_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
