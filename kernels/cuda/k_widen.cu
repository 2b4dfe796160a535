/* k_widen.cu - Whole matrices: tiles written as rows of numbers, for products
 * that take those, and random weights. */
#include "kernels/cuda/a_linear.h"
#include "kernels/cuda/dev.cuh"
#include "kernels/cuda/e4m3.h"
#include "kernels/cuda/random.h"
#include "kernels/cuda/tile.cuh"

template <class T> DEV uint4 pack8(const float v[8])
{
    return make_uint4(T::pack(v[0], v[1]), T::pack(v[2], v[3]),
                      T::pack(v[4], v[5]), T::pack(v[6], v[7]));
}

/* Warp g takes row g of the block, a lane eight k of it. */
template <class T> DEV void widen(const struct tg_widen &a)
{
    uint32_t g = threadIdx.x >> 5, lane = threadIdx.x & 31;
    uint32_t k = blockIdx.y * TILE_K + lane * 8;
    uint32_t row = blockIdx.x * TILE_ROWS + g;
    uint4 *y = (uint4 *)((char *)a.y + ((size_t)row * a.ldy + k) * 2);
    float v[8];

    if (row >= a.n_out || k >= a.k)
        return;
    tile_row8<T>((const uint8_t *)a.w, row, (int)gridDim.y, (int)k, v);
    *y = a.y_type == TG_W_F16 ? pack8<F16>(v) : pack8<Bf16>(v);
}

KERNEL(tg_widen, struct tg_widen, 256, 4)
{
    pdl_wait();
    if (a.w_type == TG_W_Q8_0)
        widen<TileQ8>(a);
    else if (a.w_type == TG_W_Q4_0)
        widen<TileQ4>(a);
    else if (a.w_type == TG_W_Q4_K)
        widen<TileQ4K>(a);
    else if (a.w_type == TG_W_Q5_K)
        widen<TileQ5K>(a);
    else if (a.w_type == TG_W_FP8)
        widen<TileFp8>(a);
    else
        widen<TileQ6K>(a);
}

/* Floats: a thread has eight columns of a row. */
KERNEL(tg_random_rows, struct tg_random, 256, 4)
{
    uint64_t chunks = (a.k + 7) / 8;
    uint64_t i = (uint64_t)blockIdx.x * 256 + threadIdx.x;
    uint64_t row = i / chunks, chunk = i % chunks;
    uint64_t h = random_eight(a.seed, row, chunk);

    pdl_wait();
    if (row >= a.n_out)
        return;
#pragma unroll
    for (uint32_t j = 0; j < 8; j++) {
        size_t at = row * a.k + chunk * 8 + j;
        float v = random_float((uint32_t)(h >> 8 * j) & 0xff) * a.scale;

        if (chunk * 8 + j >= a.k)
            break;
        if (a.w_type == TG_W_F32)
            ((float *)a.w)[at] = v;
        else if (a.w_type == TG_W_F16)
            ((uint16_t *)a.w)[at] = F16::set(v);
        else
            ((uint16_t *)a.w)[at] = Bf16::set(v);
    }
}

/* The word of eight nibbles for bytes <h>. */
DEV uint32_t random_nibbles(uint64_t h)
{
    uint32_t w = 0;

#pragma unroll
    for (int j = 0; j < 8; j++)
        w |= (uint32_t)(h >> 8 * j & 15) << 4 * ((j >> 1) + 4 * (j & 1));
    return w;
}

/* Put the quants of row g, step s and lane part t of a tile. */
DEV void random_put(uint8_t *tile, uint32_t type, int g, int s, int t,
                    uint64_t h)
{
    uint8_t *at = tile + (s >> 1) * 512 + (4 * g + t) * 16 + (s & 1) * 8;

    if (type == TG_W_Q8_0) {
        *(uint64_t *)at = h;
    } else if (type == TG_W_Q5_K) {
        *(uint64_t *)at = (h & 0x1f1f1f1f1f1f1f1fU) | 0x8080808080808080U;
    } else if (type == TG_W_Q6_K) { /* k 8t .. 8t+7 are lanes 2t and 2t+1 */
        uint64_t q = (h & 0x3f3f3f3f3f3f3f3fU) + 0x6060606060606060U;

        at = tile + (s >> 1) * 512 + (4 * g + 2 * (t & 1)) * 16 + (s & 1) * 8 +
             (t >> 1) * 4;
        *(uint32_t *)at = (uint32_t)q;
        *(uint32_t *)(at + 16) = (uint32_t)(q >> 32);
    } else {
        *(uint32_t *)(tile + (s >> 2) * 512 + (4 * g + t) * 16 + (s & 3) * 4) =
            random_nibbles(h);
    }
}

