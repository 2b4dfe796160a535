/* avx512.c - The tables of the AVX-512 set. */
#include "kernels/cpu/avx512.h"

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

const struct cpu_set cpu_set_avx512 = {
    .max_rows = AVX512_ROWS,
    .xpack = {[CPU_X_FLOAT] = avx2_xpack_float,
              [CPU_X_OFFSETS] = avx512_xpack_offsets},
    .kind =
        {
            [KRN_F32] = {.tile = avx512_f32_tile,
                         .wide = avx512_f32_wide,
                         .wide_panels = avx512_float_panels},
            [KRN_F16] = {.tile = avx512_f16_tile,
                         .wide = avx512_f16_wide,
                         .wide_panels = avx512_float_panels},
            [KRN_BF16] = {.tile = avx512_bf16_tile,
                          .wide = avx512_bf16_wide,
                          .wide_panels = avx512_float_panels},
            [KRN_Q8_0] = {.xform = CPU_X_OFFSETS,
                          .run = {{0, 2, 1}, {2, 4, 8}},
                          .tile = avx512_q8_0_tile},
            [KRN_Q4_0] = {.xform = CPU_X_OFFSETS,
                          .run = RUNS_Q4_0,
                          .tile = avx512_q4_0_tile},
            [KRN_Q4_K] = {.xform = CPU_X_OFFSETS,
                          .run = RUNS_Q4_K,
                          .tile = avx512_q4_k_tile},
            [KRN_Q5_K] = {.xform = CPU_X_OFFSETS,
                          .run = RUNS_Q5_K,
                          .tile = avx512_q5_k_tile},
            [KRN_Q6_K] = {.xform = CPU_X_OFFSETS,
                          .run = RUNS_Q6_K,
                          .tile = avx512_q6_k_tile},
        },
};
