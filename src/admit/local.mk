# src/admit: sources are listed one a line, in alphabetical order.
# When the first source lands, uncomment:
# noinst_LIBRARIES += src/admit/libadmit.a
# TG_LIBS += src/admit/libadmit.a
# src_admit_libadmit_a_SOURCES = \
#     src/admit/NAME.c src/admit/NAME.h
