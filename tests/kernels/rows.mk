# Tests of what deals with rows of activations, and of attention.
row_tests = \
    tests/kernels/tk_attend \
    tests/kernels/tk_rows
check_PROGRAMS += $(row_tests)

tests_kernels_tk_attend_SOURCES = tests/kernels/tk_attend.c \
    tests/kernels/kfix.c tests/kernels/kfix.h \
    tests/kernels/rfix.c tests/kernels/rfix.h
tests_kernels_tk_attend_CPPFLAGS = $(unit_cppflags)
tests_kernels_tk_attend_CFLAGS = $(unit_cflags)
tests_kernels_tk_attend_LDADD = $(unit_libs)

tests_kernels_tk_rows_SOURCES = tests/kernels/tk_rows.c \
    tests/kernels/kfix.c tests/kernels/kfix.h \
    tests/kernels/rfix.c tests/kernels/rfix.h
tests_kernels_tk_rows_CPPFLAGS = $(unit_cppflags)
tests_kernels_tk_rows_CFLAGS = $(unit_cflags)
tests_kernels_tk_rows_LDADD = $(unit_libs)

# The same on a GPU.
gstep_sources = tests/kernels/fakecuda.h \
    tests/kernels/gcheck.c tests/kernels/gcheck.h \
    tests/kernels/gstep.c tests/kernels/gstep.h \
    tests/kernels/kfix.c tests/kernels/kfix.h
check_PROGRAMS += \
    tests/kernels/tk_cuda_heads \
    tests/kernels/tk_cuda_rows \
    tests/kernels/tk_cuda_sample

tests_kernels_tk_cuda_heads_SOURCES = tests/kernels/tk_cuda_heads.c \
    tests/kernels/tfix.c tests/kernels/tfix.h $(gstep_sources)
tests_kernels_tk_cuda_heads_CPPFLAGS = $(unit_cppflags) $(emu_cppflags)
tests_kernels_tk_cuda_heads_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_heads_LDADD = $(unit_libs)

tests_kernels_tk_cuda_rows_SOURCES = tests/kernels/tk_cuda_rows.c \
    $(gstep_sources)
tests_kernels_tk_cuda_rows_CPPFLAGS = $(unit_cppflags) $(emu_cppflags)
tests_kernels_tk_cuda_rows_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_rows_LDADD = $(unit_libs)

tests_kernels_tk_cuda_sample_SOURCES = tests/kernels/tk_cuda_sample.c \
    tests/kernels/gask.c tests/kernels/gask.h $(gstep_sources)
tests_kernels_tk_cuda_sample_CPPFLAGS = $(unit_cppflags) $(emu_cppflags)
tests_kernels_tk_cuda_sample_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_sample_LDADD = $(unit_libs) -lm
