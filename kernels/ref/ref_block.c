/* ref_block.c - Reads the blocks of GGUF: which bits are which element. Values
 * are little-endian. A block of 32: half d, then 32 signed bytes (Q8_0), or 16
 * bytes whose low nibbles are elements 0..15 and high ones 16..31, less 8
 * (Q4_0). K types have 256:
 *
 *   Q4_K  half d, half d_min, 12 bytes of 6-bit scales and minima, 128 bytes:
 *         each 32 hold 64 elements, low nibbles first
 *   Q5_K  as Q4_K with 32 bytes before the nibbles: bit s of byte i is the
 *         fifth bit of element 32 s + i
 *   Q6_K  128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales,
 *         half d; less 32
 *
 * A weight is d * scale * q (Q6_K), d * scale * q - d_min * min (Q4_K, Q5_K):
 * d times a scale is exact in a float, so only the last step rounds. */
#include "kernels/ref/ref.h"

#include <string.h>

#include "kernels/half.h"

enum {
    K_SUBS = 8, /* sub-blocks of 32 in Q4_K and Q5_K */
    K_SCALE_BYTES = 12
};

static uint16_t u16_at(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t u32_at(const uint8_t *p)
{
    return (uint32_t)u16_at(p) | (uint32_t)u16_at(p + 2) << 16;
}

unsigned ref_piece_len(enum krn_dtype t)
{
    size_t block = krn_dtype_block(t);

    return block == 1 ? REF_CUT : (unsigned)block;
}

static void floats_read(enum krn_dtype t, const uint8_t *b,
                        struct ref_piece *out)
{
    for (unsigned i = 0; i < out->n; i++) {
        if (t == KRN_F32)
            out->f[i] = f32_of_bits(u32_at(b + 4 * i));
        else if (t == KRN_F16)
            out->f[i] = f32_of_half(u16_at(b + 2 * i));
        else
            out->f[i] = f32_of_bf16(u16_at(b + 2 * i));
    }
}

static void q8_0_read(const uint8_t *b, struct ref_piece *out)
{
    out->d = f32_of_half(u16_at(b));
    memcpy(out->q, b + 2, 32);
}

static void q4_0_read(const uint8_t *b, struct ref_piece *out)
{
    out->d = f32_of_half(u16_at(b));
    for (unsigned i = 0; i < 16; i++) {
        out->q[i] = (int8_t)((b[2 + i] & 15) - 8);
        out->q[i + 16] = (int8_t)((b[2 + i] >> 4) - 8);
    }
}

/* Scales and minima of Q4_K and Q5_K: the first four of each are the low six
 * bits of bytes 0..3 and 4..7; of the others bytes 8..11 have the low nibbles,
 * and the top bits of bytes 0..7 the rest. */
static void k_scales_read(const uint8_t *s, struct ref_piece *out)
{
    for (unsigned j = 0; j < K_SUBS / 2; j++) {
        out->scale[j] = s[j] & 63;
        out->min[j] = s[j + 4] & 63;
        out->scale[j + 4] = (int16_t)((s[j + 8] & 15) | (s[j] >> 6) << 4);
        out->min[j + 4] = (uint8_t)(s[j + 8] >> 4 | (s[j + 4] >> 6) << 4);
    }
}

static void q4_k_read(const uint8_t *b, struct ref_piece *out)
{
    const uint8_t *q = b + 4 + K_SCALE_BYTES;

    out->d = f32_of_half(u16_at(b));
    out->d_min = f32_of_half(u16_at(b + 2));
    k_scales_read(b + 4, out);
    for (unsigned i = 0; i < REF_CUT; i++)
        out->q[i] = (int8_t)(q[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15);
}

static void q5_k_read(const uint8_t *b, struct ref_piece *out)
{
    const uint8_t *high = b + 4 + K_SCALE_BYTES;
    const uint8_t *q = high + 32;

    out->d = f32_of_half(u16_at(b));
    out->d_min = f32_of_half(u16_at(b + 2));
    k_scales_read(b + 4, out);
    for (unsigned i = 0; i < REF_CUT; i++) {
        unsigned low = q[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15U;

        out->q[i] = (int8_t)(low | (high[i % 32] >> (i / 32) & 1U) << 4);
    }
}

static void q6_k_read(const uint8_t *b, struct ref_piece *out)
{
    const uint8_t *low = b;
    const uint8_t *high = b + 128;
    const uint8_t *scale = b + 192;

    out->d = f32_of_half(u16_at(b + 208));
    for (unsigned i = 0; i < REF_SCALES; i++)
        out->scale[i] = (int8_t)scale[i];
    for (unsigned i = 0; i < REF_CUT; i++) {
        unsigned half = i / 128;
        unsigned at = i % 128;
        unsigned l = low[half * 64 + at % 64] >> (at / 64 * 4) & 15U;
        unsigned h = high[half * 32 + at % 32] >> (at / 32 * 2) & 3U;

        out->q[i] = (int8_t)((int)(l | h << 4) - 32);
    }
}

void ref_piece_read(enum krn_dtype t, const void *row, size_t n_in, size_t at,
                    struct ref_piece *out)
{
    const uint8_t *b = row;
    unsigned len = ref_piece_len(t);

    out->n = n_in - at < len ? (unsigned)(n_in - at) : len;
    b += at / krn_dtype_block(t) * krn_dtype_bytes(t);
    if (t == KRN_Q8_0)
        q8_0_read(b, out);
    else if (t == KRN_Q4_0)
        q4_0_read(b, out);
    else if (t == KRN_Q4_K)
        q4_k_read(b, out);
    else if (t == KRN_Q5_K)
        q5_k_read(b, out);
    else if (t == KRN_Q6_K)
        q6_k_read(b, out);
    else
        floats_read(t, b, out);
}

void ref_piece_widen(enum krn_dtype t, const struct ref_piece *p, float *y)
{
    for (unsigned i = 0; i < p->n; i++) {
        float q = (float)p->q[i];

        if (t == KRN_Q8_0 || t == KRN_Q4_0)
            y[i] = q * p->d;
        else if (t == KRN_Q4_K || t == KRN_Q5_K)
            y[i] = p->d * (float)p->scale[i / 32] * q -
                   p->d_min * (float)p->min[i / 32];
        else if (t == KRN_Q6_K)
            y[i] = p->d * (float)p->scale[i / 16] * q;
        else
            y[i] = p->f[i];
    }
}
