/* cuda_rows.c - Queueing the kernels of k_rows.cu and k_heads.cu: what each is
 * told, and over how many blocks. All of it depends on shapes alone. */
#include <stdlib.h>

#include "kernels/cuda/a_rows.h"
#include "kernels/cuda/cuda.h"
#include "kernels/kv.h"

/* Most elements of a head. */
#define HEAD_MAX 256

/* The kernels; those of an array by type, enum krn_dtype. */
struct cuda_rows {
    CUfunction embed[KRN_DTYPE_COUNT];
    CUfunction turns;
    CUfunction norm[3];
    CUfunction take;
    CUfunction heads[3];
    CUfunction silu[3];
    CUfunction bias[3];
};

/* --- opening -------------------------------------------------------------- */

static enum krn_status find(struct cuda *d, const char *const *names,
                            CUfunction *out, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        enum krn_status st = cuda_kernel(d, names[i], 0, &out[i]);
        if (st != KRN_OK)
            return st;
    }
    return KRN_OK;
}

static enum krn_status find_all(struct cuda *d, struct cuda_rows *r)
{
    static const char *const embed[KRN_DTYPE_COUNT] = {
        "tg_embed_f32",  "tg_embed_f16",  "tg_embed_bf16", "tg_embed_q8_0",
        "tg_embed_q4_0", "tg_embed_q4_k", "tg_embed_q5_k", "tg_embed_q6_k"};
    static const char *const turns[] = {"tg_turns"};
    static const char *const take[] = {"tg_take"};
    static const char *const norm[] = {"tg_norm_f32", "tg_norm_f16",
                                       "tg_norm_bf16"};
    static const char *const heads[] = {"tg_heads_f32", "tg_heads_f16",
                                        "tg_heads_bf16"};
    static const char *const silu[] = {"tg_silu_f32", "tg_silu_f16",
                                       "tg_silu_bf16"};
    static const char *const bias[] = {"tg_bias_f32", "tg_bias_f16",
                                       "tg_bias_bf16"};
    enum krn_status st = find(d, embed, r->embed, KRN_DTYPE_COUNT);

    if (st == KRN_OK)
        st = find(d, turns, &r->turns, 1);
    if (st == KRN_OK)
        st = find(d, take, &r->take, 1);
    if (st == KRN_OK)
        st = find(d, norm, r->norm, 3);
    if (st == KRN_OK)
        st = find(d, heads, r->heads, 3);
    if (st == KRN_OK)
        st = find(d, silu, r->silu, 3);
    if (st == KRN_OK)
        st = find(d, bias, r->bias, 3);
    return st;
}

enum krn_status cuda_rows_open(struct cuda *d)
{
    struct cuda_rows *r = calloc(1, sizeof(*r));
    enum krn_status st;

    if (!r)
        return KRN_NOMEM;
    st = find_all(d, r);
    if (st != KRN_OK) {
        free(r);
        return st;
    }
    d->rows = r;
    return KRN_OK;
}

void cuda_rows_close(struct cuda *d)
{
    free(d->rows);
    d->rows = NULL;
}

/* --- shapes --------------------------------------------------------------- */

/* Whether rows of <n> elements, <ld> apart from <p> on, are whole units that
 * begin at multiples of 16 bytes. */
static bool is_even(const void *p, size_t ld, size_t n)
{
    return (uintptr_t)p % 16 == 0 && ld % 8 == 0 && n % 8 == 0;
}

/* Blocks of ROWS_THREADS units that a row of <n> elements takes. */
static unsigned blocks_of(size_t n)
{
    return (unsigned)((n + 8 * ROWS_THREADS - 1) / (8 * ROWS_THREADS));
}

/* Queue <blocks> blocks of ROWS_THREADS; none at all is fine. */
static enum krn_status queue(struct cuda *d, CUfunction f, size_t blocks,
                             const void *args)
{
    struct cuda_grid grid = {(unsigned)blocks, 1, 1};

    if (blocks == 0)
        return KRN_OK;
    if (blocks > INT32_MAX)
        return KRN_BAD_SHAPE;
    return cuda_launch(d, f, grid, ROWS_THREADS, 0, args);
}

/* --- operations ----------------------------------------------------------- */

enum krn_status cuda_embed(struct krn_ctx *c, float *x,
                           const struct krn_weight *w)
{
    struct cuda *d = c->cuda;
    struct a_embed a = {.x = x, .w = w->data};

    if (w->dtype >= KRN_DTYPE_COUNT)
        return KRN_UNSUPPORTED;
    a.ids = (const int32_t *)(uintptr_t)d->in.ids;
    a.n_in = (int32_t)w->n_in;
    a.n_k = (int32_t)((w->n_in + 255) / 256);
    a.blocks = (int32_t)blocks_of(w->n_in);
    a.vec = is_even(x, w->n_in, w->n_in) && is_even(w->data, w->n_in, w->n_in);
    return queue(d, d->rows->embed[w->dtype],
                 (size_t)d->in.set[KRN_ALL].m * (unsigned)a.blocks, &a);
}

enum krn_status cuda_turns(struct krn_ctx *c, enum krn_set set, float *cs,
                           const double *freq, unsigned n_rot, double size)
{
    struct cuda *d = c->cuda;
    const struct cuda_set *s = &d->in.set[set];
    struct a_turns a = {.cs = cs, .freq = freq, .size = size};

    a.pos = (const int32_t *)(uintptr_t)s->pos;
    a.m = (int32_t)s->m;
    a.n_half = (int32_t)(n_rot / 2);
    return queue(d, d->rows->turns,
                 ((size_t)s->m * (n_rot / 2) + ROWS_THREADS - 1) / ROWS_THREADS,
                 &a);
}

