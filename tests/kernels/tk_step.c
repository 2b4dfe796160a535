/* tk_step.c - The operations of a step on the host: each is what the operations
 * that it is made of give, bit for bit, and what does not fit is refused. */
#include "kernels/krn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "unit/cmocka_all.h"

enum { D = 96, HEADS = 4, KV_HEADS = 2, D_HEAD = 24, N_OUT = 80, M = 5 };
enum { Q = HEADS * D_HEAD, KV = KV_HEADS * D_HEAD, PAGES = 8, VOCAB = 50 };

static const int32_t seq_of[M] = {0, 0, 1, 0, 1};
static const int32_t pos_of[M] = {14, 15, 0, 16, 1};
static const int32_t table[] = {3, 1, 0, -1};
static const int32_t ids[M] = {7, 0, 49, 7, 20};
static const unsigned wanted[] = {3, 4};

struct scene {
    struct krn_ctx *c;
    struct krn_kv kv;
    struct krn_step step;
    uint64_t seed;
};

static float *numbers(struct scene *s, size_t n)
{
    float *v = krn_alloc(s->c, n * sizeof(*v));

    assert_non_null(v);
    for (size_t i = 0; i < n; i++) {
        s->seed = s->seed * 6364136223846793005u + 1442695040888963407u;
        v[i] = (float)(int32_t)(s->seed >> 32) / 2147483648.0F;
    }
    return v;
}

static float *copy_of(struct scene *s, const float *v, size_t n)
{
    float *to = krn_alloc(s->c, n * sizeof(*to));

    assert_non_null(to);
    memcpy(to, v, n * sizeof(*to));
    return to;
}

static struct krn_weight *weight(struct scene *s, size_t n_out, size_t n_in)
{
    float *v = numbers(s, n_out * n_in);
    struct krn_weight *w;

    assert_int_equal(krn_weight_load(s->c, KRN_F32, n_out, n_in, v, &w),
                     KRN_OK);
    krn_free(s->c, v);
    return w;
}

static void scene_open(struct scene *s, const char *device)
{
    struct krn_opts o = {.device = device, .threads = 2};

    *s = (struct scene){.seed = 5};
    assert_int_equal(krn_open(&o, &s->c), KRN_OK);
    s->kv = (struct krn_kv){.dtype = KRN_F16,
                            .page_tokens = krn_page_tokens(s->c),
                            .n_pages = PAGES,
                            .n_layer = 2,
                            .n_kv_head = KV_HEADS,
                            .d_head = D_HEAD};
    s->kv.pages = krn_alloc(s->c, PAGES * krn_kv_page_bytes(&s->kv));
    assert_non_null(s->kv.pages);
    memset(s->kv.pages, 0, PAGES * krn_kv_page_bytes(&s->kv));
    s->step = (struct krn_step){.kv = &s->kv,
                                .rows = {M, seq_of, pos_of, 2, table, 2},
                                .ids = ids,
                                .wanted = wanted,
                                .n_wanted = 2,
                                .n_vocab = VOCAB};
}

static void scene_close(struct scene *s)
{
    krn_free(s->c, s->kv.pages);
    krn_close(s->c);
}

static void begin(struct scene *s)
{
    struct krn_pass pass;

    assert_int_equal(krn_step_begin(s->c, &s->step, &pass), KRN_OK);
    assert_int_equal(pass.m, M);
    assert_int_equal(pass.n_wanted, 2);
    assert_false(pass.again);
}

static void tokens_and_rows_are_found(void **state)
{
    struct scene s;
    struct krn_weight *w;
    float *x, *few, want[D];

    (void)state;
    scene_open(&s, "cpu");
    w = weight(&s, VOCAB, D);
    x = numbers(&s, (size_t)M * D);
    few = numbers(&s, (size_t)2 * D);
    begin(&s);
    assert_int_equal(krn_step_embed(s.c, x, w), KRN_OK);
    assert_int_equal(krn_step_take(s.c, few, x, D), KRN_OK);
    assert_int_equal(krn_step_end(s.c), KRN_OK);
    for (int r = 0; r < M; r++) {
        assert_int_equal(krn_embed(s.c, want, w, &ids[r], 1), KRN_OK);
        assert_memory_equal(x + (size_t)r * D, want, sizeof(want));
    }
    assert_memory_equal(few, x + (size_t)3 * D, 2 * sizeof(want));
    krn_free(s.c, x);
    krn_free(s.c, few);
    krn_weight_free(s.c, w);
    scene_close(&s);
}

