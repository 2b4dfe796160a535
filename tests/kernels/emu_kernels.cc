/* emu_kernels.cc - Kernels that try the emulator out. They are written as the
 * real ones are; those with a <bug> do something wrong on demand. */
#include "kernels/emu_kernels.h"
#include "kernels/cuda/dev.cuh"

/* The core of a product with few rows: 16 bytes of a row of w and of x feed two
 * mma, in an order of k that is the same for both. */
KERNEL(emu_gemv, struct emu_gemv_args, 32, 1)
{
    const int lane = (int)threadIdx.x, g = lane >> 2, t = lane & 3;
    float c[4] = {0, 0, 0, 0};

    pdl_wait();
    for (int k = 8 * t; k < a.k; k += 32) {
        uint4 w0 = ldg_stream(a.w + g * a.k + k);
        uint4 w1 = ldg_stream(a.w + (g + 8) * a.k + k);
        uint4 x = ldg_stream(a.x + g * a.k + k);
        uint32_t lo[4] = {w0.x, w1.x, w0.y, w1.y};
        uint32_t hi[4] = {w0.z, w1.z, w0.w, w1.w};

        if (a.bf16 != 0) {
            mma_bf16(c, lo, x.x, x.y);
            mma_bf16(c, hi, x.z, x.w);
        } else {
            mma_f16(c, lo, x.x, x.y);
            mma_f16(c, hi, x.z, x.w);
        }
    }
    a.y[(2 * t) * 16 + g] = c[0];
    a.y[(2 * t + 1) * 16 + g] = c[1];
    a.y[(2 * t) * 16 + g + 8] = c[2];
    a.y[(2 * t + 1) * 16 + g + 8] = c[3];
}

/* Where 16-byte piece <c> of row <r> lies in a tile of rows of 256 bytes. */
DEV uint32_t piece(int r, int c)
{
    return (uint32_t)(r * 256 + ((c ^ (r & 7)) << 4));
}

DEV void tile_load(smem_t s, const uint16_t *p, int rows, int good)
{
    for (int i = (int)threadIdx.x; i < rows * 16; i += 64) {
        int r = i >> 4, c = i & 15;

        cp_async16(s + piece(r, c), p + (r < good ? r : 0) * 128 + c * 8,
                   r < good);
    }
}

KERNEL(emu_tile, struct emu_tile_args, 64, 1)
{
    SHARED_DYN(sm);
    const smem_t sq = smem_of(sm), sk = sq + 32 * 256, sv = sk + 64 * 256;
    const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5;
    const int g = lane >> 2, t = lane & 3;
    float s[8][4] = {};
    float o[16][4] = {};

    pdl_wait();
    tile_load(sq, a.q, 32, 32);
    tile_load(sk, a.k, 64, a.keys);
    cp_async_commit();
    tile_load(sv, a.v, 64, a.keys);
    cp_async_commit();
    if (a.bug == TILE_LATE)
        cp_async_wait<1>();
    else if (a.bug != TILE_NO_WAIT)
        cp_async_wait<0>();
    if (a.bug != TILE_NO_BARRIER)
        __syncthreads();
    for (int j = 0; j < 8; j++) {
        uint32_t q[4], b[4];

        ldmatrix_x4(q,
                    sq + piece(warp * 16 + (lane & 15), 2 * j + (lane >> 4)));
        for (int n = 0; n < 4; n++) {
            ldmatrix_x4(b, sk + piece(n * 16 + (lane & 7) + ((lane >> 4) << 3),
                                      2 * j + ((lane >> 3) & 1)));
            mma_f16(s[2 * n], q, b[0], b[1]);
            mma_f16(s[2 * n + 1], q, b[2], b[3]);
        }
    }
    for (int k = 0; k < 4; k++) {
        uint32_t p[4] = {pack_f16(s[2 * k][0], s[2 * k][1]),
                         pack_f16(s[2 * k][2], s[2 * k][3]),
                         pack_f16(s[2 * k + 1][0], s[2 * k + 1][1]),
                         pack_f16(s[2 * k + 1][2], s[2 * k + 1][3])};

        for (int n = 0; n < 8; n++) {
            uint32_t b[4];

            ldmatrix_x4_trans(
                b, sv + piece(k * 16 + (lane & 15), 2 * n + (lane >> 4)));
            mma_f16(o[2 * n], p, b[0], b[1]);
            mma_f16(o[2 * n + 1], p, b[2], b[3]);
        }
    }
    for (int n = 0; n < 16; n++) {
        float *y = a.o + (warp * 16 + g) * 128 + n * 8 + 2 * t;

        y[0] = o[n][0];
        y[1] = o[n][1];
        y[8 * 128] = o[n][2];
        y[8 * 128 + 1] = o[n][3];
    }
}

DEV uint32_t bits(int op, uint32_t x, uint32_t y, uint32_t z)
{
    const float fx = __uint_as_float(x), fy = __uint_as_float(y);

    switch (op) {
    case BITS_PRMT:
        return prmt(x, y, z);
    case BITS_AND_OR:
        return and_or<0x000f000fu, 0x43004300u>(x);
    case BITS_ADD_F16:
        return add_f16x2(x, y);
    case BITS_ADD_BF16:
        return add_bf16x2(x, y);
    case BITS_PACK_F16:
        return pack_f16(fx, fy);
    case BITS_PACK_BF16:
        return pack_bf16(fx, fy);
    case BITS_OF_F16:
        return __float_as_uint(f32_of_f16((uint16_t)x));
    case BITS_OF_BF16:
        return __float_as_uint(f32_of_bf16((uint16_t)x));
    case BITS_E4M3:
        return f16x2_of_e4m3x2((uint16_t)x);
    case BITS_E4M3_BITS:
        return f16x2_of_e4m3_bits(prmt(x & 0xffff, 0, 0x1404));
    case BITS_EX2:
        return __float_as_uint(ex2(fx));
    default:
        return 0;
    }
}

