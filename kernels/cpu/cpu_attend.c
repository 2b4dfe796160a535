/* cpu_attend.c - Attention on the compute threads. Rows of one sequence, each
 * with the query heads that share a kv head, form tiles; a tile and a kv head
 * are a desk: scores of all its rows against a page while the page is near,
 * then the weights, then the values, cut by cut.
 *
 * Desks are the items of a run. Where they are too few for the threads (one
 * long sequence), the items are the cuts of desks, added up at the end; the
 * order stays that of krn.h.
 *
 *   desk     q      (u, d_head)     u = rows * heads of the group
 *            score  (u, stride)     by position; weights later on
 *            acc    (cuts, u, pad)  one cut when the desk is not split
 *            sum    (cuts, u)
 *            top    (cuts, u)       greatest score of each cut, if split
 *            seen   (u)             positions, ascending */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/cpu_rows.h"
#include "kernels/kv.h"
#include "kernels/pool.h"

enum {
    TILE_ROWS = 48,          /* rows times heads that a desk aims at */
    SCORE_BYTES = 256 << 10, /* of a desk, so that they stay in the L2 cache */
    LANES = 16,
    AHEAD_PAGES = 4,                 /* of values, fetched early */
    MOST_ROWS = 16,                  /* no table's chain has more */
    SPLIT_ITEMS = 4,                 /* fewer desks for each thread are split */
    SPLIT_TOKENS = 2 * KV_CUT_TOKENS /* sequences shorter than this never */
};

/* Rows of one sequence that are worked on together. */
struct tile {
    const unsigned *rows; /* (count) indices of rows, positions ascending */
    unsigned count;
    int32_t seq;
    size_t seen; /* positions that the last row sees */
};

/* One call of krn_attend(). */
struct attend_job {
    const struct cpu_row_fns *f;
    const struct krn_kv *kv;
    const struct krn_rows *rows;
    unsigned layer;
    const float *q;
    size_t ldq;
    unsigned group; /* query heads of a kv head */
    float scale;
    float *out;
    size_t ldo;
    size_t pad;         /* d_head, up to a multiple of LANES */
    struct tile *tiles; /* the dearest first */
    unsigned n_tiles;
    size_t cuts; /* of the longest tile */
    bool split;
    uint8_t *desks; /* one for each worker, or each desk when split */
    size_t desk_bytes;
    float *wide; /* for each worker: values of a cut, where d_head is odd */
};

/* A tile and a kv head at work. */
struct desk {
    const struct tile *tile;
    unsigned kv_head;
    unsigned u;
    size_t stride;
    float *q, *score, *acc, *sum, *top;
    unsigned *seen;
};

/* --- plan ----------------------------------------------------------------- */

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* Floats from the scores of a row to the next: off the multiples of a page, so
 * that rows do not fall on the same lines of the cache. */
static size_t stride_of(size_t seen)
{
    return round_up(seen, LANES) + LANES;
}

static size_t cuts_of(size_t seen)
{
    return (seen + KV_CUT_TOKENS - 1) / KV_CUT_TOKENS;
}

static unsigned common_factor(unsigned a, unsigned b)
{
    while (b != 0) {
        unsigned rest = a % b;

        a = b;
        b = rest;
    }
    return a;
}

/* Rows for the tile that begins at <at>, of <left> rows. */
static unsigned tile_count(const struct attend_job *j, const unsigned *at,
                           unsigned left)
{
    unsigned most = j->f->most_rows;
    unsigned unit = most / common_factor(most, j->group);
    unsigned n = TILE_ROWS / (unit * j->group) * unit;
    size_t row_bytes, fit;

    if (n == 0)
        n = j->group < TILE_ROWS ? unit : 1;
    if (n > left)
        n = left;
    row_bytes = j->group * sizeof(float) *
                stride_of((size_t)j->rows->pos[at[n - 1]] + 1);
    fit = SCORE_BYTES / row_bytes;
    if (fit >= n)
        return n;
    if (fit > unit)
        fit -= fit % unit;
    return fit > 0 ? (unsigned)fit : 1;
}

static int tile_compare(const void *a, const void *b)
{
    const struct tile *x = a;
    const struct tile *y = b;
    size_t cost_x = x->seen * x->count;
    size_t cost_y = y->seen * y->count;

    return (cost_x < cost_y) - (cost_x > cost_y);
}

/* Sort rows by sequence, keeping their order in each, and cut each sequence
 * into tiles. KRN_NOMEM. */
