/* gcheck.h - Comparing what a device gave with what exact arithmetic gives, and
 * numbers as the device keeps them. */
#ifndef TG_TESTS_KERNELS_GCHECK_H
#define TG_TESTS_KERNELS_GCHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/krn.h"

/* How far an output may be off: kernels/cuda/tolerance.h. */
struct gcheck_tol {
    double rtol;
    double atol;
    double nmse;
};

/* What a norm, a rotation or the like is allowed when written as <t>, F32, F16
 * or BF16. */
struct gcheck_tol gcheck_rows(enum krn_dtype t);

/* An output: <rows> rows of <n> elements of type <t>, <ld> elements apart. */
struct gcheck_out {
    enum krn_dtype t;
    const void *p;
    size_t rows, n, ld;
};

/* Whether <o> lies within <tol> of <want> (rows, n). Prints <what>, and the
 * first element that does not with both values, or the NMSE. NaN is within
 * nothing; an infinity only of itself. */
bool gcheck_near(const char *what, struct gcheck_out o, const double *want,
                 struct gcheck_tol tol);

/* Whether <bytes> bytes are the same; prints the first that is not. */
bool gcheck_same(const char *what, const void *a, const void *b, size_t bytes);

/* Element <i> of <p> (F32, F16 or BF16) as a number. */
double gcheck_get(enum krn_dtype t, const void *p, size_t i);

/* Make element <i> of <p> the number nearest to <v>; F16 stays at 65504. */
void gcheck_set(enum krn_dtype t, void *p, size_t i, double v);

/* <v> as the type has it. */
double gcheck_round(enum krn_dtype t, double v);

/* Bytes of an element. */
size_t gcheck_size(enum krn_dtype t);

#endif
