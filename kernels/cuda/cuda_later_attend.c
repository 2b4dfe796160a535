/* cuda_later_attend.c - Stands in for attention on the device. */
#include "kernels/cuda/a_attend.h"
#include "kernels/cuda/cuda.h"

enum krn_status cuda_attend_open(struct cuda *d)
{
    (void)d;
    return KRN_OK;
}

void cuda_attend_close(struct cuda *d)
{
    (void)d;
}

enum krn_status cuda_attend(struct krn_ctx *c, enum krn_set set, unsigned layer,
                            const void *q, size_t ldq, unsigned n_head,
                            float scale, void *out, size_t ldo)
{
    (void)c, (void)set, (void)layer, (void)q, (void)ldq, (void)n_head;
    (void)scale, (void)out, (void)ldo;
    return KRN_BAD_SHAPE;
}

size_t cuda_plan_bytes(const struct cuda *d, unsigned m, unsigned n_seq,
                       unsigned max_pages)
{
    (void)d, (void)m, (void)n_seq, (void)max_pages;
    return sizeof(struct att_plan);
}

enum krn_status cuda_plan_write(struct cuda *d, enum krn_set set,
                                const struct krn_kv *kv, unsigned m,
                                const int32_t *seq, const int32_t *pos,
                                void *out)
{
    (void)d, (void)set, (void)kv, (void)m, (void)seq, (void)pos;
    *(struct att_plan *)out =
        (struct att_plan){.bytes = sizeof(struct att_plan)};
    return KRN_OK;
}
