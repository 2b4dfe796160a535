/* lfix.h - Products on a GPU and what they should be: matrices of random or
 * telling numbers, activations, and outputs with NaN around them. What fails
 * here fails the test. */
#ifndef TG_TESTS_KERNELS_LFIX_H
#define TG_TESTS_KERNELS_LFIX_H

#include <stdbool.h>
#include <stddef.h>

#include "kernels/gcheck.h"
#include "kernels/krn.h"

/* What kind of numbers. */
enum what {
    RANDOM,
    ONE_HOT, /* row r has one 1, at (7 r + 3) % n_in */
    RAMP,    /* all elements of a row are alike */
};

/* A matrix, here and there. */
struct mat {
    enum krn_dtype t;
    size_t n_out, n_in;
    double *w; /* (n_out, n_in) as the device keeps them */
    struct krn_weight *dev;
};

/* Activations (m, n_in) in rows ldx apart with NaN between and behind them. */
struct acts {
    size_t m, n_in, ldx;
    double *x;
    void *host, *dev;
    size_t bytes;
};

/* An output on the device: NaN, or numbers that are added to, in rows ldy
 * apart; what is between must stay. */
struct outs {
    enum krn_dtype t;
    size_t m, n, ldy;
    void *host, *dev;
    double *before; /* (m, n) what is added to */
    size_t bytes;
};

/* A context of the GPU under test. */
struct krn_ctx *lfix_opened(enum krn_dtype act, bool deterministic);

/* A matrix, loaded; what is not RANDOM is of floats. */
struct mat lfix_mat(struct krn_ctx *c, enum krn_dtype t, enum what what,
                    size_t n_out, size_t n_in);
void lfix_mat_free(struct krn_ctx *c, struct mat *m);

/* Random activations, now and then a large one. */
struct acts lfix_acts(struct krn_ctx *c, size_t m, size_t n_in, size_t ldx);
void lfix_acts_free(struct krn_ctx *c, struct acts *a);

/* An output of the type that <as> says. */
struct outs lfix_outs(struct krn_ctx *c, enum krn_as as, size_t m, size_t n,
                      size_t ldy);
void lfix_outs_free(struct krn_ctx *c, struct outs *o);

/* Fetch it; what is between rows, from column <used> on, must be NaN yet. */
void lfix_outs_get(struct krn_ctx *c, struct outs *o, size_t used);

/* x times row <r> of <w>, in double precision; the elements of w rounded to
 * <as> before, F32 for not. */
double lfix_dot(const struct mat *w, const double *x, size_t r,
                enum krn_dtype as);

/* That <as>: tiles are written as floats before the product of many. */
enum krn_dtype lfix_rounded_to(const struct krn_ctx *c, const struct mat *w,
                               size_t m);

/* How far a product may be off that is written as <out>. */
struct gcheck_tol lfix_tol(enum krn_dtype out, const struct mat *w,
                           const struct acts *x);

/* The root of the mean square of <n> numbers. */
double lfix_rms(const double *v, size_t n);

/* Check one product of up to three matrices, each with its own kind of output;
 * rows have <pad> elements between them. */
void lfix_product(struct krn_ctx *c, unsigned n, struct mat *w,
                  const enum krn_as *as, size_t m, bool bias, size_t pad);

/* Check one gated unit. */
void lfix_gated(struct krn_ctx *c, struct mat *gate, struct mat *up, size_t m);

/* Types and the activations they are multiplied with. */
struct lfix_kind {
    enum krn_dtype t, act;
};
#define LFIX_KINDS 9
extern const struct lfix_kind lfix_kinds[LFIX_KINDS];

/* <k> up to what the type has whole blocks for. */
size_t lfix_whole(enum krn_dtype t, size_t k);

#endif
