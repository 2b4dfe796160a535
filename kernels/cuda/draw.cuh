/* draw.cuh - What k_sample.cu is made of. Tokens of a row have 64-bit keys, the
 * logit's bits above the complement of the id, so that no two are equal and
 * equals go by lowest id; what stays is cut off by a key, found digit by digit
 * from histograms. Once few tokens are left they are sorted in shared memory.
 * Counts and weights are integers, so that the order of atomic additions does
 * not matter. The row is read in segments, one a warp, in the order of ids.
 * All functions are called by all threads of a block where nothing else is
 * said. */
#ifndef TG_KERNELS_CUDA_DRAW_CUH
#define TG_KERNELS_CUDA_DRAW_CUH

#include "kernels/cuda/a_sample.h"
#include "kernels/cuda/dev.cuh"

/* Of a block. */
#define WARPS     (DRAW_THREADS / 32)
#define BINS      2048 /* of a histogram: digits of 11 bits */
#define LIST      2048 /* tokens that are sorted */
#define AHEAD     2    /* loads of a lane under way at once */
#define ALL_LANES 0xffffffffu

/* What atomics and shuffles take. */
typedef unsigned long long u64;

/* What the threads of a block share. */
struct room {
    uint32_t count[BINS], low[BINS], high[BINS];
    u64 list[LIST];
    u64 part[WARPS]; /* 32, one a lane */
    u64 found[2];
    uint32_t n_list;
};

/* A row as it is looked at. */
struct view {
    const float *x;
    const uint32_t *mask; /* or NULL */
    int n;
    int vec;
    bool inf;    /* only infinite logits count, all alike */
    float max;   /* of what counts; 0 with inf */
    float scale; /* 1 / temperature */
    float floor; /* least weight that counts; 0 = any */
    u64 cut;     /* least key that counts */
};

/* --- blocks --------------------------------------------------------------- */

/* The sum of <v> over the lanes up to this one. */
DEV u64 warp_scan(u64 v)
{
    unsigned lane = threadIdx.x % 32;

#pragma unroll 1
    for (unsigned o = 1; o < 32; o <<= 1) {
        u64 w = __shfl_up_sync(ALL_LANES, v, o);
        v += lane >= o ? w : 0;
    }
    return v;
}

/* The largest <v> of the lanes. */
DEV u64 warp_max(u64 v)
{
#pragma unroll 1
    for (int o = 16; o > 0; o >>= 1) {
        u64 w = __shfl_xor_sync(ALL_LANES, v, o);
        v = w > v ? w : v;
    }
    return v;
}

/* The largest <v> of the block. */
DEV u64 block_max(room &r, u64 v)
{
    v = warp_max(v);
    __syncthreads();
    if (threadIdx.x % 32 == 0)
        r.part[threadIdx.x / 32] = v;
    __syncthreads();
    return warp_max(r.part[threadIdx.x % 32]);
}

/* The sum of <v> of the threads before this one, and of all. */
DEV u64 block_scan(room &r, u64 v, u64 *all)
{
    unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    u64 sum = warp_scan(v), parts, before;

    __syncthreads();
    if (lane == 31)
        r.part[warp] = sum;
    __syncthreads();
    parts = warp_scan(r.part[lane]);
    *all = __shfl_sync(ALL_LANES, parts, 31);
    before = __shfl_sync(ALL_LANES, parts, (int)(warp > 0 ? warp - 1 : 0));
    return (warp > 0 ? before : 0) + sum - v;
}

/* --- tokens --------------------------------------------------------------- */

/* Bits in the order of numbers; -0 is 0. */
DEV uint32_t ordered(float v)
{
    uint32_t b = __float_as_uint(v + 0.f);

    return b & 0x80000000u ? ~b : b | 0x80000000u;
}

/* The number that ordered() gave <o> for. */
DEV float number_of(uint32_t o)
{
    return __uint_as_float(o & 0x80000000u ? o & 0x7fffffffu : ~o);
}

/* The key of token <id> with logit <v>; 0 for what never counts. */
DEV u64 key_of(float v, int id)
{
    if (!(v > -INFINITY))
        return 0;
    return (u64)ordered(v) << 32 | (uint32_t)~id;
}

