# A real GPU: `make check-gpu` tests what `make check` tests on an emulated one,
# and compares whole models with the CPU's; `make bench-gpu` measures; `make
# gpu-bundle` puts all of both into a folder for a machine with a GPU and
# without this tree. Results go to GPU_OUT.
GPU_OUT = gpu-results

EXTRA_PROGRAMS += tests/bench/b_gpu_same
tests_bench_b_gpu_same_SOURCES = tests/bench/b_gpu_same.c
tests_bench_b_gpu_same_LDADD = $(TG_LIBS) $(LDADD_DEPS)

# Those that no GPU takes part in are for make check: the bundle is full.
gpu_check_not = abi abi_blas bits emu fake pack plan
gpu_check_programs = tollgate$(EXEEXT) tollctl$(EXEEXT) \
    tests/bench/b_gpu_same$(EXEEXT) \
    $(filter-out $(gpu_check_not:%=tests/kernels/tk_cuda_%$(EXEEXT)), \
    $(filter tests/kernels/tk_cuda_%,$(check_PROGRAMS)))
gpu_bench_programs = tests/bench/b_gpu$(EXEEXT) \
    tests/bench/b_gpu_ops$(EXEEXT)

PHONY_TARGETS += check-gpu bench-gpu gpu-bundle
check-gpu: $(gpu_check_programs)
	$(SHELL) $(top_srcdir)/tests/gpu_check.sh . $(GPU_OUT)

bench-gpu: tollgate$(EXEEXT) tollctl$(EXEEXT) $(gpu_bench_programs)
	$(SHELL) $(top_srcdir)/tests/bench/gpu_bench.sh . $(GPU_OUT)

gpu-bundle: $(gpu_check_programs) $(gpu_bench_programs) $(check_DATA)
	$(SHELL) $(top_srcdir)/contrib/gpu-bundle.sh . gpu-bundle \
	    $(gpu_check_programs) $(gpu_bench_programs)

EXTRA_DIST += contrib/gpu-bundle.sh tests/gpu_check.sh tests/gpu_e2e.py
