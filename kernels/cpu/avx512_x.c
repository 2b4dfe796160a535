/* avx512_x.c - Packs rows of x with the offsets that dots begin with. */
#include "kernels/cpu/avx2_round.h"
#include "kernels/cpu/avx512.h"

void avx512_xpack_offsets(const float *x, size_t ldx, unsigned mr, size_t n,
                          void *out)
{
    struct rounded b;
    uint32_t word[8];
    int first;
    int last;

    for (unsigned m = 0; m < mr; m++) {
        uint32_t *to = (uint32_t *)out + m;

        for (size_t k = 0; k < n; k += 32, to += CPU_XO_COUNT * mr) {
            block_round(x + m * ldx + k, &b);
            rounded_bytes(&b, word, &first, &last);
            for (unsigned i = 0; i < 8; i++)
                to[i * mr] = word[i];
            to[CPU_XO_SCALE * mr] = float_word(b.scale);
            to[CPU_XO_SCALED * mr] =
                float_word((float)(first + last) * b.scale);
            to[CPU_XO_LESS8 * mr] = (uint32_t)(-8 * (first + last));
            to[CPU_XO_LESS128 * mr] = (uint32_t)(-128 * (first + last));
            to[CPU_XO_LESS32 * mr] = (uint32_t)(-32 * first);
            to[(CPU_XO_LESS32 + 1) * mr] = (uint32_t)(-32 * last);
        }
    }
}
