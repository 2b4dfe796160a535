/* k_gemm.cu - Products of any number of tokens that need no library: tiles of
 * 64 tokens and 64 rows for floats, and one kernel for every pair of types and
 * every shape, which is slow. What a token gets depends on that token alone. */
#include "kernels/cuda/a_linear.h"
#include "kernels/cuda/dev.cuh"
#include "kernels/cuda/put.cuh"
#include "kernels/cuda/tile.cuh"

#define SIDE 64 /* tokens and rows of a tile */

/* --- 16 bits ---------------------------------------------------------------
 */

#define STAGE_K     64 /* k in shared memory at once: rows of 128 bytes */
#define STAGE_BYTES (SIDE * STAGE_K * 2)

/* Where chunk <c> of 16 bytes of row <r> lies, so that eight rows of a column
 * of chunks hit all banks. */
DEV smem_t swizzled(smem_t base, int r, int c)
{
    return base + (smem_t)(r * 128 + ((c ^ (r & 7)) << 4));
}

/* Begin to copy SIDE rows of STAGE_K from <k0> on; zeros beyond the matrix. */
DEV void stage_rows(smem_t to, const char *p, uint32_t row0, uint32_t n,
                    size_t ld, uint32_t k0, uint32_t k)
{
#pragma unroll
    for (int i = 0; i < SIDE * 8 / 128; i++) {
        int r = ((int)threadIdx.x + i * 128) >> 3, c = (int)threadIdx.x & 7;
        uint32_t at = k0 + (uint32_t)c * 8;
        bool ok = row0 + (uint32_t)r < n && at < k;
        size_t from = ((size_t)(row0 + (uint32_t)r) * ld + at) * 2;

        cp_async16(swizzled(to, r, c), p + (ok ? from : 0), ok);
    }
}

/* Add a stage to the warp's 32 tokens and 32 rows. */
template <class T>
DEV void stage_mma(float c[2][4][4], smem_t xs, smem_t ws, int token, int row)
{
    int lane = (int)threadIdx.x & 31;

#pragma unroll
    for (int j = 0; j < STAGE_K / 16; j++) {
        uint32_t a[2][4], b[2][4];

#pragma unroll
        for (int i = 0; i < 2; i++) {
            ldmatrix_x4(a[i], swizzled(xs, token + i * 16 + (lane & 15),
                                       2 * j + (lane >> 4)));
            ldmatrix_x4(b[i],
                        swizzled(ws,
                                 row + i * 16 + (lane & 7) + ((lane >> 4) << 3),
                                 2 * j + (lane >> 3 & 1)));
        }
#pragma unroll
        for (int i = 0; i < 2; i++)
#pragma unroll
            for (int n = 0; n < 4; n++)
                T::mma(c[i][n], a[i], b[n >> 1][2 * (n & 1)],
                       b[n >> 1][2 * (n & 1) + 1]);
    }
}

/* Write what mma gave for 16 tokens and 8 rows. */
template <class T>
DEV void part_put(const struct tg_gemm &a, const float c[4], uint32_t token,
                  uint32_t row)
{
    uint32_t g = threadIdx.x >> 2 & 7, t = threadIdx.x & 3;

#pragma unroll
    for (uint32_t e = 0; e < 4; e++) {
        uint32_t at = token + g + (e >> 1) * 8, r = row + 2 * t + (e & 1);

        if (at < a.m && r < a.mat.n_out)
            linear_put<T>(a.mat, at, r, c[e]);
    }
}

template <class T>
DEV void tile_put(const struct tg_gemm &a, const float c[2][4][4],
                  uint32_t token, uint32_t row)
{
#pragma unroll
    for (uint32_t i = 0; i < 2; i++)
#pragma unroll
        for (uint32_t n = 0; n < 4; n++)
            part_put<T>(a, c[i][n], token + i * 16, row + n * 8);
}

