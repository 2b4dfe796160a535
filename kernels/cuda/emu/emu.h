/* emu.h - The names that kernels are written in, for an ordinary C++ compiler:
 * what dev.cuh includes with -DTG_EMU. Every CUDA thread is a fiber (emu.cc);
 * the threads of a block run on one host thread, one at a time, in an order
 * drawn from a seed, and change at collectives and barriers only. So code that
 * is right here and wrong on a GPU can be written, but a missing barrier, a
 * copy that is not waited for, an access out of bounds or a collective that not
 * all lanes reach is found. How kernels are launched stands in emu_run.h.
 *
 * mma: products are exact and are added in f32 to c in ascending order of k. A
 * GPU adds them in another order, and rounds otherwise. */
#ifndef TG_KERNELS_CUDA_EMU_EMU_H
#define TG_KERNELS_CUDA_EMU_EMU_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* --- declaring ------------------------------------------------------------ */

#define __device__
#define __host__
#define __noinline__    __attribute__((noinline))
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n)    __attribute__((aligned(n)))
#define __constant__

/* One host thread runs a block. All thread-local memory of the object that the
 * emulator is linked into is taken for shared memory (see emu_fill_static). */
#define __shared__ static thread_local

/* Always in line: equal names in several files are then different functions,
 * as they are for nvcc. */
#define DEV inline __attribute__((always_inline))

#define EMU_HIDDEN __attribute__((visibility("hidden")))

/* A kernel, as KERNEL() registers it. */
struct emu_kernel {
    const char *name;
    void (*entry)(const void *args);
    size_t args_size;
    unsigned threads; /* most in a block */
    struct emu_kernel *next;
};

EMU_HIDDEN void emu_register(struct emu_kernel *k);

#define KERNEL(name, args_t, nthreads, nblocks)                                \
    static void name(const args_t &a);                                         \
    static void name##_entry(const void *args)                                 \
    {                                                                          \
        name(*(const args_t *)args);                                           \
    }                                                                          \
    __attribute__((constructor)) static void name##_register(void)             \
    {                                                                          \
        static struct emu_kernel k = {#name, name##_entry, sizeof(args_t),     \
                                      nthreads, NULL};                         \
        emu_register(&k);                                                      \
    }                                                                          \
    static void name(const args_t &a)

/* Where dynamic shared memory of the running block begins. */
extern EMU_HIDDEN char *emu_dyn;

#define SHARED_DYN(name) char *const name = emu_dyn

/* --- plain CUDA ----------------------------------------------------------- */

struct emu_dim {
    unsigned x, y, z;
};

extern EMU_HIDDEN struct emu_dim emu_tid; /* of the running thread */
extern EMU_HIDDEN struct emu_dim emu_bid, emu_bdim, emu_gdim;

#define threadIdx (*(const struct emu_dim *)&emu_tid)
#define blockIdx  (*(const struct emu_dim *)&emu_bid)
#define blockDim  (*(const struct emu_dim *)&emu_bdim)
#define gridDim   (*(const struct emu_dim *)&emu_gdim)
#define warpSize  32

struct __align__(16) uint4
{
    unsigned x, y, z, w;
};
struct __align__(8) uint2
{
    unsigned x, y;
};
struct __align__(16) int4
{
    int x, y, z, w;
};
struct __align__(8) int2
{
    int x, y;
};
struct __align__(16) float4
{
    float x, y, z, w;
};
struct __align__(8) float2
{
    float x, y;
};

static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
    return uint4{x, y, z, w};
}
static inline uint2 make_uint2(unsigned x, unsigned y)
{
    return uint2{x, y};
}
static inline int4 make_int4(int x, int y, int z, int w)
{
    return int4{x, y, z, w};
}
static inline int2 make_int2(int x, int y)
{
    return int2{x, y};
}
static inline float4 make_float4(float x, float y, float z, float w)
{
    return float4{x, y, z, w};
}
static inline float2 make_float2(float x, float y)
{
    return float2{x, y};
}

/* Barriers and collectives: the thread waits here for the others. */
EMU_HIDDEN void emu_syncthreads(int op, uint32_t *value);
EMU_HIDDEN void emu_syncwarp(uint32_t mask);
EMU_HIDDEN uint32_t emu_ballot(uint32_t mask, bool p);
EMU_HIDDEN uint64_t emu_shfl(uint32_t mask, uint64_t v, int src);

