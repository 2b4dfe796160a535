# src/base: sources are listed one a line, in alphabetical order.
noinst_LIBRARIES += src/base/libbase.a
TG_LIBS += src/base/libbase.a
src_base_libbase_a_SOURCES = \
    src/base/arena.c src/base/arena.h \
    src/base/buf.c src/base/buf.h \
    src/base/chunkq.c src/base/chunkq.h \
    src/base/clock.c src/base/clock.h \
    src/base/digest.c src/base/digest.h \
    src/base/err.c src/base/err.h \
    src/base/id.c src/base/id.h \
    src/base/key_file.c src/base/key_file.h \
    src/base/log.c src/base/log.h \
    src/base/log_line.c src/base/log_line.h \
    src/base/log_sink.c src/base/log_sink.h \
    src/base/map.c src/base/map.h \
    src/base/mbox.c src/base/mbox.h \
    src/base/panic.c src/base/panic.h \
    src/base/ring.c src/base/ring.h \
    src/base/slab.c src/base/slab.h \
    src/base/str.c src/base/str.h \
    src/base/thr.c src/base/thr.h \
    src/base/utf8.c src/base/utf8.h
