/* k_gemm_quant.cu - Products of 9 to 64 tokens with quantised weights: as
 * gemv.cuh, but a warp has a tile of 16 rows of its own and NB times 8 tokens,
 * so that a weight is made a half once for all of them. x comes to shared
 * memory 256 k at a time, the next ones while these are worked on; so do the
 * weights, to registers. Blocks of one group of tiles share k; the one that
 * comes last adds up their sums in the order of the slices. */
#include "kernels/cuda/a_linear.h"
#include "kernels/cuda/dev.cuh"
#include "kernels/cuda/put.cuh"
#include "kernels/cuda/quant.cuh"

#define WARPS   4
#define THREADS (32 * WARPS)

/* Bytes of a token's 256 k in shared memory: 64 mod 128, see gemv.cuh. */
#define X_STRIDE (TILE_K * 2 + 64)

/* What does not change while a block works. */
struct GemmAt {
    int lane, g, t;
    uint32_t tile;
    const char *base[2];
    float scale[2]; /* of rows g and g + 8, of rows that have one */
};

DEV int gemm_mat(const struct tg_gemm_quant &a, uint32_t tile)
{
    int i = 0;

    while (i + 1 < (int)a.n_mat && tile >= a.mat[i + 1].tile0)
        i++;
    return i;
}

/* Units of a warp on their way. */
#define SLOTS 2

/* Begin to copy k <k0> .. <k0> + 255 of all tokens; zeros beyond the matrix. */
template <int NB>
DEV void gemm_stage(const struct tg_gemm_quant &a, smem_t to, uint32_t k0)
{
    uint32_t token = threadIdx.x >> 5, chunk = threadIdx.x & 31;
    uint32_t k = k0 + chunk * 8;
    const char *from = (const char *)a.x + ((size_t)token * a.ldx + k) * 2;

    to += token * X_STRIDE + chunk * 16;
#pragma unroll 4
    for (uint32_t i = 0; i < NB * 8 / WARPS; i++) {
        bool ok = token + i * WARPS < a.m && k < a.k;

        cp_async16(to, ok ? from : (const char *)a.x, ok);
        from += (size_t)a.ldx * (2 * WARPS);
        to += X_STRIDE * WARPS;
    }
}

/* The sums of x over each step of a stage: (8 steps, tokens). */
template <int NB> DEV void gemm_sums(const char *xs, float *sums)
{
#pragma unroll 1
    for (uint32_t i = threadIdx.x; i < NB * 64; i += THREADS) {
        uint32_t token = i % (NB * 8), step = i / (NB * 8);

        sums[i] = half_sum32(xs + token * X_STRIDE + step * 64);
    }
}

/* Add step <h> of unit <u> to the sums of all tokens. */
template <class Q, int NB>
DEV void gemm_step(const QuantSlot<Q> &q, int u, int h, const struct GemmAt &at,
                   const char *xs, const float *sums, float c[NB][4])
{
    int step = u * Q::STEPS + h;
    uint32_t a[2][4];

    quant_rows<Q>(q, h, a);
#pragma unroll
    for (int nb = 0; nb < NB; nb++) {
        const char *row = xs + (nb * 8 + at.g) * X_STRIDE + step * 64;
        float2 s = make_float2(0.f, 0.f);

        if constexpr (Q::KIND == QUANT_MIN)
            s = *(const float2 *)(sums + step * NB * 8 + nb * 8 + 2 * at.t);
        quant_step<Q>(q, h, a, c[nb], quant_x<Q>(row, at.t), s);
    }
}

template <class Q>
DEV void gemm_load(QuantSlot<Q> &q, const struct GemmAt &at, int u, bool ok)
{
    quant_load<Q>(q, 0, at.base[0], u, at.lane, ok);
    quant_load<Q>(q, 1, at.base[1], u, at.lane, ok);
}

/* Add units <u> .. <u> + SLOTS - 1, whose x and sums begin at <xs> and <sums>,
 * and load the next ones in their places. */
template <class Q, int NB>
DEV void gemm_units(QuantSlot<Q> q[SLOTS], int u, bool more,
                    const struct GemmAt &at, const char *xs, const float *sums,
                    float c[NB][4])
{
    /* steps of many tokens one by one, or registers run out */
    [[maybe_unused]] constexpr int at_once = NB >= 4 ? 1 : Q::STEPS;

#pragma unroll
    for (int i = 0; i < SLOTS; i++) {
#pragma unroll at_once
        for (int h = 0; h < Q::STEPS; h++)
            gemm_step<Q, NB>(q[i], i, h, at, xs, sums, c);
        gemm_load<Q>(q[i], at, u + SLOTS + i, more);
    }
}

DEV void gemm_pair(const struct tg_gemm_quant &a, const struct tg_mat &m,
                   uint32_t token, uint32_t row, float v, float v8)
{
    if (token >= a.m)
        return;
    if (a.glu) {
        if (row < m.n_out)
            linear_put<F16>(m, token, row, silu(v) * v8);
        return;
    }
    if (row < m.n_out)
        linear_put<F16>(m, token, row, v);
    if (row + 8 < m.n_out)
        linear_put<F16>(m, token, row + 8, v8);
}

