/* attend.cuh - What the kernels of decode and prefill share: tiles of keys and
 * values in shared memory, queries of every type of activations, and how
 * partial results become one. DP is d_head, filled up with zeros to 32, 64, 128
 * or 256. All exponents are of 2: weights of keys are ex2(score * scale - m).
 */
#ifndef TG_KERNELS_CUDA_ATTEND_CUH
#define TG_KERNELS_CUDA_ATTEND_CUH

#include "kernels/cuda/a_attend.h"
#include "kernels/cuda/dev.cuh"

/* The pool's types, as what they are multiplied, and what other halves
 * activations may be. */
struct KvBf16 : Bf16 {
    typedef uint16_t kv;
    enum { ATT = ATT_BF16, OTHER = ATT_F16, NARROW = 0 };
};

/* Likewise. */
struct KvF16 : F16 {
    typedef uint16_t kv;
    enum { ATT = ATT_F16, OTHER = ATT_BF16, NARROW = 0 };
};

/* Bytes of e4m3 with a scale a token, made F16 in shared memory. */
struct KvF8 : F16 {
    typedef uint8_t kv;
    enum { ATT = ATT_F16, OTHER = ATT_BF16, NARROW = 1 };
};

/* The score of what is not seen. */
DEV float minus_inf(void)
{
    return __uint_as_float(0xff800000u);
}

/* --- tiles ---------------------------------------------------------------- */

/* Where the 8 elements from 8 * c on of row r lie in a tile of rows of DP
 * halves, in bytes: eight rows' equal chunks lie in different banks. */
template <int DP> DEV uint32_t tile_at(int r, int c)
{
    int x = DP >= 64 ? r & 7 : r >> 1 & 3;

    return (uint32_t)(r * (DP * 2) + ((c ^ x) << 4));
}

/* Copy ROWS rows of one page, the first at <src>, to a tile, as thread <id> of
 * N: those behind <valid> and elements behind d_head become zeros. */
template <int DP, int ROWS, int N>
DEV void tile_load(smem_t dst, const uint16_t *src, int valid, int d_head,
                   int id)
{
    const int c = id % (DP / 8), r0 = id / (DP / 8);
    const bool inside = c * 8 < d_head;

#pragma unroll(DP > 128 ? 2 : ROWS * (DP / 8) / N)
    for (int i = 0; i < ROWS * (DP / 8) / N; i++) {
        int r = r0 + i * (N / (DP / 8));
        bool ok = inside && r < valid;

        cp_async16(dst + tile_at<DP>(r, c), src + (ok ? r * d_head + c * 8 : 0),
                   ok);
    }
}

/* Bytes of ROWS rows in shared memory as they come from a page of FP8: elements
 * row by row, then scales. */
template <int DP, int ROWS> struct Raw {
    static const int BYTES = ROWS * (DP + 4);
};

/* The same as tile_load() of rows of FP8, to a Raw<DP, ROWS> at <dst>; <scales>
 * are those of the rows. */
template <int DP, int ROWS, int N>
DEV void raw_load(smem_t dst, const uint8_t *src, const void *scales, int valid,
                  int d_head, int id)
{
    const int c = id % (DP / 8), r0 = id / (DP / 8);
    const bool inside = c * 8 < d_head;

#pragma unroll(DP > 128 ? 2 : ROWS * (DP / 8) / N)
    for (int i = 0; i < ROWS * (DP / 8) / N; i++) {
        int r = r0 + i * (N / (DP / 8));
        bool ok = inside && r < valid;

        cp_async_few<8>(dst + r * DP + c * 8,
                        src + (ok ? r * d_head + c * 8 : 0), ok);
        if (c == 0)
            cp_async_few<4>(dst + ROWS * DP + r * 4,
                            (const uint32_t *)scales + (ok ? r : 0), ok);
    }
}

/* Make them a tile at <dst>. What a lane reads was copied by its warp, all of
 * whose lanes have waited for it and met. */
template <int DP, int ROWS, int N>
DEV void raw_widen(smem_t dst, smem_t raw, int id)
{
    const int c = id % (DP / 8), r0 = id / (DP / 8);

#pragma unroll(DP > 128 ? 2 : 4)
    for (int i = 0; i < ROWS * (DP / 8) / N; i++) {
        int r = r0 + i * (N / (DP / 8));
        uint2 v = lds64(raw + r * DP + c * 8);
        uint32_t by = lds32(raw + ROWS * DP + r * 4);

        sts128(dst + tile_at<DP>(r, c),
               make_uint4(
                   fma_f16x2(f16x2_of_e4m3x2((uint16_t)v.x), by, 0x80008000u),
                   fma_f16x2(f16x2_of_e4m3x2((uint16_t)(v.x >> 16)), by,
                             0x80008000u),
                   fma_f16x2(f16x2_of_e4m3x2((uint16_t)v.y), by, 0x80008000u),
                   fma_f16x2(f16x2_of_e4m3x2((uint16_t)(v.y >> 16)), by,
                             0x80008000u)));
    }
}

