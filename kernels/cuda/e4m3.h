/* e4m3.h - A number as e4m3, on the host and on the device: 8 bits, of which
 * the first is the sign, four are an exponent and three a fraction. 448 is the
 * greatest, 2^-9 the least that is not 0; 0x7f and 0xff are NaN. */
#ifndef TG_KERNELS_CUDA_E4M3_H
#define TG_KERNELS_CUDA_E4M3_H

#include <stdint.h>
#include <string.h>

/* How its functions begin. */
#ifdef __cplusplus
#include "kernels/cuda/dev.cuh"
#define E4M3_FN DEV
#else
#define E4M3_FN static inline
#endif

/* The greatest number. */
#define E4M3_MAX 448.F

/* The bits of <v>. */
E4M3_FN uint32_t e4m3_float_bits(float v)
{
#ifdef __cplusplus
    return __float_as_uint(v);
#else
    uint32_t u;

    memcpy(&u, &v, sizeof(u));
    return u;
#endif
}

/* <v> rounded to nearest, ties to even; what is beyond E4M3_MAX stays there,
 * and NaN becomes 0: no code of NaN ever comes out. */
E4M3_FN uint8_t e4m3_of_f32(float v)
{
    uint32_t u = e4m3_float_bits(v);
    uint32_t sign = u >> 24 & 0x80U, a = u & 0x7fffffffU;
    uint32_t code;

    if (a > 0x7f800000U)
        return 0;
    if (a >= 0x43e00000U) /* 448 */
        code = 0x7e;
    else if (a >= 0x3c800000U) /* 2^-6: 3 of 23 bits stay */
        code = ((a + 0x7ffffU + (a >> 20 & 1)) >> 20) - (120U << 3);
    else /* steps of 2^-9, those of floats from 2^14 on */
        code = e4m3_float_bits((v < 0 ? -v : v) + 16384.F) - 0x46800000U;
    return (uint8_t)(sign | code);
}

#endif
