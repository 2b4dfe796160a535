# Model files.
src_engine_libengine_a_SOURCES += \
    src/engine/model.h