/* The same for row r0 + r and chunk c0 + c, where r0 is a multiple of 8 and c0
 * of 2, both constants, and r and c (0 or 1) are a lane's: the constants' share
 * is apart, for addresses to be few. */
template <int DP> DEV uint32_t lane_at(int r0, int r, int c0, int c)
{
    int x = DP >= 64 ? r & 7 : r >> 1 & 3;

    return (uint32_t)(r * (DP * 2) + ((((c0 & 7) | c) ^ x) << 4)) +
           (uint32_t)(r0 * (DP * 2) + ((c0 & ~7) << 4));
}

/* A of k 16j..16j+15: the 16 rows of a tile of queries. */
template <int DP> DEV void tile_a(uint32_t q[4], smem_t tile, int j, int lane)
{
    ldmatrix_x4(q, tile + lane_at<DP>(0, lane & 15, 2 * j, lane >> 4));
}

/* B of two blocks of 8 keys, k 16j..16j+15: rows r0..r0+15 of a tile of keys.
 * b[0], b[1] are of the first 8, b[2], b[3] of the others. */
template <int DP>
DEV void tile_keys(uint32_t b[4], smem_t tile, int r0, int j, int lane)
{
    ldmatrix_x4(b, tile + lane_at<DP>(r0, (lane & 7) + (lane >> 4 << 3), 2 * j,
                                      lane >> 3 & 1));
}

/* B of two blocks of 8 columns, from 16n on: k are rows r0..r0+15 of a tile of
 * values. */
template <int DP>
DEV void tile_values(uint32_t b[4], smem_t tile, int r0, int n, int lane)
{
    ldmatrix_x4_trans(b, tile + lane_at<DP>(r0, lane & 15, 2 * n, lane >> 4));
}

/* --- activations ---------------------------------------------------------- */

/* Two halves of type ACT as two of T. */
template <class T, int ACT> DEV uint32_t act_half2(uint32_t v)
{
    uint16_t lo = (uint16_t)v, hi = (uint16_t)(v >> 16);

    if (ACT == (int)T::ATT)
        return v;
    return ACT == ATT_F16 ? T::pack(f32_of_f16(lo), f32_of_f16(hi))
                          : T::pack(f32_of_bf16(lo), f32_of_bf16(hi));
}

/* Elements at, at + 1 of <p>, of type ACT, rounded to T. */
template <class T, int ACT> DEV uint32_t act_pair(const void *p, int64_t at)
{
    if (ACT != ATT_F32)
        return act_half2<T, ACT>(*(const uint32_t *)((const uint16_t *)p + at));
    float2 v = *(const float2 *)((const float *)p + at);

    return T::pack(v.x, v.y);
}

/* Eight elements from <at> on, a multiple of 8, likewise. */
template <class T, int ACT> DEV uint4 act_8(const void *p, int64_t at)
{
    if (ACT != ATT_F32) {
        uint4 v = *(const uint4 *)((const uint16_t *)p + at);

        return make_uint4(act_half2<T, ACT>(v.x), act_half2<T, ACT>(v.y),
                          act_half2<T, ACT>(v.z), act_half2<T, ACT>(v.w));
    }
    const float4 *f = (const float4 *)((const float *)p + at);
    float4 u = f[0], w = f[1];

    return make_uint4(T::pack(u.x, u.y), T::pack(u.z, u.w), T::pack(w.x, w.y),
                      T::pack(w.z, w.w));
}

/* Write two numbers to elements at, at + 1 of <p>, of type ACT. */
template <int ACT> DEV void act_put2(void *p, int64_t at, float x, float y)
{
    if (ACT == ATT_F32)
        *(float2 *)((float *)p + at) = make_float2(x, y);
    else
        *(uint32_t *)((uint16_t *)p + at) =
            ACT == ATT_F16 ? pack_f16(x, y) : pack_bf16(x, y);
}

/* Likewise four, with one instruction, of type <act>. */
DEV void act_put4(void *p, int act, int64_t at, float4 v)
{
    if (act == ATT_F32)
        *(float4 *)((float *)p + at) = v;
    else if (act == ATT_F16)
        *(uint2 *)((uint16_t *)p + at) =
            make_uint2(pack_f16(v.x, v.y), pack_f16(v.z, v.w));
    else
        *(uint2 *)((uint16_t *)p + at) =
            make_uint2(pack_bf16(v.x, v.y), pack_bf16(v.z, v.w));
}

/* --- softmax -------------------------------------------------------------- */

/* Over the four lanes of a row. */
DEV float quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
    return fmaxf(x, __shfl_xor_sync(~0u, x, 2));
}

