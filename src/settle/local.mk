# src/settle: sources are listed one a line, in alphabetical order.
# When the first source lands, uncomment:
# noinst_LIBRARIES += src/settle/libsettle.a
# TG_LIBS += src/settle/libsettle.a
# src_settle_libsettle_a_SOURCES = \
#     src/settle/NAME.c src/settle/NAME.h
