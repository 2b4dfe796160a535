/* krn_isa.c - Which instruction sets the processor has and which tables of
 * functions go with them. */
#include "kernels/krn_priv.h"

#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "kernels/cpu/cpu.h"
#include "kernels/ref/ref.h"

#ifdef __x86_64__
enum {
    /* leaf 1, ecx */
    HAS_FMA = 1 << 12,
    HAS_OSXSAVE = 1 << 27,
    HAS_F16C = 1 << 29,
    /* leaf 7, ebx */
    HAS_AVX2 = 1 << 5,
    HAS_AVX512F = 1 << 16,
    HAS_AVX512DQ = 1 << 17,
    HAS_AVX512BW = 1 << 30,
    /* leaf 7, ecx */
    HAS_AVX512VNNI = 1 << 11,
    /* what the system saves of registers: SSE, AVX; masks and 512 bits */
    SAVES_AVX = 0x6,
    SAVES_AVX512 = 0xe6
};
#define HAS_AVX512VL (1U << 31) /* leaf 7, ebx */

static unsigned saved_state(void)
{
    unsigned low;
    unsigned high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

enum krn_isa krn_isa_best(void)
{
    const unsigned one = HAS_FMA | HAS_OSXSAVE | HAS_F16C;
    const unsigned wide =
        HAS_AVX512F | HAS_AVX512DQ | HAS_AVX512BW | HAS_AVX512VL;
    unsigned a, b, c, d;
    unsigned saved;

    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & one) != one)
        return KRN_ISA_SCALAR;
    saved = saved_state();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & HAS_AVX2) == 0 ||
        (saved & SAVES_AVX) != SAVES_AVX)
        return KRN_ISA_SCALAR;
    if ((b & wide) != wide || (c & HAS_AVX512VNNI) == 0 ||
        (saved & SAVES_AVX512) != SAVES_AVX512)
        return KRN_ISA_AVX2;
    return KRN_ISA_AVX512;
}

const struct krn_mat_ops *krn_mat_ops_of(enum krn_isa isa)
{
    if (isa == KRN_ISA_AVX512)
        return &cpu_mat_ops_avx512;
    return isa == KRN_ISA_AVX2 ? &cpu_mat_ops_avx2 : &ref_mat_ops;
}
#else
enum krn_isa krn_isa_best(void)
{
    return KRN_ISA_SCALAR;
}

const struct krn_mat_ops *krn_mat_ops_of(enum krn_isa isa)
{
    (void)isa;
    return &ref_mat_ops;
}
#endif
