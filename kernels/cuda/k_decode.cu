/* k_decode.cu - Attention of one token a sequence over pages: a block is one
 * item of the plan and one kv head, whose heads of queries are the 16 rows of
 * the tensor cores' operand. Each of its four warps takes 16 of a page's 64
 * keys, with a ring of its own in shared memory, so that warps meet only where
 * a cut of pages ends: there their sums become one in a fixed order. What an
 * item finds is written out, or, where items share a token, left as a partial
 * result which the last of them joins, in their order. */
#include "kernels/cuda/attend.cuh"

#define WARPS 4
#define KEYS  16 /* of a page, a warp's */

/* A warp's view of its item. */
template <class T, int DP, int STAGES> struct Ring {
    typedef typename T::kv el;

    smem_t at;            /* stages of KEYS keys and KEYS values, behind a tile
                           * of both where they are narrow */
    const el *k;          /* page 0, the warp's first key */
    const int32_t *table; /* pages of the sequence */
    int32_t ids;          /* lane i: the i-th of 32 pages */
    smem_t sq;            /* queries, see decode_q() */
    int lane, n_keys, key0;

    static const int HALF = KEYS * DP * 2; /* bytes of keys, or of values */
    static const int RAW = Raw<DP, KEYS>::BYTES; /* where they are narrow */
    static const int STAGE = T::NARROW ? 2 * RAW : 2 * HALF;
    static const int BYTES = STAGES * STAGE + (T::NARROW ? 2 * HALF : 0);

    DEV smem_t stage_at(int stage) const
    {
        return at + (T::NARROW ? 2 * HALF : 0) + stage * STAGE;
    }

    DEV void load(const struct att_args &a, int page, int first, int end,
                  int stage)
    {
        int i = (page - first) & 31;

        if (i == 0 && page != first)
            ids = table[min(page + lane, end - 1)];

        int64_t id = __shfl_sync(~0u, ids, i);
        const el *src = k + id * a.page_stride;
        int valid = n_keys - page * ATT_PAGE - key0;
        smem_t dst = stage_at(stage);

        if constexpr (T::NARROW) {
            const uint8_t *by = src + (ATT_PAGE - key0) * a.d_head + key0 * 4;

            raw_load<DP, KEYS, 32>(dst, src, by, valid, a.d_head, lane);
            raw_load<DP, KEYS, 32>(dst + RAW, src + a.v_off, by + a.v_off,
                                   valid, a.d_head, lane);
        } else {
            tile_load<DP, KEYS, 32>(dst, src, valid, a.d_head, lane);
            tile_load<DP, KEYS, 32>(dst + HALF, src + a.v_off, valid, a.d_head,
                                    lane);
        }
    }

    /* Keys and values of a stage whose copies are there, as tiles. */
    DEV smem_t tiles(int stage) const
    {
        if constexpr (T::NARROW) {
            raw_widen<DP, KEYS, 32>(at, stage_at(stage), lane);
            raw_widen<DP, KEYS, 32>(at + HALF, stage_at(stage) + RAW, lane);
            __syncwarp();
            return at;
        }
        return stage_at(stage);
    }
};

/* Queries: row g and g + 8 are heads of the group, those behind it zeros. For
 * heads of more than 128 registers are too few: q[j] of a warp's lanes, which
 * are those of any warp, lie at <sq> + 512 * j. */
template <class T, int DP, int ACT>
DEV void decode_q(const struct att_args &a, const struct att_item &it, int h,
                  int lane, char *sq, uint32_t q[][4])
{
    const int g = lane >> 2, t = lane & 3;
    const int64_t at =
        it.row * a.ldq + (int64_t)(h * a.group + g) * a.d_head + 2 * t;

#pragma unroll
    for (int j = 0; j < DP / 16; j++) {
        uint32_t v[4];

#pragma unroll
        for (int e = 0; e < 4; e++) {
            int d = 16 * j + (e >> 1) * 8, r = (e & 1) * 8;

            v[e] = d < a.d_head && g + r < a.group
                       ? act_pair<T, ACT>(a.q, at + r * a.d_head + d)
                       : 0;
            if (DP <= 128)
                q[j][e] = v[e];
        }
        if (DP > 128 && j % WARPS == (int)threadIdx.x / 32)
            *(uint4 *)(sq + j * 512 + lane * 16) =
                make_uint4(v[0], v[1], v[2], v[3]);
    }
}

