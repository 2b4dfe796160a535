/* blas.h - Products of float matrices by NVIDIA's cuBLASLt, a library that is
 * found at run time. Its types and values are named as its header cublasLt.h
 * names them, which is not needed to build; where a toolkit is installed a test
 * holds each against it. Only what is used is here.
 *
 * Which of the library's algorithms computes a product is a plan: asked of the
 * library's heuristics, or measured, and kept from run to run. A source that
 * has included <cublasLt.h> defines BLAS_TYPES_GIVEN before this. */
#ifndef TG_KERNELS_CUDA_BLAS_H
#define TG_KERNELS_CUDA_BLAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cuda/drv.h"
#include "kernels/krn.h"

#ifndef BLAS_TYPES_GIVEN

/* --- types and values of the library's ABI ------------------------------- */

typedef enum {
    CUBLAS_STATUS_SUCCESS = 0,
    CUBLAS_STATUS_NOT_INITIALIZED = 1,
    CUBLAS_STATUS_ALLOC_FAILED = 3,
    CUBLAS_STATUS_INVALID_VALUE = 7,
    CUBLAS_STATUS_ARCH_MISMATCH = 8,
    CUBLAS_STATUS_EXECUTION_FAILED = 13,
    CUBLAS_STATUS_INTERNAL_ERROR = 14,
    CUBLAS_STATUS_NOT_SUPPORTED = 15,
} cublasStatus_t;

typedef enum {
    CUBLAS_COMPUTE_32F = 68,
} cublasComputeType_t;

typedef enum {
    CUBLAS_OP_N = 0,
    CUBLAS_OP_T = 1,
} cublasOperation_t;

typedef enum {
    CUDA_R_32F = 0,
    CUDA_R_16F = 2,
    CUDA_R_16BF = 14,
} cudaDataType;

typedef enum {
    CUBLASLT_MATRIX_LAYOUT_COLS = 3, /* uint64_t */
} cublasLtMatrixLayoutAttribute_t;

typedef enum {
    CUBLASLT_MATMUL_DESC_TRANSA = 3,       /* int32_t, cublasOperation_t */
    CUBLASLT_MATMUL_DESC_EPILOGUE = 7,     /* uint32_t, cublasLtEpilogue_t */
    CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8, /* an address of the device */
} cublasLtMatmulDescAttributes_t;

typedef enum {
    CUBLASLT_EPILOGUE_BIAS = 4,
} cublasLtEpilogue_t;

typedef enum {
    CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1,   /* uint64_t */
    CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK = 3, /* uint32_t */
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5, /* uint32_t, as those: */
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES = 6,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES = 7,
    CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8,
} cublasLtMatmulPreferenceAttributes_t;

typedef enum {
    CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE = 2, /* none is always allowed */
} cublasLtReductionScheme_t;

typedef struct cublasLtContext *cublasLtHandle_t;
typedef struct cublasLtMatrixLayoutOpaque *cublasLtMatrixLayout_t;
typedef struct cublasLtMatmulDescOpaque *cublasLtMatmulDesc_t;
typedef struct cublasLtMatmulPreferenceOpaque *cublasLtMatmulPreference_t;

/* May be kept in a file, for the same version of the library. */
typedef struct {
    uint64_t data[8];
} cublasLtMatmulAlgo_t;

typedef struct {
    cublasLtMatmulAlgo_t algo;
    size_t workspaceSize;
    cublasStatus_t state; /* what else is here counts for SUCCESS alone */
    float wavesCount;
    int reserved[4];
} cublasLtMatmulHeuristicResult_t;

#endif /* BLAS_TYPES_GIVEN */

/* X(member, symbol, type of its answer, parameters) of every function that is
 * used. A stream of the driver is one of the runtime's. */
#define BLAS_MAKE_CALLS(X)                                                     \
    X(version, cublasLtGetVersion, size_t, (void))                             \
    X(create, cublasLtCreate, cublasStatus_t, (cublasLtHandle_t * h))          \
    X(destroy, cublasLtDestroy, cublasStatus_t, (cublasLtHandle_t h))          \
    X(desc_create, cublasLtMatmulDescCreate, cublasStatus_t,                   \
      (cublasLtMatmulDesc_t * d, cublasComputeType_t compute,                  \
       cudaDataType scale))                                                    \
    X(desc_destroy, cublasLtMatmulDescDestroy, cublasStatus_t,                 \
      (cublasLtMatmulDesc_t d))                                                \
    X(desc_set, cublasLtMatmulDescSetAttribute, cublasStatus_t,                \
      (cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t a,               \
       const void *value, size_t bytes))                                       \
    X(layout_create, cublasLtMatrixLayoutCreate, cublasStatus_t,               \
      (cublasLtMatrixLayout_t * l, cudaDataType type, uint64_t rows,           \
       uint64_t cols, int64_t ld))                                             \
    X(layout_destroy, cublasLtMatrixLayoutDestroy, cublasStatus_t,             \
      (cublasLtMatrixLayout_t l))                                              \
    X(layout_set, cublasLtMatrixLayoutSetAttribute, cublasStatus_t,            \
      (cublasLtMatrixLayout_t l, cublasLtMatrixLayoutAttribute_t a,            \
       const void *value, size_t bytes))                                       \
    X(pref_create, cublasLtMatmulPreferenceCreate, cublasStatus_t,             \
      (cublasLtMatmulPreference_t * p))                                        \
    X(pref_destroy, cublasLtMatmulPreferenceDestroy, cublasStatus_t,           \
      (cublasLtMatmulPreference_t p))                                          \
    X(pref_set, cublasLtMatmulPreferenceSetAttribute, cublasStatus_t,          \
      (cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t a,   \
       const void *value, size_t bytes))