enum { EMU_BAR_PLAIN, EMU_BAR_OR, EMU_BAR_AND, EMU_BAR_COUNT };

static inline void __syncthreads(void)
{
    uint32_t v = 0;

    emu_syncthreads(EMU_BAR_PLAIN, &v);
}

static inline int __syncthreads_or(int p)
{
    uint32_t v = p != 0;

    emu_syncthreads(EMU_BAR_OR, &v);
    return (int)v;
}

static inline int __syncthreads_and(int p)
{
    uint32_t v = p != 0;

    emu_syncthreads(EMU_BAR_AND, &v);
    return (int)v;
}

static inline int __syncthreads_count(int p)
{
    uint32_t v = p != 0;

    emu_syncthreads(EMU_BAR_COUNT, &v);
    return (int)v;
}

static inline void __syncwarp(uint32_t mask = 0xffffffffu)
{
    emu_syncwarp(mask);
}

static inline uint32_t __ballot_sync(uint32_t mask, int p)
{
    return emu_ballot(mask, p != 0);
}

static inline int __any_sync(uint32_t mask, int p)
{
    return emu_ballot(mask, p != 0) != 0;
}

static inline int __all_sync(uint32_t mask, int p)
{
    return emu_ballot(mask, p == 0) == 0;
}

extern EMU_HIDDEN int emu_lane_now;

static inline int emu_lane(void)
{
    return emu_lane_now;
}

template <class T> static inline T emu_shfl_t(uint32_t mask, T v, int src)
{
    uint64_t in = 0, out;

    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "4 or 8 bytes");
    memcpy(&in, &v, sizeof v);
    out = emu_shfl(mask, in, src);
    memcpy(&v, &out, sizeof v);
    return v;
}

template <class T>
static inline T __shfl_sync(uint32_t mask, T v, int src, int width = 32)
{
    int lane = emu_lane(), lo = lane & ~(width - 1);

    return emu_shfl_t(mask, v, lo + (src & (width - 1)));
}

template <class T>
static inline T __shfl_xor_sync(uint32_t mask, T v, int x, int width = 32)
{
    int lane = emu_lane(), src = lane ^ x, lo = lane & ~(width - 1);

    return emu_shfl_t(mask, v, src < lo + width ? src : lane);
}

template <class T>
static inline T __shfl_up_sync(uint32_t mask, T v, unsigned by, int width = 32)
{
    int lane = emu_lane(), src = lane - (int)by, lo = lane & ~(width - 1);

    return emu_shfl_t(mask, v, src >= lo ? src : lane);
}

template <class T>
static inline T __shfl_down_sync(uint32_t mask, T v, unsigned by,
                                 int width = 32)
{
    int lane = emu_lane(), src = lane + (int)by, lo = lane & ~(width - 1);

    return emu_shfl_t(mask, v, src < lo + width ? src : lane);
}

static inline void __threadfence(void)
{
    __asm__ volatile("" ::: "memory");
}

static inline void __threadfence_block(void)
{
    __asm__ volatile("" ::: "memory");
}

/* Blocks follow each other, threads change at collectives only: plain code. */
template <class T> static inline T emu_atomic_add(T *p, T v)
{
    T old = *p;

    *p = (T)(old + v);
    return old;
}
static inline int atomicAdd(int *p, int v)
{
    return emu_atomic_add(p, v);
}
static inline unsigned atomicAdd(unsigned *p, unsigned v)
{
    return emu_atomic_add(p, v);
}
static inline unsigned long long atomicAdd(unsigned long long *p,
                                           unsigned long long v)
{
    return emu_atomic_add(p, v);
}

template <class T> static inline T emu_atomic_max(T *p, T v)
{
    T old = *p;

    *p = old > v ? old : v;
    return old;
}
static inline int atomicMax(int *p, int v)
{
    return emu_atomic_max(p, v);
}
static inline unsigned atomicMax(unsigned *p, unsigned v)
{
    return emu_atomic_max(p, v);
}
static inline unsigned long long atomicMax(unsigned long long *p,
                                           unsigned long long v)
{
    return emu_atomic_max(p, v);
}

