/* abi_blas.h - What of blas.h a toolkit's cublasLt.h says, too: each name below
 * is a number in both. Included by a source of either. */
#ifndef TG_TESTS_KERNELS_ABI_BLAS_H
#define TG_TESTS_KERNELS_ABI_BLAS_H

#include <stddef.h>
#include <stdint.h>

#define ABI_BLAS_VALUES(X)                                                     \
    X(CUBLAS_STATUS_SUCCESS)                                                   \
    X(CUBLAS_STATUS_NOT_INITIALIZED)                                           \
    X(CUBLAS_STATUS_ALLOC_FAILED)                                              \
    X(CUBLAS_STATUS_INVALID_VALUE)                                             \
    X(CUBLAS_STATUS_ARCH_MISMATCH)                                             \
    X(CUBLAS_STATUS_EXECUTION_FAILED)                                          \
    X(CUBLAS_STATUS_INTERNAL_ERROR)                                            \
    X(CUBLAS_STATUS_NOT_SUPPORTED)                                             \
    X(CUBLAS_COMPUTE_32F)                                                      \
    X(CUBLAS_OP_N)                                                             \
    X(CUBLAS_OP_T)                                                             \
    X(CUDA_R_32F)                                                              \
    X(CUDA_R_16F)                                                              \
    X(CUDA_R_16BF)                                                             \
    X(CUBLASLT_MATRIX_LAYOUT_COLS)                                             \
    X(CUBLASLT_MATMUL_DESC_TRANSA)                                             \
    X(CUBLASLT_MATMUL_DESC_EPILOGUE)                                           \
    X(CUBLASLT_MATMUL_DESC_BIAS_POINTER)                                       \
    X(CUBLASLT_EPILOGUE_BIAS)                                                  \
    X(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)                                \
    X(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)                              \
    X(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES)                              \
    X(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES)                              \
    X(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES)                              \
    X(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES)                              \
    X(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE)

#define ABI_BLAS_LAYOUT(X)                                                     \
    X(sizeof(cublasStatus_t))                                                  \
    X(sizeof(cublasComputeType_t))                                             \
    X(sizeof(cublasOperation_t))                                               \
    X(sizeof(cudaDataType))                                                    \
    X(sizeof(cublasLtMatrixLayoutAttribute_t))                                 \
    X(sizeof(cublasLtMatmulDescAttributes_t))                                  \
    X(sizeof(cublasLtEpilogue_t))                                              \
    X(sizeof(cublasLtMatmulPreferenceAttributes_t))                            \
    X(sizeof(cublasLtReductionScheme_t))                                       \
    X(sizeof(cublasLtHandle_t))                                                \
    X(sizeof(cublasLtMatrixLayout_t))                                          \
    X(sizeof(cublasLtMatmulDesc_t))                                            \
    X(sizeof(cublasLtMatmulPreference_t))                                      \
    X(sizeof(cublasLtMatmulAlgo_t))                                            \
    X(_Alignof(cublasLtMatmulAlgo_t))                                          \
    X(sizeof(cublasLtMatmulHeuristicResult_t))                                 \
    X(offsetof(cublasLtMatmulHeuristicResult_t, algo))                         \
    X(offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize))                \
    X(offsetof(cublasLtMatmulHeuristicResult_t, state))                        \
    X(offsetof(cublasLtMatmulHeuristicResult_t, wavesCount))

/* All of them. */
#define ABI_BLAS(X)                                                            \
    ABI_BLAS_VALUES(X)                                                         \
    ABI_BLAS_LAYOUT(X)

/* The numbers as the toolkit has them. */
extern const uint64_t abi_blas_toolkit[];

#endif
