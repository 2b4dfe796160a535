/* fake_blas.c - The functions of cuBLASLt that blas.h names: plain products of
 * column-major matrices, D = alpha op(A) op(B) + beta C + bias, added up in f32
 * in eight interleaved sums. A product is queued like a kernel. */
#include "kernels/cuda/emu/fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/blas.h"
#include "kernels/half.h"

/* In an algorithm that the heuristic gave. */
#define ALGO_MARK 0x65716c6f67616b66ull
#define ALGOS     3

#define BLAS_PROTO(member, symbol, type, params) FAKE_API type symbol params;
BLAS_CALLS(BLAS_PROTO)
#undef BLAS_PROTO

struct cublasLtContext {
    char unused;
};

struct cublasLtMatrixLayoutOpaque {
    cudaDataType type;
    uint64_t rows, cols;
    int64_t ld;
};

struct cublasLtMatmulDescOpaque {
    cublasOperation_t transa, transb;
    uint32_t epilogue; /* 1: none */
    const float *bias;
};

struct cublasLtMatmulPreferenceOpaque {
    uint64_t work_bytes;
};

/* A product as it is queued. */
struct product {
    struct cublasLtMatmulDescOpaque desc;
    struct cublasLtMatrixLayoutOpaque la, lb, lc, ld;
    const void *a, *b, *c;
    void *d;
    float alpha, beta;
};

/* --- computing ------------------------------------------------------------ */

static float get(const void *p, size_t i, cudaDataType t)
{
    if (t == CUDA_R_32F)
        return ((const float *)p)[i];
    if (t == CUDA_R_16F)
        return f32_of_half(((const uint16_t *)p)[i]);
    return f32_of_bf16(((const uint16_t *)p)[i]);
}

static void put(void *p, size_t i, cudaDataType t, float v)
{
    if (t == CUDA_R_32F)
        ((float *)p)[i] = v;
    else if (t == CUDA_R_16F)
        ((uint16_t *)p)[i] = half_of_f32(v);
    else
        ((uint16_t *)p)[i] = bf16_of_f32(v);
}

/* Vectors of <k> of the product: <n> columns of op'd matrix <p>, each dense.
 * <trans>: a vector is a column as it is stored. NULL without memory. */
static float *gather(const void *p, const struct cublasLtMatrixLayoutOpaque *l,
                     bool is_column, size_t n, size_t k)
{
    float *f = malloc(n * k * sizeof(*f));

    for (size_t i = 0; f && i < n; i++) {
        for (size_t j = 0; j < k; j++) {
            size_t at =
                is_column ? i * (size_t)l->ld + j : j * (size_t)l->ld + i;

            f[i * k + j] = get(p, at, l->type);
        }
    }
    return f;
}

