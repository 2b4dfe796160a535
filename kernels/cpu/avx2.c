/* avx2.c - The tables of the AVX2 set. */
#include "kernels/cpu/avx2.h"

#define RUNS_Q4_0                                                              \
    {                                                                          \
        {0, 2, 1},                                                             \
        {                                                                      \
            2, 4, 4                                                            \
        }                                                                      \
    }
#define RUNS_Q4_K                                                              \
    {                                                                          \
        {0, 2, 1}, {2, 2, 1}, {4, 4, 3},                                       \
        {                                                                      \
            16, 4, 32                                                          \
        }                                                                      \
    }
#define RUNS_Q5_K                                                              \
    {                                                                          \
        {0, 2, 1}, {2, 2, 1}, {4, 4, 3}, {48, 4, 32},                          \
        {                                                                      \
            16, 4, 8                                                           \
        }                                                                      \
    }
#define RUNS_Q6_K                                                              \
    {                                                                          \
        {208, 2, 1}, {192, 4, 4}, {0, 4, 32},                                  \
        {                                                                      \
            128, 4, 16                                                         \
        }                                                                      \
    }

const struct cpu_set cpu_set_avx2 = {
    .max_rows = AVX2_ROWS,
    .xpack = {avx2_xpack_float, avx2_xpack_bytes, avx2_xpack_pairs},
    .widened = avx2_widened_tile,
    .kind =
        {
            [KRN_F32] = {.tile = avx2_f32_tile,
                         .wide = avx2_f32_wide,
                         .wide_panels = avx2_float_panels},
            [KRN_F16] = {.tile = avx2_f16_tile,
                         .wide = avx2_f16_wide,
                         .wide_panels = avx2_float_panels,
                         .widen = avx2_f16_widen,
                         .direct_max = 16},
            [KRN_BF16] = {.tile = avx2_bf16_tile,
                          .wide = avx2_bf16_wide,
                          .wide_panels = avx2_float_panels,
                          .widen = avx2_bf16_widen,
                          .direct_max = 16},
            [KRN_Q8_0] = {.xform = CPU_X_PAIRS,
                          .run = {{0, 2, 1}, {2, 2, 16}},
                          .tile = avx2_q8_0_tile},
            [KRN_Q4_0] = {.xform = CPU_X_BYTES,
                          .run = RUNS_Q4_0,
                          .tile = avx2_q4_0_tile},
            [KRN_Q4_K] = {.xform = CPU_X_BYTES,
                          .run = RUNS_Q4_K,
                          .tile = avx2_q4_k_tile},
            [KRN_Q5_K] = {.xform = CPU_X_BYTES,
                          .run = RUNS_Q5_K,
                          .tile = avx2_q5_k_tile},
            [KRN_Q6_K] = {.xform = CPU_X_BYTES,
                          .run = RUNS_Q6_K,
                          .tile = avx2_q6_k_tile},
        },
};
