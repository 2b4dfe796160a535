/* k_heads.cu - Heads of a row: their norm, their turning, and keys and values
 * into pages. What comes out of a row depends on that row alone. */
#include "kernels/cuda/e4m3.h"
#include "kernels/cuda/rows.cuh"

#define PAGE 64 /* tokens */

/* One thread's part of a head: eight elements. */
struct part {
    size_t row;
    int head; /* of its kind */
    int kind; /* 0 = q, 1 = k, 2 = v */
    int c;    /* the elements 8c .. 8c+7 */
    bool live;
};

DEV part part_of(const a_heads &a)
{
    unsigned at = blockIdx.x * ROWS_THREADS + threadIdx.x;
    unsigned heads = (unsigned)(a.n_head + 2 * a.n_kv);
    unsigned item = at / (unsigned)a.lanes;
    part p;

    p.c = (int)(at % (unsigned)a.lanes);
    p.row = item / heads;
    p.live = p.row < (size_t)a.m && p.c * 8 < a.d_head;
    p.head = (int)(item - (unsigned)p.row * heads);
    p.kind = 0;
    if (p.head >= a.n_head) {
        p.head -= a.n_head;
        p.kind = 1;
        if (p.head >= a.n_kv) {
            p.head -= a.n_kv;
            p.kind = 2;
        }
    }
    return p;
}

/* Norm the head that <lanes> threads hold. */
DEV void head_norm(const a_heads &a, const part &p, float v[8])
{
    const float *gain = p.kind == 0 ? a.q_norm : a.k_norm;
    float s = squares(v), r, g[8];

    for (int o = a.lanes >> 1; o > 0; o >>= 1)
        s += __shfl_xor_sync(0xffffffffu, s, o);
    if (!p.live || p.kind == 2 || !gain)
        return;
    r = 1.f / sqrtf(s / (float)a.d_head + a.eps);
#pragma unroll
    for (int j = 0; j < 8; j++)
        g[j] = gain[8 * p.c + j];
    scale_by(v, r, g);
}

/* Turn the pairs (2i, 2i+1). */
DEV void turn_near(const a_heads &a, const part &p, float v[8])
{
    const float *cs = a.cs + p.row * a.n_rot + 8 * p.c;

    if (!p.live || p.kind == 2)
        return;
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
        float2 w;
        float even = v[j];
        if (8 * p.c + j >= a.n_rot)
            continue;
        w = *(const float2 *)(cs + j);
        v[j] = even * w.x - v[j + 1] * w.y;
        v[j + 1] = v[j + 1] * w.x + even * w.y;
    }
}

/* Turn the pairs (i, i + n_rot/2); <far> has the other of each pair. */
DEV void turn_by(const a_heads &a, const part &p, float v[8],
                 const float far[8])
{
    const float *cs = a.cs + p.row * a.n_rot;
    int half = a.n_rot >> 1;

    if (!p.live || p.kind == 2)
        return;
#pragma unroll
    for (int j = 0; j < 8; j++) {
        int i = 8 * p.c + j;
        float2 w;
        if (i >= a.n_rot)
            continue;
        w = *(const float2 *)(cs + 2 * (i < half ? i : i - half));
        v[j] = v[j] * w.x + far[j] * (i < half ? -w.y : w.y);
    }
}

DEV void turn_halves(const a_heads &a, const part &p, float v[8], float *sh)
{
    int half = a.n_rot >> 1;
    float far[8];

    if (a.n_rot % 16 == 0) {
        int lane = (int)(threadIdx.x & 31);
        int from = 8 * p.c < half ? lane + half / 8 : lane - half / 8;
        from = 8 * p.c < a.n_rot ? from : lane;
#pragma unroll
        for (int j = 0; j < 8; j++)
            far[j] = __shfl_sync(0xffffffffu, v[j], from);
    } else {
        float *mine = sh + threadIdx.x * 8;
        const float *head = mine - 8 * p.c;
#pragma unroll
        for (int j = 0; j < 8; j++)
            mine[j] = v[j];
        __syncwarp();
#pragma unroll
        for (int j = 0; j < 8; j++) {
            int i = 8 * p.c + j;
            int at = i < half ? i + half : i - half;
            far[j] = i < a.n_rot ? head[at] : 0.f;
        }
    }
    turn_by(a, p, v, far);
}

