/* k_prefill.cu - Attention of a chunk of a sequence's tokens over pages: a
 * block is 16 rows a warp of an item of the plan, for one kv head. A row is a
 * token and one of the heads that share the kv head: row = token * group +
 * head, so that a page is read once for all of them. Keys and values pass
 * through two stages in shared memory; those of a page are copied while the
 * page before is worked on, values apart from keys. Items that share rows (a
 * long prefix, few rows) leave partial results, which the last of them joins in
 * their order. */
#include "kernels/cuda/attend.cuh"

/* What the block works on. */
struct Chunk {
    struct att_item it;
    int h;      /* kv head */
    int row0;   /* first row */
    int n_rows; /* of the item */
    int page1;  /* one past the last page that a row of the block sees */
    int n_keys; /* positions that the last row sees */
};

DEV int token_of(const struct att_args &a, int row)
{
    return row * a.magic >> 16;
}

/* Stage the block's queries, zeros behind the item's rows. */
template <class T, int DP, int W, int ACT>
DEV void chunk_q(const struct att_args &a, const Chunk &c, char *sq)
{
    const int N = 32 * W, CH = DP / 8;
    const int ch = (int)threadIdx.x % CH;

#pragma unroll 4
    for (int r = (int)threadIdx.x / CH; r < 16 * W; r += N / CH) {
        uint4 v = make_uint4(0, 0, 0, 0);
        int row = c.row0 + r;

        if (row < c.n_rows && ch * 8 < a.d_head) {
            int tok = token_of(a, row);
            int64_t at =
                (c.it.row + tok) * a.ldq +
                (int64_t)(c.h * a.group + row - tok * a.group) * a.d_head +
                ch * 8;

            v = act_8<T, ACT>(a.q, at);
        }
        *(uint4 *)(sq + tile_at<DP>(r, ch)) = v;
    }
}

/* Scores of a warp's 16 rows and the 64 keys of a tile. */
template <class T, int DP>
DEV void chunk_scores(float s[8][4], smem_t kt, int lane, smem_t sq,
                      const uint32_t q[DP / 16][4])
{
#pragma unroll(DP > 128 ? 2 : DP / 16)
    for (int j = 0; j < DP / 16; j++) {
        uint32_t qj[4], b[4];

        if (DP > 128)
            tile_a<DP>(qj, sq, j, lane);
#pragma unroll
        for (int n = 0; n < 4; n++) {
            tile_keys<DP>(b, kt, n * 16, j, lane);
            T::mma(s[2 * n], DP > 128 ? qj : q[j], b[0], b[1]);
            T::mma(s[2 * n + 1], DP > 128 ? qj : q[j], b[2], b[3]);
        }
    }
}

/* Keys behind a row's position do not count. */
DEV void chunk_mask(const struct att_args &a, const Chunk &c, float s[8][4],
                    int key0)
{
    const int lane = (int)threadIdx.x & 31;
    const int row = c.row0 + (int)(threadIdx.x >> 5) * 16 + (lane >> 2);
    const int pos[2] = {c.it.pos + token_of(a, row),
                        c.it.pos + token_of(a, row + 8)};

#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            if (key0 + n * 8 + 2 * (lane & 3) + (e & 1) > pos[e >> 1])
                s[n][e] = minus_inf();
}

/* o += weights * values of a tile. */
template <class T, int DP>
DEV void chunk_values(float o[DP / 8][4], const float s[8][4], smem_t vt,
                      int lane)
{
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const uint32_t p[4] = {T::pack(s[2 * k][0], s[2 * k][1]),
                               T::pack(s[2 * k][2], s[2 * k][3]),
                               T::pack(s[2 * k + 1][0], s[2 * k + 1][1]),
                               T::pack(s[2 * k + 1][2], s[2 * k + 1][3])};

#pragma unroll
        for (int n = 0; n < DP / 16; n++) {
            uint32_t b[4];

            tile_values<DP>(b, vt, k * 16, n, lane);
            T::mma(o[2 * n], p, b[0], b[1]);
            T::mma(o[2 * n + 1], p, b[2], b[3]);
        }
    }
}

