/* pack.c - From the blocks of a file to rows and tiles of the device. */
#include "kernels/cuda/pack.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/cuda/e4m3.h"
#include "kernels/cuda/tile.cuh"
#include "kernels/half.h"
#include "kernels/ref/ref.h"

enum {
    LOAD_BYTES = 512, /* what a warp reads at once */
};

enum krn_dtype pack_kept(enum krn_dtype t, enum krn_dtype act)
{
    if (pack_is_tiles(t) || (t == KRN_F16 && act == KRN_BF16))
        return t;
    return act;
}

bool pack_fits_fp8(enum krn_dtype t, size_t n_in)
{
    return !pack_is_tiles(t) && n_in % 8 == 0;
}

bool pack_is_tiles(enum krn_dtype kept)
{
    return kept >= KRN_Q8_0;
}

unsigned pack_unit_rows(enum krn_dtype kept)
{
    return pack_is_tiles(kept) ? TILE_ROWS : 1;
}

static size_t tile_bytes(enum krn_dtype kept)
{
    switch (kept) {
    case KRN_Q8_0:
        return TILE_Q8_0_BYTES;
    case KRN_Q4_0:
        return TILE_Q4_0_BYTES;
    case KRN_Q4_K:
        return TILE_Q4_K_BYTES;
    case KRN_Q5_K:
        return TILE_Q5_K_BYTES;
    case KRN_FP8:
        return TILE_FP8_BYTES;
    default:
        return TILE_Q6_K_BYTES;
    }
}

size_t pack_unit_bytes(enum krn_dtype kept, size_t n_in)
{
    if (!pack_is_tiles(kept))
        return n_in * krn_dtype_bytes(kept);
    return (n_in + TILE_K - 1) / TILE_K * tile_bytes(kept) +
           (kept == KRN_FP8 ? TILE_FP8_TAIL : 0);
}

/* --- rows of numbers ------------------------------------------------------ */

static uint16_t half_saturated(float f)
{
    return half_of_f32(f > 65504.F ? 65504.F : f < -65504.F ? -65504.F : f);
}

/* The elements of one row, as another type. */
static void row_convert(enum krn_dtype t, enum krn_dtype kept, size_t n_in,
                        const void *row, uint8_t *out)
{
    struct ref_piece p;

    for (size_t at = 0; at < n_in; at += p.n) {
        uint16_t h[REF_CUT];

        ref_piece_read(t, row, n_in, at, &p);
        if (kept == KRN_F32) {
            memcpy(out + at * 4, p.f, p.n * 4);
            continue;
        }
        for (unsigned i = 0; i < p.n; i++)
            h[i] =
                kept == KRN_F16 ? half_saturated(p.f[i]) : bf16_of_f32(p.f[i]);
        memcpy(out + at * 2, h, p.n * 2);
    }
}

/* --- tiles -----------------------------------------------------------------
 */

