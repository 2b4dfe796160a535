# From logits to a token.
src_engine_libengine_a_SOURCES += \
    src/engine/sample.c \
    src/engine/sample.h \
    src/engine/sample_logprobs.c \
    src/engine/sample_vec.c \
    src/engine/sample_vec.h
