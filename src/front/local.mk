# src/front: sources are listed one a line, in alphabetical order.
# When the first source lands, uncomment:
# noinst_LIBRARIES += src/front/libfront.a
# TG_LIBS += src/front/libfront.a
# src_front_libfront_a_SOURCES = \
#     src/front/NAME.c src/front/NAME.h
