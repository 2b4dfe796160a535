/* cuda_linear.h - What the files of products share: the kernels, the memory
 * they work in, and where weights lie. */
#ifndef TG_KERNELS_CUDA_CUDA_LINEAR_H
#define TG_KERNELS_CUDA_CUDA_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cuda/cuda.h"

/* A part of the device's memory with weights side by side. */
struct cuda_piece {
    CUdeviceptr p; /* owned */
    size_t bytes;
    size_t used;
    unsigned live; /* weights in it */
};

/* Bytes of sums of slices, and numbers of the counters beside them. */
#define LINEAR_PART_BYTES ((size_t)32 << 20)
#define LINEAR_COUNTS     ((size_t)64 << 10)

/* Most bytes of a matrix of tiles that are written as numbers at once. */
#define LINEAR_WIDE_BYTES ((size_t)128 << 20)

/* Kernels by enum krn_dtype; those that are not there are NULL. */
struct cuda_linear {
    CUfunction gemv[KRN_KEPT_COUNT];          /* by type of weights */
    CUfunction gemm_quant[KRN_KEPT_COUNT][3]; /* 16, 32, 64 tokens */
    CUfunction gemm[3];                       /* by type of activations */
    CUfunction any[3];                        /* likewise */
    CUfunction widen;
    CUfunction random_rows, random_tiles, random_fp8;
    CUdeviceptr part; /* LINEAR_PART_BYTES, owned */
    CUdeviceptr
        count;        /* uint32 (LINEAR_COUNTS), zeros between kernels, owned */
    CUdeviceptr wide; /* owned; room for tiles written as numbers */
    size_t wide_bytes;
    struct cuda_piece *piece; /* owned; where the next weight goes, or NULL */
    size_t loaded;            /* bytes of weights */
};

/* Products of one call that share x (m, k), rows <ldx> elements apart. For a
 * gated unit n is 2, prods[0] is of gate and prods[1] of up, and y is that of
 * prods[0] alone. */
struct linear_call {
    struct cuda *d;
    const void *x;
    size_t ldx;
    unsigned m;
    size_t k;
    bool glu;
};

/* Whether the kernels that read x in units of 16 bytes can be used for a matrix
 * kept as <t>: those of up to 8 tokens, and those of 64. */
bool linear_is_quick(const struct linear_call *l, enum krn_dtype t);

/* Queue the product of each kind for <n> prods of one type, quick ones (see
 * above) but for linear_any(). KRN_UNSUPPORTED: too large for the sums; nothing
 * was queued. */
enum krn_status linear_gemv(const struct linear_call *l, unsigned n,
                            const struct krn_prod *prods);

/* More than 8 tokens, a type of tiles; 64 at a time. */
enum krn_status linear_gemm_quant(const struct linear_call *l, unsigned n,
                                  const struct krn_prod *prods);

/* One product of floats of the activations' type by our own kernel. */
enum krn_status linear_gemm(const struct linear_call *l,
                            const struct krn_prod *p, CUdeviceptr w,
                            size_t n_out);

/* One product of anything. */
enum krn_status linear_any(const struct linear_call *l,
                           const struct krn_prod *p);

/* Write <n> rows from <row> on of <w>, of tiles, to d->linear->wide as
 * activations; <row> is a multiple of 8. */
enum krn_status linear_widen(struct cuda *d, const struct krn_weight *w,
                             size_t row, size_t n);

#endif