/* The token of a key. */
DEV int id_of(u64 key)
{
    return (int)~(uint32_t)key;
}

/* The weight of logit <v>. */
DEV u64 weight_of(const view &w, float v)
{
    float p;

    if (!(v > -INFINITY))
        return 0;
    p = expf((v - w.max) * w.scale);
    return p >= w.floor ? (u64)(p * (float)(1ull << DRAW_BITS)) : 0;
}

/* Logit <v> of token <id> as <w> looks at it. */
DEV float seen_as(const view &w, float v, int id)
{
    if (w.mask && !(w.mask[id >> 5] >> (id & 31) & 1))
        v = -INFINITY;
    if (w.inf)
        v = v == INFINITY ? 0.f : -INFINITY;
    return v;
}

/* Four logits from <at> on, of which those before <to> are there. */
DEV void four_of(const view &w, int at, int to, float v[4])
{
    if (w.vec && at + 4 <= to) {
        float4 q = *(const float4 *)(w.x + at);
        v[0] = q.x, v[1] = q.y, v[2] = q.z, v[3] = q.w;
        return;
    }
#pragma unroll
    for (int j = 0; j < 4; j++)
        v[j] = at + j < to ? w.x[at + j] : -INFINITY;
}

/* Tokens of a warp's segment, a multiple of 128. */
DEV int segment(int n)
{
    return (n + WARPS * 128 - 1) / (WARPS * 128) * 128;
}

/* Call f(logit, id) for those of four logits from <at> on that may count. */
template <class F>
DEV void each_of(const view &w, int at, const float v[4], F &f)
{
#pragma unroll
    for (int j = 0; j < 4; j++)
        if (v[j] > -INFINITY)
            f(seen_as(w, v[j], at + j), at + j);
}

/* Call f(logit, id) for each token of this warp's segment that may count. All
 * threads call it. */
template <class F> DEV void each(const view &w, F f)
{
    int len = segment(w.n), from = (int)(threadIdx.x / 32) * len;
    int to = from + len < w.n ? from + len : w.n;
    int lane = (int)(threadIdx.x % 32);

    for (int at = from + 4 * lane; at < to; at += 128 * AHEAD) {
        float v[AHEAD][4];
#pragma unroll
        for (int u = 0; u < AHEAD; u++)
            four_of(w, at + 128 * u, to, v[u]);
#pragma unroll
        for (int u = 0; u < AHEAD; u++)
            each_of(w, at + 128 * u, v[u], f);
    }
}

/* The greatest key; 0 when nothing counts. */
DEV u64 greatest(room &r, const view &w)
{
    u64 best = 0;

    each(w, [&](float v, int id) {
        u64 k = key_of(v, id);
        best = k > best ? k : best;
    });
    return block_max(r, best);
}

/* The sum of the weights of what counts. */
DEV u64 sum_of(room &r, const view &w)
{
    u64 sum = 0, all;

    each(w, [&](float v, int) { sum += weight_of(w, v); });
    block_scan(r, sum, &all);
    return all;
}

/* --- cutting -------------------------------------------------------------- */

/* How far the search for a cut has come: keys that begin with <prefix> above
 * <shift> bits are still to be told apart. */
struct search {
    u64 prefix;
    int shift;
    u64 need;       /* of those: tokens, or their weight */
    uint32_t above; /* tokens of greater keys */
    uint32_t here;  /* tokens that begin so */
};

/* Put weight <q> to bin <b>: two words, the low one's carry goes to the high
 * one. */
DEV void add_weight(room &r, uint32_t b, u64 q)
{
    uint32_t low = (uint32_t)q, high = (uint32_t)(q >> 32);
    uint32_t old = atomicAdd(&r.low[b], low);

    high += old + low < old ? 1u : 0u;
    if (high)
        atomicAdd(&r.high[b], high);
}