/* Only the first <seen> of the 16 keys count. */
DEV void decode_mask(float s[2][4], int seen, int lane)
{
#pragma unroll
    for (int n = 0; n < 2; n++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            if (n * 8 + 2 * (lane & 3) + (e & 1) >= seen)
                s[n][e] = minus_inf();
}

/* The warp's keys of one page. */
template <class T, int DP>
DEV void decode_page(const struct att_args &a, smem_t kt, int seen, int lane,
                     smem_t sq, const uint32_t q[][4], float o[DP / 8][4],
                     float m[2], float l[2])
{
    float s[2][4] = {};

#pragma unroll(DP > 128 ? 2 : DP / 16)
    for (int j = 0; j < DP / 16; j++) {
        uint32_t b[4], qj[4];

        tile_keys<DP>(b, kt, 0, j, lane);
        if (DP > 128) {
            uint4 v = lds128(sq + j * 512 + lane * 16);

            qj[0] = v.x;
            qj[1] = v.y;
            qj[2] = v.z;
            qj[3] = v.w;
        }
        T::mma(s[0], DP > 128 ? qj : q[j], b[0], b[1]);
        T::mma(s[1], DP > 128 ? qj : q[j], b[2], b[3]);
    }
    if (seen < KEYS)
        decode_mask(s, seen, lane);
    soft_row<2, DP / 8, 0>(s, o, m, l, a.scale);
    if (a.group > 8)
        soft_row<2, DP / 8, 1>(s, o, m, l, a.scale);

    const uint32_t p[4] = {T::pack(s[0][0], s[0][1]), T::pack(s[0][2], s[0][3]),
                           T::pack(s[1][0], s[1][1]),
                           T::pack(s[1][2], s[1][3])};

#pragma unroll
    for (int n = 0; n < DP / 16; n++) {
        uint32_t b[4];

        tile_values<DP>(b, kt + KEYS * DP * 2, 0, n, lane);
        T::mma(o[2 * n], p, b[0], b[1]);
        T::mma(o[2 * n + 1], p, b[2], b[3]);
    }
}

/* One warp's pages first..end-1; ring->ids are those of the first ones. */
template <class T, int DP, int STAGES>
DEV void decode_cut(const struct att_args &a, Ring<T, DP, STAGES> *ring,
                    int first, int end, const uint32_t q[][4],
                    float o[DP / 8][4], float m[2], float l[2])
{
#pragma unroll
    for (int i = 0; i < STAGES - 1; i++) {
        if (first + i < end)
            ring->load(a, first + i, first, end, i);
        cp_async_commit();
    }
    pdl_go();
    for (int page = first, stage = 0; page < end; page++) {
        cp_async_wait<STAGES - 2>();
        __syncwarp(); /* the page's copies of all lanes are there, and the
                       * stage or the tile before has been read */
        int next = page + STAGES - 1;

        if (next < end)
            ring->load(a, next, first, end,
                       stage == 0 ? STAGES - 1 : stage - 1);
        cp_async_commit();
        decode_page<T, DP>(a, ring->tiles(stage),
                           ring->n_keys - page * ATT_PAGE - ring->key0,
                           ring->lane, ring->sq, q, o, m, l);
        stage = stage + 1 == STAGES ? 0 : stage + 1;
    }
    cp_async_wait<0>();
    __syncwarp();
}

/* Row of a warp's sums in shared memory, in floats: rows lie in different
 * banks. */
template <int DP> struct Sums {
    static const int ROW = DP + 8;
};

/* Leave a warp's sums at <sums> (16, ROW), weights in ml (16, 2). */
template <int DP>
DEV void warp_sums(float *sums, float *ml, int lane, float scale,
                   const float o[DP / 8][4], const float m[2], const float l[2])
{
    const int g = lane >> 2, t = lane & 3;

#pragma unroll
    for (int e = 0; e < 2; e++) {
        float all = quad_sum(l[e]);

        if (t == 0) {
            ml[(g + 8 * e) * 2] = m[e] * scale;
            ml[(g + 8 * e) * 2 + 1] = all;
        }
#pragma unroll
        for (int n = 0; n < DP / 8; n++)
            *(float2 *)(sums + (g + 8 * e) * Sums<DP>::ROW + n * 8 + 2 * t) =
                make_float2(o[n][2 * e], o[n][2 * e + 1]);
    }
}

/* The four warps' sums of four columns of row <r> as one part; its weight's
 * logarithm to *lse. Warps are <step> floats apart. */
template <int DP>
DEV float4 warps_join(const float *sums, int step, const float *ml, int r,
                      int d, float *lse)
{
    float top = minus_inf(), all = 0.f;
    float4 o = make_float4(0.f, 0.f, 0.f, 0.f);

#pragma unroll
    for (int w = 0; w < WARPS; w++)
        top = fmaxf(top, ml[(w * 16 + r) * 2]);
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
        float4 v = *(const float4 *)(sums + w * step + r * Sums<DP>::ROW + d);
        float by = ex2(ml[(w * 16 + r) * 2] - top);

        all = fmaf(ml[(w * 16 + r) * 2 + 1], by, all);
        o.x = fmaf(v.x, by, o.x);
        o.y = fmaf(v.y, by, o.y);
        o.z = fmaf(v.z, by, o.z);
        o.w = fmaf(v.w, by, o.w);
    }
    *lse = top + log2f(all);
    all = 1.f / all;
    return make_float4(o.x * all, o.y * all, o.z * all, o.w * all);
}

