/* emu_dev.h - The emulator's half of dev.cuh: copies to shared memory, tensor
 * cores, conversions. Included by emu.h alone. */
#ifndef TG_KERNELS_CUDA_EMU_EMU_DEV_H
#define TG_KERNELS_CUDA_EMU_EMU_DEV_H

/* Where it lies in dynamic shared memory's window, or, from the middle on, in
 * static shared memory. */
typedef uint32_t smem_t;
#define EMU_SMEM_STATIC 0x80000000u

/* The window, and static memory of the running thread; multiples of 128. */
extern EMU_HIDDEN char *emu_window, *emu_static;
#define EMU_WINDOW_BYTES ((size_t)232 * 1024)

static inline smem_t smem_of(const void *p)
{
    size_t at = (uintptr_t)p - (uintptr_t)emu_window;

    return at < EMU_WINDOW_BYTES
               ? (smem_t)at
               : (smem_t)((uintptr_t)p - (uintptr_t)emu_static) +
                     EMU_SMEM_STATIC;
}

/* Ends the launch: an address that is not aligned. */
[[noreturn]] EMU_HIDDEN void emu_misaligned(const char *what, const void *p);

/* The address that <s> is the low half of. */
EMU_HIDDEN char *emu_smem(smem_t s);

EMU_HIDDEN void emu_cp_async(smem_t dst, const void *src, unsigned bytes,
                             bool ok);
EMU_HIDDEN void cp_async_commit(void);
EMU_HIDDEN void emu_cp_async_wait(unsigned n);
EMU_HIDDEN void emu_ldmatrix_x4(uint32_t r[4], smem_t s, bool trans);
EMU_HIDDEN void emu_mma(float c[4], const uint32_t a[4], uint32_t b0,
                        uint32_t b1, bool bf16);
EMU_HIDDEN uint16_t emu_f16_of_f32(float v);
EMU_HIDDEN uint16_t emu_bf16_of_f32(float v);
EMU_HIDDEN float emu_f32_of_f16(uint16_t v);

