/* krn_random.c - Random weights on the host: rows as a file would have them, of
 * the numbers that kernels/cuda/random.h decides, so that a seed gives the same
 * matrix on every device. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/random.h"
#include "kernels/half.h"
#include "kernels/krn_priv.h"

enum {
    EIGHT = 8,
    BLOCK_MAX = 256, /* elements of a block */
    K_SCALES = 12,   /* bytes of scales of Q4_K and Q5_K */
    Q6_SCALES = 16,
};

static void put_half(uint8_t *at, float v)
{
    const uint16_t half = half_of_f32(v);

    memcpy(at, &half, sizeof(half));
}

/* What d is worth as a half, and that half to <at>. */
static float put_scale(uint8_t *at, float v)
{
    put_half(at, v);
    return f32_of_half(half_of_f32(v));
}

/* Eight sub-blocks of the same scale and minimum, in six bits each. */
static void put_k_scales(uint8_t *at, unsigned scale, unsigned min)
{
    for (unsigned j = 0; j < 4; j++) {
        at[j] = (uint8_t)(scale | scale >> 4 << 6);
        at[4 + j] = (uint8_t)(min | min >> 4 << 6);
        at[8 + j] = (uint8_t)((scale & 15) | (min & 15) << 4);
    }
}

/* Nibbles of Q4_K and Q5_K: of 64 elements the first 32 are low ones. */
static void put_k_nibbles(uint8_t *at, const uint8_t *q)
{
    for (unsigned i = 0; i < BLOCK_MAX; i += 64)
        for (unsigned j = 0; j < 32; j++)
            at[i / 2 + j] =
                (uint8_t)((q[i + j] & 15) | (q[i + 32 + j] & 15) << 4);
}

static void put_q5_k(uint8_t *at, const uint8_t *q, float scale)
{
    const float d = put_scale(at, scale * RANDOM_Q5_K);

    put_half(at + 2, d * RANDOM_Q5_K_D);
    put_k_scales(at + 4, RANDOM_K_SCALE, RANDOM_Q5_K_MIN);
    memset(at + 16, 0, 32);
    for (unsigned i = 0; i < BLOCK_MAX; i++)
        at[16 + i % 32] |= (uint8_t)((q[i] >> 4 & 1) << i / 32);
    put_k_nibbles(at + 48, q);
}

static void put_q6_k(uint8_t *at, const uint8_t *q, float scale)
{
    for (unsigned half = 0; half < 2; half++) {
        const uint8_t *from = q + 128 * half;

        for (unsigned l = 0; l < 64; l++)
            at[64 * half + l] =
                (uint8_t)((from[l] & 15) | (from[l + 64] & 15) << 4);
        for (unsigned l = 0; l < 32; l++)
            at[128 + 32 * half + l] =
                (uint8_t)((from[l] >> 4 & 3) | (from[l + 32] >> 4 & 3) << 2 |
                          (from[l + 64] >> 4 & 3) << 4 |
                          (from[l + 96] >> 4 & 3) << 6);
    }
    memset(at + 192, RANDOM_Q6_K_SCALE, Q6_SCALES);
    put_half(at + 208, scale * RANDOM_Q6_K);
}

/* The block of <t> whose elements have the bytes <q>; <scale> is the deviation
 * of an element. */
static void put_block(enum krn_dtype t, const uint8_t *q, float scale,
                      uint8_t *at)
{
    float v = random_float(q[0]) * scale;
    uint16_t half;

    switch (t) {
    case KRN_F32:
        memcpy(at, &v, sizeof(v));
        return;
    case KRN_F16:
        put_half(at, v);
        return;
    case KRN_BF16:
        half = bf16_of_f32(v);
        memcpy(at, &half, sizeof(half));
        return;
    case KRN_Q8_0:
        put_half(at, scale * RANDOM_Q8_0);
        for (unsigned i = 0; i < 32; i++)
            at[2 + i] = q[i] ^ 0x80;
        return;
    case KRN_Q4_0:
        put_half(at, scale * RANDOM_Q4_0);
        for (unsigned i = 0; i < 16; i++)
            at[2 + i] = (uint8_t)((q[i] & 15) | (q[16 + i] & 15) << 4);
        return;
    case KRN_Q4_K:
        v = put_scale(at, scale * RANDOM_Q4_K);
        put_half(at + 2, v * RANDOM_Q4_K_D);
        put_k_scales(at + 4, RANDOM_K_SCALE, RANDOM_Q4_K_MIN);
        put_k_nibbles(at + 16, q);
        return;
    case KRN_Q5_K:
        put_q5_k(at, q, scale);
        return;
    default:
        put_q6_k(at, q, scale);
        return;
    }
}

/* Row <row> of <n_in> elements. */
static void put_row(enum krn_dtype t, uint64_t seed, size_t row, size_t n_in,
                    float scale, uint8_t *to)
{
    const size_t block = krn_dtype_block(t);
    uint8_t q[BLOCK_MAX];

    for (size_t at = 0; at < n_in; at += block) {
        for (size_t i = 0; i < block; i++)
            q[i] = (uint8_t)(random_eight(seed, row, (at + i) / EIGHT) >>
                             8 * ((at + i) % EIGHT));
        put_block(t, q, scale, to);
        to += krn_dtype_bytes(t);
    }
}

enum krn_status krn_host_weight_random(struct krn_ctx *c, enum krn_dtype t,
                                       size_t n_out, size_t n_in, uint64_t seed,
                                       struct krn_weight **out)
{
    const size_t row_bytes = n_in / krn_dtype_block(t) * krn_dtype_bytes(t);
    const float scale = 1.F / sqrtf((float)n_in);
    uint8_t *rows;
    enum krn_status st;
    size_t bytes;

    if (__builtin_mul_overflow(row_bytes, n_out, &bytes))
        return KRN_NOMEM;
    rows = malloc(bytes);
    if (!rows)
        return KRN_NOMEM;
    for (size_t i = 0; i < n_out; i++)
        put_row(t, seed, i, n_in, scale, rows + i * row_bytes);
    st = c->dev->weight_load(c, t, n_out, n_in, rows, out);
    free(rows);
    return st;
}
