/* half.h - Half precision and bfloat16 to float and back, in plain integer
 * arithmetic: the same bits on every machine. */
#ifndef TG_KERNELS_HALF_H
#define TG_KERNELS_HALF_H

#include <stdint.h>
#include <string.h>

/* The float whose bits are <u>, and back. */
static inline float f32_of_bits(uint32_t u)
{
    float f;

    memcpy(&f, &u, sizeof(f));
    return f;
}

static inline uint32_t f32_bits(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof(u));
    return u;
}

/* IEEE half <h>, exactly; a signalling NaN comes out quiet. */
static inline float f32_of_half(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000U) << 16;
    uint32_t exponent = h >> 10 & 31U;
    uint32_t fraction = h & 0x3ffU;

    if (exponent == 31)
        return f32_of_bits(sign | 0x7f800000U | fraction << 13 |
                           (fraction != 0 ? 0x400000U : 0));
    if (exponent != 0)
        return f32_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
    /* fraction * 2^-24 has one rounding-free representation. */
    return f32_of_bits(sign | f32_bits((float)fraction * 0x1p-24F));
}

/* <f> rounded to nearest, ties to even; past the range infinity. */
static inline uint16_t half_of_f32(float f)
{
    uint32_t u = f32_bits(f);
    uint32_t sign = u >> 16 & 0x8000U;
    uint32_t mag = u & 0x7fffffffU;

    if (mag > 0x7f800000U)
        return (uint16_t)(sign | 0x7e00U | (mag >> 13 & 0x3ffU));
    if (mag >= 0x477ff000U)
        return (uint16_t)(sign | 0x7c00U);
    if (mag >= 0x38800000U)
        return (uint16_t)(sign |
                          (mag - 0x38000000U + 0xfffU + (mag >> 13 & 1U)) >>
                              13);
    /* Adding a half lets the machine round to a multiple of 2^-24. */
    mag = f32_bits(f32_of_bits(mag) + 0.5F) - f32_bits(0.5F);
    return (uint16_t)(sign | mag);
}

/* bfloat16 <h>, exactly. */
static inline float f32_of_bf16(uint16_t h)
{
    return f32_of_bits((uint32_t)h << 16);
}

/* <f> rounded to nearest, ties to even; a NaN stays one. */
static inline uint16_t bf16_of_f32(float f)
{
    uint32_t u = f32_bits(f);

    if ((u & 0x7fffffffU) > 0x7f800000U)
        return (uint16_t)(u >> 16 | 0x40U);
    return (uint16_t)((u + 0x7fffU + (u >> 16 & 1U)) >> 16);
}

#endif
