/* pack.h - How a matrix of a file becomes one of the device: which form it is
 * kept in, how many bytes that takes, and the bytes themselves, some rows at a
 * time. Pure functions of the host; the forms are those of tile.cuh. */
#ifndef TG_KERNELS_CUDA_PACK_H
#define TG_KERNELS_CUDA_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/krn.h"

/* The type that a matrix of type <t> is kept in where activations are <act>.
 * Quantised types stay what they are. Floats become the activations' type where
 * that loses nothing or next to nothing: all for F32; BF16 and F32, rounded,
 * for F16; F32, rounded, for BF16. F16 stays F16 beside BF16. */
enum krn_dtype pack_kept(enum krn_dtype t, enum krn_dtype act);

/* Whether a matrix of type <t> with rows of <n_in> can be kept as KRN_FP8: all
 * floats, where products read whole eights. */
bool pack_fits_fp8(enum krn_dtype t, size_t n_in);

/* Whether <kept> is kept as tiles, and not as rows of numbers. */
bool pack_is_tiles(enum krn_dtype kept);

/* Rows that are packed together, 8 or 1, and the bytes they take, of a matrix
 * with rows of <n_in>. */
unsigned pack_unit_rows(enum krn_dtype kept);
size_t pack_unit_bytes(enum krn_dtype kept, size_t n_in);

/* Pack units <from> .. <from> + <n> - 1 of the (n_out, n_in) matrix <rows>, of
 * type <t> as a file has it, to <out> (n units). What is beyond the matrix
 * becomes 0. KRN_FP8: a row's scale is its largest element / 448; a row whose
 * elements are all below 2^-100 becomes zeros of scale 0, as does NaN. */
void pack_units(enum krn_dtype t, enum krn_dtype kept, size_t n_out,
                size_t n_in, const void *rows, size_t from, size_t n,
                void *out);

#endif
