# kernels/cuda: NVIDIA GPUs. The host's side is plain C and always built; kernels
# are compiled where configure found nvcc, each k_*.cu to an image of its own,
# all of which image.S puts into the program.

# The host's side: one family of files a paragraph.
cuda_sources = kernels/cuda/image.S kernels/cuda/image.h

cuda_sources += kernels/cuda/cuda.h kernels/cuda/cuda.c \
    kernels/cuda/cuda_copy.c kernels/cuda/cuda_host.c \
    kernels/cuda/cuda_inputs.c kernels/cuda/cuda_inputs.h \
    kernels/cuda/cuda_mem.c kernels/cuda/cuda_open.c \
    kernels/cuda/cuda_step.c kernels/cuda/drv.c kernels/cuda/drv.h

cuda_sources += kernels/cuda/a_rows.h kernels/cuda/a_sample.h \
    kernels/cuda/cuda_rows.c kernels/cuda/cuda_sample.c \
    kernels/cuda/tolerance.h

cuda_sources += kernels/cuda/a_linear.h kernels/cuda/cuda_linear.c \
    kernels/cuda/cuda_linear.h kernels/cuda/cuda_product.c \
    kernels/cuda/cuda_weight.c kernels/cuda/pack.c kernels/cuda/pack.h \
    kernels/cuda/random.h kernels/cuda/e4m3.h

cuda_sources += kernels/cuda/blas.c kernels/cuda/blas.h \
    kernels/cuda/blas_load.c kernels/cuda/blas_plan.c kernels/cuda/blas_priv.h

# What stands in for families to come.

cuda_sources += kernels/cuda/a_attend.h kernels/cuda/cuda_attend.c \
    kernels/cuda/cuda_attend.h kernels/cuda/cuda_plan.c

# Kernels: each k_NAME.cu is one word here.
cuda_kernels =
cuda_kernels += k_rows k_heads k_sample
cuda_kernels += k_gemv_float k_gemv_quant k_gemm k_gemm_quant k_widen
cuda_kernels += k_decode k_prefill

# What kernels include, beside the headers above.
EXTRA_DIST += kernels/cuda/dev.cuh kernels/cuda/draw.cuh kernels/cuda/tile.cuh
EXTRA_DIST += kernels/cuda/gemv.cuh kernels/cuda/put.cuh \
    kernels/cuda/quant.cuh kernels/cuda/rows.cuh
EXTRA_DIST += kernels/cuda/attend.cuh

cuda_ccasflags = $(CCASFLAGS)
EXTRA_DIST += $(cuda_kernels:%=kernels/cuda/%.cu)

if HAVE_CUDA
cuda_images = $(cuda_kernels:%=kernels/cuda/%.fatbin)
cuda_ccasflags += -DCUDA_IMAGES='$(cuda_kernels:%=image %;)'

AM_V_NVCC = $(am__v_NVCC_$(V))
am__v_NVCC_ = $(am__v_NVCC_$(AM_DEFAULT_VERBOSITY))
am__v_NVCC_0 = @echo "  NVCC    " $@;
am__v_NVCC_1 =

$(cuda_images): kernels/cuda/%.fatbin: kernels/cuda/%.cu
	@$(MKDIR_P) kernels/cuda
	$(AM_V_NVCC)$(NVCC) $(TG_NVCCFLAGS) $(NVCCFLAGS) -I$(top_srcdir) \
	    -I$(top_builddir) -MD -MP -MF $(@:.fatbin=.d) -MT $@ -fatbin \
	    -o $@ `test -f kernels/cuda/$*.cu || echo $(srcdir)/`kernels/cuda/$*.cu

-include $(cuda_images:.fatbin=.d)

# The machine code of each kernel alone, for who reads it.
cuda_cubins = $(cuda_kernels:%=kernels/cuda/%.sm_80.cubin) \
    $(cuda_kernels:%=kernels/cuda/%.sm_90a.cubin)
cuda_cubin = $(NVCC) $(filter-out -gencode% --compress%,$(TG_NVCCFLAGS)) \
    $(NVCCFLAGS) -I$(top_srcdir) -I$(top_builddir) -Xptxas -v -cubin

$(cuda_kernels:%=kernels/cuda/%.sm_80.cubin): kernels/cuda/%.sm_80.cubin: \
    kernels/cuda/%.fatbin
	$(AM_V_NVCC)$(cuda_cubin) -arch=sm_80 -o $@ \
	    `test -f kernels/cuda/$*.cu || echo $(srcdir)/`kernels/cuda/$*.cu \
	    2>$@.txt

$(cuda_kernels:%=kernels/cuda/%.sm_90a.cubin): kernels/cuda/%.sm_90a.cubin: \
    kernels/cuda/%.fatbin
	$(AM_V_NVCC)$(cuda_cubin) -arch=sm_90a -o $@ \
	    `test -f kernels/cuda/$*.cu || echo $(srcdir)/`kernels/cuda/$*.cu \
	    2>$@.txt

PHONY_TARGETS += cuda-cubins
cuda-cubins: $(cuda_cubins)
CLEANFILES += $(cuda_cubins) $(cuda_cubins:=.txt)

kernels/cuda/libkernels_a-image.$(OBJEXT): $(cuda_images)
CLEANFILES += $(cuda_images) $(cuda_images:.fatbin=.d)
endif

# The same without a GPU: sets emu_cppflags, builds tests/fakecuda.so.
include kernels/cuda/emu/local.mk