/* Of choosing an algorithm, and of products. */
#define BLAS_RUN_CALLS(X)                                                      \
    X(heuristic, cublasLtMatmulAlgoGetHeuristic, cublasStatus_t,               \
      (cublasLtHandle_t h, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t la,  \
       cublasLtMatrixLayout_t lb, cublasLtMatrixLayout_t lc,                   \
       cublasLtMatrixLayout_t ld, cublasLtMatmulPreference_t p, int most,      \
       cublasLtMatmulHeuristicResult_t *results, int *n))                      \
    X(algo_check, cublasLtMatmulAlgoCheck, cublasStatus_t,                     \
      (cublasLtHandle_t h, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t la,  \
       cublasLtMatrixLayout_t lb, cublasLtMatrixLayout_t lc,                   \
       cublasLtMatrixLayout_t ld, const cublasLtMatmulAlgo_t *algo,            \
       cublasLtMatmulHeuristicResult_t *result))                               \
    X(matmul, cublasLtMatmul, cublasStatus_t,                                  \
      (cublasLtHandle_t h, cublasLtMatmulDesc_t d, const void *alpha,          \
       const void *a, cublasLtMatrixLayout_t la, const void *b,                \
       cublasLtMatrixLayout_t lb, const void *beta, const void *c,             \
       cublasLtMatrixLayout_t lc, void *out, cublasLtMatrixLayout_t ld,        \
       const cublasLtMatmulAlgo_t *algo, void *workspace, size_t bytes,        \
       CUstream s))

/* All of them. */
#define BLAS_CALLS(X)                                                          \
    BLAS_MAKE_CALLS(X)                                                         \
    BLAS_RUN_CALLS(X)

/* --- products ------------------------------------------------------------ */

struct cuda;
struct blas;

/* One product of rows: y (m, n) = x (m, k) * w (n, k)^T, all row-major on the
 * device. What is aligned to 16 bytes is quick. */
struct blas_gemm {
    CUdeviceptr x, w, y;  /* y overlaps neither x nor w */
    CUdeviceptr bias;     /* F32 (n), added last, or 0; for out F32 alone */
    size_t ldx, ldw, ldy; /* elements from row to row */
    unsigned m, n, k;     /* not 0 */
    enum krn_dtype in;    /* of x and w: KRN_F16, KRN_BF16, KRN_F32; the kinds
                           * of 8 bits are answered with KRN_UNSUPPORTED */
    enum krn_dtype out;   /* of y: KRN_F32, or <in>. F16 beyond 65504 becomes
                           * infinite, unlike what our own kernels write */
    bool add;             /* y += instead of y = */
};

/* Find the library, for the GPU of <d> (its drv, device, ctx and compute must
 * be set), and take 32 MiB of its memory for the library to work in. Tried are
 * <dir> (a folder, or the file itself; may be NULL), what the environment's
 * TOLLGATE_CUBLASLT names ("none": there shall be none; with an emulated driver
 * nothing else is tried), the loader's places, those of toolkits, and those of
 * Python's packages. KRN_UNSUPPORTED, and a sentence in <why> (why_bytes): none
 * was found. KRN_NOMEM. Free *out by blas_close(). */
enum krn_status blas_open(struct cuda *d, const char *dir, char *why,
                          size_t why_bytes, struct blas **out) KRN_MUST_CHECK;

/* Free <b>; NULL is fine. The library stays loaded. Plans that were measured
 * are kept by blas_plans_save() alone. */
void blas_close(struct blas *b);

/* What was found, for people: "cuBLASLt 13.0.2 of /usr/local/...". Owned by
 * <b>. */
const char *blas_describe(const struct blas *b);

/* Queue <g> on the compute stream, in F32 arithmetic; the order of additions
 * depends on the plan, and so on m. What has no plan gets the one that the
 * library thinks best, which is asked for outside of recordings alone: while
 * recording, a plan of another m serves. The first product of a plan must not
 * be recorded: the library loads code then. KRN_UNSUPPORTED: the library has
 * nothing for it, or only outside of a recording; nothing was queued.
 * KRN_BAD_SHAPE; KRN_DEVICE. */
enum krn_status blas_gemm(struct blas *b,
                          const struct blas_gemm *g) KRN_MUST_CHECK;

/* Measure the library's proposals for <g> and keep the order as the plan of
 * this shape and of all m that share its bucket, which end at 16, 32, 64 and so
 * on. Takes the time of a hundred products and waits for the device; y is
 * written many times. Does nothing where the plan was measured before, here or
 * in the file, in deterministic mode, or while recording. Errors as
 * blas_gemm(). */
enum krn_status blas_tune(struct blas *b,
                          const struct blas_gemm *g) KRN_MUST_CHECK;

/* Take the plans of file <path>, a text, that were measured for this GPU and
 * this version of the library; those in memory stay. A file that is for others,
 * is damaged, or is not there gives none. The number of plans taken. */
unsigned blas_plans_load(struct blas *b, const char *path);

/* Write all measured plans to <path>, when there are any that did not come from
 * it, and those that it holds for this GPU and version: to a file beside it,
 * that then takes its name. Whether <path> holds them; errno tells why not. */
bool blas_plans_save(struct blas *b, const char *path);

#endif
