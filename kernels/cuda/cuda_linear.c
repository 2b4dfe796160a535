/* cuda_linear.c - Products: which kernel computes which. Up to 8 tokens: our
 * own, which reads weights as fast as memory gives them. More: cuBLASLt for
 * floats, or our own tiles where it is not there; for quantised weights our own
 * up to 64 tokens, then the matrix is written as floats first. Where results
 * must not depend on the number of rows, the kernel of 8 tokens is used for
 * all, in groups of 8. What fits none of these goes through a slow kernel that
 * takes everything. */
#include <stdlib.h>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/cuda_linear.h"
#include "kernels/cuda/pack.h"

enum {
    FEW = 8,     /* tokens of the kernel for few */
    QUANT = 192, /* from here on writing a matrix as floats pays */
};

/* How a product is computed. */
enum path {
    PATH_GEMV,       /* linear_gemv() */
    PATH_GEMM_QUANT, /* linear_gemm_quant() */
    PATH_FLOAT,      /* cuBLASLt or linear_gemm() */
    PATH_WIDE,       /* likewise, after linear_widen() */
    PATH_ANY,        /* linear_any() */
};

/* --- opening ----------------------------------------------------------------
 */

/* Most shared memory of a kernel of up to 8 tokens: 8 of 5120 k, with sums. */
#define GEMV_SMEM ((size_t)8 * (5120 * 2 + 64) + 5120 / 32 * 8 * 4)

static enum krn_status find_gemv(struct cuda *d, struct cuda_linear *l)
{
    static const char *const names[KRN_KEPT_COUNT] = {
        [KRN_F16] = "tg_gemv_f16",   [KRN_BF16] = "tg_gemv_bf16",
        [KRN_Q8_0] = "tg_gemv_q8_0", [KRN_Q4_0] = "tg_gemv_q4_0",
        [KRN_Q4_K] = "tg_gemv_q4_k", [KRN_Q5_K] = "tg_gemv_q5_k",
        [KRN_Q6_K] = "tg_gemv_q6_k", [KRN_FP8] = "tg_gemv_fp8",
    };
    enum krn_status st = KRN_OK;

    for (unsigned t = 0; st == KRN_OK && t < KRN_KEPT_COUNT; t++)
        if (names[t])
            st = cuda_kernel(d, names[t], GEMV_SMEM, &l->gemv[t]);
    return st;
}

static enum krn_status find_quant(struct cuda *d, struct cuda_linear *l)
{
    static const char *const names[KRN_KEPT_COUNT][3] = {
        [KRN_Q8_0] = {"tg_gemm_q8_0_16", "tg_gemm_q8_0_32", "tg_gemm_q8_0_64"},
        [KRN_Q4_0] = {"tg_gemm_q4_0_16", "tg_gemm_q4_0_32", "tg_gemm_q4_0_64"},
        [KRN_Q4_K] = {"tg_gemm_q4_k_16", "tg_gemm_q4_k_32", "tg_gemm_q4_k_64"},
        [KRN_Q5_K] = {"tg_gemm_q5_k_16", "tg_gemm_q5_k_32", "tg_gemm_q5_k_64"},
        [KRN_Q6_K] = {"tg_gemm_q6_k_16", "tg_gemm_q6_k_32", "tg_gemm_q6_k_64"},
        [KRN_FP8] = {"tg_gemm_fp8_16", "tg_gemm_fp8_32", "tg_gemm_fp8_64"},
    };
    enum krn_status st = KRN_OK;

    for (unsigned t = 0; t < KRN_KEPT_COUNT; t++)
        for (unsigned i = 0; st == KRN_OK && names[t][0] && i < 3; i++) {
            size_t tokens = (size_t)16 << i;

            st = cuda_kernel(d, names[t][i], tokens * (2 * 576 + 32),
                             &l->gemm_quant[t][i]);
        }
    return st;
}

static enum krn_status find_others(struct cuda *d, struct cuda_linear *l)
{
    static const char *const gemm[] = {"tg_gemm_f32", "tg_gemm_f16",
                                       "tg_gemm_bf16"};
    static const char *const any[] = {"tg_any_f32", "tg_any_f16",
                                      "tg_any_bf16"};
    enum krn_status st = cuda_kernel(d, "tg_widen", 0, &l->widen);

    for (unsigned i = 0; st == KRN_OK && i < 3; i++) {
        st = cuda_kernel(d, gemm[i], i == KRN_F32 ? 0 : 32768, &l->gemm[i]);
        if (st == KRN_OK)
            st = cuda_kernel(d, any[i], 0, &l->any[i]);
    }
    if (st == KRN_OK)
        st = cuda_kernel(d, "tg_random_rows", 0, &l->random_rows);
    if (st == KRN_OK)
        st = cuda_kernel(d, "tg_random_tiles", 0, &l->random_tiles);
    if (st == KRN_OK)
        st = cuda_kernel(d, "tg_random_fp8", 0, &l->random_fp8);
    return st;
}

