/* krn.c - What all backends share: the table of element types. */
#include "kernels/krn.h"

struct dtype_row {
    const char *name;
    size_t block; /* elements */
    size_t bytes; /* of a block */
};

static const struct dtype_row dtypes[KRN_DTYPE_COUNT] = {
    [KRN_F32] = {"F32", 1, 4},       [KRN_F16] = {"F16", 1, 2},
    [KRN_BF16] = {"BF16", 1, 2},     [KRN_Q8_0] = {"Q8_0", 32, 34},
    [KRN_Q4_0] = {"Q4_0", 32, 18},   [KRN_Q4_K] = {"Q4_K", 256, 144},
    [KRN_Q5_K] = {"Q5_K", 256, 176}, [KRN_Q6_K] = {"Q6_K", 256, 210},
};

const char *krn_dtype_name(enum krn_dtype t)
{
    return (unsigned)t < KRN_DTYPE_COUNT ? dtypes[t].name : "";
}

size_t krn_dtype_block(enum krn_dtype t)
{
    return (unsigned)t < KRN_DTYPE_COUNT ? dtypes[t].block : 0;
}

size_t krn_dtype_bytes(enum krn_dtype t)
{
    return (unsigned)t < KRN_DTYPE_COUNT ? dtypes[t].bytes : 0;
}