template <class T> DEV void gemm(const struct tg_gemm &a)
{
    SHARED_DYN(dyn);
    smem_t xs = smem_of(dyn), ws = xs + 2 * STAGE_BYTES;
    uint32_t row0 = blockIdx.x * SIDE, token0 = blockIdx.y * SIDE;
    int warp = (int)threadIdx.x >> 5;
    int n = (int)(a.k + STAGE_K - 1) / STAGE_K;
    float c[2][4][4];

#pragma unroll
    for (int i = 0; i < 32; i++)
        c[i >> 4][i >> 2 & 3][i & 3] = 0.f;
    pdl_wait(); /* the matrix, too, may be what the kernel before wrote */
    stage_rows(ws, (const char *)a.mat.w, row0, a.mat.n_out, a.k, 0, a.k);
    stage_rows(xs, (const char *)a.x, token0, a.m, a.ldx, 0, a.k);
    cp_async_commit();
    for (int i = 0; i < n; i++) {
        smem_t next = (smem_t)((i + 1) & 1) * STAGE_BYTES;
        smem_t here = (smem_t)(i & 1) * STAGE_BYTES;
        uint32_t k0 = (uint32_t)(i + 1) * STAGE_K;

        if (i + 1 < n) {
            stage_rows(ws + next, (const char *)a.mat.w, row0, a.mat.n_out, a.k,
                       k0, a.k);
            stage_rows(xs + next, (const char *)a.x, token0, a.m, a.ldx, k0,
                       a.k);
        }
        cp_async_commit();
        cp_async_wait<1>();
        __syncthreads();
        stage_mma<T>(c, xs + here, ws + here, (warp >> 1) * 32,
                     (warp & 1) * 32);
        __syncthreads();
    }
    pdl_go();
    tile_put<T>(a, c, token0 + (uint32_t)(warp >> 1) * 32,
                row0 + (uint32_t)(warp & 1) * 32);
}

KERNEL(tg_gemm_bf16, struct tg_gemm, 128, 4)
{
    gemm<Bf16>(a);
}

KERNEL(tg_gemm_f16, struct tg_gemm, 128, 4)
{
    gemm<F16>(a);
}

/* --- F32 -------------------------------------------------------------------
 */

#define F32_K    16 /* k in shared memory at once */
#define F32_SIDE (SIDE + 4)

/* Copy 64 rows of F32_K from <k0> on, turned: [k][row]. */
DEV void f32_stage(float *to, const float *p, uint32_t row0, uint32_t n,
                   size_t ld, uint32_t k0, uint32_t k)
{
#pragma unroll
    for (uint32_t i = 0; i < SIDE * F32_K / 256; i++) {
        uint32_t at = threadIdx.x + i * 256;
        uint32_t r = at / F32_K, c = at % F32_K;
        bool ok = row0 + r < n && k0 + c < k;

        to[c * F32_SIDE + r] = ok ? p[(row0 + r) * ld + k0 + c] : 0.f;
    }
}

/* Each thread has four tokens and four rows. */
KERNEL(tg_gemm_f32, struct tg_gemm, 256, 2)
{
    __shared__ __align__(16) float xs[F32_K * F32_SIDE];
    __shared__ __align__(16) float ws[F32_K * F32_SIDE];
    uint32_t row0 = blockIdx.x * SIDE, token0 = blockIdx.y * SIDE;
    uint32_t r = threadIdx.x % 16 * 4, t = threadIdx.x / 16 * 4;
    float c[4][4];

#pragma unroll
    for (int i = 0; i < 16; i++)
        c[i >> 2][i & 3] = 0.f;
    pdl_wait();
    for (uint32_t k0 = 0; k0 < a.k; k0 += F32_K) {
        __syncthreads();
        f32_stage(ws, (const float *)a.mat.w, row0, a.mat.n_out, a.k, k0, a.k);
        f32_stage(xs, (const float *)a.x, token0, a.m, a.ldx, k0, a.k);
        __syncthreads();
#pragma unroll
        for (uint32_t k = 0; k < F32_K; k++) {
            float4 x = *(const float4 *)(xs + k * F32_SIDE + t);
            float4 w = *(const float4 *)(ws + k * F32_SIDE + r);
            float xv[4] = {x.x, x.y, x.z, x.w}, wv[4] = {w.x, w.y, w.z, w.w};

#pragma unroll
            for (int i = 0; i < 16; i++)
                c[i >> 2][i & 3] =
                    fmaf(xv[i >> 2], wv[i & 3], c[i >> 2][i & 3]);
        }
    }
    pdl_go();
#pragma unroll
    for (uint32_t i = 0; i < 16; i++)
        if (token0 + t + (i >> 2) < a.m && row0 + r + (i & 3) < a.mat.n_out)
            linear_put<F32>(a.mat, token0 + t + (i >> 2), row0 + r + (i & 3),
                            c[i >> 2][i & 3]);
}

