/* k_gemv_float.cu - Products of up to 8 tokens with weights of 16-bit floats,
 * which lie as in a file: gemv.cuh. Lane (g, t) reads 16 bytes of row g and of
 * row g + 8 a step of 32 k; the order of k within a step is free as long as x
 * has the same. */
#include "kernels/cuda/gemv.cuh"

template <class ACT> struct RowWeights {
    typedef ACT T;
    static constexpr int K = 32;
    static constexpr bool SUMS = false;
    static constexpr bool SCALED = false;
    struct slot {
        uint4 r0, r1;
    };
    const char *w0, *w1; /* of rows g and g + 8 at 8 t */
    int g, t, k;

    DEV RowWeights(const struct tg_gemv &a, int lane)
        : g(lane >> 2), t(lane & 3), k((int)a.k)
    {
    }

    DEV const char *at(const void *w, uint32_t row, uint32_t n_out) const
    {
        size_t r = min(row, n_out - 1); /* what is beyond is not looked at */

        return (const char *)w + (r * (size_t)k + 8 * (size_t)t) * 2;
    }

    DEV void begin(const struct tg_gemv &a, uint32_t tile)
    {
        const struct tg_mat &m = a.mat[gemv_mat(a, tile)];
        uint32_t row = (tile - m.tile0) * (a.glu ? 8 : 16) + (uint32_t)g;

        w0 = at(m.w, row, m.n_out);
        w1 = a.glu ? at(m.up, row, m.n_out) : at(m.w, row + 8, m.n_out);
    }

    DEV void load(slot &s, int u, bool ok) const
    {
        ok = ok && u * K + 8 * t < k;
        s.r0 = ldg_stream_if(w0 + (size_t)u * (K * 2), ok);
        s.r1 = ldg_stream_if(w1 + (size_t)u * (K * 2), ok);
    }

    DEV void use(const slot &s, float c[4], const struct GemvX &x, int u) const
    {
        uint4 b = *(const uint4 *)(x.row + u * (K * 2) + 16 * t);
        uint32_t lo[4] = {s.r0.x, s.r1.x, s.r0.y, s.r1.y};
        uint32_t hi[4] = {s.r0.z, s.r1.z, s.r0.w, s.r1.w};

        ACT::mma(c, lo, b.x, b.y);
        ACT::mma(c, hi, b.z, b.w);
    }
};

KERNEL(tg_gemv_bf16, struct tg_gemv, 256, 3)
{
    gemv<RowWeights<Bf16>, 8, 4>(a);
}

KERNEL(tg_gemv_f16, struct tg_gemv, 256, 3)
{
    gemv<RowWeights<F16>, 8, 4>(a);
}
