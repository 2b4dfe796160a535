/* kfix.c - Random matrices, and a reading of their blocks by formulas over the
 * index of an element. */
#include "kernels/kfix.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

uint64_t kfix_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

float kfix_normal(uint64_t *state)
{
    float s = 0;

    for (int i = 0; i < 4; i++)
        s += (float)(kfix_next(state) >> 40) * 0x1p-24F - 0.5F;
    return s * 1.7F;
}

size_t kfix_row_bytes(enum krn_dtype t, size_t n_in)
{
    return n_in / krn_dtype_block(t) * krn_dtype_bytes(t);
}

/* A half by division, slowly: sign, exponent, fraction. */
static double half_worth(const uint8_t *p)
{
    unsigned h = p[0] + 256U * p[1];
    double f = h % 1024;
    int e = (int)(h / 1024 % 32);
    double mag = e == 0 ? ldexp(f, -24) : ldexp(1024 + f, e - 25);

    return h >= 32768 ? -mag : mag;
}

/* A half of about <mag> with random low bits; never infinite. */
static void half_put(uint8_t *p, double mag, uint64_t *state)
{
    int e = 0;
    double f = frexp(mag, &e);
    unsigned h = (unsigned)((e + 14) << 10) | (unsigned)((f * 2 - 1) * 1024);

    h ^= (unsigned)(kfix_next(state) >> 20) & 0x801fU;
    p[0] = (uint8_t)h;
    p[1] = (uint8_t)(h >> 8);
}

static void bytes_put(uint8_t *p, size_t n, uint64_t *state)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(kfix_next(state) >> 33);
}

static void block_put(enum krn_dtype t, uint8_t *b, uint64_t *state)
{
    float f;

    bytes_put(b, krn_dtype_bytes(t), state);
    switch (t) {
    case KRN_F32:
        f = kfix_normal(state) * 0.05F;
        memcpy(b, &f, 4);
        break;
    case KRN_F16:
        half_put(b, 0.04, state);
        break;
    case KRN_BF16:
        f = kfix_normal(state) * 0.05F;
        memcpy(b, (uint8_t *)&f + 2, 2);
        break;
    case KRN_Q8_0:
        half_put(b, 0.0008, state);
        break;
    case KRN_Q4_0:
        half_put(b, 0.01, state);
        break;
    case KRN_Q4_K:
    case KRN_Q5_K:
        half_put(b, 0.0003, state);
        half_put(b + 2, 0.001, state);
        break;
    default:
        half_put(b + 208, 0.00004, state);
        break;
    }
}

void *kfix_rows(enum krn_dtype t, size_t n_out, size_t n_in, uint64_t *state)
{
    size_t bytes = krn_dtype_bytes(t);
    size_t blocks = n_out * (n_in / krn_dtype_block(t));
    uint8_t *rows = malloc(blocks * bytes);

    for (size_t i = 0; rows && i < blocks; i++)
        block_put(t, rows + i * bytes, state);
    return rows;
}

/* Six bits of the scales of Q4_K and Q5_K: <at> 0..7 are scales, 8..15 minima.
 * As a string of bits: the first four of each whole, of the others the low
 * nibble and the high two bits apart. */
static unsigned six_bits(const uint8_t *s, unsigned at)
{
    unsigned is_min = at / 8;
    unsigned j = at % 8;

    if (j < 4)
        return s[j + 4 * is_min] % 64U;
    return s[j + 4] / (is_min ? 16U : 1U) % 16U +
           s[j - 4 + 4 * is_min] / 64U * 16U;
}

static double k_worth(enum krn_dtype t, const uint8_t *b, unsigned i)
{
    unsigned sub = i / 32;
    const uint8_t *q = b + (t == KRN_Q4_K ? 16 : 48);
    unsigned v = q[sub / 2 * 32 + i % 32];

    v = sub % 2 ? v / 16 : v % 16;
    if (t == KRN_Q5_K && (b[16 + i % 32] & 1U << sub) != 0)
        v += 16;
    return half_worth(b) * six_bits(b + 4, sub) * v -
           half_worth(b + 2) * six_bits(b + 4, sub + 8);
}

static double q6_worth(const uint8_t *b, unsigned i)
{
    unsigned l = i % 32;
    unsigned quarter = i / 32 % 4; /* of the half that i is in */
    unsigned low = b[i / 128 * 64 + quarter % 2 * 32 + l];
    unsigned high = b[128 + i / 128 * 32 + l];
    unsigned shift[] = {1, 4, 16, 64};
    int scale = b[192 + i / 16];

    low = quarter < 2 ? low % 16 : low / 16;
    high = high / shift[quarter] % 4;
    scale = scale > 127 ? scale - 256 : scale;
    return half_worth(b + 208) * scale * ((double)(low + 16 * high) - 32);
}

static double worth(enum krn_dtype t, const uint8_t *b, unsigned i)
{
    float f = 0;
    unsigned nibble;

    switch (t) {
    case KRN_F32:
        memcpy(&f, b, 4);
        return f;
    case KRN_F16:
        return half_worth(b);
    case KRN_BF16:
        memcpy((uint8_t *)&f + 2, b, 2);
        return f;
    case KRN_Q8_0:
        return half_worth(b) * (b[2 + i] > 127 ? b[2 + i] - 256 : b[2 + i]);
    case KRN_Q4_0:
        nibble = i < 16 ? b[2 + i] % 16U : b[2 + i - 16] / 16U;
        return half_worth(b) * ((double)nibble - 8);
    case KRN_Q6_K:
        return q6_worth(b, i);
    default:
        return k_worth(t, b, i);
    }
}

void kfix_widen(enum krn_dtype t, const void *row, size_t n_in, double *out)
{
    size_t block = krn_dtype_block(t);
    const uint8_t *b = row;

    for (size_t i = 0; i < n_in; i++)
        out[i] =
            worth(t, b + i / block * krn_dtype_bytes(t), (unsigned)(i % block));
}

float *kfix_x(size_t m, size_t n_in, size_t ldx, uint64_t *state)
{
    float *x = malloc(m * ldx * sizeof(*x));

    for (size_t i = 0; x && i < m * ldx; i++)
        x[i] = kfix_normal(state) * (kfix_next(state) % 97 == 0 ? 8.0F : 1.0F);
    for (size_t i = 0; x && i < 64 && i < n_in; i++)
        x[m / 2 * ldx + i] = 0;
    return x;
}
