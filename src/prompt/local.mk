# src/prompt: sources are listed one a line, in alphabetical order.
# When the first source lands, uncomment:
# noinst_LIBRARIES += src/prompt/libprompt.a
# TG_LIBS += src/prompt/libprompt.a
# src_prompt_libprompt_a_SOURCES = \
#     src/prompt/NAME.c src/prompt/NAME.h
