/* k_rows.cu - The kernels of what deals with rows, but for products and
 * attention: embedding, cosines, norms, taking rows, heads. What comes out of a
 * row depends on that row alone, in one fixed order. */
#include "kernels/cuda/a_rows.h"
#include "kernels/cuda/dev.cuh"
#include "kernels/cuda/tile.cuh"

#define PAGE 64 /* tokens */

/* --- units of eight elements ---------------------------------------------- */

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

/* The row and the first element of this thread's unit, when <blocks> blocks of
 * ROWS_THREADS units share a row. */
DEV size_t unit_row(int blocks)
{
    return blockIdx.x / (unsigned)blocks;
}

DEV int unit_at(int blocks)
{
    return (int)(blockIdx.x % (unsigned)blocks * ROWS_THREADS + threadIdx.x) *
           8;
}

/* --- embedding ------------------------------------------------------------ */

template <class T> struct FloatRows {
    static DEV void get(const a_embed &a, size_t row, int at, float v[8])
    {
        get_some<T>((const typename T::el *)a.w + row * a.n_in + at,
                    a.n_in - at, a.vec, v);
    }
};

template <class T> struct TileRows {
    static DEV void get(const a_embed &a, size_t row, int at, float v[8])
    {
        tile_row8<T>((const uint8_t *)a.w, row, a.n_k, at, v);
    }
};

template <class R> DEV void embed(const a_embed &a)
{
    size_t row = unit_row(a.blocks);
    int at = unit_at(a.blocks);
    float v[8];

    pdl_wait();
    if (at < a.n_in) {
        R::get(a, (size_t)a.ids[row], at, v);
        set_some<F32>(a.x + row * a.n_in + at, a.n_in - at, a.vec, v);
    }
    pdl_go();
}

KERNEL(tg_embed_f32, a_embed, ROWS_THREADS, 1)
{
    embed<FloatRows<F32>>(a);
}

KERNEL(tg_embed_f16, a_embed, ROWS_THREADS, 1)
{
    embed<FloatRows<F16>>(a);
}

KERNEL(tg_embed_bf16, a_embed, ROWS_THREADS, 1)
{
    embed<FloatRows<Bf16>>(a);
}

KERNEL(tg_embed_q8_0, a_embed, ROWS_THREADS, 1)
{
    embed<TileRows<TileQ8>>(a);
}

KERNEL(tg_embed_q4_0, a_embed, ROWS_THREADS, 1)
{
    embed<TileRows<TileQ4>>(a);
}

KERNEL(tg_embed_q4_k, a_embed, ROWS_THREADS, 1)
{
    embed<TileRows<TileQ4K>>(a);
}

KERNEL(tg_embed_q5_k, a_embed, ROWS_THREADS, 1)
{
    embed<TileRows<TileQ5K>>(a);
}

KERNEL(tg_embed_q6_k, a_embed, ROWS_THREADS, 1)
{
    embed<TileRows<TileQ6K>>(a);
}

/* --- cosines -------------------------------------------------------------- */

/* Sine and cosine of <x> with |x| far below 2^40, off by less than 1e-15: x /
 * pi in two parts, of which whole turns are taken. */
DEV void turn_of(double x, double *s, double *c)
{
    const double inv = 0.31830988618379067154;      /* 1 / pi */
    const double inv_low = -1.9678676675182486e-17; /* what inv lacks of it */
    double hi = x * inv;
    double low = fma(x, inv, -hi) + x * inv_low;

    sincospi((hi - 2. * rint(hi * .5)) + low, s, c);
}

KERNEL(tg_turns, a_turns, ROWS_THREADS, 1)
{
    unsigned i = blockIdx.x * ROWS_THREADS + threadIdx.x;

    pdl_wait();
    if (i < (unsigned)a.m * (unsigned)a.n_half) {
        unsigned row = i / (unsigned)a.n_half;
        double s, c;

        turn_of((double)a.pos[row] * a.freq[i - row * (unsigned)a.n_half], &s,
                &c);
        *(float2 *)(a.cs + 2 * (size_t)i) =
            make_float2((float)(a.size * c), (float)(a.size * s));
    }
    pdl_go();
}

/* --- norm ----------------------------------------------------------------- */

