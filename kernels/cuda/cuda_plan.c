/* cuda_plan.c - How the rows of a step are cut into items of work for the
 * kernels of attention. Rows of one sequence that follow each other in the
 * batch and in position are a run. A run of one row is decoded; longer ones are
 * cut into tiles of ATT_TILE tokens. Where there would be too few blocks to
 * fill the GPU, the keys of a row or tile are split among several items, whose
 * partial results the last of them joins. Items are sorted longest first.
 *
 * In a deterministic context every row is decoded, and its keys are cut every
 * ATT_CUT pages, whether one block goes through all cuts or each has its own:
 * the sums are the same. So no result depends on other rows, nor on how a
 * prompt is cut into steps. */
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/cuda_attend.h"

/* Most bytes of partial results. */
#define PARTS_MOST ((size_t)64 << 20)

/* Bytes of the counts in front of them, and how many those are. */
#define COUNT_BYTES ((size_t)512 << 10)
#define COUNTS      (COUNT_BYTES / sizeof(uint32_t))

/* Fewest pages of a split tile. */
#define TILE_SPLIT 8

/* What a split costs beside its pages, in pages: its start and its join. */
#define SPLIT_COST 2

/* A plan that is being made. */
struct planner {
    const struct cuda *d;
    const struct krn_kv *kv;
    struct att_item *items;
    unsigned m;
    unsigned n_decode, n_tile;
    size_t parts; /* used */
};

static unsigned up(unsigned n, unsigned by)
{
    return (n + by - 1) / by;
}

/* Blocks of one kv head that run at once, two on a multiprocessor. */
static unsigned wave_of(const struct cuda *d, unsigned n_kv_head)
{
    unsigned n = 2 * d->n_sm / n_kv_head;

    return n > 0 ? n : 1;
}

unsigned cuda_plan_decode_most(const struct cuda *d, unsigned n_kv_head,
                               unsigned m)
{
    unsigned wave = wave_of(d, n_kv_head);
    unsigned most = m + 2 * wave;

    return m < most / wave ? m * wave : most;
}

size_t cuda_plan_bytes(const struct cuda *d, unsigned m, unsigned n_seq,
                       unsigned max_pages)
{
    size_t n = cuda_plan_decode_most(d, 1, m);

    (void)n_seq;
    (void)max_pages;
    if (m > 1)
        n += m / 2 + wave_of(d, 1);
    return sizeof(struct att_plan) + n * sizeof(struct att_item);
}

/* Bytes of one partial result: all heads of one token. */
static size_t part_bytes(const struct krn_kv *kv)
{
    return (size_t)kv->n_kv_head * ATT_GROUP * (kv->d_head + 1) * sizeof(float);
}

/* Most partial results. */
static size_t parts_most(const struct krn_kv *kv)
{
    size_t n = PARTS_MOST / part_bytes(kv);
    size_t counts = COUNTS / kv->n_kv_head;

    return n < counts ? n : counts;
}

/* --- runs and tiles ------------------------------------------------------- */

/* Pages that hold position <pos> and those before it. */
static int32_t pages_to(int32_t pos)
{
    return pos / ATT_PAGE + 1;
}

static unsigned run_of(const struct planner *p, unsigned r, const int32_t *seq,
                       const int32_t *pos)
{
    unsigned n = 1;

    if (p->d->deterministic)
        return 1;
    while (r + n < p->m && seq[r + n] == seq[r] &&
           pos[r + n] == pos[r] + (int32_t)n)
        n++;
    return n;
}

static void item_add(struct planner *p, unsigned row, unsigned n, int32_t seq,
                     int32_t pos)
{
    p->items[p->n_decode + p->n_tile] =
        (struct att_item){.row = (int32_t)row,
                          .n = (int32_t)n,
                          .seq = seq,
                          .pos = pos,
                          .page1 = pages_to(pos + (int32_t)n - 1),
                          .n_split = 1};
    if (n == 1)
        p->n_decode++;
    else
        p->n_tile++;
}

/* Add what is decoded, or tiles, unsplit. A tile of one token, the last of a
 * long run, is decoded. */
static void items_of(struct planner *p, bool tiles, const int32_t *seq,
                     const int32_t *pos)
{
    for (unsigned r = 0, n; r < p->m; r += n) {
        n = 1;
        if (pos[r] < 0)
            continue;
        n = run_of(p, r, seq, pos);
        for (unsigned at = 0; at < n; at += ATT_TILE) {
            unsigned left = n - at < ATT_TILE ? n - at : ATT_TILE;

            if ((left > 1) == tiles)
                item_add(p, r + at, left, seq[r], pos[r] + (int32_t)at);
        }
    }
}

/* --- splitting ------------------------------------------------------------ */

