/* krn_step.c - The operations of a step: what is checked before a device is
 * asked, and which step is under way. */
#include "kernels/krn.h"

#include "kernels/krn_priv.h"

/* --- begin and end -------------------------------------------------------- */

static bool ids_are_sound(const struct krn_step *s)
{
    for (size_t r = 0; r < s->rows.m; r++)
        if (s->ids[r] < 0 || (unsigned)s->ids[r] >= s->n_vocab)
            return false;
    return true;
}

static bool wanted_is_sound(const struct krn_step *s)
{
    for (size_t i = 0; i < s->n_wanted; i++)
        if (s->wanted[i] >= s->rows.m ||
            (i > 0 && s->wanted[i] <= s->wanted[i - 1]))
            return false;
    return true;
}

unsigned krn_step_rows(const struct krn_ctx *c, unsigned most)
{
    return c->dev->step_rows(c, most);
}

enum krn_status krn_step_begin(struct krn_ctx *c, const struct krn_step *s,
                               struct krn_pass *out)
{
    enum krn_status st;

    if (c->stage != KRN_IDLE || s->rows.m == 0 || !krn_kv_is_sound(c, s->kv) ||
        !krn_rows_are_sound(s->kv, &s->rows) || !ids_are_sound(s) ||
        !wanted_is_sound(s))
        return KRN_BAD_SHAPE;
    st = krn_seen_is_sound(c, s->kv, &s->rows, true);
    if (st != KRN_OK)
        return st;
    c->step = *s;
    st = c->dev->step_begin(c, s, &c->pass);
    if (st != KRN_OK)
        return st;
    c->stage = KRN_BEGUN;
    *out = c->pass;
    return KRN_OK;
}

enum krn_status krn_step_end(struct krn_ctx *c)
{
    bool failed = c->stage == KRN_FAILED;
    enum krn_status st;

    if (c->stage == KRN_IDLE)
        return KRN_BAD_SHAPE;
    st = c->dev->step_end(c);
    c->stage = KRN_IDLE;
    return failed ? KRN_OK : st;
}

/* Note what an operation of the step under way answered. */
static enum krn_status done(struct krn_ctx *c, enum krn_status st)
{
    if (st != KRN_OK && c->stage == KRN_BEGUN)
        c->stage = KRN_FAILED;
    return st;
}

/* Whether an operation may be queued: one of a step that is begun. */
static bool is_open(const struct krn_ctx *c)
{
    return c->stage != KRN_IDLE;
}

static unsigned set_rows(const struct krn_ctx *c, enum krn_set set)
{
    return set == KRN_ALL ? c->pass.m : c->pass.n_wanted;
}

/* --- operations ----------------------------------------------------------- */

enum krn_status krn_step_embed(struct krn_ctx *c, float *x,
                               const struct krn_weight *w)
{
    if (!is_open(c) || w->n_out < c->step.n_vocab)
        return done(c, KRN_BAD_SHAPE);
    return done(c, c->dev->embed(c, x, w));
}

enum krn_status krn_step_turns(struct krn_ctx *c, enum krn_set set, float *cs,
                               const double *freq, unsigned n_rot, double size)
{
    if (!is_open(c) || n_rot % 2 != 0)
        return done(c, KRN_BAD_SHAPE);
    if (n_rot == 0 || set_rows(c, set) == 0)
        return KRN_OK;
    return done(c, c->dev->turns(c, set, cs, freq, n_rot, size));
}

enum krn_status krn_step_norm(struct krn_ctx *c, void *y, size_t ldy, bool f32,
                              const float *x, size_t ldx, const float *gain,
                              unsigned m, unsigned n, float eps)
{
    if (!is_open(c) || n == 0 || (m > 1 && (ldx < n || ldy < n)))
        return done(c, KRN_BAD_SHAPE);
    if (m == 0)
        return KRN_OK;
    return done(c, c->dev->norm(c, y, ldy, f32, x, ldx, gain, m, n, eps));
}

enum krn_status krn_step_take(struct krn_ctx *c, float *y, const float *x,
                              unsigned n)
{
    if (!is_open(c))
        return done(c, KRN_BAD_SHAPE);
    if (n == 0 || c->pass.n_wanted == 0)
        return KRN_OK;
    return done(c, c->dev->take(c, y, x, n));
}

