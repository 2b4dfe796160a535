/* dev.cuh - What the kernels are written in: the instructions that CUDA C++ has
 * no name for, and the declarations that let the same source be run by threads
 * of an emulator (TG_EMU: emu/emu.h), where tests run it without a GPU. Every
 * kernel takes one struct by value, has C linkage and is declared by KERNEL().
 * Halves are kept as uint16_t. No --use_fast_math: what is approximate says so.
 *
 * Lanes: in a warp, lane = 4 * g + t with g = 0..7, t = 0..3. For mma m16n8k16:
 * A (16 rows, 16 k): a0 row g, k 2t..2t+1; a1 row g+8; a2 row g, k+8; a3 row
 * g+8, k+8. B (16 k, 8 columns): b0 column g, k 2t..2t+1; b1 k+8. C (16, 8):
 * c0, c1 row g, columns 2t, 2t+1; c2, c3 row g+8. (PTX ISA, mma.m16n8k16) */
#ifndef TG_KERNELS_CUDA_DEV_CUH
#define TG_KERNELS_CUDA_DEV_CUH

#include <stddef.h>
#include <stdint.h>

#ifdef TG_EMU
#include "kernels/cuda/emu/emu.h"

/* The emulator's half of what stands below, where each is explained. */
DEV uint4 ldg_stream_if(const void *p, bool ok)
{
    return ok ? ldg_stream(p) : make_uint4(0, 0, 0, 0);
}

/* Likewise. */
DEV uint2 ldg_stream8_if(const void *p, bool ok)
{
    return ok ? *(const uint2 *)p : make_uint2(0, 0);
}

/* Likewise. */
DEV uint32_t ldg_stream4_if(const void *p, bool ok)
{
    return ok ? *(const uint32_t *)p : 0;
}

/* a * b + c of halves. */
DEV uint16_t emu_fma_f16(uint16_t a, uint16_t b, uint16_t c)
{
    return emu_f16_of_f32(
        (float)((double)f32_of_f16(a) * f32_of_f16(b) + f32_of_f16(c)));
}

/* Likewise. */
DEV uint32_t fma_f16x2(uint32_t a, uint32_t b, uint32_t c)
{
    uint16_t hi = emu_fma_f16((uint16_t)(a >> 16), (uint16_t)(b >> 16),
                              (uint16_t)(c >> 16));

    return (uint32_t)hi << 16 |
           emu_fma_f16((uint16_t)a, (uint16_t)b, (uint16_t)c);
}
#else

/* How every function of kernels begins. */
#define DEV __device__ __forceinline__

/* A kernel of <threads> threads a block, of which <blocks> should fit on a
 * multiprocessor. Its one argument is called a. */
#define KERNEL(name, args_t, threads, blocks)                                  \
    extern "C" __global__ void __launch_bounds__(threads, blocks)              \
        name(const __grid_constant__ args_t a)

/* The block's dynamic shared memory, aligned to 128. */
#define SHARED_DYN(name) extern __shared__ __align__(128) char name[]

/* An address in shared memory. */
typedef uint32_t smem_t;

/* That of <p>, which points into it. */
DEV smem_t smem_of(const void *p)
{
    return (smem_t)__cvta_generic_to_shared(p);
}

/* --- memory -------------------------------------------------------------- */

/* 16 bytes that nothing writes while the kernel or its predecessors run, and
 * that are read once: weights. Keeps its place in the program. */
DEV uint4 ldg_stream(const void *p)
{
    uint4 v;

    asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 "
                 "{%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p));
    return v;
}

/* Likewise where <ok>, else zeros. */
DEV uint4 ldg_stream_if(const void *p, bool ok)
{
    uint4 v;

    asm volatile("{\n.reg .pred p;\nsetp.ne.u32 p, %5, 0;\n"
                 "mov.u32 %0, 0;\nmov.u32 %1, 0;\n"
                 "mov.u32 %2, 0;\nmov.u32 %3, 0;\n"
                 "@p ld.global.nc.L1::no_allocate.L2::128B.v4.u32 "
                 "{%0,%1,%2,%3}, [%4];\n}"
                 : "=&r"(v.x), "=&r"(v.y), "=&r"(v.z), "=&r"(v.w)
                 : "l"(p), "r"((uint32_t)ok));
    return v;
}

