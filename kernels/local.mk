# kernels: the device interface and its backends.
noinst_LIBRARIES += kernels/libkernels.a
TG_LIBS += kernels/libkernels.a
kernels_libkernels_a_SOURCES = \
    kernels/krn.c \
    kernels/krn.h
