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