/* Likewise, 8 bytes. */
DEV uint2 ldg_stream8_if(const void *p, bool ok)
{
    uint2 v;

    asm volatile("{\n.reg .pred p;\nsetp.ne.u32 p, %3, 0;\n"
                 "mov.u32 %0, 0;\nmov.u32 %1, 0;\n"
                 "@p ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2];\n}"
                 : "=&r"(v.x), "=&r"(v.y)
                 : "l"(p), "r"((uint32_t)ok));
    return v;
}

/* Likewise, 4 bytes. */
DEV uint32_t ldg_stream4_if(const void *p, bool ok)
{
    uint32_t v;

    asm volatile("{\n.reg .pred p;\nsetp.ne.u32 p, %2, 0;\n"
                 "mov.u32 %0, 0;\n"
                 "@p ld.global.nc.L1::no_allocate.u32 %0, [%1];\n}"
                 : "=&r"(v)
                 : "l"(p), "r"((uint32_t)ok));
    return v;
}

/* 16 bytes of shared memory. */
DEV uint4 lds128(smem_t s)
{
    uint4 v;

    asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(s)
                 : "memory");
    return v;
}

/* 8 bytes of shared memory. */
DEV uint2 lds64(smem_t s)
{
    uint2 v;

    asm volatile("ld.shared.v2.u32 {%0,%1}, [%2];"
                 : "=r"(v.x), "=r"(v.y)
                 : "r"(s)
                 : "memory");
    return v;
}

/* 4 bytes of shared memory. */
DEV uint32_t lds32(smem_t s)
{
    uint32_t v;

    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(s) : "memory");
    return v;
}

/* Write 16 bytes of shared memory. */
DEV void sts128(smem_t s, uint4 v)
{
    asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(s), "r"(v.x),
                 "r"(v.y), "r"(v.z), "r"(v.w)
                 : "memory");
}

/* Copy 16 bytes to shared memory in the background; zeros for !ok, <src> is
 * not read then but must be an address. */
DEV void cp_async16(smem_t dst, const void *src, bool ok)
{
    int bytes = ok ? 16 : 0;

    asm volatile(
        "cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(dst),
        "l"(src), "r"(bytes)
        : "memory");
}

/* Likewise 4 or 8 bytes, which only go by way of the first cache. */
template <int BYTES> DEV void cp_async_few(smem_t dst, const void *src, bool ok)
{
    int bytes = ok ? BYTES : 0;

    asm volatile(
        "cp.async.ca.shared.global.L2::128B [%0], [%1], %2, %3;" ::"r"(dst),
        "l"(src), "n"(BYTES), "r"(bytes)
        : "memory");
}

/* Close a group of this thread's copies. */
DEV void cp_async_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Wait until at most the youngest N groups of this thread are under way. Other
 * threads' copies are seen after a barrier only. */
template <int N> DEV void cp_async_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/* Four 8x8 matrices of halves: lanes 8i..8i+7 give the addresses of the rows of
 * matrix i, 16 bytes each; r[i] = row lane/4, columns 2(lane%4), +1 of it. */
DEV void ldmatrix_x4(uint32_t r[4], smem_t s)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(s)
                 : "memory");
}

/* The same, each matrix transposed. */
DEV void ldmatrix_x4_trans(uint32_t r[4], smem_t s)
{
    asm volatile(
        "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
        : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
        : "r"(s)
        : "memory");
}

/* --- tensor cores: c += a * b -------------------------------------------- */

/* m16n8k16 of bfloats, added up in F32. */
DEV void mma_bf16(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* The same, of halves. */
DEV void mma_f16(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* --- bits and conversions ------------------------------------------------- */

/* Bytes of {b, a} chosen by the nibbles of <sel>: 0..3 of a, 4..7 of b. */
DEV uint32_t prmt(uint32_t a, uint32_t b, uint32_t sel)
{
    uint32_t r;

    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(sel));
    return r;
}

/* (v & mask) | bits, in one instruction. */
template <uint32_t MASK, uint32_t BITS> DEV uint32_t and_or(uint32_t v)
{
    uint32_t r;

    asm("lop3.b32 %0, %1, %2, %3, 0xea;"
        : "=r"(r)
        : "r"(v), "n"(MASK), "n"(BITS));
    return r;
}

/* Two sums of halves. */
DEV uint32_t add_f16x2(uint32_t a, uint32_t b)
{
    uint32_t r;

    asm("add.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(a), "r"(b));
    return r;
}

/* Two a * b + c of halves, rounded once. */
DEV uint32_t fma_f16x2(uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t r;

    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(r) : "r"(a), "r"(b), "r"(c));
    return r;
}

/* Two a * 1 + b of bfloats, exact where the sum is: sm_80 has no add of them.
 */
DEV uint32_t add_bf16x2(uint32_t a, uint32_t b)
{
    uint32_t r;

    asm("fma.rn.bf16x2 %0, %1, %2, %3;"
        : "=r"(r)
        : "r"(a), "r"(0x3f803f80u), "r"(b));
    return r;
}

/* Two numbers as halves, <lo> in the low one, to nearest even. */
DEV uint32_t pack_bf16(float lo, float hi)
{
    uint32_t r;

    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
}

/* Likewise; beyond 65504 it stays there. NaN stays NaN. */
DEV uint32_t pack_f16(float lo, float hi)
{
    uint32_t r;

    lo = lo > 65504.f ? 65504.f : lo < -65504.f ? -65504.f : lo;
    hi = hi > 65504.f ? 65504.f : hi < -65504.f ? -65504.f : hi;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo));
    return r;
}

