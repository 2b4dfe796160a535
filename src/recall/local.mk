# src/recall: sources are listed one a line, in alphabetical order.
# When the first source lands, uncomment:
# noinst_LIBRARIES += src/recall/librecall.a
# TG_LIBS += src/recall/librecall.a
# src_recall_librecall_a_SOURCES = \
#     src/recall/NAME.c src/recall/NAME.h