static float dot(const float *x, const float *y, size_t k)
{
    float s[8] = {0};
    size_t i = 0;

    for (; i + 8 <= k; i += 8)
        for (size_t j = 0; j < 8; j++)
            s[j] += x[i + j] * y[i + j];
    for (; i < k; i++)
        s[i % 8] += x[i] * y[i];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

static void product_run(const void *arg)
{
    const struct product *p = arg;
    size_t m = p->ld.rows;
    size_t n = p->ld.cols;
    bool ta = p->desc.transa == CUBLAS_OP_T;
    bool tb = p->desc.transb == CUBLAS_OP_T;
    size_t k = ta ? p->la.rows : p->la.cols;
    float *a = gather(p->a, &p->la, ta, m, k);
    float *b = gather(p->b, &p->lb, !tb, n, k);

    if (!a || !b)
        fake_break(CUDA_ERROR_OUT_OF_MEMORY, "no memory for a product");
    for (size_t j = 0; a && b && j < n; j++) {
        for (size_t i = 0; i < m; i++) {
            float v = p->alpha * dot(a + i * k, b + j * k, k);

            if (p->beta != 0)
                v += p->beta * get(p->c, j * (size_t)p->lc.ld + i, p->lc.type);
            if (p->desc.epilogue == CUBLASLT_EPILOGUE_BIAS)
                v += p->desc.bias[i];
            put(p->d, j * (size_t)p->ld.ld + i, p->ld.type, v);
        }
    }
    free(a);
    free(b);
}

/* --- checking ------------------------------------------------------------- */

static bool type_known(cudaDataType t)
{
    return t == CUDA_R_32F || t == CUDA_R_16F || t == CUDA_R_16BF;
}

/* Whether all of <l> at <p> lies in device memory. */
static bool is_there(const void *p, const struct cublasLtMatrixLayoutOpaque *l)
{
    size_t bytes = l->type == CUDA_R_32F ? 4 : 2;
    size_t n = (size_t)(l->cols - 1) * (size_t)l->ld + (size_t)l->rows;

    return emu_owns(p, n * bytes);
}

static cublasStatus_t shapes_check(const struct cublasLtMatmulDescOpaque *d,
                                   const struct cublasLtMatrixLayoutOpaque *a,
                                   const struct cublasLtMatrixLayoutOpaque *b,
                                   const struct cublasLtMatrixLayoutOpaque *c,
                                   const struct cublasLtMatrixLayoutOpaque *out)
{
    bool ta = d->transa == CUBLAS_OP_T;
    bool tb = d->transb == CUBLAS_OP_T;

    if ((ta ? a->cols : a->rows) != out->rows ||
        (tb ? b->rows : b->cols) != out->cols ||
        (ta ? a->rows : a->cols) != (tb ? b->cols : b->rows) ||
        c->rows != out->rows || c->cols != out->cols)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (a->type != b->type || c->type != out->type ||
        (out->type != a->type && out->type != CUDA_R_32F))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (d->epilogue != 1 && d->epilogue != CUBLASLT_EPILOGUE_BIAS)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    return CUBLAS_STATUS_SUCCESS;
}

/* --- what is exported ----------------------------------------------------- */

size_t cublasLtGetVersion(void)
{
    return 130000;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *h)
{
    *h = calloc(1, sizeof(**h));
    return *h ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t h)
{
    free(h);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *d,
                                        cublasComputeType_t compute,
                                        cudaDataType scale)
{
    if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    *d = calloc(1, sizeof(**d));
    if (!*d)
        return CUBLAS_STATUS_ALLOC_FAILED;
    (*d)->epilogue = 1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d)
{
    free(d);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
                                              cublasLtMatmulDescAttributes_t a,
                                              const void *value, size_t bytes)
{
    int32_t op;

    switch (a) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        if (bytes != sizeof(op))
            return CUBLAS_STATUS_INVALID_VALUE;
        memcpy(&op, value, sizeof(op));
        d->transa = (cublasOperation_t)op;
        return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        if (bytes != sizeof(d->epilogue))
            return CUBLAS_STATUS_INVALID_VALUE;
        memcpy(&d->epilogue, value, sizeof(d->epilogue));
        return CUBLAS_STATUS_SUCCESS;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        if (bytes != sizeof(d->bias))
            return CUBLAS_STATUS_INVALID_VALUE;
        memcpy(&d->bias, value, sizeof(d->bias));
        return CUBLAS_STATUS_SUCCESS;
    default:
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *l,
                                          cudaDataType type, uint64_t rows,
                                          uint64_t cols, int64_t ld)
{
    if (!type_known(type))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (rows == 0 || cols == 0 || ld < (int64_t)rows)
        return CUBLAS_STATUS_INVALID_VALUE;
    *l = calloc(1, sizeof(**l));
    if (!*l)
        return CUBLAS_STATUS_ALLOC_FAILED;
    (*l)->type = type;
    (*l)->rows = rows;
    (*l)->cols = cols;
    (*l)->ld = ld;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l)
{
    free(l);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(
    cublasLtMatrixLayout_t l, cublasLtMatrixLayoutAttribute_t a,
    const void *value, size_t bytes)
{
    if (a != CUBLASLT_MATRIX_LAYOUT_COLS || bytes != sizeof(l->cols))
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(&l->cols, value, sizeof(l->cols));
    return l->cols != 0 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p)
{
    *p = calloc(1, sizeof(**p));
    return *p ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
    free(p);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(
    cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t a,
    const void *value, size_t bytes)
{
    bool is_work = a == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;

    if (bytes != (is_work ? sizeof(uint64_t) : sizeof(uint32_t)))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (is_work)
        memcpy(&p->work_bytes, value, bytes);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t h, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t la,
    cublasLtMatrixLayout_t lb, cublasLtMatrixLayout_t lc,
    cublasLtMatrixLayout_t ld, cublasLtMatmulPreference_t p, int most,
    cublasLtMatmulHeuristicResult_t *results, int *n)
{
    cublasStatus_t st = shapes_check(d, la, lb, lc, ld);

    *n = 0;
    if (!h || !p || st != CUBLAS_STATUS_SUCCESS)
        return st != CUBLAS_STATUS_SUCCESS ? st : CUBLAS_STATUS_INVALID_VALUE;
    for (int i = 0; i < most && i < ALGOS; i++, (*n)++) {
        memset(&results[i], 0, sizeof(results[i]));
        results[i].algo.data[0] = ALGO_MARK;
        results[i].algo.data[1] = (uint64_t)i;
        results[i].wavesCount = 1;
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(
    cublasLtHandle_t h, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t la,
    cublasLtMatrixLayout_t lb, cublasLtMatrixLayout_t lc,
    cublasLtMatrixLayout_t ld, const cublasLtMatmulAlgo_t *algo,
    cublasLtMatmulHeuristicResult_t *result)
{
    if (!h || !algo || algo->data[0] != ALGO_MARK || algo->data[1] >= ALGOS)
        return CUBLAS_STATUS_INVALID_VALUE;
    memset(result, 0, sizeof(*result));
    result->algo = *algo;
    result->wavesCount = 1;
    return shapes_check(d, la, lb, lc, ld);
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t h, cublasLtMatmulDesc_t d,
                              const void *alpha, const void *a,
                              cublasLtMatrixLayout_t la, const void *b,
                              cublasLtMatrixLayout_t lb, const void *beta,
                              const void *c, cublasLtMatrixLayout_t lc,
                              void *out, cublasLtMatrixLayout_t ld,
                              const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t bytes, CUstream s)
{
    cublasStatus_t st = shapes_check(d, la, lb, lc, ld);
    struct product p = {
        *d, *la, *lb, *lc, *ld, a, b, c, out, 0, 0,
    };
    struct fake_op *op;
    CUresult r;

    memcpy(&p.alpha, alpha, sizeof(p.alpha));
    memcpy(&p.beta, beta, sizeof(p.beta));
    if (!h || st != CUBLAS_STATUS_SUCCESS)
        return st != CUBLAS_STATUS_SUCCESS ? st : CUBLAS_STATUS_INVALID_VALUE;
    if ((algo && algo->data[0] != ALGO_MARK) || !is_there(a, la) ||
        !is_there(b, lb) || !is_there(out, ld) ||
        (p.beta != 0 && !is_there(c, lc)) ||
        (bytes != 0 && !emu_owns(workspace, bytes)) ||
        (d->epilogue == CUBLASLT_EPILOGUE_BIAS &&
         !emu_owns(d->bias, (size_t)ld->rows * sizeof(float)))) {
        fprintf(stderr, "fakecuda: a product's matrix is not within a block of "
                        "device memory\n");
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    r = fake_enter();
    if (r == CUDA_SUCCESS) {
        op = fake_op_new(FAKE_OP_CALL, &p, sizeof(p));
        if (op)
            op->call = product_run;
        r = fake_queue(s, op);
    }
    r = fake_leave(r);
    if (r == CUDA_ERROR_OUT_OF_MEMORY)
        return CUBLAS_STATUS_ALLOC_FAILED;
    return r == CUDA_SUCCESS ? CUBLAS_STATUS_SUCCESS
                             : CUBLAS_STATUS_EXECUTION_FAILED;
}
