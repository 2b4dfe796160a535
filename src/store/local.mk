# src/store: sources are listed one a line, in alphabetical order.
# When the first source lands, uncomment:
# noinst_LIBRARIES += src/store/libstore.a
# TG_LIBS += src/store/libstore.a
# src_store_libstore_a_SOURCES = \
#     src/store/NAME.c src/store/NAME.h
