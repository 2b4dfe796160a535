# src/engine: each part lists its sources in a fragment of its own.
noinst_LIBRARIES += src/engine/libengine.a
TG_LIBS += src/engine/libengine.a
src_engine_libengine_a_SOURCES =

include src/engine/files.mk
include src/engine/graph.mk
include src/engine/sched.mk
include src/engine/sample.mk
include src/engine/port.mk