enum krn_status cuda_norm(struct krn_ctx *c, void *y, size_t ldy, bool f32,
                          const float *x, size_t ldx, const float *gain,
                          unsigned m, unsigned n, float eps)
{
    struct cuda *d = c->cuda;
    struct cuda_grid grid = {m, 1, 1};
    struct a_norm a = {.y = y, .x = x, .gain = gain, .eps = eps};
    unsigned threads = (n + 255) / 256 * 32; /* of one unit each */

    if (m == 0)
        return KRN_OK;
    a.ldy = (int64_t)ldy;
    a.ldx = (int64_t)ldx;
    a.n = (int32_t)n;
    a.vec = is_even(y, ldy, n) && is_even(x, ldx, n) && is_even(gain, n, n);
    if (threads > ROWS_NORM_THREADS)
        threads = ROWS_NORM_THREADS;
    return cuda_launch(d, d->rows->norm[f32 ? KRN_F32 : d->act], grid, threads,
                       0, &a);
}

enum krn_status cuda_take(struct krn_ctx *c, float *y, const float *x,
                          unsigned n)
{
    struct cuda *d = c->cuda;
    struct a_take a = {.y = y, .x = x};

    a.wanted = (const uint32_t *)(uintptr_t)d->in.wanted;
    a.n = (int32_t)n;
    a.blocks = (int32_t)blocks_of(n);
    a.vec = is_even(x, n, n) && is_even(y, n, n);
    return queue(d, d->rows->take,
                 (size_t)d->in.set[KRN_WANTED].m * (unsigned)a.blocks, &a);
}

/* What deals with pages, for <layer> of <kv>. */
static void heads_pages(struct a_heads *a, const struct cuda *d,
                        const struct krn_kv *kv, enum krn_set set,
                        unsigned layer)
{
    size_t one = kv->n_kv_head * kv_half_bytes(kv);

    a->seq = (const int32_t *)(uintptr_t)d->in.set[set].seq;
    a->pos = (const int32_t *)(uintptr_t)d->in.set[set].pos;
    a->table = (const int32_t *)(uintptr_t)d->in.table;
    a->max_pages = (int32_t)d->in.max_pages;
    a->n_pages = (int32_t)kv->n_pages;
    a->pages = (uint8_t *)kv->pages + 2 * layer * one;
    a->page_stride = (int64_t)(2 * kv->n_layer * one);
    a->half_bytes = (int32_t)kv_half_bytes(kv);
    a->kv = kv->dtype == KRN_FP8    ? ROWS_KV_FP8
            : kv->dtype == KRN_BF16 ? ROWS_KV_BF16
                                    : ROWS_KV_F16;
}

enum krn_status cuda_heads(struct krn_ctx *c, enum krn_set set, unsigned layer,
                           const struct krn_heads *h)
{
    struct cuda *d = c->cuda;
    const struct krn_kv *kv = c->step.kv;
    struct a_heads a = {.q = h->q, .k = h->k, .v = h->v, .eps = h->eps};
    unsigned m = d->in.set[set].m;
    size_t items;

    if (kv->d_head % 8 != 0 || kv->d_head > HEAD_MAX || kv->dtype == KRN_F32)
        return KRN_UNSUPPORTED;
    heads_pages(&a, d, kv, set, layer);
    a.ldq = (int64_t)h->ldq;
    a.ldk = (int64_t)h->ldk;
    a.ldv = (int64_t)h->ldv;
    a.q_norm = h->q_norm;
    a.k_norm = h->k_norm;
    a.cs = h->cs;
    a.m = (int32_t)m;
    a.n_head = h->q ? (int32_t)h->n_head : 0;
    a.n_kv = h->k ? (int32_t)kv->n_kv_head : 0;
    a.d_head = (int32_t)kv->d_head;
    a.n_rot = (int32_t)h->n_rot;
    a.halves = h->halves;
    a.vec = (!h->q || is_even(h->q, h->ldq, 8)) &&
            (!h->k || (is_even(h->k, h->ldk, 8) && is_even(h->v, h->ldv, 8)));
    for (a.lanes = 1; a.lanes * 8 < a.d_head;)
        a.lanes *= 2;
    items = (size_t)m * (unsigned)(a.n_head + 2 * a.n_kv);
    return queue(d, d->rows->heads[d->act],
                 (items * (unsigned)a.lanes + ROWS_THREADS - 1) / ROWS_THREADS,
                 &a);
}

/* --- pieces of products --------------------------------------------------- */

enum krn_status cuda_silu_rows(struct cuda *d, void *y, size_t ldy, unsigned m,
                               unsigned n)
{
    struct a_silu a = {.y = y, .ldy = (int64_t)ldy, .n = (int32_t)n};

    a.blocks = (int32_t)blocks_of(n);
    a.vec = is_even(y, ldy, n);
    return queue(d, d->rows->silu[d->act], (size_t)m * (unsigned)a.blocks, &a);
}

enum krn_status cuda_bias_rows(struct cuda *d, void *y, size_t ldy, bool f32,
                               const float *bias, unsigned m, unsigned n)
{
    struct a_bias a = {.y = y, .bias = bias, .ldy = (int64_t)ldy};

    a.n = (int32_t)n;
    a.blocks = (int32_t)blocks_of(n);
    a.vec = is_even(y, ldy, n) && is_even(bias, n, n);
    return queue(d, d->rows->bias[f32 ? KRN_F32 : d->act],
                 (size_t)m * (unsigned)a.blocks, &a);
}