static void turns_are_sized_cosines_and_sines(void **state)
{
    static const double freq[] = {0.5, 0.025};
    struct scene s;
    float cs[M * 4];

    (void)state;
    scene_open(&s, "cpu");
    begin(&s);
    assert_int_equal(krn_step_turns(s.c, KRN_ALL, cs, freq, 4, 1.5), KRN_OK);
    for (int r = 0; r < M; r++) {
        for (int k = 0; k < 2; k++) {
            double angle = pos_of[r] * freq[k];

            assert_true(cs[4 * r + 2 * k] == (float)(cos(angle) * 1.5));
            assert_true(cs[4 * r + 2 * k + 1] == (float)(sin(angle) * 1.5));
        }
    }
    assert_int_equal(krn_step_turns(s.c, KRN_WANTED, cs, freq, 4, 1), KRN_OK);
    assert_true(cs[0] == (float)cos(16 * 0.5) && cs[5] == (float)sin(0.5));
    assert_int_equal(krn_step_end(s.c), KRN_OK);
    scene_close(&s);
}

/* Rows side by side or apart, added or not, with and without a bias. */
static void products_are_those_of_krn_linear(void **state)
{
    struct scene s;
    struct krn_weight *w[2];
    float *x, *y, *was, *bias, want[2][M * N_OUT];

    (void)state;
    scene_open(&s, "cpu");
    for (int i = 0; i < 2; i++)
        w[i] = weight(&s, N_OUT, D);
    x = numbers(&s, (size_t)M * D);
    bias = numbers(&s, N_OUT);
    for (unsigned gap = 0; gap < 2; gap++) {
        const size_t ld = N_OUT + gap * 100;
        const struct krn_out outs[] = {{w[0], NULL, want[0], N_OUT},
                                       {w[1], bias, want[1], N_OUT}};
        struct krn_prod prods[2];

        y = numbers(&s, 2 * M * ld);
        was = copy_of(&s, y, 2 * M * ld);
        prods[0] = (struct krn_prod){w[0], NULL, y, ld, KRN_AS_ADDED};
        prods[1] = (struct krn_prod){w[1], bias, y + M * ld, ld, KRN_AS_ADDED};
        assert_int_equal(krn_linear(s.c, x, D, M, 2, outs), KRN_OK);
        begin(&s);
        assert_int_equal(krn_step_linear(s.c, x, D, M, 2, prods), KRN_OK);
        for (size_t i = 0; i < (size_t)2 * M * N_OUT; i++) {
            size_t at = i / N_OUT * ld + i % N_OUT;

            assert_true(y[at] ==
                        was[at] + want[i / (M * N_OUT)][i % (M * N_OUT)]);
        }
        prods[1].as = KRN_AS_F32;
        assert_int_equal(krn_step_linear(s.c, x, D, M, 1, prods + 1), KRN_OK);
        for (size_t r = 0; r < M; r++)
            assert_memory_equal(y + (M + r) * ld, want[1] + r * N_OUT,
                                N_OUT * sizeof(*y));
        assert_int_equal(krn_step_end(s.c), KRN_OK);
        krn_free(s.c, y);
        krn_free(s.c, was);
    }
    for (int i = 0; i < 2; i++)
        krn_weight_free(s.c, w[i]);
    krn_free(s.c, x);
    krn_free(s.c, bias);
    scene_close(&s);
}