/* --- anything --------------------------------------------------------------
 */

/* Elements <k> .. <k> + 7 of row <row>; zeros beyond the matrix. */
template <class T>
DEV void float_row8(const struct tg_any &a, size_t row, uint32_t k, float v[8])
{
    const typename T::el *w = (const typename T::el *)a.mat.w + row * a.k + k;

#pragma unroll
    for (uint32_t j = 0; j < 8; j++)
        v[j] = k + j < a.k ? T::get(w[j]) : 0.f;
}

DEV void any_row8(const struct tg_any &a, size_t row, uint32_t k, float v[8])
{
    const uint8_t *w = (const uint8_t *)a.mat.w;
    int n_k = (int)((a.k + TILE_K - 1) / TILE_K);

    if (a.w_type == TG_W_F32)
        float_row8<F32>(a, row, k, v);
    else if (a.w_type == TG_W_F16)
        float_row8<F16>(a, row, k, v);
    else if (a.w_type == TG_W_BF16)
        float_row8<Bf16>(a, row, k, v);
    else if (a.w_type == TG_W_Q8_0)
        tile_row8<TileQ8>(w, row, n_k, (int)k, v);
    else if (a.w_type == TG_W_Q4_0)
        tile_row8<TileQ4>(w, row, n_k, (int)k, v);
    else if (a.w_type == TG_W_Q4_K)
        tile_row8<TileQ4K>(w, row, n_k, (int)k, v);
    else if (a.w_type == TG_W_Q5_K)
        tile_row8<TileQ5K>(w, row, n_k, (int)k, v);
    else if (a.w_type == TG_W_FP8)
        tile_row8<TileFp8>(w, row, n_k, (int)k, v);
    else
        tile_row8<TileQ6K>(w, row, n_k, (int)k, v);
}

/* A warp has one row and eight tokens; lanes share k, eight at a time. */
template <class T> DEV void any(const struct tg_any &a)
{
    uint32_t lane = threadIdx.x & 31;
    uint32_t row = blockIdx.x * 8 + (threadIdx.x >> 5);
    uint32_t token0 = blockIdx.y * 8;
    const typename T::el *x = (const typename T::el *)a.x;
    float c[8];

#pragma unroll
    for (int i = 0; i < 8; i++)
        c[i] = 0.f;
    pdl_wait();
    if (row >= a.mat.n_out)
        return;
    for (uint32_t k = lane * 8; k < a.k; k += 256) {
        float w[8];

        any_row8(a, row, k, w);
#pragma unroll
        for (uint32_t i = 0; i < 8; i++) {
            size_t at = (size_t)min(token0 + i, a.m - 1) * a.ldx + k;

#pragma unroll
            for (uint32_t j = 0; j < 8; j++)
                c[i] = fmaf(k + j < a.k ? T::get(x[at + j]) : 0.f, w[j], c[i]);
        }
    }
    pdl_go();
#pragma unroll
    for (uint32_t i = 0; i < 8; i++) {
#pragma unroll
        for (int by = 16; by > 0; by >>= 1)
            c[i] += __shfl_xor_sync(0xffffffffu, c[i], by);
        if (lane == 0 && token0 + i < a.m)
            linear_put<T>(a.mat, token0 + i, row, c[i]);
    }
}

KERNEL(tg_any_f32, struct tg_any, 256, 2)
{
    any<F32>(a);
}

KERNEL(tg_any_f16, struct tg_any, 256, 2)
{
    any<F16>(a);
}

KERNEL(tg_any_bf16, struct tg_any, 256, 2)
{
    any<Bf16>(a);
}
