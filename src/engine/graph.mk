# The pass over the layers.
src_engine_libengine_a_SOURCES += \
    src/engine/graph.c \
    src/engine/graph.h \
    src/engine/graph_load.c \
    src/engine/graph_new.c \
    src/engine/graph_page.c \
    src/engine/graph_priv.h \
    src/engine/graph_rope.c