static void the_gate_is_multiplied_in_place(void **state)
{
    struct scene s;
    struct krn_weight *gate, *up;
    float *x, *y, g[M * N_OUT], u[M * N_OUT];

    (void)state;
    for (int ref = 0; ref < 2; ref++) {
        struct krn_out both[2];

        scene_open(&s, ref ? "ref" : "cpu");
        gate = weight(&s, N_OUT, D);
        up = weight(&s, N_OUT, D);
        x = numbers(&s, (size_t)M * D);
        y = numbers(&s, (size_t)M * (2 * N_OUT + 3));
        both[0] = (struct krn_out){gate, NULL, g, N_OUT};
        both[1] = (struct krn_out){up, NULL, u, N_OUT};
        assert_int_equal(krn_linear(s.c, x, D, M, 2, both), KRN_OK);
        assert_int_equal(krn_silu_mul(s.c, g, g, u, (size_t)M * N_OUT), KRN_OK);
        for (unsigned m = 1; m <= M; m += M - 1) {
            begin(&s);
            assert_int_equal(
                krn_step_glu(s.c, x, D, m, gate, up, y, 2 * N_OUT + 3), KRN_OK);
            assert_int_equal(krn_step_end(s.c), KRN_OK);
            for (size_t r = 0; r < m; r++)
                assert_memory_equal(y + r * (2 * N_OUT + 3), g + r * N_OUT,
                                    N_OUT * sizeof(*y));
        }
        krn_weight_free(s.c, gate);
        krn_weight_free(s.c, up);
        krn_free(s.c, x);
        krn_free(s.c, y);
        scene_close(&s);
    }
}

/* Norm, turn and write heads by the pieces, rows dense. */
static void by_pieces(struct scene *s, float *q, float *k, const float *v,
                      const float *gain, const float *cs)
{
    assert_int_equal(krn_rms_norm(s->c, q, D_HEAD, q, D_HEAD, gain, M * HEADS,
                                  D_HEAD, 1e-5F),
                     KRN_OK);
    assert_int_equal(krn_rope(s->c, q, Q, M, HEADS, D_HEAD, D_HEAD, cs, true),
                     KRN_OK);
    assert_int_equal(krn_rms_norm(s->c, k, D_HEAD, k, D_HEAD, gain,
                                  M * KV_HEADS, D_HEAD, 1e-5F),
                     KRN_OK);
    assert_int_equal(
        krn_rope(s->c, k, KV, M, KV_HEADS, D_HEAD, D_HEAD, cs, true), KRN_OK);
    assert_int_equal(krn_kv_write(s->c, &s->kv, 1, &s->step.rows, k, v, KV),
                     KRN_OK);
}

/* What heads are made of, twice: dense, and side by side in rows. */
struct parts {
    float *q, *k, *v, *gain, *cs, *wide;
    uint8_t *pages;
    size_t bytes;
    float want[M * Q]; /* attention */
};

enum { WIDE = Q + 2 * KV };

static void parts_make(struct scene *s, struct parts *p)
{
    p->bytes = PAGES * krn_kv_page_bytes(&s->kv);
    p->pages = malloc(p->bytes);
    assert_non_null(p->pages);
    p->q = numbers(s, (size_t)M * Q);
    p->k = numbers(s, (size_t)M * KV);
    p->v = numbers(s, (size_t)M * KV);
    p->gain = numbers(s, D_HEAD);
    p->cs = numbers(s, (size_t)M * D_HEAD);
    p->wide = numbers(s, (size_t)M * WIDE);
    for (size_t r = 0; r < M; r++) {
        float *to = p->wide + r * WIDE;

        memcpy(to, p->q + r * Q, Q * sizeof(*to));
        memcpy(to + Q, p->k + r * KV, KV * sizeof(*to));
        memcpy(to + Q + KV, p->v + r * KV, KV * sizeof(*to));
    }
    by_pieces(s, p->q, p->k, p->v, p->gain, p->cs);
    assert_int_equal(krn_attend(s->c, &s->kv, 1, &s->step.rows, p->q, Q, HEADS,
                                0.2F, p->want, Q),
                     KRN_OK);
    memcpy(p->pages, s->kv.pages, p->bytes);
    memset(s->kv.pages, 0, p->bytes);
}

