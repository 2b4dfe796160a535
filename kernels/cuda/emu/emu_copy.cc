/* emu_copy.cc - Copies to shared memory in the background, and numbers of 16
 * bits. A copy is done when it is issued, or at the wait that covers it; until
 * then its target holds what it held or 0xff: the seed chooses. */
#include "kernels/cuda/emu/emu_priv.h"

#include <stdlib.h>

char *emu_smem(smem_t s)
{
    char *p = s < EMU_SMEM_STATIC ? emu_window + s
                                  : emu_static + (s - EMU_SMEM_STATIC);

    if (!emu_is_shared(p))
        emu_fail("%p is not in shared memory", (void *)p);
    return p;
}

static void copy_do(const struct emu_copy *c)
{
    if (c->ok)
        memcpy(c->dst, c->src, c->bytes);
    else
        memset(c->dst, 0, c->bytes);
}

void emu_cp_async(smem_t dst, const void *src, unsigned bytes, bool ok)
{
    struct emu_thread *t = emu_b.cur;
    struct emu_copy c = {emu_smem(dst), src, bytes, t->group, ok};
    unsigned when = emu_draw(4);

    if ((dst & (bytes - 1)) != 0 || ((uintptr_t)src & (bytes - 1)) != 0)
        emu_misaligned("cp_async", (dst & (bytes - 1)) != 0 ? c.dst : src);
    if (when == 0) {
        copy_do(&c);
        return;
    }
    if (ok)
        (void)*(const volatile char *)src; /* a bad address fails here */
    if (t->n_copy == t->max_copy) {
        unsigned max = t->max_copy == 0 ? 64 : 2 * t->max_copy;
        void *p = realloc(t->copy, max * sizeof *t->copy);

        if (!p)
            emu_fail("no memory");
        t->copy = (struct emu_copy *)p;
        t->max_copy = max;
    }
    if (when != 1)
        memset(c.dst, 0xff, bytes);
    t->copy[t->n_copy++] = c;
}

void cp_async_commit(void)
{
    emu_b.cur->group++;
}

void emu_cp_async_wait(unsigned n)
{
    struct emu_thread *t = emu_b.cur;
    unsigned kept = 0;

    for (unsigned i = 0; i < t->n_copy; i++) {
        if (t->copy[i].group + n < t->group)
            copy_do(&t->copy[i]);
        else
            t->copy[kept++] = t->copy[i];
    }
    t->n_copy = kept;
}

/* --- numbers of 16 bits --------------------------------------------------- */

float emu_f32_of_f16(uint16_t v)
{
    uint32_t mag = (uint32_t)(v & 0x7fff) << 13;
    uint32_t sign = (uint32_t)(v & 0x8000) << 16;

    if (mag >= 0x0f800000) /* infinite, or none */
        return __uint_as_float(sign | mag | 0x7f800000);
    mag = __float_as_uint(__uint_as_float(mag) * 0x1p112f);
    return __uint_as_float(sign | mag);
}

uint16_t emu_f16_of_f32(float v)
{
    uint32_t u = __float_as_uint(v), mag = u & 0x7fffffff;
    uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
    uint32_t m, shift, r, rest, half;

    if (mag > 0x7f800000)
        return 0x7fff;
    if (mag >= 0x477ff000)
        return sign | 0x7c00;
    if (mag < 0x33000000) /* below half of the least */
        return sign;
    m = (mag & 0x7fffff) | 0x800000;
    shift = mag < 0x38800000 ? 126 - (mag >> 23) : 13;
    r = m >> shift;
    rest = m & ((1u << shift) - 1);
    half = 1u << (shift - 1);
    if (rest > half || (rest == half && (r & 1) != 0))
        r++;
    if (mag >= 0x38800000)
        r += ((mag >> 23) - 113) << 10;
    return (uint16_t)(sign | r);
}

uint16_t emu_bf16_of_f32(float v)
{
    uint32_t u = __float_as_uint(v);

    if ((u & 0x7fffffff) > 0x7f800000)
        return 0x7fff;
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
