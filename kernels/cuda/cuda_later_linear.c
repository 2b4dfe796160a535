/* cuda_later_linear.c - Stands in for products on the device. */
#include "kernels/cuda/cuda.h"

enum krn_status cuda_linear_open(struct cuda *d)
{
    (void)d;
    return KRN_OK;
}

void cuda_linear_close(struct cuda *d)
{
    (void)d;
}

enum krn_status cuda_linear(struct krn_ctx *c, const void *x, size_t ldx,
                            unsigned m, unsigned n,
                            const struct krn_prod *prods)
{
    (void)c, (void)x, (void)ldx, (void)m, (void)n, (void)prods;
    return KRN_BAD_SHAPE;
}

enum krn_status cuda_glu(struct krn_ctx *c, const void *x, size_t ldx,
                         unsigned m, const struct krn_weight *gate,
                         const struct krn_weight *up, void *y, size_t ldy)
{
    (void)c, (void)x, (void)ldx, (void)m, (void)gate, (void)up, (void)y;
    (void)ldy;
    return KRN_BAD_SHAPE;
}

enum krn_status cuda_weight_load(struct krn_ctx *c, enum krn_dtype t,
                                 size_t n_out, size_t n_in, const void *rows,
                                 struct krn_weight **out)
{
    (void)c, (void)t, (void)n_out, (void)n_in, (void)rows, (void)out;
    return KRN_UNSUPPORTED;
}

void cuda_weight_free(struct krn_ctx *c, struct krn_weight *w)
{
    (void)c, (void)w;
}
