# From logits to a token.
src_engine_libengine_a_SOURCES += \
    src/engine/sample.h
