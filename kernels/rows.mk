# What deals with rows of activations, and attention: by instruction set.
rows_sources = \
    kernels/krn_rows.c \
    kernels/kv.h \
    kernels/ref/ref_attend.c \
    kernels/ref/ref_rows.c \
    kernels/ref/ref_rows.h
rows_avx2_sources =
rows_avx512_sources =
