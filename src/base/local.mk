# src/base: sources are listed one a line, in alphabetical order.
noinst_LIBRARIES += src/base/libbase.a
TG_LIBS += src/base/libbase.a
src_base_libbase_a_SOURCES = \
    src/base/arena.c src/base/arena.h \
    src/base/buf.c src/base/buf.h \
    src/base/err.c src/base/err.h \
    src/base/panic.c src/base/panic.h \
    src/base/str.c src/base/str.h