static enum krn_status plan(struct krn_ctx *c, struct attend_job *j)
{
    const struct krn_rows *rows = j->rows;
    size_t tile_bytes = rows->m * sizeof(struct tile);
    size_t ints = rows->m + (size_t)rows->n_seq + 1;
    uint8_t *mem =
        krn_scratch(c, KRN_SLOT_ROWS, tile_bytes + ints * sizeof(unsigned));
    unsigned *order, *end;

    if (!mem)
        return KRN_NOMEM;
    j->tiles = (struct tile *)(void *)mem;
    order = (unsigned *)(void *)(mem + tile_bytes);
    end = order + rows->m;
    memset(end, 0, ((size_t)rows->n_seq + 1) * sizeof(*end));
    for (size_t r = 0; r < rows->m; r++)
        end[rows->seq[r] + 1]++;
    for (size_t s = 0; s < rows->n_seq; s++)
        end[s + 1] += end[s];
    for (unsigned r = 0; r < rows->m; r++)
        order[end[rows->seq[r]]++] = r;
    for (unsigned at = 0; at < rows->m;) {
        int32_t seq = rows->seq[order[at]];
        unsigned n = tile_count(j, order + at, end[seq] - at);
        size_t seen = (size_t)rows->pos[order[at + n - 1]] + 1;

        j->tiles[j->n_tiles++] = (struct tile){order + at, n, seq, seen};
        j->cuts = cuts_of(seen) > j->cuts ? cuts_of(seen) : j->cuts;
        at += n;
    }
    if (j->n_tiles > 1)
        qsort(j->tiles, j->n_tiles, sizeof(*j->tiles), tile_compare);
    return KRN_OK;
}

/* --- desks ---------------------------------------------------------------- */

/* Lay the desk of <t> out in <mem>; with <mem> NULL only its size matters. */
static size_t desk_lay(const struct attend_job *j, const struct tile *t,
                       unsigned kv_head, uint8_t *mem, struct desk *d)
{
    size_t cuts = j->split ? cuts_of(t->seen) : 1;
    size_t u = (size_t)t->count * j->group;
    size_t stride = stride_of(t->seen);
    size_t sizes[] = {u * j->pad, u * stride, cuts * u * j->pad,
                      cuts * u,   cuts * u,   u};
    float *at[sizeof(sizes) / sizeof(sizes[0])] = {NULL};
    size_t floats = 0;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (mem)
            at[i] = (float *)(void *)mem + floats;
        floats += round_up(sizes[i], LANES);
    }
    *d = (struct desk){.tile = t,
                       .kv_head = kv_head,
                       .u = (unsigned)u,
                       .stride = stride,
                       .q = at[0],
                       .score = at[1],
                       .acc = at[2],
                       .sum = at[3],
                       .top = at[4],
                       .seen = (unsigned *)at[5]};
    return floats * sizeof(float);
}

/* Gather the queries, rounded as the pool is, and how far each sees. */
static void desk_fill(const struct attend_job *j, const struct desk *d)
{
    size_t d_head = j->kv->d_head;

    for (unsigned i = 0; i < d->tile->count; i++) {
        unsigned row = d->tile->rows[i];
        const float *q =
            j->q + row * j->ldq + (size_t)d->kv_head * j->group * d_head;

        for (unsigned h = 0; h < j->group; h++) {
            size_t at = (size_t)i * j->group + h;

            memcpy(d->q + at * d_head, q + h * d_head, d_head * sizeof(*q));
            j->f->weigh(d->q + at * d_head, d_head, 1.0F,
                        j->kv->dtype == KRN_F16);
            d->seen[at] = (unsigned)j->rows->pos[row] + 1;
        }
    }
}

static struct kv_head desk_page(const struct attend_job *j,
                                const struct desk *d, size_t page)
{
    return kv_head_of(
        j->kv, j->layer, d->kv_head,
        kv_page_of(j->rows, d->tile->seq, (int32_t)(page * KRN_PAGE_TOKENS)));
}

/* Chains for the rows of a desk, as evenly as they go. */
static unsigned chain_rows(const struct attend_job *j, const struct desk *d)
{
    unsigned chains = (d->u + j->f->most_rows - 1) / j->f->most_rows;

    return (d->u + chains - 1) / chains;
}

/* Scores against the positions of the pages <from> .. <to>-1. What comes out
 * for positions past a row's own is never used. */