static void parts_free(struct scene *s, struct parts *p)
{
    krn_free(s->c, p->q);
    krn_free(s->c, p->k);
    krn_free(s->c, p->v);
    krn_free(s->c, p->gain);
    krn_free(s->c, p->cs);
    krn_free(s->c, p->wide);
    free(p->pages);
}

/* Rows of q, k and v side by side, or v apart, give the same heads, pages and
 * attention as dense ones. */
static void heads_and_attention_are_their_pieces(void **state)
{
    struct scene s;
    struct parts p;
    float out[M * Q];

    (void)state;
    for (int apart = 0; apart < 2; apart++) {
        struct krn_heads h = {.ldq = WIDE,
                              .ldk = WIDE,
                              .ldv = apart ? KV : WIDE,
                              .n_head = HEADS,
                              .eps = 1e-5F,
                              .n_rot = D_HEAD,
                              .halves = true};
        float *v;

        scene_open(&s, "cpu");
        parts_make(&s, &p);
        v = copy_of(&s, p.v, (size_t)M * KV);
        h.q = p.wide;
        h.k = p.wide + Q;
        h.v = apart ? v : p.wide + Q + KV;
        h.q_norm = h.k_norm = p.gain;
        h.cs = p.cs;
        begin(&s);
        assert_int_equal(krn_step_heads(s.c, KRN_ALL, 1, &h), KRN_OK);
        assert_memory_equal(s.kv.pages, p.pages, p.bytes);
        assert_int_equal(
            krn_step_attend(s.c, KRN_ALL, 1, p.wide, WIDE, HEADS, 0.2F, out, Q),
            KRN_OK);
        assert_memory_equal(out, p.want, sizeof(out));
        /* The wanted rows are the last two. */
        assert_int_equal(krn_step_attend(s.c, KRN_WANTED, 1,
                                         p.wide + (size_t)3 * WIDE, WIDE, HEADS,
                                         0.2F, out, Q),
                         KRN_OK);
        assert_memory_equal(out, p.want + (size_t)3 * Q, 2 * Q * sizeof(*out));
        assert_int_equal(krn_step_end(s.c), KRN_OK);
        krn_free(s.c, v);
        parts_free(&s, &p);
        scene_close(&s);
    }
}

static void pages_travel(void **state)
{
    struct scene s;
    size_t bytes;
    uint64_t ticket = 7;
    bool failed = false;
    uint8_t *host, *pages;

    (void)state;
    scene_open(&s, "cpu");
    bytes = krn_kv_page_bytes(&s.kv);
    host = krn_host_alloc(s.c, bytes);
    pages = s.kv.pages;
    assert_true(host && (uintptr_t)host % 4096 == 0);
    memset(pages + 2 * bytes, 0x5a, bytes);
    assert_int_equal(krn_page_out(s.c, &s.kv, 2, host, &ticket), KRN_OK);
    assert_true(krn_page_done(s.c, ticket, &failed) && !failed);
    assert_memory_equal(host, pages + 2 * bytes, bytes);
    assert_int_equal(krn_page_in(s.c, &s.kv, 5, host, &ticket), KRN_OK);
    assert_true(krn_page_done(s.c, ticket, &failed) && !failed);
    assert_memory_equal(pages + 5 * bytes, host, bytes);
    assert_int_equal(krn_kv_copy(s.c, &s.kv, 7, 5), KRN_OK);
    assert_memory_equal(pages + 7 * bytes, host, bytes);
    assert_int_equal(krn_page_out(s.c, &s.kv, PAGES, host, &ticket),
                     KRN_BAD_SHAPE);
    assert_int_equal(krn_page_in(s.c, &s.kv, PAGES, host, &ticket),
                     KRN_BAD_SHAPE);
    assert_int_equal(krn_kv_copy(s.c, &s.kv, 0, PAGES), KRN_BAD_SHAPE);
    krn_host_free(s.c, host);
    krn_host_free(s.c, NULL);
    scene_close(&s);
}

