/* kfix.h - Random matrices in each of GGUF's types and what their elements are
 * worth, worked out apart from the code under test. */
#ifndef TG_TESTS_KERNELS_KFIX_H
#define TG_TESTS_KERNELS_KFIX_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/krn.h"

/* The next number of the sequence <state> (not 0). */
uint64_t kfix_next(uint64_t *state);

/* Near normal, mean 0, deviation about 1. */
float kfix_normal(uint64_t *state);

/* Bytes of a row of <n_in>. */
size_t kfix_row_bytes(enum krn_dtype t, size_t n_in);

/* Rows of <n_in> random elements of about 1/20, as a file has them; every bit
 * of a block's integers and scales is random. Freed by the caller. */
void *kfix_rows(enum krn_dtype t, size_t n_out, size_t n_in, uint64_t *state);

/* What the elements of one row are worth. */
void kfix_widen(enum krn_dtype t, const void *row, size_t n_in, double *out);

/* <m> rows of activations, <ldx> floats apart, of <n_in>: now and then a large
 * one, and a block of zeros. Freed by the caller. */
float *kfix_x(size_t m, size_t n_in, size_t ldx, uint64_t *state);

#endif