KERNEL(emu_bits, struct emu_bits_args, 128, 1)
{
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;

    pdl_wait();
    if (i < a.n)
        a.out[i] = bits(a.op, a.a[i], a.b[i], a.c[i]);
}

KERNEL(emu_lanes, struct emu_lanes_args, 32, 1)
{
    const unsigned lane = threadIdx.x, all = 0xffffffffu;
    const unsigned half = lane < 16 ? 0xffffu : 0xffff0000u;
    uint32_t *out = a.out + lane;

    pdl_wait();
    if (lane >= a.live)
        return;
    out[0 * 32] = __shfl_sync(all, lane * 3, (int)lane * 5 + 1);
    out[1 * 32] = __shfl_xor_sync(all, lane, 9);
    out[2 * 32] = __shfl_up_sync(all, lane, 3);
    out[3 * 32] = __shfl_down_sync(all, lane, 3, 16);
    out[4 * 32] = __ballot_sync(all, lane % 3 == 0);
    out[5 * 32] = (uint32_t)__any_sync(half, lane == 20);
    out[6 * 32] = (uint32_t)__all_sync(half, lane != 20);
    out[7 * 32] =
        (uint32_t)(__shfl_xor_sync(all, (unsigned long long)lane << 40, 1) >>
                   40);
}

KERNEL(emu_count, struct emu_count_args, 128, 1)
{
    const unsigned block =
        (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const unsigned thread =
        (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;

    pdl_wait();
    atomicAdd(a.seen + block * blockDim.x * blockDim.y * blockDim.z + thread,
              1u);
    if (thread == 0)
        atomicAdd(a.blocks, 1u);
}

__noinline__ static int deep(int n)
{
    volatile char room[1024];

    room[n % 1024] = (char)n;
    return n == 0 ? room[0] : deep(n - 1) + room[n % 1024];
}

/* What is wrong before the sum is. */
DEV void sum_bugs(const struct emu_sum_args &a, float *f)
{
    const unsigned i = threadIdx.x;

    if (a.bug == SUM_ONE_STAYS && i == 5)
        __syncthreads();
    if (a.bug == SUM_LANE_ELSEWHERE && i == 70)
        (void)__any_sync(0xffffffffu, 1);
    if (a.bug == SUM_BEHIND_SHARED)
        f[blockDim.x] = 0;
    if (a.bug == SUM_FAR_BEHIND_SHARED)
        f[blockDim.x + 1024] = 0;
    if (a.bug == SUM_BEHIND_GLOBAL)
        a.y[64] = 0; /* y is one float in 256 bytes */
    if (a.bug == SUM_BEFORE_GLOBAL)
        a.y[-1024] = 0;
    if (a.bug == SUM_READ_NOWHERE)
        f[i] = a.x[(int64_t)1 << 44];
    if (a.bug == SUM_MISALIGNED)
        f[i] = (float)lds128(smem_of(f) + 4).x;
    if (a.bug == SUM_FOREIGN_MASK)
        (void)__ballot_sync(1u << ((i + 1) % 32), 1);
    if (a.bug == SUM_DEEP)
        f[i] = (float)deep(4000);
}

KERNEL(emu_sum, struct emu_sum_args, 256, 1)
{
    SHARED_DYN(sm);
    __shared__ float red[8];
    float *f = (float *)sm;
    const unsigned i = threadIdx.x;
    float s = 0;

    pdl_wait();
    sum_bugs(a, f);
    for (int k = (int)i; k < a.n; k += (int)blockDim.x)
        s += a.x[k];
    f[i] = s;
    if (a.bug == SUM_ONE_LEAVES && i == 5)
        return;
    if (a.bug != SUM_NO_WARP_BARRIER)
        __syncwarp();
    if (i % 32 == 0) {
        s = 0;
        for (unsigned k = 0; k < 32; k++)
            s += f[i + k];
        red[i / 32] = s;
    }
    if (a.bug != SUM_NO_BARRIER && a.bug != SUM_ONE_STAYS)
        __syncthreads();
    if (i == 0) {
        s = 0;
        for (unsigned k = 0; k < 8; k++)
            s += red[k];
        *a.y = s;
    }
}

KERNEL(emu_add, struct emu_add_args, 128, 1)
{
    __shared__ int32_t x[128];
    const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    const bool mine = i < a.n;

    if (a.bug == ADD_READS_EARLY && mine)
        x[threadIdx.x] = a.x[i];
    if (a.bug == ADD_WRITES_EARLY && mine)
        a.y[i] = 7;
    if (a.bug != ADD_NO_WAIT)
        pdl_wait();
    if (a.bug != ADD_READS_EARLY && mine)
        x[threadIdx.x] = a.x[i];
    __syncthreads();
    pdl_go();
    if (mine)
        a.y[i] = x[threadIdx.x] + a.by;
}
