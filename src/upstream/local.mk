# src/upstream: sources are listed one a line, in alphabetical order.
# When the first source lands, uncomment:
# noinst_LIBRARIES += src/upstream/libupstream.a
# TG_LIBS += src/upstream/libupstream.a
# src_upstream_libupstream_a_SOURCES = \
#     src/upstream/NAME.c src/upstream/NAME.h
EXTRA_DIST += src/upstream/upstream.h
