# What deals with rows of activations, and attention: by instruction set.
rows_sources = kernels/krn_rows.c
rows_avx2_sources =
rows_avx512_sources =
