/* abi_blas.c - cuBLASLt's ABI as a toolkit's header has it, for the test of
 * blas.h. That each function of the table has the type that the header declares
 * is checked in here, when it is compiled. */
#include <cuda.h>

#include <cublasLt.h>

#define DRV_TYPES_GIVEN
#define BLAS_TYPES_GIVEN
#include "kernels/cuda/blas.h"
#include "tests/kernels/abi_blas.h"

#define NUMBER(e) (uint64_t)(e),
const uint64_t abi_blas_toolkit[] = {ABI_BLAS(NUMBER)};

#define SAME_TYPE(member, symbol, type, params)                                \
    _Static_assert(                                                            \
        __builtin_types_compatible_p(__typeof__(symbol), type params),         \
        #symbol " has another type");
BLAS_CALLS(SAME_TYPE)
