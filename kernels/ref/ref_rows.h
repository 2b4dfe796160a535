/* ref_rows.h - What the scalar row-wise operations and attention share. */
#ifndef TG_KERNELS_REF_ROWS_H
#define TG_KERNELS_REF_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/krn.h"

/* e to the <x>: within 2 units in the last place, 0 below -87, infinity above
 * 88.4; NaN stays NaN. */
float ref_exp(float x);

/* Element <i> of <p>, an array of F32, F16 or BF16. */
float ref_kv_get(const void *p, enum krn_dtype t, size_t i);

/* Round <v> into element <i> of <p>. */
void ref_kv_put(void *p, enum krn_dtype t, size_t i, float v);

/* The operations of krn.h, or of krn_priv.h where they differ; arguments have
 * been checked. */
enum krn_status ref_rms_norm(struct krn_ctx *c, float *y, size_t ldy,
                             const float *x, size_t ldx, const float *gain,
                             unsigned m, unsigned n, float eps) KRN_MUST_CHECK;
enum krn_status ref_add(struct krn_ctx *c, float *y, const float *x,
                        size_t n) KRN_MUST_CHECK;
enum krn_status ref_silu_mul(struct krn_ctx *c, float *y, size_t ldy,
                             const float *gate, const float *up, size_t ldx,
                             unsigned m, size_t n) KRN_MUST_CHECK;
enum krn_status ref_rope(struct krn_ctx *c, float *v, size_t ld, unsigned m,
                         unsigned n_head, unsigned d_head, unsigned n_rot,
                         const float *cs, bool halves) KRN_MUST_CHECK;
enum krn_status ref_kv_write(struct krn_ctx *c, const struct krn_kv *kv,
                             unsigned layer, const struct krn_rows *rows,
                             const float *k, const float *v,
                             size_t ld) KRN_MUST_CHECK;
enum krn_status ref_attend(struct krn_ctx *c, const struct krn_kv *kv,
                           unsigned layer, const struct krn_rows *rows,
                           const float *q, size_t ldq, unsigned n_head,
                           float scale, float *out, size_t ldo) KRN_MUST_CHECK;

#endif