static void u16_put(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

/* The 32 quants <q> of step <s> of row <g>, as bytes. <apart>: four k of either
 * half of the step a lane, and not eight in a row. */
static void bytes_put(uint8_t *tile, unsigned g, unsigned s, const int8_t *q,
                      bool apart)
{
    uint8_t *at = tile + s / 2 * LOAD_BYTES + 64 * (size_t)g + s % 2 * 8;

    for (unsigned i = 0; i < TILE_STEP; i++) {
        uint8_t v = (uint8_t)(q[i] + 128);

        if (apart)
            at[i % 16 / 4 * 16 + i / 16 * 4 + i % 4] = v;
        else
            at[i / 8 * 16 + i % 8] = v;
    }
}

/* Likewise as nibbles, of <q> + <off>. */
static void nibbles_put(uint8_t *tile, unsigned g, unsigned s, const int8_t *q,
                        int off)
{
    uint8_t *at = tile + s / 4 * LOAD_BYTES + 64 * (size_t)g + s % 4 * 4;

    for (unsigned t = 0; t < 4; t++) {
        const int8_t *of = q + 8 * (size_t)t;
        uint8_t *word = at + 16 * (size_t)t;

        for (unsigned i = 0; i < 2; i++) { /* number 2p is nibble p */
            word[i] = (uint8_t)((of[4 * i] + off) | (of[4 * i + 2] + off) << 4);
            word[i + 2] =
                (uint8_t)((of[4 * i + 1] + off) | (of[4 * i + 3] + off) << 4);
        }
    }
}

/* Step <s> of row <g> from 32 elements of <p> from <at> on. */
static void step_put(enum krn_dtype t, uint8_t *tile, unsigned g, unsigned s,
                     const struct ref_piece *p, unsigned at)
{
    const int8_t *q = p->q + at;
    unsigned sub = at / TILE_STEP;
    size_t place = t == KRN_Q4_0 || t == KRN_Q4_K
                       ? TILE_PLACE(TILE_LOAD_4, g, s)
                       : TILE_PLACE(TILE_LOAD_8, g, s);

    if (t == KRN_Q8_0) {
        bytes_put(tile, g, s, q, false);
        u16_put(tile + TILE_Q8_0_SCALES + place * 2, half_of_f32(p->d));
    } else if (t == KRN_Q4_0) {
        nibbles_put(tile, g, s, q, 8);
        u16_put(tile + TILE_Q4_0_SCALES + place * 2, half_of_f32(p->d));
    } else if (t == KRN_Q6_K) {
        uint8_t *scales = tile + TILE_Q6_K_SCALES + place * 4;
        size_t pair = at / REF_SCALE;

        bytes_put(tile, g, s, q, true);
        u16_put(scales, half_of_f32(p->d * (float)p->scale[pair]));
        u16_put(scales + 2, half_of_f32(p->d * (float)p->scale[pair + 1]));
    } else {
        uint8_t *scales =
            tile + (t == KRN_Q4_K ? TILE_Q4_K_SCALES : TILE_Q5_K_SCALES) +
            place * 4;

        if (t == KRN_Q4_K)
            nibbles_put(tile, g, s, q, 0);
        else
            bytes_put(tile, g, s, q, false);
        u16_put(scales, half_of_f32(p->d * (float)p->scale[sub]));
        u16_put(scales + 2, half_of_f32(p->d_min * (float)p->min[sub]));
    }
}

/* The tiles of one row block from its <n> rows, <row_bytes> apart. */
static void block_put(enum krn_dtype t, size_t n_in, const uint8_t *rows,
                      size_t row_bytes, size_t n, uint8_t *out)
{
    size_t bytes = tile_bytes(t);
    unsigned len = ref_piece_len(t);

    memset(out, 0, pack_unit_bytes(t, n_in));
    for (unsigned g = 0; g < n; g++)
        for (size_t at = 0; at < n_in; at += len) {
            struct ref_piece p;

            ref_piece_read(t, rows + g * row_bytes, n_in, at, &p);
            for (unsigned i = 0; i < p.n; i += TILE_STEP)
                step_put(t, out + (at + i) / TILE_K * bytes, g,
                         (unsigned)((at + i) % TILE_K / TILE_STEP), &p, i);
        }
}

/* --- e4m3 ------------------------------------------------------------------
 */

/* The scale of a row; 0 for one of zeros. */
static float fp8_scale(enum krn_dtype t, size_t n_in, const void *row)
{
    float most = 0;
    struct ref_piece p;

    for (size_t at = 0; at < n_in; at += p.n) {
        ref_piece_read(t, row, n_in, at, &p);
        for (unsigned i = 0; i < p.n; i++) {
            float v = fabsf(p.f[i]);

            most = v > most ? v : most; /* never NaN */
        }
    }
    most = most > FLT_MAX ? FLT_MAX : most;
    return most < 0x1p-100F ? 0 : most / E4M3_MAX;
}

/* Row <g> of a row block that has been cleared, with its scale. */
static void fp8_row_put(enum krn_dtype t, size_t n_in, const void *row,
                        unsigned g, uint8_t *out)
{
    float scale = fp8_scale(t, n_in, row), by = scale > 0 ? 1 / scale : 0;
    size_t tiles = (n_in + TILE_K - 1) / TILE_K * TILE_FP8_BYTES;
    struct ref_piece p;

    memcpy(out + tiles + g * sizeof(scale), &scale, sizeof(scale));
    for (size_t at = 0; scale > 0 && at < n_in; at += p.n) {
        ref_piece_read(t, row, n_in, at, &p);
        for (unsigned i = 0; i < p.n; i++) {
            size_t k = at + i, step = k % TILE_K / TILE_STEP;

            out[k / TILE_K * TILE_FP8_BYTES + step / 2 * LOAD_BYTES +
                64 * (size_t)g + k % TILE_STEP / 8 * 16 + step % 2 * 8 +
                k % 8] = e4m3_of_f32(p.f[i] * by);
        }
    }
}

/* The tiles of one row block, as block_put(). */
static void fp8_block_put(enum krn_dtype t, size_t n_in, const uint8_t *rows,
                          size_t row_bytes, size_t n, uint8_t *out)
{
    memset(out, 0, pack_unit_bytes(KRN_FP8, n_in));
    for (unsigned g = 0; g < n; g++)
        fp8_row_put(t, n_in, rows + g * row_bytes, g, out);
}

void pack_units(enum krn_dtype t, enum krn_dtype kept, size_t n_out,
                size_t n_in, const void *rows, size_t from, size_t n, void *out)
{
    size_t row_bytes = n_in / krn_dtype_block(t) * krn_dtype_bytes(t);
    size_t unit_bytes = pack_unit_bytes(kept, n_in);
    const uint8_t *at = rows;
    uint8_t *to = out;

    if (!pack_is_tiles(kept) && t == kept) {
        memcpy(to, at + from * row_bytes, n * unit_bytes);
        return;
    }
    for (size_t i = from; i < from + n; i++, to += unit_bytes) {
        size_t row = i * pack_unit_rows(kept);
        size_t have = n_out - row < TILE_ROWS ? n_out - row : TILE_ROWS;

        if (!pack_is_tiles(kept))
            row_convert(t, kept, n_in, at + row * row_bytes, to);
        else if (kept == KRN_FP8)
            fp8_block_put(t, n_in, at + row * row_bytes, row_bytes, have, to);
        else
            block_put(t, n_in, at + row * row_bytes, row_bytes, have, to);
    }
}
