/* cpu_rows.c - The row-wise operations on the compute threads: cut into items
 * that are large enough to be worth a thread's while. How they are cut cannot
 * change a number, since each row, or element, is computed alone. */
#include "kernels/cpu/cpu_rows.h"

#include "kernels/kv.h"
#include "kernels/pool.h"

/* Elements of one item: some microseconds of work. */
#define ITEM_ELEMENTS 16384

const struct cpu_row_fns *cpu_row_fns_of(enum krn_isa isa)
{
#if defined(__x86_64__)
    if (isa == KRN_ISA_AVX512)
        return &cpu_row_fns_avx512;
    if (isa == KRN_ISA_AVX2)
        return &cpu_row_fns_avx2;
#endif
    (void)isa; /* scalar code only */
    return NULL;
}

/* <all> things of <each> elements, cut into items. */
struct cut {
    size_t all;
    size_t per_item;
};

static struct cut cut_of(size_t all, size_t each)
{
    size_t per_item = each < ITEM_ELEMENTS ? ITEM_ELEMENTS / each : 1;

    return (struct cut){all, per_item};
}

static unsigned cut_items(struct cut c)
{
    return (unsigned)((c.all + c.per_item - 1) / c.per_item);
}

static size_t cut_end(struct cut c, size_t from)
{
    return c.all - from < c.per_item ? c.all : from + c.per_item;
}

struct norm_job {
    const struct cpu_row_fns *f;
    struct cut cut;
    float *y;
    size_t ldy;
    const float *x;
    size_t ldx;
    const float *gain;
    size_t n;
    float eps;
};

static void norm_item(void *arg, unsigned item, unsigned worker)
{
    const struct norm_job *j = arg;
    size_t from = item * j->cut.per_item;

    (void)worker; /* no scratch */
    for (size_t r = from; r < cut_end(j->cut, from); r++)
        j->f->norm(j->y + r * j->ldy, j->x + r * j->ldx, j->gain, j->n, j->eps);
}

static enum krn_status cpu_rms_norm(struct krn_ctx *c, float *y, size_t ldy,
                                    const float *x, size_t ldx,
                                    const float *gain, unsigned m, unsigned n,
                                    float eps)
{
    struct norm_job j = {
        cpu_row_fns_of(c->isa), cut_of(m, n), y, ldy, x, ldx, gain, n, eps};

    pool_run(c->pool, norm_item, &j, cut_items(j.cut));
    return KRN_OK;
}

struct mix_job {
    const struct cpu_row_fns *f;
    struct cut cut;
    float *y;
    const float *a;
    const float *b; /* NULL for a sum */
    /* Where the cut is of rows: */
    size_t n, ldy, ldx;
};

static void mix_item(void *arg, unsigned item, unsigned worker)
{
    const struct mix_job *j = arg;
    size_t from = item * j->cut.per_item;
    size_t n = cut_end(j->cut, from) - from;

    (void)worker; /* no scratch */
    if (j->b)
        j->f->silu_mul(j->y + from, j->a + from, j->b + from, n);
    else
        j->f->add(j->y + from, j->a + from, n);
}

static enum krn_status cpu_add(struct krn_ctx *c, float *y, const float *x,
                               size_t n)
{
    struct mix_job j = {
        .f = cpu_row_fns_of(c->isa), .cut = cut_of(n, 1), .y = y, .a = x};

    pool_run(c->pool, mix_item, &j, cut_items(j.cut));
    return KRN_OK;
}

static void silu_item(void *arg, unsigned item, unsigned worker)
{
    const struct mix_job *j = arg;
    size_t from = item * j->cut.per_item;

    (void)worker; /* no scratch */
    for (size_t r = from; r < cut_end(j->cut, from); r++)
        j->f->silu_mul(j->y + r * j->ldy, j->a + r * j->ldx, j->b + r * j->ldx,
                       j->n);
}

