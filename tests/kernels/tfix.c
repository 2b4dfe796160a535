/* tfix.c - Reads packed matrices one element at a time. */
#include "kernels/tfix.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/pack.h"
#include "kernels/cuda/tile.cuh"
#include "kernels/half.h"

uint8_t *tfix_packed(enum krn_dtype t, enum krn_dtype kept, size_t n_out,
                     size_t n_in, const void *rows, size_t once,
                     size_t *bytes_out)
{
    size_t unit = pack_unit_bytes(kept, n_in);
    size_t units = (n_out + pack_unit_rows(kept) - 1) / pack_unit_rows(kept);
    uint8_t *p = malloc(units * unit);

    if (!p)
        abort();
    memset(p, 0xff, units * unit);
    for (size_t at = 0, n; at < units; at += n) {
        n = once == 0 || units - at < once ? units - at : once;
        pack_units(t, kept, n_out, n_in, rows, at, n, p + at * unit);
    }
    *bytes_out = units * unit;
    return p;
}

static double half_at(const uint8_t *p)
{
    return f32_of_half((uint16_t)(p[0] | p[1] << 8));
}

static double float_worth(enum krn_dtype kept, const uint8_t *p, size_t at)
{
    float f;

    if (kept == KRN_F32) {
        memcpy(&f, p + 4 * at, 4);
        return f;
    }
    if (kept == KRN_F16)
        return half_at(p + 2 * at);
    return f32_of_bf16((uint16_t)(p[2 * at] | p[2 * at + 1] << 8));
}

/* The byte of k <k> of row <g>: 16 bytes a lane, lanes 4g .. 4g+3. */
static int byte_at(const uint8_t *tile, size_t g, size_t k, int apart)
{
    size_t step = k / 32, in = k % 32;
    size_t lane = apart ? in % 16 / 4 : in / 8;
    size_t byte = apart ? in / 16 * 4 + in % 4 : in % 8;

    return tile[step / 2 * 512 + g * 64 + lane * 16 + step % 2 * 8 + byte] -
           128;
}

static int nibble_at(const uint8_t *tile, size_t g, size_t k)
{
    size_t step = k / 32, lane = k % 32 / 8, number = k % 8;
    const uint8_t *word =
        tile + step / 4 * 512 + g * 64 + lane * 16 + step % 4 * 4;
    size_t nibble = number / 2 + number % 2 * 4;

    return word[nibble / 2] >> (nibble % 2 * 4) & 15;
}

double tfix_e4m3(unsigned code)
{
    int e = (int)(code >> 3 & 15);
    double v = e > 0 ? ldexp(8 + (code & 7), e - 10) : ldexp(code & 7, -9);

    return code & 0x80 ? -v : v;
}

/* Scales of 8 rows lie behind the tiles of a row block. */
static double fp8_worth(const uint8_t *packed, size_t n_in, size_t row,
                        size_t k)
{
    size_t tiles = (n_in + 255) / 256 * 2048;
    const uint8_t *block = packed + row / 8 * (tiles + 128);
    float scale;

    memcpy(&scale, block + tiles + row % 8 * 4, 4);
    return (double)scale * tfix_e4m3((unsigned)(byte_at(block + k / 256 * 2048,
                                                        row % 8, k % 256, 0) +
                                                128));
}

double tfix_worth(enum krn_dtype kept, const uint8_t *packed, size_t n_in,
                  size_t row, size_t k)
{
    const uint8_t *tile = packed;
    size_t g = row % 8, at = k % 256, step = at / 32;
    size_t steps = kept == KRN_Q4_0 || kept == KRN_Q4_K ? 4 : 2; /* a load */
    size_t place = step / steps * 8 * steps + g * steps + step % steps;

    if (kept == KRN_FP8)
        return fp8_worth(packed, n_in, row, k);
    if (!pack_is_tiles(kept))
        return float_worth(kept, packed, row * n_in + k);
    tile += row / 8 * pack_unit_bytes(kept, n_in);
    tile += k / 256 * pack_unit_bytes(kept, 256);
    switch (kept) {
    case KRN_Q8_0:
        return byte_at(tile, g, at, 0) * half_at(tile + 2048 + 2 * place);
    case KRN_Q4_0:
        return (nibble_at(tile, g, at) - 8) * half_at(tile + 1024 + 2 * place);
    case KRN_Q4_K:
        return nibble_at(tile, g, at) * half_at(tile + 1024 + 4 * place) -
               half_at(tile + 1024 + 4 * place + 2);
    case KRN_Q5_K:
        return byte_at(tile, g, at, 0) * half_at(tile + 2048 + 4 * place) -
               half_at(tile + 2048 + 4 * place + 2);
    default:
        return byte_at(tile, g, at, 1) *
               half_at(tile + 2048 + 4 * place + at % 32 / 16 * 2);
    }
}

double *tfix_kept_as(enum krn_dtype t, enum krn_dtype kept, size_t n_out,
                     size_t n_in, const void *rows)
{
    size_t bytes;
    uint8_t *p = tfix_packed(t, kept, n_out, n_in, rows, 0, &bytes);
    double *w = malloc(n_out * n_in * sizeof(*w));

    if (!w)
        abort();
    for (size_t i = 0; i < n_out * n_in; i++)
        w[i] = tfix_worth(kept, p, n_in, i / n_in, i % n_in);
    free(p);
    return w;
}

double *tfix_kept(enum krn_dtype t, enum krn_dtype act, size_t n_out,
                  size_t n_in, const void *rows)
{
    return tfix_kept_as(t, pack_kept(t, act), n_out, n_in, rows);
}
