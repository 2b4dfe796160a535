/* quant.cuh - Tiles of tile.cuh as operands of mma. Quants become f16 integers,
 * exactly; the scale of a step is applied in f32 to what mma gives for it. A
 * unit is one load of 16 bytes a lane of each of two row blocks, which are rows
 * g and g + 8 of the operand. */
#ifndef TG_KERNELS_CUDA_QUANT_CUH
#define TG_KERNELS_CUDA_QUANT_CUH

#include "kernels/cuda/dev.cuh"
#include "kernels/cuda/tile.cuh"

/* What the halves beside a tile's quants are. */
enum quant_scale {
    QUANT_ONE,  /* a scale a step */
    QUANT_MIN,  /* scale and offset a step: an element is s * q - m */
    QUANT_HALF, /* a scale for each 16 k of a step */
    QUANT_ROW,  /* none: quants are e4m3, a row has a scale behind its tiles */
};

/* A form of tiles: bits of a quant, and the halves beside. */
template <int BITS_, enum quant_scale KIND_>
struct QuantForm {
    static constexpr int BITS = BITS_;
    static constexpr enum quant_scale KIND = KIND_;
    static constexpr int STEPS = BITS == 8 ? 2 : 4; /* of a unit */
    static constexpr int K = STEPS * 32;
    static constexpr int UNITS = 256 / K; /* of a tile */
    static constexpr int WORDS =
        KIND == QUANT_ROW ? 0 : STEPS / (KIND == QUANT_ONE ? 2 : 1);
    static constexpr int SCALES = UNITS * 512; /* where they begin */
    static constexpr int BYTES = SCALES + UNITS * WORDS * 4 * 8;
    static constexpr int TAIL = KIND == QUANT_ROW ? TILE_FP8_TAIL : 0;
};

/* The types, as tile.cuh has them. */
typedef QuantForm<8, QUANT_ONE> FormQ8_0;
typedef QuantForm<4, QUANT_ONE> FormQ4_0;
typedef QuantForm<4, QUANT_MIN> FormQ4_K;
typedef QuantForm<8, QUANT_MIN> FormQ5_K;
typedef QuantForm<8, QUANT_HALF> FormQ6_K;
typedef QuantForm<8, QUANT_ROW> FormFp8;

/* Both say the same. */
static_assert(FormQ8_0::BYTES == TILE_Q8_0_BYTES &&
                  FormQ4_0::BYTES == TILE_Q4_0_BYTES &&
                  FormQ4_K::BYTES == TILE_Q4_K_BYTES &&
                  FormQ5_K::BYTES == TILE_Q5_K_BYTES &&
                  FormQ6_K::BYTES == TILE_Q6_K_BYTES &&
                  FormFp8::BYTES == TILE_FP8_BYTES,
              "the tiles of tile.cuh");

/* A unit as a lane has it: two row blocks. */
template <class Q> struct QuantSlot {
    uint4 r[2];
    uint32_t sc[2][Q::WORDS > 0 ? Q::WORDS : 1];
};

/* Load unit <u> of the row block at <base> (its first tile) into half <h>. */
template <class Q>
DEV void quant_load(QuantSlot<Q> &s, int h, const char *base, int u, int lane,
                    bool ok)
{
    const char *tile = base + (size_t)(u / Q::UNITS) * Q::BYTES;
    const char *sc = tile + Q::SCALES + u % Q::UNITS * (Q::WORDS * 4 * 8) +
                     (lane >> 2) * (Q::WORDS * 4);

    tile += u % Q::UNITS * 512 + lane * 16;
    s.r[h] = ldg_stream_if(tile, ok);
    if constexpr (Q::WORDS == 0) {
        (void)sc;
    } else if constexpr (Q::WORDS == 1) {
        s.sc[h][0] = ldg_stream4_if(sc, ok);
    } else if constexpr (Q::WORDS == 2) {
        uint2 v = ldg_stream8_if(sc, ok);
        s.sc[h][0] = v.x;
        s.sc[h][1] = v.y;
    } else {
        uint4 v = ldg_stream_if(sc, ok);
        s.sc[h][0] = v.x;
        s.sc[h][1] = v.y;
        s.sc[h][2] = v.z;
        s.sc[h][3] = v.w;
    }
}