static enum krn_status cpu_silu_mul(struct krn_ctx *c, float *y, size_t ldy,
                                    const float *gate, const float *up,
                                    size_t ldx, unsigned m, size_t n)
{
    struct mix_job j = {.f = cpu_row_fns_of(c->isa),
                        .cut = m == 1 ? cut_of(n, 1) : cut_of(m, n + 1),
                        .y = y,
                        .a = gate,
                        .b = up,
                        .n = n,
                        .ldy = ldy,
                        .ldx = ldx};

    pool_run(c->pool, m == 1 ? mix_item : silu_item, &j, cut_items(j.cut));
    return KRN_OK;
}

struct rope_job {
    const struct cpu_row_fns *f;
    struct cut cut;
    struct cpu_turn first; /* row 0 */
    size_t ld;
};

static void rope_item(void *arg, unsigned item, unsigned worker)
{
    const struct rope_job *j = arg;
    size_t from = item * j->cut.per_item;

    (void)worker; /* no scratch */
    for (size_t r = from; r < cut_end(j->cut, from); r++) {
        struct cpu_turn t = j->first;

        t.v += r * j->ld;
        t.cs += r * t.n_rot;
        j->f->turn(&t);
    }
}

static enum krn_status cpu_rope(struct krn_ctx *c, float *v, size_t ld,
                                unsigned m, unsigned n_head, unsigned d_head,
                                unsigned n_rot, const float *cs, bool halves)
{
    struct rope_job j = {.f = cpu_row_fns_of(c->isa),
                         .cut = cut_of(m, (size_t)n_head * n_rot + 1),
                         .first = {v, cs, n_head, d_head, n_rot, halves},
                         .ld = ld};

    pool_run(c->pool, rope_item, &j, cut_items(j.cut));
    return KRN_OK;
}

struct write_job {
    const struct cpu_row_fns *f;
    struct cut cut;
    const struct krn_kv *kv;
    const struct krn_rows *rows;
    unsigned layer;
    const float *k, *v;
    size_t ld;
};

static void write_row(const struct write_job *j, size_t r, unsigned h)
{
    const struct krn_kv *kv = j->kv;
    size_t each = krn_dtype_bytes(kv->dtype);
    size_t at = (size_t)j->rows->pos[r] % KRN_PAGE_TOKENS;
    int32_t page = kv_page_of(j->rows, j->rows->seq[r], j->rows->pos[r]);
    struct kv_head to = kv_head_of(kv, j->layer, h, page);
    const float *k = j->k + r * j->ld + (size_t)h * kv->d_head;
    const float *v = j->v + r * j->ld + (size_t)h * kv->d_head;

    j->f->narrow((uint8_t *)to.k + at * each, KRN_PAGE_TOKENS, kv->dtype, k,
                 kv->d_head);
    j->f->narrow((uint8_t *)to.v + at * kv->d_head * each, 1, kv->dtype, v,
                 kv->d_head);
}

/* Items are rows of all heads. Two threads may write to one page, but never to
 * the same element. */
static void write_item(void *arg, unsigned item, unsigned worker)
{
    const struct write_job *j = arg;
    size_t from = item * j->cut.per_item;

    (void)worker; /* no scratch */
    for (unsigned h = 0; h < j->kv->n_kv_head; h++)
        for (size_t r = from; r < cut_end(j->cut, from); r++)
            write_row(j, r, h);
}

static enum krn_status cpu_kv_write(struct krn_ctx *c, const struct krn_kv *kv,
                                    unsigned layer, const struct krn_rows *rows,
                                    const float *k, const float *v, size_t ld)
{
    /* Keys are written across lines of the cache, values along them. */
    size_t each = 4 * (size_t)kv->n_kv_head * kv->d_head;
    struct write_job j = {.f = cpu_row_fns_of(c->isa),
                          .cut = cut_of(rows->m, each),
                          .kv = kv,
                          .rows = rows,
                          .layer = layer,
                          .k = k,
                          .v = v,
                          .ld = ld};

    pool_run(c->pool, write_item, &j, cut_items(j.cut));
    return KRN_OK;
}

const struct krn_row_ops cpu_row_ops = {
    .rms_norm = cpu_rms_norm,
    .add = cpu_add,
    .silu_mul = cpu_silu_mul,
    .rope = cpu_rope,
    .kv_write = cpu_kv_write,
    .attend = cpu_attend,
};
