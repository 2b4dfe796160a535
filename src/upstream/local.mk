# src/upstream: sources are listed one a line, in alphabetical order.
noinst_LIBRARIES += src/upstream/libupstream.a
TG_LIBS += src/upstream/libupstream.a
src_upstream_libupstream_a_SOURCES = \
    src/upstream/discover.c \
    src/upstream/lanes.c src/upstream/lanes.h \
    src/upstream/model_list.c \
    src/upstream/model_list.h \
    src/upstream/origins.c \
    src/upstream/pool.c \
    src/upstream/pool.h \
    src/upstream/prov_anthropic.c \
    src/upstream/prov_azure.c \
    src/upstream/prov_openai.c \
    src/upstream/provider.c \
    src/upstream/provider.h \
    src/upstream/resolve.c \
    src/upstream/resolve.h \
    src/upstream/trust.c \
    src/upstream/trust.h \
    src/upstream/tunnel.c \
    src/upstream/tunnel.h \
    src/upstream/upstream.h \
    src/upstream/xfer.c \
    src/upstream/xfer.h \
    src/upstream/xfer_opts.c \
    src/upstream/xfer_reply.c
