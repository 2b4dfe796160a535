/* gemv.cuh - Products of 1 to 8 tokens: weights are the 16-row operand of mma,
 * tokens the 8 columns of the other, so that all weights are read once for any
 * number of tokens. A block of NW warps stages its slice of x in shared memory
 * and takes tile after tile of 16 rows; its warps share the units of k of a
 * tile, warp w those at w, w + NW, ... DEPTH units a warp are always on their
 * way, those of the next tile behind those of this one. The sums of the warps
 * are added in the order of the warps, those of slices in the order of slices
 * by the block that comes last: no result depends on the number of tokens, on
 * the place of a token among them, or on timing.
 *
 * How weights lie is a policy W:
 *   T, K, slot      type of activations, k of a unit, registers of a unit
 *   begin(a, tile)  turn to a tile
 *   load(s, u, ok)  fill s with unit u, zeros for !ok
 *   use(s, c, x, u) add unit u of the slice to c
 *   SUMS            whether use() wants the sums of x over each step
 *   SCALED          whether a row has a scale that its sum is multiplied with,
 *   scale(a, i, r)  which is that of row r of tile i
 * x in shared memory: rows of the slice's k, 64 mod 128 bytes apart, so that
 * the eight rows g of a 16-byte read hit all banks once. */
#ifndef TG_KERNELS_CUDA_GEMV_CUH
#define TG_KERNELS_CUDA_GEMV_CUH

#include "kernels/cuda/a_linear.h"
#include "kernels/cuda/dev.cuh"
#include "kernels/cuda/put.cuh"

/* Tokens and rows of one mma. */
#define GEMV_TOKENS 8
#define GEMV_ROWS   16

/* Floats from token to token of a warp's sums: no two lanes hit one bank. */
#define GEMV_RED 20

/* x of one slice as a lane reads it. */
struct GemvX {
    const char *row;   /* of token g, or of the last one: what columns that
                        * are no tokens get is not looked at */
    const float *sums; /* (steps, 8 tokens) sums of 32 elements */
};

/* The matrix that <tile> belongs to. */
DEV int gemv_mat(const struct tg_gemv &a, uint32_t tile)
{
    int i = 0;

    while (i + 1 < (int)a.n_mat && tile >= a.mat[i + 1].tile0)
        i++;
    return i;
}

/* Bytes from row to row of x in shared memory. */
DEV uint32_t gemv_stride(uint32_t k)
{
    return (k * 2 + 127) / 128 * 128 + 64;
}

/* Copy the k from <k0> on, <n> of them and zeros beyond a.k, of <m> tokens to
 * shared memory, all at once; n is a multiple of 32. */
DEV void gemv_stage(const struct tg_gemv &a, smem_t xs, uint32_t token0,
                    uint32_t m, uint32_t k0, uint32_t n)
{
    uint32_t stride = gemv_stride(n);

    for (uint32_t token = 0; token < m; token++) {
        const char *from =
            (const char *)a.x + ((size_t)(token0 + token) * a.ldx + k0) * 2;

        for (uint32_t i = threadIdx.x; i < n / 8; i += blockDim.x) {
            bool ok = k0 + i * 8 < a.k;

            cp_async16(xs + token * stride + i * 16,
                       ok ? from + i * 16 : (const char *)a.x, ok);
        }
    }
    cp_async_commit();
    cp_async_wait<0>();
}

/* Add up x over each step: (steps, 8 tokens). */
DEV void gemv_sums(const char *xs, float *sums, uint32_t m, uint32_t n)
{
    uint32_t stride = gemv_stride(n);

    for (uint32_t i = threadIdx.x; i < n / 32 * GEMV_TOKENS; i += blockDim.x) {
        uint32_t token = min(i % GEMV_TOKENS, m - 1);
        const char *from = xs + token * stride + i / GEMV_TOKENS * 64;

        sums[i] = half_sum32(from);
    }
}

/* The sums of a warp, where the others find them. */
DEV void gemv_leave(float *red, const float c[4], int g, int t)
{
    red[2 * t * GEMV_RED + g] = c[0];
    red[(2 * t + 1) * GEMV_RED + g] = c[1];
    red[2 * t * GEMV_RED + g + 8] = c[2];
    red[(2 * t + 1) * GEMV_RED + g + 8] = c[3];
}

/* Write what became of rows <r> of tile <tile>; v: its value, up: that of row
 * r + 8, of a gated unit. */
template <class W>
DEV void gemv_put(const struct tg_gemv &a, uint32_t tile, uint32_t token, int r,
                  float v, float up, float2 scales)
{
    const struct tg_mat &m = a.mat[gemv_mat(a, tile)];
    uint32_t row = (tile - m.tile0) * (a.glu ? 8 : 16) + (uint32_t)r;

    if (token >= a.m || row >= m.n_out || (a.glu && r >= 8))
        return;
    if constexpr (W::SCALED) {
        v *= scales.x;
        up *= scales.y;
    }
    linear_put<typename W::T>(m, token, row, a.glu ? silu(v) * up : v);
}

/* The scales of what this thread writes of <tile>: of its row, and of row + 8;
 * loaded early, looked at late. */