static inline uint4 emu_load16(const void *p, const char *what)
{
    uint4 v;

    if (((uintptr_t)p & 15) != 0)
        emu_misaligned(what, p);
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint4 ldg_stream(const void *p)
{
    return emu_load16(p, "ldg_stream");
}

static inline uint4 lds128(smem_t s)
{
    return emu_load16(emu_smem(s), "lds128");
}

static inline uint2 lds64(smem_t s)
{
    uint2 v;

    if ((s & 7) != 0)
        emu_misaligned("lds64", emu_smem(s));
    memcpy(&v, emu_smem(s), sizeof v);
    return v;
}

static inline uint32_t lds32(smem_t s)
{
    uint32_t v;

    if ((s & 3) != 0)
        emu_misaligned("lds32", emu_smem(s));
    memcpy(&v, emu_smem(s), sizeof v);
    return v;
}

static inline void sts128(smem_t s, uint4 v)
{
    if ((s & 15) != 0)
        emu_misaligned("sts128", emu_smem(s));
    memcpy(emu_smem(s), &v, sizeof v);
}

static inline void cp_async16(smem_t dst, const void *src, bool ok)
{
    emu_cp_async(dst, src, 16, ok);
}

template <int BYTES>
static inline void cp_async_few(smem_t dst, const void *src, bool ok)
{
    emu_cp_async(dst, src, BYTES, ok);
}

template <int N> static inline void cp_async_wait(void)
{
    emu_cp_async_wait(N);
}

static inline void ldmatrix_x4(uint32_t r[4], smem_t s)
{
    emu_ldmatrix_x4(r, s, false);
}

static inline void ldmatrix_x4_trans(uint32_t r[4], smem_t s)
{
    emu_ldmatrix_x4(r, s, true);
}

static inline void mma_bf16(float c[4], const uint32_t a[4], uint32_t b0,
                            uint32_t b1)
{
    emu_mma(c, a, b0, b1, true);
}

static inline void mma_f16(float c[4], const uint32_t a[4], uint32_t b0,
                           uint32_t b1)
{
    emu_mma(c, a, b0, b1, false);
}

/* Nibble i of <sel> chooses byte i; bit 3 of it repeats the byte's sign. */
static inline uint32_t prmt(uint32_t a, uint32_t b, uint32_t sel)
{
    uint64_t both = (uint64_t)b << 32 | a;
    uint32_t r = 0;

    for (unsigned i = 0; i < 4; i++) {
        unsigned n = sel >> 4 * i & 15;
        uint32_t byte = (uint32_t)(both >> 8 * (n & 7)) & 0xff;

        if ((n & 8) != 0)
            byte = (byte & 0x80) != 0 ? 0xff : 0;
        r |= byte << 8 * i;
    }
    return r;
}

static inline uint32_t __byte_perm(uint32_t a, uint32_t b, uint32_t sel)
{
    return prmt(a, b, sel & 0x7777);
}

template <uint32_t MASK, uint32_t BITS>
static inline uint32_t and_or(uint32_t v)
{
    return (v & MASK) | BITS;
}

static inline float f32_of_bf16(uint16_t v)
{
    return __uint_as_float((uint32_t)v << 16);
}

static inline float f32_of_f16(uint16_t v)
{
    return emu_f32_of_f16(v);
}

/* A sum of two halves in f32, rounded once more: the same as one rounding,
 * since f32 has more than twice their digits. */
static inline uint32_t add_f16x2(uint32_t a, uint32_t b)
{
    float lo = f32_of_f16((uint16_t)a) + f32_of_f16((uint16_t)b);
    float hi =
        f32_of_f16((uint16_t)(a >> 16)) + f32_of_f16((uint16_t)(b >> 16));

    return (uint32_t)emu_f16_of_f32(hi) << 16 | emu_f16_of_f32(lo);
}

static inline uint32_t add_bf16x2(uint32_t a, uint32_t b)
{
    float lo = f32_of_bf16((uint16_t)a) + f32_of_bf16((uint16_t)b);
    float hi =
        f32_of_bf16((uint16_t)(a >> 16)) + f32_of_bf16((uint16_t)(b >> 16));

    return (uint32_t)emu_bf16_of_f32(hi) << 16 | emu_bf16_of_f32(lo);
}

static inline uint32_t pack_bf16(float lo, float hi)
{
    return (uint32_t)emu_bf16_of_f32(hi) << 16 | emu_bf16_of_f32(lo);
}

static inline uint32_t pack_f16(float lo, float hi)
{
    lo = lo > 65504.f ? 65504.f : lo < -65504.f ? -65504.f : lo;
    hi = hi > 65504.f ? 65504.f : hi < -65504.f ? -65504.f : hi;
    return (uint32_t)emu_f16_of_f32(hi) << 16 | emu_f16_of_f32(lo);
}

/* e4m3 has the exponents of f16 shifted by 8, no infinity, one NaN. */
static inline uint16_t emu_f16_of_e4m3(uint8_t v)
{
    uint16_t sign = (uint16_t)((v & 0x80) << 8);

    if ((v & 0x7f) == 0x7f)
        return 0x7fff;
    return sign |
           emu_f16_of_f32(emu_f32_of_f16((uint16_t)((v & 0x7f) << 7)) * 256.f);
}

static inline uint32_t f16x2_of_e4m3x2(uint16_t v)
{
    return (uint32_t)emu_f16_of_e4m3((uint8_t)(v >> 8)) << 16 |
           emu_f16_of_e4m3((uint8_t)v);
}

static inline float ex2(float x)
{
    float y = exp2f(x);

    return y < 1.17549435e-38f ? 0.f : y;
}

/* A launch may have begun before its predecessor, which runs here then. */
EMU_HIDDEN void pdl_wait(void);

static inline void pdl_go(void)
{
}

#endif
