/* rfix.h - Contexts to compare, and comparing bit by bit. */
#ifndef TG_TESTS_KERNELS_RFIX_H
#define TG_TESTS_KERNELS_RFIX_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/krn.h"

/* The scalar context and the fast ones that this machine can run. */
struct rfix {
    struct krn_ctx *ref;
    struct krn_ctx *fast[4]; /* by instruction set, with 1 and 2 threads */
    unsigned n_fast;
};

/* Open them; the test fails when one that must be there is not. */
void rfix_open(struct rfix *f);
void rfix_close(struct rfix *f);

/* Whether <n> floats are the same bit by bit, any NaN like any other; prints
 * the first that is not. */
bool rfix_same(const float *a, const float *b, size_t n);

#endif