template <class Q, int NB>
DEV void gemm_put(const struct tg_gemm_quant &a, const struct GemmAt &at,
                  const float c[NB][4])
{
    const struct tg_mat &m = a.mat[gemm_mat(a, at.tile)];
    uint32_t row = (at.tile - m.tile0) * (a.glu ? 8 : 16) + (uint32_t)at.g;

#pragma unroll
    for (int nb = 0; nb < NB; nb++) {
        uint32_t token = (uint32_t)(nb * 8 + 2 * at.t);
        float v[4] = {c[nb][0], c[nb][1], c[nb][2], c[nb][3]};

        if constexpr (Q::KIND == QUANT_ROW) {
            v[0] *= at.scale[0];
            v[1] *= at.scale[0];
            v[2] *= at.scale[1];
            v[3] *= at.scale[1];
        }
        gemm_pair(a, m, token, row, v[0], v[2]);
        gemm_pair(a, m, token + 1, row, v[1], v[3]);
    }
}

/* Leave the sums of this slice, or add up all when this block is the last of
 * its group: true then. */
template <int NB>
DEV bool gemm_join(const struct tg_gemm_quant &a, float c[NB][4])
{
    __shared__ unsigned last;
    constexpr size_t slice = NB * 4 * THREADS;
    volatile float *part =
        a.part + blockIdx.x * (gridDim.y * slice) + threadIdx.x;
    volatile float *mine = part + blockIdx.y * slice;

#pragma unroll
    for (int i = 0; i < NB * 4; i++)
        mine[i * THREADS] = c[i >> 2][i & 3];
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(&a.count[blockIdx.x], 1u) == gridDim.y - 1;
        if (last)
            a.count[blockIdx.x] = 0;
    }
    __syncthreads();
    if (!last)
        return false;
    __threadfence();
#pragma unroll
    for (int i = 0; i < NB * 4; i++)
        c[i >> 2][i & 3] = 0.f;
#pragma unroll 1
    for (uint32_t s = 0; s < gridDim.y; s++, part += slice) {
#pragma unroll
        for (int i = 0; i < NB * 4; i++)
            c[i >> 2][i & 3] += part[i * THREADS];
    }
    return true;
}

template <class Q, int NB> DEV void gemm_quant(const struct tg_gemm_quant &a)
{
    SHARED_DYN(dyn);
    constexpr uint32_t stage = NB * 8 * X_STRIDE;
    float *sums = (float *)(dyn + 2 * stage);
    const uint32_t n_k = (a.k + TILE_K - 1) / TILE_K;
    const uint32_t k0 = blockIdx.y * a.slice;
    const int n = (int)min(a.slice, n_k - k0);
    uint32_t tile = blockIdx.x * WARPS + (threadIdx.x >> 5);
    QuantSlot<Q> q[SLOTS];
    struct GemmAt at;
    float c[NB][4];

    at.lane = (int)threadIdx.x & 31;
    at.g = at.lane >> 2;
    at.t = at.lane & 3;
    at.tile = min(tile, a.n_tile - 1);
    quant_blocks<Q>(a.mat[gemm_mat(a, at.tile)], a.glu, at.tile, n_k, at.base);
    if constexpr (Q::KIND == QUANT_ROW) {
        at.scale[0] = quant_row_scale<Q>(at.base[0], n_k, at.g);
        at.scale[1] = quant_row_scale<Q>(at.base[1], n_k, at.g);
    }
    at.base[0] += (size_t)k0 * Q::BYTES;
    at.base[1] += (size_t)k0 * Q::BYTES;
#pragma unroll
    for (int u = 0; u < SLOTS; u++)
        gemm_load<Q>(q[u], at, u, true);
#pragma unroll
    for (int i = 0; i < NB * 4; i++)
        c[i >> 2][i & 3] = 0.f;
    pdl_wait();
    gemm_stage<NB>(a, smem_of(dyn), k0 * TILE_K);
    cp_async_commit();
    for (int i = 0; i < n; i++) {
        const char *xs = dyn + (i & 1) * stage;

        if (i + 1 < n)
            gemm_stage<NB>(a, smem_of(dyn + ((i + 1) & 1) * stage),
                           (k0 + (uint32_t)i + 1) * TILE_K);
        cp_async_commit();
        cp_async_wait<1>();
        __syncthreads();
        if constexpr (Q::KIND == QUANT_MIN) {
            gemm_sums<NB>(xs, sums);
            __syncthreads();
        }
#pragma unroll 1
        for (int u = 0; u < Q::UNITS; u += SLOTS) {
            bool more = i + 1 < n || u + SLOTS < Q::UNITS;

            gemm_units<Q, NB>(q, i * Q::UNITS + u, more, at, xs + u * Q::K * 2,
                              sums + u * Q::STEPS * NB * 8, c);
        }
        __syncthreads();
    }
    pdl_go();
    if (gridDim.y > 1 && !gemm_join<NB>(a, c))
        return;
    if (tile < a.n_tile)
        gemm_put<Q, NB>(a, at, c);
}

/* Kernels for 16, 32 and 64 tokens. */
#define GEMM_QUANT(name, form)                                                 \
    KERNEL(name##_16, struct tg_gemm_quant, THREADS, 3)                        \
    {                                                                          \
        gemm_quant<form, 2>(a);                                                \
    }                                                                          \
    KERNEL(name##_32, struct tg_gemm_quant, THREADS, 4)                        \
    {                                                                          \
        gemm_quant<form, 4>(a);                                                \
    }                                                                          \
    KERNEL(name##_64, struct tg_gemm_quant, THREADS, 3)                        \
    {                                                                          \
        gemm_quant<form, 8>(a);                                                \
    }

GEMM_QUANT(tg_gemm_q8_0, FormQ8_0)
GEMM_QUANT(tg_gemm_q4_0, FormQ4_0)
GEMM_QUANT(tg_gemm_q4_k, FormQ4_K)
GEMM_QUANT(tg_gemm_q5_k, FormQ5_K)
GEMM_QUANT(tg_gemm_q6_k, FormQ6_K)
GEMM_QUANT(tg_gemm_fp8, FormFp8)