/* The sum of <s> over a warp, the same in all lanes. */
DEV float warp_sum(float s)
{
#pragma unroll
    for (int o = 16; o > 0; o >>= 1)
        s += __shfl_xor_sync(0xffffffffu, s, o);
    return s;
}

/* The sum of <s> over the block, by way of <red> (a float a warp). */
DEV float block_sum(float s, float *red)
{
    unsigned n = blockDim.x / 32;
    float sum = 0;

    s = warp_sum(s);
    if (threadIdx.x % 32 == 0)
        red[threadIdx.x / 32] = s;
    __syncthreads();
    for (unsigned i = 0; i < n; i++)
        sum += red[i];
    return sum;
}

DEV float squares(const float v[8])
{
    float s = v[0] * v[0];

#pragma unroll
    for (int j = 1; j < 8; j++)
        s = fmaf(v[j], v[j], s);
    return s;
}

DEV void scale_by(float v[8], float r, const float gain[8])
{
#pragma unroll
    for (int j = 0; j < 8; j++)
        v[j] = v[j] * r * gain[j];
}

/* A row of at most two units a thread: read once. */
template <class T>
DEV void norm_short(const a_norm &a, typename T::el *y, const float *x,
                    float *red)
{
    float v[2][8], gain[2][8], s = 0, r;

#pragma unroll
    for (int u = 0; u < 2; u++) {
        int at = (int)(threadIdx.x + (unsigned)u * blockDim.x) * 8;
#pragma unroll
        for (int j = 0; j < 8; j++)
            gain[u][j] = 0.f;
        if (at < a.n)
            get_some<F32>(a.gain + at, a.n - at, a.vec, gain[u]);
    }
    pdl_wait();
#pragma unroll
    for (int u = 0; u < 2; u++) {
        int at = (int)(threadIdx.x + (unsigned)u * blockDim.x) * 8;
#pragma unroll
        for (int j = 0; j < 8; j++)
            v[u][j] = 0.f;
        if (at < a.n)
            get_some<F32>(x + at, a.n - at, a.vec, v[u]);
    }
    pdl_go();
    s = squares(v[0]) + squares(v[1]);
    r = 1.f / sqrtf(block_sum(s, red) / (float)a.n + a.eps);
#pragma unroll
    for (int u = 0; u < 2; u++) {
        int at = (int)(threadIdx.x + (unsigned)u * blockDim.x) * 8;
        scale_by(v[u], r, gain[u]);
        if (at < a.n)
            set_some<T>(y + at, a.n - at, a.vec, v[u]);
    }
}

/* A row of any length: read twice. */
template <class T>
DEV void norm_long(const a_norm &a, typename T::el *y, const float *x,
                   float *red)
{
    int step = (int)blockDim.x * 8;
    float v[8], gain[8], s = 0, r;

    pdl_wait();
    for (int at = (int)threadIdx.x * 8; at < a.n; at += step) {
        get_some<F32>(x + at, a.n - at, a.vec, v);
        s += squares(v);
    }
    r = 1.f / sqrtf(block_sum(s, red) / (float)a.n + a.eps);
    for (int at = (int)threadIdx.x * 8; at < a.n; at += step) {
        get_some<F32>(x + at, a.n - at, a.vec, v);
        get_some<F32>(a.gain + at, a.n - at, a.vec, gain);
        scale_by(v, r, gain);
        set_some<T>(y + at, a.n - at, a.vec, v);
    }
    pdl_go();
}

template <class T> DEV void norm(const a_norm &a, float *red)
{
    typename T::el *y = (typename T::el *)a.y + (int64_t)blockIdx.x * a.ldy;
    const float *x = a.x + (int64_t)blockIdx.x * a.ldx;

    if (a.n <= (int)blockDim.x * 16)
        norm_short<T>(a, y, x, red);
    else
        norm_long<T>(a, y, x, red);
}

KERNEL(tg_norm_f32, a_norm, ROWS_NORM_THREADS, 2)
{
    __shared__ float red[ROWS_NORM_THREADS / 32];

    norm<F32>(a, red);
}

KERNEL(tg_norm_f16, a_norm, ROWS_NORM_THREADS, 2)
{
    __shared__ float red[ROWS_NORM_THREADS / 32];

    norm<F16>(a, red);
}

