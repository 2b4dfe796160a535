/* rows_avx512.c - The inner loops of rows and attention with AVX512. */
#include "kernels/cpu/cpu_rows.h"

#include "kernels/cpu/v16_avx512.h"

#include "kernels/cpu/attend_tmpl.h"
#include "kernels/cpu/rows_tmpl.h"

const struct cpu_row_fns cpu_row_fns_avx512 = {
    .most_rows = V16_ROWS,
    .norm = row_norm,
    .add = row_add,
    .silu_mul = row_silu_mul,
    .turn = row_turn,
    .narrow = row_narrow,
    .widen = row_widen,
    .chain = chain_any,
    .greatest = score_greatest,
    .exp_cut = score_exp_cut,
    .weigh = row_weigh,
};
