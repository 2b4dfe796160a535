# src/admit: sources are listed one a line, in alphabetical order.
noinst_LIBRARIES += src/admit/libadmit.a
TG_LIBS += src/admit/libadmit.a
src_admit_libadmit_a_SOURCES = \
    src/admit/admit.c src/admit/admit.h \
    src/admit/limits.c src/admit/limits.h \
    src/admit/throttle.c src/admit/throttle.h \
    src/admit/weigh.c src/admit/weigh.h
