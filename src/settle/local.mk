# src/settle: sources are listed one a line, in alphabetical order.
noinst_LIBRARIES += src/settle/libsettle.a
TG_LIBS += src/settle/libsettle.a
src_settle_libsettle_a_SOURCES = \
    src/settle/access.c src/settle/access.h \
    src/settle/bill.c src/settle/bill.h \
    src/settle/metrics.c src/settle/metrics.h \
    src/settle/series.c src/settle/series.h \
    src/settle/settle.c src/settle/settle.h \
    src/settle/unpriced.c src/settle/unpriced.h
