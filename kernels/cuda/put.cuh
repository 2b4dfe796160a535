/* put.cuh - What the kernels of products share: how a result is written. */
#ifndef TG_KERNELS_CUDA_PUT_CUH
#define TG_KERNELS_CUDA_PUT_CUH

#include "kernels/cuda/a_linear.h"
#include "kernels/cuda/dev.cuh"

/* Write result <v> of a row and a token, as the matrix says. */
template <class T>
DEV void linear_put(const struct tg_mat &m, uint32_t token, uint32_t row,
                    float v)
{
    size_t at = (size_t)token * m.ldy + row;

    if (m.bias)
        v += m.bias[row];
    if (m.as == TG_AS_ACT)
        ((typename T::el *)m.y)[at] = T::set(v);
    else if (m.as == TG_AS_F32)
        ((float *)m.y)[at] = v;
    else
        ((float *)m.y)[at] += v;
}

/* v times its logistic. */
DEV float silu(float v)
{
    return v / (1.f + expf(-v));
}

/* The sum of the two halves in <v>. */
DEV float half_pair(uint32_t v)
{
    return f32_of_f16((uint16_t)v) + f32_of_f16((uint16_t)(v >> 16));
}

/* The sum of 32 halves from <p> on, in shared memory. */
DEV float half_sum32(const char *p)
{
    float sum = 0.f;

#pragma unroll
    for (int j = 0; j < 4; j++) {
        uint4 v = ((const uint4 *)p)[j];

        sum += (half_pair(v.x) + half_pair(v.y)) +
               (half_pair(v.z) + half_pair(v.w));
    }
    return sum;
}

#endif
