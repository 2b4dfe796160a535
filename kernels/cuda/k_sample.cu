/* k_sample.cu - From a row of logits to a token, as src/engine/sample.c does it
 * on the host: edits, mask, top_k, top_p, min_p, a draw. One block a row; no
 * row is sorted. Tokens are drawn in the order of their ids. */
#include "kernels/cuda/a_sample.h"
#include "kernels/cuda/dev.cuh"
#include "kernels/cuda/draw.cuh"

/* --- drawing from a row --------------------------------------------------- */

/* The weight of token <id>, 0 from <to> on. */
DEV u64 token_weight(const view &w, int id, int to)
{
    float v = id < to ? seen_as(w, w.x[id], id) : -INFINITY;
    u64 k = key_of(v, id);

    return k > 0 && k >= w.cut ? weight_of(w, v) : 0;
}

/* Which thread's share of sums <q>, in the order of threads, *hit falls into;
 * *hit becomes what is left of it there. */
DEV unsigned share_hit(room &r, u64 q, u64 *hit, u64 *all)
{
    u64 before = block_scan(r, q, all);

    __syncthreads();
    if (before <= *hit && *hit < before + q) {
        r.found[0] = threadIdx.x;
        r.found[1] = *hit - before;
    }
    __syncthreads();
    *hit = r.found[1];
    return (unsigned)r.found[0];
}

/* The sum of <q> over a warp in its first lane, 0 in the others. */
DEV u64 warp_total(u64 q)
{
    for (int o = 16; o > 0; o >>= 1)
        q += __shfl_xor_sync(ALL_LANES, q, o);
    return threadIdx.x % 32 == 0 ? q : 0;
}

/* Draw a token in the order of ids from what counts in the row: which segment,
 * which part of it, which token. */
DEV int draw_row(room &r, const view &w, double u)
{
    int len = segment(w.n), sub = len / WARPS, part, from, to, id;
    int warp = (int)(threadIdx.x / 32), lane = (int)(threadIdx.x % 32);
    u64 q = 0, all, hit;
    bool mine;

    each(w, [&](float v, int i) {
        q += key_of(v, i) >= w.cut ? weight_of(w, v) : 0;
    });
    q = warp_total(q);
    block_scan(r, q, &all);
    hit = hit_of(u, all);
    from = (int)(share_hit(r, q, &hit, &all) / 32) * len;
    q = 0;
    to = from + (warp + 1) * sub < w.n ? from + (warp + 1) * sub : w.n;
    for (int i = from + warp * sub + lane; i < to; i += 32)
        q += token_weight(w, i, to);
    from += (int)(share_hit(r, warp_total(q), &hit, &all) / 32) * sub;
    /* The <sub> tokens from <from> on, <part> of them a thread. */
    part = (sub + DRAW_THREADS - 1) / DRAW_THREADS;
    to = from + sub < w.n ? from + sub : w.n;
    from += (int)threadIdx.x * part;
    to = from + part < to ? from + part : to;
    q = 0;
    for (int i = from; i < to; i++)
        q += token_weight(w, i, to);
    mine = share_hit(r, q, &hit, &all) == threadIdx.x;
    __syncthreads();
    if (mine) {
        for (id = from; id + 1 < to; id++) {
            q = token_weight(w, id, to);
            if (hit < q)
                break;
            hit -= q;
        }
        r.found[0] = (u64)id;
    }
    __syncthreads();
    return (int)r.found[0];
}

/* --- the kernel ----------------------------------------------------------- */

/* Change the logits that edits name. */
DEV void edit(float *x, const a_draw &d, a_draw_edit *edits)
{
    for (int i = (int)threadIdx.x; i < d.n_edits; i += DRAW_THREADS) {
        a_draw_edit *e = &edits[i];
        float v = x[e->id];
        e->was = v;
        v = e->flags & DRAW_BANNED ? -INFINITY : v + e->bias;
        if (e->flags & DRAW_SEEN && d.repetition != 1.f)
            v = v > 0.f ? v / d.repetition : mul_rn(v, d.repetition);
        x[e->id] = v - e->less;
    }
    __syncthreads();
}

DEV bool is_banned(const a_draw &d, const a_draw_edit *edits, int id)
{
    for (int i = 0; i < d.n_edits; i++)
        if (edits[i].id == id && edits[i].flags & DRAW_BANNED)
            return true;
    return false;
}

/* The lowest allowed id, when no logit can be ranked; -1 when there is none.
 * Where a bias bans all that a mask allows, the mask goes before. */
