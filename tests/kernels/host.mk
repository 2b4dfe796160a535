# Tests of the CUDA backend's side on the host, and what tests of a GPU begin
# with.
gfix_sources = tests/kernels/gfix.c tests/kernels/gfix.h

if HAVE_CUDA_H
check_PROGRAMS += tests/kernels/tk_cuda_abi
tests_kernels_tk_cuda_abi_SOURCES = tests/kernels/tk_cuda_abi.c \
    tests/kernels/abi_drv.c tests/kernels/abi_drv.h
tests_kernels_tk_cuda_abi_CPPFLAGS = $(unit_cppflags) $(CUDA_CPPFLAGS)
tests_kernels_tk_cuda_abi_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_abi_LDADD = $(unit_libs)
endif

check_PROGRAMS += tests/kernels/tk_cuda_host
tests_kernels_tk_cuda_host_SOURCES = tests/kernels/tk_cuda_host.c \
    $(gfix_sources)
tests_kernels_tk_cuda_host_CPPFLAGS = $(unit_cppflags) $(emu_cppflags)
tests_kernels_tk_cuda_host_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_host_LDADD = $(unit_libs)

check_PROGRAMS += tests/kernels/tk_cuda_pages
tests_kernels_tk_cuda_pages_SOURCES = tests/kernels/tk_cuda_pages.c \
    tests/kernels/kfix.c tests/kernels/kfix.h $(gfix_sources)
tests_kernels_tk_cuda_pages_CPPFLAGS = $(unit_cppflags) $(emu_cppflags)
tests_kernels_tk_cuda_pages_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_pages_LDADD = $(unit_libs)

check_PROGRAMS += tests/kernels/tk_cuda_record
tests_kernels_tk_cuda_record_SOURCES = tests/kernels/tk_cuda_record.c \
    tests/kernels/dfix.c tests/kernels/dfix.h $(gfix_sources)
tests_kernels_tk_cuda_record_CPPFLAGS = $(unit_cppflags) $(emu_cppflags)
tests_kernels_tk_cuda_record_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_record_LDADD = $(unit_libs)

check_PROGRAMS += tests/kernels/tk_cuda_step
tests_kernels_tk_cuda_step_SOURCES = tests/kernels/tk_cuda_step.c \
    tests/kernels/dfix.c tests/kernels/dfix.h $(gfix_sources)
tests_kernels_tk_cuda_step_CPPFLAGS = $(unit_cppflags) $(emu_cppflags)
tests_kernels_tk_cuda_step_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_step_LDADD = $(unit_libs)
