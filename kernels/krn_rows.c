/* krn_rows.c - The row-wise operations and attention of krn.h: what is checked
 * before a backend is called. */
#include "kernels/krn.h"

#include <string.h>

#include "kernels/cpu/cpu_rows.h"
#include "kernels/krn_priv.h"
#include "kernels/kv.h"
#include "kernels/ref/ref_rows.h"

static const struct krn_row_ops ref_row_ops = {
    .rms_norm = ref_rms_norm,
    .add = ref_add,
    .silu_mul = ref_silu_mul,
    .rope = ref_rope,
    .kv_write = ref_kv_write,
    .attend = ref_attend,
};

const struct krn_row_ops *krn_row_ops_of(enum krn_isa isa)
{
#ifdef __x86_64__
    if (cpu_row_fns_of(isa))
        return &cpu_row_ops;
#endif
    (void)isa; /* scalar code only */
    return &ref_row_ops;
}

enum krn_status krn_rms_norm(struct krn_ctx *c, float *y, size_t ldy,
                             const float *x, size_t ldx, const float *gain,
                             unsigned m, unsigned n, float eps)
{
    if (n == 0 || (m > 1 && (ldx < n || ldy < n)))
        return KRN_BAD_SHAPE;
    return c->row->rms_norm(c, y, ldy, x, ldx, gain, m, n, eps);
}

enum krn_status krn_add(struct krn_ctx *c, float *y, const float *x, size_t n)
{
    return c->row->add(c, y, x, n);
}

enum krn_status krn_silu_mul(struct krn_ctx *c, float *y, const float *gate,
                             const float *up, size_t n)
{
    return c->row->silu_mul(c, y, n, gate, up, n, 1, n);
}

enum krn_status krn_rope(struct krn_ctx *c, float *v, size_t ld, unsigned m,
                         unsigned n_head, unsigned d_head, unsigned n_rot,
                         const float *cs, bool halves)
{
    if (n_rot > d_head || n_rot % 2 != 0 ||
        (m > 1 && ld < (size_t)n_head * d_head))
        return KRN_BAD_SHAPE;
    return c->row->rope(c, v, ld, m, n_head, d_head, n_rot, cs, halves);
}

enum krn_status krn_take_rows(struct krn_ctx *c, float *y, size_t ldy,
                              const float *x, size_t ldx, const unsigned *idx,
                              unsigned m, unsigned n)
{
    (void)c; /* rows are few; the memory is the host's */
    if (ldx < n || ldy < n)
        return KRN_BAD_SHAPE;
    for (size_t i = 0; i < m; i++)
        memcpy(y + i * ldy, x + idx[i] * ldx, n * sizeof(*y));
    return KRN_OK;
}

/* --- keys and values ------------------------------------------------------ */

size_t krn_kv_page_bytes(const struct krn_kv *kv)
{
    return 2 * (size_t)kv->n_layer * kv->n_kv_head * kv_half_bytes(kv);
}

bool krn_kv_is_sound(const struct krn_ctx *c, const struct krn_kv *kv)
{
    return (kv->dtype == KRN_F32 || kv->dtype == KRN_F16 ||
            kv->dtype == KRN_BF16 ||
            (kv->dtype == KRN_FP8 && c->cuda != NULL)) &&
           kv->n_layer > 0 && kv->n_kv_head > 0 && kv->d_head > 0 &&
           kv_tokens(kv) == c->page_tokens;
}

static bool kv_has(const struct krn_ctx *c, const struct krn_kv *kv,
                   unsigned layer)
{
    return krn_kv_is_sound(c, kv) && layer < kv->n_layer;
}

/* Whether position <pos> of sequence <seq> has a page of the pool. */
static bool page_is_there(const struct krn_kv *kv, const struct krn_rows *rows,
                          int32_t seq, int32_t pos)
{
    unsigned at = (unsigned)pos / kv_tokens(kv);
    int32_t page;

    if (pos < 0 || at >= rows->max_pages)
        return false;
    page = rows->table[(size_t)seq * rows->max_pages + at];
    return page >= 0 && (unsigned)page < kv->n_pages;
}

