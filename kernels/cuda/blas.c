/* blas.c - Products of float matrices by cuBLASLt. Row-major y (m, n) = x (m,
 * k) w (n, k)^T is, in the library's column-major terms, y^T = w x^T: its A is
 * our w, transposed, its B is our x as it is, its C and D are both our y.
 * Additions are in F32, those of parts that are computed apart, too. */
#include "kernels/cuda/blas.h"

#include <stdio.h>
#include <stdlib.h>

#include "kernels/cuda/blas_priv.h"

enum krn_status blas_open(struct cuda *d, const char *dir, char *why,
                          size_t why_bytes, struct blas **out)
{
    struct blas *b = calloc(1, sizeof(*b));
    enum krn_status st;
    size_t v;

    if (!b)
        return KRN_NOMEM;
    b->cuda = d;
    st = blas_load(d->drv, dir, why, why_bytes, &b->lib, &b->handle);
    if (st != KRN_OK) {
        free(b);
        return st;
    }
    b->work = cuda_alloc(d, BLAS_WORK_BYTES);
    if (!b->work) {
        blas_close(b);
        return KRN_NOMEM;
    }
    v = b->lib.version();
    snprintf(b->describe, sizeof(b->describe), "cuBLASLt %zu.%zu.%zu of %s",
             v / 10000, v / 100 % 100, v % 100, b->lib.path);
    *out = b;
    return KRN_OK;
}

void blas_close(struct blas *b)
{
    if (!b)
        return;
    blas_plans_free(b);
    /* In a context that failed the library cannot clean up. */
    if (!b->cuda->dead)
        b->lib.destroy(b->handle);
    if (b->work)
        cuda_free(b->cuda, b->work);
    free(b);
}

const char *blas_describe(const struct blas *b)
{
    return b->describe;
}

enum krn_status blas_check(const struct blas_gemm *g)
{
    if (g->m == 0 || g->n == 0 || g->k == 0 || !g->x || !g->w || !g->y ||
        g->ldx < g->k || g->ldw < g->k || g->ldy < g->n)
        return KRN_BAD_SHAPE;
    if (g->in != KRN_F32 && g->in != KRN_F16 && g->in != KRN_BF16)
        return KRN_UNSUPPORTED;
    if (g->out != KRN_F32 && g->out != g->in)
        return KRN_UNSUPPORTED;
    if (g->bias && g->out != KRN_F32)
        return KRN_UNSUPPORTED;
    return KRN_OK;
}

/* What the answer <s> of a product means: those that come before anything was
 * queued say that another algorithm may do. */
static enum krn_status gemm_status(struct blas *b, cublasStatus_t s)
{
    if (s == CUBLAS_STATUS_SUCCESS)
        return KRN_OK;
    if (s == CUBLAS_STATUS_ALLOC_FAILED)
        return KRN_NOMEM;
    if (b->cuda->recording || s == CUBLAS_STATUS_NOT_SUPPORTED ||
        s == CUBLAS_STATUS_INVALID_VALUE || s == CUBLAS_STATUS_ARCH_MISMATCH)
        return KRN_UNSUPPORTED;
    return cuda_check(b->cuda, CUDA_ERROR_UNKNOWN, "cublasLtMatmul");
}

cublasStatus_t blas_run(struct blas *b, const struct blas_plan *p,
                        const struct blas_gemm *g,
                        const cublasLtMatmulAlgo_t *a)
{
    float one = 1;
    float beta = g->add ? 1 : 0;
    void *y = (void *)g->y;

    if (g->bias) {
        const void *bias = (const void *)g->bias;
        cublasStatus_t s = b->lib.desc_set(
            p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof(bias));

        if (s != CUBLAS_STATUS_SUCCESS)
            return s;
    }
    return b->lib.matmul(b->handle, p->desc, &one, (const void *)g->w, p->lw,
                         (const void *)g->x, p->lx, &beta, y, p->ly, y, p->ly,
                         a, (void *)b->work, BLAS_WORK_BYTES, b->cuda->compute);
}

/* The algorithm of <p> for <m> rows, from number <from> on; the number of them
 * when there is none. */
static unsigned plan_pick(struct blas *b, struct blas_plan *p, unsigned m,
                          unsigned from)
{
    if (p->m == m && p->pick >= from && p->pick < p->n_algo)
        return p->pick;
    for (unsigned i = from; i < p->n_algo; i++) {
        if (blas_plan_fits(b, p, &p->algo[i])) {
            p->m = m;
            p->pick = i;
            return i;
        }
    }
    return p->n_algo;
}

/* Queue <g> by one of <p>'s own algorithms. */
static enum krn_status run_own(struct blas *b, struct blas_plan *p,
                               const struct blas_gemm *g)
{
    unsigned i = plan_pick(b, p, g->m, 0);

    while (i < p->n_algo) {
        enum krn_status st = gemm_status(b, blas_run(b, p, g, &p->algo[i]));

        if (st != KRN_UNSUPPORTED)
            return st;
        p->m = 0;
        i = plan_pick(b, p, g->m, i + 1);
    }
    return KRN_UNSUPPORTED;
}

/* Whether an algorithm of a plan for <k> may do for the key <other>. */
static bool is_like(const struct blas_key *k, const struct blas_key *other)
{
    return k->n == other->n && k->k == other->k && k->in == other->in &&
           k->out == other->out && k->add == other->add &&
           k->bias == other->bias;
}

/* Queue <g> by an algorithm of another m's plan. */
static enum krn_status run_lent(struct blas *b, struct blas_plan *p,
                                const struct blas_gemm *g)
{
    for (unsigned i = 0; i < BLAS_LISTS; i++) {
        for (struct blas_plan *o = b->list[i]; o; o = o->next) {
            enum krn_status st = KRN_UNSUPPORTED;

            if (o == p || o->n_algo == 0 || !is_like(&o->key, &p->key))
                continue;
            if (blas_plan_fits(b, p, &o->algo[0]))
                st = gemm_status(b, blas_run(b, p, g, &o->algo[0]));
            if (st != KRN_UNSUPPORTED)
                return st;
        }
    }
    return KRN_UNSUPPORTED;
}

enum krn_status blas_gemm(struct blas *b, const struct blas_gemm *g)
{
    enum krn_status st = blas_check(g);
    struct blas_key key;
    struct blas_plan *p;

    if (st != KRN_OK)
        return st;
    key = blas_key_of(g);
    p = blas_plan_get(b, &key);
    if (!p)
        return KRN_UNSUPPORTED;
    if (!b->cuda->recording && !p->asked && p->n_algo == 0)
        (void)blas_plan_ask(b, p, p->key.m);
    if (!blas_plan_rows(b, p, g->m))
        return KRN_UNSUPPORTED;
    st = run_own(b, p, g);
    if (st != KRN_UNSUPPORTED)
        return st;
    if (b->cuda->recording)
        return run_lent(b, p, g);
    /* What the bucket has does not do for these rows. */
    if (p->refused || !blas_plan_ask(b, p, g->m)) {
        p->refused = true;
        return KRN_UNSUPPORTED;
    }
    return run_own(b, p, g);
}
