/* tile.cuh - How quantised matrices lie on the device: half-supertiles of 8
 * rows and 256 k, all of one row block one after the other in ascending k, then
 * the next row block; rows and k beyond the matrix are zeros. A lane (g, t), 4
 * * g + t, of a warp reads 16 bytes a load, so that a load is 512 bytes in a
 * row; g is the row within the block. A step is 32 k: step s of a tile has the
 * k 32s .. 32s+31, and lane t of it the eight k from 32s + 8t on. Behind the
 * loads are f16 scales, those of a load together: [load][8 g][steps of a load].
 *
 *   Q8_0  4 loads: of load i the bytes 0-7 are step 2i, the bytes 8-15 step
 *         2i+1, in ascending k, each q ^ 0x80 (= q + 128). A scale a step.
 *   Q4_0  2 loads: word j of load i is step 4i+j: of its eight k, number 2p is
 *         nibble p and number 2p+1 nibble p+4, each q + 8. A scale a step.
 *   Q4_K  quants as Q4_0, but 0 .. 15; two halves a step: scale s and offset m;
 *         an element is s * q - m. Both are rounded to f16, off by 2^-11 of
 *         themselves at most.
 *   Q5_K  quants as Q8_0, 0 .. 31, each + 128; then s and m as Q4_K.
 *   Q6_K  of load i the bytes 0-7 are step 2i, the bytes 8-15 step 2i+1: four
 *         k from 4t on, then four from 16 + 4t on, each q + 128. Two halves a
 *         step: the scales of its first and its last 16 k.
 *
 *   FP8   loads as those of Q8_0, each byte an e4m3 as it is. No scales in the
 *         tiles; behind the tiles of a row block are 128 bytes, of which the
 *         first 32 are an f32 for each row: an element is s * q.
 *
 * Float matrices are row-major, rows n_in elements apart. The first part is
 * plain C. */
#ifndef TG_KERNELS_CUDA_TILE_CUH
#define TG_KERNELS_CUDA_TILE_CUH

#include <stddef.h>
#include <stdint.h>

/* Rows and k of a tile. */
#define TILE_ROWS 8
#define TILE_K    256
#define TILE_STEP 32 /* k of a step */

/* Steps of a load of 8-bit and of 4-bit quants, and the number of the scale, or
 * the pair of halves, of step <s> and row <g> of a tile of <n> steps a load. */
#define TILE_LOAD_8         2
#define TILE_LOAD_4         4
#define TILE_PLACE(n, g, s) (((s) / (n)*8 + (g)) * (n) + (s) % (n))

/* Where the scales of a tile begin, and its bytes. */
#define TILE_Q8_0_SCALES 2048
#define TILE_Q8_0_BYTES  2176
#define TILE_Q4_0_SCALES 1024
#define TILE_Q4_0_BYTES  1152
#define TILE_Q4_K_SCALES 1024
#define TILE_Q4_K_BYTES  1280
#define TILE_Q5_K_SCALES 2048
#define TILE_Q5_K_BYTES  2304
#define TILE_Q6_K_SCALES 2048
#define TILE_Q6_K_BYTES  2304
#define TILE_FP8_BYTES   2048
#define TILE_FP8_TAIL    128 /* behind the tiles of a row block */

#ifdef __cplusplus
#include "kernels/cuda/dev.cuh"

/* The f16 at <p> as a number. */
DEV float tile_f16(const uint8_t *p)
{
    return f32_of_f16(*(const uint16_t *)p);
}

/* The eight values from step <s> and lane part <t> of row <g> of one tile, in
 * ascending k, exactly as they are stored: q * scale, or s * q - m rounded
 * once. */
struct TileQ8 {
    static constexpr int bytes = TILE_Q8_0_BYTES;
    static DEV void get(const uint8_t *tile, int g, int s, int t, float v[8])
    {
        const uint8_t *at =
            tile + (s >> 1) * 512 + (4 * g + t) * 16 + (s & 1) * 8;
        float scale = tile_f16(tile + TILE_Q8_0_SCALES +
                               TILE_PLACE(TILE_LOAD_8, g, s) * 2);
        uint2 q = *(const uint2 *)at;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            uint32_t w = j < 4 ? q.x : q.y;
            v[j] = (float)((int)(w >> 8 * (j & 3) & 0xff) - 128) * scale;
        }
    }
};

/* Nibble of number <j> of the eight in <w>. */
DEV int tile_nibble(uint32_t w, int j)
{
    return (int)(w >> 4 * ((j >> 1) + 4 * (j & 1)) & 0xf);
}

/* The word of step <s> and lane part <t> of row <g>: Q4_0 and Q4_K. */
DEV uint32_t tile_word(const uint8_t *tile, int g, int s, int t)
{
    return *(const uint32_t *)(tile + (s >> 2) * 512 + (4 * g + t) * 16 +
                               (s & 3) * 4);
}

