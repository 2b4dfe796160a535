# src/conf: sources are listed one a line, in alphabetical order.
# When the first source lands, uncomment:
# noinst_LIBRARIES += src/conf/libconf.a
# TG_LIBS += src/conf/libconf.a
# src_conf_libconf_a_SOURCES = \
#     src/conf/NAME.c src/conf/NAME.h
