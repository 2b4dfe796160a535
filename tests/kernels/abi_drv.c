/* abi_drv.c - The driver's ABI as a toolkit's header has it, for the test of
 * drv.h. That each function of the table has the type that the header declares
 * is checked in here, when it is compiled. */
#define __CUDA_API_VERSION_INTERNAL /* older versions of functions, too */
#include <cuda.h>

#define DRV_TYPES_GIVEN
#include "kernels/abi_drv.h"
#include "kernels/cuda/drv.h"

#define NUMBER(e) (uint64_t)(e),
const uint64_t abi_drv_toolkit[] = {ABI_DRV(NUMBER)};

#define SAME_TYPE(member, symbol, params)                                      \
    _Static_assert(                                                            \
        __builtin_types_compatible_p(__typeof__(symbol), CUresult params),     \
        #symbol " has other parameters");
DRV_CALLS(SAME_TYPE)
