# What deals with rows of activations, and attention: by instruction set.
rows_sources = \
    kernels/cpu/cpu_attend.c \
    kernels/cpu/cpu_rows.c \
    kernels/cpu/cpu_rows.h \
    kernels/krn_rows.c \
    kernels/kv.h \
    kernels/ref/ref_attend.c \
    kernels/ref/ref_rows.c \
    kernels/ref/ref_rows.h
rows_avx2_sources = \
    kernels/cpu/attend_tmpl.h \
    kernels/cpu/rows_avx2.c \
    kernels/cpu/rows_tmpl.h \
    kernels/cpu/v16_avx2.h
rows_avx512_sources = \
    kernels/cpu/attend_tmpl.h \
    kernels/cpu/rows_avx512.c \
    kernels/cpu/rows_tmpl.h \
    kernels/cpu/v16_avx512.h
