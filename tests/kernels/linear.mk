# Tests of products and weights on a GPU.
linear_tests = \
    tests/kernels/tk_cuda_linear \
    tests/kernels/tk_cuda_pack \
    tests/kernels/tk_cuda_weight
check_PROGRAMS += $(linear_tests)

linear_test_sources = tests/kernels/kfix.c tests/kernels/kfix.h \
    tests/kernels/tfix.c tests/kernels/tfix.h

tests_kernels_tk_cuda_pack_SOURCES = tests/kernels/tk_cuda_pack.c \
    $(linear_test_sources)
tests_kernels_tk_cuda_pack_CPPFLAGS = $(unit_cppflags)
tests_kernels_tk_cuda_pack_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_pack_LDADD = $(unit_libs)

lfix_sources = tests/kernels/fakecuda.h tests/kernels/gcheck.c \
    tests/kernels/gcheck.h tests/kernels/lfix.c tests/kernels/lfix.h \
    $(linear_test_sources)

tests_kernels_tk_cuda_linear_SOURCES = tests/kernels/tk_cuda_linear.c \
    $(lfix_sources)
tests_kernels_tk_cuda_linear_CPPFLAGS = $(unit_cppflags) $(emu_cppflags)
tests_kernels_tk_cuda_linear_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_linear_LDADD = $(unit_libs)

tests_kernels_tk_cuda_weight_SOURCES = tests/kernels/tk_cuda_weight.c \
    $(lfix_sources)
tests_kernels_tk_cuda_weight_CPPFLAGS = $(unit_cppflags) $(emu_cppflags)
tests_kernels_tk_cuda_weight_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_weight_LDADD = $(unit_libs)

check_PROGRAMS += tests/kernels/tk_cuda_fp8
tests_kernels_tk_cuda_fp8_SOURCES = tests/kernels/tk_cuda_fp8.c \
    tests/kernels/gfix.c tests/kernels/gfix.h tests/lib/graphrig.c \
    tests/lib/graphrig.h $(lfix_sources) $(ggufm_sources)
tests_kernels_tk_cuda_fp8_CPPFLAGS = $(unit_cppflags) $(emu_cppflags)
tests_kernels_tk_cuda_fp8_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_fp8_LDADD = $(unit_libs)