/* The halves beside the quants: of d and of minima. */
DEV uint32_t random_scales(uint32_t type, float scale)
{
    float d;

    if (type == TG_W_Q8_0 || type == TG_W_Q4_0) {
        d = scale * (type == TG_W_Q8_0 ? RANDOM_Q8_0 : RANDOM_Q4_0);
        return F16::set(d);
    }
    if (type == TG_W_Q6_K) {
        d = f32_of_f16(F16::set(scale * RANDOM_Q6_K)) * RANDOM_Q6_K_SCALE;
        return F16::pack(d, d);
    }
    d = scale * (type == TG_W_Q4_K ? RANDOM_Q4_K : RANDOM_Q5_K);
    d = f32_of_f16(F16::set(d));
    return type == TG_W_Q4_K
               ? F16::pack(d * RANDOM_K_SCALE,
                           f32_of_f16(F16::set(d * RANDOM_Q4_K_D)) *
                               RANDOM_Q4_K_MIN)
               : F16::pack(d * RANDOM_K_SCALE,
                           f32_of_f16(F16::set(d * RANDOM_Q5_K_D)) *
                               RANDOM_Q5_K_MIN);
}

/* Tiles: warp g has row g of one tile, a lane eight columns. */
KERNEL(tg_random_tiles, struct tg_random, 256, 4)
{
    int g = (int)threadIdx.x >> 5, lane = (int)threadIdx.x & 31;
    int s = lane >> 2, t = lane & 3;
    bool bits8 =
        a.w_type == TG_W_Q8_0 || a.w_type == TG_W_Q5_K || a.w_type == TG_W_Q6_K;
    uint32_t wide = a.w_type == TG_W_Q8_0 || a.w_type == TG_W_Q4_0 ? 2 : 4;
    uint32_t scales = bits8 ? 2048 : 1024;
    uint64_t row = (uint64_t)blockIdx.x * TILE_ROWS + (uint32_t)g;
    uint64_t k = (uint64_t)blockIdx.y * TILE_K + (uint32_t)lane * 8;
    uint8_t *tile =
        (uint8_t *)a.w +
        ((size_t)blockIdx.x * gridDim.y + blockIdx.y) * (scales + 64 * wide);
    bool in = row < a.n_out && k < a.k;
    uint64_t h = random_eight(a.seed, row, k / 8);
    uint32_t beside = in ? random_scales(a.w_type, a.scale) : 0;

    pdl_wait();
    random_put(tile, a.w_type, g, s, t, h);
    if (t != 0)
        return;
    s = bits8 ? TILE_PLACE(TILE_LOAD_8, g, s) : TILE_PLACE(TILE_LOAD_4, g, s);
    if (wide == 2)
        *(uint16_t *)(tile + scales + s * 2) = (uint16_t)beside;
    else
        *(uint32_t *)(tile + scales + s * 4) = beside;
}

/* Eight bytes of random_eight() as e4m3, the greatest of them 448. */
DEV uint64_t random_e4m3(uint64_t h)
{
    uint64_t q = 0;

#pragma unroll
    for (int j = 0; j < 8; j++) {
        float v = random_float((uint32_t)(h >> 8 * j) & 0xff);

        q |= (uint64_t)e4m3_of_f32(v * (1.F / RANDOM_FP8)) << 8 * j;
    }
    return q;
}

/* The same of FP8, whose scales are behind the tiles. */
KERNEL(tg_random_fp8, struct tg_random, 256, 4)
{
    uint32_t g = threadIdx.x >> 5, lane = threadIdx.x & 31;
    uint64_t row = (uint64_t)blockIdx.x * TILE_ROWS + g;
    uint64_t k = (uint64_t)blockIdx.y * TILE_K + lane * 8;
    size_t tiles = (size_t)gridDim.y * TILE_FP8_BYTES;
    uint8_t *block = (uint8_t *)a.w + blockIdx.x * (tiles + TILE_FP8_TAIL);
    uint8_t *at = block + (size_t)blockIdx.y * TILE_FP8_BYTES +
                  (lane >> 3) * 512 + (4 * g + (lane & 3)) * 16 +
                  (lane >> 2 & 1) * 8;
    bool in = row < a.n_out && k < a.k;

    pdl_wait();
    *(uint64_t *)at = in ? random_e4m3(random_eight(a.seed, row, k / 8)) : 0;
    if (blockIdx.y == 0 && lane == 0)
        *(float *)(block + tiles + g * 4) = a.scale * RANDOM_FP8;
}
