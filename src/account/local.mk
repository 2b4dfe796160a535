# src/account: sources are listed one a line, in alphabetical order.
# When the first source lands, uncomment:
# noinst_LIBRARIES += src/account/libaccount.a
# TG_LIBS += src/account/libaccount.a
# src_account_libaccount_a_SOURCES = \
#     src/account/NAME.c src/account/NAME.h
