# src/wire: sources are listed one a line, in alphabetical order.
# When the first source lands, uncomment:
# noinst_LIBRARIES += src/wire/libwire.a
# TG_LIBS += src/wire/libwire.a
# src_wire_libwire_a_SOURCES = \
#     src/wire/NAME.c src/wire/NAME.h
