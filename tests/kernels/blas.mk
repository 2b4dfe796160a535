# Tests of cuBLASLt's side: products, and the declarations against a toolkit's,
# where there is one.
if HAVE_CUBLASLT_H
check_PROGRAMS += tests/kernels/tk_cuda_abi_blas
tests_kernels_tk_cuda_abi_blas_SOURCES = tests/kernels/abi_blas.c \
    tests/kernels/abi_blas.h tests/kernels/tk_cuda_abi_blas.c
tests_kernels_tk_cuda_abi_blas_CPPFLAGS = $(unit_cppflags) $(CUDA_CPPFLAGS)
tests_kernels_tk_cuda_abi_blas_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_abi_blas_LDADD = $(unit_libs)
endif

check_PROGRAMS += tests/kernels/tk_cuda_blas
tests_kernels_tk_cuda_blas_SOURCES = tests/kernels/fakecuda.h \
    tests/kernels/gcheck.c tests/kernels/gcheck.h tests/kernels/tk_cuda_blas.c
tests_kernels_tk_cuda_blas_CPPFLAGS = $(unit_cppflags) $(emu_cppflags)
tests_kernels_tk_cuda_blas_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_blas_LDADD = $(unit_libs)