template <class W>
DEV float2 gemv_scales(const struct tg_gemv &a, const W &w, uint32_t tile)
{
    float2 s = make_float2(1.f, 1.f);

    if constexpr (W::SCALED) {
        int r = (int)threadIdx.x & 15;

        if (threadIdx.x >= GEMV_TOKENS * GEMV_ROWS)
            return s;
        s.x = w.scale(a, tile, r);
        s.y = w.scale(a, tile, r | 8);
    }
    return s;
}

/* Add up the warps, and the slices where there are any; threads 0 .. 127. */
template <class W, int NW>
DEV void gemv_end(const struct tg_gemv &a, const float (*red)[8 * GEMV_RED],
                  uint32_t tile, float2 scales, unsigned *last)
{
    int i = (int)threadIdx.x;
    int r = i & 15, token = i >> 4;
    bool mine = i < GEMV_TOKENS * GEMV_ROWS;
    bool pair = a.glu && r < 8; /* row r + 8 is the other half of the unit */
    float v = 0.f, up = 0.f;
    uint32_t z = blockIdx.z * a.n_tile + tile;
    float *part = a.part + (size_t)z * gridDim.y * 128;

    if (mine) {
#pragma unroll
        for (int w = 0; w < NW; w++)
            v += red[w][token * GEMV_RED + r];
    }
    if (gridDim.y == 1) {
        if (mine && pair) {
#pragma unroll
            for (int w = 0; w < NW; w++)
                up += red[w][token * GEMV_RED + r + 8];
        }
        if (mine)
            gemv_put<W>(a, tile, blockIdx.z * GEMV_TOKENS + (uint32_t)token, r,
                        v, up, scales);
        return;
    }
    if (mine)
        part[blockIdx.y * 128 + i] = v;
    __threadfence();
    __syncthreads();
    if (i == 0) {
        *last = atomicAdd(&a.count[z], 1u) == gridDim.y - 1;
        if (*last)
            a.count[z] = 0;
    }
    __syncthreads();
    if (!*last || !mine)
        return;
    __threadfence();
    v = 0.f;
#pragma unroll 1
    for (uint32_t s = 0; s < gridDim.y; s++) {
        v += *(volatile float *)(part + s * 128 + i);
        if (pair)
            up += *(volatile float *)(part + s * 128 + i + 8);
    }
    gemv_put<W>(a, tile, blockIdx.z * GEMV_TOKENS + (uint32_t)token, r, v, up,
                scales);
}

/* Add the DEPTH units from <u> on, <step> apart, of <n> to c, and load those
 * from <next> on in their places. */
template <class W, int DEPTH>
DEV void gemv_round(const W &w, typename W::slot q[DEPTH], float c[4],
                    const struct GemvX &x, int u0, int u, int next, int n,
                    int step, bool ok)
{
#pragma unroll
    for (int d = 0; d < DEPTH; d++) {
        if (u + d * step < n)
            w.use(q[d], c, x, u + d * step);
        w.load(q[d], u0 + next + d * step, ok && next + d * step < n);
    }
}

/* All tiles of this block, with policy W. */
template <class W, int NW, int DEPTH> DEV void gemv(const struct tg_gemv &a)
{
    SHARED_DYN(xs);
    __shared__ float red[2][NW][8 * GEMV_RED];
    __shared__ unsigned last;
    const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5;
    const int g = lane >> 2, t = lane & 3;
    const int units = (int)(a.k + W::K - 1) / W::K;
    const int u0 = (int)(blockIdx.y * a.slice);
    const int n = min((int)a.slice, units - u0);
    const uint32_t token0 = blockIdx.z * GEMV_TOKENS;
    const uint32_t m = min(a.m - token0, (uint32_t)GEMV_TOKENS);
    const uint32_t stride = gemv_stride((uint32_t)n * W::K);
    uint32_t tile = blockIdx.x;
    typename W::slot q[DEPTH];
    struct GemvX x;
    W w(a, lane);
    int buf = 0;

    w.begin(a, tile);
#pragma unroll
    for (int d = 0; d < DEPTH; d++)
        w.load(q[d], u0 + warp + d * NW, warp + d * NW < n);
    pdl_wait();
    x.row = xs + min((uint32_t)g, m - 1) * stride;
    x.sums = (float *)(xs + m * stride);
    gemv_stage(a, smem_of(xs), token0, m, (uint32_t)u0 * W::K,
               (uint32_t)n * W::K);
    if (W::SUMS) {
        __syncthreads();
        gemv_sums(xs, (float *)(xs + m * stride), m, (uint32_t)n * W::K);
    }
    __syncthreads();
    for (; tile < a.n_tile; tile += gridDim.x) {
        float c[4] = {0.f, 0.f, 0.f, 0.f};
        const float2 scales = gemv_scales<W>(a, w, tile);

        if (tile + gridDim.x >= a.n_tile)
            pdl_go();
        for (int u = warp; u - warp < n; u += NW * DEPTH) {
            bool over = u - warp + NW * DEPTH >= n; /* the next tile follows */
            bool ok = !over || tile + gridDim.x < a.n_tile;
            int next = over ? warp : u + NW * DEPTH;

            if (over && ok)
                w.begin(a, tile + gridDim.x);
            gemv_round<W, DEPTH>(w, q, c, x, u0, u, next, n, NW, ok);
        }
        gemv_leave(red[buf][warp], c, g, t);
        __syncthreads();
        gemv_end<W, NW>(a, red[buf], tile, scales, &last);
        buf ^= 1;
    }
}

#endif
