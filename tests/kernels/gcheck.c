/* gcheck.c - Comparing outputs of a device within tolerances. */
#include "kernels/gcheck.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/cuda/tolerance.h"
#include "kernels/half.h"

struct gcheck_tol gcheck_rows(enum krn_dtype t)
{
    if (t == KRN_F16)
        return (struct gcheck_tol){TOL_ROW_F16_RTOL, TOL_ROW_F16_ATOL,
                                   TOL_ROW_F16_NMSE};
    if (t == KRN_BF16)
        return (struct gcheck_tol){TOL_ROW_BF16_RTOL, TOL_ROW_BF16_ATOL,
                                   TOL_ROW_BF16_NMSE};
    return (struct gcheck_tol){TOL_ROW_F32_RTOL, TOL_ROW_F32_ATOL,
                               TOL_ROW_F32_NMSE};
}

size_t gcheck_size(enum krn_dtype t)
{
    return t == KRN_F32 ? 4 : 2;
}

double gcheck_get(enum krn_dtype t, const void *p, size_t i)
{
    if (t == KRN_F16)
        return (double)f32_of_half(((const uint16_t *)p)[i]);
    if (t == KRN_BF16)
        return (double)f32_of_bf16(((const uint16_t *)p)[i]);
    return (double)((const float *)p)[i];
}

void gcheck_set(enum krn_dtype t, void *p, size_t i, double v)
{
    if (t == KRN_F16) {
        v = v > 65504 ? 65504 : v < -65504 ? -65504 : v;
        ((uint16_t *)p)[i] = half_of_f32((float)v);
    } else if (t == KRN_BF16) {
        ((uint16_t *)p)[i] = bf16_of_f32((float)v);
    } else {
        ((float *)p)[i] = (float)v;
    }
}

double gcheck_round(enum krn_dtype t, double v)
{
    uint32_t at = 0;

    gcheck_set(t, &at, 0, v);
    return gcheck_get(t, &at, 0);
}

/* Whether <d> is near <r>; NaN is near nothing, not even itself. */
static bool is_near(double d, double r, struct gcheck_tol tol)
{
    if (isinf(r) || isinf(d))
        return d == r;
    return fabs(d - r) <= tol.atol + tol.rtol * fabs(r);
}

bool gcheck_near(const char *what, struct gcheck_out o, const double *want,
                 struct gcheck_tol tol)
{
    double off = 0, all = 0;
    /* What is left of nothing but zeros has been held to atol. */
    double least = (double)(o.rows * o.n) * tol.atol * tol.atol * 1e-6;

    for (size_t row = 0; row < o.rows; row++) {
        for (size_t i = 0; i < o.n; i++) {
            double d = gcheck_get(o.t, o.p, row * o.ld + i);
            double r = want[row * o.n + i];
            if (!is_near(d, r, tol)) {
                printf("%s: row %zu of %zu, element %zu of %zu: got %.9g, want "
                       "%.9g, off by %.3g\n",
                       what, row, o.rows, i, o.n, d, r, fabs(d - r));
                return false;
            }
            if (isfinite(r)) {
                off += (d - r) * (d - r);
                all += r * r;
            }
        }
    }
    if (off > tol.nmse * all + least) {
        printf("%s: NMSE %.3g of %zu rows of %zu, allowed %.3g\n", what,
               off / all, o.rows, o.n, tol.nmse);
        return false;
    }
    return true;
}

bool gcheck_same(const char *what, const void *a, const void *b, size_t bytes)
{
    const uint8_t *p = a, *q = b;

    for (size_t i = 0; i < bytes; i++) {
        if (p[i] != q[i]) {
            printf("%s: byte %zu of %zu: %02x, other %02x\n", what, i, bytes,
                   p[i], q[i]);
            return false;
        }
    }
    return true;
}
