# src/relay: sources are listed one a line, in alphabetical order.
# When the first source lands, uncomment:
# noinst_LIBRARIES += src/relay/librelay.a
# TG_LIBS += src/relay/librelay.a
# src_relay_librelay_a_SOURCES = \
#     src/relay/NAME.c src/relay/NAME.h
