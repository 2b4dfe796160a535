# Chat templates and tool calls.
src_token_libtoken_a_SOURCES += \
    src/token/template.h \
    src/token/toolcall.h
