/* ref.h - The scalar backend: portable C that says what the numbers of all
 * other backends are. */
#ifndef TG_KERNELS_REF_REF_H
#define TG_KERNELS_REF_REF_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/krn.h"
#include "kernels/krn_priv.h"

/* Its table. */
extern const struct krn_mat_ops ref_mat_ops;

enum {
    REF_CHAINS = 8,  /* of a cut of F32 weights */
    REF_CUT = 256,   /* elements after which a chain of floats ends; also the
                      * block of the K types */
    REF_BLOCK = 32,  /* elements of x rounded with one scale */
    REF_SCALE = 16,  /* elements that share a scale in Q6_K */
    REF_SCALES = 16, /* the most scales of a cut */
};

/* A piece of a row of weights: a cut, or the block of a smaller type. */
struct ref_piece {
    unsigned n;        /* elements */
    float f[REF_CUT];  /* float types: the weights */
    int8_t q[REF_CUT]; /* the others: integers, their offset taken off */
    int16_t scale[REF_SCALES]; /* K types: of each sub-block */
    uint8_t min[REF_SCALES];   /* Q4_K, Q5_K: of each sub-block */
    float d;                   /* what scales are multiplied with */
    float d_min;               /* what minima are multiplied with */
};

/* Elements of a piece of type <t>. */
unsigned ref_piece_len(enum krn_dtype t);

/* Read the piece that begins at element <at> of the row <row> of <n_in>
 * elements, as it lies in a file. */
void ref_piece_read(enum krn_dtype t, const void *row, size_t n_in, size_t at,
                    struct ref_piece *out);

/* The weights of a piece as floats: p->n of them. */
void ref_piece_widen(enum krn_dtype t, const struct ref_piece *p, float *y);

/* A block of x as integers. */
struct ref_xblock {
    int8_t q[REF_BLOCK];
    float d; /* scale */
};

/* Round 32 floats. With a the largest magnitude: d = a / 127, q = x * (127 / a)
 * to nearest, ties to even. When a < 2^-100 all q are 0; when a is infinite or
 * there is a NaN, all q are 0 and d is not finite. */
void ref_xblock_round(const float *x, struct ref_xblock *out);

#endif