/* Copies of keys and values: two groups a page, empty behind the last. */
template <class T, int DP, int W> struct Pages {
    typedef typename T::kv el;

    smem_t at;   /* 2 stages of 64 keys and 64 values, behind a tile of both
                  * where they are narrow */
    const el *k; /* page 0, the kv head's keys */
    const int32_t *table;
    int32_t id; /* of the page that is loaded next */

    static const int HALF = ATT_PAGE * DP * 2; /* bytes of keys, or of values */
    static const int RAW = Raw<DP, ATT_PAGE>::BYTES; /* where they are narrow */

    DEV smem_t stage_at(int stage) const
    {
        return T::NARROW ? at + 2 * HALF + stage * 2 * RAW
                         : at + stage * 2 * HALF;
    }

    /* Half <half> (0 = keys, 1 = values) of a page, as a group of copies. */
    DEV void copy(const struct att_args &a, const el *src, int valid, int stage,
                  int half)
    {
        if constexpr (T::NARROW)
            raw_load<DP, ATT_PAGE, 32 * W>(stage_at(stage) + half * RAW, src,
                                           src + ATT_PAGE * a.d_head, valid,
                                           a.d_head, (int)threadIdx.x);
        else
            tile_load<DP, ATT_PAGE, 32 * W>(stage_at(stage) + half * HALF, src,
                                            valid, a.d_head, (int)threadIdx.x);
        cp_async_commit();
    }

    /* The tile of a half, whose copies of this thread are there: for all once
     * they have met. Nobody reads the tile of another stage any more. */
    DEV smem_t tile(int stage, int half) const
    {
        if constexpr (T::NARROW) {
            __syncwarp();
            raw_widen<DP, ATT_PAGE, 32 * W>(at + half * HALF,
                                            stage_at(stage) + half * RAW,
                                            (int)threadIdx.x);
            return at + half * HALF;
        }
        return stage_at(stage) + half * HALF;
    }

    DEV void load(const struct att_args &a, const Chunk &c, int page, int stage)
    {
        if (page >= c.page1) {
            cp_async_commit();
            cp_async_commit();
            return;
        }
        const el *src = k + (DP > 128 ? table[page] : id) * a.page_stride;
        int valid = c.n_keys - page * ATT_PAGE;

        if (DP <= 128) /* registers are too few beyond */
            id = table[min(page + 1, c.page1 - 1)];
        copy(a, src, valid, stage, 0);
        copy(a, src + a.v_off, valid, stage, 1);
    }
};

/* All pages of the block, for one warp, whose queries lie at <sq>. */
template <class T, int DP, int W>
DEV void chunk_pages(const struct att_args &a, const Chunk &c,
                     Pages<T, DP, W> *pages, smem_t sq, float o[DP / 8][4],
                     float m[2], float l[2])
{
    const int lane = (int)threadIdx.x & 31;
    uint32_t q[DP > 128 ? 1 : DP / 16][4];

    smem_t kt, vt;

    cp_async_wait<1>();
    kt = pages->tile(0, 0);
    __syncthreads(); /* queries and the first keys are there */
    if (DP <= 128) {
#pragma unroll
        for (int j = 0; j < DP / 16; j++)
            tile_a<DP>(q[j], sq, j, lane);
    }
    /* Pages from here on have keys that a row of the block does not see. */
    const int diag = (c.it.pos + token_of(a, c.row0) + 1) / ATT_PAGE;

    for (int page = c.it.page0, st = 0; page < c.page1; page++, st ^= 1) {
        float s[8][4] = {};

        pages->load(a, c, page + 1, st ^ 1);
        chunk_scores<T, DP>(s, kt, lane, sq, q);
        if (page >= diag)
            chunk_mask(a, c, s, page * ATT_PAGE);
        soft_row<8, DP / 8, 0>(s, o, m, l, a.scale);
        soft_row<8, DP / 8, 1>(s, o, m, l, a.scale);
        cp_async_wait<2>();
        vt = pages->tile(st, 1);
        __syncthreads(); /* this page's values are there */
        chunk_values<T, DP>(o, s, vt, lane);
        cp_async_wait<1>();
        kt = pages->tile(st ^ 1, 0);
        __syncthreads(); /* the next page's keys are there, and this stage may
                          * be written */
    }
}

/* A lane's columns of one row half, times <by>, to elements from <at> on. */
template <int DP, int ACT, int H>
DEV void chunk_put(const struct att_args &a, void *p, int64_t at,
                   const float o[DP / 8][4], float by)
{
    const int t = (int)threadIdx.x & 3;

#pragma unroll
    for (int n = 0; n < DP / 8; n++)
        if (n * 8 < a.d_head)
            act_put2<ACT>(p, at + n * 8 + 2 * t, o[n][2 * H] * by,
                          o[n][2 * H + 1] * by);
}

/* A lane's row half to the activations, or to the partial results. */
template <int DP, int H>
DEV void chunk_out(const struct att_args &a, const Chunk &c, int row,
                   const float o[DP / 8][4], const float m[2], const float l[2])
{
    const float all = quad_sum(l[H]), by = all > 0.f ? 1.f / all : 0.f;
    const int at = row + 8 * H, tok = token_of(a, at), r = at - tok * a.group;

    if (at >= c.n_rows)
        return;
    if (c.it.n_split > 1) {
        uint32_t part = c.it.part + (uint32_t)(c.it.split * c.it.n + tok);

        if ((threadIdx.x & 3) == 0)
            *part_lse(a, part, c.h, r) =
                all > 0.f ? fmaf(m[H], a.scale, log2f(all)) : minus_inf();
        chunk_put<DP, ATT_F32, H>(a, part_out(a, part, c.h, r), 0, o, by);
        return;
    }
    const int64_t el = el_of(a, c.it.row + tok, c.h, r);

    if (a.act == ATT_BF16)
        chunk_put<DP, ATT_BF16, H>(a, a.out, el, o, by);
    else if (a.act == ATT_F16)
        chunk_put<DP, ATT_F16, H>(a, a.out, el, o, by);
    else
        chunk_put<DP, ATT_F32, H>(a, a.out, el, o, by);
}