/* A bfloat as a number: exact. */
DEV float f32_of_bf16(uint16_t v)
{
    return __uint_as_float((uint32_t)v << 16);
}

/* A half as a number: exact. */
DEV float f32_of_f16(uint16_t v)
{
    float r;

    asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(v));
    return r;
}

/* 2^x, off by two units of the last place at most; denormals become 0. */
DEV float ex2(float x)
{
    float r;

    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}

/* --- one kernel behind the other ------------------------------------------ */

/* Wait until the kernel before is over and what it wrote is there. Every kernel
 * calls it, before it reads what another kernel wrote and before it writes. */
DEV void pdl_wait(void)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/* The next kernel may begin to load its weights. */
DEV void pdl_go(void)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

#endif /* TG_EMU */

/* Two e4m3, in the bits 8-15 and 24-31 of <v>, as two halves: the exponent of a
 * half has a bit more and is 8 greater. Exact but for NaN, which becomes 480.
 */
DEV uint32_t f16x2_of_e4m3_bits(uint32_t v)
{
    return fma_f16x2((v & 0x80008000u) | (v >> 1 & 0x3f803f80u), 0x5c005c00u,
                     0x80008000u);
}

#ifndef TG_EMU
/* Two e4m3 of 8 bits as two halves, exact; by an instruction where there is
 * one, from 8.9 on. */
DEV uint32_t f16x2_of_e4m3x2(uint16_t v)
{
#if __CUDA_ARCH__ >= 890
    uint32_t r;

    asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(r) : "h"(v));
    return r;
#else
    return f16x2_of_e4m3_bits(prmt(v, 0, 0x1404));
#endif
}
#endif

/* a * b, rounded: never fused with what comes behind. */
DEV float mul_rn(float a, float b)
{
#ifdef TG_EMU
    volatile float p = a * b;

    return p;
#else
    float p;

    asm("mul.rn.f32 %0, %1, %2;" : "=f"(p) : "f"(a), "f"(b));
    return p;
#endif
}

/* --- types of activations ------------------------------------------------- */

/* How a type of 16 or 32 bits is read and written, and multiplied. */
struct Bf16 {
    typedef uint16_t el;
    static DEV float get(uint16_t v)
    {
        return f32_of_bf16(v);
    }
    static DEV uint16_t set(float v)
    {
        return (uint16_t)pack_bf16(v, 0.f);
    }
    static DEV uint32_t pack(float lo, float hi)
    {
        return pack_bf16(lo, hi);
    }
    static DEV void mma(float c[4], const uint32_t a[4], uint32_t b0,
                        uint32_t b1)
    {
        mma_bf16(c, a, b0, b1);
    }
};

/* Halves; numbers beyond 65504 stay there. */
struct F16 {
    typedef uint16_t el;
    static DEV float get(uint16_t v)
    {
        return f32_of_f16(v);
    }
    static DEV uint16_t set(float v)
    {
        return (uint16_t)pack_f16(v, 0.f);
    }
    static DEV uint32_t pack(float lo, float hi)
    {
        return pack_f16(lo, hi);
    }
    static DEV void mma(float c[4], const uint32_t a[4], uint32_t b0,
                        uint32_t b1)
    {
        mma_f16(c, a, b0, b1);
    }
};

/* Numbers that are kept as they are. */
struct F32 {
    typedef float el;
    static DEV float get(float v)
    {
        return v;
    }
    static DEV float set(float v)
    {
        return v;
    }
};

#endif
