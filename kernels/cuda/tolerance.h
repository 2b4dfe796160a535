/* tolerance.h - How far a GPU's answers may lie from exact arithmetic over the
 * same inputs, rounded as the device keeps them: what the tests of operations
 * hold kernels to, and what "within tolerance" means in krn.h. For each element
 * |d - r| <= atol + rtol * |r|; for a whole output NMSE, the sum of squared
 * differences divided by the sum of squares of r. 0 for all is bit by bit. The
 * reference rounds where the device rounds: activations between operations, q
 * and p of attention. */
#ifndef TG_KERNELS_CUDA_TOLERANCE_H
#define TG_KERNELS_CUDA_TOLERANCE_H

/* Gathering, appending to pages, copying, the largest of a row, sets of
 * candidates, masks; widening of quantised elements, whose products are exact
 * in F32. */
#define TOL_EXACT_RTOL 0.0
#define TOL_EXACT_ATOL 0.0
#define TOL_EXACT_NMSE 0.0

/* Norm, rotation, silu, written as F32: a few roundings of 2^-24. */
#define TOL_ROW_F32_RTOL 2e-6
#define TOL_ROW_F32_ATOL 1e-6
#define TOL_ROW_F32_NMSE 1e-12

/* The same written as F16 (2^-11) or BF16 (2^-8): one rounding to nearest is
 * half of that, and F32 may lie on the other side of a tie. */
#define TOL_ROW_F16_RTOL  0x1p-10
#define TOL_ROW_F16_ATOL  1e-5
#define TOL_ROW_F16_NMSE  3e-7
#define TOL_ROW_BF16_RTOL 0x1p-8
#define TOL_ROW_BF16_ATOL 1e-5
#define TOL_ROW_BF16_NMSE 1e-5

/* Cosines and sines: double precision, rounded once. */
#define TOL_TURNS_RTOL 0x1p-23
#define TOL_TURNS_ATOL 1e-9
#define TOL_TURNS_NMSE 1e-13

/* Products over <k> elements, accumulated in F32 in any order; the rms of x and
 * w are those of the inputs. Products of halves also round once at the end: to
 * those above. */
#define TOL_LINEAR_RTOL 1e-5
#define TOL_LINEAR_ATOL(k, rms_x, rms_w)                                       \
    (8e-6 * sqrt((double)(k)) * (rms_x) * (rms_w))
#define TOL_LINEAR_NMSE 1e-9

/* The K types as they lie on the device: scales and offsets of a step are
 * rounded to F16, 2^-11 of each. Against the file's own numbers. */
#define TOL_K_RTOL 0x1p-10
#define TOL_K_NMSE 1e-6

/* Attention: probabilities are rounded to halves; <max_v> is the largest |v|
 * that a row sees. */
#define TOL_ATTEND_RTOL        1e-2
#define TOL_ATTEND_ATOL(max_v) (2e-3 * (max_v))
#define TOL_ATTEND_NMSE        2e-5

/* Log probabilities, in natural units: a sum of exponentials in F32. */
#define TOL_LOGPROB_ATOL 1e-4

/* Logits of a whole model, against the "ref" backend over the same weights. */
#define TOL_LOGITS_NMSE 1e-3

#endif