/* Likewise the sum. */
DEV float quad_sum(float x)
{
    x += __shfl_xor_sync(~0u, x, 1);
    return x + __shfl_xor_sync(~0u, x, 2);
}

/* Row half H of a lane (row g + 8 * H) sees the scores s[][2 * H], + 1 of NS
 * blocks of 8 keys: scores become weights, m the maximum so far, l the sum of
 * the lane's weights, o[][2 * H], + 1 are scaled to the maximum. A row without
 * any key stays at m = -inf, l = 0. */
template <int NS, int NO, int H>
DEV void soft_row(float s[NS][4], float o[NO][4], float m[2], float l[2],
                  float scale)
{
    float top = m[H], sum = 0.f;

#pragma unroll
    for (int n = 0; n < NS; n++)
        top = fmaxf(top, fmaxf(s[n][2 * H], s[n][2 * H + 1]));
    top = quad_max(top);

    float base = top == minus_inf() ? 0.f : top * scale;
    float less = ex2(fmaf(m[H], scale, -base));

    m[H] = top;
#pragma unroll
    for (int n = 0; n < NS; n++)
#pragma unroll
        for (int e = 2 * H; e < 2 * H + 2; e++) {
            s[n][e] = ex2(fmaf(s[n][e], scale, -base));
            sum += s[n][e];
        }
    l[H] = fmaf(l[H], less, sum);
#pragma unroll
    for (int n = 0; n < NO; n++) {
        o[n][2 * H] *= less;
        o[n][2 * H + 1] *= less;
    }
}

/* --- partial results ------------------------------------------------------ */

/* What is known of four columns of a row: of all keys so far, the logarithm of
 * the greatest part's weight, the sum of weights and of weighted values. */
struct Joint {
    float m, l;
    float x, y, z, w;
};

/* Of no part. */
DEV Joint joint_none(void)
{
    Joint j;

    j.m = minus_inf();
    j.l = 0.f;
    j.x = j.y = j.z = j.w = 0.f;
    return j;
}

/* Add a part: <o> over its own keys, which together weigh 2^lse; -inf for a
 * part without keys, not the first one. */
DEV void joint_add(Joint *j, float lse, float4 o)
{
    float m = fmaxf(j->m, lse);
    float a = ex2(j->m - m), b = ex2(lse - m);

    j->m = m;
    j->l = fmaf(j->l, a, b);
    j->x = fmaf(o.x, b, j->x * a);
    j->y = fmaf(o.y, b, j->y * a);
    j->z = fmaf(o.z, b, j->z * a);
    j->w = fmaf(o.w, b, j->w * a);
}

/* The values' mean, once there was a part with keys. */
DEV float4 joint_result(const Joint *j)
{
    float by = 1.f / j->l;

    return make_float4(j->x * by, j->y * by, j->z * by, j->w * by);
}

/* Element of the output where row <row>, head <r> of kv head <h> begins. */
DEV int64_t el_of(const struct att_args &a, int row, int h, int r)
{
    return row * a.ldo + (int64_t)(h * a.group + r) * a.d_head;
}

/* Where the partial result of head <r> of kv head <h> lies in part <part>. */
DEV float *part_out(const struct att_args &a, uint32_t part, int h, int r)
{
    return a.plan->out +
           (((int64_t)part * a.n_kv_head + h) * a.group + r) * a.d_head;
}

/* Where the logarithm of its weight lies. */
DEV float *part_lse(const struct att_args &a, uint32_t part, int h, int r)
{
    return a.plan->lse + ((int64_t)part * a.n_kv_head + h) * ATT_GROUP + r;
}

/* All parts of four columns, from d on, of head <r> and token <tok> of the
 * item's, in ascending order. */
DEV float4 parts_join(const struct att_args &a, const struct att_item &it,
                      int h, int tok, int r, int d)
{
    const uint32_t first = it.part + (uint32_t)tok;
    const float *lse = part_lse(a, first, h, r);
    const float *out = part_out(a, first, h, r) + d;
    const int64_t lse_step = (int64_t)it.n * a.n_kv_head * ATT_GROUP;
    const int64_t out_step = (int64_t)it.n * a.n_kv_head * a.group * a.d_head;
    Joint j = joint_none();

#pragma unroll 8
    for (int s = 0; s < (int)it.n_split; s++)
        joint_add(&j, lse[s * lse_step], *(const float4 *)(out + s * out_step));
    return joint_result(&j);
}

/* Whether this block is the last of those that share rows to be done; all its
 * partial results are written. The count is 0 again afterwards. */
DEV bool parts_last(const struct att_args &a, uint32_t count, int h,
                    int n_split)
{
    __shared__ int last;

    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        unsigned *at = a.plan->count + (int64_t)count * a.n_kv_head + h;

        last = atomicAdd(at, 1u) == (unsigned)n_split - 1;
        if (last)
            *at = 0;
    }
    __syncthreads();
    __threadfence();
    return last != 0;
}

#endif