static void desk_score(const struct attend_job *j, const struct desk *d,
                       size_t from, size_t to)
{
    unsigned each = chain_rows(j, d);
    unsigned steps[MOST_ROWS];
    const void *k[2];
    struct cpu_chain x = {.lda = j->kv->d_head,
                          .b = k,
                          .ahead = 1,
                          .b_step_bytes =
                              KRN_PAGE_TOKENS * krn_dtype_bytes(j->kv->dtype),
                          .piece = j->kv->d_head,
                          .dtype = j->kv->dtype,
                          .n = steps,
                          .ldc = d->stride,
                          .end = CPU_CHAIN_SCALE,
                          .scale = j->scale};

    for (unsigned i = 0; i < MOST_ROWS; i++)
        steps[i] = j->kv->d_head;
    k[1] = desk_page(j, d, from).k;
    for (size_t page = from; page < to; page++) {
        k[0] = k[1];
        if (page + 1 < to)
            k[1] = desk_page(j, d, page + 1).k;
        for (unsigned u = 0; u < d->u; u += each) {
            x.rows = d->u - u < each ? d->u - u : each;
            if (d->seen[u + x.rows - 1] <= page * KRN_PAGE_TOKENS)
                continue;
            x.a = d->q + (size_t)u * j->kv->d_head;
            x.c = d->score + u * d->stride + page * KRN_PAGE_TOKENS;
            j->f->chain(&x);
        }
    }
}

/* Positions of <cut> that row <u> sees. */
static size_t seen_in_cut(const struct desk *d, unsigned u, size_t cut)
{
    size_t from = cut * KV_CUT_TOKENS;
    size_t n = d->seen[u] > from ? d->seen[u] - from : 0;

    return n < KV_CUT_TOKENS ? n : KV_CUT_TOKENS;
}

/* The values of a cut, page by page, and some of the next cut: where they lie,
 * or widened where a row of them is no multiple of what is read at a time. */
static void values_find(const struct attend_job *j, const struct desk *d,
                        size_t cut, float *wide, const void **out)
{
    size_t left = d->tile->seen - cut * KV_CUT_TOKENS;
    size_t bytes = j->kv->d_head * krn_dtype_bytes(j->kv->dtype);
    const uint8_t *v = NULL;

    for (size_t i = 0; i < KV_CUT_PAGES + AHEAD_PAGES; i++) {
        size_t from = i * KRN_PAGE_TOKENS;

        if (from < left)
            v = desk_page(j, d, cut * KV_CUT_PAGES + i).v;
        out[i] = v;
        if (j->pad == j->kv->d_head || i >= KV_CUT_PAGES || from >= left)
            continue;
        out[i] = wide + from * j->pad;
        for (size_t t = from; t < from + KRN_PAGE_TOKENS && t < left; t++)
            j->f->widen(wide + t * j->pad, v + (t - from) * bytes, j->kv->dtype,
                        j->kv->d_head);
    }
}

/* Values of one cut for the rows from <u> on, <rows> of them. */
static void values_add(const struct attend_job *j, const struct desk *d,
                       struct cpu_chain *x, size_t cut, unsigned u)
{
    unsigned steps[MOST_ROWS];
    unsigned rows = x->rows;
    unsigned skip = 0;
    float *acc = d->acc + (j->split ? cut * d->u * j->pad : 0);

    while (skip < rows && seen_in_cut(d, u + skip, cut) == 0)
        skip++;
    if (skip == rows)
        return;
    for (unsigned i = skip; i < rows; i++)
        steps[i - skip] = (unsigned)seen_in_cut(d, u + i, cut);
    x->n = steps;
    x->rows = rows - skip;
    x->a = d->score + (u + skip) * d->stride + cut * KV_CUT_TOKENS;
    for (size_t at = 0; at < j->pad; at += LANES) {
        x->b_skip_bytes = at * krn_dtype_bytes(x->dtype);
        x->c = acc + (u + skip) * j->pad + at;
        j->f->chain(x);
    }
}

/* The exponentials of one cut and their sums; d->top has the greatest score of
 * each row. */
static void desk_exp(const struct attend_job *j, const struct desk *d,
                     size_t cut)
{
    bool first = j->split || cut == 0;
    float *sum = d->sum + (j->split ? cut * d->u : 0);

    for (unsigned u = 0; u < d->u; u++) {
        size_t n = seen_in_cut(d, u, cut);
        float part;

        if (n == 0)
            continue;
        part = j->f->exp_cut(d->score + u * d->stride + cut * KV_CUT_TOKENS, n,
                             d->top[u]);
        sum[u] = first ? part : sum[u] + part;
    }
}