/* The same of Q4_0. */
struct TileQ4 {
    static constexpr int bytes = TILE_Q4_0_BYTES;
    static DEV void get(const uint8_t *tile, int g, int s, int t, float v[8])
    {
        float scale = tile_f16(tile + TILE_Q4_0_SCALES +
                               TILE_PLACE(TILE_LOAD_4, g, s) * 2);
        uint32_t w = tile_word(tile, g, s, t);
#pragma unroll
        for (int j = 0; j < 8; j++)
            v[j] = (float)(tile_nibble(w, j) - 8) * scale;
    }
};

/* The same of Q4_K. */
struct TileQ4K {
    static constexpr int bytes = TILE_Q4_K_BYTES;
    static DEV void get(const uint8_t *tile, int g, int s, int t, float v[8])
    {
        const uint8_t *sm =
            tile + TILE_Q4_K_SCALES + TILE_PLACE(TILE_LOAD_4, g, s) * 4;
        float scale = tile_f16(sm);
        float off = tile_f16(sm + 2);
        uint32_t w = tile_word(tile, g, s, t);
#pragma unroll
        for (int j = 0; j < 8; j++)
            v[j] = fmaf((float)tile_nibble(w, j), scale, -off);
    }
};

/* s * q - m, quants of a byte. */
struct TileQ5K {
    static constexpr int bytes = TILE_Q5_K_BYTES;
    static DEV void get(const uint8_t *tile, int g, int s, int t, float v[8])
    {
        const uint8_t *sm =
            tile + TILE_Q5_K_SCALES + TILE_PLACE(TILE_LOAD_8, g, s) * 4;
        const uint8_t *at =
            tile + (s >> 1) * 512 + (4 * g + t) * 16 + (s & 1) * 8;
        float scale = tile_f16(sm);
        float off = tile_f16(sm + 2);
        uint2 q = *(const uint2 *)at;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            uint32_t w = j < 4 ? q.x : q.y;
            v[j] = fmaf((float)((int)(w >> 8 * (j & 3) & 0xff) - 128), scale,
                        -off);
        }
    }
};

/* A scale for each 16 k: lane part t holds four k of either half of a step. */
struct TileQ6K {
    static constexpr int bytes = TILE_Q6_K_BYTES;
    static DEV void get(const uint8_t *tile, int g, int s, int t, float v[8])
    {
        float scale =
            tile_f16(tile + TILE_Q6_K_SCALES +
                     TILE_PLACE(TILE_LOAD_8, g, s) * 4 + (t >> 1) * 2);
        const uint8_t *at = tile + (s >> 1) * 512 + (4 * g + 2 * (t & 1)) * 16 +
                            (s & 1) * 8 + (t >> 1) * 4;
        uint32_t lo = *(const uint32_t *)at;
        uint32_t hi = *(const uint32_t *)(at + 16);
#pragma unroll
        for (int j = 0; j < 8; j++) {
            uint32_t w = j < 4 ? lo : hi;
            v[j] = (float)((int)(w >> 8 * (j & 3) & 0xff) - 128) * scale;
        }
    }
};

/* q alone, without the scale of the row. */
struct TileFp8 {
    static constexpr int bytes = TILE_FP8_BYTES;
    static DEV void get(const uint8_t *tile, int g, int s, int t, float v[8])
    {
        uint2 q = *(const uint2 *)(tile + (s >> 1) * 512 + (4 * g + t) * 16 +
                                   (s & 1) * 8);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            uint32_t w = j < 2 ? q.x : q.y;
            uint32_t h = f16x2_of_e4m3x2((uint16_t)(w >> 16 * (j & 1)));

            v[2 * j] = f32_of_f16((uint16_t)h);
            v[2 * j + 1] = f32_of_f16((uint16_t)(h >> 16));
        }
    }
};

/* The eight values from <k> on (a multiple of 8) of row <row> of a matrix of
 * tiles with <n_k> tiles a row block. */
template <class T>
DEV void tile_row8(const uint8_t *w, size_t row, int n_k, int k, float v[8])
{
    const uint8_t *tile = w + ((row >> 3) * n_k + (k >> 8)) * T::bytes;

    T::get(tile, (int)(row & 7), k >> 5 & 7, k >> 3 & 3, v);
}

/* The same of FP8. */
template <>
DEV void tile_row8<TileFp8>(const uint8_t *w, size_t row, int n_k, int k,
                            float v[8])
{
    const uint8_t *block =
        w + (row >> 3) * ((size_t)n_k * TILE_FP8_BYTES + TILE_FP8_TAIL);
    float scale =
        *(const float *)(block + (size_t)n_k * TILE_FP8_BYTES + (row & 7) * 4);

    TileFp8::get(block + (size_t)(k >> 8) * TILE_FP8_BYTES, (int)(row & 7),
                 k >> 5 & 7, k >> 3 & 3, v);
#pragma unroll
    for (int j = 0; j < 8; j++)
        v[j] *= scale;
}
#endif

#endif