/* The memory that sums of slices go through; counters begin as zeros. */
static enum krn_status take_memory(struct cuda *d, struct cuda_linear *l)
{
    l->part = cuda_alloc(d, LINEAR_PART_BYTES);
    l->count = cuda_alloc(d, LINEAR_COUNTS * 4);
    if (l->part == 0 || l->count == 0)
        return d->dead ? KRN_DEVICE : KRN_NOMEM;
    return cuda_check(
        d, d->drv->memset8(l->count, 0, LINEAR_COUNTS * 4, d->compute),
        "clearing memory");
}

enum krn_status cuda_linear_open(struct cuda *d)
{
    struct cuda_linear *l = calloc(1, sizeof(*l));
    enum krn_status st;

    if (!l)
        return KRN_NOMEM;
    d->linear = l;
    st = find_gemv(d, l);
    if (st == KRN_OK)
        st = find_quant(d, l);
    if (st == KRN_OK)
        st = find_others(d, l);
    if (st == KRN_OK)
        st = take_memory(d, l);
    if (st != KRN_OK)
        cuda_linear_close(d);
    return st;
}

void cuda_linear_close(struct cuda *d)
{
    struct cuda_linear *l = d->linear;

    if (!l)
        return;
    cuda_free(d, l->part);
    cuda_free(d, l->count);
    cuda_free(d, l->wide);
    if (l->piece && l->piece->live == 0) {
        cuda_free(d, l->piece->p);
        free(l->piece);
    }
    free(l);
    d->linear = NULL;
}

/* --- floats ------------------------------------------------------------------
 */

/* Let the library find its plan for <g> where it has none. What is added to
 * must not be written: then the plan is found over other memory. */
static enum krn_status tune(struct cuda *d, struct blas_gemm g)
{
    if (g.add) {
        if ((size_t)g.m * g.ldy * 4 > LINEAR_PART_BYTES)
            return KRN_OK;
        g.y = d->linear->part;
    }
    return blas_tune(d->blas, &g);
}

/* One product of w (n_out, k), rows of numbers of the activations' type, by
 * cuBLASLt; no bias. KRN_UNSUPPORTED: not by that. */
static enum krn_status by_library(const struct linear_call *l,
                                  const struct krn_prod *p, CUdeviceptr w,
                                  size_t n_out)
{
    struct cuda *d = l->d;
    struct blas_gemm g = {
        .x = (CUdeviceptr)(uintptr_t)l->x,
        .w = w,
        .y = (CUdeviceptr)(uintptr_t)p->y,
        .ldx = l->ldx,
        .ldw = l->k,
        .ldy = p->ldy,
        .m = l->m,
        .n = (unsigned)n_out,
        .k = (unsigned)l->k,
        .in = d->act,
        .out = p->as == KRN_AS_ACT ? d->act : KRN_F32,
        .add = p->as == KRN_AS_ADDED,
    };
    enum krn_status st;

    if (!d->blas)
        return KRN_UNSUPPORTED;
    st = d->recording ? KRN_OK : tune(d, g);
    return st == KRN_OK ? blas_gemm(d->blas, &g) : st;
}

/* The product of the <n> prods, whose matrices and results lie side by side, by
 * cuBLASLt or else by our own kernel. KRN_UNSUPPORTED: by neither. */
static enum krn_status float_product(const struct linear_call *l, unsigned n,
                                     const struct krn_prod *prods,
                                     CUdeviceptr w)
{
    size_t n_out = 0;
    enum krn_status st;

    for (unsigned i = 0; i < n; i++)
        n_out += prods[i].w->n_out;
    st = by_library(l, prods, w, n_out);
    for (unsigned i = 0; st == KRN_OK && i < n; i++)
        if (prods[i].bias)
            st = cuda_bias_rows(l->d, prods[i].y, prods[i].ldy,
                                prods[i].as != KRN_AS_ACT, prods[i].bias, l->m,
                                (unsigned)prods[i].w->n_out);
    if (st != KRN_UNSUPPORTED)
        return st;
    if (l->d->act != KRN_F32 && !linear_is_quick(l, l->d->act))
        return KRN_UNSUPPORTED;
    for (unsigned i = 0; i < n; i++) {
        st = linear_gemm(l, &prods[i], w, prods[i].w->n_out);
        if (st != KRN_OK)
            return st;
        w += prods[i].w->bytes;
    }
    return KRN_OK;
}

/* How many of <n> prods, from the first on, are side by side, matrices and
 * results alike. */
static unsigned side_by_side(const struct cuda *d, unsigned n,
                             const struct krn_prod *prods)
{
    unsigned i = 1;

    for (; i < n; i++) {
        const struct krn_prod *a = &prods[i - 1];
        const struct krn_prod *b = &prods[i];
        size_t size = a->as == KRN_AS_ACT && d->act != KRN_F32 ? 2 : 4;

        if (b->w->dtype != a->w->dtype || b->w->piece != a->w->piece ||
            b->w->data != a->w->data + a->w->bytes || b->as != a->as ||
            b->ldy != a->ldy ||
            (uintptr_t)b->y != (uintptr_t)a->y + a->w->n_out * size)
            break;
    }
    return i;
}