/* What a block is made of. A thread joins and writes PER times four columns of
 * a row, the i-th of them at place tid + i * 128 of (16, DP / 4). */
template <class T, int DP, int STAGES> struct Block {
    static const int PER = 16 * (DP / 4) / (32 * WARPS);
    static const int STEP = Ring<T, DP, STAGES>::BYTES / 4; /* floats of it */

    /* Row and first column of the i-th; false: there is none such. */
    static DEV bool place(const struct att_args &a, int i, int *r, int *d)
    {
        int at = (int)threadIdx.x + i * 32 * WARPS;

        *r = at / (DP / 4);
        *d = at % (DP / 4) * 4;
        return *r < a.group && *d < a.d_head;
    }
};

/* Join a cut's sums, which all warps have left at <sm> and <ml>: to the partial
 * results, or to <j>, of stride JS. */
template <class T, int DP, int STAGES, int JS>
DEV void decode_join(const struct att_args &a, const struct att_item &it, int h,
                     const char *sm, const float *ml, Joint *j)
{
    typedef Block<T, DP, STAGES> B;

#pragma unroll
    for (int i = 0; i < B::PER; i++) {
        int r, d;
        float lse;

        if (!B::place(a, i, &r, &d))
            continue;
        float4 v = warps_join<DP>((const float *)sm, B::STEP, ml, r, d, &lse);

        if (it.n_split == 1) {
            joint_add(&j[i * JS], lse, v);
            continue;
        }
        *(float4 *)(part_out(a, it.part + it.split, h, r) + d) = v;
        if (d == 0)
            *part_lse(a, it.part + it.split, h, r) = lse;
    }
}

/* Write the item's rows out: what <j> holds, or what the parts come to. */
template <class T, int DP, int STAGES, int JS>
DEV void decode_out(const struct att_args &a, const struct att_item &it, int h,
                    const Joint *j)
{
#pragma unroll
    for (int i = 0; i < Block<T, DP, STAGES>::PER; i++) {
        int r, d;

        if (Block<T, DP, STAGES>::place(a, i, &r, &d))
            act_put4(a.out, a.act, el_of(a, it.row, h, r) + d,
                     joint_result(&j[i * JS]));
    }
}

template <class T, int DP, int STAGES>
DEV void decode_out_parts(const struct att_args &a, const struct att_item &it,
                          int h)
{
#pragma unroll 1
    for (int i = 0; i < Block<T, DP, STAGES>::PER; i++) {
        int r, d;

        if (Block<T, DP, STAGES>::place(a, i, &r, &d))
            act_put4(a.out, a.act, el_of(a, it.row, h, r) + d,
                     parts_join(a, it, h, 0, r, d));
    }
}

/* The item's pages, cut by cut. In shared memory lie the warps' rings, then for
 * heads of more than 128 what is too much for registers: queries and <j>. Lanes
 * bring the <ids> of the first pages. */