/* The exponent of the scale of numbers up to <top>: the least with which none
 * is beyond the greatest e4m3, as long as numbers and scale are fine as F16. */
DEV int scale_exp(float top)
{
    uint32_t u = __float_as_uint(top);
    int e = (int)(u >> 23) - 127 - 8 + ((u & 0x7fffffu) > 0x600000u);

    return min(max(e, -14), 7);
}

/* Write 8 numbers as e4m3, times 2^-e, and the first of a token its scale. */
DEV void set_narrow(uint8_t *half, int64_t at, int slot, const a_heads &a,
                    const part &p, const float v[8], int e)
{
    const float by = __uint_as_float((uint32_t)(127 - e) << 23);
    uint2 w = make_uint2(0, 0);

#pragma unroll
    for (int j = 0; j < 4; j++) {
        w.x |= (uint32_t)e4m3_of_f32(v[j] * by) << 8 * j;
        w.y |= (uint32_t)e4m3_of_f32(v[j + 4] * by) << 8 * j;
    }
    *(uint2 *)(half + at) = w;
    if (p.c == 0)
        *(uint32_t *)(half + PAGE * a.d_head + slot * 4) =
            (uint32_t)(e + 15) << 10 | (uint32_t)(e + 15) << 26;
}

/* Write a part of a key or value to its page; nothing for nobody's row. <e> is
 * the exponent of its scale, of FP8. */
DEV void page_set(const a_heads &a, const part &p, const float v[8], int e)
{
    int pos = a.pos[p.row];
    uint8_t *half;
    int64_t at;
    int page;

    if (pos < 0 || pos / PAGE >= a.max_pages)
        return;
    page = a.table[(int64_t)a.seq[p.row] * a.max_pages + pos / PAGE];
    if (page < 0 || page >= a.n_pages)
        return;
    half = a.pages + page * a.page_stride +
           (int64_t)((p.kind - 1) * a.n_kv + p.head) * a.half_bytes;
    at = (int64_t)(pos % PAGE) * a.d_head + 8 * p.c;
    if (a.kv == ROWS_KV_FP8)
        set_narrow(half, at, pos % PAGE, a, p, v, e);
    else if (a.kv == ROWS_KV_BF16)
        Unit<Bf16>::set((uint16_t *)half + at, v);
    else
        Unit<F16>::set((uint16_t *)half + at, v);
}

/* The exponent of the scale of the head that <lanes> threads hold. */
DEV int head_scale(const a_heads &a, const float v[8])
{
    float top = 0.f;

#pragma unroll
    for (int j = 0; j < 8; j++)
        top = fmaxf(top, fabsf(v[j]));
    for (int o = a.lanes >> 1; o > 0; o >>= 1)
        top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, o));
    return scale_exp(top);
}

template <class T> DEV void heads(const a_heads &a, float *sh)
{
    typedef typename T::el el;
    part p = part_of(a);
    el *at = (el *)a.q + (int64_t)p.row * a.ldq;
    float v[8];
    int e = 0;

    if (p.kind == 1)
        at = (el *)a.k + (int64_t)p.row * a.ldk;
    if (p.kind == 2)
        at = (el *)a.v + (int64_t)p.row * a.ldv;
    at += (int64_t)p.head * a.d_head + 8 * p.c;
#pragma unroll
    for (int j = 0; j < 8; j++)
        v[j] = 0.f;
    pdl_wait();
    if (p.live)
        get_some<T>(at, 8, a.vec, v);
    pdl_go();
    head_norm(a, p, v);
    if (a.halves)
        turn_halves(a, p, v, sh);
    else
        turn_near(a, p, v);
    if (a.kv == ROWS_KV_FP8)
        e = head_scale(a, v);
    if (p.live && p.kind == 0)
        set_some<T>(at, 8, a.vec, v);
    if (p.live && p.kind != 0)
        page_set(a, p, v, e);
}

KERNEL(tg_heads_f32, a_heads, ROWS_THREADS, 1)
{
    __shared__ float sh[ROWS_THREADS * 8];

    heads<F32>(a, sh);
}

KERNEL(tg_heads_f16, a_heads, ROWS_THREADS, 1)
{
    __shared__ float sh[ROWS_THREADS * 8];

    heads<F16>(a, sh);
}

KERNEL(tg_heads_bf16, a_heads, ROWS_THREADS, 1)
{
    __shared__ float sh[ROWS_THREADS * 8];

    heads<Bf16>(a, sh);
}