/* The last of the items that share rows joins what they found. */
template <int DP, int W>
DEV void chunk_join(const struct att_args &a, const Chunk &c)
{
    for (int i = (int)threadIdx.x; i < 16 * W * (DP / 4); i += 32 * W) {
        int row = c.row0 + i / (DP / 4), d = i % (DP / 4) * 4;

        if (row >= c.n_rows || d >= a.d_head)
            continue;
        int tok = token_of(a, row), r = row - tok * a.group;

        act_put4(a.out, a.act, el_of(a, c.it.row + tok, c.h, r) + d,
                 parts_join(a, c.it, c.h, tok, r, d));
    }
}

/* Blocks: x = rows, longest first; y = kv heads; z = items. */
template <class T, int DP, int W>
DEV void prefill(const struct att_args &a, char *sm)
{
    const int z = (int)(gridDim.x - 1 - blockIdx.x);
    const int warp = (int)threadIdx.x >> 5, g = (int)(threadIdx.x & 31) >> 2;
    Chunk c;

    c.it =
        ((const struct att_item *)(a.plan + 1))[a.plan->n_decode + blockIdx.z];
    c.h = (int)blockIdx.y;
    c.row0 = z * 16 * W;
    c.n_rows = c.it.n * a.group;
    pdl_wait();
    if (blockIdx.z >= a.plan->n_tile || c.row0 >= c.n_rows)
        return;
    c.n_keys = c.it.pos + token_of(a, min(c.row0 + 16 * W, c.n_rows) - 1) + 1;
    c.page1 = min(c.it.page1, (c.n_keys + ATT_PAGE - 1) / ATT_PAGE);

    const smem_t sq = smem_of(sm);
    const int row = c.row0 + warp * 16 + g;
    float o[DP / 8][4] = {}, m[2] = {minus_inf(), minus_inf()};
    float l[2] = {0.f, 0.f};
    Pages<T, DP, W> pages;

    pages.at = sq + 16 * W * DP * 2;
    pages.k = (const typename T::kv *)a.k + c.h * a.head_stride;
    pages.table = a.table + (int64_t)c.it.seq * a.max_pages;
    if (c.it.page0 < c.page1) {
        pages.id = pages.table[c.it.page0];
        pages.load(a, c, c.it.page0, 0);
        if (a.act == (int)T::ATT)
            chunk_q<T, DP, W, T::ATT>(a, c, sm);
        else if (a.act == ATT_F32)
            chunk_q<T, DP, W, ATT_F32>(a, c, sm);
        else
            chunk_q<T, DP, W, T::OTHER>(a, c, sm);
        chunk_pages<T, DP, W>(a, c, &pages, sq + warp * 16 * DP * 2, o, m, l);
    }
    cp_async_wait<0>();
    pdl_go();
    chunk_out<DP, 0>(a, c, row, o, m, l);
    chunk_out<DP, 1>(a, c, row, o, m, l);
    if (c.it.n_split > 1 &&
        parts_last(a, c.it.part + (uint32_t)z, c.h, c.it.n_split))
        chunk_join<DP, W>(a, c);
}

#define PREFILL(type, T, DP, W, BLOCKS)                                        \
    KERNEL(tg_prefill_##type##_##DP##_##W, struct att_args, 32 * W, BLOCKS)    \
    {                                                                          \
        SHARED_DYN(sm);                                                        \
        prefill<T, DP, W>(a, sm);                                              \
    }

PREFILL(f16, KvF16, 32, 4, 2)
PREFILL(f16, KvF16, 64, 4, 3)
PREFILL(f16, KvF16, 64, 8, 1)
PREFILL(f16, KvF16, 128, 4, 2)
PREFILL(f16, KvF16, 128, 8, 1)
PREFILL(f16, KvF16, 256, 4, 1)
PREFILL(bf16, KvBf16, 32, 4, 2)
PREFILL(bf16, KvBf16, 64, 4, 3)
PREFILL(bf16, KvBf16, 64, 8, 1)
PREFILL(bf16, KvBf16, 128, 4, 2)
PREFILL(bf16, KvBf16, 128, 8, 1)
PREFILL(bf16, KvBf16, 256, 4, 1)
PREFILL(f8, KvF8, 32, 4, 2)
PREFILL(f8, KvF8, 64, 4, 3)
PREFILL(f8, KvF8, 64, 8, 1)
PREFILL(f8, KvF8, 128, 4, 2)
PREFILL(f8, KvF8, 128, 8, 1)
PREFILL(f8, KvF8, 256, 4, 1)