/* Count the tokens that begin with the prefix by their next <width> bits. */
DEV void histogram(room &r, const view &w, const search &s, int width,
                   bool by_weight)
{
    __syncthreads();
    for (unsigned b = threadIdx.x; b < BINS; b += DRAW_THREADS)
        r.count[b] = r.low[b] = r.high[b] = 0;
    __syncthreads();
    each(w, [&](float v, int id) {
        u64 k = key_of(v, id);
        uint32_t b;
        if (k < w.cut || (s.shift < 64 && k >> s.shift != s.prefix))
            return;
        b = (uint32_t)(k >> (s.shift - width)) & ((1u << width) - 1);
        atomicAdd(&r.count[b], 1u);
        if (by_weight)
            add_weight(r, b, weight_of(w, v));
    });
    __syncthreads();
}

/* What the first of <all> must reach: the share <top_p> of it, at least one
 * token. */
DEV u64 share_of(u64 all, float top_p)
{
    double want = ceil((double)top_p * (double)all);
    u64 need = want > 0. ? (u64)want : 0;

    if (need > all)
        need = all;
    return need > 0 ? need : 1;
}

/* Find the bin in which the need is reached, from the greatest key down. With
 * a <top_p> below 1 the need is that share of all. */
DEV void descend(room &r, search &s, int width, bool by_weight, float top_p)
{
    uint32_t b = BINS - 1 - 2 * threadIdx.x; /* and the one below */
    u64 q[2], count, above, before, all, n_all;

    for (unsigned i = 0; i < 2; i++)
        q[i] = by_weight ? (u64)r.high[b - i] << 32 | r.low[b - i]
                         : r.count[b - i];
    count = (u64)r.count[b] + r.count[b - 1];
    before = block_scan(r, q[0] + q[1], &all);
    above = block_scan(r, count, &n_all);
    if (top_p < 1.f)
        s.need = share_of(all, top_p);
    s.need = s.need < all ? s.need : all;
    __syncthreads();
    for (unsigned i = 0; i < 2; i++) {
        if (before < s.need && s.need <= before + q[i]) {
            r.found[0] = before;
            r.found[1] = above << 32 | (b - i);
        }
        before += q[i];
        above += r.count[b - i];
    }
    __syncthreads();
    b = (uint32_t)r.found[1];
    s.need -= r.found[0];
    s.above += (uint32_t)(r.found[1] >> 32);
    s.here = r.count[b];
    s.shift -= width;
    s.prefix = s.prefix << width | b;
}

/* Set <w>.cut so that the tokens from it up are the first that count <need>,
 * or weigh the share <top_p> below 1, or LIST tokens at most with those among
 * them. *n_out: how many they are; *need_out: what they must weigh. */
DEV void find_cut(room &r, view &w, u64 need, float top_p, u64 *n_out,
                  u64 *need_out)
{
    bool by_weight = top_p < 1.f;
    search s = {0, 64, need, 0, 0};

#pragma unroll 1
    for (int level = 0; level < 6; level++) {
        int width = level % 3 == 2 ? 10 : 11;
        histogram(r, w, s, width, by_weight);
        descend(r, s, width, by_weight, level == 0 ? top_p : 1.f);
        if (level == 0)
            *need_out = s.need + r.found[0];
        if (s.above + s.here <= LIST || (!by_weight && s.need == s.here))
            break;
    }
    *n_out = (u64)s.above + s.here;
    w.cut = s.prefix << s.shift > w.cut ? s.prefix << s.shift : w.cut;
    __syncthreads();
}

/* --- the list ------------------------------------------------------------- */

/* One step of a bitonic sort of <size> keys: pairs <j> apart, in runs of <k>.
 */
DEV void sort_step(room &r, uint32_t size, uint32_t k, uint32_t j)
{
    uint32_t t = threadIdx.x, i = 2 * t - (t & (j - 1));
    u64 a, b;

    if (i >= size)
        return;
    a = r.list[i];
    b = r.list[i + j];
    if ((i & k) == 0 ? a < b : a > b) {
        r.list[i] = b;
        r.list[i + j] = a;
    }
}

/* Sort the list of <n> keys, the greatest first; zeros fill it up to a power
 * of two. */
DEV void sort_list(room &r, uint32_t n)
{
    uint32_t size = 2;

    while (size < n)
        size *= 2;
    for (uint32_t i = n + threadIdx.x; i < size; i += DRAW_THREADS)
        r.list[i] = 0;
#pragma unroll 1
    for (uint32_t k = 2; k <= size; k *= 2) {
#pragma unroll 1
        for (uint32_t j = k / 2; j > 0; j /= 2) {
            __syncthreads();
            sort_step(r, size, k, j);
        }
    }
    __syncthreads();
}