/* What splitting items every <pages> pages comes to. */
struct cost {
    unsigned items;
    unsigned blocks; /* of one kv head */
    size_t parts;
};

/* Blocks of 64 rows for groups of 4; how large they really are is not known
 * yet. */
static unsigned blocks_of(const struct att_item *it)
{
    return up((unsigned)it->n, ATT_PAGE / 4);
}

static struct cost cost_of(const struct att_item *items, unsigned n,
                           unsigned pages)
{
    struct cost c = {0};

    for (unsigned i = 0; i < n; i++) {
        unsigned k = up((unsigned)items[i].page1, pages);

        c.items += k;
        c.blocks += k * blocks_of(&items[i]);
        c.parts += k > 1 ? (size_t)k * (size_t)items[i].n : 0;
    }
    return c;
}

static unsigned longest_of(const struct att_item *items, unsigned n)
{
    unsigned most = 1;

    for (unsigned i = 0; i < n; i++)
        if ((unsigned)items[i].page1 > most)
            most = (unsigned)items[i].page1;
    return most;
}

/* How long a wave of blocks takes to go through <all> pages in <c.items> items
 * of at most <pages> of them, at most: in waves as long as their longest, or,
 * as blocks take what is next, evenly but for the last one. */
static unsigned decode_time(struct cost c, unsigned wave, unsigned all,
                            unsigned pages)
{
    unsigned longest = pages + SPLIT_COST;
    unsigned waves = up(c.items, wave) * longest;
    unsigned even = up(all + c.items * SPLIT_COST, wave) + longest;

    return (waves < even ? waves : even) + (c.parts > 0 ? SPLIT_COST : 0);
}

/* Pages of a split of what is decoded: those that take least time. Tried are
 * all numbers of splits of the longest up to 16, then some of them. */
static unsigned decode_pages(const struct planner *p)
{
    const unsigned n_kv = p->kv->n_kv_head;
    const unsigned most = cuda_plan_decode_most(p->d, n_kv, p->m);
    const unsigned longest = longest_of(p->items, p->n_decode);
    const unsigned all = cost_of(p->items, p->n_decode, 1).items;
    unsigned best = longest, least = UINT32_MAX;

    for (unsigned k = 1;; k += k < 16 ? 1 : k / 16) {
        unsigned pages = up(longest, k);
        struct cost c = cost_of(p->items, p->n_decode, pages);
        unsigned time = decode_time(c, wave_of(p->d, n_kv), all, pages);

        /* More splits are more items yet. */
        if (k > 1 && (pages < ATT_SPLIT || c.items > most ||
                      c.parts > parts_most(p->kv) ||
                      (pages < 4 && c.items * n_kv > p->d->n_sm)))
            return best;
        if (time < least) {
            best = pages;
            least = time;
        }
    }
}

/* Likewise of tiles: few enough for what runs at once. */
static unsigned tile_pages(const struct planner *p)
{
    const struct att_item *tiles = p->items + p->n_decode;
    const unsigned longest = longest_of(tiles, p->n_tile);
    const unsigned wave = wave_of(p->d, p->kv->n_kv_head);
    unsigned pages = TILE_SPLIT;

    if (cost_of(tiles, p->n_tile, longest).blocks * 2 > wave)
        return longest;
    for (; pages < longest; pages += pages / 4) {
        struct cost c = cost_of(tiles, p->n_tile, pages);

        if (c.blocks <= wave && p->parts + c.parts <= parts_most(p->kv))
            return pages;
    }
    return longest;
}

/* Split the <n> items at <items>, which others may follow only where none is
 * split, every <pages> pages. Returns how many they become. */
static unsigned split_items(struct planner *p, struct att_item *items,
                            unsigned n, unsigned pages)
{
    unsigned all = cost_of(items, n, pages).items;
    unsigned at = all;

    for (unsigned i = n; i-- > 0;) {
        struct att_item it = items[i];
        unsigned k = up((unsigned)it.page1, pages);

        at -= k;
        it.n_split = (uint16_t)k;
        if (k > 1) {
            it.part = (uint32_t)p->parts;
            p->parts += (size_t)k * (size_t)it.n;
        }
        for (unsigned s = 0; s < k; s++) {
            struct att_item *to = &items[at + s];

            *to = it;
            to->split = (uint16_t)s;
            to->page0 = (int32_t)(s * pages);
            if (s + 1 < k)
                to->page1 = (int32_t)((s + 1) * pages);
        }
    }
    return all;
}

/* Longest first, else in the order of rows and splits. */
static int item_order(const void *va, const void *vb)
{
    const struct att_item *a = va;
    const struct att_item *b = vb;
    int32_t la = a->page1 - a->page0;
    int32_t lb = b->page1 - b->page0;

    if (la != lb)
        return la > lb ? -1 : 1;
    if (a->row != b->row)
        return a->row < b->row ? -1 : 1;
    return (int)a->split - (int)b->split;
}

