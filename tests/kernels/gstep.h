/* gstep.h - Memory and steps for tests of operations of a GPU. What fails here
 * fails the test; what is given is freed by the caller. */
#ifndef TG_TESTS_KERNELS_GSTEP_H
#define TG_TESTS_KERNELS_GSTEP_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/krn.h"

#define GSTEP_PAGE  64 /* tokens of a page */
#define GSTEP_VOCAB 40
#define GSTEP_MOST  64 /* rows of a step */

/* <n> elements of type <t>, all bits set, which is a NaN. */
void *gstep_nans(enum krn_dtype t, size_t n);

/* <m> rows of <n> numbers about 1, <ld> apart, as <t> has them; what is between
 * is NaN. *exact_out (m, n): what they are worth. */
void *gstep_numbers(enum krn_dtype t, size_t m, size_t n, size_t ld,
                    double **exact_out, uint64_t *seed);

/* <host> on the device. */
void *gstep_sent(struct krn_ctx *c, const void *host, size_t bytes);

/* <dev> on the host. */
void *gstep_taken(struct krn_ctx *c, const void *dev, size_t bytes);

/* A context with activations of <act>. */
struct krn_ctx *gstep_opened(enum krn_dtype act);

/* A step of <m> rows, each the only one of its sequence. */
struct gstep {
    struct krn_step s;
    struct krn_pass pass;
    int32_t seq[GSTEP_MOST], pos[GSTEP_MOST], ids[GSTEP_MOST];
    unsigned wanted[GSTEP_MOST];
    int32_t *table;
    struct krn_kv kv;
    unsigned kind;
};

/* A small pool for <t>, and taking it back. */
void gstep_open(struct gstep *t, struct krn_ctx *c);
void gstep_close(struct gstep *t, struct krn_ctx *c);

/* Begin a step of sequences whose last position is t->pos[i]; all pages of
 * sequence i are the one page m - i. The last of them are wanted that wanted[]
 * says. It is new in kind, so that its operations are queued. */
void gstep_begin(struct gstep *t, struct krn_ctx *c, unsigned m,
                 unsigned n_wanted);

/* The same with rows at positions 0 .. m-1 and all of them wanted. */
void gstep_plain(struct gstep *t, struct krn_ctx *c, unsigned m);

/* End it and wait for it. */
void gstep_end(struct gstep *t, struct krn_ctx *c);

#endif
