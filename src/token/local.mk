# src/token: sources are listed one a line, in alphabetical order.
noinst_LIBRARIES += src/token/libtoken.a
TG_LIBS += src/token/libtoken.a
src_token_libtoken_a_SOURCES = \
    src/token/grammar.c \
    src/token/grammar.h \
    src/token/template.h \
    src/token/toolcall.h \
    src/token/vocab.h