enum krn_status krn_step_linear(struct krn_ctx *c, const void *x, size_t ldx,
                                unsigned m, unsigned n,
                                const struct krn_prod *prods)
{
    if (!is_open(c) || n == 0 || n > KRN_PRODS_MAX || ldx < prods[0].w->n_in)
        return done(c, KRN_BAD_SHAPE);
    for (unsigned i = 0; i < n; i++)
        if (prods[i].w->n_in != prods[0].w->n_in ||
            prods[i].ldy < prods[i].w->n_out || prods[i].as > KRN_AS_ADDED)
            return done(c, KRN_BAD_SHAPE);
    if (m == 0)
        return KRN_OK;
    return done(c, c->dev->linear(c, x, ldx, m, n, prods));
}

enum krn_status krn_step_glu(struct krn_ctx *c, const void *x, size_t ldx,
                             unsigned m, const struct krn_weight *gate,
                             const struct krn_weight *up, void *y, size_t ldy)
{
    if (!is_open(c) || gate->n_in != up->n_in || gate->n_out != up->n_out ||
        ldx < gate->n_in || ldy < 2 * gate->n_out)
        return done(c, KRN_BAD_SHAPE);
    if (m == 0)
        return KRN_OK;
    return done(c, c->dev->glu(c, x, ldx, m, gate, up, y, ldy));
}

enum krn_status krn_step_heads(struct krn_ctx *c, enum krn_set set,
                               unsigned layer, const struct krn_heads *h)
{
    const struct krn_kv *kv = c->step.kv;
    size_t kv_width, q_width;

    if (!is_open(c) || layer >= kv->n_layer)
        return done(c, KRN_BAD_SHAPE);
    kv_width = (size_t)kv->n_kv_head * kv->d_head;
    q_width = (size_t)h->n_head * kv->d_head;
    if (!h->k != !h->v || (h->k && (h->ldk < kv_width || h->ldv < kv_width)) ||
        (h->q && (h->n_head == 0 || h->ldq < q_width)) ||
        h->n_rot > kv->d_head || h->n_rot % 2 != 0)
        return done(c, KRN_BAD_SHAPE);
    if (set_rows(c, set) == 0)
        return KRN_OK;
    return done(c, c->dev->heads(c, set, layer, h));
}

enum krn_status krn_step_attend(struct krn_ctx *c, enum krn_set set,
                                unsigned layer, const void *q, size_t ldq,
                                unsigned n_head, float scale, void *out,
                                size_t ldo)
{
    const struct krn_kv *kv = c->step.kv;
    size_t width;

    if (!is_open(c) || layer >= kv->n_layer || n_head == 0 ||
        n_head % kv->n_kv_head != 0)
        return done(c, KRN_BAD_SHAPE);
    width = (size_t)n_head * kv->d_head;
    if (ldq < width || ldo < width)
        return done(c, KRN_BAD_SHAPE);
    if (set_rows(c, set) == 0)
        return KRN_OK;
    return done(c,
                c->dev->attend(c, set, layer, q, ldq, n_head, scale, out, ldo));
}

/* --- draws ---------------------------------------------------------------- */

static bool draw_is_sound(const struct krn_draw *d, unsigned n_vocab)
{
    if (d->given < -1 || (d->given >= 0 && (unsigned)d->given >= n_vocab) ||
        d->n_top > KRN_TOP_MAX || !(d->u >= 0 && d->u < 1) ||
        d->n_edits > n_vocab)
        return false;
    for (size_t i = 0; i < d->n_edits; i++)
        if (d->edits[i].id < 0 || (unsigned)d->edits[i].id >= n_vocab)
            return false;
    return true;
}

enum krn_status krn_step_draw(struct krn_ctx *c, float *logits, size_t ld,
                              unsigned n_vocab, unsigned n,
                              const struct krn_draw *draws,
                              struct krn_drawn *out)
{
    if (!c->dev->draw)
        return KRN_UNSUPPORTED;
    if (c->stage != KRN_IDLE || n_vocab == 0 || n_vocab >> 21 != 0 ||
        ld < n_vocab)
        return KRN_BAD_SHAPE;
    for (unsigned i = 0; i < n; i++)
        if (!draw_is_sound(&draws[i], n_vocab))
            return KRN_BAD_SHAPE;
    return n > 0 ? c->dev->draw(c, logits, ld, n_vocab, n, draws, out) : KRN_OK;
}
