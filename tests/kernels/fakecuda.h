/* fakecuda.h - Which GPU a test program uses: the emulated one of
 * tests/fakecuda.so, or, with TG_TEST_GPU set in the environment, a real one.
 * The program is built with $(emu_cppflags). */
#ifndef TG_TESTS_KERNELS_FAKECUDA_H
#define TG_TESTS_KERNELS_FAKECUDA_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What main() answers when there is no GPU to test. */
#define FAKECUDA_SKIP 77

/* Let krn_open() of "cuda:0" find the GPU to test, unless the environment names
 * a driver itself. Call it first in main(). false: there is none, for it is not
 * built (no C++ compiler, or a build with sanitizers); a line says so. */
static inline bool fakecuda_use(void)
{
    if (getenv("TG_TEST_GPU"))
        return true;
    if (access(TG_FAKECUDA, R_OK) != 0) {
        printf("skipped: there is no %s; it is not built under sanitizers or "
               "without a C++ compiler\n",
               TG_FAKECUDA);
        return false;
    }
    (void)setenv("TOLLGATE_CUDA_DRIVER", TG_FAKECUDA, 0);
    (void)setenv("TOLLGATE_CUBLASLT", TG_FAKECUDA, 0);
    return true;
}

#endif