static void sort_items(struct att_item *items, unsigned n)
{
    for (unsigned i = 1; i < n; i++)
        if (item_order(&items[i - 1], &items[i]) > 0) {
            qsort(items, n, sizeof(*items), item_order);
            return;
        }
}

/* --- the plan ------------------------------------------------------------- */

/* Room for <n> partial results in the last buffer. Those before it stay: steps
 * that are under way use them. */
static enum krn_status parts_room(struct cuda *d, const struct krn_kv *kv,
                                  size_t n)
{
    struct cuda_attend *a = d->attend;
    size_t need = COUNT_BYTES + n * part_bytes(kv);
    size_t bytes = (size_t)1 << 20;
    CUdeviceptr p;

    if (n == 0 || need <= a->parts_bytes)
        return KRN_OK;
    while (bytes < need)
        bytes *= 2;
    if (a->n_parts == ATT_GROWTHS)
        return KRN_NOMEM;
    p = cuda_alloc(d, bytes);
    if (p == 0)
        return KRN_NOMEM;
    a->parts[a->n_parts++] = p;
    a->parts_bytes = bytes;
    return cuda_check(d, d->drv->memset8(p, 0, COUNT_BYTES, d->compute),
                      "cuMemsetD8Async");
}

/* Split what is decoded, in a deterministic context where there is room. */
static void split_decode(struct planner *p)
{
    unsigned pages = longest_of(p->items, p->n_decode);

    if (!p->d->deterministic) {
        pages = decode_pages(p);
    } else {
        struct cost c = cost_of(p->items, p->n_decode, ATT_CUT);

        if (c.items <= cuda_plan_decode_most(p->d, p->kv->n_kv_head, p->m) &&
            c.parts <= parts_most(p->kv))
            pages = ATT_CUT;
    }
    p->n_decode = split_items(p, p->items, p->n_decode, pages);
    sort_items(p->items, p->n_decode);
}

static void plan_finish(struct planner *p, enum krn_set set,
                        struct att_plan *plan)
{
    struct cuda_attend *a = p->d->attend;
    size_t most = parts_most(p->kv);
    CUdeviceptr base = a->n_parts > 0 ? a->parts[a->n_parts - 1] : 0;
    const struct att_item *tiles = p->items + p->n_decode;
    struct cuda_planned *got = &a->planned[set];

    if (a->parts_bytes > 0 &&
        most > (a->parts_bytes - COUNT_BYTES) / part_bytes(p->kv))
        most = (a->parts_bytes - COUNT_BYTES) / part_bytes(p->kv);
    *got = (struct cuda_planned){.n_decode = p->n_decode, .n_tile = p->n_tile};
    for (unsigned i = 0; i < p->n_tile; i++) {
        unsigned n = (unsigned)tiles[i].n;

        got->tile_rows += n;
        got->tile_most = n > got->tile_most ? n : got->tile_most;
    }
    *plan = (struct att_plan){
        .bytes = (uint32_t)(sizeof(*plan) + (p->n_decode + p->n_tile) *
                                                sizeof(struct att_item)),
        .n_decode = p->n_decode,
        .n_tile = p->n_tile,
        .count = (uint32_t *)(uintptr_t)base,
        .lse = (float *)(uintptr_t)(base + COUNT_BYTES),
        .out = (float *)(uintptr_t)(base + COUNT_BYTES +
                                    most * p->kv->n_kv_head * ATT_GROUP *
                                        sizeof(float))};
}

enum krn_status cuda_plan_write(struct cuda *d, enum krn_set set,
                                const struct krn_kv *kv, unsigned m,
                                const int32_t *seq, const int32_t *pos,
                                void *out)
{
    struct att_plan *plan = out;
    struct planner p = {
        .d = d, .kv = kv, .m = m, .items = (struct att_item *)(plan + 1)};
    enum krn_status st;

    if (m == 0 || m > ATT_ROWS_MAX || kv->n_kv_head == 0)
        return KRN_BAD_SHAPE;
    items_of(&p, false, seq, pos);
    if (p.n_decode > 0)
        split_decode(&p);
    items_of(&p, true, seq, pos);
    if (p.n_tile > 0) {
        struct att_item *tiles = p.items + p.n_decode;

        p.n_tile = split_items(&p, tiles, p.n_tile, tile_pages(&p));
        sort_items(tiles, p.n_tile);
    }
    st = parts_room(d, kv, p.parts);
    if (st != KRN_OK)
        return st;
    plan_finish(&p, set, plan);
    return KRN_OK;
}
