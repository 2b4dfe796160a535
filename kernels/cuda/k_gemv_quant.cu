/* k_gemv_quant.cu - Products of up to 8 tokens with quantised weights, which
 * lie in tiles of tile.cuh: gemv.cuh with quant.cuh. */
#include "kernels/cuda/gemv.cuh"
#include "kernels/cuda/quant.cuh"

template <class Q> struct TileWeights {
    typedef F16 T;
    typedef QuantSlot<Q> slot;
    static constexpr int K = Q::K;
    static constexpr bool SUMS = Q::KIND == QUANT_MIN;
    static constexpr bool SCALED = Q::KIND == QUANT_ROW;
    const char *base[2];
    int lane;
    uint32_t n_k;

    DEV TileWeights(const struct tg_gemv &a, int lane_)
        : lane(lane_), n_k((a.k + TILE_K - 1) / TILE_K)
    {
    }

    DEV void begin(const struct tg_gemv &a, uint32_t tile)
    {
        quant_blocks<Q>(a.mat[gemv_mat(a, tile)], a.glu, tile, n_k, base);
    }

    DEV float scale(const struct tg_gemv &a, uint32_t tile, int r) const
    {
        const char *at[2];

        quant_blocks<Q>(a.mat[gemv_mat(a, tile)], a.glu, tile, n_k, at);
        return quant_row_scale<Q>(r < 8 ? at[0] : at[1], n_k, r & 7);
    }

    DEV void load(slot &s, int u, bool ok) const
    {
        quant_load<Q>(s, 0, base[0], u, lane, ok);
        quant_load<Q>(s, 1, base[1], u, lane, ok);
    }

    DEV void use(const slot &s, float c[4], const struct GemvX &x, int u) const
    {
        int t = lane & 3;

#pragma unroll
        for (int h = 0; h < Q::STEPS; h++) {
            int step = u * Q::STEPS + h;
            float2 sums = make_float2(0.f, 0.f);
            uint32_t a[2][4];

            quant_rows<Q>(s, h, a);
            if constexpr (SUMS)
                sums = *(const float2 *)(x.sums + step * GEMV_TOKENS + 2 * t);
            quant_step<Q>(s, h, a, c, quant_x<Q>(x.row + step * 64, t), sums);
        }
    }
};

KERNEL(tg_gemv_q8_0, struct tg_gemv, 256, 2)
{
    gemv<TileWeights<FormQ8_0>, 8, 4>(a);
}

KERNEL(tg_gemv_q4_0, struct tg_gemv, 256, 2)
{
    gemv<TileWeights<FormQ4_0>, 8, 4>(a);
}

KERNEL(tg_gemv_q4_k, struct tg_gemv, 256, 2)
{
    gemv<TileWeights<FormQ4_K>, 8, 3>(a);
}

KERNEL(tg_gemv_q5_k, struct tg_gemv, 256, 2)
{
    gemv<TileWeights<FormQ5_K>, 8, 4>(a);
}

KERNEL(tg_gemv_q6_k, struct tg_gemv, 256, 2)
{
    gemv<TileWeights<FormQ6_K>, 8, 4>(a);
}

KERNEL(tg_gemv_fp8, struct tg_gemv, 256, 2)
{
    gemv<TileWeights<FormFp8>, 8, 4>(a);
}