bool krn_rows_are_sound(const struct krn_kv *kv, const struct krn_rows *rows)
{
    for (size_t r = 0; r < rows->m; r++) {
        if (rows->seq[r] < 0 || (unsigned)rows->seq[r] >= rows->n_seq ||
            !page_is_there(kv, rows, rows->seq[r], rows->pos[r]))
            return false;
    }
    return true;
}

enum krn_status krn_kv_write(struct krn_ctx *c, const struct krn_kv *kv,
                             unsigned layer, const struct krn_rows *rows,
                             const float *k, const float *v, size_t ld)
{
    if (!kv_has(c, kv, layer) || !krn_rows_are_sound(kv, rows) ||
        (rows->m > 1 && ld < (size_t)kv->n_kv_head * kv->d_head))
        return KRN_BAD_SHAPE;
    return c->row->kv_write(c, kv, layer, rows, k, v, ld);
}

/* Whether the first <n> pages of sequence <seq> are pages of the pool. A step
 * looks at thousands: no branch for each. */
static bool pages_are_there(const struct krn_kv *kv,
                            const struct krn_rows *rows, size_t seq, unsigned n)
{
    const int32_t *page = rows->table + seq * rows->max_pages;
    unsigned bad = 0;

    if (n > rows->max_pages)
        return false;
    for (unsigned i = 0; i < n; i++)
        bad |= (unsigned)((unsigned)page[i] >= kv->n_pages);
    return bad == 0;
}

enum krn_status krn_seen_is_sound(struct krn_ctx *c, const struct krn_kv *kv,
                                  const struct krn_rows *rows, bool ascending)
{
    int32_t *last = krn_scratch(c, KRN_SLOT_ROWS, rows->n_seq * sizeof(*last));
    unsigned tokens = kv_tokens(kv);

    if (!last)
        return KRN_NOMEM;
    for (size_t s = 0; s < rows->n_seq; s++)
        last[s] = -1;
    for (size_t r = 0; r < rows->m; r++) {
        if (rows->pos[r] > last[rows->seq[r]])
            last[rows->seq[r]] = rows->pos[r];
        else if (ascending)
            return KRN_BAD_SHAPE;
    }
    for (size_t s = 0; s < rows->n_seq; s++)
        if (last[s] >= 0 &&
            !pages_are_there(kv, rows, s, (unsigned)last[s] / tokens + 1))
            return KRN_BAD_SHAPE;
    return KRN_OK;
}

enum krn_status krn_attend(struct krn_ctx *c, const struct krn_kv *kv,
                           unsigned layer, const struct krn_rows *rows,
                           const float *q, size_t ldq, unsigned n_head,
                           float scale, float *out, size_t ldo)
{
    size_t width = (size_t)n_head * kv->d_head;
    enum krn_status st;

    if (!kv_has(c, kv, layer) || !krn_rows_are_sound(kv, rows) || n_head == 0 ||
        n_head % kv->n_kv_head != 0 ||
        (rows->m > 1 && (ldq < width || ldo < width)))
        return KRN_BAD_SHAPE;
    if (rows->m == 0)
        return KRN_OK;
    st = krn_seen_is_sound(c, kv, rows, false);
    if (st != KRN_OK)
        return st;
    return c->row->attend(c, kv, layer, rows, q, ldq, n_head, scale, out, ldo);
}

enum krn_status krn_kv_copy(struct krn_ctx *c, const struct krn_kv *kv,
                            unsigned to, unsigned from)
{
    if (to >= kv->n_pages || from >= kv->n_pages)
        return KRN_BAD_SHAPE;
    return to != from ? c->dev->kv_copy(c, kv, to, from) : KRN_OK;
}

enum krn_status krn_page_out(struct krn_ctx *c, const struct krn_kv *kv,
                             unsigned page, void *host, uint64_t *ticket_out)
{
    if (page >= kv->n_pages)
        return KRN_BAD_SHAPE;
    return c->dev->page_out(c, kv, page, host, ticket_out);
}

enum krn_status krn_page_in(struct krn_ctx *c, const struct krn_kv *kv,
                            unsigned page, const void *host,
                            uint64_t *ticket_out)
{
    if (page >= kv->n_pages)
        return KRN_BAD_SHAPE;
    return c->dev->page_in(c, kv, page, host, ticket_out);
}

bool krn_page_done(struct krn_ctx *c, uint64_t ticket, bool *failed)
{
    return c->dev->page_done(c, ticket, failed);
}
