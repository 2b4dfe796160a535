# src/serve: sources are listed one a line, in alphabetical order.
# When the first source lands, uncomment:
# noinst_LIBRARIES += src/serve/libserve.a
# TG_LIBS += src/serve/libserve.a
# src_serve_libserve_a_SOURCES = \
#     src/serve/NAME.c src/serve/NAME.h
