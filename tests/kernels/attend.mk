# Tests of attention on a GPU: its planning, which needs none, and its kernels.
check_PROGRAMS += \
    tests/kernels/tk_cuda_attend \
    tests/kernels/tk_cuda_plan

tests_kernels_tk_cuda_attend_SOURCES = tests/kernels/tk_cuda_attend.c \
    tests/kernels/gcheck.c tests/kernels/gcheck.h \
    tests/kernels/gstep.c tests/kernels/gstep.h \
    tests/kernels/kfix.c tests/kernels/kfix.h \
    tests/kernels/tfix.c tests/kernels/tfix.h $(gfix_sources)
tests_kernels_tk_cuda_attend_CPPFLAGS = $(unit_cppflags) $(emu_cppflags)
tests_kernels_tk_cuda_attend_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_attend_LDADD = $(unit_libs)

tests_kernels_tk_cuda_plan_SOURCES = tests/kernels/tk_cuda_plan.c \
    tests/kernels/kfix.c tests/kernels/kfix.h
tests_kernels_tk_cuda_plan_CPPFLAGS = $(unit_cppflags)
tests_kernels_tk_cuda_plan_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_plan_LDADD = $(unit_libs)
