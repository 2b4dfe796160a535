# src/engine: sources are listed one a line, in alphabetical order.
noinst_LIBRARIES += src/engine/libengine.a
TG_LIBS += src/engine/libengine.a
src_engine_libengine_a_SOURCES = \
    src/engine/engine.h \
    src/engine/gen.c \
    src/engine/gen.h \
    src/engine/graph.h \
    src/engine/model.h \
    src/engine/sample.h \
    src/engine/sched.h
