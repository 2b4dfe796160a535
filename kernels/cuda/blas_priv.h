/* blas_priv.h - What the files of cuBLASLt's side share: the library as it is
 * loaded, and plans. Only blas*.c include this.
 *
 *   blas_load.c   finding and loading the library
 *   blas.c        products
 *   blas_plan.c   plans: asking, measuring, the file */
#ifndef TG_KERNELS_CUDA_BLAS_PRIV_H
#define TG_KERNELS_CUDA_BLAS_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/cuda.h"

/* Device memory that the library works in, as NVIDIA advises for sm_90. */
#define BLAS_WORK_BYTES ((size_t)32 << 20)

/* Algorithms of a plan, at most. */
#define BLAS_ALGOS 8

/* Lists of plans, by a hash of their keys. */
#define BLAS_LISTS 256

/* The library. */
struct blas_lib {
    void *so;
    char path[512]; /* the file that was loaded */
#define BLAS_MEMBER(member, symbol, type, params) type(*member) params;
    BLAS_CALLS(BLAS_MEMBER)
#undef BLAS_MEMBER
};

/* What a plan is for. */
struct blas_key {
    unsigned m; /* the greatest of its bucket */
    unsigned n, k;
    unsigned align; /* bytes that all addresses are multiples of, <= 16 */
    uint64_t ldx, ldw, ldy;
    enum krn_dtype in, out;
    bool add, bias;
};

/* How products of one key are computed. */
struct blas_plan {
    struct blas_plan *next; /* of its list */
    struct blas_key key;
    cublasLtMatmulAlgo_t algo[BLAS_ALGOS]; /* quickest first */
    unsigned n_algo;
    bool asked;    /* the library was asked for the bucket */
    bool refused;  /* it has nothing for rows that were asked for apart */
    bool measured; /* the order is a measured one */
    float us;      /* the first one's time where measured, microseconds */
    unsigned m;    /* rows that <pick> was found good for; 0 = none yet */
    unsigned pick; /* an index of algo */
    unsigned cols; /* what the layouts lx and ly are set to */
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t lw, lx, ly;
};

/* See blas.h. */
struct blas {
    struct cuda *cuda; /* borrowed */
    struct blas_lib lib;
    cublasLtHandle_t handle;
    CUdeviceptr work; /* BLAS_WORK_BYTES, owned */
    struct blas_plan *list[BLAS_LISTS];
    bool unsaved; /* something was measured since plans were loaded or saved */
    char describe[640];
};

/* Find and load the library, and make *handle_out of it, for the driver <drv>;
 * see blas_open(). KRN_UNSUPPORTED and a sentence in <why>. */
enum krn_status blas_load(const struct drv *drv, const char *dir, char *why,
                          size_t why_bytes, struct blas_lib *lib,
                          cublasLtHandle_t *handle_out);

/* Whether <g> is a product, KRN_BAD_SHAPE, and one of a kind that the library
 * computes, KRN_UNSUPPORTED. */
enum krn_status blas_check(const struct blas_gemm *g);

/* The key of <g>, which is one. */
struct blas_key blas_key_of(const struct blas_gemm *g);

/* The plan of <key>, made where there is none: then without algorithms. NULL
 * without memory or when the library refuses it. Owned by <b>. */
struct blas_plan *blas_plan_get(struct blas *b, const struct blas_key *key);

/* Let <p>'s layouts have <m> rows. */
bool blas_plan_rows(struct blas *b, struct blas_plan *p, unsigned m);

/* Ask the library for algorithms for <m> rows, behind those that <p> has, of
 * which the last may go; never while recording. Lets <p>'s layouts have <m>
 * rows. Whether there are any more. */
bool blas_plan_ask(struct blas *b, struct blas_plan *p, unsigned m);

/* Whether algorithm <a> can compute products of <p>'s layouts. */
bool blas_plan_fits(struct blas *b, const struct blas_plan *p,
                    const cublasLtMatmulAlgo_t *a);

/* Queue <g> by algorithm <a>, with the descriptions of <p>. */
cublasStatus_t blas_run(struct blas *b, const struct blas_plan *p,
                        const struct blas_gemm *g,
                        const cublasLtMatmulAlgo_t *a);

/* Free all plans. */
void blas_plans_free(struct blas *b);

#endif