/* The weights of one cut and its values; d->sum has the whole sums. */
static void desk_gather(const struct attend_job *j, const struct desk *d,
                        size_t cut, float *wide)
{
    bool first = j->split || cut == 0;
    unsigned each = chain_rows(j, d);
    const void *values[KV_CUT_PAGES + AHEAD_PAGES];
    struct cpu_chain x = {.lda = d->stride,
                          .b = values,
                          .piece = KRN_PAGE_TOKENS,
                          .ahead = AHEAD_PAGES,
                          .dtype =
                              j->pad == j->kv->d_head ? j->kv->dtype : KRN_F32,
                          .ldc = j->pad,
                          .end = first ? CPU_CHAIN_SET : CPU_CHAIN_ADD};

    for (unsigned u = 0; u < d->u; u++)
        j->f->weigh(d->score + u * d->stride + cut * KV_CUT_TOKENS,
                    seen_in_cut(d, u, cut), 1.0F / d->sum[u],
                    j->kv->dtype == KRN_F16);
    values_find(j, d, cut, wide, values);
    x.b_step_bytes = j->pad * krn_dtype_bytes(x.dtype);
    for (unsigned u = 0; u < d->u; u += each) {
        x.rows = d->u - u < each ? d->u - u : each;
        values_add(j, d, &x, cut, u);
    }
}

/* Write the rows of a desk out. */
static void desk_finish(const struct attend_job *j, const struct desk *d)
{
    size_t d_head = j->kv->d_head;

    for (unsigned i = 0; i < d->tile->count; i++) {
        float *out = j->out + d->tile->rows[i] * j->ldo +
                     (size_t)d->kv_head * j->group * d_head;

        for (unsigned h = 0; h < j->group; h++)
            memcpy(out + h * d_head,
                   d->acc + ((size_t)i * j->group + h) * j->pad,
                   d_head * sizeof(*out));
    }
}

/* --- whole desks ---------------------------------------------------------- */

static float *wide_of(const struct attend_job *j, unsigned worker)
{
    return j->wide + (size_t)worker * KV_CUT_TOKENS * j->pad;
}

static void whole_item(void *arg, unsigned item, unsigned worker)
{
    const struct attend_job *j = arg;
    unsigned heads = j->kv->n_kv_head;
    const struct tile *t = &j->tiles[item / heads];
    struct desk d;

    desk_lay(j, t, item % heads, j->desks + worker * j->desk_bytes, &d);
    desk_fill(j, &d);
    desk_score(j, &d, 0, (t->seen + KRN_PAGE_TOKENS - 1) / KRN_PAGE_TOKENS);
    for (unsigned u = 0; u < d.u; u++)
        d.top[u] = j->f->greatest(d.score + u * d.stride, d.seen[u]);
    for (size_t cut = 0; cut < cuts_of(t->seen); cut++)
        desk_exp(j, &d, cut);
    for (size_t cut = 0; cut < cuts_of(t->seen); cut++)
        desk_gather(j, &d, cut, wide_of(j, worker));
    desk_finish(j, &d);
}

/* --- desks split into cuts ------------------------------------------------ */

/* The desk and the cut of an item; false: its tile has no such cut. */
static bool split_find(const struct attend_job *j, unsigned item,
                       struct desk *d, size_t *cut)
{
    unsigned heads = j->kv->n_kv_head;
    size_t desk = item / j->cuts;
    const struct tile *t = &j->tiles[desk / heads];

    *cut = item % j->cuts;
    desk_lay(j, t, (unsigned)(desk % heads), j->desks + desk * j->desk_bytes,
             d);
    return *cut < cuts_of(t->seen);
}

static void split_score_item(void *arg, unsigned item, unsigned worker)
{
    const struct attend_job *j = arg;
    struct desk d;
    size_t cut, pages;

    (void)worker; /* desks lie apart */
    if (!split_find(j, item, &d, &cut))
        return;
    pages = (d.tile->seen + KRN_PAGE_TOKENS - 1) / KRN_PAGE_TOKENS;
    desk_score(j, &d, cut * KV_CUT_PAGES,
               pages - cut * KV_CUT_PAGES < KV_CUT_PAGES
                   ? pages
                   : (cut + 1) * KV_CUT_PAGES);
    for (unsigned u = 0; u < d.u; u++) {
        size_t n = seen_in_cut(&d, u, cut);
        const float *score = d.score + u * d.stride + cut * KV_CUT_TOKENS;

        d.top[cut * d.u + u] = n == 0 ? -INFINITY : j->f->greatest(score, n);
    }
}

static void split_exp_item(void *arg, unsigned item, unsigned worker)
{
    const struct attend_job *j = arg;
    struct desk d;
    size_t cut;

    (void)worker; /* desks lie apart */
    if (split_find(j, item, &d, &cut))
        desk_exp(j, &d, cut);
}

