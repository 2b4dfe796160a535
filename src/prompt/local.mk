# src/prompt: sources are listed one a line, in alphabetical order.
noinst_LIBRARIES += src/prompt/libprompt.a
TG_LIBS += src/prompt/libprompt.a
src_prompt_libprompt_a_SOURCES = \
    src/prompt/prompt.c src/prompt/prompt.h \
    src/prompt/query.c src/prompt/query.h \
    src/prompt/validate.c src/prompt/validate.h
