# kernels: the device interface and its backends. Code for an instruction set
# is a library of its own, since its files need switches that no other file may
# have. Contraction of a * b + c is off everywhere: an operation is fused where
# the source says so.
kernels_cflags = $(AM_CFLAGS) -ffp-contract=off
kernels_avx2_cflags = $(kernels_cflags) -mavx2 -mfma -mf16c
kernels_avx512_cflags = $(kernels_avx2_cflags) -mavx512f -mavx512bw \
    -mavx512dq -mavx512vl -mavx512vnni

# Sets rows_sources, rows_avx2_sources, rows_avx512_sources.
include kernels/rows.mk
# Sets cuda_sources.
include kernels/cuda/local.mk

noinst_LIBRARIES += kernels/libkernels.a
TG_LIBS += kernels/libkernels.a
kernels_libkernels_a_CFLAGS = $(kernels_cflags)
kernels_libkernels_a_CCASFLAGS = $(cuda_ccasflags)
kernels_libkernels_a_SOURCES = \
    kernels/cpu/cpu.h \
    kernels/half.h \
    kernels/krn.c \
    kernels/krn.h \
    kernels/krn_host.c \
    kernels/krn_isa.c \
    kernels/krn_mem.c \
    kernels/krn_priv.h \
    kernels/krn_random.c \
    kernels/krn_step.c \
    kernels/pool.c \
    kernels/pool.h \
    kernels/ref/ref.h \
    kernels/ref/ref_block.c \
    kernels/ref/ref_linear.c \
    $(cuda_sources) \
    $(rows_sources)

if X86_64
kernels_libkernels_a_SOURCES += \
    kernels/cpu/cpu_linear.c \
    kernels/cpu/cpu_ops.c \
    kernels/cpu/cpu_pack.c

noinst_LIBRARIES += kernels/libavx2.a
TG_LIBS += kernels/libavx2.a
kernels_libavx2_a_CFLAGS = $(kernels_avx2_cflags)
kernels_libavx2_a_SOURCES = \
    kernels/cpu/avx2.c \
    kernels/cpu/avx2.h \
    kernels/cpu/avx2_float.c \
    kernels/cpu/avx2_k.c \
    kernels/cpu/avx2_q.c \
    kernels/cpu/avx2_round.h \
    kernels/cpu/avx2_x.c \
    $(rows_avx2_sources)

noinst_LIBRARIES += kernels/libavx512.a
TG_LIBS += kernels/libavx512.a
kernels_libavx512_a_CFLAGS = $(kernels_avx512_cflags)
kernels_libavx512_a_SOURCES = \
    kernels/cpu/avx2.h \
    kernels/cpu/avx2_round.h \
    kernels/cpu/avx512.c \
    kernels/cpu/avx512.h \
    kernels/cpu/avx512_float.c \
    kernels/cpu/avx512_k.c \
    kernels/cpu/avx512_q.c \
    kernels/cpu/avx512_x.c \
    $(rows_avx512_sources)
endif
