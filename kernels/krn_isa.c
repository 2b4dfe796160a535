/* krn_isa.c - Which instruction sets the processor has and which tables of
 * functions go with them. */
#include "kernels/krn_priv.h"

#include "kernels/ref/ref.h"

enum krn_isa krn_isa_best(void)
{
    return KRN_ISA_SCALAR;
}

const struct krn_mat_ops *krn_mat_ops_of(enum krn_isa isa)
{
    (void)isa;
    return &ref_mat_ops;
}
