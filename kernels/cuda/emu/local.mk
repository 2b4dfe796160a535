# kernels/cuda/emu: the kernels without a GPU. The emulator, a driver and a
# cuBLASLt that run on it, and all kernels compiled by the C++ compiler make one
# library, which programs of the tests open in the driver's place. It is built
# where there is a C++ compiler, and not under sanitizers: they do not follow a
# thread from stack to stack. Tests that need it are then skipped.
emu_sources = \
    kernels/cuda/emu/emu.cc \
    kernels/cuda/emu/emu.h \
    kernels/cuda/emu/emu_copy.cc \
    kernels/cuda/emu/emu_dev.h \
    kernels/cuda/emu/emu_mem.cc \
    kernels/cuda/emu/emu_priv.h \
    kernels/cuda/emu/emu_run.h \
    kernels/cuda/emu/emu_switch.cc \
    kernels/cuda/emu/emu_warp.cc

fake_sources = \
    kernels/cuda/emu/fake.h \
    kernels/cuda/emu/fake_blas.c \
    kernels/cuda/emu/fake_drv.c \
    kernels/cuda/emu/fake_kernel.c \
    kernels/cuda/emu/fake_queue.c

# C++ is here alone. Halves are read as words and words as floats. What may be
# warned of in kernels is for nvcc to say.
emu_cxxflags = -std=c++17 -fno-strict-aliasing -ffp-contract=off -pthread
emu_warn = -Wall -Wextra $(emu_werror)

# For tests: where the library is.
emu_cppflags = -DTG_FAKECUDA='"$(abs_top_builddir)/tests/fakecuda.so"'

EXTRA_DIST += $(emu_sources) $(fake_sources)

if HAVE_EMU
EXTRA_PROGRAMS += tests/fakecuda.so
check_DATA += tests/fakecuda.so
CLEANFILES += tests/fakecuda.so

tests_fakecuda_so_SOURCES = $(emu_sources) $(fake_sources)
tests_fakecuda_so_CPPFLAGS = $(AM_CPPFLAGS) -DTG_EMU
tests_fakecuda_so_CFLAGS = $(AM_CFLAGS) -fPIC -fvisibility=hidden
tests_fakecuda_so_CXXFLAGS = $(emu_cxxflags) $(emu_warn) -fPIC -fvisibility=hidden
tests_fakecuda_so_LDFLAGS = $(AM_LDFLAGS) -shared -Wl,-z,defs
tests_fakecuda_so_LDADD = $(emu_kernels) -lm
tests_fakecuda_so_DEPENDENCIES = $(emu_kernels)

# Each kernel's file again, for this machine.
emu_kernels = $(cuda_kernels:%=kernels/cuda/emu/%.o)

$(emu_kernels): kernels/cuda/emu/%.o: kernels/cuda/%.cu
	@$(MKDIR_P) kernels/cuda/emu
	$(AM_V_CXX)$(CXX) $(AM_CPPFLAGS) -DTG_EMU $(CPPFLAGS) $(emu_cxxflags) \
	    $(CXXFLAGS) -w -fPIC -fvisibility=hidden -MD -MP -MF $(@:.o=.d) -MT $@ \
	    -c -o $@ -x c++ `test -f kernels/cuda/$*.cu || \
	    echo $(srcdir)/`kernels/cuda/$*.cu

-include $(emu_kernels:.o=.d)
CLEANFILES += $(emu_kernels) $(emu_kernels:.o=.d)
endif
