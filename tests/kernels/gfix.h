/* gfix.h - The GPU of a test program: the emulated one, or with TG_TEST_GPU in
 * the environment a real one. main() calls fakecuda_use() first (fakecuda.h).
 * What fails here fails the test. */
#ifndef TG_TESTS_KERNELS_GFIX_H
#define TG_TESTS_KERNELS_GFIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/krn.h"

/* A context of "cuda:0", not deterministic. krn_close() it. */
struct krn_ctx *gfix_open(void);

/* The same, whose results do not depend on what else is in a step. */
struct krn_ctx *gfix_open_deterministic(void);

/* Whether krn_numerics() of <c> is <name> and some kind of GPU; prints it if
 * not. */
bool gfix_numerics(const struct krn_ctx *c, const char *name);

/* Whether the GPU is the emulated one; what follows is of it alone, and does
 * nothing for a real one. */
bool gfix_is_fake(void);

/* Let the <n>th call of <what> from now on fail, see fakecuda_fail() in
 * kernels/cuda/emu/fake.h; n = 0: none. */
void gfix_fail(const char *what, unsigned n);

/* Objects of the driver that are not given back yet. */
unsigned gfix_live(void);

/* Random bytes, and <bytes> of them in memory that the caller frees. */
void gfix_fill(void *p, size_t bytes, uint64_t *seed);
void *gfix_noise(size_t bytes, uint64_t *seed);

#endif
