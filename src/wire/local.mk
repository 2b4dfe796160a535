# src/wire: sources are listed one a line, in alphabetical order.
noinst_LIBRARIES += src/wire/libwire.a
TG_LIBS += src/wire/libwire.a
src_wire_libwire_a_SOURCES = \
    src/wire/canon.c \
    src/wire/canon.h \
    src/wire/canon_text.c \
    src/wire/canon_text.h \
    src/wire/endpoint.c \
    src/wire/endpoint.h \
    src/wire/fold.c \
    src/wire/fold.h \
    src/wire/fold_chat.c \
    src/wire/fold_messages.c \
    src/wire/fold_priv.h \
    src/wire/http1.c \
    src/wire/http1.h \
    src/wire/http1_body.c \
    src/wire/http1_char.c \
    src/wire/http1_char.h \
    src/wire/http1_out.c \
    src/wire/http1_scan.c \
    src/wire/jmerge.c \
    src/wire/jmerge.h \
    src/wire/jscan.c \
    src/wire/jscan.h \
    src/wire/jsplice.c \
    src/wire/jsplice.h \
    src/wire/jtable.c \
    src/wire/jtext.c \
    src/wire/jtext.h \
    src/wire/jval.c \
    src/wire/multipart.c \
    src/wire/multipart.h \
    src/wire/openai_err.c \
    src/wire/openai_err.h \
    src/wire/sse.h \
    src/wire/sse_in.c \
    src/wire/sse_judge.c \
    src/wire/sse_out.c \
    src/wire/unfold.c \
    src/wire/unfold.h \
    src/wire/unfold_chat.c \
    src/wire/unfold_messages.c \
    src/wire/unfold_priv.h \
    src/wire/unfold_responses.c \
    src/wire/usage.c \
    src/wire/usage.h
