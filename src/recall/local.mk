# src/recall: sources are listed one a line, in alphabetical order.
noinst_LIBRARIES += src/recall/librecall.a
TG_LIBS += src/recall/librecall.a
src_recall_librecall_a_SOURCES = \
    src/recall/cache.c src/recall/cache.h \
    src/recall/demand.c src/recall/demand.h \
    src/recall/flight.c src/recall/flight.h \
    src/recall/job.h \
    src/recall/lead.c \
    src/recall/play.c src/recall/play.h \
    src/recall/recall.c src/recall/recall.h \
    src/recall/record.c src/recall/record.h \
    src/recall/renew.c \
    src/recall/replay.c \
    src/recall/reqkey.c src/recall/reqkey.h \
    src/recall/reqkey_skip.c \
    src/recall/weights.c src/recall/weights.h \
    src/recall/worth.c src/recall/worth.h
