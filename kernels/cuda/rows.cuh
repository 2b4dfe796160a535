/* rows.cuh - Units of eight elements of a row, as the kernels of k_rows.cu and
 * k_heads.cu read and write them. */
#ifndef TG_KERNELS_CUDA_ROWS_CUH
#define TG_KERNELS_CUDA_ROWS_CUH

#include "kernels/cuda/a_rows.h"
#include "kernels/cuda/dev.cuh"

/* Eight elements at an address that is a multiple of 16. */
template <class T> struct Unit {
    static DEV void get(const uint16_t *p, float v[8])
    {
        uint4 u = *(const uint4 *)p;

        v[0] = T::get((uint16_t)u.x), v[1] = T::get((uint16_t)(u.x >> 16));
        v[2] = T::get((uint16_t)u.y), v[3] = T::get((uint16_t)(u.y >> 16));
        v[4] = T::get((uint16_t)u.z), v[5] = T::get((uint16_t)(u.z >> 16));
        v[6] = T::get((uint16_t)u.w), v[7] = T::get((uint16_t)(u.w >> 16));
    }
    static DEV void set(uint16_t *p, const float v[8])
    {
        *(uint4 *)p = make_uint4(T::pack(v[0], v[1]), T::pack(v[2], v[3]),
                                 T::pack(v[4], v[5]), T::pack(v[6], v[7]));
    }
};

/* The same, of floats. */
template <> struct Unit<F32> {
    static DEV void get(const float *p, float v[8])
    {
        float4 a = ((const float4 *)p)[0];
        float4 b = ((const float4 *)p)[1];

        v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w;
        v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
    }
    static DEV void set(float *p, const float v[8])
    {
        ((float4 *)p)[0] = make_float4(v[0], v[1], v[2], v[3]);
        ((float4 *)p)[1] = make_float4(v[4], v[5], v[6], v[7]);
    }
};

/* The first <n> (up to eight) elements from <p> on; zeros behind them. */
template <class T>
DEV void get_some(const typename T::el *p, int n, int vec, float v[8])
{
    if (vec) {
        Unit<T>::get(p, v);
        return;
    }
#pragma unroll
    for (int j = 0; j < 8; j++)
        v[j] = j < n ? T::get(p[j]) : 0.f;
}

/* Likewise write them. */
template <class T>
DEV void set_some(typename T::el *p, int n, int vec, const float v[8])
{
    if (vec) {
        Unit<T>::set(p, v);
        return;
    }
#pragma unroll
    for (int j = 0; j < 8; j++)
        if (j < n)
            p[j] = T::set(v[j]);
}

/* The sum of squares of a unit. */
DEV float squares(const float v[8])
{
    float s = v[0] * v[0];

#pragma unroll
    for (int j = 1; j < 8; j++)
        s = fmaf(v[j], v[j], s);
    return s;
}

/* A unit times <r> and its gains. */
DEV void scale_by(float v[8], float r, const float gain[8])
{
#pragma unroll
    for (int j = 0; j < 8; j++)
        v[j] = v[j] * r * gain[j];
}

#endif
