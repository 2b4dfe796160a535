/* tfix.h - What the elements of matrices are worth as a device keeps them, read
 * from packed bytes by formulas over the place of an element. */
#ifndef TG_TESTS_KERNELS_TFIX_H
#define TG_TESTS_KERNELS_TFIX_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/krn.h"

/* The bytes that pack_units() makes of the (n_out, n_in) matrix <rows>, packed
 * <once> units at a time, 0 = all at once. Freed by the caller. */
uint8_t *tfix_packed(enum krn_dtype t, enum krn_dtype kept, size_t n_out,
                     size_t n_in, const void *rows, size_t once,
                     size_t *bytes_out);

/* What the e4m3 <code> is worth, which is no NaN. */
double tfix_e4m3(unsigned code);

/* Element <k> of row <row> of packed bytes with rows of <n_in>. */
double tfix_worth(enum krn_dtype kept, const uint8_t *packed, size_t n_in,
                  size_t row, size_t k);

/* All elements (n_out, n_in) as <kept>. Freed by the caller. */
double *tfix_kept_as(enum krn_dtype t, enum krn_dtype kept, size_t n_out,
                     size_t n_in, const void *rows);

/* All elements (n_out, n_in) as kept beside activations of <act>. Freed by the
 * caller. */
double *tfix_kept(enum krn_dtype t, enum krn_dtype act, size_t n_out,
                  size_t n_in, const void *rows);

#endif