/* Gather the tokens from the cut up, LIST of them at most, and sort them; how
 * many. */
DEV uint32_t gather(room &r, const view &w)
{
    uint32_t n;

    __syncthreads();
    if (threadIdx.x == 0)
        r.n_list = 0;
    __syncthreads();
    each(w, [&](float v, int id) {
        u64 k = key_of(v, id);
        if (k >= w.cut && k > 0) {
            uint32_t at = atomicAdd(&r.n_list, 1u);
            if (at < LIST)
                r.list[at] = k;
        }
    });
    __syncthreads();
    n = r.n_list < LIST ? r.n_list : LIST;
    sort_list(r, n);
    return n;
}

/* The weight of the list's <i>th of <n>, 0 behind them. */
DEV u64 list_weight(room &r, const view &w, uint32_t i, uint32_t n)
{
    return i < n ? weight_of(w, number_of((uint32_t)(r.list[i] >> 32))) : 0;
}

/* How many of the first <n> together weigh <need>. */
DEV uint32_t list_reach(room &r, const view &w, uint32_t n, u64 need)
{
    uint32_t i = 2 * threadIdx.x;
    u64 q[2] = {list_weight(r, w, i, n), list_weight(r, w, i + 1, n)};
    u64 all, before = block_scan(r, q[0] + q[1], &all), kept;

    kept = (i < n && before < need ? 1 : 0) +
           (i + 1 < n && before + q[0] < need ? 1 : 0);
    block_scan(r, kept, &all);
    return (uint32_t)all;
}

/* Which of a sum of <all> the number <u> of [0, 1) hits. */
DEV u64 hit_of(double u, u64 all)
{
    u64 t = (u64)(u * (double)all);

    return t < all ? t : all - 1;
}

/* Draw among the first <n> of the list, which is sorted by ids for it. */
DEV int draw_list(room &r, const view &w, uint32_t n, double u)
{
    uint32_t i = 2 * threadIdx.x;
    u64 q[2], all, before, hit;

    __syncthreads();
    for (uint32_t j = threadIdx.x; j < n; j += DRAW_THREADS) {
        u64 k = r.list[j];
        r.list[j] = k << 32 | k >> 32;
    }
    sort_list(r, n);
    for (unsigned j = 0; j < 2; j++)
        q[j] = i + j < n ? weight_of(w, number_of((uint32_t)r.list[i + j])) : 0;
    before = block_scan(r, q[0] + q[1], &all);
    hit = hit_of(u, all);
    __syncthreads();
    for (unsigned j = 0; j < 2; j++) {
        if (before <= hit && hit < before + q[j])
            r.found[0] = (u64)id_of(r.list[i + j] >> 32);
        before += q[j];
    }
    __syncthreads();
    return (int)r.found[0];
}

/* --- few tokens ----------------------------------------------------------- */

/* Put the tokens that <top_k> (0 = off) and then <top_p> (1 or more = off)
 * leave to the list, the likeliest first; how many. 0: they are more than LIST,
 * w.cut is the least of their keys. */
DEV uint32_t few_of(room &r, view &w, int top_k, float top_p)
{
    bool by_k = top_k > 0, by_p = top_p < 1.f, few = false;
    u64 n, need = 0, all;
    uint32_t m, i = 2 * threadIdx.x;

#pragma unroll 1
    for (int turn = 0; turn < 2; turn++) {
        bool weighs = turn == 1;
        if (few || !(weighs ? by_p : by_k))
            continue;
        find_cut(r, w, (u64)top_k, weighs ? top_p : 1.f, &n, &need);
        few = n <= LIST;
        by_k = by_k && !weighs; /* done, exactly */
    }
    if (!few)
        return 0;
    m = gather(r, w);
    if (by_k && m > (uint32_t)top_k)
        m = (uint32_t)top_k;
    if (!by_p)
        return m;
    block_scan(r, list_weight(r, w, i, m) + list_weight(r, w, i + 1, m), &all);
    return list_reach(r, w, m, by_k ? share_of(all, top_p) : need);
}

#endif