template <class T> static inline T emu_atomic_min(T *p, T v)
{
    T old = *p;

    *p = old < v ? old : v;
    return old;
}
static inline int atomicMin(int *p, int v)
{
    return emu_atomic_min(p, v);
}
static inline unsigned atomicMin(unsigned *p, unsigned v)
{
    return emu_atomic_min(p, v);
}
static inline unsigned long long atomicMin(unsigned long long *p,
                                           unsigned long long v)
{
    return emu_atomic_min(p, v);
}

template <class T> static inline T emu_atomic_cas(T *p, T old, T v)
{
    T was = *p;

    if (was == old)
        *p = v;
    return was;
}
static inline unsigned atomicCAS(unsigned *p, unsigned old, unsigned v)
{
    return emu_atomic_cas(p, old, v);
}
static inline unsigned long long atomicCAS(unsigned long long *p,
                                           unsigned long long old,
                                           unsigned long long v)
{
    return emu_atomic_cas(p, old, v);
}

static inline unsigned atomicExch(unsigned *p, unsigned v)
{
    unsigned old = *p;

    *p = v;
    return old;
}
static inline unsigned long long atomicExch(unsigned long long *p,
                                            unsigned long long v)
{
    unsigned long long old = *p;

    *p = v;
    return old;
}
static inline unsigned atomicOr(unsigned *p, unsigned v)
{
    unsigned old = *p;

    *p = old | v;
    return old;
}

/* Bits. */
static inline float __uint_as_float(uint32_t v)
{
    float f;

    memcpy(&f, &v, sizeof f);
    return f;
}

static inline uint32_t __float_as_uint(float f)
{
    uint32_t v;

    memcpy(&v, &f, sizeof v);
    return v;
}

static inline float __int_as_float(int v)
{
    return __uint_as_float((uint32_t)v);
}

static inline int __float_as_int(float f)
{
    return (int)__float_as_uint(f);
}

static inline int __popc(unsigned v)
{
    return __builtin_popcount(v);
}

static inline int __popcll(unsigned long long v)
{
    return __builtin_popcountll(v);
}

static inline int __clz(int v)
{
    return v != 0 ? __builtin_clz((unsigned)v) : 32;
}

static inline int __clzll(long long v)
{
    return v != 0 ? __builtin_clzll((unsigned long long)v) : 64;
}

static inline int __ffs(int v)
{
    return __builtin_ffs(v);
}

static inline int __ffsll(long long v)
{
    return __builtin_ffsll(v);
}

static inline unsigned __umulhi(unsigned a, unsigned b)
{
    return (unsigned)(((uint64_t)a * b) >> 32);
}

static inline unsigned long long __umul64hi(unsigned long long a,
                                            unsigned long long b)
{
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}

template <class T> static inline T __ldg(const T *p)
{
    return *p;
}

/* Numbers. */
static inline float rsqrtf(float x)
{
    return 1.f / sqrtf(x);
}

/* Sine and cosine of pi * x: what is left after quarter turns is exact. */
static inline void sincospi(double x, double *s, double *c)
{
    double r = x - 2 * rint(x / 2), q = rint(2 * r), f = r - q / 2;
    double sf = sin(3.14159265358979323846 * f);
    double cf = cos(3.14159265358979323846 * f);
    int turn = (int)q & 3;

    *s = turn == 0 ? sf : turn == 1 ? cf : turn == 2 ? -sf : -cf;
    *c = turn == 0 ? cf : turn == 1 ? -sf : turn == 2 ? -cf : sf;
}

#define EMU_MIN_MAX(T)                                                         \
    static inline T min(T a, T b)                                              \
    {                                                                          \
        return b < a ? b : a;                                                  \
    }                                                                          \
    static inline T max(T a, T b)                                              \
    {                                                                          \
        return a < b ? b : a;                                                  \
    }
EMU_MIN_MAX(int)
EMU_MIN_MAX(unsigned)
EMU_MIN_MAX(long)
EMU_MIN_MAX(unsigned long)
EMU_MIN_MAX(long long)
EMU_MIN_MAX(unsigned long long)
#undef EMU_MIN_MAX

#include "kernels/cuda/emu/emu_dev.h"

#endif