template <class T, int DP, int STAGES>
DEV void decode_item(const struct att_args &a, const struct att_item &it, int h,
                     int32_t ids, char *sm, float *ml)
{
    typedef Block<T, DP, STAGES> B;
    const int JS = DP > 128 ? 32 * WARPS : 1;
    const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5;
    char *sq = sm + WARPS * B::STEP * 4;
    Joint regs[DP > 128 ? 1 : B::PER];
    Joint *j = DP > 128 ? (Joint *)(sq + DP * 32) + threadIdx.x : regs;
    uint32_t q[DP > 128 ? 1 : DP / 16][4];
    Ring<T, DP, STAGES> ring;

    ring.at = smem_of(sm) + warp * B::STEP * 4;
    ring.k = (const typename T::kv *)a.k + h * a.head_stride +
             warp * KEYS * a.d_head;
    ring.table = a.table + (int64_t)it.seq * a.max_pages;
    ring.ids = ids;
    ring.sq = smem_of(sq);
    ring.lane = lane;
    ring.n_keys = it.pos + 1;
    ring.key0 = warp * KEYS;
    if (a.act == (int)T::ATT)
        decode_q<T, DP, T::ATT>(a, it, h, lane, sq, q);
    else if (a.act == ATT_F32)
        decode_q<T, DP, ATT_F32>(a, it, h, lane, sq, q);
    else
        decode_q<T, DP, T::OTHER>(a, it, h, lane, sq, q);
    if (DP > 128)
        __syncthreads(); /* queries are there */
#pragma unroll
    for (int i = 0; i < B::PER; i++)
        j[i * JS] = joint_none();
    for (int first = it.page0; first < it.page1; first += a.cut) {
        float o[DP / 8][4] = {}, m[2] = {minus_inf(), minus_inf()};
        float l[2] = {0.f, 0.f};

        decode_cut<T, DP, STAGES>(a, &ring, first, min(it.page1, first + a.cut),
                                  q, o, m, l);
        warp_sums<DP>((float *)sm + warp * B::STEP, ml + warp * 32, lane,
                      a.scale, o, m, l);
        __syncthreads(); /* all warps' sums are there */
        decode_join<T, DP, STAGES, JS>(a, it, h, sm, ml, j);
        ring.ids = ring.table[min(first + a.cut + lane, it.page1 - 1)];
        __syncthreads(); /* they have been read */
    }
    if (it.n_split == 1)
        decode_out<T, DP, STAGES, JS>(a, it, h, j);
    else if (parts_last(a, it.part, h, it.n_split))
        decode_out_parts<T, DP, STAGES>(a, it, h);
}

/* Blocks: x = kv heads, y = items; those behind the last item do nothing. */
template <class T, int DP, int STAGES>
DEV void decode(const struct att_args &a, char *sm)
{
    const struct att_item it =
        ((const struct att_item *)(a.plan + 1))[blockIdx.y];
    const bool mine = blockIdx.y < a.plan->n_decode;
    __shared__ float ml[WARPS * 16 * 2];

    const int32_t *table = a.table + (int64_t)it.seq * a.max_pages;
    int32_t ids = 0;

    /* Plan and table are older than the kernel before. */
    if (mine)
        ids = table[min(it.page0 + (int)(threadIdx.x & 31), it.page1 - 1)];
    pdl_wait();
    if (mine)
        decode_item<T, DP, STAGES>(a, it, (int)blockIdx.x, ids, sm, ml);
}

#define DECODE(type, T, DP, STAGES, BLOCKS)                                    \
    KERNEL(tg_decode_##type##_##DP, struct att_args, 32 * WARPS, BLOCKS)       \
    {                                                                          \
        SHARED_DYN(sm);                                                        \
        decode<T, DP, STAGES>(a, sm);                                          \
    }

DECODE(f16, KvF16, 32, ATT_STAGES, 4)
DECODE(f16, KvF16, 64, ATT_STAGES, 2)
DECODE(f16, KvF16, 128, ATT_STAGES, 2)
DECODE(f16, KvF16, 256, ATT_STAGES_256, 1)
DECODE(bf16, KvBf16, 32, ATT_STAGES, 4)
DECODE(bf16, KvBf16, 64, ATT_STAGES, 2)
DECODE(bf16, KvBf16, 128, ATT_STAGES, 2)
DECODE(bf16, KvBf16, 256, ATT_STAGES_256, 1)
DECODE(f8, KvF8, 32, ATT_STAGES, 4)
DECODE(f8, KvF8, 64, ATT_STAGES, 2)
DECODE(f8, KvF8, 128, ATT_STAGES, 2)
DECODE(f8, KvF8, 256, ATT_STAGES_256, 1)