/* The product of a matrix of tiles, some rows of it after the other: as many as
 * there is room for as floats. */
static enum krn_status wide_product(const struct linear_call *l,
                                    const struct krn_prod *p)
{
    struct cuda *d = l->d;
    size_t size = p->as == KRN_AS_ACT ? 2 : 4;
    size_t once = d->linear->wide_bytes / (l->k * 2) / 8 * 8;
    enum krn_status st = KRN_OK;

    if (once == 0)
        return KRN_UNSUPPORTED;
    for (size_t row = 0, n; st == KRN_OK && row < p->w->n_out; row += n) {
        struct krn_weight part = *p->w;
        struct krn_prod here = *p;

        n = p->w->n_out - row < once ? p->w->n_out - row : once;
        part.n_out = n;
        here.w = &part;
        here.y = (char *)p->y + row * size;
        here.bias = p->bias ? p->bias + row : NULL;
        st = linear_widen(d, p->w, row, n);
        if (st == KRN_OK)
            st = float_product(l, 1, &here, d->linear->wide);
    }
    return st;
}

/* --- choosing
 * ------------------------------------------------------------------ */

static enum path path_of(const struct linear_call *l, enum krn_dtype t)
{
    bool quick = linear_is_quick(l, t);

    if (l->m <= FEW || l->d->deterministic)
        return quick ? PATH_GEMV : PATH_ANY;
    if (pack_is_tiles(t)) {
        if (quick && l->m <= QUANT)
            return PATH_GEMM_QUANT;
        return l->d->act != KRN_F32 ? PATH_WIDE : PATH_ANY;
    }
    return t == l->d->act ? PATH_FLOAT : PATH_ANY;
}

/* How many of <n> prods, from the first on, go the same way in one launch. */
static unsigned alike(const struct linear_call *l, enum path path, unsigned n,
                      const struct krn_prod *prods)
{
    unsigned i = 1;

    if (path == PATH_FLOAT)
        return side_by_side(l->d, n, prods);
    if (path != PATH_GEMV && path != PATH_GEMM_QUANT)
        return 1;
    while (i < n && prods[i].w->dtype == prods[0].w->dtype)
        i++;
    return i;
}

static enum krn_status product(const struct linear_call *l, enum path path,
                               unsigned n, const struct krn_prod *prods)
{
    enum krn_status st = KRN_UNSUPPORTED;

    if (path == PATH_GEMV)
        st = linear_gemv(l, n, prods);
    else if (path == PATH_GEMM_QUANT)
        st = linear_gemm_quant(l, n, prods);
    else if (path == PATH_FLOAT)
        st = float_product(l, n, prods,
                           (CUdeviceptr)(uintptr_t)prods[0].w->data);
    else if (path == PATH_WIDE)
        st = wide_product(l, prods);
    if (st != KRN_UNSUPPORTED)
        return st;
    st = KRN_OK;
    for (unsigned i = 0; st == KRN_OK && i < n; i++)
        st = linear_any(l, &prods[i]);
    return st;
}

static enum krn_status products(const struct linear_call *l, unsigned n,
                                const struct krn_prod *prods)
{
    enum krn_status st = KRN_OK;

    for (unsigned i = 0, k; st == KRN_OK && i < n; i += k) {
        enum path path = path_of(l, prods[i].w->dtype);

        k = alike(l, path, n - i, prods + i);
        st = product(l, path, k, prods + i);
    }
    return st;
}

enum krn_status cuda_linear(struct krn_ctx *c, const void *x, size_t ldx,
                            unsigned m, unsigned n,
                            const struct krn_prod *prods)
{
    const struct linear_call l = {
        .d = c->cuda,
        .x = x,
        .ldx = ldx,
        .m = m,
        .k = prods[0].w->n_in,
    };

    return products(&l, n, prods);
}

enum krn_status cuda_glu(struct krn_ctx *c, const void *x, size_t ldx,
                         unsigned m, const struct krn_weight *gate,
                         const struct krn_weight *up, void *y, size_t ldy)
{
    struct cuda *d = c->cuda;
    struct linear_call l = {
        .d = d, .x = x, .ldx = ldx, .m = m, .k = gate->n_in};
    size_t size = d->act == KRN_F32 ? 4 : 2;
    const struct krn_prod prods[2] = {
        {.w = gate, .y = y, .ldy = ldy},
        {.w = up, .y = (char *)y + gate->n_out * size, .ldy = ldy},
    };
    enum path path = path_of(&l, gate->dtype);
    enum krn_status st = KRN_UNSUPPORTED;

    l.glu = true;
    if (gate->dtype == up->dtype && path == PATH_GEMV)
        st = linear_gemv(&l, 2, prods);
    else if (gate->dtype == up->dtype && path == PATH_GEMM_QUANT)
        st = linear_gemm_quant(&l, 2, prods);
    if (st != KRN_UNSUPPORTED)
        return st;
    l.glu = false;
    st = products(&l, 2, prods);
    return st == KRN_OK ? cuda_silu_rows(d, y, ldy, m, (unsigned)gate->n_out)
                        : st;
}