/* --- refusals ------------------------------------------------------------- */

static void refused(struct scene *s, const struct krn_step *step)
{
    struct krn_pass pass;

    assert_int_equal(krn_step_begin(s->c, step, &pass), KRN_BAD_SHAPE);
    assert_int_equal(krn_step_end(s->c), KRN_BAD_SHAPE);
}

static void bad_steps_are_not_begun(void **state)
{
    static const int32_t bad_ids[] = {7, 0, VOCAB, 7, 20};
    static const int32_t bad_order[] = {15, 14, 0, 16, 1};
    static const int32_t twice[] = {14, 15, 0, 15, 1};
    static const int32_t far[] = {14, 15, 0, 32, 1};
    static const int32_t no_page[] = {14, 15, 0, 16, 17};
    static const int32_t no_seq[] = {0, 0, 1, 0, 2};
    static const int32_t hole[] = {-1, 1, 0, -1};
    static const unsigned back[] = {4, 3};
    static const unsigned none[] = {4, M};
    static const int32_t *const bad_pos[] = {bad_order, twice, far, no_page};
    struct scene s;
    struct krn_step t;
    struct krn_pass pass;

    (void)state;
    scene_open(&s, "cpu");
    for (size_t i = 0; i < sizeof(bad_pos) / sizeof(bad_pos[0]); i++) {
        t = s.step;
        t.rows.pos = bad_pos[i];
        refused(&s, &t);
    }
    t = s.step;
    t.ids = bad_ids;
    refused(&s, &t);
    t = s.step;
    t.rows.seq = no_seq;
    refused(&s, &t);
    t = s.step;
    t.rows.table = hole;
    refused(&s, &t);
    t = s.step;
    t.wanted = back;
    refused(&s, &t);
    t.wanted = none;
    refused(&s, &t);
    t = s.step;
    t.rows.m = 0;
    refused(&s, &t);
    s.kv.page_tokens = KRN_PAGE_TOKENS_MAX;
    refused(&s, &s.step);
    s.kv.page_tokens = 0;
    begin(&s);
    assert_int_equal(krn_step_begin(s.c, &s.step, &pass), KRN_BAD_SHAPE);
    assert_int_equal(krn_step_end(s.c), KRN_OK);
    scene_close(&s);
}

/* After an operation that was refused the step is over, and another may be
 * begun; without a step there are no operations. */
static void a_failed_step_is_forgotten(void **state)
{
    struct scene s;
    float x[D];

    (void)state;
    scene_open(&s, "cpu");
    assert_int_equal(krn_step_take(s.c, x, x, D), KRN_BAD_SHAPE);
    begin(&s);
    assert_int_equal(krn_step_heads(s.c, KRN_ALL, 2, NULL), KRN_BAD_SHAPE);
    assert_int_equal(krn_step_end(s.c), KRN_OK);
    begin(&s);
    assert_int_equal(krn_step_end(s.c), KRN_OK);
    scene_close(&s);
}

static void a_page_is_as_large_as_its_tokens(void **state)
{
    struct krn_kv kv = {
        .dtype = KRN_BF16, .n_layer = 3, .n_kv_head = 2, .d_head = 8};

    (void)state;
    assert_int_equal(krn_kv_page_bytes(&kv), 2 * 3 * 2 * 16 * 8 * 2);
    kv.page_tokens = 64;
    assert_int_equal(krn_kv_page_bytes(&kv), 2 * 3 * 2 * 64 * 8 * 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_and_rows_are_found),
        cmocka_unit_test(turns_are_sized_cosines_and_sines),
        cmocka_unit_test(products_are_those_of_krn_linear),
        cmocka_unit_test(the_gate_is_multiplied_in_place),
        cmocka_unit_test(heads_and_attention_are_their_pieces),
        cmocka_unit_test(pages_travel),
        cmocka_unit_test(bad_steps_are_not_begun),
        cmocka_unit_test(a_failed_step_is_forgotten),
        cmocka_unit_test(a_page_is_as_large_as_its_tokens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
