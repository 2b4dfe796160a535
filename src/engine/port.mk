# The workers' side.
src_engine_libengine_a_SOURCES += \
    src/engine/engine.h
