/* cpu_ops.c - The tables of operations over matrices, by instruction set. */
#include "kernels/cpu/cpu.h"

static void panels_layout(enum krn_dtype t, size_t n_out, size_t n_in,
                          size_t *unit_bytes_out, size_t *units_out)
{
    *unit_bytes_out = cpu_panel_bytes(t, n_in);
    *units_out = (n_out + CPU_LANES - 1) / CPU_LANES;
}

static void avx2_pack(struct krn_ctx *c, const struct krn_weight *w,
                      const void *rows)
{
    cpu_pack(c, &cpu_set_avx2.kind[w->dtype], w, rows);
}

static enum krn_status avx2_linear(struct krn_ctx *c, const float *x,
                                   size_t ldx, unsigned m, unsigned n,
                                   const struct krn_out *outs)
{
    return cpu_linear(c, &cpu_set_avx2, x, ldx, m, n, outs);
}

static void avx2_row(const struct krn_weight *w, size_t row, float *y)
{
    cpu_unpack_row(&cpu_set_avx2.kind[w->dtype], w, row, y);
}

const struct krn_mat_ops cpu_mat_ops_avx2 = {
    .layout = panels_layout,
    .pack = avx2_pack,
    .linear = avx2_linear,
    .row = avx2_row,
};

static void avx512_pack(struct krn_ctx *c, const struct krn_weight *w,
                        const void *rows)
{
    cpu_pack(c, &cpu_set_avx512.kind[w->dtype], w, rows);
}

static enum krn_status avx512_linear(struct krn_ctx *c, const float *x,
                                     size_t ldx, unsigned m, unsigned n,
                                     const struct krn_out *outs)
{
    return cpu_linear(c, &cpu_set_avx512, x, ldx, m, n, outs);
}

static void avx512_row(const struct krn_weight *w, size_t row, float *y)
{
    cpu_unpack_row(&cpu_set_avx512.kind[w->dtype], w, row, y);
}

const struct krn_mat_ops cpu_mat_ops_avx512 = {
    .layout = panels_layout,
    .pack = avx512_pack,
    .linear = avx512_linear,
    .row = avx512_row,
};
