# src/relay: sources are listed one a line, in alphabetical order.
noinst_LIBRARIES += src/relay/librelay.a
TG_LIBS += src/relay/librelay.a
src_relay_librelay_a_SOURCES = \
    src/relay/heads.c src/relay/heads.h \
    src/relay/kind.c src/relay/kind.h \
    src/relay/pace.c src/relay/pace.h \
    src/relay/ping.c src/relay/ping.h \
    src/relay/relay.c src/relay/relay.h \
    src/relay/rewrite.c src/relay/rewrite.h \
    src/relay/stream.c src/relay/stream.h \
    src/relay/tap.c src/relay/tap.h
