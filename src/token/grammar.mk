# Constrained decoding.
src_token_libtoken_a_SOURCES += \
    src/token/grammar.c \
    src/token/grammar.h
