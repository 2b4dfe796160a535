/* cpu_linear.c - Who computes which part of a product, and from where.
 *
 * x is packed once for all outs that read it in the same form: rows in tiles
 * as even as can be. Then items are taken: a group of panels by a block of
 * tiles. Within an item:
 *
 *   few rows, integer types:  tiles read the weights as they are packed, all
 *                             elements or as many as keep x in the cache
 *   many rows, float types:   tiles read a cut of 256 elements, which stays in
 *                             the first-level cache, then the next; sets whose
 *                             tiles take one panel at a time (AVX2) widen the
 *                             cut to f32 first
 *
 * The choice depends on the number of rows, and so does the shape of tiles:
 * neither changes the order in which an output's products are added. */
#include <string.h>

#include "kernels/cpu/cpu.h"
#include "kernels/pool.h"

enum {
    SLAB_ROWS = 516,           /* rows packed at once */
    BLOCK_ROWS_FLOAT = 258,    /* rows of a block of tiles: 256 elements of each
                                * stay in the second-level cache */
    BLOCK_ROWS_INT = 132,      /* the same for INT_CUT elements */
    INT_CUT = 1536,            /* elements between passes over y */
    INT_CUT_BYTES = 256 << 10, /* packed x up to this needs no cuts */
    FLOAT_CUT_ROWS = 25,       /* from here on, a cut at a time */
    ITEM_BYTES = 96 << 10,     /* weights that make an item worth taking */
    ITEMS_A_THREAD = 6,        /* so many even out threads put aside */
    XPACK_ALONE = 16 << 10     /* elements of x not worth waking a thread for */
};

struct job {
    const struct cpu_set *set;
    const float *x;
    size_t ldx;
    unsigned m; /* rows of the slab */
    size_t n_in;
    unsigned tiles;
    unsigned blocks; /* of tiles */
    unsigned group;  /* panels of an item */
    enum cpu_xform xform;
    uint8_t *packed; /* tiles, one after the other */
    size_t row_bytes;
    unsigned n;
    const struct krn_out *outs;
    size_t y_row; /* the slab's first row */
};

/* An item: panels p0 .. p1-1 of an out by tiles t0 .. t1-1. */
struct part {
    const struct krn_out *out;
    const struct cpu_kind *kind;
    size_t p0, p1;
    unsigned t0, t1;
    unsigned r0;   /* first row of x */
    float *tail;   /* (rows, 16): y of a panel that is not full */
    size_t panels; /* of the out */
};

size_t cpu_xrow_bytes(enum cpu_xform f, size_t n)
{
    static const unsigned words[CPU_X_COUNT] = {
        [CPU_X_BYTES] = CPU_XW_COUNT,
        [CPU_X_PAIRS] = CPU_XP_COUNT,
        [CPU_X_OFFSETS] = CPU_XO_COUNT,
    };

    if (f == CPU_X_FLOAT)
        return n * sizeof(float);
    return n / 32 * words[f] * sizeof(uint32_t);
}

/* Where part <i> begins when <all> are split in <parts>, as even as can be. */
static unsigned split_at(unsigned all, unsigned parts, unsigned i)
{
    return (unsigned)((uint64_t)all * i / parts);
}

static unsigned tile_row(const struct job *j, unsigned tile)
{
    return split_at(j->m, j->tiles, tile);
}

static size_t panels_of(const struct krn_weight *w)
{
    return (w->n_out + CPU_LANES - 1) / CPU_LANES;
}

static void xpack_item(void *arg, unsigned item, unsigned worker)
{
    const struct job *j = arg;
    unsigned row = tile_row(j, item);

    (void)worker;
    j->set->xpack[j->xform](j->x + row * j->ldx, j->ldx,
                            tile_row(j, item + 1) - row, j->n_in,
                            j->packed + row * j->row_bytes);
}

/* Where panel <p> writes row <r> of the slab, and the rows' distance. */
static float *y_at(const struct job *j, const struct part *a, size_t p,
                   unsigned r, size_t *ldy_out)
{
    bool full = (p + 1) * CPU_LANES <= a->out->w->n_out;

    *ldy_out = full ? a->out->ldy : CPU_LANES;
    if (!full)
        return a->tail + (size_t)(r - a->r0) * CPU_LANES;
    return a->out->y + (j->y_row + r) * a->out->ldy + p * CPU_LANES;
}

/* All tiles of a part by one panel, or <wide> of them, over the elements from
 * <k> on. */
static void tiles_run(const struct job *j, const struct part *a, size_t p,
                      cpu_tile_fn *const *fn, struct cpu_tile *t, size_t k)
{
    for (unsigned i = a->t0; i < a->t1; i++) {
        unsigned row = tile_row(j, i);
        unsigned rows = tile_row(j, i + 1) - row;

        t->x =
            j->packed + row * j->row_bytes + cpu_xrow_bytes(j->xform, k) * rows;
        t->y = y_at(j, a, p, row, &t->ldy);
        fn[rows](t);
    }
}