/* Word <i> of four. */
DEV uint32_t quant_word(const uint4 &v, int i)
{
    return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

/* Two bytes of <v>, each 128 more than its quant, as halves: 1024 + b - 1152.
 */
template <uint32_t SEL> DEV uint32_t quant_bytes(uint32_t v)
{
    return add_f16x2(prmt(v, 0x64646464u, SEL), 0xe480e480u);
}

/* Operands of the two mma of step <h> of a unit: a[i][..] has the rows g and
 * g + 8 of mma <i>. Its k are 8t + 4i .. 8t + 4i + 3 of the step, but with
 * scales of 16 k 16i + 4t .. 16i + 4t + 3. */
template <class Q>
DEV void quant_rows(const QuantSlot<Q> &s, int h, uint32_t a[2][4])
{
#pragma unroll
    for (int b = 0; b < 2; b++) {
        if constexpr (Q::KIND == QUANT_ROW) {
            uint32_t lo = quant_word(s.r[b], 2 * h);
            uint32_t hi = quant_word(s.r[b], 2 * h + 1);

            a[0][b] = f16x2_of_e4m3x2((uint16_t)lo);
            a[0][b + 2] = f16x2_of_e4m3x2((uint16_t)(lo >> 16));
            a[1][b] = f16x2_of_e4m3x2((uint16_t)hi);
            a[1][b + 2] = f16x2_of_e4m3x2((uint16_t)(hi >> 16));
        } else if constexpr (Q::BITS == 8) {
            uint32_t lo = quant_word(s.r[b], 2 * h);
            uint32_t hi = quant_word(s.r[b], 2 * h + 1);

            a[0][b] = quant_bytes<0x4140>(lo);
            a[0][b + 2] = quant_bytes<0x4342>(lo);
            a[1][b] = quant_bytes<0x4140>(hi);
            a[1][b + 2] = quant_bytes<0x4342>(hi);
        } else {
            /* 1024 + q, and 1024 + 16 q, which is divided by 16 */
            constexpr bool signs = Q::KIND == QUANT_ONE; /* q + 8 is stored */
            uint32_t less = signs ? 0xe408e408u : 0xe400e400u;
            uint32_t less16 = signs ? 0xd480d480u : 0xd400d400u;
            uint32_t v = quant_word(s.r[b], h);
            uint32_t v8 = v >> 8;

            a[0][b] = add_f16x2(and_or<0x000f000f, 0x64006400>(v), less);
            a[0][b + 2] = fma_f16x2(and_or<0x00f000f0, 0x64006400>(v),
                                    0x2c002c00u, less16);
            a[1][b] = add_f16x2(and_or<0x000f000f, 0x64006400>(v8), less);
            a[1][b + 2] = fma_f16x2(and_or<0x00f000f0, 0x64006400>(v8),
                                    0x2c002c00u, less16);
        }
    }
}

/* Scale <i> (0, and 1 where there are two) of step <h>, row block <b>. */
template <class Q>
DEV float quant_scale(const QuantSlot<Q> &s, int b, int h, int i)
{
    uint32_t at = Q::KIND == QUANT_ONE ? (uint32_t)h : (uint32_t)(2 * h + i);
    uint32_t word = s.sc[b][0];

    if constexpr (Q::WORDS > 1)
        word = at / 2 == 1 ? s.sc[b][1] : word;
    if constexpr (Q::WORDS > 2)
        word = at / 2 == 2 ? s.sc[b][2] : at / 2 == 3 ? s.sc[b][3] : word;
    return f32_of_f16((uint16_t)(at % 2 ? word >> 16 : word));
}

/* x of step <h> as the other operand: 16 bytes of a lane, <row> its token's k
 * from the step on. */
template <class Q> DEV uint4 quant_x(const char *row, int t)
{
    if constexpr (Q::KIND == QUANT_HALF) {
        uint2 lo = *(const uint2 *)(row + 8 * t);
        uint2 hi = *(const uint2 *)(row + 32 + 8 * t);

        return make_uint4(lo.x, lo.y, hi.x, hi.y);
    } else {
        return *(const uint4 *)(row + 16 * t);
    }
}

/* Add a step whose scales, and offsets, are in <s>; see quant_step(). */
template <class Q>
DEV void quant_scaled(const QuantSlot<Q> &s, int h, const uint32_t a[2][4],
                      float c[4], const uint4 &b, float2 sums)
{
    float s0 = quant_scale<Q>(s, 0, h, 0), s1 = quant_scale<Q>(s, 1, h, 0);
    float d[4] = {0.f, 0.f, 0.f, 0.f};

    mma_f16(d, a[0], b.x, b.y);
    if constexpr (Q::KIND == QUANT_HALF) {
        float e[4] = {0.f, 0.f, 0.f, 0.f};
        float z0 = quant_scale<Q>(s, 0, h, 1), z1 = quant_scale<Q>(s, 1, h, 1);

        mma_f16(e, a[1], b.z, b.w);
        c[0] = fmaf(z0, e[0], c[0]);
        c[1] = fmaf(z0, e[1], c[1]);
        c[2] = fmaf(z1, e[2], c[2]);
        c[3] = fmaf(z1, e[3], c[3]);
    } else {
        mma_f16(d, a[1], b.z, b.w);
    }
    c[0] = fmaf(s0, d[0], c[0]);
    c[1] = fmaf(s0, d[1], c[1]);
    c[2] = fmaf(s1, d[2], c[2]);
    c[3] = fmaf(s1, d[3], c[3]);
    if constexpr (Q::KIND == QUANT_MIN) {
        float m0 = quant_scale<Q>(s, 0, h, 1), m1 = quant_scale<Q>(s, 1, h, 1);

        c[0] = fmaf(-m0, sums.x, c[0]);
        c[1] = fmaf(-m0, sums.y, c[1]);
        c[2] = fmaf(-m1, sums.x, c[2]);
        c[3] = fmaf(-m1, sums.y, c[3]);
    }
}

/* Add a step to c, of rows g and g + 8 and tokens 2t and 2t + 1, whose sums of
 * x over the step are <sums>. */
template <class Q>
DEV void quant_step(const QuantSlot<Q> &s, int h, const uint32_t a[2][4],
                    float c[4], const uint4 &b, float2 sums)
{
    if constexpr (Q::KIND == QUANT_ROW) {
        mma_f16(c, a[0], b.x, b.y);
        mma_f16(c, a[1], b.z, b.w);
    } else {
        quant_scaled<Q>(s, h, a, c, b, sums);
    }
}

/* The row blocks that are rows g and g + 8 of <tile>: two of one matrix, or one
 * of gate and the same of up. <mat> has w, up, n_out and tile0. */
template <class Q, class M>
DEV void quant_blocks(const M &mat, bool glu, uint32_t tile, uint32_t n_k,
                      const char *base[2])
{
    size_t bytes = (size_t)n_k * Q::BYTES + Q::TAIL;
    uint32_t blocks = (mat.n_out + 7) / 8;
    uint32_t b = tile - mat.tile0;

    if (glu) {
        base[0] = (const char *)mat.w + b * bytes;
        base[1] = (const char *)mat.up + b * bytes;
    } else {
        base[0] = (const char *)mat.w + 2 * b * bytes;
        base[1] = (const char *)mat.w + min(2 * b + 1, blocks - 1) * bytes;
    }
}

/* The scale of row <g> of the row block at <base>, of <n_k> tiles. */
template <class Q>
DEV float quant_row_scale(const char *base, uint32_t n_k, int g)
{
    static_assert(Q::KIND == QUANT_ROW, "others have none");

    return *(const float *)(base + (size_t)n_k * Q::BYTES + g * 4);
}

#endif
