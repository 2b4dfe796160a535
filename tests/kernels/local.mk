# Kernel tests: each fast operation against the scalar one.
include tests/kernels/attend.mk
include tests/kernels/blas.mk
include tests/kernels/linear.mk
include tests/kernels/rows.mk
include tests/kernels/host.mk

kernel_tests = \
    tests/kernels/tk_linear \
    tests/kernels/tk_pool \
    tests/kernels/tk_random \
    tests/kernels/tk_ref \
    tests/kernels/tk_step
check_PROGRAMS += $(kernel_tests)

tests_kernels_tk_linear_SOURCES = tests/kernels/tk_linear.c \
    tests/kernels/kfix.c tests/kernels/kfix.h
tests_kernels_tk_linear_CPPFLAGS = $(unit_cppflags)
tests_kernels_tk_linear_CFLAGS = $(unit_cflags)
tests_kernels_tk_linear_LDADD = $(unit_libs)

tests_kernels_tk_pool_SOURCES = tests/kernels/tk_pool.c
tests_kernels_tk_pool_CPPFLAGS = $(unit_cppflags)
tests_kernels_tk_pool_CFLAGS = $(unit_cflags)
tests_kernels_tk_pool_LDADD = $(unit_libs)

tests_kernels_tk_random_SOURCES = tests/kernels/tk_random.c
tests_kernels_tk_random_CPPFLAGS = $(unit_cppflags)
tests_kernels_tk_random_CFLAGS = $(unit_cflags)
tests_kernels_tk_random_LDADD = $(unit_libs)

tests_kernels_tk_ref_SOURCES = tests/kernels/tk_ref.c tests/kernels/kfix.c \
    tests/kernels/kfix.h
tests_kernels_tk_ref_CPPFLAGS = $(unit_cppflags)
tests_kernels_tk_ref_CFLAGS = $(unit_cflags)
tests_kernels_tk_ref_LDADD = $(unit_libs)

tests_kernels_tk_step_SOURCES = tests/kernels/tk_step.c
tests_kernels_tk_step_CPPFLAGS = $(unit_cppflags)
tests_kernels_tk_step_CFLAGS = $(unit_cflags)
tests_kernels_tk_step_LDADD = $(unit_libs)
EXTRA_DIST += tests/kernels/fakecuda.h

# The emulator itself, with kernels of the test's: no other library of the tree
# is linked, for thread-local memory is the kernels' there.
if HAVE_EMU
check_PROGRAMS += tests/kernels/tk_cuda_bits tests/kernels/tk_cuda_emu \
    tests/kernels/tk_cuda_fake
tests_kernels_tk_cuda_bits_SOURCES = tests/kernels/tk_cuda_bits.c \
    tests/kernels/emu_kernels.cc tests/kernels/emu_kernels.h $(emu_sources)
tests_kernels_tk_cuda_bits_CPPFLAGS = $(unit_cppflags) -DTG_EMU
tests_kernels_tk_cuda_bits_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_bits_CXXFLAGS = $(emu_cxxflags) $(emu_warn)
tests_kernels_tk_cuda_bits_LDADD = $(CMOCKA_LIBS) -lm

tests_kernels_tk_cuda_emu_SOURCES = tests/kernels/tk_cuda_emu.c \
    tests/kernels/emu_kernels.cc tests/kernels/emu_kernels.h $(emu_sources)
tests_kernels_tk_cuda_emu_CPPFLAGS = $(unit_cppflags) -DTG_EMU
tests_kernels_tk_cuda_emu_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_emu_CXXFLAGS = $(emu_cxxflags) $(emu_warn)
tests_kernels_tk_cuda_emu_LDADD = $(CMOCKA_LIBS) -lm

tests_kernels_tk_cuda_fake_SOURCES = tests/kernels/tk_cuda_fake.c \
    tests/kernels/emu_kernels.cc tests/kernels/emu_kernels.h $(emu_sources) \
    $(fake_sources)
tests_kernels_tk_cuda_fake_CPPFLAGS = $(unit_cppflags) $(emu_cppflags) -DTG_EMU
tests_kernels_tk_cuda_fake_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_fake_CXXFLAGS = $(emu_cxxflags) $(emu_warn)
tests_kernels_tk_cuda_fake_LDADD = $(CMOCKA_LIBS) -lm
endif

# The whole pass over the layers: `make check-gpu` takes it from here, too.
check_PROGRAMS += tests/kernels/tk_cuda_graph
tests_kernels_tk_cuda_graph_SOURCES = tests/kernels/tk_cuda_graph.c \
    tests/lib/graphrig.c tests/lib/graphrig.h $(gfix_sources) $(ggufm_sources)
tests_kernels_tk_cuda_graph_CPPFLAGS = $(unit_cppflags) $(emu_cppflags)
tests_kernels_tk_cuda_graph_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_graph_LDADD = $(unit_libs)

check_PROGRAMS += tests/kernels/tk_cuda_story
tests_kernels_tk_cuda_story_SOURCES = tests/kernels/tk_cuda_story.c \
    $(gfix_sources)
tests_kernels_tk_cuda_story_CPPFLAGS = $(unit_cppflags) $(emu_cppflags)
tests_kernels_tk_cuda_story_CFLAGS = $(unit_cflags)
tests_kernels_tk_cuda_story_LDADD = $(unit_libs)