/* Panels that one call takes from <p> on. Tiles differ by a row at most: both
 * sizes must take as many. */
static unsigned panels_wide(const struct job *j, const struct part *a, size_t p)
{
    unsigned low = j->m / j->tiles;
    unsigned high = (j->m + j->tiles - 1) / j->tiles;
    const struct cpu_kind *kind = a->kind;
    size_t end = a->p1;
    unsigned wide;

    if (!kind->wide || !kind->wide[low] || !kind->wide[high] ||
        kind->wide_panels[low] != kind->wide_panels[high])
        return 1;
    if (a->p1 == a->panels && a->out->w->n_out % CPU_LANES != 0)
        end--;
    wide = kind->wide_panels[high];
    return p + wide <= end ? wide : 1;
}

/* Tiles read the weights as they are packed. */
static void part_direct(const struct job *j, const struct part *a)
{
    const struct krn_weight *w = a->out->w;
    size_t cut = j->n_in;
    unsigned rows = tile_row(j, a->t1) - tile_row(j, a->t0);

    if (j->xform != CPU_X_FLOAT && rows * j->row_bytes > INT_CUT_BYTES)
        cut = INT_CUT;
    if (j->xform == CPU_X_FLOAT && rows >= FLOAT_CUT_ROWS)
        cut = CPU_CUT;
    for (size_t k = 0; k < j->n_in; k += cut) {
        struct cpu_tile t = {.panel_bytes = w->unit_bytes, .first = k == 0};
        unsigned wide;

        t.n = j->n_in - k < cut ? j->n_in - k : cut;
        for (size_t p = a->p0; p < a->p1; p += wide) {
            wide = panels_wide(j, a, p);
            t.w = w->data + p * w->unit_bytes + cpu_panel_bytes(w->dtype, k);
            tiles_run(j, a, p, wide == 1 ? a->kind->tile : a->kind->wide, &t,
                      k);
        }
    }
}

/* Tiles read cuts widened to f32. */
static void part_widened(const struct job *j, const struct part *a)
{
    const struct krn_weight *w = a->out->w;
    cpu_tile_fn *const *fn = j->set->widened;
    _Alignas(64) float widened[CPU_CUT * CPU_LANES];

    for (size_t k = 0; k < j->n_in; k += CPU_CUT) {
        struct cpu_tile t = {.first = k == 0};

        t.n = j->n_in - k < CPU_CUT ? j->n_in - k : CPU_CUT;
        for (size_t p = a->p0; p < a->p1; p++) {
            t.w = w->data + p * w->unit_bytes + cpu_panel_bytes(w->dtype, k);
            a->kind->widen(t.w, t.n, widened);
            t.w = (const uint8_t *)widened;
            tiles_run(j, a, p, fn, &t, k);
        }
    }
}

static void tail_copy(const struct job *j, const struct part *a, unsigned rows)
{
    size_t n_out = a->out->w->n_out;
    size_t full = n_out / CPU_LANES * CPU_LANES;

    if (a->p1 != a->panels || full == n_out)
        return;
    for (unsigned r = 0; r < rows; r++)
        memcpy(a->out->y + (j->y_row + a->r0 + r) * a->out->ldy + full,
               a->tail + (size_t)r * CPU_LANES, (n_out - full) * sizeof(float));
}

static void bias_add(const struct job *j, const struct part *a, unsigned rows)
{
    const struct krn_out *o = a->out;
    size_t begin = a->p0 * CPU_LANES;
    size_t end =
        a->p1 * CPU_LANES < o->w->n_out ? a->p1 * CPU_LANES : o->w->n_out;

    for (unsigned r = 0; r < rows && o->bias; r++) {
        float *y = o->y + (j->y_row + a->r0 + r) * o->ldy;

        for (size_t n = begin; n < end; n++)
            y[n] += o->bias[n];
    }
}

static size_t out_groups(const struct job *j, const struct krn_out *o)
{
    return (panels_of(o->w) + j->group - 1) / j->group;
}

static bool is_mine(const struct job *j, const struct krn_out *o)
{
    return j->set->kind[o->w->dtype].xform == j->xform;
}

/* Neighbouring items share a group of panels, so that threads at work at one
 * time read the same weights. */