static void split_gather_item(void *arg, unsigned item, unsigned worker)
{
    const struct attend_job *j = arg;
    struct desk d;
    size_t cut;

    if (split_find(j, item, &d, &cut))
        desk_gather(j, &d, cut, wide_of(j, worker));
}

/* The greatest score of each row, into the first cut's. */
static void split_top(const struct attend_job *j, const struct desk *d)
{
    (void)j; /* no arithmetic but comparing */
    for (unsigned u = 0; u < d->u; u++)
        for (size_t cut = 1; cut < cuts_of(d->seen[u]); cut++)
            if (d->top[cut * d->u + u] > d->top[u])
                d->top[u] = d->top[cut * d->u + u];
}

/* The whole sums, into the first cut's. */
static void split_sum(const struct attend_job *j, const struct desk *d)
{
    (void)j; /* a few scalars */
    for (unsigned u = 0; u < d->u; u++)
        for (size_t cut = 1; cut < cuts_of(d->seen[u]); cut++)
            d->sum[u] += d->sum[cut * d->u + u];
}

/* Add the cuts' values up, into the first one, and write them out. */
static void split_finish(const struct attend_job *j, const struct desk *d)
{
    for (unsigned u = 0; u < d->u; u++)
        for (size_t cut = 1; cut < cuts_of(d->seen[u]); cut++)
            j->f->add(d->acc + u * j->pad, d->acc + (cut * d->u + u) * j->pad,
                      j->pad);
    desk_finish(j, d);
}

/* Do <fn> to every desk, on the calling thread. */
static void split_each(const struct attend_job *j,
                       void (*fn)(const struct attend_job *,
                                  const struct desk *))
{
    unsigned heads = j->kv->n_kv_head;
    struct desk d;

    for (unsigned i = 0; i < j->n_tiles * heads; i++) {
        desk_lay(j, &j->tiles[i / heads], i % heads,
                 j->desks + i * j->desk_bytes, &d);
        fn(j, &d);
    }
}

static void split_run(struct krn_ctx *c, struct attend_job *j)
{
    unsigned items = (unsigned)(j->n_tiles * j->kv->n_kv_head * j->cuts);

    split_each(j, desk_fill);
    pool_run(c->pool, split_score_item, j, items);
    split_each(j, split_top);
    pool_run(c->pool, split_exp_item, j, items);
    split_each(j, split_sum);
    pool_run(c->pool, split_gather_item, j, items);
    split_each(j, split_finish);
}

/* -------------------------------------------------------------------------- */

/* Memory for the desks. KRN_NOMEM. */
static enum krn_status desks_get(struct krn_ctx *c, struct attend_job *j)
{
    unsigned threads = pool_threads(c->pool);
    size_t desks = (size_t)j->n_tiles * j->kv->n_kv_head;
    size_t wide = 0;
    struct desk d;

    j->split = threads > 1 && desks < (size_t)SPLIT_ITEMS * threads &&
               j->cuts * KV_CUT_TOKENS >= SPLIT_TOKENS;
    for (unsigned i = 0; i < j->n_tiles; i++) {
        size_t bytes = desk_lay(j, &j->tiles[i], 0, NULL, &d);

        j->desk_bytes = bytes > j->desk_bytes ? bytes : j->desk_bytes;
    }
    if (!j->split)
        desks = threads;
    if (j->pad != j->kv->d_head)
        wide = threads * KV_CUT_TOKENS * j->pad * sizeof(float);
    j->desks = krn_scratch(c, KRN_SLOT_ATTEND, desks * j->desk_bytes + wide);
    if (!j->desks)
        return KRN_NOMEM;
    j->wide = (float *)(void *)(j->desks + desks * j->desk_bytes);
    return KRN_OK;
}

enum krn_status cpu_attend(struct krn_ctx *c, const struct krn_kv *kv,
                           unsigned layer, const struct krn_rows *rows,
                           const float *q, size_t ldq, unsigned n_head,
                           float scale, float *out, size_t ldo)
{
    struct attend_job j = {.f = cpu_row_fns_of(c->isa),
                           .kv = kv,
                           .rows = rows,
                           .layer = layer,
                           .q = q,
                           .ldq = ldq,
                           .group = n_head / kv->n_kv_head,
                           .scale = scale,
                           .out = out,
                           .ldo = ldo,
                           .pad = round_up(kv->d_head, LANES)};
    enum krn_status st = plan(c, &j);

    if (st == KRN_OK)
        st = desks_get(c, &j);
    if (st != KRN_OK)
        return st;
    if (j.split)
        split_run(c, &j);
    else
        pool_run(c->pool, whole_item, &j, j.n_tiles * kv->n_kv_head);
    return KRN_OK;
}
