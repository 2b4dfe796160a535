/* k_rows.cu - The kernels of what deals with rows, but for products and
 * attention: embedding, cosines, norms, taking rows. What comes out of a row
 * depends on that row alone, in one fixed order. */
#include "kernels/cuda/rows.cuh"
#include "kernels/cuda/tile.cuh"

/* --- units ---------------------------------------------------------------- */

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