static void part_item(void *arg, unsigned item, unsigned worker)
{
    const struct job *j = arg;
    const struct krn_out *o = j->outs;
    size_t group = item / j->blocks;
    unsigned block = item % j->blocks;
    _Alignas(64) float tail[BLOCK_ROWS_FLOAT * CPU_LANES];
    struct part a;
    unsigned rows;

    (void)worker;
    for (; !is_mine(j, o) || group >= out_groups(j, o); o++)
        group -= is_mine(j, o) ? out_groups(j, o) : 0;
    a = (struct part){.out = o,
                      .kind = &j->set->kind[o->w->dtype],
                      .panels = panels_of(o->w),
                      .p0 = group * j->group,
                      .t0 = split_at(j->tiles, j->blocks, block),
                      .t1 = split_at(j->tiles, j->blocks, block + 1),
                      .tail = tail};
    a.p1 = a.p0 + j->group < a.panels ? a.p0 + j->group : a.panels;
    a.r0 = tile_row(j, a.t0);
    rows = tile_row(j, a.t1) - a.r0;
    if (!a.kind->widen || j->m <= a.kind->direct_max)
        part_direct(j, &a);
    else
        part_widened(j, &a);
    tail_copy(j, &a, rows);
    bias_add(j, &a, rows);
}

/* Panels of an item: enough to be worth it, few enough to even out. */
static void groups_choose(struct job *j, unsigned threads)
{
    size_t panels = 0;
    size_t bytes = 0;
    size_t items;
    size_t most = (size_t)threads * ITEMS_A_THREAD;

    for (unsigned i = 0; i < j->n; i++) {
        panels += is_mine(j, &j->outs[i]) ? panels_of(j->outs[i].w) : 0;
        bytes += is_mine(j, &j->outs[i]) ? j->outs[i].w->bytes : 0;
    }
    items = bytes * (j->tiles / j->blocks + 1) / 2 / ITEM_BYTES + 1;
    items = items < threads ? threads : items;
    items = items > most ? most : items;
    j->group = (unsigned)((panels + items - 1) / items);
    /* Whole widest tiles, but for matrices too small to share otherwise. */
    if (j->group >= CPU_WIDE_MAX)
        j->group = (j->group + CPU_WIDE_MAX - 1) / CPU_WIDE_MAX * CPU_WIDE_MAX;
}

/* All outs of one form of x, over the rows of a slab. */
static void form_run(struct krn_ctx *c, struct job *j)
{
    unsigned items = 0;
    unsigned rows = j->xform == CPU_X_FLOAT ? BLOCK_ROWS_FLOAT : BLOCK_ROWS_INT;

    for (unsigned i = 0; i < j->n; i++)
        items += is_mine(j, &j->outs[i]);
    if (items == 0)
        return;
    j->tiles = (j->m + j->set->max_rows - 1) / j->set->max_rows;
    j->blocks = (j->m + rows - 1) / rows;
    /* Splitting evenly may give a block a row more than its share. */
    while ((j->tiles + j->blocks - 1) / j->blocks * j->set->max_rows > rows &&
           j->blocks < j->tiles)
        j->blocks++;
    j->row_bytes = cpu_xrow_bytes(j->xform, j->n_in);
    groups_choose(j, pool_threads(c->pool));
    if (j->m * j->n_in <= XPACK_ALONE) {
        for (unsigned i = 0; i < j->tiles; i++)
            xpack_item(j, i, 0);
    } else {
        pool_run(c->pool, xpack_item, j, j->tiles);
    }
    for (unsigned i = items = 0; i < j->n; i++) {
        if (is_mine(j, &j->outs[i]))
            items += (unsigned)out_groups(j, &j->outs[i]) * j->blocks;
    }
    pool_run(c->pool, part_item, j, items);
}

enum krn_status cpu_linear(struct krn_ctx *c, const struct cpu_set *set,
                           const float *x, size_t ldx, unsigned m, unsigned n,
                           const struct krn_out *outs)
{
    struct job j = {.set = set, .ldx = ldx, .n = n, .outs = outs};
    size_t most = 0;

    j.n_in = outs[0].w->n_in;
    for (unsigned i = 0; i < n; i++) {
        size_t bytes =
            cpu_xrow_bytes(set->kind[outs[i].w->dtype].xform, j.n_in);

        most = bytes > most ? bytes : most;
    }
    j.packed =
        krn_scratch(c, KRN_SLOT_LINEAR, most * (m < SLAB_ROWS ? m : SLAB_ROWS));
    if (!j.packed)
        return KRN_NOMEM;
    for (unsigned r = 0; r < m; r += SLAB_ROWS) {
        j.x = x + r * ldx;
        j.y_row = r;
        j.m = m - r < SLAB_ROWS ? m - r : SLAB_ROWS;
        for (int f = 0; f < CPU_X_COUNT; f++) {
            j.xform = (enum cpu_xform)f;
            form_run(c, &j);
        }
    }
    return KRN_OK;
}