DEV int first_allowed(room &r, const view &w, const a_draw &d,
                      const a_draw_edit *edits)
{
    u64 best = 0;

    for (int id = (int)threadIdx.x; id < w.n; id += DRAW_THREADS) {
        u64 k;
        if (w.mask && !(w.mask[id >> 5] >> (id & 31) & 1))
            continue;
        if (!is_banned(d, edits, id))
            k = 1ull << 32 | (uint32_t)~id;
        else
            k = w.mask ? (uint32_t)~id : 0;
        best = k > best ? k : best;
    }
    best = block_max(r, best);
    return best > 0 ? id_of(best) : -1;
}

/* Say what the row is like before it is changed: its largest logit, of key <k>,
 * the sum of weights, the likeliest tokens. */
DEV void tell(room &r, view &w, u64 k, a_drawn *out)
{
    float max = k > 0 ? number_of((uint32_t)(k >> 32)) : -INFINITY;
    u64 sum;

    w.inf = max == INFINITY;
    w.max = w.inf ? 0.f : max;
    w.scale = 1.f;
    sum = k > 0 ? sum_of(r, w) : 0;
    w.inf = false;
    if (threadIdx.x == 0) {
        out->max = max;
        out->sum = sum;
    }
}

DEV void tell_top(room &r, uint32_t m, a_drawn *out)
{
    if (threadIdx.x < m) {
        u64 k = r.list[threadIdx.x];
        out->top[threadIdx.x].id = id_of(k);
        out->top[threadIdx.x].x = number_of((uint32_t)(k >> 32));
    }
    if (threadIdx.x == 0)
        out->n_top = (int32_t)m;
}

/* Draw from the first <m> of the list, 0: from the row. */
DEV int draw(room &r, view &w, const a_draw &d, uint32_t m)
{
    w.floor = fminf(d.min_p, 1.f);
    return m > 0 ? draw_list(r, w, m, d.u) : draw_row(r, w, d.u);
}

/* Look at the row as it is, if that is wanted, and then as it is after edits
 * and mask; the token. */
DEV int run(room &r, view &w, const a_draw &d, const a_draws &a, float *x,
            a_drawn *out)
{
    a_draw_edit *edits = a.edits + d.edits;
    u64 k = 0;

#pragma unroll 1
    for (int turn = d.tell ? 0 : 1; turn < 2; turn++) {
        bool same = turn == 1 && d.tell && d.n_edits == 0 && d.mask < 0;
        uint32_t m = 0;
        if (turn == 1) {
            if (d.given >= 0)
                return d.given;
            __syncthreads();
            edit(x, d, edits);
            w.mask = d.mask >= 0 ? a.masks + d.mask : NULL;
        }
        w.cut = 1;
        if (!same)
            k = greatest(r, w);
        if (turn == 0) {
            tell(r, w, k, out);
        } else if (k == 0) {
            return first_allowed(r, w, d, edits);
        } else if (!(d.scale > 0.f)) {
            return id_of(k);
        } else {
            w.max = number_of((uint32_t)(k >> 32));
            w.inf = w.max == INFINITY;
            w.max = w.inf ? 0.f : w.max;
            w.scale = d.scale;
        }
        if (k > 0 && (turn == 1 || d.n_top > 0))
            m = few_of(r, w, turn == 0 ? d.n_top : d.top_k,
                       turn == 0 ? 1.f : d.top_p);
        if (turn == 1)
            return draw(r, w, d, m);
        tell_top(r, m, out);
    }
    return -1;
}

KERNEL(tg_draw, a_draws, DRAW_THREADS, 1)
{
    __shared__ room r;
    __shared__ a_draw d;
    a_drawn *out = a.out + blockIdx.x;
    float *x;
    int id;

    pdl_wait();
    if (threadIdx.x == 0)
        d = a.draws[blockIdx.x];
    __syncthreads();
    x = a.logits + d.at;
    view w = {x, NULL, a.n_vocab, a.vec, false, 0.f, 1.f, 0.f, 1};
    id = run(r, w, d, a, x, out);
    if (threadIdx.x == 0) {
        out->id = id;
        out->x = id >= 0 ? x[id] : -INFINITY;
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; d.given < 0 && i < d.n_edits;
         i += DRAW_THREADS)
        if (a.edits[d.edits + i].id == id)
            out->x = a.edits[d.edits + i].was;
    pdl_go();
}
