/* krn_host.c - The table of the host's contexts, "cpu" and "ref": plain memory,
 * and the operations of a step as sequences of the others, on floats. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernels/krn_priv.h"
#include "kernels/kv.h"
#include "kernels/pool.h"

/* A large page, and what is worth being laid on them. */
#define HUGE_BYTES  ((size_t)2 << 20)
#define LARGE_BYTES ((size_t)32 << 20)

/* What copies of pages are aligned to. */
#define HOST_ALIGN_BYTES ((size_t)4096)

/* --- life and memory ------------------------------------------------------ */

static void host_close(struct krn_ctx *c)
{
    pool_close(c->pool);
    krn_weight_mem_close(c);
}

static enum krn_status host_reset(struct krn_ctx *c)
{
    (void)c; /* never fails */
    return KRN_OK;
}

static void *alloc_aligned(size_t align, size_t bytes)
{
    if (bytes > SIZE_MAX - align)
        return NULL;
    return aligned_alloc(
        align, bytes == 0 ? align : (bytes + align - 1) / align * align);
}

/* Large memory lies on large pages: what is written for the first time then
 * costs a fault for two megabytes, not for four kilobytes. */
static void *host_alloc(struct krn_ctx *c, size_t bytes)
{
    bool large = bytes >= LARGE_BYTES;
    void *p = alloc_aligned(large ? HUGE_BYTES : 64, bytes);

    (void)c; /* of no context */
    if (p && large)
        (void)madvise(p, (bytes + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES,
                      MADV_HUGEPAGE);
    return p;
}

static void host_release(struct krn_ctx *c, void *p)
{
    (void)c; /* of no context */
    free(p);
}

static enum krn_status host_put(struct krn_ctx *c, void *dst, const void *host,
                                size_t bytes)
{
    (void)c; /* plain memory */
    memcpy(dst, host, bytes);
    return KRN_OK;
}

static enum krn_status host_sync(struct krn_ctx *c)
{
    (void)c; /* nothing is ever queued */
    return KRN_OK;
}

static void host_memory(const struct krn_ctx *c, uint64_t *free_out,
                        uint64_t *all_out)
{
    (void)c; /* the system knows */
    *free_out = 0;
    *all_out = 0;
}

static enum krn_status host_act_use(struct krn_ctx *c, enum krn_dtype t)
{
    (void)c; /* always floats */
    (void)t;
    return KRN_OK;
}

/* --- weights -------------------------------------------------------------- */

static enum krn_status host_weight_load(struct krn_ctx *c, enum krn_dtype t,
                                        size_t n_out, size_t n_in,
                                        const void *rows,
                                        struct krn_weight **out)
{
    struct krn_weight *w = calloc(1, sizeof(*w));
    size_t units;

    if (!w)
        return KRN_NOMEM;
    w->dtype = t;
    w->n_out = n_out;
    w->n_in = n_in;
    c->mat->layout(t, n_out, n_in, &w->unit_bytes, &units);
    if (__builtin_mul_overflow(w->unit_bytes, units, &w->bytes) ||
        w->bytes > SIZE_MAX / 2 || !krn_weight_mem_get(c, w)) {
        free(w);
        return KRN_NOMEM;
    }
    c->mat->pack(c, w, rows);
    *out = w;
    return KRN_OK;
}

static void host_weight_free(struct krn_ctx *c, struct krn_weight *w)
{
    krn_weight_mem_put(c, w);
    free(w);
}

/* --- a step --------------------------------------------------------------- */

static unsigned host_step_rows(const struct krn_ctx *c, unsigned most)
{
    (void)c; /* no row is added */
    return most;
}

static enum krn_status host_step_begin(struct krn_ctx *c,
                                       const struct krn_step *s,
                                       struct krn_pass *out)
{
    (void)c; /* nothing to prepare */
    *out = (struct krn_pass){.m = s->rows.m, .n_wanted = s->n_wanted};
    return KRN_OK;
}

/* The row of the step that row <i> of <set> is. */
static size_t row_of(const struct krn_ctx *c, enum krn_set set, size_t i)
{
    return set == KRN_ALL ? i : c->step.wanted[i];
}

static unsigned set_rows(const struct krn_ctx *c, enum krn_set set)
{
    return set == KRN_ALL ? c->pass.m : c->pass.n_wanted;
}

/* The rows of <set>, those wanted in scratch. KRN_NOMEM. */
static enum krn_status rows_of(struct krn_ctx *c, enum krn_set set,
                               struct krn_rows *out)
{
    unsigned n = set_rows(c, set);
    int32_t *seq;

    *out = c->step.rows;
    if (set == KRN_ALL)
        return KRN_OK;
    seq = krn_scratch(c, KRN_SLOT_STEP, 2 * (size_t)n * sizeof(*seq));
    if (!seq)
        return KRN_NOMEM;
    for (size_t i = 0; i < n; i++) {
        seq[i] = out->seq[c->step.wanted[i]];
        seq[n + i] = out->pos[c->step.wanted[i]];
    }
    out->m = n;
    out->pos = seq + n;
    out->seq = seq;
    return KRN_OK;
}

static enum krn_status host_embed(struct krn_ctx *c, float *x,
                                  const struct krn_weight *w)
{
    return krn_embed(c, x, w, c->step.ids, c->pass.m);
}

static enum krn_status host_turns(struct krn_ctx *c, enum krn_set set,
                                  float *cs, const double *freq, unsigned n_rot,
                                  double size)
{
    for (size_t i = 0; i < set_rows(c, set); i++) {
        int32_t pos = c->step.rows.pos[row_of(c, set, i)];
        float *to = cs + i * n_rot;

        for (unsigned k = 0; k < n_rot / 2; k++) {
            double angle = pos * freq[k];

            to[2 * k] = (float)(cos(angle) * size);
            to[2 * k + 1] = (float)(sin(angle) * size);
        }
    }
    return KRN_OK;
}

static enum krn_status host_norm(struct krn_ctx *c, void *y, size_t ldy,
                                 bool f32, const float *x, size_t ldx,
                                 const float *gain, unsigned m, unsigned n,
                                 float eps)
{
    (void)f32; /* activations are floats, too */
    return krn_rms_norm(c, y, ldy, x, ldx, gain, m, n, eps);
}

static enum krn_status host_take(struct krn_ctx *c, float *y, const float *x,
                                 unsigned n)
{
    return krn_take_rows(c, y, n, x, n, c->step.wanted, c->pass.n_wanted, n);
}

/* y (m, n) += x (m, n), whose rows lie side by side. */
static enum krn_status rows_add(struct krn_ctx *c, float *y, size_t ldy,
                                const float *x, unsigned m, size_t n)
{
    enum krn_status st = KRN_OK;

    if (ldy == n)
        return krn_add(c, y, x, m * n);
    for (size_t r = 0; st == KRN_OK && r < m; r++)
        st = krn_add(c, y + r * ldy, x + r * n, n);
    return st;
}

/* Products that are added go through scratch. */
static enum krn_status host_linear(struct krn_ctx *c, const void *x, size_t ldx,
                                   unsigned m, unsigned n,
                                   const struct krn_prod *prods)
{
    struct krn_out outs[KRN_PRODS_MAX] = {{0}};
    size_t floats = 0;
    float *room = NULL;
    enum krn_status st;

    for (unsigned i = 0; i < n; i++)
        if (prods[i].as == KRN_AS_ADDED)
            floats += m * prods[i].w->n_out;
    if (floats > 0) {
        room = krn_scratch(c, KRN_SLOT_STEP, floats * sizeof(*room));
        if (!room)
            return KRN_NOMEM;
    }
    for (unsigned i = 0; i < n; i++) {
        const struct krn_prod *p = &prods[i];

        outs[i] = (struct krn_out){p->w, p->bias, p->y, p->ldy};
        if (p->as == KRN_AS_ADDED) {
            outs[i].y = room;
            outs[i].ldy = p->w->n_out;
            room += m * p->w->n_out;
        }
    }
    st = krn_linear(c, x, ldx, m, n, outs);
    for (unsigned i = 0; st == KRN_OK && i < n; i++)
        if (prods[i].as == KRN_AS_ADDED)
            st = rows_add(c, prods[i].y, prods[i].ldy, outs[i].y, m,
                          prods[i].w->n_out);
    return st;
}

/* The way up stands behind the gate in each row, until they are one. */
static enum krn_status host_glu(struct krn_ctx *c, const void *x, size_t ldx,
                                unsigned m, const struct krn_weight *gate,
                                const struct krn_weight *up, void *y,
                                size_t ldy)
{
    float *to = y;
    const struct krn_out outs[] = {{gate, NULL, to, ldy},
                                   {up, NULL, to + gate->n_out, ldy}};
    enum krn_status st = krn_linear(c, x, ldx, m, 2, outs);

    if (st != KRN_OK)
        return st;
    return c->row->silu_mul(c, to, ldy, to, to + gate->n_out, ldy, m,
                            gate->n_out);
}

/* Norm the heads of <v>, if there are gains, and turn them. */
static enum krn_status heads_turn(struct krn_ctx *c, const struct krn_heads *h,
                                  unsigned m, float *v, size_t ld,
                                  unsigned n_head, const float *gain)
{
    unsigned d_head = c->step.kv->d_head;
    bool dense = ld == (size_t)n_head * d_head;
    enum krn_status st = KRN_OK;

    if (gain && dense)
        st = krn_rms_norm(c, v, d_head, v, d_head, gain, m * n_head, d_head,
                          h->eps);
    for (size_t r = 0; st == KRN_OK && gain && !dense && r < m; r++)
        st = krn_rms_norm(c, v + r * ld, d_head, v + r * ld, d_head, gain,
                          n_head, d_head, h->eps);
    if (st != KRN_OK)
        return st;
    return krn_rope(c, v, ld, m, n_head, d_head, h->n_rot, h->cs, h->halves);
}

static enum krn_status host_heads(struct krn_ctx *c, enum krn_set set,
                                  unsigned layer, const struct krn_heads *h)
{
    const struct krn_kv *kv = c->step.kv;
    struct krn_rows rows;
    enum krn_status st = rows_of(c, set, &rows);
    struct krn_rows each = rows;

    if (st == KRN_OK && h->k)
        st = heads_turn(c, h, rows.m, h->k, h->ldk, kv->n_kv_head, h->k_norm);
    if (st == KRN_OK && h->k && h->ldk == h->ldv)
        st = c->row->kv_write(c, kv, layer, &rows, h->k, h->v, h->ldk);
    for (size_t r = 0; st == KRN_OK && h->k && h->ldk != h->ldv && r < rows.m;
         r++) {
        each.m = 1;
        each.seq = rows.seq + r;
        each.pos = rows.pos + r;
        st = c->row->kv_write(c, kv, layer, &each,
                              (const float *)h->k + r * h->ldk,
                              (const float *)h->v + r * h->ldv, h->ldk);
    }
    if (st == KRN_OK && h->q)
        st = heads_turn(c, h, rows.m, h->q, h->ldq, h->n_head, h->q_norm);
    return st;
}

static enum krn_status host_attend(struct krn_ctx *c, enum krn_set set,
                                   unsigned layer, const void *q, size_t ldq,
                                   unsigned n_head, float scale, void *out,
                                   size_t ldo)
{
    struct krn_rows rows;
    enum krn_status st = rows_of(c, set, &rows);

    if (st != KRN_OK || rows.m == 0)
        return st;
    return c->row->attend(c, c->step.kv, layer, &rows, q, ldq, n_head, scale,
                          out, ldo);
}

/* --- pages ---------------------------------------------------------------- */

static void *host_host_alloc(struct krn_ctx *c, size_t bytes)
{
    (void)c; /* of no context */
    return alloc_aligned(HOST_ALIGN_BYTES, bytes);
}

static uint8_t *page_at(const struct krn_kv *kv, unsigned page)
{
    return (uint8_t *)kv->pages + page * krn_kv_page_bytes(kv);
}

static enum krn_status host_kv_copy(struct krn_ctx *c, const struct krn_kv *kv,
                                    unsigned to, unsigned from)
{
    (void)c; /* plain memory */
    memcpy(page_at(kv, to), page_at(kv, from), krn_kv_page_bytes(kv));
    return KRN_OK;
}

static enum krn_status host_page_out(struct krn_ctx *c, const struct krn_kv *kv,
                                     unsigned page, void *host,
                                     uint64_t *ticket_out)
{
    (void)c; /* plain memory */
    memcpy(host, page_at(kv, page), krn_kv_page_bytes(kv));
    *ticket_out = 0;
    return KRN_OK;
}

static enum krn_status host_page_in(struct krn_ctx *c, const struct krn_kv *kv,
                                    unsigned page, const void *host,
                                    uint64_t *ticket_out)
{
    (void)c; /* plain memory */
    memcpy(page_at(kv, page), host, krn_kv_page_bytes(kv));
    *ticket_out = 0;
    return KRN_OK;
}

/* A copy is over before its ticket is given out. */
static bool host_page_done(struct krn_ctx *c, uint64_t ticket, bool *failed)
{
    (void)c;
    (void)ticket;
    (void)failed; /* never */
    return true;
}

const struct krn_dev_ops krn_host_ops = {
    .close = host_close,
    .reset = host_reset,
    .alloc = host_alloc,
    .release = host_release,
    .put = host_put,
    .get = host_put,
    .sync = host_sync,
    .memory = host_memory,
    .act_use = host_act_use,
    .weight_load = host_weight_load,
    .weight_random = krn_host_weight_random,
    .weight_free = host_weight_free,
    .step_rows = host_step_rows,
    .step_begin = host_step_begin,
    .step_end = host_sync,
    .embed = host_embed,
    .turns = host_turns,
    .norm = host_norm,
    .take = host_take,
    .linear = host_linear,
    .glu = host_glu,
    .heads = host_heads,
    .attend = host_attend,
    .host_alloc = host_host_alloc,
    .host_free = host_release,
    .kv_copy = host_kv_copy,
    .page_out = host_page_out,
    .page_in = host_page_in,
    .page_done = host_page_done,
};