KERNEL(tg_norm_bf16, a_norm, ROWS_NORM_THREADS, 2)
{
    __shared__ float red[ROWS_NORM_THREADS / 32];

    norm<Bf16>(a, red);
}

/* --- taking rows ---------------------------------------------------------- */

KERNEL(tg_take, a_take, ROWS_THREADS, 1)
{
    size_t row = unit_row(a.blocks);
    int at = unit_at(a.blocks);
    float v[8];

    pdl_wait();
    if (at < a.n) {
        get_some<F32>(a.x + (size_t)a.wanted[row] * a.n + at, a.n - at, a.vec,
                      v);
        set_some<F32>(a.y + row * a.n + at, a.n - at, a.vec, v);
    }
    pdl_go();
}

/* --- heads ---------------------------------------------------------------- */

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

/* Write a part of a key or value to its page; nothing for nobody's row. */
DEV void page_set(const a_heads &a, const part &p, const float v[8])
{
    int pos = a.pos[p.row];
    int64_t at;
    int page;

    if (pos < 0 || pos / PAGE >= a.max_pages)
        return;
    page = a.table[(int64_t)a.seq[p.row] * a.max_pages + pos / PAGE];
    if (page < 0 || page >= a.n_pages)
        return;
    at = page * a.page_stride +
         ((int64_t)((p.kind - 1) * a.n_kv + p.head) * PAGE + pos % PAGE) *
             a.d_head +
         8 * p.c;
    if (a.bf16)
        Unit<Bf16>::set(a.pages + at, v);
    else
        Unit<F16>::set(a.pages + at, v);
}

template <class T> DEV void heads(const a_heads &a, float *sh)
{
    typedef typename T::el el;
    part p = part_of(a);
    el *at = (el *)a.q + (int64_t)p.row * a.ldq;
    float v[8];

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
    if (p.live && p.kind == 0)
        set_some<T>(at, 8, a.vec, v);
    if (p.live && p.kind != 0)
        page_set(a, p, v);
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

/* --- pieces of products --------------------------------------------------- */

template <class T> DEV void silu(const a_silu &a)
{
    typename T::el *y =
        (typename T::el *)a.y + (int64_t)unit_row(a.blocks) * a.ldy;
    int at = unit_at(a.blocks);
    float g[8], u[8];

    pdl_wait();
    if (at < a.n) {
        get_some<T>(y + at, a.n - at, a.vec, g);
        get_some<T>(y + a.n + at, a.n - at, a.vec, u);
#pragma unroll
        for (int j = 0; j < 8; j++)
            g[j] = g[j] / (1.f + expf(-g[j])) * u[j];
        set_some<T>(y + at, a.n - at, a.vec, g);
    }
    pdl_go();
}

KERNEL(tg_silu_f32, a_silu, ROWS_THREADS, 1)
{
    silu<F32>(a);
}

KERNEL(tg_silu_f16, a_silu, ROWS_THREADS, 1)
{
    silu<F16>(a);
}

KERNEL(tg_silu_bf16, a_silu, ROWS_THREADS, 1)
{
    silu<Bf16>(a);
}

template <class T> DEV void bias(const a_bias &a)
{
    typename T::el *y =
        (typename T::el *)a.y + (int64_t)unit_row(a.blocks) * a.ldy;
    int at = unit_at(a.blocks);
    float v[8], b[8];

    pdl_wait();
    if (at < a.n) {
        get_some<T>(y + at, a.n - at, a.vec, v);
        get_some<F32>(a.bias + at, a.n - at, a.vec, b);
#pragma unroll
        for (int j = 0; j < 8; j++)
            v[j] += b[j];
        set_some<T>(y + at, a.n - at, a.vec, v);
    }
    pdl_go();
}

KERNEL(tg_bias_f32, a_bias, ROWS_THREADS, 1)
{
    bias<F32>(a);
}

KERNEL(tg_bias_f16, a_bias, ROWS_THREADS, 1)
{
    bias<F16>(a);
}

KERNEL(tg_bias_bf16, a_bias, ROWS_THREADS, 1)
{
    bias<Bf16>(a);
}
