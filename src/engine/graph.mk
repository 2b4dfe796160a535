# The pass over the layers.
src_engine_libengine_a_SOURCES += \
    src/engine/graph.h
